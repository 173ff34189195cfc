"""A client that loads a service and tells what it did: closed loop (n users, each waits) and open loop (a fixed rate).

The closed loop finds the capacity; the open loop shows what happens beyond it, because real people do not wait for each
other. Latency in the open loop counts from the moment at which a request was due (Tene, 2015, *coordinated omission*).
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

import aiohttp
import numpy as np

from leaplm.compression.latency import latency_summary

DROPPED = 0  # the status of a request that got no answer


@dataclass
class Result:
    """What came of each request: HTTP status (n,; 0 = no answer), when it was due and when it ended (n,; s)."""

    statuses: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def summary(self):
        """A dict: requests, answers by status, and p50, p95 (ms) and throughput (a second) of the accepted ones."""
        good = self.statuses == 200
        p50, p95, rate = latency_summary(self.starts[good], self.ends[good]) if good.any() else (np.nan,) * 3
        counts = Counter(self.statuses.tolist())
        return {"requests": len(self.statuses), "accepted": int(good.sum()), "shed": counts[503] + counts[429],
                "errors": sum(n for status, n in counts.items() if status >= 500 and status != 503),
                "dropped": counts[DROPPED], "p50_ms": 1000 * p50, "p95_ms": 1000 * p95, "accepted_per_second": rate,
                "offered_per_second": float(len(self.starts) / max(1e-9, self.starts.max() - self.starts.min()))}


class Client:
    """Sends texts to a service, one a request, and notes what came of it."""

    def __init__(self, address, texts, key=None, connections=256):
        # aiohttp: of the Python clients one that leaves most of a shared processor to the service.
        self.http = aiohttp.ClientSession(
            address, headers={"X-API-Key": key} if key else {}, timeout=aiohttp.ClientTimeout(total=60),
            connector=aiohttp.TCPConnector(limit=connections))
        self.texts, self.rows = texts, []

    async def ask(self, number, due=None):
        due = time.monotonic() if due is None else due
        try:
            async with self.http.post("/predict", json={"texts": [self.texts[number % len(self.texts)]]}) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            status = DROPPED
        self.rows.append((status, due, time.monotonic()))
        return status

    async def finish(self):
        await self.http.close()
        statuses, starts, ends = zip(*self.rows, strict=True)
        return Result(np.array(statuses), np.array(starts), np.array(ends))


async def closed(address, texts, users=16, seconds=5.0, key=None):
    """Each of `users` sends its next request when the last one is answered."""
    client, ends = Client(address, texts, key), time.monotonic() + seconds

    async def user(number):
        while time.monotonic() < ends:
            await client.ask(number)
            number += users

    await asyncio.gather(*(user(number) for number in range(users)))
    return await client.finish()


async def opened(address, texts, rate, seconds=5.0, key=None, seed=0):
    """Requests at random moments, `rate` a second on average (a Poisson process), whatever the answers do."""
    rng = np.random.default_rng(seed)
    moments = np.cumsum(rng.exponential(1 / rate, size=round(rate * seconds)))
    client, began, asked = Client(address, texts, key, connections=1024), time.monotonic(), []
    for number, moment in enumerate(moments):
        await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
        asked.append(asyncio.create_task(client.ask(number, began + moment)))
    await asyncio.gather(*asked)
    return await client.finish()


def closed_loop(address, texts, users=16, seconds=5.0, key=None):
    """The Result of `users` users in `seconds` s; runs in a thread of its own, so that it works in a notebook too."""
    return in_thread(closed(address, texts, users, seconds, key))


def open_loop(address, texts, rate, seconds=5.0, key=None, seed=0):
    """The Result of `rate` requests a second on average during `seconds` s."""
    return in_thread(opened(address, texts, rate, seconds, key, seed))


def in_thread(coroutine):
    """Run a coroutine to its end, also where an event loop runs already (Jupyter)."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
