"""Which of two answers is better: judges, their leaning to a place, win rates with intervals, and at equal length."""

import numpy as np
from scipy.special import expit

from leaplm import prompting
from leaplm.instructions.chat import chat_prompt
from leaplm.instructions.measures import chrf


def judge_both(judge, questions, first, second):
    """Asks a judge about each pair of answers in both orders: {"wins", "first_place"}.

    judge: a function (question, answer, other answer) -> 0 or 1, the place of the one that it prefers. wins: for each
    question 1.0 if `first` was preferred in both orders, 0.0 if in none, else 0.5 (a list). first_place: the share of
    all verdicts for the answer that stood at place 0; a fair judge has 0.5 where each answer stands at each place once.

    >>> judge_both(lambda question, a, b: 0, ["?"], ["yes"], ["no"])
    {'wins': [0.5], 'first_place': 1.0}
    """
    wins, places = [], []
    for question, one, other in zip(questions, first, second, strict=True):
        forward, back = judge(question, one, other), judge(question, other, one)
        wins.append(((forward == 0) + (back == 1)) / 2)
        places += [forward == 0, back == 0]
    return {"wins": wins, "first_place": float(np.mean(places))}


def length_controlled(wins, differences):
    """The win rate that is expected where both answers have the same length; in (0, 1).

    wins (n,): 0, 0.5 or 1. differences (n,): words of the first answer minus those of the second. A logistic regression
    of the wins on the differences, which are divided by their standard deviation (as they are, if it is 0): the win rate
    is sigmoid(intercept). The slope has the penalty slope² / 2 beside the summed log-loss, the intercept none.
    Source: Dubois et al., 2024, *Length-controlled AlpacaEval* (https://arxiv.org/abs/2404.04475), with one factor.

    >>> round(length_controlled([1, 1, 0, 0], [3, -3, 3, -3]), 3)
    0.5
    """
    wins, x = np.asarray(wins, dtype=float), np.asarray(differences, dtype=float)
    x = x / (x.std() or 1.0)
    design = np.stack([np.ones_like(x), x], axis=1)
    weights, penalty = np.zeros(2), np.array([1e-4, 1.0])  # a trace on the intercept: all wins would send it to infinity
    for _ in range(100):
        chances = expit(design @ weights)
        slope = design.T @ (chances - wins) + penalty * weights
        bend = (design * (chances * (1 - chances))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(bend, slope)
        weights = weights - step / max(1.0, np.abs(step).max())
    return float(expit(weights[0]))


def win_interval(wins, rounds=1000, seed=0):
    """(low, high): 2.5 and 97.5 % points of the mean win over draws of the questions with replacement.

    >>> win_interval([1, 1, 1])
    (1.0, 1.0)
    """
    wins, rng = np.asarray(wins, dtype=float), np.random.default_rng(seed)
    means = wins[rng.integers(0, len(wins), (rounds, len(wins)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


# -- judges ---------------------------------------------------------------------------------------------------------------


def reference_judge(references):
    """A judge that prefers the answer whose chrF to the reference is higher; the shorter one where both are equal.

    references: {question: reference}. It knows no place, but where both answers are the same: then it says 0.
    """
    def judge(question, one, other):
        grades = [(chrf(answer, references[question]), -len(answer)) for answer in (one, other)]
        return int(grades[1] > grades[0])
    return judge


def length_judge():
    """A judge that prefers the answer with more words, and the first one where both have as many."""
    def judge(question, one, other):
        return int(len(other.split()) > len(one.split()))
    return judge


def model_judge(model, tokenizer, request="Which answer is better?"):
    """A judge that asks a causal language model for A or B, and takes the more probable letter.

    The model's answers are remembered, so that the same question in the same order costs once.
    """
    known = {}

    def judge(question, one, other):
        if (question, one, other) not in known:
            text = f"{request}\nQuestion: {question}\nA: {one}\nB: {other}\nAnswer with A or B."
            prompt = chat_prompt(tokenizer, "You compare two answers.", text)
            scores, _ = prompting.continuation_log_probs(model, tokenizer, [prompt], ["A", "B"])
            known[question, one, other] = int(scores[0, 1] > scores[0, 0])
        return known[question, one, other]
    return judge


def word_differences(first, second):
    """Words of each first answer minus those of the second (a list of int)."""
    return [len(one.split()) - len(other.split()) for one, other in zip(first, second, strict=True)]
