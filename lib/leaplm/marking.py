"""What a lab's model is marked on in a language: the grader's rows, and our own runs, which set the threshold.

    describe_language("lab9_responsible", LANGUAGE)     # in each lab, below its LANGUAGE
    describe_aim("lab9_responsible", LANGUAGE)          # where its model is handed in
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from leaplm import added, calibration, data
from leaplm.assets import AssetMissing
from leaplm.locales import language_name, learner_locale, say

ALL_POINTS = 30  # of most labs
FEWEST_RUNS = 5  # seeds that a threshold needs by their own spread
WITH_OTHERS = 3  # by the spread of the lab's other languages as well: a mean needs fewer runs than a deviation

# What is told: whole sentences, since another language may put its parts in another order.
MARKED = "{name}: {what} is marked on {rows} {rows_of} ({points} of the lab's {all} points)."
NOT_MARKED = "{name}: {what} is not marked, {rest} of the lab's {all} points can be reached."
NO_HELDOUT = "{name}: no mark of this lab rests on held-out texts; all {all} points can be reached."
TOO_FEW = "{name}: what you hand in is not marked, for want of runs of ours to compare it with; all else is."
BY_RUNS = "{name}: what you hand in is marked on rows that you have not seen, against {count} runs of ours."
NEEDS_SENTENCES = "It needs sentences that are the same in every language, as in: {languages}."
NEEDS_RUNS = "There are too few runs of ours to set a threshold. A teacher adds them with: leaplm add-language {language}"
NEAR = "Our own runs in it are hardly better than guessing, so a mark would tell nothing."
NO_TEXTS = "This lab has no texts in it; use one of {languages}, or a CSV file of your own."
NEEDS_UNSEEN = ("It takes texts that you have not seen. If your teacher gave you this file, ask whether they are there; "
                "else a teacher, or you for yourself, holds a part of it back with: leaplm add-language {language}")
# What full points are given from, on rows that the learner has not seen.
ACCURACY = "{name}: full points from an accuracy of {wanted} on texts that you have not seen."
MACRO_F1 = "{name}: full points from a macro-F1 of {wanted} on texts that you have not seen."
GAIN = "{name}: full points from a gain of {wanted} nats per hidden token on texts that you have not seen."
TASKS = ("{name}: 4 points from an average accuracy of {average} on texts of all tasks that you have not seen, and 2 points "
         "from an accuracy of {worst} on the worst task.")
TOKENS = "{name}: full points up to {other} tokens per held-out sentence; in English up to {english}."


def above_majority(labels):
    """Two points of accuracy more than the most frequent class has."""
    return np.bincount(labels).max() / len(labels) + 0.02


def most_by_guessing(labels):
    """What 99 of 100 guesses with the classes' own frequencies stay below: macro-F1. "Always the same" has far less."""
    return _most_by_guessing(tuple(labels))


@functools.lru_cache  # an examiner marks a whole class on the same rows
def _most_by_guessing(labels):
    labels, rng = np.array(labels), np.random.default_rng(0)
    _, code, counts = np.unique(labels, return_inverse=True, return_counts=True)
    # A guess says each class as often as it comes, so its F1 is the share of the class that it finds.
    weight = 1 / (counts[code] * len(counts))
    return float(np.quantile([weight @ (labels == rng.permutation(labels)) for _ in range(300)], 0.99))


class Mark(NamedTuple):
    """How a lab's model is marked: the study whose runs set the threshold, the model's points, the rows it is marked on.

    where: what else the study's rows must say. what: is marked. rows_of: what the rows are. of: the lab's points in all.
    aim: the sentence that tells the threshold. columns: of the runs, by the sentence's placeholders. least: of the rows'
    labels, what is wanted in any case; a language in which runs like ours do not reach it is not marked.
    """

    study: str
    where: dict
    points: int = 6
    rows: int = 600
    what: str = "the model"
    rows_of: str = "held-out texts"
    of: int = ALL_POINTS
    aim: str = MACRO_F1
    columns: dict = {"wanted": "heldout_macro_f1"}
    least: Callable | None = None


