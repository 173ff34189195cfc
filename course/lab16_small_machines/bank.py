"""Bank of lab 16: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (np, math, struct, Counter, small_machines, ...).
"""

import json

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: B006, F821, B905


def variants(bank, check, template, usual, others):
    """One entry a variant: the template with one part of `usual` replaced."""
    for why, part in others.items():
        parts = {**usual, **part}
        source = template
        for name, words in parts.items():
            source = source.replace(f"<{name}>", words)
        bank.cell(check, why, source)


# -- pack_pairs -----------------------------------------------------------------------------------------------------------

PACK = """
def pack_pairs(numbers):
    numbers = np.append(numbers, np.zeros(<fill>)).astype(<kind>)
    first, second = <pair>
    return <result>
"""
USUAL = {"fill": "len(numbers) % 2", "kind": "np.uint8", "pair": "numbers[0::2], numbers[1::2]",
         "result": "first | second << 4"}
variants(wrong, "pack_pairs", PACK, USUAL, {
    "the first in the upper half": {"result": "first << 4 | second"},
    "halves of the list, not neighbours": {"pair": "numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]"},
    "eight times the second": {"result": "first | second << 3"},
    "wide numbers": {"kind": "np.int64"},
    "numbers with a fraction": {"result": "(first + 16.0 * second)"},
    "a left over number is dropped": {"fill": "0", "pair": "numbers[0 : len(numbers) // 2 * 2 : 2], numbers[1::2]"},
    "a byte more": {"fill": "2 - len(numbers) % 2"},
})
wrong.cell("pack_pairs", "one number a byte", "def pack_pairs(numbers):\n    return np.asarray(numbers).astype(np.uint8)\n")
wrong.cell("pack_pairs", "changes the caller's array", """
def pack_pairs(numbers):
    if len(numbers) > 1:
        numbers[1::2] <<= 4
    numbers = np.append(numbers, np.zeros(len(numbers) % 2)).astype(np.uint8)
    return numbers[0::2] | numbers[1::2]
""")
variants(right, "pack_pairs", PACK, USUAL, {
    "plus and times": {"result": "first + second * 16"},
    "wide, then narrow": {"kind": "np.int64", "result": "(first + 16 * second).astype(np.uint8)"},
    "reshaped": {"pair": "numbers.reshape(-1, 2).T"},
})


@right("pack_pairs", "a loop")
def looped_pack(numbers):
    found = []
    for i in range(0, len(numbers), 2):
        upper = int(numbers[i + 1]) if i + 1 < len(numbers) else 0
        found.append(int(numbers[i]) + 16 * upper)
    return np.array(found, dtype=np.uint8)


@wrong("pack_pairs", "calls the library's function")
def librarys_pack(numbers):
    return small_machines.pack_pairs(numbers)


# -- quantize_groups ------------------------------------------------------------------------------------------------------

GROUPS = """
def quantize_groups(weight, size, values):
    numbers, scales = [], []
    for start in range(0, weight.shape[1], size):
        group = weight[:, start : start + size]
        scale = <scale>
        <zeros>
        shares = group / <divisor>
        numbers.append(<nearest>)
        scales.append(<stored>)
    return <result>
"""
USUAL = {"scale": "np.abs(group).max(axis=1, keepdims=True).astype(np.float16)", "zeros": "scale[scale == 0] = 1",
         "divisor": "scale.astype(np.float32)", "stored": "scale",
         "nearest": "np.abs(shares[:, :, None] - values).argmin(axis=2).astype(np.uint8)",
         "result": "np.concatenate(numbers, axis=1), np.concatenate(scales, axis=1)"}
variants(wrong, "quantize_groups", GROUPS, USUAL, {
    "one scale a row": {"scale": "np.abs(weight).max(axis=1, keepdims=True).astype(np.float16)"},
    "the largest, not the largest absolute number": {"scale": "group.max(axis=1, keepdims=True).astype(np.float16)"},
    "a group of zeros has the scale 0": {"zeros": "pass", "divisor": "np.maximum(scale, 1e-6).astype(np.float32)"},
    "a group of 1e-9 has the scale 0": {"zeros": "scale[np.abs(group).max(axis=1, keepdims=True) == 0] = 1",
                                        "divisor": "np.maximum(scale, 1e-6).astype(np.float32)"},
    "divides by the exact scale": {"divisor": "np.maximum(np.abs(group).max(axis=1, keepdims=True), 1e-9)"},
    "the value below, not the nearest": {
        "nearest": "np.clip(np.searchsorted(values, shares, side='right') - 1, 0, len(values) - 1).astype(np.uint8)"},
    "even steps whatever the values": {"nearest": "np.clip(np.round((shares + 1) * 7.5), 0, 15).astype(np.uint8)"},
    "the values, not their places": {
        "nearest": "values[np.abs(shares[:, :, None] - values).argmin(axis=2)]"},
    "scales in 32 bits": {"scale": "np.abs(group).max(axis=1, keepdims=True)"},
    "one scale for all rows of a group": {
        "scale": "np.full((len(group), 1), np.abs(group).max()).astype(np.float16)"},
    "wide numbers": {"nearest": "np.abs(shares[:, :, None] - values).argmin(axis=2) + 0.0"},
    "the scales first": {"result": "np.concatenate(scales, axis=1), np.concatenate(numbers, axis=1)"},
})
variants(right, "quantize_groups", GROUPS, USUAL, {
    "with borders between the values": {
        "nearest": "np.searchsorted((values[1:] + values[:-1]) / 2, shares).astype(np.uint8)"},
    "with where": {"zeros": "scale = np.where(scale == 0, np.float16(1), scale)"},
    "numbers of int64": {"nearest": "np.abs(shares[:, :, None] - values).argmin(axis=2)"},
})
right.cell("quantize_groups", "filled up and reshaped", """
def quantize_groups(weight, size, values):
    rows, columns = weight.shape
    filled = np.pad(weight, ((0, 0), (0, -columns % size))).reshape(rows, -1, size)
    scales = np.abs(filled).max(axis=2).astype(np.float16)
    scales[scales == 0] = 1
    shares = filled / scales[:, :, None].astype(np.float32)
    numbers = np.abs(shares[..., None] - values).argmin(axis=3).reshape(rows, -1)[:, :columns]
    return numbers.astype(np.uint8), scales
""")
right.cell("quantize_groups", "loops over rows", """
def quantize_groups(weight, size, values):
    numbers = np.zeros(weight.shape, dtype=np.uint8)
    scales = np.ones((len(weight), math.ceil(weight.shape[1] / size)), dtype=np.float16)
    for r in range(len(weight)):
        for g in range(scales.shape[1]):
            part = weight[r, g * size : (g + 1) * size]
            largest = np.float16(np.abs(part).max())
            scales[r, g] = largest if largest > 0 else 1
            for i, w in enumerate(part):
                numbers[r, g * size + i] = np.argmin(np.abs(w / np.float32(scales[r, g]) - values))
    return numbers, scales
""")


