"""The student handle: how a check reaches a student's code, here in the same process.

A check never touches the student's objects. It calls functions by name with plain values (see `values`), has library
factories make objects on the student's side, and reads artifacts as bytes. Whatever goes wrong there becomes one
`StudentError` that says what to mend and shows no hidden input.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import io
import math
import os
import re
import signal
import stat
import threading
import traceback
from _signal import signal as set_handler  # signal.signal makes an Enum of what it is given and gives: most of a short call
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaplm.grading.sandbox.kinds import kind_of
from leaplm.grading.sandbox.observe import Observer
from leaplm.grading.sandbox.values import NotPlain, Ref, TooLarge, describe, plain, to_student
from leaplm.grading.sandbox.walls import PATIENCE
from leaplm.grading.sandbox.watch import is_library
from leaplm.grading.submission import ARTIFACTS

MAX_ARTIFACT_BYTES = 512 * 2**20
MAX_TEXT_BYTES = 16 * 2**20  # of an artifact that is read as text: parsed, it takes many times its size
EXIT_UNSTOPPABLE = 75  # of a process whose code could not be stopped otherwise

# Messages of these errors speak of names, types and shapes, which helps; others may quote a hidden input.
TELLING_ERRORS = (NameError, AttributeError, TypeError, ImportError, RuntimeError, IndexError)


KNOWN_NAMES = {*dir(builtins), "NoneType", "Tensor", "Parameter", "Module", "Linear", "ndarray", "function", "method",
               "torch", "numpy", "builtin_function_or_method"}  # fmt: skip


class StudentError(Exception):
    """The student's code or artifact did not do its part; `kind` says how, the text is for the student to read.

    Kinds: missing, unanswered, raised, timeout, exited, not-plain, too-large, artifact, unexpected.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class TimeIsUp(BaseException):
    """Not an Exception, so that `except Exception` in a student's function does not catch it."""