MARKS = {
    "lab0_start": Mark("fair", {}, what="the tokenizer", rows=data.HELDOUT_SENTENCES, rows_of="held-out sentences",
                       aim=TOKENS, columns={"english": "heldout_english", "other": "heldout_other"}),
    "lab1_pretraining": Mark("from_nothing", {}, aim=GAIN, columns={"wanted": "heldout_gain"}),
    "lab2_finetuning": Mark("main", {}, aim=ACCURACY, columns={"wanted": "heldout_accuracy"}, least=above_majority),
    "lab3_lora": Mark("main", {}, least=most_by_guessing),
    "lab4_prompting": Mark("main", {}, points=4, rows=150, what="the prompt", least=most_by_guessing),
    "lab5_fewshot": Mark("main", {}, least=most_by_guessing),
    "lab6_overfitting": Mark("main", {"recipe": "words deleted"}, least=most_by_guessing),
    "lab7_continual": Mark("languages", {"method": "replay"}, rows=300, rows_of="held-out texts of each task", aim=TASKS,
                           columns={"average": "heldout_average", "worst": "heldout_worst"}),
    "lab8_serving": Mark("main", {}, least=most_by_guessing),
    "lab9_responsible": Mark("main", {}, least=most_by_guessing),
    "lab16_small_machines": Mark("main", {}, points=5, of=40, least=most_by_guessing),
}

# Languages that a lab offers and does not mark: pieces of the encoder's words say too little of them (lab 0 shows why). More
# are found by their runs (`near_guessing`); in lab 7 it is by who knows a text's task that they are passed.
NEAR_GUESSING = {"lab2_finetuning": ("amh",), "lab3_lora": ("amh", "pcm"), "lab7_continual": ("amh",),
                 "lab8_serving": ("amh",), "lab16_small_machines": ("pcm",)}


def marked_languages(lab):
    """The languages of `data.MARKED` that a lab marks: those its study has to run.

    >>> [language for language in data.MARKED if language not in marked_languages("lab3_lora")]
    ['amh', 'pcm']
    """
    return [language for language in data.MARKED if language not in NEAR_GUESSING.get(lab, ())]


def study_of(lab, language):
    """The name of the study whose runs set a lab's threshold in a language."""
    return "methods" if (lab, language) == ("lab7_continual", "eng") else MARKS[lab].study


def runs(lab, language, labels=None):
    """Our own runs that a mark in this language rests on, a DataFrame; empty where they cannot carry one.

    They cannot where they are too few for a threshold, or near guessing: then a guess would pass, or a run like ours fail.
    labels: as `labels_marked_on` gives them, where they are at hand.

    >>> len(runs("lab9_responsible", "kin"))        # doctest: +SKIP
    8
    """
    found = recorded(lab, language)
    return found[:0] if near_guessing(lab, language, found, labels) else found


def recorded(lab, language):
    """All of our runs in a language, empty where they are too few for a threshold."""
    mark, own = MARKS[lab], added.find(language)
    name = own.language if own else language
    found = calibration.load_record(lab, study_of(lab, name), language=name, **mark.where)
    if len(found) >= WITH_OTHERS:
        return found
    if own:  # an unfinished record of ours is no reason to leave out the teacher's
        found = calibration.load_rows(own.record(lab), mark.study, found.columns, language=name, **mark.where)
    return found if len(found) >= FEWEST_RUNS else found[:0]


def near_guessing(lab, language, found, labels=None):
    """Whether one run like ours in ten, or more, does not reach what knowing nothing may reach by luck."""
    mark = MARKS[lab]
    if language in NEAR_GUESSING.get(lab, ()):
        return True
    if mark.least is None or found.empty:
        return False
    try:
        least = mark.least(labels_marked_on(lab, language) if labels is None else labels)
    except AssetMissing:  # as the lab says where it loads its texts
        return False
    return bound(lab, language, found, mark.columns["wanted"], level=0.9) < least


def labels_marked_on(lab, language):
    """The classes of the rows that the model is marked on; where they are kept away (an exam), those of the test part."""
    own = added.find(language)
    if own and own.texts.is_file() and not own.heldout.is_file():
        return np.array(data.load_sentiment(str(own.texts))["test"]["label"])
    rows = data.heldout_rows(language, MARKS[lab].rows)
    if not len(rows):
        rows = data.subsample(data.load_sentiment(data.marked_language(language))["test"], MARKS[lab].rows)
    return np.array(rows["label"])


def bound(lab, language, found, measure, level=0.995):
    """What one more run like those found stays above with a probability of `level`; NaN without runs.

    Fewer than five runs take their spread from all languages of the lab that have five.
    """
    if found.empty or len(found) >= FEWEST_RUNS:
        return calibration.prediction_bound(found[measure], level)
    study = calibration.load_record(lab, study_of(lab, language), **MARKS[lab].where)
    groups = [rows[measure] for _, rows in study.groupby("language") if len(rows) >= FEWEST_RUNS]
    return calibration.prediction_bound(found[measure], level, spread_of=[found[measure], *groups])


