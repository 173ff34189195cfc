"""nbgrader's own tests of `nbgrader autograde`, with our steps in the configuration; where we mean something else is below.

They come with nbgrader and take minutes, so they run where LEAPLM_NBGRADER_TESTS is set: `make nbgrader-tests`.
"""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

TESTS = "nbgrader.tests.apps.test_nbgrader_autograde"
# Where nbgrader ends with an error, ours goes on; the table in course/GRADING.md says why.
OTHERWISE = {"test_grade_empty_timestamp", "test_handle_failure", "test_handle_failure_single_notebook"}
CONFIGURATION = "c = get_config()\nfrom leaplm.grading import configure\nconfigure(c)\n"


@pytest.mark.skipif("LEAPLM_NBGRADER_TESTS" not in os.environ, reason="takes minutes: LEAPLM_NBGRADER_TESTS=1 runs it")
@pytest.mark.skipif(importlib.util.find_spec("nbgrader.tests") is None, reason="this nbgrader came without its tests")
def test_nbgraders_own_tests_pass(tmp_path):
    (tmp_path / "nbgrader_config.py").write_text(CONFIGURATION)
    words = [sys.executable, "-m", "pytest", "-q", "-rA", "--pyargs", TESTS, "-p", "no:cacheprovider"]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
    failed = set(re.findall(r"^FAILED \S*::(\w+)", done.stdout, re.M))
    passed = set(re.findall(r"^PASSED \S*::(\w+)", done.stdout, re.M))
    assert failed == OTHERWISE, done.stdout[-5000:]
    assert len(passed) >= 36, done.stdout[-5000:]
