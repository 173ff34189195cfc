"""The engine of one machine: a sandboxed fork server, examiners, and the way of one submission through them.

    with Engine(course, "lab2_finetuning", jobs=2) as engine:
        result = engine.grade(submission)       # from several threads at once, as many as there are examiners

Whatever a submission does, `grade` gives one record. A fault of ours is tried once more, then it is a record of the state
"infrastructure".
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from leaplm.grading.assignment import Assignment, lab_assignment
from leaplm.grading.course import lab_file, reached
from leaplm.grading.judge.examiner import JUDGING, MOST_FRAME, name_of, new_seed
from leaplm.grading.judge.scratch import Scratch, sweep
from leaplm.grading.rebuild.exercises import role
from leaplm.grading.sandbox import bubblewrap as sandbox
from leaplm.grading.sandbox.control_groups import Group, find_groups, sweep_groups
from leaplm.grading.sandbox.self_test import breaches
from leaplm.grading.sandbox.student import EXIT_UNSTOPPABLE
from leaplm.grading.sandbox.values import clean_text
from leaplm.grading.sandbox.walls import EXIT_DEAD, Limits
from leaplm.grading.sandbox.wire import Channel, Gone
from leaplm.grading.submission import Submission
from leaplm.runtime import available_memory_mb, processors
from leaplm.translation import find_catalogs, translate_message

START_SECONDS = 300  # for the imports, on a slow and busy machine
END_SECONDS = 120  # for the kernel to take back all that a process held, on a machine that it has made busy
JUDGE_SECONDS = 600  # for the checks of one submission, beside what the student's code takes
EXAMINER_MB = 2500
PYTHON = ("python3", "python")  # kernels that are there without a kernelspec
ENDS = {  # how a student's process ended -> state of the verdict, and why in words
    "memory": ("out of memory", "The notebook used more than {memory_mb} MB of memory and was stopped."),
    "processes": ("killed", "The notebook started more than {processes} processes and was stopped."),
    f"exit {EXIT_UNSTOPPABLE}": ("timeout", "A cell computed for too long and could not be interrupted."),
    f"exit {EXIT_DEAD}": ("killed", "The kernel of the notebook ended early."),
    "signal 9": ("killed", "The notebook's program was killed."),
    "signal 24": ("timeout", "The notebook computed for too long."),  # SIGXCPU
}


class Infrastructure(Exception):
    """A fault of ours, not of a submission."""


class TooCostly(Infrastructure):
    """An examiner that did not live through a `check`, or came to no end with it."""

    def __init__(self, reason: str, check: str, ended: bool) -> None:
        super().__init__(reason)
        self.check, self.ended = check, ended


@dataclass
class Graded:
    """A verdict record, and the notebook as it ran (text)."""

    record: dict
    notebook: str
    artifacts: dict[str, bytes] = field(default_factory=dict)  # saved by a notebook that ran in full


class ForkServer:
    """The sandboxed fork server, from outside: spawns a process per submission and says how it ended."""

    def __init__(self, assets: Path, modules: list[str], limits: Limits, unsafe: bool, scale: str) -> None:
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = {"limits": asdict(limits), "preload": modules, "walled": not unsafe}
        program = [sys.executable, "-P", "-s", "-m", "leaplm.grading.sandbox.fork_server"]
        words = [*program, str(inner.fileno()), json.dumps(settings)]
        self._scratch = Scratch()  # where it starts; student code works there if unsafe
        self._process = sandbox.start(assets, words, [inner.fileno()], unsafe, scale, self._scratch.path)
        inner.close()
        self._unsafe = unsafe
        self._limits = limits
        self._ended: dict[int, queue.Queue] = {}
        self._grouped: dict[int, Group] = {}
        self.groups = None if unsafe else find_groups()
        if self.groups:
            sweep_groups(self.groups)
        self._number = 0
        self._lock = threading.Lock()
        self.ready = False
        self._settled = threading.Event()  # it is ready, or has died
        threading.Thread(target=self._listen, daemon=True).start()

    def wait_until_ready(self) -> None:
        """Raises NoSandbox, with what the sandbox said, if it did not start."""
        self._settled.wait(START_SECONDS)
        if not self.ready:
            self._process.kill()
            self._scratch.close()
            said = self._process.communicate()[1].decode(errors="replace").strip()
            if self._unsafe:
                raise sandbox.NoSandbox(f"The process for student code did not start: {said[-1000:]}")
            raise sandbox.refusal(f"The sandbox did not start: {said[-1000:]}")

    def alive(self) -> bool:
        return self._process.poll() is None

    def spawn(self) -> tuple[int, socket.socket]:
        """A new process for one submission: its number, and our end of the socket to it."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            self._number += 1
            self._ended[self._number] = queue.Queue()
            try:
                with self._doors(self._number) as doors:
                    asked = json.dumps({"spawn": self._number}).encode()
                    socket.send_fds(self._control, [asked], [theirs.fileno(), *doors])
            except OSError as error:
                raise Infrastructure(f"the fork server is gone ({error})") from None
            return self._number, ours

    @contextlib.contextmanager
    def _doors(self, number: int) -> Iterator[list[int]]:
        """File descriptors by which a submission's process enters its control group; none where no group can be made now.

        The fork server's watch then has the whole of it.
        """
        doors: list[int] = []
        if self.groups:
            with contextlib.suppress(OSError):
                group = self._grouped[number] = self.groups.make(f"{self._process.pid}-{number}", self._limits)
                doors = group.doors()
        try:
            yield doors
        finally:
            for door in doors:
                os.close(door)

    def end(self, number: int) -> str:
        """Ends a process, if it has not ended yet, and says how it did."""
        group = self._grouped.pop(number, None)
        with self._lock, contextlib.suppress(OSError):
            self._control.send(json.dumps({"end": number}).encode())
        try:
            why = self._ended[number].get(timeout=END_SECONDS)
            return "memory" if group and why.startswith("signal") and group.memory_ended() else why
        except queue.Empty:
            raise Infrastructure("a student's process could not be ended") from None
        finally:
            self._ended.pop(number, None)
            if group:
                group.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while message := self._control.recv(65536):
                told = json.loads(message)
                if told.get("ready"):
                    self.ready = True
                    self._settled.set()
                elif told.get("ended") in self._ended:
                    self._ended[told["ended"]].put(told["why"])
        self._settled.set()
        for waiting in list(self._ended.values()):
            waiting.put("lost")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it has ended already
            self._control.shutdown(socket.SHUT_RDWR)  # to close it is not enough: a thread of ours still listens on it
        self._control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()  # bubblewrap takes everything inside with it
            self._process.wait()
        self._process.stderr.close()
        self._scratch.close()