@wrong("quantize_groups", "calls the library's function")
def librarys_groups(weight, size, values):
    return small_machines.quantize_groups(weight, size, values)


wrong.cell("quantize_groups", "the last, shorter group is missing", """
def quantize_groups(weight, size, values):
    whole = weight[:, : weight.shape[1] // size * size]
    parts = whole.reshape(len(weight), -1, size) if whole.shape[1] else weight[:, None, :]
    scales = np.abs(parts).max(axis=2).astype(np.float16)
    scales[scales == 0] = 1
    shares = parts / scales[:, :, None].astype(np.float32)
    return np.abs(shares[..., None] - values).argmin(axis=3).reshape(len(weight), -1).astype(np.uint8), scales
""")

# -- read_header ----------------------------------------------------------------------------------------------------------

HEADER = """
def read_header(content):
    <magic>
    place = <start>

    def number(letter):
        nonlocal place
        found = struct.unpack_from("<order>" + letter, content, place)[0]
        place += struct.calcsize("<order>" + letter)
        return found

    def string():
        nonlocal place
        length = number("<length>")
        place += length
        return <text>

    def value(kind):
        if kind == 8:
            return string()
        if kind == 9:
            inner, count = <array>
            return [<item> for _ in range(count)]
        return number(<letter>)

    <version>
    tensor_count, field_count = <counts>
    fields, tensors = {}, {}
    for _ in range(field_count):
        name, kind = string(), number("I")
        fields[name] = value(kind)
    for _ in range(tensor_count):
        name, dimensions = string(), number("I")
        tensors[name] = <tensor>
    return fields, tensors
"""
USUAL = {"magic": "if content[:4] != b'GGUF':\n        raise ValueError('not GGUF')", "start": "4", "order": "<",
         "length": "Q", "text": "content[place - length : place].decode('utf-8')", "array": "number('I'), number('Q')",
         "item": "value(inner)", "letter": "LETTERS[kind]", "version": "number('I')", "counts": "number('Q'), number('Q')",
         "tensor": "[number('Q') for _ in range(dimensions)], number('I'), number('Q')"}
variants(wrong, "read_header", HEADER, USUAL, {
    "any file will do": {"magic": "pass"},
    "returns nothing for another file": {"magic": "if content[:4] != b'GGUF':\n        return {}, {}"},
    "big-endian": {"order": ">"},
    "lengths of 32 bits": {"length": "I"},
    "text as ASCII": {"text": "content[place - length : place].decode('ascii', 'replace')"},
    "text as Latin-1": {"text": "content[place - length : place].decode('latin-1')"},
    "text as bytes": {"text": "content[place - length : place]"},
    "arrays of numbers only": {"item": "number(LETTERS.get(inner, 'I'))"},
    "no arrays of arrays": {"item": "string() if inner == 8 else number(LETTERS[inner])"},
    "arrays have a short count": {"array": "number('I'), number('I')"},
    "every number is unsigned": {"letter": "LETTERS[kind].upper() if kind in (1, 3, 5, 11) else LETTERS[kind]"},
    "the version is forgotten": {"version": "pass"},
    "fields counted first": {"counts": "(number('Q'), number('Q'))[::-1]"},
    "dimensions turned around": {"tensor": "[number('Q') for _ in range(dimensions)][::-1], number('I'), number('Q')"},
    "two dimensions always": {"tensor": "[number('Q') for _ in range(2)], number('I'), number('Q')"},
    "the name of the kind": {
        "tensor": "[number('Q') for _ in range(dimensions)], small_machines.KINDS.get(number('I')), number('Q')"},
    "the place in 32 bits": {"tensor": "[number('Q') for _ in range(dimensions)], number('I'), number('I')"},
})
variants(right, "read_header", HEADER, USUAL, {
    "startswith": {"magic": "if not content.startswith(b'GGUF'):\n        raise ValueError('this is no GGUF file')"},
    "the version is kept": {"version": "version = number('I')"},
    "a tensor as a list": {"tensor": "[[number('Q') for _ in range(dimensions)], number('I'), number('Q')]"},
    "with str": {"text": "str(content[place - length : place], 'utf-8')"},
    "int.from_bytes for lengths": {"counts": "(number('Q'), number('Q'))"},
})
right.cell("read_header", "with io.BytesIO", """
import io

def read_header(content):
    stream = io.BytesIO(content)
    if stream.read(4) != b"GGUF":
        raise ValueError("no GGUF file")

    def take(letter):
        return struct.unpack("<" + letter, stream.read(struct.calcsize("<" + letter)))[0]

    def text():
        return stream.read(take("Q")).decode()

    def any_value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            inner = take("I")
            return [any_value(inner) for _ in range(take("Q"))]
        return take(LETTERS[kind])

    take("I")
    tensors, fields = take("Q"), take("Q")
    found = {}
    for _ in range(fields):
        name = text()
        found[name] = any_value(take("I"))
    placed = {}
    for _ in range(tensors):
        name = text()
        dimensions = [take("Q") for _ in range(take("I"))]
        placed[name] = (dimensions, take("I"), take("Q"))
    return found, placed
""")


