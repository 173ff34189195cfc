"""A language's own features, mapped into the space of an English encoder (lab 13).

pairs: parallel sentences, and none of the test among them. mapping: pieces of words, ridge regression, the classifier that
is handed in. student: a small encoder that is distilled. comparison: two classifiers on the same texts.
"""

from leaplm.transfer.comparison import paired_gain
from leaplm.transfer.mapping import (
    BUCKETS,
    PENALTIES,
    MappedClassifier,
    character_pieces,
    choose_penalty,
    count_pieces,
    fit_map,
    inverse_frequencies,
    make_classifier,
    mean_cosine,
    weigh_counts,
)
from leaplm.transfer.pairs import draw_pairs, load_pairs, read_pairs, safe_pairs
from leaplm.transfer.student import (
    SentenceStudent,
    distil,
    distillation_loss,
    make_batches,
    start_from_map,
    token_ids,
    train_vocabulary,
)

__all__ = [
    "BUCKETS",
    "MappedClassifier",
    "PENALTIES",
    "SentenceStudent",
    "character_pieces",
    "choose_penalty",
    "count_pieces",
    "distil",
    "distillation_loss",
    "draw_pairs",
    "fit_map",
    "inverse_frequencies",
    "load_pairs",
    "make_batches",
    "make_classifier",
    "mean_cosine",
    "paired_gain",
    "read_pairs",
    "safe_pairs",
    "start_from_map",
    "token_ids",
    "train_vocabulary",
    "weigh_counts",
]
