"""The studies of lab 1: `make calibrate LAB=lab1_pretraining` runs them; marks rest on `from_nothing`."""

import copy
import functools
import time

import numpy as np
from leaplm import evaluation, models
from leaplm.assets import store
from leaplm.calibration import study
from leaplm.data import (
    MARKED,
    DynamicPaddingCollator,
    heldout_rows,
    load_corpus,
    load_sentiment,
    sentence_pairs,
    subsample,
    tokenize,
)
from leaplm.pretraining import run as pretrain
from leaplm.pretraining.masking import MaskingCollator
from leaplm.pretraining.probe import probe
from leaplm.runtime import set_seed
from leaplm.tokens import tokenization
from leaplm.training import TrainingConfig, train

LANGUAGES = ("eng", "hau", "swa")
ADAPTED = ("eng", "hau")
NEW = {"learning_rate": 2e-3, "batch_size": 32, "max_steps": 800}
MASK_RATE = 0.3  # of the small model in training; every loss is measured at 0.15
ADAPT = {"learning_rate": 3e-4, "batch_size": 16, "max_steps": 100}


@functools.cache
def corpus(language):
    return {part: list(rows["text"]) for part, rows in load_corpus(language).items()}


@functools.cache
def own_tokenizer(language, vocab_size=2048):
    return tokenization.train_wordpiece(corpus(language)["train"], vocab_size)


def collator(tokenizer):
    return MaskingCollator(tokenizer, DynamicPaddingCollator(tokenizer.pad_token_id))


def frequencies_of(language, tokenizer):
    rows = pretrain.tokenize_texts(corpus(language)["train"], tokenizer)
    return evaluation.log_frequencies(rows, len(tokenizer), tokenizer.all_special_ids)


def measure(model, tokenizer, language, part="validation"):
    """Loss per hidden token on texts that the model has not read, beside the unigram entropy."""
    texts = heldout_rows(language)["text"] if part == "heldout" else corpus(language)[part]
    blocks = [pretrain.blocks(some, tokenizer, 64) for some in (corpus(language)["train"], texts)]
    return {"loss": evaluation.masked_lm_loss(model, blocks[1], collator(tokenizer)),
            "unigram": evaluation.unigram_entropy(*blocks, len(tokenizer), tokenizer.all_special_ids)}


def word_loss(model, tokenizer, language):
    """Loss per hidden word, of words that are one piece to both vocabularies."""
    both = (own_tokenizer(language), models.load_tokenizer())
    losses = evaluation.masked_word_losses(model, tokenizer, corpus(language)["test"][:300], whole_in=both)
    return {"test_word_loss": float(losses.mean()), "words": len(losses)}


def pretrained(start, language, seed, config, mask_rate=0.15):
    """(model, tokenizer, seconds of processor time) of one pretraining run."""
    texts = corpus(language)["train"]
    set_seed(seed)
    model, tokenizer = pretrain.start_model(start, texts)
    started = time.process_time()
    config = TrainingConfig(**config, seed=seed, progress=False)
    pretrain.pretrain(model, tokenizer, texts, [], config, mask_rate=mask_rate)
    return model, tokenizer, round(time.process_time() - started)


# -- section 2 ----------------------------------------------------------------------------------------------------------


@study([{"language": language, "tokenizer": kind} for kind in ("MiniLM", "own") for language in MARKED], seeds=range(1))
def fertility(seed, language, tokenizer):
    """Tokens per word on test texts, of MiniLM's tokenizer and of one trained on the language's own texts."""
    texts = corpus(language)["test"]
    some = models.load_tokenizer() if tokenizer == "MiniLM" else own_tokenizer(language)
    return {"fertility": tokenization.fertility(some, texts), "unknown": tokenization.unknown_share(some, texts)}


# -- sections 7 and 8 -----------------------------------------------------------------------------------------------------


@study([{"language": language, "start": start} for language in LANGUAGES
        for start in ("frequencies, 2,048 pieces", "frequencies, 30,522 pieces")], seeds=range(1))
def frequencies(seed, language, start):
    """The guess without context, with each vocabulary, on the words of `word_loss`."""
    both = {"frequencies, 2,048 pieces": own_tokenizer(language), "frequencies, 30,522 pieces": models.load_tokenizer()}
    tokenizer, texts = both[start], corpus(language)["test"][:300]
    table = frequencies_of(language, tokenizer)
    losses = evaluation.unigram_word_losses(table, tokenizer, texts, whole_in=tuple(both.values()))
    return {"test_word_loss": float(losses.mean())}


