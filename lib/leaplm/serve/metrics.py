"""What Prometheus reads from /metrics, and the rule of an alert written out."""

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

disable_created_metrics()  # a second line for each counter, which nobody reads
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """All metrics of one app, in a registry of its own."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self.requests = self.make(Counter, "leaplm_requests", "Requests for predictions by HTTP status", ["status"])
        self.seconds = self.make(Histogram, "leaplm_request_seconds", "Seconds from a request to its answer, accepted ones",
                                 buckets=SECONDS)
        self.shed = self.make(Counter, "leaplm_shed", "Requests turned away under load, by reason", ["reason"])
        self.queue = self.make(Gauge, "leaplm_queue_texts", "Texts that wait for the model")
        self.batch = self.make(Histogram, "leaplm_batch_texts", "Texts in a batch", buckets=SIZES)
        self.busy = self.make(Counter, "leaplm_predict_seconds", "Seconds that the model computed")
        self.labels = self.make(Counter, "leaplm_predictions", "Predictions by class: a new mix may be drift", ["label"])
        self.confidence = self.make(Histogram, "leaplm_confidence", "Probability of the predicted class", buckets=SHARES)

    def make(self, kind, name, text, labels=(), **settings):
        return kind(name, text, labels, registry=self.registry, **settings)

    def saw_batch(self, texts, seconds):
        self.batch.observe(texts)
        self.busy.inc(seconds)

    def saw_predictions(self, names, confidences):
        for name, confidence in zip(names, confidences, strict=True):
            self.labels.labels(name).inc()
            self.confidence.observe(confidence)

    def text(self):
        """The text of /metrics, bytes."""
        return generate_latest(self.registry)


def increases(values):
    """What a counter grew by from one sample to the next (n - 1,). A value below the last one is a restart from 0.

    >>> increases([5, 8, 2]).tolist()
    [3.0, 2.0]
    """
    values = np.asarray(values, dtype=float)
    steps = np.diff(values)
    return np.where(steps < 0, values[1:], steps)


def alert_fires(times, requests, failures, window, share, hold):
    """Whether an alert fires at each sample, a list of n bools: "more than `share` of the requests failed, for `hold` s".

    times (n,; s, ascending); requests, failures (n,): two counters, sampled at these times. At a sample, the share is what
    `failures` grew by in the samples of the last `window` seconds, over what `requests` grew by (0 without requests). It
    must be above `share` at every sample of at least the last `hold` seconds. This is Prometheus' `expr` and `for`.

    >>> alert_fires([0, 10, 20, 30], [0, 10, 20, 30], [0, 0, 5, 10], window=10, share=0.2, hold=10)
    [False, False, False, True]
    """
    times, grown, failed = np.asarray(times, dtype=float), increases(requests), increases(failures)
    fires, since = [False], None
    for i in range(1, len(times)):
        recent = times[1 : i + 1] > times[i] - window
        total = grown[:i][recent].sum()
        above = total > 0 and failed[:i][recent].sum() / total > share
        since = None if not above else times[i] if since is None else since
        fires.append(bool(above and times[i] - since >= hold))
    return fires[: len(times)]
