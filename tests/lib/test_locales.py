"""What a learner reads of the library is said in the learner's language, wherever it is raised or printed."""

import ast
import re
import string

import pytest
from leaplm import data, locales, translation
from leaplm.grading.course import load_module
from leaplm.grading.judge.checks import Check, judge
from leaplm.translation import COMMON, catalog_path
from repo import ROOT

translate = load_module(ROOT / "course" / "tools" / "translate.py")
PACKAGE = ROOT / "lib" / "leaplm"
# What stays English, and why: nobody learns from it, or no catalogue can be read there.
ENGLISH = {
    "grading/": "teachers read it; what of it students read is translated as a whole message (LIBRARY of translate.py)",
    "bundle/": "whoever makes or installs a classroom kit",
    "serve/": "whoever runs a service, and the programs that call it",
    "calibration.py": "teachers", "cli/add_language.py": "teachers",
    "cli/new_lab.py": "authors of labs", "cli/template/": "authors of labs",
    "installing.py": "install.py runs it before anything is installed, and a bundle's installer holds a copy",
    "places.py": "finds the catalogues, and is asked for them by each sentence that is said",
    "translation.py": "speaks of catalogues that cannot be read",
}  # fmt: skip
PRINTS = {"print", "echo", "tell", "say_so", "warn", "exit"}
COMMAND = re.compile(r"leaplm [a-z-]+: ")  # what the lines of a command begin with
ARGUMENT = re.compile(r"\{?(\w+)\}?=\{([^{}]*)\}")
SHAPE = re.compile(r"\{[^{}]*\.shape\b[^{}]*\}")


def is_read(module):
    return not module.startswith(tuple(ENGLISH))


MODULES = {name: path for path in sorted(PACKAGE.rglob("*.py")) if is_read(name := path.relative_to(PACKAGE).as_posix())}
RAISING = {name.replace(".", "/") + ".py" for name in translate.RAISING}  # what checks meet too, and show translated


def name_of(call):
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def for_people(tree):
    """(strings and f-strings as they stand in the code, whether an error has them) of raises and of what prints."""
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
             for part in ast.walk(node) if part is not node}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and name_of(node) in PRINTS):
            yield from ((part, isinstance(node, ast.Raise)) for part in ast.walk(node)
                        if translate.is_text(part) and id(part) not in inner)  # fmt: skip


def is_of_an_argument(words):
    """Whether an error begins with an argument and its value, or tells shapes: the code that calls is wrong.

    Such errors are in English, as Python's own are: what is to be mended is the code.
    """
    found = ARGUMENT.match(words)
    return bool(SHAPE.search(words) or (found and re.search(rf"\b{found[1]}\b", found[2])))


def unsaid(source, raising=False):
    """The sentences for people in a module's code that are not said; raising: its errors are translated by template."""
    tree = ast.parse(source)
    said = {id(node.args[0]) for node in ast.walk(tree) if translate.is_said(node)}
    left = ((translate.wording(part), error) for part, error in for_people(tree) if id(part) not in said)
    return sorted({words for words, error in left if translate.is_message(COMMAND.sub("", words))
                   and not (error and (raising or is_of_an_argument(words)))})  # fmt: skip


@pytest.mark.parametrize(("source", "found"), [
    ('raise ValueError(f"{path} holds no sentence.")', ["{path} holds no sentence."]),
    ('tell("nothing to do" if x else f"{n} files came back")', ["nothing to do", "{n} files came back"]),
    ('raise ValueError(say("{path} holds no sentence.", path=path))', []),
    ('print(say("{a}: see", a="the file beside it"))', ["the file beside it"]),
    ('raise ValueError(f"rate={rate} must lie between 0 and 1")', []),
    ('raise ValueError(f"layers={tuple(layers)} must be numbers")', []),
    ('raise ValueError(f"{name}={getattr(self, name)} must be above 0")', []),
    ('raise ValueError(f"scores {first.shape} must be a table")', []),
    ('raise ValueError(f"LANGUAGE={language!r} is not known here")', ["LANGUAGE={language} is not known here"]),
    ('print(f"rate={rate} is taken")', ["rate={rate} is taken"]),
    ('echo(f"leaplm finish: {problem}")', []),
    ('echo(f"leaplm finish: {problem} is not here")', ["leaplm finish: {problem} is not here"]),
    ('raise KeyError("name")', []),
])  # fmt: skip
def test_what_is_not_said_is_found(source, found):
    assert unsaid(source) == sorted(found)


@pytest.mark.parametrize("module", MODULES)
def test_what_learners_read_is_said(module):
    source = MODULES[module].read_text(encoding="utf-8")
    assert unsaid(source, raising=module in RAISING) == []
    named = [node.arg for node in ast.walk(ast.parse(source)) if isinstance(node, ast.arg)]
    assert "say" not in named  # it would take the place of the one that translates


@pytest.fixture(scope="module")
def template():
    return {message.id for message in translate.template(ROOT, COMMON)}


def said_in(module):
    """The calls that say a sentence that stands in them."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if translate.is_said(node) and translate.is_text(node.args[0])]


@pytest.mark.parametrize("module", MODULES)
def test_what_is_said_is_in_the_catalogues(module, template):
    said = [call.args[0] for call in said_in(module)]
    assert [translate.wording(words) for words in said if isinstance(words, ast.JoinedStr)] == []  # known only when it runs
    assert [words.value for words in said if words.value not in template] == []


@pytest.mark.parametrize("module", MODULES)
def test_each_placeholder_has_a_value(module):
    for call in said_in(module):
        holes = {name for _, name, _, _ in string.Formatter().parse(call.args[0].value) if name is not None}
        given = {keyword.arg for keyword in call.keywords}
        assert holes == given or (None in given and given - {None} <= holes), call.args[0].value  # None: **values


def test_what_stays_english_is_there_and_has_a_reason():
    assert all((PACKAGE / place).exists() and why for place, why in ENGLISH.items())


WORDS = "the dataset is empty: nothing to tokenize"


@pytest.fixture
def french(tmp_path, monkeypatch):
    """A course with one sentence in French, in which a learner reads French."""
    path = catalog_path(tmp_path, COMMON, "fr")
    path.parent.mkdir(parents=True)
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'
    path.write_text(f'{head}msgid "{WORDS}"\nmsgstr "le jeu de données est vide"\n', encoding="utf-8")
    monkeypatch.setattr(locales, "find_root", lambda: tmp_path)
    monkeypatch.setattr(translation, "find_root", lambda: tmp_path)
    monkeypatch.setattr(locales, "_spoken", None)
    monkeypatch.setenv("LEAPLM_LOCALE", "fr")


def test_an_error_is_in_the_learners_language(french):
    with pytest.raises(ValueError, match="le jeu de données est vide"):
        data.tokenize([], None)


def test_while_a_check_judges_errors_are_in_english(french):
    """A check's message is translated as a whole when it is shown; a teacher may read another language than a student."""
    def refuses(student, rng):
        with pytest.raises(ValueError, match=WORDS) as error:
            data.tokenize([], None)
        return 1, str(error.value)

    verdict = judge(Check("refuses", 1, 9, refuses), None, seed=1)
    assert (verdict.points, verdict.message) == (1, WORDS) and locales.learner_locale() == "fr"
