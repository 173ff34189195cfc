"""A feedback page, as nbgrader's own template and our exporter make it: nobody is kept out, and it is read from its side."""

import functools
from pathlib import Path

import nbformat
import nbgrader
import pytest
from leaplm.grading.book.feedback import FeedbackExporter
from leaplm.translation import load_catalogs, translate_message
from repo import ROOT

TEMPLATES = Path(nbgrader.__file__).parent / "server_extensions" / "formgrader"
MARKS = {"notebook": "lab0_start", "score": 3, "max_score": 30, "late_penalty": 0}
# As a cell that drew a figure of ours has it.
PICTURE = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNg"
                                                  "AAAAAgABSK+kcQAAAABJRU5ErkJggg=="},
                                 metadata={"image/png": {"alt": "loss 0 to 1"}})  # fmt: skip
MESSAGE = "the premium differs: the sum of the first list over the sum of the second"


@pytest.fixture(scope="module")
def feedback(tmp_path_factory):
    """feedback(locale) gives the address of the page of a graded lab 0; each is made once."""
    return functools.cache(lambda locale: make_feedback(tmp_path_factory.mktemp("feedback"), locale).as_uri())


def make_feedback(folder, locale):
    """The page of a graded lab 0 with a message under each check."""
    place = ROOT / "labs" / "languages" / locale if locale else ROOT / "labs"
    notebook = nbformat.read(place / "lab0_start" / "lab0_start.ipynb", as_version=4)
    notebook.metadata["leaplm"] = {"locale": locale}
    told = translate_message(MESSAGE, load_catalogs(ROOT, "lab0_start", locale)) if locale else MESSAGE
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            cell.metadata.nbgrader["score"] = 1
        if cell.id.startswith("check_"):
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=told), PICTURE]
    exporter = FeedbackExporter(template_name="feedback", extra_template_basedirs=[str(TEMPLATES / "templates")],
                                extra_template_paths=[str(TEMPLATES / "static/node_modules/bootstrap/dist/css")])
    made, _ = exporter.from_notebook_node(notebook, resources={"nbgrader": MARKS})
    (folder / "feedback.html").write_text(made, encoding="utf-8")
    return folder / "feedback.html"


@pytest.mark.parametrize(("locale", "side"), [("", "left"), ("ar", "right")])
def test_nobody_is_kept_out_and_text_begins_at_its_side(page, feedback, violations, locale, side):
    page.goto(feedback(locale))
    page.shoot(f"feedback-{locale or 'en'}")
    assert violations(page) == []
    begins = """selector => { const part = document.querySelector(selector), style = getComputedStyle(part);
      return {start: style.direction === "rtl" ? "right" : "left", left: "left", right: "right"}[style.textAlign]; }"""
    assert page.evaluate(begins, "div.text_cell_render p") == side
    assert page.evaluate(begins, "div.input_area pre") == "left"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown = "Object.fromEntries(%s.map(key => [key, getComputedStyle(document.querySelector('%s'))[key]]))"
    assert page.evaluate(shown % ('["display"]', "summary")) == {"display": "list-item"}  # else it has no triangle
    bars = page.evaluate(shown % ('["borderLeftWidth", "borderRightWidth"]', "blockquote")) if locale else None
    assert not bars or bars == {"borderLeftWidth": "0px", "borderRightWidth": "5px"}


# Of each graded cell: what is wider than the cell or higher than its heading, code that is squeezed, words on words.
SQUEEZED = """() => [...document.querySelectorAll("div.nbgrader_cell")].flatMap(cell => {
  const head = cell.querySelector(".panel-heading"), area = cell.querySelector(".input_area, .text_cell_render");
  const box = part => part.getBoundingClientRect();
  const apart = (a, b) => a.bottom <= b.top || a.right <= b.left || b.right <= a.left;
  const name = head.querySelector(".nbgrader-label"), score = head.querySelector(".pull-right"), inside = box(head);
  const held = [name, score].every(part => box(part).bottom <= inside.bottom && box(part).left >= inside.left
                                           && box(part).right <= inside.right);
  return held && apart(box(name), box(score)) && box(area).width > 0.85 * box(cell).width ? [] : [head.textContent];
})"""


@pytest.mark.parametrize("width", [320, 360, 700, 1200])
@pytest.mark.parametrize("locale", ["", "ar", "sw", "zh_CN"])
def test_name_score_and_code_of_a_graded_cell_can_be_read_on_every_width(lasting_page, feedback, locale, width):
    lasting_page.set_viewport_size({"width": width, "height": 900})
    lasting_page.goto(feedback(locale))
    assert lasting_page.evaluate("document.querySelectorAll('div.nbgrader_cell').length") > 7
    assert lasting_page.evaluate(SQUEEZED) == []
    assert lasting_page.evaluate("document.documentElement.scrollWidth <= innerWidth")
