"""Every language that is offered is marked, or says that it is not; nothing that a submission names is read."""

import ast
import functools
import itertools
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from leaplm import added, calibration, data, evaluation, marking, models
from leaplm.grading.course import lab_file, list_labs, load_module
from leaplm.grading.judge import standing
from leaplm.grading.judge.checks import load_checks
from leaplm.grading.judge.class_points import judge_classes
from leaplm.responsible import privacy
from repo import ROOT

MODEL_CHECKS = {"lab0_start": "fair_tokenizer", "lab1_pretraining": "pretrained", "lab2_finetuning": "sentiment",
                "lab3_lora": "adapter", "lab4_prompting": "prompt", "lab5_fewshot": "few_shot_classifier",
                "lab6_overfitting": "few_label_classifier", "lab7_continual": "stream_model",
                "lab8_serving": "compressed_model", "lab9_responsible": "private_head",
                "lab16_small_machines": "small_predictor"}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course that has added kanuri.csv, with two rows held back."""
    monkeypatch.setenv("LEAPLM_COURSE", str(tmp_path))
    folder = tmp_path / added.FOLDER / "kanuri"
    folder.mkdir(parents=True)
    rows = "".join(f"sentence {i} of {word},{word}\n" for i in range(40) for word in ("bad", "good"))
    (folder / "kanuri.csv").write_text(f"text,label\n{rows}")
    (folder / "heldout.csv").write_text("text,label\nkept back,good\nheld back,bad\n")
    return tmp_path


@pytest.mark.parametrize("lab", list_labs(ROOT))
def test_every_lab_says_below_its_language_what_is_marked(lab):
    cells = lab_file(ROOT, lab, "lab.py").read_text(encoding="utf-8").split("\n# %%")
    [cell] = [cell for cell in cells if "\nLANGUAGE = " in cell]
    assert f'\nmarking.describe_language("{lab}", LANGUAGE)' in cell


@pytest.mark.parametrize("lab", marking.MARKS)
def test_where_a_model_is_handed_in_its_aim_is_told(lab):
    cells = lab_file(ROOT, lab, "lab.py").read_text(encoding="utf-8").split("\n# %%")
    [saves] = [place for place, cell in enumerate(cells) if cell.startswith(' locked="save"')]
    assert f'\nmarking.describe_aim("{lab}", ' in cells[saves]


@pytest.mark.parametrize("language", ["eng", "hau", "swa"])
@pytest.mark.parametrize("lab", marking.MARKS)
def test_the_aim_that_is_told_is_the_one_that_the_check_asks_for(lab, language, monkeypatch, needs_asset):
    needs_asset("afrisenti")
    if lab == "lab0_start" and language == "eng":
        pytest.skip("the language beside English is named")
    if marking.runs(lab, language).empty:
        assert marking.aim_told(lab, language) == marking.told(lab, language)
        return
    told = marking.aim_told(lab, language)
    with standing.noted() as found:
        judge_nothing(lab, language, monkeypatch)
    wanted = [place.wanted for place in found]
    places = 1 if lab == "lab0_start" else 3
    numbers = [float(number) for number in re.findall(rf"\d+\.\d{{{places}}}", told)]
    assert sorted(marking.aims(lab, language).values()) == pytest.approx(sorted(wanted), abs=1e-9)
    assert sorted(numbers) == pytest.approx(sorted(wanted), abs=1.001 * 10**-places)
    for number, place in zip(sorted(numbers), sorted(found, key=lambda place: place.wanted), strict=True):
        assert number >= place.wanted if place.higher_is_better else number <= place.wanted, "who reaches it has the points"


def judge_nothing(lab, language, monkeypatch):
    """Let a lab's check judge a model that always says the first class."""
    checks = load_module(lab_file(ROOT, lab, "checks.py"))
    heldout = data.heldout_rows(language, marking.MARKS[lab].rows) if lab != "lab0_start" else None
    labels = np.array(heldout["label"]) if heldout else np.zeros(3, dtype=int)
    said = np.eye(3)[np.zeros(len(labels), dtype=int)]
    for place, name, value in ((checks, "class_scores", lambda *_: said), (data, "tokenize", lambda *_, **__: []),
                               (evaluation, "bootstrap_interval", lambda *_, **__: (0.0, 1.0)),
                               (models, "load_tokenizer", lambda *_: SimpleNamespace(pad_token_id=0)),
                               (checks, "heldout_features", lambda *_: (None, labels)),
                               (privacy, "head_logits", lambda *_: said)):
        monkeypatch.setattr(place, name, value, raising=False)
    if lab == "lab0_start":
        checks.judge_counts([1.0, 1.0], language)
    elif lab == "lab1_pretraining":
        checks.judge_gain(0.0, language)
    elif lab == "lab4_prompting":
        judge_classes(lab, language, labels, said.argmax(1))
    elif lab == "lab7_continual":
        monkeypatch.setattr(checks, "class_scores", lambda *_: said[:4])
        checks.judge_stream(None, [SimpleNamespace(name=name, test=[{"label": 0}] * 2) for name in "ab"], language)
    elif lab == "lab8_serving":
        checks.judge_classifier(None, SimpleNamespace(pad_token_id=0), heldout, language)
    elif lab == "lab9_responsible":
        checks.judge_head(None, language, "bytes")
    elif lab == "lab16_small_machines":
        wanted = marking.threshold(lab, language, "heldout_macro_f1")
        checks.judge_score(0.0, [0.5], wanted, labels, 1)
    else:
        checks.judge_classifier(None, heldout, language)


