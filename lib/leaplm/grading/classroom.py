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
import random
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.api import InvalidEntry
from sqlalchemy.exc import SQLAlchemyError

from leaplm.grading.assignment import Assignment
from leaplm.grading.book.gradebook import CourseBook, PatientWriter
from leaplm.grading.book.verdicts import STATES, Store, grader_digest, latest_records, variants_of
from leaplm.grading.course import lab_file
from leaplm.grading.intake.ingest import safe_id
from leaplm.grading.intake.receipts import read_collected
from leaplm.grading.judge.audit import near_duplicates, retrain
from leaplm.grading.judge.engine import Engine, Graded, default_jobs, our_fault
from leaplm.grading.judge.likeness import Likeness
from leaplm.grading.judge.scratch import Scratch
from leaplm.grading.sandbox.bubblewrap import NoSandbox, need_linux
from leaplm.grading.sandbox.control_groups import Groups
from leaplm.grading.sandbox.walls import Limits
from leaplm.grading.submission import Submission
from leaplm.runtime import COURSE_SECRET

ATTEMPTS = 3  # at a submission whose Dask worker was lost
RECONNECT_SECONDS = 300  # to wait for a scheduler that went away


@dataclass(frozen=True, repr=False)  # Dask writes it into its log
class Task:
    """What a Dask worker needs for one submission; small, and the same on every machine."""

    course: str
    lab: str
    grader: str
    assignment: Assignment
    submission: Submission
    seed: int | None
    limits: Limits
    unsafe: bool


@dataclass
class Summary:
    """A class that has been graded: `records` by student (and notebook, if there are several), and how the work went."""

    records: dict[str, dict] = field(default_factory=dict)
    fresh: int = 0  # graded in this run; the others had a verdict already
    seconds: float = 0.0
    unwritten: list[str] = field(default_factory=list)  # whose marks are not in the gradebook yet
    variants: dict[str, list[str]] = field(default_factory=dict)  # held-out rows -> who was last marked on them

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
        lines += self._on_which_rows()
        if self.unwritten:
            lines.append(f"NOT IN THE GRADEBOOK, which another program holds: {', '.join(self.unwritten)}. Their verdicts "
                         "are kept. Close that program and run the same command: it writes them, and grades nothing twice.")
        return "\n".join(lines)

    def _on_which_rows(self) -> list[str]:
        if len(self.variants) < 2:
            return [f"held-out rows: variant {name}. A student whose verdict has another variant was marked on other rows."
                    for name in self.variants]  # fmt: skip
        who = "; ".join(f"variant {name}: {', '.join(students)}" for name, students in self.variants.items())
        return [f"look at this: not all were marked on the same held-out rows, so their marks cannot be compared. {who}. "
                f"Set {COURSE_SECRET} to one secret (none: public rows), and run the same command for all."]  # fmt: skip


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
    book: CourseBook | None = None,
    notebook: str | None = None,
) -> Summary:
    """Grades what lies in the submitted folder of a course; see the module. `students` limits it to some.

    jobs: submissions at once on this machine. scheduler: the address of a Dask scheduler, for other machines too.
    force: grade again what has a verdict. apply: write into the gradebook. book: the course, if its settings were read.
    notebook: only this one of an assignment's notebooks.
    """
    if not scheduler:
        need_linux()
    book = book or CourseBook(Path(course).resolve())
    limits = limits or book.limits()
    started, summary = time.monotonic(), Summary()
    for assignment in book.assignments(lab):
        if notebook and assignment.notebook != notebook:
            continue
        room = Room(book, lab, students, assignment)
        say(f"{room.title}: {len(room.students)} submissions")
        store = Store(book.course, lab, limits, unsafe, assignment)
        Run(book, room, store, limits, jobs, scheduler, unsafe, force, apply, say).grade(summary)
    summary.unwritten = sorted(set(summary.unwritten))
    summary.seconds = time.monotonic() - started
    summary.records = dict(sorted(summary.records.items()))
    if lab_file(book.course, lab, "checks.py").is_file():  # other assignments have no held-out rows
        here = set(map(safe_id, book.submitted(lab)))
        earlier = {name: record for name, record in latest_records(book.course, lab).items() if name in here}
        now = {record["student"]: record for record in summary.records.values()}
        summary.variants = variants_of({**earlier, **now}.values())
    return summary


