"""Requests that arrive one by one go through the model together: a bounded queue in front, small batches behind.

A batch closes when it is full or when its first text has waited long enough. When the queue is full, a request is turned
away at once (load shedding): those that are accepted keep a bounded wait, however many come.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor


class Overloaded(Exception):
    """The request is not taken; `retry_after` is the number of whole seconds after which to try again."""

    def __init__(self, reason, retry_after):
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


def collect_batches(arrivals, max_size, max_wait):
    """(sizes, sent): how single texts that arrive at these times (n,; s, ascending) are grouped, and when each batch goes.

    The first text that waits opens a batch. It goes when it has `max_size` texts, or `max_wait` after its first text; one
    that arrives at that very moment still goes along. The model is taken to be always free.

    >>> collect_batches([0.0, 0.01, 0.02, 0.5], max_size=2, max_wait=0.1)
    ([2, 1, 1], [0.01, 0.12000000000000001, 0.6])
    """
    sizes, sent, first = [], [], 0
    while first < len(arrivals):
        closes, last = arrivals[first] + max_wait, first + 1
        while last < len(arrivals) and last - first < max_size and arrivals[last] <= closes:
            last += 1
        sizes.append(last - first)
        sent.append(arrivals[last - 1] if last - first == max_size else closes)
        first = last
    return sizes, sent


class Waiting:
    """A request in the queue: its texts, the future that gets their probabilities, and when it came."""

    def __init__(self, texts):
        self.texts, self.future, self.since = texts, asyncio.get_running_loop().create_future(), time.monotonic()


class Batcher:
    """Groups the texts of many requests for `predict` (texts -> array (n, classes)), which runs in one thread beside.

    max_batch: texts in a batch (a request is never cut, and may be larger by itself). max_wait: seconds that a first text
    waits for others. max_queue: texts that may wait; above it `submit` raises Overloaded. patience: a request that waited
    so many seconds is given up (Overloaded too). observe(batch texts, seconds) is called after each batch.
    """

    def __init__(self, predict, max_batch=16, max_wait=0.01, max_queue=64, patience=10.0, observe=None):
        self.predict, self.max_batch, self.max_wait = predict, max_batch, max_wait
        self.max_queue, self.patience, self.observe = max_queue, patience, observe or (lambda texts, seconds: None)
        self.waiting, self.texts_waiting, self.texts_running = deque(), 0, 0
        self.seconds_per_text, self.closing, self.task = 0.0, False, None

    async def start(self):
        self.arrived = asyncio.Event()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self.task = asyncio.create_task(self.run())

    async def stop(self):
        """Take nothing new, answer what was taken, then end."""
        self.closing = True
        self.arrived.set()
        await self.task
        self.thread.shutdown()

    async def submit(self, texts):
        """The rows of `predict` for these texts (n, classes). Raises Overloaded, or what `predict` raised."""
        if self.closing:
            raise Overloaded("closing", 5)
        # One request larger than the whole queue may wait alone; else it could never be answered.
        if self.texts_waiting and self.texts_waiting + len(texts) > self.max_queue:
            raise Overloaded("queue_full", self.retry_after())
        item = Waiting(texts)
        self.waiting.append(item)
        self.texts_waiting += len(texts)
        self.arrived.set()
        return await item.future

    def is_full(self):
        """Whether a request of one text would be turned away now."""
        return not self.closing and self.texts_waiting >= self.max_queue

    def retry_after(self):
        """Whole seconds in which the work at hand will probably be done, from 1 to 30."""
        return min(30, max(1, math.ceil((self.texts_waiting + self.texts_running) * self.seconds_per_text)))

    async def run(self):
        while batch := await self.next_batch():
            texts = [text for item in batch for text in item.texts]
            self.texts_running, started = len(texts), time.monotonic()
            try:
                rows = await asyncio.get_running_loop().run_in_executor(self.thread, self.predict, texts)
                self.answer(batch, rows)
            except Exception as error:  # one batch fails, the service goes on
                for item in batch:
                    if not item.future.done():
                        item.future.set_exception(error)
            seconds, self.texts_running = time.monotonic() - started, 0
            self.seconds_per_text = 0.8 * self.seconds_per_text + 0.2 * seconds / len(texts)
            self.observe(len(texts), seconds)

    def answer(self, batch, rows):
        place = 0
        for item in batch:
            if not item.future.done():  # the client may have gone
                item.future.set_result(rows[place : place + len(item.texts)])
            place += len(item.texts)

    async def next_batch(self):
        """Requests to answer together, at least one; None when the batcher closes and nothing waits."""
        while True:
            self.give_up_late()
            if not self.waiting:
                if self.closing:
                    return None
                self.arrived.clear()
                await self.arrived.wait()
                continue
            remaining = self.waiting[0].since + self.max_wait - time.monotonic()
            if self.texts_waiting >= self.max_batch or remaining <= 0 or self.closing:
                return self.take()
            self.arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.arrived.wait(), remaining)

    def take(self):
        batch, size = [], 0
        while self.waiting and (not batch or size + len(self.waiting[0].texts) <= self.max_batch):
            batch.append(self.waiting.popleft())
            size += len(batch[-1].texts)
        self.texts_waiting -= size
        return batch

    def give_up_late(self):
        """Drop what nobody waits for any more, and what has waited too long to be worth computing."""
        oldest = time.monotonic() - self.patience
        while self.waiting and (self.waiting[0].future.done() or self.waiting[0].since < oldest):
            item = self.waiting.popleft()
            self.texts_waiting -= len(item.texts)
            if not item.future.done():
                item.future.set_exception(Overloaded("waited_too_long", self.retry_after()))
