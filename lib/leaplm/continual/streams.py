"""Streams of tasks: their data, the learners that go through them, and the run that fills the matrix R.

    Learner   plain fine-tuning, keeps nothing      Replay    mixes kept rows into each batch
    EWC       holds important weights in place      PerTask   weights of its own for each task, and a router

R[i, j] is the accuracy on task j after training on task i. Source: van de Ven & Tolias, 2019 (task known or not, new
classes); the pieces are in `continual`.
"""

import dataclasses
import time

import numpy as np
import torch
from torch import nn

from leaplm import data
from leaplm.continual.methods import ReservoirBuffer, ewc_penalty, fisher_diagonal, grow_head, mixed_batch, route
from leaplm.evaluation import predict_logits
from leaplm.models import load_tokenizer, mean_pool
from leaplm.peft import lora
from leaplm.training import classification_loss, train

MAX_LENGTH = 48

# -- streams --------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Task:
    """One task of a stream.

    names: its classes as the head knows them ("movies: negative"). places: their numbers in the head. head_size: how
    many classes the head has once this task is there. train, test: tokenized rows (input_ids, label as a number of the
    head, text).
    """

    name: str
    names: list
    places: list
    head_size: int
    train: list
    test: list


def stream_of(language):
    """The tasks of a language's stream as (name, language, domain), the new one last; a name is one to be read.

    "eng": film reviews, product reviews, tweets. Another language: English film reviews, tweets in Nigerian Pidgin (for
    Pidgin: in Hausa), tweets in the language. A CSV: English film reviews, product reviews, the file.
    """
    first, second = ("movies", "eng", "movies"), ("products", "eng", "products")
    if language == "eng":
        return [first, second, ("tweets", "eng", "tweets")]
    if data.is_own_file(language):
        return [first, second, ("own", language, "all")]
    bridge = "hau" if language == "pcm" else "pcm"
    return [first, *((data.NAMES.get(code, code), code, "all") for code in (bridge, language))]


def load_stream(language="eng", train_size=320, test_size=200, own_classes=True, seed=0):
    """The stream of a language as a list of Tasks.

    own_classes: True gives each task classes of its own ("movies: negative"), so the head must grow with each task.
    False names a class by its word alone, so that tasks with the same words share their part of the head.
    The training rows depend on `seed`; the test rows do not.
    """
    numbers, tasks, tokenizer = {}, [], load_tokenizer()
    for name, source, domain in stream_of(language):
        parts = data.load_sentiment(source, domain)
        train_set, test_set = data.subsample(parts["train"], train_size, seed), data.subsample(parts["test"], test_size)
        chosen = {"train": train_set, "test": test_set}
        tasks.append(make_task(name, chosen, numbers, own_classes, tokenizer))
    return tasks


def heldout_stream(language, size=300, own_classes=True):
    """The same tasks with the grader's rows as `test` and nothing to train on. ValueError where there are none."""
    numbers, tasks, tokenizer = {}, [], load_tokenizer()
    data.heldout_rows(language, size=10)  # says clearly when a language cannot be marked
    for name, source, domain in stream_of(language):
        tasks.append(make_task(name, {"test": data.heldout_rows(source, size, domain)}, numbers, own_classes, tokenizer))
    return tasks


def make_task(name, parts, numbers, own_classes, tokenizer):
    """A Task from datasets with text and label; `numbers` {class name: number in the head} gets the new classes."""
    words = parts["test"].features["label"].names
    names = [f"{name}: {word}" if own_classes else word for word in words]
    for known in names:
        numbers.setdefault(known, len(numbers))
    places = [numbers[known] for known in names]

    def rows(part):
        return [{"input_ids": row["input_ids"], "label": places[row["label"]], "text": text}
                for row, text in zip(data.tokenize(part, tokenizer, MAX_LENGTH), part["text"], strict=True)]

    return Task(name, names, places, len(numbers), rows(parts["train"]) if "train" in parts else [], rows(parts["test"]))


def all_classes(tasks):
    """The names of all classes of a stream, in the order of the head."""
    named = {place: name for task in tasks for place, name in zip(task.places, task.names, strict=True)}
    return [named[place] for place in range(len(named))]


def freeze_lower(model, layers=3):
    """Stop the gradients of the embeddings and of the first `layers` layers: faster, and less to keep. Returns the model."""
    for module in (model.bert.embeddings, *model.bert.encoder.layer[:layers]):
        module.requires_grad_(False)
    return model


# -- learners -------------------------------------------------------------------------------------------------------------


