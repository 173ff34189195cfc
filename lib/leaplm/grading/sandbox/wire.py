"""Frames between a check and the student's process: JSON for the structure, safetensors for the arrays, nothing else.

No pickle: what comes from the student's side is only ever parsed as data, with limits on its size and its depth. A
frame is 8 bytes of length (little endian), 4 bytes of JSON length, the JSON, and the arrays.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from leaplm.grading.sandbox.values import MAX_BYTES, Exact, NotPlain, Ref, TooLarge, plain
from leaplm.grading.texts import writable

MAX_FRAME = 2 * MAX_BYTES
MAX_TEXT = 8 * 2**20  # of a frame's JSON from a student's side: parsed, it takes many times its size
HEAD = struct.Struct("<Q")
TEXT = struct.Struct("<I")
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
    arrays: list[np.ndarray] = []
    text = json.dumps(_tree(value, arrays)).encode()
    if len(text) > most_text:
        raise TooLarge(f"more than {most_text >> 20} MB of text")
    content = save({str(number): array for number, array in enumerate(arrays)}) if arrays else b""
    return TEXT.pack(len(text)) + text + content


def _tree(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, Ref):
        return {"ref": value.id, "kind": value.kind}
    if isinstance(value, bytes):
        return {"bytes": _tree(np.frombuffer(value, np.uint8), arrays)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        arrays.append(np.ascontiguousarray(value))
        return {"array": len(arrays) - 1, "shape": list(np.shape(value))}
    if isinstance(value, Exact):
        return {"exact": _tree(value.array, arrays), "as_tensor": value.as_tensor}
    if isinstance(value, list):
        return [_tree(item, arrays) for item in value]
    if type(value) in GROUPS.values():
        return {type(value).__name__: [_tree(item, arrays) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[key, _tree(item, arrays)] for key, item in value.items()]}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise NotPlain(f"an object of type {type(value).__name__}")


def decode(frame: bytes, most_text: int = MAX_FRAME) -> Any:
    """The value of a frame; raises Broken for bytes that `encode` cannot have made, or more JSON than `most_text`."""
    try:
        (length,) = TEXT.unpack_from(frame)
        if length > most_text:
            raise Broken(f"{length:,} bytes of text")
        text, content = frame[TEXT.size : TEXT.size + length], frame[TEXT.size + length :]
        return _value(json.loads(text), load(content) if content else {})
    except Exception as error:  # whatever a hostile sender makes a parser raise
        raise Broken(f"not a frame ({type(error).__name__})") from None


def _value(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(tree, list):
        return [_value(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays.pop(str(tree["array"])).reshape(tree["shape"])  # once: many references would fill our memory
    if "bytes" in tree:
        return _value(tree["bytes"], arrays).tobytes()
    if "ref" in tree:
        return Ref(int(tree["ref"]), str(tree["kind"])[:100])
    if "exact" in tree:
        return Exact(_value(tree["exact"], arrays), bool(tree["as_tensor"]))
    for name in GROUPS.keys() & tree.keys():
        return GROUPS[name](_value(item, arrays) for item in tree[name])
    return {key if isinstance(key, int) else str(key): _value(item, arrays) for key, item in tree["dict"]}


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

    def send(self, value: Any) -> None:
        """Sends one value; Gone if nobody is there to read it, TooLarge (and nothing sent) for more than the limit."""
        frame = encode(value, self._most_text)
        try:
            self._end.settimeout(None)
            self._end.sendall(HEAD.pack(len(frame)))
            self._end.sendall(frame)
        except OSError as error:
            raise Gone(str(error)) from None

    def receive(self, seconds: float | None = None) -> Any:
        """The next value; TimeoutError after `seconds`, Gone at the end, Broken for anything that is no frame."""
        until = None if seconds is None else time.monotonic() + seconds
        (length,) = HEAD.unpack(self._read(HEAD.size, until))
        if length > self._most:
            raise Broken(f"a frame of {length:,} bytes")
        return decode(self._read(length, until), self._most_text)

    def _read(self, count: int, until: float | None) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            try:
                self._end.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
                part = self._end.recv(min(count - len(parts), 1 << 20))
            except TimeoutError:
                raise
            except OSError as error:
                raise Gone(str(error)) from None
            if not part:
                raise Gone("closed")
            parts += part
        return bytes(parts)

    def close(self) -> None:
        self._end.close()
