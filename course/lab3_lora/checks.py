"""Checks of lab 3, LoRA and its relatives. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
import torch
from leaplm import artifacts, data, evaluation, models
from leaplm.calibration import load_record
from leaplm.grading import StudentError, as_array, as_number, check, first_artifact
from leaplm.grading.judge import probes
from leaplm.grading.sandbox.values import Ref
from leaplm.peft import lora

CLOSE = 1e-4
LIMIT_MB = 3.0
PLACES = {"query", "key", "value", "dense"}  # where the judge puts LoRA into its own MiniLM


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


def is_module(value):
    return isinstance(value, Ref)


def mark(points, wrong, core, praise):
    """One point less for each part that is wrong, when the core of the answer is right."""
    return points - len(wrong), f"{core}; look at {'; '.join(wrong)}" if wrong else praise


@check(points=4)
def lora_linear(student, rng):
    """The formula on random A and B (2 points), the start, and what learns."""
    inputs, outputs, rank = (int(n) for n in rng.permutation([3, 5, 8]))
    alpha, seed = float(rng.integers(1, 30)), int(rng.integers(10**6))
    base = student.build("leaplm.grading.judge.probes:linear", inputs, outputs, seed)
    layer = student.call("LoRALinear", base, rank, alpha)
    if not is_module(layer):
        return 0, "LoRALinear should be a class: a module that is made from (base, rank, alpha)"
    state = student.read(layer, "leaplm.grading.judge.probes:state_dict")
    shapes = {"lora_A": (rank, inputs), "lora_B": (outputs, rank)}
    for name, shape in shapes.items():
        if name not in state or state[name].shape != shape:
            return 0, f"{name} should be an nn.Parameter of the shape {shape} (sizes of this test)"
    x = rng.normal(size=(2, 4, inputs)).astype(np.float32)
    weights = probes.state_dict(probes.linear(inputs, outputs, seed))
    plain = x @ weights["weight"].T + weights["bias"]
    at_start = close(as_array(student.call(layer, x), plain.shape, "the output"), plain) and not state["lora_B"].any()
    learns = set(student.read(layer, "leaplm.grading.judge.probes:trainable"))
    student.read(layer, "leaplm.grading.judge.probes:randomize", "lora_", seed)
    after = student.read(layer, "leaplm.grading.judge.probes:state_dict")
    want = plain + alpha / rank * (x @ after["lora_A"].T) @ after["lora_B"].T
    if not close(as_array(student.call(layer, x), want.shape, "the output"), want):
        return 0, "with random A and B the output is not base(x) + alpha / rank * B A x (try x with three dimensions, too)"
    parts = {"the start (A random, B zero, the output that of the base)": at_start and bool(state["lora_A"].any()),
             "what learns: lora_A and lora_B, and nothing else": learns == set(shapes)}
    wrong = [name for name, good in parts.items() if not good]
    return mark(4, wrong, "the formula is right", "the layer starts and computes as LoRA")


@check(points=3)
def merge(student, rng):
    """The library's layer with random A and B, with and without bias; the layer must stay as it was."""
    good = 0
    for bias in (True, False):
        inputs, outputs, rank = (int(n) for n in rng.permutation([4, 6, 2]))
        settings = {"alpha": float(rng.integers(5, 30)), "seed": int(rng.integers(10**6)), "bias": bias}
        layer = student.build("leaplm.grading.judge.probes:lora_linear", inputs, outputs, rank, **settings)
        before = student.read(layer, "leaplm.grading.judge.probes:state_dict")
        try:
            merged = student.call("merge", layer)
        except StudentError as error:
            if bias:
                raise
            return 1, f"right with a bias; without one: {error}"
        if not is_module(merged) or merged.kind != "Linear":
            return 0, "merge should return an nn.Linear"
        got = student.read(merged, "leaplm.grading.judge.probes:state_dict")
        want = probes.state_dict(lora.merge(probes.lora_linear(inputs, outputs, rank, **settings)))
        after = student.read(layer, "leaplm.grading.judge.probes:state_dict")
        if set(after) != set(before) or any(not np.array_equal(after[name], before[name]) for name in before):
            return 0, "merge changed the layer that it was given: a second call would add the update twice"
        good += set(got) == set(want) and all(got[n].shape == want[n].shape and close(got[n], want[n]) for n in want)
        if bias and not good:
            return 0, "the weights differ from W + scaling * B A, or the bias is not that of the base"
    if good == 2:
        return 3, "the merged layer computes the same"
    return 1, "right with a bias; wrong where the base has none"


