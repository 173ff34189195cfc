"""A class of six generated submissions through nbgrader's own commands, from release to gradebook.

    python -m leaplm.grading.demo lab2_finetuning

It works on a copy of the course in .nbgrader-work/demo, so neither the course nor a real class is touched, and ends
with the gradebook beside the marks expected. The notebooks are handed in, and feedback is given, in the language of
LEAPLM_LOCALE, if the course has it. Of the expected marks, those of wrong answers come from judging them
without nbgrader. The model that the perfect student hands in is trained once, by running the solution (see `trained`).
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from leaplm.grading.course import LANGUAGES, find_course, translated_releases
from leaplm.grading.judge.banks import Answer, Workbench, load_bank
from leaplm.grading.rebuild.exercises import exercises, role
from leaplm.grading.submission import ARTIFACTS
from leaplm.grading.trained import trained_artifacts
from leaplm.translation import usual_locale

WORK = ".nbgrader-work"
STEADY_SEEDS = range(6)
STEPS = ("generate_assignment {lab} --force", "zip_collect {lab}", "autograde {lab}", "generate_feedback {lab}",
         "export --to {export}")  # fmt: skip


@dataclass
class Submission:
    """What one student hands in, and the mark nbgrader should give before a person reads the rest."""

    notebook: NotebookNode
    artifacts: dict[str, bytes]
    expected: float


@dataclass
class Row:
    """One line of the gradebook."""

    student: str
    expected: float
    actual: float
    most: float
    waiting: bool  # for a person to mark the written answers


class Classroom:
    """Makes the submissions of a lab in a language; `trained` are the files that a run of the solution saves."""

    def __init__(self, lab: str, course: Path, trained: Path, locale: str = "") -> None:
        self.lab, self.course, self.trained_folder = lab, course, trained
        self.trained = {path.name: path.read_bytes() for path in sorted(trained.iterdir()) if path.is_file()}
        self.release = read(course / folder_of(locale) / lab / f"{lab}.ipynb")
        solution = read(course / "solutions" / lab / f"{lab}.ipynb")
        self.solved = {cell.id: without_marks(cell.source) for cell in solution.cells}
        self.exercises = exercises(solution)
        self.bank = load_bank(lab, course)
        self.by_artifact = {answer.check for answer in self.bank if answer.files}
        self.of_code = [
            sum(points for check, points in exercise.checks.items() if check not in self.by_artifact)
            for exercise in self.exercises
        ]
        self.full = sum(sum(exercise.checks.values()) for exercise in self.exercises)

    def submissions(self) -> dict[str, Submission]:
        return {kind.__name__: kind() for kind in
                (self.perfect, self.empty, self.half, self.wrong, self.crashed, self.damaged)}  # fmt: skip

    def perfect(self) -> Submission:
        """Every cell as in the solution, with the trained model."""
        return Submission(self.fill(self.solved), self.trained, self.full)

    def empty(self) -> Submission:
        """The release as it was handed out."""
        return Submission(self.fill({}), {}, 0)

    def half(self) -> Submission:
        """The first half of the exercises; no model, for the notebook did not run to its end."""
        done = (len(self.exercises) + 1) // 2
        names = {name for exercise in self.exercises[:done] for name in exercise.answers}
        return Submission(self.fill({n: self.solved[n] for n in names}), {}, sum(self.of_code[:done]))

    def wrong(self) -> Submission:
        """A wrong answer of the bank to every check: the first whose points do not depend on the random inputs."""
        answers, made, expected = dict(self.solved), {}, 0.0
        with Workbench(self.lab, self.course, self.trained_folder) as bench:
            for exercise in self.exercises:
                for check in exercise.checks:
                    answer, points = self.steady(bench, check)
                    expected += points
                    if answer.files:
                        made |= bench.files(answer)
                    if answer.source:
                        answers[exercise.answers[-1]] += f"\n\n\n{answer.source}"
        return Submission(self.fill(answers), made, expected)

    def steady(self, bench: Workbench, check: str) -> tuple[Answer, float]:
        for answer in self.bank:
            if answer.check == check and not answer.right:
                seeds = STEADY_SEEDS[:1] if answer.files else STEADY_SEEDS  # a file is judged without any chance
                points = {bench.judge_answer(answer, seed).points for seed in seeds}
                if len(points) == 1:
                    return answer, points.pop()
        raise ValueError(f"{self.lab}: the points of every wrong answer to {check} depend on its random inputs")

    def crashed(self) -> Submission:
        """All right, but one answer in the middle ends the program: what ran before it counts, and the saved model."""
        middle = len(self.exercises) // 2
        answers = dict(self.solved)
        answers[self.exercises[middle].answers[0]] += "\n\n\nimport os\nos._exit(1)"
        before = sum(sum(exercise.checks.values()) for exercise in self.exercises[:middle])
        saved = sum(points for exercise in self.exercises[middle:] for check, points in exercise.checks.items()
                    if check in self.by_artifact)  # fmt: skip
        return Submission(self.fill(answers), self.trained, before + saved)

    def damaged(self) -> Submission:
        """The perfect one after an editor: no metadata, no ids, a copied check, and tags that skip every cell."""
        notebook = self.fill(self.solved)
        place = next(index for index, cell in enumerate(notebook.cells) if role(cell) == "check")
        notebook.cells.insert(place, copy.deepcopy(notebook.cells[place]))
        for cell in notebook.cells:
            cell.metadata = nbformat.from_dict({"tags": ["skip-execution"]} if cell.cell_type == "code" else {})
            del cell["id"]
        notebook.nbformat_minor = 4
        return Submission(notebook, self.trained, self.full)

    def fill(self, answers: dict[str, str]) -> NotebookNode:
        """The release with these sources in its answer cells, by id."""
        notebook = copy.deepcopy(self.release)
        for cell in notebook.cells:
            if role(cell) in ("answer", "manual"):
                cell.source = answers.get(cell.id, cell.source)
        return notebook


def run(lab: str, course: Path, say: Callable[[str], None] = print) -> list[Row]:
    """The whole demonstration; returns the gradebook."""
    trained = trained_artifacts(lab, course, say)
    demo = copy_course(lab, course, course / WORK / "demo")
    classroom = Classroom(lab, demo, trained, learners_language(lab, demo)).submissions()
    archive = demo / WORK / "downloaded" / lab / "archive"
    archive.mkdir(parents=True)
    for student, submission in classroom.items():
        hand_in(archive / f"{student}.zip", lab, submission)
    say(f"{len(classroom)} submissions in {archive}")
    for step in STEPS:
        nbgrader(step.format(lab=lab, export=demo / WORK / "grades.csv"), demo, say)
    return read_gradebook(lab, demo, {student: submission.expected for student, submission in classroom.items()})


def copy_course(lab: str, course: Path, demo: Path) -> Path:
    """A fresh course folder with one lab."""
    shutil.rmtree(demo, ignore_errors=True)
    demo.mkdir(parents=True)
    shutil.copy(course / "nbgrader_config.py", demo)
    shutil.copytree(course / "course", demo / "course", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("solutions", *map(folder_of, ("", *languages_of(lab, course)))):
        (demo / folder / lab).mkdir(parents=True)
        shutil.copy(course / folder / lab / f"{lab}.ipynb", demo / folder / lab)
    return demo


def folder_of(locale: str) -> str:
    """Where the labs of a language lie in a course."""
    return f"labs/{LANGUAGES}/{locale}" if locale else "labs"


def languages_of(lab: str, course: Path) -> list[str]:
    """The other languages in which a course has a lab."""
    return sorted(path.parents[1].name for path in translated_releases(course, lab))


def learners_language(lab: str, course: Path) -> str:
    """LEAPLM_LOCALE, where the course has the lab in it; else "" for English, which is said."""
    return usual_locale(languages_of(lab, course))


def hand_in(path: Path, lab: str, submission: Submission) -> None:
    """The zip of a student's lab folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{lab}/{lab}.ipynb", nbformat.writes(submission.notebook))
        for name, data in submission.artifacts.items():
            archive.writestr(f"{lab}/{ARTIFACTS}/{name}", data)


