"""From a language's own pieces of words to the vectors of an English encoder, by ridge regression.

Sources: Hoerl & Kennard, 1970, *Ridge regression*; Mikolov et al., 2013, *Exploiting similarities among languages for
machine translation* (a linear map between two spaces); Reimers & Gurevych, 2020 (sentences instead of words).
"""

import numpy as np
import torch
from torch import nn

from leaplm.fewshot import unit
from leaplm.text import normalize

BUCKETS = 8192
SIZES = (2, 5)
PENALTIES = (0.1, 0.3, 1.0)


def character_pieces(text, smallest=2, largest=5):
    """All pieces of `smallest` to `largest` characters inside the words of a text, each word with a blank on both sides.

    A word that is shorter than a piece (with its blanks) gives itself, once. The same as scikit-learn's "char_wb".

    >>> character_pieces("ina so", 3, 4)
    [' in', 'ina', 'na ', ' ina', 'ina ', ' so', 'so ', ' so ']
    """
    pieces = []
    for word in (f" {word} " for word in text.split()):
        for size in range(smallest, largest + 1):
            pieces += [word[i : i + size] for i in range(max(1, len(word) - size + 1))]
            if size >= len(word):
                break
    return pieces


def count_pieces(texts, buckets=BUCKETS, sizes=SIZES):
    """How often each bucket of pieces occurs: a sparse table (n, buckets).

    Two pieces may share a bucket (the hashing trick; Weinberger et al., 2009): no vocabulary has to be kept.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    counter = HashingVectorizer(analyzer="char_wb", ngram_range=sizes, n_features=buckets, alternate_sign=False, norm=None,
                                preprocessor=normalize)
    return counter.transform(list(texts))


def as_table(counts):
    """Counts as an array, whether they are sparse or not."""
    return counts.toarray() if hasattr(counts, "toarray") else np.asarray(counts)


def inverse_frequencies(counts):
    """How rare each feature is: ln((1 + n) / (1 + texts that have it)) + 1, (features,). counts (n, features)."""
    counts = as_table(counts)
    return np.log((1 + len(counts)) / (1 + (counts > 0).sum(axis=0))) + 1


def weigh_counts(counts, rarity):
    """TF-IDF (n, features): (1 + ln count) * rarity for each piece that occurs, then each row of length 1.

    counts (n, features), rarity (features,). A row without any piece stays zero.

    >>> weigh_counts([[1, 0, 1]], [3.0, 1.0, 4.0]).tolist()
    [[0.6, 0.0, 0.8]]
    """
    counts = as_table(counts)
    weighed = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * np.asarray(rarity)
    lengths = np.linalg.norm(weighed, axis=1, keepdims=True)
    return weighed / np.where(lengths > 0, lengths, 1)


def fit_map(features, vectors, penalty):
    """Ridge regression from features (n, f) to vectors (n, w): the weights (f, w) and the bias (w,).

    Least squares of `features @ weights + bias - vectors` plus `penalty` times the squared weights; the bias is free.
    With few sentences and many features the inverse of n by n numbers is enough (the dual form).

    >>> weights, bias = fit_map([[0.0], [2.0]], [[0.0], [2.0]], 0.0001)
    >>> [round(float(weights[0, 0]), 3), round(float(bias[0]), 3)]
    [1.0, 0.0]
    """
    features, vectors = np.asarray(features, dtype=np.float64), np.asarray(vectors, dtype=np.float64)
    mean, centre = features.mean(axis=0), vectors.mean(axis=0)
    x = features - mean
    weights = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), vectors - centre)
    return weights, centre - mean @ weights


def mean_cosine(first, second):
    """Mean over the rows of the cosine of first[i] and second[i], both (n, width)."""
    return float((unit(first) * unit(second)).sum(axis=1).mean())


def choose_penalty(features, vectors, dev_features, dev_vectors, penalties=PENALTIES):
    """The penalty whose map, fitted on the first two, gives the largest mean cosine on the development sentences."""
    def score(penalty):
        weights, bias = fit_map(features, vectors, penalty)
        return mean_cosine(np.asarray(dev_features) @ weights + bias, dev_vectors)

    return max(penalties, key=score)


class MappedClassifier(nn.Module):
    """What a lab hands in: rarity of the pieces, the map, and a head on the mapped vectors (made of length 1)."""

    def __init__(self, classes, buckets=BUCKETS, width=384):
        super().__init__()
        self.register_buffer("rarity", torch.ones(buckets))
        self.map, self.head = nn.Linear(buckets, width), nn.Linear(width, classes)

    def forward(self, counts):
        """counts (n, buckets), as `count_pieces` gives them -> logits (n, classes)."""
        features = torch.as_tensor(weigh_counts(counts, self.rarity.numpy()), dtype=torch.float32)
        return self.head(nn.functional.normalize(self.map(features), dim=1))

    @torch.no_grad()
    def predict(self, texts):
        """Class numbers (n,) of texts."""
        return self(count_pieces(texts, len(self.rarity))).argmax(dim=1).numpy()


def make_classifier(rarity, weights, bias, head_weight, head_bias):
    """A MappedClassifier of arrays: rarity (f,), map (f, w) and (w,), head (classes, w) and (classes,)."""
    model = MappedClassifier(len(head_weight), len(rarity), len(bias))
    arrays = {"rarity": rarity, "map.weight": np.asarray(weights).T, "map.bias": bias, "head.weight": head_weight,
              "head.bias": head_bias}
    model.load_state_dict({name: torch.tensor(np.asarray(array), dtype=torch.float32) for name, array in arrays.items()})
    return model
