"""The studies of lab 14: `make calibrate LAB=lab14_names` runs them, the lab plots them, marks rest on `main`.

Settings are chosen on training sentences alone: `choices` tries each in cross-validation with three folds, and `chosen`
takes the one with the largest mean F1 that the lab has time for (a test holds the constants below equal to it). The
encoder's share in the mixture is chosen on the development sentences. Test sentences are all of the test part (those of the
grader in `main`), read at the end. A seed draws four fifths of the training sentences, their order, and the fresh weights.
"""

import functools
from pathlib import Path

import numpy as np
from leaplm import models, tagging
from leaplm.calibration import load_record, study
from leaplm.runtime import set_seed

LANGUAGES = tagging.LANGUAGES
HELDOUT = Path(__file__).with_name("heldout")
LAYERS, EPOCHS, RATE = 3, 6, 5e-4  # of the encoder: the upper layers that learn, how long and how fast
C, L1, L2 = 10.0, 0.0, 0.01  # of the linear model, and of the CRF
FOLDS = 3


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


@functools.cache
def batches_of(place):
    """Batches of sentences, from `place`: (language, part), where part "heldout" is the grader's."""
    return tagging.make_batches(lower_layers(), tokenizer(), words_of(rows_of(place)))


@functools.cache
def rows_of(place):
    language, part = place
    return tagging.read_tagged(HELDOUT / f"{language}.conll") if part == "heldout" else sentences(language)[part]


@functools.cache
def lower_layers(trained=LAYERS):
    """The part of the encoder that never learns: the same for all."""
    return tagging.new_tagger(2, trained)[0]


@functools.lru_cache(maxsize=15)
def encoder_tagger(language, seed):
    """A tagger trained on `drawn` sentences."""
    return trained_tagger(drawn(language, seed), tags_of(language), seed)


def trained_tagger(train, tags, seed, layers=LAYERS, epochs=EPOCHS, rate=RATE):
    labels = [[tags.index(tag) for tag in row] for _, row in train]
    batches = tagging.make_batches(lower_layers(layers), tokenizer(), words_of(train), labels, seed=seed)
    set_seed(seed)
    model = tagging.new_tagger(len(tags), layers)[1]
    tagging.train_tagger(model, batches, epochs, rate)
    return model


@functools.cache
def linear_tagger(language, seed, size=None):
    return tagging.LinearTagger(tags_of(language), C).fit(drawn(language, seed, size))


def scores_of(language, seed, place):
    """Log-probabilities of encoder and linear model that learned from `language`."""
    encoder = tagging.word_scores(encoder_tagger(language, seed), batches_of(place))
    return encoder, linear_tagger(language, seed).word_scores(words_of(rows_of(place)))


@functools.cache
def share_of(language, seed):
    gold = [tags for _, tags in rows_of((language, "dev"))]
    return tagging.choose_share(*scores_of(language, seed, (language, "dev")), gold, tags_of(language))


def answers(way, language, seed, place, size=None):
    """Tag lists for the sentences of a place by a way that learned from `drawn` sentences of `language`."""
    words = words_of(rows_of(place))
    if way == "list of names":
        gazetteer = tagging.make_gazetteer(drawn(language, seed, size))
        return [tagging.gazetteer_tags(row, gazetteer) for row in words]
    if way == "rule on capitals":
        return [tagging.capital_tags(row) for row in words]
    if way == "linear model":
        return linear_tagger(language, seed, size).predict(words)
    if way == "CRF":
        return tagging.CrfTagger(L1, L2).fit(drawn(language, seed, size)).predict(words)
    share = 1.0 if way == "encoder" else share_of(language, seed)
    return tagging.best_tags(tagging.mix_scores(*scores_of(language, seed, place), share), tags_of(language))


def measured(language, seed, rows, predicted, size=None):
    gold = [tags for _, tags in rows]
    seen, unseen = tagging.recall_seen_unseen(drawn(language, seed, size), rows, predicted)
    scores = tagging.entity_scores(gold, predicted)
    kinds = {kind: found["f1"] for kind, found in tagging.scores_by_type(gold, predicted).items()}
    return {**scores, "accuracy": tagging.token_accuracy(gold, predicted), "seen": seen, "unseen": unseen, **kinds}


# -- settings, chosen on training sentences ---------------------------------------------------------------------------------

ENCODERS = ({}, {"layers": 2}, {"epochs": 3}, {"epochs": 10}, {"rate": 2e-4}, {"rate": 1e-3})
TRIED = ([{"way": "encoder", "layers": 3, "epochs": 6, "rate": 5e-4, **change, "language": "eng"} for change in ENCODERS]
         + [{"way": "linear model", "C": c, "language": language} for c in (0.1, 1.0, 10.0, 100.0) for language in LANGUAGES]
         + [{"way": "CRF", "l1": l1, "l2": l2, "language": language}
            for l1 in (0.0, 0.1) for l2 in (0.01, 0.1, 1.0) for language in LANGUAGES])


