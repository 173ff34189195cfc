"""Lab 14: what it teaches is what the library does; its held-out sentences are none of those that a student has."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from leaplm import tagging
from leaplm.calibration import load_record
from leaplm.grading.course import load_module
from leaplm.grading.judge import probes
from repo import ROOT
from solved import solved_lab

lab14 = solved_lab("lab14_names")
study = load_module(ROOT / "course" / "lab14_names" / "study.py")
RNG = np.random.default_rng(0)
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def sentences(count=20):
    return [RNG.choice(TAGS, int(RNG.integers(1, 9))).tolist() for _ in range(count)]


def test_lab14_counts_names_as_the_library(lab14):
    gold = sentences()
    predicted = [[tag if RNG.random() < 0.7 else "O" for tag in tags] for tags in gold]
    assert [lab14["find_entities"](tags) for tags in gold] == [tagging.find_entities(tags) for tags in gold]
    assert lab14["entity_scores"](gold, predicted) == tagging.entity_scores(gold, predicted)
    np.testing.assert_allclose(lab14["f1_interval"](gold, predicted, 50, 3), tagging.f1_interval(gold, predicted, 50, 3))


def test_lab14_tags_as_the_library(lab14):
    names = {("ba",): "PER", ("ba", "ko"): "LOC", ("ko", "mi", "lu"): "ORG"}
    for words in (RNG.choice(["Ba", "ko", "mi", "lu"], 9).tolist() for _ in range(20)):
        assert lab14["gazetteer_tags"](words, names) == tagging.gazetteer_tags(words, names)
    ids = [None, 0, 0, 1, 2, 2, None]
    assert lab14["align_labels"](ids, [3, 3, 0]) == tagging.align_labels(ids, [3, 3, 0])
    moves = tagging.allowed_moves(TAGS)
    assert np.array_equal(lab14["allowed_moves"](TAGS), moves)
    for scores in (RNG.normal(size=(size, 5)) for size in (0, 1, 2, 7)):
        assert lab14["best_path"](scores, moves) == tagging.best_path(scores, moves)


def test_lab14_trains_as_the_library(lab14):
    batch = {"vectors": torch.randn(3, 4, 6), "attention_mask": torch.ones(3, 4), "shapes": torch.randint(0, 4, (3, 4)),
             "labels": torch.tensor([[-100, 1, 0, 3], [-100, 2, -100, -100], [-100, 0, 0, 4]])}
    found = []
    for part in (lab14, vars(tagging)):
        model = probes.modal_tagger(6, 5, 1)
        losses = part["train_tagger"](model, [copy.copy(batch), batch], 3, 0.1)
        found.append((losses, part["tag_batches"](model, [batch], TAGS)))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-5) and found[0][1] == found[1][1]


@pytest.mark.parametrize("language", tagging.LANGUAGES)
def test_held_out_sentences_are_new_and_so_are_most_of_their_names(language):
    parts = tagging.load_tagged(language)
    heldout = tagging.read_tagged(ROOT / "course" / "lab14_names" / "heldout" / f"{language}.conll")
    open_ones = {" ".join(words).lower() for rows in parts.values() for words, _ in rows}
    assert not open_ones & {" ".join(words).lower() for words, _ in heldout}
    train = tagging.make_gazetteer(parts["train"])
    for rows in (parts["test"], heldout):
        names = [tagging.name_of(words, entity) for words, tags in rows for entity in tagging.find_entities(tags)]
        assert np.mean([tuple(name.split()) in train for name in names]) < 0.15, "a list of names would solve it"


# -- settings come from training sentences ----------------------------------------------------------------------------------


def test_settings_are_those_that_cross_validation_on_training_sentences_chose():
    record = load_record("lab14_names", "choices")
    assert len(record) == len(study.TRIED) * study.FOLDS
    assert study.chosen("encoder") == (study.LAYERS, study.EPOCHS, study.RATE)
    assert study.chosen("linear model") == (study.C,) == (tagging.LinearTagger(TAGS).model.C,)
    assert study.chosen("CRF") == (study.L1, study.L2)


def test_settings_are_chosen_on_training_sentences_alone(monkeypatch):
    """`choices` runs where no other part of the data can be read."""
    parts = {language: {"train": tagging.load_tagged(language)["train"]} for language in tagging.LANGUAGES}
    monkeypatch.setattr(study, "sentences", parts.__getitem__)
    for way, setting in (("linear model", {"C": 1.0}), ("CRF", {"l1": 0.0, "l2": 1.0})):
        if way == "CRF":
            pytest.importorskip("pycrfsuite")
        assert 0 < study.choices(0, way, "hau", **setting)["f1"] < 1
    learned, held = study.folds_of("hau", 1)
    assert len(learned) + len(held) == 100 and not any(row in learned for row in held)


def test_the_rule_on_capitals_is_what_most_training_names_are():
    """Of names with capitals: one word behind the first is mostly a place, two words or more a person."""
    kinds = {"one": Counter(), "more": Counter()}
    for language in tagging.LANGUAGES:
        for words, tags in tagging.load_tagged(language)["train"]:
            for kind, start, end in tagging.find_entities(tags):
                if kind != "DATE" and start > 0 and all(word[0].isupper() for word in words[start:end]):
                    kinds["one" if end - start == 1 else "more"][kind] += not words[start].isupper()
    assert kinds["one"].most_common(1)[0][0] == "LOC" and kinds["more"].most_common(1)[0][0] == "PER"
