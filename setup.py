"""Puts the labs' releases, checks, banks and drawings into the wheel: a notebook on Colab has its marks from there.

Puts our extension of JupyterLab where that looks for it, too: it gives pictures in notebooks their alternative text.

LEAPLM_NO_MARKS=1 pip wheel .    a wheel without them, for a class that is to see no hidden check
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
COURSE = ("course/lab*_*/checks.py", "course/lab*_*/bank.py", "course/lab*_*/heldout/*.conll",
          "course/lab*_*/heldout/*.tsv",
          "course/lab*_*/locale/*.po", "course/locale/*/common.po",
          "labs/lab*_*/lab*_*.ipynb", "labs/languages/*/lab*_*/lab*_*.ipynb")
DRAWINGS = ("course/lab*_*/figure.svg",)  # the notebooks show them, with marks or without


class BuildWithCourse(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # a clone has its own course
            return
        target = Path(self.build_lib, "leaplm", "learner", "course")
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build, which the folder build/ keeps
        patterns = DRAWINGS if os.environ.get("LEAPLM_NO_MARKS") else DRAWINGS + COURSE
        for path in (found for pattern in patterns for found in sorted(ROOT.glob(pattern))):
            copied = target / path.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)


EXTENSION = "lib/leaplm/labextension"
FOR_JUPYTERLAB = "share/jupyter/labextensions/leaplm"  # in the environment; for an editable one see install.py

setup(cmdclass={"build_py": BuildWithCourse}, data_files=[
    (FOR_JUPYTERLAB, [f"{EXTENSION}/package.json"]), (f"{FOR_JUPYTERLAB}/static", [f"{EXTENSION}/static/pictures.js"])])
