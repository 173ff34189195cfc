"""Banks: for every check, plausible wrong answers that must lose marks and other right ones that must not.

The bank of lab 2 is course/lab2_finetuning/bank.py. Each entry names the check it is judged by and says why:

    from leaplm.grading.judge.banks import right, wrong

    @wrong("cross_entropy", "sums instead of averaging")
    def summed(logits, labels):                  # takes the place of the notebook's `cross_entropy`
        return -F.log_softmax(logits, -1)[range(len(labels)), labels].sum()

    @right("accuracy", "with a loop", name="count_correct")     # when function and check are named differently
    def looped(logits, labels): ...

    wrong.cell("learning_rate", "diverges", "best_lr = 3.0")    # any source in place of the answer cell

    @wrong.artifact("sentiment", "cut off half way")            # files under artifacts/, from the trained ones
    def half(trained: dict[str, bytes]) -> dict[str, bytes]:
        return {name: data[: len(data) // 2] for name, data in trained.items()}

An entry runs as if it were typed into the solution notebook after its own cell: it sees the notebook's imports and
functions, not those of the bank file. An artifact function without parameter needs no trained model.
"""

from __future__ import annotations

import ast
import functools
import inspect
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import nbformat

from leaplm.grading.course import lab_file, load_module
from leaplm.grading.judge.checks import Verdict, judge, load_checks
from leaplm.grading.rebuild.exercises import exercises, role
from leaplm.grading.sandbox.student import Student
from leaplm.grading.submission import ARTIFACTS

FEWEST_WRONG, FEWEST_RIGHT = 4, 2


@dataclass(frozen=True)
class Answer:
    """One entry of a bank: a source to run in the notebook, or a maker of artifact files."""

    check: str
    why: str
    right: bool
    source: str = ""
    files: Callable[..., dict[str, bytes]] | None = None

    @property
    def needs_trained(self) -> bool:
        """Whether the files are made from those of a trained model."""
        return self.files is not None and bool(inspect.signature(self.files).parameters)


class _Entries:
    """The decorator `right` or `wrong`; what it decorates becomes an Answer in the order written."""

    collected: list[Answer] = []  # of the bank being loaded

    def __init__(self, right: bool) -> None:
        self._right = right

    def __call__(self, check: str, why: str, name: str | None = None) -> Callable[[Callable | type], Answer]:
        """For a function or class that takes the place of the notebook's `name` (default: the check's name)."""
        return lambda made: self._add(check, why, source=f"{_source(made)}\n{name or check} = {made.__name__}\n")

    def cell(self, check: str, why: str, source: str) -> Answer:
        """For a whole answer cell."""
        return self._add(check, why, source=source)

    def artifact(self, check: str, why: str) -> Callable[[Callable], Answer]:
        """For a function that returns the files of artifacts/ by name."""
        return lambda function: self._add(check, why, files=function)

    def _add(self, check: str, why: str, **content: Any) -> Answer:
        answer = Answer(check, why, self._right, **content)
        self.collected.append(answer)
        return answer


right, wrong = _Entries(True), _Entries(False)


def load_bank(lab: str, course: str | os.PathLike) -> list[Answer]:
    """The entries of a lab's bank, in order."""
    path = lab_file(course, lab, "bank.py")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: the wrong and right answers of {lab} belong there")
    _Entries.collected.clear()
    load_module(path)
    return list(_Entries.collected)


