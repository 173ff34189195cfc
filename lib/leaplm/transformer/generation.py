"""Writing with a language model: from scores to probabilities, and one token after the other with a cache."""

import torch


def next_token_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """Probabilities (vocabulary,) from scores (vocabulary,), as sampling uses them; 0 where a filter cuts.

    The scores are divided by `temperature`; then only the `top_k` largest stay; then, of what is left and made to sum to 1,
    only the fewest of the most probable that together have at least `top_p`. None: no such filter. Sources: Fan et al.,
    2018 (top-k); Holtzman et al., 2020 (top-p).

    >>> logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    >>> next_token_probabilities(logits, top_p=0.7).round(decimals=3).tolist()
    [0.625, 0.375, 0.0, 0.0]
    """
    p = (logits / temperature).softmax(dim=-1)
    ranked, order = p.sort(descending=True)
    if top_k is not None:
        ranked = torch.where(torch.arange(len(p), device=p.device) < top_k, ranked, 0)
        ranked = ranked / ranked.sum()
    if top_p is not None:
        before = ranked.cumsum(dim=-1) - ranked  # what the more probable ones have together
        ranked = torch.where(before < top_p, ranked, 0)
    return torch.zeros_like(p).scatter(-1, order, ranked / ranked.sum())


def generate(step, prompt_ids, count, pick):
    """`count` new tokens, a list of int, each token sent through the model once.

    step(ids (1, t), caches) -> (logits (1, t, vocabulary), caches), as `decoder` without its weights; prompt_ids: a list of
    int. pick: scores (vocabulary,) -> the number of the chosen token.
    """
    ids, caches, written = list(prompt_ids), None, []
    with torch.no_grad():
        while len(written) < count:
            logits, caches = step(torch.tensor([ids]), caches)
            ids = [int(pick(logits[0, -1]))]
            written += ids
    return written