def nbgrader(command: str, folder: Path, say: Callable[[str], None]) -> None:
    """Runs `nbgrader <command>` in `folder`, says its warnings, keeps the whole log. RuntimeError if it fails."""
    say(f"$ nbgrader {command}")
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "nbgrader", *command.split()],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    with open(folder / WORK / "nbgrader.log", "a", encoding="utf-8") as log:
        for line in process.stdout:
            log.write(line)
            if told := worth_telling(line):
                say(f"  {told}")
    if process.wait():
        raise RuntimeError(f"`nbgrader {command}` failed; its log is {log.name}")
    say(f"  done in {time.monotonic() - start:.0f} s")


def worth_telling(line: str) -> str | None:
    """The part of nbgrader's log line that a teacher wants to see."""
    if match := re.search(r"AutogradeApp \| INFO\] Sanitizing .*/([^/]+)/[^/]+/[^/]+\.ipynb", line):
        return match[1]
    match = re.search(r"AutogradeApp \| (?:WARNING|ERROR)\] (.*)", line)
    return f"    {match[1]}" if match else None


def read_gradebook(lab: str, course: Path, expected: dict[str, float]) -> list[Row]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / WORK / 'gradebook.db'}", "leaplm") as gradebook:
        rows = []
        for student, mark in expected.items():
            found = gradebook.find_submission(lab, student)
            rows.append(Row(student, mark, found.score, found.max_score, found.needs_manual_grade))
        return rows


def table(rows: list[Row]) -> str:
    """The gradebook as text."""
    lines = [f"{'student':10} {'expected':>8} {'nbgrader':>8} {'of':>4}  written answers"]
    for row in rows:
        waiting = "to be read" if row.waiting else "none to read"
        odd = "" if row.actual == row.expected else "   <-- differs"
        lines.append(f"{row.student:10} {row.expected:8g} {row.actual:8g} {row.most:4g}  {waiting}{odd}")
    return "\n".join(lines)


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def without_marks(source: str) -> str:
    """A solution's text without its BEGIN and END lines."""
    return "\n".join(line for line in source.splitlines() if not re.search(r"(BEGIN|END) SOLUTION", line))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Grade a class of generated submissions with nbgrader.")
    parser.add_argument("lab", nargs="?", default=os.environ.get("LAB") or "lab2_finetuning")
    lab, course = parser.parse_args(argv).lab, find_course()
    if not (course / "solutions" / lab).is_dir():
        sys.exit(f"grade-demo: {course / 'solutions' / lab} does not exist; run `make build`, or check the lab's name")
    try:
        rows = run(lab, course)
    except RuntimeError as error:
        sys.exit(f"grade-demo: {error}")
    print(f"\n{table(rows)}\n")
    demo = course / WORK / "demo"
    print(f"CSV: {demo / WORK / 'grades.csv'}; feedback: {demo / WORK / 'feedback'}")
    # Without the option Formgrader works too, but does not open the notebooks, which lie in a hidden folder.
    print(f"Formgrader: cd {demo} && jupyter lab --ContentsManager.allow_hidden=True, then Nbgrader > Formgrader")
    if any(row.actual != row.expected for row in rows):
        sys.exit("grade-demo: nbgrader's marks differ from those expected")


if __name__ == "__main__":
    main()
