"""The files of an upload, listed and read without trusting any of it: a folder, a zip, or a single file.

Nothing is written, run or followed: regular files only, by names that stay inside the upload, within limits of number,
size, depth and compression. A zip is opened once: an archive inside an archive is left out, so neither bombs nor quines
unfold. What is left out is said in `notes`; what makes the whole upload unusable raises `Refused`.

    with Upload(path) as upload:
        for entry in upload.entries:
            data = upload.read(entry, limit=10_000_000)
"""

from __future__ import annotations

import io
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from leaplm.grading.intake.zip_entries import names_of, time_of
from leaplm.grading.texts import one_line, writable

PIECE = 2**20  # bytes read at once

# Made by operating systems, editors and Python; left out without a word.
CLUTTER = {"__macosx", "__pycache__", "node_modules", "site-packages", "thumbs.db", "desktop.ini"}
OTHER_ARCHIVES = (".rar", ".7z", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".zst")
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")


@dataclass(frozen=True)
class Limits:
    """How much an upload may hold."""

    entries: int = 5_000  # files and folders, without what is hidden or left by programs
    depth: int = 10  # folders in one another
    file_bytes: int = 128 * 2**20
    total_bytes: int = 256 * 2**20  # of everything read from it
    archive_bytes: int = 4 * 2**30  # of a zip; only what counts of it is read
    directory_bytes: int = 16 * 2**20  # of a zip's table of contents, which is read whole
    ratio: float = 200  # unpacked to packed size, of files above 10 MB
    notes: int = 20
    archives_are_files: bool = False  # whether archives are listed as they are, to be opened later


STUDENT = Limits()
CLASS = Limits(
    entries=200_000,
    depth=20,
    file_bytes=4 * 2**30,
    total_bytes=40 * 2**30,
    archive_bytes=40 * 2**30,
    directory_bytes=64 * 2**20,
    notes=1_000,
    ratio=1e9,  # a learning platform packs what students stored unpacked
    archives_are_files=True,
)


class Refused(Exception):
    """Why an upload cannot be used: a sentence that tells the student what to do."""


@dataclass(frozen=True)
class Entry:
    """One file of an upload. The size is what the archive or file system says; reading does not rely on it."""

    name: str  # path inside the upload: parts joined by "/", safe to show
    size: int
    modified: float  # seconds since 1970, 0 if unknown
    open: Callable[[], BinaryIO]

    @property
    def base(self) -> str:
        """The file name without folders."""
        return self.name.rpartition("/")[2]

    @property
    def folder(self) -> str:
        return self.name.rpartition("/")[0]


