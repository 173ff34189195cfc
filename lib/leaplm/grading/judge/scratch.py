"""Temporary folders that do not stay: each is locked by the process that made it, and goes with it, or at the next start.

What libraries leave beside our own files (compilers' caches, Dask's folders) lies in them too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "leaplm-"
YOUNG = 60  # s: a folder may have been made and not be locked yet


class Scratch:
    """A temporary folder: `path`. The kernel takes the lock from a process that is killed, so `sweep` can tell."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._held: int | None = os.open(self.path, os.O_RDONLY)
        _lock(self._held)

    def close(self) -> None:
        """Removes the folder; a second time does nothing."""
        if self._held is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._held)
            self._held = None


def sweep() -> None:
    """Removes the folders of processes that were killed and could not do it themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # not a folder, or not ours
            continue
        try:
            if os.fstat(fd).st_uid == os.getuid() and time.time() - os.fstat(fd).st_mtime > YOUNG:
                _lock(fd)
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:  # its process lives
            pass
        finally:
            os.close(fd)


def _lock(fd: int) -> None:
    import fcntl  # not on every system

    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
