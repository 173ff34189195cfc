"""A causal language model whose layers are rounded to 4 bits, and computed in 32: the price in quality alone."""

import numpy as np
import torch

from leaplm.small_machines.groups import NF4, dequantize_groups, quantize_groups


def layer_matrices(model):
    """(name, weight) of the matrices in the layers of a transformer, the word vectors left out."""
    return [(name, weight) for name, weight in model.named_parameters()
            if weight.ndim == 2 and "embed" not in name and "lm_head" not in name]


def round_layers(model, size=32, values=NF4):
    """Round the matrices of a model's layers as `quantize_groups` does, in place, and return it.

    size: numbers a group; None takes one scale a row.
    """
    with torch.no_grad():
        for _, weight in layer_matrices(model):
            table = weight.detach().float().numpy()
            group = size or table.shape[1]
            weight.copy_(torch.from_numpy(dequantize_groups(*quantize_groups(table, group, values), group, values)))
    return model


def round_as_gguf(model, kind="Q4_0"):
    """Round the same matrices as `gguf_file.write_gguf` does, and the word vectors as Q8_0, in place; returns the model."""
    import gguf

    names = {name for name, _ in layer_matrices(model)}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                stored = gguf.GGMLQuantizationType[kind if name in names else "Q8_0"]
                packed = gguf.quants.quantize(weight.detach().float().numpy(), stored)
                weight.copy_(torch.from_numpy(gguf.quants.dequantize(packed, stored)))
    return model


def megabytes(model, size=None, bits=4):
    """Size in MB of a file with the layers' matrices in `bits` bits and a 16-bit scale a group of `size` (None: no scales),
    word vectors in 8 bits and groups of 32, all else in 32."""
    names = {name for name, _ in layer_matrices(model)}
    total = 0.0
    for name, weight in model.named_parameters():
        if name in names:
            total += weight.numel() * bits + (16 * weight.shape[0] * -(-weight.shape[1] // size) if size else 0)
        else:
            total += weight.numel() * (8.5 if weight.ndim == 2 else 32)
    return total / 8e6


def sentence_bits(model, tokenizer, texts):
    """(bits (n,), bytes (n,)): what a causal language model needs to guess each text from its beginning, and its length.

    Their sums give bits per byte (see `transformer.language_model.bits_per_byte`); by text, so that two models can be
    compared on the same ones.
    """
    bits = []
    for text in texts:
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]])
        with torch.inference_mode():
            nats = torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits[0].float(), ids[0, 1:], reduction="sum")
        bits.append(float(nats) / np.log(2))
    return np.array(bits), np.array([len(text.encode()) for text in texts])


def bits_change(first, second, sizes, rounds=1000, seed=0):
    """{"change", "low", "high"}: bits per byte of `second` minus those of `first` on the same texts, with its 95 % interval
    over texts. first, second, sizes: (n,) as `sentence_bits` gives them.

    >>> bits_change(np.array([8.0, 8.0]), np.array([9.0, 9.0]), np.array([4, 4]))
    {'change': 0.25, 'low': 0.25, 'high': 0.25}
    """
    first, second, sizes = (np.asarray(some, dtype=float) for some in (first, second, sizes))
    rows = np.random.default_rng(seed).integers(0, len(sizes), (rounds, len(sizes)))
    drawn = (second - first)[rows].sum(axis=1) / sizes[rows].sum(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"change": float((second - first).sum() / sizes.sum()), "low": float(low), "high": float(high)}
