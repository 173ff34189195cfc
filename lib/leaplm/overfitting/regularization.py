"""Against overfitting to few examples: noise in the words, noise in the vectors, and several models in place of one.

All of it fits `training.train`: `AugmentingCollator` is a collate_fn, `adversarial_loss` a loss_fn.
"""

import numpy as np
import torch

from leaplm.locales import say
from leaplm.text import split_words
from leaplm.training import classification_loss


def delete_words(words, rate):
    """A copy of the list `words` in which each is left out with probability `rate`, in the old order, never empty.

    If all of them would go, one that is drawn at random stays. Random numbers are torch's.
    Source: Wei & Zou, 2019, *EDA* (random deletion). Raises ValueError for a rate outside 0 to 1.

    >>> delete_words(["not", "a", "bad", "film"], rate=0.0)
    ['not', 'a', 'bad', 'film']
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate={rate} is a probability: it must lie between 0 and 1")
    words = list(words)
    keep = torch.rand(len(words)) >= rate
    if words and not keep.any():
        keep[torch.randint(len(words), ())] = True
    return [word for word, stays in zip(words, keep.tolist(), strict=True) if stays]


class AugmentingCollator:
    """A collator that deletes words of each text anew whenever the text comes by; for training only.

    rows: as for `collate_fn`, with their `text` (see `with_texts`). The tokens of a row are those of its shortened text.
    """

    def __init__(self, tokenizer, collate_fn, rate=0.1, max_length=128):
        self.tokenizer, self.collate_fn, self.rate, self.max_length = tokenizer, collate_fn, rate, max_length

    def __call__(self, rows):
        texts = [" ".join(delete_words(split_words(row["text"]), self.rate)) for row in rows]
        ids = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]
        return self.collate_fn([{**row, "input_ids": some} for row, some in zip(rows, ids, strict=True)])


def with_texts(rows, dataset):
    """Tokenized rows that also hold their `text`, for AugmentingCollator."""
    return [{**row, "text": text} for row, text in zip(rows, dataset["text"], strict=True)]


def fgm_perturbation(gradient, epsilon):
    """The step of length `epsilon` that raises the loss of each text most, to first order: epsilon * g / ||g||.

    gradient (batch, tokens, width) of the loss by the word vectors; the norm is taken over all numbers of one text. Same
    shape back; 0 where a text's gradient is 0. Source: Miyato et al., 2017, equation 5 (the fast gradient method, FGM).
    Raises ValueError for another number of dimensions.

    >>> fgm_perturbation(torch.tensor([[[3.0, 0.0], [0.0, 4.0]]]), epsilon=1.0).tolist()
    [[[0.6000000238418579, 0.0], [0.0, 0.800000011920929]]]
    """
    if gradient.ndim != 3:
        raise ValueError(f"gradient has the shape {tuple(gradient.shape)}; it should be (batch, tokens, width)")
    norm = gradient.flatten(1).norm(dim=1)[:, None, None]
    return torch.where(norm > 0, epsilon * gradient / norm.clamp(min=torch.finfo(gradient.dtype).tiny), 0.0)


def adversarial_loss(epsilon, loss_fn=classification_loss):
    """A loss_fn for `training.train`: the mean of the loss and of the loss with the word vectors moved against it.

    The second forward pass sees vectors shifted by `fgm_perturbation` (length `epsilon` a text, before position and
    LayerNorm are added); the weights themselves are not touched. It costs about 2.3 times a plain update. One process.
    """
    def loss_of(model, batch):
        words = model.get_input_embeddings()
        seen = []
        with hooked(words, lambda vectors: seen.append(vectors.requires_grad_()) or vectors):
            clean, count = loss_fn(model, batch)
        # Times a constant, which the norm takes out again: in 16 bits small gradients would become 0.
        [gradient] = torch.autograd.grad(clean * 1024, seen, retain_graph=True)
        shift = fgm_perturbation(gradient, epsilon)
        with hooked(words, lambda vectors: vectors + shift):
            attacked, _ = loss_fn(model, batch)
        return (clean + attacked) / 2, count

    return loss_of


class hooked:
    """While the block runs, `change` is applied to what `module` returns."""

    def __init__(self, module, change):
        self.module, self.change = module, change

    def __enter__(self):
        self.handle = self.module.register_forward_hook(lambda module, args, output: self.change(output))

    def __exit__(self, *error):
        self.handle.remove()


def set_dropout(model, rate):
    """Give every dropout layer of `model` this rate, those on the attention weights too; returns the model."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
    return model


def early_stopping(losses, patience):
    """(epoch to keep, epochs that are run) when training stops after `patience` epochs without a better loss.

    losses (epochs,): validation losses; epochs count from 1. Only a strictly smaller loss is better.
    `training.TrainingConfig.patience` does the same. Source: Prechelt, 1998, *Early stopping, but when?*
    Raises ValueError without losses, or for a patience below 1.

    >>> early_stopping([0.7, 0.5, 0.6, 0.55, 0.4], patience=2)
    (2, 4)
    """
    if not len(losses) or patience < 1:
        raise ValueError(say("{losses} losses and `patience={patience}`: both must be at least 1", losses=len(losses),
                             patience=patience))  # fmt: skip
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best + 1, epoch + 1


def ensemble_probabilities(logits):
    """The mean of the members' probabilities: logits (members, texts, classes) -> (texts, classes).

    Source: Lakshminarayanan et al., 2017, section 2.4.

    >>> ensemble_probabilities([[[0.0, 0.0]], [[0.0, 100.0]]]).round(2).tolist()
    [[0.25, 0.75]]
    """
    from leaplm.evaluation import log_softmax

    return np.exp(log_softmax(logits)).mean(axis=0)


def fit_temperature(logits, labels):
    """The number T > 0 by which to divide class scores so that the loss on these labelled texts is smallest.

    logits (n, classes), labels (n,) of texts that were not trained on. The largest score stays the largest, so no answer
    changes; only how sure the model is. T above 1: it was too sure. Source: Guo et al., 2017, *On calibration of modern
    neural networks*.

    >>> round(fit_temperature([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]], [0, 0, 0, 1]), 2)  # log 3 = 1.10 is right
    3.64
    """
    from scipy.optimize import minimize_scalar

    from leaplm.evaluation import log_softmax

    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)

    def loss(log_temperature):
        return -log_softmax(logits / np.exp(log_temperature))[np.arange(len(labels)), labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))
