"""Cells of the labs can be run again: one goes back to an exercise, and later cells still find what they need."""

import ast
import json
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
def test_minutes_of_the_computer_are_those_of_the_card(lab):
    """The lab's first table says the minutes that were measured, rounded up or down: a new one may differ a little."""
    source = (ROOT / "course" / lab / "lab.py").read_text(encoding="utf-8")
    row = re.search(r"\*\*Time\*\* \|.*computer \w+ (?:for )?(.*?) \|$", source, flags=re.M)
    told = re.fullmatch(r"about (\d+) minutes?( of it)?", row[1])
    measured = json.loads((ROOT / "course" / lab / "card.json").read_text(encoding="utf-8"))["measured"]["minutes"]
    assert told and abs(int(told[1]) - measured) < 1, f"{row[1]}, but {measured}"


PREDICT = re.compile(r"\*\*Predict first[.:]?\*\*(.*?)(?:\n\n|$)", re.S)
A_NUMBER = re.compile(r"\b(how (much|many|far|often|high|well|good)|by how|what \w+ will|shares?|accuracy|nats|points|"
                      r"dollars)\b", re.I)
A_PLACE = re.compile(r"\bmy_[a-z_0-9]+\b")


def asked_first(text):
    """Each prediction that a cell asks for: the questions behind the words in bold, else the first sentence."""
    for rest in PREDICT.findall(text):
        first, *more = re.split(r"(?<=[.?:])\s+", rest.strip())
        yield " ".join(sentence for sentence in (first, *more) if sentence.endswith("?")) or first


def unplaced(cells):
    """Predictions of a number without a variable `my_...` for it in the next cell of code; cells: (kind, source)."""
    for place, (kind, source) in enumerate(cells):
        for asked in asked_first(source) if kind == "markdown" else ():
            code = next((later for what, later in cells[place + 1 :] if what == "code"), "")
            if A_NUMBER.search(asked) and not A_PLACE.search(code):
                yield asked


def unread(cells):
    """Places of predictions that no later cell reads before they are given anew."""
    code = [source for kind, source in cells if kind == "code"]
    before = [""] + [source for kind, source in cells]
    asks = {id(source): bool(PREDICT.search(before[place])) for place, (kind, source) in enumerate(cells) if kind == "code"}
    read = [names_of(source) for source in code]
    for place, source in enumerate(code):
        for name in sorted(read[place][0]) if asks[id(source)] else ():
            if A_PLACE.fullmatch(name):
                for given, taken in read[place + 1 :]:
                    if name in taken:
                        break
                    if name in given:
                        yield name
                        break
                else:
                    yield name


def all_cells(lab):
    notebook = nbformat.read(ROOT / "solutions" / lab / f"{lab}.ipynb", as_version=4)
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_a_prediction_without_a_place_and_one_that_nobody_reads_are_found():
    ask = ("markdown", "**Predict first.** What accuracy will it reach?")
    place, show = ("code", "my_guess = 0.0"), ("code", "print(my_guess)")
    assert list(unplaced([ask, place, show])) == list(unread([ask, place, show])) == []
    assert list(unplaced([ask, ("code", "x = 1"), place])) == ["What accuracy will it reach?"]
    assert list(unread([ask, place, ("code", "x = 1")])) == list(unread([ask, place, ask, place, show])) == ["my_guess"]
    assert list(unplaced([("markdown", "**Predict first.** Which is better? It has 60 % accuracy."), show])) == []


@pytest.mark.parametrize("lab", LABS)
def test_a_prediction_of_a_number_has_a_place_and_is_shown_beside_what_came(lab):
    assert list(unplaced(all_cells(lab))) == []
    assert list(unread(all_cells(lab))) == []


KINDS = re.compile(r"tensor|array|list|matri|dict|model|text|generator|\bint|float|bool|str\b", re.I)


def without_a_kind(source):
    """(function, argument) where a docstring gives the shape of an argument and says nowhere of which kind it is."""
    for function in ast.walk(ast.parse(source)):
        said = ast.get_docstring(function) if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) else None
        said = " ".join((said or "").split())
        for argument in function.args.args if said and not re.search("tensor|array", said, re.I) else ():
            told = re.findall(rf"\b{argument.arg}(?:(?:,| and) \w+)* \((?=[^)]*[,.])[a-z., ]+\)[^.;]*", said)
            if any(not KINDS.search(clause) for clause in told):
                yield function.name, argument.arg


@pytest.mark.parametrize("lab", LABS)
def test_a_docstring_with_shapes_says_whether_they_are_lists_arrays_or_tensors(lab):
    notebook = nbformat.read(ROOT / "solutions" / lab / f"{lab}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution"):
            assert list(without_a_kind(cell.source)) == []


def test_a_shape_without_a_kind_is_found():
    stub = 'def gain(first, second):\n    """first, second (n,): scores{} of two ways."""'
    assert list(without_a_kind(stub.format(""))) == [("gain", "first"), ("gain", "second")]
    assert list(without_a_kind(stub.format(", lists or arrays,"))) == []


@pytest.mark.parametrize("lab", LABS)
def test_a_table_for_the_learners_language_is_not_empty_without_a_word(lab):
    """Rows that are looked up by a variable come by `load_matching`, which says what there is if none fits."""
    for source, _ in cells_of(lab):
        for call in re.findall(r"load_record\((.*)\)", source):
            assert not re.search(r"\blanguage=[A-Za-z]", call), textwrap.shorten(call, 90)
