"""The whole of masked language modelling in plain PyTorch, as lab 1 builds it: blocks, masks, loss, evaluation, the loop.

Here each step can be read on one page. `leaplm.pretraining.run` does the same for large runs: any device, mixed precision,
several processes, batches cut into parts, the best weights kept.
"""

import torch

from leaplm.pretraining.masking import IGNORE_INDEX, mask_tokens
from leaplm.training import warmup_linear
from leaplm.whole_file import replacing


def pack_blocks(rows, block_size, cls_id, pad_id):
    """All texts in one line, cut into blocks: {"input_ids", "attention_mask"}, integer tensors (blocks, block_size).

    rows: list of {"input_ids"}; each begins with [CLS], which is dropped, and ends with [SEP], which stays. Each block
    begins with a [CLS] (cls_id) of its own. Only the end of the last block is padding: pad_id, where attention_mask is 0.

    >>> blocks = pack_blocks([{"input_ids": [1, 7, 8, 2]}, {"input_ids": [1, 9, 2]}], 4, cls_id=1, pad_id=0)
    >>> blocks["input_ids"].tolist(), blocks["attention_mask"].tolist()
    ([[1, 7, 8, 2], [1, 9, 2, 0]], [[1, 1, 1, 1], [1, 1, 1, 0]])
    """
    line, width = [token for row in rows for token in row["input_ids"][1:]], block_size - 1
    parts = [[cls_id, *line[i : i + width]] for i in range(0, len(line), width)]
    input_ids = torch.full((len(parts), block_size), pad_id)
    attention_mask = torch.zeros_like(input_ids)
    for number, part in enumerate(parts):
        input_ids[number, : len(part)] = torch.tensor(part)
        attention_mask[number, : len(part)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def masked_batch(blocks, places, tokenizer, mask_rate=0.15, seed=0):
    """The blocks at `places`, with tokens hidden by `seed`: input_ids, attention_mask, labels, each (places, tokens).

    Special tokens and padding are never hidden. The same seed and places give the same masks.

    >>> batch = masked_batch(blocks, range(32), tokenizer, seed=7)                        # doctest: +SKIP
    >>> batch["labels"].shape                                                             # doctest: +SKIP
    torch.Size([32, 64])
    """
    places = torch.as_tensor(places)
    ids = blocks["input_ids"][places]
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    inputs, labels = mask_tokens(ids, special, tokenizer.mask_token_id, len(tokenizer), mask_rate,
                                 torch.Generator().manual_seed(seed))
    return {"input_ids": inputs, "attention_mask": blocks["attention_mask"][places], "labels": labels}


def masked_lm_loss(hidden, labels, head):
    """Mean cross-entropy in nats per hidden token, a tensor with one number; 0 when no token is hidden.

    hidden (batch, tokens, width); labels (batch, tokens), IGNORE_INDEX where not hidden; head: vectors (n, width) -> scores
    (n, vocabulary). Only the vectors of hidden tokens go through the head.

    >>> even = lambda vectors: torch.zeros(len(vectors), 8)
    >>> round(float(masked_lm_loss(torch.zeros(1, 3, 4), torch.tensor([[3, -100, 0]]), even)), 3)
    2.079
    """
    chosen = labels != IGNORE_INDEX
    total = torch.nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen], reduction="sum")
    return total / max(1, int(chosen.sum()))


