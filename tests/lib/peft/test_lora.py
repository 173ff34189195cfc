"""Adapters leave the model as it was at the start, learn alone, merge exactly, and agree with peft."""

import copy
import gc

import numpy as np
import pytest
import torch
from leaplm.artifacts import read_artifact
from leaplm.data import DynamicPaddingCollator
from leaplm.grading.judge.probes import linear, lora_linear, randomize
from leaplm.grading.judge.tiny_models import tiny_classifier, with_lora
from leaplm.peft import lora
from leaplm.peft.methods import METHODS, VIRTUAL_TOKENS, make_method, megabytes, method_hooks, peft_adapter, peft_twin
from leaplm.training import TrainingConfig, train
from torch import nn

BATCH = {"input_ids": torch.randint(5, 60, (4, 9)), "attention_mask": torch.ones(4, 9, dtype=torch.long),
         "labels": torch.tensor([0, 1, 1, 0])}
ROWS = [{"input_ids": [5 + i, 7, 9 + i], "label": i % 2} for i in range(8)]
MAKERS = {"lora": lambda base: lora.LoRALinear(base, 2, 6), "dora": lambda base: lora.DoRALinear(base, 2, 6),
          "adapter": lambda base: lora.BottleneckAdapter(base, 3)}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_new_adapter_changes_nothing_and_only_it_learns(make):
    layer, x = make(linear(5, 4)), torch.randn(2, 3, 5)
    assert torch.equal(layer(x), layer.base(x))
    assert all(p.requires_grad != name.startswith("base") for name, p in layer.named_parameters())
    assert any(p.abs().sum() > 0 for name, p in layer.named_parameters() if not name.startswith("base"))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_gradients_reach_the_adapter(make):
    layer = make(linear(5, 4))
    for parameter in layer.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    layer(torch.randn(2, 5)).sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in layer.parameters())


