"""Which of some forbidden functions the code of a notebook calls while an answer runs.

Not its text is searched, but what runs is watched, in two ways. Python's profile hook sees every function and built-in
that is called, whatever name it was reached by, also one that was rebuilt from the same code or run again from its
source. Torch tells of all its operators, methods and modules. What a library does inside itself does not count: a model's
own forward pass may compute a cross-entropy. So each call is followed back to who made it. And a student who types the
same lines as the library has done the work.

What was compiled by `torch.jit` before the call is not seen.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FrameType
from typing import Any

import leaplm

# What these do inside themselves is their own affair; other libraries only pass a call on (partial, map, nn.Module).
OPAQUE = ("leaplm", "transformers", "peft", "datasets", "sklearn", "accelerate", "tokenizers")
LIBRARIES = (os.path.dirname(os.__file__), os.path.dirname(leaplm.__file__), "<frozen ")
TAMPERING = "the watching of calls was switched off"


def is_library(filename: str) -> bool:
    """Whether code of this file is a library's, not a notebook's."""
    return "site-packages" in filename or filename.startswith(LIBRARIES)


class CallWatch:
    """Watches for calls of functions, given by dotted names where the last part may hold `*`; `found` says which came.

        with CallWatch(["torch.nn.functional.*cross_entropy*"], entry) as watch:
            answer(logits, labels)
        watch.found    # {"torch.nn.functional.cross_entropy"}

    `entry` is the code that calls the answer: what it calls itself counts as the answer's.
    """

    def __init__(self, names: Iterable[str], entry: CodeType) -> None:
        names = tuple(names)
        self.found: set[str] = set()
        self._entry = entry
        self._sought = sought(names)
        self._builtins, self._passed = self._sought.names, self._sought.passed
        self._patterns = [name for name in names if name.startswith("torch.")]

    @contextlib.contextmanager
    def watching(self) -> Iterator[CallWatch]:
        hook, before = self._event, sys.getprofile()
        with self._watching_torch():
            threading.setprofile(hook)
            sys.setprofile(hook)
            try:
                yield self
            finally:
                if sys.getprofile() != hook:
                    self.found.add(TAMPERING)
                sys.setprofile(before)
                threading.setprofile(None)

    def _event(self, frame: FrameType, event: str, arg: Any) -> None:
        """What comes for each call, and for each return: of thousands, few go further than one look."""
        if event == "c_call":
            if arg.__name__ in self._builtins:
                self._note_builtin(frame, arg)
        elif event == "call" and id(frame.f_code) not in self._passed:
            name = self._sought.of_code(frame.f_code)
            if name and self._is_the_answers(frame.f_back):
                self.found.add(name)

    def _note_builtin(self, frame: FrameType, called: Any) -> None:
        if called in (sys.setprofile, sys.getprofile) and frame.f_code not in OURS and self._is_the_answers(frame):
            self.found.add(TAMPERING)
        for builtin, name in self._sought.builtins:
            if is_same_builtin(called, builtin) and self._is_the_answers(frame):
                self.found.add(name)

    def _is_the_answers(self, frame: FrameType | None) -> bool:
        """Whether the code of a notebook, or of the answer's caller, made a call; through other libraries or not."""
        while frame is not None:
            if frame.f_code is self._entry or not is_library(frame.f_code.co_filename):
                return True
            if str(frame.f_globals.get("__name__")).partition(".")[0] in OPAQUE and frame.f_code not in OURS:
                return False
            frame = frame.f_back
        return False

    def _watching_torch(self) -> contextlib.AbstractContextManager:
        if not self._patterns:
            return contextlib.nullcontext()
        from torch.overrides import TorchFunctionMode

        watch = self

        class Watching(TorchFunctionMode):
            def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
                watch.note_torch(function, sys._getframe(1))
                return function(*args, **(kwargs or {}))

        OURS.add(Watching.__torch_function__.__code__)
        return Watching()

    def note_torch(self, function: Any, caller: FrameType) -> None:
        """A function, method or operator of torch was called: by its plain name it is one of ours, or none."""
        plain = str(getattr(function, "__name__", "")).partition(".")[0].strip("_").removeprefix("special_")
        for pattern in self._patterns:
            if fnmatch.fnmatchcase(plain, pattern.rpartition(".")[2]) and self._is_the_answers(caller):
                self.found.add(f"{pattern.rpartition('.')[0]}.{plain}")


class Sought:
    """What a watch looks for, given by dotted names, and which code was seen to be something else."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.builtins: list[tuple[Any, str]] = []
        self.names = {"setprofile", "getprofile"}  # of built-ins
        self.passed: dict[int, CodeType] = {}  # not looked for, by its id; it is kept, so that the id is not used again
        self._codes: dict[Any, str] = {}  # fingerprint of code -> name
        for name in names:
            for found, thing in resolve(name):
                self._add(found, thing)

    def _add(self, name: str, thing: Any) -> None:
        if isinstance(thing, type):
            members = [member for member in vars(thing).values() if inspect.isfunction(member)]
        else:
            members = [inspect.unwrap(thing)]
        for member in members:
            if inspect.isfunction(member):
                self._codes[fingerprint(member.__code__)] = name
            else:
                self.builtins.append((member, name))
                self.names.add(getattr(member, "__name__", None))

    def of_code(self, code: CodeType) -> str | None:
        """The name of what is looked for if this is its code, typed by nobody."""
        not_typed = is_library(code.co_filename) or code.co_filename == "<string>"  # of exec and eval
        name = self._codes.get(fingerprint(code)) if not_typed else None
        if name is None:
            self.passed[id(code)] = code
        return name


@functools.cache
def sought(names: tuple[str, ...]) -> Sought:
    """What these names stand for, found once for all calls of a function: that takes longer than most of the calls."""
    return Sought(names)


OURS: set[CodeType] = {CallWatch.watching.__wrapped__.__code__}


def resolve(name: str) -> list[tuple[str, Any]]:
    """The functions and classes that a dotted name stands for, with their full names; LookupError if there are none.

    >>> sorted(name.rpartition(".")[2] for name, _ in resolve("torch.nn.functional.*nll_loss"))
    ['gaussian_nll_loss', 'nll_loss', 'poisson_nll_loss']
    """
    holder, _, last = name.rpartition(".")
    place = _import(holder)
    found = [(f"{holder}.{key}", value) for key, value in vars(place).items()
             if fnmatch.fnmatchcase(key, last) and callable(value)]  # fmt: skip
    if not found and not hasattr(place, last):
        raise LookupError(f"there is no {name}")
    return found or [(name, getattr(place, last))]


def _import(path: str) -> Any:
    """A module, or a class in one, by its dotted name."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        holder, _, last = path.rpartition(".")
        if not holder:
            raise LookupError(f"there is no {path}") from None
        return getattr(_import(holder), last)


def fingerprint(code: CodeType) -> tuple:
    """What stays the same when a function's source is run again, renamed, or rebuilt from its code."""
    constants = tuple(fingerprint(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts[1:])
    return code.co_code, code.co_names, constants  # the first constant is the docstring, or None


def is_same_builtin(called: Any, forbidden: Any) -> bool:
    if called is forbidden:
        return True
    if not isinstance(called, BuiltinFunctionType) or getattr(forbidden, "__name__", "") != called.__name__:
        return False
    return isinstance(called.__self__, getattr(forbidden, "__objclass__", ()))
