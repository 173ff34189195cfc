"""The handle that a check gets: each call of the student's code is held to its contract, and the breaches are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from leaplm.grading.judge.contracts import FREE, GLOBAL, RESTORED, UNTOUCHED, Breach, Contract, Seeded
from leaplm.grading.judge.returns import Anything, name_of, stranger_in
from leaplm.grading.sandbox.student import Student, StudentError
from leaplm.grading.sandbox.values import Ref

FIRST_SEED = 54_321  # of the global random numbers; none that an answer would set


class WatchedStudent:
    """A student handle that holds each call to its contract, and keeps the breaches; else as `Student`."""

    def __init__(self, student: Student, contracts: Mapping[str, Contract]) -> None:
        self._student = student
        self._contracts = contracts
        self._made: dict[int, tuple[str, tuple, dict]] = {}  # Ref -> how it was built, to build its like again
        self._tried: set[str] = set()  # whose randomness, or whose second call, is known
        self._reads: dict[int, list[tuple[tuple, dict]]] = defaultdict(list)  # Ref -> what probes did to it, in order
        self._makers: dict[int, str] = {}  # Ref -> the function that returned it
        self._calls = 0
        self.breaches: list[Breach] = []
        self.artifact = student.artifact

    def call(self, function: str | Ref, *args: Any, **kwargs: Any) -> Any:
        """As `Student.call`, under the contract of the function, or of "()" after the maker's name for what it returned."""
        name = self._makers.get(function.id, function.kind) if isinstance(function, Ref) else function
        contract = self._contract(f"{name}()" if isinstance(function, Ref) else name)
        self._calls += 1
        value = self._watched(contract, function, name, args, kwargs, 0 if contract.random == RESTORED else self._calls)
        if name in self._tried or contract.random == FREE:
            return value
        self._tried.add(name)
        if contract.random not in (UNTOUCHED, RESTORED):
            self._try_randomness(contract, function, name, args, kwargs)
        elif isinstance(function, str) and not contract.changes and not self.breaches:
            self._try_again(contract, name, args, kwargs, value)
        return value

    def read(self, ref: Ref, *args: Any, **kwargs: Any) -> Any:
        """As `Student.read`."""
        self._reads[ref.id].append((args, kwargs))
        return self._student.read(ref, *args, **kwargs)

    def get(self, name: str) -> Any:
        """As `Student.get`; a variable is of the kind that its contract says, a function comes as it is."""
        contract = self._contract(name)
        value = self._student.get(name)
        told = self._student.seen()["kind"]
        if told["is"] == "object" and told["callable"] is True:
            return value
        if problem := contract.returns.problem(told):
            raise StudentError("unexpected", f"`{name}` should be {problem}, not {name_of(told)}.")
        return contract.returns.value(value)

    def build(self, factory: str, *args: Any, **kwargs: Any) -> Ref:
        ref = self._student.build(factory, *args, **kwargs)
        self._made[ref.id] = (factory, args, kwargs)
        return ref

    def _contract(self, name: str) -> Contract:
        if name not in self._contracts:
            raise LookupError(f"the check calls {name}, for which it has no contract")
        return self._contracts[name]

    def _watched(self, contract: Contract, function: Any, name: str, args: tuple, kwargs: dict, seed: int) -> Any:
        self._student.watch(*contract.options(name, FIRST_SEED + seed))
        value = self._student.call(function, *map(contract.given, args), **contract.given(kwargs))
        seen = self._student.seen()
        found = list(contract.breaches(name, seen))
        self.breaches += [breach for breach in found if breach not in self.breaches]
        if isinstance(value, Ref):
            self._makers[value.id] = name
        if contract.returns.problem(seen["kind"]):
            return value
        if isinstance(value, Ref) and seen["kind"]["is"] != "object" and not isinstance(contract.returns, Anything):
            stranger = name_of(stranger_in(seen["kind"]))
            raise StudentError("not-plain", f"what `{name}` returns holds {stranger}: numbers, strings, lists and dicts "
                                            "may be in it.")  # fmt: skip
        return contract.returns.value(value)

    def _try_randomness(self, contract: Contract, function: Any, name: str, args: tuple, kwargs: dict) -> None:
        """Three more calls or so: the same seed twice, then others. The global seed is that, or another at each call."""
        def call(seed: int) -> Any:
            self._calls += 1
            changed = self._with_seed(contract.random, args, kwargs, seed)
            return self._watched(contract, function, name, *changed, seed if contract.random == GLOBAL else self._calls)

        first, again = call(0), call(0)
        others = (call(seed) for seed in (1, 2, 3))
        if not equal(first, again):
            self.breaches.append(Breach(f"`{name}` gives another result for the same seed: what else is random in it?"))
        elif all(equal(first, other) for other in others):
            self.breaches.append(Breach(f"`{name}` gives the same random numbers every time: is there a seed fixed inside?"))

    def _try_again(self, contract: Contract, name: str, args: tuple, kwargs: dict, value: Any) -> None:
        """The first call once more, with objects built anew: what a function keeps between two calls changes its result."""
        if isinstance(value, Ref) or not all(map(self._can_be_made_again, refs_in([args, kwargs]))):
            return
        try:
            again = self._watched(contract, name, name, *self._made_again([args, kwargs]), self._calls)
        except StudentError as error:
            again = error
        if not alike(value, again):
            self.breaches.append(Breach(f"`{name}` gives another result when it is called again with the same inputs: does "
                                        "it keep something between the calls (a global variable, a list as default)?"))

    def _can_be_made_again(self, ref: Ref) -> bool:
        _, args, kwargs = self._made.get(ref.id, (None, (ref,), {}))
        return not refs_in([args, kwargs, self._reads[ref.id]])

    def _made_again(self, given: Any) -> Any:
        """What the check passed, with each object in it built anew, and probed as the first was."""
        if isinstance(given, Ref):
            factory, args, kwargs = self._made[given.id]
            made = self._student.build(factory, *args, **kwargs)
            for args, kwargs in self._reads[given.id]:
                self._student.read(made, *args, **kwargs)
            return made
        if type(given) in (list, tuple):
            return type(given)(map(self._made_again, given))
        return {key: self._made_again(item) for key, item in given.items()} if isinstance(given, dict) else given

    def _with_seed(self, random: Any, args: tuple, kwargs: dict, seed: int) -> tuple[tuple, dict]:
        if random == GLOBAL:
            return args, kwargs
        place, given = random.argument, {**dict(enumerate(args)), **kwargs}
        given[place] = seed if isinstance(random, Seeded) else self._built_again(given[place], seed)
        return tuple(given[number] for number in range(len(args))), {name: given[name] for name in kwargs}

    def _built_again(self, ref: Ref, seed: int) -> Ref:
        factory, args, kwargs = self._made[ref.id]
        seeded = (args, kwargs | {"seed": seed}) if "seed" in kwargs else ((seed, *args[1:]), kwargs)
        return self.build(factory, *seeded[0], **seeded[1])


def equal(first: Any, second: Any) -> bool:
    """Whether two plain values are the same."""
    try:
        np.testing.assert_equal(first, second)
    except AssertionError:
        return False
    return True


def refs_in(given: Any) -> list[Ref]:
    """All Refs in what a check passes."""
    if isinstance(given, Ref):
        return [given]
    items = given.values() if isinstance(given, dict) else given if isinstance(given, (list, tuple, set)) else ()
    return [ref for item in items for ref in refs_in(item)]


def alike(first: Any, second: Any) -> bool:
    """Whether two plain values are the same, up to the rounding that another place in memory can bring.

    >>> alike({"loss": 0.3}, {"loss": 0.1 + 0.2}), alike([1.0], [1.0, 1.0])
    (True, False)
    """
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(alike(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(alike, first, second))
    if isinstance(first, (float, np.ndarray)) and isinstance(second, (float, np.ndarray)):
        same_shape = np.shape(first) == np.shape(second)
        return same_shape and bool(np.allclose(first, second, rtol=1e-4, atol=1e-6, equal_nan=True))
    return equal(first, second)
