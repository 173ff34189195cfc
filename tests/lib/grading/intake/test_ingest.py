"""What students hand in, read without running it: every fault becomes a Submission that says what is the matter."""

import copy
import io
import json
import os
import stat
import struct
import tracemalloc
import zipfile

import nbformat
import pytest
from leaplm.grading.intake import clean_notebook, ingest, uploads
from leaplm.grading.intake.ingest import read_submission, safe_id
from leaplm.grading.rebuild.repair import rebuild
from mini import LAB, make_course

SLOPE = b'{"slope": 2.0}'
NAME = f"{LAB}.ipynb"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    course = make_course(tmp_path_factory.mktemp("ingest") / "course")
    return nbformat.read(course / "labs" / LAB / NAME, as_version=4)


@pytest.fixture(scope="module")
def work(release):
    """An honest notebook."""
    notebook = copy.deepcopy(release)
    next(cell for cell in notebook.cells if cell.id == "mean_square").source = "def mean_square(x):\n    return 1"
    return notebook


def text(notebook):
    return nbformat.writes(notebook).encode()


def put(folder, files):
    """Writes files by their path below `folder`."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def packed(path, files, **options):
    """A zip of files by name, or of (ZipInfo, data) pairs."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return path


def read(path, release=None, **options):
    return read_submission(path, LAB, "aisha", release=release, **options)


def said(submission):
    return " ".join(submission.notes)


# ---- honest work


def test_folder_zip_and_bare_notebook_are_the_same_work(tmp_path, work):
    files = {f"{LAB}/{NAME}": text(work), f"{LAB}/artifacts/slope-cpu.json": SLOPE}
    folder = read(put(tmp_path / "folder", files))
    archive = read(packed(tmp_path / "a.zip", files))
    flat = read(put(tmp_path / "flat", {NAME: text(work), "artifacts/slope-cpu.json": SLOPE}))
    assert folder.files == archive.files == flat.files == {"artifacts/slope-cpu.json": SLOPE}
    assert folder.digest == archive.digest == flat.digest
    assert folder.notes == archive.notes == () and folder.refused is None
    (tmp_path / "bare.ipynb").write_bytes(text(work))
    bare = read(tmp_path / "bare.ipynb")
    assert bare.notebook == folder.notebook and bare.files == {} and bare.digest != folder.digest


def test_the_answers_arrive(tmp_path, work, release):
    got = nbformat.reads(read(put(tmp_path, {NAME: text(work)})).notebook.decode(), as_version=4)
    nbformat.validate(got)
    assert rebuild(release, got) == rebuild(release, work)


def test_what_is_kept_reads_as_itself(tmp_path, work):
    first = read(put(tmp_path / "a", {NAME: text(work)}))
    again = read(put(tmp_path / "b", {NAME: first.notebook}))
    assert again.notebook == first.notebook and again.digest == first.digest


def test_digest_is_of_the_work_only(tmp_path, work):
    folder = put(tmp_path, {NAME: text(work)})
    one = read(folder)
    other = read_submission(folder, LAB, "bello", received="2026-03-01T10:00:00+00:00")
    assert one.digest == other.digest and other.received == "2026-03-01T10:00:00+00:00"
    assert read_submission(folder, "lab1", "aisha").digest != one.digest
    refused = [read(put(tmp_path / str(n), {NAME: data})).digest for n, data in enumerate((b"{", b"", b"{"))]
    assert refused[0] == refused[2] != refused[1]  # a verdict kept by content must not tell another one's reason


def test_outputs_and_widgets_are_dropped_and_a_second_save_is_the_same_work(tmp_path, work):
    saved = copy.deepcopy(work)
    for number, cell in enumerate(saved.cells):
        cell.metadata.update(collapsed=True, executionInfo={"elapsed": number})
        if cell.cell_type == "code":
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", text="x" * 200_000)]
    saved.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": {"a": "y" * 1_000_000}}}
    one, two = (read(put(tmp_path / name, {NAME: text(book)})) for name, book in (("a", work), ("b", saved)))
    assert one.notebook == two.notebook and len(two.notebook) < 10_000 and two.notes == ()


