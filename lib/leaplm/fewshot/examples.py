"""Few labelled examples, or none: demonstrations in a prompt, label embeddings, heads on a frozen encoder.

Sources: Brown et al., 2020, *GPT-3* (in-context learning); Yin et al., 2019 (zero-shot by label descriptions);
Zhao et al., 2021 and Lu et al., 2022 (choice and order of demonstrations).
"""

import numpy as np

from leaplm.data import normalize
from leaplm.locales import say

TEMPLATE = "Review: {text}\nSentiment:"


def sample_balanced(labels, num_shots, seed=0):
    """Numbers of `num_shots` rows of each class, no row twice, in random order: (classes * num_shots,).

    labels (n,) of any integers. Raises ValueError if a class has fewer rows.

    >>> sorted(sample_balanced([0, 1, 1, 0], num_shots=2).tolist())
    [0, 1, 2, 3]
    """
    labels, rng = np.asarray(labels), np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < num_shots:
        raise ValueError(say("class {label} has {rows} rows, fewer than `num_shots={num_shots}`",
                             label=classes[counts.argmin()], rows=counts.min(), num_shots=num_shots))  # fmt: skip
    return rng.permutation([row for c in classes for row in rng.choice(np.flatnonzero(labels == c), num_shots, False)])


def demonstration_prefix(demonstrations, words, template=TEMPLATE, test_texts=()):
    """The text that all prompts share: each demonstration with its answer and a blank line, in the order given.

    demonstrations: rows with `text` and `label`. words: one answer per class, each with its space in front.
    Raises ValueError if a demonstration is also one of `test_texts` (letter case and white space aside): the answer
    would stand in the prompt.

    >>> demonstration_prefix([{"text": "Great!", "label": 1}], [" negative", " positive"])
    'Review: Great!\\nSentiment: positive\\n\\n'
    """
    tested = {normalize(text) for text in test_texts}
    leaked = [row["text"] for row in demonstrations if normalize(row["text"]) in tested]
    if leaked:
        raise ValueError(say("{count} demonstration(s) are also test texts; the first is {text}", count=len(leaked),
                             text=repr(leaked[0][:60])))  # fmt: skip
    return "".join(template.format(text=row["text"]) + words[row["label"]] + "\n\n" for row in demonstrations)


def embed(encoder, tokenizer, texts, batch_size=64, max_length=128):
    """Mean-pooled vectors (n, width) of texts from a frozen encoder, in the order of the texts."""
    from leaplm.data import DynamicPaddingCollator, warn_of_unknown
    from leaplm.evaluation import predict_logits
    from leaplm.models import mean_pool

    ids = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    warn_of_unknown(ids, tokenizer)
    rows = [{"input_ids": row} for row in ids]
    collate = DynamicPaddingCollator(tokenizer.pad_token_id)
    return predict_logits(PooledEncoder(encoder, mean_pool), rows, collate, batch_size)


class PooledEncoder:
    """An encoder dressed as a classifier whose `logits` are its pooled vectors, for `predict_logits`."""

    def __init__(self, encoder, pool):
        self.encoder, self.pool, self.training = encoder, pool, encoder.training
        self.eval, self.train, self.parameters = encoder.eval, encoder.train, encoder.parameters

    def __call__(self, input_ids, attention_mask):
        from transformers.modeling_outputs import SequenceClassifierOutput

        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return SequenceClassifierOutput(logits=self.pool(hidden, attention_mask))


def nearest_label(text_vectors, label_vectors):
    """Zero-shot classes (n,): the label whose descriptions are most similar to the text.

    text_vectors (n, width), label_vectors (classes, descriptions, width). The similarity of a text to a label is the mean
    of its cosines with the label's descriptions.

    >>> nearest_label([[1.0, 0.1]], [[[0.0, 2.0]], [[3.0, 0.0]]]).tolist()
    [1]
    """
    texts, labels = unit(text_vectors), unit(label_vectors)
    return np.einsum("nw,cdw->nc", texts, labels).argmax(axis=1)


def unit(vectors):
    """Vectors of length 1 over the last axis."""
    vectors = np.asarray(vectors, dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def summarize_runs(scores):
    """What the choice and the order of demonstrations do to a score; scores (choices, orders), at least 2 of each.

    Returns mean; low and high, the 95 % t-interval of the mean over choices; choice_sd, the standard deviation of the
    choices' means; order_sd, the mean over choices of the standard deviation over orders. All with n - 1.

    >>> found = summarize_runs([[0.5, 0.7], [0.7, 0.9]])
    >>> round(found["mean"], 2), round(found["choice_sd"], 3), round(found["order_sd"], 3)
    (0.7, 0.141, 0.141)
    """
    from scipy import stats

    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or min(scores.shape) < 2:
        raise ValueError(f"scores {scores.shape} must be a table (choices, orders) with at least 2 of each")
    means = scores.mean(axis=1)
    half = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return {"mean": float(means.mean()), "low": float(means.mean() - half), "high": float(means.mean() + half),
            "choice_sd": float(means.std(ddof=1)), "order_sd": float(scores.std(axis=1, ddof=1).mean())}


def fit_head(vectors, labels, C=1.0):
    """A logistic regression as a linear layer: weight (classes, width) and bias (classes,), float32."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, max_iter=2000).fit(vectors, labels)
    return head_weights(model.coef_, model.intercept_)


def head_weights(coefficients, intercepts):
    """A logistic regression's numbers as a head with one row per class: softmax(W v + b) gives its probabilities.

    coefficients (rows, width), intercepts (rows,): scikit-learn has one row a class, but a single one for two classes.

    >>> head_weights([[2.0, 4.0]], [1.0])[0].tolist()
    [[-1.0, -2.0], [1.0, 2.0]]
    """
    weight, bias = np.asarray(coefficients, dtype=np.float32), np.asarray(intercepts, dtype=np.float32)
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def put_head(model, weight, bias):
    """Set the head of a MeanPoolClassifier; returns the model."""
    import torch

    with torch.no_grad():
        model.classifier.weight.copy_(torch.as_tensor(weight))
        model.classifier.bias.copy_(torch.as_tensor(bias))
    return model
