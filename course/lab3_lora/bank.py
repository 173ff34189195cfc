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
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T


@wrong("lora_linear", "multiplies by alpha only", name="LoRALinear")
class OnlyAlpha(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scaling = base.requires_grad_(False), alpha
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "both matrices are zero, so that nothing ever learns", name="LoRALinear")
class BothZero(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.zeros(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "both matrices are random, so that the model is changed before training", name="LoRALinear")
class BothRandom(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.randn(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "the base still learns", name="LoRALinear")
class NotFrozen(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scaling = base, alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "the low-rank term takes the place of the base", name="LoRALinear")
class NoBase(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.scaling * (x @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "plain tensors instead of parameters: no optimizer finds them", name="LoRALinear")
class PlainTensors(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = torch.randn(rank, base.in_features)
        self.lora_B = torch.zeros(base.out_features, rank)

    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.lora_A.T @ self.lora_B.T)


@wrong("lora_linear", "the matrices have exchanged shapes", name="LoRALinear")
class ShapesExchanged(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base.out_features))

    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.lora_A @ self.lora_B)


@right("lora_linear", "with nn.functional.linear, and a small normal start", name="LoRALinear")
class Functional(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base, self.scaling = base, alpha / rank
        for parameter in self.base.parameters():
            parameter.requires_grad = False
        self.lora_A = nn.Parameter(0.01 * torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        low = nn.functional.linear(x, self.lora_A)
        return self.base(x) + nn.functional.linear(low, self.lora_B) * self.scaling


@right("lora_linear", "adds the update to the weights in each call", name="LoRALinear")
class OneMatrix(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
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
    def __init__(self, base, rank, alpha):
        super().__init__(base, rank, alpha)
        self.scaling = alpha // rank


@wrong("lora_linear", "A is not random: all ones", name="LoRALinear")
class Ones(LoRALinear):
    def __init__(self, base, rank, alpha):
        super().__init__(base, rank, alpha)
        nn.init.ones_(self.lora_A)


@wrong("lora_linear", "A is the same in every layer: a seed inside", name="LoRALinear")
class FixedSeed(LoRALinear):
    def __init__(self, base, rank, alpha):
        super().__init__(base, rank, alpha)
        numbers = torch.randn(self.lora_A.shape, generator=torch.Generator().manual_seed(0))
        self.lora_A = nn.Parameter(numbers)


@wrong("lora_linear", "no gradient goes through the base to the layers below", name="LoRALinear")
class BaseWithoutGradient(LoRALinear):
    def forward(self, x):
        with torch.no_grad():
            plain = self.base(x)
        return plain + self.scaling * (x @ self.lora_A.T) @ self.lora_B.T


@wrong("lora_linear", "A learns nothing: its product is detached", name="LoRALinear")
class DetachedA(LoRALinear):
    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.lora_A.T).detach() @ self.lora_B.T


@wrong("lora_linear", "A and B are used without their gradients", name="LoRALinear")
class DataOnly(LoRALinear):
    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.lora_A.data.T) @ self.lora_B.data.T


@wrong("lora_linear", "for batches of sentences only", name="LoRALinear")
class ThreeDimensions(LoRALinear):
    def forward(self, x):
        return self.base(x) + self.scaling * torch.einsum("bsi,ri,or->bso", x, self.lora_A, self.lora_B)


@wrong("lora_linear", "adds the update to the base, again in each call", name="LoRALinear")
class IntoTheBase(LoRALinear):
    def forward(self, x):
        self.base.weight.data += self.scaling * (self.lora_B @ self.lora_A).detach()
        return self.base(x)


@wrong("lora_linear", "needs a base with a bias", name="LoRALinear")
class NeedsBias(LoRALinear):
    def forward(self, x):
        return x @ (self.base.weight + self.scaling * self.lora_B @ self.lora_A).T + self.base.bias.view(-1)


@wrong("lora_linear", "the bias of the base still learns", name="LoRALinear")
class BiasLearns(LoRALinear):
    def __init__(self, base, rank, alpha):
        super().__init__(base, rank, alpha)
        if base.bias is not None:
            base.bias.requires_grad_(True)


@wrong("lora_linear", "dropout that nobody asked for", name="LoRALinear")
class WithDropout(LoRALinear):
    def forward(self, x):
        return self.base(x) + self.scaling * (nn.functional.dropout(x, 0.1) @ self.lora_A.T) @ self.lora_B.T


@wrong("lora_linear", "the base is not kept, so that nothing is left to merge", name="LoRALinear")
class CopiedWeights(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.linear, self.scaling = base.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.linear(x) + self.scaling * (x @ self.lora_A.T) @ self.lora_B.T


@right("lora_linear", "with einsum, A drawn by NumPy, alpha and rank kept", name="LoRALinear")
class Einsum(nn.Module):
    def __init__(self, base, rank, alpha):
        import numpy
        super().__init__()
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
        return self.base(x) + self.scaling * torch.einsum("...i,ri,or->...o", x, self.lora_A, self.lora_B)


right.cell("lora_linear", "with a helper in the cell, and a frozen base in evaluation mode", """\
def down_and_up(x, A, B):
    return nn.functional.linear(nn.functional.linear(x, A), B)

class LoRALinear(nn.Module):
    def __init__(self, base, rank, alpha):
        super(LoRALinear, self).__init__()
        self.base = base.eval()
        for p in self.base.parameters():
            p.requires_grad_(False)
        self.register_parameter("lora_A", nn.Parameter(torch.empty(rank, base.in_features).normal_(std=rank**-0.5)))
        self.register_parameter("lora_B", nn.Parameter(base.weight.new_zeros(base.out_features, rank)))
        self.scaling = float(alpha) / rank

    def forward(self, x):
        out = self.base(x)
        out += self.scaling * down_and_up(x, self.lora_A, self.lora_B)
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


# -- adapter_cost -----------------------------------------------------------------------------------------------------


@wrong("adapter_cost", "counts the whole matrix")
def full_matrix(shapes, rank):
    numbers = sum(outputs * inputs for outputs, inputs in shapes)
    return numbers, 2 * numbers / 1e6


@wrong("adapter_cost", "counts A only")
def only_a(shapes, rank):
    numbers = sum(rank * inputs for _, inputs in shapes)
    return numbers, 2 * numbers / 1e6


@wrong("adapter_cost", "32-bit numbers")
def four_bytes(shapes, rank):
    numbers = sum(rank * (outputs + inputs) for outputs, inputs in shapes)
    return numbers, 4 * numbers / 1e6


@wrong("adapter_cost", "MB of 2 to the 20 bytes")
def binary_megabytes(shapes, rank):
    numbers = sum(rank * (outputs + inputs) for outputs, inputs in shapes)
    return numbers, 2 * numbers / 2**20


@wrong("adapter_cost", "the first layer only")
def first_layer(shapes, rank):
    numbers = rank * sum(shapes[0])
    return numbers, 2 * numbers / 1e6


@right("adapter_cost", "with numpy")
def cost_in_numpy(shapes, rank):
    numbers = rank * int(np.array(shapes).sum())
    return numbers, numbers * 2e-6


@right("adapter_cost", "builds the matrices and counts")
def builds_them(shapes, rank):
    tensors = [torch.zeros(size, dtype=torch.float16) for m, n in shapes for size in ((rank, n), (m, rank))]
    return [sum(t.numel() for t in tensors), sum(t.numel() * t.element_size() for t in tensors) / 1e6]


@wrong("adapter_cost", "counts equal shapes once")
def different_shapes(shapes, rank):
    numbers = sum(rank * (outputs + inputs) for outputs, inputs in set(shapes))
    return numbers, 2 * numbers / 1e6


@wrong("adapter_cost", "takes the layers to be square")
def square(shapes, rank):
    numbers = sum(2 * rank * outputs for outputs, _ in shapes)
    return numbers, 2 * numbers / 1e6


@wrong("adapter_cost", "rounds the size")
def rounded(shapes, rank):
    numbers = sum(rank * (outputs + inputs) for outputs, inputs in shapes)
    return numbers, round(2 * numbers / 1e6, 2)


@wrong("adapter_cost", "the size first")
def other_order(shapes, rank):
    numbers = sum(rank * (outputs + inputs) for outputs, inputs in shapes)
    return 2 * numbers / 1e6, numbers


@wrong("adapter_cost", "calls the library's function")
def counted_by_library(shapes, rank):
    numbers = lora.lora_parameters(shapes, rank)
    return numbers, 2 * numbers / 1e6


@wrong("adapter_cost", "empties the caller's list")
def pops(shapes, rank):
    numbers = 0
    while shapes:
        numbers += rank * sum(shapes.pop())
    return numbers, 2 * numbers / 1e6


@right("adapter_cost", "an array of the two numbers")
def as_one_array(shapes, rank):
    numbers = sum(rank * outputs + inputs * rank for outputs, inputs in shapes)
    return np.array([numbers, numbers * 16 / 8 / 10**6])


@right("adapter_cost", "with torch, and tuples that are added up")
def with_tensor(shapes, rank):
    total = sum((pair + (0,) for pair in shapes), ())
    numbers = torch.tensor(total).sum() * rank
    return numbers, numbers.double() * 2 / 1e6


@right("adapter_cost", "counts the numbers of linear layers that it makes")
def of_layers(shapes, rank):
    layers = [nn.Linear(*size, bias=False) for m, n in shapes for size in ((n, rank), (rank, m))]
    numbers = sum(layer.weight.numel() for layer in layers)
    return numbers, numbers * torch.finfo(torch.float16).bits / 8 / 1e6


# -- inject_lora ------------------------------------------------------------------------------------------------------


@wrong("inject_lora", "freezes after the injection, so that nothing but the head learns")
def freezes_last(model, targets, rank, alpha):
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in targets]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    return found


@wrong("inject_lora", "freezes the head as well")
def freezes_head(model, targets, rank, alpha):
    model.requires_grad_(False)
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in targets]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return found


@wrong("inject_lora", "freezes nothing but the replaced layers")
def freezes_nothing(model, targets, rank, alpha):
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in targets]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return found


@wrong("inject_lora", "the first layer of the encoder only")
def first_layer_only(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [n for n, m in model.named_modules()
             if isinstance(m, nn.Linear) and n.split(".")[-1] in targets and ".layer.0." in n]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return found


@wrong("inject_lora", "every linear layer, whatever targets says")
def every_layer(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and not n.startswith("classifier")]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return found


@wrong("inject_lora", "rank and alpha exchanged")
def exchanged(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in targets]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, rank))
    return found


@wrong("inject_lora", "returns the model instead of the names")
def returns_model(model, targets, rank, alpha):
    return lora.inject_lora(model, targets, rank, alpha)


@wrong("inject_lora", "puts in new random layers instead of the pretrained ones")
def new_layers(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in targets]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        old = getattr(parent, child)
        setattr(parent, child, lora.LoRALinear(nn.Linear(old.in_features, old.out_features), rank, alpha))
    return found


@right("inject_lora", "with a recursion over the children")
def recursive(model, targets, rank, alpha):
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    found = []

    def walk(parent, path):
        for child, module in list(parent.named_children()):
            if isinstance(module, nn.Linear) and child in targets:
                setattr(parent, child, lora.LoRALinear(module, rank, alpha))
                found.append(f"{path}{child}")
            else:
                walk(module, f"{path}{child}.")

    walk(model, "")
    return found


@right("inject_lora", "with one's own layer of exercise 1")
def own_layer(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.split(".")[0] == "classifier"
    found = []
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and any(name.endswith("." + target) for target in targets):
            parent = model
            for part in name.split(".")[:-1]:
                parent = getattr(parent, part)
            setattr(parent, name.split(".")[-1], LoRALinear(module, rank, alpha))
            found.append(name)
    return found


@wrong("inject_lora", "calls the library's function")
def by_library(model, targets, rank, alpha):
    names = lora.target_modules(model, targets)
    lora.inject_lora(model, targets, rank, alpha)
    return names


wrong.cell("inject_lora", "the first of the targets only", """\
solved = inject_lora

def inject_lora(model, targets, rank, alpha):
    return solved(model, targets[:1], rank, alpha)
""")


@wrong("inject_lora", "looks for the targets anywhere in the names")
def in_the_middle(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and any(target in n for target in targets)]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return found


@wrong("inject_lora", "looks for the last part in the targets as one string")
def in_one_text(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in " ".join(targets)]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return found


@wrong("inject_lora", "looks for the targets among all parts of the names")
def any_part(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and set(n.split(".")) & set(targets)]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return found


@wrong("inject_lora", "everything with 'classifier' in its name learns")
def any_classifier(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("classifier" in name)
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in targets]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return found


@wrong("inject_lora", "a factor without the rest: alpha // rank", name="inject_lora")
def whole_scaling(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in targets]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha // rank * rank))
    return found


@wrong("inject_lora", "returns how many were replaced")
def a_count(model, targets, rank, alpha):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in targets]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return len(found)


@wrong("inject_lora", "leaves the model in evaluation mode, without dropout in training")
def evaluates(model, targets, rank, alpha):
    model.eval()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in targets]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return found


@right("inject_lora", "targets as endings, parents by getattr, names as a tuple")
def by_endings(model, targets, rank, alpha):
    from functools import reduce
    endings = tuple(f".{target}" for target in targets)
    found = tuple(name for name, module in model.named_modules() if type(module) is nn.Linear and name.endswith(endings))
    for parameter in model.parameters():
        parameter.requires_grad = False
    for name in found:
        *path, child = name.split(".")
        parent = reduce(getattr, path, model)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    for name, parameter in model.named_parameters():
        if name.startswith("classifier"):
            parameter.requires_grad = True
    return found


@right("inject_lora", "parent by parent, with set_submodule")
def with_set_submodule(model, targets, rank, alpha):
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    found = []
    for target in targets:
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Linear) and name.rpartition(".")[2] == target:
                model.set_submodule(name, lora.LoRALinear(module, rank, alpha))
                found.append(name)
    return found


@wrong("inject_lora", "names that end with a target, though their last part is longer")
def ending_alike(model, targets, rank, alpha):
    model.requires_grad_(False)
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.endswith(tuple(targets))]
    for name in names:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, lora.LoRALinear(model.get_submodule(name), rank, alpha))
    model.classifier.requires_grad_(True)
    return names


# -- choose_rank ------------------------------------------------------------------------------------------------------


@wrong("choose_rank", "the rank with the best mean")
def best_mean(ranks, accuracies):
    return int(ranks[accuracies.mean(dim=1).argmax()])


@wrong("choose_rank", "within one standard deviation of the best, not in pairs (lab 2's rule)")
def unpaired(ranks, accuracies):
    means = accuracies.mean(dim=1)
    best = means.argmax()
    return int(ranks[means >= means[best] - accuracies[best].std(correction=1)].min())


@wrong("choose_rank", "the deviation of the differences instead of their standard error")
def deviation(ranks, accuracies):
    differences = accuracies[accuracies.mean(dim=1).argmax()] - accuracies
    return int(ranks[differences.mean(dim=1) <= differences.std(dim=1)].min())


@wrong("choose_rank", "divides by the number of seeds, not its root")
def by_seeds(ranks, accuracies):
    differences = accuracies[accuracies.mean(dim=1).argmax()] - accuracies
    return int(ranks[differences.mean(dim=1) <= differences.std(dim=1) / accuracies.shape[1]].min())


@wrong("choose_rank", "takes the ranks to be sorted")
def first_good(ranks, accuracies):
    differences = accuracies[accuracies.mean(dim=1).argmax()] - accuracies
    good = differences.mean(dim=1) <= differences.std(dim=1) / accuracies.shape[1] ** 0.5
    return int(ranks[torch.nonzero(good)[0, 0]])


@wrong("choose_rank", "the smallest rank of all")
def smallest(ranks, accuracies):
    return int(ranks.min())


@wrong("choose_rank", "sample standard deviation with the number of seeds")
def population(ranks, accuracies):
    differences = accuracies[accuracies.mean(dim=1).argmax()] - accuracies
    error = differences.std(dim=1, correction=0) / accuracies.shape[1] ** 0.5
    return int(ranks[differences.mean(dim=1) <= error].min())


@right("choose_rank", "with numpy")
def rank_in_numpy(ranks, accuracies):
    table = np.asarray(accuracies)
    differences = table[table.mean(axis=1).argmax()] - table
    error = differences.std(axis=1, ddof=1) / np.sqrt(table.shape[1])
    return int(np.asarray(ranks)[differences.mean(axis=1) <= error].min())


@right("choose_rank", "a loop from the smallest rank up")
def rank_by_loop(ranks, accuracies):
    best = accuracies[accuracies.mean(dim=1).argmax()]
    for i in torch.argsort(ranks):
        difference = best - accuracies[i]
        if difference.mean() <= difference.std() / len(difference) ** 0.5:
            return ranks[i].item()


@wrong("choose_rank", "leaves out a rank that lies exactly at the limit")
def below_the_limit(ranks, accuracies):
    best = accuracies.mean(dim=1).argmax()
    differences = accuracies[best] - accuracies
    good = differences.mean(dim=1) < differences.std(dim=1) / accuracies.shape[1] ** 0.5
    good[best] = True
    return int(ranks[good].min())


@wrong("choose_rank", "always takes four seeds")
def four_seeds(ranks, accuracies):
    differences = accuracies[accuracies.mean(dim=1).argmax()] - accuracies
    return int(ranks[differences.mean(dim=1) <= differences.std(dim=1) / 2].min())


@wrong("choose_rank", "divides by the root of the number of ranks")
def root_of_ranks(ranks, accuracies):
    differences = accuracies[accuracies.mean(dim=1).argmax()] - accuracies
    return int(ranks[differences.mean(dim=1) <= differences.std(dim=1) / len(accuracies) ** 0.5].min())


@wrong("choose_rank", "its place instead of the rank")
def place(ranks, accuracies):
    differences = accuracies[accuracies.mean(dim=1).argmax()] - accuracies
    good = differences.mean(dim=1) <= differences.std(dim=1) / accuracies.shape[1] ** 0.5
    return int(torch.where(good, ranks, 10**6).argmin())


@wrong("choose_rank", "a number with a fraction")
def a_float(ranks, accuracies):
    differences = accuracies[accuracies.mean(dim=1).argmax()] - accuracies
    return float(ranks[differences.mean(dim=1) <= differences.std(dim=1) / accuracies.shape[1] ** 0.5].min())


@wrong("choose_rank", "subtracts in the caller's table")
def in_the_table(ranks, accuracies):
    best = accuracies[accuracies.mean(dim=1).argmax()].clone()
    accuracies -= best
    accuracies *= -1
    return int(ranks[accuracies.mean(dim=1) <= accuracies.std(dim=1) / accuracies.shape[1] ** 0.5].min())


@right("choose_rank", "with pandas")
def rank_in_pandas(ranks, accuracies):
    table = pd.DataFrame(accuracies.numpy(), index=ranks.tolist()).sort_index()
    differences = table.loc[table.mean(axis=1).idxmax()] - table
    return differences.index[differences.mean(axis=1) <= differences.sem(axis=1)].min()


@right("choose_rank", "with the module statistics, in lists")
def rank_in_lists(ranks, accuracies):
    from statistics import mean, stdev
    rows = accuracies.tolist()
    best = max(rows, key=mean)
    fitting = []
    for rank, row in zip(ranks.tolist(), rows):
        differences = [a - b for a, b in zip(best, row)]
        if mean(differences) <= stdev(differences) / len(row) ** 0.5:
            fitting.append(rank)
    return min(fitting)


@right("choose_rank", "the rank as a tensor with one number")
def rank_as_tensor(ranks, accuracies):
    differences = accuracies[accuracies.mean(1).argmax()] - accuracies
    error = (differences.var(1) / accuracies.size(1)).sqrt()
    return torch.masked_select(ranks, differences.mean(1) <= error).min()


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


# -- score_answers ----------------------------------------------------------------------------------------------------


@wrong("score_answers", "repairs the answers before it counts")
def repairs(answers, labels, names):
    answers = [answer.strip(" .\n").lower() for answer in answers]
    return (float(np.mean([a in names for a in answers])),
            float(np.mean([a == names[y] for a, y in zip(answers, labels)])))


@wrong("score_answers", "looks for a name anywhere in the answer")
def looks_inside(answers, labels, names):
    return (float(np.mean([any(name in a for name in names) for a in answers])),
            float(np.mean([names[y] in a for a, y in zip(answers, labels)])))


@wrong("score_answers", "accuracy among the well-formed answers only")
def among_formed(answers, labels, names):
    kept = [(a, y) for a, y in zip(answers, labels) if a in names]
    return len(kept) / len(answers), float(np.mean([a == names[y] for a, y in kept]))


@wrong("score_answers", "counts instead of shares")
def counts(answers, labels, names):
    return sum(a in names for a in answers), sum(a == names[y] for a, y in zip(answers, labels))


@wrong("score_answers", "cuts off white space at the ends")
def strips(answers, labels, names):
    answers = [answer.strip() for answer in answers]
    return (float(np.mean([a in names for a in answers])),
            float(np.mean([a == names[y] for a, y in zip(answers, labels)])))


@wrong("score_answers", "looks for the answer in the names as one string")
def in_one_string(answers, labels, names):
    return (float(np.mean([a in " ".join(names) for a in answers])),
            float(np.mean([a == names[y] for a, y in zip(answers, labels)])))


@right("score_answers", "with numpy")
def score_in_numpy(answers, labels, names):
    answers, wanted = np.array(answers, dtype=object), np.array(names, dtype=object)[labels]
    return float(np.isin(answers.astype(str), names).mean()), float((answers == wanted).mean())


@right("score_answers", "with the position of the name")
def by_position(answers, labels, names):
    numbers = [names.index(a) if a in names else -1 for a in answers]
    return [sum(n >= 0 for n in numbers) / len(numbers), float(np.mean(np.array(numbers) == np.array(labels)))]


@wrong("score_answers", "calls the library's function")
def score_by_library(answers, labels, names):
    from leaplm.peft.instruction_tuning import score_answers
    return score_answers(answers, labels, names)


@wrong("score_answers", "small and capital letters are the same")
def any_case(answers, labels, names):
    answers, names = [a.casefold() for a in answers], [n.casefold() for n in names]
    return (float(np.mean([a in names for a in answers])),
            float(np.mean([a == names[y] for a, y in zip(answers, labels)])))


@wrong("score_answers", "the first word only")
def first_word(answers, labels, names):
    answers = [(a.split() or [""])[0] for a in answers]
    return (float(np.mean([a in names for a in answers])),
            float(np.mean([a == names[y] for a, y in zip(answers, labels)])))


@wrong("score_answers", "answers that begin with a name")
def begins(answers, labels, names):
    return (float(np.mean([a.startswith(tuple(names)) for a in answers])),
            float(np.mean([a.startswith(names[y]) for a, y in zip(answers, labels)])))


@wrong("score_answers", "class 0 never counts as right")
def class_zero(answers, labels, names):
    return (float(np.mean([a in names for a in answers])),
            float(np.mean([bool(y) and a == names[y] for a, y in zip(answers, labels)])))


@wrong("score_answers", "equal answers once")
def different_answers(answers, labels, names):
    pairs = set(zip(answers, labels))
    return (float(np.mean([a in names for a, _ in pairs])), float(np.mean([a == names[y] for a, y in pairs])))


@wrong("score_answers", "the other order")
def right_first(answers, labels, names):
    return (float(np.mean([a == names[y] for a, y in zip(answers, labels)])),
            float(np.mean([a in names for a in answers])))


@right("score_answers", "as a tensor of two numbers, in 32 bits")
def as_tensor(answers, labels, names):
    rows = [(a in names, a == names[y]) for a, y in zip(answers, labels)]
    return torch.tensor(rows).float().mean(dim=0)


right.cell("score_answers", "with a helper, a set and a Counter of pairs", """\
from collections import Counter

def share(part, whole):
    return part / whole

def score_answers(answers, labels, names):
    known, pairs = frozenset(names), Counter(zip(answers, labels))
    formed = sum(number for (answer, _), number in pairs.items() if answer in known)
    hits = sum(number for (answer, label), number in pairs.items() if answer == names[label])
    return [share(formed, len(answers)), np.float32(share(hits, len(answers)))]
""")


@wrong("score_answers", "the beginning of the right name counts as right")
def beginnings(answers, labels, names):
    formed = [answer in names for answer in answers]
    right = [good and names[label].startswith(answer) for good, answer, label in zip(formed, answers, labels)]
    return sum(formed) / len(answers), sum(right) / len(answers)


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
