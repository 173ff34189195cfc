"""Slides in Chromium: none has more than it can show, keys turn them, and printed there is one on each page."""

import pseudo
import pytest
from leaplm.grading.course import list_labs, load_module
from leaplm.translation import list_locales
from repo import ROOT

slides = load_module(ROOT / "course" / "tools" / "slides.py")
# With the largest tables, the longest sentences, and the most and longest exercises.
LONG = ["lab3_lora", "lab6_overfitting", "lab9_responsible", "lab11_transformer", "lab14_names", "lab15_instructions"]
DECKS = [("en", list_labs(ROOT)), *((locale, LONG) for locale in list_locales(ROOT))]
TOO_MUCH = """() => {
  document.body.classList.remove("one");
  return [...document.querySelectorAll("section")].map((slide, number) => {
    const room = slide.querySelector("main").getBoundingClientRect();
    const parts = [...slide.querySelectorAll("main :is(p, table, .formula, math, figcaption, img)")];
    const over = parts.map((part) => part.getBoundingClientRect())
      .map((box) => Math.max(box.bottom - room.bottom, box.right - room.right));
    return [number + 1, Math.max(0, ...over)];
  }).filter(([number, over]) => over > 1);
}"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll("main :is(p, td, figcaption)")].map(
  (part) => parseFloat(getComputedStyle(part).fontSize)))"""


@pytest.fixture(scope="module")
def long_labs(tmp_path_factory):
    """These labs in two languages that nobody speaks; words of one of them are 40 % longer."""
    return pseudo.course_of(tmp_path_factory.mktemp("long") / "course", LONG)


@pytest.mark.parametrize(("locale", "labs"), DECKS, ids=[locale for locale, _ in DECKS])
def test_every_slide_shows_all_of_it_in_large_letters(lasting_page, tmp_path, locale, labs):
    lasting_page.set_viewport_size({"width": 1280, "height": 720})
    for lab in labs:
        lasting_page.goto(slides.write(ROOT, lab, "" if locale == "en" else locale, tmp_path).as_uri())
        assert lasting_page.evaluate(TOO_MUCH) == [], lab
        assert lasting_page.evaluate(SMALLEST) >= 22, lab  # of 720: a thirty-third of the height


@pytest.mark.parametrize("locale", [pseudo.MARKED, pseudo.FROM_THE_RIGHT])
def test_slides_of_a_language_with_longer_words_show_all_of_it(lasting_page, long_labs, tmp_path, locale):
    lasting_page.set_viewport_size({"width": 1280, "height": 720})
    for lab in LONG:
        lasting_page.goto(slides.write(long_labs, lab, locale, tmp_path).as_uri())
        assert lasting_page.evaluate(TOO_MUCH) == [], lab
        assert lasting_page.evaluate(SMALLEST) >= 22, lab


def test_keys_and_clicks_turn_slides(page, tmp_path):
    page.goto(slides.write(ROOT, "lab0_start", "", tmp_path).as_uri())
    shown = "[...document.querySelectorAll('section')].findIndex((slide) => slide.offsetParent)"
    for key, expected in (("ArrowRight", 1), ("PageDown", 2), (" ", 3), ("ArrowLeft", 2), ("Home", 0), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        assert page.evaluate(shown) == expected, key
    page.mouse.click(1000, 300)
    assert page.evaluate(shown) == 1 and page.url.endswith("#2")


def test_printed_there_is_one_slide_on_a_page(page, tmp_path):
    page.goto(slides.write(ROOT, "lab0_start", "", tmp_path).as_uri())
    pages = page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n")
    assert pages == page.evaluate("document.querySelectorAll('section').length")


@pytest.mark.parametrize("locale", ["", "ar"])
def test_nobody_is_kept_out_of_the_slides(page, violations, tmp_path, locale):
    page.goto(slides.write(ROOT, "lab0_start", locale, tmp_path).as_uri())
    assert violations(page) == []
    page.evaluate("document.body.classList.remove('one')")  # all slides at once, as they are printed
    assert violations(page) == []


def test_where_one_reads_from_the_right_the_left_key_turns_on(page, tmp_path):
    page.goto(slides.write(ROOT, "lab0_start", "ar", tmp_path).as_uri())
    page.keyboard.press("ArrowLeft")
    assert page.url.endswith("#2")
    page.keyboard.press("ArrowRight")
    assert page.url.endswith("#1")
