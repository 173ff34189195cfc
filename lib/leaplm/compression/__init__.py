"""Smaller classifiers, and what their smallness costs (lab 8).

pruning, quantization, vocabulary, distillation: one way to be smaller each; their names stand here too. checkpoint: a
compressed classifier as one file. engine: from such a file to something that predicts. comparison, latency: versions side
by side. onnx, export: the same outside of PyTorch.
"""

from leaplm.compression.distillation import (
    TeacherCollator,
    distillation_loss,
    distillation_objective,
    make_student,
    with_teacher,
)
from leaplm.compression.pruning import encoder_linears, finish_pruning, magnitude_mask, prune_model, zero_share
from leaplm.compression.quantization import LEVELS, NF4, dequantize, fake_quantize, quantize_dynamic, quantize_int8
from leaplm.compression.vocabulary import trim_embeddings, trim_tokenizer, used_pieces

__all__ = [
    "LEVELS",
    "NF4",
    "TeacherCollator",
    "checkpoint",
    "comparison",
    "dequantize",
    "distillation_loss",
    "distillation_objective",
    "encoder_linears",
    "engine",
    "export",
    "fake_quantize",
    "finish_pruning",
    "latency",
    "magnitude_mask",
    "make_student",
    "onnx",
    "prune_model",
    "quantize_dynamic",
    "quantize_int8",
    "trim_embeddings",
    "trim_tokenizer",
    "used_pieces",
    "with_teacher",
    "zero_share",
]
