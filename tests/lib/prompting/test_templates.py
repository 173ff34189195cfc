"""Prompts: templates leave texts alone, scores follow their definitions, and personal data is found."""

import json

import numpy as np
import pytest
from leaplm import prompting
from leaplm.evaluation import log_softmax
from leaplm.grading.judge.tiny_models import tiny_causal_lm, tiny_tokenizer
from leaplm.models import load_tokenizer
from leaplm.prompting.scoring import continuation_log_probs_naive
from leaplm.prompting.templates import PromptTemplate, Verbalizer

WORDS = ["Text:", "Label:", "good", "bad", "very", "film", "N/A", "...", "Judge"]
TEMPLATE = PromptTemplate("Text: {text}\nLabel:", "Judge")


@pytest.fixture(scope="module")
def model():
    return tiny_causal_lm()


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer(WORDS)


def test_a_text_is_put_in_as_it_is():
    for text in ("{text}", "{0} {label}", "a } b {", "100 % \\1"):
        assert PromptTemplate('{"q": "{text}"}').fill(text) == '{"q": "' + text + '"}'


def test_a_template_needs_one_place():
    for item in ("no place", "{text} and {text}"):
        with pytest.raises(ValueError, match="exactly once"):
            PromptTemplate(item)


def test_render_puts_instruction_demonstrations_and_item_in_order():
    assert TEMPLATE.render("film", [("bad film", "bad")]) == "Judge\n\nText: bad film\nLabel: bad\n\nText: film\nLabel:"
    assert TEMPLATE.prefix() + TEMPLATE.fill("x") == TEMPLATE.render("x")


@pytest.mark.parametrize("item", ["{text}\nis", "Is it good?\nText: {text}\nA:", "a {text} b"])
def test_split_loses_nothing(item):
    shared, rest = PromptTemplate(item).split()
    assert shared + rest == item and "{text}" in rest and (not shared or shared.endswith("\n"))


@pytest.mark.parametrize("words", [("one",), ("a", "a"), ("a", " ")])
def test_a_verbalizer_needs_words_that_differ(words):
    with pytest.raises(ValueError, match="different"):
        Verbalizer(words)


def test_scores_are_those_of_the_whole_prompt(model, tokenizer):
    texts, words, shown = ["very good film", "bad"], ("good", "very bad"), [("film", "good")]
    sums, tokens = continuation_log_probs_naive(
        model, tokenizer, [TEMPLATE.render(text, shown) for text in texts], [" good", " very bad"])
    found = prompting.score_methods(model, tokenizer, texts, TEMPLATE, Verbalizer(words), demonstrations=shown)
    np.testing.assert_allclose(found["sum"], sums, atol=1e-4)
    np.testing.assert_allclose(found["mean"], sums / [1, 2], atol=1e-4)
    bare, _ = continuation_log_probs_naive(model, tokenizer, ["Label:"], [" good", " very bad"])
    np.testing.assert_allclose(found["prior"], sums - bare, atol=1e-4)
    empty, _ = continuation_log_probs_naive(
        model, tokenizer, [TEMPLATE.render(text, shown) for text in prompting.CONTENT_FREE], [" good", " very bad"])
    np.testing.assert_allclose(found["calibrated"], prompting.calibrate(sums, empty), atol=1e-4)
    direct = prompting.label_log_probs(model, tokenizer, [TEMPLATE.fill(text) for text in texts], [" good", " very bad"],
                                       "prior", TEMPLATE.prefix(shown), "Label:")
    np.testing.assert_allclose(direct, found["prior"], atol=1e-4)


def test_predictions_are_the_best_class(model, tokenizer):
    texts, words = ["very good film", "bad", "film"], Verbalizer(("good", "bad"))
    scores = prompting.class_log_probs(model, tokenizer, texts, TEMPLATE, words)
    assert (prompting.predict_zero_shot(model, tokenizer, texts, TEMPLATE, words) == scores.argmax(-1)).all()
    few = prompting.predict_few_shot(model, tokenizer, texts, TEMPLATE, words, [("film", 1)])
    with_word = prompting.class_log_probs(model, tokenizer, texts, TEMPLATE, words, demonstrations=[("film", "bad")])
    assert (few == with_word.argmax(-1)).all()


def test_unknown_methods_are_refused(model, tokenizer):
    with pytest.raises(ValueError, match="median"):
        prompting.class_log_probs(model, tokenizer, ["bad"], TEMPLATE, Verbalizer(("good", "bad")), "median")
    with pytest.raises(ValueError, match="premise"):
        prompting.label_log_probs(model, tokenizer, ["bad"], ["good"], "prior")


