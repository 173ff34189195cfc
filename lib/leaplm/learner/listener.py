"""The handle that a check gets for a mark: the notebook's functions in this process, in a time by the clock, with notes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from leaplm.grading.sandbox.student import Student, StudentError, TimeIsUp
from leaplm.grading.sandbox.values import Ref

MOST_WAITING = 4  # times its own seconds that a limit may be put off on a busy machine


class Listener(Student):
    """As `Student`, within the time limit of the whole mark: `until`, around the check.

    `heard` is what the check got to see, `ran_out` whether the time was over in the notebook's code.
    """

    def __init__(self, namespace: dict[str, Any], folder: str | os.PathLike, seconds: float) -> None:
        super().__init__(namespace, folder, seconds)
        self.namespace, self.folder = namespace, folder
        self.heard: list[Any] = []
        self.ran_out = False
        self.failed_elsewhere = False  # an error came out of another function of the notebook than the one called

    @contextlib.contextmanager
    def _limit(self) -> Iterator[None]:
        if self.ran_out:  # the check goes on after a call that never ended: the next one need not begin
            raise TimeIsUp
        try:
            yield
        except TimeIsUp:
            self.ran_out = True
            raise

    def call(self, function: str | Ref, *args: Any, **kwargs: Any) -> Any:
        return self._noting(super().call, function, *args, **kwargs)

    def get(self, name: str) -> Any:
        return self._noting(super().get, name)

    def read(self, ref: Ref, probe: str, *args: Any, **kwargs: Any) -> Any:
        return self._noting(super().read, ref, probe, *args, **kwargs)

    def _noting(self, ask: Callable, *args: Any, **kwargs: Any) -> Any:
        try:
            value = ask(*args, **kwargs)
        except StudentError as error:
            self.hear((error.kind, str(error).partition(" at the line ")[0]))
            self.failed_elsewhere |= comes_from_another(error.__cause__, self.namespace)
            raise
        self.hear(f"an object of type {value.kind}" if isinstance(value, Ref) else value)
        return value

    def hear(self, what: Any) -> None:
        """Keeps what the check got to see."""
        self.heard.append(what)


def comes_from_another(error: BaseException | None, namespace: dict[str, Any]) -> bool:
    """Whether an error was raised in another cell of the notebook than that of the function that was called."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__ if error else None)]
    cells = [frame.f_code.co_filename for frame in frames if frame.f_globals is namespace]
    return bool(cells) and cells[0] != cells[-1]


@contextlib.contextmanager
def until(end: float, error: type[TimeIsUp] = TimeIsUp, code_of: dict[str, Any] | None = None) -> Iterator[None]:
    """Raises the error in the block at `end` of the monotonic clock, and again and again; at once if that is past.

    By a signal where there are such, which wakes a sleeping answer too; else by an exception set in this thread. On a busy
    machine, what others have of the processor does not count: a right answer is not to be taken for an endless one.
    code_of: raise it only while code runs that has these global names, not in what shows the error.
    """
    left = end - time.monotonic()
    if left <= 0:
        raise error
    signals = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    with (by_signal if signals else by_thread)(left, error, code_of):
        yield


def runs(frame: FrameType | None, code_of: dict[str, Any] | None) -> bool:
    """Whether code with these global names is among a frame and those that called it; any code for None.

    >>> runs(sys._getframe(), globals()), runs(sys._getframe(), {})
    (True, False)
    """
    while frame and code_of is not None and frame.f_globals is not code_of:
        frame = frame.f_back
    return frame is not None


def waited() -> float:
    """Seconds for which this thread could have run, and others had the processor; 0 where the system does not count them.

    Source: Linux's Documentation/scheduler/sched-stats: the second number of schedstat, in nanoseconds.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return 0.0


@contextlib.contextmanager
def by_signal(seconds: float, error: type[TimeIsUp], code_of: dict[str, Any] | None) -> Iterator[None]:
    running, waited_before = True, waited()

    def ring(number: int, frame: FrameType | None) -> None:
        others = min(waited() - waited_before, MOST_WAITING * seconds)  # s that the machine gave to others
        over = time.monotonic() >= started + seconds + others
        if running and over and runs(frame, code_of):  # not running: the timer is being put away
            raise error

    started = time.monotonic()
    before = signal.signal(signal.SIGALRM, ring)
    left, again = signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)  # of a limit around this one
    try:
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - started), 0.001), again)


@contextlib.contextmanager
def by_thread(seconds: float, error: type[TimeIsUp], code_of: dict[str, Any] | None) -> Iterator[None]:
    over, here = threading.Event(), threading.get_ident()

    def watch() -> None:
        left = seconds
        while not over.wait(left):
            if runs(sys._current_frames().get(here), code_of):
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(here), ctypes.py_object(error))
            left = 1.0

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(here), None)  # one that has not come yet
