"""A damaged notebook becomes the lab's again, from the release; which of its cells are run, and in what order."""
