"""Whose a name is: never guessed, never two people with one id, in one run or in several; and the students' list."""

import csv
import io
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from leaplm.grading.intake.people import Person, as_typed, fold, make_id
from leaplm.grading.intake.roster import Earlier, Roster, Student
from leaplm.grading.intake.student_list import (
    COLUMNS,
    HEADER,
    SPOILED,
    RosterError,
    clean_value,
    read_roster,
    write_list,
)

LETTERS = "aábẹọ́ƙɗ رمهحعي रामीकु কখি አበ 王芳 Aİßñ'-.,_1"
ANY_LETTER = st.one_of(st.sampled_from(LETTERS), st.characters(exclude_categories=["Cs"]))
NAMES = st.text(ANY_LETTER, min_size=1, max_size=12)
PEOPLE = st.builds(Person, NAMES, st.sampled_from(["", "moodle"]), st.sampled_from(["", "1", "2", "3"]))


def ids_by_key(found):
    return {person.key: own for person, (own, _) in found.items()}


@settings(max_examples=150, deadline=None)
@given(st.lists(PEOPLE, unique_by=lambda person: person.key, max_size=8), st.integers(0, 8))
def test_no_two_people_have_one_id_in_one_run_or_in_two(people, cut):
    first = Roster().ids(people[:cut])
    earlier = [Earlier(own, person, same_lab=True) for person, (own, _) in first.items()]
    again = Roster().ids(people, earlier)
    owners = {}
    for person, own in [(person, own) for found in (first, again) for person, (own, _) in found.items()]:
        owner = owners.setdefault(own.casefold(), person)
        assert owner.may_be(person, same_lab=True) or owner.key == person.key, f"{owner} and {person} are {own}"
    assert len(set(map(str.casefold, ids_by_key(again).values()))) == len({person.key for person in people})


@settings(max_examples=100, deadline=None)
@given(st.lists(NAMES, unique_by=lambda name: unicodedata.normalize("NFC", name), max_size=6))
def test_of_people_who_fit_one_row_at_most_one_name_gets_it(names):
    roster = Roster([Student("u1", "राम", "कुमार"), Student("u2", "Ọlá", "Adébáyọ̀"), Student("u3", "Anna", "Mu")])
    found = roster.ids([Person(name) for name in names])
    for row in roster.students:
        loose = [person for person, (own, _) in found.items() if own == row.id and not roster.candidates(person)[1]]
        assert len(loose) <= 1


@pytest.mark.parametrize("platform", ["", "moodle"])
@pytest.mark.parametrize(("listed", "stranger"), [
    (("राम", "कुमार"), "रमा कुमारी"), (("कमल", "দাস"), "কমলা দাস"), (("رامي", "علي"), "راما علي"), (("มานะ", "ใจดี"), "มานี ใจดี"),
    (("សុខ", "ចាន់"), "សុខា ចាន់"), (("አበበ", "በቀለ"), "አበባ በቀለ"), (("が", "田中"), "か 田中"),
])  # fmt: skip
def test_marks_that_are_letters_tell_people_apart(listed, stranger, platform):
    roster = Roster([Student("u101", *listed)])
    assert roster.find(Person(" ".join(listed), platform)).id == "u101"
    assert roster.find(Person(unicodedata.normalize("NFD", " ".join(listed)), platform)).id == "u101"
    own, said = roster.ids([Person(stranger, platform)])[Person(stranger, platform)]
    assert own != "u101" and "not in the students' list" in said


