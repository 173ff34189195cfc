"""The studies of lab 5: `make calibrate LAB=lab5_fewshot` runs them, the lab plots them, marks rest on `main`.

Seconds are processor time of this process (set OMP_NUM_THREADS=1), without the loading of a model.
"""

import functools
import time

import numpy as np
from leaplm import data, evaluation, fewshot, models
from leaplm.calibration import study
from leaplm.peft.lora import inject_lora
from leaplm.prompting import scoring
from leaplm.runtime import free_memory, set_seed
from leaplm.training import TrainingConfig, train

SHOTS = (2, 4, 8, 16, 32, 64)
TEST_ROWS = {"movies": 200, "topics": 150}
TOPIC_TEMPLATE = "Text: {text}\nTopic:"
DESCRIPTIONS = {
    "the word": ["{}"],
    "a sentence": ["This film review is {}."],
    "three sentences": ["This film review is {}.", "The critic's opinion of the film is {}.", "A {} opinion."],
    "in other words": {"negative": ["A bad, boring film. The critic did not like it."],
                       "positive": ["A good, moving film. The critic liked it."]},
}


@functools.cache
def task(name):
    """The data, the answer words and the template of a task: "movies" or "topics"."""
    if name == "movies":
        found, template = data.load_sentiment("eng"), fewshot.TEMPLATE
    else:
        found, template = data.load_topics("eng"), TOPIC_TEMPLATE
    names = found["train"].features["label"].names
    return found, names, [f" {name.split('/')[0]}" for name in names], template


@functools.cache
def language_model():
    free_memory()
    return models.load_causal_lm("smollm2"), models.load_tokenizer("smollm2")


@functools.cache
def encoder():
    return models.load_encoder("minilm"), models.load_tokenizer("minilm")


def embed(texts):
    return fewshot.embed(*encoder(), texts)


def shots(dataset, num_shots, seed):
    return dataset.select(fewshot.sample_balanced(dataset["label"], num_shots, seed))


def seconds(started):
    return round(time.process_time() - started, 3)


def score(labels, predictions):
    return {"accuracy": evaluation.accuracy(labels, predictions), "macro_f1": evaluation.macro_f1(labels, predictions)}


# -- prompting ------------------------------------------------------------------------------------------------------------


def in_context_scores(name, demonstrations, test):
    """Accuracy with these demonstrations: as it is, and with the bias towards a label taken out (Zhao et al., 2021)."""
    _, _, words, template = task(name)
    model, tokenizer = language_model()
    started = time.process_time()
    prefix = fewshot.demonstration_prefix(demonstrations, words, template, test["text"])
    prompts = [template.format(text=text) for text in [*test["text"], "N/A", "...", "?"]]
    sums, _ = scoring.continuation_log_probs(model, tokenizer, prompts, words, prefix)
    spent = seconds(started)
    plain, calibrated = sums[:-3].argmax(1), (sums[:-3] - sums[-3:].mean(0)).argmax(1)
    most = np.bincount(plain, minlength=len(words)).max() / len(plain)
    return {**score(test["label"], plain), "calibrated_accuracy": evaluation.accuracy(test["label"], calibrated),
            "most_said": float(most), "prefix_tokens": len(tokenizer(prefix)["input_ids"]) if prefix else 0,
            "train_seconds": 0.0, "seconds_per_100": 100 * spent / len(test)}


@study([{"task": "movies", "shots": k} for k in (0, 1, 2, 4, 8)], seeds=range(3))
def in_context(seed, task, shots):
    """Demonstrations per class; each seed draws its own demonstrations and its own 100 test texts."""
    found = globals()["task"](task)[0]
    return in_context_scores(task, draw(found["train"], shots, seed), data.subsample(found["test"], 100, seed))


@study([{"task": "topics", "shots": k} for k in (0, 1, 2)], seeds=range(3))
def in_context_topics(seed, task, shots):
    """The same with seven topics."""
    found = globals()["task"](task)[0]
    return in_context_scores(task, draw(found["train"], shots, seed), data.subsample(found["test"], 60, seed))


def draw(dataset, num_shots, seed):
    return shots(dataset, num_shots, seed) if num_shots else []


