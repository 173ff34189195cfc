"""Log-probabilities of continuations under a causal language model, without computing anything twice.

Token boundaries: prefix, prompt and continuation are tokenized **separately**, without special tokens of the tokenizer's
own (write those of a chat template into the text), and their ids are put one after the other. So a continuation means
the same tokens after every prompt. Begin it with the space that a word has inside a text (" positive").
"""

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from leaplm.locales import say

PROMPT, PADDING = 0, -1  # owners of a token in a packed row; candidate j is 1 + j


def continuation_log_probs(model, tokenizer, prompts, continuations, prefix="", batch_size=16):
    """Sum of the log-probabilities of each continuation after `prefix + prompt`, and its number of tokens.

    prompts: n texts. continuations: c texts, the same for every prompt, or a list of n such lists (each of c texts).
    prefix: what all prompts share (instructions, demonstrations); it goes through the model once.
    Returns two arrays (n, c): sums in nats, and token counts. The mean per token is their quotient.

    Each batch is one pass: a row holds a prompt once and behind it all its continuations, which do not see each other
    (a tree of tokens). The vocabulary head is applied to the positions that predict a continuation, not to the rest.
    Equals `continuation_log_probs_naive` up to rounding. For decoders with full attention (Llama and its relatives).
    Raises ValueError for an empty continuation, or if there is no token to predict a continuation from.
    Source of the packed rows: Cai et al., 2024, *Medusa* (tree attention).

    >>> sums, tokens = continuation_log_probs(model, tokenizer, ["The film is"], [" good", " bad"])  # doctest: +SKIP
    >>> sums.shape, tokens.tolist()                                                                # doctest: +SKIP
    ((1, 2), [[1, 1]])
    """
    prefix_ids, items = encode(tokenizer, prompts, continuations, prefix)
    sums, was_training = np.zeros((len(items), len(items[0][1]))), model.training
    model.eval()
    with torch.inference_mode():
        cache = prefix_cache(model, prefix_ids)
        order = np.argsort([row_length(item) for item in items], kind="stable")
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            sums[chosen] = score_batch(model, cache, len(prefix_ids), [items[i] for i in chosen])
    model.train(was_training)
    return sums, count_tokens(items)


def continuation_log_probs_naive(model, tokenizer, prompts, continuations, prefix=""):
    """The same numbers by a plain loop: the whole text again for every prompt and continuation, and all logits."""
    prefix_ids, items = encode(tokenizer, prompts, continuations, prefix)
    sums, device = np.zeros((len(items), len(items[0][1]))), next(model.parameters()).device
    with torch.inference_mode():
        for i, (prompt, candidates) in enumerate(items):
            for j, candidate in enumerate(candidates):
                ids = torch.tensor([prefix_ids + prompt + candidate], device=device)
                log_probs = model(ids).logits[0].float().log_softmax(-1)
                places = range(ids.shape[1] - len(candidate) - 1, ids.shape[1] - 1)
                sums[i, j] = sum(float(log_probs[place, ids[0, place + 1]]) for place in places)
    return sums, count_tokens(items)


def batch_log_probs(model, prompts, answers, pad_token_id):
    """Tensors (n,): log-probability of each answer after its prompt, and its number of tokens; one call, padded right.

    prompts, answers: n lists of token ids, of any lengths. `model(input_ids, attention_mask=mask).logits` has the shape
    (n, tokens, vocabulary). Plain and for any causal model; `continuation_log_probs` computes the same without waste.

    >>> from types import SimpleNamespace
    >>> def model(input_ids, attention_mask):  # all four tokens are equally probable
    ...     return SimpleNamespace(logits=torch.zeros(*input_ids.shape, 4))
    >>> sums, tokens = batch_log_probs(model, [[2, 0], [3]], [[3, 1], [0]], pad_token_id=0)
    >>> [round(float(value), 3) for value in sums], tokens.tolist()  # log 1/4 for each token
    ([-2.773, -1.386], [2, 1])
    """
    device = getattr(model, "device", "cpu")
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    ids, mask = pad(rows, pad_token_id).to(device), pad([[1] * len(row) for row in rows], 0).to(device)
    with torch.inference_mode():
        log_probs = model(ids, attention_mask=mask).logits.float().log_softmax(-1)
    every = log_probs[:, :-1].gather(2, ids[:, 1:, None])[..., 0]  # of token t + 1, at place t
    ends = [len(row) - 1 for row in rows]
    sums = [every[i, end - len(answers[i]) : end].sum() for i, end in enumerate(ends)]
    return torch.stack(sums), torch.tensor([len(answer) for answer in answers])


