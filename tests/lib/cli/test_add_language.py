"""A teacher's own language, from the file to the marks."""

import json
import random

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from leaplm import added, artifacts, calibration, data, marking
from leaplm.cli import add_language
from leaplm.grading.course import LAB_NAME, lab_file
from leaplm.grading.judge.checks import judge, load_checks
from leaplm.grading.sandbox.student import Student
from leaplm.responsible import privacy
from repo import ROOT

LAB = "lab9_responsible"
WORDS = {"good": ["kyau", "dadi", "murna", "godiya", "lafiya"], "bad": ["baki", "ciki", "laifi", "matsala", "kunya"]}


def rows_of(labels, seed=0):
    rng = random.Random(seed)
    return [(f"{' '.join(rng.choices(WORDS.get(label, ['gida']), k=6))} {i}", label) for i, label in enumerate(labels)]


def write_csv(path, rows):
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
    return path


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course with lab 9 alone, whose study is the real one, and a CSV of 300 texts in the folder that we work in."""
    root = tmp_path / "course_root"
    for name in ("checks.py", "study.py", "lab.py"):
        path = lab_file(root, LAB, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(lab_file(ROOT, LAB, name))
    (root / "labs" / LAB).mkdir(parents=True)
    monkeypatch.setenv("LEAPLM_COURSE", str(root))
    monkeypatch.delenv("LEAPLM_COURSE_SECRET", raising=False)
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "kanuri.csv", rows_of(["good", "bad"] * 150))
    return root


def private_head(path, seed=0):
    """A head trained as in lab 9 on a student's file, with its card, as bytes."""
    rows = data.load_sentiment(str(path))["train"]
    some = data.subsample(rows, privacy.ROWS)
    config = privacy.private_config("kanuri.csv")
    features = privacy.text_features(some["text"], "characters")
    weight, noise = privacy.train_head_privately(features, np.array(some["label"]), 2, config, seed)
    card = privacy.private_card(config, noise, len(some), lab=LAB, language=path.name, seed=seed, features="characters",
                                labels=rows.features["label"].names)
    return weight, card


def hand_in(folder, weight, card):
    (folder / "artifacts").mkdir(parents=True)
    head = torch.nn.Linear(weight.shape[1], len(weight), bias=False)
    head.weight.data = torch.tensor(weight, dtype=torch.float32)
    artifacts.save_artifact(folder / "artifacts" / "private-head-cpu.safetensors", head, None, card)
    return Student({}, folder)


def test_a_model_in_an_added_language_is_marked(course, tmp_path, capsys):
    """The file, the runs in a process of their own, a student's head, the check's points; and then nothing is left to do."""
    said = []
    assert add_language.run("kanuri.csv", "", [], course, said.append) == 0
    assert len(marking.runs(LAB, "kanuri.csv")) >= marking.FEWEST_RUNS
    assert f"{LAB}: kanuri.csv: the model is marked on " in said[-1]
    students = course / "labs" / LAB / "kanuri.csv"
    check = load_checks(LAB, course)["private_head"]
    verdict = judge(check, hand_in(tmp_path / "amina", *private_head(students)))
    assert verdict.points == 6 and "macro-F1" in verdict.message
    record = added.find("kanuri.csv").record(LAB).read_bytes()
    assert add_language.run("kanuri.csv", "", [], course, said.append) == 0
    assert added.find("kanuri.csv").record(LAB).read_bytes() == record
    kept = set(data.read_added(added.find("kanuri.csv").heldout).text)
    handed_out = "".join(path.read_text() for path in (course / "labs").rglob("*") if path.is_file())
    assert kept and not any(text in handed_out for text in kept)


def test_a_judge_trains_again_on_the_courses_rows(course, tmp_path, monkeypatch):
    """Not on those of a file that was handed in under the same name."""
    language = add_language.hold_back("kanuri.csv", "", course / added.FOLDER, print)
    for seed in range(marking.FEWEST_RUNS):
        calibration.add_row(language.record(LAB), "", "main",
                            {"language": "kanuri.csv", "seed": seed, "heldout_macro_f1": 0.6})
    mine = tmp_path / "mine"
    mine.mkdir()
    other = write_csv(mine / "kanuri.csv", rows_of(["good", "bad"] * 400, seed=1))
    weight, card = private_head(other)
    monkeypatch.chdir(mine)
    check = load_checks(LAB, course)["private_head"]
    assert judge(check, hand_in(mine / "work", weight, {**card, "language": str(other)})).points == 0


