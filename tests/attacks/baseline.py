"""The rows on plain nbgrader, into baseline.json: what happens without our grader. Takes an hour; run it in tests/:

    python -m attacks.baseline            all rows
    python -m attacks.baseline A1 E19     these, in place of what the file has of them

Plain means nbgrader's own default steps, with the folders of the course, a time limit for cells, and what zip_collect
has to be told. Nothing would hold the attacks in, so each runs in a bubblewrap sandbox of its own, on a throw-away copy
of the mini course, without network and with few folders that can be written. The mini lab's hidden tests call the same
check functions as our grader does, but inside the student's kernel.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from mini import LAB, ROOT, make_course
from nbgrader.api import Gradebook

from attacks.outcome import (
    KEPT_MB,
    Outcome,
    output_texts,
    read_outside,
    secrets_in,
    shown_in_log,
    shown_in_page,
    shown_in_table,
)
from attacks.plain import NEIGHBOURS, SECONDS
from attacks.rows import Row, load
from attacks.traps import plant_at_home, plant_in_course
from attacks.work import FULL, Sheet

FILE = Path(__file__).with_name("baseline.json")
INSIDE = "/tmp/class"  # where a row's folder is in its sandbox
CELL_SECONDS = 20  # plain nbgrader's default is 30
PLAIN_CONFIG = f"""
from pathlib import Path
c = get_config()
WORK = ".nbgrader-work"
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.course_id = "leaplm"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "labs"
for name in ("submitted", "autograded", "feedback"):
    setattr(c.CourseDirectory, name + "_directory", WORK + "/" + name)
c.CourseDirectory.db_url = f"sqlite:///{{Path(__file__).resolve().parent / WORK / 'gradebook.db'}}"
c.ExecutePreprocessor.timeout = c.Execute.timeout = {CELL_SECONDS}
c.ZipCollectApp.downloaded_directory = WORK + "/downloaded"
c.FileNameCollectorPlugin.valid_ext = [".ipynb", ".safetensors", ".json"]
c.FileNameCollectorPlugin.named_regexp = (
    r".*/extracted/(?P<student_id>[^/]+)/(?:[^/]+/)*?(?P<file_id>(?:artifacts/)?[^/]+)$")
"""


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help="ids; default: all that plain nbgrader has a part for")
    wanted = parser.parse_args(argv).rows
    rows = [row for row in load() if row.plain and (not wanted or row.id in wanted)]
    kept = json.loads(FILE.read_text())["rows"] if wanted and FILE.exists() else {}
    with tempfile.TemporaryDirectory(prefix="leaplm-baseline-") as folder:
        template = make_template(Path(folder, "template"))
        for row in rows:
            kept[row.id] = run(row, template, Path(folder, "class"))
            print(f"{row.id:5} {row.what[:60]:60} {kept[row.id]['mark']}  {'; '.join(kept[row.id]['bad'])}", flush=True)
            write(kept)


def write(rows: dict[str, dict]) -> None:
    """All rows so far, in the order of the table."""
    order = [row.id for row in load() if row.id in rows]
    names = ("nbgrader", "nbclient", "ipykernel", "ipython")
    content = {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in names},
        "cell_seconds": CELL_SECONDS,
        "class_seconds": SECONDS,
        "rows": {name: rows[name] for name in order},
    }
    FILE.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def make_template(folder: Path) -> Path:
    """The course with plain nbgrader's configuration, the lab released, secrets planted; a home with secrets."""
    course = make_course(folder / "course")
    sheet = Sheet.of(course)
    (folder / "sheet.json").write_text(json.dumps(dataclasses.asdict(sheet)))
    plant_in_course(course)
    (course / "nbgrader_config.py").write_text(PLAIN_CONFIG)
    (course / ".nbgrader-work").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", LAB, "--force"]
    subprocess.run(command, cwd=course, check=True, capture_output=True)
    plant_at_home(folder / "home")
    (folder / "outside").mkdir()
    return folder