@check(points=2)
def adapter_cost(student, rng):
    shapes = [tuple(int(n) for n in rng.integers(10, 2000, size=2)) for _ in range(5)]
    rank = int(rng.integers(2, 40))
    result = student.call("adapter_cost", shapes, rank)
    if not isinstance(result, list) or len(result) != 2:
        return 0, "adapter_cost should return two numbers: (numbers, megabytes)"
    numbers, megabytes = (as_number(value, "adapter_cost") for value in result)
    if numbers != lora.lora_parameters(shapes, rank):
        return 0, "the count differs: A has rank x in numbers and B has out x rank, for each layer"
    if not np.isclose(megabytes, 2 * numbers / 1e6, rtol=1e-6):
        return 1, "the count is right; a 16-bit number has 2 bytes, and 1 MB is 1,000,000 bytes here"
    return 2, "count and size are right"


@check(points=4)
def inject_lora(student, rng):
    """A tiny BERT: which layers are replaced, what learns, and the logits before and after A and B become random."""
    targets = [["query", "value"], ["key"], ["dense", "key"], ["query", "dense"]][int(rng.integers(4))]
    rank, alpha, seed = int(rng.integers(2, 5)), float(rng.integers(5, 13)), int(rng.integers(10**6))
    settings = {"seed": seed, "layers": 2, "initializer_range": 0.3}
    ours = probes.tiny_classifier(**settings).eval()
    names = lora.target_modules(ours, targets)
    model = student.build("leaplm.grading.judge.probes:tiny_classifier", **settings)
    batch = {"input_ids": rng.integers(5, 60, size=(3, 7))}
    start = probes.logits(ours, **batch)
    returned = student.call("inject_lora", model, targets, rank, alpha)
    state = student.read(model, "leaplm.grading.judge.probes:state_dict")
    if {name for name in state if name.endswith("lora_A")} != {f"{name}.lora_A" for name in names}:
        return 0, f"with targets {targets}, other layers of a small BERT should get LoRA: each nn.Linear with that last name"
    if not close(student.read(model, "leaplm.grading.judge.probes:logits", **batch), start):
        return 0, "before the first update the model should give the logits it gave without LoRA"
    learns = set(student.read(model, "leaplm.grading.judge.probes:trainable"))
    expected = {f"{name}.lora_{ab}" for name in names for ab in "AB"} | {"classifier.weight", "classifier.bias"}
    lora.inject_lora(ours, targets, rank, alpha)
    probes.randomize(ours, "lora_", seed)
    student.read(model, "leaplm.grading.judge.probes:randomize", "lora_", seed)
    same = close(student.read(model, "leaplm.grading.judge.probes:logits", **batch), probes.logits(ours, **batch))
    parts = {"what learns: A and B of the new layers, and the classifier": learns == expected,
             "the output with random A and B (rank and alpha handed on?)": same,
             "the list of names that is returned": isinstance(returned, list) and set(map(str, returned)) == set(names)}
    wrong = [name for name, good in parts.items() if not good]
    points = 4 if learns == expected else 3  # what learns is the point of it all: two points
    return mark(points, wrong, "LoRA is in the right places", "right places, right freezing")


@check(points=2)
def choose_rank(student, rng):
    """Many random tables of ranks that share their seeds' luck, in random order."""
    good = 0
    for case in range(30):
        ranks = rng.permutation([1, 2, 4, 8, 16, 32])[:5]
        luck = rng.normal(scale=0.03, size=(1, 4))
        accuracies = 0.8 + rng.normal(scale=0.006, size=(5, 1)) + luck + rng.normal(scale=0.008, size=(5, 4))
        if case < 3:  # the smallest rank lies 0.93 standard errors below the best: 1.07 of the kind that divides by n
            smallest = ranks.argmin()
            accuracies = 0.6 + rng.normal(scale=0.002, size=(5, 4))
            accuracies[(smallest + 1) % 5] = 0.8 + luck
            accuracies[smallest] = 0.8 + luck - 0.01 * (0.93 + np.sqrt(3) * rng.permutation([-1, -1, 1, 1]))
        got = as_number(student.call("choose_rank", ranks, accuracies), "choose_rank")
        differences = accuracies[accuracies.mean(axis=1).argmax()] - accuracies
        error = differences.std(axis=1, ddof=1) / 2
        margins = np.abs(differences.mean(axis=1) - error)
        near = margins[differences.any(axis=1)].min() < 1e-6  # rounding may decide
        good += near or got == ranks[differences.mean(axis=1) <= error].min()
    if good == 30:
        return 2, "the smallest rank that is not clearly worse than the best"
    return 0, "another rank fits the rule: differences to the best, seed by seed; their mean against their standard error"