@wrong("read_header", "calls the library's function")
def librarys_header(content):
    return small_machines.read_header(content)


# -- decode_q4_0 ----------------------------------------------------------------------------------------------------------

BLOCKS = """
def decode_q4_0(content):
    blocks = np.frombuffer(content, dtype=np.uint8).reshape(-1, <bytes>)
    scales = np.ascontiguousarray(blocks[:, <where>]).view(np.float16).astype(np.float32)
    low, high = blocks[:, <rest>] & 15, blocks[:, <rest>] >> 4
    numbers = <numbers>
    return <result>
"""
USUAL = {"bytes": "18", "where": ":2", "rest": "2:", "numbers": "np.concatenate([low, high], axis=1).astype(np.float32)",
         "result": "((numbers - 8) * scales).reshape(-1)"}
variants(wrong, "decode_q4_0", BLOCKS, USUAL, {
    "neighbours": {"numbers": "np.stack([low, high], axis=2).reshape(len(low), 32).astype(np.float32)"},
    "the upper halves first": {"numbers": "np.concatenate([high, low], axis=1).astype(np.float32)"},
    "nothing is subtracted": {"result": "(numbers * scales).reshape(-1)"},
    "seven is subtracted": {"result": "((numbers - 7) * scales).reshape(-1)"},
    "wraps around below 0": {"numbers": "(np.concatenate([low, high], axis=1) - np.uint8(8)).astype(np.float32) + 8"},
    "a table, not a row": {"result": "(numbers - 8) * scales"},
    "the scale of the first block": {"result": "((numbers - 8) * scales[:1]).reshape(-1)"},
    "the scale stands last": {"where": "16:", "rest": ":16"},
    "whole numbers": {"result": "((numbers - 8) * scales).astype(np.int64).reshape(-1)"},
    "divided by the scale": {"result": "((numbers - 8) / scales).reshape(-1)"},
    "in the order of a column": {"result": "((numbers - 8) * scales).T.reshape(-1)"},
    "numbers of 64 bits": {"result": "((numbers - 8) * scales).reshape(-1).astype(np.float64)"},
    "a list of numbers": {"result": "((numbers - 8) * scales).reshape(-1).tolist()"},
})
variants(right, "decode_q4_0", BLOCKS, USUAL, {
    "flatten": {"result": "((numbers - 8) * scales).flatten()"},
    "hstack": {"numbers": "np.hstack([low, high]).astype(np.float32)"},
    "signed whole numbers first": {"numbers": "np.concatenate([low, high], axis=1).astype(np.int8)"},
})
right.cell("decode_q4_0", "a loop with struct", """
def decode_q4_0(content):
    found = []
    for start in range(0, len(content), 18):
        (scale,) = struct.unpack_from("<e", content, start)
        block = content[start + 2 : start + 18]
        found += [((byte & 15) - 8) * scale for byte in block] + [((byte >> 4) - 8) * scale for byte in block]
    return np.array(found, dtype=np.float32)
""")


@wrong("decode_q4_0", "calls the library's function")
def librarys_blocks(content):
    return small_machines.decode_q4_0(content)


# -- text_pieces ----------------------------------------------------------------------------------------------------------

PIECES = """
def text_pieces(text, shortest, longest):
    found = []
    for word in <words>:
        word = <padded>
        for size in range(<from>, <to>):
            <short>
            found += [word[i : i + size] for i in range(<places>)]
    return <result>
"""
USUAL = {"words": "text.split()", "padded": 'f" {word} "', "from": "shortest", "to": "longest + 1",
         "short": "if size >= len(word):\n                found.append(word)\n                break",
         "places": "len(word) - size + 1", "result": "found"}
