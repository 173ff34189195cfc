"""The handle that a check gets: each call of the student's code is held to its contract, and the breaches are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from leaplm.grading.judge.contracts import FREE, GLOBAL, UNTOUCHED, Breach, Contract, Seeded
from leaplm.grading.judge.returns import name_of
from leaplm.grading.sandbox.student import Student, StudentError
from leaplm.grading.sandbox.values import Ref

FIRST_SEED = 54_321  # of the global random numbers; none that an answer would set


class WatchedStudent:
    """A student handle that holds each call to its contract, and keeps the breaches; else as `Student`."""

    def __init__(self, student: Student, contracts: Mapping[str, Contract]) -> None:
        self._student = student
        self._contracts = contracts
        self._made: dict[int, tuple[str, tuple, dict]] = {}  # Ref -> how it was built, to build its like again
        self._tried: set[str] = set()  # whose randomness is known
        self._makers: dict[int, str] = {}  # Ref -> the function that returned it
        self._calls = 0
        self.breaches: list[Breach] = []
        self.artifact, self.read = student.artifact, student.read

    def call(self, function: str | Ref, *args: Any, **kwargs: Any) -> Any:
        """As `Student.call`, under the contract of the function, or of "()" after the maker's name for what it returned."""
        name = self._makers.get(function.id, function.kind) if isinstance(function, Ref) else function
        contract = self._contract(f"{name}()" if isinstance(function, Ref) else name)
        self._calls += 1
        value = self._watched(contract, function, name, args, kwargs, self._calls)
        if name not in self._tried:
            self._tried.add(name)
            if contract.random not in (UNTOUCHED, FREE):
                self._try_randomness(contract, function, name, args, kwargs)
            elif contract.random == UNTOUCHED and not contract.changes and not holds_ref([function, args, kwargs, value]):
                self._try_again(contract, name, args, kwargs, value)
        return value

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
        return value if contract.returns.problem(seen["kind"]) else contract.returns.value(value)

    def _try_again(self, contract: Contract, name: str, args: tuple, kwargs: dict, first: Any) -> None:
        """One more call with the same arguments and the same global numbers: nothing is kept from the one before."""
        if not alike(first, self._watched(contract, name, name, args, kwargs, self._calls)):
            self.breaches.append(Breach(f"`{name}` gives another result when it is called again with the same arguments: "
                                        "does it keep something from the call before, in a global variable or in the "
                                        "default value of an argument?"))  # fmt: skip

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


def alike(first: Any, second: Any) -> bool:
    """Whether two plain values are the same, but for the last digits of sums in another order.

    >>> alike({"mean": 0.3}, {"mean": 0.1 + 0.2}), alike([1, 2], [1]), alike("Kano", "Jos")
    (True, False, False)
    """
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(alike(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(alike, first, second))
    if isinstance(first, (float, np.ndarray)) and np.shape(first) == np.shape(second):
        return equal(first, second) or bool(np.allclose(first, second, rtol=1e-4, atol=1e-6, equal_nan=True))
    return equal(first, second)


def holds_ref(value: Any) -> bool:
    """Whether an object that stays with the student, which a call may change, is in a value.

    >>> holds_ref([1, {"model": Ref(3, "Linear")}]), holds_ref(("Kano", np.ones(2)))
    (True, False)
    """
    if isinstance(value, Mapping):
        value = list(value.values())
    return isinstance(value, Ref) or (isinstance(value, (list, tuple)) and any(map(holds_ref, value)))
