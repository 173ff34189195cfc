"""Objects for checks of runs that are cut off and started again: a small model, its data, a power cut, a disk that fails.

A check names them as 'leaplm.grading.judge.interrupted:small_model', as those of `probes`. Files lie in a temporary folder
on the student's side, and go with it.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from leaplm.grading.sandbox.observe import global_random_states, restore_random_states, seed_globals
from leaplm.runtime import seed_torch, seeded

ROWS, WIDTH, CLASSES = 11, 5, 3


class SmallModel(torch.nn.Module):
    """A frozen layer, dropout, and a head that learns: batch -> an output with the mean loss over its labels.

    spare: so many more frozen numbers, which nothing is computed with. In a batch with a row of `edge` a weight of the head
    gets the gradient NaN, though the loss is a number.
    """

    def __init__(self, dropout: float, spare: int = 0) -> None:
        super().__init__()
        self.base = torch.nn.Linear(WIDTH, 8).requires_grad_(False)
        self.dropout, self.head = torch.nn.Dropout(dropout), torch.nn.Linear(8, CLASSES)
        if spare:
            self.spare = torch.nn.Parameter(torch.randn(spare), requires_grad=False)
        self.states: list[bytes] = []  # of torch's random numbers, at each forward pass in training mode

    def forward(self, inputs: Tensor, labels: Tensor, edge: Tensor | None = None) -> SimpleNamespace:
        if self.training:
            self.states.append(torch.get_rng_state().numpy().tobytes())
        loss = torch.nn.functional.cross_entropy(self.head(self.dropout(torch.tanh(self.base(inputs)))), labels)
        if edge is not None and bool(edge.any()):
            loss = loss + (0 * self.head.bias[0]).sqrt()
        return SimpleNamespace(loss=loss)


def small_model(head_seed: int = 0, dropout: float = 0.0, spare: int = 0) -> SmallModel:
    """A `SmallModel`; what is frozen is the same in all of them."""
    with seeded(7):
        model = SmallModel(dropout, spare)
        seed_torch(head_seed)
        torch.nn.init.normal_(model.head.weight)
        torch.nn.init.normal_(model.head.bias)
    return model.train()


def optimizer_of(model: torch.nn.Module, kind: str = "adamw") -> Optimizer:
    """AdamW, or gradient descent with momentum, on what learns: both keep numbers from step to step."""
    learns = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(learns, lr=0.05) if kind == "adamw" else torch.optim.SGD(learns, lr=0.2, momentum=0.9)


def falling(optimizer: Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """A learning rate that is a tenth smaller after each step of the scheduler."""
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.9)


def drew_again(model: SmallModel) -> bool:
    """Whether a model with dropout has seen the same state of the random numbers twice."""
    return len(set(model.states)) < len(model.states)


def forwards(model: SmallModel) -> int:
    """How often a model was run in training mode."""
    return len(model.states)


def first_draw(model: SmallModel) -> int:
    """A number for the state of the random numbers as a model was first run in training mode."""
    return zlib.crc32(model.states[0] if model.states else b"")


def take_steps(model: torch.nn.Module, optimizer: Optimizer, scheduler: Any, steps: int, seed: int = 0) -> dict:
    """Trains so many steps on random rows, whose numbers and dropout depend on `seed` alone; the weights that learn."""
    before = global_random_states()
    seed_globals(seed)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, WIDTH), torch.randint(CLASSES, (4,))).loss.backward()
        optimizer.step()
        scheduler.step()
    model.zero_grad()
    restore_random_states(before)
    return head_weights(model)


def head_weights(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """The weights that learn, by name."""
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters() if p.requires_grad}


# -- files ----------------------------------------------------------------------------------------------------------------


def folder() -> tempfile.TemporaryDirectory:
    """A temporary folder, which goes when nobody holds it any more."""
    return tempfile.TemporaryDirectory()


def path_in(holder: tempfile.TemporaryDirectory, name: str) -> str:
    """The path of a file in a `folder`."""
    return str(Path(holder.name, name))


def names_in(holder: tempfile.TemporaryDirectory) -> list[str]:
    """The names of all that lies in a `folder`."""
    return sorted(os.listdir(holder.name))


def size_in(holder: tempfile.TemporaryDirectory, name: str) -> int:
    """How many bytes a file in a `folder` has."""
    return Path(holder.name, name).stat().st_size


class Unwritable:
    """Cannot be written into a file, as on a disk that is full."""

    def __reduce__(self) -> Any:
        raise OSError("the disk is full")


def failing_save(save: Any, how: str, path: str, model: Any, optimizer: Any, scheduler: Any, progress: dict) -> bool:
    """Calls a student's save(path, model, ...) and lets it fail: "full", in the middle of the writing; "power", at the
    moment when a file is to take another's place. Whether it failed."""
    with contextlib.ExitStack() as stack:
        if how == "full":
            progress = {**progress, "more": Unwritable()}
        else:
            for name in ("replace", "rename", "link"):
                stack.enter_context(mock.patch.object(os, name, side_effect=OSError("the power is off")))
        try:
            save(path, model, optimizer, scheduler, progress)
        except Exception:
            return True
    return False


