"""What reads bytes of students and of classes, on bytes that nobody made by hand: only the errors that it promises.

LEAPLM_FUZZ says how many examples of each (`make fuzz` tries many, for hours if you let it). What hypothesis finds it keeps
in .hypothesis, and tries first the next time.
"""

import contextlib
import io
import json
import os
import zipfile

import nbformat
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from leaplm.grading.intake.clean_notebook import clean_notebook
from leaplm.grading.intake.ingest import read_submission, safe_id
from leaplm.grading.intake.roster import read_roster
from leaplm.grading.intake.uploads import Refused
from leaplm.grading.judge.audit import sample
from leaplm.grading.judge.examiner import as_output
from leaplm.grading.rebuild.plan import Names
from leaplm.grading.rebuild.repair import rebuild
from leaplm.grading.sandbox.values import TooLarge, clean_text
from leaplm.grading.sandbox.wire import Broken, checked, decode, encode
from safetensors.numpy import save

EXAMPLES = int(os.environ.get("LEAPLM_FUZZ") or 40)
CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=CHECKS)
LINE_ENDS = set("\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r")

odd_text = st.text(st.characters(), max_size=40) | st.text("\ud800\udfff\u2028\x85\x00\x1b[2J\u0301é", max_size=12)
values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | odd_text,
                      lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_text, inner, max_size=4))  # fmt: skip
KEYS = st.sampled_from(["cell_type", "source", "metadata", "id", "outputs", "attachments", "nbgrader", "tags"])
cells = st.dictionaries(KEYS, values | st.sampled_from(["code", "markdown", "%%bash\n%x", "def f(:\n"]), max_size=6)
versions = st.sampled_from([4, 4, 4, 3, 2, 1, 5, None, 4.0])
notebooks = st.fixed_dictionaries({"nbformat": versions, "nbformat_minor": st.integers(-1, 9), "metadata": values,
                                   "cells": st.lists(cells | values, max_size=5)})  # fmt: skip


def damaged(draw, data):
    """Bytes with a few of them changed, cut off, or doubled."""
    data = bytearray(data)
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6)):
        if data:
            data[place % len(data)] = byte
    return bytes(data[: draw(st.integers(0, 2 * len(data) + 1))])


@fuzz
@given(notebooks, st.data())
def test_a_notebook_is_cleaned_and_rebuilt_or_refused(notebook, data):
    raw = damaged(data.draw, json.dumps(notebook).encode()) if data.draw(st.booleans()) else json.dumps(notebook).encode()
    try:
        clean, notes = clean_notebook(raw)
    except Refused:
        return
    assert all(note.encode() for note in notes)
    submitted = nbformat.reads(clean.decode(), as_version=4)
    release = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")])
    rebuild(release, submitted)
    for cell in submitted.cells:
        Names(cell.source)


@fuzz
@given(values, st.data())
def test_a_frame_is_a_plain_value_that_can_be_written_or_broken(value, data):
    try:
        frame = encode({"value": value})
    except TooLarge:  # a whole number of more than 64 bits, refused before it is sent
        return
    frame = damaged(data.draw, frame)
    try:
        found = checked(decode(frame))
    except (Broken, TypeError):
        return
    json.dumps(found, ensure_ascii=False, default=str).encode()


@fuzz
@given(values, odd_text)
def test_an_output_is_one_of_ours_or_none_and_can_be_written(value, text):
    for kind in ("stream", "error", "display_data"):
        for item in (value, {"output_type": kind, "name": text, "text": value, "ename": value, "evalue": text,
                             "traceback": [value, text], "data": {"text/html": value, "text/plain": text}}):  # fmt: skip
            if output := as_output(item):
                assert json.dumps(output, ensure_ascii=False).encode()


@fuzz
@given(odd_text)
def test_shown_text_can_be_written_and_each_line_of_it_is_one(text):
    shown = clean_text(text, 100)
    assert shown.encode() and not LINE_ENDS & set(shown) or not shown
    assert clean_text(shown, 100) == shown


@fuzz
@given(st.binary(max_size=300), st.data())
def test_an_artifact_can_be_compared_whatever_it_is(content, data):
    names = data.draw(st.lists(st.text(max_size=3), max_size=3, unique=True))
    whole = save({name: np.ones(3, np.float32) for name in names})
    assert isinstance(sample(content), dict) and isinstance(sample(damaged(data.draw, whole)), dict)


@fuzz
@given(odd_text)
def test_an_id_is_a_folder_name_and_stays_itself(name):
    made = safe_id(name)
    assert made.encode() and "/" not in made and made not in (".", "..") and safe_id(made) == made


@fuzz
@given(st.lists(st.lists(odd_text, max_size=4), max_size=4), st.data())
def test_a_roster_is_read_or_refused(tmp_path, rows, data):
    text = "id,first_name,lms_user_id\n" + "\n".join(",".join(row) for row in rows)
    path = tmp_path / "students.csv"
    path.write_bytes(damaged(data.draw, text.encode("utf-8", "surrogatepass")))
    with contextlib.suppress(ValueError):  # RosterError, or that it is no UTF-8: `leaplm collect` says either
        read_roster(path)


@fuzz
@given(notebooks, st.dictionaries(odd_text.filter(bool), st.binary(max_size=50), max_size=4), st.data())
def test_an_upload_is_a_submission_whatever_it_is(tmp_path, notebook, files, data):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in {"lab.ipynb": json.dumps(notebook), **files}.items():
            archive.writestr(name.encode("utf-8", "replace").decode().replace("\0", "") or "x", content)
    path = tmp_path / "upload.zip"
    path.write_bytes(damaged(data.draw, packed.getvalue()) if data.draw(st.booleans()) else packed.getvalue())
    submission = read_submission(path, "lab", "amina")
    assert submission.digest and (submission.refused or submission.notebook)
    assert "".join([*submission.notes, submission.refused or ""]).encode() is not None
