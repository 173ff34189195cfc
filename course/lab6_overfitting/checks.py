"""Checks of lab 6, overfitting and memory. Inputs are fresh and random at each run; references are computed here."""

import functools
import itertools
import os
from types import SimpleNamespace

import numpy as np
import torch
from leaplm import artifacts, data, evaluation, models
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Bool,
    Contract,
    Either,
    ListOf,
    MapOf,
    Nothing,
    Number,
    Record,
    Several,
    Tensor,
    Text,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import interrupted, probes, tiny_models
from leaplm.grading.judge.class_points import judge_classes
from leaplm.grading.judge.remembered import class_scores
from leaplm.grading.sandbox.student import StudentError
from leaplm.overfitting import memory, resumable

CLOSE = 1e-4


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


@check(points=3, contract=Contract("words rate", ListOf(Text()), random=FREE, fresh=True))
def delete_words(student, rng):
    """Long texts for the share, and short ones at a high rate; every tolerance is over five standard deviations wide."""
    words, rate = [f"w{i}" for i in range(2000)], float(rng.uniform(0.2, 0.4))
    drawn = [kept_places(student.call("delete_words", list(words), rate), words) for _ in range(6)]
    if None in drawn:
        return 0, "delete_words should return a list with words of the text, in the order of the text, none twice"
    same = kept_places(student.call("delete_words", list(words[:50]), 0.0), words)
    if same != list(range(50)):
        return 0, "with rate 0 the text should stay as it is"
    share = 1 - np.mean([len(places) for places in drawn]) / 2000
    if abs(share - rate) > 5 * np.sqrt(rate * (1 - rate) / 12000):
        return 0, f"{share:.1%} of the words are deleted, {rate:.1%} were asked for"
    if said := repeated_words(student, rate):
        return 0, said
    problems = []
    if len({tuple(places) for places in drawn}) < 6 or len({len(places) for places in drawn}) == 1:
        problems.append("every word should have its own chance, drawn anew at each call, so that the number varies")
    elif sum(len(student.call("delete_words", words[:2], 0.7)) == 2 for _ in range(200)) not in range(2, 39):
        problems.append("also in a text of two words, both should have their own chance")
    left = [kept_places(student.call("delete_words", words[:3], 1.0), words) for _ in range(40)]
    left += [kept_places(student.call("delete_words", words[:1], some), words) for some in (rate, 1.0)]
    if any(places is None or len(places) != 1 for places in left):
        problems.append("a text should never become empty, also with rate 1: one word stays")
    elif {places[0] for places in left} != {0, 1, 2}:
        problems.append("if all words would go, one drawn at random should stay, not always the same one")
    return 3 - len(problems), "; ".join(problems) or "each word goes with the probability asked for, and no text is empty"


def repeated_words(student, rate):
    """What is wrong with a text in which two words come again and again, in words; None if nothing is."""
    kept = student.call("delete_words", ["the"] * 900 + ["film"] * 900 + ["the"] * 900, rate)
    first = kept.index("film") if "film" in kept else 0
    counts = np.array([first, kept.count("film"), len(kept) - first - kept.count("film")])
    if np.abs(counts - 900 * (1 - rate)).max() > 5.5 * np.sqrt(900 * rate * (1 - rate)):
        return "a word that comes several times should have its own chance at each place: is a word left out by its value?"
    return None


def kept_places(kept, words):
    """The places in `words` of the words kept; None if they are not some of these in the same order."""
    place = {word: i for i, word in enumerate(words)}
    if not isinstance(kept, (list, tuple)) or not all(isinstance(word, str) and word in place for word in kept):
        return None
    places = [place[word] for word in kept]
    return places if all(a < b for a, b in zip(places, places[1:], strict=False)) else None


INTERVAL = Contract("first second", Record(dict.fromkeys(("mean", "low", "high"), Number())))


@check(points=3, contract=INTERVAL)
def paired_difference(student, rng):
    """Mean, and both ends of the interval; the seeds differ much more than the two methods do. Then a loss; two seeds."""
    for seeds, gain in ((int(rng.integers(4, 9)), 0.02), (int(rng.integers(4, 9)), -0.02), (2, 0.01)):
        points, told = compared(student, rng, seeds, gain)
        if points < 3:
            return points, told
    return 3, "the mean difference and its interval are right"


