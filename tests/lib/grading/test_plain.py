"""Assignments that are none of our labs: nbgrader's own cells, in a course that `nbgrader quickstart` made."""

import json
import subprocess
import sys

import nbformat
import pytest
from leaplm.grading.book.gradebook import CourseBook, scores
from leaplm.grading.book.verdicts import WORK
from leaplm.grading.classroom import grade_class
from mini import LAB, make_course
from nbgrader.api import Gradebook
from quickstart import answer, cell, check, generate, hand_in, nbgrader, notebook, put_source, quickstart, task, written

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


def quiet(line):
    pass


def marks(course, name="week1"):
    """{(student, notebook, cell): (automatic score, comment)} as the gradebook has them."""
    found = {}
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}", "course") as book:
        for submission in book.assignment_submissions(name):
            for made in submission.notebooks:
                for grade in made.grades:
                    found[submission.student.id, made.name, grade.name] = (grade.auto_score, grade.needs_manual_grade)
                for comment in made.comments:
                    found[submission.student.id, made.name, f"{comment.name} says"] = comment.auto_comment
    return found


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


@pytest.fixture(scope="module")
def course(tmp_path_factory, bash):
    """The course with a class that has handed in, and nothing graded yet."""
    made = quickstart(tmp_path_factory.mktemp("plain") / "course", STUBS)
    put_source(made, "week1", {"numbers": NUMBERS, "words": WORDS}, FILES)
    generate(made, "week1")
    hand_in(made, "amina", "week1", "numbers", {**RIGHT, "why": "Since two is one and one."})
    hand_in(made, "amina", "week1", "words", {"greet": GREET})
    hand_in(made, "bello", "week1", "numbers", {"double": "def double(x):\n    return x + x + 0",
                                                "mean": "def mean(rows):\n    return 6"})  # fmt: skip
    hand_in(made, "bello", "week1", "words", {"greet": 'greet() { echo "Bonjour $1"; }'})
    hand_in(made, "chi", "week1", "numbers", {}, {"helper.py": "def near(a, b):\n    return 1000\n", "data/rows.txt": "9"})
    return made


def test_a_class_has_the_marks_that_plain_nbgrader_gives(course):
    """One gradebook by our command, one by nbgrader without our line: the same scores, comments and marks to give."""
    summary = grade_class(course, "week1", jobs=1, say=quiet)
    assert {record["state"] for key, record in summary.records.items() if key != "chi, words"} == {"graded"}
    ours = marks(course)
    assert ours["amina", "numbers", "test_double"] == (2, False)
    assert ours["bello", "numbers", "test_double"] == (0, False)  # the hidden test
    assert ours["bello", "numbers", "test_mean"] == (1.5, False)
    assert ours["amina", "words", "test_greet"] == (4, False) and ours["bello", "words", "test_greet"] == (0, False)
    assert ours["amina", "numbers", "why"] == (None, True) and ours["chi", "numbers", "why"] == (0, False)
    config = course / "nbgrader_config.py"
    with_line = config.read_text()
    try:
        config.write_text(with_line.partition("\nfrom leaplm")[0])
        (course / "gradebook.db").rename(course / "ours.db")
        nbgrader(course, "generate_assignment", "week1", "--force")
        nbgrader(course, "autograde", "week1", "--force")
        theirs = marks(course)
        for kept in (ours, theirs):  # nbgrader has no comment on what was not handed in
            kept.pop(("chi", "words", "greet says"))
        assert theirs == ours
    finally:
        config.write_text(with_line)
        (course / "ours.db").rename(course / "gradebook.db")


def test_nbgrader_autograde_gives_the_same_through_one_line_of_configuration(course):
    before = marks(course) or grade_class(course, "week1", jobs=1, say=quiet) and marks(course)
    said = nbgrader(course, "autograde", "week1", "--force")
    assert "6 submissions" not in said and marks(course) == before
    folder = course / "autograded" / "amina" / "week1"
    assert (folder / "made.txt").read_text() == "by the notebook"
    assert "BEGIN HIDDEN TESTS" in (folder / "numbers.ipynb").read_text()
    assert not (course / "submitted" / "amina" / "week1" / "made.txt").exists()
    assert (course / "autograded" / "chi" / "week1" / "helper.py").read_text() == FILES["helper.py"]


def test_formgraders_button(course):
    """What it calls: one student after the other, through nbgrader's own interface."""
    from nbgrader.apps import NbGraderAPI

    before = marks(course) or grade_class(course, "week1", jobs=1, say=quiet) and marks(course)
    book = CourseBook(course)
    result = NbGraderAPI(book.coursedir, parent=book.app).autograde("week1", "amina", force=True)
    assert result["success"], result
    assert marks(course) == before


def test_the_command_finds_the_course(course, tmp_path):
    """By --course from elsewhere, and by itself from a folder inside; what it says in the end, and its exit code."""
    before = marks(course) or grade_class(course, "week1", jobs=1, say=quiet) and marks(course)
    for words, folder in ((["--course", str(course)], tmp_path), ([], course / "submitted")):
        done = subprocess.run([sys.executable, "-m", "leaplm", "grade", "week1", *words], cwd=folder, capture_output=True,
                              text=True)  # fmt: skip
        assert done.returncode == 0 and "6 verdicts; 0 graded now" in done.stdout, done.stdout + done.stderr
    assert marks(course) == before


def test_a_resubmission_alone_is_graded_again(course):
    if not marks(course):
        grade_class(course, "week1", jobs=1, say=quiet)
    hand_in(course, "chi", "week1", "numbers", {"double": RIGHT["double"]})
    assert grade_class(course, "week1", jobs=1, say=quiet).fresh == 1
    assert marks(course)["chi", "numbers", "test_double"] == (2, False)


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
}  # fmt: skip
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
    put_source(made, "week1", {"tests": TESTS})
    generate(made, "week1")
    for name, source in FORGERIES.items():
        hand_in(made, name, "week1", "tests", {"double": source, "mean": "" if name != "patches_a_library" else source})

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
    said = nbgrader(made, "autograde", "week1", code=1)
    assert "the kernel 'wolof' of the notebook is not installed here" in said
    assert not (made / "autograded" / "bello").exists() or not list((made / "autograded" / "bello").rglob("*.ipynb"))
    assert marks(made)["amina", "any", "test_any"] == (1, False)


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