@check(points=3)
def bottleneck_adapter(student, rng):
    """The formula on random weights (1 point), identity at the start, and what learns."""
    inputs, outputs, width = (int(n) for n in rng.permutation([3, 6, 9]))
    seed = int(rng.integers(10**6))
    base = student.build("leaplm.grading.judge.probes:linear", inputs, outputs, seed)
    layer = student.call("BottleneckAdapter", base, width)
    if not is_module(layer):
        return 0, "BottleneckAdapter should be a class: a module that is made from (base, width)"
    state = student.read(layer, "leaplm.grading.judge.probes:state_dict")
    shapes = {"down.weight": (width, outputs), "down.bias": (width,), "up.weight": (outputs, width), "up.bias": (outputs,)}
    for name, shape in shapes.items():
        if name not in state or state[name].shape != shape:
            return 0, f"{name} should have the shape {shape} (sizes of this test)"
    x = rng.normal(size=(2, 4, inputs)).astype(np.float32)
    ours = lora.BottleneckAdapter(probes.linear(inputs, outputs, seed), width)
    plain = ours.base(torch.from_numpy(x)).detach().numpy()
    at_start = close(as_array(student.call(layer, x), plain.shape, "the output"), plain)
    for part in ("down.", "up."):
        student.read(layer, "leaplm.grading.judge.probes:randomize", part, seed)
        probes.randomize(ours, part, seed)
    want = ours(torch.from_numpy(x)).detach().numpy()
    if not close(as_array(student.call(layer, x), want.shape, "the output"), want):
        return 0, "with random weights the output is not h + up(gelu(down(h))) with h = base(x)"
    learns = set(student.read(layer, "leaplm.grading.judge.probes:trainable"))
    parts = {"the start, where the output should be base(x)": at_start,
             "what learns: down and up, not the base": learns == set(shapes)}
    wrong = [name for name, good in parts.items() if not good]
    return mark(3, wrong, "the formula is right", "harmless at the start, and right after")


@check(points=2)
def score_answers(student, rng):
    """Answers of many forms: exact, capital letters, a full stop, a sentence, part of a name, empty."""
    names = [["negative", "positive"], ["bad", "good", "mixed"]][int(rng.integers(2))]
    labels = rng.integers(len(names), size=40).tolist()
    forms = ("{}", "{}", "{}", "{}.", " {}", "It is {}", "{}\n", "", "tive")
    told = [names[int(rng.integers(len(names)))] for _ in labels]
    texts = [forms[int(rng.integers(len(forms)))].format(name) for name in told]
    texts[:4] = [names[labels[0]], names[labels[1]].capitalize(), names[labels[2] - 1], " " + names[labels[3]]]
    result = student.call("score_answers", texts, labels, names)
    if not isinstance(result, list) or len(result) != 2:
        return 0, "score_answers should return two shares: (well-formed, right)"
    formed, right = (as_number(value, "score_answers") for value in result)
    good = [np.isclose(formed, np.mean([text in names for text in texts])),
            np.isclose(right, np.mean([text == names[label] for text, label in zip(texts, labels, strict=True)]))]
    if all(good):
        return 2, "strict, and out of all answers"
    wrong = "the share of right answers" if good[0] else "the share of well-formed answers"
    return sum(good), f"{wrong} differs: only an exact class name counts, and the share is of all answers"


@check(points=6, seconds=120)
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
    predictions = evaluation.predict_logits(model, rows, data.DynamicPaddingCollator(tokenizer.pad_token_id)).argmax(-1)
    score = evaluation.macro_f1(labels, predictions)
    majority = evaluation.macro_f1(labels, evaluation.majority_baseline(labels, labels))
    ignorant = max(majority, 1 / len(heldout.features["label"].names))
    record = load_record("lab3_lora", "main", language=language)["heldout_macro_f1"]
    if not len(record):
        return 0, f"there is no calibration for language {language!r} yet: hand in an adapter for eng, hau or swa"
    wanted, told = record.mean() - 3 * record.std(), f"macro-F1 {score:.3f} on {len(labels)} held-out texts"
    if score >= wanted:
        return 6, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1)
    if low > ignorant:
        return 3, f"{told}: clearly above what guessing gives ({ignorant:.3f}), below the {wanted:.3f} that was wanted"
    return 0, f"{told}: not clearly above what guessing gives ({ignorant:.3f})"
