"""Pieces that are written from the left in a line that is written from the right: code and arithmetic."""

import functools
import re

LEFT_TO_RIGHT, FROM_THE_RIGHT, ISOLATE_END = "\u2066", "\u2067", "\u2069"  # Unicode's marks around a piece of one direction

CODE = r"(?:`[^`]*`|<code>.*?</code>)"
FORMULA = r"\$\$?[^$]+\$\$?"
# What stays as it is: the "Part 1 · " of a heading, what somebody marked already, links, placeholders, tags, entities.
KEPT = r"\A\w+ \d+ · |\u2066[^\u2069]*\u2069|\]\([^)]*\)|\{[^{}]*\}|https?://[^\s<>)]+|</?\w[^>]*>|&#?\w+;|\\."
START, LETTER = r"(?<![A-Za-z0-9_.])", r"[A-Za-z\u00c0-\u024f\u0370-\u03ff]"
WORD = rf"{START}{LETTER}(?:{LETTER}|[0-9_])*(?:-[A-Za-z0-9]+)*(?!{LETTER}|[0-9_]|-[A-Za-z0-9])"
POWER = r"(?:<sup>[^<]*</sup>|<sub>[^<]*</sub>|[\u00b2\u00b3\u00b9\u2070-\u207e]+)"
PERCENT = "(?: ?%)?"
SIGN = r"(?:(?<![A-Za-z0-9_.)\]`$])[-+−]|[±≈≤≥−] ?)"
NUMBER, POINTED = rf"{START}\d+(?:[.,]\d+)*(?:e[-+−]?\d+)?", rf"{START}\.\d+"
AMOUNT = rf"(?:{NUMBER}|{POINTED})"
BRACKETS = r"\([^():`$|\u0590-\u08ff]{1,80}\)"
LIST = r"\[(?:[-+−\d., ]|\[[-+−\d., ]{1,40}\]){1,60}\](?!\()"
VALUE = rf"(?:(?:{WORD} )?{AMOUNT}[A-Za-z]*|{LIST}|{WORD}(?:{BRACKETS})?|{BRACKETS}|{CODE}|{FORMULA})"
PART = rf"{SIGN}?√?{VALUE}{POWER}?{PERCENT}"
# A raised point stands between numbers, and in headings between a number and a name: "Lab 3 · LoRA".
OPERATOR = (r"(?: (?:[-+−±×*/=≈≠<>≤≥–→]|&lt;|&gt;) | ?[+−±×=≈≠≤≥→] ?|(?<=\d)[-–/](?=[\d.])"
            r"|(?:(?<=[\d)>])|(?<=\d[A-Za-z])) ?· ?(?=[-−+√.\d(]))")  # fmt: skip
SHAPE = r"\(\d+,(?: ?\d+,?)*\)"  # of an array: (4, 128), (4,)
ALONE = rf"(?:{SHAPE}|{SIGN}{AMOUNT}{POWER}?|{POINTED}{POWER}?|{NUMBER}{POWER}|{LIST}){PERCENT}"
SUM = rf"(?:− ?)?(?:{WORD} ){{0,4}}(?:{PART}(?:{OPERATOR}{PART})+|{ALONE})(?: {WORD}){{0,4}}"
PIECE = rf"(?P<sum>{SUM})|(?P<code>{CODE})|{KEPT}|{FORMULA}"


def isolated(text):
    """A piece that keeps its order from left to right in a line of any direction.

    >>> isolated("x[-1]")
    '\\u2066x[-1]\\u2069'
    """
    return f"{LEFT_TO_RIGHT}{text}{ISOLATE_END}"


def with_isolates(line):
    """A line from the right with each piece of code or arithmetic isolated.

    Arithmetic has an operator between two parts, or a number with a sign, a leading point or a power, or is the shape of an
    array; words in Latin letters beside it are part of it. Formulas alone, links and tags stay as they are.

    >>> with_isolates("ا -0.8 ب 3–5 % ج 0.7").replace(LEFT_TO_RIGHT, "<").replace(ISOLATE_END, ">")
    'ا <-0.8> ب <3–5 %> ج 0.7'
    """
    return _piece().sub(_isolate, line)


@functools.cache
def _piece():
    """Compiled at its first use, since that takes as long as importing the rest, and most languages are from the left."""
    return re.compile(PIECE, re.S)


def without_isolates(text):
    """A text without what `with_isolates` put around its pieces.

    >>> without_isolates(with_isolates("`x` = 3"))
    '`x` = 3'
    """
    return re.sub(f"{LEFT_TO_RIGHT}|{ISOLATE_END}", "", text)


def _isolate(found):
    if found["code"]:
        return isolated(found["code"])
    if not found["sum"]:
        return found[0]
    inside = re.sub(CODE, lambda code: isolated(code[0]), found[0], flags=re.S)
    return isolated(inside) if re.search(r"\d", found[0]) else inside
