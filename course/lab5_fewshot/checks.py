"""Checks of lab 5, few-shot and zero-shot. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
import torch
from leaplm import artifacts, data, evaluation, fewshot, models
from leaplm.grading import (
    NOTHING_CALLED,
    Contract,
    ListOf,
    Number,
    Numbers,
    Record,
    Seeded,
    Several,
    StudentError,
    Tensor,
    Text,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, tiny_models
from leaplm.grading.judge.class_points import judge_classes
from leaplm.grading.judge.remembered import class_scores
from scipy import stats

PROBES, TINY = "leaplm.grading.judge.probes:", "leaplm.grading.judge.tiny_models:"
CLOSE = 1e-4
MOST_SHOTS = 16


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


DRAWS = 40  # so many that a row is missed by chance less than twice in a million times


@check(points=2, contract=Contract("labels num_shots seed", Numbers("int", dims=1), random=Seeded(2)))
def sample_balanced(student, rng):
    """Class numbers with gaps, 0 among them, classes of different sizes, one of them with no row to spare; rows in order
    of the class."""
    classes = rng.permutation([0, *rng.choice(np.arange(2, 50), size=2, replace=False)])
    shots = int(rng.integers(4, 7))
    labels = np.repeat(classes, [shots, 2 * shots, 3 * shots]).tolist()
    draws = [draw_rows(student, labels, shots, seed) for seed in range(DRAWS)]
    if any(len(rows) != 3 * shots or len(set(rows)) != len(rows) for rows in draws):
        return 0, "num_shots different rows of each class are wanted, no row twice"
    drawn = [[labels[row] for row in rows] for rows in draws]
    if any(words.count(c) != shots for words in drawn for c in classes):
        return 0, "each class that occurs in labels should have num_shots rows"
    if draw_rows(student, labels, shots, 0) != draws[0] or len({tuple(sorted(rows)) for rows in draws}) == 1:
        return 0, "the same seed should give the same rows, another seed other rows"
    if len(set().union(*draws)) < len(labels):
        return 0, "some rows are never drawn, whatever the seed: each row of a class should have its chance"
    if all(sum(a != b for a, b in zip(words, words[1:], strict=False)) == 2 for words in drawn):
        return 1, "the right rows; but the classes come one after the other: mix them"
    return 2, "balanced, no row twice, in mixed order"


def draw_rows(student, labels, shots, seed):
    rows = as_array(student.call("sample_balanced", labels, shots, seed), None, "sample_balanced")
    if rows.ndim != 1 or not np.array_equal(rows, rows.astype(int)) or ((rows < 0) | (rows >= len(labels))).any():
        raise StudentError("unexpected", "sample_balanced should return row numbers between 0 and n - 1.")
    return rows.astype(int).tolist()


@check(points=2, contract=Contract("text_vectors label_vectors", Numbers("int", dims=1)))
def nearest_label(student, rng):
    """Vectors of very different lengths, so that dot products, distances and plain means decide otherwise. One text last."""
    def vectors(*shape):
        return (rng.normal(size=(*shape, 6)) * np.exp(rng.normal(scale=1.5, size=(*shape, 1)))).astype(np.float32)

    texts, labels = vectors(200), vectors(4, 3)
    got = as_array(student.call("nearest_label", texts, labels), (200,), "nearest_label")
    similar = np.einsum("nw,cdw->nc", fewshot.unit(texts), fewshot.unit(labels))
    best = np.sort(similar, axis=1)
    clear = best[:, -1] - best[:, -2] > 1e-5
    alone = as_array(student.call("nearest_label", texts[clear][:1], labels), (1,), "nearest_label")
    if np.array_equal(got[clear], similar.argmax(axis=1)[clear]) and alone == similar.argmax(axis=1)[clear][:1]:
        return 2, "the label with the largest mean cosine"
    one = vectors(4, 1)
    single = as_array(student.call("nearest_label", texts, one), (200,), "nearest_label")
    want = np.einsum("nw,cdw->nc", fewshot.unit(texts), fewshot.unit(one)).argmax(axis=1)
    if np.mean(single == want) > 0.99:
        return 1, "right for one description a class; with several, take the mean of their cosines"
    return 0, "other labels are nearer: is it the cosine (all vectors of length 1), and its largest value?"


PROMPT = Contract("demonstrations text words template", Several(Text(), Text()),
                  own="leaplm.fewshot.examples.demonstration_prefix leaplm.prompting.templates.PromptTemplate")


@check(points=3, contract=PROMPT)
def few_shot_prompt(student, rng):
    """Prefix, prompt and leakage, one point each; texts may hold braces or the placeholder, stand there twice, with the
    same label or another, or inside of one another. At last no demonstration."""
    template = str(rng.choice(["Text: {text}\nKind:", "{text} =>", "Q: {text}\nA:"]))
    words = [" bad", " good", " so so"]
    texts = rng.permutation(["Fine {really}", "Too LONG by far", "A 10/10", "the end  was weak", "Ọjà ƙarfe"]).tolist()
    texts += [texts[0], texts[0], f"a {{text}} {texts[1]}"]
    labels = [2, 0, 1, *rng.integers(3, size=2).tolist(), 2, 1, 0]  # not in the order of the classes
    rows = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    text = f"number {int(rng.integers(1000))} {{x}}"
    result = student.call("few_shot_prompt", rows, text, words, template)
    if not isinstance(result, list) or len(result) != 2:
        return 0, "few_shot_prompt should return two strings: the prefix and the prompt"
    want = "".join(template.replace("{text}", row["text"]) + words[row["label"]] + "\n\n" for row in rows)
    missing = []
    alone = student.call("few_shot_prompt", [], text, words, template)
    if result[0] != want or alone[0] != "":
        missing.append("the prefix (each demonstration, its word, two line ends; in the order given)")
    if result[1] != template.replace("{text}", text):
        missing.append("the prompt (the template with the text, no answer and no space at its end)")
    if problem := leak_problem(student, rows, words, template):
        missing.append(problem)
    if missing:
        return 3 - len(missing), f"not as it should be: {'; '.join(missing)}"
    return 3, "prefix and prompt are right, and leaks are refused"


def leak_problem(student, rows, words, template):
    """What is wrong with the leaks that are refused and the texts that are not; None if nothing is."""
    texts = [row["text"] for row in rows]
    leaking = [texts[1], f"  {texts[0].upper()} ", texts[2].replace(" ", "\t"), texts[4].swapcase(), f"{texts[3].lower()}\n"]
    if not all(refuses(student, rows, text, words, template) for text in leaking):
        return "a ValueError when the text is a demonstration, also in other letter case or spacing"
    near = [texts[1] + "!", texts[2][:-1], texts[3].replace(" ", ", ", 1), template.replace("{text}", texts[0])]
    if any(refuses(student, rows, text, words, template) for text in near):
        return "a text that only resembles a demonstration (a part of it, or one sign more) is no leak"
    return None


def refuses(student, *given):
    """Whether `few_shot_prompt` raises a ValueError, or an error derived from it."""
    answer = student.get("few_shot_prompt")
    return "ValueError" in student.read(answer, "leaplm.grading.judge.probes:error_raised", *given)


SCORING = " ".join(("leaplm.prompting.scoring.*continuation_log_probs*", "leaplm.prompting.scoring.score_batch",
                    "leaplm.prompting.scoring.prefix_cache", "leaplm.prompting.templates.label_log_probs"))


@check(points=4, contract=Contract("model prefix_ids prompt_ids label_ids", Numbers("float", dims=2), own=SCORING))
def score_labels(student, rng):
    """A tiny model with random weights that counts the tokens sent through it. Then one prompt of one token."""
    for prompts, tokens, labels in ((5, 4, 6), (1, 1, 1)):
        points, told = scored(student, rng, prompts, tokens, labels)
        if points < 4:
            return points, told
    return 4, "the right numbers, and the prefix went through the model once"


def scored(student, rng, n, tokens, classes):
    seed = int(rng.integers(10**6))
    prefix, prompts = rng.integers(40, size=int(rng.integers(12, 18))), rng.integers(40, size=(n, tokens))
    labels = rng.permutation(np.append(rng.choice(np.arange(1, 40), size=classes - 1, replace=False), 0))
    model = student.build("leaplm.grading.judge.tiny_models:counting_causal_lm", seed)
    got = as_array(student.call("score_labels", model, prefix, prompts, labels), (n, classes), "score_labels")
    sent = student.read(model, "leaplm.grading.judge.tiny_models:tokens_seen")
    whole = np.concatenate([np.repeat(prefix[None], n, axis=0), prompts], axis=1)
    logits = probes.logits(tiny_models.tiny_causal_lm(seed), input_ids=whole)
    if not close(got, evaluation.log_softmax(logits)[:, -1][:, labels]):
        alone = evaluation.log_softmax(probes.logits(tiny_models.tiny_causal_lm(seed), input_ids=prompts))[:, -1][:, labels]
        if close(got, alone):
            return 0, "these are the numbers without any prefix: does the second call get the cache? " \
                      "(`cache.batch_repeat_interleave(n)` changes the cache itself and returns nothing)"
        return 0, "not the log-probabilities of the whole text: last position, whole vocabulary, same prefix for all?"
    fewest = len(prefix) + prompts.size
    if sent > fewest:
        return 2, f"the right numbers; but {sent} tokens went through the model, and {fewest} are enough"
    return 4, "the right numbers"


# -- embed ----------------------------------------------------------------------------------------------------------------

WORDS = [*(f"w{number}" for number in range(15)), *(f"W{number}" for number in range(15)),
         *(f"{number}{'o' * 30}" for number in range(8))]
VECTORS = Contract("encoder tokenizer texts batch_size max_length", Tensor("float", dims=2), gradient="none",
                   forward="eval, no_grad", own="leaplm.fewshot.examples.PooledEncoder leaplm.evaluation.predict_logits")


@check(points=2, contract=VECTORS)
def embed(student, rng):
    """Texts of many lengths, none in order, one empty, one too long, one twice; a last batch that is not full; one text.
    Blanks are tokens and words may be long, so that the numbers of letters and of words tell little about the tokens. An
    encoder with strong dropout, in training mode at first, then in evaluation mode."""
    short, long = WORDS[:30], WORDS[30:]
    kinds = (short, 1), (short, 3), (long, 3), (short, 20), (long, 1)
    texts = [" ".join(rng.choice(words, size)) for words, size in kinds]
    texts += [(" " * blanks).join(rng.choice(short, 2)) for blanks in (5, 7, 9)]
    texts = rng.permutation(texts).tolist()
    texts = [texts[0], "", *texts[1:], texts[0]]
    for some, size, longest, training in ((texts, 4, 16, True), (texts[-1:], 4, 16, False), (texts[:4], 8, 40, True)):
        seed = int(rng.integers(10**6))
        tokenizer = student.build(f"{TINY}chat_tokenizer", WORDS)
        encoder = student.build(f"{TINY}counting_encoder", seed, dropout=0.5)
        student.read(encoder, f"{PROBES}set_training", training)
        got = as_array(student.call("embed", encoder, tokenizer, some, size, longest), (len(some), 16), "embed")
        want, lengths = vectors_of(seed, some, longest)
        if not close(got, want):
            return 0, explain_vectors(seed, some, size, longest, got, want, lengths)
        if problem := batch_problem(student.read(encoder, f"{TINY}shapes_seen"), size, lengths):
            return 1, problem
    return 2, "mean-pooled vectors in the order of the texts, and little computed on padding"


def vectors_of(seed, texts, longest):
    """(vectors of the texts, each by itself; their numbers of tokens)."""
    encoder, tokenizer = tiny_models.tiny_encoder(seed).eval(), tiny_models.chat_tokenizer(WORDS)
    ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
    with torch.no_grad():
        found = [encoder(input_ids=torch.tensor([row])).last_hidden_state[0].mean(dim=0).numpy() for row in ids]
    return np.stack(found), [len(row) for row in ids]


def explain_vectors(seed, texts, size, longest, got, want, lengths):
    order = np.argsort(lengths, kind="stable")
    if any(close(got, want[places]) for places in (order, order[::-1], np.argsort(-np.array(lengths), kind="stable"))):
        return "the right vectors in the order of the lengths: bring them back into the order of the texts"
    for places in (order, order[::-1], np.arange(len(texts))):
        if close(got, padded_means(seed, texts, size, longest, places)):
            return "the padding is in the mean: divide the sum over the real tokens by their number"
    fits = np.array(lengths) < longest
    if close(got[fits], want[fits]):
        return "a text of more than `max_length` tokens is cut there: truncation=True, max_length=max_length"
    return "other vectors: dropout off (eval), attention mask, mean over the real tokens, texts in their order?"


def padded_means(seed, texts, size, longest, places):
    """The means over all tokens of a batch, its padding too."""
    encoder, tokenizer = tiny_models.tiny_encoder(seed).eval(), tiny_models.chat_tokenizer(WORDS)
    found = np.zeros((len(texts), 16))
    for start in range(0, len(texts), size):
        rows = places[start : start + size]
        some = [texts[row] for row in rows]
        batch = tokenizer(some, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        with torch.no_grad():
            found[rows] = encoder(**batch).last_hidden_state.mean(dim=1).numpy()
    return found


def batch_problem(shapes, size, lengths):
    """What is wrong with the batches (texts, tokens) that went through the encoder; None if nothing is."""
    if len(shapes) != -(-len(lengths) // size) or max(rows for rows, _ in shapes) > size:
        return "the right vectors; but each batch should hold `batch_size` texts, the last one the rest"
    ordered = sorted(lengths), sorted(lengths, reverse=True)
    cut = [[some[start : start + size] for start in range(0, len(some), size)] for some in ordered]
    wanted = [sorted([len(part), max(part)] for part in parts) for parts in cut]
    sent, fewest = sum(rows * tokens for rows, tokens in shapes), min(sum(a * b for a, b in parts) for parts in wanted)
    if sent > fewest and sorted(map(list, shapes)) not in wanted:
        return f"the right vectors; but {sent} places went through the encoder, padding too, and {fewest} are enough: " \
               "put texts of similar length into one batch"
    return None


# -- head_loss and train_head ---------------------------------------------------------------------------------------------

LOSS = Contract("weight bias vectors labels C", Tensor("float", dims=0), gradient="weight bias")
TRAINED = Contract("vectors labels C tolerance max_steps",
                   Several(Tensor("float32", dims=2), Tensor("float32", dims=1), Numbers("float", dims=1)), gradient="none",
                   forbids="sklearn.linear_model.LogisticRegression sklearn.linear_model.SGDClassifier",
                   own="leaplm.fewshot.heads.head_loss leaplm.fewshot.examples.fit_head")


@check(points=3, contract={"head_loss": LOSS, "train_head": TRAINED})
def train_head(student, rng):
    """One point for the loss, one for the head, one for the rule that stops."""
    if problem := loss_problem(student, rng):
        return 0, problem
    try:
        return trained_head(student, rng)
    except StudentError as error:  # the loss is right all the same
        return 1, str(error)


def loss_problem(student, rng):
    """Few and many classes, one row, large logits; small and large C. The value, then the gradient."""
    for n, classes, strength, scale in ((7, 3, 0.5, 1), (1, 2, 10.0, 1), (6, 4, 2.0, 300)):
        weight, vectors = rng.normal(size=(classes, 5)), scale * rng.normal(size=(n, 5))
        bias, labels = rng.normal(size=classes) + 1, np.append(rng.integers(classes, size=n - 1), 0)
        given = [part.astype(np.float32) for part in (weight, bias, vectors)] + [labels, strength]
        got = as_array(student.call("head_loss", *given), (), "head_loss")
        if not np.allclose(got, near_loss(*given), atol=1e-4, rtol=1e-4):
            return explain_loss(float(got), given)
        found = student.read(student.get("head_loss"), f"{PROBES}gradients_of_call", *given)
        if any(not np.allclose(found.get(name, 0), part, atol=1e-4, rtol=1e-3)
               for name, part in zip("01", near_gradients(*given), strict=True)):
            return "head_loss has the right value, but another gradient: is a part of it cut off (detach, .data, item)?"
    return None


def near_loss(weight, bias, vectors, labels, strength, total=False, of_bias=False, share=True, half=True, inverse=False,
              root=False, off=False, mean=False):
    """The loss, or what it is with one thing done otherwise."""
    weight, bias, vectors = (np.asarray(part, dtype=np.float64) for part in (weight, bias, vectors))
    losses = -evaluation.log_softmax(vectors @ weight.T + bias)[np.arange(len(labels)), labels]
    size = (weight**2).sum() + (bias**2).sum() * of_bias
    size = np.sqrt(size) if root else size / weight.size if mean else size
    penalty = size * (strength if inverse else 1 / strength) / (2 if half else 1) * (not off)
    return losses.sum() + penalty if total else losses.mean() + penalty / (len(labels) if share else 1)


def near_gradients(weight, bias, vectors, labels, strength):
    weight, bias, vectors = (np.asarray(part, dtype=np.float64) for part in (weight, bias, vectors))
    error = np.exp(evaluation.log_softmax(vectors @ weight.T + bias)) - np.eye(len(bias))[labels]
    return error.T @ vectors / len(labels) + weight / (strength * len(labels)), error.mean(axis=0)


LOSSES = [({"total": True}, "head_loss gives the sum over the rows: the mean is wanted (the penalty is divided by n too)"),
          ({"of_bias": True}, "the bias has no penalty: it stands in ||W||^2 of head_loss"),
          ({"share": False}, "the penalty of head_loss is divided by n too"),
          ({"half": False}, "the penalty of head_loss is ||W||^2 / (2 C n): the 2 is missing"),
          ({"inverse": True}, "a small C is a strong penalty: divide by C in head_loss"),
          ({"root": True}, "||W||^2 is the sum of the squares, without a root"),
          ({"mean": True}, "||W||^2 is the sum of the squares, not their mean"),
          ({"off": True}, "head_loss has no penalty: add ||W||^2 / (2 C n)")]


def explain_loss(got, given):
    for change, told in LOSSES:
        if np.isclose(got, near_loss(*given, **change), atol=1e-4, rtol=1e-4):
            return told
    if not np.isfinite(got):
        return "head_loss overflows where logits are large (1,000): logits minus their logsumexp, not the logarithm of exp"
    return "head_loss gives another number: mean cross-entropy in nats (logits minus logsumexp) plus ||W||^2 / (2 C n)"


def trained_head(student, rng):
    """Classes of different sizes, vectors away from zero: the bias matters; short vectors, so that its gradient is the
    largest. A limit of steps, 0 among them; a start that is enough. Plain descent comes to the end too. At last numbers
    of which 32 bits lose too much: large ones, whose sum over the rows of each class is 0; no step is needed there."""
    for n, classes, strength, tolerance, length in ((24, 3, 0.3, 1e-3, 1), (15, 2, 0.1, 2e-3, 0.02), (20, 4, 0.2, 1e-3, 1)):
        vectors, labels = rows_to_learn(rng, n, classes, length)
        weight, bias, norms = head_of(student, vectors, labels, strength, tolerance, 1000)
        size = gradient_size(weight, bias, vectors, labels, strength)
        if size > 1.1 * tolerance + 1e-6:
            return 1, f"head_loss is right; but at the head that comes back its gradient is {size:.2g}, more than the " \
                      "tolerance: does it go on until then, from zeros, and with the head of the last step?"
        if problem := norms_problem(norms, size, tolerance, vectors, labels, classes, strength):
            return 2, problem
    for most in (2, 0):
        weight, bias, norms = head_of(student, vectors, labels, strength, 1e-9, most)
        size = gradient_size(weight, bias, vectors, labels, strength)
        if len(norms) != most + 1 or not np.isclose(norms[-1], size, rtol=0.05):
            return 2, "the head is right; but after `max_steps` steps it should stop, with `max_steps` + 1 norms"
    weight, bias, norms = head_of(student, vectors, labels, strength, 1e3, 5)
    if len(norms) != 1 or np.any(weight) or np.any(bias):
        return 2, "the head is right; but where the gradient is small enough at the start, no step should be taken"
    vectors, labels = rows_that_cancel(rng)
    size = gradient_size(np.zeros((3, vectors.shape[1])), np.zeros(3), vectors, labels, strength)
    _, _, norms = head_of(student, vectors, labels, strength, 3 * size, 2)
    if len(norms) != 1 or not np.isclose(norms[0], size, rtol=1e-3):
        return 2, "the head is right; but with large numbers its norms are not exact: compute in 64 bits, `vectors.double()`"
    return 3, "the loss, its smallest value, and a rule that stops"


def rows_to_learn(rng, n, classes, length):
    labels = rng.permutation(np.concatenate([np.arange(classes), rng.random(n - classes) < 0.3]).astype(int))
    centres = rng.normal(size=(classes, 4))
    return (length * (centres[labels] + rng.normal(size=(n, 4)) + 0.7)).astype(np.float32), labels


def rows_that_cancel(rng):
    """Three classes of 8 rows, of which each large number stands there once more with a minus; one column is small."""
    large = 1e9 * rng.uniform(0.5, 1, size=(3, 4, 7)).astype(np.float32)
    vectors, labels = np.concatenate([large, -large], axis=1).reshape(24, 7), np.repeat(np.arange(3), 8)
    vectors[:, 3] = 1 + labels
    mixed = rng.permutation(24)
    return vectors[mixed].astype(np.float32), labels[mixed]


def head_of(student, vectors, labels, *settings):
    weight, bias, norms = student.call("train_head", vectors, labels, *settings)
    classes = int(labels.max()) + 1
    return as_array(weight, (classes, vectors.shape[1]), "weight"), as_array(bias, (classes,), "bias"), \
        as_array(norms, (None,), "norms")


def gradient_size(weight, bias, vectors, labels, strength):
    return max(np.abs(part).max() for part in near_gradients(weight, bias, vectors, labels, strength))


def norms_problem(norms, size, tolerance, vectors, labels, classes, strength):
    start = gradient_size(np.zeros((classes, vectors.shape[1])), np.zeros(classes), vectors, labels, strength)
    if not len(norms) or not np.isclose(norms[0], start, rtol=1e-3):
        return "the head is right; but the first norm should be that at zeros: the largest absolute number in the gradient"
    if not np.isclose(norms[-1], size, rtol=0.05, atol=2e-6):
        return "the head is right; but the last norm should be that of the head which comes back"
    if (norms[:-1] <= tolerance).any():
        return "the head is right; but it should stop as soon as the norm is at most the tolerance"
    return None


# -- stratified_folds and choose_strength ---------------------------------------------------------------------------------

CROSS = "sklearn.model_selection.*Fold sklearn.model_selection.cross_val* sklearn.model_selection.GridSearchCV"
FOLDS = Contract("labels folds seed", ListOf(Numbers("int", dims=1)), random=Seeded(2), forbids=CROSS)
CHOICE = Contract("fit vectors labels strengths folds seed", Several(Number(), Numbers(dims=1)),
                  forbids=CROSS, own="leaplm.fewshot.heads.stratified_folds")
NEAR = 0.5  # its score is that of the best less one row
STRENGTHS = [10.0, 0.1, 1.0, NEAR, 100.0]  # the best are equally good, and the smallest of them is neither first nor last
HOW_MANY = "another number of folds: as many as `folds` says, but no more than the smallest class has rows"


@check(points=2, contract={"stratified_folds": FOLDS, "choose_strength": CHOICE})
def choose_strength(student, rng):
    """One point for the folds, one for the choice."""
    if problem := folds_problem(student, rng):
        return 0, problem
    try:
        problem = together_problem(student, rng) or choice_problem(student, rng)
    except StudentError as error:  # the folds are right all the same
        return 1, str(error)
    if problem:
        return 1, problem
    return 2, "each row tested once, by a head that has not seen it; of equally good ones the smallest C"


def folds_problem(student, rng):
    """Class numbers with gaps, 0 among them; classes that do not fill the folds, are smaller than them, have one row."""
    names = rng.permutation([0, *rng.choice(np.arange(2, 50), size=2, replace=False)])
    for sizes, folds, wanted in (((5, 7, 9), 4, 4), ((9, 3, 6), 5, 3), ((2, 2, 2), 2, 2)):
        labels = rng.permutation(np.repeat(names, sizes))
        found = student.call("stratified_folds", labels, folds, 3)
        parts = [as_array(part, (None,), "a fold").astype(int) for part in found]
        if not np.array_equal(np.sort(np.concatenate([*parts, []])), np.arange(len(labels))):
            return "the folds should hold each row number from 0 to n - 1 once"
        if len(parts) != wanted:
            return HOW_MANY
        counts = np.array([[np.sum(labels[part] == name) for name in names] for part in parts])
        if np.ptp(counts, axis=0).max() > 1:
            return "of each class every fold should have nearly equally many rows: at most one more than another fold"
        if np.ptp(counts.sum(axis=1)) > 1:
            return "the folds differ in size by more than one row: go on dealing where the class before has ended"
    alone = names[[0, 0, 0, 1, 2, 2]].tolist()
    if "ValueError" not in student.read(student.get("stratified_folds"), f"{PROBES}error_raised", alone, 3, 0):
        return "a class with a single row should raise a ValueError: it cannot be learned and tested"
    return None


def together_problem(student, rng):
    """What is wrong where the same rows of a class come together with each seed, in whatever order the folds are."""
    labels = rng.permutation(np.repeat(np.arange(3), (6, 8, 10)))
    found = set()
    for seed in (4, 5, 6):
        parts = [as_array(part, (None,), "a fold").astype(int) for part in student.call("stratified_folds", labels, 3, seed)]
        found.add(frozenset(frozenset(part[labels[part] == c].tolist()) for part in parts for c in range(3)))
    if len(found) == 1:
        return "which rows of a class come together in a fold should be random: other rows with another seed"
    return None


def choice_problem(student, rng):
    """Rows that can be told apart, at first all of them; classes of different sizes, a class of two rows, folds that are not
    equally large; a fit that keeps what it was given, and errs in one row for a C of its own."""
    kept, usual = [], (6, 9, 7)
    for sizes, folds, seed, noise in ((usual, 3, 5, 0), (usual, 3, 6, 0), (usual, 4, 5, 1), ((2, 8, 5), 5, 5, 1)):
        if seed == 5:  # the same rows again with another seed
            labels = rng.permutation(np.repeat(np.arange(3), sizes))
            centres = 1.2 * rng.normal(size=(3, 6)) if noise else 3 * np.eye(3, 6, k=2)
            vectors = centres[labels] + noise * rng.normal(size=(len(labels), 6))
            vectors[:, 0], vectors[:, 1] = np.arange(len(labels)), 0
            vectors[rng.choice(np.flatnonzero(labels)), 1] = 1
        fit = student.build(f"{PROBES}centre_head", 3, 0, NEAR)
        best, scores = student.call("choose_strength", fit, vectors, labels, STRENGTHS, folds, seed)
        scores = as_array(scores, (len(STRENGTHS),), "scores")
        given = student.read(fit, f"{PROBES}trainings_given")
        if problem := trainings_problem(given, labels, min(folds, *sizes)):
            return problem
        kept.append(frozenset(frozenset(rows) for _, rows, _ in given))
        if seed == 6 and kept[0] == kept[1]:
            return "other seeds should give other folds: pass `folds` and `seed` on to `stratified_folds`"
        want = [expected_score(given, vectors, labels, strength) for strength in STRENGTHS]
        if not np.allclose(scores, want, atol=1e-5):
            return "the folds are right, not the scores: the share of rows whose class is right when they are tested"
        tops = [np.array(STRENGTHS)[some].min() for some in (scores == scores.max(), np.isclose(scores, scores.max()))]
        if not np.isclose(as_number(best, "C"), tops).any():
            return "the scores are right, not the choice: the largest score, and of equally good ones the smallest C"
    return None


def trainings_problem(given, labels, folds):
    """What is wrong with the rows that `fit` was given, [(C, row numbers, labels)]; None if nothing is."""
    everything, held_out = set(range(len(labels))), {strength: [] for strength in STRENGTHS}
    if not given:
        return "fit should get the vectors of some rows, the labels of the same rows, and one of `strengths`"
    for strength, rows, classes in given:
        if list(labels[rows]) != classes or not any(np.isclose(strength, known) for known in STRENGTHS):
            return "fit should get the vectors of some rows, the labels of the same rows, and one of `strengths`"
        held_out[min(STRENGTHS, key=lambda known, strength=strength: abs(known - strength))].append(everything - set(rows))
    for parts in held_out.values():
        if any(not part for part in parts):
            return "fit was given all rows: those of the fold that is tested must be left out"
        once = sorted(row for part in parts for row in part) == sorted(everything)
        if once and len(parts) != folds:
            return HOW_MANY
        if not once:
            return "for each C, each row should be left out once: fit learns from all folds but one, in turn"
    if len({frozenset(map(frozenset, parts)) for parts in held_out.values()}) > 1:
        return "the folds should be the same for each C, or luck decides between them"
    return None


def expected_score(given, vectors, labels, strength):
    """The share of right rows for a C, over all rows: the folds are not equally large."""
    head, right = probes.centre_head(3, 0, NEAR), 0
    for _, rows, _ in (training for training in given if np.isclose(training[0], strength)):
        tested = np.setdiff1d(np.arange(len(labels)), rows)
        weight, bias = head.head(vectors[rows], labels[rows], strength)
        right += ((vectors[tested] @ weight.T + bias).argmax(axis=1) == labels[tested]).sum()
    return right / len(labels)


# -- learning_curve -------------------------------------------------------------------------------------------------------

CURVE = Contract("methods labels test_labels shots seeds", ListOf(Record({
    "method": Text(), "shots": Number(whole=True), **dict.fromkeys(("mean", "sd", "gain", "low", "high"), Number())})),
    own="leaplm.evaluation.paired_difference")


@check(points=2, contract=CURVE)
def learning_curve(student, rng):
    """Class numbers with gaps, methods that keep which rows they were given; a seed that comes in two calls."""
    names = rng.permutation([0, *rng.choice(np.arange(2, 50), size=2, replace=False)])
    labels = rng.permutation(np.repeat(names, (9, 12, 15))).tolist()
    tested, first = rng.choice(names, size=60), int(rng.integers(2, 50))
    draws = []
    for shots, seeds in (([2, 5, 3], [first, 0, first + 7, first + 1]), ([5], [first + 7, first + 60])):
        ours = {name: probes.drawn_method(int(rng.integers(10**6)), tested, skill)
                for name, skill in (("zeta", 0.3), ("alpha", 0.5), ("mu", 0.2))}
        methods = {name: student.build(f"{PROBES}drawn_method", method.seed, tested, method.skill)
                   for name, method in ours.items()}
        curve = student.call("learning_curve", methods, labels, tested, shots, seeds)
        asked = {name: student.read(method, f"{PROBES}rows_asked") for name, method in methods.items()}
        if problem := draws_problem(asked, labels, shots, seeds):
            return 0, problem
        draws.append({frozenset(rows) for rows in asked["mu"] if len(rows) == 15})
        if [(row["method"], row["shots"]) for row in curve] != [(name, count) for count in shots for name in methods]:
            return 0, "a row for each number of shots, in their order, and in it for each method, in theirs, is wanted"
        right = {name: {frozenset(rows): np.mean(ours[name].predict(rows) == tested) for rows in some}
                 for name, some in asked.items()}
        for row in curve:
            if told := row_problem(row, right, asked):
                return told
    if len(draws[0] & draws[1]) != 1:
        return 0, "the same seed should give the same rows, in each call, and another seed others"
    return 2, "the same balanced draws for all methods; mean, spread, and the gain with its interval"


def draws_problem(asked, labels, shots, seeds):
    """What is wrong with the rows that the methods were given; None if nothing is."""
    labels = np.array(labels)
    classes = np.unique(labels)
    sets = {name: [frozenset(rows) for rows in some] for name, some in asked.items()}
    for some in asked.values():
        for rows in some:
            if len(set(rows)) != len(rows) or not set(rows) <= set(range(len(labels))):
                return "a method should get different row numbers from 0 to n - 1"
            counts = [np.sum(labels[rows] == name) for name in classes]
            if len(set(counts)) > 1 or counts[0] not in shots:
                return "a draw should hold equally many rows of each class, as many as `shots` says: fewshot.sample_balanced"
    if len(set(map(frozenset, sets.values()))) > 1:
        return "all methods should get the same draws, or luck decides between them"
    if any(len(set(some)) < len(shots) * len(seeds) for some in sets.values()):
        return "each number of shots should be drawn once with each of the seeds: some draws are missing, or are the same"
    if any(len(some) > len(shots) * len(seeds) for some in sets.values()):
        return "a method is called more than once for the same draw: training costs time"
    if other_seeds(next(iter(sets.values())), labels, seeds):
        return "the draws have other seeds: each of `seeds` goes to fewshot.sample_balanced as it is"
    return None


def other_seeds(sets, labels, seeds):
    """Whether draws are the library's with seeds not given; those of the largest number, which tells seeds apart."""
    largest = max(map(len, sets))
    found = {rows for rows in sets if len(rows) == largest}
    shots = largest // len(np.unique(labels))

    def drawn(some):
        return {frozenset(fewshot.sample_balanced(labels, shots, seed).tolist()) for seed in some}

    return not found <= drawn(seeds) and bool((found - drawn(seeds)) & drawn(range(150)))


