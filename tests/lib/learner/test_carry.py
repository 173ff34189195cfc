"""Work as one zip and back: nothing is lost on the way, nothing that is there is overwritten, nothing else is written."""

import contextlib
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import PurePosixPath

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaplm.learner import carry, progress
from leaplm.learner.carry import CarryError, bring_back, labs_folder, take_home
from nbformat.v4 import new_code_cell, new_notebook, new_output
from repo import ROOT

LABS = ("lab0_start", "lab2_finetuning", "languages/fr/lab2_finetuning")


def notebook(text="", run=False):
    cell = new_code_cell(text, id="answer")
    cell.outputs = [new_output("stream", text="3\n")] if run else []
    return nbformat.writes(new_notebook(cells=[cell]))


def make_labs(folder):
    """The labs as they are given out."""
    for lab in LABS:
        (folder / lab).mkdir(parents=True)
        (folder / lab / f"{lab.rpartition('/')[2]}.ipynb").write_text(notebook())
    (folder / "START.md").write_text("# Start")
    return folder


@pytest.fixture
def old(tmp_path):
    """A folder where labs 0 and French lab 2 were worked on."""
    labs = make_labs(tmp_path / "old")
    (labs / "lab0_start" / "lab0_start.ipynb").write_text(notebook("x = 3", run=True))
    french = labs / "languages/fr/lab2_finetuning"
    (french / "lab2_finetuning.ipynb").write_text(notebook("réponse = 3"))
    (french / "artifacts").mkdir()
    (french / "artifacts" / "sentiment-cpu.safetensors").write_bytes(random.Random(0).randbytes(100_000))
    (french / "mes phrases.csv").write_text("text,label\noui,1\n", encoding="utf-8")
    with progress.changing(labs / progress.FILE, "lab0_start") as record:
        record["checks"]["premium"] = {"points": 2, "tries": 1, "right_since": None}
        progress.note_work(record, 60)
    return labs


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.suffix not in (".lock", ".zip")}  # fmt: skip


def test_what_was_begun_comes_whole_into_fresh_labs(old, tmp_path):
    fresh, said = make_labs(tmp_path / "fresh"), []
    came = bring_back(take_home(old), fresh, said.append)
    assert contents(fresh) == contents(old) and said == []
    assert sorted(path.name for path in came) == [
        "lab0_start.ipynb", "lab2_finetuning.ipynb", "leaplm-progress.json", "mes phrases.csv", "sentiment-cpu.safetensors"]


def test_a_second_time_nothing_is_new(old, tmp_path):
    fresh = make_labs(tmp_path / "fresh")
    for _ in range(2):
        came = bring_back(take_home(old), fresh)
    assert [path.name for path in came] == [progress.FILE] and contents(fresh) == contents(old)


def test_work_that_is_here_is_kept_beside_what_comes(old, tmp_path):
    here, said = make_labs(tmp_path / "here"), []
    (here / "lab0_start" / "lab0_start.ipynb").write_text(notebook("x = 4", run=True))
    bring_back(take_home(old), here, said.append)
    texts = {nbformat.read(path, 4).cells[0].source for path in (here / "lab0_start").glob("*.ipynb")}
    assert texts == {"x = 3", "x = 4"} and len(said) == 1 and "lab0_start-before-" in said[0]


def test_of_two_progresses_the_later_record_of_each_lab_stays(old, tmp_path):
    here = make_labs(tmp_path / "here")
    for lab, points, year in (("lab0_start", 1, 2020), ("lab2_finetuning", 5, 2099)):
        with progress.changing(here / progress.FILE, lab) as record:
            record["checks"]["c"] = {"points": points, "tries": 1, "right_since": None}
            record["last_run"] = f"{year}-01-01T00:00:00+00:00"
    bring_back(take_home(old), here)
    found = progress.read(here / progress.FILE)
    assert set(found["lab0_start"]["checks"]) == {"premium"} and found["lab2_finetuning"]["checks"]["c"]["points"] == 5


def test_a_lab_that_was_not_begun_is_not_taken(old):
    assert "lab2_finetuning/lab2_finetuning.ipynb" not in zipfile.ZipFile(take_home(old)).namelist()


