"""Numbers about models: metrics, their uncertainty, and the baselines every model has to beat."""

import numpy as np


def accuracy(labels, predictions):
    """Share of predictions that are right, in [0, 1]. Both (n,)."""
    labels, predictions = check_pair(labels, predictions)
    return float(np.mean(labels == predictions))


def macro_f1(labels, predictions):
    """F1 of each class that occurs in either list, then the plain mean over classes, in [0, 1]. Both (n,).

    A class that is never predicted counts as 0. Equals scikit-learn's `f1_score(average="macro", zero_division=0)`.
    """
    labels, predictions = check_pair(labels, predictions)
    scores = []
    for c in np.union1d(labels, predictions):
        hits = np.sum((labels == c) & (predictions == c))
        scores.append(2 * hits / (np.sum(labels == c) + np.sum(predictions == c)))
    return float(np.mean(scores))


def check_pair(labels, predictions):
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must be equally long lists, not empty")
    return labels, predictions


def predict_logits(model, rows, collate_fn, batch_size=64):
    """Class scores of tokenized rows, (n, classes), in the order of the rows.

    Batches are made of rows of similar length, so little is computed on padding. The model is in evaluation mode
    during the call and in its former mode after it.
    """
    import torch

    order = np.argsort([len(row["input_ids"]) for row in rows], kind="stable")
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    parts = []
    with torch.inference_mode():
        for i in range(0, len(order), batch_size):
            batch = collate_fn([rows[j] for j in order[i : i + batch_size]])
            batch.pop("labels", None)
            parts.append(model(**{k: v.to(device) for k, v in batch.items()}).logits.float().cpu().numpy())
    model.train(was_training)
    logits = np.concatenate(parts)
    return logits[np.argsort(order, kind="stable")]


def log_softmax(logits):
    """Log-probabilities over the last axis, computed without overflow."""
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def evaluate(model, rows, collate_fn, batch_size=64):
    """Loss (nats per text), accuracy and macro-F1 of a classifier on tokenized, labelled rows."""
    logits = predict_logits(model, rows, collate_fn, batch_size)
    labels = np.array([row["label"] for row in rows])
    predictions = logits.argmax(-1)
    loss = -log_softmax(logits)[np.arange(len(labels)), labels].mean()
    return {"loss": float(loss), "accuracy": accuracy(labels, predictions), "macro_f1": macro_f1(labels, predictions)}


def bootstrap_interval(labels, predictions, metric=accuracy, level=0.95, rounds=1000, seed=0):
    """Percentile interval of a metric over resampled test rows: (low, high).

    It shows how far the score would move with another test set of this size; it says nothing about training seeds.
    Source: Efron & Tibshirani, 1993, chapter 13.
    """
    labels, predictions = check_pair(labels, predictions)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(labels), (rounds, len(labels)))
    scores = [metric(labels[i], predictions[i]) for i in rows]
    tail = (1 - level) / 2
    return tuple(float(q) for q in np.quantile(scores, [tail, 1 - tail]))


def summarize_seeds(values):
    """Mean and sample standard deviation over training seeds, as a dict with the number of seeds."""
    values = np.asarray(values, dtype=float)
    if not len(values):
        raise ValueError("no values to summarize")
    return {"mean": float(values.mean()), "sd": float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
            "seeds": len(values)}


def majority_baseline(train_labels, test_labels):
    """Predictions (n,) of the rule 'always the class that is most frequent in training'."""
    classes, counts = np.unique(train_labels, return_counts=True)
    return np.full(len(test_labels), classes[counts.argmax()])


def tfidf_classifier(units="words"):
    """The baseline that fine-tuning must beat: TF-IDF, then logistic regression (a scikit-learn pipeline, unfitted).

    units: "words" (words and word pairs), or "characters" (pieces of 2 to 5 characters inside words: strong for
    languages with rich word forms and free spelling).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    settings = {"words": {"ngram_range": (1, 2)}, "characters": {"analyzer": "char_wb", "ngram_range": (2, 5)}}
    if units not in settings:
        raise ValueError(f"units={units!r}: use 'words' or 'characters'")
    return make_pipeline(TfidfVectorizer(sublinear_tf=True, **settings[units]), LogisticRegression(C=10, max_iter=1000))


def tfidf_baseline(train, test, units="words"):
    """Predictions (n,) on `test` of a TF-IDF classifier fitted on `train` (datasets with text and label)."""
    return tfidf_classifier(units).fit(list(train["text"]), list(train["label"])).predict(list(test["text"]))
