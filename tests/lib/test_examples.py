"""Every example in a docstring of the library and of the course's tools is what its code says."""

import doctest
import importlib
import pkgutil

import leaplm
import pytest
from leaplm.grading.course import load_module
from repo import ROOT

NO_MODULES = ("leaplm.__main__", "leaplm.cli.template")  # a program; what `leaplm new-lab` fills in
MODULES = sorted(found.name for found in pkgutil.walk_packages(leaplm.__path__, "leaplm.")
                 if not found.name.startswith(NO_MODULES))  # fmt: skip
TOOLS = sorted(path for path in (ROOT / "course" / "tools").rglob("*.py") if ">>>" in path.read_text(encoding="utf-8"))


def assert_right(module):
    found = doctest.testmod(module)
    assert found.failed == 0, f"{module.__name__}: see above"


def test_the_library_has_examples():
    assert len(MODULES) > 150 and sum(">>>" in source(name) for name in MODULES) > 80


def source(name):
    path = ROOT / "lib" / name.replace(".", "/")
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in MODULES if ">>>" in source(name)])
def test_the_examples_of_the_library_are_right(name):
    try:
        module = importlib.import_module(name)
    except ImportError as problem:
        pytest.skip(f"{problem.name} is not installed")
    assert_right(module)


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.stem)
def test_the_examples_of_the_tools_are_right(path, monkeypatch):
    for folder in (path.parent, ROOT / "course" / "tools"):
        monkeypatch.syspath_prepend(str(folder))
    assert_right(load_module(path))
