"""Builds the notebooks: course/labN_topic/lab.py -> solutions/<lab>/<lab>.ipynb and labs/<lab>/<lab>.ipynb.

    python course/tools/build.py                    all labs
    python course/tools/build.py lab2_finetuning    these labs
    python course/tools/build.py --no-marks         releases that show no marks: for a class that is to see no hidden check

A lab is one jupytext py:percent file with the solutions inside. Cell markers:

    # %% [markdown]                           text, as it stands
    # %%                                      code the student may change; not graded
    # %% locked="setup"                       code the student may not change (imports, given helpers)
    # %% answer="cross_entropy"               code the student writes, between ### BEGIN SOLUTION and ### END SOLUTION;
                                              without these two lines the whole cell is the solution
    # %% check="cross_entropy" points=3       visible asserts; the build puts the hidden call of the function
                                              `cross_entropy` of the lab's checks.py before them. Its points must be 3
    # %% [markdown] manual="errors" points=2  an answer marked by a person: text, or code without [markdown]
    # %% tags=["hide"]                        tags may stand on any cell

The mark of a check cell is what the check function gives. The asserts below it only inform the student, so write
them self-contained. Everything else of nbgrader (ids, checksums, metadata v3) is made here. The solution notebook is
nbgrader's source version; the release is what nbgrader's own `generate_assignment` makes of it.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from leaplm.grading.course import LAB_NAME, lab_file, list_labs
from leaplm.grading.judge.checks import load_checks
from leaplm.learner.releases import without_marks
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("answer", "check", "manual", "locked")
GRADE_ID = re.compile(r"[a-zA-Z0-9_\-]{1,50}")
HIDDEN_CALL = """\
### BEGIN HIDDEN TESTS
from leaplm.grading import grade_cell
grade_cell("{lab}", "{check}")
### END HIDDEN TESTS
"""
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class BuildError(Exception):
    """A mistake in a lab's source: the file, the cell, and what to do."""


def build(root: Path, labs: list[str] | None = None, marks: bool = True) -> list[Path]:
    """Builds the named labs (default: all) and returns the notebooks written; without `marks` the releases show none."""
    written = []
    for lab in labs or list_labs(root):
        solution = make_solution(root, lab)
        release = make_release(root, lab, solution if marks else without_marks(solution))
        for folder, text in (("solutions", solution), ("labs", release)):
            path = root / folder / lab / f"{lab}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            written.append(path)
    return written


def make_solution(root: Path, lab: str) -> str:
    """nbgrader's source version of a lab, as the text of a notebook."""
    path = lab_file(root, lab, "lab.py")
    if not LAB_NAME.fullmatch(lab) or not path.is_file():
        known = ", ".join(list_labs(root)) or "none"
        raise BuildError(f"{path}: no such lab. Labs are folders course/labN_topic with a file lab.py; there are: {known}")
    source = LabSource(path, root)
    notebook = nbformat.v4.new_notebook(cells=source.cells(), metadata=KERNEL)
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def make_release(root: Path, lab: str, solution: str) -> str:
    """The student version, made by nbgrader's own converter with this course's configuration and no gradebook.

    It works in a temporary folder: nbgrader empties the folder it writes to, and a teacher may keep work in labs/.
    """
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory

    with tempfile.TemporaryDirectory() as folder:
        config = load_config(root)
        config.CourseDirectory.root = os.path.realpath(folder)
        config.SaveCells.enabled = False  # these two lines are `nbgrader generate_assignment --no-db`
        config.GenerateAssignment.no_database = True
        coursedir = CourseDirectory(config=config)
        coursedir.assignment_id = lab
        source = Path(coursedir.format_path(coursedir.source_directory, ".", lab), f"{lab}.ipynb")
        source.parent.mkdir(parents=True)
        source.write_text(solution, encoding="utf-8")
        converter = GenerateAssignment(coursedir=coursedir, config=config)
        converter.log.setLevel(logging.ERROR)
        converter.start()
        release = Path(coursedir.format_path(coursedir.release_directory, ".", lab), f"{lab}.ipynb")
        return release.read_text(encoding="utf-8")


def load_config(root: Path):
    """The course's nbgrader_config.py."""
    from traitlets.config import PyFileConfigLoader

    return PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()


