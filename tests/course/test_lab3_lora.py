"""Lab 3: what the solution writes is what the library does."""

import pytest
import torch
from leaplm import artifacts
from leaplm.data import DynamicPaddingCollator
from leaplm.grading.judge.probes import linear, lora_linear, randomize
from leaplm.grading.judge.tiny_models import similar_names, tiny_classifier, with_lora
from leaplm.peft import lora
from solved import solved_lab

lab3 = solved_lab("lab3_lora")
PLACES = {"targets": ["value", "query"], "rank": 2, "alpha": 3}


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


def test_dropout_is_the_librarys(lab3):
    outputs = []
    for make in (lab3["LoRALinear"], lora.LoRALinear):
        layer = make(linear(6, 5), 3, 12, dropout=0.5)
        randomize(layer, "lora_")
        torch.manual_seed(0)
        outputs.append(layer(torch.ones(4, 6)))
    assert torch.allclose(*outputs, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_merge_is_the_librarys(lab3, bias):
    layer = lora_linear(6, 5, 2, 4, bias=bias)
    theirs, ours = lab3["merge"](layer), lora.merge(layer)
    assert all(torch.equal(a, b) for a, b in zip(theirs.parameters(), ours.parameters(), strict=True))


def test_merging_a_model_and_back_is_the_librarys(lab3):
    theirs, ours = (with_lora("similar_names", **PLACES) for _ in range(2))
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    taken, layers = lab3["merge_adapter"](theirs), lora.merge_adapter(ours)
    assert list(taken) == list(layers)
    assert all(torch.allclose(tensor, ours.state_dict()[name], atol=1e-5) for name, tensor in theirs.state_dict().items())
    lab3["unmerge_adapter"](theirs, taken)
    lora.unmerge_adapter(ours, layers)
    for model in (theirs, ours):
        assert list(model.state_dict()) == list(before)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


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


def test_injection_refuses_what_the_library_refuses(lab3):
    for inject in (lab3["inject_lora"], lora.inject_lora):
        for model, targets in ((similar_names(), ["wq"]), (with_lora("similar_names", **PLACES), ["key"])):
            with pytest.raises(ValueError):
                inject(model, targets, 2, 8)


def test_the_file_is_the_librarys(lab3):
    model, other = (with_lora("similar_names", **PLACES, seed=seed) for seed in (1, 2))
    assert lab3["adapter_config"](model) == lora.adapter_config(model)
    mine, ours = (artifacts.read_artifact(save(model)) for save in (lab3["save_adapter"], lora.save_adapter))
    assert mine[0] == ours[0] and mine[1].keys() == ours[1].keys()
    assert all(torch.equal(tensor, ours[1][name]) for name, tensor in mine[1].items())
    want = {name: tensor.half().float() for name, tensor in lora.get_adapter(model).items()}
    for load in (lab3["load_adapter"], lora.load_adapter):
        for parameter in other.parameters():
            if parameter.requires_grad:
                torch.nn.init.zeros_(parameter)
        assert load(other, lora.save_adapter(model)) is other
        assert all(torch.equal(tensor, want[name]) for name, tensor in lora.get_adapter(other).items())
        for wrong in ({"rank": 3}, {"alpha": 4}, {"targets": ["query"]}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                load(other, lora.save_adapter(with_lora("similar_names", **{**PLACES, **wrong})))
        with pytest.raises(ValueError, match="base"):
            load(other, lora.save_adapter(with_lora("similar_names", **PLACES, base=1)))


def test_serving_is_the_librarys(lab3):
    model = with_lora("tiny_classifier", **PLACES, initializer_range=0.3)
    adapters = {name: lora.get_adapter(with_lora("tiny_classifier", **PLACES, seed=seed, classes=classes))
                for name, seed, classes in (("a", 1, 2), ("b", 2, 3))}
    requests = [("ab"[i % 3 == 0], {"input_ids": list(range(5 + i, 8 + 2 * i))}) for i in range(8)]
    given = model, adapters, requests, DynamicPaddingCollator(0), 3
    assert lab3["serve_requests"](*given) == lora.serve_requests(*given)
