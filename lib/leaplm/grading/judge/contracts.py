"""Contracts: what holds for an answer beside its numbers, declared once beside its check and enforced for all alike.

    @check(points=2, contract=Contract("logits labels", Tensor("float", dims=0), gradient="logits",
                                       forbids="torch.nn.functional.*cross_entropy*"))
    def cross_entropy(student, rng): ...

    @check(points=3, contract={"make": Contract("size", Object("Linear")), "cost": Contract("size", Number())})
    def two_functions(student, rng): ...

    @check(points=6, contract=NOTHING_CALLED)        # it reads a handed-in file only
    def sentiment(student, rng): ...

A breach costs half of the points; own work that is not one's own costs all of them. The message names one breach.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

import leaplm
from leaplm.grading.judge.returns import Anything, Kind, has_graph, name_of
from leaplm.grading.sandbox.values import Exact
from leaplm.grading.sandbox.watch import TAMPERING


@dataclass(frozen=True)
class Seeded:
    """Random by a seed among the arguments (its position or keyword): equal seeds, equal results; another seed, others."""

    argument: int | str


@dataclass(frozen=True)
class FromGenerator:
    """Random by a generator among the arguments (position or keyword), and by nothing else."""

    argument: int | str


# Random numbers of the whole program: not to be touched; the same, but what one call found a later one may set again; may be
# used; are what makes the result random.
UNTOUCHED, RESTORED, FREE, GLOBAL = "untouched", "restored", "free", "global"


@dataclass(frozen=True)
class Contract:
    """What holds for one function of an answer.

    arguments     their names as in the docstring, in order; for messages, and to name them below
    returns       the kind of the result
    gradient      names of arguments that a gradient from the result must reach (models: their weights); "none": the
                  result must hold no graph; None: no demand
    changes       names of arguments that it may change in place
    random        UNTOUCHED, RESTORED, FREE, GLOBAL, Seeded(place) or FromGenerator(place); a function that leaves random
                  numbers UNTOUCHED and changes no argument must give the same result when it is called again
    mode          of the models among the arguments afterwards: "same", "train", "eval" or "any"
    forward       what must be while a model runs forward: any of "train", "eval", "grad", "no_grad"
    leaves        what it may leave on a model: any of "gradients", "frozen" (which weights learn)
    forbids       dotted names of functions that the exercise forbids; the last part may hold `*`
    own           the same for the library's functions of the same thing, beside those that have the answer's name
    fresh         whether the result must be a new object: none of the arguments itself
    arrays        what arrays of the check become: "float32" tensors, "float64" ones, or "numpy"
    """

    arguments: str
    returns: Kind = Anything()
    gradient: str | None = None
    changes: str = ""
    random: str | Seeded | FromGenerator = UNTOUCHED
    mode: str = "same"
    forward: str = ""
    leaves: str = ""
    forbids: str = ""
    own: str = ""
    fresh: bool = False
    arrays: str = "float32"

    def __post_init__(self) -> None:
        names = set(self.arguments.split())
        named = set(self.changes.split()) | (set() if self.gradient in (None, "none") else set(self.gradient.split()))
        if named - names:
            raise ValueError(f"the contract speaks of {', '.join(sorted(named - names))}, not among its arguments")
        if self.arrays not in ("float32", "float64", "numpy") or self.mode not in ("same", "train", "eval", "any"):
            raise ValueError(f"arrays={self.arrays!r}, mode={self.mode!r}")

    @cached_property
    def must_reach(self) -> list[str]:
        return [] if self.gradient in (None, "none") else self.gradient.split()

    def options(self, name: str, seed: int) -> tuple[list[str], list[int | str], int]:
        """What `Student.watch` is told for a call of `name`."""
        forbidden = [*self.forbids.split(), *self.own.split(), *library_functions(name)]
        return forbidden, [place for name in self.must_reach for place in (self.arguments.split().index(name), name)], seed

    def argument(self, place: int | str) -> str:
        """The name of an argument by its position or keyword."""
        names = self.arguments.split()
        return names[place] if isinstance(place, int) and place < len(names) else str(place)

    def given(self, value: Any) -> Any:
        """What the check passes, as the notebook's own call would: arrays become what `arrays` says, torch's stay."""
        if hasattr(value, "detach"):
            return Exact(value.detach().numpy(), as_tensor=True)
        if isinstance(value, np.ndarray):
            if self.arrays == "float32" and value.dtype == np.float64:
                value = value.astype(np.float32)
            return Exact(value, as_tensor=self.arrays != "numpy")
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(self.given(item) for item in value)
        return {key: self.given(item) for key, item in value.items()} if isinstance(value, dict) else value

    def breaches(self, name: str, seen: dict) -> Iterable[Breach]:
        """Every way in which a call broke the contract, the gravest first."""
        yield from self._own_work(name, seen["forbidden"])
        yield from self._result(name, seen["kind"], seen["reached"])
        if self.fresh and seen["returned"]:
            yield Breach(f"`{name}` returns its argument `{self.argument(seen['returned'][0])}` itself, where a new one is "
                         "asked for: who changes one changes both.")  # fmt: skip
        yield from self._arguments(name, seen["changed"], [place for place, _, _ in seen["models"]])
        yield from self._models(name, seen["models"], seen["forward"])
        yield from self._globals(name, seen["random"], seen["grad_left"])

    def _own_work(self, name: str, called: list[str]) -> Iterable[Breach]:
        for function in called:
            if function == TAMPERING:
                yield Breach(f"`{name}` switched off the watching of calls (`sys.setprofile`): leave it on.", fatal=True)
            elif function.startswith("leaplm."):
                yield Breach(f"`{name}` calls the library's own `{function}`: write it yourself.", fatal=True)
            else:
                yield Breach(f"`{name}` calls `{function}`, which this exercise asks you to do without.", fatal=True)

    def _result(self, name: str, told: dict, reached: list) -> Iterable[Breach]:
        if problem := self.returns.problem(told):
            yield Breach(f"`{name}` should return {problem}, not {name_of(self.returns.culprit(told))}.", explains=True)
            return
        if has_graph(told) and (self.gradient == "none" or not self.returns.may_have_graph):
            yield Breach(f"what `{name}` returns still holds the graph of the computation, and all its memory: "
                         "use `.item()` for a number, `torch.no_grad()` or `.detach()` for a tensor.")  # fmt: skip
        missing = [argument for argument in self.must_reach if not self._names_one(argument, reached)]
        if missing:
            yield Breach(f"no gradient flows from the result of `{name}` back to `{missing[0]}`, so nothing can learn: is "
                         "`.item()`, `.detach()`, `float()`, `torch.tensor()` or `no_grad` in between?")  # fmt: skip

    def _names_one(self, argument: str, places: list) -> bool:
        return any(self.argument(place) == argument for place in places)

    def _arguments(self, name: str, changed: list, models: list) -> Iterable[Breach]:
        for place in changed:
            if self.argument(place) in self.changes.split():
                continue
            if place in models:
                yield Breach(f"after `{name}` the weights of `{self.argument(place)}` should be those that it had before.")
            else:
                yield Breach(f"`{name}` changes its argument `{self.argument(place)}`, which the caller still needs: "
                             "work on a copy.")  # fmt: skip

    def _models(self, name: str, models: list, forward: list) -> Iterable[Breach]:
        for place, before, after in models:
            model = self.argument(place)
            wanted = before["mode"] if self.mode == "same" else self.mode
            if self.mode != "any" and after["mode"] != wanted:
                yield Breach(f"after `{name}` the model `{model}` should be in mode `{wanted}()`, not "
                             f"`{after['mode']}()`.")  # fmt: skip
            if "frozen" not in self.leaves and after["learning"] != before["learning"]:
                yield Breach(f"`{name}` changes which weights of `{model}` may learn (`requires_grad`).")
            if "gradients" not in self.leaves and after["gradients"] and not before["gradients"]:
                yield Breach(f"`{name}` leaves gradients on `{model}`: the next step would add to them.")
        yield from self._forward(name, forward)

    def _forward(self, name: str, forward: list) -> Iterable[Breach]:
        wanted = [part.strip() for part in self.forward.split(",")]
        grads, modes = {grad for grad, _ in forward}, {training for _, training in forward}
        if "no_grad" in wanted and True in grads:
            yield Breach(f"`{name}` runs the model with gradients on: `torch.no_grad()` saves time and memory.")
        if "grad" in wanted and False in grads:
            yield Breach(f"`{name}` runs the model with gradients off, so it cannot learn.")
        if ("eval" in wanted and True in modes) or ("train" in wanted and False in modes):
            mode = "eval" if "eval" in wanted else "train"
            yield Breach(f"`{name}` runs the model in the wrong mode: call `.{mode}()` before, since dropout depends on it.")

    def _globals(self, name: str, touched: list, grad_left: str) -> Iterable[Breach]:
        alone = self.random in (UNTOUCHED, RESTORED) or isinstance(self.random, FromGenerator)
        if touched and alone:
            yield Breach(f"`{name}` draws from, or seeds, the random numbers of the whole program (`{touched[0]}`): "
                         "other results would change with it.")  # fmt: skip
        if grad_left == "off":
            yield Breach(f"`{name}` leaves gradients switched off for the rest of the program: "
                         "use `with torch.no_grad():`.")  # fmt: skip
        if grad_left == "on":
            yield Breach(f"`{name}` leaves gradients switched on for the rest of the program: "
                         "use `with torch.enable_grad():`.")  # fmt: skip


@dataclass(frozen=True)
class Breach:
    """One way in which an answer broke its contract; `fatal` ones cost all points.

    One that `explains` may be the cause of wrong numbers, and is named alone then.
    """

    message: str
    fatal: bool = False
    explains: bool = False


NOTHING_CALLED: dict[str, Contract] = {}  # of a check that calls no function of the student's


@cache
def library_functions(name: str) -> list[str]:
    """The dotted names of the library's functions and classes called `name`; of commands, grader and checks none.

    >>> library_functions("warmup_linear")
    ['leaplm.training.warmup_linear']
    """
    root, apart = Path(leaplm.__file__).parent, ("cli", "grading", "learner")
    pattern = re.compile(rf"^(?:(?:async )?def|class) {re.escape(name)}\b", re.M)
    return [".".join(["leaplm", *path.relative_to(root).with_suffix("").parts]).removesuffix(".__init__") + f".{name}"
            for path in sorted(root.rglob("*.py")) if path.relative_to(root).parts[0] not in apart
            and pattern.search(path.read_text(encoding="utf-8"))]  # fmt: skip
