"""The texts of slides that stand in no lab: for the catalogues of the translations."""

import sys
from pathlib import Path

from leaplm.grading.course import list_labs

for folder in Path(__file__).resolve().parents[:2]:
    sys.path.insert(0, str(folder))
import cards  # noqa: E402
import measured  # noqa: E402

FOUND, SPREAD = "What our own runs found", "Mean ± standard deviation over {runs} runs, from the lab's record."
EXERCISES = "The exercises"


def texts(root, known=()):
    """These texts, and those of the tables in the labs' cards with the names of their rows that are not `known`."""
    yield from (FOUND, SPREAD, EXERCISES)
    for lab in list_labs(root):
        if spec := cards.read_card(root, lab).get("table"):
            yield from (spec["title"], spec["head"], *spec["values"].values())
            yield from (name for name in measured.names(lab, spec) if name not in known)
