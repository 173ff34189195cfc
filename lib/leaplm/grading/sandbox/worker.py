"""The student's side: runs notebook cells in an IPython shell and does what a `RemoteStudent` asks, behind the walls.

It is forked from the fork server for one submission. Requests and replies are frames (see `wire`) on one socket. Each
request carries a nonce that the reply must repeat. Nothing that is sent from here is trusted by the other side.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from leaplm.grading.sandbox.outputs import Outputs, make_shell
from leaplm.grading.sandbox.student import Student, StudentError, time_limit
from leaplm.grading.sandbox.values import TooLarge
from leaplm.grading.sandbox.walls import HOME, Limits
from leaplm.grading.sandbox.wire import MAX_TEXT, Broken, Channel, Gone

MOST_RINGS = 5  # of the time limit, for a cell that catches them


class Worker:
    """Answers the requests of one examination, one after another."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.shell = make_shell()
        self.student = Student(self.shell.user_ns)

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
        outputs = Outputs(self.limits.output_bytes)
        with outputs.captured(self.shell), time_limit(self.limits.cell_seconds, MOST_RINGS) as clock:
            result = self.shell.run_cell(source, store_history=True)
        if clock.rang:
            outputs.add_error("Timeout", f"stopped after {self.limits.cell_seconds:g} s of computing")
        ended = "stopped" if clock.rang else "ok" if result.success else "error"
        return {"ended": ended, "outputs": outputs.items, "error": outputs.error()}

    def do_open(self, seconds: float) -> None:
        """A check begins: its own handle, with its own time limit a call."""
        self.student = Student(self.shell.user_ns, seconds=seconds)

    def do_call(self, function: Any, args: list, kwargs: dict) -> Any:
        return self.student.call(function, *args, **kwargs)

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
    seed = int.from_bytes(os.urandom(4), "little")
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
