"""Lab 10: what it teaches is what the library does, and a comparison survives an interruption and refuses other rows."""

import json

import numpy as np
import pytest
from leaplm import data
from leaplm.capstone import evidence, small_data
from leaplm.grading.judge.probes import checksum_model
from solved import solved_lab

lab10 = solved_lab("lab10_capstone")
ROWS = [{"text": text, "label": label} for text, label in
        (("Fine.", 1), ("Dull.", 0), (" fine. ", 1), ("DULL.", 1), ("Call 0803 555 0144", 0), ("Dull.", 0))]


def dataset(n=60):
    rows = [{"text": f"{'good' if i % 2 else 'bad'} thing {i}", "label": "yes" if i % 2 else "no"} for i in range(n)]
    import pandas as pd

    return data.to_dataset_dict({"all": pd.DataFrame(rows)})["all"]


def test_lab10_audit_is_the_librarys(lab10):
    found = small_data.audit(ROWS)
    assert found == {"duplicates": [2, 5], "contradictions": [3], "personal": [4]}
    assert {name: list(numbers) for name, numbers in lab10["audit"](ROWS).items()} == found


def test_lab10_cross_validates_as_the_library(lab10):
    where = small_data.stratified_folds([0, 1] * 10, 4, seed=1)
    rows = list(range(20))
    np.testing.assert_array_equal(lab10["cross_validate"](checksum_model(), rows, where),
                                  small_data.cross_validate(checksum_model(), rows, where))


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_lab10_folds_keep_the_librarys_promise(lab10, folds):
    labels = np.random.default_rng(0).permutation([0] * 17 + [1] * 9)
    for cut in (lab10["stratified_folds"], small_data.stratified_folds):
        where = cut(labels, folds, seed=3)
        assert all(np.ptp(np.bincount(where[labels == c], minlength=folds)) <= 1 for c in (0, 1))
        np.testing.assert_array_equal(where, cut(labels, folds, seed=3))


def test_clean_drops_copies_and_redacts(tmp_path):
    import pandas as pd

    words = pd.DataFrame(ROWS).assign(label=lambda rows: rows.label.map({0: "bad", 1: "good"}))
    kept = small_data.clean(data.to_dataset_dict({"all": words})["all"])
    assert kept["text"] == ["Fine.", "Dull.", "Call [PHONE]"]


def test_folds_need_enough_rows_of_each_class():
    with pytest.raises(ValueError, match="fewer rows than there are folds"):
        small_data.stratified_folds([0, 0, 0, 1], folds=2)


def test_a_csv_with_few_rows_is_refused(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("text,label\n" + "\n".join(f"text {i},{'a' if i % 2 else 'b'}" for i in range(42)))
    with pytest.raises(ValueError, match="at least 50"):
        small_data.load_small(path)


def test_an_interrupted_comparison_goes_on(tmp_path):
    path, rows, calls = tmp_path / "results.json", dataset(), []

    def method(train, test, seed):
        calls.append(seed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return [seed % 2] * len(test), 1.5

    with pytest.raises(KeyboardInterrupt):
        small_data.compare({"mine": method}, rows, path, seeds=range(2), folds=2)
    results = small_data.compare({"mine": method}, rows, path, seeds=range(2), folds=2)
    assert calls == [0, 0, 1, 1, 1]
    assert [(run["seed"], set(run["predictions"])) for run in results["runs"]] == [(0, {0}), (1, {1})]
    [row] = json.loads(path.read_text())["summary"]
    assert (row["accuracy"], row["seeds"], row["megabytes"]) == (0.5, 2, 1.5)
    assert "good thing" not in path.read_text()


def test_results_on_other_rows_are_not_mixed(tmp_path):
    path = tmp_path / "results.json"
    method = {"mine": lambda train, test, seed: ([0] * len(test), 0.0)}
    small_data.compare(method, dataset(), path, seeds=[0])
    with pytest.raises(ValueError, match="other rows"):
        small_data.compare(method, dataset(50), path, seeds=[0])


@pytest.mark.parametrize("content", [
    b"", b"[]", b'{"labels": ["a"], "true": [0], "runs": [{}]}',
    b'{"labels": ["a"], "true": [1], "runs": [], "language": "", "rows": "", "summary": []}'])
def test_what_is_no_file_of_results_is_refused(content):
    with pytest.raises(ValueError, match="results|prediction"):
        small_data.read_results(content)


def test_evidence_takes_the_nearest_number_of_labels():
    table = evidence.table(100)
    assert {"eng", "hau", "swa"} <= set(table.language)
    full = table[(table.lab == "2") & (table.method == "full fine-tuning") & (table.language == "eng")]
    assert full.labels.tolist() == [128] and full.seeds.tolist() == [3]
    assert table["mean"].between(0, 1).all()
