"""Submissions rebuilt from our release: what editors and students do to notebooks, and what must come out."""

import copy
import json

import nbformat
import pytest
from leaplm.grading.rebuild import rebuild
from mini import LAB, make_course

ANSWERS = {
    "mean_square": "def mean_square(x):\n    return (x * x).mean()",
    "train_step": "def train_step(model, batch, optimizer):\n    return 0.0",
    "fit_slope": "def fit_slope(x, y):\n    return 2.0",
    "why": "Because plus and minus cancel.",
}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    course = make_course(tmp_path_factory.mktemp("rebuild") / "course")
    return nbformat.read(course / "labs" / LAB / f"{LAB}.ipynb", as_version=4)


@pytest.fixture
def submitted(release):
    """An honest submission, to be damaged."""
    notebook = copy.deepcopy(release)
    for cell in notebook.cells:
        cell.source = ANSWERS.get(cell.id, cell.source)
    return notebook


def cell(notebook, name):
    return next(cell for cell in notebook.cells if cell.get("id") == name)


def place(notebook, name):
    return notebook.cells.index(cell(notebook, name))


def assert_whole(made, release, **changed):
    """Every answer is there, and everything else is ours."""
    wanted = {c.id: ({**ANSWERS, **changed}).get(c.id, c.source) for c in release.cells}
    assert {c.id: c.source for c in made.cells if c.id in wanted} == wanted
    assert [c.metadata for c in made.cells if c.id in wanted] == [c.metadata for c in release.cells]
    nbformat.validate(made)


def texts(repairs):
    return " ".join(repair.text for repair in repairs)


def test_an_honest_submission_needs_no_repair(release, submitted):
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert len(made.cells) == len(release.cells) and repairs == []


def test_an_untouched_release_comes_back_as_it_was(release):
    made, repairs = rebuild(release, release)
    assert made == release and repairs == []


def test_outputs_and_other_metadata_are_left_behind(release, submitted):
    code = cell(submitted, "mean_square")
    code.outputs, code.execution_count = [nbformat.v4.new_output("stream", text="x")], 7
    code.metadata.update(collapsed=True, colab={"base_uri": "x"}, id="abc")
    submitted.metadata.kernelspec.name = "evil"
    made, _ = rebuild(release, submitted)
    assert_whole(made, release)
    assert cell(made, "mean_square").outputs == [] and made.metadata == release.metadata


def strip(notebook, ids=True):
    for c in notebook.cells:
        c.metadata = nbformat.from_dict({})
        if ids:
            del c["id"]
    notebook.nbformat_minor = 4 if ids else 5


def test_stripped_metadata_is_put_back(release, submitted):
    strip(submitted, ids=False)
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert "marks nbgrader needs were gone from 9 cells" in texts(repairs)
    assert not any(repair.doubtful for repair in repairs)


def test_without_metadata_and_ids_cells_are_known_by_text_and_place(release, submitted):
    strip(submitted)
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert [repair.text for repair in repairs if repair.doubtful] == [
        "The answer `why` was recognised only by its place in the notebook."
    ]


def test_an_old_notebook_format_is_read(release, submitted):
    old = nbformat.convert(copy.deepcopy(submitted), 3)
    assert_whole(rebuild(release, nbformat.reads(json.dumps(old), as_version=4))[0], release)


def test_a_copied_check_counts_once(release, submitted):
    double = copy.deepcopy(cell(submitted, "check_mean_square"))
    double.id = "copy"
    submitted.cells.append(double)
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert len(made.cells) == len(release.cells)
    assert "The check `mean_square` was there 2 times; ours was used once." in texts(repairs)


def test_of_a_copied_answer_the_version_worked_on_counts(release, submitted):
    stub = copy.deepcopy(cell(release, "mean_square"))
    stub.id = "copy"
    submitted.cells.append(stub)
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert len(made.cells) == len(release.cells)  # the copied stub would undo the answer
    assert not any(repair.doubtful for repair in repairs)


