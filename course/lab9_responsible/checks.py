"""Checks of lab 9, responsible use. Inputs are fresh and random at each run; references are computed here."""

import functools
import math

import numpy as np
from leaplm import artifacts, data
from leaplm.grading import (
    NOTHING_CALLED,
    Contract,
    FromGenerator,
    ListOf,
    Number,
    Numbers,
    Record,
    Several,
    StudentError,
    as_array,
    as_number,
    check,
    differs,
    first_artifact,
)
from leaplm.grading.judge.class_points import judge_classes
from leaplm.responsible import fairness, memorization, privacy

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


# -- DP-SGD ---------------------------------------------------------------------------------------------------------------

OF_PRIVACY = "leaplm.responsible.privacy."
NO_ROWS = "without rows, `per_example_gradients` should return an array of shape (0, classes * width)."


@check(points=2, contract=Contract("weight features labels", Numbers(dims=2), arrays="numpy"))
def per_example_gradients(student, rng):
    """Two, three and four classes, each label there, as many rows as classes, one row, none, scores of ±1000, 32 bits."""
    for classes, rows, width in ((3, 7, 5), (2, 6, 4), (4, 4, 4)):
        case = head_case(rng, classes, rows, width)
        got, want = gradients_of(student, *case), privacy.per_example_gradients(*case)
        if not close(got, want):
            return explain_gradients(got, want, *case)
    small = head_case(rng, 3, 5, 4)
    if not close(gradients_of(student, small[0], small[1].astype(np.float32), small[2]),
                 privacy.per_example_gradients(small[0], small[1].astype(np.float32), small[2])):
        return 1, "right; but features of 32 bits, as in the lab, give other gradients"
    alone, nobody = head_case(rng, 3, 1, 4), head_case(rng, 3, 0, 4)
    if not close(gradients_of(student, *alone), privacy.per_example_gradients(*alone)):
        return 1, "right for several rows, not for one alone"
    scores = np.array([[1000, 990, 0, -1000], [0, 0, 0, 1000], [-1000, -999, -1000, -998], [-1000, 0, 0, 0.0]])
    large = scores.T[rng.permutation(4)], np.eye(4), rng.permutation(4)  # of the smallest and the largest none may be cut
    if not close(gradients_of(student, *large), privacy.per_example_gradients(*large)):
        return 1, "right for small scores; before `exp`, take the row's largest score off all of them"
    try:
        gradients_of(student, *nobody)
    except StudentError:
        return 1, NO_ROWS
    return 2, "the gradient of each row by itself"


def head_case(rng, classes, rows, width):
    """(weight, features, labels); every label occurs where there are rows enough."""
    labels = rng.permutation(np.arange(rows) % classes)
    return rng.normal(size=(classes, width)), rng.normal(size=(rows, width)), labels


def gradients_of(student, weight, features, labels):
    answer, shape = student.call("per_example_gradients", weight, features, labels), (len(labels), weight.size)
    if not len(labels):
        if np.shape(answer) != shape:
            raise StudentError("unexpected", NO_ROWS)
        return np.zeros(shape)
    return as_array(answer, shape, "per_example_gradients").astype(float)


def explain_gradients(got, want, weight, features, labels):
    classes, width = weight.shape
    turned = want.reshape(len(labels), classes, width).swapaxes(1, 2).reshape(len(labels), -1)
    truth = np.eye(classes)[labels]
    scores = features @ weight.T
    no_softmax = ((scores - truth)[:, :, None] * features[:, None]).reshape(want.shape)
    no_label = want + (truth[:, :, None] * features[:, None]).reshape(want.shape)
    known = [(want / len(labels), "each row's own gradient is wanted, not its part of a mean: do not divide by the rows"),
             (np.broadcast_to(want.mean(axis=0), want.shape), "all rows are the mean: each row's own gradient is wanted"),
             (-want, "the sign: the gradient of the loss is (p - y) times the features, not (y - p)"),
             (turned, "the order of the numbers: class after class, each with all features"),
             (no_softmax, "the scores are no probabilities: softmax of each row first"),
             (no_label, "the label is missing: take 1 off the probability at the label")]
    for value, told in known:
        if close(got, value):
            return 1 if value is turned or told.startswith("each") else 0, told
    return 0, "other gradients: (p - y) of each row, times each of its features; p is the softmax over the classes"


