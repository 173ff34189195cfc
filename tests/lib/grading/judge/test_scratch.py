"""Temporary folders go with their process, also with one that was killed."""

import os
import subprocess
import sys
import tempfile

import pytest
from leaplm.grading.judge.engine import Engine
from leaplm.grading.judge.scratch import Scratch, sweep
from mini import LAB, make_course

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="grading runs on Linux only")
KILLED = """
import os
from leaplm.grading.judge.engine import Engine
from leaplm.grading.judge.scratch import Scratch
print(Scratch().path, flush=True)
os.kill(os.getpid(), 9)
"""


def test_folders_of_the_living_stay_and_those_of_the_killed_go(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", KILLED], env={**os.environ, "TMPDIR": str(tmp_path)}, text=True,
                            capture_output=True).stdout.strip()  # fmt: skip
    ours, fresh, other = Scratch(), tmp_path / ".leaplm-scratch-fresh", tmp_path / "leaplm-scratch-link"
    fresh.mkdir()
    (tmp_path / ".leaplm-scratch-old").mkdir()
    os.utime(tmp_path / ".leaplm-scratch-old", (0, 0))
    assert os.path.isdir(killed)
    (tmp_path / "kept").mkdir()
    (tmp_path / "leaplm-course").mkdir()  # a person's own
    other.symlink_to(tmp_path / "kept")
    sweep()
    stay = ["kept", "leaplm-course", ".leaplm-scratch-fresh", "leaplm-scratch-link", ours.path.name]
    assert sorted(os.listdir(tmp_path)) == sorted(stay)
    ours.close()
    ours.close()
    assert not ours.path.exists()


def test_the_next_start_removes_what_a_killed_run_left(tmp_path, monkeypatch):
    """At once, wherever it lay, and nothing of what lives."""
    course, tmp_path = make_course(tmp_path / "course"), tmp_path / "temporary"
    tmp_path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = KILLED.replace("Scratch()", f"Scratch({str(tmp_path)!r})")
    subprocess.run([sys.executable, "-c", left], stdout=subprocess.DEVNULL)
    assert len(os.listdir(tmp_path)) == 1
    Engine(course, LAB, jobs=1).close()
    assert os.listdir(tmp_path) == []


def test_a_place_that_is_not_there_is_made(tmp_path):
    with Scratch(tmp_path / "cache" / "trained") as folder:
        assert folder.parent == tmp_path / "cache" / "trained"
