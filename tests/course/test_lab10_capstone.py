"""Lab 10: what it teaches is what the library does, and a comparison survives an interruption and refuses other rows."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaplm import data
from leaplm.capstone import evidence, methods, small_data
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


def test_evidence_says_what_lab_5_says_of_prompts():
    """The prompt as it is, with the best of ten templates and with any of them: two numbers of lab 5's text."""
    told = (Path(__file__).parents[2] / "course" / "lab5_fewshot" / "lab.py").read_text(encoding="utf-8")
    means = evidence.table(60).set_index("method")["mean"]
    best, one = (means[f"prompt without examples, {which} of ten templates"] for which in ("the best", "one"))
    assert f"**No examples:** the prompt has {best:.2f}," in told
    assert f"the mean of the ten is {one:.2f}." in told


def test_evidence_is_of_about_as_many_labels_and_of_one_metric_a_list():
    """A record of 1,000 labels says little about 150, and accuracy is not compared with macro-F1."""
    for labels in (24, 150, 500):
        table = evidence.table(labels)
        assert (table.labels <= 2 * labels).all()
        for _, part in table.groupby(["language", "metric"], sort=False):
            assert part["mean"].is_monotonic_decreasing and part.index.max() - part.index.min() == len(part) - 1


WORDS = ["pump", "market", "broken", "water", "since", "Monday", "please", "send", "somebody", "soon"]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=12, max_size=60), st.integers(0, 99))
def test_near_duplicates_stay_in_one_fold(changes, seed):
    """Texts that differ in one of ten words are never on both sides; each is at home in the group of its form."""
    texts = [" ".join(WORDS[:place] + [f"x{word}"] + WORDS[place + 1 :]) if word < 6 else f"Another text {i} {i + 1}"
             for i, (word, place) in enumerate(changes)]
    groups = small_data.near_duplicates(texts)
    labels = [i % 2 for i in range(len(texts))]
    if min(len(set(groups[np.array(labels) == c])) for c in (0, 1)) < 2:
        with pytest.raises(ValueError, match="fewer rows than"):
            small_data.stratified_folds(labels, 2, seed, groups)
        return
    where = small_data.stratified_folds(labels, 2, seed, groups)
    assert all(len(set(where[groups == group])) == 1 for group in set(groups))


def test_a_score_of_rows_that_are_copies_is_not_praised(tmp_path):
    """155 rows of 79 forms and a method that learns by heart: with copies kept together it is no better than chance."""
    forms = [f"{word} {i} {i * 7} {i * 13}" for i in range(40) for word in ("complaint", "question")]
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1], 40))
    texts = [form for form in forms for _ in range(2)]
    true = np.repeat(labels, 2)

    def heart(train, test):
        known = {texts[i]: true[i] for i in train}
        return [known.get(texts[i], 0) for i in test]

    rows = list(range(len(texts)))
    groups = small_data.near_duplicates(texts)
    naive, careful = (np.mean(small_data.cross_validate(heart, rows, small_data.stratified_folds(true, 4, 1, g)) == true)
                      for g in (None, groups))
    assert naive > 0.8 and careful < 0.6


def test_probabilities_come_back_in_the_order_of_the_rows(tmp_path):
    def method(train, test, seed):
        numbers = np.array([int(text.split()[-1]) for text in test["text"]])
        return numbers % 2, 0.0, np.stack([1 - numbers / 100, numbers / 100], axis=1)

    results = small_data.compare({"mine": method}, dataset(), tmp_path / "results.json", seeds=range(2), folds=3)
    results = small_data.read_results((tmp_path / "results.json").read_bytes())
    for run in results["runs"]:
        np.testing.assert_allclose(np.array(run["probabilities"])[:, 1], np.arange(60) / 100)
    [row] = small_data.alarms(results, "mine", "yes", [0.5]).reset_index().to_dict("records")
    assert (row["missed"], row["false alarms"], row["recall"]) == (25, 5, 5 / 30)
    with pytest.raises(ValueError, match="no probabilities"):
        small_data.alarms(results, "majority class", "yes", [0.5])


def test_probabilities_of_another_shape_are_refused(tmp_path):
    method = {"mine": lambda train, test, seed: ([0] * len(test), 0.0, np.full((len(test), 2), 0.5))}
    small_data.compare(method, dataset(), tmp_path / "results.json", seeds=[0])
    results = json.loads((tmp_path / "results.json").read_text())
    for wrong in ([0.5] * 60, results["runs"][0]["probabilities"][1:], [[0.5]] * 60, "none"):
        results["runs"][0]["probabilities"] = wrong
        with pytest.raises(ValueError, match="probabilities|results"):
            small_data.read_results(json.dumps(results).encode())


@pytest.mark.parametrize("method", ["majority class", "TF-IDF, words", "frozen MiniLM + logistic regression"])
def test_megabytes_are_all_that_must_be_there(method, assets_ready):
    """What was learned is a part of it: a head of 3 kB does not run without its encoder."""
    rows = dataset()
    train, test = rows.select(range(40)), rows.select(range(40, 60))
    predictions, megabytes, probabilities = methods.make_methods(["no", "yes"])[method](train, test, 0)
    assert probabilities.shape == (20, 2) and np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == predictions).all()
    low, high = {"majority class": (0, 0), "TF-IDF, words": (0.001, 1)}.get(method, (45, 47))
    assert low <= megabytes <= high


def test_the_interval_covers_seeds_too():
    """Runs that differ widely give a wide interval, however sure each of them is on its rows."""
    alike = {"labels": ["a", "b"], "true": [0] * 100,
             "runs": [{"method": "m", "seed": i, "predictions": [0] * 80 + [1] * 20, "seconds": 1, "megabytes": 0}
                      for i in range(3)]}
    apart = json.loads(json.dumps(alike))
    for run, right in zip(apart["runs"], (60, 80, 100), strict=True):
        run["predictions"] = [0] * right + [1] * (100 - right)
    (one,), (other,) = small_data.summarize_results(alike), small_data.summarize_results(apart)
    assert other["high"] - other["low"] > 1.5 * (one["high"] - one["low"])


def test_a_second_person_is_matched_by_text(tmp_path):
    (tmp_path / "second.csv").write_text("text,label\nGOOD thing 1,yes\nbad thing 2,yes\n", encoding="utf-8")
    first, second = small_data.second_labels(tmp_path / "second.csv", dataset())
    assert (first, second) == (["yes", "no"], ["yes", "yes"])
    (tmp_path / "second.csv").write_text("text,label\nnobody wrote this,yes\n", encoding="utf-8")
    with pytest.raises(ValueError, match="row 1.*nobody wrote this"):
        small_data.second_labels(tmp_path / "second.csv", dataset())


def test_a_file_of_one_form_is_compared_and_said_to_be_one(tmp_path, capsys):
    """150 texts a class that differ by a number alone: no folds can keep them together, and the scores say little."""
    import pandas as pd

    rows = [{"text": f"{word} service at stall {i} of the market", "label": label}
            for i in range(40) for word, label in (("quick", "praise"), ("slow", "complaint"))]
    same = data.to_dataset_dict({"all": pd.DataFrame(rows)})["all"]
    small_data.compare({"mine": lambda train, test, seed: ([0] * len(test), 0.0)}, same, tmp_path / "r.json", seeds=[0])
    told = capsys.readouterr().out
    assert "near-duplicates" in told and "1 different" in told and "by heart" in told
