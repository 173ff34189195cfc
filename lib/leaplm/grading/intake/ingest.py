"""Reads what one student handed in, without running anything: a folder, a zip, or a bare notebook -> Submission.

    submission = read_submission(Path("aisha.zip"), "lab2_finetuning", "aisha")
    submission.refused or submission.digest

Whatever is in it, there is a Submission: when nothing can be graded, `refused` says why in a sentence the student can
act on; when something was left out or mended, `notes` say it. Of the files only these are kept:

* the lab's notebook, found by its name, else as the only one, else by its content, cut down to its texts;
* artifacts (.safetensors, .json, .csv, .txt), from artifacts/ or wherever else they were put by mistake;
* the student's own data (.csv, .txt) beside the notebook.

No Python file, library or hidden file is kept, so none can shadow a module when the notebook runs.
"""

from __future__ import annotations

import json
import os
import re
import time
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from leaplm.grading.assignment import Assignment
from leaplm.grading.given import Given
from leaplm.grading.intake.clean_notebook import MAX_NOTEBOOK_BYTES, TOO_LARGE, clean_notebook
from leaplm.grading.intake.uploads import STUDENT, Entry, Refused, Upload, is_clutter, show
from leaplm.grading.submission import ARTIFACTS, NOTE, Submission
from leaplm.grading.texts import plain

ARTIFACT_KINDS = (".safetensors", ".json", ".csv", ".txt")
DATA_KINDS = (".csv", ".txt")
OURS = {"timestamp.txt"}  # names that nbgrader believes; written on the instructor's side only
MAX_FILES = 40
MAX_NOTEBOOKS = 12  # looked into to find the lab's
MAX_ID = 120
MOST_NAMED = 3  # of files with the same fault
DAY = 86_400  # s
MAX_ID_BYTES = 200  # a name on a disk has 255, of which receipts need some
DOWNLOADED_AGAIN = re.compile(r" ?\(\d+\)(?=\.\w+$)")  # what browsers add: "lab2 (1).ipynb"
OF_WINDOWS = r"(con|prn|aux|nul|com\d|lpt\d) *(\.|$)"  # no names for files there, with any ending
FILE_NAME = re.compile(r"[\w(][\w .,()+=@-]*")


@dataclass(frozen=True)
class Candidate:
    """A notebook of an upload that could be the lab's, or why it cannot be used."""

    entry: Entry
    notebook: bytes = b""
    notes: tuple[str, ...] = ()
    refused: str | None = None


def read_submission(
    path: str | os.PathLike | Mapping[str, Path],
    lab: str,
    student: str,
    received: str | None = None,
    release: NotebookNode | None = None,
    assignment: Assignment | None = None,
    others: Sequence[Path] = (),
) -> Submission:
    """Reads a folder, a .zip, an .ipynb, or single files {name: path}. Nothing that a student does raises.

    With the lab's `release`, and the files of it in `others` languages, a notebook of any name is recognised by its content;
    with another `assignment`, by its name, and then every file is kept in its place. FileNotFoundError without any file.
    """
    received = received or max(modified(file) for file in (path.values() if isinstance(path, Mapping) else [path]))
    student = safe_id(student)
    upload = Upload(path)
    try:
        with upload:
            if assignment and assignment.plain:
                return _read_plain(upload, assignment, student, received)
            chosen = choose_notebook(upload, lab, release, others=others)
            files = read_files(upload, chosen.entry)
            odd = [show(entry.name) for entry in upload.entries if not is_possible(entry.modified)][:MOST_NAMED]
            dates = (f"`{name}` has a date that cannot be, which does not count as the time of handing in." for name in odd)
            notes = (*chosen.notes, *upload.notes, *dates)
            return Submission(lab, student, chosen.notebook, files, received, notes, None)
    except Refused as refusal:
        said = str(refusal)
    except Exception as error:  # any: what a student hands in must never stop a class
        said = f"What was handed in cannot be read ({type(error).__name__}): make a new zip of the folder and hand that in."
    title = assignment.notebook if assignment and assignment.plain else ""
    return Submission(lab, student, None, {}, received, tuple(upload.notes), said, title)


def _read_plain(upload: Upload, assignment: Assignment, student: str, received: str | None) -> Submission:
    """A submission of an assignment that is none of our labs: its notebook by name, and all files below its folder."""
    entries = [entry for entry in upload.entries if _title(entry) not in assignment.siblings]
    if not any(".ipynb" in entry.base.lower() for entry in entries):
        raise Refused(f"There is no notebook `{assignment.notebook}.ipynb`: hand in again with it.")
    named = [entry for entry in entries if entry.name == f"{assignment.notebook}.ipynb"]
    others = [entry for entry in upload.entries if ".ipynb" not in entry.base.lower()]
    upload.entries = (named or [entry for entry in entries if entry not in others]) + others
    chosen = choose_notebook(upload, assignment.notebook, assignment.read(), with_kernel=True)
    files, start = {}, f"{chosen.entry.folder}/".lstrip("/")
    for entry in others:
        name = entry.name.removeprefix(start)
        if entry.base.lower() in OURS or not entry.name.startswith(start) or name.partition("/")[0].endswith(NOTE):
            continue
        try:
            files[name] = upload.read(entry)
        except Refused as refusal:
            upload.note(f"A file was left out. {refusal}")
    notes = (*chosen.notes, *upload.notes)
    return Submission(assignment.name, student, chosen.notebook, files, received, notes, None, assignment.notebook)


