"""Soft prompts: only the vectors learn, and the logits are those of the whole model."""

import numpy as np
import pytest
import torch
from leaplm.data import DynamicPaddingCollator
from leaplm.grading.judge.tiny_models import tiny_causal_lm, tiny_tokenizer
from leaplm.peft import soft_prompts
from leaplm.prompting.templates import PromptTemplate, Verbalizer
from leaplm.training import TrainingConfig, train

ROWS = [{"input_ids": [5 + i % 3, 7, 9][: 1 + i % 3], "label": i % 2} for i in range(8)]


@pytest.fixture
def soft():
    return soft_prompts.add_soft_prompt(tiny_causal_lm(), num_tokens=4)


def test_logits_are_the_whole_models(soft):
    words, batch = torch.tensor([11, 12]), DynamicPaddingCollator(0)(ROWS)
    got = soft_prompts.class_logits(soft, batch, words)
    for row, logits in zip(ROWS, got, strict=True):
        full = soft(input_ids=torch.tensor([row["input_ids"]])).logits[0, -1, words]
        torch.testing.assert_close(logits, full, atol=1e-4, rtol=1e-4)
    best = soft_prompts.predict(soft, ROWS, words, 0, batch_size=3)
    assert (best == got.argmax(-1).numpy()).all()


def test_training_moves_the_vectors_alone_and_lowers_the_loss(soft):
    before = {name: value.clone() for name, value in soft.base_model.state_dict().items()}
    words = torch.tensor([11, 12])
    config = TrainingConfig(learning_rate=0.1, batch_size=8, max_steps=30, epochs=99, weight_decay=0, progress=False)
    history = train(soft, ROWS, DynamicPaddingCollator(0), config, loss_fn=soft_prompts.soft_prompt_loss(words))
    assert history.train[-1]["loss"] < history.train[0]["loss"]
    assert all(torch.equal(value, before[name]) for name, value in soft.base_model.state_dict().items())
    assert sum(p.numel() for p in soft.parameters() if p.requires_grad) == 4 * 32


def test_letters_stand_in_for_words_that_begin_alike():
    tokenizer, template = tiny_tokenizer(["very", "good", "bad", "A", "B"]), PromptTemplate("{text} is")
    assert soft_prompts.first_tokens(Verbalizer(("good", "bad")), template, tokenizer).tolist() == [6, 7]
    assert soft_prompts.first_tokens(Verbalizer(("very good", "very bad")), template, tokenizer).tolist() == [8, 9]


def test_rows_end_where_the_answer_begins():
    tokenizer = tiny_tokenizer(["good", "is"])
    rows = soft_prompts.make_rows(["good"], np.array([1]), PromptTemplate("{text} is"), tokenizer)
    assert rows == [{"input_ids": [5, 6], "label": 1}]
