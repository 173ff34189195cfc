"""Masked-language-model pretraining (lab 1).

masking: which tokens to hide, and what with. loop: the whole of it in plain PyTorch, to be read. run: the same for large
runs, and as a command, `python -m leaplm.pretraining.run`. probe: what a pretrained model knows for a task.
"""

__all__ = ["loop", "masking", "probe", "run"]
