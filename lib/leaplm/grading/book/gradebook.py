"""The one writer: puts verdicts into nbgrader's gradebook, and the notebooks as they ran where Formgrader looks.

Nothing else of the grader opens the gradebook. Each verdict is one transaction that first takes back the automatic
scores that the student had for this lab; a teacher's own scores and comments stay, as with `nbgrader autograde`.
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import json
import logging
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook, InvalidEntry, MissingEntry, Notebook
from nbgrader.apps import NbGrader, NbGraderAPI
from nbgrader.converters import Autograde
from nbgrader.nbgraderformat import SCHEMA_VERSION
from nbgrader.preprocessors import AssignLatePenalties, Execute
from nbgrader.utils import compute_checksum, determine_grade, find_all_files, is_grade, is_solution
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SAWarning, SQLAlchemyError
from traitlets.config import LazyConfigValue

from leaplm.grading.assignment import Assignment, check_functions, lab_assignment, with_ids
from leaplm.grading.book.conversion import Conversion
from leaplm.grading.course import lab_file
from leaplm.grading.intake.extractor import sweep
from leaplm.grading.intake.receipts import nbgrader_time
from leaplm.grading.judge.engine import Graded
from leaplm.grading.judge.scratch import Scratch
from leaplm.grading.rebuild.exercises import check_name, role
from leaplm.grading.sandbox.walls import Limits
from leaplm.grading.submission import NOTE
from leaplm.whole_file import write_whole

WAIT_SECONDS = 120.0  # for a gradebook that another program holds
APPLIED = "leaplm_verdict"  # key in an autograded notebook's metadata: the verdict it shows


class Locked(Exception):
    """Another program holds the gradebook."""


class CourseBook:
    """nbgrader's view of a course folder: its paths, its gradebook, its settings.

    The settings are those of nbgrader_config.py, or of `app`, a converter of nbgrader's that runs in this course.
    """

    def __init__(self, course: Path, app: Any = None) -> None:
        if app is None:
            with working_in(course):
                app = NbGrader()
                app.log_level = "WARN"
                app.initialize([], root=str(course))
        self.app, self.coursedir, self.course = app, app.coursedir, Path(app.coursedir.root)
        self.coursedir.db_url = from_course(self.coursedir.db_url, self.course)

    @cached_property
    def conversion(self) -> Conversion:
        """What nbgrader's settings ask for around a graded notebook."""
        return Conversion(self.coursedir, self.app)

    def folder(self, which: str, student: str, lab: str) -> Path:
        """nbgrader's folder: 'submitted', 'autograded' and so on."""
        return Path(self.coursedir.format_path(getattr(self.coursedir, f"{which}_directory"), student, lab))

    def submitted(self, lab: str) -> dict[str, Path]:
        """The folders of all students who handed in a lab, but for c.CourseDirectory.student_id_exclude."""
        where = self.coursedir
        left_out = where.student_id_exclude.split(",")
        pattern = where.format_path(where.submitted_directory, "(?P<student_id>[^/]+)", re.escape(lab), escape=True)
        anyone = where.format_path(where.submitted_directory, "*", glob.escape(lab))
        found = sorted(glob.glob(anyone, include_hidden=True))  # an id may begin with a dot
        found = {match["student_id"]: Path(path) for path in found if (match := re.fullmatch(pattern, path))}
        return {student: folder for student, folder in found.items() if student not in left_out}

    def assignments(self, name: str) -> list[Assignment]:
        """The notebooks of an assignment, by name. FileNotFoundError, with what to do, if there are none.

        One of our labs is taken as it was released; any other as nbgrader keeps it in the gradebook.
        """
        checks = check_functions(lab_file(self.course, name, "checks.py"))
        release = self.folder("release", ".", name) / f"{name}.ipynb"
        if checks and release.is_file() and all(check_name(cell) in checks for cell in check_cells(release)):
            return [lab_assignment(self.course, name)]
        if not release.parent.is_dir() and not self.folder("source", ".", name).is_dir():
            raise FileNotFoundError(f"there is no lab {name!r}: {release} does not exist")
        with self.open() as book:
            try:
                notebooks = sorted(book.find_assignment(name).notebooks, key=lambda notebook: notebook.name)
            except MissingEntry:
                notebooks = []
            if not notebooks:
                said = f"the gradebook knows no notebook of {name}: first `nbgrader generate_assignment {name}`"
                raise FileNotFoundError(said)
            files = {title: path.read_bytes() for title, path in self.files(name).items()}
            names = [notebook.name for notebook in notebooks]
            return [self._assignment(name, notebook, names, files, checks) for notebook in notebooks]

    def _assignment(
        self, name: str, notebook: Notebook, names: list[str], files: dict[str, bytes], checks: set[str]
    ) -> Assignment:  # fmt: skip
        path = self.folder("release", ".", name) / f"{notebook.name}.ipynb"
        release = with_ids(nbformat.read(path, as_version=4) if path.is_file() else skeleton(notebook))
        sources = {cell.name: cell.source for cell in notebook.source_cells}
        marked = [cell for cell in release.cells if role(cell) == "check" and check_name(cell) not in checks]
        tests = {(own := cell.metadata.nbgrader.grade_id): sources.get(own, cell.source) for cell in marked}
        siblings = tuple(other for other in names if other != notebook.name)
        schemes = {cell.name: sources[cell.name] for cell in notebook.task_cells if cell.name in sources}
        sums = {cell.name: cell.checksum for cell in notebook.source_cells if cell.name in tests | schemes}
        text = nbformat.writes(release)
        return Assignment(name, notebook.name, text, tests, sums, files, siblings, plain=not checks, schemes=schemes)

    def files(self, name: str) -> dict[str, Path]:
        """What the teacher has beside the notebooks: it comes in place of a student's, unless the settings say not."""
        source = self.folder("source", ".", name)
        kept = Autograde(self.coursedir, parent=self.app).exclude_overwriting.get(name, [])
        paths = {Path(path) for path in find_all_files(str(source), [*self.coursedir.ignore, "*.ipynb"])}
        paths -= {source / other for other in kept}
        return {path.relative_to(source).as_posix(): path for path in sorted(paths)}

    def copy_files(self, name: str, student: str) -> None:
        """Lays the files of a student's, made safe, and the teacher's beside the graded notebook, as nbgrader does."""
        ours = self.files(name)
        for line in sweep(self.folder("submitted", student, name), lab=False, ours=ours):
            self.app.log.warning(line)
        self.conversion.copy_files(name, student, ours, self.folder("autograded", student, name))

    def hook(self, which: str, name: str, student: str) -> None:
        """Calls a hook of the course's own for a student's submission, in the course's folder."""
        with working_in(self.course):
            self.conversion.call_hook(which, name, student, self.folder("submitted", student, name))

    def register(self, lab: str) -> None:
        """Makes the lab known to the gradebook, as `nbgrader generate_assignment` does, without touching the release."""
        with self.open() as book, contextlib.suppress(MissingEntry):
            if book.find_assignment(lab).notebooks:
                return
        with Scratch() as elsewhere:
            before, self.coursedir.release_directory = self.coursedir.release_directory, str(elsewhere)
            result = NbGraderAPI(self.coursedir, parent=self.app).generate_assignment(lab, force=True)
            self.coursedir.release_directory = before
        if not result["success"]:
            raise RuntimeError(f"nbgrader could not make {lab} known to the gradebook:\n{result['log']}")

    def limits(self) -> Limits:
        """The limits of a submission that the settings ask for; nbgrader's own time limit of a cell among them."""
        asked = self.app.config.GradeSubmission.get("limits", {})
        asked = dict(asked.get_value({}) if isinstance(asked, LazyConfigValue) else asked)
        sections = [self.app.config[cls.__name__] for cls in Execute.mro() if cls.__name__ in self.app.config]
        if any("timeout" in section for section in sections):
            most = asked.get("submission_seconds", Limits.submission_seconds)
            seconds = Execute(parent=self.app).timeout
            asked["cell_clock_seconds"] = float(seconds if seconds and seconds > 0 else most)
            asked["cell_seconds"] = max(asked.get("cell_seconds", Limits.cell_seconds), asked["cell_clock_seconds"])
        return Limits(**asked)

    def open(self) -> Gradebook:
        warnings.filterwarnings("ignore", category=SAWarning)  # of nbgrader's own use of SQLAlchemy
        return Gradebook(self.coursedir.db_url, self.coursedir.course_id)


