"""The student's side: runs notebook cells in an IPython shell and does what a `RemoteStudent` asks, behind the walls.

It is forked from the fork server for one submission. Requests and replies are frames (see `wire`) on one socket. Each
request carries a nonce that the reply must repeat. Nothing that is sent from here is trusted by the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from leaplm.grading.course import import_all
from leaplm.grading.sandbox.cell_tests import run_tests, told
from leaplm.grading.sandbox.event_loop import EventLoop, run_cell
from leaplm.grading.sandbox.observe import seed_globals
from leaplm.grading.sandbox.outputs import Outputs, make_shell
from leaplm.grading.sandbox.pristine import Pristine
from leaplm.grading.sandbox.student import Clock, Student, StudentError, time_limit
from leaplm.grading.sandbox.values import TooLarge
from leaplm.grading.sandbox.walls import HOME, Limits
from leaplm.grading.sandbox.wire import MAX_TEXT, Broken, Channel, Gone

MOST_RINGS = 5  # of the time limit, for a cell that catches them
MOST_MADE, MOST_FILES = 16 * 2**20, 100  # bytes and number of files that a notebook makes and that are kept


class Worker:
    """Answers the requests of one examination, one after another."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.shell, self.loop = make_shell(), EventLoop()
        self.student = Student(self.shell.user_ns)
        self.kernel: Any = None  # of another language, once it is asked for

    def do_put(self, name: str, piece: bytes) -> None:
        """Puts a file of the submission beside the notebook, piece after piece."""
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as file:
            file.write(piece)

    def do_take(self, folder: str) -> dict[str, np.ndarray]:
        """The files that the notebook has saved in a folder, as arrays of bytes."""
        return {path.name: np.fromfile(path, np.uint8) for path in sorted(Path(folder).glob("*")) if path.is_file()}

    def do_run(self, source: str) -> dict:
        """Runs one cell; its outputs as in a notebook, and how it ended."""
        if self.kernel:
            return self.kernel.run(source)
        outputs = Outputs(self.limits.output_bytes)
        with outputs.captured(self.shell), self._limit() as clock:
            result = self.loop.run(run_cell(self.shell, source))
        if clock.rang:
            outputs.add_error("Timeout", self._stopped)
        ended = "stopped" if clock.rang else "ok" if result and result.success else "error"
        return {"ended": ended, "outputs": outputs.items, "error": outputs.error()}

    @property
    def _stopped(self) -> str:
        by_clock = self.limits.cell_clock_seconds
        return f"stopped after {by_clock:g} s" if by_clock else f"stopped after {self.limits.cell_seconds:g} s of computing"

    def _limit(self) -> contextlib.AbstractContextManager[Clock]:
        return time_limit(self.limits.cell_seconds, MOST_RINGS, self.limits.cell_clock)

    def do_begin(self, variables: dict, kernel: dict | None, modules: list[str], beside: list[str]) -> None:
        """The notebook has tests in its cells: what these may need is put ready, and kept as it is now.

        `kernel`: the kernelspec of another kernel than this Python. `modules`: that tests may use; `beside`: those that the
        teacher has beside the notebook.
        """
        os.environ.update(variables)
        self.folder = os.getcwd()
        self.before = files_in(self.folder)
        if kernel:
            from leaplm.grading.sandbox.kernel import RealKernel

            self.kernel = RealKernel(kernel, self.limits)
        else:
            import_all(modules)  # before those beside the notebook can be found, and so that they can be put back
            sys.path.insert(0, "")  # as a notebook's kernel has it: a module beside the notebook is found
            self.get_ipython, self.names = self.shell.get_ipython, self.shell.user_ns
            self.pristine = Pristine(modules, beside)

    def do_test(self, source: str) -> dict:
        """Runs one cell of tests; `text` is the value of its last expression, as a notebook shows it."""
        if self.kernel:
            return self.kernel.run(source)
        outputs = Outputs(self.limits.output_bytes)
        self.shell.user_ns = self.names  # a dict of another class in its place could hide what is put back
        self.pristine.restore(self.names, self.get_ipython)
        with outputs.captured(self.shell), self._limit() as clock:
            text, error = self.loop.run(run_tests(self.shell, source)) or (None, asyncio.CancelledError())
            self.pristine.keep(source)
        if clock.rang:
            outputs.add_error("Timeout", self._stopped)
        elif error is not None:
            outputs.add_error(*told(error, source))
        ended = "stopped" if clock.rang else "ok" if error is None else "error"
        with outputs.captured(self.shell), contextlib.suppress(BaseException):
            self.shell.events.trigger("post_execute")  # pictures that are open belong to this cell
        return {"ended": ended, "outputs": outputs.items, "error": outputs.error(), "text": text}

    def do_made(self) -> dict[str, np.ndarray]:
        """The files that the notebook has made or changed, the smallest first, up to a limit for all."""
        made, left = {}, MOST_MADE
        now = files_in(self.folder)  # a notebook may have gone elsewhere
        for name in sorted(now, key=lambda name: now[name]):
            left -= now[name][0]
            if now[name] != self.before.get(name) and left >= 0 and len(made) < MOST_FILES:
                with contextlib.suppress(OSError):  # it cannot be read
                    made[name] = np.fromfile(os.path.join(self.folder, name), np.uint8)
        return made

    def do_open(self, seconds: float) -> None:
        """A check begins: its own handle, with its own time limit a call."""
        self.student = Student(self.shell.user_ns, seconds=seconds)

    def do_call(self, function: Any, args: list, kwargs: dict) -> Any:
        return self.loop.context.run(self.student.call, function, *args, **kwargs)

    def do_watch(self, forbidden: list, gradient: list, seed: int) -> None:
        self.student.watch(forbidden, gradient, seed)

    def do_seen(self) -> dict:
        return self.student.seen()

    def do_get(self, name: str) -> Any:
        return self.student.get(name)

    def do_build(self, factory: str, args: list, kwargs: dict) -> Any:
        return self.student.build(factory, *args, **kwargs)

    def do_read(self, ref: Any, probe: str, args: list, kwargs: dict) -> Any:
        return self.student.read(ref, probe, *args, **kwargs)

    def reply(self, request: dict) -> dict:
        """What one request gives: a value, or the StudentError that a check would have got in one process."""
        try:
            return {"value": getattr(self, f"do_{request['do']}")(*request["args"])}
        except StudentError as error:
            return {"student_error": [error.kind, str(error)]}
        except BaseException as error:  # a fault of the request, or of a notebook that broke what we use
            return {"fault": "".join(traceback.format_exception_only(error))[:2000]}


