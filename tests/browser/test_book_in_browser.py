"""The book on a phone and on a desk: nothing is wider than the screen, nothing fails to load, and the search finds."""

import books
import pytest

WIDTHS = {"phone": (360, 740), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def book(tmp_path_factory, assets_ready):
    return books.web_site(tmp_path_factory)


@pytest.mark.parametrize("place", ["index", "chapters/lab5_fewshot", "labs/lab5_fewshot"])
@pytest.mark.parametrize("screen", WIDTHS)
def test_a_page_fits_the_screen(book, page, screen, place):
    failed = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    width, height = WIDTHS[screen]
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"{book.as_uri()}/{place}.html")
    page.shoot(f"book-{screen}-{place.replace('/', '-')}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not failed


@pytest.mark.parametrize("place", ["index", "chapters/lab5_fewshot", "labs/lab5_fewshot"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out_of_a_page(book, lasting_page, violations, scheme, place):
    lasting_page.set_viewport_size({"width": 360, "height": 740})
    lasting_page.emulate_media(color_scheme=scheme)
    lasting_page.goto(f"{book.as_uri()}/{place}.html")
    assert violations(lasting_page) == []


def test_the_keyboard_reaches_the_menu_of_a_phone_and_nothing_that_is_folded_away(book, page):
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{book.as_uri()}/index.html")
    page.keyboard.press("Tab")
    seen = []
    for _ in range(12):
        seen.append(page.evaluate("document.activeElement.id"))
        in_menu = page.evaluate("Boolean(document.activeElement.closest('.sidebar-drawer'))")
        assert not in_menu, "the menu is closed"
        page.keyboard.press("Tab")
    assert "__navigation" in seen
    page.locator("#__navigation").focus()
    page.keyboard.press("Space")
    assert page.locator(".sidebar-drawer a").first.is_visible()


@pytest.mark.parametrize("words", ["calibration", "the calibration of LoRA", "alibr"])
def test_the_search_finds_a_lab(book, page, words):
    page.goto(f"{book.as_uri()}/search.html?q={words}")
    page.locator("#search-results li a").first.wait_for()
    page.shoot("book-search")


@pytest.fixture(scope="module")
def chinese(tmp_path_factory, assets_ready):
    return books.web_site(tmp_path_factory, "zh_CN")


@pytest.mark.parametrize("words", ["分类", "微调", "LoRA", "少样本与零样本"])
def test_the_search_finds_chinese_words(chinese, page, words):
    failed = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(f"{chinese.as_uri()}/search.html?q={words}")
    page.locator("#search-results li a").first.wait_for()
    assert set(failed) <= {"Failed to fetch"}  # the summaries: a page from the disk may not read the others


def test_dark_mode_is_dark(book, page):
    page.emulate_media(color_scheme="dark")
    page.goto(f"{book.as_uri()}/chapters/lab5_fewshot.html")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.shoot("book-dark")
    assert max(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")) < 60
