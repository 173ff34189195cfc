"""A small causal language model trained from nothing, and what it has to beat: n-gram models, in bits per byte.

Texts become one long *line* of tokens, each text with a line end after it, so that the model learns where a text ends.
"""

import math

import numpy as np
import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from leaplm.locales import say
from leaplm.tokens import tokenization
from leaplm.tokens.costs import checked_pieces
from leaplm.training import train
from leaplm.transformer.decoder import decoder, shape_of, weights_of

END = "Ċ"  # the line end, as byte-level BPE writes it
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # of the prior of an n-gram model, from which the best is taken


def next_token_loss(logits, ids):
    """Mean loss in nats of each next token: logits (batch, t, vocabulary), ids (batch, t) -> a tensor with one number.

    The scores after token i are for token i + 1: the last scores and the first token have no partner.

    >>> next_token_loss(torch.zeros(1, 3, 8), torch.tensor([[1, 2, 3]]))    # log(8)
    tensor(2.0794)
    """
    return cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def training_step(model, ids, optimizer):
    """One update on a batch of ids (batch, t), the gradient's norm cut to 1; returns the loss before it, a float."""
    model.train()
    optimizer.zero_grad()
    loss = next_token_loss(model(ids).logits, ids)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


# -- texts ----------------------------------------------------------------------------------------------------------------


def token_line(texts, tokenizer):
    """All texts as one array of token ids: a line end first, then each text and its line end."""
    end = tokenizer.convert_tokens_to_ids(END)
    rows = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if len(texts) else []
    return np.array([end, *(token for row in rows for token in (*row, end))])


def count_bytes(texts):
    """UTF-8 bytes of what `token_line` asks to be guessed: the texts and their line ends."""
    return sum(len(text.encode()) + 1 for text in texts)


def training_rows(line, block_size=64):
    """Rows {"input_ids"} of `block_size` tokens for `train`; the rest of the line, shorter than a block, is left out.

    A line shorter than one block is one row. Raises ValueError for a line without two tokens.
    """
    if len(line) < 2:
        raise ValueError(say("there is no text to learn from"))
    width = min(block_size, len(line))
    return [{"input_ids": line[i : i + width]} for i in range(0, len(line) - width + 1, width)]


def causal_collate(rows):
    """A batch of rows of equal length: input_ids, and labels in which the first token, which nothing guesses, is -100."""
    ids = torch.from_numpy(np.stack([row["input_ids"] for row in rows]))
    labels = ids.clone()
    labels[:, 0] = -100
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


# -- the model ------------------------------------------------------------------------------------------------------------


def new_causal_lm(vocab_size, layers=2, width=128, heads=4, kv_heads=2):
    """A small Llama of `transformers` with random weights; input and output share one matrix.

    The scores begin near zero, so the first loss is about log(vocab_size).
    """
    config = LlamaConfig(vocab_size=vocab_size, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                         num_key_value_heads=kv_heads, intermediate_size=8 * width // 3 // 32 * 32,
                         max_position_embeddings=512, tie_word_embeddings=True, pad_token_id=None, bos_token_id=None,
                         eos_token_id=None)  # fmt: skip
    return LlamaForCausalLM(config)


def written_out_loss(model, batch):
    """(loss, targets) of a batch by the forward pass of `decoder`, for `train`."""
    ids = batch["input_ids"]
    logits, _ = decoder(ids, weights_of(model), shape_of(model.config))
    return next_token_loss(logits, ids), ids[:, 1:].numel()


def train_causal_lm(model, line, config, validation=None, loss_fn=written_out_loss):
    """Train `model` in place on a line of tokens and return its History.

    validation: another line; its loss in nats per token is measured as config.eval_steps says; the best weights stay.
    """
    score = None if validation is None else (lambda m: {"loss": float(np.mean(token_losses(m, validation)))})
    return train(model, training_rows(line), causal_collate, config, score, loss_fn)


