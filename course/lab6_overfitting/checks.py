"""Checks of lab 6, overfitting and memory. Inputs are fresh and random at each run; references are computed here."""

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
    Record,
    Several,
    Tensor,
    Text,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, standing, tiny_models
from leaplm.grading.judge.remembered import class_scores
from leaplm.overfitting import memory, regularization

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


@check(points=2, contract=Contract("losses patience", Several(Number(whole=True), Number(whole=True))))
def early_stopping(student, rng):
    """Random curves: with ties, a better epoch after the stop, and such that never stop early; large, tiny, below 0."""
    kept = run = 0
    curves = [rng.integers(3, 12, size=rng.integers(4, 15)) / 10 for _ in range(25)]
    curves += [np.array([0.5, 0.5, 0.5, 0.4]), np.linspace(0.9, 0.2, 7), np.array([0.3, 0.6, 0.5, 0.2])]
    curves += [1000 * curves[0], curves[1] - 2, 1 + 1e-9 * np.array([3, 2, 4, 1, 5, 0])]
    curves += [np.array([0.4, 0.0, 0.2, 0.1, -0.1]), np.array([0.6, np.inf, 0.5, np.inf, 0.4]), np.array([0.7])]
    patience = [int(rng.integers(1, 4)) for _ in range(25)] + [2, 1, 2, 2, 2, 2, 2, 1, 1]
    for losses, some in zip(curves, patience, strict=True):
        got = student.call("early_stopping", losses.tolist(), some)
        if not isinstance(got, (list, tuple)) or len(got) != 2:
            return 0, "early_stopping should return two numbers: the epoch to keep and the epochs that are run"
        want = regularization.early_stopping(losses.tolist(), some)
        kept += as_number(got[0], "the epoch to keep") == want[0]
        run += as_number(got[1], "the epochs that are run") == want[1]
    if kept < len(curves):
        return 0, "another epoch is to be kept: the best of those that are run, the first of equal ones, counted from 1"
    if run < len(curves):
        return 1, "the right epoch is kept; training should end after `patience` epochs in a row that are not better"
    return 2, "the right epoch is kept, and training ends in time"


@check(points=3, contract=Contract("gradient epsilon", Tensor("float", dims=3)))
def fgm_perturbation(student, rng):
    """Texts with gradients of very different size, and one whose gradient is 0."""
    gradient = (rng.normal(size=(4, 5, 3)) * 10.0 ** rng.integers(-4, 2, size=(4, 1, 1))).astype(np.float32)
    epsilon = float(rng.uniform(0.2, 3))
    got = as_array(student.call("fgm_perturbation", gradient, epsilon), gradient.shape, "fgm_perturbation")
    norms = np.sqrt((gradient.astype(np.float64) ** 2).sum(axis=(1, 2), keepdims=True))
    if not np.allclose(got, epsilon * gradient / norms, atol=1e-4 * epsilon):
        lengths = np.sqrt((got**2).sum(axis=(1, 2)))
        hint = "the length is right, the direction is not" if close(lengths, epsilon) else \
            "each text's step should have the length epsilon, over all its tokens and dimensions"
        return 0, f"another step is asked for: {hint}"
    alone = as_array(student.call("fgm_perturbation", gradient[:1], epsilon), (1, 5, 3), "fgm_perturbation")
    if not np.allclose(alone, got[:1], atol=1e-4 * epsilon):
        return 1, "right for several texts; for one text alone, the step is another"
    tiny = as_array(student.call("fgm_perturbation", 1e-7 * gradient / norms, epsilon), gradient.shape, "fgm_perturbation")
    if not np.allclose(tiny, got, atol=1e-3 * epsilon):
        return 2, "right for large gradients; a very small one should be given the length epsilon too: " \
                  "what is added to the norm, or the least that it may be, is too much"
    gradient[int(rng.integers(4))] = 0
    got = as_array(student.call("fgm_perturbation", gradient, epsilon), gradient.shape, "fgm_perturbation")
    want = regularization.fgm_perturbation(torch.from_numpy(gradient), epsilon).numpy()
    if not np.allclose(got, want, atol=1e-4 * epsilon):
        return 2, "right for gradients that are not 0; where a text's gradient is 0, the step should be 0, not NaN"
    return 3, "one step of length epsilon for each text, along its gradient"


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


