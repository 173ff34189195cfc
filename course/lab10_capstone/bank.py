"""Bank of lab 10: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (np, normalize, redact, small_data, ...).
"""

import json

import numpy as np
from leaplm.capstone import small_data
from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905

# -- audit ------------------------------------------------------------------------------------------------------------


@wrong("audit", "compares the texts as they stand")
def not_normalized(rows):
    first, found = {}, {"duplicates": [], "contradictions": [], "personal": []}
    for number, row in enumerate(rows):
        if row["text"] in first:
            found["duplicates" if first[row["text"]] == row["label"] else "contradictions"].append(number)
        first.setdefault(row["text"], row["label"])
        if redact(row["text"]) != row["text"]:
            found["personal"].append(number)
    return found


@wrong("audit", "compares with the latest row, not the first")
def latest_row(rows):
    last, found = {}, {"duplicates": [], "contradictions": [], "personal": []}
    for number, row in enumerate(rows):
        key = normalize(row["text"])
        if key in last:
            found["duplicates" if last[key] == row["label"] else "contradictions"].append(number)
        last[key] = row["label"]
        if redact(row["text"]) != row["text"]:
            found["personal"].append(number)
    return found


@wrong("audit", "names all copies, the first one too")
def first_too(rows):
    keys = [normalize(row["text"]) for row in rows]
    found = {"duplicates": [], "contradictions": [], "personal": []}
    for number, row in enumerate(rows):
        labels = [other["label"] for key, other in zip(keys, rows) if key == keys[number]]
        if len(labels) > 1:
            found["duplicates" if len(set(labels)) == 1 else "contradictions"].append(number)
        if redact(row["text"]) != row["text"]:
            found["personal"].append(number)
    return found


@wrong("audit", "looks for personal data in new texts only")
def personal_in_new(rows):
    first, found = {}, {"duplicates": [], "contradictions": [], "personal": []}
    for number, row in enumerate(rows):
        key = normalize(row["text"])
        if key in first:
            found["duplicates" if first[key] == row["label"] else "contradictions"].append(number)
        elif redact(row["text"]) != row["text"]:
            found["personal"].append(number)
        first.setdefault(key, row["label"])
    return found


@wrong("audit", "counts a contradiction as a duplicate, too")
def both_lists(rows):
    first, found = {}, {"duplicates": [], "contradictions": [], "personal": []}
    for number, row in enumerate(rows):
        key = normalize(row["text"])
        if key in first:
            found["duplicates"].append(number)
            if first[key] != row["label"]:
                found["contradictions"].append(number)
        first.setdefault(key, row["label"])
        if redact(row["text"]) != row["text"]:
            found["personal"].append(number)
    return found


@wrong("audit", "counts from 1")
def from_one(rows):
    return {name: [number + 1 for number in numbers] for name, numbers in small_data.audit(rows).items()}


@wrong("audit", "gives numbers of problems instead of rows")
def only_counts(rows):
    return {name: len(numbers) for name, numbers in small_data.audit(rows).items()}


@right("audit", "list by list")
def list_by_list(rows):
    keys = [normalize(row["text"]) for row in rows]
    first = [keys.index(key) for key in keys]
    again = [i for i in range(len(rows)) if first[i] < i]
    return {"duplicates": [i for i in again if rows[first[i]]["label"] == rows[i]["label"]],
            "contradictions": [i for i in again if rows[first[i]]["label"] != rows[i]["label"]],
            "personal": [i for i, row in enumerate(rows) if redact(row["text"]) != row["text"]]}


@right("audit", "with pandas")
def with_pandas(rows):
    table = pd.DataFrame(list(rows))
    table["key"] = table.text.map(normalize)
    table["first"] = table.groupby("key").label.transform("first")
    again = table.key.duplicated()
    return {"duplicates": np.flatnonzero(again & (table.label == table["first"])),
            "contradictions": np.flatnonzero(again & (table.label != table["first"])),
            "personal": np.flatnonzero(table.text.map(redact) != table.text)}


