"""How much memory the labs' largest updates keep on a GPU, counted without one; into the table of TEACHING.md.

    python course/tools/gpu_memory.py

Counted as `lora.training_memory` does, with 32-bit activations: mixed precision halves most of them, so a T4 needs less
than the table says. Not counted: the driver's own 0.5 GB, and what the allocator keeps in reserve.
"""

import re
from pathlib import Path

import torch
from leaplm import models
from leaplm.peft import lora, soft_prompts
from leaplm.peft.instruction_tuning import answer_loss
from transformers import AutoConfig, AutoModelForCausalLM

TEACHING = Path(__file__).resolve().parent / "TEACHING.md"
TABLE = re.compile(r"(<!-- gpu:begin -->\n).*?(<!-- gpu:end -->)", re.S)
LARGE = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32,
         "num_key_value_heads": 32}   # SmolLM2-1.7B-Instruct's config.json
HALF = 2 / 4                          # 16-bit weights, where all is counted in 32 bits


def texts(batch, tokens, **more):
    """A batch of `batch` texts of `tokens` tokens each, all of them real."""
    ids = torch.randint(1000, 2000, (batch, tokens))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **more}


def fine_tuning():
    return lora.training_memory(models.load_sequence_classifier(["no", "yes"]),
                                texts(16, 128, labels=torch.zeros(16, dtype=torch.long)))


def with_lora():
    return lora.training_memory(lora.inject_lora(models.load_sequence_classifier(["no", "yes"])),
                                texts(16, 128, labels=torch.zeros(16, dtype=torch.long)))


def adapting():
    batch = texts(16, 128)
    chosen = torch.where(torch.rand(16, 128) < 0.15, batch["input_ids"], -100)
    return lora.training_memory(models.load_masked_lm(), batch | {"labels": chosen})


def writing():
    model = lora.inject_lora(models.load_causal_lm().float(), ("q_proj", "v_proj"))
    batch = texts(4, 96)
    return lora.training_memory(model, batch | {"labels": batch["input_ids"]}, answer_loss)


def soft_prompt_on_large():
    """Two small copies of the large model, with one and two layers, tell what one layer takes."""
    one, two = (soft_prompt_update(layers) for layers in (1, 2))
    return {part: (size + (LARGE["num_hidden_layers"] - 1) * (two[part] - size)) * (HALF if part == "weights" else 1)
            for part, size in one.items()}


def soft_prompt_update(layers):
    config = AutoConfig.from_pretrained(models.model_folder("smollm2"), **LARGE | {"num_hidden_layers": layers})
    model = soft_prompts.add_soft_prompt(AutoModelForCausalLM.from_config(config).float())
    words = torch.tensor([1, 2])
    return lora.training_memory(model, texts(4, 96, labels=torch.zeros(4, dtype=torch.long)),
                                soft_prompts.soft_prompt_loss(words))


UPDATES = {
    "2, 5–8, 10: MiniLM fine-tuned, 16 texts of 128 tokens": fine_tuning,
    "3, 7: MiniLM with LoRA, 16 texts of 128 tokens": with_lora,
    "1: MiniLM adapted with its vocabulary head, 16 texts of 128 tokens": adapting,
    "3: SmolLM2-135M with LoRA, 4 texts of 96 tokens": writing,
    "4: SmolLM2-1.7B in 16 bits with a soft prompt, 4 texts of 96 tokens": soft_prompt_on_large,
}


def main():
    torch.manual_seed(0)
    lines = ["| lab and update | weights | gradients and Adam | activations | in all |", "|---|---|---|---|---|"]
    for name, count in UPDATES.items():
        found = {part: size / 1e9 for part, size in count().items()}
        learning = found["gradients"] + found["optimizer"]
        lines.append(f"| {name} | {found['weights']:.2f} GB | {learning:.2f} GB | {found['activations']:.2f} GB "
                     f"| {sum(found.values()):.1f} GB |")
        print(lines[-1], flush=True)
    TEACHING.write_text(TABLE.sub(lambda match: match[1] + "\n".join(lines) + "\n" + match[2], TEACHING.read_text()))


if __name__ == "__main__":
    main()
