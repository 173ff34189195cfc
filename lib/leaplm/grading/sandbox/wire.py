"""Frames between a check and the student's process: JSON for the structure, the arrays' own bytes, nothing else.

No pickle: what comes from the student's side is only ever parsed as data, with limits on its size, its depth and its
numbers. A frame is 8 bytes of length (little endian), 4 bytes of JSON length, the JSON, and the bytes of arrays and files
in the order in which the JSON names them. Sent and received, a file is in memory once beside itself.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from typing import Any

import numpy as np

from leaplm.grading.sandbox.values import MAX_BYTES, NUMBERS, Exact, NotPlain, Ref, TooLarge, plain, whole
from leaplm.grading.texts import writable

MAX_FRAME = 2 * MAX_BYTES
MAX_TEXT = 8 * 2**20  # of a frame's JSON from a student's side: parsed, it takes many times its size
HEAD = struct.Struct("<Q")
TEXT = struct.Struct("<I")
_dumps, _loads = json.dumps, json.loads  # as they are now: a notebook may put others there
GROUPS = {"tuple": tuple, "set": set, "frozenset": frozenset}


class Broken(Exception):
    """What came is no frame of ours."""


class Gone(Exception):
    """The other side has closed, or ended."""


def encode(value: Any, most_text: int = MAX_FRAME) -> bytes:
    """The bytes of a plain value (see `values`), of Refs, bytes, tuples, sets, Exact; TooLarge above `most_text` of JSON.

    >>> decode(encode({"ids": [1, 2], "weights": np.ones(3)}))
    {'ids': [1, 2], 'weights': array([1., 1., 1.])}
    """
    return b"".join(parts(value, most_text))


def parts(value: Any, most_text: int = MAX_FRAME) -> list[Any]:
    """A frame's bytes in pieces, of which the large ones are the value's own memory and no copies."""
    raw: list[Any] = []
    text = _dumps(_tree(value, raw)).encode()
    if len(text) > most_text:
        raise TooLarge(f"more than {most_text >> 20} MB of text")
    return [TEXT.pack(len(text)), text, *raw]


def _tree(value: Any, raw: list[Any]) -> Any:
    if isinstance(value, Ref):
        return {"ref": value.id, "kind": value.kind}
    if isinstance(value, bytes):
        raw.append(value)
        return {"bytes": len(value)}
    if isinstance(value, np.generic):
        return _tree(value.item(), raw)
    if isinstance(value, np.ndarray):
        return _array_tree(value, raw)
    if isinstance(value, Exact):
        return {"exact": _tree(value.array, raw), "as_tensor": value.as_tensor}
    if isinstance(value, list):
        return [_tree(item, raw) for item in value]
    if type(value) in GROUPS.values():
        return {type(value).__name__: [_tree(item, raw) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[key, _tree(item, raw)] for key, item in value.items()]}
    if type(value) is int:
        return whole(value)
    if value is None or type(value) in (bool, float, str):
        return value
    raise NotPlain(f"an object of type `{type(value).__name__}`")


def _array_tree(array: np.ndarray, raw: list[Any]) -> dict:
    if array.dtype.kind not in NUMBERS:
        raise NotPlain(f"an array of dtype {array.dtype}")
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    raw.append(native.reshape(-1).view(np.uint8).data)
    return {"array": native.dtype.str, "shape": list(np.shape(array))}


def decode(frame: bytes | bytearray, most_text: int = MAX_FRAME) -> Any:
    """The value of a frame; raises Broken for bytes that `encode` cannot have made, or more JSON than `most_text`."""
    try:
        (length,) = TEXT.unpack_from(frame)
        if length > most_text:
            raise Broken(f"{length:,} bytes of text")
        view = memoryview(frame)[TEXT.size :]
        reader = _Reader(view[length:])
        value = reader.value(_loads(bytes(view[:length]), parse_int=lambda digits: whole(int(digits))))
        if len(reader.rest):
            raise Broken(f"{len(reader.rest):,} bytes too many")
        return value
    except Exception as error:  # whatever a hostile sender makes a parser raise
        raise Broken(f"not a frame ({type(error).__name__})") from None


class _Reader:
    """Makes the value of a tree and takes the bytes of its arrays, each once and in their order, from what follows it."""

    def __init__(self, rest: memoryview) -> None:
        self.rest = rest

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.rest):
            raise Broken(f"{count} bytes of {len(self.rest)}")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def value(self, tree: Any) -> Any:
        if isinstance(tree, list):
            return [self.value(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        if "array" in tree:
            return self.array(np.dtype(str(tree["array"])), tree["shape"])
        if "bytes" in tree:
            return bytes(self.take(tree["bytes"]))
        if "ref" in tree:
            return Ref(int(tree["ref"]), str(tree["kind"])[:100])
        if "exact" in tree:
            return Exact(self.value(tree["exact"]), bool(tree["as_tensor"]))
        for name in GROUPS.keys() & tree.keys():
            return GROUPS[name](self.value(item) for item in tree[name])
        return {key if isinstance(key, int) else str(key): self.value(item) for key, item in tree["dict"]}

    def array(self, dtype: np.dtype, shape: list[int]) -> np.ndarray:
        if dtype.kind not in NUMBERS or min(shape, default=0) < 0:
            raise Broken(f"an array of dtype {dtype} and shape {shape}")
        content = self.take(math.prod(shape) * dtype.itemsize)
        return np.frombuffer(content, dtype).reshape(shape).copy()  # aligned, and apart from the frame


def checked(value: Any) -> Any:
    """A value from the student's side, held to the limits of `values.plain`; a Ref stays a Ref.

    All text that a student's program sends comes by here, and can be written to a file afterwards.
    """
    if isinstance(value, Ref):
        return Ref(value.id, writable(value.kind))
    try:
        return plain(value, text=writable)
    except TooLarge as error:
        raise Broken(str(error)) from None


class Channel:
    """One end of a stream socket that carries frames; with limits on the bytes of one that comes, and of its JSON."""

    def __init__(self, end: socket.socket, most: int = MAX_FRAME, most_text: int = MAX_FRAME) -> None:
        self._end = end
        self._most, self._most_text = most, most_text

    def send(self, value: Any, seconds: float | None = None) -> None:
        """Sends one value; Gone if nobody is there to read it, TooLarge (and nothing sent) for more than the limit.

        TimeoutError if it is not read within `seconds`: a frame has been sent in part, so nothing more can be.
        """
        until = None if seconds is None else time.monotonic() + seconds
        pieces = parts(value, self._most_text)
        try:
            for piece in (HEAD.pack(sum(map(len, pieces))), *pieces):
                self._end.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
                self._end.sendall(piece)
        except TimeoutError:
            raise
        except OSError as error:
            raise Gone(str(error)) from None

    def receive(self, seconds: float | None = None) -> Any:
        """The next value; TimeoutError after `seconds`, Gone at the end, Broken for anything that is no frame."""
        until = None if seconds is None else time.monotonic() + seconds
        (length,) = HEAD.unpack(self._read(HEAD.size, until))
        if length > self._most:
            raise Broken(f"a frame of {length:,} bytes")
        return decode(self._read(length, until), self._most_text)

    def _read(self, count: int, until: float | None) -> bytearray:
        read = bytearray()
        while len(read) < count:
            try:
                self._end.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
                part = self._end.recv(min(count - len(read), 1 << 20))
            except TimeoutError:
                raise
            except OSError as error:
                raise Gone(str(error)) from None
            if not part:
                raise Gone("closed")
            read += part
        return read

    def close(self) -> None:
        self._end.close()
