"""Checks: one function per graded check in a lab's checks.py, and the verdict it gives.

    from leaplm.grading import Contract, Tensor, as_array, check

    @check(points=3, contract=Contract("logits labels", Tensor("float", dims=0), gradient="logits"))
    def cross_entropy(student, rng):
        logits = rng.normal(size=(6, 4)).astype(np.float32)
        labels = rng.integers(4, size=6)
        got = as_array(student.call("cross_entropy", logits, labels), shape=())
        right = np.allclose(got, reference(logits, labels), atol=1e-5)
        return (3, "matches") if right else (0, "not the mean of -log p(label)")
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import traceback
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from leaplm.added import use_course
from leaplm.grading.course import find_course, lab_file, load_module
from leaplm.grading.judge.contracts import Breach, Contract
from leaplm.grading.judge.watched import WatchedStudent
from leaplm.grading.sandbox.student import Student, StudentError, TimeIsUp, artifact_problem, only_tiny, time_limit
from leaplm.grading.sandbox.values import describe
from leaplm.locales import speaking

SEED = "LEAPLM_CHECK_SEED"  # environment: fixes the checks' random inputs, for tests
TOO_COSTLY = "Judging this took more time or memory than a judge may use: is something in it far larger than was asked for?"


SYMPTOMS = ("raised", "unexpected")  # kinds of StudentError that say what came of a fault: nan, say, from a division by 0


@dataclass(frozen=True)
class Verdict:
    """Points with a message for the student; `fault` is the traceback if the check itself could not cope.

    `explained`: the message names the cause, not only what came of it: a kind of value, a rule that was broken.
    """

    points: float
    message: str
    fault: str | None = None
    explained: bool = False


@dataclass(frozen=True)
class Check:
    """A graded check: `function(student, rng)` returns a Verdict or (points, message)."""

    name: str
    points: float
    seconds: float
    function: Callable[[Student, np.random.Generator], Verdict | tuple[float, str]]
    contracts: Mapping[str, Contract] | None = None  # by the name of the function called; None: not declared yet


def check(
    points: float, seconds: float = 30, contract: Contract | Mapping[str, Contract] | None = None
) -> Callable[[Callable], Check]:
    """Declares a graded check worth `points`; `seconds` of processor time limit each call of the student's code.

    `contract`: of the function with the check's name, or one for each function that the check calls, by name.
    """
    if not points > 0:
        raise ValueError(f"a check is worth more than 0 points, not {points}")

    def declare(function: Callable) -> Check:
        contracts = {function.__name__: contract} if isinstance(contract, Contract) else contract
        return Check(function.__name__, points, seconds, function, contracts)

    return declare


def judge(check: Check, student: Student, seed: int | None = None) -> Verdict:
    """Runs one check on fresh random inputs (`seed`, else the environment, else a secret). Never raises.

    The message is English (see `translation`), and so are our own errors that stand in it.
    """
    with speaking(""):
        if check.contracts is None:
            return _run(check, student, seed)
        watched = WatchedStudent(student, check.contracts)
        return hold(check, _run(check, watched, seed), watched.breaches)


def judge_within(seconds: float, check: Check, student: Student, seed: int | None = None) -> Verdict:
    """As `judge`, with so much processor time of this process; a check that needs more gives 0 points, and says so."""
    try:
        with time_limit(seconds):
            return judge(check, student, seed)
    except TimeIsUp:
        return too_costly(f"{check.name} did not come to an end within {seconds:g} s of processor time")


def too_costly(fault: str) -> Verdict:
    """The verdict of a check that what was handed in kept from coming to one. A teacher is to look at it."""
    return Verdict(0, TOO_COSTLY, fault)


def hold(check: Check, verdict: Verdict, breaches: list[Breach]) -> Verdict:
    """The verdict on an answer that broke its contract: half of its points, none where the work is not its own.

    The message names the breach; after what the check said, if the answer is wrong for another reason too. A check that
    could not cope with a result of another kind than was asked for has no fault: the breach says what came.
    """
    if not breaches:
        return verdict
    if verdict.fault and any(breach.explains for breach in breaches):
        breaches, verdict = [breach for breach in breaches if breach.fatal or breach.explains], replace(verdict, fault=None)
    worst = next((breach for breach in breaches if breach.fatal), breaches[0])
    apart = verdict.points < check.points and not (worst.fatal or worst.explains)
    message = f"{verdict.message}; {worst.message}" if apart else worst.message
    points = 0 if worst.fatal else verdict.points / 2
    return replace(verdict, points=points, message=message, explained=not apart)


def _run(check: Check, student: Student | WatchedStudent, seed: int | None) -> Verdict:
    try:
        outcome = check.function(student, random_inputs(check.name, seed))
    except StudentError as error:
        return Verdict(0, str(error), explained=error.kind not in SYMPTOMS)
    except Exception as error:
        # Nonsense that the check did not foresee, or a fault of the check: 0 either way, and the traceback is kept.
        message = f"The answer could not be judged ({type(error).__name__}): is its type and shape as asked?"
        return Verdict(0, message, fault=traceback.format_exc())
    return _settle(check, outcome)


def _settle(check: Check, outcome: Any) -> Verdict:
    """A check that breaks its own contract is the author's fault: 0 with a traceback, so that tests see it."""
    verdict = outcome if isinstance(outcome, Verdict) else None
    if isinstance(outcome, tuple) and len(outcome) == 2:
        verdict = Verdict(*outcome)
    if verdict is None or not isinstance(verdict.message, str):
        return Verdict(0, "This check is broken.", fault=f"{check.name} returned {outcome!r}, not (points, message)")
    if not (math.isfinite(verdict.points) and 0 <= verdict.points <= check.points):
        return Verdict(0, "This check is broken.", fault=f"{check.name} gave {verdict.points} of {check.points} points")
    return replace(verdict, points=np.asarray(verdict.points).item())  # a number of NumPy's goes into no JSON


