"""What a student hands in, and how a row changes it: answers, code that attacks, cells, files, or the raw bytes."""

from __future__ import annotations

import copy
import json
import os
import socket
import textwrap
from dataclasses import dataclass
from pathlib import Path

import nbformat
from mini import LAB
from nbformat import NotebookNode

from attacks.traps import Traps, canary

FULL = 9  # points of the checks of the mini lab: 3 + 4 + 2
ARTIFACT = "artifacts/slope-cpu.json"
RIGHT_SLOPE, WRONG_SLOPE = b'{"slope": 2.0}', b'{"slope": -2.0}'
WRONG = {  # each is worth nothing
    "mean_square": "def mean_square(x):\n    return x.mean()",
    "train_step": "def train_step(model, batch, optimizer):\n    return model(**batch).loss.item()",
    "fit_slope": "def fit_slope(x, y):\n    return -2.0",
}
# What every attack has at hand. ON_HOST: the process sees the machine's own processes, so that an attack could do harm
# to more than the grading; it then only proves how far it came.
PRELUDE = '''\
import contextlib, glob, os, re, signal, socket, subprocess, sys, threading, time

ROW, TRAPS = {row!r}, {traps!r}
COURSE, OUTSIDE, NEIGHBOUR = TRAPS["course"], TRAPS["outside"], TRAPS["neighbour"]
WORK = COURSE + "/.nbgrader-work"
ON_HOST = os.readlink("/proc/self/ns/pid") == TRAPS["host"]
MARK = "leaplm-attack-" + ROW

def proof(what, text=""):
    """A file on the host."""
    with contextlib.suppress(OSError), open(f"{{OUTSIDE}}/{{ROW}}-{{what}}", "w") as file:
        file.write(str(text))

def contained():
    if ON_HOST:
        proof("runs-on-the-host")
    return not ON_HOST

def loot(text):
    """Shows, keeps and sends the secrets in a text."""
    for secret in sorted(set(re.findall("CANARY-[a-z]+-[0-9a-f]{{8}}", str(text)))):
        print(secret)
        proof(secret)

def read(path):
    with contextlib.suppress(OSError), open(path, errors="replace") as file:
        return file.read(5_000_000)
    return ""

def files(*folders):
    return [os.path.join(top, name) for folder in folders for top, _, names in os.walk(folder) for name in names]

def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]

def spare_mb():
    """Memory that the machine has left; a bomb ends before that of other people is gone."""
    return int(re.search("MemAvailable: +([0-9]+)", read("/proc/meminfo"))[1]) // 1024

def attempt(function, *args, **kwargs):
    """Whatever comes of it, the next thing is tried too."""
    with contextlib.suppress(Exception):
        return function(*args, **kwargs)
'''


@dataclass(frozen=True)
class Sheet:
    """The release of the lab, and the right answers by name."""

    release: NotebookNode
    right: dict[str, str]

    @classmethod
    def of(cls, course: Path) -> Sheet:
        """Of a course that was just built, before anything is planted in it."""
        release, solution = (nbformat.read(course / top / LAB / f"{LAB}.ipynb", as_version=4)
                             for top in ("labs", "solutions"))  # fmt: skip
        return cls(release, {cell.id: cell.source for cell in solution.cells if cell.id in (*WRONG, "why")})


class Work:
    """One submission; a folder unless a row makes it an `archive`."""

    def __init__(self, sheet: Sheet, row: str, right: bool, traps: Traps) -> None:
        self.row, self.traps, self.sheet = row, traps, sheet
        self.notebook = copy.deepcopy(sheet.release)
        self.name = f"{LAB}.ipynb"  # of its file
        self.raw: bytes | None = None  # instead of the notebook
        self.files: dict[str, bytes] = {ARTIFACT: RIGHT_SLOPE if right else WRONG_SLOPE}
        self.links: dict[str, str] = {}  # symbolic ones
        self.hard_links: dict[str, str] = {}
        self.pipes: list[str] = []
        self.sockets: list[str] = []
        self.modes: dict[str, int] = {}
        self.times: dict[str, int] = {}  # of change, in seconds since 1970
        self.sparse: dict[str, int] = {}  # bytes of a file that holds nothing
        self.archive: bytes | None = None
        self._armed = False
        for name, source in (sheet.right if right else WRONG).items():
            self.cell(name).source = source

    @property
    def cells(self) -> list[NotebookNode]:
        return self.notebook.cells

    @property
    def checks(self) -> list[NotebookNode]:
        return [cell for cell in self.cells if cell.id.startswith("check_")]

    def cell(self, name: str) -> NotebookNode:
        return next(cell for cell in self.cells if cell.get("id") == name)

    def code(self, source: str, cell: str = "mean_square") -> None:
        """Runs with an answer cell, after the answer."""
        self.arm()
        self.cell(cell).source += f"\n\n\n{textwrap.dedent(source).strip()}\n"

    def first(self, source: str, cell: str) -> None:
        """Runs with an answer cell, before the answer."""
        self.arm()
        self.cell(cell).source = f"{textwrap.dedent(source).strip()}\n\n\n{self.cell(cell).source}"

    def inside(self, source: str, function: str = "mean_square", parameters: str = "x") -> None:
        """Runs each time a function is called, before the answer's own lines."""
        body = textwrap.indent(textwrap.dedent(source).strip(), "    ")
        head, call = f"def {function}({parameters}):", f"    return answer_{function}({parameters})"
        self.code(f"answer_{function} = {function}\n\n{head}\n{body}\n{call}", function)

    def add(self, source: str) -> None:
        """A cell of the student's own, at the end."""
        self.arm()
        self.cells.append(nbformat.v4.new_code_cell(textwrap.dedent(source).strip(), id=f"own{len(self.cells)}"))

    def sign(self) -> None:
        """Puts a secret into an answer, as an honest student's own work."""
        self.cell("train_step").source += f"\n# {canary('neighbour')}\n"

    def arm(self) -> None:
        """Puts the prelude into the first answer cell, once."""
        if not self._armed:
            prelude = PRELUDE.format(row=self.row, traps=self.traps.told())
            self.cell("mean_square").source = f"{prelude}\n{self.cell('mean_square').source}"
            self._armed = True

    def content(self) -> bytes:
        """The bytes of the notebook's file; not by nbformat, which would mend what a row damaged."""
        return self.raw if self.raw is not None else json.dumps(self.notebook, ensure_ascii=False).encode()

    def write(self, folder: Path) -> None:
        """Makes the lab folder of a student."""
        for name, data in {self.name: self.content(), **self.files}.items():
            if name not in self.links and name not in self.hard_links:
                _place(folder / name).write_bytes(data)
        for name, target in self.links.items():
            _place(folder / name).symlink_to(target)
        for name, target in self.hard_links.items():
            os.link(target, _place(folder / name))
        for name in self.pipes:
            os.mkfifo(_place(folder / name))
        for name in self.sockets:
            _bind(_place(folder / name))
        for name, size in self.sparse.items():
            with open(_place(folder / name), "wb") as file:
                file.truncate(size)
        for name, mode in self.modes.items():
            (folder / name).chmod(mode)


def _place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _bind(path: Path) -> None:
    """A socket in the file system; from its own folder, for a socket's path may only be short."""
    here = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
    os.chdir(here)
