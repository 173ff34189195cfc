"""One's work of all labs as one zip, and back: Binder and Colab forget a session, a borrowed computer goes to somebody else.

    leaplm take-home                      writes leaplm-work.zip into the folder of the labs
    leaplm bring-back leaplm-work.zip     on another day, in another folder of labs

Taken is what was begun: notebooks in which a cell was run or an answer written, artifacts, own data, the progress. What
comes back takes the place of labs that are not begun; of one that is, both are kept, and told.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath

from leaplm.grading.course import LAB_NAME, LANGUAGES
from leaplm.grading.intake.ingest import ARTIFACT_KINDS, DATA_KINDS
from leaplm.grading.rebuild.exercises import is_answered
from leaplm.grading.submission import ARTIFACTS
from leaplm.learner import progress
from leaplm.learner.words import ASIDE, BROUGHT, NO_SUCH_FILE, NOT_SAVED, NOT_WORK, NOTHING_BEGUN, TAKEN
from leaplm.locales import say, say_problem
from leaplm.whole_file import replacing

WORK = "leaplm-work.zip"
MOST_BYTES = 4 * 10**9  # unpacked: all labs' artifacts are a tenth of it
NO_ZIP = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


class CarryError(ValueError):
    """Nothing can be taken or brought back; the message says why, and what to do."""


def labs_folder(start: Path) -> Path:
    """The folder of all labs: `start`, the `labs` in it, or the one above the lab, or the folder of languages, that it is.

    >>> labs_folder(Path("/home/amina/labs/languages/ha/lab2_finetuning")).as_posix()
    '/home/amina/labs'
    """
    start = start.resolve()
    if (start / "labs").is_dir():
        return start / "labs"
    start = start.parent if start.name in (ARTIFACTS, LANGUAGES) else start
    start = start.parent if LAB_NAME.fullmatch(start.name) else start
    return start.parents[1] if start.parent.name == LANGUAGES else start


def take_home(start: Path = Path("."), to: Path | None = None, tell: Callable[[str], None] = print) -> Path:
    """Writes the zip, whole or not at all, into the folder of the labs or as `to`, and tells what it lacks and where it is.

    CarryError where no lab is begun.
    """
    labs = labs_folder(start)
    begun = [folder for folder in lab_folders(labs) if is_begun(folder)]
    if not begun:
        raise CarryError(say(NOTHING_BEGUN, folder=labs))
    path = (to or labs / WORK).resolve()
    path = path / WORK if path.is_dir() else path
    with replacing(path) as target, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for file in [progress.progress_file(labs), *(file for folder in begun for file in work_in(folder))]:
            if file.is_file():
                archive.write(file, name_in_zip(file.relative_to(labs) if file.is_relative_to(labs) else Path(file.name)))
    for lab, when in not_saved(begun):
        tell(say(NOT_SAVED, lab=lab, time=when))
    tell(say(TAKEN, file=path, megabytes=f"{max(path.stat().st_size / 1e6, 0.1):.1f}"))
    return path


def not_saved(folders: list[Path]) -> Iterator[tuple[str, str]]:
    """(lab, when its notebook was saved last) of labs in which cells were run after that."""
    for lab in sorted({folder.name for folder in folders}):
        notebooks = [path for folder in folders if folder.name == lab for path in folder.glob(f"{lab}.ipynb")]
        if notebooks and (when := progress.saved_too_early(lab, notebooks)):
            yield lab, when


def name_in_zip(path: Path) -> str:
    """A file's name for a zip, which has none but Unicode ones: what is none in a name is replaced.

    >>> name_in_zip(Path("lab0_start/caf\\udce9.csv"))
    'lab0_start/caf�.csv'
    """
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def lab_folders(labs: Path) -> Iterator[Path]:
    """The folders of labs, in all languages."""
    found = [*labs.glob("lab*_*"), *labs.glob(f"{LANGUAGES}/*/lab*_*")]
    yield from (folder for folder in sorted(found) if folder.is_dir() and LAB_NAME.fullmatch(folder.name))


def is_begun(folder: Path) -> bool:
    """Whether somebody worked in a lab: in a notebook, or there is more than what was given out."""
    return any(was_worked_in(path) if path.suffix.lower() == ".ipynb" else True for path in work_in(folder))


def was_worked_in(notebook: Path) -> bool:
    """Whether a notebook shows that a cell was run, or an answer written; one that cannot be read is somebody's work."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return any(cell.get("outputs") or cell.get("execution_count") or is_answered(cell) for cell in cells)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError):
        return True


