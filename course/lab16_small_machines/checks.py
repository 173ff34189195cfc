"""Checks of lab 16, small machines. Inputs are fresh and random at each run; references are the library's, or stand here."""

import contextlib
import functools
import math
import struct
from collections import Counter
from dataclasses import dataclass

import numpy as np
from leaplm import data, evaluation, marking, small_machines
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Anything,
    Contract,
    ListOf,
    MapOf,
    Number,
    Numbers,
    Several,
    StudentError,
    Text,
    as_array,
    as_number,
    check,
    differs,
    first_artifact,
)
from leaplm.grading.judge import probes, standing
from leaplm.small_machines import gguf_file

PROBES = "leaplm.grading.judge.probes:"
MOST_BYTES = 300_000


def close(got, want, tolerance=1e-5):
    got, want = np.asarray(got, dtype=float), np.asarray(want, dtype=float)
    return got.shape == want.shape and bool(np.allclose(got, want, atol=tolerance, rtol=tolerance))


# -- pack_pairs -----------------------------------------------------------------------------------------------------------


@check(points=2, contract=Contract("numbers", Numbers("uint8", dims=1), arrays="numpy"))
def pack_pairs(student, rng):
    """Even and odd counts, one number, none; the largest number as first and as second; wide and narrow dtypes."""
    groups = {"even": [rng.permutation(16), np.array([15, 0, 0, 15])],
              "odd": [rng.integers(0, 16, 9), np.array([13]), np.array([], dtype=np.int64)]}
    for kinds in groups.values():
        kinds[:] = [numbers.astype(dtype) for numbers in kinds for dtype in (np.uint8, np.int64)]
    got = {name: [(numbers, np.asarray(student.call("pack_pairs", numbers))) for numbers in cases]
           for name, cases in groups.items()}
    right = {name: all(np.array_equal(found, small_machines.pack_pairs(numbers)) for numbers, found in pairs)
             for name, pairs in got.items()}
    if all(right.values()):
        return 2, "two numbers in a byte"
    if right["even"]:
        return 1, "right for even counts; with one number left over, its upper half is 0, and no number gives no byte"
    numbers, found = got["even"][0]
    if np.array_equal(found, small_machines.pack_pairs(numbers.reshape(-1, 2)[:, ::-1].flatten())):
        return 1, "the first of a pair belongs into the lower half of its byte, the second into the upper half"
    return 0, "other bytes: the first of a pair plus 16 times the second"


# -- quantize_groups ------------------------------------------------------------------------------------------------------


@check(points=3, contract=Contract("weight size values", Several(Numbers("int", dims=2), Numbers("float16", dims=2)),
                                   arrays="numpy"))
