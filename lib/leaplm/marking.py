"""What a lab's model is marked on in a language: the grader's rows, and our own runs, which set the threshold.

    describe_language("lab9_responsible", LANGUAGE)     # in each lab, below its LANGUAGE
"""

from typing import NamedTuple

from leaplm import added, calibration, data

ALL_POINTS = 30  # of a lab
FEWEST_RUNS = 5  # seeds that a threshold needs
FEWER_RUNS = {"lab15_instructions": 3}  # its threshold is a share of the mean gain, far below all runs


class Mark(NamedTuple):
    """How a lab's model is marked: the study whose runs set the threshold, the model's points, the rows it is marked on.

    where: what else the study's rows must say. fewest: runs without which no threshold is set; 0 where a model is marked
    without any, against the most frequent class. what: is marked. rows_of: what the rows are.
    """

    study: str
    where: dict
    points: int = 6
    rows: int = 600
    fewest: int = FEWEST_RUNS
    what: str = "model"
    rows_of: str = "held-out texts"


MARKS = {
    "lab0_start": Mark("fair", {}, what="tokenizer", rows=data.HELDOUT_SENTENCES, rows_of="held-out sentences"),
    "lab1_pretraining": Mark("from_nothing", {}),
    "lab2_finetuning": Mark("main", {}),
    "lab3_lora": Mark("main", {}),
    "lab4_prompting": Mark("main", {}, points=4, rows=150, fewest=0, what="prompt"),
    "lab5_fewshot": Mark("main", {}),
    "lab6_overfitting": Mark("main", {"recipe": "words deleted"}),
    "lab7_continual": Mark("languages", {"method": "replay"}, rows=300, rows_of="held-out texts of each task"),
    "lab8_serving": Mark("main", {}),
    "lab9_responsible": Mark("main", {}),
}


def study_of(lab, language):
    """The name of the study whose runs set a lab's threshold in a language."""
    return "methods" if (lab, language) == ("lab7_continual", "eng") else MARKS[lab].study


def runs(lab, language):
    """Our own runs that a mark in this language rests on, a DataFrame; empty where they are too few for a threshold.

    >>> len(runs("lab9_responsible", "kin"))        # doctest: +SKIP
    8
    """
    mark, own = MARKS[lab], added.find(language)
    name = own.language if own else language
    found = calibration.load_record(lab, study_of(lab, name), language=name, **mark.where)
    if own and not len(found):
        found = calibration.load_rows(own.record(lab), mark.study, found.columns, language=name, **mark.where)
    return found if len(found) >= mark.fewest else found[:0]


def describe_language(lab, language):
    """Print what of a lab is marked in a language, and on what; where something is not, how it can be.

    >>> describe_language("lab9_responsible", "kin")        # doctest: +SKIP
    Kinyarwanda: the model is marked on 517 held-out texts (6 of the lab's 30 points).
    """
    print(told(lab, language))


def told(lab, language):
    name = data.NAMES.get(language, str(language))
    mark = MARKS.get(lab)
    if mark is None:
        return told_by_record(lab, language, name)
    if rows := rows_marked_on(lab, language):
        against = "" if len(runs(lab, language)) or lab == "lab0_start" else ", against the most frequent class"
        points = f"{mark.points} of the lab's {ALL_POINTS} points"
        return f"{name}: the {mark.what} is marked on {rows} {mark.rows_of}{against} ({points})."
    rest = f"{ALL_POINTS - mark.points} of the lab's {ALL_POINTS} points can be reached"
    return f"{name}: the {mark.what} is not marked, {rest}. {remedy(lab, language)}"


def told_by_record(lab, language, name):
    """The same for a lab whose languages are those that its record holds, or that has none."""
    try:
        count = len(calibration.load_record(lab, "main", language=language))
    except FileNotFoundError:
        return f"{name}: no mark of this lab rests on held-out texts; all {ALL_POINTS} points can be reached."
    if count < FEWER_RUNS.get(lab, FEWEST_RUNS):
        return f"{name}: what you hand in is not marked, for want of runs of ours to compare it with; all else is."
    return f"{name}: what you hand in is marked on rows that you have not seen, against {count} runs of ours."


def rows_marked_on(lab, language):
    """How many rows the model is marked on at most; 0 where it is not marked."""
    mark, own = MARKS[lab], added.find(language)
    if lab == "lab0_start":
        return mark.rows if language in data.SIB200 else 0
    if not (own or language in data.MARKED) or (mark.fewest and runs(lab, language).empty):
        return 0
    if own and own.heldout.is_file():
        return min(mark.rows, len(data.read_added(own.heldout)))
    return min(mark.rows, data.FEW_HELDOUT.get(language, mark.rows))


def remedy(lab, language):
    """What makes a lab's model marked in a language where it is not."""
    if lab == "lab0_start":
        return f"It needs sentences that are the same in every language, as in: {', '.join(data.SIB200)}."
    if language in data.MARKED:
        return f"There are too few runs of ours to set a threshold. A teacher adds them with: leaplm add-language {language}"
    if not data.is_own_file(language):
        return f"This lab has no texts in it; use one of {', '.join(data.MARKED)}, or a CSV file of your own."
    return ("It takes texts that you have not seen. If your teacher gave you this file, ask whether they are there; else a "
            f"teacher, or you for yourself, holds a part of it back with: leaplm add-language {language}")
