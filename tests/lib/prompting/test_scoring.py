"""Scoring continuations: the fast way gives the numbers of the plain loop."""

import numpy as np
import pytest
import torch
from leaplm import models
from leaplm.grading.judge.tiny_models import tiny_tokenizer
from leaplm.prompting import scoring
from leaplm.prompting.scoring import continuation_log_probs, continuation_log_probs_naive
from transformers import LlamaConfig, LlamaForCausalLM

WORDS = [f"w{i}" for i in range(30)]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer(WORDS)


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def model(request):
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=40, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                         intermediate_size=64, max_position_embeddings=256, initializer_range=0.5)
    config._attn_implementation = request.param
    return LlamaForCausalLM(config).eval()


def texts(rng, lengths):
    return [" ".join(rng.choice(WORDS, size=n)) for n in lengths]


def assert_equal(model, tokenizer, prompts, continuations, prefix, **settings):
    fast, counts = continuation_log_probs(model, tokenizer, prompts, continuations, prefix, **settings)
    slow, slow_counts = continuation_log_probs_naive(model, tokenizer, prompts, continuations, prefix)
    assert fast.shape == slow.shape == counts.shape
    np.testing.assert_allclose(fast, slow, atol=1e-4, rtol=0)
    np.testing.assert_array_equal(counts, slow_counts)
    return fast, counts


@pytest.mark.parametrize("prefix_length", [0, 1, 17])
@pytest.mark.parametrize("lengths", [(1, 1, 1), (1, 2, 5, 1), (3,)])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_equals_the_plain_loop(model, tokenizer, prefix_length, lengths, batch_size):
    rng = np.random.default_rng(prefix_length)
    prompts, prefix = texts(rng, [4, 1, 9, 4, 12, 2, 7]), "".join(texts(rng, [prefix_length]))
    _, counts = assert_equal(model, tokenizer, prompts, texts(rng, lengths), prefix, batch_size=batch_size)
    assert counts.tolist() == [list(lengths)] * 7


def test_continuations_of_each_prompt(model, tokenizer):
    rng = np.random.default_rng(3)
    own = [texts(rng, lengths) for lengths in ((1, 3), (4, 1), (2, 2))]
    _, counts = assert_equal(model, tokenizer, texts(rng, [5, 2, 8]), own, texts(rng, [6])[0])
    assert counts.tolist() == [[1, 3], [4, 1], [2, 2]]


def test_an_empty_prompt_continues_the_prefix(model, tokenizer):
    fast, _ = assert_equal(model, tokenizer, ["", "w1 w2"], ["w3", "w4 w5"], "w6 w7 w8")
    moved, _ = continuation_log_probs(model, tokenizer, ["w8"], ["w3", "w4 w5"], "w6 w7")
    np.testing.assert_allclose(fast[:1], moved, atol=1e-4)


def test_prefix_and_prompt_are_one_text(model, tokenizer):
    """Where the border between prefix and prompt lies does not matter."""
    whole, _ = continuation_log_probs(model, tokenizer, ["w1 w2 w3 w4"], ["w5 w6"])
    parts, _ = continuation_log_probs(model, tokenizer, ["w4"], ["w5 w6"], "w1 w2 w3")
    np.testing.assert_allclose(whole, parts, atol=1e-4)


def test_one_token_continuations_are_a_distribution(model, tokenizer):
    everything = [tokenizer.decode([i]) for i in range(5, 35)]
    sums, _ = continuation_log_probs(model, tokenizer, ["w1 w2"], everything, "w3")
    logits = model(torch.tensor([[8, 6, 7]])).logits[0, -1].log_softmax(-1)[5:35]
    np.testing.assert_allclose(sums[0], logits.detach().numpy(), atol=1e-4)


def test_the_model_keeps_its_mode_and_the_order_its_rows(model, tokenizer):
    model.train()
    prompts = ["w1 w2 w3", "w4", "w5 w6"]
    sums, _ = continuation_log_probs(model, tokenizer, prompts, ["w7"], batch_size=2)
    assert model.training
    model.eval()
    again, _ = continuation_log_probs(model, tokenizer, prompts[::-1], ["w7"], batch_size=2)
    np.testing.assert_allclose(sums, again[::-1], atol=1e-5)


@pytest.mark.parametrize(("prompts", "continuations", "prefix", "why"), [
    ([], ["w1"], "", "nothing to score"),
    (["w1"], [], "", "nothing to score"),
    (["w1"], ["w2", ""], "", "empty"),
    ([""], ["w2"], "", "both empty"),
    (["w1", "w2"], [["w3"]], "", "for each prompt"),
    (["w1", "w2"], [["w3"], ["w4", "w5"]], "", "for each prompt"),
])
def test_what_cannot_be_scored_is_said(model, tokenizer, prompts, continuations, prefix, why):
    with pytest.raises(ValueError, match=why):
        continuation_log_probs(model, tokenizer, prompts, continuations, prefix)


def test_the_prefix_goes_through_the_model_once(model, tokenizer, monkeypatch):
    seen = []
    forward = model.model.forward
    monkeypatch.setattr(model.model, "forward", lambda *a, **k: seen.append(tuple(k["input_ids"].shape)) or forward(*a, **k))
    continuation_log_probs(model, tokenizer, ["w1 w2"] * 6, ["w3", "w4 w5"], " ".join(WORDS), batch_size=2)
    assert seen == [(1, 30), (2, 3), (2, 3), (2, 3)]


def test_the_head_sees_only_what_predicts(model, tokenizer, monkeypatch):
    rows = []
    head = model.lm_head.forward
    monkeypatch.setattr(model.lm_head, "forward", lambda hidden: rows.append(len(hidden)) or head(hidden))
    continuation_log_probs(model, tokenizer, ["w1 w2 w9"] * 4, ["w3", "w4 w5", "w6 w7 w8"])
    assert rows == [4 * (1 + 1 + 2)]


def test_pack_row_by_hand():
    row = scoring.pack_row([5, 6], [[7], [8, 9]])
    assert row == {"tokens": [5, 6, 8], "positions": [0, 1, 2], "owners": [0, 0, 2],
                   "targets": [(1, 7, 0), (1, 8, 1), (2, 9, 1)]}


def test_on_smollm2(needs_asset):
    needs_asset("smollm2")
    model, tokenizer = models.load_causal_lm("smollm2"), models.load_tokenizer("smollm2")
    prefix = ("Review: A warm and funny film.\nSentiment: positive\n\n"
              "Review: Two hours I will not get back.\nSentiment: negative\n\n")
    prompts = [f"Review: {text}\nSentiment:" for text in ("Loved it.", "The plot makes no sense at all, and it is long.")]
    for labels in ([" positive", " negative"], [" very good", " not good at all", " bad"]):
        assert_equal(model, tokenizer, prompts, labels, prefix)
