"""Checks of lab 0, what a language costs. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
from leaplm import data, marking
from leaplm.grading import NOTHING_CALLED, Contract, ListOf, Number, Numbers, Text, as_array, as_number, check
from leaplm.grading.judge import standing
from leaplm.tokens import costs as token_costs
from leaplm.tokens import tokenization

CLOSE = 1e-6
LETTERS = list("abdeghiklmnorstuwyɓɗƙ")


@check(points=2, contract=Contract("counts english_counts", Number()))
def premium(student, rng):
    """Some sentences are equally long; then one sentence alone, which is cheaper than in English."""
    english = rng.integers(4, 60, size=12)
    counts = english * rng.integers(1, 5, size=12) + 1
    english[:2], counts[2:4] = english[0], counts[2]
    got = as_number(student.call("premium", counts.tolist(), english.tolist()), "premium")
    alone = as_number(student.call("premium", english[:1].tolist(), counts[:1].tolist()), "premium")
    if np.allclose([got, alone], [counts.sum() / english.sum(), english[0] / counts[0]], rtol=CLOSE, atol=0):
        return 2, "all tokens over all tokens of English"
    if np.isclose(got, np.mean(counts / english)):
        return 0, "this is the mean of the sentences' own ratios: a short sentence must not weigh as much as a long one"
    return 0, "the premium differs: the sum of the first list over the sum of the second"


@check(points=3, contract=Contract("counts window reserved", Number(whole=True)))
def sentences_that_fit(student, rng):
    cases = {
        "a sum that is exactly the room fits": ([40, 30, 50], 70, 0),
        "the reserved tokens must stay free": ([40, 30, 50], 120, int(rng.integers(1, 30))),
        "the first sentence that does not fit ends it": ([20, 90, *rng.integers(2, 9, size=5).tolist()], 60, 0),
        "when all fit, it is their number": (rng.integers(5, 9, size=6).tolist(), 500, 40),
        "when nothing fits, it is 0": ([80, 3, 4], 100, 30),
        "equal sentences count each": ([20] * int(rng.integers(4, 9)), 1000, 910),
        "when more is reserved than there is, nothing fits": ([5, 3], 20, 30),
        "without a window it is 2,048, and nothing is reserved": ([1000, 1000, 48, 1],),
        "of no sentences none fits": ([], 100, 0),
    }
    for _ in range(20):
        counts, window, reserved = rng.integers(5, 90, size=40), int(rng.integers(200, 900)), int(rng.integers(90))
        window += int(window - reserved in counts.cumsum())  # a sum that is exactly the room is the first case alone
        cases[f"case {len(cases)}"] = (counts.tolist(), window, reserved)
    got = {words: as_number(student.call("sentences_that_fit", *case)) for words, case in cases.items()}
    wrong = [words for words, case in cases.items() if got[words] != token_costs.sentences_that_fit(*case)]
    named = [words for words in wrong if not words.startswith("case")]
    if not wrong:
        return 3, "whole sentences from the first on, up to the room and not beyond"
    mistaken = [words for words, wrongly in MISTAKES.items() if got == {key: wrongly(*case) for key, case in cases.items()}]
    told = (mistaken or (named if len(named) == len(wrong) else ["add up the tokens in order, and stop before the room is "
                                                                 "used up"]))[0]
    return (1 if len(wrong) == len(named) == 1 else 0), f"{len(wrong)} of {len(cases)} cases are wrong: {told}"


def without_equality(counts, window=2048, reserved=0):
    return int((np.cumsum(counts) < window - reserved).sum())


def nothing_reserved(counts, window=2048, reserved=0):
    return token_costs.sentences_that_fit(counts, window)


def passing_over(counts, window=2048, reserved=0):
    """Also what fits behind a sentence that does not."""
    room, number = window - reserved, 0
    for count in counts:
        if count <= room:
            room, number = room - count, number + 1
    return number


MISTAKES = {"a sum that is exactly the room fits": without_equality, "the reserved tokens must stay free": nothing_reserved,
            "the first sentence that does not fit ends it": passing_over}


@check(points=5, contract=Contract("word vocabulary", ListOf(Text())))
def split_word(student, rng):
    """Random vocabularies, in which the longest piece first and any other way part soon; then words for hard cases."""
    unknown = lost = 0
    words = [random_word(rng) for _ in range(60)] + [dead_end(rng) for _ in range(10)] + hard_words(rng)
    for word, vocabulary in words:
        got = student.call("split_word", word, vocabulary)
        want = tokenization.split_word(word, set(vocabulary))
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


def hard_words(rng):
    """Long words, whole words, capitals, other scripts, the same piece again and again, and a single letter."""
    a, b, c = rng.choice(LETTERS, size=3, replace=False).tolist()
    word = a + b + a + b + a + b
    return [(word, rng.permutation([a + b, f"##{a}{b}", a, f"##{b}"]).tolist()),
            (word, [word, a, f"##{b}", f"##{a}"]), (a, [f"##{a}", a]), (a, [f"##{a}", b]),
            (a.upper() + b, [a, a + b, f"##{b}"]), (a + b, [a.upper(), f"##{b}", a + b + c]),
            ("ዝናብዝናብ", ["ዝ", "ዝና", "##ብ", "##ና", "##ዝና", "ብ"]), ("ọkọ\u0300", ["ọ", "##kọ", "##k", "##ọ", "##\u0300"]),
            (a * 40, [a, a * 3, f"##{a}", f"##{a * 7}"])]  # fmt: skip


@check(points=4, contract=Contract("text letters", ListOf(Text())))
def byte_fallback(student, rng):
    """Signs of one to four bytes, marks that stand alone, blanks and line ends at the ends, capitals of known letters."""
    strange = list("éñßɓẹọ\n\tዝናብመጣខ្មែမြန่中文😀🌍\x7f\u0300")
    for _ in range(8):
        known = rng.choice(LETTERS, size=8, replace=False).tolist() + rng.choice(strange, size=3, replace=False).tolist()
        inner = rng.permutation(strange + known + LETTERS + [letter.upper() for letter in LETTERS])
        text = f"\n {''.join(inner)}  {known[0]}{known[0]}e\u0301 \n"  # the letter and its mark stay two
        got = student.call("byte_fallback", text, known)
        want = tokenization.byte_fallback(text, set(known))
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


@check(points=3, contract=Contract("sizes alpha", Numbers(dims=1)))
def sampling_shares(student, rng):
    """One to five languages, some of the same size; a power that is too large for a whole number of 64 bits."""
    for alpha in (1, 0, 0.3, 2, -1, float(rng.uniform(-0.9, 0.9)), 0.5, 1.5, 5):
        sizes = rng.integers(10, 10**6, size=int(rng.integers(2, 6))).tolist()
        sizes = [*sizes, sizes[0]] if alpha == 0.5 else sizes[:1] if alpha == 1.5 else sizes
        sizes = [900_000, *sizes] if alpha == 5 else sizes
        got = as_array(student.call("sampling_shares", sizes, alpha), (len(sizes),), "sampling_shares")
        want = token_costs.sampling_shares(sizes, alpha)
        if not np.allclose(got, want, rtol=1e-5):
            hint = "size to the power alpha, over their sum" if np.isclose(got.sum(), 1) else "their sum should be 1"
            return 0, f"the shares differ: {hint}"
    return 3, "each size to the power alpha, divided by the sum of the powers"


@check(points=3, contract=Contract("alphas costs", Number()))
def fairest(student, rng):
    """Enough tables that another rule chooses differently in some; also large and small costs, and 0 as the answer."""
    for case, size in enumerate((2, 3, 1, *[8] * 30)):
        alphas = np.round(rng.permutation(np.linspace(-1, 1, size)), 2).tolist()
        costs = rng.uniform(1, 2, size=(size, int(rng.integers(2, 5)))) * (1, 0.2, 5000)[case % 3]
        if case % 5 == 0:
            alphas[int(np.argmin(costs.max(axis=1)))] = 0.0
        got = as_number(student.call("fairest", alphas, costs.tolist()), "fairest")
        if not np.isclose(got, token_costs.fairest(alphas, costs), rtol=0, atol=1e-6):
            hint = "return the alpha, not its place or its cost" if not np.isclose(got, alphas, atol=1e-6).any() else \
                "compare the larger cost of each row, and take the row where it is smallest"
            return 0, f"another alpha is fairer to the worse-off language: {hint}"
    return 3, "the worse-off language loses as little as possible"


@check(points=6, seconds=120, contract=NOTHING_CALLED)
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
    record = marking.runs("lab0_start", language)
    if not len(record):
        return 0, f"there are no limits for language {language!r}: choose one of the 20 languages of section 1"
    runs = record[["heldout_english", "heldout_other"]]
    limits = np.maximum(runs.mean() + 3 * runs.std(), 1.03 * runs.mean()).to_numpy()
    for name, column, count, limit in zip(("eng", language), runs, got, limits, strict=True):
        standing.note(f"tokens per sentence, {data.NAMES[name]}", count, limit, runs[column], higher_is_better=False)
    told = "; ".join(f"{data.NAMES[name]}: {count:.1f} tokens per held-out sentence, at most {limit:.1f} were wanted"
                     for name, count, limit in zip(("eng", language), got, limits, strict=True))
    excess = float(np.max(np.array(got) / limits))
    return (6 if excess <= 1 else 3 if excess <= 1.1 else 0), told
