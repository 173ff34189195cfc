"""Checks of lab 15, following instructions. Inputs are fresh and random at each run."""

import contextlib
import functools
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from leaplm import artifacts, instructions, models
from leaplm.calibration import load_record
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Contract,
    ListOf,
    Number,
    Numbers,
    Record,
    Tensor,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, standing, tiny_models
from leaplm.grading.judge.remembered import scored_once

PROBES = "leaplm.grading.judge.probes:"
TINY = "leaplm.grading.judge.tiny_models:"
HELDOUT = Path(__file__).with_name("heldout")
MOST_BYTES = 40 << 20
IGNORED = instructions.IGNORED
BLANK = 5  # of the chat tokenizer: a blank is a token
WORDS = ["hoes", "two", "Store:", "please", "card.", "Bring", "the", "when?", "desk", "I", "need", "sick"]
NUMBERS, WHOLE = Numbers(dims=1), Numbers("int", dims=1)


def close(got, want, tolerance=1e-4):
    got, want = np.asarray(got, dtype=float), np.asarray(want, dtype=float)
    return got.shape == want.shape and bool(np.allclose(got, want, atol=tolerance, rtol=tolerance))


def whole(values):
    return [int(value) for value in values]


# -- chat_row -------------------------------------------------------------------------------------------------------------


@check(points=3, contract=Contract("tokenizer system question answer", Record({"input_ids": WHOLE, "labels": WHOLE})))
def chat_row(student, rng):
    """A tokenizer with a chat form and special tokens of its own; answers of one token and of several."""
    tokenizer, ours = student.build(f"{TINY}chat_tokenizer", WORDS), tiny_models.chat_tokenizer(WORDS)
    for read, size in ((4, 1), (0, 3), (4, 6), (60, 120)):
        system, question, answer = (" ".join(rng.choice(WORDS, n)) for n in (read, 5, size))
        row = student.call("chat_row", tokenizer, system, question, answer)
        got = {name: whole(row[name]) for name in ("input_ids", "labels")}
        want = instructions.chat_row(ours, system, question, answer)
        if student.read(tokenizer, f"{TINY}settings_of") != tiny_models.settings_of(ours):
            return int(got == want), "the tokenizer is changed afterwards: leave its tokens, template and settings alone"
        if got != want:
            return explain_row(got, want, ours, answer)
    return 3, "a prompt that is read, an answer and an end that are learned"


def explain_row(got, want, tokenizer, answer):
    ids, size = got["input_ids"], len(answer.split())
    if len(ids) != len(got["labels"]):
        return 0, "input_ids and labels should have the same length"
    if ids == want["input_ids"]:
        if got["labels"] == ids:
            return 1, "the tokens are right; but the prompt has labels too: they are -100 there"
        if got["labels"][:-1] == want["labels"][:-1]:
            return 2, "right but for the end token: it is learned too, or the model never ends"
        if got["labels"] == [*want["labels"][1:], IGNORED]:
            return 2, "do not move the labels: the loss does that"
        return 1, "the tokens are right; the labels are -100 on the prompt, and the tokens themselves on answer and end"
    if ids == want["input_ids"][:-1]:
        return 1, "the end token is missing: put tokenizer.eos_token_id behind the answer"
    if 2 in ids or ids.count(3) > 1:
        return 0, "the tokenizer has added special tokens: use add_special_tokens=False for prompt and answer"
    if [token for token in ids if token != BLANK] == [token for token in want["input_ids"] if token != BLANK]:
        return 1, "other white space than that of the chat template: take its text, and the answer, as they are"
    if ids[-2 * size :] == want["input_ids"][-2 * size :]:
        return 1, "the answer is right, the prompt is not: system and user message, with add_generation_prompt=True"
    return 0, "other tokens: the chat's prompt, then the answer's tokens, then tokenizer.eos_token_id once"


# -- pack_rows ------------------------------------------------------------------------------------------------------------

PACK = Record(dict.fromkeys(("input_ids", "labels", "position_ids", "segments"), WHOLE))


@check(points=3, contract=Contract("rows length", ListOf(PACK)))
def pack_rows(student, rng):
    """Rows of many lengths, one that fits exactly, one alone, a row as long as the pack, and none."""
    sizes = [3, 4, 7, 1, 5, 2, 1, 1, *rng.integers(1, 8, size=int(rng.integers(5, 9))).tolist()]
    rows = [random_row(rng, size) for size in sizes]
    for some, length in ((rows, 7), (rows, 16), (rows[:1], 3), (rows[2:3], 7)):
        got = [{name: whole(values) for name, values in pack.items()} for pack in student.call("pack_rows", some, length)]
        want = instructions.pack_rows(some, length)
        if got != want:
            return explain_packs(got, want, length)
    if list(student.call("pack_rows", [], 5)) != []:
        return 2, "right; but without rows there are no packs"
    return 3, "packs in order, each row with its own positions and its number"


