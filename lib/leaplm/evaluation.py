"""Numbers about models: metrics, their uncertainty, and the baselines every model has to beat."""

import numpy as np

from leaplm.locales import say
from leaplm.runtime import seeded
from leaplm.text import find_words, normalize, split_words


def accuracy(labels, predictions):
    """Share of predictions that are right, in [0, 1]. Both (n,)."""
    labels, predictions = check_pair(labels, predictions)
    return float(np.mean(labels == predictions))


def macro_f1(labels, predictions):
    """F1 of each class that occurs in either list, then the plain mean over classes, in [0, 1]. Both (n,).

    A class that is never predicted counts as 0. Equals scikit-learn's `f1_score(average="macro", zero_division=0)`.
    """
    labels, predictions = check_pair(labels, predictions)
    return mean_f1(small_numbers(np.concatenate([labels, predictions])).reshape(2, -1), labels == predictions)


def mean_f1(codes, right):
    """Macro-F1 of labels and predictions as numbers from 0, codes (2, n), and whether each prediction is right, (n,)."""
    counts = np.bincount(codes.ravel())
    hits = np.bincount(codes[0][right], minlength=len(counts))
    occurs = counts > 0
    return float(np.mean(2 * hits[occurs] / counts[occurs]))


def small_numbers(classes):
    """Each class as a number from 0, in their order; classes that are small numbers stay, since sorting takes time."""
    if classes.dtype.kind == "i" and classes.min() >= 0 and classes.max() < 1000:
        return classes
    return np.unique(classes, return_inverse=True)[1]


def check_pair(labels, predictions):
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must be equally long lists, not empty")
    return labels, predictions


def predict_logits(model, rows, collate_fn, batch_size=64):
    """Class scores of tokenized rows, (n, classes), in the order of the rows.

    Batches are made of rows of similar length, so little is computed on padding. The model is in evaluation mode
    during the call and in its former mode after it.
    """
    import torch

    order = np.argsort([len(row["input_ids"]) for row in rows], kind="stable")
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    parts = []
    with torch.inference_mode():
        for i in range(0, len(order), batch_size):
            batch = collate_fn([rows[j] for j in order[i : i + batch_size]])
            batch.pop("labels", None)
            parts.append(model(**{k: v.to(device) for k, v in batch.items()}).logits.float().cpu().numpy())
    model.train(was_training)
    logits = np.concatenate(parts)
    return logits[np.argsort(order, kind="stable")]


def log_softmax(logits):
    """Log-probabilities over the last axis, computed without overflow."""
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def evaluate(model, rows, collate_fn, batch_size=64):
    """Loss (nats per text), accuracy and macro-F1 of a classifier on tokenized, labelled rows."""
    logits = predict_logits(model, rows, collate_fn, batch_size)
    labels = np.array([row["label"] for row in rows])
    predictions = logits.argmax(-1)
    loss = -log_softmax(logits)[np.arange(len(labels)), labels].mean()
    return {"loss": float(loss), "accuracy": accuracy(labels, predictions), "macro_f1": macro_f1(labels, predictions)}


def bootstrap_interval(labels, predictions, metric=accuracy, level=0.95, rounds=1000, seed=0):
    """Percentile interval of a metric over resampled test rows: (low, high).

    It shows how far the score would move with another test set of this size; it says nothing about training seeds.
    Source: Efron & Tibshirani, 1993, chapter 13.
    """
    labels, predictions = check_pair(labels, predictions)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(labels), (rounds, len(labels)))
    scores = scores_of_draws(metric, labels, predictions, rows)
    tail = (1 - level) / 2
    return tuple(float(q) for q in np.quantile(scores, [tail, 1 - tail]))


def scores_of_draws(metric, labels, predictions, draws):
    """metric(labels[rows], predictions[rows]) of each draw's rows; for our own metrics classes are compared once.

    >>> draws = np.array([[0, 1, 2], [2, 2, 0]])
    >>> np.round(scores_of_draws(macro_f1, np.array([0, 1, 1]), np.array([0, 1, 0]), draws), 3).tolist()
    [0.667, 0.25]
    """
    right = labels == predictions
    if metric is accuracy:
        return right[draws].mean(axis=1)
    if metric is macro_f1:
        codes = small_numbers(np.concatenate([labels, predictions])).reshape(2, -1)
        return [mean_f1(codes.take(rows, axis=1), right[rows]) for rows in draws]
    return [metric(labels[rows], predictions[rows]) for rows in draws]


