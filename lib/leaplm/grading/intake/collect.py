"""Collects what a class handed in, from a folder, a zip or a learning platform's export, into nbgrader's folders.

    leaplm collect lab2_finetuning ~/Downloads/export.zip --students students.csv

Each student gets .nbgrader-work/submitted/<student>/<lab>/ with the notebook under the lab's name, the files, and our
own timestamp.txt. Nothing is run, and nothing is lost: a newer submission replaces an older one, which moves to
.nbgrader-work/superseded/; what cannot be used is refused by name, gets a receipt that says why, and an empty notebook
in its place, so that the student still gets a verdict. Collecting the same export again changes nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import psutil
from nbformat import NotebookNode

from leaplm.grading.course import translated_releases
from leaplm.grading.intake.clean_notebook import clean_notebook
from leaplm.grading.intake.ingest import read_submission
from leaplm.grading.intake.layouts import Incoming, Sorted, sort_out
from leaplm.grading.intake.people import Person
from leaplm.grading.intake.receipts import (
    WORK,
    Receipt,
    all_receipts,
    nbgrader_time,
    read_receipt,
    submitted_folder,
    write_receipt,
)
from leaplm.grading.intake.roster import Earlier, Roster
from leaplm.grading.intake.student_list import FIT_LIST, read_roster, write_list
from leaplm.grading.intake.uploads import CLASS, Entry, Refused, Upload, show
from leaplm.grading.submission import Submission
from leaplm.whole_file import write_whole

EMPTY = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'  # stands for a refused notebook
WITHOUT_TIMES = {"moodle", "canvas"}


class CollectError(ValueError):
    """The instructor's part of a collection is not as it must be: what to mend."""


@dataclass
class Row:
    """One line of the table at the end."""

    student: str
    state: str  # new, resubmitted, unchanged, time changed, refused, set aside
    entries: list[str]
    notes: list[str] = field(default_factory=list)


@dataclass
class Summary:
    """What became of every entry of the source."""

    rows: list[Row]
    nobodys: list[str]
    aside: list[str]
    missing: list[str]  # students of the list of whom nothing came
    notes: list[str]  # on the source as a whole

    @property
    def entries(self) -> int:
        return len(self.theirs) + len(self.nobodys) + len(self.aside)

    @property
    def theirs(self) -> set[str]:
        """The entries that are students'; those of a group are of all its members."""
        return {entry for row in self.rows for entry in row.entries}


def collect(course: Path, lab: str, source: Path, students: Path | None = None, received: str | None = None) -> Summary:
    """Collects a class; see the module's text. CollectError when source, lab or list are not there or not usable.

    `received` (ISO 8601, the time of this place where it names no zone) counts for all, and corrects what was noted when
    the same was collected before; without it the times of the files in the source do.
    """
    release = read_release(course, lab)
    clear_leftovers(course / WORK)
    received = read_time(received) if received else None
    said: list[str] = []
    roster = read_list(course, students, said) if students else Roster()
    with opened(source, course / WORK, roster) as (folder, notes):
        found = sort_out(folder, lab, roster)
        ids = roster.ids(distinct(upload.person for upload in found.uploads), earlier_ids(course, lab))
        rows = []
        for student, uploads in by_student(found, ids).items():
            rows += collect_student(course, lab, student, uploads, ids, received, release)
    came = {row.student for row in rows}
    missing = [student.id for student in roster.students if student.id not in came]
    notes = said + notes
    if not received and any(person.platform in WITHOUT_TIMES for person in ids):
        notes.append("Exports of Moodle and Canvas hold no times of handing in: the time of the download was noted.")
    summary = Summary(rows, found.nobodys, found.aside, missing, notes)
    if summary.entries != found.entries:
        raise RuntimeError(f"{found.entries} entries came in, but {summary.entries} are accounted for; please report this")
    return summary


def read_time(text: str) -> str:
    """A time as ISO 8601 in UTC. CollectError for what is none."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        example = datetime.now().astimezone().isoformat(timespec="minutes")
        raise CollectError(f"--received {text}: this is no time; write it like {example} ({error})") from None


def read_list(course: Path, path: Path, notes: list[str]) -> Roster:
    """The roster of a students' list; where ids had to change, a list for `nbgrader db student import` is written."""
    roster = Roster(read_roster(path, notes))
    fit, changed = course / FIT_LIST, any(student.written for student in roster.students)
    if changed or fit.exists():
        write_list(fit, roster.students)
    if changed:
        notes.append(f"The list with these ids is in {fit.relative_to(course)}: give that to `nbgrader db student import`.")
    return roster


