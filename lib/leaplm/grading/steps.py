"""Our steps in nbgrader's own lists, named in nbgrader_config.py: `nbgrader autograde` and Formgrader's button use them.

    c.Autograde.pre_convert_hook          prepare            makes the submitted folders safe, grades a whole class at once
    c.Autograde.exporter_class            SubmissionExporter reads nothing of a student's file in this process
    c.Autograde.sanitize_preprocessors    GradeSubmission    gives the notebook that our grader ran, with its marks

After them nbgrader's own SaveAutoGrades and AssignLatePenalties go on as always.
"""

from __future__ import annotations

import atexit
import shutil
import threading
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.apps.baseapp import NbGrader
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool, Dict, Integer

from leaplm.grading.book.gradebook import verdict_lines
from leaplm.grading.book.verdicts import WORK, Store
from leaplm.grading.classroom import grade_class
from leaplm.grading.intake.extractor import sweep
from leaplm.grading.intake.receipts import read_collected
from leaplm.grading.judge.engine import Engine
from leaplm.grading.sandbox.walls import Limits
from leaplm.runtime import print_every_letter

IDLE_SECONDS = 120  # after which an engine that nobody uses gives its memory back: Formgrader's server runs for days


class SubmissionExporter(NotebookExporter):
    """Hands an empty notebook to the steps: the student's file is read by `ingest` alone."""

    def from_filename(self, filename: str, resources: dict | None = None, **kwargs: Any) -> tuple[Any, dict]:
        if "submitted" not in Path(filename).parts:  # nbgrader's second pass, over what the first one wrote
            return super().from_filename(filename, resources=resources, **kwargs)
        return self.from_notebook_node(nbformat.v4.new_notebook(), resources=resources, **kwargs)


class GradeSubmission(NbGraderPreprocessor):
    """Puts in the notebook as our grader ran it: our release, the student's answers, and a mark in each check cell."""

    unsafe = Bool(False, help="Run student code without a sandbox, with your rights.").tag(config=True)
    limits = Dict(help="Limits of a submission; see leaplm.grading.sandbox.walls.Limits for the names.").tag(config=True)
    jobs = Integer(0, help="Submissions at once; 0: as many as this machine can.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        who = resources["nbgrader"]
        course = Path(self.parent.parent.coursedir.root)  # the exporter's parent is nbgrader's Autograde
        limits = Limits(**self.limits)
        store = Store(course, who["assignment"], limits, self.unsafe)
        submission = read_collected(course, who["assignment"], who["student"], release_of(course, who["assignment"]))
        graded = store.find(submission)
        if graded is None:
            engine = running_engine(course, who["assignment"], limits, self.unsafe)
            graded = store.save(submission, engine.grade(submission))
        self._tell(who, graded.record, resources)
        coursedir = self.parent.parent.coursedir  # a page of feedback would go on showing the mark before
        page = coursedir.format_path(coursedir.feedback_directory, who["student"], who["assignment"])
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
            resources.setdefault("outputs", {})[f"{who['notebook']}.repairs.txt"] = ("\n".join(lines) + "\n").encode()


def release_of(course: Path, lab: str) -> NotebookNode:
    return nbformat.read(course / "labs" / lab / f"{lab}.ipynb", as_version=4)


_graded: dict[tuple[Path, str], list] = {}  # a class -> its notebooks as they were when it was graded at once


def prepare(assignment: str, student: str, notebooks: list[str], **more: Any) -> None:
    """nbgrader's pre_convert_hook, called in the course folder before each submission; `student` is as it was asked for.

    Makes the submitted folders safe before nbgrader copies them. When a whole class was asked for, it is graded in
    parallel at the first call, and nbgrader then finds the verdicts. What fails here is told again, submission by
    submission, by GradeSubmission.
    """
    print_every_letter()
    course = Path.cwd()
    for folder in sorted({Path(notebook).absolute().parent for notebook in notebooks}):
        for line in sweep(folder):
            print(line)
    paths = sorted((course / WORK / "submitted").glob(f"*/{assignment}/*.ipynb"))
    found = [(path, path.lstat().st_mtime_ns) for path in paths]
    if student == "*" and _graded.get((course, assignment)) != found:  # Formgrader's server runs for days
        _graded[course, assignment] = found
        settings = GradeSubmission(config=NbGrader.instance().config if NbGrader.initialized() else None)
        grade_class(course, assignment, jobs=settings.jobs or None, unsafe=settings.unsafe,
                    limits=Limits(**settings.limits), apply=False)  # fmt: skip


_engine: Engine | None = None
_engine_key: tuple | None = None
_timer: threading.Timer | None = None


def running_engine(course: Path, lab: str, limits: Limits, unsafe: bool) -> Engine:
    """The engine of this process for one lab; it ends when nobody has used it for a while."""
    global _engine, _engine_key, _timer
    key = (course, lab, limits, unsafe)
    if _timer:
        _timer.cancel()
    if _engine is None or _engine_key != key:
        close_engine()
        _engine, _engine_key = Engine(course, lab, jobs=1, limits=limits, unsafe=unsafe), key
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
