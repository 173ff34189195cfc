"""Names of classes in every script: a font that has the letters is found, also one that came later, or it is said."""


import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from leaplm import fonts, plots
from matplotlib import font_manager
from matplotlib.text import Text

ORKHON = "\U00010c00\U00010c01"  # Old Turkic: letters that are not among those of matplotlib's own font


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """A folder of its own, on a computer that has matplotlib's own fonts only."""
    monkeypatch.chdir(tmp_path)
    own = [entry for entry in font_manager.fontManager.ttflist if "matplotlib" in entry.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    monkeypatch.setattr(fonts, "told", set())
    fonts.find_family.cache_clear()
    yield
    fonts.find_family.cache_clear()
    plt.close("all")


def make_font(path, letters, name="Tiny Sans"):
    """A font file with a black square for each letter."""
    builder = FontBuilder(1000, isTTF=True)
    glyphs = [".notdef", *(f"u{ord(letter):x}" for letter in letters)]
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(letter): glyph for letter, glyph in zip(letters, glyphs[1:], strict=True)})
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((0, 700)), pen.lineTo((700, 700)), pen.lineTo((700, 0)), pen.closePath()
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2(), builder.setupPost()
    builder.save(path)


def bars(names):
    return plots.plot_bars(pd.DataFrame({"name": names, "mean": 0.5, "sd": 0.1}), "title")


def test_where_there_is_no_font_it_is_said_once(capsys, recwarn):
    for _ in range(2):
        bars([ORKHON, "yes"]).figure.savefig("a.png")
    said = capsys.readouterr().out
    assert said.count("No font of this computer has Old Turkic letters") == 1 and "fonts-noto-core" in said
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


@pytest.mark.parametrize("draw", [
    bars, lambda names: plots.plot_confusion([0, 1], [0, 0], names),
    lambda names: plots.plot_matrices({names[0]: np.eye(2)}, names, "title"),
    lambda names: plots.plot_stacks(pd.DataFrame({names[0]: [1.0], names[1]: [2.0]}, index=["a"]), "title", "x")])
def test_a_font_that_is_put_beside_the_notebook_later_is_used_in_every_plot(draw, tmp_path, capsys):
    axes = draw([ORKHON, "yes"])
    axes.figure.savefig("a.png")
    make_font(tmp_path / "tiny.ttf", ORKHON)
    axes.figure.savefig("b.png")
    with_letters = [text for text in axes.figure.findobj(fonts.Text) if ORKHON in text.get_text()]
    assert with_letters and all("Tiny Sans" in text.get_fontfamily() for text in with_letters)
    assert capsys.readouterr().out.count("No font") == 1  # of the first drawing
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_latin_letters_keep_matplotlibs_own_font():
    axes = bars(["Ọjọ́ dára", "ɗan uwa"])
    axes.figure.savefig("a.png")
    assert {tuple(text.get_fontfamily()) for text in axes.figure.findobj(fonts.Text)} == {("sans-serif",)}


def test_a_broken_font_file_does_no_harm(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    bars([ORKHON, "yes"]).figure.savefig("a.png")


def test_a_figure_without_a_window_is_drawn_only_when_it_is_kept(monkeypatch):
    """A notebook draws what has changed after each cell, and then the same again for its picture."""
    drawn = []
    monkeypatch.setattr(Text, "draw", lambda text, renderer: drawn.append(text))
    axes = bars(["yes"])
    axes.figure.canvas.draw_idle()
    assert not drawn
    axes.figure.savefig("a.png")
    assert drawn


@pytest.mark.parametrize("shapes", [True, False], ids=["matplotlib shapes", "we shape"])
def test_arabic_is_drawn_joined_and_from_the_right_and_stays_as_it_was_written(monkeypatch, shapes):
    drawn = []
    monkeypatch.setattr(fonts, "SHAPES", shapes)
    monkeypatch.setattr(Text, "draw", lambda text, renderer: drawn.append(text.get_text()))
    axes = bars(["من", "eng"])
    axes.figure.canvas.draw()
    assert ("من" in drawn) == shapes and ("\ufee6\ufee3" in drawn) != shapes and "eng" in drawn
    assert [label.get_text() for label in axes.get_yticklabels()] == ["من", "eng"]
