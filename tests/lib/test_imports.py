"""The library's map: who may import whom, no circles, and packages that say truly what they hold."""

import ast
import functools
import importlib
import re
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter

import pytest
from repo import ROOT

PACKAGE = ROOT / "lib" / "leaplm"
BASE = {"runtime", "text", "fonts", "labelled_file", "redaction", "data", "models", "training", "evaluation", "plots",
        "artifacts", "calibration", "assets", "identity", "plain_json", "added", "marking", "whole_file", "places",
        "locales", "directions", "translation", "captions", "drawings"}
TOPICS = {"tokens", "transformer", "pretraining", "peft", "prompting", "fewshot", "overfitting", "continual", "compression",
          "responsible", "capstone", "retrieval", "transfer", "tagging", "small_machines",
          "instructions"}
USES = {"serve", "bundle", "grading", "learner"}   # what is built on the base and the topics
STAGES = ("intake", "rebuild", "sandbox", "judge", "book")
COMMON = {"assignment", "course", "given", "submission", "texts"}  # of grading: what all stages may import
WHOLE = {"classroom", "configuration", "demo", "steps", "trained"}  # of grading: what drives all stages


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path):
    """The modules of leaplm that a file imports, anywhere in it; for `from leaplm.peft import lora` that is peft.lora."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "leaplm":
            parent = node.module.partition(".")[2]
            for name in node.names:
                inner = f"{parent}.{name.name}".lstrip(".")
                yield inner if inner in MODULES else parent
        elif isinstance(node, ast.Import):
            yield from (name.name.partition(".")[2] for name in node.names if name.name.partition(".")[0] == "leaplm")


@functools.cache
def graph():
    return {name: {found for found in imported(path) if found != name} for name, path in MODULES.items()}


def edges():
    return [(name, found) for name, all_found in graph().items() for found in sorted(all_found)]


def area(module):
    return module.partition(".")[0]


def test_every_module_has_its_place_on_the_map():
    places = BASE | TOPICS | USES | {"", "__main__", "cli", "installing"}  # the last runs before anything is installed
    assert {area(name) for name in MODULES} <= places


@pytest.mark.parametrize(("areas", "never"), [(BASE, TOPICS | USES | {"cli"}), (TOPICS, USES | {"cli"}), (USES, {"cli"})],
                         ids=["base", "topics", "what uses them"])
def test_nothing_imports_what_is_built_on_it(areas, never):
    assert [(name, found) for name, found in edges() if area(name) in areas and area(found) in never] == []


def test_the_grader_knows_nothing_of_what_a_notebook_says_of_itself():
    graders = [(name, found) for name, found in edges() if area(name) in ("grading", "serve")]
    assert [(name, found) for name, found in graders if area(found) == "learner"] == []


def test_a_stage_of_grading_imports_only_earlier_ones():
    order = {stage: number for number, stage in enumerate(STAGES)}
    wrong = []
    for name, found in edges():
        here, there = (part.split(".")[1] if part.startswith("grading.") else None for part in (name, found))
        if here in COMMON and there and there not in COMMON:
            wrong.append((name, found))
        if here in order and (there in WHOLE or found == "grading" or order.get(there, -1) > order[here]):
            wrong.append((name, found))
    assert wrong == []
    assert {part.split(".")[1] for part in MODULES if part.startswith("grading.")} == {*STAGES, *COMMON, *WHOLE}


def test_there_is_no_circle():
    try:
        TopologicalSorter({name: found - {""} for name, found in graph().items()}).prepare()
    except CycleError as circle:
        pytest.fail(f"these import each other: {' -> '.join(circle.args[1])}")


def test_no_two_modules_side_by_side_begin_alike():
    """`compressed` and `compression`, `small_data` and `small_data_methods`: who could tell them apart?"""
    names = [(path.parent, path.stem) for path in MODULES.values() if path.stem != "__init__"]
    names += [(path.parent.parent, path.parent.name) for path in MODULES.values() if path.stem == "__init__"]
    alike = Counter((folder, name[:7]) for folder, name in names)
    assert [begin for begin, count in alike.items() if count > 1] == []


@pytest.mark.parametrize("package", sorted(TOPICS | USES))
def test_a_package_says_what_it_holds(package):
    module = importlib.import_module(f"leaplm.{package}")
    assert module.__doc__ and (package in USES or re.search(r"\blabs? \d", module.__doc__))
    public = sorted(path.stem for path in (PACKAGE / package).glob("*.py") if path.stem != "__init__")
    if package in TOPICS:
        assert all(re.search(rf"\b{name}\b", module.__doc__) for name in public), "the docstring leaves a module out"


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if "__all__" in path.read_text(encoding="utf-8")])
def test_all_is_true(name):
    module = importlib.import_module(f"leaplm.{name}")
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert hasattr(module, public) or importlib.util.find_spec(f"leaplm.{name}.{public}"), public


def modules_of(tree):
    """{name: module} of what a program imports from leaplm as a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "leaplm":
            for name in node.names:
                whole = f"{node.module}.{name.name}".partition(".")[2]
                if whole in MODULES:
                    yield name.asname or name.name, whole


@pytest.mark.parametrize("path", sorted((ROOT / "course").glob("*/*.py")), ids=lambda path: "/".join(path.parts[-2:]))
def test_what_the_course_takes_from_the_library_is_there(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    tree = ast.parse("\n".join(line for line in lines if not line.startswith(("!", "%"))))
    modules = dict(modules_of(tree))
    taken = {(modules[node.value.id], node.attr) for node in ast.walk(tree)
             if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
             and isinstance(node.ctx, ast.Load)}  # fmt: skip
    taken |= {(node.module.partition(".")[2], alias.name) for node in ast.walk(tree)
              if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "leaplm"
              for alias in node.names}  # fmt: skip
    assert [f"{module}.{name}" for module, name in taken if not is_there(module, name)] == []


def is_there(module, name):
    whole = importlib.import_module(f"leaplm.{module}".rstrip("."))
    return f"{module}.{name}".lstrip(".") in MODULES or hasattr(whole, name)


# Programs that start often, once for each command or submission; what takes a second to import is not for all of them.
STARTED = ("cli.app", "learner", "grading.classroom", "grading.judge.engine", "grading.judge.examiner",
           "grading.judge.probes", "grading.sandbox.worker", "grading.sandbox.fork_server")
SLOW = {"torch", "transformers", "datasets", "peft", "sklearn", "scipy", "matplotlib", "distributed", "lark"}


@pytest.mark.parametrize("name", STARTED)
def test_what_starts_often_imports_nothing_slow(name):
    program = f"import leaplm.{name}, sys; print(*[name for name, module in sys.modules.items() if module])"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert SLOW & set(told) <= ({"torch"} if name.endswith("probes") else set())
