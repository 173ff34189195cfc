"""Temporary folders that do not stay: each is locked by the process that made it, and goes with it, or at the next start.

What libraries leave beside our own files (compilers' caches, Dask's folders) lies in them too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "leaplm-scratch-"  # what a person may call a folder of their own must never go
YOUNG = 60  # s, in which a folder that was just made may not be locked yet


class Scratch:
    """A temporary folder: `path`. The kernel takes the lock from a process that is killed, so `sweep` can tell.

    `where`: the folder that it is made in, itself made where needed; else that for temporary files. It is named when locked.
    """

    def __init__(self, where: Path | None = None) -> None:
        if where is not None:
            Path(where).mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=where))
        self._held: int | None = os.open(new, os.O_RDONLY)
        _lock(self._held)
        self.path = new.rename(new.with_name(new.name[1:]))

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes the folder; a second time does nothing."""
        if self._held is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._held)
            self._held = None


def sweep(where: Path | None = None) -> None:
    """Removes the folders in `where` of processes that were killed and could not do it themselves."""
    where = where or Path(tempfile.gettempdir())
    for folder in (*where.glob(f"{PREFIX}*"), *where.glob(f".{PREFIX}*")):
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # not a folder, or not ours
            continue
        try:
            info, named = os.fstat(fd), folder.name.startswith(PREFIX)
            if info.st_uid == os.getuid() and (named or time.time() - info.st_mtime > YOUNG):
                _lock(fd)
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:  # its process lives
            pass
        finally:
            os.close(fd)


def _lock(fd: int) -> None:
    import fcntl  # not on every system

    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
