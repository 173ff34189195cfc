"""A class collected from what instructors have: folders, zips, and exports of learning platforms; nothing is lost."""

import copy
import json
import os
import struct
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from leaplm.grading.intake import collect as collecting
from leaplm.grading.intake.collect import CollectError, collect, run, table
from leaplm.grading.intake.layouts import sort_out
from leaplm.grading.intake.receipts import WORK, read_collected, read_receipt, submitted_folder
from leaplm.grading.intake.roster import Person, Roster, RosterError, Student, fold, make_id, read_roster
from mini import LAB, make_course

SLOPE = b'{"slope": 2.0}'
NAME = f"{LAB}.ipynb"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make_course(tmp_path_factory.mktemp("collect") / "course")


@pytest.fixture
def course(built, tmp_path):
    """A course in which nothing was handed in yet."""
    (tmp_path / "course").mkdir()
    for name in ("labs", "course", "nbgrader_config.py"):
        os.symlink(built / name, tmp_path / "course" / name)
    return tmp_path / "course"


@pytest.fixture(scope="module")
def work(built):
    """The bytes of an honest notebook with an answer of the student's own."""
    release = nbformat.read(built / "labs" / LAB / NAME, as_version=4)

    def answered(answer):
        notebook = copy.deepcopy(release)
        next(cell for cell in notebook.cells if cell.id == "mean_square").source = answer
        return nbformat.writes(notebook).encode()

    return answered


