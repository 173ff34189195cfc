"""Checks of lab 7, continual learning. Inputs are fresh and random at each run; references are computed here."""

from collections import Counter
from itertools import pairwise

import numpy as np
import torch
from leaplm import artifacts, continual, data, marking, models
from leaplm.continual import heads, streams
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Contract,
    FromGenerator,
    ListOf,
    MapOf,
    Number,
    Numbers,
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


BUFFER = {"ReservoirBuffer": Contract("capacity seed"),
          "method()": Contract("rows", own="leaplm.continual.ReservoirBuffer leaplm.continual.reservoir_slot")}


@check(points=2, contract=BUFFER)
def reservoir_buffer(student, rng):
    """A buffer that fills, goes on, and gets rows that read the same (one point); then the shares of many streams."""
    if problem := judge_filling(student, rng):
        return 0, problem
    for capacity, sizes, runs in ((3, (2, 5, 2), 600), (1, (1, 1, 0), 1000)):
        if problem := judge_shares(student, rng, capacity, sizes, runs):
            return 1, f"right until the buffer is full; {problem}"
    return 2, "every row of the stream has the same chance to be kept"


def judge_filling(student, rng):
    """What is wrong with a buffer of 4 places in the first steps; None if nothing."""
    seed, names = int(rng.integers(10**6)), [f"row {n}" for n in rng.permutation(50)]
    buffer, other = (student.call("ReservoirBuffer", 4, seed) for _ in range(2))
    add = student.build(f"{PROBES}:method_of", buffer, "add")
    given = student.build(f"{PROBES}:value", names[:2])
    steps = ((given, names[:2]), (names[2:3], names[:3]), ([], names[:3]), (names[:1], [*names[:3], names[0]]))
    for count, (rows, want) in zip((2, 3, 3, 4), steps, strict=True):
        student.call(add, rows)
        kept, seen = state_of(student, buffer)
        if kept != want:
            return "while there is room each row goes in, in its order, also one that reads as another does"
        if seen != count:
            return "`seen` counts all rows that came, in all calls of `add`"
    if student.read(given, f"{PROBES}:value") != names[:2]:
        return "the buffer holds the very list that it was given, and changes it: it needs a list of its own"
    if state_of(student, other) != ([], 0) or state_of(student, student.call("ReservoirBuffer", 4)) != ([], 0):
        return "two buffers share their rows or their count: make them in `__init__`, with `self.`"
    student.call(add, names[3:20])
    kept, seen = state_of(student, buffer)
    if len(kept) != 4 or not set(kept) <= set(names[:20]):
        return "a full buffer has exactly `capacity` rows, all of them rows that came"
    return None if seen == 21 else "`seen` counts the rows that are not kept, too"


def state_of(student, buffer):
    """(rows, seen) of a student's buffer."""
    rows, seen = (student.read(buffer, f"{PROBES}:attribute", name) for name in ("rows", "seen"))
    if not isinstance(rows, list):
        raise StudentError("unexpected", "`rows` of a buffer should be a list.")
    return rows, as_number(seen, "`seen` of a buffer")


def judge_shares(student, rng, capacity, sizes, runs):
    """What is wrong with the shares of rows kept, over many seeds; None if nothing."""
    numbers = iter(range(sum(sizes)))
    parts = [[next(numbers) for _ in range(size)] for size in sizes]
    seeds = rng.choice(10**6, size=runs, replace=False).tolist()
    make = student.get("ReservoirBuffer")
    found = student.read(make, f"{PROBES}:kept_of_streams", seeds, capacity, parts)
    if found[:20] != student.read(make, f"{PROBES}:kept_of_streams", seeds[:20], capacity, parts):
        return "but equal seeds should keep equal rows: draw from a source that `__init__` makes from `seed`"
    if any(len(kept) != capacity or not set(map(repr, kept)) <= set(map(repr, range(sum(sizes)))) for kept in found):
        return "then it should stay full, with rows that came"
    if capacity > 1 and all(sorted(kept) == sorted(found[0]) for kept in found):  # with one place: a draw too few
        return "then the same rows are kept with every seed: each row that comes should have its chance"
    shares = np.bincount(sum(found, []), minlength=sum(sizes)) / runs
    share = capacity / sum(sizes)
    margin = 5 * np.sqrt(share * (1 - share) / runs)  # of a right answer, one in a million is outside
    if any(len(set(kept)) != capacity for kept in found):
        return "then a row that came once should be kept once"
    if np.abs(shares - share).max() > margin:
        return f"of {sum(sizes)} rows and {capacity} places each row should be kept in {share:.2f} of all streams"
    return None


