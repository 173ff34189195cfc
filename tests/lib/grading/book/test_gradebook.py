"""Verdicts in nbgrader's gradebook: what changes after a verdict was given changes the mark, and nothing is lost."""

import contextlib
import datetime
import json
import sqlite3

import nbformat
import pytest
from leaplm.grading.assignment import lab_assignment
from leaplm.grading.book import verdicts
from leaplm.grading.book.gradebook import CourseBook, PatientWriter, Writer, scores
from leaplm.grading.book.verdicts import Store, append_line, grader_digest, latest_records
from leaplm.grading.classroom import Summary
from leaplm.grading.judge.engine import Graded, our_fault
from leaplm.grading.rebuild.exercises import check_name, role
from leaplm.grading.sandbox.walls import Limits
from leaplm.grading.submission import Submission
from mini import LAB, make_course
from nbgrader.apps import NbGraderAPI

WORK = ".nbgrader-work"
CONFIG = """
c.LateSubmissionPlugin.penalty_method = "zero"
c.GradeSubmission.limits = {"cell_seconds": 7}
"""
MONDAY, WEDNESDAY, FRIDAY = (f"2026-03-{day:02}T12:00:00+00:00" for day in (2, 4, 6))


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    course = make_course(tmp_path_factory.mktemp("gradebook") / "course")
    config = course / "nbgrader_config.py"
    config.write_text(config.read_text() + CONFIG)
    return course


@pytest.fixture(scope="module")
def book(course):
    book = CourseBook(course)
    book.register(LAB)
    return book


def verdict(course, student, points, received=MONDAY, submission="1" * 64, message="right"):
    """A verdict as the examiner gives it, with so many points for each check."""
    notebook = nbformat.read(course / "labs" / LAB / f"{LAB}.ipynb", as_version=4)
    checks = []
    for cell in notebook.cells:
        if role(cell) == "check":
            got = min(points, cell.metadata.nbgrader.points)
            cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": str(got)})]
            checks.append({"name": check_name(cell), "points": got, "max": cell.metadata.nbgrader.points,
                           "message": message, "fault": None})  # fmt: skip
    record = {"lab": LAB, "student": student, "submission": submission, "grader": "g", "seed": 1, "state": "graded",
              "reason": "", "points": 0, "max": 9, "checks": checks, "repairs": [], "received": received}  # fmt: skip
    return Graded(record, nbformat.writes(notebook))


def apply(book, graded):
    with book.open() as gradebook:
        Writer(book, gradebook).apply(graded)


def due(book, day):
    when = datetime.datetime.fromisoformat(day).replace(tzinfo=None) if day else None
    with book.open() as gradebook:
        gradebook.update_or_create_assignment(LAB, duedate=when)


def mark(book, student):
    with book.open() as gradebook:
        found = gradebook.find_submission(LAB, student)
        return found.score - (found.late_submission_penalty or 0)


@pytest.fixture
def student(request, book):
    yield "".join(char for char in request.node.name if char.isalnum())[-60:]
    due(book, None)


def test_a_deadline_that_moves_changes_the_mark_of_the_same_verdict(course, book, student):
    graded = verdict(course, student, 1, received=WEDNESDAY)
    due(book, MONDAY)
    apply(book, graded)
    assert mark(book, student) == 0 and scores(book, LAB)[student] > 0
    due(book, FRIDAY)
    apply(book, graded)
    assert mark(book, student) == scores(book, LAB)[student] > 0
    due(book, MONDAY)
    apply(book, graded)
    assert mark(book, student) == 0
    due(book, None)
    apply(book, graded)
    assert mark(book, student) > 0


def test_a_corrected_time_changes_the_mark_and_the_time_beside_the_notebook(course, book, student):
    due(book, MONDAY)
    apply(book, verdict(course, student, 1, received=WEDNESDAY))
    assert mark(book, student) == 0
    apply(book, verdict(course, student, 1, received=MONDAY))
    assert mark(book, student) > 0
    stamp = course / WORK / "autograded" / student / LAB / "timestamp.txt"
    assert stamp.read_text() == "2026-03-02 12:00:00.000000 UTC"
    apply(book, verdict(course, student, 1, received=None))
    assert not stamp.exists()


def test_another_policy_changes_the_mark(course, book, student):
    due(book, MONDAY)
    graded = verdict(course, student, 1, received=WEDNESDAY)
    apply(book, graded)
    lenient = CourseBook(course)
    lenient.app.config.LateSubmissionPlugin.penalty_method = "none"
    apply(lenient, graded)
    assert mark(book, student) > 0