variants(wrong, "text_pieces", PIECES, USUAL, {
    "no blanks": {"padded": "word"},
    "a blank in front only": {"padded": '" " + word'},
    "over the whole text": {"words": "[text.strip()]"},
    "without the longest size": {"to": "longest"},
    "one size only": {"to": "shortest + 1"},
    "from one character on": {"from": "1"},
    "the last place is missing": {"places": "len(word) - size"},
    "short words are dropped": {"short": "if size > len(word):\n                break"},
    "short words again and again": {"short": "if size >= len(word):\n                found.append(word)\n"
                                             "                continue"},
    "each piece once": {"result": "list(set(found))"},
    "a dict of counts": {"result": "dict(Counter(found))"},
    "a tuple of pieces": {"result": "tuple(found)"},
    "split at single blanks": {"words": "text.split(' ')"},
    "bytes": {"padded": 'f" {word} ".encode()'},
})
variants(right, "text_pieces", PIECES, USUAL, {
    "sorted": {"result": "sorted(found)"},
    "joined blanks": {"padded": '" " + word + " "'},
    "a comparison of the other kind": {
        "short": "if len(word) <= size:\n                found += [word]\n                break"},
})
right.cell("text_pieces", "sizes first", """
def text_pieces(text, shortest, longest):
    words = [f" {word} " for word in text.split()]
    found = [word for word in words if len(word) <= shortest]
    for size in range(shortest, longest + 1):
        for word in words:
            if len(word) > shortest:
                for i in range(len(word) - size + 1):
                    found.append(word[i : i + size])
    return found
""")
right.cell("text_pieces", "as a generator that is listed", """
def text_pieces(text, shortest, longest):
    def of_word(word):
        for size in range(shortest, min(longest, len(word)) + 1):
            yield from (word[i : i + size] for i in range(len(word) - size + 1))
        if len(word) < shortest:
            yield word
    return [piece for word in text.split() for piece in of_word(f" {word} ")]
""")


@wrong("text_pieces", "calls the library's function")
def librarys_pieces(text, shortest, longest):
    return small_machines.text_pieces(text, shortest, longest)


@wrong("text_pieces", "calls scikit-learn's analyzer, with letters in lower case")
def lowered_pieces(text, shortest, longest):
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char", ngram_range=(shortest, longest)).build_analyzer()(text)


# -- weigh_pieces ---------------------------------------------------------------------------------------------------------

WEIGH = """
def weigh_pieces(pieces, columns, idf):
    counts = Counter(<known>)
    places = np.array(<places>, dtype=np.int64)
    values = np.array([<value> for place in places.tolist()])
    length = <length>
    return <result>
"""
USUAL = {"known": "columns[piece] for piece in pieces if piece in columns", "places": "sorted(counts)",
         "value": "(1 + math.log(counts[place])) * idf[place]", "length": "math.sqrt(float((values ** 2).sum()))",
         "result": "(places, values / length if length else values)"}
variants(wrong, "weigh_pieces", WEIGH, USUAL, {
    "counts as they are": {"value": "counts[place] * idf[place]"},
    "the logarithm to base 2": {"value": "(1 + math.log2(counts[place])) * idf[place]"},
    "ln (1 + n)": {"value": "math.log(1 + counts[place]) * idf[place]"},
    "no idf": {"value": "1 + math.log(counts[place])"},
    "not divided": {"result": "(places, values)"},
    "the sum is 1": {"length": "float(values.sum())"},
    "in the order of the text": {"places": "list(counts)"},
    "divides by zero": {"result": "(places, values / (length if len(values) != 0 else 0.0))", "length":
                        "math.sqrt(float((values ** 2).sum())) if len(values) > 1 else 2.0"},
    "the idf of another column": {"value": "(1 + math.log(counts[place])) * idf[place - 1]"},
    "unknown pieces in column 0": {"known": "columns.get(piece, 0) for piece in pieces"},
    "all columns": {"places": "range(len(idf))",
                    "value": "(1 + math.log(counts[place])) * idf[place] if counts[place] else 0.0"},
    "presence only": {"value": "1.0 * idf[place]"},
    "no places are float64": {"result": "(places if len(places) else np.array([]), values / length if length else values)"},
    "places with a fraction": {"result": "(places.astype(float), values / length if length else values)"},
})
variants(right, "weigh_pieces", WEIGH, USUAL, {
    "np.log": {"value": "(1 + np.log(counts[place])) * idf[place]"},
    "np.linalg.norm": {"length": "np.linalg.norm(values)"},
    "lists": {"result": "(places.tolist(), (values / length).tolist() if length else [])"},
})
right.cell("weigh_pieces", "with np.unique", """
def weigh_pieces(pieces, columns, idf):
    found = np.array([columns[piece] for piece in pieces if piece in columns], dtype=np.int64)
    places, counts = np.unique(found, return_counts=True)
    values = (1 + np.log(counts)) * np.asarray(idf)[places]
    return places, values / max(np.sqrt((values ** 2).sum()), 1e-300)
""")


@wrong("weigh_pieces", "calls the library's function")
def librarys_weights(pieces, columns, idf):
    return small_machines.weigh_pieces(pieces, columns, idf)


# -- class_probabilities --------------------------------------------------------------------------------------------------

SOFTMAX = """
def class_probabilities(places, values, weight, bias):
    scores = <scores>
    powers = np.exp(<shifted>)
    return <result>
"""
USUAL = {"scores": "weight[:, places] @ values + bias", "shifted": "scores - scores.max()",
         "result": "powers / powers.sum()"}
variants(wrong, "class_probabilities", SOFTMAX, USUAL, {
    "no bias": {"scores": "weight[:, places] @ values"},
    "overflows": {"shifted": "scores"},
    "underflows": {"shifted": "scores - 700"},
    "the scores": {"result": "scores"},
    "a sigmoid for each class": {"result": "1 / (1 + np.exp(-scores))"},
    "not divided": {"result": "powers"},
    "the values are forgotten": {"scores": "weight[:, places].sum(axis=1) + bias"},
    "rows for columns": {"scores": "weight.T[:3, places % 3] @ values + bias"},
    "the first columns": {"scores": "weight[:, : len(places)] @ values + bias"},
    "the best class": {"result": "(powers == powers.max()).astype(float)"},
    "the smallest is subtracted": {"shifted": "scores - scores.min()"},
})
variants(right, "class_probabilities", SOFTMAX, USUAL, {
    "the mean of the largest": {"shifted": "scores - np.max(scores)"},
    "a sum": {"scores": "(weight[:, places] * values).sum(axis=1) + bias"},
    "by take": {"scores": "np.take(weight, places, axis=1) @ values + bias"},
})
right.cell("class_probabilities", "with scipy", """
from scipy.special import softmax
def class_probabilities(places, values, weight, bias):
    return softmax(np.array([float(row[places] @ values) for row in weight]) + bias)
""")
right.cell("class_probabilities", "with log-sum-exp", """
def class_probabilities(places, values, weight, bias):
    scores = bias + weight[:, places].dot(values)
    return np.exp(scores - np.logaddexp.reduce(scores))
""")