def seeds_and_texts_interval(scores, level=0.95, rounds=1000, seed=0):
    """Percentile interval (low, high) of a mean score over other texts *and* other training seeds.

    scores (seeds, n): the score of each text in each run, such as right (1) or wrong (0). Each round draws runs and texts
    with replacement. With one run it is the interval over texts alone; with few runs it is still a little too narrow.
    Source: Bouthillier et al., 2021, *Accounting for variance in machine learning benchmarks*.

    >>> seeds_and_texts_interval([[1, 1, 1, 1], [1, 1, 1, 1]])
    (1.0, 1.0)
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores {scores.shape} must be a table: one row a run, one column a text")
    rng, (runs, texts) = np.random.default_rng(seed), scores.shape
    drawn = [(scores[rng.integers(0, runs, runs)].sum(axis=0) / runs)[rng.integers(0, texts, texts)] for _ in range(rounds)]
    tail = (1 - level) / 2
    return tuple(float(q) for q in np.quantile(np.mean(drawn, axis=1), [tail, 1 - tail]))


def summarize_seeds(values):
    """Mean and sample standard deviation over training seeds, as a dict with the number of seeds."""
    values = np.asarray(values, dtype=float)
    if not len(values):
        raise ValueError(say("no values to summarize"))
    return {"mean": float(values.mean()), "sd": float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
            "seeds": len(values)}


def paired_difference(first, second, level=0.95):
    """How much better `second` is than `first` when run i of both had the same examples: {"mean", "low", "high"}.

    first, second (seeds,): scores, at least 2 each. The interval is Student's t-interval of the mean of the differences;
    what both runs of a seed share (easy or hard examples) drops out of it. Source: Dror et al., 2018, *The hitchhiker's
    guide to testing statistical significance in NLP*, section 3 (paired t-test).

    >>> found = paired_difference([0.70, 0.80, 0.75], [0.72, 0.83, 0.76])
    >>> [round(found[name], 3) for name in ("mean", "low", "high")]
    [0.02, -0.005, 0.045]
    """
    from scipy import stats

    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"first {first.shape} and second {second.shape} must be equally long lists of at least 2 scores")
    differences = second - first
    half = stats.t.ppf((1 + level) / 2, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
    return {"mean": float(differences.mean()), "low": float(differences.mean() - half),
            "high": float(differences.mean() + half)}


def seeds_needed(effect, spread, power=0.8, level=0.95):
    """How many seeds an experiment needs so that the paired interval leaves 0 out with probability `power`.

    effect: the mean difference that is there, in truth; spread: the standard deviation of the differences, seed by seed, as
    an earlier experiment has it (with few seeds it is itself uncertain). level: of the interval; with m comparisons
    1 - 0.05 / m. At most 10,000. Source: Cohen, 1988, *Statistical power analysis*, chapter 2 (noncentral t).
    Raises ValueError for an effect or a spread of 0 or less.

    >>> seeds_needed(effect=0.02, spread=0.03)
    20
    """
    from scipy import stats

    if not (effect > 0 and spread > 0):
        raise ValueError(f"effect={effect} and spread={spread} must be greater than 0")
    for fewest, most in ((2, 100), (100, 10_001)):  # mostly few are enough, and need not wait for the rest
        seeds = np.arange(fewest, most)
        limits = stats.t.ppf((1 + level) / 2, seeds - 1)
        enough = stats.nct.sf(limits, seeds - 1, effect / spread * np.sqrt(seeds)) >= power
        if enough.any():
            return int(seeds[enough][0])
    return 10_000


def majority_baseline(train_labels, test_labels):
    """Predictions (n,) of the rule 'always the class that is most frequent in training'."""
    classes, counts = np.unique(train_labels, return_counts=True)
    return np.full(len(test_labels), classes[counts.argmax()])


def tfidf_classifier(units="words"):
    """The baseline that fine-tuning must beat: TF-IDF, then logistic regression (a scikit-learn pipeline, unfitted).

    units: "words" (words and word pairs; `text.find_words` says what a word is in scripts without blanks), or "characters"
    (pieces of 2 to 5 characters inside words: strong for languages with rich word forms and free spelling).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    by_words = {"tokenizer": find_words, "token_pattern": None, "ngram_range": (1, 2)}
    settings = {"words": by_words, "characters": {"analyzer": "char_wb", "ngram_range": (2, 5)}}
    if units not in settings:
        raise ValueError(f"units={units!r}: use 'words' or 'characters'")
    vectorizer = TfidfVectorizer(preprocessor=normalize, sublinear_tf=True, **settings[units])
    return make_pipeline(vectorizer, LogisticRegression(C=10, max_iter=1000))


def tfidf_baseline(train, test, units="words"):
    """Predictions (n,) on `test` of a TF-IDF classifier fitted on `train` (datasets with text and label)."""
    return tfidf_classifier(units).fit(train["text"][:], train["label"][:]).predict(test["text"][:])


# -- language models ----------------------------------------------------------------------------------------------------


def log_frequencies(rows, vocab_size, special_ids=()):
    """Log-probability of each token by its count in `rows` plus one (vocabulary,); special tokens are not counted."""
    counts = np.ones(vocab_size)
    np.add.at(counts, np.concatenate([row["input_ids"] for row in rows]), 1)
    counts[list(special_ids)] = 1e-3
    return np.log(counts / counts.sum())


