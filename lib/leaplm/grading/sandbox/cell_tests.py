"""Runs a cell of tests, of nbgrader's kind, in a student's IPython shell: statement after statement, by our own hand.

Such tests share a process with the answers they test, so what comes of them can be forged by code that knows this
module; course/GRADING.md lists how. What is held here: nothing that a notebook can change by IPython's or Python's usual
means decides. The shell's own way of running cells, its transformers, its hooks and its history are passed by; Python's
built-in names and the functions of libraries are put back first; a test that fails has failed, whatever is shown.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import contextlib
import functools
import inspect
import linecache
import operator
import re
import sys
import threading
import traceback
import zlib
from types import CodeType, FunctionType, ModuleType
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


class Pristine:
    """Python's built-in names and the functions of libraries as they were before the notebook began.

    What tests themselves change (`time.sleep = ...`, `patch("random.random")`) stays so for the next ones.
    """

    def __init__(self) -> None:
        self._modules = {name: (module, dict(vars(module))) for name, module in list(sys.modules.items())
                         if isinstance(module, ModuleType) and name != "__main__"}  # fmt: skip
        functions = {id(value): value for _, names in self._modules.values() for value in names.values()
                     if type(value) is FunctionType}  # fmt: skip
        self._insides = [(function, *_inside(function)) for function in functions.values()]
        self._known = {id(function.__code__) for function in functions.values()}
        self._set_by_tests: dict[tuple[str, str], Any] = {}

    def restore(self, namespace: dict[str, Any], get_ipython: Any) -> None:
        """Puts them back, and takes off what watches or steers running code."""
        sys.settrace(None)
        sys.setprofile(None)
        threading.settrace(None)
        namespace["__builtins__"], namespace["get_ipython"] = builtins, get_ipython
        for name, (module, before) in self._modules.items():
            sys.modules[name] = module
            now = vars(module)
            for key, value in before.items():
                if now.get(key) is not value and callable(value) and (module is builtins or not self._theirs(now.get(key))):
                    now[key] = self._set_by_tests.get((name, key), value)
        for function, *inside in self._insides:
            if any(map(operator.is_not, _inside(function), inside)):
                function.__code__, function.__defaults__, function.__kwdefaults__ = inside

    def keep(self, source: str) -> None:
        """After a cell of tests: what it has set itself, by names that stand in it, is as it should be."""
        names = names_set(source)
        for name, (module, before) in self._modules.items() if names else ():
            for key in names & before.keys():
                if vars(module).get(key) is not before[key]:
                    self._set_by_tests[name, key] = vars(module).get(key)

    def _theirs(self, value: Any) -> bool:
        """Whether a library put this function in the place of another, as IPython does for matplotlib: one it has made."""
        return isinstance(value, FunctionType) and id(value.__code__) not in self._known and is_from_file(value.__code__)


def names_set(source: str) -> set[str]:
    """The names that code gives new values in modules: the `sleep` of `time.sleep = f`, or of `patch("time.sleep", f)`."""
    found: set[str] = set()
    with contextlib.suppress(SyntaxError, ValueError):
        for node in ast.walk(_parse(source)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.Call) and re.search("patch|setattr", ast.unparse(node.func)):
                found |= {str(text.value).rpartition(".")[2] for text in node.args if isinstance(text, ast.Constant)}
    return found


def is_from_file(code: CodeType) -> bool:
    """Whether a library's file has this code; what a code says of its file alone, a notebook can say, too."""
    folders = (sys.prefix, sys.base_prefix)
    return code.co_filename.startswith(folders) and code in codes_of_file(code.co_filename)


@functools.cache
def codes_of_file(path: str) -> set[CodeType]:
    """All code of a Python file, inner functions too; nothing if it cannot be read."""
    found: set[CodeType] = set()
    with contextlib.suppress(OSError, SyntaxError, ValueError), open(path, "rb") as file:
        more = [_compile(file.read(), path, "exec", dont_inherit=True)]
        while more:
            found.add(code := more.pop())
            more += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    return found


def _inside(function: FunctionType) -> tuple[Any, Any, Any]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


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
