"""Files that are there whole or not at all: written beside their place, then put into it in one step.

A power cut, a full disk or a second process at the same moment leaves the old file or the new one, never half of one.
"""

import contextlib
import os
import secrets
from pathlib import Path


@contextlib.contextmanager
def replacing(path, permissions=0o666, **how):
    """A file to be written in the block, which then takes the place of `path`. Where the block raises, nothing changes.

    how: `encoding` and what else `open` takes for text; without it the file takes bytes. permissions: of the new file,
    before the user's umask. Raises OSError where the folder cannot be written.

    >>> with replacing("/tmp/marks.csv", encoding="utf-8", newline="") as file:    # doctest: +SKIP
    ...     csv.writer(file).writerow(["amina", 3])
    """
    path = Path(path)
    fresh = path.with_name(f".{secrets.token_hex(8)}.part")  # not longer than a name can be, whatever path's is
    try:
        with open(fresh, "x" if how else "xb", opener=lambda name, flags: os.open(name, flags, permissions), **how) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def write_whole(path, content):
    """Writes bytes, or a text as UTF-8 with its line ends as they are; makes the folder where there is none."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