def run(row: Row, template: Path, folder: Path) -> dict:
    """One row's line of the file."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    ended = start(row, folder)
    outcome, report = look(row, folder)
    outcome.hung = outcome.hung or not ended
    if not report:
        outcome.neighbours = "the grader was killed; " + outcome.neighbours
    return {
        "what": row.what,
        "honest": [row.least, row.most],
        "mark": outcome.mark,
        "bad": outcome.bad(row),
        "seconds": report.get("seconds"),
    }


def start(row: Row, folder: Path) -> bool:
    """Runs attacks.plain in a sandbox; False if it had to be stopped."""
    tests, environment = ROOT / "tests", plant_at_home(folder / "home")
    environment |= {"HOME": f"{INSIDE}/home", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "LANG": "C.UTF-8",
                    "PYTHONPATH": f"{tests}:{tests}/support", "LEAPLM_SCALE": "tiny", "HF_HUB_OFFLINE": "1",
                    "OMP_NUM_THREADS": "1",
                    "TOKENIZERS_PARALLELISM": "false", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    words = ["bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    for name, value in environment.items():
        words += ["--setenv", name, value]
    words += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for place, megabytes in (("/dev/shm", 256), ("/tmp", 512), ("/var/tmp", 256), ("/run", 64)):
        words += ["--size", str(megabytes << 20), "--tmpfs", place]
    words += ["--bind", str(folder), INSIDE, "--chdir", INSIDE, "nice", "-n", "5"]
    words += [sys.executable, "-m", "attacks.plain", INSIDE, row.id]
    with open(folder / "driver.log", "wb") as log:
        process = subprocess.Popen(words, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        process.wait(3 * SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


def look(row: Row, folder: Path) -> tuple[Outcome, dict]:
    """What is left in a row's folder, when everything in its sandbox has ended."""
    report = {}
    with contextlib.suppress(OSError, ValueError):
        report = json.loads((folder / "report.json").read_text())
    attacker = row.student or f"m-{row.id}"
    work = folder / "course" / ".nbgrader-work"
    marks = read_marks(work / "gradebook.db")
    outcome = Outcome(marks.get(attacker), hung=report.get("hung", False), left=report.get("left", []))
    outcome.neighbours = "; ".join(filter(None, (neighbour(name, marks) for name in NEIGHBOURS)))
    outcome.stolen, outcome.reached = read_outside(folder / "outside", row.id)
    outcome.reached += ["listeners"] if report.get("heard") else []
    look_at_notebook(work / "autograded" / attacker / LAB, outcome)
    look_at_shown(row, work / "feedback" / attacker / LAB, folder, report, outcome)
    outcome.stolen = sorted(set(outcome.stolen))
    return outcome, report


def neighbour(name: str, marks: dict[str, float]) -> str:
    if name not in marks:
        return f"{name} has no mark"
    return "" if marks[name] == FULL else f"{name} has {marks[name]:g} instead of {FULL}"


def read_marks(path: Path) -> dict[str, float]:
    """The points of each student's checks; a student of whom a check has none is left out."""
    with Gradebook(f"sqlite:///{path}", "leaplm") as gradebook:
        found = {}
        for submission in gradebook.assignment_submissions(LAB):
            grades = [grade for notebook in submission.notebooks for grade in notebook.grades
                      if grade.name.startswith("check_")]  # fmt: skip
            if grades and all(grade.auto_score is not None for grade in grades):
                found[submission.student.id] = sum(grade.score for grade in grades)
        return found


def look_at_notebook(folder: Path, outcome: Outcome) -> None:
    """What the executed notebook shows, and how large it is.

    Not the tracebacks: on plain nbgrader that of any failed test shows the hidden tests, without an attack.
    """
    for path in folder.glob("*.ipynb"):
        with contextlib.suppress(ValueError):
            outcome.stolen += secrets_in(output_texts(json.loads(path.read_text(errors="replace")), errors=False))
        if (megabytes := path.stat().st_size / 1e6) > KEPT_MB:
            outcome.shown.append(f"a notebook of {megabytes:.0f} MB")


def look_at_shown(row: Row, feedback: Path, folder: Path, report: dict, outcome: Outcome) -> None:
    for path in feedback.glob("*.html"):
        page = path.read_text(errors="replace")
        outcome.shown += shown_in_page(page)
        outcome.stolen += secrets_in([page])
    table = folder / "course" / "grades.csv"
    if row.shows == "export" and table.is_file():
        outcome.shown += shown_in_table(table.read_text())
    if row.shows == "log":
        outcome.shown += shown_in_log(report.get("log", ""))


if __name__ == "__main__":
    main()
