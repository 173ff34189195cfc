"""In a clone a learner writes in the release itself: what was given out is still known."""

import copy
import itertools
import json
import os
import re
import shutil
import time

import nbformat
import pytest
from leaplm.grading.rebuild.exercises import role
from leaplm.grading.texts import same_answer
from leaplm.learner import certificate, given_out, handed, progress, releases
from leaplm.translation import list_locales
from mini import LAB
from mini_learner import answered
from repo import ROOT

LABS, START = releases.known_labs(ROOT), "lab0_start"
ANSWERED = "def premium(counts, english_counts):\n    return sum(counts) / sum(english_counts)"


def clone_of(folder, lab):
    """A clone of the course with one lab, in all its languages."""
    (folder / "course").symlink_to(ROOT / "course")
    for path in releases.release_files(ROOT, lab).values():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
        os.utime(target, (time.time() - 3600,) * 2)  # given out an hour ago
    return folder


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAPLM_COURSE", str(tmp_path))
    monkeypatch.delenv("LEAPLM_LOCALE", raising=False)
    monkeypatch.chdir(tmp_path)
    return clone_of(tmp_path, START)


def solved(lab, locale, but=()):
    """The release with answers in place, run, as a learner leaves it."""
    notebook = copy.deepcopy(releases.read_release(ROOT, lab, locale))
    solution = nbformat.read(ROOT / "solutions" / lab / f"{lab}.ipynb", as_version=4)
    answers = {cell.id: cell.source for cell in solution.cells if role(cell) in ("answer", "manual")}
    for number, cell in enumerate(notebook.cells):
        if cell.id in answers and cell.id not in but:
            cell.source = given_out.with_docstrings(answers[cell.id], cell.source)
        if cell.cell_type == "code":
            cell.execution_count = number
    return notebook


def write(root, lab, locale, notebook):
    path = releases.release_files(root, lab)[locale]
    path.write_text(nbformat.writes(notebook) if not isinstance(notebook, str) else notebook, encoding="utf-8")
    return path


def without_names(notebook):
    """As Colab gives it back: without ids and nbgrader's marks."""
    for cell in notebook.cells:
        cell.metadata, cell.id = nbformat.NotebookNode(), f"colab{cell.id}"[:60]
    return notebook


def with_fewer_checks(notebook):
    checks = [cell for cell in notebook.cells if role(cell) == "check"]
    checks[0].source, checks[0].metadata.nbgrader.points = "print('mine')", 50
    notebook.cells = [cell for cell in notebook.cells if cell not in checks[1:]]
    return notebook


def with_cells_added(notebook):
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("# Notes"))
    notebook.cells.insert(4, nbformat.v4.new_code_cell("print(1)"))
    return notebook


def without_title(notebook):
    notebook.cells.pop(0)
    return notebook


SPOILT = {"answered": lambda notebook: notebook, "stripped": without_names, "checks spoilt": with_fewer_checks,
          "cells added": with_cells_added, "title gone": without_title,
          "no notebook": lambda notebook: '{"cells": 3}'}  # fmt: skip


@pytest.mark.parametrize("locale", ["", "sw"])
@pytest.mark.parametrize("lab", LABS)
def test_what_was_given_out_is_known_from_a_solved_notebook_in_its_place(lab, locale, tmp_path):
    clone = clone_of(tmp_path, lab)
    write(clone, lab, locale, solved(lab, locale))
    ours, found = releases.read_release(ROOT, lab, locale), releases.read_release(clone, lab, locale)
    assert [cell.id for cell in found.cells] == [cell.id for cell in ours.cells]
    for mine, cell in zip(ours.cells, found.cells, strict=True):
        if role(cell) != "manual" or "**" not in mine.source:  # a form to be filled in
            assert same_answer(cell.source, mine.source) if role(cell) == "answer" else cell.source == mine.source
    assert releases.tasks(clone, lab, locale) == releases.tasks(ROOT, lab, locale)


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("locale", ["", "sw"])
def test_checks_points_and_digest_are_those_given_out(clone, locale, how):
    write(clone, START, locale, SPOILT[how](solved(START, locale)))
    ours, found = releases.tasks(ROOT, START, locale), releases.tasks(clone, START, locale)
    assert [(task.check, task.points) for task in found] == [(task.check, task.points) for task in ours]
    assert certificate.course_digest(clone, START) == certificate.course_digest(ROOT, START)
    if how != "no notebook":
        assert [task.title for task in found] == [task.title for task in ours]
    assert progress.title_of(clone, START, locale) == progress.title_of(ROOT, START, locale)
    with releases.course_as_given_out(clone, [START]) as course:
        graded = nbformat.read(releases.release_files(course, START)[locale], as_version=4)
        assert [cell.id for cell in graded.cells if role(cell)] == [
            cell.id for cell in releases.read_release(ROOT, START).cells if role(cell)]
        assert (course / "course" / START / "checks.py").is_file()


def test_an_untouched_clone_is_graded_as_it_lies(clone):
    with releases.course_as_given_out(clone, [START]) as course:
        assert course == clone


@pytest.mark.parametrize("how", ["answered", "stripped", "cells added"])
@pytest.mark.parametrize(("locale", "told"), [("", "no answer to"), ("sw", "")])
def test_only_what_is_not_answered_is_missing(clone, locale, told, how):
    path = write(clone, START, locale, SPOILT[how](solved(START, locale, but=("fairest", "advice"))))
    done = handed.pack(START, "Amina", path, path.parent, clone)
    heads = handed.headings(releases.read_release(ROOT, START, locale))
    answers = [line for line in done.missing if "artifacts/" not in line]
    assert len(answers) == 2 and all(told in line for line in answers)
    assert heads["fairest"] in answers[0] and heads["advice"] in answers[1]


