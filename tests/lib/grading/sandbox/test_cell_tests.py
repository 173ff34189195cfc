"""Cells of tests as they are run beside a student's code: what they give, and what is put back before them."""

import asyncio
import sys

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell
from leaplm.grading.course import reached
from leaplm.grading.judge.examiner import beside
from leaplm.grading.sandbox.cell_tests import as_python, run_tests, told
from leaplm.grading.sandbox.event_loop import EventLoop, run_cell
from leaplm.grading.sandbox.student import time_limit


@pytest.fixture
def shell():
    """A shell of its own: run_tests needs no more of it than the names of the notebook."""
    made = InteractiveShell()
    made.user_ns.clear()
    return made


def run_here(shell, source):
    return EventLoop().run(run_tests(shell, as_python(source)))  # as the examiner does


@pytest.mark.parametrize(("source", "text"), {
    "0.5": "0.5", "x = 1": None, "1;": None, "None": None, "'a'": "'a'", "for n in range(3):\n    n": None,
    "import numpy as np\nnp.float32(0.5)": "np.float32(0.5)",
    "import asyncio\nawait asyncio.sleep(0, 2)": "2", "": None, "# 1": None,
    "1  # points": "1", "def f():\n    return 3\nf()": "3", "%matplotlib --list\n1": "1",
    "from __future__ import annotations\ndef f(x: Nowhere): return 4\nf(0)": "4",
    "import inspect\ndef f():\n    return 3\ninspect.getsource(f)": repr("def f():\n    return 3\n"),
    "import asyncio\nasyncio.get_running_loop().is_running()": "True",
    "import asyncio\nasyncio.get_running_loop().stop()\n2": "2",
}.items())  # fmt: skip
def test_the_last_expression_is_told_as_a_notebook_shows_it(shell, source, text):
    shell.user_ns["get_ipython"] = lambda: shell
    assert run_here(shell, source) == (text, None)


@pytest.mark.parametrize("source", ["assert False", "1 +", "raise SystemExit(0)", "raise KeyboardInterrupt", "undefined",
                                    "1/0", "def f(): raise GeneratorExit\nf()", "exit_now = 1\nassert not exit_now\n1"])
def test_tests_that_do_not_come_to_their_end_have_failed(shell, source):
    text, error = run_here(shell, source)
    assert text is None and isinstance(error, BaseException)
    name, _, lines = told(error, source)
    assert name == type(error).__name__ and lines


def test_an_error_is_told_with_its_line_and_whatever_its_class_does(shell):
    source = "class Odd(Exception):\n    def __str__(self): raise ValueError\n\nif True:\n    raise Odd"
    name, message, lines = told(run_here(shell, source)[1], as_python(source))
    assert name == "Odd" and "cannot be shown" in message and any("raise Odd" in line for line in lines)


def test_cells_share_a_running_loop_and_its_context(shell):
    """As in a notebook's kernel: tasks go on from cell to cell, and `asyncio.run` is refused."""
    loop = EventLoop()
    for source in (
        "import asyncio, decimal\ndecimal.getcontext().prec = 5\ntask = asyncio.create_task(asyncio.sleep(0.001, 7))",
        "async def beat(ticks):\n    while True:\n        ticks.append(await asyncio.sleep(0.001))",
        "ticks = []\nbackground = asyncio.ensure_future(beat(ticks))",
    ):
        assert loop.run(run_cell(shell, source)).success
    assert loop.run(run_tests(shell, "assert task.done()\nawait task")) == ("7", None)
    assert loop.run(run_tests(shell, "assert ticks and background.cancel()\ndecimal.getcontext().prec")) == ("5", None)
    loop.run(asyncio.sleep(0))  # the task in the background is cancelled now
    assert isinstance(loop.run(run_tests(shell, "asyncio.run(None)"))[1], RuntimeError)


ENDLESS = "await asyncio.sleep(30)", "while True:\n    await asyncio.sleep(0.01)", "while True: 1"


@pytest.mark.parametrize("source", ENDLESS)
def test_a_cell_that_waits_too_long_is_stopped_and_does_not_go_on_later(shell, source):
    loop = EventLoop()
    shell.user_ns["asyncio"] = asyncio
    with time_limit(0.1, by_clock=0.1) as clock:
        text, error = loop.run(run_tests(shell, f"{source}\nlate = 1")) or (None, "cancelled")
    assert clock.rang and text is None and error is not None
    assert loop.run(run_tests(shell, "await asyncio.sleep(0.01, 'late' in globals())")) == ("False", None)


def test_all_tests_of_a_cell_are_fixed_before_the_first_runs(shell):
    """An answer that finds the code which calls it cannot take the rest away; IPython's classes play no part."""
    shell.user_ns["answer"] = eval("""lambda: [held.clear() for frame in frames() for held in frame.f_locals.values()
                                              if isinstance(held, list)]""", {"frames": callers})  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        source = as_python("answer()\nassert False")
        patch.setattr(TransformerManager, "transform_cell", lambda self, cell: "1")
        assert isinstance(EventLoop().run(run_tests(shell, source))[1], AssertionError)


def callers():
    frame = sys._getframe(1)
    while frame and frame.f_code.co_name != "run":
        yield frame
        frame = frame.f_back


@pytest.mark.parametrize(("sources", "modules"), [
    (["import numpy as np", "np.testing.assert_allclose(np.ones(1), 1)"], ["numpy", "numpy.testing"]),
    (["import os.path, json as j", "os.path.join('a')\nj.dumps(1)"], ["json", "os", "os.path"]),
    (["from xml import sax\nsax.saxutils.escape('<')", "1 +", "f().g.h"], ["xml", "xml.sax", "xml.sax.saxutils"]),
])  # fmt: skip
def test_the_modules_that_tests_reach_are_known(sources, modules):
    assert reached(sources) == modules


def test_our_files_take_the_place_of_a_students():
    theirs = {"data": b"a file", "rows.csv": b"old", "a/b/c": b"below a file of ours", "own.py": b"1"}
    ours = {"data/rows.txt": b"1", "rows.csv": b"new", "a/b": b"2"}
    assert beside(theirs, ours) == {**ours, "own.py": b"1"}
