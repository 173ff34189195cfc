"""One training loop for every lab: accelerate for devices, precision and processes; resumes after a kill.

The order of batches depends on seed and epoch alone and each checkpoint holds weights, optimizer, schedule and random
states, so a run that was killed and resumed ends with the same weights as one that was not.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache
from tqdm.auto import tqdm

from leaplm.data import LengthBucketSampler, ShuffledSampler
from leaplm.locales import say
from leaplm.runtime import free_memory, get_device, mixed_precision, seeded, set_seed, trim_memory

CHECKPOINT = "checkpoint"
STOPPED = "Stopped at step {step} of {steps}. Run the cell again to go on from here."
STARTING_ANEW = "{folder} belongs to a run with other settings or data: starting from step 0."
GOING_ON = "Going on from step {step} of {steps} ({folder})."
TRIM_SECONDS = 1  # between two calls of trim_memory: 2 % of the time, and the peak is lower by hundreds of MB


@dataclasses.dataclass
class TrainingConfig:
    """What a run needs to know.

    learning_rate: the peak, reached after `warmup_ratio` of all steps, then down to 0 on a straight line ("linear") or
        kept ("constant").
    embedding_learning_rate: the peak for word embeddings alone (None: the same). A larger one helps when the model has
        not read the language: its word vectors fit least.
    head_learning_rate: the peak for the classification head alone (None: the same). A new head needs larger steps than
        the encoder, which they would disturb (discriminative fine-tuning, Howard & Ruder, 2018).
    batch_size: rows per weight update, over all processes. `gradient_accumulation_steps` cuts each batch into that
        many parts that go through the model one after the other: less memory, the same update.
    group_by_length: texts of similar length share a batch, which saves padding; False: batches in plain shuffled order.
    max_steps: stop after so many updates, whatever `epochs` says.
    eval_steps: evaluate every so many updates (None: at the end of each epoch).
    patience: stop after so many evaluations without a better `metric` (None: never stop early). The best weights are
        kept in any case when an evaluation is given. Smaller is better for `metric="loss"`, else larger is better.
    mixed_precision: "auto" (see `runtime.mixed_precision`), "no", "fp16" or "bf16".
    output_dir: where checkpoints and logs go (None: no checkpoints); saved every `checkpoint_seconds`.
    report_to: any of "tensorboard", "wandb".
    """

    learning_rate: float = 5e-5
    embedding_learning_rate: float | None = None
    head_learning_rate: float | None = None
    batch_size: int = 16
    epochs: int = 3
    max_steps: int | None = None
    warmup_ratio: float = 0.1
    schedule: str = "linear"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    gradient_accumulation_steps: int = 1
    group_by_length: bool = True
    eval_steps: int | None = None
    patience: int | None = None
    metric: str = "loss"
    mixed_precision: str = "auto"
    seed: int = 0
    output_dir: str | None = None
    checkpoint_seconds: float = 60
    report_to: tuple = ()
    progress: bool = True

    def __post_init__(self):
        for name in ("learning_rate", "batch_size", "epochs", "gradient_accumulation_steps"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be greater than 0")
        if not 0 <= self.warmup_ratio <= 1:
            raise ValueError(f"warmup_ratio={self.warmup_ratio} must lie between 0 and 1")
        if self.schedule not in ("linear", "constant"):
            raise ValueError(f"schedule={self.schedule!r}: use 'linear' or 'constant'")
        if self.report_to and not self.output_dir:
            raise ValueError(say("`report_to` needs an `output_dir` to write the log to"))


@dataclasses.dataclass
class History:
    """What happened in a run: a row per update (`train`), a row per evaluation (`validation`), and the totals."""

    train: list = dataclasses.field(default_factory=list)
    validation: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0
    stopped_early: bool = False

    def best(self, metric="loss"):
        """The evaluation row with the best value of `metric` (smallest loss, otherwise largest)."""
        if not self.validation:
            raise ValueError(say("this run had no evaluation: pass `evaluate_fn` to `train()`"))
        return (min if metric == "loss" else max)(self.validation, key=lambda row: row[metric])

    def to_dict(self):
        return dataclasses.asdict(self)


def warmup_linear(step, total_steps, warmup_steps):
    """Factor in [0, 1] on the learning rate at update `step` (0-based): up to 1, then down to 0, on straight lines.

    Source: Devlin et al., 2019, appendix A.2.

    >>> [round(warmup_linear(s, total_steps=10, warmup_steps=4), 2) for s in (0, 1, 4, 7, 10)]
    [0.0, 0.25, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))


def classification_loss(model, batch):
    """Mean loss over the targets of a batch (as the model reports it), and the number of targets."""
    return model(**batch).loss, int((batch["labels"] != -100).sum())


