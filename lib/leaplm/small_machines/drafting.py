"""Speculative decoding: several guessed tokens go through the model at once, and those that it would have written stay.

What comes out is what greedy decoding writes, token by token; only the number of passes differs. Sources: Leviathan et al.,
2023, *Fast inference from transformers via speculative decoding*; Saxena, 2023, *Prompt lookup decoding* (the draft that
needs no second model).
"""


def find_draft(tokens, most=4, longest=3):
    """Up to `most` tokens that followed when the last tokens stood together before; [] where they never did.

    tokens: a list of int, the prompt and what was written. The last `longest` tokens are looked for first, then fewer, down
    to the last one; the latest earlier place counts.

    >>> find_draft([5, 6, 7, 8, 1, 5, 6], most=2)
    [7, 8]
    """
    for size in range(min(longest, len(tokens) - 1), 0, -1):
        tail = tokens[-size:]
        for start in range(len(tokens) - size - 1, -1, -1):
            if tokens[start : start + size] == tail:
                return tokens[start + size : start + size + most]
    return []


def no_draft(tokens):
    """No guess at all: one token a pass, plain greedy decoding."""
    return []


def speculative_decode(best_next, prompt, count, draft):
    """(tokens, passes): the `count` tokens that greedy decoding writes behind a prompt, and how often the model was asked.

    best_next: a function that takes a list of tokens and gives, for each of them, the best token behind it (a list of the
    same length). draft: a function that takes the tokens so far and gives the guessed next ones, a list. A pass checks all
    guesses at once: those that agree with the model stay, and the model's own token behind them comes for nothing.

    >>> speculative_decode(lambda tokens: [token + 1 for token in tokens], [1], 5, lambda tokens: [tokens[-1] + 1, 9])
    ([2, 3, 4, 5, 6], 3)
    """
    tokens, passes = list(prompt), 0
    while len(tokens) < len(prompt) + count:
        guessed = list(draft(list(tokens)))
        answers = best_next(tokens + guessed)[len(tokens) - 1 :]
        passes += 1
        right = 0
        while right < len(guessed) and guessed[right] == answers[right]:
            right += 1
        tokens += answers[: right + 1]
    return tokens[len(prompt) : len(prompt) + count], passes


class CachedModel:
    """A causal language model as `best_next`, which computes only the tokens that it has not seen yet.

    The keys and values of the tokens so far are kept; those of guesses that turned out wrong are cut off again.
    """

    def __init__(self, model):
        from transformers import DynamicCache

        self.model, self.cache, self.seen, self.best = model, DynamicCache(config=model.config), [], []

    def __call__(self, tokens):
        """tokens: a list of int -> the best next token behind each, a list of int."""
        import torch

        kept = 0
        while kept < min(len(self.seen), len(tokens) - 1) and self.seen[kept] == tokens[kept]:
            kept += 1
        if kept < len(self.seen):
            self.cache.crop(kept - len(self.seen))  # a negative number: so many go
        with torch.inference_mode():
            logits = self.model(torch.tensor([tokens[kept:]]), past_key_values=self.cache, use_cache=True).logits[0]
        self.seen, self.best = list(tokens), self.best[:kept] + logits.argmax(dim=-1).tolist()
        return self.best
