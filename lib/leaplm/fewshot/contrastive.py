"""Contrastive tuning of an encoder on few labelled texts (SetFit): texts of a class move together, others apart.

A handful of texts makes hundreds of pairs, so there is more to learn from than the labels alone. Afterwards a head is fitted
on the moved vectors as on frozen ones. Source: Tunstall et al., 2022, *Efficient few-shot learning without prompts*.
"""

import numpy as np
import torch
from torch import nn

from leaplm.data import DynamicPaddingCollator
from leaplm.locales import say
from leaplm.models import mean_pool
from leaplm.runtime import set_seed


def contrastive_pairs(labels, count, seed=0):
    """`count` pairs of different rows, as (first, second, same): arrays (count,) of row numbers, and 1.0 or 0.0.

    labels (n,) of any integers. Every second pair is of one class (same = 1), the others of two. Classes are drawn with
    equal chances. Raises ValueError for a single class, or one with fewer than two rows.

    >>> first, second, same = contrastive_pairs([0, 0, 1, 1], 4)
    >>> same.tolist()
    [1.0, 0.0, 1.0, 0.0]
    """
    labels, rng = np.asarray(labels), np.random.default_rng(seed)
    rows = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    if len(rows) < 2 or min(map(len, rows)) < 2:
        raise ValueError(say("pairs need two classes or more, and at least two rows of each"))
    pairs = []
    for number in range(count):
        one, other = rng.choice(len(rows), 2, replace=False)
        pairs.append(rng.choice(rows[one], 2, replace=False) if number % 2 == 0
                     else (rng.choice(rows[one]), rng.choice(rows[other])))
    first, second = np.array(pairs).reshape(-1, 2).T
    return first, second, (np.arange(count) % 2 == 0).astype(float)


def contrastive_loss(first, second, same):
    """Mean squared difference of the cosines of two vectors each, (pairs, width), from `same` (pairs,): 1 or 0.

    >>> float(contrastive_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([1.0])))
    1.0
    """
    return nn.functional.mse_loss(nn.functional.cosine_similarity(first, second), same)


def tune_contrastive(encoder, tokenizer, texts, labels, updates=40, pairs=8, learning_rate=1e-4, max_length=128, seed=0):
    """Tune `encoder` in place so that texts of one class lie together; returns the losses, one an update.

    The word embeddings stay as they are. AdamW, `pairs` pairs an update, the rate falls in a straight line. encoder:
    input_ids, attention_mask -> last_hidden_state. The encoder ends in evaluation mode; then `fit_head` on `embed`.

    >>> losses = tune_contrastive(encoder, tokenizer, few["text"], few["label"])    # doctest: +SKIP
    """
    first, second, same = contrastive_pairs(labels, updates * pairs, seed)
    ids = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    collate = DynamicPaddingCollator(tokenizer.pad_token_id)
    encoder.get_input_embeddings().requires_grad_(False)
    learning = [weight for weight in encoder.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / updates)
    set_seed(seed)
    encoder.train()
    losses = []
    for start in range(0, updates * pairs, pairs):
        chosen = slice(start, start + pairs)
        rows, places = np.unique([first[chosen], second[chosen]], return_inverse=True)  # each text is read once
        batch = collate([{"input_ids": ids[row]} for row in rows])
        batch = {name: tensor.to(encoder.device) for name, tensor in batch.items()}
        hidden = encoder(**batch).last_hidden_state
        vectors = mean_pool(hidden, batch["attention_mask"])[torch.from_numpy(places.reshape(2, -1))]
        loss = contrastive_loss(*vectors, torch.tensor(same[chosen], dtype=vectors.dtype, device=vectors.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    encoder.eval()
    return losses