class LabSource:
    """One lab's py:percent file, read and checked cell by cell."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.root = root
        self.lab = path.parent.name
        self.text = path.read_text(encoding="utf-8")
        self.checks = load_checks(self.lab, root) if re.search(r"^# %%.*\bcheck=", self.text, re.M) else {}
        self.seen: dict[str, int] = {}  # cell id -> how often
        self.line = 0  # of the cell at hand, for errors
        self.marker = ""

    def cells(self) -> list[NotebookNode]:
        """The cells of nbgrader's source notebook."""
        cells = jupytext.reads(self.text, fmt="py:percent").cells
        markers = [(n, line) for n, line in enumerate(self.text.splitlines(), 1) if line.startswith("# %%")]
        if len(markers) != len(cells):
            raise BuildError(f"{self.path}: {len(cells)} cells for {len(markers)} markers. Start the file with a line "
                             "'# %%' or '# %% [markdown]', and write no such line inside a cell")
        made = []
        for (self.line, self.marker), cell in zip(markers, cells, strict=True):
            made.append(self.make_cell(cell))
        self.check_all_used()
        return made

    def make_cell(self, cell: NotebookNode) -> NotebookNode:
        """The notebook cell of one py:percent cell: nbgrader metadata, hidden call, and an id that stays."""
        options = {k: v for k, v in cell.metadata.items() if k != "lines_to_next_cell"}
        kinds = [kind for kind in KINDS if kind in options]
        if unknown := set(options) - {*KINDS, "points", "tags"}:
            self.fail(f"unknown option {', '.join(sorted(unknown))}; use answer, check, manual, locked, points, tags")
        if len(kinds) > 1:
            self.fail(f"{' and '.join(kinds)} on one cell; give each its own cell")
        metadata = {"tags": options["tags"]} if "tags" in options else {}
        source = cell.source
        kind = kinds[0] if kinds else None
        self.check_regions(source, kind)
        if kind is None:
            if "points" in options:
                self.fail("points without check or manual")
            cell_id = hashlib.sha256(f"{cell.cell_type}\n{source}".encode()).hexdigest()[:8]
        else:
            metadata["nbgrader"] = self.nbgrader_metadata(cell, kind, options)
            cell_id = metadata["nbgrader"]["grade_id"]
        if kind == "check":
            source = HIDDEN_CALL.format(lab=self.lab, check=options["check"]) + source
        new = nbformat.v4.new_markdown_cell if cell.cell_type == "markdown" else nbformat.v4.new_code_cell
        return new(source, metadata=metadata, id=self.unique(cell_id, kind))

    def nbgrader_metadata(self, cell: NotebookNode, kind: str, options: dict) -> dict:
        """nbgrader's cell metadata, version 3."""
        name = options[kind]
        grade_id = f"check_{name}" if kind == "check" else name
        if not isinstance(name, str) or not GRADE_ID.fullmatch(grade_id):
            self.fail(f"{kind}={name!r} must be a string of letters, digits, _ and -, at most 44 long")
        if cell.cell_type != "code" and kind != "manual":
            self.fail(f"{kind} must stand on a code cell; for a written answer use manual")
        graded = kind in ("check", "manual")
        self.check_points(kind, name, options)
        metadata = {
            "grade": graded,
            "grade_id": grade_id,
            "locked": kind in ("check", "locked"),
            "schema_version": 3,
            "solution": kind in ("answer", "manual"),
            "task": False,
        }
        return metadata | ({"points": options["points"]} if graded else {})

    def check_points(self, kind: str, name: str, options: dict) -> None:
        """Points stand where they belong, and a check cell's are those of its function."""
        points = options.get("points")
        if kind in ("answer", "locked"):
            if points is not None:
                self.fail(f"points on {kind}; put them on its check cell")
            return
        if isinstance(points, bool) or not isinstance(points, (int, float)) or points <= 0:
            self.fail(f"{kind} needs points=N, N above 0")
        if kind == "check":
            file = f"course/{self.lab}/checks.py"
            if name not in self.checks:
                self.fail(f"{file} has no check {name!r}; it has {', '.join(sorted(self.checks))}")
            if points != self.checks[name].points:
                self.fail(f"points={points} here, @check(points={self.checks[name].points}) in {file}; make them equal")

    def check_regions(self, source: str, kind: str | None) -> None:
        """Solution regions are closed and only where nbgrader empties them; hidden tests are not written by hand."""
        if "HIDDEN TESTS" in source:
            self.fail("delete the hidden tests: the build calls the check function, and that is where tests belong")
        marks = re.findall(r"\b(BEGIN|END) SOLUTION", source)
        if marks and kind not in ("answer", "manual"):
            self.fail('a solution outside an answer cell; mark the cell answer="..." or manual="..."')
        if marks != ["BEGIN", "END"] * (len(marks) // 2):
            self.fail("each ### BEGIN SOLUTION needs its ### END SOLUTION")

    def check_all_used(self) -> None:
        """A check without a cell would never be run."""
        unused = sorted(name for name in self.checks if f"check_{name}" not in self.seen)
        if unused:
            raise BuildError(f"{self.path}: no cell has check=\"{unused[0]}\" (of checks.py); add one or delete it")

    def unique(self, cell_id: str, kind: str | None) -> str:
        """The id, numbered from the second time on where that is allowed."""
        self.seen[cell_id] = self.seen.get(cell_id, 0) + 1
        if self.seen[cell_id] == 1:
            return cell_id
        if kind is not None:
            self.fail(f"a second cell with the id {cell_id!r}; each name may stand once")
        return f"{cell_id}-{self.seen[cell_id]}"

    def fail(self, problem: str) -> None:
        raise BuildError(f"{self.path}, line {self.line}, cell '{self.marker}': {problem}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the notebooks of the course.")
    parser.add_argument("labs", nargs="*", help="names like lab2_finetuning; default: all")
    parser.add_argument("--no-marks", action="store_true", help="releases that show learners no marks")
    options = parser.parse_args()
    try:
        for path in build(ROOT, options.labs, marks=not options.no_marks):
            print(path.relative_to(ROOT))
    except (BuildError, FileNotFoundError, ValueError) as error:
        sys.exit(f"build: {error}")


if __name__ == "__main__":
    main()
