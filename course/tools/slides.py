"""Slides for each lab, from its chapter, figure, record and exercises, in every language of the course.

    python course/tools/slides.py                            all labs and languages -> build/docs/slides/
    python course/tools/slides.py lab2_finetuning            one lab
    python course/tools/slides.py --locale fr --locale en    these languages

Each deck is one HTML file: it opens in any browser without a network, turns by keys or a click, and prints one slide a page
(to PDF, too). Nothing is written for slides alone but a lab's key table, `table` in card.json. To change a slide, change the
chapter; for slides of your own, copy sentences and figure from it: its text is CC BY 4.0.
"""

import argparse
import re
import sys
from pathlib import Path

from leaplm import drawings
from leaplm.data import NAMES
from leaplm.grading.course import lab_file, list_labs
from leaplm.locales import in_order, language_name
from leaplm.translation import COMMON, list_locales, load_catalogs, look_up, translate_markdown

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE / "deck"):
    sys.path.insert(0, str(folder))
import cards  # noqa: E402
import cut  # noqa: E402
import measured  # noqa: E402
import notebooks  # noqa: E402
import render  # noqa: E402
from words import EXERCISES, FOUND, SPREAD  # noqa: E402

ROOT = HERE.parents[1]
OUT = ROOT / "build" / "docs" / "slides"
EXERCISE = re.compile(r"^### (Exercise \d+ · .+)$", re.M)
SKIPPED, ASKED = "Reading", "Questions"  # sections of a chapter


class Words:
    """The course's words in a language; English where there is no translation."""

    def __init__(self, root, lab, locale):
        self.locale, self.catalogs = locale, load_catalogs(root, lab, locale) if locale else ()
        self.common = load_catalogs(root, COMMON, locale) if locale else ()

    def __call__(self, words):
        return look_up(words, (*self.catalogs, *self.common)) or words

    def chapter(self, text):
        return translate_markdown(text, self.catalogs) if self.locale else text

    def language(self, code):
        """The name of a language: ("hau") is Hausa, haoussa, Kihausa, ..."""
        return language_name(code, self.locale, NAMES.get(code, code))


def slides(root, lab, locale=""):
    """The slides of a lab in a language ("" for English)."""
    words, card = Words(root, lab, locale), cards.read_card(root, lab)
    chapter = lab_file(root, lab, "chapter.md").read_text(encoding="utf-8")
    english, told = cut.sections(chapter), cut.sections(words.chapter(chapter))
    made = [cut.Slide(told[0][0], [words(card.get("build", ""))], "title")]
    for (name, _), (heading, text) in zip(english, told, strict=True):
        if name == ASKED:
            made += [*key_table(lab, card.get("table"), words), *cut.questions(text)]
        elif name != SKIPPED:
            made += cut.ideas(heading, text)
    return [*made, *exercises(root, lab, words)]


def key_table(lab, spec, words):
    """The slide with the table that card.json describes, or none.

    spec: from (an expression on the lab's record), by (what makes a row), head (of these), values {column: its head},
    perhaps columns (what makes a column of the one value), places {column: decimals, else 2}, sorted, title.
    """
    if not spec:
        return []
    mean, sd, count = measured.statistics(lab, spec)
    across = spec.get("columns")
    heads = [words(spec["head"])] + [name(head, across, words) if across else words(spec["values"][head]) for head in mean]
    cells = [[name(row, spec["by"], words), *numbers(spec, mean.loc[row], sd.loc[row])] for row in mean.index]
    rule = "|" + "---|" * len(heads)
    table = cards.table(heads, cells).replace(rule, "|---|" + "---:|" * len(mean.columns), 1)
    note = in_order(words(SPREAD).replace("{runs}", spread_of(count)), words.locale)
    return [cut.Slide(words(FOUND), [f"**{words(spec['title'])}**", table, note], "table")]


def numbers(spec, mean, sd):
    """The cells of a row."""
    places = {column: spec.get("places", {}).get(column, 2) for column in spec["values"]}
    only = next(iter(places.values()))
    return [number(mean[column], sd[column], places.get(column, only)) for column in mean.index]


def name(value, kind, words):
    """What a slide calls a value of a record: languages by their name."""
    return words.language(value) if kind == measured.LANGUAGE else words(str(value))


def number(mean, sd, places):
    """A cell: "0.83 ± 0.01"; without spread where there is none, a dash where nothing was run.

    >>> number(0.834, 0.012, 2), number(5.5, float("nan"), 1), number(float("nan"), 0, 1)
    ('0.83 ± 0.01', '5.5', '–')
    """
    if mean != mean:
        return "–"
    return f"{mean:,.{places}f}" + (f" ± {sd:.{places}f}" if sd > 0 else "")


def spread_of(count):
    """How many runs stand behind the cells: "5", or "3–5"."""
    runs = sorted({int(n) for n in count.to_numpy().ravel() if n > 0})
    return f"{runs[0]}–{runs[-1]}" if len(runs) > 1 else f"{runs[0]}"


def exercises(root, lab, words):
    """The closing slides: the headings of the exercises, with minutes and points."""
    cells = notebooks.release(root, lab).cells
    found = [words(heading) for cell in cells if cell.cell_type == "markdown" for heading in EXERCISE.findall(cell.source)]
    return cut.listed(words(EXERCISES), found)


def write(root, lab, locale, out=OUT):
    """Write the deck of a lab in a language; returns its path."""
    path = out / (locale or "en") / f"{lab}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    page = render.deck(slides(root, lab, locale), drawing(root, lab, locale), locale)
    path.write_text(page, encoding="utf-8")
    return path


def drawing(root, lab, locale=""):
    """The figure of a lab's chapter in a language, as SVG; "" for a lab without one."""
    path = lab_file(root, lab, "figure.svg")
    drawn = path.read_text(encoding="utf-8") if path.is_file() else ""
    return drawings.translate(drawn, Words(root, lab, locale).catalogs)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Slides from the chapters.")
    parser.add_argument("labs", nargs="*", help="default: all")
    parser.add_argument("--locale", action="append", help="en, fr, ...; may be repeated; default: all")
    parser.add_argument("--out", type=Path, default=OUT, help="where the folders of the languages go")
    options = parser.parse_args(argv)
    for locale in options.locale or ["en", *list_locales(ROOT)]:
        for lab in options.labs or list_labs(ROOT):
            path = write(ROOT, lab, "" if locale == "en" else locale, options.out)
            print(f"{path}: {path.stat().st_size // 1000} kB", flush=True)


if __name__ == "__main__":
    main()
