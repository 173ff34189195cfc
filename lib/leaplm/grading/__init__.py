"""Grading: checks, the handle to a student's code, and what nbgrader needs from us."""

from leaplm.grading.judge.cell import grade, grade_cell
from leaplm.grading.judge.checks import (
    Check,
    Verdict,
    as_array,
    as_number,
    check,
    find_course,
    first_artifact,
    judge,
    load_checks,
)
from leaplm.grading.sandbox.student import Student, StudentError
from leaplm.grading.sandbox.values import Ref

__all__ = [
    "Check",
    "Ref",
    "Student",
    "StudentError",
    "Verdict",
    "as_array",
    "as_number",
    "check",
    "find_course",
    "first_artifact",
    "grade",
    "grade_cell",
    "judge",
    "load_checks",
]
