"""Checks of lab 4, prompting. Inputs are fresh and random at each run; references are computed here."""

import functools
import re

import numpy as np
import torch
from leaplm import data, evaluation, marking, models, prompting
from leaplm.calibration import prediction_bound
from leaplm.grading import (
    NOTHING_CALLED,
    Contract,
    Number,
    Numbers,
    Several,
    Text,
    as_array,
    as_number,
    check,
)
from leaplm.grading.judge import standing, tiny_models

CLOSE = 1e-4
HELDOUT_ROWS = 150


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


PROMPT = Contract("item text instruction demonstrations", Text(),
                  own="leaplm.prompting.templates.PromptTemplate leaplm.fewshot.examples.demonstration_prefix")


@check(points=2, contract=PROMPT)
def render_prompt(student, rng):
    """Texts with braces, backslashes and the placeholder itself; items with other braces, with the place anywhere."""
    mark = int(rng.integers(1000))
    items = [f'{{"number": {mark}, "text": "{{text}}"}}\nWord:', "{text} =", f"{mark} % $1 {{}} <{{text}}>"]
    texts = [f"{mark} {{text}} and {{0}}", "100 % \\1 {word} \\g<0>", f" plain {mark}\n\n", ""]
    for item, text in ((item, text) for item in items for text in texts):
        if student.call("render_prompt", item, text) != item.replace("{text}", text):
            return 0, "a text or an item with braces comes out changed: only {text} in the item is special"
    pairs = [(texts[0], "bad"), (texts[1], "{text}"), (texts[2], "bad"), (texts[2], "worse")]
    for instruction, shown in (("", pairs), (f"Do {mark}.", pairs), ("Fill {text}. ", []), (f"Do {mark}.", pairs[:1])):
        if student.call("render_prompt", items[0], texts[2], instruction, shown) != \
                prompting.PromptTemplate(items[0], instruction).render(texts[2], shown):
            return 1, "one text is put in well; with instruction or demonstrations the parts, their order or the empty " \
                      "lines between them are not as asked"
    return 2, "texts go in as they are, in the right order"


SCORING = " ".join(("leaplm.prompting.scoring.*continuation_log_probs*", "leaplm.prompting.scoring.score_batch",
                    "leaplm.prompting.templates.label_log_probs"))


def random_ids(rng, size):
    """Few different ones, so that tokens come again, and 0 is among them."""
    return rng.integers(9, size=size)


def reference_log_prob(model, prompt, answer):
    ids = np.concatenate([prompt, answer])
    with torch.no_grad():
        log_probs = model(torch.from_numpy(ids)[None]).logits[0].double().log_softmax(-1).numpy()
    return sum(log_probs[len(prompt) - 1 + i, token] for i, token in enumerate(answer))


