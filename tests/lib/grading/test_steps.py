"""Faults of single submissions, in one class run by `nbgrader autograde`: each student gets a mark, none stops it."""

import copy

import nbformat
import pytest
from leaplm.grading.demo import Classroom
from mini import LAB, make_course
from nbgrader.api import Gradebook
from quickstart import nbgrader

pytestmark = pytest.mark.usefixtures("shared_servers")
WORK = ".nbgrader-work"
IMPATIENT = """
c.GradeSubmission.limits = {"cell_seconds": 1.0}
"""
SLOPE = b'{"slope": 2.0}'


def put(course, student, content, artifacts=True):
    """A submission as it lies in the folder for collected ones."""
    folder = course / WORK / "submitted" / student / LAB
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    (folder / f"{LAB}.ipynb").write_bytes(content if isinstance(content, bytes) else nbformat.writes(content).encode())
    if artifacts:
        (folder / "artifacts" / "slope-cpu.json").write_bytes(SLOPE)


def marks(course):
    with Gradebook(f"sqlite:///{course / WORK / 'gradebook.db'}", "leaplm") as gradebook:
        return {found.student.id: found.score for found in gradebook.assignment_submissions(LAB)}


@pytest.fixture(scope="module")
def classroom(tmp_path_factory):
    """The course, the perfect submission, and what `nbgrader autograde` said about the class."""
    course = make_course(tmp_path_factory.mktemp("steps") / "course")
    config = course / "nbgrader_config.py"
    config.write_text(config.read_text() + IMPATIENT)
    trained = course / "trained"
    trained.mkdir()
    (trained / "slope-cpu.json").write_bytes(SLOPE)
    perfect = Classroom(LAB, course, trained).perfect().notebook

    def with_answer(name, source):
        notebook = copy.deepcopy(perfect)
        next(cell for cell in notebook.cells if cell.id == name).source += "\n\n" + source
        return notebook

    put(course, "a_cut_off", b'{"cells": [')
    put(course, "b_not_text", b"\xff\xfe\x00")
    put(course, "c_new_schema", schema_99(perfect))
    put(course, "d_cannot_be_stopped", with_answer("train_step", "import time\nwhile True:\n    try:\n"
        "        time.sleep(10**6)\n    except BaseException:\n        pass"))  # fmt: skip
    put(course, "e_warns", with_answer("mean_square", "import atexit, sys\nget_ipython().events.register("
        "'pre_run_cell', lambda info: print('careful', file=sys.stderr))"))  # fmt: skip
    put(course, "f_forges", with_answer("mean_square", FORGERY))
    put(course, "g_honest", perfect)
    nbgrader(course, "generate_assignment", LAB, "--force")
    return course, perfect, nbgrader(course, "autograde", LAB)


FORGERY = """
def mean_square(x):
    get_ipython().displayhook("not a number, which nbgrader takes for full marks")
    return 0.0
"""


def schema_99(perfect):
    """A copied check and metadata from the future: either stops plain nbgrader for the whole class."""
    notebook = copy.deepcopy(perfect)
    double = copy.deepcopy(next(cell for cell in notebook.cells if cell.id == "check_mean_square"))
    double.id = "copied"
    notebook.cells.append(double)
    for cell in notebook.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.schema_version = 99
    return notebook


def test_every_student_has_the_mark_earned(classroom):
    course, _, said = classroom
    assert marks(course) == {
        "a_cut_off": 0.0,
        "b_not_text": 0.0,
        "c_new_schema": 9.0,
        "d_cannot_be_stopped": 5.0,  # what ran before, and the saved artifact
        "e_warns": 9.0,
        "f_forges": 6.0,  # no mark for the forged one
        "g_honest": 9.0,
    }, said


def test_what_could_not_be_read_is_told(classroom):
    course, _, said = classroom
    assert "a_cut_off: ungradable: " in said
    note = course / WORK / "autograded" / "b_not_text" / LAB / f"{LAB}.repairs.txt"
    assert "ungradable: " in note.read_text() and "UTF-8" in note.read_text()
    assert "d_cannot_be_stopped: timeout: A cell computed for too long and could not be interrupted." in said


def test_student_code_leaves_nothing_in_the_course(classroom):
    course, _, _ = classroom
    for made in ("submitted", "autograded"):
        folder = course / WORK / made / "g_honest" / LAB
        assert [path.name for path in (folder / "artifacts").iterdir()] == ["slope-cpu.json"]
        assert (folder / "artifacts" / "slope-cpu.json").read_bytes() == SLOPE


def test_hidden_tests_are_not_in_what_a_teacher_and_a_student_see(classroom):
    course, _, _ = classroom
    text = (course / WORK / "autograded" / "g_honest" / LAB / f"{LAB}.ipynb").read_text()
    assert "grade_cell" not in text and "mean_square: right" in text


def test_a_resubmission_that_crashes_loses_the_old_mark(classroom):
    course, perfect, _ = classroom
    crashing = copy.deepcopy(perfect)
    next(cell for cell in crashing.cells if cell.id == "train_step").source = "import os\nos._exit(1)"
    put(course, "g_honest", crashing)
    nbgrader(course, "autograde", LAB, "--student=g_honest", "--force")
    assert marks(course)["g_honest"] == 5.0
