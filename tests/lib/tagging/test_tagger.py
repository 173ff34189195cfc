"""The taggers: sub-words and words, a model that learns, and the two together."""

import sys

import numpy as np
import pytest
import torch
from leaplm import models, tagging

ROWS = [(["Amina", "lives", "in", "Kano"], ["B-PER", "O", "O", "B-LOC"]),
        (["Wanjiru", "Kamau", "left"], ["B-PER", "I-PER", "O"]), (["Rain", "fell"], ["O", "O"])] * 2
TAGS = tagging.tag_names(ROWS)


def test_the_list_of_names_and_the_rule():
    names = tagging.make_gazetteer(ROWS)
    assert tagging.gazetteer_tags(["KANO", "and", "wanjiru", "kamau"], names) == ["B-LOC", "O", "B-PER", "I-PER"]
    assert tagging.capital_tags(["On", "Monday", "UNICEF", "met", "Amina", "Bello", "in", "Kano", "."]) == [
        "O", "B-DATE", "B-ORG", "O", "B-PER", "I-PER", "O", "B-LOC", "O"]


def test_the_linear_model_learns_and_never_breaks_the_rule():
    model = tagging.LinearTagger(TAGS).fit(ROWS)
    assert model.predict([words for words, _ in ROWS]) == [tags for _, tags in ROWS]
    assert model.predict([]) == [] and len(model.predict([["a"] * 7])[0]) == 7


def test_a_crf_learns_what_follows_what():
    pytest.importorskip("pycrfsuite")
    rows = [(["ba", "ba"], ["B-PER", "I-PER"]), (["ko", "ba"], ["O", "O"])] * 5
    model = tagging.CrfTagger(l2=0.01).fit(rows)
    assert model.predict([words for words, _ in rows[:2]]) == [tags for _, tags in rows[:2]]
    again = tagging.CrfTagger(l2=0.01).fit(rows)
    assert again.predict([["ba", "ko", "ba"]]) == model.predict([["ba", "ko", "ba"]]) and model.predict([[]]) == [[]]


def test_a_crf_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycrfsuite", None)
    with pytest.raises(ImportError, match=r"leaplm\[names\]"):
        tagging.CrfTagger()


@pytest.fixture(scope="module")
def encoder(assets_ready):
    return models.load_tokenizer("minilm"), *tagging.new_tagger(len(TAGS), 1)


def test_lower_and_upper_layers_are_the_encoder(encoder):
    tokenizer, lower, model = encoder
    whole, batch = models.load_encoder("minilm").eval(), tagging.tokenize_words(tokenizer, [words for words, _ in ROWS])
    with torch.no_grad():
        wanted = whole(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        hidden = lower(batch["input_ids"], batch["attention_mask"])
        model.eval()
        model.classifier, kept = torch.nn.Identity(), model.classifier
        found = model(hidden, batch["attention_mask"], batch["shapes"])[..., : wanted.shape[-1]]
        model.classifier = kept
    real = batch["attention_mask"] == 1
    torch.testing.assert_close(found[real], wanted[real], atol=1e-4, rtol=1e-4)


def test_words_have_one_label_however_many_pieces(encoder):
    tokenizer = encoder[0]
    batch = tagging.tokenize_words(tokenizer, [["Muthoni", "measures", "snow"], ["Rain"]], [[1, 0, 0], [2]])
    assert [row[row != -100].tolist() for row in batch["labels"]] == [[1, 0, 0], [2]]
    assert batch["input_ids"].shape[1] > 5


def test_each_word_has_a_sub_word_even_if_nothing_can_be_seen_of_it_or_the_sentence_is_long(encoder):
    words = ["\u200b", "Amina", "\ufe0f", "\xad", "!", "Kano"] * 25
    assert int((tagging.tokenize_words(encoder[0], [words])["labels"] != -100).sum()) == len(words)


def test_a_sentence_that_is_cut_is_named(encoder, capsys):
    tokenizer = encoder[0]
    batch = tagging.tokenize_words(tokenizer, [["Kano", "grew"], ["Wanjiru"] * 20], max_length=16)
    kept = int((batch["labels"][1] != -100).sum())
    assert f"reads {kept} of the 20 words" in capsys.readouterr().out and kept < 20
    tagging.tokenize_words(tokenizer, [["Kano", "grew"]], max_length=16)
    assert capsys.readouterr().out == ""


def test_the_two_together_are_what_their_scores_say(encoder):
    tokenizer, lower, model = encoder
    words, gold = [words for words, _ in ROWS], [tags for _, tags in ROWS]
    linear = tagging.LinearTagger(TAGS).fit(ROWS)
    scores = tagging.word_scores(model, tagging.make_batches(lower, tokenizer, words)), linear.word_scores(words)
    mixed = tagging.mix_taggers(model, linear, 0.25)
    assert mixed.predict(lower, tokenizer, words) == tagging.best_tags(tagging.mix_scores(*scores, 0.25), TAGS)
    assert tagging.choose_share([0 * rows for rows in scores[0]], scores[1], gold, TAGS) == 0.5


def test_a_long_sentence_and_two_classes_are_no_error(encoder):
    tokenizer, lower, model = encoder
    rows = [(["Kano", "grew"], ["B-LOC", "O"])] * 3
    linear = tagging.LinearTagger(["O", "B-LOC", "I-LOC"]).fit(rows)
    upper = tagging.Tagger(model.layers, 384, 3)
    long = ["word"] * 120 + ["Kano"]
    [found] = tagging.mix_taggers(upper, linear, 0.0).predict(lower, tokenizer, [long])
    assert found == linear.predict([long])[0] and len(found) == 121
    assert np.isfinite(np.concatenate(linear.word_scores([long]))).all()