def test_with_nothing_begun_it_says_so(tmp_path):
    with pytest.raises(CarryError, match="no lab is begun"):
        take_home(make_labs(tmp_path / "labs"))
    assert carry.run_take_home(tmp_path / "labs", None, lambda said: None) == 1


@pytest.mark.parametrize("end", [0, 10, 5000, 60_000, -30])
def test_a_zip_that_was_cut_changes_nothing(old, tmp_path, end):
    fresh = make_labs(tmp_path / "fresh")
    before, cut = contents(fresh), tmp_path / "cut.zip"
    cut.write_bytes(take_home(old).read_bytes()[:end])
    with pytest.raises(CarryError, match="Nothing was changed"):
        bring_back(cut, fresh)
    assert contents(fresh) == before


def test_a_damaged_byte_changes_nothing(old, tmp_path):
    fresh = make_labs(tmp_path / "fresh")
    data = bytearray(take_home(old).read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / "bad.zip").write_bytes(data)
    before = contents(fresh)
    with pytest.raises(CarryError):
        bring_back(tmp_path / "bad.zip", fresh)
    assert contents(fresh) == before


PARTS = ["..", ".", "/", "labs", "lab2_finetuning", "artifacts", "languages", "fr", "a.ipynb", "a.json", ".a.json",
         "a.safetensors", "checks.py", "C:", "\\", "START.md", "~"]  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=6))
def test_only_places_of_work_are_written(parts):
    name = PurePosixPath("/".join(parts))
    if carry.is_work(name):
        assert not name.is_absolute() and ".." not in name.parts and name.suffix in (".ipynb", ".json", ".safetensors")
        assert any(carry.LAB_NAME.fullmatch(part) for part in name.parts[:3])


def test_other_entries_of_a_zip_are_not_written(old, tmp_path):
    path = take_home(old)
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("../evil.ipynb", "/lab0_start/evil.ipynb", "lab0_start/checks.py", "lab0_start/x/y.ipynb", "START.md",
                     "languages/../lab0_start/evil.csv", "lab0_start/.evil.csv"):  # fmt: skip
            archive.writestr(name, "evil")
    fresh = make_labs(tmp_path / "in" / "fresh")
    bring_back(path, fresh)
    files = [each for each in tmp_path.rglob("*") if each.is_file() and each.suffix != ".zip"]
    assert not [each for each in files if each.read_bytes() == b"evil"]


INSIDE = [".", "labs", "labs/lab0_start", "labs/lab0_start/artifacts", "labs/languages", "labs/languages/fr",
          "labs/languages/fr/lab2_finetuning"]  # fmt: skip


@pytest.mark.parametrize("inside", INSIDE)
def test_the_folder_of_the_labs_is_found_from_all_places(tmp_path, inside):
    make_labs(tmp_path / "labs")
    assert labs_folder(tmp_path / inside) == tmp_path / "labs"


def test_a_progress_that_cannot_be_read_costs_no_work(old, tmp_path):
    (old / progress.FILE).write_text("{")
    fresh = make_labs(tmp_path / "fresh")
    bring_back(take_home(old), fresh)
    assert json.loads((fresh / "lab0_start" / "lab0_start.ipynb").read_text())["cells"][0]["source"]


ANSWER = ROOT / "labs" / "lab2_finetuning" / "lab2_finetuning.ipynb"


def answered(path):
    """A lab of ours in which an answer was written, and nothing run."""
    made = nbformat.read(ANSWER, as_version=4)
    next(cell for cell in made.cells if cell.metadata.get("nbgrader", {}).get("solution")).source = "mine = 3"
    path.write_text(nbformat.writes(made), encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / "labs").glob("**/lab*_*.ipynb")), ids=lambda path: str(path.parent))
def test_no_lab_is_begun_as_it_is_given_out(path):
    assert not carry.was_worked_in(path)


def test_an_answer_that_was_written_and_never_run_is_taken_and_kept(old, tmp_path):
    fresh = make_labs(tmp_path / "fresh")
    answered(fresh / "lab0_start" / "lab0_start.ipynb")
    assert "lab0_start/lab0_start.ipynb" in zipfile.ZipFile(take_home(fresh)).namelist()
    bring_back(take_home(old), fresh)
    [aside] = (fresh / "lab0_start").glob("*-before-*.ipynb")
    assert "mine = 3" in aside.read_text(encoding="utf-8")


