"""The encoder's tagger and the linear model together: the mean of their log-probabilities, in a share that is chosen.

This is what is handed in. Source: Hinton, 2002, *Training products of experts* (a sum of log-probabilities is a product).
"""

import numpy as np
import torch
from torch import nn

from leaplm.tagging.baselines import BUCKETS, NEVER, hash_features
from leaplm.tagging.decoding import best_tags
from leaplm.tagging.entities import entity_scores
from leaplm.tagging.tagger import make_batches, word_scores

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def mix_scores(encoder, linear, share):
    """share * encoder + (1 - share) * linear for each sentence; both are lists of arrays (words, tags).

    Words that the encoder did not read, beyond its longest input, have the linear model's scores alone.

    >>> mix_scores([np.array([[0.0, -2.0]])], [np.array([[-1.0, 0.0]])], 0.5)[0].tolist()
    [[-0.5, -1.0]]
    """
    mixed = []
    for first, second in zip(encoder, linear, strict=True):
        rows = np.array(second, dtype=float)
        rows[: len(first)] = share * first + (1 - share) * rows[: len(first)]
        mixed.append(rows)
    return mixed


def choose_share(encoder, linear, gold, tags):
    """The share of SHARES with the largest F1 on these sentences; of equally good ones the one nearest to 0.5."""
    def f1(share):
        return entity_scores(gold, best_tags(mix_scores(encoder, linear, share), tags))["f1"]

    return max(sorted(SHARES, key=lambda share: abs(share - 0.5)), key=f1)


class MixedTagger(nn.Module):
    """`upper` (a Tagger), `linear` (hashed features of words to tags) and `share`, the encoder's part of the score.

    predict(lower, tokenizer, sentences): tag lists for lists of words; lower as from `new_tagger`.
    """

    def __init__(self, upper, tags, share=0.5):
        super().__init__()
        self.tags, self.upper, self.linear = list(tags), upper, nn.Linear(BUCKETS, len(tags))
        self.register_buffer("share", torch.tensor(float(share)))

    @torch.no_grad()
    def predict(self, lower, tokenizer, sentences):
        encoder = word_scores(self.upper, make_batches(lower, tokenizer, sentences))
        weight, bias = self.linear.weight.double().numpy(), self.linear.bias.double().numpy()
        linear = []
        for words in sentences:
            logits = hash_features([words]) @ weight.T + bias
            linear.append(torch.from_numpy(logits).log_softmax(dim=-1).numpy())
        return best_tags(mix_scores(encoder, linear, float(self.share)), self.tags)


def mix_taggers(upper, linear, share):
    """A MixedTagger from a trained Tagger, a fitted LinearTagger and a share."""
    model, classes = MixedTagger(upper, linear.tags, share), linear.model.classes_
    weight, bias = linear.model.coef_, linear.model.intercept_
    if len(classes) == 2:  # scikit-learn keeps the second class's row alone then
        weight, bias = np.vstack([0 * weight, weight]), np.append(0, bias)
    with torch.no_grad():
        model.linear.weight.zero_()
        model.linear.bias.fill_(NEVER)
        model.linear.weight[classes] = torch.from_numpy(weight).float()
        model.linear.bias[classes] = torch.from_numpy(bias).float()
    return model
