"""How long a lab takes a student, and plans for one day and for five: the tables of course/PLANS.md.

The time of a lab is counted from its notebook: words to read, given code to read, the minutes in the headings of its
exercises, and the measured minutes of computing. Nobody has timed a class yet; the page says so.
"""

import functools
import math
import re

import notebooks
from cards import read_card, table, title
from leaplm.grading.course import lab_file, list_labs

WORDS_A_MINUTE = 100  # of a technical text, by somebody who reads English as a second language
LINES_A_MINUTE = 20  # of given code, to see what it does
HIDDEN = (r"<details>.*?</details>", r"\$\$.*?\$\$", r"\$[^$]*\$", r"`[^`]*`|\]\([^)]*\)")  # not read, or not as words
WORD = re.compile(r"[^\W\d_]{2,}")
MINUTES = re.compile(r"^### Exercise .*?\((\d+) minutes", re.M)
STOP = "**A place to stop.**"  # begins a cell of its own
ANSWER = re.compile(r"### BEGIN SOLUTION(.*?)### END SOLUTION", re.S)

# (minutes, what is done, labs that compute meanwhile)
DAY = [
    (30, "Install from the stick, `leaplm check`, two to a computer; lab 0 section 1", ["lab0_start"]),
    (75, "**What does our language pay?** Slides of chapter 0; lab 0 sections 2–4, exercises 1 and 2; read 3 and 4", []),
    (15, "Break", []),
    (90, "**From tokens to a classifier.** Slides of chapter 2; lab 2 sections 1–5, exercises 1, 3 and 4; the others on "
         "paper, in pairs", []),
    (60, "Lunch. Before it, everybody runs lab 2 from section 6 on: the computers train meanwhile", ["lab2_finetuning"]),
    (30, "**Read a figure.** Lab 2 sections 7–9 on the screen: axis, band, baseline", []),
    (75, "**Few labels.** Slides of chapter 5; lab 5 sections 1 and 2, exercises 1 and 2; section 7's figure",
     ["lab5_fewshot"]),
    (15, "Break", []),
    (60, "**Our own question.** Lab 10 exercise 1 in groups of four: a plan on one page, read aloud to another group", []),
    (30, "Ten questions of the bank on paper, answers together; who goes on with which lab at home", []),
]
# (what, [(lab, share of it done in class)], what is left out or done at home)
WEEK = [
    ("Tokens, and a first classifier", [("lab0_start", 1), ("lab2_finetuning", 0.5)], "lab 2 from section 6 on: next day"),
    ("Fine-tune, then with less", [("lab2_finetuning", 0.5), ("lab3_lora", 0.9)],
     "lab 3 section 8 (relatives) is read, not run"),
    ("Without training", [("lab4_prompting", 0.6), ("lab5_fewshot", 0.8)],
     "lab 4 sections 6–8 and 11; lab 5 exercises 7 and 8"),
    ("Our language, our people", [("lab13_transfer", 0.6), ("lab9_responsible", 0.6)],
     "lab 13 section 6; lab 9 sections 6 and 7. In the evening each group labels 60 sentences"),
    ("A project", [("lab10_capstone", 1)], "the report is finished at home; three groups present"),
]


def minutes(root, lab):
    """{part: minutes} that a student needs for a lab: reading, code, exercises, computer."""
    return {**minutes_of(notebooks.release(root, lab).cells),
            "computer": read_card(root, lab).get("measured", {}).get("minutes", 0)}


def minutes_of(cells):
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    given = [cell.source for cell in cells if cell.cell_type == "code" and "NotImplementedError" not in cell.source]
    read = functools.reduce(lambda left, hidden: re.sub(hidden, " ", left, flags=re.S), HIDDEN, text)
    return {"reading": len(WORD.findall(read)) / WORDS_A_MINUTE,
            "code": sum(bool(line.strip()) for source in given for line in source.split("\n")) / LINES_A_MINUTE,
            "exercises": sum(map(int, MINUTES.findall(text)))}


def sittings(root, lab):
    """The minutes, without the computer's, from one place to stop to the next."""
    cells = notebooks.release(root, lab).cells
    stops = [place for place, cell in enumerate(cells) if cell.source.startswith(STOP)]
    parts = zip([0, *stops], [*stops, len(cells)], strict=True)
    return [sum(minutes_of(cells[begin:end]).values()) for begin, end in parts]


def lines_to_write(root, lab):
    """Lines of code in the answers of the solution, without comments."""
    cells = re.split(r"^# %%", lab_file(root, lab, "lab.py").read_text(encoding="utf-8"), flags=re.M)
    answers = [part for cell in cells if cell.lstrip().startswith("answer=") for part in ANSWER.findall(cell)]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for part in answers for line in part.split("\n"))


def hours(total):
    """Minutes as hours, up to the next quarter."""
    return f"{math.ceil(total / 15) / 4:g} h"


def number(root, lab):
    return title(root, lab).partition(" ")[0]


def effort(root):
    """A row for each lab: what takes how long."""
    rows = []
    for lab in list_labs(root):
        parts = minutes(root, lab)
        shown = [f"{parts[name]:.0f}" for name in ("reading", "code", "exercises")]
        rows.append([title(root, lab), *shown, str(lines_to_write(root, lab)), f"{parts['computer']:.1f}",
                     hours(sum(parts.values())), " + ".join(map(hours, sittings(root, lab)))])
    return table(["lab", "reading", "given code", "exercises", "lines to write", "computer", "in all", "sittings"], rows)


def day(root, begin=8 * 60 + 30):
    """One day, with the measured minutes of the labs that compute."""
    rows = []
    for length, what, labs in DAY:
        computed = sum(minutes(root, lab)["computer"] for lab in labs)
        rows.append([f"{begin // 60:02d}:{begin % 60:02d}", f"{length}", what, f"{computed:.1f}" if labs else ""])
        begin += length
    return table(["from", "minutes", "what", "computer, whole lab"], rows)


def week(root):
    """Five days: what the labs of a day take a student, and the computer."""
    rows = []
    for place, (what, labs, left) in enumerate(WEEK, 1):
        parts = [(share, minutes(root, lab)) for lab, share in labs]
        needed = sum(share * sum(part.values()) for share, part in parts)
        computed = sum(part["computer"] for _, part in parts)
        shown = ", ".join(f"lab {number(root, lab)}" + (f" ({share:.0%})" if share < 1 else "") for lab, share in labs)
        rows.append([str(place), what, shown, hours(needed), f"{computed:.1f}", left])
    return table(["day", "subject", "in class", "a student's time", "computer, minutes", "left out, or at home"], rows)


def old_computers(root):
    """What each lab asks of a computer."""
    rows = []
    for lab in list_labs(root):
        card = read_card(root, lab)
        seen = card.get("measured", {})
        rows.append([title(root, lab), f"{seen.get('minutes', '?')}", f"{seen.get('longest_cell_seconds', '?')} s",
                     f"{seen['peak_memory_mb'] / 1000:.2f} GB" if seen else "?", str(card.get("megabytes", "?"))])
    return table(["lab", "minutes", "longest cell", "memory", "megabytes of models and data"], rows)