def text_vectors(model, rows, collate_fn):
    """Mean token vectors (texts, width) of tokenized rows from a classifier's encoder, without gradients."""
    device, parts = next(model.parameters()).device, []
    model.eval()
    with torch.inference_mode():
        for i in range(0, len(rows), 64):
            batch = {k: v.to(device) for k, v in collate_fn(rows[i : i + 64]).items() if k != "labels"}
            parts.append(mean_pool(model.bert(**batch).last_hidden_state, batch["attention_mask"]).cpu())
    return torch.cat(parts)


class Learner:
    """Plain fine-tuning: train on the rows of the task at hand, keep nothing. The others change parts of it."""

    routes = False  # whether it has to guess a text's task

    def __init__(self, collate_fn, config):
        self.collate_fn, self.config = collate_fn, config

    def learn(self, model, task):
        """Train `model` on a task, in place."""
        grow_head(model, task.head_size)
        train(model, task.train, self.collate, self.config, loss_fn=self.loss)
        self.remember(model, task)

    def collate(self, rows):
        return self.collate_fn(rows)

    def loss(self, model, batch):
        return classification_loss(model, batch)

    def remember(self, model, task):
        """Keep what is needed of a task before its rows go away."""

    def stored(self):
        """What is kept between tasks beside the model, in MB (10^6 bytes)."""
        return 0.0

    def knows(self, model, task):
        """Whether the model can give any class of this task."""
        return min(task.places) < model.classifier.out_features

    def logits(self, model, rows, task_number=None):
        """Scores (rows, classes); task_number: the rows' task when the user says it, None when nobody does."""
        return predict_logits(model, rows, self.collate_fn)


class Replay(Learner):
    """Experience replay: a reservoir of old rows, `num_replay` of them in each batch.

    buffer: another rule of what to keep, in place of the reservoir: an object with `rows`, a list, and add(rows).
    """

    def __init__(self, collate_fn, config, capacity=100, num_replay=8, buffer=None):
        super().__init__(collate_fn, config)
        self.buffer, self.num_replay = ReservoirBuffer(capacity, config.seed) if buffer is None else buffer, num_replay

    def collate(self, rows):
        return self.collate_fn(mixed_batch(rows, self.buffer.rows, self.num_replay))

    def remember(self, model, task):
        order = np.random.default_rng(self.config.seed).permutation(len(task.train))
        self.buffer.add([task.train[i] for i in order])

    def stored(self):
        return 2 * sum(len(row["input_ids"]) + 1 for row in self.buffer.rows) / 1e6  # a token is a 16-bit number


class EWC(Learner):
    """Elastic weight consolidation; the importances of all tasks are added up (online EWC, Schwarz et al., 2018)."""

    def __init__(self, collate_fn, config, strength=1e4, fisher_rows=100):
        super().__init__(collate_fn, config)
        self.strength, self.fisher_rows, self.old, self.fisher = strength, fisher_rows, {}, {}

    def loss(self, model, batch):
        loss, count = classification_loss(model, batch)
        return loss + ewc_penalty(model, self.old, self.fisher, self.strength), count

    def remember(self, model, task):
        before = self.fisher
        self.fisher = fisher_diagonal(model, task.train[: self.fisher_rows], self.collate_fn)
        for name, tensor in before.items():
            self.fisher[name][: len(tensor)] += tensor
        self.old = lora.get_adapter(model)  # a copy of all that learns

    def stored(self):
        return 2 * megabytes(self.old)


class PerTask(Learner):
    """Weights of its own for each task, and a router that guesses a text's task from the untrained encoder.

    With a model that has LoRA in it: an adapter and a head per task. With a plain one: a whole model per task.
    """

    routes = True

    def __init__(self, collate_fn, config):
        super().__init__(collate_fn, config)
        self.start, self.kept, self.places, self.centroids = None, [], [], []

    def learn(self, model, task):
        if self.start is None:
            self.start = lora.get_adapter(model)
        model.classifier = nn.Linear(model.classifier.in_features, len(task.places)).to(next(model.parameters()).device)
        self.use(model, {**self.start, **{f"classifier.{k}": v for k, v in model.classifier.state_dict().items()}})
        self.centroids.append(text_vectors(model, task.train, self.collate_fn).mean(dim=0))
        own = [{**row, "label": task.places.index(row["label"])} for row in task.train]
        train(model, own, self.collate_fn, self.config)
        self.kept.append(lora.get_adapter(model))
        self.places.append(task.places)

    def use(self, model, tensors):
        """Put the weights of one task (or the untrained ones) into the model."""
        lora.set_adapter(model, tensors)

    def stored(self):
        return megabytes(*self.kept) + sum(4 * len(vector) for vector in self.centroids) / 1e6

    def knows(self, model, task):
        return task.places in self.places

    def choose(self, model, rows):
        """The router's task number of each row."""
        self.use(model, self.start)
        return route(text_vectors(model, rows, self.collate_fn), torch.stack(self.centroids)).numpy()

    def logits(self, model, rows, task_number=None):
        chosen = self.choose(model, rows) if task_number is None else np.full(len(rows), task_number)
        found = np.full((len(rows), 1 + max(p for places in self.places for p in places)), -np.inf)
        for number in np.unique(chosen):
            self.use(model, self.kept[number])
            mine = np.flatnonzero(chosen == number)
            found[np.ix_(mine, self.places[number])] = predict_logits(model, [rows[i] for i in mine], self.collate_fn)
        return found