class Student:
    """A student's notebook in this process: its global names and the folder that holds it.

    >>> student = Student({"double": lambda x: 2 * x})
    >>> student.call("double", 2.0)
    4.0
    """

    def __init__(self, namespace: dict[str, Any], folder: str | os.PathLike = ".", seconds: float = 30) -> None:
        self._namespace = namespace
        self._folder = Path(folder)
        self._seconds = seconds  # of processor time, for one call
        self._objects: list[Any] = []
        self._options: dict | None = None  # of the next call, if it is to be watched
        self._seen: dict = {}

    def call(self, function: str | Ref, *args: Any, **kwargs: Any) -> Any:
        """What the student's function (or callable Ref) returns: a plain value, or a Ref when it is not plain."""
        target = self._resolve(function) if isinstance(function, Ref) else self._find(function)
        name = function.kind if isinstance(function, Ref) else function
        if not callable(target):
            raise StudentError("missing", f"`{name}` is not a function: keep the name for the function asked for.")
        return self._outgoing(name, self._run(name, target, args, kwargs))

    def watch(self, forbidden: list[str], gradient: list[int | str], seed: int) -> None:
        """Has the next call watched (see `observe.Observer`)."""
        self._options = {"forbidden": forbidden, "gradient": gradient, "seed": seed}

    def seen(self) -> dict:
        """What the last watched call did beside what it returned, and the `kind` of that, or of the variable got last."""
        return self._seen

    def get(self, name: str) -> Any:
        """The value of the student's variable `name`: a plain value, or a Ref when it is not plain."""
        found = self._find(name)
        self._seen = {"kind": kind_of(found)}
        return self._outgoing(name, found)

    def build(self, factory: str, *args: Any, **kwargs: Any) -> Ref:
        """An object made on the student's side by a library factory, written 'leaplm.module:function'."""
        make = _library_function(factory)
        return self._keep(make(*self._incoming(args), **self._incoming(kwargs)))

    def read(self, ref: Ref, probe: str, *args: Any, **kwargs: Any) -> Any:
        """The plain value that a library function, written 'leaplm.module:function', takes from a Ref's object."""
        look = _library_function(probe)
        try:
            with self._limit(), _silence():
                return plain(look(self._resolve(ref), *self._incoming(args), **self._incoming(kwargs)))
        except (Exception, SystemExit, TimeIsUp) as error:
            if ref.kind == "function" and isinstance(error, Exception):  # the look was a call of it
                name = self._resolve(ref).__name__
                raise StudentError("raised", f"`{name}` raised {_tell(error)}") from error
            asked = probe.partition(":")[2]
            raise StudentError("unexpected", f"Could not read `{asked}` of {describe(ref)}.") from error

    def artifact(self, name: str) -> bytes:
        """The bytes of `artifacts/<name>` beside the notebook: regular files only, never through a link."""
        check_artifact_name(name)
        try:
            return _read_regular_file(self._folder / ARTIFACTS / name)
        except FileNotFoundError:
            said = artifact_problem(name)
        except OSError as error:
            said = unreadable(name, error)
        raise StudentError("artifact", said)

    def _find(self, name: str) -> Any:
        if name not in self._namespace:
            raise StudentError("missing", f"`{name}` is not defined: answer its cell, then run it.")
        return self._namespace[name]

    def _run(self, name: str, target: Callable, args: tuple, kwargs: dict) -> Any:
        args, kwargs = self._incoming(args), self._incoming(kwargs)
        options, self._options = self._options, None
        try:
            with self._limit(), _silence():
                return target(*args, **kwargs) if options is None else self._observed(options, target, args, kwargs)
        except NotImplementedError as error:
            name = self._unanswered(error) or name
            raise StudentError("unanswered", f"`{name}` is not answered yet.") from error
        except TimeIsUp:
            message = f"`{name}` computed for over {self._seconds:g} s on a small input: is there a loop that never ends?"
            raise StudentError("timeout", message) from None
        except (SystemExit, KeyboardInterrupt) as error:
            raise StudentError("exited", f"`{name}` ended the program instead of returning a value.") from error
        except Exception as error:
            raise StudentError("raised", f"`{name}` raised {_tell(error)}") from error

    def _unanswered(self, error: NotImplementedError) -> str:
        """The notebook's function that raised it, which the one called may only have called in its turn; "" for others."""
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_globals is self._namespace]
        name = frames[-1].f_code.co_name if frames else ""
        return name if callable(self._namespace.get(name)) else ""

    def _limit(self) -> contextlib.AbstractContextManager:
        """The time limit of one call; raises TimeIsUp in the block."""
        return time_limit(self._seconds)

    def _observed(self, options: dict, target: Callable, args: tuple, kwargs: dict) -> Any:
        observer = Observer(options, args, kwargs, _enter.__code__)
        args, kwargs = observer.arguments(args, kwargs)
        with observer.watching():
            result = _enter(target, args, kwargs)
        self._seen = observer.tell(result)
        return result

    def _outgoing(self, name: str, value: Any) -> Any:
        try:
            return plain(value)
        except TooLarge as error:
            raise StudentError("too-large", f"`{name}` gave {error}: far more than was asked for.") from None
        except NotPlain:
            return self._keep(value)

    def _incoming(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(to_student(item, self._resolve) for item in value)
        return to_student(value, self._resolve)

    def _keep(self, value: Any) -> Ref:
        self._objects.append(value)
        return Ref(len(self._objects) - 1, type(value).__name__)

    def _resolve(self, ref: Ref) -> Any:
        return self._objects[ref.id]


def _enter(target: Callable, args: tuple, kwargs: dict) -> Any:
    """Calls the student's function: whatever is called from here, the answer has called."""
    return target(*args, **kwargs)


def check_artifact_name(name: str) -> None:
    if name != os.path.basename(name) or name in ("", ".", ".."):
        raise ValueError(f"artifact name {name!r} must be a plain file name")


def most_bytes(name: str) -> int:
    """How large an artifact of this name may be."""
    return MAX_ARTIFACT_BYTES if name.endswith(".safetensors") else MAX_TEXT_BYTES


def too_large(name: str) -> OSError:
    return OSError(f"it must be a file of at most {most_bytes(name) >> 20} MB")


def unreadable(name: str, error: OSError) -> str:
    return f"{ARTIFACTS}/{name} cannot be read: {error.strerror or error}."


def artifact_problem(name: str) -> str:
    return f"There is no {ARTIFACTS}/{name}: run the cell that saves it and hand it in with the notebook."


def only_tiny(name: str) -> str:
    return f"{ARTIFACTS}/{name} is of the scale tiny, only for trying code: run the lab at another scale and save again."


def _read_regular_file(path: Path) -> bytes:
    """The bytes of a file; OSError for a link, a folder, a pipe, or a file that is too large."""
    flags = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))  # not on every system
    fd = os.open(path, os.O_RDONLY | flags)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > most_bytes(path.name):
            raise too_large(path.name)
        with open(fd, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(fd)


def _library_function(path: str) -> Callable:
    module, _, name = path.partition(":")
    if module.split(".")[0] != "leaplm" or not name:
        raise ValueError(f"{path!r} must be written 'leaplm.module:function'")
    return getattr(importlib.import_module(module), name)


def _tell(error: Exception) -> str:
    """The error in words: its type, its message where that is safe, and the line of the student's own that raised."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first frame is this file's call
    own = [frame for frame in frames if not is_library(frame.filename)]
    line = (own[-1].line or "").strip() if own else ""
    text = type(error).__name__
    message = str(error).partition("\n")[0][:160]
    if isinstance(error, TELLING_ERRORS) and _is_telling(message, line) and not line.startswith(("raise", "assert")):
        text += f" ({message})"
    return f"{text} at the line `{line}`" if line else text


def _is_telling(message: str, line: str) -> bool:
    """Whether a message may be shown: what it quotes stands in the line or is a type, so is nothing made of an input."""
    quoted = re.findall(r"['\"`]([^'\"`]*)['\"`]", message)
    return bool(message) and all(word in line or word in KNOWN_NAMES for word in quoted)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Prints of the student's function would show the hidden inputs in the feedback."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@dataclass
class Clock:
    """How often a time limit has rung."""

    rang: int = 0


HELD: list[bool] = []  # one for each block that no limit breaks off; True: one would have


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """A time limit that rings in this block raises at its end: half of a message read is worse than a late end."""
    HELD.append(False)
    try:
        yield
    finally:
        rang = HELD.pop()
    if rang:
        raise TimeIsUp


@contextlib.contextmanager
def time_limit(seconds: float, most_rings: float = math.inf, by_clock: float | None = None) -> Iterator[Clock]:
    """Raises TimeIsUp in the block after `seconds` of processor time, or `by_clock` (PATIENCE times as many) of the clock.

    So a busy machine fails no honest answer, and sleeping does not last for ever. It rings again each second, for code
    that catches everything; after `most_rings` it ends the process. Needs Unix signals and the main thread; elsewhere
    only the time limit of the cell holds.
    """
    clock = Clock()
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield clock
        return

    running = True

    def ring(signum: int, frame: Any) -> None:
        if not running:  # the timers are being put away
            return
        clock.rang += 1
        if clock.rang > most_rings:
            os._exit(EXIT_UNSTOPPABLE)
        if HELD:
            HELD[-1] = True
            return
        raise TimeIsUp

    by_clock = by_clock or PATIENCE * seconds
    timers = ((signal.SIGPROF, signal.ITIMER_PROF, seconds), (signal.SIGALRM, signal.ITIMER_REAL, by_clock))
    before = [set_handler(number, ring) for number, _, _ in timers]
    for _, timer, limit in timers:
        signal.setitimer(timer, limit, 1.0)
    try:
        yield clock
    finally:
        running = False
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            set_handler(number, handler)