def test_calibration_takes_a_constant_bias_out():
    rng = np.random.default_rng(0)
    scores, bias = rng.normal(size=(5, 3)), rng.normal(size=(1, 3))
    plain = prompting.calibrate(scores, np.zeros((1, 3)))
    np.testing.assert_allclose(plain, log_softmax(scores))
    np.testing.assert_allclose(prompting.calibrate(scores + bias, bias), plain)
    np.testing.assert_allclose(np.exp(prompting.calibrate(scores, rng.normal(size=(4, 3)))).sum(axis=1), 1)


def test_one_content_free_text_decides_as_the_prior_does():
    rng = np.random.default_rng(1)
    scores, empty = rng.normal(size=(40, 4)), rng.normal(size=(1, 4))
    calibrated = prompting.calibrate(scores, empty)
    assert (calibrated.argmax(-1) == prompting.normalize_scores(scores, None, "prior", empty[0]).argmax(-1)).all()


def test_spread_and_ensemble():
    scores = np.log([[[0.9, 0.1], [0.2, 0.8]], [[0.4, 0.6], [0.4, 0.6]]])
    assert prompting.template_spread(scores, [0, 1]) == (0.75, pytest.approx(np.std([1.0, 0.5], ddof=1)))
    assert prompting.ensemble(scores).tolist() == [0, 1]
    assert prompting.ensemble(np.stack([scores[0], scores[1] - 50])).tolist() == [0, 1]    # scale says nothing


def test_a_fence_cannot_be_closed_from_inside():
    text = prompting.fence("a >>> b <<< c >> > d")
    assert text.count(">>>") == 1 and text.count("<<<") == 1 and text.endswith(">>>")
    assert prompting.fence(">>" + "<<<" + ">").count(">>>") == 1


@pytest.mark.parametrize("defence", prompting.DEFENCES)
def test_attacks_are_measured_against_the_clean_answer(model, tokenizer, defence):
    texts, words = ["very good film", "bad", "film"], Verbalizer(("good", "bad"))
    found = prompting.attack_all(model, tokenizer, texts, [0, 1, 0], TEMPLATE, words, defence)
    assert set(found) == {"accuracy", *prompting.ATTACKS} and all(0 <= share <= 1 for share in found.values())


def test_tokens_are_counted_without_special_ones(tokenizer):
    assert prompting.count_tokens(tokenizer, ["good film", "", "bad"]).tolist() == [2, 0, 1]


def test_texts_are_cut_and_put_on_one_line(tokenizer):
    assert prompting.shorten(["good\n film  bad", "very very very"], tokenizer, 4) == ["good film bad", "very very very"]
    assert prompting.shorten(["very good film bad"], tokenizer, 2) == ["very good"]


def test_a_text_is_not_cut_inside_a_letter(assets_ready):
    """SmolLM2's tokens are bytes: three of them are one letter of Hindi or Amharic."""
    reader = load_tokenizer("smollm2")
    for text in ("हिन्दी में अच्छी ख़बर", "ሰላም እንዴት ነህ"):
        for tokens in range(1, 12):
            [short] = prompting.shorten([text], reader, tokens)
            assert "\ufffd" not in short and text.startswith(short.strip())


def test_first_word():
    assert [prompting.first_word(text) for text in (" Positive.", "**negative**", "", "...")] == \
        ["positive", "negative", "", ""]


def test_a_prompt_file_comes_back():
    content = prompting.prompt_file(TEMPLATE, Verbalizer(("good", "bad")), "prior", ["g", "b"], "eng", [("film", "bad")])
    found = prompting.read_prompt_file(content.encode())
    assert found["template"] == TEMPLATE and found["verbalizer"].words == ("good", "bad")
    assert found["demonstrations"] == [("film", "bad")] and found["method"] == "prior"


@pytest.mark.parametrize("change", [
    {"template": {"item": "no place"}}, {"template": {"item": "{text}", "extra": "x"}}, {"words": ["one", "two", "three"]},
    {"words": [1, 2]}, {"method": "magic"}, {"demonstrations": [["only one"]]}, {"labels": None},
    {"template": {"item": "{text}", "instruction": "x" * 10000}}, {"template": {"item": "{text}", "lead": 3}},
])
def test_a_bad_prompt_file_is_refused(change):
    content = json.loads(prompting.prompt_file(TEMPLATE, Verbalizer(("good", "bad")), "sum", ["g", "b"], "eng"))
    with pytest.raises(ValueError):
        prompting.read_prompt_file(json.dumps({**content, **change}))
    for broken in (b"", b"{", b"[]", b"\xff\xfe", "[" * 100000):
        with pytest.raises(ValueError):
            prompting.read_prompt_file(broken)


def test_scores_without_what_they_need_are_refused():
    for method in ("prior", "calibrated"):
        with pytest.raises(ValueError, match="needs"):
            prompting.class_scores([[-1.0]], [[1]], method)
    with pytest.raises(ValueError, match="median"):
        prompting.class_scores([[-1.0]], [[1]], "median")