@check(points=2, contract=Contract("gradients max_norm noise_multiplier normal expected_batch", Numbers("float", dims=1),
                                   arrays="numpy"))
def clip_and_noise(student, rng):
    """Rows of very different lengths, one of zeros; noise; one row, none; a long sum; expected sizes of any kind."""
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
        return 0.5, "clipping is right; divide by expected_batch, not by the number of rows"
    want = privacy.clip_and_noise(gradients, max_norm, noise, normal, expected)
    if not close(answer(gradients, max_norm, noise, normal, expected), want):
        return 1, "clipping is right; the noise is noise_multiplier * max_norm * normal, added once to the sum"
    alone = gradients[lengths.argmax()][None]
    if not close(answer(alone, max_norm, noise, normal, expected),
                 privacy.clip_and_noise(alone, max_norm, noise, normal, expected)):
        return 1.5, "right for a batch; but one row alone goes wrong"
    for empty, told in ((np.zeros((3, width)), "rows of zeros"), (np.zeros((0, width)), "no rows at all")):
        try:
            alone_left = close(answer(empty, max_norm, noise, normal, expected), noise * max_norm * normal / expected)
        except StudentError:  # of np.stack
            alone_left = False
        if not alone_left:
            return 1.5, f"right; but {told} should give the noise alone"
    alike = alone * np.linspace(1, 2, batch)[:, None]  # of one direction: their sum is as long as it can be
    if not close(answer(alike, max_norm, 0.0, nothing, 1), batch * max_norm * alone[0] / np.linalg.norm(alone)):
        return 1.5, "right; but only rows are clipped: not their sum, and not the result"
    for size in (2.75, 0.5):
        if not close(answer(gradients, max_norm, noise, normal, size), want * expected / size):
            return 1.5, "right; but expected_batch can have a fraction, and be below 1"
    return 2, "clipped row by row, noise once, divided by the expected size"


RDP = Contract("noise_multiplier sample_rate steps delta", Number(), forbids="opacus.accountants.analysis.rdp.*",
               own=f"{OF_PRIVACY}epsilon_spent {OF_PRIVACY}privacy_profile {OF_PRIVACY}noise_for")


@check(points=3, contract=RDP)
def rdp_epsilon(student, rng):
    """Budgets whose best order is in the middle, the first, the last; sample rate 1; hardly any noise, and none."""
    middle = [(round(float(rng.uniform(1.5, 4)), 3), round(float(rng.uniform(0.1, 0.3)), 3), int(rng.integers(30, 150)),
               delta) for delta in (1e-5, 1e-6, 1e-3)]  # rounded, so that a message can name them
    edges = [(0.9, 0.4, 400, 1e-5), (60.0, 0.01, 3, 1e-5)]  # the best order is 2, and 32
    got = [epsilon_of(student, case) for case in middle + edges]
    if not same_budgets(got, middle + edges):
        return explain_budgets(got, middle + edges)
    # With hardly any noise: e^12400 at the last order, e^1111 at the first.
    for edges, told in (([(1.5, 1.0, 10, 1e-5)],
                         "right; but with sample rate 1 each order's divergence is order / (2 * noise_multiplier ** 2)"),
                        ([(0, 0.25, 10, 1e-5), (0.0, 1.0, 10, 1e-5)],
                         "right with noise; without any (0), epsilon is math.inf"),
                        ([(0.2, 0.25, 10, 1e-5), (0.03, 0.5, 2, 1e-5)],
                         "right; but with little noise the terms are too large for a number: add up their logarithms")):
        try:
            fits = same_budgets([epsilon_of(student, case) for case in edges], edges)
        except StudentError:  # of math.log and math.exp, and of a division by 0
            fits = False
        if not fits:
            return 2, told
    if epsilon_of(student, (500.0, 0.01, 1, 0.4)) != 0:
        return 2.5, "right; but epsilon is never below 0"
    return 3, "the smallest epsilon of all orders"


def epsilon_of(student, case):
    return float(as_array(student.call("rdp_epsilon", *case), (), "rdp_epsilon"))


def same_budgets(got, cases):
    return bool(np.allclose(got, [privacy.rdp_epsilon(*case) for case in cases], rtol=1e-6, atol=1e-9))


