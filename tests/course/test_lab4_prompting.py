"""What lab 4 teaches is what the library does."""

import numpy as np
import pytest
import torch
from leaplm import prompting
from leaplm.grading.judge.tiny_models import chat_tokenizer, tiny_causal_lm, tiny_tokenizer
from leaplm.prompting.scoring import continuation_log_probs_naive
from solved import solved_lab

lab4 = solved_lab("lab4_prompting")


@pytest.mark.parametrize("instruction", ["", "Judge."])
def test_prompts_are_the_librarys(lab4, instruction):
    given = 'Text: "{text}" {x}\nLabel:', ["c {0}", "{text}"], ["bad", "good"], instruction, [("a {text}", 0), ("b", 1)]
    assert lab4["render_prompts"](*given) == prompting.render_prompts(*given)
    for item, words in (("no place", ["a", "b"]), ("{text}", ["a", "a"])):
        for render in (lab4["render_prompts"], prompting.render_prompts):
            with pytest.raises(ValueError):
                render(item, ["c"], words)


def test_log_probabilities_are_the_librarys(lab4):
    model, tokenizer = tiny_causal_lm(3), tiny_tokenizer([f"w{i}" for i in range(30)])
    prompts, answers = ["w1 w2 w3", "w4", "w5 w6"], ["w7", "w8 w9 w1", "w2 w2"]
    sums, tokens = continuation_log_probs_naive(model, tokenizer, prompts, [[answer] for answer in answers])
    ids = [[tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts] for texts in (prompts, answers)]
    for batch_log_probs in (lab4["batch_log_probs"], prompting.batch_log_probs):
        ours, counts = batch_log_probs(model, *ids, 0)
        np.testing.assert_allclose(ours, sums[:, 0], atol=1e-4)
        assert counts.tolist() == tokens[:, 0].tolist()


@pytest.mark.parametrize("method", prompting.METHODS)
def test_scores_are_the_librarys(lab4, method):
    given = torch.randn(4, 3), torch.randint(1, 4, (4, 3)), method, torch.randn(3), torch.randn(2, 3)
    np.testing.assert_allclose(lab4["class_scores"](*given), prompting.class_scores(*given), rtol=1e-5, atol=1e-6)


def test_the_classifier_is_the_librarys(lab4):
    words = ["Text:", "Say:", "Judge.", "N/A", "...", *"abcdefg"]
    template, shown, texts = prompting.PromptTemplate("Text: {text}\nSay:", "Judge."), [("a b", 1)], ["c", "d a e", "b b"]
    given = tiny_causal_lm(3), chat_tokenizer(words), template, ["f", "g a"], shown
    ours, library = lab4["PromptClassifier"](*given, batch_size=2), prompting.PromptClassifier(*given)
    for method, scores in library(texts).items():
        np.testing.assert_allclose(ours(texts)[method], scores, atol=1e-4)
        assert ours.predict(texts, method).tolist() == library.predict(texts, method).tolist()


def test_the_choice_is_the_librarys(lab4):
    rng = np.random.default_rng(0)
    tables = {name: {method: rng.normal(size=(13, 3)) for method in prompting.METHODS} for name in "cab"}
    given = lambda template, texts: tables[template], {n: n for n in tables}, list("abcdefghijklm"), rng.integers(3, size=13)
    for folds in (2, 5):
        assert lab4["tune_prompt"](*given, folds) == prompting.tune_prompt(*given, folds)


def test_redaction_is_the_librarys(lab4):
    for seed in range(100):
        text, _, _ = prompting.private_message(np.random.default_rng(seed))
        assert lab4["redact"](text) == prompting.redact(text)
