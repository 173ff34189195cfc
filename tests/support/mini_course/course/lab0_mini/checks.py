"""Checks of the mini lab."""

import json

import numpy as np
import torch
from leaplm.grading import NOTHING_CALLED, Contract, Numbers, as_number, check
from leaplm.grading.judge import probes


@check(points=3, seconds=0.5, contract=Contract("x", Numbers(dims=0)))
def mean_square(student, rng):
    points = 0
    for size, worth in ((1, 1), (17, 2)):
        numbers = rng.normal(size=size)
        got = as_number(student.call("mean_square", numbers), "mean_square")
        points += worth * bool(np.isclose(got, np.mean(numbers**2)))
    return points, "right" if points == 3 else "the mean of the squares is another number"


STEP = Contract("model batch optimizer", Numbers(dims=0), changes="model", mode="any", leaves="gradients")


@check(points=4, contract=STEP)
def train_step(student, rng):
    seed = int(rng.integers(1000))
    batch = {"x": rng.normal(size=(4, 5)).astype("float32"), "y": rng.normal(size=(4, 2)).astype("float32")}
    model = student.build("leaplm.grading.judge.probes:linear", 5, 2, seed=seed)
    optimizer = student.build("leaplm.grading.judge.probes:sgd", model, lr=0.1)
    want, given = probes.linear(5, 2, seed=seed), {name: torch.from_numpy(array) for name, array in batch.items()}
    for _ in range(2):  # twice, so that gradients left over would show
        loss = as_number(student.call("train_step", model, batch, optimizer), "train_step")
        want_loss = torch.nn.functional.mse_loss(want(given["x"]), given["y"])
        gradients = torch.autograd.grad(want_loss, list(want.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(want.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
    weights = student.read(model, "leaplm.grading.judge.probes:state_dict")
    moved = all(np.allclose(weights[name], array, atol=1e-5) for name, array in probes.state_dict(want).items())
    reported = np.isclose(loss, want_loss.item(), atol=1e-4)
    if not moved:
        return 0, "the weights after two steps differ"
    return (4, "two steps give the right weights") if reported else (3, "the loss returned is not the batch's")


@check(points=2, contract=NOTHING_CALLED)
def slope(student, rng):
    try:
        saved = float(json.loads(student.artifact("slope-cpu.json"))["slope"])
    except (ValueError, KeyError, TypeError):
        return 0, "artifacts/slope-cpu.json is not readable"
    return (2, "the slope fits") if abs(saved - 2) < 0.01 else (0, "the slope does not fit")
