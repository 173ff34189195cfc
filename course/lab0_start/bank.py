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


@wrong("premium", "equal lengths once")
def different_lengths(counts, english_counts):
    return sum(set(counts)) / sum(set(english_counts))


@wrong("premium", "rounded to two places")
def rounded(counts, english_counts):
    return round(sum(counts) / sum(english_counts), 2)


@wrong("premium", "never below 1")
def at_least_one(counts, english_counts):
    return max(1.0, sum(counts) / sum(english_counts))


@wrong("premium", "a ratio for each sentence")
def ratios(counts, english_counts):
    return [a / b for a, b in zip(counts, english_counts)]


@wrong("premium", "empties the caller's lists")
def pops(counts, english_counts):
    total = english = 0
    while counts:
        total, english = total + counts.pop(), english + english_counts.pop()
    return total / english


@wrong("premium", "calls the library's function by another name")
def librarys_premium(counts, english_counts):
    return getattr(token_costs, "pre" + "mium")(counts, english_counts)


@wrong("premium", "as a text")
def as_text(counts, english_counts):
    return f"{sum(counts) / sum(english_counts)}"


@right("premium", "as an array with one number, in 32 bits")
def in_32_bits(counts, english_counts):
    return np.array([np.float32(sum(counts)) / np.float32(sum(english_counts))])


@right("premium", "as a fraction, then a float")
def as_fraction(counts, english_counts):
    from fractions import Fraction
    return float(Fraction(sum(counts), sum(english_counts)))


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


@wrong("sentences_that_fit", "a number with a fraction")
def as_float(counts, window=2048, reserved=0):
    return float((np.cumsum(counts) <= window - reserved).sum())


@wrong("sentences_that_fit", "the tokens instead of the sentences")
def tokens_that_fit(counts, window=2048, reserved=0):
    sums = [total for total in np.cumsum(counts) if total <= window - reserved]
    return int(sums[-1]) if sums else 0


@wrong("sentences_that_fit", "looks for the place by the length of the sentence")
def by_length(counts, window=2048, reserved=0):
    used = 0
    for count in counts:
        used += count
        if used > window - reserved:
            return counts.index(count)
    return len(counts)


@wrong("sentences_that_fit", "takes the sentences out of the caller's list")
def takes_out(counts, window=2048, reserved=0):
    used = fitting = 0
    while counts and used + counts[0] <= window - reserved:
        used += counts.pop(0)
        fitting += 1
    return fitting


@wrong("sentences_that_fit", "calls the library's function")
def librarys_fit(counts, window=2048, reserved=0):
    from leaplm.tokens.costs import sentences_that_fit as fit
    return fit(counts, window, reserved)


@wrong("sentences_that_fit", "the window is always 2,048")
def one_window(counts, window=2048, reserved=0):
    return int((np.cumsum(counts) <= 2048 - reserved).sum())


@wrong("sentences_that_fit", "fails when all fit")
def fails_when_all_fit(counts, window=2048, reserved=0):
    used, i = 0, 0
    while used + counts[i] <= window - reserved:
        used += counts[i]
        i += 1
    return i


@right("sentences_that_fit", "with itertools and bisect")
def by_bisect(counts, window=2048, reserved=0):
    from bisect import bisect_right
    from itertools import accumulate
    return np.int32(bisect_right(list(accumulate(counts)), window - reserved))


@right("sentences_that_fit", "the largest number of sentences whose sum fits")
def by_sums(counts, window=2048, reserved=0):
    return max(n for n in range(len(counts) + 1) if n == 0 or sum(counts[:n]) + reserved <= window)


@wrong("sentences_that_fit", "fails where there is no sentence")
def first_is_there(counts, window=2048, reserved=0):
    total, number = counts[0], 0
    while total <= window - reserved:
        number += 1
        if number == len(counts):
            break
        total += counts[number]
    return number


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


@wrong("split_word", "the first piece of the list that fits")
def first_in_list(word, vocabulary):
    pieces, rest = [], word
    while rest:
        mark = "##" if pieces else ""
        piece = next((p for p in vocabulary if p and (mark + rest).startswith(p) and len(p) > len(mark)), None)
        if piece is None:
            return ["[UNK]"]
        pieces.append(piece)
        rest = rest[len(piece) - len(mark) :]
    return pieces


