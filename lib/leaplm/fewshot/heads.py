"""A head on frozen vectors without scikit-learn: its loss, a trainer with a stopping rule, its strength, its learning curve.

Sources: Bishop, 2006, section 4.3.4 (multinomial logistic regression); Nocedal & Wright, 2006, section 7.2 (L-BFGS); Kohavi,
1995 (stratified cross-validation). `fit_head` gives the same head with scikit-learn, and faster; a test holds the two equal.
"""

import numpy as np
import torch

from leaplm.evaluation import paired_difference
from leaplm.fewshot.examples import sample_balanced
from leaplm.locales import say


def head_loss(weight, bias, vectors, labels, C=1.0):
    """The loss of a head, a tensor without dimension: mean cross-entropy (nats) plus ||weight||^2 / (2 C n).

    weight (classes, width), bias (classes,), vectors (n, width), labels (n,) of class numbers from 0. A small C is a strong
    penalty; the bias has none. Times n it is the loss of scikit-learn's `LogisticRegression(C=C)`. With two classes
    scikit-learn keeps the difference of our two rows only, so there it is that of `LogisticRegression(C=2 * C)`.

    >>> round(float(head_loss(torch.eye(2), torch.zeros(2), torch.eye(2), torch.tensor([0, 1]), C=0.5)), 3)
    1.313
    """
    penalty = weight.square().sum() / (2 * C * len(labels))
    return torch.nn.functional.cross_entropy(vectors @ weight.T + bias, labels) + penalty


def train_head(vectors, labels, C=1.0, tolerance=1e-4, max_steps=500):
    """The head of the smallest `head_loss`, (weight, bias, norms): (classes, width), (classes,), the gradient's sizes.

    vectors (n, width), labels (n,) of class numbers from 0. It starts at zeros and takes steps of L-BFGS until the largest
    absolute number in the gradient is at most `tolerance`, or for `max_steps` steps. norms: that number at the start and
    after each step, so the last one belongs to the head that comes back. It computes in 64 bits: near the end the loss falls
    by less than 32 bits can show, and the search along a line would stand still.

    >>> weight, bias, norms = train_head(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), C=0.5)
    >>> [round(float(row[0]), 2) for row in weight], norms[-1] <= 1e-4
    ([-0.34, 0.34], True)
    """
    vectors, labels = torch.as_tensor(vectors).double(), torch.as_tensor(labels)
    weight = torch.zeros(int(labels.max()) + 1, vectors.shape[1], dtype=torch.double, requires_grad=True)
    bias = torch.zeros(len(weight), dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=1, max_eval=50, tolerance_grad=0, tolerance_change=0,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        optimizer.zero_grad()
        loss = head_loss(weight, bias, vectors, labels, C)
        loss.backward()
        return loss

    norms = []
    while True:
        closure()
        norms.append(max(float(part.grad.abs().max()) for part in (weight, bias)))
        if norms[-1] <= tolerance or len(norms) > max_steps:
            return weight.detach().float(), bias.detach().float(), norms
        optimizer.step(closure)


def stratified_folds(labels, folds=4, seed=0):
    """Row numbers in `folds` arrays, each row in one: of each class, and in all, equally many or one more than in another.

    labels (n,) of any integers. There are no more folds than the smallest class has rows, so that each class is in each
    fold. Raises ValueError if a class has a single row: it could not be learned and tested.

    >>> [len(fold) for fold in stratified_folds([3, 3, 3, 5, 5], folds=4)]
    [3, 2]
    """
    labels, rng = np.asarray(labels), np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise ValueError(say("class {label} has one row: folds need two or more of each", label=classes[counts.argmin()]))
    folds = min(folds, counts.min())
    dealt = np.concatenate([rng.permutation(np.flatnonzero(labels == c)) for c in classes])
    return [dealt[fold::folds] for fold in range(folds)]


def choose_strength(fit, vectors, labels, strengths, folds=4, seed=0):
    """(C, scores): the best of `strengths` by cross-validation on these rows, and the accuracy of each, in their order.

    fit(vectors, labels, C) gives weight (classes, width) and bias (classes,). vectors (n, width), labels (n,). Each row is
    tested once for each C, with a head that has not seen it, and in the same folds. Of equally good ones the smallest C.

    >>> x, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    >>> choose_strength(lambda x, y, C: (np.array([[-C], [C]]), np.zeros(2)), x, y, [10, 1])
    (1, [1.0, 1.0])
    """
    parts, scores = stratified_folds(labels, folds, seed), []
    for C in strengths:
        right = 0
        for part in parts:
            rest = np.setdiff1d(np.arange(len(labels)), part)
            weight, bias = fit(vectors[rest], labels[rest], C)
            right += int(((vectors[part] @ weight.T + bias).argmax(1) == labels[part]).sum())
        scores.append(right / len(labels))
    return min(C for C, score in zip(strengths, scores, strict=True) if score == max(scores)), scores


def learning_curve(methods, labels, test_labels, shots, seeds):
    """Accuracy of several methods on the same balanced draws: a list of dicts, a row for each number of shots and method.

    methods: {name: function}; function(rows) learns from the rows with these numbers, and gives the classes of the test
    texts. labels: of all rows that can be drawn. test_labels (m,). Each number of `shots` is drawn once with each of
    `seeds` (two or more). A row has method, shots, mean and sd (accuracy over the seeds); gain, low and high: mean and
    95 % t-interval of the difference from the first method on the same draws.

    >>> curve = learning_curve({"always 1": lambda rows: [1, 1]}, [0, 1, 0, 1], [0, 1], shots=[1], seeds=[0, 1])
    >>> curve[0]["mean"], curve[0]["gain"]
    (0.5, 0.0)
    """
    test_labels, curve = np.asarray(test_labels), []
    for count in shots:
        draws = [sample_balanced(labels, count, seed) for seed in seeds]
        scores = {name: np.array([np.mean(np.asarray(method(rows)) == test_labels) for rows in draws])
                  for name, method in methods.items()}
        first = next(iter(scores.values()))
        for name, found in scores.items():
            gain = paired_difference(first, found)
            curve.append({"method": name, "shots": count, "mean": float(found.mean()), "sd": float(found.std(ddof=1)),
                          "gain": gain["mean"], "low": gain["low"], "high": gain["high"]})
    return curve
