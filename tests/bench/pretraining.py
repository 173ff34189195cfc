"""Speed of one masked-language-model update beside the usual way, in one run: text tokens (not padding) per second.

    python tests/bench/pretraining.py [--updates 8] [--rounds 3]

(a) transformers' DataCollatorForLanguageModeling on padded batches, with BertForMaskedLM, which scores all positions;
(b) packed blocks, and the vocabulary head at hidden positions only, as in leaplm.pretraining.run. Same weights, optimizer,
learning rate and number of tokens in a batch. The two take turns, and the ratio is taken within each round.
"""

import argparse
import time

import numpy as np
import torch
from leaplm import data, models, runtime
from leaplm.pretraining import run as pretrain
from leaplm.pretraining.masking import MaskingCollator
from transformers import BertForMaskedLM, DataCollatorForLanguageModeling

BATCH, BLOCK = 16, 64


def usual_batches(texts, tokenizer, count):
    """Texts in their order, padded to the longest of the batch."""
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    rows = data.tokenize_texts(texts, tokenizer, BLOCK)
    for i in range(count):
        yield dict(collate(rows[i * 2 * BATCH : (i + 1) * 2 * BATCH]))


def packed_batches(texts, tokenizer, count):
    collate = MaskingCollator(tokenizer, data.DynamicPaddingCollator(tokenizer.pad_token_id))
    rows = pretrain.blocks(texts, tokenizer, BLOCK)
    for i in range(count):
        yield collate(rows[i * BATCH : (i + 1) * BATCH])


def tokens_per_second(model, batches, optimizer):
    """Text tokens per second over the updates; making the batches counts."""
    tokens, started = 0, time.perf_counter()
    for batch in batches:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        tokens += int(batch["attention_mask"].sum())
    return tokens / (time.perf_counter() - started)


def one_round(texts, tokenizer, updates, seed):
    runtime.set_seed(seed)
    ours = models.load_masked_lm("minilm").train()
    theirs = BertForMaskedLM(ours.config).train()
    theirs.load_state_dict(ours.state_dict())
    speeds = []
    for model, make in ((theirs, usual_batches), (ours, packed_batches)):
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)  # the same kernel for both
        model(**next(make(texts, tokenizer, 1)))  # warm up
        speeds.append(tokens_per_second(model, make(texts, tokenizer, updates), optimizer))
    return speeds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--updates", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    tokenizer, texts = models.load_tokenizer("minilm"), list(data.load_corpus("eng")["train"]["text"])
    ratios = []
    for seed in range(asked.rounds):
        usual, packed = one_round(texts[seed * 1000 :], tokenizer, asked.updates, seed)
        ratios.append(packed / usual)
        print(f"round {seed + 1}: usual {usual:,.0f} tokens/s, packed and hidden positions only {packed:,.0f} tokens/s, "
              f"{ratios[-1]:.2f} times", flush=True)
    print(f"median {np.median(ratios):.2f} times (from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
