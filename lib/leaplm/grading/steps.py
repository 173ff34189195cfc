"""Our steps in nbgrader's own lists: `nbgrader autograde` and Formgrader's button use them. See `configuration`.

    c.Autograde.pre_convert_hook          prepare            makes the submitted folders safe
    c.Autograde.exporter_class            SubmissionExporter reads nothing of a student's file in this process
    c.Autograde.sanitize_preprocessors    GradeSubmission    gives the notebook that our grader ran, with its marks

When a whole class is asked for, it is graded in parallel at the first submission, and nbgrader then finds the verdicts.
After them nbgrader's own IgnorePattern, LimitOutput, SaveAutoGrades and AssignLatePenalties go on as always.
"""

from __future__ import annotations

import atexit
import shutil
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.preprocessors import (
    CheckCellMetadata,
    DeduplicateIds,
    Execute,
    NbGraderPreprocessor,
    OverwriteCells,
    OverwriteKernelspec,
)
from traitlets import Bool, Dict, Integer

from leaplm.grading.assignment import Assignment
from leaplm.grading.book.gradebook import CourseBook, verdict_lines
from leaplm.grading.book.verdicts import Store
from leaplm.grading.classroom import grade_class
from leaplm.grading.course import lab_file
from leaplm.grading.intake.extractor import sweep
from leaplm.grading.intake.receipts import read_collected
from leaplm.grading.judge.engine import Engine
from leaplm.grading.sandbox.walls import Limits
from leaplm.grading.submission import NOTE
from leaplm.runtime import print_every_letter

IDLE_SECONDS = 120  # after which an engine that nobody uses gives its memory back: Formgrader's server runs for days
SANITIZE = (DeduplicateIds, OverwriteKernelspec, OverwriteCells, CheckCellMetadata)  # nbgrader's own, where nothing is run


class NotGraded(RuntimeError):
    """A submission could not be graded, for a fault that is not its author's; nbgrader then says so and goes on."""