# -- stratified_folds -------------------------------------------------------------------------------------------------


@wrong("stratified_folds", "each row in a random fold")
def random_folds(labels, folds, seed=0):
    return np.random.default_rng(seed).integers(folds, size=len(labels))


@wrong("stratified_folds", "even folds that ignore the classes")
def not_stratified(labels, folds, seed=0):
    return np.random.default_rng(seed).permutation(np.arange(len(labels)) % folds)


@wrong("stratified_folds", "one class after the other in blocks")
def blocks(labels, folds, seed=0):
    order = np.argsort(labels, kind="stable")
    where = np.empty(len(labels), dtype=int)
    where[order] = np.arange(len(labels)) * folds // len(labels)
    return where


@wrong("stratified_folds", "does not mix: every seed gives the same folds")
def not_mixed(labels, folds, seed=0):
    labels, where = np.asarray(labels), np.empty(len(labels), dtype=int)
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        where[members] = np.arange(len(members)) % folds
    return where


@wrong("stratified_folds", "does not use the seed")
def without_seed(labels, folds, seed=0):
    labels, rng = np.asarray(labels), np.random.default_rng()
    where = np.empty(len(labels), dtype=int)
    for c in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == c))
        where[members] = np.arange(len(members)) % folds
    return where


@wrong("stratified_folds", "folds from 1 on")
def folds_from_one(labels, folds, seed=0):
    return small_data.stratified_folds(labels, folds, seed) + 1


@wrong("stratified_folds", "gives the rows of each fold")
def rows_of_folds(labels, folds, seed=0):
    where = small_data.stratified_folds(labels, folds, seed)
    return [np.flatnonzero(where == fold).tolist() for fold in range(folds)]


@right("stratified_folds", "scikit-learn")
def by_sklearn(labels, folds, seed=0):
    from sklearn.model_selection import StratifiedKFold

    where = np.empty(len(labels), dtype=int)
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels)
    for fold, (_, tested) in enumerate(parts):
        where[tested] = fold
    return where


@right("stratified_folds", "mixes all rows, then deals out each class in that order")
def dealt(labels, folds, seed=0):
    counts, where = {}, [0] * len(labels)
    for i in np.random.default_rng(seed).permutation(len(labels)):
        c = int(labels[i])
        where[i] = counts.get(c, 0) % folds
        counts[c] = counts.get(c, 0) + 1
    return where


# -- cross_validate -----------------------------------------------------------------------------------------------------


@wrong("cross_validate", "trains on all rows, the tested ones too")
def leaks(fit_predict, rows, where):
    where, predictions = np.asarray(where), np.empty(len(rows), dtype=int)
    for fold in np.unique(where):
        tested = np.flatnonzero(where == fold)
        predictions[tested] = fit_predict(list(rows), [rows[i] for i in tested])
    return predictions


@wrong("cross_validate", "trains on the fold and tests on the others")
def the_other_way_round(fit_predict, rows, where):
    where, predictions = np.asarray(where), np.empty(len(rows), dtype=int)
    for fold in np.unique(where):
        tested = np.flatnonzero(where != fold)
        predictions[tested] = fit_predict([rows[i] for i in np.flatnonzero(where == fold)], [rows[i] for i in tested])
    return predictions


@wrong("cross_validate", "puts the predictions one fold after the other")
def fold_order(fit_predict, rows, where):
    where, predictions = np.asarray(where), []
    for fold in np.unique(where):
        training = [rows[i] for i in np.flatnonzero(where != fold)]
        predictions += list(fit_predict(training, [rows[i] for i in np.flatnonzero(where == fold)]))
    return np.array(predictions)


@wrong("cross_validate", "trains once, on the first split")
def trains_once(fit_predict, rows, where):
    training = [rows[i] for i in np.flatnonzero(np.asarray(where) != 0)]
    return np.array(fit_predict(training, list(rows)))


