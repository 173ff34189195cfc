"""A small labelled set of one's own (50 to 500 sentences): looked over, cut into folds, and several methods compared.

With so few rows a single test part says little. In cross-validation every row is tested once, by a model that has not
seen it, nor a near-duplicate of it. Sources: Kohavi, 1995 (stratified cross-validation); Bouthillier et al., 2021,
*Accounting for variance in machine learning benchmarks* (several seeds, another split each); Elkan, 2001, *The foundations
of cost-sensitive learning*; Cohen, 1960, *A coefficient of agreement for nominal scales*.
"""

import functools
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from leaplm.data import normalize, subsample
from leaplm.evaluation import accuracy, macro_f1, seeds_and_texts_interval
from leaplm.locales import say
from leaplm.plain_json import read_json
from leaplm.redaction import redact
from leaplm.text import find_words
from leaplm.whole_file import write_whole

FEWEST, MOST = 50, 500  # rows
MOST_TRUE, MOST_RUNS = 2000, 100  # in a file of results: what is computed from it takes seconds at most
ALIKE = 0.7  # share of common words from which two texts are near-duplicates (lab 9)
BASELINES = ("majority class", "TF-IDF, words", "TF-IDF, characters")


def load_small(language, size=150, most=MOST, seed=0):
    """A Dataset of `text` and `label`: the rows of your own CSV (at most `most`), or `size` rows of a course language.

    Raises ValueError when a CSV has fewer than FEWEST rows or a class with fewer than 20.
    """
    from leaplm.data import is_own_file, load_sentiment, read_own, to_dataset_dict

    if not is_own_file(language):
        return subsample(load_sentiment(language)["train"], size, seed)
    rows = to_dataset_dict({"all": read_own(language)})["all"]
    if len(rows) < FEWEST:
        raise ValueError(say("{path} has {rows} rows; at least {fewest} are needed to compare anything", path=language,
                             rows=len(rows), fewest=FEWEST))  # fmt: skip
    return subsample(rows, most, seed) if len(rows) > most else rows


def audit(rows):
    """Numbers of rows that need a person's eye before anything is trained, as {problem: list of int}.

    rows: dicts with `text` and `label`. duplicates: the same text as an earlier row (letter case and white space aside),
    with its label. contradictions: the same text as an earlier row with another label. personal: text in which
    `prompting.redact` finds a phone number, an address and the like.

    >>> audit([{"text": "Fine.", "label": 1}, {"text": "fine. ", "label": 1}, {"text": "Fine.", "label": 0}])
    {'duplicates': [1], 'contradictions': [2], 'personal': []}
    """
    first, found = {}, {"duplicates": [], "contradictions": [], "personal": []}
    for number, row in enumerate(rows):
        key = normalize(row["text"])
        if key in first:
            found["duplicates" if first[key] == row["label"] else "contradictions"].append(number)
        first.setdefault(key, row["label"])
        if redact(row["text"]) != row["text"]:
            found["personal"].append(number)
    return found


def clean(dataset):
    """The dataset without duplicates and contradictions, and with personal data redacted."""
    found = audit(dataset)
    drop = {*found["duplicates"], *found["contradictions"]}
    kept = dataset.select([i for i in range(len(dataset)) if i not in drop])
    return kept.map(lambda row: {"text": redact(row["text"])})


def near_duplicates(texts, threshold=ALIKE):
    """A group number of each text (n,), from 0: texts that share most of their words are in one group (lab 9).

    Two texts are alike when the Jaccard similarity of their sets of words is at least `threshold`; groups hold the texts
    that a chain of alike texts joins. A text without words is alike to its own kind only.

    >>> near_duplicates(["The pump at the market broke", "Come early", "the pump at the market broke!"]).tolist()
    [0, 1, 0]
    """
    from scipy.sparse.csgraph import connected_components
    from sklearn.feature_extraction.text import CountVectorizer

    words = CountVectorizer(binary=True, analyzer=lambda text: find_words(normalize(text), shortest=1) or [""])
    held = words.fit_transform(texts).toarray().astype(np.int32)
    common, sizes = held @ held.T, held.sum(axis=1)
    alike = common >= threshold * (sizes[:, None] + sizes - common) - 1e-9
    return connected_components(alike, directed=False)[1]