def feedback(book, student):
    book.coursedir.student_id = student
    result = NbGraderAPI(book.coursedir, parent=book.app).generate_feedback(LAB, student, force=False)
    assert result["success"], result["log"]
    return (book.folder("feedback", student, LAB) / f"{LAB}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("later", [WEDNESDAY, MONDAY])
def test_nbgraders_next_feedback_shows_the_new_mark(course, book, student, later):
    apply(book, verdict(course, student, 0))
    left = book.folder("autograded", student, LAB) / "artifacts"
    left.mkdir()
    (left / "of-version-1.json").touch()
    before = feedback(book, student)
    apply(book, verdict(course, student, 0))
    assert book.folder("feedback", student, LAB).is_dir(), "nothing changed: the page stays"
    apply(book, verdict(course, student, 1, received=later, submission="2" * 64))
    assert not left.exists() and feedback(book, student) != before


@contextlib.contextmanager
def locked(course):
    with contextlib.closing(sqlite3.connect(course / WORK / "gradebook.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture
def hasty(book, monkeypatch):
    """The same gradebook, with a driver that does not wait five seconds by itself."""
    monkeypatch.setattr(book.coursedir, "db_url", book.coursedir.db_url + "?timeout=0.05")
    return book


@pytest.mark.parametrize("opened_before", [True, False])
def test_a_locked_gradebook_is_waited_for_said_and_written_later(course, hasty, student, capfd, opened_before):
    said = []
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(contextlib.ExitStack())
        if not opened_before:
            lock.enter_context(locked(course))
        writer = stack.enter_context(PatientWriter(hasty, LAB, said.append, seconds=0.1))
        if opened_before:
            lock.enter_context(locked(course))
        writer.apply(verdict(course, student, 1))
        assert writer.unwritten == {student}
        assert len(said) == 1 and "in use by another program" in said[0] and "0.1 seconds" in said[0]
        lock.close()
        writer.apply(verdict(course, student, 1), last=True)
        assert writer.unwritten == set() and mark(hasty, student) > 0
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err


def test_what_is_not_in_the_gradebook_is_said_with_what_to_do():
    text = Summary(unwritten=["amina", "bello"]).text()
    assert "amina, bello" in text and "run the same command" in text and "grades nothing twice" in text


def test_the_limits_of_the_configuration_are_those_of_both_commands(book):
    assert book.limits() == Limits(cell_seconds=7)


# ---- the store's key


def submission(**more):
    return Submission(**{"lab": LAB, "student": "amina", "notebook": b"{}", "files": {}, "received": MONDAY, "notes": (),
                         "refused": None, **more})  # fmt: skip


def stored(course, **settings):
    return Store(course, LAB, **settings).find(submission())


@pytest.fixture
def kept(course):
    return Store(course, LAB).save(submission(), verdict(course, "amina", 1))


def test_a_verdict_is_of_its_limits_walls_secret_and_language(course, kept, monkeypatch):
    assert stored(course).record["points"] == kept.record["points"]
    assert stored(course, limits=Limits(cell_seconds=1)) is None and stored(course, unsafe=True) is None
    for name, value in (("LEAPLM_COURSE_SECRET", "a long sentence"), ("LEAPLM_LOCALE", "fr")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert stored(course) is None
    assert stored(course)


@pytest.mark.parametrize("place", ["labs/languages/fr/{lab}/{lab}.ipynb", "course/{lab}/locale/fr.po",
                                   "course/locale/fr/common.po"])  # fmt: skip
def test_a_verdict_is_of_the_labs_translations_and_messages(course, kept, place):
    path = course / place.format(lab=LAB)
    before = grader_digest(course, LAB)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    verdicts.files_digest.cache_clear()
    assert grader_digest(course, LAB) != before
    path.unlink()
    verdicts.files_digest.cache_clear()
    assert grader_digest(course, LAB) == before


def test_a_corrected_time_is_that_of_the_verdict_in_the_store(course, kept):
    assert Store(course, LAB).find(submission(received=FRIDAY)).record["received"] == FRIDAY


@pytest.mark.parametrize("text", ["one\u2028two", "one\x85two", "one\x1ctwo", "one\\ntwo"])
def test_no_text_cuts_a_row_of_the_log(course, text):
    store = Store(course, LAB)
    store.save(submission(student="cut"), verdict(course, "cut", 1, message=text))
    found = latest_records(course, LAB)["cut"]
    assert {check["message"] for check in found["checks"]} == {text}


def test_half_a_letter_in_a_fault_of_ours_does_not_end_the_run(course):
    graded = our_fault(lab_assignment(course, LAB), submission(), 1, "bad \ud800 name")
    assert json.loads(json.dumps(Store(course, LAB).save(submission(), graded).record))["reason"] == "bad ? name"


def log_of(folder, *students):
    """A log with a record of each; with letters of two, three and four bytes, and an end of a line that is none."""
    log = folder / ".nbgrader-work" / "verdicts" / LAB / "log.jsonl"
    log.parent.mkdir(parents=True)
    for student in students:
        append_line(log, json.dumps({"student": student, "reason": "ɗa \u2028 ሰላም 👩🏾‍🏫"}, ensure_ascii=False))
    return log


def test_a_power_cut_at_any_byte_of_the_log_costs_that_line_alone(tmp_path):
    log = log_of(tmp_path, "amina", "bello")
    whole = log.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole) + 1):
        log.write_bytes(whole[:cut])
        kept = {"amina", "bello"} if cut >= len(whole) - 1 else {"amina"}
        assert set(latest_records(tmp_path, LAB)) == kept
        append_line(log, json.dumps({"student": "chidi"}))
        assert set(latest_records(tmp_path, LAB)) == {*kept, "chidi"}, "nor does it cost the line after it"


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[1]", b"7", b'"text"', b'{"student": ["a"]}', b"{}", b"\0" * 4096,
                                  b"[" * 9999], ids=lambda line: repr(line[:20]))  # fmt: skip
def test_a_line_that_is_no_record_is_passed_over(tmp_path, line):
    """What a disk leaves after a power cut, or somebody's hand."""
    log = log_of(tmp_path, "amina")
    log.write_bytes(line + b"\n" + log.read_bytes() + line)
    assert set(latest_records(tmp_path, LAB)) == {"amina"}
