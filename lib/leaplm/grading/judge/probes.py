"""Small objects that checks put on the student's side, and readers that bring their state back as plain values.

A check names them as 'leaplm.grading.judge.probes:linear' in `student.build` and `student.read`, and may call the same
functions for its own reference; those that need transformers stand in `tiny_models`. Same seed, same weights, in every
process and without touching the global random state. Nothing here is downloaded.
"""

from __future__ import annotations

import contextlib
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer


class CountingDecoder(torch.nn.Linear):
    """A vocabulary head (width -> vocabulary) that counts the positions it has scored, in `rows`."""

    rows = 0

    def forward(self, hidden: Tensor) -> Tensor:
        self.rows += hidden.numel() // self.in_features
        return super().forward(hidden)


def counting_decoder(width: int, vocab_size: int, seed: int = 0) -> CountingDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
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
        self.rows, self.tables, self.asked = {text: i for i, text in enumerate(texts)}, tables, []

    def __call__(self, template: str, texts: list[str]) -> dict[str, np.ndarray]:
        if template not in self.tables:
            raise ValueError(f"there is no template {template!r} (is it the name of one?)")
        self.asked.append(template)
        rows = [self.rows[text] for text in texts]
        return {method: np.asarray(table)[rows] for method, table in self.tables[template].items()}


def template_scorer(texts: list[str], tables: dict[str, dict[str, np.ndarray]]) -> TemplateScorer:
    return TemplateScorer(texts, tables)


def templates_asked(scorer: TemplateScorer) -> list[str]:
    return scorer.asked


def predictions(classifier: Any, texts: list[str], method: str) -> list[int]:
    """What `classifier.predict(texts, method)` gives, as whole numbers."""
    return [int(label) for label in classifier.predict(texts, method)]


def linear(inputs: int, outputs: int, seed: int = 0, bias: bool = True) -> torch.nn.Linear:
    """A linear layer with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
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


def value(thing: Any) -> Any:
    """`thing` itself: `build` it to keep a plain value on the student's side, `read` it to see what became of it."""
    return thing


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


def freeze(model: torch.nn.Module, part: str) -> list[str]:
    """Stops the gradients of the parameters whose name holds `part`; returns their names."""
    found = [name for name, _ in model.named_parameters() if part in name]
    for name in found:
        model.get_parameter(name).requires_grad_(False)
    return found


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


def sizes(layer: torch.nn.Linear) -> list[int]:
    """What a linear layer says of itself: inputs, outputs."""
    return [layer.in_features, layer.out_features]


def slots(function: Any, times: int, *args: Any) -> list[int | None]:
    """What a student's function(*args) returns in many calls, each a whole number or None; in one step, which is faster."""
    found = (function(*args) for _ in range(times))
    return [None if slot is None else int(slot) for slot in found]


def training(model: torch.nn.Module) -> bool:
    return model.training


def state_dict(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """All weights by name."""
    return _arrays(model.state_dict())


def gradients(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """The gradients by parameter name, of the parameters that have one."""
    return _arrays({name: p.grad for name, p in model.named_parameters() if p.grad is not None})


def trainable(model: torch.nn.Module) -> list[str]:
    """Names of the parameters that training would change."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ModalLinear(vocabulary, outputs)


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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
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


def times_asked(model: CountingSpeller) -> int:
    """How often a `counting_speller` was called so far."""
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
