"""Bank of lab 0: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (np, token_costs, ...).
"""

import json

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905

# -- premium -----------------------------------------------------------------------------------------------------------


@wrong("premium", "the mean of the sentences' own ratios")
def mean_of_ratios(counts, english_counts):
    return float(np.mean([a / b for a, b in zip(counts, english_counts)]))


@wrong("premium", "upside down")
def upside_down(counts, english_counts):
    return sum(english_counts) / sum(counts)


@wrong("premium", "how much more, not how many times")
def only_the_rest(counts, english_counts):
    return (sum(counts) - sum(english_counts)) / sum(english_counts)


@wrong("premium", "in percent")
def in_percent(counts, english_counts):
    return 100 * sum(counts) / sum(english_counts)


@wrong("premium", "the first sentence only")
def first_sentence(counts, english_counts):
    return counts[0] / english_counts[0]


@wrong("premium", "whole numbers")
def whole_number(counts, english_counts):
    return sum(counts) // sum(english_counts)


@right("premium", "with NumPy means")
def by_means(counts, english_counts):
    return np.mean(counts) / np.mean(english_counts)


@right("premium", "with a loop")
def by_loop(counts, english_counts):
    total = english = 0
    for one, two in zip(counts, english_counts):
        total, english = total + one, english + two
    return total / english


# -- sentences_that_fit ------------------------------------------------------------------------------------------------


@wrong("sentences_that_fit", "a full window does not fit")
def strictly_less(counts, window=2048, reserved=0):
    return int((np.cumsum(counts) < window - reserved).sum())


@wrong("sentences_that_fit", "forgets the reserved tokens")
def reserves_nothing(counts, window=2048, reserved=0):
    return int((np.cumsum(counts) <= window).sum())


