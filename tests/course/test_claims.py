"""Numbers in the labs' sentences follow from the records: when a record changes, the sentences have to be read again.

course/<lab>/claims.json holds for a lab:

* claims: sentences of lab.py (marking guides too) or chapter.md as they stand there, with each number that a record gives in
  braces, and for each of these, in order, where it comes from: an expression of pandas, in which the names of studies are
  the record's tables. {"words": "the loss falls from {0.87}", "record": ["temperature.before_loss.mean()"]}
* given: numbers with a decimal point that come from no record, with the reason: settings, sizes of models, examples.
* unchecked: numbers with a decimal point that nobody has tied to a record yet. The list may only become shorter.
"""

import json
import re

import numpy as np
import pytest
from leaplm import calibration, evaluation
from leaplm.grading.course import list_labs
from leaplm.responsible import privacy
from prose import DECIMAL, chapter_prose, clean, lab_prose
from repo import ROOT

LABS = list_labs(ROOT)
NUMBER = re.compile(r"\{([^{}]+)\}")


class Studies(dict):
    """The studies of a lab's record by name, read when they are asked for."""

    def __init__(self, lab):
        super().__init__(np=np, difference=evaluation.paired_difference, interval=evaluation.seeds_and_texts_interval,
                         hits=hits, promise=promise, record=calibration.load_record)
        self.lab = lab

    def __missing__(self, name):
        try:
            return self.setdefault(name, calibration.load_record(self.lab, name))
        except KeyError:
            raise KeyError(name) from None


def hits(rows):
    """Right (1) and wrong (0) answers of each run, (runs, texts), from a column like "0110"."""
    return np.array([[int(digit) for digit in row] for row in rows])


def promise(epsilon, false_alarms=0.05):
    """The largest share of members that any attack finds in lab 9's private training."""
    profile = privacy.privacy_profile(privacy.noise_for(epsilon, 1e-5, 0.25, 100), 0.25, 100)
    return min(privacy.most_found(false_alarms, *pair) for pair in profile)


def claims_of(lab):
    return json.loads((ROOT / "course" / lab / "claims.json").read_text(encoding="utf-8"))


def stands(words, lab):
    plain = clean(NUMBER.sub(r"\1", words))
    return any(plain in text for text in (lab_prose(ROOT, lab), chapter_prose(ROOT, lab)))


CLAIMS = [pytest.param(lab, claim, id=f"{lab.split('_')[0]}-{i}") for lab in LABS
          for i, claim in enumerate(claims_of(lab)["claims"])]


@pytest.mark.parametrize(("lab", "claim"), CLAIMS)
def test_what_a_sentence_says_is_what_the_record_holds(lab, claim):
    told = NUMBER.findall(claim["words"])
    assert stands(claim["words"], lab), f"no sentence of {lab} says: {claim['words']}"
    assert len(told) == len(claim["record"]), claim
    for number, expression in zip(told, claim["record"], strict=True):
        places = len(number.partition(".")[2])
        value = float(eval(expression, {"__builtins__": {"str": str}}, Studies(lab)))
        written = float(number.replace("−", "-").replace(",", "").replace("+", ""))
        assert abs(value - written) <= 0.5001 * 10**-places, \
            f"{number} in {claim['words']!r}, but {expression} = {value:.5f}"


@pytest.mark.parametrize("lab", LABS)
def test_no_number_stands_alone(lab):
    """Every number with a decimal point is claimed, given with a reason, or known to be unchecked."""
    found, claims = set(), claims_of(lab)
    for text in (lab_prose(ROOT, lab), chapter_prose(ROOT, lab)):
        for claim in claims["claims"]:
            text = text.replace(clean(NUMBER.sub(r"\1", claim["words"])), " ")
        found |= set(DECIMAL.findall(text))
    known = {*claims["given"], *claims["unchecked"]}
    assert found - known == set(), f"{lab}: from which record? Add them to course/{lab}/claims.json"
    assert known - found == set(), f"{lab}: these numbers are gone from the text; take them out of claims.json"
    assert not set(claims["given"]) & set(claims["unchecked"])


def test_a_changed_record_fails(monkeypatch):
    """The test itself: another number in the record, and the sentence is found."""
    lab, claim = "lab6_overfitting", claims_of("lab6_overfitting")["claims"][0]
    real = calibration.load_record
    monkeypatch.setattr(calibration, "load_record", lambda lab, study, **where: real(lab, study, **where).assign(
        **dict.fromkeys(("accuracy", "loss", "before_loss", "seconds"), 0.123)))
    with pytest.raises(AssertionError, match="but"):
        test_what_a_sentence_says_is_what_the_record_holds(lab, claim)