def stratified_folds(labels, folds, seed=0, groups=None):
    """The fold of each row (n,), 0 to folds - 1, at random; the rows of each class are spread over the folds evenly.

    groups (n,): rows of one group (`near_duplicates`) come into one fold; then the folds are only nearly even. Raises
    ValueError when a class has fewer rows, or groups, than there are folds. Computed by scikit-learn.

    >>> np.bincount(stratified_folds([0] * 6 + [1] * 3, folds=3)).tolist()
    [3, 3, 3]
    >>> where = stratified_folds([0, 0, 0, 0, 1, 1, 1, 1], folds=2, groups=[0, 0, 1, 2, 3, 3, 4, 5])
    >>> bool(where[0] == where[1] and where[4] == where[5])
    True
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labels = np.asarray(labels)
    single = groups is None or len(np.unique(groups)) == len(labels)
    groups = np.arange(len(labels)) if single else np.asarray(groups)
    for c in np.unique(labels):
        if (count := len(np.unique(groups[labels == c]))) < folds:
            raise ValueError(say("class {label} has {rows} different rows: fewer rows than there are folds ({folds})",
                                 label=c, rows=count, folds=folds))  # fmt: skip
    where = np.empty(len(labels), dtype=int)
    cut = (StratifiedKFold if single else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    parts = cut.split(labels, labels, None if single else groups)
    for fold, (_, tested) in enumerate(parts):
        where[tested] = fold
    return where


def cross_validate(fit_predict, rows, where):
    """A prediction (n,) for every row, by a model fitted on the rows of the other folds.

    fit_predict: (training rows, test rows) -> predictions; rows: a list or a Dataset; where (n,): the fold of each row.
    """
    pick = rows.select if hasattr(rows, "select") else lambda numbers: [rows[i] for i in numbers]
    predictions = np.empty(len(where), dtype=int)
    for fold in np.unique(where):
        tested = np.flatnonzero(where == fold)
        predictions[tested] = fit_predict(pick(np.flatnonzero(where != fold)), pick(tested))
    return predictions


# -- a comparison of methods, kept in a file ----------------------------------------------------------------------------


def compare(methods, dataset, path, seeds=range(3), folds=3, language="eng"):
    """Cross-validate each method with each seed and give all results; each run is added to the file `path` at once.

    methods: {name: function (training Dataset, test Dataset, seed) -> (predictions, megabytes)}, or with the probabilities
    (n, classes) of the test rows as a third value. megabytes: all that must be there to answer, but for Python packages.
    Near-duplicates stay together in a fold. Runs that the file has already are not made again, so an interrupted
    comparison goes on where it was. Raises ValueError when the file belongs to other rows.
    """
    path, labels, groups = Path(path), dataset["label"][:], groups_for_folds(dataset, folds)
    results = start_results(path, dataset, language)
    done = {(run["method"], run["seed"]) for run in results["runs"]}
    plan = [(name, seed) for name in methods for seed in seeds if (name, seed) not in done]
    for name, seed in tqdm(plan, desc=say("cross-validation"), unit="run"):
        where = stratified_folds(labels, folds, seed, groups)
        results["runs"].append({"method": name, "seed": seed, **one_run(methods[name], dataset, where, seed)})
        write_results(path, results)
    return results


def groups_for_folds(dataset, folds):
    """The near-duplicates of a dataset; None, said aloud, where they are so many that no folds can keep them together."""
    groups, labels = near_duplicates(dataset["text"][:]), np.array(dataset["label"][:])
    for c, name in enumerate(dataset.features["label"].names):
        if (different := len(np.unique(groups[labels == c]))) < folds:
            print(say("Careful: the {texts} texts of {label} are near-duplicates of each other, {different} different in "
                      "all, and cannot be kept together in {folds} folds. The scores measure what was learned by heart.",
                      texts=np.sum(labels == c), label=repr(name), different=different, folds=folds))  # fmt: skip
            return None
    return groups


def one_run(method, dataset, where, seed):
    """One method cross-validated on given folds: predictions, seconds, megabytes, and probabilities where it has them."""
    started, megabytes, chances = time.perf_counter(), [], []

    def fit_predict(train, test):
        predictions, size, *probabilities = method(train, test, seed)
        megabytes.append(size)
        chances.extend(probabilities)
        return predictions

    predictions = cross_validate(fit_predict, dataset, where)
    found = {"predictions": predictions.tolist(), "seconds": round(time.perf_counter() - started, 2),
             "megabytes": round(max(megabytes), 3)}
    if chances:
        inverse = np.argsort(np.argsort(where, kind="stable"), kind="stable")  # from fold by fold to the order of the rows
        found["probabilities"] = np.concatenate(chances)[inverse].round(4).tolist()
    return found


def start_results(path, dataset, language):
    """The results in the file, or empty ones for these rows."""
    fresh = {"language": str(language), "labels": dataset.features["label"].names, "true": dataset["label"][:],
             "rows": digest(dataset["text"]), "runs": [], "summary": []}
    if not path.exists():
        return fresh
    results = read_results(path.read_bytes())
    if results["rows"] != fresh["rows"] or results["true"] != fresh["true"]:
        raise ValueError(say("{path} holds results on other rows; move it away, or take another file name", path=path))
    return results


def digest(texts):
    """A fingerprint of texts in their order, which tells nothing about them."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def write_results(path, results):
    """Write results with their summary; the file is whole or as it was."""
    write_whole(path, json.dumps({**results, "summary": summarize_results(results)}, ensure_ascii=False))


