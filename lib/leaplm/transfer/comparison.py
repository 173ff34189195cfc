"""Which of two classifiers is better, on the same texts."""

import numpy as np

from leaplm.evaluation import macro_f1


def paired_gain(labels, first, second, rounds=1000, seed=0):
    """How much better `second` is than `first`, in macro-F1 on the same texts: {"gain", "low", "high"}.

    labels, first, second (n,): class numbers. Each round draws n texts with replacement, the *same* ones for both; low and
    high are the 2.5 and 97.5 % points of the rounds' differences. Source: Efron & Tibshirani, 1993; Berg-Kirkpatrick et al.,
    2012, *An empirical investigation of statistical significance in NLP* (the paired bootstrap).

    >>> paired_gain([0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1])["high"]
    0.0
    """
    labels, first, second = (np.asarray(numbers) for numbers in (labels, first, second))
    rng, found = np.random.default_rng(seed), []
    for _ in range(rounds):
        rows = rng.integers(0, len(labels), len(labels))
        found.append(macro_f1(labels[rows], second[rows]) - macro_f1(labels[rows], first[rows]))
    low, high = np.quantile(found, [0.025, 0.975])
    return {"gain": macro_f1(labels, second) - macro_f1(labels, first), "low": float(low), "high": float(high)}
