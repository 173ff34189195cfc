"""Continual learning, the pieces: what a stream of tasks is judged by, and what stands against forgetting.

A model is trained on one task after the other. R[i, j] is its accuracy on task j after training on task i.
`streams` puts the pieces together and runs whole streams.

Sources: Lopez-Paz & Ranzato, 2017 (R, backward transfer); Chaudhry et al., 2018 (forgetting) and 2019 (replay);
Kirkpatrick et al., 2017 (elastic weight consolidation).
"""

import numpy as np
import torch
from torch import nn

from leaplm.locales import say

# -- measures of a stream -------------------------------------------------------------------------------------------------


def average_accuracy(matrix):
    """Mean accuracy over all tasks after the last one: the mean of R's last row. matrix (tasks, tasks).

    Source: Lopez-Paz & Ranzato, 2017, equation 2.

    >>> average_accuracy([[0.8, 0.5], [0.6, 0.9]])
    0.75
    """
    return float(square(matrix)[-1].mean())


def backward_transfer(matrix):
    """Mean change of the earlier tasks from right after their training to the end; below 0 when they were forgotten.

    matrix (tasks, tasks), at least 2. Source: Lopez-Paz & Ranzato, 2017, equation 3.

    >>> round(backward_transfer([[0.8, 0.5], [0.6, 0.9]]), 2)
    -0.2
    """
    matrix = square(matrix)
    return float((matrix[-1] - matrix.diagonal())[:-1].mean())


def forgetting(matrix):
    """Mean fall of the earlier tasks from their best accuracy before the last task to the end.

    matrix (tasks, tasks), at least 2. Source: Chaudhry et al., 2018, section 3.2.

    >>> round(forgetting([[0.8, 0.5, 0.5], [0.9, 0.7, 0.5], [0.6, 0.7, 0.9]]), 2)
    0.15
    """
    matrix = square(matrix)
    return float((matrix[:-1].max(axis=0) - matrix[-1])[:-1].mean())


def stream_scores(matrix):
    """(average accuracy, backward transfer, forgetting) of R (tasks, tasks): the three numbers of a stream."""
    return average_accuracy(matrix), backward_transfer(matrix), forgetting(matrix)


def square(matrix):
    """R as an array; ValueError if it is not square or has fewer than two tasks."""
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(f"the matrix has shape {matrix.shape}; it needs a row and a column for each of at least 2 tasks")
    return matrix


# -- a head for more classes ----------------------------------------------------------------------------------------------


def extend_head(head, new_classes):
    """A linear head with `new_classes` more outputs: the old rows as they were, the new ones zero.

    head: nn.Linear (classes, width) -> nn.Linear (classes + new_classes, width), with weights of its own.

    >>> extend_head(nn.Linear(4, 2), 3).weight.shape
    torch.Size([5, 4])
    """
    if new_classes < 0:
        raise ValueError(f"new_classes={new_classes} must not be negative")
    bigger = nn.Linear(head.in_features, head.out_features + new_classes).to(head.weight)
    with torch.no_grad():
        for old, new in ((head.weight, bigger.weight), (head.bias, bigger.bias)):
            new.zero_()
            new[: len(old)] = old
    return bigger


def grow_head(model, size):
    """Extend the classifier of `model` to `size` classes, in place; returns the model."""
    model.classifier = extend_head(model.classifier, size - model.classifier.out_features)
    return model


# -- replay ---------------------------------------------------------------------------------------------------------------


def reservoir_slot(seen, capacity, rng):
    """Where to keep the next row of a stream: its place in the buffer (int), or None to let it go.

    seen: how many rows came before it. capacity: places of the buffer. rng: np.random.Generator. After n rows each of
    them is in the buffer with the same probability, capacity / n, though n is never known in advance.
    Source: Vitter, 1985, algorithm R.

    >>> [reservoir_slot(seen, 3, np.random.default_rng(0)) for seen in range(3)]
    [0, 1, 2]
    """
    if seen < capacity:
        return seen
    place = int(rng.integers(seen + 1))
    return place if place < capacity else None


class ReservoirBuffer:
    """At most `capacity` rows of a stream, each row that ever came being kept with the same probability.

    rows: the list of what is kept. seen: how many rows came. The draws depend on the seed alone.
    Source: Vitter, 1985, algorithm R.

    >>> buffer = ReservoirBuffer(3, seed=0)
    >>> buffer.add(["a", "b"])
    >>> buffer.add(["c", "d", "e"])
    >>> len(buffer.rows), buffer.seen
    (3, 5)
    """

    def __init__(self, capacity, seed=0):
        self.capacity, self.rows, self.seen = capacity, [], 0
        self.rng = np.random.default_rng(seed)

    def add(self, rows):
        for row in rows:
            slot = reservoir_slot(self.seen, self.capacity, self.rng)
            self.seen += 1
            if slot is not None:
                self.rows[slot : slot + 1] = [row]


def mixed_batch(new_rows, buffer, num_replay):
    """The new rows and `num_replay` different rows of the buffer (all of them if there are fewer).

    It draws with torch's random numbers, which `train` fixes for each update, so that a run can be repeated.
    Source: Chaudhry et al., 2019, algorithm 1.
    """
    return new_rows + [buffer[i] for i in torch.randperm(len(buffer))[:num_replay].tolist()]


# -- elastic weight consolidation -----------------------------------------------------------------------------------------


def fisher_diagonal(model, rows, collate_fn):
    """How much each weight matters: the mean over texts of the squared gradient of that text's loss. {name: tensor}.

    For the weights that learn. The gradient of each text is squared by itself, without dropout; the labels are the
    right ones ("empirical Fisher"). Source: Kirkpatrick et al., 2017; van de Ven, 2025, on its variants.

    >>> fisher = fisher_diagonal(model, rows[:64], collate)      # doctest: +SKIP
    """
    if not rows:
        raise ValueError(say("there are no rows to take gradients of"))
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    fisher = {name: torch.zeros_like(p) for name, p in learning.items()}
    for row in rows:
        model.zero_grad()
        model(**{key: tensor.to(device) for key, tensor in collate_fn([row]).items()}).loss.backward()
        for name, p in learning.items():
            if p.grad is not None:
                fisher[name].addcmul_(p.grad, p.grad, value=1 / len(rows))
    model.zero_grad()
    model.train(was_training)
    return fisher


def ewc_penalty(model, old, fisher, strength):
    """strength / 2 * sum of fisher * (weight - old weight)^2, a tensor with one number that gradients flow through.

    old, fisher: {name: tensor}. A head that has grown is compared on its old rows, which are the first ones.
    Source: Kirkpatrick et al., 2017, equation 3.
    """
    total = 0.0
    for name, p in model.named_parameters():
        if name in old:
            total = total + (fisher[name] * (p[: len(old[name])] - old[name]) ** 2).sum()
    return strength / 2 * total


# -- a router -------------------------------------------------------------------------------------------------------------


def route(vectors, centroids):
    """The number (texts,) of the task whose centroid has the largest cosine with each vector.

    vectors (texts, width), centroids (tasks, width).

    >>> route(torch.tensor([[0.0, 2.0], [3.0, 1.0]]), torch.tensor([[9.0, 0.0], [0.0, 1.0]])).tolist()
    [1, 0]
    """
    vectors, centroids = (nn.functional.normalize(torch.as_tensor(v).float(), dim=-1) for v in (vectors, centroids))
    return (vectors @ centroids.T).argmax(dim=-1)
