"""Checks of lab 7, continual learning. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
import torch
from leaplm import artifacts, continual, data, marking, models
from leaplm.calibration import prediction_bound
from leaplm.continual import streams
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Anything,
    Contract,
    Either,
    FromGenerator,
    ListOf,
    MapOf,
    Nothing,
    Number,
    Numbers,
    Object,
    Several,
    StudentError,
    Tensor,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, standing, tiny_models
from leaplm.grading.judge.remembered import class_scores

PROBES = "leaplm.grading.judge.probes"
MODELS = "leaplm.grading.judge.tiny_models"
CLOSE = 1e-4


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


SCORES = Contract("matrix", Several(*3 * [Number()]),
                  own="leaplm.continual.average_accuracy leaplm.continual.backward_transfer leaplm.continual.forgetting")


@check(points=4, contract=SCORES)
def stream_scores(student, rng):
    """Average 1, backward transfer 1, forgetting 2. Streams that forget, that gain, and of two tasks."""
    names = ("the average accuracy (last row, all tasks)", "the backward transfer (last row against the diagonal)",
             "the forgetting (best value before the last row, against the last row; without the last task)")
    right, nearly = np.ones(3, bool), True
    for matrix in (random_stream(rng, 4), 1 - random_stream(rng, 3), random_stream(rng, 2), rng.uniform(size=(5, 5))):
        got = as_array(student.call("stream_scores", matrix), (3,), "stream_scores")
        want = continual.stream_scores(matrix)
        right &= [close(a, b) for a, b in zip(got, want, strict=True)]
        nearly = nearly and np.allclose(got, want, atol=0.006)
    if right.all():
        return 4, "average accuracy, backward transfer and forgetting are right"
    return int(right[0]) + int(right[1]) + 2 * int(right[2]), ROUNDED if nearly else \
        f"these differ: {'; '.join(name for name, good in zip(names, right, strict=True) if not good)}"


ROUNDED = "the numbers are nearly right: give them as they are, not rounded"


def random_stream(rng, tasks):
    """Every task falls at the end; the last but one was best before it was learned."""
    matrix = rng.uniform(0.4, 0.6, size=(tasks, tasks))
    matrix[-1, :-1] = rng.uniform(0.1, 0.3, size=tasks - 1)
    matrix[0, -2] = rng.uniform(0.7, 0.9)
    return matrix


@check(points=2, contract=Contract("head new_classes", Object("Linear"), random=FREE, own="leaplm.continual.grow_head",
                                   fresh=True))
def extend_head(student, rng):
    """One point for the new head, one for leaving the old one alone; a head that is frozen grows to one that learns."""
    seed, classes, more = int(rng.integers(10**6)), int(rng.integers(2, 5)), int(rng.integers(2, 5))
    head = student.build(f"{PROBES}:linear", 6, classes, seed=seed)
    old = probes.state_dict(probes.linear(6, classes, seed=seed))
    bigger = student.call("extend_head", head, more)
    new, learning = student.read(bigger, f"{PROBES}:state_dict"), student.read(bigger, f"{PROBES}:trainable")
    want = {name: np.concatenate([old[name], np.zeros((more, *old[name].shape[1:]), np.float32)]) for name in old}
    for name, value in want.items():
        if not np.array_equal(as_array(new.get(name), value.shape, f"the new head's {name}"), value):
            return 0, f"the new head's {name} differs: first the old rows exactly as they were, then rows of zeros"
    if sorted(learning) != ["bias", "weight"]:
        return 0, "weight and bias of the new head should both learn"
    if student.read(bigger, f"{PROBES}:attribute", "out_features") != classes + more:
        return 1, "the new head has the right weights, but its `out_features` still says how many classes there were before"
    student.read(bigger, f"{PROBES}:randomize", "", seed)
    after = student.read(head, f"{PROBES}:state_dict")
    if any(not np.array_equal(after[name], old[name]) for name in old):
        return 1, "the new head is right; but the one that was given should stay as it was"
    student.read(head, f"{PROBES}:freeze", "")
    if len(student.read(student.call("extend_head", head, more), f"{PROBES}:trainable")) != 2:
        return 1, "right; but weight and bias of the new head should learn also where those of the old one do not"
    return 2, "old classes keep their weights, new ones start at zero"


@check(points=3, contract=Contract("seen capacity rng", Either(Number(whole=True), Nothing()), random=FromGenerator(2)))
def reservoir_slot(student, rng):
    """A buffer that fills, one of 1 place and one of 3 that are full: how often each place is given, and how often none."""
    source = student.build(f"{PROBES}:generator", int(rng.integers(10**6)))
    many = 5000  # full: nearly every draw differs, so that the contract can see what the draws depend on
    slot_of(student, many, many, source)
    filling = [slot_of(student, seen, 4, source) for seen in range(4)]
    if filling != [0, 1, 2, 3]:
        return 0, "while the buffer has room, row number `seen` goes to place `seen`"
    for seen, capacity, tries in ((1, 1, 600), (9, 3, 1000)):
        answer = student.get("reservoir_slot")
        slots = student.read(answer, f"{PROBES}:slots", tries, seen, capacity, source)
        if any(slot is not None and slot not in range(capacity) for slot in slots):
            return 1, "right while there is room; then the answer is a place from 0 to capacity - 1, or None"
        shares = [slots.count(place) / tries for place in range(capacity)]
        share = 1 / (seen + 1)
        margin = 5 * np.sqrt(share * (1 - share) / tries)  # of a right answer, one in a million is outside
        if np.abs(np.array(shares) - share).max() > margin:
            return 1, f"right while there is room; row number {seen} should come to each place 1 time in {seen + 1}"
    return 3, "every row of the stream has the same chance to be kept"


def slot_of(student, seen, capacity, source):
    slot = student.call("reservoir_slot", seen, capacity, source)
    return None if slot is None else int(as_number(slot, "reservoir_slot"))


@check(points=2, contract=Contract("new_rows buffer num_replay", ListOf(MapOf(Anything())), random=FREE))
def mixed_batch(student, rng):
    new = [{"input_ids": rng.integers(5, 60, size=3).tolist(), "label": n} for n in range(4)]
    old = [{"input_ids": rng.integers(5, 60, size=3).tolist(), "label": n} for n in range(100, 106)]
    if rows_of(student.call("mixed_batch", new, [], 3)) != new:
        return 0, "with an empty buffer the batch is the new rows"
    if rows_of(student.call("mixed_batch", new, old, 0)) != new:
        return 0, "with num_replay 0 the batch is the new rows"
    drawn = [rows_of(student.call("mixed_batch", new, old, size)) for size in (6, 9, *[2] * 40)]
    if any(rows[:4] != new for rows in drawn):
        return 0, "the batch begins with all the new rows, in their order"
    if any(sorted(rows[4:], key=label_of) != old for rows in drawn[:2]):
        return 0, "a row of the buffer may come once in a batch at most; if there are fewer than num_replay, take them all"
    if any(len(rows) != 6 or rows[4] == rows[5] or any(row not in old for row in rows[4:]) for rows in drawn[2:]):
        return 0, "num_replay different rows of the buffer should follow the new ones"
    pairs = [sorted(label_of(row) - 100 for row in rows[4:]) for rows in drawn[2:]]
    if len({place for pair in pairs for place in pair}) < 6 or all(b - a in (1, 5) for a, b in pairs):
        return 0, "over many batches every row of the buffer should come, beside every other: draw at random each time"
    alike = [new[1], old[0], old[0], old[1]]
    if sorted(map(label_of, rows_of(student.call("mixed_batch", new, alike, 4))[4:])) != [1, 100, 100, 101]:
        return 1, "right where all rows differ; of rows that read the same, each has its own place in the buffer"
    return 2, "new rows, then old ones at random"


def rows_of(rows):
    """The rows that came back, if they are rows with labels, by which they are told apart; else nothing."""
    return rows if all("label" in row and isinstance(row["label"], int) for row in rows) else []


def label_of(row):
    return row["label"]


def random_texts(rng, count=5, labels=3):
    return [{"input_ids": rng.integers(5, 60, size=(1, int(n))), "attention_mask": np.ones((1, int(n)), dtype=np.int64),
             "labels": rng.integers(labels, size=1)} for n in rng.integers(3, 9, size=count)]


def on_torch(batch):
    return {name: torch.from_numpy(array) for name, array in batch.items()}


FISHER = Contract("model texts", MapOf(Tensor("float")), gradient="none", mode="any", forward="eval, grad",
                  leaves="gradients")


@check(points=4, contract=FISHER)
def fisher_diagonal(student, rng):
    """A tiny BERT in training mode with dropout and old gradients; a part is frozen. The sum in place of the mean: 2."""
    texts = random_texts(rng)
    settings = {"seed": int(rng.integers(10**6)), "num_labels": 3, "dropout": 0.5, "initializer_range": 0.5}
    model = student.build(f"{MODELS}:tiny_classifier", **settings)
    student.read(model, f"{PROBES}:freeze", "embeddings")
    student.read(model, f"{PROBES}:leave_gradients")
    got = student.call("fisher_diagonal", model, texts)
    want = reference_fisher(settings, texts)
    if not isinstance(got, dict) or set(got) != set(want):
        return 0, "fisher_diagonal should return a dict with the name of each parameter that learns, and no other"
    got = {name: as_array(got[name], value.shape, f"the Fisher values of {name}") for name, value in want.items()}
    if all(close(got[name], value) for name, value in want.items()):
        return 4, "the mean over texts of each text's squared gradient"
    if all(close(got[name], value * len(texts)) for name, value in want.items()):
        return 2, "right up to a factor: take the mean over the texts, not the sum"
    return 0, "the values differ: is dropout off, are old gradients forgotten, is each text's gradient squared by itself?"


def reference_fisher(settings, texts):
    model = tiny_models.tiny_classifier(**settings).eval()
    probes.freeze(model, "embeddings")
    found = []
    for batch in texts:
        model.zero_grad()
        model(**on_torch(batch)).loss.backward()
        found.append({name: gradient.astype(np.float64) ** 2 for name, gradient in probes.gradients(model).items()})
    return {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}


@check(points=3, contract=Contract("model old fisher strength", Tensor("float", dims=0), gradient="model"))
def ewc_penalty(student, rng):
    """The value, its gradient, and a head that has grown: one point each. A part of the model was not kept."""
    settings = {"seed": int(rng.integers(10**6)), "num_labels": 5, "initializer_range": 0.5}
    model, reference = student.build(f"{MODELS}:tiny_classifier", **settings), tiny_models.tiny_classifier(**settings)
    weights, strength = probes.state_dict(reference), float(rng.uniform(2, 9))
    kept = [name for name in rng.permutation(list(weights)).tolist() if "position_embeddings" not in name]
    old = {name: weights[name] + rng.normal(scale=0.1, size=weights[name].shape).astype(np.float32) for name in kept}
    fisher = {name: rng.uniform(0.1, 2, size=weights[name].shape).astype(np.float32) for name in reversed(kept)}
    got = as_number(student.call("ewc_penalty", model, old, fisher, strength), "the penalty")
    if not close(got, reference_penalty(weights, old, fisher, strength)):
        return 0, "the penalty differs: strength / 2, times the sum over the kept weights of fisher times squared distance"
    gradients = student.read(student.get("ewc_penalty"), f"{PROBES}:gradients_through", model, old, fisher, strength)
    if not all(name in gradients and close(gradients[name], strength * fisher[name] * (weights[name] - old[name]))
               for name in kept):
        return 1, "the number is right, but its gradient is not: keep it a tensor that depends on the model's parameters"
    if not all(grown_penalty_is_right(student, model, (weights, old, fisher, strength), rows) for rows in (1, 3)):
        return 2, "right for a head of the same size; of one that has grown, compare the first rows only"
    return 3, "value and gradient are right, also after the head has grown"


def reference_penalty(weights, old, fisher, strength):
    return strength / 2 * sum((fisher[name].astype(np.float64) * (weights[name][: len(old[name])] - old[name]) ** 2).sum()
                              for name in old)


def grown_penalty_is_right(student, model, given, rows):
    """Whether the penalty is right where only the first rows of the head were kept."""
    weights, old, fisher, strength = given
    old, fisher = ({name: value[:rows] if name.startswith("classifier") else value for name, value in tensors.items()}
                   for tensors in (old, fisher))
    try:
        got = as_number(student.call("ewc_penalty", model, old, fisher, strength))
    except StudentError:  # it breaks there; what was right before still counts
        return False
    return close(got, reference_penalty(weights, old, fisher, strength))


@check(points=2, contract=Contract("vectors centroids", Numbers("int", dims=1)))
def route(student, rng):
    """Vectors of very different length, away from zero: product, distance, correlation and other lengths choose others."""
    centroids = (rng.normal(loc=0.5, size=(5, 4)) * rng.permutation([[0.5], [1], [3], [10], [40]])).astype(np.float32)
    vectors = (rng.normal(loc=0.5, size=(400, 4)) * rng.choice([0.2, 3.0, 30.0], size=(400, 1))).astype(np.float32)
    cosines = unit(vectors) @ unit(centroids).T
    ranked = np.sort(cosines, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 1e-3  # no ties
    for chosen in (vectors[clear], vectors[clear][:5], vectors[clear][:1]):  # as many texts as tasks, and one alone
        got = as_array(student.call("route", chosen, centroids), (len(chosen),), "route")
        if not np.array_equal(got, (unit(chosen) @ unit(centroids).T).argmax(axis=1)):
            return 0, "another task has the larger cosine: divide both by their lengths, then compare texts with tasks"
    return 2, "each text goes to the task whose centroid has the largest cosine with it"


def unit(vectors):
    return vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)


@check(points=6, seconds=180, contract=NOTHING_CALLED)
def stream_model(student, rng):
    """The model after the whole stream on the held-out texts of all tasks: 4 points for the average, 2 for the worst."""
    content = first_artifact(student, ("stream-gpu.safetensors", "stream-cpu.safetensors"))
    try:
        card, tensors = artifacts.read_artifact(content)
        language = card.get("language")
        tasks = streams.heldout_stream(language)
        classes = streams.all_classes(tasks)
        if card.get("classes") != classes:
            return 0, f"the classes of the artifact are not those of the stream of language {language!r}"
        model = artifacts.apply_artifact(models.load_sequence_classifier(classes), tensors)
    except (ValueError, KeyError, TypeError) as error:
        return 0, f"the artifact cannot be used: {error}"
    return judge_stream(model, tasks, language)


def judge_stream(model, tasks, language):
    collate = data.DynamicPaddingCollator(models.load_tokenizer().pad_token_id)
    logits = [class_scores(model, f"{language} {task.name}", task.test, collate) for task in tasks]
    scores = [np.mean(found.argmax(-1) == [row["label"] for row in task.test])
              for found, task in zip(logits, tasks, strict=True)]
    rows = sum(len(task.test) for task in tasks)
    average, worst = np.mean(scores), min(scores)
    ours = marking.runs("lab7_continual", language)
    if not len(ours):
        return 0, f"there is no record for language {language!r} yet: `leaplm add-language` makes one"
    wanted, least = (prediction_bound(ours[name]) for name in ("heldout_average", "heldout_worst"))
    standing.note("average accuracy", average, wanted, ours.heldout_average)
    standing.note("accuracy on the worst task", worst, least, ours.heldout_worst)
    told = f"held-out texts of all tasks: average accuracy {average:.3f} (wanted {wanted:.3f}), " \
           f"worst task {worst:.3f} (wanted {least:.3f})"
    points = 4 * bool(average >= wanted) + 2 * bool(worst >= least)
    if points < 3 and average - 2 * np.sqrt(average * (1 - average) / rows) > 1 / len(tasks):
        return 3, f"{told}: clearly more than a model that knows one task alone can reach ({1 / len(tasks):.3f})"
    return points, told