def files_in(start: str) -> dict[str, tuple[int, int]]:
    """Size and time of each ordinary file in a folder and below; what is hidden, and our own folder, aside."""
    found = {}
    for folder, folders, names in os.walk(start):
        folders[:] = [name for name in folders if not name.startswith((".", "__")) and (folder, name) != (start, "tmp")]
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(start))] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def serve(fd: int, limits: Limits) -> None:
    """Serves the socket `fd` until the other side closes it."""
    settle()
    channel = Channel(socket.socket(fileno=fd), most_text=MAX_TEXT)
    worker = Worker(limits)
    with contextlib.suppress(Gone, Broken):
        while True:
            request = channel.receive()
            nonce = {"nonce": request["nonce"]}
            try:
                channel.send(nonce | worker.reply(request))
            except TooLarge as error:
                channel.send(nonce | {"student_error": ["too-large", f"The answer holds {error}: far more than asked for."]})


def settle() -> None:
    """Our own place: the folder of the notebook, no terminal, and random numbers that the fork server did not fix."""
    walled = os.path.ismount(HOME)
    os.chdir(HOME if walled else tempfile.mkdtemp(dir="."))
    for folder in ("tmp", ".config/matplotlib") if walled else ():
        os.makedirs(folder)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    seed_globals(int.from_bytes(os.urandom(4), "little"))