def put(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def packed(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def written(course):
    """The students of nbgrader's folder with the files of each."""
    folder = course / WORK / "submitted"
    return {
        place.name: sorted(str(path.relative_to(place / LAB)) for path in (place / LAB).rglob("*") if path.is_file())
        for place in sorted(folder.iterdir())
    }


def states(summary):
    return {row.student: row.state for row in summary.rows}


def answer(course, student):
    notebook = nbformat.read(submitted_folder(course, LAB, student) / NAME, as_version=4)
    return next(cell for cell in notebook.cells if cell.id == "mean_square").source


WHOLE = ["artifacts/slope-cpu.json", f"{LAB}.ipynb", "timestamp.txt"]
ONLY = [f"{LAB}.ipynb", "timestamp.txt"]


# ---- layouts


def moodle_folders(work):
    return {
        f"Aisha Bello_12345_assignsubmission_file/{NAME}": work("a = 1"),
        "Aisha Bello_12345_assignsubmission_file/artifacts/slope-cpu.json": SLOPE,
        "Ƙaddara Sani_12346_assignsubmission_file_/my work.ipynb": work("a = 2"),
        "Ƙaddara Sani_12346_assignsubmission_file_/slope-cpu.json": SLOPE,
        "Ƙaddara Sani_12346_assignsubmission_onlinetext/onlinetext.html": b"<p>see file</p>",
    }


def test_moodles_folders(course, work, tmp_path):
    summary = collect(course, LAB, put(tmp_path / "export", moodle_folders(work)))
    assert written(course) == {"aisha_bello": WHOLE, "ƙaddara_sani": WHOLE}
    assert answer(course, "ƙaddara_sani") == "a = 2"
    assert summary.aside == ["Ƙaddara Sani_12346_assignsubmission_onlinetext"]
    assert read_receipt(course, LAB, "aisha_bello").person == {
        "name": "Aisha Bello",
        "platform": "moodle",
        "number": "12345",
    }
    assert "hold no times of handing in" in table(summary)


def test_moodles_zip_with_zips_of_students_in_it(course, work, tmp_path):
    inner = packed(tmp_path / "x.zip", {f"lab/{NAME}": work("a = 1"), "lab/artifacts/slope-cpu.json": SLOPE}).read_bytes()
    files = {**moodle_folders(work), "Musa Musa_7_assignsubmission_file/lab 0.zip": inner}
    collect(course, LAB, packed(tmp_path / "export.zip", files))
    assert written(course) == {"aisha_bello": WHOLE, "musa_musa": WHOLE, "ƙaddara_sani": WHOLE}
    assert [path.name for path in (course / WORK).iterdir() if path.name.startswith("collect-")] == []


def test_moodles_flat_form(course, work, tmp_path):
    files = {
        f"Aisha Bello_12345_assignsubmission_file_{NAME}": work("a = 1"),
        "Aisha Bello_12345_assignsubmission_file_slope-cpu.json": SLOPE,
        "Jean-Luc O'Neill_9_assignsubmission_file_notebook.ipynb": work("a = 2"),
    }
    collect(course, LAB, put(tmp_path / "export", files))
    assert written(course) == {"aisha_bello": WHOLE, "jean-luc_oneill": ONLY}


def test_canvas(course, work, tmp_path):
    files = {
        f"belloaisha_1001_501_{NAME}": work("a = 1"),
        "belloaisha_1001_502_slope-cpu.json": SLOPE,
        "sanimusa_LATE_1002_503_lab0_mini-1.ipynb": work("a = 2"),
        "sanimusa_LATE_1002_504_slope-cpu-2.json": SLOPE,
        "doejane_1003_text.html": b"<p>",
        f"anon_aB3xY_1004_{NAME}": work("a = 3"),
    }
    summary = collect(course, LAB, packed(tmp_path / "submissions.zip", files))
    assert written(course) == {"anon_aB3xY": ONLY, "belloaisha": WHOLE, "sanimusa": WHOLE}
    assert summary.aside == ["doejane_1003_text.html"]
    assert "Canvas marked it as late." in next(row.notes for row in summary.rows if row.student == "sanimusa")
    assert summary.entries == 6


def test_google_classroom_with_a_folder_for_each_student(course, work, tmp_path):
    files = {f"Lab 0/Aisha Bello/{NAME}": work("a = 1"), "Lab 0/Musa Sani/Copy of lab0_mini.ipynb": work("a = 2"),
             "Lab 0/Musa Sani/slope-cpu.json": SLOPE}  # fmt: skip
    collect(course, LAB, packed(tmp_path / "drive-download.zip", files))
    assert written(course) == {"aisha_bello": ONLY, "musa_sani": WHOLE}


@pytest.mark.parametrize(
    "form", ["{name} - Lab zero.ipynb", "Lab zero - {name}.ipynb", "{name} - lab0_mini.ipynb", "lab0 - {name}.zip"]
)
def test_google_files_named_by_student_and_title(course, work, tmp_path, form):
    for number, name in enumerate(("Aisha Bello", "Musa Sani")):
        path = tmp_path / "drive" / form.format(name=name)
        if path.suffix == ".zip":
            packed(path, {NAME: work(f"a = {number}")})
        else:
            put(tmp_path / "drive", {path.name: work(f"a = {number}")})
    collect(course, LAB, tmp_path / "drive")
    assert written(course) == {"aisha_bello": ONLY, "musa_sani": ONLY}
    assert answer(course, "musa_sani") == "a = 1"


def test_files_of_nobody_are_named_and_not_lost(course, work, tmp_path):
    files = {
        NAME: work("a = 1"),
        "lab0_mini (1).ipynb": work("a = 2"),
        "Copy of lab0.ipynb": work("a = 3"),
        "aisha.ipynb": work("a = 4"),
    }
    summary = collect(course, LAB, put(tmp_path / "drive", files))
    assert written(course) == {"aisha": ONLY} and len(summary.nobodys) == 3
    assert "nobody's" in table(summary) and "4 entries in = 1 of students (1 new) + 3 nobody's + 0 left aside" in table(
        summary
    )


@pytest.mark.parametrize("wrap", ["", "export/"])
def test_own_folders_zips_and_notebooks(course, work, tmp_path, wrap):
    source = put(tmp_path / "class", {f"{wrap}aisha/{NAME}": work("a = 1"), f"{wrap}aisha/artifacts/slope-cpu.json": SLOPE,
                                      f"{wrap}S123.ipynb": work("a = 2"), f"{wrap}lab0_mini_musa.ipynb": work("a = 3"),
                                      f"{wrap}students.csv": b"id\n", f"{wrap}.DS_Store": b""})  # fmt: skip
    packed(source / wrap / "b@x.ng.zip", {f"lab/{NAME}": work("a = 4"), "lab/artifacts/slope-cpu.json": SLOPE})
    if wrap:
        (source / wrap / "students.csv").unlink()
    summary = collect(course, LAB, source)
    assert written(course) == {"S123": ONLY, "aisha": WHOLE, "b@x.ng": WHOLE, "musa": ONLY}
    assert summary.aside == ([] if wrap else ["students.csv"])


def test_nbgraders_own_layout_of_several_labs(course, work, tmp_path):
    files = {
        f"aisha/{LAB}/{NAME}": work("a = 1"),
        "aisha/lab1/lab1.ipynb": work("a = 2"),
        "aisha/lab1/artifacts/x.json": b"1",
    }
    collect(course, LAB, put(tmp_path / "class", files))
    assert written(course) == {"aisha": ONLY} and answer(course, "aisha") == "a = 1"


def test_one_student_alone(course, work, tmp_path):
    collect(
        course,
        LAB,
        put(tmp_path / "class", {f"aisha/{LAB}/{NAME}": work("a = 1"), f"aisha/{LAB}/artifacts/slope-cpu.json": SLOPE}),
    )
    assert written(course) == {"aisha": WHOLE}


# ---- ids and the students' list


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Aisha Bello", "aisha_bello"),
        ("José Ñandú", "jose_nandu"),
        ("Ɓala Ɗan-Ƙarfi", "ɓala_ɗan-ƙarfi"),
        ("محمد علي", "محمد_علي"),
        ("s1.B", "s1.B"),
        ("Bello, Aisha", "bello_aisha"),
        ("O'Neill  X", "oneill_x"),
        ("a/../b c", "a_b_c"),
        ("\x1b[31mred x", "31mred_x"),
        ("=cmd x", "cmd_x"),
    ],
)
def test_e16_ids_from_names(name, made):
    assert make_id(name) == made