@dataclass
class Run:
    """One notebook of a class on its way: what is graded, kept where, and with what."""

    book: CourseBook
    room: Room
    store: Store
    limits: Limits
    jobs: int | None
    scheduler: str | None
    unsafe: bool
    force: bool
    apply: bool
    say: Callable[[str], None]

    def grade(self, summary: Summary) -> None:
        """Adds the records to the summary, as they come, and has them written into the gradebook."""
        store, room, seen = self.store, self.room, set()
        with PatientWriter(self.book, room.assignment.name, self.say) as writer:
            for submission, graded, fresh in verdicts(self):
                try:
                    graded = keep(store, writer if self.apply else None, submission, graded, fresh)
                except Exception as fault:  # any: one submission never ends the run for the others
                    graded = not_kept(room.assignment, store, submission, fault)
                summary.fresh += fresh
                summary.records[room.key(submission.student)] = graded.record
                seen.add(submission.student)
                self.say(progress(len(seen), len(room.students), graded.record))
            for student in sorted(writer.unwritten):
                if kept := store.find(room.read(student)):  # a fault of ours is graded again, and not kept
                    writer.apply(kept, last=student == min(writer.unwritten))
        summary.unwritten += writer.unwritten
        if missing := set(room.students) ^ seen:
            raise RuntimeError(f"submissions and verdicts do not match: {', '.join(sorted(missing))}")


def keep(store: Store, writer: PatientWriter | None, submission: Submission, graded: Graded, fresh: bool) -> Graded:
    """Takes a verdict into the store, if it is new, and into the gradebook, if there is a writer."""
    graded = store.save(submission, graded) if fresh else graded
    if writer:
        writer.apply(graded)
    return graded


def not_kept(assignment: Assignment, store: Store, submission: Submission, fault: Exception) -> Graded:
    """The verdict in place of one that could not be written; the next run grades the submission again."""
    said = f"the verdict could not be written ({type(fault).__name__}: {fault})"
    graded = our_fault(assignment, submission, 0, said)
    with contextlib.suppress(Exception):
        return store.save(submission, graded)
    return graded


class Room:
    """The submissions of a class, read one at a time and without running anything: together they can be gigabytes.

    `students` are their ids. FileNotFoundError for a student in `only` who handed in nothing, ValueError for two
    folders whose names make the same id.
    """

    def __init__(
        self, book: CourseBook, lab: str, only: list[str] | None = None, assignment: Assignment | None = None
    ) -> None:  # fmt: skip
        self._course, self._lab = book.course, lab
        self.assignment = assignment or book.assignments(lab)[0]
        self._release = self.assignment.read()
        wanted = {safe_id(name): name for name in only or ()}
        self._folders = book.submitted(lab)
        folders = [name for name in self._folders if only is None or safe_id(name) in wanted]
        if not folders and not only:
            raise FileNotFoundError(f"nobody has handed in {lab}: first `leaplm collect {lab} FOLDER_OR_ZIP`")
        if unknown := {name for own, name in wanted.items() if own not in map(safe_id, folders)}:
            said = f"no submission of {', '.join(sorted(unknown))} in {book.folder('submitted', '*', lab)}"
            left_out = book.coursedir.student_id_exclude
            raise FileNotFoundError(said + (f"; nbgrader's student_id_exclude leaves out {left_out}" if left_out else ""))
        self.students = {safe_id(name): name for name in folders}
        if len(self.students) < len(folders):
            doubled = sorted(set(folders) - set(self.students.values()))
            raise ValueError(f"two submissions have one student id; rename one of each: {', '.join(doubled)}")

    def read(self, student: str) -> Submission:
        """What a student handed in; where it cannot be read at all, a submission that says so. Never raises."""
        try:
            name = self.students[student]
            return read_collected(self._course, self._lab, name, self._release, self.assignment, self._folders[name])
        except Exception as fault:  # any: one submission never ends the run for the others
            said = f"What was handed in could not be read ({type(fault).__name__}): ask your teacher."
            return Submission(self._lab, student, None, {}, None, (), said, self.assignment.notebook)

    @property
    def title(self) -> str:
        """What is graded, in words."""
        return f"{self._lab}, {self.assignment.notebook}" if self.assignment.siblings else self._lab

    def key(self, student: str) -> str:
        """What a record is found by: the student, and of several notebooks the one."""
        return f"{student}, {self.assignment.notebook}" if self.assignment.siblings else student


