"""Checks of lab 5, few-shot and zero-shot. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
import torch
from leaplm import artifacts, data, evaluation, fewshot, marking, models
from leaplm.calibration import prediction_bound
from leaplm.grading import (
    NOTHING_CALLED,
    Contract,
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
from leaplm.grading.judge import probes, standing, tiny_models
from leaplm.grading.judge.remembered import class_scores

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


@check(points=3, contract=Contract("text_vectors label_vectors", Numbers("int", dims=1)))
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
        return 3, "the label with the largest mean cosine"
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
        return 0, "not the log-probabilities of the whole text: last position, whole vocabulary, same prefix for all?"
    fewest = len(prefix) + prompts.size
    if sent > fewest:
        return 2, f"the right numbers; but {sent} tokens went through the model, and {fewest} are enough"
    return 4, "the right numbers"


RUNS = Record(dict.fromkeys(("mean", "low", "high", "choice_sd", "order_sd"), Number()))


@check(points=3, contract=Contract("scores", RUNS))
def summarize_runs(student, rng):
    """Interval, spread over choices and spread over orders, one point each."""
    parts = {"mean, low and high (t-interval over the choices' means)": ("mean", "low", "high"),
             "choice_sd (sample deviation of the choices' means)": ("choice_sd",),
             "order_sd (mean over choices of the deviation over orders)": ("order_sd",)}
    wrong = []
    for choices, orders in ((int(rng.integers(3, 8)), int(rng.integers(3, 6))), (2, 3), (4, 4)):
        scores = rng.normal(0.7, 0.06, size=(choices, 1)) + rng.normal(0, 0.04, size=(choices, orders))
        scores += np.linspace(-0.1, 0.1, choices)[scores.mean(axis=1).argsort().argsort(), None]  # two: wider than 0 to 1
        found, want = student.call("summarize_runs", scores), fewshot.summarize_runs(scores.astype(np.float32))
        if not isinstance(found, dict) or set(want) - set(found):
            return 0, f"summarize_runs should return a dict with `{', '.join(want)}`"
        wrong += [text for text, keys in parts.items() if text not in wrong
                  and not all(np.isclose(as_number(found[key], key), want[key], atol=1e-5) for key in keys)]
    if wrong:
        return 3 - len(wrong), f"these differ: {'; '.join(wrong)}"
    return 3, "interval and both deviations are right"


VECTORS = Contract("encoder batches", Tensor("float", dims=2), gradient="none", mode="any", forward="eval, no_grad",
                   own="leaplm.fewshot.examples.PooledEncoder leaplm.evaluation.predict_logits")


@check(points=3, contract=VECTORS)
def embed(student, rng):
    """Padded batches of different sizes on an encoder with strong dropout, in training mode at first."""
    seed, batches = int(rng.integers(10**6)), [padded_batch(rng, size) for size in (4, 6, 1)]
    encoder = student.build("leaplm.grading.judge.tiny_models:tiny_encoder", seed, dropout=0.5)
    got = as_array(student.call("embed", encoder, batches), (11, 16), "embed")
    reference, want, whole = tiny_models.tiny_encoder(seed, dropout=0.5).eval(), [], []
    with torch.no_grad():
        for batch in batches:
            mask = torch.from_numpy(batch["attention_mask"])
            hidden = reference(input_ids=torch.from_numpy(batch["input_ids"]), attention_mask=mask).last_hidden_state
            want.append(models.mean_pool(hidden, mask).numpy())
            whole.append(hidden.mean(dim=1).numpy())
    if close(got, np.concatenate(want)):
        return 3, "mean-pooled vectors in the order of the texts, dropout off"
    if close(got, np.concatenate(whole)):
        return 1, "dropout is off; but the padding is in the mean"
    return 0, "other vectors: dropout off (eval), mean over the real tokens, texts in their order?"


def padded_batch(rng, size):
    lengths = rng.integers(1, 9, size=size)
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    return {"input_ids": rng.integers(5, 60, size=mask.shape) * mask, "attention_mask": mask}


HEAD = Several(Tensor("float", dims=2), Tensor("float", dims=1))


@check(points=2, contract=Contract("coefficients intercepts", HEAD))
def head_weights(student, rng):
    """Probabilities of the head against those of the regression, for two classes, three and five."""
    right = []
    for rows in (1, 3, 5):
        coefficients, intercepts = rng.normal(size=(rows, 5)).astype(np.float32), rng.normal(size=rows).astype(np.float32)
        result = student.call("head_weights", coefficients, intercepts)
        if not isinstance(result, list) or len(result) != 2:
            return 0, "head_weights should return two things: weight and bias"
        classes = max(2, rows)
        weight, bias = as_array(result[0], (classes, 5), "weight"), as_array(result[1], (classes,), "bias")
        vectors = rng.normal(size=(20, 5))
        logits = vectors @ coefficients.T + intercepts
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1) if rows == 1 else logits
        right.append(close(evaluation.log_softmax(vectors @ weight.T + bias), evaluation.log_softmax(logits)))
    if all(right):
        return 2, "the same probabilities as the regression's"
    two, more = right[0], all(right[1:])
    return two + more, "the probabilities differ with two classes" if more else "they differ with more than two classes"


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
    labels = np.array(heldout["label"])
    score = evaluation.macro_f1(labels, predictions)
    one_class = evaluation.macro_f1(labels, np.full(len(labels), np.bincount(labels).argmax()))
    record = marking.runs("lab5_fewshot", language)["heldout_macro_f1"]
    if record.empty:
        return 0, f"there is no record for language {language!r} yet: `leaplm add-language` makes one"
    wanted = max(prediction_bound(record), one_class + 0.02)
    told = f"macro-F1 {score:.3f} on {len(labels)} held-out texts"
    standing.note("macro-F1", score, wanted, record)
    if score >= wanted:
        return 6, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1, rounds=300)
    if low > 1 / len(set(labels.tolist())):
        return 3, f"{told}: clearly better than guessing, below the {wanted:.3f} that was wanted"
    return 0, f"{told}: not clearly better than guessing; {wanted:.3f} was wanted"
