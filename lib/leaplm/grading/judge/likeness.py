"""Answers that are alike: between students, and with the published solutions. For a teacher to look at; no mark hangs on it.

Two answers are the same where their code is, whatever the comments, docstrings and blank lines; and alike where only the
names inside differ. Short answers are alike by chance, and so is an answer that many give: neither counts.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations

import nbformat
from nbformat import NotebookNode

from leaplm.grading.rebuild.exercises import role
from leaplm.grading.texts import fingerprint, parsed

LEAST_NODES = 50  # of the syntax tree: about five lines
LEAST_ANSWERS = 3  # alike, of one student's, before they are told; or all that count
USUAL = 0.2  # of the class: an answer that so many give is the usual one
FEW = 4  # students: in a small class nobody is "many"
NAMED = {ast.Name: "id", ast.arg: "arg", ast.FunctionDef: "name", ast.AsyncFunctionDef: "name", ast.ClassDef: "name",
         ast.ExceptHandler: "name", ast.alias: "asname", ast.MatchAs: "name", ast.MatchStar: "name",
         ast.MatchMapping: "rest"}  # fmt: skip


class Likeness:
    """Collects the notebooks of a class; `lines` tells whose answers are alike. `solution`: None where none is published.

    >>> Likeness(nbformat.v4.new_notebook()).lines()
    []
    """

    def __init__(self, release: NotebookNode, solution: NotebookNode | None = None) -> None:
        self._given = answers(release)
        self._solved = answers(solution) if solution else {}
        self._class: dict[str, dict[str, str]] = {}  # student -> cell id -> source

    def add(self, student: str, notebook: str) -> None:
        """A notebook as it was graded (JSON), so that its cells have our ids."""
        self._class[student] = answers(nbformat.reads(notebook, as_version=4))

    def lines(self) -> list[str]:
        return [*self._with_solution(), *self._between()]

    def _with_solution(self) -> list[str]:
        published = prints(self._solved, self._given, fingerprint)
        found = []
        for student, cells in self._class.items():
            own = prints(cells, self._given, fingerprint)
            equal = [cell for cell, mark in own.items() if published.get(cell) == mark]
            if enough(equal, own):
                found.append(f"{student}: {len(equal)} of {len(own)} longer answers are the published solution's, word for "
                             f"word: {', '.join(equal)}")  # fmt: skip
        return found

    def _between(self) -> list[str]:
        marked = {student: prints(cells, self._given, alike) for student, cells in self._class.items()}
        published = set(prints(self._solved, self._given, alike).items())
        pairs: dict[tuple[str, str], list[str]] = defaultdict(list)
        for (cell, mark), students in groups(marked).items():
            if (cell, mark) not in published and len(students) <= max(FEW, USUAL * len(self._class)):
                for pair in combinations(students, 2):
                    pairs[pair].append(cell)
        return [f"{one} and {other}: {len(cells)} of {len(marked[one])} longer answers are the same but for names: "
                f"{', '.join(cells)}" for (one, other), cells in pairs.items()
                if enough(cells, marked[one]) or enough(cells, marked[other])]  # fmt: skip


def answers(notebook: NotebookNode) -> dict[str, str]:
    """The source of each answer that is code, by the id of its cell."""
    return {cell.id: cell.source for cell in notebook.cells if cell.cell_type == "code" and role(cell) == "answer"}


def groups(marked: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], list[str]]:
    """(cell, print) -> the students who have it."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for student, cells in marked.items():
        for item in cells.items():
            found[item].append(student)
    return found


def prints(cells: Mapping[str, str], given: Mapping[str, str], kind: Callable[[ast.AST], str]) -> dict[str, str]:
    """A fingerprint of each answer that is long enough to tell, and is not as it was given out."""
    found = {}
    for cell, source in cells.items():
        tree, stub = parsed(source), parsed(given.get(cell, ""))
        if tree and sum(1 for _ in ast.walk(tree)) >= LEAST_NODES:
            mark = kind(tree)
            if stub is None or mark != kind(stub):
                found[cell] = mark
    return found


def alike(tree: ast.AST) -> str:
    """As `fingerprint`, also where a program's own names were changed: they are numbered in the order in which they come."""
    places = list(named(tree))
    own = {getattr(node, field) for node, field in places
           if not (isinstance(node, ast.keyword) or isinstance(getattr(node, "ctx", None), ast.Load))}  # fmt: skip
    numbers: dict[str, str] = {}
    for node, field in places:
        name = getattr(node, field)
        if name and name in own:
            setattr(node, field, numbers.setdefault(name, f"name{len(numbers)}"))
    return fingerprint(tree)


def named(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """(node, field) of each name that may be a program's own; a keyword's only where it calls one of its own functions."""
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tree):
        if type(node) in NAMED:
            yield node, NAMED[type(node)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            yield from ((keyword, "arg") for keyword in node.keywords)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            node.names = []  # they come again where they are used


def enough(cells: list[str], longer: Mapping[str, str]) -> bool:
    return len(cells) >= LEAST_ANSWERS or (len(cells) >= 2 and len(cells) == len(longer))
