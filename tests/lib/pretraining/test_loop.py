"""The plain loop: its blocks and masks are those of `run`, it learns what `run` learns, and it goes on after a kill."""

import numpy as np
import pytest
import torch
from leaplm import data, evaluation, models
from leaplm.grading.judge.tiny_models import tiny_tokenizer
from leaplm.pretraining import loop
from leaplm.training import warmup_linear

WORDS = ["ruwa", "gida", "kasuwa", "mota", "yaro", "hanya", "littafi", "abinci", "makaranta", "rana"]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer(WORDS)


@pytest.fixture(scope="module")
def rows(tokenizer):
    """A text has words of the first or of the second half of the list: its other words tell which."""
    rng = np.random.default_rng(0)
    texts = [" ".join(WORDS[5 * int(half) + i] for i in rng.integers(5, size=8)) for half in rng.integers(2, size=300)]
    return data.tokenize_texts(texts, tokenizer)


def test_blocks_are_those_of_group_texts_with_padding_at_the_end_alone(rows):
    blocks = loop.pack_blocks(rows, 32, 2, 0)
    packed = data.group_texts(rows, 32, (2, 3))
    assert [ids[mask == 1].tolist() for ids, mask in zip(*blocks.values(), strict=True)] == \
        [block["input_ids"] for block in packed]
    assert (blocks["attention_mask"][:-1] == 1).all() and 0 < blocks["attention_mask"][-1].sum() < 32


def test_a_batch_hides_no_special_token_and_depends_on_its_seed(rows, tokenizer):
    blocks = loop.pack_blocks(rows, 32, 2, 0)
    last = [len(blocks["input_ids"]) - 1, 0]
    first, again, other = (loop.masked_batch(blocks, last, tokenizer, 0.5, seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first) and not torch.equal(first["labels"], other["labels"])
    hidden = first["labels"] != -100
    assert hidden.any() and (blocks["input_ids"][last][hidden] >= 5).all() and first["attention_mask"][hidden].all()


def test_the_rate_is_that_of_the_other_loop():
    for updates, warmup in ((10, 4), (7, 0), (5, 1)):
        ours = [loop.warmup_factor(update, updates, warmup) for update in range(1, updates + 1)]
        assert ours == pytest.approx([warmup_linear(step + 1, updates + 1, warmup) for step in range(updates)])


def test_it_learns_what_context_tells(rows, tokenizer, tmp_path):
    torch.manual_seed(0)
    model = models.new_bert(tokenizer, layers=1, width=64)
    blocks = loop.pack_blocks(rows, 10, 2, 0)  # a text each
    count = len(blocks["input_ids"])
    log_p = torch.tensor(evaluation.log_frequencies(rows, len(tokenizer), tokenizer.all_special_ids))
    fixed = loop.masked_batch(blocks, range(50), tokenizer)
    settings = {"blocks": count, "updates": 150, "batch_size": 32, "rate": 3e-3, "warmup": 15, "every": 150, "seed": 0}
    history = loop.pretrain(model, lambda places, update: loop.masked_batch(blocks, places, tokenizer, 0.3, update),
                            lambda model: loop.evaluate_masked(model, fixed, log_p), settings, tmp_path / "loop.pt")
    # Log 5, the best there is, is 1.61; without context it is log 10, which is 2.30.
    assert history[-1]["loss"] < 1.95 < history[-1]["unigram"] == pytest.approx(np.log(10), abs=0.05)
    assert list(tmp_path.iterdir()) == []