def threshold(lab, language, measure, labels=None):
    """What full points ask for: what one more run like ours stays above, 199 times in 200, by a column of `runs`.

    Never less than what a guess may reach. NaN without runs. labels: as for `runs`.

    >>> round(threshold("lab9_responsible", "eng", "heldout_macro_f1"), 2)
    0.73
    """
    mark = MARKS[lab]
    if mark.least and labels is None and not recorded(lab, language).empty:
        labels = labels_marked_on(lab, language)
    found = runs(lab, language, labels)
    wanted = bound(lab, language, found, measure)
    return wanted if mark.least is None or found.empty else max(wanted, mark.least(labels))


def describe_language(lab, language):
    """Print what of a lab is marked in a language, and on what; where something is not, how it can be.

    >>> describe_language("lab9_responsible", "kin")        # doctest: +SKIP
    Kinyarwanda: the model is marked on 517 held-out texts (6 of the lab's 30 points).
    """
    print(told(lab, language))


def describe_aim(lab, language):
    """Print from which score on a lab's model has all its points in a language.

    >>> describe_aim("lab9_responsible", "kin")        # doctest: +SKIP
    Kinyarwanda: full points from a macro-F1 of 0.443 on texts that you have not seen.
    """
    print(aim_told(lab, language))


def aim_told(lab, language):
    """The sentence; what `told` says where no threshold is set."""
    mark = MARKS[lab]
    if not rows_marked_on(lab, language) or runs(lab, language).empty:
        return told(lab, language)
    name = language_name(str(language), learner_locale(), data.NAMES.get(language, str(language)))
    found = aims(lab, language)
    if lab == "lab0_start":  # at most, with one decimal place
        return say(mark.aim, name=name, **{part: f"{math.floor(10 * limit) / 10:.1f}" for part, limit in found.items()})
    return say(mark.aim, name=name, **{part: f"{math.ceil(1000 * wanted) / 1000:.3f}" for part, wanted in found.items()})


def aims(lab, language):
    """What full points ask for, by the placeholders of the lab's sentence.

    >>> round(aims("lab1_pretraining", "eng")["wanted"], 3)
    0.476
    """
    mark = MARKS[lab]
    if lab == "lab0_start":
        found = runs(lab, language)
        return {part: max(found[column].mean() + 3 * found[column].std(), 1.03 * found[column].mean())
                for part, column in mark.columns.items()}  # fmt: skip
    return {part: threshold(lab, language, column) for part, column in mark.columns.items()}


def told(lab, language):
    name = language_name(str(language), learner_locale(), data.NAMES.get(language, str(language)))
    mark = MARKS.get(lab)
    if mark is None:
        return told_by_record(lab, language, name)
    said = {"name": name, "what": say(mark.what), "all": mark.of}
    if rows := rows_marked_on(lab, language):
        return say(MARKED, rows=rows, rows_of=say(mark.rows_of), points=mark.points, **said)
    return f"{say(NOT_MARKED, rest=mark.of - mark.points, **said)} {remedy(lab, language)}"


def told_by_record(lab, language, name):
    """The same for a lab whose languages are those that its record holds, or that has none."""
    try:
        count = len(calibration.load_record(lab, "main", language=language))
    except FileNotFoundError:
        return say(NO_HELDOUT, name=name, all=ALL_POINTS)
    return say(TOO_FEW, name=name) if count < FEWEST_RUNS else say(BY_RUNS, name=name, count=count)


def rows_marked_on(lab, language):
    """How many rows the model is marked on at most; 0 where it is not marked."""
    mark, own = MARKS[lab], added.find(language)
    if lab == "lab0_start":
        return mark.rows if language in data.SIB200 else 0
    if not (own or language in data.MARKED) or runs(lab, language).empty:
        return 0
    if own and own.heldout.is_file():
        return min(mark.rows, len(data.read_added(own.heldout)))
    return min(mark.rows, data.FEW_HELDOUT.get(language, mark.rows))


def remedy(lab, language):
    """What makes a lab's model marked in a language where it is not."""
    if lab == "lab0_start":
        return say(NEEDS_SENTENCES, languages=as_typed(data.SIB200))
    if language in NEAR_GUESSING.get(lab, ()) or not recorded(lab, language).empty:
        return say(NEAR)
    if language in data.MARKED:
        return say(NEEDS_RUNS, language=language)
    if not data.is_own_file(language):
        return say(NO_TEXTS, languages=as_typed(data.MARKED))
    return say(NEEDS_UNSEEN, language=language)


def as_typed(languages):
    """Codes as one types them behind LANGUAGE.

    >>> as_typed(["eng", "hau"])
    '"eng", "hau"'
    """
    return ", ".join(f'"{language}"' for language in languages)
