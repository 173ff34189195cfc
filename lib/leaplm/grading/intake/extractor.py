"""nbgrader's own ways in, made safe: its zip_collect, and folders that something else put into submitted/.

    c.ZipCollectApp.extractor_plugin = "leaplm.grading.intake.extractor.SafeExtractor"

nbgrader unpacks archives inside archives without end or limit, honours their rights, and stops for the whole class at a
file that is there twice; its autograde follows links, waits for pipes, and stops at a bad timestamp.txt. `SafeExtractor`
reads each student's upload as `ingest` does; `sweep` takes out of a submitted folder what nbgrader would stumble over.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbgrader.plugins import ExtractorPlugin
from nbgrader.utils import parse_utc

from leaplm.grading.course import translated_releases
from leaplm.grading.intake.collect import EMPTY, fill
from leaplm.grading.intake.ingest import modified, read_submission, safe_id
from leaplm.grading.intake.receipts import WORK, Receipt, write_receipt
from leaplm.grading.intake.uploads import STUDENT, is_clutter, is_foreign, open_regular, show
from leaplm.grading.intake.zip_entries import readable
from leaplm.grading.submission import NOTE

IGNORED = {".ipynb_checkpoints", "__pycache__"}  # that nbgrader does not copy; see nbgrader_config.py
KINDS = re.compile(r"\.(zip|ipynb|tar\.gz|gz|tgz|tar|rar|7z)$", re.IGNORECASE)


class SafeExtractor(ExtractorPlugin):
    """Reads archive/<student>.zip (or .ipynb, or a folder) into extracted/<student>/ for `nbgrader zip_collect`.

    Of several uploads of one student the newest counts. One that cannot be used becomes an empty notebook with a receipt
    that says why; nobody else's is touched by it.
    """

    def extract(self, archive_path: str, extracted_path: str) -> None:
        course = self.parent.coursedir
        lab = course.assignment_id
        path = Path(course.format_path(course.release_directory, ".", lab), f"{lab}.ipynb")
        release = nbformat.read(path, as_version=4) if path.is_file() else None
        for student, items in self._by_student(Path(archive_path)).items():
            newest = max(items, key=lambda item: (modified(item), item.name))
            for item in items:
                if item != newest:
                    self.log.warning("%s: `%s` was not used, `%s` is newer", student, show(item.name), show(newest.name))
            submission = read_submission(newest, lab, student, release=release,
                                         others=translated_releases(Path(course.root), lab))  # fmt: skip
            for said in (*submission.notes, *filter(None, [submission.refused])):
                self.log.warning("%s: %s", student, show(said, 400))
            self._write(submission, Path(extracted_path) / student, [newest.name], Path(course.root))

    def _by_student(self, folder: Path) -> dict[str, list[Path]]:
        """The uploads of each student. Names that differ are different students, also where their ids would not differ."""
        named = defaultdict(list)
        for name in sorted(os.listdir(folder)):
            if not name.startswith("."):
                named[KINDS.sub("", readable(name))].append(folder / name)
        rivals = defaultdict(list)
        for name in named:
            rivals[safe_id(name).casefold()].append(name)
        found = {}
        for name, items in named.items():
            own, others = safe_id(name), rivals[safe_id(name).casefold()]
            if len(others) > 1:
                own = safe_id(f"{own[:40]}_{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:12]}")
                self.log.warning("Several students would have one id: %s; `%s` got `%s`. Rename all but one.",
                                 ", ".join(f"`{show(other)}`" for other in others), show(name), own)  # fmt: skip
            found[own] = items
        return found

    def _write(self, submission, folder: Path, entries: list[str], course: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fill(folder, submission)
        digest = read_submission(folder, submission.lab, submission.student).digest
        notes = list(submission.notes)
        person = {"name": submission.student, "platform": "", "number": ""}
        write_receipt(course, Receipt(submission.lab, submission.student, digest, submission.received, entries, person,
                                      notes, submission.refused))  # fmt: skip


def sweep(folder: Path, lab: bool = True, ours: Iterable[str] = ()) -> list[str]:
    """Makes a student's submitted folder safe for nbgrader's copying; returns what was done, in words.

    Links, pipes, devices and files above the limits move to .nbgrader-work/quarantine/. In place of a lab's notebook of
    that kind, and of none at all, stands an empty one, so that the student still gets a verdict. A timestamp.txt that
    nbgrader could not read is put aside too, and a folder that has the name of a file of ours (`ours`), or a file that of
    a folder.

    >>> sweep(Path(".nbgrader-work/submitted/aisha/lab2_finetuning"))  # doctest: +SKIP
    []
    """
    folder = Path(folder)
    said: list[str] = []
    if folder.is_symlink() or not folder.is_dir():
        if os.path.lexists(folder):
            said.append(_quarantine(folder, folder, "no folder"))
        folder.mkdir(parents=True)
    for path, why in sorted(_odd_files(folder)):
        said.append(_quarantine(folder, path, why))
    notebook = folder / f"{folder.name}.ipynb"
    if lab and not notebook.exists():
        said.append(_put_notebook(folder, notebook))
    stamp = folder / "timestamp.txt"
    if stamp.exists() and not _is_time(stamp):
        said.append(_quarantine(folder, stamp, "no time that nbgrader can read"))
    notes = [path for path in folder.iterdir() if path.name.endswith(NOTE)]
    said += [_quarantine(folder, path, "of a name that our own notes have") for path in sorted(notes)]
    return said + [_quarantine(folder, path, "in the way of the teacher's files") for path in _in_the_way(folder, ours)]


def _in_the_way(folder: Path, ours: Iterable[str]) -> list[Path]:
    """A student's folders where ours are files, and files where ours are folders: nbgrader's copying would end there."""
    files = {folder / name for name in ours}
    folders = {above for path in files for above in path.parents if folder in above.parents}
    return sorted([path for path in files if path.is_dir()] + [path for path in folders if path.is_file()])


def _put_notebook(folder: Path, notebook: Path) -> str:
    """Gives the only other notebook the lab's name; puts an empty one where there is none, or no telling which."""
    others = [path for path in sorted(folder.iterdir()) if path.suffix == ".ipynb" and path.is_file()]
    if len(others) == 1:
        others[0].rename(notebook)
        return f"`{show(others[0].name)}` was renamed `{notebook.name}`."
    notebook.write_bytes(EMPTY)
    return f"There is no notebook `{notebook.name}`, and {len(others)} others: an empty one was put there."