def test_what_was_set_aside_stays_where_more_comes_in_the_same_second(old, tmp_path):
    name = "lab0_start/lab0_start.ipynb"
    own = (old / name).read_text()
    for text in ("first", "second"):
        with zipfile.ZipFile(tmp_path / "came.zip", "w") as archive:
            archive.writestr(name, text)
        bring_back(tmp_path / "came.zip", old)
    found = [path.read_text() for path in (old / "lab0_start").glob("*.ipynb")]
    assert sorted(found) == sorted(["first", "second", own])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_odd_times_and_names_of_files_are_taken(old):
    os.utime(old / "lab0_start" / "lab0_start.ipynb", (0, 0))
    (old / "lab0_start" / "ROWS.CSV").write_text("a,b")
    with contextlib.suppress(OSError):  # some file systems take none but Unicode
        (old / "lab0_start" / os.fsdecode(b"caf\xe9.csv")).write_text("c,d")
    assert "lab0_start/ROWS.CSV" in zipfile.ZipFile(take_home(old)).namelist()


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_damaged_anywhere_changes_nothing_or_is_told(tmp_path, kind):
    chance, path, fresh = random.Random(kind), tmp_path / "bad.zip", make_labs(tmp_path / "fresh")
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("lab0_start/artifacts/mod\u00e8le.json", '{"a": 1}' * 20)
    whole, before = path.read_bytes(), contents(fresh)
    for place in range(0, len(whole), 3):
        data = bytearray(whole)
        data[place] ^= chance.randrange(1, 256)
        path.write_bytes(data)
        try:
            for came in bring_back(path, fresh):
                came.unlink()
        except CarryError:
            assert {name: each for name, each in contents(fresh).items() if name in before} == before


def test_where_nothing_can_be_written_the_zip_is_not_blamed_and_no_rest_stays(old, tmp_path):
    fresh, said = make_labs(tmp_path / "fresh"), []
    (fresh / "lab0_start" / "lab0_start.ipynb").unlink()
    (fresh / "lab0_start" / "lab0_start.ipynb").mkdir()
    assert carry.run_bring_back(take_home(old), fresh, said.append) == 1
    assert "not a whole zip" not in said[-1] and not list(fresh.rglob(".*.part"))
    (tmp_path / "folder").mkdir()
    assert take_home(old, tmp_path / "folder") == tmp_path / "folder" / carry.WORK


@pytest.mark.parametrize("models", [[3], [{"metric": "loss"}], [{"metric": "loss", "score": "low"}]])
def test_a_progress_that_would_break_the_page_does_not_come(tmp_path, models):
    record = {"checks": {}, "models": models, "seconds": 1, "last_run": "2999"}
    with zipfile.ZipFile(tmp_path / "came.zip", "w") as archive:
        archive.writestr(progress.FILE, json.dumps({"format": 1, "labs": {"lab2_finetuning": record}}))
    fresh = make_labs(tmp_path / "fresh")
    bring_back(tmp_path / "came.zip", fresh)
    assert not progress.read(fresh / progress.FILE)


def test_work_that_is_not_saved_yet_is_named(old):
    """Only the file on the disk can be taken; what was done since then would be lost without a word."""
    lab, said = next(path.parent.name for path in sorted(old.glob("lab*/*.ipynb")) if carry.is_begun(path.parent)), []
    take_home(old, tell=said.append)
    assert not any("was saved at" in line for line in said)
    with progress.changing(progress.progress_file(old), lab) as record:
        record["last_run"] = "2999-01-01T00:00:00+00:00"
    take_home(old, tell=said.append)
    assert said[-2].startswith(f"{lab}: cells were run after the notebook was saved at ") and carry.WORK in said[-1]


@pytest.mark.parametrize("words", [["bring-back", "nosuch.zip"], ["bring-back", "."], ["finish", "--verify", "nosuch.html"]])
def test_a_file_that_is_not_there_is_said_not_to_be_there(labs, words):
    done = subprocess.run([sys.executable, "-m", "leaplm", *words], cwd=labs, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout.strip() == f"leaplm {words[0]}: there is no file {words[-1]}", done
