"""Checks of lab 4, prompting. Inputs are fresh and random at each run; references are computed here."""

import functools
import re

import numpy as np
import torch
from leaplm import data, evaluation, models, prompting
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Contract,
    ListOf,
    MapOf,
    Number,
    Numbers,
    Object,
    Record,
    Ref,
    Several,
    StudentError,
    Text,
    as_array,
    as_number,
    check,
)
from leaplm.grading.judge import probes, tiny_models
from leaplm.grading.judge.class_points import judge_classes
from leaplm.grading.judge.remembered import computed_once

CLOSE = 1e-4
HELDOUT_ROWS = 150
PROBES, MODELS = "leaplm.grading.judge.probes:", "leaplm.grading.judge.tiny_models:"


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


PROMPTS = Contract("item texts words instruction demonstrations", ListOf(Text()),
                   own="leaplm.prompting.templates.PromptTemplate leaplm.fewshot.examples.demonstration_prefix")


def plain_prompts(rng):
    """(items, texts, words), each with what a usual short cut would change: ends, capitals, quotes, letters, length."""
    number = int(rng.integers(1000))
    items = [f'{{"number": {number}, "text": "{{text}}"}}\nWord:', "{text} =", f"{number} % $1 {{}} <{{text}}>",
             f"\n\t### Text {number}\n{{text}}\n\n### Word\n"]
    texts = [f"{number} {{text}} and {{0}}", "100 % \\1 {word} \\g<0>", f" plain {number}\n\n", "",
             f'"It\'s {number}," she said: “Ẹ káàbọ̀, ধন্যবাদ”', f"Long {number} " * 90 + "END"]
    return items, [*texts, texts[2], texts[0]], [f" bad {number}", "{text}", "Good", "good"]


@check(points=3, contract=PROMPTS)
def render_prompts(student, rng):
    """Texts with braces, backslashes and the placeholder itself, twice and long; items with other braces and blank ends."""
    (items, texts, words), wrong = plain_prompts(rng), []
    for item in items:
        want = [item.replace("{text}", text) for text in texts]
        if not (got := prompts_of(student, item, texts, words)):
            return 1, "a ValueError, though the item holds the place once and all words differ (`Good` and `good` do so too)"
        if got != want:
            return 0, told_of_prompts(got, want)
    pairs = [(texts[0], 2), (texts[1], 1), (texts[2], 0), (texts[2], 2), (texts[0], 2), (texts[4], 3)]
    for item, instruction, shown in ((items[0], "", pairs), (items[3], "Do it. ", pairs), (items[0], "Fill {text}. ", []),
                                     (items[1], " \n", pairs[:1]), (items[0], "Do it.", pairs[:1])):
        if not wrong and student.call("render_prompts", item, texts[1:4], words, instruction, shown) != \
                prompting.render_prompts(item, texts[1:4], words, instruction, shown):
            wrong.append("with instruction or demonstrations the parts, their order, the words of the classes or the empty "
                         "lines between them are not as asked")
    if prompts_of(student, items[0], [], words, "Do it.", pairs[:1]) != []:
        wrong.append("for no texts an empty list is wanted")
    answer = student.get("render_prompts")
    refused = [refuses(student, answer, item, given, same, "", []) for given in (texts[2:3], []) for item, same in (
        ("{} text", words), ("{text} or {text}?", words), (items[0], ["a", "b", "a"]))]
    if not all(refused):
        wrong.append("an item without the place, one with two of them, and two equal words should each raise a ValueError"
                     if not any(refused[:3]) or not all(refused[:3]) else
                     "item and words should be looked at before the texts: a ValueError is wanted without any text too")
    return max(3 - len(wrong), 1), f"texts go in as they are; {'; '.join(wrong)}" if wrong else \
        "texts go in as they are, in the right order"


def prompts_of(student, *given):
    """What `render_prompts` gives; None if it is a ValueError."""
    try:
        return student.call("render_prompts", *given)
    except StudentError as error:
        if "ValueError" not in str(error):
            raise
        return None


def told_of_prompts(got, want):
    """What is wrong with prompts that have neither instruction nor demonstrations."""
    if len(got) == len(want) and [prompt.strip("\n") for prompt in got] == [prompt.strip("\n") for prompt in want] and \
            all(len(prompt) > len(other) for prompt, other in zip(got, want, strict=True)):
        return "without instruction and demonstrations a prompt is the filled item alone, without empty lines around it"
    if len(got) != len(want):
        return f"{len(want)} texts, of which some are equal, gave {len(got)} prompts: one for each text is wanted"
    return "a text or an item comes out changed: only {text} in the item is special, and all letters, blanks and lines stay"


def refuses(student, answer, *given):
    """Whether an answer raises a ValueError, or an error derived from it."""
    return "ValueError" in student.read(answer, "leaplm.grading.judge.probes:error_raised", *given)


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


BATCH = Contract("model prompts answers pad_token_id", Several(Numbers(dims=1), Numbers(dims=1)), gradient="none",
                 own=SCORING)


