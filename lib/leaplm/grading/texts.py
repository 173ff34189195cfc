"""Texts from many keyboards and editors, compared as texts and made writable once. Common to all stages."""

from __future__ import annotations

import ast
import hashlib
import unicodedata
import warnings
from collections.abc import Callable
from typing import Any

UNSEEN = ("C", "Zl", "Zp")  # controls, formats, surrogates, the unassigned; Unicode's own ends of lines
MOST_WORDS = 1000  # letters that say what a picture shows
JOINERS = "\u200c\u200d"  # names in Persian, Sinhala or Malayalam are not right without them

def plain(source: str) -> str:
    """A cell's text for comparing: without what an editor changes by itself.

    Line ends of all systems, blanks at the ends of lines, empty lines around the text, and Unicode's composed form.

    >>> plain("\\r\\ndef f(x): \\r\\n    return x\\r\\n\\r\\n")
    'def f(x):\\n    return x'
    """
    lines = unix_lines(source).split("\n")
    return unicodedata.normalize("NFC", "\n".join(line.rstrip() for line in lines).strip())


def same_answer(one: str, other: str) -> bool:
    """Whether two cells are the same answer: the same text, or code that differs in comments and docstrings only.

    These stand in the learner's language.

    >>> same_answer("def f(x):\\n    raise NotImplementedError  # here", "def f(x):\\n    raise NotImplementedError  # ici")
    True
    """
    return not answer_prints(one).isdisjoint(answer_prints(other))


def answer_prints(source: str) -> frozenset[str]:
    """What two cells share that are the same answer: the text, and of code what is left without comments and docstrings."""
    tree = parsed(source)
    return frozenset({plain(source), *([fingerprint(tree)] if tree and tree.body else [])})


def parsed(source: str) -> ast.Module | None:
    """The syntax tree without docstrings; None for what is no Python."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = body[1:] or [ast.Pass()]
    return tree


def fingerprint(tree: ast.AST) -> str:
    """A print of the tree, whatever its depth and its numbers: ast.dump takes neither the deepest nor the longest."""
    digest, waiting = hashlib.sha256(), [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.AST):
            text, below = type(part).__name__, [value for _, value in ast.iter_fields(part)]
        elif isinstance(part, list):
            text, below = str(len(part)), part
        else:
            text, below = f"{type(part).__name__} {hex(part) if isinstance(part, int) else ascii(part)}", []
        digest.update(f"{text}\n".encode())
        waiting.extend(reversed(below))
    return digest.hexdigest()


def unix_lines(text: str) -> str:
    """A text with the line ends of Unix in place of those of Windows and of old Macs."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def writable(value: Any) -> Any:
    """A value of texts, lists, tuples and dicts in which every text can be written as UTF-8: halves of letters become ?.

    >>> writable({"said": ["caf\\ud800"]})
    {'said': ['caf?']}
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {writable(key): writable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(writable(item) for item in value)
    return value


def one_line(text: str, mark: str = "\N{REPLACEMENT CHARACTER}") -> str:
    """A text with `mark` for all that ends a line somewhere, controls a terminal, is not seen, or cannot be written.

    >>> one_line("a\\u2028b\\x85c\\ud800", "?")
    'a?b?c?'
    """
    return "".join(mark if unicodedata.category(char).startswith(UNSEEN) and char not in JOINERS else char for char in text)


def picture_words(data: dict[str, Any], metadata: Any, clean: Callable[[str], str] = str) -> dict[str, dict[str, str]]:
    """The alternative texts of an output's pictures, as nbformat has them; of its metadata nothing else.

    >>> picture_words({"image/png": "iVBOR"}, {"image/png": {"alt": "a line", "width": 3}, "needs_background": "light"})
    {'image/png': {'alt': 'a line'}}
    """
    told = metadata if isinstance(metadata, dict) else {}
    kinds = {mime: told[mime].get("alt") for mime in data if mime.startswith("image/") and isinstance(told.get(mime), dict)}
    return {mime: {"alt": clean(words[:MOST_WORDS])} for mime, words in kinds.items() if isinstance(words, str)}
