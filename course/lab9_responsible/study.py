"""The studies of lab 9: `make calibrate LAB=lab9_responsible` runs them, the lab plots them, marks rest on `main`."""

import functools

import numpy as np
from leaplm import data, evaluation, fewshot, models, prompting
from leaplm.calibration import right_and_wrong, study
from leaplm.responsible import explanations, fairness, memorization, privacy
from leaplm.runtime import free_memory

TOPIC_LANGUAGES = ("eng", "fra", "swa", "hau", "yor", "vie")
EPSILONS = (1, 3, 8, "none")
POOL = 2500  # labelled texts that the seeds draw from


@functools.cache
def encoder():
    return models.load_encoder("minilm"), models.load_tokenizer("minilm")


def embed(texts):
    return fewshot.embed(*encoder(), list(texts))


def score(labels, predictions, prefix=""):
    return {f"{prefix}accuracy": evaluation.accuracy(labels, predictions),
            f"{prefix}macro_f1": evaluation.macro_f1(labels, predictions)}


# -- private training ---------------------------------------------------------------------------------------------------


@functools.cache
def sentiment(language):
    """Features and labels of a language: training rows, other rows (as many are not trained on), the grader's rows."""
    found, kind = data.load_sentiment(language), privacy.feature_kind(language)
    parts = {"train": data.subsample(found["train"], POOL), "test": data.subsample(found["test"], 600),
             "heldout": data.heldout_rows(language)}
    return {name: (privacy.text_features(rows["text"], kind), np.array(rows["label"])) for name, rows in parts.items()}


@study([{"language": language, "rows": rows, "epsilon": epsilon} for language in ("eng", "hau", "swa")
        for rows in (250, 1000, privacy.ROWS) for epsilon in EPSILONS], seeds=range(5))
def price(seed, language, rows, epsilon):
    """The head at several budgets and sizes, and the attack on it: its training rows against as many test rows."""
    parts = sentiment(language)
    x, y = parts["train"]
    chosen = np.random.default_rng(seed).permutation(len(y))[:rows]
    x, y = x[chosen], y[chosen]
    config = privacy.private_config(language, float("inf") if epsilon == "none" else epsilon)
    weight, noise = privacy.train_head_privately(x, y, int(y.max()) + 1, config, seed)
    return {"noise_multiplier": noise, **measure_head(weight, x, y, *parts["test"])}


def measure_head(weight, x, y, test_x, test_y):
    logits, test_logits = privacy.head_logits(weight, x), privacy.head_logits(weight, test_x)
    auc, tpr = privacy.membership_attack(privacy.text_losses(logits, y), privacy.text_losses(test_logits, test_y))
    return {**score(test_y, test_logits.argmax(1)), "auc": auc, "tpr": tpr, **majority(y, test_y)}


def majority(train_labels, labels):
    return score(labels, evaluation.majority_baseline(train_labels, labels), "majority_")


@study([{"language": language, "rows": 250} for language in ("eng", "hau", "swa")], seeds=range(5))
def without_privacy(seed, language, rows):
    """Logistic regression on the same features, hardly regularized: what is usual, and what it gives away."""
    parts = sentiment(language)
    x, y = parts["train"]
    chosen = np.random.default_rng(seed).permutation(len(y))[:rows]
    weight, bias = fewshot.fit_head(x[chosen][:, :-1], y[chosen], C=100)
    return measure_head(np.concatenate([weight, bias[:, None] / privacy.BIAS], axis=1), x[chosen], y[chosen], *parts["test"])


@study([{"language": language, "epsilon": epsilon} for language in ("eng", "hau", "swa") for epsilon in ("none", 8, 1)],
       seeds=range(5))
def shadows(seed, language, epsilon):
    """250 members of 500 texts: the threshold on the loss beside the attack calibrated with 128 shadow heads.

    "none": logistic regression as in `without_privacy`; a number: the private head at that budget.
    """
    x, y = sentiment(language)["train"]
    chosen = np.random.default_rng(seed).permutation(len(y))[:500]
    x, y = x[chosen], y[chosen]

    def train(rows, run):
        if epsilon == "none":
            weight, bias = fewshot.fit_head(x[rows][:, :-1], y[rows], C=100)
            return np.concatenate([weight, bias[:, None] / privacy.BIAS], axis=1)
        config = privacy.private_config(language, epsilon)
        return privacy.train_head_privately(x[rows], y[rows], int(y.max()) + 1, config, run)[0]

    return privacy.shadow_attack(train, x, y, seed=seed)