def compared(student, rng, seeds, gain):
    first = rng.normal(0.7, 0.08, size=seeds).astype(np.float32)
    second = (first + rng.normal(gain, 0.015, size=seeds)).astype(np.float32)
    first[1], second[:2] = first[0] + 0.01, first[0] + gain + np.array([0.03, -0.02])  # sorted, they are other pairs
    found, want = student.call("paired_difference", first, second), evaluation.paired_difference(first, second)
    if not isinstance(found, dict) or set(want) - set(found):
        return 0, f"paired_difference should return a dict with `{', '.join(want)}`"
    got = {name: as_number(found[name], name) for name in want}
    if not np.isclose(got["mean"], want["mean"], atol=1e-5):
        rounded = np.isclose(got["mean"], want["mean"], atol=0.006)
        return 0, "the mean is nearly right: give it as it is, not rounded" if rounded else \
            "another mean: that of second - first"
    ends = [np.isclose(got[name], want[name], atol=1e-5) for name in ("low", "high")]
    if not all(ends):
        return 1, "the mean is right; the interval is mean +- t s / sqrt(n), with s of the differences (n - 1)"
    return 3, "the mean difference and its interval are right"


def masked_batch(rng, rows, tokens, hidden):
    """Random tokens of which `hidden` have a label, one of them token 0."""
    labels, places = np.full(rows * tokens, -100), rng.permutation(rows * tokens)[:hidden]
    labels[places] = rng.integers(40, size=hidden)
    labels[places[:1]] = 0
    return {"input_ids": rng.integers(5, 40, size=(rows, tokens)), "attention_mask": np.ones((rows, tokens), dtype=np.int64),
            "labels": labels.reshape(rows, tokens)}


ACCUMULATED = Contract("model batches scale", Number(), random=FREE, forward="grad", leaves="gradients")


@check(points=3, contract=ACCUMULATED)
def accumulate_gradients(student, rng):
    """Parts with very different numbers of targets; then with a scale, and one part without any target."""
    seed = int(rng.integers(10**6))
    batches = [masked_batch(rng, rows, tokens, hidden) for rows, tokens, hidden in ((3, 8, 2), (2, 9, 14), (4, 6, 5))]
    model = student.build("leaplm.grading.judge.tiny_models:counting_masked_lm", seed)
    got = student.call("accumulate_gradients", model, batches)
    want_loss, want = reference_gradient(seed, batches)
    if not same_gradient(student.read(model, "leaplm.grading.judge.probes:gradients"), want):
        return 0, "the gradient is not that of the mean loss over all targets: how much should each part weigh?"
    problems = []
    right_loss = close(as_number(got, "the loss"), want_loss)
    if not right_loss:
        problems.append("the loss returned should be the mean over all targets, as a number")
    if student.read(model, "leaplm.grading.judge.tiny_models:most_open_graphs") > 1:
        problems.append("several graphs wait for backward at once, so no memory is saved: go backward after each part")
    want_loss = want_loss if right_loss else None  # said already
    problems += scale_problems(student, rng, seed, batches, want_loss, want)
    batches.insert(int(rng.integers(3)), masked_batch(rng, 2, 7, 0))
    model = student.build("leaplm.grading.judge.tiny_models:tiny_masked_lm", seed)
    got = as_array(student.call("accumulate_gradients", model, batches), (), "the loss")
    same = same_gradient(student.read(model, "leaplm.grading.judge.probes:gradients"), want)
    if not same or want_loss is not None and not close(got, want_loss):
        problems.append("a part without any target has the loss NaN: it should be left out")
    return max(0, 3 - len(problems)), "; ".join(problems) or "the gradient of the whole batch, one part at a time"


def scale_problems(student, rng, seed, batches, want_loss, want):
    """What is wrong with the gradient, or the loss, when a scale is given, in words. want_loss: None for any."""
    scale = float(2 ** rng.integers(2, 8))
    model = student.build("leaplm.grading.judge.tiny_models:tiny_masked_lm", seed)
    got = as_array(student.call("accumulate_gradients", model, batches, scale), (), "the loss")
    found = student.read(model, "leaplm.grading.judge.probes:gradients")
    if not same_gradient({name: array / scale for name, array in found.items()}, want):
        return ["with a `scale`, the gradient should be that many times as large"]
    return [] if want_loss is None or close(got, want_loss) else ["the loss returned should be without the `scale`"]


def reference_gradient(seed, batches):
    model = tiny_models.tiny_masked_lm(seed)
    loss = memory.accumulate_gradients(model, [{name: torch.from_numpy(a) for name, a in b.items()} for b in batches])
    return loss, probes.gradients(model)


