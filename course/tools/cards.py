"""What a lab's folder says of it: its card.json, its title; and tables in Markdown."""

import json
import re

from leaplm.grading.course import lab_file

TITLE = re.compile(r"^# # Lab (\d+ · .+)$", re.M)


def read_card(root, lab):
    """What card.json says of a lab; an empty one where there is none yet."""
    path = lab_file(root, lab, "card.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_card(root, lab, card):
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    lab_file(root, lab, "card.json").write_text(text, encoding="utf-8")


def title(root, lab):
    """The lab's number and name: "7 · Continual learning", without what stands behind a colon."""
    return TITLE.search(lab_file(root, lab, "lab.py").read_text(encoding="utf-8"))[1].partition(":")[0]


def table(heads, rows):
    lines = [f"| {' | '.join(cells)} |" for cells in [heads, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])