def row_problem(row, right, asked):
    """(points, what is wrong) of one row of the curve; None if nothing is."""
    drawn = [frozenset(rows) for rows in next(iter(asked.values())) if len(rows) == 3 * row["shots"]]
    first, own = (np.array([right[name][rows] for rows in drawn]) for name in (next(iter(right)), row["method"]))
    if not np.isclose(row["mean"], own.mean(), atol=1e-5):
        return 0, "the draws are right, not the mean accuracy over the seeds (a share from 0 to 1)"
    if not np.isclose(row["sd"], own.std(ddof=1), atol=1e-5):
        return 1, "the mean is right, not sd: the sample deviation over the seeds, which divides by their number less one"
    gains = own - first
    if not np.isclose(row["gain"], gains.mean(), atol=1e-5):
        return 1, "mean and sd are right, not gain: the mean difference from the first method"
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    if np.allclose([row["low"], row["high"]], [gains.mean() - half, gains.mean() + half], atol=1e-5):
        return None
    normal = 1.96 * gains.std(ddof=1) / np.sqrt(len(gains))
    if np.allclose([row["low"], row["high"]], [gains.mean() - normal, gains.mean() + normal], atol=1e-4):
        return 1, "all is right but the interval: with few seeds 1.96 is too small, take stats.t.ppf(0.975, seeds - 1)"
    return 1, "all is right but low and high: gain minus and plus t * s / sqrt(seeds), s of the differences of each draw"


