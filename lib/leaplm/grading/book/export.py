"""Marks as tables: safe CSV, and files that Moodle and Canvas import as they are.

    nbgrader export --exporter leaplm.grading.book.export.CsvExport --to grades.csv
    nbgrader export --exporter leaplm.grading.book.export.MoodleExport --assignment '["lab2_finetuning"]' --to moodle.csv
    nbgrader export --exporter leaplm.grading.book.export.CanvasExport --to canvas.csv

Names and comments are foreign text: cells are quoted by the csv module, and one that a spreadsheet would take for a
formula gets a ' before it. Excel takes a file for UTF-8 only with a byte order mark, so ours and Moodle's begin with one
(`mark`; Moodle's import takes it off). A student who handed in nothing has 0 in our CSV, as nbgrader's; the platforms
get an empty cell and decide for themselves. Marks that a fault of ours kept back are empty everywhere.
"""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbgrader.api import Assignment, Gradebook, MissingEntry, Student, SubmittedAssignment
from nbgrader.plugins import ExportPlugin
from traitlets import Bool, Dict, Enum, Float, Unicode

from leaplm.grading.book.verdicts import latest_records
from leaplm.grading.intake.receipts import Receipt, read_receipt
from leaplm.grading.intake.student_list import registry_ids
from leaplm.grading.texts import writable
from leaplm.whole_file import replacing

# What begins a formula; the full-width forms count in some spreadsheets, and what is not seen may stand before it.
FORMULA = re.compile(r"[\s\u200b-\u200f\u2060\ufeff]*[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]")
LINE_ENDS = re.compile(r"[\r\n\t\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")  # what ends a line anywhere
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
NBGRADERS = ("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
             "late_submission_penalty", "score", "max_score")  # fmt: skip
WORKSHEET = ("Identifier", "Full name", "ID number", "Email address", "Grade", "Maximum Grade", "Last modified (grade)",
             "Feedback comments")  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """A student's mark for a lab, with all that is known of how it came about."""

    assignment: Assignment
    student: Student
    submission: SubmittedAssignment | None
    record: dict[str, Any]  # the verdict, {} without one
    receipt: Receipt | None
    registry_id: str  # the student's id as the registry and the platform write it, "CSC/19/0123" say

    @property
    def lab(self) -> str:
        return self.assignment.name

    @property
    def state(self) -> str:
        """The verdict's state; "missing" when nothing was handed in, "" when our grader gave no verdict."""
        return "missing" if self.submission is None else self.record.get("state", "")

    @property
    def score(self) -> float | None:
        """The mark less the penalty; None without a submission, or when grading it failed for a fault of ours."""
        if self.submission is None or self.state == "infrastructure":
            return None
        return max(0.0, self.submission.score - (self.submission.late_submission_penalty or 0.0))

    @property
    def waits(self) -> bool:
        """Whether a person still has to mark a part."""
        return self.submission is not None and bool(self.submission.needs_manual_grade)

    @property
    def full_name(self) -> str:
        names = [name for name in (self.student.first_name, self.student.last_name) if name]
        return " ".join(names) or (self.receipt.person.get("name") if self.receipt else "") or self.student.id

    def number(self, platform: str) -> str:
        """The student's number on a platform, from the receipt of this lab."""
        person = self.receipt.person if self.receipt else {}
        return person.get("number", "") if person.get("platform") == platform else ""


