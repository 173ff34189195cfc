"""Fork servers and servers of examiners that engines of tests share: each takes seconds to start, to do the same again.

All that such a server knows is what it was started with; each submission, and each engine's examiner, is a fork of it.
"""

import dataclasses
import os
from pathlib import Path

from leaplm.grading.judge.engine import ExaminerServer, ForkServer

MOST = 2  # of a kind at once: each holds the memory of what it has imported


class Shared:
    """In the place of a class of servers. Of those that would be the same there is one, which outlives its engines."""

    def __init__(self, make, same):
        self._make, self._same, self._running = make, same, {}

    def __call__(self, *args):
        key = self._same(*args)
        server = self._running.pop(key, None)
        if server and not server.alive():
            server.close_it()
            server = None
        if not server:
            server = self._make(*args)
            server.close_it, server.close = server.close, lambda: None
        self._running[key] = server  # the newest is the last
        self.close(MOST)
        return server

    def close(self, but=0):
        """Ends all but the newest."""
        for key in list(self._running)[:-but or None]:
            self._running.pop(key).close_it()


def same_forks(assets, modules, limits, unsafe, scale):
    """In the sandbox it knows nothing but this. Empty assets are those of plain assignments, a new folder for each.

    How long a judge may take is for examiners alone.
    """
    limits = dataclasses.replace(limits, judge_seconds=0)
    return any(assets.iterdir()) and assets, tuple(modules), limits, scale, unsafe and around()


def same_examiners(checks):
    return Path(checks).is_file() and Path(checks).read_bytes(), around()


def around():
    """The environment that a process is started in, but for the name of the test that runs."""
    return frozenset((name, value) for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST")


KINDS = {"ForkServer": Shared(ForkServer, same_forks), "ExaminerServer": Shared(ExaminerServer, same_examiners)}
