"""Which saved file a check takes, what is said where there is none that counts, and what its points are."""

import json

import numpy as np
import pytest
from leaplm.grading import NOTHING_CALLED, StudentError, check, differs, first_artifact
from leaplm.grading.judge.checks import judge
from leaplm.grading.sandbox.student import Student

NAMES = ("model-gpu.json", "model-cpu.json")


def saved(folder, *names):
    (folder / "artifacts").mkdir()
    for name in names:
        (folder / "artifacts" / name).write_text(name)
    return Student({}, folder, 1)


def test_the_first_that_is_there_is_taken(tmp_path):
    assert first_artifact(saved(tmp_path, "model-cpu.json", "model-tiny.json"), NAMES) == b"model-cpu.json"


@pytest.mark.parametrize(("there", "said"), [((), "There is no artifacts/model-cpu.json"),
                                             (("model-tiny.json",), "artifacts/model-tiny.json is of the scale tiny")])
def test_what_is_missing_is_said(tmp_path, there, said):
    with pytest.raises(StudentError, match=said):
        first_artifact(saved(tmp_path, *there), NAMES)


@check(points=6, contract=NOTHING_CALLED)
def half_right(student, rng):
    return 3 * np.bool_(True) + 3 * np.bool_(False), "half"


def test_points_that_numpy_counted_go_into_json(tmp_path):
    assert json.dumps(judge(half_right, saved(tmp_path), 1).points) == "3"


def test_a_small_case_is_told_on_one_line():
    assert differs("f", (np.array([1.5, 2]), 3), [1 / 3], 0.5) == "`f([1.5, 2], 3)` gives [0.3333], where 0.5 is wanted"
    assert len(differs("f", (), list(range(10**6)), 0)) < 160
