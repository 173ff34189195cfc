"""The sentences of a lab as one line of text, without what holds no claim: code, formulas, exercises, hints, sources."""

import functools
import re

import jupytext

FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$]+\$|```.*?```|`[^`]+`", re.DOTALL)
HINTS = re.compile(r"<details>.*?</details>", re.DOTALL)
DECIMAL = re.compile(r"(?<![\w.])\d*\.\d+(?![\w.]*\w)")


def lab_prose(root, lab):
    """The text of lab.py that states something: no exercise (it asks), no hint, no list of sources; marking guides too."""
    return prose_of((root / "course" / lab / "lab.py").read_text(encoding="utf-8"))


@functools.cache
def prose_of(source):
    parts = []
    for cell in jupytext.reads(source, "py:percent").cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source.split("**Sources.**")[0].split("### Exercise")[0])
    return clean("\n\n".join(parts))


def chapter_prose(root, lab):
    """The text of chapter.md before its questions: what stands in a question is an example."""
    return clean((root / "course" / lab / "chapter.md").read_text(encoding="utf-8").split("## Questions")[0])


def clean(text):
    return " ".join(FORMULA.sub(" ", HINTS.sub(" ", text)).split())
