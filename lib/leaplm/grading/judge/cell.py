"""`grade_cell`: what the hidden line of a check cell calls, inside the student's kernel."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from leaplm.grading.course import find_course
from leaplm.grading.judge.checks import Verdict, judge, load_checks
from leaplm.grading.sandbox.student import Student
from leaplm.translation import find_catalogs, list_locales, translate_message, usual_locale


def grade(lab: str, name: str, namespace: dict[str, Any], folder: str | os.PathLike = ".") -> Verdict:
    """The verdict of one check on a notebook's global names and its folder, in the language of LEAPLM_LOCALE."""
    checks = load_checks(lab)
    if name not in checks:
        raise KeyError(f"{lab} has no check {name!r}; it has {', '.join(sorted(checks))}")
    course = find_course()
    check, locale = checks[name], usual_locale(list_locales(course))
    verdict = judge(check, Student(namespace, folder, check.seconds))
    return replace(verdict, message=translate_message(verdict.message, find_catalogs(course, lab, locale)))


def grade_cell(lab: str, name: str) -> None:
    """Judges one check on this notebook: prints the message and shows the points as the cell's result.

    nbgrader takes the first result of a check cell as its mark. The points are shown at once, not left to the last
    line, so the visible asserts that follow inform the student and cannot change the mark. With our own grader this
    line never runs: the check runs outside the student's kernel (see `examiner`).
    """
    from IPython import get_ipython

    shell = get_ipython()
    verdict = grade(lab, name, shell.user_ns)
    print(f"{name}: {verdict.message}", flush=True)
    shell.displayhook(verdict.points)
