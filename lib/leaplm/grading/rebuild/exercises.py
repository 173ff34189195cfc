"""The exercises of a lab, read from nbgrader's metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbformat import NotebookNode


@dataclass
class Exercise:
    """The ids of an exercise's answer cells, and its checks in order with their points."""

    answers: list[str] = field(default_factory=list)
    checks: dict[str, float] = field(default_factory=dict)


def role(cell: NotebookNode) -> str | None:
    """What a cell is to us: answer, check, manual, locked, or None for text and free cells."""
    meta = cell.metadata.get("nbgrader")
    if not meta:
        return None
    if meta["grade"]:
        return "manual" if meta["solution"] else "check"
    return "answer" if meta["solution"] else "locked" if meta["locked"] else None


def exercises(notebook: NotebookNode) -> list[Exercise]:
    """The exercises in order; each begins at the first answer cell after a check.

    A check without answer cells of its own, of a saved model say, belongs to the exercise before it.
    """
    found: list[Exercise] = []
    for cell in notebook.cells:
        kind = role(cell)
        if kind == "answer":
            if not found or found[-1].checks:
                found.append(Exercise())
            found[-1].answers.append(cell.id)
        elif kind == "check":
            if not found:
                found.append(Exercise())
            found[-1].checks[check_name(cell)] = cell.metadata.nbgrader.points
    return found


def check_name(cell: NotebookNode) -> str:
    """The name of the check function of a check cell."""
    return cell.metadata.nbgrader.grade_id.removeprefix("check_")


def is_answered(cell: Mapping[str, Any]) -> bool:
    """Whether an answer is no more as it was given out; see `is_changed`."""
    return bool(cell.get("metadata", {}).get("nbgrader", {}).get("solution")) and is_changed(cell)


def is_changed(cell: Mapping[str, Any]) -> bool:
    """Whether a cell is no more as it was given out, by nbgrader's checksum; without one, nobody knows: False.

    cell: as it stands in the file. nbgrader itself is not needed: a learner's machine may have none.
    """
    meta = cell.get("metadata", {}).get("nbgrader", {})
    if not meta.get("checksum"):
        return False
    parts = ["".join(cell["source"]), cell["cell_type"], *(bool(meta.get(name)) for name in ("grade", "solution", "locked"))]
    parts += [meta["grade_id"], *([float(meta["points"])] if meta.get("grade") else [])]
    text = "".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return hashlib.md5(text, usedforsecurity=False).hexdigest() != meta["checksum"]
