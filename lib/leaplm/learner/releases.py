"""The labs as they are on this machine: their exercises, checks and banks, in a clone or inside the installed package.

The wheel holds a small course (`setup.py` puts it there), so that a notebook on Colab has what one in a clone has. A wheel
made with LEAPLM_NO_MARKS=1 holds none.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import itertools
import json
import os
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from leaplm.grading.course import translated_releases
from leaplm.grading.rebuild.exercises import check_name, is_changed, role
from leaplm.grading.texts import plain
from leaplm.learner.given_out import TEXT_STUB, as_given_out
from leaplm.locales import learner_locale, say
from leaplm.places import find_root, is_known, known_labs
from leaplm.translation import find_catalogs, translate_markdown, wrapped

MARKS = "LEAPLM_MARKS"  # environment: off for no marks in notebooks
HEADING = re.compile(r"^(#{1,3}) (.+)$", re.M)
DETAILS = re.compile(r"<details>\s*<summary>.*?</summary>(.*?)</details>", re.S)


LINE = 'run_line_magic("load_ext", "leaplm.learner")'  # in the first code cell of a lab


@dataclass(frozen=True)
class Task:
    """One check of a lab, with what the notebook says around it."""

    lab: str
    check: str
    points: float
    title: str  # the heading of the exercise
    section: str  # the heading above it
    asked: str  # signature and docstring of what is to be written, as text
    hints: tuple[str, ...]  # the notebook's own, as HTML
    source: str  # of the visible check cell


def without_marks(notebook: str) -> str:
    """A notebook, as text, without the line that has the marks shown: for a class that is to see no hidden check."""
    made = nbformat.reads(notebook, as_version=4)
    for cell in made.cells:
        cell.source = "\n".join(line for line in cell.source.split("\n") if LINE not in line)
    return nbformat.writes(made) + "\n"


def are_on() -> bool:
    """Whether marks are wanted (LEAPLM_MARKS) and this machine has what they need."""
    return os.environ.get(MARKS, "").lower() not in ("off", "0", "no") and find_root() is not None


@functools.cache
def read_release(root: Path, lab: str, locale: str = "") -> NotebookNode:
    """A lab as it was given out, in a language where it is there, whatever a learner has written into the file since."""
    files = release_files(root, lab)
    path = files.pop(locale if locale in files else "")
    names = {name for other in [*files.values()][:1] for cell in raw_cells(other) if (name := grade_id(cell))}
    others = ((name, read_notebook(other)) for name, other in files.items())
    return as_given_out(read_notebook(path), names, others, text_stub(root, lab, locale))


def text_stub(root: Path, lab: str, locale: str) -> str:
    """What a lab has in place of a written answer."""
    catalogs = find_catalogs(root, lab, locale) if locale else ()
    return wrapped(translate_markdown(TEXT_STUB, catalogs), catalogs, form=True) if catalogs else TEXT_STUB


def release_files(root: Path, lab: str) -> dict[str, Path]:
    """The files of a lab by their languages, English first."""
    translated = {path.parents[1].name: path for path in translated_releases(root, lab)}
    return {"": root / "labs" / lab / f"{lab}.ipynb", **translated}


def read_notebook(path: Path) -> NotebookNode:
    """A notebook; an empty one where a learner left what is none."""
    try:
        return nbformat.read(path, as_version=4) if raw_cells(path) else nbformat.v4.new_notebook()
    except (ValueError, KeyError, TypeError, AttributeError):
        return nbformat.v4.new_notebook()


def raw_cells(path: Path) -> list[dict]:
    """The cells of a file as they stand there, which nbformat would check one by one; none of what is no notebook."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return cells if all("".join(cell["source"]) is not None and cell["metadata"] is not None for cell in cells) else []
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def grade_id(cell: dict) -> str:
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def release_locales(root: Path, lab: str) -> list[str]:
    """The languages in which a lab is there, the learner's first; "" is English."""
    return sorted(release_files(root, lab), key=lambda locale: (locale != learner_locale(), locale))


@contextlib.contextmanager
def course_as_given_out(root: Path, labs: list[str]) -> Iterator[Path]:
    """A course for the grader: `root` itself, or one like it where a learner has written into the releases of these labs."""
    files = {(lab, locale): path for lab in labs for locale, path in release_files(root, lab).items()}
    if all(read_release(root, *key) == read_notebook(path) for key, path in files.items()):
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        for (lab, locale), path in files.items():
            target = made / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(nbformat.writes(read_release(root, lab, locale)), encoding="utf-8")
        for path in itertools.chain(root.iterdir(), *((root / "labs" / lab).iterdir() for lab in labs)):
            if not (made / path.relative_to(root)).exists():
                (made / path.relative_to(root)).symlink_to(path.resolve())
        yield made


