"""A linear head on vectors that do not learn."""

import numpy as np
import torch
from datasets import Dataset
from leaplm.grading.judge.tiny_models import tiny_encoder, tiny_tokenizer
from leaplm.pretraining.probe import probe

WORDS = [f"w{i}" for i in range(20)]


def rows(seed, count=60):
    """Texts whose class is whether one word stands in them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    texts = [" ".join([*rng.choice(WORDS[1:], 3), *(["w0"] * 2 if label else [])]) for label in labels]
    return Dataset.from_dict({"text": texts, "label": labels.tolist()})


def test_a_probe_learns_what_the_vectors_hold_and_leaves_the_encoder():
    encoder, tokenizer, (train, test) = tiny_encoder(), tiny_tokenizer(WORDS), (rows(0, 120), rows(1))
    kept = [weight.clone() for weight in encoder.parameters()]
    assert np.mean(probe(encoder, tokenizer, train, test) == test["label"]) > 0.9
    assert all(torch.equal(*pair) for pair in zip(kept, encoder.parameters(), strict=True))


def test_a_probe_does_not_depend_on_the_scale_of_the_vectors():
    class Scaled(torch.nn.Module):
        def __init__(self, encoder, factor):
            super().__init__()
            self.encoder, self.factor = encoder, factor

        def forward(self, **batch):
            output = self.encoder(**batch)
            output.last_hidden_state = output.last_hidden_state * self.factor
            return output

    tokenizer, train, test = tiny_tokenizer(WORDS), rows(0, 40), rows(1)
    found = [probe(Scaled(tiny_encoder(), factor), tokenizer, train, test) for factor in (1.0, 1000.0)]
    np.testing.assert_array_equal(*found)
