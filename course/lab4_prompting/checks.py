"""Checks of lab 4, prompting. Inputs are fresh and random at each run; references are computed here."""

import functools

import numpy as np
import torch
from leaplm import data, evaluation, models, prompting
from leaplm.calibration import load_record
from leaplm.grading import as_array, as_number, check
from leaplm.grading.judge import probes

CLOSE = 1e-4
HELDOUT_ROWS = 150


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


@check(points=2)
def render_prompt(student, rng):
    """Texts with braces, backslashes and the placeholder itself; items with other braces."""
    mark = int(rng.integers(1000))
    item = f'{{"number": {mark}, "text": "{{text}}"}}\nWord:'
    texts = [f"{mark} {{text}} and {{0}}", "100 % \\1 {word}", f"plain {mark}"]
    for text in texts:
        got = student.call("render_prompt", item, text)
        if got != item.replace("{text}", text):
            return 0, "a text or an item with braces comes out changed: only {text} in the item is special"
    for instruction in ("", f"Do {mark}."):
        got = student.call("render_prompt", item, texts[2], instruction, [[texts[0], "bad"], [texts[1], "{text}"]])
        if got != prompting.PromptTemplate(item, instruction).render(texts[2], [(texts[0], "bad"), (texts[1], "{text}")]):
            return 1, "one text is put in well; with instruction or demonstrations the parts, their order or the empty " \
                      "lines between them are not as asked"
    return 2, "texts go in as they are, in the right order"


def random_ids(rng, size):
    return rng.integers(1, 40, size=size)


def reference_log_prob(model, prompt, answer):
    ids = np.concatenate([prompt, answer])
    with torch.no_grad():
        log_probs = model(torch.from_numpy(ids)[None]).logits[0].double().log_softmax(-1).numpy()
    return sum(log_probs[len(prompt) - 1 + i, token] for i, token in enumerate(answer))


@check(points=3)
def answer_log_prob(student, rng):
    """A tiny generative model with large random weights: neighbouring positions differ by many nats."""
    seed = int(rng.integers(10**6))
    model = student.build("leaplm.grading.judge.probes:tiny_causal_lm", seed=seed)
    reference = probes.tiny_causal_lm(seed)
    for lengths, said in (((6, 1), "one token"), ((4, 3), "three tokens"), ((1, 2), "a prompt of one token")):
        prompt, answer = random_ids(rng, lengths[0]), random_ids(rng, lengths[1])
        got = as_number(student.call("answer_log_prob", model, prompt, answer), "answer_log_prob")
        if not close(got, reference_log_prob(reference, prompt, answer)):
            return (0 if said == "one token" else 1), \
                f"the sum is not right for {said}: log-softmax first; the logits at position t predict token t + 1"
    return 3, "the sum of the answer's log-probabilities, at the right positions"


@check(points=4)
def batch_log_probs(student, rng):
    """Rows of different lengths; the padding id also occurs as a token of the answers."""
    seed, pad = int(rng.integers(10**6)), int(rng.integers(1, 40))
    lengths = rng.permutation([(2, 3), (7, 1), (4, 2), (1, 1), (5, 4)])
    prompts = [random_ids(rng, t).tolist() for t, _ in lengths]
    answers = [random_ids(rng, k).tolist() for _, k in lengths]
    for answer in answers:
        answer[-1] = pad
    model = student.build("leaplm.grading.judge.probes:tiny_causal_lm", seed=seed)
    result = student.call("batch_log_probs", model, prompts, answers, pad)
    if not isinstance(result, (list, tuple)) or len(result) != 2:
        return 0, "batch_log_probs should return two things: the sums and the numbers of tokens"
    sums, tokens = as_array(result[0], (5,), "the sums"), as_array(result[1], (5,), "the numbers of tokens")
    reference = probes.tiny_causal_lm(seed)
    want = [reference_log_prob(reference, np.array(p), np.array(a)) for p, a in zip(prompts, answers, strict=True)]
    counted = np.array_equal(tokens, [len(answer) for answer in answers])
    if close(sums, want):
        return (4, "sums and numbers of tokens are right") if counted else (3, "right sums; count the answer's tokens")
    longest = int(np.argmax([t + k for t, k in lengths]))
    if close(sums[longest], want[longest]):
        return 1, "right for the longest row, not for those with padding: find the answer by the lengths of its own row"
    return 0, "the sums are not right: is it the answer only, and does position t predict token t + 1?"


@check(points=2)
def normalize_scores(student, rng):
    sums, bare = -rng.uniform(1, 20, size=(6, 4)), -rng.uniform(1, 20, size=4)
    tokens = rng.integers(1, 5, size=(6, 4))
    wrong = []
    for method in ("sum", "mean", "prior"):
        got = as_array(student.call("normalize_scores", sums, tokens, method, bare), (6, 4), "normalize_scores")
        if not close(got, prompting.normalize_scores(sums, tokens, method, bare)):
            wrong.append(method)
    if not wrong:
        return 2, "sum, mean and prior as defined"
    return (1 if len(wrong) == 1 and "sum" not in wrong else 0), f"not as defined: {', '.join(wrong)}"


