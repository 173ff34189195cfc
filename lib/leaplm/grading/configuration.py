"""`configure`: one line in a course's nbgrader_config.py has our grader do what `nbgrader autograde` does.

    c = get_config()
    from leaplm.grading import configure
    configure(c)

Nothing else of a course changes: not its folders, its assignments, or its gradebook.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any


def configure(config: Any) -> None:
    """Puts our steps into nbgrader's lists; `leaplm.grading.steps` says what each is for.

    Student code runs in a sandbox (bubblewrap); `nbgrader autograde NAME --GradeSubmission.unsafe=True` does without.
    """
    config.Autograde.pre_convert_hook = "leaplm.grading.steps.prepare"
    config.Autograde.exporter_class = "leaplm.grading.steps.SubmissionExporter"
    config.Autograde.sanitize_preprocessors = ["leaplm.grading.steps.GradeSubmission"]
    config.Autograde.autograde_preprocessors = [
        "nbgrader.preprocessors.IgnorePattern",
        "nbgrader.preprocessors.LimitOutput",
        "nbgrader.preprocessors.SaveAutoGrades",
        "nbgrader.preprocessors.AssignLatePenalties",
        "nbgrader.preprocessors.CheckCellMetadata",
    ]

    # Feedback and Formgrader show a student's work, and run nothing of it. Feedback tells no hidden test.
    config.HTMLExporter.preprocessors = ["leaplm.grading.book.feedback.SafeContent"]
    config.HTMLExporter.filters = {"markdown2html": "leaplm.grading.book.feedback.safe_markdown"}
    config.GenerateFeedback.exporter_class = "leaplm.grading.book.feedback.FeedbackExporter"
    config.GenerateFeedback.preprocessors = [
        "leaplm.grading.book.feedback.HideTests",
        "nbgrader.preprocessors.GetGrades",
        "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
    ]

    # nbgrader calls `alembic` by name; it is beside Python, also where the environment is not activated.
    if not shutil.which("alembic"):
        os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", os.defpath)
