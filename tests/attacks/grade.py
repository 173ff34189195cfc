"""Grades a class as `leaplm grade` does, with limits that suit a test, and leaves its records beside the course.

    python -m attacks.grade COURSE LIMITS_JSON RECORDS_JSON

A program of its own, so that what is there when it has ended was left by the grader.
"""

import json
import sys
from pathlib import Path

from leaplm.grading.classroom import grade_class
from leaplm.grading.sandbox import keyring
from leaplm.grading.sandbox.walls import Limits
from mini import LAB

from attacks.traps import canary

if __name__ == "__main__":
    course, limits, records = sys.argv[1:]
    keyring.leave_session()  # as a login gives one to a teacher
    with keyring.planted("leaplm-secret", canary("keyring").encode()):
        summary = grade_class(course, LAB, jobs=2, limits=Limits(**json.loads(limits)))
    print(summary.text())
    Path(records).write_text(json.dumps(summary.records))
