"""The one writer: puts verdicts into nbgrader's gradebook, and the notebooks as they ran where Formgrader looks.

Nothing else of the grader opens the gradebook. Each verdict is one transaction that first takes back the automatic
scores that the student had for this lab; a teacher's own scores and comments stay, as with `nbgrader autograde`.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGrader, NbGraderAPI
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import compute_checksum, determine_grade, is_grade, is_solution
from sqlalchemy.exc import SAWarning

from leaplm.grading.book.verdicts import write_whole
from leaplm.grading.judge.engine import Graded

APPLIED = "leaplm_verdict"  # key in an autograded notebook's metadata: the verdict it shows


class CourseBook:
    """nbgrader's view of a course folder: its paths, its gradebook, its settings (nbgrader_config.py)."""

    def __init__(self, course: Path) -> None:
        with working_in(course):
            app = NbGrader()
            app.log_level = "WARN"
            app.initialize([], root=str(course))
        self.app, self.coursedir = app, app.coursedir

    def folder(self, which: str, student: str, lab: str) -> Path:
        """nbgrader's folder: 'submitted', 'autograded' and so on."""
        return Path(self.coursedir.format_path(getattr(self.coursedir, f"{which}_directory"), student, lab))

    def submitted(self, lab: str) -> dict[str, Path]:
        """The folders of all students who handed in a lab."""
        top = self.folder("submitted", "*", lab)
        found = sorted(top.parent.parent.glob(f"*/{lab}"))
        return {path.parent.name: path for path in found}

    def register(self, lab: str) -> None:
        """Makes the lab known to the gradebook, as `nbgrader generate_assignment` does, without touching the release."""
        with self.open() as book, contextlib.suppress(MissingEntry):
            if book.find_assignment(lab).notebooks:
                return
        with tempfile.TemporaryDirectory() as elsewhere:
            before, self.coursedir.release_directory = self.coursedir.release_directory, elsewhere
            result = NbGraderAPI(self.coursedir, parent=self.app).generate_assignment(lab, force=True)
            self.coursedir.release_directory = before
        if not result["success"]:
            raise RuntimeError(f"nbgrader could not make {lab} known to the gradebook:\n{result['log']}")

    def open(self) -> Gradebook:
        warnings.filterwarnings("ignore", category=SAWarning)  # of nbgrader's own use of SQLAlchemy
        return Gradebook(self.coursedir.db_url, self.coursedir.course_id)


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class Writer:
    """Applies verdicts to an open gradebook, one at a time."""

    def __init__(self, book: CourseBook, gradebook: Gradebook) -> None:
        self._book, self._gradebook = book, gradebook

    def apply(self, graded: Graded) -> None:
        """Puts one verdict into the gradebook, unless it is there already."""
        lab, student = graded.record["lab"], graded.record["student"]
        path = self._book.folder("autograded", student, lab) / f"{lab}.ipynb"
        key = verdict_key(graded.record)
        if self._shows(path, key, lab, student):
            return
        notebook = nbformat.reads(graded.notebook, as_version=4)
        self._score(notebook, graded.record)
        notebook.metadata[APPLIED] = key
        path.parent.mkdir(parents=True, exist_ok=True)
        write_repairs(path.with_name(f"{lab}.repairs.txt"), graded.record)
        write_whole(path, nbformat.writes(notebook))

    def _shows(self, path: Path, key: str, lab: str, student: str) -> bool:
        """Whether the autograded notebook and the gradebook have this verdict already."""
        try:
            self._gradebook.find_submission(lab, student)
            return nbformat.read(path, as_version=4).metadata.get(APPLIED) == key
        except (MissingEntry, OSError, ValueError):
            return False

    def _score(self, notebook: NotebookNode, record: dict) -> None:
        lab, student = record["lab"], record["student"]
        self._gradebook.update_or_create_student(student)
        self._gradebook.update_or_create_submission(lab, student, timestamp=when(record["received"]))
        found = self._gradebook.find_submission_notebook(lab, lab, student)
        cells = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
        for grade in found.grades:
            cell = cells[grade.name]
            # nbgrader's own reading of a cell: the number a check shows, nothing for text that a person has to read.
            grade.auto_score = determine_grade(cell)[0] if is_grade(cell) else None
            grade.needs_manual_grade = grade.manual_score is not None or grade.auto_score is None
        for comment in found.comments:
            comment.auto_comment = "No response." if unanswered(cells[comment.name]) else None
        self._gradebook.db.commit()
        self._penalize(lab, student)

    def _penalize(self, lab: str, student: str) -> None:
        """The penalty for lateness that nbgrader's settings ask for."""
        if self._gradebook.find_submission(lab, student).total_seconds_late > 0:
            who = {"student": student, "assignment": lab, "notebook": lab, "db_url": self._book.coursedir.db_url}
            AssignLatePenalties(parent=self._book.app).preprocess(nbformat.v4.new_notebook(), {"nbgrader": who})
            self._gradebook.db.expire_all()


def verdict_key(record: dict) -> str:
    """What tells one verdict on a submission from another."""
    marks = ",".join(f"{check['points']:g}" for check in record["checks"])
    return f"{record['submission'][:16]} {record.get('grader', '')[:16]} {record['state']} {marks}"


def unanswered(cell: NotebookNode) -> bool:
    """Whether an answer cell is as we released it."""
    return is_solution(cell) and cell.metadata.nbgrader.get("checksum") == compute_checksum(cell)


def when(received: str | None) -> datetime.datetime | None:
    """The time of receipt as nbgrader keeps it: UTC, without a zone."""
    if received is None:
        return None
    return datetime.datetime.fromisoformat(received).astimezone(datetime.UTC).replace(tzinfo=None)


def write_repairs(path: Path, record: dict) -> None:
    """The note beside the notebook: how grading went, and what had to be mended."""
    path.unlink(missing_ok=True)
    if lines := verdict_lines(record):
        write_whole(path, "What happened to this submission before it was marked:\n\n" + "\n".join(lines) + "\n")


def verdict_lines(record: dict) -> list[str]:
    """What a teacher should know of a verdict beside its marks."""
    lines = [f"{record['state']}: {record['reason']}"] if record["reason"] else []
    return lines + [("LOOK AT THIS: " if repair["doubtful"] else "") + repair["text"] for repair in record["repairs"]]


def scores(book: CourseBook, lab: str) -> dict[str, Any]:
    """The marks of a lab by student, as the gradebook has them."""
    with book.open() as gradebook:
        return {found.student.id: found.score for found in gradebook.assignment_submissions(lab)}
