"""Checks of lab @NUMBER@. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
from leaplm.grading import Contract, Number, as_number, check


@check(points=2, contract=Contract("labels", Number()))
def majority_share(student, rng):
    """Class numbers with gaps; the most frequent class is neither the first nor the last nor the largest."""
    labels = rng.permutation([4] * 7 + [0] * 3 + [9] * 4 + [2] * int(rng.integers(1, 4))).tolist()
    got = as_number(student.call("majority_share", labels), "majority_share")
    if not np.isclose(got, 7 / len(labels)):
        return 0, "the share differs: count each class, and divide the largest count by the number of texts"
    if not np.isclose(as_number(student.call("majority_share", [3]), "majority_share"), 1):
        return 1, "right for many texts; of one text, the share is 1"
    return 2, "the share of the most frequent class"