def same_gradient(got, want):
    return set(got) == set(want) and all(np.allclose(got[name], want[name], atol=1e-4, rtol=1e-3) for name in want)


SCALER = Record({"scale": Number(), "good": Number(whole=True)})
STEP = Contract("model batches optimizer scaler grow_after", Several(Number(), Bool(), SCALER), changes="model", random=FREE,
                forward="grad", leaves="gradients")


@check(points=3, contract=STEP)
def scaled_step(student, rng):
    """Two steps whose gradient fits, and between them one whose largest numbers overflow while the loss does not.

    Then small models where one gradient alone is infinite, minus infinite or NaN; one where their sum is; and many steps.
    """
    batches = [random_batch(rng) for _ in range(3)]
    settings = steep_model(rng, batches[1])
    model = student.build("leaplm.grading.judge.tiny_models:tiny_classifier", **settings)
    optimizer = student.build("leaplm.grading.judge.probes:sgd", model, lr=RATE)
    student.read(model, "leaplm.grading.judge.probes:leave_gradients")
    reference = tiny_models.tiny_classifier(**settings)
    scale = float(2 ** rng.integers(6, 12))
    told = [stepped(student, model, cut(batches[0]), optimizer, scale, 0)]
    want_loss = plain_step(reference, batches[0])
    if not same_weights(student, model, reference):
        return 0, "a step whose gradient fits should move the weights as if there were no scale and no old gradient: " \
                  "divide before the step"
    problems = [] if close(told[0][0], want_loss) else ["the loss returned should be the mean loss, without the scale"]
    too_large = overflowing_scale(reference, batches[1])
    told.append(stepped(student, model, cut(batches[1]), optimizer, too_large, 3))
    if not same_weights(student, model, reference):
        problems.append(LEFT_OUT)
    else:
        stepped(student, model, cut(batches[2]), optimizer, scale, 0)
        plain_step(reference, batches[2])
        if not same_weights(student, model, reference):
            problems.append("after a step that was left out, old gradients should be forgotten")
        else:
            problems += edge_problems(student)
    if not problems and [row[1:] for row in told] != [[True, scale, 1], [False, too_large / 2, 0]]:
        problems.append(SCALE)
    problems += [] if problems else growth_problems(student, rng)
    return max(0, 3 - len(problems)), "; ".join(problems) or "good steps are exact, and bad ones are left out"


SCALE = "the three returned should be the loss, True after a good step and False after one left out, and the scaler: the " \
        "same scale and one more good step, or half of the scale and none"
LEFT_OUT = "when any gradient is infinite or NaN, the weights should stay as they are"
GROWTH = "after `grow_after` good steps in a row the scale should be doubled, and the good steps counted from 0 again"


def stepped(student, model, batches, optimizer, scale, good, grow_after=2000):
    """[loss, whether the step was made, scale, good steps] that the answer gives."""
    given = {"scale": float(scale), "good": int(good)}
    loss, made, scaler = student.call("scaled_step", model, batches, optimizer, given, grow_after)
    return [float(as_array(loss, (), "the loss")), bool(made), as_number(scaler["scale"], "the scale"),
            as_number(scaler["good"], "the good steps")]


def cut(batch):
    """A batch of four rows in two parts, of three and one."""
    return [{name: array[rows] for name, array in batch.items()} for rows in (slice(0, 3), slice(3, 4))]


def edge_problems(student):
    """What is wrong with the steps of small models, in words."""
    told = []
    edges = [(edge, first) for edge in ("inf", "-inf", "nan") for first in (True, False)]
    if not all(leaves_out(student, edge, first, told) for edge, first in edges):
        return [LEFT_OUT]
    if not makes_large_step(student, told):
        return ["a step whose gradients are all finite should be made, also where their sum or norm is not"]
    return [] if told == [*[[False, 0.375, 0]] * len(edges), [True, 2.0, 5]] else [SCALE]


def edge_batch(edge):
    return {"inputs": np.ones(3, dtype=np.float32), "edge": edge, "labels": np.zeros(1, dtype=np.int64)}


def leaves_out(student, edge, first, told):
    """Whether a step is left out when one weight, the first or the last of the model, has such a gradient.

    The optimizer has momentum from a step before: with gradients of 0 it would move the weights all the same.
    """
    model = student.build("leaplm.grading.judge.tiny_models:edge_model", first)
    optimizer = student.build("leaplm.grading.judge.probes:sgd", model, lr=RATE, momentum=0.9)
    stepped(student, model, [edge_batch("")], optimizer, 0.75, 0)
    before = student.read(model, "leaplm.grading.judge.probes:state_dict")
    batches = [edge_batch(edge), edge_batch("")]
    told.append(stepped(student, model, batches, optimizer, 0.75, 1)[1:])  # half of it is below 1, and no whole number
    after = student.read(model, "leaplm.grading.judge.probes:state_dict")
    return all(np.array_equal(before[name], after[name]) for name in before)


