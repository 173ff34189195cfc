"""What a submission's processes hold of the machine's memory, as the kernel tells of it.

Counted are: mapped pages, one that is shared in part (the kernel's PSS); page tables, which a program can fill without
a page of its own; files that exist in memory alone (memfd_create); and sockets, each at the most it may hold for its
reader, for what waits in them belongs to no process. See proc_pid_smaps(5), proc_pid_status(5), socket(7).
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable

MB = 2**20
MOST_TABLES = 0.1  # of the memory allowed: real work needs one page of them for 512 of its own, and walking them is slow
PIPE_MB = 64 / 1024  # of a pipe as it is made; larger ones are bounded for all together by the kernel
ROUGHLY = 0.9  # of a limit: some kernels are a little behind with the number of a process's pages


def is_above(limit: float, pids: Iterable[int], mapped: bool = True) -> bool:
    """Whether some processes together hold more than `limit` MB; `mapped` as for `used_mb`.

    To say which part of a shared page is whose, the kernel walks all pages. It is asked only where all of them, each
    process's counted in full, could be too many.

    >>> is_above(1, [os.getpid()]), is_above(10**6, [os.getpid()])
    (True, False)
    """
    pids = list(pids)
    if mapped and used_mb(pids, limit, mapped=False) + sum(map(resident_mb, pids)) < ROUGHLY * limit:
        return False
    return used_mb(pids, limit, mapped) > limit


def used_mb(pids: Iterable[int], enough: float = float("inf"), mapped: bool = True) -> float:
    """Memory of some processes together, in MB. Stops counting above `enough`, and where page tables take a tenth of it.

    mapped: False leaves out their own pages, for processes whose control group holds these.

    >>> used_mb([os.getpid()]) > 1
    True
    """
    pids = list(pids)
    total = sum(map(page_tables_mb, pids))
    if total > MOST_TABLES * enough:
        return float("inf")
    for pid in pids if mapped else ():
        if total > enough:
            return total
        total += mapped_mb(pid)
    return total + sum({name: mb for pid in pids for name, mb in open_files(pid)}.values())


def page_tables_mb(pid: int) -> float:
    return sum(_field(f"/proc/{pid}/status", "VmPTE:"))


def resident_mb(pid: int) -> float:
    return sum(_field(f"/proc/{pid}/status", "VmRSS:"))


def mapped_mb(pid: int) -> float:
    return sum(_field(f"/proc/{pid}/smaps_rollup", "Pss:"))


def _field(path: str, name: str) -> list[float]:
    """A line of a file of /proc, in MB; nothing of a process that has ended."""
    with contextlib.suppress(OSError), open(path) as file:
        return [int(line.split()[1]) / 1024 for line in file if line.startswith(name)]
    return []


def open_files(pid: int) -> Iterable[tuple[str, float]]:
    """(what it is, MB) of each open file of a process that takes memory; processes that share one tell the same name."""
    with contextlib.suppress(OSError):  # it has ended
        for descriptor in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(descriptor.path)
                if target.startswith("/memfd:"):
                    told = os.stat(descriptor.path)
                    yield f"{told.st_dev}:{told.st_ino}", told.st_blocks * 512 / MB
                elif target.startswith("socket:"):
                    yield target, socket_mb()
                elif target.startswith("pipe:"):
                    yield target, PIPE_MB


@functools.cache
def socket_mb() -> float:
    """The most that can wait in one socket: twice net.core.wmem_max, as setsockopt doubles what it is asked for."""
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/net/core/wmem_max") as file:
        return 2 * int(file.read()) / MB
    return 0.5