@wrong("class_probabilities", "calls the library's function")
def librarys_softmax(places, values, weight, bias):
    return small_machines.class_probabilities(places, values, weight, bias)


# -- ks_distance ----------------------------------------------------------------------------------------------------------

DISTANCE = """
def ks_distance(first, second):
    places = <places>
    shares = [<share> for some in (first, second)]
    return <result>
"""
USUAL = {"places": "np.concatenate([first, second])",
         "share": "np.searchsorted(np.sort(some), places, side='right') / len(some)",
         "result": "float(np.abs(shares[0] - shares[1]).max())"}
variants(wrong, "ks_distance", DISTANCE, USUAL, {
    "one side only": {"result": "float((shares[0] - shares[1]).max())"},
    "the other side only": {"result": "float((shares[1] - shares[0]).max())"},
    "the mean difference": {"result": "float(np.abs(shares[0] - shares[1]).mean())"},
    "counts, not shares": {"share": "np.searchsorted(np.sort(some), places, side='right')"},
    "not sorted": {"share": "np.searchsorted(some, places, side='right') / len(some)"},
    "divided by both sizes": {"share": "np.searchsorted(np.sort(some), places, side='right') / len(places)"},
    "numbers of the first only, below them": {"places": "first",
                                              "share": "np.searchsorted(np.sort(some), places, side='left') / len(some)"},
    "the difference of the means": {"result": "float(abs(np.mean(first) - np.mean(second)))"},
    "on a grid of ten places": {"places": "np.linspace(0, 1, 10)"},
    "numbers of the first only": {"places": "first"},
    "the smallest difference": {"result": "float(np.abs(shares[0] - shares[1]).min())"},
    "sorted from large to small": {"share": "np.searchsorted(np.sort(some)[::-1], places, side='right') / len(some)"},
    "below in the first, up to in the second": {
        "share": "np.array([((some < x) if some is first else (some <= x)).mean() for x in places])"},
    "rounded to one digit": {"result": "round(float(np.abs(shares[0] - shares[1]).max()), 1)"},
    "the largest place is left out": {"places": "np.sort(np.concatenate([first, second]))[:-1]",
                                      "share": "np.searchsorted(np.sort(some), places, side='left') / len(some)"},
    "equal numbers of both samples are left out": {"places": "np.setxor1d(first, second)",
                                                   "result": "float(np.abs(shares[0] - shares[1]).max(initial=0))"},
})
wrong.cell("ks_distance", "walks through the sorted numbers, ties one by one", """
def ks_distance(first, second):
    marked = sorted([(x, 0) for x in first] + [(x, 1) for x in second])
    shares, largest = [0.0, 0.0], 0.0
    for _, which in marked:
        shares[which] += 1 / (len(first), len(second))[which]
        largest = max(largest, abs(shares[0] - shares[1]))
    return largest
""")
variants(right, "ks_distance", DISTANCE, USUAL, {
    "each place once": {"places": "np.unique(np.concatenate([first, second]))"},
    "below each place": {"share": "np.searchsorted(np.sort(some), places, side='left') / len(some)"},
    "with a mean": {"share": "np.array([(some <= x).mean() for x in places])"},
})


@right("ks_distance", "scipy's statistic")
def scipys_distance(first, second):
    from scipy import stats

    return stats.ks_2samp(first, second).statistic


@right("ks_distance", "a plain loop")
def plain_distance(first, second):
    largest = 0.0
    for x in [*first, *second]:
        a = sum(1 for y in first if y <= x) / len(first)
        b = sum(1 for y in second if y <= x) / len(second)
        largest = max(largest, abs(a - b))
    return largest


@wrong("ks_distance", "calls the library's function")
def librarys_distance(first, second):
    return small_machines.ks_distance(first, second)


# -- alarm_level ----------------------------------------------------------------------------------------------------------

LEVEL = """
def alarm_level(reference, size, rate, rounds, seed):
    rng = <generator>
    distances = []
    for _ in range(rounds):
        window = <window>
        distances.append(ks_distance(<against>, window))
    return <result>
"""
USUAL = {"generator": "np.random.default_rng(seed)", "window": "reference[rng.integers(0, len(reference), size)]",
         "against": "reference", "result": "float(np.quantile(distances, 1 - rate))"}
