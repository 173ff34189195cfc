"""A record is complete after any number of stops, and holds each run once."""

import json

import numpy as np
import pandas as pd
import pytest
from leaplm import calibration, evaluation
from leaplm.grading.course import lab_file, list_labs
from repo import ROOT

STUDIES = """
from leaplm.calibration import study
import pathlib

@study([{"x": 1}, {"x": 2}], seeds=range(3))
def square(seed, x):
    log = pathlib.Path(__file__).with_name("log")
    log.write_text(log.read_text() + f"{x} {seed}\\n" if log.exists() else f"{x} {seed}\\n")
    if len(log.read_text().splitlines()) == 4:
        raise KeyboardInterrupt
    return {"value": x * x + seed}
"""


def test_stopped_and_started_again(tmp_path):
    studies, record = tmp_path / "lab0.py", tmp_path / "calibration" / "lab0.json"
    studies.write_text(STUDIES)
    with pytest.raises(KeyboardInterrupt):
        calibration.calibrate(studies, record)
    assert len(json.loads(record.read_text())["studies"]["square"]) == 3
    calibration.calibrate(studies, record)
    rows = json.loads(record.read_text())["studies"]["square"]
    assert sorted((row["x"], row["seed"], row["value"]) for row in rows) == \
        [(x, seed, x * x + seed) for x in (1, 2) for seed in range(3)]
    runs = len((tmp_path / "log").read_text().splitlines())
    calibration.calibrate(studies, record)  # nothing is missing
    assert len((tmp_path / "log").read_text().splitlines()) == runs == 7
    assert {"date", "versions", "machine", "study_seconds"} <= set(rows[0])


def test_some_seeds_and_the_rest_later(tmp_path):
    studies, record = tmp_path / "lab0.py", tmp_path / "r.json"
    studies.write_text(STUDIES)
    calibration.calibrate(studies, record, most_seeds=1)
    assert [row["seed"] for row in json.loads(record.read_text())["studies"]["square"]] == [0, 0]
    with pytest.raises(KeyboardInterrupt):
        calibration.calibrate(studies, record, most_seeds=2)


def test_unknown_study_names_the_known_ones(tmp_path):
    (tmp_path / "lab0.py").write_text(STUDIES)
    with pytest.raises(ValueError, match="no study cube; it has square"):
        calibration.calibrate(tmp_path / "lab0.py", tmp_path / "r.json", ["cube"])


def test_every_record_belongs_to_a_lab_with_a_study():
    records = {path.stem for path in calibration.RECORDS.glob("*.json")}
    assert records == {lab for lab in list_labs(ROOT) if lab_file(ROOT, lab, "study.py").is_file()}


def test_records_of_the_course_load():
    rows = calibration.load_record("lab2_finetuning", "learning_rate", language="eng")
    summary = calibration.summarize(rows, "learning_rate", "accuracy")
    assert list(summary.columns) == ["learning_rate", "mean", "sd", "seeds"] and summary["seeds"].min() >= 3
    with pytest.raises(KeyError, match="no study 'other'"):
        calibration.load_record("lab2_finetuning", "other")
    with pytest.raises(FileNotFoundError, match="make calibrate"):
        calibration.load_record("lab99", "x")


def test_a_table_without_rows_says_what_there_is():
    given = "lab16_small_machines", "sizes"
    assert len(calibration.load_matching(*given, language="hau")) == len(calibration.load_record(*given, language="hau")) > 0
    assert calibration.load_record(*given, language="weeks").empty  # marks rest on it: none is no error
    with pytest.raises(ValueError, match="no row of 'sizes' with {'language': 'weeks'}; it has language: eng, hau, swa"):
        calibration.load_matching(*given, language="weeks")


def test_a_bound_from_the_spread_of_several_groups():
    """The spread of all groups, with all their degrees of freedom, instead of one's own."""
    wide, narrow = [0.4, 0.5, 0.6], [0.79, 0.80, 0.81]
    assert calibration.prediction_bound(wide, spread_of=[wide]) == pytest.approx(calibration.prediction_bound(wide))
    both = calibration.prediction_bound(wide, spread_of=[wide, narrow])
    deviation = ((0.1**2 + 0.01**2) / 2) ** 0.5  # pooled, four degrees of freedom: t = 4.604
    assert both == pytest.approx(0.5 - 4.604 * deviation * (4 / 3) ** 0.5, abs=1e-3)
    assert both > calibration.prediction_bound(wide)


@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_half_an_interval_holds_what_drawing_seeds_and_texts_again_gives(spread):
    """It is hardly narrower, and at most half as wide again; texts differ in how hard they are, seeds in how good."""
    rng = np.random.default_rng(0)
    hard, runs, texts = rng.beta(2, 1, 400), 5, 400
    right = rng.random((runs, texts)) < np.clip(hard + spread * rng.normal(0, 0.1, (runs, 1)), 0, 1)
    table = pd.DataFrame({"way": "one", "accuracy": right.mean(axis=1)})
    [half] = calibration.summarize(table, "way", "accuracy", texts=texts).half
    [other] = calibration.bars(table, {"one": "accuracy"}, texts=texts).half
    low, high = evaluation.seeds_and_texts_interval(right)
    assert half == other and 0.95 * (high - low) / 2 < half < 1.5 * (high - low) / 2