def progress(done: int, total: int, record: dict) -> str:
    state = "" if record["state"] == "graded" else f"  {record['state']}"
    return f"  {done:4d}/{total}  {record['student']:24} {record['points']:5g} of {record['max']:g}{state}"


def verdicts(run: Run) -> Iterator[tuple[Submission, Graded, bool]]:
    """Each submission with its verdict, and whether it was given now or was in the store, as they come."""
    waiting, store, room, limits = [], run.store, run.room, run.limits
    for student, name in room.students.items():
        if run.apply:
            run.book.hook("pre_convert_hook", room.assignment.name, name)
        submission = room.read(student)
        if not run.force and (kept := store.find(submission)):
            yield submission, kept, False
        else:
            waiting.append(student)
    if not waiting:
        return
    course, assignment = run.book.course, room.assignment
    jobs = min(run.jobs or default_jobs(limits), len(waiting))
    if not run.scheduler:  # a machine that cannot keep student code apart says so here, before anything is graded
        run.say(held_by(engine_for(course, assignment, jobs, limits, run.unsafe).fork_server().groups))

    def task(student: str) -> Task:
        return Task(str(course), assignment.name, store.grader, assignment, room.read(student), None, limits, run.unsafe)

    for done, graded in run_tasks(waiting, task, jobs, run.scheduler, run.say):
        yield done.submission, graded, True


def held_by(groups: Groups | None) -> str:
    """Which of the two holds what a submission may use; see `control_groups`."""
    if groups:
        return f"Memory and processes of each submission: held by the kernel (control groups, version {groups.version})."
    return "Memory and processes of each submission: watched, ten times a second (how the kernel can hold them: GRADING.md)."


def run_tasks(
    students: list[str], make: Callable[[str], Task], jobs: int, scheduler: str | None, say: Callable[[str], None]
) -> Iterator[tuple[Task, Graded]]:
    """Verdicts, as they come, of tasks on a Dask cluster; a lost scheduler is waited for."""
    todo, until = list(students), time.monotonic() + RECONNECT_SECONDS
    while todo:
        try:
            with connect(jobs, scheduler) as client:
                for student, task, graded in gather(client, list(todo), make):
                    todo.remove(student)
                    until = time.monotonic() + RECONNECT_SECONDS
                    yield task, graded
        except (OSError, TimeoutError) as error:  # Dask's CommClosedError is an OSError
            if not scheduler or time.monotonic() > until:
                raise
            say(f"  {scheduler} does not answer, or has no workers ({type(error).__name__}): waiting, {len(todo)} to go")
            time.sleep(2)


# Dask's own cluster of threads talks through memory; its web pages, which it always serves, are empty and stay here.
NO_PAGES = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}


