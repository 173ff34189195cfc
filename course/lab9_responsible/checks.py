"""Checks of lab 9, responsible use. Inputs are fresh and random at each run; references are computed here."""

import functools
import math

import numpy as np
from leaplm import artifacts, data, evaluation, marking
from leaplm.calibration import prediction_bound
from leaplm.grading import (
    NOTHING_CALLED,
    Contract,
    ListOf,
    Number,
    Several,
    StudentError,
    Tensor,
    Text,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import standing
from leaplm.responsible import explanations, fairness, memorization, privacy

CLOSE = 1e-4
LARGEST_EPSILON = 8.0
WHOLE = ("steps", "rows", "seed")  # numbers of a card that are whole
LARGEST_NUMBER = 1e12  # above any that a card can hold
SAME_HEAD = 0.05  # of its length: 16 bits and another processor move it by a thousandth


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


def as_numbers(student, function, how_many, *arguments):
    """What a function returned as so many plain numbers; StudentError otherwise."""
    return as_array(student.call(function, *arguments), (how_many,), function).astype(float)


def as_row_numbers(answer, what, rows):
    """A list of row numbers below `rows`; an empty one is allowed."""
    if isinstance(answer, (list, tuple)) and not len(answer):
        return []
    numbers = as_array(answer, (None,), what)
    if not np.array_equal(numbers, numbers.astype(int)) or ((numbers < 0) | (numbers >= rows)).any():
        raise StudentError("unexpected", f"{what} should return row numbers between 0 and {rows - 1}.")
    return numbers.astype(int).tolist()


ROW_NUMBERS = ListOf(Number(whole=True))


@check(points=3, contract=Contract("secret_loss candidate_losses", Number()))
def exposure(student, rng):
    """Several ranks, the best and the worst, one other secret; then candidates with exactly the secret's loss."""
    candidates = rng.permutation(np.arange(1.0, 1.0 + rng.integers(20, 60)))
    cases = [(rank - 0.5, candidates) for rank in (1, 2, int(rng.integers(5, 15)), len(candidates) + 1)]
    for case in (*cases, (0.5, np.array([1.0])), (0.0, candidates)):
        got = as_number(student.call("exposure", *case), "exposure")
        if not close(got, memorization.exposure(*case)):
            return 0, "the bits differ: log2 of all secrets, this one too, minus log2 of the rank (1 is the smallest loss)"
    tied = np.repeat(candidates, 3)
    got = as_number(student.call("exposure", 4.0, tied), "exposure")
    if not close(got, memorization.exposure(4.0, tied)):
        return 2, "right without ties; a loss equal to the secret's does not stand before it, and each smaller one counts"
    near = 4 + np.array([-3, -2, -1, 0, 1]) / 2**12  # exact in 32 bits
    got = as_number(student.call("exposure", 4.0, near), "exposure")
    if not close(got, memorization.exposure(4.0, near)):
        return 2, "right for losses that are far apart; a smaller one stands before the secret's, however near it is"
    return 3, "log2 |R| minus log2 of the rank, also with equal losses"


@check(points=3, contract=Contract("texts threshold", ROW_NUMBERS, own="leaplm.responsible.memorization.jaccard "
                                   "leaplm.responsible.memorization.words_of"))
def deduplicate(student, rng):
    """Copies with another case and punctuation; chains, where a text is like one that was itself left out."""
    words = [f"w{number}" for number in rng.choice(900, size=60, replace=False)]

    def wrong(texts, threshold, want):
        got = as_row_numbers(student.call("deduplicate", texts, threshold), "deduplicate", len(texts))
        return got != want

    base, other = words[:10], words[10:20]
    chain = [base, base[:8] + words[20:22], base[:6] + words[20:24], other]  # each 8 of 12 like the one before: 0.67
    texts = [" ".join(part) for part in chain]
    forwarded = [texts[0].upper() + " !!", ", ".join(other) + ".", "--".join(base), f"({' '.join(other[::-1])})"]
    if wrong([*texts[:1], *texts[3:], *forwarded], 0.9, [0, 1]) or wrong(texts[:1], 0.9, [0]):
        return 0, "copies that differ only in letter case, punctuation or word order should go, whatever stands between them"
    named = [f"{word} {words[0]}" for word in rng.permutation(["ɗan", "ƙasa", "ሰላም", "ọjọ́", "ночь", "étudiant"])]
    copies = [f"{named[0].upper()}!", *named[::-1]]
    if wrong([*named, *copies], 0.9, list(range(6))):
        return 0, r"texts with letters that are not English: \w in re.findall knows them, [a-z] does not"
    repeated = [" ".join(words[:4]), " ".join([words[0]] * 10 + words[50:53])]  # one word of seven in common
    if wrong(repeated, 0.5, [0, 1]):
        return 0, "similarity is common words / words in either, of two sets: a repeated word counts once"
    if wrong([" ".join(words[:2]), " ".join([words[0]] * 9 + words[1:2])], 0.9, [0]):
        return 0, "similarity is common words / words in either, of two sets: a repeated word counts once"
    if wrong(["étudiant", "etudiant", "sûr", "sur"], 0.5, [0, 1, 2, 3]):
        return 0, "a letter with a mark is another letter than one without: é is not e"
    parts = [" ".join(words[:4]), " ".join(words[:12]), " ".join(words[2:4] + words[40:46])]
    if wrong(parts, 0.5, [0, 1, 2]):
        return 0, "texts went that share few words: divide by the words in either text"
    if wrong(texts, 0.6, memorization.deduplicate(texts, 0.6)):
        return 1, "right for copies; compare with the texts that were kept, not with those that were left out"
    exact = [" ".join(words[:4]), " ".join(words[:3] + words[50:52])]  # 3 of 6 words: exactly 0.5
    if wrong(exact, 0.5, [0]) or wrong([texts[0], texts[0]], 1.0, [0]):
        return 2, "right but at the edge: a similarity of exactly the threshold is enough to go"
    return 3, "each text is unlike all that were kept before it"


@check(points=3, contract=Contract("member_losses other_losses most_false", Several(*2 * [Number()])))
def membership_attack(student, rng):
    """AUC without ties, with ties, and the rate at several limits; 32 others, so that shares are exact in 32 bits too."""
    members, others = rng.gamma(1.0, size=40).astype(np.float32), rng.gamma(2.0, size=32).astype(np.float32)
    members[members.argmin()], others[others.argmin()] = 0.01, 0.001  # the smallest of all is no member's
    members[members.argmax()] = others.max() + 1  # the largest is
    members[members.argsort()[20]] = np.sort(others)[1:3].mean()  # to count it would be 2 of 32 false, above 0.05
    cases = [(members, others, limit) for limit in (0.0, 0.05, 0.25, 1.0)]
    cases += [(members[:1], others[:1] + 20, 0.0), (members[:3] + 20, others, 0.5)]  # all found, and none
    got = np.array([as_numbers(student, "membership_attack", 2, *case) for case in cases])
    want = np.array([privacy.membership_attack(*case) for case in cases])
    auc, rates = close(got[:, 0], want[:, 0]), close(got[:, 1], want[:, 1])
    tied_members, tied_others = rng.integers(4, size=30).astype(np.float32), rng.integers(1, 5, size=16).astype(np.float32)
    tied = as_numbers(student, "membership_attack", 2, tied_members, tied_others, 0.25)
    right = privacy.membership_attack(tied_members, tied_others, 0.25)
    points = int(auc) + int(rates) + int(auc and rates and close(tied, right))
    if points == 3:
        return 3, "AUC and rate are right, also with equal losses"
    if points == 2:
        return 2, "right without ties; a pair with equal losses counts half, and a loss at the threshold is a member's"
    said = "the AUC is right" if auc else "the rate is right" if rates else "both numbers differ"
    return points, f"{said}; AUC: pairs in which the member's loss is smaller; rate: most members found within the limit"


@check(points=4, contract=Contract("gradients max_norm noise_multiplier normal expected_batch", Tensor("float", dims=1)))
def clip_and_noise(student, rng):
    """Rows of very different lengths, one of zeros; noise; an expected size that is not the real one."""
    batch, width = int(rng.integers(6, 10)), int(rng.integers(5, 9))
    max_norm, noise, expected = float(rng.uniform(0.2, 0.7)), float(rng.uniform(0.5, 3)), batch + int(rng.integers(2, 9))
    gradients = rng.normal(size=(batch, width))
    lengths = max_norm * rng.permutation([0, 0.2, 0.7, *rng.uniform(1.5, 9, size=batch - 3)])
    gradients *= (lengths / np.linalg.norm(gradients, axis=1))[:, None]
    normal, nothing = rng.normal(size=width), np.zeros(width)

    def answer(*arguments):
        return as_array(student.call("clip_and_noise", *arguments), (width,), "clip_and_noise")

    want, got = (make(gradients, max_norm, 0.0, nothing, batch) for make in (privacy.clip_and_noise, answer))
    if np.isnan(got).any():
        return 0, "it gives NaN: a row of zeros has the length 0, by which nothing can be divided"
    if not close(got, want):
        return 0, "without noise it differs: each row is scaled down to max_norm if it is longer, then all are added up"
    if not close(answer(gradients, max_norm, 0.0, nothing, expected), want * batch / expected):
        return 1, "clipping is right; divide by expected_batch, not by the number of rows"
    want = privacy.clip_and_noise(gradients, max_norm, noise, normal, expected)
    if not close(answer(gradients, max_norm, noise, normal, expected), want):
        return 2, "clipping is right; the noise is noise_multiplier * max_norm * normal, added once to the sum"
    alone = gradients[lengths.argmax()][None]
    if not close(answer(alone, max_norm, noise, normal, expected),
                 privacy.clip_and_noise(alone, max_norm, noise, normal, expected)):
        return 3, "right for a batch; but one row alone goes wrong"
    empty = np.zeros((3, width))
    if not close(answer(empty, max_norm, noise, normal, expected), noise * max_norm * normal / expected):
        return 3, "right; but rows of zeros should give the noise alone"
    return 4, "clipped row by row, noise once, divided by the expected size"


PAIRED = Contract("first second resamples", Several(*3 * [Number()]), own="leaplm.evaluation.paired_difference")


@check(points=3, contract=PAIRED)
def paired_interval(student, rng):
    """Scores that go together, so that pairing shows, in favour of either; the draws are given, so the numbers are exact."""
    parts = np.ones(3, bool)
    turned = True
    for rounds, sign in ((200, 1), (37, -1)):
        rows = int(rng.integers(30, 60))
        hard = rng.uniform(size=rows)
        first, second = (hard + rng.normal(scale=0.1, size=(2, rows))).astype(np.float32)
        first, draws = first + np.float32(0.05 * sign), rng.integers(rows, size=(rounds, rows))
        got = as_numbers(student, "paired_interval", 3, first, second, draws)
        want = fairness.paired_interval(first, second, draws)
        parts &= np.isclose(got, want, atol=CLOSE, rtol=CLOSE)
        turned &= close(got[1:], [want[2], want[1]])
    if parts.all():
        return 3, "difference and interval are right"
    if not parts[0]:
        return 0, "the difference differs: the mean of first - second, over the texts, not over the draws"
    if turned:
        return 2, "low and high are exchanged"
    return 1, "the difference is right; the interval: mean of each draw's differences, then their 2.5 % and 97.5 % quantiles"


@check(points=2, contract=Contract("words scores share", Several(Text(), Text())))
def erase(student, rng):
    """Words that occur twice, negative scores, shares that need rounding up or none, all words, none, and one alone."""
    good, rounded, cases = 0, 0, [(0.2, 11), (0.3, 13), (0.5, 9), (0.5, 8), (0.0, 5), (1.0, 6), (0.25, 1)]
    for share, count in cases:  # no share of 9, 11 and 13 is a whole number
        words = rng.choice(["so", "good", "not", "bad", "film"], size=count).tolist()
        scores = rng.normal(size=count).astype(np.float32)
        scores[rng.integers(count)] = -5
        answer = student.call("erase", words, scores, share)
        if not isinstance(answer, list) or len(answer) != 2 or not all(isinstance(part, str) for part in answer):
            return 0, "erase should return two strings"
        good += tuple(answer) == explanations.erase(words, scores, share)
        fewer = explanations.erase(words, scores, math.floor(share * count) / count)
        rounded += tuple(answer) == fewer != explanations.erase(words, scores, share)
    if good == len(cases) and not chooses_as_many(student):
        return 1, "right where all scores differ; of equal ones no more are chosen than math.ceil(share * n) in all"
    if good == len(cases):
        return 2, "the rest and the important words, both in their order"
    if rounded and rounded + good == len(cases):
        return 1, "the right order; but round the number of words up (math.ceil)"
    return 0, "other words: the largest scores (not the largest sizes), words in their order, each place by itself"


def chooses_as_many(student):
    """Whether, of words with equal scores, the asked number is chosen, whichever they are; all in their order."""
    words = ["Kano", "Jos", "Zaria", "Lagos", "Kisumu"]
    for scores, share in (([1, 1, 1, 1, 1], 0.4), ([0, 2, 0, 0, 3], 0.6), ([-1, -1, 0, -1, -1], 0.8)):
        rest, chosen = (part.split() for part in student.call("erase", words, np.array(scores, np.float32), share))
        largest = [words[i] for i in range(5) if scores[i] > sorted(scores)[2]]
        if len(chosen) != round(5 * share) or not set(largest) <= set(chosen) or \
           any(part != [word for word in words if word in part] for part in (rest, chosen)) or {*rest, *chosen} != {*words}:
            return False
    return True


@check(points=2, contract=Contract("rows columns k", ROW_NUMBERS))
def risky_rows(student, rng):
    """Columns that count together, groups one below, at and one above k, a column that must not count, look-alikes."""
    k = int(rng.integers(3, 6))
    groups = [(town, gender) for town in ("Kano", "Zaria", "Jos") for gender in ("woman", "man")]
    sizes = rng.permutation([k - 1, k - 1, k, k, k + 1, 2])
    members = rng.permutation(np.repeat(np.arange(6), sizes))
    people = [{"town": groups[g][0], "gender": groups[g][1], "number": number} for number, g in enumerate(members)]
    glued = [{"town": f"Kano{sign}1", "gender": "2"} for sign in ("", " ", ",", "-")]  # unlike these, if kept apart
    glued += [{"town": "Kano", "gender": f"1{sign}2"} for sign in ("", " ", ",", "-")]
    turned = [{"town": town, "gender": gender} for town, gender in (("Jos", "Kano"), ("Kano", "Jos"), ("kano", "Jos"))]
    cases = [(turned, ["town", "gender"], 2), (turned[:2], ["gender", "town"], 2)]
    cases += [(people, columns, k) for columns in (["town", "gender"], ["gender"], ["number"])]
    for case in (*cases, (people, ["gender", "town"], 1), (people[:1], ["town"], 2), (glued, ["town", "gender"], 2)):
        got = as_row_numbers(student.call("risky_rows", *case), "risky_rows", len(case[0]))
        if got != privacy.risky_rows(*case):
            return 0, "other rows: fewer than k rows (itself included) with the same values in all the columns together"
    return 2, "the rows that stand alone"


# -- the private head -----------------------------------------------------------------------------------------------------


@check(points=6, seconds=120, contract=NOTHING_CALLED)
def private_head(student, rng):
    """The saved head on held-out texts, if its card's promise follows from its own numbers and noise has left its trace."""
    content = first_artifact(student, ("private-head-gpu.safetensors", "private-head-cpu.safetensors"))
    try:
        card, tensors = artifacts.read_artifact(content)
        names = data.heldout_rows(card.get("language")).features["label"].names
        if card.get("labels") != names:
            return 0, f"the classes of the artifact are not those of language {card.get('language')!r}"
        weight = read_weight(tensors, len(card["labels"]), card.get("features"))
        problem = promise_problem(card, weight) or training_problem(card, weight)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        return 0, f"the artifact cannot be used: {error}"
    return (0, problem) if problem else judge_head(weight, card["language"], card["features"])


def read_weight(tensors, classes, kind):
    """The head's weight (classes, width) as numbers; ValueError if it is not one."""
    if set(tensors) != {"weight"}:
        raise ValueError("it should hold one tensor, called weight")
    if tensors["weight"].dtype not in artifacts.FLOATS:
        raise ValueError(f"the weight holds {tensors['weight'].dtype}, not numbers of 16, 32 or 64 bits with a fraction")
    weight = tensors["weight"].double().numpy()
    wanted = (classes, privacy.WIDTHS[kind])
    if weight.shape != wanted or not np.isfinite(weight).all():
        raise ValueError(f"the weight has shape {weight.shape}, not {wanted}, or values that are not finite")
    return weight


def number_of(card, name):
    """A number of the card; ValueError if it is none or endless, or has a fraction where a count or a seed stands."""
    value = card.get(name)
    if type(value) not in (int, float) or not abs(value) < LARGEST_NUMBER or (name in WHOLE and value != int(value)):
        raise ValueError(f"the card says {value!r} for {name}, which can be no such number ({', '.join(WHOLE)} are whole)")
    return value


def promise_problem(card, weight):
    """What is wrong with the card's claim, in words, or None."""
    names = ("noise_multiplier", "max_norm", "learning_rate", "delta", "sample_rate", "steps", "rows", "epsilon")
    noise, max_norm, learning_rate, delta, sample_rate, steps, rows, claimed = (number_of(card, name) for name in names)
    if not 0.01 <= noise <= 1000:
        return f"the card says a noise multiplier of {noise:g}: from 0.01 to 1000 are possible"
    config = privacy.PrivateConfig(delta=delta, sample_rate=sample_rate, steps=int(steps), max_norm=max_norm,
                                   learning_rate=learning_rate)
    available = len(data.load_sentiment(data.marked_language(card["language"]))["train"])
    if not 0 < rows <= available or rows != int(rows) or delta * rows > 0.1:
        return f"the card says {rows:g} rows and delta {delta:g}: at most {available} rows, and delta at most 0.1 / rows"
    spent = privacy.epsilon_spent(noise, sample_rate, int(steps), delta)
    if claimed < spent - 0.01:
        return f"the card claims epsilon {claimed:.2f}; from its noise, sample rate and steps follows {spent:.2f}"
    if spent > LARGEST_EPSILON + 0.01:
        return f"the budget spent is epsilon {spent:.2f}; at most {LARGEST_EPSILON:g} was asked for"
    if claimed > LARGEST_EPSILON + 0.01:
        return f"the card claims epsilon {claimed:.2f}; at most {LARGEST_EPSILON:g} was asked for"
    trace, expected = privacy.noise_trace(weight), privacy.expected_trace(config, noise, int(rows), len(weight))
    # With some 385 numbers the trace's own spread is 4 %; 16-bit rounding adds far less.
    if not 0.75 * expected < trace < 1.25 * expected:
        return f"the noise left no such trace: the classes' weights add up to size {trace:.4f}, not to {expected:.4f}"
    return None


def training_problem(card, weight):
    """What the card leaves unsaid if training again as it says, on the same rows by the same seed, gives another head.

    A head alone cannot prove how it was made: noise can be added to one that was trained without any.
    """
    numbers = {name: number_of(card, name) for name in ("delta", "sample_rate", "max_norm", "learning_rate")}
    config = privacy.PrivateConfig(**numbers, steps=int(card["steps"]))
    features, labels = training_features(data.marked_language(card["language"]), int(card["rows"]), card["features"])
    again = privacy.train_head_with_noise(features, labels, len(weight), config, float(card["noise_multiplier"]),
                                          int(number_of(card, "seed")))
    if np.linalg.norm(again - weight) > SAME_HEAD * np.linalg.norm(again):
        return "training again from its card (rows, seed, steps, noise) gives another head: hand in the one of section 4"
    return None


@functools.lru_cache(maxsize=4)
def training_features(language, rows, kind):
    """What a private head trains on: the first rows, as the lab draws them."""
    some = data.subsample(data.load_sentiment(language)["train"], rows)
    return privacy.text_features(some["text"], kind), np.array(some["label"])


@functools.cache
def heldout_features(language, kind):
    rows = data.heldout_rows(language)
    return privacy.text_features(rows["text"], kind), np.array(rows["label"])


def judge_head(weight, language, kind):
    features, labels = heldout_features(language, kind)
    predictions = privacy.head_logits(weight, features).argmax(1)
    score = evaluation.macro_f1(labels, predictions)
    one_class = evaluation.macro_f1(labels, np.full(len(labels), np.bincount(labels).argmax()))
    record = marking.runs("lab9_responsible", language)["heldout_macro_f1"]
    if record.empty:
        return 0, f"there is no record for language {language!r} yet: `leaplm add-language` makes one"
    wanted = max(prediction_bound(record), one_class + 0.02)
    told = f"epsilon holds; macro-F1 {score:.3f} on {len(labels)} held-out texts"
    standing.note("macro-F1", score, wanted, record)
    if score >= wanted:
        return 6, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1, rounds=300)
    if low > one_class:
        return 3, f"{told}: clearly above the majority class ({one_class:.3f}), below the {wanted:.3f} that was wanted"
    return 0, f"{told}: not clearly above the majority class ({one_class:.3f}); {wanted:.3f} was wanted"