@check(points=3)
def calibrate(student, rng):
    """Scores far below 0 (sums of log-probabilities, not normalised), several content-free texts."""
    scores, empty = rng.normal(-6, 2, size=(7, 3)), rng.normal(-6, 2.5, size=(4, 3))
    got = as_array(student.call("calibrate", scores, empty), (7, 3), "calibrate")
    want = prompting.calibrate(scores, empty)
    if close(got, want):
        return 3, "the bias is divided out and each row adds up to 1"
    if close(evaluation.log_softmax(got), want):
        return 2, "the right order of the classes, but exp of a row should add up to 1 (log-probabilities)"
    one = as_array(student.call("calibrate", scores, empty[:1]), (7, 3), "calibrate")
    if close(one, prompting.calibrate(scores, empty[:1])):
        return 1, "right with one content-free text; with several, the bias is the mean of their probabilities"
    return 0, "not the calibrated log-probabilities: softmax both, mean of the empty texts, divide, scale to 1"


def random_tables(rng, templates=6, texts=40, classes=3):
    return rng.normal(size=(templates, texts, classes)) * rng.uniform(0.3, 5, size=(templates, 1, 1)) - 10


@check(points=2)
def template_spread(student, rng):
    scores, labels = random_tables(rng), rng.integers(3, size=40)
    result = student.call("template_spread", scores, labels)
    if not isinstance(result, (list, tuple, np.ndarray)) or len(result) != 2:
        return 0, "template_spread should return two numbers: mean and standard deviation"
    mean, deviation = (as_number(value, "template_spread") for value in result)
    want = prompting.template_spread(scores, labels)
    if not close(mean, want[0]):
        return 0, "the mean over templates of the accuracy is not right"
    return (2, "mean and spread are right") if close(deviation, want[1]) else \
        (1, "the mean is right; the deviation is over templates and divides by t - 1")


@check(points=2)
def ensemble(student, rng):
    """Templates of very different scale and offset; ties do not occur."""
    good = 0
    for _ in range(5):
        scores = random_tables(rng) + rng.normal(scale=4, size=(6, 40, 1))
        got = as_array(student.call("ensemble", scores), (40,), "ensemble")
        good += np.array_equal(got, prompting.ensemble(scores))
    return (2, "the mean probability decides") if good == 5 else \
        (0, "not the class with the largest mean probability: softmax over the classes first, then the mean over templates")


@check(points=4)
def redact(student, rng):
    """200 made-up messages: secrets must go, and what is harmless must stay."""
    messages = [prompting.private_message(rng) for _ in range(200)]
    cleaned = {}
    for text, _, _ in messages:
        cleaned[text] = student.call("redact", text)
        if not isinstance(cleaned[text], str):
            return 0, "redact should return a string"
    recall, precision = prompting.redaction_scores(cleaned.get, messages)
    told = f"recall {recall:.2f}, precision {precision:.2f} on {len(messages)} messages"
    if not all("[" in cleaned[text] for text, _, _ in messages[:20]):
        return 0, f"{told}: put a placeholder such as [PHONE] where something is taken out"
    if min(recall, precision) >= 0.95:
        return 4, told
    if min(recall, precision) >= 0.75:
        return 2, f"{told}; 0.95 of both was wanted"
    return 0, f"{told}; 0.95 of both was wanted"


@check(points=4, seconds=120)
def prompt(student, rng):
    """The saved prompt on held-out texts, asked with the judge's own SmolLM2."""
    try:
        found = prompting.read_prompt_file(student.artifact("prompt.json"))
        heldout = data.heldout_rows(found["language"], HELDOUT_ROWS)
    except ValueError as error:
        return 0, f"the prompt cannot be used: {error}"
    if found["labels"] != heldout.features["label"].names:
        return 0, f"the classes of the prompt are not those of language {found['language']!r}"
    predictions = ask(found["template"], found["verbalizer"], found["method"], tuple(found["demonstrations"]),
                      found["language"])
    return judge_predictions(np.array(heldout["label"]), np.array(predictions), found["language"])


@functools.lru_cache(maxsize=32)
def ask(template, verbalizer, method, demonstrations, language):
    """Predictions on the held-out texts; the same prompt is asked once. The model is not kept: it is half a gigabyte."""
    from leaplm.runtime import free_memory

    tokenizer = models.load_tokenizer("smollm2")
    texts = prompting.shorten(data.heldout_rows(language, HELDOUT_ROWS)["text"], tokenizer)
    model = models.load_causal_lm("smollm2")
    found = prompting.class_log_probs(model, tokenizer, texts, template, verbalizer, method, demonstrations)
    del model
    free_memory()
    return tuple(found.argmax(-1).tolist())


def judge_predictions(labels, predictions, language):
    majority = evaluation.macro_f1(labels, np.full(len(labels), np.bincount(labels).argmax()))
    score = evaluation.macro_f1(labels, predictions)
    wanted = wanted_score(language, majority)
    told = f"macro-F1 {score:.3f} on {len(labels)} held-out texts"
    if score >= wanted:
        return 4, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1)
    if low > majority:
        return 2, f"{told}: clearly above the majority class ({majority:.3f}), below the {wanted:.3f} that was wanted"
    return 0, f"{told}: not clearly above the majority class ({majority:.3f})"


def wanted_score(language, majority):
    """Mean minus three deviations of our own runs, but never less than the majority class gets."""
    record = load_record("lab4_prompting", "main", language=language)["heldout_macro_f1"]
    return max(record.mean() - 3 * record.std(), majority + 0.01) if len(record) > 1 else majority + 0.01
