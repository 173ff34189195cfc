"""Submissions rebuilt from our release: what editors and students do to notebooks, and what must come out."""

import copy
import json
import re
import time
import unicodedata

import jupytext
import nbformat
import pytest
from colab import as_colab_saves
from leaplm.grading.rebuild.language import language_of
from leaplm.grading.rebuild.plan import Plan
from leaplm.grading.rebuild.repair import rebuild
from mini import LAB, ROOT, make_course

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


EDITORS = {
    "windows": lambda text: text.replace("\n", "\r\n"),
    "old mac": lambda text: text.replace("\n", "\r"),
    "a last line": lambda text: text + "\n",
    "blanks": lambda text: "\n".join(line + "  \t" for line in text.split("\n")) + " \n\n",
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
}


@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("stripped", [False, True])
def test_what_an_editor_changes_by_itself_is_no_change(release, submitted, editor, stripped):
    for c in (*release.cells, *submitted.cells):
        c.source = c.source.replace("#", "# Yorùbá: Ọlá", 1) if c.id not in ANSWERS else c.source
    untouched = copy.deepcopy(release)
    for c in (*submitted.cells, *untouched.cells):
        c.source = EDITORS[editor](c.source)
        if stripped:
            c.metadata, c.id = {}, f"new-{c.id}"
    made, repairs = rebuild(release, untouched)
    assert made.cells == release.cells and [r for r in repairs if "marks nbgrader needs" not in r.text] == []
    made, repairs = rebuild(release, submitted)
    assert {c.id: c.source.split() for c in made.cells} == {c.id: ANSWERS.get(c.id, c.source).split() for c in release.cells}
    assert not [r for r in repairs if r.doubtful or "was changed" in r.text]
    assert Plan(made, release, set()).cells == Plan(rebuild(release, as_answered(release))[0], release, set()).cells


def as_answered(release):
    notebook = copy.deepcopy(release)
    for c in notebook.cells:
        c.source = ANSWERS.get(c.id, c.source)
    return notebook


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
    assert "The answer `why` was recognised only by its place in the notebook." in texts(repairs)
    assert not any(repair.doubtful for repair in repairs)


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


# ---- what editors do


def test_jupytext_and_back_loses_nothing(release, submitted):
    for form in ("py:percent", "md", "py:light", "ipynb"):
        text = jupytext.writes(submitted, fmt=form)
        made, repairs = rebuild(release, jupytext.reads(text, fmt=form))
        assert_whole(made, release)
        assert not any(repair.doubtful for repair in repairs)


def test_a_script_with_plain_cell_marks_comes_back(release, submitted):
    """Exported as py:percent by an editor that writes no metadata, and opened as a notebook again."""
    text = jupytext.writes(submitted, fmt="py:percent")
    text = re.sub(r"^# %%(?! \[markdown\]).*$", "# %%", text, flags=re.MULTILINE)
    text = re.sub(r"^# %% \[markdown\].*$", "# %% [markdown]", text, flags=re.MULTILINE)
    made, repairs = rebuild(release, jupytext.reads(text, fmt="py:percent"))
    assert_whole(made, release)
    assert not any(repair.doubtful for repair in repairs)


@pytest.mark.parametrize("as_version", [3, 4])
def test_a_file_of_another_format_version_comes_back(release, submitted, as_version):
    text = nbformat.writes(submitted, version=as_version)
    assert_whole(rebuild(release, nbformat.reads(text, as_version=4))[0], release)


def test_jupyterlab_adds_metadata_and_outputs(release, submitted):
    for number, c in enumerate(submitted.cells):
        c.metadata.update(
            trusted=True, scrolled=True, jupyter={"source_hidden": False}, editable=True, slideshow={"slide_type": ""}
        )
        if c.cell_type == "code":
            c.metadata.execution = {"iopub.execute_input": "2026-03-01T10:00:00Z"}
            c.execution_count, c.outputs = number, [nbformat.v4.new_output("stream", text="done")]
    made, repairs = rebuild(release, nbformat.reads(nbformat.writes(submitted), as_version=4))
    assert_whole(made, release)
    assert repairs == []


