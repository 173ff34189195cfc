"""Low-rank adapters and their relatives, written out: what is added to a frozen model, and how to save and swap it.

    y = W x + b + (alpha / rank) B A x        LoRA: W frozen, A (rank, in) random, B (out, rank) zero at the start
    y = m * (W + (alpha / rank) B A) x + b    DoRA: its rows at length 1, m (out,) learns; m starts at the lengths of W's
    y = f(x) + up(gelu(down(f(x))))           bottleneck adapter behind a layer f: up is zero at the start

All leave the model's output as it was until the first update. Sources: Hu et al., 2022, *LoRA*; Liu et al., 2024, *DoRA*;
Houlsby et al., 2019.
"""

import torch
from torch import nn

from leaplm.locales import say

HEAD = ("classifier",)  # parts of the model that learn in every method
MINILM_TARGETS = ("query", "value")
SMOLLM2_TARGETS = ("q_proj", "v_proj")
MAX_RANK = 64
NAMES = ("lora_A", "lora_B", "magnitude", "down.", "up.", "word_embeddings.weight")


class LoRALinear(nn.Module):
    """A frozen linear layer with a low-rank update: base(x) + (alpha / rank) * x A^T B^T.

    x (..., in) -> (..., out). lora_A (rank, in) starts as a linear layer's weights do, lora_B (out, rank) at zero.
    `dropout` acts on the input of A. Raises ValueError for a rank below 1.

    >>> layer = LoRALinear(nn.Linear(4, 3), rank=2, alpha=4)
    >>> x = torch.ones(1, 4)
    >>> bool((layer(x) == layer.base(x)).all())
    True
    """

    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank={rank} must be at least 1")
        self.base = base.requires_grad_(False)
        device = base.weight.device  # 32 bits, also where the base has 16: small updates would be lost in rounding
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank, device=device))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)
        self.scaling, self.dropout = alpha / rank, nn.Dropout(dropout)

    def forward(self, x):
        low = self.dropout(x).to(self.lora_A.dtype) @ self.lora_A.T
        return self.base(x) + (self.scaling * (low @ self.lora_B.T)).to(x.dtype)

    # A newer adapter on top of this one asks for the shape and the device of its base.
    in_features = property(lambda self: self.base.in_features)
    out_features = property(lambda self: self.base.out_features)
    weight = property(lambda self: self.base.weight)

    def merged_weight(self):
        """W + (alpha / rank) B A, (out, in)."""
        return self.base.weight + self.scaling * (self.lora_B @ self.lora_A)


class DoRALinear(LoRALinear):
    """LoRA that learns the length of each row of the weights apart from its direction.

    x (..., in) -> (..., out): the rows of W + (alpha / rank) B A, each divided by its length and multiplied by `magnitude`
    (out,). The length counts as a constant for the gradient. Source: Liu et al., 2024, *DoRA: weight-decomposed low-rank
    adaptation*, section 4.

    >>> layer = DoRALinear(nn.Linear(4, 3), rank=2, alpha=4)
    >>> x = torch.ones(1, 4)
    >>> torch.allclose(layer(x), layer.base(x), atol=1e-6)
    True
    """

    def __init__(self, base, rank, alpha):
        super().__init__(base, rank, alpha)
        self.magnitude = nn.Parameter(base.weight.detach().float().norm(dim=1))

    def forward(self, x):
        return nn.functional.linear(x, self.merged_weight().to(x.dtype), self.base.bias)

    def merged_weight(self):
        weight = super().merged_weight()
        return (self.magnitude / weight.detach().norm(dim=1))[:, None] * weight


class BottleneckAdapter(nn.Module):
    """A frozen layer with a small network behind it: h = base(x), then h + up(gelu(down(h))).

    down (width, out), up (out, width) and both biases learn; `up` starts at zero, so the output is that of `base`.
    Source: Houlsby et al., 2019, section 2.1 (there: near zero).
    """

    def __init__(self, base, width):
        super().__init__()
        if width < 1:
            raise ValueError(f"width={width} must be at least 1")
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(base.out_features, width), nn.Linear(width, base.out_features)
        self.to(base.weight.device)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x):
        hidden = self.base(x)
        return hidden + self.up(nn.functional.gelu(self.down(hidden)))


# -- into a model, and out again ------------------------------------------------------------------------------------------


def target_modules(model, targets):
    """Names of the linear layers whose name is one of `targets` or ends with "." and one of them (as in peft)."""
    endings = tuple(f".{target}" for target in targets)
    return [name for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and f".{name}".endswith(endings)]


