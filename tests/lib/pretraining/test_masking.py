"""Masking is 80/10/10 of the selected tokens, and touches nothing else."""

import torch
from leaplm.data import DynamicPaddingCollator
from leaplm.grading.judge.tiny_models import tiny_tokenizer
from leaplm.pretraining.masking import IGNORE_INDEX, MaskingCollator, mask_tokens

MASK, VOCAB = 4, 1000


def masked(rate=0.15, rows=2000, tokens=64):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, VOCAB, (rows, tokens), generator=generator)
    special = torch.zeros_like(ids)
    special[:, 0] = special[:, 50:] = 1
    original = ids.clone()
    inputs, labels = mask_tokens(ids, special, MASK, VOCAB, rate, generator)
    assert torch.equal(ids, original)
    return ids, special.bool(), inputs, labels


def test_shares():
    ids, special, inputs, labels = masked()
    selected = labels != IGNORE_INDEX
    assert abs(selected[~special].float().mean() - 0.15) < 0.004
    share = {"mask": inputs[selected] == MASK, "same": inputs[selected] == ids[selected]}
    assert abs(share["mask"].float().mean() - 0.8) < 0.01
    # A random token is the same one by chance once in 1,000 draws.
    assert abs(share["same"].float().mean() - 0.1) < 0.01


def test_unselected_and_special_tokens_are_untouched():
    ids, special, inputs, labels = masked(rate=0.5)
    selected = labels != IGNORE_INDEX
    assert not (selected & special).any()
    assert torch.equal(inputs[~selected], ids[~selected])
    assert torch.equal(labels[selected], ids[selected])


def test_collator_never_hides_padding_or_marks():
    tokenizer = tiny_tokenizer(["a", "b", "c", "d"])
    collate = MaskingCollator(tokenizer, DynamicPaddingCollator(tokenizer.pad_token_id), mask_rate=0.9)
    batch = collate([{"input_ids": tokenizer(text)["input_ids"], "label": 0} for text in ("a b c d", "b")] * 50)
    clean = DynamicPaddingCollator(tokenizer.pad_token_id)(
        [{"input_ids": tokenizer(text)["input_ids"]} for text in ("a b c d", "b")] * 50)["input_ids"]
    hidden = batch["labels"] != IGNORE_INDEX
    assert hidden.any() and (clean[hidden] >= 5).all()
    assert torch.equal(batch["input_ids"][~hidden], clean[~hidden])