@wrong("cross_validate", "trains on the earlier folds only")
def earlier_folds(fit_predict, rows, where):
    where, predictions = np.asarray(where), np.zeros(len(rows), dtype=int)
    for fold in np.unique(where):
        tested = np.flatnonzero(where == fold)
        training = [rows[i] for i in np.flatnonzero(where < fold)]
        predictions[tested] = fit_predict(training, [rows[i] for i in tested])
    return predictions


@wrong("cross_validate", "leaves out the last fold")
def one_fold_short(fit_predict, rows, where):
    where, predictions = np.asarray(where), np.zeros(len(rows), dtype=int)
    for fold in range(where.max()):
        tested = np.flatnonzero(where == fold)
        training = [rows[i] for i in np.flatnonzero(where != fold)]
        predictions[tested] = fit_predict(training, [rows[i] for i in tested])
    return predictions


@right("cross_validate", "with lists")
def with_lists(fit_predict, rows, where):
    answers = {}
    for fold in {int(k) for k in where}:
        tested = [i for i, k in enumerate(where) if k == fold]
        said = fit_predict([row for row, k in zip(rows, where) if k != fold], [rows[i] for i in tested])
        answers.update(zip(tested, said))
    return [int(answers[i]) for i in range(len(rows))]


@right("cross_validate", "one row at a time would be leave-one-out; here fold by fold with a mask")
def with_mask(fit_predict, rows, where):
    where, predictions = np.asarray(where), np.zeros(len(rows), dtype=np.int64)
    for fold in range(where.max() + 1):
        mask = where == fold
        predictions[mask] = np.asarray(fit_predict([r for r, m in zip(rows, mask) if not m],
                                                   [r for r, m in zip(rows, mask) if m]))
    return predictions


# -- what is beside the numbers: arguments, kinds, hard cases ---------------------------------------------------------

AUDIT = """
def audit(rows):
    first, found = {{}}, {{"duplicates": [], "contradictions": [], "personal": []}}
    for number, row in enumerate(rows):
        key = {key}
        if {again}:
            found["duplicates" if first[key] == row["label"] else "contradictions"].append(number)
        first.setdefault(key, row["label"])
        if redact(row["text"]) != row["text"]:
            found["personal"].append(number)
    return {result}
"""
PLAIN = {"key": "normalize(row['text'])", "again": "key in first", "result": "found"}
for why, part in {
    "a first label of 0 counts as none": {"again": "first.get(key)"},
    "spaces inside a text count": {"key": "row['text'].lower().strip()"},
    "text and label are one key": {"key": "normalize(row['text']) + str(row['label'])"},
    "normalizes the caller's rows": {"key": "row.update(text=normalize(row['text'])) or row['text']"},
    "from the last row to the first": {"result": "{name: numbers[::-1] for name, numbers in found.items()}"},
    "the rows themselves": {"result": "{name: [rows[i]['text'] for i in numbers] for name, numbers in found.items()}"},
    "a tuple of the three lists": {"result": "tuple(found.values())"},
}.items():
    wrong.cell("audit", why, AUDIT.format(**{**PLAIN, **part}))
wrong.cell("audit", "calls the library's function", "def audit(rows):\n    return small_data.audit(rows)\n")
right.cell("audit", "as arrays", AUDIT.format(**{
    **PLAIN, "result": "{name: np.array(numbers, dtype=int) for name, numbers in found.items()}"}))
right.cell("audit", "the key by hand, a list more", AUDIT.format(**{
    **PLAIN, "key": "' '.join(row['text'].lower().split())", "result": "{**found, 'empty': []}"}))

FOLDS = """
def stratified_folds(labels, folds, seed=0):
    labels, rng = np.asarray(labels), np.random.default_rng({seed})
    where = np.zeros(len(labels), dtype={dtype})
    for c in np.unique(labels):
        members = {members}
        where[members] = {places}
    return where
"""
DEALT = {"seed": "seed", "dtype": "int", "members": "rng.permutation(np.flatnonzero(labels == c))",
         "places": "np.arange(len(members)) % folds"}
