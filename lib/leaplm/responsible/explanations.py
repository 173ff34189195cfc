"""Which words a classifier's answer rests on, by gradients (Captum), and whether that is true, by deletion.

Sources: Sundararajan et al., 2017, *Axiomatic attribution for deep networks* (integrated gradients); DeYoung et al., 2020,
*ERASER*, section 4 (comprehensiveness, sufficiency); https://captum.ai.
"""

import math

import numpy as np

from leaplm.locales import say
from leaplm.text import split_words

METHODS = ("gradient x input", "integrated gradients", "random")


def word_scores(model, tokenizer, text, target, method="integrated gradients", steps=16, max_length=96, seed=0):
    """(words, scores): how much each word of `text` speaks for class `target`, by the gradient at the word vectors.

    model: a MeanPoolClassifier. Words are what `text.split_words` says; a word's score is the sum over its tokens. Words
    beyond `max_length` tokens get 0. "gradient x input": one backward pass. "integrated gradients": the mean gradient at
    `steps` points between [MASK] tokens and the text, times the way between. "random": a baseline for both.
    Raises ValueError for another method, or a text without words.
    """
    words = split_words(text)
    if method not in METHODS or not words:
        raise ValueError(f"method={method!r} must be one of {METHODS}, and the text must have words ({len(words)} found)")
    if method == "random":
        return words, np.random.default_rng([seed, len(text)]).normal(size=len(words))
    batch = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length, return_tensors="pt")
    token_scores = attribute(model, batch["input_ids"], tokenizer, target, method, steps)
    scores = np.zeros(len(words))
    for word, score in zip(batch.word_ids(), token_scores, strict=True):
        if word is not None:
            scores[word] += score
    return words, scores


def attribute(model, input_ids, tokenizer, target, method, steps):
    """The score of each token (tokens,) for the logit of class `target`, by Captum; input_ids (1, tokens)."""
    import torch
    from captum.attr import InputXGradient, IntegratedGradients

    from leaplm.models import mean_pool

    def logits(vectors):
        mask = torch.ones(vectors.shape[:2], device=vectors.device)
        return model.classifier(mean_pool(model.bert(inputs_embeds=vectors).last_hidden_state, mask))

    was_training, table = model.training, model.get_input_embeddings()
    model.eval()
    ids = input_ids.to(table.weight.device)
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids, device=ids.device))
    with torch.no_grad():
        vectors, empty = table(ids), table(torch.where(special, ids, tokenizer.mask_token_id))
    if method == "integrated gradients":
        ways = {"baselines": empty, "n_steps": steps, "internal_batch_size": steps}
        found = IntegratedGradients(logits).attribute(vectors, target=target, **ways)
    else:
        found = InputXGradient(logits).attribute(vectors.requires_grad_(), target=target)
    model.train(was_training)
    return found.sum(-1)[0].detach().cpu().numpy()


def erase(words, scores, share):
    """Two texts: without the most important words, and with nothing but them; the order of the words is kept.

    The most important words are the ceil(share * n) ones with the largest scores, signs included; of equal ones the
    first.

    >>> erase(["not", "a", "good", "film"], [0.2, 0.0, 0.9, -0.1], share=0.5)
    ('a film', 'not good')
    """
    if len(words) != len(scores) or not len(words):
        raise ValueError(say("{words} words and {scores} scores: one score a word is needed", words=len(words),
                             scores=len(scores)))  # fmt: skip
    chosen = set(np.argsort(-np.asarray(scores), kind="stable")[: math.ceil(share * len(words) - 1e-9)].tolist())
    return (" ".join(word for i, word in enumerate(words) if i not in chosen),
            " ".join(word for i, word in enumerate(words) if i in chosen))


def probabilities(model, tokenizer, texts, max_length=96):
    """Class probabilities (n, classes); an empty text is allowed."""
    from leaplm.data import DynamicPaddingCollator
    from leaplm.evaluation import log_softmax, predict_logits

    ids = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    collate = DynamicPaddingCollator(tokenizer.pad_token_id)
    return np.exp(log_softmax(predict_logits(model, [{"input_ids": row} for row in ids], collate)))


def deletion_test(model, tokenizer, texts, method, share=0.2, least=False, steps=16, seed=0):
    """(comprehensiveness, sufficiency) of each text (n,): falls of the predicted class's probability.

    Comprehensiveness: when the most important words (a share of them) go; large is good. Sufficiency: when nothing else
    stays; small is good. least=True takes the least important words instead. Source: DeYoung et al., 2020, section 4.
    """
    full = probabilities(model, tokenizer, texts)
    predicted, without, only = full.argmax(1), [], []
    for text, target in zip(texts, predicted.tolist(), strict=True):
        words, scores = word_scores(model, tokenizer, text, target, method, steps, seed=seed)
        rest, chosen = erase(words, -scores if least else scores, share)
        without.append(rest)
        only.append(chosen)
    rows = np.arange(len(texts))
    left, kept = probabilities(model, tokenizer, without), probabilities(model, tokenizer, only)
    return full[rows, predicted] - left[rows, predicted], full[rows, predicted] - kept[rows, predicted]
