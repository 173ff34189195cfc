"""The methods of labs 2 to 5 in one form, to be compared on a small set.

A method is a function (train, test, seed) -> (predictions (n,), megabytes, probabilities (n, classes)). The megabytes are
all that must be there to answer, weights in 16 bits: what was learned *and* the pretrained model below it with its
tokenizer. A prompt learns nothing, and yet needs a whole language model. `packages_megabytes` tells the Python packages.
"""

import functools
import importlib.metadata
import pickle

import numpy as np

from leaplm import assets, data, evaluation, fewshot, models, prompting, training
from leaplm.peft import lora
from leaplm.runtime import by_scale, free_memory, set_seed

BATCH, AT_LEAST = 16, 32  # rows of a batch; updates, for with few rows three epochs are too few to learn


def make_methods(names, reads_language=True):
    """{name: method} for the classes `names`. reads_language: whether MiniLM has read the language, which is English."""
    return {
        "majority class": majority,
        "TF-IDF, words": functools.partial(tfidf, units="words"),
        "TF-IDF, characters": functools.partial(tfidf, units="characters"),
        "frozen MiniLM + logistic regression": frozen,
        "LoRA": functools.partial(fine_tune, names=names, reads_language=reads_language, adapter=True),
        "full fine-tuning": functools.partial(fine_tune, names=names, reads_language=reads_language, adapter=False),
        "prompt without examples": functools.partial(prompt, names=names),
    }


def majority(train, test, seed):
    shares = np.bincount(train["label"][:], minlength=train.features["label"].num_classes) / len(train)
    return np.full(len(test), shares.argmax()), 0.0, np.tile(shares, (len(test), 1))


def tfidf(train, test, seed, units):
    model = evaluation.tfidf_classifier(units).fit(train["text"][:], train["label"][:])
    probabilities = np.zeros((len(test), train.features["label"].num_classes))
    probabilities[:, model.classes_] = model.predict_proba(test["text"][:])
    return probabilities.argmax(axis=1), len(pickle.dumps(model)) / 1e6, probabilities


def frozen(train, test, seed):
    """A logistic regression on MiniLM's vectors (labs 2 and 5)."""
    encoder, tokenizer = models.load_encoder(), models.load_tokenizer()
    train_vectors, test_vectors = (fewshot.embed(encoder, tokenizer, rows["text"]) for rows in (train, test))
    weight, bias = fewshot.fit_head(train_vectors, train["label"])
    megabytes = model_megabytes(encoder, "minilm") + (weight.nbytes + bias.nbytes) / 1e6
    return from_logits(test_vectors @ weight.T + bias, megabytes)


def from_logits(logits, megabytes):
    """What a method gives back, from class scores (n, classes)."""
    return logits.argmax(axis=-1), megabytes, np.exp(evaluation.log_softmax(logits))


def fine_tune(train, test, seed, names, reads_language, adapter):
    """MiniLM with LoRA (lab 3) or with all weights but the word embeddings (lab 2); they learn, too, in another language."""
    set_seed(seed)
    tokenizer = models.load_tokenizer()
    collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
    freeze = None if adapter or not reads_language else "embeddings"
    model = models.load_sequence_classifier(names, freeze=freeze)
    if adapter:
        lora.inject_lora(model)
        if not reads_language:
            lora.train_word_embeddings(model)
    train_model(model, data.tokenize(train, tokenizer), collate, seed, reads_language, adapter)
    logits = evaluation.predict_logits(model, data.tokenize(test, tokenizer), collate)
    megabytes = model_megabytes(model, "minilm")  # what changed lies in these weights, or beside them as an adapter
    del model
    free_memory()
    return from_logits(logits, megabytes)


def train_model(model, rows, collate, seed, reads_language, adapter):
    updates = by_scale(tiny=1, cpu=AT_LEAST, gpu=3 * AT_LEAST)
    epochs = by_scale(tiny=1, cpu=3, gpu=5)
    config = training.TrainingConfig(
        learning_rate=2e-3 if adapter else 1e-4, embedding_learning_rate=None if reads_language else 1e-3,
        batch_size=BATCH, epochs=max(epochs, -(-updates * BATCH // len(rows))), seed=seed, progress=False)
    training.train(model, rows, collate, config)


def model_megabytes(model, name):
    """All weights of a model in 16 bits, and the tokenizer of the model `name` that it was made from."""
    tokenizer = sum(path.stat().st_size for path in assets.asset_path(name).glob("tokenizer*.json"))
    return (2 * models.count_parameters(model, trainable=False) + tokenizer) / 1e6


def packages_megabytes(*names):
    """Megabytes on this computer's disk of installed Python packages: what a program needs beside its model.

    >>> packages_megabytes("numpy") > 10
    True
    """
    files = [file for name in names for file in importlib.metadata.files(name) or ()]
    return sum(file.locate().stat().st_size for file in files if file.locate().is_file()) / 1e6


@functools.cache
def language_model():
    """SmolLM2 and its tokenizer, kept until `forget_models`."""
    return models.load_causal_lm("smollm2"), models.load_tokenizer("smollm2")


def forget_models():
    language_model.cache_clear()
    free_memory()


def prompt(train, test, seed, names):
    """SmolLM2 asked for the class name (lab 4). Each seed takes another template: no labels are used, not even to choose."""
    model, tokenizer = language_model()
    templates = list(prompting.make_templates(names, "category").values())
    texts = prompting.shorten(test["text"], tokenizer)
    scores = prompting.class_log_probs(model, tokenizer, texts, templates[seed % len(templates)],
                                       prompting.Verbalizer(names), "calibrated")
    return from_logits(np.asarray(scores), model_megabytes(model, "smollm2"))
