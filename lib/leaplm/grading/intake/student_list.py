"""Reads the students' list as spreadsheets and registries write it; says what it took for what.

Commas, semicolons or tabs; UTF-8, UTF-16 or Windows-1252; `Matric No`, `Reg. Number` or `ID` for `id`; empty lines; ids
that no folder may have, such as `CSC/19/0123`. What is wrong is said with its line, the value, and what to write.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from leaplm.grading.intake.ingest import safe_id
from leaplm.grading.intake.people import Student, fold

# Column -> how it is called elsewhere, folded; the first that is there counts.
COLUMNS = {
    "id": ("id", "studentid", "matricno", "matricnumber", "matric", "matriculationno", "matriculationnumber", "regno",
           "regnumber", "registrationno", "registrationnumber", "studentno", "studentnumber", "idnumber", "idno",
           "admissionno", "admissionnumber", "indexno", "indexnumber", "rollno", "rollnumber", "sisloginid", "sisuserid",
           "username", "matricule", "学号"),
    "first_name": ("firstname", "firstnames", "givenname", "givennames", "forename", "forenames", "othernames", "othername",
                   "prénom", "prénoms", "名"),
    "last_name": ("lastname", "surname", "familyname", "nom", "姓"),
    "email": ("email", "emailaddress", "mail", "courriel", "邮箱"),
    "lms_user_id": ("lmsuserid", "canvasid", "canvasuserid"),
    "lms_name": ("lmsname", "fullname", "name", "displayname", "studentname", "student", "姓名"),
    "group": ("group", "groups", "groupname", "team", "groupe"),
}  # fmt: skip
HEADER = ",".join(COLUMNS)
FIT_LIST = ".nbgrader-work/students.csv"  # the list with ids that folders can have, where those of the registry are others
DELIMITERS = ",;\t|"
MOST_SAID = 10  # lines of one kind


class RosterError(ValueError):
    """The students' list cannot be used: what is wrong in it, line by line."""


def read_roster(path: Path, notes: list[str] | None = None) -> list[Student]:
    """The students of a CSV file; what had to be assumed is added to `notes`.

    RosterError for a list without ids, a line without one, two lines for one id, or a line with too many values.

    >>> read_roster(Path("students.csv"))[0].id
    'aisha'
    """
    notes = [] if notes is None else notes
    table = read_table(path, notes)
    columns = find_columns(path, table, notes)
    students, wrong = {}, []
    for line, row in table[1:]:
        student, problem = make_student(row, columns, len(table[0][1]))
        if problem:
            wrong.append(f"line {line}: {problem}")
        else:
            students[line] = student
    wrong += list(doubles(students))
    if wrong:
        more = [f"... and {len(wrong) - MOST_SAID} lines more"] if len(wrong) > MOST_SAID else []
        raise RosterError(f"{path} cannot be used as it is:\n  " + "\n  ".join(wrong[:MOST_SAID] + more))
    if not students:
        raise RosterError(f"{path} has no students: below the first line there is nothing")
    notes += changed_ids(students)
    return list(students.values())


def read_table(path: Path, notes: list[str]) -> list[tuple[int, list[str]]]:
    """The lines that hold something, as values without blanks around them, each with its number in the file."""
    text = read_text(path, notes)
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.lower().startswith("sep=") and len(first) == 5:  # Excel's own way to say it
        text, delimiter = text.replace(first, "", 1), first[4]
    else:
        delimiter = find_delimiter(first)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    table = []
    try:
        for row in reader:
            values = [unicodedata.normalize("NFC", value).strip(" \t\xa0\u200b\ufeff") for value in row]
            if any(values):
                table.append((reader.line_num, values))
    except csv.Error as error:
        raise RosterError(f"{path}, line {reader.line_num}: {error}; look for a \" that is not closed") from None
    if not table:
        raise RosterError(f"{path} is empty; the first line should be {HEADER}")
    return table


def read_text(path: Path, notes: list[str]) -> str:
    """The text of a file in the encoding that its bytes show; a guess is said."""
    data = path.read_bytes()
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise RosterError(f"{path} is a workbook: in the spreadsheet choose Save as, \"CSV UTF-8\", and give that file")
    for encoding in likely_encodings(data):
        try:
            text = data.decode(encoding)
        except ValueError:
            continue
        if encoding == "cp1252":
            example = next((word for word in text.split() if not word.isascii()), "")
            notes.append(f"{path} is not UTF-8; it was read as Windows-1252, in which a name reads `{example}`. If that is "
                         "wrong, save it as \"CSV UTF-8\".")  # fmt: skip
        return text.replace("\0", "")
    raise RosterError(f"{path} is in an encoding that is not known here: save it as \"CSV UTF-8\"")


