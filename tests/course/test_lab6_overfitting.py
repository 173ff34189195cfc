"""Lab 6: what it teaches is what the library does; remedies, memory and several processes keep their promises."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from leaplm import evaluation, models, training
from leaplm.data import DynamicPaddingCollator
from leaplm.grading.judge.tiny_models import tiny_classifier, tiny_masked_lm, tiny_tokenizer
from leaplm.overfitting import data_parallel, memory, regularization
from leaplm.peft import lora
from solved import solved_lab

lab6 = solved_lab("lab6_overfitting")


def rows(n=10, seed=0):
    rng = np.random.default_rng(seed)
    return [{"input_ids": rng.integers(5, 60, size=k).tolist(), "label": int(k % 2)} for k in rng.integers(2, 12, size=n)]


def batch(n=10):
    return DynamicPaddingCollator(0)(rows(n))


def masked_batches():
    batches = [{"input_ids": torch.randint(5, 40, (n, 7)), "labels": torch.full((n, 7), -100)} for n in (2, 3, 1)]
    batches[0]["labels"][0, 2], batches[1]["labels"][:, :5] = 7, torch.randint(5, 40, (3, 5))  # and none in the third
    return batches


# -- the lab's solution is the library ------------------------------------------------------------------------------------


def test_lab6_deletes_the_librarys_words(lab6):
    words = [f"w{i}" for i in range(300)]
    for rate in (0.0, 0.3, 1.0):
        found = []
        for function in (lab6["delete_words"], regularization.delete_words):
            torch.manual_seed(1)
            found.append(function(words, rate))
        assert found[0] == found[1]


def test_lab6_stops_as_the_library(lab6):
    rng = np.random.default_rng(0)
    for _ in range(50):
        losses, patience = rng.integers(2, 8, size=rng.integers(1, 12)).tolist(), int(rng.integers(1, 4))
        assert lab6["early_stopping"](losses, patience) == regularization.early_stopping(losses, patience)


def test_lab6_moves_and_compares_as_the_library(lab6):
    gradient = torch.randn(3, 4, 5)
    gradient[1] = 0
    assert torch.allclose(lab6["fgm_perturbation"](gradient, 0.7), regularization.fgm_perturbation(gradient, 0.7))
    first, second = np.random.default_rng(0).random((2, 6))
    assert lab6["paired_difference"](first, second) == pytest.approx(evaluation.paired_difference(first, second))


def test_lab6_counts_memory_as_the_library(lab6):
    for total in (10**6, 10**9):
        shape = {"weights": 10**7, "learning": 10**6, "tokens": 50, "width": 384, "layers": 6}
        assert lab6["largest_batch"](total, **shape) == memory.largest_batch(total, **shape)


def test_lab6_accumulates_as_the_library(lab6):
    found, batches = [], masked_batches()
    for function in (lab6["accumulate_gradients"], memory.accumulate_gradients):
        model = tiny_masked_lm()
        loss = function(model, batches)
        found.append((loss, memory.flat_gradient(model)))
    assert found[0][0] == pytest.approx(found[1][0]) and torch.allclose(found[0][1], found[1][1], atol=1e-6)


def test_lab6_scales_as_torchs_grad_scaler(lab6):
    theirs, ours = tiny_classifier(initializer_range=1.0), tiny_classifier(initializer_range=1.0)
    optimizer, optimizer2 = torch.optim.SGD(theirs.parameters(), 0.01), torch.optim.SGD(ours.parameters(), 0.01)
    scale, scaler = 2.0**127, torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=10**6)
    for _ in range(8):
        scale = lab6["scaled_step"](theirs, batch(), optimizer, scale)
        optimizer2.zero_grad()
        scaler.scale(ours(**batch()).loss).backward()
        scaler.step(optimizer2)
        scaler.update()
        assert scale == scaler.get_scale()
    assert scale < 2.0**127 and all(torch.allclose(a, b, atol=1e-6) for a, b in
                                    zip(theirs.parameters(), ours.parameters(), strict=True))


# -- remedies -------------------------------------------------------------------------------------------------------------


def test_training_stops_by_the_same_rule():
    losses = [0.7, 0.5, 0.6, 0.55, 0.4, 0.3]
    told = iter(losses)
    config = training.TrainingConfig(batch_size=10, epochs=6, patience=2, progress=False)
    history = training.train(tiny_classifier(), rows(), DynamicPaddingCollator(0), config, lambda m: {"loss": next(told)})
    assert (history.best()["step"], len(history.validation)) == regularization.early_stopping(losses, patience=2)


def test_words_are_deleted_anew_each_time_and_repeatably():
    words = [f"w{i}" for i in range(30)]
    tokenizer = tiny_tokenizer(words)
    collate = regularization.AugmentingCollator(tokenizer, DynamicPaddingCollator(0), rate=0.5)
    texts = [{"text": " ".join(words), "input_ids": tokenizer(" ".join(words))["input_ids"], "label": 1}]
    found = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        found.append(collate(texts)["input_ids"][0].tolist())
    assert found[0] == found[2] != found[1] and found[0][0] == 2 and found[0][-1] == 3 and len(found[0]) < 30
    with pytest.raises(ValueError, match="between 0 and 1"):
        regularization.delete_words(words, 1.5)


def test_the_adversary_raises_the_loss_more_than_chance():
    model, some = tiny_classifier(initializer_range=0.5).eval(), batch()
    words, seen = model.get_input_embeddings(), []
    with regularization.hooked(words, lambda v: seen.append(v.detach().requires_grad_()) or seen[-1]):
        clean = model(**some).loss
    [gradient] = torch.autograd.grad(clean, seen)
    torch.manual_seed(0)
    losses = []
    for direction in (gradient, *torch.randn(20, *gradient.shape)):
        step = regularization.fgm_perturbation(direction, 0.05)
        with torch.no_grad(), regularization.hooked(words, lambda v, step=step: v + step):
            losses.append(model(**some).loss.item())
    assert losses[0] > clean.item() and losses[0] > max(losses[1:])


def test_adversarial_loss_trains_and_leaves_no_hook():
    model, before = tiny_classifier(), batch()
    loss, count = regularization.adversarial_loss(0.5)(model, before)
    loss.backward()
    assert count == 10 and all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert not model.get_input_embeddings()._forward_hooks
    frozen = models.freeze_part(tiny_classifier(), "embeddings")
    assert regularization.adversarial_loss(0.5)(frozen, before)[0].requires_grad
    plain = training.classification_loss(tiny_classifier(), before)[0]
    assert regularization.adversarial_loss(0.0)(tiny_classifier(), before)[0].item() == pytest.approx(plain.item())


def test_dropout_is_set_everywhere():
    model = regularization.set_dropout(tiny_classifier(dropout=0.5), 0.0).train()
    assert torch.equal(model(**batch()).logits, model(**batch()).logits)


def test_an_ensemble_averages_probabilities_not_logits():
    logits = torch.randn(4, 6, 3) * 500
    want = torch.softmax(logits.double(), -1).mean(0)
    np.testing.assert_allclose(regularization.ensemble_probabilities(logits), want, atol=1e-9)


def test_a_paired_interval_is_scipys():
    from scipy import stats

    first, second = np.random.default_rng(1).random((2, 7))
    low, high = stats.ttest_rel(second, first).confidence_interval(0.95)
    found = evaluation.paired_difference(first, second)
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    with pytest.raises(ValueError, match="at least 2"):
        evaluation.paired_difference([0.5], [0.6])


def test_nonsense_is_refused_in_words():
    for function, argument in ((regularization.early_stopping, ([], 1)), (regularization.early_stopping, ([0.5], 0)),
                               (regularization.fgm_perturbation, (torch.ones(2, 3), 1.0)), (memory.autocast, ("fp8",)),
                               (data_parallel.train_in_processes, ([], [], None, "."))):
        with pytest.raises(ValueError, match="at least 1|shape|fp16|no rows"):
            function(*argument)


# -- memory ---------------------------------------------------------------------------------------------------------------


def minilm(dropout=0.0):
    return regularization.set_dropout(models.load_sequence_classifier(["no", "yes"], freeze="embeddings"), dropout)


def minilm_batch(texts=4, tokens=24):
    return {"input_ids": torch.randint(1000, 20000, (texts, tokens)), "labels": torch.arange(texts) % 2,
            "attention_mask": torch.ones(texts, tokens, dtype=torch.long)}


def test_the_formula_counts_what_minilm_saves(assets_ready):
    model, some = minilm(), minilm_batch()
    found = lora.training_memory(model, some)
    assert memory.activation_bytes(4, 24, 384, 6) == pytest.approx(found["activations"], rel=0.01)
    states = memory.state_bytes(models.count_parameters(model, trainable=False), models.count_parameters(model))
    assert states == found["weights"] + found["gradients"] + found["optimizer"]
    with_dropout = 4 * (18 * 384 + 3 * 12 * 24) * 4 * 24 * 6  # as the docstring of activation_bytes says
    assert lora.training_memory(minilm(0.1), some)["activations"] == pytest.approx(with_dropout, rel=0.02)


def test_every_way_gives_the_same_gradient_with_less_saved(assets_ready):
    model, some, found = minilm(), minilm_batch(), {}
    for way, settings in memory.WAYS.items():
        row = memory.measure_gradient(model, some, **settings)
        found[way] = (row["saved_mb"], memory.flat_gradient(model))
        assert row["peak_mb"] >= 0 and row["seconds"] > 0
    saved = {way: mb for way, (mb, _) in found.items()}
    assert saved["4 parts"] == pytest.approx(saved["one batch"] / 4, rel=0.02)
    assert saved["checkpointing"] < saved["one batch"] / 10 and saved["4 parts and checkpointing"] < saved["4 parts"] / 10
    first = found["one batch"][1]
    assert all((gradient - first).abs().max() < 1e-5 * first.abs().max() for _, gradient in found.values())
    assert not model.is_activation_checkpointing


def test_16_bits_are_close_and_underflow(assets_ready):
    model, some = minilm(), minilm_batch(2, 8)
    memory.measure_gradient(model, some)
    exact = memory.flat_gradient(model)
    shares = [memory.underflow_share(model, scale) for scale in (1, 2**10)]
    assert 0 <= shares[1] < shares[0] < 1 and memory.underflow_share(model, 1, torch.float32) == 0
    memory.measure_gradient(model, some, precision="fp16")
    difference = (memory.flat_gradient(model) - exact).abs().max() / exact.abs().max()
    assert 1e-7 < difference < 0.05


def test_peak_memory_is_seen():
    _, found = memory.measure(lambda: torch.ones(25_000_000).sum())
    assert 90 < found["peak_mb"] < 200


def test_two_processes_are_one_training(assets_ready, tmp_path):
    config = training.TrainingConfig(learning_rate=1e-4, batch_size=6, max_steps=2, progress=False)
    some = [{**row, "label": i % 2} for i, row in enumerate(rows(12))]
    two = data_parallel.train_in_processes(some, ["no", "yes"], config, tmp_path, 2)
    torch.manual_seed(config.seed)
    model = minilm()
    history = training.train(model, some, DynamicPaddingCollator(0), config)
    weights = float(sum(p.detach().double().sum() for p in model.parameters()))
    assert two[0]["losses"] == pytest.approx([row["loss"] for row in history.train], abs=1e-5)
    assert two[0]["checksum"] == two[1]["checksum"] == pytest.approx(weights, abs=1e-2)


def test_failing_processes_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(data_parallel.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="2 processes failed"):
        data_parallel.train_in_processes(rows(4), ["no", "yes"], training.TrainingConfig(), tmp_path, 2)


@given(st.integers(0, 10**6), st.floats(0.3, 8))
def test_a_temperature_lowers_the_loss_and_changes_no_answer(seed, too_sure):
    """Logits that are right for their labels, made too sure by a factor: dividing brings the factor back."""
    rng = np.random.default_rng(seed)
    right = rng.normal(0, 1.5, (4000, 3))
    chances = np.exp(evaluation.log_softmax(right))
    labels = (chances.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    found = regularization.fit_temperature(right * too_sure, labels)
    assert found == pytest.approx(too_sure, rel=0.15)
    assert (right.argmax(1) == (right * too_sure / found).argmax(1)).all()