EPOCHS = 20
EPOCH = Contract("rows kept batch_size num_replay rng", ListOf(Several(Tensor(), Tensor())), random=FromGenerator(4))


@check(points=2, contract=EPOCH)
def mixed_epoch(student, rng):
    """A last batch that is smaller, and one that is full; an empty buffer, one that is too small, and no replay."""
    source = student.build(f"{PROBES}:generator", int(rng.integers(10**6)))
    new, old = vector_rows(rng, range(11)), vector_rows(rng, range(100, 106))
    first = epoch_of(student, new, old, 4, 2, source)
    if problem := misplaced(first, new, old, 4, 2):
        return 0, problem
    for rows, kept, size, count in ((new, [], 4, 2), (new, old, 4, 0), (new[:8], old, 4, 2), (new, old, 5, 9),
                                    (new[:3], old, 8, 6)):
        if problem := misplaced(epoch_of(student, rows, kept, size, count, source), rows, kept, size, count):
            return 1, f"right for a full buffer and a smaller last batch; elsewhere {problem}"
    epochs = [epoch_of(student, new, old, 4, 2, source) for _ in range(EPOCHS)]
    if problem := not_random(epochs):
        return 1, problem
    alike = [old[0], old[0], old[1]]
    labels = [number for number in epoch_of(student, new[:1], alike, 4, 3, source)[0] if number >= 100]
    if sorted(labels) != [100, 100, 101]:
        return 1, "right where all rows differ; of rows that read the same, each has its own place in the buffer"
    return 2, "every new row once, and kept rows at random beside them"


def vector_rows(rng, labels, width=3):
    return [{"vector": rng.normal(size=width).astype(np.float32), "label": int(label)} for label in labels]


def epoch_of(student, rows, kept, batch_size, num_replay, source):
    """The labels of each batch of an answer's epoch; StudentError where a vector is not that of its label."""
    of_label, found = {row["label"]: row["vector"] for row in rows + kept}, []
    for vectors, labels in student.call("mixed_epoch", rows, kept, batch_size, num_replay, source):
        labels = as_array(labels, getattr(vectors, "shape", ())[:1] or (None,), "the labels of a batch")
        if labels.dtype != np.int64:
            raise StudentError("unexpected", "The labels of a batch should be whole numbers (int64).")
        labels = labels.tolist()
        vectors = as_array(vectors, (len(labels), 3), "the vectors of a batch")
        if any(label not in of_label or not close(vector, of_label[label])
               for vector, label in zip(vectors, labels, strict=True)):
            raise StudentError("unexpected", "In `mixed_epoch` a label stands beside the vector of another row.")
        found.append(labels)
    return found


def misplaced(batches, rows, kept, batch_size, num_replay):
    """What is wrong with the rows of an epoch's batches; None if nothing. Kept rows have labels from 100 on."""
    new = [[label for label in batch if label < 100] for batch in batches]
    if sorted(sum(new, [])) != sorted(row["label"] for row in rows):
        return "every new row should come exactly once in an epoch, also those of a last batch that is not full"
    sizes = [min(batch_size, len(rows) - start) for start in range(0, len(rows), batch_size)]
    if [len(part) for part in new] != sizes:
        return "each batch should have `batch_size` new rows, the last one those that are left"
    count = min(num_replay, len(kept))
    if any(len(batch) - len(part) != count for batch, part in zip(batches, new, strict=True)):
        return "each batch should have `num_replay` kept rows beside the new ones, or all that there are"
    if any(len(set(batch)) != len(batch) for batch in batches):
        return "no kept row comes twice in one batch"
    return None


