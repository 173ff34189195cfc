"""Bank of lab 3: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (np, pd, artifacts, ...); classes need theirs here.
"""

import torch
from leaplm.grading.judge.banks import right, wrong
from leaplm.peft import lora
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
        self.base, self.rank, self.alpha = base.requires_grad_(False), rank, alpha
        self.lora_A = nn.Parameter(torch.rand(rank, base.in_features) - 0.5)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        weight = self.base.weight + self.alpha / self.rank * self.lora_B @ self.lora_A
        return nn.functional.linear(x, weight, self.base.bias)


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


@right("inject_lora", "with the library")
def by_library(model, targets, rank, alpha):
    names = lora.target_modules(model, targets)
    lora.inject_lora(model, targets, rank, alpha)
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


# -- bottleneck_adapter -----------------------------------------------------------------------------------------------


@wrong("bottleneck_adapter", "without the path around the adapter", name="BottleneckAdapter")
class NoResidual(lora.BottleneckAdapter):
    def forward(self, x):
        return self.up(nn.functional.gelu(self.down(self.base(x))))


@wrong("bottleneck_adapter", "no nonlinearity", name="BottleneckAdapter")
class Straight(lora.BottleneckAdapter):
    def forward(self, x):
        hidden = self.base(x)
        return hidden + self.up(self.down(hidden))


@wrong("bottleneck_adapter", "relu instead of gelu", name="BottleneckAdapter")
class Relu(lora.BottleneckAdapter):
    def forward(self, x):
        hidden = self.base(x)
        return hidden + self.up(torch.relu(self.down(hidden)))


@wrong("bottleneck_adapter", "the nonlinearity behind `up`", name="BottleneckAdapter")
class GeluLast(lora.BottleneckAdapter):
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
class BaseLearns(lora.BottleneckAdapter):
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
class SmallStart(lora.BottleneckAdapter):
    def __init__(self, base, width):
        super().__init__(base, width)
        nn.init.normal_(self.down.weight, std=0.01)


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


@right("score_answers", "with the library")
def score_by_library(answers, labels, names):
    from leaplm.peft.instruction_tuning import score_answers
    return score_answers(answers, labels, names)


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
