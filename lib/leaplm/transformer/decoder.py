"""The forward pass of a Llama-like decoder, written out: the numbers are those of `transformers`.

A model is two plain things: its *shape*, a dict {"heads", "kv_heads", "theta", "eps"}, and its *weights*, a dict
{"embedding" (vocabulary, width), "blocks": one dict a block, "norm" (width,), "head" (vocabulary, width)}. A block has
"attention_norm", "query", "key", "value", "output", "feed_norm", "gate", "up" and "down", the matrices (out, in) as in
`torch.nn.Linear`. A *cache* is the pair (keys, values) of one block, each (batch, kv_heads, tokens, head width).
"""

import torch
from safetensors import safe_open
from torch.nn.functional import linear, silu
from transformers import AutoConfig

from leaplm.models import model_folder

PARTS = {"attention_norm": "input_layernorm", "query": "self_attn.q_proj", "key": "self_attn.k_proj",
         "value": "self_attn.v_proj", "output": "self_attn.o_proj", "feed_norm": "post_attention_layernorm",
         "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"}  # fmt: skip


def attention(queries, keys, values):
    """Causal scaled dot-product attention: queries (batch, heads, t, d), keys and values (batch, heads, s, d), s >= t.

    The queries are those of the last t of s tokens; each sees its own token and all before. Returns (batch, heads, t, d).
    Source: Vaswani et al., 2017, section 3.2.1.

    >>> one = torch.ones(1, 1, 2, 1)
    >>> attention(one, one, torch.tensor([2.0, 4.0]).view(1, 1, 2, 1)).flatten().tolist()
    [2.0, 3.0]
    """
    t, s = queries.shape[-2], keys.shape[-2]
    scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
    hidden = torch.ones(t, s, dtype=torch.bool, device=scores.device).triu(1 + s - t)
    return scores.masked_fill(hidden, float("-inf")).softmax(dim=-1) @ values


def rotate(x, positions, theta=10_000.0):
    """Rotary positions: x (..., tokens, d), positions (tokens,) -> (..., tokens, d), each pair of numbers turned.

    Pair i is (x[i], x[i + d/2]); at position p it is turned by the angle p * theta^(-2i/d). Source: Su et al., 2021, section
    3.2; the pairing of halves is that of GPT-NeoX and Llama in `transformers`.

    >>> rotate(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    tensor([[0.5403, 0.8415]])
    """
    half = x.shape[-1] // 2
    speeds = theta ** (-torch.arange(half, device=x.device) / half)
    angles = torch.as_tensor(positions, device=x.device)[:, None] * speeds
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], dim=-1)


def rms_norm(x, weight, eps=1e-5):
    """x (..., width) over its root mean square, times `weight` (width,). Source: Zhang & Sennrich, 2019, section 4.

    >>> rms_norm(torch.tensor([3.0, 4.0]), torch.ones(2), eps=0.0)
    tensor([0.8485, 1.1314])
    """
    return weight * x / (x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt()


def self_attention(x, weights, shape, cache=None):
    """Multi-head attention of x (batch, t, width) over the cached tokens and itself: (output, the longer cache).

    Each of `kv_heads` pairs of key and value serves heads / kv_heads queries (Ainslie et al., 2023, *GQA*).
    """
    before = 0 if cache is None else cache[0].shape[2]
    positions = torch.arange(before, before + x.shape[1], device=x.device)
    queries, keys, values = (linear(x, weights[part]).unflatten(2, (count, -1)).transpose(1, 2) for part, count in
                             (("query", shape["heads"]), ("key", shape["kv_heads"]), ("value", shape["kv_heads"])))
    queries, keys = (rotate(some, positions, shape["theta"]) for some in (queries, keys))
    if cache is not None:
        keys, values = torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], values], dim=2)
    each = shape["heads"] // shape["kv_heads"]
    mixed = attention(queries, keys.repeat_interleave(each, dim=1), values.repeat_interleave(each, dim=1))
    return linear(mixed.transpose(1, 2).flatten(2), weights["output"]), (keys, values)


def feed_forward(x, weights):
    """The part of a block that treats each token alone: down(silu(gate(x)) * up(x)).

    Source: Shazeer, 2020, *GLU variants improve transformer*.
    """
    return linear(silu(linear(x, weights["gate"])) * linear(x, weights["up"]), weights["down"])


def block(x, weights, shape, cache=None):
    """One block on the residual stream x (batch, t, width): (x + attention + feed-forward, each of a normed x; cache)."""
    added, cache = self_attention(rms_norm(x, weights["attention_norm"], shape["eps"]), weights, shape, cache)
    x = x + added
    return x + feed_forward(rms_norm(x, weights["feed_norm"], shape["eps"]), weights), cache


def decoder(ids, weights, shape, caches=None):
    """Scores of the next token after each token: ids (batch, t) -> (logits (batch, t, vocabulary), caches).

    caches: one cache a block, of all tokens before `ids`; None at the beginning of a text.
    """
    x, longer = weights["embedding"][ids], []
    for place, part in enumerate(weights["blocks"]):
        x, cache = block(x, part, shape, None if caches is None else caches[place])
        longer.append(cache)
    return linear(rms_norm(x, weights["norm"], shape["eps"]), weights["head"]), longer


# -- a model of transformers, in this form ------------------------------------------------------------------------------


def shape_of(config):
    """The shape of a LlamaConfig."""
    return {"heads": config.num_attention_heads, "kv_heads": config.num_key_value_heads,
            "theta": float(config.rope_parameters["rope_theta"]), "eps": config.rms_norm_eps}


def weights_of(model):
    """The weights of a LlamaForCausalLM: its own parameters (no copies), so what trains them trains the model."""
    inner = model.model
    return {"embedding": inner.embed_tokens.weight, "norm": inner.norm.weight, "head": model.lm_head.weight,
            "blocks": [{part: layer.get_parameter(f"{name}.weight") for part, name in PARTS.items()}
                       for layer in inner.layers]}


def first_shape(name="smollm2"):
    """The shape of a course model, from its folder alone."""
    return shape_of(AutoConfig.from_pretrained(model_folder(name)))


def first_blocks(name="smollm2", blocks=1, vocabulary=500):
    """The weights of a course model's first `blocks` blocks and `vocabulary` tokens, in 32 bits: a model cut short.

    Read from the file in place, so that a block of SmolLM2 costs 15 MB and not the 540 of all.
    """
    with safe_open(model_folder(name) / "model.safetensors", "pt") as file:
        embedding = file.get_slice("model.embed_tokens.weight")[:vocabulary].float()
        parts = [{part: file.get_tensor(f"model.layers.{i}.{place}.weight").float() for part, place in PARTS.items()}
                 for i in range(blocks)]
        norm = file.get_tensor("model.norm.weight").float()
    return {"embedding": embedding, "blocks": parts, "norm": norm, "head": embedding}