LIST = """id,first_name,last_name,email,lms_user_id,lms_name
aisha,Aïsha,Bello,a.bello@x.ng,1001,
musa,Musa,Sani,m@x.ng,,Moussa S.
kande,Kande,Ali,k@x.ng,,
"""


@pytest.fixture
def students(tmp_path):
    (tmp_path / "students.csv").write_text(LIST, encoding="utf-8-sig")
    return tmp_path / "students.csv"


@pytest.mark.parametrize(
    ("person", "found"),
    [
        (Person("Aisha Bello", "moodle", "5"), "aisha"),
        (Person("belloaisha", "canvas", "77"), "aisha"),
        (Person("x", "canvas", "1001"), "aisha"),
        (Person("x", "moodle", "1001"), None),
        (Person("BELLO, Aïsha"), "aisha"),
        (Person("a.bello"), "aisha"),
        (Person("Moussa S."), "musa"),
        (Person("musa"), "musa"),
        (Person("m@x.ng"), "musa"),
        (Person("Bello"), None),
    ],
)
def test_the_students_list_knows_names_numbers_and_emails(students, person, found):
    row = Roster(read_roster(students)).find(person)
    assert (row.id if row else None) == found


def test_the_list_gives_the_ids_and_says_who_is_missing_or_unknown(course, work, tmp_path, students):
    files = {
        f"Aisha Bello_1_assignsubmission_file/{NAME}": work("a = 1"),
        f"Visitor X_2_assignsubmission_file/{NAME}": work("a = 2"),
    }
    summary = collect(course, LAB, put(tmp_path / "export", files), students)
    assert set(written(course)) == {"aisha", "visitor_x"} and summary.missing == ["musa", "kande"]
    assert "not in the students' list" in table(summary) and "nothing came from: musa, kande" in table(summary)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name\nx\n", "has no column `id`"),
        ("id\n--\n", "line 2: `--` cannot be an id; write"),
        ("id\n\n \n", "has no students"),
        ("id\na\nA\n", "lines 2, 3: `a`, `A` have the id `a` twice"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(tmp_path, text, words):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(RosterError, match=words):
        read_roster(tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("people", "ids"),
    [
        ([Person("John Smith", "moodle", "1"), Person("John Smith", "moodle", "2")], ["john_smith_1", "john_smith_2"]),
        ([Person("José A"), Person("Jose A")], None),
        ([Person("aisha"), Person("Aisha")], None),
    ],
)
def test_two_people_never_get_one_id(people, ids):
    found = Roster().ids(people)
    assert len({own.casefold() for own, _ in found.values()}) == 2
    assert all("Several people" in said for _, said in found.values())
    assert ids is None or [own for own, _ in found.values()] == ids


def test_names_that_two_students_share_are_not_guessed():
    roster = Roster([Student("a1", "Ali", "Musa"), Student("a2", "Musa", "Ali")])
    assert roster.find(Person("Ali Musa")) is None and fold("Ali, Musa") == "alimusa"


def test_a_later_collection_gives_nobody_the_folder_of_another(course, work, tmp_path):
    collect(course, LAB, put(tmp_path / "monday", {f"José A/{NAME}": work("a = 1")}))
    summary = collect(course, LAB, put(tmp_path / "tuesday", {f"Jose A/{NAME}": work("a = 2")}))
    assert answer(course, "jose_a") == "a = 1" and len(written(course)) == 2
    assert "`Jose A` got" in table(summary) and "the others: `José A`" in table(summary)
    again = collect(course, LAB, put(tmp_path / "both", {f"José A/{NAME}": work("a = 1"), f"Jose A/{NAME}": work("a = 2")}))
    assert set(states(again).values()) == {"unchanged"} and len(written(course)) == 2


def test_ids_that_no_folder_can_have_and_the_list_for_nbgrader(course, work, tmp_path):
    (tmp_path / "list.csv").write_text("Matric No;Surname;First Name\nCSC/19/1;Bello;Aïsha\n;;\n", encoding="utf-16")
    summary = collect(course, LAB, put(tmp_path / "x", {f"Aïsha Bello/{NAME}": work("a = 1")}), tmp_path / "list.csv")
    assert set(written(course)) == {"CSC_19_1"} and "`CSC/19/1` is `CSC_19_1` here" in table(summary)
    assert (course / WORK / "students.csv").read_text(encoding="utf-8").splitlines()[1] == "CSC_19_1,Aïsha,Bello,,,CSC/19/1"


@pytest.mark.parametrize("encoding", ["utf-8", "cp850", "cp1252", "gb18030"])
def test_a_zip_of_a_class_whose_names_say_not_how_they_are_written(course, work, tmp_path, encoding):
    name = "王芳" if encoding == "gb18030" else "Zoé Núñez" if encoding != "utf-8" else "Ọlá Adébáyọ\u0300"
    (tmp_path / "list.csv").write_text(f"id,lms_name\nu1,{name}\n", encoding="utf-8")
    stand_in = "x" * len(name.encode(encoding))
    path = packed(tmp_path / "class.zip", {f"{stand_in}/{NAME}": work("a = 1"), f"musa/{NAME}": work("a = 2")})
    path.write_bytes(path.read_bytes().replace(stand_in.encode() + b"/", name.encode(encoding) + b"/"))
    collect(course, LAB, path, tmp_path / "list.csv")
    assert set(written(course)) == {"u1", "musa"}


def test_a_groups_one_entry_is_counted_once(course, work, tmp_path):
    (tmp_path / "list.csv").write_text("id,group\na,Group 1\nb,Group 1\n")
    source = put(tmp_path / "x", {f"Group 1_5_assignsubmission_file/{NAME}": work("a = 1")})
    summary = collect(course, LAB, source, tmp_path / "list.csv")
    assert set(written(course)) == {"a", "b"} and "1 entries in = 1 of students (2 new)" in table(summary)
    assert "Handed in by the group `Group 1`." in table(summary)


def test_names_that_are_no_unicode_are_written_all_the_same(course, work, tmp_path):
    folder = put(tmp_path / "x", {f"musa/{NAME}": work("a = 1"), f"\u2028bad\x85 name/{NAME}": work("a = 2")})
    os.rename(folder / "musa", os.fsencode(folder) + "/Zoé Núñez".encode("cp1252"))
    summary = collect(course, LAB, folder)
    assert set(written(course)) == {"bad_name", "zoe_nunez"} and len(table(summary).splitlines()) == 3
    table(summary).encode()


# ---- resubmissions, refusals, faults


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("first", ["2026-02-01T12:00:00+00:00", "2026-04-01T12:00:00+00:00", None])
def test_a_time_that_is_corrected_is_the_time(course, work, tmp_path, first, broken):
    source = put(tmp_path / "class", {f"aisha/{NAME}": b"{" if broken else work("a = 1")})
    collect(course, LAB, source, received=first)
    summary = collect(course, LAB, source, received="2026-03-01T13:00+01:00")
    assert read_collected(course, LAB, "aisha").received == "2026-03-01T12:00:00+00:00"
    assert (submitted_folder(course, LAB, "aisha") / "timestamp.txt").read_text() == "2026-03-01 12:00:00.000000 UTC"
    assert states(summary) == {"aisha": "refused" if broken else "time changed"} and "Noted as handed in" in table(summary)
    collect(course, LAB, source)  # without a time, what the teacher said stays
    assert read_collected(course, LAB, "aisha").received == "2026-03-01T12:00:00+00:00"


def test_a_time_that_is_none_is_said_with_one_that_is(course, tmp_path):
    for text in ("yesterday", "0001-01-01T00:00+14:00", ""):
        if text:
            with pytest.raises(CollectError, match="this is no time; write it like 20"):
                collect(course, LAB, tmp_path, received=text)


def test_the_newest_file_tells_when_and_not_its_folder(course, work, tmp_path):
    source = put(tmp_path / "class", {f"aisha/{NAME}": work("a = 1"), "aisha/artifacts/slope-cpu.json": SLOPE,
                                      "aisha/.venv/x.py": b""})  # fmt: skip
    os.utime(source / "aisha" / NAME, (1_000, 1_000))
    os.utime(source / "aisha/artifacts/slope-cpu.json", (2_000, 2_000))
    collect(course, LAB, source)
    assert read_collected(course, LAB, "aisha").received == "1970-01-01T00:33:20+00:00"


def test_collecting_again_changes_nothing(course, work, tmp_path):
    source = put(tmp_path / "class", {f"aisha/{NAME}": work("a = 1"), "broken/x.ipynb": b"{"})
    assert states(collect(course, LAB, source)) == {"aisha": "new", "broken": "refused"}
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (course / WORK).rglob("*") if path.is_file()}
    os.utime(source / "aisha", (2**31, 2**31))
    assert states(collect(course, LAB, source)) == {"aisha": "unchanged", "broken": "refused"}
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (course / WORK).rglob("*") if path.is_file()}
    assert {p: v for p, v in before.items() if "receipts" not in p.parts} == {
        p: v for p, v in after.items() if "receipts" not in p.parts
    }
    assert {p: v[1] for p, v in before.items()} == {p: v[1] for p, v in after.items()}


