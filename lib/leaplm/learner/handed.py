"""One zip to hand in, or to keep: NAME-lab2.zip with the notebook and its artifacts, as `leaplm collect` takes it.

Before it is written, it says what a teacher would find missing: answers, the saved model, cells run after the last saving.
An incomplete lab is packed all the same: a learner may want it so.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from leaplm.grading.course import LAB_NAME, LANGUAGES, lab_file, translated_releases
from leaplm.grading.given import is_answer
from leaplm.grading.intake.ingest import ARTIFACT_KINDS, DATA_KINDS, read_submission, safe_id
from leaplm.grading.rebuild.language import language_of
from leaplm.grading.rebuild.repair import rebuild
from leaplm.grading.submission import ARTIFACTS, Submission
from leaplm.grading.texts import same_answer
from leaplm.learner import progress
from leaplm.learner.carry import lab_folders, labs_folder, was_worked_in
from leaplm.learner.releases import HEADING, read_release, release_locales
from leaplm.learner.words import HANDED, IS_THERE, MADE_AT, MISSING, NO_ANSWER, NO_FILE, NOT_YET_SAVED, ONLY_TINY, WHOLE
from leaplm.locales import catalogs_of, learner_locale, say, say_problem, speaking
from leaplm.places import find_root, known_labs
from leaplm.translation import translate_message
from leaplm.whole_file import replacing

ARTIFACT = re.compile(r"[\"']([\w.-]+\.(?:safetensors|json|csv|txt))[\"']")


class HandInError(ValueError):
    """There is nothing to hand in; the message says what to do."""


@dataclass
class Handed:
    """A zip that was written, what is in it, and what a teacher would miss."""

    path: Path
    files: list[str]
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    locale: str | None = None  # of the notebook, where it is not English
    notebook: Path | None = None  # where it lies, if on the disk

    def report(self) -> str:
        lines = [f"{self.path}: {', '.join(self.files)}", *self.notes]
        with speaking(self.locale):
            lines[1:1] = [say(HANDED, file=self.notebook)] if self.notebook else []
            lines += [say(MISSING, what=line) for line in self.missing] or [say(WHOLE)]
        return "\n".join(lines)


def full_name(lab: str) -> str:
    """The name of a lab from a short one: "2" and "lab2" are lab2_finetuning. HandInError if there is no such lab."""
    root = find_root()
    known = known_labs(root) if root else []
    number = re.fullmatch(r"(?:lab)?(\d+)", lab)
    found = [name for name in known if name == lab or (number and LAB_NAME.fullmatch(name)[1] == number[1])]
    if found or (not known and LAB_NAME.fullmatch(lab)):
        return found[0] if found else lab
    if not known:
        raise HandInError(say("there is no lab {lab}; there are: none on this machine", lab=repr(lab)))
    raise HandInError(say("there is no lab {lab}; there are: {labs}", lab=repr(lab), labs=", ".join(known)))


def find_notebook(lab: str, start: Path) -> Path:
    """The lab's notebook at a place where it may lie. HandInError, with the places, if it is at none.

    Of the languages in which it is there, one that was worked on: the learner's, else the last that was saved.
    """
    places = [start / lab, start / "labs" / lab]
    if (start / f"{lab}.ipynb").is_file():
        return start / f"{lab}.ipynb"
    there = [place / f"{lab}.ipynb" for place in places]
    there += [path for above in (start, start / "labs") for path in sorted((above / LANGUAGES).glob(f"*/{lab}/{lab}.ipynb"))]
    if found := [path for path in there if path.is_file()]:
        return max(found, key=likely)
    raise HandInError(say("{file} is neither in {folders} nor in {folder}: name its folder", file=f"{lab}.ipynb",
                          folders=", ".join(map(str, places)), folder=start))  # fmt: skip


def likely(notebook: Path) -> tuple:
    """How likely of several notebooks of a lab one is the learner's: a larger one is more so."""
    in_theirs = folder_locale(notebook) == learner_locale()
    worked_in = was_worked_in(notebook)
    return worked_in, in_theirs, notebook.stat().st_mtime if worked_in else not folder_locale(notebook)


def folder_locale(notebook: Path) -> str:
    """The language of the folder in which a lab lies; "" for English."""
    above = notebook.resolve().parents[1]
    return above.name if above.parent.name == LANGUAGES else ""


