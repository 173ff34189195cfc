"""Assignments that are none of our labs: nbgrader's own cells, in a course that `nbgrader quickstart` made."""

import json
import shutil
import subprocess
import sys

import nbformat
import pytest
from leaplm.cli.app import app
from leaplm.grading.book.gradebook import CourseBook, scores
from leaplm.grading.book.verdicts import WORK
from leaplm.grading.classroom import grade_class
from mini import LAB, make_course
from nbgrader.api import Gradebook
from quickstart import answer, cell, check, generate, hand_in, nbgrader, notebook, put_source, quickstart, task, written
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("shared_servers")
RIGHT = {"double": "def double(x):\n    return 2 * x", "mean": "def mean(rows):\n    return sum(rows) / len(rows)"}
HIDE = "### BEGIN HIDDEN TESTS\nassert {}\n### END HIDDEN TESTS"
NUMBERS = notebook(
    cell("import math\nfrom pathlib import Path\nimport helper\n"
         "rows = [float(x) for x in Path('data/rows.txt').read_text().split()]"),
    answer("double", RIGHT["double"]),
    check("test_double", f"assert double(2) == 4\n{HIDE.format('double(`a`) == `aa`'.replace('`', chr(39)))}", 2),
    answer("mean", RIGHT["mean"]),
    check("test_mean", "near = [math.isclose(mean(rows), 2.0), helper.near(mean([5, 7]), 6)]\n1.5 * sum(near)", 3),
    check("test_where", "import os\nassert os.environ['NBGRADER_EXECUTION'] == 'autograde'\n"
          "assert 'NBGRADER_VALIDATING' not in os.environ\nPath('made.txt').write_text('by the notebook');"),
    check("test_await", "import asyncio\nawait asyncio.sleep(0)\nassert double(1) == 2"),
    written("why"),
    task("plot"),
)  # fmt: skip
GREET = 'greet() { echo "Sannu $1"; }'
WORDS = notebook(answer("greet", GREET), check("test_greet", '[ "$(greet Amina)" = "Sannu Amina" ]', 4), kernel="bash")
FILES = {"data/rows.txt": "1 2 3\n", "helper.py": "def near(a, b):\n    return abs(a - b) < 1e-9\n"}


STUBS = 'c.ClearSolutions.code_stub = {"python": "raise NotImplementedError()", "bash": "false"}\n'
SETTINGS = STUBS + """
c.CourseDirectory.autograded_directory = "marked"
c.CourseDirectory.feedback_directory = "pages"
c.CourseDirectory.db_url = "sqlite:///marks.db"
c.CourseDirectory.student_id_exclude = "eno,nobody"
c.CourseDirectory.groupshared = True
c.Autograde.create_student = False
c.Autograde.permissions = 640
c.Autograde.exclude_overwriting = {"week1": ["own.py"]}
c.LimitOutput.max_lines = 3
c.Execute.timeout = 60

from nbgrader.plugins import BasePlugin
from nbgrader.preprocessors import NbGraderPreprocessor
class Quarter(BasePlugin):
    def late_submission_penalty(self, student, score, seconds):
        return score / 4
class Note(NbGraderPreprocessor):
    def preprocess(self, nb, resources):
        nb.metadata["noted"] = sorted(resources["nbgrader"].items())[2:]
        return nb, resources
def hook(name):
    def note(assignment, student, notebooks):
        names = " ".join(sorted(path.rpartition("/")[2] for path in notebooks if "extra" not in path))
        with open(name, "a") as file:
            file.write(f"{assignment} {names}\\n")
    return note
c.AssignLatePenalties.plugin_class = Quarter
c.Autograde.autograde_preprocessors.insert(1, Note)
c.Autograde.pre_convert_hook, c.Autograde.post_convert_hook = hook("before.txt"), hook("after.txt")
"""


def quiet(line):
    pass


def marks(course, name="week1", book="gradebook.db"):
    """{(student, notebook, cell): (automatic score, comment)} as the gradebook has them; of each student what is late."""
    found = {}
    with Gradebook(f"sqlite:///{course / book}", "course") as book:
        for submission in book.assignment_submissions(name):
            found[submission.student.id] = (submission.total_seconds_late, submission.late_submission_penalty)
            for made in submission.notebooks:
                for grade in made.grades:
                    found[submission.student.id, made.name, grade.name] = (grade.auto_score, grade.needs_manual_grade)
                for comment in made.comments:
                    found[submission.student.id, made.name, f"{comment.name} says"] = comment.auto_comment
    return found