@study([{"language": language, "start": "from nothing"} for language in MARKED], seeds=range(5))
def from_nothing(seed, language, start):
    """The lab's small model (section 7), and what it gains over the frequencies on the grader's texts."""
    model, tokenizer, seconds = pretrained("new", language, seed, NEW, MASK_RATE)
    heldout = measure(model, tokenizer, language, "heldout")
    return {**measure(model, tokenizer, language), **word_loss(model, tokenizer, language),
            "heldout_gain": heldout["unigram"] - heldout["loss"], "cpu_seconds": seconds}


def adapted_encoder(language, seed):
    """The folder of MiniLM adapted to a language as in section 8, made once per seed."""
    folder = store() / "studies" / f"lab1-minilm-{language}-{seed}"
    if not (folder / "pretraining.json").is_file():
        model, tokenizer, seconds = pretrained("minilm", language, seed, ADAPT)
        pretrain.save(model, tokenizer, folder, {"cpu_seconds": seconds})
    return str(folder)


@study([{"language": language, "start": "MiniLM, adapted"} for language in ADAPTED], seeds=range(3))
def adapted(seed, language, start):
    """MiniLM after the same guessing game on the language's texts (section 8)."""
    folder = adapted_encoder(language, seed)
    model, tokenizer = models.load_masked_lm(folder), models.load_tokenizer(folder)
    return {**measure(model, tokenizer, language), **word_loss(model, tokenizer, language)}


BEST = {"vocab_size": 2048, "layers": 2, "width": 128, "learning_rate": 3e-3, "batch_size": 32, "mask_rate": 0.15,
        "bias": "frequencies"}
CHANGES = ({}, {"vocab_size": 1024}, {"vocab_size": 8192}, {"layers": 1}, {"layers": 4}, {"width": 64}, {"width": 256},
           {"learning_rate": 1e-3}, {"learning_rate": 1e-2}, {"batch_size": 8}, {"mask_rate": 0.3}, {"bias": "zero"},
           {"learning_rate": 2e-3, "mask_rate": 0.3}, {"learning_rate": 1e-3, "batch_size": 8})


@study([{**BEST, **change} for change in CHANGES], seeds=range(1))
def tried(seed, vocab_size, layers, width, learning_rate, batch_size, mask_rate, bias, budget=60):
    """One factor at a time, each with the same `budget` of processor seconds, English."""
    texts = corpus("eng")["train"]
    set_seed(seed)
    model, tokenizer = pretrain.start_model("new", texts, vocab_size, layers=layers, width=width)
    if bias == "zero":
        models.set_output_bias(model, [0.0] * len(tokenizer))
    updates = round(budget / seconds_per_update(model, tokenizer, texts[:500], batch_size, mask_rate))
    config = TrainingConfig(learning_rate=learning_rate, batch_size=batch_size, max_steps=updates, seed=seed, progress=False)
    pretrain.pretrain(model, tokenizer, texts, [], config, mask_rate=mask_rate)
    return {"updates": updates, **measure(model, tokenizer, "eng")}


def seconds_per_update(model, tokenizer, texts, batch_size, mask_rate, updates=8):
    """Processor seconds of one update, on a copy of the model."""
    config = TrainingConfig(batch_size=batch_size, max_steps=updates, progress=False)
    trial, started = copy.deepcopy(model), time.process_time()
    pretrain.pretrain(trial, tokenizer, texts, [], config, mask_rate=mask_rate)
    return (time.process_time() - started) / updates


# -- section 10 -----------------------------------------------------------------------------------------------------------


@study([{"model": name} for name in ("small, hidden words only", "small, both tasks")], seeds=range(3))
def next_sentence(seed, model):
    """The same pairs with and without the second task."""
    texts, both, tokenizer = corpus("eng"), "both" in model, own_tokenizer("eng")
    set_seed(seed)
    network = models.new_bert(tokenizer, next_sentence=both, log_frequencies=frequencies_of("eng", tokenizer))
    rows = tokenization.encode_pairs(sentence_pairs(texts["train"], seed), tokenizer)
    if not both:
        rows = [{"input_ids": row["input_ids"]} for row in rows]
    config = TrainingConfig(learning_rate=2e-3, batch_size=32, max_steps=400, seed=seed, progress=False)
    train(network, rows, collator(tokenizer), config)
    test = tokenization.encode_pairs(sentence_pairs(texts["validation"], seed), tokenizer)
    found = {"nsp_accuracy": pretrain.next_sentence_accuracy(network, test, tokenizer)} if both else {}
    return {**found, "loss": hidden_token_loss(network, texts["validation"], tokenizer)}


