"""A whole compressed classifier in one safetensors file, which is read without running anything of its maker's.

Matrices are 8-bit numbers with a 32-bit scale a row (`name` and `name::scale`), vectors are 16-bit. `vocabulary` holds the
rows of MiniLM's vocabulary that were kept; the card says how many layers there are, and the classes. Shape and tokenizer
come from the reader's own MiniLM. Matrices stored as floating-point numbers are read too.
"""

import json

import torch
from safetensors.torch import save
from transformers import AutoConfig

from leaplm.artifacts import CARD, FLOATS, read_artifact
from leaplm.compression.quantization import dequantize, quantize_int8
from leaplm.compression.vocabulary import trim_tokenizer
from leaplm.models import MeanPoolClassifier, load_tokenizer, model_folder
from leaplm.runtime import quiet
from leaplm.whole_file import write_whole

SCALE, VOCABULARY = "::scale", "vocabulary"
MOST_LAYERS, MOST_CLASSES = 6, 100


def pack(model, kept):
    """The tensors of the file: a dict by name."""
    stored = {VOCABULARY: torch.tensor(list(kept), dtype=torch.int32)}
    for name, value in model.state_dict().items():
        value = value.detach().cpu()
        if value.ndim == 2:
            stored[name], stored[name + SCALE] = quantize_int8(value)
        elif value.is_floating_point():
            stored[name] = value.half().contiguous()
    return stored


def save_compressed(path, model, kept, card):
    """Write a classifier (MiniLM's shape, fewer layers or pieces) to `path` and return the size in MB.

    kept: ids of the pieces that the rows of its word vectors stand for, in order. card: a dict with `labels` and
    `language`. The file is whole or not there at all.
    """
    card = {**card, "format": "compressed", "layers": len(model.bert.encoder.layer)}
    content = save(pack(model, kept), metadata={CARD: json.dumps(card)})
    write_whole(path, content)
    return len(content) / 1e6


def load_compressed(content):
    """(card, model, tokenizer) of a file that `save_compressed` wrote, given as bytes or path; evaluation mode, 32-bit.

    Raises ValueError that says what is wrong with the file.
    """
    card, tensors = read_artifact(content)
    kept, labels, layers = tensors.pop(VOCABULARY, None), card.get("labels"), card.get("layers")
    check_labels(labels)
    if type(layers) is not int or not 1 <= layers <= MOST_LAYERS:
        raise ValueError(f"the card should say how many layers there are, from 1 to {MOST_LAYERS}")
    quiet()
    tokenizer = load_tokenizer()
    kept = check_vocabulary(kept, len(tokenizer))
    config = AutoConfig.from_pretrained(model_folder("minilm"), num_labels=len(labels), num_hidden_layers=layers,
                                        vocab_size=len(kept), id2label=dict(enumerate(labels)),
                                        label2id={word: i for i, word in enumerate(labels)})
    with torch.random.fork_rng(devices=[]):  # the weights that are drawn here are all replaced
        model = MeanPoolClassifier(config)
    return card, unpack(model, tensors).eval(), trim_tokenizer(tokenizer, kept)


def check_labels(labels):
    """ValueError unless `labels` is a list of at least two different words."""
    if not (isinstance(labels, list) and 2 <= len(labels) <= MOST_CLASSES and all(isinstance(w, str) for w in labels)
            and len(set(labels)) == len(labels)):
        raise ValueError("the card should name the classes: a list `labels` of at least two different words")


def check_vocabulary(kept, size):
    """The kept ids as a sorted list; ValueError if the tensor is not one of `size` possible ids, each once, in order."""
    if kept is None or kept.ndim != 1 or kept.is_floating_point() or not len(kept):
        raise ValueError("the file should hold `vocabulary`, the rows of MiniLM's vocabulary that were kept")
    ids = kept.tolist()
    if ids != sorted(set(ids)) or not 0 <= ids[0] <= ids[-1] < size:
        raise ValueError(f"`vocabulary` should hold ids from 0 to {size - 1}, each once, in order")
    return ids


def unpack(model, tensors):
    """Put a file's tensors into a model of the right shape, in place; every parameter must be there, and nothing else."""
    state = model.state_dict()
    wanted = {name for name, value in state.items() if value.is_floating_point()}
    found = {name for name in tensors if not name.endswith(SCALE)}
    if odd := sorted(wanted ^ found):
        raise ValueError(f"the file lacks or should not have the tensor {odd[0]!r}")
    for name in sorted(found):
        value, scales = tensors[name], tensors.get(name + SCALE)
        if tuple(value.shape) != tuple(state[name].shape):
            raise ValueError(f"tensor {name!r} has shape {tuple(value.shape)}, not {tuple(state[name].shape)}")
        if value.dtype not in FLOATS:
            fits = scales is not None and tuple(scales.shape) == tuple(value.shape[:1]) and scales.dtype in FLOATS
            if value.dtype != torch.int8 or not fits:
                raise ValueError(f"tensor {name!r} should be 8-bit whole numbers with a scale for each row")
            value = dequantize(value, scales)
        if not torch.isfinite(value).all():
            raise ValueError(f"tensor {name!r} has values that are not finite")
        state[name].copy_(value)
    return model
