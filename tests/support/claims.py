"""Reads the files of claims, and the texts that each holds (tests/course/test_claims.py says how they are written)."""

import functools
import json
import re
import tomllib

from leaplm.grading.course import list_labs
from prose import chapter_prose, clean, lab_prose
from repo import ROOT

COURSE = "the course"  # whose file is course/claims.json, for the pages that belong to no lab
PAGES = ("README.md", "course/README.md", "course/TEACHING.md", "course/PLANS.md", "course/GRADING.md", "course/START.md",
         "course/cluster/README.md")
SCOPES = [COURSE, *list_labs(ROOT)]
MADE = re.compile(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", re.DOTALL)  # a table that tables.py writes
TELLS = re.compile(r"\brecords?\b|\bthe lab\b|\bmeasure[ds]?\b|\bour (?:own )?runs\b", re.I)
FILLED = re.compile(r"\{[^{}]+\}")
NUMBER = re.compile(r"\{([^{}]+)\}")
WORTH = {word: number for number, word in enumerate(
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"))}
WORTH |= {"twenty": 20, "thirty": 30, "fifty": 50, "hundred": 100, "thousand": 1000, "twice": 2, "half": 0.5, "first": 1}


def claims_of(scope):
    folder = ROOT / "course" / ("" if scope == COURSE else scope)
    return json.loads((folder / "claims.json").read_text(encoding="utf-8"))


@functools.cache
def texts_of(scope):
    """The texts that say something: of a lab its notebook, chapter and card, and what its questions say of the record."""
    if scope == COURSE:
        return tuple(page_prose(page) for page in PAGES)
    return lab_prose(ROOT, scope), chapter_prose(ROOT, scope), questions_prose(scope), card_prose(scope)


def page_prose(page):
    return clean(MADE.sub(" ", (ROOT / page).read_text(encoding="utf-8")))


def card_prose(lab):
    """What the tables of the pages say of a lab: the sentences of its card."""
    card = json.loads((ROOT / "course" / lab / "card.json").read_text(encoding="utf-8"))
    return clean(". ".join(card[name] for name in ("build", "question", "ideas", "work") if name in card))


def questions_prose(lab):
    """The sentences of questions.toml that speak of the record or the lab, without the numbers that it gives them itself."""
    path = ROOT / "course" / lab / "questions.toml"
    entries = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    texts = [text for kind in entries.values() for entry in kind for text in strings(entry)]
    sentences = [part for text in texts for part in re.split(r"(?<=[.?!:])\s", text)]
    return clean(" ".join(FILLED.sub("…", part) for part in sentences if TELLS.search(part)))


def strings(entry):
    """Every text of a question that a reader sees."""
    yield from (entry[name] for name in ("ask", "right", "because") if name in entry)
    yield from (text for pair in entry.get("wrong", []) for text in pair)


def places_of(scope, claim):
    """The texts in which a claim may stand: the scope's, or the one file that it names."""
    return [clean((ROOT / claim["file"]).read_text(encoding="utf-8"))] if "file" in claim else texts_of(scope)


def plain(words):
    """The words of a claim as they stand in the text."""
    return clean(NUMBER.sub(r"\1", words))


def value_of(number):
    """(value, decimal places) of a number as it is written: in digits, or as a word."""
    digits = number.replace("−", "-").replace(",", "").replace("+", "").lower()
    if digits in WORTH:
        return float(WORTH[digits]), 1 if digits == "half" else 0
    return float(digits), len(digits.partition(".")[2])
