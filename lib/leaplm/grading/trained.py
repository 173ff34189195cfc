"""The artifacts of a lab's solution, trained once for each state of the lab and the library, and kept on the machine.

They are what a perfect student hands in: tests of the checks, the demonstration and the bench need them, and training takes
minutes. They are kept in the store of models and data, in a folder named after all that decides them: the solution's code,
the modules of the library that it imports, torch's version and the scale. LEAPLM_TRAINED names another folder; an empty one
makes everything train again.
"""

from __future__ import annotations

import ast
import copy
import functools
import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import nbformat
from filelock import FileLock
from nbformat import NotebookNode
from tqdm.auto import tqdm

import leaplm
from leaplm.assets.places import store
from leaplm.grading.judge.scratch import Scratch, sweep
from leaplm.grading.rebuild.exercises import role
from leaplm.grading.rebuild.plan import saving_cells
from leaplm.grading.submission import ARTIFACTS
from leaplm.runtime import scale

TRAINED = "LEAPLM_TRAINED"  # environment: the folder that keeps trained artifacts
SEED = "seed 0"  # of a perfect student (see leaplm.identity)
KEPT_STATES = 2  # of a lab; older ones go


def kept_artifacts(lab: str, course: Path, at: str | None = None) -> Path:
    """Where the artifacts of a lab's solution, as it is now, are kept (`at`: the scale; else ours); it need not exist."""
    folder = Path(os.environ.get(TRAINED) or store() / "trained")
    return folder / f"{lab}-{at or scale()}-{digest(lab, course)[:16]}"


def trained_artifacts(lab: str, course: Path, say: Callable[[str], None] = print) -> Path:
    """The folder of the artifacts that the solution saves; runs it where none are kept for this state of it."""
    kept = kept_artifacts(lab, course)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{kept}.lock"):
        if kept.is_dir():
            say(f"trained artifacts: {kept}")
            return kept
        say(f"{kept} is not there: running the solution of {lab} once, which takes minutes")
        sweep(kept.parent)
        with Scratch(kept.parent) as folder:
            keep(train(lab, course, folder), lab, course)
    return kept


def keep(artifacts: Path, lab: str, course: Path) -> None:
    """Keeps a folder of artifacts, whole or not at all, and drops those of old states of the lab."""
    kept = kept_artifacts(lab, course)
    with Scratch(kept.parent) as scratch:
        shutil.copytree(artifacts, scratch / kept.name)
        shutil.rmtree(kept, ignore_errors=True)
        os.replace(scratch / kept.name, kept)
    states = sorted(kept.parent.glob(f"{lab}-{scale()}-" + "?" * 16), key=os.path.getmtime)
    for old in states[:-KEPT_STATES]:
        shutil.rmtree(old, ignore_errors=True)


def train(lab: str, course: Path, folder: Path) -> Path:
    """Runs what of a solution its artifacts need, in `folder`; returns the folder of artifacts."""
    solution = nbformat.read(course / "solutions" / lab / f"{lab}.ipynb", as_version=4)
    execute(only(solution, saving_cells(solution)), folder, course)
    if not (folder / ARTIFACTS).is_dir():  # a lab that saves in a cell which students may change
        execute(solution, folder, course)
    (folder / ARTIFACTS).mkdir(exist_ok=True)  # a lab that hands in none
    return folder / ARTIFACTS


def only(notebook: NotebookNode, cells: set[str]) -> NotebookNode:
    """A copy with only these of the code cells."""
    copied = copy.deepcopy(notebook)
    copied.cells = [cell for cell in copied.cells if cell.cell_type != "code" or cell.id in cells]
    return copied


def execute(notebook: NotebookNode, folder: Path, course: Path) -> None:
    """Runs a notebook in `folder` at this machine's scale with a bar over its cells. RuntimeError if a cell fails."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    count = sum(cell.cell_type == "code" for cell in notebook.cells)
    with tqdm(total=count, unit="cell", desc="solution") as bar:
        client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(folder)}})
        client.on_cell_executed = lambda **cell: bar.update()
        try:
            client.execute(env={**os.environ, "LEAPLM_COURSE": str(course), "LEAPLM_STUDENT": SEED})
        except CellExecutionError as error:
            raise RuntimeError(f"the solution fails: {error.ename}: {error.evalue}\n{error.traceback}") from None


def digest(lab: str, course: Path) -> str:
    """SHA-256 of what decides the artifacts: the solution's code, the library it imports, torch's version."""
    solution = nbformat.read(course / "solutions" / lab / f"{lab}.ipynb", as_version=4)
    code = [cell.source for cell in solution.cells if cell.cell_type == "code" and role(cell) != "check"]
    found = hashlib.sha256(importlib.metadata.version("torch").encode())
    for part in [*code, *(path.read_text(encoding="utf-8") for path in library("\n".join(code)))]:
        found.update(hashlib.sha256(part.encode()).digest())
    return found.hexdigest()


def library(source: str) -> list[Path]:
    """The files of leaplm that a program imports, and those that these import, in order."""
    found: set[Path] = set()
    waiting = list(imported(source))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imported_by(path)
    return sorted(found)


@functools.cache
def imported_by(path: Path) -> list[Path]:
    return list(imported(path.read_text(encoding="utf-8")))


def imported(source: str) -> Iterable[Path]:
    """The files of leaplm's modules that a program names in `from leaplm... import ...`."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # magics of a notebook: line by line
        tree = ast.Module([], [])
        for line in source.splitlines():
            if line.startswith(("from leaplm", "import leaplm")):
                tree.body += ast.parse(line).body
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "leaplm":
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                if path := module_file(name):
                    yield path


@functools.cache
def module_file(name: str) -> Path | None:
    """The file of a module of leaplm, found without an import of its packages, which takes seconds; None if it is none."""
    path = Path(leaplm.__file__).parent.joinpath(*name.split(".")[1:])
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)
