"""The methods of labs 2 to 5 in one form, to be compared on a small set: (train, test, seed) -> (predictions, megabytes)."""

import functools
import pickle

import numpy as np

from leaplm import artifacts, data, evaluation, fewshot, models, prompting, training
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
    return evaluation.majority_baseline(train["label"], test["label"]), 0.0


def tfidf(train, test, seed, units):
    model = evaluation.tfidf_classifier(units).fit(list(train["text"]), list(train["label"]))
    return model.predict(list(test["text"])), len(pickle.dumps(model)) / 1e6


def frozen(train, test, seed):
    """A logistic regression on MiniLM's vectors (labs 2 and 5)."""
    encoder, tokenizer = models.load_encoder(), models.load_tokenizer()
    train_vectors, test_vectors = (fewshot.embed(encoder, tokenizer, rows["text"]) for rows in (train, test))
    weight, bias = fewshot.fit_head(train_vectors, train["label"])
    return (test_vectors @ weight.T + bias).argmax(axis=1), (weight.nbytes + bias.nbytes) / 1e6


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
    predictions = evaluation.predict_logits(model, data.tokenize(test, tokenizer), collate).argmax(-1)
    megabytes = stored_megabytes(model, names)
    del model
    free_memory()
    return predictions, megabytes


def train_model(model, rows, collate, seed, reads_language, adapter):
    updates = by_scale(tiny=1, cpu=AT_LEAST, gpu=3 * AT_LEAST)
    epochs = by_scale(tiny=1, cpu=3, gpu=5)
    config = training.TrainingConfig(
        learning_rate=2e-3 if adapter else 1e-4, embedding_learning_rate=None if reads_language else 1e-3,
        batch_size=BATCH, epochs=max(epochs, -(-updates * BATCH // len(rows))), seed=seed, progress=False)
    training.train(model, rows, collate, config)


def stored_megabytes(model, names):
    """What has to be kept of a trained model, in 16 bits: that which differs from MiniLM."""
    stored = artifacts.changed_tensors(model, models.load_sequence_classifier(names))
    return sum(t.numel() * t.element_size() for n, t in stored.items() if ".base." not in n) / 1e6


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
    return np.asarray(scores).argmax(-1), 0.0