@pytest.mark.parametrize(("listed", "name"), [
    (("Aïsha", "Bello"), "Aisha Bello"), (("Kaddara", "Sani"), "Ƙaddara Sani"), (("Ọlá", "Adébáyọ̀"), "Ola Adebayo"),
    (("Anna", "Mu"), "Ann Amu"),
])  # fmt: skip
def test_a_name_that_is_not_to_the_letter_is_taken_and_said(listed, name):
    roster = Roster([Student("u1", *listed)])
    assert roster.ids([Person(" ".join(listed))]) == {Person(" ".join(listed)): ("u1", "")}
    own, said = roster.ids([Person(name)])[Person(name)]
    assert own == "u1" and f"`{' '.join(listed)}`" in said
    both = roster.ids([Person(name), Person(" ".join(listed))])
    assert both[Person(" ".join(listed))][0] == "u1" and both[Person(name)][0] != "u1"
    assert f"`{' '.join(listed)}`" in both[Person(name)][1]


def test_two_accounts_of_one_name_are_not_one_student():
    roster = Roster([Student("u1", "Musa", "Sani")])
    found = roster.ids([Person("Musa Sani", "moodle", "1"), Person("Musa Sani", "moodle", "2")])
    assert "u1" not in [own for own, _ in found.values()] and len({own for own, _ in found.values()}) == 2


def test_ways_to_name_one_student_are_one_student():
    roster = Roster([Student("u1", "Musa", "Sani", "m@x.ng", written="CSC/1")])
    names = ["u1", "Musa Sani", "Sani, Musa", "m@x.ng", "m", "CSC-1", "musa  sani"]
    assert {own for own, _ in roster.ids(map(Person, names)).values()} == {"u1"}


def test_a_later_run_gives_nobody_the_id_of_another_and_both_are_named():
    earlier = [Earlier("jose_a", Person("José A"), True)]
    own, said = Roster().ids([Person("Jose A")], earlier)[Person("Jose A")]
    assert own != "jose_a" and "`José A`" in said and "`Jose A`" in said
    assert Roster().ids([Person("José A"), Person("Jose A")], earlier)[Person("José A")] == ("jose_a", "")
    nfd = Person(unicodedata.normalize("NFD", "José A"))
    assert Roster().ids([nfd], earlier)[nfd][0] == "jose_a"


def test_a_number_of_moodles_is_of_one_assignment():
    earlier = [Earlier("aisha_bello", Person("Aisha Bello", "moodle", "7"), same_lab=False)]
    person = Person("Aisha Bello", "moodle", "91")
    assert Roster().ids([person], earlier)[person] == ("aisha_bello", "")
    same = [Earlier("aisha_bello", Person("Aisha Bello", "moodle", "7"), same_lab=True)]
    assert Roster().ids([person], same)[person][0] == "aisha_bello_91"


@example("Æ¯")
@example("Jǿrn")
@example("éʼ\u0301")
@given(NAMES)
def test_folding_is_stable_and_knows_the_forms_of_one_letter(name):
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, name)
        assert fold(other) == fold(name) and make_id(other) == make_id(name)
    assert fold(fold(name)) == fold(name) and as_typed(as_typed(fold(name))) == as_typed(fold(name))
    assert len(make_id(name).encode()) <= 200


# ---- the list


def listed(tmp_path, data):
    (tmp_path / "students.csv").write_bytes(data)
    notes = []
    return read_roster(tmp_path / "students.csv", notes), " ".join(notes)


ROWS = [("u101", "Núñez", "Ọlá", "n@x.ng", "77", "", "Group 1"), ("u102", "রমা", "王, 芳", "", "", "x", "")]
CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=8).map(str.strip)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_what_spreadsheets_write_is_read(tmp_path, encoding, delimiter, end, form):
    file = io.StringIO(newline="")
    empty = ["", " ", *[""] * 5]
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows([list(COLUMNS), *ROWS, empty, empty])
    students, said = listed(tmp_path, unicodedata.normalize(form, file.getvalue()).encode(encoding))
    assert [tuple(getattr(student, name) for name in COLUMNS) for student in students] == ROWS and said == ""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[CELL] * 6), min_size=1, max_size=5), st.sampled_from(",;\t"))
