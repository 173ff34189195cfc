"""One notebook of an assignment, as we hold it: what students got, the tests they did not see, the files beside it.

An assignment may be one of our labs, any other that nbgrader made, or both at once: a check cell is judged by the check
function of its name in course/<assignment>/checks.py, outside the student's process; where there is none, by nbgrader's
own rules, with the tests that stand in the cell. Common to all stages.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from leaplm.grading.course import lab_file


@dataclass(frozen=True, repr=False)  # it holds hidden tests, and Dask writes what it handles into its log
class Assignment:
    """A notebook of an assignment: "homework2.ipynb" of "week3", or the only one of "lab2_finetuning"."""

    name: str  # nbgrader's name of the assignment
    notebook: str  # the notebook's file name without .ipynb
    release: str  # as students got it, JSON
    tests: dict[str, str] = field(default_factory=dict)  # grade_id -> source with hidden tests: what nbgrader grades
    checksums: dict[str, str] = field(default_factory=dict)  # nbgrader's, of the same cells with their hidden tests
    files: dict[str, bytes] = field(default_factory=dict)  # beside the notebook, in place of the student's of that name
    siblings: tuple[str, ...] = ()  # the other notebooks of the assignment
    plain: bool = False  # no check functions at all: every file of a student is kept
    schemes: dict[str, str] = field(default_factory=dict)  # grade_id -> text of a task, with how a person is to mark it

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of it, for verdicts that are kept: an assignment made again gives new ones."""
        files = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        parts = [self.name, self.notebook, self.release, self.tests, self.checksums, files, self.siblings, self.plain,
                 self.schemes]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def read(self) -> NotebookNode:
        """The release, a fresh copy."""
        return nbformat.reads(self.release, as_version=4)

    def code(self) -> list[str]:
        """The sources of our code cells, with all tests."""
        return [cell.source for cell in self.read().cells if cell.cell_type == "code"] + list(self.tests.values())

    def packed(self) -> dict[str, Any]:
        """As plain values, for the wire."""
        return {**asdict(self), "siblings": list(self.siblings)}


def unpacked(parts: dict[str, Any]) -> Assignment:
    return Assignment(**{**parts, "siblings": tuple(parts["siblings"])})


def lab_assignment(course: Path, lab: str) -> Assignment:
    """One of our labs, from its release and nothing else. FileNotFoundError if it was not built."""
    text = (Path(course) / "labs" / lab / f"{lab}.ipynb").read_text(encoding="utf-8")
    return Assignment(lab, lab, text, plain=not lab_file(course, lab, "checks.py").is_file())


def with_ids(notebook: NotebookNode) -> NotebookNode:
    """The notebook in format 4.5, each cell with an id of its own: we know cells by it. The same at each reading."""
    theirs, used = {cell.get("id") for cell in notebook.cells}, set()
    fresh = (name for number in itertools.count(1) if (name := f"cell-{number}") not in theirs)
    for cell in notebook.cells:
        if not cell.get("id") or cell.id in used:
            cell["id"] = next(fresh)
        used.add(cell.id)
    notebook.nbformat, notebook.nbformat_minor = 4, max(5, notebook.nbformat_minor)
    return notebook


def check_functions(checks: Path) -> set[str]:
    """The names of the check functions of a file checks.py, which is not run; none without the file."""
    if not checks.is_file():
        return set()
    nodes = ast.parse(checks.read_text(encoding="utf-8")).body
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef) and any(map(_is_check, node.decorator_list))}


def _is_check(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called).rpartition(".")[2] == "check"
