"""Slides as one HTML file that needs nothing else: style, script and figures inside, formulas as MathML."""

import base64
import html
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

from leaplm.locales import direction, language_tag
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "book"):
    sys.path.insert(0, str(folder))
import cut  # noqa: E402
from formulas import mathml  # noqa: E402

CLOSING = re.compile(r"(<math(?:(?!</math>).)*</math>[,.;:!?)，。；：、！？）]+)", re.S)
FRACTION = re.compile(r"\\frac\{([^{}+−-]+)\}\{([^{}+−-]+)\}")
LARGE = 8.6  # lines of a table in letters of the usual size: eight rows of one line, or fewer longer ones
KINDS = {cut.ITEM: "item", cut.MORE: "more", cut.ASKED: "asked"}


@cache
def markdown():
    parser = MarkdownIt("commonmark", {"html": True}).enable("table").use(dollarmath_plugin, renderer=formula)
    for name in ("link_open", "link_close"):  # nobody follows a link of a slide
        parser.add_render_rule(name, lambda *_: "")
    return parser


def formula(content, options):
    if options["display_mode"]:
        return f'<div class="formula">{mathml(content, "block")}</div>'
    return mathml(FRACTION.sub(r"\1/\2", content))  # a fraction in a line is too small to read


def piece(text):
    """A piece of a slide's body as HTML: a formula, a table, or a line.

    >>> piece("• one **idea**")
    '<p class="item">• one <strong>idea</strong></p>'
    """
    if text.startswith(("$$", "|")):
        made = markdown().render(text).strip()
        large = cut.lines(text) <= LARGE and made.count("<th") <= 4
        return made if large else made.replace("<table>", '<table class="small">')
    kind = next((f' class="{kind}"' for mark, kind in KINDS.items() if text.startswith(mark)), "")
    return f"<p{kind}>{inline(text.removeprefix(cut.ASKED))}</p>"


def inline(text):
    """A line of Markdown as HTML; no line begins with the comma behind a formula."""
    return CLOSING.sub(r'<span class="stay">\1</span>', markdown().renderInline(text))


def figure(words, drawing):
    """A figure with its words below; the SVG as a picture, so that its names and styles stay its own."""
    data = base64.b64encode(drawing.encode()).decode()
    return (f'<figure><img alt="{html.escape(words)}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption>{inline(words)}</figcaption></figure>")


def body(slide, drawing):
    if slide.kind == "figure":
        return figure(slide.body[0], drawing)
    return "\n".join(map(piece, slide.body))


def section(slide, drawing, place, foot):
    level = "h1" if slide.kind == "title" else "h2"
    of = f" <small>{place}</small>" if place else ""
    below = f'<footer><span>{foot[0]}</span><span dir="ltr">{foot[1]}</span></footer>'
    return (f'<section class="{slide.kind}">\n<{level}>{inline(slide.heading)}{of}</{level}>\n'
            f"<main>\n{body(slide, drawing)}\n</main>\n{below}\n</section>")


def places(slides):
    """For each slide "2/3" if neighbours have the same heading, else ""."""
    names = [slide.heading if slide.kind != "title" else None for slide in slides]
    seen = Counter()
    for name in names:
        seen[name] += 1
        yield f"{seen[name]}/{names.count(name)}" if names.count(name) > 1 else ""


def deck(slides, drawing, language):
    """The whole page. drawing: the chapter's figure, as SVG.

    language: a locale, for the browser's choice of fonts, of where lines may end, and of the side.
    """
    title = html.escape(slides[0].heading)
    made = [section(slide, drawing, place, (title, f"{number} / {len(slides)}"))
            for number, (slide, place) in enumerate(zip(slides, places(slides), strict=True), 1)]
    style, script = (HERE / name for name in ("deck.css", "deck.js"))
    start = f'<html lang="{language_tag(language)}" dir="{direction(language)}">'
    return (f'<!doctype html>\n{start}\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n'
            f"<style>\n{style.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n" + "\n".join(made)
            + f"\n<script>\n{script.read_text(encoding='utf-8')}</script>\n</body>\n</html>\n")
