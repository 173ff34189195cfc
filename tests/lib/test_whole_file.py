"""A file is whole or as it was, whatever happens while it is written; and no module of ours does this by itself."""

import os
import re
import stat
import threading

import pytest
from leaplm.whole_file import replacing, write_whole
from repo import ROOT

# Downloads that go on where they stopped keep their part; folders are no files; the installer stands alone.
OTHERS = {"whole_file.py", "assets/fetching.py", "bundle/make.py", "bundle/installer.py", "training.py",
          "grading/trained.py", "grading/judge/heldout.py", "cli/add_language.py",
          "small_machines/gguf_file.py"}  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", [b"\r\n\x00", "ƙarfe\nda\r\n", ""], ids=repr)
def test_what_is_written_is_read(tmp_path, content):
    for _ in range(2):  # also over what is there
        write_whole(tmp_path / "a" / "file", content)
    wanted = content if isinstance(content, bytes) else content.encode()
    assert (tmp_path / "a" / "file").read_bytes() == wanted and names(tmp_path / "a") == ["file"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, OSError])
def test_a_fault_leaves_the_old_file_and_nothing_beside_it(tmp_path, fault):
    (tmp_path / "file").write_text("old")
    with pytest.raises(fault), replacing(tmp_path / "file") as file:
        file.write(b"new")
        raise fault
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "file", "\ud800")
    assert (tmp_path / "file").read_text() == "old" and names(tmp_path) == ["file"]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "file").write_text("old")
    with replacing(tmp_path / "file", encoding="utf-8") as file:
        file.write("new")
        assert (tmp_path / "file").read_text() == "old"
    assert (tmp_path / "file").read_text() == "new"


def test_two_that_write_the_same_file_at_once_do_not_mix(tmp_path):
    texts = [letter * 100_000 for letter in "abcd"]
    writers = [threading.Thread(target=write_whole, args=(tmp_path / "file", text)) for text in texts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (tmp_path / "file").read_text() in texts and names(tmp_path) == ["file"]


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    write_whole(tmp_path / ("n" * 255), "x")
    assert names(tmp_path) == ["n" * 255]


@pytest.mark.skipif(os.name == "nt", reason="permissions are those of POSIX")
def test_others_may_read_a_file_as_any_other_of_this_user_unless_it_is_secret(tmp_path):
    (tmp_path / "usual").write_text("")
    write_whole(tmp_path / "ours", "")
    with replacing(tmp_path / "secret", permissions=0o600) as file:
        file.write(b"")
    usual, ours, secret = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours", "secret"))
    assert (ours, secret) == (usual, 0o600)


def test_no_other_module_puts_files_in_place_by_itself():
    folder = ROOT / "lib" / "leaplm"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")
             if re.search(r"os\.replace\((?!path, aside)|fresh\.(replace|rename)\(|\.part\"\)", path.read_text())}
    assert found == OTHERS