class Upload:
    """An upload, open for reading; see the module's text. Files that came one by one are given as {name: path}."""

    def __init__(
        self, source: str | os.PathLike | Mapping[str, Path], limits: Limits = STUDENT, *,
        known: Callable[[str], bool] = lambda name: False,
    ) -> None:  # fmt: skip
        """`known` says whether a path has a student's name in it: it helps to read the names in old zips."""
        self.source, self.limits, self._known = source, limits, known
        self.entries: list[Entry] = []
        self.notes: list[str] = []
        self._left = limits.total_bytes
        self._seen = 0
        self._open = ExitStack()

    def __enter__(self) -> Upload:
        try:
            self._list()
        except BaseException:
            self._open.close()
            raise
        self.entries.sort(key=lambda entry: entry.name)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def note(self, text: str) -> None:
        """Keeps a note for student and instructor; of very many only the first."""
        if text not in self.notes and len(self.notes) < self.limits.notes:
            self.notes.append(text if len(self.notes) < self.limits.notes - 1 else "There are more notes like these.")

    def read(self, entry: Entry, limit: int = STUDENT.file_bytes) -> bytes:
        """The bytes of an entry. Refused if it is larger than `limit`, damaged, or the upload too large in all."""
        file = io.BytesIO()
        self.copy(entry, file, limit)
        return file.getvalue()

    def copy(self, entry: Entry, target: BinaryIO, limit: int | None = None) -> None:
        """Writes the bytes of an entry to an open file. Refused as for `read`; the target then holds a part."""
        limit = min(limit or self.limits.file_bytes, self.limits.file_bytes)
        if entry.size > limit:
            raise Refused(f"`{entry.name}` is larger than {limit >> 20} MB.")
        most = min(limit, self._left)
        try:
            with entry.open() as file:
                size = _copy_up_to(file, target, most + 1)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
            raise Refused(f"`{entry.name}` is damaged or cannot be opened: make it again and hand it in again.") from error
        if size > limit:
            raise Refused(f"`{entry.name}` is larger than {limit >> 20} MB.")
        if size > most:
            total = f"{self.limits.total_bytes >> 20} MB"
            raise Refused(f"The files are larger than {total} together: hand in only what is asked for.")
        self._left -= size

    def _list(self) -> None:
        if isinstance(self.source, Mapping):
            for name, path in self.source.items():
                self._list_file(path, os.lstat(path), name)
            return
        path = Path(self.source)
        info = os.lstat(path)
        if stat.S_ISDIR(info.st_mode):
            self._list_folder(path, "")
        elif not stat.S_ISREG(info.st_mode):
            raise Refused("What was handed in is a link or a device, not a file: hand in the file itself.")
        elif _starts_as_zip(path):
            self._list_zip(path, "")
        elif path.suffix.lower() == ".zip":
            raise Refused("The file is called .zip but is no zip archive: make a new zip of the folder and hand that in.")
        else:
            self._list_file(path, info, path.name)

    def _list_folder(self, folder: Path, prefix: str) -> None:
        with os.scandir(folder) as items:
            for item in items:
                info = item.stat(follow_symlinks=False)
                if not stat.S_ISDIR(info.st_mode):
                    self._list_file(Path(item.path), info, prefix + item.name)
                elif name := self._name(prefix + item.name):
                    self._count()
                    self._list_folder(Path(item.path), f"{name}/")

    def _list_file(self, path: Path, info: os.stat_result, raw: str) -> None:
        """Anything in a folder that is no folder."""
        if not (name := self._name(raw)):
            return
        self._count()
        if not stat.S_ISREG(info.st_mode):
            self.note(f"`{name}` is a link, a pipe or a device, and was left out: hand in ordinary files.")
        elif is_foreign(info, path.parent):
            self.note(f"`{name}` is a second name of somebody else's file, and was left out: hand in a copy.")
        elif name.lower().endswith(".zip") and not self.limits.archives_are_files:
            self._list_inner_zip(path, name)
        elif name.lower().endswith(OTHER_ARCHIVES) and not self.limits.archives_are_files:
            self.note(f"`{name}` was not opened: hand in a .zip, or the files themselves.")
        else:
            self.entries.append(Entry(name, info.st_size, info.st_mtime, lambda: open_regular(path)))

    def _list_inner_zip(self, path: Path, name: str) -> None:
        """A zip in a folder; one that cannot be opened does not spoil what lies beside it."""
        try:
            self._list_zip(path, f"{name}/")
        except Refused as refusal:
            self.note(f"`{name}` was left out. {refusal}")

    def _list_zip(self, path: Path, prefix: str) -> None:
        try:
            file = self._open.enter_context(_Archive(path, self.limits))
            archive = self._open.enter_context(zipfile.ZipFile(file))
            members = archive.infolist()
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise Refused("The zip archive is damaged: make a new one and hand that in.") from error
        names, page = names_of(members, self._known)
        if page:
            example = next(show(name) for name in names if not name.isascii())
            self.note(f"The zip does not say how its names are written; they were read as {page}: `{example}`.")
        wanted = [(raw, member) for raw, member in zip(names, members, strict=True)
                  if not member.is_dir() and not is_clutter(raw)]  # fmt: skip
        last = dict(wanted)  # as unpacking would leave it
        if len(last) < len(wanted):
            self.note("Some files are twice in the archive under one name; the last of each was used.")
        for raw, member in last.items():
            self._count()
            if name := self._name(raw):
                self._add_member(archive, member, name, prefix)

    def _add_member(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, prefix: str) -> None:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            self.note(f"`{name}` is a link, a pipe or a device, and was left out: hand in ordinary files.")
        elif name.lower().endswith((".zip", *OTHER_ARCHIVES)) and not self.limits.archives_are_files:
            self.note(f"`{name}` is an archive inside an archive, and was not opened: put its files into one zip.")
        elif member.flag_bits & 1:
            self.note(f"`{name}` is protected by a password, and was left out: hand it in without.")
        elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack without limit
            self.note(f"`{name}` is packed in an unusual way, and was left out: make an ordinary zip.")
        elif member.file_size > max(self.limits.ratio * member.compress_size, 10 * 2**20):
            self.note(f"`{name}` would unpack to {member.file_size >> 20} MB from almost nothing, and was left out.")
        else:
            self.entries.append(Entry(prefix + name, member.file_size, time_of(member), lambda: archive.open(member)))

    def _name(self, raw: str) -> str | None:
        """The name to use for a path in the upload; None for clutter and, with a note, for names that lead outside."""
        if is_clutter(raw):
            return None
        try:
            return clean_path(raw, self.limits.depth)
        except ValueError as error:
            self.note(f"`{show(raw)}` was left out: {error}.")
            return None

    def _count(self) -> None:
        self._seen += 1
        if self._seen > self.limits.entries:
            most = f"{self.limits.entries:,}"
            raise Refused(f"There are more than {most} files: hand in only the notebook and the folder artifacts.")