def graded_files(course, folder):
    """{path: its rights} of what a grader laid down, without what ours alone says: pages of work that was not handed in."""
    paths = [path for path in sorted((course / folder).rglob("*")) if not path.name.endswith(".repairs.txt")]
    paths = [path for path in paths if "__pycache__" not in path.parts]  # of an import: Python may leave it, or not
    mine = {path.relative_to(course / folder).as_posix(): oct(path.stat().st_mode) for path in paths}
    return {name: rights for name, rights in mine.items() if not name.endswith("words.ipynb") or name in HANDED_IN}


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    """A kernel of another language, where this Python and nbgrader look for kernels."""
    pytest.importorskip("bash_kernel")
    here = tmp_path_factory.mktemp("jupyter")
    (here / "kernels" / "bash").mkdir(parents=True)
    spec = {"argv": [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"], "display_name": "Bash",
            "language": "bash", "env": {"PS1": "$"}}  # fmt: skip
    (here / "kernels" / "bash" / "kernel.json").write_text(json.dumps(spec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(here))
        yield


HANDED_IN = ("amina/week1/words.ipynb", "bello/week1/words.ipynb")  # of the second notebook
WRONG = {"double": "def double(x):\n    return x + x + 0", "mean": "def mean(rows):\n    return 6"}


def damage(handed_in):
    """What editors do: an older format without ids, or one id for all, a picture in an answer, the state of widgets."""
    for part in handed_in.cells:
        part["id"] = "same"
        if part.metadata.get("nbgrader", {}).get("grade_id") == "why":
            part["attachments"] = {"plot.png": {"image/png": "iVBORw0KGgo="}}
    state = {"version_major": 2, "version_minor": 0, "state": {}}
    handed_in.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}


def age(handed_in):
    handed_in.nbformat_minor = 2
    for part in handed_in.cells:
        del part["id"]


@pytest.fixture(scope="module")
def course(tmp_path_factory, bash):
    """The course with a class that has handed in, and nothing graded yet."""
    made = quickstart(tmp_path_factory.mktemp("plain") / "course", SETTINGS)
    put_source(made, "week1", {"numbers": NUMBERS, "words": WORDS}, FILES)
    generate(made, "week1")
    with Gradebook(f"sqlite:///{made / 'marks.db'}", "course") as book:
        book.update_or_create_assignment("week1", duedate="2026-03-01 12:00:00 UTC")
        for student in ("amina", "bello", "chi", "dayo", "eno"):
            book.update_or_create_student(student)
    hand_in(made, "amina", "week1", "numbers", {**RIGHT, "why": "Since two is one and one."})
    hand_in(made, "amina", "week1", "words", {"greet": GREET})
    hand_in(made, "bello", "week1", "numbers", WRONG, {"timestamp.txt": "2026-03-01 15:00:00 UTC"}, change=age)
    hand_in(made, "bello", "week1", "words", {"greet": 'greet() { echo "Bonjour $1"; }'})
    files = {"helper.py": "def near(a, b):\n    return 1000\n", "data/rows.txt": "9", "own/notes.csv": "a,b\n",
             "own.py": "mine", "extra.ipynb": "{}"}  # fmt: skip
    hand_in(made, "chi", "week1", "numbers", {}, files)
    hand_in(made, "dayo", "week1", "numbers", {**RIGHT, "why": "![](attachment:plot.png)"}, change=damage)
    hand_in(made, "eno", "week1", "numbers", RIGHT)
    return made


@pytest.fixture(scope="module")
def theirs(course, tmp_path_factory):
    """The same class, graded by nbgrader without our line."""
    made = tmp_path_factory.mktemp("theirs") / "course"
    shutil.copytree(course, made)
    config = made / "nbgrader_config.py"
    config.write_text(config.read_text().partition("\nfrom leaplm")[0])
    nbgrader(made, "autograde", "week1")
    return made


def without_ours(found):
    """Without the comments on a notebook that was not handed in, which nbgrader does not make."""
    not_handed_in = [(student, "words", "greet says") for student in ("chi", "dayo")]
    return {key: value for key, value in found.items() if key not in not_handed_in}


def same_as(theirs, ours):
    assert without_ours(marks(ours, book="marks.db")) == without_ours(marks(theirs, book="marks.db"))
    assert graded_files(ours, "marked") == graded_files(theirs, "marked")
    for path in sorted((theirs / "marked").rglob("*.ipynb")):
        mine, other = (nbformat.read(course / path.relative_to(theirs), as_version=4) for course in (ours, theirs))
        assert [part.source for part in mine.cells] == [part.source for part in other.cells]  # mark schemes too
        assert [part.get("attachments") for part in mine.cells] == [part.get("attachments") for part in other.cells]
        assert mine.metadata.noted == other.metadata.noted
    for name in ("before.txt", "after.txt"):
        assert set((ours / name).read_text().split("\n")) == set((theirs / name).read_text().split("\n"))


@pytest.fixture(scope="module")
def graded(course):
    """The class after our command, by which tests after the first find it graded."""
    return grade_class(course, "week1", jobs=1, say=quiet)


def test_a_class_has_the_marks_that_plain_nbgrader_gives(course, theirs, graded):
    """Our command and nbgrader without our line: the same scores, penalties, comments, files, rights, steps and hooks."""
    unusual = {key: record["state"] for key, record in graded.records.items() if record["state"] != "graded"}
    assert unusual == {"chi, words": "ungradable", "dayo, words": "ungradable"}
    ours = marks(course, book="marks.db")
    assert ours["amina", "numbers", "test_double"] == (2, False) and ours["bello"] == (10800, 0.875)
    assert ours["bello", "numbers", "test_double"] == (0, False)  # the hidden test
    assert ours["bello", "numbers", "test_mean"] == (1.5, False)
    assert ours["amina", "words", "test_greet"] == (4, False) and ours["bello", "words", "test_greet"] == (0, False)
    assert ours["amina", "numbers", "why"] == (None, True) and ours["chi", "numbers", "why"] == (0, False)
    same_as(theirs, course)


def test_nbgrader_autograde_gives_the_same_through_one_line_of_configuration(course, theirs, graded):
    said = nbgrader(course, "autograde", "week1", "--force")
    assert "week1, numbers: 4 submissions" in said  # eno is left out
    same_as(theirs, course)
    folder = course / "marked" / "amina" / "week1"
    assert (folder / "made.txt").read_text() == "by the notebook"
    assert "BEGIN HIDDEN TESTS" in (folder / "numbers.ipynb").read_text()
    assert not (course / "submitted" / "amina" / "week1" / "made.txt").exists()
    assert (course / "marked" / "chi" / "week1" / "helper.py").read_text() == FILES["helper.py"]
    assert (course / "marked" / "chi" / "week1" / "own.py").read_text() == "mine"


def test_nbgraders_words_mean_the_same(course, theirs, graded):
    """Who and what there is not, a student whom the settings do not let in, one notebook, no running at all."""
    for words, code in [(["week1", "--student", "nobody"], 1), (["week9"], 1), (["week1", "--student", "eno"], 0),
                        (["week1", "--no-execute", "--force", "--student", "amina"], 0),
                        (["week1", "--notebook", "numbers", "--force", "--student", "chi"], 0)]:  # fmt: skip
        for made in (course, theirs):
            nbgrader(made, "autograde", *words, code=code)
        same_as(theirs, course)
    nbgrader(course, "autograde", "week1", "--force", "--student", "amina")
    nbgrader(theirs, "autograde", "week1", "--force", "--student", "amina")


def test_a_student_whom_the_gradebook_does_not_know(course, theirs, graded):
    """c.Autograde.create_student = False: an error for this one, by either command, and no row."""
    try:
        for made in (course, theirs):
            hand_in(made, "stranger", "week1", "numbers", RIGHT)
            assert "No student with ID 'stranger'" in nbgrader(made, "autograde", "week1", "--student", "stranger", code=1)
        summary = grade_class(course, "week1", jobs=1, say=quiet, students=["stranger"])
        assert "no student 'stranger' is in the gradebook" in summary.text()
        assert "stranger" not in marks(course, book="marks.db")
    finally:
        for made in (course, theirs):
            shutil.rmtree(made / "submitted" / "stranger", ignore_errors=True)


def test_formgraders_button(course, graded):
    """What it calls: one student after the other, through nbgrader's own interface."""
    from nbgrader.apps import NbGraderAPI

    before, book = marks(course, book="marks.db"), CourseBook(course)
    result = NbGraderAPI(book.coursedir, parent=book.app).autograde("week1", "amina", force=True)
    assert result["success"], result
    assert marks(course, book="marks.db") == before


def test_the_command_finds_the_course(course, graded, tmp_path, capsys, monkeypatch):
    """By --course from elsewhere, and by itself from a folder inside; what it says in the end, and its exit code."""
    before = marks(course, book="marks.db")
    for words, folder in ((["--course", str(course)], tmp_path), ([], course / "submitted")):
        monkeypatch.chdir(folder)
        done = CliRunner().invoke(app, ["grade", "week1", *words])
        assert done.exit_code == 0 and "8 verdicts; 0 graded now" in done.output, done.output
    assert marks(course, book="marks.db") == before and not list(tmp_path.iterdir())


def test_a_resubmission_alone_is_graded_again(course, graded):
    hand_in(course, "chi", "week1", "numbers", {"double": RIGHT["double"]})
    assert grade_class(course, "week1", jobs=1, say=quiet).fresh == 1
    assert marks(course, book="marks.db")["chi", "numbers", "test_double"] == (2, False)


def test_an_assignment_that_was_not_generated_says_so(course):
    put_source(course, "week9", {"later": NUMBERS})
    with pytest.raises(FileNotFoundError, match="nbgrader generate_assignment week9"):
        grade_class(course, "week9", say=quiet)


# Full marks with plain nbgrader for a wrong answer, or for tests that never ran; see course/GRADING.md.
FORGERIES = {
    "shows_a_result": "def double(x):\n    get_ipython().displayhook('full marks')\n    return 0",
    "strips_asserts": "import ast\nclass Strip(ast.NodeTransformer):\n"
                      "    def visit_Assert(self, node):\n        return ast.Pass()\n"
                      "get_ipython().ast_transformers.append(Strip())",
    "patches_the_shell": "from IPython.core.interactiveshell import InteractiveShell, ExecutionResult\n"
                         "run = lambda self, *a, **k: ExecutionResult(None)\n"
                         "InteractiveShell.run_cell = InteractiveShell.run_cell_async = run\n"
                         "InteractiveShell.showtraceback = lambda *a, **k: None",
    "patches_get_ipython": "import builtins\nget_ipython = builtins.get_ipython = lambda: None",
    "ends_the_program": "import os\ndef double(x):\n    os._exit(0)",
    "ends_politely": "def double(x):\n    raise SystemExit(0)",
    "patches_built_in_names": "import builtins\nbuiltins.isinstance = builtins.all = lambda *a: True\n"
                              "def double(x):\n    raise AssertionError\nbuiltins.AssertionError = StopIteration",
    "patches_a_library": "import math\nmath.isclose = lambda *a, **k: True\ndef mean(rows):\n    return -1",
    "traces_over_the_tests": "import sys\ndef jump(frame, event, arg):\n    if frame.f_code.co_name == '<module>':\n"
                             "        frame.f_lineno = 99\n    return jump\ndef double(x):\n"
                             "    sys.settrace(jump)\n    return 0",
    "transforms_the_source": "get_ipython().input_transformers_post.append(lambda lines: ['pass\\n'])\n"
                             "get_ipython().input_transformers_cleanup.append(lambda lines: ['pass\\n'])",
    "hides_behind_a_hook": "get_ipython().set_custom_exc((Exception,), lambda *a, **k: None)",
    "prints_an_error_away": "def double(x):\n    print('passed')\n    return 0",
    "gives_itself_more": "def mean(rows):\n    return 2.0",
    "gives_a_module_another_class": "import math, types\nclass M(types.ModuleType):\n"
                                    "    isclose = property(lambda self: lambda *a, **k: True)\nmath.__class__ = M",
    "replaces_the_table_of_modules": "import math, sys, types\nreal, sys.modules = sys.modules, dict(sys.modules)\n"
                                     "real['math'] = types.SimpleNamespace(isclose=lambda *a: True)",
    "replaces_its_own_names": "import types\nclass Names(dict):\n    def __setitem__(self, key, value):\n"
                              "        fake = lambda *a, **k: types.SimpleNamespace(isclose=lambda *a: True)\n"
                              "        value = {**vars(value), '__import__': fake} if key == '__builtins__' else value\n"
                              "        dict.__setitem__(self, key, value)\n"
                              "get_ipython().user_ns = Names(get_ipython().user_ns)",
}  # fmt: skip
FOR_MEAN = ("patches_a_library", "gives_a_module_another_class", "replaces_the_table_of_modules", "replaces_its_own_names")
# A notebook that leaves its folder, and puts a file in the place of a folder of the teacher's and the other way round.
MOVES = ("import os, shutil\nshutil.rmtree('data')\nos.remove('helper.py')\nos.mkdir('helper.py')\n"
         "for name in ('data', 'helper.py/own.txt', 'made.txt', 'tests.repairs.txt', 'locked.txt'):\n"
         "    with open(name, 'w') as file:\n        file.write(name)\n"
         "os.chmod('locked.txt', 0)\nos.chdir('/usr')\n")
TESTS = notebook(
    answer("double", RIGHT["double"]),
    check("test_double", "assert double(2) == 4\nassert double(3) == 6", 2),
    answer("mean", RIGHT["mean"]),
    check("test_mean", "import math\nassert math.isclose(mean([5, 7]), 6)", 3),
    check("test_shown", "assert True"),
)


@pytest.fixture(scope="module")
def cheats(tmp_path_factory):
    """A class of forgers, graded."""
    made = quickstart(tmp_path_factory.mktemp("cheats") / "course")
    put_source(made, "week1", {"tests": TESTS}, FILES)
    generate(made, "week1")
    for name, source in FORGERIES.items():
        wrong = f"def mean(rows):\n    return -1\n{source}"
        hand_in(made, name, "week1", "tests", {"double": source, "mean": wrong if name in FOR_MEAN else ""})

    def skipping(handed_in):
        for part in handed_in.cells:
            part.metadata["tags"] = ["skip-execution", "raises-exception"]

    def reordered(handed_in):
        handed_in.cells = [part for part in handed_in.cells if "test" not in str(part.metadata.get("nbgrader"))]

    def softened(handed_in):
        for part in handed_in.cells:
            if part.metadata.get("nbgrader", {}).get("grade"):
                part.source, part.cell_type = "assert True", "code"
                part.metadata.nbgrader |= {"grade": False, "locked": False, "solution": True, "points": 100}

    hand_in(made, "tags", "week1", "tests", {"double": "def double(x): return 0"}, change=skipping)
    hand_in(made, "leaves_tests_out", "week1", "tests", {"double": "def double(x): return 0"}, change=reordered)
    hand_in(made, "changes_the_tests", "week1", "tests", {"double": "def double(x): return 0"}, change=softened)
    hand_in(made, "z_honest", "week1", "tests", RIGHT)
    hand_in(made, "z_moves", "week1", "tests", {**RIGHT, "mean": MOVES + RIGHT["mean"]}, {"tests.repairs.txt/x": "theirs"})
    return made, grade_class(made, "week1", jobs=1, say=quiet)


@pytest.mark.parametrize("name", [*FORGERIES, "tags", "leaves_tests_out", "changes_the_tests"])
def test_what_gets_full_marks_from_plain_nbgrader_gets_none_here(cheats, name):
    _, summary = cheats
    found = {check["name"]: check["points"] for check in summary.records[name]["checks"]}
    assert found["test_double"] == 0 and found["test_mean"] == 0


def test_their_neighbour_has_all(cheats):
    made, summary = cheats
    assert summary.records["z_honest"]["points"] == 6
    again = grade_class(made, "week1", jobs=1, say=quiet)
    assert again.fresh == 0 and again.records.keys() == summary.records.keys()


def test_files_that_clash_with_those_that_were_there_cost_nothing(cheats):
    """Neither by our command nor by nbgrader's: with plain nbgrader a notebook may do so."""
    made, summary = cheats
    folder = made / "autograded" / "z_moves" / "week1"
    for _ in range(2):
        assert summary.records["z_moves"]["state"] == "graded" and summary.records["z_moves"]["points"] == 6
        assert (folder / "made.txt").read_text() == "made.txt" and (folder / "data" / "rows.txt").is_file()
        assert (folder / "helper.py").read_text() == FILES["helper.py"]
        assert "theirs" not in str([path.read_bytes() for path in folder.rglob("*") if path.is_file()])
        nbgrader(made, "autograde", "week1", "--force", "--student", "z_moves")


def test_hidden_tests_are_out_of_reach_until_their_turn(tmp_path):
    """A cell looks for the tests to come: in files, in the history, in the memory of the process."""
    made = quickstart(tmp_path / "course")
    look = ("import gc, os\nnames = [name for _, _, names in os.walk('.') for name in names]\n"
            "seen = [name for name in names if name.endswith(('.ipynb', '.db'))]\n"
            "text = repr([thing for thing in gc.get_objects() if isinstance(thing, (str, list, dict, tuple))])\n"
            "found = ''.join(['19 ', '* 23']) in text")
    put_source(made, "week1", {"hidden": notebook(
        answer("look", look), check("test_look", "assert not found and not seen, (found, seen)"),
        check("test_later", "### BEGIN HIDDEN TESTS\nassert 19 * 23 == 437\n### END HIDDEN TESTS"))})  # fmt: skip
    generate(made, "week1")
    hand_in(made, "amina", "week1", "hidden", {"look": look})
    [record] = grade_class(made, "week1", jobs=1, say=quiet).records.values()
    assert {check["name"]: check["points"] for check in record["checks"]} == {"test_look": 1, "test_later": 1}, record


@pytest.mark.parametrize(("source", "points"), {
    "0.5": 0.5, "2": 2, "1;": 2, "None": 2, "'text'": 2, "True": 2, "[1]": 2, "-1": 2, "7": 0, "float('nan')": 0,
    "import numpy as np\nnp.float64(0.5)": 0.5, "import sys\nprint('careful', file=sys.stderr)": 2,
    "from IPython.display import display\ndisplay(0.25)\n1.5": 1.5, "%matplotlib inline\nx = 1": 2,
}.items())
def test_the_value_of_the_last_expression_is_the_mark(values, source, points):
    assert values[source] == points


@pytest.fixture(scope="module")
def values(tmp_path_factory, request):
    """{source: points} of cells of tests, all in one notebook."""
    [marker] = [mark for mark in test_the_value_of_the_last_expression_is_the_mark.pytestmark if mark.name == "parametrize"]
    sources = [source for source, _ in marker.args[1]]
    made = quickstart(tmp_path_factory.mktemp("values") / "course")
    put_source(made, "week1", {"v": notebook(*[check(f"v{number}", source, 2) for number, source in enumerate(sources)])})
    generate(made, "week1")
    hand_in(made, "amina", "week1", "v", {})
    [record] = grade_class(made, "week1", jobs=1, say=quiet).records.values()
    found = marks(made)
    assert {check["name"]: check["points"] for check in record["checks"]} == {
        name: found["amina", "v", name][0] for name in (check["name"] for check in record["checks"])}
    return {source: found["amina", "v", f"v{number}"][0] for number, source in enumerate(sources)}


HEAVY = ("torch", "transformers", "datasets", "peft", "sklearn", "pandas", "matplotlib", "tokenizers", "accelerate", "regex",
         "phonenumbers", "gguf", "captum", "opacus", "tensorboard", "ipywidgets")  # fmt: skip
LIGHT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy}:
            raise ModuleNotFoundError("not installed here: " + name, name=name)
