"""What one student handed in for one lab: the thing that goes through all stages. Common to all of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

ARTIFACTS = "artifacts"  # the folder beside the notebook
NOTE = ".repairs.txt"  # how the names of our own notes end, beside a notebook


@dataclass(frozen=True)
class Submission:
    """What one student handed in for one lab; small, and the same for the same work."""

    lab: str
    student: str
    notebook: bytes | None  # nbformat 4 as checked UTF-8 JSON, None when there is none to use
    files: dict[str, bytes]  # "artifacts/sentiment-cpu.safetensors" -> content
    received: str | None  # ISO 8601 in UTC, from the instructor's side, never from a file inside an upload
    notes: tuple[str, ...]  # what was left out or repaired, for student and instructor
    refused: str | None  # why nothing of it can be graded
    title: str = ""  # of an assignment of several notebooks, which one: its file name without .ipynb

    @property
    def digest(self) -> str:
        """SHA-256 of lab, notebook and files, or of why it is refused; the same for the same work, whoever hands it in."""
        parts = [("lab", self.lab.encode()), ("notebook", self.notebook or b""), *sorted(self.files.items())]
        parts += [("refused", self.refused.encode())] if self.refused else []
        parts += [("title", self.title.encode())] if self.title else []
        sums = [(name, hashlib.sha256(data).hexdigest()) for name, data in parts]
        return hashlib.sha256(json.dumps(sums).encode()).hexdigest()
