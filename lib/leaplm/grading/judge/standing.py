"""Where a trained model stands beside the threshold and our own calibration runs: noted by the check that judges it.

    standing.note("accuracy", score, wanted, record)       # in a check; without a listener nothing happens

The grader has no use for it. A learner sees it as a picture (`leaplm.learner`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """One measure of a saved model: `score`, the least (or most) that was `wanted`, and the same measure of our `runs`."""

    metric: str
    score: float
    wanted: float
    runs: tuple[float, ...]
    higher_is_better: bool = True

    @property
    def reached(self) -> bool:
        return self.score >= self.wanted if self.higher_is_better else self.score <= self.wanted


_listener: ContextVar[list[Standing] | None] = ContextVar("standing", default=None)


def note(metric: str, score: float, wanted: float, runs: Iterable[float], higher_is_better: bool = True) -> None:
    """Tells where a model stands to whoever listens."""
    found = _listener.get()
    if found is not None:
        found.append(Standing(metric, float(score), float(wanted), tuple(map(float, runs)), higher_is_better))


@contextlib.contextmanager
def noted() -> Iterator[list[Standing]]:
    """A list to which `note` adds within the block.

    >>> with noted() as found:
    ...     note("accuracy", 0.81, 0.79, [0.80, 0.82])
    >>> found[0].reached
    True
    """
    found: list[Standing] = []
    token = _listener.set(found)
    try:
        yield found
    finally:
        _listener.reset(token)