def not_random(epochs):
    """What is not random in many epochs of the same rows; None if nothing."""
    orders = [[label for batch in batches for label in batch if label < 100] for batches in epochs]
    if any(len({tuple(order[place:place + 4]) for order in orders}) == 1 for place in (0, 4)):
        return "the new rows come in the same order in each epoch: shuffle them"
    if len({frozenset(order[:4]) for order in orders}) < 4:
        return "the same new rows are together in each epoch: shuffle all of them, not only those of a batch"
    found = Counter(pair for order in orders for pair in [*enumerate(order), *zip(order, map(str, order[1:]), strict=False)])
    if max(found.values()) > 0.6 * EPOCHS:  # one in 11 is right: in a right answer, one in a million has so many
        return "the order of the new rows is not random: in time each row should come at each place, behind each other row"
    drawn = [[frozenset(label for label in batch if label >= 100) for batch in batches] for batches in epochs]
    pairs = {tuple(sorted(pair)) for sets in drawn for pair in sets}
    if len(pairs) > 1 and (all(len(set(sets)) == 1 for sets in drawn)
                           or all(a.isdisjoint(b) for sets in drawn for a, b in pairwise(sets))):
        return "the kept rows are drawn once an epoch: draw anew for each batch"
    if len({label for pair in pairs for label in pair}) < 6 or all(b - a in (1, 5) for a, b in pairs) \
            or any(len(set(sets)) < 5 for sets in zip(*drawn, strict=True)):
        return "over many batches every kept row should come, beside every other: draw at random each time"
    return None


HEADS = "leaplm.continual.grow_head leaplm.continual.extend_head"
LEARN = {
    "grow_head": Contract("model classes", changes="model", random=FREE, leaves="gradients frozen", own=HEADS),
    "learn_task": Contract("model rows classes buffer rng epochs learning_rate batch_size num_replay", ListOf(Number()),
                           gradient="none", changes="model", random=FREE, mode="eval", leaves="gradients frozen",
                           forward="train, grad", own=HEADS),
}  # fmt: skip
WIDTH = 4


@check(points=3, contract=LEARN)
def learn_task(student, rng):
    """Where the head has all classes, the training; where it grows, that and the training; what is kept. A point each."""
    if problem := judge_learning(student, rng, classes=3, kept=[], epochs=3, batch_size=3, training=False)[0]:
        return 0, (judge_growing(student, rng) if problem == OTHER_WEIGHTS else None) or problem
    problem, left = judge_learning(student, rng, classes=5, kept=[0, 1, 1, 0], epochs=2, batch_size=4, training=True)
    wrong = [told for told in (judge_growing(student, rng) or problem, left) if told]
    if wrong:
        return 3 - len(wrong), f"the training is right in a first task; {'; '.join(wrong)}"
    return 3, "the head grows, learns from new and kept rows, and the buffer remembers"


def judge_growing(student, rng):
    """What is wrong with `grow_head`; None if nothing."""
    for classes, more in ((2, 3), (3, 0)):
        seed = int(rng.integers(10**6))
        model, before = (student.build(f"{PROBES}:modal_head", WIDTH, classes, seed) for _ in range(2))
        old = student.read(before, f"{PROBES}:state_dict")
        head = student.build(f"{PROBES}:attribute", model, "classifier")
        if more:
            student.read(head, f"{PROBES}:freeze", "")
        student.call("grow_head", model, classes + more)
        new = student.read(model, f"{PROBES}:state_dict")
        for name in ("weight", "bias"):
            was, now = old[f"classifier.{name}"], new.get(f"classifier.{name}")
            if not np.array_equal(as_array(now, (classes + more, *was.shape[1:]), f"the new head's {name}"),
                                  np.concatenate([was, np.zeros((more, *was.shape[1:]), np.float32)])):
                return f"`grow_head`: the new head's {name} should be the old rows exactly as they were, then rows of zeros"
        if sum(name.startswith("classifier") for name in student.read(model, f"{PROBES}:trainable")) != 2:
            return "`grow_head`: weight and bias of the new head should learn, also where those of the old one do not"
        grown = student.build(f"{PROBES}:attribute", model, "classifier")
        if student.read(grown, f"{PROBES}:sizes") != [WIDTH, classes + more]:
            return "`grow_head`: the head has the right weights, but its `out_features` says another number of classes"
        student.read(model, f"{PROBES}:randomize", "", seed)
        if more and not np.array_equal(student.read(head, f"{PROBES}:state_dict")["weight"], old["classifier.weight"]):
            return "`grow_head`: the old head should stay as it was"
    return None


