"""Grade a whole class: every submission gets one verdict, in parallel, and one writer takes them to the gradebook.

    leaplm grade lab2_finetuning

Dask distributed spreads the work: inside this process by default, over other machines with `--scheduler`. A Dask worker
never runs student code; it drives an `Engine`, whose sandboxed processes do. Verdicts are kept by content, so a run
that was killed goes on where it stopped, and a second run grades only what changed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from leaplm.grading.audit import near_duplicates, retrain
from leaplm.grading.engine import Engine, Graded, default_jobs
from leaplm.grading.gradebook import CourseBook, Writer
from leaplm.grading.ingest import Submission
from leaplm.grading.receipts import read_collected
from leaplm.grading.sandbox import NoSandbox
from leaplm.grading.verdicts import STATES, Store, grader_digest
from leaplm.grading.walls import Limits

ATTEMPTS = 3  # at a submission whose Dask worker was lost
RECONNECT_SECONDS = 300  # to wait for a scheduler that went away


@dataclass(frozen=True, repr=False)  # Dask writes it into its log
class Task:
    """What a Dask worker needs for one submission; small, and the same on every machine."""

    course: str
    lab: str
    grader: str
    submission: Submission
    seed: int | None
    limits: Limits
    unsafe: bool


@dataclass
class Summary:
    """A class that has been graded: `records` by student, and how the work went."""

    records: dict[str, dict] = field(default_factory=dict)
    fresh: int = 0  # graded in this run; the others had a verdict already
    seconds: float = 0.0

    def text(self) -> str:
        """What a teacher wants to know at the end."""
        counts = Counter(record["state"] for record in self.records.values())
        lines = [f"{len(self.records)} submissions, {len(self.records)} verdicts; {self.fresh} graded now in "
                 f"{self.seconds:.0f} s ({self.seconds / max(self.fresh, 1):.1f} s each)"]  # fmt: skip
        lines += [f"  {counts[state]:4d} {state}: {meaning}" for state, meaning in STATES.items() if counts[state]]
        for student, record in self.records.items():
            if record["state"] != "graded":
                lines.append(f"{student}: {record['state']}, {record['points']:g} of {record['max']:g}. {record['reason']}")
            lines += [f"{student}: look at this: {repair['text']}" for repair in record["repairs"] if repair["doubtful"]]
        return "\n".join(lines)


def grade_class(
    course: str | os.PathLike,
    lab: str,
    jobs: int | None = None,
    scheduler: str | None = None,
    unsafe: bool = False,
    force: bool = False,
    limits: Limits | None = None,
    students: list[str] | None = None,
    apply: bool = True,
    say: Callable[[str], None] = print,
) -> Summary:
    """Grades what lies in the submitted folder of a course; see the module. `students` limits it to some.

    jobs: submissions at once on this machine. scheduler: the address of a Dask scheduler, for other machines too.
    force: grade again what has a verdict. apply: write into the gradebook.
    """
    course, limits = Path(course).resolve(), limits or Limits()
    book, store = CourseBook(course), Store(course, lab)
    submissions = read_class(book, lab, students)
    say(f"{lab}: {len(submissions)} submissions")
    started, summary = time.monotonic(), Summary()
    book.register(lab)
    with book.open() as gradebook:
        writer = Writer(book, gradebook)
        for submission, graded in verdicts(course, store, submissions, jobs, scheduler, unsafe, force, limits, say):
            summary.fresh += graded is not None
            graded = store.save(submission, graded) if graded else store.find(submission)
            summary.records[submission.student] = graded.record
            if apply:
                writer.apply(graded)
            say(progress(len(summary.records), len(submissions), graded.record))
    summary.seconds = time.monotonic() - started
    missing = set(submissions) ^ set(summary.records)
    if missing:
        raise RuntimeError(f"submissions and verdicts do not match: {', '.join(sorted(missing))}")
    summary.records = dict(sorted(summary.records.items()))
    return summary


def read_class(book: CourseBook, lab: str, students: list[str] | None = None) -> dict[str, Submission]:
    """All submissions by student, read without running anything."""
    release = nbformat.read(book.folder("release", ".", lab) / f"{lab}.ipynb", as_version=4)
    folders = book.submitted(lab)
    if unknown := set(students or ()) - set(folders):
        raise FileNotFoundError(f"no submission of {', '.join(sorted(unknown))} in {book.folder('submitted', '*', lab)}")
    found = {}
    for student in folders:
        if students is None or student in students:
            submission = read_collected(Path(book.coursedir.root), lab, student, release=release)
            found[submission.student] = submission
    return found


def progress(done: int, total: int, record: dict) -> str:
    state = "" if record["state"] == "graded" else f"  {record['state']}"
    return f"  {done:4d}/{total}  {record['student']:24} {record['points']:5g} of {record['max']:g}{state}"


def verdicts(
    course: Path, store: Store, submissions: dict[str, Submission], jobs: int | None, scheduler: str | None, unsafe: bool,
    force: bool, limits: Limits, say: Callable[[str], None],
) -> Iterator[tuple[Submission, Graded | None]]:  # fmt: skip
    """Each submission, with a fresh verdict, or None where the store has one, as they come."""
    waiting = []
    for submission in submissions.values():
        if not force and store.find(submission):
            yield submission, None
        else:
            waiting.append(submission)
    if not waiting:
        return
    jobs = min(jobs or default_jobs(limits), len(waiting))
    if not scheduler:  # a machine that cannot keep student code apart says so here, before anything is graded
        engine_for(course, store.folder.name, jobs, limits, unsafe).fork_server()
    tasks = {submission.student: Task(str(course), store.folder.name, store.grader, submission, None, limits, unsafe)
             for submission in waiting}  # fmt: skip
    for student, graded in run_tasks(tasks, jobs, scheduler, say):
        yield submissions[student], graded


def run_tasks(
    tasks: dict[str, Task], jobs: int, scheduler: str | None, say: Callable[[str], None]
) -> Iterator[tuple[str, Graded]]:
    """Verdicts by key, as they come, of tasks on a Dask cluster; a lost scheduler is waited for."""
    todo, until = dict(tasks), time.monotonic() + RECONNECT_SECONDS
    while todo:
        try:
            with connect(jobs, scheduler) as client:
                for key, graded in gather(client, todo):
                    del todo[key]
                    until = time.monotonic() + RECONNECT_SECONDS
                    yield key, graded
        except (OSError, TimeoutError) as error:  # Dask's CommClosedError is an OSError
            if not scheduler or time.monotonic() > until:
                raise
            say(f"  the scheduler {scheduler} does not answer ({type(error).__name__}); {len(todo)} to go, waiting for it")
            time.sleep(2)


@contextlib.contextmanager
def connect(jobs: int, scheduler: str | None) -> Iterator[Any]:
    """A Dask client: of `scheduler`, or of a cluster of threads in this process, which opens no port."""
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters of it is in our verdicts
    dask.config.set({"distributed.scheduler.allowed-failures": ATTEMPTS, "distributed.comm.timeouts.connect": "10s"})
    if scheduler:
        with Client(scheduler, timeout="10s") as client:
            yield client
        return
    try:
        with (
            LocalCluster(n_workers=1, threads_per_worker=jobs, processes=False, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client
    finally:
        close_engines()


def gather(client: Any, tasks: dict[str, Task]) -> Iterator[tuple[str, Graded]]:
    """Verdicts as they come; a task that Dask gives up on becomes a verdict of the state "infrastructure".

    ConnectionError when the scheduler was lost, and all that ran there with it.
    """
    from distributed import as_completed

    # pure=False: each run of the same task is a new one.
    futures = {client.submit(grade_task, task, key=f"{key}-{os.urandom(4).hex()}", pure=False): key
               for key, task in tasks.items()}  # fmt: skip
    for future in as_completed(list(futures)):
        task = tasks[futures[future]]
        if future.status == "cancelled" or future.status == "lost":
            raise ConnectionError("the scheduler was lost")
        error = future.exception() if future.status == "error" else None
        if error is None:
            graded = Graded(**future.result())
        else:
            graded = Engine(Path(task.course), task.lab, jobs=1)._our_fault(task.submission, 0, f"{error}"[:500])
        yield futures[future], graded


_engines: dict[tuple, Engine] = {}
_engines_lock = threading.Lock()


def grade_task(task: Task) -> dict:
    """What a Dask worker does: one submission through this process's engine. Raises for faults of ours alone."""
    from distributed import get_worker

    course = Path(os.environ.get("LEAPLM_COURSE") or task.course)
    if grader_digest(course, task.lab) != task.grader:
        raise RuntimeError(f"the course at {course} on this machine is another version than the one that asked")
    engine = engine_for(course, task.lab, get_worker().state.nthreads, task.limits, task.unsafe)
    return asdict(engine.grade(task.submission, task.seed))