def makes_large_step(student, told):
    """Whether the step is made when two gradients are finite, and their sum is not."""
    model = student.build("leaplm.grading.judge.tiny_models:edge_model")
    optimizer = student.build("leaplm.grading.judge.probes:sgd", model, lr=RATE)
    told.append(stepped(student, model, [edge_batch("large")], optimizer, 2.0, 4)[1:])
    weights = student.read(model, "leaplm.grading.judge.probes:state_dict")
    return np.allclose(weights["edge_weight"], -1e38 * RATE, atol=0, rtol=1e-3)


def growth_problems(student, rng):
    """What is wrong with a large scale over several steps, of which one is left out, in words."""
    grow_after, scaler = int(rng.integers(2, 5)), [2.0**30, 0]
    model = student.build("leaplm.grading.judge.tiny_models:edge_model")
    optimizer = student.build("leaplm.grading.judge.probes:sgd", model, lr=RATE)
    for edge in (*[""] * (2 * grow_after + 1), "nan", *[""] * grow_after):
        got = stepped(student, model, [edge_batch(edge)], optimizer, *scaler, grow_after)[1:]
        scale, good = scaler[0], scaler[1] + 1
        scaler = [scale / 2, 0] if edge else [2 * scale, 0] if good == grow_after else [scale, good]
        if got[1:] != scaler:
            return [GROWTH]
        if got[0] == bool(edge):
            return [SCALE]
    return []


def random_batch(rng):
    return {"input_ids": rng.integers(5, 60, size=(4, 9)), "attention_mask": np.ones((4, 9), dtype=np.int64),
            "labels": rng.permutation([0, 0, 1, 1])}


RATE = 1e-3  # small: after the first step the model is still as steep


def steep_model(rng, batch):
    """Settings of a random model whose gradient has numbers far above 2: it overflows at a scale that does not."""
    for _ in range(100):
        settings = {"seed": int(rng.integers(10**6)), "initializer_range": 2.0}
        if largest_gradient(tiny_models.tiny_classifier(**settings), batch) > 6:
            return settings
    raise RuntimeError("no random model has a steep gradient")


def largest_gradient(model, batch):
    model.zero_grad()
    model(**{name: torch.from_numpy(array) for name, array in batch.items()}).loss.backward()
    return max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)


def plain_step(model, batch):
    """A step without a scale on the library's side; the loss before it."""
    with torch.no_grad():
        loss = float(model(**{name: torch.from_numpy(array) for name, array in batch.items()}).loss)
    largest_gradient(model, batch)
    probes.sgd(model, lr=RATE).step()
    return loss


def overflowing_scale(model, batch):
    """The smallest power of two at which the largest number of the gradient is surely infinite in 32 bits."""
    return float(2.0 ** np.ceil(np.log2(1.01 * float(torch.finfo(torch.float32).max) / largest_gradient(model, batch))))


def same_weights(student, model, reference):
    weights = student.read(model, "leaplm.grading.judge.probes:state_dict")
    return all(close(weights[name], value) for name, value in probes.state_dict(reference).items())


CUT = "leaplm.grading.judge.interrupted:"
BEST = Record({"loss": Number(), "bad": Number(whole=True), "weights": MapOf(Tensor("float"))})
KEPT = Contract("model loss best patience", Several(BEST, Bool()), gradient="none")


