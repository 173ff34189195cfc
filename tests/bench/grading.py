"""A class of generated submissions: `leaplm grade` beside plain `nbgrader autograde`, on this machine, in one run.

    python tests/bench/grading.py                                    100 of lab 2; plain nbgrader on 5 honest ones
    python tests/bench/grading.py --lab lab0_mini --students 30 300  the mini lab, for the cost of a large class
    python tests/bench/grading.py --lab week1 --students 300         an assignment of nbgrader's own cells, generated

The class is mixed: perfect, half, wrong and empty notebooks, and 15 % damaged ones. Each has an artifact of its own, so
none is judged for another. In the end one student hands in again, and `leaplm grade` is started anew.

Plain nbgrader (its own steps, only folders and a time limit set) stops at the first
damaged submission of some kinds, so it gets honest ones alone; its time for the whole class is their mean times the
class. The first of them is not counted: it pays for the start.
"""

import argparse
import copy
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil
from safetensors.numpy import load, save

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from leaplm.grading.book.gradebook import CourseBook, scores  # noqa: E402
from leaplm.grading.classroom import grade_class  # noqa: E402
from leaplm.grading.demo import Classroom  # noqa: E402
from leaplm.grading.trained import trained_artifacts  # noqa: E402
from mini import LAB as MINI  # noqa: E402
from mini import make_course  # noqa: E402
from quickstart import LINE, answer, check, generate, hand_in, notebook, put_source, quickstart, written  # noqa: E402

CELLS = "week1"  # the assignment of nbgrader's own cells

WORK = ".nbgrader-work"
PLAIN = """
import os
c = get_config()
c.CourseDirectory.course_id = "leaplm"
c.CourseDirectory.source_directory, c.CourseDirectory.release_directory = "solutions", "labs"
c.CourseDirectory.submitted_directory = ".nbgrader-work/submitted"
c.CourseDirectory.autograded_directory = ".nbgrader-work/autograded"
c.CourseDirectory.db_url = "sqlite:///" + os.path.abspath(".nbgrader-work/gradebook.db")
c.Execute.timeout = 600
"""