def test_every_row_arrives(tmp_path_factory, values, delimiter):
    file = io.StringIO(newline="")
    rows = [(f"u{number}", *row) for number, row in enumerate(values)]
    numbers = [row[4] for row in rows if row[4]]
    csv.writer(file, delimiter=delimiter, lineterminator="\r\n").writerows([list(COLUMNS), *rows])
    try:
        students, _ = listed(tmp_path_factory.mktemp("list"), file.getvalue().encode())
    except RosterError:
        same = len({clean_value(number).removesuffix(".0") for number in numbers}) < len(numbers)
        assert same or any(SPOILED.fullmatch(clean_value(number)) for number in numbers)
        return
    assert [student.id for student in students] == [row[0] for row in rows]


@pytest.mark.parametrize("head", ["ID", "Id", " id ", "Matric No", "Matric. Number", "REG NO.", "Student ID", "Student-No"])
def test_heads_of_registries_are_known(tmp_path, head):
    students, said = listed(tmp_path, f"S/N,{head},Surname,Other Names\n1,u1,Bello,Aïsha\n".encode())
    assert students == [Student("u1", "Aïsha", "Bello")] and (fold(head) == "id" or f"`{head.strip()}` was taken" in said)


def test_matric_numbers_get_ids_that_folders_can_have_and_the_mapping_is_said(tmp_path):
    students, said = listed(tmp_path, b"Matric No,Name\nCSC/19/0123,Aisha Bello\nCSC/19/0124,Musa\n")
    assert [student.id for student in students] == ["CSC_19_0123", "CSC_19_0124"]
    assert "line 2: `CSC/19/0123` is `CSC_19_0123` here." in said
    assert {Roster(students).find(Person(name)).id for name in ("CSC/19/0123", "csc-19-0123")} == {"CSC_19_0123"}
    write_list(tmp_path / "fit.csv", students)
    again = read_roster(tmp_path / "fit.csv")
    assert [student.id for student in again] == ["CSC_19_0123", "CSC_19_0124"]
    assert (tmp_path / "fit.csv").read_text().startswith("id,first_name,last_name,email,lms_user_id,")


@pytest.mark.parametrize(("encoding", "page", "text", "name"), [
    ("cp1252", "Windows-1252", "id,last_name\nu1,Núñez\n", "Núñez"), ("gbk", "gb18030", "学号,姓\nu1,王小明\n", "王小明"),
    ("cp1256", "Windows-1256", "id,last_name\nu1,محمد\nu2,علي\n", "محمد"),
])  # fmt: skip
def test_an_old_encoding_is_read_and_said(tmp_path, encoding, page, text, name):
    students, said = listed(tmp_path, text.encode(encoding))
    assert students[0].last_name == name and page in said and "reads `" in said


def test_a_guess_at_the_encoding_is_said_with_a_refusal(tmp_path):
    with pytest.raises(RosterError, match="Windows-1252, in which a name reads `Núñez`"):
        listed(tmp_path, "name\nNúñez\n".encode("cp1252"))


@pytest.mark.parametrize("spoiled", [
    "1.90312E+11", '"1,90312E+11"', "#N/A", "#REF!", "#NAME?", "#DIV/0!", "#VALUE!", "NaN", "NULL", "=A1&B1",
])  # fmt: skip
@pytest.mark.parametrize("column", ["id", "lms_user_id"])
def test_what_a_spreadsheet_spoiled_is_no_id(tmp_path, spoiled, column):
    line = f"{spoiled},u2" if column == "id" else f"u2,{spoiled}"
    with pytest.raises(RosterError, match="line 3: .* is what a spreadsheet made of an id; format the column as text"):
        listed(tmp_path, f"id,lms_user_id\nu1,7\n{line}\n".encode())


@pytest.mark.parametrize("own", ["19E12", "nan", "null", "1E5", "e-19", "N/A-1", "csc.19.1", "2019-0123"])
def test_ids_that_only_look_spoiled_stay(tmp_path, own):
    assert listed(tmp_path, f"id,name\n{own},Nan\n".encode())[0][0].written in ("", own)


