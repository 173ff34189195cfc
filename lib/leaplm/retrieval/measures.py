"""How good a search is: recall and reciprocal rank, and the trade-off of refusing to answer."""

import numpy as np

from leaplm.locales import say


def search_scores(rankings, relevant, k):
    """(recalls, reciprocal ranks), two lists of n numbers in [0, 1], one a question.

    rankings: n lists, the best item first. relevant: n sets of items that answer the question, none of them empty. Recall
    at k is the share of the relevant items among the first k; the reciprocal rank is 1 / rank of the first relevant item,
    0 if the ranking holds none.

    >>> search_scores([["a", "b", "c"]], [{"b", "d"}], k=2)
    ([0.5], [0.5])
    """
    recalls = [len(set(ranking[:k]) & set(wanted)) / len(set(wanted))
               for ranking, wanted in zip(rankings, relevant, strict=True)]
    ranks = [next((1 / rank for rank, item in enumerate(ranking, 1) if item in wanted), 0.0)
             for ranking, wanted in zip(rankings, relevant, strict=True)]
    return recalls, ranks


def choose_threshold(scores, answerable):
    """The threshold t of the rule "answer if score >= t" that is best on development questions.

    scores (n,): of the best passage; answerable (n,): whether a document answers the question. Best is the largest mean of
    two shares: answerable questions that are answered, others that are refused. The candidates are the scores themselves;
    of equally good ones the smallest is taken.

    >>> choose_threshold([0.9, 0.4, 0.6, 0.3], [True, False, True, False])
    0.6
    """
    scores, answerable = np.asarray(scores, dtype=float), np.asarray(answerable, dtype=bool)
    answer_shares(scores, answerable, 0.0)  # says what is wrong with the questions
    few, many = np.sum(~answerable), np.sum(answerable)

    def both(threshold):  # the sum of the shares times few * many: whole numbers, so that what is equal is equal
        return many * np.sum(scores[~answerable] < threshold) + few * np.sum(scores[answerable] >= threshold)

    return float(max(np.unique(scores), key=both))


def answer_shares(scores, answerable, threshold):
    """(share of the answerable questions that are answered, share of the others that are refused)."""
    scores, answerable = np.asarray(scores, dtype=float), np.asarray(answerable, dtype=bool)
    if not answerable.any() or answerable.all():
        raise ValueError(say("questions with and without an answer are needed"))
    return float(np.mean(scores[answerable] >= threshold)), float(np.mean(scores[~answerable] < threshold))


def right_shares(rankings, scores, wanted, threshold, k=3):
    """(found, refused): the share of answerable questions that are answered with the right document among the first k, and
    the share of the others that are refused. wanted (n,): names of documents, "" where none answers.

    >>> right_shares([["a", "b"], ["a"]], [0.9, 0.2], ["b", ""], threshold=0.5)
    (1.0, 1.0)
    """
    found, refused = right_answers(rankings, scores, wanted, threshold, k)
    return float(np.mean(found)), float(np.mean(refused))


def right_answers(rankings, scores, wanted, threshold, k=3):
    """As `right_shares`, the single answers: two lists of True and False."""
    rows = list(zip(rankings, np.asarray(scores) >= threshold, wanted, strict=True))
    return ([bool(answered) and name in ranking[:k] for ranking, answered, name in rows if name],
            [not answered for _, answered, name in rows if not name])