def test_walls(forks: ForkServer, course: Path, scale: str) -> None:
    """NoSandbox unless all that student code must not do fails."""
    if found := breaches(forks.spawn, forks.end, course, sandbox.environment(scale)):
        raise sandbox.refusal(f"The sandbox does not hold on this machine. Student code could {'; '.join(found)}.")


def try_sandbox() -> None:
    """Starts a sandbox as grading does, and tests its walls: NoSandbox, with cause and remedy, where they do not stand.

    That bubblewrap is here says nothing: many systems forbid what it needs.
    """
    with Scratch() as empty:
        forks = ForkServer(empty, [], Limits(), unsafe=False, scale="tiny")
        try:
            forks.wait_until_ready()
            test_walls(forks, empty, "tiny")
        finally:
            forks.close()


class ExaminerServer:
    """The process that has imported what an assignment's checks need, from outside: examiners are forked from it."""

    def __init__(self, checks: Path) -> None:
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(START_SECONDS)
        own = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")}
        self._scratch = Scratch()  # what libraries leave in a temporary folder goes with it
        own |= {"TMPDIR": str(self._scratch.path), "LEAPLM_SCALE": "tiny", "HF_HUB_OFFLINE": "1",
                "TOKENIZERS_PARALLELISM": "false", **sandbox.NO_THREAD}  # fmt: skip
        words = [sys.executable, "-P", "-m", "leaplm.grading.judge.examiner", str(inner.fileno()), str(checks)]
        self._process = subprocess.Popen(words, pass_fds=[inner.fileno()], env=own, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        inner.close()
        self._lock = threading.Lock()

    def alive(self) -> bool:
        return self._process.poll() is None

    def start(self) -> Examiner:
        """A new examiner; waits until the server has imported all."""
        ours, theirs = socket.socketpair()
        scratch = Scratch()
        try:
            with theirs, self._lock:
                return Examiner(ours, self._ask(scratch.path, theirs), scratch)
        except (OSError, ValueError, psutil.NoSuchProcess) as error:
            ours.close()
            scratch.close()
            raise Infrastructure(f"no examiner could be started ({error})") from None

    def _ask(self, folder: Path, end: socket.socket) -> int:
        """The number of a new process with this temporary folder and this end of its channel."""
        try:
            socket.send_fds(self._control, [os.fsencode(folder)], [end.fileno()])
            return int(self._control.recv(32))
        except (OSError, ValueError):
            self._end()  # before anyone else asks: it could answer later, to another question
            raise

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self._end()
        self._control.close()
        self._scratch.close()


class Examiner:
    """An examiner process, from outside."""

    def __init__(self, end: socket.socket, pid: int, scratch: Scratch) -> None:
        self._end, self.process, self._scratch = end, psutil.Process(pid), scratch
        self._channel = Channel(end, most=MOST_FRAME)

    def examine(self, task: dict, student: socket.socket, seconds: float) -> dict:
        try:
            self._channel.send(task)
            socket.send_fds(self._end, [b"\0"], [student.fileno()])
            result = self._channel.receive(seconds)
        except (Gone, TimeoutError, OSError) as error:
            said = f"the examiner did not come to a verdict ({type(error).__name__})"
            judging = self._scratch.path / JUDGING
            if judging.is_file() and (check := judging.read_text(encoding="utf-8")):
                raise TooCostly(f"{said} in {check}", check, isinstance(error, Gone)) from None
            raise Infrastructure(said) from None
        if "fault" in result:
            raise Infrastructure(f"the examiner could not cope: {result['fault']}")
        return result

    def is_swollen(self) -> bool:
        """Whether it holds much more memory than its models need; a fresh one is started then."""
        return self.process.memory_info().rss / 1e6 > EXAMINER_MB

    def close(self) -> None:
        self._end.close()
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            self.process.kill()
            self.process.wait(5)  # s; where its server has gone, it may be that nobody takes note of its end
        self._scratch.close()


class Engine:
    """Grades submissions of one lab on this machine; thread-safe.

    `assignment`: another one than the lab as it was released, or one of its notebooks.
    """

    def __init__(
        self, course: Path, lab: str, jobs: int | None = None, limits: Limits | None = None, unsafe: bool = False,
        warm: bool = True, scale: str = "tiny", assets: Path | None = None, assignment: Assignment | None = None,
    ) -> None:  # fmt: skip
        """`warm`: the fork server imports what the lab imports; cold, each submission does. The verdicts are the same.

        `scale` is the LEAPLM_SCALE at which student code runs. `assets`: what it sees; else no secret tells in it.
        """
        sandbox.need_linux()
        self.course = Path(course).resolve()
        self.assignment = assignment or lab_assignment(self.course, lab)
        self.limits = limits or Limits()
        self.jobs = jobs or default_jobs(self.limits)
        self.unsafe, self.warm, self.scale = unsafe, warm, scale
        sweep()
        self._scratch = Scratch()
        self._assets = self._scratch.path if self.assignment.plain else assets or _assets_of_labs()
        self._kernels = KernelSpecManager()
        self._forks: ForkServer | None = None
        self._examiner_server: ExaminerServer | None = None
        self._lock = threading.Lock()
        self._examiners: queue.Queue = queue.Queue()
        for _ in range(self.jobs):
            self._examiners.put(None)  # started by the first submission that needs it

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def grade(self, submission: Submission, seed: int | None = None, full: bool = False) -> Graded:
        """One record, whatever happens. `full` runs every cell, not only those that the marks need.

        ValueError for a submission of another lab: by the checks of this one it would have no points.
        """
        if submission.lab != self.assignment.name:
            raise ValueError(f"an Engine of {self.assignment.name} cannot grade {submission.lab}: that takes one of its own")
        seed = new_seed() if seed is None else seed
        fault, costly, tries = "", Counter(), 2
        while tries > 0:
            try:
                return self._grade(submission, seed, full, sorted(name for name, times in costly.items() if times > 1))
            except sandbox.NoSandbox:  # nobody's work can be graded here
                raise
            except TooCostly as known:  # no end, or ended twice, in one check: what was handed in costs that check
                fault = str(known)
                costly[known.check] += 1 if known.ended else 2
                tries = 3 if costly[known.check] >= 2 else tries
            except Infrastructure as known:
                fault = str(known)
            except Exception as unknown:  # any: one submission never ends the run for the others
                fault = "".join(traceback.format_exception_only(unknown)).strip()
            tries -= 1
        return our_fault(self.assignment, submission, seed, fault)

    def _grade(self, submission: Submission, seed: int, full: bool, skip: list[str]) -> Graded:
        forks, examiner = self.fork_server(), self._examiners.get()
        fine = False
        try:
            examiner = examiner or self._new_examiner()
            result, why = self._examine(forks, examiner, submission, seed, full, skip)
            if result["left_out"]:
                result, why = self._examine(forks, examiner, submission, seed, True, skip)
            fine = not examiner.is_swollen()
        finally:
            if not fine and examiner:
                examiner.close()
                examiner = None
            self._examiners.put(examiner)
        record = explain_end(result["record"], why, self.limits, self.course)
        return Graded(record, result["notebook"], result["artifacts"])

    def _examine(
        self, forks: ForkServer, examiner: Examiner, submission: Submission, seed: int, full: bool, skip: list[str]
    ) -> tuple[dict, str]:
        """What the examiner says of a submission in a process of its own, and how that process ended."""
        number, student = forks.spawn()
        why = "lost"
        try:
            task = {"assignment": self.assignment.packed(), "course": str(self.course), "submission": asdict(submission),
                    "seed": seed, "limits": asdict(self.limits), "full": full, "skip": skip,
                    "kernel": self._kernel(submission)}  # fmt: skip
            result = examiner.examine(task, student, self.limits.submission_seconds + JUDGE_SECONDS)
        finally:
            student.close()
            why = forks.end(number)
        if why == "lost" and result["record"]["state"] == "killed":
            raise Infrastructure("the fork server died")
        return result, why

    def fork_server(self) -> ForkServer:
        """The running fork server; started, and tested, when there is none."""
        with self._lock:
            if self._forks and not self._forks.alive():
                self._forks.close()
                self._forks = None
            if self._forks is None:
                modules = heavy_modules(self.assignment, self.course) if self.warm else []
                self._forks = ForkServer(self._assets, modules, self.limits, self.unsafe, self.scale)
                self._forks.wait_until_ready()
                if not self.unsafe:
                    test_walls(self._forks, self.course, self.scale)
            return self._forks

    def _new_examiner(self) -> Examiner:
        """Forked from the running server of examiners, which is started where there is none."""
        with self._lock:
            if self._examiner_server and not self._examiner_server.alive():
                self._examiner_server.close()
                self._examiner_server = None
            if self._examiner_server is None:
                self._examiner_server = ExaminerServer(lab_file(self.course, self.assignment.name, "checks.py"))
            server = self._examiner_server
        return server.start()

    def _kernel(self, submission: Submission) -> dict | None:
        """The kernelspec of a notebook whose tests stand in its cells, None for this Python. Infrastructure without one.

        The name is that in our notebook; only where it names none, that in the student's. A Python that is not installed
        here is the environment of somebody's own machine, and this one does for it.
        """
        if not (self.assignment.tests or self.assignment.plain):
            return None
        theirs = json.loads(submission.notebook)["metadata"] if submission.notebook else {}
        ours, named = self.assignment.read().metadata.get("kernelspec"), theirs.get("kernelspec") or {}
        if not ours and named.get("language") == "python" and named["name"] not in self._kernels.find_kernel_specs():
            return None
        return kernel_spec((ours or named).get("name") or PYTHON[0], self._kernels)

    def close(self) -> None:
        self._scratch.close()
        if self._forks:
            self._forks.close()
        while not self._examiners.empty():
            if examiner := self._examiners.get():
                examiner.close()
        if self._examiner_server:
            self._examiner_server.close()


def _assets_of_labs() -> Path:
    from leaplm.grading.judge.heldout import assets_without_heldout  # needs what the labs need

    return assets_without_heldout()


def kernel_spec(name: str, known: KernelSpecManager) -> dict | None:
    """A kernelspec as the sandbox starts it; None for a kernel of this very Python, which the fork server has ready.

    Infrastructure where it is not installed, or not where the sandbox shows it.
    """
    if name in PYTHON:
        return None
    try:
        spec = known.get_kernel_spec(name)
    except NoSuchKernel:
        here = ", ".join(sorted(known.find_kernel_specs()))
        raise Infrastructure(f"the kernel {name!r} of the notebook is not installed here; there are {here}") from None
    program = shutil.which(spec.argv[0]) or spec.argv[0]
    own = Path(program).parent.resolve() == Path(sys.executable).parent.resolve() and not spec.env
    if own and spec.argv[1:3] in (["-m", "ipykernel_launcher"], ["-m", "ipykernel"]):
        return None
    return {**spec.to_dict(), "name": name, "argv": [program, *spec.argv[1:]]}


def our_fault(assignment: Assignment, submission: Submission, seed: int, reason: str) -> Graded:
    """The record of a submission that we could not grade: no points yet, to be graded again."""
    release = assignment.read()
    checks = [{"name": name_of(cell, assignment.tests), "points": 0, "max": cell.metadata.nbgrader.points, "fault": None,
               "message": "Not judged yet, for a fault that is not yours."}
              for cell in release.cells if role(cell) == "check"]  # fmt: skip
    record = {"lab": assignment.name, "notebook": assignment.notebook, "student": submission.student,
              "submission": submission.digest, "seed": seed,
              "state": "infrastructure", "reason": clean_text(reason, 4000), "points": 0,
              "max": sum(check["max"] for check in checks), "checks": checks, "repairs": [],
              "received": submission.received}  # fmt: skip
    return Graded(record, nbformat.writes(release))


def explain_end(record: dict, why: str, limits: Limits, course: Path) -> dict:
    """The record, with the reason that the fork server knows when the student's process ended early."""
    if record["state"] != "killed":
        return record
    state, reason = ENDS.get(why, ("killed", f"The notebook's program ended early ({why})."))
    catalogs = find_catalogs(course, record["lab"], record["locale"])
    return {**record, "state": state, "reason": translate_message(reason.format(**asdict(limits)), catalogs)}


def default_jobs(limits: Limits) -> int:
    """As many submissions at once as there are cores, and memory at their limit."""
    fitting = available_memory_mb() / (limits.memory_mb + 1000)
    return max(1, min(processors(), int(fitting)))


# What a figure takes. Not the notebook's own backend: only where a shell is there at its import does that show figures.
PICTURES = ["matplotlib.pyplot", "matplotlib.backends.backend_agg"]


def heavy_modules(assignment: Assignment, course: Path) -> list[str]:
    """What the cells of our release, our tests and the probes of our checks import: the fork server does before it forks."""
    checks = lab_file(course, assignment.name, "checks.py")
    probes = modules_named(checks.read_text(encoding="utf-8")) if checks.is_file() else []
    found = dict.fromkeys(["leaplm.grading.sandbox.worker", *probes])
    found |= dict.fromkeys(reached(assignment.code()))
    pictures = any(name.partition(".")[0] == "matplotlib" for name in found) or not assignment.plain
    return [*found, *PICTURES * pictures]


def modules_named(checks: str) -> list[str]:
    """The modules of ours whose functions checks, given as source, ask for by name on the student's side.

    >>> modules_named('student.build("leaplm.grading.judge.probes:linear", 2, 3)')
    ['leaplm.grading.judge.probes']
    """
    texts = (node.value for node in ast.walk(ast.parse(checks)) if isinstance(node, ast.Constant))
    found = (re.fullmatch(r"(leaplm(?:\.\w+)+)(?::\w*)?", str(text)) for text in texts)
    return list(dict.fromkeys(named[1] for named in found if named))