def near_budget(noise, rate, steps, delta, orders=range(2, 33), all_steps=True, sampled=True, first=0, last=1, twice=2,
                choose=min, plain=False, counted=True, inside=False):
    """An accountant that does one thing otherwise."""
    found = []
    for order in orders:
        logs = [(math.log(math.comb(order, k)) if counted else 0.0) + k * math.log(rate) + (order - k) * math.log1p(-rate)
                + k * (k - 1) / (twice * noise**2) for k in range(first, order + last)]  # fmt: skip
        total = float(np.logaddexp.reduce(logs))
        divergence = total / (order - 1) if sampled else order / (2 * noise**2)
        spent = steps * divergence if all_steps else divergence
        to_delta = -math.log(delta) / (order - 1)
        if not plain:
            to_delta += math.log((order - 1) / order) - math.log(order) / (order - 1)
        found.append(spent + (steps * to_delta if inside else to_delta))
    return choose(found)


BUDGET_MISSES = [({"all_steps": False}, 1, "the steps are missing: the divergences of all steps add up"),
                 ({"inside": True}, 1, "the divergence counts for every step, what turns it into epsilon only once"),
                 ({"sampled": False}, 1, "the sample rate is missing: whoever is not always drawn is hidden better"),
                 ({"choose": max}, 1, "of all orders the smallest epsilon counts, not the largest"),
                 ({"plain": True}, 2, "right but for what is added: log((order - 1) / order) - log(delta * order) / "
                                      "(order - 1)"),
                 ({"twice": 1}, 1, "in the exponent stands k * (k - 1) / (2 * noise_multiplier ** 2): the 2 is missing"),
                 ({"counted": False}, 1, "the binomial coefficient is missing: math.comb(order, k)"),
                 ({"first": 1}, 2, "the sum begins at k = 0"),
                 ({"last": 0}, 1, "the sum ends at k = order, which range must hold too"),
                 ({"orders": range(2, 32)}, 2, "right but for the orders: 2 to 32, the last one too"),
                 ({"orders": range(3, 33)}, 2, "right but for the orders: 2 is the first")]


def explain_budgets(got, cases):
    for miss, points, told in BUDGET_MISSES:
        if np.allclose(got, [near_budget(*case, **miss) for case in cases], rtol=1e-6, atol=1e-9):
            return points, told
    case, value = cases[-1], got[-1]
    for other, given in zip(got, cases, strict=True):
        if not same_budgets([other], [given]):
            case, value = given, other
            break
    return 0, differs("rdp_epsilon", case, f"{value:.8g}", f"{privacy.rdp_epsilon(*case):.8g}")


@check(points=1, contract=Contract("spent epsilon", Number(), own=f"{OF_PRIVACY}noise_for",
                                   forbids="opacus.accountants.utils.*"))
def find_noise(student, rng):
    """Budgets that fall fast and slowly; answers below the first guess and far above, a power of two, near both ends.

    3.02441 and the next multiple of 1 / 1024, 3.02441406, are both rounded down, to three digits and to four.
    """
    answers = [float(rng.uniform(1.1, 7)), float(rng.uniform(0.2, 0.9)), float(rng.uniform(20, 60)), 1.0, 4.0, 0.0123, 911.7,
               3.02441]
    for wanted, power in zip(answers, (1.0, 2.0, 0.5, 1.0, 1.5, 1.0, 1.0, 1.0), strict=True):
        epsilon = float(rng.uniform(0.5, 8))
        spent = student.build("leaplm.grading.judge.probes:spending", epsilon * wanted**power, power)
        found = as_number(student.call("find_noise", spent, epsilon), "find_noise")
        if student.read(spent, "leaplm.grading.judge.probes:times_asked") > 100:
            return 0.5, "it asks for the budget more than a hundred times: halve the interval at each call"
        if found < wanted * (1 - 1e-9):
            return 0, f"it gives {found:.6f}, which does not keep the budget: the smallest noise that does is {wanted:.6f}"
        if found > wanted + 0.00101:
            return 0, f"it gives {found:.6f}, more than 0.001 above the smallest noise that keeps the budget, {wanted:.6f}"
    return 1, "the smallest noise that keeps the budget"


STEPS = ListOf(Record({"epsilon": Number(), "length": Number()}))
LOOP = Contract("features labels people classes config noise_multiplier generator",
                Several(Numbers("float", dims=2), Number(), STEPS), random=FromGenerator(6), arrays="numpy",
                own=f"{OF_PRIVACY}train_head_with_noise {OF_PRIVACY}train_head_privately {OF_PRIVACY}train_head_with_opacus")
