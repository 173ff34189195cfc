"""Numbers of 4 bits in groups, with NumPy alone: rounding, two numbers in a byte, and back."""

import numpy as np

GROUP = 32  # numbers that share a scale: a 16-bit scale costs half a bit a number
EVEN = np.arange(-7, 8, dtype=np.float32) / 7  # even steps: one of the sixteen is not used, so that 0 stays 0
# Quantiles of the normal distribution, each as often used. Dettmers et al., 2023, *QLoRA*, appendix E.
NF4 = np.array([-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0, 0.0796, 0.1609, 0.2461, 0.3379, 0.4407,
                0.5626, 0.7230, 1.0], dtype=np.float32)


def pack_pairs(numbers):
    """numbers (n,) from 0 to 15 -> bytes (ceil(n / 2),) of dtype uint8; the first of a pair is the lower half of its byte.

    An odd number at the end gets a 0 as its upper half.

    >>> pack_pairs(np.array([1, 2, 15])).tolist()
    [33, 15]
    """
    numbers = np.append(numbers, np.zeros(len(numbers) % 2)).astype(np.uint8)
    return numbers[0::2] | numbers[1::2] << 4


def unpack_pairs(packed, count):
    """The `count` numbers (count,) of dtype uint8 that `pack_pairs` put into bytes (ceil(count / 2),).

    >>> unpack_pairs(np.array([33, 15], dtype=np.uint8), 3).tolist()
    [1, 2, 15]
    """
    return np.stack([packed & 15, packed >> 4], axis=1).flatten()[:count]


def quantize_groups(weight, size=GROUP, values=NF4):
    """(numbers, scales): each weight's nearest value times the scale of its group.

    weight (rows, columns), float; a row is cut into groups of `size` numbers, the last one may be shorter. values (at most
    16,): ascending, from -1 to 1. scales (rows, groups) of dtype float16: the largest absolute number of the group (1 where
    all are 0). numbers (rows, columns) of dtype uint8: the place in `values` nearest to weight / scale, with the scale as it
    is stored. Source: Dettmers et al., 2023, *QLoRA*, section 2.

    >>> numbers, scales = quantize_groups(np.array([[2.0, -1.0, 0.5, 0.0]]), 2, np.array([-1, -0.5, 0, 0.5, 1]))
    >>> numbers.tolist(), scales.tolist()
    ([[4, 1, 4, 2]], [[2.0, 0.5]])
    """
    weight, values = np.asarray(weight, dtype=np.float32), np.asarray(values, dtype=np.float32)
    parts = in_groups(weight, size)
    largest = np.abs(parts).max(axis=2).astype(np.float16)
    scales = np.where(largest == 0, np.float16(1), largest)
    shares = parts / scales[:, :, None].astype(np.float32)
    numbers = np.searchsorted((values[1:] + values[:-1]) / 2, shares).astype(np.uint8)
    return numbers.reshape(len(weight), -1)[:, : weight.shape[1]], scales


def in_groups(weight, size):
    """(rows, columns) -> (rows, groups, size), filled up with zeros."""
    filled = np.pad(weight, ((0, 0), (0, -weight.shape[1] % size)))
    return filled.reshape(len(weight), -1, size)


def dequantize_groups(numbers, scales, size=GROUP, values=NF4):
    """The weights (rows, columns) in 32 bits that `quantize_groups` stored.

    >>> dequantize_groups(np.array([[4, 1, 4]]), np.array([[2.0, 0.5]]), 2, np.array([-1, -0.5, 0, 0.5, 1])).tolist()
    [[2.0, -1.0, 0.5]]
    """
    whole = np.repeat(np.asarray(scales, dtype=np.float32), size, axis=1)[:, : numbers.shape[1]]
    return np.asarray(values, dtype=np.float32)[numbers] * whole


def bits_each(shape, size=GROUP, number=4, scale=16):
    """Bits for each number of a matrix (rows, columns): its own and its part of the scale.

    >>> bits_each((100, 64))
    4.5
    """
    rows, columns = shape
    return number + scale * -(-columns // size) / columns
