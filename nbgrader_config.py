"""nbgrader's configuration: for `nbgrader` and the Formgrader of `jupyter lab`, both run from this folder."""

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
WORK = ".nbgrader-work"  # everything nbgrader makes for a class; never committed
(ROOT / WORK).mkdir(exist_ok=True)

c = get_config()  # noqa: F821 (traitlets provides it)

c.CourseDirectory.root = str(ROOT)
c.CourseDirectory.course_id = "leaplm"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "labs"
c.CourseDirectory.submitted_directory = f"{WORK}/submitted"
c.CourseDirectory.autograded_directory = f"{WORK}/autograded"
c.CourseDirectory.feedback_directory = f"{WORK}/feedback"
c.CourseDirectory.solution_directory = f"{WORK}/solution"
c.CourseDirectory.source_with_tests_directory = f"{WORK}/source_with_tests"
c.CourseDirectory.db_url = f"sqlite:///{ROOT / WORK / 'gradebook.db'}"

# A class hands in one zip per student, named by the student's id, with the notebook and its artifacts/ inside, put in
# .nbgrader-work/downloaded/<lab>/archive/ for `nbgrader zip_collect <lab>`.
c.ZipCollectApp.downloaded_directory = f"{WORK}/downloaded"
c.FileNameCollectorPlugin.named_regexp = (
    r".*/extracted/(?P<student_id>[^/]+)/(?:[^/]+/)*?(?P<file_id>(?:artifacts/)?[^/]+)$"
)
c.FileNameCollectorPlugin.valid_ext = [".ipynb", ".safetensors", ".json", ".csv", ".txt"]
c.ZipCollectApp.extractor_plugin = "leaplm.grading.intake.extractor.SafeExtractor"

# nbgrader's own steps with ours among them; leaplm.grading.steps says what each is for. Student code runs in a sandbox
# (bubblewrap), and the checks run outside it. `nbgrader autograde LAB --GradeSubmission.unsafe=True` does without.
c.Autograde.pre_convert_hook = "leaplm.grading.steps.prepare"
c.Autograde.exporter_class = "leaplm.grading.steps.SubmissionExporter"
c.Autograde.sanitize_preprocessors = ["leaplm.grading.steps.GradeSubmission"]
c.Autograde.autograde_preprocessors = [
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# Feedback and Formgrader show a student's work, and run nothing of it. Feedback tells no hidden test.
c.HTMLExporter.preprocessors = ["leaplm.grading.book.feedback.SafeContent"]
c.HTMLExporter.filters = {"markdown2html": "leaplm.grading.book.feedback.safe_markdown"}
c.GenerateFeedback.exporter_class = "leaplm.grading.book.feedback.FeedbackExporter"
c.GenerateFeedback.preprocessors = [
    "leaplm.grading.book.feedback.HideTests",
    "nbgrader.preprocessors.GetGrades",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
c.ExportApp.plugin_class = "leaplm.grading.book.export.CsvExport"

# What running a solution in place leaves beside it must reach neither the release nor, over their own, the students'
# submissions. The pattern is absolute, so a submission's own artifacts/ is not meant; "." is nbgrader's student here.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback"] + [
    str(ROOT / "solutions") + f"/./*/{made}" for made in ("artifacts", "runs")
]

# nbgrader calls `alembic` by name; it is beside Python, also where the environment is not activated.
if not shutil.which("alembic"):
    os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", os.defpath)

# What a student finds in place of a solution.
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError  # write your answer here"}
c.ClearSolutions.text_stub = "*Write your answer here.*"
