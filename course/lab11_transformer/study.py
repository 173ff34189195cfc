"""The studies of lab 11: `make calibrate LAB=lab11_transformer` runs them; marks rest on `main`."""

import functools
import time

import numpy as np
from leaplm import models
from leaplm.calibration import study
from leaplm.data import heldout_rows, load_corpus
from leaplm.runtime import set_seed
from leaplm.tokens import tokenization
from leaplm.training import TrainingConfig
from leaplm.transformer import language_model as lm

LANGUAGES = ("eng", "hau", "swa")
VOCABULARY = 2048
SETTINGS = {"learning_rate": 3e-3, "batch_size": 8, "eval_steps": 100}
UPDATES = {"eng": 800, "hau": 400, "swa": 400}  # as in the lab: of a smaller corpus less is read
ORDERS = {"unigram": 1, "bigram": 2, "trigram": 3}


@functools.cache
def texts(language, part):
    """Training texts, 300 validation texts of all sources (as in the lab), or the grader's."""
    if part == "heldout":
        return list(heldout_rows(language)["text"])
    rows = load_corpus(language)["train" if part == "train" else "validation"].shuffle(seed=0)
    return list(rows["text"])[: None if part == "train" else 300]


@functools.cache
def tokenizer(language, vocab_size=VOCABULARY):
    return tokenization.train_byte_bpe(texts(language, "train"), vocab_size)


@functools.cache
def line(language, part, vocab_size=VOCABULARY):
    return lm.token_line(texts(language, part), tokenizer(language, vocab_size))


@functools.cache
def ngram_bits(language, part, order, vocab_size=VOCABULARY):
    """Bits per byte and nats per token of an n-gram model, its strength chosen on validation texts."""
    lines = [line(language, some, vocab_size) for some in ("train", "validation", part)]
    losses = lm.ngram_baseline(*lines, len(tokenizer(language, vocab_size)), order)
    return lm.line_bits_per_byte(losses, texts(language, part)), float(losses.mean())


def trained(language, seed, train_line, updates, width=128):
    """(model, processor seconds) of one run from nothing."""
    set_seed(seed)
    model = lm.new_causal_lm(len(tokenizer(language)), width=width)
    config = TrainingConfig(**SETTINGS, max_steps=updates, seed=seed, progress=False)
    started = time.process_time()
    lm.train_causal_lm(model, train_line, config, line(language, "validation"))
    return model, round(time.process_time() - started, 1)


@study([{"language": language} for language in LANGUAGES], seeds=range(5))
def main(seed, language):
    """What is handed in: the lab's model, in bits per byte of the grader's texts, beside n-gram models."""
    model, seconds = trained(language, seed, line(language, "train"), UPDATES[language])
    losses = lm.token_losses(model, line(language, "heldout"))
    valid = lm.token_losses(model, line(language, "validation"))
    found = {"heldout_bpb": lm.line_bits_per_byte(losses, texts(language, "heldout")),
             "validation_bpb": lm.line_bits_per_byte(valid, texts(language, "validation")),
             "validation_nats": float(valid.mean()), "cpu_seconds": seconds}
    for name, order in ORDERS.items():
        found[f"{name}_heldout_bpb"] = ngram_bits(language, "heldout", order)[0]
        found[f"{name}_bpb"], found[f"{name}_nats"] = ngram_bits(language, "validation", order)
    return found


@study([{"language": language} for language in LANGUAGES], seeds=range(1))
def smollm2(seed, language, some=60):
    """SmolLM2, which has read two trillion tokens of English, on the first validation texts."""
    model, known = models.load_causal_lm("smollm2"), models.load_tokenizer("smollm2")
    chosen = texts(language, "validation")[:some]
    ids = lm.token_line(chosen, known)
    losses = lm.token_losses(model, ids, block_size=256, batch_size=2)
    return {"bpb": lm.line_bits_per_byte(losses, chosen), "nats": float(losses.mean()),
            "tokens_per_byte": len(losses) / lm.count_bytes(chosen)}


@study([{"language": language, "vocabulary": size} for language in LANGUAGES for size in (300, 1024, 2048, 8192)],
       seeds=range(1))
def vocabularies(seed, language, vocabulary):
    """The same bigram rule over other tokens: perplexity per token and bits per byte do not tell the same."""
    bits, nats = ngram_bits(language, "validation", 2, vocabulary)
    return {"bpb": bits, "nats": nats, "perplexity": float(np.exp(nats))}


@study([{"width": width, "texts": size} for width in (32, 64, 128) for size in (750, 3000, 12000)], seeds=range(2))
def scaling(seed, width, texts, updates=200):
    """Size of the model against amount of text, English, the same number of updates and the same tokenizer."""
    every = globals()["texts"]("eng", "train")
    chosen = [every[int(i)] for i in np.random.default_rng(seed).permutation(len(every))[:texts]]
    ids = lm.token_line(chosen, tokenizer("eng"))
    model, seconds = trained("eng", seed, ids, updates, width)
    losses = lm.token_losses(model, line("eng", "validation"))
    read = lm.token_losses(model, ids[:8000])
    valid = globals()["texts"]("eng", "validation")
    return {"bpb": lm.line_bits_per_byte(losses, valid), "nats": float(losses.mean()), "read_nats": float(read.mean()),
            "weights": sum(p.numel() for p in model.parameters()), "cpu_seconds": seconds}
