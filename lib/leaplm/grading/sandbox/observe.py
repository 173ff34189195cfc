"""What an answer does beside what it returns: seen on the student's side, told as plain data, judged elsewhere.

For one call of a student's function: which arguments it changed, what it did to the global random state, to the modes
and gradients of models, whether gradients reach what must learn, and which forbidden functions it called (see `watch`).
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

import numpy as np

from leaplm.grading.sandbox.kinds import kind_of
from leaplm.grading.sandbox.watch import CallWatch

PLAIN = (bool, int, float, str, bytes, tuple, frozenset, type(None))  # nobody can change these


class Observer:
    """Watches one call; `seen` is what it tells afterwards.

    options: `forbidden`, dotted names of functions; `gradient`, places (position or keyword) of the arguments that a
    gradient must reach; `seed`, for the global random numbers during the call; afterwards they go on as before it.
    """

    def __init__(self, options: dict, args: tuple, kwargs: dict, entry: CodeType) -> None:
        self.places = {**dict(enumerate(args)), **kwargs}
        self.gradient = {place: self.places[place] for place in options["gradient"] if place in self.places}
        self.watch = CallWatch(options["forbidden"], entry)
        self.seed = options["seed"]
        self.forward: list[list[bool]] = []
        self.leaves: dict[Any, Any] = {}
        self.seen: dict = {}

    @property
    def models(self) -> dict[int | str, Any]:
        torch = sys.modules.get("torch")
        return {place: value for place, value in self.places.items() if torch and isinstance(value, torch.nn.Module)}

    def arguments(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The arguments for the call: tensors that a gradient must reach ask for it, through a leaf that we keep."""
        for place, value in self.gradient.items():
            if hasattr(value, "is_floating_point") and value.is_floating_point():
                self.leaves[place] = value.detach().requires_grad_()
        given = {place: leaf.clone() for place, leaf in self.leaves.items()}
        self.places.update(given)
        return (tuple(given.get(place, value) for place, value in enumerate(args)),
                {name: given.get(name, value) for name, value in kwargs.items()})  # fmt: skip

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """For the time of the call. What it left switched is put back, so that it does not disturb the next one."""
        undisturbed = global_random_states()
        before = {place: state_of(value) for place, value in self.places.items()}
        marks = {place: marks_of(model) for place, model in self.models.items()}
        expected = numbers_after(self.seed)
        seed_globals(self.seed)
        grad, loaded = grad_enabled(), len(sys.modules)
        with self._hooks(), self.watch.watching():
            yield
        drawn = next_numbers()
        if len(sys.modules) > loaded:  # a library that an answer imports may draw from Python's numbers while it loads
            expected.pop("random")
        self.seen = {
            "changed": [place for place, value in self.places.items() if not same(before[place], state_of(value))],
            "random": [name for name, numbers in expected.items() if numbers != drawn[name]],
            "models": [[place, old, marks_of(self.places[place])] for place, old in marks.items()],
            "forward": self.forward,
            "grad_left": "same" if grad == grad_enabled() else "on" if grad_enabled() else "off",
            "forbidden": sorted(self.watch.found),
        }
        set_grad_enabled(grad)
        restore_random_states(undisturbed)

    def tell(self, result: Any) -> dict:
        """All that was seen, with the kind of the result, how gradients flow from it, and which argument it is itself."""
        returned = [place for place, value in self.places.items() if value is result and not isinstance(value, PLAIN)]
        return {**self.seen, "kind": kind_of(result), "reached": self._reached(result), "returned": returned}

    @contextlib.contextmanager
    def _hooks(self) -> Iterator[None]:
        """Notes for each forward pass of a model among the arguments: [gradients on, training mode]."""
        if not self.models:
            yield
            return
        from torch.nn.modules.module import register_module_forward_pre_hook

        models = list(self.models.values())

        def note(module: Any, inputs: tuple) -> None:
            if any(module is model for model in models) and len(self.forward) < 1000:
                self.forward.append([grad_enabled(), bool(module.training)])

        handle = register_module_forward_pre_hook(note)
        try:
            yield
        finally:
            handle.remove()

    def _reached(self, result: Any) -> list:
        """The places in `gradient` that the gradient of the result reaches."""
        outputs = [tensor for tensor in tensors_in(result) if tensor.requires_grad]
        if not outputs:
            return []
        import torch

        total = sum(output.double().sum() for output in outputs)
        reached = []
        for place, value in self.gradient.items():
            targets = [self.leaves[place]] if place in self.leaves else learnable(value)
            found = torch.autograd.grad(total, targets, retain_graph=True, allow_unused=True) if targets else ()
            if any(gradient is not None for gradient in found):
                reached.append(place)
        return reached


