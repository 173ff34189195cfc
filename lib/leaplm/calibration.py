"""Calibration records: studies with many seeds, run once by the course, plotted in the labs, and behind the marks.

    python -m leaplm.calibration course/lab2_finetuning/study.py

runs what is missing in the record `lib/leaplm/records/lab2_finetuning.json` and can be stopped and started at any time;
`--only main --language kin --seeds 3` runs only what a mark in this language rests on, with three of its seeds.
A study is a function of one seed and one setting (a dict) that returns a dict of measures; its grid lists the settings.
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import platform
import time
from pathlib import Path

import pandas as pd
from filelock import FileLock

from leaplm.runtime import processors
from leaplm.whole_file import write_whole

RECORDS = Path(__file__).with_name("records")  # in the package, so that a notebook on Colab has them
PACKAGES = ("torch", "transformers", "datasets", "scikit-learn", "numpy")


def study(grid, seeds):
    """Mark a function (seed, **setting) -> dict of measures as a study over `grid` (list of dicts) and `seeds`."""
    def mark(function):
        function.grid, function.seeds = list(grid), list(seeds)
        return function
    return mark


def load_studies(path):
    """The studies of a file, by name, in the order of the file."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: f for name, f in vars(module).items() if hasattr(f, "grid") and f.__module__ == module.__name__}


def calibrate(studies_path, record_path, only=None, language=None, most_seeds=None):
    """Run every (study, setting, seed) that the record lacks; the record is written whole after each of them.

    only: names of studies. language: the settings with this language alone. most_seeds: no more of each study than these.
    """
    record_path = Path(record_path)
    record = read_record(record_path)
    studies = load_studies(studies_path)
    unknown = set(only or ()) - set(studies)
    if unknown:
        raise ValueError(f"{studies_path} has no study {', '.join(sorted(unknown))}; it has {', '.join(studies)}")
    plan = [(seed, name, setting) for name, f in studies.items() if not only or name in only
            for setting in settings_of(f, language) for seed in f.seeds[:most_seeds]]
    # Seed by seed, so that a record that was stopped early has fewer seeds of everything, not holes.
    plan.sort(key=lambda item: item[0])
    for number, (seed, name, setting) in enumerate(plan, 1):
        rows = record["studies"].get(name, [])
        if any(row["seed"] == seed and all(row.get(k) == v for k, v in setting.items()) for row in rows):
            continue
        print(f"[{number}/{len(plan)}] {name} seed {seed} {setting}", flush=True)
        row = run_one(studies[name], seed, setting)
        add_row(record_path, f"python -m leaplm.calibration {studies_path}", name, row)


def settings_of(function, language=None):
    """The settings of a study, or those with a language alone; of a language that it does not list, those of Hausa.

    Hausa stands for all languages that the models have not read.
    """
    if language is None:
        return function.grid
    listed = [setting for setting in function.grid if setting.get("language") == language]
    return listed or [{**setting, "language": language} for setting in function.grid if setting.get("language") == "hau"]


def right_and_wrong(labels, predictions):
    """Each text right (1) or wrong (0), for a row of a record: intervals over seeds and texts, and paired ones, need them.

    >>> right_and_wrong([0, 1, 1], [0, 1, 0])
    '110'
    """
    return "".join("1" if label == found else "0" for label, found in zip(labels, predictions, strict=True))


def run_one(function, seed, setting):
    started = time.monotonic()
    measures = function(seed=seed, **setting)
    versions = " ".join(f"{name}={importlib.metadata.version(name)}" for name in PACKAGES)
    machine = f"{platform.system()} {platform.machine()}, {processors()} cores"
    return {**setting, "seed": seed, **measures, "study_seconds": round(time.monotonic() - started, 1),
            "date": datetime.date.today().isoformat(), "versions": versions, "machine": machine}


def read_record(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"studies": {}}


