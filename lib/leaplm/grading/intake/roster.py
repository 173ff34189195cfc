"""The students' list, and ids for students who are not in it.

The list is the CSV that `nbgrader db student import` reads, and may have columns more:

    id,first_name,last_name,email,lms_user_id,lms_name,group
    aisha,Aisha,Bello,aisha@example.edu.ng,4711,,Group 1

`lms_user_id` is the student's number on the learning platform, `lms_name` the name there where it differs, `group` the
group on the platform where groups hand in together. `student_list` reads it as spreadsheets write it.

A name is never guessed: one student's row is taken only where one row fits, and one person; else the id is made from
the name, and whoever else could be meant is named.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from leaplm.grading.intake.ingest import safe_id
from leaplm.grading.intake.people import Person, Student, as_typed, fold, make_id, words
from leaplm.grading.intake.student_list import RosterError, read_roster

__all__ = ["Earlier", "Person", "Roster", "RosterError", "Student", "fold", "make_id", "read_roster"]


@dataclass(frozen=True)
class Earlier:
    """An id that a run before this one gave, to whom, and whether for the lab of this run."""

    id: str
    person: Person
    same_lab: bool


class Roster:
    """Gives each person an id: from the list where one row fits, else made from the name."""

    def __init__(self, students: Iterable[Student] = ()) -> None:
        self.students = list(students)
        self._by_id = {student.id: student for student in self.students}
        self._by_number = {student.lms_user_id: student for student in self.students if student.lms_user_id}
        self._by_name = self._index(lambda name: name)
        self._by_plain_name = self._index(as_typed)
        self._groups: dict[str, list[Student]] = defaultdict(list)
        for student in self.students:
            self._groups[fold(student.group)].append(student)
        self._groups.pop("", None)

    def _index(self, key: Callable[[str], str]) -> dict[str, list[Student]]:
        found: dict[str, list[Student]] = defaultdict(list)
        for student in self.students:
            for name in {key(name) for name in student.names()}:
                found[name].append(student)
        return found

    def find(self, person: Person) -> Student | None:
        """The row of a person; None when none fits, or several do."""
        rows = self.candidates(person)[0]
        return rows[0] if len(rows) == 1 else None

    def candidates(self, person: Person) -> tuple[list[Student], bool]:
        """The rows that a person may be, and whether they fit to the letter: number, id or name as in the list."""
        if person.number and person.platform != "moodle" and (student := self._by_number.get(person.number)):
            return [student], True
        if not person.platform and (student := self._by_id.get(unicodedata.normalize("NFC", person.name))):
            return [student], True
        if rows := [row for row in self._by_name.get(fold(person.name), []) if row.can_have(person.name)]:
            return rows, person.platform == "canvas" or any(words(person.name) in row.spellings() for row in rows)
        rows = self._by_plain_name.get(as_typed(fold(person.name)), [])
        return [row for row in rows if row.can_have(person.name)], False

    def group(self, name: str) -> list[Student]:
        """The members of a group that hands in together, [] if the list has no such group."""
        return self._groups.get(fold(name), [])

    def mentions(self, path: str) -> bool:
        """Whether a path has the name of somebody in the list in it."""
        text = fold(path)
        return any(len(name) > 3 and name in text for name in self._by_name)

    def ids(self, people: Iterable[Person], earlier: Iterable[Earlier] = ()) -> dict[Person, tuple[str, str]]:
        """An id for each person, and what is to be said about it. Two people never get the same, in this run or later."""
        people, earlier = list(people), list(earlier)
        rows, said = self._rows(people, earlier)
        found = {person: (row.id, said.get(person, "")) for person, row in rows.items()}
        strangers = [person for person in people if person not in rows]
        held = self._held(strangers, earlier)
        wishes = {person: held.get(person) or make_id(person.name) for person in strangers}
        rivals = {person: [] if person in held else self._rivals(person, wish, wishes, earlier)
                  for person, wish in wishes.items()}  # fmt: skip
        for person, wish in wishes.items():
            if not rivals[person]:
                found[person] = wish, said.get(person, "") or self._unknown()
        used = {student.id.casefold() for student in self.students} | {old.id.casefold() for old in earlier}
        used |= {own.casefold() for own, _ in found.values()}
        own_ids: dict[tuple, str] = {}
        for person in (person for person in strangers if rivals[person]):
            own = own_ids[person.key] = own_ids.get(person.key) or _apart(person, used)
            used.add(own.casefold())
            found[person] = own, _told_apart(person, wishes[person], own, rivals[person])
        return {person: found[person] for person in people}

    def _rivals(self, person: Person, wish: str, wishes: dict[Person, str], earlier: list[Earlier]) -> list[str]:
        """Who else has, had or wants an id, by name."""
        return [
            *(other.name for other, theirs in wishes.items() if _same_id(theirs, wish) and other.key != person.key),
            *(old.person.name for old in earlier if _same_id(old.id, wish)),
            *(student.id for student in self.students if _same_id(student.id, wish)),
        ]

    def _rows(self, people: list[Person], earlier: list[Earlier]) -> tuple[dict[Person, Student], dict[Person, str]]:
        """The row of each person who has one for sure, and what is to be said of the others who might have one."""
        claims: dict[str, list[tuple[Person, Student, bool]]] = defaultdict(list)
        said = {}
        for person in people:
            candidates, exact = self.candidates(person)
            if len(candidates) == 1:
                claims[candidates[0].id].append((person, candidates[0], exact))
            elif candidates:
                names = ", ".join(f"`{student.id}`" for student in candidates)
                said[person] = f"This name fits {names} in the students' list; the id was made from the name."
        rows = {}
        for claim in claims.values():
            best = [one for one in claim if one[2]] or claim
            kept = [person for person, _, _ in best] if _one_person(best) else []
            for person, row, exact in claim:
                if person in kept:
                    rows[person] = row
                    said[person] = " ".join(filter(None, ["" if exact else _taken_for(row), self._before(row, earlier)]))
                else:
                    others = ", ".join(sorted({f"`{one[0].name}`" for one in claim} - {f"`{person.name}`"}))
                    said[person] = f"May be `{row.id}` of the students' list, and so may {others or 'another of this name'}."
        return rows, said

    def _before(self, row: Student, earlier: list[Earlier]) -> str:
        """Says so if the id of a row went to somebody else in this lab before the list was given."""
        others = [old.person for old in earlier if old.same_lab and _same_id(old.id, row.id)]
        names = ", ".join(f"`{person.name}`" for person in others if self.find(person) is not row)
        return f"Before, the id `{row.id}` was given to {names}: look at both." if names else ""

    def _held(self, people: list[Person], earlier: list[Earlier]) -> dict[Person, str]:
        """The ids that earlier runs gave to these people, of whom there is no doubt."""
        held = {}
        for person in people:
            theirs = [old for old in earlier if person.may_be(old.person, old.same_lab)]
            theirs = [old for old in theirs if old.same_lab] or theirs
            if len({old.id for old in theirs}) == 1 and theirs[0].id not in self._by_id:
                held[person] = theirs[0].id
        keys = defaultdict(set)
        for person, own in held.items():
            keys[own].add(person.key)
        return {person: own for person, own in held.items() if len(keys[own]) == 1}

    def _unknown(self) -> str:
        return "This name is not in the students' list; the id was made from the name." if self.students else ""


def _one_person(claims: list[tuple[Person, Student, bool]]) -> bool:
    """Whether those who fit one row can be one person: no two numbers of a platform, and one name if it fits loosely."""
    numbers = defaultdict(set)
    for person, _, _ in claims:
        numbers[person.platform] |= {person.number} - {""}
    loose = {person.key for person, _, exact in claims if not exact}
    return all(len(found) < 2 for found in numbers.values()) and len(loose) < 2


def _same_id(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _apart(person: Person, used: set[str]) -> str:
    """An id with a mark of its own: the platform's number, or one made from the name."""
    digest = hashlib.sha256(repr(person.key).encode("utf-8", "replace")).hexdigest()
    marks = [*filter(None, [person.number]), *(digest[:length] for length in (6, 12, 24))]
    ways = [safe_id(f"{make_id(person.name)[:40]}_{mark}") for mark in marks]
    return next(way for way in ways if way.casefold() not in used)


def _told_apart(person: Person, wish: str, own: str, rivals: list[str]) -> str:
    others = ", ".join(f"`{name}`" for name in sorted(set(rivals)))
    return (f"Several people would have the id `{wish}`: `{person.name}` got `{own}`; the others: {others}. "
            "A students' list tells them apart.")  # fmt: skip


def _taken_for(row: Student) -> str:
    name = " ".join(filter(None, [row.first_name, row.last_name])) or row.lms_name or row.id
    return f"Taken for `{row.id}` of the students' list, who is written `{name}` there."
