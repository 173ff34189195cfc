"""Where the course stands on this machine: a clone, a folder that is named, or what the installed package holds of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import leaplm

COURSE = "LEAPLM_COURSE"  # environment: the course root
LOCALE = "LEAPLM_LOCALE"  # environment: fr, zh_CN, ...; empty or en: English
COMMON = "common"  # the catalogue of what is not of one lab
LANGUAGES = "languages"  # the folder of labs/ that holds the labs in other languages
LAB_NAME = re.compile(r"lab(\d+)_\w+")
INSTALLED = Path(leaplm.__file__).parent / "learner" / "course"  # setup.py puts it there


def find_course(start: str | os.PathLike = ".") -> Path:
    """The course root: LEAPLM_COURSE, else the nearest folder at or above `start` whose folder course/ holds labs."""
    if named := os.environ.get(COURSE):
        if holds_labs(Path(named)):
            return Path(named)
        raise FileNotFoundError(f"{COURSE}={named} holds no lab, course/labN_topic/lab.py")
    here = Path(start).resolve()
    for folder in (here, *here.parents):
        if holds_labs(folder):
            return folder
    raise FileNotFoundError(f"no course at or above {here}: set {COURSE} to the folder that holds course/labN_topic/lab.py")


def find_root() -> Path | None:
    """The folder that holds course/ and labs/: named or around us, else the installed one, else this clone; or None."""
    try:
        return find_course()
    except FileNotFoundError:
        clone = Path(leaplm.__file__).resolve().parents[2]
        return next((place for place in (INSTALLED, clone) if known_labs(place)), None)


def holds_labs(root: Path) -> bool:
    """Whether `list_labs` names one: asked at every cell of a notebook, so it looks no further than the first."""
    return any(LAB_NAME.fullmatch(path.parent.name) for path in (root / "course").glob("lab*_*/lab.py"))


def list_labs(root: Path) -> list[str]:
    """The names of the labs of a course, in the order of their numbers: each is a folder course/labN_topic."""
    return in_order(path.parent.name for path in (root / "course").glob("lab*_*/lab.py"))


def known_labs(root: Path) -> list[str]:
    """The labs that have a release and checks here, in the order of their numbers."""
    return in_order(path.parent.name for path in (root / "labs").glob("lab*_*/lab*_*.ipynb")
                    if (root / "course" / path.parent.name / "checks.py").is_file())  # fmt: skip


def is_known(root: Path, lab: str) -> bool:
    """Whether `known_labs` names a lab, without a look at the others."""
    return bool(LAB_NAME.fullmatch(lab)) and (root / "course" / lab / "checks.py").is_file() and any(
        (root / "labs" / lab).glob("lab*_*.ipynb"))  # fmt: skip


def in_order(names) -> list[str]:
    """Names of labs by their numbers, without what is none.

    >>> in_order(["lab10_capstone", "lab2_finetuning", "lab_notes"])
    ['lab2_finetuning', 'lab10_capstone']
    """
    return sorted(filter(LAB_NAME.fullmatch, names), key=lambda name: (int(LAB_NAME.fullmatch(name)[1]), name))
