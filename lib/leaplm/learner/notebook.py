"""What a notebook sees: a mark below each check cell that was run, progress in the first cell, one call to hand in.

Marks come by IPython's events, so the cells of a lab are the same with and without them. Nothing of this runs while nbgrader
or our grader runs a notebook, and a fault of ours is one line below the cell, never an error of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import textwrap
import time
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from leaplm.grading.sandbox.student import TimeIsUp
from leaplm.learner import handed, panel, progress
from leaplm.learner.listener import until
from leaplm.learner.marks import MEMORY_MB, SECONDS, Mark, checks_of, mark, prepare, reads_files_only
from leaplm.learner.releases import Task, are_on, find_lab, find_task, languages_of, named_task
from leaplm.learner.words import BEGIN, MODEL, NOTHING_YET, STOPPED, TITLE
from leaplm.locales import say, say_problem, speak
from leaplm.places import find_root, known_labs
from leaplm.runtime import available_memory_mb, free_memory
from leaplm.translation import is_begun

NBGRADER = "NBGRADER_EXECUTION"  # environment: set while nbgrader runs a notebook
WRITE_EVERY = 60  # s, of the time worked; marks are written at once
WIDTH = 95  # characters of a line
ASSERTS_SECONDS = 20  # for the asserts of a check, which take milliseconds: then an answer in them does not end


class NeverEnds(TimeIsUp):
    """In the asserts of a check."""

    def __str__(self) -> str:
        return say(STOPPED, seconds=ASSERTS_SECONDS)

    def _render_traceback_(self) -> list[str]:
        """IPython shows this: the learner's lines, without the timer's, which comes last."""
        from IPython import get_ipython

        last = self.__traceback__
        while last.tb_next and last.tb_next.tb_frame.f_globals.get("__name__") != until.__module__:
            last = last.tb_next
        last.tb_next = None
        return get_ipython().InteractiveTB.structured_traceback(type(self), self, self.__traceback__)


class Session:
    """One notebook that a person works in."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.lab = Path.cwd().name if Path.cwd().name in known_labs(find_root()) else ""
        self._began = self._ended = time.monotonic()
        self._worked = 0.0  # s, not written yet
        self._limit = contextlib.ExitStack()  # of the cell that runs

    def before_cell(self, info: Any) -> None:
        self._limit.close()
        self._began = time.monotonic()
        pause = self._began - self._ended
        self._worked += pause if pause < progress.IDLE else 0
        task = self.task_of(info)
        if task and not judges_a_file(task):
            self._limit.enter_context(until(self._began + ASSERTS_SECONDS, NeverEnds, self.shell.user_ns))

    def task_of(self, info: Any) -> Task | None:
        """The check that a cell is."""
        lab = find_lab(info.raw_cell) or self.lab
        self.hear(info.raw_cell, lab)
        return find_task(info.raw_cell, lab, getattr(info, "cell_id", None))

    def hear(self, source: str, lab: str) -> None:
        """A cell of ours whose words are of one language alone: the notebook is in that one, wherever it lies.

        Below English cells the learner may have asked for another language.
        """
        found = languages_of(source, lab)
        locale = min(found) if len(found) == 1 else None
        if locale == "" or locale and is_begun(find_root(), locale):
            speak(locale or None)

    def after_cell(self, result: Any) -> None:
        """Below a check: its mark. Below other cells: nothing."""
        self._limit.close()
        try:
            self._after_cell(result.info)
        except Exception as fault:
            print(f"leaplm: {type(fault).__name__}: {fault}")
        self._ended = time.monotonic()

    def _after_cell(self, info: Any) -> None:
        self._worked += time.monotonic() - self._began
        self.lab = find_lab(info.raw_cell) or self.lab
        if task := self.task_of(info):
            self.show_mark(task, SECONDS)
            return
        if self.lab and "torch" in sys.modules:  # the lab's imports are done
            prepare(self.lab)
        if self.lab and self._worked > WRITE_EVERY:
            self.note()

    def show_mark(self, task: Task, seconds: float) -> None:
        from IPython.display import display

        waiting = judges_a_file(task)
        handle = display({"text/plain": say(MODEL)}, raw=True, display_id=True) if waiting else None
        found = self.judged(task, seconds, waiting)
        so_far = self.note(found)
        data = {"text/html": panel.as_html(found, so_far), "text/plain": panel.as_text(found, so_far)}
        noted = {"leaplm": panel.as_data(found)}  # for programs: course/tools/binder.py measures the marks
        handle.update(data, raw=True, metadata=noted) if handle else display(data, raw=True, metadata=noted)

    def judged(self, task: Task, seconds: float, a_model: bool) -> Mark:
        if a_model and (free := room_for_a_model()) < MEMORY_MB:
            return Mark(task, None, "", problem=f"memory {free:.0f}")
        try:
            return mark(task, self.shell.user_ns, ".", seconds)
        except Exception as fault:
            return Mark(task, None, "", problem=f"{type(fault).__name__}: {fault}")
        finally:
            if a_model:
                free_memory()  # 400 MB, which the cells below may need

    def note(self, found: Mark | None = None) -> str:
        """Writes the time worked, and a mark; returns the line on this lab, or why it could not be written."""
        lab = found.task.lab if found else self.lab
        try:
            with progress.changing(progress.progress_file(), lab) as record:
                progress.note_work(record, self._worked)
                if found:
                    progress.note_mark(record, found)
            self._worked = 0.0
        except OSError as problem:
            return say_problem(problem)
        return progress.so_far(lab, record)


