"""Which of two classifiers is better, on the same texts."""

import numpy as np

from leaplm.evaluation import bootstrap_interval, macro_f1


def paired_gain(labels, first, second, rounds=1000, seed=0):
    """How much better `second` is than `first`, in macro-F1 on the same texts: {"gain", "low", "high"}.

    labels, first, second (n,): class numbers. Each round draws n texts with replacement, the *same* ones for both; low and
    high are the 2.5 and 97.5 % points of the rounds' differences. Source: Efron & Tibshirani, 1993; Berg-Kirkpatrick et al.,
    2012, *An empirical investigation of statistical significance in NLP* (the paired bootstrap).

    >>> paired_gain([0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1])["high"]
    0.0
    """
    labels, first, second = (np.asarray(numbers) for numbers in (labels, first, second))

    def gain(drawn, places):
        return macro_f1(drawn, second[places]) - macro_f1(drawn, first[places])

    places = np.arange(len(labels))  # what is drawn: the places of texts, the same ones for both
    low, high = bootstrap_interval(labels, places, gain, rounds=rounds, seed=seed)
    return {"gain": gain(labels, places), "low": low, "high": high}
