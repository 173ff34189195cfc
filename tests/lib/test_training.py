"""The training loop: same result whatever happens to it, and agreement with references."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import socket
import time

import numpy as np
import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from leaplm import training
from leaplm.data import DynamicPaddingCollator, shuffled_rows
from leaplm.evaluation import evaluate
from leaplm.grading.judge.tiny_models import tiny_classifier
from leaplm.training import TrainingConfig, train, warmup_linear
from torch.multiprocessing import start_processes

FORKS = multiprocessing.get_context("fork")
COLLATE = DynamicPaddingCollator(pad_token_id=0)


def make_rows(count=48, seed=0):
    """Texts of random tokens; those of class 1 have a token above 40 in them, so there is something to learn."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        ids = rng.integers(5, 40, size=rng.integers(3, 12)).tolist()
        rows.append({"input_ids": ids + [int(rng.integers(41, 60))] * (2 * (i % 2)), "label": i % 2})
    return rows


def config(**changes):
    return TrainingConfig(**{"learning_rate": 1e-3, "batch_size": 8, "epochs": 2, "progress": False, **changes})


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_it_learns():
    model, rows = tiny_classifier(), make_rows()
    before = evaluate(model, rows, COLLATE)["loss"]
    history = train(model, rows, COLLATE, config(epochs=15, learning_rate=1e-2))
    assert evaluate(model, rows, COLLATE)["loss"] < before / 3
    assert len(history.train) == 15 * 6
    assert history.tokens == 15 * sum(len(row["input_ids"]) for row in rows)


def test_same_seed_same_weights_and_another_seed_others():
    runs = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        model = tiny_classifier(dropout=0.1)
        train(model, make_rows(), COLLATE, config(seed=seed))
        runs[name] = weights(model)
    assert torch.equal(runs["a"], runs["b"])
    assert not torch.equal(runs["a"], runs["c"])


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_accumulated_parts_equal_the_whole_batch(parts):
    """8 rows cut into 3 parts are 3, 3 and 2 rows: every row must still weigh the same."""
    whole, cut = tiny_classifier(), tiny_classifier()
    train(whole, make_rows(), COLLATE, config())
    train(cut, make_rows(), COLLATE, config(gradient_accumulation_steps=parts))
    assert torch.allclose(weights(whole), weights(cut), atol=1e-5)


def test_update_equals_a_plain_pytorch_loop():
    ours, plain = tiny_classifier(), tiny_classifier()
    settings = config(epochs=1, max_steps=1, warmup_ratio=0, weight_decay=0.0)
    rows = make_rows(8)
    train(ours, rows, COLLATE, settings)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    plain(**COLLATE(rows)).loss.backward()
    torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
    optimizer.step()
    # The first update is at step 1 of 2: factor 1/2 of the way down... to the end, (2 - 1) / 2.
    moved, whole = weights(ours) - weights(tiny_classifier()), weights(plain) - weights(tiny_classifier())
    assert torch.allclose(moved, whole / 2, atol=1e-6)


def test_batches_in_plain_shuffled_order():
    seen = []

    def collate(rows):
        seen.extend(len(row["input_ids"]) for row in rows)
        return COLLATE(rows)

    rows = make_rows(12)
    train(tiny_classifier(), rows, collate, config(seed=5, group_by_length=False))
    want = [len(rows[i]["input_ids"]) for epoch in (0, 1) for i in shuffled_rows(12, 5, epoch)]
    assert seen == want


def test_schedule_agrees_with_transformers():
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=7, num_training_steps=40)
    for step in range(45):
        assert warmup_linear(step, 40, 7) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_best_weights_are_kept_and_patience_stops():
    """The score falls after the second evaluation: training stops two evaluations later with the second's weights."""
    model, seen = tiny_classifier(), []

    def score(model):
        seen.append(weights(model).clone())
        return {"accuracy": [0.5, 0.9, 0.8, 0.7, 0.6, 0.5][len(seen) - 1]}

    history = train(model, make_rows(), COLLATE, config(epochs=6, patience=2, metric="accuracy"), score)
    assert history.stopped_early and len(seen) == 4
    assert torch.equal(weights(model), seen[1])
    assert history.best("accuracy")["accuracy"] == 0.9


def test_untouched_embedding_rows_stay_exactly():
    """No weight decay on embeddings: rows of tokens that never occur keep their pretrained values."""
    model = tiny_classifier()
    before = model.bert.embeddings.word_embeddings.weight.detach().clone()
    train(model, [{**row, "input_ids": [min(i, 50) for i in row["input_ids"]]} for row in make_rows()], COLLATE, config())
    after = model.bert.embeddings.word_embeddings.weight
    assert torch.equal(before[51:], after[51:]) and not torch.equal(before[5:40], after[5:40])


def test_loss_that_is_not_a_number_is_an_error():
    model = tiny_classifier()
    with torch.no_grad():
        model.classifier.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="learning rate that is too large"):
        train(model, make_rows(), COLLATE, config())


@pytest.mark.parametrize("setting", [{"learning_rate": 0}, {"batch_size": 0}, {"warmup_ratio": 2}, {"schedule": "cosine"},
                                     {"report_to": ("tensorboard",)}])
def test_settings_that_make_no_sense_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        config(**setting)


