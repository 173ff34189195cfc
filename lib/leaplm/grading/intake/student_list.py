"""Reads the students' list as spreadsheets and registries write it; says what it took for what.

Commas, semicolons or tabs; UTF-8, UTF-16 or a code page of Windows; `Matric No`, `Reg. Number` or `ID` for `id`; titles
above the first line, and that line again on each page; empty lines; ids that no folder may have, such as `CSC/19/0123`.
What is wrong is said with its line, the value, and what to write: above all ids that a spreadsheet spoiled.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from leaplm.grading.intake.ingest import safe_id
from leaplm.grading.intake.people import Student, fold
from leaplm.grading.intake.zip_entries import best_code_page

# Column -> how it is called elsewhere, folded; the first that is there counts.
COLUMNS = {
    "id": ("id", "studentid", "matricno", "matricnumber", "matric", "matriculationno", "matriculationnumber", "regno",
           "regnumber", "registrationno", "registrationnumber", "studentno", "studentnumber", "idnumber", "idno",
           "admissionno", "admissionnumber", "indexno", "indexnumber", "rollno", "rollnumber", "sisloginid", "sisuserid",
           "studentidnumber", "username", "matricule", "numéromatricule", "numérodematricule", "nomatricule", "nmatricule",
           "numéroétudiant", "nétudiant", "noétudiant", "matrikelnummer", "númerodematrícula", "matrícula", "学号",
           "الرقمالجامعي"),
    "first_name": ("firstname", "firstnames", "givenname", "givennames", "forename", "forenames", "othernames", "othername",
                   "prénom", "prénoms", "prenom", "prenoms", "vorname", "名"),
    "last_name": ("lastname", "surname", "familyname", "nom", "nomdefamille", "nachname", "apellidos", "姓"),
    "email": ("email", "emailaddress", "mail", "courriel", "adressedecourriel", "correo", "邮箱"),
    "lms_user_id": ("lmsuserid", "canvasid", "canvasuserid"),
    "lms_name": ("lmsname", "fullname", "name", "displayname", "studentname", "student", "姓名", "الاسم"),
    "group": ("group", "groups", "groupname", "team", "groupe"),
}  # fmt: skip
HEADER = ",".join(COLUMNS)
FIT_LIST = ".nbgrader-work/students.csv"  # the list with ids that folders can have, where those of the registry are others
DELIMITERS = ",;\t|"
# What Windows writes where it is not told UTF-8: Western, Arabic, Chinese, Cyrillic, Central European; of equals the first.
CODE_PAGES = ("cp1252", "cp1256", "gb18030", "cp1251", "cp1250")
INVISIBLE = dict.fromkeys([0x1A, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF])
QUOTED_FORMULA = re.compile(r'="([^"]*)"')  # how registries keep a spreadsheet from taking a number for a number
SPOILED = re.compile(r"\d+([.,]\d+)?[Ee]\+\d+|#[A-Z]+[/A-Z0-9]*[!?]?|NaN|None|NULL|=.*")
NOBODY = {"pointspossible", "studenttest"}  # lines of Canvas's gradebook that are no students
ABOVE = 20  # lines among which the names of the columns are looked for
MOST_SAID = 10  # lines of one kind


class RosterError(ValueError):
    """The students' list cannot be used: what is wrong in it, line by line."""


def read_roster(path: Path, notes: list[str] | None = None) -> list[Student]:
    """The students of a CSV file; what had to be assumed is added to `notes`.

    RosterError for a list without ids, a line without one, two lines for one id, or a line with too many values.

    >>> read_roster(Path("students.csv"))[0].id  # doctest: +SKIP
    'aisha'
    """
    notes = [] if notes is None else notes
    try:
        return students_of(path, notes)
    except RosterError as error:
        raise RosterError("\n".join([str(error), *notes])) from None


def students_of(path: Path, notes: list[str]) -> list[Student]:
    """The same, where what was assumed before something was found wrong is not yet said with it."""
    table = from_header(path, read_table(path, notes), notes)
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
    notes += changed_ids(students) + lost_letters(students)
    return list(students.values())


def read_table(path: Path, notes: list[str]) -> list[tuple[int, list[str]]]:
    """The lines that hold something, as values without blanks around them, each with its number in the file."""
    text = read_text(path, notes)
    first = next((line for line in text.splitlines() if line.strip()), "")
    if sign := re.fullmatch(r'"?sep=(.)"?', first, re.IGNORECASE):  # Excel's own way to say it
        text, delimiter = text.replace(first, "", 1), sign[1]
    else:
        delimiter = find_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    table = []
    try:
        for row in reader:
            values = [clean_value(value) for value in row]
            if any(values):
                table.append((reader.line_num, values))
    except csv.Error as error:
        raise RosterError(f"{path}, line {reader.line_num}: {error}; look for a \" that is not closed") from None
    if not table:
        raise RosterError(f"{path} is empty; the first line should be {HEADER}")
    return table


