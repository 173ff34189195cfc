"""The written-out forward pass gives the numbers of transformers, whole and with a cache."""

import pytest
import torch
from leaplm.grading.judge.tiny_models import tiny_llama
from leaplm.transformer import decoder as ours
from transformers.models.llama.modeling_llama import LlamaRMSNorm

SETTINGS = [{"heads": 4, "kv_heads": 2}, {"heads": 6, "kv_heads": 2, "blocks": 3, "theta": 10_000.0},
            {"heads": 3, "kv_heads": 3, "blocks": 1, "eps": 0.5}, {"heads": 4, "kv_heads": 1}]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS)
@torch.no_grad()
def test_logits_are_those_of_transformers(settings):
    model, ids = tiny_llama(seed=1, **settings), torch.randint(40, (2, 11))
    weights, shape = ours.weights_of(model), ours.shape_of(model.config)
    want = model(ids).logits
    torch.testing.assert_close(ours.decoder(ids, weights, shape)[0], want, atol=1e-3, rtol=1e-4)
    caches, parts = None, []
    for piece in ids.split([4, 1, 6], dim=1):
        logits, caches = ours.decoder(piece, weights, shape, caches)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), want, atol=1e-3, rtol=1e-4)


def test_what_trains_the_weights_trains_the_model():
    model = tiny_llama()
    ours.decoder(torch.tensor([[3, 4, 5]]), ours.weights_of(model), ours.shape_of(model.config))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_attention_is_torchs():
    queries, keys, values = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 7, 5), torch.randn(2, 3, 7, 5)
    seen = torch.ones(4, 7, dtype=torch.bool).tril(3)
    want = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
    torch.testing.assert_close(ours.attention(queries, keys, values), want)


def test_norm_is_that_of_transformers():
    norm, x = LlamaRMSNorm(6, eps=0.1), torch.randn(3, 6)
    torch.nn.init.uniform_(norm.weight)
    torch.testing.assert_close(ours.rms_norm(x, norm.weight, 0.1), norm(x))


def test_rotation_knows_distances_only():
    query, key = torch.randn(1, 8), torch.randn(1, 8)
    scores = [float((ours.rotate(query, torch.tensor([p + 5])) * ours.rotate(key, torch.tensor([p]))).sum())
              for p in (0, 3, 90)]  # fmt: skip
    assert scores == pytest.approx([scores[0]] * 3, abs=1e-4)


@torch.no_grad()
def test_a_block_of_real_weights_is_that_of_the_whole_model(assets_ready, needs_asset):
    """The cut model is what transformers computes from the same file with one block."""
    needs_asset("smollm2")
    from leaplm.models import model_folder
    from transformers import AutoConfig, LlamaForCausalLM

    weights, shape = ours.first_blocks(), ours.first_shape()
    config = AutoConfig.from_pretrained(model_folder("smollm2"), num_hidden_layers=1, vocab_size=500, pad_token_id=None)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.to_empty(device="cpu")
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    for part, place in ours.PARTS.items():
        model.model.layers[0].get_parameter(f"{place}.weight").copy_(weights["blocks"][0][part])
    model.model.embed_tokens.weight.copy_(weights["embedding"])
    model.lm_head.weight.copy_(weights["head"])
    model.model.norm.weight.copy_(weights["norm"])
    ids = torch.randint(500, (1, 12))
    torch.testing.assert_close(ours.decoder(ids, weights, shape)[0], model(ids).logits, atol=1e-3, rtol=1e-4)
