"""Masked language modelling: which tokens to hide, and what with."""

import torch

IGNORE_INDEX = -100  # labels with this value take no part in the loss (torch's default for cross-entropy)


def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15, generator=None):
    """Hide tokens as BERT does; returns (inputs, labels), both (batch, tokens), and leaves `input_ids` alone.

    Each token that is not special is selected with probability `mask_rate`. Of the selected, 80 % become the mask
    token, 10 % a random token and 10 % stay. labels hold the original id at selected positions, IGNORE_INDEX elsewhere.
    special_tokens_mask (batch, tokens): 1 at [CLS], [SEP], padding. Source: Devlin et al., 2019, section 3.1.
    """
    def draw():
        return torch.rand(input_ids.shape, generator=generator)

    selected = (draw() < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(selected, input_ids, IGNORE_INDEX)
    dice = draw()
    masked = torch.where(selected & (dice < 0.8), mask_token_id, input_ids)
    random_ids = torch.randint(vocab_size, input_ids.shape, generator=generator)
    return torch.where(selected & (dice >= 0.8) & (dice < 0.9), random_ids, masked), labels


class MaskingCollator:
    """Pad rows with `collate_fn`, then hide tokens anew each time a row is seen (dynamic masking; Liu et al., 2019).

    Returns input_ids, attention_mask and labels, each (batch, tokens). Rows of sentence pairs (with `token_type_ids` and
    `label`, 1 = the second part follows) also give token_type_ids and next_sentence_label (batch,).
    """

    def __init__(self, tokenizer, collate_fn, mask_rate=0.15):
        self.tokenizer, self.collate_fn, self.mask_rate = tokenizer, collate_fn, mask_rate
        self.special_ids = torch.tensor(tokenizer.all_special_ids)

    def __call__(self, rows):
        batch = self.collate_fn(rows)
        answers = batch.pop("labels", None)
        special = torch.isin(batch["input_ids"], self.special_ids)
        inputs, labels = mask_tokens(batch["input_ids"], special, self.tokenizer.mask_token_id,
                                     len(self.tokenizer), self.mask_rate)
        batch |= {"input_ids": inputs, "labels": labels}
        return batch | {"next_sentence_label": answers} if "token_type_ids" in batch else batch
