"""Bank of lab 3: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (np, pd, artifacts, ...); classes need theirs here:
`LoRALinear` and `BottleneckAdapter` are the solution's own there.
"""

import torch
from leaplm.grading.judge.banks import right, wrong
from leaplm.peft import lora
from leaplm.peft.lora import BottleneckAdapter, LoRALinear
from torch import nn

# ruff: noqa: F821, B905, B035

# -- lora_linear ------------------------------------------------------------------------------------------------------


@wrong("lora_linear", "forgets the factor alpha / rank", name="LoRALinear")
class NoScaling(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.dropout(x) @ self.lora_A.T @ self.lora_B.T


@wrong("lora_linear", "multiplies by alpha only", name="LoRALinear")
class OnlyAlpha(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.scaling = base.requires_grad_(False), alpha
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "both matrices are zero, so that nothing ever learns", name="LoRALinear")
class BothZero(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.zeros(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "both matrices are random, so that the model is changed before training", name="LoRALinear")
class BothRandom(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.randn(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "the base still learns", name="LoRALinear")
class NotFrozen(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.scaling = base, alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "the low-rank term takes the place of the base", name="LoRALinear")
class NoBase(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.scaling * (self.dropout(x) @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "plain tensors instead of parameters: no optimizer finds them", name="LoRALinear")
class PlainTensors(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = torch.randn(rank, base.in_features)
        self.lora_B = torch.zeros(base.out_features, rank)

    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "the matrices have exchanged shapes", name="LoRALinear")
class ShapesExchanged(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base.out_features))

    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.lora_A @ self.lora_B)


@right("lora_linear", "with nn.functional.linear, and a small normal start", name="LoRALinear")
class Functional(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.scaling = base, alpha / rank
        for parameter in self.base.parameters():
            parameter.requires_grad = False
        self.lora_A = nn.Parameter(0.01 * torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        low = nn.functional.linear(self.dropout(x), self.lora_A)
        return self.base(x) + nn.functional.linear(low, self.lora_B) * self.scaling


@wrong("lora_linear", "adds the update to the weights in each call, so that nothing can drop out", name="LoRALinear")
class OneMatrix(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.scaling = base.requires_grad_(False), torch.tensor(alpha / rank)
        self.lora_A = nn.Parameter(torch.rand(rank, base.in_features) - 0.5)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        weight = self.base.weight + self.scaling * self.lora_B @ self.lora_A
        return nn.functional.linear(x, weight, self.base.bias)


wrong.cell("lora_linear", "is the library's class under another name", """\
LoRALinear = getattr(lora, "LoRA" + "Linear")
""")


@wrong("lora_linear", "derives from the library's class", name="LoRALinear")
class Derived(lora.LoRALinear):
    pass


@wrong("lora_linear", "divides without a remainder", name="LoRALinear")
class WholeDivision(LoRALinear):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__(base, rank, alpha, dropout)
        self.scaling = alpha // rank


@wrong("lora_linear", "A is not random: all ones", name="LoRALinear")
class Ones(LoRALinear):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__(base, rank, alpha, dropout)
        nn.init.ones_(self.lora_A)


@wrong("lora_linear", "A is the same in every layer: a seed inside", name="LoRALinear")
class FixedSeed(LoRALinear):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__(base, rank, alpha, dropout)
        numbers = torch.randn(self.lora_A.shape, generator=torch.Generator().manual_seed(0))
        self.lora_A = nn.Parameter(numbers)


@wrong("lora_linear", "no gradient goes through the base to the layers below", name="LoRALinear")
class BaseWithoutGradient(LoRALinear):
    def forward(self, x):
        with torch.no_grad():
            plain = self.base(x)
        return plain + self.scaling * (self.dropout(x) @ self.lora_A.T) @ self.lora_B.T


@wrong("lora_linear", "A learns nothing: its product is detached", name="LoRALinear")
class DetachedA(LoRALinear):
    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.lora_A.T).detach() @ self.lora_B.T


@wrong("lora_linear", "A and B are used without their gradients", name="LoRALinear")
class DataOnly(LoRALinear):
    def forward(self, x):
        return self.base(x) + self.scaling * (self.dropout(x) @ self.lora_A.data.T) @ self.lora_B.data.T


@wrong("lora_linear", "for batches of sentences only", name="LoRALinear")
class ThreeDimensions(LoRALinear):
    def forward(self, x):
        return self.base(x) + self.scaling * torch.einsum("bsi,ri,or->bso", self.dropout(x), self.lora_A, self.lora_B)


@wrong("lora_linear", "adds the update to the base, again in each call", name="LoRALinear")
class IntoTheBase(LoRALinear):
    def forward(self, x):
        self.base.weight.data += self.scaling * (self.lora_B @ self.lora_A).detach()
        return self.base(x)


@wrong("lora_linear", "needs a base with a bias", name="LoRALinear")
class NeedsBias(LoRALinear):
    def forward(self, x):
        plain = x @ self.base.weight.T + self.base.bias.view(-1)
        return plain + self.scaling * self.dropout(x) @ self.lora_A.T @ self.lora_B.T


@wrong("lora_linear", "the bias of the base still learns", name="LoRALinear")
class BiasLearns(LoRALinear):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__(base, rank, alpha, dropout)
        if base.bias is not None:
            base.bias.requires_grad_(True)


@wrong("lora_linear", "drops out in evaluation mode too", name="LoRALinear")
class AlwaysDrops(LoRALinear):
    def forward(self, x):
        low = nn.functional.dropout(x, self.dropout.p) @ self.lora_A.T
        return self.base(x) + self.scaling * low @ self.lora_B.T


@wrong("lora_linear", "takes dropout and does nothing with it", name="LoRALinear")
class NoDropout(LoRALinear):
    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.lora_A.T) @ self.lora_B.T


@wrong("lora_linear", "dropout on the input of the base too", name="LoRALinear")
class DropsTheInput(LoRALinear):
    def forward(self, x):
        x = self.dropout(x)
        return self.base(x) + self.scaling * (x @ self.lora_A.T) @ self.lora_B.T


@wrong("lora_linear", "dropout on the sum at the end", name="LoRALinear")
class DropsTheOutput(LoRALinear):
    def forward(self, x):
        return self.dropout(self.base(x) + self.scaling * (x @ self.lora_A.T) @ self.lora_B.T)


@wrong("lora_linear", "dropout behind A, on the r numbers", name="LoRALinear")
class DropsBehindA(LoRALinear):
    def forward(self, x):
        return self.base(x) + self.scaling * self.dropout(x @ self.lora_A.T) @ self.lora_B.T


@wrong("lora_linear", "sets numbers to zero and does not scale up the others", name="LoRALinear")
class WithoutScalingUp(LoRALinear):
    def forward(self, x):
        seen = x * (torch.rand_like(x) >= self.dropout.p) if self.training else x
        return self.base(x) + self.scaling * (seen @ self.lora_A.T) @ self.lora_B.T


@wrong("lora_linear", "keeps the share that should drop out", name="LoRALinear")
class KeepsTheShare(LoRALinear):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__(base, rank, alpha, 1 - dropout if dropout else 0.0)


@wrong("lora_linear", "whole vectors drop out, not single numbers", name="LoRALinear")
class DropsVectors(LoRALinear):
    def forward(self, x):
        kept = x * self.dropout(torch.ones_like(x[..., :1]))
        return self.base(x) + self.scaling * (kept @ self.lora_A.T) @ self.lora_B.T


@wrong("lora_linear", "the same numbers drop out in every row", name="LoRALinear")
class DropsColumns(LoRALinear):
    def forward(self, x):
        kept = x * self.dropout(torch.ones(x.shape[-1]))
        return self.base(x) + self.scaling * (kept @ self.lora_A.T) @ self.lora_B.T


@wrong("lora_linear", "the same numbers drop out at each call: a seed inside", name="LoRALinear")
class DropsTheSame(LoRALinear):
    def forward(self, x):
        share = self.dropout.p if self.training else 0
        keep = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) >= share
        return self.base(x) + self.scaling * (x * keep / (1 - share) @ self.lora_A.T) @ self.lora_B.T


@right("lora_linear", "with a mask of its own", name="LoRALinear")
class OwnMask(LoRALinear):
    def forward(self, x):
        out, share = self.base(x), self.dropout.p
        if self.training and share > 0:
            x = x * (torch.rand(x.shape) >= share) / (1 - share)
        return out + (x @ self.lora_A.T @ self.lora_B.T) * self.scaling


@right("lora_linear", "A and B as linear maps of the scaled input", name="LoRALinear")
class ScaledInput(LoRALinear):
    def forward(self, x):
        x, plain = self.dropout(x) * self.scaling, self.base(x)
        return torch.matmul(torch.matmul(x, self.lora_A.t()), self.lora_B.t()).add(plain)


@wrong("lora_linear", "the base is not kept, so that nothing is left to merge", name="LoRALinear")
class CopiedWeights(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.linear(x) + self.scaling * (self.dropout(x) @ self.lora_A.T) @ self.lora_B.T


@right("lora_linear", "with einsum, A drawn by NumPy, alpha and rank kept", name="LoRALinear")
class Einsum(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        import numpy
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base, self.rank, self.alpha = base, rank, alpha
        base.weight.requires_grad = False
        if base.bias is not None:
            base.bias.requires_grad = False
        start = numpy.random.uniform(-0.1, 0.1, size=(rank, base.in_features))
        self.lora_A = nn.Parameter(torch.tensor(start, dtype=torch.float32))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    @property
    def scaling(self):
        return self.alpha / self.rank

    def forward(self, x):
        return self.base(x) + self.scaling * torch.einsum("...i,ri,or->...o", self.dropout(x), self.lora_A, self.lora_B)


right.cell("lora_linear", "with a helper in the cell, and a frozen base in evaluation mode", """\
def down_and_up(x, A, B):
    return nn.functional.linear(nn.functional.linear(x, A), B)

class LoRALinear(nn.Module):
    def __init__(self, base, rank, alpha, dropout=0.0):
        super(LoRALinear, self).__init__()
        self.p = dropout
        self.base = base.eval()
        for p in self.base.parameters():
            p.requires_grad_(False)
        self.register_parameter("lora_A", nn.Parameter(torch.empty(rank, base.in_features).normal_(std=rank**-0.5)))
        self.register_parameter("lora_B", nn.Parameter(base.weight.new_zeros(base.out_features, rank)))
        self.scaling = float(alpha) / rank

    def forward(self, x):
        out = self.base(x)
        out += self.scaling * down_and_up(nn.functional.dropout(x, self.p, self.training), self.lora_A, self.lora_B)
        return out
""")


# -- merge ------------------------------------------------------------------------------------------------------------


@wrong("merge", "forgets the scaling")
def no_scaling(layer):
    merged = nn.Linear(layer.base.in_features, layer.base.out_features, bias=layer.base.bias is not None)
    merged.weight.data = layer.base.weight + layer.lora_B @ layer.lora_A
    merged.bias = layer.base.bias
    return merged


@wrong("merge", "adds to the base itself: the second call adds again")
def in_place(layer):
    layer.base.weight.data += layer.scaling * layer.lora_B @ layer.lora_A
    return layer.base


@wrong("merge", "gives the layer back as it is")
def no_merge(layer):
    return layer


@wrong("merge", "the bias is a new random one")
def random_bias(layer):
    merged = nn.Linear(layer.base.in_features, layer.base.out_features, bias=layer.base.bias is not None)
    merged.weight.data = layer.base.weight + layer.scaling * layer.lora_B @ layer.lora_A
    return merged


@wrong("merge", "fails where the base has no bias")
def needs_bias(layer):
    merged = nn.Linear(layer.base.in_features, layer.base.out_features)
    with torch.no_grad():
        merged.weight.copy_(layer.base.weight + layer.scaling * layer.lora_B @ layer.lora_A)
        merged.bias.copy_(layer.base.bias)
    return merged


@wrong("merge", "subtracts the update")
def subtracts(layer):
    merged = nn.Linear(layer.base.in_features, layer.base.out_features, bias=layer.base.bias is not None)
    merged.weight.data = layer.base.weight - layer.scaling * layer.lora_B @ layer.lora_A
    merged.bias = layer.base.bias
    return merged


@wrong("merge", "the update alone, without the base")
def update_only(layer):
    merged = nn.Linear(layer.base.in_features, layer.base.out_features, bias=layer.base.bias is not None)
    merged.weight.data = layer.scaling * layer.lora_B @ layer.lora_A
    merged.bias = layer.base.bias
    return merged


@right("merge", "copies the base, then adds")
def deep_copy(layer):
    import copy
    merged = copy.deepcopy(layer.base)
    merged.weight.data += layer.scaling * (layer.lora_B @ layer.lora_A).detach()
    return merged


@right("merge", "reads the weights off with unit vectors")
def unit_vectors(layer):
    base = layer.base
    merged = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None)
    with torch.no_grad():
        zero = layer(torch.zeros(1, base.in_features))
        merged.weight.copy_((layer(torch.eye(base.in_features)) - zero).T)
        if base.bias is not None:
            merged.bias.copy_(zero[0])
    return merged


@wrong("merge", "calls the library's function")
def merged_by_library(layer):
    from leaplm.peft.lora import merge as combine
    return combine(layer)


@wrong("merge", "resets B afterwards, so that the layer forgets")
def resets(layer):
    merged = nn.Linear(layer.base.in_features, layer.base.out_features, bias=layer.base.bias is not None)
    with torch.no_grad():
        merged.weight.copy_(layer.base.weight + layer.scaling * layer.lora_B @ layer.lora_A)
        if layer.base.bias is not None:
            merged.bias.copy_(layer.base.bias)
        layer.lora_B.zero_()
    return merged


@wrong("merge", "the weights alone, not a layer")
def a_tensor(layer):
    return layer.base.weight + layer.scaling * layer.lora_B @ layer.lora_A


@wrong("merge", "scales the bias too")
def scaled_bias(layer):
    merged = nn.Linear(layer.base.in_features, layer.base.out_features, bias=layer.base.bias is not None)
    with torch.no_grad():
        merged.weight.copy_(layer.base.weight + layer.scaling * layer.lora_B @ layer.lora_A)
        if layer.base.bias is not None:
            merged.bias.copy_(layer.scaling * layer.base.bias)
    return merged


@wrong("merge", "a random bias where the base has none")
def invents_bias(layer):
    merged = nn.Linear(layer.base.in_features, layer.base.out_features)
    with torch.no_grad():
        merged.weight.copy_(layer.base.weight + layer.scaling * layer.lora_B @ layer.lora_A)
        if layer.base.bias is not None:
            merged.bias.copy_(layer.base.bias)
    return merged


@wrong("merge", "freezes the layer's A and B")
def freezes(layer):
    import copy
    layer.requires_grad_(False)
    merged = copy.deepcopy(layer.base)
    merged.weight += layer.scaling * layer.lora_B @ layer.lora_A
    return merged


@right("merge", "shares the bias with the base, weights as a new parameter")
def new_parameters(layer):
    base = layer.base
    merged = nn.Linear(base.in_features, base.out_features, bias=False)
    merged.weight = nn.Parameter((base.weight + layer.scaling * layer.lora_B @ layer.lora_A).detach())
    merged.bias = base.bias
    return merged


@right("merge", "with load_state_dict, and a bias of zeros where the base has none")
def zero_bias(layer):
    base = layer.base
    merged = nn.Linear(base.in_features, base.out_features).requires_grad_(False).eval()
    bias = torch.zeros(base.out_features) if base.bias is None else base.bias
    merged.load_state_dict({"weight": base.weight + layer.scaling * (layer.lora_A.T @ layer.lora_B.T).T, "bias": bias})
    return merged



MERGE_MODEL = """
def merge_adapter(model):
    layers = {name: module for name, module in model.named_modules() if isinstance(module, lora.LoRALinear)}
    for name, layer in layers.items():
        model.set_submodule(name, merge(layer))
    return layers

def unmerge_adapter(model, layers):
    for name, layer in layers.items():
        model.set_submodule(name, layer)
"""


def changed(source, *pairs):
    """The source with some parts in another form; each must be there."""
    for old, new in pairs:
        assert old in source, old
        source = source.replace(old, new)
    return source


def merging(entries, why, *pairs):
    entries.cell("merge", why, changed(MERGE_MODEL, *pairs))


merging(wrong, "copies come back, not the layers themselves: the optimizer trains what is gone",
        ("model.set_submodule(name, layer)", "model.set_submodule(name, copy.deepcopy(layer))"),
        ("def merge_adapter", "import copy\n\ndef merge_adapter"))
merging(wrong, "unmerges by subtracting: rounding stays in the weights",
        ("model.set_submodule(name, layer)",
         "layer.base.weight.data = model.get_submodule(name).weight.data - layer.scaling * layer.lora_B.data @ "
         "layer.lora_A.data\n        model.set_submodule(name, layer)"))
merging(wrong, "merges the first layer only", ("    return layers\n", "        return {name: layer}\n"))
merging(wrong, "adds the update to the base as well, so that it counts twice after unmerging",
        ("merge(layer))",
         "merge(layer))\n        layer.base.weight.data += layer.scaling * layer.lora_B.data @ layer.lora_A.data"))
merging(wrong, "forgets to take the layers apart again", ("        model.set_submodule(name, layer)\n", "        pass\n"))
merging(wrong, "keeps the layers of the first model for all", ("    layers = {name: module",
        "    global known\n    layers = known = globals().get('known') or {name: module"))
merging(wrong, "the base alone, without the update", ("merge(layer))", "layer.base)"))
merging(wrong, "freezes the layers that it puts back", ("model.set_submodule(name, layer)",
        "model.set_submodule(name, layer.requires_grad_(False))"))
merging(wrong, "misses layers whose base has no bias",
        ("isinstance(module, lora.LoRALinear)}", "isinstance(module, lora.LoRALinear) and module.base.bias is not None}"))
merging(wrong, "forgets A and B: the layers come back as new ones", ("model.set_submodule(name, layer)",
        "model.set_submodule(name, lora.LoRALinear(layer.base, len(layer.lora_A), layer.scaling * len(layer.lora_A)))"))
merging(wrong, "calls the library's function for a whole model",
        ("    for name, layer in layers.items():\n        model.set_submodule(name, merge(layer))\n",
         "    lora.merge_model(model)\n"))
merging(wrong, "returns the names alone", ("    return layers\n", "    return list(layers)\n"))
merging(wrong, "evaluation mode stays on after merging", ("    return layers\n", "    model.eval()\n    return layers\n"))
merging(wrong, "evaluation mode stays on after taking apart",
        ("        model.set_submodule(name, layer)\n", "        model.set_submodule(name, layer)\n    model.eval()\n"))
merging(wrong, "switches off the dropout of the layers, for good", ("    return layers\n",
        "        layer.dropout.p = 0.0\n    return layers\n"))
merging(wrong, "puts back the layers of the model that was merged last",
        ("    return layers\n", "    global taken\n    taken = layers\n    return layers\n"),
        ("in layers.items():\n        model.set_submodule(name, layer)",
         "in taken.items():\n        model.set_submodule(name, layer)"))
merging(wrong, "empties B before the layers come back", ("        model.set_submodule(name, layer)",
        "        layer.lora_B.data.zero_()\n        model.set_submodule(name, layer)"))
merging(right, "a list of pairs, parents by getattr",
        ("    return layers\n", "    return list(layers.items())\n"),
        ("in layers.items():\n        model.set_submodule(name, layer)",
         "in layers:\n        parent, _, child = name.rpartition('.')\n"
         "        setattr(model.get_submodule(parent), child, layer)"))
merging(right, "the merged layers are frozen and in evaluation mode",
        ("merge(layer))", "merge(layer).requires_grad_(False).eval())"))
right.cell("merge", "the layers wait on the merged ones, in a list", """
def merge_adapter(model):
    waiting = []
    for parent in list(model.modules()):
        for child, module in list(parent.named_children()):
            if isinstance(module, lora.LoRALinear):
                setattr(parent, child, merge(module))
                waiting.append((parent, child, module))
    return waiting

def unmerge_adapter(model, layers):
    for parent, child, module in layers:
        setattr(parent, child, module)
""")


# -- inject_lora ------------------------------------------------------------------------------------------------------

INJECT = """
def inject_lora(model, targets, rank, alpha, dropout=0.0):
    if any(isinstance(module, lora.LoRALinear) for module in model.modules()):
        raise ValueError("adapters are there already")
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in targets]
    if not found:
        raise ValueError(f"no layer called {targets}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    for name in found:
        model.set_submodule(name, lora.LoRALinear(model.get_submodule(name), rank, alpha, dropout))
    return found
"""
FREEZE = """    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
"""
REPLACE = """    for name in found:
        model.set_submodule(name, lora.LoRALinear(model.get_submodule(name), rank, alpha, dropout))
"""
NONE_FOUND = """    if not found:
        raise ValueError(f"no layer called {targets}")
"""
TWICE = """    if any(isinstance(module, lora.LoRALinear) for module in model.modules()):
        raise ValueError("adapters are there already")
"""


def injecting(entries, why, *pairs):
    entries.cell("inject_lora", why, changed(INJECT, *pairs))


injecting(wrong, "freezes after the injection, so that nothing but the head learns",
          (FREEZE, ""), (REPLACE, REPLACE + FREEZE))
injecting(wrong, "freezes the head as well", (FREEZE, "    model.requires_grad_(False)\n"))
injecting(wrong, "freezes nothing but the replaced layers", (FREEZE, ""))
injecting(wrong, "the first layer of the encoder only", ("in targets]", "in targets and ('.layer.1.' not in n)]"))
injecting(wrong, "every linear layer, whatever targets says",
          ('n.split(".")[-1] in targets', 'not n.startswith("classifier")'),
          ("    if not found:", "    if not any(n.split('.')[-1] in targets for n in found):"))
injecting(wrong, "rank and alpha exchanged", ("rank, alpha, dropout))", "alpha, rank, dropout))"))
injecting(wrong, "alpha is always the rank", ("rank, alpha, dropout))", "rank, rank, dropout))"))
injecting(wrong, "dropout is not handed on", ("rank, alpha, dropout))", "rank, alpha))"))
injecting(wrong, "returns the model instead of the names", ("return found", "return model"))
injecting(wrong, "returns how many were replaced", ("return found", "return len(found)"))
injecting(wrong, "puts in new random layers instead of the pretrained ones",
          ("lora.LoRALinear(model.get_submodule(name),",
           "lora.LoRALinear(nn.Linear(model.get_submodule(name).in_features, model.get_submodule(name).out_features),"))
injecting(wrong, "the first of the targets only", ("in targets]", "in targets[:1]]"))
injecting(wrong, "looks for the targets anywhere in the names",
          ('n.split(".")[-1] in targets', "any(target in n for target in targets)"))
injecting(wrong, "looks for the last part in the targets as one string", ("in targets]", "in ' '.join(targets)]"))
injecting(wrong, "looks for the targets among all parts of the names",
          ('n.split(".")[-1] in targets', 'set(n.split(".")) & set(targets)'))
injecting(wrong, "names that end with a target, though their last part is longer",
          ('n.split(".")[-1] in targets', "n.endswith(tuple(targets))"))
injecting(wrong, "everything with 'classifier' in its name learns",
          ('name.startswith("classifier")', '"classifier" in name'))
injecting(wrong, "a factor without the rest: alpha // rank",
          ("rank, alpha, dropout))", "rank, alpha // rank * rank, dropout))"))
injecting(wrong, "leaves the model in evaluation mode, without dropout in training",
          ("    return found", "    model.eval()\n    return found"))
injecting(wrong, "no error when nothing is found: only the head learns", (NONE_FOUND, ""))
injecting(wrong, "sees that nothing is found only after the whole model is frozen",
          (NONE_FOUND, ""), (FREEZE, FREEZE + NONE_FOUND))
injecting(wrong, "the error does not say which name was not found", ('f"no layer called {targets}"', '"no such layer"'))
injecting(wrong, "another kind of error when nothing is found", ('ValueError(f"no layer', 'KeyError(f"no layer'))
injecting(wrong, "an assert when nothing is found", (NONE_FOUND, "    assert found, targets\n"))
injecting(wrong, "prints and returns when nothing is found", ('        raise ValueError(f"no layer called {targets}")',
          '        print("no layer called", targets)\n        return []'))
injecting(wrong, "a second injection freezes the first without a word", (TWICE, ""))
injecting(wrong, "sees a second injection only for the same targets", (TWICE, ""), (NONE_FOUND, NONE_FOUND +
          "    if any(n + '.lora_A' in model.state_dict() for n in found):\n        raise ValueError('twice')\n"))
injecting(wrong, "sees a second injection after it has frozen the first", (TWICE, ""), (FREEZE, FREEZE + TWICE))
injecting(right, "looks for A by its name, and freezes by part",
          ("isinstance(module, lora.LoRALinear) for module in model.modules()",
           "n.endswith('lora_A') for n, _ in model.named_parameters()"),
          (FREEZE, "    model.requires_grad_(False)\n    model.classifier.requires_grad_(True)\n"))
injecting(right, "with one's own layer of step 1, and parents by getattr",
          ("isinstance(module, lora.LoRALinear)", "isinstance(module, LoRALinear)"),
          (REPLACE, """    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, LoRALinear(getattr(parent, child), rank, alpha, dropout=dropout))
"""))


@wrong("inject_lora", "calls the library's function")
def by_library(model, targets, rank, alpha, dropout=0.0):
    names = lora.target_modules(model, targets)
    lora.inject_lora(model, targets, rank, alpha, dropout)
    return names


@right("inject_lora", "with a recursion over the children, which looks before it changes")
def recursive(model, targets, rank, alpha, dropout=0.0):
    places = []

    def walk(parent, path):
        for child, module in parent.named_children():
            if hasattr(module, "lora_A"):
                raise ValueError("the model has LoRA layers already")
            if isinstance(module, nn.Linear) and child in targets:
                places.append((parent, child, path + child))
            else:
                walk(module, f"{path}{child}.")

    walk(model, "")
    if len(places) == 0:
        raise ValueError("nothing is called " + " or ".join(targets))
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    for parent, child, _ in places:
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha, dropout))
    return [name for _, _, name in places]


@right("inject_lora", "target by target, with an error class of one's own and names as a tuple")
def with_own_error(model, targets, rank, alpha, dropout=0.0):
    class CannotInject(ValueError):
        pass

    modules = dict(model.named_modules())
    for name in modules:
        if type(modules[name]) is lora.LoRALinear:
            raise CannotInject(name)
    places = [name for target in targets for name in modules if name.rpartition(".")[2] == target
              and isinstance(modules[name], nn.Linear)]
    if places == []:
        raise CannotInject(str(targets))
    for parameter in model.parameters():
        parameter.requires_grad = False
    for name in places:
        model.set_submodule(name, lora.LoRALinear(modules[name], rank, alpha, dropout))
    for name, parameter in model.named_parameters():
        if name.split(".")[0] == "classifier":
            parameter.requires_grad = True
    return tuple(places)


# -- adapter_file -----------------------------------------------------------------------------------------------------

CONFIG = """
def adapter_config(model):
    layers = {name: module for name, module in model.named_modules() if isinstance(module, lora.LoRALinear)}
    first = next(iter(layers.values()))
    rank = len(first.lora_A)
    return {"targets": sorted({name.split(".")[-1] for name in layers}), "rank": rank, "alpha": first.scaling * rank,
            "base": lora.base_fingerprint(model)}
"""
SAVE = """
def save_adapter(model):
    tensors = {name: p.detach().half() for name, p in model.named_parameters() if p.requires_grad}
    return artifacts.pack(tensors, adapter_config(model))
"""
LOAD = """
def load_adapter(model, content):
    config, tensors = artifacts.read_artifact(content)
    for key, own in adapter_config(model).items():
        if config.get(key) != own:
            raise ValueError(f"the {key} of this adapter is {config.get(key)}, that of the model is {own}")
    slots = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if set(slots) != set(tensors):
        raise ValueError("other tensors than learn in this model")
    for name, parameter in slots.items():
        parameter.data = tensors[name].to(parameter)
    return model
"""
FILL = """    for name, parameter in slots.items():
        parameter.data = tensors[name].to(parameter)
"""
NAMES = """    if set(slots) != set(tensors):
        raise ValueError("other tensors than learn in this model")
"""
COMPARE = """    for key, own in adapter_config(model).items():
        if config.get(key) != own:
            raise ValueError(f"the {key} of this adapter is {config.get(key)}, that of the model is {own}")
"""


def filing(entries, source, why, *pairs):
    entries.cell("adapter_file", why, changed(source, *pairs))


filing(wrong, CONFIG, "the shape of A the other way round: its width is no rank",
       ("len(first.lora_A)", "first.lora_A.shape[1]"))
filing(wrong, CONFIG, "alpha is the factor alpha / rank", ("first.scaling * rank", "first.scaling"))
filing(wrong, CONFIG, "a target for each layer: they stand there several times",
       ('sorted({name.split(".")[-1] for name in layers})', 'sorted(name.split(".")[-1] for name in layers)'))
filing(wrong, CONFIG, "the targets in the order of the model", ('sorted({name.split(".")[-1] for name in layers})',
       'list(dict.fromkeys(name.split(".")[-1] for name in reversed(layers)))'))
filing(wrong, CONFIG, "whole names as targets", ('name.split(".")[-1]', "name"))
filing(wrong, CONFIG, "the target of the first layer only", ("for name in layers}", "for name in list(layers)[:1]}"))
filing(wrong, CONFIG, "every linear layer is a target", ("for name in layers}",
       "for name, m in model.named_modules() if isinstance(m, nn.Linear)}"))
filing(wrong, CONFIG, "the base is called minilm, whatever its weights are", ("lora.base_fingerprint(model)", '"minilm"'))
filing(wrong, CONFIG, "always rank 8 and alpha 16",
       ('"rank": rank, "alpha": first.scaling * rank', '"rank": 8, "alpha": 16.0'))
filing(wrong, CONFIG, "tells more than was asked for", ('"rank": rank', '"layers": len(layers), "rank": rank'))
filing(wrong, SAVE, "the whole model", (" if p.requires_grad", ""))
filing(wrong, SAVE, "A and B alone: the head stays behind", ("if p.requires_grad", 'if "lora_" in name'))
filing(wrong, SAVE, "LoRA and head by their names: word embeddings that learned stay behind",
       ("if p.requires_grad", 'if "lora_" in name or name.startswith("classifier.")'))
filing(wrong, SAVE, "numbers of 32 bits", (".half()", ".clone()"))
filing(wrong, SAVE, "numbers of 16 bits with 8 for the exponent", (".half()", ".bfloat16()"))
filing(wrong, SAVE, "no config in the file", ("adapter_config(model))", "{})"))
filing(wrong, SAVE, "turns the model's own weights into 16 bits", ("    return", "    model.half()\n    return"))
filing(wrong, SAVE, "freezes what it has saved", ("    return", "    model.requires_grad_(False)\n    return"))
filing(wrong, SAVE, "bytes of another kind: pickled", ("artifacts.pack(tensors, adapter_config(model))",
       "__import__('pickle').dumps((adapter_config(model), tensors))"))
filing(wrong, SAVE, "the tensors, not the file", ("return artifacts.pack(tensors, adapter_config(model))", "return tensors"))
filing(wrong, LOAD, "compares nothing", (COMPARE, ""))
filing(wrong, LOAD, "compares the rank alone",
       ("in adapter_config(model).items():", "in [('rank', adapter_config(model)['rank'])]:"))
filing(wrong, LOAD, "does not look at the base",
       ("if config.get(key) != own:", "if key != 'base' and config.get(key) != own:"))
filing(wrong, LOAD, "does not look at alpha: nothing breaks, and the numbers are wrong",
       ("if config.get(key) != own:", "if key != 'alpha' and config.get(key) != own:"))
filing(wrong, LOAD, "the message does not say what is wrong",
       ('f"the {key} of this adapter is {config.get(key)}, that of the model is {own}"',
       '"this adapter does not fit"'))
filing(wrong, LOAD, "a warning instead of an error", ('raise ValueError(f"the {key}', 'print(f"the {key}'))
filing(wrong, LOAD, "the names are not compared: what the file lacks stays",
       (NAMES, ""), ("in slots.items():", "in [(n, slots[n]) for n in tensors if n in slots]:"))
filing(wrong, LOAD, "does not miss a tensor that the file lacks",
       ("set(slots) != set(tensors)", "set(tensors) - set(slots)"),
       ("in slots.items():", "in [(n, slots[n]) for n in tensors]:"))
filing(wrong, LOAD, "does not see a tensor too many", ("set(slots) != set(tensors)", "set(slots) - set(tensors)"))
filing(wrong, LOAD, "fills in first and compares then", (COMPARE, ""), (NAMES, ""),
       (FILL, FILL.replace("tensors[name]", "tensors.get(name, parameter)") + COMPARE + NAMES))
filing(wrong, LOAD, "a head with another number of classes does not fit",
       ("parameter.data = tensors[name].to(parameter)", "parameter.data.copy_(tensors[name])"))
filing(wrong, LOAD, "the head of the file is left out",
       ("        parameter.data =", "        if 'classifier' not in name:\n            parameter.data ="))
filing(wrong, LOAD, "the parameters have 16 bits afterwards", (".to(parameter)", ""))
filing(wrong, LOAD, "adds the file's numbers to those that are there", ("parameter.data = tensors[name].to(parameter)",
       "parameter.data = tensors[name].to(parameter) + (parameter.data if 'lora_' in name else 0)"))
filing(wrong, LOAD, "works on a copy of the model",
       ("    config, tensors", "    import copy\n    model = copy.deepcopy(model)\n    config, tensors"))
filing(wrong, LOAD, "returns nothing", ("    return model\n", ""))
filing(wrong, LOAD, "leaves the model in evaluation mode", ("return model", "return model.eval()"))
filing(wrong, LOAD, "another kind of error", ("raise ValueError(f", "raise KeyError(f"))
filing(wrong, LOAD, "counts the tensors and does not look at their names",
       ("set(slots) != set(tensors)", "len(slots) != len(tensors)"),
       ("tensors[name].to", "tensors.get(name, parameter).to"))
filing(wrong, LOAD, "looks at the names only while it fills them in", (NAMES, ""), ("        parameter.data =",
       "        if name not in tensors or len(tensors) != len(slots):\n            raise ValueError(name)\n"
       "        parameter.data ="))
filing(right, SAVE, "with the library's copy of what learns",
       ("p.detach().half() for name, p in model.named_parameters() if p.requires_grad",
        "p.half() for name, p in lora.get_adapter(model).items()"))
filing(right, LOAD, "the library puts the tensors in, and compares their names", (NAMES, ""),
       ("    slots = {name: p for name, p in model.named_parameters() if p.requires_grad}\n", ""),
       (FILL, "    lora.set_adapter(model, tensors)\n"))
filing(right, CONFIG, "by the shapes of the parameters", ("len(first.lora_A)", "first.lora_B.shape[-1]"),
       ('sorted({name.split(".")[-1] for name in layers})', 'sorted(set(name.rpartition(".")[2] for name in layers))'))
filing(right, SAVE, "as contiguous copies in a loop",
       ("    tensors = {name: p.detach().half() for name, p in model.named_parameters() if p.requires_grad}",
        "    tensors = {}\n    for name, p in model.named_parameters():\n        if p.requires_grad:\n"
        "            tensors[name] = p.detach().clone().to(torch.float16).contiguous()"))
filing(right, LOAD, "all differences in one message, and the head apart", (COMPARE, """    own = adapter_config(model)
    differing = [key for key in own if key not in config or config[key] != own[key]]
    if differing:
        raise ValueError("not for this model: " + ", ".join(differing))
"""), (FILL, """    with torch.no_grad():
        for name, parameter in slots.items():
            if name.startswith("classifier"):
                parameter.data = tensors[name].float().clone()
            else:
                parameter.copy_(tensors[name])
"""))
right.cell("adapter_file", "a class of errors of one's own, names as sorted lists", """
class DoesNotFit(ValueError):
    def __init__(self, what):
        super().__init__(f"{what} of the file and of the model differ")

def load_adapter(model, content):
    card, stored = artifacts.read_artifact(content)
    here = adapter_config(model)
    for what in ("base", "targets", "rank", "alpha"):
        if card[what] != here[what]:
            raise DoesNotFit(what)
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    if sorted(learning) != sorted(stored):
        raise DoesNotFit("the names")
    for name in learning:
        model.get_parameter(name).data = stored[name].to(torch.float32)
    return model
""")


# -- serve_requests ---------------------------------------------------------------------------------------------------

SERVE = """
def serve_requests(model, adapters, requests, collate, batch_size=16):
    unknown = {name for name, _ in requests} - set(adapters)
    if unknown:
        raise ValueError(f"no adapter {unknown}")
    before, was_training = lora.get_adapter(model), model.training
    answers = [None] * len(requests)
    model.eval()
    for name in dict.fromkeys(name for name, _ in requests):
        lora.set_adapter(model, adapters[name])
        places = [place for place, request in enumerate(requests) if request[0] == name]
        for start in range(0, len(places), batch_size):
            some = places[start : start + batch_size]
            with torch.no_grad():
                logits = model(**collate([requests[place][1] for place in some])).logits
            for place, label in zip(some, logits.argmax(-1).tolist()):
                answers[place] = label
    lora.set_adapter(model, before)
    model.train(was_training)
    return answers
"""
REFUSE = """    unknown = {name for name, _ in requests} - set(adapters)
    if unknown:
        raise ValueError(f"no adapter {unknown}")
"""


def serving(entries, why, *pairs):
    entries.cell("serve_requests", why, changed(SERVE, *pairs))


serving(wrong, "answers in the order of the adapters, not of the requests",
        ("answers = [None] * len(requests)", "answers = []"),
        ("answers[place] = label", "answers.append(label)"))
serving(wrong, "the adapter is never put in", ("        lora.set_adapter(model, adapters[name])\n", ""))
serving(wrong, "the first adapter answers for all", ("adapters[name])\n", "adapters[requests[0][0]])\n"))
serving(wrong, "the last batch, if it is smaller, is left out",
        ("range(0, len(places), batch_size)", "range(0, len(places) - batch_size + 1, batch_size)"))
serving(wrong, "the batches overlap by one row",
        ("some = places[start : start + batch_size]", "some = places[start : start + batch_size + 1]"))
serving(wrong, "one row at a time", ("range(0, len(places), batch_size)", "range(len(places))"),
        ("places[start : start + batch_size]", "places[start : start + 1]"))
serving(wrong, "all rows of an adapter in one batch, whatever batch_size says",
        ("range(0, len(places), batch_size)", "range(min(1, len(places)))"),
        ("places[start : start + batch_size]", "places"))
serving(wrong, "goes through each adapter as often as it is asked for", ("dict.fromkeys(name for name, _ in requests)",
        "[name for name, _ in requests]"))
serving(wrong, "puts the adapter in again for each batch", ("        lora.set_adapter(model, adapters[name])\n", ""),
        ("            some = places", "            lora.set_adapter(model, adapters[name])\n            some = places"))
serving(wrong, "looks at the names in evaluation mode, which stays on after the error",
        (REFUSE, ""), ("    model.eval()\n", "    model.eval()\n" + REFUSE))
serving(wrong, "the model stays in training mode: dropout", ("    model.eval()\n", ""))
serving(wrong, "with gradients", ("torch.no_grad()", "torch.enable_grad()"))
serving(wrong, "the last adapter stays in the model", ("    lora.set_adapter(model, before)\n", ""))
serving(wrong, "evaluation mode stays on", ("    model.train(was_training)\n", ""))
serving(wrong, "training mode is always put on", ("model.train(was_training)", "model.train()"))
serving(wrong, "an unknown name gives a KeyError in the middle", (REFUSE, ""))
serving(wrong, "an unknown name is refused only when its turn comes", (REFUSE, ""),
        ("        lora.set_adapter(model, adapters[name])",
         "        if name not in adapters:\n            raise ValueError(name)\n"
         "        lora.set_adapter(model, adapters[name])"))
serving(wrong, "requests with an unknown name are left out",
        (REFUSE, "    requests = [r for r in requests if r[0] in adapters]\n"))
serving(wrong, "equal rows are taken for the same request",
        ("            for place, label in zip(some, logits.argmax(-1).tolist()):\n"
        "                answers[place] = label\n",
        "            for place, label in zip(some, logits.argmax(-1).tolist()):\n"
        "                answers = [label if r[1] == requests[place][1] else a for a, r in zip(answers, requests)]\n"))
serving(wrong, "the scores, not the class numbers", ("logits.argmax(-1).tolist()", "logits.max(-1).values.tolist()"))
serving(wrong, "the smallest score wins", ("argmax", "argmin"))
serving(wrong, "takes the requests out of the caller's list",
        ("    return answers", "    requests.clear()\n    return answers"))
serving(wrong, "sorts the caller's requests",
        ("    answers = [None]", "    requests.sort(key=lambda request: request[0])\n    answers = [None]"))
serving(wrong, "class numbers with a fraction",
        ("    return answers", "    return [float(answer) for answer in answers] or [0.0]"))
serving(wrong, "keeps the answers of earlier calls", ("    answers = [None] * len(requests)",
        "    global answers\n    answers = globals().get('answers', [])\n    answers[:] = answers + [None] * len(requests)"))
serving(wrong, "the adapter that was there is kept without a copy", ("lora.get_adapter(model), model.training",
        "{n: p.data for n, p in model.named_parameters() if p.requires_grad}, model.training"))
wrong.cell("serve_requests", "calls the library's function", """
def serve_requests(model, adapters, requests, collate, batch_size=16):
    return lora.serve_requests(model, adapters, requests, collate, batch_size)
""")
wrong.cell("serve_requests", "leaves the loop to the library", """
def serve_requests(model, adapters, requests, collate, batch_size=16):
    if {name for name, _ in requests} - set(adapters):
        raise ValueError("unknown")
    before, answers = lora.get_adapter(model), [None] * len(requests)
    for name in {name for name, _ in requests}:
        lora.set_adapter(model, adapters[name])
        places = [i for i, request in enumerate(requests) if request[0] == name]
        logits = evaluation.predict_logits(model, [requests[i][1] for i in places], collate, batch_size)
        for place, label in zip(places, logits.argmax(-1)):
            answers[place] = int(label)
    lora.set_adapter(model, before)
    return answers
""")
serving(right, "inference mode, the names sorted",
        ("dict.fromkeys(name for name, _ in requests)", "sorted({name for name, _ in requests})"),
        ("torch.no_grad()", "torch.inference_mode()"))
serving(right, "puts a copy of the adapter in, without the library",
        ("        lora.set_adapter(model, adapters[name])\n", "        with torch.no_grad():\n"
         "            for key, tensor in adapters[name].items():\n"
         "                model.get_parameter(key).data = tensor.clone()\n"))
serving(right, "answers in a dict by place", ("answers = [None] * len(requests)", "answers = {}"),
        ("    return answers", "    return [answers[place] for place in range(len(requests))]"))
right.cell("serve_requests", "queues by adapter, put back in any case", """
from collections import defaultdict

def serve_requests(model, adapters, requests, collate, batch_size=16):
    queues = defaultdict(list)
    for place, (name, row) in enumerate(requests):
        if name not in adapters:
            raise ValueError(f"who is {name}?")
        queues[name].append((place, row))
    kept, mode, found = lora.get_adapter(model), model.training, np.zeros(len(requests), dtype=int)
    try:
        model.eval()
        with torch.no_grad():
            for name, queue in queues.items():
                lora.set_adapter(model, adapters[name])
                while queue:
                    batch, queue = queue[:batch_size], queue[batch_size:]
                    places, rows = zip(*batch)
                    found[list(places)] = model(**collate(list(rows))).logits.argmax(dim=-1).numpy()
    finally:
        lora.set_adapter(model, kept)
        model.train(mode)
    return found.tolist()
""")
right.cell("serve_requests", "the longest rows first, an array of numbers", """
def predicted(model, rows, collate):
    with torch.no_grad():
        return model(**collate(rows)).logits.argmax(-1)

def serve_requests(model, adapters, requests, collate, batch_size=16):
    if not all(name in adapters for name, _ in requests):
        raise ValueError("no such adapter")
    mode, kept = model.training, lora.get_adapter(model)
    model.eval()
    result = torch.zeros(len(requests), dtype=torch.long)
    for name, tensors in adapters.items():
        places = [i for i in range(len(requests)) if requests[i][0] == name]
        places.sort(key=lambda i: -len(requests[i][1]["input_ids"]))
        if places:
            lora.set_adapter(model, tensors)
        for chunk in torch.tensor(places, dtype=torch.long).split(batch_size) if places else ():
            result[chunk] = predicted(model, [requests[i][1] for i in chunk.tolist()], collate)
    lora.set_adapter(model, kept)
    model.train(mode)
    return result
""")


# -- bottleneck_adapter -----------------------------------------------------------------------------------------------


@wrong("bottleneck_adapter", "without the path around the adapter", name="BottleneckAdapter")
class NoResidual(BottleneckAdapter):
    def forward(self, x):
        return self.up(nn.functional.gelu(self.down(self.base(x))))


@wrong("bottleneck_adapter", "no nonlinearity", name="BottleneckAdapter")
class Straight(BottleneckAdapter):
    def forward(self, x):
        hidden = self.base(x)
        return hidden + self.up(self.down(hidden))


@wrong("bottleneck_adapter", "relu instead of gelu", name="BottleneckAdapter")
class Relu(BottleneckAdapter):
    def forward(self, x):
        hidden = self.base(x)
        return hidden + self.up(torch.relu(self.down(hidden)))


@wrong("bottleneck_adapter", "the nonlinearity behind `up`", name="BottleneckAdapter")
class GeluLast(BottleneckAdapter):
    def forward(self, x):
        hidden = self.base(x)
        return hidden + nn.functional.gelu(self.up(self.down(hidden)))


@wrong("bottleneck_adapter", "`up` starts at random: the model is changed before training", name="BottleneckAdapter")
class RandomStart(nn.Module):
    def __init__(self, base, width):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(base.out_features, width), nn.Linear(width, base.out_features)

    def forward(self, x):
        hidden = self.base(x)
        return hidden + self.up(nn.functional.gelu(self.down(hidden)))


@wrong("bottleneck_adapter", "the bias of `up` starts at random", name="BottleneckAdapter")
class RandomBias(nn.Module):
    def __init__(self, base, width):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(base.out_features, width), nn.Linear(width, base.out_features)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        hidden = self.base(x)
        return hidden + self.up(nn.functional.gelu(self.down(hidden)))


@wrong("bottleneck_adapter", "the base still learns", name="BottleneckAdapter")
class BaseLearns(BottleneckAdapter):
    def __init__(self, base, width):
        super().__init__(base, width)
        self.base.requires_grad_(True)


@right("bottleneck_adapter", "with nn.GELU and an in-between variable", name="BottleneckAdapter")
class WithModule(nn.Module):
    def __init__(self, base, width):
        super().__init__()
        self.base = base
        for parameter in base.parameters():
            parameter.requires_grad = False
        self.down = nn.Linear(base.out_features, width)
        self.up = nn.Linear(width, base.out_features)
        self.act = nn.GELU()
        self.up.weight.data.zero_()
        self.up.bias.data.zero_()

    def forward(self, x):
        h = self.base(x)
        change = self.up(self.act(self.down(h)))
        return h + change


@right("bottleneck_adapter", "`down` starts small", name="BottleneckAdapter")
class SmallStart(BottleneckAdapter):
    def __init__(self, base, width):
        super().__init__(base, width)
        nn.init.normal_(self.down.weight, std=0.01)


wrong.cell("bottleneck_adapter", "is the library's class", "BottleneckAdapter = lora.BottleneckAdapter\n")


@wrong("bottleneck_adapter", "down starts at zero too: nothing but a bias ever learns", name="BottleneckAdapter")
class DownZero(BottleneckAdapter):
    def __init__(self, base, width):
        super().__init__(base, width)
        nn.init.zeros_(self.down.weight)


@wrong("bottleneck_adapter", "no gradient goes through the base", name="BottleneckAdapter")
class BaseDetached(BottleneckAdapter):
    def forward(self, x):
        with torch.no_grad():
            hidden = self.base(x)
        return hidden + self.up(nn.functional.gelu(self.down(hidden)))


@wrong("bottleneck_adapter", "down never learns: its output is detached", name="BottleneckAdapter")
class DownDetached(BottleneckAdapter):
    def forward(self, x):
        hidden = self.base(x)
        return hidden + self.up(nn.functional.gelu(self.down(hidden)).detach())


@wrong("bottleneck_adapter", "no gradient through the path around", name="BottleneckAdapter")
class ResidualDetached(BottleneckAdapter):
    def forward(self, x):
        hidden = self.base(x)
        return hidden.detach() + self.up(nn.functional.gelu(self.down(hidden)))


@wrong("bottleneck_adapter", "silu instead of gelu", name="BottleneckAdapter")
class Silu(BottleneckAdapter):
    def forward(self, x):
        hidden = self.base(x)
        return hidden + self.up(nn.functional.silu(self.down(hidden)))


@wrong("bottleneck_adapter", "gelu twice: behind up as well", name="BottleneckAdapter")
class GeluTwice(BottleneckAdapter):
    def forward(self, x):
        hidden = self.base(x)
        return hidden + nn.functional.gelu(self.up(nn.functional.gelu(self.down(hidden))))


@wrong("bottleneck_adapter", "up is frozen at zero", name="BottleneckAdapter")
class UpFrozen(BottleneckAdapter):
    def __init__(self, base, width):
        super().__init__(base, width)
        self.up.requires_grad_(False)


@wrong("bottleneck_adapter", "without biases", name="BottleneckAdapter")
class NoBiases(BottleneckAdapter):
    def __init__(self, base, width):
        super().__init__(base, width)
        self.down = nn.Linear(base.out_features, width, bias=False)
        self.up = nn.Linear(width, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)


@right("bottleneck_adapter", "with the tanh form of gelu", name="BottleneckAdapter")
class TanhForm(BottleneckAdapter):
    def forward(self, x):
        hidden = self.base(x)
        return self.up(nn.GELU(approximate="tanh")(self.down(hidden))) + hidden


@right("bottleneck_adapter", "gelu by its formula, base frozen weight by weight", name="BottleneckAdapter")
class ByFormula(nn.Module):
    def __init__(self, base, width):
        super().__init__()
        self.base, size = base.eval(), base.weight.shape[0]
        self.down, self.up = nn.Linear(size, width), nn.Linear(width, size)
        with torch.no_grad():
            for parameter in self.up.parameters():
                parameter.fill_(0)
        for parameter in base.parameters():
            parameter.requires_grad_(False)

    def forward(self, x):
        hidden = self.base(x)
        low = self.down(hidden)
        return hidden + self.up(0.5 * low * (1 + torch.erf(low / 2**0.5)))


# -- adapter (the artifact) -------------------------------------------------------------------------------------------


@wrong.artifact("adapter", "the file is cut off")
def cut_off(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("adapter", "the classes are swapped")
def swapped_head(trained):
    from leaplm.artifacts import read_artifact
    return {name: resaved(*read_artifact(content), flip="classifier") for name, content in trained.items()}


@wrong.artifact("adapter", "only the head, trained together with adapters that are missing")
def head_only(trained):
    from leaplm.artifacts import read_artifact
    return {name: resaved(card, {n: t for n, t in tensors.items() if n == "classifier.bias"})
            for name, (card, tensors) in ((n, read_artifact(c)) for n, c in trained.items())}


@wrong.artifact("adapter", "never trained")
def untrained():
    card = {"language": "eng", "labels": ["negative", "positive"],
            "lora": {"targets": ["query", "value"], "rank": 8, "alpha": 16}}
    return {"adapter-cpu.safetensors": resaved(card, {})}


@wrong.artifact("adapter", "over 3 MB: the word embeddings come along")
def too_large(trained):
    import torch
    from leaplm.artifacts import read_artifact
    words = {"bert.embeddings.word_embeddings.weight": torch.zeros(30522, 384)}
    return {name: resaved(card, {**tensors, **words})
            for name, (card, tensors) in ((n, read_artifact(c)) for n, c in trained.items())}


@wrong.artifact("adapter", "a weight of the frozen encoder comes along")
def encoder_weight(trained):
    import torch
    from leaplm.artifacts import read_artifact
    extra = {"bert.encoder.layer.5.output.dense.bias": torch.zeros(384)}
    return {name: resaved(card, {**tensors, **extra})
            for name, (card, tensors) in ((n, read_artifact(c)) for n, c in trained.items())}


@wrong.artifact("adapter", "the card says another rank than the file has")
def other_rank(trained):
    from leaplm.artifacts import read_artifact
    return {name: resaved({**card, "lora": {**card["lora"], "rank": 4}}, tensors)
            for name, (card, tensors) in ((n, read_artifact(c)) for n, c in trained.items())}


@wrong.artifact("adapter", "the card says nothing of LoRA")
def bare_card(trained):
    from leaplm.artifacts import read_artifact
    return {name: resaved({"language": "eng", "labels": card["labels"]}, tensors)
            for name, (card, tensors) in ((n, read_artifact(c)) for n, c in trained.items())}


@wrong.artifact("adapter", "trained at scale tiny only")
def tiny_only(trained):
    return {"adapter-tiny.safetensors": content for content in trained.values()}


@wrong.artifact("adapter", "pickled instead of safetensors")
def pickled():
    import pickle
    return {"adapter-cpu.safetensors": pickle.dumps({"classifier.weight": [[0.0]]})}


@right.artifact("adapter", "saved again by the library: the same tensors in another order")
def saved_again(trained):
    from leaplm.artifacts import read_artifact
    return {name: resaved(*read_artifact(content)) for name, content in trained.items()}


@right.artifact("adapter", "run on a GPU, with 32-bit numbers")
def from_gpu(trained):
    from leaplm.artifacts import read_artifact
    return {"adapter-gpu.safetensors": resaved(*read_artifact(content), full=True) for content in trained.values()}


@right.artifact("adapter", "alpha doubled and B halved: the same update")
def other_alpha(trained):
    from leaplm.artifacts import read_artifact
    return {name: resaved({**card, "lora": {**card["lora"], "alpha": 32}},
                          {n: t / 2 if n.endswith("lora_B") else t for n, t in tensors.items()}, full=True)
            for name, (card, tensors) in ((n, read_artifact(c)) for n, c in trained.items())}


@right.artifact("adapter", "twice the rank: zeros beside the trained directions, and alpha doubled")
def padded_rank(trained):
    import torch
    from leaplm.artifacts import read_artifact

    def pad(name, tensor):
        dim = {"lora_A": 0, "lora_B": 1}.get(name.split(".")[-1])
        return tensor if dim is None else torch.cat([tensor, torch.zeros_like(tensor)], dim=dim)

    return {name: resaved({**card, "lora": {"targets": ["query", "value"], "rank": 16, "alpha": 32}},
                          {n: pad(n, t) for n, t in tensors.items()})
            for name, (card, tensors) in ((n, read_artifact(c)) for n, c in trained.items())}


def resaved(card, tensors, flip=None, full=False):
    """An artifact's bytes again, with the rows of one part reversed, or in 32 bits."""
    import json

    from leaplm.artifacts import CARD, ROWS
    from safetensors.torch import save

    tensors = {name: value.float() if full and not name.endswith(ROWS) else value.half() for name, value in tensors.items()}
    if flip:
        tensors = {n: t.flip(0).contiguous() if n.startswith(flip) else t for n, t in tensors.items()}
    return save(dict(reversed(tensors.items())), metadata={CARD: json.dumps(card)})