sys.meta_path.insert(0, Refuse())
import psutil
import leaplm.cli.app
from leaplm.cli.app import app
from leaplm.grading.book.gradebook import CourseBook, scores
from leaplm.grading.book.verdicts import WORK
from leaplm.grading.classroom import Room, grade_class
from leaplm.grading.judge.engine import Engine
summary = grade_class(".", "week1", jobs=1)
assert summary.records["amina"]["points"] == 1, summary.records
book = CourseBook(".")
[assignment] = book.assignments("week1")
with Engine(".", "week1", jobs=1, assignment=assignment) as engine:
    engine.grade(Room(book, "week1").read("amina"))
    maps = [found.path for process in psutil.Process().children(recursive=True) for found in process.memory_maps()]
found = [path for path in maps if any(f"/{{name}}/" in path for name in {heavy} if name != "regex")]  # jsonschema tries it
assert not found, found
"""


def test_no_library_of_the_labs_is_needed(tmp_path):
    """As `pip install "leaplm[grade]"` leaves a machine: here, in the sandbox, and in the process that judges."""
    made = quickstart(tmp_path / "course")
    source = f"import sys\nfound = set({HEAVY}) & set(sys.modules)\nassert not found, found"
    put_source(made, "week1", {"light": notebook(check("test_light", source))})
    generate(made, "week1")
    hand_in(made, "amina", "week1", "light", {})
    done = subprocess.run([sys.executable, "-c", LIGHT.format(heavy=HEAVY)], cwd=made, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


SLOW = "import time\nbusy = True\nwhile busy:\n    time.sleep(0.05)"


def test_nbgraders_time_limit_of_a_cell_holds_by_the_clock(tmp_path, bash):
    """c.Execute.timeout, for cells of the student's and of tests, in Python and in another kernel; the rest is graded."""
    made = quickstart(tmp_path / "course", STUBS + "c.Execute.timeout = 2\n")
    put_source(made, "week1", {
        "python": notebook(answer("slow", "x = 1"), check("test_slow", SLOW), check("test_after", "assert True")),
        "shell": notebook(check("test_sleep", "sleep 60"), check("test_after", "true"), kernel="bash")})  # fmt: skip
    generate(made, "week1")
    for title in ("python", "shell"):
        hand_in(made, "amina", "week1", title, {"slow": SLOW})
    records = grade_class(made, "week1", jobs=1, say=quiet).records
    for record in records.values():
        slow, after = record["checks"]
        assert slow["points"] == 0 and "stopped after 2 s" in slow["message"], record
        assert after["points"] == 1 and record["state"] == "partial", record


