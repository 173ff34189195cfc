"""Temporary folders go with their process, also with one that was killed."""

import os
import subprocess
import sys
import tempfile

import pytest
from leaplm.grading.judge.engine import Engine
from leaplm.grading.judge.scratch import Scratch, sweep

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
    ours, fresh, other = Scratch(), tmp_path / ".leaplm-fresh", tmp_path / "leaplm-link"
    fresh.mkdir()
    (tmp_path / ".leaplm-old").mkdir()
    os.utime(tmp_path / ".leaplm-old", (0, 0))
    assert os.path.isdir(killed)
    (tmp_path / "kept").mkdir()
    other.symlink_to(tmp_path / "kept")
    sweep()
    assert sorted(os.listdir(tmp_path)) == sorted(["kept", ".leaplm-fresh", "leaplm-link", ours.path.name])
    ours.close()
    ours.close()
    assert not ours.path.exists()


def test_the_next_start_removes_what_a_killed_run_left(tmp_path, monkeypatch):
    """At once, wherever it lay, and nothing of what lives."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = KILLED.replace("Scratch()", f"Scratch({str(tmp_path)!r})")
    subprocess.run([sys.executable, "-c", left], stdout=subprocess.DEVNULL)
    assert len(os.listdir(tmp_path)) == 1
    Engine(tmp_path, "lab0_mini", jobs=1).close()
    assert os.listdir(tmp_path) == []
