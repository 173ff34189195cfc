"""What a learner reads from us, one sentence each, in the learner's language (`course/locale/<locale>/common.po`)."""

from __future__ import annotations

import os
from pathlib import Path

from leaplm.grading.course import LANGUAGES
from leaplm.grading.judge.translation import COMMON, current_locale, find_catalogs, look_up
from leaplm.learner.releases import find_root

POINTS = "{points} of {most} points for this exercise"
NOT_JUDGED = "not judged within {seconds} seconds: is there a loop that never ends? For more time, run: {command}"
STOPPED = "stopped after {seconds} seconds: is there a loop that never ends? The arrow above shows where it was"
MISTAKE = "Show a likely cause"
LIKELY = "A common answer gives exactly these results. What is wrong in it:"
HINT = "Show where to look"
ASKED = "Show what was asked for"
SECTION = "It is explained in the section “{section}”."
SO_FAR = "{lab}: {points} of {most} points by the computer, {right} of {all} checks right"
MODEL = "your saved model is tested on texts that it never saw; this takes longer than the other marks"
NO_MEMORY = "not judged: only {free} MB of memory are free. Restart the kernel, then run: {command}"
NOT_MARKED = "could not be marked here: {problem}"
PICTURE = "{metric}: yours is {score}, at least {wanted} was wanted; {runs} of our own runs reached {low} to {high}"
PICTURE_LOW = "{metric}: yours is {score}, at most {wanted} was wanted; {runs} of our own runs reached {low} to {high}"
OURS = "our runs"
YOURS = "your model"
WANTED = "wanted from here"
BEGIN = "Marks and hints appear below each check of this lab."
HEADS = ("lab", "checks right", "points so far", "saved model", "minutes of work")
NOTHING_YET = "Nothing is marked yet: open lab 0 and run its cells."
TITLE = "Your progress"
NEVER_LEAVES = "This page is made from {file}. Both stay on your computer: nobody else sees them."
MISSING = "This is missing: {what}"
WHOLE = "Nothing is missing: hand in this file as it is."
NO_ANSWER = "no answer to “{exercise}”"
NO_FILE = "{files}: run the cell that saves it"
ONLY_TINY = "{files}: run the cell that saves it at another scale than tiny ({tiny} is only for trying code)"
MADE_AT = "{file}: made at scale {scale}."
IS_THERE = "{file} is there."
NOT_YET_SAVED = "what you did since {time}: cells were run after the notebook was saved. Save it and hand in again"
TAKEN = "{file} ({megabytes} MB) holds all that you have begun. Download it; `leaplm bring-back` puts it in its place again."
NOT_SAVED = "{lab}: cells were run after the notebook was saved at {time}. Save it (Ctrl+S) and take your work home again."
NOTHING_BEGUN = "In {folder} no lab is begun: there is nothing to take home."
NOT_WORK = "{file} is not a whole zip of `leaplm take-home` ({problem}). Nothing was changed. Upload it again."
BROUGHT = "{count} files are back in {folder}. Open a lab and run its cells from the top: variables do not come back."
ASIDE = "{file} was worked on here too: that one is kept as {aside}."
DAMAGED = "{file} could not be read and was set aside as {aside}; a new one begins."


def learner_locale() -> str:
    """The language of LEAPLM_LOCALE, else that of the folder labs/languages/<locale>; "" is English."""
    parts = Path.cwd().parts
    if not os.environ.get("LEAPLM_LOCALE") and LANGUAGES in parts[:-1]:
        return parts[parts.index(LANGUAGES) + 1]
    try:
        return current_locale()
    except ValueError:  # a name that is none; a mark is not the place to stop a learner for it
        return ""


def catalogs_of(lab: str = COMMON) -> tuple:
    """The catalogues of a lab in the learner's language; none for English, or where there is no such language."""
    root, locale = find_root(), learner_locale()
    return find_catalogs(root, lab, locale) if root else ()


def say(words: str, **values: object) -> str:
    """A sentence of this module in the learner's language, with its values.

    >>> say(POINTS, points=2, most=3)
    '2 of 3 points for this exercise'
    """
    return (look_up(words, catalogs_of()) or words).format(**values)
