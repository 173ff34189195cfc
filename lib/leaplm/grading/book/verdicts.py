"""Verdict records: one JSON file per graded submission, kept by content, written whole or not at all.

    .nbgrader-work/verdicts/<lab>/<student>/<submission>-<key>.json    the record
    .nbgrader-work/verdicts/<lab>/<student>/<submission>-<key>.ipynb   the notebook as it ran
    .nbgrader-work/verdicts/<lab>/log.jsonl                               every record ever made, in order

The key is of all that decides a verdict beside the submission: the grader, its limits, walls and language. A record holds
no times of grading, so the same submission, grader and seed give the same bytes. What one looks like:

    {"lab": "lab2_finetuning", "notebook": "lab2_finetuning",
     "student": "amina", "submission": "5b1c…", "grader": "90aa…", "variant": "public", "seed": 4711,
     "locale": "fr",
     "state": "graded", "reason": "", "points": 24, "max": 26, "received": "2026-11-24T10:00:00+00:00",
     "checks": [{"name": "collate", "points": 3, "max": 3, "message": "…", "fault": null}, …],
     "repairs": [{"text": "The check `collate` was changed; ours was used.", "doubtful": false}]}
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import leaplm
from leaplm.added import FOLDER
from leaplm.grading.assignment import Assignment
from leaplm.grading.course import lab_file, translated_releases
from leaplm.grading.judge.engine import Graded
from leaplm.grading.sandbox.walls import Limits
from leaplm.grading.submission import Submission
from leaplm.runtime import COURSE_SECRET
from leaplm.translation import LOCALE
from leaplm.whole_file import write_whole

WORK = ".nbgrader-work"
STATES = {  # state -> what it means, for the summary
    "graded": "ran to the end",
    "partial": "ran to the end; a cell was stopped at its time limit, or could not be run",
    "timeout": "stopped at the time limit; earlier marks count",
    "out of memory": "stopped at the memory limit; earlier marks count",
    "killed": "its program ended early; earlier marks count",
    "tampered": "its program broke the protocol; a person should look",
    "ungradable": "nothing that can be graded; the student has to hand in again",
    "infrastructure": "not graded, for a fault of ours; run the command again",
}


class Store:
    """The verdicts of one lab in a course folder, under the grader as it is now, its limits, walls and language."""

    def __init__(self, course: Path, lab: str, limits: Limits | None = None, unsafe: bool = False,
                 assignment: Assignment | None = None) -> None:  # fmt: skip
        """`assignment`: what is graded, where it is not the lab alone; made again, it is graded again."""
        self.folder = Path(course) / WORK / "verdicts" / lab
        self.grader = grader_digest(Path(course), lab)
        own = [assignment.digest] if assignment and (assignment.plain or assignment.tests) else []
        settings = json.dumps([self.grader, asdict(limits or Limits()), unsafe, os.environ.get(LOCALE, ""), *own])
        self._key = hashlib.sha256(settings.encode()).hexdigest()

    def path(self, submission: Submission) -> Path:
        return self.folder / submission.student / f"{submission.digest[:16]}-{self._key[:16]}.json"

    def find(self, submission: Submission) -> Graded | None:
        """The verdict that this grader has given on this content; a fault of ours does not count as one.

        When the work was received does not change the verdict, and may have been corrected since: it is the submission's.
        """
        path = self.path(submission)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            notebook = path.with_suffix(".ipynb").read_text(encoding="utf-8")
            if record["state"] == "infrastructure":
                return None
        except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged since
            return None
        return Graded({**record, "received": submission.received}, notebook, read_files(path.with_suffix(".files")))

    def save(self, submission: Submission, graded: Graded) -> Graded:
        """Keeps a verdict; the notebook first, so that a record is never without it."""
        record = {**graded.record, "grader": self.grader, "variant": variant_name()}
        graded = Graded(record, graded.notebook, graded.artifacts)
        path = self.path(submission)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_files(path.with_suffix(".files"), graded.artifacts)
        write_whole(path.with_suffix(".ipynb"), graded.notebook)
        write_whole(path, json.dumps(graded.record, indent=1, ensure_ascii=False) + "\n")
        append_line(self.folder / "log.jsonl", json.dumps(graded.record, ensure_ascii=False))
        return graded


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """The files that a notebook made, in a folder of their own; what lay there before goes."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def latest_records(course: Path, lab: str) -> dict[str, dict[str, Any]]:
    """The newest record of each student, from the log; a power cut may have cut off a line anywhere, within a letter too.

    Where an assignment has several notebooks, that of one which was not graded as it should, if there is such.
    """
    log = Path(course) / WORK / "verdicts" / lab / "log.jsonl"
    latest, records = {}, {}
    for line in log.read_bytes().split(b"\n") if log.is_file() else ():  # a text may have other ends of lines
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):  # half a letter is a ValueError too
            record = json.loads(line.decode())
            latest[record["student"], record.get("notebook")] = record
    for (student, _), record in latest.items():
        if records.get(student, {"state": "graded"})["state"] == "graded":
            records[student] = record
    return records


def append_line(path: Path, text: str) -> None:
    """Adds a line to a file, after the end of the last one: a power cut may have left that open."""
    with open(path, "a+b") as file:
        if file.tell() and (file.seek(-1, os.SEEK_END), file.read())[1] != b"\n":
            file.write(b"\n")
        file.write(text.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def variant_name() -> str:
    """What the held-out rows of the course are called: "public", or a short hash of the secret that draws them."""
    secret = os.environ.get(COURSE_SECRET)
    return hashlib.sha256(f"variant {secret}".encode("utf-8", "surrogateescape")).hexdigest()[:8] if secret else "public"


def variants_of(records: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """The students of each variant, from their records; those of before variants had names are in none.

    >>> variants_of([{"student": name, "variant": "public"} for name in ("bello", "amina")] + [{"student": "chi"}])
    {'public': ['amina', 'bello']}
    """
    pairs = sorted((record["variant"], record["student"]) for record in records if "variant" in record)
    return {variant: [student for _, student in some] for variant, some in groupby(pairs, itemgetter(0))}


def grader_digest(course: Path, lab: str) -> str:
    """SHA-256 of all that decides a mark: our code, the lab's checks, releases and messages, and the course's secret.

    Files as they are when this process first asks: that is the code it runs. The secret chooses the rows we mark on.
    """
    secret = hashlib.sha256(os.environ.get(COURSE_SECRET, "").encode("utf-8", "surrogateescape")).hexdigest()
    return hashlib.sha256(f"{files_digest(course, lab)} {secret}".encode()).hexdigest()


@functools.cache
def files_digest(course: Path, lab: str) -> str:
    """SHA-256 of the files behind a mark, with their names: our library with its records, the lab's, added languages."""
    package = Path(leaplm.__file__).resolve().parent
    ours = [path for suffix in ("py", "toml", "json") for path in package.rglob(f"*.{suffix}")]
    theirs = [lab_file(course, lab, "checks.py"), course / "labs" / lab / f"{lab}.ipynb"]
    theirs = [path for path in theirs if path.is_file()]  # of an assignment that is no lab, the verdict's key tells
    theirs += [*translated_releases(course, lab),
              *lab_file(course, lab, "locale").glob("*.po"), *(course / "course" / "locale").rglob("*.po"),
              *(course / FOLDER).glob("*/*.csv"), *(course / FOLDER).glob(f"*/{lab}.json")]  # fmt: skip
    named = [(str(path.relative_to(package)), path) for path in ours]
    named += [(str(path.relative_to(course)), path) for path in theirs]
    digest = hashlib.sha256()
    for name, path in sorted(named):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
