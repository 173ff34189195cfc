"""Whose is what in a folder of submissions: the layouts of learning platforms and of instructors' own folders.

* **Moodle** and **Canvas**: see `platforms`. A group's work goes to each member whom the students' list names.
* **Google Classroom** has no export: one downloads the assignment's Drive folder. Copies that Classroom makes for each
  student are called `<student> - <title>`, files uploaded through a Google form `<title> - <student>`; files that
  students attach themselves keep their names, so they need a folder for each student.

The zips of Moodle and Canvas hold no times of handing in: both write the time of the download.

* **Your own**: a folder, a zip or a notebook for each student, named by the student's id or name.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from leaplm.grading.intake.ingest import DOWNLOADED_AGAIN, modified
from leaplm.grading.intake.people import Person, fold
from leaplm.grading.intake.platforms import (
    CANVAS,
    CANVAS_TEXT,
    MOODLE,
    canvas_person,
    members,
    moodle_people,
    of_a_platform,
)
from leaplm.grading.intake.roster import Roster
from leaplm.grading.intake.uploads import CLUTTER, OTHER_ARCHIVES
from leaplm.grading.intake.zip_entries import readable

CANVAS_AGAIN = re.compile(r"-\d+(?=\.\w+$)")
HANDED_IN = (".zip", ".ipynb", *OTHER_ARCHIVES)
COPY_WORDS = re.compile(r"^(copy of|kopie van|copie de|copia de) ", re.IGNORECASE)


@dataclass
class Incoming:
    """One upload: whose it is, the files, what they are called in the source, and when they were received."""

    person: Person
    source: Path | dict[str, Path]  # a folder or file, or single files by their own names
    entries: list[str]
    received: str
    notes: list[str] = field(default_factory=list)


@dataclass
class Sorted:
    """What a source holds. Every entry is in exactly one of the three."""

    uploads: list[Incoming] = field(default_factory=list)
    nobodys: list[str] = field(default_factory=list)  # work of which the name does not say whose it is
    aside: list[str] = field(default_factory=list)  # files that are no submissions

    @property
    def entries(self) -> int:
        theirs = {entry for upload in self.uploads for entry in upload.entries}  # members of a group share them
        return len(theirs) + len(self.nobodys) + len(self.aside)


@dataclass(frozen=True)
class Item:
    """A file or folder of the source, with its name as a text that can be read, compared and written."""

    path: Path
    name: str

    def is_folder(self) -> bool:
        return self.path.is_dir() and not self.path.is_symlink()


def sort_out(folder: Path, lab: str, roster: Roster | None = None) -> Sorted:
    """Whose is what in a folder; see the module's text.

    >>> sort_out(Path("export"), "lab2_finetuning").uploads[0].person  # doctest: +SKIP
    Person(name='Aisha Bello', platform='moodle', number='12345')
    """
    roster = roster or Roster()
    items = [Item(path, readable(path.name, roster.mentions)) for path in list_items(descend(folder, lab))]
    titles = find_titles([item for item in items if not of_a_platform(item.name)], lab, roster)
    moodle = moodle_people((item.name for item in items), roster)
    found, flat = Sorted(), {}
    for item in items:
        if item.name in moodle:
            _add_moodle(found, flat, item, moodle[item.name])
        elif item.path.is_file() and (match := CANVAS.fullmatch(item.name) or CANVAS_TEXT.fullmatch(item.name)):
            _add_canvas(found, flat, item, match)
        elif not item.path.is_symlink() and not item.path.is_dir() and not _is_work(item.name):
            found.aside.append(item.name)
        elif name := titles.get(item.name):
            source = item.path / lab if item.is_folder() and (item.path / lab).is_dir() else item.path
            found.uploads.append(Incoming(Person(name), source, [item.name], modified(source)))
        else:
            found.nobodys.append(item.name)
    found.uploads = [each for upload in [*found.uploads, *flat.values()] for each in _for_members(upload, roster)]
    return found


def _for_members(upload: Incoming, roster: Roster) -> list[Incoming]:
    """An upload for each who handed it in: a group's work is that of each member."""
    people = members(upload.person, roster)
    notes = [f"Handed in by the group `{upload.person.name}`."] if people != [upload.person] else []
    return [replace(upload, person=person, notes=upload.notes + notes) for person in people]


def list_items(folder: Path) -> list[Path]:
    """What lies in a folder, in order, without what systems and editors leave there."""
    names = sorted(os.listdir(folder))
    return [folder / name for name in names if not name.startswith(".") and name.lower() not in CLUTTER]


