"""Each stage of grading throws for one student of a class: that student has a verdict, and the others have theirs."""

import json

import pytest
from leaplm.grading import classroom
from leaplm.grading.book.gradebook import CourseBook, Writer, scores
from leaplm.grading.book.verdicts import Store
from leaplm.grading.classroom import grade_class
from leaplm.grading.judge.checks import TOO_COSTLY
from leaplm.grading.judge.engine import Engine, Examiner
from leaplm.grading.sandbox.walls import Limits
from mini import LAB, make_course
from walled import needs_sandbox

pytestmark = [needs_sandbox, pytest.mark.usefixtures("shared_servers")]
WORK = ".nbgrader-work"
OURS = "infrastructure"
STAGES = {"intake": "ungradable", "store": "graded", "engine": OURS, "examiner": OURS, "rebuild": OURS, "judge": OURS,
          "saving": OURS, "gradebook": OURS}  # fmt: skip
COSTLY = ("endless", "dies")  # what is handed in keeps two checks from an end, or ends the examiner in them
# The examiner is a process of its own, whose stages throw by what is handed in: it reads this when it starts.
IN_THE_EXAMINER = """
import importlib, os
checks = importlib.import_module("leaplm.grading.judge.checks")
repair = importlib.import_module("leaplm.grading.rebuild.repair")

def throwing(function, is_asked):
    def thrown(*args):
        if is_asked(*args):
            raise ZeroDivisionError("a fault of ours: \\ud800\\u2028")
        return function(*args)
    return thrown

repair.rebuild = throwing(repair.rebuild, lambda release, submitted, others: "# throw in rebuild" in str(submitted))
def costly(function):
    def judge(check, student, seed):
        handed_in = student._files if check.name in ("slope", "mean_square") else ()
        while "artifacts/endless.json" in handed_in:
            try:
                sum(range(10**5))
            except Exception:
                pass
        if "artifacts/dies.json" in handed_in:
            os._exit(137)
        return function(check, student, seed)
    return judge

checks.judge = throwing(costly(checks.judge), lambda check, student, seed: "artifacts/judge.json" in student._files)
"""


def named_in(arg):
    """The students that an argument may be of: an id, a submission, a record, a task of an examiner."""
    if isinstance(arg, dict):
        return [arg.get("student"), *(named_in(arg["submission"]) if isinstance(arg.get("submission"), dict) else ())]
    return [arg if isinstance(arg, str) else getattr(arg, "student", None)]


def throw_in(monkeypatch, owner, name, student):
    """Has a function fail where one of its arguments is of this student."""
    function = getattr(owner, name)

    def thrown(*args, **kwargs):
        if any(student == name for arg in (*args, *kwargs.values()) for name in named_in(arg)):
            raise ZeroDivisionError("a fault of ours: \ud800\u2028")
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, thrown)


@pytest.fixture
def course(tmp_path, monkeypatch):
    made = make_course(tmp_path / "course")
    solution = (made / "solutions" / LAB / f"{LAB}.ipynb").read_bytes()
    for student in ("amina", *STAGES, *COSTLY, "zola"):
        folder = made / WORK / "submitted" / student / LAB
        (folder / "artifacts").mkdir(parents=True)
        (folder / "artifacts" / "slope-cpu.json").write_bytes(b'{"slope": 2.0}')
        (folder / "artifacts" / f"{student}.json").write_bytes(b"{}")
        mark = b"squares = x * x" + (b"  # throw in rebuild" if student == "rebuild" else b"")
        (folder / f"{LAB}.ipynb").write_bytes(solution.replace(b"squares = x * x", mark))
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(IN_THE_EXAMINER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "patch"))
    return made


def test_whatever_stage_throws_each_has_a_verdict_and_the_others_have_theirs(course, monkeypatch):
    throw_in(monkeypatch, classroom, "read_collected", "intake")
    throw_in(monkeypatch, Engine, "_examine", "engine")
    throw_in(monkeypatch, Examiner, "examine", "examiner")
    throw_in(monkeypatch, Writer, "_score", "gradebook")
    kept = course / WORK / "verdicts" / LAB
    (kept / "saving").mkdir(parents=True)
    throw_in(monkeypatch, Store, "save", "saving")
    damaged = Store(course, LAB).path(classroom.Room(CourseBook(course), LAB).read("store"))
    damaged.parent.mkdir(parents=True)
    damaged.write_text('{"state": "gra')
    said = []
    summary = grade_class(course, LAB, jobs=2, say=said.append, students=["amina", *STAGES, "zola"])
    assert {student: record["state"] for student, record in summary.records.items()} == {
        "amina": "graded", **STAGES, "zola": "graded"}  # fmt: skip
    assert [summary.records[student]["points"] for student in ("amina", "zola", "store")] == [9, 9, 9]
    assert f"{len(STAGES) + 2} submissions, {len(STAGES) + 2} verdicts" in summary.text()
    for student, state in STAGES.items():
        reason = summary.records[student]["reason"]
        assert state == "graded" or "ZeroDivisionError" in reason and f"{student}: {state}" in summary.text()
        assert not {"\ud800", "\u2028"} & set(reason)
    assert scores(CourseBook(course), LAB)["amina"] == 9
    assert not list(kept.rglob(".*.part")) and len(list(kept.glob("*/*.json"))) == len(STAGES) + 1
    assert all(json.loads(line) for line in (kept / "log.jsonl").read_text().split("\n") if line)
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", "")
    again = grade_class(course, LAB, jobs=2, say=said.append, students=["intake", "judge", "saving", "gradebook"])
    assert {record["state"] for record in again.records.values()} == {"graded"}, "nothing of it stays"


def test_a_check_that_what_is_handed_in_keeps_from_an_end_costs_itself_alone(course):
    said = []
    students = ["amina", *COSTLY, "zola"]
    summary = grade_class(course, LAB, jobs=2, say=said.append, students=students, limits=Limits(judge_seconds=1))
    for student, record in summary.records.items():
        points = {check["name"]: check["points"] for check in record["checks"]}
        costly = {check["name"] for check in record["checks"] if check["fault"] and check["message"] == TOO_COSTLY}
        assert record["state"] == "graded"
        assert costly == ({"mean_square", "slope"} if student in COSTLY else set())
        assert points == {"mean_square": 0, "train_step": 4, "slope": 0} if costly else record["points"] == 9
