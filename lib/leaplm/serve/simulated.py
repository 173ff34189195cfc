"""Simulated time: an event loop whose clock jumps to the next thing to do, so that no second is really waited.

What a program with asyncio does in an hour is seen at once, and is the same on every machine. `run` is for any coroutine,
`open_loop` for a queue under load. All that waits must wait by asyncio: a thread would compute in real time.
"""

import asyncio
import contextlib
import selectors

import numpy as np

MOST_SECONDS, MOST_STEPS = 86_400.0, 400_000  # of simulated time, and of the loop: something never ends


class Stuck(RuntimeError):
    """Nothing can happen any more, or something happens without end."""


class JumpingSelector(selectors.SelectSelector):
    """Looks at sockets without waiting; where none is ready, the clock `now` jumps to the end of the wait."""

    now, steps = 0.0, 0

    def __init__(self, most_steps=MOST_STEPS):
        super().__init__()
        self.most_steps = most_steps

    def select(self, timeout=None):
        ready = super().select(0)
        self.steps += 1
        if not ready and timeout is None:
            raise Stuck("everything waits for something that never comes")
        if self.steps > self.most_steps or self.now > MOST_SECONDS:
            raise Stuck("something goes on without end")
        self.now += 0 if ready else max(0, timeout)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop of its own time, which begins at 0."""

    def __init__(self, most_steps=MOST_STEPS):
        self.selector = JumpingSelector(most_steps)
        super().__init__(self.selector)

    def time(self):
        return self.selector.now


def run(coroutine, most_steps=MOST_STEPS):
    """What a coroutine returns, run to its end in simulated time. Works where an event loop runs already, as in Jupyter.

    Raises Stuck when all waits for something that never comes, or after `most_steps` of the loop.

    >>> async def nap(seconds):
    ...     await asyncio.sleep(seconds)
    ...     return asyncio.get_running_loop().time()
    >>> run(nap(3600))
    3600.0
    """
    outer = asyncio._get_running_loop()
    task = asyncio.current_task(outer) if outer else None
    if task:
        asyncio._leave_task(outer, task)
    asyncio._set_running_loop(None)
    loop = SimulatedLoop(most_steps)
    try:
        return loop.run_until_complete(coroutine)
    finally:
        end(loop)
        asyncio._set_running_loop(outer)
        if task:
            asyncio._enter_task(outer, task)


def end(loop):
    """Cancels what is left in a loop, and closes it."""
    loop.set_exception_handler(lambda loop, told: None)
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    with contextlib.suppress(Exception):  # a task that does not let itself be cancelled ends with the loop
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()


def open_loop(queue, work, rate, seconds=20.0, batch_seconds=0.02, text_seconds=0.005, seed=0):
    """The load.Result of `rate` requests a second, of one text each, at random moments, in simulated time.

    queue: a function () -> a queue with put, next_batch and close, as batching.RequestQueue. work: async, (queue, predict),
    as batching.answer_batches. The model takes `batch_seconds` a batch, and `text_seconds` more for each text in it.
    """
    from leaplm.serve.load import Result

    moments, rows = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, size=round(rate * seconds))), []

    async def predict(texts):
        await asyncio.sleep(batch_seconds + text_seconds * len(texts))
        return np.zeros((len(texts), 1))

    async def ask(made, due):
        await asyncio.sleep(due)
        try:
            await made.put(["text"])
            status = 200
        except Exception as problem:
            status = getattr(problem, "status", 500)
        rows.append((status, due, asyncio.get_running_loop().time()))

    async def everything():
        made = queue()
        worker = asyncio.create_task(work(made, predict))
        await asyncio.gather(*(ask(made, moment) for moment in moments.tolist()))
        made.close()
        await worker

    run(everything())
    return Result(*map(np.array, zip(*rows, strict=True)))