@check(points=3, contract=Contract("model prompt answer", Number(), own=SCORING))
def answer_log_prob(student, rng):
    """A tiny generative model with large random weights: neighbouring positions differ by many nats.

    The answer's first token also stands in the prompt; the longest answer's probability is nearly 0.
    """
    seed = int(rng.integers(10**6))
    model = student.build("leaplm.grading.judge.tiny_models:tiny_causal_lm", seed=seed)
    reference = tiny_models.tiny_causal_lm(seed)
    cases = (((6, 1), "one token"), ((4, 3), "three tokens"), ((1, 2), "a prompt of one token"), ((2, 14), "many tokens"))
    for lengths, said in cases:
        prompt, answer = random_ids(rng, lengths[0]), random_ids(rng, lengths[1])
        answer[-1] = 0
        prompt[: len(prompt) // 2] = answer[0]
        got = as_number(student.call("answer_log_prob", model, prompt, answer), "answer_log_prob")
        if not close(got, reference_log_prob(reference, prompt, answer)):
            return (0, "the sum is not right for an answer of one token: log-softmax first; the logits at position t "
                       "predict token t + 1") if said == "one token" else \
                (1, f"right for an answer of one token, not for {said}: add up the log-probabilities of all tokens of the "
                    "answer, each after all that stands before it")
    return 3, "the sum of the answer's log-probabilities, at the right positions"


BATCH = Contract("model prompts answers pad_token_id", Several(Numbers(dims=1), Numbers(dims=1)), own=SCORING)


@check(points=4, contract=BATCH)
def batch_log_probs(student, rng):
    """Rows of different lengths; the padding id is also a token, inside of prompts and answers and at their ends."""
    seed, pad = int(rng.integers(10**6)), int(rng.integers(9))
    lengths = rng.permutation([(2, 3), (7, 1), (4, 2), (1, 1), (5, 4)])
    prompts, answers = ([random_ids(rng, k).tolist() for k in column] for column in lengths.T)
    for prompt, answer in zip(prompts, answers, strict=True):
        answer[0] = answer[-1] = prompt[len(prompt) // 2] = pad
    model = student.build("leaplm.grading.judge.tiny_models:counting_causal_lm", seed=seed)
    result = student.call("batch_log_probs", model, prompts, answers, pad)
    if not isinstance(result, (list, tuple)) or len(result) != 2:
        return 0, "batch_log_probs should return two things: the sums and the numbers of tokens"
    sums, tokens = as_array(result[0], (5,), "the sums"), as_array(result[1], (5,), "the numbers of tokens")
    reference = tiny_models.tiny_causal_lm(seed)
    want = [reference_log_prob(reference, np.array(p), np.array(a)) for p, a in zip(prompts, answers, strict=True)]
    longest = int(np.argmax([t + k for t, k in lengths]))
    if not close(sums[longest], want[longest]):
        return 0, "the sums are not right: is it the answer only, and does position t predict token t + 1?"
    if not close(sums, want):
        return 1, "right for the longest row, not for those with padding: find the answer by the lengths of its own row"
    problems = batch_problems(student.read(model, "leaplm.grading.judge.tiny_models:inputs_seen"), prompts, answers)
    if not np.array_equal(tokens, [len(answer) for answer in answers]):
        problems.append("count the answer's tokens")
    return 4 - len(problems), f"right sums; {'; '.join(problems)}" if problems else "sums and numbers of tokens are right"


def batch_problems(passes, prompts, answers):
    """What is wrong with the ids that went through the model, in words."""
    if len(passes) != 1:
        return ["all rows should go through the model in one call"]
    whole = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    first = [any(seen[: len(row)] == row for seen in passes[0].tolist()) for row in whole]
    return [] if all(first) else ["the padding should stand on the right, after the answer"]


UNKNOWN = ("median", "Mean", "su", "")


@check(points=2, contract=Contract("sums tokens method premise_sums", Numbers("float", dims=2)))
def normalize_scores(student, rng):
    """As many texts as labels at first, so that an exchange of the two raises no error; then one text, two labels."""
    sums, bare = -rng.uniform(1, 20, size=(4, 4)), -rng.uniform(1, 20, size=4)
    sums[0, 0], bare[1], tokens = 0, 0, rng.integers(1, 5, size=(4, 4))
    wrong = []
    for method in ("sum", "mean", "prior"):
        for rows, labels in ((4, 4), (1, 2)):
            given = sums[:rows, :labels], tokens[:rows, :labels], method, *([bare[:labels]] if method == "prior" else [])
            got = as_array(student.call("normalize_scores", *given), (rows, labels), "normalize_scores")
            if method not in wrong and not close(got, prompting.normalize_scores(*given)):
                wrong.append(method)
    if wrong:
        return (1 if len(wrong) == 1 and "sum" not in wrong else 0), f"not as defined: `{', '.join(wrong)}`"
    if not all(refuses(student, sums, tokens, method, *more) for method in UNKNOWN for more in ((), (bare,))):
        return 1, "the three scores are right; any other method should raise a ValueError"
    return 2, "sum, mean and prior as defined"


def refuses(student, *given):
    """Whether `normalize_scores` raises a ValueError, or an error derived from it."""
    answer = student.get("normalize_scores")
    return "ValueError" in student.read(answer, "leaplm.grading.judge.probes:error_raised", *given)


@check(points=3, contract=Contract("log_probs content_free", Numbers("float", dims=2)))
def calibrate(student, rng):
    """Scores far below 0 (sums of log-probabilities, not normalised), several content-free texts; as many as labels."""
    scores, empty = rng.normal(-9, 2, size=(3, 3)), rng.normal(-9, 2.5, size=(3, 3))
    got = as_array(student.call("calibrate", scores, empty), (3, 3), "calibrate")
    want = prompting.calibrate(scores, empty)
    one = as_array(student.call("calibrate", scores, empty[:1]), (3, 3), "calibrate")
    alone = as_array(student.call("calibrate", scores[:1, :2], empty[:, :2]), (1, 2), "calibrate")
    if close(got, want) and close(one, prompting.calibrate(scores, empty[:1])) and \
            close(alone, prompting.calibrate(scores[:1, :2], empty[:, :2])):
        return 3, "the bias is divided out and each row adds up to 1"
    if close(evaluation.log_softmax(got), want):
        return 2, "the right order of the classes, but exp of a row should add up to 1 (log-probabilities)"
    if close(one, prompting.calibrate(scores, empty[:1])):
        return 1, "right with one content-free text; with several, the bias is the mean of their probabilities"
    return 0, "not the calibrated log-probabilities: softmax both, mean of the empty texts, divide, scale to 1"


def random_tables(rng, templates=6, texts=40, classes=3):
    return rng.normal(size=(templates, texts, classes)) * rng.uniform(0.3, 5, size=(templates, 1, 1)) - 10


@check(points=2, contract=Contract("log_probs labels", Several(Number(), Number())))
def template_spread(student, rng):
    """Also as many templates as texts: labels along the wrong dimension would raise no error."""
    means = deviations = 0
    for templates, texts in ((6, 40), (12, 12)):
        scores, labels = random_tables(rng, templates, texts), rng.integers(3, size=texts)
        got, want = student.call("template_spread", scores, labels), prompting.template_spread(scores, labels)
        if not isinstance(got, (list, tuple)) or len(got) != 2:
            return 0, "template_spread should return two numbers: mean and standard deviation"
        mean, deviation = (as_number(value, "template_spread") for value in got)
        means, deviations = means + close(mean, want[0]), deviations + close(deviation, want[1])
    if means < 2:
        return 0, "the mean over templates of the accuracy is not right"
    return (2, "mean and spread are right") if deviations == 2 else \
        (1, "the mean is right; the deviation is over templates and divides by t - 1")


@check(points=2, contract=Contract("log_probs", Numbers("int", dims=1)))
def ensemble(student, rng):
    """Templates of very different scale and offset; ties do not occur. At last one template, and one text."""
    good = 0
    for templates, texts, classes in ((6, 40, 3), (6, 40, 3), (7, 40, 4), (40, 40, 2), (3, 3, 3), (1, 9, 3), (5, 1, 3)):
        scores = random_tables(rng, templates, texts, classes) + rng.normal(scale=4, size=(templates, texts, 1))
        got = as_array(student.call("ensemble", scores), (texts,), "ensemble")
        good += np.array_equal(got, prompting.ensemble(scores))
    return (2, "the mean probability decides") if good == 7 else \
        (0, "not the class with the largest mean probability: softmax over the classes first, then the mean over templates")


GREETING = "Ɗan'uwa, ẸGBẸ́ WA, প্রিয় বন্ধু! "


@check(points=4, contract=Contract("text", Text()))
def redact(student, rng):
    """200 made-up messages: secrets must go, and what is harmless must stay. Then two of them in one text."""
    messages = [prompting.private_message(rng) for _ in range(200)]
    texts = [text for text, _, _ in messages]
    cleaned = {text: str(student.call("redact", text)) for text in ["", *texts]}
    recall, precision = prompting.redaction_scores(cleaned.get, messages)
    told = f"recall {recall:.2f}, precision {precision:.2f} on {len(messages)} messages"
    if min(recall, precision) < 0.95:
        return (2 if min(recall, precision) >= 0.75 else 0), f"{told}; 0.95 of both was wanted"
    if share(is_named(cleaned[text], text, secrets) for text, secrets, _ in messages) < 0.95:
        return 2, f"{told}; but the placeholder should name what was there (a phone with gaps is a [PHONE], a web address " \
                  "a [URL] ...), and everything else should stay as it is"
    both = {f"{GREETING}{first}\n{second}": f"{GREETING}{cleaned[first]}\n{cleaned[second]}"
            for first, second in zip(texts[::2], texts[1::2], strict=True)}
    if share(student.call("redact", text) == want for text, want in both.items()) < 0.9 or cleaned[""]:
        return 2, f"{told}; in a longer text with other letters and two lines, the same secrets should go and all else stay"
    return 4, told


def share(holds):
    return np.mean(list(holds))


def is_named(cleaned, text, secrets):
    """Whether each secret became a placeholder of its kind and the rest stayed; a mark behind a secret may go with it."""
    pattern = re.escape(text)
    for secret in secrets:
        pattern = re.sub(re.escape(re.escape(secret)) + "([,;]?)", rf"{placeholder(secret)}(?:\1)?", pattern)
    return re.fullmatch(pattern, cleaned) is not None


def placeholder(secret):
    """A pattern of what may stand for a secret. Digits without gaps can be a phone or an identity number."""
    if re.fullmatch(r"[A-Z]?\d+", secret):
        return r"\\[(?:PHONE|ID)\\]"
    kinds = {r"https?://|www\.": "URL", "@": "HANDLE", r".+@": "EMAIL", "": "PHONE"}
    return rf"\\[{next(kind for start, kind in kinds.items() if re.match(start, secret))}\\]"


@check(points=4, seconds=120, contract=NOTHING_CALLED)
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
    standing.note("macro-F1", score, wanted, runs(language))
    told = f"macro-F1 {score:.3f} on {len(labels)} held-out texts"
    if score >= wanted:
        return 4, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1)
    if low > majority:
        return 2, f"{told}: clearly above the majority class ({majority:.3f}), below the {wanted:.3f} that was wanted"
    return 0, f"{told}: not clearly above the majority class ({majority:.3f})"


def runs(language):
    return marking.runs("lab4_prompting", language)["heldout_macro_f1"]


def wanted_score(language, majority):
    """Mean minus three deviations of our own runs, but never less than the majority class gets."""
    record = runs(language)
    return max(prediction_bound(record), majority + 0.01) if len(record) > 1 else majority + 0.01
