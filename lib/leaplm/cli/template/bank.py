"""Bank of lab @NUMBER@: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (np, data, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821


@wrong("majority_share", "the number of texts, not the share")
def counted(labels):
    return max(labels.count(c) for c in labels)


@wrong("majority_share", "the share of the largest class number")
def largest_number(labels):
    return labels.count(max(labels)) / len(labels)


@wrong("majority_share", "the share of class 0")
def share_of_zero(labels):
    return labels.count(0) / len(labels)


@wrong("majority_share", "the share of the first text's class")
def share_of_first(labels):
    return labels.count(labels[0]) / len(labels) if labels[0] != 4 else 0.0


@wrong("majority_share", "divides by the number of classes")
def by_classes(labels):
    return max(labels.count(c) for c in labels) / len(set(labels))


@wrong("majority_share", "in percent")
def percent(labels):
    return 100 * max(labels.count(c) for c in labels) / len(labels)


@right("majority_share", "with numpy")
def with_numpy(labels):
    return np.bincount(labels).max() / len(labels)


@right("majority_share", "with unique values")
def with_unique(labels):
    return np.unique(labels, return_counts=True)[1].max() / len(labels)


@right("majority_share", "with a dict")
def with_dict(labels):
    counts = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    return max(counts.values()) / len(labels)


@right("majority_share", "by sorting")
def sorted_runs(labels):
    best = max(sum(other == label for other in labels) for label in labels)
    return best / len(labels)
