"""Answers in a fixed form: the loss counts at the answer only, and the score repairs nothing."""

import pytest
import torch
from leaplm.data import subsample
from leaplm.peft import instruction_tuning as answers
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = ["negative", "positive"]


def tiny_writer():
    config = LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=2, initializer_range=0.3)
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def test_score():
    assert answers.score_answers(["positive", "Positive.", "negative"], [1, 1, 1], NAMES) == (2 / 3, 1 / 3)
    assert answers.score_answers(["positive ", "tive", ""], [1, 1, 0], NAMES) == (0, 0)
    with pytest.raises(ValueError, match="no answers"):
        answers.score_answers([], [], NAMES)


def test_collator_labels_the_answer_and_nothing_else():
    rows = [{"input_ids": [5, 6, 7, 8], "answer_tokens": 2}, {"input_ids": [9, 4], "answer_tokens": 1}]
    batch = answers.AnswerCollator(0)(rows)
    assert batch["labels"].tolist() == [[-100, -100, 7, 8], [-100, 4, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_loss_is_the_models_own():
    model = tiny_writer()
    rows = [{"input_ids": torch.randint(1, 64, (n,)).tolist(), "answer_tokens": k} for n, k in ((9, 2), (5, 1), (7, 3))]
    batch = answers.AnswerCollator(0)(rows)
    loss, count = answers.answer_loss(model, batch)
    assert count == 6 and torch.isclose(loss, model(**batch).loss, atol=1e-5)


def test_instruction_names_all_classes():
    assert answers.instruction(NAMES) == "Answer with one lower-case word: negative or positive."
    assert answers.instruction(["a", "b", "c"]).endswith("a, b or c.")


@pytest.fixture(scope="module")
def reader(assets_ready):
    from leaplm.models import load_tokenizer

    return load_tokenizer("smollm2")


def test_rows_end_in_the_answer_and_fit_in_memory(reader):
    from leaplm.data import load_sentiment

    some = subsample(load_sentiment("eng")["train"], 20)
    rows = answers.make_answer_rows(some, reader, NAMES)
    for row, label, prompt in zip(rows, some["label"], answers.make_prompts(some, reader, NAMES), strict=True):
        answer = row["input_ids"][-row["answer_tokens"]:]
        assert reader.decode(answer) == NAMES[label] + reader.eos_token
        assert reader.decode(row["input_ids"]).startswith(prompt)
        assert len(row["input_ids"]) <= 80


def test_batched_generation_is_that_of_one_prompt_at_a_time(reader):
    model = tiny_writer()
    model.resize_token_embeddings(len(reader))
    prompts = ["Good", "A long and winding sentence", "Bad film"]
    together = answers.generate_answers(model, reader, prompts, max_new_tokens=4)
    assert together == [answers.generate_answers(model, reader, [p], max_new_tokens=4)[0] for p in prompts]
