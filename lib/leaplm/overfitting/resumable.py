"""A training loop for weak machines: parts of a batch, a scaled loss, and a run that a power cut does not harm (lab 6).

`training.train` does all of this for every lab, with more devices and processes. Here it is in a few functions that keep
nothing between two calls: all that the next update depends on is in their arguments, and so in one file.
"""

import json
import math
import os
import random
from pathlib import Path

import numpy as np
import torch

from leaplm.overfitting.memory import accumulate_gradients
from leaplm.runtime import set_seed
from leaplm.whole_file import replacing, write_whole

FIRST_SCALER = {"scale": 2.0**16, "good": 0}


def scaled_step(model, batches, optimizer, scaler, grow_after=2000):
    """One update with a scaled loss: (mean loss, whether the step was made, the scaler for the next step).

    batches: the parts of one batch (see `memory.accumulate_gradients`). scaler: {"scale": factor of the loss, "good": steps
    made in a row since it changed}; it stays as it is. If any gradient is infinite or NaN, nothing is changed, and the scale
    is halved; after `grow_after` good steps in a row it is doubled. `torch.amp.GradScaler` does the same.
    Source: Micikevicius et al., 2018, *Mixed precision training*, section 3.2.

    >>> model = torch.nn.Linear(1, 1)
    >>> scaled_step(model, batches, sgd, {"scale": 8.0, "good": 1}, grow_after=2)        # doctest: +SKIP
    (0.52, True, {'scale': 16.0, 'good': 0})
    """
    scale, good = scaler["scale"], scaler["good"] + 1
    optimizer.zero_grad()
    loss = accumulate_gradients(model, batches, scale=scale)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not all(torch.isfinite(gradient).all() for gradient in gradients):
        return loss, False, {"scale": scale / 2, "good": 0}
    for gradient in gradients:
        gradient /= scale
    optimizer.step()
    return loss, True, {"scale": 2 * scale, "good": 0} if good >= grow_after else {"scale": scale, "good": good}


def keep_best(model, loss, best, patience):
    """(what is known of the best weights after one more evaluation, whether to stop).

    loss: of this evaluation. best: None before the first, then what the last call gave; it stays as it is: {"loss": the
    smallest so far, "bad": evaluations in a row since that were not better, "weights": {name: copy of a parameter that
    learns}}. Only a smaller loss is better. Stop when `bad` reaches `patience`.

    >>> best, stop = keep_best(torch.nn.Linear(1, 1), 0.5, None, patience=1)
    >>> best["loss"], best["bad"], sorted(best["weights"]), stop
    (0.5, 0, ['bias', 'weight'], False)
    >>> keep_best(torch.nn.Linear(1, 1), 0.6, best, patience=1)[1]
    True
    """
    if best is None or loss < best["loss"]:
        best = {"loss": loss, "bad": 0, "weights": learning_weights(model, copy=True)}
    else:
        best = {**best, "bad": best["bad"] + 1}
    return best, best["bad"] >= patience


def learning_weights(model, copy=False):
    """{name: weight} of the parameters that learn; what is frozen comes from its own file."""
    return {name: p.detach().clone() if copy else p.detach() for name, p in model.named_parameters() if p.requires_grad}


def random_states():
    """The states of all global sources of random numbers: of Python, NumPy, torch, and its GPUs.

    >>> states = random_states()
    >>> first = torch.rand(())
    >>> set_random_states(states)
    >>> bool(torch.rand(()) == first)
    True
    """
    name, keys, *rest = np.random.get_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "numpy": [name, keys.tolist(), *rest], "torch": torch.get_rng_state(), "gpus": gpus}