@pytest.mark.parametrize("keeps_ours", [True, False])
def test_colab_brings_ids_of_its_own(release, submitted, keeps_ours):
    made, repairs = rebuild(release, nbformat.reads(as_colab_saves(submitted, keeps_ours), as_version=4))
    assert_whole(made, release)
    assert len(made.cells) == len(release.cells) + 1 and not any(repair.doubtful for repair in repairs)
    assert ("were gone" in texts(repairs)) is not keeps_ours


def test_vs_code_drops_all_metadata(release, submitted):
    for c in submitted.cells:
        c.metadata = nbformat.from_dict({"vscode": {"languageId": "python"}} if c.cell_type == "code" else {})
        del c["id"]
    submitted.nbformat_minor = 2
    submitted.metadata = nbformat.from_dict({"language_info": {"name": "python", "version": "3.11"}})
    made, repairs = rebuild(release, nbformat.reads(json.dumps(submitted), as_version=4))
    assert_whole(made, release)
    assert "marks nbgrader needs were gone from 9 cells" in texts(repairs)


def test_cells_copied_in_jupyterlab_have_new_ids_and_the_old_marks(release, submitted):
    for name in ("setup", "mean_square", "check_mean_square"):
        double = copy.deepcopy(cell(submitted, name))
        double.id = f"copy-{name.replace('_', '-')}"
        submitted.cells.insert(place(submitted, name) + 1, double)
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert "The answer `mean_square` was there 2 times: a copy." in texts(repairs)
    assert not any(repair.doubtful for repair in repairs)


@pytest.mark.parametrize("stripped", [False, True])
def test_of_a_split_answer_both_halves_run_in_order(release, submitted, stripped):
    first = copy.deepcopy(cell(submitted, "mean_square"))
    first.id, first.source = "first-half", "def square(x):\n    return x * x"
    second = cell(submitted, "mean_square")
    second.source = "def mean_square(x):\n    return square(x).mean()"
    submitted.cells.insert(place(submitted, "mean_square"), first)
    if stripped:
        strip(submitted)
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release, mean_square=second.source)
    assert made.cells[place(made, "mean_square") - 1].source == first.source
    assert stripped or any("several versions" in repair.text and repair.doubtful for repair in repairs)


@pytest.mark.parametrize("stripped", [False, True])
def test_merged_answers_both_count(release, submitted, stripped):
    """JupyterLab keeps the marks of the first cell only; the other answer's stub must not take its place."""
    both = ANSWERS["mean_square"] + "\n\n" + ANSWERS["train_step"]
    cell(submitted, "mean_square").source = both
    submitted.cells = [c for c in submitted.cells if c.id != "train_step"]
    if stripped:
        strip(submitted)
    made, repairs = rebuild(release, submitted)
    note = "# The answer is in the cell `mean_square`."
    assert_whole(made, release, mean_square=both, train_step=note)
    assert "The answer `train_step` had no cell of its own; it stands in the cell `mean_square`." in texts(repairs)


def test_an_answer_merged_with_its_check_counts(release, submitted):
    both = ANSWERS["mean_square"] + "\n\n" + cell(submitted, "check_mean_square").source
    cell(submitted, "mean_square").source = both
    submitted.cells = [c for c in submitted.cells if c.id != "check_mean_square"]
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release, mean_square=both)
    assert "The check `mean_square` was missing and was put back." in texts(repairs)


@pytest.mark.parametrize("before", [False, True])
def test_an_answer_in_an_added_cell_counts_where_its_own_was_left(release, submitted, before):
    cell(submitted, "mean_square").source = cell(release, "mean_square").source
    at = place(submitted, "mean_square") + (not before)
    submitted.cells.insert(at, nbformat.v4.new_code_cell(ANSWERS["mean_square"]))
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert len(made.cells) == len(release.cells)
    assert "The answer `mean_square` was taken from a cell that was added." in texts(repairs)