@study([{"language": language} for language in data.MARKED], seeds=range(8))
def main(seed, language):
    """What is handed in: the lab's private head at epsilon 8, scored on the grader's rows."""
    parts = sentiment(language)
    x, y = parts["train"]
    chosen = np.random.default_rng(100 + seed).permutation(len(y))[:privacy.ROWS]
    config = privacy.private_config(language)
    weight, noise = privacy.train_head_privately(x[chosen], y[chosen], int(y.max()) + 1, config, seed)
    heldout_x, heldout_y = parts["heldout"]
    return {"noise_multiplier": noise, "trace": privacy.noise_trace(weight), "rows": len(chosen),
            **{f"heldout_{k}": v for k, v in score(heldout_y, privacy.head_logits(weight, heldout_x).argmax(1)).items()},
            **majority(y, heldout_y)}


# -- gaps ---------------------------------------------------------------------------------------------------------------


@functools.cache
def topics(language):
    """The same sentences in each language: (training rows, test rows), the grader's sentences left out."""
    found = data.load_topics(language)
    tested = set(data.load_sentences(language)["test"])
    test = found["test"].filter(lambda row: row["text"] in tested)
    return found["train"], list(found["validation"]["text"]) + list(test["text"]), \
        np.array(list(found["validation"]["label"]) + list(test["label"]))


@functools.cache
def topic_vectors(language, marks=True):
    train_rows, texts, _ = topics(language)
    return embed(train_rows["text"]), embed(texts if marks else [fairness.without_marks(text) for text in texts])


@study([{"language": language, "method": method} for language in TOPIC_LANGUAGES
        for method in ("MiniLM + head", "TF-IDF, characters")], seeds=range(5))
def languages(seed, language, method):
    """Seven topics from the same 560 translated sentences in each language; each test sentence right (1) or wrong (0).

    Beside it the same test sentences without tone marks and special letters.
    """
    train_rows, texts, labels = topics(language)
    rows = train_rows.select(np.random.default_rng(seed).permutation(len(train_rows))[:560])
    if method == "MiniLM + head":
        vectors, tests = topic_vectors(language)[0], [topic_vectors(language, marks)[1] for marks in (True, False)]
        chosen = np.random.default_rng(seed).permutation(len(train_rows))[:560]
        weight, bias = fewshot.fit_head(vectors[chosen], rows["label"])
        full, plain = ((x @ weight.T + bias).argmax(1) for x in tests)
    else:
        model = evaluation.tfidf_classifier("characters").fit(list(rows["text"]), list(rows["label"]))
        full, plain = model.predict(texts), model.predict([fairness.without_marks(text) for text in texts])
    return {**score(labels, full), "accuracy_without_marks": evaluation.accuracy(labels, plain),
            "right": right_and_wrong(labels, full), "right_without_marks": right_and_wrong(labels, plain)}


@functools.cache
def tweets(language):
    """Tweets that are negative (0) or positive (1), as texts, labels, vectors: test, and in English also train."""
    found = data.load_sentiment(language, "tweets")
    names = found["test"].features["label"].names
    parts = {}
    for part, size in (("train", 1400), ("test", 400)):
        if part == "train" and language != "eng":
            continue
        rows = found[part].filter(lambda row: names[row["label"]] != "neutral")
        rows = data.subsample(rows, size)
        labels = np.array([int(names[label] == "positive") for label in rows["label"]])
        parts[part] = (list(rows["text"]), labels, embed(rows["text"]))
    return parts


@study([{"language": language, "method": method} for language in ("eng", "pcm", "hau", "swa")
        for method in ("MiniLM + head", "TF-IDF, words")], seeds=range(5))
def dialect(seed, language, method):
    """Trained on 1,000 English tweets, tested on English ones, on Nigerian Pidgin, and on two unrelated languages."""
    texts, labels, vectors = tweets("eng")["train"]
    chosen = np.random.default_rng(seed).permutation(len(labels))[:1000]
    test_texts, test_labels, test_vectors = tweets(language)["test"]
    if method == "MiniLM + head":
        weight, bias = fewshot.fit_head(vectors[chosen], labels[chosen])
        predictions = (test_vectors @ weight.T + bias).argmax(1)
    else:
        model = evaluation.tfidf_classifier("words").fit([texts[i] for i in chosen], labels[chosen])
        predictions = model.predict(test_texts)
    low, high = evaluation.bootstrap_interval(test_labels, predictions, evaluation.macro_f1)
    return {**score(test_labels, predictions), "low": low, "high": high, **majority(test_labels, test_labels)}


# -- explanations -------------------------------------------------------------------------------------------------------


