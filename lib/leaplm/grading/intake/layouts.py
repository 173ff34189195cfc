"""Whose is what in a folder of submissions: the layouts of learning platforms and of instructors' own folders.

* **Moodle**, "Download all submissions" (mod/assign/classes/downloader.php): `<full name>_<number>_assignsubmission_file/`
  with the files in it, or flat `<full name>_<number>_assignsubmission_file_<file name>`; text typed on the page is in
  `..._assignsubmission_onlinetext/`. The number is that of the grading worksheet ("Participant <number>") and belongs
  to one assignment.
* **Canvas**, "Download submissions" (lib/content_zipper.rb): flat `<name>_[LATE_]<user id>_<file id>_<file name>`, the
  name in lower case and without spaces, last name first; anonymous: `[LATE_]anon_<id>_<file id>_<file name>`. A file
  handed in again under its old name gets -1, -2.
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
from dataclasses import dataclass, field
from pathlib import Path

from leaplm.grading.intake.ingest import DOWNLOADED_AGAIN, modified
from leaplm.grading.intake.roster import Person, Roster, fold
from leaplm.grading.intake.uploads import CLUTTER, OTHER_ARCHIVES

MOODLE = re.compile(r"(?P<name>.+)_(?P<number>\d+)_assignsubmission_(?P<kind>[a-z]+)_?(?P<file>.*)")
CANVAS = re.compile(r"(?:(?P<name>.+?)_)??(?P<late>LATE_)?(?P<number>\d+|anon_[A-Za-z0-9]+)_(?P<file_id>\d+)_(?P<file>.+)")
CANVAS_TEXT = re.compile(r"(?:(?P<name>.+?)_)??(?P<late>LATE_)?(?P<number>\d+|anon_[A-Za-z0-9]+)_(?:text|link)\.html")
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
        return sum(len(upload.entries) for upload in self.uploads) + len(self.nobodys) + len(self.aside)


def sort_out(folder: Path, lab: str, roster: Roster | None = None) -> Sorted:
    """Whose is what in a folder; see the module's text.

    >>> sort_out(Path("export"), "lab2_finetuning").uploads[0].person
    Person(name='Aisha Bello', platform='moodle', number='12345')
    """
    items = list_items(descend(folder, lab))
    titles = find_titles([item for item in items if not of_a_platform(item.name)], lab, roster or Roster())
    found, flat = Sorted(), {}
    for item in items:
        if match := MOODLE.fullmatch(item.name):
            _add_moodle(found, flat, item, match)
        elif item.is_file() and (match := CANVAS.fullmatch(item.name) or CANVAS_TEXT.fullmatch(item.name)):
            _add_canvas(found, flat, item, match)
        elif not item.is_symlink() and not item.is_dir() and not _is_work(item.name):
            found.aside.append(item.name)
        elif name := titles.get(item.name):
            source = item / lab if (item / lab).is_dir() and not item.is_symlink() else item
            found.uploads.append(Incoming(Person(name), source, [item.name], modified(item)))
        else:
            found.nobodys.append(item.name)
    found.uploads += flat.values()
    return found


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


def of_a_platform(name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in (MOODLE, CANVAS, CANVAS_TEXT))


def find_titles(items: list[Path], lab: str, roster: Roster) -> dict[str, str]:
    """The student's name in the name of each item: without the lab's name, the title and what browsers add."""
    stems = {item.name: stem(item) for item in items}
    halves = [
        half for text in stems.values() if " - " in text for half in (text.split(" - ", 1)[0], text.rsplit(" - ", 1)[1])
    ]
    often = Counter(fold(half) for half in halves)
    return {name: _student_in(text, lab, often, roster) for name, text in stems.items()}


def stem(item: Path) -> str:
    """The name without extension, and without the number or words that a copy gets."""
    name = DOWNLOADED_AGAIN.sub("", item.name) if item.is_file() else item.name
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


def _add_moodle(found: Sorted, flat: dict, item: Path, match: re.Match) -> None:
    """A folder is an upload; single files of one person are one upload together."""
    person = Person(match["name"].strip(), "moodle", match["number"])
    if match["kind"] != "file":
        found.aside.append(item.name)
    elif item.is_dir():
        found.uploads.append(Incoming(person, item, [item.name], modified(item)))
    else:
        _add_flat(flat, person, item, match["file"] or item.name)


def _add_canvas(found: Sorted, flat: dict, item: Path, match: re.Match) -> None:
    person = Person(match["name"] or match["number"], "canvas", match["number"])
    if "file" not in match.groupdict():
        found.aside.append(item.name)
        return
    name = CANVAS_AGAIN.sub("", match["file"])
    upload = _add_flat(flat, person, item, name if name not in _names(flat, person) else match["file"])
    if match["late"] and "Canvas marked it as late." not in upload.notes:
        upload.notes.append("Canvas marked it as late.")


def _names(flat: dict, person: Person) -> dict[str, Path]:
    return flat[person.key].source if person.key in flat else {}


def _add_flat(flat: dict, person: Person, item: Path, name: str) -> Incoming:
    upload = flat.setdefault(person.key, Incoming(person, {}, [], ""))
    while name in upload.source:
        name = f"again-{name}"
    upload.source[name] = item
    upload.entries.append(item.name)
    upload.received = max(upload.received, modified(item))
    return upload


def _is_work(name: str) -> bool:
    return name.lower().endswith(HANDED_IN) or ".ipynb" in name.lower()
