"""The examiner: a trusted process that takes one submission after another through the sandbox and judges it.

    python -m leaplm.grading.judge.examiner CONTROL_FD [CHECKS_FILE]

It rebuilds the notebook on our release, has the student's process run its cells one by one, and at each check cell runs
the check here, with a `RemoteStudent` that asks that process for values. Checks, labels and references stay here.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import json
import os
import re
import secrets
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
import numpy as np
from nbformat import NotebookNode

from leaplm.grading.assignment import Assignment, unpacked
from leaplm.grading.course import import_all, imported, lab_file, reached, translated_releases
from leaplm.grading.intake.uploads import clean_path, is_clutter
from leaplm.grading.judge.checks import SEED, Check, Verdict, judge_within, load_checks, too_costly
from leaplm.grading.rebuild.exercises import check_name, role
from leaplm.grading.rebuild.language import language_of
from leaplm.grading.rebuild.plan import Plan, names_asked
from leaplm.grading.rebuild.repair import Repair, rebuild
from leaplm.grading.sandbox.cell_tests import as_python
from leaplm.grading.sandbox.fork_server import count_threads
from leaplm.grading.sandbox.outputs import KEPT_TYPES
from leaplm.grading.sandbox.pristine import modules_in
from leaplm.grading.sandbox.remote import GRACE, NOT_REACHED, Ended, Line, RemoteFault, RemoteStudent
from leaplm.grading.sandbox.student import StudentError
from leaplm.grading.sandbox.values import NotPlain, clean_text
from leaplm.grading.sandbox.walls import Limits
from leaplm.grading.sandbox.wire import MAX_TEXT, Channel, Gone
from leaplm.grading.submission import ARTIFACTS, NOTE, Submission
from leaplm.grading.texts import writable
from leaplm.translation import find_catalogs, translate_message, usual_locale

# As kept here, of one cell and of a notebook: the student's side has limits of its own, but may have been changed.
MOST_OUTPUTS, MOST_TEXT, MOST_DATA = 60, 250_000, 2_000_000
MOST_OF_A_NOTEBOOK = 4_000_000
MOST_ERROR = 4000  # characters of an error, looked into for what was missing
OF_ONE_OUTPUT = 200  # what it takes beside its text
LEFT_OUT = "… all further outputs are left out: the notebook has put out too much …"
PIECE = 16 * 2**20  # bytes of a file that go to the student's process at once
VARIABLES = {"NBGRADER_EXECUTION": "autograde"}  # that nbgrader gives to the cells it runs
TIME = "timestamp.txt"  # by which nbgrader knows when it was handed in
START_KERNEL = 60  # s, of another language, on a slow and busy machine
MOST_MEMORY = 5000 << 20  # bytes of an examiner: a file made to fill memory fails in the check that reads it
MOST_FRAME = 1 << 30  # with all that one student may hand in
NUMPY = re.compile(r"np\.\w+\((.*)\)")
JUDGING = "judging"  # the file, in our temporary folder, that names the check that is being made


@dataclass
class Examination:
    """What came of running and judging a notebook: verdicts by check, the notebook with outputs, how it ended."""

    notebook: NotebookNode
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    state: str = "graded"
    reason: str = ""
    errors: list[str] = field(default_factory=list)  # of cells, and what checks said
    left_out: bool = False  # something was missing that one of the cells not run may have made
    room: int = MOST_OF_A_NOTEBOOK  # for outputs


class Lab:
    """Our side of a lab, or of any other assignment: its release, its checks, and the tests in its cells."""

    def __init__(self, assignment: Assignment, course: Path) -> None:
        self.assignment, self.tests = assignment, assignment.tests
        self.release = assignment.read()
        self.course, self.checks, self.asked, self.translations = course, {}, set(), {}
        self.modules = reached(assignment.code()) if assignment.tests else []  # that tests may use
        if not assignment.plain:
            name = assignment.name
            checks = lab_file(course, name, "checks.py").read_text(encoding="utf-8")
            import_all(imported(ast.parse(checks)))  # in functions too: an import must not take a check's time
            self.checks, self.asked = load_checks(name, course), names_asked(checks)
            self.translations = {path.parents[1].name: nbformat.read(path, as_version=4)
                                 for path in translated_releases(course, name)}  # fmt: skip

    @property
    def has_tests(self) -> bool:
        """Whether nbgrader's own rules hold for some of it: then every cell runs, in our order."""
        return self.assignment.plain or bool(self.tests)

    def rebuilt(self, submission: Submission) -> tuple[NotebookNode, list[Repair], str]:
        """What was handed in on our release, what had to be mended for it, and its language ("" is English)."""
        if submission.notebook is None:
            return copy.deepcopy(self.release), [], self.usual_locale()
        submitted = nbformat.reads(submission.notebook.decode(), as_version=4)
        locale = self.locale_of(submitted)
        every = {"": self.release, **self.translations}
        ours = every.pop(locale)
        return *rebuild(ours, submitted, every.values()), locale

    def locale_of(self, submitted: NotebookNode) -> str:
        """The language that a notebook's words tell, else the usual one; what code does, and ids, are the same in all."""
        found = language_of(submitted, {"": self.release, **self.translations})
        return self.usual_locale() if found is None else found

    def usual_locale(self) -> str:
        """LEAPLM_LOCALE: for what has no language of its own, such as a file that is no notebook."""
        return usual_locale(self.translations)


