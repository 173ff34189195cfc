"""Checks of lab 3, LoRA and its relatives. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
import torch
from leaplm import artifacts, data, evaluation, marking, models
from leaplm.calibration import prediction_bound
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Contract,
    ListOf,
    Number,
    Object,
    Several,
    StudentError,
    Tensor,
    Text,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, standing, tiny_models
from leaplm.grading.judge.remembered import class_scores
from leaplm.peft import instruction_tuning as answers
from leaplm.peft import lora
from torch import nn

CLOSE = 1e-4
LIMIT_MB = 3.0
PLACES = {"query", "key", "value", "dense"}  # where the judge puts LoRA into its own MiniLM
PROBES, MODELS = "leaplm.grading.judge.probes:", "leaplm.grading.judge.tiny_models:"

# A module is made from a base, which it may freeze; what it gives must let gradients through to x.
MADE = {"returns": Object("Module"), "random": FREE, "mode": "any", "leaves": "frozen"}
RUN = Contract("x", Tensor("float"), gradient="x", random=FREE)


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


def mark(points, wrong, core, praise):
    """One point less for each part that is wrong, when the core of the answer is right."""
    return max(points - len(wrong), 1), f"{core}; look at {'; '.join(wrong)}" if wrong else praise


def misshapen(state, shapes):
    """What is said of the first parameter that is missing or misshapen, or None. shapes: {name: (shape, in words)}."""
    for name, (shape, words) in shapes.items():
        if name not in state or state[name].shape != shape:
            return f"`{name}` is missing or has another shape: it should be a parameter of {words}"
    return None


def outputs_for(student, layer, rng, inputs):
    """Inputs of one, two and three dimensions, and what a layer gives for each."""
    xs = [rng.normal(size=(*size, inputs)).astype(np.float32) for size in ((2, 4), (3,), ())]
    return xs, [as_array(student.call(layer, x), (*x.shape[:-1], None), "the output") for x in xs]


def all_close(got, want):
    return all(a.shape == b.shape and close(a, b) for a, b in zip(got, want, strict=True))


def is_random(first, second):
    """Whether two matrices look drawn at random: each varies along both dimensions, and the two differ."""
    return all(np.ptp(first, axis=axis).all() for axis in (0, 1)) and not np.array_equal(first, second)


def same_flow(got, want):
    """Whether gradients by name are those wanted."""
    return all(name in got and close(got[name], value) for name, value in want.items())


@check(points=4, contract={"LoRALinear": Contract("base rank alpha", **MADE), "LoRALinear()": RUN})
def lora_linear(student, rng):
    """The formula on random A and B (the core), the start, what learns; with a bias, and without."""
    wrong = {}
    for bias in (True, False):
        problem, parts = judge_lora(student, rng, bias)
        if problem:
            return 0, problem
        wrong |= {name: None for name, good in parts.items() if not good}
    return mark(4, list(wrong), "the formula is right", "the layer starts and computes as LoRA")


def judge_lora(student, rng, bias):
    """(what is wrong with the core or None, {part: whether it is right}) for one base."""
    inputs, outputs, rank = (int(n) for n in rng.permutation([3, 5, 8]))
    alpha, seed = rank * int(rng.integers(3)) + int(rng.integers(1, rank)), int(rng.integers(10**6))  # no multiple of rank
    layer, other = (student.call("LoRALinear", student.build(f"{PROBES}linear", inputs, outputs, seed, bias), rank, alpha)
                    for _ in range(2))  # fmt: skip
    state = student.read(layer, f"{PROBES}state_dict")
    shapes = {"lora_A": ((rank, inputs), "the shape (rank, in_features)"),
              "lora_B": ((outputs, rank), "the shape (out_features, rank)"),
              "base.weight": ((outputs, inputs), "the layer `base` that it is made from")}
    if problem := misshapen(state, shapes):
        return problem, {}
    ours = lora.LoRALinear(probes.linear(inputs, outputs, seed, bias), rank, alpha)
    xs, start = outputs_for(student, layer, rng, inputs)
    at_start = all_close(start, probes.on_each(ours, xs)) and not state["lora_B"].any()
    drawn = is_random(state["lora_A"], student.read(other, f"{PROBES}state_dict")["lora_A"])
    learns = set(student.read(layer, f"{PROBES}trainable"))
    student.read(layer, f"{PROBES}randomize", "lora_", seed)
    probes.randomize(ours, "lora_", seed)
    for _ in range(2):  # a layer that adds the update to its base is right once
        xs, after = outputs_for(student, layer, rng, inputs)
        if not all_close(after, probes.on_each(ours, xs)):
            return "with random A and B the output is not base(x) + alpha / rank * B A x", {}
    flow = student.read(layer, f"{PROBES}gradients_of_sum", xs[0])
    want = probes.gradients_of_sum(ours, torch.from_numpy(xs[0]))
    scaling = student.read(layer, f"{PROBES}attribute", "scaling")
    return None, {
        "the start of B: zeros, so that the output is that of the base": at_start,
        "the start of A: random numbers, others in each layer": drawn,
        "what learns: lora_A and lora_B, and nothing else": learns == {"lora_A", "lora_B"},
        "the gradients of A, B and x: is something in `forward` detached, or under `no_grad`?": same_flow(flow, want),
        "the attribute `scaling`, the number alpha / rank": scaling is not None and close(as_number(scaling), alpha / rank),
    }


MERGE = {"merge": Contract("layer", Object("Linear"), random=FREE, own="leaplm.peft.lora.merge_model"),
         "merge()": Contract("x", Tensor("float"))}


@check(points=3, contract=MERGE)
def merge(student, rng):
    """The library's layer with random A and B, with and without bias, and one as wide as high."""
    good = 0
    for bias, sizes in ((True, [4, 6, 2]), (True, [5, 5, 1]), (False, [4, 6, 2])):
        inputs, outputs, rank = sizes if bias else (int(n) for n in rng.permutation(sizes))
        settings = {"alpha": float(rng.integers(5, 30)), "seed": int(rng.integers(10**6)), "bias": bias}
        layer = student.build(f"{PROBES}lora_linear", inputs, outputs, rank, **settings)
        try:
            merged = student.call("merge", layer)
        except StudentError as error:
            if bias:
                raise
            return 1, f"right with a bias; without one: {error}"
        want = probes.state_dict(lora.merge(probes.lora_linear(inputs, outputs, rank, **settings)))
        got = {"bias": np.zeros(outputs), **student.read(merged, f"{PROBES}state_dict")}  # a bias of zeros is none
        want = {"bias": np.zeros(outputs), **want}
        right = set(got) == set(want) and all(got[name].shape == want[name].shape and close(got[name], want[name])
                                              for name in want)  # fmt: skip
        x = rng.normal(size=(3, inputs)).astype(np.float32)
        right = right and close(as_array(student.call(merged, x), (3, outputs), "the output"),
                                x @ want["weight"].T + want["bias"])
        if bias and not right:
            return 0, "the weights differ from W + scaling * B A, or the bias is not that of the base"
        good += right
    if good == 3:
        return 3, "the merged layer computes the same"
    return 1, "right with a bias; wrong where the base has none"


