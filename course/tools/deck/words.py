"""The texts of slides that stand in no lab: for the catalogues of the translations."""

import sys
from pathlib import Path

from leaplm.grading.course import list_labs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import cards  # noqa: E402

FOUND, SPREAD = "What our own runs found", "Mean ± standard deviation over {runs} runs, from the lab's record."
EXERCISES = "The exercises"


def texts(root):
    """These texts, and those of the tables in the labs' cards."""
    yield from (FOUND, SPREAD, EXERCISES)
    for spec in filter(None, (cards.read_card(root, lab).get("table") for lab in list_labs(root))):
        yield from (spec["title"], spec["head"], *spec["values"].values())