def test_a_newer_one_replaces_the_older_which_is_kept(course, work, tmp_path):
    source = put(tmp_path / "class", {f"aisha/{NAME}": work("a = 1"), "aisha/artifacts/slope-cpu.json": SLOPE})
    for path in (source / "aisha").rglob("*.*"):
        os.utime(path, (1_000, 1_000))  # the time of the files counts, not that of their folder
    collect(course, LAB, source)
    assert (submitted_folder(course, LAB, "aisha") / "timestamp.txt").read_text() == "1970-01-01 00:16:40.000000 UTC"
    newer = put(tmp_path / "later", {f"aisha/{NAME}": work("a = 2")})
    summary = collect(course, LAB, newer)
    assert states(summary) == {"aisha": "resubmitted"} and answer(course, "aisha") == "a = 2"
    kept = course / WORK / "superseded" / "aisha" / LAB / "001"
    assert sorted(path.name for path in kept.iterdir()) == ["artifacts", NAME, "timestamp.txt"]
    assert "superseded/aisha/lab0_mini/001" in table(summary)
    assert states(collect(course, LAB, source)) == {"aisha": "set aside"}  # the old export once more
    assert answer(course, "aisha") == "a = 2" and os.listdir(kept.parent) == ["001"]  # where that work lies already


@pytest.mark.parametrize("received", [None, "2026-03-02T10:00:00+01:00"], ids=["time of the files", "given time"])
@pytest.mark.parametrize("times", [(5, 5, 5), (1, 2, 3), (3, 2, 1), (5, 5, 1)])
def test_several_uploads_of_a_student_collected_again_change_nothing(course, work, tmp_path, times, received):
    names = [f"Aisha Bello - {LAB}.ipynb", f"Aisha Bello - {LAB} (1).ipynb", f"Copy of Aisha Bello - {LAB}.ipynb"]
    source = put(tmp_path / "class", {name: work(f"a = {number}") for number, name in enumerate(names)})
    for name, time in zip(names, times, strict=True):
        os.utime(source / name, (time * 1_000, time * 1_000))
    first = collect(course, LAB, source, received=received)
    assert sorted(row.state for row in first.rows) == ["new", "set aside", "set aside"]
    stands, after = answer(course, "aisha_bello"), written_out(course)
    for _ in range(2):
        again = collect(course, LAB, source, received=received)
        assert sorted(row.state for row in again.rows) == ["set aside", "set aside", "unchanged"]
        assert answer(course, "aisha_bello") == stands and written_out(course) == after