def examine(
    lab: Lab, submission: Submission, channel: Channel, limits: Limits, seed: int, full: bool, kernel: dict | None,
    skip: Collection[str] = (),
) -> dict:
    """The record of one submission (see `verdicts`), with the notebook as it ran. `skip`: checks that cost too much."""
    notebook, repairs, locale = lab.rebuilt(submission)
    line, artifacts = Line(channel, limits.submission_seconds), {}
    if submission.refused:
        done = Examination(notebook, state="ungradable", reason=submission.refused)
    else:
        plan = None if full or lab.has_tests else Plan(notebook, lab.translations.get(locale, lab.release), lab.asked)
        done = run_and_judge(lab, submission, notebook, plan, line, limits, seed, kernel, skip)
        there = [*submission.files, *lab.assignment.files]
        artifacts = saved(line, "take", ARTIFACTS) if full else saved(line, "made", there=there) if lab.has_tests else {}
    record = make_record(lab, submission, done, repairs, locale, seed)
    # from here on every text of the student's can be written
    return {"record": writable(record), "notebook": writable(nbformat.writes(done.notebook)), "left_out": done.left_out,
            "artifacts": artifacts}  # fmt: skip


def run_and_judge(
    lab: Lab, submission: Submission, notebook: NotebookNode, plan: Plan | None, line: Line, limits: Limits, seed: int,
    kernel: dict | None,
    skip: Collection[str],
) -> Examination:  # fmt: skip
    """Runs the cells of `plan` (None: all) in order, and judges at each check cell.

    When the student's program ends early, what was judged stays, and checks that only read handed-in files go on.
    """
    done = Examination(notebook)
    for name, content in beside(submission.files, lab.assignment.files).items():
        with ending(done, f"The file `{name}` could not be laid beside the notebook"):
            put(name, content, line)
    if lab.has_tests:
        with ending(done, "The notebook could not be begun"):
            begin(line, kernel, lab)
    for cell in notebook.cells:
        with ending(done, f"The cell `{cell.id}` could not be run"):
            if role(cell) == "check":
                done.verdicts[cell.id] = Verdict(0, NOT_REACHED)  # unless the next line gives one
                done.verdicts[cell.id] = judge_cell(lab, submission, cell, line, limits, seed, done, skip, kernel)
                done.errors.append(done.verdicts[cell.id].message[:MOST_ERROR])
            elif is_to_run(cell, plan) and not line.over:
                run_cell(cell, line, limits, done)
    done.left_out = plan is not None and any(map(plan.may_explain, done.errors))
    return done


