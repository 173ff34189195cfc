"""`RemoteStudent`: the handle that a check gets when the student's code runs in another process, behind walls.

It has the methods of `student.Student`, and gives the same values and the same `StudentError`s. What comes back is
parsed as data, held to limits, and must carry the nonce of its request.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from leaplm.grading.sandbox.student import PATIENCE as CLOCK_PER_COMPUTING
from leaplm.grading.sandbox.student import (
    StudentError,
    artifact_problem,
    check_artifact_name,
    most_bytes,
    too_large,
    unbroken,
    unreadable,
)
from leaplm.grading.sandbox.values import Ref, clean_text
from leaplm.grading.sandbox.wire import Broken, Channel, Gone, checked
from leaplm.grading.submission import ARTIFACTS

NOT_REACHED = "Not judged, since the notebook's program had ended before."
GRACE = 30.0  # s: for a process to stop itself at its own limit, before we stop it; on a machine that swaps, too
KINDS = ("missing", "unanswered", "raised", "timeout", "exited", "not-plain", "too-large", "artifact", "unexpected")


class Ended(BaseException):
    """The student's process can be asked nothing any more; `state` as in a verdict. Not for checks to catch."""

    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state, self.reason = state, reason


class RemoteFault(RuntimeError):
    """The student's process could not do what a check asked of it: a fault of the check, or a library that it broke."""


class Line:
    """Requests to a student's process, and replies, each within its time; `seconds` by the clock for all together."""

    def __init__(self, channel: Channel, seconds: float) -> None:
        self._channel = channel
        self._until = time.monotonic() + seconds
        self.over: Ended | None = None  # how it ended, once it has

    def ask(self, what: str, *args: Any, seconds: float) -> Any:
        """The value that a request gives. StudentError as in one process; Ended, once, if nobody answers as agreed."""
        if self.over:
            raise StudentError("exited", NOT_REACHED)
        try:
            with unbroken():
                return self._ask(what, args, seconds)
        except Ended as end:
            self.over = end
            raise

    def break_off(self, reason: str) -> Ended:
        """Asks nothing any more: the other side has broken the protocol."""
        self.over = Ended("tampered", reason)
        return self.over

    def _ask(self, what: str, args: tuple, seconds: float) -> Any:
        nonce = secrets.token_hex(8)
        left = min(seconds, self._until - time.monotonic())
        until = time.monotonic() + left
        try:
            self._channel.send({"nonce": nonce, "do": what, "args": list(args)}, max(left, 0.01))
            reply = self._channel.receive(max(until - time.monotonic(), 0.01))
        except TimeoutError:
            raise Ended("timeout", f"The notebook did not answer within {max(left, 0):.0f} s and was stopped.") from None
        except Gone:
            raise Ended("killed", "The notebook's program ended early.") from None
        except Broken as error:
            raise Ended("tampered", f"The notebook's program sent something else than an answer: {error}.") from None
        return self._open(reply, nonce)

    def _open(self, reply: Any, nonce: str) -> Any:
        if not isinstance(reply, dict) or reply.get("nonce") != nonce:
            raise Ended("tampered", "The notebook's program sent an answer to another question.")
        if "value" in reply:
            return _checked(reply["value"])
        if isinstance(told := reply.get("student_error"), list) and len(told) == 2 and told[0] in KINDS:
            raise StudentError(told[0], clean_text(told[1], 600))
        if "fault" in reply:
            raise RemoteFault(clean_text(reply["fault"], 600))
        raise Ended("tampered", "The notebook's program sent an answer of no known form.")


def _checked(value: Any) -> Any:
    try:
        return checked(value)
    except (Broken, TypeError) as error:
        raise Ended("tampered", f"The notebook's program sent a value that cannot be: {error}.") from None


class RemoteStudent:
    """A student's notebook in another process; see `student.Student` for the methods."""

    def __init__(self, line: Line, files: dict[str, bytes], seconds: float = 30) -> None:
        self._line, self._files, self._seconds = line, files, seconds
        self._opened = False

    def call(self, function: str | Ref, *args: Any, **kwargs: Any) -> Any:
        return self._ask("call", function, list(args), kwargs)

    def watch(self, forbidden: list[str], gradient: list[int | str], seed: int) -> None:
        self._ask("watch", forbidden, gradient, seed)

    def seen(self) -> dict:
        seen = self._ask("seen")
        if not isinstance(seen, dict):
            raise self._line.break_off("The notebook's program told something else of a call than what it did.")
        return seen

    def get(self, name: str) -> Any:
        return self._ask("get", name)

    def build(self, factory: str, *args: Any, **kwargs: Any) -> Ref:
        return self._ask("build", factory, list(args), kwargs)

    def read(self, ref: Ref, probe: str, *args: Any, **kwargs: Any) -> Any:
        return self._ask("read", ref, probe, list(args), kwargs)

    def _ask(self, what: str, *args: Any) -> Any:
        if not self._opened:  # a handle of its own on the other side, with this check's time limit
            self._line.ask("open", self._seconds, seconds=GRACE)
            self._opened = True
        return self._line.ask(what, *args, seconds=CLOCK_PER_COMPUTING * self._seconds + GRACE)

    def artifact(self, name: str) -> bytes:
        """As it was handed in; what the student's process writes while it is graded does not count."""
        check_artifact_name(name)
        content = self._files.get(f"{ARTIFACTS}/{name}")
        if content is None:
            raise StudentError("artifact", artifact_problem(name))
        if len(content) > most_bytes(name):
            raise StudentError("artifact", unreadable(name, too_large(name)))
        return content