def way_of_saving(save: Any, path: str, *args: Any) -> dict[str, bool]:
    """How a student's save(path, *args) puts its file in the place of the old one.

    "replaced": by renaming another file; "beside": one of the same folder; "synced": which was on the disk before, all of
    it; "always": after each renaming there was a file.
    """
    on_disk: set[tuple] = set()
    found = {"replaced": False, "beside": True, "synced": True, "always": True}
    place = Path(path).resolve()

    def state(what: Any) -> tuple:
        status = os.stat(what.fileno() if hasattr(what, "fileno") else what)
        return status.st_dev, status.st_ino, status.st_size

    def syncing(function: Any) -> Any:
        def call(*handles: Any) -> None:
            function(*handles)
            on_disk.update(state(what) for what in handles or [entry.path for entry in os.scandir(place.parent)])

        return call

    def renaming(function: Any) -> Any:
        def call(source: Any, target: Any, **kwargs: Any) -> None:
            new, beside = state(source), place.parent in Path(source).resolve().parents
            function(source, target, **kwargs)
            found["always"] = found["always"] and place.exists()
            if Path(target).resolve() == place:
                found.update(replaced=True, beside=beside, synced=new in on_disk)

        return call

    watched = dict.fromkeys(("fsync", "fdatasync", "sync"), syncing) | dict.fromkeys(("replace", "rename"), renaming)
    with contextlib.ExitStack() as stack:
        for name, watching in watched.items():
            if hasattr(os, name):
                stack.enter_context(mock.patch.object(os, name, watching(getattr(os, name))))
        save(path, *args)
    return found


def keeps_gradients(save: Any, path: str, model: torch.nn.Module, *args: Any) -> bool:
    """Whether the gradients are the same after a student's save(path, model, ...)."""
    learns = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learns:
        parameter.grad = torch.ones_like(parameter)
    save(path, model, *args)
    kept = all(parameter.grad is not None and bool((parameter.grad == 1).all()) for parameter in learns)
    model.zero_grad()
    return kept


def drawn_after(function: Any, seed: int, *args: Any) -> dict:
    """What a student's function(*args) returns, and the numbers that Python, NumPy and torch draw right after it."""
    before = global_random_states()
    try:
        seed_globals(seed)
        returned = function(*args)
        drawn = [random.random(), float(np.random.random()), float(torch.rand(()))]
    finally:
        restore_random_states(before)
    return {"returned": returned, "drawn": drawn}


def kept_while_training(keep_best: Any, model: torch.nn.Module, losses: list[float], patience: int) -> list:
    """[what is known of the best in the end, whether to stop each time] of a student's keep_best, called after each loss.

    The weights change in place after each call, and are filled with the number of the evaluation (from 1) before it, and
    a third, which no number of 16 bits is.
    """
    best, stops = None, []
    for number, loss in enumerate(losses, 1):
        fill(model, number + 1 / 3)
        best, stop = keep_best(model, loss, best, patience)
        stops.append(bool(stop))
        fill(model, -1.0)
    return [best, stops]


def fill(model: torch.nn.Module, number: float) -> None:
    """Writes one number into all weights that learn, in place."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.fill_(number)


# -- a run that is cut off ------------------------------------------------------------------------------------------------


class PowerCut:
    """Counts what a run asks for (batches and evaluations), and ends it before one of them, as a power cut would.

    What lies in the folder at that moment is remembered: what a program writes after it, as it ends, is not there
    when the power comes back (see `power_is_back`).
    """

    def __init__(self, holder: Any, at: int) -> None:
        self.folder, self.at, self.events, self.seen, self.files = Path(holder.name), at, 0, [], None

    def event(self, what: Any) -> None:
        if self.events == self.at:
            self.files = {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
            raise RuntimeError("the power is off")
        self.events += 1
        self.seen.append(what)


def power_cut(holder: Any, at: int = -1) -> PowerCut:
    """Before which batch or evaluation (from 0) the power goes off; -1: never."""
    return PowerCut(holder, at)


def collator(power: PowerCut, edges: list[int]) -> Any:
    """A collate: row numbers -> a batch of a fixed table of random rows; with those of `edges` a gradient is NaN."""
    rng = np.random.default_rng(5)
    edges = [int(row) for row in edges]
    inputs = torch.from_numpy(rng.normal(size=(ROWS, WIDTH)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(CLASSES, size=ROWS))

    def collate(rows: list[int]) -> dict[str, Tensor]:
        rows = [int(row) for row in rows]
        power.event(rows)
        return {"inputs": inputs[rows], "labels": labels[rows], "edge": torch.tensor([row in edges for row in rows])}

    return collate


def evaluator(power: PowerCut, best: dict[str, np.ndarray]) -> Any:
    """An evaluate: how far the weights are from those called `best`. It leaves the model in evaluation mode."""

    def evaluate(model: torch.nn.Module) -> float:
        power.event("evaluation")
        model.eval()
        learn = {name: p.detach().numpy() for name, p in model.named_parameters() if p.requires_grad}
        return sum(float(((weights - np.asarray(best[name])) ** 2).sum()) for name, weights in learn.items())

    return evaluate


def power_is_back(power: PowerCut) -> bool:
    """Puts the files back as they were when the power went off; whether it did."""
    if power.files is None:
        return False
    for path in power.folder.iterdir():
        path.unlink()
    for name, content in power.files.items():
        (power.folder / name).write_bytes(content)
    return True


def asked(power: PowerCut) -> list[Any]:
    """The rows of each batch that a run has asked for, and "evaluation" for each of these, in order."""
    return power.seen