def take_rows(batch, rows):
    """These rows of a batch, without the columns that are padding in all of them.

    >>> batch = {"input_ids": torch.tensor([[5, 6, 7], [8, 0, 0]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0]])}
    >>> take_rows(batch, [1])["input_ids"].tolist()
    [[8]]
    """
    part = {name: tensor[rows] for name, tensor in batch.items()}
    mask = part.get("attention_mask")
    if mask is None:
        return part
    width, longest = mask.shape[1], int(mask.sum(dim=1).max())
    return {name: t[:, :longest] if t.ndim == 2 and t.shape[1] == width else t for name, t in part.items()}


def make_optimizer(model, config):
    """AdamW; biases, LayerNorm weights and word embeddings are not decayed; words and head can have their own rates.

    Embeddings are not decayed so that the rows of tokens that never occur keep their pretrained values exactly.
    """
    groups = {"decayed": [], "plain": [], "words": [], "head": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = "words" if "word_embeddings" in name else "decayed" if parameter.ndim > 1 else "plain"
            kind = "head" if config.head_learning_rate and name.startswith("classifier.") else kind
            groups[kind].append(parameter)
    if not any(groups.values()):
        raise ValueError(say("the model has no trainable parameter: everything is frozen"))
    word_rate = config.embedding_learning_rate or config.learning_rate
    settings = {"decayed": {"weight_decay": config.weight_decay}, "plain": {}, "words": {"lr": word_rate},
                "head": {"lr": config.head_learning_rate}}
    chosen = [{"params": groups[kind], "weight_decay": 0.0, **settings[kind]} for kind in groups if groups[kind]]
    # One fused kernel: on a CPU 6 times faster than the default, a sixth of a step of MiniLM.
    return torch.optim.AdamW(chosen, lr=config.learning_rate, fused=True)


def make_scheduler(optimizer, config, total_steps):
    """The learning-rate schedule: warm-up, then "linear" decay or "constant"."""
    warmup_steps = round(config.warmup_ratio * total_steps)
    if config.schedule == "linear":
        # Step 0 would train at rate 0: count updates from 1.
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warmup_linear(s + 1, total_steps + 1, warmup_steps))
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / max(1, warmup_steps)))


def training_step(model, batches, optimizer, scheduler, max_grad_norm=1.0):
    """One update from the micro-batches of one batch; returns the mean loss before it, each row weighing the same.

    batches: a list of dicts with `labels`; `model(**batch).loss` is the mean loss of a micro-batch. So does `train` at each
    update, with devices, precision and processes besides.

    >>> from leaplm.models import VectorClassifier
    >>> model = VectorClassifier(width=2, classes=2)
    >>> _ = [torch.nn.init.zeros_(parameter) for parameter in model.parameters()]
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> scheduler = make_scheduler(optimizer, TrainingConfig(), total_steps=10)
    >>> batch = {"vectors": torch.ones(2, 2), "labels": torch.tensor([0, 1])}
    >>> round(training_step(model, [batch], optimizer, scheduler), 3)
    0.693
    """
    model.train()
    optimizer.zero_grad()
    rows, total = sum(len(batch["labels"]) for batch in batches), 0.0
    for batch in batches:
        loss = model(**batch).loss * (len(batch["labels"]) / rows)
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
    optimizer.step()
    scheduler.step()
    return total


def train(model, rows, collate_fn, config, evaluate_fn=None, loss_fn=classification_loss):
    """Train `model` in place on tokenized `rows` and return a History; the best weights by validation are kept.

    rows: a list of dicts with `input_ids`. collate_fn: list of rows -> batch (dict of tensors).
    evaluate_fn: model -> dict of floats that has `config.metric`; called at the end of epochs or every `eval_steps`.
    loss_fn: (model, batch) -> (mean loss over targets, number of targets).
    With `config.output_dir`, a run that was interrupted goes on where it stopped when `train` is called again with the
    same configuration. Ctrl-C saves a checkpoint first.
    Raises ValueError for an empty dataset and for `patience` without an evaluation, and FloatingPointError when the loss is
    not a number.

    >>> config = TrainingConfig(learning_rate=5e-5, epochs=2)                               # doctest: +SKIP
    >>> history = train(model, rows, collate, config, lambda m: evaluate(m, val, collate))  # doctest: +SKIP
    """
    if not rows:
        raise ValueError(say("there are no rows to train on"))
    if config.patience is not None and evaluate_fn is None:
        raise ValueError(say("`patience` stops nothing without an evaluation: give `evaluate_fn` too"))
    set_seed(config.seed)
    run = Run(model, rows, collate_fn, config, evaluate_fn, loss_fn)
    run.resume()
    try:
        run.loop()
    except KeyboardInterrupt:
        run.save_checkpoint()
        if config.output_dir:
            print(say(STOPPED, step=run.step, steps=run.total_steps))
        raise
    return run.finish()


