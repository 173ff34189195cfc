"""A figure says what its marks are: mean, spread, seeds, your run."""

import os
import re

import matplotlib
import nbformat
import pandas as pd
import pytest
from leaplm import captions, plots
from matplotlib.colors import to_rgb
from nbclient import NotebookClient
from PIL import Image
from repo import ROOT

matplotlib.use("Agg")
ROWS = pd.DataFrame({"name": ["Hausa", "Swahili"], "mean": [0.5, 0.6], "sd": [0.02, 0.03], "seeds": [3, 5]})


def contrast(first, second):
    """WCAG's contrast of two colours, from 1 to 21."""
    parts = [[part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
             for color in (first, second)]  # fmt: skip
    low, high = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in parts)
    return (high + 0.05) / (low + 0.05)


def test_a_picture_says_in_words_what_it_shows(tmp_path):
    plots.plot_bars(ROWS, "Accuracy by language", live={"Hausa": 0.55}).figure.savefig(tmp_path / "bars.png")
    said = Image.open(tmp_path / "bars.png").info[captions.KEY]
    assert said.startswith("Accuracy by language: accuracy 0 to 0.6") and "Hausa" in said and "Swahili" in said
    assert "your run" in said and "0.50, 0.60" in said


DRAWING = """import matplotlib.pyplot as plt, pandas as pd
from leaplm import plots
axes = plots.plot_bars(pd.DataFrame({"name": ["Hausa"], "mean": [0.5], "sd": [0.02]}), "Loss during training")
"""


SHOWN = ["axes;", "plt.show()", "plt.close(); axes.figure", "plt.close(); display(axes.figure)",
         "%config InlineBackend.figure_formats = ['png', 'svg']"]  # fmt: skip