def test_of_two_added_answers_the_last_counts_both_are_kept_and_a_person_looks(release, submitted):
    cell(submitted, "mean_square").source = cell(release, "mean_square").source
    at = place(submitted, "mean_square")
    other = "def mean_square(x):\n    return 0"
    submitted.cells[at + 1 : at + 1] = [nbformat.v4.new_code_cell(text) for text in (other, ANSWERS["mean_square"])]
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert other in [c.source for c in made.cells]
    assert any(repair.doubtful and "mean_square" in repair.text for repair in repairs)


def test_an_answer_that_is_defined_again_is_doubtful(release, submitted):
    again = "def mean_square(x):\n    return 0"
    submitted.cells.insert(place(submitted, "check_mean_square"), nbformat.v4.new_code_cell(again))
    made, repairs = rebuild(release, submitted)
    assert_whole(made, release)
    assert made.cells[place(made, "mean_square") + 1].source == again
    assert [repair.text for repair in repairs if repair.doubtful] == [
        "The answer `mean_square` is defined again in 1 added cells; all are kept."
    ]


def test_a_helper_above_the_function_does_not_hide_it(release, submitted):
    source = "def helper(x):\n    return x * x\n\n" + ANSWERS["mean_square"]
    cell(submitted, "mean_square").source = source
    strip(submitted)
    assert_whole(rebuild(release, submitted)[0], release, mean_square=source)


def test_two_unknown_cells_for_one_answer_are_both_kept_for_a_person(release, submitted):
    at = place(submitted, "why")
    submitted.cells[at : at + 1] = [nbformat.v4.new_markdown_cell(text) for text in ("It is so.", "It is otherwise.")]
    strip(submitted)
    made, repairs = rebuild(release, submitted)
    assert {"It is so.", "It is otherwise."} <= {c.source for c in made.cells}
    assert any(repair.doubtful and "The answer `why` was missing" in repair.text for repair in repairs)


@pytest.mark.parametrize("lab", sorted(path.name for path in (ROOT / "labs").glob("lab*")))
def test_each_lab_comes_back_without_metadata_and_ids(lab):
    ours = nbformat.read(ROOT / "labs" / lab / f"{lab}.ipynb", as_version=4)
    solved = {c.id: c.source for c in nbformat.read(ROOT / "solutions" / lab / f"{lab}.ipynb", as_version=4).cells}
    work = copy.deepcopy(ours)
    for c in work.cells:
        if c.metadata.get("nbgrader", {}).get("solution"):
            c.source = re.sub(r".*(BEGIN|END) SOLUTION.*\n?", "", solved[c.id]).strip()
    wanted = [(c.id, c.source) for c in work.cells]
    strip(work)
    made, repairs = rebuild(ours, work)
    assert [(c.id, c.source) for c in made.cells] == wanted
    assert not any(repair.doubtful for repair in repairs)


@pytest.mark.parametrize("text", ["def mean_square(x): pass", "x" * 1000, "a = 1", "squares = x * x # {}"])
def test_d12_thousands_of_cells_take_seconds(release, text):
    cells = [nbformat.v4.new_code_cell(f"{text}\n# {number}") for number in range(2_000)]
    start = time.perf_counter()
    made, repairs = rebuild(release, nbformat.v4.new_notebook(cells=cells))
    assert time.perf_counter() - start < 20 and len(made.cells) >= 2_000
    assert any(repair.doubtful for repair in repairs)


# A lab in several languages: the same stub, with its docstring, comment and written form in another one.

STUB = 'def double(x):\n    """{0}"""\n    raise NotImplementedError  # {0}'
GIVEN = {"en": "Twice x.", "es": "El doble de x.", "zh_CN": "两倍。"}
RIGHT = 'def double(x):\n    """El doble de x."""\n    return 2 * x'