@study([{"model": "MiniLM, second task only"}], seeds=range(3))
def pairs_with_minilm(seed, model):
    """Whether a pretrained encoder can tell if the second part follows (section 10)."""
    texts, tokenizer = corpus("eng"), models.load_tokenizer()
    train_rows, test_rows = (tokenization.encode_pairs(sentence_pairs(texts[part], seed), tokenizer)
                             for part in ("train", "validation"))
    set_seed(seed)
    network = models.load_sequence_classifier(["does not follow", "follows"], freeze="embeddings")
    collate = DynamicPaddingCollator(tokenizer.pad_token_id)
    train(network, train_rows, collate, TrainingConfig(learning_rate=1e-4, max_steps=200, seed=seed, progress=False))
    return {"nsp_accuracy": evaluation.evaluate(network, test_rows, collate)["accuracy"]}


def hidden_token_loss(network, texts, tokenizer):
    """Loss per hidden token of single texts, by the vocabulary head alone."""
    rows = pretrain.tokenize_texts(texts, tokenizer, 64)
    return evaluation.masked_lm_loss(network, rows, collator(tokenizer))


# -- section 11 -----------------------------------------------------------------------------------------------------------


@study([{"texts": size} for size in (400, 2000, 12000)], seeds=range(3))
def data_size(seed, texts):
    """The same number of updates on more and more different texts."""
    tokenizer, every = own_tokenizer("eng"), corpus("eng")["train"]
    chosen = [every[int(i)] for i in np.random.default_rng(seed).permutation(len(every))[:texts]]
    set_seed(seed)
    model = models.new_bert(tokenizer, log_frequencies=frequencies_of("eng", tokenizer))
    config = TrainingConfig(**{**NEW, "max_steps": 400}, seed=seed, progress=False)
    pretrain.pretrain(model, tokenizer, chosen, [], config, mask_rate=MASK_RATE)
    read = pretrain.blocks(chosen, tokenizer, 64)[:300]
    return {"train_loss": evaluation.masked_lm_loss(model, read, collator(tokenizer)), **measure(model, tokenizer, "eng")}


# -- section 12 -----------------------------------------------------------------------------------------------------------


@study([{"language": language, "start": start} for language in ADAPTED for start in ("MiniLM", "MiniLM, adapted")],
       seeds=range(3))
def lab2_gain(seed, language, start, labels=250):
    """Sentiment from few labels, from MiniLM as it comes and from the encoder of section 8 (lab 2's settings)."""
    dataset = load_sentiment(language)
    name = "minilm" if start == "MiniLM" else adapted_encoder(language, seed)
    rows, test = subsample(dataset["train"], labels, seed), subsample(dataset["test"], 600)
    tokenizer = models.load_tokenizer()
    collate = DynamicPaddingCollator(tokenizer.pad_token_id)
    english = language == "eng"
    set_seed(seed)
    model = models.load_sequence_classifier(dataset["train"].features["label"].names, name,
                                            freeze="embeddings" if english else None)
    config = TrainingConfig(learning_rate=1e-4, epochs=5, seed=seed, progress=False,
                            embedding_learning_rate=None if english else 1e-3)
    train(model, tokenize(rows, tokenizer), collate, config)
    return evaluation.evaluate(model, tokenize(test, tokenizer), collate)


@functools.lru_cache(maxsize=1)
def small_model(language, seed):
    """The lab's small model (section 7), and its tokenizer."""
    return pretrained("new", language, seed, NEW, MASK_RATE)[:2]


PROBED = ("TF-IDF, characters", "small, random weights", "small, from nothing", "MiniLM")


@study([{"language": language, "start": start} for language in ADAPTED for start in PROBED], seeds=range(2))
def linear_probe(seed, language, start, labels=1000):
    """Lab 2's sentiment by a linear head on vectors that do not learn; TF-IDF on the same rows beside it."""
    dataset = load_sentiment(language)
    rows, test = subsample(dataset["train"], labels, seed), subsample(dataset["test"], 1000)
    if start == "TF-IDF, characters":
        predictions = evaluation.tfidf_baseline(rows, test, "characters")
    else:
        predictions = probe(*encoder_of(start, language, seed), rows, test)
    majority = evaluation.majority_baseline(rows["label"], test["label"])
    return {"accuracy": evaluation.accuracy(test["label"], predictions),
            "macro_f1": evaluation.macro_f1(test["label"], predictions),
            "majority_macro_f1": evaluation.macro_f1(test["label"], majority)}


def encoder_of(start, language, seed):
    if start == "MiniLM":
        return models.load_encoder(), models.load_tokenizer()
    if start == "small, from nothing":
        model, tokenizer = small_model(language, seed)
        return model.bert, tokenizer
    set_seed(seed)
    return models.new_bert(own_tokenizer(language)).bert, own_tokenizer(language)