class SubmissionExporter(NotebookExporter):
    """Hands an empty notebook to the steps: the student's file is read by `ingest` alone.

    nbgrader makes one for each run, so it also holds what the run needs to know of the course.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sweep()

    def _sweep(self) -> None:
        """Makes all folders safe before nbgrader looks into the first: it reads times before it calls `prepare`."""
        print_every_letter()
        name = self.parent.coursedir.assignment_id
        lab, ours = lab_file(self.book.course, name, "checks.py").is_file(), self.book.files(name)
        for folder in map(Path, self.parent.assignments):
            try:
                said = sweep(folder, lab, ours)
            except OSError as problem:  # this student's alone: nbgrader will say so, and go on
                said = [f"{folder} cannot be made safe: {problem}"]
            for line in said:
                self.log.warning(line)

    def from_filename(self, filename: str, resources: dict | None = None, **kwargs: Any) -> tuple[Any, dict]:
        if not self.parent._sanitizing:  # nbgrader's second pass, over what the first one wrote
            return super().from_filename(filename, resources=resources, **kwargs)
        if self.keeps_outputs(resources["nbgrader"]):
            return super().from_filename(filename, resources=resources, **kwargs)
        return self.from_notebook_node(nbformat.v4.new_notebook(), resources=resources, **kwargs)

    def keeps_outputs(self, who: dict) -> bool:
        """Whether nothing is to be run (--no-execute): then nbgrader marks by the outputs that were handed in.

        Not where a check function gives the marks: it asks running code.
        """
        return not Execute(parent=self.parent).enabled and self.assignment(who).plain

    @cached_property
    def book(self) -> CourseBook:
        return CourseBook(Path(self.parent.coursedir.root), self.parent)

    @cached_property
    def limits(self) -> Limits:
        return self.book.limits()

    @cached_property
    def _assignments(self) -> dict[tuple[str, str], Assignment]:
        return {}

    def assignment(self, who: dict) -> Assignment:
        """The notebook that is being graded. KeyError if the assignment has none of this name."""
        key = who["assignment"], who["notebook"]
        if key not in self._assignments:
            self._assignments.update({(found.name, found.notebook): found for found in self.book.assignments(key[0])})
            self._grade_class(*key)
        return self._assignments[key]

    def _grade_class(self, name: str, notebook: str) -> None:
        """In parallel, if all students were asked for. What fails here is told again, submission by submission."""
        where, settings = self.parent.coursedir, GradeSubmission(parent=self)
        if where.student_id != "*" or not Execute(parent=self.parent).enabled:
            return
        folders = [Path(path).resolve() for path in self.parent.assignments]  # those that nbgrader found a notebook in
        students = [name for name, folder in self.book.submitted(name).items() if folder.resolve() in folders]
        grade_class(where.root, name, settings.jobs or None, unsafe=settings.unsafe, limits=self.limits, apply=False,
                    students=students, book=self.book, notebook=None if where.notebook_id == "*" else notebook)  # fmt: skip


class GradeSubmission(NbGraderPreprocessor):
    """Puts in the notebook as our grader ran it: our release, the student's answers, and a mark in each check cell."""

    unsafe = Bool(False, help="Run student code without a sandbox, with your rights.").tag(config=True)
    limits = Dict(help="Limits of a submission; see leaplm.grading.sandbox.walls.Limits for the names.").tag(config=True)
    jobs = Integer(0, help="Submissions at once; 0: as many as this machine can.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        who, run = resources["nbgrader"], self.parent
        if run.keeps_outputs(who):
            for step in SANITIZE:
                nb, resources = step(parent=run)(nb, resources)
            return nb, resources
        book, assignment = run.book, run.assignment(who)
        folder = book.folder("submitted", who["student"], who["assignment"])
        submission = read_collected(book.course, who["assignment"], who["student"], assignment.read(), assignment, folder)
        store = Store(book.course, who["assignment"], run.limits, self.unsafe, assignment)
        graded = store.find(submission)
        if graded is None:
            engine = running_engine(book.course, assignment, run.limits, self.unsafe)
            graded = store.save(submission, engine.grade(submission))
        self._tell(who, graded.record, resources)
        if graded.record["state"] == "infrastructure":
            raise NotGraded(graded.record["reason"])
        resources.setdefault("outputs", {}).update(graded.artifacts)
        page = book.folder("feedback", who["student"], who["assignment"])  # it would go on showing the mark before
        shutil.rmtree(page, ignore_errors=True)
        return nbformat.reads(graded.notebook, as_version=4), resources

    def _tell(self, who: dict, record: dict, resources: dict) -> None:
        """Says in the log, and beside the notebook, what was mended and how the run ended."""
        lines = verdict_lines(record)
        for line in lines:
            self.log.warning("%s: %s", who["student"], line)
        for check in record["checks"]:
            if check["fault"]:
                self.log.error("%s, %s: the check could not cope, 0 points; please look:\n%s", who["student"],
                               check["name"], check["fault"])  # fmt: skip
        if lines:
            resources.setdefault("outputs", {})[f"{who['notebook']}{NOTE}"] = ("\n".join(lines) + "\n").encode()


def prepare(assignment: str, student: str, notebooks: list[str], **more: Any) -> None:
    """nbgrader's pre_convert_hook, called in the course's folder: makes a submission safe before nbgrader copies it."""
    print_every_letter()
    lab = lab_file(Path.cwd(), assignment, "checks.py").is_file()
    for folder in sorted({Path(notebook).absolute().parent for notebook in notebooks}):
        for line in sweep(folder, lab):
            print(line)


_engine: Engine | None = None
_engine_key: tuple | None = None
_timer: threading.Timer | None = None


def running_engine(course: Path, assignment: Assignment, limits: Limits, unsafe: bool) -> Engine:
    """The engine of this process for one assignment; it ends when nobody has used it for a while."""
    global _engine, _engine_key, _timer
    key = (course, assignment.digest, limits, unsafe)
    if _timer:
        _timer.cancel()
    if _engine is None or _engine_key != key:
        close_engine()
        _engine = Engine(course, assignment.name, jobs=1, limits=limits, unsafe=unsafe, assignment=assignment)
        _engine_key = key
    _timer = threading.Timer(IDLE_SECONDS, close_engine)
    _timer.daemon = True
    _timer.start()
    return _engine


def close_engine() -> None:
    global _engine
    engine, _engine = _engine, None
    if engine:
        engine.close()


atexit.register(close_engine)