def judge_learning(student, rng, classes, kept, epochs, batch_size, training):
    """(what is wrong with the training, what is wrong beside it) of one task; None for nothing.

    The batches are the answer's own, as the model saw them: the reference is trained on the same.
    """
    seed, rate = int(rng.integers(10**6)), float(rng.uniform(0.05, 0.2))
    rows = vector_rows(rng, [*range(classes - 2, classes)] * 3 + [classes - 1], WIDTH)
    old = vector_rows(rng, kept, WIDTH)
    model = student.build(f"{PROBES}:modal_head", WIDTH, 3, seed)
    student.read(model, f"{PROBES}:leave_gradients")
    student.read(model, f"{PROBES}:set_training", training)
    buffer = student.build(f"{PROBES}:filled_buffer", 4 if not kept else 50, old, seed)
    source = student.build(f"{PROBES}:generator", seed)
    losses = student.call("learn_task", model, rows, classes, buffer, source, epochs, rate, batch_size, 2)
    batches = student.read(model, f"{PROBES}:vectors_given")
    used = student.read(source, f"{PROBES}:next_number") != probes.next_number(probes.generator(seed))
    if problem := wrong_batches(batches, rows, old, epochs, batch_size):
        return problem if used or problem != SAME_BATCHES else NOT_ITS_SOURCE, None
    labels = {row["vector"].tobytes(): row["label"] for row in rows + old}
    pairs = [(batch, [labels[vector.tobytes()] for vector in batch]) for batch in batches]
    settings = {"seed": seed, "classes": classes, "rate": rate, "epochs": epochs}
    weights = student.read(model, f"{PROBES}:state_dict")
    if problem := blame_weights(weights, pairs, settings):
        return problem, None
    if not used:
        return None, NOT_ITS_SOURCE
    if not close_to(losses, reference_learning(pairs, **settings)[0]):
        return None, "the losses should be the means over the batches of an epoch, one number an epoch"
    return None, wrong_memory(student.read(buffer, f"{PROBES}:buffer_state"), rows, old)


def wrong_batches(batches, rows, old, epochs, batch_size):
    """What is wrong with the batches that the model saw; None if nothing."""
    new, kept = ({row["vector"].tobytes() for row in some} for some in (rows, old))
    each = -(-len(rows) // batch_size)
    seen = [[vector.astype(np.float32).tobytes() for vector in batch] for batch in batches]
    if any(vector not in new | kept for batch in seen for vector in batch):
        return "the model is given other vectors than those of the rows"
    if len(seen) != epochs * each:
        return f"the model is trained on {len(seen)} batches; {epochs} epochs of {len(rows)} rows with batch_size " \
               f"{batch_size} are {epochs * each}"
    parts = [seen[start : start + each] for start in range(0, len(seen), each)]
    for part in parts:
        if sorted(vector for batch in part for vector in batch if vector in new) != sorted(new):
            return "an epoch should have every new row once: rows come into the buffer after the training, not before"
        if any(sum(vector in kept for vector in batch) != min(2, len(old)) for batch in part):
            return "each batch should have `num_replay` rows of buffer.rows beside the new ones"
    if all(list(map(sorted, part)) == list(map(sorted, parts[0])) for part in parts):
        return SAME_BATCHES
    return None


SAME_BATCHES = "each epoch has the same batches: call `mixed_epoch` for each epoch"
NOT_ITS_SOURCE = "the batches should be drawn with the `rng` that is given"
NO_STEP = "the head does not learn: is there one `step` a batch, with its gradients, by an optimizer that holds the " \
          "weights of the grown head?"
OLDER = "the first update counts older gradients: `zero_grad` before `backward`"
EARLIER = "the gradients of earlier updates are still there: `zero_grad` before `backward`"
NEAR_MISSES = [({"clear": "behind"}, OLDER), ({"clear": "behind", "stale": False}, OLDER),
               ({"clear": "never"}, EARLIER), ({"clear": "never", "stale": False}, EARLIER), ({"clear": "head"}, EARLIER),
               ({"learns": "classifier"}, "not only the head learns: the optimizer should hold all of model.parameters()"),
               ({"mode": False}, "the model learns in evaluation mode: `model.train()` before the first batch"),
               ({"reduction": "sum"}, "the loss is the mean over the rows of a batch, not their sum"),
               ({"anew": True}, "there should be one optimizer for the whole task, not a new one for each epoch"),
               ({"optimizer": "Adam"}, "the optimizer should be torch.optim.AdamW"),
               ({"optimizer": "SGD"}, "the optimizer should be torch.optim.AdamW"),
               ({"learns": "scale"}, NO_STEP), ({"rate": 0.0}, NO_STEP)]
OTHER_WEIGHTS = "other weights: grow the head, then AdamW with learning_rate, one update a batch, in training mode, on " \
                "the mean cross-entropy of all rows of the batch"


def blame_weights(weights, pairs, settings):
    """What is wrong with the weights after the training; None if nothing."""
    def alike(**miss):
        want = reference_learning(pairs, **{**settings, **miss})[1]
        return all(weights.get(name) is not None and close_to(weights[name], value) for name, value in want.items())

    if alike():
        return None
    return next((told for miss, told in NEAR_MISSES if alike(**miss)), OTHER_WEIGHTS)


def close_to(got, want):
    return np.shape(got) == np.shape(want) and bool(np.allclose(got, want, atol=1e-3, rtol=1e-3))


def reference_learning(pairs, seed, classes, rate, epochs, clear="before", mode=True, reduction="mean", anew=False,
                       optimizer="AdamW", stale=True, learns=""):
    """(mean loss of each epoch, weights) of the training on these batches, as the lab asks for it or a near miss."""
    model = probes.modal_head(WIDTH, 3, seed)
    probes.leave_gradients(model)
    continual.grow_head(model, classes)
    if classes == 3 and stale:
        probes.leave_gradients(model)  # whoever keeps the head where it need not grow keeps its old gradients
    model.train(mode)
    each, history, steps = len(pairs) // epochs, [], None
    for number, (vectors, labels) in enumerate(pairs):
        if steps is None or (anew and number % each == 0):
            some = [weights for name, weights in model.named_parameters() if learns in name]
            steps = getattr(torch.optim, optimizer)(some, lr=rate)
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(vectors)), torch.tensor(labels), reduction=reduction)
        if clear == "before":
            steps.zero_grad()
        if clear == "head":
            model.classifier.zero_grad()
        loss.backward()
        steps.step()
        if clear == "behind":
            steps.zero_grad()
        history.append(loss.item())
    return [float(np.mean(history[start : start + each])) for start in range(0, len(pairs), each)], probes.state_dict(model)


