"""The demonstration class through nbgrader's real commands, on the mini lab, with the marks written down here."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest
from leaplm.grading import demo, trained
from leaplm.grading.course import translated_releases
from leaplm.grading.rebuild.language import language_of
from mini import LAB, ROOT, make_course

MARKS = {"perfect": 9, "empty": 0, "half": 7, "wrong": 1, "crashed": 5, "damaged": 9}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The demonstration's folder, its gradebook rows and what it said."""
    course = make_course(tmp_path_factory.mktemp("demo") / "course")
    kept = trained.kept_artifacts(LAB, course)
    said = []
    rows = demo.run(LAB, course, said.append)
    assert [path.name for path in kept.iterdir()] == ["slope-cpu.json"], "the solution was run to make it"
    return course / ".nbgrader-work" / "demo", rows, "\n".join(said)


def test_marks_are_those_written_here(graded):
    _, rows, said = graded
    assert {row.student: row.actual for row in rows} == MARKS, said
    assert {row.student: row.expected for row in rows} == MARKS
    assert {row.most for row in rows} == {11}


def test_written_answers_wait_for_a_person(graded):
    _, rows, _ = graded
    assert {row.student for row in rows if row.waiting} == {"perfect", "wrong", "crashed", "damaged"}


def test_the_damage_is_told_in_words(graded):
    folder, _, said = graded
    note = (folder / ".nbgrader-work" / "autograded" / "damaged" / LAB / f"{LAB}.repairs.txt").read_text()
    for words in ("was there 2 times", "tag skip-execution was taken off", "marks nbgrader needs were gone"):
        assert words in note and words in said
    assert not (folder / ".nbgrader-work" / "autograded" / "perfect" / LAB / f"{LAB}.repairs.txt").exists()


def test_export_and_feedback_are_there(graded):
    folder, _, _ = graded
    with open(folder / ".nbgrader-work" / "grades.csv") as file:
        assert {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)} == MARKS
    page = (folder / ".nbgrader-work" / "feedback" / "wrong" / LAB / f"{LAB}.html").read_text()
    assert "mean_square: the mean of the squares is another number" in page


def test_the_course_itself_is_untouched(graded):
    course = graded[0].parents[1]
    assert not (course / ".nbgrader-work" / "gradebook.db").exists()
    assert [path.name for path in (course / "labs" / LAB).iterdir()] == [f"{LAB}.ipynb"]


def test_formgrader_opens_on_it(graded, tmp_path):
    """JupyterLab on the demonstration's folder answers on Formgrader's pages and gives its marks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
               "--IdentityProvider.token=x", "--ContentsManager.allow_hidden=True"]  # fmt: skip
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(command, cwd=graded[0], env=environment, stdout=log, stderr=log)
    try:
        pages = ("formgrader/manage_assignments", f"formgrader/api/submissions/{LAB}",
                 f"api/contents/.nbgrader-work/autograded/perfect/{LAB}/{LAB}.ipynb?content=0")  # fmt: skip
        page, submissions, notebook = (get(port, path, tmp_path / "log") for path in pages)
    finally:
        server.terminate()
        server.wait(60)
    assert "formgrade" in page
    assert {row["student"]: row["score"] for row in json.loads(submissions)} == MARKS
    assert json.loads(notebook)["type"] == "notebook"


def get(port, path, log, patience=240):
    """The body of a page of the server on `port`, which may still be starting."""
    end = time.monotonic() + patience
    while True:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", headers={"Authorization": "token x"})
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            assert time.monotonic() < end, f"{error}\n{log.read_text()}"
            time.sleep(0.5)


def test_the_class_is_in_the_language_of_the_learner(tmp_path, monkeypatch):
    """Its folder has the lab in every language, and the notebooks handed in are of the learner's."""
    lab = "lab0_start"
    folder = demo.copy_course(lab, ROOT, tmp_path / "demo")
    releases = {"": nbformat.read(folder / "labs" / lab / f"{lab}.ipynb", as_version=4)}
    releases |= {path.parents[1].name: nbformat.read(path, as_version=4) for path in translated_releases(folder, lab)}
    (tmp_path / "trained").mkdir()
    for named, locale in (("ar", "ar"), ("sw_KE", "sw"), ("", ""), ("zh_TW", "")):
        monkeypatch.setenv("LEAPLM_LOCALE", named)
        classroom = demo.Classroom(lab, folder, tmp_path / "trained", demo.learners_language(lab, folder))
        for submission in (classroom.perfect(), classroom.empty(), classroom.crashed()):
            assert language_of(submission.notebook, releases) == locale


def test_the_commands_end_says_when_marks_differ(monkeypatch, tmp_path, capsys):
    (tmp_path / "course" / LAB).mkdir(parents=True)
    (tmp_path / "course" / LAB / "lab.py").touch()
    (tmp_path / "solutions" / LAB).mkdir(parents=True)
    monkeypatch.setenv("LEAPLM_COURSE", str(tmp_path))
    monkeypatch.setattr(demo, "run", lambda lab, course: [demo.Row("perfect", 9, 8, 11, False)])
    with pytest.raises(SystemExit, match="differ from those expected"):
        demo.main([LAB])
    assert "<-- differs" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="make build"):
        demo.main(["lab9_nothing"])