def quantize_groups(student, rng):
    """Groups of very different sizes in one row, a shorter last one, zeros, numbers whose scale is rounded in 16 bits."""
    values = np.sort(np.append(rng.uniform(-1, 1, 14), [-1, 1])).astype(np.float32)
    for columns, size in ((12, 4), (11, 4), (5, 8), (6, 1)):
        weight = (rng.normal(size=(3, columns)) * 10.0 ** rng.integers(-2, 2, size=(3, columns))).astype(np.float32)
        weight[1, :size] = 0
        weight[2, :size] = 1e-9  # not 0, but 0 in 16 bits
        numbers, scales = student.call("quantize_groups", weight, size, values)
        want, wanted = small_machines.quantize_groups(weight, size, values)
        scales, groups = np.asarray(scales), -(-columns // size)
        if np.shape(scales) != (3, groups):
            return 0, f"scales should have one column a group: {groups} groups for {columns} columns in groups of {size}"
        if not np.array_equal(scales.astype(np.float32), wanted.astype(np.float32)):
            return explain_scales(scales, wanted, weight, size)
        if np.shape(numbers) != (3, columns):
            return 0, f"numbers should have the shape of the weight, {(3, columns)}, not {np.shape(numbers)}"
        if not np.array_equal(np.asarray(numbers).astype(int), want.astype(int)):
            return 1, "the scales are right; each number is the place of the value nearest to weight / scale"
    return near_the_edge(student, rng)


def explain_scales(scales, wanted, weight, size):
    zeros = wanted == 1
    if np.array_equal(scales[~zeros].astype(np.float32), wanted[~zeros].astype(np.float32)):
        return 2, "right; but a scale that is 0 in 16 bits should be 1: that of zeros, and that of numbers as small as 1e-9"
    whole = np.abs(weight).max(axis=1, keepdims=True).astype(np.float16)
    if scales.shape == wanted.shape and np.array_equal(scales, np.broadcast_to(whole, scales.shape)):
        return 0, "every group of a row has the same scale: take the largest absolute number of each group"
    signed = np.stack([weight[:, i : i + size].max(axis=1) for i in range(0, weight.shape[1], size)], axis=1)
    if np.allclose(scales, signed, rtol=1e-3):
        return 0, "the largest number is not the largest *absolute* number: a group may have its largest below 0"
    return 0, "other scales: the largest absolute number of each group, in 16 bits"


def near_the_edge(student, rng):
    """Weights between two values for the stored scale and for the exact one: which of them was divided by?"""
    values = np.linspace(-1, 1, 16).astype(np.float32)
    largest = np.float32(rng.uniform(1.0003, 1.0004))  # lies below the middle of two 16-bit numbers: stored as 1
    edge = np.float32((values[10] + values[11]) / 2 * 1.00015)
    weight = np.array([[largest, edge, -edge]], dtype=np.float32)
    numbers = np.asarray(student.call("quantize_groups", weight, 3, values)[0]).astype(int)
    if not np.array_equal(numbers, small_machines.quantize_groups(weight, 3, values)[0].astype(int)):
        return 2, "right up to one thing: divide by the scale as it is stored, in 16 bits; the reader has no other one"
    return 3, "four bits in groups"


# -- read_header ----------------------------------------------------------------------------------------------------------


@check(points=4, contract=Contract("content", Several(MapOf(Anything()), MapOf(Anything()))))
def read_header(student, rng):
    """Numbers of all kinds, strings beyond ASCII, empty ones, arrays of strings and of arrays; no field, no tensor."""
    texts = ["Habari ya leo", "Ọjọ́ dára", "", "kano"]
    plain = {"n.u8": (0, int(rng.integers(256))), "n.i8": (1, -3), "n.u16": (2, 40000), "n.i16": (3, -999),
             "n.u32": (4, 3 * 10**9), "n.i32": (5, -(10**9)), "n.f32": (6, 0.5), "n.bool": (7, bool(rng.integers(2))),
             "n.u64": (10, 2**60), "n.i64": (11, -(2**50)), "n.f64": (12, float(rng.normal()))}
    strings = {"general.name": (8, "Ẹ káàárọ̀"), "empty": (8, "")}
    arrays = {"tokens": (9, (8, texts)), "kinds": (9, (5, rng.integers(-9, 9, 5).tolist())), "none": (9, (4, [])),
              "flags": (9, (7, [True, False]))}  # fmt: skip
    tensors = {"token_embd.weight": ([64, int(rng.integers(50, 99))], 8, 0), "blk.0.attn_norm.weight": ([64], 0, 2**33),
               "cube": ([2, 3, 4], 1, 96)}
    nested = {**arrays, "nested": (9, (9, [(4, [1, 2]), (8, ["a"])]))}
    cases = {"numbers": (shuffled(plain, rng), {}), "tensors": ({"a": (4, 1)}, tensors), "strings": (strings, {}),
             "nothing": ({}, {})}
    right = {name: reads(student, *case) for name, case in cases.items()}
    for name, fields in (("arrays", arrays), ("nested", nested)):
        right[name] = reads_at_all(student, shuffled({**plain, **strings, **fields}, rng), tensors)
    if not refuses(student):
        return (3 if all(right.values()) else 0), "a file that does not begin with GGUF should raise a ValueError"
    if all(right.values()):
        return 4, "every field and every tensor"
    if not right["numbers"]:
        return 0, "numbers are read wrongly: little-endian, one letter of `struct` a kind, and the fields before the tensors"
    if right["tensors"] and right["strings"] and right["arrays"]:
        return 3, "right but for arrays of arrays: an item of an array may be an array itself, with a kind and a number"
    if right["tensors"] and right["strings"]:
        return 2, "right but for arrays: the kind of the items (uint32), their number (uint64), then the items, of any kind"
    if right["strings"]:
        return 1, "fields are right, tensors are not: name, number of dimensions (uint32), dimensions (uint64), type, place"
    return 1, "numbers are right, strings are not: their length in *bytes* (uint64), then UTF-8"


def shuffled(fields, rng):
    return {name: fields[name] for name in rng.permutation(sorted(fields)).tolist()}


def on_their_side(student, content):
    """Bytes for a call: values go over as numbers and texts alone."""
    return student.build(f"{PROBES}bytes_of", list(content))


def refuses(student):
    whole = gguf_bytes({}, {})
    others = (b"GGML" + whole[4:], b"gguf" + whole[4:], b"x" + whole, b"GGU", b"")
    return all(refused(student, content) for content in others)


def refused(student, content):
    try:
        student.call("read_header", on_their_side(student, content))
    except StudentError as error:
        return "ValueError" in str(error)
    return False


def reads(student, fields, tensors):
    got_fields, got_tensors = student.call("read_header", on_their_side(student, gguf_bytes(fields, tensors)))
    wanted, placed = gguf_file.read_header(gguf_bytes(fields, tensors))
    found = {name: (list(dimensions), kind, place) for name, (dimensions, kind, place) in dict(got_tensors).items()}
    return plain_of(dict(got_fields)) == wanted and found == placed


def reads_at_all(student, fields, tensors):
    """The same where an error is no more than a wrong answer: what was right before keeps its points."""
    with contextlib.suppress(StudentError):
        return reads(student, fields, tensors)
    return False


def plain_of(value):
    """Tuples as lists, at any depth."""
    if isinstance(value, dict):
        return {name: plain_of(item) for name, item in value.items()}
    return [plain_of(item) for item in value] if isinstance(value, (list, tuple)) else value


def gguf_bytes(fields, tensors):
    """The bytes of a GGUF header with fields {name: (kind, value)} and tensors {name: (dimensions, kind, place)}."""
    content = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    for name, (kind, value) in fields.items():
        content += string_bytes(name) + struct.pack("<I", kind) + value_bytes(kind, value)
    for name, (dimensions, kind, place) in tensors.items():
        content += string_bytes(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, place)
    return content


def string_bytes(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value_bytes(kind, value):
    if kind == gguf_file.STRING:
        return string_bytes(value)
    if kind == gguf_file.ARRAY:
        inner, items = value
        return struct.pack("<IQ", inner, len(items)) + b"".join(value_bytes(inner, item) for item in items)
    return struct.pack("<" + gguf_file.SCALARS[kind], value)


# -- decode_q4_0 ----------------------------------------------------------------------------------------------------------


@check(points=2, contract=Contract("content", Numbers("float32", dims=1)))
def decode_q4_0(student, rng):
    """Several blocks with scales of both signs and random bytes; one block; none."""
    blocks = [np.float16(rng.normal()).tobytes() + rng.bytes(16) for _ in range(5)]
    for content in (b"".join(blocks), blocks[0], b""):
        got = np.asarray(student.call("decode_q4_0", on_their_side(student, content)))
        want = gguf_file.decode_q4_0(content)
        if not close(got, want):
            return explain_block(got, want)
    return 2, "32 numbers a block"


def explain_block(got, want):
    if got.shape != want.shape:
        return 0, f"{len(want) // 32} blocks hold {len(want)} numbers, not {got.size}"
    pairs = want.reshape(-1, 2, 16).swapaxes(1, 2).reshape(-1)
    if close(got, pairs):
        return 1, "the numbers of a byte are not neighbours here: first all lower halves, then all upper halves"
    if close(got, want.reshape(-1, 2, 16)[:, ::-1].reshape(-1)):
        return 1, "the lower halves come first, then the upper halves"
    return 0, "other numbers: (q - 8) times the scale of the block, with q from 0 to 15; can your numbers go below 0?"


# -- text_pieces ----------------------------------------------------------------------------------------------------------

ANALYZER = "sklearn.feature_extraction.text.CountVectorizer.build_analyzer"


@check(points=3, contract=Contract("text shortest longest", ListOf(Text(), exact=True), own=ANALYZER))
def text_pieces(student, rng):
    """Words of one to nine letters, repeated pieces, several blanks, words shorter than a piece, other sizes."""
    letters = list("abịẹ")
    words = ["".join(rng.choice(letters, int(n))) for n in (1, 2, 3, 5, 9)]
    text = "  ".join(rng.permutation(words).tolist()) + " aaaa"
    sizes = {"usual": (2, 5), "one": (3, 3), "single letters": (1, 2), "long": (6, 8)}
    right = {}
    for name, (shortest, longest) in sizes.items():
        got = Counter(student.call("text_pieces", text, shortest, longest))
        want = Counter(small_machines.text_pieces(text, shortest, longest))
        right[name] = got == want
        if name == "usual" and got != want:
            return explain_pieces(got, want, text)
    if not all(right.values()):
        return 2, "right for pieces of 2 to 5; but a word shorter than a piece is one piece, once, and sizes may be others"
    signs = f"Ina, ina! {words[3]} 3 Ina, {words[3]}.\tkwana\n"
    if Counter(student.call("text_pieces", signs, 2, 5)) != Counter(small_machines.text_pieces(signs, 2, 5)):
        return 2, "right for plain words; but capitals and signs stay, a word that comes again counts again, tabs part words"
    return 3, "the pieces that scikit-learn counts"


def explain_pieces(got, want, text):
    if set(got) == set(want):
        return 1, "the pieces are right, not their numbers: list each as often as it stands, and a whole short word once"
    if not any(" " in piece for piece in got):
        return 0, "the blanks on both sides of a word belong to its pieces"
    if any(piece.strip() and " " in piece.strip() for piece in got):
        return 0, "a piece may not reach from one word into the next"
    if set(got) > set(want):
        return 1, "there are pieces too many: some are shorter or longer than asked for"
    return 0, "pieces are missing: of each size from shortest to longest, at every place of the word with its blanks"


# -- weigh_pieces ---------------------------------------------------------------------------------------------------------


@check(points=3, contract=Contract("pieces columns idf", Several(Numbers(dims=1), Numbers(dims=1)), arrays="numpy"))
def weigh_pieces(student, rng):
    """Pieces once and often, unknown ones, columns not in the order of the text; one piece; none known; no piece."""
    columns = {f"p{n}": int(place) for n, place in enumerate(rng.permutation(40))}
    idf = rng.uniform(1, 7, 40)
    pieces = [f"p{n}" for n in rng.integers(0, 60, 50)] + ["p3"] * 5 + ["q"]
    got = student.call("weigh_pieces", pieces, columns, idf)
    places, values = (np.asarray(some, dtype=float) for some in got)
    whole = student.call("weigh_pieces", ["a", "b", "a"], {"b": 0, "a": 2}, np.array([1, 9, 1]))[1]
    want = small_machines.weigh_pieces(pieces, columns, idf)
    if not np.array_equal(places, want[0]):
        return explain_places(places, want[0])
    if not close(values, want[1]):
        return explain_values(values, want, pieces, columns, idf)
    for some in (["q", "r"], [], ["p7"], ["p7", "p7"]):
        places, values = student.call("weigh_pieces", some, columns, idf)
        got = np.asarray(places, dtype=float), np.asarray(values, dtype=float)
        if not all(close(a, b) for a, b in zip(got, small_machines.weigh_pieces(some, columns, idf), strict=True)):
            return 2, "right for usual texts; but not for one with a single known piece, or with none"
        if not picks_columns(places):
            return 2, "right; but the places need a whole-number dtype, also where there are none: np.array([]) is float64"
    if not close(whole, [0.5086, 0.8610], 1e-3):
        return 2, "right; but idf may hold whole numbers, and the values must not be cut to such"
    return 3, "TF-IDF numbers of length 1"


def picks_columns(places):
    """Whether `weight[:, places]` works: with whole numbers, and with an empty list."""
    return isinstance(places, (list, tuple)) or np.asarray(places).dtype.kind in "iu"


def explain_places(places, want):
    if sorted(places.tolist()) == want.tolist():
        return 1, "the places are right, but not ascending"
    if sorted(set(places.tolist())) == want.tolist():
        return 0, "a piece that occurs several times has one place, and a count"
    return 0, "other places: the columns of the pieces that `columns` knows; unknown pieces have none"


def explain_values(values, want, pieces, columns, idf):
    counts = Counter(columns[piece] for piece in pieces if piece in columns)
    weighed = np.array([(1 + math.log(counts[place])) * idf[place] for place in want[0]])
    plain = np.array([counts[place] * idf[place] for place in want[0]])
    if close(values, weighed):
        return 2, "right before the last step: divide by the root of the sum of squares"
    if close(values, plain / np.linalg.norm(plain)):
        return 1, "a piece that occurs n times counts 1 + ln n, not n"
    if close(values, weighed / weighed.sum()):
        return 1, "the values should have the length 1 (root of the sum of squares), not the sum 1"
    return 0, "other values: (1 + ln n) times the idf of the column, then divided by the root of the sum of squares"


# -- class_probabilities --------------------------------------------------------------------------------------------------


@check(points=3, contract=Contract("places values weight bias", Numbers("float", dims=1), arrays="numpy"))
def class_probabilities(student, rng):
    """Three classes, a bias, places not in a row, scores beyond the range of exp in both directions; no place at all."""
    weight, bias = rng.normal(size=(3, 30)), np.array([0.5, -0.4, 0.2]) * rng.choice([-1, 1])
    places = np.sort(rng.choice(30, 7, replace=False))
    values = rng.uniform(0.1, 1, 7)
    none = np.array([], dtype=np.int64), np.array([])
    cases = {"usual": (places, values, weight, bias), "none": (*none, weight, bias),
             "high": (places, values, weight, bias + 3000), "low": (places, values, weight, bias - 3000),
             "wide": (places, values, weight * 2000, bias)}
    right = {}
    for name, case in cases.items():
        got = as_array(student.call("class_probabilities", *case), (3,), "class_probabilities")
        right[name] = close(got, small_machines.class_probabilities(*case))
        if name == "usual" and not right[name]:
            return explain_probabilities(got, *case)
    if not right["none"]:
        return 2, "right; but a text without any known piece has the scores of the bias alone"
    if not all(right.values()):
        return 2, "right; but large scores overflow: subtract the largest one before `exp`"
    return 3, "probabilities of the classes"


def explain_probabilities(got, places, values, weight, bias):
    if close(got, small_machines.class_probabilities(places, values, weight, 0 * bias)):
        return 1, "the bias is missing"
    scores = weight[:, places] @ values + bias
    if close(got, scores):
        return 1, "these are the scores: make them probabilities with the softmax"
    if close(got, 1 / (1 + np.exp(-scores))):
        return 1, "each class has a probability of its own (sigmoid): the softmax makes them sum to 1"
    return 0, "other numbers: weight[:, places] times values, plus bias, then the softmax over the classes"


# -- ks_distance ----------------------------------------------------------------------------------------------------------


DISTANCE = Contract("first second", Number(), arrays="numpy")


@check(points=2, contract=DISTANCE)
def ks_distance(student, rng):
    """Samples of different sizes, not sorted, equal numbers within and between them; the larger share on either side."""
    apart = [(rng.normal(size=30), rng.normal(shift, 1, size=12)) for shift in (0.7, -0.7)]
    apart += [(np.array([9, 4, 1]), np.array([7, 5])), (np.array([7, 5]), np.array([9, 4, 1])),
              (np.array([3.0]), np.array([1.0])),
              (np.array([0, 1e-7, 3e-7, 1000]), np.array([5e-7, 2e-7, 4e-7]))]  # close together, with one far away
    ties = [(rng.integers(0, 5, 20), rng.integers(0, 5, 9)), (np.full(6, 2), np.full(4, 2)), (np.arange(4), np.array([1])),
            (np.array([0, 1, 1, 1]), np.array([0, 0, 0, 1])), (np.array([2, 2, 5]), np.array([2, 4]))]
    got = [as_number(student.call("ks_distance", *pair), "ks_distance") for pair in apart + ties]
    want = [small_machines.ks_distance(*pair) for pair in apart + ties]
    if close(got, want, 1e-6):
        return 2, "the distance of Kolmogorov and Smirnov"
    if close(got[: len(apart)], want[: len(apart)], 1e-6):
        return 1, "right where all numbers differ; equal numbers count together, in both samples: compare after all <= x"
    if any(close(got, [one_sided(*pair) for pair in pairs], 1e-6) for pairs in (apart + ties, turned_round(apart + ties))):
        return 0, "the larger share may be on either side: take the absolute difference"
    rule = "other numbers: the largest difference of the shares <= x, where x goes over all numbers of both samples"
    return 0, f"{rule}; {smallest_difference('ks_distance', apart + ties, got, want)}"


def one_sided(first, second):
    """The near miss without the absolute value."""
    return max((first <= x).mean() - (second <= x).mean() for x in np.concatenate([first, second]))


def turned_round(pairs):
    return [pair[::-1] for pair in pairs]


def smallest_difference(name, cases, got, want):
    """In words, the smallest of the cases in which the answer gives something else."""
    wrong = [case for case in zip(cases, got, want, strict=True) if case[1] != case[2] and not close(case[1], case[2], 1e-6)]
    return differs(name, *min(wrong, key=lambda case: len(str(case[0]))))


# -- alarm_level ----------------------------------------------------------------------------------------------------------

LEVEL = Contract("reference size rate rounds seed", Number(), arrays="numpy", random=FREE,
                 own="leaplm.small_machines.drift.ks_distance")
LEVELS = ((40, 0.8), (40, 0.4), (250, 0.5))  # size and rate of windows, smaller and larger than the reference


@check(points=3, contract={"alarm_level": LEVEL, "ks_distance": DISTANCE})
def alarm_level(student, rng):
    """Windows smaller and larger than the reference, three rates; the level near that of many rounds; three numbers."""
    reference = rng.normal(size=200)
    got = [level_of(student, reference, size, rate, 400, 3) for size, rate in LEVELS]
    if not near(got, [wide_level(size, rate) for size, rate in LEVELS], 0.1):
        return explain_level(student, got)
    again, once_more, *others = ([level_of(student, reference, 31, rate, 5, seed) for rate in (0.3, 0.7, 0.9)]
                                 for seed in (5, 5, 6, 7))
    if again != once_more or again in others:
        return 2, "right levels; but the same seed should give the same level, and another seed another one"
    rare = [level_of_three(student, place, 0.1, 80) for place in (0, 2)]
    often = [level_of_three(student, place, 0.42, 300) for place in (0, 2)]
    if min(rare) < 0.5 or max(often) > 0.5:
        return 1, ASK_DISTANCE if distance_is_wrong(student) else \
            "right for many numbers; but each should be drawn as often as the others, the first and the last too"
    return 3, "a level with a chosen rate of false alarms"


def level_of(student, *given):
    return as_number(student.call("alarm_level", *given), "alarm_level")


def level_of_three(student, place, rate, rounds):
    """The level of a reference in which one number differs, for windows of one number: 2/3 in a third of them, else 1/3."""
    reference = np.zeros(3)
    reference[place] = 1 if place else -1
    return level_of(student, reference, 1, rate, rounds, 9)


@functools.cache
def wide_level(size, rate):
    """The level of many rounds; for numbers that all differ it depends on how many there are, and on nothing else."""
    return small_machines.alarm_level(np.arange(200.0), size, rate, 4000, 11)


def near(got, want, share):
    return bool(np.allclose(got, want, atol=0, rtol=share))


ASK_DISTANCE = "another level, and `ks_distance`, from which it comes, is not right yet: look there first"


def distance_is_wrong(student):
    """Whether the student's own `ks_distance` gives other numbers, in a pair with equal numbers or in one without."""
    pairs = (np.array([0.0, 0, 1]), np.array([0.0])), (np.array([4.0, 1, 9]), np.array([7.0, 5]))
    with contextlib.suppress(StudentError):
        return not close([as_number(student.call("ks_distance", *pair)) for pair in pairs],
                         [small_machines.ks_distance(*pair) for pair in pairs])
    return False


def explain_level(student, got):
    """A near miss is named only where it gives all of the levels."""
    if distance_is_wrong(student):
        return 0, ASK_DISTANCE
    if near(got, [wide_level(size, 1 - rate) for size, rate in LEVELS], 0.07):
        return 1, "this is the level that most windows exceed: take the (1 - rate) quantile"
    if near(got, [wide_level(size, rate / 2) for size, rate in LEVELS], 0.07):
        return 1, "half of the rate is gone: only large distances ring, so there is one tail, not two"
    rule = "another level: distances of windows of `size` numbers, drawn with replacement, to the whole reference"
    level, size, rate = next((level, *given) for level, given in zip(got, LEVELS, strict=True)
                             if not near(level, wide_level(*given), 0.1))
    wanted = wide_level(size, rate)
    shown = f"for 200 different numbers, size {size} and rate {rate} it is {level:.3f}, where about {wanted:.3f} is wanted"
    return 0, f"{rule}; {shown}"


# -- find_draft -----------------------------------------------------------------------------------------------------------

TOKENS = ListOf(Number(whole=True), exact=True)


@check(points=2, contract=Contract("tokens most longest", TOKENS))
def find_draft(student, rng):
    """Few kinds of tokens, so that tails stand at several places, overlap with the end, and are found in several lengths."""
    kinds = rng.choice(np.arange(300, 49_000), 3, replace=False)
    cases = [(kinds[rng.integers(0, 3, int(size))].tolist(), int(rng.integers(1, 5)), int(rng.integers(1, 5)))
             for size in rng.integers(5, 12, 12)]
    cases += [([1, 12, 3, 11, 2], 2, 2), ([11, 5, 1, 15, 1], 2, 1), ([12, 7, 2], 1, 1)]  # no joined digits
    cases += [([7, 7, 7, 7], 3, 3), ([1, 2, 9, 1, 2, 8, 1, 2], 2, 2), ([5, 1, 9, 3, 1], 4, 3), ([4, 4], 2, 5),
              ([1, 2, 3, 1, 2], 9, 9), ([1, 2, 9, 5, 2, 8, 1, 2], 3, 1), ([1, 2, 9, 3, 2, 7, 1, 2], 2, 2)]
    edges = [([], 4, 3), ([5], 4, 3), ([1, 2, 3], 4, 3)]
    got = [draft_of(student, *case) for case in cases + edges]
    want = [small_machines.find_draft(*case) for case in cases + edges]
    if got == want:
        return 2, "what followed when these tokens stood together before"
    if got[: len(cases)] == want[: len(cases)]:
        return 1, "right where something is found; else, and for no or one token, an empty list"
    for change, told in DRAFT_MISSES:
        if got == [near_draft(*case, **change) for case in cases + edges]:
            return 0, told
    rule = "other tokens: the longest tail first, its latest earlier place, then at most `most` tokens behind it"
    return 0, f"{rule}; {smallest_difference('find_draft', cases + edges, got, want)}"


def draft_of(student, *given):
    return student.call("find_draft", *given)


DRAFT_MISSES = [({"earliest": True}, "of several earlier places the latest one counts")] + [
    ({"down_to": down_to}, "if the last tokens together are not found, look for fewer of them, down to the last one alone")
    for down_to in ("longest", "fitting")]


def near_draft(tokens, most, longest, earliest=False, down_to="one"):
    """The draft with one thing done otherwise: the first of several places, or one length of tail alone."""
    fitting = min(longest, len(tokens) - 1)
    sizes = {"one": range(fitting, 0, -1), "longest": [longest], "fitting": [fitting] * (fitting > 0)}[down_to]
    for size in sizes:
        starts = range(len(tokens) - size)
        for start in starts if earliest else reversed(starts):
            if tokens[start : start + size] == tokens[-size:]:
                return tokens[start + size : start + size + most]
    return []


# -- speculative_decode ---------------------------------------------------------------------------------------------------


@check(points=4, contract=Contract("best_next prompt count draft", Several(TOKENS, Number(whole=True))))
def speculative_decode(student, rng):
    """Models that look at the whole text so far; drafts that are right, wrong, right up to a place, too long, empty."""
    styles = ("wrong", 0), ("right", 3), ("mixed", 4), ("wrong", 2), ("gap", 5), ("right", 9), ("mixed", 7), ("again", 4)
    runs = [decoded(student, rng, style, length) for style, length in styles]
    wrong = [run for run in runs if run.got != run.want]
    if wrong:
        return explain_text(wrong)
    if extra := [run for run in runs if run.asked > run.fewest]:
        calls, fewest = extra[0].asked, extra[0].fewest
        return 2, (f"right, but in {calls} calls of best_next, where {fewest} are enough: draft gets all tokens so far, one "
                   "call checks all its guesses, and the right ones stay, with the model's own token behind them")
    if any(run.asked < run.fewest for run in runs):
        return 2, "right, but the model was asked too seldom: who has checked the guesses?"
    if any(run.told != run.asked for run in runs):
        return 3, "right; but the second result should be the number of calls of best_next"
    return 4, "greedy decoding's own text, in fewer passes"


@dataclass(frozen=True)
class Run:
    """What came of one call; told: the second result, asked: how often the model really was."""

    style: str
    prompt: list
    got: list
    want: list
    told: int
    asked: int
    fewest: int


def decoded(student, rng, style, length):
    seed, count = int(rng.integers(10**6)), int(rng.integers(7, 15))
    prompt = [int(n) for n in rng.integers(0, 50, int(rng.integers(1, 6)))]
    model = student.build(f"{PROBES}counting_speller", seed)
    draft = student.build(f"{PROBES}guesser", seed, style, length)
    got, told = student.call("speculative_decode", model, prompt, count, draft)
    asked = student.read(model, f"{PROBES}times_asked")
    want, fewest = small_machines.speculative_decode(probes.counting_speller(seed), prompt, count,
                                                     probes.guesser(seed, style, length))
    return Run(style if length else "none", prompt, got, want, told, asked, fewest)


def explain_text(wrong):
    """What all wrong texts have in common; else the plainest kind of guesses with which one came."""
    if all(run.got == (run.prompt + run.want)[: len(run.got) or 1] for run in wrong):
        return 1, "the result begins with the prompt: only the tokens behind it are wanted"
    if all(one == other for run in wrong for one, other in zip(run.got, run.want, strict=False)):
        few, many = len(wrong[0].got), len(wrong[0].want)
        return int(few > 0), f"right as far as they go, but {few} tokens come back, where {many} are wanted"
    styles = {run.style for run in wrong}
    if "none" in styles:
        return 0, "other tokens even without guesses: then each pass gives one token, the best behind the last one so far"
    if "right" in styles:
        return 0, "other tokens where all guesses are right: they stay, and the model's own token comes behind them"
    return 0, "other tokens than greedy decoding writes: a guess stays only if it and all before it are what the model says"


# -- the predictor that is handed in --------------------------------------------------------------------------------------


@check(points=5, seconds=90, contract=NOTHING_CALLED)
def small_predictor(student, rng):
    """The saved predictor on held-out texts: macro-F1, in a file of at most 0.3 MB."""
    content = first_artifact(student, ("predictor-gpu.safetensors", "predictor-cpu.safetensors"))
    if len(content) > MOST_BYTES:
        return 0, f"the artifact has {len(content) / 1e6:.2f} MB; at most {MOST_BYTES / 1e6:.1f} are allowed"
    try:
        predictor = small_machines.load_predictor(content)
        language = predictor.card.get("language")
        record = marking.runs("lab16_small_machines", language)
        rows = data.heldout_rows(language)
    except (ValueError, KeyError, TypeError, OSError) as error:
        return 0, f"the artifact cannot be used: {error}"
    names = rows.features["label"].names
    if sorted(predictor.labels) != sorted(names):
        return 0, f"the card names the classes {predictor.labels}; in this language they are {names}"
    if record.empty:
        return 0, f"there is no record for language {language!r}"
    found = [predictor.labels[i] for i in predictor.predict(rows["text"]).argmax(axis=1)]
    score = evaluation.macro_f1([names[label] for label in rows["label"]], found)
    wanted = marking.threshold("lab16_small_machines", language, "heldout_macro_f1")
    return judge_score(score, record["heldout_macro_f1"], wanted, rows["label"], len(content))


def judge_score(score, runs, wanted, labels, size):
    count, guessing = len(labels), marking.most_by_guessing(labels)
    standing.note("macro-F1", score, wanted, runs)
    told = f"macro-F1 {score:.3f} on {count} held-out texts, {size / 1e6:.2f} MB"
    if score >= wanted:
        return 5, f"{told}; at least {wanted:.3f} was wanted"
    if score >= max(0.9 * wanted, guessing):
        return 2, f"{told}: near, but {wanted:.3f} was wanted"
    return 0, f"{told}; {wanted:.3f} was wanted"
