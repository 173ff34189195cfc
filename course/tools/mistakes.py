"""Writes course/MISTAKES.md: for each exercise the mistakes that its check is tested against, from the banks.

    python course/tools/mistakes.py
"""

import re
from pathlib import Path

from leaplm.grading.course import lab_file, list_labs
from leaplm.grading.judge.banks import load_bank

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "course" / "MISTAKES.md"
HEADING = re.compile(r"^# ### (Exercise \d+ · .+?) \(", re.M)
CHECK = re.compile(r'^# %% check="([^"]+)"', re.M)
TITLE = re.compile(r"^# # (Lab \d+ · .+)$", re.M)
HEAD = """# Common mistakes

For teachers. Each line is a plausible wrong answer that loses marks: our own tests judge it with the real check. Use them to
prepare a lesson, or to read a submission. This page is made by `python course/tools/mistakes.py` from the labs' banks.
"""


def exercises(source):
    """{title of the exercise: names of its checks}, in order."""
    marks = sorted([(m.start(), "title", m[1]) for m in HEADING.finditer(source)]
                   + [(m.start(), "check", m[1]) for m in CHECK.finditer(source)])
    found, title = {}, ""
    for _, kind, text in marks:
        if kind == "title":
            title = text
        else:
            found.setdefault(title, []).append(text)
    return found


def section(lab):
    source = lab_file(ROOT, lab, "lab.py").read_text(encoding="utf-8")
    lines, bank = [f"## {TITLE.search(source)[1]}"], load_bank(lab, ROOT)
    for title, checks in exercises(source).items():
        for check in checks:
            wrong = [answer.why for answer in bank if answer.check == check and not answer.right]
            lines.append(f"**{title}** (`{check}`)\n\n" + "\n".join(f"* {why}" for why in wrong))
    return "\n\n".join(lines)


def page():
    """The whole page as text."""
    return "\n\n".join([HEAD.strip(), *map(section, list_labs(ROOT))]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(f"{TARGET}: {page().count('* ')} mistakes")