def pack(lab: str, name: str, notebook: Path | bytes, folder: Path, to: Path) -> Handed:
    """Writes the zip into `to`, and reads it back as a teacher's computer does. HandInError if that cannot use it.

    notebook: the file, or its content where it is not on the disk; folder: where artifacts/ and own data lie.
    """
    lab = full_name(lab)
    if isinstance(notebook, Path) and not notebook.is_file():
        raise HandInError(say("{file} is not there: save the notebook under this name", file=notebook.resolve()))
    content = notebook if isinstance(notebook, bytes) else notebook.read_bytes()
    files = {f"{lab}.ipynb": content, **beside(folder, lab)}
    to.mkdir(parents=True, exist_ok=True)
    path = to / f"{safe_id(name)}-{lab.partition('_')[0]}.zip"
    root = find_root()
    release, others = (read_release(root, lab), translated_releases(root, lab)) if root else (None, [])
    with replacing(path) as target:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for inside, data in files.items():
                archive.writestr(inside, data)
        target.flush()
        submission = read_submission({path.name: Path(target.name)}, lab, name, release=release, others=others)
        if submission.refused:
            raise HandInError(translate_message(submission.refused, catalogs_of(lab)))
    told = Handed(path, list(files), notes=[translate_message(note, catalogs_of(lab)) for note in submission.notes],
                  notebook=notebook if isinstance(notebook, Path) else None)  # fmt: skip
    if release is not None:
        tell_missing(told, root, lab, submission)
    with speaking(told.locale):
        told.missing += not_saved(lab, notebook) if isinstance(notebook, Path) else []
    return told


def tell_missing(told: Handed, root: Path, lab: str, submission: Submission) -> None:
    """Notes what a teacher would miss, in the language of the notebook: the one in which it is graded too."""
    submitted = nbformat.reads(submission.notebook.decode(), as_version=4)
    every = {locale: read_release(root, lab, locale) for locale in release_locales(root, lab)}
    found = language_of(submitted, every) or ""
    told.locale = found or None  # below an English one the learner may have asked for another language
    with speaking(told.locale):
        told.missing += missing(every.pop(found), submitted, every.values())
        told.missing += missing_artifact(root, lab, submission.files, told.notes)


def beside(folder: Path, lab: str) -> dict[str, bytes]:
    """The artifacts, and the learner's own data, by their names in the zip."""
    found = [path for path in sorted((folder / ARTIFACTS).glob("*")) if path.suffix.lower() in ARTIFACT_KINDS]
    found += [path for path in sorted(folder.glob("*")) if path.suffix.lower() in DATA_KINDS]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if path.is_file()}


def missing(release: NotebookNode, submitted: NotebookNode, others: Collection[NotebookNode] = ()) -> list[str]:
    """The answers that are still as they were given out, by the heading of their exercise.

    others: the release in other languages.
    """
    made, _ = rebuild(release, submitted, others)
    given, heads = {cell.id: cell.source for cell in release.cells}, headings(release)
    return [say(NO_ANSWER, exercise=heads[cell.id]) for cell in made.cells
            if is_answer(cell) and same_answer(cell.source, given[cell.id])]  # fmt: skip


def headings(release: NotebookNode) -> dict[str, str]:
    """{cell id: the heading above it}; the id itself where there is none."""
    found, head = {}, ""
    for cell in release.cells:
        if cell.cell_type == "markdown" and (words := HEADING.findall(cell.source)):
            head = words[-1][1]
        found[cell.id] = head or f"`{cell.id}`"
    return found


def missing_artifact(root: Path, lab: str, files: dict[str, bytes], notes: list[str]) -> list[str]:
    """Whether a saved file that the lab's checks read is there; notes at which scale it was made."""
    wanted = sorted(set(ARTIFACT.findall(lab_file(root, lab, "checks.py").read_text(encoding="utf-8"))))
    there = [name for name in wanted if f"{ARTIFACTS}/{name}" in files]
    for name in there:
        made_at = scale_of(name, files[f"{ARTIFACTS}/{name}"])
        notes.append(say(MADE_AT, file=name, scale=made_at) if made_at else say(IS_THERE, file=name))
    if there or not wanted:
        return []
    tiny = sorted(name for name in files if "-tiny." in name)
    lacking = " / ".join(f"{ARTIFACTS}/{name}" for name in wanted)
    return [say(ONLY_TINY, files=lacking, tiny=", ".join(tiny)) if tiny else say(NO_FILE, files=lacking)]


def scale_of(name: str, content: bytes) -> str:
    """The scale in the card of an artifact; "" where it has none."""
    from leaplm.artifacts import read_artifact

    try:
        card: Any = read_artifact(content)[0] if name.endswith(".safetensors") else json.loads(content)
    except ValueError:
        return ""
    return str(card.get("scale", "")) if isinstance(card, dict) else ""


def not_saved(lab: str, notebook: Path) -> list[str]:
    """Whether cells were run after the file was saved last, in whatever language, as far as the progress tells."""
    every = [folder / f"{lab}.ipynb" for folder in lab_folders(labs_folder(notebook.parent)) if folder.name == lab]
    when = progress.saved_too_early(lab, [notebook, *(path for path in every if path.is_file())])
    return [say(NOT_YET_SAVED, time=when)] if when else []


def run(lab: str, name: str, folder: Path, to: Path, tell: Callable[[str], None] = print) -> int:
    """The command `leaplm hand-in`. Returns 0 if the zip was written, whatever it lacks; 1 if there is nothing to write."""
    try:
        notebook = find_notebook(full_name(lab), folder)
        tell(pack(lab, name, notebook, notebook.parent, to).report())
    except (ValueError, OSError) as problem:
        tell(f"leaplm hand-in: {say_problem(problem)}")
        return 1
    return 0