@pytest.fixture(scope="module")
def outputs():
    """{how a cell shows the figure: its outputs}, of a notebook in French."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(DRAWING + shown) for shown in SHOWN])
    NotebookClient(notebook).execute(env={**os.environ, "LEAPLM_LOCALE": "fr", "LEAPLM_COURSE": str(ROOT)})
    nbformat.validate(notebook)
    return {shown: cell.outputs for shown, cell in zip(SHOWN, notebook.cells, strict=True)}


@pytest.mark.parametrize("shown", SHOWN)
def test_a_notebook_holds_a_figure_with_its_words_in_the_learners_language(shown, outputs):
    """However a cell shows the figure, and with no word in the cell for it: as nbconvert and our extension read it."""
    [output] = [output for output in outputs[shown] if "image/png" in output.get("data", {})]
    words = output.metadata["image/png"]["alt"]
    assert words.startswith("La perte pendant l'entraînement: exactitude de 0 à ") and "haoussa" in words


def test_labs_and_library_draw_with_what_says_its_words():
    drawing = re.compile(r"\b(?:plt|pyplot)\.(?:subplots?|figure|plot|bar|hist|imshow)\(|\.plot(?:\.\w+)?\(x=|\bFigure\(")
    files = [*ROOT.glob("course/lab*_*/lab.py"), *ROOT.glob("lib/leaplm/**/*.py")]
    found = {path.name: drawing.findall(path.read_text(encoding="utf-8")) for path in files}
    assert {name for name, calls in found.items() if calls} == {"plots.py"}
    assert len(found["plots.py"]) == 1


def test_a_figure_speaks_the_learners_language(monkeypatch, tmp_path):
    """Title, axes, legend, names of rows and the words about them; what is data, and a second drawing, change nothing."""
    monkeypatch.setenv("LEAPLM_LOCALE", "es")
    rows = pd.DataFrame({"remedy": ["no remedy", "Zainab"], "mean": [0.5, 0.6], "sd": [0.02, 0.03], "seeds": [5, 5]})
    figure = plots.plot_bars(rows, "Confusion matrix (number of texts)", live={"no remedy": 0.55}).figure
    said = []
    for name in ("one.png", "two.png"):
        figure.savefig(tmp_path / name)
        said.append(Image.open(tmp_path / name).info[captions.KEY])
    assert said[0] == said[1] and said[0].startswith("Matriz de confusión (número de textos): exactitud 0 a ")
    for words in ("sin remedio, Zainab", "(5 semillas)", "tu ejecución"):
        assert words in said[0], said[0]
    lines = plots.plot_lines({"LoRA": ROWS.assign(labels=[1, 2])}, "labels", "Loss during training", "update")
    assert "LoRA (3 a 5 semillas)" in captions.describe(drawn(lines.figure))


def drawn(figure):
    figure.canvas.draw()
    return figure


def test_a_number_can_be_read_on_its_cell():
    axes = plots.plot_matrices({"naive": [[i / 9 + j / 90 for j in range(3)] for i in range(3)]}, ["a", "b", "c"], "title")
    [image] = axes.get_images()
    for text in axes.texts:
        column, row = text.get_position()
        assert contrast(text.get_color(), image.to_rgba(image.get_array()[row, column])) >= 4.5, text.get_text()
    assert min(contrast(plots.ink(color), color) for color in matplotlib.colormaps["Blues"](range(256))) >= 4.5


@pytest.mark.parametrize("locale", ["", "fr"])
def test_long_names_of_tasks_do_not_lie_on_each_other(locale, monkeypatch):
    monkeypatch.setenv("LEAPLM_LOCALE", locale)
    names = ["movies", "Nigerian Pidgin", "Kinyarwanda"]
    axes = plots.plot_matrices({way: [[0.5] * 3] * 3 for way in ("naive", "replay", "EWC")}, names, "title")
    drawn(axes.figure)
    assert all(label.get_rotation() == 30 and label.get_ha() == "right" for label in axes.get_xticklabels())
    short = plots.plot_matrices({"naive": [[0.5] * 3] * 3}, ["movies", "products", "tweets"], "title")
    assert {label.get_rotation() for label in short.get_xticklabels()} == {0}


def test_series_are_told_apart_without_colours():
    curve = pd.DataFrame({"shots": [2, 8], "mean": [0.5, 0.6], "sd": [0.1, 0.1], "seeds": [3, 3]})
    lines = plots.plot_lines({str(i): curve for i in range(6)}, "shots", "title", "shots").get_lines()
    ways = [(line.get_marker(), line.get_linestyle()) for line in lines if line.get_marker() not in ("None", "_", "|")]
    assert len(set(ways)) == len([line for line in lines if line.get_label()[0] != "_"]) == 6
    parts = plots.plot_stacks(pd.DataFrame({"a": [1.0], "b": [2.0], "c": [3.0]}, index=["x"]), "title", "x").containers
    assert len({part.patches[0].get_hatch() for part in parts}) == 3


def words(legend):
    return [text.get_text() for text in legend.get_texts()] + [legend.get_title().get_text()]


@pytest.mark.parametrize("live", [None, {"Hausa": 0.55, "Swahili": 0.4}])
def test_bars_say_what_the_line_is_and_the_star_lies_outside(live):
    figure = plots.plot_bars(ROWS, "title", live=live).figure
    [legend] = figure.legends
    assert words(legend)[0] == "mean ± one standard deviation over seeds (3 to 5 seeds)"
    assert words(legend).count("your run") == bool(live)
    figure.canvas.draw()
    assert legend.get_window_extent().y1 <= figure.axes[0].get_window_extent().y0 + 1


def test_bars_without_seeds_promise_no_spread():
    assert plots.plot_bars(ROWS.drop(columns="seeds"), "title").figure.legends == []


def test_dots_put_stars_on_their_rows():
    axes = plots.plot_dots({"loss": ROWS}, "title", live={"Swahili": 0.7, "Hausa": 0.4})
    assert "loss (3 to 5 seeds)" in words(axes.get_legend()) and words(axes.get_legend()).count("your run") == 1
    stars = [tuple(float(value[0]) for value in line.get_data()) for line in axes.get_lines() if line.get_marker() == "*"]
    assert stars == [(0.7, 0.0), (0.4, 1.0)]


@pytest.mark.parametrize(("number", "bands"), [(3, 3), (4, 0)])
def test_more_than_three_curves_have_bars_side_by_side(number, bands):
    curve = pd.DataFrame({"shots": [2, 8], "mean": [0.5, 0.6], "sd": [0.1, 0.1], "seeds": [3, 3]})
    axes = plots.plot_lines({str(i): curve for i in range(number)}, "shots", "title", "shots")
    assert len([part for part in axes.collections if "FillBetween" in type(part).__name__]) == bands
    assert ("bands" if bands else "bars") in axes.get_legend().get_title().get_text()


def test_what_needs_no_examples_is_a_line_of_its_own_kind():
    curve = pd.DataFrame({"shots": [2, 8], "mean": [0.5, 0.6], "sd": [0.1, 0.1], "seeds": [3, 3]})
    flat = {"prompt": [0.7, 0.8], "nearest label": [0.6, 0.6]}
    axes = plots.plot_lines({"head": curve}, "shots", "title", "shots", flat=flat)
    assert len({line.get_linestyle() for line in axes.get_lines() if line.get_label() in flat}) == 2


def test_names_of_somebodys_classes_stay_as_they_are_in_every_language(monkeypatch):
    monkeypatch.setenv("LEAPLM_LOCALE", "es")
    names = ["spam or ham", "text", "mean", "positive"]
    axes = plots.plot_confusion([0, 1, 2, 3], [0, 1, 2, 3], names)
    drawn(axes.figure)
    assert [text.get_text() for axis in (axes.xaxis, axes.yaxis) for text in axis.get_ticklabels()] == names * 2
    assert "Matriz de confusión" in axes.get_title("left")


@pytest.mark.parametrize("names", [["negative", "neutral", "positive"], ["late", "rude staff", "queue", "price", "praise"],
                                   ["science/technology", "travel", "politics", "sports", "health", "geography"]])
def test_names_of_classes_do_not_lie_on_each_other(names):
    numbers = list(range(len(names)))
    axes = plots.plot_confusion(numbers, numbers, names)
    drawn(axes.figure)
    boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
    assert len(boxes) == len(names) and all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