def encode(tokenizer, prompts, continuations, prefix):
    """Token ids: of the prefix, and for each prompt a pair (its ids, the ids of its continuations)."""
    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    if not len(prompts) or not len(continuations):
        raise ValueError(say("there is nothing to score: give at least one prompt and one continuation"))
    if isinstance(continuations[0], str):
        shared = [ids(text) for text in continuations]
        candidates = [shared] * len(prompts)
    else:
        candidates = [[ids(text) for text in texts] for texts in continuations]
    if len(candidates) != len(prompts) or len({len(texts) for texts in candidates}) != 1:
        raise ValueError(say("continuations must be one list for all prompts, or a list of equally many for each prompt"))
    if not all(tokens for texts in candidates for tokens in texts):
        raise ValueError(say("a continuation has no token: an empty text cannot be scored"))
    prefix_ids, prompt_ids = ids(prefix) if prefix else [], [ids(text) for text in prompts]
    if not all(prompt_ids):
        if not prefix_ids:
            raise ValueError(say("prompt and prefix are both empty: there is no token to predict a continuation from"))
        # A row begins with a token of its own, so the prefix lends its last one to every prompt.
        prefix_ids, prompt_ids = prefix_ids[:-1], [prefix_ids[-1:] + tokens for tokens in prompt_ids]
    return prefix_ids, list(zip(prompt_ids, candidates, strict=True))


def count_tokens(items):
    return np.array([[len(candidate) for candidate in candidates] for _, candidates in items])


def row_length(item):
    prompt, candidates = item
    return len(prompt) + sum(len(candidate) - 1 for candidate in candidates)


class PrefixLayer(DynamicLayer):
    """Keys and values of a prefix (1, heads, tokens, width), put before those of any batch; keeps nothing of a batch."""

    def __init__(self, layer):
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self.keys, self.values = layer.keys, layer.values

    def update(self, key_states, value_states, *args, **kwargs):
        rows = len(key_states)
        return (torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=-2),
                torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=-2))


def prefix_cache(model, prefix_ids):
    """A cache that holds the prefix and serves any number of batches, or None for an empty prefix."""
    if not prefix_ids:
        return None
    ids = torch.tensor([prefix_ids], device=next(model.parameters()).device)
    cache = DynamicCache()
    model.get_decoder()(input_ids=ids, past_key_values=cache, use_cache=True)
    cache.layers = [PrefixLayer(layer) for layer in cache.layers]
    return cache


def score_batch(model, cache, prefix_length, items):
    """Sums of log-probabilities (rows, candidates) of a batch of (prompt ids, candidates' ids)."""
    parameter = next(model.parameters())
    rows = [pack_row(*item) for item in items]
    tokens, positions, owners = (pad([row[name] for row in rows], fill).to(parameter.device)
                                 for name, fill in (("tokens", 0), ("positions", 0), ("owners", PADDING)))
    mask = tree_mask(owners, prefix_length, parameter.dtype)
    hidden = model.get_decoder()(input_ids=tokens, position_ids=positions + prefix_length, attention_mask=mask,
                                 past_key_values=cache, use_cache=cache is not None).last_hidden_state
    # Each place that predicts goes through the vocabulary head once, however many candidates begin there.
    places = sorted({(r, place) for r, row in enumerate(rows) for place, _, _ in row["targets"]})
    index = {place: i for i, place in enumerate(places)}
    r, p = zip(*places, strict=True)
    log_probs = model.get_output_embeddings()(hidden[list(r), list(p)]).float().log_softmax(-1)
    wanted = [(index[r, place], token, r, j) for r, row in enumerate(rows) for place, token, j in row["targets"]]
    i, token, r, j = (list(column) for column in zip(*wanted, strict=True))
    sums = np.zeros((len(items), len(items[0][1])))
    np.add.at(sums, (r, j), log_probs[i, token].double().cpu().numpy())
    return sums


def pack_row(prompt, candidates):
    """One row: the prompt, then each candidate without its last token, which predicts nothing.

    positions: where each token would stand if its candidate were alone. owners: PROMPT or 1 + candidate.
    targets: (place of the token that predicts, the token wanted, candidate).

    >>> row = pack_row([5, 6], [[7], [8, 9]])
    >>> row["tokens"], row["positions"], row["owners"], row["targets"]
    ([5, 6, 8], [0, 1, 2], [0, 0, 2], [(1, 7, 0), (1, 8, 1), (2, 9, 1)])
    """
    tokens, positions, owners = list(prompt), list(range(len(prompt))), [PROMPT] * len(prompt)
    last, targets = len(prompt) - 1, []
    for j, candidate in enumerate(candidates):
        targets.append((last, candidate[0], j))
        targets += [(len(tokens) + n, token, j) for n, token in enumerate(candidate[1:])]
        tokens += candidate[:-1]
        positions += range(len(prompt), len(prompt) + len(candidate) - 1)
        owners += [1 + j] * (len(candidate) - 1)
    return {"tokens": tokens, "positions": positions, "owners": owners, "targets": targets}


def pad(rows, fill):
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])


def tree_mask(owners, prefix_length, dtype):
    """What is added to the attention scores (rows, 1, tokens, prefix + tokens): 0 where a token may look, else minimal.

    A token sees the prefix, the prompt up to itself, and what comes before it in its own candidate.
    """
    tokens = owners.shape[1]
    earlier = torch.ones(tokens, tokens, dtype=torch.bool, device=owners.device).tril()
    family = (owners[:, None, :] == owners[:, :, None]) | (owners[:, None, :] == PROMPT)
    seen = torch.cat([torch.ones(*owners.shape, prefix_length, dtype=torch.bool, device=owners.device),
                      family & earlier], dim=-1)
    return torch.zeros(seen.shape, dtype=dtype, device=owners.device).masked_fill_(~seen, torch.finfo(dtype).min)[:, None]
