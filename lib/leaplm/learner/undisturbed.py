"""A mark leaves the notebook as it was: random numbers, names, modes of models, open figures, settings.

What is put back: the global random states, the names of the notebook, the content of its lists, dicts, sets, arrays and
tensors up to a size, the mode of its models with what may learn and has a gradient, torch's switches, the environment, the
working folder, and figures that an answer opened. The weights of a notebook's own models are not copied: they may be large.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from leaplm.grading.sandbox.observe import global_random_states, restore_random_states

MOST_ITEMS, MOST_NUMBERS = 10_000, 250_000  # of one value; larger ones are not copied


@contextlib.contextmanager
def undisturbed(namespace: dict[str, Any]) -> Iterator[None]:
    """Puts back, at the end of the block, what the block changed of a notebook's state.

    >>> names = {"rows": [1, 2]}
    >>> with undisturbed(names):
    ...     names["rows"].append(3)
    >>> names
    {'rows': [1, 2]}
    """
    names, states, folder, environment = dict(namespace), global_random_states(), os.getcwd(), dict(os.environ)
    own = (value for name, value in names.items() if not name.startswith("_"))  # the others are Python's and IPython's
    returns = [put_back for value in own if (put_back := remember(value))]
    returns += [*torch_switches(), figures()]
    try:
        yield
    finally:
        for put_back in returns:
            put_back()
        for name in namespace.keys() - names.keys():
            del namespace[name]
        namespace.update(names)
        restore_environment(environment)
        os.chdir(folder)
        restore_random_states(states)


def remember(value: Any) -> Callable[[], None] | None:
    """How to give a value of the notebook its content again, or None for what cannot change or is too large."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.nn.Module):
        return remember_model(value)
    if torch is not None and isinstance(value, torch.Tensor):
        return remember_tensor(value)
    if isinstance(value, np.ndarray) and value.size <= MOST_NUMBERS and value.dtype != object:
        copied = value.copy()
        return (lambda: np.copyto(value, copied)) if value.flags.writeable else None
    if type(value) in (list, dict, set) and len(value) <= MOST_ITEMS:
        return remember_container(value)
    return None


def remember_container(value: list | dict | set) -> Callable[[], None]:
    copied = value.copy()

    def put_back() -> None:
        if value == copied if isinstance(value, set) else same_items(value, copied):
            return
        value.clear()
        value.extend(copied) if isinstance(value, list) else value.update(copied)

    return put_back


def same_items(first: list | dict, second: list | dict) -> bool:
    """Whether two lists or dicts hold the very same objects in the same order."""
    ours, theirs = (value.items() if isinstance(value, dict) else enumerate(value) for value in (first, second))
    return len(first) == len(second) and all(k == n and v is w for (k, v), (n, w) in zip(ours, theirs, strict=True))


def remember_tensor(value: Any) -> Callable[[], None] | None:
    import torch

    if value.numel() > MOST_NUMBERS or value.layout != torch.strided or value.is_meta:
        return None
    copied = value.detach().clone()

    def put_back() -> None:
        if not torch.equal(value.detach(), copied):
            with torch.no_grad():
                value.detach().copy_(copied)

    return put_back


def remember_model(model: Any) -> Callable[[], None]:
    """The mode of each part, which weights learn, and where there was no gradient."""
    modes = [(module, module.training) for module in model.modules()]
    learning = [(parameter, parameter.requires_grad, parameter.grad is None) for parameter in model.parameters()]

    def put_back() -> None:
        for module, training in modes:
            module.training = training
        for parameter, learns, had_none in learning:
            parameter.requires_grad_(learns) if parameter.is_leaf else None
            parameter.grad = None if had_none else parameter.grad

    return put_back


def torch_switches() -> list[Callable[[], None]]:
    """Gradients on or off, the default type of numbers, and the random states of a GPU in use."""
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    grad, kind = torch.is_grad_enabled(), torch.get_default_dtype()
    found = [lambda: torch.set_grad_enabled(grad), lambda: torch.set_default_dtype(kind)]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states = torch.cuda.get_rng_state_all()
        found.append(lambda: torch.cuda.set_rng_state_all(states))
    return found


def figures() -> Callable[[], None]:
    """Closes the figures that were opened since."""
    plt = sys.modules.get("matplotlib.pyplot")
    if plt is None:
        return lambda: None
    before = set(plt.get_fignums())
    return lambda: [plt.close(number) for number in set(plt.get_fignums()) - before] and None


def restore_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
