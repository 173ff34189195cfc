"""Grading: checks, the handle to a student's code, and what nbgrader needs from us."""

from leaplm.grading.cell import grade, grade_cell
from leaplm.grading.checks import Check, Verdict, as_array, as_number, check, find_course, first_artifact, judge, load_checks
from leaplm.grading.student import Student, StudentError
from leaplm.grading.values import Ref

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