def judges_a_file(task: Task) -> bool:
    return reads_files_only(checks_of(find_root(), task.lab)[task.check])


def room_for_a_model() -> float:
    """MB that may still be taken; where they are few, after what a training has left is given back."""
    if available_memory_mb() < MEMORY_MB:
        free_memory()
    return available_memory_mb()


_session: Session | None = None


def begin(shell: Any) -> None:
    """Watches the cells of a live notebook from now on, and shows the progress so far."""
    global _session
    if os.environ.get(NBGRADER) or not are_on():
        return
    if _session is None:
        _session = Session(shell)
        shell.events.register("pre_run_cell", _session.before_cell)
        shell.events.register("post_run_cell", _session.after_cell)
    if progress.progress_file().exists():
        show_progress()
    else:
        print(say(BEGIN))


def end(shell: Any) -> None:
    global _session
    if _session is not None:
        shell.events.unregister("pre_run_cell", _session.before_cell)
        shell.events.unregister("post_run_cell", _session.after_cell)
        _session = None


def has_begun() -> bool:
    return _session is not None


def running() -> Session:
    """The session of this notebook; RuntimeError where there is none."""
    if _session is None:
        raise RuntimeError(say("there are no marks here: this is no notebook, or the course was given out without marks"))
    return _session


def mark_again(name: str, seconds: float) -> None:
    session = running()
    session.show_mark(named_task(name, session.lab), seconds)


def show_progress() -> None:
    from IPython.display import display

    labs = progress.read(progress.progress_file())
    begun = [row for row in progress.rows(labs) if row.lab in labs]
    html = panel.table(progress.heads(), map(progress.cells, begun), say(TITLE))
    text = progress.table(labs)
    display({"text/html": html, "text/plain": text} if begun else {"text/plain": say(NOTHING_YET)}, raw=True)


def tell(words: str) -> None:
    """Prints lines that a notebook need not break, which it would do inside words."""
    for line in words.splitlines():
        print(textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False))


def hand_in(name: str, lab: str, to: str | Path | None) -> None:
    """The zip of this notebook; see `leaplm.learner.hand_in`."""
    lab = lab or (_session.lab if _session else "") or Path.cwd().name
    notebook = notebook_on_colab() or Path(f"{lab}.ipynb")
    done = handed.pack(lab, name, notebook, Path("."), Path(to) if to else Path("."))
    tell(done.report())
    offer(done.path)


def offer(path: Path) -> None:
    """Has Colab's browser download a file; elsewhere a link does that, in JupyterLab on whatever machine it runs."""
    if "google.colab" in sys.modules:
        from google.colab import files

        files.download(str(path))
        return
    from IPython.display import display

    place = quote(Path(os.path.relpath(path)).as_posix())
    display({"text/html": f"<a href='{place}' download>⬇ {escape(path.name)}</a>", "text/plain": str(path)}, raw=True)


def notebook_on_colab() -> bytes | None:
    """The notebook as it is in Colab's editor, which keeps no file of it beside the kernel; None elsewhere."""
    if "google.colab" not in sys.modules:
        return None
    from google.colab import _message

    answer = _message.blocking_request("get_ipynb", request="", timeout_sec=60)
    return json.dumps(answer["ipynb"]).encode()
