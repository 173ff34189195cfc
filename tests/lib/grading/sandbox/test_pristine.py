"""What a notebook put in the place of Python's and libraries' own things, or inside them, is put back before tests run."""

import builtins
import functools
import json
import math
import random
import sys
import types
import unittest

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.decorators import flag_calls
from leaplm.grading.course import import_all
from leaplm.grading.sandbox.cell_tests import as_python, run_tests
from leaplm.grading.sandbox.event_loop import EventLoop
from leaplm.grading.sandbox.pristine import Pristine


@pytest.fixture
def shell():
    """A shell of its own: run_tests needs no more of it than the names of the notebook."""
    made = InteractiveShell()
    made.user_ns.clear()
    return made


def run_here(shell, source):
    return EventLoop().run(run_tests(shell, as_python(source)))  # as the examiner does


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


class Compared:
    """Stands for a class of a library that tests use."""

    def equals(self, other):
        return self is other

    @property
    def size(self):
        return 1


class Framed(Compared):
    """One whose method is that of the class above."""


@functools.cache
def cached(x):
    return x


def with_names(x, *, most=1):
    return x <= most


def decorated(inner):
    def outer(x):
        return inner(x)

    return outer


def strict(x):
    return x == 1


@pytest.fixture
def library(monkeypatch):
    """A module of these, as if a library had it."""
    made = types.ModuleType("library")
    made.__dict__.update(Framed=Framed, cached=cached, with_names=with_names, decorated=decorated(strict))
    made.rate, made._count = 0.5, 1
    monkeypatch.setitem(sys.modules, "library", made)
    return made


def replace_method(library):
    library.Framed.equals = lambda self, other: True


def replace_method_above(library):
    library.Framed.__mro__[1].equals = lambda self, other: True


def replace_property(library):
    library.Framed.__mro__[1].size = property(lambda self: 2)


def replace_wrapped(library):
    library.cached.cache_clear()
    library.cached.__wrapped__.__code__ = (lambda x: -1).__code__


def replace_names(library):
    library.with_names.__kwdefaults__["most"] = 100


def replace_in_closure(library):
    library.decorated.__closure__[0].cell_contents = lambda x: True


def replace_inside_closure(library):
    library.decorated.__closure__[0].cell_contents.__code__ = (lambda x: True).__code__


def replace_value(library):
    library.rate = 1.0


def replace_class_of_module(library):
    class Evil(types.ModuleType):
        rate = property(lambda self: 7, lambda self, value: None)

    library.__class__ = Evil


def replace_table(library):
    real, sys.modules = sys.modules, dict(sys.modules)
    real["library"] = types.ModuleType("library")


@pytest.mark.parametrize("replace", [value for name, value in list(globals().items()) if name.startswith("replace_")])
def test_whatever_part_of_a_library_is_replaced_is_put_back(library, replace):
    table, pristine = sys.modules, Pristine({"library"})
    try:
        replace(library)
        pristine.restore({}, None)
        import library as found

        one, other = found.Framed(), found.Framed()
        assert not one.equals(other) and one.size == 1 and "equals" not in vars(Framed)
        assert found.cached(3) == 3 and not found.with_names(2) and not found.decorated(2) and found.rate == 0.5
    finally:
        sys.modules = table


def test_what_is_inside_numpys_functions_is_put_back():
    pristine, inside = Pristine(), np.allclose.__wrapped__.__code__
    try:
        np.allclose.__wrapped__.__code__ = (lambda a, b, rtol=1, atol=1, equal_nan=False: True).__code__
        assert np.allclose(1, 2)
        pristine.restore({}, None)
        assert not np.allclose(1, 2)
    finally:
        np.allclose.__wrapped__.__code__ = inside


def test_a_librarys_own_state_and_what_is_new_in_a_class_stay(library):
    pristine = Pristine({"library"})
    library._count, Framed.own = 2, lambda self: 5
    try:
        pristine.restore({}, None)
        assert library._count == 2 and Framed().own() == 5
    finally:
        del Framed.own


def test_a_method_that_tests_replace_stays_until_they_take_it_back(monkeypatch):
    pristine, source = Pristine({"unittest"}), "unittest.mock.patch.object(unittest.TestCase, 'assertTrue')"
    before = unittest.TestCase.assertTrue
    monkeypatch.setattr(unittest.TestCase, "assertTrue", "the tests' own")
    pristine.keep(source)
    unittest.TestCase.assertTrue = None
    pristine.restore({}, None)
    assert unittest.TestCase.assertTrue == "the tests' own"
    monkeypatch.undo()
    pristine.restore({}, None)
    assert unittest.TestCase.assertTrue is before


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A teacher's module beside a notebook, which the notebook has not imported yet."""
    (tmp_path / "tools_of_week3.py").write_text("def near(a, b):\n    return a == b\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield Pristine(beside=["tools_of_week3"])
    sys.modules.pop("tools_of_week3", None)


def test_a_teachers_module_is_kept_as_the_notebook_imports_it(beside):
    import tools_of_week3

    tools_of_week3.near = lambda a, b: True
    beside.restore({}, None)
    assert not tools_of_week3.near(1, 2)
    tools_of_week3.near.__code__ = (lambda a, b: True).__code__
    beside.restore({}, None)
    assert not tools_of_week3.near(1, 2)


def test_a_false_module_in_the_place_of_a_teachers_goes(beside):
    sys.modules["tools_of_week3"] = types.SimpleNamespace(near=lambda a, b: True)
    sys.meta_path[:] = sys.meta_path[1:]
    beside.restore({}, None)
    import tools_of_week3

    assert not tools_of_week3.near(1, 2)


def test_what_watches_running_code_goes_also_where_it_hides(monkeypatch):
    pristine, real = Pristine(), sys.settrace
    monkeypatch.setattr(sys, "settrace", lambda function: None)
    before = sys.gettrace()
    try:
        real(lambda frame, event, arg: None)
        pristine.restore({}, None)
        assert sys.gettrace() is None and sys.settrace is real
    finally:
        real(before)
