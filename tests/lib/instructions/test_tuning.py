"""Packs equal single rows, cached lower layers equal the whole model; an adapter learns and can be switched off."""

import pytest
import torch
from leaplm import instructions
from leaplm.grading.judge.tiny_models import chat_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

WORDS = ["two", "hoes", "Store:", "Nurse:", "fever", "card.", "Bring", "the", "my", "need"]
ROWS = [{"system": "the desks", "question": "need two hoes", "answer": "Store: two hoes Bring the card."},
        {"system": "the desks", "question": "my fever", "answer": "Nurse: fever"},
        {"system": "the", "question": "need hoes", "answer": "Store: hoes Bring"}]
PAIRS = [{"system": "the", "question": "need two hoes", "chosen": "Store: two hoes", "rejected": "Nurse: hoes the card."},
         {"system": "the", "question": "my fever", "chosen": "Nurse: fever", "rejected": "Store: fever Bring"}]


@pytest.fixture(scope="module")
def tokenizer():
    return chat_tokenizer(WORDS)


@pytest.fixture
def model(tokenizer):
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=3,
                         num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval().requires_grad_(False)


def plain_log_prob(model, row):
    logits = model(torch.tensor([row["input_ids"]])).logits
    return instructions.answer_log_probs(logits, torch.tensor([row["labels"]]))


def test_packs_with_cached_layers_give_the_models_own_numbers(model, tokenizer):
    rows = [instructions.chat_row(tokenizer, **row) for row in ROWS]
    want = torch.cat([plain_log_prob(model, row) for row in rows])
    for layers in (1, 2):
        for tokens in (40, 200):
            batches = instructions.make_batches(model, tokenizer, ROWS, layers, tokens)
            scorer = instructions.AnswerModel(model, layers)
            torch.testing.assert_close(torch.cat([scorer(**batch) for batch in batches]), want, atol=1e-4, rtol=1e-4)
    assert len(instructions.make_batches(model, tokenizer, ROWS, 1, 40)) > 1
    both = instructions.pad_packs(instructions.pack_rows(rows, 40))
    batch = instructions.with_vectors(model, both, 1)
    torch.testing.assert_close(instructions.AnswerModel(model, 1)(**batch), want, atol=1e-4, rtol=1e-4)


def test_a_row_that_is_too_long_is_named(model, tokenizer):
    with pytest.raises(ValueError, match="at most 8 fit into a pack"):
        instructions.make_batches(model, tokenizer, ROWS, 1, 8)


def test_adapters_change_nothing_until_they_learn_and_can_be_switched_off(model, tokenizer):
    [batch] = instructions.make_batches(model, tokenizer, ROWS, 1, 200)
    plain = instructions.AnswerModel(model, 1)(**batch)
    first = instructions.add_adapter(model, 1)
    torch.testing.assert_close(first(**batch), plain)
    history = instructions.train_answers(first, [batch], 8, 0.05)
    learned = first(**batch).detach()
    assert history[-1] < history[0] and learned.sum() > plain.sum() and not first.training
    second = instructions.add_adapter(model, 1)
    torch.testing.assert_close(second(**batch).detach(), learned)
    assert {name.count("base") for name in instructions.adapter_state(second)} == {0, 1}
    assert all("base" not in name for name, weight in second.named_parameters() if weight.requires_grad)
    pairs = instructions.make_pair_batches(model, tokenizer, PAIRS, layers=1)
    losses = instructions.train_preferences(second, pairs, 0.5, 6, 0.05)
    assert losses[0] == pytest.approx(0.6931, abs=1e-3) and losses[-1] < 0.5
    with torch.no_grad():
        with second.adapter_off():
            torch.testing.assert_close(second(**batch), learned)
        with second.all_adapters_off():
            torch.testing.assert_close(second(**batch), plain)
        assert not torch.allclose(second(**batch), learned)


def test_what_is_learned_is_at_work_when_the_model_writes(model, tokenizer):
    rows = [instructions.chat_row(tokenizer, **row) for row in ROWS[:1]]
    before = plain_log_prob(model, rows[0])
    scorer = instructions.add_adapter(model, 1)
    batches = instructions.make_batches(model, tokenizer, ROWS[:1], 1)
    instructions.train_answers(scorer, batches, 8, 0.05)
    after = plain_log_prob(model, rows[0])
    torch.testing.assert_close(after, scorer(**batches[0]))
    assert after > before
    learned = sum(label != instructions.IGNORED for label in rows[0]["labels"])
    assert instructions.token_log_prob(scorer, batches) == pytest.approx(float(after.detach()) / learned, abs=1e-4)


def test_pairs_are_measured_against_the_reference(model, tokenizer):
    pairs = instructions.make_pair_batches(model, tokenizer, PAIRS, size=1, layers=1)
    scorer = instructions.add_adapter(model, 1)
    assert instructions.measure_pairs(scorer, pairs) == {"accuracy": 0.5, "chosen": 0, "rejected": 0}
    instructions.train_preferences(scorer, pairs, 0.1, 5, 0.05)
    found = instructions.measure_pairs(scorer, pairs)
    assert found["accuracy"] == 1 and found["chosen"] > found["rejected"]


def test_a_model_in_16_bits_learns_in_32(model, tokenizer):
    model = model.to(torch.bfloat16)
    scorer = instructions.add_adapter(model, 1)
    [batch] = instructions.make_batches(model, tokenizer, ROWS, 1, 200)
    assert batch["vectors"].dtype == torch.bfloat16
    history = instructions.train_answers(scorer, [batch], 3, 0.02)
    assert history[-1] < history[0]
    assert {value.dtype for value in instructions.adapter_state(scorer).values()} == {torch.float32}


def test_adapters_come_off_down_to_the_oldest(model, tokenizer):
    [batch] = instructions.make_batches(model, tokenizer, ROWS, 1, 200)
    plain = instructions.AnswerModel(model, 1)(**batch)
    learned, sizes = [], []
    for _ in range(3):
        scorer = instructions.add_adapter(model, 1)
        instructions.train_answers(scorer, [batch], 2, 0.05)
        learned.append(scorer(**batch).detach())
        sizes.append(len(instructions.adapter_state(scorer)))
    with pytest.raises(ValueError, match="more than two adapters"):
        instructions.AdapterState(scorer)
    for count in (3, 2, 1):
        instructions.keep_adapters(model, count)
        scorer = instructions.AnswerModel(model, 1)
        torch.testing.assert_close(scorer(**batch).detach(), learned[count - 1])
        assert len(instructions.adapter_state(scorer)) == sizes[count - 1]
    instructions.keep_adapters(model, 0)
    torch.testing.assert_close(instructions.AnswerModel(model, 1)(**batch), plain)


def test_a_training_that_fails_leaves_nothing_behind(model, tokenizer):
    [batch] = instructions.make_batches(model, tokenizer, ROWS, 1, 200)
    scorer = instructions.add_adapter(model, 1)
    before, names = scorer(**batch).detach(), [name for name, weight in scorer.named_parameters() if weight.requires_grad]
    with pytest.raises(AssertionError), instructions.restored(scorer) as trial:
        instructions.train_answers(trial, [batch], 3, 0.05)
        off = trial.adapter_off()
        off.__enter__()
        trial.train().requires_grad_(True)
        raise AssertionError
    torch.testing.assert_close(scorer(**batch).detach(), before)
    assert not scorer.training and all(weight.grad is None for weight in scorer.parameters())
    assert [name for name, weight in scorer.named_parameters() if weight.requires_grad] == names
    assert all(layer.scaling for layer in scorer.modules() if hasattr(layer, "scaling"))
