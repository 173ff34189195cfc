"""Numbers in the labs' sentences follow from the records: when a record changes, the sentences have to be read again.

course/<lab>/claims.json holds for a lab:

* claims: sentences of lab.py (marking guides too) or chapter.md as they stand there, with each number that a record gives in
  braces, and for each of these, in order, where it comes from: an expression of pandas, in which the names of studies are
  the record's tables. {"words": "the loss falls from {0.87}", "record": ["temperature.before_loss.mean()"]}
  A sentence without a number has `holds`, an expression that has to be true.
* given: numbers with a decimal point that come from no record, with the reason: settings, sizes of models, examples.
* unchecked: numbers with a decimal point that nobody has tied to a record yet. The list may only become shorter.
"""

import json
import re

import pytest
from leaplm import calibration
from leaplm.grading.course import list_labs, load_module
from prose import DECIMAL, chapter_prose, clean, lab_prose
from repo import ROOT

studies = load_module(ROOT / "course" / "tools" / "studies.py")
LABS = list_labs(ROOT)
NUMBER = re.compile(r"\{([^{}]+)\}")


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
    assert told or "holds" in claim, f"nothing holds the sentence: {claim['words']}"
    assert "holds" not in claim or studies.evaluate(claim["holds"], studies.Studies(lab)), claim
    for number, expression in zip(told, claim["record"], strict=True):
        places = len(number.partition(".")[2])
        value = float(studies.evaluate(expression, studies.Studies(lab)))
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
