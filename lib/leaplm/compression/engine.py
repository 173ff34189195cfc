"""From a file that a lab saved to something that predicts. Whatever is wrong with the file is said before a port opens."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from leaplm import artifacts
from leaplm.compression.checkpoint import check_labels, load_compressed
from leaplm.compression.quantization import quantize_dynamic
from leaplm.data import DynamicPaddingCollator
from leaplm.evaluation import log_softmax
from leaplm.locales import say
from leaplm.models import load_sequence_classifier, load_tokenizer
from leaplm.peft import lora
from leaplm.runtime import free_memory, processors, quiet

ENGINES = ("torch", "torch-int8", "onnx", "onnx-int8")
MAX_TOKENS = 128  # what a text is cut at, as in training
LORA_PLACES = {"query", "key", "value", "dense"}


class Engine:
    """Texts -> probabilities (n, classes). `labels` are the class names, `card` what the file says of itself.

    forward: input_ids, attention_mask (batch, tokens) tensors -> logits (batch, classes).
    """

    def __init__(self, forward, tokenizer, labels, card, name="torch"):
        self.forward, self.tokenizer, self.labels, self.card, self.name = forward, tokenizer, labels, card, name
        self.collate = DynamicPaddingCollator(tokenizer.pad_token_id)

    def predict(self, texts):
        """Probabilities (n, classes) as an array; one pass through the model."""
        ids = self.tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"]
        batch = self.collate([{"input_ids": row} for row in ids])
        return np.exp(log_softmax(np.asarray(self.forward(batch["input_ids"], batch["attention_mask"]))))


def load_engine(path, engine="torch", threads=None):
    """The Engine of a file that lab 2, 3, 5 or 8 saved. Raises FileNotFoundError, or a ValueError that says what is wrong.

    engine: one of ENGINES. "torch" gives the scores of the labs; the 8-bit ones are faster and differ a little.
    threads: cores that one prediction may use (None: all).
    """
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: use one of {', '.join(ENGINES)}")
    card, model, tokenizer = load_classifier(path)
    torch.set_num_threads(threads or min(torch.get_num_threads(), processors()))
    if engine.startswith("onnx"):
        model = None  # it was only a test of the file
        free_memory()
        forward = load_exported(path, engine == "onnx-int8", threads)
    else:
        forward = make_forward(model, engine)
    made = Engine(forward, tokenizer, card["labels"], card, engine)
    made.predict(["warm up", "the first call is slow, and a model that cannot compute should not open a port"])
    return made


def load_exported(path, int8=False, threads=None):
    """The OnnxClassifier of a file that a lab saved; another process exports it, whose memory is then free again."""
    from leaplm.compression.onnx import OnnxClassifier

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "leaplm.compression.export", str(path), folder, *(["--int8"] if int8 else [])]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(say("{path} could not be exported: {problem}", path=path,
                                 problem=(done.stderr.strip().splitlines() or ["?"])[-1]))  # fmt: skip
        return OnnxClassifier(Path(folder) / "model.onnx", threads)


def load_classifier(path):
    """(card, model, tokenizer) from a file of lab 2, 3, 5 or 8."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(say("{path} does not exist (looked in {folder}): give the file that the lab saved, such as "
                                    "`artifacts/sentiment-cpu.safetensors`", path=path, folder=Path.cwd()))  # fmt: skip
    try:
        card, tensors = artifacts.read_artifact(path)
        if card.get("format") == "compressed":
            return load_compressed(path)
        check_labels(card.get("labels"))
        quiet()
        model = load_sequence_classifier(card["labels"])
        if "lora" in card:
            add_lora(model, card["lora"])
        if "classifier.weight" not in tensors:
            raise ValueError(say("it has no trained head, `classifier.weight`"))
        return card, artifacts.apply_artifact(model, tensors).eval(), load_tokenizer()
    except ValueError as error:
        raise ValueError(say("{path} cannot be served: {problem}. Classifiers of lab 2, 3, 5, 8 and 16 can be.", path=path,
                             problem=error)) from None  # fmt: skip


def add_lora(model, settings):
    """LoRA layers as the card describes them, with B at zero."""
    if not isinstance(settings, dict) or {"targets", "rank", "alpha"} - set(settings):
        raise ValueError(say("its card should say where LoRA stands: `targets`, `rank` and `alpha`"))
    targets, rank, alpha = (settings[name] for name in ("targets", "rank", "alpha"))
    if not (isinstance(targets, list) and targets and set(targets) <= LORA_PLACES):
        raise ValueError(say("its card should name `targets` among {names}", names=", ".join(sorted(LORA_PLACES))))
    if type(rank) is not int or not 1 <= rank <= lora.MAX_RANK or not isinstance(alpha, (int, float)) or not alpha > 0:
        raise ValueError(say("its card should have a `rank` from 1 to {most} and an `alpha` above 0", most=lora.MAX_RANK))
    return lora.inject_lora(model, targets, rank, alpha)


def make_forward(model, engine="torch"):
    """The function (input_ids, attention_mask) -> logits of "torch" or "torch-int8"."""
    model = lora.merge_model(model)
    model = quantize_dynamic(model) if engine == "torch-int8" else model

    def forward(input_ids, attention_mask):
        with torch.inference_mode():
            return model(input_ids=input_ids, attention_mask=attention_mask).logits.numpy()
    return forward
