"""What lab 4 teaches is what the library does."""

import numpy as np
import pytest
import torch
from leaplm import prompting
from leaplm.grading.judge.tiny_models import tiny_causal_lm, tiny_tokenizer
from leaplm.prompting.scoring import continuation_log_probs_naive
from solved import solved_lab

lab4 = solved_lab("lab4_prompting")


@pytest.mark.parametrize("instruction", ["", "Judge."])
def test_render_is_the_librarys(lab4, instruction):
    item, shown = 'Text: "{text}" {x}\nLabel:', [("a {text}", "bad"), ("b", "good")]
    template = prompting.PromptTemplate(item, instruction)
    assert lab4["render_prompt"](item, "c {0}", instruction, shown) == template.render("c {0}", shown)


def test_log_probabilities_are_the_librarys(lab4):
    model, tokenizer = tiny_causal_lm(3), tiny_tokenizer([f"w{i}" for i in range(30)])
    prompts, answers = ["w1 w2 w3", "w4", "w5 w6"], ["w7", "w8 w9 w1", "w2 w2"]
    sums, tokens = continuation_log_probs_naive(model, tokenizer, prompts, [[answer] for answer in answers])
    ids = [[tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts] for texts in (prompts, answers)]
    ours, counts = lab4["batch_log_probs"](model, *ids, 0)
    np.testing.assert_allclose(ours, sums[:, 0], atol=1e-4)
    assert counts.tolist() == tokens[:, 0].tolist()
    one = [lab4["answer_log_prob"](model, torch.tensor(p), torch.tensor(a)) for p, a in zip(*ids, strict=True)]
    np.testing.assert_allclose(one, sums[:, 0], atol=1e-4)


@pytest.mark.parametrize("method", ["sum", "mean", "prior"])
def test_scores_are_the_librarys(lab4, method):
    sums, tokens, bare = torch.randn(4, 3), torch.randint(1, 4, (4, 3)), torch.randn(3)
    np.testing.assert_allclose(lab4["normalize_scores"](sums, tokens, method, bare),
                               prompting.normalize_scores(sums, tokens, method, bare), rtol=1e-5)


def test_calibration_spread_and_ensemble_are_the_librarys(lab4):
    scores, empty, labels = torch.randn(5, 8, 3, dtype=torch.double), torch.randn(2, 3), torch.randint(3, (8,))
    np.testing.assert_allclose(lab4["calibrate"](scores[0], empty), prompting.calibrate(scores[0], empty), atol=1e-6)
    assert lab4["template_spread"](scores, labels) == pytest.approx(prompting.template_spread(scores, labels))
    assert lab4["ensemble"](scores).tolist() == prompting.ensemble(scores).tolist()


def test_redaction_is_the_librarys(lab4):
    for seed in range(100):
        text, _, _ = prompting.private_message(np.random.default_rng(seed))
        assert lab4["redact"](text) == prompting.redact(text)
