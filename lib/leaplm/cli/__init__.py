"""The `leaplm` command."""
