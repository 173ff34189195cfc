"""Every lab with Colab's versions: installed by its first cell, run, damaged as Colab damages notebooks, and graded."""

import json
import subprocess

import pytest
from colab import ROOT, Colab, as_colab_saves
from leaplm.grading.course import list_labs
from leaplm.grading.demo import Classroom
from leaplm.grading.judge.engine import Engine
from leaplm.grading.submission import Submission

LABS = list_labs(ROOT)


@pytest.fixture(scope="module")
def colab(assets_ready):
    try:
        return Colab(ROOT / "build" / "colab")
    except subprocess.CalledProcessError as problem:
        pytest.skip(f"no environment with Colab's versions, is an index within reach? {problem.stderr or problem}")


@pytest.fixture(scope="module")
def engine():
    """One grader for all labs: lab 8 imports most of what the others do."""
    with Engine(ROOT, "lab8_serving", jobs=1) as running:
        yield running


def test_the_first_cell_leaves_what_colab_has(colab):
    before, after = json.loads((colab.folder / "before.json").read_text()), colab.versions()
    assert {name: after.get(name) for name, version in before.items() if after.get(name) != version} == {}
    assert "leaplm" in after and "onnxruntime" in after


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_done_on_colab_has_its_marks(lab, colab, engine, tmp_path, needs_asset):
    """All points but those of what it saved: at scale tiny nobody trains enough for these."""
    if lab == "lab0_start":
        needs_asset("sib200")
    classroom = Classroom(lab, ROOT, tmp_path)
    done = classroom.fill(classroom.solved)
    colab.run(done, tmp_path)
    files = {f"artifacts/{path.name}": path.read_bytes() for path in tmp_path.glob("artifacts/*")}
    assert files or not classroom.by_artifact
    submission = Submission(lab, "ada", as_colab_saves(done).encode(), files, None, (), None)
    record = engine.grade(submission, seed=1).record
    lost = {check["name"]: check["message"] for check in record["checks"] if check["points"] < check["max"]}
    assert record["state"] == "graded" and set(lost) <= classroom.by_artifact, (record["reason"], lost)