@check(points=2, contract=KEPT)
def keep_best(student, rng):
    """Losses with ties, of 0 and below it, of very different size; the weights change in place after each."""
    model = student.build(f"{CUT}small_model", 3)
    for curve in ([*rng.integers(3, 9, size=6) / 10, 0.2], [0.5]):
        best = None
        for number, loss in enumerate(curve):  # each call alone, under its contract
            student.read(model, f"{CUT}fill", number)
            best = student.call("keep_best", model, float(loss), best, 2)[0]
    curves = [rng.integers(3, 9, size=8) / 10 for _ in range(6)] + [np.array([0.5, 0.5, 0.5, 0.4]), np.linspace(0.9, 0.2, 5)]
    curves += [np.array([0.4, 0.0, 0.2, 0.1, -0.1, -0.1]), np.array([900.0, 800, 850, 840, 845])]
    curves.append(1 + 1e-9 * np.array([3, 2, 4, 1]))
    patience = [int(rng.integers(1, 4)) for _ in range(6)] + [2, 1, 2, 2, 3]
    function, right_weights, right_stops, frozen = student.get("keep_best"), True, True, False
    for losses, some in zip(curves, patience, strict=True):
        model = student.build(f"{CUT}small_model", 3)
        best, stops = student.read(function, f"{CUT}kept_while_training", model, losses.tolist(), some)
        ours = interrupted.small_model(3)
        want, want_stops = interrupted.kept_while_training(resumable.keep_best, ours, losses.tolist(), some)
        right_stops = right_stops and stops == want_stops and close(best["bad"], want["bad"])
        same = all(np.array_equal(best["weights"].get(name), value) for name, value in want["weights"].items())
        frozen = frozen or bool(set(best["weights"]) - set(want["weights"]))
        right_weights = right_weights and same and np.isclose(best["loss"], want["loss"], rtol=1e-12, atol=0)
    if not right_weights:
        return 0, "other weights are kept: copies of all that learn, from the evaluation with the smallest loss, the " \
                  "first of equal ones"
    if not right_stops:
        return 1, "the right weights are kept; `bad` should count the evaluations in a row that were not better, and at " \
                  "`patience` of them the answer is to stop"
    if frozen:
        return 1, FROZEN
    return 2, "copies of the best weights are kept, and training stops in time"


FROZEN = "frozen weights are kept, too: take only those with `requires_grad`"


FILE = "path model optimizer scheduler"
CHECKPOINT = {
    "save_checkpoint": Contract(f"{FILE} progress", Nothing(),
                                own="leaplm.whole_file.replacing leaplm.whole_file.write_whole"),
    "load_checkpoint": Contract(FILE, Either(Nothing(), Record({})), changes="model", random=FREE),
}


@check(points=2, contract=CHECKPOINT)
def checkpoint(student, rng):
    """Saves amid a training with Adam, a schedule and dropout; loads into objects made anew; lets saving fail."""
    folder = student.build(f"{CUT}folder")
    path = student.read(folder, f"{CUT}path_in", "run.pt")
    first, seed = trained(student, rng, int(rng.integers(3, 8)), SPARE), int(rng.integers(10**6))
    progress = {"step": int(rng.integers(1, 99)), "best": None, "losses": rng.random(3).tolist(),
                "weights": {"head": rng.normal(size=(2, 3)).astype(np.float32)}}
    other = trained(student, rng, 2, SPARE)
    nothing = student.call("load_checkpoint", path, *other)
    drawn = student.read(student.get("load_checkpoint"), f"{CUT}drawn_after", seed, path, *other)["drawn"]
    if nothing is not None or drawn != interrupted.drawn_after(lambda: None, seed)["drawn"]:
        return 0, "where there is no file, `load_checkpoint` should return None and change nothing"
    student.call("save_checkpoint", path, *first, {"step": 0})
    student.call("save_checkpoint", path, *first, progress)
    got = student.call("load_checkpoint", path, *other)
    if not alike(got, progress):
        return 0, "`load_checkpoint` should return the progress that was saved last"
    if said := other_training(student, first, other, seed):
        return 0, said
    problems = [FROZEN] if student.read(folder, f"{CUT}size_in", "run.pt") > 2 * SPARE else []
    others = student.read(folder, f"{CUT}names_in") != ["run.pt"]
    if others or not student.read(student.get("save_checkpoint"), f"{CUT}keeps_gradients", path, *first, progress):
        problems.append("`save_checkpoint` should change nothing else: gradients stay, and no other file does")
    problems += file_problems(student, path, first, other, got)
    if not goes_on_drawing(student, path, first, other, seed):
        problems.append("after `load_checkpoint` the random numbers of Python, NumPy and torch should go on as they did "
                        "after `save_checkpoint`")
    return 2 - min(2, len(problems)), "; ".join(problems) or "a run goes on from the file as if nothing had happened"


SPARE = 100_000  # frozen numbers, of 4 bytes: no file without them is half as large


def trained(student, rng, steps, spare):
    """(model, optimizer, scheduler) on the student's side after some steps of training."""
    model = student.build(f"{CUT}small_model", int(rng.integers(10**6)), 0.3, spare)
    optimizer = student.build(f"{CUT}optimizer_of", model)
    scheduler = student.build(f"{CUT}falling", optimizer)
    student.read(model, f"{CUT}take_steps", optimizer, scheduler, steps, int(rng.integers(10**6)))
    return model, optimizer, scheduler


