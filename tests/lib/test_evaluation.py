"""Metrics agree with scikit-learn and torch; intervals cover what they promise."""

import tracemalloc

import numpy as np
import pytest
import torch
from leaplm import evaluation
from leaplm.data import DynamicPaddingCollator
from leaplm.grading.judge.tiny_models import tiny_classifier
from sklearn.metrics import accuracy_score, f1_score


@pytest.mark.parametrize("seed", range(20))
def test_accuracy_and_macro_f1_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(4, size=30), rng.integers(rng.integers(1, 5), size=30)
    assert evaluation.accuracy(labels, predictions) == pytest.approx(accuracy_score(labels, predictions))
    theirs = f1_score(labels, predictions, average="macro", zero_division=0)
    assert evaluation.macro_f1(labels, predictions) == pytest.approx(theirs)


@pytest.mark.parametrize("pair", [([], []), ([1, 2], [1]), ([[1]], [[1]])])
def test_lists_that_do_not_fit_are_refused(pair):
    with pytest.raises(ValueError, match="equally long"):
        evaluation.accuracy(*pair)


def test_log_softmax_equals_torch_and_does_not_overflow():
    logits = np.random.default_rng(0).normal(scale=500, size=(7, 5))
    assert np.allclose(evaluation.log_softmax(logits), torch.log_softmax(torch.tensor(logits), -1))


def test_evaluate_equals_one_text_at_a_time():
    """Sorting by length and padding must not change a text's scores, nor the order of the results."""
    model, rng = tiny_classifier(num_labels=3, initializer_range=0.5), np.random.default_rng(0)
    rows = [{"input_ids": rng.integers(5, 60, size=n).tolist(), "label": int(rng.integers(3))}
            for n in rng.integers(2, 30, size=41)]
    got = evaluation.predict_logits(model, rows, DynamicPaddingCollator(0), batch_size=8)
    with torch.no_grad():
        want = [model.eval()(torch.tensor([row["input_ids"]])).logits[0].numpy() for row in rows]
    assert np.allclose(got, want, atol=1e-4)
    model.train()
    scores = evaluation.evaluate(model, rows, DynamicPaddingCollator(0))
    labels = torch.tensor([row["label"] for row in rows])
    assert scores["loss"] == pytest.approx(torch.nn.functional.cross_entropy(torch.tensor(np.array(want)), labels).item())
    assert model.training


def test_bootstrap_interval_covers_the_true_accuracy():
    """Of 200 test sets with true accuracy 0.8, about 95 % of the intervals must hold 0.8."""
    rng, covered = np.random.default_rng(0), 0
    for seed in range(200):
        right = (rng.random(150) < 0.8).astype(int)
        low, high = evaluation.bootstrap_interval(np.ones(150, int), right, rounds=300, seed=seed)
        covered += low <= 0.8 <= high
    assert 180 <= covered <= 198


@pytest.mark.parametrize("metric", [evaluation.accuracy, evaluation.macro_f1])
@pytest.mark.parametrize("names", [[0, 1], [-3, 5, 2000], ["a", "b", "c", "d"]])
def test_bootstrap_interval_is_that_of_each_draw_alone(metric, names):
    rng = np.random.default_rng(0)
    labels, predictions = rng.choice(names, (2, 12))  # so few that a draw may lack a class
    each = evaluation.bootstrap_interval(labels, predictions, lambda *pair: metric(*pair), rounds=200)
    assert evaluation.bootstrap_interval(labels, predictions, metric, rounds=200) == each


def test_bootstrap_interval_of_many_classes_takes_little_memory():
    labels, predictions = np.random.default_rng(0).integers(0, 300, (2, 600))
    tracemalloc.start()
    evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1, rounds=200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6  # bytes; the draws themselves are one million


def test_summarize_seeds_uses_the_sample_deviation():
    assert evaluation.summarize_seeds([1, 2, 3]) == {"mean": 2.0, "sd": 1.0, "seeds": 3}
    with pytest.raises(ValueError, match="no values"):
        evaluation.summarize_seeds([])


def test_baselines():
    assert evaluation.majority_baseline([0, 1, 1], [0, 0]).tolist() == [1, 1]
    texts = {"text": ["good film", "bad film"] * 10, "label": [1, 0] * 10}
    for units in ("words", "characters"):
        assert evaluation.tfidf_baseline(texts, texts, units).tolist() == texts["label"]
    with pytest.raises(ValueError, match="units='bytes'"):
        evaluation.tfidf_classifier("bytes")