for why, part in {
    "only the numbers of the folds are at random, the same rows stay together":
        {"members": "np.flatnonzero(labels == c)", "places": "(np.arange(len(members)) + seed) % folds"},
    "seed 0 counts as no seed": {"seed": "seed or None"},
    "numbers with a fraction": {"dtype": "float"},
    "each row at random": {"places": "rng.integers(folds, size=len(members))"},
    "equal blocks, the last one longer":
        {"places": "np.minimum(np.arange(len(members)) // max(1, len(members) // folds), folds - 1)"},
    "class 0 is left in fold 0": {"places": "np.arange(len(members)) % folds * bool(c)"},
}.items():
    wrong.cell("stratified_folds", why, FOLDS.format(**{**DEALT, **part}))
wrong.cell("stratified_folds", "changes the caller's labels", """
def stratified_folds(labels, folds, seed=0):
    rng, where = np.random.default_rng(seed), np.zeros(len(labels), dtype=int)
    for c in set(labels):
        members = rng.permutation([i for i, label in enumerate(labels) if label == c])
        where[members] = np.arange(len(members)) % folds
    labels.sort()
    return where
""")
wrong.cell("stratified_folds", "calls the library's function", """
def stratified_folds(labels, folds, seed=0):
    return small_data.stratified_folds(labels, folds, seed)
""")
right.cell("stratified_folds", "a fold at random for the first row of each class", FOLDS.format(**{
    **DEALT, "places": "(np.arange(len(members)) + rng.integers(folds)) % folds"}))
right.cell("stratified_folds", "with the module random, as a list", """
def stratified_folds(labels, folds, seed=0):
    import random
    dice, where = random.Random(seed), [0] * len(labels)
    for c in sorted(set(labels)):
        members = [i for i, label in enumerate(labels) if label == c]
        dice.shuffle(members)
        for k, i in enumerate(members):
            where[i] = k % folds
    return where
""")
CROSS = """
def cross_validate(fit_predict, rows, where):
    predictions = [None] * len(rows)
    for fold in {folds}:
        tested = [i for i in range(len(rows)) if where[i] == fold]
        training = {training}
        for i, answer in zip(tested, fit_predict(training, [rows[i] for i in tested])):
            predictions[i] = answer
    return {result}
"""
SPLIT = {"folds": "sorted(set(int(w) for w in where))",
         "training": "[rows[i] for i in range(len(rows)) if where[i] != fold]",
         "result": "predictions"}
for why, part in {
    "leaves rows out by their value": {"training": "[r for r in rows if r not in [rows[i] for i in tested]]"},
    "each row once in training": {"training": "list({rows[i] for i in range(len(rows)) if where[i] != fold})"},
    "takes the tested rows out of the caller's list":
        {"result": "predictions if rows.pop() is not None else None"},
    "the predictions one fold after the other":
        {"result": "[p for f in sorted(set(where.tolist())) for p, w in zip(predictions, where) if w == f]"},
    "a dict by row number": {"result": "dict(enumerate(predictions))"},
    "text in place of numbers": {"result": "[str(p) for p in predictions]"},
    "changes the folds": {"result": "predictions if where.fill(0) is None else None"},
}.items():
    wrong.cell("cross_validate", why, CROSS.format(**{**SPLIT, **part}))
wrong.cell("cross_validate", "calls the library's function", """
def cross_validate(fit_predict, rows, where):
    return small_data.cross_validate(fit_predict, rows, where)
""")
right.cell("cross_validate", "rows by their places, folds as they come", CROSS.format(**{
    **SPLIT, "folds": "dict.fromkeys(where.tolist())"}))
right.cell("cross_validate", "folds counted up to the largest, an array at the end", CROSS.format(**{
    **SPLIT, "folds": "range(max(where) + 1)", "result": "np.array(predictions)"}))


# -- small numbers, equal things, what is kept from call to call ----------------------------------------------------------