def from_course(url: str, course: Path) -> str:
    """The address of a gradebook; a relative path of SQLite's begins at the course, wherever this program was started.

    >>> from_course("sqlite:///marks.db", Path("/course")), from_course("sqlite:////a/marks.db", Path("/course"))
    ('sqlite:////course/marks.db', 'sqlite:////a/marks.db')
    """
    path = Path(make_url(url).database or "")
    if make_url(url).get_backend_name() != "sqlite" or path.is_absolute() or path.name in ("", ":memory:"):
        return url
    return make_url(url).set(database=str(course / path)).render_as_string(hide_password=False)


def check_cells(release: Path) -> list[NotebookNode]:
    return [cell for cell in nbformat.read(release, as_version=4).cells if role(cell) == "check"]


def skeleton(notebook: Notebook) -> NotebookNode:
    """A release that is gone, from the cells that the gradebook has of it: those that nbgrader marks."""
    made = nbformat.v4.new_notebook()
    points = {cell.name: cell.max_score for cell in [*notebook.grade_cells, *notebook.task_cells]}
    grades, answers = ({cell.name for cell in cells} for cells in (notebook.grade_cells, notebook.solution_cells))
    tasks = {cell.name for cell in notebook.task_cells}
    for cell in notebook.source_cells:
        new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        marks = {"grade": cell.name in grades, "solution": cell.name in answers, "task": cell.name in tasks,
                 "locked": cell.locked, "grade_id": cell.name, "schema_version": SCHEMA_VERSION,
                 "cell_type": cell.cell_type, "checksum": cell.checksum}  # fmt: skip
        marks |= {"points": points[cell.name]} if cell.name in points else {}
        made.cells.append(new(cell.source, metadata={"nbgrader": marks}))
    made.metadata.update({"kernelspec": spec} if (spec := json.loads(notebook.kernelspec or "null")) else {})
    return made


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