def unigram_entropy(train_rows, test_rows, vocab_size, special_ids=()):
    """Loss in nats per token of the best guess without context: each token by its frequency in training.

    A masked language model that stays at this loss has learned nothing but how often tokens occur.
    """
    table = log_frequencies(train_rows, vocab_size, special_ids)
    tokens = np.concatenate([row["input_ids"] for row in test_rows])
    return float(-table[tokens[~np.isin(tokens, list(special_ids))]].mean())


def masked_lm_loss(model, rows, collate_fn, batch_size=32, seed=0):
    """Mean loss in nats per masked token, with masks that depend on `seed` alone (the same at every call)."""
    import torch

    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    total = count = 0
    with torch.inference_mode(), seeded(seed):
        for i in range(0, len(rows), batch_size):
            batch = {k: v.to(device) for k, v in collate_fn(rows[i : i + batch_size]).items() if k != "next_sentence_label"}
            hidden = int((batch["labels"] != -100).sum())
            total, count = total + float(model(**batch).loss) * hidden, count + hidden
    model.train(was_training)
    return total / max(1, count)


def token_log_probs(model, input_ids, positions, mask_token_id, batch_size=64):
    """Log-probability (n,) of the token at each of `positions` (lists), when all of that list's positions are hidden.

    input_ids: one text as a list of int. positions: list of lists; every list is hidden in a copy of the text of its own.
    Gives one number a list: the sum over its positions, in nats. Sources: see `pseudo_perplexity`.
    """
    import torch

    ids, found = torch.tensor(input_ids), []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for i in range(0, len(positions), batch_size):
            part = positions[i : i + batch_size]
            labels = torch.full((len(part), len(ids)), -100)
            for row, places in enumerate(part):
                labels[row, places] = ids[places]
            inputs = torch.where(labels == -100, ids, mask_token_id)
            logits = model(input_ids=inputs.to(model.device), labels=labels.to(model.device)).logits.float().cpu()
            logs = logits.log_softmax(-1)[torch.arange(len(logits)), labels[labels != -100]]
            sizes = [len(places) for places in part]
            found += [float(piece.sum()) for piece in logs.split(sizes)]
    model.train(was_training)
    return np.array(found)


def pseudo_perplexity(model, tokenizer, texts, max_length=128):
    """exp of the mean loss per token when each token of each text is hidden in turn, [CLS] and [SEP] left out.

    Comparable only between models with the same tokenizer. Source: Salazar et al., 2020, section 2.3 (equations 2, 3).

    >>> pseudo_perplexity(model, tokenizer, ["The film is good."])      # doctest: +SKIP
    17.3
    """
    total = count = 0
    for ids in tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]:
        positions = [[i] for i in range(1, len(ids) - 1)]
        total -= token_log_probs(model, ids, positions, tokenizer.mask_token_id).sum()
        count += len(positions)
    return float(np.exp(total / count))


def masked_word_losses(model, tokenizer, texts, words=2, seed=0, whole_in=(), max_length=128):
    """Loss in nats of hidden words (n,), up to `words` of them from each text, all pieces of a word hidden at once.

    The words depend on `seed`, the texts and `whole_in` alone, so models with different vocabularies can be compared on
    them: the loss of a word is the sum over its pieces. whole_in: tokenizers; only words that are one piece in all of
    them are drawn. (A word in several pieces tells how many it has, and a model trained on single hidden tokens has
    hardly met such a hole.)
    """
    losses = []
    for ids, positions in hidden_words(tokenizer, texts, words, seed, whole_in, max_length):
        losses += (-token_log_probs(model, ids, positions, tokenizer.mask_token_id)).tolist()
    return np.array(losses)


def unigram_word_losses(table, tokenizer, texts, words=2, seed=0, whole_in=(), max_length=128):
    """The same words' losses (n,) without context: minus the sum of `table` (vocabulary,), from `log_frequencies`."""
    return np.array([-table[np.array(ids)[places]].sum() for ids, positions in
                     hidden_words(tokenizer, texts, words, seed, whole_in, max_length) for places in positions])


def hidden_words(tokenizer, texts, words, seed, whole_in, max_length):
    """For each text its ids and, for each word drawn, the positions of its pieces."""
    rng = np.random.default_rng(seed)
    for text in texts:
        pieces = split_words(text)
        whole = [i for i, word in enumerate(pieces) if all(is_one_piece(word, some) for some in whole_in)]
        chosen = sorted(rng.choice(whole, min(words, len(whole)), replace=False).tolist())
        if not chosen:
            continue
        encoded = tokenizer(pieces, is_split_into_words=True, truncation=True, max_length=max_length)
        owner = np.array([-1 if word is None else word for word in encoded.word_ids()])
        # A word beyond max_length, or one without any piece, is left out for this tokenizer.
        positions = [np.flatnonzero(owner == word).tolist() for word in chosen]
        yield encoded["input_ids"], [places for places in positions if places]


def is_one_piece(word, tokenizer):
    pieces = tokenizer(word, add_special_tokens=False)["input_ids"]
    return len(pieces) == 1 and pieces[0] != tokenizer.unk_token_id