WHOLE_RUN = {"epsilon": 50.0, "steps": 3, "sample_rate": 0.5, "max_norm": 0.6, "learning_rate": 2.0}


@check(points=3, contract=LOOP)
def dp_sgd(student, rng):
    """A row each, then people with several rows, mixed; a budget that ends early, or at once; steps that draw nobody.

    A budget that is reached and not exceeded: endless, so that no last digit decides. Deltas above and below 1 / rows.
    """
    several = rng.permutation([0, 0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 1])
    cases = [("each row", np.arange(9), WHOLE_RUN | {"delta": 1e-6}, 2.0),
             ("people", several, WHOLE_RUN | {"steps": 4}, 2.0)]  # fmt: skip
    cases += [("people", several, WHOLE_RUN | {"epsilon": 1e4, "max_norm": 50.0, "delta": 0.3}, 0.3)]  # nobody is cut
    ended = {"epsilon": float(privacy.rdp_epsilon(2.0, 0.5, 3, 1e-5) + 0.01), "steps": 9}
    cases += [("budget", np.arange(8), WHOLE_RUN | ended, 2.0), ("none", np.arange(4), WHOLE_RUN | {"epsilon": 0.05}, 2.0),
              ("nobody", rng.permutation([0, 0, 1]), WHOLE_RUN | {"sample_rate": 0.25, "steps": 6}, 3.0),
              ("endless", np.arange(6), WHOLE_RUN | {"epsilon": math.inf}, 0.0)]
    kept = None
    for name, people, settings, noise in cases:
        features, labels = rng.normal(size=(len(people), 4)), rng.permutation(np.arange(len(people)) % 3)
        given = features, labels, people, 3
        seed = telling_seed(rng, int(people.max()) + 1, settings) if name == "nobody" else int(rng.integers(10**6))
        config = student.build(f"{OF_PRIVACY[:-1]}:PrivateConfig", **settings)
        source = student.build("leaplm.grading.judge.probes:generator", seed)
        weight, spent, history = student.call("dp_sgd", *given, config, noise, source)
        got = as_array(weight, (3, 4), "the weight"), float(as_array(spent, (), "epsilon spent")), history
        want = reference_run(given, settings, noise, seed)
        if not same_run(got, want):
            told = explain_run(name, got, want, lambda given=given, settings=settings, noise=noise, seed=seed, **miss:
                               reference_run(given, settings, noise, seed, **miss))
            if not close(got[0], want[0]):
                return told
            kept = kept or told  # right weights: whether another case shows more
    return kept or (3, "a training that keeps its budget, for people with one row or many")


def telling_seed(rng, people, settings):
    """A seed by which some step draws nobody and another somebody."""
    for seed in rng.integers(10**6, size=500).tolist():
        source, drawn = np.random.default_rng(seed), []
        for _ in range(settings["steps"]):
            drawn.append((source.random(people) < settings["sample_rate"]).any())
            source.normal(size=12)
        if set(drawn) == {True, False}:
            return seed
    raise RuntimeError("no seed tells the ways apart")


def same_run(got, want):
    (weight, spent, history), (ours, budget, steps) = got, want
    return close(weight, ours) and close(spent, budget) and len(history) == len(steps) and \
        all(set(step) == set(our) and all(close(step[key], our[key]) for key in our)
            for step, our in zip(history, steps, strict=True))


