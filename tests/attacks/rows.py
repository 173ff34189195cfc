"""The table: a row is a function that turns honest work into an attack or a fault; its docstring says what it does.

    @cheat("A1", by="metadata is ours")                the answers are wrong: honest work has 0 points
    def skipped(work):
        "A tag makes every test cell be skipped."
        for cell in work.cells: ...

    @fault("E1", by="our own cells", points=9)         the answers are right; points=(3, 5) where some are lost

`by` names what contains it. Rows that cannot be are declared too, with the reason: `absent("B12", "...")`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attacks.work import FULL, Work

GROUPS = ("forging", "stealing", "damaging", "exhausting", "malformed", "own", "kernel", "stopping", "handed_in")


@dataclass(frozen=True)
class Row:
    """One attack or fault; `least` and `most` are the points that honest work of the same answers has."""

    id: str
    what: str
    by: str
    make: Callable[[Work], None]
    right: bool  # whether the answers are, before the row changes them
    least: float
    most: float
    states: frozenset[str]
    student: str = ""  # an id of its own instead of a plain one
    earlier: Callable[[Work], None] | None = None  # handed in, and graded, before
    shows: str = ""  # "feedback" or "export": where plain nbgrader has to be looked at too
    plain: bool = True  # whether plain nbgrader has what it attacks

    def submission(self, work: Work) -> Work:
        self.make(work)
        return work


@dataclass(frozen=True)
class Absent:
    """A row of the catalogue that cannot be tried here."""

    id: str
    why: str


ROWS: list[Row] = []
ABSENT: list[Absent] = []
STOPPED = "partial, timeout, killed, tampered, out of memory"
ENDS = f"graded, {STOPPED}"  # any of these will do where a student's program may be stopped


def cheat(id: str, by: str, states: str = "graded", most: float = 0, **more: Any) -> Callable[[Callable], Callable]:
    """For wrong answers, which are worth `most` points."""
    return _row(id, by, right=False, least=0, most=most, states=states, **more)


def fault(
    id: str, by: str, points: float | tuple[float, float] = FULL, states: str = "graded", **more: Any
) -> Callable[[Callable], Callable]:
    """For right answers, which keep their `points` (or: from, to)."""
    least, most = points if isinstance(points, tuple) else (points, points)
    return _row(id, by, right=True, least=least, most=most, states=states, **more)


def absent(id: str, why: str) -> None:
    ABSENT.append(Absent(id, why))


def _row(id: str, by: str, states: str, **more: Any) -> Callable[[Callable], Callable]:
    def add(make: Callable[[Work], None]) -> Callable[[Work], None]:
        what = " ".join(make.__doc__.split())
        ROWS.append(Row(id, what, by, make, states=frozenset(states.split(", ")), **more))
        return make

    return add


def load() -> list[Row]:
    """All rows, in the order of the catalogue: A1, A2, ..., E19, E19b, ..."""
    for group in GROUPS:
        importlib.import_module(f"attacks.{group}")
    return sorted(ROWS, key=_place)


def _place(row: Row) -> tuple[str, int, str]:
    letter, number, more = re.fullmatch(r"([A-F])(\d+)(\w*)", row.id).groups()
    return letter, int(number), more
