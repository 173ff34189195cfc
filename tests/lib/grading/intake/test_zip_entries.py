"""Names and times in zips, as the packing programs of many systems write them."""

import os
import struct
import time
import unicodedata
import zipfile
import zlib
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaplm.grading.intake.uploads import STUDENT, Upload
from leaplm.grading.intake.zip_entries import names_of, readable, time_of

PAGES = {"cp437": "José Núñez", "cp850": "João Gonçalves", "cp1252": "Zoé Müller", "gb18030": "王芳", "cp866": "Иван Петров",
         "cp1256": "محمد علي"}  # fmt: skip
KNOWN_ONLY = {"cp1251": "Иван Петров", "cp932": "田中さくら", "cp949": "김민수", "big5": "陳大文", "cp720": "محمد علي"}


def entry(raw, flag=0, extra=b"", date=(2026, 3, 1, 12, 0, 0)):
    """An entry as zipfile reads it, with these bytes for its name."""
    made = zipfile.ZipInfo("x", date)
    made.orig_filename, made.flag_bits, made.extra = raw.decode("utf-8" if flag else "cp437"), flag, extra
    return made


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5), st.sampled_from(["NFC", "NFD"]), st.booleans())
def test_utf8_is_read_with_the_flag_and_without(names, form, flag):
    raw = [unicodedata.normalize(form, name).encode() for name in names]
    found, page = names_of([entry(name, 0x800 * flag) for name in raw])
    assert [name.encode() for name in found] == raw and page == ""


@given(st.text(min_size=1), st.binary(min_size=1, max_size=20))
def test_the_unicode_path_of_an_entry_counts(name, raw):
    field = struct.pack("<BI", 1, zlib.crc32(raw)) + name.encode()
    found, _ = names_of([entry(raw, extra=struct.pack("<HH", 0x7075, len(field)) + field)])
    assert found == [name] or raw.isascii()


@pytest.mark.parametrize(("page", "name"), PAGES.items())
def test_old_code_pages_are_guessed_by_what_looks_like_names(page, name):
    raw = [f"{name}/lab0_mini.ipynb".encode(page), f"{name}/artifacts/a.json".encode(page), b"plain/b.ipynb"]
    found, guessed = names_of(map(entry, raw))
    assert found == [f"{name}/lab0_mini.ipynb", f"{name}/artifacts/a.json", "plain/b.ipynb"] and guessed


@pytest.mark.parametrize(("page", "name"), {**PAGES, **KNOWN_ONLY}.items())
def test_a_students_list_tells_which_code_page_it_is(page, name):
    found, _ = names_of([entry(f"{name}/a".encode(page))], known=lambda path: name in path)
    assert found == [f"{name}/a"]


@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=4), st.binary(max_size=30))
def test_rubbish_is_read_somehow(raw, extra):
    found, _ = names_of([entry(name, extra=extra) for name in raw])
    assert len(found) == len(raw) and time_of(entry(b"x", extra=extra)) >= 0


def test_a_folder_unpacked_with_the_wrong_letters_can_be_read():
    assert readable(os.fsdecode("José Núñez".encode("cp1252"))) == "José Núñez"
    assert readable(unicodedata.normalize("NFD", "Ọlá")) == unicodedata.normalize("NFC", "Ọlá")
    readable(os.fsdecode(b"\xff\xfe\x80")).encode()


# ---- times


ZONES = ["UTC", "Africa/Lagos", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Pago_Pago"]


@pytest.fixture(params=ZONES)
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def moment(seconds):
    return struct.pack("<HHBi", 0x5455, 5, 1, seconds)


def test_a_time_in_utc_is_the_same_everywhere(zone):
    assert time_of(entry(b"x", extra=moment(1_772_366_400))) == 1_772_366_400
    ntfs = struct.pack("<HHIHHQQQ", 0x000A, 32, 0, 1, 24, (1_772_366_400 + 11_644_473_600) * 10**7, 0, 0)
    assert time_of(entry(b"x", extra=ntfs)) == 1_772_366_400


def test_the_first_day_of_dos_is_no_time_anywhere(zone):
    for date in ((1980, 1, 1, 0, 0, 0), (1980, 0, 0, 0, 0, 0), (1980, 1, 1, 23, 59, 58)):
        assert time_of(entry(b"x", date=date)) == 0
    assert time_of(entry(b"x", date=(2026, 13, 41, 27, 0, 0))) == 0


def test_other_times_are_of_the_clock_here(zone):
    assert datetime.fromtimestamp(time_of(entry(b"x", date=(2026, 3, 1, 12, 30, 2)))).isoformat() == "2026-03-01T12:30:02"


# ---- limits count what is part of the work


CLUTTER = [".venv/lib", "node_modules/x", "lab/.git/objects", "__MACOSX", "venv/lib/site-packages/torch", "a/__pycache__"]


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(CLUTTER), st.integers(1, 40))
def test_what_is_hidden_is_counted_neither_in_a_folder_nor_in_a_zip(tmp_path_factory, clutter, many):
    tmp_path = tmp_path_factory.mktemp("limits")
    limits = STUDENT.__class__(entries=3)
    files = {"lab.ipynb": b"{}", **{f"{clutter}/{number}.py": b"" for number in range(many)}}
    for name, data in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    for source in (tmp_path / "folder", tmp_path / "a.zip"):
        with Upload(source, limits) as upload:
            assert [found.name for found in upload.entries] == ["lab.ipynb"] and upload.notes == []


def test_a_virtual_environment_of_real_size_does_no_harm(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("lab.ipynb", b"{}")
        for number in range(30_000):
            archive.writestr(f".venv/lib/python3.11/site-packages/some_package/some_module/some_file_{number}.py", b"")
    with Upload(tmp_path / "a.zip") as upload:
        assert [found.name for found in upload.entries] == ["lab.ipynb"]