def test_lora_by_hand():
    layer = lora.LoRALinear(nn.Linear(2, 1, bias=False), rank=1, alpha=2)
    with torch.no_grad():
        layer.base.weight.fill_(1.0)
        layer.lora_A.copy_(torch.tensor([[1.0, 0.0]]))
        layer.lora_B.fill_(3.0)
    assert layer(torch.tensor([5.0, 7.0])).item() == 42
    assert lora.merge(layer).weight.tolist() == [[7.0, 1.0]] and layer.base.weight.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("rank, alpha", [(1, 1), (3, 12), (8, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_lora_is_pefts_with_the_same_weights(rank, alpha, bias):
    layer, x = lora_linear(7, 5, rank, alpha, seed=rank, bias=bias), torch.randn(3, 4, 7)
    assert torch.allclose(layer(x), peft_twin(layer)(x), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_dora_is_pefts_with_the_same_weights_and_gradients(bias):
    layer, x = lora.DoRALinear(linear(7, 5, bias=bias), 2, 6), torch.randn(3, 4, 7)
    for part in ("lora_", "magnitude"):
        randomize(layer, part)
    twin = peft_twin(layer)
    assert torch.allclose(layer(x), twin(x), atol=1e-5) and torch.allclose(lora.merge(layer)(x), layer(x), atol=1e-5)
    for some in (layer, twin):
        some(x).square().sum().backward()
    torch.testing.assert_close(layer.lora_A.grad, twin.lora_A["default"].weight.grad, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(layer.magnitude.grad, twin.lora_magnitude_vector["default"].weight.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bias", [True, False])
def test_merged_is_unmerged(bias):
    layer, x = lora_linear(7, 5, 2, 16, bias=bias), torch.randn(3, 7)
    assert torch.allclose(lora.merge(layer)(x), layer(x), atol=1e-5)


def test_a_merged_model_gives_the_same_logits_and_has_no_adapter_left():
    model = lora.inject_lora(tiny_classifier(layers=2, initializer_range=0.3), ("query", "dense"), 2, 4).eval()
    randomize(model, "lora_")
    before = model(**BATCH).logits
    lora.merge_model(model)
    assert torch.allclose(model(**BATCH).logits, before, atol=1e-4)
    assert not any(isinstance(module, lora.LoRALinear) for module in model.modules())


def test_unmerged_is_bit_for_bit_what_it_was():
    model = lora.inject_lora(tiny_classifier(layers=2, initializer_range=0.3), ("query", "dense"), 2, 4).eval()
    randomize(model, "lora_")
    parameters, logits = dict(model.named_parameters()), model(**BATCH).logits
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layers = lora.merge_adapter(model)
    assert not lora.lora_layers(model) and torch.allclose(model(**BATCH).logits, logits, atol=1e-4)
    assert lora.unmerge_adapter(model, layers) is model and torch.equal(model(**BATCH).logits, logits)
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_alpha_over_rank_keeps_the_size_of_the_update():
    a, b = lora_linear(6, 4, 2, 4), lora_linear(6, 4, 2, 8)
    x = torch.randn(3, 6)
    assert torch.allclose(2 * (a(x) - a.base(x)), b(x) - b.base(x), atol=1e-4)


def test_injection_replaces_the_named_layers_and_freezes_the_rest():
    model = tiny_classifier(layers=2)
    names = lora.target_modules(model, ["query"])
    assert names == [f"bert.encoder.layer.{i}.attention.self.query" for i in (0, 1)]
    shapes = [tuple(model.get_submodule(name).weight.shape) for name in names]
    before = model.eval()(**BATCH).logits
    lora.inject_lora(model, ["query"], rank=3)
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learns == {f"{n}.lora_{ab}" for n in names for ab in "AB"} | {"classifier.weight", "classifier.bias"}
    assert torch.equal(model(**BATCH).logits, before)
    adapters = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n)
    assert adapters == lora.lora_parameters(shapes, 3)


def test_adapters_stand_behind_both_halves_of_a_layer():
    model = lora.inject_adapters(tiny_classifier(layers=2), width=3)
    places = [name for name, module in model.named_modules() if isinstance(module, lora.BottleneckAdapter)]
    assert [place.split("layer.")[1] for place in places] == [
        "0.attention.output.dense", "0.output.dense", "1.attention.output.dense", "1.output.dense"]


def test_names_end_at_a_dot():
    model = nn.ModuleDict({"query": nn.Linear(2, 2), "subquery": nn.Linear(2, 2)})
    assert lora.target_modules(model, ["query"]) == ["query"]


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="no linear layer called wq"):
        lora.inject_lora(tiny_classifier(), ["wq"])
    for make in (lambda: lora.LoRALinear(linear(2, 2), 0, 1), lambda: lora.BottleneckAdapter(linear(2, 2), 0)):
        with pytest.raises(ValueError, match="at least 1"):
            make()


def test_a_second_injection_says_that_the_model_has_adapters():
    for model in (lora.inject_lora(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), ("0",)),
                  lora.inject_adapters(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), 2, ("0",))):
        learns = [p.requires_grad for p in model.parameters()]
        for target in "01":
            with pytest.raises(ValueError, match="adapters already, so load the model again"):
                lora.inject_lora(model, (target,))
        assert [p.requires_grad for p in model.parameters()] == learns


def test_training_moves_the_adapter_and_nothing_else():
    model = lora.inject_lora(tiny_classifier(initializer_range=0.3), ["query", "value"], rank=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, ROWS, DynamicPaddingCollator(0), TrainingConfig(learning_rate=1e-2, max_steps=4, progress=False))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(lora.get_adapter(model))


def test_adapters_are_swapped_with_their_heads():
    two, three = (lora.inject_lora(tiny_classifier(num_labels=n, initializer_range=0.3), ["value"], 2).eval()
                  for n in (2, 3))
    for seed, model in enumerate((two, three)):
        randomize(model, "lora_", seed)
    want = {n: model(**{**BATCH, "labels": None}).logits for n, model in ((2, two), (3, three))}
    saved = {n: lora.get_adapter(model) for n, model in ((2, two), (3, three))}
    for n in (3, 2, 3):
        lora.set_adapter(two, saved[n])
        assert torch.allclose(two(**{**BATCH, "labels": None}).logits, want[n], atol=1e-5)
    with pytest.raises(ValueError, match="does not fit"):
        lora.set_adapter(two, {"classifier.bias": torch.zeros(2)})


def test_a_file_goes_where_it_belongs_and_nowhere_else():
    def model(**other):
        return with_lora("tiny_classifier", **{"targets": ["query", "value"], "rank": 2, "alpha": 6, **other})

    trained = model(seed=3, classes=3)
    content = lora.save_adapter(trained)
    assert len(content) < 2 * sum(p.numel() for p in lora.get_adapter(trained).values()) + 3000
    fresh = lora.load_adapter(model(seed=4), content)
    for name, tensor in lora.get_adapter(trained).items():
        assert torch.equal(fresh.get_parameter(name), tensor.half().float())
    kept = lora.get_adapter(fresh)
    for word, other in (("rank", {"rank": 1, "alpha": 3}), ("alpha", {"alpha": 5}), ("targets", {"targets": ["key"]}),
                        ("base", {"base": 1})):  # fmt: skip
        with pytest.raises(ValueError, match=f"its {word} is"):
            lora.load_adapter(fresh, lora.save_adapter(model(**other)))
    with pytest.raises(ValueError, match="not an artifact"):
        lora.load_adapter(fresh, content[:-1])
    assert all(torch.equal(tensor, kept[name]) for name, tensor in lora.get_adapter(fresh).items())
    with pytest.raises(ValueError, match="no LoRA layers"):
        lora.save_adapter(tiny_classifier())


def test_pefts_own_lora_takes_our_file():
    places = {"targets": ["query", "value"], "rank": 2, "alpha": 6}
    ours = with_lora("tiny_classifier", **places, seed=3, initializer_range=0.3).eval()
    config, tensors = read_artifact(lora.save_adapter(ours))
    theirs = peft_adapter(tiny_classifier(initializer_range=0.3), config, tensors).eval()
    lora.load_adapter(ours, lora.save_adapter(ours))
    assert torch.allclose(ours(**BATCH).logits, theirs(**BATCH).logits, atol=1e-4)


def test_requests_are_answered_by_the_adapter_that_they_name():
    places = {"targets": ["query"], "rank": 2, "alpha": 6, "dropout": 0.3, "initializer_range": 0.3}
    model = with_lora("tiny_classifier", **places)
    adapters = {name: lora.get_adapter(with_lora("tiny_classifier", **places, seed=seed, classes=classes))
                for name, seed, classes in (("two", 1, 2), ("three", 2, 3))}
    requests = [(("two", "three")[i % 2], {"input_ids": [5 + i] * (i + 1), "label": 0}) for i in range(7)]
    before, collate = lora.get_adapter(model), DynamicPaddingCollator(0)
    found = lora.serve_requests(model, adapters, requests, collate, batch_size=3)
    assert model.training and all(torch.equal(tensor, before[name]) for name, tensor in lora.get_adapter(model).items())
    for (name, row), label in zip(requests, found, strict=True):
        lora.set_adapter(model, adapters[name])
        assert model.eval()(**{**collate([row]), "labels": None}).logits.argmax().item() == label
    assert lora.serve_requests(model, adapters, [], collate) == []
    with pytest.raises(ValueError, match="no adapter called four"):
        lora.serve_requests(model, adapters, [("four", requests[0][1])], collate)


def test_the_rank_rule_is_paired():
    luck = np.array([0.0, 0.05, 0.1])
    table = np.stack([0.80 + luck, 0.79 + luck, 0.70 + luck + [0.2, 0, 0]])
    assert lora.choose_rank([16, 4, 1], table) == 1  # far lower mean, but no evidence in three seeds
    assert lora.choose_rank([16, 4], table[:2]) == 16  # worse by 0.01 at every seed


def test_only_adapters_pass_for_adapters():
    assert lora.only_adapters(["bert.layer.0.query.lora_A", "classifier.bias", "x.down.weight",
                               "bert.embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight::rows"])
    assert not lora.only_adapters(["bert.layer.0.query.base.weight"])
    assert not lora.only_adapters(["bert.classifier.weight"])


def test_counting_memory_keeps_none():
    """What the hooks keep must not hold the graph that holds it: nothing could free that circle."""
    model = tiny_classifier()
    lora.training_memory(model, BATCH)
    gc.collect()
    before = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
    lora.training_memory(model, BATCH)
    gc.collect()
    assert sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()) == before


def test_memory_is_counted():
    frozen, full = tiny_classifier(), tiny_classifier()
    lora.inject_lora(frozen, ["query"], rank=1)
    small, large = (lora.training_memory(model, BATCH) for model in (frozen, full))
    learning = sum(p.numel() for p in frozen.parameters() if p.requires_grad)
    assert small["gradients"] == 4 * learning and small["optimizer"] == 8 * learning
    assert large["gradients"] == large["weights"] == 4 * sum(p.numel() for p in full.parameters())
    assert 0 < small["activations"] < large["activations"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_keeps_the_encoder(method, assets_ready):
    from leaplm.models import load_encoder

    model = make_method(method, ["no", "yes"], updates=4)
    rows = [{"input_ids": [101, 2000 + i, 2200, 102], "label": i % 2} for i in range(4)]
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    with method_hooks(model):
        config = TrainingConfig(learning_rate=1e-3, max_steps=4, batch_size=4, warmup_ratio=0, progress=False)
        history = train(model, rows, DynamicPaddingCollator(0), config)
    assert len(history.train) == 4 and megabytes(model) < 50
    assert sum(not torch.equal(dict(model.named_parameters())[name], old) for name, old in before.items()) > len(before) / 2
    if method != "full fine-tuning":
        known = {value.data.double().sum().item() for value in load_encoder().parameters()}
        kept = {p.data.double().sum().item() for p in model.parameters() if not p.requires_grad}
        assert known <= kept
    if method == "prompt tuning":
        assert sum(p.numel() for p in before.values() if p.shape[0] == VIRTUAL_TOKENS) == VIRTUAL_TOKENS * 384


@pytest.mark.parametrize("method", ["prefix tuning", "prompt tuning"])
def test_virtual_tokens_do_not_see_padding(method, assets_ready):
    model = make_method(method, ["no", "yes"]).eval()
    short = {"input_ids": torch.tensor([[101, 2204, 102]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    padded = {"input_ids": torch.tensor([[101, 2204, 102, 0, 0]]), "attention_mask": torch.tensor([[1, 1, 1, 0, 0]])}
    assert torch.allclose(model(**short).logits, model(**padded).logits, atol=1e-5)


def test_unknown_methods_are_told():
    with pytest.raises(ValueError, match="Use one of"):
        make_method("magic", ["no", "yes"])


def test_a_copy_of_a_trained_adapter_does_not_follow():
    model = lora.inject_lora(tiny_classifier(), ["query"], 2)
    saved = lora.get_adapter(model)
    kept = copy.deepcopy(saved)
    randomize(model, "lora_")
    assert all(torch.equal(saved[name], kept[name]) for name in kept)
