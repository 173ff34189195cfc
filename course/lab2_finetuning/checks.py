"""Checks of lab 2, full fine-tuning. Inputs are fresh and random at each run; references are computed here."""

import itertools

import numpy as np
import torch
from leaplm import artifacts, data, evaluation, marking, models, training
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Bool,
    Contract,
    ListOf,
    Number,
    Record,
    Ref,
    Tensor,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, standing, tiny_models
from leaplm.grading.judge.remembered import class_scores, computed_once

CLOSE = 1e-4
PROBES, TINY = "leaplm.grading.judge.probes:", "leaplm.grading.judge.tiny_models:"


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


WRONG_GRADIENT = "right numbers; but the gradient is not theirs: is a part of them detached, or computed under `no_grad`?"


def learns_as(reference, student, name, vectors, *others):
    """Whether the gradient that reaches the first argument of the student's function is that of the reference."""
    vectors = vectors.astype(np.float32)
    got = student.read(student.get(name), "leaplm.grading.judge.probes:gradients_of_call", vectors, *others)
    return not got or close(got["0"], probes.gradients_of_call(reference, vectors, *others)["0"])  # none: the contract's


BATCH = Record({"input_ids": Tensor("int", dims=2), "attention_mask": Tensor("int|bool", dims=2),
                "labels": Tensor("int64", dims=1)})


@check(points=3, contract=Contract("rows pad_token_id", BATCH, own="leaplm.data.DynamicPaddingCollator"))
def collate(student, rng):
    """Ids, mask and labels, one point each. The padding id also occurs as a token; the rows are in no order of length."""
    pad = int(rng.integers(1, 9))
    rows = [{"input_ids": [*rng.integers(1, 9, size=n - 1).tolist(), pad], "label": int(rng.integers(3))}
            for n in np.insert(rng.permutation([2, 5, 5]), rng.integers(1, 3), 9)]
    longest = max(len(row["input_ids"]) for row in rows)
    batch = student.call("collate", rows, pad)
    want = {"input_ids": [row["input_ids"] + [pad] * (longest - len(row["input_ids"])) for row in rows],
            "attention_mask": [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows],
            "labels": [row["label"] for row in rows]}
    wrong = [name for name, value in want.items()
             if not np.array_equal(as_array(batch[name], np.shape(value), f"batch['{name}']"), value)]
    if wrong:
        return 3 - len(wrong), f"these are not as they should be: `{', '.join(wrong)}`"
    return 3, "the batch is padded to its longest row, and the mask tells tokens from padding"


BY_HAND = {"returns": Tensor("float", dims=0), "gradient": "logits", "forbids": "torch.nn.functional.*cross_entropy*"}


@check(points=2, contract=Contract("logits targets", **BY_HAND))
def binary_cross_entropy(student, rng):
    logits = rng.normal(scale=3, size=9)
    targets = rng.permutation([0, 0, 0, 0, 1, 1, 1, 1, 1])
    got = as_number(student.call("binary_cross_entropy", logits, targets), "binary_cross_entropy")
    want = np.mean(np.logaddexp(0, np.where(targets == 1, -logits, logits)))
    if not close(got, want):
        return 0, "the loss differs from PyTorch's on random logits: mean, sign, and which target is which?"
    big = np.array([900.0, -800.0]) + rng.normal(size=2)
    got = student.call("binary_cross_entropy", big, np.array([0, 1]))
    if not close(as_array(got, (), "binary_cross_entropy"), np.mean(np.abs(big))):
        return 1, "right for small logits; for logits like 1,000 it overflows or is cut off"
    if not learns_as(binary_loss, student, "binary_cross_entropy", logits, targets):
        return 1, WRONG_GRADIENT
    return 2, "equal to PyTorch's, also for large logits"


def binary_loss(logits, targets):
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets.float())


@check(points=2, contract=Contract("logits labels", **BY_HAND))
def cross_entropy(student, rng):
    """As many texts as classes at first, every class once: an exchange of the two dimensions would raise no error."""
    logits, labels = rng.normal(scale=3, size=(6, 6)), rng.permutation(6)
    got = as_number(student.call("cross_entropy", logits, labels), "cross_entropy")
    if not close(got, reference_cross_entropy(logits, labels)):
        return 0, "the loss differs from PyTorch's on random logits: is it the mean of -log p(right class)?"
    logits, labels = rng.normal(scale=3, size=(8, 5)), rng.integers(5, size=8)
    big = logits * 300
    got = as_array(student.call("cross_entropy", big, labels), (), "cross_entropy")
    if not np.allclose(got, reference_cross_entropy(big, labels), rtol=CLOSE):
        return 1, "right for small logits; for logits like 1,000 it overflows or is cut off"
    if not learns_as(torch.nn.functional.cross_entropy, student, "cross_entropy", logits, labels):
        return 1, WRONG_GRADIENT
    return 2, "equal to PyTorch's, also for large logits"


