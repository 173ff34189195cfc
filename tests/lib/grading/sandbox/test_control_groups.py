"""Groups that the kernel holds: found, made, entered, told of and removed; on the kernel's own files where we may."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from leaplm.grading.sandbox import control_groups
from leaplm.grading.sandbox.control_groups import NAME, SWITCH, Group, find_groups, settings, sweep_groups
from leaplm.grading.sandbox.walls import Limits

MB = 2**20
UNIFIED = Path("/sys/fs/cgroup/unified")  # version 2 beside version 1
TAKES_ALL = "import os; [os.write(int(door), b'0') for door in {doors!r}]; kept = bytearray(b'x') * 2**28"
FORKS = "import os; [os.write(int(door), b'0') for door in {doors!r}]; [os.fork() for _ in range(5)]"
# A process in a group of version 2 that is its own: may it hand on, and does it move back where another is in it?
HANDS_ON = """
import os, sys
from pathlib import Path
from leaplm.grading.sandbox import control_groups
control_groups.NEEDED = control_groups.WANTED = ("hugetlb",)
own, lines = Path(sys.argv[1]), Path(sys.argv[2])
(own / "cgroup.procs").write_text("0")
found = control_groups._version_2(lines, own.parent)
print(found and found.version, os.getpid() in map(int, (own / "cgroup.procs").read_text().split()))
Path("/sys/fs/cgroup/unified/cgroup.procs").write_text("0")
"""


@pytest.fixture
def group():
    if not (groups := find_groups()):
        pytest.skip("no control groups may be made here")
    made = groups.make("test", Limits(memory_mb=100, disk_mb=1, processes=4))
    yield made
    made.close()
    assert not any(folder.exists() for folder in made.folders)


def run_in(group, program):
    doors = group.doors()
    try:
        words = [sys.executable, "-c", program.format(doors=doors)]
        return subprocess.run(words, pass_fds=doors, capture_output=True).returncode
    finally:
        for door in doors:
            os.close(door)


def test_memory_above_the_limit_ends_the_process_and_is_told(group):
    assert not group.memory_ended()
    assert run_in(group, TAKES_ALL) == -9
    assert group.memory_ended()


def test_no_more_processes_than_allowed_can_be_started(group):
    assert run_in(group, FORKS) != 0
    assert not group.memory_ended()


def test_the_groups_of_a_grader_that_is_no_more_are_removed_and_a_living_ones_stay():
    if not (groups := find_groups()):
        pytest.skip("no control groups may be made here")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    old = Group(tuple(parent / NAME.format(ended.pid, "1-1") for parent in groups.parents))
    for folder in old.folders:
        folder.mkdir()
    mine = groups.make("mine", Limits())
    sweep_groups(groups)
    assert not any(folder.exists() for folder in old.folders) and all(folder.exists() for folder in mine.folders)
    mine.close()


def test_the_switch_leaves_the_limits_to_the_watch(monkeypatch):
    monkeypatch.setenv(SWITCH, "0")
    assert find_groups() is None


def test_a_group_that_cannot_be_made_whole_leaves_nothing(monkeypatch):
    if not (groups := find_groups()):
        pytest.skip("no control groups may be made here")
    monkeypatch.setattr(control_groups, "settings", lambda version, limits: [("cgroup.procs", -1)])
    with pytest.raises(OSError):
        groups.make("half", Limits())
    assert not any((parent / NAME.format(os.getpid(), "half")).exists() for parent in groups.parents)


def test_a_new_group_knows_nothing_of_an_earlier_one_of_its_name(group):
    run_in(group, TAKES_ALL)
    assert group.memory_ended()
    again = find_groups().make("test", Limits(memory_mb=100, disk_mb=1, processes=4))
    assert again.folders == group.folders and not again.memory_ended()


SEEN = ["", "0::/", "0::/user.slice/app.scope", "4:memory:/a\n3:pids:/a", "4:memory:/\n3:pids:/x\n0::/"]


@pytest.mark.parametrize("lines", SEEN)
def test_none_is_found_where_nothing_may_be_made(tmp_path, lines):
    """Folders that are no control groups: in none of them is there a door."""
    proc, base = tmp_path / "lines", tmp_path / "cgroup"
    proc.write_text(lines)
    for folder in ("user.slice/app.scope", "memory/a", "pids/a"):
        (base / folder).mkdir(parents=True)
    before = sorted(base.rglob("*"))
    assert find_groups(proc, base) is None
    assert sorted(base.rglob("*")) == before, "nothing is left of the attempt"


@pytest.mark.parametrize(("version", "name"), [(1, "memory.limit_in_bytes"), (2, "memory.max")])
def test_the_limits_by_the_names_of_each_version(version, name):
    found = dict(settings(version, Limits(memory_mb=100, disk_mb=10, processes=7)))
    assert found[name] == 120 * MB and found["pids.max"] == 7
    assert version == 1 or found["memory.swap.max"] == 0 and found["memory.oom.group"] == 1


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "beside another"])
def test_a_group_of_version_2_hands_its_controllers_on_only_when_we_are_alone_in_it(tmp_path, shared):
    scope = UNIFIED / f"test-{os.getpid()}"
    offers = UNIFIED / "cgroup.subtree_control"
    try:
        offers.write_text("+hugetlb")
        scope.mkdir()
    except OSError:
        pytest.skip("no group of version 2 can be made here")
    lines = tmp_path / "lines"
    lines.write_text(f"0::/{scope.name}\n")
    other = subprocess.Popen(["sleep", "60"])
    try:
        if shared:
            (scope / "cgroup.procs").write_text(str(other.pid))
        done = subprocess.run([sys.executable, "-c", HANDS_ON, scope, lines], capture_output=True, text=True)
        assert done.stdout.split() == (["None", "True"] if shared else ["2", "False"]), done.stderr
        assert (scope / control_groups.INNER).exists() != shared
    finally:
        other.kill()
        other.wait()
        for folder in (scope / control_groups.INNER, scope):
            with contextlib.suppress(OSError):
                folder.rmdir()
        offers.write_text("-hugetlb")