def other_training(student, first, other, seed):
    """Which part of a training that was loaded is not that which was saved, in words; None if all are the same."""
    one, two = (student.read(model, f"{CUT}head_weights") for model, _, _ in (first, other))
    if any(not np.array_equal(one[name], two[name]) for name in one):
        return "the weights that learn are other ones after loading"
    rates = [student.read(optimizer, "leaplm.grading.judge.probes:learning_rates") for _, optimizer, _ in (first, other)]
    steps = [student.read(model, f"{CUT}take_steps", optimizer, scheduler, 3, seed) for model, optimizer, scheduler in
             (first, other)]
    later = [student.read(optimizer, "leaplm.grading.judge.probes:learning_rates") for _, optimizer, _ in (first, other)]
    if rates[0] != rates[1] or any(not np.array_equal(steps[0][name], steps[1][name]) for name in one):
        return "a training that goes on from the file makes other steps: is all of the optimizer in it?"
    return None if later[0] == later[1] and same_schedule(student, first, other) else \
        "the learning rate goes on otherwise after loading: is the scheduler in the file?"


def same_schedule(student, first, other):
    """Whether both schedulers have counted the same steps."""
    return len({student.read(scheduler, "leaplm.grading.judge.probes:attribute", "last_epoch") for _, _, scheduler in
                (first, other)}) == 1


def goes_on_drawing(student, path, first, other, seed):
    """Whether the numbers drawn after loading are those drawn after saving, of all three sources."""
    progress, draw = {"step": 1}, f"{CUT}drawn_after"
    saved = student.read(student.get("save_checkpoint"), draw, seed, path, *first, progress)["drawn"]
    return saved == student.read(student.get("load_checkpoint"), draw, seed + 1, path, *other)["drawn"]


BESIDE = "when the power goes off while it saves, the old file should still be there, whole: write beside it, then " \
         "`os.replace`"


def file_problems(student, path, first, other, known):
    """What becomes of the file when saving fails, in words."""
    save, new = student.get("save_checkpoint"), {"step": 100}
    for how in ("full", "power"):
        student.read(save, f"{CUT}failing_save", how, path, *first, new)
        try:
            whole = alike(student.call("load_checkpoint", path, *other), known)
        except StudentError:
            whole = False
        if not whole:
            return [BESIDE]
    way = student.read(save, f"{CUT}way_of_saving", path, *first, new)
    if not (way["always"] and way["beside"]):
        return [BESIDE]
    if not way["replaced"]:
        return ["the last step should be `os.replace`, which puts the new file in the old one's place at once"]
    if not way["synced"]:
        return ["the new file should be on the disk before it takes the old one's place: `file.flush()`, then "
                "`os.fsync(file.fileno())`"]
    return []


def alike(got, want):
    """Whether two plain values are the same, arrays too."""
    try:
        np.testing.assert_equal(got, want)
    except AssertionError:
        return False
    return True


LISTS = Record(dict.fromkeys(("loss", "scale", "validation"), ListOf(Number())))
RUN = Contract("model optimizer scheduler rows collate evaluate path epochs batch_size part_size patience save_every seed",
               LISTS, changes="model", random=FREE, mode="any", forward="train, grad", leaves="gradients")
SETTINGS = {"epochs": 6, "batch_size": 4, "part_size": 3, "patience": 3}  # none of them is the default
EVENTS, UPDATE_ENDS = 6, (1, 3, 5)  # of an epoch: eleven rows are two batches of 3 and 1, one of 3, and the evaluation