@study([{"shots": 2, "order": order} for order in range(4)], seeds=range(5))
def order_and_choice(seed, shots, order):
    """The seed chooses two demonstrations per class; each choice is written in four orders. The test texts are fixed."""
    found = task("movies")[0]
    chosen = draw(found["train"], shots, 100 + seed)
    chosen = chosen.select(np.random.default_rng([seed, order]).permutation(len(chosen)))
    return in_context_scores("movies", chosen, data.subsample(found["test"], 60, 0))


# -- zero-shot with the encoder ---------------------------------------------------------------------------------------------


@study([{"task": "movies", "description": name} for name in DESCRIPTIONS], seeds=range(5))
def label_embeddings(seed, task, description):
    """The label whose description is nearest; each seed has its own 200 test texts."""
    names = globals()["task"](task)[1]
    forms = DESCRIPTIONS[description]
    texts = [[form.format(name) for form in forms] if isinstance(forms, list) else forms[name] for name in names]
    test, vectors, cost = test_vectors(task, seed)
    predictions = fewshot.nearest_label(vectors, np.stack([embed(some) for some in texts]))
    return {**score(test["label"], predictions), "train_seconds": 0.0, "seconds_per_100": cost}


@functools.cache
def topic_vectors(language, part):
    rows = data.load_topics(language)[part]
    return embed(rows["text"]), np.array(rows["label"])


@study([{"language": language} for language in
        ("eng", "fra", "spa", "ind", "quy", "hau", "swa", "yor", "amh", "ben")], seeds=range(5))
def transfer(seed, language):
    """A head trained on 560 English sentences with topics, on the same test sentences in another language.

    Beside it: the same head trained on the language itself, TF-IDF on characters trained on it, the label words.
    """
    rows = data.load_topics(language)
    names = rows["train"].features["label"].names
    vectors, labels = topic_vectors(language, "test")
    chosen = np.random.default_rng(seed).permutation(701)[:560]
    found = {"majority_accuracy": np.bincount(labels).max() / len(labels)}
    for name, source in (("transfer", "eng"), ("native", language)):
        x, y = topic_vectors(source, "train")
        weight, bias = fewshot.fit_head(x[chosen], y[chosen])
        found[f"{name}_accuracy"] = evaluation.accuracy(labels, (vectors @ weight.T + bias).argmax(1))
    found["labels_accuracy"] = evaluation.accuracy(labels, fewshot.nearest_label(vectors, embed(names)[:, None]))
    train_rows = rows["train"].select(chosen)
    found["tfidf_accuracy"] = evaluation.accuracy(labels, evaluation.tfidf_baseline(train_rows, rows["test"], "characters"))
    tokenizer = encoder()[1]
    unknown = [ids.count(tokenizer.unk_token_id) / len(ids) for ids in tokenizer(list(rows["test"]["text"]))["input_ids"]]
    return {**found, "unknown_tokens": float(np.mean(unknown))}


# -- few-shot with the encoder ----------------------------------------------------------------------------------------------


def collator():
    return data.DynamicPaddingCollator(encoder()[1].pad_token_id)


