"""`leaplm new-lab`: a folder course/labN_topic with one worked exercise, which builds and can be graded at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from leaplm.grading.course import LAB_NAME, list_labs

TEMPLATE = Path(__file__).with_name("template")
TOOLS = ("build", "mutants", "mistakes", "tables", "start")  # of course/tools, in this order
OF_ONE_LAB = ("build", "mutants")


def new_lab(course: Path, name: str, title: str = "") -> Path:
    """Makes the folder of a lab from the template and returns it. ValueError if the name is no good or taken.

    >>> new_lab(find_course(), "lab20_names", "Names in texts")     # doctest: +SKIP
    PosixPath('.../course/lab20_names')
    """
    found = LAB_NAME.fullmatch(name)
    if not found or name != name.lower():
        raise ValueError(f"{name!r} is not the name of a lab: write lab, a number, _ and a topic, as in lab20_names")
    taken = [lab for lab in list_labs(course) if LAB_NAME.fullmatch(lab)[1] == found[1]]
    if taken:
        raise ValueError(f"there is a lab {found[1]} already, {taken[0]}: take another number")
    folder = course / "course" / name
    words = {"@NUMBER@": found[1], "@TITLE@": title or name.partition("_")[2].replace("_", " ").capitalize()}
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        for mark, word in words.items():
            text = text.replace(mark, word)
        path.write_text(text, encoding="utf-8")
    return folder


def run(course: Path, name: str, title: str, tell) -> int:
    """The command: makes the folder, builds the notebooks and the pages that list labs; the exit code."""
    try:
        folder = new_lab(course, name, title)
    except (ValueError, OSError) as problem:
        tell(f"leaplm new-lab: {problem}")
        return 1
    for tool in TOOLS:
        script = course / "course" / "tools" / f"{tool}.py"
        if script.is_file():
            subprocess.run([sys.executable, str(script), *([name] if tool in OF_ONE_LAB else [])], check=True)
    tell(f"{folder}: change lab.py, checks.py, bank.py, chapter.md, claims.json and card.json, then `make build`.\n"
         f'Test it with\n  make test TEST_ARGS="-k {name}"')
    return 0