def reference_cross_entropy(logits, labels):
    return -evaluation.log_softmax(logits)[np.arange(len(labels)), labels].mean()


def random_batch(rng, size=4, tokens=9, labels=2):
    return {"input_ids": rng.integers(5, 60, size=(size, tokens)), "attention_mask": np.ones((size, tokens), dtype=np.int64),
            "labels": rng.integers(labels, size=size)}


def padded_batch(rng, size, labels):
    """The fewer the texts of a batch, the longer they are: a mean over tokens is another number than one over texts."""
    batch = random_batch(rng, size, labels=labels)
    batch["attention_mask"] = (np.arange(9) < rng.integers(9 - size, 10 - size // 2, size=(size, 1))).astype(np.int64)
    return batch


def on_torch(batch):
    return {name: torch.from_numpy(array) for name, array in batch.items()}


# -- the trainer: one update ------------------------------------------------------------------------------------------

CLIP = Contract("model max_norm", Number(), leaves="gradients",
                forbids="torch.nn.utils.*clip_grad* torch.nn.utils.*total_norm*")


@check(points=1, contract=CLIP)
def clip_gradients(student, rng):
    """Layers in layers: above the limit, below it, all zero, and with a parameter in the middle that has no gradient."""
    limit = float(rng.uniform(2, 3))
    shapes = {name: array.shape for name, array in probes.state_dict(tiny_models.similar_names()).items()}
    some = [name for name in shapes if not name.startswith("blocks.0.key")]
    for size, names in ((4, shapes), (0.6, shapes), (0, shapes), (3, some)):
        given = {name: rng.uniform(0.5, 1, size=shapes[name]).astype(np.float32) for name in names}
        given["classifier.bias"] *= 20  # alone it is above the limit, and each of its numbers is
        length = np.sqrt(sum((array**2).sum() for array in given.values()))
        given = {name: (array / length * size * limit).astype(np.float32) for name, array in given.items()}
        model = student.build(f"{TINY}similar_names")
        student.read(model, f"{PROBES}set_gradients", given)
        norm = as_number(student.call("clip_gradients", model, limit), "the norm")
        found = student.read(model, f"{PROBES}gradients")
        want = {name: array * min(1, 1 / max(size, 1e-6)) for name, array in given.items()}
        if found.keys() != want.keys() or not all(close(found[name], want[name]) for name in want):
            return 0, CLIPPED_WRONG[size]
        if not close(norm, size * limit):
            return 0.5, "clipped right; but the norm that comes back should be the one before clipping"
    return 1, "the norm of all gradients together is at most the limit, and small ones stay"


CLIPPED_WRONG = {
    4: "a norm above the limit: multiply all gradients, in place, by limit / norm, where the norm is that of all together",
    0.6: "a gradient whose norm is below the limit must stay as it is: clipping never enlarges it",
    0: "gradients that are all 0 must stay 0: is there a division by the norm?",
    3: "where one parameter has no gradient (`None`), the others should be clipped all the same",
}
STEP = Contract("model batches optimizer scheduler", Number(), changes="model", random=FREE, mode="train",
                forward="train, grad", leaves="gradients")


@check(points=3, contract=STEP)
def training_step(student, rng):
    """Two steps where the gradient is small and must stay as it is, then two where it has to be clipped."""
    small, told = two_steps(student, rng, clipped=False)
    if small < 3:
        return small, told
    large, _ = two_steps(student, rng, clipped=True)
    if large < 3:
        return 2, "right for small gradients; large ones are not clipped as asked: the norm of all is scaled down " \
            "to 1.0, once, after the last micro-batch and before the weights move"
    return 3, "two steps move the weights as they should"


def two_steps(student, rng, clipped):
    """A batch in two micro-batches, then one in a single one; old gradients are there at first.

    Of the two the one with fewer texts has longer ones, without padding, and another class: each other share would show.
    """
    first, second = [random_batch(rng, 3, tokens=5), random_batch(rng, 1)], [random_batch(rng)]
    first[0]["attention_mask"][1:, 3:] = 0
    first[1]["labels"][:] = 1 - np.bincount(first[0]["labels"]).argmax()
    settings = {"seed": int(rng.integers(10**6)), "initializer_range": 0.5 if clipped else 0.02}
    model = student.build(f"{TINY}tiny_classifier", **settings)
    student.read(model, f"{PROBES}set_training", False)
    student.read(model, f"{PROBES}leave_gradients")
    optimizer = student.build(f"{PROBES}sgd", model, lr=0.3)
    scheduler = student.build(f"{PROBES}step_schedule", optimizer)
    want = tiny_models.tiny_classifier(**settings)
    for batch in [*first, *second] if clipped else []:  # each text is a surprise: all gradients are large
        batch["labels"] = 1 - probes.logits(want, **on_torch(batch)).argmax(axis=1)
    want_optimizer = probes.sgd(want, lr=0.3)
    want_scheduler = probes.step_schedule(want_optimizer)
    losses = []
    for batches in (first, second):
        want_loss = training.training_step(want, list(map(on_torch, batches)), want_optimizer, want_scheduler)
        got = student.call("training_step", model, batches, optimizer, scheduler)
        losses.append((as_number(got, "the loss"), want_loss))
    weights = student.read(model, f"{PROBES}state_dict")
    rates = student.read(optimizer, f"{PROBES}learning_rates")
    moved = all(close(weights[name], value) for name, value in probes.state_dict(want).items())
    parts = {
        "the weights after two steps (order of the calls, old gradients, the share of each micro-batch; clipping never "
        "enlarges a gradient)": moved,
        "the loss returned (the mean over all texts, before the update)":
            all(close(got, right) for got, right in losses[: 2 if moved else 1]),  # the second follows from the weights
        "the learning rate after two steps (scheduler.step() once per step)":
            close(rates, probes.learning_rates(want_optimizer)),
    }
    wrong = [name for name, good in parts.items() if not good]
    if not wrong:
        return 3, "the weights are right"
    return max(1, 3 - len(wrong)) if moved else 0, f"not as it should be: {'; '.join(wrong)}"


# -- the trainer: the learning rate -----------------------------------------------------------------------------------


@check(points=1, contract=Contract("step total_steps warmup_steps", Number()))
def warmup_linear(student, rng):
    total, warmup = int(rng.integers(50, 90)), int(rng.integers(5, 20))
    steps = [0, 1, warmup - 1, warmup, warmup + 1, total - 1, total]
    got = [as_number(student.call("warmup_linear", step, total, warmup), "warmup_linear") for step in steps]
    if not close(got, [training.warmup_linear(step, total, warmup) for step in steps]):
        return 0, "the factors differ: 0 at step 0, 1 at warmup_steps, 0 at total_steps, straight lines between"
    edges = [(total + 3, total, warmup), (0, total, 0), (total // 2, total, 0), (warmup, warmup + 1, warmup)]
    got = [as_number(student.call("warmup_linear", *edge), "warmup_linear") for edge in edges]
    if not close(got, [training.warmup_linear(*edge) for edge in edges]):
        return 0.5, "right inside; look at steps after total_steps (0) and at warmup_steps = 0 (begins at 1)"
    return 1, "up on one straight line, down on another"


SCHEDULER = Contract("optimizer total_steps warmup_steps", own="leaplm.training.make_scheduler",
                     forbids="torch.optim.lr_scheduler.*LR")


@check(points=1, contract={"Scheduler": SCHEDULER})
def scheduler(student, rng):
    """Two groups with peaks of their own, more updates than planned; then without warm-up."""
    for warmup, total in ((int(rng.integers(3, 6)), int(rng.integers(9, 15))), (0, int(rng.integers(4, 8)))):
        peaks = [float(rate) for rate in rng.uniform(0.1, 1, size=2)]
        optimizer = student.build(f"{PROBES}sgd_of_groups", peaks)
        made = student.call("Scheduler", optimizer, total, warmup)
        if not isinstance(made, Ref):
            return 0, "`Scheduler(optimizer, total_steps, warmup_steps)` should make an object with a method `step`"
        rates = student.read(made, f"{PROBES}learning_rates_by_update", optimizer, total + 2)
        got = as_array(rates, (total + 2, 2), "the learning rates")
        want = schedule(peaks, total, warmup)
        if not close(got, want):
            return 0, told_of_schedule(got, want, peaks, total, warmup)
    return 1, "each group has its own peak, the first update has a rate above 0, and so has the last"


def schedule(peaks, total, warmup, shift=1, more=1):
    """The rates (updates, groups), two updates more than planned; with other numbers those of a near miss."""
    factors = [training.warmup_linear(done + shift, total + more, warmup) for done in range(total + 2)]
    return np.outer(factors, peaks)


def told_of_schedule(got, want, peaks, total, warmup):
    if close(got[0], peaks) and warmup:
        return "the first update has the whole rate: set the rates when the scheduler is made, not only in `step`"
    if close(got[:, 0], want[:, 0]):
        return "the first group is right: the other groups have peaks of their own"
    if close(got, schedule(peaks, total, warmup, 0, 0)):
        return "the first update has the rate 0, so it changes nothing: count the updates from 1"
    if close(got, schedule(peaks, total, warmup, 1, 0)):
        return "the last update has the rate 0, so it changes nothing: 0 is for the update after the last"
    return "the rates differ: update k of n, from 1, has the peak of its group times warmup_linear(k, n + 1, warmup_steps)"


# -- the trainer: the evaluation --------------------------------------------------------------------------------------


@check(points=1, contract=Contract("labels predictions", Number()))
def macro_f1(student, rng):
    """A class that is never predicted, one that is only predicted, one that is in neither list."""
    names = rng.permutation(9)[:5]
    labels = names[[0, 0, 0, 0, 1, 1, 2, 2]]
    predictions = names[[0, 0, 1, 3, 1, 0, 0, 1]]
    order = rng.permutation(8)
    got = as_number(student.call("macro_f1", labels[order], predictions[order]), "macro_f1")
    if not close(got, evaluation.macro_f1(labels, predictions)):
        return 0, "another number is wanted: the mean over the classes of 2 · hits / (times in labels + times in " \
            "predictions); all classes that occur in labels or in predictions count, and no other"
    for given in ((labels, labels), (labels[:4], labels[4:])):
        got = as_number(student.call("macro_f1", *given), "macro_f1")
        if not close(got, evaluation.macro_f1(*given)):
            return 0.5, "right on most lists; what comes out if all are right (1), and if none is (0)?"
    return 1, "the mean of the F1 of all classes that occur"


SCORES = Record({"loss": Number(), "accuracy": Number(), "macro_f1": Number()})
EVALUATION = Contract("model batches", SCORES, mode="any", forward="eval, no_grad",
                      own="leaplm.evaluation.evaluate leaplm.evaluation.predict_logits")


@check(points=2, contract=EVALUATION)
def evaluation_loop(student, rng):
    """Batches of different sizes on a model with strong dropout that is in training mode at first; then other batches.

    The accuracy of a choice between the first two classes alone is lower.
    """
    of_two = best = 0.0
    while of_two >= best:
        settings = {"seed": int(rng.integers(10**6)), "num_labels": 3, "dropout": 0.5, "initializer_range": 0.5}
        batches = [padded_batch(rng, size, labels=3) for size in (7, 8, 1)]
        judged = tiny_models.tiny_classifier(**settings).eval()
        _, labels, logits = reference_evaluation(judged, batches)
        of_two, best = (evaluation.accuracy(labels, scores.argmax(axis=1)) for scores in (logits[:, :2], logits))
    model = student.build(f"{TINY}tiny_classifier", **settings)
    for given in (batches, [padded_batch(rng, size, labels=3) for size in (5, 2)]):
        result = student.call("evaluation_loop", model, given)
        scores = {name: as_number(result[name], f"the {name}") for name in ("loss", "accuracy", "macro_f1")}
        loss, labels, logits = reference_evaluation(judged, given)
        predictions = logits.argmax(axis=1)
        want = {"loss": loss, "accuracy": evaluation.accuracy(labels, predictions),
                "macro_f1": evaluation.macro_f1(labels, predictions)}
        wrong = [name for name in want if not close(scores[name], want[name])]
        if wrong and given is not batches:
            return 1, "right at the first call, not at the next, with other batches: does it keep something between the " \
                "calls (a global variable, a list as default)?"
        if "accuracy" in wrong:
            return 0, "the accuracy differs: is dropout off, is the class the one with the largest logit, do all texts " \
                "count?"
        if wrong:
            return 1, f"the accuracy is right, `{', '.join(wrong)}` not: the loss is the mean over texts, not over " \
                "batches, and macro-F1 is computed once, over the texts of all batches"
    return 2, "loss, accuracy and macro-F1 are right for batches of different sizes"


def reference_evaluation(model, batches):
    with torch.no_grad():
        logits = np.concatenate([model(**on_torch(batch)).logits.numpy() for batch in batches])
    labels = np.concatenate([batch["labels"] for batch in batches])
    return reference_cross_entropy(logits, labels), labels, logits


# -- the trainer: the loop --------------------------------------------------------------------------------------------

WIDTH, CLASSES = 4, 3
ONE_BATCH = Record({"vectors": Tensor("float", dims=2), "labels": Tensor("int64", dims=1)})


def vector_rows(rng, count):
    """Rows of texts that are vectors; the first number of each vector says which row it is."""
    vectors = rng.normal(size=(count, WIDTH))
    vectors[:, 0] = np.arange(count) / count
    return [{"input_ids": [5, 6], "vector": vector.astype(np.float32), "label": int(rng.integers(CLASSES))}
            for vector in vectors]


BATCHES = Contract("rows collate config epoch", ListOf(ListOf(ONE_BATCH)), random=FREE, own="leaplm.data.ShuffledSampler")


@check(points=1, contract=BATCHES)
def epoch_batches(student, rng):
    """Two parts of four larger by one, a last batch with fewer rows than parts; then, in an epoch of the same number, no
    parts, and batches that fill exactly."""
    epoch = int(rng.integers(2, 9))
    for count, size, parts in ((15, 6, 4), (8, 4, 1)):
        rows = vector_rows(rng, count)
        settings = {"batch_size": size, "gradient_accumulation_steps": parts, "seed": int(rng.integers(1, 1000))}
        collate = student.build(f"{PROBES}vector_collator")
        config = student.build("leaplm.training:TrainingConfig", **settings)
        batches = student.call("epoch_batches", rows, collate, config, epoch)
        got = [[np.rint(as_array(part["vectors"], (None, WIDTH), "the vectors")[:, 0] * count).tolist() for part in batch]
               for batch in batches]
        order = data.shuffled_rows(count, settings["seed"], epoch).tolist()
        want = [order[i : i + size] for i in range(0, count, size)]
        if told := told_of_batches(got, want, parts):
            return 0, told
        labels = [label for batch in batches for part in batch for label in np.asarray(part["labels"]).tolist()]
        if labels != [rows[int(i)]["label"] for batch in got for part in batch for i in part]:
            return 0, "the labels are not those of the rows: give whole rows to `collate`"
    return 1, "each text once an epoch, in the order of the epoch, and each batch in nearly equal parts"


def told_of_batches(got, want, parts):
    """What is wrong with the rows of the batches, "" if nothing is."""
    flat = [sorted(itertools.chain(*batch)) for batch in got]
    if sorted(itertools.chain(*flat)) != sorted(itertools.chain(*want)):
        return "each text should come once in an epoch, also those of the last batch, which may be smaller"
    if sorted(map(len, flat)) != sorted(map(len, want)):
        return "an update takes batch_size texts (not each of its micro-batches), and the last one what is left"
    if flat != list(map(sorted, want)):
        return "the texts come in another order than that of data.shuffled_rows for the seed and this epoch"
    for batch in got:
        sizes = list(map(len, batch))
        if len(sizes) != min(parts, sum(sizes)) or max(sizes) - min(sizes) > 1:
            return "a batch is cut into gradient_accumulation_steps parts whose sizes differ by one at most; if it has " \
                "fewer texts than that, into parts of one text"
    return ""


UPDATE = Record({"step": Number(), "loss": Number(), "learning_rate": Number()})
HISTORY = Record({"train": ListOf(UPDATE), "validation": ListOf(Record({"step": Number(), "macro_f1": Number()})),
                  "stopped_early": Bool()})
FIT = Contract("model rows collate config validate", HISTORY, gradient="none", changes="model", random=FREE, mode="eval",
               forward="train, grad", leaves="gradients", own="leaplm.training.train")


@check(points=3, contract=FIT)
def fit(student, rng):
    """To the end, with the best at first and many that are worse; early, where each way to count patience ends at another
    update; with scores of 0, patience used up at the last, and two groups with rates of their own."""
    for rows, settings, scores in (
        (11, {"batch_size": 4, "epochs": 5, "gradient_accumulation_steps": 3, "eval_steps": 2},
         [0.7, 0.5, 0.6, 0.1, 0.4, 0.3, 0.25, 0.2]),
        (9, {"batch_size": 4, "epochs": 6, "eval_steps": 2, "patience": 2}, [0.3, 0.3, 0.6, 0.5, 0.6, 0.6, 0.3, 0.3, 0.2]),
        (6, {"batch_size": 2, "epochs": 2, "eval_steps": 3, "patience": 1, "head_learning_rate": 0.1}, [0.0, 0.0]),
    ):
        case = {"seed": int(rng.integers(10**6)), "rows": vector_rows(rng, rows), "scores": scores,
                "settings": {"learning_rate": 0.2, "warmup_ratio": 0.25, "seed": int(rng.integers(1000)), **settings}}
        got, want = run_fit(student, case), reference_fit(case)
        if wrong := differences(got, want):
            return explain_fit(got, wrong, case)
    return 3, "trained, validated and stopped as asked, and the best weights are back"


def run_fit(student, case):
    """(history, weights) of the answer."""
    model = student.build(f"{TINY}vector_classifier", WIDTH, CLASSES, case["seed"], scaled=True)
    student.read(model, f"{PROBES}leave_gradients")
    student.read(model, f"{PROBES}set_training", False)
    collate = student.build(f"{PROBES}vector_collator")
    config = student.build("leaplm.training:TrainingConfig", **case["settings"])
    validate = student.build(f"{PROBES}scripted_validation", case["scores"])
    history = student.call("fit", model, case["rows"], collate, config, validate)
    return history, student.read(model, f"{PROBES}state_dict")


@computed_once
def reference_fit(case, miss=""):
    """(history, weights) of the training that the lab asks for, or of a near miss."""
    model = tiny_models.vector_classifier(WIDTH, CLASSES, case["seed"], scaled=True)
    validate = probes.scripted_validation(case["scores"])
    config, rows = training.TrainingConfig(**case["settings"]), case["rows"]
    epochs = [reference_batches(rows, config, epoch, miss) for epoch in range(config.epochs)]
    total = sum(map(len, epochs)) - (config.epochs if miss == "total" else 0)
    optimizer = training.make_optimizer(model, config)
    scheduler = training.make_scheduler(optimizer, config, total)
    history = {"train": [], "validation": [], "stopped_early": False}
    best, kept, bad, step = 0 if miss == "zero" else None, probes.state_dict(model), 0, 0
    for batches in epochs:
        every = len(batches) if miss == "epochs" else config.eval_steps
        for batch in batches:
            rate, step = optimizer.param_groups[0]["lr"], step + 1
            loss = training.training_step(model, batch, optimizer, scheduler)
            history["train"].append({"step": step, "loss": loss, "learning_rate": rate})
            if step % every and (step < total or miss == "not the last"):
                continue
            scores = validate(model)
            history["validation"].append({"step": step, **scores})
            value = -scores["loss"] if miss == "loss" else scores["macro_f1"]
            better = best is None or value > best or (miss == "tie" and value == best)
            if better:
                best, kept = value, probes.state_dict(model)
            bad = bad + 1 if not better else bad if miss == "never reset" else 0
            if config.patience is not None and miss != "patience" and bad >= config.patience + (miss == "late"):
                history["stopped_early"] = step < total
                break
        if history["stopped_early"] and miss != "inner":
            break
    return history, probes.state_dict(model) if miss == "end" else kept


def reference_batches(rows, config, epoch, miss):
    """The updates of an epoch, the whole batch at once: parts that are weighted right give the same."""
    order = data.shuffled_rows(len(rows), config.seed, 0 if miss == "same order" else epoch)
    order = np.arange(len(rows)) if miss == "no order" else order
    full = len(rows) - len(rows) % config.batch_size if miss == "drops" else len(rows)
    return [[data.collate_vectors([rows[i] for i in order[start : start + config.batch_size]])]
            for start in range(0, full, config.batch_size)]


MISSES = {
    "end": "the weights at the end are those of the last update: keep a copy (`.clone()`) of the best ones, and load it",
    "tie": "a score that only equals the best one is no better: the first weights with it stay, and it counts for patience",
    "loss": "the best weights are those with the highest macro-F1, not those with the lowest loss",
    "zero": "the first evaluation is always the best so far, also with a score of 0",
    "epochs": "validation comes every `eval_steps` updates, wherever an epoch ends",
    "not the last": "the last update is followed by a validation too",
    "patience": "nothing stops it: `patience` evaluations in a row that are no better end the training",
    "late": "it stops one evaluation too late: `patience` evaluations that are no better are enough",
    "never reset": "a better evaluation sets the count of bad ones back to 0",
    "inner": "early stopping leaves the epoch, but the next epoch begins all the same",
    "total": "too few updates are planned: count the small last batch of each epoch too",
    "same order": "all epochs have the same order: give the number of the epoch to data.shuffled_rows",
    "no order": "the texts are not shuffled",
    "drops": "the small last batch of each epoch is left out",
}
WEIGHTS = "the weights at the end"
OF_TRAINING = ("total", "same order", "no order", "drops")  # the others are of what is kept, and when it ends


def differences(got, want):
    """Which parts of an answer's history and weights are not those wanted."""
    (history, weights), (wanted, kept) = got, want
    parts = {
        "the number of updates": same_rows(history["train"], wanted["train"], ("step",), whole=True),
        "the updates' losses": same_rows(history["train"], wanted["train"], ("loss",)),
        "the updates' learning rates": same_rows(history["train"], wanted["train"], ("learning_rate",)),
        "the validations": same_rows(history["validation"], wanted["validation"], ("step", "loss", "macro_f1"), whole=True),
        "`stopped_early`": bool(history["stopped_early"]) == wanted["stopped_early"],
        WEIGHTS: all(close(weights[name], kept[name]) for name in kept),
    }
    return [name for name, good in parts.items() if not good]


def same_rows(got, want, names, whole=False):
    """Whether rows say the same, up to where the shorter list ends unless they are compared as a `whole`."""
    shorter = min(len(got), len(want))
    return (len(got) == len(want) or not whole) and all(
        name in one and close(as_number(one[name], name), other[name])
        for one, other in zip(got[:shorter], want[:shorter], strict=True) for name in names)


def explain_fit(got, wrong, case):
    unsure = [] if wrong == [WEIGHTS] else [WEIGHTS]  # a history tells the cause too
    for miss, told in MISSES.items():
        if not set(differences(got, reference_fit(case, miss))) - set(unsure):
            return 0 if miss in OF_TRAINING else 1, told
    if "the updates' losses" in wrong:
        return 0, "the losses of the updates differ: the order, the share of each micro-batch, the rate? If a " \
            "function above is open, take the library's: `training.training_step`, `training.make_scheduler`"
    return 1 if WEIGHTS in wrong else 2, f"trained right; not as it should be: {'; '.join(wrong)}"


@check(points=6, seconds=120, contract=NOTHING_CALLED)
def sentiment(student, rng):
    """The saved model on held-out sentences: full points from the calibrated mean minus three deviations."""
    content = first_artifact(student, ("sentiment-gpu.safetensors", "sentiment-cpu.safetensors"))
    try:
        card, tensors = artifacts.read_artifact(content)
        language, labels = card.get("language"), card.get("labels")
        heldout = data.heldout_rows(language)
        if labels != heldout.features["label"].names:
            return 0, f"the classes of the artifact are not those of language {language!r}"
        model = artifacts.apply_artifact(models.load_sequence_classifier(labels), tensors)
    except (ValueError, KeyError) as error:
        return 0, f"the artifact cannot be used: {error}"
    return judge_classifier(model, heldout, language)


def judge_classifier(model, heldout, language):
    tokenizer = models.load_tokenizer()
    rows = data.tokenize(heldout, tokenizer)
    collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
    predictions = class_scores(model, language, rows, collate).argmax(-1)
    labels = np.array(heldout["label"])
    score, majority = evaluation.accuracy(labels, predictions), np.bincount(labels).max() / len(labels)
    record = marking.runs("lab2_finetuning", language, labels)["heldout_accuracy"]
    if record.empty:
        return 0, f"no model is marked in language {language!r} in this lab: hand in one for a language that is"
    wanted = marking.threshold("lab2_finetuning", language, "heldout_accuracy", labels)
    told = f"accuracy {score:.3f} on {len(labels)} held-out texts"
    standing.note("accuracy", score, wanted, record)
    if score >= wanted:
        return 6, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions)
    if low > majority:
        return 3, f"{told}: clearly above the majority class ({majority:.3f}), below the {wanted:.3f} that was wanted"
    return 0, f"{told}: not clearly above the majority class ({majority:.3f})"
