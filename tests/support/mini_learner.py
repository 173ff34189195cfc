"""The mini course as a learner has it: its notebook with marks switched on, solved in part."""

import copy
import re

import nbformat
from mini import LAB

BEGIN = 'get_ipython().run_line_magic("load_ext", "leaplm.learner")'


def released(course):
    """The mini lab's release, with the first cell of a real lab."""
    notebook = nbformat.read(course / "labs" / LAB / f"{LAB}.ipynb", as_version=4)
    notebook.cells.insert(1, nbformat.v4.new_code_cell(BEGIN, id="begin"))
    return notebook


def solutions(course):
    """{cell id: the solution}, of answer cells, written ones too."""
    cells = nbformat.read(course / "solutions" / LAB / f"{LAB}.ipynb", as_version=4).cells
    found = {cell.id: cell for cell in cells if cell.metadata.get("nbgrader", {}).get("solution")}
    return {name: re.sub(r".*(BEGIN|END) SOLUTION.*\n?", "", cell.source) for name, cell in found.items()}


def answered(course, **answers):
    """The released notebook with the solutions, and other answers by the id of their cell; None leaves one unanswered."""
    notebook, given = copy.deepcopy(released(course)), {**solutions(course), **answers}
    for cell in notebook.cells:
        if given.get(cell.id):
            cell.source = given[cell.id]
    return notebook
