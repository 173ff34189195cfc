"""Classifiers outside of PyTorch: ONNX files, and ONNX Runtime that runs them. Everything that calls `onnx` stands here.

`export` writes such a file from the command line. Needs the packages of the extra `serve`: pip install "leaplm[serve]".
"""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from leaplm.runtime import processors

INPUTS = ("input_ids", "attention_mask")


class LogitsOnly(nn.Module):
    """A classifier that takes two tensors (batch, tokens) and gives one, logits (batch, classes)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def export_onnx(model, path):
    """Write a classifier (batch, tokens) -> logits as one ONNX file for batches and texts of any size; its size in MB."""
    ids = torch.ones((2, 8), dtype=torch.long)
    free = torch.export.Dim.DYNAMIC  # a range from 1 on is refused by torch before 2.13, which then still runs with 1
    training = model.training
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), silent("torch.onnx"):
        warnings.simplefilter("ignore")
        torch.onnx.export(LogitsOnly(model).eval(), (ids, torch.ones_like(ids)), str(path), input_names=list(INPUTS),
                          output_names=["logits"], dynamo=True, external_data=False, verbose=False,
                          dynamic_shapes={name: {0: free, 1: free} for name in INPUTS})
    model.train(training)
    return Path(path).stat().st_size / 1e6


def quantize_onnx(path, target):
    """Write the dynamic 8-bit version of an ONNX file: weights 8-bit with a scale a column, activations at run time; MB."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with silent(None):  # it recommends another program
        quantize_dynamic(str(path), str(target), weight_type=QuantType.QInt8, per_channel=True)
    return Path(target).stat().st_size / 1e6


@contextlib.contextmanager
def silent(name):
    """No messages below errors from a logger (None: the root) in the block."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class OnnxClassifier:
    """An ONNX file ready to run: input_ids, attention_mask (batch, tokens) as arrays or tensors -> logits (batch, classes).

    threads: how many of the machine's cores one call may use (None: all).
    """

    def __init__(self, path, threads=None):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or processors()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, input_ids, attention_mask):
        arrays = (np.asarray(tensor, dtype=np.int64) for tensor in (input_ids, attention_mask))
        return self.session.run(None, dict(zip(INPUTS, arrays, strict=True)))[0]
