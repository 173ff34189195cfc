"""Against overfitting to few labels, and training on the hardware there is (lab 6).

regularization: noise in words and vectors, dropout, early stopping, ensembles. memory: what one update needs, counted
and measured, and ways to need less. data_parallel: one model trained by several processes.
"""

__all__ = ["data_parallel", "memory", "regularization"]
