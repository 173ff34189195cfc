"""Weights as 8-bit and 4-bit numbers: what they lose, and PyTorch's own 8-bit layers."""

import copy
import warnings

import torch
from torch import nn

LEVELS = 127  # 8-bit numbers from -127 to 127: symmetric, so that 0 stays 0
# 4 bits for normally distributed numbers: quantiles, each as often used. Dettmers et al., 2023, *QLoRA*, appendix E.
NF4 = torch.tensor([-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0, 0.0796, 0.1609, 0.2461, 0.3379, 0.4407,
                    0.5626, 0.7230, 1.0])


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


def fake_quantize(model, levels=LEVELS, per_row=True, group=None, table=None):
    """Round every matrix of the model as 8 bits (levels=127) or 4 bits (levels=7) would, in place; returns the model.

    per_row: a scale for each row, or one for the whole matrix. group: a scale for each so many numbers of a row, as 4-bit
    files have it (with 32 a 16-bit scale costs half a bit a number). table: the values between -1 and 1 that a number
    can have, in place of even steps, such as NF4. Values and sizes of the model stay 32-bit: this shows the price in
    quality alone.
    """
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.ndim == 2):
            parts = nn.functional.pad(weight, (0, -weight.shape[1] % group)).unflatten(1, (-1, group)) if group else weight
            largest = parts.abs().amax(dim=-1, keepdim=True) if per_row or group else parts.abs().max()
            scale = (largest / (levels if table is None else 1)).clamp(min=1e-12)
            rounded = (parts / scale).round() if table is None else nearest(parts / scale, table)
            weight.copy_((rounded * scale).flatten(1)[:, : weight.shape[1]])
    return model


def nearest(numbers, table):
    """Each number's nearest value of a table, a tensor (values,) in ascending order."""
    return table[torch.bucketize(numbers, (table[1:] + table[:-1]) / 2)]


def quantize_dynamic(model):
    """PyTorch's dynamic 8-bit version of a model: weights 8-bit, activations made 8-bit batch by batch. CPU only."""
    import torch.ao.quantization as quantization

    with warnings.catch_warnings():  # it announces its move to another package
        warnings.simplefilter("ignore")
        return quantization.quantize_dynamic(copy.deepcopy(model).eval(), {nn.Linear}, dtype=torch.qint8)
