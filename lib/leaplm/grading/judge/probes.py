"""Small objects that checks put on the student's side, and readers that bring their state back as plain values.

A check names them as 'leaplm.grading.judge.probes:linear' in `student.build` and `student.read`, and may call the same
functions for its own reference; those that need transformers stand in `tiny_models`. Same seed, same weights, in every
process and without touching the global random state. Nothing here is downloaded.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from leaplm.runtime import seeded


class CountingDecoder(torch.nn.Linear):
    """A vocabulary head (width -> vocabulary) that counts the positions it has scored, in `rows`."""

    rows = 0

    def forward(self, hidden: Tensor) -> Tensor:
        self.rows += hidden.numel() // self.in_features
        return super().forward(hidden)


def counting_decoder(width: int, vocab_size: int, seed: int = 0) -> CountingDecoder:
    with seeded(seed):
        return CountingDecoder(width, vocab_size)


def rows_scored(decoder: CountingDecoder) -> int:
    return decoder.rows


class TableEmbedder:
    """Gives each text the row that a table has for it, and remembers what it was asked."""

    def __init__(self, texts: list[str], rows: np.ndarray) -> None:
        self.table, self.asked, self.calls = dict(zip(texts, np.asarray(rows), strict=True)), [], 0

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.calls += 1
        self.asked += list(texts)
        # A text that was not to be asked for gets a vector too: the check counts, and the answer goes on.
        return np.stack([self.table.get(text, np.full_like(next(iter(self.table.values())), np.nan)) for text in texts])


def table_embedder(texts: list[str], rows: np.ndarray) -> TableEmbedder:
    return TableEmbedder(texts, rows)


def texts_embedded(embedder: TableEmbedder) -> list[str]:
    return embedder.asked


def times_called(embedder: TableEmbedder) -> int:
    return embedder.calls


class TemplateScorer:
    """score(template, texts) -> {method: scores (texts, classes)} out of tables; it remembers what it was asked for."""

    def __init__(self, texts: list[str], tables: dict[str, dict[str, np.ndarray]]) -> None:
        self.rows, self.tables, self.asked, self.given = {text: i for i, text in enumerate(texts)}, tables, [], []

    def __call__(self, template: str, texts: list[str]) -> dict[str, np.ndarray]:
        if template not in self.tables:
            raise ValueError(f"there is no template {template!r} (is it the name of one?)")
        self.asked.append(template)
        rows = [self.rows[text] for text in texts]
        found = {method: np.asarray(table)[rows] for method, table in self.tables[template].items()}
        self.given.append((found, {method: table.copy() for method, table in found.items()}))
        return found


def template_scorer(texts: list[str], tables: dict[str, dict[str, np.ndarray]]) -> TemplateScorer:
    return TemplateScorer(texts, tables)


def templates_asked(scorer: TemplateScorer) -> list[str]:
    return scorer.asked


def scores_changed(scorer: TemplateScorer) -> bool:
    """Whether an array or a dict that a scorer has given was changed afterwards."""
    return any(list(now) != list(then) or any(not np.array_equal(now[method], then[method]) for method in then)
               for now, then in scorer.given)  # fmt: skip


def predictions(classifier: Any, texts: list[str], *method: str) -> list[int]:
    """What `classifier.predict(texts, method)` gives, as whole numbers; of another shape than (n,) there are none."""
    labels = [np.asarray(label) for label in classifier.predict(texts, *method)]
    return [int(label) for label in labels] if all(label.ndim == 0 for label in labels) else []


def tables_of_sums(classifier: Any, prompts: list[str]) -> list[np.ndarray]:
    """What `classifier.sums(prompts)` gives, as arrays."""
    return [np.asarray(part) for part in classifier.sums(prompts)]


def linear(inputs: int, outputs: int, seed: int = 0, bias: bool = True) -> torch.nn.Linear:
    """A linear layer with random weights."""
    with seeded(seed):
        return torch.nn.Linear(inputs, outputs, bias=bias)


def lora_linear(inputs: int, outputs: int, rank: int, alpha: float, seed: int = 0, bias: bool = True) -> torch.nn.Module:
    """The library's LoRA layer on a random base; A and B are random too, as after training."""
    from leaplm.peft.lora import LoRALinear

    layer = LoRALinear(linear(inputs, outputs, seed, bias), rank, alpha)
    randomize(layer, "lora_", seed)
    return layer


