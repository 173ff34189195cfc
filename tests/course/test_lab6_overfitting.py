"""Lab 6: what it teaches is what the library does; remedies, memory and several processes keep their promises."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from leaplm import evaluation, models, training
from leaplm.data import DynamicPaddingCollator
from leaplm.grading.judge import interrupted
from leaplm.grading.judge.tiny_models import tiny_classifier, tiny_masked_lm, tiny_tokenizer
from leaplm.overfitting import data_parallel, memory, regularization, resumable
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


def test_lab6_compares_as_the_library(lab6):
    first, second = np.random.default_rng(0).random((2, 6))
    assert lab6["paired_difference"](first, second) == pytest.approx(evaluation.paired_difference(first, second))


def test_lab6_accumulates_as_the_library(lab6):
    found, batches = [], masked_batches()
    for function in (lab6["accumulate_gradients"], memory.accumulate_gradients):
        for scale in (1.0, 8.0):
            model = tiny_masked_lm()
            loss = function(model, batches, scale=scale)
            found.append((loss, memory.flat_gradient(model) / scale))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0]) and torch.allclose(gradient, found[0][1], atol=1e-6)


def test_lab6_scales_as_the_library_and_torchs_grad_scaler(lab6):
    answers = [lab6["scaled_step"], resumable.scaled_step]
    models_ = [tiny_classifier(initializer_range=1.0) for _ in range(3)]
    optimizers = [torch.optim.SGD(model.parameters(), 0.01) for model in models_]
    torchs = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=3)
    scalers, scales = [{"scale": 2.0**127, "good": 0}] * 2, []
    for _ in range(14):
        for i, answer in enumerate(answers):
            before, parts = scalers[i], memory.cut_batch(batch(), 3)
            loss, made, scalers[i] = answer(models_[i], parts, optimizers[i], before, grow_after=3)
            assert made == (scalers[i]["scale"] >= before["scale"]) and np.isfinite(loss)
        optimizers[2].zero_grad()
        torchs.scale(models_[2](**batch()).loss).backward()
        torchs.step(optimizers[2])
        torchs.update()
        scales.append(torchs.get_scale())
        assert scalers[0] == scalers[1] and scalers[0]["scale"] == scales[-1]
    assert min(scales) < 2.0**127 and any(b > a for a, b in zip(scales, scales[1:], strict=False))  # it has shrunk and grown
    assert all(torch.allclose(a, b, atol=1e-5) and torch.equal(a, c) for a, b, c in
               zip(models_[0].parameters(), models_[2].parameters(), models_[1].parameters(), strict=True))


def test_lab6_keeps_the_best_as_the_library(lab6):
    rng = np.random.default_rng(0)
    for _ in range(50):
        losses, patience = rng.integers(2, 8, size=rng.integers(1, 12)).tolist(), int(rng.integers(1, 4))
        kept, run = regularization.early_stopping(losses, patience)
        for function in (lab6["keep_best"], resumable.keep_best):
            best, stops = interrupted.kept_while_training(function, interrupted.small_model(), losses[:run], patience)
            assert all(torch.allclose(weight, torch.tensor(kept + 1 / 3)) for weight in best["weights"].values())
            assert best["loss"] == losses[kept - 1]
            assert not any(stops[:-1]) and stops[-1] == (run - kept >= patience)


def test_lab6_and_the_library_read_each_others_checkpoints(lab6, tmp_path):
    path, progress = tmp_path / "run.pt", {"step": 3, "best": {"weights": {"a": torch.ones(2)}}, "losses": [0.5]}
    answers = {"ours": (resumable.save_checkpoint, resumable.load_checkpoint),
               "theirs": (lab6["save_checkpoint"], lab6["load_checkpoint"])}
    for writer, reader in (("ours", "theirs"), ("theirs", "ours")):
        first, other = new_run(1), new_run(2)
        interrupted.take_steps(*first, 3)
        answers[writer][0](path, *first, progress)
        assert str(answers[reader][1](path, *other)) == str(progress) and list(tmp_path.iterdir()) == [path]
        later = [interrupted.take_steps(*run, 2) for run in (first, other)]
        assert all((later[0][name] == later[1][name]).all() for name in later[0])


def test_lab6_trains_as_the_library_and_survives_any_cut(lab6, tmp_path):
    whole = run_until(resumable.train_resumable, tmp_path / "whole")
    assert whole[0]["validation"] and len(set(whole[0]["scale"])) > 1  # steps were left out
    for cut in range(len(whole[2])):
        loop = lab6["train_resumable"] if cut % 2 else resumable.train_resumable
        folder = tmp_path / str(cut)
        with pytest.raises(RuntimeError, match="power"):
            run_until(loop, folder, cut)
        history, weights, seen = run_until(loop, folder)
        assert history == whole[0] and all((weights[name] == whole[1][name]).all() for name in weights), cut
        assert len(seen) >= len(whole[2]) - cut and (cut < 8 or len(seen) < len(whole[2]))


def new_run(head_seed):
    model = interrupted.small_model(head_seed, 0.3)
    optimizer = interrupted.optimizer_of(model)
    return model, optimizer, interrupted.falling(optimizer)


def run_until(loop, folder, cut=-1):
    """(history, weights, what was asked for) of a run with dropout and gradients of NaN; the power goes off before `cut`."""
    folder.mkdir(exist_ok=True)
    power, (model, *others) = interrupted.PowerCut(SimpleNamespace(name=folder), cut), new_run(1)
    start = interrupted.head_weights(interrupted.small_model(3))
    history = loop(model, *others, list(range(interrupted.ROWS)), interrupted.collator(power, [4]),
                   interrupted.evaluator(power, start), folder / "run.pt", epochs=3, batch_size=4, part_size=3, save_every=2)
    return history, interrupted.head_weights(model), power.seen


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


def test_a_step_has_the_length_asked_for():
    gradient = torch.randn(3, 4, 5)
    gradient[1] = 0
    lengths = regularization.fgm_perturbation(gradient, 0.7).flatten(1).norm(dim=1)
    assert torch.allclose(lengths, torch.tensor([0.7, 0.0, 0.7]))


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


def test_the_seeds_needed_give_the_power_asked_for():
    """Experiments drawn at random: about four of five intervals leave 0 out, and fewer with fewer seeds."""
    from scipy import stats

    seeds, rng = evaluation.seeds_needed(0.02, 0.03), np.random.default_rng(0)
    shares = []
    for n in (seeds, seeds // 2):
        differences = rng.normal(0.02, 0.03, (4000, n))
        half = stats.t.ppf(0.975, n - 1) * differences.std(axis=1, ddof=1) / np.sqrt(n)
        shares.append((differences.mean(axis=1) > half).mean())
    assert 0.79 < shares[0] < 0.83 and shares[1] < 0.6
    assert evaluation.seeds_needed(0.02, 0.03, level=1 - 0.05 / 11) > seeds > evaluation.seeds_needed(0.04, 0.03)
    assert evaluation.seeds_needed(1e-6, 1.0) == 10_000


def test_an_experiment_that_is_cut_off_goes_on(tmp_path):
    asked = []

    def score(seed):
        if seed == 2 and len(asked) == 4:
            asked.append("cut")
            raise RuntimeError("the power is off")
        asked.append(seed)
        return seed / 10

    with pytest.raises(RuntimeError):
        resumable.paired_runs(score, score, range(4), tmp_path / "runs.json")
    assert resumable.paired_runs(score, score, range(4), tmp_path / "runs.json") == [[i / 10, i / 10] for i in range(4)]
    assert asked == [0, 0, 1, 1, "cut", 2, 2, 3, 3]


def test_nonsense_is_refused_in_words():
    for function, argument in ((regularization.early_stopping, ([], 1)), (regularization.early_stopping, ([0.5], 0)),
                               (regularization.fgm_perturbation, (torch.ones(2, 3), 1.0)), (memory.autocast, ("fp8",)),
                               (data_parallel.train_in_processes, ([], [], None, ".")),
                               (evaluation.seeds_needed, (0.0, 0.1)), (evaluation.seeds_needed, (0.1, 0.0))):
        with pytest.raises(ValueError, match="at least 1|shape|fp16|no rows|greater than 0"):
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


def test_the_largest_batch_fits_and_one_text_more_does_not():
    shape = {"tokens": 50, "width": 384, "layers": 6}
    texts = memory.largest_batch(10**9, 10**7, 10**6, **shape)
    used = [memory.state_bytes(10**7, 10**6) + memory.activation_bytes(n, **shape) for n in (texts, texts + 1)]
    assert used[0] <= 10**9 < used[1] and memory.largest_batch(10**6, 10**7, 10**6, **shape) == 0


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
