"""One zip to hand in: complete or told what is missing, and taken by `leaplm collect` as it is."""

import json
import os
import shutil
import subprocess
import sys
import time
import unicodedata

import nbformat
import pytest
from leaplm.cli.app import app
from leaplm.grading.intake.collect import collect
from leaplm.grading.intake.people import fold
from leaplm.learner import handed, progress
from mini import LAB, ROOT
from mini_learner import answered
from typer.testing import CliRunner


def work_in(labs, notebook, artifact=True):
    folder = labs / LAB
    nbformat.write(notebook, folder / f"{LAB}.ipynb")
    (folder / "artifacts").mkdir(exist_ok=True)
    if artifact:
        (folder / "artifacts" / "slope-cpu.json").write_text(json.dumps({"slope": 2.0, "scale": "cpu"}))
    return folder / f"{LAB}.ipynb"


def letters(name):
    return "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))


def pack(labs, notebook, name="Ngozi Okafor", **more):
    path = work_in(labs, notebook, **more)
    return handed.pack(LAB, name, path, path.parent, labs)


def test_a_complete_lab_misses_nothing(labs, course):
    done = pack(labs, answered(course))
    assert done.missing == [] and "scale cpu" in done.report() and "Nothing is missing" in done.report()
    assert done.path.name == "Ngozi Okafor-lab0.zip" and done.files == [f"{LAB}.ipynb", "artifacts/slope-cpu.json"]


def test_what_is_missing_is_named(labs, course):
    done = pack(labs, answered(course, mean_square=None, why=None), artifact=False)
    assert [line.partition(":")[0] for line in done.missing] == [
        "no answer to “1. Mean square”", "no answer to “4. In words”", "artifacts/slope-cpu.json"]


def test_cells_run_after_the_last_saving_are_told(labs, course):
    path = work_in(labs, answered(course))
    os.utime(path, (time.time() - 600, time.time() - 600))
    with progress.changing(progress.progress_file(), LAB) as record:
        progress.note_work(record, 5)
    [line] = handed.pack(LAB, "Ngozi", path, path.parent, labs).missing
    assert "after the notebook was saved" in line
    os.utime(path)
    assert handed.pack(LAB, "Ngozi", path, path.parent, labs).missing == []


@pytest.mark.parametrize("name", ["Ngozi Okafor", "Ọlá Adébáyọ̀", "../../x", "a/b", "kofi.mensah"])
@pytest.mark.parametrize("how", ["a folder of zips", "the zip itself in a zip of the class"])
def test_collect_takes_it_as_it_is(labs, course, tmp_path, name, how):
    root = tmp_path / "teacher"
    shutil.copytree(course, root)
    zips = tmp_path / "zips"
    zips.mkdir()
    done = pack(labs, answered(course), name)
    shutil.copy(done.path, zips)
    source = zips if how == "a folder of zips" else shutil.make_archive(str(tmp_path / "class"), "zip", zips)
    summary = collect(root, LAB, handed.Path(source))
    assert [row.state for row in summary.rows] == ["new"] and summary.nobodys == summary.aside == []
    [student] = [path.name for path in (root / ".nbgrader-work" / "submitted").iterdir()]
    assert fold(letters(handed.safe_id(name).strip("_."))) == fold(student)  # nbgrader's ids are of plain letters
    assert (root / ".nbgrader-work/submitted" / student / LAB / "artifacts/slope-cpu.json").is_file()


@pytest.mark.parametrize("content", [b"", b"{", b'{"cells": 3}'])
def test_a_notebook_that_no_one_can_read_is_no_zip(labs, course, content):
    (labs / LAB / f"{LAB}.ipynb").write_bytes(content)
    with pytest.raises(handed.HandInError, match=r"\w+ \w+"):
        handed.pack(LAB, "Ngozi", labs / LAB / f"{LAB}.ipynb", labs / LAB, labs)
    assert not list(labs.glob("*.zip")) and not list(labs.glob("*.part"))


def test_the_program(labs, course):
    work_in(labs, answered(course))
    words = [sys.executable, "-m", "leaplm", "hand-in", "lab0", "Amina"]
    done = subprocess.run(words, cwd=labs, capture_output=True, text=True)
    assert done.returncode == 0 and (labs / "Amina-lab0.zip").is_file(), done.stdout + done.stderr


def command(*words):
    """The same in this process."""
    return CliRunner().invoke(app, ["hand-in", *words])


@pytest.mark.parametrize("short", ["0", "lab0", LAB])
def test_the_command(labs, course, short, monkeypatch):
    work_in(labs, answered(course))
    monkeypatch.chdir(labs)
    done = command(short, "Amina")
    assert done.exit_code == 0 and (labs / "Amina-lab0.zip").is_file(), done.output


@pytest.mark.parametrize("words", [["7", "Amina"], ["lab0", "Amina"]])
def test_nothing_to_hand_in_is_an_error_that_says_what_to_do(labs, words, monkeypatch):
    monkeypatch.chdir(labs)
    done = command(*words)
    assert done.exit_code == 1 and ("'7'; there are: lab0_mini" in done.stdout or "name its folder" in done.stdout)


def test_own_data_with_an_ending_in_capitals_goes_into_the_zip_too(tmp_path):
    (tmp_path / "ROWS.CSV").write_bytes(b"a,b")
    assert handed.beside(tmp_path, LAB) == {"ROWS.CSV": b"a,b"}


@pytest.mark.parametrize("wanted", ["", "fr", "xx"])
def test_a_notebooks_own_language_decides_what_is_missing_and_how_it_is_said(wanted, monkeypatch, tmp_path):
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    monkeypatch.setenv("LEAPLM_LOCALE", wanted)
    shutil.copytree(ROOT / "labs" / "languages" / "es" / "lab0_start", tmp_path / "lab0_start")
    done = handed.pack("lab0_start", "Ana", tmp_path / "lab0_start" / "lab0_start.ipynb", tmp_path / "lab0_start", tmp_path)
    release = nbformat.read(ROOT / "labs" / "lab0_start" / "lab0_start.ipynb", as_version=4)
    answers = [cell for cell in release.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    assert sum("no hay respuesta" in line for line in done.missing) == len(answers)
    assert "falta: no hay respuesta a «Ejercicio 1" in done.report()