@wrong("audit", "asks redact about the normalized text")
def audit_0(rows):
    seen, d, c, p = {}, [], [], []
    for i, r in enumerate(rows):
        t = normalize(r["text"])
        if t in seen:
            (d if seen[t] == r["label"] else c).append(i)
        else:
            seen[t] = r["label"]
        if redact(t) != t:
            p.append(i)
    return {"duplicates": d, "contradictions": c, "personal": p}


@wrong("audit", "compares labels by identity")
def audit_1(rows):
    seen, d, c, p = {}, [], [], []
    for i, r in enumerate(rows):
        t = normalize(r["text"])
        if t in seen:
            (d if seen[t] is r["label"] else c).append(i)
        else:
            seen[t] = r["label"]
        if redact(r["text"]) != r["text"]:
            p.append(i)
    return {"duplicates": d, "contradictions": c, "personal": p}


wrong.cell(
    "audit",
    "keeps the texts of the call before",
    """
_seen_texts = {}
def audit(rows, seen=_seen_texts):
    d, c, p = [], [], []
    for i, r in enumerate(rows):
        t = normalize(r["text"])
        if t in seen:
            (d if seen[t] == r["label"] else c).append(i)
        else:
            seen[t] = r["label"]
        if redact(r["text"]) != r["text"]:
            p.append(i)
    return {"duplicates": d, "contradictions": c, "personal": p}
""",
)


@right("audit", "by the first place of each text")
def audit_3(rows):
    texts = [normalize(row["text"]) for row in rows]
    firsts = [texts.index(text) for text in texts]
    later = [i for i, f in enumerate(firsts) if f < i]
    return {
        "personal": [i for i, row in enumerate(rows) if redact(row["text"]) != row["text"]],
        "duplicates": [i for i in later if rows[firsts[i]]["label"] == rows[i]["label"]],
        "contradictions": [i for i in later if rows[firsts[i]]["label"] != rows[i]["label"]],
    }


@wrong("cross_validate", "trains once for each row")
def cross_validate_4(fit_predict, rows, where):
    where = np.asarray(where)
    return [fit_predict([rows[j] for j in np.flatnonzero(where != where[i])], [rows[i]])[0] for i in range(len(rows))]


@right("cross_validate", "an iterator of answers for each fold")
def cross_validate_5(fit_predict, rows, where):
    streams = {}
    for fold in set(np.asarray(where).tolist()):
        streams[fold] = iter(
            fit_predict([r for r, f in zip(rows, where) if f != fold], [r for r, f in zip(rows, where) if f == fold])
        )
    return [next(streams[int(f)]) for f in where]


# -- results ------------------------------------------------------------------------------------------------------------


def changed(trained, change):
    """The files with the results passed through `change`, a function that works in place."""
    files = {}
    for name, content in trained.items():
        results = json.loads(content)
        change(results)
        files[name] = json.dumps(results).encode()
    return files


def keep_runs(results, keep):
    results["runs"] = [run for run in results["runs"] if keep(run)]
    results["summary"] = small_data.summarize_results(results)


@wrong.artifact("results", "no baselines")
def no_baselines(trained):
    return changed(trained, lambda found: keep_runs(found, lambda run: run["method"] not in small_data.BASELINES))


@wrong.artifact("results", "a single seed")
def single_seed(trained):
    return changed(trained, lambda found: keep_runs(found, lambda run: run["seed"] == 0))


@wrong.artifact("results", "only baselines")
def only_baselines(trained):
    return changed(trained, lambda found: keep_runs(found, lambda run: run["method"] in small_data.BASELINES))


@wrong.artifact("results", "a summary that is better than the predictions")
def embellished(trained):
    return changed(trained, lambda found: found["summary"][-1].update(accuracy=found["summary"][-1]["accuracy"] + 0.05))


@wrong.artifact("results", "a deviation over seeds that is too small")
def small_deviation(trained):
    return changed(trained, lambda found: found["summary"][-2].update(sd=found["summary"][-2]["sd"] / 2 + 0.001))


