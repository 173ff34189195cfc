"""The tables of a lab's calibration record by the names of its studies, for expressions in claims, slides and questions."""

import ast
import functools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
from leaplm import calibration, evaluation
from leaplm.assets.manifest import load_manifest
from leaplm.grading.course import lab_file, list_labs
from leaplm.responsible import fairness, privacy

ROOT = Path(__file__).resolve().parents[2]
# `__import__`: numpy and pandas import parts of themselves where an expression first calls them.
BUILTINS = {"__import__": __import__, "str": str, "round": round, "sum": sum, "min": min, "max": max, "abs": abs, "len": len,
            "int": int, "float": float, "all": all, "any": any, "sorted": sorted, "map": map}


class Studies(dict):
    """Names for `evaluate`: the studies of a lab's record, read when they are asked for, and a few functions on them."""

    def __init__(self, lab, **more):
        super().__init__(np=np, pd=pd, difference=evaluation.paired_difference, promise=promise, hits=hits,
                         paired=fairness.paired_interval,
                         interval=evaluation.seeds_and_texts_interval, record=calibration.load_record, setting=setting,
                         card=lambda other=lab: read_card(other), cards=cards, downloads=downloads, measured=measured,
                         chapter_minutes=chapter_minutes, **more)
        self.lab = lab

    def __missing__(self, name):
        try:
            return self.setdefault(name, calibration.load_record(self.lab, name))
        except (KeyError, FileNotFoundError):  # then it is a name of Python, such as sum
            raise KeyError(name) from None


def hits(rows):
    """Right (1) and wrong (0) answers of each run, (runs, texts), from a column like "0110"."""
    return np.array([[int(digit) for digit in row] for row in rows])


def read_card(lab):
    """card.json of a lab: what was measured when its solution ran."""
    return json.loads(lab_file(ROOT, lab, "card.json").read_text(encoding="utf-8"))


def cards():
    """The cards of all labs, in order."""
    return [read_card(lab) for lab in list_labs(ROOT)]


def setting(path, name):
    """The value of a constant in a file of the course.

    >>> setting("course/tools/plans.py", "WORDS_A_MINUTE")
    100
    """
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    [value] = [part.value for part in tree.body if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == name]
    return ast.literal_eval(value)


def downloads(*names):
    """Megabytes that `leaplm fetch` brings: of these assets, or of all that it fetches without being asked."""
    wanted = [asset for asset in load_manifest().values() if (asset.name in names if names else asset.core)]
    return sum(asset.download_bytes() for asset in wanted) / 1e6


def measured(name):
    """A measurement of the whole course: course/measured.json says how it was made."""
    return json.loads((ROOT / "course" / "measured.json").read_text(encoding="utf-8"))[name]


def chapter_minutes():
    """How long it takes to read each lab's chapter, at the speed of course/tools/plans.py."""
    plans = "course/tools/plans.py"
    speed, hidden = setting(plans, "WORDS_A_MINUTE"), re.compile("|".join(setting(plans, "HIDDEN")), re.DOTALL)
    texts = (lab_file(ROOT, lab, "chapter.md").read_text(encoding="utf-8") for lab in list_labs(ROOT))
    return [len(re.findall(r"[^\W\d_]{2,}", hidden.sub(" ", text))) / speed for text in texts]


@functools.cache
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