COST = Contract("shapes rank", Several(Number(), Number()), random=FREE, own="leaplm.peft.lora.lora_parameters")


@check(points=2, contract=COST)
def adapter_cost(student, rng):
    """Some shapes occur twice, some are square; one layer alone, and one smaller than the rank."""
    shapes = [tuple(int(n) for n in rng.integers(10, 2000, size=2)) for _ in range(4)]
    side, rank = int(rng.integers(10, 2000)), int(rng.integers(2, 40))
    cases = [(shapes + shapes[:2] + [(side, side)], rank), (shapes[:1], 1), ([(2, side), (side, 3)], rank + 3)]
    results = [student.call("adapter_cost", *case) for case in cases]
    counts = [as_number(numbers, "adapter_cost") for numbers, _ in results]
    sizes = [as_number(megabytes, "adapter_cost") for _, megabytes in results]
    want = [lora.lora_parameters(*case) for case in cases]
    if counts != want:
        return 0, "the count differs: A has rank x in numbers and B has out x rank, for each layer"
    if not np.allclose(sizes, 2e-6 * np.array(want), rtol=1e-6, atol=0):
        return 1, "the count is right; a 16-bit number has 2 bytes, and 1 MB is 1,000,000 bytes here"
    return 2, "count and size are right"


INJECT = Contract("model targets rank alpha", ListOf(Text()), changes="model", random=FREE, leaves="frozen",
                  own="leaplm.peft.lora.inject leaplm.peft.lora.inject_adapters")