def work_in(folder: Path) -> list[Path]:
    """The files of a lab that are a learner's: notebooks, artifacts, own data."""
    kinds = {".ipynb", *DATA_KINDS}
    found = [path for path in folder.glob("*") if path.suffix.lower() in kinds]
    found += [path for path in (folder / ARTIFACTS).glob("*") if path.suffix.lower() in ARTIFACT_KINDS]
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def bring_back(file: Path, start: Path = Path("."), tell: Callable[[str], None] = print) -> list[Path]:
    """Unpacks the zip into the folder of the labs; the files that came. CarryError, and nothing changed, for another zip.

    OSError where a file cannot be written; those before it have come.
    """
    labs = labs_folder(start)
    if not file.is_file():
        raise CarryError(say(NO_SUCH_FILE, file=file))
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
            members = wanted(archive)
            for member in members:
                read_through(archive, member)
        except NO_ZIP as problem:
            raise CarryError(say(NOT_WORK, file=file.name, problem=problem or type(problem).__name__)) from None
        if not members:
            raise CarryError(say(NOT_WORK, file=file.name, problem="–"))
        begun = {folder: is_begun(folder) for folder in lab_folders(labs)}
        came = [put(archive, member, labs, begun, tell) for member in members]
    return [path for path in came if path]


def read_through(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raises one of NO_ZIP if an entry is damaged."""
    with archive.open(member) as source:
        while source.read(1 << 20):
            pass


def wanted(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The entries that are somebody's work, whatever else lies in the zip."""
    found = [member for member in archive.infolist() if is_work(PurePosixPath(member.filename))]
    return found if sum(member.file_size for member in found) <= MOST_BYTES else []


def is_work(name: PurePosixPath) -> bool:
    """Whether a name in a zip is one that `take_home` gives; no other is written.

    >>> [is_work(PurePosixPath(name)) for name in ("lab3_lora/artifacts/a.json", "../lab3_lora/a.csv", "lab3_lora/x/a.json")]
    [True, False, False]
    """
    parts = name.parts
    if parts == (progress.FILE,):
        return True
    if parts[:1] == (LANGUAGES,):
        parts = parts[2:]
    if len(parts) < 2 or not LAB_NAME.fullmatch(parts[0]) or name.name.startswith(".") or ".." in name.parts:
        return False
    kinds = ARTIFACT_KINDS if parts[1:-1] == (ARTIFACTS,) else {".ipynb", *DATA_KINDS} if len(parts) == 2 else ()
    return name.suffix.lower() in kinds


def put(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, labs: Path, begun: dict[Path, bool], tell: Callable[[str], None]
) -> Path | None:  # fmt: skip
    """Writes one file, whole or not at all; what stands there and is somebody's work is set aside. None for nothing new."""
    name = PurePosixPath(member.filename)
    path = labs / name
    if name.parts == (progress.FILE,):
        return join_progress(archive.read(member), progress.progress_file(labs), tell)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent.parent if path.parent.name == ARTIFACTS else path.parent
    if holds(path, archive, member):
        return None
    with replacing(path) as target:
        with archive.open(member) as source:
            shutil.copyfileobj(source, target)
        if path.exists() and begun.get(folder):  # only now: what comes could be written
            aside = free_name(path)
            path.replace(aside)
            tell(say(ASIDE, file=path.relative_to(labs), aside=aside.name))
    return path


def holds(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Whether a file is there already, with this content."""
    if not path.is_file() or path.stat().st_size != member.file_size:
        return False
    with path.open("rb") as ours, archive.open(member) as theirs:
        return all(part == theirs.read(len(part)) for part in iter(lambda: ours.read(1 << 20), b""))


def free_name(path: Path) -> Path:
    """Where a file is set aside: a name that no other file has, also in the same second."""
    stem = f"{path.stem}-before-{datetime.now():%Y%m%d-%H%M%S}"
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(aside for aside in (path.with_name(name + path.suffix) for name in names) if not aside.exists())


def join_progress(content: bytes, path: Path, tell: Callable[[str], None]) -> Path:
    """Joins the progress that comes with the one that is here: of each lab the record of the last work."""
    came = path.with_name(f"{path.stem}-brought.json")
    came.write_bytes(content)
    theirs = progress.read(came, tell)
    came.unlink(missing_ok=True)
    for lab, record in theirs.items():
        with progress.changing(path, lab, tell) as ours:
            if record["last_run"] > ours["last_run"]:
                ours.update(record)
    return path


def run_take_home(folder: Path, to: Path | None, tell: Callable[[str], None] = print) -> int:
    """The command `leaplm take-home`; 0 if the zip was written."""
    try:
        take_home(folder, to, tell)
    except (CarryError, OSError) as problem:
        tell(f"leaplm take-home: {say_problem(problem)}")
        return 1
    return 0


def run_bring_back(file: Path, folder: Path, tell: Callable[[str], None] = print) -> int:
    """The command `leaplm bring-back`; 0 if the work is here."""
    try:
        came = bring_back(file, folder, tell)
    except (CarryError, OSError) as problem:
        tell(f"leaplm bring-back: {say_problem(problem)}")
        return 1
    tell(say(BROUGHT, count=len(came), folder=labs_folder(folder)))
    return 0
