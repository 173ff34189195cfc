"""Every lab with Colab's versions: installed by its first cell, run, damaged as Colab damages notebooks, and graded.

In Hausa; `make run-labs` runs them in their own languages.
"""

import functools
import json
import subprocess

import pytest
from colab import ROOT, Colab, as_colab_saves
from leaplm.grading.assignment import lab_assignment
from leaplm.grading.course import list_labs
from leaplm.grading.demo import Classroom
from leaplm.grading.judge.engine import Engine
from leaplm.grading.judge.examiner import Lab
from leaplm.grading.rebuild.exercises import role
from leaplm.grading.submission import Submission
from solved import NEEDS, assert_handed_in, set_language

LABS = list_labs(ROOT)


@pytest.fixture(scope="module")
def colab(assets_ready):
    try:
        made = Colab(ROOT / "build" / "colab")
    except subprocess.CalledProcessError as problem:
        pytest.skip(f"no environment with Colab's versions, is an index within reach? {problem.stderr or problem}")
    yield made
    made.close()


def test_the_first_cell_leaves_what_colab_has(colab):
    before, after = json.loads((colab.folder / "before.json").read_text()), colab.versions()
    assert {name: after.get(name) for name, version in before.items() if after.get(name) != version} == {}
    assert "leaplm" in after and "onnxruntime" in after


def run_on_colab(classroom, run, folder, language="eng"):
    """The solved lab after it ran there, as the student downloads it, and the files it saved."""
    done = classroom.fill(classroom.solved)
    set_language(done, language)
    run(done, folder)
    saved = {f"artifacts/{path.name}": path.read_bytes() for path in folder.glob("artifacts/*")}
    return as_colab_saves(done).encode(), saved


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_done_on_colab_is_rebuilt_whole(lab, colab, tmp_path, shallow, needs_asset):
    """Then it has the marks of the same answers done here."""
    for asset in ("afrisenti", *NEEDS.get(lab, [])):
        needs_asset(asset)
    classroom = Classroom(lab, ROOT, tmp_path)
    run = functools.partial(colab.run_forked, environment=shallow)
    notebook, files = run_on_colab(classroom, run, tmp_path, "hau")
    assert_handed_in(lab, tmp_path, "hau", "neutral")
    rebuilt, _, _ = Lab(lab_assignment(ROOT, lab), ROOT).rebuilt(Submission(lab, "ada", notebook, files, None, (), None))
    answers = {cell.id: classroom.solved[cell.id] for cell in classroom.release.cells if role(cell) == "answer"}
    assert answers and {cell.id: cell.source for cell in rebuilt.cells if cell.id in answers} == answers


def test_a_lab_done_on_colab_has_its_marks(colab, tmp_path, short):
    """All points but those of the adapter it saved, which can be read: at scale tiny nobody trains enough for more."""
    classroom = Classroom("lab3_lora", ROOT, tmp_path)
    notebook, files = run_on_colab(classroom, functools.partial(colab.run, environment=short), tmp_path)
    files = {name.replace("-tiny.", "-cpu."): content for name, content in files.items()}
    with Engine(ROOT, "lab3_lora", jobs=1) as engine:
        record = engine.grade(Submission("lab3_lora", "ada", notebook, files, None, (), None), seed=1).record
    lost = {check["name"]: check["message"] for check in record["checks"] if check["points"] < check["max"]}
    assert record["state"] == "graded" and set(lost) <= classroom.by_artifact
    assert all("macro-F1" in said for said in lost.values()), lost
