"""Runs a cell of tests, of nbgrader's kind, in a student's IPython shell: statement after statement, by our own hand.

Such tests share a process with the answers they test, so what comes of them can be forged by code that knows this
module; course/GRADING.md lists how. What is held here: nothing that a notebook can change by IPython's or Python's usual
means decides. The shell's own way of running cells, its transformers, its hooks and its history are passed by; Python's
built-in names and what libraries hold are put back first (`pristine`); a test that fails has failed, whatever is shown.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import traceback
import zlib
from types import CodeType
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell
from IPython.lib.pretty import pretty

# Taken before any student code runs: what a notebook puts in their place later is not used.
_parse, _compile, _eval, _pretty, _repr = ast.parse, compile, eval, pretty, repr
_coroutine, _format, _quiet = inspect.CO_COROUTINE, traceback.TracebackException, DisplayHook.semicolon_at_end_of_expression
PLAIN = (bool, int, float)
AWAIT, ANNOTATIONS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, __future__.annotations.compiler_flag
MOST_TEXT = 2000  # characters of a value that are told


async def run_tests(shell: InteractiveShell, source: str) -> tuple[str | None, BaseException | None]:
    """The value of the last expression as text, None if there is none or it is hidden by ";", and what was raised.

    `source` is Python: what IPython adds to it was translated outside (`as_python`).
    """
    value = None
    try:
        for code in compiled(source):
            value = _eval(code, shell.user_ns)
            if code.co_flags & _coroutine:  # `await` at the top of the cell
                value = await value
        shown = value is not None and not _quiet(source)
        return (_as_text(value) if shown else None), None
    except BaseException as error:  # also SystemExit, KeyboardInterrupt: a test that did not come to its end has failed
        return None, error


def as_python(source: str) -> str:
    """A cell in Python's own words: magics and the like as the calls that IPython makes of them."""
    try:
        return TransformerManager().transform_cell(source)
    except Exception:  # no Python and no magics: to be told when it is run
        return source


def compiled(source: str) -> tuple[CodeType, ...]:
    """The code of each statement. All of it before the first one runs: an answer that is called cannot change the rest."""
    codes, flags, name = [], AWAIT, remember(source)
    nodes = _parse(source).body
    for number, node in enumerate(nodes, 1):
        last = number == len(nodes) and isinstance(node, ast.Expr)
        tree = ast.Expression(node.value) if last else ast.Module([node], [])
        codes.append(_compile(tree, name, "eval" if last else "exec", flags, True))
        flags |= codes[-1].co_flags & ANNOTATIONS  # `from __future__ import annotations` holds for what follows
    return tuple(codes)


def remember(source: str) -> str:
    """A name for the code of these tests, by which `inspect.getsource` and tracebacks find its lines."""
    name = f"<test {zlib.crc32(source.encode(errors='replace')):08x}>"
    linecache.cache[name] = (len(source), None, [line + "\n" for line in source.split("\n")], name)
    return name


def _as_text(value: Any) -> str:
    """As a notebook shows it."""
    return (_repr(value) if type(value) in PLAIN else _pretty(value))[:MOST_TEXT]


def told(error: BaseException, source: str) -> tuple[str, str, list[str]]:
    """An error as a notebook shows it: name, message and the lines of its traceback, of the tests and below them."""
    try:
        name = remember(source)
        frames = _format(type(error), error, error.__traceback__)
        while frames.stack and frames.stack[0].filename != name:
            del frames.stack[0]
        lines = "".join(frames.format()).split("\n")
    except Exception:  # an error of the student's own class may not let itself be shown
        lines = [type(error).__name__]
    return type(error).__name__, _message(error), lines


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as inner:  # of its own __str__
        return f"(its message cannot be shown: {type(inner).__name__})"