def test_pictures_in_text_cells_are_kept_and_programs_in_them_are_not(tmp_path, work):
    notebook = copy.deepcopy(work)
    cell = next(cell for cell in notebook.cells if cell.id == "why")
    cell.attachments = {"a.png": {"image/png": "iVBORw0KGgo="}, "b.svg": {"image/svg+xml": "<svg onload=alert(1)>"}}
    got = json.loads(read(put(tmp_path, {NAME: text(notebook)})).notebook)
    assert next(c for c in got["cells"] if c["id"] == "why")["attachments"] == {"a.png": {"image/png": "iVBORw0KGgo="}}


def test_received_is_the_time_of_what_was_received(tmp_path, work):
    archive = packed(tmp_path / "a.zip", {NAME: text(work)})
    os.utime(archive, (0, 86_400))
    assert read(archive).received == "1970-01-02T00:00:00+00:00"


def test_missing_upload_is_the_callers_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing.zip")


# ---- names (E13, E16) and places


@pytest.mark.parametrize(
    "name",
    [
        f"Copy of {NAME}",
        f"{LAB} (1).ipynb",
        "Untitled7.ipynb",
        "LAB0.IPYNB",
        f"{NAME}.txt",
        f"{NAME}.json",
        "réponse ƙƴ.ipynb",
    ],
)
def test_e13_a_notebook_of_any_name_is_found(tmp_path, work, name):
    assert read(put(tmp_path, {name: text(work)})).notebook == read(put(tmp_path / "x", {NAME: text(work)})).notebook


def test_untouched_release_beside_the_work_is_not_taken_for_it(tmp_path, work, release):
    got = read(put(tmp_path, {NAME: text(release), f"Copy of {NAME}": text(work)}), release)
    assert b"return 1" in got.notebook
    assert f"`Copy of {NAME}` was graded, not `{NAME}`. Please look" in said(got)


@pytest.mark.parametrize("edit", [lambda text: text.replace("\n", "\r\n"), lambda text: text + "\n\n  "])
@pytest.mark.parametrize("named", [True, False])
def test_an_untouched_release_saved_by_another_editor_is_no_work(tmp_path, work, release, edit, named):
    saved = copy.deepcopy(release)
    for cell in saved.cells:
        cell.source = edit(cell.source)
    copied = NAME.replace(".ipynb", "-Copy1.ipynb")
    files = {NAME if named else copied: text(saved), copied if named else NAME: text(work)}
    assert b"return 1" in read(put(tmp_path / "f", files), release).notebook


def test_line_ends_make_no_other_work(tmp_path, work, release):
    windows = copy.deepcopy(work)
    for cell in windows.cells:
        cell.source = cell.source.replace("\n", "\r\n")
    unix, other = (read(put(tmp_path / name, {NAME: text(made)})) for name, made in (("a", work), ("b", windows)))
    assert unix.notebook == other.notebook and unix.digest == other.digest
    both = read(put(tmp_path / "c", {NAME: text(work), "copy.ipynb": text(windows)}), release)
    assert both.notes == ()


def test_of_two_worked_on_the_one_with_the_labs_name_counts_and_both_are_named(tmp_path, work, release):
    other = copy.deepcopy(work)
    next(cell for cell in other.cells if cell.id == "mean_square").source = "def mean_square(x):\n    return 2"
    for form in (release, None):
        got = read(put(tmp_path, {NAME: text(work), "old.ipynb": text(other)}), form)
        assert b"return 1" in got.notebook and "not `old.ipynb`. Please look" in said(got)


def test_another_labs_notebook_is_passed_over(tmp_path, work, release):
    other = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1)")])
    got = read(put(tmp_path, {"a.ipynb": text(other), "b.ipynb": text(work)}), release)
    assert b"return 1" in got.notebook


def test_the_same_notebook_twice_is_no_question(tmp_path, work, release):
    got = read(put(tmp_path, {NAME: text(work), "backup/lab.ipynb": text(work)}), release)
    assert b"return 1" in got.notebook and got.notes == ()


