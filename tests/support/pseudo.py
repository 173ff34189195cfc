"""Languages that nobody speaks, made from the English by rule: what they break, a real one would break later.

One has letters with marks and is 40 % longer, the other is written from the right. Code, formulas, links, tags and
placeholders stay, as in any translation. They bear the names of languages that the course does not have, and that Sphinx
has no words of.
"""

import re
import shutil
from pathlib import Path

from babel.messages.pofile import read_po
from leaplm.grading.course import list_labs, load_module
from leaplm.translation import COMMON, catalog_path
from repo import ROOT

translate = load_module(ROOT / "course" / "tools" / "translate.py")
MARKED, FROM_THE_RIGHT = "yo", "ps"
LONGER, LONG = 0.4, 9  # by what share; letters of a word of the filling
KEPT = re.compile(rf"({translate.MARKUP.pattern}|&\w+;)", re.DOTALL)
KEPT_IN_CODE = re.compile(rf"({KEPT.pattern[1:-1]}|{translate.NAMES.pattern})", re.DOTALL)
LETTERS = {
    MARKED: str.maketrans("aeiounAEIOUNcsz", "ạẹịọụṅẠẸỊỌỤṄćṣẓ"),
    FROM_THE_RIGHT: str.maketrans("abcdefghijklmnopqrstuvwxyz" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                                  "ابچدەفگهيژکلمنوپقرستوۍؤښېز" * 2),
}  # fmt: skip
FILLING = {MARKED: "ǹ", FROM_THE_RIGHT: "ـ"}


def pseudo(text, locale, in_code=False):
    """A text in the pseudo-language.

    >>> pseudo("one `code`", MARKED)
    'ọṅẹ ǹ `code`'
    """
    parts = (KEPT_IN_CODE if in_code else KEPT).split(text)  # what is kept stands at the odd places
    parts[::2] = [longer(part.translate(LETTERS[locale]), locale) for part in parts[::2]]
    return "".join(parts)


def longer(words, locale):
    """Some words and their filling, before the signs and blanks at their end."""
    bare = words.rstrip(" .:;,!?*|()[]")
    letters = FILLING[locale] * int(LONGER * len(bare))
    filling = [letters[start : start + LONG] for start in range(0, len(letters), LONG)]
    return " ".join([bare, *filling]) + words[len(bare) :]


def course_of(folder, labs):
    """A course of some of our labs, in both pseudo-languages and no other."""
    for lab in labs:
        for part, without in (("course", ("locale", "__pycache__")), ("labs", ("artifacts", "runs"))):
            shutil.copytree(ROOT / part / lab, folder / part / lab, ignore=shutil.ignore_patterns(*without))
    for locale in (MARKED, FROM_THE_RIGHT):
        translate_all(folder, locale)
    return folder


def translate_all(root, locale):
    """The catalogues of a course in the pseudo-language, and its labs."""
    translate.update(root, locale)
    for path in (catalog_path(root, name, locale) for name in (*list_labs(root), COMMON)):
        with Path(path).open("rb") as file:
            catalog = read_po(file, locale=locale)
        for message in catalog:
            if message.id:
                in_code = all(place.endswith(translate.IN_CODE) for place, _ in message.locations)
                message.string = pseudo(message.id, locale, in_code)
        catalog.header_comment = translate.HEADER
        translate.save(catalog, path)
    return translate.build(root, locale)
