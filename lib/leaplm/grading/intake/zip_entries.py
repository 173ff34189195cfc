"""What a zip's table of contents says of an entry: its name and its time, in whatever way the packing program wrote them.

A name is UTF-8 where the entry's flag says so. Without the flag it should be in the code page 437 of the first PCs, and
hardly ever is: macOS writes UTF-8, Windows the code page of its country. So a name is, in this order: what the entry's
Unicode path (Info-ZIP's extra field 0x7075) says, UTF-8 if its bytes are, and else in the code page in which most of the
archive's names are those of students, or look like names.

The time is in the extra fields of Info-ZIP (0x5455) or NTFS (0x000a), in UTC; else it is the local time of DOS, which
begins in 1980, so that many programs write the first day of 1980 for a time that they do not know.
"""

from __future__ import annotations

import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

UTF8_FLAG = 0x800
UNICODE_PATH, TIMES, NTFS = 0x7075, 0x5455, 0x000A
# The PCs' own, Western, Chinese, Japanese, Korean, Cyrillic, Arabic, Vietnamese; of equals the first.
CODE_PAGES = ("cp437", "cp850", "cp1252", "gb18030", "cp932", "cp949", "big5", "cp866", "cp1251", "cp720", "cp1256",
              "cp1258")  # fmt: skip
MOST_WEIGHED = 300  # parts of names, to choose a code page
NTFS_EPOCH = 11_644_473_600  # seconds from 1601 to 1970


def names_of(
    members: Iterable[zipfile.ZipInfo], known: Callable[[str], bool] = lambda name: False
) -> tuple[list[str], str]:
    """The names of all entries in their order, and the code page that was guessed, "" where nothing was.

    `known` says whether a path has a student's name in it.

    >>> names_of([zipfile.ZipInfo("a.txt")])
    (['a.txt'], '')
    """
    members = list(members)
    names = [certain_name(member) for member in members]
    guessed = [raw_name(member) for member, name in zip(members, names, strict=True) if name is None]
    page = best_code_page(set(guessed), known) if guessed else ""
    return [name if name is not None else raw_name(member).decode(page, "replace")
            for member, name in zip(members, names, strict=True)], page  # fmt: skip


def certain_name(member: zipfile.ZipInfo) -> str | None:
    """The name of an entry where its bytes leave no doubt."""
    # zipfile cuts names at a NUL; the name as it was written is judged
    if member.flag_bits & UTF8_FLAG or member.orig_filename.isascii():
        return member.orig_filename
    raw = raw_name(member)
    for kind, data in extra_fields(member):
        if kind == UNICODE_PATH and len(data) > 5 and struct.unpack_from("<I", data, 1)[0] == zlib.crc32(raw):
            return data[5:].decode("utf-8", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def raw_name(member: zipfile.ZipInfo) -> bytes:
    """The bytes of a name that zipfile took for code page 437."""
    return member.orig_filename.encode("cp437")


def best_code_page(names: set[bytes], known: Callable[[str], bool], pages: Iterable[str] = CODE_PAGES) -> str:
    """The code page in which most of the names are known, and then look like names."""

    parts = sorted({part for name in names for part in name.split(b"/") if not part.isascii()})[:MOST_WEIGHED]

    def merits(page: str) -> tuple[int, float]:
        texts = [part.decode(page, "replace") for part in parts]
        return sum(map(known, texts)), sum(map(likeness, texts))

    return max(pages, key=merits)  # the first of equals


def likeness(name: str) -> float:
    """How much a path looks like names: 1 if every word has letters of one script alone, less for each other one.

    >>> likeness("José"), likeness("Jos╔"), likeness("JosИ") < 1
    (1.0, 0.0, True)
    """
    words = [word for word in "".join(char if char.isalnum() or not char.isascii() else " " for char in name).split()
             if not word.isascii()]  # fmt: skip
    good = 0.0
    for word in words:
        letters = [char for char in word if unicodedata.category(char)[0] in "LM"]
        scripts = {unicodedata.name(char, "?").split()[0] for char in letters}
        inside = sum(char.isupper() for char in word[1:]) and not word.isupper()
        if len(letters) == len([char for char in word if not char.isdigit()]) and len(scripts - {"COMBINING"}) == 1:
            good += 0.5 if inside else 1.0  # a capital in the middle is rare
    return good / len(words) if words else 0.0


def readable(name: str, known: Callable[[str], bool] = lambda name: False) -> str:
    """A name of a disk as composed Unicode, also where a zip was unpacked without care for how its names are written.

    >>> readable("Jos\\udce9")
    'José'
    """
    raw = os.fsencode(name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode(best_code_page({raw}, known), "replace")
    return unicodedata.normalize("NFC", text)


def extra_fields(member: zipfile.ZipInfo) -> Iterator[tuple[int, bytes]]:
    """The extra fields of an entry, by kind; nothing after one that is cut off."""
    place = 0
    while place + 4 <= len(member.extra):
        kind, size = struct.unpack_from("<HH", member.extra, place)
        data = member.extra[place + 4 : place + 4 + size]
        if len(data) == size:
            yield kind, data
        place += 4 + size


def time_of(member: zipfile.ZipInfo) -> float:
    """When an entry was last changed, in seconds since 1970; 0 where the archive does not know."""
    for kind, data in extra_fields(member):
        if kind == TIMES and len(data) >= 5 and data[0] & 1:
            return float(max(struct.unpack_from("<i", data, 1)[0], 0))
        if kind == NTFS and len(data) >= 16 and struct.unpack_from("<HH", data, 4) == (1, 24):
            return max(struct.unpack_from("<Q", data, 8)[0] / 1e7 - NTFS_EPOCH, 0.0)
    if member.date_time[:3] <= (1980, 1, 1):
        return 0.0
    try:
        return datetime(*member.date_time).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0