@check(points=4, contract=INJECT)
def inject_lora(student, rng):
    """A tiny BERT, then a model with similar names: what is replaced, what learns, the logits before and after."""
    of_bert = [["query", "value"], ["key"], ["dense", "key"], ["query", "dense"]][int(rng.integers(4))]
    of_similar = rng.permutation(["key", *rng.permutation(["query", "value"])[: int(rng.integers(1, 3))]]).tolist()
    wrong = {}
    for make, settings, targets in (("tiny_classifier", {"layers": 2, "initializer_range": 0.3}, of_bert),
                                    ("similar_names", {}, of_similar)):  # fmt: skip
        problem, parts = judge_injection(student, rng, make, settings, targets)
        if problem:
            return 0, problem
        wrong |= {name: None for name, good in parts.items() if not good}
    points = 4 if LEARNS not in wrong else 3  # what learns is the point of it all: two points
    return mark(points, list(wrong), "LoRA is in the right places", "right places, right freezing")


LEARNS = "what learns: A and B of the new layers, and the classifier"


def judge_injection(student, rng, make, settings, targets):
    """(what is wrong with the core or None, {part: whether it is right}) for one model."""
    rank, seed = int(rng.integers(2, 5)), int(rng.integers(10**6))
    alpha = rank * int(rng.integers(1, 3)) + 1
    ours = getattr(tiny_models, make)(seed=seed, **settings)
    model = student.build(f"{MODELS}{make}", seed=seed, **settings)
    names = lora.target_modules(ours, targets)
    batch = {"input_ids": rng.integers(5, 60, size=(3, 7))}
    start = probes.logits(ours, **batch)
    returned = student.call("inject_lora", model, targets, rank, alpha)
    state = student.read(model, f"{PROBES}state_dict")
    if {name for name in state if name.endswith("lora_A")} != {f"{name}.lora_A" for name in names}:
        return "other layers should get LoRA: each nn.Linear whose name's last part is one of the targets, and no other", {}
    if not close(student.read(model, f"{PROBES}logits", **batch), start):
        return "before the first update the model should give the logits it gave without LoRA", {}
    learns = set(student.read(model, f"{PROBES}trainable"))
    expected = {f"{name}.lora_{ab}" for name in names for ab in "AB"} | {"classifier.weight", "classifier.bias"}
    lora.inject_lora(ours, targets, rank, alpha)
    probes.randomize(ours, "lora_", seed)
    student.read(model, f"{PROBES}randomize", "lora_", seed)
    same = close(student.read(model, f"{PROBES}logits", **batch), probes.logits(ours, **batch))
    return None, {LEARNS: learns == expected,
                  "the output with random A and B (rank and alpha handed on?)": same,
                  "the list of names that is returned": sorted(map(str, returned)) == sorted(names)}


@check(points=2, contract=Contract("ranks accuracies", Number(whole=True), arrays="float64"))
def choose_rank(student, rng):
    """Many random tables of ranks that share their seeds' luck, in random order; 2 to 6 ranks, 2 to 5 seeds."""
    good = 0
    for case in range(40):
        ranks, accuracies = rank_table(rng, case)
        got = as_number(student.call("choose_rank", ranks, accuracies), "choose_rank")
        differences = accuracies[accuracies.mean(axis=1).argmax()] - accuracies
        error = differences.std(axis=1, ddof=1) / np.sqrt(accuracies.shape[1])
        margins = np.abs(differences.mean(axis=1) - error)[differences.any(axis=1)]
        near = case not in EXACT and margins.min(initial=1) < 1e-6  # rounding may decide
        good += near or got == ranks[differences.mean(axis=1) <= error].min()
    if good == 40:
        return 2, "the smallest rank that is not clearly worse than the best"
    return 0, "another rank fits the rule: differences to the best, seed by seed; their mean against their standard error"


EXACT = (3, 4)  # cases in which the mean of the differences is exactly their standard error


def rank_table(rng, case):
    """Ranks (r,) and accuracies (r, seeds)."""
    if case in EXACT:  # differences 0, 0, 0, d: mean d/4, standard error d/4, in numbers that computers hold exactly
        ranks = rng.permutation([1, 4, 16])
        accuracies = np.full((3, 4), 0.75)
        accuracies[ranks == 1, 3], accuracies[ranks == 16] = 0.625, 0.5
        return ranks, accuracies
    size, seeds = (5, 4) if case < 3 else (int(rng.integers(2, 7)), int(rng.integers(2, 6)))
    ranks = rng.permutation([1, 2, 4, 8, 16, 32])[:size]
    luck = rng.normal(scale=0.03, size=(1, seeds))
    accuracies = 0.8 + rng.normal(scale=0.006, size=(size, 1)) + luck + rng.normal(scale=0.008, size=(size, seeds))
    if case < 3:  # the smallest rank lies 0.93 standard errors below the best: 1.07 of the kind that divides by n
        smallest = ranks.argmin()
        accuracies = 0.6 + rng.normal(scale=0.002, size=(5, 4))
        accuracies[(smallest + 1) % 5] = 0.8 + luck
        accuracies[smallest] = 0.8 + luck - 0.01 * (0.93 + np.sqrt(3) * rng.permutation([-1, -1, 1, 1]))
    return ranks, accuracies


