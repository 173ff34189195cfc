"""Few labelled examples, or none (lab 5).

examples: demonstrations in a prompt, label embeddings, heads on a frozen encoder. heads: a head, its trainer and its
learning curve without scikit-learn. contrastive: an encoder tuned on pairs.
"""

from leaplm.fewshot.contrastive import contrastive_loss, contrastive_pairs, tune_contrastive
from leaplm.fewshot.examples import (
    TEMPLATE,
    PooledEncoder,
    demonstration_prefix,
    embed,
    fit_head,
    head_weights,
    nearest_label,
    put_head,
    sample_balanced,
    summarize_runs,
    unit,
)
from leaplm.fewshot.heads import choose_strength, head_loss, learning_curve, stratified_folds, train_head

__all__ = [
    "PooledEncoder",
    "TEMPLATE",
    "choose_strength",
    "contrastive_loss",
    "contrastive_pairs",
    "demonstration_prefix",
    "embed",
    "fit_head",
    "head_loss",
    "head_weights",
    "learning_curve",
    "nearest_label",
    "put_head",
    "sample_balanced",
    "stratified_folds",
    "summarize_runs",
    "train_head",
    "tune_contrastive",
    "unit",
]
