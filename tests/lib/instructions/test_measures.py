"""Measures of written answers and of judges, against sacreBLEU's and scikit-learn's numbers."""

import numpy as np
import pytest
from leaplm import instructions
from sklearn.linear_model import LogisticRegression

# sacrebleu.sentence_chrf(answer, [reference]).score of sacreBLEU 2.6.0
SACREBLEU = [
    ("Pharmacy: an iron tablet, today.", "Pharmacy: iron tablets, today. Bring the prescription.", 44.5272),
    ("aaaa a", "aa aa aa", 75.3715),
    ("ab", "abc", 63.6364),
    ("Kantin magani: ƙwayar barci", "Kantin magani: ƙwayoyin barci, yau.", 63.3307),
    ("የአማርኛ መልስ", "የአማርኛ መልሶች", 69.0455),
    ("xyz", "hoe", 0.0),
    ("The hoe", "the hoes are here", 22.9927),
]


@pytest.mark.parametrize(("answer", "reference", "score"), SACREBLEU)
def test_chrf_is_sacrebleus(answer, reference, score):
    assert instructions.chrf(answer, reference) == pytest.approx(score, abs=1e-3)


def test_chrf_of_nothing_is_nothing():
    assert [instructions.chrf(*pair) for pair in (("", "hoe"), ("hoe", ""), (" ", " "))] == [0, 0, 0]


def test_exact_match():
    answers, references = [" Store:  Hoes. ", "Nurse: a cough"], ["store: hoes", "Nurse: a fever"]
    assert instructions.exact_match(answers, references) == 0.5
    assert instructions.exact_match(answers, references, ":") == 1
    assert instructions.exact_match(["yes.."], ["yes"]) == 0


def test_refusals_are_counted_apart():
    rates = instructions.refusal_rates(["Refused.", "x", " refused", "Store: refused"], [True, True, False, False])
    assert rates == {"refused": 0.5, "over_refused": 0.5}
    assert instructions.refusal_rates([], []) == {"refused": 0, "over_refused": 0}


def test_form():
    assert instructions.in_form("Field officer: two hoes, Friday. Bring the card.")
    for other in ("Two hoes.", "Store: two hoes.", "Store: two hoes. Bring it. Thank you.", "Store two hoes. Bring it.", ""):
        assert not instructions.in_form(other)


def test_nearest_answer_comes_from_the_same_office():
    train = [{"system": "a", "question": "Do you sell hoes?", "answer": "1"},
             {"system": "a", "question": "My son has a fever.", "answer": "2"}]
    asked = [{"system": "a", "question": "Has my son fever?"}, {"system": "a", "question": "Are there hoes to sell?"}]
    assert instructions.nearest_answers(train, asked) == ["2", "1"]


def test_a_judge_of_places_gives_ties_and_one_of_answers_wins():
    questions, first, second = ["a", "b"], ["one", "two words"], ["one more", "two"]
    found = instructions.judge_both(lambda question, one, other: 1, questions, first, second)
    assert found == {"wins": [0.5, 0.5], "first_place": 0}
    found = instructions.judge_both(instructions.length_judge(), questions, first, second)
    assert found == {"wins": [0, 1], "first_place": 0.5}
    judge = instructions.reference_judge({"a": "one more", "b": "two words"})
    assert instructions.judge_both(judge, questions, first, second)["wins"] == [0, 1]


def test_win_rate_at_equal_length_is_scikit_learns():
    rng = np.random.default_rng(0)
    for _ in range(5):
        gaps, wins = rng.normal(3, 4, 30), rng.choice([0, 0.5, 1], 30)
        x = np.concatenate([gaps, gaps])[:, None] / gaps.std()
        model = LogisticRegression(C=1, tol=1e-9, max_iter=1000)
        model.fit(x, [1] * 30 + [0] * 30, sample_weight=np.concatenate([wins, 1 - wins]))
        want = 1 / (1 + np.exp(-model.intercept_[0]))
        assert instructions.length_controlled(wins, gaps) == pytest.approx(want, abs=1e-3)
    assert instructions.length_controlled([1] * 5, [1, 2, 3, 4, 5]) > 0.99
    assert instructions.length_controlled([0, 1, 0.5], [2, 2, 2]) == pytest.approx(0.5, abs=1e-3)


def test_win_interval_holds_the_rate():
    low, high = instructions.win_interval([1, 0, 0.5, 1] * 10)
    assert 0 < low < 0.625 < high < 1
    assert instructions.win_interval([1, 0], seed=1) == instructions.win_interval([1, 0], seed=1)
