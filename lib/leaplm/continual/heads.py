"""Replay on vectors that stay as they are: the whole of continual learning in four small parts, and in a second.

The encoder is frozen, so each text is one vector and only a head learns, which grows with each task. A row is a dict with
`vector` (width,) and `label`; a task is a dict with `name`, `train` and `test` (lists of rows), `places` (the numbers of its
classes in the head) and `classes` (how many classes the head has once the task is there).

    mixed_epoch   new rows, and kept ones beside them, as batches      learn_task   grow the head, train, remember
    score         accuracy on some rows                                run_tasks    one task after the other: R

`streams` does the same with the whole encoder. Source: Chaudhry et al., 2019, algorithm 1.
"""

import torch
from torch import nn

from leaplm.continual.methods import grow_head
from leaplm.continual.streams import text_vectors


class HeadModel(nn.Module):
    """Dropout, then a linear `classifier` that begins with zeros: vectors (rows, width) -> logits (rows, classes).

    >>> HeadModel(384, 2)(torch.ones(3, 384)).shape
    torch.Size([3, 2])
    """

    def __init__(self, width, classes, dropout=0.1):
        super().__init__()
        self.dropout, self.classifier = nn.Dropout(dropout), nn.Linear(width, classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, vectors):
        return self.classifier(self.dropout(vectors))


def vector_tasks(model, tasks, collate_fn):
    """The tasks of a stream (see `streams.Task`) with a vector for each text, from the encoder of `model` as it is now.

    Returns a list of dicts: name, train, test, places, classes.
    """
    def rows(some):
        some = list(some)
        order = sorted(range(len(some)), key=lambda i: len(some[i]["input_ids"]))  # texts of one length: less padding
        vectors = dict(zip(order, text_vectors(model, [some[i] for i in order], collate_fn), strict=True))
        return [{"vector": vectors[i], "label": row["label"]} for i, row in enumerate(some)]

    return [{"name": task.name, "train": rows(task.train), "test": rows(task.test), "places": task.places,
             "classes": task.head_size} for task in tasks]


def mixed_epoch(rows, kept, batch_size, num_replay, rng):
    """One epoch as a list of batches (vectors, labels): every new row once, in random order, and kept rows beside them.

    rows, kept: lists of rows. Each batch has `batch_size` new rows, the last one those that are left, and behind them
    `num_replay` different rows of `kept`, drawn anew for each batch; all of them if there are fewer. rng: a
    np.random.Generator.

    >>> import numpy as np
    >>> rows = [{"vector": torch.ones(3), "label": 1}] * 10
    >>> [len(labels) for _, labels in mixed_epoch(rows, rows[:5], 4, 2, np.random.default_rng(0))]
    [6, 6, 4]
    """
    order, batches = rng.permutation(len(rows)), []
    for start in range(0, len(rows), batch_size):
        batch = [rows[i] for i in order[start : start + batch_size]]
        batch += [kept[i] for i in rng.permutation(len(kept))[:num_replay]]
        batches.append((torch.stack([row["vector"] for row in batch]), torch.tensor([row["label"] for row in batch])))
    return batches


def learn_task(model, rows, classes, buffer, rng, epochs=5, learning_rate=0.01, batch_size=16, num_replay=8):
    """Learn one task: grow the head to `classes`, train on mixed batches, then put the rows into the buffer.

    model: has a linear `classifier` and is called as model(vectors). buffer: has `rows`, a list, and add(rows). A new AdamW
    for each task. Returns the mean loss of each epoch, a list of floats; the model ends in evaluation mode.
    """
    grow_head(model, classes)
    optimizer, history = torch.optim.AdamW(model.parameters(), lr=learning_rate), []
    model.train()
    for _ in range(epochs):
        losses = []
        for vectors, labels in mixed_epoch(rows, buffer.rows, batch_size, num_replay, rng):
            loss = nn.functional.cross_entropy(model(vectors), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        history.append(sum(losses) / len(losses))
    model.eval()
    buffer.add(rows)
    return history


def score(model, rows, places=None):
    """Accuracy of the model on rows, in evaluation mode; with `places` only these classes compete. A float."""
    model.eval()
    with torch.no_grad():
        logits = model(torch.stack([row["vector"] for row in rows]))
    labels = torch.tensor([row["label"] for row in rows])
    competing = torch.arange(logits.shape[1]) if places is None else torch.tensor(places)
    found = competing[logits[:, competing].argmax(dim=1)]
    return (found == labels).float().mean().item()


def run_tasks(model, tasks, learn):
    """Learn one task after the other and test on all after each. Returns (R, R with the task known), tensors (T, T).

    learn: called as learn(model, task). R[i, j] is the accuracy on the test rows of task j after task i; with the task
    known only the classes of task j compete, and tasks still to come have 0.

    >>> R, known = run_tasks(model, tasks, learn)      # doctest: +SKIP
    """
    matrix, known = torch.zeros(len(tasks), len(tasks)), torch.zeros(len(tasks), len(tasks))
    for i, task in enumerate(tasks):
        learn(model, task)
        for j, other in enumerate(tasks):
            matrix[i, j] = score(model, other["test"])
            if j <= i:
                known[i, j] = score(model, other["test"], other["places"])
    return matrix, known