def set_random_states(states):
    """Put the states of `random_states` back."""
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if len(states["gpus"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(states["gpus"])


def save_checkpoint(path, model, optimizer, scheduler, progress):
    """Write all that the next update depends on into one file: the weights that learn, optimizer, scheduler, random states,
    and `progress`, a dict of plain values and tensors.

    The file is whole at any moment: it is written beside its place, put on the disk, and then takes the old one's place.
    The folder must be there.
    """
    state = {"model": learning_weights(model), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
             "random": random_states(), "progress": progress}
    with replacing(path) as file:
        torch.save(state, file)


def load_checkpoint(path, model, optimizer, scheduler):
    """Put back what `save_checkpoint` wrote, and return its `progress`; None where there is no file: nothing is changed.

    >>> load_checkpoint("no/such/file.pt", None, None, None)
    """
    if not os.path.exists(path):
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)  # may come from a GPU
    model.load_state_dict(state["model"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    set_random_states(state["random"])
    return state["progress"]


def train_resumable(model, optimizer, scheduler, rows, collate, evaluate, path, epochs=5, batch_size=8, part_size=4,
                    patience=2, save_every=5, seed=0):
    """Train, with a checkpoint in the file `path`; killed at any moment and called again, it ends in the same weights.

    Who calls it again makes model, optimizer and scheduler anew, as in the first process. The order of epoch e (from 0) is
    torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + e)). Each batch goes through the model in parts
    of at most `part_size` rows, `collate(rows) -> batch`. After each epoch `evaluate(model)` gives the validation loss, by
    which it stops early; the best weights are in the model at the end. It saves after every `save_every` updates;
    if an evaluation comes then, after it. Returns {"loss", "scale"} (one number an update) and "validation" (one an epoch).

    >>> train_resumable(*new_model(), rows, collate, evaluate, "runs/clinic.pt")["validation"]       # doctest: +SKIP
    [0.69, 0.61, 0.64, 0.66]
    """
    set_seed(seed)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    steps = math.ceil(len(rows) / batch_size)
    run = load_checkpoint(path, model, optimizer, scheduler) or {
        "step": 0, "stop": False, "best": None, "scaler": FIRST_SCALER,
        "history": {"loss": [], "scale": [], "validation": []}}
    while run["step"] < epochs * steps and not run["stop"]:
        model.train()
        parts = [collate(part) for part in parts_of(rows, run["step"], batch_size, part_size, seed)]
        loss, made, run["scaler"] = scaled_step(model, parts, optimizer, run["scaler"])
        if made:
            scheduler.step()
        run["step"] += 1
        run["history"]["loss"].append(loss)
        run["history"]["scale"].append(run["scaler"]["scale"])
        if run["step"] % steps == 0:
            run["history"]["validation"].append(evaluate(model))
            run["best"], run["stop"] = keep_best(model, run["history"]["validation"][-1], run["best"], patience)
        if run["step"] % save_every == 0:
            save_checkpoint(path, model, optimizer, scheduler, run)
    model.load_state_dict(run["best"]["weights"], strict=False)
    return run["history"]


def parts_of(rows, step, batch_size, part_size, seed):
    """The rows of update `step` (from 0, over all epochs) in parts of at most `part_size`; by seed and step alone.

    >>> sorted(sum(parts_of("abc", 0, 2, 1, seed=0) + parts_of("abc", 1, 2, 1, seed=0), []))
    ['a', 'b', 'c']
    """
    epoch, place = divmod(step, math.ceil(len(rows) / batch_size))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + epoch)).tolist()
    batch = [rows[i] for i in order[place * batch_size : (place + 1) * batch_size]]
    return [batch[i : i + part_size] for i in range(0, len(batch), part_size)]


def paired_runs(first, second, seeds, path):
    """The scores of two trainings, seed by seed: a list of [score of first, score of second].

    first, second: functions of a seed that train and give a score. Each pair is written into the file `path` as soon as it
    is there; what is in it is not computed again, so a power cut costs one pair at most. Another experiment needs another
    file.

    >>> paired_runs(lambda seed: 0.5, lambda seed: 0.5 + seed / 10, range(2), "/tmp/doctest.json")     # doctest: +SKIP
    [[0.5, 0.5], [0.5, 0.6]]
    """
    path = Path(path)
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for seed in seeds:
        if str(seed) not in known:
            known[str(seed)] = [float(first(seed)), float(second(seed))]
            write_whole(path, json.dumps(known))
    return [known[str(seed)] for seed in seeds]
