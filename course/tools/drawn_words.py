"""The words that figures and tables show: titles, axes, legends, names of rows and columns, from labs, library and records.

A figure says them in the learner's language when it is drawn (`leaplm.fonts.ScriptFigure`), a table when it is
shown (`leaplm.learner.tables`); the code stays as it is, so that the name of a row is the same in data and code.
"""

import ast
import functools
import json
import re

import notebooks
from leaplm.grading.course import list_labs
from leaplm.grading.trained import module_file
from leaplm.learner.tables import is_name
from leaplm.translation import PLACEHOLDER, has_words
from prose_in_code import is_text, spoken, wording

MODULES = ("plots", "captions")
DRAWING = re.compile(r"\b(plots|axes|plt|parts)\.")
TABLING = re.compile(r"\bpd\.|DataFrame|\.agg\(|\.rename\(|load_(record|matching)\(")
QUOTED = re.compile(r"`([^`\n]+)`")
# Arguments that no reader sees.
SETTINGS = re.compile("loc|color|linestyle|fmt|marker|ha|va|textcoords|axis|cmap|alignment|layout|dtype|x|by|on|how|columns|"
                      "subset|interpolation|which|edgecolor|markeredgecolor|mode")
# Calls whose arguments are names of the code.
LOOKING_UP = re.compile("load_record|load_matching|groupby|query|isin|get|drop|rename|sort_values|set_index|pivot|"
                        "pivot_table|open|agg|set_xscale|set_yscale|startswith|endswith|replace|split|filterwarnings|getattr")
# What is no word: names, paths, codes of languages, colours, markers, and pieces that are put together with others.
NAME = re.compile(r"\w*_\w*|[\w/.-]+\.\w{2,4}|(runs|python)\W.*|[a-z]{3}|osD?\^.*|[ ,].*|.*[ ,]|\[\w+\]|utf-8|.*, \d cores|"
                  r"#\w+|white|black|xx|left|high|sd|capsize|elinewidth|off", re.S)


def texts(root):
    """(words, place) of all that figures may show."""
    found = {}
    for words, place in (*of_modules(), *of_labs(root), *of_records()):
        if has_words(PLACEHOLDER.sub(" ", words)) and not NAME.fullmatch(words):
            found.setdefault(words, place)
    return list(found.items())


def of_modules():
    for name in MODULES:
        source = module_file(f"leaplm.{name}").read_text(encoding="utf-8")
        yield from ((words, f"leaplm.{name}") for words in shown(source))


def of_labs(root):
    for lab in list_labs(root):
        cells = notebooks.release(root, lab).cells
        told = {name for cell in cells if cell.cell_type == "markdown" for name in QUOTED.findall(cell.source)}
        for cell in (cell for cell in cells if cell.cell_type == "code"):
            drawn = DRAWING.search(cell.source)
            if drawn or TABLING.search(cell.source):
                yield from ((words, f"labs/{lab}#{cell.id}") for words in shown(cell.source)
                            if drawn or not (words in told or is_name(words)))  # what the text calls by its name keeps it


@functools.cache
def shown(source):
    """The strings of some code but those that are printed, raised or documented, or that name something in the code."""
    tree = ast.parse(source)
    skipped = {id(part) for node in hidden(tree) for part in ast.walk(node)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    skipped |= inside
    return [wording(node) for node in ast.walk(tree) if is_text(node) and id(node) not in skipped]


def hidden(tree):
    yield from spoken(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            yield node.slice
        elif isinstance(node, ast.Compare):
            yield from (node.left, *node.comparators)
        elif isinstance(node, ast.keyword) and SETTINGS.fullmatch(node.arg or ""):
            yield node.value
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node
        elif isinstance(node, ast.Call) and LOOKING_UP.fullmatch(called(node)):
            yield from (part for argument in (*node.args, *node.keywords) for part in names_of_code(argument, called(node)))


def names_of_code(argument, call):
    """Of what a call looks up: all of it, but of `rename` the former names alone; the new ones are shown."""
    value = getattr(argument, "value", argument)
    return value.keys if call == "rename" and isinstance(value, ast.Dict) else [argument]


def called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def of_records():
    """The names of methods and conditions in the records of the studies."""
    for path in sorted((module_file("leaplm.calibration").parent / "records").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        yield from ((words, f"leaplm/records/{path.name}") for words in names_in(record))


def names_in(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from names_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from names_in(item)
    elif isinstance(value, str) and len(value) < 60:
        yield value