def descend(folder: Path, lab: str) -> Path:
    """Goes into a folder that only wraps the class, as zips often have; not into a student's."""
    while len(items := list_items(folder)) == 1 and items[0].is_dir() and not items[0].is_symlink():
        if of_a_platform(items[0].name) or not _is_wrapper(list_items(items[0]), lab):
            break
        folder = items[0]
    return folder


def _is_wrapper(inner: list[Path], lab: str) -> bool:
    """Whether these are a class's submissions and not one student's files: folders, or several works named by student."""
    if not inner or any(fold(item.name) in ("artifacts", fold(lab)) for item in inner):
        return False
    files = [item for item in inner if not item.is_dir()]
    if any(of_a_platform(item.name) for item in inner):
        return True
    return not files or (len(inner) > 1 and all(_is_work(item.name) and without_lab(stem(item), lab) for item in files))


def find_titles(items: list[Item], lab: str, roster: Roster) -> dict[str, str]:
    """The student's name in the name of each item: without the lab's name, the title and what browsers add."""
    stems = {item.name: stem(item) for item in items}
    halves = [
        half for text in stems.values() if " - " in text for half in (text.split(" - ", 1)[0], text.rsplit(" - ", 1)[1])
    ]
    often = Counter(fold(half) for half in halves)
    return {name: _student_in(text, lab, often, roster) for name, text in stems.items()}


def stem(item: Path | Item) -> str:
    """The name without extension, and without the number or words that a copy gets."""
    path = item.path if isinstance(item, Item) else item
    name = DOWNLOADED_AGAIN.sub("", item.name) if path.is_file() else item.name
    for _ in range(2):  # .ipynb.zip, .tar.gz
        base, kind = os.path.splitext(name)
        name = base if kind.lower() in (".zip", ".ipynb", ".txt", ".json", ".tar", *OTHER_ARCHIVES) else name
    return COPY_WORDS.sub("", name).strip()


def _student_in(text: str, lab: str, often: Counter, roster: Roster) -> str:
    if " - " in text:
        first, last = text.split(" - ", 1), text.rsplit(" - ", 1)
        ways = [(first[0], first[1]), (last[1], last[0])]  # (student, title): Classroom's way, then the forms' way
        ways.sort(key=lambda way: (roster.find(Person(way[0])) is None, not _is_title(way[1], lab), often[fold(way[0])]))
        return without_lab(ways[0][0], lab)
    return text if roster.find(Person(text)) else without_lab(text, lab)


def _is_title(text: str, lab: str) -> bool:
    return fold(lab.partition("_")[0]) in fold(text)


def without_lab(text: str, lab: str) -> str:
    """A name without the lab's at its beginning or end: "lab2_finetuning_aisha" -> "aisha"."""
    for words in (lab, lab.partition("_")[0]):
        sign = r"[\s_.\-]"
        text = re.sub(rf"^{re.escape(words)}(?:{sign}+|$)|(?:{sign}+|^){re.escape(words)}$", "", text, flags=re.IGNORECASE)
    return text.strip(" _.-")


def _add_moodle(found: Sorted, flat: dict, item: Item, person: Person) -> None:
    """A folder is an upload; single files of one person are one upload together."""
    match = MOODLE.fullmatch(item.name)
    if match["kind"] != "file":
        found.aside.append(item.name)
    elif item.path.is_dir():
        found.uploads.append(Incoming(person, item.path, [item.name], modified(item.path)))
    else:
        _add_flat(flat, person, item, match["file"] or item.name)


def _add_canvas(found: Sorted, flat: dict, item: Item, match: re.Match) -> None:
    person = canvas_person(match)
    if "file" not in match.groupdict():
        found.aside.append(item.name)
        return
    name = CANVAS_AGAIN.sub("", match["file"])
    upload = _add_flat(flat, person, item, name if name not in _names(flat, person) else match["file"])
    if match["late"] and "Canvas marked it as late." not in upload.notes:
        upload.notes.append("Canvas marked it as late.")


def _names(flat: dict, person: Person) -> dict[str, Path]:
    return flat[person.key].source if person.key in flat else {}


def _add_flat(flat: dict, person: Person, item: Item, name: str) -> Incoming:
    upload = flat.setdefault(person.key, Incoming(person, {}, [], ""))
    while name in upload.source:
        name = f"again-{name}"
    upload.source[name] = item.path
    upload.entries.append(item.name)
    upload.received = max(upload.received, modified(item.path))
    return upload


def _is_work(name: str) -> bool:
    return name.lower().endswith(HANDED_IN) or ".ipynb" in name.lower()
