"""Frames: what goes in comes out, and nothing that a hostile sender writes gets further than `Broken`."""

import json
import socket
import struct
import threading
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from leaplm.grading.sandbox.values import Exact, NotPlain, Ref, clean_text, plain, to_student
from leaplm.grading.sandbox.wire import Broken, Channel, Gone, checked, decode, encode

VALUES = [
    None, True, 3, -2.5, float("inf"), "ɗan Kano", b"\x00\xff", Ref(3, "Linear"),
    [1, [2, {"a": None, 7: "seven"}]],
    {"array": 1, "dict": [2], "ref": 3},  # keys that the encoding itself uses
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_round_trip(value):
    assert decode(encode(value)) == value


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3)])
def test_arrays_keep_type_shape_and_numbers(dtype, shape):
    array = np.random.default_rng(0).integers(0, 2, size=shape).astype(dtype)
    got = decode(encode({"a": array[..., None][..., 0]}))["a"]
    assert got.dtype == array.dtype and got.shape == array.shape and np.array_equal(got, array)


def test_numbers_of_numpy_become_numbers():
    assert decode(encode([np.float32(0.5), np.int64(3), np.bool_(True)])) == [0.5, 3, True]


GIVEN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda items: st.lists(items, max_size=3) | st.lists(items, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=3) | st.integers(0, 9), items, max_size=3)
    | st.frozensets(st.integers(-9, 2**64 - 1) | st.tuples(st.integers(0, 9), st.text(max_size=2)), max_size=3).map(set)
    | st.frozensets(st.integers(-(2**63), 9) | st.text(max_size=3), max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(GIVEN)
def test_what_a_check_passes_arrives_as_what_it_is(value):
    arrived = to_student(decode(encode(value)), resolve=None)
    assert arrived == to_student(value, resolve=None) == value
    assert repr_of_types(arrived) == repr_of_types(value)


def repr_of_types(value):
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [type(value).__name__, *map(repr_of_types, items)]


@pytest.mark.parametrize("as_tensor", [True, False])
def test_exact_arrays_arrive_as_tensors_or_arrays_of_the_same_dtype(as_tensor):
    arrived = to_student(decode(encode(Exact(np.ones(2, np.float32), as_tensor))), resolve=None)
    assert type(arrived) is (torch.Tensor if as_tensor else np.ndarray)
    assert str(arrived.dtype).endswith("float32")


def test_a_large_file_is_sent_and_read_with_one_copy():
    """Two artifacts near their limit must not fill a teacher's laptop."""
    content, size = [bytes(32 << 20), np.zeros(4 << 20)], 64 << 20
    ours, theirs = socket.socketpair()
    tracemalloc.start()
    sender = threading.Thread(target=Channel(theirs).send, args=[content])
    sender.start()
    got = Channel(ours).receive(60)
    sender.join()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got[0] == content[0] and (got[1] == content[1]).all()
    assert most < 2.3 * size


def test_what_nobody_reads_is_not_sent_for_ever():
    ours, theirs = socket.socketpair()
    for value in (bytes(10**7), "x" * 10**7, np.zeros(10**7)):
        with pytest.raises(TimeoutError):
            Channel(ours).send(value, seconds=0.1)
    theirs.close()


def test_numbers_of_the_other_byte_order_arrive():
    got = decode(encode(np.array([1, 2], ">f4")))
    assert got.tolist() == [1, 2] and torch.from_numpy(got).dtype == torch.float32


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**400])
def test_whole_numbers_have_64_bits(number):
    """Larger ones can be chosen so that all have the same hash: a set or a dict of them takes hours to make."""
    for value in (number, [number], {number: 1}, {"a": {number}}):
        with pytest.raises(NotPlain):
            encode(value) if isinstance(value, dict) and "a" in value else plain(value)


def test_objects_do_not_cross():
    with pytest.raises(NotPlain):
        encode(object())


def frame(text, rest=b""):
    content = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<I", len(content)) + content + rest


@pytest.mark.parametrize("hostile", [
    b"", b"\x01", frame(b"{"), frame(b"\xff\xfe"), frame({"array": "<f4", "shape": [1]}), frame({"dict": 3}),
    frame({"array": "|O", "shape": [1]}, bytes(8)), frame({"array": "|S8", "shape": [1]}, bytes(8)),
    frame({"bytes": -1}, b"a"), frame({"array": "<f4", "shape": [-1, -1]}, bytes(4)), frame({"bytes": 2}, b"a"),
    frame([{"bytes": 3}, {"bytes": 3}], b"abc"), frame({"array": "<f4,<f4", "shape": [1]}, bytes(8)), frame(2**64),
    frame({"set": [2**61 - 1, 2 * (2**61 - 1), 9 * (2**61 - 1)]}), frame({"dict": [[-(2**63) - 1, 1]]}),
    frame({"dict": [[1]]}), frame({"set": [{"dict": []}]}), frame({"tuple": 3}),
    frame({"exact": {"array": "<f4"}, "as_tensor": 1}),
    frame({"ref": "x", "kind": 1}), frame({"unknown": 1}), frame(b"[" * 100_000 + b"]" * 100_000), frame(b"9" * 100_000),
    frame({"array": "<f8", "shape": [10**9]}, encode({"a": np.ones(2)})[-100:]), frame([1], b"\xff" * 100),
    frame([1], struct.pack("<Q", 2**63) + b"{}"),
], ids=lambda hostile: repr(hostile[:24]))  # fmt: skip
def test_hostile_frames_are_broken(hostile):
    with pytest.raises(Broken):
        decode(hostile)


def test_a_deep_or_large_value_is_refused():
    deep = []
    for _ in range(20):
        deep = [deep]
    for value in (deep, list(range(300_000))):
        with pytest.raises(Broken):
            checked(decode(encode(value)))


def test_a_frame_above_the_limit_is_not_read():
    ours, theirs = socket.socketpair()
    theirs.sendall(struct.pack("<Q", 10**12))
    with pytest.raises(Broken, match="frame of"):
        Channel(ours).receive(1)


def test_silence_and_an_end_are_told_apart():
    ours, theirs = socket.socketpair()
    theirs.sendall(b"\x05")  # the beginning of a frame that never goes on
    with pytest.raises(TimeoutError):
        Channel(ours).receive(0.1)
    theirs.close()
    with pytest.raises(Gone):
        Channel(ours).receive(1)
    with pytest.raises(Gone):
        Channel(ours).send("anybody there?")


def test_control_characters_are_taken_out_of_foreign_text():
    assert clean_text("a\x1b[31mred\x1b[0m\x00\x07b\u202ec\nd", 99) == "aredbc\nd"
    assert clean_text("x" * 50, 10) == "x" * 9 + "…"
