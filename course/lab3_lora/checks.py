"""Checks of lab 3, LoRA and its relatives. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
import torch
from leaplm import artifacts, data, models
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Contract,
    ListOf,
    Number,
    Object,
    Record,
    Ref,
    StudentError,
    Tensor,
    Text,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, tiny_models
from leaplm.grading.judge.class_points import judge_classes
from leaplm.grading.judge.remembered import class_scores, computed_once
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


@check(points=4, contract={"LoRALinear": Contract("base rank alpha dropout", **MADE), "LoRALinear()": RUN})
def lora_linear(student, rng):
    """The formula on random A and B (the core), the start, what learns, dropout; with a bias, and without."""
    wrong = {}
    for bias in (True, False):
        problem, parts = judge_lora(student, rng, bias)
        if problem:
            return 0, problem
        wrong |= {name: None for name, good in parts.items() if not good}
    if not drops_out(student, rng):
        wrong[DROPOUT] = None
    return mark(4, list(wrong), "the formula is right", "the layer starts and computes as LoRA")


DROPOUT = "dropout: in training mode it acts on the input of A alone, in evaluation mode on nothing"


def drops_out(student, rng):
    """Whether each number of x is 0 or 1 / (1 - dropout) times before A, by a chance of its own, and only when training.

    With more outputs than ranks than inputs, the low-rank term tells what came to A.
    """
    inputs, outputs, rank, seed = 3, 16, 8, int(rng.integers(10**6))
    share = float(rng.choice([0.25, 0.75]))  # not a half: what is kept is no share that drops out
    layer = student.call("LoRALinear", student.build(f"{PROBES}linear", inputs, outputs, seed), rank, 6, share)
    student.read(layer, f"{PROBES}randomize", "lora_", seed)
    base = probes.linear(inputs, outputs, seed)
    ours = lora.LoRALinear(base, rank, 6)
    probes.randomize(ours, "lora_", seed)
    x = (rng.uniform(1, 2, size=(20, 10, inputs)) * rng.choice([-1, 1], size=(20, 10, inputs))).astype(np.float32)
    plain, whole = probes.on_each(base, [x])[0], probes.on_each(ours, [x])[0]
    student.read(layer, f"{PROBES}set_training", False)
    if not close(as_array(student.call(layer, x), whole.shape, "the output"), whole):
        return False
    student.read(layer, f"{PROBES}set_training", True)
    state, masks = probes.state_dict(ours), []
    update = 6 / rank * state["lora_B"] @ state["lora_A"]
    for _ in range(2):
        got = as_array(student.call(layer, x), whole.shape, "the output")
        masks.append((got - plain) @ np.linalg.pinv(update).T / x * (1 - share))  # 1 for a number kept, 0 for one lost
        if not np.allclose(plain + masks[-1] * x @ update.T / (1 - share), got, atol=1e-2):
            return False
    if not all((np.isclose(mask, 0, atol=1e-2) | np.isclose(mask, 1, atol=1e-2)).all() for mask in masks):
        return False
    lost = np.stack(masks) < 0.5  # (calls, sentences, tokens, numbers): along each of them some differ
    return abs(lost.mean() - share) < 0.2 and all((lost.any(axis=axis) & ~lost.all(axis=axis)).any() for axis in range(4))


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


MERGE = {"merge": Contract("layer", Object("Linear"), random=FREE),
         "merge()": Contract("x", Tensor("float")),
         "merge_adapter": Contract("model", changes="model", random=FREE, mode="any", leaves="frozen",
                                   own="leaplm.peft.lora.merge_model"),
         "unmerge_adapter": Contract("model layers", changes="model layers", random=FREE, mode="any", leaves="frozen")}


@check(points=3, contract=MERGE)
def merge(student, rng):
    """One layer, with and without bias, and one as wide as high; a tiny BERT, and a model with similar names, twice each."""
    wrong = [told for judge in (judge_merge, judge_models) for told in told_by(judge, student, rng)]
    return 3 - len(wrong), "; ".join(wrong) or "merged it computes the same, and taken apart it is as before"


def told_by(judge, *given):
    """What a judge says is wrong, a list; what an answer raises costs the points of its own part only."""
    try:
        return judge(*given)
    except StudentError as error:
        return [str(error).removesuffix(".")]


def judge_merge(student, rng):
    for bias, sizes in ((True, [4, 6, 2]), (True, [5, 5, 1]), (False, [4, 6, 2])):
        inputs, outputs, rank = sizes if bias else (int(n) for n in rng.permutation(sizes))
        settings = {"alpha": float(rng.integers(5, 30)), "seed": int(rng.integers(10**6)), "bias": bias}
        layer = student.build(f"{PROBES}lora_linear", inputs, outputs, rank, **settings)
        try:
            merged = student.call("merge", layer)
        except StudentError:
            if bias:
                raise
            return [NO_BIAS]
        want = probes.state_dict(lora.merge(probes.lora_linear(inputs, outputs, rank, **settings)))
        got = {"bias": np.zeros(outputs), **student.read(merged, f"{PROBES}state_dict")}  # a bias of zeros is none
        want = {"bias": np.zeros(outputs), **want}
        right = set(got) == set(want) and all(got[name].shape == want[name].shape and close(got[name], want[name])
                                              for name in want)  # fmt: skip
        x = rng.normal(size=(3, inputs)).astype(np.float32)
        if not (right and close(as_array(student.call(merged, x), (3, outputs), "the output"),
                                x @ want["weight"].T + want["bias"])):
            return ["`merge`: the weights differ from W + scaling * B A, or the bias is not that of the base" if bias else
                    NO_BIAS]
    return []


NO_BIAS = "`merge` is right with a bias; wrong where the base has none"
ALL_ELSE = "after `merge_adapter` a plain nn.Linear should stand in the place of each LoRALinear, and all else be as before"


def judge_models(student, rng):
    """What is wrong with `merge_adapter`, and with `unmerge_adapter`: a list."""
    wrong = {}
    for make, training, settings in MODELS_WITH_LORA:
        given = {"targets": ["query", "key"], "rank": int(rng.integers(2, 4)), "alpha": 5.0,
                 "seed": int(rng.integers(10**6)), **settings}
        ours, model = tiny_models.with_lora(make, **given), student.build(f"{MODELS}with_lora", make, **given)
        batch = {"input_ids": rng.integers(5, 60, size=(3, 7))}
        logits, ids = probes.logits(ours, **batch), student.read(model, f"{PROBES}parameter_ids")
        lora.merge_adapter(ours)
        for again in (False, True):  # what is left over from the first time shows in the second
            student.read(model, f"{PROBES}set_training", training)
            modes = student.read(model, f"{PROBES}modes")
            try:
                layers = student.call("merge_adapter", model)
            except StudentError as error:
                return [str(error).removesuffix("."), "`unmerge_adapter` cannot be judged"]
            merged = student.read(model, f"{PROBES}state_dict")
            more = set(merged) ^ set(probes.state_dict(ours))
            if any(name not in merged or not name.endswith(".bias") or merged[name].any() for name in more):  # 0: as none
                return [ALL_ELSE, "`unmerge_adapter` cannot be judged"]
            if student.read(model, f"{PROBES}set_training", training) != training:  # what it was before this
                wrong[ALL_ELSE] = None
            now = student.read(model, f"{PROBES}logits", **batch)
            if not np.allclose(now, logits, rtol=1e-2, atol=1e-2 * np.abs(logits).max()):  # rounding, through many layers
                wrong["after `merge_adapter` the model should give the logits that it gave before"] = None
            if again:  # meanwhile another model is merged
                student.call("merge_adapter", student.build(f"{MODELS}with_lora", make, **{**given, "base": 1}))
            student.call("unmerge_adapter", model, layers)
            if told := judge_restored(student, model, tiny_models.with_lora(make, **given), ids, modes):
                return [*list(wrong)[:1], told]
    return list(wrong)[:1]


MODELS_WITH_LORA = (("tiny_classifier", True, {"layers": 2, "initializer_range": 0.3}),
                    ("similar_names", False, {"lora_dropout": 0.3}))  # fmt: skip


def judge_restored(student, model, ours, ids, modes):
    """What differs from the model before it was merged; None if nothing."""
    got, want = student.read(model, f"{PROBES}state_dict"), probes.state_dict(ours)
    if set(got) != set(want):
        return "after `unmerge_adapter` the LoRA layers should be back in their places"
    if not all(got[name].shape == want[name].shape and close(got[name], want[name]) for name in want):
        return "after `unmerge_adapter` each weight should be exactly what it was"
    if not all(np.array_equal(got[name], want[name]) for name in want):
        return ("after `unmerge_adapter` each weight should be exactly what it was; who subtracts the update leaves a "
                "rounding error")
    if student.read(model, f"{PROBES}parameter_ids") != ids:
        return "after `unmerge_adapter` the same LoRALinear objects should be back, not copies: an optimizer holds them"
    if set(student.read(model, f"{PROBES}trainable")) != set(probes.trainable(ours)):
        return "after `unmerge_adapter` the same parameters should learn as before"
    if student.read(model, f"{PROBES}modes") != modes:
        return "after `unmerge_adapter` each layer should have its mode and its dropout as before"
    return None


INJECT = Contract("model targets rank alpha dropout", ListOf(Text()), changes="model", random=FREE, leaves="frozen",
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
    wrong |= {name: None for name, good in judge_refusals(student, rng).items() if not good}
    points = 4 if LEARNS not in wrong else 3  # what learns is the point of it all: two points
    return mark(points, list(wrong), "LoRA is in the right places", "right places, right freezing, mistakes are told")


DROP_NOTHING = "dropout where none is given: it is 0"
NO_MATCH = "a target that no linear layer has: a ValueError that names it, before anything is changed"
SECOND = "a model that has LoRA layers already: a ValueError, before anything is changed"


def judge_refusals(student, rng):
    """{what should be refused: whether it is}."""
    function, seed = student.get("inject_lora"), int(rng.integers(10**6))
    missing = str(rng.choice(["value_", "wq", "embeddings"]))  # the last is there, and no linear layer
    plain = student.build(f"{MODELS}tiny_classifier", seed=seed)
    adapted = student.build(f"{MODELS}tiny_classifier", seed=seed)
    student.call("inject_lora", adapted, ["query"], 2, 3)
    student.read(adapted, f"{PROBES}randomize", "lora_", seed)
    cases = {NO_MATCH: (plain, [missing], missing), SECOND: (adapted, ["value"], "")}
    batch = {"input_ids": rng.integers(5, 60, size=(3, 7))}
    found = {DROP_NOTHING: student.read(adapted, f"{PROBES}training_noise", **batch) < 1e-6}
    for name, (model, targets, word) in cases.items():
        before = state_and_flags(student, model)
        told = student.read(function, f"{PROBES}error_told", model, targets, 2, 3)
        found[name] = "ValueError" in told["kinds"] and word in told["message"] and \
            same_state(before, state_and_flags(student, model))  # fmt: skip
    return found


def state_and_flags(student, model):
    return student.read(model, f"{PROBES}state_dict"), student.read(model, f"{PROBES}trainable")


def same_state(first, second):
    return first[1] == second[1] and first[0].keys() == second[0].keys() and \
        all(np.array_equal(value, second[0][name]) for name, value in first[0].items())  # fmt: skip


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
    returned = student.call("inject_lora", model, targets, rank, alpha, 0.5)
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
                  "dropout, which should be handed on to the new layers":
                      student.read(model, f"{PROBES}training_noise", **batch) > 1e-3,
                  "the list of names that is returned": sorted(map(str, returned)) == sorted(names)}


CONFIG = Record({"base": Text(), "targets": ListOf(Text()), "rank": Number(whole=True), "alpha": Number()})
FILE = {"adapter_config": Contract("model", CONFIG),
        "save_adapter": Contract("model", Object("bytes")),  # get_adapter and set_adapter may be called, as in exercise 5
        "load_adapter": Contract("model content", Object("Module"), changes="model")}


@check(points=3, contract=FILE)
def adapter_file(student, rng):
    """What the config says, what the file holds, and what is loaded or refused: one point each."""
    wrong = [told for judge in (judge_config, judge_saved, judge_loaded) for told in told_by(judge, student, rng)]
    return 3 - len(wrong), "; ".join(wrong) or "the file holds what learned, and goes only where it belongs"


def some_lora(rng, make="tiny_classifier", **settings):
    """Arguments of `tiny_models.with_lora`: targets in no order, a rank and an alpha that are no multiples of each other."""
    targets = [["value", "query"], ["query", "key"], ["value", "key"]][int(rng.integers(3))]
    size = {} if make == "similar_names" else {"layers": 2}
    return make, {"targets": targets, "rank": int(rng.choice([2, 4])), "alpha": float(rng.choice([3, 5, 7])),
                  "seed": int(rng.integers(10**6)), "base": int(rng.integers(10**6)), **size, **settings}  # fmt: skip


def judge_config(student, rng):
    for make in ("tiny_classifier", "similar_names"):
        make, given = some_lora(rng, make)
        got = student.call("adapter_config", student.build(f"{MODELS}with_lora", make, **given))
        want = lora.adapter_config(tiny_models.with_lora(make, **given))
        for key in want:
            right = close(as_number(got[key]), want[key]) if key == "alpha" else got[key] == want[key]
            if not right:
                return [f"`adapter_config` differs under `{key}`: base; sorted targets, each once; rank; alpha"]
        if set(got) != set(want):
            return ["`adapter_config` should have the keys base, targets, rank and alpha, and no others"]
    return []


PACKED = "`save_adapter` should return bytes: the result of `artifacts.pack`"


def judge_saved(student, rng):
    """A file with LoRA and head, and one of a model whose word embeddings learn too."""
    for words in (False, True):
        make, given = some_lora(rng, "similar_names" if words else "tiny_classifier")
        ours, model = tiny_models.with_lora(make, **given), student.build(f"{MODELS}with_lora", make, **given)
        if words:
            ours.value.weight.requires_grad_(True)
            student.read(model, f"{PROBES}thaw", "value.weight")
        content = student.call("save_adapter", model)
        if not isinstance(content, Ref):
            return [PACKED]
        try:
            card, tensors = student.read(content, "leaplm.artifacts:read_artifact")
        except StudentError:  # other bytes
            return [PACKED]
        want = lora.get_adapter(ours)
        if set(tensors) != set(want):
            return ["`save_adapter` should hold exactly the parameters that learn, by their names"]
        if any(tensor.dtype != np.float16 for tensor in tensors.values()):
            return ["`save_adapter` should hold numbers of 16 bits: `.half()`"]
        if not all(np.array_equal(tensors[name], tensor.half().numpy()) for name, tensor in want.items()):
            return ["`save_adapter` holds other numbers than the model"]
        if card != student.call("adapter_config", model):
            return ["the card of `save_adapter` should be what `adapter_config` gives"]
    return []


def judge_loaded(student, rng):
    """A file of another adapter with another number of classes, then one with the same; then files that do not fit."""
    make, given = some_lora(rng)
    model = student.build(f"{MODELS}with_lora", make, **given)
    config = student.call("adapter_config", model)
    batch = {"input_ids": rng.integers(5, 60, size=(3, 7))}
    for classes in (3, 2):
        theirs = tiny_models.with_lora(make, **{**given, "seed": int(rng.integers(10**6)), "classes": classes})
        tensors = {name: tensor.half().numpy() for name, tensor in lora.get_adapter(theirs).items()}
        lora.set_adapter(theirs, {name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
        returned = student.call("load_adapter", model, student.build("leaplm.artifacts:pack", tensors, config))
        got, ids = student.read(model, f"{PROBES}state_dict"), student.read(model, f"{PROBES}parameter_ids")
        if set(student.read(model, f"{PROBES}kinds_of_numbers")) != {"float32"}:
            return ["after `load_adapter` the parameters should have 32 bits, as before"]
        if not all(got[name].shape == value.shape and np.array_equal(got[name], value)
                   for name, value in probes.state_dict(theirs).items()):  # fmt: skip
            return ["after `load_adapter` the model should have the numbers of the file, in A, B and head, and no others"]
        if isinstance(returned, Ref) and student.read(returned, f"{PROBES}parameter_ids") != ids:
            return ["`load_adapter` should return the model that it was given"]
        if not close(student.read(model, f"{PROBES}logits", **batch), probes.logits(theirs, **batch)):
            return ["after `load_adapter` the model should give the logits of the adapter in the file"]
    return judge_refused(student, model, config, tensors)


def judge_refused(student, model, config, tensors):
    """What `load_adapter` takes though it does not fit: a list."""
    function, fewer, last = student.get("load_adapter"), dict(tensors), list(tensors)[-1]
    del fewer[last]  # the last in the model: who compares on the way has changed the others
    others = {"rank": config["rank"] + 1, "alpha": 2 * config["alpha"], "targets": config["targets"][:1], "base": "00000000"}
    cases = [(key, {**config, key: other}, tensors) for key, other in others.items()]
    more = {"pre_" + last: tensors[last]}
    cases += [("", config, fewer), ("", config, tensors | more), ("", config, fewer | more)]  # the last: as many
    lost = {name: 0 * tensor for name, tensor in tensors.items()}
    for key, card, content in cases:
        before = state_and_flags(student, model)
        given = {name: lost.get(name, tensor) for name, tensor in content.items()}
        told = student.read(function, f"{PROBES}error_told", model, student.build("leaplm.artifacts:pack", given, card))
        if "ValueError" not in told["kinds"]:
            what = f"a file with another `{key}`" if key else "a file with a tensor less, or one more,"
            return [f"`load_adapter` should refuse {what} with a ValueError"]
        if key not in told["message"]:
            return [f"the message of `load_adapter` should name what does not fit: `{key}`"]
        if not same_state(before, state_and_flags(student, model)):
            return ["`load_adapter` changes the model although it refuses the file: make all comparisons first"]
    return []


SERVE = Contract("model adapters requests collate batch_size", ListOf(Number(whole=True)), forward="eval, no_grad",
                 own="leaplm.evaluation.predict_logits leaplm.evaluation.evaluate")


@check(points=3, contract=SERVE)
def serve_requests(student, rng):
    """Adapters with 2 and 3 classes, asked for in turns; equal rows for several; a last batch that is smaller, and one that
    is full; one request alone; none; batch_size not given; a model in training and one in evaluation mode."""
    wrong = {}
    for training, asked, *batch_size in ((True, "ABACAABBAAC", 3), (False, "CCBCCB", 2), (True, "B" * 17), (True, "C", 4),
                                         (False, "", 4)):  # fmt: skip
        make, given = some_lora(rng, dropout=0.3, initializer_range=0.3)
        adapters = some_adapters(rng, make, given)
        rows = [{"input_ids": rng.integers(5, 60, size=int(rng.integers(2, 9))).tolist()} for _ in range(3)]
        requests = [(name, rows[place % 3 if place < 6 else 0]) for place, name in enumerate(asked)]
        model, collate = student.build(f"{MODELS}with_lora", make, **given), student.build(f"{PROBES}counting_collator")
        student.read(model, f"{PROBES}set_training", training)
        theirs = {name: student.build(f"{PROBES}counted_adapter", tensors) for name, tensors in adapters.items()}
        got = [int(label) for label in student.call("serve_requests", model, theirs, requests, collate, *batch_size)]
        sizes = student.read(collate, f"{PROBES}batch_sizes")
        if told := judge_answers(tiny_models.with_lora(make, **given), adapters, requests, got):
            return 0, told
        most = (*batch_size, 16)[0]
        whole = [min(most, asked.count(name) - start) for name in set(asked) for start in range(0, asked.count(name), most)]
        if sorted(sizes) != sorted(whole):
            wrong[BATCHES] = None
        if any(student.read(adapter, f"{PROBES}times_put") > 1 for adapter in theirs.values()):
            wrong[PUT_ONCE] = None
    if not refuses_unknown(student, rng):
        wrong[UNKNOWN] = None
    return mark(3, list(wrong), "the answers are right", "each request has its adapter's answer, in few batches")


@computed_once
def some_adapters(rng, make, given):
    """{name: tensors} of adapters with 2 and 3 classes."""
    return {name: {key: tensor.numpy() for key, tensor in lora.get_adapter(
        tiny_models.with_lora(make, **{**given, "seed": int(rng.integers(10**6)), "classes": classes})).items()}
        for name, classes in (("B", 3), ("A", 2), ("D", 2), ("C", 3))}  # fmt: skip


BATCHES = "the batches: the rows of one adapter go through together, batch_size at a time"
PUT_ONCE = "the adapters: each that is asked for is put in once"
UNKNOWN = "a name that is not among the adapters: a ValueError, before anything is computed"


def judge_answers(ours, adapters, requests, got):
    """What is wrong with the answers; None if nothing."""
    want = []
    for name, row in requests:
        lora.set_adapter(ours, {key: torch.from_numpy(value) for key, value in adapters[name].items()})
        want.append(int(probes.logits(ours, input_ids=np.array([row["input_ids"]])).argmax()))
    if got == want:
        return None
    if sorted(got) == sorted(want) and len(got) > 1:
        return "the answers are not in the order of the requests, or come from another adapter than was asked for"
    return "other answers: one for each request, of the adapter that it names, with the model in evaluation mode"


def refuses_unknown(student, rng):
    """Whether a name without adapter is refused, the last of the requests, before a batch is made or the model changed."""
    make, given = some_lora(rng)
    model, collate = student.build(f"{MODELS}with_lora", make, **given), student.build(f"{PROBES}counting_collator")
    adapters = {"A": student.read(model, "leaplm.peft.lora:get_adapter")}
    requests = [("A", {"input_ids": [5, 6]}), ("E", {"input_ids": [7]})]
    student.read(model, f"{PROBES}set_training", True)
    told = student.read(student.get("serve_requests"), f"{PROBES}error_told", model, adapters, requests, collate, 4)
    return "ValueError" in told["kinds"] and not student.read(collate, f"{PROBES}batch_sizes") and \
        student.read(model, f"{PROBES}training")  # fmt: skip


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
    return judge_classifier(lora.merge_model(model), heldout, language)  # one model, however its update is written


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
    tokenizer = models.load_tokenizer()
    rows, labels = data.tokenize(heldout, tokenizer, max_length=64), np.array(heldout["label"])
    collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
    return judge_classes("lab3_lora", language, labels, class_scores(model, language, rows, collate).argmax(-1))
