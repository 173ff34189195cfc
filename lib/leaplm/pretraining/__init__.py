"""Masked-language-model pretraining (lab 1).

masking: which tokens to hide, and what with. run: the whole of it as a command, `python -m leaplm.pretraining.run`. probe:
what a pretrained model knows for a task.
"""

__all__ = ["masking", "probe", "run"]
