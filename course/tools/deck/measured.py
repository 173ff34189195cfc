"""The numbers of a lab's key table, `table` in its card.json: mean and spread of the runs in the lab's record."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import studies  # noqa: E402

LANGUAGE = "language"  # rows or columns of this kind are called by the names of languages


def statistics(lab, spec):
    """(means, standard deviations, numbers of runs) of a table, each as a DataFrame with the table's rows and columns."""
    by, across = spec["by"], spec.get("columns")
    rows = studies.evaluate(spec["from"], studies.Studies(lab))
    groups = rows.groupby([by, across] if across else by, sort=spec.get("sorted", True))[list(spec["values"])]
    parts = groups.mean(), groups.std(), groups.count()
    return tuple(part.iloc[:, 0].unstack() for part in parts) if across else parts


def names(lab, spec):
    """What the rows and columns of a table are called in English, but languages."""
    mean = statistics(lab, spec)[0]
    kinds = ((spec["by"], mean.index), (spec.get("columns"), mean.columns))
    return [str(name) for kind, found in kinds if kind and kind != LANGUAGE for name in found]
