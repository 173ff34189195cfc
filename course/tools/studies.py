"""The tables of a lab's calibration record by the names of its studies, for expressions in claims, slides and questions."""

import numpy as np
import pandas as pd
from leaplm import calibration, evaluation
from leaplm.responsible import privacy

# `__import__`: numpy and pandas import parts of themselves where an expression first calls them.
BUILTINS = {"__import__": __import__, "str": str, "round": round, "sum": sum, "min": min, "max": max, "abs": abs, "len": len,
            "int": int}


class Studies(dict):
    """Names for `evaluate`: the studies of a lab's record, read when they are asked for, and a few functions on them."""

    def __init__(self, lab, **more):
        super().__init__(np=np, pd=pd, difference=evaluation.paired_difference, promise=promise, hits=hits,
                         interval=evaluation.seeds_and_texts_interval, record=calibration.load_record, **more)
        self.lab = lab

    def __missing__(self, name):
        try:
            return self.setdefault(name, calibration.load_record(self.lab, name))
        except (KeyError, FileNotFoundError):  # then it is a name of Python, such as sum
            raise KeyError(name) from None


def hits(rows):
    """Right (1) and wrong (0) answers of each run, (runs, texts), from a column like "0110"."""
    return np.array([[int(digit) for digit in row] for row in rows])


def promise(epsilon, false_alarms=0.05):
    """The largest share of members that any attack finds in lab 9's private training."""
    profile = privacy.privacy_profile(privacy.noise_for(epsilon, 1e-5, 0.25, 100), 0.25, 100)
    return min(privacy.most_found(false_alarms, *pair) for pair in profile)


def evaluate(expression, names):
    """The value of a Python expression of the course; `names` are Studies.

    >>> evaluate("12 * 8 * (384 + 384)", Studies("lab3_lora"))
    73728
    """
    return eval(expression, {"__builtins__": BUILTINS}, names)