def add_row(path, command, study_name, row):
    """Add one row under a lock: two processes may run different studies of a lab side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        record = read_record(path)
        record["studies"].setdefault(study_name, []).append(row)
        write_record(path, {"command": command, **record})


def write_record(path, record):
    # A line a row keeps the file readable and its changes small.
    studies = ",\n".join(f'{json.dumps(name)}: [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]"
                         for name, rows in record["studies"].items())
    write_whole(path, f'{{"command": {json.dumps(record["command"])},\n"studies": {{\n{studies}\n}}}}\n')


def prediction_bound(values, level=0.995, spread_of=None):
    """What one more run of the same kind stays above with probability `level`, from the results (n,) of n runs; a float.

    spread_of: lists of results, each of one kind of run, such as the same study in several languages: their pooled
    deviation, with its degrees of freedom, takes the place of that of `values`.

    mean - t * sd * sqrt(1 + 1/n), with Student's t of n - 1 degrees of freedom. A deviation from five runs is itself
    uncertain: "mean minus three" would fail one honest run in forty. NaN for fewer than two runs.
    Source: https://en.wikipedia.org/wiki/Prediction_interval (normal distribution, both parameters unknown).

    >>> round(prediction_bound([0.50, 0.51, 0.49, 0.50, 0.50]), 3)
    0.464
    """
    from scipy import stats

    values = pd.Series(values, dtype=float)
    groups = [pd.Series(group, dtype=float) for group in ([values] if spread_of is None else spread_of)]
    freedom = sum(len(group) - 1 for group in groups)
    if len(values) < 2 or freedom < 1:
        return float("nan")
    variance = sum(((group - group.mean()) ** 2).sum() for group in groups) / freedom
    return float(values.mean() - stats.t.ppf(level, freedom) * (variance * (1 + 1 / len(values))) ** 0.5)


def load_record(lab, study_name, **where):
    """The rows of one study of a lab as a DataFrame; keywords keep only the rows with these values.

    >>> load_record("lab2_finetuning", "learning_curve", language="eng")    # doctest: +SKIP
    """
    source = RECORDS / f"{lab}.json"
    if not source.is_file():
        raise FileNotFoundError(f"there is no calibration record for {lab!r}; `make calibrate LAB={lab}` makes it")
    studies = json.loads(source.read_text(encoding="utf-8"))["studies"]
    if study_name not in studies:
        raise KeyError(f"the record of {lab} has no study {study_name!r}; it has {', '.join(studies)}")
    return only_where(pd.DataFrame(studies[study_name]), where)


def load_matching(lab, study_name, **where):
    """The same for a table or a figure, which would be empty without a word: ValueError if no row has these values."""
    found = load_record(lab, study_name, **where)
    if found.empty:
        every = load_record(lab, study_name)
        there = "; ".join(f"{key}: {', '.join(map(str, every[key].unique()))}" for key in where)
        raise ValueError(f"the record of {lab} has no row of {study_name!r} with {where}; it has {there}")
    return found


def load_rows(path, study_name, columns, **where):
    """The same from the record at `path`, which need not be there: then no rows, with these columns."""
    rows = read_record(path)["studies"].get(study_name, [])
    return only_where(pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns), where)


def only_where(rows, where):
    for key, value in where.items():
        rows = rows[rows[key] == value]
    return rows.reset_index(drop=True)


def summarize(rows, by, metric, texts=None):
    """Mean, sample standard deviation and number of seeds of `metric` for each value of `by`, in order of appearance.

    texts: how many test texts, the same in all runs, an accuracy rests on; then there is `half`, see `half_interval`.
    """
    found = rows.groupby(by, sort=False)[metric].agg(mean="mean", sd="std", seeds="count").reset_index()
    return with_half(found, texts)


def with_half(found, texts):
    """A summary with its column `half`, see `half_interval`; as it is where the number of test texts is None."""
    return found if texts is None else found.assign(half=half_interval(found["mean"], found.sd, found.seeds, texts))


def half_interval(mean, sd, seeds, texts):
    """Half of a 95 % interval of an accuracy over other seeds *and* other test texts; numbers or Series.

    mean, sd: over `seeds` runs that were scored on the same `texts`. The variances add: sd² / seeds, and at most
    mean (1 - mean) / texts for the texts (less where the runs do not err on the same ones). Source: Bouthillier et al.,
    2021, *Accounting for variance in machine learning benchmarks*.

    >>> round(half_interval(0.8, 0.01, 5, 600), 3)
    0.033
    """
    return 1.96 * (sd**2 / seeds + mean * (1 - mean) / texts) ** 0.5


def curves(rows, by, columns):
    """{label: summary} for `plots.plot_lines`, from {label: column}."""
    return {label: summarize(rows, by, column) for label, column in columns.items()}


def bars(rows, columns, texts=None):
    """Mean, sample standard deviation and seeds of several columns, {label: column}, as rows for `plots.plot_bars`."""
    values = rows[list(columns.values())]
    found = pd.DataFrame({"name": list(columns), "mean": values.mean().to_numpy(), "sd": values.std().to_numpy(),
                          "seeds": values.count().to_numpy()})
    return with_half(found, texts)


def main():
    parser = argparse.ArgumentParser(description="Run the studies of a lab that its calibration record lacks.")
    parser.add_argument("studies", help="course/<lab>/study.py")
    parser.add_argument("--only", nargs="*", help="names of studies (default: all)")
    parser.add_argument("--language", help="the settings with this language alone, such as kin (default: all)")
    parser.add_argument("--seeds", type=int, metavar="N", help="the first N seeds alone (default: all)")
    parser.add_argument("--record", type=Path, help="the record to fill (default: the lab's)")
    arguments = parser.parse_args()
    path = Path(arguments.studies)
    record = arguments.record or RECORDS / f"{path.parent.name}.json"
    calibrate(path, record, arguments.only, arguments.language, arguments.seeds)


if __name__ == "__main__":
    main()
