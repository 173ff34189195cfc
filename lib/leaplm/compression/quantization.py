"""Weights as 8-bit and 4-bit numbers: what they lose, and PyTorch's own 8-bit layers."""

import copy
import warnings

import torch
from torch import nn

LEVELS = 127  # 8-bit numbers from -127 to 127: symmetric, so that 0 stays 0


def quantize_int8(weight):
    """(numbers, scales): 8-bit integers (rows, columns) and one 32-bit scale a row (rows,), symmetric, nothing cut off.

    The scale of a row is its largest absolute value / 127; a row of zeros has the scale 1. numbers * scale is within half
    a scale of the weight. Source: Jacob et al., 2018, *Quantization and training ...*, section 2 (there with a zero point).

    >>> numbers, scales = quantize_int8(torch.tensor([[1.27, -0.5], [0.0, 0.0]]))
    >>> numbers.tolist(), scales.numpy().round(3).tolist()
    ([[127, -50], [0, 0]], [0.009999999776482582, 1.0])
    """
    largest = weight.detach().float().abs().amax(dim=1)
    scales = torch.where(largest == 0, 1.0, largest / LEVELS)
    return (weight.detach() / scales[:, None]).round().to(torch.int8), scales


def dequantize(numbers, scales):
    """The weights (rows, columns) that 8-bit `numbers` and their `scales` (rows,) stand for."""
    return numbers.float() * scales.float()[:, None]


def fake_quantize(model, levels=LEVELS, per_row=True):
    """Round every matrix of the model as 8 bits (levels=127) or 4 bits (levels=7) would, in place; returns the model.

    per_row: a scale for each row, or one for the whole matrix. Values and sizes of the model stay 32-bit: this shows the
    price in quality alone.
    """
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.ndim == 2):
            largest = weight.abs().amax(dim=1, keepdim=True) if per_row else weight.abs().max()
            scale = (largest / levels).clamp(min=1e-12)
            weight.copy_((weight / scale).round() * scale)
    return model


def quantize_dynamic(model):
    """PyTorch's dynamic 8-bit version of a model: weights 8-bit, activations made 8-bit batch by batch. CPU only."""
    import torch.ao.quantization as quantization

    with warnings.catch_warnings():  # it announces its move to another package
        warnings.simplefilter("ignore")
        return quantization.quantize_dynamic(copy.deepcopy(model).eval(), {nn.Linear}, dtype=torch.qint8)