def random_row(rng, size):
    ids = rng.integers(0, 9, size=size).tolist()
    return {"input_ids": ids, "labels": [IGNORED] * (size // 2) + ids[size // 2 :]}


def explain_packs(got, want, length):
    if any(set(pack) != set(want[0]) for pack in got):
        return 0, "a pack should have input_ids, labels, position_ids and segments, and nothing else"
    if any(len(pack["input_ids"]) > length for pack in got):
        return 0, "a pack is too long: begin a new one where the row does not fit any more"
    parts = [[pack["input_ids"] for pack in packs] for packs in (got, want)]
    if parts[0] != parts[1]:
        if sum(parts[0], []) == sum(parts[1], []):
            return 1, "the rows are in order, but the packs begin elsewhere: a row that fits exactly fits"
        return 0, "the rows should keep their order, all of them, one pack behind the other"
    wrong = [name for name in want[0] if [pack[name] for pack in got] != [pack[name] for pack in want]]
    if wrong == ["position_ids"]:
        return 1, "right but for position_ids: they begin at 0 in each row"
    if wrong == ["segments"]:
        return 1, "right but for segments: they count the rows from 0 in each pack"
    return 1, f"the tokens are right, not so {' and '.join(wrong)}"


# -- packed_mask ----------------------------------------------------------------------------------------------------------


@check(points=2, contract=Contract("segments", Tensor("bool", dims=3)))
def packed_mask(student, rng):
    """Segments of many lengths, of one token, padding, one token alone; a number that comes again behind another."""
    segments = np.stack([np.repeat([0, 1, 2, 3, -1], rng.multinomial(4, [0.2] * 5) + 1) for _ in range(3)])
    segments[0, -1] = segments[0, 0]
    for some in (segments, np.zeros((1, 1), dtype=int), np.zeros((2, 5), dtype=int)):
        got = as_array(student.call("packed_mask", some), (*some.shape, some.shape[1]), "packed_mask").astype(bool)
        want = instructions.packed_mask(torch.from_numpy(some)).numpy()
        if not np.array_equal(got, want):
            return explain_mask(got, want, some)
    return 2, "each token sees what came before it in its own row"


def explain_mask(got, want, segments):
    tokens = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    if np.array_equal(got, ~want):
        return 1, "True and False have changed places: True is what a token may see"
    if np.array_equal(got, want.swapaxes(1, 2)):
        return 1, "rows and columns have changed places: entry [p, i, j] is whether i sees j, and j is not behind i"
    if np.array_equal(got, same):
        return 1, "a token sees later ones, too: j may not be behind i"
    if np.array_equal(got, np.broadcast_to(np.tril(np.ones((tokens, tokens), dtype=bool)), got.shape)):
        return 1, "a token sees the rows before its own: compare the segments"
    if not any(got[:, i, i].any() for i in range(tokens)):
        return 1, "a token sees itself, too"
    return 0, "another table: j not behind i, and the same segment (the padding's -1 is one, too)"


# -- exact_match ----------------------------------------------------------------------------------------------------------

ALIKE = [("Store: two hoes.", "store:  two hoes"), (" Nurse: FEVER ", "Nurse: fever."),
         ("Library: a\n book", "library: a book"), ("Bursar: fees. ", "bursar: fees")]
UNLIKE = [("rice at noon", "noon at rice"), ("fée", "fee"),
          ("Store: two hoes", "Store: a hoe"), ("Nurse: fever..", "Nurse: fever"), ("Nurse: fever!", "Nurse: fever"),
          ("Kitchen: rice", "Kitchen - rice"), ("", "Store: hoes"), ("Store: hoes: old", "Store: hoes: new")]


@check(points=2, contract=Contract("answers references until", Number()))
def exact_match(student, rng):
    """Case, blanks, one period; other punctuation; a part before a mark that occurs once, twice, not at all."""
    for _ in range(3):
        chosen = [ALIKE[i] for i in rng.permutation(4)[:3]] * 2 + [UNLIKE[i] for i in rng.permutation(len(UNLIKE))[:4]]
        answers, references = (list(column) for column in zip(*chosen, strict=True))
        if not matches(student, answers, references):
            return explain_match(student, answers, references)
    each = [matches(student, [a], [b]) for a, b in ALIKE + UNLIKE]
    if not all(each):
        return 1, "right on the whole; look at texts that differ in one thing: case, blanks, a line end, one period or two"
    parts = [(["Store: hoes", "Nurse. a", "Store: x: y"], ["store : rice", "nurse", "Store: z: y"], ":"),
             (["a. b", "A. c"], ["a. c", "b. c"], "."), (["Cook the rice. Then"], ["cook the fish"], "the"),
             (["yes", "yes"], ["yet", "yes: no"], ":"), (["a: x: y", "a: x: y"], ["a: x: z", "b: x: y"], ":"),
             (["Go  up", "Go THE way"], ["go", "go"], "THE"),
             (["at six - ask", "a-b"], ["at ten - ask", "a-c"], " - ")]
    if not all(matches(student, *part) for part in parts):
        return 1, explain_until(student, parts)
    return 2, "alike but for case, blanks and a period"


def explain_until(student, parts):
    """What is wrong where a text is cut."""
    got = [as_number(student.call("exact_match", *part), "exact_match") for part in parts]
    whole = lambda text: " ".join(text.lower().split()).removesuffix(".").rstrip()  # noqa: E731
    late = [[np.mean([end(whole(a).split(until)[0]) == end(whole(b).split(until)[0]) for a, b in zip(*both, strict=True)])
             for *both, until in parts] for end in (str, whole)]
    if any(close(got, shares, 1e-6) for shares in late):
        return "right without `until`; with it, cut the text first, and bring what is left into its normal form"
    return "right without `until`; with it, compare what stands before it first occurs, or all where it does not"


def matches(student, answers, references, until=None):
    got = as_number(student.call("exact_match", answers, references, until), "exact_match")
    return abs(got - instructions.exact_match(answers, references, until)) < 1e-6


def explain_match(student, answers, references):
    got = as_number(student.call("exact_match", answers, references, None), "exact_match")
    if abs(got - 100 * instructions.exact_match(answers, references)) < 1e-6:
        return 1, "a share from 0 to 1 is wanted, no percent"
    if abs(got - np.mean([a == b for a, b in zip(answers, references, strict=True)])) < 1e-6:
        return 0, "the texts are compared as they are: small letters, single blanks, and one period at the end taken away"
    return 0, "another share: small letters, single blanks, no blanks at the ends, one period at the end taken away"


# -- chrf -----------------------------------------------------------------------------------------------------------------


@check(points=3, contract=Contract("answer reference", Number()))
def chrf(student, rng):
    """Texts that share some strings, repeated strings, shorter than 6 characters, blanks, capitals, other letters, empty."""
    parts = ["iron", "tablets", "Bring", "ƙwaya", "the", "hoe", "aaaa", "ba", "baba", "dawa", "አማ"]
    pairs = [(" ".join(rng.choice(parts, int(n))), " ".join(rng.choice(parts, int(m)))) 
             for n, m in rng.integers(1, 8, (14, 2))]
    pairs += [("the\thoe\nba", "the hoe ba"), ("hoe, ba!", "hoe ba."), ("abcde " * 30 + "x", "abcde " * 30 + "yz")]
    pairs += [("aaaaaa", "aa"), ("aa", "aaaaaaa"), ("ab", "abc"), ("Hoe", "hoe"), ("hoes", "hoe x"), ("the hoe", "thehoe")]
    got = [as_number(student.call("chrf", *pair), "chrf") for pair in pairs]
    if not close(got, [instructions.chrf(*pair) for pair in pairs], 1e-3):
        return explain_chrf(got, pairs)
    edges = [("", "hoe"), ("hoe", ""), ("  ", "hoe"), ("xyz", "hoe"), ("", "")]
    if any(as_number(student.call("chrf", *pair), "chrf") != 0 for pair in edges):
        return 2, "right; but for an empty text, and where nothing is shared, the result is 0"
    return 3, "the chrF that sacreBLEU gives"


def near_miss(answer, reference, orders=6, beta=2, blanks=False, distinct=False, all_orders=False, swap=False, each=False):
    """chrF with one thing done otherwise, in percent."""
    if swap:
        answer, reference = reference, answer
    texts = [text if blanks else "".join(text.split()) for text in (answer, reference)]
    shares = []
    for n in range(1, orders + 1):
        a, b = (Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in texts)
        a, b = (Counter(set(some)) if distinct else some for some in (a, b))
        if (a and b) or all_orders:
            shared = (a & b).total()
            shares.append((shared / max(1, a.total()), shared / max(1, b.total())))
    score = lambda p, r: (1 + beta**2) * p * r / (beta**2 * p + r) if p * r else 0.0  # noqa: E731
    if not shares:
        return 0.0
    return 100 * (np.mean([score(p, r) for p, r in shares]) if each else score(*np.mean(shares, axis=0)))


MISSES = [({"blanks": True}, "white space is counted: take it out of both texts first"),
          ({"distinct": True}, "count a string as often as it occurs: shared is the smaller of the two numbers"),
          ({"all_orders": True}, "lengths for which one text has no string are counted as 0: leave them out of the means"),
          ({"beta": 1}, "this is F1: with beta 2 recall counts more"),
          ({"swap": True}, "precision and recall have changed places: precision divides by the answer's strings"),
          ({"each": True}, "means of precision and recall first, then the formula once"),
          ({"orders": 5}, "strings of 1 to 6 characters: range(1, 7)"),
          ({"orders": 7}, "strings of 1 to 6 characters, not 7")]


def explain_chrf(got, pairs):
    for change, told in MISSES:
        if close(got, [near_miss(*pair, **change) for pair in pairs], 1e-3):
            return 1, told
    if close(np.multiply(got, 100), [instructions.chrf(*pair) for pair in pairs], 1e-1):
        return 2, "in percent, please: times 100"
    return 0, "other numbers: precision and recall of strings of 1 to 6 characters, their means, F with beta 2, times 100"


# -- refusal_rates --------------------------------------------------------------------------------------------------------


@check(points=2, contract=Contract("answers refuse word", Record(dict.fromkeys(("refused", "over_refused"), Number()))))
def refusal_rates(student, rng):
    """Refusals in any case, behind blanks, the word in the middle, another word, only one kind of question, none."""
    for word in ("Refused", "refused", "An ƙi", "No (sorry)"):
        pool = [f"{word}: no.", f" {word.upper()}. Ask.", f"{word.lower()}", f"Store: {word} goods.", "Nurse: fever.", "",
                "Re", "A"]
        answers = [pool[i] for i in rng.integers(len(pool), size=15)] + pool
        refuse = [bool(value) for value in rng.random(len(answers)) < 0.35]
        refuse[-4:] = [True, False, True, False]
        got, want = rates_of(student, answers, refuse, word), instructions.refusal_rates(answers, refuse, word)
        if not same_rates(got, want):
            return explain_rates(got, want, answers, refuse, word)
    usual = student.call("refusal_rates", ["Refused: no.", "An ƙi: no."], [True, False])
    if as_number(usual["refused"], "refused") != 1 or as_number(usual["over_refused"], "over_refused") != 0:
        return 1, "right with a word; without one the word is \"Refused\""
    lone = [([f"{word}."], [True]), ([f"{word}."], [False]), ([], [])]
    if not all(same_rates(rates_of(student, a, b, word), instructions.refusal_rates(a, b, word)) for a, b in lone):
        return 1, "right; but where there is no question of a kind, its share is 0, and no error"
    return 2, "both kinds of error"


def rates_of(student, answers, refuse, word):
    found = student.call("refusal_rates", answers, refuse, word)
    return {name: as_number(found[name], name) for name in ("refused", "over_refused")}


def same_rates(got, want):
    return all(abs(got[name] - want[name]) < 1e-6 for name in want)


def explain_rates(got, want, answers, refuse, word):
    flags = np.array([answer.strip().lower().startswith(word.lower()) for answer in answers])
    refuse = np.array(refuse)
    if same_rates(got, {"refused": want["over_refused"], "over_refused": want["refused"]}):
        return 1, "the two have changed places: over-refused is a refusal of what may be answered"
    if same_rates(got, {"refused": (flags & refuse).mean(), "over_refused": (flags & ~refuse).mean()}):
        return 1, "divide by the questions of that kind, not by all"
    if same_rates(got, {"refused": 1 - want["refused"], "over_refused": 1 - want["over_refused"]}):
        return 1, "these are the shares of answers that are no refusals"
    anywhere = np.array([word.lower() in answer.lower() for answer in answers])
    if same_rates(got, {"refused": anywhere[refuse].mean(), "over_refused": anywhere[~refuse].mean()}):
        return 1, "a refusal begins with the word; the word inside of an answer is none"
    english = np.array([answer.strip().lower().startswith("refused") for answer in answers])
    if same_rates(got, {"refused": english[refuse].mean(), "over_refused": english[~refuse].mean()}):
        return 1, "the English word is looked for in each language: use the argument `word`"
    return 0, "other shares: does the answer begin with the word, in any letter case, behind blanks? Use the argument `word`"


# -- answer_log_probs -----------------------------------------------------------------------------------------------------


@check(points=3, contract=Contract("logits labels", Tensor("float", dims=1), gradient="logits"))
def answer_log_probs(student, rng):
    """Answers of different lengths, label 0, padding behind the answer, large logits, a row without an answer."""
    logits = rng.normal(0, 3, size=(4, 7, 5)).astype(np.float32)
    labels = np.full((4, 7), IGNORED)
    labels[0, 2:6], labels[1, 6], labels[2, 1:4] = rng.permutation([0, 1, 2, 4]), 0, rng.integers(0, 5, size=3)
    got = as_array(student.call("answer_log_probs", logits, labels), (4,), "answer_log_probs")
    want = instructions.answer_log_probs(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()
    if not close(got, want):
        return explain_log_probs(got, want, logits, labels)
    large = logits * 100
    got = as_array(student.call("answer_log_probs", large, labels), (4,), "answer_log_probs")
    if not close(got, instructions.answer_log_probs(torch.from_numpy(large), torch.from_numpy(labels)).numpy(), 1e-3):
        return 2, "right for small logits; for large ones use log_softmax, and not the logarithm of softmax"
    return 3, "the sum of the answer's log-probabilities, one a row"


def explain_log_probs(got, want, logits, labels):
    log_probs = torch.from_numpy(logits).log_softmax(-1).numpy()
    kept = labels != IGNORED
    unmoved = np.where(kept, np.take_along_axis(log_probs, np.maximum(labels, 0)[..., None], -1)[..., 0], 0).sum(1)
    counts = np.maximum(kept[:, 1:].sum(1), 1)
    if close(got, unmoved):
        return 1, "each label is looked up in the logits of its own place: the logits at token t predict token t + 1"
    if close(got, want / counts):
        return 1, "this is the mean over the answer's tokens: the sum is wanted"
    if close(got, want / (labels.shape[1] - 1)) or close(got, want / labels.shape[1]):
        return 1, "this is the mean over all tokens: the sum is wanted"
    if close(got, -want):
        return 1, "the sign: log-probabilities are negative; this is the loss"
    if close(got * np.log(2), want):
        return 2, "in bits; nats are wanted (the natural logarithm)"
    return 0, "other sums: log-softmax over the vocabulary, the entry of the next token's label, -100 left out"


# -- train_answers --------------------------------------------------------------------------------------------------------

TRAINED = Contract("scorer batches epochs rate", NUMBERS, changes="scorer", mode="eval", leaves="gradients",
                   forward="train, grad")
LEARN = Contract("scorer pairs beta epochs rate", NUMBERS, changes="scorer", mode="eval", leaves="gradients")
WIDTH = 5


def random_batch(rng, answers, most=3):
    """Packed rows with `answers` answers in all: different numbers of tokens, many of them read and not learned."""
    rows, left = [], answers
    while left:
        part = min(left, int(rng.integers(1, most + 1)))
        rows.append([int(size) for size in rng.integers(2, 5, size=part)])
        left -= part
    longest = max(sum(row) for row in rows) + 1
    segments, places, labels = (np.full((len(rows), longest), fill) for fill in (-1, 0, IGNORED))
    for number, row in enumerate(rows):
        start = 0
        for segment, size in enumerate(row):
            segments[number, start : start + size], places[number, start : start + size] = segment, range(size)
            learned = int(rng.integers(1, size))
            labels[number, start + size - learned : start + size] = rng.integers(0, 9, size=learned)
            start += size
    return {"vectors": rng.normal(size=(*segments.shape, WIDTH)).astype(np.float32), "position_ids": places,
            "segments": segments, "labels": labels}


def tensors(batch):
    return {name: torch.from_numpy(np.asarray(value)) for name, value in batch.items()}


@check(points=4, contract=TRAINED)
def train_answers(student, rng):
    """A model that shows its mode, with weights that must not learn; batches with few and many answers."""
    seed, batches = int(rng.integers(10**6)), [random_batch(rng, answers) for answers in (1, 5, 3)]
    for number, scale in enumerate((0.2, 5, 1)):  # gradients of very different size: whoever clips them gets other weights
        batches[number]["vectors"] *= np.float32(scale)
    for epochs, rate in ((3, 0.05), (1, 0.2)):
        model = student.build(f"{PROBES}modal_scorer", WIDTH, seed)
        student.read(model, f"{PROBES}leave_gradients")
        student.read(model, f"{PROBES}set_training", False)
        losses = [float(loss) for loss in student.call("train_answers", model, batches, epochs, rate)]
        weights = student.read(model, f"{PROBES}state_dict")
        want, ours = reference_answers(seed, batches, epochs, rate)
        if len(losses) != epochs:
            return 0, "the mean loss of each epoch should come back, one number an epoch"
        if any(not close(weights[name], ours[name], 1e-3) for name in ours):
            return explain_training(weights, functools.partial(reference_answers, seed, batches, epochs, rate))
        if not close(losses, want, 1e-3):
            return 3, "trained right; but the losses should be the means over the updates of each epoch"
    return 4, "trained on the answers, with a rate that falls in a straight line"


def reference_answers(seed, batches, epochs, rate, share="labels", **miss):
    """(mean losses, weights) of the training that the lab asks for, or of a near miss."""
    def loss_of(model, number):
        batch = tensors(batches[number])
        sums = model(**batch)
        parts = {"labels": (batch["labels"] != IGNORED).sum(), "answers": len(sums), "one": 1,
                 "tokens": batch["labels"].numel()}
        return -sums.sum() / parts[share]

    return reference_loop(probes.modal_scorer(WIDTH, seed), loss_of, len(batches), epochs, rate, **miss)


def reference_loop(model, loss_of, count, epochs, rate, falling=True, clear="before", last=0, first=0):
    model.train()
    probes.leave_gradients(model)
    learns = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer, history, step = torch.optim.AdamW(learns, lr=rate), [], 0
    for _ in range(epochs):
        losses = []
        for number in range(count):
            optimizer.param_groups[0]["lr"] = falling_rate(rate, step + first, epochs * count - last) if falling else rate
            loss = loss_of(model, number)
            if clear == "before":
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if clear == "behind":
                optimizer.zero_grad()
            losses.append(float(loss.detach()))
            step += 1
        history.append(sum(losses) / len(losses))
    return history, probes.state_dict(model)


def falling_rate(rate, step, steps):
    return rate * (1 - step / max(1, steps))


NEAR_MISSES = [({"falling": False}, "the rate stays the same: let it fall in a straight line, once an update"),
               ({"clear": "behind"}, "the first update counts gradients that were there before: clear them first"),
               ({"clear": "never"}, "the gradients of earlier updates are still there: `zero_grad` before `backward`"),
               ({"first": 1}, "the rate falls one update too early: the first update has the whole rate"),
               ({"last": 1}, "the rate reaches 0 one update too early: update k of n has the rate (1 - k / n) of the first")]
POINTS_OF_MISSES = {"first": 2, "last": 2}  # of 4, where it is more than 1
OF_ANSWERS = [({"share": "answers"}, "divide by the labels that are not -100, not by the number of answers"),
              ({"share": "one"}, "the sum of a batch is not divided by the number of its labels"),
              ({"share": "tokens"}, "divide by the labels that are not -100, not by all tokens")]
OF_PAIRS = [({"reference": "none"}, "the reference is missing: the gains are differences to its log-probabilities"),
            ({"reference": "on"}, "the reference was asked with the adapter on: use `scorer.adapter_off()`"),
            ({"reference": "all_off"}, "the reference was asked with all adapters off: it keeps the first one, so use "
                                       "`scorer.adapter_off()` and not `all_adapters_off`"),
            ({"learning": "off"}, "the adapter is off while it learns: only the reference is asked with it off"),
            ({"reference": "moving"}, "the reference should be asked once, with the adapter off, and kept"),
            ({"turned": True}, "the two of the reference have changed places: the chosen comes first"),
            ({"swap": True}, "chosen and rejected have changed places")]


def explain_training(weights, near, more=OF_ANSWERS, modes=(None,)):
    """The near miss that gives these weights. modes: of the model when the reference is asked; None: there is none."""
    for miss, told in NEAR_MISSES + more:
        for mode in modes:
            _, theirs = near(**miss) if mode is None else near(training=mode, **miss)
            if all(close(weights[name], theirs[name], 1e-3) for name in theirs):
                return POINTS_OF_MISSES.get(next(iter(miss)), 3 if miss.get("clear") == "behind" else 1), told
    told = ("other weights: AdamW on all that requires a gradient, an update a batch in order, in training mode, that loss, "
            "and update k (from 0) of n with the rate (1 - k / n) * rate")
    return 0, told if more is OF_ANSWERS else f"{told} (`dpo_loss` with your beta, the reference with the adapter off)"


# -- dpo_loss -------------------------------------------------------------------------------------------------------------


@check(points=3, contract=Contract("chosen rejected reference_chosen reference_rejected beta", Tensor("float", dims=0),
                                   gradient="chosen rejected"))
def dpo_loss(student, rng):
    """Gains of both signs, pairs with different margins, one pair, large margins, several betas."""
    for beta in (0.1, 1.0, float(rng.uniform(0.2, 3))):
        four = [rng.normal(-20, 3, size=6).astype(np.float32) for _ in range(4)]
        got, want = loss_of(student, four, beta), reference_loss(four, beta)
        if not np.isclose(got, want, atol=1e-4, rtol=1e-4):
            return explain_loss(got, four, beta)
    one = [np.array([value], dtype=np.float32) for value in (-3, -9, -4, -5)]
    if not np.isclose(loss_of(student, one, 0.5), reference_loss(one, 0.5), atol=1e-4):
        return 2, "right for several pairs, not for one alone"
    far = [np.array([-900.0, -3], dtype=np.float32), *(np.array([-5.0, -5], dtype=np.float32) for _ in range(3))]
    if not np.isclose(loss_of(student, far, 1.0), reference_loss(far, 1.0), rtol=1e-3):
        return 2, "right for small margins; for large ones use logsigmoid, and not the logarithm of a sigmoid"
    return 3, "the mean DPO loss"


def loss_of(student, four, beta):
    return as_number(student.call("dpo_loss", *four, beta), "dpo_loss")


def margins_of(c, r, rc, rr):
    return (c - rc) - (r - rr)


def reference_loss(four, beta):
    return float(instructions.dpo_loss(*(torch.from_numpy(values) for values in four), beta))


def explain_loss(got, four, beta):
    c, r, rc, rr = (values.astype(float) for values in four)
    mean = lambda margins: float(np.logaddexp(0, -margins).mean())  # noqa: E731
    margins = margins_of(c, r, rc, rr)
    known = [(mean(beta * (c - r)), "the reference is missing: each log-probability minus that of the reference"),
             (mean(-beta * margins), "the sign, or chosen and rejected, is turned round"),
             (mean(margins), "beta is missing"),
             (float(np.logaddexp(0, -beta * margins).sum()), "this is the sum: take the mean"),
             (mean(beta * (c + rc - r - rr)), "minus the reference, not plus"),
             (float(np.logaddexp(0, -beta * margins.mean())), "the loss of the mean margin: take the mean of the losses"),
             (-mean(beta * margins), "the sign: the loss is positive"),
             (mean(margins / beta), "times beta, not divided by it")]
    for value, told in known:
        if np.isclose(got, value, atol=1e-4, rtol=1e-4):
            return 1, told
    return 0, "another loss: minus the mean of logsigmoid of beta times (gain of the chosen - gain of the rejected)"


# -- train_preferences ----------------------------------------------------------------------------------------------------


@check(points=4, contract=LEARN)
def train_preferences(student, rng):
    """A model whose adapter changes it from the start, and that shows its mode; batches of pairs."""
    seed, counts = int(rng.integers(10**6)), (2, 4, 1)
    pairs = [tuple(random_batch(rng, answers) for _ in range(2)) for answers in counts]
    for epochs, rate, beta in ((3, 0.05, 0.5), (1, 0.2, 2.0)):
        model = student.build(f"{PROBES}modal_scorer", WIDTH, seed)
        student.read(model, f"{PROBES}leave_gradients")
        student.read(model, f"{PROBES}set_training", False)
        losses = [float(loss) for loss in student.call("train_preferences", model, pairs, beta, epochs, rate)]
        weights = student.read(model, f"{PROBES}state_dict")
        near = functools.partial(reference_preferences, seed, pairs, beta, epochs, rate)
        both = [near(training=training) for training in (True, False)]  # the reference may be asked in any mode
        fits = [all(close(weights[name], ours[name], 1e-3) for name in ours) for _, ours in both]
        if len(losses) != epochs:
            return 0, "the mean loss of each epoch should come back, one number an epoch"
        if not any(fits):
            return explain_training(weights, near, OF_PAIRS, (True, False))
        if not any(close(losses, want, 1e-3) for fit, (want, _) in zip(fits, both, strict=True) if fit):
            return 3, "trained right; but the losses should be the means over the updates of each epoch"
    return 4, "trained on preferences, against a reference that stays"


def reference_preferences(seed, pairs, beta, epochs, rate, reference="off", training=True, swap=False, learning="on",
                          turned=False, **miss):
    """(mean losses, weights) of the training that the lab asks for, or of a near miss."""
    model = probes.modal_scorer(WIDTH, seed).train(training)
    batches = [tuple(tensors(side) for side in pair) for pair in pairs]

    def ask(number, switched):
        with torch.no_grad(), switched():
            return [model(**side) for side in batches[number]]

    ways = {"on": contextlib.nullcontext, "off": model.adapter_off, "all_off": model.all_adapters_off}
    kept = [ask(number, ways.get(reference, model.adapter_off)) for number in range(len(batches))]

    def loss_of(model, number):
        with ways[learning]():
            chosen, rejected = (model(**side) for side in batches[number])
        chosen, rejected = (rejected, chosen) if swap else (chosen, rejected)
        others = {"none": [0 * chosen.detach(), 0 * rejected.detach()], "moving": ask(number, contextlib.nullcontext)}
        known = others.get(reference, kept[number])[:: -1 if turned else 1]
        return instructions.dpo_loss(chosen, rejected, *known, beta)

    return reference_loop(model, loss_of, len(batches), epochs, rate, **miss)


# -- judge_both -----------------------------------------------------------------------------------------------------------


@check(points=2, contract=Contract("judge questions first second", Record({"wins": NUMBERS, "first_place": Number()}),
                                   random=FREE))
def judge_both(student, rng):
    """A judge that leans to place 0, to place 1, or to an answer, by the question; one question alone."""
    seed = telling_judge(rng)
    for count in (24, 1):
        questions = [f"question {number % 8}" for number in range(count)]  # some come again, with other answers
        first, second = ([f"{side} {number}" for number in range(count)] for side in ("one", "two"))
        found = student.call("judge_both", student.build(f"{PROBES}leaning_judge", seed), questions, first, second)
        got = np.array([float(win) for win in found["wins"]]), as_number(found["first_place"], "first_place")
        want = instructions.judge_both(probes.leaning_judge(seed), questions, first, second)
        if not (close(got[0], want["wins"]) and abs(got[1] - want["first_place"]) < 1e-6):
            return explain_verdicts(got, want, probes.leaning_judge(seed), questions, first, second)
    return 2, "asked in both orders"


def telling_judge(rng):
    """A seed whose judge leans more to one place than to the other, and prefers the two sides not equally often."""
    for seed in rng.integers(10**6, size=300).tolist():
        found = instructions.judge_both(probes.leaning_judge(seed), [f"question {n % 8}" for n in range(24)],
                                        [f"one {n}" for n in range(24)], [f"two {n}" for n in range(24)])
        leaning, winning = abs(found["first_place"] - 0.5), abs(np.mean(found["wins"]) - 0.5)
        if min(leaning, winning) > 0.05 and set(found["wins"]) == {0, 0.5, 1}:
            return seed
    raise RuntimeError("no judge tells the ways apart")


def explain_verdicts(got, want, judge, questions, first, second):
    wins, place = got
    once = [float(judge(q, a, b) == 0) for q, a, b in zip(questions, first, second, strict=True)]
    if len(wins) != len(questions):
        return 0, "one win for each question is wanted"
    if close(wins, once):
        return 0, "each question was asked once: ask again with the answers in the other order"
    if close(wins, 1 - np.array(want["wins"])):
        return 1, "the wins are those of the second answers"
    if close(wins, want["wins"]):
        return 1, "the wins are right; first_place is the share of verdicts that are 0, over both orders"
    if abs(place - want["first_place"]) < 1e-6:
        return 1, "first_place is right; in the second order a 1 is a vote for the first answer, and one vote of two is 0.5"
    return 0, "other numbers: judge(question, first, second), then judge(question, second, first)"


# -- length_controlled ----------------------------------------------------------------------------------------------------


@check(points=2, contract=Contract("wins differences", Number(), random=FREE))
def length_controlled(student, rng):
    """A judge that likes length, one that does not, halves, differences far from 0 on average, equal lengths, all won."""
    for strength, centre, spread in ((2.0, 4, 6), (-1.0, -3, 2), (0.5, 10, 3), (1.0, 2, 0)):
        differences = np.round(rng.normal(centre, spread, size=60))
        chances = 1 / (1 + np.exp(-(0.4 + strength * (np.array(differences) - centre) / (spread or 1))))
        wins = np.where(rng.random(60) < 0.2, 0.5, (rng.random(60) < chances).astype(float))
        wins[:3] = [0.0, 0.5, 1.0]
        if strength > 0.5:  # else arrays
            wins, differences = wins.tolist(), differences.tolist()
        got = as_number(student.call("length_controlled", wins, differences), "length_controlled")
        if abs(got - instructions.length_controlled(wins, differences)) > 2e-3:
            return explain_control(got, wins, differences)
    edges = [as_number(student.call("length_controlled", [win] * 3, [1, 2, 4]), "length_controlled") for win in (1, 0, 0.5)]
    if not close(edges, [1, 0, 0.5], 2e-2):
        return 1, "right; but where all wins are 1 the result is near 1, where all are 0 near 0"
    return 2, "the win rate at equal length"


def explain_control(got, wins, differences):
    x = np.asarray(differences, dtype=float)
    if abs(got - np.mean(wins)) < 2e-3:
        return 0, "this is the plain win rate: the value of the regression at the difference 0 is wanted"
    if x.std() and abs(got - instructions.length_controlled(wins, (x - x.mean()) / x.std())) < 2e-3:
        return 1, "the differences were moved to the mean 0: then 0 is the mean difference, and not equal length"
    if abs(got - (1 - instructions.length_controlled(wins, differences))) < 2e-3:
        return 1, "this is the rate of losses"
    decided = [(win, gap) for win, gap in zip(wins, differences, strict=True) if win != 0.5]
    if abs(got - instructions.length_controlled(*zip(*decided, strict=True))) < 2e-3:
        return 1, "halves are left out: each is half a win and half a loss"
    return 0, "another rate: differences over their standard deviation, LogisticRegression(), then sigmoid(intercept)"


# -- the adapter that is handed in ----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def prepared(language):
    """(held-out batches, the upper part with two adapters). The lower layers leave memory again: they are 280 MB."""
    from leaplm.runtime import free_memory

    model, tokenizer = models.load_causal_lm("smollm2").requires_grad_(False), models.load_tokenizer("smollm2")
    rows = instructions.read_desks(HELDOUT / f"{language}.tsv", language)
    batches = instructions.make_batches(model, tokenizer, rows)
    instructions.add_adapter(model)
    scorer = instructions.add_adapter(model).eval()
    del model
    free_memory()
    return batches, scorer


@check(points=4, seconds=120, contract=NOTHING_CALLED)
def tuned_answers(student, rng):
    """The saved adapters on SmolLM2: log-probability of the right answers to held-out questions, per token."""
    content = first_artifact(student, ("answers-gpu.safetensors", "answers-cpu.safetensors"))
    if len(content) > MOST_BYTES:
        return 0, f"the artifact has {len(content) / 1e6:.0f} MB; at most {MOST_BYTES / 1e6:.0f} are allowed"
    try:
        card, stored = artifacts.read_artifact(content)
        language = card.get("language")
        if language not in instructions.LANGUAGES:
            return 0, f"language {language!r} cannot be marked: hand in {', '.join(instructions.LANGUAGES)}"
        record = load_record("lab15_instructions", "main", language=language)
        if not len(record):
            return 0, f"there is no record for language {language!r}, so no mark: hand in English"
        if card.get("model") != "smollm2":
            return 0, f"model {card.get('model')!r} cannot be marked: hand in adapters of \"smollm2\""
        batches, scorer = prepared(language)
        put_in(scorer, stored)
    except (ValueError, KeyError, TypeError, OSError, RuntimeError) as error:
        return 0, f"the artifact cannot be used: {error}"
    score = scored_once(scorer, f"instructions {language}", lambda: instructions.token_log_prob(scorer, batches))
    return judge_log_prob(score, record)


def put_in(scorer, stored):
    """The stored adapters in place of those that are there; a second one may be missing, and is switched off then."""
    wanted = instructions.adapter_state(scorer)
    first = {name for name in wanted if ".base." in name}
    if set(stored) == {name.replace(".base.", ".") for name in first}:  # one adapter alone: it becomes the first
        stored = {name.replace(".lora_", ".base.lora_"): value for name, value in stored.items()}
        stored |= {name: torch.zeros_like(value) for name, value in wanted.items() if name not in first}
    if instructions.more_than_two(stored):
        raise ValueError("it holds more than two adapters on top of each other: run the notebook again from the cell that "
                         "begins with MODEL, save, and hand in again")
    if missing := set(wanted) - set(stored):
        raise ValueError(f"it lacks {', '.join(sorted(missing)[:2])}: LoRA of rank 8 on the six upper layers is wanted")
    if strange := set(stored) - set(wanted):
        raise ValueError(f"it holds {', '.join(sorted(strange)[:2])}, which is no part of the adapters")
    artifacts.apply_artifact(scorer, stored)


ENOUGH, HALF_WAY = 0.75, 0.5  # of the mean gain of our own runs over the untuned model


def judge_log_prob(score, record):
    untuned, runs = record["untuned_log_prob"].mean(), record["heldout_log_prob"]
    wanted = untuned + ENOUGH * (runs.mean() - untuned)
    standing.note("log-probability per token", score, wanted, runs)
    told = f"log-probability {score:.2f} nats a token on held-out answers"
    if score >= wanted:
        return 4, f"{told}; at least {wanted:.2f} was wanted"
    if score >= untuned + HALF_WAY * (runs.mean() - untuned):
        return 2, f"{told}: it has learned, but {wanted:.2f} was wanted"
    return 0, f"{told}; {wanted:.2f} was wanted, and the untuned model has {untuned:.2f}"
