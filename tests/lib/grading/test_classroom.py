"""A class of the mini lab: one verdict each, in parallel, whatever is killed on the way."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from leaplm.grading import classroom
from leaplm.grading.book.gradebook import CourseBook, scores
from leaplm.grading.book.verdicts import latest_records
from leaplm.grading.classroom import grade_class
from leaplm.grading.judge import likeness
from mini import LAB, make_course
from walled import needs_sandbox

pytestmark = [needs_sandbox, pytest.mark.usefixtures("shared_servers")]
WORK = ".nbgrader-work"
RIGHT, WRONG, SLOW = b"x * x", b"x + x", b"(__import__('time').sleep(1), x * x)[1]"
CLASS = {"amina": RIGHT, "bello": WRONG, "chipo": RIGHT, "dede": SLOW, "efua": WRONG, "fatou": SLOW}
MARKS = {student: 9.0 if square is not WRONG else 6.0 for student, square in CLASS.items()}


def put(course, student, square, lab=LAB):
    """A submission with this formula for the square, which `fit_slope` uses too."""
    folder = course / WORK / "submitted" / student / lab
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    solution = (course / "solutions" / lab / f"{lab}.ipynb").read_bytes()
    (folder / f"{lab}.ipynb").write_bytes(solution.replace(b"squares = x * x", b"squares = " + square))
    (folder / "artifacts" / "slope-cpu.json").write_bytes(b'{"slope": 2.0}')


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    """The course with all that the class has handed in; no test changes it."""
    made = make_course(tmp_path_factory.mktemp("handed_in") / "course")
    for student, square in CLASS.items():
        put(made, student, square)
    return made


@pytest.fixture(scope="module")
def done(handed_in, tmp_path_factory):
    """The same, graded: the folder, the summary and what was said; no test changes it."""
    course = shutil.copytree(handed_in, tmp_path_factory.mktemp("done") / "course")
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAPLM_CHECK_SEED", "7")
        return course, grade_class(course, LAB, jobs=2, say=said.append), said


@pytest.fixture
def course(handed_in, tmp_path, monkeypatch):
    """A copy in which nothing is graded."""
    monkeypatch.setenv("LEAPLM_CHECK_SEED", "7")
    return shutil.copytree(handed_in, tmp_path / "course")


@pytest.fixture
def graded(done, tmp_path, monkeypatch):
    """A copy of the graded course."""
    monkeypatch.setenv("LEAPLM_CHECK_SEED", "7")
    return shutil.copytree(done[0], tmp_path / "course")


def marks(course):
    return scores(CourseBook(course), LAB)


def quiet(line):
    pass


def test_marks_verdicts_and_a_second_run_that_grades_only_what_changed(done, graded, monkeypatch):
    course, (_, summary, said) = graded, done
    assert marks(course) == MARKS and summary.fresh == len(CLASS)
    assert [record["state"] for record in summary.records.values()] == ["graded"] * len(CLASS)
    assert f"{len(CLASS)} submissions, {len(CLASS)} verdicts" in summary.text() and len(said) == len(CLASS) + 2
    monkeypatch.setattr(likeness, "LEAST_NODES", 15)  # the mini lab's answers are short
    book = CourseBook(course)
    told = classroom.copies(book, classroom.Room(book, LAB), unsafe=False)
    assert [line.partition(":")[0] for line in told if "word for word" in line] == ["amina", "chipo"]
    put(course, "bello", RIGHT)
    again = grade_class(course, LAB, jobs=2, say=quiet)
    assert again.fresh == 1 and marks(course) == {**MARKS, "bello": 9.0}
    log = (course / WORK / "verdicts" / LAB / "log.jsonl").read_text().splitlines()
    assert len(log) == len(CLASS) + 1, "the log keeps every verdict ever given"


def test_students_who_were_marked_on_other_rows_stand_out(done, graded, monkeypatch):
    """Also where they are graded one by one, on another day, with another secret; the secret itself is nowhere."""
    course, first = graded, done[1]
    assert first.variants == {"public": list(CLASS)} and "held-out rows: variant public." in first.text()
    monkeypatch.setenv("LEAPLM_COURSE_SECRET", "mangoes of Kano, 2027")
    second = grade_class(course, LAB, jobs=2, say=quiet, students=["bello", "chipo"])
    assert second.fresh == 2, "other rows, another verdict"
    [name] = set(second.variants) - {"public"}
    assert len(name) == 8 and second.variants == {
        "public": ["amina", "dede", "efua", "fatou"], name: ["bello", "chipo"]}  # fmt: skip
    assert "look at this: not all were marked on the same held-out rows" in second.text()
    assert f"variant {name}: bello, chipo" in second.text()
    assert not any("mangoes" in file.read_text(encoding="utf-8") for file in (course / WORK).rglob("*.json*"))
    monkeypatch.delenv("LEAPLM_COURSE_SECRET")
    third = grade_class(course, LAB, jobs=2, say=quiet, students=["bello", "chipo"])
    assert third.variants == {"public": list(CLASS)}, "a verdict that was there already counts as the newest"


def test_a_teachers_own_score_stays_and_is_put_up_for_review(graded):
    course = graded
    book = CourseBook(course)
    with book.open() as gradebook:
        grade = gradebook.find_grade("why", LAB, LAB, "bello")
        assert grade.needs_manual_grade
        grade.manual_score, grade.needs_manual_grade = 1.5, False
        gradebook.db.commit()
    assert grade_class(course, LAB, jobs=2, say=quiet, students=["bello"]).fresh == 0
    assert marks(course) == {**MARKS, "bello": 7.5}
    put(course, "bello", RIGHT)
    grade_class(course, LAB, jobs=2, say=quiet, students=["bello"])
    assert marks(course) == {**MARKS, "bello": 10.5}
    with book.open() as gradebook:
        assert gradebook.find_grade("why", LAB, LAB, "bello").needs_manual_grade


def start_grader(course, *options):
    return subprocess.Popen([sys.executable, "-m", "leaplm", "grade", LAB, "--jobs", "2", *options], cwd=course,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env={**os.environ, "LEAPLM_COURSE": str(course)})  # fmt: skip


def wait_until(true, seconds=240):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def verdict_files(course):
    return list((course / WORK / "verdicts" / LAB).glob("*/*.json"))


def test_kill_9_of_the_grader_and_a_second_run_give_the_same_marks(course):
    grader = start_grader(course)
    wait_until(lambda: verdict_files(course))
    started = psutil.Process(grader.pid).children(recursive=True)
    os.kill(grader.pid, signal.SIGKILL)
    grader.wait()
    _, left = psutil.wait_procs(started, timeout=30)
    assert not left, "what the grader had started ends with it"
    assert len(verdict_files(course)) < len(CLASS), "it was killed in the middle"
    done = start_grader(course)
    said, _ = done.communicate(timeout=300)
    assert done.returncode == 0, said
    assert marks(course) == MARKS
    assert f"{len(CLASS)} submissions, {len(CLASS)} verdicts" in said


def test_a_verdict_cut_off_by_a_power_cut_is_not_taken_for_one(graded):
    before = latest_records(graded, LAB)
    with open(graded / WORK / "verdicts" / LAB / "log.jsonl", "a") as log:
        log.write('{"student": "zola", "sta')
    assert latest_records(graded, LAB) == before and set(before) == set(CLASS)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Cluster:
    """A Dask scheduler and workers as processes on this machine, to be killed."""

    def __init__(self, course):
        self.port, self.processes = free_port(), []
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.environment = {**os.environ, "LEAPLM_COURSE": str(course)}

    def start(self, *words):
        process = subprocess.Popen([sys.executable, "-m", "distributed.cli." + words[0], *words[1:], "--no-dashboard"],
                                   env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        self.processes.append(process)
        return process

    def scheduler(self):
        return self.start("dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def worker(self):
        return self.start("dask_worker", self.address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()


def test_a_killed_worker_and_a_restarted_scheduler_lose_no_verdict(course):
    with Cluster(course) as cluster:
        scheduler, first = cluster.scheduler(), cluster.worker()
        grader = start_grader(course, "--scheduler", cluster.address)
        wait_until(lambda: len(verdict_files(course)) >= 1)
        first.kill()  # a lost node: its sandbox goes with it
        cluster.worker()
        wait_until(lambda: len(verdict_files(course)) >= 2)
        scheduler.kill()
        scheduler.wait()
        time.sleep(1)
        cluster.scheduler()
        cluster.worker()
        said, _ = grader.communicate(timeout=500)
    assert grader.returncode == 0, said
    assert marks(course) == MARKS, said
    records = [json.loads(path.read_text()) for path in verdict_files(course)]
    assert {record["student"]: record["state"] for record in records} == dict.fromkeys(CLASS, "graded")


def test_another_version_of_the_course_on_a_worker_is_our_fault_not_the_students(course, monkeypatch):
    monkeypatch.setattr(classroom, "grader_digest", lambda course, lab: "another")
    summary = grade_class(course, LAB, jobs=1, say=quiet, students=["amina"], apply=False)
    assert summary.records["amina"]["state"] == "infrastructure"
    assert "another version" in summary.records["amina"]["reason"]
    monkeypatch.undo()
    assert grade_class(course, LAB, jobs=1, say=quiet, students=["amina"]).records["amina"]["state"] == "graded"


def test_a_student_who_is_not_there_is_named(course):
    with pytest.raises(FileNotFoundError, match="no submission of zola"):
        grade_class(course, LAB, students=["zola"], say=quiet)
