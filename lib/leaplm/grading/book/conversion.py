"""What `nbgrader autograde` does around a notebook, as a course's settings ask for it: for verdicts that we write ourselves.

Steps and hooks of the course's own, IgnorePattern and LimitOutput, the files beside a notebook, the rights of what is
written, and whether students may be new to the gradebook. All of it is nbgrader's own code, asked here.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.converters.base import BaseConverter
from nbgrader.preprocessors import IgnorePattern, LimitOutput
from traitlets.config import LazyConfigValue
from traitlets.utils.importstring import import_item

NOT_ITS_OWN = ("leaplm.", "nbgrader.", "nbconvert.")
LISTS = ("sanitize_preprocessors", "autograde_preprocessors")  # of Autograde


class Conversion:
    """nbgrader's Autograde of a course; `app` holds the settings."""

    def __init__(self, coursedir: Any, app: Any) -> None:
        self._app, self._autograde = app, Autograde(coursedir, parent=app)
        named = [step for name in LISTS for step in own_steps(app.config, "Autograde", name)]
        steps = [import_item(step) if isinstance(step, str) else step for step in [*named, IgnorePattern, LimitOutput]]
        self._steps = [step(parent=app) if isinstance(step, type) else step for step in steps]

    def through_steps(self, notebook: NotebookNode, lab: str, student: str, title: str) -> NotebookNode:
        """A graded notebook as the steps leave it that nbgrader would call before it reads the marks."""
        who = {"student": student, "assignment": lab, "notebook": title, "db_url": self._autograde.coursedir.db_url}
        resources = {"nbgrader": who, "unique_key": title, "output_files_dir": f"{title}_files"}
        for step in self._steps:
            if not isinstance(step, Preprocessor) or step.enabled:
                notebook, resources = step(notebook, resources)
        return notebook

    def call_hook(self, name: str, lab: str, student: str, folder: Path) -> None:
        """Calls a course's own "pre_convert_hook" or "post_convert_hook" for a student; goes on if it fails, as nbgrader."""
        hook = getattr(self._autograde, name)
        hook = getattr(hook, "theirs", hook)  # ours makes folders safe, which here are read safely
        if hook is None or full_name(hook).startswith(NOT_ITS_OWN):
            return
        try:
            (import_item(hook) if isinstance(hook, str) else hook)(
                assignment=lab, student=student, notebooks=sorted(map(str, folder.glob("*.ipynb")))
            )  # fmt: skip
        except Exception as problem:  # any: it is the course's own
            self._app.log.warning("%s of nbgrader_config.py failed for %s: %r", name, student, problem)

    def admit(self, gradebook: Gradebook, student: str) -> None:
        """Makes a student known to the gradebook. MissingEntry where c.Autograde.create_student forbids it."""
        if not self._autograde.create_student:
            with contextlib.suppress(MissingEntry):
                gradebook.find_student(student)
                return
            raise MissingEntry(f"no student {student!r} is in the gradebook, and c.Autograde.create_student is False: "
                               "`nbgrader db student add` adds one")  # fmt: skip
        gradebook.update_or_create_student(student)

    def copy_files(self, lab: str, student: str, ours: dict[str, Path], graded: Path) -> None:
        """Lays what was handed in beside the notebook, and the teacher's files over it, into the folder `graded`."""
        BaseConverter.init_assignment(self._autograde, lab, student)
        for name, path in ours.items():
            (graded / name).parent.mkdir(parents=True, exist_ok=True)
            (graded / name).unlink(missing_ok=True)  # it may be read-only
            shutil.copy(path, graded / name)

    def set_rights(self, lab: str, student: str) -> None:
        """Of the graded files: nbgrader's 444, or what c.Autograde.permissions and c.CourseDirectory.groupshared say."""
        self._autograde.set_permissions(lab, student)


def own_steps(config: Any, section: str, name: str) -> list[Any]:
    """The steps that a course itself has in one of nbgrader's lists. ValueError for one that would run students' cells.

    >>> from traitlets.config import Config
    >>> own_steps(Config({"A": {"steps": ["mine.Step", "nbgrader.preprocessors.Execute"]}}), "A", "steps")
    ['mine.Step']
    """
    given = config[section].get(name, [])
    given = given.get_value([]) if isinstance(given, LazyConfigValue) else given  # of c.Autograde...append(...)
    own = [step for step in given if not full_name(step).startswith(NOT_ITS_OWN)]
    for step in own:
        if runs_cells(step):
            said = "runs students' cells outside the sandbox. Take it out: they have run before (c.Execute.timeout holds)."
            raise ValueError(f"nbgrader_config.py: c.{section}.{name} has {full_name(step)}, which {said}")
    return own


def full_name(step: Any) -> str:
    """The name by which a step or hook is imported.

    >>> full_name(own_steps), full_name("mine.Step")
    ('leaplm.grading.book.conversion.own_steps', 'mine.Step')
    """
    named = step if hasattr(step, "__qualname__") else type(step)
    return step if isinstance(step, str) else f"{named.__module__}.{named.__qualname__}"


def runs_cells(step: Any) -> bool:
    from nbclient import NotebookClient

    if isinstance(step, str):
        with contextlib.suppress(Exception):  # nbgrader says what is wrong with it
            step = import_item(step)
    return isinstance(step, NotebookClient) or isinstance(step, type) and issubclass(step, NotebookClient)
