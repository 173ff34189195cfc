"""Requests that arrive one by one go through the model together: a bounded queue in front, small batches behind.

A batch closes when it is full or when its first text has waited long enough. When the queue is full, a request is turned
away at once (load shedding): those that are accepted keep a bounded wait, however many come.
"""

import asyncio
import contextlib
import math
from concurrent.futures import ThreadPoolExecutor

from leaplm.serve.requests import Problem

WORDS = {"closing": "the service is closing", "queue_full": "too many texts are waiting",
         "waited_too_long": "the request waited too long and was given up"}


class Overloaded(Problem):
    """The request is not taken (503); `retry_after` is the number of whole seconds after which to try again."""

    def __init__(self, reason, retry_after):
        super().__init__(503, reason, f"{WORDS[reason]}; try again in {retry_after} s", retry_after)
        self.reason = reason


class Waiting:
    """A request in the queue: its texts, the future that gets their rows, and when it came (s, by the loop's clock)."""

    def __init__(self, texts):
        loop = asyncio.get_running_loop()
        self.texts, self.future, self.since = texts, loop.create_future(), loop.time()


class RequestQueue:
    """Requests that wait for the model, and the batches that they make.

    max_batch: texts in a batch (a request is never cut, and may be larger by itself). max_wait: seconds that a first request
    waits for others. max_queue: texts that may wait; above it `put` raises Overloaded. patience: a request that waited so
    many seconds is given up (Overloaded too). Who has gone, with a cancelled future, counts no more.

    >>> async def three_requests():
    ...     queue = RequestQueue(max_batch=2, max_wait=0.1, max_queue=9)
    ...     for text in "abc":
    ...         queue.put([text])
    ...     queue.close()
    ...     return [[request.texts for request in await queue.next_batch()] for _ in range(2)]
    >>> asyncio.run(three_requests())
    [[['a'], ['b']], [['c']]]
    """

    def __init__(self, max_batch=16, max_wait=0.01, max_queue=64, patience=math.inf):
        self.max_batch, self.max_wait, self.max_queue, self.patience = max_batch, max_wait, max_queue, patience
        self.waiting, self.closed, self.arrived = [], False, asyncio.Event()
        self.texts_running, self.seconds_per_text = 0, 0.0

    @property
    def texts_waiting(self):
        """Texts of requests that somebody still waits for."""
        return sum(len(request.texts) for request in self.waiting if not request.future.done())

    def put(self, texts):
        """A future of the rows of these texts. Raises Overloaded."""
        if self.closed:
            raise Overloaded("closing", 5)
        # One request larger than the whole queue may wait alone; else it could never be answered.
        if (waiting := self.texts_waiting) and waiting + len(texts) > self.max_queue:
            raise Overloaded("queue_full", self.retry_after())
        self.waiting.append(request := Waiting(texts))
        self.arrived.set()
        return request.future

    def close(self):
        """Take nothing new; what waits goes at once."""
        self.closed = True
        self.arrived.set()

    def is_full(self):
        """Whether a request of one text would be turned away now."""
        return not self.closed and self.texts_waiting >= self.max_queue

    def retry_after(self):
        """Whole seconds in which the work at hand will probably be done, from 1 to 30."""
        return min(30, max(1, math.ceil((self.texts_waiting + self.texts_running) * self.seconds_per_text)))

    def took(self, texts, seconds):
        """A batch of so many texts is done: its time goes into the estimate of `retry_after`, old ones fade."""
        self.texts_running, self.seconds_per_text = 0, 0.8 * self.seconds_per_text + 0.2 * seconds / texts

    async def next_batch(self):
        """Requests (Waiting) to answer together, once they are due; None when the queue is closed and nothing waits."""
        while True:
            self.give_up_late()
            left = self.seconds_left()
            if left is not None and left <= 0:
                return self.take()
            if self.closed:
                return None
            self.arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.arrived.wait(), left)

    def seconds_left(self):
        """Seconds until the next batch is due, 0 or less if it is; None when nothing waits."""
        if not self.waiting:
            return None
        if self.closed or self.texts_waiting >= self.max_batch:
            return 0
        return self.waiting[0].since + self.max_wait - asyncio.get_running_loop().time()

    def take(self):
        batch, size = [], 0
        while self.waiting and (not batch or size + len(self.waiting[0].texts) <= self.max_batch):
            batch.append(self.waiting.pop(0))
            size += len(batch[-1].texts)
        return batch

    def give_up_late(self):
        """Drop what nobody waits for any more, and what has waited too long to be worth computing."""
        oldest = asyncio.get_running_loop().time() - self.patience
        for request in self.waiting:
            if not request.future.done() and request.since < oldest:
                request.future.set_exception(Overloaded("waited_too_long", self.retry_after()))
        self.waiting = [request for request in self.waiting if not request.future.done()]


async def answer_batches(queue, predict):
    """Answers batch after batch of a RequestQueue, one at a time, until it is closed and empty.

    predict: an async function, texts (n) -> n rows. Each future gets the rows of its own texts, in order. If `predict`
    fails, the callers of this batch get its error, and the next batch goes on.
    """
    while batch := await queue.next_batch():
        texts, place = [text for request in batch for text in request.texts], 0
        try:
            rows = await predict(texts)
            for request in batch:
                if not request.future.done():  # the client may have gone
                    request.future.set_result(rows[place : place + len(request.texts)])
                place += len(request.texts)
        except Exception as error:
            for request in batch:
                if not request.future.done():
                    request.future.set_exception(error)


class Batcher:
    """A RequestQueue in front of a `predict` (texts -> array (n, classes)) that computes in one thread beside.

    The limits are those of RequestQueue. observe(batch texts, seconds) is called after each batch.
    """

    def __init__(self, predict, max_batch=16, max_wait=0.01, max_queue=64, patience=10.0, observe=None):
        self.queue = RequestQueue(max_batch, max_wait, max_queue, patience)
        self.predict, self.observe = predict, observe or (lambda texts, seconds: None)

    async def start(self):
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self.task = asyncio.create_task(answer_batches(self.queue, self.compute))

    async def stop(self):
        """Take nothing new, answer what was taken, then end."""
        self.queue.close()
        await self.task
        self.thread.shutdown()

    async def submit(self, texts):
        """The rows of `predict` for these texts (n, classes). Raises Overloaded, or what `predict` raised."""
        return await self.queue.put(texts)

    async def compute(self, texts):
        loop = asyncio.get_running_loop()
        self.queue.texts_running, started = len(texts), loop.time()
        try:
            return await loop.run_in_executor(self.thread, self.predict, texts)
        finally:
            seconds = loop.time() - started
            self.queue.took(len(texts), seconds)
            self.observe(len(texts), seconds)
