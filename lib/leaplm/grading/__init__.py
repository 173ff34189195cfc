"""Grading: checks, the handle to a student's code, and what nbgrader needs from us."""

from leaplm.grading.configuration import configure
from leaplm.grading.judge.cell import grade, grade_cell
from leaplm.grading.judge.checks import (
    Check,
    Verdict,
    as_array,
    as_number,
    check,
    differs,
    find_course,
    first_artifact,
    judge,
    load_checks,
)
from leaplm.grading.judge.contracts import FREE, GLOBAL, NOTHING_CALLED, UNTOUCHED, Contract, FromGenerator, Seeded
from leaplm.grading.judge.returns import (
    Anything,
    Bool,
    Either,
    ListOf,
    MapOf,
    Nothing,
    Number,
    Numbers,
    Object,
    Record,
    Several,
    Tensor,
    Text,
)
from leaplm.grading.sandbox.student import Student, StudentError
from leaplm.grading.sandbox.values import Ref

__all__ = [
    "Anything",
    "Bool",
    "Check",
    "Contract",
    "Either",
    "FREE",
    "FromGenerator",
    "GLOBAL",
    "ListOf",
    "MapOf",
    "NOTHING_CALLED",
    "Nothing",
    "Number",
    "Numbers",
    "Object",
    "Record",
    "Ref",
    "Seeded",
    "Several",
    "Student",
    "StudentError",
    "Tensor",
    "Text",
    "UNTOUCHED",
    "Verdict",
    "as_array",
    "as_number",
    "check",
    "configure",
    "differs",
    "find_course",
    "first_artifact",
    "grade",
    "grade_cell",
    "judge",
    "load_checks",
]