def error_raised(function: Any, *args: Any, **kwargs: Any) -> list[str]:
    """The names of the class of the error that a call raises, and of what it is derived from; empty if it raises none.

    >>> error_raised(int, "one")
    ['ValueError', 'Exception', 'BaseException', 'object']
    """
    try:
        function(*args, **kwargs)
    except Exception as error:
        return [kind.__name__ for kind in type(error).__mro__]
    return []


def error_told(function: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """As `error_raised` under "kinds", with the error's own words under "message".

    >>> error_told({}.__getitem__, "one")["message"]
    "'one'"
    """
    try:
        function(*args, **kwargs)
    except Exception as error:
        return {"kinds": [kind.__name__ for kind in type(error).__mro__], "message": str(error)}
    return {"kinds": [], "message": ""}


def value(thing: Any) -> Any:
    """`thing` itself: `build` it to keep a plain value on the student's side, `read` it to see what became of it."""
    return thing


def method_of(thing: Any, name: str) -> Any:
    """A method of an object, to be called on its own; one that fails where the object has none of that name."""
    def missing(self: Any, *args: Any) -> None:
        raise AttributeError(f"there is no method `{name}`")

    return getattr(thing, name, None) or type("method", (), {"__call__": missing})()


def kept_of_streams(make: Any, seeds: list[int], capacity: int, parts: list[list]) -> list[list]:
    """The `rows` of a buffer made by a student's class for each seed, after the parts of a stream; in one step, which is
    faster."""
    found = []
    for seed in seeds:
        buffer = make(capacity, seed)
        for part in parts:
            buffer.add(list(part))
        found.append(list(buffer.rows))
    return found


def sgd(model: torch.nn.Module, lr: float = 0.1, momentum: float = 0.0) -> Optimizer:
    """Plain gradient descent, the easiest to predict."""
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def adamw(model: torch.nn.Module, lr: float = 1e-3, weight_decay: float = 0.0) -> Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)


def step_schedule(optimizer: Optimizer, factor: float = 0.5) -> torch.optim.lr_scheduler.LRScheduler:
    """Multiplies the learning rate by `factor` at each step, so that each call of `step` shows."""
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=factor)


def set_training(model: torch.nn.Module, mode: bool) -> bool:
    """Puts the model in training (True) or evaluation mode; returns the mode it was in."""
    before = model.training
    model.train(mode)
    return before


def randomize(model: torch.nn.Module, part: str, seed: int = 0) -> list[str]:
    """Fills the parameters whose name holds `part` with random numbers, each by its name; returns the names."""
    found = [name for name, _ in model.named_parameters() if part in name]
    for name, parameter in model.named_parameters():
        if name in found:
            rng = np.random.default_rng([seed, *name.encode()])
            parameter.data = torch.from_numpy(rng.normal(size=tuple(parameter.shape))).to(parameter)
    return found


def generator(seed: int = 0) -> np.random.Generator:
    """A source of random numbers."""
    return np.random.default_rng(seed)


def next_number(source: np.random.Generator) -> int:
    """What a source of random numbers gives next: it tells whether anything was drawn before."""
    return int(source.integers(2**62))


def freeze(model: torch.nn.Module, part: str) -> list[str]:
    """Stops the gradients of the parameters whose name holds `part`; returns their names."""
    found = [name for name, _ in model.named_parameters() if part in name]
    for name in found:
        model.get_parameter(name).requires_grad_(False)
    return found


def thaw(model: torch.nn.Module, name: str) -> str:
    """Lets the parameter of this name learn; returns the name."""
    model.get_parameter(name).requires_grad_(True)
    return name


def gradients_through(function: Any, model: torch.nn.Module, *args: Any) -> dict[str, np.ndarray]:
    """The gradients of a student's function(model, *args), a number, by parameter name of `model`; {} when it has none."""
    model.zero_grad()
    number = function(model, *args)
    if not (isinstance(number, Tensor) and number.requires_grad):
        return {}
    number.backward()
    return gradients(model)