@pytest.mark.parametrize("stripped", [False, True])
def test_of_two_versions_the_last_counts_and_a_person_looks(release, submitted, stripped):
    older = copy.deepcopy(cell(submitted, "mean_square"))
    older.id, older.source = "older", "def mean_square(x):\n    return 0"
    submitted.cells.insert(place(submitted, "mean_square"), older)
    if stripped:
        strip(submitted)
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert made.cells[place(made, "mean_square") - 1].source == older.source
    assert any("several versions" in repair.text and repair.doubtful for repair in repairs)


def test_deleted_cells_come_back(release, submitted):
    gone = ("check_mean_square", "setup", "fit_slope")
    submitted.cells = [c for c in submitted.cells if c.id not in gone]
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release, fit_slope=cell(release, "fit_slope").source)
    assert "The check `mean_square` was missing and was put back." in texts(repairs)
    assert "The answer `fit_slope` was missing: it counts as not answered." in texts(repairs)
    assert [repair.doubtful for repair in repairs if "fit_slope" in repair.text] == [True]


def test_changed_checks_and_locked_cells_are_ours_again(release, submitted):
    cell(submitted, "check_mean_square").source = "assert True"
    cell(submitted, "check_mean_square").metadata.nbgrader.update(points=100, grade=False, schema_version=99)
    cell(submitted, "setup").source = "import evil"
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert "The check `mean_square` was changed" in texts(repairs) and "The cell `setup` was changed" in texts(repairs)


def test_tags_are_taken_off_and_types_put_right(release, submitted):
    cell(submitted, "check_mean_square").metadata.tags = ["skip-execution"]
    index = place(submitted, "train_step")
    submitted.cells[index] = nbformat.v4.new_markdown_cell(
        ANSWERS["train_step"], id="train_step", metadata=submitted.cells[index].metadata
    )
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert "The tag skip-execution was taken off 1 cells." in texts(repairs)
    assert "The answer `train_step` had become markdown" in texts(repairs)


def test_moved_cells_are_in_our_order_again(release, submitted):
    submitted.cells.reverse()
    made, _ = rebuild(release, submitted)
    assert_whole(made, release)
    assert [c.id for c in made.cells] == [c.id for c in release.cells]


def test_added_cells_are_kept_in_place_as_plain_cells(release, submitted):
    helper = nbformat.v4.new_code_cell("def helper(x):\n    return x", metadata={"tags": ["x"], "nbgrader": {}})
    submitted.cells.insert(place(submitted, "mean_square"), helper)
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    before = made.cells[place(made, "mean_square") - 1]
    assert (before.source, before.metadata) == (helper.source, {}) and repairs == []


def test_free_cells_are_the_students(release, submitted):
    free = next(c for c in submitted.cells if c.source.startswith("x = torch.linspace"))
    free.source = "x = torch.linspace(-2, 2, 80)\ny = 2 * x"
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release, **{free.id: free.source})
    assert repairs == []


def test_pictures_in_a_written_answer_are_kept(release, submitted):
    cell(submitted, "why").attachments = {"a.png": {"image/png": "AAAA"}}
    assert cell(rebuild(release, submitted)[0], "why").attachments == {"a.png": {"image/png": "AAAA"}}


@pytest.mark.parametrize(
    "cells",
    [
        [],
        None,
        "text",
        [1, None, {}, {"source": 3}, {"source": "x", "metadata": []}],
        [{"cell_type": "code", "source": "1", "metadata": {"nbgrader": 5, "tags": 7, "id": 1}, "id": [1]}],
        [{"cell_type": "code", "source": "1", "metadata": {"nbgrader": {"grade_id": ["x"]}, "tags": [{}]}}],
    ],
)
def test_rubbish_is_an_empty_submission(release, cells):
    made, repairs = rebuild(release, nbformat.from_dict({"cells": cells, "metadata": {}}))
    assert {c.id: c.source for c in made.cells if not c.id.startswith("added")} == {c.id: c.source for c in release.cells}
    assert all(repair.text for repair in repairs) and repairs


def test_jupytext_and_back_loses_nothing(release, submitted):
    import jupytext

    for form in ("py:percent", "md", "py:light"):
        text = jupytext.writes(submitted, fmt=form)
        made, _ = rebuild(release, jupytext.reads(text, fmt=form))
        assert_whole(made, release)