def test_without_another_language_the_checksums_tell(labs, course):
    """The mini course is there in English only; here a learner works in its release."""
    path = course / "labs" / LAB / f"{LAB}.ipynb"
    before = path.read_text(encoding="utf-8")
    try:
        nbformat.write(answered(course, mean_square=None), path)
        releases.read_release.cache_clear()
        done = handed.pack(LAB, "Amina", path, path.parent, labs)
        assert [line for line in done.missing if "artifacts/" not in line] == ["no answer to “1. Mean square”"]
    finally:
        path.write_text(before, encoding="utf-8")
        releases.read_release.cache_clear()


def test_a_cell_that_a_learner_added_is_no_cell_of_a_lab(clone):
    write(clone, START, "", with_cells_added(solved(START, "")))
    assert releases.find_lab("print(1)") == "" and releases.find_lab(ANSWERED) == ""
    check = next(cell for cell in releases.read_release(ROOT, START).cells if role(cell) == "check")
    assert releases.find_task(check.source, START).check == "premium"


def test_a_damaged_notebook_takes_no_other_lab_its_marks(clone):
    write(clone, START, "ha", "{")
    check = next(cell for cell in releases.read_release(ROOT, START).cells if role(cell) == "check")
    assert releases.find_lab(check.source) == START


def changed(clone, locale, ago=0):
    path = write(clone, START, locale, solved(START, locale))
    os.utime(path, (time.time() - ago,) * 2)
    return path


@pytest.mark.parametrize("start", [".", "labs"])
@pytest.mark.parametrize(("worked", "wanted", "expected"), [
    ([], "", ""), ([], "sw", "sw"), (["sw"], "", "sw"), (["sw"], "ha", "sw"), ([""], "sw", ""),
    (["", "sw"], "sw", "sw"), (["ha", "sw"], "", "sw"), (["", "sw"], "", "")])  # fmt: skip
def test_the_notebook_that_was_worked_on_is_handed_in(clone, monkeypatch, start, worked, wanted, expected):
    monkeypatch.setenv("LEAPLM_LOCALE", wanted)
    for number, locale in enumerate(worked):
        changed(clone, locale, ago=100 - number)
    found = handed.find_notebook(START, clone / start)
    assert found == releases.release_files(clone, START)[expected]


def test_the_folder_one_stands_in_comes_first(clone):
    changed(clone, "ha")
    files = releases.release_files(clone, START)
    assert handed.find_notebook(START, files["sw"].parent) == files["sw"]
    assert handed.find_notebook(START, files["sw"].parents[1]) == files["sw"]


def test_the_notebook_is_named_and_not_taken_for_unsaved(clone):
    """The progress is one for all languages: cells were run in the Swahili notebook, and it was saved after that."""
    path, said = changed(clone, "sw"), []
    with progress.changing(progress.progress_file(clone / "labs" / START), START) as record:
        progress.note_work(record, 5)
    os.utime(path, (time.time() + 5,) * 2)
    assert handed.run("lab0", "Amina", clone, clone, said.append) == 0
    assert str(path) in said[0] and not handed.not_saved(START, path)
    assert not handed.not_saved(START, releases.release_files(clone, START)[""])


@pytest.mark.parametrize("source", ["def f(:", "x = 1", "def f(x): return x", "def f(x):\n  return x", "class A: pass",
                                    "@cached\ndef f(x):\n    'Twice.'\n    return 2 * x"])  # fmt: skip
def test_a_stub_of_anything_is_python_and_no_answer(source):
    stub = given_out.stub_of(source)
    compile(stub, "<stub>", "exec")
    assert stub.endswith("raise NotImplementedError") and "return" not in stub


LOCALES = ["", *list_locales(ROOT)]
BROKEN = {"no Python": lambda source: f"{source}\n    return {{1",
          "no docstring": lambda source: re.sub(r'r?""".*?"""', "", source, flags=re.S)}  # fmt: skip


@pytest.mark.parametrize("lab", LABS)
def test_what_was_asked_is_told_in_no_third_language(lab):
    """Where an answer is no Python, its docstring is still read; where it has none, English may stand in, or nothing."""
    files = {locale: releases.read_notebook(path) for locale, path in releases.release_files(ROOT, lab).items()}
    asked = {locale: asked_in(files[locale]) for locale in files}
    assert set(asked) <= set(LOCALES) and all(asked.values())
    for locale, (how, broken) in itertools.product(files, BROKEN.items()):
        own = copy.deepcopy(files[locale])
        for cell in own.cells:
            if role(cell) == "answer" and cell.cell_type == "code":
                cell.source = broken(cell.source)
        found = asked_in(given_out.as_given_out(own, set(), ((other, files[other]) for other in files if other != locale)))
        allowed = set(asked[locale]) | (set(asked[""]) if how == "no docstring" else set())
        assert set(found) <= allowed, (locale, how, sorted(set(found) - allowed)[:3])
        assert how == "no docstring" or set(found) == allowed, locale
        assert all(line in found for line in asked[locale] if line.startswith(("def ", "class "))), locale


def asked_in(notebook):
    """The lines of what is asked in a lab."""
    sources = [cell.source for cell in notebook.cells if role(cell) == "answer"]
    return [line for source in sources for line in releases.described(source).split("\n")]


def test_a_cell_without_a_text_breaks_nothing(tmp_path):
    path = tmp_path / "a.ipynb"
    for content in ("[]", "{}", json.dumps({"cells": [{}]}), json.dumps({"cells": [{"source": 3, "metadata": {}}]})):
        path.write_text(content)
        assert releases.raw_cells(path) == [] and releases.read_notebook(path).cells == []