class Mark(NamedTuple):
    """What the gradebook says of a submission."""

    timestamp: datetime.datetime | None
    score: float
    penalty: float | None
    late: bool  # now, or when the penalty was made


def shows(path: Path, key: str) -> bool:
    """Whether the graded notebook at `path` has this verdict already."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["metadata"].get(APPLIED) == key
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


class Writer:
    """Applies verdicts to an open gradebook, one at a time."""

    def __init__(self, book: CourseBook, gradebook: Gradebook) -> None:
        self._book, self._gradebook = book, gradebook

    def apply(self, graded: Graded) -> None:
        """Puts one verdict into the gradebook, unless it is there, and the time and penalty as they are now, always.

        Deadlines, extensions and penalties change after a verdict was given, and a time of receipt may be corrected.
        A feedback page that shows another mark is removed, so that `nbgrader generate_feedback` makes it anew.
        """
        lab, student, title = graded.record["lab"], graded.record["student"], title_of(graded.record)
        path = self._book.folder("autograded", student, lab) / f"{title}.ipynb"
        key = verdict_key(graded.record)
        before, received = self._mark(lab, student), when(graded.record["received"])
        shown = before is not None and shows(path, key)
        stamp = path.with_name("timestamp.txt")
        if shown and before.timestamp == received and not before.late and has_timestamp(stamp, graded.record["received"]):
            return  # as it is for almost all of a class, each time one of them hands in again
        notebook = None if shown else nbformat.reads(graded.notebook, as_version=4)
        try:
            self._book.conversion.admit(self._gradebook, student)
            self._gradebook.update_or_create_submission(lab, student, timestamp=received)
            if notebook:
                with working_in(self._book.course):
                    notebook = self._book.conversion.through_steps(notebook, lab, student, title)
                self._score(notebook, graded.record)
            self._penalize(lab, student, title)
        except Exception:  # any: a half of a verdict must not be written with the next one
            self._gradebook.db.rollback()
            raise
        if notebook or self._mark(lab, student) != before:
            shutil.rmtree(self._book.folder("feedback", student, lab), ignore_errors=True)
        if notebook:
            self._lay_out(path, graded)
        write_timestamp(stamp, graded.record["received"])
        if notebook:
            notebook.metadata[APPLIED] = key
            write_whole(path, nbformat.writes(notebook))  # the last: with it the verdict counts as applied
        self._book.conversion.set_rights(lab, student)
        if notebook:
            self._book.hook("post_convert_hook", lab, student)

    def _lay_out(self, path: Path, graded: Graded) -> None:
        """What lies beside the graded notebook at `path`: what was handed in with it, ours, and what it made."""
        lab, student = graded.record["lab"], graded.record["student"]
        if not any(other != path for other in path.parent.glob("*.ipynb")):  # of several notebooks, others stay
            shutil.rmtree(path.parent, ignore_errors=True)  # what an earlier version left there
        path.parent.mkdir(parents=True, exist_ok=True)
        if not lab_file(self._book.course, lab, "checks.py").is_file():  # a lab's files are artifacts, and large
            self._book.copy_files(lab, student)
        for name, content in graded.artifacts.items():
            write_file(path.parent / name, content)
        write_repairs(path.with_name(f"{path.stem}{NOTE}"), graded.record)

    def _mark(self, lab: str, student: str) -> Mark | None:
        """What the gradebook says of a submission, None without one."""
        try:
            found = self._gradebook.find_submission(lab, student)
        except MissingEntry:
            return None
        penalty = found.late_submission_penalty
        return Mark(found.timestamp, found.score, penalty, found.total_seconds_late > 0 or bool(penalty))

    def _score(self, notebook: NotebookNode, record: dict) -> None:
        found = self._gradebook.find_submission_notebook(title_of(record), record["lab"], record["student"])
        cells = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
        for grade in found.grades:
            if (cell := cells.get(grade.name)) is None:  # a cell that the release has not any more
                continue
            # nbgrader's own reading of a cell: the number a check shows, nothing for text that a person has to read.
            grade.auto_score = determine_grade(cell)[0] if is_grade(cell) else None
            grade.needs_manual_grade = grade.manual_score is not None or grade.auto_score is None
        for comment in found.comments:
            missing = comment.name in cells and unanswered(cells[comment.name])
            comment.auto_comment = "No response." if missing else None
        self._gradebook.db.commit()

    def _penalize(self, lab: str, student: str, title: str) -> None:
        """The penalty for lateness that nbgrader's settings ask for now; none where there was one before."""
        found = self._gradebook.find_submission(lab, student)
        if found.total_seconds_late > 0 or found.late_submission_penalty:
            who = {"student": student, "assignment": lab, "notebook": title, "db_url": self._book.coursedir.db_url}
            AssignLatePenalties(parent=self._book.app).preprocess(nbformat.v4.new_notebook(), {"nbgrader": who})
            self._gradebook.db.expire_all()