def fine_tune(names, rows, seed, lora=False):
    """MiniLM with all but the word vectors learning, or with LoRA of rank 8; 3 epochs or 40 updates of 8 texts."""
    set_seed(seed)
    model = models.load_sequence_classifier(names, freeze="embeddings")
    if lora:
        inject_lora(model, rank=8, alpha=16)
    steps = max(40, 3 * -(-len(rows) // 8))
    config = TrainingConfig(learning_rate=3e-3 if lora else 1e-4, batch_size=8, epochs=1, max_steps=steps, seed=seed,
                            progress=False)
    train(model, data.tokenize(rows, encoder()[1]), collator(), config)
    return model


@functools.cache
def test_vectors(name, seed):
    started = time.process_time()
    test = data.subsample(task(name)[0]["test"], TEST_ROWS[name], seed)
    return test, embed(test["text"]), 100 * seconds(started) / len(test)


def few_shot_scores(name, method, num_shots, seed):
    found, names, _, _ = task(name)
    rows = shots(found["train"], num_shots, seed)
    test, vectors, cost = test_vectors(name, seed)
    started = time.process_time()
    if method == "TF-IDF":
        model = evaluation.tfidf_classifier().fit(list(rows["text"]), list(rows["label"]))
        spent, started = seconds(started), time.process_time()
        predictions = model.predict(list(test["text"]))
        cost = 100 * seconds(started) / len(test)
    elif method == "frozen encoder + head":
        weight, bias = fewshot.fit_head(embed(rows["text"]), rows["label"])
        spent, predictions = seconds(started), (vectors @ weight.T + bias).argmax(1)
    else:
        model = fine_tune(names, rows, seed, lora=method == "LoRA")
        spent = seconds(started)
        predictions = evaluation.predict_logits(model, data.tokenize(test, encoder()[1]), collator()).argmax(-1)
    majority = evaluation.majority_baseline(found["train"]["label"], test["label"])
    return {**score(test["label"], predictions), "majority_accuracy": evaluation.accuracy(test["label"], majority),
            "train_seconds": spent, "seconds_per_100": cost}


METHODS = ("TF-IDF", "frozen encoder + head", "fine-tuned", "LoRA")


@study([{"task": "movies", "method": method, "shots": k} for k in SHOTS for method in METHODS], seeds=range(3))
def learning_curves(seed, task, method, shots):
    """Score against labelled examples per class; all methods of a seed see the same examples and test texts."""
    return few_shot_scores(task, method, shots, seed)


@study([{"task": "topics", "method": method, "shots": k} for k in (2, 4, 8, 16, 32) for method in METHODS[:2]] +
       [{"task": "topics", "method": method, "shots": 8} for method in METHODS[2:]], seeds=range(3))
def learning_curves_topics(seed, task, method, shots):
    """The same with seven topics, in English; the slow methods at one size."""
    return few_shot_scores(task, method, shots, seed)


# -- contrastive pairs (SetFit) ---------------------------------------------------------------------------------------------


def contrastive_vectors(rows, test, seed):
    """Vectors of `rows` and of `test`, by an encoder tuned on pairs of `rows`: 40 updates at the rate of `fine_tune`."""
    model, tokenizer = models.load_encoder("minilm"), encoder()[1]
    fewshot.tune_contrastive(model, tokenizer, rows["text"], rows["label"], learning_rate=1e-4, seed=seed)
    return fewshot.embed(model, tokenizer, rows["text"]), fewshot.embed(model, tokenizer, test["text"])


def head_scores(rows, row_vectors, test, vectors):
    weight, bias = fewshot.fit_head(row_vectors, rows["label"])
    return score(test["label"], (vectors @ weight.T + bias).argmax(1))


@study([{"task": "movies", "shots": 16}], seeds=range(5))
def contrastive(seed, task, shots):
    """A head on an encoder tuned on pairs, and the head without that, from the same examples and test texts."""
    found = globals()["task"](task)[0]
    rows = globals()["shots"](found["train"], shots, seed)
    test, frozen, _ = test_vectors(task, seed)
    started = time.process_time()
    tuned = contrastive_vectors(rows, test, seed)
    spent = seconds(started)
    plain = head_scores(rows, embed(rows["text"]), test, frozen)
    return {**head_scores(rows, tuned[0], test, tuned[1]), "train_seconds": spent,
            **{f"head_{name}": value for name, value in plain.items()}}


# -- what is handed in ------------------------------------------------------------------------------------------------------


@functools.cache
def heldout_vectors(language):
    rows = data.heldout_rows(language)
    return embed(rows["text"]), np.array(rows["label"])


@study([{"language": language} for language in data.MARKED], seeds=range(10))
def main(seed, language):
    """What is handed in: 16 examples per class, a head on the frozen encoder, scored on the grader's rows."""
    found = data.load_sentiment(language)["train"]
    rows = shots(found, min(16, *np.bincount(found["label"])), seed)  # a small file has fewer
    weight, bias = fewshot.fit_head(embed(rows["text"]), rows["label"])
    vectors, labels = heldout_vectors(language)
    found = {f"heldout_{name}": value for name, value in score(labels, (vectors @ weight.T + bias).argmax(1)).items()}
    return {**found, "majority_macro_f1": evaluation.macro_f1(labels, np.full(len(labels), np.bincount(labels).argmax()))}
