"""The models and data that student code may see while it is graded: all but the rows on which we mark."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from leaplm.assets.places import STAMP, store
from leaplm.data import SHARES, position

# Of each data file by its end: the column of the text, whether there is a header, and whether a text is held out.
RULES = {
    "_GroundTruth.txt": (2, False, lambda text: position(text) >= 1 - SHARES["heldout"]),
    "test.tsv": (0, True, lambda text: position(text) < 0.5),
}
ASSETS = {"vader": "_GroundTruth.txt", "afrisenti": "test.tsv"}  # asset -> the files of it that hold such rows


def assets_without_heldout() -> Path:
    """A folder beside the store with the same assets, without the grader's rows; made once, brought up to date."""
    source = store()
    target = source.with_name(f"{source.name}-without-heldout")
    target.mkdir(parents=True, exist_ok=True)
    for folder in source.glob(f"*/{STAMP}"):
        name = folder.parent.name
        if not (target / name / STAMP).is_file() or (target / name / STAMP).read_text() != folder.read_text():
            copy_asset(source / name, target / name)
    return target


def copy_asset(source: Path, target: Path) -> None:
    """One asset; whole or not there. Large files are linked, so they take no space twice."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    for path in source.rglob("*"):
        if path.is_file():
            made = fresh / path.relative_to(source)
            made.parent.mkdir(parents=True, exist_ok=True)
            if (rule := ASSETS.get(source.name)) and path.name.endswith(rule):
                made.write_text(without_heldout(path, rule), encoding="utf-8", newline="")
            else:
                link_or_copy(path, made)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def without_heldout(path: Path, rule: str) -> str:
    """The lines of a tab-separated file whose text is not held out."""
    column, header, held_out = RULES[rule]
    with open(path, encoding="utf-8", newline="") as file:
        lines = file.readlines()
    kept = lines[:1] if header else []
    for line in lines[len(kept) :]:
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) <= column or not held_out(cells[column]):
            kept.append(line)
    return "".join(kept)


def link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy(source, target)
