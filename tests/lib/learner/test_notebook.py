"""Marks in a real kernel, as a learner sees them: right, half, wrong, not answered, never ending."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from leaplm.learner import progress
from mini import LAB
from mini_learner import answered, released
from nbclient import NotebookClient

HALF = "def mean_square(x):\n    total = 0\n    for number in x:\n        total = total + number * number\n    return total"
ENDLESS = "def train_step(model, batch, optimizer):\n    while True:\n        pass"


def run(notebook, labs, **environment):
    """Runs a notebook as a learner does, errors and all; its outputs by cell id."""
    path = labs / LAB / f"{LAB}.ipynb"
    client = NotebookClient(notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": str(path.parent)}})
    client.execute(env={**os.environ, "LEAPLM_SCALE": "cpu", **environment})
    nbformat.write(notebook, path)
    return {cell.id: cell.get("outputs", []) for cell in notebook.cells}


def marks(outputs):
    """The marks of a notebook by check, as the text of their panel without tags."""
    found = {}
    for name, shown in outputs.items():
        html = [output.data["text/html"] for output in shown if "leaplm-mark" in output.get("data", {}).get("text/html", "")]
        if html:
            found[name] = " ".join(re.sub(r"<[^>]+>", " ", html[-1]).split())
    return found


@pytest.fixture(scope="module")
def worked(course, tmp_path_factory):
    """A notebook half right, with an exercise that never ends, and a table; its outputs, and the folder of labs."""
    labs = tmp_path_factory.mktemp("worked") / "labs"
    (labs / LAB).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAPLM_COURSE", str(course))
        patch.delenv("LEAPLM_LOCALE", raising=False)
        notebook = answered(course, mean_square=HALF, train_step=ENDLESS)
        shown = 'import pandas as pd\nprint(pd.DataFrame({"answer": ["ab " * 60 + "end"]}).to_html())'
        notebook.cells.append(nbformat.v4.new_code_cell(shown, id="shown"))
        return run(notebook, labs), labs


def test_each_check_has_its_mark_below_the_asserts(worked):
    outputs, _ = worked
    found = marks(outputs)
    assert found.keys() == {"check_mean_square", "check_train_step", "check_slope"}
    assert "◐ mean_square : 1 of 3 points" in found["check_mean_square"]
    assert outputs["check_mean_square"][0].output_type == "error"  # the visible assert comes first
    assert re.search(r"not judged within \d+ seconds", found["check_train_step"])  # more than 2 on a busy machine
    assert all(output.output_type != "execute_result" for output in outputs["check_slope"])  # to nbgrader that is a mark
    assert not [output for shown in outputs.values() for output in shown if output.get("name") == "stderr"]


def test_hints_come_in_steps_and_none_is_a_solution(worked):
    shown = worked[0]["check_mean_square"]
    html = next(output.data["text/html"] for output in shown if output.output_type == "display_data")
    words = ("is another number", "sums instead of averaging", "Mean of the squares of a tensor")
    steps = [html.index(each) for each in words]
    assert steps == sorted(steps) and html.index("<details") > steps[0]
    assert "squares.mean()" not in html


def test_progress_is_kept_beside_the_notebooks(worked):
    _, labs = worked
    record = json.loads((labs / progress.FILE).read_text())["labs"][LAB]
    assert record["checks"]["mean_square"]["points"] == 1 and "train_step" not in record["checks"]
    assert "| 0/3 | 1/9 |" in (labs / progress.PAGE).read_text()


def test_the_first_cell_shows_the_progress(worked, course, monkeypatch):
    _, labs = worked
    monkeypatch.setenv("LEAPLM_COURSE", str(course))
    notebook = released(course)
    notebook.cells = notebook.cells[:2]
    shown = run(notebook, labs)["begin"]
    assert "Your progress" in shown[0].data["text/html"] and "1/9" in shown[0].data["text/plain"]


def test_a_learner_may_ask_for_more_time_and_for_one_zip(course, labs):
    slow = "def mean_square(x):\n    import time\n    time.sleep(1.3)\n    return (x * x).mean()"
    notebook = answered(course, mean_square=slow)
    last = nbformat.v4.new_code_cell('from leaplm import learner\nlearner.mark("mean_square")', id="again")
    zipped = nbformat.v4.new_code_cell('learner.hand_in("Ngozi Okafor")', id="zip")
    nbformat.write(notebook, labs / LAB / f"{LAB}.ipynb")
    notebook.cells += [last, zipped]
    outputs = run(notebook, labs)
    assert "not judged" in marks(outputs)["check_mean_square"] and "3 of 3 points" in marks(outputs)["again"]
    assert "cells were run after the notebook was saved" in outputs["zip"][0].text  # it was written before they ran
    assert (labs / LAB / "Ngozi Okafor-lab0.zip").is_file()
    assert outputs["zip"][1].data["text/html"].startswith("<a href='Ngozi%20Okafor-lab0.zip' download>")


def test_asserts_that_never_end_are_stopped_and_the_notebook_goes_on(course, labs):
    notebook = answered(course, mean_square="def mean_square(x):\n    while True:\n        pass")
    last = next(number for number, cell in enumerate(notebook.cells) if cell.id == "check_train_step")
    notebook.cells = notebook.cells[: last + 1]  # the cells below call it, too, and are no checks
    notebook.cells[1].source += "\nfrom leaplm.learner import notebook\nnotebook.ASSERTS_SECONDS = notebook.SECONDS = 1"
    outputs = run(notebook, labs)
    [stopped] = [output for output in outputs["check_mean_square"] if output.output_type == "error"]
    assert stopped.ename == "NeverEnds" and "stopped after 1 seconds" in stopped.evalue
    shown = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(stopped.traceback))
    assert "in mean_square(x)" in shown and "listener.py" not in shown  # the learner's lines, and not ours
    assert "not judged" in marks(outputs)["check_mean_square"] and "check_train_step" in marks(outputs)


def test_a_mark_can_be_asked_for_after_a_restart(course, labs):
    notebook = answered(course)
    again = nbformat.v4.new_code_cell('from leaplm import learner\nlearner.mark("mean_square")', id="again")
    notebook.cells = [cell for cell in notebook.cells if cell.id not in ("begin", "check_mean_square")] + [again]
    assert "3 of 3" in marks(run(notebook, labs))["again"]


@pytest.mark.parametrize("environment", [{"NBGRADER_EXECUTION": "autograde"}, {"LEAPLM_MARKS": "off"}], ids=str)
def test_no_marks_where_nbgrader_runs_or_nobody_wants_them(course, labs, environment):
    outputs = run(answered(course), labs, **environment)
    assert marks(outputs) == {} and outputs["begin"] == []
    assert not (labs / progress.FILE).exists()


def test_the_graders_shell_loads_nothing():
    """In the sandbox the first cell of a lab may run: it must not even import the checks."""
    code = """if True:
        import sys
        from leaplm.grading.sandbox.outputs import make_shell
        make_shell().run_line_magic("load_ext", "leaplm.learner")
        print([name for name in sys.modules if name.startswith("leaplm.learner.")])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_tables_show_texts_to_their_end(worked):
    assert "ab end" in str(worked[0]["shown"])
