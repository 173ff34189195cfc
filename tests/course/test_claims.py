"""Numbers in the course's sentences follow from the records: when a record changes, the sentences have to be read again.

course/<lab>/claims.json holds for a lab, and course/claims.json for the pages that belong to none (README, TEACHING ...):

* claims: sentences of lab.py (marking guides too), chapter.md, questions.toml, card.json or a page (or of the `file` that a
  claim names, such as a docstring's) as they stand there, with each number that a record gives in braces, and for each of
  these, in order, where it comes from: an expression of pandas, in which the names of studies are the record's tables,
  `card()` is the lab's card.json with what was measured, and more (course/tools/studies.py).
  {"words": "the loss falls from {0.87}", "record": ["temperature.before_loss.mean()"]}
  A number may be a word: {"words": "{three} of ten gain", ...}. A sentence without a number has `holds`, an expression that
  has to be true; so has a sentence with a limit ("less than 8 minutes").
* given: numbers that tests/support/results.py finds, but that come from no record, with the reason: settings, sizes of
  models, examples, arithmetic in the text. A key is a number with a decimal point, or the phrase that was found.
* unchecked: those that nobody has tied to a record yet. The list may only become shorter.
"""

import functools

import pytest
from claims import COURSE, NUMBER, SCOPES, claims_of, places_of, plain, texts_of, value_of
from leaplm import calibration
from leaplm.grading.course import load_module
from repo import ROOT
from results import found_in

studies = load_module(ROOT / "course" / "tools" / "studies.py")
CLAIMS = [pytest.param(scope, claim, id=f"{scope.split('_')[0]}-{i}") for scope in SCOPES
          for i, claim in enumerate(claims_of(scope)["claims"])]


@functools.cache
def tables(scope):
    """The names for a scope's expressions; a table that was read once stays."""
    return studies.Studies(scope)


@pytest.mark.parametrize(("scope", "claim"), CLAIMS)
def test_what_a_sentence_says_is_what_the_record_holds(scope, claim):
    told, records = NUMBER.findall(claim["words"]), claim.get("record", [])
    stands = any(plain(claim["words"]) in text for text in places_of(scope, claim))
    assert stands, f"no sentence of {scope} says: {claim['words']}"
    assert len(told) == len(records), claim
    assert told or "holds" in claim, f"nothing holds the sentence: {claim['words']}"
    assert "holds" not in claim or studies.evaluate(claim["holds"], tables(scope)), claim
    for number, expression in zip(told, records, strict=True):
        written, places = value_of(number)
        value = float(studies.evaluate(expression, tables(scope)))
        assert abs(value - written) <= 0.5001 * 10**-places, \
            f"{number} in {claim['words']!r}, but {expression} = {value:.5f}"


@pytest.mark.parametrize("scope", SCOPES)
def test_no_number_stands_alone(scope):
    """Every number that may be a result is claimed, given with a reason, or known to be unchecked."""
    found, claims = set(), claims_of(scope)
    for text in texts_of(scope):
        for claim in claims["claims"]:
            text = text.replace(plain(claim["words"]), " § ")
        found |= found_in(text)
    known = {*claims["given"], *claims["unchecked"]}
    where = "course/claims.json" if scope == COURSE else f"course/{scope}/claims.json"
    assert found - known == set(), f"{scope}: from which record? Add them to {where}"
    assert known - found == set(), f"{scope}: these numbers are gone from the text; take them out of {where}"
    assert not set(claims["given"]) & set(claims["unchecked"])


@pytest.mark.parametrize("scope", SCOPES)
def test_every_exception_has_its_reason(scope):
    assert all(len(reason) > 3 for reason in claims_of(scope)["given"].values())


def test_a_result_without_a_record_is_found():
    """The rule itself: what may be a result, and what is a setting or a mark."""
    text = ("14 of 20 runs gain, three times as many as before, in 71 seconds; 600 MB, 34 % and ± 8 points, 39 to 60 "
            "tokens, twice the price and .67.")
    assert found_in(text) == {"14 of 20", "three times", "71 seconds", "600 MB", "34 %", "± 8", "8 points", "39 to 60",
                              "twice the", ".67"}
    assert not found_in("Rank 8, 16 bits, a batch of 32 texts. 1 point: a 95 % interval. See labs 2 to 5, 2 to 4 signs.")


def test_a_changed_record_fails(monkeypatch):
    """The test itself: another number in the record, and the sentence is found."""
    lab = "lab6_overfitting"
    claim = next(claim for claim in claims_of(lab)["claims"] if "temperature.before_loss.mean()" in claim.get("record", []))
    real = calibration.load_record
    monkeypatch.setattr(calibration, "load_record", lambda lab, study, **where: real(lab, study, **where).assign(
        **dict.fromkeys(("accuracy", "loss", "before_loss", "seconds"), 0.123)))
    monkeypatch.setitem(globals(), "tables", studies.Studies)
    with pytest.raises(AssertionError, match="but"):
        test_what_a_sentence_says_is_what_the_record_holds(lab, claim)
