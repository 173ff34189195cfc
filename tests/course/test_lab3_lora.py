"""Lab 3: what the solution writes is what the library does."""

import numpy as np
import pytest
import torch
from leaplm.grading.judge.probes import linear, lora_linear, randomize
from leaplm.grading.judge.tiny_models import tiny_classifier
from leaplm.peft import instruction_tuning as answers
from leaplm.peft import lora
from solved import solved_lab

lab3 = solved_lab("lab3_lora")


@pytest.mark.parametrize("name, sizes", [("LoRALinear", (3, 12)), ("BottleneckAdapter", (3,))])
def test_the_layers_are_the_librarys(lab3, name, sizes):
    theirs, ours = (make(linear(6, 5, seed=1), *sizes) for make in (lab3[name], getattr(lora, name)))
    assert set(theirs.state_dict()) == set(ours.state_dict())
    x = torch.randn(2, 3, 6)
    assert torch.equal(theirs(x), ours(x))
    for model in (theirs, ours):
        randomize(model, "")
    assert torch.allclose(theirs(x), ours(x), atol=1e-6)
    assert [p.requires_grad for p in theirs.parameters()] == [p.requires_grad for p in ours.parameters()]


@pytest.mark.parametrize("bias", [True, False])
def test_merge_is_the_librarys(lab3, bias):
    layer = lora_linear(6, 5, 2, 4, bias=bias)
    theirs, ours = lab3["merge"](layer), lora.merge(layer)
    assert all(torch.equal(a, b) for a, b in zip(theirs.parameters(), ours.parameters(), strict=True))


def test_injection_is_the_librarys(lab3):
    theirs, ours = (tiny_classifier(layers=2, initializer_range=0.3).eval() for _ in range(2))
    names = lora.target_modules(ours, ["query", "dense"])
    assert lab3["inject_lora"](theirs, ["query", "dense"], 2, 8) == names
    lora.inject_lora(ours, ["query", "dense"], 2, 8)
    for model in (theirs, ours):
        randomize(model, "lora_")
    ids = torch.randint(5, 60, (3, 6))
    assert torch.allclose(theirs(ids).logits, ours(ids).logits, atol=1e-5)
    assert set(lora.get_adapter(theirs)) == set(lora.get_adapter(ours))


def test_cost_and_score_are_the_librarys(lab3):
    shapes = [(384, 384), (1536, 384)]
    assert lab3["adapter_cost"](shapes, 8) == (lora.lora_parameters(shapes, 8), pytest.approx(0.043008))
    texts, labels = ["a", "A", "b", "a b", ""], [0, 0, 0, 1, 1]
    assert lab3["score_answers"](texts, labels, ["a", "b"]) == answers.score_answers(texts, labels, ["a", "b"])


def test_the_rank_rule_is_paired(lab3):
    luck = np.array([0.0, 0.05, 0.1])
    table = torch.tensor(np.stack([0.80 + luck, 0.79 + luck, 0.70 + luck + [0.2, 0, 0]]))
    assert lab3["choose_rank"](torch.tensor([16, 4, 1]), table) == 1  # far lower mean, but no evidence in three seeds
    assert lab3["choose_rank"](torch.tensor([16, 4]), table[:2]) == 16  # worse by 0.01 at every seed