def read_results(content):
    """Results from the bytes of a file. Raises ValueError that says what is wrong with them."""
    try:
        results = read_json(content)
        labels, true, runs = results["labels"], results["true"], results["runs"]
        classes = range(len(labels))
        if len(true) > MOST_TRUE or len(runs) > MOST_RUNS:
            raise ValueError(f"{len(true)} rows and {len(runs)} runs; at most {MOST_TRUE} and {MOST_RUNS} are possible")
        good = all(label in classes for label in true) and all(
            len(run["predictions"]) == len(true) and all(p in classes for p in run["predictions"])
            and isinstance(run["method"], str) and isinstance(run["seed"], int)
            and np.shape(run.get("probabilities", np.zeros((len(true), len(labels))))) == (len(true), len(labels))
            for run in runs)
        results["language"], results["rows"], results["summary"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"this is not a file of results: `{type(error).__name__}: {error}`") from None
    if not good or not true:
        raise ValueError("each run needs one prediction for each row, a number of a class, and there must be rows; "
                         "probabilities, if there are any, need one number for each row and class")
    return results


def summarize_results(results):
    """One row a method: accuracy (mean, sd over seeds, 95 % interval over rows and seeds), macro-F1, seconds, megabytes."""
    true, found = np.array(results["true"]), []
    for name in dict.fromkeys(run["method"] for run in results["runs"]):
        runs = [run for run in results["runs"] if run["method"] == name]
        scores = [accuracy(true, run["predictions"]) for run in runs]
        low, high = interval_of_runs(tuple(results["true"]), *(tuple(run["predictions"]) for run in runs))
        found.append({
            "method": name, "accuracy": float(np.mean(scores)), "low": low, "high": high, "seeds": len(runs),
            "sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
            "macro_f1": float(np.mean([macro_f1(true, run["predictions"]) for run in runs])),
            "seconds": float(np.mean([run["seconds"] for run in runs])), "megabytes": max(r["megabytes"] for r in runs)})
    return found


@functools.lru_cache(maxsize=64)
def interval_of_runs(true, *predictions):
    """`seeds_and_texts_interval`, remembered: after each new run the summary of all methods is made again."""
    return seeds_and_texts_interval([np.equal(run, true) for run in predictions])


def results_table(results):
    """The summary as a DataFrame, rounded, best accuracy first."""
    return pd.DataFrame(summarize_results(results)).set_index("method").sort_values("accuracy", ascending=False).round(3)


# -- what the errors cost, and what two people would say ----------------------------------------------------------------


def errors_by_class(true, predictions, names):
    """Precision and recall of each class with 95 % intervals, as a DataFrame: one row a class.

    true, predictions (n,): numbers of classes. Wilson's intervals, which hold with few rows too: they speak of other rows,
    not of other trainings. A class that is never predicted has no precision (NaN).
    """
    true, predictions, found = np.asarray(true), np.asarray(predictions), []
    for c, name in enumerate(names):
        row, hits = {"class": name, "rows": int(np.sum(true == c))}, int(np.sum((true == c) & (predictions == c)))
        for measure, of in (("precision", predictions), ("recall", true)):
            share, low, high = share_interval(hits, int(np.sum(of == c)))
            row |= {measure: share, f"{measure}_low": low, f"{measure}_high": high}
        found.append(row)
    return pd.DataFrame(found).set_index("class")


def share_interval(hits, of, level=0.95):
    """A share with its Wilson interval: (share, low, high); NaN when it is a share of nothing.

    >>> [round(value, 3) for value in share_interval(18, 20)]
    [0.9, 0.699, 0.972]
    """
    from scipy.stats import binomtest

    if not of:
        return (float("nan"),) * 3
    low, high = binomtest(hits, of).proportion_ci(level, "wilson")
    return hits / of, float(low), float(high)


