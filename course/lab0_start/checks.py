"""Checks of lab 0, what a language costs. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
from leaplm import data
from leaplm.calibration import load_record
from leaplm.grading import as_array, as_number, check
from leaplm.tokens import costs as token_costs
from leaplm.tokens import tokenization

CLOSE = 1e-6
LETTERS = list("abdeghiklmnorstuwyɓɗƙ")


@check(points=2)
def premium(student, rng):
    english = rng.integers(4, 60, size=12)
    counts = english * rng.integers(1, 5, size=12) + 1
    got = as_number(student.call("premium", counts.tolist(), english.tolist()), "premium")
    want = counts.sum() / english.sum()
    if np.isclose(got, want, rtol=CLOSE):
        return 2, "all tokens over all tokens of English"
    if np.isclose(got, np.mean(counts / english)):
        return 0, "this is the mean of the sentences' own ratios: a short sentence must not weigh as much as a long one"
    return 0, f"got {got:.3f}, want {want:.3f}: the sum of the first list over the sum of the second"


@check(points=3)
def sentences_that_fit(student, rng):
    cases = {
        "a sum that is exactly the room fits": ([40, 30, 50], 70, 0),
        "the reserved tokens must stay free": ([40, 30, 50], 120, int(rng.integers(1, 30))),
        "the first sentence that does not fit ends it": ([20, 90, *rng.integers(2, 9, size=5).tolist()], 60, 0),
        "when all fit, it is their number": (rng.integers(5, 9, size=6).tolist(), 500, 40),
        "when nothing fits, it is 0": ([80, 3, 4], 100, 30),
    }
    for _ in range(20):
        counts, window, reserved = rng.integers(5, 90, size=40), int(rng.integers(200, 900)), int(rng.integers(90))
        window += int(window - reserved in counts.cumsum())  # a sum that is exactly the room is the first case alone
        cases[f"case {len(cases)}"] = (counts.tolist(), window, reserved)
    wrong = [words for words, (counts, window, reserved) in cases.items()
             if not is_number(student.call("sentences_that_fit", counts, window, reserved),
                              token_costs.sentences_that_fit(counts, window, reserved))]
    named = [words for words in wrong if not words.startswith("case")]
    if not wrong:
        return 3, "whole sentences from the first on, up to the room and not beyond"
    told = named[0] if named else "add up the tokens in order, and stop before the room is used up"
    return (1 if len(wrong) == len(named) == 1 else 0), f"{len(wrong)} of {len(cases)} cases are wrong: {told}"


def is_number(got, want):
    return as_number(got, "sentences_that_fit") == want


@check(points=5)
def split_word(student, rng):
    """Random vocabularies, in which the longest piece first and any other way part soon."""
    unknown = lost = 0
    for word, vocabulary in [random_word(rng) for _ in range(60)] + [dead_end(rng) for _ in range(10)]:
        got = student.call("split_word", word, vocabulary)
        want = tokenization.split_word(word, set(vocabulary))
        if not isinstance(got, list) or not all(isinstance(piece, str) for piece in got):
            return 0, "split_word should return a list of strings"
        if got != want:
            unknown, lost = unknown + (want == ["[UNK]"]), lost + (want != ["[UNK]"])
    if not unknown + lost:
        return 5, "the longest piece first, and [UNK] for the whole word if a rest has none"
    if not lost:
        return 2, "words that can be split are right; but when a rest has no piece, the result is ['[UNK]'] and no more"
    return 0, f"{lost} words are split wrongly: take the longest piece each time, with ## from the second on"


def random_word(rng):
    """A word of 3 to 9 letters and a vocabulary of its parts, sometimes without a letter that it needs."""
    letters = rng.choice(LETTERS, size=4, replace=False).tolist()
    word = "".join(rng.choice(letters, size=int(rng.integers(3, 10))))
    parts = {word[i:j] for i in range(len(word)) for j in range(i + 1, min(len(word), i + 4) + 1)}
    first = [part for part in sorted(parts) if rng.random() < (0.9 if len(part) == 1 else 0.4)]
    inside = ["##" + part for part in sorted(parts) if rng.random() < (0.93 if len(part) == 1 else 0.4)]
    return word, rng.permutation(sorted({*first, *inside, "##" + word, "zz"})).tolist()


def dead_end(rng):
    """A word whose longest first piece leads nowhere, though a shorter one would not."""
    a, b, c = rng.choice(LETTERS, size=3, replace=False).tolist()
    return a + b + c, rng.permutation([a, a + b, f"##{b}{c}", f"##{a}", c]).tolist()


@check(points=4)
def byte_fallback(student, rng):
    strange = list("éñßɓẹọ\n\tዝናብመጣខ្មែမြန่中文😀🌍")
    for _ in range(8):
        known = rng.choice(LETTERS, size=8, replace=False).tolist() + rng.choice(strange, size=3, replace=False).tolist()
        text = "".join(rng.permutation(strange + known + LETTERS))
        got = student.call("byte_fallback", text, known)
        want = tokenization.byte_fallback(text, set(known))
        if not isinstance(got, list) or not all(isinstance(token, str) for token in got):
            return 0, "byte_fallback should return a list of strings"
        if got != want:
            return blame_bytes(got, want)
    return 4, "known letters stay, the others become their UTF-8 bytes"


def blame_bytes(got, want):
    if [token.lower() for token in got] == [token.lower() for token in want]:
        return 2, "right but for the letters A to F, which should be capitals"
    if [token.replace("<0x0", "<0x") for token in want] == got:
        return 2, "right but for small bytes: always two digits, as in <0x0A>"
    place = next((i for i, (a, b) in enumerate(zip(got, want, strict=False)) if a != b), min(len(got), len(want)))
    return 0, f"token {place} of {len(want)} is wrong: known letters stay, others become their UTF-8 bytes"


@check(points=3)
def sampling_shares(student, rng):
    for alpha in (1, 0, 0.3, 2, -1, float(rng.uniform(-0.9, 0.9))):
        sizes = rng.integers(10, 10**6, size=int(rng.integers(2, 6))).tolist()
        got = as_array(student.call("sampling_shares", sizes, alpha), (len(sizes),), "sampling_shares")
        want = token_costs.sampling_shares(sizes, alpha)
        if not np.allclose(got, want, rtol=1e-5):
            hint = "size to the power alpha, over their sum" if np.isclose(got.sum(), 1) else "their sum should be 1"
            return 0, f"for alpha {alpha:.2f} the shares differ: {hint}"
    return 3, "each size to the power alpha, divided by the sum of the powers"


@check(points=3)
def fairest(student, rng):
    for size in (2, 3, *[8] * 30):  # enough tables that another rule chooses differently in some
        alphas = np.round(rng.permutation(np.linspace(-1, 1, size)), 2).tolist()
        costs = rng.uniform(1, 2, size=(size, int(rng.integers(2, 4))))
        got = as_number(student.call("fairest", alphas, costs.tolist()), "fairest")
        if got != token_costs.fairest(alphas, costs):
            hint = "return the alpha, not its place or its cost" if got not in alphas else \
                "compare the larger cost of each row, and take the row where it is smallest"
            return 0, f"another alpha is fairer to the worse-off language: {hint}"
    return 3, "the worse-off language loses as little as possible"


@check(points=6, seconds=120)
def fair_tokenizer(student, rng):
    """The saved tokenizer on the grader's sentences of both languages; only its pieces and merges are used."""
    try:
        card, tokenizer = token_costs.read_tokenizer(student.artifact("tokenizer.json"))
        language = other_language(card)
        texts = [data.heldout_sentences(some) for some in ("eng", language)]
    except ValueError as error:
        return 0, f"the tokenizer cannot be used: {error}"
    if not tokenization.is_lossless(tokenizer, texts[0] + texts[1]):
        return 0, "held-out sentences do not come back from their tokens: has it a piece for each of the 256 bytes?"
    return judge_counts([token_costs.mean_tokens(tokenizer, some) for some in texts], language)


def other_language(card):
    """The language of the pair that is not English."""
    pair = [card.get("language"), card.get("partner")]
    if "eng" not in pair or not all(isinstance(some, str) for some in pair) or pair[0] == pair[1]:
        raise ValueError("it is for English and one other language of SIB-200")
    return pair[1] if pair[0] == "eng" else pair[0]


def judge_counts(got, language):
    """Full points at the level of our own runs in both languages, half at most 10 % above it."""
    record = load_record("lab0_start", "fair", language=language)
    if not len(record):
        return 0, f"there are no limits for language {language!r}: choose one of the 20 languages of section 1"
    runs = record[["heldout_english", "heldout_other"]]
    limits = np.maximum(runs.mean() + 3 * runs.std(), 1.03 * runs.mean()).to_numpy()
    told = "; ".join(f"{data.NAMES[name]}: {count:.1f} tokens per held-out sentence, at most {limit:.1f} were wanted"
                     for name, count, limit in zip(("eng", language), got, limits, strict=True))
    excess = float(np.max(np.array(got) / limits))
    return (6 if excess <= 1 else 3 if excess <= 1.1 else 0), told
