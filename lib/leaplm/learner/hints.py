"""Which known mistake an answer is: the wrong answer of the bank that gives the same results on the same inputs.

The bank's answers run in a copy of the notebook's names, as if typed there. What is compared is all that the check got to
see of them, and what it said: so a mistake is named only where nothing speaks against it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from leaplm.grading.judge.banks import Answer
from leaplm.grading.judge.checks import Check, Verdict, judge
from leaplm.grading.rebuild.plan import Names
from leaplm.grading.sandbox.student import TimeIsUp
from leaplm.learner.listener import Listener, until
from leaplm.locales import catalogs_of
from leaplm.translation import UNTRANSLATED, look_up

CLOSE = 1e-5
SLOWER, SHORTEST = 3, 0.2  # times, and seconds, that an entry of the bank may take


def find_mistake(
    check: Check, bank: Iterable[Answer], student: Listener, verdict: Verdict, seed: int, started: float, end: float
) -> str:
    """What is wrong in the first of the bank's wrong answers that gives the same as the student's; "" if none does.

    Nor if a right one gives the same here: then the fault lies elsewhere, in a function that this answer calls.
    started, end: of the monotonic clock, when the student's answer began to be judged, and by when the search stops. An
    entry that takes much longer than that answer is not the same: a loop that never ends stops no search.
    """
    patience = max(SLOWER * (time.monotonic() - started), SHORTEST)
    answers = [answer for answer in bank if answer.check == check.name and answer.source]

    def first(right: bool) -> Answer | None:
        for answer in (answer for answer in answers if answer.right == right and time.monotonic() < end):
            with contextlib.suppress(TimeIsUp), until(min(end, time.monotonic() + patience)):
                if gives_the_same(answer, check, student, verdict, seed):
                    return answer
        return None

    found = first(right=False)
    return found.why if found and not first(right=True) and time.monotonic() < end else ""


class Different(BaseException):
    """Not an Exception, so that no check takes it for a fault of the answer."""


class Follower(Listener):
    """Hears the same as another listener did; Different at the first thing that is not."""

    def __init__(self, other: Listener, namespace: dict[str, Any]) -> None:
        super().__init__(namespace, other.folder, 0)
        self._expected = other.heard

    def hear(self, what: Any) -> None:
        super().hear(what)
        place = len(self.heard)
        if place > len(self._expected) or not alike(what, self._expected[place - 1]):
            raise Different


def gives_the_same(answer: Answer, check: Check, student: Listener, verdict: Verdict, seed: int) -> bool:
    """Whether a bank's answer is the same to the check. One that is made from the right answer cannot be tried here."""
    own = Names(answer.source).bound
    namespace = {name: value for name, value in student.namespace.items() if name not in own}
    with contextlib.suppress(Exception, Different):  # it may need what this notebook does not have yet
        exec(compile(answer.source, f"<{check.name}>", "exec"), namespace)
        other = Follower(student, namespace)
        said = judge(check, other, seed)
        return len(other.heard) == len(student.heard) and told_alike(said, verdict)
    return False


def told_alike(first: Verdict, second: Verdict) -> bool:
    ours, theirs = (verdict.message.partition(" at the line ")[0] for verdict in (first, second))
    return first.points == second.points and ours == theirs


def alike(first: Any, second: Any) -> bool:
    """Whether two plain values are the same, numbers up to rounding.

    >>> alike([1.0, ("raised", "x")], [1.0 + 1e-9, ("raised", "x")])
    True
    """
    if isinstance(first, (list, tuple)):
        return type(first) is type(second) and len(first) == len(second) and all(map(alike, first, second))
    if isinstance(first, dict):
        return isinstance(second, dict) and first.keys() == second.keys() and all(alike(first[k], second[k]) for k in first)
    if isinstance(first, (np.ndarray, float)):
        ours, theirs = np.asarray(first), np.asarray(second)
        numbers = theirs.dtype.kind in "biuf" and ours.dtype.kind == theirs.dtype.kind
        return numbers and ours.shape == theirs.shape and np.allclose(ours, theirs, CLOSE, CLOSE, equal_nan=True)
    return type(first) is type(second) and first == second


def told(mistake: str, lab: str) -> str:
    """The mistake in the learner's language; English, with a mark, where it has no translation."""
    catalogs = catalogs_of(lab)
    return (look_up(mistake, catalogs) or UNTRANSLATED + mistake) if catalogs else mistake
