"""Who works here, and the seed of their own training runs: so that equal models of two students mean something."""

import contextlib
import getpass
import hashlib
import os
import platform
import re
import unicodedata
from pathlib import Path

from leaplm.locales import say

SIGNED = "student.txt"  # holds what `sign` was told
LAB_FOLDER = re.compile(r"lab\d+_\w+")


def sign(name):
    """Say once who works here, by a name or a number: it decides `student_seed`, and goes nowhere else.

    It is kept in the file student.txt, beside the folders of the labs (or beside the notebook). Without a name the file
    stays as it is. Prints the seed. Example: `sign("20/0417")`.
    """
    here = Path.cwd()
    folder = here.parent if LAB_FOLDER.fullmatch(here.name) else here
    if name := " ".join(str(name).split()):
        try:
            (folder / SIGNED).write_text(name + "\n", encoding="utf-8")
        except OSError as problem:
            os.environ["LEAPLM_STUDENT"] = name
            print(say("{file} cannot be written ({reason}): the name holds until you close this notebook.",
                      file=folder / SIGNED, reason=problem.strerror))  # fmt: skip
    print(say("The seed of your own training runs is {seed}, made from {name}.", seed=student_seed(),
              name=repr(student_name())))  # fmt: skip


def student_name():
    """Who works here: what `sign` was told, or LEAPLM_STUDENT; else this machine's user and name."""
    for path in (Path(SIGNED), Path("..", SIGNED)):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if name := path.read_text(encoding="utf-8").strip():
                return name
    return os.environ.get("LEAPLM_STUDENT") or f"{machine_user()} on {platform.node()}"


def machine_user():
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container whose user has no name
        return "student"


def student_seed():
    """The seed of this student's own training runs: from 1 to 9,999,999, the same at each call and on each machine.

    Students get different seeds, so that two equal models are no accident. It is made from `student_name`. A name of the
    form "seed 4711" gives 4711, so that somebody else can repeat the run whose seed stands in an artifact's card.
    """
    name = unicodedata.normalize("NFC", student_name()).casefold()
    if given := re.fullmatch(r"seed (\d{1,9})", name, re.ASCII):
        return int(given[1])
    return 1 + int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8], "big") % 9_999_999