def drawn_rows(rng, pad):
    """Prompts and answers of different lengths with `pad` inside and at the ends; one prompt has two answers, one row comes
    twice."""
    lengths = rng.permutation([(2, 3), (7, 1), (4, 2), (1, 1), (5, 4), (2, 14)])  # of the last the probability is nearly 0
    prompts, answers = ([random_ids(rng, k).tolist() for k in column] for column in lengths.T)
    for prompt, answer in zip(prompts, answers, strict=True):
        answer[0] = answer[-1] = prompt[len(prompt) // 2] = pad
    return [*prompts, prompts[0], prompts[1]], [*answers, [(pad + 1) % 9, *answers[0]], answers[1]]


def wanted_sums(model, prompts, answers):
    return [reference_log_prob(model, np.array(p), np.array(a)) for p, a in zip(prompts, answers, strict=True)]


@check(points=4, contract=BATCH)
def batch_log_probs(student, rng):
    """Rows of different lengths and twice the same; the padding id is also a token, inside and at the ends."""
    seed, pad = int(rng.integers(10**6)), int(rng.integers(1, 9))
    prompts, answers = drawn_rows(rng, pad)
    model = student.build(f"{MODELS}counting_causal_lm", seed=seed)
    result = student.call("batch_log_probs", model, prompts, answers, pad)
    if not isinstance(result, (list, tuple)) or len(result) != 2:
        return 0, "batch_log_probs should return two things: the sums and the numbers of tokens"
    n, reference = len(prompts), tiny_models.tiny_causal_lm(seed)
    sums, tokens = as_array(result[0], (n,), "the sums"), as_array(result[1], (n,), "the numbers of tokens")
    want, counts = wanted_sums(reference, prompts, answers), [len(answer) for answer in answers]
    problems = batch_problems(student, model, prompts, answers, pad)
    if not close(sums, want):
        return told_of_sums(sums, tokens, want, [len(p) + len(a) for p, a in zip(prompts, answers, strict=True)], counts,
                            problems)
    if not np.array_equal(tokens, counts):
        problems.append("count the answer's tokens")
    for part in (judge_one_row, judge_large_logits, judge_device):
        problems += told_by(part, student, seed, prompts, answers, pad)
    return max(4 - len(problems), 1), f"right sums; {'; '.join(problems)}" if problems else \
        "sums and numbers of tokens are right"


MASKED = "`attention_mask` should be 1 on the tokens of a row and 0 on its padding"


def told_of_sums(sums, tokens, want, lengths, counts, problems):
    """(points, message) of sums that are not right."""
    if close(tokens, want) and np.array_equal(sums, counts):
        return 1, "the sums come first, then the numbers of tokens"
    if np.allclose(sums, want, atol=0.1, rtol=0.01):
        return 1, "the sums are right only nearly: leave out rounding, 16-bit numbers, and what is added to a probability"
    longest = int(np.argmax(lengths))
    told = "right for the longest row, not for those with padding: find the answer by the lengths of its own row" \
        if close(sums[longest], want[longest]) else \
        "the sums are not right: log-softmax first; add up the answer's tokens only; the logits at position t predict " \
        "token t + 1"
    if close(sums[longest], want[longest]) and close(sums[:-2], want[:-2]):
        told = "the sums are not right where a prompt comes twice: each answer has a sum of its own"
    elif MASKED in problems:
        told = f"the sums are not right; {MASKED}"
    return int(bool(close(sums[longest], want[longest]))), told


def batch_problems(student, model, prompts, answers, pad):
    """What is wrong with the ids and the mask that went through the model, in words."""
    passes, masks = (student.read(model, f"{MODELS}{name}") for name in ("inputs_seen", "masks_seen"))
    if len(passes) != 1:
        return ["all rows should go through the model in one call"]
    whole = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    if not all(any(seen[: len(row)] == row for seen in passes[0].tolist()) for row in whole):
        return ["the padding should stand on the right, after the answer"]
    if masks[0].shape != passes[0].shape or not all(
            any(list(mask) == [True] * len(row) + [False] * (len(mask) - len(row)) and ids[: len(row)].tolist() == row
                for row in whole) for ids, mask in zip(passes[0], masks[0], strict=True)):
        return [MASKED]
    return [] if np.all(passes[0][~masks[0]] == pad) else ["the padding should be `pad_token_id`"]


def judge_one_row(student, seed, prompts, answers, pad):
    """One row alone, with an answer of one token and with a longer one."""
    model, reference = student.build(f"{MODELS}counting_causal_lm", seed=seed), tiny_models.tiny_causal_lm(seed)
    rows = [[answers.index(answer)] for answer in (min(answers, key=len), answers[-2])]
    for (i,) in rows:
        sums, tokens = student.call("batch_log_probs", model, [prompts[i]], [answers[i]], pad)
        if not close(as_array(sums, (1,), "the sums"), wanted_sums(reference, [prompts[i]], [answers[i]])) or \
                as_array(tokens, (1,), "the numbers of tokens") != [len(answers[i])]:
            return ["for one row alone the sums or the numbers of tokens are not right"]
    return []


def judge_large_logits(student, seed, prompts, answers, pad):
    """Logits of some hundreds, whose exp is no number of 32 bits."""
    model, reference = student.build(f"{MODELS}counting_causal_lm", seed=seed, scale=60.0), \
        tiny_models.tiny_causal_lm(seed, scale=60.0)
    sums, _ = student.call("batch_log_probs", model, prompts, answers, pad)
    right = np.allclose(as_array(sums, (len(prompts),), "the sums"), wanted_sums(reference, prompts, answers), atol=0.05,
                        rtol=0.001)
    return [] if right else ["with large logits the sums are not right: take `log_softmax`, or subtract the largest logit "
                             "before `exp`"]


def judge_device(student, seed, prompts, answers, pad):
    """A model on another device than the processor; what comes of its numbers, of which there are none, is not looked at."""
    model = student.build(f"{MODELS}far_model")
    student.read(student.get("batch_log_probs"), f"{PROBES}error_raised", model, prompts, answers, pad)
    seen = student.read(model, f"{MODELS}devices_seen")
    return [] if seen and set(seen) == {"meta"} else ["`input_ids` and `attention_mask` should be on `model.device`"]


UNKNOWN = ("median", "Mean", "su", "")
SCORES = Contract("sums tokens method premise_sums empty_sums", Numbers("float", dims=2),
                  own="leaplm.prompting.templates.normalize_scores leaplm.prompting.templates.calibrate")


def drawn_scores(rng):
    """[(sums, tokens, premise_sums, empty_sums)]: as many texts as words and as empty texts, so that an exchange raises no
    error; then one text, two words; then one empty text, and sums of long words, whose exp is 0 in 32 bits."""
    sums, bare, empty = -rng.uniform(1, 20, size=(4, 4)), -rng.uniform(1, 20, size=4), rng.normal(-9, 2.5, size=(4, 4))
    sums[0, 0], bare[1], tokens = 0, 0, rng.integers(1, 5, size=(4, 4))
    far = -150 - np.stack([rng.permutation([0, 20, 50]) for _ in range(5)]) - rng.uniform(0, 5, size=(5, 3))
    return [(sums, tokens, bare, empty), (sums[:1, :2], tokens[:1, :2], bare[:2], empty[:, :2]),
            (far, np.tile([3, 1, 2], (5, 1)), -rng.uniform(1, 20, size=3), rng.normal(-150, 5, size=(1, 3)))]


@check(points=3, contract=SCORES)
def class_scores(student, rng):
    """Each method with what it needs and no more, and with all there is. Scores are far below 0, as such sums are."""
    wrong, faults, drawn = {}, [], drawn_scores(rng)
    for method in ("sum", "mean", "prior", "calibrated"):
        for sums, tokens, bare, empty in drawn:
            needed = {"prior": (bare,), "calibrated": (None, empty)}.get(method, ())
            want = prompting.class_scores(sums, tokens, method, bare, empty)
            for more in (needed, (bare, empty)):
                try:
                    got = as_array(student.call("class_scores", sums, tokens, method, *more), want.shape, "class_scores")
                except StudentError as error:
                    faults.append(str(error))
                    got = np.full(want.shape, np.nan)
                if method not in wrong and not close(got, want):
                    wrong[method] = close(evaluation.log_softmax(got), want)
    if wrong:
        return (0 if "sum" in wrong else 3 - min(1 + len(wrong), 3)), told_of_scores(wrong, faults)
    answer, (sums, tokens, bare, empty) = student.get("class_scores"), drawn[0]
    refused = [refuses(student, answer, sums, tokens, *given) for given in (
        *((method, bare, empty) for method in UNKNOWN), ("median",), ("prior",), ("calibrated",), ("prior", None, empty),
        ("calibrated", bare))]
    if not all(refused):
        return 2, "the four scores are right; any other method, and one without the sums that it needs, should raise a " \
                  "ValueError"
    return 3, "sum, mean, prior and calibrated as defined"


def told_of_scores(wrong, faults):
    """wrong: {method: whether only the sum of exp is wrong}. faults: what calls have raised."""
    if wrong == {"calibrated": True}:
        return "not as defined: `calibrated`, whose classes are in the right order; exp of a row should add up to 1"
    told = f"not as defined: {', '.join(f'`{method}`' for method in wrong)}"
    return f"{told}; {faults[0]}" if faults else \
        f"{told}; mind that each score takes only the sums it needs, whatever else is given, and sums far below 0"


TEMPLATE = ("Text: {text}\nSay:", "Judge.")
LETTERS = "abcdeABCDE"
VOCABULARY = ["Judge.", "Text:", "Say:", "N/A", "...", *LETTERS]
PADDING = "<end>"  # neither number 0 nor what ends a text
WHOLE = " ".join(f"leaplm.prompting.templates.{name}" for name in (
    "score_methods", "predict_zero_shot", "predict_few_shot")) + " leaplm.prompting.scoring.*continuation_log_probs*"
CLASSIFIER = {"PromptClassifier": Contract("model tokenizer template words demonstrations batch_size",
                                           Object("PromptClassifier"), random=FREE, own=WHOLE),
              "PromptClassifier()": Contract("texts methods", MapOf(Numbers("float", dims=2)), gradient="none", own=WHOLE)}


@computed_once
def drawn_classifier(rng):
    """(seed, texts, pairs, ours, scores): a model and texts whose sums give another class than each other method somewhere.

    Words of several tokens, with capitals; texts that are long, and with blanks and a new line at their ends.
    """
    tokenizer = tiny_models.chat_tokenizer(VOCABULARY, PADDING)
    while True:
        seed, small, large = int(rng.integers(10**6)), *(rng.permutation(list(half)).tolist() for half in ("abcde", "ABCDE"))
        words = [large[0], f"{small[0]} {large[1]} {small[1]}", small[2]]
        texts = [" ".join(rng.choice(list(LETTERS), size=size)) for size in (3, 1, 40, 2, 4, 6, 2, 3)]
        texts[1], texts[3] = f"  {texts[1]} \n", f"\n{texts[3]} "
        pairs = [(texts[5], 1), (texts[0], 0)]
        ours = prompting.PromptClassifier(tiny_models.tiny_causal_lm(seed), tokenizer, prompting.PromptTemplate(*TEMPLATE),
                                          words, pairs)
        scores = ours(texts)
        found = {method: scores[method].argmax(-1).tolist() for method in scores}
        if all(found[method] != found["sum"] for method in prompting.METHODS[1:]) and {0, 2} <= {*found["sum"]}:
            return seed, texts, pairs, ours, scores


@check(points=4, contract=CLASSIFIER)
def prompt_classifier(student, rng):
    """A tiny model that notes what goes through it; words of several tokens, a last batch not full, later calls."""
    (seed, texts, pairs, ours, want), size = drawn_classifier(rng), int(rng.choice([3, 5]))
    words = list(ours.verbalizer.words)
    tokenizer = student.build(f"{MODELS}chat_tokenizer", VOCABULARY, PADDING)
    template = student.build("leaplm.prompting.templates:PromptTemplate", *TEMPLATE)
    model = student.build(f"{MODELS}counting_causal_lm", seed=seed)
    theirs = student.call("PromptClassifier", model, tokenizer, template, words, pairs, size)
    if not isinstance(theirs, Ref):
        return 0, "`PromptClassifier(...)` should make an object that can be called with texts"
    got, seen = asked(student, theirs, model, texts, ["sum"])
    if not close(scores_of(got, "sum", want), want["sum"]):
        whole = student.call("PromptClassifier", model, tokenizer, template, words, pairs, 9)
        alone = scores_of(asked(student, whole, model, texts, ["sum"])[0], "sum", want)
        return (1, "the sums are right if all texts go through in one batch, not in several: mind the order of the texts "
                   "and the last batch") if close(alone, want["sum"]) else \
            (0, "the sums are not right: the whole prompt with its demonstrations, then a space and the word, each made "
                "into tokens alone and without special tokens, with nothing cut off; one row of the table for each text")
    wrong = {}
    if sorted(got) != ["sum"]:
        wrong["the dict should hold the methods that were asked for and no other"] = None
    if sum(map(len, seen)) != len(texts) * len(words):
        wrong[ASKED] = None
    elif not in_batches(seen, len(texts), len(words), size):
        wrong[BATCHES] = None
    for part in (judge_methods, judge_predictions_of, judge_again, judge_sums):
        wrong |= dict.fromkeys(told_by(part, student, theirs, model, texts, want))
    wrong |= dict.fromkeys(told_by(judge_plain, student, (model, tokenizer, template), ours, texts))
    wrong |= dict.fromkeys(told_by(judge_padding, student, model, ours.tokenizer.pad_token_id))
    wrong |= dict.fromkeys(told_by(judge_learned, student, theirs, model, texts, ours))
    return max(4 - len(wrong), 1), f"the sums are right; {'; '.join(wrong)}" if wrong else \
        "scores and classes are those of the prompts, in batches"


BATCHES = "batch_size prompts with all their words should go through the model in one call"


def in_batches(seen, n, words, size):
    """Whether the passes that were seen are n prompts with all words in batches of a size, of which one may be smaller."""
    return sorted(map(len, seen)) == sorted(min(size, n - start) * words for start in range(0, n, size))


def asked(student, classifier, model, texts, *methods):
    """What a classifier gives, a dict, and the ids of the passes through the model that it took."""
    before = len(student.read(model, f"{MODELS}inputs_seen"))
    got = student.call(classifier, texts, *methods)
    return got if isinstance(got, dict) else {}, student.read(model, f"{MODELS}inputs_seen")[before:]


def scores_of(got, method, want):
    """The scores of a method, or NaN where they have another shape."""
    try:
        return as_array(got.get(method, np.zeros(0)), want[method].shape, method)
    except StudentError:
        return np.full(want[method].shape, np.nan)


def told_by(judge_part, *given):
    """What a part says is wrong, a list; what an answer raises costs the points of this part only."""
    try:
        return judge_part(*given)
    except StudentError as error:
        return [str(error)]


ASKED = "each text with each word should go through the model once, for all methods together, and only texts that they need"


def judge_methods(student, classifier, model, texts, want):
    """All methods of one call: their scores, and what went through the model."""
    got, seen = asked(student, classifier, model, texts)
    wrong = [name for name in ("mean", "prior", "calibrated", "sum") if not close(scores_of(got, name, want), want[name])]
    if wrong:
        return [f"the scores are not right for {', '.join(f'`{name}`' for name in wrong)}"]
    rows = (len(texts) + len(prompting.CONTENT_FREE) + 1) * len(want["sum"][0])
    return [] if sum(map(len, seen)) == rows else [ASKED]


def judge_predictions_of(student, classifier, model, texts, want):
    """The classes, by each method and by the one that is the default; what went through the model for them."""
    told = "`predict` should give for each text the number of the class with the largest score of this method, (n,)"
    own = asked(student, classifier, model, texts)[0]
    own = {name: scores_of(own, name, want).argmax(-1).tolist() for name in ("mean", "prior", "sum")}
    try:
        labels = {name: student.read(classifier, f"{PROBES}predictions", texts, name) for name in own}
        before = len(student.read(model, f"{MODELS}inputs_seen"))
        usual = student.read(classifier, f"{PROBES}predictions", texts)
    except StudentError:
        return [told]
    rows = sum(map(len, student.read(model, f"{MODELS}inputs_seen")[before:]))
    found = [] if labels == own else [told]
    if not found and usual != own["sum"]:
        found.append("`predict` without a method should go by the sum")
    return found if rows == len(texts) * want["sum"].shape[1] or usual != own["sum"] else [*found, ASKED]


def judge_again(student, classifier, model, texts, want):
    """Calls with the texts in another order and some twice, then with fewer. As the classifier's own scores say."""
    own = asked(student, classifier, model, texts, ["sum", "mean"])[0]
    own = {name: scores_of(own, name, want) for name in ("sum", "mean")}
    for order, told in (([7, 3, 0, 6, 1, 2, 5, 4],
                         "a later call with other texts goes wrong: does the classifier keep something of the first?"),
                        ([7, 3, 3, 0, 7], "texts that come twice in a call should have two rows of scores"),
                        ([3, 0], "a later call with fewer texts goes wrong")):
        wanted = {name: own[name][order] for name in own}
        got = asked(student, classifier, model, [texts[i] for i in order], ["mean", "sum"])[0]
        if not all(close(scores_of(got, name, wanted), wanted[name]) for name in wanted):
            return [told]
    return []


def judge_sums(student, classifier, model, texts, want):
    """The method `sums`: of the texts as they are for prompts, two tables."""
    try:
        got = student.read(classifier, f"{PROBES}tables_of_sums", texts[:2])
    except StudentError:
        got = []
    shape, told = (2, want["sum"].shape[1]), "`sums` should give two tables (n, c): log-probabilities, and numbers of tokens"
    return [] if [part.shape for part in got] == [shape] * 2 and np.array_equal(got[1], [[2, 6, 2]] * 2) else [told]


def judge_plain(student, parts, ours, texts):
    """Without demonstrations, two words, one text and then the batch size that is the default."""
    words, told = list(ours.verbalizer.words[1:]), "for one text, two words and no demonstrations it goes wrong"
    classifier = student.call("PromptClassifier", *parts, words)
    if not isinstance(classifier, Ref):
        return [told]
    want = prompting.PromptClassifier(ours.model, ours.tokenizer, ours.template, words)(texts[:1], ("sum",))
    got = asked(student, classifier, parts[0], texts[:1], ["sum"])[0]
    if not close(scores_of(got, "sum", want), want["sum"]):
        return [told]
    seen = asked(student, classifier, parts[0], texts[2:], ["sum"])[1]
    return [] if in_batches(seen, len(texts) - 2, 2, 4) else \
        ["without batch_size, 4 prompts should go through the model in one call"]


def judge_padding(student, model, pad):
    """What filled the rows in all passes so far."""
    passes, masks = (student.read(model, f"{MODELS}{name}") for name in ("inputs_seen", "masks_seen"))
    pairs = [(ids, mask) for ids, mask in zip(passes, masks, strict=True) if ids.shape == mask.shape]
    return [] if all(np.all(ids[~mask] == pad) for ids, mask in pairs) else \
        ["rows should be filled up with `tokenizer.pad_token_id`"]


def judge_learned(student, classifier, model, texts, ours):
    """The same classifier after its model has learned."""
    student.read(model, f"{PROBES}randomize", "lm_head", 1)
    probes.randomize(ours.model, "lm_head", 1)
    want = ours(texts[:2])
    got = asked(student, classifier, model, texts[:2])[0]
    return [] if all(close(scores_of(got, name, want), want[name]) for name in want) else \
        ["after the model has learned, the scores are those of before: the classifier may keep nothing of an earlier call"]


TUNED = Record({"template": Text(), "method": Text(), "macro_f1": Number(), "held_out_macro_f1": Number(),
                "interval": Several(Number(), Number()), "vote_accuracy": MapOf(Number())})


@check(points=4, contract=Contract("score templates texts labels folds", TUNED, arrays="numpy"))
def tune_prompt(student, rng):
    """Parts of different size; another choice by accuracy, in each part, by other rules for the vote; equals; few texts."""
    wrong = {}
    for n, folds, drawn in ((14, 4, "telling"), (13, 5, "equals"), (6, 8, "few")):
        labels, by_template, templates, texts, want, other_interval = choices(rng, n, folds, drawn)
        scorer = student.build(f"{PROBES}template_scorer", texts, by_template)
        given = (scorer, templates, texts, labels, *(() if folds == 5 else (folds,)))
        try:
            got = student.call("tune_prompt", *given)
        except StudentError as error:
            if drawn != "few":
                raise
            wrong |= dict.fromkeys(["with more folds than texts some hold no text: go on with the next",
                                    str(error)])
            break
        if not isinstance(got, dict) or set(want) - set(got):
            return 0, f"`tune_prompt` should return a dict with the keys {', '.join(f'`{key}`' for key in want)}"
        told = told_of_choice(got, want, drawn, list(templates))
        if told and drawn == "telling":
            return 0, told[0]
        if len(student.read(scorer, f"{PROBES}templates_asked")) != len(templates):
            told.append("call `score` once for each template, with all texts")
        if student.read(scorer, f"{PROBES}scores_changed"):
            told.append("the arrays that `score` gives are still needed: leave them as they are")
        told += told_by(judge_measures, got, want, drawn != "telling" and bool(wrong or told), other_interval)
        wrong |= dict.fromkeys(told)
    return max(4 - len(wrong), 1), f"the choice is right; {'; '.join(wrong)}" if wrong else \
        "the prompt is chosen, and what the choice is worth is told on texts left out"


@computed_once
def choices(rng, n, folds, drawn):
    """(labels, scores of each template, templates, texts, what is right, the interval by accuracy)."""
    labels, tables = few_tables(rng, n) if drawn == "few" else telling_tables(rng, n, folds, drawn == "equals")
    names = [f"{letter}{rng.integers(100)}" for letter in "zmaq"]  # not in the order of the alphabet
    templates = {name: f"template {i}" for i, name in enumerate(names)}
    texts = [f"text {i} of {rng.integers(10**6)}" for i in range(n)]
    by_template = dict(zip(templates.values(), tables, strict=True))
    want = prompting.tune_prompt(lambda template, _: by_template[template], templates, texts, labels, folds)
    return labels, by_template, templates, texts, want, accuracy_interval(tables, labels, folds)


def accuracy_interval(tables, labels, folds):
    """The interval that comes without the third argument: of the accuracy on the texts left out."""
    flat = [np.asarray(found).argmax(-1) for table in tables for found in table.values()]
    place, left = np.arange(len(labels)) % folds, np.empty_like(labels)
    for k in range(folds):
        seen = place != k
        left[~seen] = max(flat, key=lambda one, seen=seen: evaluation.macro_f1(labels[seen], one[seen]))[~seen]
    return evaluation.bootstrap_interval(labels, left)


def told_of_choice(got, want, drawn, names):
    """What is wrong with the template and method that were chosen."""
    if (got["template"], got["method"]) == (want["template"], want["method"]):
        return []
    if drawn == "few":
        return ["the macro-F1 is that of `evaluation.macro_f1`: a class that is only predicted counts too"]
    if drawn == "equals" and (got["template"], got["method"]) in {(names[at // 4], WAYS[at % 4]) for at in EQUALS}:
        return ["among equals the template that comes first should win, then the method"]
    return ["the largest macro-F1 (not accuracy) on all texts should choose template and method"]


def few_tables(rng, n):
    """Two classes. The first prompt says once a class that is no label; the second is as often wrong, with more macro-F1."""
    labels = rng.permutation(np.arange(n) % 2)
    absent, other = labels.copy(), labels.copy()
    absent[np.flatnonzero(labels == 1)[0]], other[np.flatnonzero(labels == 0)[0]] = 2, 1
    found = [np.full(n, 2)] * 5 + [absent, other] + [np.full(n, 2)] * 9
    return labels, [{way: np.eye(3)[found[4 * i + j]] + i for j, way in enumerate(WAYS)} for i in range(4)]


def judge_measures(got, want, other_choice, by_accuracy):
    """other_choice: equals were ranked in another way, which shows in the choices of the parts as well."""
    found = []
    if not close(as_number(got["macro_f1"], "macro_f1"), want["macro_f1"]):
        found.append("`macro_f1` is that of the chosen prompt on all texts")
    if other_choice:
        pass
    elif not close(as_number(got["held_out_macro_f1"], "held_out_macro_f1"), want["held_out_macro_f1"]):
        found.append("`held_out_macro_f1`: for each k choose without the texts k, k + folds, ..., predict these, and "
                     "measure all n predictions together")
    elif not close(interval := as_array(got["interval"], (2,), "interval"), want["interval"]):
        found.append("`interval` is that of the accuracy: the third argument of `bootstrap_interval` should be "
                     "`evaluation.macro_f1`"
                     if close(interval, by_accuracy) else
                     "`interval` is `bootstrap_interval` of the macro-F1 on the texts left out")
    votes = got["vote_accuracy"]
    if not isinstance(votes, dict) or set(votes) != set(want["vote_accuracy"]) or \
            not all(close(as_number(votes[way], "vote_accuracy"), value) for way, value in want["vote_accuracy"].items()):
        found.append("`vote_accuracy`: for each method, softmax over the classes, then the mean over the templates decides")
    return found


# In no known order. Of the equals the first has a method in the middle of the alphabet, and a template too.
WAYS = ("calibrated", "prior", "sum", "mean")
EQUALS = (5, 6, 7, 8, 12)  # templates 1 (with all methods but the first), 2 and 3 (with the first): 4 * template + method


def telling_tables(rng, n, folds, equals):
    """(labels, [{method: scores} for each of four templates]), drawn until each likely mistake gives another result.

    equals: the same predictions, the best, come from EQUALS. Some texts have scores whose exp is 0.
    """
    while True:
        labels = np.where(rng.random(n) < 0.55, 0, rng.integers(1, 3, size=n))
        skill = rng.uniform(0.4, 0.75 if equals else 0.8, size=(4, len(WAYS), 1))
        skill[1, 1] = 0.85 if equals else skill[1, 1]
        right = rng.random((4, len(WAYS), n)) < skill
        predicted = np.where(right, labels, rng.integers(3, size=(4, len(WAYS), n)))
        predicted[0, 0] = 0  # says the same of all: a good accuracy, little macro-F1
        if equals:
            predicted.reshape(-1, n)[list(EQUALS)] = predicted[1, 1]
        if not telling(labels, predicted, folds, equals):
            continue
        for _ in range(20):
            scores = scores_for(rng, predicted)
            if equals or telling_votes(labels, scores[:, 0]):
                scores = np.round(64 * scores) / 64 - np.where(np.arange(n) % 3 == 1, 1500, 0)[:, None]
                return labels, [dict(zip(WAYS, table, strict=True)) for table in scores]


def scores_for(rng, predicted):
    """Scores (templates, methods, n, 3) with these predictions; some templates are surer than others."""
    scores = rng.normal(size=(*predicted.shape, 3))
    top = scores.max(-1, keepdims=True) + 0.1
    scores = np.where(np.arange(3) == predicted[..., None], top, scores)
    templates, _, n = predicted.shape
    return scores * rng.uniform(0.3, 4, size=(templates, 1, 1, 1)) + rng.normal(scale=4, size=(templates, 1, n, 1)) - 9


def telling(labels, predicted, folds, equals):
    """Whether the choice, and the one without each part, is another by each likely mistake."""
    flat, place = predicted.reshape(-1, len(labels)), np.arange(len(labels)) % folds

    def values(rows, metric=evaluation.macro_f1):
        return np.array([metric(labels[rows], one[rows]) for one in flat])

    everywhere = values(place >= 0)
    first = int(everywhere.argmax())
    if equals:
        return tuple(np.flatnonzero(everywhere == everywhere.max())) == EQUALS
    if sum(everywhere == everywhere.max()) > 1 or values(place >= 0, evaluation.accuracy).argmax() == first:
        return False
    inside = {k: values(place != k) for k in range(folds)}
    choices = {k: int(found.argmax()) for k, found in inside.items()}
    if len(set(choices.values())) == 1 or any(sum(v == v.max()) > 1 for v in inside.values()):
        return False
    blocks = np.sort(place)

    def left_out(rows_of, metric=evaluation.macro_f1, parts=place):
        chosen = {k: int(values(rows_of(k), metric).argmax()) for k in range(folds)}
        return evaluation.macro_f1(labels, np.array([flat[chosen[k]][i] for i, k in enumerate(parts)]))

    found = np.array([flat[choices[k]][i] for i, k in enumerate(place)])
    value = evaluation.macro_f1(labels, found)
    others = (np.mean([evaluation.macro_f1(labels[place == k], found[place == k]) for k in choices]),
              left_out(lambda k: blocks != k, parts=blocks), left_out(lambda k: place == k),
              left_out(lambda k: place != k, evaluation.accuracy),
              evaluation.accuracy(labels, found), evaluation.macro_f1(labels, flat[first]))
    return not any(np.isclose(value, other) for other in others)


def telling_votes(labels, scores):
    """Whether a vote of the templates by another rule has another accuracy."""
    p = np.exp(evaluation.log_softmax(scores))
    right, *others = (evaluation.accuracy(labels, vote.argmax(-1)) for vote in (
        p.mean(0), scores.mean(0), np.log(p).mean(0), np.exp(scores).mean(0), (p == p.max(-1, keepdims=True)).mean(0)))
    return right not in others


SENTENCES = ("{}", "Ɗan'uwa Musa, প্রিয় বন্ধু!\tWrite to Grace ({}), please.", " Ask {}, or {}; {}.\n2024 was good \n",
             "Amina said {} or\n{}\n30 bags ")


def forms(rng):
    """{kind: [(what must go, the placeholders that are right for it)]}: every form of the docstring."""
    def digits(pattern):
        return re.sub("#", lambda _: str(rng.integers(10)), re.sub("~", lambda _: str(rng.integers(1, 9)), pattern))

    def name():
        return "".join(rng.choice(list("bdgkmntz")) + rng.choice(list("aeiou")) for _ in range(4))

    phones = {"Nigeria": ("08~3 ~## ####", "+234 803 ~## ####"), "Kenya": ("07~2 ### ###", "+254 712 ### ###"),
              "Bangladesh": ("017~2 ######", "+880 17~2 ######"), "Peru": ("9~# ~## ~##", "+51 9~# ~## ~##")}
    found = {country: [(digits(pattern.replace(" ", gap)), ("PHONE",) if gap else ("PHONE", "ID", "+ID"))
                       for pattern in patterns for gap in (" ", "-", "")] for country, patterns in phones.items()}
    found["Bangladesh"].append((digits("+880 17~2-######"), ("PHONE",)))
    return found | {
        "ID": [(digits("~" + "#" * 7), ("ID", "PHONE")), (digits("~" + "#" * 13), ("ID",)),
               (digits("~" + "#" * 16), ("ID",)), (digits("~" + "#" * int(rng.integers(8, 13))), ("ID", "PHONE")),
               (digits("A########"), ("ID",)), (digits("Z" + "#" * int(rng.integers(14, 18))), ("ID",))],
        "URL": [(f"{start}{name()}.{end}", ("URL",)) for start, end in (
            ("http://", "ng"), ("https://", f"co.ke/{name()}?item=2&page=1"), ("www.", f"com/{name()}/a-b_2.html"),
            ("https://www.", "org"), (f"http://{name()}-2.", f"pe/{name()}/"))],
        "EMAIL": [(f"{local}@{domain}", ("EMAIL",)) for local, domain in (
            (name(), f"{name()}.com"), (f"{name()}.{name()}", f"{name()}.co.ke"), (f"{name().title()}+2", f"{name()}.ng"),
            (f"{name()}-a_7", f"{name()}-shop.com.bd"), (f"9{name()}{rng.integers(99)}", f"Mail.{name()}.pe"))],
        "HANDLE": [(f"@{name()}", ("HANDLE",)), (f"@{name().title()}_{rng.integers(9)}", ("HANDLE",)), ("@kz", ("HANDLE",))]}


HARMLESS = ("1,500 naira on 12/05/2024 at 10:30", "1 250 000 shillings", "the years 2019-2024, on 12-05-2024",
            "order 4512345", "AB12345678 on the box", "a code of 483920174650281937 letters",
            "room 38-40; Amina and Grace in Kano",
            "3 of 4 bags @ 500 soles", "email me: Cusco, 45 %", "http is not a web address, www neither")


@check(points=4, contract=Contract("text", Text()))
def redact(student, rng):
    """Made-up messages as in the lab; then each form of the docstring in several sentences, and what must stay."""
    messages = some_messages(rng)
    cleaned = {text: str(student.call("redact", text)) for text, _, _ in messages}
    recall, precision = prompting.redaction_scores(cleaned.get, messages)
    told = f"recall {recall:.2f}, precision {precision:.2f} on {len(messages)} messages"
    wrong = [f"`{kind}`" for kind, found in forms(rng).items() if not all(
        gone(student, secret, names, sentence) for i, (secret, names) in enumerate(found)
        for sentence in (SENTENCES[:2] if i % 2 else SENTENCES[2:]))]
    missed = ["not each form of these is found whole, wherever it stands, and gets its own placeholder, with all else as it "
              f"was: {', '.join(wrong)}"] if wrong else []
    for text in ("", *HARMLESS, f" {HARMLESS[0]}\n\n{HARMLESS[1]}  "):
        if len(missed) == bool(wrong) and student.call("redact", text) != text:
            missed.append("a text without personal data (prices, dates, names, longer or shorter numbers) should stay "
                          "as it is")
    if min(recall, precision) < 0.95:
        return 2 if min(recall, precision) >= 0.75 and len(wrong) < 5 else 0, "; ".join([told, *missed])
    return 4 if not missed else max(4 - len(missed) - (len(wrong) > 1), 2), "; ".join([told, *missed])


@computed_once
def some_messages(rng):
    return [prompting.private_message(rng) for _ in range(60)]


def gone(student, secret, names, sentence):
    """Whether a text with a secret at each place of a sentence has a right placeholder there and is else the same."""
    places = sentence.count("{}")
    got = student.call("redact", sentence.format(*[secret] * places))
    wanted = {sentence.format(*[f"+[{name[1:]}]" if name[0] == "+" else f"[{name}]"] * places) for name in names}
    return got in wanted


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
    words = found["verbalizer"].words
    scores = ask(found["template"], tuple(sorted(words)), found["method"], tuple(found["demonstrations"]), found["language"])
    predictions = scores[:, [sorted(words).index(word) for word in words]].argmax(-1)
    return judge_classes("lab4_prompting", found["language"], np.array(heldout["label"]), predictions)


@functools.lru_cache(maxsize=32)
def ask(template, words, method, demonstrations, language):
    """Scores (n, words) of the held-out texts; the same prompt is asked once, whichever class each word stands for.

    The model is not kept: it is half a gigabyte.
    """
    from leaplm.runtime import free_memory

    tokenizer = models.load_tokenizer("smollm2")
    texts = prompting.shorten(data.heldout_rows(language, HELDOUT_ROWS)["text"], tokenizer)
    model = models.load_causal_lm("smollm2")
    found = prompting.class_log_probs(model, tokenizer, texts, template, prompting.Verbalizer(words), method, demonstrations)
    del model
    free_memory()
    return found
