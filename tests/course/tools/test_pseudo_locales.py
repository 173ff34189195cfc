"""A language that the course never saw goes the whole way without a line of code: lab, marks, feedback, book, slides."""

import re
import shutil
from collections import Counter
from itertools import groupby

import nbformat
import pseudo
import pytest
from leaplm.grading.book.feedback import FeedbackExporter
from leaplm.grading.course import load_module
from leaplm.grading.demo import Classroom
from leaplm.grading.judge.engine import Engine
from leaplm.grading.submission import Submission
from leaplm.locales import direction
from leaplm.translation import UNTRANSLATED, split_markdown, unwrapped
from mini import LAB, ROOT, make_course
from nbgrader.utils import is_solution
from pseudo import FROM_THE_RIGHT, MARKED
from walled import needs_sandbox

prose_in_code = load_module(ROOT / "course" / "tools" / "prose_in_code.py")
book = load_module(ROOT / "course" / "tools" / "book" / "build.py")
slides = load_module(ROOT / "course" / "tools" / "slides.py")
BOTH = (MARKED, FROM_THE_RIGHT)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The mini course in both pseudo-languages, with the book's first page."""
    root = make_course(tmp_path_factory.mktemp("pseudo") / "course")
    index = root / "course" / "tools" / "book" / "index.md"
    index.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "course" / "tools" / "book" / "index.md", index)
    for locale in BOTH:
        pseudo.translate_all(root, locale)
    return root


def lab(course, locale=""):
    folder = course / "labs" / "languages" / locale if locale else course / "labs"
    return nbformat.read(folder / LAB / f"{LAB}.ipynb", as_version=4)


@pytest.mark.parametrize("locale", BOTH)
def test_a_lab_is_in_the_language_and_its_code_is_not(course, locale):
    for english, other in zip(lab(course).cells, lab(course, locale).cells, strict=True):
        if english.cell_type == "code":
            assert prose_in_code.same_code(english.source, other.source)
            told = prose_in_code.code_units(other.source)
            assert not set(told) & set(prose_in_code.code_units(english.source)) or not told
        elif not is_solution(english):
            assert UNTRANSLATED not in other.source and len(other.source) > 1.2 * len(english.source)
            assert (unwrapped(other.source) != other.source) == (direction(locale) == "rtl")
            assert len(split_markdown(unwrapped(other.source))) >= len(split_markdown(english.source))


def test_no_text_has_lost_its_code_and_none_is_missing(course):
    total, done, found = pseudo.translate.faults(course, FROM_THE_RIGHT)
    assert found == [] and done == total


def test_code_is_isolated_where_the_language_is_written_from_the_right(course):
    text = "\n".join(cell.source for cell in lab(course, FROM_THE_RIGHT).cells if cell.cell_type == "markdown")
    pieces = re.findall(r"(.?)`[^`\n]+`(.?)", text)
    assert pieces and set(pieces) == {("\u2066", "\u2069")}
    assert "\u2066" not in "\n".join(cell.source for cell in lab(course, MARKED).cells)


@needs_sandbox
@pytest.mark.usefixtures("shared_servers")
def test_work_in_the_language_is_graded_and_told_in_it(course, tmp_path):
    (tmp_path / "slope-cpu.json").write_bytes(b'{"slope": 2.0}')
    solved = Classroom(LAB, course, tmp_path).perfect().notebook
    texts = {cell.id: cell.source for cell in lab(course, FROM_THE_RIGHT).cells
             if cell.cell_type == "markdown" or not is_solution(cell)}
    for cell in solved.cells:
        cell.source = texts.get(cell.id, cell.source)
    files = {"artifacts/slope-cpu.json": b'{"slope": 2.0}'}
    with Engine(course, LAB, jobs=1) as engine:
        graded = engine.grade(Submission(LAB, "amina", nbformat.writes(solved).encode(), files, None, (), None), seed=1)
    assert graded.record["locale"] == FROM_THE_RIGHT and graded.record["points"] == graded.record["max"]
    said = [check["message"] for check in graded.record["checks"]]
    assert pseudo.pseudo("two steps give the right weights", FROM_THE_RIGHT) in said
    page, _ = FeedbackExporter().from_notebook_node(nbformat.reads(graded.notebook, as_version=4))
    assert f'<html lang="{FROM_THE_RIGHT}" dir="rtl">' in page and said[1] in page


