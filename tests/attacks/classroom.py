"""A class of attackers and honest neighbours, graded by our grader in one run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leaplm.grading.book.gradebook import CourseBook, scores
from leaplm.grading.intake.collect import collect
from leaplm.grading.intake.ingest import safe_id
from mini import LAB, ROOT, make_course

from attacks import world
from attacks.rows import Row
from attacks.traps import Listeners, Traps, plant_at_home, plant_in_course
from attacks.work import ARTIFACT, Sheet, Work

RECEIVED = 1_790_000_000  # when everything was handed in
RECEIVED_TEXT = "2026-09-21T14:13:20+00:00"
EVERY = 6  # rows, then a neighbour
LIMITS = {"cell_seconds": 4, "submission_seconds": 15, "memory_mb": 1500}  # honest work takes a third of a second
# Two submissions, and what several processes of one can fill together until the watch looks again.
SANDBOX_MB = 8 * LIMITS["memory_mb"] + 2000
SECONDS = 1800  # for the whole class
KINDS = {"right": 9, "wrong": 0, "half": 7}  # of neighbours, with their marks


@dataclass
class Class:
    """A course with submissions, and what was seen when it was graded."""

    folder: Path  # holds course/, and home/, tmp/, outside/ for who grades it
    traps: Traps
    students: dict[str, str] = field(default_factory=dict)  # row id -> the student's id as graded
    neighbours: dict[str, str] = field(default_factory=dict)  # id -> kind
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)  # in the gradebook
    log: str = ""
    ended: int | None = None  # the grader's exit status
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    orphans: list[str] = field(default_factory=list)
    watch: world.Watch | None = None

    @property
    def course(self) -> Path:
        return self.folder / "course"

    @property
    def work(self) -> Path:
        return self.course / ".nbgrader-work"

    def hand_in(self, student: str, work: Work) -> None:
        """A folder where nbgrader looks for it; a zip through `leaplm collect`."""
        if work.archive is None:
            folder = self.work / "submitted" / student / LAB
            work.write(folder)
            for path in (folder, *folder.rglob("*")):
                when = work.times.get(path.relative_to(folder).as_posix(), RECEIVED)
                os.utime(path, (when, when), follow_symlinks=False)
            return
        upload = self.folder / "uploads" / f"{student}.zip"
        upload.parent.mkdir()
        upload.write_bytes(work.archive)
        collect(self.course, LAB, upload.parent, received=RECEIVED_TEXT)
        shutil.rmtree(upload.parent)

    def verdicts(self, student: str) -> dict[str, bytes]:
        """The files of a student's verdicts."""
        folder = self.work / "verdicts" / LAB / student
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))}


def make_class(folder: Path, listeners: Listeners) -> tuple[Class, Sheet]:
    """A course with secrets and nobody in it, and the lab's right answers."""
    course = make_course(folder / "course")
    sheet = Sheet.of(course)
    plant_in_course(course)
    for name in ("outside", "home", "tmp", "assets"):
        (folder / name).mkdir()
    traps = Traps(str(course), str(folder / "outside"), str(folder / "home"), listeners.port, listeners.path,
                  listeners.free_port, neighbour_id(0), world.own_namespace(), LIMITS["cell_seconds"])  # fmt: skip
    return Class(folder, traps), sheet


def neighbour_id(place: int) -> str:
    """Of the honest student before the row of this place."""
    return f"{place // EVERY * EVERY:03}_neighbour"


def add_neighbours(group: Class, sheet: Sheet, rows: int) -> None:
    """One before every few rows, and one after the last."""
    for number, place in enumerate(range(0, rows + EVERY, EVERY)):
        student, kind = neighbour_id(place), list(KINDS)[number % len(KINDS)]
        work = Work(sheet, student, kind != "wrong", group.traps)
        work.sign()
        if kind == "half":
            del work.files[ARTIFACT]
        group.neighbours[student] = kind
        group.hand_in(student, work)


def add_rows(group: Class, sheet: Sheet, rows: list[Row]) -> None:
    for place, row in enumerate(rows):
        student = student_id(place, row)
        group.students[row.id] = safe_id(student)
        group.hand_in(student, row.submission(Work(sheet, row.id, row.right, group.traps)))


def add_earlier(group: Class, sheet: Sheet, rows: list[Row]) -> None:
    """What some students had handed in before, which is graded first."""
    for place, row in enumerate(rows):
        if row.earlier:
            work = Work(sheet, row.id, row.right, group.traps)
            row.earlier(work)
            group.hand_in(student_id(place, row), work)
    run(group)


def student_id(place: int, row: Row) -> str:
    return row.student or f"{place:03}-{row.id}"


def run(group: Class) -> None:
    """Grades the class in a program of its own; looks at what is there before, while and after it runs."""
    folder = group.folder
    environment = {**os.environ, **plant_at_home(folder / "home"), "TMPDIR": str(folder / "tmp"),
                   "LEAPLM_HOME": str(folder / "assets"), "LEAPLM_CHECK_SEED": "20260921",
                   "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("tests", "tests/support"))}  # fmt: skip
    group.before = watched_files(group)
    words = [sys.executable, "-m", "attacks.grade", str(group.course), json.dumps(LIMITS), str(folder / "records")]
    others = world.children()
    with world.keeping_orphans(), open(folder / "log", "wb") as log:
        process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        with world.Watch(process.pid, SANDBOX_MB) as group.watch:
            try:
                group.ended = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        group.orphans = world.take_leave(others)
    group.log = (folder / "log").read_text(errors="replace")
    group.records = json.loads((folder / "records").read_text()) if group.ended == 0 else {}
    group.marks = scores(CourseBook(group.course), LAB)
    group.after = watched_files(group)
    group.left = world.marked(group.traps.free_port)


def watched_files(group: Class) -> dict[str, str]:
    """What is in the folders that grading must leave as they are, by the path from the class's folder."""
    kept = [group.folder / name for name in ("home", "tmp")]
    kept += [group.course / name for name in ("course", "labs", "solutions", ".nbgrader-work/submitted")]
    return {path.removeprefix(str(group.folder)): content for path, content in world.files_below(*kept).items()}


def publish(group: Class) -> None:
    """Feedback for the students and the table of marks, by nbgrader's commands."""
    for command in (["generate_feedback", LAB], ["export", "--exporter", "leaplm.grading.book.export.CsvExport"]):
        subprocess.run([sys.executable, "-m", "nbgrader", *command], cwd=group.course, check=True, capture_output=True)
