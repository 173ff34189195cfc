"""Writes the page on which JupyterLab opens: labs/START.md, and one in each language, from course/START.md.

    python course/tools/start.py
"""

import re
import sys
from pathlib import Path

from babel import Locale
from leaplm.directions import ISOLATE_END, LEFT_TO_RIGHT, isolated
from leaplm.grading.course import LANGUAGES, list_labs
from leaplm.translation import COMMON, list_locales, load_catalogs, look_up, translate_markdown, wrapped

sys.path.insert(0, str(Path(__file__).resolve().parent))
import cards  # noqa: E402
import notebooks  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path("course") / "START.md"
HEADS = ("lab", "you build", "minutes of computing")


def texts(root):
    """The texts of the start page that do not stand in its source: for the catalogues."""
    yield from HEADS
    yield from (card["build"] for card in (cards.read_card(root, lab) for lab in list_labs(root)) if "build" in card)


def folder_of(root, locale):
    return root / "labs" / LANGUAGES / locale if locale else root / "labs"


def page(root, locale=""):
    """The start page in a language; what has no translation yet stays English."""
    catalogs = load_catalogs(root, COMMON, locale) if locale else ()

    def said(words):
        return look_up(words, catalogs) or words

    rows = []
    for lab in list_labs(root):
        path = folder_of(root, locale) / lab / f"{lab}.ipynb"
        if path.is_file():
            card = cards.read_card(root, lab)
            rows.append([f"[{title(path)}]({lab}/{lab}.ipynb)", said(card.get("build", "")),
                         str(card.get("measured", {}).get("minutes", "?"))])
    text = (root / SOURCE).read_text(encoding="utf-8")
    text = translate_markdown(text, catalogs) if locale else text
    languages = " · ".join(link(root, locale, other) for other in ("", *list_locales(root)))
    made = {"{labs}": cards.table([said(head) for head in HEADS], rows), "{languages}": languages,
            "{progress}": "../../PROGRESS.md" if locale else "PROGRESS.md"}
    return wrapped(re.sub("|".join(map(re.escape, made)), lambda found: made[found[0]], text), catalogs)


def title(path):
    """The heading of a notebook without the word Lab in whatever language: "2 · Full fine-tuning"."""
    first = notebooks.read(path).cells[0].source
    found = re.search(r"^# .*?(\d+ · .+)$", first, re.M)[1]
    return isolated(found.removesuffix(ISOLATE_END)) if found.count(ISOLATE_END) > found.count(LEFT_TO_RIGHT) else found


def link(root, here, there):
    name = Locale.parse(there or "en").get_language_name()  # in the language itself
    if here == there:
        return f"**{name}**"
    up = "../../" if here else ""
    return f"[{name}]({up}{LANGUAGES}/{there}/START.md)" if there else f"[{name}]({up}START.md)"


def write_pages(root):
    """Writes the page of each language; returns the paths."""
    paths = []
    for locale in ("", *list_locales(root)):
        paths.append(folder_of(root, locale) / "START.md")
        paths[-1].write_text(page(root, locale), encoding="utf-8")
    return paths


if __name__ == "__main__":
    for path in write_pages(ROOT):
        print(path.relative_to(ROOT))
