"""What a notebook must not have changed when its tests run: Python's built-in names, and what libraries are made of.

Tests that stand in a notebook ask functions of libraries whether an answer is right. So before such tests, what the
notebook has put in the place of these functions, or inside of them, goes, by whatever way Python has for it: a name of
a module, its class or its place among the modules, the code, default values and wrapped functions of a function, and for
the modules that tests use also the methods of classes and plain values (`math.pi`).
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import operator
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import PurePosixPath
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any

PLAIN_VALUES = (bool, int, float, complex, str, bytes, tuple, frozenset)
NO_WRAPPERS = {*PLAIN_VALUES, type(None), type, list, dict, set, ModuleType, BuiltinFunctionType}
METHODS = (FunctionType, staticmethod, classmethod, property)
CAN_BE_SET = 1 << 9  # of a class's __flags__ (Py_TPFLAGS_HEAPTYPE): its attributes are not fixed

# Taken before any student code runs.
_parse, _compile, _find_spec = ast.parse, compile, PathFinder.find_spec
_settrace, _setprofile, _trace_threads = sys.settrace, sys.setprofile, threading.settrace
_built_in = vars(builtins)


@dataclass
class Kept:
    """A module or a class, with the names that it had."""

    owner: ModuleType | type
    kind: type  # the class of the owner itself
    names: dict[str, Any]
    used: bool  # by tests: its plain values count, too

    def now(self) -> dict[str, Any]:
        """The names as they are; of a module, whatever its class says of it."""
        if isinstance(self.owner, ModuleType) and type(self.owner) is not self.kind:
            object.__setattr__(self.owner, "__class__", self.kind)
        return vars(self.owner)

    def put(self, name: str, value: Any) -> None:
        if isinstance(self.owner, type):
            type.__setattr__(self.owner, name, value)
        else:
            vars(self.owner)[name] = value

    def changed(self) -> Iterator[tuple[str, Any, Any]]:
        """(name, what it was, what it is) of each that counts and is another."""
        now = self.now()
        for name, before in self.names.items():
            if (after := now.get(name)) is not before and (callable(before) or self._counts(name, before)):
                yield name, before, after

    def _counts(self, name: str, value: Any) -> bool:
        if isinstance(self.owner, type):
            return isinstance(value, METHODS)
        return self.used and isinstance(value, PLAIN_VALUES) and not name.startswith("_")

    def hiding(self) -> list[str]:
        """Names new in a class that hide a method of the classes above it: `DataFrame.equals`, which `NDFrame` has."""
        if not isinstance(self.owner, type):
            return []
        new = vars(self.owner).keys() - self.names.keys()
        return [name for name in new if any(name in vars(above) for above in self.owner.__mro__[1:])]


class Pristine:
    """Built-in names and what libraries hold, as they were before the notebook began; see the module.

    What tests themselves change (`time.sleep = ...`, `patch("random.random")`) stays so for the next ones. `used`: the
    modules that tests may use. `beside`: those that the teacher has beside the notebook; they are kept as they are when
    the notebook has just imported them.
    """

    def __init__(self, used: Iterable[str] = (), beside: Iterable[str] = ()) -> None:
        self._table, self._built_in, self._modules = sys.modules, dict(_built_in), {}
        self._classes: dict[type, Kept] = {}
        self._insides: dict[int, tuple] = {}  # by id of the function
        self._cells: dict[int, tuple[CellType, Any]] = {}  # of closures
        self._known: set[int] = set()  # ids of code
        self._set_by_tests: dict[tuple[int, str], Any] = {}
        used = set(used)
        for name, module in list(sys.modules.items()):
            if isinstance(module, ModuleType) and name not in ("__main__", "builtins"):
                self.note(name, module, name in used)
        self._finder = Noting(set(beside), self.note)
        self._put_finder_first()

    def _put_finder_first(self) -> None:
        if self._finder.names and self._finder not in sys.meta_path[:1]:
            sys.meta_path.insert(0, self._finder)

    def note(self, name: str, module: ModuleType, used: bool = True) -> None:
        """Keeps a module as it is now."""
        self._modules[name] = Kept(module, type(module), dict(vars(module)), used)
        values = list(vars(module).values())
        for cls in {above for value in values if used and isinstance(value, type) for above in _with_bases(value)}:
            if cls not in self._classes:
                self._classes[cls] = Kept(cls, type(cls), dict(vars(cls)), used)
                values += vars(cls).values()
        self._note_functions(values)

    def _note_functions(self, waiting: list[Any]) -> None:
        """Keeps the insides of functions, and of those that they wrap."""
        while waiting:
            value = waiting.pop()
            kind = type(value)
            if kind is FunctionType and id(value) not in self._insides:
                self._insides[id(value)] = value, _inside(value), dict(value.__kwdefaults__ or {})
                self._known.add(id(value.__code__))
                if value.__closure__:
                    waiting += self._note_cells(value.__closure__)
            elif kind is staticmethod or kind is classmethod:
                waiting.append(value.__func__)
            elif kind is property:
                waiting += [value.fget, value.fset]
            elif kind is not FunctionType and kind not in NO_WRAPPERS:
                waiting += _wrapped(value)

    def _note_cells(self, cells: Iterable[CellType]) -> list[Any]:
        """Keeps the functions that a function has from around it, as a decorator's has the decorated one."""
        found = [(cell, content) for cell in cells if callable(content := _content(cell))]
        self._cells |= {id(cell): (cell, content) for cell, content in found}
        return [content for _, content in found]

    def restore(self, namespace: dict[str, Any], get_ipython: Any) -> None:
        """Puts all back, and takes off what watches or steers running code."""
        _settrace(None)
        _setprofile(None)
        _trace_threads(None)
        _built_in.update(self._built_in)  # the first: what follows uses them
        sys.modules = self._table
        self._table["builtins"] = builtins
        namespace["__builtins__"], namespace["get_ipython"] = builtins, get_ipython
        for name, kept in self._modules.items():
            self._table[name] = kept.owner
        for name in self._finder.names - self._modules.keys():
            self._table.pop(name, None)  # put there by other means than an import of the teacher's file
        self._put_finder_first()
        for kept in (*self._modules.values(), *self._classes.values()):
            self._put_back(kept)
        for function, inside, named in self._insides.values():
            if not _same(_inside(function), inside):
                function.__code__, function.__defaults__, function.__kwdefaults__ = *inside[:2], dict(named) or None
        for cell, content in self._cells.values():
            if _content(cell) is not content:
                cell.cell_contents = content

    def _put_back(self, kept: Kept) -> None:
        for name, before, after in kept.changed():
            if not self._theirs(after):
                kept.put(name, self._set_by_tests.get((id(kept.owner), name), before))
        for name in kept.hiding():
            if (id(kept.owner), name) not in self._set_by_tests and not self._theirs(vars(kept.owner)[name]):
                type.__delattr__(kept.owner, name)

    def keep(self, source: str) -> None:
        """After a cell of tests: what it has set itself, by names that stand in it, is as it should be."""
        names = names_set(source)
        self._built_in |= {name: _built_in[name] for name in names & _built_in.keys()}
        for kept in (*self._modules.values(), *self._classes.values()) if names else ():
            now = kept.now()
            for name in names & now.keys():
                if now[name] is not kept.names.get(name):
                    self._set_by_tests[id(kept.owner), name] = now[name]

    def _theirs(self, value: Any) -> bool:
        """Whether a library put this function in the place of another, as IPython does for matplotlib: one it has made."""
        return isinstance(value, FunctionType) and id(value.__code__) not in self._known and is_from_file(value.__code__)


