"""Against overfitting to few labels, and training on the hardware there is (lab 6).

regularization: noise in words and vectors, dropout, early stopping, ensembles. memory: what one update needs, counted
and measured, and ways to need less. resumable: a training loop in few functions that a power cut does not harm.
data_parallel: one model trained by several processes.
"""

__all__ = ["data_parallel", "memory", "regularization", "resumable"]