def beside(theirs: dict[str, bytes], ours: dict[str, bytes]) -> dict[str, bytes]:
    """The files for a notebook's folder: a student's, and ours in the place of those they would clash with.

    >>> sorted(beside({"data": b"", "plot.py": b"", "a/b": b""}, {"data/rows.txt": b"1", "a": b"2"}))
    ['a', 'data/rows.txt', 'plot.py']
    """
    folders = folders_of(ours)
    return {name: content for name, content in theirs.items() if not clashes(name, ours, folders)} | ours


def folders_of(names: Collection[str]) -> set[str]:
    return {above.as_posix() for name in names for above in PurePosixPath(name).parents}


def clashes(name: str, files: Collection[str], folders: Collection[str]) -> bool:
    """Whether a file of this name would have to be where a folder is, or in a folder where one of the files is.

    >>> clashes("data", [], {"data"}), clashes("data/rows.txt", ["data"], []), clashes("data", ["data"], [])
    (True, True, False)
    """
    return name in folders or any(above.as_posix() in files for above in PurePosixPath(name).parents)


def begin(line: Line, kernel: dict | None, lab: Lab) -> None:
    """Has the student's process put itself ready for cells of tests. Ended if it cannot: nothing may run half ready."""
    try:
        line.ask("begin", VARIABLES, kernel, lab.modules, modules_in(lab.assignment.files), seconds=GRACE + START_KERNEL)
    except (StudentError, RemoteFault) as fault:
        line.over = Ended("killed", f"The notebook's program could not be begun: {fault}")
        raise line.over from None


def judge_cell(
    lab: Lab, submission: Submission, cell: NotebookNode, line: Line, limits: Limits, seed: int, done: Examination,
    skip: Collection[str], kernel: dict | None,
) -> Verdict:  # fmt: skip
    """By its check function, here; or by the tests in the cell, which go to the student's process only now."""
    source = lab.tests.get(cell.metadata.nbgrader.grade_id)
    if source is not None:
        return run_test(cell, source if kernel else as_python(source), line, limits, done)
    check = lab.checks[check_name(cell)]
    return judged(check, RemoteStudent(line, submission.files, check.seconds), seed, limits, skip)


def judged(check: Check, student: RemoteStudent, seed: int, limits: Limits, skip: Collection[str]) -> Verdict:
    """One check's verdict. While it is made, a note says which it is, in case that this process does not live through it."""
    if check.name in skip:
        return too_costly(f"the examiner ended, or came to no end, while it judged {check.name}")
    note = Path(tempfile.gettempdir(), JUDGING)
    note.write_text(check.name, encoding="utf-8")
    try:
        return judge_within(limits.judge_seconds, check, student, seed)
    finally:
        note.unlink()


@contextlib.contextmanager
def ending(done: Examination, failed: str) -> Iterator[None]:
    """Notes how the student's program ended, if it does so in here; or that it did not do what was asked, and goes on."""
    try:
        yield
    except Ended as end:
        done.state, done.reason = end.state, end.reason
    except (StudentError, RemoteFault, NotPlain) as fault:
        done.state, done.reason = "partial", clean_text(f"{failed}: {fault}", 500)


def put(name: str, content: bytes, line: Line) -> None:
    """Lays a file of the submission beside the notebook, in pieces; after the program has ended, nothing."""
    for start in range(0, max(len(content), 1), PIECE):
        if not line.over:
            line.ask("put", name, content[start : start + PIECE], seconds=GRACE)


def is_to_run(cell: NotebookNode, plan: Plan | None) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip()) and (plan is None or cell.id in plan.cells)