def token_losses(model, line, block_size=64, batch_size=32):
    """Nats of each token of a line but the first, (tokens - 1,), each guessed from up to `block_size` tokens before it."""
    was_training, device, losses = model.training, model.device, []
    model.eval()
    cuts = range(0, len(line) - 1, block_size)
    with torch.inference_mode():
        for i in range(0, len(cuts), batch_size):
            parts = [torch.as_tensor(line[cut : cut + block_size + 1]) for cut in cuts[i : i + batch_size]]
            ids = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True).to(device)
            nats = cross_entropy(model(ids[:, :-1]).logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            nats = nats.view(len(parts), -1).cpu().numpy()
            losses += [row[: len(part) - 1] for row, part in zip(nats, parts, strict=True)]
    model.train(was_training)
    return np.concatenate(losses)


# -- what is handed in ----------------------------------------------------------------------------------------------------

MOST = {"layers": 12, "width": 512, "heads": 16, "kv_heads": 16}


def describe(model, tokenizer):
    """What a card needs so that model and tokenizer can be made again: a dict that JSON can hold (see `model_of`)."""
    import json

    parts, config = json.loads(tokenizer.backend_tokenizer.to_str())["model"], model.config
    return {"layers": config.num_hidden_layers, "width": config.hidden_size, "heads": config.num_attention_heads,
            "kv_heads": config.num_key_value_heads, "pieces": sorted(parts["vocab"], key=parts["vocab"].get),
            "merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in parts["merges"]]}


def model_of(card):
    """(a new model, its tokenizer) as a card of `describe` says. Raises ValueError if that cannot be, or is too large.

    The pieces must have all 256 bytes: a tokenizer without some would lose what is hard to guess.
    """
    sizes = {name: card.get(name) for name in MOST}
    if not all(type(size) is int and 1 <= size <= MOST[name] for name, size in sizes.items()):
        raise ValueError(f"{sizes}: whole numbers from 1 to {MOST} are possible")
    if sizes["heads"] % sizes["kv_heads"] or sizes["width"] % (2 * sizes["heads"]):
        raise ValueError(f"{sizes}: heads must divide into kv_heads, and the width into heads of an even width")
    pieces, merges = card.get("pieces"), card.get("merges")
    if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
        raise ValueError("the card has no list of pieces")
    if not set(ByteLevel.alphabet()) <= set(pieces) or len(set(pieces)) < len(pieces):
        raise ValueError("its pieces should have each of the 256 bytes, and no piece twice")
    tokenizer = tokenization.byte_bpe_from(*checked_pieces({piece: i for i, piece in enumerate(pieces)}, merges))
    return new_causal_lm(len(pieces), **sizes), tokenizer


# -- what it costs to guess -----------------------------------------------------------------------------------------------


def bits_per_byte(losses, texts):
    """Bits for each UTF-8 byte of some texts: losses, for each text the nats of its tokens; texts, list of str.

    Does not depend on how a text was cut into tokens, so languages and tokenizers can be compared.

    >>> bits_per_byte([[math.log(2), math.log(4)]], ["ab c"])
    0.75
    """
    nats = sum(float(np.sum(some)) for some in losses)
    return nats / math.log(2) / sum(len(text.encode()) for text in texts)


def line_bits_per_byte(losses, texts):
    """Bits per byte of a whole line (see `token_line`): losses (tokens - 1,) in nats; line ends are guessed and counted."""
    return float(np.sum(losses)) / math.log(2) / count_bytes(texts)


def text_bits_per_byte(model, tokenizer, texts):
    """Bits per byte of a causal language model on texts, line ends counted (see `token_line`)."""
    return line_bits_per_byte(token_losses(model, token_line(texts, tokenizer)), texts)


def ngram_losses(train_line, line, vocab_size, order=2, strength=10.0):
    """Nats of each token of `line` but the first under an n-gram model of `train_line`, (tokens - 1,).

    p_n(w | c) = (count(c w) + strength * p_(n-1)(w | shorter c)) / (count(c) + strength); p_0 is even over the vocabulary.
    order 1 guesses by frequency alone, order 2 from one token before. Source: MacKay & Peto, 1995, *A hierarchical
    Dirichlet language model*.

    >>> ngram_losses(np.array([0, 1, 0, 1]), np.array([0, 1]), 2, order=1, strength=2.0).round(3).tolist()
    [0.693]
    """
    p = np.full(len(line), 1 / vocab_size)
    for n in range(1, order + 1):
        grams, contexts = codes(train_line, n, vocab_size), codes(train_line, n - 1, vocab_size)[: len(train_line) - n + 1]
        together = counts_of(grams, codes(line, n, vocab_size))
        alone = counts_of(contexts, codes(line, n - 1, vocab_size)[: len(line) - n + 1])
        p[n - 1 :] = (together + strength * p[n - 1 :]) / (alone + strength)
    return -np.log(p[1:])


def codes(line, n, vocab_size):
    """One whole number for each run of n tokens; for n = 0 the number 0 at each place."""
    line = np.asarray(line, dtype=np.int64)
    return sum((line[i : len(line) - n + 1 + i] * vocab_size**i for i in range(n)), np.zeros(len(line) - n + 1, np.int64))


def counts_of(seen, asked):
    """How often each of `asked` is in `seen`."""
    values, counts = np.unique(seen, return_counts=True)
    places = np.minimum(np.searchsorted(values, asked), len(values) - 1)
    return np.where(values[places] == asked, counts[places], 0)


def ngram_baseline(train_line, validation, line, vocab_size, order=2):
    """`ngram_losses` of `line`, with the strength (of STRENGTHS) that is best on the `validation` line."""
    best = min(STRENGTHS, key=lambda some: ngram_losses(train_line, validation, vocab_size, order, some).mean())
    return ngram_losses(train_line, line, vocab_size, order, best)
