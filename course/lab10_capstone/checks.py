"""Checks of lab 10, the capstone: three functions, and the file of results, whose numbers are worked out again here."""

import numpy as np
from leaplm.capstone import small_data
from leaplm.grading import (
    NOTHING_CALLED,
    Contract,
    Numbers,
    Record,
    Seeded,
    StudentError,
    as_array,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes

FILES = tuple(f"results-{scale}.json" for scale in ("gpu", "cpu"))
CLOSE = 1e-6
OTHERS, SEEDS = 2, 3  # methods beside the baselines; seeds of each
SLACK = 2  # rows by which two classes may come nearer to each other in a training part: a fold holds one more, or less


ROWS = Numbers("int", dims=1)


@check(points=3, contract=Contract("rows", Record({"duplicates": ROWS, "contradictions": ROWS, "personal": ROWS})))
def audit(student, rng):
    """One point a list: duplicates, contradictions, personal data; texts that differ in case and spaces, in random order.

    `redact` is asked of the text as it stands: it finds a passport by its capital letter, and no phone on two lines.
    """
    rows = random_rows(rng)
    want = small_data.audit(rows)
    got = student.call("audit", rows)
    if not isinstance(got, dict) or set(want) - set(got):
        return 0, "audit should return a dict with duplicates, contradictions and personal"
    wrong = [name for name, numbers in want.items() if as_array(got[name], None, name).tolist() != numbers]
    if wrong:
        personal = ["ask redact about every row, and about its text as it stands"] if "personal" in wrong else []
        return 3 - len(wrong), "; ".join([f"these lists are not as they should be: `{', '.join(wrong)}`", *personal])
    return 3, "every repeated text and every text with personal data is found"


def random_rows(rng):
    """Eight texts, some again in other letters or spacing: with the first label, with another, then with the first."""
    words = rng.permutation(["market", "clinic", "bridge", "school", "river", "harvest", "radio", "lamp"]).tolist()
    texts = [f"The {word} is open" for word in words]
    labels = [0, 2, *rng.integers(3, size=6).tolist()]  # in the end times 500: equal labels need not be one object
    rows = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    rows[3]["text"] += f" call 0803 {rng.integers(100, 999)} {rng.integers(1000, 9999)}"
    rows[5]["text"] += f" write to {words[0]}@example.org"
    rows[4]["text"] += f" passport A{rng.integers(10**7, 10**8)}"
    rows[6]["text"] += f" [sic], call 0803\n{rng.integers(100, 999)}\n{rng.integers(1000, 9999)}"
    for first, shift in ((0, 0), (1, 1), (1, 0), (1, 1), (2, 2), (3, 1), (0, 1), (5, 0)):
        text = rng.choice(["{}", " {}  ", "{}\n"]).format(rows[first]["text"].upper())
        text = text.replace(" IS", rng.choice([" IS", "  IS"]))
        rows.append({"text": text, "label": (labels[first] + shift) % 3})
    return [{"text": row["text"], "label": 500 * row["label"]} for row in rows]


@check(points=3, contract=Contract("labels folds seed", ROWS, random=Seeded(2)))
def stratified_folds(student, rng):
    """Classes of sizes that the number of folds does not divide, some with fewer rows than folds; several seeds."""
    folds = int(rng.integers(3, 6))
    labels = rng.permutation(np.repeat([0, 1, 4, 5, 9], [4 * folds + 1, 3 * folds + 2, folds, folds - 1, 1])).tolist()
    cuts = [fold_numbers(student, labels, folds, seed) for seed in range(4)]
    if any(spread(labels, where, folds) > 1 for where in cuts):
        return 0, "the rows of a class should be spread over the folds so that their numbers differ by at most 1"
    if not np.array_equal(cuts[0], fold_numbers(student, labels, folds, 0)):
        return 1, "evenly spread; but the same seed should give the same folds"
    together = [np.equal.outer(where, where)[np.equal.outer(labels, labels)] for where in cuts]
    if any(np.array_equal(together[0], other) for other in together[1:]):
        return 1, "evenly spread; but another seed should give other folds: mix the rows of each class"
    if not np.array_equal(cuts[0], student.call("stratified_folds", labels, folds)):
        return 2, "right with a seed; without one, the seed should be 0, as the first line of the function says"
    return 3, "even, at random, and the same again with the same seed"


def fold_numbers(student, labels, folds, seed):
    where = as_array(student.call("stratified_folds", labels, folds, seed), (len(labels),), "stratified_folds")
    if not np.isin(where, np.arange(folds)).all():
        raise StudentError("unexpected", f"stratified_folds should give whole numbers from 0 to {folds - 1}.")
    return where.astype(int)


def spread(labels, where, folds):
    """The largest difference, over classes, between the numbers of rows in two folds."""
    counts = [np.bincount(where[np.array(labels) == c], minlength=folds) for c in np.unique(labels)]
    return max(int(np.ptp(count)) for count in counts)


@check(points=3, contract=Contract("fit_predict rows where", Numbers(dims=1), arrays="numpy"))
def cross_validate(student, rng):
    """A model whose answers depend on every training row: one row too many or too few changes all of them.

    Some rows stand in several folds: a row is known by its place, not by its value.
    """
    n, folds = int(rng.integers(20, 30)), int(rng.integers(3, 6))
    rows, where = rng.integers(1, 10**6, size=n).tolist(), rng.permutation(np.arange(n) % folds)
    rows = [rows[0] if i in [np.argmax(where == fold) for fold in range(folds)] else row for i, row in enumerate(rows)]
    model = student.build("leaplm.grading.judge.probes:checksum_model")
    got = as_array(student.call("cross_validate", model, rows, where), (n,), "cross_validate")
    want = small_data.cross_validate(probes.checksum_model(), rows, where)
    if np.array_equal(got, want):
        return 3, "each row is predicted by a model that has seen all rows of the other folds and none of its own"
    if np.array_equal(np.sort(got), np.sort(want)):
        return 1, "the right predictions, but not in the order of the rows"
    hint = hint_of(got, rows, where)
    return 0, f"the predictions differ: {hint}"


def hint_of(got, rows, where):
    """What seems to be wrong with predictions that are not those asked for."""
    fit_predict = probes.checksum_model()
    leaky = small_data.cross_validate(lambda training, tested: fit_predict(rows, tested), rows, where)
    one_by_one = small_data.cross_validate(
        lambda training, tested: [fit_predict(training, [row])[0] for row in tested], rows, where)
    if np.array_equal(got, leaky):
        return "the test rows are in training, too"
    if np.array_equal(got, one_by_one):
        return "call fit_predict once for each fold, with all its rows, not once for each row"
    return "train on the rows of all other folds; rows may be equal, so tell them apart by their places"


@check(points=3, contract=NOTHING_CALLED)
def results(student, rng):
    """Baselines, other methods, seeds, and a summary that follows from the predictions; a high score is not asked for."""
    try:
        told = small_data.read_results(first_artifact(student, FILES))
    except ValueError as error:
        return 0, f"the results cannot be used: {error}"
    parts = {
        f"from {small_data.FEWEST} to {small_data.MOST} rows of at least two classes": enough_rows(told),
        f"the majority class, a TF-IDF baseline and {OTHERS} other methods, each with {SEEDS} seeds": enough_methods(told),
        "a summary that follows from the predictions, one row a method": honest(told),
        "each seed of a method once": len({(run["method"], run["seed"]) for run in told["runs"]}) == len(told["runs"]),
        "the predictions of a majority class": real_majority(told),
    }
    wrong = [name for name, good in parts.items() if not good]
    if wrong:
        return max(0, 3 - len(wrong)), f"these parts are missing: {'; '.join(wrong)}"
    runs, rows = len(told["runs"]), len(told["true"])
    return 3, f"{runs} runs on {rows} rows, and the numbers follow from them: a claim, since nobody has run them again"


def enough_rows(told):
    return small_data.FEWEST <= len(told["true"]) <= small_data.MOST and len(set(told["true"])) > 1


def enough_methods(told):
    seeds = {}
    for run in told["runs"]:
        seeds.setdefault(run["method"], set()).add(run["seed"])
    full = {name for name, some in seeds.items() if len(some) >= SEEDS}
    majority, *tfidf = small_data.BASELINES
    return majority in full and bool(full & set(tfidf)) and len(full - set(small_data.BASELINES)) >= OTHERS


def real_majority(told):
    """Whether the first baseline says the most frequent class for every row, where no fold can have had another one."""
    sizes = np.bincount(told["true"], minlength=len(told["labels"]))
    if len(sizes) < 2 or np.diff(np.sort(sizes))[-1] <= SLACK:
        return True
    baseline = [run for run in told["runs"] if run["method"] == small_data.BASELINES[0]]
    return all(set(run["predictions"]) == {sizes.argmax()} for run in baseline)


def honest(told):
    """Every method has a row in the summary, and its numbers are those that its predictions give."""
    want = {row["method"]: row for row in small_data.summarize_results(told)}
    try:
        got = {row["method"]: row for row in told["summary"]}
        return set(got) == set(want) and len(got) == len(told["summary"]) > 0 and all(
            np.isclose(float(got[name][key]), value, atol=CLOSE)
            for name, row in want.items() for key, value in row.items()
            if key in ("accuracy", "low", "high", "sd", "macro_f1", "seeds") and value is not None)
    except (KeyError, TypeError, ValueError):
        return False