def saved(line: Line, *request: Any, there: Collection[str] = ()) -> dict[str, bytes]:
    """The files that a notebook which ran in full has saved: its artifacts, or all that it made.

    `there`: those that lie beside it in any case. What would need a folder in the place of one of them, or a file in the
    place of its folder, is left out.
    """
    try:
        files = line.ask(*request, seconds=GRACE)
    except (Ended, StudentError, RemoteFault):
        return {}
    found = files if isinstance(files, dict) else {}
    names, folders, kept = set(there), folders_of(there), {}
    for name, data in sorted({str(name): data for name, data in found.items()}.items(), key=lambda item: item[0]):
        if isinstance(data, np.ndarray) and is_inside(name) and not clashes(name, names, folders):
            kept[name] = data.tobytes()
            names.add(name)
    return kept


def is_inside(name: str) -> bool:
    """Whether a name from a student's process is that of a file beside the notebook, or below, and none of a grader's."""
    try:
        clean, first = clean_path(name), name.partition("/")[0]
    except ValueError:
        return False
    graders = first == TIME or first.endswith((".ipynb", NOTE)) or name.endswith(".ipynb")
    return clean == name and not is_clutter(name) and not graders


def run_cell(cell: NotebookNode, line: Line, limits: Limits, done: Examination) -> None:
    """Has one cell run and puts its outputs into the notebook."""
    ask_to_run("run", cell.source, cell, line, limits, done)


def run_test(cell: NotebookNode, source: str, line: Line, limits: Limits, done: Examination) -> Verdict:
    """The mark of a cell of tests, as nbgrader gives it: none after an error, else the value of its last expression.

    That value counts if it is a number from 0 to the cell's points; anything else, and nothing, is full marks. What is
    only put out decides nothing, on whatever stream.
    """
    if line.over:
        return Verdict(0, NOT_REACHED)
    told = ask_to_run("test", source, cell, line, limits, done)
    cell.outputs = [output for output in cell.outputs if output.output_type != "error"]
    if told.get("ended") != "ok":
        return Verdict(0, str(told.get("error") or "The tests did not come to their end."))
    return credit(told.get("text"), cell.metadata.nbgrader.points)


def credit(text: Any, points: float) -> Verdict:
    """The mark that the value of the last expression of a cell of tests stands for.

    A number of numpy, `np.float64(1.5)`, is one if it can be; nbgrader takes it for no number.
    """
    scalar = NUMPY.fullmatch(str(text))
    try:
        number = float(scalar[1] if scalar else text)
    except (TypeError, ValueError):
        return Verdict(points, "passed")
    if scalar and not 0 <= number <= points:
        return Verdict(points, "passed")
    if 0 <= number <= points:
        return Verdict(number, "passed" if number == points else f"{number:g} of {points:g} points")
    if number < 0:
        return Verdict(points, "passed")  # as nbgrader has it
    said = f"The tests gave {number:g} of {points:g} points, which cannot be: please look."
    return Verdict(0, said, fault=said)


def ask_to_run(what: str, source: str, cell: NotebookNode, line: Line, limits: Limits, done: Examination) -> dict:
    """Has a source run as this cell, which gets the outputs; what the student's process told of it."""
    told = line.ask(what, source, seconds=limits.cell_clock + GRACE)
    if not isinstance(told, dict) or not isinstance(told.get("outputs"), list):
        raise line.break_off("The notebook's program told something else of a cell than its outputs.")
    cell.outputs = fitting((as_output(item) for item in told["outputs"][:MOST_OUTPUTS]), done)
    done.errors.append(clean_text(told["error"], MOST_ERROR) if isinstance(told.get("error"), str) else "")
    if told.get("ended") == "stopped":
        done.state, done.reason = "partial", f"The cell `{cell.id}` was stopped: it computed for too long."
    return told


def fitting(outputs: Iterable[NotebookNode | None], done: Examination) -> list[NotebookNode]:
    """The outputs of a cell that the notebook has room for; the first that has none is a note that says so."""
    kept = []
    for output in filter(None, outputs):
        if done.room <= 0:
            break
        done.room -= len(json.dumps(output, ensure_ascii=False).encode()) + OF_ONE_OUTPUT
        kept.append(output if done.room > 0 else nbformat.v4.new_output("stream", name="stderr", text=LEFT_OUT))
    return kept