@wrong.artifact("results", "a method without its row in the summary")
def missing_row(trained):
    return changed(trained, lambda found: found["summary"].pop())


@wrong.artifact("results", "classes that do not exist")
def unknown_classes(trained):
    return changed(trained, lambda found: found["runs"][0]["predictions"].__setitem__(0, 7))


@wrong.artifact("results", "not a file of results")
def other_file():
    return {"results-cpu.json": b'{"accuracy": 0.99}'}


@right.artifact("results", "another method beside ours")
def one_more_method(trained):
    def add(found):
        extra = [{**run, "method": "my own rule"} for run in found["runs"] if run["method"] == "LoRA"]
        found["runs"] += extra
        found["summary"] = small_data.summarize_results(found)

    return changed(trained, add)


@right.artifact("results", "runs in another order, without one of the baselines")
def fewer_methods(trained):
    def reorder(found):
        found["runs"].reverse()
        keep_runs(found, lambda run: run["method"] not in ("TF-IDF, words", "full fine-tuning"))

    return changed(trained, reorder)


# -- tables of results made by hand: no model is needed for them ----------------------------------------------------------


def made(change=lambda found: None):
    """A file of results of 60 rows, 40 of class 0, two baselines and two methods, after `change` worked on it."""
    true, rng = [0] * 40 + [1] * 20, np.random.default_rng(0)
    runs = [{"method": method, "seed": seed, "seconds": 1.0, "megabytes": 1.0,
             "predictions": [0] * 60 if method == "majority class" else rng.permutation(true).tolist()}
            for method in ("majority class", "TF-IDF, characters", "LoRA", "my own rule") for seed in (4, 5, 6)]
    found = {"language": "my_sentences.csv", "rows": "0" * 16, "labels": ["bad", "good"], "true": true, "runs": runs}
    found["summary"] = small_data.summarize_results(found)
    change(found)
    return {"results-cpu.json": json.dumps(found).encode()}


def summed_up_again(change):
    """A change of the runs, and the summary that follows from them then."""
    def changed_runs(found):
        change(found)
        found["summary"] = small_data.summarize_results(found)

    return changed_runs


@right.artifact("results", "made by hand: as the library writes it")
def as_written():
    return made()


@right.artifact("results", "the summary in another order, and more in each row")
def other_order():
    return made(lambda found: found["summary"].reverse() or [row.update(note="mine") for row in found["summary"]])


@wrong.artifact("results", "a run copied, so that the deviation over seeds is smaller")
def copied_run():
    return made(summed_up_again(lambda found: found["runs"].append(dict(found["runs"][-1]))))


@wrong.artifact("results", "a majority class that is made weaker than it is")
def weak_baseline():
    return made(summed_up_again(lambda found: found["runs"][1].update(predictions=[1] * 60)))


@wrong.artifact("results", "two rows of a method in the summary: one that is better, one that follows from its runs")
def two_rows():
    return made(lambda found: found["summary"].insert(0, {**found["summary"][-1], "accuracy": 0.99}))


@wrong.artifact("results", "one seed under three names of the method")
def renamed_runs():
    return made(summed_up_again(lambda found: [
        run.update(method=f"{run['method']} {run['seed']}") for run in found["runs"] if run["method"] == "LoRA"]))


@wrong.artifact("results", "an interval narrower than the predictions give")
def narrow():
    return made(lambda found: found["summary"][-1].update(low=found["summary"][-1]["low"] + 0.05))


@wrong.artifact("results", "numbers that are none")
def not_numbers():
    return made(lambda found: found["summary"][-1].update(accuracy=float("nan")))


@wrong.artifact("results", "fewer than 50 rows")
def few_rows():
    def cut(found):
        found["true"] = found["true"][20:]
        for run in found["runs"]:
            run["predictions"] = run["predictions"][20:]

    return made(summed_up_again(cut))
