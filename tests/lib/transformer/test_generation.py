"""Sampling is that of transformers, and a cache changes no token."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from leaplm.grading.judge.tiny_models import counting_step, rank_picker
from leaplm.transformer import generation
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.3, 3), st.none() | st.integers(1, 20), st.none() | st.floats(0.05, 0.95))
def test_filters_are_those_of_transformers(seed, temperature, top_k, top_p):
    logits = 3 * torch.randn(15, generator=torch.Generator().manual_seed(seed))
    scores = TemperatureLogitsWarper(temperature)(None, logits[None])
    if top_k is not None:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p is not None:
        scores = TopPLogitsWarper(top_p)(None, scores)
    got = generation.next_token_probabilities(logits, temperature, top_k, top_p)
    torch.testing.assert_close(got, scores[0].softmax(-1), atol=1e-5, rtol=1e-4)


def test_each_token_goes_through_the_model_once():
    step, prompt = counting_step(seed=3), [5, 6, 7, 8]
    written = generation.generate(step, prompt, 6, rank_picker(1))
    assert step.tokens_seen == len(prompt) + 5
    ids = list(prompt)
    for token in written:
        logits, _ = step(torch.tensor([ids]))
        assert token == int(logits[0, -1].argsort(descending=True)[1])
        ids.append(token)
    assert generation.generate(step, prompt, 0, rank_picker()) == []
