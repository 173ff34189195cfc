"""Writes the tables that list the labs, from the labs' folders: README.md, course/README.md, course/TEACHING.md,
course/PLANS.md.

    python course/tools/tables.py

Each table stands between <!-- NAME:begin --> and <!-- NAME:end -->. What it says comes from the lab's title, its card.json,
and the points of its notebook; `measure.py` puts what was measured into the cards.
"""

import sys
from pathlib import Path

from leaplm.grading.course import list_labs

sys.path.insert(0, str(Path(__file__).resolve().parent))
import notebooks  # noqa: E402
import plans  # noqa: E402
from cards import read_card, table, title  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "leaplm/leaplm"
COLAB = "https://colab.research.google.com/assets/colab-badge.svg"
BINDER = "https://mybinder.org/badge_logo.svg"


def badges(lab):
    notebook = f"labs/{lab}/{lab}.ipynb"
    return (f"[![Open in Colab]({COLAB})](https://colab.research.google.com/github/{REPOSITORY}/blob/main/{notebook}) "
            f"[![Open in Binder]({BINDER})](https://mybinder.org/v2/gh/{REPOSITORY}/main?urlpath=lab/tree/{notebook})")


def costs(root):
    """README.md: what each lab builds and costs, and where it opens."""
    rows = []
    for lab in list_labs(root):
        card = read_card(root, lab)
        seen = card.get("measured")
        measured = [f"{seen['minutes']}", f"{seen['longest_cell_seconds']} s",
                    f"{seen['peak_memory_mb'] / 1000:.2f} GB"] if seen else ["?", "?", "?"]
        rows.append([f"[{title(root, lab)}](labs/{lab}/{lab}.ipynb)", card.get("build", ""), *measured,
                     str(card.get("megabytes", "?")), badges(lab)])
    return table(["lab", "you build", "minutes", "longest cell", "memory", "megabytes", "open in"], rows)


def syllabus(root):
    """course/README.md: the question, ideas and work of each lab."""
    names = ("question", "ideas", "work", "hours")
    rows = [[f"[{title(root, lab)}]({lab}/lab.py)", *(read_card(root, lab).get(name, "") for name in names)]
            for lab in list_labs(root)]
    return table(["lab", "question", "ideas", "graded work", "time"], rows)


def points(root, lab):
    """(points that the computer gives, points that a person gives) of a lab's notebook."""
    cells = notebooks.solution(root, lab).cells
    graded = [cell.metadata.nbgrader for cell in cells if cell.metadata.get("nbgrader", {}).get("grade")]
    by_hand = sum(meta.points for meta in graded if meta.solution)
    return sum(meta.points for meta in graded) - by_hand, by_hand


def marks(root):
    """course/TEACHING.md: who marks what, labs with equal numbers in one row."""
    groups = {}
    for lab in list_labs(root):
        computer, person = points(root, lab)
        key = (f"{computer:g} of {computer + person:g}", f"{person:g} of {computer + person:g}",
               str(read_card(root, lab).get("minutes_to_read", 3 if person else 0)))
        groups.setdefault(key, []).append(title(root, lab).partition(" ")[0])
    return table(["lab", "by the computer", "read by you", "minutes to read one"],
                 [[", ".join(labs), *key] for key, labs in groups.items()])


def on_binder(root):
    """course/TEACHING.md: what each lab takes with one core and 2 GB, and how long a learner waits for a mark."""
    rows = []
    for lab in list_labs(root):
        seen = read_card(root, lab).get("on_binder")
        waits = seen["mark_seconds"] if seen else {}
        memory = f"{seen['peak_memory_mb'] / 1000:.2f} GB" if seen and seen["peak_memory_mb"] else "?"
        names = ("median", "longest", "of_a_file")
        seconds = [f"{waits[name]:.1f} s" if waits.get(name) is not None else "–" for name in names]
        rows.append([title(root, lab), f"{seen['minutes']}" if seen else "?", memory, *seconds])
    return table(["lab", "minutes", "memory, with JupyterLab", "a mark: median", "longest", "a saved model's"], rows)


TABLES = {"README.md": {"budget": costs}, "course/README.md": {"syllabus": syllabus},
          "course/TEACHING.md": {"marks": marks, "binder": on_binder},
          "course/PLANS.md": {"effort": plans.effort, "day": plans.day, "week": plans.week, "old": plans.old_computers}}


def filled(root, page):
    """The text of a page with its tables made anew. ValueError if a table's place is missing."""
    text = (root / page).read_text(encoding="utf-8")
    for name, make in TABLES[page].items():
        before, begin, rest = text.partition(f"<!-- {name}:begin -->\n")
        _, end, after = rest.partition(f"<!-- {name}:end -->")
        if not (begin and end):
            raise ValueError(f"{page} has no <!-- {name}:begin --> ... <!-- {name}:end -->")
        text = f"{before}{begin}{make(root)}\n{end}{after}"
    return text


def write_tables(root):
    for page in TABLES:
        (root / page).write_text(filled(root, page), encoding="utf-8")


if __name__ == "__main__":
    write_tables(ROOT)
