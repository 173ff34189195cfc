"""Tests that run student code need the sandbox; where there is none, they say so."""

import pytest
from leaplm.grading.sandbox.bubblewrap import NoSandbox, find_bwrap

try:
    find_bwrap()
    missing = ""
except NoSandbox as problem:
    missing = str(problem)

needs_sandbox = pytest.mark.skipif(bool(missing), reason=missing)