def batch_loss(model, batch):
    """The loss of a BERT (its encoder `bert`, its head `cls`) on a batch of `masked_batch`."""
    hidden = model.bert(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    return masked_lm_loss(hidden, batch["labels"], model.cls)


def evaluate_masked(model, masked, log_p, batch_size=32):
    """{"loss", "unigram"} in nats per hidden token, on masks that stay: `masked` is a batch of all blocks, made once.

    "loss": of the model, a mean over hidden tokens and not over batches. "unigram": of the guess without context, whose
    log-probabilities are log_p (vocabulary,), at the same tokens. The model's mode is as before afterwards.

    >>> evaluate_masked(model, masked_batch(blocks, range(400), tokenizer), log_p)        # doctest: +SKIP
    {'loss': 6.31, 'unigram': 6.42}
    """
    labels, was_training, total, count = masked["labels"], model.training, 0.0, 0
    model.eval()
    with torch.no_grad():
        for i in range(0, len(labels), batch_size):
            batch = {name: tensor[i : i + batch_size] for name, tensor in masked.items()}
            hidden = int((batch["labels"] != IGNORE_INDEX).sum())
            total, count = total + batch_loss(model, batch).item() * hidden, count + hidden
    model.train(was_training)
    return {"loss": total / count, "unigram": float(-log_p[labels[labels != IGNORE_INDEX]].mean())}


def pretrain(model, batch_of, evaluate, settings, checkpoint):
    """Train `model` in place, and go on where a run was cut off; returns a row for each evaluation.

    batch_of(places, update): a batch of these blocks (a tensor of their numbers), its masks new for each update (from 1).
    evaluate(model): a dict of numbers. checkpoint: the pathlib.Path of a file, written beside and then put in place, so that
    a kill at any moment leaves one that is whole. It goes when the run is at its end; one of other settings is not used.
    settings: how many `blocks` there are, `updates`, `batch_size`, `rate` (the peak, in AdamW), `warmup` (updates), `every`
    (updates between two evaluations, each with a checkpoint; there is one at the end, too) and `seed`.
    The rows: "step" (updates done), "train_loss" (mean of the updates since the last row) and what `evaluate` gives.

    >>> history = pretrain(model, batch_of, evaluate, settings, Path("loop.pt"))          # doctest: +SKIP
    >>> history[-1]                                                                       # doctest: +SKIP
    {'step': 80, 'train_loss': 6.4, 'loss': 6.31, 'unigram': 6.42}
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["rate"])
    step, history = restore(model, optimizer, settings, checkpoint)
    losses = []
    for update in range(step + 1, settings["updates"] + 1):
        for group in optimizer.param_groups:
            group["lr"] = settings["rate"] * warmup_factor(update, settings["updates"], settings["warmup"])
        model.train()
        loss = batch_loss(model, batch_of(places_of(update, settings), update))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if update % settings["every"] == 0 or update == settings["updates"]:
            history.append({"step": update, "train_loss": sum(losses) / len(losses), **evaluate(model)})
            losses = []
            with replacing(checkpoint) as file:
                torch.save({"settings": settings, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                            "history": history}, file)
    checkpoint.unlink(missing_ok=True)
    model.eval()
    return history


def warmup_factor(update, updates, warmup):
    """Factor on the peak rate at `update` (from 1): up to 1 at `warmup`, then down to 0 behind the last, on straight lines.

    >>> [round(warmup_factor(update, updates=5, warmup=2), 2) for update in (1, 2, 3, 4, 5)]
    [0.5, 1.0, 0.75, 0.5, 0.25]
    """
    return warmup_linear(update, updates + 1, warmup)


def places_of(update, settings):
    """The numbers of the blocks of `update` (from 1): each epoch has an order of its own, by seed and epoch alone.

    >>> settings = {"blocks": 5, "batch_size": 2, "seed": 0}
    >>> [len(places_of(update, settings)) for update in (1, 2, 3, 4)]
    [2, 2, 1, 2]
    """
    a_pass = -(-settings["blocks"] // settings["batch_size"])
    epoch, number = divmod(update - 1, a_pass)
    order = torch.randperm(settings["blocks"], generator=torch.Generator().manual_seed(settings["seed"] + epoch))
    return order[number * settings["batch_size"] : (number + 1) * settings["batch_size"]]


def restore(model, optimizer, settings, checkpoint):
    """(updates done, history) of a checkpoint of these settings, which is put into model and optimizer; else (0, [])."""
    state = torch.load(checkpoint) if checkpoint.exists() else {}
    if state.get("settings") != settings:
        return 0, []
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["history"][-1]["step"], state["history"]