@check(points=4, contract=RUN)
def train_resumable(student, rng):
    """Without dropout beside the library's run; with dropout, cut off at batches and evaluations, beside its own."""
    seed, edge = int(rng.integers(10**6)), int(rng.integers(interrupted.ROWS))
    target, want, want_seen, want_weights = reference_run(seed, edge)
    plain = Scene(student, seed, edge, 3, target, dropout=0.0)
    history, weights, seen = plain.run()
    if seen[: 2 * EVENTS] != want_seen[: 2 * EVENTS]:
        return 0, other_batches(seen, want_seen)
    if student.read(plain.model, f"{CUT}forwards") < len(seen) - seen.count("evaluation") or not same_start(history, want):
        return 1, NUMBERS
    if seen != want_seen:
        return 0, "it trains for another number of epochs: after each an evaluation, and an end when `keep_best` says so"
    if any(len(history[name]) != len(want[name]) for name in want):
        return 1, NUMBERS
    if not same_numbers(weights, want_weights):
        return 1, "trained right; at the end the best weights should be in the model"
    few = {"epochs": 2, "batch_size": interrupted.ROWS, "part_size": interrupted.ROWS, "patience": 2}
    few_seen = library_run(seed + 1, edge, lambda power: interrupted.evaluator(power, target), **few)[1]
    scene = Scene(student, seed + 1, edge, 3, target, dropout=0.0, **few)
    if scene.run()[2] != few_seen:
        return 1, "with two epochs, or one batch an epoch, it asks for other batches"
    first_draws = [student.read(some.model, f"{CUT}first_draw") for some in (plain, scene)]
    points, told = judge_cuts(student, seed, edge, target)
    if points == 4 and first_draws[0] == first_draws[1]:
        return 3, "two seeds give the same dropout: `runtime.set_seed(seed)`"
    if points == 4 and plain.run(folder=plain.folder)[2]:
        return 3, "called again when it has ended, it should not train on: that it has stopped belongs in the file"
    return points, told


NUMBERS = "the batches are right; loss, scale or validation are other numbers: one `scaled_step` an update, in training " \
          "mode, and `scheduler.step()` only where a step was made"


def same_start(history, want):
    """Whether the numbers are the same as far as both lists go."""
    return all(np.allclose(ours, one, atol=1e-4, rtol=1e-3) for name in want
               for one, ours in zip(history[name], want[name], strict=False))


def judge_cuts(student, seed, edge, target):
    """The points for runs that are cut off: amid an epoch, at an evaluation, and twice."""
    for save_every, cuts in ((2, lambda end: [9]), (3, lambda end: [end - 1]), (3, lambda end: [8, end - 3]),
                             (2, lambda end: [end - 9, end - 2])):  # fmt: skip
        scene = Scene(student, seed, edge, save_every, target, dropout=0.4)
        whole, weights, seen = scene.run()
        if student.read(scene.model, f"{CUT}drew_again"):
            return 1, "dropout draws the same random numbers in several updates: seed once, before the loop"
        at = cuts(len(seen))
        found = scene.run(at)
        if found is None:
            return 1, "the power went off, and it went on: an error in `collate` or `evaluate` should end it"
        again, after, asked = found
        expected = saved_before(at[-1], save_every)
        if asked[:1] != seen[expected : expected + 1]:
            late = seen[at[-1]] == "evaluation" and asked[0] not in (seen[0], *seen[expected : at[-1]])
            return (3, AT_EVALUATION) if late else (2, ANEW) if asked[:1] == seen[:1] else (2, LOST)
        if again != whole or not same_numbers(after, weights, exact=True):
            return 2, OTHER_WEIGHTS
    return 4, "killed at any moment, it ends in the same weights as the run that was never stopped"


ANEW = "after a cut it begins again with the first batch: load the checkpoint before the loop, save in it"
LOST = "after a cut it goes on with another batch than the next one after the last checkpoint: save every `save_every` " \
       "updates, whatever ends the run"
OTHER_WEIGHTS = "cut off and started again, it ends in other weights or numbers than the run that was never stopped: seed " \
                "first, then load; history, scaler and best weights belong in the file"
AT_EVALUATION = "cut off while it evaluates, it ends in other weights: save after the evaluation, not before it"


class Scene:
    """Runs of the student's train_resumable with one set of settings, each in a folder of its own."""

    def __init__(self, student, seed, edge, save_every, target, dropout, **settings):
        self.student, self.edge, self.target, self.dropout = student, edge, target, dropout
        self.settings = {**SETTINGS, "save_every": save_every, "seed": seed, **settings}

    def run(self, cuts=(), folder=None):
        """(history, weights in the end, what was asked for since the last start); None if a cut did not end it.

        cuts: before which events of the whole run the power goes off. folder: that of an earlier run, to go on in.
        """
        self.folder, done = folder or self.student.build(f"{CUT}folder"), 0
        for at in cuts:
            power = self.student.build(f"{CUT}power_cut", self.folder, at - done)
            try:
                self.start(power)
                return None
            except StudentError as error:
                if error.kind != "raised" or not self.student.read(power, f"{CUT}power_is_back"):
                    raise
            done = saved_before(at, self.settings["save_every"])
        power = self.student.build(f"{CUT}power_cut", self.folder)
        history, model = self.start(power)
        return history, self.student.read(model, f"{CUT}head_weights"), self.student.read(power, f"{CUT}asked")

    def start(self, power):
        """Calls the answer once, with all objects made anew, as a new process would: (history, model)."""
        build = self.student.build
        self.model = model = build(f"{CUT}small_model", 1, self.dropout)
        optimizer = build(f"{CUT}optimizer_of", model)
        parts = [build(f"{CUT}falling", optimizer), list(range(interrupted.ROWS)),
                 build(f"{CUT}collator", power, [self.edge]), build(f"{CUT}evaluator", power, self.target),
                 self.student.read(self.folder, f"{CUT}path_in", "run.pt")]
        history = self.student.call("train_resumable", model, optimizer, *parts, **self.settings)
        return {name: [float(as_array(one, (), name)) for one in history[name]] for name in LISTS.items}, model