def test_everything_frozen_is_an_error():
    with pytest.raises(ValueError, match="frozen"):
        train(tiny_classifier().requires_grad_(False), make_rows(), COLLATE, config())


def test_tensorboard_log_has_the_losses(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = train(tiny_classifier(), make_rows(), COLLATE, config(output_dir=str(tmp_path), report_to=("tensorboard",)))
    log = EventAccumulator(str(tmp_path / "logs")).Reload()
    logged = [event.value for event in log.Scalars("loss")]
    assert np.allclose(logged, [row["loss"] for row in history.train])


def test_interrupt_saves_and_the_next_call_goes_on(tmp_path):
    straight, model = tiny_classifier(dropout=0.1), tiny_classifier(dropout=0.1)
    train(straight, make_rows(), COLLATE, config(epochs=3))

    calls = []

    def interrupted(model, batch):
        calls.append(1)
        if len(calls) == 9:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return training.classification_loss(model, batch)

    with pytest.raises(KeyboardInterrupt):
        train(model, make_rows(), COLLATE, config(epochs=3, output_dir=str(tmp_path)), loss_fn=interrupted)
    resumed = tiny_classifier(seed=5, dropout=0.1)  # other weights: they must come from the checkpoint
    history = train(resumed, make_rows(), COLLATE, config(epochs=3, output_dir=str(tmp_path)))
    assert len(history.train) == 18
    assert torch.equal(weights(resumed), weights(straight))
    assert not (tmp_path / training.CHECKPOINT).exists()


def test_checkpoint_of_another_run_is_not_used(tmp_path, capsys):
    def stop(model, batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny_classifier(), make_rows(), COLLATE, config(output_dir=str(tmp_path)), loss_fn=stop)
    model, fresh = tiny_classifier(), tiny_classifier()
    train(model, make_rows(), COLLATE, config(output_dir=str(tmp_path), learning_rate=2e-3))
    train(fresh, make_rows(), COLLATE, config(learning_rate=2e-3))
    assert "other settings" in capsys.readouterr().out
    assert torch.equal(weights(model), weights(fresh))


def train_slowly(folder, result, pause, steps):
    """24 steps, each told to `steps` before it is made; then the weights and losses go into `result`."""

    def slow(model, batch):
        time.sleep(pause)
        steps.send(None)
        return training.classification_loss(model, batch)

    model, rows = tiny_classifier(dropout=0.1), make_rows()
    settings = config(epochs=4, output_dir=str(folder), checkpoint_seconds=0)
    history = train(model, rows, COLLATE, settings, lambda one: evaluate(one, rows, COLLATE), loss_fn=slow)
    torch.save({"weights": weights(model), "losses": [row["loss"] for row in history.train]}, result)


def run_killed(folder, result, pause, kill_at=None):
    """Train in a process of its own, and kill -9 it after `kill_at` steps. A fork: it need not import PyTorch again."""
    heard, steps = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=train_slowly, args=(folder, result, pause, steps))
    process.start()
    steps.close()
    with contextlib.suppress(EOFError):
        for number in itertools.count(1):
            heard.recv()
            if number == kill_at:
                time.sleep(0.02)
                process.kill()
                break
    process.join(timeout=120)
    return process.exitcode


def test_kill_minus_nine_then_resume_gives_the_same_weights(tmp_path):
    assert run_killed(tmp_path / "straight", tmp_path / "straight.pt", 0) == 0
    for kill_at in (4, 6, 8):  # three power cuts in one run of 24 steps
        assert run_killed(tmp_path / "cut", tmp_path / "cut.pt", 0.03, kill_at) == -signal.SIGKILL
    assert not (tmp_path / "cut.pt").exists()
    assert run_killed(tmp_path / "cut", tmp_path / "cut.pt", 0) == 0
    straight, cut = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("straight", "cut"))
    assert straight["losses"] == cut["losses"]
    assert torch.equal(straight["weights"], cut["weights"])


def train_as_one_of_two(rank, port, result):
    """A process as torchrun starts it, but a fork: it need not import PyTorch again."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    torch.set_num_threads(1)  # OpenMP's threads do not live on in a fork
    AcceleratorState._reset_state(reset_partial_state=True)  # of the tests before
    model = tiny_classifier()
    history = train(model, make_rows(50), COLLATE, config(gradient_accumulation_steps=2))
    state = PartialState()
    assert state.num_processes == 2
    if state.is_main_process:
        torch.save({"weights": weights(model), "losses": [row["loss"] for row in history.train]}, result)


def test_two_processes_equal_one(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start_processes(train_as_one_of_two, (port, tmp_path / "two.pt"), nprocs=2, start_method="fork")
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    model = tiny_classifier()
    history = train(model, make_rows(50), COLLATE, config())
    assert np.allclose(two["losses"], [row["loss"] for row in history.train], atol=1e-5)
    assert torch.allclose(two["weights"], weights(model), atol=1e-4)


def test_word_embeddings_can_have_their_own_rate():
    from leaplm.training import make_optimizer, make_scheduler

    model, settings = tiny_classifier(), config(embedding_learning_rate=1e-2, warmup_ratio=0)
    optimizer = make_optimizer(model, settings)
    make_scheduler(optimizer, settings, total_steps=10)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx((1e-2 if "word_embeddings" in name else 1e-3) * 10 / 11)
