"""The build: course/*.py -> solutions/ and labs/."""

import json
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from leaplm.grading.course import lab_file
from leaplm.grading.judge.banks import load_bank
from mini import LAB, MINI, ROOT, build, make_course

LABS = build.list_labs(ROOT)
CHECK = '# %% check="mean_square" points=3\n'


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return make_course(tmp_path_factory.mktemp("build") / "course")


def notebook(course, folder):
    return nbformat.read(course / folder / LAB / f"{LAB}.ipynb", as_version=4)


def test_two_builds_are_byte_identical(course):
    paths = [course / folder / LAB / f"{LAB}.ipynb" for folder in ("solutions", "labs")]
    before = [path.read_bytes() for path in paths]
    assert build.build(course, [LAB]) == paths
    assert [path.read_bytes() for path in paths] == before


def test_a_build_leaves_what_else_is_in_labs(course):
    kept = course / "labs" / LAB / "artifacts" / "mine.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("work")
    build.build(course)
    assert kept.read_text() == "work"
    kept.unlink()


def test_the_release_is_the_one_of_nbgrader_itself(course):
    ours = (course / "labs" / LAB / f"{LAB}.ipynb").read_bytes()
    trained = course / "solutions" / LAB / "artifacts" / "slope-cpu.json"
    trained.parent.mkdir()
    trained.write_text("the teacher's")
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", LAB, "--force"]
    subprocess.run(command, cwd=course, check=True, capture_output=True)
    assert (course / "labs" / LAB / f"{LAB}.ipynb").read_bytes() == ours
    assert [path.name for path in (course / "labs" / LAB).iterdir()] == [f"{LAB}.ipynb"]


def test_marks_of_cells(course):
    meta = {cell.id: cell.metadata.get("nbgrader") for cell in notebook(course, "solutions").cells}
    flags = {"grade": False, "solution": True, "locked": False, "task": False}
    assert meta["mean_square"] == {"grade_id": "mean_square", "schema_version": 3, **flags}
    assert (meta["check_mean_square"]["points"], meta["check_mean_square"]["locked"]) == (3, True)
    assert meta["why"]["grade"] and meta["why"]["solution"]
    assert meta["setup"]["locked"] and not meta["setup"]["solution"]


def test_release_asks_and_does_not_tell(course):
    cells = {cell.id: cell.source for cell in notebook(course, "labs").cells}
    assert cells["mean_square"].endswith("    raise NotImplementedError  # write your answer here")
    assert cells["why"].endswith("*Write your answer here.*")
    assert cells["check_mean_square"].startswith("assert")


def leaks(course, lab):
    """Lines of a lab's solutions, hidden tests or bank that its release shows; lines common in Python do not count."""
    solution, release = (
        nbformat.read(course / folder / lab / f"{lab}.ipynb", as_version=4) for folder in ("solutions", "labs")
    )
    secret = []
    for cell in solution.cells:
        meta = cell.metadata.get("nbgrader", {})
        regions = re.findall(r"BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", cell.source, re.DOTALL)
        secret += regions or ([cell.source] if meta.get("solution") else [])
    secret += [answer.source for answer in load_bank(lab, course)]
    lines = {line.strip() for text in secret for line in text.splitlines()}
    given = {line.strip() for cell in solution.cells for line in _given(cell)}
    shown = {line.strip() for cell in release.cells for line in cell.source.splitlines()}
    text = json.dumps(release)
    marks = [mark for mark in ("BEGIN SOLUTION", "HIDDEN TESTS", "grade_cell") if mark in text]
    return marks + sorted(line for line in (lines - given) & shown if len(line) > 15)


def _given(cell):
    """The lines that the source shows outside its solutions and hidden tests."""
    shown = re.sub(r"### BEGIN (SOLUTION|HIDDEN TESTS)\n.*?### END \1", "", cell.source, flags=re.DOTALL)
    whole = cell.metadata.get("nbgrader", {}).get("solution") and shown == cell.source
    return [] if whole else shown.splitlines()


def test_leaks_are_seen(course):
    assert leaks(course, LAB) == []
    path = course / "labs" / LAB / f"{LAB}.ipynb"
    clean = path.read_text()
    path.write_text(clean.replace("import json", "loss.backward()  # \\nreturn squares.mean()\\nimport json", 1))
    assert leaks(course, LAB) == ["return squares.mean()"]
    path.write_text(clean)


@pytest.mark.parametrize("lab", LABS)
def test_committed_notebooks_are_fresh(lab):
    solution = build.make_solution(ROOT, lab)
    for folder, text in (("solutions", solution), ("labs", build.make_release(ROOT, lab, solution))):
        committed = ROOT / folder / lab / f"{lab}.ipynb"
        assert committed.is_file() and committed.read_text() == text, f"{committed}: run `make build`"


@pytest.mark.parametrize("lab", LABS)
def test_committed_releases_do_not_leak(lab):
    assert leaks(ROOT, lab) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (CHECK, CHECK.replace("3", "5"), "points=5 here, @check(points=3)"),
        (CHECK, '# %% check="mean_cube" points=3\n', "has no check 'mean_cube'"),
        (CHECK, "# %%\n", 'no cell has check="mean_square"'),
        (CHECK, '# %% check="mean_square"\n', "needs points=N"),
        (CHECK, CHECK + "### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS\n", "delete the hidden tests"),
        (CHECK, '# %% answer="train_step"\n1\n' + CHECK, "a second cell with the id 'train_step'"),
        (CHECK, '# %% check="mean_square" answer="b" points=3\n', "answer and check on one cell"),
        (CHECK, '# %% check="mean_square" pionts=3\n', "unknown option pionts"),
        ('# %% locked="setup"\n', '# %% locked="set up"\n', "must be a string of letters"),
        ('# %% answer="mean_square"\n', "# %%\n", "a solution outside an answer cell"),
        ('# %% answer="mean_square"\n', '# %% answer="mean_square" points=1\n', "put them on its check cell"),
        ("    return squares.mean()\n    ### END SOLUTION\n", "", "each ### BEGIN SOLUTION needs"),
        ("# %% [markdown]\n# # A mini lab", "1\n# %% [markdown]\n# # A mini lab", "Start the file with a line"),
    ],
)
def test_mistakes_are_named_with_file_and_cell(tmp_path, old, new, words):
    shutil.copytree(MINI / "course", tmp_path / "course")
    path = lab_file(tmp_path, LAB, "lab.py")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(build.BuildError) as error:
        build.make_solution(tmp_path, LAB)
    assert words in str(error.value)
    assert f"{LAB}/lab.py" in str(error.value)


def test_an_unknown_lab_is_named(tmp_path):
    with pytest.raises(build.BuildError, match="no such lab"):
        build.make_solution(tmp_path, "lab9_nothing")