variants(wrong, "alarm_level", LEVEL, USUAL, {
    "the rate itself": {"result": "float(np.quantile(distances, rate))"},
    "two tails": {"result": "float(np.quantile(distances, 1 - rate / 2))"},
    "the largest": {"result": "max(distances)"},
    "the mean": {"result": "float(np.mean(distances))"},
    "two deviations above": {"result": "float(np.mean(distances) + 3 * np.std(distances))"},
    "against the window before": {"against": "reference[rng.integers(0, len(reference), size)]"},
    "half of the size": {"window": "reference[rng.integers(0, len(reference), max(1, size // 2))]"},
    "as many as there are": {"window": "reference[rng.integers(0, len(reference), len(reference))]"},
    "without replacement": {"window": "rng.choice(reference, min(size, len(reference)), replace=False)"},
    "no seed": {"generator": "np.random.default_rng()"},
    "one seed for all": {"generator": "np.random.default_rng(0)"},
    "the first number is never drawn": {"window": "reference[rng.integers(1, len(reference), size)]"},
    "the last number is never drawn": {"window": "reference[rng.integers(0, len(reference) - 1, size)]"},
    "the first numbers": {"window": "reference[:size]"},
    "sorted from large to small": {"result": "sorted(distances, reverse=True)[int((1 - rate) * rounds)]"},
    "percent for a share": {"result": "np.percentile(distances, 1 - rate)"},
    "a quantile of percents": {"result": "float(np.quantile(distances, 1 - rate / 100))"},
    "as many numbers as rounds": {"window": "reference[rng.integers(0, len(reference), rounds)]"},
    "a window against itself": {"against": "window"},
    "only numbers that differ": {"window": "rng.choice(np.unique(reference), size)"},
})
variants(right, "alarm_level", LEVEL, USUAL, {
    "rng.choice": {"window": "rng.choice(reference, size)"},
    "percentile": {"result": "np.percentile(distances, 100 * (1 - rate))"},
    "RandomState": {"generator": "np.random.RandomState(seed)",
                    "window": "reference[rng.randint(0, len(reference), size)]"},
    "sorted by hand": {"result": "sorted(distances)[min(rounds - 1, int((1 - rate) * rounds))]"},
})


OWN_DISTANCE = """
def ks_distance(first, second):
    marked = sorted([(x, 0) for x in first] + [(x, 1) for x in second])
    shares, largest = [0.0, 0.0], 0.0
    for _, which in marked:
        shares[which] += 1 / (len(first), len(second))[which]
        largest = max(largest, <difference>)
    return largest
"""
variants(wrong, "alarm_level", OWN_DISTANCE + LEVEL, USUAL, {
    "a distance that takes equal numbers one by one": {"difference": "abs(shares[0] - shares[1])"},
    "a distance of one side": {"difference": "shares[0] - shares[1]"},
})


@wrong("alarm_level", "calls the library's function")
def librarys_level(reference, size, rate, rounds, seed):
    return small_machines.alarm_level(reference, size, rate, rounds, seed)


# -- find_draft -----------------------------------------------------------------------------------------------------------

DRAFT = """
def find_draft(tokens, most, longest):
    for size in <sizes>:
        for start in <starts>:
            if tokens[start : start + size] == <tail>:
                return <found>
    return <none>
"""
USUAL = {"sizes": "range(min(longest, len(tokens) - 1), 0, -1)", "starts": "range(len(tokens) - size - 1, -1, -1)",
         "tail": "tokens[-size:]", "found": "tokens[start + size : start + size + most]", "none": "[]"}
variants(wrong, "find_draft", DRAFT, USUAL, {
    "the earliest place": {"starts": "range(len(tokens) - size)"},
    "the shortest tail first": {"sizes": "range(1, min(longest, len(tokens) - 1) + 1)"},
    "the longest tail only": {"sizes": "[longest]"},
    "the end finds itself": {"starts": "range(len(tokens) - size, -1, -1)"},
    "one token only": {"found": "tokens[start + size : start + size + 1]"},
    "from the tail on": {"found": "tokens[start : start + most]"},
    "one token too late": {"found": "tokens[start + size + 1 : start + size + 1 + most]"},
    "one token too many": {"found": "tokens[start + size : start + size + most + 1]"},
    "all that follows": {"found": "tokens[start + size :]"},
    "no overlap with the end": {"starts": "range(len(tokens) - 2 * size, -1, -1)"},
    "None where nothing is found": {"none": "None"},
    "a tail longer than allowed": {"sizes": "range(len(tokens) - 1, 0, -1)"},
    "the last token is guessed again": {"none": "tokens[-1:]"},
    "never a single token": {"sizes": "range(min(longest, len(tokens) - 1), 1, -1)"},
    "a tail shorter than allowed": {"sizes": "range(min(longest, len(tokens)) - 1, 0, -1)"},
    "the longest tail that fits only": {"sizes": "range(min(longest, len(tokens) - 1), 0, -1)[:1]"},
    "the first token is no start": {"starts": "range(len(tokens) - size - 1, 0, -1)"},
    "the latest place is passed over": {"starts": "range(len(tokens) - size - 2, -1, -1)"},
    "one token fewer": {"found": "tokens[start + size : start + size + most - 1]"},
    "backwards": {"found": "tokens[start + size : start + size + most][::-1]"},
    "a tuple": {"found": "tuple(tokens[start + size : start + size + most])"},
})
variants(right, "find_draft", DRAFT, USUAL, {
    "reversed": {"starts": "reversed(range(len(tokens) - size))"},
    "the tail by length": {"tail": "tokens[len(tokens) - size :]"},
    "sizes that cannot be found, too": {"sizes": "range(longest, 0, -1)",
                                        "starts": "range(len(tokens) - size - 1, -1, -1)"},
})
right.cell("find_draft", "collects all places, takes the last", """
def find_draft(tokens, most, longest):
    n = len(tokens)
    for size in range(longest, 0, -1):
        places = [i for i in range(n - size) if tokens[i : i + size] == tokens[n - size :]] if size < n else []
        if places:
            follow = places[-1] + size
            return tokens[follow : min(follow + most, n)]
    return []
""")


@wrong("find_draft", "calls the library's function")
def librarys_draft(tokens, most, longest):
    return small_machines.find_draft(tokens, most, longest)