@contextlib.contextmanager
def connect(jobs: int, scheduler: str | None) -> Iterator[Any]:
    """A Dask client: of `scheduler`, or of a cluster of threads in this process, without a port for others."""
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters of it is in our verdicts
    warnings.filterwarnings("ignore", message="Sending large graph")  # a submission with its model is large
    dask.config.set({"distributed.scheduler.allowed-failures": ATTEMPTS, "distributed.comm.timeouts.connect": "10s",
                     "distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []})  # fmt: skip
    if scheduler:
        with Client(scheduler, timeout="10s") as client:
            client.wait_for_workers(1, timeout="30s")
            yield client
        return
    try:
        with (
            contextlib.closing(Scratch()) as scratch,
            dask.config.set({"temporary-directory": str(scratch.path)}),
            LocalCluster(n_workers=1, threads_per_worker=jobs, processes=False, **NO_PAGES) as cluster,
            Client(cluster) as client,
        ):
            yield client
    finally:
        close_engines()


def gather(client: Any, students: list[str], make: Callable[[str], Task]) -> Iterator[tuple[str, Task, Graded]]:
    """Verdicts as they come; a task that Dask gives up on becomes a verdict of the state "infrastructure".

    A few tasks more than there are threads are under way, so that neither memory nor a scheduler fills with a class.
    ConnectionError when the scheduler was lost, and all that ran there with it.
    """
    from distributed import as_completed

    threads = sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())
    ahead, running = iter(students), {}
    arriving = as_completed()

    def add(student: str) -> None:
        task = make(student)
        # A key of its own, and pure=False: each run of the same task is a new one.
        key = f"{student}-{os.urandom(4).hex()}"
        if client.cluster:  # threads of this process: no copies, which of the largest submissions take gigabytes
            _here[key] = task
            future = client.submit(grade_here, key, key=key, pure=False)
        else:
            future = client.submit(grade_task, task, key=key, pure=False)
        running[future] = student, task
        arriving.add(future)

    for student in islice(ahead, threads + 1 if client.cluster else 2 * max(threads, 1)):
        add(student)
    for future in arriving:
        student, task = running.pop(future)
        _here.pop(future.key, None)
        if future.status in ("cancelled", "lost"):
            raise ConnectionError("the scheduler was lost")
        if future.status == "error":
            graded = our_fault(task.assignment, task.submission, 0, f"{future.exception()}"[:500])
        else:
            graded = Graded(**future.result())
        for following in islice(ahead, 1):
            add(following)
        yield student, task, graded


_engines: dict[tuple, Engine] = {}
_engines_lock = threading.Lock()


_here: dict[str, Task] = {}  # for the threads of this process


def grade_here(key: str) -> dict:
    """What a thread of this process does."""
    return grade_task(_here[key])


def grade_task(task: Task) -> dict:
    """What a Dask worker does: one submission through this process's engine. Raises for faults of ours alone."""
    from distributed import get_worker

    course = Path(os.environ.get("LEAPLM_COURSE") or task.course)
    if grader_digest(course, task.lab) != task.grader:
        raise RuntimeError(f"the course at {course} on this machine is another version than the one that asked, "
                           "or its LEAPLM_COURSE_SECRET is another")  # fmt: skip
    engine = engine_for(course, task.assignment, get_worker().state.nthreads, task.limits, task.unsafe)
    return asdict(engine.grade(task.submission, task.seed))


def engine_for(course: Path, assignment: Assignment, jobs: int, limits: Limits, unsafe: bool) -> Engine:
    """This process's engine for a lab, or another assignment's notebook."""
    key = (str(course), assignment.digest, limits, unsafe)
    with _engines_lock:
        if key not in _engines:
            _engines[key] = Engine(course, assignment.name, jobs, limits, unsafe, assignment=assignment)
        return _engines[key]


def close_engines() -> None:
    """Ends the sandboxes and examiners of this process."""
    with _engines_lock:
        while _engines:
            _engines.popitem()[1].close()


def copies(book: CourseBook, room: Room, unsafe: bool) -> list[str]:
    """Whose models or answers are alike; of our labs also whose are those of the published solution. For a teacher."""
    assignment, course = room.assignment, book.course
    path = course / "solutions" / assignment.name / f"{assignment.notebook}.ipynb"
    solution = nbformat.read(path, as_version=4) if path.is_file() and not assignment.plain else None
    likeness = Likeness(assignment.read(), solution)
    store = Store(course, assignment.name, book.limits(), unsafe, assignment)

    def read() -> Iterator[Submission]:
        for student in room.students:
            submission = room.read(student)
            if graded := store.find(submission):
                likeness.add(student, graded.notebook)
            yield submission

    return [*near_duplicates(read()), *likeness.lines()]


def run(
    course: Path, lab: str, jobs: int | None, scheduler: str | None, unsafe: bool, force: bool, students: list[str] | None,
    audit: int, say: Callable[[str], None],
) -> int:  # fmt: skip
    """The command `leaplm grade`; returns its exit status: 0 when every submission has a verdict that is not our fault."""
    try:
        summary = grade_class(course, lab, jobs, scheduler, unsafe, force, students=students, say=say)
        say(summary.text())
        book = CourseBook(course)
        assignments = book.assignments(lab)
        for assignment in assignments:
            room = Room(book, lab, students, assignment)
            for line in copies(book, room, unsafe):
                say(f"look at this: {line}")
        if audit and assignments[0].plain:
            say(f"--audit trains models again, and compares them with those handed in: {lab} is no lab that has some")
        elif audit:
            chance = random.SystemRandom().sample(list(room.students), len(room.students))
            retrain(course, lab, map(room.read, chance), audit, unsafe, say)
    except (NoSandbox, OSError, ValueError) as problem:
        say(f"leaplm grade: {problem}")
        return 1
    except (SQLAlchemyError, InvalidEntry) as problem:
        say(f"leaplm grade: the gradebook cannot be used: {str(problem).splitlines()[0]}. The verdicts given so far are "
            "kept: mend the gradebook, or put a copy of it back, and run the same command again.")  # fmt: skip
        return 1
    ours = any(record["state"] == "infrastructure" for record in summary.records.values())
    return 1 if ours or summary.unwritten else 0
