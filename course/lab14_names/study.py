"""The studies of lab 14: `make calibrate LAB=lab14_names` runs them, the lab plots them, marks rest on `main`.

A seed draws four fifths of the training sentences, their order, and the fresh weights. Test sentences are all of the test
part (those of the grader in `main`). The encoder is MiniLM with its three top layers trained, AdamW, rate 5e-4, on 1,000
sentences in all, whatever their number; its share in the mixture is chosen on the development sentences.
"""

import functools
from pathlib import Path

import numpy as np
from leaplm import models, tagging
from leaplm.calibration import study
from leaplm.runtime import set_seed

LANGUAGES = tagging.LANGUAGES
HELDOUT = Path(__file__).with_name("heldout")
LAYERS, READ, RATE = 3, 1000, 5e-4


@functools.cache
def sentences(language):
    return tagging.load_tagged(language)


@functools.cache
def tokenizer():
    return models.load_tokenizer("minilm")


def drawn(language, seed, size=None):
    """Four fifths of the training sentences, or `size` of them."""
    train = sentences(language)["train"]
    return tagging.draw_tagged(train, size or len(train) * 4 // 5, seed)


def tags_of(language):
    return tagging.tag_names(sentences(language)["train"])


def words_of(rows):
    return [words for words, _ in rows]


def batches_of(lower, rows, tags=None):
    labels = None if tags is None else [[tags.index(tag) for tag in row] for _, row in rows]
    return tagging.make_batches(lower, tokenizer(), words_of(rows), labels)


@functools.cache
def lower_layers():
    """The part of the encoder that never learns: the same for all."""
    return tagging.new_tagger(2, LAYERS)[0]


@functools.lru_cache(maxsize=15)
def encoder_tagger(language, seed, size=None):
    """A tagger trained on `drawn` sentences."""
    tags = tags_of(language)
    train = drawn(language, seed, size)
    batches = batches_of(lower_layers(), train, tags)
    set_seed(seed)
    model = tagging.new_tagger(len(tags), LAYERS)[1]
    tagging.train_tagger(model, batches, READ // len(train), RATE)
    return model


@functools.cache
def linear_tagger(language, seed, size=None):
    return tagging.LinearTagger(tags_of(language)).fit(drawn(language, seed, size))


def scores_of(language, seed, rows, size):
    """Log-probabilities of encoder and linear model that learned from `language`."""
    encoder = tagging.word_scores(encoder_tagger(language, seed, size), batches_of(lower_layers(), rows))
    return encoder, linear_tagger(language, seed, size).word_scores(words_of(rows))


@functools.cache
def share_of(language, seed, size=None):
    dev = sentences(language)["dev"]
    return tagging.choose_share(*scores_of(language, seed, dev, size), [tags for _, tags in dev], tags_of(language))


def answers(way, language, seed, rows, size=None):
    """Tag lists for rows by a way that learned from `drawn` sentences of `language`."""
    words = words_of(rows)
    if way == "list of names":
        gazetteer = tagging.make_gazetteer(drawn(language, seed, size))
        return [tagging.gazetteer_tags(row, gazetteer) for row in words]
    if way == "rule on capitals":
        return [tagging.capital_tags(row) for row in words]
    if way == "linear model":
        return linear_tagger(language, seed, size).predict(words)
    share = 1.0 if way == "encoder" else share_of(language, seed, size)
    return tagging.best_tags(tagging.mix_scores(*scores_of(language, seed, rows, size), share), tags_of(language))


def measured(language, seed, rows, predicted, size=None):
    gold = [tags for _, tags in rows]
    seen, unseen = tagging.recall_seen_unseen(drawn(language, seed, size), rows, predicted)
    scores = tagging.entity_scores(gold, predicted)
    kinds = {kind: found["f1"] for kind, found in tagging.scores_by_type(gold, predicted).items()}
    return {**scores, "accuracy": tagging.token_accuracy(gold, predicted), "seen": seen, "unseen": unseen, **kinds}


@study([{"language": language} for language in LANGUAGES], seeds=range(5))
def main(seed, language):
    """What is handed in, encoder and linear model together, on the grader's sentences."""
    rows = tagging.read_tagged(HELDOUT / f"{language}.conll")
    share = share_of(language, seed)
    model = tagging.mix_taggers(encoder_tagger(language, seed), linear_tagger(language, seed), share)
    found = model.predict(lower_layers(), tokenizer(), words_of(rows))
    return {"heldout_f1": tagging.entity_scores([tags for _, tags in rows], found)["f1"], "share": share}


WAYS = ("list of names", "rule on capitals", "linear model", "encoder", "both")


@study([{"language": language, "way": way} for language in LANGUAGES for way in WAYS], seeds=range(5))
def ways(seed, language, way):
    """Each way on the test sentences of its own language, and the gain over the linear model on the same sentences."""
    rows = sentences(language)["test"]
    found, rival = (answers(some, language, seed, rows) for some in (way, "linear model"))
    gain = tagging.f1_gain([tags for _, tags in rows], rival, found, rounds=300)
    return {**measured(language, seed, rows, found), **{f"gain_{name}": value for name, value in gain.items()}}


@study([{"language": language, "way": way} for language in ("swa", "hau") for way in WAYS[2:]], seeds=range(5))
def from_english(seed, language, way):
    """Trained on English sentences alone, tested in another language."""
    rows = sentences(language)["test"]
    return measured("eng", seed, rows, answers(way, "eng", seed, rows))


ALL = 200  # four fifths of the English training sentences
SIZES = (25, 100, ALL)


@study([{"way": way, "sentences": size} for size in SIZES for way in WAYS[2:]], seeds=range(5))
def sizes(seed, way, sentences):
    """English, with few training sentences."""
    rows, size = tagging.load_tagged("eng")["test"], None if sentences == ALL else sentences  # None: trained already
    return measured("eng", seed, rows, answers(way, "eng", seed, rows, size), size)


@study([{"language": language} for language in LANGUAGES], seeds=[0])
def facts(seed, language):
    """How much of the data is what: words that are O, names of the test that stand in training."""
    parts = sentences(language)
    known = {tagging.name_of(words, entity) for words, tags in parts["train"] for entity in tagging.find_entities(tags)}
    names = [tagging.name_of(words, entity) for words, tags in parts["test"] for entity in tagging.find_entities(tags)]
    tags = [tag for _, row in parts["test"] for tag in row]
    return {"outside": tags.count("O") / len(tags), "unseen_names": float(np.mean([name not in known for name in names])),
            "names": len(names)}
