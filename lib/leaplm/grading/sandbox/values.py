"""Plain values: the only things that cross between a check and a student's code.

Plain are None, bool, int, float, str, numpy arrays of numbers or booleans, lists and dicts (keys str or int) of plain
values. To the student's side also go tuples and sets, which stay such, and arrays, which become torch tensors unless
`Exact` says otherwise. Tensors, arrays, tuples and mappings that come back turn into arrays, lists and dicts; what they
were is told apart from them (see `kinds`). Everything is copied both ways, so neither side can change the other's objects
later, and exact built-in types come out, so a subclass with an `__eq__` of its own cannot fool a comparison.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from leaplm.grading.texts import writable

MAX_BYTES = 64 * 2**20  # of all arrays and strings in one value
MAX_ITEMS = 200_000  # of all lists and dicts in one value
MAX_DEPTH = 12
WHOLE = range(-(2**63), 2**64)  # larger ones can be chosen so that a set of them takes hours to make
NUMBERS = "biuf"  # kinds of arrays


class NotPlain(TypeError):
    """A value that cannot cross: an object, an array of objects, or something too large or too deep."""


class TooLarge(NotPlain):
    """A plain value above the limits of size, depth or numbers."""


@dataclass(frozen=True)
class Ref:
    """A name for an object that stays in the student's process; pass it back to `student.call` and `student.read`."""

    id: int
    kind: str  # the class name, for messages only


@dataclass(frozen=True, eq=False)
class Exact:
    """An array for the student's side that arrives as it is, `as_tensor` or as a numpy array, of the same dtype."""

    array: np.ndarray
    as_tensor: bool


def plain(value: Any, text: Callable[[str], str] = str.__str__) -> Any:
    """A copy of `value` made of plain values only; raises NotPlain (or TooLarge) when it holds anything else.

    `text` is what becomes of its strings.

    >>> plain((1, {"a": np.float32(0.5)}))
    [1, {'a': 0.5}]
    """
    return _Copier(text).copy(value, depth=0)


def whole(number: int) -> int:
    """The number; TooLarge for one that 64 bits do not hold."""
    if number not in WHOLE:
        raise TooLarge("a whole number of more than 64 bits")
    return number


def to_student(value: Any, resolve: Callable[[Ref], Any]) -> Any:
    """The student's side of a value: arrays become torch tensors (same dtype), Refs the objects they name.

    >>> to_student({"pair": (1, 2), "seen": {3}}, resolve=None)
    {'pair': (1, 2), 'seen': {3}}
    """
    if isinstance(value, Ref):
        return resolve(value)
    if isinstance(value, np.ndarray):
        value = Exact(value, as_tensor=True)
    if isinstance(value, Exact):
        copied = np.array(value.array)  # the check's own array stays as it is
        return _tensor(copied) if value.as_tensor else copied
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(to_student(item, resolve) for item in value)
    if isinstance(value, dict):
        return {key: to_student(item, resolve) for key, item in value.items()}
    return plain(value)


def _tensor(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(array)


class _Copier:
    """Copies one value and counts what it has copied."""

    def __init__(self, text: Callable[[str], str]) -> None:
        self.text = text
        self.bytes = 0
        self.items = 0

    def copy(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise TooLarge(f"nested deeper than {MAX_DEPTH} levels")
        self._spend(items=1)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return whole(int.__index__(value))
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, str):
            self._spend(size=len(value))
            return self.text(str.__str__(value))
        return self._copy_container(value, depth)

    def _copy_container(self, value: Any, depth: int) -> Any:
        torch = sys.modules.get("torch")  # a process without torch has no tensors either
        if torch is not None and isinstance(value, torch.Tensor):
            return self._array(_tensor_to_numpy(value))
        if isinstance(value, np.generic):
            return self._array(np.asarray(value)).item()
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, (list, tuple)):
            return [self.copy(item, depth + 1) for item in value]
        if isinstance(value, Mapping):
            return {self._key(key): self.copy(item, depth + 1) for key, item in value.items()}
        raise NotPlain(f"an object of type `{type(value).__name__}`")

    def _array(self, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind not in NUMBERS:
            raise NotPlain(f"an array of dtype {array.dtype}")
        self._spend(size=array.nbytes)
        return np.array(array, subok=False)

    def _key(self, key: Any) -> str | int:
        if isinstance(key, (str, int, np.integer)) and not isinstance(key, bool):
            return self.copy(key, depth=0)
        raise NotPlain(f"a dict with a key of type {type(key).__name__}")

    def _spend(self, *, size: int = 0, items: int = 0) -> None:
        self.bytes += size
        self.items += items
        if self.bytes > MAX_BYTES or self.items > MAX_ITEMS:
            raise TooLarge(f"more than {MAX_BYTES >> 20} MB or {MAX_ITEMS:,} items")


def _tensor_to_numpy(tensor: Any) -> np.ndarray:
    torch = sys.modules["torch"]
    if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_meta:
        raise NotPlain(f"a {tensor.layout} tensor of {tensor.dtype}")
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # numpy has no bfloat16
        tensor = tensor.float()
    return tensor.numpy()


def describe(value: Any) -> str:
    """What a plain value is, in words and without its content: 'an array of shape (2, 3)', 'a list of 4'."""
    if value is None:
        return "None"
    if isinstance(value, Ref):
        return f"an object of type `{value.kind}`"
    if isinstance(value, np.generic):  # an item of an array that has been taken apart
        value = value.item()
    if isinstance(value, np.ndarray):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}[type(value)]


def clean_text(text: Any, most: int) -> str:
    """Text from the student's side as it may be shown and written: at most `most` long, and each line one line.

    Terminal codes and control characters go, halves of letters become ?, ends of lines of other kinds become spaces.

    >>> clean_text("loss \\x1b[31mnan\\x00\\ud800\\u2028.", 40)
    'loss nan? .'
    """
    text = re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])", "", writable(str(text)[: 10 * most]))
    text = text.translate(SHOWN) if text.isascii() else "".join(map(_shown, text))
    return text if len(text) <= most else text[: most - 1] + "…"


JOINERS = "\u200c\u200d"  # letters of many scripts take another form by them


def _shown(char: str) -> str:
    if char.isprintable() or char in "\n\t" + JOINERS or unicodedata.category(char) == "Zs":  # of many widths, and no-break
        return char
    return " " if unicodedata.category(char)[0] == "Z" else ""


SHOWN = {code: _shown(chr(code)) for code in range(128)}  # of a plain English text, which takes six times as long one by one
