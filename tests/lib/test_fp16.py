"""What a T4 does, on the CPU: frozen weights of 16 bits, fp16 autocast, a scaled loss, and updates in 32 bits."""

import pytest
import torch
from leaplm.data import DynamicPaddingCollator
from leaplm.grading.judge.tiny_models import tiny_causal_lm, tiny_classifier
from leaplm.peft import lora, soft_prompts

ROWS = [{"input_ids": [5 + i % 3, 7, 9], "label": i % 2} for i in range(8)]
WORDS = torch.tensor([11, 12])


def classifier_loss(model, batch):
    return torch.nn.functional.cross_entropy(model(batch["input_ids"], batch["attention_mask"]).logits, batch["labels"]), 8


def next_token_loss(model, batch):
    return model(input_ids=batch["input_ids"], labels=batch["input_ids"]).loss, 8


CASES = {
    "fine-tuning": lambda: (tiny_classifier(), classifier_loss),
    "LoRA on 16-bit weights": lambda: (lora.inject_lora(tiny_causal_lm().half(), ("q_proj", "v_proj"), rank=2, alpha=4),
                                       next_token_loss),
    "soft prompt on 16-bit weights": lambda: (soft_prompts.add_soft_prompt(tiny_causal_lm().half(), num_tokens=4),
                                              soft_prompts.soft_prompt_loss(WORDS)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_loss_falls_under_a_scaler_and_what_learns_has_32_bits(case):
    torch.manual_seed(0)
    model, loss_fn = CASES[case]()
    batch = DynamicPaddingCollator(0)(ROWS)
    learning = [p for p in model.parameters() if p.requires_grad]
    assert {p.dtype for p in learning} == {torch.float32}
    optimizer, scaler, losses = torch.optim.AdamW(learning, lr=0.03), torch.amp.GradScaler("cpu", init_scale=2**10), []
    for _ in range(12):
        with torch.autocast("cpu", torch.float16):
            loss, _ = loss_fn(model, batch)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)      # refuses gradients of 16 bits
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.01 and scaler.get_scale() == 2**10