def earlier_ids(course: Path, lab: str) -> list[Earlier]:
    """To whom the runs before this one gave which id."""
    receipts = [found for found in all_receipts(course) if found.person]
    return [Earlier(found.student, Person(**found.person), found.lab == lab) for found in receipts]


def collect_student(
    course: Path, lab: str, student: str, uploads: list[Incoming], ids: dict, received: str | None, release: NotebookNode
) -> list[Row]:
    """Reads a student's uploads and writes the newest; the others are kept beside, and said.

    The newest comes first, so that the others never stand in its place: not for a moment, and not in a second run.
    """
    uploads.sort(key=lambda upload: (upload.received, upload.entries), reverse=True)
    rows = []
    for upload in uploads:
        submission = read_submission(upload.source, lab, student, received or upload.received, release,
                                     others=translated_releases(course, lab))  # fmt: skip
        said = [note for note in (ids[upload.person][1], *upload.notes, *submission.notes) if note]
        if len(uploads) > 1:
            said.append(
                f"There are {len(uploads)} uploads of this student; the newest counts, `{show(uploads[0].entries[0])}`."
            )
        older = upload is not uploads[0]
        rows.append(write(course, submission, upload, said, certain=received is not None, older=older))
    return rows


def write(
    course: Path, submission: Submission, upload: Incoming, notes: list[str], certain: bool = False, older: bool = False
) -> Row:
    """Puts a submission into nbgrader's folder, unless it is there already or a newer one is.

    `certain`: the teacher has said when it was handed in; else the time that was noted for the same work first stays.
    `older`: a newer one of this student came along with it, also where both have one time.
    """
    lab, student = submission.lab, submission.student
    target = submitted_folder(course, lab, student)
    with fresh_folder(course) as folder:
        fill(folder, submission)
        digest = read_submission(folder, lab, student).digest
        old = read_submission(target, lab, student).digest if os.path.lexists(target) else None
        known = read_receipt(course, lab, student)
        known = known if known and known.digest == old else None
        state = "resubmitted" if old else "new"
        if old == digest and (known.refused if known else None) == submission.refused:
            state = "time changed" if known and certain and known.received != submission.received else "unchanged"
            submission = replace(submission, received=known.received) if known and not certain else submission
            write_time(target, submission.received)
        elif older or (known and known.received and submission.received < known.received):
            notes = [*notes, f"A newer one is there; this one is in {keep_once(course, folder, lab, student, digest)}."]
            return Row(student, "set aside", upload.entries, notes)
        else:
            if old:
                notes = [*notes, f"The one before it was put into {keep(course, target, lab, student)}."]
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(folder, target)
    person, entries = upload.person.as_json(), upload.entries
    write_receipt(course, Receipt(lab, student, digest, submission.received, entries, person, notes, submission.refused))
    if state == "time changed":
        notes = [*notes, f"Noted as handed in at {submission.received}, not {known.received}."]
    if submission.refused:
        state, notes = "refused", [*notes, f"Refused: {submission.refused}"]
    return Row(student, state, entries, notes)


def fill(folder: Path, submission: Submission) -> None:
    """Writes a submission's files: the notebook under the lab's name, and the time of receipt as nbgrader writes it."""
    notebook = submission.notebook or clean_notebook(EMPTY)[0]
    files = {f"{submission.lab}.ipynb": notebook, **submission.files}
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    write_time(folder, submission.received)


def write_time(folder: Path, received: str) -> None:
    """Writes the time of receipt as nbgrader does, if it is another than is there."""
    path, text = folder / "timestamp.txt", nbgrader_time(received)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_whole(path, text)  # nbgrader makes what it collects read-only: a new file, in its place


def keep(course: Path, folder: Path, lab: str, student: str) -> str:
    """Moves a folder out of the way under a number of its own; returns where it is, from the course's folder."""
    place = course / WORK / "superseded" / student / lab
    place.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(name) for name in os.listdir(place) if name.isdecimal()), default=0)
    os.rename(folder, place / f"{number:03}")
    return str((place / f"{number:03}").relative_to(course))


def keep_once(course: Path, folder: Path, lab: str, student: str, digest: str) -> str:
    """The same, but work that was kept already stays where it is, however often the export that holds it is collected."""
    for kept in sorted((course / WORK / "superseded" / student / lab).glob("[0-9]*")):
        if read_submission(kept, lab, student).digest == digest:
            return str(kept.relative_to(course))
    return keep(course, folder, lab, student)


@contextmanager
def fresh_folder(course: Path) -> Iterator[Path]:
    """An empty folder on the disk of the submissions; gone at the end unless it was moved."""
    (course / WORK).mkdir(exist_ok=True)
    outer = Path(tempfile.mkdtemp(prefix=f"collect-{os.getpid()}-", dir=course / WORK))
    (outer / "submission").mkdir()
    try:
        yield outer / "submission"
    finally:
        shutil.rmtree(outer, ignore_errors=True)


