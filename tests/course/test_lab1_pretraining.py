"""Lab 1's solution computes what the library computes."""

import numpy as np
import pytest
import torch
from leaplm import data, evaluation, models
from leaplm.grading.judge.tiny_models import tiny_masked_lm
from leaplm.pretraining import masking
from leaplm.tokens import tokenization
from solved import solved_lab

lab1 = solved_lab("lab1_pretraining")


def test_fertility(lab1):
    texts = ["ina kwana", "lafiya lau ne?"]
    tokenizer = tokenization.train_wordpiece(texts * 5, 40)
    tokens = [tokenizer.tokenize(text) for text in texts]
    assert lab1["fertility"](tokens, texts) == pytest.approx(tokenization.fertility(tokenizer, texts))


def test_mask_tokens_gives_the_same_masks_from_the_same_seed(lab1):
    ids = torch.randint(5, 90, (8, 30))
    special = (ids < 10).long()
    results = []
    for mask in (lab1["mask_tokens"], masking.mask_tokens):
        torch.manual_seed(3)
        results.append(mask(ids, special, 4, 90, 0.3))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_masked_lm_loss(lab1):
    hidden, head = torch.randn(3, 6, 4), torch.nn.Linear(4, 9)
    labels = torch.where(torch.rand(3, 6) < 0.5, 7, -100)
    chosen = labels != -100
    ours = models.masked_mean(head(hidden[chosen]), labels[chosen])
    assert torch.allclose(lab1["masked_lm_loss"](hidden, labels, head), ours)


def test_unigram_entropy(lab1):
    train, test = np.random.default_rng(0).integers(20, size=(2, 200))
    ours = evaluation.unigram_entropy([{"input_ids": train}], [{"input_ids": test}], 20)
    assert lab1["unigram_entropy"](torch.tensor(train), torch.tensor(test), 20) == pytest.approx(ours)


@pytest.mark.parametrize("size", [2, 5, 64])
def test_group_texts(lab1, size):
    rows = [{"input_ids": [1, *range(10, 10 + n), 2]} for n in (3, 9, 1)]
    assert lab1["group_texts"](rows, size, 1) == data.group_texts(rows, size, (1, 2))


def test_pseudo_perplexity(lab1):
    class Hidden(torch.nn.Module):
        """The model with the library's interface: scores at hidden positions."""

        device = torch.device("cpu")

        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids, labels):
            return type("Output", (), {"logits": self.model(input_ids).logits[labels != -100]})

    model, ids = tiny_masked_lm(seed=2).eval(), [2, 8, 9, 30, 3]
    logs = evaluation.token_log_probs(Hidden(model), ids, [[1], [2], [3]], 4)
    assert lab1["pseudo_perplexity"](model, torch.tensor(ids), 4) == pytest.approx(np.exp(-logs.mean()), rel=1e-4)


def test_next_sentence_pairs_have_the_librarys_shares(lab1):
    texts = [f"first{i} a b second{i} c d" for i in range(31)]
    ours = data.sentence_pairs(texts, seed=1)
    theirs = lab1["next_sentence_pairs"]([data.cut_in_two(text) for text in texts], seed=1)
    assert sorted(theirs) == sorted(ours)