def cost_threshold(miss, false_alarm):
    """The probability from which an alarm is cheaper than silence: false_alarm / (false_alarm + miss).

    miss, false_alarm: what the two kinds of error cost, in any unit; both above 0. It holds if the probabilities are right
    (lab 6 says how that is measured). Source: Elkan, 2001.

    >>> cost_threshold(miss=10, false_alarm=1)
    0.09090909090909091
    """
    if not (miss > 0 and false_alarm > 0):
        raise ValueError(f"miss={miss} and false_alarm={false_alarm} must both be above 0")
    return false_alarm / (false_alarm + miss)


def alarms(results, method, positive, thresholds):
    """What happens when class `positive` is said from each of `thresholds` on: misses, false alarms, precision, recall.

    results: as `compare` gives them; method: one whose runs have probabilities; positive: the class's name. Numbers are
    means over seeds; the intervals are Wilson's for one set of rows of this size. A DataFrame, one row a threshold.
    """
    column, true = results["labels"].index(positive), np.array(results["true"])
    runs = [np.array(run["probabilities"])[:, column] for run in results["runs"]
            if run["method"] == method and "probabilities" in run]
    if not runs:
        raise ValueError(say("the results hold no probabilities of {method}", method=repr(method)))
    wanted, found = true == column, []
    for threshold in thresholds:
        said = np.mean([chance >= threshold for chance in runs], axis=0)  # share of the seeds that give the alarm
        hits, number = round(float(said[wanted].sum())), round(float(said.sum()))
        row = {"threshold": threshold, "missed": int(wanted.sum()) - hits, "false alarms": number - hits}
        for measure, of in (("precision", number), ("recall", int(wanted.sum()))):
            row |= dict(zip((measure, f"{measure}_low", f"{measure}_high"), share_interval(hits, of), strict=True))
        found.append(row)
    return pd.DataFrame(found).set_index("threshold")


def second_labels(path, dataset):
    """What a second person said, from a CSV `text,label`, beside the dataset's labels: (first, second), lists of names.

    Texts are matched after `redact` and `normalize`. Raises ValueError that names a text which is no row of the dataset.
    """
    from leaplm.labelled_file import read_labelled_csv

    names = dataset.features["label"].names
    ours = {normalize(row["text"]): names[row["label"]] for row in dataset}
    first, second = [], []
    for number, (text, label) in enumerate(read_labelled_csv(path)[["text", "label"]].itertuples(index=False), 1):
        if (key := normalize(redact(text))) not in ours:
            raise ValueError(say("{path}, row {row}: {text} is none of the {rows} rows; give the second person texts of "
                                 "your file as they stand there", path=path, row=number, text=repr(text[:60]),
                                 rows=len(dataset)))  # fmt: skip
        first.append(ours[key])
        second.append(label)
    return first, second


def agreement(first, second, rounds=1000, seed=0):
    """Do two people give the same labels? {"share", "kappa", "low", "high", "differ"}.

    first, second (n,): their labels of the same rows, in the same order. kappa: Cohen's, which takes out what chance gives;
    low and high: its 95 % bootstrap interval over rows. differ: numbers of the rows to talk about.

    >>> found = agreement(["urgent", "not", "not", "urgent"], ["urgent", "not", "urgent", "urgent"])
    >>> found["share"], round(found["kappa"], 2), found["differ"]
    (0.75, 0.5, [2])
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"labels {first.shape} and {second.shape} must be equally long lists, not empty: two for each row")
    draws = np.random.default_rng(seed).integers(0, len(first), (rounds, len(first)))
    names, numbers = np.unique(np.concatenate([first, second]), return_inverse=True)
    pairs = numbers[: len(first)] * len(names) + numbers[len(first) :]
    counts = np.array([np.bincount(pairs[rows], minlength=len(names) ** 2) for rows in (slice(None), *draws)])
    kappa, *kappas = cohens_kappa(counts.reshape(-1, len(names), len(names))).tolist()
    low, high = np.nanquantile(kappas, [0.025, 0.975]) if not np.isnan(kappas).all() else (np.nan, np.nan)
    return {"share": float(np.mean(first == second)), "kappa": kappa, "low": float(low), "high": float(high),
            "differ": np.flatnonzero(first != second).tolist()}


def cohens_kappa(tables):
    """Cohen's kappa (n,) of tables (n, classes, classes): how many rows have which two labels; NaN where all have the same.

    >>> cohens_kappa(np.array([[[1, 1], [0, 2]]])).tolist()
    [0.5]
    """
    differ = ~np.eye(tables.shape[1], dtype=bool)
    by_chance = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :] / tables.sum(axis=(1, 2))[:, None, None]
    with np.errstate(invalid="ignore"):
        return 1 - tables[:, differ].sum(axis=1) / by_chance[:, differ].sum(axis=1)