def megabytes(*tensor_dicts):
    """Size of these tensors in MB (10^6 bytes) as they are kept."""
    return sum(t.numel() * t.element_size() for tensors in tensor_dicts for t in tensors.values()) / 1e6


# -- the stream, run ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class StreamResult:
    """What came of a stream of T tasks.

    matrix (T, T): R when nobody says which task a text belongs to. known (T, T): the same when the user says it and
    only that task's classes compete; 0 for tasks still to come. seconds (T,): training each task. stored: MB kept
    beside the model at the end. predictions: class numbers of all test rows at the end, and their labels.
    """

    matrix: np.ndarray
    known: np.ndarray
    seconds: list
    stored: float = 0.0
    labels: np.ndarray | None = None
    predictions: np.ndarray | None = None


def run_stream(model, tasks, learner, trained=0):
    """Train `model` on each task in turn, in place, and test it on all tasks after each. Returns a StreamResult.

    trained: so many tasks `model` has learned already; the learner only keeps what it needs of them.

    >>> result = run_stream(model, load_stream("eng"), Replay(collate, config))      # doctest: +SKIP
    >>> stream_scores(result.matrix)                                                 # doctest: +SKIP
    """
    size = (len(tasks), len(tasks))
    result = StreamResult(np.zeros(size), np.zeros(size), [0.0] * len(tasks))
    for i, task in enumerate(tasks):
        started = time.monotonic()
        (learner.learn if i >= trained else learner.remember)(model, task)
        result.seconds[i] = time.monotonic() - started
        scores = [score_task(model, learner, other, j, j <= i) for j, other in enumerate(tasks)]
        result.matrix[i], result.known[i] = np.array([pair[:2] for pair in scores]).T
        result.predictions = np.concatenate([pair[2] for pair in scores])
    result.labels = np.array([row["label"] for task in tasks for row in task.test])
    result.stored = learner.stored()
    return result


def score_task(model, learner, task, number, seen):
    """(accuracy with nothing said, accuracy with the task known, predictions) on the test rows of one task."""
    labels = np.array([row["label"] for row in task.test])
    if not learner.knows(model, task):
        return 0.0, 0.0, np.full(len(labels), -1)  # none of its classes is there yet: nothing can be right
    logits = learner.logits(model, task.test)
    predictions = logits.argmax(axis=-1)
    if not seen:
        return float(np.mean(predictions == labels)), 0.0, predictions
    if learner.routes:
        logits = learner.logits(model, task.test, number)
    among = np.array(task.places)[logits[:, task.places].argmax(axis=-1)]
    return float(np.mean(predictions == labels)), float(np.mean(among == labels)), predictions


def score_all(model, tasks, collate_fn=None):
    """Accuracy of one model on the test rows of each task, when nobody says the task: a list of floats."""
    learner = Learner(collate_fn or data.DynamicPaddingCollator(load_tokenizer().pad_token_id), None)
    return [score_task(model, learner, task, number, False)[0] for number, task in enumerate(tasks)]


# -- records --------------------------------------------------------------------------------------------------------------


def mean_matrices(rows, by="method", column="matrix"):
    """{value of `by`: mean R over seeds} from a calibration record's rows whose `column` holds matrices."""
    return {value: np.mean(np.array(group[column].tolist()), axis=0) for value, group in rows.groupby(by, sort=False)}


def task_curves(rows, task=0, by="method", column="matrix"):
    """{value of `by`: summary} of the accuracy on one task after each step of the stream, for `plots.plot_lines`."""
    import pandas as pd

    curves = {}
    for value, group in rows.groupby(by, sort=False):
        scores = np.array(group[column].tolist())[:, task:, task]
        curves[value] = pd.DataFrame({"tasks": np.arange(task, task + scores.shape[1]) + 1, "mean": scores.mean(axis=0),
                                      "sd": scores.std(axis=0, ddof=1), "seeds": len(scores)})
    return curves
