"""Lab 1's solution computes what the library computes."""

import numpy as np
import pytest
import torch
from leaplm import evaluation
from leaplm.grading.judge.probes import masked_batches, modal_masked_lm, weight_meter
from leaplm.grading.judge.tiny_models import tiny_masked_lm
from leaplm.pretraining import loop, masking
from solved import solved_lab

lab1 = solved_lab("lab1_pretraining")


@pytest.mark.parametrize("size", [2, 5, 64])
def test_pack_blocks(lab1, size):
    rows = [{"input_ids": [1, *range(10, 10 + n), 2]} for n in (3, 9, 1)]
    ours, theirs = (pack(rows, size, 1, 0) for pack in (loop.pack_blocks, lab1["pack_blocks"]))
    assert all(torch.equal(ours[name], theirs[name]) for name in ("input_ids", "attention_mask"))


def test_mask_tokens_gives_the_same_masks_from_the_same_seed(lab1):
    ids = torch.randint(5, 90, (8, 30))
    special = (ids < 10).long()
    results = [mask(ids, special, 4, 90, 0.3, torch.Generator().manual_seed(3))
               for mask in (lab1["mask_tokens"], masking.mask_tokens)]
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_masked_lm_loss(lab1):
    hidden, head = torch.randn(3, 6, 4), torch.nn.Linear(4, 9)
    labels = torch.where(torch.rand(3, 6) < 0.5, 7, -100)
    ours = loop.masked_lm_loss(hidden, labels, head)
    assert torch.allclose(lab1["masked_lm_loss"](hidden, labels, head), ours)


def test_evaluate_masked(lab1):
    model, log_p = modal_masked_lm(30, 5).train(), torch.randn(30).log_softmax(0)
    masked = masked_batches(7, 30)(range(7), 1)
    found = [evaluate(model, masked, log_p, 3) for evaluate in (lab1["evaluate_masked"], loop.evaluate_masked)]
    assert found[0] == pytest.approx(found[1]) and model.training


@pytest.mark.parametrize("cut", [-1, 2, 6])
def test_pretrain_also_after_a_power_cut(lab1, tmp_path, cut):
    settings = {"blocks": 7, "updates": 8, "batch_size": 3, "rate": 0.03, "warmup": 3, "every": 3, "seed": 4}
    found = []
    for number, train in enumerate((lab1["pretrain"], loop.pretrain)):
        checkpoint = tmp_path / f"{number}.pt"
        batches = masked_batches(7, 30, 1, cut if number else -1, checkpoint)
        model, meter = modal_masked_lm(30, 5), weight_meter()
        if batches.cut > 0:
            with pytest.raises(RuntimeError, match="power"):
                train(model, batches, meter, settings, checkpoint)
            model = modal_masked_lm(30, 5)
        found.append((train(model, batches, meter, settings, checkpoint), list(model.parameters())))
        assert not checkpoint.exists() and not model.training
    assert [row["step"] for row in found[0][0]] == [3, 6, 8]
    assert all(a == pytest.approx(b) for a, b in zip(found[0][0], found[1][0], strict=True))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found[0][1], found[1][1], strict=True))


def test_pseudo_perplexity(lab1):
    class Hidden(torch.nn.Module):
        """The model with the library's interface: scores at hidden positions."""

        device = torch.device("cpu")

        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids, labels):
            return type("Output", (), {"logits": self.model(input_ids).logits[labels != -100]})

    model, ids = tiny_masked_lm(seed=2).eval(), [2, 8, 9, 30, 3]
    logs = evaluation.token_log_probs(Hidden(model), ids, [[1], [2], [3]], 4)
    assert lab1["pseudo_perplexity"](model, torch.tensor(ids), 4) == pytest.approx(np.exp(-logs.mean()), rel=1e-4)
