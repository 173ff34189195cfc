"""Plays what happens to a service around the part of it that is the student's: requests, callers that leave, failures.

    play = student.build("leaplm.grading.judge.simulations:player", "RequestQueue", "queue")
    log = student.call(play, student.get("RequestQueue"), plan)          # under the contract "RequestQueue()"

Time is simulated (`serve.simulated`), so nothing waits, and a log is the same on every machine. Each plays a plan of plain
values and returns a log of such; a check plays the same plan with the library's part and compares. `stuck` in a log says
that something waited for ever, or went on without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from leaplm.grading.sandbox import watch
from leaplm.serve import batching, keys, requests, simulated

SHOWN = 200  # characters of a message
MOST_STEPS = 8000  # of the loop in one play, which takes some hundreds
READ_SECONDS = 1 / 64  # that reading a request takes
PLAIN_FAULTS = (NotImplementedError, NameError, AttributeError, TypeError)  # of a program, not of a request: told at once


def player(name: str, what: str) -> Any:
    """Something to call with the student's part and a plan; of a class `name`, so that messages speak of that."""
    played = PLAYED[what]

    def __call__(self: Any, made: Any, plan: Any) -> Any:
        return played(made, plan)

    watch.OURS.add(__call__.__code__)
    return type(name, (), {"__call__": __call__})()


class ModelFailed(Exception):
    """Of a kind that no answer can know by name."""


def text_of(error: BaseException) -> list:
    """[kind, status, message, code is a word, seconds to wait] of what was raised, where it is a Problem."""
    if isinstance(error, requests.Problem):
        return ["problem", error.status, str(error.message)[:SHOWN], isinstance(error.code, str), error.retry_after]
    return ["other", type(error).__name__, "", False, None]


def play_reading(made: Callable, plan: dict) -> list:
    """For each body (bytes, written as Latin-1) what it gives: its texts, or the Problem that was raised."""
    found = []
    for body in plan["bodies"]:
        try:
            texts = made(body.encode("latin-1"), *plan["limits"])
        except requests.Problem as problem:
            found.append(text_of(problem))
        except (NotImplementedError, NameError):
            raise
        except Exception as error:
            found.append(text_of(error))
        else:
            whole = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
            found.append(["texts", [text.encode("utf-8", "surrogatepass").decode("latin-1") for text in texts]] if whole else
                         ["kind", type(texts).__name__])  # fmt: skip
    return found


def play_buckets(made: Callable, plan: dict) -> list:
    """What each bucket says at its times; all of them are made first, and asked in turns."""
    now = [plan["made_at"]]
    buckets, found = [made(rate, capacity, lambda: now[-1]) for rate, capacity in plan["settings"]], []
    for moment, number in plan["asks"]:
        now.append(moment)
        found.append(number_of(buckets[number].take()))
    return found


