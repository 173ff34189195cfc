"""Cuts a chapter into slides: one idea each, no more lines than the last row of a class can read.

A paragraph is an idea. Its sentences stand one below the other, the last one together with the formula that it introduces.
"""

import math
import re
from dataclasses import dataclass

from leaplm.translation import split_markdown

LINES = 11.5  # on a slide, below its heading
WIDTH = 60  # letters of a line; one of Chinese counts as two
GAP = 0.35  # lines between two sentences
LIST_LINES = 18  # of a list, whose letters are smaller
TABLE_WIDTH = 64  # letters of a row
FORMULA_LINES = 2.8
INTRODUCED = 1.4  # lines above a table
ITEM, MORE, ASKED = "• ", "\u2003", "? "  # what stands before a piece: of a list, going on in it, a question again
HELD = re.compile(r"\$[^$]+\$|`[^`]+`|\]\([^)]*\)|(?<!\*)\*[^*\n]+\*(?!\*)")  # in these no sentence ends
END = re.compile(r"(?<=[.!?])\s+(?=[^\W_]|[*$`“«¿¡(\[])|(?<=[。！？])(?=[^”」』）)])")
SHORT = re.compile(r"(?:\bal|\bvs|\b[A-Z]|e\.g|i\.e|p\. ex)\.$")  # a point that ends no sentence
LEAD = re.compile(r"\*\*[^*]+\*\*")
FIGURE = re.compile(r"!\[(?P<words>[^\]]*)\]\((?P<path>[^)]+)\)")
ANSWER = re.compile(r"<details><summary>(?P<word>.*?)</summary>(?P<answer>.*?)</details>", re.S)
LISTED = re.compile(r"(?:[*-]|\d+\.) ")


@dataclass
class Slide:
    """heading and body are Markdown, a piece of the body a line or formula; kind: idea, figure, question or answer."""

    heading: str
    body: list[str]
    kind: str = "idea"


def sections(chapter):
    """[(heading, Markdown below it)] of a chapter; the first has the chapter's own heading."""
    parts = re.split(r"(?m)^#{1,2} +(.+)$", chapter)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def sentences(text):
    """The sentences of a paragraph, in any of the course's languages.

    >>> sentences("Take $a. b$ of it. Then stop (Min et al. 2022). 好。再见。")
    ['Take $a. b$ of it.', 'Then stop (Min et al. 2022).', '好。', '再见。']
    """
    held = HELD.sub(lambda found: re.sub(r"[.!?。！？]", "\0", found[0]), text)
    parts, start = [], 0
    for found in END.finditer(held):
        piece = text[start:found.start()]
        if not SHORT.search(piece) and balanced(piece):
            parts.append(piece)
            start = found.end()
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def balanced(piece):
    """Whether no bold text and no bracket goes on behind the piece."""
    return piece.count("**") % 2 == 0 and all(piece.count(a) <= piece.count(b) for a, b in ("()", "（）", "[]"))