@settings(max_examples=60, deadline=None)
@given(st.text("abc019", min_size=1, max_size=5).filter(lambda own: "E" not in own), st.sampled_from([
    '="{}"', '"=""{}"""', "\u200b{}", "\u200f{}\u200e", "\u202a{}\u202c", " {}\xa0", '"{}\n"', "\ufeff{}",
]))  # fmt: skip
def test_what_nobody_sees_in_a_cell_is_no_part_of_an_id(tmp_path_factory, own, dress):
    students, _ = listed(tmp_path_factory.mktemp("list"), f"id,name\n{dress.format(own)},Aisha\n".encode())
    assert (students[0].id, students[0].written) == (own, "")


@pytest.mark.parametrize("above", ["", "Bayero University, Kano\n", "Class list;2026;\n\nCSC 4301\n", ",,\n,Term 2,\n"])
@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_titles_and_pages_of_a_printed_list_are_no_students(tmp_path, above, sign):
    head = sign.join(["Matric No", "Surname", "First Name"])
    lines = [head, sign.join(["u1", "Bello", "Aisha"]), head, sign.join(["u2", "Sani", "Musa"])]
    students, said = listed(tmp_path, (above + "\n".join(lines)).encode())
    assert students == [Student("u1", "Aisha", "Bello"), Student("u2", "Musa", "Sani")] and "left out as no students" in said


def test_the_gradebook_of_canvas_is_a_list(tmp_path):
    head = "Student,ID,SIS User ID,SIS Login ID,Section\n    Points Possible,,,,\n"
    students, _ = listed(tmp_path, f'{head}"Bello, Aisha",4711,u1,a@x.ng,A\n"Student, Test",9,,ab12,A\n'.encode())
    assert students == [Student("u1", lms_name="Bello, Aisha", lms_user_id="4711")]


def test_a_line_parted_by_another_sign_and_a_lost_letter_are_said(tmp_path):
    with pytest.raises(RosterError, match="line 2: `u1;Aisha` is not parted by the sign"):
        listed(tmp_path, b"id,name\nu1;Aisha\n")
    said = listed(tmp_path, b"id,name\nu1,?addara Sani\n")[1]
    assert "A letter was lost where a name has a ?: line 2: `?addara Sani`" in said


@pytest.mark.parametrize(("name", "theirs"), [
    ("CSC-19-11", True), ("csc1911", True), ("CSC_19_11", True), ("CSC-191-1", False), ("CSC-1-911", False),
])  # fmt: skip
def test_an_id_with_its_digits_parted_otherwise_is_another(name, theirs):
    row = Student("CSC_19_11", "Aisha", "Bello", written="CSC/19/11")
    assert Roster([row]).find(Person(name)) == (row if theirs else None)


@pytest.mark.parametrize(("text", "words"), [
    (b"", "is empty"), (b"PK\x03\x04xxxx", "is a workbook"),
    (b"name,x\na,b\n", "has no column `id`: line 1 has `name`, `x`"),
    (b"id,name\n,Aisha\n", "line 2: no id for `Aisha`"), (b"id,name\na,b,c\n", "line 2: 3 values for 2 columns"),
    (b"id\n\n\n--\n", "line 4: `--` cannot be an id"),
    (b"id\na/b\na:b\n", "lines 2, 3: `a/b`, `a:b` have the id `a_b` twice"),
    (b'id,name\na,"b\n', "look for a"), (b"id\n", "has no students"),
    (b"id,lms_user_id\na,7\nb,7\n", "lines 2, 3: `a`, `b` have the lms_user_id `7` twice"),
])  # fmt: skip
def test_what_is_wrong_is_said_with_line_value_and_what_to_write(tmp_path, text, words):
    with pytest.raises(RosterError) as caught:
        listed(tmp_path, text)
    assert words in str(caught.value) and "students.csv" in str(caught.value)


def test_the_help_names_the_columns():
    assert HEADER.startswith("id,first_name,last_name,email,lms_user_id,lms_name")
