"""Few labelled examples, or none (lab 5).

examples: demonstrations in a prompt, label embeddings, heads on a frozen encoder. contrastive: an encoder tuned on pairs.
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

__all__ = [
    "PooledEncoder",
    "TEMPLATE",
    "contrastive_loss",
    "contrastive_pairs",
    "demonstration_prefix",
    "embed",
    "fit_head",
    "head_weights",
    "nearest_label",
    "put_head",
    "sample_balanced",
    "summarize_runs",
    "tune_contrastive",
    "unit",
]
