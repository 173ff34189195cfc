"""The models and data that student code may see while it is graded: all but the rows on which we mark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from leaplm.assets.places import STAMP, store
from leaplm.data import COURSE_SECRET, is_heldout, is_heldout_sentence, position
from leaplm.grading.judge.scratch import Scratch, sweep


class Rule(NamedTuple):
    """Which files of an asset hold rows that we mark on (by the end of their names), and which rows these are."""

    files: str
    column: int  # that decides
    header: bool
    held_out: Callable[[str], bool]


RULES = {
    "vader": Rule("_GroundTruth.txt", 2, False, is_heldout),
    "afrisenti": Rule("test.tsv", 0, True, lambda text: is_heldout(text, 0, 0.5)),
    "sib200": Rule("test.tsv", 0, True, is_heldout_sentence),
}
EDITION = "2"  # of the rules: copies made by other ones are made again
MADE_BY = ".without-heldout"


def assets_without_heldout() -> Path:
    """A folder beside the store with the same assets, without the grader's rows; made once, brought up to date."""
    source = store()
    target = source.with_name(f"{source.name}-without-heldout")
    target.mkdir(parents=True, exist_ok=True)
    edition = f"{EDITION} {position(os.environ.get(COURSE_SECRET, ''))}"
    for stamp in source.glob(f"*/{STAMP}"):
        copy, wanted = target / stamp.parent.name, f"{edition} {stamp.read_text()}"
        if not (copy / MADE_BY).is_file() or (copy / MADE_BY).read_text() != wanted:
            copy_asset(stamp.parent, copy, wanted)
    return target


def write_student_store(folder: Path) -> None:
    """A store for students without the rows on which we mark, whole or not there; they set LEAPLM_HOME to it."""
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    shutil.copytree(assets_without_heldout(), folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MADE_BY))


def copy_asset(source: Path, target: Path, made_by: str) -> None:
    """One asset; whole or not there. Large files are linked, so they take no space twice."""
    sweep(target.parent)
    with Scratch(target.parent) as scratch:
        fresh, rule = scratch / target.name, RULES.get(source.name)
        for path in source.rglob("*"):
            if path.is_file():
                made = fresh / path.relative_to(source)
                made.parent.mkdir(parents=True, exist_ok=True)
                if rule and path.name.endswith(rule.files):
                    made.write_text(without_heldout(path, rule), encoding="utf-8", newline="")
                else:
                    link_or_copy(path, made)
        (fresh / MADE_BY).write_text(made_by)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


def without_heldout(path: Path, rule: Rule) -> str:
    """The lines of a tab-separated file that are not held out."""
    with open(path, encoding="utf-8", newline="") as file:
        lines = file.readlines()
    kept = lines[:1] if rule.header else []
    for line in lines[len(kept) :]:
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) <= rule.column or not rule.held_out(cells[rule.column]):
            kept.append(line)
    return "".join(kept)


def link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy(source, target)