def reference_run(given, settings, noise, seed, by="sum", unit="people", order="people first", batch="expected", late=0,
                  rate="falling", sign=1, clipped=True, ahead=1, loud=1, number="people", nobody="a step"):
    """(weight, epsilon spent, history) as the lab asks for it, or of a near miss."""
    (features, labels, people, classes), config = given, privacy.PrivateConfig(**settings)
    count, source = len(people) if number == "rows" else int(people.max()) + 1, np.random.default_rng(seed)
    weight, spent, history = np.zeros((classes, features.shape[1])), 0.0, []
    for step in range(config.steps):
        after = privacy.rdp_epsilon(noise, config.sample_rate, step + ahead, config.delta)
        if (spent if late else after) > config.epsilon:
            break
        normal = source.normal(size=weight.size) if order == "noise first" else None
        drawn = source.random(len(people) if unit == "rows" else count) < config.sample_rate
        if nobody == "skipped" and not drawn.any():
            continue
        rows = np.flatnonzero(drawn if unit == "rows" else drawn[people])
        gradients = privacy.per_example_gradients(weight, features[rows], labels[rows])
        if by != "rows" and unit != "rows":
            whose = people[rows]
            gradients = privacy.sum_by_person(gradients, whose)
            if by == "mean" and len(rows):
                gradients = gradients / np.unique(whose, return_counts=True)[1][:, None]
        normal = source.normal(size=weight.size) if normal is None else normal
        normal = normal * (nobody != "silent" or drawn.any())
        size = config.sample_rate * (len(people) if batch == "rows" else count)
        size = max(1, drawn.sum()) if batch == "real" else size
        longest = config.max_norm if clipped else 1e9
        gradient = privacy.clip_and_noise(gradients, longest, loud * noise * config.max_norm / longest, normal, size)
        pace = {"falling": config.rate(step), "next": config.rate(step + 1), "fixed": config.learning_rate}[rate]
        weight, spent = weight - sign * pace * gradient.reshape(weight.shape), after
        history.append({"epsilon": spent, "length": float(np.linalg.norm(gradient))})
    return weight, spent, history


STEP_OF_NOBODY = "right; but a step that draws nobody is a step, too: its gradient is noise alone"
RUN_MISSES = [({"sign": -1}, 1, "the weight moves towards a larger loss: minus the gradient"),
              ({"rate": "fixed"}, 1, "the learning rate stays the same: config.rate(step), counted from 0"),
              ({"rate": "next"}, 2, "the learning rate is that of the next step: the first one has config.rate(0)"),
              ({"loud": 0}, 1, "the noise is missing: clip_and_noise gets noise_multiplier and the normal numbers drawn"),
              ({"order": "noise first"}, 2, "in each step the people are drawn first, then the noise"),
              ({"clipped": False}, 1, "the gradients are not clipped to config.max_norm"),
              ({"unit": "rows"}, 1, "rows are drawn; draw people, and take all rows of those drawn"),
              ({"by": "rows"}, 1, "each row is clipped by itself: add up the gradients of a person first, then clip"),
              ({"by": "mean"}, 2, "the gradients of a person are added up, not averaged"),
              ({"batch": "rows"}, 2, "the expected batch counts people: config.sample_rate times their number"),
              ({"batch": "real"}, 1, "divide by the expected number of people, not by how many were drawn"),
              ({"late": 1}, 1, "it stops one step too late: ask before a step what will be spent after it"),
              ({"ahead": 2}, 2, "it stops one step too early: ask what is spent after this step, not after the next"),
              ({"number": "rows"}, 1, "m is the number of people, not of rows"),
              ({"nobody": "skipped"}, 2, STEP_OF_NOBODY),
              ({"nobody": "silent"}, 2, STEP_OF_NOBODY)]
SAID = {"each row": "other weights: account, draw people, sum by person, draw noise, clip and add, move",
        "people": "right for one row a person; else all rows of a person are drawn together, added up, and clipped as one",
        "budget": "right with a large budget; but the training should stop before a step that would exceed it",
        "none": "right; but where no step keeps the budget, the weight is zeros, epsilon 0.0 and the history empty",
        "nobody": STEP_OF_NOBODY,
        "endless": "right; but stop only where more than config.epsilon would be spent, not where just as much"}


def explain_run(name, got, want, near):
    for miss, points, told in RUN_MISSES:
        if close(got[0], near(**miss)[0]) and not close(near(**miss)[0], want[0]):
            return points, told
    if not close(got[0], want[0]):
        return {"each row": 0, "people": 1}.get(name, 2), SAID[name]
    if any(set(step) != {"epsilon", "length"} for step in got[2]):
        return 2, "the weight is right; in the history stand epsilon and length, and nothing that has no noise"
    if not close(got[1], want[1]):
        return 2, SAID[name] if name == "none" else \
            "the weight is right; epsilon spent is rdp_epsilon's for the steps made, with config.delta"
    return 2, "the weight is right; the history has for each step the epsilon spent so far and the private gradient's length"


# -- gaps -----------------------------------------------------------------------------------------------------------------

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
    points, told = judge_classes("lab9_responsible", language, labels, privacy.head_logits(weight, features).argmax(1))
    return points, f"epsilon holds; {told}"