def _title(entry: Entry) -> str:
    return entry.base.removesuffix(".ipynb")


def choose_notebook(
    upload: Upload, lab: str, release: NotebookNode | None = None, with_kernel: bool = False, others: Sequence[Path] = (),
) -> Candidate:  # fmt: skip
    """The lab's notebook among the files. Refused if there is none that can be used."""
    entries = [entry for entry in upload.entries if ".ipynb" in entry.base.lower()]
    if not entries:
        raise Refused(_no_notebook(upload))
    entries.sort(key=lambda entry: (_plain_name(entry) != f"{lab}.ipynb".lower(), entry.name.count("/"), entry.name))
    candidates = [_look_into(upload, entry, with_kernel) for entry in entries[:MAX_NOTEBOOKS]]
    usable = _different([found for found in candidates if not found.refused])
    if not usable:
        raise Refused(candidates[0].refused)
    for found in candidates:
        if found.refused:
            upload.note(f"The notebook `{found.entry.name}` cannot be used. {found.refused}")
    return usable[0] if len(usable) == 1 else _choose_among(usable, upload, lab, release, others)


def _choose_among(
    usable: list[Candidate], upload: Upload, lab: str, release: NotebookNode | None, others: Sequence[Path],
) -> Candidate:  # fmt: skip
    """Of several notebooks the one most worked on of those that are this lab's; a person is told of the others."""

    translated = [nbformat.read(path, as_version=4) for path in others]

    def merits(found: Candidate) -> tuple:
        ours, answered = belonging(found.notebook, release, translated)
        named = _plain_name(found.entry) == f"{lab}.ipynb".lower()
        return (bool(answered), named, ours, answered, -found.entry.name.count("/"))

    best = max(usable, key=merits)  # of equals the first, in the order of names
    others = ", ".join(f"`{found.entry.name}`" for found in usable if found is not best)
    upload.note(f"There are several notebooks: `{best.entry.name}` was graded, not {others}. Please look at them.")
    return best


def belonging(notebook: bytes, release: NotebookNode | None, others: Collection[NotebookNode] = ()) -> tuple[int, int]:
    """How many cells of a notebook are known to belong to the release, and how many of these were worked on.

    others: the release in other languages; a cell of theirs is not worked on either. Without a release, cells with
    nbgrader's marks count, and none is taken as worked on.
    """
    cells = json.loads(notebook)["cells"]
    if release is None:
        return sum("nbgrader" in cell["metadata"] for cell in cells), 0
    names = {cell.metadata.nbgrader.grade_id: cell for cell in release.cells if "nbgrader" in cell.metadata}
    ids = {cell.id: cell for cell in release.cells}
    given = Given([release, *others])
    texts = set().union(*given.texts.values()) - {""}
    found = [
        (cell, names.get(cell["metadata"].get("nbgrader", {}).get("grade_id")) or ids.get(cell["id"])) for cell in cells
    ]
    ours = sum(mine is not None or plain(cell["source"]) in texts for cell, mine in found)
    answers = [(cell, mine) for cell, mine in found if mine and mine.metadata.get("nbgrader", {}).get("solution")]
    changed = sum(not given.is_untouched(mine, cell["source"]) for cell, mine in answers)
    return ours, changed or (0 if answers else sum(plain(cell["source"]) not in texts | {""} for cell in cells))


def read_files(upload: Upload, notebook: Entry) -> dict[str, bytes]:
    """The artifacts and the student's data by the name they get beside the notebook."""
    places: dict[str, list[Entry]] = {}
    for entry in upload.entries:
        if name := _kept_as(entry, notebook, upload):
            places.setdefault(name, []).append(entry)
    files: dict[str, bytes] = {}
    for name, entries in sorted(places.items()):
        if len(files) == MAX_FILES:
            upload.note(f"Of the files only the first {MAX_FILES} were kept.")
            break
        entries.sort(key=lambda entry: _nearness(entry, notebook))
        try:
            files[name] = upload.read(entries[0])
        except Refused as refusal:
            upload.note(f"A file was left out. {refusal}")
        if len(entries) > 1:
            others = ", ".join(f"`{entry.name}`" for entry in entries[1:])
            upload.note(f"`{name}` is there {len(entries)} times: `{entries[0].name}` was used, not {others}.")
    return _without_numbers(files, upload)


