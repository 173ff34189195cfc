"""Tests that run student code need a sandbox that works; where there is none, they say so."""

import pytest
from leaplm.grading.judge.engine import try_sandbox
from leaplm.grading.sandbox.bubblewrap import NoSandbox

try:
    try_sandbox()
    missing = ""
except NoSandbox as problem:
    missing = str(problem)

needs_sandbox = pytest.mark.skipif(bool(missing), reason=missing)
