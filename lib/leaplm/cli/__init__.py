"""The `leaplm` command."""

import sys


def any_console() -> None:
    """A console that cannot show a sign (…, ·, or of a user's own name) shows a question mark, and the command goes on."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):      # not in a notebook
            stream.reconfigure(errors="replace")
