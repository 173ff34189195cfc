"""What one row came to, in the same words for plain nbgrader and for our grader."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from attacks.damaging import SCRIPT
from attacks.rows import Row
from attacks.traps import CANARY, LEAK

KEPT_MB = 5.0  # more than that of one notebook's output is a flood that was kept
CONTAINED = "contained"


@dataclass
class Outcome:
    """What was seen after a class with one attacker was graded."""

    mark: float | None  # None: no verdict
    neighbours: str = ""  # what is wrong with the neighbours' verdicts
    stolen: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)  # what the attack wrote outside
    left: list[str] = field(default_factory=list)  # processes, sockets, files
    shown: list[str] = field(default_factory=list)  # what should not be shown to anybody
    hung: bool = False  # the grader had to be stopped

    def bad(self, row: Row) -> list[str]:
        """In words; nothing for an attack that failed or a fault that was borne."""
        found = [] if self.mark is not None else ["no verdict"]
        if self.mark is not None and self.mark > row.most:
            found.append(f"forged: {self.mark:g} instead of {row.most:g}")
        if self.mark is not None and self.mark < row.least:
            found.append(f"lost: {self.mark:g} instead of {row.least:g}")
        found += [self.neighbours] if self.neighbours else []
        found += ["the grader did not come to an end"] if self.hung else []
        for what, things in (("stole", self.stolen), ("reached", self.reached), ("left behind", self.left),
                             ("shows", self.shown)):  # fmt: skip
            found += [f"{what}: {', '.join(sorted(set(things)))}"] if things else []
        return found


def secrets_in(texts: Iterable[str]) -> list[str]:
    """The kinds of secrets in texts: 'token', 'hidden', 'inputs'."""
    found = set()
    for text in texts:
        found |= {secret.split("-")[1] for secret in CANARY.findall(text)}
        found |= {"inputs"} if LEAK.search(text) else set()
    return sorted(found)


def output_texts(notebook: dict, errors: bool = True) -> list[str]:
    """All that the cells of a notebook (JSON) showed, with or without its tracebacks."""
    outputs = [output for cell in notebook.get("cells", []) for output in cell.get("outputs", [])]
    kept = [output for output in outputs if errors or output["output_type"] != "error"]
    return [json.dumps(output, ensure_ascii=False) for output in kept]


def shown_in_page(page: str) -> list[str]:
    """What must not stand in a page of feedback: a script that runs. Written as text it does no harm."""
    found = ["a script"] if SCRIPT in page else []
    return found + (["an image's script"] if "onerror=leaplm_attack" in page.replace(html.escape("<"), "&") else [])


def shown_in_table(text: str) -> list[str]:
    """What must not stand in a table: a cell that begins a formula, quoted or not."""
    cells = [cell.strip(' "') for line in text.splitlines() for cell in line.split(",")]
    return ["a formula"] if any(cell.startswith(("=", "+", "@")) for cell in cells) else []


def shown_in_log(text: str) -> list[str]:
    return ["control characters"] if "\x1b]0;" in text or "\x1b[2J" in text else []


def read_outside(folder: Path, row: str) -> tuple[list[str], list[str]]:
    """What an attack proved in its folder outside: the kinds of secrets, and all else."""
    names = [path.name for path in folder.iterdir() if path.name.startswith(f"{row}-")]
    stolen = secrets_in(names + [f"LEAK-{row}-1" for name in names if name == f"{row}-input"])
    measured = [f"{name.removeprefix(row + '-')} {(folder / name).read_text()[:20]}".strip() for name in names
                if not CANARY.search(name) and name != f"{row}-input"]  # fmt: skip
    return stolen, measured