@functools.cache
def tasks(root: Path, lab: str, locale: str = "") -> tuple[Task, ...]:
    """The checks of a lab in order, with their surroundings.

    A check without hints of its own has those of the next check of its exercise that has some.
    """
    made: list[Task] = []
    for task in reversed(list(_read_tasks(lab, read_release(root, lab, locale).cells))):
        below = made[-1].hints if made and made[-1].title == task.title else ()
        made.append(replace(task, hints=task.hints or below))
    return tuple(reversed(made))


def _read_tasks(lab: str, cells: list[NotebookNode]) -> Iterator[Task]:
    heads, asked = {1: "", 2: "", 3: ""}, ""
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            for marks, words in HEADING.findall(cell.source):
                heads |= {level: "" for level in heads if level > len(marks)} | {len(marks): words}
                asked = ""
        elif role(cell) == "answer":
            asked += "\n\n" + described(cell.source)
        elif role(cell) == "check":
            hints = DETAILS.findall("\n".join(_following_text(cells[number + 1 :])))
            yield Task(lab, check_name(cell), cell.metadata.nbgrader.points, heads[3] or heads[2], heads[2], asked.strip(),
                       tuple(hint.strip() for hint in hints), cell.source)  # fmt: skip


def _following_text(cells: list[NotebookNode]) -> Iterator[str]:
    """The text directly below, up to the next heading."""
    for cell in cells:
        if cell.cell_type != "markdown":
            return
        heading = HEADING.search(cell.source)
        yield cell.source[: heading.start()] if heading else cell.source
        if heading:
            return


def described(source: str) -> str:
    """The first line and the docstring, where it has one, of each function and class of a cell, as text."""
    try:
        nodes = ast.parse(source).body
    except SyntaxError:
        return ""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return "\n\n".join("\n".join(filter(None, (source.splitlines()[node.lineno - 1], ast.get_docstring(node))))
                       for node in nodes if isinstance(node, kinds))


def find_lab(source: str) -> str:
    """The lab that has this code cell, if one alone has it; else empty."""
    found = {lab for lab, _ in _places(source)}
    return found.pop() if len(found) == 1 else ""


def languages_of(source: str, lab: str) -> set[str]:
    """The languages in which a lab has this code cell; those of a cell without words are all."""
    return {locale for name, locale in _places(source) if name == lab}


def _places(source: str) -> frozenset[tuple[str, str]]:
    root, wanted = find_root(), plain(source)
    return _code(root).get(hash(wanted), frozenset()) if root and wanted else frozenset()


@functools.cache
def _code(root: Path) -> dict[int, frozenset[tuple[str, str]]]:
    """{hash of a code cell: the (lab, locale) that have it}, of all labs and languages; half a second, once."""
    found = defaultdict(set)
    for lab in known_labs(root):
        cells = {locale: raw_cells(path) for locale, path in release_files(root, lab).items()}
        known = Counter(cell.get("id") for some in cells.values() for cell in some)
        for locale, cell in ((locale, cell) for locale, some in cells.items() for cell in some):
            ours = not is_changed(cell) and (known[cell.get("id")] > 1 or len(cells) == 1)  # not one that a learner added
            if cell["cell_type"] == "code" and ours:
                found[hash(plain("".join(cell["source"])))].add((lab, locale))
    return {code: frozenset(places) for code, places in found.items()}


def find_task(source: str, lab: str, cell_id: str | None = None) -> Task | None:
    """The check of a lab whose cell has this text; or this id, since a learner may add a line to a cell."""
    root = find_root()
    found = tasks(root, lab) if root and is_known(root, lab) else ()
    checks = {other.check for locale in (languages_of(source, lab) if found else ())
              for other in tasks(root, lab, locale) if plain(other.source) == plain(source)}  # fmt: skip
    same = [task for task in found if task.check in checks]
    by_id = [task for task in found if cell_id == f"check_{task.check}" and "grade_cell(" not in source]
    return next(iter([*same, *by_id]), None)


def named_task(name: str, lab: str = "") -> Task:
    """The check called `name`, or `lab.name`; KeyError, with the names there are, if it is none or not one alone."""
    root = find_root()
    every = [task for each in (known_labs(root) if root else []) for task in tasks(root, each)]
    found = [task for task in every if name in (task.check, f"{task.lab}.{task.check}")]
    found = [task for task in found if task.lab == lab] or found
    if len(found) == 1:
        return found[0]
    if not every:
        raise KeyError(say("there are no checks on this machine: the course was given out without marks"))
    here = [task.check for task in every if task.lab == lab]
    known = ", ".join(here if here and not found else [f"{task.lab}.{task.check}" for task in found or every])
    raise KeyError(say("several checks are called {name}; there are: {known}", name=repr(name), known=known) if found else
                   say("no check is called {name}; there are: {known}", name=repr(name), known=known))  # fmt: skip
