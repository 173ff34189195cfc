"""Scores on held-out texts: computed once for the same weights, again where anything that decides them differs."""

import copy

import numpy as np
import pytest
import torch
from leaplm.data import DynamicPaddingCollator
from leaplm.evaluation import predict_logits
from leaplm.grading.judge import remembered
from leaplm.grading.judge.remembered import class_scores, computed_once, fingerprint, scored_once
from leaplm.grading.judge.tiny_models import tiny_classifier
from leaplm.peft.lora import inject_lora
from torch import nn


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(remembered, "_known", {})


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))


def count(model, held_out, calls):
    return scored_once(model, held_out, lambda: calls.append(1) or len(calls))


def test_the_same_weights_are_scored_once():
    calls, one = [], model()
    assert [count(one, "eng", calls), count(copy.deepcopy(one), "eng", calls)] == [1, 1]
    assert count(one, "hau", calls) == 2


CHANGES = {
    "one weight": lambda state: state["0.weight"][0, 0].add_(1e-6),
    "a sign of zero": lambda state: state["1.bias"].neg_(),
    "weights that change places": lambda state: state.update({"0.weight": state["0.weight"].flip(0).clone()}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_other_weights_are_others(change):
    one, other = model(), model()
    state = other.state_dict()
    change(state)
    other.load_state_dict(state)
    assert fingerprint(one) == fingerprint(model()) != fingerprint(other)


def test_kinds_and_settings_are_told_apart():
    shapes = [nn.Linear(2, 3), nn.Linear(3, 2), nn.LayerNorm(6), nn.Linear(2, 3).half()]
    assert len({fingerprint(shape.requires_grad_(False)) for shape in shapes}) == 4
    assert fingerprint(nn.Dropout(0.1)) != fingerprint(nn.Dropout(0.2))


def test_a_number_that_is_no_tensor_counts():
    """As the alpha of LoRA, which decides the output and stands in no state."""
    models = [inject_lora(tiny_classifier(), ["query"], rank=2, alpha=alpha) for alpha in (1, 2)]
    same = models[0].state_dict()
    models[1].load_state_dict(same)
    assert fingerprint(models[0]) != fingerprint(models[1])


def test_heads_on_one_encoder_share_its_vectors(monkeypatch):
    """And each model has the scores that it has alone."""
    rows = [{"input_ids": [5 + i, 7, 9][: 1 + i % 3], "label": 0} for i in range(9)]
    collate, calls, models = DynamicPaddingCollator(0), [], [tiny_classifier(), tiny_classifier(), tiny_classifier()]
    models[1].classifier.weight.data.neg_()
    models[1].config.id2label = {0: "bad", 1: "good"}
    models[2].bert.encoder.layer[0].output.dense.weight.data.mul_(2)
    alone = [predict_logits(one, rows, collate) for one in models]
    monkeypatch.setattr("leaplm.evaluation.predict_logits", lambda *args: calls.append(1) or predict_logits(*args))
    together = [class_scores(one, "eng", rows, collate) for one in models]
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(alone, together, strict=True)) and len(calls) == 2
    assert np.allclose(predict_logits(models[0], rows, collate), alone[0]), "the model is left as it was"


def test_only_the_last_few_are_kept():
    calls, one = [], model()
    for number in range(remembered.MOST + 1):
        count(one, str(number), calls)
    assert len(remembered._known) == remembered.MOST
    assert count(one, "0", calls) == remembered.MOST + 2, "the oldest went"


def test_what_a_check_computes_is_its_callers_own():
    """The second of two equal calls gets what the first got, whatever became of that, and draws the same afterwards."""
    calls = []
    drawn = computed_once(lambda rng, size, times=1: calls.append(1) or times * rng.random(size))
    rngs = [np.random.default_rng(3) for _ in range(3)]
    first = drawn(rngs[0], 4)
    expected = first.copy()
    first[:] = 0
    assert np.array_equal(drawn(rngs[1], 4), expected) and len(calls) == 1
    assert np.array_equal(drawn(rngs[2], 4, times=2), 2 * expected) and len(calls) == 2
    assert len({rng.random() for rng in rngs}) == 1


def test_only_the_last_few_of_a_check_are_kept():
    calls = []
    double = computed_once(lambda number: calls.append(number) or 2 * number)
    assert [double(number) for number in (*range(remembered.MOST_OWN + 1), 1, 0)][-2:] == [2, 0]
    assert calls == [*range(remembered.MOST_OWN + 1), 0], "the oldest went"
