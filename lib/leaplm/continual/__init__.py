"""One task after the other without forgetting (lab 7).

methods: scores of a stream, replay, elastic weight consolidation, a router. Its names stand here too.
heads: replay as a whole on vectors that stay as they are: batches, a learner, the loop.
streams: tasks, learners, and the run that fills the matrix R.
"""

from leaplm.continual.methods import (
    ReservoirBuffer,
    average_accuracy,
    backward_transfer,
    ewc_penalty,
    extend_head,
    fisher_diagonal,
    forgetting,
    grow_head,
    mixed_batch,
    reservoir_slot,
    route,
    square,
    stream_scores,
)

__all__ = [
    "ReservoirBuffer",
    "average_accuracy",
    "backward_transfer",
    "ewc_penalty",
    "extend_head",
    "fisher_diagonal",
    "forgetting",
    "grow_head",
    "heads",
    "mixed_batch",
    "reservoir_slot",
    "route",
    "square",
    "stream_scores",
    "streams",
]
