"""A certificate: made by the grader, verified by anyone with the notebooks, and of no use when it is forged."""

import json
import re
import shutil
from html import unescape
from pathlib import Path

import nbformat
import pytest
from leaplm import locales
from leaplm.learner import certificate, words
from leaplm.translation import list_locales
from mini import LAB, ROOT, build, make_course
from mini_learner import answered
from walled import needs_sandbox

pytestmark = pytest.mark.usefixtures("shared_servers")
OTHER = "lab1_other"
LAB_PY = '''# %% [markdown]
# # Another lab
# ## 1. Twice

# %% answer="twice"
def twice(x):
    """Two times a number: twice(3) = 6."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% check="twice" points=2
assert twice(3) == 6
'''
CHECKS_PY = """from leaplm.grading import Contract, Numbers, as_number, check


@check(points=2, contract=Contract("x", Numbers(dims=0)))
def twice(student, rng):
    return (2, "right") if as_number(student.call("twice", 3.0), "twice") == 6 else (0, "twice 3 is 6")
"""
WRONG = "def mean_square(x):\n    return x.mean()"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of two labs, which have other checks."""
    root = make_course(tmp_path_factory.mktemp("two") / "course")
    (root / "course" / OTHER).mkdir()
    (root / "course" / OTHER / "lab.py").write_text(LAB_PY)
    (root / "course" / OTHER / "checks.py").write_text(CHECKS_PY)
    build.build(root, [OTHER])
    return root


@pytest.fixture
def solved(labs, course):
    """A folder with the solved notebook and its artifact."""
    return fill(labs, answered(course))


@pytest.fixture(scope="module")
def certified(course, tmp_path_factory):
    """A solved folder with its page, and the grader's records; skips where its sandbox cannot be."""
    folder, said, records = tmp_path_factory.mktemp("marked"), [], {}
    (folder / LAB).mkdir()
    grade = certificate.grade
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAPLM_COURSE", str(course))
        patch.delenv("LEAPLM_LOCALE", raising=False)
        patch.setattr(certificate, "grade", lambda *args: records.update(grade(*args)) or records)
        assert certificate.run("Amina <Bello>", fill(folder, answered(course)), None, said.append) == 0
    if "NOT marked" in said[-1]:
        pytest.skip(said[-1])
    return folder, records


@pytest.fixture
def records(certified):
    """The grader's record of the solved lab."""
    return certified[1]


def fill(labs, notebook):
    nbformat.write(notebook, labs / LAB / f"{LAB}.ipynb")
    (labs / LAB / "artifacts").mkdir(exist_ok=True)
    (labs / LAB / "artifacts" / "slope-cpu.json").write_text('{"slope": 2.0}')
    return labs


@pytest.fixture
def page(certified, solved):
    """The page of the same work."""
    return Path(shutil.copy(certified[0] / certificate.PAGE, solved))


def verify(page, folder):
    said = []
    return certificate.run("", folder, page, said.append), "\n".join(said)


def test_a_solved_course_is_certified_and_verified(page, solved):
    text = page.read_text(encoding="utf-8")
    assert "9 of 9 points" in text and "Amina &lt;Bello&gt;" in text and "slope-cpu.json" in text
    assert verify(page, solved) == (0, f"{LAB}: 9 of 9 points\n{certificate.it_holds()}")


@needs_sandbox
def test_each_lab_is_marked_by_its_own_checks_and_one_that_does_not_end_well_says_why(solved, course):
    (solved / OTHER).mkdir()
    shutil.copy(course / "solutions" / OTHER / f"{OTHER}.ipynb", solved / OTHER)
    fill(solved, answered(course, mean_square="import os\nos._exit(3)"))
    said = []
    records = certificate.grade(course, certificate.find_works(course, solved), said.append)
    assert [check["name"] for check in records[OTHER]["checks"]] == ["twice"]
    assert said[1] == f"{OTHER}: 2 of 2 points"
    assert re.match(f"{LAB}: [0-9] of 9 points [(][a-z]+: .*[.][)]", said[0])