def show(cell: NotebookNode, verdict: Verdict) -> None:
    """Shows a verdict in its check cell as nbgrader expects it: a message, and the points as the cell's result."""
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text=f"{check_name(cell)}: {verdict.message}\n"),
        nbformat.v4.new_output("execute_result", {"text/plain": str(verdict.points)}),
    ]


def show_test(cell: NotebookNode, verdict: Verdict, assignment: Assignment) -> None:
    """Leaves a cell with all its tests, and its outputs such that nbgrader reads the mark from them, whatever they are."""
    own = cell.metadata.nbgrader
    cell.source, own["checksum"] = assignment.tests[own.grade_id], assignment.checksums.get(own.grade_id)
    for output in cell.outputs:
        if output.output_type == "stream":
            output["name"] = "stdout"  # nbgrader takes the other stream for an error
    if verdict.fault or verdict.message != "passed" and not verdict.points:
        name, _, message = verdict.message.partition(": ")
        cell.outputs.insert(0, nbformat.v4.new_output("error", ename=name, evalue=message, traceback=[verdict.message]))
    elif verdict.points != cell.metadata.nbgrader.points:
        cell.outputs.append(nbformat.v4.new_output("execute_result", {"text/plain": str(verdict.points)}))


def show_scheme(cell: NotebookNode, assignment: Assignment) -> None:
    """Gives a task its mark scheme back, for the person who marks it; as with nbgrader, feedback shows it too."""
    own = cell.metadata.get("nbgrader", {})
    if (scheme := assignment.schemes.get(own.get("grade_id"))) is not None:
        cell.source, own["checksum"] = scheme, assignment.checksums.get(own.grade_id)


def name_of(cell: NotebookNode, tests: Mapping[str, str]) -> str:
    """What a check cell is called in a record: its check function, or nbgrader's name of the cell."""
    return cell.metadata.nbgrader.grade_id if cell.metadata.nbgrader.grade_id in tests else check_name(cell)


def make_record(
    lab: Lab, submission: Submission, done: Examination, repairs: list[Repair], locale: str, seed: int
) -> dict:  # fmt: skip
    """The record: one entry per check of the lab, whatever happened, in the language of the notebook."""
    checks, catalogs = [], find_catalogs(lab.course, lab.assignment.name, locale)
    done.notebook.metadata["leaplm"] = {"locale": locale}  # for the page that students read
    for cell in done.notebook.cells:
        if role(cell) != "check":
            show_scheme(cell, lab.assignment)
            continue
        name = name_of(cell, lab.tests)
        verdict = done.verdicts.get(cell.id, Verdict(0, submission.refused or NOT_REACHED))
        verdict = replace(verdict, message=translate_message(clean_text(verdict.message, 1000), catalogs),
                          fault=verdict.fault and clean_text(verdict.fault, 4000))  # fmt: skip
        show_test(cell, verdict, lab.assignment) if cell.metadata.nbgrader.grade_id in lab.tests else show(cell, verdict)
        checks.append({"name": name, "points": verdict.points, "max": cell.metadata.nbgrader.points,
                       "message": verdict.message, "fault": verdict.fault})  # fmt: skip
    told = [(repair.text, repair.doubtful) for repair in repairs] + [(note, False) for note in submission.notes]
    return {
        "lab": lab.assignment.name,
        "notebook": lab.assignment.notebook,
        "student": submission.student,
        "submission": submission.digest,
        "seed": seed,
        "state": done.state,
        "reason": translate_message(clean_text(done.reason, 1000), catalogs),
        "locale": locale,
        "points": sum(check["points"] for check in checks),
        "max": sum(check["max"] for check in checks),
        "checks": checks,
        "repairs": [{"text": clean_text(text, 1000), "doubtful": doubtful} for text, doubtful in told],
        "received": submission.received,
    }


