"""A small labelled set of one's own (50 to 500 sentences): looked over, cut into folds, and several methods compared.

With so few rows a single test part says little. In cross-validation every row is tested once, by a model that has not
seen it. Sources: Kohavi, 1995 (stratified cross-validation); Bouthillier et al., 2021, *Accounting for variance in
machine learning benchmarks* (several seeds, another split each).
"""

import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from leaplm.data import normalize, subsample
from leaplm.evaluation import accuracy, bootstrap_interval, macro_f1
from leaplm.plain_json import read_json
from leaplm.prompting.redaction import redact

FEWEST, MOST = 50, 500  # rows
MOST_TRUE, MOST_RUNS = 2000, 100  # in a file of results: what is computed from it takes seconds at most
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
        raise ValueError(f"{language} has {len(rows)} rows; at least {FEWEST} are needed to compare anything")
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


def stratified_folds(labels, folds, seed=0):
    """The fold of each row (n,), 0 to folds - 1, at random; the rows of each class are spread over the folds evenly.

    Raises ValueError when a class has fewer rows than there are folds. Computed by scikit-learn.

    >>> np.bincount(stratified_folds([0] * 6 + [1] * 3, folds=3)).tolist()
    [3, 3, 3]
    """
    from sklearn.model_selection import StratifiedKFold

    labels = np.asarray(labels)
    if np.unique(labels, return_counts=True)[1].min() < folds:
        raise ValueError(f"a class has fewer rows than there are folds ({folds})")
    where = np.empty(len(labels), dtype=int)
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
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

    methods: {name: function (training Dataset, test Dataset, seed) -> (predictions, megabytes to keep)}. Runs that the
    file has already are not made again, so an interrupted comparison goes on where it was. Raises ValueError when the
    file belongs to other rows.
    """
    path, labels = Path(path), list(dataset["label"])
    results = start_results(path, dataset, language)
    done = {(run["method"], run["seed"]) for run in results["runs"]}
    plan = [(name, seed) for name in methods for seed in seeds if (name, seed) not in done]
    for name, seed in tqdm(plan, desc="cross-validation", unit="run"):
        started, megabytes = time.perf_counter(), []

        def fit_predict(train, test, name=name, seed=seed, megabytes=megabytes):
            predictions, size = methods[name](train, test, seed)
            megabytes.append(size)
            return predictions

        predictions = cross_validate(fit_predict, dataset, stratified_folds(labels, folds, seed))
        results["runs"].append({"method": name, "seed": seed, "predictions": predictions.tolist(),
                                "seconds": round(time.perf_counter() - started, 2), "megabytes": round(max(megabytes), 3)})
        write_results(path, results)
    return results


def start_results(path, dataset, language):
    """The results in the file, or empty ones for these rows."""
    fresh = {"language": str(language), "labels": dataset.features["label"].names, "true": list(dataset["label"]),
             "rows": digest(dataset["text"]), "runs": [], "summary": []}
    if not path.exists():
        return fresh
    results = read_results(path.read_bytes())
    if results["rows"] != fresh["rows"] or results["true"] != fresh["true"]:
        raise ValueError(f"{path} holds results on other rows; move it away, or take another file name")
    return results


def digest(texts):
    """A fingerprint of texts in their order, which tells nothing about them."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def write_results(path, results):
    """Write results with their summary; the file is whole or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    fresh.write_text(json.dumps({**results, "summary": summarize_results(results)}, ensure_ascii=False), encoding="utf-8")
    os.replace(fresh, path)


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
            and isinstance(run["method"], str) and isinstance(run["seed"], int) for run in runs)
        results["language"], results["rows"], results["summary"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"this is not a file of results: `{type(error).__name__}: {error}`") from None
    if not good or not true:
        raise ValueError("each run needs one prediction for each row, a number of a class, and there must be rows")
    return results


def summarize_results(results):
    """One row a method: accuracy (mean, sd over seeds, 95 % interval over rows of the first seed), macro-F1, seconds, MB."""
    true, found = results["true"], []
    for name in dict.fromkeys(run["method"] for run in results["runs"]):
        runs = [run for run in results["runs"] if run["method"] == name]
        scores = [accuracy(true, run["predictions"]) for run in runs]
        low, high = bootstrap_interval(true, runs[0]["predictions"])
        found.append({
            "method": name, "accuracy": float(np.mean(scores)), "low": low, "high": high, "seeds": len(runs),
            "sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
            "macro_f1": float(np.mean([macro_f1(true, run["predictions"]) for run in runs])),
            "seconds": float(np.mean([run["seconds"] for run in runs])), "megabytes": max(r["megabytes"] for r in runs)})
    return found


def results_table(results):
    """The summary as a DataFrame, rounded, best accuracy first."""
    return pd.DataFrame(summarize_results(results)).set_index("method").sort_values("accuracy", ascending=False).round(3)