def written_out(course):
    return {path: path.read_bytes() for path in (course / WORK).rglob("*") if path.is_file()}


def test_two_uploads_of_one_student_the_newest_counts(course, work, tmp_path):
    source = put(tmp_path / "class", {f"aisha/{NAME}": work("a = 1")})
    packed(source / "aisha.zip", {NAME: work("a = 2")})
    os.utime(source / "aisha.zip", (1_000, 1_000))
    summary = collect(course, LAB, source)
    assert answer(course, "aisha") == "a = 1" and summary.entries == 2
    assert "There are 2 uploads of this student; the newest counts, `aisha`" in table(summary)
    assert (course / WORK / "superseded" / "aisha" / LAB / "001" / NAME).is_file()


def test_a_refused_one_is_seen_by_the_grader_as_refused(course, work, tmp_path):
    source = put(tmp_path / "class", {"aisha/lab.ipynb": b'{"cells"', "musa/report.pdf": b"x"})
    os.mkfifo(source / "kande")
    os.symlink("/etc/passwd", source / "link.zip")
    summary = collect(course, LAB, source)
    assert states(summary) == {"aisha": "refused", "musa": "refused", "link": "refused"} and summary.aside == ["kande"]
    assert written(course) == {"aisha": ONLY, "link": ONLY, "musa": ONLY}  # plain nbgrader finds a notebook, and gives 0
    found = read_collected(course, LAB, "aisha")
    assert found.notebook is None and "cut off or damaged" in found.refused
    assert "4 entries in = 3 of students (3 refused) + 0 nobody's + 1 left aside" in table(summary)