# -- speculative_decode ---------------------------------------------------------------------------------------------------

SPECULATE = """
def speculative_decode(best_next, prompt, count, draft):
    tokens, passes = <begin>, 0
    while len(tokens) < len(prompt) + count:
        guessed = list(draft(<draft>))
        answers = best_next(tokens + guessed)<from>
        passes += 1
        right = 0
        while <agree>:
            right += 1
        tokens += <kept>
    return <result>
"""
USUAL = {"begin": "list(prompt)", "from": "[len(tokens) - 1 :]", "draft": "list(tokens)",
         "agree": "right < len(guessed) and guessed[right] == answers[right]",
         "kept": "answers[: right + 1]", "result": "(tokens[len(prompt) : len(prompt) + count], passes)"}
variants(wrong, "speculative_decode", SPECULATE, USUAL, {
    "all guesses are kept": {"kept": "guessed + answers[len(guessed) : len(guessed) + 1]"},
    "the token for nothing is left out": {"kept": "(answers[:right] or answers[:1])"},
    "the answers of one place later": {"from": "[len(tokens) :] + best_next(tokens + guessed)[-1:]"},
    "one guess at most": {"agree": "right < min(1, len(guessed)) and guessed[right] == answers[right]"},
    "guesses after a wrong one count": {
        "agree": "right < len(guessed) and (guessed[right] == answers[right] or right == 1)"},
    "not cut off": {"result": "(tokens[len(prompt) :], passes)"},
    "with the prompt": {"result": "(tokens[: len(prompt) + count], passes)"},
    "no passes": {"result": "tokens[len(prompt) : len(prompt) + count]"},
    "tokens instead of passes": {"result": "(tokens[len(prompt) : len(prompt) + count], len(tokens) - len(prompt))"},
    "one more than agreed, guessed": {"kept": "(guessed[: right + 1] or answers[:1])"},
    "one token fewer": {"result": "(tokens[len(prompt) : len(prompt) + count - 1], passes)"},
    "the prompt, and so fewer tokens": {"result": "(tokens[:count], passes)"},
    "nothing": {"result": "([], passes)"},
    "a tuple of tokens": {"result": "(tuple(tokens[len(prompt) : len(prompt) + count]), passes)"},
    "one pass too many is told": {"result": "(tokens[len(prompt) : len(prompt) + count], passes + 1)"},
    "the draft does not see the prompt": {"draft": "tokens[len(prompt) :]"},
    "guesses that are equal in another place": {"agree": "right < len(guessed) and guessed[right] in answers"},
})
wrong.cell("speculative_decode", "checks the guesses one by one", """
def speculative_decode(best_next, prompt, count, draft):
    tokens, passes = list(prompt), 0
    while len(tokens) < len(prompt) + count:
        for guess in [*draft(list(tokens)), None]:
            best = best_next(tokens)[-1]
            passes += 1
            tokens.append(best)
            if guess != best or len(tokens) >= len(prompt) + count:
                break
    return tokens[len(prompt) :], passes
""")
wrong.cell("speculative_decode", "changes the prompt", """
def speculative_decode(best_next, prompt, count, draft):
    start, passes = len(prompt), 0
    while len(prompt) < start + count:
        guessed = list(draft(list(prompt)))
        answers = best_next(prompt + guessed)[len(prompt) - 1 :]
        passes += 1
        right = 0
        while right < len(guessed) and guessed[right] == answers[right]:
            right += 1
        prompt += answers[: right + 1]
    return prompt[start : start + count], passes
""")
wrong.cell("speculative_decode", "plain greedy decoding", """
def speculative_decode(best_next, prompt, count, draft):
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(best_next(tokens)[-1])
    return tokens[len(prompt) :], count
""")
wrong.cell("speculative_decode", "a second pass after each guess", """
def speculative_decode(best_next, prompt, count, draft):
    tokens, passes = list(prompt), 0
    while len(tokens) < len(prompt) + count:
        guessed = list(draft(list(tokens)))
        answers = best_next(tokens + guessed)[len(tokens) - 1 :]
        right = 0
        while right < len(guessed) and guessed[right] == answers[right]:
            right += 1
        tokens += guessed[:right]
        tokens.append(best_next(tokens)[-1])
        passes += 2
    return tokens[len(prompt) : len(prompt) + count], passes
""")
variants(right, "speculative_decode", SPECULATE, USUAL, {
    "a list as result": {"result": "[tokens[len(prompt) : len(prompt) + count], passes]"},
    "guesses and one answer": {"kept": "guessed[:right] + [answers[right]]"},
    "a slice with an end": {"from": "[len(tokens) - 1 : len(tokens) + len(guessed)]"},
})
right.cell("speculative_decode", "a for loop that breaks", """
def speculative_decode(best_next, prompt, count, draft):
    written, passes = [], 0
    while len(written) < count:
        text = [*prompt, *written]
        guessed = list(draft(list(text)))
        answers = best_next(text + guessed)
        passes += 1
        for i in range(len(guessed) + 1):
            written.append(answers[len(text) - 1 + i])
            if i == len(guessed) or guessed[i] != written[-1]:
                break
    return written[:count], passes
""")
right.cell("speculative_decode", "not more guesses than are needed", """
def speculative_decode(best_next, prompt, count, draft):
    tokens, passes = list(prompt), 0
    end = len(prompt) + count
    while len(tokens) < end:
        guessed = list(draft(list(tokens)))[: end - len(tokens) - 1]
        answers = best_next(tokens + guessed)[len(tokens) - 1 :]
        passes += 1
        agree = [g == a for g, a in zip(guessed, answers)] + [False]
        tokens += answers[: agree.index(False) + 1]
    return tokens[len(prompt) :], passes
""")


