"""A lab's drawing is shown where its chapter is not: in its notebook, in a clone and from a wheel."""

import re

import nbformat
import pytest
from leaplm import drawings
from leaplm.grading.course import list_labs
from repo import ROOT

CALL = re.compile(r"show_drawing\((.*?)\)")


@pytest.fixture
def shown(monkeypatch):
    found = []
    monkeypatch.setattr("IPython.display.display", lambda picture: found.append(picture.data))
    return found


@pytest.mark.parametrize("lab", list_labs(ROOT))
def test_each_lab_shows_its_own_drawing_once(lab):
    cells = nbformat.read(ROOT / "labs" / lab / f"{lab}.ipynb", as_version=4).cells
    assert CALL.findall("\n".join(cell.source for cell in cells if cell.cell_type == "code")) == [f'"{lab}"']


@pytest.mark.parametrize(("locale", "word"), [("", "weights"), ("fr", "poids")])
def test_a_drawing_is_in_the_learners_language(locale, word, shown, monkeypatch):
    monkeypatch.setenv("LEAPLM_LOCALE", locale)
    drawings.show_drawing("lab2_finetuning")
    [svg] = shown
    assert word in svg and 'role="img"' in svg and "<title" in svg and "background: white" in svg


def test_from_a_wheel_the_drawing_is_there_too(shown, tmp_path, monkeypatch):
    monkeypatch.setattr(drawings, "find_root", lambda: None)
    monkeypatch.setattr(drawings, "INSTALLED", tmp_path)
    folder = tmp_path / "course" / "lab2_finetuning"
    folder.mkdir(parents=True)
    (folder / "figure.svg").write_bytes((ROOT / "course" / "lab2_finetuning" / "figure.svg").read_bytes())
    drawings.show_drawing("lab2_finetuning")
    assert len(shown) == 1


def test_a_drawing_that_is_not_there_is_said(shown, capsys):
    drawings.show_drawing("lab99_nothing")
    assert shown == [] and "lab99_nothing" in capsys.readouterr().out