def test_a_damaged_notebook_beside_a_good_one_is_told(tmp_path, work):
    got = read(put(tmp_path, {NAME: b"{", "work.ipynb": text(work)}))
    assert b"return 1" in got.notebook and f"`{NAME}` cannot be used" in said(got)


def test_no_notebook_says_what_is_there(tmp_path):
    got = read(put(tmp_path, {"report.pdf": b"x"}))
    assert got.notebook is None and "no notebook" in got.refused and "`report.pdf`" in got.refused


@pytest.mark.parametrize(
    "place", ["slope-cpu.json", "deep/er/slope-cpu.json", "Artifacts/slope-cpu.json", "artifacts (1)/slope-cpu.json"]
)
def test_artifacts_are_found_where_students_put_them(tmp_path, work, place):
    assert read(put(tmp_path, {NAME: text(work), place: SLOPE})).files == {"artifacts/slope-cpu.json": SLOPE}


def test_of_two_artifacts_of_one_name_the_one_in_its_place_counts(tmp_path, work):
    got = read(
        put(tmp_path, {f"x/{NAME}": text(work), "a/slope.json": b"1", "x/artifacts/slope.json": b"2", "x/slope.json": b"3"})
    )
    assert got.files == {"artifacts/slope.json": b"2"}
    assert "`x/artifacts/slope.json` was used, not `x/slope.json`, `a/slope.json`" in said(got)


def test_a_file_downloaded_twice_gets_its_name_back(tmp_path, work):
    got = read(put(tmp_path, {NAME: text(work), "artifacts/slope-cpu (1).json": SLOPE}))
    assert got.files == {"artifacts/slope-cpu.json": SLOPE}
    got = read(put(tmp_path, {"artifacts/slope-cpu.json": b"1"}))
    assert got.files["artifacts/slope-cpu.json"] == b"1" and "differ" in said(got)


def test_own_data_is_kept_and_programs_are_not(tmp_path, work):
    unwanted = {
        "torch.py": b"",
        "x.so": b"",
        "a.pyc": b"",
        "conftest.py": b"",
        ".env": b"",
        ".git/config": b"",
        "x.pkl": b"",
        "__MACOSX/._a.ipynb": b"",
        ".ipynb_checkpoints/a.ipynb": b"",
        "__pycache__/a.csv": b"",
        "deep/own.csv": b"",
    }
    got = read(put(tmp_path, {NAME: text(work), "my_sentences.csv": b"text,label\n", "artifacts/a.txt": b"1", **unwanted}))
    assert sorted(got.files) == ["artifacts/a.txt", "my_sentences.csv"]
    assert "`torch.py` was left out" in said(got) and "checkpoints" not in said(got) and "MACOSX" not in said(got)


def test_e15_a_timestamp_in_the_upload_is_not_believed(tmp_path, work):
    archive = packed(tmp_path / "a.zip", {NAME: text(work), "timestamp.txt": b"1999-01-01 00:00:00 UTC"})
    got = read(archive)
    assert got.files == {} and got.received == ingest.modified(archive)
    assert "the time of receipt is not taken from a file" in said(got)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("aisha", "aisha"),
        ("Aisha Bello", "Aisha Bello"),
        ("../../x", "_.._x"),
        ("a/b\\c", "a_b_c"),
        ("", "unnamed"),
        (".", "unnamed"),
        ("e\u0301", "\u00e9"),
        ("a\0b\n", "a_b_"),
        ("*[x]?", "__x__"),
        ("x" * 300, "x" * 120),
        ("ƙaddara", "ƙaddara"),
        ("محمد", "محمد"),
        ("a@b.ng", "a@b.ng"),
        *((name, f"{name}_") for name in ("con", "CON", "Nul", "aux", "prn", "com1", "LPT9")),  # Windows has no such files
        ("nul.txt", "nul_.txt"),
        ("Connie", "Connie"),
        ("\ud800", "unnamed"),
    ],
)
def test_e16_ids_are_safe_names(name, safe):
    assert safe_id(name) == safe or (name == "\ud800" and safe_id(name) == "_")
    assert safe_id(safe_id(name)) == safe_id(name)