def test_what_cannot_be_added_says_why(course, tmp_path):
    few = write_csv(tmp_path / "few.csv", rows_of(["good", "bad"] * 15))
    one = write_csv(tmp_path / "one.csv", rows_of(["good"] * 100))
    rare = write_csv(tmp_path / "rare.csv", rows_of(["good"] * 100 + ["bad"] * 21))
    for source, name, words in ((str(few), "", "at least 20 are needed"), (str(one), "", "only the label 'good'"),
                                (str(rare), "", "bad"), ("absent.csv", "", "does not exist"),
                                ("kanuri", "", "neither a CSV"),
                                ("kanuri.csv", "hau", "cannot be called 'hau'"), ("kanuri.csv", "a/b", "cannot be called")):
        said = []
        assert add_language.run(source, name, [], course, said.append) == 1
        assert words in said[-1] and not (course / added.FOLDER).exists()
    assert add_language.run("kanuri.csv", "", ["lab10_capstone"], course, said.append) == 1
    assert "no lab whose model is marked" in said[-1]


def test_marks_rest_on_the_texts_that_were_added_first(course, tmp_path):
    folder, said = course / added.FOLDER, []
    language = add_language.hold_back("kanuri.csv", "", folder, said.append)
    before = {path.name: path.read_bytes() for path in language.folder.iterdir()}
    assert add_language.hold_back("kanuri.csv", "", folder, said.append) == language
    write_csv(tmp_path / "kanuri.csv", rows_of(["good", "bad"] * 200))
    with pytest.raises(ValueError, match="added from other texts"):
        add_language.hold_back("kanuri.csv", "", folder, said.append)
    assert {path.name: path.read_bytes() for path in language.folder.iterdir()} == before
    assert add_language.hold_back("kanuri.csv", "kanuri-2", folder, said.append).language == "kanuri-2.csv"


def test_a_file_of_the_students_is_not_overwritten(course, tmp_path):
    language = add_language.hold_back("kanuri.csv", "", course / added.FOLDER, print)
    place, said = course / "labs" / LAB / "kanuri.csv", []
    place.write_bytes((tmp_path / "kanuri.csv").read_bytes())
    add_language.hand_out(language, [LAB], course, said.append)
    assert place.read_bytes() == (tmp_path / "kanuri.csv").read_bytes() and "may hold rows that you mark on" in said[-1]


def test_a_language_of_ours_gets_a_record_of_its_own(course):
    language = add_language.hold_back("por", "", course / added.FOLDER, print)
    for seed in range(marking.FEWEST_RUNS):
        calibration.add_row(language.record("lab3_lora"), "", "main",
                            {"language": "por", "seed": seed, "heldout_macro_f1": 0.5})
    known = json.loads((calibration.RECORDS / "lab3_lora.json").read_text())["studies"]["main"]
    ours = [row for row in known if row["language"] == "por"]
    assert len(marking.runs("lab3_lora", "por")) == (len(ours) or marking.FEWEST_RUNS)


def test_an_unfinished_record_of_ours_does_not_hide_the_teachers(course, monkeypatch):
    language = add_language.hold_back("por", "", course / added.FOLDER, print)
    for seed in range(marking.FEWEST_RUNS):
        calibration.add_row(language.record("lab3_lora"), "", "main",
                            {"language": "por", "seed": seed, "heldout_macro_f1": 0.5})
    known = calibration.load_record("lab3_lora", "main")
    monkeypatch.setattr(calibration, "load_record", lambda lab, study, **where: known[:1].assign(language="por"))
    assert len(marking.runs("lab3_lora", "por")) == marking.FEWEST_RUNS


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["good", "bad", "so-so", "good, I think", 'a "b"', "mai kyau"]), min_size=300, max_size=500),
       st.integers(0, 99))
def test_no_text_is_lost_and_students_get_the_same_parts(tmp_path_factory, labels, seed):
    """What students load from their file are the parts that the whole file has, the rows held back aside."""
    folder = tmp_path_factory.mktemp("added")
    rows = [(f"text {seed} {i}", label) for i, label in enumerate(labels)]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(folder / "own.csv", index=False)
    try:
        language = add_language.hold_back(str(folder / "own.csv"), "", folder / "languages", lambda line: None)
    except ValueError as problem:
        assert "are needed" in str(problem)
        return
    students, heldout = data.read_added(language.texts), data.read_added(language.heldout)
    assert sorted([*zip(students.text, students.label), *zip(heldout.text, heldout.label)]) == sorted(rows)  # noqa: B905
    whole, theirs = data.load_sentiment(str(folder / "own.csv")), data.load_sentiment(str(language.texts))
    assert all(sorted(whole[part]["text"]) == sorted(theirs[part]["text"]) for part in whole)


def test_labs_in_the_order_of_their_cost_are_all_that_have_a_model_of_texts():
    assert set(add_language.CHEAPEST_FIRST) == set(marking.MARKS) - {"lab0_start"}
    assert all(LAB_NAME.fullmatch(lab) for lab in add_language.CHEAPEST_FIRST)
