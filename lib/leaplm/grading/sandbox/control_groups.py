"""Control groups: the kernel itself holds a submission to its memory and processes, where we may make such groups.

That is so for root, in many containers, and in a scope that systemd has delegated
(`systemd-run --user --scope -p Delegate=yes leaplm grade ...`). Elsewhere the fork server's watch holds the limits: it
looks ten times a second, so it sees less and later. Both versions of control groups are known: see cgroups(7),
https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/memory.html.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from leaplm.grading.sandbox.walls import Limits
from leaplm.runtime import GROUPS, PROC, control_groups

SWITCH = "LEAPLM_CONTROL_GROUPS"  # environment: "0" leaves the limits to the watch
NEEDED = ("memory", "pids")
WANTED = (*NEEDED, "cpu")  # by which submissions have equal shares of the processors
NAME = "leaplm-{}-{}"  # of a group: the grader's process, and what is in it
INNER = "leaplm-grader"  # of the group that we move to ourselves, in version 2
END_SECONDS = 10.0  # for the kernel to see that a group is empty


@dataclass(frozen=True)
class Groups:
    """Where groups are made: one folder, or one for each controller in version 1."""

    version: int
    parents: tuple[Path, ...]

    def make(self, name: str, limits: Limits) -> Group:
        """A new group for one submission, of a name that no other of this process has. OSError, and nothing left, if not."""
        group = Group(tuple(parent / NAME.format(os.getpid(), name) for parent in self.parents))
        try:
            for folder in group.folders:
                _removed(folder)  # of an earlier process with our number: it would tell of that one's end
                folder.mkdir()
            for setting, value in settings(self.version, limits):
                group.set(setting, value)
        except OSError:
            group.close()
            raise
        return group


@dataclass(frozen=True)
class Group:
    """The group of one submission."""

    folders: tuple[Path, ...]

    def set(self, name: str, value: int) -> None:
        """Writes a setting where there is one of this name; a kernel without swap has none for it."""
        for path in (folder / name for folder in self.folders):
            if path.exists():
                path.write_text(str(value))

    def doors(self) -> list[int]:
        """File descriptors: a process that writes "0" to each is in the group, with all that it starts."""
        with contextlib.ExitStack() as opened:  # all of them or none
            doors = []
            for folder in self.folders:
                doors.append(os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
                opened.callback(os.close, doors[-1])
            opened.pop_all()
            return doors

    def memory_ended(self) -> bool:
        """Whether the kernel has ended a process of the group for its memory."""
        lines = []
        for path in (folder / name for folder in self.folders for name in ("memory.events", "memory.oom_control")):
            with contextlib.suppress(OSError):
                lines += path.read_text().splitlines()
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines)

    def close(self) -> None:
        """Removes the group, once the kernel has taken leave of its processes."""
        until = time.monotonic() + END_SECONDS
        for folder in self.folders:
            while not _removed(folder) and time.monotonic() < until:
                time.sleep(0.02)


def settings(version: int, limits: Limits) -> list[tuple[str, int]]:
    """The names and values of a group's limits, in the order in which they must be written.

    Files in memory count here, so a submission has its home beside its memory.
    """
    memory = (limits.memory_mb + 2 * limits.disk_mb) << 20
    if version == 2:
        return [("memory.max", memory), ("memory.swap.max", 0), ("memory.oom.group", 1), ("pids.max", limits.processes)]
    both = "memory.memsw.limit_in_bytes"  # memory and swap together
    return [("memory.limit_in_bytes", memory), (both, memory), ("pids.max", limits.processes)]


def find_groups(proc: Path = PROC, base: Path = GROUPS) -> Groups | None:
    """Where groups can be made on this machine; None where they cannot, and the watch has to do."""
    if os.environ.get(SWITCH) == "0":
        return None
    return _version_1(proc, base) or _version_2(proc, base)


def sweep_groups(groups: Groups) -> None:
    """Removes the empty groups of graders that are no more."""
    for parent in groups.parents:
        for folder in parent.glob(NAME.format("*", "*")):
            if not Path("/proc", folder.name.split("-")[1]).exists():
                _removed(folder)


def _version_1(proc: Path, base: Path) -> Groups | None:
    found = {name: [place for version, place in control_groups(name, proc, base) if version == 1 and _open(place)]
             for name in WANTED}  # fmt: skip
    if not all(found[name] for name in NEEDED):
        return None
    return Groups(1, tuple(dict.fromkeys(places[0] for places in found.values() if places)))


def _version_2(proc: Path, base: Path) -> Groups | None:
    """In our own group, if it hands its controllers on: it may, once it holds no process itself but has them below."""
    own = next((place for version, place in control_groups("memory", proc, base) if version == 2), None)
    if own is None or not _open(own):
        return None
    own = own.parent if own.name == INNER else own  # a grader of ours moved there before
    offered = set(_words(own / "cgroup.controllers"))
    if not offered.issuperset(NEEDED):
        return None
    wanted = [f"+{name}" for name in WANTED if name in offered]
    if not offered & set(WANTED) <= set(_words(own / "cgroup.subtree_control")) and not _hand_on(own, " ".join(wanted)):
        return None
    return Groups(2, (own,))


def _hand_on(own: Path, controllers: str) -> bool:
    """Moves us one group down and has our group hand its controllers on; undone if others are in it."""
    inner = own / INNER
    try:
        inner.mkdir(exist_ok=True)
        (inner / "cgroup.procs").write_text("0")
        (own / "cgroup.subtree_control").write_text(controllers)
    except OSError:
        with contextlib.suppress(OSError):
            (own / "cgroup.procs").write_text("0")
            inner.rmdir()
        return False
    return True


def _open(place: Path) -> bool:
    """Whether groups can be made in one, by trying."""
    trial = place / NAME.format(os.getpid(), "trial")
    try:
        trial.mkdir(exist_ok=True)
        os.close(os.open(trial / "cgroup.procs", os.O_WRONLY))
        return True
    except OSError:
        return False
    finally:
        _removed(trial)


def _removed(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError:
            return False
    return True


def _words(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text().split()
    return []