class Run:
    """The state of one training run; what has to survive a kill is in `state_dict`."""

    def __init__(self, model, rows, collate_fn, config, evaluate_fn, loss_fn):
        self.rows, self.collate_fn, self.config = rows, collate_fn, config
        self.evaluate_fn, self.loss_fn, self.raw_model = evaluate_fn, loss_fn, model
        self.accelerator = make_accelerator(config)
        sampler = LengthBucketSampler if config.group_by_length else ShuffledSampler
        self.sampler = sampler([len(row["input_ids"]) for row in rows], config.batch_size, config.seed)
        self.steps_per_epoch = len(self.sampler)
        self.total_steps = config.max_steps or config.epochs * self.steps_per_epoch
        optimizer = make_optimizer(model, config)
        self.scheduler = make_scheduler(optimizer, config, self.total_steps)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.step, self.bad_evaluations, self.best_value, self.best_weights = 0, 0, None, None
        self.history, self.saved_at, self.trimmed_at = History(), time.monotonic(), time.monotonic()
        self.accelerator.register_for_checkpointing(self, self.scheduler)

    # -- the loop -------------------------------------------------------------------------------------------------

    def loop(self):
        started, before = time.monotonic(), self.history.seconds
        hidden = not (self.config.progress and self.accelerator.is_main_process)
        with tqdm(total=self.total_steps, initial=self.step, desc=say("training"), unit=say("step"), disable=hidden) as bar:
            for batches in self.remaining_batches():
                self.model.train()
                row = self.update(batches)
                self.step += 1
                self.history.train.append(row)
                self.history.seconds = before + time.monotonic() - started
                bar.set_postfix(loss=f"{row['loss']:.3f}")
                bar.update()
                self.accelerator.log(row, step=self.step)
                if self.is_evaluation_step() and self.evaluate():
                    self.history.stopped_early = self.step < self.total_steps
                    break
                self.upkeep()
        self.history.seconds = before + time.monotonic() - started

    def upkeep(self):
        """Now and then, freed memory goes back to the system, and a checkpoint to the disk."""
        if time.monotonic() - self.trimmed_at > TRIM_SECONDS:
            trim_memory()
            self.trimmed_at = time.monotonic()
        if time.monotonic() - self.saved_at > self.config.checkpoint_seconds:
            self.save_checkpoint()

    def remaining_batches(self):
        """For each update still to do: this process's share of the batch, as a list of micro-batches."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        parts = self.config.gradient_accumulation_steps
        while self.step < self.total_steps:
            epoch, skip = divmod(self.step, self.steps_per_epoch)
            self.sampler.set_epoch(epoch)
            for step, indices in enumerate(list(self.sampler)[skip : skip + self.total_steps - self.step], self.step):
                batch = self.collate(indices, step)
                rows = len(next(iter(batch.values())))  # a collator may add some, such as replayed ones
                share = list(range(rows))[rank::world] or [0]
                micro = [share[i::parts] for i in range(min(parts, len(share)))]
                yield [self.to_device(take_rows(batch, part)) for part in micro]

    def collate(self, indices, step):
        """The whole batch of all processes. What is random in it (masks) depends on seed and step alone."""
        with seeded(self.config.seed * 1_000_003 + step):
            return self.collate_fn([self.rows[i] for i in indices])

    def to_device(self, batch):
        return {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}

    def update(self, batches):
        """One weight update from one batch; every target weighs the same, however the batch is cut."""
        world, losses, targets = self.accelerator.num_processes, 0.0, 0
        total = self.count_targets(batches)
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                loss, count = self.loss_fn(self.model, batch)
                # DDP averages over processes, hence the factor `world`.
                self.accelerator.backward(loss * (count * world / total))
            losses, targets = losses + loss.detach() * count, targets + count
        self.check_loss(losses)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        rate = self.scheduler.get_last_lr()[0]
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:
            self.scheduler.step()
        self.optimizer.zero_grad()
        tokens = sum(int(batch["attention_mask"].sum()) for batch in batches if "attention_mask" in batch)
        self.history.tokens += int(self.sum_over_processes(tokens))
        return {"step": self.step + 1, "loss": float(self.sum_over_processes(losses)) / total,
                "learning_rate": rate, "grad_norm": float(norm)}

    def count_targets(self, batches):
        """At least 1: by chance a small batch has no hidden token at all; its loss is then 0."""
        return max(1.0, float(self.sum_over_processes(sum(int((b["labels"] != -100).sum()) for b in batches))))

    def sum_over_processes(self, value):
        if self.accelerator.num_processes == 1:
            return value
        return self.accelerator.reduce(torch.as_tensor(value, dtype=torch.float32, device=self.accelerator.device))

    def check_loss(self, loss):
        if not torch.isfinite(loss):
            raise FloatingPointError(say(
                "the loss is {loss} at step {step}. Usual causes: a learning rate that is too large (now {rate:g}), or fp16 "
                "without loss scaling. Lower it and run again.", loss=float(loss), step=self.step + 1,
                rate=self.config.learning_rate))  # fmt: skip

    # -- validation and early stopping ----------------------------------------------------------------------------

    def is_evaluation_step(self):
        every = self.config.eval_steps or self.steps_per_epoch
        return self.evaluate_fn is not None and (self.step % every == 0 or self.step == self.total_steps)

    def evaluate(self):
        """Evaluate, keep the weights if they are the best so far; True when patience is used up."""
        scores = self.evaluate_fn(self.accelerator.unwrap_model(self.model))
        self.history.validation.append({"step": self.step, **scores})
        self.accelerator.log({f"validation_{k}": v for k, v in scores.items()}, step=self.step)
        value = scores[self.config.metric] * (-1 if self.config.metric == "loss" else 1)
        if self.best_value is None or value > self.best_value:
            self.best_value, self.bad_evaluations = value, 0
            # What is frozen needs no copy, and of tied weights one will do.
            self.best_weights = {name: parameter.detach().cpu().clone()
                                 for name, parameter in self.raw_model.named_parameters() if parameter.requires_grad}
        else:
            self.bad_evaluations += 1
        return self.config.patience is not None and self.bad_evaluations >= self.config.patience

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def state_dict(self):
        names = ("step", "bad_evaluations", "best_value", "best_weights")
        return {"history": self.history.to_dict(), "fingerprint": self.fingerprint(),
                **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, state):
        state = dict(state)
        state.pop("fingerprint")
        self.history = History(**state.pop("history"))
        for name, value in state.items():
            setattr(self, name, value)

    def fingerprint(self):
        """What must be equal for a checkpoint to be this run's: the settings that change the result, and the data."""
        settings = dataclasses.asdict(self.config)
        for name in ("output_dir", "checkpoint_seconds", "report_to", "progress"):
            settings.pop(name)
        return json.dumps([settings, len(self.rows), sum(map(int, self.sampler.lengths))], sort_keys=True)

    def save_checkpoint(self):
        """Write a checkpoint beside the old one, then swap: a kill at any moment leaves one that is whole."""
        if not self.config.output_dir:
            return
        folder = Path(self.config.output_dir)
        fresh, current, old = folder / "checkpoint.new", folder / CHECKPOINT, folder / "checkpoint.old"
        if self.accelerator.is_main_process:
            shutil.rmtree(fresh, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(fresh), safe_serialization=True)
        if self.accelerator.is_main_process:
            (fresh / "fingerprint.json").write_text(self.fingerprint(), encoding="utf-8")
            shutil.rmtree(old, ignore_errors=True)
            if current.exists():
                os.replace(current, old)
            os.replace(fresh, current)
            shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.saved_at = time.monotonic()

    def resume(self):
        """Go on from the checkpoint in `output_dir`, if there is one of this very run."""
        if not self.config.output_dir:
            return
        folder = Path(self.config.output_dir)
        found = next((folder / name for name in (CHECKPOINT, "checkpoint.old")
                      if (folder / name / "fingerprint.json").is_file()), None)
        if found is None:
            return
        if (found / "fingerprint.json").read_text(encoding="utf-8") != self.fingerprint():
            self.accelerator.print(say(STARTING_ANEW, folder=found))
            return
        self.accelerator.load_state(str(found))
        self.accelerator.print(say(GOING_ON, step=self.step, steps=self.total_steps, folder=found))

    def finish(self):
        """Put the best weights back, remove the checkpoint, close the logs."""
        self.accelerator.wait_for_everyone()
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        if self.best_weights is not None:
            self.raw_model.load_state_dict(self.best_weights, strict=False)
        self.raw_model.eval()
        for tracker in self.accelerator.trackers:
            tracker.finish()
        if self.config.output_dir and self.accelerator.is_main_process:
            shutil.rmtree(Path(self.config.output_dir) / CHECKPOINT, ignore_errors=True)
        self.best_weights = self.optimizer = self.scheduler = self.accelerator = None  # with twice the memory of the weights
        free_memory()  # the accelerator's own would look for garbage first, and then let its optimizer go
        clear_device_cache()
        return self.history


def make_accelerator(config):
    precision = mixed_precision() if config.mixed_precision == "auto" else config.mixed_precision
    accelerator = Accelerator(mixed_precision=precision, cpu=get_device().type == "cpu",
                              log_with=list(config.report_to) or None, project_dir=config.output_dir)
    if config.report_to:
        plain = {k: v for k, v in dataclasses.asdict(config).items() if isinstance(v, (int, float, str, bool))}
        accelerator.init_trackers("logs", config=plain)
    return accelerator
