"""The file of a learner's progress: whole or not there, never lost, one for all labs and languages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaplm.grading.judge.standing import Standing
from leaplm.learner import progress, releases
from leaplm.learner.marks import Mark
from mini import LAB, ROOT

KEYS = st.text() | st.sampled_from(["format", "labs", "checks", "models", "seconds", "last_run"])
JSON = st.recursive(st.none() | st.booleans() | st.just(1) | st.floats(allow_nan=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=8)


def note(path, points, check="mean_square", **more):
    mark = Mark(releases.named_task(check), points, "said", **more)
    with progress.changing(path, LAB) as record:
        progress.note_mark(record, mark)
        progress.note_work(record, 60)


def test_the_last_mark_counts_and_one_not_judged_changes_nothing(labs):
    path = progress.progress_file()
    for points in (0, 3, None, 1):
        note(path, points)
    record = progress.read(path)[LAB]
    assert record["checks"]["mean_square"]["points"] == 1 and record["checks"]["mean_square"]["tries"] == 3
    assert record["checks"]["mean_square"]["right_since"] and record["seconds"] == 240
    assert "1/9" in progress.table(progress.read(path))


@pytest.mark.parametrize(("folder", "place"), [
    ("labs/lab2_finetuning", "labs"), ("labs/languages/fr/lab2_finetuning", "labs"), ("content", "content")])
def test_there_is_one_file_for_all_labs_and_languages(folder, place, tmp_path):
    (tmp_path / folder).mkdir(parents=True)
    assert progress.progress_file(tmp_path / folder) == tmp_path / place / progress.FILE


@given(content=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_other_file_is_set_aside_and_told(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("progress") / progress.FILE
    path.write_bytes(content)
    said = []
    found = progress.read(path, said.append)
    if not path.exists():
        [aside] = path.parent.glob("*-damaged-*.json")
        assert found == {} and aside.read_bytes() == content and aside.name in said[0]
    else:
        assert said == [] and all(set(record) == {"checks", "models", "seconds", "last_run"} for record in found.values())


def test_a_crash_while_writing_leaves_the_old_file(labs, monkeypatch):
    path = progress.progress_file()
    note(path, 3)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("no power")))
    with pytest.raises(OSError, match="no power"):
        note(path, 1)
    assert path.read_bytes() == before and not list(path.parent.glob(f".{progress.FILE}*"))


def test_two_notebooks_at_once_lose_nothing(labs, course):
    code = f"""if True:
        from leaplm.learner import progress
        for _ in range(10):
            with progress.changing(progress.progress_file(), {LAB!r}) as record:
                progress.note_work(record, 1)"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert progress.read(progress.progress_file())[LAB]["seconds"] == 20


def test_the_page_has_a_row_for_each_lab_and_the_model(labs):
    path = progress.progress_file()
    note(path, 2, "slope", standings=(Standing("accuracy", 0.812, 0.79, (0.8,)),))
    page = path.with_name(progress.PAGE).read_text(encoding="utf-8")
    assert "| mini lab | 1/3 | 2/9 | accuracy 0.812 | 1 |" in page


def test_the_command_shows_it(labs, course):
    note(progress.progress_file(), 3)
    done = subprocess.run([sys.executable, "-m", "leaplm", "progress"], capture_output=True, text=True, cwd=labs)
    assert done.returncode == 0 and "1/3" in done.stdout and "3/9" in done.stdout, done.stderr
    assert Path(labs, progress.PAGE).is_file()


@pytest.mark.parametrize("locale", ["zh_CN", "ar", "fr", ""])
def test_the_columns_of_a_table_stand_below_each_other_in_every_script(locale, monkeypatch):
    """Two columns of a terminal for each Chinese letter."""
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    monkeypatch.setenv("LEAPLM_LOCALE", locale)
    begun = {"lab0_start": {"checks": {}, "models": [], "seconds": 60}}
    starts = {progress.columns(line[: line.index("  0/")]) for line in progress.table(begun).splitlines()[1:]}
    assert len(starts) == 1
