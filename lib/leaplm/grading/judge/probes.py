"""Small objects that checks put on the student's side, and readers that bring their state back as plain values.

A check names them as 'leaplm.grading.judge.probes:tiny_classifier' in `student.build` and `student.read`, and may call the
same functions for its own reference. Same seed, same weights, in every process and without touching the global
random state. Nothing here is downloaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import (
    BatchEncoding,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import SequenceClassifierOutput


def tiny_classifier(
    seed: int = 0,
    num_labels: int = 2,
    vocab_size: int = 64,
    width: int = 16,
    layers: int = 1,
    dropout: float = 0.0,
    initializer_range: float = 0.02,
) -> BertForSequenceClassification:
    """A BERT classifier of a few thousand parameters with random weights, in training mode.

    A large `initializer_range` (0.5) gives large logits, losses that differ from text to text, and large gradients.
    """
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        num_labels=num_labels,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=initializer_range,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertForSequenceClassification(config).train()


def tiny_masked_lm(seed: int = 0, vocab_size: int = 40, width: int = 16, dropout: float = 0.0) -> BertForMaskedLM:
    """A BERT with a masked-language-model head, random and large weights, in training mode."""
    config = BertConfig(vocab_size=vocab_size, hidden_size=width, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=2 * width, max_position_embeddings=64, hidden_dropout_prob=dropout,
                        attention_probs_dropout_prob=dropout, initializer_range=0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertForMaskedLM(config).train()


def tiny_causal_lm(seed: int = 0, vocab_size: int = 40) -> LlamaForCausalLM:
    """A generative model with random and large weights, in evaluation mode: its next tokens are far from uniform."""
    config = LlamaConfig(vocab_size=vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                         intermediate_size=64, max_position_embeddings=64, initializer_range=0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


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


def counting_causal_lm(seed: int = 0) -> LlamaForCausalLM:
    """A `tiny_causal_lm` that notes the tokens that go through it (see `tokens_seen`, `inputs_seen`)."""
    model = tiny_causal_lm(seed)
    model.tokens_seen, model.inputs_seen = 0, []

    def count(module: torch.nn.Module, args: tuple, kwargs: dict) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        model.tokens_seen += 0 if ids is None else ids.numel()
        model.inputs_seen.append(np.zeros((0, 0), dtype=int) if ids is None else ids.numpy(force=True).copy())

    model.get_decoder().register_forward_pre_hook(count, with_kwargs=True)
    return model


def counting_masked_lm(seed: int = 0) -> BertForMaskedLM:
    """A `tiny_masked_lm` that counts the losses which wait for their backward pass (see `most_open_graphs`)."""
    model = tiny_masked_lm(seed)
    model.open_graphs = model.most_open_graphs = 0

    def close(gradient: Tensor) -> None:
        model.open_graphs -= 1

    def count(module: torch.nn.Module, args: tuple, output: Any) -> None:
        if output.loss is not None and output.loss.requires_grad:
            model.open_graphs += 1
            model.most_open_graphs = max(model.most_open_graphs, model.open_graphs)
            output.loss.register_hook(close)

    model.register_forward_hook(count)
    return model


def most_open_graphs(model: torch.nn.Module) -> int:
    """How many losses of a `counting_masked_lm` waited for their backward pass at the same time."""
    return model.most_open_graphs


def tokens_seen(model: torch.nn.Module) -> int:
    """How many tokens went through a `counting_causal_lm` so far."""
    return model.tokens_seen


def inputs_seen(model: torch.nn.Module) -> list[np.ndarray]:
    """The token ids of each pass through a `counting_causal_lm` so far, (rows, tokens) each."""
    return model.inputs_seen


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


def tiny_encoder(seed: int = 0, dropout: float = 0.0, initializer_range: float = 0.5) -> torch.nn.Module:
    """The encoder of a `tiny_classifier`, in training mode: input_ids -> last_hidden_state (batch, tokens, 16)."""
    return tiny_classifier(seed, dropout=dropout, initializer_range=initializer_range).bert


def tiny_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that splits at spaces; ids 0 [PAD], 1 [UNK], 2 [CLS], 3 [SEP], 4 [MASK], then `words`.

    >>> tiny_tokenizer(["good", "bad"])("bad good")["input_ids"]
    [2, 6, 5, 3]
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {word: index for index, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(names, special, strict=True)))


def batch(**arrays: Tensor) -> BatchEncoding:
    """A batch as tokenizers make it: a mapping of tensors that also has attributes and `.to(device)`."""
    return BatchEncoding(arrays)


def value(thing: Any) -> Any:
    """`thing` itself: `build` it to keep a plain value on the student's side, `read` it to see what became of it."""
    return thing


class SimilarNames(torch.nn.Module):
    """A model whose parts are called much like each other: ids (batch, tokens) -> an output with logits (batch, 2).

    Beside the linear layers `query`, `key` and `value` of its blocks there is an embedding `value`, a group `key` of
    linear layers, a `query_proj`, a `query_norm`, a `y` and a `pre_classifier`.
    """

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        nn = torch.nn
        self.value = nn.Embedding(64, width)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"query": nn.Linear(width, width, bias=False), "query_proj": nn.Linear(width, width),
                           "query_norm": nn.LayerNorm(width), "value": nn.Linear(width, width), "key": key,
                           "y": nn.Linear(width, width)})
            for key in (nn.Linear(width, width), nn.Sequential(nn.Linear(width, width), nn.Linear(width, width)))
        )  # fmt: skip
        self.pre_classifier = nn.Linear(width, width)
        self.classifier = nn.Linear(width, 2)

    def forward(self, input_ids: Tensor) -> Any:
        hidden = self.value(input_ids)
        for block in self.blocks:
            for part in block.values():
                hidden = hidden + torch.tanh(part(hidden))
        return SequenceClassifierOutput(logits=self.classifier(torch.tanh(self.pre_classifier(hidden.mean(dim=1)))))


def similar_names(seed: int = 0) -> SimilarNames:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SimilarNames()


class EdgeModel(torch.nn.Module):
    """The loss is the mean of weight * inputs, and a term of 0 that makes one more gradient infinite or NaN, as `edge` says.

    The loss itself stays finite. edge: "" for no such term, "inf", "-inf", "nan", or "large": two gradients of 1e38.
    """

    def __init__(self, edge_first: bool) -> None:
        super().__init__()
        for name in ("edge_weight", "weight") if edge_first else ("weight", "edge_weight"):
            self.register_parameter(name, torch.nn.Parameter(torch.zeros(2)))  # the edge is at the first of two numbers

    def forward(self, inputs: Tensor, edge: str) -> SequenceClassifierOutput:
        at = self.edge_weight[0]
        root = (at * (0 if edge == "nan" else 1)).sqrt()
        term = {"": 0 * at, "inf": root, "-inf": -root, "nan": root, "large": 1e38 * self.edge_weight.sum()}[edge]
        return SequenceClassifierOutput(loss=(self.weight.sum() * inputs).mean() + term)


def edge_model(edge_first: bool = False) -> EdgeModel:
    """An `EdgeModel` with all weights 0."""
    return EdgeModel(edge_first)


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
