"""Lab 0's solution computes what the library computes."""

import numpy as np
import pytest
from leaplm import models
from leaplm.tokens import costs as token_costs
from leaplm.tokens import tokenization
from solved import solved_lab

solved = solved_lab("lab0_start")


@pytest.fixture
def lab0(needs_asset, request):
    needs_asset("sib200")
    return request.getfixturevalue("solved")


def test_premium(lab0):
    assert lab0["premium"]([30, 7], [10, 9]) == pytest.approx(token_costs.premium([30, 7], [10, 9]))


@pytest.mark.parametrize(("window", "reserved"), [(70, 0), (300, 50), (5, 0), (10**6, 9)])
def test_sentences_that_fit(lab0, window, reserved):
    counts = np.random.default_rng(0).integers(5, 90, size=30).tolist()
    ours = token_costs.sentences_that_fit(counts, window, reserved)
    assert lab0["sentences_that_fit"](counts, window, reserved) == ours


@pytest.mark.parametrize("word", ["farmers", "manoma", "wakulima", "ገበሬዎች", "agbẹ", "unaffordable", "x"])
def test_split_word_is_the_librarys_and_minilms(lab0, word):
    minilm = models.load_tokenizer("minilm")
    vocabulary = minilm.get_vocab()
    normal = minilm.backend_tokenizer.normalizer.normalize_str(word)
    assert lab0["split_word"](normal, vocabulary) == tokenization.split_word(normal, vocabulary) == minilm.tokenize(word)


def test_byte_fallback(lab0):
    for text in ("ina kwana?", "ዝናቡ አልመጣም", "😀\n"):
        assert lab0["byte_fallback"](text, list("ina ")) == tokenization.byte_fallback(text, set("ina "))


@pytest.mark.parametrize("alpha", [1, 0.3, 0, -0.4])
def test_sampling_shares(lab0, alpha):
    assert np.allclose(lab0["sampling_shares"]([9, 40, 1], alpha), token_costs.sampling_shares([9, 40, 1], alpha))


def test_fairest(lab0):
    costs = np.random.default_rng(0).uniform(1, 2, size=(6, 2))
    alphas = list(token_costs.ALPHAS)
    assert lab0["fairest"](alphas, costs.tolist()) == token_costs.fairest(alphas, costs)
