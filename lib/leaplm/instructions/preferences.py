"""Direct preference optimisation: learn from pairs of a better and a worse answer, without a reward model.

    loss = mean of -log sigmoid(beta * ((log p(chosen) - log p_ref(chosen)) - (log p(rejected) - log p_ref(rejected))))

Source: Rafailov et al., 2023, *Direct preference optimization* (https://arxiv.org/abs/2305.18290), equation 7.
"""

import torch
from torch import nn

from leaplm.instructions.tuning import train_on


def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    """The mean DPO loss of pairs, a scalar. All four are log-probabilities (pairs,) in nats, summed over an answer's tokens.

    Where the model equals its reference the loss is log 2, whatever the answers and `beta`.

    >>> same = torch.tensor([-3.0, -9.0])
    >>> round(float(dpo_loss(same, same - 1, same, same - 1, 0.1)), 4)
    0.6931
    """
    margins = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -nn.functional.logsigmoid(beta * margins).mean()


def reference_log_probs(scorer, pairs):
    """For each batch of pairs (chosen, rejected): the log-probabilities of both, with the newest adapter off."""
    with torch.no_grad(), scorer.adapter_off():
        return [(scorer(**chosen), scorer(**rejected)) for chosen, rejected in pairs]


def train_preferences(scorer, pairs, beta, epochs, rate):
    """Teaches an AnswerModel with a new adapter which answers are preferred; a list of the mean loss of each epoch.

    pairs: a list of (chosen, rejected) batches. The reference, the model with the newest adapter off, is asked once for
    each batch, before the first update. Then as in `train_answers`, with the DPO loss.
    """
    scorer.train()
    entries = list(zip(pairs, reference_log_probs(scorer, pairs), strict=True))

    def loss_of(entry):
        (chosen, rejected), reference = entry
        return dpo_loss(scorer(**chosen), scorer(**rejected), *reference, beta)

    return train_on(scorer, entries, loss_of, epochs, rate)


def measure_pairs(scorer, pairs):
    """How a model stands to its reference on pairs: a dict of means over the pairs.

    accuracy: share whose chosen answer gained more than the rejected one (0.5 for an untrained adapter, where all tie).
    chosen, rejected: change of the log-probability in nats against the reference; both may fall.
    """
    with torch.no_grad():
        found = [(scorer(**chosen), scorer(**rejected)) for chosen, rejected in pairs]
    sides = [torch.cat([now[side] - before[side] for now, before in zip(found, reference_log_probs(scorer, pairs),
                                                                       strict=True)]) for side in (0, 1)]
    margins = sides[0] - sides[1]
    accuracy = (margins > 0).float().mean() + (margins == 0).float().mean() / 2
    return {"accuracy": float(accuracy), "chosen": float(sides[0].mean()), "rejected": float(sides[1].mean())}
