"""Looks behind the marks: training again, and artifacts that are too much alike."""

import json

import numpy as np
import pytest
import torch
from leaplm.artifacts import save_artifact
from leaplm.grading.judge.audit import distance, near_duplicates, retrain, sample, signed
from leaplm.grading.sandbox.walls import Limits
from leaplm.grading.submission import Submission
from leaplm.identity import student_seed
from mini import LAB, make_course
from safetensors.numpy import save
from walled import needs_sandbox

pytestmark = pytest.mark.usefixtures("shared_examiners")
NAME = "artifacts/model-cpu.safetensors"


def submission(student, files, notebook=None):
    return Submission(LAB, student, notebook, files, None, (), None)


def model(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(40, 50)).astype(np.float16)
    weights.reshape(-1)[:20] += np.float16(shift)
    return save({"weight": weights, "bias": rng.normal(size=40).astype(np.float16)})


def test_same_files_and_nearly_equal_numbers_are_named_and_others_not():
    files = {"amina": model(0), "bello": model(0), "chipo": model(0, shift=0.01), "dede": model(1), "efua": b"no artifact"}
    said = near_duplicates([submission(student, {NAME: content}) for student, content in files.items()])
    assert len(said) == 2
    assert said[0] == f"{NAME} is the same file for amina, bello"
    assert said[1].startswith(f"the numbers of {NAME} differ by 0.") and "amina, bello" in said[1] and "chipo" in said[1]


@pytest.mark.parametrize(("card", "seed"), [({"seed": 4711}, 4711), ({"seed": 0}, 0), ({"seed": True}, None), ({}, None),
                                            ({"seed": "4"}, None), ({"seed": 10**12}, None)])
def test_a_run_takes_the_seed_of_the_card(card, seed, tmp_path, monkeypatch):
    layer = torch.nn.Linear(2, 2)
    save_artifact(tmp_path / "a.safetensors", layer, torch.nn.Linear(2, 2), card)
    files = signed({"artifacts/notes.txt": b"words", NAME: (tmp_path / "a.safetensors").read_bytes()})
    assert bool(files) == (seed is not None)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        monkeypatch.chdir(tmp_path)
        assert student_seed() == seed


def test_distance_needs_most_tensors_in_common():
    whole = sample(model(0))
    part = dict(list(whole.items())[:1])
    assert distance(whole, whole) == 0 and distance(whole, part) == np.inf and distance(whole, {}) == np.inf


SLOPES = {"amina": 2.0, "chipo": 3.0}


@pytest.fixture(scope="module")
def trained_again(tmp_path_factory):
    """{student: what was found}, and what was said, of all who handed in an artifact."""
    course = make_course(tmp_path_factory.mktemp("audit") / "course")
    solution = (course / "solutions" / LAB / f"{LAB}.ipynb").read_bytes()
    handed_in = [submission(student, {"artifacts/slope-cpu.json": json.dumps({"slope": slope}).encode()}, solution)
                 for student, slope in SLOPES.items()]  # fmt: skip
    said = []
    limits = Limits(memory_mb=1500, submission_seconds=300)
    found = retrain(course, LAB, [submission("bello", {}), *handed_in], 2, False, said.append, limits)
    return dict(zip(SLOPES, found, strict=True)), said


@needs_sandbox
@pytest.mark.parametrize(("student", "told"), [("amina", []), ("chipo", ["handed in 0 of 2", "trained again 2 of 2"])])
def test_training_again_shows_an_artifact_that_the_code_does_not_make(trained_again, student, told):
    found, said = trained_again[0][student], trained_again[1]
    text = "\n".join(found.lines())
    assert all(words in text for words in told) and bool(found.handed_in) == bool(told)
    begun = next(number for number, line in enumerate(said) if line.startswith(f"training {student}'s notebook again"))
    assert text.splitlines()[0] in said[begun + 1]