# ---- links, devices, names that lead outside (B6, B7, E22, E23)


def test_b6_links_are_not_followed(tmp_path, work):
    secret = tmp_path / "gradebook.json"
    secret.write_bytes(b"secret")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / NAME).write_bytes(text(work))
    folder = put(tmp_path / "own", {NAME: text(work)})
    (folder / "artifacts").symlink_to(tmp_path)
    (folder / "a.json").symlink_to(secret)
    got = read(folder)
    assert got.files == {} and "`a.json` is a link" in said(got) and "`artifacts` is a link" in said(got)
    (folder / NAME).unlink()
    (folder / NAME).symlink_to(tmp_path / "other" / NAME)
    assert read(folder).notebook is None
    link = tmp_path / "link.zip"
    link.symlink_to(packed(tmp_path / "a.zip", {NAME: text(work)}))
    assert "is a link" in read(link).refused


def test_b6_links_in_a_zip_are_left_out(tmp_path, work):
    link = zipfile.ZipInfo("artifacts/slope.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    got = read(packed(tmp_path / "a.zip", [(NAME, text(work)), (link, "/etc/passwd")]))
    assert got.files == {} and "is a link" in said(got)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_b7_a_second_name_of_a_foreign_file_is_left_out(tmp_path, work):
    secret = tmp_path / "gradebook.json"
    secret.write_bytes(b"secret")
    folder = put(tmp_path / "own", {NAME: text(work)})
    (folder / "artifacts").mkdir()
    os.link(secret, folder / "artifacts" / "a.json")
    os.chown(secret, 12345, 12345)
    got = read(folder)
    assert got.files == {} and "somebody else's file" in said(got)


def test_b7_a_second_name_harms_nobody_who_has_the_first(tmp_path, work):
    """Whoever can link to a file of the same owner makes no more of it than a copy."""
    folder = put(tmp_path / "own", {NAME: text(work), "artifacts/a.json": b"{}"})
    os.link(folder / "artifacts" / "a.json", tmp_path / "elsewhere.json")
    assert read(folder).files == {"artifacts/a.json": b"{}"}


@pytest.mark.parametrize(
    "name",
    [
        "../x.json",
        "/etc/x.json",
        "C:\\x.json",
        "C:x.json",
        "a/../../x.json",
        "artifacts\\..\\..\\x.json",
        "a\x1b[2Jb.json",
        "/".join("a" * 20) + "/x.json",
        "x" * 300 + ".json",
    ],
)
def test_e22_names_that_lead_outside_are_left_out(tmp_path, work, name):
    got = read(packed(tmp_path / "a.zip", {NAME: text(work), name: SLOPE}))
    assert got.refused is None and got.files == {} and "was left out" in said(got) and "\x1b" not in said(got)


def test_e22_backslashes_of_windows_are_folders(tmp_path, work):
    got = read(packed(tmp_path / "a.zip", {NAME: text(work), "artifacts\\slope.json": SLOPE}))
    assert got.files == {"artifacts/slope.json": SLOPE} and got.notes == ()


def test_e22_a_nul_in_a_name_does_not_cut_it(tmp_path, work):
    path = packed(tmp_path / "a.zip", {NAME: text(work), "artifacts/a.jsonX.exe": SLOPE})
    path.write_bytes(path.read_bytes().replace(b"a.jsonX.exe", b"a.json\0.exe"))
    assert read(path).files == {}


def test_e23_pipes_and_sockets_do_not_block(tmp_path, work, monkeypatch):
    import socket

    folder = put(tmp_path / "f", {NAME: text(work)})
    os.mkfifo(folder / "a.json")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(folder)  # addresses of sockets are short
        server.bind("s.json")
    got = read(folder)
    assert got.files == {} and got.refused is None and "`a.json` is a link, a pipe or a device" in said(got)
    (folder / NAME).unlink()
    os.mkfifo(folder / NAME)
    assert "no notebook" in read(folder).refused
    assert "not a file" in read(folder / NAME).refused


# ---- size (D10, D11, D12)


def measured(action):
    """What an action returns and the peak of memory it took, in MB."""
    tracemalloc.start()
    result = action()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return result, peak


def test_d10_files_above_the_limits_are_not_read(tmp_path, work, monkeypatch):
    folder = put(tmp_path / "f", {NAME: text(work), "a.json": b"1", "b.json": b"2" * 700, "c.json": b"3" * 700})
    with open(folder / "huge.safetensors", "wb") as file:
        file.truncate(uploads.STUDENT.file_bytes + 1)  # sparse: takes no disk
    got, peak = measured(lambda: read(folder))
    assert "huge.safetensors" not in str(sorted(got.files)) and "larger than 128 MB" in said(got) and peak < 50
    monkeypatch.setattr(uploads.Upload.__init__, "__defaults__", (uploads.Limits(total_bytes=len(text(work)) + 1000),))
    got = read(folder)
    assert sorted(got.files) == ["artifacts/a.json", "artifacts/b.json"] and "together" in said(got)


def test_d10_thousands_of_files_are_refused(tmp_path, work):
    files = {NAME: text(work), **{f"x/{n}.json": b"" for n in range(uploads.STUDENT.entries)}}
    assert "more than 5,000 files" in read(packed(tmp_path / "a.zip", files)).refused
    got = read(put(tmp_path / "f", {NAME: text(work), **{f"{n}.json": b"1" for n in range(100)}}))
    assert len(got.files) == ingest.MAX_FILES and "only the first 40" in said(got)
    assert len(got.notes) <= uploads.STUDENT.notes


def test_d11_a_bomb_does_not_unfold(tmp_path, work):
    bomb = io.BytesIO()
    packed(bomb, {"a.json": bytes(120 * 2**20)}, compresslevel=9)
    path = packed(
        tmp_path / "a.zip", {NAME: text(work), "artifacts/a.json": bytes(120 * 2**20), "inner.zip": bomb.getvalue()}
    )
    got, peak = measured(lambda: read(path))
    assert got.files == {} and peak < 20
    assert "from almost nothing" in said(got) and "an archive inside an archive" in said(got)


def test_d11_a_size_that_lies_is_not_believed(tmp_path, work):
    path = packed(tmp_path / "a.zip", {NAME: text(work), "a.json": bytes(9 * 2**20)})
    data = bytearray(path.read_bytes())
    for place in [at for at in range(len(data)) if data[at : at + 4] == struct.pack("<I", 9 * 2**20)]:
        data[place : place + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    got = read(path)
    assert got.files == {} and "damaged" in said(got)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_d11_packing_without_a_limit_is_not_unpacked(tmp_path, work, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.json", bytes(2**20))
        archive.writestr(zipfile.ZipInfo(NAME), text(work))
    got = read(tmp_path / "a.zip")
    assert got.files == {} and got.notebook and "unusual way" in said(got)


def test_d11_a_table_of_contents_without_end_is_not_read(tmp_path):
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    table = entry * (uploads.STUDENT.directory_bytes // len(entry) + 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, len(table), 4, 0)
    (tmp_path / "a.zip").write_bytes(b"PK\3\4" + table + end)
    got, peak = measured(lambda: read(tmp_path / "a.zip"))
    assert "far too many files" in got.refused and peak < 30


def test_d11_a_zip_that_holds_itself_is_opened_once(tmp_path, work):
    path = packed(tmp_path / "q.zip", {NAME: text(work)})
    packed(tmp_path / "f.zip", {"q.zip": path.read_bytes(), "q2.zip": path.read_bytes()})
    assert "no notebook" in read(tmp_path / "f.zip").refused
    folder = put(tmp_path / "folder", {"work.zip": path.read_bytes()})  # as learning platforms store an uploaded zip
    assert read(folder).notebook == read(path).notebook


def test_a_bad_zip_says_so(tmp_path, work):
    (tmp_path / "a.zip").write_bytes(b"Rar!")
    loose = {
        name: tmp_path / "x" / name
        for name in put(tmp_path / "x", {"w.ipynb": text(work), "a.json": b"1"}) and ("w.ipynb", "a.json")
    }
    assert read(loose).files == {"artifacts/a.json": b"1"}
    assert "no zip archive" in read(tmp_path / "a.zip").refused
    whole = packed(tmp_path / "b.zip", {NAME: text(work)}).read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[:-30])
    assert "damaged" in read(tmp_path / "b.zip").refused
    locked = bytearray(whole)
    at = locked.rindex(b"PK\1\2")
    locked[at + 8] |= 1
    (tmp_path / "c.zip").write_bytes(locked)
    got = read(tmp_path / "c.zip")
    assert "no notebook" in got.refused and "password" in said(got)


@pytest.mark.parametrize(
    "data",
    [b'{"a":' * 100_000, b"[" * 1_000_000, b'{"nbformat": 4, "cells": ' + b"[" * 500 + b"]" * 500 + b"}"],
    ids=["objects", "lists", "closed"],
)
def test_d12_deep_nesting_is_refused(tmp_path, data):
    assert "nested deeper" in read(put(tmp_path, {NAME: data})).refused


def test_d12_many_values_are_refused_before_they_take_memory(tmp_path):
    data = b'{"nbformat": 4, "cells": [' + b"[]," * 6_000_000 + b"[]]}"
    got, peak = measured(lambda: read(put(tmp_path, {NAME: data})))
    assert "far too much data" in got.refused and peak < 100


def test_d12_many_cells_and_long_texts_are_refused(tmp_path, work):
    many = copy.deepcopy(work)
    many.cells = [nbformat.v4.new_code_cell("1", id=f"c{n}") for n in range(clean_notebook.MAX_CELLS + 1)]
    assert "2,001 cells" in read(put(tmp_path, {NAME: text(many)})).refused
    many.cells = [nbformat.v4.new_code_cell("x" * 500_000) for _ in range(5)]
    assert "larger than 2 MB" in read(put(tmp_path, {NAME: text(many)})).refused
    many.cells = [nbformat.v4.new_code_cell("x", metadata={"a": "y" * clean_notebook.MAX_NOTEBOOK_BYTES})]
    assert "clear all its outputs" in read(put(tmp_path, {NAME: text(many)})).refused


# ---- what is no usable notebook (E9 to E12, E14, E17)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b'{"cells": [', "cut off or damaged (line 1)"),
        (b"print(1)", "cut off or damaged"),
        (b"[1, 2]", "no notebook"),
        (b"7", "no notebook"),
        (b"{}", "which notebook format"),
        (b"<!DOCTYPE html>", "web page"),
        (b"<<<<<<< HEAD\n{", "merge conflict"),
        (b'{"nbformat": 4, "cells": {"a": 1}}', "has no cells"),
        (b'{"nbformat": 4}', "has no cells"),
        (b'{"nbformat": true, "cells": []}', "which notebook format"),
        (b'{"nbformat": 1e999, "cells": []}', "which notebook format"),
        (b'{"nbformat": ' + b"9" * 5000 + b', "cells": []}', "cut off or damaged"),
    ],
)
def test_e9_what_is_no_notebook_is_refused_in_words(tmp_path, data, words):
    got = read(put(tmp_path, {NAME: data}))
    assert got.notebook is None and words in got.refused


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_e10_other_encodings_are_refused(tmp_path, work, encoding):
    notebook = copy.deepcopy(work)
    notebook.cells[0].source = "ɓ" if encoding == "utf-16" else "é"
    data = nbformat.writes(notebook).encode(encoding)
    assert "not saved as UTF-8" in read(put(tmp_path, {NAME: data})).refused


def test_a_byte_order_mark_does_no_harm(tmp_path, work):
    assert read(put(tmp_path, {NAME: b"\xef\xbb\xbf" + text(work)})).refused is None


def test_e11_old_formats_are_converted(tmp_path, work, release):
    old = nbformat.convert(copy.deepcopy(work), 3)
    got = read(put(tmp_path, {NAME: json.dumps(old).encode()}))
    assert "converted to format 4" in said(got)
    made, _ = rebuild(release, nbformat.reads(got.notebook.decode(), as_version=4))
    assert next(cell for cell in made.cells if cell.id == "mean_square").source.endswith("return 1")
    broken = b'{"nbformat": 3, "worksheets": [{"cells": [{"cell_type": 3}]}]}'
    assert "could not be converted" in read(put(tmp_path, {NAME: broken})).refused


def test_e12_newer_formats_are_refused(tmp_path):
    assert "format 9, which is newer" in read(put(tmp_path, {NAME: b'{"nbformat": 9, "cells": []}'})).refused


@pytest.mark.parametrize("cells", [[], [{"cell_type": "code", "source": "", "metadata": {}}], [{}], [{"source": []}]])
def test_e14_empty_notebooks_are_taken(tmp_path, cells, release):
    data = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()
    got = read(put(tmp_path, {NAME: data}))
    assert got.refused is None
    rebuild(release, nbformat.reads(got.notebook.decode(), as_version=4))


def test_e17_a_nul_in_a_text_is_refused(tmp_path, work):
    notebook = copy.deepcopy(work)
    notebook.cells[3].source = "x = 1\0"
    assert "Cell 4 of the notebook has a NUL" in read(put(tmp_path, {NAME: text(notebook)})).refused


@pytest.mark.parametrize(
    "cell",
    [
        {"cell_type": "code", "source": "x = '\ud800'", "metadata": {}},
        {"cell_type": "code", "source": 7, "metadata": {"tags": [{}, 1, "x" * 999, "\ud800", "ok", "ok", "a,b", ""]}},
        {"cell_type": ["x"], "source": ["a", "b"], "metadata": 5, "id": [1]},
        {"cell_type": "code", "source": "1", "metadata": {"nbgrader": {"grade_id": "x\ud800", "points": 1e999, "a": []}}},
        {"cell_type": "markdown", "source": "1", "attachments": [1], "id": "../x"},
        {"cell_type": "markdown", "source": "1", "attachments": {"a": 1, "b": {"image/png": 5}, "c": {"image/png": "<x>"}}},
        "no cell",
        None,
    ],
)
def test_rubbish_in_cells_is_made_plain(tmp_path, cell, release):
    cells = [
        cell,
        {"cell_type": "code", "source": "kept = 1", "metadata": {}, "id": "same"},
        {"source": "too", "id": "same"},
    ]
    data = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()
    got = read(put(tmp_path, {NAME: data}), release)
    notebook = nbformat.reads(got.notebook.decode(), as_version=4)
    nbformat.validate(notebook)
    assert "kept = 1" in [c.source for c in notebook.cells]
    assert len({c.id for c in notebook.cells}) == len(notebook.cells)


def test_a_fault_of_ours_is_no_end_of_the_class(tmp_path, work, monkeypatch):
    monkeypatch.setattr(ingest, "choose_notebook", lambda *given, **named: 1 / 0)
    got = read(put(tmp_path, {NAME: text(work)}))
    assert got.notebook is None and "ZeroDivisionError" in got.refused


def test_reading_opens_no_file_for_ever(tmp_path, work):
    path = packed(tmp_path / "a.zip", {NAME: text(work)})
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for _ in range(20):
        read(path)
    assert before is None or len(os.listdir("/proc/self/fd")) <= before


def test_an_untouched_notebook_of_another_language_is_not_the_one_that_was_worked_on(tmp_path, release, work):
    """Its written forms differ from the English ones, and so does what its stubs print."""
    spanish = copy.deepcopy(release)
    for cell in spanish.cells:
        cell.source += "\n\nEn español." if cell.cell_type == "markdown" else "\nprint('en español')"
    path = put(tmp_path / "labs", {NAME: text(spanish)}) / NAME
    handed_in = put(tmp_path / "in", {NAME: text(spanish), "mine.ipynb": text(work)})
    kept = json.loads(read(handed_in, release, others=[path]).notebook)
    assert "return 1" in "".join(cell["source"] for cell in kept["cells"])
