"""`configure`: one line in a course's nbgrader_config.py has our grader do what `nbgrader autograde` does.

    c = get_config()
    from leaplm.grading import configure
    configure(c)

Nothing else of a course changes: not its folders, its assignments, or its gradebook. Steps
and hooks of its own, given above that line, stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from traitlets.utils.importstring import import_item

PREPARE = "leaplm.grading.steps.prepare"


def configure(config: Any) -> None:
    """Puts our steps into nbgrader's lists; `leaplm.grading.steps` says what each is for.

    Student code runs in a sandbox (bubblewrap); `nbgrader autograde NAME --GradeSubmission.unsafe=True` does without.
    """
    import nbgrader.api

    from leaplm.grading.book.conversion import own_steps  # not above: all of the grader imports us, and is to start fast

    config.Autograde.pre_convert_hook = after_theirs(config.Autograde.get("pre_convert_hook"))
    config.Autograde.exporter_class = "leaplm.grading.steps.SubmissionExporter"
    config.Autograde.sanitize_preprocessors = [
        "leaplm.grading.steps.GradeSubmission",
        *own_steps(config, "Autograde", "sanitize_preprocessors"),
    ]
    config.Autograde.autograde_preprocessors = [
        *own_steps(config, "Autograde", "autograde_preprocessors"),
        "nbgrader.preprocessors.IgnorePattern",
        "nbgrader.preprocessors.LimitOutput",
        "nbgrader.preprocessors.SaveAutoGrades",
        "nbgrader.preprocessors.AssignLatePenalties",
        "nbgrader.preprocessors.CheckCellMetadata",
    ]

    # Feedback and Formgrader show a student's work, and run nothing of it. Feedback tells no hidden test.
    config.HTMLExporter.preprocessors = [
        *own_steps(config, "HTMLExporter", "preprocessors"),
        "leaplm.grading.book.feedback.SafeContent",
    ]
    config.HTMLExporter.filters.update({"markdown2html": "leaplm.grading.book.feedback.safe_markdown"})
    config.GenerateFeedback.exporter_class = "leaplm.grading.book.feedback.FeedbackExporter"
    config.GenerateFeedback.preprocessors = [
        "leaplm.grading.book.feedback.HideTests",
        "nbgrader.preprocessors.GetGrades",
        "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
        *own_steps(config, "GenerateFeedback", "preprocessors"),
    ]

    nbgrader.api.get_alembic_version = newest_schema


def newest_schema() -> str:
    """The version that a new gradebook is stamped with. nbgrader runs `alembic heads` for it, a program that it finds on
    PATH only, and that takes seconds."""
    from alembic.script import ScriptDirectory
    from nbgrader.dbutil import ALEMBIC_DIR

    return ScriptDirectory(ALEMBIC_DIR).get_current_head()


def after_theirs(hook: Any) -> Callable[..., None] | str:
    """What nbgrader calls before it reads a submission: a course's own hook, if it has one, then ours."""
    if not hook or hook == PREPARE or hasattr(hook, "theirs"):
        return hook or PREPARE

    def both(**given: Any) -> None:
        try:
            (import_item(hook) if isinstance(hook, str) else hook)(**given)
        finally:
            import_item(PREPARE)(**given)

    both.theirs = hook
    return both