def _kept_as(entry: Entry, notebook: Entry, upload: Upload) -> str | None:
    """The name under which a file is kept, None (and a note where it may matter) if it is not."""
    base, kind = entry.base, os.path.splitext(entry.base.lower())[1]
    if ".ipynb" in base.lower():
        return None
    if base.lower() in OURS:
        upload.note(f"`{entry.name}` was left out: the time of receipt is not taken from a file that was handed in.")
        return None
    if kind in ARTIFACT_KINDS and FILE_NAME.fullmatch(base):
        in_artifacts = entry.folder.lower().split("/")[-1] == ARTIFACTS
        if in_artifacts or kind not in DATA_KINDS:
            return f"{ARTIFACTS}/{base}"
        if entry.folder == notebook.folder:
            return base
    upload.note(f"`{show(entry.name)}` was left out: it is no part of this lab.")
    return None


def _nearness(entry: Entry, notebook: Entry) -> tuple:
    """Sorts files of one name: first artifacts/ beside the notebook, then any artifacts/, then beside the notebook."""
    place = f"{notebook.folder}/{ARTIFACTS}".strip("/").lower()
    in_artifacts = entry.folder.lower().split("/")[-1] == ARTIFACTS
    return (entry.folder.lower() != place, not in_artifacts, entry.folder != notebook.folder, entry.name)


def _without_numbers(files: dict[str, bytes], upload: Upload) -> dict[str, bytes]:
    """Takes off the number that a browser adds to a file downloaded again, where the plain name is free."""
    named = dict(files)
    for name in sorted(files):
        plain = DOWNLOADED_AGAIN.sub("", name)
        if plain == name:
            continue
        if plain not in named:
            named[plain] = named.pop(name)
            upload.note(f"`{name}` was taken for `{plain}`.")
        elif named[plain] != named[name]:
            upload.note(f"`{name}` and `{plain}` differ: `{plain}` was used. Please look at them.")
    return named


def _look_into(upload: Upload, entry: Entry, with_kernel: bool = False) -> Candidate:
    try:
        if entry.size > MAX_NOTEBOOK_BYTES:
            raise Refused(TOO_LARGE)
        notebook, notes = clean_notebook(upload.read(entry, MAX_NOTEBOOK_BYTES), with_kernel)
    except Refused as refusal:
        return Candidate(entry, refused=str(refusal))
    return Candidate(entry, notebook, tuple(notes[:10]))


def _different(candidates: list[Candidate]) -> list[Candidate]:
    """Without those that hold the same work as one before."""
    return list({_work_in(found.notebook): found for found in reversed(candidates)}.values())[::-1]


def _work_in(notebook: bytes) -> tuple[tuple[str, str], ...]:
    """What two saves of one work have in common, whatever the editors were."""
    return tuple((cell["cell_type"], plain(cell["source"])) for cell in json.loads(notebook)["cells"])


def _plain_name(entry: Entry) -> str:
    return DOWNLOADED_AGAIN.sub("", entry.base).lower()


def _no_notebook(upload: Upload) -> str:
    names = ", ".join(f"`{show(entry.base, 40)}`" for entry in upload.entries[:5]) or "nothing that can be used"
    return f"There is no notebook (a file that ends in .ipynb) in what was handed in, but {names}: hand in the notebook."


def safe_id(student: str) -> str:
    """A student's id that is a folder name everywhere: one path part, without control characters, at most 120 characters.

    Characters with a meaning in nbgrader's patterns of file names are replaced too.

    >>> safe_id("../a/b*")
    '_a_b_'
    """
    text = unicodedata.normalize("NFC", student.encode("utf-8", "replace").decode())
    text = "".join("_" if unicodedata.category(char)[0] in "CZ" and char != " " else char for char in text)
    text = re.sub(r'[/\\:*?"<>|\[\]{},+$%!]', "_", text).strip().lstrip(".-").rstrip(". ")
    text = re.sub(rf"^{OF_WINDOWS}", r"\1_\2", text, flags=re.IGNORECASE)
    text = text[:MAX_ID].encode()[:MAX_ID_BYTES].decode(errors="ignore")
    return text.rstrip(". ") or "unnamed"


def modified(path: str | os.PathLike) -> str:
    """When a file was last changed, or the newest file in a folder, as ISO 8601 in UTC.

    A folder's own time is that of unpacking or copying it, and says nothing of the work in it. Nor does a time to come;
    where there is no other, it is now.
    """
    times = [os.lstat(path).st_mtime] if not os.path.isdir(path) or os.path.islink(path) else list(_times_in(path))
    newest = max(filter(is_possible, times or [os.lstat(path).st_mtime]), default=time.time())
    return datetime.fromtimestamp(int(newest), UTC).isoformat()


def is_possible(seconds: float) -> bool:
    """Whether work that is here may have been changed then; clocks and time zones differ by a day.

    >>> is_possible(datetime(2026, 3, 1).timestamp()), is_possible(1.1e12)
    (True, False)
    """
    return 0 <= seconds < time.time() + DAY


def _times_in(folder: str | os.PathLike) -> Iterator[float]:
    """The times of the files in a folder that may be part of the work, of so many as an upload may have."""
    left = STUDENT.entries
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_clutter(name)]
        files = [name for name in names if not is_clutter(name)][:left]
        left -= len(files)
        for name in files:
            yield os.lstat(os.path.join(place, name)).st_mtime
        if not left:
            return
