"""Cells of the labs can be run again: one goes back to an exercise, and later cells still find what they need."""

import ast
import re
import textwrap

import nbformat
import pytest
from leaplm.grading.course import list_labs
from repo import ROOT

LABS = list_labs(ROOT)
STRICT = ("lab0_start", "lab1_pretraining", "lab12_retrieval", "lab14_names", "lab16_small_machines")  # may grow
SCOPES = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)


def made_by(statement):
    """The names that a statement gives to the notebook; those inside of functions and comprehensions are their own."""
    found, waiting = set(), [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        if not isinstance(node, SCOPES):
            waiting += ast.iter_child_nodes(node)
    return found


def looked_up(statement):
    """The names that a statement takes from the notebook, also those that its functions need when they are called."""
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    own = {node.id for node in names if isinstance(node.ctx, ast.Store)} - made_by(statement)
    own |= {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}
    return {node.id for node in names if isinstance(node.ctx, ast.Load)} - own


def names_of(source):
    """(names that a cell gives, names that it takes from earlier cells)."""
    given, taken = set(), set()
    for statement in ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.M)).body:
        loops = made_by(statement) if hasattr(statement, "body") else set()  # what a loop names, it needs itself
        taken |= looked_up(statement) - given - loops
        given |= made_by(statement)
    return given, taken


def spoiled(cells):
    """Names that a check gives although a later cell needs what another cell before it has given them.

    cells: (source, whether it is a check), in order.
    """
    read = [(*names_of(source), is_check) for source, is_check in cells]
    found = set()
    for place, (given, _, is_check) in enumerate(read):
        if is_check:
            others = [(here, names & given) for here, (names, _, _) in enumerate(read) if here != place]
            found |= {name for here, shared in others for name in shared
                      for _, taken, checks in read[max(here, place) + 1 :] if name in taken}
    return found


def cells_of(lab):
    notebook = nbformat.read(ROOT / "solutions" / lab / f"{lab}.ipynb", as_version=4)
    return [(cell.source, bool(cell.metadata.get("nbgrader", {}).get("points"))) for cell in notebook.cells
            if cell.cell_type == "code"]


def test_a_check_that_takes_a_name_is_found():
    cells = [("small = 1", False), ("small = 2\nassert small", True), ("print([small for _ in range(3)])", False)]
    assert spoiled(cells) == {"small"} == spoiled([cells[1], cells[0], cells[2]])
    assert spoiled([cells[0], ("few = 2\nassert few", True), cells[2]]) == set()
    assert spoiled([*cells[:2], ("small = 3\nprint(small)", False), ("[small for small in (1, 2)]", False)]) == set()


@pytest.mark.parametrize("lab", LABS)
def test_a_check_takes_no_name_that_later_cells_need(lab):
    assert spoiled(cells_of(lab)) == set()


@pytest.mark.parametrize("lab", STRICT)
def test_no_cell_takes_a_name_that_later_cells_need(lab):
    """In the other labs a cell that goes on with a model or a table has to be run again after an earlier one."""
    assert spoiled([(source, True) for source, _ in cells_of(lab)]) == set()


@pytest.mark.parametrize("lab", LABS)
def test_hours_in_the_table_hold_the_exercises(lab):
    """The exercises' minutes fit into the hours that the lab's table promises, within a quarter of an hour."""
    source = (ROOT / "course" / lab / "lab.py").read_text(encoding="utf-8")
    number, unit = re.search(r"\*\*Time\*\* \|\D*([\d.]+)[^|]*?(hours|minutes)", source).groups()
    promised = float(number) * (60 if unit == "hours" else 1)
    needed = sum(map(int, re.findall(r"^# #+ .*?(\d+) minutes", source, flags=re.M)))
    assert needed - 15 <= promised <= needed + 60, f"{needed} minutes of exercises"


@pytest.mark.parametrize("lab", LABS)
def test_a_table_for_the_learners_language_is_not_empty_without_a_word(lab):
    """Rows that are looked up by a variable come by `load_matching`, which says what there is if none fits."""
    for source, _ in cells_of(lab):
        for call in re.findall(r"load_record\((.*)\)", source):
            assert not re.search(r"\blanguage=[A-Za-z]", call), textwrap.shorten(call, 90)