def in_language(words):
    marks = {"grade": False, "locked": False, "schema_version": 3, "solution": True, "task": False}
    code = nbformat.v4.new_code_cell(STUB.format(words), id="double")
    code.metadata["nbgrader"] = marks | {"grade_id": "double"}
    form = nbformat.v4.new_markdown_cell(f"({words})", id="form")
    form.metadata["nbgrader"] = marks | {"grade_id": "form", "grade": True, "points": 1}
    fixed = nbformat.v4.new_code_cell(f"import math  # {words}", id="fixed")
    fixed.metadata["nbgrader"] = marks | {"grade_id": "fixed", "solution": False, "locked": True}
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(words, id="words"), fixed, code, form])


@pytest.fixture
def languages():
    return {name: in_language(words) for name, words in GIVEN.items()}


def rebuilt(languages, work):
    return rebuild(languages["es"], work, [languages["en"], languages["zh_CN"]])


def without_docstring(source):
    return source.split("\n")[0] + "\n    raise NotImplementedError"


PASTED = {"with its marks": lambda cell: cell | {"id": "pasted"},
          "its text": lambda cell: nbformat.v4.new_code_cell(cell.source),
          "without docstring": lambda cell: nbformat.v4.new_code_cell(without_docstring(cell.source))}  # fmt: skip


@pytest.mark.parametrize("form", PASTED)
@pytest.mark.parametrize("language", GIVEN)
@pytest.mark.parametrize("below", [True, False])
def test_a_stub_of_any_language_beside_an_answer_is_no_second_version(languages, language, form, below):
    work = copy.deepcopy(languages["es"])
    cell(work, "double").source = RIGHT
    stub = nbformat.from_dict(PASTED[form](copy.deepcopy(cell(languages[language], "double"))))
    work.cells.insert(place(work, "double") + below, stub)
    made, repairs = rebuilt(languages, work)
    assert [c.source for c in made.cells if c.cell_type == "code"] == [cell(languages["es"], "fixed").source, RIGHT]
    assert not [repair for repair in repairs if repair.doubtful]


@pytest.mark.parametrize("stub", [*(STUB.format(words) for words in GIVEN.values()), without_docstring(STUB)])
@pytest.mark.parametrize("below", [True, False])
def test_an_answer_in_an_added_cell_counts_beside_a_stub_of_any_language(languages, stub, below):
    work = copy.deepcopy(languages["es"])
    cell(work, "double").source = stub
    work.cells.insert(place(work, "double") + below, nbformat.v4.new_code_cell(RIGHT))
    made, repairs = rebuilt(languages, work)
    assert [c.source for c in made.cells if c.cell_type == "code"] == [cell(languages["es"], "fixed").source, RIGHT]
    assert "taken from a cell that was added" in texts(repairs)


@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("language", GIVEN)
def test_what_was_given_out_in_another_language_is_not_answered(languages, language, stripped):
    work = copy.deepcopy(languages[language])
    if stripped:
        strip(work)
    made, repairs = rebuilt(languages, work)
    assert made.cells == languages["es"].cells  # so nbgrader knows a written answer that is none


def test_a_cell_of_ours_in_another_language_does_not_run_again(languages):
    work = copy.deepcopy(languages["es"])
    work.cells.insert(0, nbformat.v4.new_code_cell(cell(languages["zh_CN"], "fixed").source))
    assert len(rebuilt(languages, work)[0].cells) == len(languages["es"].cells)


@pytest.mark.parametrize("language", GIVEN)
@pytest.mark.parametrize("kept", ["all", "code", "nothing"])
def test_a_notebooks_language_is_told_by_its_text_else_by_the_words_in_its_code(languages, language, kept):
    work = copy.deepcopy(languages[language])
    for c in work.cells:
        if kept == "nothing" or c.cell_type != kept and kept != "all":
            c.source = "gone"
    assert language_of(work, languages) == (None if kept == "nothing" else language)