def wrong_memory(state, rows, old):
    """What is wrong with a buffer after the task; None if nothing."""
    if state["seen"] != len(old) + len(rows):
        return "after the training each of the task's rows should go into the buffer once: buffer.add(rows)"
    vectors = [row["vector"].astype(np.float32).tobytes() for row in state["rows"]]
    allowed = [row["vector"].tobytes() for row in old + rows]
    if len(vectors) != min(state["capacity"], len(allowed)) or not set(vectors) <= set(allowed):
        return "the buffer should hold rows of this task and of those before, as `add` has chosen them"
    return None


RUN = {"score": Contract("model rows places", Number(), mode="any", forward="eval, no_grad"),
       "run_tasks": Contract("model tasks learn", Several(*2 * [Numbers(dims=2)]), changes="model", mode="any",
                             forward="eval, no_grad", own="leaplm.continual.streams.run_stream")}


@check(points=2, contract=RUN)
def run_tasks(student, rng):
    """Five tasks with test sets of other sizes; one shares its classes with an earlier one and is known before it comes, one
    brings no new class. A head that has all classes from the start, then one that grows; a learner that builds on what the
    model knows and leaves it in training mode. One point a matrix."""
    if problem := judge_score(student, rng, int(rng.integers(10**6))):
        return 0, problem
    for count, classes in ((5, 7), (5, 2), (1, 2)):
        points, told = judge_stream_of_tasks(student, classes, *stream_case(rng, count, classes))
        if points < 2:
            break
    return points, told


def judge_stream_of_tasks(student, classes, seed, tasks, want):
    """Points and message of one stream, for a head that begins with so many classes."""
    model = student.build(f"{PROBES}:modal_head", WIDTH, classes, seed)
    learner = student.build(f"{PROBES}:scripted_learner", seed)
    matrices = student.call("run_tasks", model, tasks, learner)
    got = [as_array(matrix, want[0].shape, "each matrix") for matrix in matrices]
    asked = student.read(learner, f"{PROBES}:tasks_asked")
    if asked != [task["name"] for task in tasks]:
        return 0, "`learn` should be called once for each task, in the order of the tasks"
    right = [close(a, b) for a, b in zip(got, want, strict=True)]
    if all(right):
        return 2, "R, and R with the task known"
    if any(right):
        return 1, f"right but for `{('matrix', 'known')[right.index(False)]}`: {blame_matrix(got, want, right.index(False))}"
    return 0, f"both matrices differ: {blame_matrix(got, want, 0)}"


def blame_matrix(got, want, which):
    if close(got[0], want[1]) and close(got[1], want[0]):
        return "they have changed places: first R, then R with the task known"
    if close(got[which], want[which].T):
        return "rows and columns have changed places: i is the task that was learned last, j the task tested"
    if which == 1 and close(np.tril(got[1]), want[1]):
        return "tasks still to come have 0 there"
    if which == 0 and close(np.tril(got[0]), np.tril(want[0])):
        return "tasks still to come are tested too; only where the head has none of their classes the score is 0"
    return "after each task, in evaluation mode, the test rows of every task; `known` with the places of the task tested"


