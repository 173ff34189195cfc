"""Pruning: which weights of a classifier may go, and what that leaves."""

import torch
from torch import nn
from torch.nn.utils import prune


def magnitude_mask(weight, share):
    """Which weights stay when the `share` with the smallest absolute values goes: a bool tensor of weight's shape.

    Exactly round(share * n) of the n weights go; of equal ones, those that come first row by row.
    Source: Han et al., 2015, *Learning both weights and connections for efficient neural networks*, section 3.

    >>> magnitude_mask(torch.tensor([[0.5, -0.1], [0.2, -3.0]]), 0.5).tolist()
    [[True, False], [False, True]]
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} must lie between 0 and 1")
    order = weight.detach().abs().flatten().argsort(stable=True)
    keep = torch.ones(weight.numel(), dtype=torch.bool, device=weight.device)
    keep[order[: round(share * weight.numel())]] = False
    return keep.reshape(weight.shape)


def encoder_linears(model):
    """The linear layers of the encoder, by name: where the computing happens (head and embeddings are not among them)."""
    return {name: module for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and name.startswith("bert.encoder.")}


def prune_model(model, share, scope="layer", seed=0):
    """Set a share of the encoder's weights to 0, in place, and hold them there during training; returns the model.

    scope: "layer", the smallest of each matrix; "global", the smallest of all matrices together; "random", any (the
    baseline). `finish_pruning` makes the zeros plain weights again.
    """
    layers = list(encoder_linears(model).values())
    weights = [layer.weight for layer in layers]
    if scope == "layer":
        masks = [magnitude_mask(weight, share) for weight in weights]
    elif scope == "global":
        flat = magnitude_mask(torch.cat([weight.flatten() for weight in weights]), share)
        masks = [part.reshape(w.shape) for part, w in zip(flat.split([w.numel() for w in weights]), weights, strict=True)]
    elif scope == "random":
        generator = torch.Generator().manual_seed(seed)
        masks = [magnitude_mask(torch.rand(weight.shape, generator=generator), share) for weight in weights]
    else:
        raise ValueError(f"scope={scope!r}: use 'layer', 'global' or 'random'")
    for layer, mask in zip(layers, masks, strict=True):
        prune.custom_from_mask(layer, "weight", mask)
    return model


def finish_pruning(model):
    """Make the zeros of `prune_model` plain weights, in place; returns the model."""
    for layer in encoder_linears(model).values():
        if prune.is_pruned(layer):
            prune.remove(layer, "weight")
    return model


def zero_share(model):
    """Share of the encoder's matrix entries that are 0."""
    weights = [layer.weight for layer in encoder_linears(model).values()]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