def likely_encodings(data: bytes) -> Iterator[str]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield "utf-16"
    elif b"\0" in data[:200]:  # UTF-16 without its mark: the zero is the upper half of a Latin letter
        yield "utf-16-le" if data[:200].find(b"\0") % 2 else "utf-16-be"
    yield "utf-8-sig"
    yield "cp1252"


def find_delimiter(first: str) -> str:
    """What parts the values of the first line: that by which it has most columns that are known, then most columns."""
    known = {name for names in COLUMNS.values() for name in names}

    def merits(delimiter: str) -> tuple[int, int]:
        values = first.split(delimiter)
        return sum(fold(value) in known for value in values), len(values)

    return max(DELIMITERS, key=merits)


def find_columns(path: Path, table: list[tuple[int, list[str]]], notes: list[str]) -> dict[str, int]:
    """Where each column of ours is. RosterError if there are no ids."""
    line, header = table[0]
    named = [fold(value) for value in header]
    columns = {}
    for column, names in COLUMNS.items():
        for name in names:
            if name in named:
                columns.setdefault(column, named.index(name))
    if "id" not in columns:
        there = ", ".join(f"`{value}`" for value in header)
        raise RosterError(f"{path} has no column `id`: line {line} has {there}; it should be {HEADER}")
    if named[columns["id"]] != "id":
        notes.append(f"{path}: the column `{header[columns['id']]}` was taken for the ids.")
    return columns


def make_student(row: list[str], columns: dict[str, int], width: int) -> tuple[Student | None, str]:
    """The student of a line, or what is wrong with it."""
    if any(row[width:]):
        return None, f"{len(row)} values for {width} columns; put a value that has the separator in it into \"quotes\""
    values = {column: row[place] if place < len(row) else "" for column, place in columns.items()}
    written = values.pop("id")
    if not written:
        who = " ".join(filter(None, (values.get(name) for name in ("first_name", "last_name", "lms_name", "email"))))
        return None, f"no id for `{who or row}`; write one into the column, such as a matric number"
    if not any(char.isalnum() for char in written):
        return None, f"`{written}` cannot be an id; write letters or digits, such as a matric number"
    own = safe_id(written)
    return Student(own, **values, written="" if own == written else written), ""


def doubles(students: dict[int, Student]) -> Iterator[str]:
    """Says which lines share an id, or a number of the platform; Windows tells no folders apart that differ in case."""
    for what, value in (("id", lambda one: one.id.casefold()), ("lms_user_id", lambda one: one.lms_user_id)):
        lines = defaultdict(list)
        for line, student in students.items():
            lines[value(student)].append(line)
        for key, several in lines.items():
            if key and len(several) > 1:
                ids = ", ".join(f"`{students[line].written or students[line].id}`" for line in several)
                where = ", ".join(map(str, several))
                yield f"lines {where}: {ids} have the {what} `{key}` twice: give each student one of their own"


def changed_ids(students: dict[int, Student]) -> list[str]:
    """Says which ids are written otherwise for us: a folder cannot have the characters that they have."""
    changed = [f"line {line}: `{student.written}` is `{student.id}` here." for line, student in students.items()
               if student.written]  # fmt: skip
    more = len(changed) - MOST_SAID
    return changed[:MOST_SAID] + ([f"... and {more} ids more, in the same way."] if more > 0 else [])


def registry_ids(course: Path) -> dict[str, str]:
    """The ids as the registry writes them, by ours, of the list collected with last; {} where they never differed."""
    path = course / FIT_LIST
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", newline="") as file:
        return {row["id"]: row["written"] for row in csv.DictReader(file)}


def write_list(path: Path, students: Iterable[Student]) -> None:
    """Writes a list as `nbgrader db student import` reads it, with our ids; the ids as they were come last."""
    names = ("id", "first_name", "last_name", "email", "lms_user_id")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "written"])
        writer.writerows([*(getattr(one, name) for name in names), one.written or one.id] for one in students)