def test_a_student_cannot_write_a_receipt(course, work, tmp_path):
    forged = json.dumps({"received": "1999-01-01T00:00:00+00:00", "refused": None}).encode()
    files = {f"aisha/{NAME}": work("a = 1"), "aisha/receipt.json": forged, "aisha/timestamp.txt": b"1999-01-01 00:00:00 UTC"}
    collect(course, LAB, put(tmp_path / "class", files), received="2026-03-01T10:00:00+01:00")
    found = read_collected(course, LAB, "aisha")
    assert found.received == "2026-03-01T09:00:00+00:00" and any("time of receipt" in note for note in found.notes)


def test_a_receipt_counts_only_for_its_own_files(course, work, tmp_path):
    collect(course, LAB, put(tmp_path / "class", {"aisha/x.ipynb": b"{"}))
    put(submitted_folder(course, LAB, "aisha"), {NAME: work("a = 1")})  # the instructor mends it by hand
    assert read_collected(course, LAB, "aisha").refused is None
    with pytest.raises(FileNotFoundError):
        read_collected(course, LAB, "nobody")


def test_what_is_collected_reads_as_the_same_work(course, work, tmp_path):
    source = put(
        tmp_path / "class",
        {f"aisha/Copy of {NAME}": work("a = 1"), "aisha/slope-cpu (1).json": SLOPE, "aisha/own.csv": b"text,label\n"},
    )
    collect(course, LAB, source)
    direct = collecting.read_submission(source / "aisha", LAB, "aisha")
    found = read_collected(course, LAB, "aisha")
    assert found.digest == direct.digest == read_receipt(course, LAB, "aisha").digest and found.notes == direct.notes