# -- few_shot_classifier --------------------------------------------------------------------------------------------------


@check(points=6, seconds=120, contract=NOTHING_CALLED)
def few_shot_classifier(student, rng):
    """The saved classifier on held-out sentences: full points from the calibrated mean minus three deviations."""
    content = first_artifact(student, ("fewshot-gpu.safetensors", "fewshot-cpu.safetensors"))
    try:
        card, tensors = artifacts.read_artifact(content)
        language, labels, shots = card.get("language"), card.get("labels"), card.get("shots")
        heldout = data.heldout_rows(language)
        if labels != heldout.features["label"].names:
            return 0, f"the classes of the artifact are not those of language {language!r}"
        if not isinstance(shots, int) or not 1 <= shots <= MOST_SHOTS:
            return 0, f"the card says shots={shots!r}; between 1 and {MOST_SHOTS} examples of each class are allowed"
        if {"classifier.weight", "classifier.bias"} - set(tensors):
            return 0, "the artifact has no head (classifier.weight and classifier.bias)"
        model = artifacts.apply_artifact(models.load_sequence_classifier(labels), tensors)
    except (ValueError, KeyError) as error:
        return 0, f"the artifact cannot be used: {error}"
    return judge_classifier(model, heldout, language)


def judge_classifier(model, heldout, language):
    tokenizer = models.load_tokenizer()
    rows = data.tokenize(heldout, tokenizer)
    collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
    predictions = class_scores(model, language, rows, collate).argmax(-1)
    return judge_classes("lab5_fewshot", language, np.array(heldout["label"]), predictions)
