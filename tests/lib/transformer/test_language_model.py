"""Lines of tokens, n-grams, bits per byte, and a model that can be made again from its card."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from leaplm.tokens import tokenization
from leaplm.training import TrainingConfig
from leaplm.transformer import language_model as lm

TEXTS = ["Habari ya asubuhi, Amina?", "ina kwana a Kano", "ƙasa mai kyau", "ọjà ńlá ni èyí"] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return tokenization.train_byte_bpe(TEXTS, 300)


@given(st.lists(st.text(max_size=12), max_size=5))
@settings(deadline=None, max_examples=40)
def test_a_line_holds_every_byte_of_its_texts(tokenizer, texts):
    line = lm.token_line(texts, tokenizer)
    text = tokenizer.decode(line, clean_up_tokenization_spaces=False)
    assert text == "\n" + "".join(f"{some}\n" for some in texts)
    assert lm.count_bytes(texts) == len(text.encode()) - 1


@pytest.mark.parametrize("order", [1, 2, 3])
def test_an_ngram_models_probabilities_sum_to_one(order):
    line = np.random.default_rng(0).integers(6, size=200)
    p = [math.exp(-lm.ngram_losses(line, np.array([2, 4, token]), 6, order, 3.0)[-1]) for token in range(6)]
    assert sum(p) == pytest.approx(1)


def test_a_bigram_by_hand():
    """0 1 0 1 0: after 0 comes 1 twice of two times; of 5 tokens 2 are 1; strength 1, vocabulary 2."""
    frequency = (2 + 0.5) / (5 + 1)
    found = lm.ngram_losses(np.array([0, 1, 0, 1, 0]), np.array([0, 1]), 2, 2, 1.0)
    assert found == pytest.approx([-math.log((2 + frequency) / (2 + 1))])


def test_losses_of_a_line_are_the_models(tokenizer):
    model, line = lm.new_causal_lm(len(tokenizer), layers=1, width=64), lm.token_line(TEXTS[:4], tokenizer)
    losses = lm.token_losses(model, line, block_size=200)
    assert len(losses) == len(line) - 1 and model.training
    ids = torch.from_numpy(line)[None]
    assert losses.mean() == pytest.approx(float(lm.next_token_loss(model(ids).logits, ids)), abs=1e-4)
    assert len(lm.token_losses(model, line, block_size=7, batch_size=2)) == len(losses)


def test_training_learns_and_the_card_makes_the_model_again(tokenizer):
    line = lm.token_line(TEXTS, tokenizer)
    torch.manual_seed(0)
    model = lm.new_causal_lm(len(tokenizer), layers=1, width=64)
    config = TrainingConfig(learning_rate=1e-2, batch_size=4, max_steps=15, eval_steps=15, progress=False)
    history = lm.train_causal_lm(model, line, config, line[:200])
    assert history.best()["loss"] < 0.7 * math.log(len(tokenizer))
    again, same = lm.model_of(json.loads(json.dumps(lm.describe(model, tokenizer))))
    again.load_state_dict(model.state_dict())
    assert same("ina kwana ƙasa")["input_ids"] == tokenizer("ina kwana ƙasa")["input_ids"]
    assert lm.text_bits_per_byte(again, same, TEXTS[:4]) == pytest.approx(lm.text_bits_per_byte(model, tokenizer, TEXTS[:4]))


@pytest.mark.parametrize("change", [{"layers": 0}, {"width": 10**6}, {"heads": 3}, {"kv_heads": 3}, {"layers": True},
                                    {"pieces": ["a"]}, {"pieces": None}, {"merges": [["a", "zz"]]},
                                    {"merges": "a b"}])
def test_a_card_that_cannot_be_is_refused(tokenizer, change):
    card = lm.describe(lm.new_causal_lm(len(tokenizer), layers=1, width=64), tokenizer)
    with pytest.raises(ValueError, match=r"."):
        lm.model_of({**card, **change})


def test_no_text_is_said():
    with pytest.raises(ValueError, match="no text"):
        lm.training_rows(np.array([3]))


@pytest.mark.parametrize(("tokens", "shape"), [(2, (1, 2)), (30, (1, 30)), (64 * 3, (3, 64)), (1000, (4, 64))])
def test_the_first_batch_of_a_line_of_any_length(tokens, shape):
    assert lm.causal_collate(lm.training_rows(np.arange(tokens))[:4])["input_ids"].shape == shape