def tensors_in(value: Any, depth: int = 0) -> list:
    """The tensors in a result, in lists, tuples and mappings too."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return [value]
    if depth > 3 or not isinstance(value, (list, tuple, Mapping)):
        return []
    items = value.values() if isinstance(value, Mapping) else value
    return [tensor for item in items for tensor in tensors_in(item, depth + 1)]


def learnable(value: Any) -> list:
    """The parameters of a model that training would change."""
    parameters = getattr(value, "parameters", None)
    return [parameter for parameter in parameters() if parameter.requires_grad] if callable(parameters) else []


def state_of(value: Any) -> Any:
    """A copy of what can be changed in a value: its numbers, items, weights. None for what is not looked into."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.nn.Module):
        return {name: tensor.detach().clone() for name, tensor in value.state_dict().items()
                if isinstance(tensor, torch.Tensor)}  # fmt: skip
    if torch is not None and isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return [(key, state_of(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [state_of(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return set(value)
    return value if isinstance(value, (bool, int, float, str)) else None


def same(first: Any, second: Any) -> bool:
    """Whether two states are the same, NaN included."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    if hasattr(first, "is_floating_point"):
        import torch

        return first.dtype == second.dtype and first.shape == second.shape and (torch.equal(first, second) or \
            torch.allclose(first, second, rtol=0, atol=0, equal_nan=first.is_floating_point()))  # fmt: skip
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    return first == second or first != first


def marks_of(model: Any) -> dict:
    """What a step may leave on a model: its mode, gradients, and which parameters may learn."""
    modes = {module.training for module in model.modules()}
    parameters = list(model.parameters())
    return {"mode": "mixed" if len(modes) > 1 else "train" if True in modes else "eval",
            "gradients": any(parameter.grad is not None for parameter in parameters),
            "learning": sum(parameter.requires_grad for parameter in parameters)}  # fmt: skip


def global_random_states() -> dict:
    """The states of the global sources of random numbers, by library."""
    states = {"random": random.getstate(), "numpy": np.random.get_state()}
    torch = sys.modules.get("torch")
    return states if torch is None else states | {"torch": torch.get_rng_state()}


def next_numbers() -> dict:
    """What the global sources of random numbers draw next, by library: it tells their states, many times as fast to read."""
    numbers = {"random": random.getrandbits(64), "numpy": np.random.bytes(8)}
    torch = sys.modules.get("torch")
    return numbers if torch is None else numbers | {"torch": torch.get_rng_state().numpy().tobytes()}


def numbers_after(seed: int) -> dict:
    """The `next_numbers` after this seed."""
    seed_globals(seed)
    return next_numbers()


def seed_globals(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        # torch.manual_seed would also put it by for each accelerator, with the text of a traceback: most of a short call
        sys.modules["torch"].default_generator.manual_seed(seed)


def restore_random_states(states: dict) -> None:
    random.setstate(states["random"])
    np.random.set_state(states["numpy"])
    if "torch" in states:
        sys.modules["torch"].set_rng_state(states["torch"])


def grad_enabled() -> bool:
    torch = sys.modules.get("torch")
    return bool(torch is not None and torch.is_grad_enabled())


def set_grad_enabled(on: bool) -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_grad_enabled(on)
