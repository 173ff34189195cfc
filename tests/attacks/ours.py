"""What one row came to with our grader."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mini import LAB

from attacks.classroom import EVERY, Class, neighbour_id
from attacks.outcome import (
    KEPT_MB,
    Outcome,
    output_texts,
    read_outside,
    secrets_in,
    shown_in_log,
    shown_in_page,
    shown_in_table,
)
from attacks.rows import Row
from attacks.traps import MARK


def look(group: Class, alone: Class, row: Row, heard: list[str]) -> Outcome:
    """`alone`: the same neighbours in a class without any attack. `heard`: what came to the listeners."""
    student = group.students[row.id]
    record = group.records.get(student)
    mark = max(record["points"], group.marks.get(student, 0)) if record else None
    found = Outcome(mark, neighbours=neighbours_of(group, alone, row))
    found.stolen, found.reached = read_outside(Path(group.traps.outside), row.id)
    found.reached += [text for text in heard if text.startswith(f"{row.id} ")]
    found.left = [thing for thing in group.left if re.search(rf"{MARK}-{row.id}\b", thing)]
    look_at_verdict(group.verdicts(student), found)
    look_at_published(group, row, found)
    return found


def neighbours_of(group: Class, alone: Class, row: Row) -> str:
    """Which of the two honest students around a row has other verdicts than without the attacks."""
    place = list(group.students).index(row.id)
    around = (neighbour_id(place), neighbour_id(place + EVERY))
    differ = [student for student in around if not same_verdict(group, alone, student)]
    return f"verdicts of {', '.join(differ)} differ" if differ else ""


def same_verdict(group: Class, alone: Class, student: str) -> bool:
    return bool(alone.verdicts(student)) and group.verdicts(student) == alone.verdicts(student)


def look_at_verdict(files: dict[str, bytes], found: Outcome) -> None:
    """Secrets, control characters and floods in a student's records and in the notebooks as they ran."""
    for name, data in files.items():
        content = json.loads(data)
        texts = output_texts(content) if name.endswith(".ipynb") else [json.dumps(content, ensure_ascii=False)]
        found.stolen += secrets_in(texts)
        found.shown += [seen for text in texts for seen in shown_in_log(text.encode().decode("unicode_escape"))]
        if len(data) > KEPT_MB * 1e6:
            found.shown.append(f"{len(data) / 1e6:.0f} MB of {name[-5:]}")


def look_at_published(group: Class, row: Row, found: Outcome) -> None:
    mine = secrets_in(submitted_texts(group, row))
    for page in (group.work / "feedback" / group.students[row.id] / LAB).glob("*.html"):
        text = page.read_text(errors="replace")
        found.shown += shown_in_page(text)
        found.stolen += [secret for secret in secrets_in([text]) if secret not in mine]
    if row.shows == "export":
        found.shown += shown_in_table((group.course / "grades.csv").read_text())
    if row.shows == "log":
        found.shown += shown_in_log(group.log)


def submitted_texts(group: Class, row: Row) -> list[str]:
    """What the student handed in: secrets in it are the student's own."""
    folder = group.work / "submitted" / group.students[row.id] / LAB
    return [path.read_text(errors="replace") for path in folder.glob("*.ipynb") if path.is_file() and not path.is_symlink()]
