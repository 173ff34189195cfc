"""Time measured as a user feels it: percentiles, throughput, and versions compared in turns."""

import time

import numpy as np


def latency_summary(starts, ends):
    """(p50, p95, throughput) of requests from the times (n,) at which they began and ended, in seconds.

    Percentiles by nearest rank: the smallest time that at least p % of the requests did not exceed, so it is one that
    really occurred. Throughput: requests per second from the first start to the last end.

    >>> latency_summary([0.0, 0.0, 1.0, 1.0], [0.1, 0.2, 1.3, 2.0])
    (0.2, 1.0, 2.0)
    """
    starts, ends = np.asarray(starts, dtype=float), np.asarray(ends, dtype=float)
    if starts.shape != ends.shape or starts.ndim != 1 or not len(starts):
        raise ValueError(f"starts {starts.shape} and ends {ends.shape} must be equally long lists, not empty")
    p50, p95 = (percentile(ends - starts, share) for share in (50, 95))
    return p50, p95, float(len(starts) / (ends.max() - starts.min()))


def percentile(values, percent):
    """The nearest-rank percentile: the value at place ceil(percent / 100 * n), counted from 1, in order of size."""
    values = np.sort(np.asarray(values, dtype=float))
    return float(values[max(0, int(np.ceil(percent * len(values) / 100)) - 1)])


def time_in_turns(calls, rounds=20, warmup=3):
    """Seconds {name: array (rounds,)} of each function in `calls` {name: function}, one call of each a round, in turns.

    A busy moment of the machine then hits all of them, and times of the same round can be compared as pairs.
    """
    for _ in range(warmup):
        for call in calls.values():
            call()
    seconds = {name: np.zeros(rounds) for name in calls}
    for turn in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name][turn] = time.perf_counter() - started
    return seconds
