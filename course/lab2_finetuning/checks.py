"""Checks of lab 2, full fine-tuning. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
import torch
from leaplm import artifacts, data, evaluation, marking, models, training
from leaplm.calibration import prediction_bound
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Contract,
    Number,
    Numbers,
    Record,
    Several,
    Tensor,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, standing, tiny_models
from leaplm.grading.judge.remembered import class_scores

CLOSE = 1e-4


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


@check(points=2, contract=Contract("hidden attention_mask", Tensor("float", dims=2), gradient="hidden"))
def mean_pool(student, rng):
    """Five texts of different lengths, then one alone. Some numbers are 0 at tokens too."""
    hidden = rng.normal(loc=1, size=(5, 7, 3))
    hidden[:, 0, 0] = 0
    mask = (np.arange(7) < rng.permutation([1, 3, 4, 6, 7])[:, None]).astype(np.int64)
    got = as_array(student.call("mean_pool", hidden, mask), (5, 3), "mean_pool")
    alone = as_array(student.call("mean_pool", hidden[:1], mask[:1]), (1, 3), "mean_pool")
    want = np.stack([row[keep == 1].mean(axis=0) for row, keep in zip(hidden, mask, strict=True)])
    if close(got, want) and close(alone, want[:1]):
        if not learns_as(models.mean_pool, student, "mean_pool", hidden, mask):
            return 1, WRONG_GRADIENT
        return 2, "the mean leaves the padding out"
    full = mask.all(axis=1)
    hint = "is padding counted in the sum or in the number of tokens?" if close(got[full], want[full]) else \
        "add up over the tokens (dimension 1) and divide by their number"
    return 0, f"the means differ from the right ones: {hint}"


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


STEP = Contract("model batch optimizer scheduler", Number(), changes="model", random=FREE, mode="train",
                forward="train, grad", leaves="gradients")


@check(points=4, contract=STEP)
def training_step(student, rng):
    """Two steps where the gradient has to be clipped, then two where it is small and must stay as it is."""
    large, told = two_steps(student, rng, initializer_range=0.5)
    if large < 4:
        return large, told
    small, told = two_steps(student, rng, initializer_range=0.02)
    return (4, "two steps move the weights as they should") if small == 4 else \
        (2, "right for large gradients, but one whose norm is below 1 must stay as it is: clipping never enlarges it")


def two_steps(student, rng, initializer_range):
    first, second = random_batch(rng), random_batch(rng)
    settings = {"seed": int(rng.integers(10**6)), "initializer_range": initializer_range}
    model = student.build("leaplm.grading.judge.tiny_models:tiny_classifier", **settings)
    student.read(model, "leaplm.grading.judge.probes:set_training", False)
    optimizer = student.build("leaplm.grading.judge.probes:sgd", model, lr=0.3)
    scheduler = student.build("leaplm.grading.judge.probes:step_schedule", optimizer)
    want = tiny_models.tiny_classifier(**settings)
    want_optimizer = probes.sgd(want, lr=0.3)
    want_scheduler = probes.step_schedule(want_optimizer)
    losses = []
    for batch in (first, second):
        want_loss = reference_step(want, on_torch(batch), want_optimizer, want_scheduler)
        got = student.call("training_step", model, batch, optimizer, scheduler)
        losses.append((as_number(got, "the loss"), want_loss))
    weights = student.read(model, "leaplm.grading.judge.probes:state_dict")
    rates = student.read(optimizer, "leaplm.grading.judge.probes:learning_rates")
    moved = all(close(weights[name], value) for name, value in probes.state_dict(want).items())
    parts = {
        "the weights after two steps (order of the calls, old gradients, clipping to 1.0)": moved,
        "the loss returned (the one before the update)":
            all(close(got, right) for got, right in losses[: 2 if moved else 1]),  # the second follows from the weights
        "the learning rate after two steps (scheduler.step() once per step)":
            close(rates, probes.learning_rates(want_optimizer)),
    }
    wrong = [name for name, good in parts.items() if not good]
    if not wrong:
        return 4, "the weights are right"
    return 4 - len(wrong) if moved else 0, f"not as it should be: {'; '.join(wrong)}"


def reference_step(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    return loss.item()


@check(points=2, contract=Contract("step total_steps warmup_steps", Number()))
def warmup_linear(student, rng):
    total, warmup = int(rng.integers(50, 90)), int(rng.integers(5, 20))
    steps = [0, 1, warmup - 1, warmup, warmup + 1, total - 1, total]
    got = [as_number(student.call("warmup_linear", step, total, warmup), "warmup_linear") for step in steps]
    if not close(got, [training.warmup_linear(step, total, warmup) for step in steps]):
        return 0, "the factors differ: 0 at step 0, 1 at warmup_steps, 0 at total_steps, straight lines between"
    edges = [(total + 3, total, warmup), (0, total, 0), (total // 2, total, 0), (warmup, warmup + 1, warmup)]
    got = [as_number(student.call("warmup_linear", *edge), "warmup_linear") for edge in edges]
    if not close(got, [training.warmup_linear(*edge) for edge in edges]):
        return 1, "right inside; look at steps after total_steps (0) and at warmup_steps = 0 (begins at 1)"
    return 2, "up on one straight line, down on another"


EVALUATION = Contract("model batches", Several(Number(), Numbers("int", dims=1)), mode="any", forward="eval, no_grad",
                      own="leaplm.evaluation.evaluate leaplm.evaluation.predict_logits")


@check(points=3, contract=EVALUATION)
def evaluation_loop(student, rng):
    """Batches of different sizes on a model with strong dropout that is in training mode at first."""
    seed, batches = int(rng.integers(10**6)), [padded_batch(rng, size, labels=3) for size in (7, 8, 1)]
    settings = {"seed": seed, "num_labels": 3, "dropout": 0.5, "initializer_range": 0.5}
    model = student.build("leaplm.grading.judge.tiny_models:tiny_classifier", **settings)
    result = student.call("evaluation_loop", model, batches)
    want_loss, want = reference_evaluation(tiny_models.tiny_classifier(**settings).eval(), batches)
    predictions = as_array(result[1], (16,), "the predictions")
    if not np.array_equal(predictions, want):
        return 0, "the predictions differ: is dropout off, and is it the class with the largest logit?"
    if not close(as_number(result[0], "the loss"), want_loss):
        return 2, "right predictions; the loss should be the mean over texts, not over batches"
    return 3, "loss and predictions are right for batches of different sizes"


def reference_evaluation(model, batches):
    with torch.no_grad():
        logits = np.concatenate([model(**on_torch(batch)).logits.numpy() for batch in batches])
    labels = np.concatenate([batch["labels"] for batch in batches])
    return reference_cross_entropy(logits, labels), logits.argmax(axis=1)


@check(points=2, contract=Contract("rates accuracies", Number(), arrays="float64"))
def choose_learning_rate(student, rng):
    """Many random tables: among them such where the best rate, the smallest and the sample deviation each decide."""
    good = 0
    for case in range(20):
        rates = rng.permutation([1e-5, 3e-5, 1e-4, 3e-4, 1e-3])
        accuracies = rng.uniform(0.70, 0.78, size=(5, 1)) + rng.normal(scale=0.02, size=(5, 3))
        if case < 5:  # the smallest rate lies 0.9 sample deviations below the best: 1.1 of the other kind
            smallest, spread = rates.argmin(), float(rng.uniform(0.01, 0.02))
            accuracies = np.linspace(0.60, 0.62, 5)[:, None] + rng.normal(scale=0.001, size=(5, 3))
            accuracies[(smallest + 1) % 5] = 0.8 + spread * np.array([-1, 0, 1])
            accuracies[smallest] = 0.8 - 0.9 * spread
        if case in (7, 8):  # the smallest rate lies above the worst seed of the best, and further than its deviation below
            accuracies = np.linspace(0.60, 0.62, 5)[:, None] + rng.normal(scale=0.001, size=(5, 3))
            accuracies[rates.argmax()], accuracies[rates.argmin()] = 0.8 + 0.01 * np.array([1, -2, 1]), 0.8 - 0.0187
        exact = case in (5, 6)  # the smallest rate lies exactly one deviation below, in numbers that computers hold exactly
        if exact:
            accuracies[:], accuracies[rates.argmax()], accuracies[rates.argmin()] = 0.125, (0.25, 0.5, 0.75), 0.25
        got = as_number(student.call("choose_learning_rate", rates, accuracies), "choose_learning_rate")
        means, best = accuracies.mean(axis=1), accuracies.mean(axis=1).argmax()
        margin = np.abs(means - (means[best] - accuracies[best].std(ddof=1))).min()
        want = rates[means >= means[best] - accuracies[best].std(ddof=1)].min()
        good += (margin < 1e-6 and not exact) or np.isclose(got, want, rtol=1e-3, atol=0)
    if good == 20:
        return 2, "the smallest rate within one standard deviation of the best mean"
    return 0, "another rate fits the rule: best mean, its sample standard deviation, then the smallest rate within it"


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
    record = marking.runs("lab2_finetuning", language)["heldout_accuracy"]
    if record.empty:
        return 0, f"there is no record for language {language!r} yet: `leaplm add-language` makes one"
    wanted, told = max(majority + 0.02, prediction_bound(record)), f"accuracy {score:.3f} on {len(labels)} held-out texts"
    standing.note("accuracy", score, wanted, record)
    if score >= wanted:
        return 6, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions)
    if low > majority:
        return 3, f"{told}: clearly above the majority class ({majority:.3f}), below the {wanted:.3f} that was wanted"
    return 0, f"{told}: not clearly above the majority class ({majority:.3f})"
