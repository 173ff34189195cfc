"""The mini course: a lab of four exercises that tests the build and the grading, without data or models."""

import shutil
from pathlib import Path

from leaplm.grading.course import load_module
from repo import ROOT

MINI = ROOT / "tests" / "support" / "mini_course"
LAB = "lab0_mini"
build = load_module(ROOT / "course" / "tools" / "build.py")


def make_course(folder: Path) -> Path:
    """A course root at `folder` with the mini lab, built."""
    shutil.copytree(MINI, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    build.build(folder)
    return folder
