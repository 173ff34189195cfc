"""The inside of a transformer that writes from left to right (lab 11).

decoder: attention, rotary positions, norms, blocks, and the whole forward pass of a Llama, with a cache. generation: from
scores to probabilities, and writing with that cache. language_model: the loss of the next token, training a small model
from nothing, n-gram baselines, bits per byte.
"""

__all__ = ["decoder", "generation", "language_model"]
