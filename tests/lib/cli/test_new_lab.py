"""A new lab is a folder that builds, passes its own tests, and can be graded."""

import shutil
import subprocess
import sys

import nbformat
import pytest
from leaplm.cli.new_lab import new_lab
from leaplm.grading.course import list_labs
from leaplm.grading.demo import Classroom
from leaplm.grading.judge.engine import Engine
from leaplm.grading.submission import Submission
from repo import ROOT
from walled import needs_sandbox

NAME = "lab20_names"
PARTS = ("course", "labs", "solutions", "lib", "tests", "binder", "README.md", "pyproject.toml", "nbgrader_config.py")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the project with a lab that `leaplm new-lab` made."""
    folder = tmp_path_factory.mktemp("clone")
    ignored = shutil.ignore_patterns("__pycache__", "artifacts", "runs", "attacks", "*.egg-info")
    for path in (ROOT / part for part in PARTS):
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=ignored)
        else:
            shutil.copy(path, folder)
    program(folder, "leaplm", "new-lab", NAME, "--title", "Names in texts")
    return folder


def program(folder, *words):
    """A program of the clone, with the clone's own library."""
    environment = {"PYTHONPATH": str(folder / "lib"), "LEAPLM_COURSE": str(folder)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("PYTEST_XDIST_WORKER", raising=False)
        done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_passes_its_own_tests(clone, tmp_path):
    said = program(clone, "pytest", "-q", "tests/course/test_labs.py", "tests/course/test_banks.py",
                   "tests/course/tools/test_build.py", "tests/course/tools/test_mutants.py", "-k", NAME,
                   "--basetemp", str(tmp_path / "own"))  # else it would remove what earlier runs have left in the usual one
    assert " passed" in said and "skipped" not in said, said


def test_the_tables_and_the_start_page_list_it(clone):
    for page in ("README.md", "course/README.md", "course/MISTAKES.md", "labs/START.md"):
        assert "Names in texts" in (clone / page).read_text(encoding="utf-8"), page


@needs_sandbox
def test_it_can_be_graded(clone, tmp_path):
    done = Classroom(NAME, clone, tmp_path).perfect()
    submission = Submission(NAME, "amina", nbformat.writes(done.notebook).encode(), {}, None, (), None)
    with Engine(clone, NAME, jobs=1) as engine:
        record = engine.grade(submission, seed=1).record
    assert (record["state"], record["points"], record["max"]) == ("graded", 2, 2)


@pytest.mark.parametrize("name, words", [("names", "is not the name of a lab"), ("Lab20_Names", "is not the name of a lab"),
                                         ("lab2_other", "there is a lab 2 already"), ("lab20", "is not the name")])
def test_a_name_that_is_no_good_is_refused(name, words):
    before = list_labs(ROOT)
    with pytest.raises(ValueError, match=words):
        new_lab(ROOT, name)
    assert list_labs(ROOT) == before