@check(points=2, contract=Contract("memory weights learning tokens width layers", Number(whole=True)))
def largest_batch(student, rng):
    """Several models; the memory lies between two numbers of texts, then exactly at one, then one byte below it."""
    for beyond in (0.4, 0.6, 0.7, 0, 0, -1):
        width, layers, tokens = int(rng.choice([256, 384, 768])), int(rng.integers(2, 13)), int(rng.integers(20, 200))
        weights = int(rng.integers(10**6, 10**8))
        learning = weights // int(rng.integers(2, 6))
        texts = int(rng.integers(3, 90))
        one = 64 * tokens * width * layers
        total = 4 * (weights + 3 * learning) + texts * one + (beyond if beyond < 0 else int(beyond * one))
        shape = {"tokens": tokens, "width": width, "layers": layers}
        got = as_number(student.call("largest_batch", total, weights, learning, **shape), "largest_batch")
        if got != memory.largest_batch(total, weights, learning, **shape):
            return 0, "another number of texts fits: weights once, three more numbers for each that learns, 16 a token, " \
                      "layer and dimension; 4 bytes each, rounded down"
    weights, learning = 30 * weights, 30 * learning  # of gigabytes
    fixed = 4 * (weights + 3 * learning)
    small = (2 * weights, fixed, fixed + one - 1, fixed - 3 * one, 0)
    if any(as_number(student.call("largest_batch", some, weights, learning, **shape), "largest_batch") for some in small):
        return 1, "right where something fits; when the model alone is too large, the answer is 0"
    return 2, "the right number of texts, and 0 where the model alone does not fit"


def masked_batch(rng, rows, tokens, hidden):
    """Random tokens of which `hidden` have a label, one of them token 0."""
    labels, places = np.full(rows * tokens, -100), rng.permutation(rows * tokens)[:hidden]
    labels[places] = rng.integers(40, size=hidden)
    labels[places[:1]] = 0
    return {"input_ids": rng.integers(5, 40, size=(rows, tokens)), "attention_mask": np.ones((rows, tokens), dtype=np.int64),
            "labels": labels.reshape(rows, tokens)}


ACCUMULATED = Contract("model batches", Number(), random=FREE, forward="grad", leaves="gradients")


@check(points=4, contract=ACCUMULATED)
def accumulate_gradients(student, rng):
    """Parts with very different numbers of targets; then one without any."""
    seed = int(rng.integers(10**6))
    batches = [masked_batch(rng, rows, tokens, hidden) for rows, tokens, hidden in ((3, 8, 2), (2, 9, 14), (4, 6, 5))]
    model = student.build("leaplm.grading.judge.tiny_models:counting_masked_lm", seed)
    got = student.call("accumulate_gradients", model, batches)
    want_loss, want = reference_gradient(seed, batches)
    if not same_gradient(student.read(model, "leaplm.grading.judge.probes:gradients"), want):
        return 0, "the gradient is not that of the mean loss over all targets: how much should each part weigh?"
    problems = []
    if not close(as_number(got, "the loss"), want_loss):
        problems.append("the loss returned should be the mean over all targets, as a number")
    if student.read(model, "leaplm.grading.judge.tiny_models:most_open_graphs") > 1:
        problems.append("several graphs wait for backward at once, so no memory is saved: go backward after each part")
    batches.insert(int(rng.integers(3)), masked_batch(rng, 2, 7, 0))
    model = student.build("leaplm.grading.judge.tiny_models:tiny_masked_lm", seed)
    got = as_array(student.call("accumulate_gradients", model, batches), (), "the loss")
    if not (close(got, want_loss) and same_gradient(student.read(model, "leaplm.grading.judge.probes:gradients"), want)):
        problems.append("a part without any target has the loss NaN: it should be left out")
    return 4 - len(problems), "; ".join(problems) or "the gradient of the whole batch, one part at a time"


def reference_gradient(seed, batches):
    model = tiny_models.tiny_masked_lm(seed)
    loss = memory.accumulate_gradients(model, [{name: torch.from_numpy(a) for name, a in b.items()} for b in batches])
    return loss, probes.gradients(model)


def same_gradient(got, want):
    return set(got) == set(want) and all(np.allclose(got[name], want[name], atol=1e-4, rtol=1e-3) for name in want)


STEP = Contract("model batch optimizer scale", Number(), changes="model", random=FREE, forward="grad",
                leaves="gradients")


