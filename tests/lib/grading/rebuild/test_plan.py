"""Which cells run for the marks: the student's, what these need, and what the checks ask for."""

import nbformat
import pytest
from leaplm.grading.rebuild.plan import Names, Plan, names_asked, saving_cells


def notebook(*cells):
    """Cells given as (id, source) or (id, source, role)."""
    made = nbformat.v4.new_notebook()
    for cell_id, source, *role in cells:
        cell = nbformat.v4.new_code_cell(source, id=cell_id)
        if role:
            cell.metadata["nbgrader"] = {"grade": False, "grade_id": cell_id, "locked": role[0] == "locked",
                                         "solution": role[0] == "answer", "schema_version": 3, "task": False}  # fmt: skip
        made.cells.append(cell)
    return made


RELEASE = [
    ("setup", "import math", "locked"),
    ("load", "rows = load(3)", "locked"),
    ("config", "config.steps = 3"),
    ("train", "model = fit(rows)", "locked"),
    ("answer", "raise NotImplementedError", "answer"),
    ("plot", "plot(model)"),
]


def chosen(source, *added, release=RELEASE, asked=()):
    cells = [(cell[0], source, *cell[2:]) if cell[0] == "answer" else cell for cell in release]
    return Plan(notebook(*cells, *added), notebook(*release), set(asked)).cells


def test_ours_that_nobody_needs_does_not_run():
    assert chosen("def double(x):\n    return 2 * x") == {"answer"}


@pytest.mark.parametrize(("source", "needed"), [
    ("def root(x):\n    return math.sqrt(x)", {"setup"}),
    ("print(len(rows))", {"load"}),
    ("def steps():\n    return config.steps", {"config"}),
    ("x = model", {"train", "load"}),  # and what that one needs
    ("def f(model):\n    rows = 1\n    return model, rows", set()),  # its own names
    ("class A:\n    def go(self):\n        return rows", {"load"}),
    ("y = [rows for _ in range(3)]", {"load"}),
    ("f = lambda: model", {"train", "load"}),
    ("%time math.pi", {"setup"}),
    ("def f(:", set()),
])  # fmt: skip
def test_names_bring_their_cells(source, needed):
    assert chosen(source) == {"answer"} | needed


def test_changed_and_added_cells_of_the_student_run():
    changed = [*RELEASE[:-1], ("plot", "plot(rows)")]
    plan = Plan(notebook(*changed, ("added-1", "y = math.pi")), notebook(*RELEASE), set())
    assert plan.cells == {"answer", "plot", "added-1", "load", "setup"}


@pytest.mark.parametrize("edit", [lambda text: text + "\n", lambda text: text.replace("\n", "\r\n") + " "])
def test_what_an_editor_changes_by_itself_does_not_run(edit):
    cells = [(name, edit(source), *role) for name, source, *role in RELEASE]
    assert Plan(notebook(*cells), notebook(*RELEASE), set()).cells == {"answer"}


def test_what_the_checks_ask_for_runs():
    assert names_asked('student.call("model", 1)\nstudent.get("rows")\ncard.get("config")\nstudent.read(ref, "train")') == {
        "model", "rows"}  # fmt: skip
    assert chosen("x = 1", asked=["rows"]) == {"answer", "load"}


def test_an_error_is_laid_to_a_cell_left_out_only_if_it_may_be():
    plan = Plan(notebook(*RELEASE), notebook(*RELEASE), set())
    assert plan.may_explain("`f` raised NameError (name 'rows' is not defined)")
    assert plan.may_explain("FileNotFoundError: runs/encoder")
    assert not plan.may_explain("NameError: name 'typo' is not defined")
    assert not plan.may_explain("the loss differs")


def test_names_of_a_cell():
    names = Names("import numpy as np\nfrom os import path\nfor i in a:\n    with b as c:\n        d[0].e = f\ndel g")
    assert names.bound == {"np", "path", "i", "c", "d", "g"}
    assert {"a", "b", "f"} <= names.read


def test_only_what_the_artifacts_need_runs_to_make_them():
    solution = notebook(("settings", "rate = 2"), ("sweep", "table = [rate, slow()]"), ("train", "model = rate", "locked"),
                        ("save", "open('artifacts/x', 'w').write(str(model))", "locked"), ("after", "model = 3"))
    assert saving_cells(solution) == {"settings", "train", "save"}
