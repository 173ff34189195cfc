"""The students' list, and ids for students who are not in it.

The list is the CSV that `nbgrader db student import` reads, and may have one column more:

    id,first_name,last_name,email,lms_user_id,lms_name
    aisha,Aisha,Bello,aisha@example.edu.ng,4711,

`lms_user_id` is the student's number on the learning platform, `lms_name` the name there where it differs.
"""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from leaplm.grading.intake.ingest import safe_id

COLUMNS = ("id", "first_name", "last_name", "email", "lms_user_id", "lms_name")
PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")


@dataclass(frozen=True)
class Person:
    """Whoever handed something in, as the platform names them. `number` is the platform's, "" without one."""

    name: str
    platform: str = ""  # moodle, canvas, or "" for files named by the instructor
    number: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """The same for the same person: the platform's number, else the name."""
        return (self.platform, self.number) if self.number else ("", unicodedata.normalize("NFC", self.name))

    def as_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Student:
    """A row of the students' list."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""
    lms_name: str = ""

    def names(self) -> set[str]:
        """All the ways the student may be named in an export, folded."""
        first, last = self.first_name, self.last_name
        ways = {self.id, self.lms_name, self.email, self.email.partition("@")[0], f"{first} {last}", f"{last} {first}"}
        return {fold(way) for way in ways} - {""}


class RosterError(ValueError):
    """The students' list cannot be used: what is wrong in it."""


def read_roster(path: Path) -> list[Student]:
    """The students of a CSV file. RosterError for a missing column, an empty id or one that is there twice.

    >>> read_roster(Path("students.csv"))[0].id
    'aisha'
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if "id" not in (rows.fieldnames or ()):
            raise RosterError(f"{path} has no column `id`; the first line should be {','.join(COLUMNS)}")
        students = [Student(**{name: (row.get(name) or "").strip() for name in COLUMNS}) for row in rows]
    for number, student in enumerate(students, 2):
        if not student.id or student.id != safe_id(student.id):
            raise RosterError(f"{path}, line {number}: `{student.id}` cannot be an id; `{safe_id(student.id)}` could")
    seen = defaultdict(int)
    for student in students:
        seen[student.id.casefold()] += 1
    if twice := sorted(name for name, count in seen.items() if count > 1):
        raise RosterError(f"{path}: these ids are there twice: {', '.join(twice)}")
    return students


class Roster:
    """Gives each person an id: from the list where one row fits, else made from the name."""

    def __init__(self, students: Iterable[Student] = ()) -> None:
        self.students = list(students)
        self._by_number = {student.lms_user_id: student for student in self.students if student.lms_user_id}
        self._by_name: dict[str, list[Student]] = defaultdict(list)
        for student in self.students:
            for name in student.names():
                self._by_name[name].append(student)

    def find(self, person: Person) -> Student | None:
        """The row of a person; None when none fits, or several do."""
        # Moodle's numbers are of one assignment, not of a student: mod_assign's get_uniqueid_for_user.
        if person.number and person.platform != "moodle" and (student := self._by_number.get(person.number)):
            return student
        found = self._by_name.get(fold(person.name), [])
        return found[0] if len(found) == 1 else None

    def ids(self, people: Iterable[Person]) -> dict[Person, tuple[str, str]]:
        """An id for each person, and what is to be said about it. Two people never get the same."""
        people = list(people)
        rows = {person: self.find(person) for person in people}
        wanted = {person: row.id if row else make_id(person.name) for person, row in rows.items()}
        keys = defaultdict(set)
        for person, wish in wanted.items():
            keys[wish.casefold()].add(person.key)
        return {person: self._settle(person, wanted[person], rows[person], keys) for person in people}

    def _settle(self, person: Person, wish: str, row: Student | None, keys: dict[str, set]) -> tuple[str, str]:
        if len(keys[wish.casefold()]) > 1:
            mark = person.number or hashlib.sha256(person.name.encode("utf-8", "replace")).hexdigest()[:6]
            own = safe_id(f"{make_id(person.name)[:100]}_{mark}")
            return (
                own,
                f"Several people would have the id `{wish}`: this one got `{own}`. A students' list tells them apart.",
            )
        if self.students and row is None:
            return wish, "This name is not in the students' list, or fits several of it; the id was made from the name."
        return wish, ""


def make_id(name: str) -> str:
    """An id from a person's name; one that could be an id already stays as it is.

    >>> make_id("Aïsha Bello"), make_id("s1234567"), make_id("Ƙaddara Sani")
    ('aisha_bello', 's1234567', 'ƙaddara_sani')
    """
    if PLAIN_ID.fullmatch(name):
        return safe_id(name)
    text = unicodedata.normalize("NFC", name).casefold()
    ascii_only = strip_accents(text)
    text = ascii_only if ascii_only.isascii() else text
    words = re.findall(r"[^\W_](?:[\w@.'-]*\w)?", text)
    return safe_id("_".join(words).replace("'", ""))


def fold(name: str) -> str:
    """A name for comparing: without case, accents, spaces and punctuation.

    >>> fold("Bello, Aïsha") == fold("belloaisha")
    True
    """
    return "".join(char for char in strip_accents(name.casefold()) if char.isalnum())


def strip_accents(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