def test_a_refusal_after_a_good_one_counts_and_the_good_one_is_kept(course, work, tmp_path):
    collect(course, LAB, put(tmp_path / "a", {f"aisha/{NAME}": work("a = 1")}), received="2026-03-01T10:00:00+00:00")
    summary = collect(course, LAB, put(tmp_path / "b", {f"aisha/{NAME}": b"{"}), received="2026-03-02T10:00:00+00:00")
    assert states(summary) == {"aisha": "refused"} and "superseded/aisha" in table(summary)
    assert read_collected(course, LAB, "aisha").refused


def test_a_damaged_entry_of_the_export_costs_only_its_student(course, work, tmp_path):
    path = packed(
        tmp_path / "export.zip", {f"aisha/{NAME}": work("a = 1"), f"musa/{NAME}": work("b = 2"), "../evil/x.ipynb": b""}
    )
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo(f"musa/{NAME}").header_offset + 60
    data = bytearray(path.read_bytes())
    data[at : at + 200] = bytes(200)
    path.write_bytes(data)
    summary = collect(course, LAB, path)
    assert states(summary) == {"aisha": "new", "musa": "refused"}
    assert "`musa/lab0_mini.ipynb` could not be unpacked" in table(summary) and "`../evil/x.ipynb` was left out" in table(
        summary
    )


def test_a_crash_between_the_two_moves_is_mended_by_collecting_again(course, work, tmp_path, monkeypatch):
    first = put(tmp_path / "a", {f"aisha/{NAME}": work("a = 1")})
    second = put(tmp_path / "b", {f"aisha/{NAME}": work("a = 2")})
    collect(course, LAB, first, received="2026-03-01T10:00:00+00:00")
    real = os.rename

    def crash(old, new):
        if Path(new) == submitted_folder(course, LAB, "aisha"):
            raise KeyboardInterrupt
        real(old, new)

    monkeypatch.setattr(os, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        collect(course, LAB, second)
    monkeypatch.undo()
    (course / WORK / "collect-999999999-x").mkdir()  # of a process that was killed
    collect(course, LAB, second)
    assert not list((course / WORK).glob("collect-*"))
    assert answer(course, "aisha") == "a = 2" and read_receipt(course, LAB, "aisha").received > "2026-03-01"
    assert (course / WORK / "superseded" / "aisha" / LAB / "001" / NAME).is_file()


def test_c9_names_in_the_table_have_no_control_characters(course, work, tmp_path):
    files = {f"\x1b[2Jaisha bello/{NAME}": work("a = 1"), f"x\ny/{NAME}": work("a = 2"), "\x1b]0;x\x07.csv": b""}
    said = table(collect(course, LAB, put(tmp_path / "class", files)))
    assert "\x1b" not in said and "\x07" not in said and "x\ny" not in said


@pytest.mark.parametrize("source", ["nothing.zip", "notes.txt"])
def test_a_source_that_is_none_is_the_instructors_mistake(course, tmp_path, source):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CollectError):
        collect(course, LAB, tmp_path / source)