def test_a_kernel_that_is_not_here_is_said_by_name(tmp_path):
    """To the teacher, with those that are here; nbgrader ends with an error, keeps no page, and grades the others."""
    made = quickstart(tmp_path / "course")
    put_source(made, "week1", {"any": notebook(check("test_any", "assert True"), kernel="")})
    generate(made, "week1")
    hand_in(made, "amina", "week1", "any", {})
    hand_in(made, "bello", "week1", "any", {}, change=lambda book: book.metadata.update(
        {"kernelspec": {"name": "wolof", "display_name": "Wolof"}}))  # fmt: skip
    hand_in(made, "chi", "week1", "any", {}, change=lambda book: book.metadata.update(
        {"kernelspec": {"name": "conda-env-nlp-py", "display_name": "nlp", "language": "python"}}))  # fmt: skip
    said = nbgrader(made, "autograde", "week1", code=1)
    assert "the kernel 'wolof' of the notebook is not installed here" in said
    assert not (made / "autograded" / "bello").exists() or not list((made / "autograded" / "bello").rglob("*.ipynb"))
    assert marks(made)["amina", "any", "test_any"] == marks(made)["chi", "any", "test_any"] == (1, False)


def test_both_kinds_of_cells_in_one_assignment(tmp_path):
    """A lab of ours, whose check functions stay outside, with a cell of tests that its teacher added."""
    made = make_course(tmp_path / "course")
    path = made / "solutions" / LAB / f"{LAB}.ipynb"
    solution = nbformat.read(path, as_version=4)
    tests = check("test_thrice", f"assert thrice(1) == 3\n{HIDE.format('thrice(2) == 6')}", 2)
    solution.cells += [answer("thrice", "def thrice(x):\n    return 3 * x"), tests]
    nbformat.write(solution, path)
    generate(made, LAB)
    for student, thrice in (("amina", "3 * x"), ("bello", "x + 2")):
        folder = made / WORK / "submitted" / student / LAB
        (folder / "artifacts").mkdir(parents=True)
        (folder / "artifacts" / "slope-cpu.json").write_bytes(b'{"slope": 2.0}')
        (folder / f"{LAB}.ipynb").write_text(path.read_text().replace("return 3 * x", f"return {thrice}"))
    records = grade_class(made, LAB, jobs=1, say=quiet).records
    found = {student: {check["name"]: check["points"] for check in record["checks"]} for student, record in records.items()}
    assert found["amina"].pop("test_thrice") == 2 and found["bello"].pop("test_thrice") == 0
    assert sum(found["amina"].values()) == sum(found["bello"].values()) == 9
    assert scores(CourseBook(made), LAB) == {"amina": 11, "bello": 9}
    assert "thrice(2)" not in (made / "labs" / LAB / f"{LAB}.ipynb").read_text()