class Class:
    """A course folder with a class of a lab in it."""

    def __init__(self, lab, students, folder):
        self.lab, self.course = lab, folder
        source = make_course(folder / "made") if lab == MINI else ROOT
        for name in ("course", "nbgrader_config.py", f"solutions/{lab}", f"labs/{lab}"):
            copy_to = folder / name
            copy_to.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (source / name).is_dir() else shutil.copy)(source / name, copy_to)
        self.makers = Classroom(lab, folder, trained_artifacts(lab, source))
        # wrong() judges the bank's answers to know its mark; once is enough
        self.kinds = [self.makers.perfect(), self.makers.half(), self.makers.wrong(), self.makers.empty()]
        self.expected = {}
        for number in range(students):
            self.put(number)

    def for_nbgrader(self, students):
        """Leaves so many honest submissions, and plain nbgrader's own steps."""
        for path in (self.course / WORK / "submitted").iterdir():
            if path.name not in list(self.expected)[:students]:
                shutil.rmtree(path)
        (self.course / "nbgrader_config.py").write_text(PLAIN)

    def resubmit(self):
        """The first student hands in another model."""
        shutil.rmtree(self.course / WORK / "submitted" / "student000")
        self.put(0, version=500)

    def put(self, number, version=0):
        student, damaged = f"student{number:03d}", number % 20 in (4, 11, 18)
        made = self.kinds[0] if damaged else self.kinds[number % len(self.kinds)]
        content = damage(made.notebook, number // 20) if damaged else nbformat.writes(made.notebook).encode()
        folder = self.course / WORK / "submitted" / student / self.lab
        (folder / "artifacts").mkdir(parents=True)
        (folder / f"{self.lab}.ipynb").write_bytes(content)
        for name, data in made.artifacts.items():
            (folder / "artifacts" / name).write_bytes(own(data, number + version))
        if not damaged:
            self.expected[student] = made.expected


class ClassOfCells:
    """A course that `nbgrader quickstart` made, with a class that has handed in CELLS: right, partly right, wrong, empty."""

    ANSWERS = {"squares": "def squares(n):\n    return [x * x for x in range(n)]",
               "mean": "def mean(rows):\n    return sum(rows) / len(rows)"}

    def __init__(self, lab, students, folder):
        self.course = quickstart(folder / "course")
        tests = "assert squares(3) == [0, 1, 4]\n### BEGIN HIDDEN TESTS\nassert squares(0) == []\n### END HIDDEN TESTS"
        put_source(self.course, lab, {"numbers": notebook(
            answer("squares", self.ANSWERS["squares"]), check("test_squares", tests, 2),
            answer("mean", self.ANSWERS["mean"]),
            check("test_mean", "sum([mean([1, 2, 3]) == 2, mean([5]) == 5, mean([-1, 1]) == 0])", 3), written("why"))})
        generate(self.course, lab)
        self.lab, self.expected = lab, {}
        for number in range(students):
            half = {**self.ANSWERS, "mean": "def mean(rows):\n    return 2"}
            wrong = {"squares": "def squares(n):\n    return []", "mean": "def mean(rows):\n    return None"}
            answers = [self.ANSWERS, half, wrong, {}][number % 4]
            answers = {name: f"# student {number}\n{source}" for name, source in answers.items()}
            hand_in(self.course, f"student{number:04d}", lab, "numbers", answers)
            self.expected[f"student{number:04d}"] = [5, 3, 0, 0][number % 4]

    def resubmit(self):
        """The first student hands in another answer."""
        answers = {**self.ANSWERS, "squares": self.ANSWERS["squares"].replace("x * x", "x ** 2")}
        hand_in(self.course, "student0000", self.lab, "numbers", answers)

    def for_nbgrader(self, students):
        """The same course with the first students alone, without our line."""
        for name in list(self.expected)[students:]:
            shutil.rmtree(self.course / "submitted" / name)
        config = self.course / "nbgrader_config.py"
        config.write_text(config.read_text().replace(LINE, ""))


def own(content, number):
    """The artifact, with its first numbers a little different, so that no two students have the same file."""
    try:
        tensors = load(content)
    except Exception:
        return content
    length = int.from_bytes(content[:8], "little")
    card = json.loads(content[8 : 8 + length])["__metadata__"]
    name = next(name for name in sorted(tensors) if tensors[name].dtype.kind == "f")
    tensors[name] = tensors[name].copy()
    tensors[name].reshape(-1)[: 1 + number % 7] *= np.float16(1 + 0.002 * (1 + number))
    return save(tensors, metadata=card)


def damage(notebook, which):
    """The perfect notebook, damaged in one of several ways."""
    notebook = copy.deepcopy(notebook)
    answers = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    check = next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade"))
    if which % 5 == 0:
        return nbformat.writes(notebook).encode()[:5000]  # cut off
    if which % 5 == 1:
        notebook.cells.append(copy.deepcopy(check))  # copied, with its id
    elif which % 5 == 2:
        answers[len(answers) // 2].source += "\n\nimport os\nos._exit(1)"
    elif which % 5 == 3:
        for cell in notebook.cells:
            cell.metadata = nbformat.from_dict({})
    else:
        check.metadata.nbgrader.schema_version = 99
    return json.dumps(notebook).encode()


def kind_of(lab):
    return ClassOfCells if lab == CELLS else Class


class Memory(threading.Thread):
    """The highest memory (PSS, MB) of this process and all below it, looked at twice a second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.going = 0.0, True

    def run(self):
        while self.going:
            total = 0
            for process in [me := psutil.Process(), *me.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total / 1e6)
            time.sleep(0.5)


def grade_ours(lab, students):
    """Seconds in all, peak memory, and whether the honest marks are those expected."""
    with tempfile.TemporaryDirectory() as folder:
        made = kind_of(lab)(lab, students, Path(folder))
        memory = Memory()
        memory.start()
        started = time.monotonic()
        summary = grade_class(made.course, lab, say=lambda line: None)
        seconds = time.monotonic() - started
        memory.going = False
        states = [record["state"] for record in summary.records.values()]
        marks = scores(CourseBook(made.course), lab)
        odd = {student: (mark, marks[student]) for student, mark in made.expected.items() if marks[student] != mark}
        return {"students": students, "seconds": seconds, "again": grade_again(made, lab), "peak_mb": memory.peak,
                "odd": odd, "states": {state: states.count(state) for state in set(states)}}  # fmt: skip


def grade_again(made, lab):
    """The whole command after one student handed in again: seconds, those of processor time, and how many it has graded."""
    made.resubmit()
    started, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([Path(sys.prefix, "bin", "leaplm"), "grade", lab, "--course", made.course], capture_output=True,
                          text=True, env={**os.environ, "LEAPLM_COURSE": str(made.course)})  # fmt: skip
    graded = re.search(r"(\d+) graded now", done.stdout)
    if done.returncode or not graded:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - started, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, int(graded[1])


def grade_plain(lab, students):
    """Seconds of each honest submission with plain nbgrader, the first aside, and marks that differ from ours."""
    with tempfile.TemporaryDirectory() as folder:
        made = kind_of(lab)(lab, students * 2, Path(folder))
        made.for_nbgrader(students)
        own_environment = {**os.environ, "LEAPLM_COURSE": str(made.course), "LEAPLM_SCALE": "tiny", "HF_HUB_OFFLINE": "1",
                           "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}  # fmt: skip
        stamps = []
        for words in (["generate_assignment", lab, "--force"], ["autograde", lab]):
            process = subprocess.Popen([sys.executable, "-m", "nbgrader", *words], cwd=made.course, env=own_environment,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
            said = []
            for line in process.stdout:
                said.append(line)
                if re.search(r"Sanitizing .*\.ipynb", line):
                    stamps.append(time.monotonic())
            if process.wait():
                raise SystemExit("".join(said[-30:]))
        stamps.append(time.monotonic())
        marks = scores(CourseBook(made.course), lab)
        odd = {student: (made.expected[student], mark) for student, mark in marks.items() if made.expected[student] != mark}
        return list(np.diff(stamps)[1:]), odd


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lab", default="lab2_finetuning")
    parser.add_argument("--students", type=int, nargs="+", default=[100])
    parser.add_argument("--plain", type=int, default=5, help="honest submissions for plain nbgrader")
    options = parser.parse_args()
    plain, odd = grade_plain(options.lab, options.plain) if options.plain else ([], {})
    if plain:
        print(f"plain nbgrader: {np.mean(plain):.1f} s a submission ({min(plain):.1f} to {max(plain):.1f}, "
              f"{len(plain)} honest ones); marks that differ from those expected: {odd or 'none'}", flush=True)  # fmt: skip
    for students in options.students:
        ours = grade_ours(options.lab, students)
        each = ours["seconds"] / students
        print(f"leaplm grade, {students} submissions: {ours['seconds']:.0f} s, {each:.2f} s each, start included; "
              f"peak memory {ours['peak_mb']:.0f} MB; {ours['states']}; honest marks that differ: {ours['odd'] or 'none'}",
              flush=True)  # fmt: skip
        seconds, used, fresh = ours["again"]
        print(f"  one handed in again: {seconds:.1f} s from the start of the program to its end ({used:.1f} s of processor "
              f"time), {fresh} graded", flush=True)  # fmt: skip
        if plain:
            print(f"  plain nbgrader on as many: {np.mean(plain) * students:.0f} s by its mean (extrapolated): "
                  f"{np.mean(plain) / each:.1f} times as long", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
