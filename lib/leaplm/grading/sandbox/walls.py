"""The walls between submissions: what a process forked for one submission does to itself before it runs their code.

The fork server already lives in a bubblewrap sandbox without network and with a read-only system (see `sandbox`). Here
each child gets namespaces of its own inside it: a user namespace in which no further ones can be made, processes,
mounts, System V IPC, a fresh /proc, and its own tmpfs for its home and /dev/shm; then limits, keys of its own (see
`keyring`), no capabilities, and a filter of system calls (see `syscalls`). Python offers none of these calls before 3.12,
hence ctypes. See user_namespaces(7), pid_namespaces(7), mount(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import signal
from dataclasses import dataclass

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
LINUX_CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63
# Where a process run by root could change the whole machine; bubblewrap covers them in the /proc that it mounts.
PROC_COVERED = ("sys", "sysrq-trigger", "irq", "bus")

PATIENCE = 10  # a time limit by the clock is this many times the one in processor time, so that a busy machine fails nobody
EXIT_DEAD = 76  # of the worker, when another language's kernel has ended
HOME = "/student"  # of the student's process, and where its notebook runs


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library; loaded when it is called, so that this module can be imported on every system."""
    return ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    memory_mb: int = 2500  # of all its processes
    processes: int = 64  # and threads
    disk_mb: int = 256  # in its home, which holds /tmp too; as much again in /dev/shm
    open_files: int = 512
    cell_seconds: float = 60  # of processor time
    cell_clock_seconds: float | None = None  # by the clock; None: ten times as many as of processor time
    submission_seconds: float = 600  # by the clock, for all cells and calls
    output_bytes: int = 200_000  # kept of one cell's outputs
    judge_seconds: float = 400  # of our processor time, for one check: what is handed in must not keep the judge for hours

    @property
    def cell_clock(self) -> float:
        """Seconds by the clock that one cell may take."""
        return PATIENCE * self.cell_seconds if self.cell_clock_seconds is None else self.cell_clock_seconds


def enter_namespaces() -> None:
    """A user namespace that maps only ourselves, with the other namespaces in it; processes from the next fork on."""
    uid, gid = os.getuid(), os.getgid()
    spaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET
    _check(libc().unshare(spaces), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def furnish(limits: Limits) -> None:
    """The first process of the new namespaces: its own /proc and tmpfs, and nothing left to make further ones with."""
    _check(libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount_proc()
    _write("/proc/sys/user/max_user_namespaces", "0")
    if _kernel() >= (6, 14):  # before, it is that of the whole machine; 301 is the least it takes
        _write("/proc/sys/kernel/pid_max", str(max(limits.processes + 1, 301)))
    with contextlib.suppress(OSError):  # of this namespace: memory that no process has mapped could not be watched
        _write("/proc/sys/kernel/shmmni", "0")
    for name in PROC_COVERED:
        if os.path.exists(path := f"/proc/{name}"):
            _mount(path, path, None, MS_BIND)
            _mount(None, path, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    with contextlib.suppress(OSError):  # terminals of its own, which some kernels run their language in
        _mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    for path in (HOME, "/dev/shm"):
        _mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, f"size={limits.disk_mb}m,nr_inodes=20000,mode=700")


def mount_proc() -> None:
    """A fresh /proc, of the processes in our own namespace."""
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def drop_capabilities() -> None:
    """No capabilities, and no way to gain some."""
    _check(libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    for capability in range(LAST_CAPABILITY + 1):
        libc().prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails for those the kernel does not know
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    _check(libc().capset(header, (ctypes.c_uint32 * 6)()), "capset")


def set_limits(limits: Limits) -> None:
    """Limits of each process; the sums over all of them are watched by the fork server.

    RLIMIT_DATA (private writable memory) rather than RLIMIT_AS: PyTorch reserves far more addresses than it uses. It is
    set above the watched limit and stops an allocation that is faster than the watch.
    """
    import resource

    for which, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, (limits.memory_mb + 1000) << 20),
        (resource.RLIMIT_FSIZE, limits.disk_mb << 20),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_CPU, int(limits.submission_seconds) + 60),
    ):
        hard = resource.getrlimit(which)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (value, value))


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind, options)]
    _check(libc().mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {target}")


def _kernel() -> tuple[int, int]:
    """The version of the running Linux."""
    major, minor = re.match(r"(\d+)\.(\d+)", os.uname().release).groups()
    return int(major), int(minor)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
