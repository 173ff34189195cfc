"""Scores on held-out texts: computed once for the same weights, again where anything that decides them differs."""

import copy

import pytest
import torch
from leaplm.grading.judge import remembered
from leaplm.grading.judge.remembered import fingerprint, scored_once
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


def test_only_the_last_few_are_kept():
    calls, one = [], model()
    for number in range(remembered.MOST + 1):
        count(one, str(number), calls)
    assert len(remembered._known) == remembered.MOST
    assert count(one, "0", calls) == remembered.MOST + 2, "the oldest went"