class Noting:
    """Among the finders of modules: tells of the modules in `names` as soon as they have been imported."""

    def __init__(self, names: set[str], note: Callable[[str, ModuleType], None]) -> None:
        self.names, self._note = names, note

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = _find_spec(name, path) if name in self.names else None
        if spec and spec.loader:
            run = spec.loader.exec_module

            def run_and_note(module: ModuleType) -> None:
                run(module)
                self._note(name, module)

            spec.loader.exec_module = run_and_note
        return spec


def modules_in(files: Iterable[str]) -> list[str]:
    """The modules that files are, by their names for an import.

    >>> modules_in(["helper.py", "tools/__init__.py", "tools/plots.py", "data/rows.txt"])
    ['helper', 'tools', 'tools.plots']
    """
    paths = [PurePosixPath(name) for name in files]
    parts = [path.parent.parts if path.name == "__init__.py" else (*path.parent.parts, path.stem)
             for path in paths if path.suffix == ".py"]  # fmt: skip
    return [".".join(names) for names in parts if names]


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


def _with_bases(cls: type) -> list[type]:
    """A class, those above it, and its own class, as far as their attributes can be set."""
    return [found for found in (*cls.__mro__, *type(cls).__mro__) if found.__flags__ & CAN_BE_SET]


def _wrapped(value: Any) -> list[Any]:
    """The function inside a wrapper such as functools.cache, or numpy's, makes."""
    try:
        return [object.__getattribute__(value, "__dict__")["__wrapped__"]]
    except (AttributeError, KeyError, TypeError):
        return []


def _inside(function: FunctionType) -> tuple:
    named = function.__kwdefaults__ or {}
    return function.__code__, function.__defaults__, *named, *named.values()


def _same(one: tuple, other: tuple) -> bool:
    return len(one) == len(other) and all(map(operator.is_, one, other))


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None
