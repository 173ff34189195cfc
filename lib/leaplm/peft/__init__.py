"""Parameter-efficient fine-tuning (lab 3; soft prompts also in lab 4).

lora: LoRA and bottleneck adapters written out. methods: these and the ones of the library peft under one name each.
soft_prompts: learned vectors before the text. instruction_tuning: a small model that learns to answer in a fixed form.
"""

__all__ = ["instruction_tuning", "lora", "methods", "soft_prompts"]