@check(points=3, contract=STEP)
def scaled_step(student, rng):
    """Two steps whose gradient fits, and between them one whose largest numbers overflow while the loss does not.

    Then small models where one gradient alone is infinite, minus infinite or NaN; and one where their sum is.
    """
    batches = [random_batch(rng) for _ in range(3)]
    settings = steep_model(rng, batches[1])
    model = student.build("leaplm.grading.judge.tiny_models:tiny_classifier", **settings)
    optimizer = student.build("leaplm.grading.judge.probes:sgd", model, lr=RATE)
    student.read(model, "leaplm.grading.judge.probes:leave_gradients")
    reference = tiny_models.tiny_classifier(**settings)
    scale = float(2 ** rng.integers(6, 12))
    returned = [as_number(student.call("scaled_step", model, batches[0], optimizer, scale), "the scale")]
    plain_step(reference, batches[0])
    if not same_weights(student, model, reference):
        return 0, "a step whose gradient fits should move the weights as if there were no scale and no old gradient: " \
                  "divide before the step"
    problems, too_large = [], overflowing_scale(reference, batches[1])
    returned.append(as_number(student.call("scaled_step", model, batches[1], optimizer, too_large), "the scale"))
    if not same_weights(student, model, reference):
        problems.append(LEFT_OUT)
    else:
        student.call("scaled_step", model, batches[2], optimizer, scale)
        plain_step(reference, batches[2])
        if not same_weights(student, model, reference):
            problems.append("after a step that was left out, old gradients should be forgotten")
        else:
            problems += edge_problems(student)
    if SCALE not in problems and not np.allclose(returned, [scale, too_large / 2]):
        problems.append(SCALE)
    return max(0, 3 - len(problems)), "; ".join(problems) or "good steps are exact, and bad ones are left out"


SCALE = "the scale returned should be the same after a good step and half of it after one left out"
LEFT_OUT = "when any gradient is infinite or NaN, the weights should stay as they are"


def edge_problems(student):
    """What is wrong with the steps of small models, in words."""
    returned = []
    edges = [(edge, first) for edge in ("inf", "-inf", "nan") for first in (True, False)]
    if not all(leaves_out(student, edge, first, returned) for edge, first in edges):
        return [LEFT_OUT]
    if not makes_large_step(student, returned):
        return ["a step whose gradients are all finite should be made, also where their sum or norm is not"]
    return [] if np.allclose(returned, [*[3.5] * len(edges), 2]) else [SCALE]


def leaves_out(student, edge, first, returned):
    """Whether a step is left out when one weight, the first or the last of the model, has such a gradient.

    The optimizer has momentum from a step before: with gradients of 0 it would move the weights all the same.
    """
    model = student.build("leaplm.grading.judge.tiny_models:edge_model", first)
    optimizer = student.build("leaplm.grading.judge.probes:sgd", model, lr=RATE, momentum=0.9)
    student.call("scaled_step", model, {"inputs": np.ones(3), "edge": ""}, optimizer, 7.0)
    before = student.read(model, "leaplm.grading.judge.probes:state_dict")
    scale = student.call("scaled_step", model, {"inputs": np.ones(3), "edge": edge}, optimizer, 7.0)
    returned.append(as_number(scale, "the scale"))
    after = student.read(model, "leaplm.grading.judge.probes:state_dict")
    return all(np.array_equal(before[name], after[name]) for name in before)


def makes_large_step(student, returned):
    """Whether the step is made when two gradients are finite, and their sum is not."""
    model = student.build("leaplm.grading.judge.tiny_models:edge_model")
    optimizer = student.build("leaplm.grading.judge.probes:sgd", model, lr=RATE)
    scale = student.call("scaled_step", model, {"inputs": np.ones(3), "edge": "large"}, optimizer, 2.0)
    returned.append(as_number(scale, "the scale"))
    weights = student.read(model, "leaplm.grading.judge.probes:state_dict")
    return np.allclose(weights["edge_weight"], -1e38 * RATE, atol=0, rtol=1e-3)


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
    largest_gradient(model, batch)
    probes.sgd(model, lr=RATE).step()


def overflowing_scale(model, batch):
    """The smallest power of two at which the largest number of the gradient is surely infinite in 32 bits."""
    return float(2.0 ** np.ceil(np.log2(1.01 * float(torch.finfo(torch.float32).max) / largest_gradient(model, batch))))


def same_weights(student, model, reference):
    weights = student.read(model, "leaplm.grading.judge.probes:state_dict")
    return all(close(weights[name], value) for name, value in probes.state_dict(reference).items())


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
    labels = np.array(heldout["label"])
    score = evaluation.macro_f1(labels, predictions)
    one_class = evaluation.macro_f1(labels, np.full(len(labels), np.bincount(labels).argmax()))
    record = marking.runs("lab6_overfitting", language)["heldout_macro_f1"]
    if record.empty:
        return 0, f"there is no record for language {language!r} yet: `leaplm add-language` makes one"
    wanted = max(prediction_bound(record), one_class + 0.02)
    told = f"macro-F1 {score:.3f} on {len(labels)} held-out texts"
    standing.note("macro-F1", score, wanted, record)
    if score >= wanted:
        return 6, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1, rounds=300)
    if low > one_class:
        return 3, f"{told}: clearly better than always the same class ({one_class:.3f}), below the {wanted:.3f} wanted"
    return 0, f"{told}: not clearly better than always the same class ({one_class:.3f}); {wanted:.3f} was wanted"