@wrong("speculative_decode", "calls the library's function")
def librarys_decoding(best_next, prompt, count, draft):
    return small_machines.speculative_decode(best_next, prompt, count, draft)


# -- the predictor --------------------------------------------------------------------------------------------------------


def only(trained):
    [(name, content)] = trained.items()
    return name, content


def changed(content, change):
    """The file with its tensors and card changed in place by `change(tensors, card)`."""
    from safetensors.numpy import load, save

    length = int.from_bytes(content[:8], "little")
    card = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["leaplm_card"])
    tensors = {name: table.copy() for name, table in load(content).items()}
    change(tensors, card)
    return save(tensors, metadata={"leaplm_card": json.dumps(card)})


@wrong.artifact("small_predictor", "none")
def absent():
    return {}


@wrong.artifact("small_predictor", "a pickle")
def pickled():
    return {"predictor-cpu.safetensors": b"\x80\x04K\x01."}


@wrong.artifact("small_predictor", "cut off half way")
def half(trained):
    name, content = only(trained)
    return {name: content[: len(content) // 2]}


@wrong.artifact("small_predictor", "no weights")
def without_weights(trained):
    name, content = only(trained)
    return {name: changed(content, lambda tensors, card: tensors["weight::scale"].fill(0))}


@wrong.artifact("small_predictor", "the classes have changed places")
def other_labels(trained):
    name, content = only(trained)
    return {name: changed(content, lambda tensors, card: card.update(labels=card["labels"][1:] + card["labels"][:1]))}


@wrong.artifact("small_predictor", "a language that cannot be marked")
def other_language(trained):
    name, content = only(trained)
    return {name: changed(content, lambda tensors, card: card.update(language="../secret.csv"))}


@wrong.artifact("small_predictor", "too large")
def too_large(trained):
    name, content = only(trained)
    return {name: changed(content, lambda tensors, card: tensors.update(more=tensors["pieces"].repeat(3)))}


@wrong.artifact("small_predictor", "numbers that are not finite")
def infinite(trained):
    name, content = only(trained)
    return {name: changed(content, lambda tensors, card: tensors["idf"].fill(float("inf")))}


@right.artifact("small_predictor", "the card says more")
def more_said(trained):
    name, content = only(trained)
    return {name: changed(content, lambda tensors, card: card.update(remark="made at night"))}


@right.artifact("small_predictor", "another file beside it")
def beside(trained):
    return {**trained, "notes.txt": b"good"}


@right.artifact("small_predictor", "scales in 32 bits")
def wide_scales(trained):
    name, content = only(trained)
    return {name: changed(content, lambda tensors, card: tensors.update({"idf": tensors["idf"].astype("float32")}))}


@right.artifact("small_predictor", "the classes in another order, the weights too")
def reordered(trained):
    name, content = only(trained)

    def turn(tensors, card):
        from leaplm.small_machines import groups

        count = len(tensors["pieces"].tobytes().split(b"\n"))
        classes = len(card["labels"])
        numbers = groups.unpack_pairs(tensors["weight"], classes * count).reshape(classes, count)
        card["labels"] = card["labels"][::-1]
        tensors["weight"], tensors["bias"] = groups.pack_pairs(numbers[::-1].flatten()), tensors["bias"][::-1].copy()
        tensors["weight::scale"] = tensors["weight::scale"][::-1].copy()

    return {name: changed(content, turn)}


# -- what a stranger wrote ------------------------------------------------------------------------------------------------


@wrong("find_draft", "tokens joined to one text")
def joined(tokens, most, longest):
    for size in range(min(longest, len(tokens) - 1), 0, -1):
        tail, text = "".join(map(str, tokens[-size:])), "".join(map(str, tokens[:-1]))
        if (place := text.rfind(tail)) >= 0:
            start = next(i for i in range(len(tokens)) if len("".join(map(str, tokens[:i]))) >= place + len(tail))
            return tokens[start : start + most]
    return []


@wrong("text_pieces", "small letters, and no signs")
def letters_only(text, shortest, longest):
    found = []
    for word in "".join(c.lower() if c.isalnum() else " " for c in text).split():
        word = f" {word} "
        for size in range(shortest, longest + 1):
            if size >= len(word):
                found.append(word)
                break
            found += [word[i : i + size] for i in range(len(word) - size + 1)]
    return found


@wrong("text_pieces", "each word once")
def words_once(text, shortest, longest):
    found = []
    for word in dict.fromkeys(text.split()):
        word = f" {word} "
        for size in range(shortest, longest + 1):
            if size >= len(word):
                found.append(word)
                break
            found += [word[i : i + size] for i in range(len(word) - size + 1)]
    return found


@wrong("text_pieces", "scikit-learn's own analyzer")
def analyzed(text, shortest, longest):
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(analyzer="char_wb", ngram_range=(shortest, longest), lowercase=False).build_analyzer()(text)


@wrong("weigh_pieces", "values written into a copy of idf, which may hold whole numbers")
def into_idf(pieces, columns, idf):
    counts = Counter(columns[piece] for piece in pieces if piece in columns)
    places = np.array(sorted(counts), dtype=int)
    values = np.array(idf)[places]
    for i, place in enumerate(places):
        values[i] = (1 + math.log(counts[place])) * idf[place]
    length = math.sqrt((values.astype(float) ** 2).sum())
    return places, values / length if length else values.astype(float)
