"""A course as `nbgrader quickstart` makes it, with one line more in its configuration, and assignments of plain cells."""

import atexit
import contextlib
import functools
import io
import json
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from unittest import mock

import nbformat
from jupyter_core.application import NoStart
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

LINE = "\nfrom leaplm.grading import configure\nconfigure(c)\n"


def nbgrader(course, *command, code=0):
    """Runs nbgrader in the course, in this process: the program takes seconds to start. What it said."""
    from leaplm.grading.steps import close_engine
    from nbgrader.apps import NbGraderApp

    NbGraderApp.clear_instance()
    heard, app, ended = io.StringIO(), NbGraderApp.instance(), 0
    said = logging.StreamHandler(heard)  # pytest takes what is logged from nbgrader's own
    logging.getLogger().addHandler(said)
    with contextlib.chdir(course), contextlib.redirect_stderr(heard), contextlib.redirect_stdout(heard):
        try:
            app.initialize(list(command))
            app.start()
        except NoStart:  # of a command that is another program in itself
            pass
        except SystemExit as end:
            ended = end.code or 0
        finally:
            logging.getLogger().removeHandler(said)
            close_engine()
            if app.subapp:
                type(app.subapp).clear_instance()  # or the next call has this one's words
            NbGraderApp.clear_instance()
    assert ended == code, heard.getvalue()
    return heard.getvalue()


def generate_config(words, **more):
    """Of the commands that `nbgrader quickstart` starts as programs the one that counts; the others add an example."""
    if words[3:] == ["generate_config"]:
        nbgrader(".", "generate_config")


@functools.cache
def template():
    """What `nbgrader quickstart course` makes, with an empty gradebook, once for all."""
    from nbgrader.api import Gradebook
    from nbgrader.apps import QuickStartApp, quickstartapp

    where = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, where, ignore_errors=True)
    with contextlib.chdir(where), contextlib.redirect_stderr(io.StringIO()), mock.patch.object(
        quickstartapp.subprocess, "call", generate_config
    ):
        app = QuickStartApp()
        app.log_level = 50
        app.initialize(["course"])
        app.start()
    course = Path(where, "course")
    shutil.rmtree(course / "source" / "ps1")
    os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]  # alembic, which it starts
    Gradebook(f"sqlite:///{course / 'gradebook.db'}", "course").close()
    return course


def quickstart(folder, more=""):
    """A new course, without the example assignment; `more` is added to its configuration."""
    shutil.copytree(template(), folder)
    config = folder / "nbgrader_config.py"
    config.write_text(config.read_text() + more + LINE)
    return folder


def generate(course, name):
    """`nbgrader generate_assignment`, in this process."""
    from leaplm.grading.book.gradebook import CourseBook
    from nbgrader.apps import NbGraderAPI

    book = CourseBook(course)
    result = NbGraderAPI(book.coursedir, parent=book.app).generate_assignment(name, force=True)
    assert result["success"], result["log"]


def cell(source, name="", kind="code", **marks):
    """A cell with nbgrader's marks, if it has a name."""
    new = new_code_cell if kind == "code" else new_markdown_cell
    made = new(source)
    if name:
        usual = {"grade": False, "solution": False, "task": False, "locked": False, "schema_version": 3, "grade_id": name}
        made.metadata.nbgrader = usual | marks
    return made


def answer(name, source):
    return cell(f"### BEGIN SOLUTION\n{source}\n### END SOLUTION", name, solution=True)


def check(name, source, points=1.0):
    return cell(source, name, grade=True, locked=True, points=points)


def written(name, points=2.0):
    return cell("Your answer", name, "markdown", grade=True, solution=True, points=points)


def task(name, points=3.0):
    source = "Make a plot.\n\n=== BEGIN MARK SCHEME ===\nAxes named?\n=== END MARK SCHEME ==="
    return cell(source, name, "markdown", task=True, locked=True, points=points)


def notebook(*cells, kernel="python3"):
    language = kernel.rstrip("3")
    spec = {"kernelspec": {"name": kernel, "display_name": kernel, "language": language}} if kernel else {}
    return new_notebook(cells=list(cells), metadata=spec)


def put_source(course, name, notebooks, files=()):
    """Puts an assignment into source/; `files` are {name: text}."""
    folder = course / "source" / name
    for title, made in notebooks.items():
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(made, folder / f"{title}.ipynb")
    for title, text in dict(files).items():
        (folder / title).parent.mkdir(parents=True, exist_ok=True)
        (folder / title).write_text(text)


def hand_in(course, student, name, title, answers, files=(), change=None):
    """The release with answers in the place of its own: {grade_id: source}; `change` may do the rest to the notebook."""
    made = nbformat.read(course / "release" / name / f"{title}.ipynb", as_version=4)
    for part in made.cells:
        part.source = answers.get(part.metadata.get("nbgrader", {}).get("grade_id"), part.source)
    if change:
        change(made)
    folder = course / "submitted" / student / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{title}.ipynb").write_text(json.dumps(made))  # as it is: nbformat would mend it
    for file, text in dict(files).items():
        Path(folder, file).parent.mkdir(parents=True, exist_ok=True)
        Path(folder, file).write_text(text)