@pytest.mark.parametrize("lab", marking.MARKS)
@pytest.mark.parametrize("language", ["zho", "absent.csv", "../../etc/passwd", ""])
def test_where_there_is_no_aim_that_is_said(lab, language):
    if language not in (data.SIB200 if lab == "lab0_start" else data.MARKED):
        assert marking.aim_told(lab, language) == marking.told(lab, language)


@pytest.mark.parametrize("language", ["eng", "hau"])
def test_where_the_marked_rows_are_kept_away_the_same_is_told(language, needs_asset, monkeypatch):
    """A student of an exam has none of them (`leaplm student-store`); the floor by guessing is then that of other rows."""
    needs_asset("vader" if language == "eng" else "afrisenti")
    told = {lab: (marking.told(lab, language), marking.aim_told(lab, language)) for lab in marking.MARKS}
    none, others = data.heldout_rows(language).select([]), data.load_sentiment(language)
    monkeypatch.setattr(data, "heldout_rows", lambda *given: none)
    monkeypatch.setattr(data, "load_sentiment", lambda *given: others)
    for lab, (marked, aim) in told.items():
        assert marking.told(lab, language) == marked
        numbers, wanted = (re.findall(r"\d+\.\d+", text) for text in (marking.aim_told(lab, language), aim))
        assert [*map(float, numbers)] == pytest.approx([*map(float, wanted)], abs=0.02)


@pytest.mark.parametrize("lab", MODEL_CHECKS)
def test_the_points_of_a_model_are_those_of_its_check(lab):
    assert marking.MARKS[lab].points == load_checks(lab, ROOT)[MODEL_CHECKS[lab]].points


@pytest.mark.parametrize("lab", MODEL_CHECKS)
def test_checks_of_models_ask_for_the_runs_that_are_told(lab):
    """A check that read the record by itself could set a threshold where the student was told that there is none."""
    tree = ast.parse(lab_file(ROOT, lab, "checks.py").read_text(encoding="utf-8"))
    calls = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    asked = [call for call in calls if call.startswith(("marking.runs(", "judge_classes("))]
    assert asked and all(call.startswith((f"marking.runs('{lab}', ", f"judge_classes('{lab}', ")) for call in asked)
    assert not any(call.startswith(("load_record(", "calibration.")) for call in calls)


@pytest.mark.parametrize("lab", marking.MARKS)
def test_studies_run_every_language_that_is_offered(lab):
    mark, study = marking.MARKS[lab], calibration.load_studies(lab_file(ROOT, lab, "study.py"))
    known = data.SIB200 if lab == "lab0_start" else data.MARKED
    for language in set(known) - {"eng"} - set(marking.NEAR_GUESSING.get(lab, ())):
        settings = [setting for setting in study[mark.study].grid if setting["language"] == language]
        assert len(settings) == 1 and settings[0].items() >= mark.where.items()
    assert lab == "lab0_start" or len(calibration.settings_of(study[mark.study], "kanuri.csv")) == 1


@pytest.mark.parametrize("lab", marking.MARKS)
@pytest.mark.parametrize("language", ["eng", "kin", "zho", "absent.csv", "../../etc/passwd", ""])
def test_what_is_told_is_what_the_record_allows(lab, language):
    told, mark = marking.told(lab, language), marking.MARKS[lab]
    offered = language in (data.SIB200 if lab == "lab0_start" else data.MARKED)
    marked = offered and (not marking.runs(lab, language).empty or lab == "lab0_start")
    assert (" is marked on " in told) == marked and (" is not marked, " in told) == (not marked)
    assert f"{mark.points} of" in told if marked else f"{mark.of - mark.points} of the lab's {mark.of} points" in told


def test_where_our_own_runs_are_near_guessing_nothing_is_marked(needs_asset):
    for lab, languages in marking.NEAR_GUESSING.items():
        for language in languages:
            needs_asset("afrisenti")
            assert marking.runs(lab, language).empty and marking.NEAR in marking.told(lab, language)
    assert not marking.recorded("lab5_fewshot", "swa").empty and marking.runs("lab5_fewshot", "swa").empty
    assert marking.NEAR in marking.told("lab5_fewshot", "swa") and "cannot" not in marking.told("lab5_fewshot", "swa")


