"""The models and data that student code may see while it is graded: all but the rows on which we mark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from leaplm.assets.places import STAMP, store
from leaplm.data import COURSE_SECRET, is_heldout, is_heldout_sentence, position
from leaplm.grading.judge.scratch import PREFIX, Scratch, sweep


class Rule(NamedTuple):
    """Which files of an asset hold rows that we mark on (by the end of their names), and which rows these are."""

    files: str
    column: int  # that decides
    header: bool
    held_out: Callable[[str, str], bool]  # (what stands in the column, the secret)


RULES = {
    "vader": Rule("_GroundTruth.txt", 2, False, lambda text, secret: is_heldout(text, secret=secret)),
    "afrisenti": Rule("test.tsv", 0, True, lambda text, secret: is_heldout(text, 0, 0.5, secret)),
    "sib200": Rule("test.tsv", 0, True, is_heldout_sentence),
}
EDITION = "3"  # of the rules: copies made by other ones are made again
MADE_BY = ".without-heldout"


def assets_without_heldout(secret: str = "") -> Path:
    """A folder beside the store with the same assets, without the grader's rows; made once, brought up to date.

    What student code sees while it is graded must not depend on the course's secret, or it can tell, by what is missing,
    which rows an exam is marked on: without one the rows that everybody knows are left out.
    """
    source = store()
    target = source.with_name(f"{source.name}-without-heldout{'-exam' if secret else ''}")
    target.mkdir(parents=True, exist_ok=True)
    edition = f"{EDITION} {position(secret)}"
    for stamp in source.glob(f"*/{STAMP}"):
        copy, wanted = target / stamp.parent.name, f"{edition} {stamp.read_text()}"
        if not (copy / MADE_BY).is_file() or (copy / MADE_BY).read_text() != wanted:
            copy_asset(stamp.parent, copy, wanted, secret)
    return target


def student_assets() -> Path:
    """The assets as students have them: in an exam without the rows that the course's secret draws."""
    return assets_without_heldout(os.environ.get(COURSE_SECRET, ""))


def write_student_store(folder: Path) -> None:
    """A store for students without the rows on which we mark, whole or not there; they set LEAPLM_HOME to it."""
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    shutil.copytree(student_assets(), folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MADE_BY, f"*{PREFIX}*"))


def copy_asset(source: Path, target: Path, made_by: str, secret: str) -> None:
    """One asset; whole or not there. Large files are linked, so they take no space twice."""
    sweep(target.parent)
    with Scratch(target.parent) as scratch:
        fresh, rule = scratch / target.name, RULES.get(source.name)
        for path in source.rglob("*"):
            if path.is_file():
                made = fresh / path.relative_to(source)
                made.parent.mkdir(parents=True, exist_ok=True)
                if rule and path.name.endswith(rule.files):
                    made.write_text(without_heldout(path, rule, secret), encoding="utf-8", newline="")
                else:
                    link_or_copy(path, made)
        (fresh / MADE_BY).write_text(made_by)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


def without_heldout(path: Path, rule: Rule, secret: str) -> str:
    """The lines of a tab-separated file that are not held out."""
    with open(path, encoding="utf-8", newline="") as file:
        lines = file.readlines()
    kept = lines[:1] if rule.header else []
    for line in lines[len(kept) :]:
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) <= rule.column or not rule.held_out(cells[rule.column], secret):
            kept.append(line)
    return "".join(kept)


def link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy(source, target)
