"""A mark as a notebook shows it: HTML without scripts, so that JupyterLab, Colab and VS Code show the same; and plain text.

Hints are folded inside each other: what is wrong is said at once, the likely cause, where to look and what was asked for
only when they are opened.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from html import escape

from leaplm.grading.judge.standing import Standing
from leaplm.learner import hints
from leaplm.learner.marks import Mark
from leaplm.learner.releases import Task, tasks
from leaplm.learner.words import (
    ASKED,
    HINT,
    LIKELY,
    MISTAKE,
    NO_MEMORY,
    NOT_JUDGED,
    NOT_MARKED,
    OURS,
    PICTURE,
    PICTURE_LOW,
    POINTS,
    SECTION,
    WANTED,
    YOURS,
)
from leaplm.locales import direction, in_order, language_tag, learner_locale, say, shown_locale
from leaplm.places import find_root

MORE = '`from leaplm import learner; learner.mark("{name}")`'  # for more time, or after a restart
# Legible on a white and on a dark page.
COLOURS = {"right": "#2e9e4f", "part": "#c98a00", "wrong": "#d64545", "unknown": "#7a7a7a"}
SIGNS = {"right": "✓", "part": "◐", "wrong": "✗", "unknown": "?"}
LINES = "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere"  # JupyterLab would break inside words
CODE = re.compile("`([^`]+)`")
BOX = "border-inline-start:5px solid {colour};padding:.3em .8em;margin:.4em 0;max-width:58em"


def kind(mark: Mark) -> str:
    if mark.points is None:
        return "unknown"
    return "right" if mark.right else "part" if mark.points else "wrong"


def headline(mark: Mark) -> str:
    """The points, or why there are none yet."""
    if mark.points is not None:
        return say(POINTS, points=f"{mark.points:g}", most=f"{mark.task.points:g}")
    if mark.problem == "time":
        return say(NOT_JUDGED, seconds=f"{mark.seconds:.0f}", command=MORE.format(name=mark.task.check))
    if mark.problem.startswith("memory"):
        return say(NO_MEMORY, free=mark.problem.partition(" ")[2], command=MORE.format(name=mark.task.check))
    return say(NOT_MARKED, problem=mark.problem)


def as_text(mark: Mark, so_far: str = "") -> str:
    first = f"{SIGNS[kind(mark)]} {mark.task.check}: {headline(mark)}"
    pictures = [described(each) for each in mark.standings]
    return "\n".join(filter(None, [f"{first} · {mark.message}" if mark.message else first, *pictures, so_far]))


def as_data(mark: Mark) -> dict[str, object]:
    """A mark as plain data, for the output's metadata: no proof of anything, since a notebook can say what it likes."""
    return {"check": mark.task.check, "points": mark.points, "most": mark.task.points, "message": mark.message,
            "problem": mark.problem, "seconds": round(mark.seconds, 3),
            "processor_seconds": round(mark.busy, 3)}  # fmt: skip


def as_html(mark: Mark, so_far: str = "") -> str:
    shown, name = kind(mark), with_code(f"`{mark.task.check}`")
    said = f" · {with_code(mark.message)}" if mark.message else ""
    parts = [f"<b><span style='color:{COLOURS[shown]}'>{SIGNS[shown]}</span> {name}: {with_code(headline(mark))}</b>{said}",
             *map(picture, mark.standings)]  # fmt: skip
    if not mark.right:
        parts.append(folded(steps(mark)))
    if so_far:
        parts.append(f"<div style='opacity:.75;font-size:90%;margin-top:.3em'>{escape(so_far)}</div>")
    style = BOX.format(colour=COLOURS[shown])
    return f"<div class='leaplm-mark' {written(shown_locale())} style='{style}'>{''.join(parts)}</div>"


def written(locale: str) -> str:
    """The attributes of HTML that say in which language a text is, and from which side it is written.

    >>> written("ar"), written("")
    ("lang='ar' dir='rtl'", "lang='en' dir='ltr'")
    """
    return f"lang='{language_tag(locale)}' dir='{direction(locale)}'"


