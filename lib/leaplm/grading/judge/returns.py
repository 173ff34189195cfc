"""Kinds of results that a contract can ask for: Tensor, Number, Record and the like, judged by what the student's side
tells of a value (see `sandbox.kinds`).

Every form that a Python user would call right fits: two numbers may come as a tuple, a list or an array. Only where
something must learn from a result it has to be a tensor.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

NUMBER_NAMES = {"int": "whole numbers", "float": "numbers with a fraction", "bool": "True and False"}


@dataclass(frozen=True)
class Kind:
    """A kind of result; `problem(told)` is None for one that fits (see `sandbox.kinds`), else what it should be."""

    may_have_graph = True

    def problem(self, told: dict) -> str | None:
        return None if self.fits(told) else self.wanted()

    def fits(self, told: dict) -> bool:
        return True

    def wanted(self) -> str:
        return "anything"

    def culprit(self, told: dict) -> dict:
        """The part of a misfit that is to blame: of a pair, the one number that is a string."""
        return told

    def value(self, value: Any) -> Any:
        """The value in the form that checks can rely on."""
        return value


@dataclass(frozen=True)
class Anything(Kind):
    """No demand: the check looks itself."""


@dataclass(frozen=True)
class Tensor(Kind):
    """A torch tensor. `dtype`: "float", "int" or "bool" for the whole family, or "int8" and the like; "int|bool" for two."""

    dtype: str | None = None
    dims: int | None = None

    def fits(self, told: dict) -> bool:
        return told["is"] == "tensor" and fits_dtype(told["dtype"], self.dtype) and self._fits_dims(told["shape"])

    def _fits_dims(self, shape: list) -> bool:
        return self.dims is None or len(shape) == self.dims or (self.dims == 0 and shape == [1])

    def problem(self, told: dict) -> str | None:
        if self.fits(told):
            return None
        right_form = told["is"] == "tensor" and self._fits_dims(told["shape"])
        return f"a tensor of {dtype_words(self.dtype)}" if right_form else self.wanted()

    def wanted(self) -> str:
        if self.dims is None:
            return "a tensor"
        return "a tensor with one number" if self.dims == 0 else f"a tensor of {self.dims} dimensions"


@dataclass(frozen=True)
class Numbers(Tensor):
    """Numbers in any form: a tensor, a numpy array, or lists of numbers."""

    def fits(self, told: dict) -> bool:
        if told["is"] in ("list", "tuple"):
            deeper = Numbers(self.dtype, None if self.dims is None else self.dims - 1)
            return self.dims != 0 and all(deeper.fits(item) for item in told["items"])
        if told["is"] in ("bool", "int", "float"):
            return self.dims in (None, 0) and fits_dtype(told["is"], self.dtype)
        return told["is"] in ("tensor", "array") and fits_dtype(told["dtype"], self.dtype) and self._fits_dims(told["shape"])

    def problem(self, told: dict) -> str | None:
        return None if self.fits(told) else self.wanted()

    def wanted(self) -> str:
        numbers = "numbers" if self.dtype is None else dtype_words(self.dtype)
        return numbers if self.dims is None else f"{numbers} in {self.dims} dimensions"


@dataclass(frozen=True)
class Number(Kind):
    """One number of Python, numpy or torch, which holds no graph. `whole`: without a fraction, and of such a type."""

    whole: bool = False
    may_have_graph = False

    def fits(self, told: dict) -> bool:
        kind = told["is"]
        if kind in ("tensor", "array"):
            return told["shape"] in ([], [1]) and fits_dtype(told["dtype"], "int" if self.whole else "int|float")
        return kind == "int" or (kind == "float" and not self.whole)

    def wanted(self) -> str:
        return "a whole number" if self.whole else "a number"

    def value(self, value: Any) -> Any:
        return value.item() if isinstance(value, (np.ndarray, np.generic)) and value.size == 1 else value


@dataclass(frozen=True)
class Bool(Kind):
    """True or False, of Python, numpy or torch."""

    may_have_graph = False

    def fits(self, told: dict) -> bool:
        array = told["is"] in ("tensor", "array") and told["dtype"] == "bool" and told["shape"] == []
        return array or told["is"] == "bool"

    def wanted(self) -> str:
        return "True or False"

    def value(self, value: Any) -> Any:
        return bool(value)


@dataclass(frozen=True)
class Text(Kind):
    """A string."""

    def fits(self, told: dict) -> bool:
        return told["is"] == "str"

    def wanted(self) -> str:
        return "a string"


@dataclass(frozen=True)
class Nothing(Kind):
    """None: the answer changes something and returns nothing."""

    def fits(self, told: dict) -> bool:
        return told["is"] == "none"

    def wanted(self) -> str:
        return "None"


@dataclass(frozen=True)
class Object(Kind):
    """An object that stays with the student, of a class or one derived from it, by its plain name; "callable" for any."""

    of: str

    def fits(self, told: dict) -> bool:
        return told["is"] == "object" and (self.of in told["bases"] or (self.of == "callable" and told["callable"] is True))

    def wanted(self) -> str:
        return "something that can be called" if self.of == "callable" else f"an object of type `{self.of}`"


@dataclass(frozen=True)
class ListOf(Kind):
    """A list or tuple (or array, if `items` are numbers) of items of one kind; `exact`: a list and nothing else."""

    items: Kind
    exact: bool = False

    def fits(self, told: dict) -> bool:
        if self.exact and told["is"] != "list":
            return False
        if told["is"] in ("array", "tensor"):
            return len(told["shape"]) > 0 and self.items.fits({**told, "shape": told["shape"][1:]})
        return told["is"] in ("list", "tuple") and all(self.items.fits(item) for item in told["items"])

    def wanted(self) -> str:
        return "a list" if self.items == Anything() else f"a list; in it, {self.items.wanted()} at each place"

    def culprit(self, told: dict) -> dict:
        items = told.get("items", ()) if told["is"] in ("list", "tuple") else ()
        return next((self.items.culprit(item) for item in items if not self.items.fits(item)), told)

    def value(self, value: Any) -> Any:
        return [self.items.value(item) for item in value]


@dataclass(frozen=True)
class Several(Kind):
    """A fixed number of things: a tuple, a list, or an array where all are numbers."""

    items: tuple[Kind, ...]

    def __init__(self, *items: Kind) -> None:
        object.__setattr__(self, "items", items)

    def problem(self, told: dict) -> str | None:
        if not self._has_length(told):
            return self.wanted()
        for place, (kind, item) in enumerate(zip(self.items, items_of(told), strict=True), 1):
            if problem := kind.problem(item):
                return f"{problem} at place {place}"
        return None

    def fits(self, told: dict) -> bool:
        return self.problem(told) is None

    def culprit(self, told: dict) -> dict:
        pairs = zip(self.items, items_of(told), strict=True) if self._has_length(told) else ()
        return next((kind.culprit(item) for kind, item in pairs if kind.problem(item)), told)

    def _has_length(self, told: dict) -> bool:
        length = told["shape"][0] if told["is"] in ("array", "tensor") and told["shape"] else told.get("length")
        return told["is"] in ("tuple", "list", "array", "tensor") and length == len(self.items)

    def wanted(self) -> str:
        return f"{len(self.items)} things, separated by commas"

    def value(self, value: Any) -> Any:
        return [kind.value(item) for kind, item in zip(self.items, value, strict=True)]


@dataclass(frozen=True)
class Record(Kind):
    """A mapping with at least these keys, each of its kind."""

    items: Mapping[str, Kind]

    def problem(self, told: dict) -> str | None:
        if told["is"] != "dict" or (missing := [key for key in self.items if key not in told["keys"]]):
            return self.wanted() if told["is"] != "dict" else f"a dict that also has the key `{missing[0]}`"
        kinds = dict(zip(told["keys"], told["items"], strict=True))
        for key, kind in self.items.items():
            if problem := kind.problem(kinds[key]):
                return f"{problem} under the key `{key}`"
        return None

    def fits(self, told: dict) -> bool:
        return self.problem(told) is None

    def culprit(self, told: dict) -> dict:
        kinds = dict(zip(told["keys"], told["items"], strict=True)) if told["is"] == "dict" else {}
        found = [kind.culprit(kinds[key]) for key, kind in self.items.items() if key in kinds and kind.problem(kinds[key])]
        return found[0] if found and set(self.items) <= set(kinds) else told

    def wanted(self) -> str:
        return f"a dict with `{', '.join(self.items)}`" if self.items else "a dict"

    def value(self, value: Any) -> Any:
        return {key: self.items[key].value(item) if key in self.items else item for key, item in value.items()}


@dataclass(frozen=True)
class MapOf(Kind):
    """A mapping with values of one kind."""

    items: Kind

    def fits(self, told: dict) -> bool:
        return told["is"] == "dict" and all(self.items.fits(item) for item in told["items"])

    def wanted(self) -> str:
        return "a dict" if self.items == Anything() else f"a dict; in it, {self.items.wanted()} for each key"

    def value(self, value: Any) -> Any:
        return {key: self.items.value(item) for key, item in value.items()}


@dataclass(frozen=True)
class Either(Kind):
    """One of several kinds."""

    kinds: tuple[Kind, ...]

    def __init__(self, *kinds: Kind) -> None:
        object.__setattr__(self, "kinds", kinds)

    def fits(self, told: dict) -> bool:
        return any(kind.fits(told) for kind in self.kinds)

    def wanted(self) -> str:
        return either(kind.wanted() for kind in self.kinds)


def fits_dtype(dtype: str, wanted: str | None) -> bool:
    """Whether a dtype ("int64") is one of `wanted` ("int|bool"): of the family, or exactly that."""
    return wanted is None or any(dtype == one or family(dtype) == one for one in wanted.split("|"))


def family(dtype: str) -> str:
    return re.sub(r"^b?(float|int|bool)\d*$", r"\1", dtype.removeprefix("u"))


def dtype_words(wanted: str) -> str:
    return either(NUMBER_NAMES.get(one, one) for one in wanted.split("|"))


def either(words: Iterable[str]) -> str:
    """The words joined, as parts that can be translated.

    >>> either(["a number", "None"])
    'a number or None'
    """
    return functools.reduce(lambda first, second: f"{first} or {second}", words)


def items_of(told: dict) -> list[dict]:
    """The kinds of the things in a tuple or a list, or of the rows of an array."""
    if told["is"] in ("array", "tensor"):
        return [{**told, "shape": told["shape"][1:]}] * told["shape"][0]
    return told["items"]


def stranger_in(told: dict) -> dict:
    """The first part of a list or the like that is no plain value, such as bytes; the whole where none is told."""
    inner = (stranger_in(item) for item in told.get("items", ()))
    return told if told["is"] == "object" else next((part for part in inner if part["is"] == "object"), told)


def name_of(told: dict) -> str:
    """What came, in words."""
    kind = told["is"]
    if kind in ("tensor", "array"):
        dtype = f"{told['dtype']} and shape {tuple(told['shape'])}" if told["shape"] else told["dtype"]
        return f"a tensor of {dtype}" if kind == "tensor" else f"a numpy array of {dtype}"
    if kind == "object":
        return f"an object of type `{told['class']}`"
    if kind in ("int", "float") and "dtype" in told:
        return f"a number of {told['dtype']}"
    return {"none": "None (is a `return` missing?)", "int": "a Python int", "float": "a Python float", "str": "a string",
            "bool": "True or False"}.get(kind) or f"a {kind} of {told['length']}"  # fmt: skip


def has_graph(told: dict) -> bool:
    return bool(told.get("graph")) or any(has_graph(item) for item in told.get("items", ()))
