"""Cells of tests as they are run beside a student's code: what they give, and what is put back before them."""

import asyncio
import builtins
import json
import math
import random
import sys

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.decorators import flag_calls
from leaplm.grading.course import import_all, reached
from leaplm.grading.judge.examiner import beside
from leaplm.grading.sandbox.cell_tests import Pristine, as_python, run_tests, told
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


def test_what_a_notebook_put_in_the_place_of_built_in_names_and_functions_is_put_back():
    pristine, namespace = Pristine(), {"isclose": None}
    before = builtins.isinstance, math.isclose, json.dumps
    try:
        builtins.isinstance, math.isclose, json.dumps = lambda *a: True, bool, lambda *a: "{}"
        json.decoder.own_setting = "a library's own state stays"
        pristine.restore(namespace, "the shell's")
        assert (builtins.isinstance, math.isclose, json.dumps) == before
        assert namespace == {"isclose": None, "__builtins__": builtins, "get_ipython": "the shell's"}
        assert json.decoder.own_setting
    finally:
        builtins.isinstance, math.isclose, json.dumps = before
        vars(json.decoder).pop("own_setting", None)


def test_what_is_changed_inside_a_function_or_in_the_place_of_a_module_is_put_back():
    """Also of modules that the tests reach and the notebook does not import."""
    import_all(["unittest.nowhere", "xml.sax.saxutils"])
    pristine, escape, inside = Pristine(), sys.modules["xml.sax.saxutils"].escape, json.loads.__code__
    try:
        json.loads.__code__ = (lambda *a, **k: {}).__code__
        escape.__defaults__ = ("x",)
        sys.modules["xml.sax.saxutils"] = None
        pristine.restore({}, None)
        assert json.loads("[1]") == [1] and sys.modules["xml.sax.saxutils"].escape("<") == "&lt;"
    finally:
        json.loads.__code__ = inside


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


def test_what_a_library_itself_has_changed_stays():
    """As IPython does with matplotlib's when a notebook chooses how to draw."""
    pristine, before = Pristine(), json.dumps
    try:
        json.dumps = made = flag_calls(json.dumps)
        pristine.restore({}, None)
        assert json.dumps is made
    finally:
        json.dumps = before


def disguised():
    """A function that says it is from a library's file."""

    def nothing(*args, **kwargs):
        pass

    nothing.__code__ = nothing.__code__.replace(co_filename=json.__file__)
    return nothing


@pytest.mark.parametrize("function", [disguised(), json.loads, lambda *args: None, None])
def test_what_only_says_that_it_is_a_librarys_is_not(function):
    pristine, before = Pristine(), json.dumps
    try:
        json.dumps = function
        pristine.restore({}, None)
        assert json.dumps is before
    finally:
        json.dumps = before


@pytest.mark.parametrize("source", [
    "import random\nrandom.choice = lambda rows: 7",
    "import unittest.mock\npatch = unittest.mock.patch('random.choice', return_value=7)\npatch.start();",
    "import random, unittest.mock\npatch = unittest.mock.patch.object(random, 'choice', lambda rows: 7)\npatch.start();",
    "import random\nsetattr(random, 'choice', lambda rows: 7)",
])  # fmt: skip
def test_what_tests_themselves_change_stays_until_they_change_it_back(shell, source):
    """And an answer cannot change it meanwhile, nor what these tests do not name."""
    pristine, before, names = Pristine(), random.choice, shell.user_ns
    try:
        pristine.restore(names, None)
        assert run_here(shell, source)[1] is None
        pristine.keep(source)
        random.choice, random.choices = None, None
        pristine.restore(names, None)
        assert random.choice([1]) == 7 and random.choices([1]) == [1]
        if "patch" in names:
            assert run_here(shell, "patch.stop();")[1] is None
            pristine.restore(names, None)
            assert random.choice is before
    finally:
        random.choice = before


def test_our_files_take_the_place_of_a_students():
    theirs = {"data": b"a file", "rows.csv": b"old", "a/b/c": b"below a file of ours", "own.py": b"1"}
    ours = {"data/rows.txt": b"1", "rows.csv": b"new", "a/b": b"2"}
    assert beside(theirs, ours) == {**ours, "own.py": b"1"}
