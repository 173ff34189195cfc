"""The languages that a course adds to those it has: a teacher's own texts, of which a part is held back for marking.

    course/languages/kanuri/kanuri.csv             what students get: the file without the rows held back
                           /heldout.csv            the grader's rows; never in a release
                           /lab9_responsible.json  the runs that a mark rests on, one file a lab

`leaplm add-language` makes such a folder. A notebook names the language by its file, LANGUAGE = "kanuri.csv".
"""

import os
import re
from pathlib import Path, PurePath
from typing import NamedTuple

FOLDER, HELDOUT = Path("course", "languages"), "heldout.csv"
NAME = re.compile(r"\w[\w-]*")
_named = []  # the course root that this process was told of, if it was


class Added(NamedTuple):
    """A language that a course has added: its name and its folder."""

    name: str
    folder: Path

    @property
    def language(self):
        """What a notebook calls it, and its record: a file's name, or the code of a language of ours."""
        return self.texts.name if self.texts.is_file() else self.name

    @property
    def texts(self):
        return self.folder / f"{self.name}.csv"

    @property
    def heldout(self):
        return self.folder / HELDOUT

    def record(self, lab):
        return self.folder / f"{lab}.json"


def use_course(root):
    """From now on look in this course first: for a process that works elsewhere than in it."""
    _named[:] = [Path(root)]


def folders():
    """The folders that may hold added languages: of the course named, else of one that we work in."""
    if named := os.environ.get("LEAPLM_COURSE"):
        return [Path(named) / FOLDER]
    here = Path.cwd()
    return [root / FOLDER for root in _named or (here, *here.parents)]


def find(language):
    """The added language that is meant by the name or the path of its file, or None.

    Only the file's name counts, whatever folder is before it: what a submission names is never opened.
    """
    name = PurePath(str(language)).name
    name = name[:-4] if name.lower().endswith(".csv") else name
    if not NAME.fullmatch(name):
        return None
    return next((Added(name, place / name) for place in folders() if (place / name).is_dir()), None)