@contextmanager
def opened(source: Path, work: Path, roster: Roster) -> Iterator[tuple[Path, list[str]]]:
    """The source as a folder, and notes; a zip of a class is unpacked, but not the zips in it, and removed at the end."""
    if source.is_dir():
        yield source, []
        return
    if not source.is_file():
        raise CollectError(f"{source} does not exist")
    work.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"collect-{os.getpid()}-", dir=work) as folder:
        try:
            notes = unpack(source, Path(folder), roster)
        except Refused as refusal:
            raise CollectError(f"{source}: {refusal}") from None
        yield Path(folder), notes


def unpack(archive: Path, folder: Path, roster: Roster) -> list[str]:
    """Unpacks a class's zip: regular files by safe names, with fixed rights and the times the archive has for them.

    Returns what could not be unpacked, in words; an empty file stands for it, so that its student is still accounted for.
    """
    newest: dict[Path, float] = defaultdict(float)
    with Upload(archive, CLASS, known=roster.mentions) as upload:
        if [entry.name for entry in upload.entries] == [archive.name]:
            raise CollectError(f"{archive} is no zip and no folder")
        for entry in upload.entries:
            path, time = folder / entry.name, entry.modified or os.stat(archive).st_mtime
            try:
                unpack_entry(upload, entry, path)
            except (Refused, OSError) as error:
                upload.note(f"`{show(entry.name)}` could not be unpacked ({error}).")
                continue
            for place in (path, *path.parents[: len(path.relative_to(folder).parts)]):
                newest[place] = max(newest[place], time)
        for path, time in newest.items():
            os.utime(path, (time, time))
        return upload.notes


def unpack_entry(upload: Upload, entry: Entry, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "xb") as file:
        try:
            upload.copy(entry, file)
        except Refused:
            file.truncate(0)
            raise


def clear_leftovers(work: Path) -> None:
    """Removes what a collection left behind that was killed, by the number of its process."""
    for folder in work.glob("collect-*-*"):
        number = folder.name.split("-")[1]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def by_student(found: Sorted, ids: dict[Person, tuple[str, str]]) -> dict[str, list[Incoming]]:
    uploads = defaultdict(list)
    for upload in found.uploads:
        uploads[ids[upload.person][0]].append(upload)
    return dict(sorted(uploads.items()))


def distinct(people: Iterator[Person]) -> list[Person]:
    return list(dict.fromkeys(people))


def read_release(course: Path, lab: str) -> NotebookNode:
    path = course / "labs" / lab / f"{lab}.ipynb"
    if not path.is_file():
        known = sorted(item.name for item in (course / "labs").glob("lab*"))
        raise CollectError(f"there is no lab `{lab}`; there are: {', '.join(known) or 'none'}")
    return nbformat.read(path, as_version=4)


def table(summary: Summary) -> str:
    """The summary for the instructor, with every entry of the source by name."""
    lines = []
    width = max([len(show(row.student)) for row in summary.rows] or [7])
    for row in summary.rows:
        files = ", ".join(show(entry) for entry in row.entries[:3]) + (" …" if len(row.entries) > 3 else "")
        lines.append(f"{show(row.student):{width}}  {row.state:11}  {files}")
        lines += [f"{'':{width}}  {'':11}  - {show(note, 400)}" for note in row.notes]
    for names, words in (
        (summary.nobodys, "nobody's: the name does not say whose it is. Put each into a folder named by the student"),
        (summary.aside, "left aside: no submissions"),
        (summary.missing, "nothing came from"),
    ):
        if names:
            lines.append(f"{words}: {', '.join(show(name) for name in names)}")
    return "\n".join([*lines, *summary.notes, counted(summary)])


def counted(summary: Summary) -> str:
    """The account: entries in = entries of students + nobody's + left aside."""
    states = defaultdict(int)
    for row in summary.rows:
        states[row.state] += 1
    students = ", ".join(f"{count} {state}" for state, count in states.items()) or "no students"
    return (
        f"{summary.entries} entries in = {len(summary.theirs)} of students ({students})"
        f" + {len(summary.nobodys)} nobody's + {len(summary.aside)} left aside"
    )


def run(course: Path, lab: str, source: Path, students: Path | None, received: str | None, say: Callable = print) -> int:
    """The command `leaplm collect`: collects and prints the table. Returns 1 if it could not, else 0."""
    try:
        summary = collect(course, lab, source, students, received)
    except (ValueError, OSError) as problem:  # CollectError, RosterError, a time that is none
        say(f"leaplm collect: {problem}")
        return 1
    say(table(summary))
    return 0
