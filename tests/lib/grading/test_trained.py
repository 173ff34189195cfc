"""Trained solutions are kept by what decides them: its change trains again, another change does not."""

import nbformat
from leaplm.grading import trained
from mini import LAB, make_course
from repo import ROOT


def names(source):
    return {path.stem for path in trained.library(source)}


def test_what_a_program_imports_is_found_also_through_modules():
    found = names("from leaplm.peft import lora\nfrom leaplm import training")
    assert {"lora", "training", "data", "runtime"} <= found and "engine" not in found
    assert names("%pip install leaplm\nfrom leaplm import models")  # a notebook's magics are in nobody's way


def test_the_digest_follows_the_solution_and_not_its_text(tmp_path):
    course = make_course(tmp_path / "course")
    path = course / "solutions" / LAB / f"{LAB}.ipynb"
    before, notebook = trained.digest(LAB, course), nbformat.read(path, as_version=4)
    text = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    text.source += " And more."
    nbformat.write(notebook, path)
    assert trained.digest(LAB, course) == before
    code = next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution"))
    code.source += "\n# another answer"
    nbformat.write(notebook, path)
    assert trained.digest(LAB, course) != before


def test_it_is_trained_once_for_each_state_and_two_states_are_kept(tmp_path, monkeypatch):
    course, runs = make_course(tmp_path / "course"), []

    def train(lab, course, folder):
        runs.append(lab)
        (folder / "artifacts").mkdir()
        (folder / "artifacts" / "slope-cpu.json").write_text(f'{{"slope": {len(runs)}}}')
        return folder / "artifacts"

    monkeypatch.setenv(trained.TRAINED, str(tmp_path / "trained"))
    monkeypatch.setattr(trained, "train", train)
    for state in "aabc":
        monkeypatch.setattr(trained, "digest", lambda lab, course, state=state: state * 16)
        kept = trained.trained_artifacts(LAB, course, say=lambda words: None)
    assert len(runs) == 3 and kept.name.endswith("c" * 16)
    assert (kept / "slope-cpu.json").read_text() == '{"slope": 3}'
    assert {path.name[-1] for path in kept.parent.iterdir() if path.is_dir()} == {"b", "c"}


def test_a_lab_of_the_course_has_a_digest_of_its_own():
    labs = ("lab0_start", "lab2_finetuning")
    assert len({trained.digest(lab, ROOT) for lab in labs}) == len(labs)
