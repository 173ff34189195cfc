"""A GGUF file turned once into a folder that `from_pretrained` opens in a second and that can be trained and saved."""

import contextlib
import errno
import functools
import os
import re
from pathlib import Path


def convert_gguf(folder: Path, target: Path) -> None:
    """Write the model and tokenizer of the one GGUF file in `folder` to `target` as a transformers folder.

    transformers marks a model read from GGUF as quantized and refuses to cast or save it, so its weights move into a
    fresh model of the same configuration. On disk they are bf16 (half the room); the configuration says float32, so
    that whoever does not ask otherwise computes in it: bf16 on a CPU is a hundred times slower.
    """
    from transformers import logging

    logging.disable_progress_bar()
    (gguf_file,) = folder.glob("*.gguf")
    with _read_once():
        _convert(folder, {"gguf_file": gguf_file.name, "local_files_only": True}, target)


def _convert(folder: Path, read: dict, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    quantized = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **read)
    config = quantized.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    weights = {name: weight.to(torch.bfloat16) for name, weight in quantized.state_dict().items()}
    generation_config = quantized.generation_config
    del quantized       # two fp32 copies at once would be too much for a machine with 2 GB
    model = LlamaForCausalLM.from_pretrained(None, config=config, state_dict=weights, dtype=torch.bfloat16)
    model.generation_config = generation_config
    _save(model, target)
    model.config.dtype = torch.float32
    model.config.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder, **read).save_pretrained(target)


@contextlib.contextmanager
def _read_once():
    """transformers reads the file anew for the configuration, the weights and the tokenizer, and lists the names of the
    tensors anew for each of its 397 modules: half of the time. And gguf cuts the names of all tokens, letter by letter, out
    of numpy's map of the file, which takes several times as long as an array does: a third of the rest."""
    import gguf
    import numpy as np

    class Reader(gguf.GGUFReader):
        def __setattr__(self, name, value):
            super().__setattr__(name, np.asarray(value) if name == "data" else value)

    usual = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, function in (usual | {"GGUFReader": Reader}).items():
        setattr(gguf, name, functools.cache(function))
    try:
        yield
    finally:
        for name, function in usual.items():
            setattr(gguf, name, function)


def _save(model, target: Path) -> None:
    from safetensors import SafetensorError

    try:
        model.save_pretrained(target)
    except SafetensorError as problem:      # it hides what the disk said; callers look for an OSError
        code = re.search(r"os error (\d+)", str(problem))
        number = int(code[1]) if code else errno.EIO
        raise OSError(number, os.strerror(number), str(target)) from problem