@study(TRIED, seeds=range(FOLDS))
def choices(seed, way, language, **settings):
    """F1 on one fold of the training sentences by what learned from the others; the seed is the fold's number.

    The encoder is tried in English alone, the language that it has read; the other two in all languages of the lab.
    """
    learned, held = folds_of(language, seed)
    tags = tags_of(language)
    if way == "encoder":
        model = trained_tagger(learned, tags, seed, **settings)
        lower = lower_layers(settings["layers"])
        found = tagging.tag_batches(model, tagging.make_batches(lower, tokenizer(), words_of(held)), tags)
    elif way == "CRF":
        found = tagging.CrfTagger(**settings).fit(learned).predict(words_of(held))
    else:
        found = tagging.LinearTagger(tags, **settings).fit(learned).predict(words_of(held))
    return {"f1": tagging.entity_scores([tags for _, tags in held], found)["f1"]}


def folds_of(language, number):
    """(the sentences of the other folds, those of fold `number`) of the training sentences."""
    train = tagging.draw_tagged(sentences(language)["train"], 10**6, seed=0)
    return [row for i, row in enumerate(train) if i % FOLDS != number], train[number::FOLDS]


SETTINGS = {"encoder": ["layers", "epochs", "rate"], "linear model": ["C"], "CRF": ["l1", "l2"]}
MOST_WORK = 18  # layers x epochs: about a minute of training on two cores, and no cell of a lab may take two


def chosen(way):
    """The setting of a way, as a tuple: the largest F1 in the record of `choices`, a mean over folds and languages.

    An encoder may take MOST_WORK at most: ten epochs are tried, to say what is given away.
    """
    names = SETTINGS[way]
    record = load_record("lab14_names", "choices", way=way)
    if way == "encoder":
        record = record[record.layers * record.epochs <= MOST_WORK]
    found = record.groupby(names).f1.mean().idxmax()
    return found if isinstance(found, tuple) else (found,)


# -- what the lab and the marks rest on -------------------------------------------------------------------------------------


@study([{"language": language} for language in LANGUAGES], seeds=range(5))
def main(seed, language):
    """What is handed in, encoder and linear model together, on the grader's sentences."""
    gold = [tags for _, tags in rows_of((language, "heldout"))]
    found = answers("both", language, seed, (language, "heldout"))
    return {"heldout_f1": tagging.entity_scores(gold, found)["f1"], "share": share_of(language, seed)}


WAYS = ("list of names", "rule on capitals", "linear model", "CRF", "encoder", "both")


@study([{"language": language, "way": way} for language in LANGUAGES for way in WAYS], seeds=range(5))
def ways(seed, language, way):
    """Each way on the test sentences of its own language, and the gain over the linear model on the same sentences."""
    place = (language, "test")
    rows = rows_of(place)
    found, rival = (answers(some, language, seed, place) for some in (way, "linear model"))
    gain = tagging.f1_gain([tags for _, tags in rows], rival, found, rounds=300)
    return {**measured(language, seed, rows, found), **{f"gain_{name}": value for name, value in gain.items()}}


@study([{"language": language, "way": way} for language in ("swa", "hau") for way in WAYS[2:]], seeds=range(5))
def from_english(seed, language, way):
    """Trained on English sentences alone, tested in another language."""
    place = (language, "test")
    return measured("eng", seed, rows_of(place), answers(way, "eng", seed, place))


SIZES = (25, 50, 100, 200)


@study([{"way": way, "sentences": size} for size in SIZES for way in ("list of names", "linear model", "CRF")],
       seeds=range(5))
def sizes(seed, way, sentences):
    """English, with few training sentences, without the encoder."""
    place = ("eng", "test")
    return measured("eng", seed, rows_of(place), answers(way, "eng", seed, place, sentences), sentences)


@study([{"language": language} for language in LANGUAGES], seeds=[0])
def facts(seed, language):
    """How much of the data is what: words that are O, names of the test that stand in training."""
    parts = sentences(language)
    known = {tagging.name_of(words, entity) for words, tags in parts["train"] for entity in tagging.find_entities(tags)}
    names = [tagging.name_of(words, entity) for words, tags in parts["test"] for entity in tagging.find_entities(tags)]
    tags = [tag for _, row in parts["test"] for tag in row]
    return {"outside": tags.count("O") / len(tags), "unseen_names": float(np.mean([name not in known for name in names])),
            "names": len(names)}