def lines(text):
    """About how many lines a piece of Markdown takes on a slide.

    >>> lines("one short line")
    1.35
    """
    if text.startswith("$$"):
        return FORMULA_LINES
    if text.startswith("|"):
        return sum(row_lines(text))
    return -(-width(text) // WIDTH) + GAP


def width(text):
    """About how many letters wide a piece of Markdown is."""
    shown = re.sub(r"\$([^$]+)\$", lambda formula: "x" * round(0.8 * len(re.sub(r"\\\w+|[{}^_]", "", formula[1]))), text)
    shown = re.sub(r"\]\([^)]*\)|[*`\[]|<[^>]+>", "", shown)
    return sum(2 if ord(letter) > 0x2E80 else 1 for letter in shown)


def row_lines(table):
    """The lines of each row of a table (0 for its rule), whose columns share the slide by their longest cells."""
    rows = [[width(cell.strip()) for cell in row.strip().strip("|").split("|")] for row in table.split("\n")]
    longest = [max(cells) + 2 for cells in zip(*rows, strict=True)]
    share = [max(5, TABLE_WIDTH * most / max(TABLE_WIDTH, sum(longest))) for most in longest]
    taken = [0.2 + 0.87 * max(-(-cell // wide) for cell, wide in zip(row, share, strict=True)) for row in rows]
    return [taken[0], 0, *taken[2:]]


def table_parts(table):
    """A table as one or more that fit, each with its head.

    >>> [part.count("a") for part in table_parts("| h |\\n|---|\\n" + "\\n".join(["| a |"] * 12))]
    [8, 4]
    """
    head, rule, *rows = table.split("\n")
    parts, room = [], 0.0
    first, _, *heights = row_lines(table)
    for row, height in zip(rows, heights, strict=True):
        if not parts or height > room:
            parts.append([head, rule])
            room = LINES - first - INTRODUCED
        parts[-1].append(row)
        room -= height
    return ["\n".join(part) for part in parts]


def blocks(section):
    """(kind, text) of a section's paragraphs, list items, formulas, tables and figures, in turn."""
    for text in filter(None, (part.strip() for part in re.split(r"\n\s*\n", section))):
        if text.startswith("$$"):
            yield "formula", text
        elif text.startswith("|"):
            yield from (("table", part) for part in table_parts(text))
        elif FIGURE.match(text):
            yield "figure", text
        else:
            yield from (("item" if LISTED.match(prefix.strip() + " ") else "text", words)
                        for prefix, words in split_markdown(text) if words)


def ideas(heading, section):
    """The slides of a section: a figure alone, else as many ideas as fit."""
    slides, before = [], []  # before: the last sentence, which must stand with what follows if that is a formula
    for kind, text in blocks(section):
        if kind == "figure":
            place(slides, heading, before)
            found, before = FIGURE.match(text), []
            slides.append(Slide(heading, [found["words"], found["path"]], "figure"))
        elif kind in ("formula", "table"):
            place(slides, heading, [*before, text])
            before = []
        else:
            place(slides, heading, before)
            *first, last = pieces_of(kind, text)
            make_room(slides, heading, [*first, last], kind == "text" and bool(LEAD.match(text)))
            for piece in first:
                place(slides, heading, [piece])
            before = [last]
    place(slides, heading, before)
    return [slide for slide in slides if slide.body]


def pieces_of(kind, text):
    """The sentences of a block, those of a list item with its marks."""
    marks = (ITEM, MORE) if kind == "item" else ("", "")
    return [marks[number > 0] + piece for number, piece in enumerate(sentences(text))]


def make_room(slides, heading, pieces, new_idea):
    """Begin a slide where a block begins a new idea, or would be parted and need not."""
    needed, used = (sum(map(lines, part)) for part in (pieces, slides[-1].body if slides else []))
    if used and slides[-1].kind == "idea" and (new_idea or needed <= LINES < used + needed):
        slides.append(Slide(heading, []))


def place(slides, heading, group):
    """Put pieces that belong together on the last slide, or on a new one where that is full or shows a figure."""
    if not slides or slides[-1].kind == "figure" or sum(map(lines, slides[-1].body + group)) > LINES:
        slides.append(Slide(heading, []))
    slides[-1].body += group


def listed(heading, items):
    """A list in small letters on one slide, or in even parts on as few as hold it.

    >>> [len(slide.body) for slide in listed("Exercises", ["one short line"] * 30)]
    [10, 10, 10]
    """
    pieces = [ITEM + item for item in items]
    slides = max(1, math.ceil(sum(map(lines, pieces)) / LIST_LINES))
    share = max(1, math.ceil(len(pieces) / slides))
    return [Slide(heading, pieces[start : start + share], "list") for start in range(0, len(pieces), share)]


def questions(section):
    """The questions of a chapter, each on a slide, and again on the next one with its answer."""
    slides = []
    for part in re.split(r"(?m)^(?=\*\*[^*\n]+\*\*)", section)[1:]:
        asked, _, hidden = part.partition("<details>")
        name, _, asked = " ".join(asked.split()).removeprefix("**").partition("**")
        found = ANSWER.search("<details>" + hidden)
        asked, name = sentences(asked.strip()), name.rstrip(".。:： ")
        slides.append(Slide(name, asked, "question"))
        again = [ASKED + piece for piece in asked]
        answer = sentences(" ".join(found["answer"].split()))
        slides.append(Slide(f"{name} · {found['word']}", [*again, *answer], "answer"))
    return slides
