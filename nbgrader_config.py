"""nbgrader's configuration: for `nbgrader` and the Formgrader of `jupyter lab`, both run from this folder."""

from pathlib import Path

from leaplm.grading import configure

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

# Our grader in the place of nbgrader's; leaplm.grading.configuration says what that is.
configure(c)
c.ExportApp.plugin_class = "leaplm.grading.book.export.CsvExport"

# What running a solution in place leaves beside it must reach neither the release nor, over their own, the students'
# submissions. The pattern is absolute, so a submission's own artifacts/ is not meant; "." is nbgrader's student here.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback"] + [
    str(ROOT / "solutions") + f"/./*/{made}" for made in ("artifacts", "runs")
]

# What a student finds in place of a solution.
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError  # write your answer here"}
c.ClearSolutions.text_stub = "*Write your answer here.*"
