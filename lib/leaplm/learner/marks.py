"""The mark of an exercise in the notebook: the grader's own check, on the notebook's own functions, in this process.

No sandbox: it is the learner's machine and code. Values cross as in the grader (copied, contracts enforced); only the
time is shorter. The same check gives the same points here and there.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leaplm.grading.judge import standing
from leaplm.grading.judge.banks import Answer, load_bank
from leaplm.grading.judge.checks import Check, Verdict, judge, load_checks
from leaplm.grading.sandbox.student import TimeIsUp
from leaplm.learner.hints import find_mistake
from leaplm.learner.listener import Listener, until
from leaplm.learner.releases import Task
from leaplm.learner.undisturbed import undisturbed
from leaplm.locales import catalogs_of
from leaplm.places import find_root, is_known
from leaplm.translation import translate_message, translate_metric

SECONDS = 2.0  # for one mark, with the search for the mistake
MEMORY_MB = 700  # free, to test a saved model beside the one in the notebook


@dataclass(frozen=True)
class Mark:
    """What came of one check; `points` is None when it was not judged, for lack of time or memory."""

    task: Task
    points: float | None
    message: str
    seconds: float = 0.0
    busy: float = 0.0  # s of the processor in this time: what it takes where nothing else runs
    mistake: str = ""  # of the bank, which gives the same results
    problem: str = ""  # "time", "memory", or the words of a fault of ours
    standings: tuple[standing.Standing, ...] = ()

    @property
    def right(self) -> bool:
        return self.points is not None and self.points >= self.task.points


@functools.lru_cache(maxsize=16)
def checks_of(root: Path, lab: str) -> dict[str, Check]:
    return load_checks(lab, root)


@functools.lru_cache(maxsize=4)
def bank_of(root: Path, lab: str) -> list[Answer]:
    return load_bank(lab, root) if (root / "course" / lab / "bank.py").is_file() else []


def prepare(lab: str) -> None:
    """Reads a lab's checks and bank now, so that its first mark need not."""
    root = find_root()
    if root and is_known(root, lab):
        checks_of(root, lab), bank_of(root, lab)


def reads_files_only(check: Check) -> bool:
    """Whether a check judges a saved file, a model as a rule, and calls no function."""
    return check.contracts is not None and not check.contracts


def mark(task: Task, namespace: dict[str, Any], folder: str | os.PathLike = ".", seconds: float = SECONDS) -> Mark:
    """The mark of one exercise, within `seconds` by the clock; for a saved file the check's own limit holds.

    After it, the notebook is as it was before.
    """
    root = find_root()
    check, bank, seed = checks_of(root, task.lab)[task.check], bank_of(root, task.lab), secrets.randbits(63)
    started, busy = time.monotonic(), time.process_time()  # what is read once is not the answer's time
    allowed = check.seconds if reads_files_only(check) else seconds
    student, verdict, mistake = Listener(namespace, folder, allowed), None, ""
    with undisturbed(namespace), silence(), scale_of_the_grader(), standing.noted() as standings, \
            contextlib.suppress(TimeIsUp), until(started + allowed):  # fmt: skip
        verdict = judge(check, student, seed)
        if has_a_cause(check, student, verdict):
            mistake = find_mistake(check, bank, student, verdict, seed, started, started + allowed)
    took, busy = time.monotonic() - started, time.process_time() - busy
    if verdict is None or student.ran_out:
        return Mark(task, None, "", took, busy, problem="time")
    catalogs = catalogs_of(task.lab)
    places = tuple(replace(each, metric=translate_metric(each.metric, catalogs)) for each in standings)
    return Mark(task, verdict.points, translate_message(verdict.message, catalogs), took, busy, mistake, standings=places)


def has_a_cause(check: Check, student: Listener, verdict: Verdict) -> bool:
    """Whether the bank may know why points are missing, and the check has not said so itself."""
    missing = verdict.points < check.points and not verdict.explained
    return missing and not student.ran_out and not student.failed_elsewhere and not reads_files_only(check)


@contextlib.contextmanager
def scale_of_the_grader() -> Iterator[None]:
    """Checks are written for the scale at which the grader runs them; the block must restore the environment."""
    os.environ["LEAPLM_SCALE"] = "tiny"
    yield


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """What answers and checks print or show stays out of the notebook."""
    from IPython.utils.capture import capture_output

    with capture_output():
        yield
