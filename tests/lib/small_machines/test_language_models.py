"""Language models on small machines, on tiny ones: drafts, GGUF, halves in two processes. The numbers are transformers'."""

import numpy as np
import pytest
import torch
from leaplm import small_machines
from leaplm.grading.judge.tiny_models import tiny_llama
from leaplm.small_machines import gguf_file, rounded, sharding

PROMPT = [3, 9, 4, 3, 9]


@pytest.fixture(scope="module")
def llama():
    return tiny_llama(seed=1).eval()


@pytest.mark.parametrize("draft", [small_machines.no_draft, small_machines.find_draft, lambda tokens: [1, 2, 3, 4, 5]],
                         ids=["none", "from the text", "wrong"])
def test_drafts_change_nothing_of_what_a_model_with_a_cache_writes(llama, draft):
    ids = torch.tensor([PROMPT])
    want = llama.generate(ids, max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0)[0, len(PROMPT) :]
    got, passes = small_machines.speculative_decode(small_machines.CachedModel(llama), PROMPT, 20, draft)
    assert got == want.tolist() and 1 <= passes <= 20


def test_a_cached_model_computes_only_what_it_has_not_seen(llama):
    best, seen = small_machines.CachedModel(llama), []
    handle = llama.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[-1]))
    try:
        whole = best([1, 2, 3, 4])
        assert best([1, 2, 3, 4, 5])[:4] == whole and best([1, 2, 9])[:2] == whole[:2]
    finally:
        handle.remove()
    assert seen == [4, 1, 1]


def test_rows_are_paired_as_llama_cpp_wants_them():
    table = np.arange(16).reshape(8, 2)
    assert gguf_file.pair_up(table, heads=1)[:, 0].tolist() == [0, 8, 2, 10, 4, 12, 6, 14]
    assert gguf_file.pair_up(table, heads=2)[:4, 0].tolist() == [0, 4, 2, 6]


def test_rounding_changes_the_layers_and_nothing_else(llama):
    before = {name: weight.clone() for name, weight in llama.state_dict().items()}
    model = tiny_llama(seed=1)
    rounded.round_layers(model, size=4)
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed and all(".layers." in name and "norm" not in name for name in changed)
    for _, weight in rounded.layer_matrices(model):
        assert all(len(set(group.tolist())) <= 4 for group in weight.detach().reshape(-1, 4))


def test_two_processes_give_the_scores_of_one(llama, tmp_path):
    llama.save_pretrained(tmp_path)
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        want = llama(ids).logits
    layers = llama.config.num_hidden_layers
    first = sharding.Part(tmp_path, 0, 1)
    with sharding.Distant(tmp_path, 1, layers) as second:
        torch.testing.assert_close(second.forward(first.forward(ids)), want, atol=1e-4, rtol=1e-4)
        assert second.memory_mb > 0
    with pytest.raises(ValueError, match="layers 1 to 9"):
        sharding.Part(tmp_path, 1, 9)