def engine_for(course: Path, lab: str, jobs: int, limits: Limits, unsafe: bool) -> Engine:
    """This process's engine for a lab."""
    key = (str(course), lab, limits, unsafe)
    with _engines_lock:
        if key not in _engines:
            _engines[key] = Engine(course, lab, jobs, limits, unsafe)
        return _engines[key]


def close_engines() -> None:
    """Ends the sandboxes and examiners of this process."""
    with _engines_lock:
        while _engines:
            _engines.popitem()[1].close()


def run(
    course: Path, lab: str, jobs: int | None, scheduler: str | None, unsafe: bool, force: bool, students: list[str] | None,
    audit: int, say: Callable[[str], None],
) -> int:  # fmt: skip
    """The command `leaplm grade`; returns its exit status: 0 when every submission has a verdict that is not our fault."""
    try:
        summary = grade_class(course, lab, jobs, scheduler, unsafe, force, students=students, say=say)
        say(summary.text())
        submissions = list(read_class(CourseBook(course), lab, students).values())
        for line in near_duplicates(submissions):
            say(f"look at this: {line}")
        if audit:
            retrain(course, lab, submissions, audit, unsafe, say)
    except (FileNotFoundError, NoSandbox, OSError) as problem:
        say(f"leaplm grade: {problem}")
        return 1
    return 1 if any(record["state"] == "infrastructure" for record in summary.records.values()) else 0