@check(points=3, contract={"BottleneckAdapter": Contract("base width", **MADE), "BottleneckAdapter()": RUN})
def bottleneck_adapter(student, rng):
    """The formula on random weights (1 point), identity at the start, and what learns; with a bias, and without."""
    wrong = {}
    for bias in (True, False):
        problem, parts = judge_bottleneck(student, rng, bias)
        if problem:
            return 0, problem
        wrong |= {name: None for name, good in parts.items() if not good}
    return mark(3, list(wrong), "the formula is right", "harmless at the start, and right after")


def judge_bottleneck(student, rng, bias):
    """(what is wrong with the core or None, {part: whether it is right}) for one base."""
    inputs, outputs, width = (int(n) for n in rng.permutation([3, 6, 9]))
    seed = int(rng.integers(10**6))
    layer, other = (student.call("BottleneckAdapter", student.build(f"{PROBES}linear", inputs, outputs, seed, bias), width)
                    for _ in range(2))  # fmt: skip
    state = student.read(layer, f"{PROBES}state_dict")
    shapes = {"down.weight": ((width, outputs), "an nn.Linear, out_features -> width"),
              "down.bias": ((width,), "an nn.Linear with a bias"),
              "up.weight": ((outputs, width), "an nn.Linear, width -> out_features"),
              "up.bias": ((outputs,), "an nn.Linear with a bias"),
              "base.weight": ((outputs, inputs), "the layer `base` that it is made from")}
    if problem := misshapen(state, shapes):
        return problem, {}
    ours = lora.BottleneckAdapter(probes.linear(inputs, outputs, seed, bias), width)
    xs, start = outputs_for(student, layer, rng, inputs)
    at_start = all_close(start, probes.on_each(ours.base, xs)) and not (state["up.weight"].any() or state["up.bias"].any())
    drawn = is_random(state["down.weight"], student.read(other, f"{PROBES}state_dict")["down.weight"])
    learns = set(student.read(layer, f"{PROBES}trainable"))
    for part in ("down.", "up."):
        student.read(layer, f"{PROBES}randomize", part, seed)
        probes.randomize(ours, part, seed)
    xs, after = outputs_for(student, layer, rng, inputs)
    flow, x = student.read(layer, f"{PROBES}gradients_of_sum", xs[0]), torch.from_numpy(xs[0])
    forms = [with_gelu(ours, form) for form in ("none", "tanh")]  # both are called gelu
    fitting = [form for form in forms if all_close(after, probes.on_each(form, xs))]
    if not fitting:
        return "with random weights the output is not h + up(gelu(down(h))) with h = base(x)", {}
    flows = any(same_flow(flow, {name.removeprefix("layer."): value
                                 for name, value in probes.gradients_of_sum(form, x).items()}) for form in fitting)
    return None, {
        "the start, where the output should be base(x)": at_start,
        "what learns: down and up, not the base": learns == set(shapes) - {"base.weight"},
        "the start of down: random weights, as nn.Linear has them": drawn,
        "the gradients of down, up and x: is something in `forward` detached, or under `no_grad`?": flows,
    }


