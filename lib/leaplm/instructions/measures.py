"""Measures of written answers: exact match, chrF, form, length, refusals."""

import re
from collections import Counter

import numpy as np

from leaplm.instructions.desks import REFUSED

ORDERS = 6  # chrF counts strings of 1 to 6 characters
BETA = 2  # and takes recall for twice as important as precision


def normalise(text, until=None):
    """Small letters, single blanks, no period at the end; with `until`, only what stands before its first occurrence.

    >>> normalise("  Pharmacy:  Iron tablets. "), normalise("Pharmacy: iron tablets.", until=":")
    ('pharmacy: iron tablets', 'pharmacy')
    """
    if until is not None:
        text = text.split(until, 1)[0]
    return " ".join(text.lower().split()).removesuffix(".").rstrip()


def exact_match(answers, references, until=None):
    """Share of answers that equal their reference after `normalise`; in [0, 1]. Nothing before `until` counts as wrong
    only if the reference differs.

    >>> exact_match(["Store: hoes.", "nurse: fever"], ["store:  hoes", "Store: fever"])
    0.5
    """
    pairs = zip(answers, references, strict=True)
    return float(np.mean([normalise(answer, until) == normalise(reference, until) for answer, reference in pairs]))


def chrf(answer, reference):
    """chrF of an answer in percent: F-score of the character strings of 1 to 6 characters that it shares with the reference.

    White space is left out. For each length, precision and recall of the strings, counted with repetition, are averaged
    over the lengths that occur in both texts; then F with beta 2. 0 if there is none. As sacreBLEU's sentence chrF2.
    Source: Popović, 2015 (https://aclanthology.org/W15-3049).

    >>> chrf("fever", "fever"), chrf("xyz", "fever")
    (100.0, 0.0)
    """
    precisions, recalls = [], []
    for order in range(1, ORDERS + 1):
        found, wanted = count_strings(answer, order), count_strings(reference, order)
        if found and wanted:
            shared = (found & wanted).total()
            precisions.append(shared / found.total())
            recalls.append(shared / wanted.total())
    if not precisions or not sum(precisions):
        return 0.0
    precision, recall = np.mean(precisions), np.mean(recalls)
    return float(100 * (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall))


def count_strings(text, order):
    """How often each string of `order` characters occurs in a text without white space (Counter)."""
    text = "".join(text.split())
    return Counter(text[i : i + order] for i in range(len(text) - order + 1))


def mean_chrf(answers, references):
    """Mean of `chrf` over the answers."""
    return float(np.mean([chrf(answer, reference) for answer, reference in zip(answers, references, strict=True)]))


def refusal_rates(answers, refuse, word="Refused"):
    """{"refused", "over_refused"}: share of refusals among the questions that must be refused, and among the others.

    refuse: a bool for each answer. An answer is a refusal if it begins with `word`, in any letter case, after blanks. 0
    where there is no such question.

    >>> refusal_rates(["Refused: no.", "Store: hoes.", "refused: no."], [True, True, False])
    {'refused': 0.5, 'over_refused': 1.0}
    """
    refusals = np.array([answer.strip().lower().startswith(word.lower()) for answer in answers], dtype=bool)
    refuse = np.array(refuse, dtype=bool)
    return {"refused": float(refusals[refuse].mean()) if refuse.any() else 0.0,
            "over_refused": float(refusals[~refuse].mean()) if (~refuse).any() else 0.0}


# -- the house style ------------------------------------------------------------------------------------------------------

FORM = re.compile(r"[\w ]{3,20}: [^:.?!]+\. [^:.?!]+\.")
BEGINS_AS_FORM = re.compile(r"[\w ]{3,20}: ")


def in_form(answer):
    """Whether an answer has the house style: a desk and a colon, what is wanted, and one more sentence; no more.

    >>> in_form("Store: two hoes. Bring the member card."), in_form("You need two hoes. Ask the store.")
    (True, False)
    """
    return FORM.fullmatch(answer.strip()) is not None


def begins_in_form(answer):
    """Whether an answer begins with a desk and a colon, whatever follows.

    >>> begins_in_form("Store: two hoes. Bring the card. Thank you for writing.")
    True
    """
    return BEGINS_AS_FORM.match(answer.strip()) is not None


def describe_answers(answers, references):
    """One row of the lab's tables: desk right, exact, chrF in percent, in form, mean words."""
    return {"desk right": exact_match(answers, references, ":"), "exact": exact_match(answers, references),
            "chrF": mean_chrf(answers, references), "in form": float(np.mean([in_form(answer) for answer in answers])),
            "words": float(np.mean([len(answer.split()) for answer in answers]))}


def nearest_answers(train, rows):
    """For each row the answer of the training row whose system message and question are nearest: no model at all.

    Nearness is the cosine of TF-IDF vectors of strings of 2 to 5 characters within words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    known = vectorizer.fit_transform([f"{row['system']} {row['question']}" for row in train])
    near = (vectorizer.transform([f"{row['system']} {row['question']}" for row in rows]) @ known.T).toarray()
    return [train[best]["answer"] for best in near.argmax(axis=1)]


def word_of_refusal(language):
    """How a refusal begins in a language of the course; English for others."""
    return REFUSED.get(language, REFUSED["eng"])
