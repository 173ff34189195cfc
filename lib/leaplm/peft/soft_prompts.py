"""Soft prompts: a few learned vectors before the text, in a language model whose own weights do not change."""

import numpy as np
import torch
from torch import nn

from leaplm.data import DynamicPaddingCollator
from leaplm.models import model_folder

VIRTUAL_TOKENS = 10
LEARNING_RATE = 0.03


def add_soft_prompt(model, init_text=None, name="smollm2", num_tokens=VIRTUAL_TOKENS):
    """The model with `num_tokens` trainable vectors before every text (peft's prompt tuning); all else is frozen.

    init_text: words whose embeddings the vectors start from (None: random ones). name: the model's, for its tokenizer.
    Source: Lester et al., 2021, *The power of scale for parameter-efficient prompt tuning*.
    """
    from peft import PromptTuningConfig, get_peft_model

    start = {"prompt_tuning_init": "RANDOM"} if init_text is None else {
        "prompt_tuning_init": "TEXT", "prompt_tuning_init_text": init_text,
        "tokenizer_name_or_path": str(model_folder(name))}
    return get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=num_tokens, **start))


def remove_soft_prompt(soft):
    """The language model inside, as it was, with no gradient asked of it."""
    return soft.base_model


def make_rows(texts, labels, template, tokenizer):
    """Rows {"input_ids", "label"}: the template's item with each text; the answer would be the next token."""
    prompts = [template.fill(text) for text in texts]
    return [{"input_ids": ids, "label": int(label)} for ids, label in
            zip(tokenizer(prompts, add_special_tokens=False)["input_ids"], labels, strict=True)]


def first_tokens(verbalizer, template, tokenizer):
    """Id of the first token of each class's word (c,); where two words begin alike, of the letters A, B, C, ... instead."""
    def ids(words):
        return [tokenizer(template.lead + word, add_special_tokens=False)["input_ids"][0] for word in words]

    found = ids(verbalizer.words)
    if len(set(found)) < len(found):
        found = ids([chr(ord("A") + i) for i in range(len(found))])
    return torch.tensor(found)


def class_logits(soft, batch, word_ids):
    """Logits of the classes' words after each text (batch, c), from the last position alone.

    The vocabulary layer is applied to c of its 49,152 rows: memory and time that a full one would waste.
    """
    ids, mask, model = batch["input_ids"], batch["attention_mask"], soft.base_model
    vectors = soft.get_prompt(batch_size=len(ids))
    inputs = torch.cat([vectors, model.get_input_embeddings()(ids)], dim=1)
    mask = torch.cat([mask.new_ones(vectors.shape[:2]), mask], dim=1)
    hidden = model.get_decoder()(inputs_embeds=inputs, attention_mask=mask, use_cache=False).last_hidden_state
    last = hidden[torch.arange(len(ids), device=ids.device), mask.sum(dim=1) - 1]
    return last @ model.get_output_embeddings().weight[word_ids.to(ids.device)].T


def soft_prompt_loss(word_ids):
    """A `loss_fn` for `training.train`: cross-entropy over the classes' words, and the number of texts."""
    def loss(model, batch):
        logits = class_logits(model, batch, word_ids).float()
        return nn.functional.cross_entropy(logits, batch["labels"]), len(logits)
    return loss


def predict(soft, rows, word_ids, pad_token_id, batch_size=16):
    """Class numbers (n,) of rows, in their order."""
    collate, found = DynamicPaddingCollator(pad_token_id), np.zeros(len(rows), dtype=int)
    order = np.argsort([len(row["input_ids"]) for row in rows], kind="stable")
    device = next(soft.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = {name: tensor.to(device) for name, tensor in collate([rows[i] for i in chosen]).items()}
            found[chosen] = class_logits(soft, batch, word_ids).argmax(-1).cpu().numpy()
    return found
