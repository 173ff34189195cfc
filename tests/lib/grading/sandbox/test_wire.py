"""Frames: what goes in comes out, and nothing that a hostile sender writes gets further than `Broken`."""

import json
import socket
import struct

import numpy as np
import pytest
from leaplm.grading.sandbox.values import NotPlain, Ref, clean_text
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


def test_numbers_of_numpy_become_numbers_and_tuples_lists():
    assert decode(encode((np.float32(0.5), np.int64(3), np.bool_(True)))) == [0.5, 3, True]


def test_objects_do_not_cross():
    with pytest.raises(NotPlain):
        encode(object())


def frame(text, rest=b""):
    content = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<I", len(content)) + content + rest


@pytest.mark.parametrize("hostile", [
    b"", b"\x01", frame(b"{"), frame(b"\xff\xfe"), frame({"array": 0, "shape": [1]}), frame({"dict": 3}),
    frame({"dict": [[1]]}),
    frame({"ref": "x", "kind": 1}), frame({"unknown": 1}), frame(b"[" * 100_000 + b"]" * 100_000), frame(b"9" * 100_000),
    frame({"array": 0, "shape": [10**9]}, encode({"a": np.ones(2)})[-100:]), frame([1], b"\xff" * 100),
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
