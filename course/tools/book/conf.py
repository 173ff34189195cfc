"""Sphinx's settings for the book. `build.py` beside this file lays out the pages first."""

import importlib.metadata
import os
import sys
from pathlib import Path

from docutils import nodes
from leaplm.locales import direction
from leaplm.translation import LOCALE

sys.path.insert(0, str(Path(__file__).parent))
from formulas import mathml  # noqa: E402
from pairs import SearchChinese  # noqa: E402

language = os.environ.get(LOCALE) or "en"  # build.py has set it
project, author, copyright = "LeapLM", "The LeapLM developers", "The LeapLM developers. Text: CC BY 4.0, code: BSD 3-Clause"
version = release = importlib.metadata.version("leaplm")
extensions = ["myst_nb"]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # build.py has run the labs
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]
html_theme = "furo"
html_title = "LeapLM"
html_copy_source, html_show_sourcelink, html_show_sphinx = False, False, False
html_static_path, html_css_files = ["_static"], ["book.css"]
html_js_files = ["keyboard.js"]
html_math_renderer = "mathml"
epub_show_urls, epub_math_renderer = "no", "mathml"
epub_basename = "leaplm"
exclude_patterns = []


def visit_math(translator, node):
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def visit_displaymath(translator, node):
    translator.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def set_direction(app, page, template, context, doctree):
    """A language that is written from the right: of the text in every format; `build.py` turns a web page as a whole."""
    if direction(language) == "rtl" and "body" in context:
        context["body"] = f'<div dir="rtl">{context["body"]}</div>'


def setup(app):
    app.connect("html-page-context", set_direction)
    app.add_search_language(SearchChinese)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
