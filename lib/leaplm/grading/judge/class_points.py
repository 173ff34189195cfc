"""The points of a model that says a class for each held-out text: one rule for all labs."""

from __future__ import annotations

from typing import Any

from leaplm import evaluation, marking
from leaplm.grading.judge import standing


def judge_classes(lab: str, language: str, labels: Any, predictions: Any) -> tuple[int, str]:
    """(points, message) for predictions (n,) of classes labels (n,), by macro-F1: "always neutral" earns nothing.

    All of the lab's points from `marking.threshold` on, half of them for clearly more than what a lucky guess has. (A head
    that was never trained often has more than a guess without luck.)
    """
    found = marking.runs(lab, language, labels)
    if found.empty:
        return 0, f"no model is marked in language {language!r} in this lab: hand in one for a language that is"
    guessing, wanted = marking.most_by_guessing(labels), marking.threshold(lab, language, "heldout_macro_f1", labels)
    score, points = evaluation.macro_f1(labels, predictions), marking.MARKS[lab].points
    standing.note("macro-F1", score, wanted, found["heldout_macro_f1"])
    told = f"macro-F1 {score:.3f} on {len(labels)} held-out texts"
    if score >= wanted:
        return points, f"{told}; at least {wanted:.3f} was wanted"
    if score > guessing and evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1)[0] > guessing:
        half = f"{told}: clearly above what guessing gives ({guessing:.3f}), below the {wanted:.3f} that was wanted"
        return points // 2, half
    return 0, f"{told}: not clearly above what guessing gives ({guessing:.3f}); {wanted:.3f} was wanted"