def random_inputs(name: str, seed: int | None = None) -> np.random.Generator:
    """The generator of a check's inputs: unpredictable, unless `seed` or LEAPLM_CHECK_SEED fixes it."""
    if seed is None:
        seed = int(os.environ.get(SEED) or secrets.randbits(128))
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def load_checks(lab: str, course: str | os.PathLike | None = None) -> dict[str, Check]:
    """The checks of a lab by name, those of its file checks.py."""
    root = Path(course) if course else find_course()
    use_course(root)  # whose added languages the checks mark
    path = lab_file(root, lab, "checks.py")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: the checks of {lab} belong there")
    found = {value.name: value for value in vars(load_module(path)).values() if isinstance(value, Check)}
    if not found:
        raise ValueError(f"{path} has no function with the decorator @check(points=...)")
    return found


def as_array(value: Any, shape: tuple[int, ...] | None = None, what: str = "The answer") -> np.ndarray:
    """`value` as a float64 or integer array of `shape`; StudentError in words if it is something else.

    A number counts as shape (); None in `shape` stands for any length. `what`: a name of the code, or words.
    """
    what = as_code(what)
    wanted = "an array of numbers" if shape is None else f"numbers of shape {shape}"
    problem = StudentError("unexpected", f"{what} should be {wanted}, not {describe(value)}.")
    if isinstance(value, (str, dict)) or value is None:
        raise problem
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        raise problem from None
    if array.dtype.kind not in "biuf":
        raise problem
    if shape == () and array.size == 1:  # a table with one number is a number
        array = array.reshape(())
    if shape is not None and not _fits(array.shape, shape):
        raise problem
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w in (None, n) for n, w in zip(shape, wanted, strict=True))


def as_code(what: str) -> str:
    """A name of the code in the marks of code, so that it is nobody's to translate; words as they are.

    >>> as_code("labels"), as_code("the loss")
    ('`labels`', 'the loss')
    """
    return what if " " in what or "`" in what else f"`{what}`"


def as_number(value: Any, what: str = "The answer") -> float:
    """`value` as a finite float; StudentError in words if it is anything else."""
    what, number = as_code(what), float(as_array(value, (), what))
    if not math.isfinite(number):
        raise StudentError("unexpected", f"{what} should be a finite number, not {number}.")
    return number


def differs(name: str, given: tuple, got: Any, want: Any) -> str:
    """One small case in words, for a check that knows no cause: what the answer gives there, and what is wanted."""
    call = f"{name}({', '.join(map(brief, given))})"
    return f"`{call}` gives {brief(got)}, where {brief(want)} is wanted"


def brief(value: Any) -> str:
    """A plain value on one line, numbers with four digits, of at most 100 characters.

    >>> brief((np.array([1, 2]), 1 / 3))
    '[[1, 2], 0.3333]'
    """
    if isinstance(value, (list, tuple, np.ndarray)):
        text = f"[{', '.join(brief(item) for item in list(value)[:51])}]"
    else:
        text = f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def first_artifact(student: Student, names: tuple[str, ...]) -> bytes:
    """The bytes of the first of these artifacts that is there; StudentError, naming the last, if none is.

    One of the scale tiny is none: it was saved in seconds, to try the code, and the error says so.
    """
    for name in names[:-1]:
        with contextlib.suppress(StudentError):
            return student.artifact(name)
    try:
        return student.artifact(names[-1])
    except StudentError as missing:
        tiny = names[-1].replace("-cpu.", "-tiny.")
        if str(missing) != artifact_problem(names[-1]) or not has_artifact(student, tiny):
            raise
        raise StudentError(missing.kind, only_tiny(tiny)) from None


def has_artifact(student: Student, name: str) -> bool:
    with contextlib.suppress(StudentError):
        return bool(student.artifact(name))
    return False