def test_forged_pages_do_not_hold(page, solved, course):
    """Other words than the data, other data, and another notebook than the page was made from."""
    honest = page.read_text(encoding="utf-8")
    page.write_text(honest.replace("9 of 9 points by", "90 of 90 points by"), encoding="utf-8")
    assert verify(page, solved) == (1, f"leaplm finish: {page} was changed: what one reads in it is not what its data say")

    fill(solved, answered(course, mean_square=WRONG))  # worse work, with the page of better work
    page.write_text(honest, encoding="utf-8")
    code, said = verify(page, solved)
    assert code == 1 and "not those of the page" in said and "mean_square: the page says 3 of 3, the grader 0 of 3" in said

    data = json.loads(certificate.DATA.search(honest)[1])  # the whole page made anew around a lie
    [work] = certificate.find_works(course, solved)
    data["labs"][0]["submission"] = work.submission.digest
    page.write_text(certificate.render(data), encoding="utf-8")
    code, said = verify(page, solved)
    assert code == 1 and "not those" not in said and "mean_square: the page says 3 of 3, the grader 0 of 3" in said


def lab_says(**values):
    return lambda data: data["labs"][0].update(values)


def check_says(**values):
    return lambda data: data["labs"][0]["checks"][0].update(values)


FORGERIES = {  # what is written into the data of an honest page, which is then made anew around them: what is told
    "more points in all": (lab_says(points=90), "90 of 9 is not the sum of its exercises"),
    "more points of more": (lambda data: (lab_says(max=90, points=90)(data), check_says(max=84, points=84)(data)),
                            "mean_square: the page says 84 of 84, the grader 3 of 3"),
    "an exercise of its own": (lambda data: data["labs"][0]["checks"].append({"name": "thesis", "points": 0, "max": 0}),
                               "thesis: the page says 0 of 0, the grader nothing"),
    "one that is hidden": (lambda data: data["labs"][0]["checks"].pop(), "the page says nothing, the grader"),
    "an exercise twice": (lambda data: data["labs"][0]["checks"].append(data["labs"][0]["checks"][0]), "not the sum"),
    "another title": (lab_says(title="Doctor of all languages"), "it is not called 'Doctor of all languages'"),
    "hashes of another's artifact": (lab_says(files={"artifacts/slope-cpu.json": "0" * 64}), "not those of the page"),
    "another's notebook": (lab_says(submission="0" * 64), "not those of the page"),
    "an end that it had not": (lab_says(state="timeout"), "the page says 'timeout', the grader 'graded'"),
    "a lab twice": (lambda data: data["labs"].append(data["labs"][0]), "it stands there 2 times"),
    "a lab that is not there": (lambda data: data["labs"].append(data["labs"][0] | {"lab": OTHER}), "notebook is not in"),
    "no lab": (lambda data: data["labs"].clear(), "it names no lab"),
    "a day that has not come": (lambda data: data.update(date="2999-01-01"), "2999-01-01, has not come yet"),
    "marked by nobody": (lambda data: data.update(sandboxed=False), "it was not marked by the grader"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_each_lie_in_a_page_made_anew_is_told(solved, course, records, monkeypatch, forgery):
    monkeypatch.setattr(certificate, "grade", lambda root, works, say: {work.lab: records[work.lab] for work in works})
    data = certificate.make("Amina Bello", solved)
    change, told = FORGERIES[forgery]
    change(data)
    (solved / certificate.PAGE).write_text(certificate.render(data), encoding="utf-8")
    code, said = verify(solved / certificate.PAGE, solved)
    assert code == 1 and told in said


def test_what_was_swapped_after_the_page_was_made_is_told(solved, course, records, monkeypatch):
    monkeypatch.setattr(certificate, "grade", lambda root, works, say: {work.lab: records[work.lab] for work in works})
    assert certificate.run("Amina Bello", solved, None, lambda line: None) == 0
    (solved / LAB / "artifacts" / "slope-cpu.json").write_text('{"slope": 2.00001}')
    code, said = verify(solved / certificate.PAGE, solved)
    assert code == 1 and "not those of the page" in said


def test_a_page_in_another_language_or_of_an_older_course_holds_and_says_so(solved, course, records, monkeypatch):
    """An older course may give other points to the same work: that is told, and is no lie."""
    monkeypatch.setattr(certificate, "grade", lambda root, works, say: {work.lab: records[work.lab] for work in works})
    data = certificate.make("Amina Bello", solved)
    data["labs"][0]["course"], data["versions"]["leaplm"] = "0" * 64, "0.1"
    (solved / certificate.PAGE).write_text(certificate.render(data), encoding="utf-8")
    code, said = verify(solved / certificate.PAGE, solved)
    assert code == 0 and "another version of this lab's checks (leaplm 0.1; here" in said and certificate.it_holds() in said


@pytest.mark.parametrize(("sentences", "told"), [
    (None, "other sentences"), ("0" * 64, "other sentences"), ("", "was changed")])
def test_nobody_is_called_a_forger_for_a_sentence_that_the_course_has_corrected(labs, sentences, told):
    data = {"format": 1, "name": "A", "date": "2026-01-01", "sandboxed": True, "reason": "", "versions": {}, "labs": [],
            "locale": "", "sentences": certificate.sentences_digest("") if sentences == "" else sentences}  # fmt: skip
    (labs / "page.html").write_text(certificate.render(data).replace("<b>", "<b class='old'>"), encoding="utf-8")
    with pytest.raises(certificate.CertificateError, match=told):
        certificate.read(labs / "page.html")


def test_another_translation_is_another_digest(monkeypatch):
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    before = {locale: certificate.sentences_digest(locale) for locale in ("", *list_locales(ROOT))}
    assert len(set(before.values())) == len(before)
    said = certificate.say
    monkeypatch.setattr(certificate, "say", lambda words, /, **values: said(words, **values).replace("seed", "number"))
    assert certificate.sentences_digest("") != before[""]


@pytest.mark.parametrize("damage", [lambda text: "", lambda text: text[:900], lambda text: text.replace('"labs"', '"lab"'),
                                    lambda text: re.sub(r'"max": \d', '"max": "x"', text),
                                    lambda text: text.replace("2026-01-01", "yesterday")])
def test_a_page_that_is_none_is_an_error(labs, damage):
    data = {"format": 1, "name": "A", "date": "2026-01-01", "sandboxed": True, "reason": "", "versions": {}, "labs": [
        {"lab": LAB, "title": "x", "course": "", "points": 1, "max": 1, "checks": [], "state": "graded", "seed": "1",
         "submission": "", "files": {}}]}  # fmt: skip
    path = labs / "page.html"
    path.write_text(damage(certificate.render(data)), encoding="utf-8")
    with pytest.raises(certificate.CertificateError):
        certificate.read(path)


def test_where_there_is_no_sandbox_the_page_says_that_nothing_was_marked(solved, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    def refused(*args, **kwargs):
        raise certificate.NoSandbox("There is no bubblewrap.")

    monkeypatch.setattr(certificate, "grade", refused)
    said = []
    assert certificate.run("Amina", solved, None, said.append) == 0 and "NOT marked by the grader" in said[-1]
    assert "NOT marked again. There is no bubblewrap." in (solved / certificate.PAGE).read_text(encoding="utf-8")


def test_a_folder_without_notebooks_is_an_error(labs):
    said = []
    assert certificate.run("Amina", labs, None, said.append) == 1 and "there is no notebook of a lab" in said[0]


@pytest.mark.parametrize("locale", ["", *list_locales(ROOT)])
def test_a_page_is_in_its_makers_language_wherever_it_is_read(locale, monkeypatch, tmp_path):
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    data = {"format": 1, "name": "Amina", "date": "2026-01-02", "sandboxed": True, "reason": "", "versions": {}, "labs": [],
            "locale": locale}  # fmt: skip
    for reader in ("", "fr", "ar"):
        monkeypatch.setenv("LEAPLM_LOCALE", reader)
        (tmp_path / f"{reader}.html").write_text(certificate.render(data), encoding="utf-8")
        assert certificate.read(tmp_path / f"{reader}.html") == data
    [text] = {path.read_text(encoding="utf-8") for path in tmp_path.glob("*.html")}
    assert f"lang='{locales.language_tag(locale)}' dir='{locales.direction(locale)}'" in text
    assert (words.MARKED in unescape(text)) == (locale == "")


@pytest.mark.parametrize("locale", ["../fr", "xx", 7, None, ["fr"]])
def test_a_page_names_no_other_language_than_one_of_ours(locale):
    data = {"name": "", "date": "", "sandboxed": True, "labs": [], "versions": {}, "locale": locale}
    assert "lang='en'" in certificate.render(data)


def test_a_page_names_somebody_and_one_that_is_missing_is_said_to_be(labs):
    said = []
    assert certificate.run(" ", labs, None, said.append) == 1 and "give your name" in said[0]
    assert certificate.run("", labs, labs / "none.html", said.append) == 1 and "there is no file" in said[1]
