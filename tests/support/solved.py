"""A fixture that gives what a lab's solution defines."""


import pytest
from leaplm.grading.judge.banks import Workbench
from repo import ROOT


def solved_lab(name):
    """A fixture: {name: value} of the solution's functions and variables, run once a test module at scale tiny."""

    @pytest.fixture(scope="module")
    def lab(assets_ready):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LEAPLM_SCALE", "tiny")
            with Workbench(name, ROOT) as bench:
                yield bench._solved

    return lab
