"""Entities and their scores: worked examples, and the laws that hold for all tags."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaplm import tagging

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SENTENCES = st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=8), min_size=1, max_size=6)


@given(SENTENCES)
def test_entities_and_scores_are_seqevals(gold):
    """seqeval (Nakayama, 2018) is what the field compares with; without it, this is skipped."""
    seqeval = pytest.importorskip("seqeval.metrics")
    from seqeval.metrics.sequence_labeling import get_entities

    predicted = [tags[::-1] for tags in gold]
    for tags in gold:
        assert tagging.find_entities(tags) == [(kind, start, end + 1) for kind, start, end in get_entities(tags)]
    ours = tagging.entity_scores(gold, predicted)
    for name, theirs in (("precision", "precision_score"), ("recall", "recall_score"), ("f1", "f1_score")):
        assert ours[name] == pytest.approx(float(getattr(seqeval, theirs)(gold, predicted, zero_division=0)))


@given(SENTENCES)
def test_what_is_right_is_right_and_half_a_name_is_none(gold):
    names = sum(len(tagging.find_entities(tags)) for tags in gold)
    assert tagging.entity_scores(gold, gold)["f1"] == float(names > 0)
    for tags in gold:
        for _, start, end in tagging.find_entities(tags):
            assert 0 <= start < end <= len(tags) and "O" not in tags[start:end]


@pytest.mark.parametrize(("tags", "found"), [
    (["B-PER", "I-PER", "O", "B-LOC"], [("PER", 0, 2), ("LOC", 3, 4)]), (["I-PER", "I-LOC"], [("PER", 0, 1), ("LOC", 1, 2)]),
    (["B-PER", "B-PER"], [("PER", 0, 1), ("PER", 1, 2)]), (["B-PER", "O", "I-PER"], [("PER", 0, 1), ("PER", 2, 3)]),
])  # fmt: skip
def test_examples(tags, found):
    assert tagging.find_entities(tags) == found


def test_a_missing_tag_is_named():
    with pytest.raises(ValueError, match="sentence 1 has 2 words and 1 predicted tags"):
        tagging.entity_scores([["O"], ["O", "O"]], [["O"], ["O"]])


def test_the_interval_holds_the_score_and_the_gain_is_paired():
    gold, none = [["B-PER", "O"]] * 30, [["O", "O"]] * 10 + [["B-PER", "O"]] * 20
    low, high = tagging.f1_interval(gold, none, 300)
    assert low < tagging.entity_scores(gold, none)["f1"] < high
    assert tagging.f1_gain(gold, none, none, 50) == {"gain": 0.0, "low": 0.0, "high": 0.0}
    assert tagging.f1_gain(gold, none, gold, 50)["gain"] == pytest.approx(0.2)


@given(st.integers(1, 4), st.integers(0, 10**6))
def test_the_best_path_is_the_best_of_all(words, seed):
    moves = tagging.allowed_moves(TAGS)
    scores = np.random.default_rng(seed).normal(size=(words, len(TAGS)))
    allowed = [path for path in product(range(len(TAGS)), repeat=words)
               if all(moves[i, j] for i, j in zip((0, *path), path, strict=False))]
    best = max(allowed, key=lambda path: scores[range(words), path].sum())
    assert tagging.best_path(scores, moves) == list(best)


def test_recall_of_seen_and_new_names():
    train = [(["Kano"], ["B-LOC"])]
    test = [(["KANO", "Wudil"], ["B-LOC", "B-LOC"])]
    assert tagging.recall_seen_unseen(train, test, [["B-LOC", "O"]]) == (1.0, 0.0)
