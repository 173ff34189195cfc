"""An assignment from our side: on the wire, by its digest, with ids, and which of its cells have a check function."""

import math
from dataclasses import replace

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaplm.grading.assignment import Assignment, check_functions, unpacked, with_ids
from leaplm.grading.intake.ingest import read_submission
from leaplm.grading.judge.checks import Verdict
from leaplm.grading.judge.examiner import credit, is_inside
from leaplm.grading.sandbox.wire import decode, encode
from nbgrader.utils import get_partial_grade

EMPTY = nbformat.writes(nbformat.v4.new_notebook())
names = st.text("abc_é", min_size=1, max_size=8)
assignments = st.builds(Assignment, names, names, st.just(EMPTY), st.dictionaries(names, st.text()),
                        st.dictionaries(names, st.text()), st.dictionaries(names, st.binary()),
                        st.lists(names).map(tuple), st.booleans())  # fmt: skip


@given(assignments)
def test_an_assignment_comes_through_the_wire_as_it_was(made):
    again = unpacked(decode(encode(made.packed())))
    assert again == made and again.digest == made.digest


@given(assignments, assignments)
def test_the_digest_tells_assignments_apart(one, other):
    assert (one.digest == other.digest) == (one == other)


@given(st.lists(st.sampled_from(["a", "b", "cell-1", ""])))
def test_every_cell_has_an_id_of_its_own_always_the_same(ids):
    def made():
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1") for _ in ids])
        for cell, own in zip(book.cells, ids, strict=True):
            cell["id"] = own
        return [cell.id for cell in with_ids(book).cells]

    assert len(set(made())) == len(ids) and made() == made() and all(made())


@given(st.one_of(st.none(), st.text(max_size=9), st.floats().map(repr), st.floats(-1, 4).map(repr), st.integers().map(str)))
def test_a_mark_is_that_of_nbgrader_where_it_gives_one(text):
    """nbgrader has no mark for more than the points, and full marks for what is no number, `nan` too."""
    got = credit(text, 3.0)
    try:
        theirs = get_partial_grade({"data": {"text/plain": text}}, 3.0) if text else 3.0
    except ValueError:
        theirs = None
    if theirs is None or text and text.strip().lower().lstrip("+-") == "nan":
        assert got.points == 0 and got.fault
    else:
        assert got.points == theirs and not got.fault and math.isfinite(got.points)


@given(st.floats(0, 3), st.sampled_from([np.float64, np.float32]))
def test_a_number_of_numpy_is_a_mark(number, kind):
    """nbgrader, which reads what a notebook shows, takes `np.float64(1.5)` for no number."""
    assert credit(repr(kind(number)), 3.0).points == pytest.approx(float(kind(number)))


@pytest.mark.parametrize("text", ["np.int64(7)", "np.float64(-1.0)", "np.float64(nan)", "np.True_", "np.str_('a')"])
def test_a_number_of_numpy_that_can_be_no_mark_is_none(text):
    assert credit(text, 3.0) == Verdict(3.0, "passed")


@pytest.mark.parametrize(("name", "inside"), {
    "made.txt": True, "plots/one.png": True, "../gradebook.db": False, "/etc/passwd": False, "a/../../b": False,
    "week1.ipynb": False, ".hidden/x": False, "": False, "a//b": False, "C:/x": False, "a\nb": False,
    "timestamp.txt": False, "data/timestamp.txt": True, "timestamp.txt/x": False, "week1.ipynb/x": False,
    "week1.repairs.txt": False, "week1.repairs.txt/x": False, "data/week1.ipynb": False,
}.items())
def test_a_file_that_a_notebook_made_stays_beside_it(name, inside):
    assert is_inside(name) == inside


def test_check_functions_are_found_without_running_the_file(tmp_path):
    path = tmp_path / "checks.py"
    path.write_text("import nothing_like_this\n@check(points=2)\ndef one(student, rng): ...\ndef helper(): ...\n"
                    "@grading.check(points=1)\ndef two(student, rng): ...\n")  # fmt: skip
    assert check_functions(path) == {"one", "two"} and check_functions(tmp_path / "none.py") == set()


def test_every_file_of_a_plain_submission_is_kept_in_its_place(tmp_path):
    """But the time of receipt, other notebooks, and what lies beside another copy of the notebook."""
    assignment = Assignment("week1", "p1", EMPTY, siblings=("p2",), plain=True)
    for name in ("p1.ipynb", "p2.ipynb", "p1 copy.ipynb", "helper.py", "data/rows.csv", "timestamp.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(EMPTY)
    found = read_submission(tmp_path, "week1", "amina", assignment=assignment)
    assert set(found.files) == {"helper.py", "data/rows.csv"} and found.title == "p1" and found.notes == ()
    other = read_submission(tmp_path, "week1", "amina", assignment=replace(assignment, notebook="p2", siblings=("p1",)))
    assert other.digest != found.digest
    (tmp_path / "p1.ipynb").unlink()
    (tmp_path / "p1 copy.ipynb").unlink()
    missing = read_submission(tmp_path, "week1", "amina", assignment=assignment)
    assert missing.refused and "p1.ipynb" in missing.refused
