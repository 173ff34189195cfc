"""The best sequence of tags for the scores of a sentence, under the rules of BIO.

Source: Viterbi, 1967, *Error bounds for convolutional codes and an asymptotically optimum decoding algorithm*; for tagging:
Jurafsky & Martin, *Speech and language processing*, chapter on sequence labelling.
"""

import numpy as np


def allowed_moves(tags):
    """(n, n) truth values: whether tags[j] (column) may stand behind tags[i] (row).

    "I-X" may stand behind "B-X" and "I-X" alone; all else is free.

    >>> allowed_moves(["O", "B-PER", "I-PER"]).tolist()
    [[True, True, False], [True, True, True], [True, True, True]]
    """
    return np.array([[not after.startswith("I-") or before in ("B-" + after[2:], after) for after in tags]
                     for before in tags])


def best_path(scores, moves):
    """The tag numbers (words,) with the largest sum of scores among the sequences that are allowed; a list of int.

    scores (words, n): any real numbers, such as log-probabilities; moves (n, n) as from `allowed_moves`, with tag 0 "O".
    The first word may have each tag that may stand behind tag 0. No word: an empty list.

    >>> best_path([[-1.0, -3.0, -0.1], [-1.0, -2.0, -0.2]], allowed_moves(["O", "B-PER", "I-PER"]))
    [0, 0]
    """
    scores = np.asarray(scores, dtype=float).reshape(-1, len(moves))
    if not len(scores):
        return []
    barred = np.where(moves, 0.0, -np.inf)
    total, back = scores[0] + barred[0], []
    for row in scores[1:]:
        options = total[:, None] + barred
        back.append(options.argmax(axis=0))
        total = options.max(axis=0) + row
    path = [int(total.argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return path[::-1]


def best_tags(scores, tags):
    """Tag lists, one a sentence, from scores (words, tags) of sentences: the best path that BIO allows for each.

    tags: the names, "O" first.

    >>> best_tags([[[-1.0, -3.0, -0.1], [-1.0, -2.0, -0.2]]], ["O", "B-PER", "I-PER"])
    [['O', 'O']]
    """
    moves = allowed_moves(tags)
    return [[tags[k] for k in best_path(rows, moves)] for rows in scores]