def number_of(value: Any) -> Any:
    """A number as float, None as it is, the name of the type of anything else."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return float(value) if number else None if value is None else type(value).__name__


def whole_seconds(value: Any) -> bool:
    """Whether it is a whole number of at least 1."""
    number = number_of(value)
    return isinstance(number, float) and number >= 1 and number.is_integer()


def played_in_time(play: Callable) -> Callable:
    """A function (made, plan) that plays in simulated time; the log tells where it stuck."""
    def whole(made: Any, plan: dict) -> dict:
        log: dict = {"stuck": False}
        try:
            simulated.run(play(made, plan, log), MOST_STEPS)
        except simulated.Stuck:
            log["stuck"] = True
        return log

    watch.OURS.update({whole.__code__, play.__code__})
    return whole


async def queue_play(made: Callable, plan: dict, log: dict) -> None:
    """Texts come, callers leave, the queue closes; somebody takes each batch and computes for `busy` seconds."""
    loop, futures = asyncio.get_running_loop(), {}
    log |= {"batches": [], "refused": [], "ended": None, "kind": "", "empty": False, "future": True}
    queue, other = made(*plan["limits"]), made(*plan["limits"])
    with contextlib.suppress(requests.Problem):
        other.put(["of another queue"])

    async def consume() -> None:
        while (batch := await queue.next_batch()) is not None:
            if isinstance(batch, (list, tuple)) and len(batch) == 0:
                log["empty"] = True
                break
            if not isinstance(batch, (list, tuple)) or not all(isinstance(item, batching.Waiting) for item in batch):
                log["kind"] = type(batch).__name__
                break
            log["batches"].append([loop.time(), [list(map(str, request.texts)) for request in batch]])
            await asyncio.sleep(plan["busy"])
        log["ended"] = loop.time()

    worker = asyncio.create_task(consume())
    for moment, what, number in plan["events"]:
        await asyncio.sleep(moment - loop.time())
        if what == "close":
            queue.close()
        elif what == "leave":
            if number in futures:
                futures[number].cancel()
        elif what == "answer":  # somebody else has answered
            if number in futures and not futures[number].done():
                futures[number].set_result(None)
        else:
            try:
                future = queue.put([f"{number}.{place}" for place in range(int(what))])
            except requests.Problem as problem:
                log["refused"].append([number, problem.status, whole_seconds(problem.retry_after)])
            else:
                log["future"] &= isinstance(future, asyncio.Future)
                if isinstance(future, asyncio.Future):
                    futures[number] = future
    await worker


class Script:
    """A queue whose batches are known: [[texts of a request, ...], ...]. It gives one after another, then None."""

    def __init__(self, batches: list) -> None:
        self.batches = [[batching.Waiting(list(texts)) for texts in batch] for batch in batches]
        self.left = list(self.batches)

    async def next_batch(self) -> list | None:
        await asyncio.sleep(0.125)
        return self.left.pop(0) if self.left else None


async def worker_play(made: Callable, plan: dict, log: dict) -> None:
    """A worker answers a Script; the model takes a second, fails at some texts; callers leave; the worker may be ended."""
    log |= {"asked": [], "most": 0, "answers": [], "ended": "", "texts": True}
    queue, running, raised = Script(plan["batches"]), set(), []

    async def predict(texts: list) -> Any:
        log["asked"].append(list(texts))
        running.add(len(log["asked"]))
        log["most"], mine = max(log["most"], len(running)), len(log["asked"])
        try:
            await asyncio.sleep(1.0)
            if any(text.startswith("fail") for text in texts):
                raised.append(ModelFailed("the model cannot read this"))
                raise raised[-1]
            rows = [[float(len(text)), float(sum(map(ord, text)))] for text in texts]
            return rows if plan["lists"] else np.array(rows)
        finally:
            running.discard(mine)

    everybody = [request for batch in queue.batches for request in batch]
    worker = asyncio.ensure_future(made(queue, predict))

    async def leave(moment: float, number: int) -> None:
        await asyncio.sleep(moment)
        everybody[number].future.cancel() if number >= 0 else worker.cancel()

    leaving = [asyncio.create_task(leave(*item)) for item in plan["leave"]]
    await asyncio.gather(worker, *leaving, return_exceptions=True)
    error = None if worker.cancelled() else worker.exception()
    if isinstance(error, PLAIN_FAULTS):
        raise error
    log["ended"] = "cancelled" if worker.cancelled() else type(error).__name__
    log["answers"] = [answer_of(request.future, raised) for request in everybody]
    log["texts"] = [[request.texts for request in batch] for batch in queue.batches] == plan["batches"]


def answer_of(future: asyncio.Future, raised: list) -> list:
    """What a caller got: the rows, the class of an error and which of those raised it is, or nothing."""
    if not future.done():
        return ["waits"]
    if future.cancelled():
        return ["left"]
    if future.exception():
        own = [place for place, error in enumerate(raised) if error is future.exception()]
        return ["error", type(future.exception()).__name__, own]
    try:
        return ["rows", np.asarray(future.result(), dtype=float).tolist()]
    except (TypeError, ValueError):
        return ["rows", type(future.result()).__name__]


async def endpoint_play(made: Callable, plan: dict, log: dict) -> None:
    """Requests come to an endpoint in front of the library's queue and worker; `metrics` is read at some moments.

    Its clock is the loop's, and goes on while `read` reads.
    """
    loop, read = asyncio.get_running_loop(), []
    log |= {"answers": {}, "metrics": [], "read": 0}
    queue = batching.RequestQueue(*plan["queue"])
    bucket = keys.TokenBucket(*plan["bucket"], loop.time)

    async def predict(texts: list) -> Any:
        await asyncio.sleep(plan["busy"])
        if any(text.startswith("fail") for text in texts):
            raise KeyError("0803 123 4567 must not be told")
        return np.array([[len(text) / 64, 1 - len(text) / 64] for text in texts])

    def reading(body: bytes) -> list:
        read.append(body)
        if body == b"break":
            raise OSError("0803 123 4567 must not be told")
        return requests.read_texts(body, *plan["limits"])

    def clock() -> float:
        return loop.time() + READ_SECONDS * len(read)

    endpoint, other = (made(reading, bucket, queue, clock) for _ in range(2))
    await other.answer(b"{")
    worker, asked = asyncio.create_task(batching.answer_batches(queue, predict)), {}
    for moment, what, number in plan["events"]:
        await asyncio.sleep(moment - loop.time())
        if what == "metrics":
            told = endpoint.metrics()
            told = dict(told) if isinstance(told, dict) else {}
            log["metrics"].append({str(name): number_of(value) for name, value in told.items()})
        elif what == "leave":
            asked[number].cancel()
        elif what == "close":
            queue.close()
        else:
            asked[number] = asyncio.ensure_future(endpoint.answer(what.encode("latin-1")))
    await asyncio.gather(worker, *asked.values(), return_exceptions=True)
    log["read"] = len(read)
    for number, task in asked.items():
        if not task.cancelled() and isinstance(task.exception(), PLAIN_FAULTS):
            raise task.exception()
        log["answers"][number] = response_of(task)


def response_of(task: asyncio.Future) -> list:
    """[status, content as JSON, seconds to wait] of an answer, or what came in its place."""
    if task.cancelled():
        return ["left"]
    if task.exception():
        return ["raised", type(task.exception()).__name__]
    try:
        status, content, retry_after = task.result()
        status, seconds = int(status), None if retry_after is None else float(retry_after)
    except (TypeError, ValueError):
        return ["kind", kind_of(task.result())]
    try:
        return [status, json.dumps(content)[:2000], seconds]
    except (TypeError, ValueError):
        return ["content"]


def kind_of(value: Any) -> str:
    """The name of its type; of a tuple or list the names of what is in it, as `(int, dict)`."""
    if not isinstance(value, (tuple, list)):
        return type(value).__name__
    return f"({', '.join(type(part).__name__ for part in value)})"[:SHOWN]


PLAYED = {"reading": play_reading, "buckets": play_buckets, "queue": played_in_time(queue_play),
          "worker": played_in_time(worker_play), "endpoint": played_in_time(endpoint_play)}  # fmt: skip
# What these call, the answer has called: they stand between the grader's call and the student's part.
watch.OURS.update(function.__code__ for function in (play_reading, play_buckets, simulated.run, simulated.end))
