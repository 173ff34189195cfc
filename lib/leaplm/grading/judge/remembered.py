"""What a model scored on held-out texts, remembered: the same weights, handed in twice, are not computed twice.

A class of copies, a second mark in the notebook, a notebook handed in again with the model of last week: each costs seconds
of computing for numbers that are known. An examiner and a learner's notebook keep the last few.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

MOST = 16  # results kept
_known: dict[tuple, Any] = {}  # by weights, data and computation; the oldest first


def scored_once(model: Any, held_out: str, compute: Callable[[], Any]) -> Any:
    """`compute()`, or what it gave before for a model (torch.nn.Module) of the same weights and the same `held_out` texts.

    >>> from torch import nn
    >>> model = nn.Linear(2, 1)
    >>> [scored_once(model, "eng", lambda: calls.append(1) or 0.9) for calls in [[]] for _ in range(2)]
    [0.9, 0.9]
    """
    key = (fingerprint(model), held_out, compute.__code__)
    if key not in _known:
        while len(_known) >= MOST:
            del _known[next(iter(_known))]
        _known[key] = compute()
    return _known[key]


def fingerprint(model: Any) -> str:
    """SHA-256 of all that decides a model's output: its kind and settings, its tensors by name, shape and type."""
    import torch

    found = hashlib.sha256(f"{type(model)} {getattr(model, 'config', model)}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()