def as_output(item: Any) -> NotebookNode | None:
    """One output of a student's cell, if it has the form of one; anything else is left out."""
    try:
        if item["output_type"] == "stream":
            name = "stderr" if item["name"] == "stderr" else "stdout"
            return nbformat.v4.new_output("stream", name=name, text=clean_text(item["text"], MOST_TEXT))
        if item["output_type"] == "error":
            lines = [clean_text(line, 4000) for line in item["traceback"]][:60]
            return nbformat.v4.new_output("error", ename=clean_text(item["ename"], 100),
                                          evalue=clean_text(item["evalue"], 2000), traceback=lines)  # fmt: skip
        data = {mime: clean_text(item["data"][mime], MOST_DATA) for mime in KEPT_TYPES if mime in item["data"]}
        return nbformat.v4.new_output("display_data", data)  # never a result: those carry points
    except (KeyError, TypeError, AttributeError):
        return None


def new_seed() -> int:
    """A seed that nobody can guess, or the one that tests fix."""
    return int(os.environ.get(SEED) or secrets.randbits(63))


def serve(end: socket.socket) -> None:
    """Examines what main sends, with the student's socket beside it, until main closes."""
    channel = Channel(end, most=MOST_FRAME)
    labs: dict[tuple[str, str], Lab] = {}  # by digest and course
    while True:
        try:
            task = channel.receive()
            _, fds, _, _ = socket.recv_fds(end, 1, 1)
        except Gone:
            return
        assignment = unpacked(task["assignment"])
        where = assignment.digest, task["course"]
        student = Channel(socket.socket(fileno=fds[0]), most_text=MAX_TEXT)
        try:
            labs[where] = labs.get(where) or Lab(assignment, Path(where[1]))
            submission = Submission(**{**task["submission"], "notes": tuple(task["submission"]["notes"])})
            limits = Limits(**task["limits"])
            channel.send(examine(labs[where], submission, student, limits, task["seed"], task["full"],
                                 task["kernel"], task["skip"]))  # fmt: skip
        except Gone:
            return
        except Exception:  # a fault of ours: told, and nobody else's verdict waits for a new examiner
            channel.send({"fault": traceback.format_exc()[-4000:]})
        finally:
            student.close()


def be_examiner(end: socket.socket, scratch: str) -> None:
    """In a forked process: examines, and never returns. `scratch`: its temporary folder."""
    status = 1
    try:
        os.setsid()  # its own share of the processors, where the kernel shares them by session
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ["TMPDIR"] = tempfile.tempdir = scratch
        serve(end)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """Imports what the checks import, once for all examiners; forks one for each socket it is sent, and tells its number."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    os.environ.setdefault("LEAPLM_SCALE", "tiny")
    import_for_checks(sys.argv[2:])
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel keeps nothing of one that has ended
    with contextlib.suppress(ConnectionError):  # main has ended
        fork_examiners(control)


def import_for_checks(files: list[str]) -> None:
    """Imports what the checks of a file import. If that has started threads, this begins anew without it.

    A process with threads cannot be forked safely; then each examiner imports for itself.
    """
    with contextlib.suppress(OSError, SyntaxError, ValueError):  # no checks, or none that can be read: an examiner says so
        for file in files:
            import_all(imported(ast.parse(Path(file).read_text(encoding="utf-8"))))
    if files and count_threads() > 1:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "leaplm.grading.judge.examiner", sys.argv[1]])


def fork_examiners(control: socket.socket) -> None:
    while True:
        message, fds, _, _ = socket.recv_fds(control, 4096, 1)
        if not message:
            return
        with socket.socket(fileno=fds[0]) as end:
            number = os.fork()
            if number == 0:
                control.close()
                be_examiner(end, os.fsdecode(message))
        control.send(str(number).encode())


if __name__ == "__main__":
    main()
