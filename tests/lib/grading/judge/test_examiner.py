"""The examiner's side of a lab, without a student's process."""

import copy

import nbformat
import pytest
from leaplm.grading.assignment import lab_assignment
from leaplm.grading.judge.examiner import Lab
from leaplm.grading.submission import Submission
from mini import LAB, make_course


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The mini lab, and what stands for its French edition where the build puts it."""
    course = make_course(tmp_path_factory.mktemp("examiner") / "course")
    french = nbformat.read(course / "labs" / LAB / f"{LAB}.ipynb", as_version=4)
    for cell in french.cells:
        cell.source = f"En français : {cell.source}" if cell.cell_type == "markdown" else cell.source
    path = course / "labs" / "languages" / "fr" / LAB / f"{LAB}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(french, path)
    return Lab(lab_assignment(course, LAB), course), french


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_submission_is_rebuilt_in_its_own_language(lab, end):
    lab, french = lab
    submitted = copy.deepcopy(french)
    for cell in submitted.cells:
        cell.source = cell.source.replace("\n", end) + end
    made, repairs, locale = lab.rebuilt(Submission(LAB, "amina", nbformat.writes(submitted).encode(), {}, None, (), None))
    assert [cell.source for cell in made.cells] == [cell.source for cell in french.cells] and (repairs, locale) == ([], "fr")
    english, _, locale = lab.rebuilt(Submission(LAB, "amina", nbformat.writes(lab.release).encode(), {}, None, (), None))
    assert english.cells == lab.release.cells and locale == ""


def rebuilt(lab, notebook):
    return lab.rebuilt(Submission(LAB, "amina", nbformat.writes(notebook).encode(), {}, None, (), None))


@pytest.mark.parametrize(("wanted", "locale"), [
    ("", ""), ("fr_FR.UTF-8", "fr"), ("fr-CA", "fr"), ("C.UTF-8", ""), ("../fr", ""), ("sw", ""), ("xx", "")])
def test_work_that_tells_no_language_is_read_in_the_usual_one_whatever_its_name(lab, wanted, locale, monkeypatch):
    monkeypatch.setenv("LEAPLM_LOCALE", wanted)
    lab, french = lab
    bare = copy.deepcopy(french)
    for cell in bare.cells:
        cell.source = "删除了" if cell.cell_type == "markdown" else cell.source
    assert rebuilt(lab, bare)[2] == locale
    assert lab.rebuilt(Submission(LAB, "amina", None, {}, None, (), "The notebook file is empty."))[2] == locale


def test_what_is_english_in_french_work_is_no_answer(lab):
    lab, french = lab
    work = copy.deepcopy(french)
    english = {cell.id: cell for cell in lab.release.cells}
    for cell in work.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = english[cell.id].source
    made, repairs, locale = rebuilt(lab, work)
    assert [cell.source for cell in made.cells] == [cell.source for cell in french.cells] and (repairs, locale) == ([], "fr")