class Workbench:
    """A lab's solution, run as far as its checks need, where answers can be put in and judged.

    Of the notebook only the locked and the answer cells run: the free cells train models. A cell that fails because it
    needs a free one is left out and kept in `skipped` with its error; what a checked function needs must stand in a
    locked cell. Used as a context manager; everything happens in a temporary folder.
    """

    def __init__(self, lab: str, course: str | os.PathLike, trained: str | os.PathLike | None = None) -> None:
        root = Path(course).resolve()
        self.lab, self.checks = lab, load_checks(lab, root)
        self.solution = nbformat.read(root / "solutions" / lab / f"{lab}.ipynb", as_version=4)
        self.release = nbformat.read(root / "labs" / lab / f"{lab}.ipynb", as_version=4)
        self._trained = Path(trained) if trained else None  # a folder of artifacts
        self._namespace: dict[str, Any] = {}
        self._files: dict[str, bytes] = {}  # of the trained folder, once read
        self._put: tuple[dict, dict] | None = None  # what was put under artifacts/, with its stamps
        self.skipped: dict[str, str] = {}  # cell id -> error

    def __enter__(self) -> Workbench:
        self._before = os.getcwd()
        self.folder = Path(tempfile.mkdtemp())
        os.chdir(self.folder)
        self._namespace["__name__"] = "__main__"
        for cell in self.solution.cells:
            if role(cell) in ("answer", "locked"):
                try:
                    self._run(cell.source, cell.id)
                except Exception as error:
                    self.skipped[cell.id] = f"{type(error).__name__}: {error}"
        self._solved = dict(self._namespace)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.chdir(self._before)
        shutil.rmtree(self.folder, ignore_errors=True)

    def judge_reference(self, check: str, seed: int) -> Verdict:
        """The solution's own cells and trained artifacts."""
        self._put_files(self.trained_files())
        return self._judge(check, seed, "")

    def judge_stub(self, check: str, seed: int) -> Verdict:
        """The release's cells in place of this check's answers, the rest as in the solution; no artifacts."""
        self._put_files({})
        return self._judge(check, seed, *self.stubs(check))

    def judge_answer(self, answer: Answer, seed: int) -> Verdict:
        """An entry of the bank."""
        self._put_files(self.files(answer))
        return self._judge(answer.check, seed, answer.source)

    def files(self, answer: Answer) -> dict[str, bytes]:
        """The artifacts that come with an entry of the bank."""
        trained = self.trained_files()
        if answer.files is None:
            return trained
        if answer.needs_trained and not trained:
            raise FileNotFoundError(f"'{answer.why}' needs the artifacts of the trained solution")
        return answer.files(trained) if answer.needs_trained else answer.files()

    def trained_files(self) -> dict[str, bytes]:
        """The artifacts of the trained solution by name; empty when there are none."""
        if not self._files and self._trained is not None and self._trained.is_dir():  # else not trained yet
            self._files = {path.name: path.read_bytes() for path in sorted(self._trained.iterdir()) if path.is_file()}
        return dict(self._files)

    def solved(self, name: str) -> Any:
        """What the solution's cells have made of a name; None if nothing."""
        return self._solved.get(name)

    def names(self) -> list[str]:
        """What the solution's cells have made."""
        return list(self._solved)

    def stubs(self, check: str) -> list[str]:
        """The released answer cells of the exercise that a check belongs to."""
        names = next(exercise.answers for exercise in exercises(self.release) if check in exercise.checks)
        return [cell.source for cell in self.release.cells if cell.id in names]

    def _judge(self, check: str, seed: int, *sources: str) -> Verdict:
        self._namespace.clear()  # the same dict: functions look their names up in it
        self._namespace.update(self._solved)
        for source in sources:
            try:
                self._run(source, check)
            except NotImplementedError:
                self._forget(source)  # an unanswered cell defines nothing
        chosen = self.checks[check]
        return judge(chosen, Student(self._namespace, self.folder, chosen.seconds), seed)

    def _forget(self, source: str) -> None:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._namespace.pop(node.id, None)

    def _run(self, source: str, cell: str) -> None:
        exec(compile(source, f"<cell {cell}>", "exec"), self._namespace)

    def _put_files(self, files: dict[str, bytes]) -> None:
        folder = self.folder / ARTIFACTS
        if (files, _stamps(folder)) == self._put:
            return  # the same again, which no answer has touched: mostly the trained model, of many megabytes
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        self._put = files, _stamps(folder)


def _stamps(folder: Path) -> dict[str, tuple[int, ...]]:
    """What tells whether a folder, or anything in it, was changed; nothing where there is none."""
    found = {path: path.lstat() for path in (folder, *folder.iterdir())} if folder.is_dir() else {}
    return {path.name: (info.st_ino, info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
            for path, info in found.items()}  # fmt: skip


def _source(made: Callable | type) -> str:
    """The source of a decorated function or class, without the decorator."""
    file = inspect.getfile(made)
    lines, tree = _parsed(file, os.stat(file).st_mtime_ns)
    line = made.__code__.co_firstlineno if inspect.isfunction(made) else 0  # that of its first decorator
    found = [node for node in tree.body if getattr(node, "decorator_list", None) and (
        node.decorator_list[0].lineno == line if line else isinstance(node, ast.ClassDef) and node.name == made.__name__)]
    if len(found) != 1:  # a class whose name stands twice, or an entry that is not at the left edge
        text = inspect.cleandoc("\n" + inspect.getsource(made))
        lines, found = text.splitlines(), ast.parse(text).body
    return "\n".join(lines[found[0].lineno - 1 : found[0].end_lineno])


@functools.lru_cache(maxsize=2)
def _parsed(file: str, changed: int) -> tuple[list[str], ast.Module]:
    """The lines and the syntax of a bank: Python's own search for a class parses the file again for each."""
    text = Path(file).read_text(encoding="utf-8")
    return text.splitlines(), ast.parse(text)
