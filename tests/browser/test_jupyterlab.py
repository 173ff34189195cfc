"""A lab as its people meet it: a student fetches, solves, validates and submits it in JupyterLab; a teacher marks it.

Everything is real: nbgrader's exchange, its buttons, our grader behind them, and a browser that types.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys

import nbformat
import pytest
from jupyter_process import jupyter
from nbclient import NotebookClient
from repo import ROOT

LAB = "lab0_start"
HAS_RUN = """number => /^\\[\\d+\\]:$/.test(
    document.querySelectorAll('.jp-Notebook .jp-Cell')[number]?.querySelector('.jp-InputPrompt')?.textContent ?? '')"""
SETTINGS = """c = get_config()
c.CourseDirectory.course_id = "leaplm"
c.Exchange.root = "{exchange}"
c.ExecutePreprocessor.timeout = c.ExecutePreprocessor.startup_timeout = 600  # s: a machine may be busy
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nbgrader's exchange needs Linux or macOS")


class Class:
    """A course with one lab, an exchange, and folders and settings for the teacher and a student."""

    def __init__(self, folder):
        self.course, self.home, self.exchange = folder / "course", folder / "amina", folder / "exchange"
        self.home.mkdir()
        self.exchange.mkdir()
        self.exchange.chmod(0o777)
        self.settings = {}
        for who in ("teacher", "student"):
            self.settings[who] = folder / f"{who}-settings"
            self.settings[who].mkdir()
            (self.settings[who] / "nbgrader_config.py").write_text(SETTINGS.format(exchange=self.exchange))
        shutil.copytree(ROOT / "course", self.course / "course")
        shutil.copy(ROOT / "nbgrader_config.py", self.course)
        for part in ("labs", "solutions"):
            shutil.copytree(ROOT / part / LAB, self.course / part / LAB, ignore=shutil.ignore_patterns("artifacts", "runs"))

    def teacher(self, *command):
        """One of the teacher's commands."""
        environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(self.settings["teacher"]), "LEAPLM_SCALE": "tiny"}
        command = [sys.executable, "-m", *command]
        done = subprocess.run(command, cwd=self.course, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def school(tmp_path_factory, assets_ready):
    school = Class(tmp_path_factory.mktemp("school"))
    school.teacher("nbgrader", "generate_assignment", LAB, "--force")
    school.teacher("nbgrader", "release_assignment", LAB)
    return school


def no_news(page):
    """JupyterLab's question about news, where the set-up has not answered it."""
    page.add_locator_handler(page.get_by_role("button", name="No", exact=True), lambda button: button.click())


def open_afresh(page, address):
    """Open a place in JupyterLab with nothing else beside it.

    The reset goes on after the page can be used, and loads it anew where a click has changed its address in between.
    """
    page.goto(f"{address}?reset")
    page.wait_for_url(lambda url: "?reset" not in url)


def assignments(page):
    """The assignment list of nbgrader's menu."""
    page.get_by_role("menuitem", name="Nbgrader").click()
    page.get_by_role("menuitem", name="Assignment List").click()
    page.wait_for_selector("#released_assignments_list, #released_assignments")


def wait_for_kernel(page):
    """Until the notebook's kernel is ready; looks at the status bar alone, since all the text of a lab takes long."""
    page.locator("#jp-main-statusbar").get_by_text("Python 3 (ipykernel) | Idle").wait_for()


def solve_by_keyboard(page, notebook):
    """Run every cell with Shift+Enter, as a student does; where an answer is due, type the solution's."""
    wait_for_kernel(page)
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.keyboard.press("Escape")
    for number, cell in enumerate(notebook.cells):
        if cell.metadata.get("nbgrader", {}).get("solution"):
            page.keyboard.press("Enter")
            page.keyboard.press("Control+A")
            page.keyboard.insert_text(re.sub(r".*(BEGIN|END) SOLUTION.*\n?", "", cell.source))
        page.keyboard.press("Shift+Enter")
        if cell.cell_type == "code":
            page.wait_for_function(HAS_RUN, arg=number, timeout=120_000, polling=100)
        if number == 12:
            page.shoot("lab0-begun")


def fetch_solve_validate_submit(school, page):
    """The student's part."""
    solution = nbformat.read(ROOT / "solutions" / LAB / f"{LAB}.ipynb", as_version=4)
    with jupyter(school.home, school.settings["student"], LEAPLM_SCALE="tiny") as address:
        no_news(page)
        open_afresh(page, f"{address}/lab")
        assignments(page)
        page.get_by_role("button", name="Fetch").click()
        page.get_by_role("button", name="Submit").wait_for()
        page.shoot("assignments-fetched")
        page.get_by_role("button", name=LAB).click()  # shows the notebooks of the lab
        page.get_by_role("link", name=LAB).click()
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        solve_by_keyboard(page, solution)
        page.shoot("lab0-solved")
        page.get_by_role("button", name="Validate").click()
        told = page.locator(".jp-Dialog").get_by_text("Success! Your notebook passes all the tests.")
        told.wait_for(timeout=400_000)
        page.shoot("lab0-validated")
        page.keyboard.press("Escape")
        assignments(page)
        page.get_by_role("button", name="Submit").click()
        page.wait_for_selector("#submitted_assignments_list .list_item, #submitted_assignments_list a")
        page.shoot("lab0-submitted")
        page.get_by_role("tab", name=f"{LAB}.ipynb").click()
        take_home_and_bring_back(school.home, page, f"{address}/lab/tree/{LAB}/{LAB}.ipynb")


def run_in_a_new_cell(page, code):
    """Below the selected cell; what it prints."""
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.insert_text(code)
    page.keyboard.press("Shift+Enter")
    return page.locator(".jp-Notebook .jp-Cell", has_text=code).locator(".jp-OutputArea-output")


def take_home_and_bring_back(labs, page, notebook):
    """A cell packs the work; Binder forgets all, and gives the release out again; a cell puts the work in its place."""
    began = {path: path.read_bytes() for path in (labs / LAB).rglob("*") if path.suffix in (".ipynb", ".json")
             and ".ipynb_checkpoints" not in path.parts}  # fmt: skip
    progress = labs / "leaplm-progress.json"
    marks = json.loads(progress.read_text())["labs"][LAB]["checks"]
    assert len(marks) > 5 and labs / LAB / "artifacts" / "tokenizer.json" in began
    wait_for_kernel(page)
    page.locator(".jp-Notebook .jp-Cell").first.click()
    taken = run_in_a_new_cell(page, "from leaplm import learner; learner.take_home()")
    taken.get_by_role("link", name="leaplm-work.zip").wait_for()
    page.shoot("lab0-taken-home")
    for path in (*began, progress):
        path.unlink()
    shutil.copy(ROOT / "labs" / LAB / f"{LAB}.ipynb", labs / LAB)
    open_afresh(page, notebook)
    wait_for_kernel(page)
    page.locator(".jp-Notebook .jp-Cell").first.click()
    back = run_in_a_new_cell(page, "from leaplm import learner; learner.bring_back('../leaplm-work.zip')")
    back.get_by_text("files are back in").wait_for()
    open_afresh(page, notebook)
    page.locator(".leaplm-mark").first.wait_for()
    page.shoot("lab0-back")
    assert {path: path.read_bytes() for path in began} == began
    assert json.loads(progress.read_text())["labs"][LAB]["checks"] == marks


def mark_the_written_answer(school, page):
    """The teacher's part, in Formgrader."""
    school.teacher("nbgrader", "collect", LAB)
    assert "graded" in school.teacher("leaplm", "grade", LAB)
    with jupyter(school.course, school.settings["teacher"]) as address:
        no_news(page)
        page.goto(f"{address}/formgrader/gradebook/{LAB}/{LAB}")
        page.get_by_role("link", name="Submission #1").click()
        score = page.locator("input.score").last
        score.wait_for()
        page.shoot("formgrader")
        manual = page.locator("input.score[placeholder='?'], input.score.needs_manual_grade").last
        page.wait_for_load_state("networkidle")  # the points that are there come after the page
        with page.expect_response(lambda answer: answer.request.method == "PUT" and "/api/grade/" in answer.url):
            (manual if manual.count() else score).fill("3")
            page.keyboard.press("Tab")
        page.shoot("formgrader-marked")


def test_a_lab_goes_from_the_teacher_to_a_student_and_back(school, page):
    fetch_solve_validate_submit(school, page)
    worked = nbformat.read(school.home / LAB / f"{LAB}.ipynb", as_version=4)
    outputs = [output for cell in worked.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    mark_the_written_answer(school, page)
    with sqlite3.connect(school.course / ".nbgrader-work" / "gradebook.db") as book:
        assert book.execute("select manual_score from grade where manual_score is not null").fetchall() == [(3,)]


@pytest.fixture(scope="module")
def students(tmp_path_factory, shallow):
    """(labs, address): JupyterLab on a copy of the labs, with the extension that an installation brings and small models."""
    home = tmp_path_factory.mktemp("students")
    without = shutil.ignore_patterns("languages", "artifacts", "runs", ".ipynb_checkpoints")
    labs = shutil.copytree(ROOT / "labs", home / "labs", ignore=without)
    shutil.copytree(ROOT / "lib" / "leaplm" / "labextension", home / "labextensions" / "leaplm")
    quick = {"LEAPLM_SCALE": "tiny", "LEAPLM_COURSE": str(ROOT), **shallow}
    with jupyter(labs, home, JUPYTER_PATH=str(home), **quick) as address:
        yield labs, address


def look_at(page, place, name):
    """Scroll to a place and wait until it is drawn: JupyterLab draws only what is near the screen."""
    place.evaluate("element => element.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(1500)
    place.evaluate("element => element.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(500)
    page.shoot(name)
    assert place.is_visible()


def test_training_shows_its_progress_and_its_plots(students, lasting_page):
    lab, page, (labs, address) = "lab2_finetuning", lasting_page, students
    shutil.copytree(ROOT / "solutions" / lab, labs / "solved" / lab, ignore=shutil.ignore_patterns("artifacts", "runs"))
    cells = nbformat.read(labs / "solved" / lab / f"{lab}.ipynb", as_version=4).cells
    last = max(number for number, cell in enumerate(cells) if cell.cell_type == "code")
    no_news(page)
    open_afresh(page, f"{address}/lab/tree/solved/{lab}/{lab}.ipynb")
    wait_for_kernel(page)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(HAS_RUN, arg=last, timeout=240_000, polling=500)  # ms; else at every frame
    bar = page.locator(".jp-OutputArea-output .widget-hprogress, .jp-OutputArea-output progress").first
    look_at(page, bar, "lab2-progress")
    look_at(page, page.locator(".jp-RenderedImage img").first, "lab2-plot")
    assert page.locator(".jp-RenderedImage img").count() >= 3
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


DRAWING = """import pandas as pd
from leaplm import plots
plots.plot_bars(pd.DataFrame({"name": ["Hausa"], "mean": [0.5], "sd": [0.02]}), "Loss during training");"""


def test_a_figure_has_its_words_as_alternative_text_where_it_is_shown(students, lasting_page):
    """In JupyterLab and in Jupyter Notebook, by the extension that an installation brings."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(DRAWING)])
    NotebookClient(notebook).execute(env={**os.environ, "LEAPLM_LOCALE": "fr", "LEAPLM_COURSE": str(ROOT)})
    page, (labs, address) = lasting_page, students
    no_news(page)
    nbformat.write(notebook, labs / "figure.ipynb")
    [words] = [output.metadata["image/png"]["alt"] for output in notebook.cells[0].outputs]
    for place in ("lab/tree", "notebooks"):
        page.goto(f"{address}/{place}/figure.ipynb?reset")
        figure = page.locator(".jp-RenderedImage img")
        figure.wait_for()
        assert figure.get_attribute("alt") == words and words.startswith("La perte pendant l'entraînement")
    page.shoot("figure-in-notebook")


def test_the_start_page_leads_to_the_labs_and_shows_no_teachers_panels(students, lasting_page):
    page, (_, address) = lasting_page, students
    no_news(page)
    open_afresh(page, f"{address}/lab/tree/START.md")
    page.get_by_role("menuitem", name="Nbgrader").click()
    page.get_by_role("menuitem", name="Assignment List").wait_for()
    assert page.get_by_role("menuitem", name="Formgrader").count() == 0
    assert page.get_by_role("menuitem", name="Create Assignment").count() == 0
    page.keyboard.press("Escape")
    page.shoot("start")
    page.get_by_role("link", name="2 · Full fine-tuning").click()
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.shoot("start-lab2")
