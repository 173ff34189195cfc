"""What is on the machine: looked at before and after a class is graded, and while it is."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from attacks.traps import MARK

PR_SET_CHILD_SUBREAPER = 36
SYSTEM_V_KEY = 0x1EA9 << 16  # of what the row about shared memory makes
BLOCK = 2**20  # bytes of a file that are looked at together
SHARED_PLACES = ("/", "/tmp", "/dev/shm", "/var/tmp", "/dev/mqueue")


@contextlib.contextmanager
def keeping_orphans() -> Iterator[None]:
    """In here, processes whose parent ends become children of this one, so none is lost from sight."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def take_leave(before: set[int]) -> list[str]:
    """The processes below this one that were not there before, in words; those that have ended are gone then."""
    left = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if process.pid in before:
                continue
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)
            else:
                left.append(f"{process.pid} {process.status()} {' '.join(process.cmdline())[:100]}")
    return left


def own_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")


def files_below(*folders: Path) -> dict[str, str]:
    """What is in folders: path -> hash, or what else it is."""
    found = {}
    for path in (path for folder in folders for path in folder.rglob("*")):
        kind = "link" if path.is_symlink() else "file" if path.is_file() else "other"
        found[str(path)] = _hash(path) if kind == "file" else kind
    return found


def _hash(path: Path) -> str:
    """Of a file's size, and of each block that is not all zeros with its place; holes are not read."""
    digest, place = hashlib.sha256(), 0
    with path.open("rb") as file, contextlib.suppress(OSError):  # SEEK_DATA: there is nothing but a hole up to the end
        while True:
            place = os.lseek(file.fileno(), place, os.SEEK_DATA) // BLOCK * BLOCK
            file.seek(place)
            if (block := file.read(BLOCK)) != bytes(len(block)):
                digest.update(f"{place} {len(block)} ".encode())
                digest.update(block)
            place += len(block)
    return f"{path.stat().st_size} {digest.hexdigest()}"


def marked(free_port: int) -> set[str]:
    """What bears the attacks' mark, anywhere on this machine."""
    found = {f"file {place}/{name}" for place in SHARED_PLACES for name in _names(place) if MARK in name}
    found |= {f"process {process.pid} {words}" for process, words in _commands() if MARK in words}
    with open("/proc/net/unix") as table:
        found |= {f"socket {line.split()[-1]}" for line in table if MARK in line}
    for kind in ("shm", "sem", "msg"):
        with open(f"/proc/sysvipc/{kind}") as table:
            found |= {f"System V {kind}" for line in table if line.split()[0] == str(SYSTEM_V_KEY)}
    with socket.socket() as tried:
        found |= {f"port {free_port}"} if tried.connect_ex(("127.0.0.1", free_port)) == 0 else set()
    return found


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _commands() -> list[tuple[psutil.Process, str]]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found.append((process, " ".join(process.cmdline())))
    return found


@dataclass
class Watch:
    """Looks at the processes below `pid`: the most memory of the grader's own, and of all sandboxed ones together."""

    pid: int
    allowed_mb: float  # of all sandboxed processes together
    grader_mb: float = 0.0  # the largest of the trusted processes
    sandbox_mb: float = 0.0  # no less than it was, and more than allowed only if it was
    shared_mb: float = 0.0  # more memory of files and segments than at the start, on the whole machine
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        ours, at_start = own_namespace(), psutil.virtual_memory().shared
        while not self._done.wait(2.0):
            sandboxed = []
            with contextlib.suppress(psutil.Error):
                for process in [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]:
                    with contextlib.suppress(psutil.Error, OSError):
                        inside = os.readlink(f"/proc/{process.pid}/ns/pid") != ours
                        if inside:
                            sandboxed.append(process)
                        else:
                            self.grader_mb = max(self.grader_mb, process.memory_info().rss / 1e6)
            self._count(sandboxed)
            self.shared_mb = max(self.shared_mb, (psutil.virtual_memory().shared - at_start) / 1e6)

    def _count(self, sandboxed: list[psutil.Process]) -> None:
        """What Linux tells of shared pages costs it much: it is asked only if all of them, in full, would be too many."""
        held = _sum_mb(sandboxed, lambda process: process.memory_info().rss)
        if held > self.allowed_mb:
            held = _sum_mb(sandboxed, lambda process: process.memory_full_info().pss)
        self.sandbox_mb = max(self.sandbox_mb, held)


def _sum_mb(processes: list[psutil.Process], held: Callable[[psutil.Process], int]) -> float:
    """What processes hold together; those that have ended, nothing."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            total += held(process) / 1e6
    return total
