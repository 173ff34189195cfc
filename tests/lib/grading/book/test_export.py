"""Marks as tables: safe to open, and as Moodle and Canvas read them."""

import contextlib
import csv
import datetime
import json
import subprocess
import sys

import pytest
from leaplm.grading.book.export import WORKSHEET, CanvasExport, CsvExport, MoodleExport, cell, safe_text, write_csv
from leaplm.grading.intake.people import Student as StudentRow
from leaplm.grading.intake.receipts import WORK, Receipt, write_receipt
from leaplm.grading.intake.student_list import FIT_LIST, write_list
from mini import LAB, make_course
from nbgrader.api import Gradebook
from nbgrader.apps import ExportApp
from nbgrader.plugins import CsvExportPlugin

OTHER = "lab9_other"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course whose gradebook has a class of five in it."""
    course = make_course(tmp_path_factory.mktemp("export") / "course")
    with Gradebook(f"sqlite:///{course / WORK / 'gradebook.db'}", "leaplm") as book:
        for lab in (LAB, OTHER):
            book.add_assignment(lab)
            book.add_notebook(lab, lab)
            book.add_grade_cell("check_a", lab, lab, max_score=6, cell_type="code")
            book.add_grade_cell("why", lab, lab, max_score=4, cell_type="markdown")
        book.add_student("aisha", first_name="Aïsha", last_name="Bello", email="a@x.ng")
        book.add_student("=1+1,C8", first_name='=HYPERLINK("http://x")', last_name='O"Neill, X', email="@evil")
        book.add_student("musa", first_name="Musa", last_name="Sani", email="m@x.ng", lms_user_id="1002")
        book.add_student("kande")
        book.add_student("failed")
        for student, score in (("aisha", 6), ("=1+1,C8", 3), ("musa", 2), ("failed", 1)):
            book.add_submission(LAB, student, timestamp=datetime.datetime(2026, 3, 1, 10))
            grade = book.find_grade("check_a", LAB, LAB, student)
            grade.auto_score, grade.needs_manual_grade = score, False
            written = book.find_grade("why", LAB, LAB, student)
            written.manual_score, written.needs_manual_grade = (4, False) if student == "aisha" else (None, True)
        book.db.commit()
    write_receipt(
        course, Receipt(LAB, "aisha", "d", "2026-03-01T10:00:00+00:00", [], person("Aïsha Bello", "moodle", "12345"))
    )
    write_receipt(course, Receipt(LAB, "=1+1,C8", "d", None, [], person("=1+1", "canvas", "77")))
    log = course / WORK / "verdicts" / LAB / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return course


def person(name, platform, number):
    return {"name": name, "platform": platform, "number": number}


def record(student, state, reason="", message="matches", repairs=()):
    checks = [{"name": "a", "points": 3, "max": 6, "message": message, "fault": None}]
    return {"student": student, "state": state, "reason": reason, "checks": checks, "repairs": list(repairs)}


RECORDS = [
    record("aisha", "ungradable"),
    record("aisha", "graded", message=f"raised {SCRIPT}\x1b[31m\n=1+1"),
    record("=1+1,C8", "tampered", "-it broke the protocol", repairs=[{"text": "Two versions.", "doubtful": True}]),
    record("failed", "infrastructure", "no memory on our side"),
]


@pytest.fixture(scope="module")
def app(course):
    """nbgrader as it is configured in the course; starting the command anew takes seconds."""
    app = ExportApp()
    with contextlib.chdir(course):  # where its configuration lies
        app.initialize([], root=str(course))
    return app


@pytest.fixture
def export(app, tmp_path):
    def run(exporter, labs=(LAB,), students=(), **options):
        plugin = exporter(parent=app, to=str(tmp_path / "out.csv"), assignment=list(labs), student=list(students), **options)
        with Gradebook(app.coursedir.db_url, "leaplm") as book:
            plugin.export(book)
        return tmp_path / "out.csv"

    return run


def table(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def rows(path, key):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {row[key]: row for row in csv.DictReader(file)}


def test_csv_has_nbgraders_columns_and_the_state(export):
    found = rows(export(CsvExport), "student_id")
    assert sorted(found) == ["'=1+1,C8", "aisha", "failed", "kande", "musa"]
    aisha = found["aisha"]
    assert [aisha[name] for name in ("assignment", "raw_score", "score", "max_score", "state")] == [
        LAB,
        "10.0",
        "10.0",
        "10.0",
        "graded",
    ]
    assert aisha["timestamp"] == "2026-03-01 10:00:00" and aisha["needs_manual_grade"] == ""
    assert (found["kande"]["score"], found["kande"]["state"]) == ("0.0", "missing")
    assert (found["failed"]["score"], found["failed"]["state"]) == ("", "infrastructure")
    assert found["musa"]["state"] == "" and found["musa"]["needs_manual_grade"] == "yes"
    assert found["'=1+1,C8"]["note"] == "'-it broke the protocol Two versions."


def test_csv_has_what_nbgraders_own_has(export, tmp_path):
    known = ("aisha", "kande", "musa")
    ours, theirs = (rows(export(exporter, (), known), "student_id") for exporter in (CsvExport, CsvExportPlugin))
    for student in known:
        assert {name: ours[student][name] for name in theirs[student]} == theirs[student]


@pytest.mark.parametrize("exporter", [CsvExport, MoodleExport, CanvasExport])
def test_c8_no_cell_is_a_formula_and_no_comma_breaks_a_row(export, exporter):
    path = export(exporter)
    assert {len(row) for row in table(path)} == {len(table(path)[0])}
    assert not [text for row in table(path) for text in row if text[:1] in ("=", "+", "-", "@", "\t", "\r") and text != "-"]
    assert "\x1b" not in path.read_text(encoding="utf-8")  # C9


BEGINNINGS = ["=1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\n=1", "＝1", "\x00=1", "\u202e=1", "\u200b=1", "\ufeff=1"]


@pytest.mark.parametrize("text", BEGINNINGS)
def test_c8_what_begins_a_formula_is_a_text(text):
    assert cell(text).startswith("'")


@pytest.mark.parametrize("end", ["\r\n", "\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_no_text_ends_a_row(tmp_path, end):
    path = write_csv(tmp_path / "a.csv", ["x"], [[f"one{end}two\ud800"]], mark=True)
    assert path.read_text(encoding="utf-8-sig").splitlines() == ['"x"', '"one two?"']


@pytest.mark.parametrize(("exporter", "marked"), [(CsvExport, True), (MoodleExport, True), (CanvasExport, False)])
def test_excel_reads_names_as_they_are(export, exporter, marked):
    """The mark, and Canvas without: its importer would take it for a part of the first column's name."""
    assert export(exporter).read_bytes().startswith(b"\xef\xbb\xbf") == marked
    assert not export(exporter, mark=False).read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    ("value", "written"), [(-1.5, -1.5), (0, 0), (None, ""), ("a-b", "a-b"), (True, "True"), ("x\x1b[2J", "x[2J")]
)
def test_other_values_stay(value, written):
    assert cell(value) == written