@wrong("split_word", "takes a piece out wherever it stands in the rest")
def replaces(word, vocabulary):
    pieces, rest = [], word
    while rest:
        mark = "##" if pieces else ""
        ends = [end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(mark + rest[: ends[0]])
        rest = rest.replace(rest[: ends[0]], "")
    return pieces


@wrong("split_word", "in small letters")
def lowered(word, vocabulary):
    pieces, rest = [], word.lower()
    while rest:
        mark = "##" if pieces else ""
        ends = [end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(mark + rest[: ends[0]])
        rest = rest[ends[0] :]
    return pieces


@wrong("split_word", "the longest piece anywhere first")
def longest_anywhere(word, vocabulary):
    for size in range(len(word), 0, -1):
        for i in range(len(word) - size + 1):
            part = word[i : i + size]
            if (part if i == 0 else "##" + part) in vocabulary:
                before = split_word(word[:i], vocabulary) if i else []
                after = split_word(word[i + size :], vocabulary) if word[i + size :] else []
                if "[UNK]" in before + after:
                    return ["[UNK]"]
                return before + [part if i == 0 else "##" + part] + after
    return ["[UNK]"]


@wrong("split_word", "[UNK] as a text, not in a list")
def bare_unknown(word, vocabulary):
    pieces, rest = [], word
    while rest:
        mark = "##" if pieces else ""
        ends = [end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary]
        if not ends:
            return "[UNK]"
        pieces.append(mark + rest[: ends[0]])
        rest = rest[ends[0] :]
    return pieces


@wrong("split_word", "pieces joined with blanks")
def joined(word, vocabulary):
    pieces, rest = [], word
    while rest:
        mark = "##" if pieces else ""
        ends = [end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary]
        if not ends:
            return "[UNK]"
        pieces.append(mark + rest[: ends[0]])
        rest = rest[ends[0] :]
    return " ".join(pieces)


@wrong("split_word", "sorts the caller's vocabulary")
def sorts(word, vocabulary):
    vocabulary.sort(key=len, reverse=True)
    pieces, rest = [], word
    while rest:
        mark = "##" if pieces else ""
        ends = [end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(mark + rest[: ends[0]])
        rest = rest[ends[0] :]
    return pieces


@wrong("split_word", "calls the library's function")
def librarys_split(word, vocabulary):
    return tokenization.split_word(word, set(vocabulary))


@wrong("split_word", "pieces of at most five letters")
def short_pieces(word, vocabulary):
    pieces, rest = [], word
    while rest:
        mark = "##" if pieces else ""
        ends = [end for end in range(min(5, len(rest)), 0, -1) if mark + rest[:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(mark + rest[: ends[0]])
        rest = rest[ends[0] :]
    return pieces


@right("split_word", "the longest of the pieces that fit, as a tuple")
def longest_fitting(word, vocabulary):
    found, place = (), 0
    while place < len(word):
        mark = "##" if place else ""
        fitting = [p for p in vocabulary if p.startswith(mark) and p[len(mark):] and word.startswith(p[len(mark):], place)]
        if not fitting:
            return ("[UNK]",)
        piece = max(fitting, key=len)
        found += (piece,)
        place += len(piece) - len(mark)
    return found


right.cell("split_word", "two sets, and a helper in the cell", """\
def longest(rest, known):
    return next((rest[:end] for end in range(len(rest), 0, -1) if rest[:end] in known), "")

def split_word(word, vocabulary):
    first = {piece for piece in vocabulary if not piece.startswith("##")}
    inside = {piece[2:] for piece in vocabulary if piece.startswith("##")}
    pieces = []
    while word:
        piece = longest(word, inside if pieces else first)
        if not piece:
            return ["[UNK]"]
        pieces.append("##" * bool(pieces) + piece)
        word = word[len(piece):]
    return pieces
""")


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


@wrong("byte_fallback", "capitals count as their small letters")
def any_case(text, letters):
    return [t for c in text for t in ([c] if c.lower() in letters else [f"<0x{b:02X}>" for b in c.encode()])]


@wrong("byte_fallback", "letters of ASCII always stay")
def ascii_stays(text, letters):
    return [t for c in text for t in ([c] if c in letters or c.isascii() else [f"<0x{b:02X}>" for b in c.encode()])]


@wrong("byte_fallback", "cuts off blanks at the ends")
def strips(text, letters):
    return [t for c in text.strip() for t in ([c] if c in letters else [f"<0x{b:02X}>" for b in c.encode()])]


@wrong("byte_fallback", "takes letters and their marks apart first")
def decomposed(text, letters):
    import unicodedata
    text = unicodedata.normalize("NFD", text)
    return [t for c in text for t in ([c] if c in letters else [f"<0x{b:02X}>" for b in c.encode()])]


@wrong("byte_fallback", "one text instead of a list")
def one_text(text, letters):
    return "".join(t for c in text for t in ([c] if c in letters else [f"<0x{b:02X}>" for b in c.encode()]))


@wrong("byte_fallback", "the numbers of the bytes")
def byte_numbers(text, letters):
    return [t for c in text for t in ([c] if c in letters else list(c.encode()))]


@wrong("byte_fallback", "learns letters: adds them to the caller's list")
def learns(text, letters):
    tokens = []
    for c in text:
        tokens += [c] if c in letters else [f"<0x{b:02X}>" for b in c.encode()]
        letters.append(c) if c in letters else None
    return tokens


@wrong("byte_fallback", "calls the library's function")
def librarys_bytes(text, letters):
    return tokenization.byte_fallback(text, letters)


@right("byte_fallback", "byte by byte with format")
def by_format(text, letters):
    tokens = []
    for letter in text:
        tokens.extend([letter] if letter in letters else map("<0x{:02X}>".format, bytearray(letter, "utf8")))
    return tokens


right.cell("byte_fallback", "with a table of all bytes in the cell", """\
BYTES = ["<0x" + high + low + ">" for high in "0123456789ABCDEF" for low in "0123456789ABCDEF"]

def byte_fallback(text, letters):
    table = {letter: [letter] for letter in letters}
    return sum((table.get(letter) or [BYTES[byte] for byte in letter.encode()] for letter in text), [])
""")


@wrong("byte_fallback", "composes letters and marks first")
def composed(text, letters):
    import unicodedata
    text = unicodedata.normalize("NFC", text)
    return [t for letter in text for t in ([letter] if letter in letters else [f"<0x{b:02X}>" for b in letter.encode()])]


@wrong("byte_fallback", "takes line ends off")
def without_line_ends(text, letters):
    text = text.strip("\n")
    return [t for letter in text for t in ([letter] if letter in letters else [f"<0x{b:02X}>" for b in letter.encode()])]


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


@wrong("sampling_shares", "percent")
def percent(sizes, alpha):
    weights = np.array(sizes, dtype=float) ** alpha
    return 100 * weights / weights.sum()


@wrong("sampling_shares", "divides by the sum of the sizes to the power alpha")
def power_of_sum(sizes, alpha):
    return np.array(sizes, dtype=float) ** alpha / sum(sizes) ** alpha


@wrong("sampling_shares", "alpha below 0 is taken as 0")
def never_below_zero(sizes, alpha):
    weights = np.array(sizes, dtype=float) ** max(alpha, 0)
    return weights / weights.sum()


@wrong("sampling_shares", "equal sizes once")
def different_sizes(sizes, alpha):
    total = sum(size**alpha for size in set(sizes))
    return [size**alpha / total for size in sizes]


@wrong("sampling_shares", "by size, not in the order of the languages")
def by_size(sizes, alpha):
    weights = np.sort(np.array(sizes, dtype=float))[::-1] ** alpha
    return weights / weights.sum()


@wrong("sampling_shares", "rounded")
def rounded_shares(sizes, alpha):
    weights = np.array(sizes, dtype=float) ** alpha
    return np.round(weights / weights.sum(), 2)


@wrong("sampling_shares", "writes the powers into the caller's list")
def into_the_list(sizes, alpha):
    for i, size in enumerate(sizes):
        sizes[i] = size**alpha
    return [size / sum(sizes) for size in sizes]


@wrong("sampling_shares", "calls the library's function")
def librarys_shares(sizes, alpha):
    return token_costs.sampling_shares(sizes, alpha)


@wrong("sampling_shares", "the share of the first language only")
def first_share(sizes, alpha):
    weights = np.array(sizes, dtype=float) ** alpha
    return float(weights[0] / weights.sum())


@right("sampling_shares", "as a torch tensor")
def as_tensor(sizes, alpha):
    import torch
    weights = torch.tensor(sizes, dtype=torch.float64).pow(alpha)
    return weights / weights.sum()


@right("sampling_shares", "a tuple, from a softmax of logarithms")
def softmax_of_logs(sizes, alpha):
    import math
    logs = [alpha * math.log(size) for size in sizes]
    powers = [math.exp(value - max(logs)) for value in logs]
    return tuple(power / math.fsum(powers) for power in powers)


@wrong("sampling_shares", "whole numbers to the power: more than 64 bits hold, for a large alpha")
def whole_powers(sizes, alpha):
    weights = np.array(sizes) ** alpha if alpha >= 0 else np.array(sizes, dtype=float) ** alpha
    return weights / weights.sum()


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


@wrong("fairest", "the largest of the larger costs")
def largest(alphas, costs):
    return alphas[int(np.argmax(np.max(costs, axis=1)))]


@wrong("fairest", "looks at the first two languages only")
def first_two(alphas, costs):
    return alphas[int(np.argmin([max(row[:2]) for row in costs]))]


@wrong("fairest", "takes costs to be below 10")
def below_ten(alphas, costs):
    best, least = None, 10
    for alpha, row in zip(alphas, costs):
        if max(row) < least:
            best, least = alpha, max(row)
    return best


@wrong("fairest", "an alpha of 0 counts as none")
def zero_is_none(alphas, costs):
    best = None
    for alpha, row in zip(alphas, costs):
        if not best or max(row) < max(costs[alphas.index(best)]):
            best = alpha
    return best


@wrong("fairest", "the place in the sorted list")
def sorted_place(alphas, costs):
    return sorted(alphas)[int(np.argmin(np.max(costs, axis=1)))]


@wrong("fairest", "sorts the costs of the caller")
def sorts_costs(alphas, costs):
    for row in costs:
        row.sort()
    return alphas[min(range(len(costs)), key=lambda i: costs[i][-1])]


@wrong("fairest", "calls the library's function")
def librarys_fairest(alphas, costs):
    return token_costs.fairest(alphas, costs)


@wrong("fairest", "the alpha and its cost")
def both(alphas, costs):
    worst = [max(row) for row in costs]
    return alphas[worst.index(min(worst))], min(worst)


@right("fairest", "with torch, in 32 bits")
def in_torch(alphas, costs):
    import torch
    return torch.tensor(alphas)[torch.tensor(costs).amax(dim=1).argmin()]


@right("fairest", "with pandas")
def with_pandas(alphas, costs):
    return pd.DataFrame(costs, index=alphas).max(axis=1).idxmin()


@right("fairest", "a loop that starts from infinity")
def from_infinity(alphas, costs):
    best, least = None, float("inf")
    for alpha, row in zip(alphas, costs):
        if max(row) < least:
            best, least = alpha, max(row)
    return np.float32(best)


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


@right.artifact("fair_tokenizer", "written again with line breaks, and a note in the card")
def written_again(trained):
    content = json.loads(trained[NAME])
    content["card"]["note"] = "ƙasa"
    return {NAME: json.dumps(content, indent=1, ensure_ascii=False).encode()}


@right.artifact("fair_tokenizer", "merges in the older form, as texts")
def older_form(trained):
    def join(content):
        model = content["tokenizer"]["model"]
        model["merges"] = [" ".join(pair) for pair in model["merges"]]

    return changed(trained, join)


@right.artifact("fair_tokenizer", "another seed, for English and Amharic")
def another_seed():
    return made(-0.2, "amh")