class MarksExport(ExportPlugin):
    """What the exporters share: the marks asked for, and where to write them."""

    mark = Bool(True, help="Begin the file with the byte order mark, without which Excel garbles names").tag(config=True)

    def write(self, path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        self.log.info("Exporting grades to %s", write_csv(path, header, rows, self.mark))

    def marks(self, gradebook: Gradebook) -> dict[str, list[Mark]]:
        """The marks by lab, of the labs and students that were asked for (all, if none)."""
        labs, students = [{str(item) for item in wanted} for wanted in (self.assignment, self.student)]
        course = Path(self.parent.coursedir.root)
        found, registry = {}, registry_ids(course)
        for assignment in gradebook.assignments:
            if labs and assignment.name not in labs:
                continue
            records = latest_records(course, assignment.name)
            found[assignment.name] = [
                Mark(assignment, student, _submission(gradebook, assignment, student), records.get(student.id, {}),
                     read_receipt(course, assignment.name, student.id), registry.get(student.id, student.id))
                for student in gradebook.students
                if not students or student.id in students
            ]  # fmt: skip
        self._warn(found)
        return found

    def _warn(self, marks: dict[str, list[Mark]]) -> None:
        for lab, row in marks.items():
            if waiting := sum(mark.waits for mark in row):
                self.log.warning("%s: %d submissions still wait for a person to mark them (Formgrader)", lab, waiting)
            if failed := [mark.student.id for mark in row if mark.state == "infrastructure"]:
                self.log.warning("%s: no mark, grade again: %s", lab, ", ".join(map(safe_text, failed)))


class CsvExport(MarksExport):
    """nbgrader's columns, then the state of the verdict, whether a person has to mark, and a note."""

    def export(self, gradebook: Gradebook) -> None:
        header = (*NBGRADERS, "state", "needs_manual_grade", "note")
        rows = [self._row(mark) for marks in self.marks(gradebook).values() for mark in marks]
        self.write(Path(self.to or "grades.csv"), header, rows)

    def _row(self, mark: Mark) -> list[Any]:
        submission, student, assignment = mark.submission, mark.student, mark.assignment
        known = mark.score is not None
        raw, penalty = (submission.score, submission.late_submission_penalty or 0.0) if known else (0.0, 0.0)
        scores = ["", "", ""] if mark.state == "infrastructure" else [raw, penalty, mark.score or 0.0]
        doubts = [repair["text"] for repair in mark.record.get("repairs", []) if repair.get("doubtful")]
        return [
            assignment.name, assignment.duedate, submission.timestamp if submission else "", student.id,
            student.last_name, student.first_name, student.email, *scores, assignment.max_score,
            mark.state, "yes" if mark.waits else "", " ".join([mark.record.get("reason", ""), *doubts]).strip(),
        ]  # fmt: skip


class MoodleExport(MarksExport):
    """One grading worksheet for each lab, for the assignment's "Upload grading worksheet" in Moodle.

    The identifier is known where the class was collected from Moodle's own download. Without it, import the file in the
    course's gradebook (Import > CSV file) and map "Email address". Moodle skips a grade above the assignment's maximum:
    set `out_of` to that maximum, or Moodle's maximum to the lab's points.
    """

    out_of = Float(0, help="Moodle's maximum grade for the assignment; 0: the lab's own points").tag(config=True)
    participant = Unicode("Participant ", help="The word before the number, in the site's language").tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        marks = self.marks(gradebook)
        for lab, row in marks.items():
            path = Path(self.to or f"moodle-{lab}.csv")
            path = path if len(marks) == 1 or not self.to else path.with_stem(f"{path.stem}-{lab}")
            self.write(path, WORKSHEET, map(self._row, row))

    def _row(self, mark: Mark) -> list[Any]:
        number = mark.number("moodle")
        most = self.out_of or mark.assignment.max_score
        scale = self.out_of / mark.assignment.max_score if self.out_of and mark.assignment.max_score else 1
        grade = "" if mark.score is None else round(mark.score * scale, 5)
        who = [f"{self.participant}{number}" if number else "", mark.full_name, mark.registry_id, mark.student.email]
        return [*who, grade, most, "-", as_html(comments(mark))]


class CanvasExport(MarksExport):
    """One file for Canvas's gradebook ("Import"), with a column for each lab.

    Canvas finds students by ID, else by SIS login, else by name, and a lab by the number in brackets of its column:

        c.CanvasExport.columns = {"lab2_finetuning": "Lab 2 (12345)"}
    """

    mark = Bool(False, help="Begin the file with the byte order mark; Canvas's import does not take it off").tag(config=True)
    columns = Dict({}, help="lab -> the head of its column as Canvas exports it, with the number").tag(config=True)
    login = Enum(["id", "email"], "id", help="What of the student is the SIS Login ID").tag(config=True)
    section = Unicode("", help="What to put into the column Section").tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        marks = self.marks(gradebook)
        header = ["Student", "ID", "SIS Login ID", "Section", *(self.columns.get(lab, lab) for lab in marks)]
        points = ["    Points Possible", "", "", "", *(row[0].assignment.max_score if row else "" for row in marks.values())]
        students = zip(*marks.values(), strict=True)
        rows = [points, *(self._row(row) for row in students)]
        self.write(Path(self.to or "canvas.csv"), header, rows)

    def _row(self, marks: tuple[Mark, ...]) -> list[Any]:
        student = marks[0].student
        name = ", ".join(filter(None, [student.last_name, student.first_name])) or marks[0].full_name
        numbers = [student.lms_user_id, *(mark.number("canvas") for mark in marks)]
        number = next((text for text in numbers if text and text.isdecimal()), "")
        scores = ["" if mark.score is None else mark.score for mark in marks]
        login = student.email if self.login == "email" else marks[0].registry_id
        return [name, number, login or "", self.section, *scores]


def comments(mark: Mark) -> list[str]:
    """What the student is told of a mark, line by line."""
    if not mark.record:
        return []
    lines = [mark.record.get("reason", "")]
    for check in mark.record.get("checks", []):
        lines.append(f"{check['name']}: {check['points']:g} of {check['max']:g}. {check['message']}")
    return [line for line in lines if line]


def as_html(lines: Iterable[str]) -> str:
    """Lines as the HTML that Moodle's comments are; nothing in them is taken for a tag."""
    return "<br>".join(html.escape(safe_text(line)) for line in lines)


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]], mark: bool = False) -> Path:
    """Writes a table that is whole or not there; texts are quoted, numbers are not. `mark`: see `MarksExport.mark`."""
    with replacing(path, encoding="utf-8-sig" if mark else "utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow([cell(value) for value in header])
        writer.writerows([cell(value) for value in row] for row in rows)
    return path


def cell(value: Any) -> str | int | float:
    """A value as it may stand in a table.

    >>> cell("=1+1"), cell(-1.5), cell(None)
    ("'=1+1", -1.5, '')
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    text = safe_text("" if value is None else str(value))
    return f"'{text}" if FORMULA.match(text) else text


def safe_text(text: str) -> str:
    """A text on one line, without control characters or those that turn the direction of writing."""
    return CONTROL.sub("", LINE_ENDS.sub(" ", writable(text)))


def _submission(gradebook: Gradebook, assignment: Assignment, student: Student) -> SubmittedAssignment | None:
    try:
        return gradebook.find_submission(assignment.name, student.id)
    except MissingEntry:
        return None
