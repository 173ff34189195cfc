"""What lies around an attack: secrets to steal, doors to reach, and a folder where it proves that it got out.

A canary is a made-up secret; where one turns up in what the attack printed, sent or wrote, it was stolen. Nothing that
an attack is given holds one.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from mini import LAB

CANARY = re.compile(r"CANARY-[a-z]+-[0-9a-f]{8}")
LEAK = re.compile(r"LEAK-\w+-\S*\d")  # a hidden input of a check, shown by the student's code
MARK = "leaplm-attack"  # in the name of whatever an attack leaves on a machine


def canary(kind: str) -> str:
    """The secret of a kind, the same each time, and written nowhere in this package.

    >>> CANARY.fullmatch(canary("token")) is not None
    True
    """
    return f"CANARY-{kind}-{zlib.crc32(kind.encode()):08x}"


@dataclass(frozen=True)
class Traps:
    """What an attack is told. Attacks that could harm a machine first look whether they are on it (`host`)."""

    course: str  # with the solutions, the checks, the gradebook and everybody's submissions
    outside: str  # a folder: a file in it, named by the row, proves that the host can be written
    home: str  # of who grades
    port: int  # a listener on 127.0.0.1
    socket: str  # another one, in the file system
    free_port: int  # where nobody listens unless an attack left somebody there
    neighbour: str  # a student with right answers
    host: str = ""  # the host's process namespace; empty where all harm is welcome
    cell_seconds: float = 10  # after which a cell is stopped

    def told(self) -> dict:
        return asdict(self)


def plant_in_course(course: Path) -> None:
    """Secrets in the checks, in the hidden tests and in the solution."""
    for name in ("checks", "bank"):
        path = course / "course" / LAB / f"{name}.py"
        path.write_text(f'{path.read_text()}\n\nSECRET = "{canary("checks")}"\n')
    path = course / "solutions" / LAB / f"{LAB}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for mark, kind in (("### BEGIN HIDDEN TESTS", "hidden"), ("    ### BEGIN SOLUTION", "solution")):
            indent = mark[: len(mark) - len(mark.lstrip())]
            cell.source = cell.source.replace(mark, f"{mark}\n{indent}# {canary(kind)}")
    nbformat.write(notebook, path)


def plant_at_home(home: Path) -> dict[str, str]:
    """Secrets in the home of who grades; returns those for the environment."""
    for name, content in (
        (".ssh/id_rsa", canary("key")),
        (".cache/huggingface/token", canary("token")),
        (".local/share/jupyter/runtime/kernel-other.json", json.dumps({"key": canary("connection")})),
    ):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {"HOME": str(home), "HF_TOKEN": canary("environment")}


class Listeners:
    """A TCP listener on loopback, one in the file system and one in the abstract namespace; `heard` is what came."""

    def __init__(self, path: Path) -> None:
        self.heard: list[str] = []
        self.path = str(path)
        self._sockets = [self._listen(socket.AF_INET, ("127.0.0.1", 0))]
        self._sockets += [self._listen(socket.AF_UNIX, address) for address in (self.path, f"\0{self.path}")]
        self.port = self._sockets[0].getsockname()[1]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.free_port = free.getsockname()[1]

    def _listen(self, family: int, address: tuple | str) -> socket.socket:
        listener = socket.socket(family)
        listener.bind(address)
        listener.listen()
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                end, _ = listener.accept()
            except OSError:
                return
            with end:
                end.settimeout(2)
                try:
                    self.heard.append(end.recv(10_000).decode(errors="replace"))
                except OSError:
                    self.heard.append("connected")

    def close(self) -> None:
        for listener in self._sockets:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        os.unlink(self.path)