def test_c9_texts_are_one_line_without_control_characters():
    assert safe_text("a\r\nb\x9b\u202ec") == "a bc"


def test_moodles_grading_worksheet(course, tmp_path):
    command = [sys.executable, "-m", "nbgrader", "export", "--exporter", "leaplm.grading.book.export.MoodleExport"]
    path = tmp_path / "moodle.csv"
    done = subprocess.run([*command, "--to", path, "--assignment", f'["{LAB}"]'], cwd=course, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "3 submissions still wait for a person" in done.stderr and "no mark, grade again: failed" in done.stderr
    found = rows(path, "ID number")
    assert tuple(found["aisha"]) == WORKSHEET
    # what Moodle's importer needs: Identifier, Grade, Last modified (grade)
    assert found["aisha"]["Identifier"] == "Participant 12345" and float(found["aisha"]["Grade"]) == 10
    assert (found["aisha"]["Full name"], found["aisha"]["Email address"]) == ("Aïsha Bello", "a@x.ng")
    assert found["musa"]["Identifier"] == "" and found["kande"]["Grade"] == found["failed"]["Grade"] == ""


def test_moodles_comments_are_html_without_tags_of_the_student(export):
    found = rows(export(MoodleExport), "ID number")
    assert found["aisha"]["Feedback comments"] == "a: 3 of 6. raised &lt;script&gt;alert(1)&lt;/script&gt;[31m =1+1"
    assert found["'=1+1,C8"]["Feedback comments"].startswith("'-it broke the protocol<br>a: 3 of 6.")


def test_moodles_own_maximum_and_a_file_for_each_lab(export, tmp_path):
    export(MoodleExport, (LAB, OTHER), out_of=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"out-{LAB}.csv", f"out-{OTHER}.csv"]
    aisha = rows(tmp_path / f"out-{LAB}.csv", "ID number")["aisha"]
    assert (float(aisha["Grade"]), float(aisha["Maximum Grade"])) == (100, 100)


def test_canvas(export):
    head, points, *students = table(export(CanvasExport, (LAB, OTHER), columns={LAB: "Lab 0 (555)"}))
    # Canvas's importer: `Student` and `ID` first, `Section` last before the assignments
    assert head == ["Student", "ID", "SIS Login ID", "Section", "Lab 0 (555)", OTHER]
    assert points[0].strip() == "Points Possible" and [float(text) for text in points[4:]] == [10, 10]
    found = {row[2]: row for row in students}
    assert found["aisha"] == ["Bello, Aïsha", "", "aisha", "", "10.0", ""]
    assert found["musa"][1] == "1002" and found["'=1+1,C8"][1] == "77"
    assert found["kande"] == ["kande", "", "kande", "", "", ""]


def test_platforms_get_the_ids_of_the_registry(course, export):
    write_list(course / FIT_LIST, [StudentRow("aisha", "Aïsha", "Bello", written="CSC/19/0123")])
    try:
        assert "CSC/19/0123" in rows(export(MoodleExport), "ID number")
        assert "CSC/19/0123" in [row[2] for row in table(export(CanvasExport))]
        assert "aisha" in rows(export(CsvExport), "student_id"), "ours is nbgrader's table"
    finally:
        (course / FIT_LIST).unlink()


def test_only_the_students_asked_for(export):
    assert len(table(export(CanvasExport, students=["aisha"]))) == 3


def test_a_table_is_whole_or_not_there(tmp_path):
    path = write_csv(tmp_path / "a.csv", ["x"], [["1"]])
    with pytest.raises(ZeroDivisionError):
        write_csv(path, ["x"], ([1 / 0] for _ in range(1)))
    assert path.read_text() == '"x"\n"1"\n'