def test_the_book_is_written_from_the_right(course, tmp_path, monkeypatch):
    monkeypatch.setenv("LEAPLM_LOCALE", "")  # the build sets it; this brings it back
    monkeypatch.setattr(book, "ROOT", course)
    monkeypatch.setattr(book, "run_of", lambda lab, scale: nbformat.read(
        course / "solutions" / lab / f"{lab}.ipynb", as_version=4))  # fmt: skip
    book.main(["--labs", LAB, "--locale", FROM_THE_RIGHT, "--out", str(tmp_path)])
    for name in ("index", f"labs/{LAB}"):
        page = (tmp_path / FROM_THE_RIGHT / "html" / f"{name}.html").read_text(encoding="utf-8")
        assert re.search(rf'<html [^>]*lang="{FROM_THE_RIGHT}"[^>]* dir="rtl">', page) and UNTRANSLATED not in page
    assert pseudo.pseudo("Chapters and labs", FROM_THE_RIGHT) in page


DECKS = ("lab3_lora", "lab6_overfitting")  # tables of text; tables whose rows the card names, lists, many formulas


@pytest.fixture(scope="module")
def real_labs(tmp_path_factory):
    return pseudo.course_of(tmp_path_factory.mktemp("slides") / "course", DECKS)


def pieces(slide):
    """What a slide shows; a figure's file is no text."""
    return [slide.heading, *(slide.body[:1] if slide.kind == "figure" else slide.body)]


@pytest.mark.parametrize("locale", BOTH)
@pytest.mark.parametrize("name", DECKS)
def test_slides_are_those_of_the_english_and_show_the_whole_chapter(real_labs, name, locale):
    english, other = slides.slides(real_labs, name), slides.slides(real_labs, name, locale)
    kinds = [[kind for kind, _ in groupby(slide.kind for slide in deck if slide.kind != "idea")]
             for deck in (english, other)]  # fmt: skip
    assert kinds[0] == kinds[1] and {"title", "figure", "question", "answer", "table", "list"} <= set(kinds[0])
    chapter = (real_labs / "course" / name / "chapter.md").read_text(encoding="utf-8").split("## Reading")[0]
    told = slides.Words(real_labs, name, locale).chapter(chapter)
    shown = words_of(" ".join(text for slide in other for text in pieces(slide)))
    assert words_of(told) - shown - words_of(pseudo.pseudo(slides.ASKED, locale)) == Counter(), "these words are on no slide"


def words_of(text):
    return Counter(re.findall(r"\w+", re.sub(r"<[^>]+>|\]\([^)]*\)", " ", text)))


@pytest.mark.parametrize("name", DECKS)
def test_no_slide_has_a_word_of_english(real_labs, name):
    """Headings, sentences, heads and names of tables, exercises: in one pseudo-language no Latin letter is left."""
    for slide in slides.slides(real_labs, name, FROM_THE_RIGHT):
        for text in pieces(slide):
            english = re.findall(r"[A-Za-z]{2,}", re.sub(rf"\$\$.*?\$\$|{pseudo.KEPT.pattern}", " ", text, flags=re.S))
            assert english == [], (slide.kind, text)


def test_a_deck_is_written_from_the_right(real_labs, tmp_path):
    page = slides.write(real_labs, DECKS[0], FROM_THE_RIGHT, tmp_path).read_text(encoding="utf-8")
    assert f'<html lang="{FROM_THE_RIGHT}" dir="rtl">' in page and UNTRANSLATED not in page and "<math" in page
    assert "$" not in re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert re.findall(r"<footer><span>[^<]*</span><span([^>]*)>1 / ", page) == [' dir="ltr"']
    card, words = slides.cards.read_card(real_labs, DECKS[0])["table"], slides.Words(real_labs, DECKS[0], FROM_THE_RIGHT)
    note = slides.key_table(DECKS[0], card, words)[0].body[2]
    assert re.fullmatch(r"[^–]*(\u2066\d–\d\u2069[^–]*)?", note)
