"""Graded results as small safetensors files: only what training changed, and a card that says how it came about.

A tensor that still equals the reference model's is left out. A tensor of which only some rows changed (an embedding
matrix: most tokens never occur in a small data set) is stored as those rows. Values are 16-bit floats.
"""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load, save

from leaplm.locales import say
from leaplm.plain_json import read_json
from leaplm.whole_file import write_whole

CARD = "leaplm_card"
ROWS = "::rows"  # suffix of the row numbers of a tensor stored in part
MOST_ROWS = 0.7  # above this share of changed rows, the whole tensor is stored
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # that a weight may be stored as
MOST_HEADER = 4 << 20  # bytes: names, shapes and the card


def changed_tensors(model, reference):
    """What `model` has that `reference` (the same architecture before training; None: nothing) has not, ready to store."""
    before, stored = reference.state_dict() if reference is not None else {}, {}
    for name, value in model.state_dict().items():
        value, old = value.detach().cpu(), before[name].cpu() if name in before else None
        if old is None or old.shape != value.shape:
            stored[name] = half(value)
        elif not torch.equal(old, value):
            rows = (old != value).reshape(len(value), -1).any(dim=1).nonzero().flatten() if value.ndim == 2 else None
            if rows is not None and len(rows) < MOST_ROWS * len(value):
                stored[name], stored[name + ROWS] = half(value[rows]), rows.to(torch.int32)
            else:
                stored[name] = half(value)
    return stored


def half(tensor):
    return (tensor.half() if tensor.is_floating_point() else tensor).contiguous()


def save_artifact(path, model, reference, card):
    """Write what training changed in `model` to `path` (safetensors) and return its size in MB.

    card: a dict that JSON can hold, e.g. language, scale, seed, history. The file is whole or not there at all. A file of
    another language or model that has this name is kept under another one, and this is said.
    """
    content = pack(changed_tensors(model, reference), card)
    keep_another(Path(path), card)
    write_whole(path, content)
    return len(content) / 1e6


def pack(tensors, card):
    """The bytes of an artifact: {name: tensor} as they are, and a dict that JSON can hold. `read_artifact` gives both back.

    >>> card, tensors = read_artifact(pack({"bias": torch.ones(2)}, {"rank": 8}))
    >>> card, tensors["bias"].tolist()
    ({'rank': 8}, [1.0, 1.0])
    """
    return save(tensors, metadata={CARD: json.dumps(card)})


def keep_another(path, card):
    """Gives a file of another language or model than the card's a name of its own, before its place is taken."""
    try:
        old = read_artifact(path)[0] if path.is_file() else card
    except ValueError:
        return  # cut off or of another kind: it could not be marked
    differing = [str(old[name]) for name in ("language", "model") if old.get(name) != card.get(name) and old.get(name)]
    if differing:
        mark = re.sub(r"\W+", "_", "-".join(differing))
        kept = path.with_name(f"{path.stem}-{mark}{path.suffix}")
        path.replace(kept)
        print(say("{file} was of {what}. It is now {kept}. Only {file} is marked: to hand in the earlier one, give it that "
                  "name again.", file=path.name, what=", ".join(differing), kept=kept.name))


def read_artifact(content):
    """(card, tensors) of an artifact given as bytes or path. Raises ValueError if it is not one."""
    if not isinstance(content, bytes):
        content = Path(content).read_bytes()
    try:
        length = int.from_bytes(content[:8], "little")
        if length > MOST_HEADER:
            raise ValueError(f"its header says that it has {length:,} bytes; at most {MOST_HEADER:,} are possible")
        card = read_json(read_json(content[8 : 8 + length])["__metadata__"][CARD])
        tensors = load(content)
    except Exception as error:  # safetensors raises its own type, and the header may hold anything
        raise ValueError(f"this is not an artifact that save_artifact wrote (`{error}`)") from None
    if not isinstance(card, dict):
        raise ValueError("the artifact's card is not a dict")
    return card, tensors


def apply_artifact(model, tensors):
    """Put an artifact's tensors into `model` (the reference architecture), in place; returns the model.

    Raises ValueError for a name, a shape or a kind of numbers that the model has not, rows that do not exist, or values that
    are not finite.
    """
    state = model.state_dict()
    for name, value in tensors.items():
        if name.endswith(ROWS):
            if name.removesuffix(ROWS) not in tensors:
                raise ValueError(f"the artifact has {name!r}, but not the tensor that it belongs to")
            continue
        if name not in state:
            raise ValueError(f"the artifact has a tensor {name!r} that this model has not")
        if state[name].is_floating_point() and value.dtype not in FLOATS:
            raise ValueError(f"tensor {name!r} holds {value.dtype}, not numbers of 16, 32 or 64 bits with a fraction")
        if not torch.isfinite(value).all():
            raise ValueError(f"tensor {name!r} has values that are not finite")
        target, rows = state[name], tensors.get(name + ROWS)
        if rows is not None and (rows.ndim != 1 or rows.is_floating_point() or len(rows.unique()) < len(rows)):
            raise ValueError(f"tensor {name!r} should have row numbers in one dimension, each once")
        expected = target.shape if rows is None else (len(rows), *target.shape[1:])
        if tuple(value.shape) != tuple(expected):
            raise ValueError(f"tensor {name!r} has shape {tuple(value.shape)}, not {tuple(expected)}")
        if rows is None:
            target.copy_(value)
            continue
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(target):
            raise ValueError(f"tensor {name!r} has row numbers outside 0..{len(target) - 1}")
        target[rows.long()] = value.to(target.dtype)
    return model