@wrong("sentences_that_fit", "window over the mean length")
def by_the_mean(counts, window=2048, reserved=0):
    return min(len(counts), int((window - reserved) // np.mean(counts)))


@wrong("sentences_that_fit", "skips long sentences and takes later ones")
def skips(counts, window=2048, reserved=0):
    used = fitting = 0
    for count in counts:
        if used + count <= window - reserved:
            used, fitting = used + count, fitting + 1
    return fitting


@wrong("sentences_that_fit", "the shortest first")
def shortest_first(counts, window=2048, reserved=0):
    return int((np.cumsum(sorted(counts)) <= window - reserved).sum())


@wrong("sentences_that_fit", "counts the sentence that is cut")
def one_too_many(counts, window=2048, reserved=0):
    return int((np.cumsum(counts) <= window - reserved).sum()) + 1


@wrong("sentences_that_fit", "adds the reserved tokens to each sentence")
def reserved_each(counts, window=2048, reserved=0):
    return int((np.cumsum(np.array(counts) + reserved) <= window).sum())


@right("sentences_that_fit", "with cumulative sums")
def by_cumsum(counts, window=2048, reserved=0):
    return (np.cumsum(counts) <= window - reserved).sum()


@right("sentences_that_fit", "a while loop that takes away")
def by_while(counts, window=2048, reserved=0):
    left, i = window - reserved, 0
    while i < len(counts) and counts[i] <= left:
        left -= counts[i]
        i += 1
    return i


# -- split_word --------------------------------------------------------------------------------------------------------


@wrong("split_word", "only the rest becomes [UNK]")
def keeps_the_start(word, vocabulary):
    pieces, rest = [], word
    while rest:
        mark = "##" if pieces else ""
        ends = [end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary]
        if not ends:
            return pieces + ["[UNK]"]
        pieces.append(mark + rest[: ends[0]])
        rest = rest[ends[0] :]
    return pieces


@wrong("split_word", "the shortest piece first")
def shortest_piece(word, vocabulary):
    pieces, rest = [], word
    while rest:
        mark = "##" if pieces else ""
        ends = [end for end in range(1, len(rest) + 1) if mark + rest[:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(mark + rest[: ends[0]])
        rest = rest[ends[0] :]
    return pieces


@wrong("split_word", "without ##")
def no_marks(word, vocabulary):
    pieces, rest = [], word
    while rest:
        ends = [end for end in range(len(rest), 0, -1) if rest[:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(rest[: ends[0]])
        rest = rest[ends[0] :]
    return pieces


@wrong("split_word", "an [UNK] for each unknown letter")
def letter_by_letter(word, vocabulary):
    pieces, rest = [], word
    while rest:
        mark = "##" if len(rest) < len(word) else ""
        end = next((end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary), None)
        pieces.append(mark + rest[:end] if end else "[UNK]")
        rest = rest[end or 1 :]
    return pieces


wrong.cell("split_word", "leaves unknown letters out", """\
def split_word(word, vocabulary):
    pieces, rest = [], word
    while rest:
        mark = "##" if pieces else ""
        end = next((end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary), None)
        if end:
            pieces.append(mark + rest[:end])
        rest = rest[end or 1 :]
    return pieces
""")


@wrong("split_word", "looks for the first piece only")
def one_piece(word, vocabulary):
    for end in range(len(word), 0, -1):
        if word[:end] in vocabulary:
            return [word[:end]] + (["##" + word[end:]] if word[end:] else [])
    return ["[UNK]"]


@wrong("split_word", "finds a way round where the longest piece leads nowhere")
def backtracks(word, vocabulary):
    def search(rest, mark):
        if not rest:
            return []
        for end in range(len(rest), 0, -1):
            if mark + rest[:end] in vocabulary and (later := search(rest[end:], "##")) is not None:
                return [mark + rest[:end], *later]
        return None
    return search(word, "") or ["[UNK]"]


@right("split_word", "two pointers, as in BERT's code")
def as_in_bert(word, vocabulary):
    start, output = 0, []
    while start < len(word):
        end, found = len(word), None
        while start < end:
            part = word[start:end]
            if start > 0:
                part = "##" + part
            if part in vocabulary:
                found = part
                break
            end -= 1
        if found is None:
            return ["[UNK]"]
        output.append(found)
        start = end
    return output


@right("split_word", "recursive")
def recursive(word, vocabulary, mark=""):
    for end in range(len(word), 0, -1):
        if mark + word[:end] in vocabulary:
            if end == len(word):
                return [mark + word]
            rest = split_word(word[end:], vocabulary, "##")
            return rest if rest == ["[UNK]"] else [mark + word[:end]] + rest
    return ["[UNK]"]


# -- byte_fallback -----------------------------------------------------------------------------------------------------


@wrong("byte_fallback", "the number of the letter instead of its bytes")
def code_points(text, letters):
    return [letter if letter in letters else f"<0x{ord(letter):02X}>" for letter in text]


@wrong("byte_fallback", "small hexadecimal digits")
def small_digits(text, letters):
    return [t for c in text for t in ([c] if c in letters else [f"<0x{b:02x}>" for b in c.encode()])]


@wrong("byte_fallback", "bytes of known letters too")
def all_bytes(text, letters):
    return [f"<0x{byte:02X}>" for byte in text.encode()]


@wrong("byte_fallback", "another encoding")
def utf_16(text, letters):
    return [t for c in text for t in ([c] if c in letters else [f"<0x{b:02X}>" for b in c.encode("utf-16-be")])]


@wrong("byte_fallback", "decimal numbers")
def decimal(text, letters):
    return [t for c in text for t in ([c] if c in letters else [f"<{b}>" for b in c.encode()])]


@wrong("byte_fallback", "one token for all bytes of a letter")
def one_token(text, letters):
    return [c if c in letters else "".join(f"<0x{b:02X}>" for b in c.encode()) for c in text]


@wrong("byte_fallback", "one digit for small bytes")
def one_digit(text, letters):
    return [t for c in text for t in ([c] if c in letters else [f"<0x{b:X}>" for b in c.encode()])]


@wrong("byte_fallback", "unknown letters as [UNK]")
def with_unknown(text, letters):
    return [letter if letter in letters else "[UNK]" for letter in text]


@right("byte_fallback", "with hex()")
def with_hex(text, letters):
    tokens = []
    for letter in text:
        if letter in letters:
            tokens += [letter]
        else:
            digits = letter.encode("utf8").hex().upper()
            tokens += ["<0x" + digits[i : i + 2] + ">" for i in range(0, len(digits), 2)]
    return tokens


@right("byte_fallback", "as one comprehension, a tuple at the end")
def comprehension(text, letters):
    known = set(letters)
    return tuple(t for c in text for t in ((c,) if c in known else (f"<0x{b:02X}>" for b in bytes(c, "utf-8"))))


# -- sampling_shares ---------------------------------------------------------------------------------------------------


@wrong("sampling_shares", "the powers are not divided by their sum")
def not_divided(sizes, alpha):
    return (np.array(sizes, dtype=float) / sum(sizes)) ** alpha


@wrong("sampling_shares", "one over alpha, as a temperature")
def temperature(sizes, alpha):
    weights = np.array(sizes, dtype=float) ** (1 / alpha if alpha else 0)
    return weights / weights.sum()


@wrong("sampling_shares", "between the shares and equal shares, in a straight line")
def straight(sizes, alpha):
    shares = np.array(sizes, dtype=float) / sum(sizes)
    return alpha * shares + (1 - alpha) / len(sizes)


@wrong("sampling_shares", "a softmax")
def softmax(sizes, alpha):
    scores = alpha * np.array(sizes, dtype=float) / max(sizes)
    return np.exp(scores) / np.exp(scores).sum()


@wrong("sampling_shares", "times alpha instead of to the power")
def times_alpha(sizes, alpha):
    weights = alpha * np.array(sizes, dtype=float)
    return weights / weights.sum() if weights.sum() else np.full(len(sizes), 1 / len(sizes))


@wrong("sampling_shares", "the natural shares, whatever alpha")
def natural(sizes, alpha):
    return np.array(sizes) / sum(sizes)


@right("sampling_shares", "in plain Python")
def plain_python(sizes, alpha):
    weights = [size**alpha for size in sizes]
    return [weight / sum(weights) for weight in weights]


@right("sampling_shares", "from the shares, with logarithms")
def with_logs(sizes, alpha):
    logs = alpha * np.log(np.array(sizes) / sum(sizes))
    powers = np.exp(logs - logs.max())
    return powers / powers.sum()


# -- fairest -----------------------------------------------------------------------------------------------------------


@wrong("fairest", "the smallest mean")
def smallest_mean(alphas, costs):
    return alphas[int(np.argmin(np.mean(costs, axis=1)))]


@wrong("fairest", "the smallest difference")
def smallest_difference(alphas, costs):
    return alphas[int(np.argmin(np.ptp(costs, axis=1)))]


@wrong("fairest", "best for one language")
def only_mine(alphas, costs):
    return alphas[int(np.argmin([row[1] for row in costs]))]


@wrong("fairest", "the place instead of the alpha")
def the_place(alphas, costs):
    return int(np.argmin(np.max(costs, axis=1)))


@wrong("fairest", "the cost instead of the alpha")
def the_cost(alphas, costs):
    return min(max(row) for row in costs)


@wrong("fairest", "the smallest of the smaller costs")
def the_smaller(alphas, costs):
    return alphas[int(np.argmin(np.min(costs, axis=1)))]


@right("fairest", "with min and a key")
def with_key(alphas, costs):
    return min(zip(alphas, costs), key=lambda both: max(both[1]))[0]


@right("fairest", "sorted pairs")
def sorted_pairs(alphas, costs):
    return sorted((max(row), alpha) for alpha, row in zip(alphas, costs))[0][1]


# -- the tokenizer -----------------------------------------------------------------------------------------------------

NAME = "tokenizer.json"


def changed(trained, change):
    """The saved file with its content (a dict) changed in place by a function."""
    content = json.loads(trained[NAME])
    change(content)
    return {NAME: json.dumps(content).encode()}


def made(alpha=None, language="hau", change=lambda tokenizer: None, size=2048):
    """The file of a tokenizer for English and `language`, trained another way."""
    from leaplm.tokens import costs as token_costs
    from leaplm.tokens import tokenization

    texts = [token_costs.plenty_of(some) for some in ("eng", language)]
    tokenizer = tokenization.train_byte_bpe(texts[1], size) if alpha is None else \
        token_costs.shared_tokenizer(texts, alpha, seed=7, vocab_size=size)
    card = {"language": language, "partner": "eng"}
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    change(parts)
    return {NAME: json.dumps({"card": card, "tokenizer": parts}).encode()}


@wrong.artifact("fair_tokenizer", "all text as it is")
def as_it_is():
    return made(1.0)


@wrong.artifact("fair_tokenizer", "for one of the two languages only")
def one_language():
    return made()


@wrong.artifact("fair_tokenizer", "a quarter of the pieces")
def few_pieces():
    return made(0.0, size=512)


@wrong.artifact("fair_tokenizer", "twice as many pieces as allowed")
def many_pieces():
    return made(0.0, size=4096)


@wrong.artifact("fair_tokenizer", "only the letters of the training text, not all bytes")
def without_bytes(trained):
    def drop(content):
        model = content["tokenizer"]["model"]
        used = {part for pair in model["merges"] for part in (*pair, "".join(pair))}
        kept = [piece for piece in model["vocab"] if piece in used]
        model["vocab"] = {piece: number for number, piece in enumerate(kept)}

    return changed(trained, drop)


@wrong.artifact("fair_tokenizer", "writes everything in small letters")
def lower_case(trained):
    return changed(trained, lambda content: content["tokenizer"].update(normalizer={"type": "Lowercase"}))


@wrong.artifact("fair_tokenizer", "a pre-tokenizer of its own")
def other_words(trained):
    pattern = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    return changed(trained, lambda content: content["tokenizer"].update(pre_tokenizer=pattern))


@wrong.artifact("fair_tokenizer", "cut off half way")
def cut_off(trained):
    return {NAME: trained[NAME][: len(trained[NAME]) // 2]}


@wrong.artifact("fair_tokenizer", "merges that join nothing")
def strange_merges(trained):
    return changed(trained, lambda content: content["tokenizer"]["model"]["merges"].append(["☃", "☃☃"]))


@wrong.artifact("fair_tokenizer", "for a language that the course has no sentences of")
def other_language(trained):
    return changed(trained, lambda content: content["card"].update(language="tlh"))


@wrong.artifact("fair_tokenizer", "nested without end")
def nested():
    return {NAME: b'{"card":' + b"[" * 200_000 + b"]" * 200_000 + b"}"}


@right.artifact("fair_tokenizer", "as the solution saves it")
def as_saved(trained):
    return trained


@right.artifact("fair_tokenizer", "merges in the older form, as texts")
def older_form(trained):
    def join(content):
        model = content["tokenizer"]["model"]
        model["merges"] = [" ".join(pair) for pair in model["merges"]]

    return changed(trained, join)


@right.artifact("fair_tokenizer", "another seed, for English and Amharic")
def another_seed():
    return made(-0.2, "amh")
