"""Kinds: what a value is on the student's side, as plain data that crosses beside the value.

The transport turns tensors, arrays and numbers of all libraries into plain ones (see `values`). Whether a loss was a
tensor that a gradient can flow through, or a table of 64-bit numbers, is told here, and judged by `judge.contracts`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_ITEMS = 64  # told one by one; of a longer list, the kinds that occur in it
DEEPEST = 4


def kind_of(value: Any, depth: int = 0) -> dict:
    """The kind of a value: `is` says what it is; arrays have a dtype and a shape, containers the kinds of their items.

    >>> kind_of((1, np.float32(0.5)))
    {'is': 'tuple', 'length': 2, 'items': [{'is': 'int'}, {'is': 'float', 'dtype': 'float32'}]}
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return {"is": "tensor", "dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape),
                "graph": bool(value.requires_grad)}  # fmt: skip
    if isinstance(value, np.ndarray):
        return {"is": "array", "dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {"is": {"b": "bool", "f": "float"}.get(value.dtype.kind, "int"), "dtype": str(value.dtype)}
    for name, kind in (("bool", bool), ("int", int), ("float", float), ("str", str), ("none", type(None))):
        if isinstance(value, kind):
            return {"is": name}
    return _kind_of_container(value, depth)


def _kind_of_container(value: Any, depth: int) -> dict:
    names = {"tuple": tuple, "list": list, "set": (set, frozenset), "dict": Mapping}
    name = next((name for name, kind in names.items() if isinstance(value, kind)), "object")
    if name == "object":
        return {"is": name, "class": type(value).__name__, "bases": [base.__name__ for base in type(value).__mro__[:16]],
                "callable": callable(value)}  # fmt: skip
    told = {"is": name, "length": len(value)}
    if name == "dict":
        told["keys"] = [str(key) for key in list(value)[:MOST_ITEMS]]
    if depth < DEEPEST:
        told["items"] = _kinds(value.values() if name == "dict" else value, depth + 1)
    return told


def _kinds(items: Any, depth: int) -> list[dict]:
    """The items' kinds in order; of more than MOST_ITEMS, each kind that occurs, once, and MOST_ITEMS at most."""
    kinds = [kind_of(item, depth) for item in items]
    if len(kinds) > MOST_ITEMS:
        kinds = list({repr(kind): kind for kind in kinds}.values())
    return kinds[:MOST_ITEMS]