def clean_value(value: str) -> str:
    """A value without what nobody sees or typed: marks of writing direction, line breaks, a formula that only quotes.

    >>> clean_value('\u200f="0123"'), clean_value("Aisha\xa0\\nFatima ")
    ('0123', 'Aisha Fatima')
    """
    text = " ".join(unicodedata.normalize("NFC", value).translate(INVISIBLE).split())
    return quoted[1].strip() if (quoted := QUOTED_FORMULA.fullmatch(text)) else text


def from_header(path: Path, table: list[tuple[int, list[str]]], notes: list[str]) -> list[tuple[int, list[str]]]:
    """The table from the line on that names the columns; titles above it and its repetitions on new pages are left out."""
    places = [place for place, (_, row) in enumerate(table[:ABOVE]) if set(map(fold, row)) & set(COLUMNS["id"])]
    start = places[0] if places else 0
    header = table[start][1]
    rest = [(line, row) for line, row in table[start + 1 :] if row != header and fold(row[0]) not in NOBODY]
    left = [line for line, row in table if (line, row) not in rest and line != table[start][0]]
    if left:
        notes.append(f"{path}: left out as no students: line {', '.join(map(str, left[:MOST_SAID]))}"
                     + (f" and {len(left) - MOST_SAID} more." if len(left) > MOST_SAID else "."))  # fmt: skip
    return [table[start], *rest]


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
        if encoding in CODE_PAGES:
            example = next((word for word in re.split(rf"[\s{DELIMITERS}]+", text) if not word.isascii()), "")
            page = encoding.replace("cp", "Windows-")
            notes.append(f"{path} is not UTF-8; it was read as {page}, in which a name reads `{example}`. If that is "
                         "wrong, save it as \"CSV UTF-8\".")  # fmt: skip
        return text.replace("\0", "")
    raise RosterError(f"{path} is in an encoding that is not known here: save it as \"CSV UTF-8\"")


def likely_encodings(data: bytes) -> Iterator[str]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield "utf-16"
        return
    if b"\0" in data[:200]:  # UTF-16 without its mark: the zero is the upper half of a Latin letter
        yield "utf-16-le" if data[:200].find(b"\0") % 2 else "utf-16-be"
    yield "utf-8-sig"
    values = set(re.split(rb"[\r\n,;\t|]+", data))
    yield best_code_page(values, is_column, [page for page in CODE_PAGES if can_be(data, page)] or CODE_PAGES[:1])


def can_be(data: bytes, page: str) -> bool:
    try:
        return bool(data.decode(page))
    except ValueError:
        return False


def is_column(name: str) -> bool:
    return fold(name) in {known for names in COLUMNS.values() for known in names}


def find_delimiter(text: str) -> str:
    """What parts the values: that by which one of the first lines has most columns that are known, then most columns."""
    first = [line for line in text.splitlines() if line.strip()][:ABOVE]

    def merits(delimiter: str) -> tuple[int, int]:
        lines = [line.split(delimiter) for line in first]
        known = max((sum(map(is_column, values)) for values in lines), default=0)
        return known, len(lines[0]) if lines else 0

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
    sis = [named.index(name) for name in ("sisuserid", "sisloginid") if name in named]
    if sis and "id" in named:  # Canvas's gradebook, in which ID is Canvas's own number
        columns |= {"id": sis[0], "lms_user_id": named.index("id")}
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
    written, number = values.pop("id"), values.get("lms_user_id", "").removesuffix(".0")
    if not written:
        who = " ".join(filter(None, (values.get(name) for name in ("first_name", "last_name", "lms_name", "email"))))
        return None, f"no id for `{who or row}`; write one into the column, such as a matric number"
    if len(row) == 1 < width and any(sign in written for sign in DELIMITERS):
        return None, f"`{written}` is not parted by the sign that parts the first line; use one sign in all lines"
    if spoiled := next((value for value in (written, number) if SPOILED.fullmatch(value)), ""):
        return None, f"`{spoiled}` is what a spreadsheet made of an id; format the column as text and write the id again"
    if not any(char.isalnum() for char in written):
        return None, f"`{written}` cannot be an id; write letters or digits, such as a matric number"
    own = safe_id(written)
    return Student(own, **values | {"lms_user_id": number}, written="" if own == written else written), ""


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


def lost_letters(students: dict[int, Student]) -> list[str]:
    """Says which names have a `?` in place of a letter that the file's encoding does not have, such as `ƙ`."""
    lost = [f"line {line}: `{' '.join(filter(None, names))}`" for line, one in students.items()
            if "?" in "".join(names := (one.first_name, one.last_name, one.lms_name))]  # fmt: skip
    said = f"A letter was lost where a name has a ?: {'; '.join(lost[:MOST_SAID])}. Save the list as \"CSV UTF-8\"."
    return [said] if lost else []


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