def saved_before(at, save_every):
    """How many events of the whole run lie before the last checkpoint, when the power goes off before event `at`."""
    ends = [event + 1 for event in range(at) if event % EVENTS in UPDATE_ENDS]
    return ends[len(ends) // save_every * save_every - 1] if len(ends) >= save_every else 0


def other_batches(seen, want):
    """What is wrong with the batches that were asked for, in words."""
    first, ours = (list(itertools.chain(*itertools.takewhile(lambda what: what != "evaluation", some)))
                   for some in (seen, want))
    if sorted(first) != sorted(ours):
        return "in each epoch every row should be trained on once, and then evaluated: the last batch may be smaller"
    if first == ours and seen[:EVENTS] != want[:EVENTS]:
        return "the right rows in other parts: batches of `batch_size`, each of them in parts of `part_size`"
    return "other rows in the batches: the order of epoch e is that of torch.randperm with the seed `seed + e`, cut into " \
           "batches of `batch_size` and these into parts of `part_size`"


@functools.lru_cache(maxsize=2)
def reference_run(seed, edge):
    """(weights after the second epoch, history, what was asked for, weights in the end) of the library's own run."""
    lower = itertools.count()
    target = library_run(seed, edge, lambda power: lambda model: -next(lower), epochs=2)[2]
    return target, *library_run(seed, edge, lambda power: interrupted.evaluator(power, target))


def library_run(seed, edge, evaluator, **settings):
    """(history, what was asked for, weights in the end)."""
    with interrupted.folder() as name:
        power = interrupted.PowerCut(SimpleNamespace(name=name), -1)
        model = interrupted.small_model(1)
        optimizer = interrupted.optimizer_of(model)
        history = resumable.train_resumable(
            model, optimizer, interrupted.falling(optimizer), list(range(interrupted.ROWS)),
            interrupted.collator(power, [edge]), evaluator(power), os.path.join(name, "run.pt"),
            **{**SETTINGS, "save_every": 3, "seed": seed, **settings})
    return history, interrupted.asked(power), interrupted.head_weights(model)


def same_numbers(got, want, exact=False):
    """Whether all weights are the same, up to rounding or exactly."""
    same = np.array_equal if exact else functools.partial(np.allclose, atol=1e-4, rtol=1e-3)
    return all(same(got[name], want[name]) for name in want)


@check(points=6, seconds=120, contract=NOTHING_CALLED)
def few_label_classifier(student, rng):
    """The saved classifier on held-out texts: full points from the calibrated mean minus three deviations (macro-F1)."""
    content = first_artifact(student, ("few-labels-gpu.safetensors", "few-labels-cpu.safetensors"))
    try:
        card, tensors = artifacts.read_artifact(content)
        language, labels = card.get("language"), card.get("labels")
        heldout = data.heldout_rows(language)
        if labels != heldout.features["label"].names:
            return 0, f"the classes of the artifact are not those of language {language!r}"
        if type(card.get("examples")) is not int or not 0 < card["examples"] <= 100:
            return 0, f"the card says {card.get('examples')!r} training examples; the rule is at most 100"
        model = artifacts.apply_artifact(models.load_sequence_classifier(labels), tensors)
    except (ValueError, KeyError, TypeError) as error:
        return 0, f"the artifact cannot be used: {error}"
    return judge_classifier(model, heldout, language)


def judge_classifier(model, heldout, language):
    tokenizer = models.load_tokenizer()
    rows = data.tokenize(heldout, tokenizer)
    collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
    predictions = class_scores(model, language, rows, collate).argmax(-1)
    return judge_classes("lab6_overfitting", language, np.array(heldout["label"]), predictions)