def with_gelu(layer, approximate):
    """The layer's own parameters in the adapter's formula with one form of gelu."""

    class Adapter(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            hidden = layer.base(x)
            return hidden + layer.up(nn.functional.gelu(layer.down(hidden), approximate=approximate))

    return Adapter()


CLASSES = (["negative", "positive"], ["good", "goods", "mixed"], ["Négatif", "Positif"], ["ሰላም", "Ƙasa", "ọkọ̀"])
FORMS = ("{}", "{}", "{}", "{}.", " {}", "It is {}", "{}\n", "", "tive", "{} {}", "{} text", "'{}'", "SAME")


@check(points=2, contract=Contract("answers labels names", Several(Number(), Number())))
def score_answers(student, rng):
    """Answers of many forms: exact, other capitals, a full stop, a sentence, part of a name, empty; then one alone."""
    good = np.array([True, True])
    for names in CLASSES:
        labels = rng.integers(len(names), size=40).tolist()
        told = [names[int(rng.integers(len(names)))] for _ in labels]
        texts = [FORMS[int(rng.integers(len(FORMS)))].format(name, name) for name in told]
        texts = [name.swapcase() if text == "SAME" else text for text, name in zip(texts, told, strict=True)]
        texts[:4] = [names[labels[0]], names[labels[1]].swapcase(), names[labels[2] - 1], " " + names[labels[3]]]
        labels[4:7], texts[4:7] = [0, len(names) - 1, 1], [names[0], names[-1], names[0]]  # "good" is no "goods"
        for some, right in ((texts, labels), (texts[:1], labels[:1])):
            got = [as_number(value, "score_answers") for value in student.call("score_answers", some, right, names)]
            good &= np.isclose(got, answers.score_answers(some, right, names), rtol=1e-4)
    if good.all():
        return 2, "strict, and out of all answers"
    wrong = "the share of right answers" if good[0] else "the share of well-formed answers"
    return int(good.sum()), f"{wrong} differs: only an exact class name counts, and the share is of all answers"


@check(points=6, seconds=120, contract=NOTHING_CALLED)
def adapter(student, rng):
    """The saved adapter on held-out texts: full points from the calibrated mean minus three deviations."""
    content = first_artifact(student, ("adapter-gpu.safetensors", "adapter-cpu.safetensors"))
    if len(content) > LIMIT_MB * 1e6:
        return 0, f"the file has {len(content) / 1e6:.1f} MB; an adapter may have at most {LIMIT_MB:g} MB"
    try:
        card, tensors = artifacts.read_artifact(content)
        language, labels = card.get("language"), card.get("labels")
        heldout = data.heldout_rows(language)
        if labels != heldout.features["label"].names:
            return 0, f"the classes of the artifact are not those of language {language!r}"
        if not lora.only_adapters(tensors):
            return 0, "the file holds weights of the frozen model: only LoRA, head and word embeddings belong into it"
        model = with_places(models.load_sequence_classifier(labels), card.get("lora"))
        artifacts.apply_artifact(model, tensors)
    except (ValueError, KeyError, TypeError) as error:
        return 0, f"the artifact cannot be used: {error}"
    return judge_classifier(model, heldout, language)


def with_places(model, settings):
    """LoRA as the card describes it, with B zero everywhere: a tensor that the file lacks changes nothing."""
    if not isinstance(settings, dict) or {"targets", "rank", "alpha"} - set(settings):
        raise ValueError("its card should say where LoRA stands: targets, rank and alpha")
    targets, rank, alpha = settings["targets"], settings["rank"], settings["alpha"]
    if not (isinstance(targets, list) and targets and set(targets) <= PLACES):
        raise ValueError(f"its card should name targets among {', '.join(sorted(PLACES))}")
    if type(rank) is not int or not 1 <= rank <= lora.MAX_RANK or not 0 < float(alpha) <= 1024:
        raise ValueError(f"its card should have a rank from 1 to {lora.MAX_RANK} and an alpha above 0")
    return lora.inject_lora(model, targets, rank, float(alpha))


def judge_classifier(model, heldout, language):
    """Macro-F1, so that 'always neutral', right for six in ten Swahili tweets, earns nothing.

    Half the points ask for clearly more than the better of two ways to know nothing: the majority class, and guessing.
    """
    tokenizer = models.load_tokenizer()
    rows, labels = data.tokenize(heldout, tokenizer, max_length=64), np.array(heldout["label"])
    collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
    predictions = class_scores(model, language, rows, collate).argmax(-1)
    score = evaluation.macro_f1(labels, predictions)
    majority = evaluation.macro_f1(labels, evaluation.majority_baseline(labels, labels))
    ignorant = max(majority, 1 / len(heldout.features["label"].names))
    record = marking.runs("lab3_lora", language)["heldout_macro_f1"]
    if not len(record):
        return 0, f"there is no record for language {language!r} yet: `leaplm add-language` makes one"
    wanted, told = max(ignorant + 0.02, prediction_bound(record)), f"macro-F1 {score:.3f} on {len(labels)} held-out texts"
    standing.note("macro-F1", score, wanted, record)
    if score >= wanted:
        return 6, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1)
    if low > ignorant:
        return 3, f"{told}: clearly above what guessing gives ({ignorant:.3f}), below the {wanted:.3f} that was wanted"
    return 0, f"{told}: not clearly above what guessing gives ({ignorant:.3f})"
