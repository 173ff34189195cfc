"""Low-rank adapters and their relatives, written out: what is added to a frozen model, and how to save and swap it.

    y = W x + b + (alpha / rank) B A x        LoRA: W frozen, A (rank, in) random, B (out, rank) zero at the start
    y = m * (W + (alpha / rank) B A) x + b    DoRA: its rows at length 1, m (out,) learns; m starts at the lengths of W's
    y = f(x) + up(gelu(down(f(x))))           bottleneck adapter behind a layer f: up is zero at the start

All leave the model's output as it was until the first update. Sources: Hu et al., 2022, *LoRA*; Liu et al., 2024, *DoRA*;
Houlsby et al., 2019.
"""

import zlib

import numpy as np
import torch
from torch import nn

from leaplm.artifacts import pack, read_artifact
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

    make: a function nn.Linear -> module that holds it. Raises ValueError, and changes nothing, when no layer has such a name
    or the model has adapters already: those would be frozen unseen.
    """
    if any(isinstance(module, (LoRALinear, BottleneckAdapter)) for module in model.modules()):
        raise ValueError(say("the model has adapters already, so load the model again first"))
    names = target_modules(model, targets)
    if not names:
        raise ValueError(say("the model has no linear layer called {names}", names=", ".join(targets)))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.split(".")[0] in trainable)
    for name in names:
        model.set_submodule(name, make(model.get_submodule(name)))
    return model


def lora_layers(model):
    """{name: layer} of every LoRALinear in `model`, in the model's order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


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


def merge_adapter(model):
    """Put the merged nn.Linear in the place of each LoRALinear of `model`; returns {name: LoRALinear}, what was there.

    `unmerge_adapter` takes that to put everything back. The frozen weights are not touched, so nothing is lost to rounding.

    >>> model = inject_lora(nn.Sequential(nn.Linear(2, 2)), ("0",), rank=1)
    >>> layers = merge_adapter(model)
    >>> type(model[0]).__name__, type(unmerge_adapter(model, layers)[0]).__name__
    ('Linear', 'LoRALinear')
    """
    layers = lora_layers(model)
    for name, layer in layers.items():
        model.set_submodule(name, merge(layer))
    return layers


def unmerge_adapter(model, layers):
    """Put the layers that `merge_adapter` returned back into their places: the model is as before. Returns the model."""
    for name, layer in layers.items():
        model.set_submodule(name, layer)
    return model


def merge_model(model):
    """Replace every LoRALinear in `model` by its merged linear layer, in place and for good; returns the model."""
    merge_adapter(model)
    return model


# -- cost -----------------------------------------------------------------------------------------------------------------


def lora_parameters(shapes, rank):
    """Trainable numbers that LoRA adds to layers of these (out, in) shapes: rank * (in + out) for each.

    >>> lora_parameters([(384, 384), (1536, 384)], rank=8)
    21504
    """
    return sum(rank * (outputs + inputs) for outputs, inputs in shapes)


def choose_rank(ranks, accuracies):
    """The smallest rank that is not clearly worse than the one with the best mean; ranks (r,), accuracies (r, seeds).

    Not clearly worse: the mean of its differences to the best, seed by seed, is at most their standard error (sample
    standard deviation divided by the root of the number of seeds).

    >>> choose_rank([8, 1], [[0.80, 0.90, 0.82], [0.79, 0.90, 0.80]])
    8
    """
    ranks, accuracies = np.asarray(ranks), np.asarray(accuracies)
    differences = accuracies[accuracies.mean(axis=1).argmax()] - accuracies
    error = differences.std(axis=1, ddof=1) / accuracies.shape[1] ** 0.5
    return int(ranks[differences.mean(axis=1) <= error].min())


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


def base_fingerprint(model):
    """Eight characters made of the frozen weights below the LoRA layers of `model`: another base gives others."""
    found = 0
    for layer in lora_layers(model).values():
        found = zlib.crc32(layer.base.weight.detach().float().cpu().contiguous().numpy(), found)
    return f"{found:08x}"


def adapter_config(model):
    """Where an adapter belongs: a dict with `targets`, `rank`, `alpha` of its LoRA layers and the `base` (a fingerprint).

    targets: the last parts of the layers' names, sorted, each once. Raises ValueError for a model without LoRA layers.

    >>> config = adapter_config(inject_lora(nn.Sequential(nn.Linear(2, 2)), ("0",), rank=1, alpha=2))
    >>> config["targets"], config["rank"], config["alpha"]
    (['0'], 1, 2.0)
    """
    layers = lora_layers(model)
    if not layers:
        raise ValueError(say("the model has no LoRA layers"))
    first = next(iter(layers.values()))
    rank = len(first.lora_A)
    return {"targets": sorted({name.split(".")[-1] for name in layers}), "rank": rank, "alpha": first.scaling * rank,
            "base": base_fingerprint(model)}


def save_adapter(model):
    """The adapter's file as bytes: what learns in `model`, in 16 bits, with the `adapter_config` as its card.

    >>> model = inject_lora(nn.Sequential(nn.Linear(2, 2)), ("0",), rank=1)
    >>> read_artifact(save_adapter(model))[1]["0.lora_B"].dtype
    torch.float16
    """
    return pack({name: tensor.half() for name, tensor in get_adapter(model).items()}, adapter_config(model))


def load_adapter(model, content):
    """Put the adapter of a file (bytes) into a model with the same LoRA layers, in place; returns the model.

    Raises ValueError, and changes nothing, if the file is damaged, its targets, rank, alpha or base are not those of the
    model (the message says which), or it has not the tensors that learn there. The number of classes may be another.
    """
    config, tensors = read_artifact(content)
    for key, own in adapter_config(model).items():
        if config.get(key) != own:
            raise ValueError(say("this adapter does not fit: its {key} is {theirs}, that of the model is {own}", key=key,
                                 theirs=config.get(key), own=own))  # fmt: skip
    return set_adapter(model, tensors)


def serve_requests(model, adapters, requests, collate, batch_size=16):
    """Class numbers, a list in the order of `requests`, each from the adapter that the request names.

    adapters: {name: tensors} as `get_adapter` gives them. requests: a list of (name, row). Each adapter is put into the
    model once, and its rows go through in batches of at most `batch_size`. Afterwards the model has the adapter and the mode
    that it had before. Raises ValueError for a name that is not among the adapters, before anything is computed.
    """
    unknown = {name for name, _ in requests} - set(adapters)
    if unknown:
        raise ValueError(say("there is no adapter called {names}", names=", ".join(sorted(unknown))))
    before, was_training, answers = get_adapter(model), model.training, [None] * len(requests)
    device = next(model.parameters()).device
    model.eval()
    for name in dict.fromkeys(name for name, _ in requests):
        set_adapter(model, adapters[name])
        places = [place for place, request in enumerate(requests) if request[0] == name]
        for start in range(0, len(places), batch_size):
            some = places[start : start + batch_size]
            batch = collate([requests[place][1] for place in some])
            batch.pop("labels", None)
            with torch.no_grad():
                logits = model(**{key: tensor.to(device) for key, tensor in batch.items()}).logits
            for place, label in zip(some, logits.argmax(-1).tolist(), strict=True):
                answers[place] = label
    set_adapter(model, before).train(was_training)
    return answers


def only_adapters(tensors, heads=HEAD):
    """True if every name belongs to an adapter, the word embeddings or the head: nothing of the frozen model."""
    return all(name.split(".")[0] in heads or any(part in name for part in NAMES) for name in tensors)