@pytest.mark.parametrize("language", data.MARKED)
def test_our_own_runs_have_all_points_and_knowing_nothing_has_none(language, needs_asset):
    """A language where a threshold cannot tell them apart must not be marked. Of guesses, one in twenty may be lucky."""
    needs_asset("vader" if language == "eng" else "afrisenti")
    rng, points = np.random.default_rng(1), []
    for lab in [lab for lab, mark in marking.MARKS.items() if mark.least and not marking.runs(lab, language).empty]:
        [column], found = marking.MARKS[lab].columns.values(), marking.runs(lab, language)
        assert (found[column] >= marking.threshold(lab, language, column)).all()
        labels = np.array(data.heldout_rows(language, marking.MARKS[lab].rows)["label"])
        guesses = [rng.permutation(labels) for _ in range(4 if column == "heldout_macro_f1" else 0)]
        points += [judge_classes(lab, language, labels, guess)[0] for guess in guesses]
        for label in set(labels):
            assert judge_classes(lab, language, labels, np.full_like(labels, label))[0] == 0
    assert not points or np.mean(np.array(points) > 0) <= 0.08


def test_a_record_with_too_few_runs_sets_no_threshold(course):
    language, rows = added.find("kanuri.csv"), "".join(f"kept back {i},good\nheld back {i},bad\n" for i in range(50))
    language.heldout.write_text(f"text,label\n{rows}")  # on two rows a guess may be right
    record = language.record("lab9_responsible")
    for seed in range(marking.FEWEST_RUNS):
        assert marking.runs("lab9_responsible", "kanuri.csv").empty
        calibration.add_row(record, "", "main", {"language": "kanuri.csv", "seed": seed, "heldout_macro_f1": 0.9})
    assert len(marking.runs("lab9_responsible", "kanuri.csv")["heldout_macro_f1"]) == marking.FEWEST_RUNS
    assert "marked on 100 held-out texts (6 of" in marking.told("lab9_responsible", "kanuri.csv")


COLUMNS = {"lab1_pretraining": ["heldout_gain"], "lab2_finetuning": ["heldout_accuracy"],
           "lab7_continual": ["heldout_average", "heldout_worst"]}


@pytest.mark.parametrize("lab", sorted(set(MODEL_CHECKS) - {"lab0_start", "lab4_prompting"}))
def test_three_runs_set_a_threshold_that_honest_runs_pass(lab, monkeypatch):
    """Any three runs of a language, with the spread of the others: at most one in fifty of its other runs is below."""
    known = calibration.load_record(lab, marking.MARKS[lab].study, **marking.MARKS[lab].where)
    passed = []
    for language, rows in known.groupby("language"):
        for three in itertools.islice(itertools.combinations(rows.index, 3), 20 if len(rows) >= marking.FEWEST_RUNS else 0):
            record = known[(known.language != language) | known.index.isin(three)]
            read = functools.partial(calibration.only_where, record)
            monkeypatch.setattr(calibration, "load_record", lambda *_, read=read, **where: read(where))
            for column in COLUMNS.get(lab, ["heldout_macro_f1"]):
                passed += list(rows.drop(list(three))[column] >= marking.bound(lab, language, rows.loc[list(three)], column))
    assert len(passed) > 30 and np.mean(passed) >= 0.95, (len(passed), np.mean(passed))


def test_few_runs_lend_the_spread_of_other_languages(monkeypatch):
    rows = [{"language": "eng", "heldout_macro_f1": score} for score in (0.5, 0.52, 0.48, 0.51, 0.49)]
    rows += [{"language": "kin", "heldout_macro_f1": score} for score in (0.4, 0.4, 0.4)]
    record = pd.DataFrame(rows)
    monkeypatch.setattr(calibration, "load_record", lambda *_, **where: calibration.only_where(record, where))
    found = marking.recorded("lab9_responsible", "kin")
    assert 0.33 < marking.bound("lab9_responsible", "kin", found, "heldout_macro_f1") < 0.38
    record = record[:-1]
    assert marking.recorded("lab9_responsible", "kin").empty


def test_rows_of_an_added_language_are_the_courses_whatever_path_is_named(course, tmp_path, monkeypatch):
    """A file of this name that was handed in, or lies where the judge works, is not read."""
    other = tmp_path / "handed_in"
    other.mkdir()
    (other / "kanuri.csv").write_text("text,label\nmine,good\n")
    monkeypatch.chdir(other)
    for language in ("kanuri.csv", str(other / "kanuri.csv"), "/etc/kanuri.csv", "../kanuri.csv"):
        assert set(data.heldout_rows(language)["text"]) == {"kept back", "held back"}
        assert data.marked_language(language) == str(course / added.FOLDER / "kanuri" / "kanuri.csv")
    for language in ("other.csv", ".csv", "..csv", "kanuri", "course/languages", None, 3, ["eng"]):
        with pytest.raises(ValueError, match="cannot be marked"):
            data.heldout_rows(language)


def test_heldout_rows_have_the_classes_of_the_students(course):
    names = data.load_sentiment(str(added.find("kanuri.csv").texts))["train"].features["label"].names
    assert data.heldout_rows("kanuri.csv").features["label"].names == names == ["bad", "good"]


def test_numbers_of_heldout_rows_are_true(needs_asset):
    needs_asset("afrisenti")
    for language in data.AFRISENTI:
        assert len(data.heldout_rows(language)) == data.FEW_HELDOUT.get(language, 600)
    needs_asset("sib200")
    assert len(data.heldout_sentences("hau")) == data.HELDOUT_SENTENCES