def inject(model, targets, make, trainable=HEAD):
    """Freeze `model` except the parts `trainable`, and put make(linear) in place of each target; returns the model.

    make: a function nn.Linear -> module that holds it. Raises ValueError when no layer has such a name.
    """
    names = target_modules(model, targets)
    if not names:
        taken = any(isinstance(module, (LoRALinear, DoRALinear, BottleneckAdapter)) for module in model.modules())
        if taken:
            raise ValueError(say("the model has no linear layer called {names}: it has adapters already, so load the model "
                                 "again first", names=", ".join(targets)))  # fmt: skip
        raise ValueError(say("the model has no linear layer called {names}", names=", ".join(targets)))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.split(".")[0] in trainable)
    for name in names:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, make(getattr(parent, child)))
    return model


def inject_lora(model, targets=MINILM_TARGETS, rank=8, alpha=16, dropout=0.0):
    """LoRA on every linear layer named in `targets`; all else is frozen but the head. Returns the model.

    >>> model = inject_lora(load_sequence_classifier(names), ("query", "value"), rank=8, alpha=16)     # doctest: +SKIP
    """
    return inject(model, targets, lambda linear: LoRALinear(linear, rank, alpha, dropout))


def inject_dora(model, targets=MINILM_TARGETS, rank=8, alpha=16):
    """DoRA on every linear layer named in `targets`; all else is frozen but the head. Returns the model."""
    return inject(model, targets, lambda linear: DoRALinear(linear, rank, alpha))


def inject_adapters(model, width=16, targets=("output.dense",)):
    """A bottleneck adapter behind the attention and behind the feed-forward part of each layer. Returns the model."""
    return inject(model, targets, lambda linear: BottleneckAdapter(linear, width))


def train_word_embeddings(model):
    """Let the word embeddings learn too: for a language that the model has not read. Returns the model."""
    model.get_input_embeddings().weight.requires_grad_(True)
    return model


def merge(layer):
    """The plain nn.Linear that computes what a LoRALinear or DoRALinear does; the layer stays as it is."""
    merged = nn.Linear(layer.base.in_features, layer.base.out_features, bias=layer.base.bias is not None)
    merged.to(layer.base.weight)  # the same device and precision
    with torch.no_grad():
        merged.weight.copy_(layer.merged_weight())
        if layer.base.bias is not None:
            merged.bias.copy_(layer.base.bias)
    return merged


def merge_model(model):
    """Replace every LoRALinear in `model` by its merged linear layer, in place; returns the model."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LoRALinear):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, merge(module))
    return model


# -- cost -----------------------------------------------------------------------------------------------------------------


def lora_parameters(shapes, rank):
    """Trainable numbers that LoRA adds to layers of these (out, in) shapes: rank * (in + out) for each.

    >>> lora_parameters([(384, 384), (1536, 384)], rank=8)
    21504
    """
    return sum(rank * (outputs + inputs) for outputs, inputs in shapes)


def training_memory(model, batch, loss_fn=None):
    """Bytes that one training update keeps, counted and not measured: the same on every machine. A dict of

    weights: of the whole model; gradients: of what learns; optimizer: the two numbers that Adam keeps for each of them;
    activations: what the forward pass on `batch` saves for the backward pass (each storage once, weights left out).
    """
    def size(tensors):
        return sum(t.numel() * t.element_size() for t in tensors)

    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = (storage.nbytes(), tensor.detach())  # held, so that no address is used twice
        return tensor.detach()  # with its history, tensor and graph would hold each other for ever

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**batch).loss if loss_fn is None else loss_fn(model, batch)[0]
    del loss
    learning = size(p for p in model.parameters() if p.requires_grad)
    return {"weights": size(model.parameters()), "gradients": learning, "optimizer": 2 * learning,
            "activations": sum(nbytes for nbytes, _ in saved.values())}


# -- save, swap ---------------------------------------------------------------------------------------------------------


def get_adapter(model):
    """A copy of everything that learns in `model`, {name: tensor}: this is the adapter, with its head."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def set_adapter(model, tensors):
    """Put an adapter into a model with the same places for it, in place; returns the model.

    A head with another number of classes takes the place of the one there. Raises ValueError for a name that has no
    place, or a place that gets nothing (the old adapter would stay there unseen).
    """
    slots = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if set(slots) != set(tensors):
        raise ValueError(say("this adapter does not fit: {names}, ...",
                             names=", ".join(sorted(set(slots) ^ set(tensors))[:3])))  # fmt: skip
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name.split(".")[0] in HEAD:
                slots[name].data = tensor.to(slots[name]).clone()
            else:
                slots[name].copy_(tensor)
    return model


def only_adapters(tensors, heads=HEAD):
    """True if every name belongs to an adapter, the word embeddings or the head: nothing of the frozen model."""
    return all(name.split(".")[0] in heads or any(part in name for part in NAMES) for name in tensors)