def with_code(words: str) -> str:
    """A sentence as HTML, with what stands between backticks as code.

    >>> with_code("`a < b` is not answered yet.")
    "<code dir='ltr'>a &lt; b</code> is not answered yet."
    """
    return CODE.sub(r"<code dir='ltr'>\1</code>", escape(in_order(words, shown_locale())))


def steps(mark: Mark) -> list[tuple[str, str]]:
    """The hints in steps: (what one presses, HTML). Never a solution: that stands in no release.

    In a <pre dir='auto'> each line has its own direction: that of code from the left, that of prose as it is written.
    """
    task = in_their_language(mark.task)
    found = []
    if mark.mistake:
        found.append((say(MISTAKE), f"{escape(say(LIKELY))} <i>{with_code(hints.told(mark.mistake, task.lab))}</i>"))
    if task.hints:
        found.append((say(HINT), task.hints[0]))  # HTML of our own release
    asked = f"<pre dir='auto' style='{LINES}'>{escape(task.asked)}</pre>" if task.asked else ""
    where = escape(say(SECTION, section=task.section)) if task.section else ""
    return [*found, (say(ASKED), f"<b>{escape(task.title)}</b><br>{where}{asked}")]


def in_their_language(task: Task) -> Task:
    """The same check with the texts of the translated lab."""
    root = find_root()
    every = tasks(root, task.lab, learner_locale()) if root else ()
    return next((other for other in every if other.check == task.check), task)


def folded(parts: list[tuple[str, str]]) -> str:
    """Each step inside the one before it.

    >>> folded([("a", "1"), ("b", "2")]).count("<details")
    2
    """
    html = ""
    for title, content in reversed(parts):
        inner = f"<div style='margin-block:.2em;margin-inline-start:1em'>{content}{html}</div>"
        html = f"<details><summary style='cursor:pointer'>{escape(title)}</summary>{inner}</details>"
    return html


def described(place: Standing) -> str:
    """A model among our runs in words: what the picture says, for those who do not see it."""
    words = PICTURE if place.higher_is_better else PICTURE_LOW
    low, high = (min(place.runs), max(place.runs)) if place.runs else (float("nan"),) * 2
    return say(words, metric=place.metric, score=f"{place.score:.3f}", wanted=f"{place.wanted:.3f}", runs=len(place.runs),
               low=f"{low:.3f}", high=f"{high:.3f}")  # fmt: skip


def picture(place: Standing) -> str:
    """A model among our runs on one line: the runs as dots, the threshold, and yours."""
    data = base64.b64encode(drawn(place)).decode()
    text = escape(described(place), quote=True)
    return f"<div><img src='data:image/png;base64,{data}' alt='{text}' title='{text}' style='max-width:100%'></div>"


def drawn(place: Standing) -> bytes:
    """The picture as PNG, drawn apart from the notebook's own figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from leaplm.fonts import ScriptFigure

    figure = ScriptFigure(figsize=(6, 1.5), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(place.runs, [0] * len(place.runs), "o", color="#4477aa", alpha=0.6, label=say(OURS), markersize=7)
    axes.axvline(place.wanted, color="#555555", linestyle="--", linewidth=1.2, label=say(WANTED))
    colour = COLOURS["right" if place.reached else "wrong"]
    axes.plot([place.score], [0], "D", color=colour, markeredgecolor="black", markersize=10, label=say(YOURS))
    axes.set(yticks=[], xlabel=place.metric, ylim=(-1, 1))
    axes.spines[["left", "right", "top"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], caption: str) -> str:
    """A table in HTML."""
    lines = ["".join(f"<th style='text-align:start'>{escape(head)}</th>" for head in heads)]
    lines += ["".join(f"<td style='text-align:start'>{escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table><caption>{escape(caption)}</caption>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
