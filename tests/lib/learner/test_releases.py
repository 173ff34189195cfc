"""What a learner's machine knows of the labs: each check is found by its cell, in the clone and inside the wheel."""

import os
import re
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import nbformat
import pytest
from leaplm import locales
from leaplm.grading.rebuild.exercises import check_name, role
from leaplm.grading.texts import plain
from leaplm.learner import releases
from leaplm.learner.notebook import Session
from leaplm.learner.panel import written
from leaplm.translation import list_locales
from repo import ROOT

LABS = releases.known_labs(ROOT)


@pytest.mark.parametrize("lab", LABS)
def test_each_check_cell_of_a_lab_is_recognised(lab, monkeypatch):
    """By its text, by its id when a line was added to it, and the lab by its other cells; never in a solution notebook."""
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    cells = releases.read_release(ROOT, lab).cells
    for cell in (cell for cell in cells if role(cell) == "check"):
        task = releases.find_task(cell.source, lab)
        assert task.check == check_name(cell) and task.title and task.points == cell.metadata.nbgrader.points
        assert releases.find_task(cell.source + "\nprint(1)", lab, cell.id) == task
    assert lab in {releases.find_lab(cell.source) for cell in cells if role(cell) == "locked"}
    solution = nbformat.read(ROOT / "solutions" / lab / f"{lab}.ipynb", as_version=4)
    solved = [cell for cell in solution.cells if role(cell) == "check"]
    assert not [cell.id for cell in solved if releases.find_task(cell.source, lab, cell.id)]


@pytest.mark.parametrize("lab", LABS)
def test_each_check_has_the_hints_that_stand_next_below_it(lab):
    """An exercise may have several checks with hints of their own; checks without take those of the next one."""
    below, checks = [], {}
    for cell in reversed(releases.read_release(ROOT, lab).cells):
        if role(cell) == "check":
            checks[check_name(cell)] = below
        elif cell.cell_type == "markdown":
            above, heading, _ = re.split(r"^(#{1,3} )", f"{cell.source}\n", maxsplit=1, flags=re.M) \
                if releases.HEADING.search(cell.source) else (cell.source, "", "")
            below = releases.DETAILS.findall(above) if heading else releases.DETAILS.findall(above) or below
            below = [words.strip() for words in below]
    for task in releases.tasks(ROOT, lab):
        assert list(task.hints) == checks[task.check], task.check
        assert task.hints or not task.asked or not task.title.startswith("Exercise"), f"{task.check} has no hints"


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_begins_with_the_line_and_can_do_without(lab):
    text = (ROOT / "labs" / lab / f"{lab}.ipynb").read_text(encoding="utf-8")
    first = next(cell for cell in releases.read_release(ROOT, lab).cells if cell.cell_type == "code")
    assert releases.LINE in first.source
    without = releases.without_marks(text)
    assert "leaplm.learner" not in without
    kept = nbformat.reads(without, as_version=4)
    assert [plain(cell.source) for cell in kept.cells if role(cell)] == [
        plain(cell.source) for cell in releases.read_release(ROOT, lab).cells if role(cell)]


@pytest.mark.parametrize("marks", [True, False], ids=["with marks", "without"])
def test_the_wheel_holds_the_checks_or_none(tmp_path, marks):
    """Built twice in the same place, the second time without: nothing of the first stays."""
    environment = {**os.environ, **({} if marks else {"LEAPLM_NO_MARKS": "1"})}
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    [wheel] = tmp_path.glob("leaplm-*.whl")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("leaplm/learner/course/")]
    found = {name.split("/")[4] for name in names if name.endswith("/checks.py")}
    assert found == (set(LABS) if marks else set())
    drawings = {name.split("/")[4] for name in names if name.endswith("/figure.svg")}
    assert drawings == set(LABS) and (marks or len(names) == len(LABS))
    if marks:
        zipfile.ZipFile(wheel).extractall(tmp_path / "site")
        code = "from leaplm.learner import releases as r; print(r.find_root(), len(r.known_labs(r.find_root())))"
        run_as = {name: value for name, value in os.environ.items() if name != "LEAPLM_COURSE"}
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                              env=run_as | {"PYTHONPATH": str(tmp_path / "site")})  # fmt: skip
        assert done.stdout.split() == [str(tmp_path / "site/leaplm/learner/course"), str(len(LABS))], done.stderr


@pytest.mark.parametrize("language", ["", *list_locales(ROOT)])
@pytest.mark.parametrize("wanted", ["", "fr", "xx"])
def test_a_notebook_of_any_language_in_any_folder_has_all_its_marks_in_its_language(language, wanted, monkeypatch, tmp_path):
    """No cell id helps: so it is on Colab, and where the notebook was uploaded alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    monkeypatch.setenv("LEAPLM_LOCALE", wanted)
    monkeypatch.setattr(locales, "_spoken", None)
    for lab in LABS[:3]:
        session = Session(shell=None)
        for cell in (cell for cell in releases.read_release(ROOT, lab, language).cells if cell.cell_type == "code"):
            session.lab = releases.find_lab(cell.source) or session.lab
            task = session.task_of(SimpleNamespace(raw_cell=cell.source))
            assert (task.check if task else None) == (check_name(cell) if role(cell) == "check" else None)
        assert locales.learner_locale() == (language or wanted.replace("xx", ""))
        assert f"lang='{locales.language_tag(language or wanted.replace('xx', ''))}'" in written(locales.shown_locale())


@pytest.mark.parametrize(("place", "locale"), [
    ("languages/labs/languages/es/lab0_start", "es"), ("languages/zz/lab0_start", ""), ("labs/languages/ar", "ar"),
    ("languages/es/languages/mine", "es"), ("labs/lab0_start", "")])  # fmt: skip
def test_the_folder_tells_the_language_where_it_is_one(place, locale, monkeypatch, tmp_path):
    (tmp_path / place).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / place)
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    monkeypatch.delenv("LEAPLM_LOCALE", raising=False)
    assert locales.learner_locale() == locale