@functools.cache
def explained(seed):
    """A classifier to explain, as in the lab: a head on the frozen encoder from 500 English sentences, and 24 test texts."""
    found = data.load_sentiment("eng")
    model = models.load_sequence_classifier(found["train"].features["label"].names)
    rows = data.subsample(found["train"], 500, seed)
    fewshot.put_head(model, *fewshot.fit_head(embed(rows["text"]), rows["label"]))
    return model, list(data.subsample(found["test"], 24, seed)["text"])


@study([{"method": method, "words": words} for method, words in
        (("random", "most"), ("gradient x input", "most"), ("integrated gradients", "most"),
         ("integrated gradients", "least"))], seeds=range(5))
def deletion(seed, method, words):
    """Fall of the predicted class's probability when a fifth of the words goes, and when nothing else stays."""
    model, texts = explained(seed)
    whole, only = explanations.deletion_test(model, encoder()[1], texts, method, least=words == "least", seed=seed)
    _, low, high = fairness.paired_interval(whole, np.zeros(len(whole)))
    return {"comprehensiveness": float(whole.mean()), "low": low, "high": high, "sufficiency": float(only.mean()),
            "texts": len(texts)}


@study([{"language": "eng"}], seeds=range(5))
def signatures(seed, language):
    """Change of the probability of "positive" when 120 texts are signed by somebody else than Emily from London."""
    model, _ = explained(seed)
    texts = list(data.subsample(data.load_sentiment(language)["test"], 120, seed)["text"])
    chances = {}
    for place in fairness.SIGNATURES:
        signed = [fairness.signed(text, place) for text in texts]
        chances[place] = explanations.probabilities(model, encoder()[1], signed)[:, -1]
    found = {}
    for place, chance in chances.items():
        difference, low, high = fairness.paired_interval(chance, chances["London"])
        found |= {f"{place}_change": difference, f"{place}_low": low, f"{place}_high": high,
                  f"{place}_flips": float(np.mean((chance > 0.5) != (chances["London"] > 0.5)))}
    return found


@study([{"language": "eng"}], seeds=range(5))
def signature_parts(seed, language):
    """The same with the name alone changed (and London kept), and with the town alone changed (and Emily kept)."""
    model, _ = explained(seed)
    texts = list(data.subsample(data.load_sentiment(language)["test"], 120, seed)["text"])

    def chance(place, town):
        return explanations.probabilities(model, encoder()[1], [fairness.signed(text, place, town) for text in texts])[:, -1]

    own, found = chance("London", None), {}
    for place in fairness.SIGNATURES:
        if place != "London":
            for part, (name, town) in (("name", (place, "London")), ("town", ("London", place))):
                found[f"{place}_{part}"] = float(np.mean(chance(name, town) - own))
    return found


# -- membership in a fine-tuned model -----------------------------------------------------------------------------------


@study([{"language": "eng"}], seeds=range(5))
def membership(seed, language):
    """100 texts trained on for 10 epochs, 100 others: after each epoch the attack, and the accuracy on the others."""
    found = data.load_sentiment(language)
    members, others = data.subsample(found["train"], 100, seed), data.subsample(found["test"], 100, seed)
    history = privacy.train_and_attack(members, others, epochs=10, seed=seed, progress=False)
    return {name: [row[name] for row in history] for name in history[0]}


# -- memorisation -------------------------------------------------------------------------------------------------------


@study([{"treatment": treatment} for treatment in ("as they are", "near-duplicates out", "numbers redacted")],
       seeds=range(5))
def canaries(seed, treatment):
    """Exposure (bits) and extraction of planted numbers by how often they stand in the texts; two people for each."""
    planted = memorization.make_canaries(seed=seed)
    rows = data.subsample(data.load_sentiment("eng")["train"], memorization.ORDINARY, seed)
    texts = memorization.plant(rows["text"], planted, seed)
    if treatment == "near-duplicates out":
        texts = [texts[i] for i in memorization.deduplicate(texts)]
    if treatment == "numbers redacted":
        texts = [prompting.redact(text) for text in texts]
    encoder.cache_clear()
    free_memory()
    model, tokenizer, history = memorization.fine_tune(texts, seed=seed, progress=False)
    exposures = memorization.measure_exposures(model, tokenizer, planted, seed=seed)
    extracted = memorization.extract(model, tokenizer, planted)
    found = {"texts": len(texts), "updates": len(history.train)}
    for times in memorization.REPEATS:
        these = [i for i, canary in enumerate(planted) if canary["repeats"] == times]
        found |= {f"exposure_{times}": float(exposures[these].mean()), f"extracted_{times}": float(extracted[these].mean())}
    return found
