"""Smaller classifiers: pruning, 8-bit numbers, a vocabulary cut to a language, and a student that learns from a teacher.

Each function makes one thing smaller and leaves the rest alone, so that its price can be measured by itself.
"""

import copy
import json

import torch
from torch import nn
from torch.nn.utils import prune

from leaplm.evaluation import predict_logits

LEVELS = 127  # 8-bit numbers from -127 to 127: symmetric, so that 0 stays 0

# -- pruning --------------------------------------------------------------------------------------------------------------


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


# -- 8-bit numbers --------------------------------------------------------------------------------------------------------


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
    import warnings

    import torch.ao.quantization as quantization

    with warnings.catch_warnings():  # it announces its move to another package
        warnings.simplefilter("ignore")
        return quantization.quantize_dynamic(copy.deepcopy(model).eval(), {nn.Linear}, dtype=torch.qint8)


# -- a vocabulary cut to a language -----------------------------------------------------------------------------------------


def used_pieces(tokenizer, texts, at_least=1):
    """Ids (sorted list) of the pieces to keep: those that `texts` use `at_least` times, special ones, single letters.

    Single characters that the kept pieces are made of stay too, at the beginning and inside of words, so that a new word
    of known letters still has pieces.
    """
    counts = torch.bincount(torch.tensor([i for ids in tokenizer(list(texts))["input_ids"] for i in ids]),
                            minlength=len(tokenizer))
    kept = set(torch.nonzero(counts >= at_least).flatten().tolist()) | set(tokenizer.all_special_ids)
    vocabulary = tokenizer.get_vocab()
    letters = {letter for piece in tokenizer.convert_ids_to_tokens(sorted(kept)) for letter in piece.removeprefix("##")}
    letters |= set("abcdefghijklmnopqrstuvwxyz0123456789.,!?'-")
    single = {vocabulary[piece] for letter in letters for piece in (letter, f"##{letter}") if piece in vocabulary}
    return sorted(kept | single)


def trim_tokenizer(tokenizer, kept):
    """The WordPiece tokenizer with only the pieces `kept` (ids, sorted), numbered anew in that order.

    A word whose piece is gone is cut into smaller ones. Raises ValueError if a special token is not kept.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    new = {old: number for number, old in enumerate(kept)}
    if missing := [tokenizer.convert_ids_to_tokens(i) for i in tokenizer.all_special_ids if i not in new]:
        raise ValueError(f"the special tokens {', '.join(missing)} must be kept")
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["model"]["vocab"] = {piece: new[i] for piece, i in content["model"]["vocab"].items() if i in new}
    content["added_tokens"] = [{**token, "id": new[token["id"]]} for token in content["added_tokens"] if token["id"] in new]
    for special in content["post_processor"]["special_tokens"].values():
        special["ids"] = [new[i] for i in special["ids"]]
    content["truncation"] = content["padding"] = None
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)),
                                   model_max_length=tokenizer.model_max_length,
                                   **{name: getattr(tokenizer, name) for name in names})


def trim_embeddings(model, kept):
    """A copy of a classifier whose word vectors are only those of the pieces `kept` (ids), in that order."""
    model = copy.deepcopy(model)
    old = model.get_input_embeddings()
    model.set_input_embeddings(nn.Embedding.from_pretrained(old.weight.detach()[list(kept)].clone(), freeze=False,
                                                            padding_idx=old.padding_idx))
    model.config.vocab_size = len(kept)
    return model


# -- distillation -----------------------------------------------------------------------------------------------------------


def distillation_loss(student_logits, teacher_logits, labels, temperature=2.0, weight=0.9):
    """weight * T^2 * KL(teacher || student) + (1 - weight) * cross-entropy with the labels, a mean over the texts, in nats.

    student_logits, teacher_logits (batch, classes), labels (batch,). Both distributions in the first part are softened:
    softmax(logits / T). T^2 keeps its gradients as large as those of the second part.
    Source: Hinton et al., 2015, *Distilling the knowledge in a neural network*, section 2.

    >>> same = torch.tensor([[2.0, 0.0]])
    >>> float(distillation_loss(same, same, torch.tensor([0]), weight=1.0))
    0.0
    """
    ours, theirs = ((logits / temperature).log_softmax(dim=-1) for logits in (student_logits, teacher_logits))
    soft = nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    hard = nn.functional.cross_entropy(student_logits, labels)
    return weight * temperature**2 * soft + (1 - weight) * hard


def make_student(model, layers=(0, 2, 4)):
    """A copy of a classifier with only these of its encoder's layers (numbers from 0).

    Source: Sanh et al., 2019, *DistilBERT*, section 3 (every second layer).
    """
    depth = len(model.bert.encoder.layer)
    if not layers or not set(layers) <= set(range(depth)):
        raise ValueError(f"layers={tuple(layers)} must be numbers from 0 to {depth - 1}")
    student = copy.deepcopy(model)
    student.bert.encoder.layer = nn.ModuleList([student.bert.encoder.layer[i] for i in layers])
    student.config.num_hidden_layers = len(layers)
    return student


def with_teacher(rows, teacher, collate_fn):
    """The rows, each with the teacher's logits; a row without a label gets the teacher's answer as its label."""
    logits = predict_logits(teacher, rows, collate_fn)
    return [{"label": int(scores.argmax()), **row, "teacher_logits": scores}
            for row, scores in zip(rows, logits, strict=True)]


class TeacherCollator:
    """A collator that also gives the teacher's logits (batch, classes)."""

    def __init__(self, collate_fn):
        self.collate_fn = collate_fn

    def __call__(self, rows):
        logits = torch.stack([torch.as_tensor(row["teacher_logits"]) for row in rows])
        return {**self.collate_fn(rows), "teacher_logits": logits}


def distillation_objective(temperature=2.0, weight=0.9):
    """`distillation_loss` in the form that `training.train` takes: (model, batch) -> (loss, number of texts)."""
    def objective(model, batch):
        teacher = batch["teacher_logits"]
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return distillation_loss(logits, teacher, batch["labels"], temperature, weight), len(teacher)
    return objective
