"""Where things stand in a course: its root, its labs, and the files of a lab. Common to all stages."""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from leaplm.places import COURSE as COURSE
from leaplm.places import LAB_NAME as LAB_NAME
from leaplm.places import LANGUAGES as LANGUAGES
from leaplm.places import find_course as find_course
from leaplm.places import list_labs as list_labs


def find_settings(start: str | os.PathLike = ".") -> Path | None:
    """The nearest folder at or above `start` with an nbgrader_config.py, None if there is none."""
    here = Path(start).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / "nbgrader_config.py").is_file()), None)


def lab_file(root: Path, lab: str, name: str) -> Path:
    """A file of a lab's folder, for example lab_file(root, "lab2_finetuning", "checks.py"); it need not exist."""
    return Path(root) / "course" / lab / name


def translated_releases(root: Path, lab: str) -> list[Path]:
    """The lab as students open it in other languages, where it was translated."""
    return sorted((Path(root) / "labs" / LANGUAGES).glob(f"*/{lab}/{lab}.ipynb"))


def load_module(path: Path) -> ModuleType:
    """Runs a Python file of the course as a module, afresh each time."""
    name = f"leaplm_course_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and inspect look it up there
    spec.loader.exec_module(module)
    return module


def import_all(modules: Iterable[str]) -> None:
    """Imports these modules; one that is not there is left to the code that needs it, which says so better.

    They stay, and leave next to no garbage: the collector looks for none meanwhile, which takes a tenth of the time, nor
    among them later. So it does not touch, and so copy, their pages in a fork.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        for name in modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def reached(sources: Iterable[str]) -> list[str]:
    """The modules that pieces of code import, and those that they reach through these; each is Python, or left out.

    >>> reached(["import numpy as np", "np.testing.assert_allclose(np.ones(1), 1)"])
    ['numpy', 'numpy.testing']
    """
    trees = []
    for source in sources:
        with contextlib.suppress(SyntaxError, ValueError):
            trees.append(ast.parse(source))
    known = {name: module for tree in trees for name, module in _bindings(tree)}
    found = dict.fromkeys(name for tree in trees for name in imported(tree))
    owners = (ast.unparse(node.value) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    for first, dot, rest in (owner.partition(".") for owner in owners):
        if first in known and re.fullmatch(r"[\w.]*", rest):
            found[known[first] + dot + rest] = None
    return sorted(found)


def _bindings(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that imports give to modules: ("np", "numpy")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or (first := alias.name.partition(".")[0]), alias.name if alias.asname else first)
                        for alias in node.names)  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def imported(tree: ast.AST) -> list[str]:
    """The modules that a piece of code imports, whole or in part."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
