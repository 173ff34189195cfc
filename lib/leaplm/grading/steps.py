"""The steps we add to nbgrader's own lists, named in nbgrader_config.py.

    c.Autograde.exporter_class          SubmissionExporter   a file that is no notebook counts as an empty one
    c.Autograde.sanitize_preprocessors  RebuildSubmission    first: only texts are taken from the student
    c.Autograde.autograde_preprocessors ExecuteKeepingMarks  for Execute: a dead kernel keeps the marks earned before
                                        SettleChecks         before SaveAutoGrades: no mark without a verdict
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.preprocessors import Execute, NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution
from traitlets import Dict, Unicode

from leaplm.grading.cell import VERDICT
from leaplm.grading.rebuild import Repair, rebuild, show_hidden

UNREADABLE = "leaplm_unreadable"  # key in nbconvert's resources: why the submitted file is no notebook
ENOUGH_ERRORS = 200  # characters of a foreign error message


class SubmissionExporter(NotebookExporter):
    """Reads a submission; one that cannot be read becomes an empty notebook, so that the student gets a verdict."""

    def from_file(self, file_stream: Any, resources: dict | None = None, **kwargs: Any) -> tuple[Any, dict]:
        try:
            notebook = nbformat.read(file_stream, as_version=4)
        except Exception as error:  # any: the file is the student's
            resources[UNREADABLE] = f"{type(error).__name__}: {error}"[:ENOUGH_ERRORS]
            notebook = nbformat.v4.new_notebook()
        return self.from_notebook_node(notebook, resources=resources, **kwargs)


class RebuildSubmission(NbGraderPreprocessor):
    """Puts the student's answers into our own release; says what it mended in the log and beside the notebook."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        who = resources["nbgrader"]
        made, repairs = rebuild(self._ours("release", who), nb)
        show_hidden(made, self._ours("source", who))
        if reason := resources.pop(UNREADABLE, None):
            text = f"The file is no readable notebook ({reason}): it counts as empty. A new copy is needed."
            repairs = [Repair(text, doubtful=True)]
        if repairs:
            self._tell(who, repairs, resources)
        return made, resources

    def _ours(self, version: str, who: dict) -> NotebookNode:
        """Our own notebook: nbgrader's 'release' or 'source' version."""
        course = self.parent.parent.coursedir  # the exporter's parent is nbgrader's Autograde
        folder = course.format_path(getattr(course, f"{version}_directory"), ".", who["assignment"])
        return nbformat.read(Path(folder) / f"{who['notebook']}.ipynb", as_version=4)

    def _tell(self, who: dict, repairs: list[Repair], resources: dict) -> None:
        lines = [("LOOK AT THIS: " if repair.doubtful else "") + repair.text for repair in repairs]
        for line in lines:
            self.log.warning("%s, %s: %s", who["student"], who["notebook"], line)
        note = "What had to be mended in this submission before it was marked:\n\n" + "\n".join(lines) + "\n"
        resources.setdefault("outputs", {})[f"{who['notebook']}.repairs.txt"] = note.encode()


class ExecuteKeepingMarks(Execute):
    """nbgrader's Execute, which loses every mark when a kernel dies; here the cells that ran before keep theirs."""

    environment = Dict(
        value_trait=Unicode(), help="Environment variables of the student's kernel, added to our own."
    ).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict, km: Any = None) -> tuple[NotebookNode, dict]:
        self.lost = ""  # why nothing can run any more
        return super().preprocess(nb, resources, km)

    def setup_kernel(self, **kwargs: Any) -> AbstractContextManager:
        return super().setup_kernel(env={**os.environ, **self.environment}, **kwargs)

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if self.lost and cell.cell_type == "code":
            cell.outputs = [_error("NotRun", f"not run, since an earlier cell {self.lost}")]
        if self.lost:
            return cell, resources
        try:
            return super().preprocess_cell(cell, resources, index)
        except DeadKernelError:
            self.lost = "ended the whole program"
        except CellTimeoutError:
            self.lost = "could not be stopped"
        cell.outputs.append(_error("Stopped", f"this cell {self.lost}"))
        return cell, resources


class SettleChecks(NbGraderPreprocessor):
    """A check cell's mark is the number its check gave: stderr costs nothing, and no number means no points.

    nbgrader gives 0 for a warning on stderr, and full marks for a cell without output or with one that is no number.
    """

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if cell.cell_type != "code" or not is_grade(cell) or is_solution(cell):
            return cell, resources
        outputs = [out for out in cell.outputs if (out.output_type, out.get("name")) != ("stream", "stderr")]
        who = f"{resources['nbgrader']['student']}, {cell.metadata.nbgrader.grade_id}"
        for fault in filter(None, (_take_fault(output) for output in outputs)):
            self.log.error("%s: the check could not cope, 0 points; please look:\n%s", who, fault)
        cell.outputs = [output for output in outputs if VERDICT not in output.get("data", {})]
        if not _has_mark(cell):
            cell.outputs.insert(0, _error("NoVerdict", "the check gave no mark"))
            self.log.error("%s: the check gave no mark, 0 points", who)
        return cell, resources


def _take_fault(output: NotebookNode) -> str | None:
    """The traceback of a check that could not cope; see `cell.grade_cell`."""
    return output.get("data", {}).get(VERDICT, {}).get("fault")


def _has_mark(cell: NotebookNode) -> bool:
    """Whether the first result of a check cell is a number of points that the cell can be worth."""
    results = [output for output in cell.outputs if output.output_type == "execute_result"]
    try:
        return 0 <= float(results[0].data["text/plain"]) <= cell.metadata.nbgrader.points
    except (IndexError, KeyError, TypeError, ValueError):
        return False


def _error(name: str, message: str) -> NotebookNode:
    return nbformat.v4.new_output("error", ename=name, evalue=message, traceback=[f"{name}: {message}"])
