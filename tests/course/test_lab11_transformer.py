"""Lab 11: what it teaches is what the library does."""

import numpy as np
import pytest
import torch
from leaplm.grading.judge.tiny_models import counting_step, llama_weights, rank_picker, tiny_causal_lm
from leaplm.tokens import tokenization
from leaplm.transformer import decoder, generation, language_model
from solved import solved_lab

lab11 = solved_lab("lab11_transformer")


def test_lab11_merges_are_the_librarys(lab11):
    words = {"kano": 3, "kan": 2, "no": 4, "aaaa": 2, "banana": 3}
    for count in (0, 3, 50):
        assert lab11["learn_merges"](words, count) == tokenization.learn_merges(words, count)


def test_lab11_parts_are_the_librarys(lab11):
    queries, keys = torch.randn(2, 3, 4, 6), torch.randn(2, 3, 7, 6)
    torch.testing.assert_close(lab11["attention"](queries, keys, keys), decoder.attention(queries, keys, keys))
    places = torch.tensor([3, 4, 5, 9])
    torch.testing.assert_close(lab11["rotate"](queries, places, 50.0), decoder.rotate(queries, places, 50.0))
    torch.testing.assert_close(lab11["rms_norm"](keys, torch.arange(6.0), 0.1),
                               decoder.rms_norm(keys, torch.arange(6.0), 0.1))  # fmt: skip


def test_lab11_decoder_is_the_librarys(lab11):
    weights, shape = llama_weights(seed=2, heads=6, kv_heads=2)
    part, x, ids = weights["blocks"][0], torch.randn(1, 5, 36), torch.randint(40, (2, 6))
    torch.testing.assert_close(lab11["self_attention"](x, part, shape), decoder.self_attention(x, part, shape))
    torch.testing.assert_close(lab11["feed_forward"](x, part), decoder.feed_forward(x, part))
    torch.testing.assert_close(lab11["block"](x, part, shape), decoder.block(x, part, shape))
    torch.testing.assert_close(lab11["decoder"](ids, weights, shape), decoder.decoder(ids, weights, shape))


def test_lab11_writes_as_the_library(lab11):
    logits = torch.randn(12)
    torch.testing.assert_close(lab11["next_token_probabilities"](logits, 0.7, 8, 0.8),
                               generation.next_token_probabilities(logits, 0.7, 8, 0.8))  # fmt: skip
    step, prompt = counting_step(), [3, 4]
    assert lab11["generate"](step, prompt, 5, rank_picker()) == generation.generate(step, prompt, 5, rank_picker())
    assert lab11["without_cache"](step, prompt, 5, rank_picker()) == generation.generate(step, prompt, 5, rank_picker())


def test_lab11_learns_as_the_library(lab11):
    models, ids = [tiny_causal_lm(seed=1), tiny_causal_lm(seed=1)], torch.randint(40, (2, 9))
    losses = [step(model, ids, torch.optim.SGD(model.parameters(), lr=0.1)) for model, step in
              zip(models, (lab11["training_step"], language_model.training_step), strict=True)]  # fmt: skip
    assert losses[0] == pytest.approx(losses[1])
    for mine, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    losses, texts = [[1.0, 2.0], np.array([3.0])], ["ƙasa", "no"]
    assert lab11["bits_per_byte"](losses, texts) == pytest.approx(language_model.bits_per_byte(losses, texts))
