"""Receipts: what we know of a submission that its files must not say themselves.

Who handed it in, when, from which file, what was left out, and why it was refused. A student can put any file into an
upload, so receipts lie outside: .nbgrader-work/receipts/<lab>/<student>.json. They count only for the very files they
were written for.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from nbformat import NotebookNode

from leaplm.grading.assignment import Assignment
from leaplm.grading.course import translated_releases
from leaplm.grading.intake.ingest import read_submission, safe_id
from leaplm.grading.intake.uploads import open_regular
from leaplm.grading.submission import Submission
from leaplm.grading.texts import writable
from leaplm.whole_file import write_whole

WORK = ".nbgrader-work"


@dataclass(frozen=True)
class Receipt:
    lab: str
    student: str
    digest: str  # of the files as they were written to submitted/
    received: str | None
    entries: list[str] = field(default_factory=list)  # in the source they came from
    person: dict[str, str] = field(default_factory=dict)  # name, platform, number
    notes: list[str] = field(default_factory=list)
    refused: str | None = None


def submitted_folder(course: Path, lab: str, student: str) -> Path:
    """Where nbgrader looks for a submission."""
    return course / WORK / "submitted" / student / lab


def read_collected(
    course: Path, lab: str, student: str, release: NotebookNode | None = None, assignment: Assignment | None = None,
    folder: Path | None = None,
) -> Submission:  # fmt: skip
    """The submission in nbgrader's folder, with what its receipt says about it. FileNotFoundError if there is none.

    `folder`: where it lies, if the course keeps submissions elsewhere. Of an `assignment` that is none of our labs the
    time of receipt is that in timestamp.txt, as for nbgrader, or unknown.

    >>> read_collected(find_course(), "lab2_finetuning", "aisha").received  # doctest: +SKIP
    '2026-03-01T09:12:44+00:00'
    """
    folder = folder or submitted_folder(course, lab, student)
    found = read_submission(folder, lab, student, release=release, assignment=assignment,
                            others=translated_releases(course, lab) if release else ())  # fmt: skip
    if assignment and assignment.plain:
        return replace(found, received=stamped(folder))
    receipt = read_receipt(course, lab, student)
    if receipt is None or receipt.digest != found.digest:  # put there by hand, or changed since
        return found
    found = replace(found, received=receipt.received, notes=tuple(receipt.notes), refused=receipt.refused)
    return replace(found, notebook=None, files={}) if receipt.refused else found


def stamped(folder: Path) -> str | None:
    """The time in a folder's timestamp.txt, as ISO 8601 in UTC; None without one that can be read."""
    from nbgrader.utils import parse_utc  # with all of nbgrader, which `leaplm collect` does not need

    try:
        with open_regular(folder / "timestamp.txt") as file:
            text = file.read(200).decode().strip()
        return parse_utc(text).replace(tzinfo=UTC).isoformat() if text else None
    except (OSError, ValueError, OverflowError, TypeError, AttributeError):
        return None


def read_receipt(course: Path, lab: str, student: str) -> Receipt | None:
    """The receipt of a submission, None if there is none that can be read."""
    return _read(receipt_path(course, lab, student))


def all_receipts(course: Path) -> list[Receipt]:
    """The receipts of all labs."""
    return [found for path in sorted((course / WORK / "receipts").glob("*/*.json")) if (found := _read(path))]


def _read(path: Path) -> Receipt | None:
    try:
        return Receipt(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def nbgrader_time(received: str) -> str:
    """A time of receipt as nbgrader writes it into timestamp.txt.

    >>> nbgrader_time("2026-03-01T12:00:00+01:00")
    '2026-03-01 11:00:00.000000 UTC'
    """
    return datetime.fromisoformat(received).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def write_receipt(course: Path, receipt: Receipt) -> None:
    data = json.dumps(writable(asdict(receipt)), indent=1, ensure_ascii=False)
    write_whole(receipt_path(course, receipt.lab, receipt.student), data)


def receipt_path(course: Path, lab: str, student: str) -> Path:
    return course / WORK / "receipts" / safe_id(lab) / f"{safe_id(student)}.json"