def judge_score(student, rng, seed):
    """What is wrong with `score`; None if nothing."""
    ours = probes.modal_head(WIDTH, 6, seed).eval()
    for places in (None, [0, 4, 1], [2, 3], [0], [5]):
        model = student.build(f"{PROBES}:modal_head", WIDTH, 6, seed)
        rows = vector_rows(rng, rng.choice(places or 6, size=133), WIDTH)
        with torch.no_grad():
            logits = ours(torch.from_numpy(np.stack([row["vector"] for row in rows]))).numpy()
        competing = np.array(range(6) if places is None else places)
        right = competing[logits[:, competing].argmax(axis=1)] == [row["label"] for row in rows]
        # Those that are right come first: who leaves out the last ones, or weighs them more, has another share.
        rows = [rows[place] for place in np.argsort(~right, kind="stable")]
        got = as_number(student.call("score", model, rows, places), "score")
        if abs(got - right.mean()) > CLOSE:
            kind = "when all classes compete" if places is None else "when only the classes in `places` compete"
            return f"`score` differs {kind}: the share of rows whose largest logit is their label's, in evaluation mode"
    return None


def stream_case(rng, count, classes):
    """(seed, tasks, [R, R with the task known]) in which the third task and the last one have a score before they come."""
    for _ in range(100):
        seed, tasks = int(rng.integers(10**6)), random_tasks(rng, classes)[:count]
        given = [{**task, "test": on_torch_rows(task["test"])} for task in tasks]
        want = heads.run_tasks(probes.modal_head(WIDTH, classes, seed), given, probes.scripted_learner(seed))
        if count < 5 or (want[0][0, 2] > 0 and want[0][1:4, 4].max() > 0 and want[0][3, 0] > 0):
            return seed, tasks, [matrix.numpy() for matrix in want]
    raise RuntimeError("no random stream has such a task")


def random_tasks(rng, least):
    """Five tasks for a head that grows; the third has the classes of the first, and one that comes with it, in between. The
    classes of the last are there before."""
    tasks = []
    for name, places, classes in (("d", [0, 1], 2), ("a", [2, 3], 4), ("e", [0, 4, 1], 5), ("b", [6, 5], 7),
                                  ("c", [3, 1], 7)):
        train, test = (vector_rows(rng, rng.permutation(places * 5)[:size], WIDTH) for size in (6, int(rng.integers(7, 11))))
        tasks.append({"name": name, "train": train, "test": test, "places": places,
                      "classes": max(classes, least)})
    return tasks


def on_torch_rows(rows):
    return [{**row, "vector": torch.from_numpy(row["vector"])} for row in rows]


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
    rows = [row for task in tasks for row in task.test]
    right = class_scores(model, f"{language} stream", rows, collate).argmax(-1) == [row["label"] for row in rows]
    ends = np.cumsum([len(task.test) for task in tasks])
    scores = [np.mean(part) for part in np.split(right, ends[:-1])]
    average, worst = np.mean(scores), min(scores)
    ours = marking.runs("lab7_continual", language)
    if not len(ours):
        return 0, f"no model is marked in language {language!r} in this lab: hand in one for a language that is"
    wanted, least = (marking.threshold("lab7_continual", language, name) for name in ("heldout_average", "heldout_worst"))
    standing.note("average accuracy", average, wanted, ours.heldout_average)
    standing.note("accuracy on the worst task", worst, least, ours.heldout_worst)
    told = f"held-out texts of all tasks: average accuracy {average:.3f} (wanted {wanted:.3f}), " \
           f"worst task {worst:.3f} (wanted {least:.3f})"
    if average >= wanted:
        return 4 + 2 * bool(worst >= least), told
    # Whoever knows a text's task and guesses its class is right half of the time, which tells nothing of the tasks.
    known = sum(map(is_known, tasks, scores))
    return 3 * (known > 1), f"{told}; clearly better than the most frequent class in {known} of {len(tasks)} tasks"


def is_known(task, score):
    labels = np.array([row["label"] for row in task.test])
    most = np.unique(labels, return_counts=True)[1].max() / len(labels)
    return score - 2 * np.sqrt(score * (1 - score) / len(labels)) > most