class PatientWriter:
    """A writer that waits while another program holds the gradebook; whose marks it could not write is in `unwritten`.

    The verdicts themselves are kept by the `Store` before they come here, so nothing is lost by it.
    """

    def __init__(self, book: CourseBook, lab: str, say: Callable[[str], None], seconds: float = WAIT_SECONDS) -> None:
        self._book, self._lab, self._say, self._seconds = book, lab, say, seconds
        self._gradebook: Gradebook | None = None
        self._again = 0.0  # when to try again, after waiting was no use
        self.unwritten: set[str] = set()

    def __enter__(self) -> PatientWriter:
        with contextlib.suppress(Locked):
            self._patiently(self._open)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._gradebook:
            self._gradebook.close()

    def apply(self, graded: Graded, last: bool = False) -> None:
        """Puts one verdict into the gradebook, or notes that it could not; `last`: waits for it in any case."""
        student = graded.record["student"]
        try:
            if time.monotonic() < self._again and not last:
                raise Locked
            self._patiently(lambda: Writer(self._book, self._open()).apply(graded))
            self.unwritten.discard(student)
        except Locked:
            self.unwritten.add(student)

    def _open(self) -> Gradebook:
        if self._gradebook is None:
            self._book.register(self._lab)
            self._gradebook = self._book.open()
        return self._gradebook

    def _patiently(self, action: Callable[[], Any]) -> None:
        """Does something with the gradebook, as soon as it can be had. Locked if that took too long."""
        until = None
        while True:
            try:
                with quiet_nbgrader():
                    action()
                return
            except (SQLAlchemyError, InvalidEntry, RuntimeError) as error:
                if "database is locked" not in str(error):
                    raise
            if until is None:
                until = time.monotonic() + self._seconds
                self._say("  The gradebook is in use by another program (Formgrader, nbgrader, a viewer of databases): "
                          f"waiting up to {self._seconds:g} seconds for it ...")  # fmt: skip
            if time.monotonic() > until:
                self._again = time.monotonic() + self._seconds
                raise Locked
            time.sleep(0.2)


@contextlib.contextmanager
def quiet_nbgrader() -> Iterator[None]:
    """nbgrader logs a traceback of each refusal of the database; what it comes to is said in our words."""
    log = logging.getLogger("tornado.application")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def title_of(record: dict) -> str:
    """The name of the notebook that a record is of."""
    return record.get("notebook", record["lab"])


def write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be read-only
    path.write_bytes(content)


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


def write_timestamp(path: Path, received: str | None) -> None:
    """The time of receipt beside the autograded notebook, by which nbgrader knows whether feedback is older."""
    if not has_timestamp(path, received):
        path.unlink(missing_ok=True)
        if received is not None:
            write_whole(path, nbgrader_time(received))


def has_timestamp(path: Path, received: str | None) -> bool:
    """Whether this time of receipt stands in the file already; without one, whether there is no file."""
    try:
        return received is not None and path.read_text(encoding="utf-8") == nbgrader_time(received)
    except (OSError, ValueError):
        return received is None and not path.exists()


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