def _odd_files(folder: Path) -> list[tuple[Path, str]]:
    """What nbgrader must not copy, with the reason; the walk follows no link, and ends at the limit of entries."""
    odd, seen, size, stack = [], 0, 0, [(folder, 0)]
    while stack:
        place, depth = stack.pop()
        for item in os.scandir(place):
            info, clutter = item.stat(follow_symlinks=False), is_clutter(item.name)
            seen += not clutter
            if seen > STUDENT.entries or depth > STUDENT.depth:
                return [(path, "part of far too many files or folders") for path in sorted(folder.iterdir())]
            if stat.S_ISDIR(info.st_mode) and not item.name.endswith(".ipynb"):
                if not clutter:
                    stack.append((Path(item.path), depth + 1))
                elif item.name not in IGNORED:
                    odd.append((Path(item.path), "hidden or a program's own, and no part of the work"))
                continue
            size += info.st_size
            if why := _why_odd(info, size, Path(place)):
                odd.append((Path(item.path), why))
    return odd


def _why_odd(info: os.stat_result, size: int, folder: Path) -> str:
    if not stat.S_ISREG(info.st_mode):
        return "no ordinary file"
    if is_foreign(info, folder):
        return "a second name of somebody else's file"
    if info.st_size > STUDENT.file_bytes or size > STUDENT.total_bytes:
        return "too large"
    return ""


def _quarantine(folder: Path, path: Path, why: str) -> str:
    """Moves a file or folder, as it is, out of nbgrader's sight."""
    base = next((parent.parent for parent in folder.parents if parent.name == "submitted"), folder.parent)
    place = (base if base.name == WORK else base / WORK) / "quarantine"
    place = place / folder.parent.name / folder.name / secrets.token_hex(4)
    place.mkdir(parents=True)
    name = path.relative_to(folder.parent)
    os.rename(path, place / path.name)
    return f"`{show(str(name))}` is {why}, and was moved to {place / show(path.name)}."


def _is_time(path: Path) -> bool:
    """Whether nbgrader can read a timestamp.txt; an empty one it ignores by itself."""
    try:
        with open_regular(path) as file:
            text = file.read(200).decode().strip()
        return not text or (len(text) < 200 and bool(parse_utc(text)))
    except (OSError, ValueError, OverflowError, TypeError):
        return False