def gradients_of_sum(layer: torch.nn.Module, x: Tensor) -> dict[str, np.ndarray]:
    """The gradients of layer(x).sum() by parameter name, and that of the input under "x"; {} when it has none."""
    layer.zero_grad()
    given = torch.as_tensor(x).clone().requires_grad_()
    total = layer(given).sum()
    if not total.requires_grad:
        return {}
    total.backward()
    found = gradients(layer) | ({} if given.grad is None else {"x": given.grad.numpy()})
    layer.zero_grad()
    return found


def gradients_of_output(layer: torch.nn.Module, ids: Tensor) -> dict[str, np.ndarray]:
    """The gradients of layer(ids).sum() by parameter name, for a layer that takes whole numbers; {} when it has none."""
    layer.zero_grad()
    total = layer(torch.as_tensor(ids)).sum()
    if not total.requires_grad:
        return {}
    total.backward()
    found = gradients(layer)
    layer.zero_grad()
    return found


def gradients_of_call(function: Any, *args: Any) -> dict[str, np.ndarray]:
    """The gradients of function(*args), a number: of tensors by the argument's place, of models by place and name.

    >>> gradients_of_call(lambda a, b: (a * b).sum(), torch.ones(2), torch.zeros(2))
    {'0': array([0., 0.], dtype=float32), '1': array([1., 1.], dtype=float32)}
    """
    args = [torch.as_tensor(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
    leaves = {str(place): arg.clone().requires_grad_() for place, arg in enumerate(args)
              if isinstance(arg, Tensor) and arg.is_floating_point()}  # fmt: skip
    models = {place: arg for place, arg in enumerate(args) if isinstance(arg, torch.nn.Module)}
    parameters = {f"{place}.{name}": p for place, model in models.items() for name, p in model.named_parameters()}
    number = function(*(leaves.get(str(place), arg) for place, arg in enumerate(args)))
    wanted = leaves | parameters
    if not (isinstance(number, Tensor) and number.requires_grad):
        return {}
    found = torch.autograd.grad(number.sum(), list(wanted.values()), allow_unused=True)
    return _arrays({name: value for name, value in zip(wanted, found, strict=True) if value is not None})


def on_each(layer: torch.nn.Module, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """What a layer gives for each of some arrays."""
    with torch.no_grad():
        return [layer(torch.from_numpy(array)).numpy() for array in arrays]


def attribute(thing: Any, name: str) -> Any:
    """An attribute, None if there is none."""
    return getattr(thing, name, None)


def leave_gradients(model: torch.nn.Module) -> None:
    """Puts gradients of a million on the parameters that learn: of an earlier training, which no step should ever count."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 1e6)


def set_gradients(model: torch.nn.Module, found: dict[str, Tensor]) -> None:
    """Puts these gradients on the parameters of these names, and takes those of the others away."""
    for name, parameter in model.named_parameters():
        parameter.grad = torch.as_tensor(found[name]).to(parameter) if name in found else None


def sgd_of_groups(rates: list[float]) -> Optimizer:
    """Plain gradient descent on one number a group, each group with a rate of its own."""
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates])


def learning_rates_by_update(scheduler: Any, optimizer: Optimizer, updates: int) -> list[list[float]]:
    """The learning rate of each group at so many updates, with a call of `scheduler.step` behind each."""
    found = []
    for _ in range(updates):
        found.append(learning_rates(optimizer))
        optimizer.step()
        scheduler.step()
    return found


class ScriptedValidation:
    """A validation whose macro-F1 is read from a list, and whose loss says the contrary. The first call leaves the model in
    evaluation mode, the others in the mode that they find: both are usual."""

    def __init__(self, scores: list[float]) -> None:
        self.scores, self.calls = scores, 0

    def __call__(self, model: torch.nn.Module) -> dict[str, float]:
        score = self.scores[min(self.calls, len(self.scores) - 1)]
        self.calls += 1
        if self.calls == 1:
            model.eval()
        return {"loss": score, "macro_f1": score}


def scripted_validation(scores: list[float]) -> ScriptedValidation:
    return ScriptedValidation(scores)


def vector_collator() -> Any:
    """The library's function that makes a batch of rows with vectors."""
    from leaplm.data import collate_vectors

    return collate_vectors


def sizes(layer: torch.nn.Linear) -> list[int]:
    """What a linear layer says of itself: inputs, outputs."""
    return [layer.in_features, layer.out_features]


def slots(function: Any, times: int, *args: Any) -> list[int | None]:
    """What a student's function(*args) returns in many calls, each a whole number or None; in one step, which is faster."""
    found = (function(*args) for _ in range(times))
    return [None if slot is None else int(slot) for slot in found]


def parameter_ids(model: torch.nn.Module) -> dict[str, str]:
    """Which object each parameter is, by name: an optimizer holds the objects, not the names."""
    return {name: str(id(parameter)) for name, parameter in model.named_parameters()}


def training_noise(model: torch.nn.Module, **arrays: Tensor) -> float:
    """How far two passes in training mode and one in evaluation mode differ: 0 without dropout. The mode is put back."""
    before, found = model.training, []
    with torch.no_grad():
        batch = {name: torch.as_tensor(array) for name, array in arrays.items()}
        for mode in (True, True, False):
            found.append(model.train(mode)(**batch).logits)
    model.train(before)
    passes = torch.stack(found)
    return float((passes.amax(dim=0) - passes.amin(dim=0)).max())


class CountingCollator:
    """Pads rows with 0 to input_ids and attention_mask, and keeps the number of rows of each batch in `sizes`."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, rows: list[dict]) -> dict[str, Tensor]:
        from leaplm.data import DynamicPaddingCollator

        self.sizes.append(len(rows))
        return DynamicPaddingCollator(0)(rows)


def counting_collator() -> CountingCollator:
    return CountingCollator()


def batch_sizes(collate: CountingCollator) -> list[int]:
    """The rows of each batch that a `counting_collator` has made so far."""
    return collate.sizes


class CountedAdapter(dict):
    """An adapter's tensors by name; `puts` is how often a function called `set_adapter` has gone through them."""

    puts = 0

    def items(self) -> Any:
        self.puts += sys._getframe(1).f_code.co_name == "set_adapter"
        return super().items()


def counted_adapter(tensors: dict[str, Tensor]) -> CountedAdapter:
    return CountedAdapter(tensors)


def times_put(adapter: CountedAdapter) -> int:
    return adapter.puts


def training(model: torch.nn.Module) -> bool:
    return model.training


def modes(model: torch.nn.Module) -> dict[str, list]:
    """Of each part by name: whether it is in training mode, and the share that it drops out, None if it does not."""
    return {name: [part.training, getattr(part, "p", None)] for name, part in model.named_modules()}


def state_dict(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """All weights by name."""
    return _arrays(model.state_dict())


def gradients(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """The gradients by parameter name, of the parameters that have one."""
    return _arrays({name: p.grad for name, p in model.named_parameters() if p.grad is not None})


def trainable(model: torch.nn.Module) -> list[str]:
    """Names of the parameters that training would change."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def kinds_of_numbers(model: torch.nn.Module) -> list[str]:
    """The types of the parameters, each once: "float32" and the like."""
    return sorted({str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()})


def learning_rates(optimizer: Optimizer) -> list[float]:
    """The learning rate of each parameter group."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def logits(model: torch.nn.Module, **arrays: Tensor) -> np.ndarray:
    """The model's logits on a batch, in evaluation mode and without gradients; the mode is put back."""
    before = set_training(model, False)
    with torch.no_grad():
        output = model(**{name: torch.as_tensor(array) for name, array in arrays.items()}).logits
    set_training(model, before)
    return output.float().cpu().numpy()


def _arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in tensors.items()}


class ModalLinear(torch.nn.Module):
    """The mean of a text's embeddings (padding is not left out), and in training mode another vector added: what was
    learned or measured in the wrong mode shows."""

    def __init__(self, vocabulary: int, outputs: int) -> None:
        super().__init__()
        self.embeddings = torch.nn.Embedding(vocabulary, outputs)
        self.register_buffer("shift", torch.randn(outputs))

    def forward(self, ids: Tensor) -> Tensor:
        return self.embeddings(ids).mean(dim=1) + (self.shift if self.training else 0)


def modal_linear(vocabulary: int, outputs: int, seed: int = 0) -> ModalLinear:
    with seeded(seed):
        return ModalLinear(vocabulary, outputs)


class ModalHead(torch.nn.Module):
    """A linear `classifier` on vectors, each number of which is first taken times a weight of its own, so that not only the
    head learns; in training mode another vector is added, so that the mode shows. It notes the vectors that it was given
    while gradients were on."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classifier = torch.nn.Linear(width, classes)
        self.register_buffer("shift", torch.randn(width))
        self.scale = torch.nn.Parameter(1 + torch.rand(width))
        self.given: list[Tensor] = []

    def forward(self, vectors: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.given.append(vectors.detach().clone())
        return self.classifier(vectors * self.scale + (self.shift if self.training else 0))


def modal_head(width: int, classes: int, seed: int = 0) -> ModalHead:
    with seeded(seed):
        return ModalHead(width, classes)


def vectors_given(model: ModalHead) -> list[np.ndarray]:
    """The batches that a `modal_head` was given while gradients were on."""
    return [batch.numpy(force=True) for batch in model.given]


def filled_buffer(capacity: int, rows: list, seed: int = 0) -> Any:
    """A buffer of lab 7 in which some rows are kept already."""
    from leaplm.continual.methods import ReservoirBuffer

    buffer = ReservoirBuffer(capacity, seed)
    buffer.add(rows)
    return buffer


def buffer_state(buffer: Any) -> dict[str, Any]:
    """What a buffer of lab 7 says of itself."""
    return {"rows": list(buffer.rows), "seen": buffer.seen, "capacity": buffer.capacity}


class ScriptedLearner:
    """A learner for `heads.run_tasks` that learns nothing: the head grows as a task asks, and random numbers are added to
    its weights, so that they tell of all tasks before. It leaves the model in training mode, and notes the tasks' names."""

    def __init__(self, seed: int) -> None:
        self.seed, self.asked = seed, []

    def __call__(self, model: torch.nn.Module, task: dict) -> None:
        self.asked.append(task["name"])
        old = model.classifier
        model.classifier = linear(old.in_features, max(task["classes"], old.out_features), self.seed + len(self.asked))
        with torch.no_grad():
            model.classifier.weight[: old.out_features] += old.weight
        model.train()


def scripted_learner(seed: int) -> ScriptedLearner:
    return ScriptedLearner(seed)


def tasks_asked(learner: ScriptedLearner) -> list[str]:
    """The names of the tasks that a `scripted_learner` was given, in order."""
    return learner.asked


class ModalTagger(torch.nn.Module):
    """A linear layer on vectors, and a vector for each shape; in training mode another vector is added, so that the mode
    shows. Where the mask is 0 the logits are 0."""

    def __init__(self, width: int, tags: int) -> None:
        super().__init__()
        self.classifier, self.shape = torch.nn.Linear(width, tags), torch.nn.Embedding(4, tags)
        self.register_buffer("shift", torch.randn(tags))

    def forward(self, vectors: Tensor, attention_mask: Tensor, shapes: Tensor) -> Tensor:
        logits = self.classifier(vectors) + self.shape(shapes) + (self.shift if self.training else 0)
        return logits * attention_mask.unsqueeze(-1)


def modal_tagger(width: int, tags: int, seed: int = 0) -> ModalTagger:
    with seeded(seed):
        return ModalTagger(width, tags)


class ModalScorer(torch.nn.Module):
    """Log-probabilities of the answers in packed rows, as `instructions.AnswerModel` gives them, from a linear layer.

    `base` and an older adapter are frozen, `adapter` and `bias` learn; none is zero at the start, so that what is asked with
    one adapter off, or both, differs. In training mode another vector is added, so that the mode shows.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base = torch.nn.Parameter(torch.randn(width), requires_grad=False)
        self.adapter = torch.nn.Parameter(torch.randn(width) / 2)
        self.register_buffer("shift", torch.randn(width) / 2)
        self.bias = torch.nn.Parameter(torch.randn(1) / 2)
        self.older = torch.nn.Parameter(torch.randn(width) / 2, requires_grad=False)
        self.on = self.older_on = 1.0

    def forward(self, vectors: Tensor, position_ids: Tensor, segments: Tensor, labels: Tensor) -> Tensor:
        weights = self.base + self.older_on * self.older + self.on * self.adapter + (self.shift if self.training else 0)
        found = torch.nn.functional.logsigmoid(vectors[:, :-1] @ weights + self.on * self.bias) * (labels[:, 1:] != -100)
        return torch.stack([found[row][segments[row, 1:] == number].sum() for row in range(len(labels))
                            for number in range(int(segments[row].max()) + 1)])

    def adapter_off(self):
        return self._switched(0.0, self.older_on)

    def all_adapters_off(self):
        return self._switched(0.0, 0.0)

    @contextlib.contextmanager
    def _switched(self, on: float, older_on: float):
        before = self.on, self.older_on
        try:
            self.on, self.older_on = on, older_on
            yield self
        finally:
            self.on, self.older_on = before


def modal_scorer(width: int, seed: int = 0) -> ModalScorer:
    with seeded(seed):
        return ModalScorer(width)


def leaning_judge(seed: int = 0):
    """A judge of two answers (question, answer, other) -> 0 or 1: for a third of the questions it always prefers place 0,
    for a third place 1, else one answer in any place."""
    def judge(question: str, answer: str, other: str) -> int:
        leaning = zlib.crc32(f"{seed} {question}".encode()) % 3
        grades = [zlib.crc32(f"{seed} {question} {text}".encode()) for text in (answer, other)]
        return leaning if leaning < 2 else int(grades[1] > grades[0])

    return judge


def checksum_model():
    """A "model" for cross-validation: a function (training rows, test rows) of integers whose answers depend on all of
    the training rows, and on how many are tested.

    >>> checksum_model()([1, 2], [3])
    [33]
    """
    def fit_predict(training, tested):
        seen = sum(int(row) for row in training) + 7 * len(training)
        return [(seen + int(row) + 13 * len(tested)) % 1009 for row in tested]

    return fit_predict


class CentreHead:
    """A training of a head, fit(vectors, labels, C) -> (weight, bias), that keeps which rows it was given.

    The first column of the vectors is the number of a row, which the head does not look at. It says the class with the
    nearest centre; for C below 1 always that of `favoured`, and for 1 and all above the same. With `near` it
    does not look at the second column either, but for this one C: a row with a 1 there is said to be `favoured`.
    """

    def __init__(self, classes: int, favoured: int, near: float | None = None) -> None:
        self.classes, self.favoured, self.near, self.given = classes, favoured, near, []

    def __call__(self, vectors: Any, labels: Any, C: float) -> tuple[Tensor, Tensor]:  # noqa: N803
        rows, labels = np.asarray(vectors, dtype=np.float64), np.asarray(labels)
        self.given.append((float(C), rows[:, 0].round().astype(int).tolist(), labels.astype(int).tolist()))
        return tuple(torch.from_numpy(part.astype(np.float32)) for part in self.head(rows, labels, C))

    def head(self, rows: np.ndarray, labels: np.ndarray, C: float) -> tuple[np.ndarray, np.ndarray]:  # noqa: N803
        weight, bias = np.zeros((self.classes, rows.shape[1])), np.full(self.classes, -1e4)
        for c in np.unique(labels).astype(int):
            weight[c, 1:] = rows[labels == c, 1:].mean(axis=0)
            bias[c] = -(weight[c] @ weight[c]) / 2
        if self.near is not None:
            weight[:, 1] = 0
        if self.near is not None and np.isclose(C, self.near):
            weight[self.favoured, 1] = 2e4
        else:
            bias[self.favoured] += 0 if C >= 1 else 1e4
        return weight, bias


def centre_head(classes: int, favoured: int = 0, near: float | None = None) -> CentreHead:
    return CentreHead(classes, favoured, near)


def trainings_given(fit: CentreHead) -> list[tuple[float, list[int], list[int]]]:
    """(C, row numbers, labels) of each training of a `centre_head` so far."""
    return fit.given


class DrawnMethod:
    """A "method" for a learning curve: a function of row numbers whose predictions depend on which rows they are, in any
    order; it keeps the rows of each call."""

    def __init__(self, seed: int, test_labels: np.ndarray, skill: float) -> None:
        self.seed, self.test_labels, self.skill, self.asked = seed, np.asarray(test_labels), skill, []

    def __call__(self, rows: Any) -> np.ndarray:
        self.asked.append([int(row) for row in rows])
        return self.predict(self.asked[-1])

    def predict(self, rows: list[int]) -> np.ndarray:
        rng = np.random.default_rng([self.seed, *sorted(rows)])
        known = rng.random(len(self.test_labels)) < self.skill + 0.02 * len(rows) + rng.normal(0, 0.1)
        return np.where(known, self.test_labels, rng.permutation(self.test_labels))


def drawn_method(seed: int, test_labels: np.ndarray, skill: float) -> DrawnMethod:
    return DrawnMethod(seed, test_labels, skill)


def rows_asked(method: DrawnMethod) -> list[list[int]]:
    """The rows of each call of a `drawn_method` so far."""
    return method.asked


def bytes_of(numbers: list[int]) -> bytes:
    """A list of numbers from 0 to 255 as bytes."""
    return bytes(numbers)


class CountingSpeller:
    """A language model of few rules as `best_next`: the token behind each depends on all before it; it counts its calls."""

    def __init__(self, seed: int) -> None:
        self.seed, self.asked = seed, 0

    def __call__(self, tokens: list[int]) -> list[int]:
        self.asked += 1
        state, best = self.seed, []
        for token in tokens:
            state = (state * 31 + int(token) + 7) % 10007
            best.append(state % 50)
        return best


def counting_speller(seed: int) -> CountingSpeller:
    return CountingSpeller(seed)


def times_asked(model: CountingSpeller | Spending) -> int:
    """How often a `counting_speller` or a `spending` was called so far."""
    return model.asked


def guesser(seed: int, style: str, length: int) -> Any:
    """A draft for a `counting_speller`: `length` guesses, all "right" or "wrong", some ("mixed"), all but one ("gap"), or a
    right one that is guessed "again" and again."""
    model = CountingSpeller(seed)

    def draft(tokens: list[int]) -> list[int]:
        text = list(tokens)
        for place in range(length if text else 0):
            best = model(text)[-1]
            good = {"right": True, "wrong": False, "mixed": best % 3 > 0, "gap": place != 1, "again": place == 0}[style]
            text.append(best if good else text[-1] if style == "again" else (best + 1) % 50)
        return text[len(tokens) :]

    return draft


class Spending:
    """A privacy budget that falls as the noise grows, `scale` / noise ** `power`; it counts its calls, and ends at 1,000.
    For numbers above 0 only: at 0 it fails."""

    def __init__(self, scale: float, power: float) -> None:
        self.scale, self.power, self.asked = scale, power, 0

    def __call__(self, noise: float) -> float:
        self.asked += 1
        if self.asked > 1000:
            raise RuntimeError("the function was called 1,000 times: halve the interval at each call")
        return self.scale / float(noise) ** self.power


def spending(scale: float, power: float) -> Spending:
    return Spending(scale, power)


def torch_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Shared(list):
    """A list that a copy of its owner goes on with: an answer may run a copy of the model."""

    def __deepcopy__(self, memo: dict) -> Shared:
        return self


class ModalEncoder(torch.nn.Module):
    """Word vectors, to which the mean of the text's is added (what the mask leaves out does not count), and in training mode
    another vector. The last word has a long vector: as padding that is not left out it shows. It notes each pass: whether it
    was in training mode and with gradients, and how many rows it had."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(vocabulary, width)
        with torch.no_grad():
            self.words.weight[-1] *= 5
        self.register_buffer("shift", torch.randn(width))
        self.passes: list[list] = Shared()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Any) -> SimpleNamespace:
        self.passes.append([self.training, torch.is_grad_enabled(), len(input_ids)])
        vectors = self.words(input_ids)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        mean = (vectors * mask.unsqueeze(-1)).sum(dim=1, keepdim=True) / mask.sum(dim=1).clamp(min=1)[:, None, None]
        return SimpleNamespace(last_hidden_state=0.3 * (vectors + mean + (self.shift if self.training else 0)))


class ModalMaskedLM(torch.nn.Module):
    """A masked language model of the form of BERT's: the encoder `bert` (a ModalEncoder), the head `cls`; with labels the
    output has a `loss`, else `logits` alone."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.bert, self.cls = ModalEncoder(vocabulary, width), torch.nn.Linear(width, vocabulary)
        torch.nn.init.normal_(self.cls.weight, std=0.4)  # losses that differ from token to token

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None,
                **others: Any) -> SimpleNamespace:
        scores = self.cls(self.bert(input_ids, attention_mask).last_hidden_state)
        if labels is None:
            return SimpleNamespace(logits=scores)
        total = torch.nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="sum")
        return SimpleNamespace(logits=scores, loss=total / (labels != -100).sum().clamp(min=1))


def modal_masked_lm(vocabulary: int, width: int, seed: int = 0) -> ModalMaskedLM:
    with seeded(seed):
        return ModalMaskedLM(vocabulary, width)


def passes_of(model: ModalMaskedLM) -> list[list]:
    """What the encoder of a `modal_masked_lm` has noted of each pass: [training mode, gradients on, rows]."""
    return list(model.bert.passes)


class MaskedBatches:
    """The argument `batch_of` of a pretraining loop: a masked batch by places and update, of random ids.

    `asked` keeps the update and places of each call, `files` what was then in the place of the checkpoint (a number that
    changes where another file takes the place, None without one). At the update `cut` the power goes: it raises (with `stop`
    as the button does that interrupts a cell), and keeps the checkpoint's content as it is then.
    """

    def __init__(self, blocks: int, vocabulary: int, seed: int, cut: int, checkpoint: Path | None, stop: bool) -> None:
        self.seed, self.cut, self.checkpoint, self.stop = seed, cut, checkpoint, stop
        generator = torch_generator(seed)
        self.mask = (torch.arange(6) < torch.randint(3, 7, (blocks, 1), generator=generator)).long()
        self.ids = torch.randint(1, vocabulary - 1, (blocks, 6), generator=generator)
        self.ids[self.mask == 0] = vocabulary - 1
        self.asked: list[list[int]] = []
        self.files: list[int | None] = []
        self.was_cut, self.kept = False, None

    def __call__(self, places: Any, update: int) -> dict[str, Tensor]:
        places, update = torch.as_tensor(places).reshape(-1), int(update)
        self.asked.append([update, *places.tolist()])
        if self.checkpoint is not None:
            self.files.append(self.checkpoint.stat().st_ino if self.checkpoint.exists() else None)
        if update == self.cut and not self.was_cut:
            self.was_cut = True
            self.kept = self.checkpoint.read_bytes() if self.checkpoint.exists() else None
            raise KeyboardInterrupt if self.stop else RuntimeError("the power is cut")
        ids, mask = self.ids[places], self.mask[places]
        if update % 3 == 2:  # one token alone: a gradient that is larger than others
            ids = torch.where(mask == 1, 1 + (self.seed + update) % 7, ids)
        throw = torch.rand(ids.shape, generator=torch_generator(1000 * self.seed + update))
        share = (1.0, 0.5, 0.8)[update % 3] if update != 4 else 0.0
        hidden = (throw < share) & (mask == 1)
        hidden[0, 1] = True  # at least one token: a loss of none, 0, need not have a gradient
        return {"input_ids": ids.masked_fill(hidden, 0), "attention_mask": mask, "labels": ids.masked_fill(~hidden, -100)}


def masked_batches(blocks: int, vocabulary: int, seed: int = 0, cut: int = -1,
                   checkpoint: Path | None = None, stop: bool = False) -> MaskedBatches:
    return MaskedBatches(blocks, vocabulary, seed, cut, checkpoint, stop)


def power_returns(batches: MaskedBatches) -> bool:
    """Puts the checkpoint's file back as it was when the power was cut, whatever was written since; whether it was cut."""
    if batches.was_cut and batches.checkpoint is not None:
        batches.checkpoint.unlink(missing_ok=True)
        if batches.kept is not None:
            batches.checkpoint.write_bytes(batches.kept)
    return batches.was_cut


class WeightMeter:
    """The argument `evaluate` of a training loop: a number that tells all weights. It leaves the model in eval mode."""

    calls = 0

    def __call__(self, model: torch.nn.Module) -> dict[str, float]:
        self.calls += 1
        model.eval()
        return {"loss": float(sum(weight.detach().double().abs().sum() for weight in model.parameters())), "unigram": 2.5}


def weight_meter() -> WeightMeter:
    return WeightMeter()


FOLDERS = "leaplm-file-"  # of `scratch_file`: nothing else is ever removed


def scratch_file(name: str = "checkpoint.pt") -> Path:
    """The path of a file, which is not there yet, in a new temporary folder (see `remove_folder`)."""
    return Path(tempfile.mkdtemp(prefix=FOLDERS)) / name


def is_there(path: Path) -> bool:
    return path.exists()


def remove_folder(path: Path) -> None:
    """Removes the folder of a `scratch_file` with all that was written to it."""
    if path.parent.name.startswith(FOLDERS):
        shutil.rmtree(path.parent, ignore_errors=True)
