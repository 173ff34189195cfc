"""Output that does not fail for want of a letter, whatever the code page of a terminal or file is."""

import os
import subprocess
import sys

import pytest
from mini import LAB, make_course


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return make_course(tmp_path_factory.mktemp("output") / "course")


@pytest.mark.parametrize("encoding", ["cp1252", "cp437"])
def test_a_collection_is_told_on_any_code_page(course, tmp_path, encoding):
    for name in ("Ọlá Adébáyọ̀", "रमा कुमारी", os.fsdecode(b"Zo\xe9")):
        (tmp_path / "class" / name).mkdir(parents=True)
        (tmp_path / "class" / name / f"{LAB}.ipynb").write_bytes((course / "labs" / LAB / f"{LAB}.ipynb").read_bytes())
    command = [sys.executable, "-m", "leaplm", "collect", LAB, str(tmp_path / "class")]
    run_as = {**os.environ, "PYTHONIOENCODING": encoding, "LEAPLM_COURSE": str(course)}
    done = subprocess.run(command, cwd=course, capture_output=True, env=run_as)
    said = done.stdout.decode(encoding)
    assert done.returncode == 0 and "3 entries in = 3 of students" in said, said + done.stderr.decode(encoding)
    assert "\\u" in said


def test_the_check_too():
    done = subprocess.run([sys.executable, "-m", "leaplm", "check"], capture_output=True,
                          env={**os.environ, "PYTHONIOENCODING": "ascii", "LEAPLM_HOME": "/nowhere/Ọlá"})  # fmt: skip
    assert b"UnicodeEncodeError" not in done.stderr and done.stdout