class _Archive(io.FileIO):
    """A zip file for reading, whose table of contents is not read when it is out of proportion."""

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(_open_fd(path))
        self._most = limits.directory_bytes
        if os.fstat(self.fileno()).st_size > limits.archive_bytes:
            self.close()
            raise Refused(f"The zip archive is larger than {limits.archive_bytes >> 20} MB: hand in only what is asked for.")

    def read(self, size: int = -1) -> bytes:
        """zipfile reads the end of the file without a size, and the table of contents in one piece."""
        rest = os.fstat(self.fileno()).st_size - self.tell()
        if min(rest, size if size >= 0 else rest) > self._most:
            raise Refused("The zip archive holds far too many files: hand in only the notebook and the folder artifacts.")
        return super().read(size)


def is_clutter(path: str) -> bool:
    """Whether a path is hidden, or left by a program: no part of anybody's work, and no limit counts it.

    >>> is_clutter("lab/.venv/lib/a.py"), is_clutter("../a.py")
    (True, False)
    """
    parts = path.replace("\\", "/").lower().split("/")
    return any(part in CLUTTER or (part.startswith(".") and part.strip(".")) for part in parts)


def clean_path(raw: str, depth: int = STUDENT.depth) -> str:
    """A path inside an upload with "/" between its parts, in Unicode's composed form; ValueError if it leads outside.

    >>> clean_path("lab\\\\artifacts\\\\./a.json")
    'lab/artifacts/a.json'
    """
    path = raw.replace("\\", "/")
    if "\0" in path or any(unicodedata.category(char) == "Cc" for char in path):
        raise ValueError("its name has control characters")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        raise ValueError("its name is an absolute path")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise ValueError("its name leads out of the folder")
    if len(parts) > depth or any(len(part.encode("utf-8", "replace")) > 255 for part in parts):
        raise ValueError("its path is too long or too deep")
    return unicodedata.normalize("NFC", writable("/".join(parts)))  # names of a broken encoding show as ?


def show(text: str, limit: int = 80) -> str:
    """A foreign text for messages and logs: one line, without control or invisible characters, cut at `limit`."""
    text = one_line(text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_foreign(info: os.stat_result, folder: Path) -> bool:
    """Whether a file is a second name (a hard link) of a file of somebody else than the folder's owner.

    A second name of the owner's own file is as good as a copy, and must not count against whoever has the first.
    """
    return info.st_nlink > 1 and info.st_uid != os.lstat(folder).st_uid


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Opens a regular file for reading; OSError for anything else, never following a link or waiting for a pipe."""
    return open(_open_fd(path), "rb")


def _copy_up_to(file: BinaryIO, target: BinaryIO, most: int) -> int:
    """Copies at most `most` bytes, in pieces: zipfile would ask for as many packed bytes as unpacked ones are wanted."""
    size = 0
    while size < most and (piece := file.read(min(most - size, PIECE))):
        target.write(piece)
        size += len(piece)
    return size


def _open_fd(path: str | os.PathLike) -> int:
    flags = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))  # not on every system
    fd = os.open(path, os.O_RDONLY | flags)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("not a regular file")
    return fd


def _starts_as_zip(path: Path) -> bool:
    with open_regular(path) as file:
        return file.read(4) in ZIP_STARTS