def test_the_command(course, work, tmp_path, students):
    put(tmp_path / "class", {f"aisha/{NAME}": work("a = 1")})
    command = [sys.executable, "-m", "leaplm", "collect", LAB, str(tmp_path / "class"), "--students", str(students)]
    done = subprocess.run(
        command, cwd=course, capture_output=True, text=True, env={**os.environ, "LEAPLM_COURSE": str(course)}
    )
    assert done.returncode == 0 and "1 entries in = 1 of students (1 new)" in done.stdout, done.stdout + done.stderr
    said = []
    assert (
        run(course, "lab9_none", tmp_path / "class", None, None, said.append) == 1
        and "there is no lab `lab9_none`" in said[0]
    )
    assert run(course, LAB, tmp_path / "class", None, "yesterday", said.append) == 1


def test_sorting_accounts_for_every_entry(work, tmp_path):
    files = {**moodle_folders(work), NAME: b"", "b.ipynb": b"", "x.pdf": b"", "b_1001_5_x.ipynb": b""}
    folder = put(tmp_path / "x", files)
    assert sort_out(folder, LAB).entries == len(os.listdir(folder))


@pytest.mark.parametrize("seconds", [1.1e12, 2**62 / 1e9, 2**33, 4.3e9, -5, -(2**33)])
def test_a_file_of_an_impossible_date_is_collected_and_the_others_too(course, work, tmp_path, seconds):
    source = put(tmp_path / "class", {f"aisha/{NAME}": work("a = 1"), f"bello/{NAME}": work("a = 2"),
                                      "bello/artifacts/slope-cpu.json": SLOPE, f"chidi/{NAME}": work("a = 3")})  # fmt: skip
    for path in (source / "aisha" / NAME, source / "bello" / NAME):
        os.utime(path, (seconds, seconds))
    os.utime(source / "bello/artifacts/slope-cpu.json", (2_000, 2_000))
    if os.stat(source / "aisha" / NAME).st_mtime == pytest.approx(seconds):  # a disk may know no such date
        summary = collect(course, LAB, source)
        assert states(summary) == dict.fromkeys(("aisha", "bello", "chidi"), "new")
        now = datetime.now(UTC)
        assert now - timedelta(hours=1) < datetime.fromisoformat(read_collected(course, LAB, "aisha").received) <= now
        assert read_collected(course, LAB, "bello").received == "1970-01-01T00:33:20+00:00"
        said = {row.student: " ".join(row.notes) for row in summary.rows}
        assert "has a date that cannot be" in said["aisha"] and "cannot be" not in said["chidi"]
        assert states(collect(course, LAB, source)) == dict.fromkeys(("aisha", "bello", "chidi"), "unchanged")


@pytest.mark.parametrize("extra", [struct.pack("<HHIHHQ", 10, 32, 0, 1, 24, 2**64 - 1) + bytes(16),
                                   struct.pack("<HHBi", 0x5455, 5, 1, 2**31 - 1)], ids=["NTFS", "Unix"])  # fmt: skip
@pytest.mark.parametrize("whole", [True, False])
def test_a_zip_that_says_an_impossible_date_is_collected(course, work, tmp_path, extra, whole):
    """As an upload, and as an entry of a class's zip."""
    (tmp_path / "class").mkdir()
    path = tmp_path / "class.zip" if whole else tmp_path / "class" / "aisha.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("aisha/", "bello/") if whole else ("",):
            info = zipfile.ZipInfo(f"{name}{NAME}", (2107, 12, 31, 23, 59, 58))
            info.extra = extra
            archive.writestr(info, work("a = 1"))
    summary = collect(course, LAB, path if whole else path.parent)
    assert set(states(summary).values()) == {"new"} and len(summary.rows) == 1 + whole
    assert datetime.fromisoformat(read_collected(course, LAB, "aisha").received) <= datetime.now(UTC)
