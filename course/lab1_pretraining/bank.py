"""Bank of lab 1: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, nn, np, ...).
"""

import json

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905

# -- fertility ---------------------------------------------------------------------------------------------------------


@wrong("fertility", "mean of each text's own ratio")
def mean_of_ratios(token_lists, texts):
    return float(np.mean([len(tokens) / len(text.split()) for tokens, text in zip(token_lists, texts)]))


@wrong("fertility", "words per token")
def upside_down(token_lists, texts):
    return sum(len(text.split()) for text in texts) / sum(len(tokens) for tokens in token_lists)


@wrong("fertility", "counts blanks instead of words")
def split_at_blanks(token_lists, texts):
    return sum(len(tokens) for tokens in token_lists) / sum(len(text.split(" ")) for text in texts)


@wrong("fertility", "tokens per text")
def per_text(token_lists, texts):
    return sum(len(tokens) for tokens in token_lists) / len(texts)


@wrong("fertility", "only the first text")
def first_text(token_lists, texts):
    return len(token_lists[0]) / len(texts[0].split())


@right("fertility", "with NumPy")
def with_numpy(token_lists, texts):
    return np.sum([len(tokens) for tokens in token_lists]) / np.sum([len(text.split()) for text in texts])


@right("fertility", "joins everything first")
def joined(token_lists, texts):
    return len([t for tokens in token_lists for t in tokens]) / len("\n".join(texts).split())


@wrong("fertility", "takes words for letters and digits only")
def by_letters(token_lists, texts):
    import re
    return sum(map(len, token_lists)) / sum(len(re.findall(r"\w+", text)) for text in texts)


@wrong("fertility", "glues the texts together")
def glued(token_lists, texts):
    return sum(map(len, token_lists)) / len("".join(texts).split())


@wrong("fertility", "equal texts once")
def different_texts(token_lists, texts):
    return sum(map(len, token_lists)) / sum(len(text.split()) for text in set(texts))


@wrong("fertility", "rounded")
def rounded(token_lists, texts):
    return round(sum(map(len, token_lists)) / sum(len(text.split()) for text in texts), 2)


@wrong("fertility", "different tokens and words only")
def kinds(token_lists, texts):
    return sum(len(set(tokens)) for tokens in token_lists) / sum(len(set(text.split())) for text in texts)


@right("fertility", "as a tensor of 32 bits")
def fertility_as_tensor(token_lists, texts):
    return torch.tensor([len(t) for t in token_lists]).sum() / torch.tensor([len(t.split()) for t in texts]).sum()


@right("fertility", "word by word with a regular expression, with a helper inside")
def non_blank(token_lists, texts):
    import re

    def words(text):
        return len(re.findall(r"\S+", text))

    return np.float64(sum(len(t) for t in token_lists)) / sum(map(words, texts))


@wrong("fertility", "does not count the pieces that go on with a word")
def starts_only(token_lists, texts):
    return sum(not t.startswith("##") for ts in token_lists for t in ts) / sum(len(text.split()) for text in texts)


@wrong("fertility", "at least one word a text, also where there is none")
def one_word_at_least(token_lists, texts):
    return sum(map(len, token_lists)) / sum(max(1, len(text.split())) for text in texts)


# -- mask_tokens -------------------------------------------------------------------------------------------------------


@wrong("mask_tokens", "72/10/18: a second throw among the rest, with 0.1 of all")
def second_throw_010(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    chosen = (torch.rand(input_ids.shape) < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(chosen, input_ids, -100)
    masked = chosen & (torch.rand(input_ids.shape) < 0.8)
    inputs = torch.where(masked, mask_token_id, input_ids)
    random = chosen & (torch.rand(input_ids.shape) < 0.1)
    return torch.where(random, torch.randint(vocab_size, input_ids.shape), inputs), labels


@wrong("mask_tokens", "80/2/18: a tenth of the remaining fifth")
def tenth_of_the_rest(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    chosen = (torch.rand(input_ids.shape) < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(chosen, input_ids, -100)
    masked = chosen & (torch.rand(input_ids.shape) < 0.8)
    random = chosen & ~masked & (torch.rand(input_ids.shape) < 0.1)
    inputs = torch.where(masked, mask_token_id, input_ids)
    return torch.where(random, torch.randint(vocab_size, input_ids.shape), inputs), labels


@wrong("mask_tokens", "puts random tokens at places that are not chosen")
def corrupts_the_rest(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    chosen = (torch.rand(input_ids.shape) < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(chosen, input_ids, -100)
    dice = torch.rand(input_ids.shape)
    inputs = torch.where(chosen & (dice < 0.8), mask_token_id, input_ids)
    random = (dice >= 0.8) & (dice < 0.9) & ~special_tokens_mask.bool()
    return torch.where(random, torch.randint(vocab_size, input_ids.shape), inputs), labels


wrong.cell("mask_tokens", "chooses special tokens too", """\
solved = mask_tokens

def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    return solved(input_ids, torch.zeros_like(special_tokens_mask), mask_token_id, vocab_size, mask_rate)
""")


@wrong("mask_tokens", "always [MASK]")
def always_mask(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    chosen = (torch.rand(input_ids.shape) < mask_rate) & ~special_tokens_mask.bool()
    return torch.where(chosen, mask_token_id, input_ids), torch.where(chosen, input_ids, -100)


wrong.cell("mask_tokens", "labels every token", """\
solved = mask_tokens

def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    return solved(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate)[0], input_ids.clone()
""")


wrong.cell("mask_tokens", "labels from the ids after masking", """\
solved = mask_tokens

def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    inputs, labels = solved(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate)
    return inputs, torch.where(labels != -100, inputs, -100)
""")


wrong.cell("mask_tokens", "the rate is always 15 %", """\
solved = mask_tokens

def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    return solved(input_ids, special_tokens_mask, mask_token_id, vocab_size, 0.15)
""")


@wrong("mask_tokens", "one random token for the whole batch")
def one_random_token(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    chosen = (torch.rand(input_ids.shape) < mask_rate) & ~special_tokens_mask.bool()
    dice = torch.rand(input_ids.shape)
    inputs = torch.where(chosen & (dice < 0.8), mask_token_id, input_ids)
    inputs = torch.where(chosen & (dice >= 0.9), int(torch.randint(vocab_size, ())), inputs)
    return inputs, torch.where(chosen, input_ids, -100)


@right("mask_tokens", "half of the remaining fifth")
def half_of_the_rest(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    chosen = (torch.rand(input_ids.shape) < mask_rate) & (special_tokens_mask == 0)
    inputs, labels = input_ids.clone(), input_ids.clone()
    labels[~chosen] = -100
    masked = chosen & (torch.rand(input_ids.shape) < 0.8)
    inputs[masked] = mask_token_id
    random = chosen & ~masked & (torch.rand(input_ids.shape) < 0.5)
    inputs[random] = torch.randint(vocab_size, (int(random.sum()),))
    return inputs, labels


@right("mask_tokens", "with torch.bernoulli, as transformers does")
def with_bernoulli(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    rates = torch.full(input_ids.shape, mask_rate).masked_fill(special_tokens_mask.bool(), 0.0)
    chosen = torch.bernoulli(rates).bool()
    labels = input_ids.masked_fill(~chosen, -100)
    replaced = torch.bernoulli(torch.full(input_ids.shape, 0.8)).bool() & chosen
    inputs = input_ids.masked_fill(replaced, mask_token_id)
    random = torch.bernoulli(torch.full(input_ids.shape, 0.5)).bool() & chosen & ~replaced
    words = torch.randint(vocab_size, input_ids.shape)
    inputs[random] = words[random]
    return inputs, labels


@wrong("mask_tokens", "overwrites the caller's ids")
def overwrites(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    chosen = (torch.rand(input_ids.shape) < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(chosen, input_ids, -100)
    dice = torch.rand(input_ids.shape)
    input_ids[chosen & (dice < 0.8)] = mask_token_id
    random = chosen & (dice >= 0.9)
    input_ids[random] = torch.randint(vocab_size, input_ids.shape)[random]
    return input_ids, labels


wrong.cell("mask_tokens", "the same mask at every call: a seed inside", """\
solved = mask_tokens

def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    torch.manual_seed(42)
    return solved(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate)
""")

MASKING = """\
def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    chosen = (torch.rand(input_ids.shape) < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(chosen, input_ids, -100)
    dice = torch.rand(input_ids.shape)
    inputs = torch.where(chosen & (dice < 0.8), mask_token_id, input_ids)
    words = torch.randint(vocab_size, input_ids.shape)
    inputs = torch.where(chosen & (dice >= 0.8) & (dice < 0.9), words, inputs)
    return inputs, labels
"""
for why, before, after in (
    ("ids up to vocab_size itself", "randint(vocab_size,", "randint(vocab_size + 1,"),
    ("the last id never comes", "randint(vocab_size,", "randint(vocab_size - 1,"),
    ("id 0 never comes", "randint(vocab_size,", "randint(1, vocab_size,"),
    ("random ids out of the batch", "torch.randint(vocab_size, input_ids.shape)",
     "input_ids.flatten()[torch.randperm(input_ids.numel())].view(input_ids.shape)"),
    ("labels as 32-bit numbers with a fraction", "-100)", "-100).float()"),
    ("labels that the loss refuses: 32-bit whole numbers", "-100)", "-100).int()"),
    ("lists instead of tensors", "return inputs, labels", "return inputs.tolist(), labels.tolist()"),
    ("the same places in every text of the batch", "torch.rand(input_ids.shape) <", "torch.rand(input_ids.shape[1]) <"),
    ("the second throw is one for a whole text", "dice = torch.rand(input_ids.shape)",
     "dice = torch.rand(len(input_ids), 1)"),
    ("token 0 is lost from the labels", "labels = torch.where(chosen, input_ids, -100)",
     "labels = input_ids * chosen\n    labels[labels == 0] = -100"),
    ("labels first, then inputs", "return inputs, labels", "return labels, inputs"),
    ("10 % random ids are [MASK] too", "words, inputs)", "mask_token_id, inputs)"),
    ("the rate is a little too large", "< mask_rate)", "< 1.1 * mask_rate)"),
):
    wrong.cell("mask_tokens", why, MASKING.replace(before, after))


@wrong("mask_tokens", "exactly the first 80 % of the chosen places")
def first_eighty(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    chosen = (torch.rand(input_ids.shape) < mask_rate) & (special_tokens_mask == 0)
    labels, inputs = input_ids.masked_fill(~chosen, -100), input_ids.clone()
    rows, columns = chosen.nonzero(as_tuple=True)
    most, more = int(0.8 * len(rows)), int(0.9 * len(rows))
    inputs[rows[:most], columns[:most]] = mask_token_id
    inputs[rows[most:more], columns[most:more]] = torch.randint(vocab_size, (more - most,))
    return inputs, labels


@wrong("mask_tokens", "calls the library's function by another name")
def librarys(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    import importlib
    hide = vars(importlib.import_module("leaplm.pretraining.masking"))["mask" + "_tokens"]
    return hide(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate)


@right("mask_tokens", "with NumPy's random numbers")
def numpys_dice(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    ids, special = input_ids.numpy(), special_tokens_mask.numpy().astype(bool)
    dice = np.random.default_rng()
    chosen = (dice.random(ids.shape) < mask_rate) & ~special
    kind = dice.choice(3, p=[0.8, 0.1, 0.1], size=ids.shape)
    inputs = np.where(chosen & (kind == 0), mask_token_id, ids)
    inputs = np.where(chosen & (kind == 1), dice.integers(0, vocab_size, size=ids.shape), inputs)
    return torch.from_numpy(inputs), torch.from_numpy(np.where(chosen, ids, -100))


@right("mask_tokens", "one throw that decides all, and a list of the two")
def one_throw(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    inputs, labels = input_ids.clone(), torch.full_like(input_ids, -100)
    dice = torch.rand(input_ids.shape).masked_fill(special_tokens_mask.bool(), 2.0) / max(mask_rate, 1e-9)
    labels[dice < 1] = input_ids[dice < 1]
    inputs[dice < 0.8] = mask_token_id
    random = (dice >= 0.8) & (dice < 0.9)
    inputs[random] = torch.randint_like(inputs, vocab_size)[random]
    return [inputs, labels]


@right("mask_tokens", "token by token")
def token_by_token(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    import random
    inputs, labels = input_ids.tolist(), [[-100] * input_ids.shape[1] for _ in input_ids]
    for i, row in enumerate(special_tokens_mask.tolist()):
        for j, special in enumerate(row):
            if special or random.random() >= mask_rate:
                continue
            labels[i][j], dice = inputs[i][j], random.randrange(10)
            if dice < 8:
                inputs[i][j] = mask_token_id
            elif dice == 8:
                inputs[i][j] = random.randrange(vocab_size)
    return torch.tensor(inputs), torch.tensor(labels)


# -- masked_lm_loss ----------------------------------------------------------------------------------------------------


@wrong("masked_lm_loss", "scores all places, then leaves out")
def all_places(hidden, labels, head):
    if (labels == -100).all():
        return torch.tensor(0.0)
    return nn.functional.cross_entropy(head(hidden).flatten(0, 1), labels.flatten(), ignore_index=-100)


@wrong("masked_lm_loss", "the sum")
def the_sum(hidden, labels, head):
    chosen = labels != -100
    return nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen], reduction="sum")


@wrong("masked_lm_loss", "divides by all places")
def over_all_places(hidden, labels, head):
    chosen = labels != -100
    return nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen], reduction="sum") / labels.numel()


@wrong("masked_lm_loss", "takes token 0 for 'not hidden'")
def positive_labels(hidden, labels, head):
    chosen = labels > 0
    return nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen], reduction="sum") / max(1, int(chosen.sum()))


@wrong("masked_lm_loss", "not a number when nothing is hidden")
def nan_for_nothing(hidden, labels, head):
    chosen = labels != -100
    return nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen])


@wrong("masked_lm_loss", "a mean of the rows' means")
def mean_of_rows(hidden, labels, head):
    rows = [nn.functional.cross_entropy(head(h[y != -100]), y[y != -100])
            for h, y in zip(hidden, labels) if (y != -100).any()]
    return torch.stack(rows).mean() if rows else torch.tensor(0.0)


@right("masked_lm_loss", "with log_softmax and gather")
def by_gather(hidden, labels, head):
    places = torch.nonzero(labels != -100, as_tuple=True)
    if len(places[0]) == 0:
        return torch.zeros(())
    log_p = head(hidden[places]).log_softmax(-1)
    return -log_p.gather(1, labels[places].unsqueeze(1)).mean()


@wrong("masked_lm_loss", "a float when nothing is hidden, on which the training ends")
def float_for_nothing(hidden, labels, head):
    flat = labels.reshape(-1)
    index = (flat != -100).nonzero().squeeze(1)
    if index.numel() == 0:
        return 0.0
    return nn.functional.cross_entropy(head(hidden.reshape(-1, hidden.shape[-1])[index]), flat[index])


@wrong("masked_lm_loss", "a Python number: nothing can learn from it")
def as_number(hidden, labels, head):
    chosen = labels != -100
    total = nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen], reduction="sum")
    return (total / max(1, int(chosen.sum()))).item()


@wrong("masked_lm_loss", "without gradients")
def under_no_grad(hidden, labels, head):
    chosen = labels != -100
    with torch.no_grad():
        total = nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen], reduction="sum")
    return total / max(1, int(chosen.sum()))


@wrong("masked_lm_loss", "the encoder learns nothing: its vectors are detached")
def detached(hidden, labels, head):
    chosen = labels != -100
    total = nn.functional.cross_entropy(head(hidden[chosen].detach()), labels[chosen], reduction="sum")
    return total / max(1, int(chosen.sum()))


@wrong("masked_lm_loss", "a new tensor with the number of the loss")
def new_tensor(hidden, labels, head):
    chosen = labels != -100
    total = nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen], reduction="sum")
    return torch.tensor(float(total) / max(1, int(chosen.sum())), requires_grad=True)


@wrong("masked_lm_loss", "writes into the caller's labels")
def overwrites_labels(hidden, labels, head):
    chosen = labels != -100
    labels[~chosen] = 0
    total = nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen], reduction="sum")
    return total / max(1, int(chosen.sum()))


@wrong("masked_lm_loss", "a loss for each place")
def each_place(hidden, labels, head):
    chosen = labels != -100
    return nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen], reduction="none")


@wrong("masked_lm_loss", "divides by one too many, so as never to divide by 0")
def plus_one(hidden, labels, head):
    chosen = labels != -100
    return nn.functional.cross_entropy(head(hidden[chosen]), labels[chosen], reduction="sum") / (chosen.sum() + 1)


@right("masked_lm_loss", "flattened first, a zero that keeps the graph when nothing is hidden")
def flattened(hidden, labels, head):
    flat = labels.reshape(-1)
    index = (flat != -100).nonzero().squeeze(1)
    if index.numel() == 0:
        return hidden.sum() * 0
    return nn.functional.cross_entropy(head(hidden.reshape(-1, hidden.shape[-1])[index]), flat[index])


@right("masked_lm_loss", "nan turned into 0")
def nan_to_zero(hidden, labels, head):
    hidden_places = labels.ne(-100)
    loss = nn.CrossEntropyLoss()(head(hidden[hidden_places]), labels[hidden_places])
    return torch.nan_to_num(loss) if hidden_places.sum() == 0 else loss


@right("masked_lm_loss", "place by place, in a list")
def place_by_place(hidden, labels, head):
    losses = []
    for row, targets in zip(hidden, labels):
        for h, y in zip(row, targets.tolist()):
            if y != -100:
                scores = head(h[None])[0]
                losses.append(torch.logsumexp(scores, 0) - scores[y])
    return torch.stack(losses).mean() if losses else torch.tensor(0.0)


@wrong("masked_lm_loss", "adds a small number to each probability: no loss is above 14 nats")
def with_epsilon(hidden, labels, head):
    hole = labels != -100
    probabilities = head(hidden[hole]).softmax(-1)
    return -(probabilities[torch.arange(len(probabilities)), labels[hole]] + 1e-6).log().sum() / hole.sum().clamp(min=1)


@wrong("masked_lm_loss", "a smaller number added to each probability: no loss is above 28 nats")
def with_small_epsilon(hidden, labels, head):
    hole = labels != -100
    probabilities = head(hidden[hole]).softmax(-1)
    return -(probabilities[torch.arange(len(probabilities)), labels[hole]] + 1e-12).log().sum() / hole.sum().clamp(min=1)


# -- unigram_entropy ---------------------------------------------------------------------------------------------------


@wrong("unigram_entropy", "counts the test tokens")
def counts_of_test(train_ids, test_ids, vocab_size):
    counts = torch.bincount(test_ids, minlength=vocab_size) + 1
    return float(-torch.log(counts / counts.sum())[test_ids].mean())


@wrong("unigram_entropy", "in bits")
def in_bits(train_ids, test_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size) + 1
    return float(-torch.log2(counts / counts.sum())[test_ids].mean())


@wrong("unigram_entropy", "the entropy of the training frequencies")
def entropy_of_train(train_ids, test_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size) + 1
    p = counts / counts.sum()
    return float(-(p * p.log()).sum())


@wrong("unigram_entropy", "a constant instead of adding one")
def with_a_floor(train_ids, test_ids, vocab_size):
    p = torch.bincount(train_ids, minlength=vocab_size) / len(train_ids)
    return float(-torch.log(p.clamp(min=1e-12))[test_ids].mean())


@wrong("unigram_entropy", "adds one, divides by the number of training tokens")
def wrong_total(train_ids, test_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size) + 1
    return float(-torch.log(counts / len(train_ids))[test_ids].mean())


@right("unigram_entropy", "a loop with a Counter")
def with_counter(train_ids, test_ids, vocab_size):
    from collections import Counter
    from math import log
    counts = Counter(train_ids.tolist())
    total = len(train_ids) + vocab_size
    return -sum(log((counts[i] + 1) / total) for i in test_ids.tolist()) / len(test_ids)


@right("unigram_entropy", "as a cross-entropy of log-counts")
def as_cross_entropy(train_ids, test_ids, vocab_size):
    logits = torch.log1p(torch.bincount(train_ids, minlength=vocab_size).float())
    return nn.functional.cross_entropy(logits.expand(len(test_ids), -1), test_ids).item()


@wrong("unigram_entropy", "the vocabulary is what occurs")
def what_occurs(train_ids, test_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=int(test_ids.max()) + 1) + 1
    return float(-torch.log(counts / counts.sum())[test_ids].mean())


@wrong("unigram_entropy", "adds one to the tokens that were never seen only")
def only_unseen(train_ids, test_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size).clamp(min=1)
    return float(-torch.log(counts / counts.sum())[test_ids].mean())


@wrong("unigram_entropy", "the sum")
def the_total(train_ids, test_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size) + 1
    return float(-torch.log(counts / counts.sum())[test_ids].sum())


@wrong("unigram_entropy", "each kind of token once")
def once_each(train_ids, test_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size) + 1
    return float(-torch.log(counts / counts.sum())[test_ids.unique()].mean())


@wrong("unigram_entropy", "the logarithm of the mean")
def log_of_mean(train_ids, test_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size) + 1
    return float(-torch.log((counts / counts.sum())[test_ids].mean()))


@wrong("unigram_entropy", "calls the library's table")
def librarys_table(train_ids, test_ids, vocab_size):
    table = evaluation.log_frequencies([{"input_ids": train_ids.tolist()}], vocab_size)
    return float(-torch.as_tensor(table)[test_ids].mean())


@wrong("unigram_entropy", "a token's loss each")
def losses_each(train_ids, test_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size) + 1
    return -torch.log(counts / counts.sum())[test_ids]


@right("unigram_entropy", "with NumPy")
def unigram_in_numpy(train_ids, test_ids, vocab_size):
    counts = np.bincount(train_ids, minlength=vocab_size) + 1.0
    return -np.mean(np.log(counts[test_ids.numpy()] / counts.sum()))


@right("unigram_entropy", "counted by scatter_add, as a tensor")
def by_scatter(train_ids, test_ids, vocab_size):
    counts = torch.ones(vocab_size).scatter_add_(0, train_ids, torch.ones(len(train_ids)))
    return torch.log(counts.sum()) - torch.log(counts[test_ids]).mean()


@wrong("unigram_entropy", "does not count token 0")
def no_token_zero(train_ids, test_ids, vocab_size):
    counts = torch.bincount(train_ids, minlength=vocab_size).double() + 1
    counts[0] = 1
    return float(-(counts / counts.sum())[test_ids].log().mean())


# -- group_texts -------------------------------------------------------------------------------------------------------


wrong.cell("group_texts", "drops the last block", """\
solved = group_texts

def group_texts(rows, block_size, cls_id):
    return [block for block in solved(rows, block_size, cls_id) if len(block["input_ids"]) == block_size]
""")


@wrong("group_texts", "blocks one token too long")
def one_too_long(rows, block_size, cls_id):
    line = [token for row in rows for token in row["input_ids"][1:]]
    return [{"input_ids": [cls_id, *line[i : i + block_size]]} for i in range(0, len(line), block_size)]


@wrong("group_texts", "keeps each text's [CLS]")
def keeps_cls(rows, block_size, cls_id):
    line = [token for row in rows for token in row["input_ids"]]
    return [{"input_ids": [cls_id, *line[i : i + block_size - 1]]} for i in range(0, len(line), block_size - 1)]


@wrong("group_texts", "drops [SEP] too")
def drops_sep(rows, block_size, cls_id):
    line = [token for row in rows for token in row["input_ids"][1:-1]]
    return [{"input_ids": [cls_id, *line[i : i + block_size - 1]]} for i in range(0, len(line), block_size - 1)]


@wrong("group_texts", "no [CLS] at all")
def no_cls(rows, block_size, cls_id):
    line = [token for row in rows for token in row["input_ids"][1:]]
    return [{"input_ids": line[i : i + block_size]} for i in range(0, len(line), block_size)]


@wrong("group_texts", "cuts each text by itself")
def text_by_text(rows, block_size, cls_id):
    width = block_size - 1
    return [{"input_ids": [cls_id, *row["input_ids"][1:][i : i + width]]}
            for row in rows for i in range(0, len(row["input_ids"]) - 1, width)]


@right("group_texts", "a loop that fills blocks")
def filling(rows, block_size, cls_id):
    blocks = [[cls_id]]
    for row in rows:
        for token in row["input_ids"][1:]:
            if len(blocks[-1]) == block_size:
                blocks.append([cls_id])
            blocks[-1].append(token)
    return [{"input_ids": block} for block in blocks]


@right("group_texts", "with tensors")
def with_tensors(rows, block_size, cls_id):
    line = torch.cat([torch.tensor(row["input_ids"][1:]) for row in rows])
    return [{"input_ids": torch.cat([torch.tensor([cls_id]), piece])} for piece in line.split(block_size - 1)]


@wrong("group_texts", "drops every token with the number of [CLS]")
def drops_all_cls(rows, block_size, cls_id):
    line = [token for row in rows for token in row["input_ids"] if token != cls_id]
    width = block_size - 1
    return [{"input_ids": [cls_id, *line[i : i + width]]} for i in range(0, len(line), width)]


@wrong("group_texts", "takes the number of [CLS] to be 1")
def cls_is_one(rows, block_size, cls_id):
    line = [token for row in rows for token in row["input_ids"][1:]]
    width = block_size - 1
    return [{"input_ids": [1, *line[i : i + width]]} for i in range(0, len(line), width)]


@wrong("group_texts", "an empty block at the end, when the line fits exactly")
def empty_block(rows, block_size, cls_id):
    line = [token for row in rows for token in row["input_ids"][1:]]
    width = block_size - 1
    return [{"input_ids": [cls_id, *line[i : i + width]]} for i in range(0, len(line) + 1, width)]


@wrong("group_texts", "takes the first token out of the caller's rows")
def pops_cls(rows, block_size, cls_id):
    line, width = [], block_size - 1
    for row in rows:
        row["input_ids"].pop(0)
        line += row["input_ids"]
    return [{"input_ids": [cls_id, *line[i : i + width]]} for i in range(0, len(line), width)]


@wrong("group_texts", "lists without input_ids")
def bare_lists(rows, block_size, cls_id):
    line = [token for row in rows for token in row["input_ids"][1:]]
    width = block_size - 1
    return [[cls_id, *line[i : i + width]] for i in range(0, len(line), width)]


@wrong("group_texts", "fills the last block with padding")
def pads(rows, block_size, cls_id):
    line = [token for row in rows for token in row["input_ids"][1:]]
    width = block_size - 1
    line += [0] * (-len(line) % width)
    return [{"input_ids": [cls_id, *line[i : i + width]]} for i in range(0, len(line), width)]


@wrong("group_texts", "calls the library's function")
def by_the_library(rows, block_size, cls_id):
    return data.group_texts(rows, block_size, (cls_id, 2))


@wrong("group_texts", "ids with a fraction, which no embedding takes")
def float_ids(rows, block_size, cls_id):
    line = [float(token) for row in rows for token in row["input_ids"][1:]]
    width = block_size - 1
    return [{"input_ids": [float(cls_id), *line[i : i + width]]} for i in range(0, len(line), width)]


@right("group_texts", "with itertools and a generator inside")
def with_itertools(rows, block_size, cls_id):
    from itertools import chain, islice
    line = chain.from_iterable(row["input_ids"][1:] for row in rows)
    blocks = []
    while part := list(islice(line, block_size - 1)):
        blocks.append({"input_ids": [cls_id] + part})
    return blocks


@right("group_texts", "with NumPy, and a mask beside the ids")
def blocks_in_numpy(rows, block_size, cls_id):
    line = np.concatenate([row["input_ids"][1:] for row in rows]).astype(int)
    cuts = np.split(line, range(block_size - 1, len(line), block_size - 1))
    return tuple({"input_ids": np.insert(cut, 0, cls_id), "attention_mask": [1] * (len(cut) + 1)} for cut in cuts)


# -- pseudo_perplexity -------------------------------------------------------------------------------------------------


@wrong("pseudo_perplexity", "hides nothing")
def hides_nothing(model, input_ids, mask_token_id):
    model.eval()
    with torch.no_grad():
        log_p = model(input_ids.unsqueeze(0)).logits[0].log_softmax(-1)
    places = torch.arange(1, len(input_ids) - 1)
    return float(torch.exp(-log_p[places, input_ids[places]].mean()))


@wrong("pseudo_perplexity", "hides all at once")
def hides_all(model, input_ids, mask_token_id):
    model.eval()
    places = torch.arange(1, len(input_ids) - 1)
    hidden = input_ids.clone()
    hidden[places] = mask_token_id
    with torch.no_grad():
        log_p = model(hidden.unsqueeze(0)).logits[0].log_softmax(-1)
    return float(torch.exp(-log_p[places, input_ids[places]].mean()))


wrong.cell("pseudo_perplexity", "the loss, without exp", """\
solved = pseudo_perplexity

def pseudo_perplexity(model, input_ids, mask_token_id):
    return float(np.log(solved(model, input_ids, mask_token_id)))
""")


@wrong("pseudo_perplexity", "hides [CLS] and [SEP] too")
def with_special(model, input_ids, mask_token_id):
    model.eval()
    n = len(input_ids)
    copies = input_ids.repeat(n, 1)
    copies.fill_diagonal_(mask_token_id)
    with torch.no_grad():
        log_p = model(copies).logits.log_softmax(-1)[torch.arange(n), torch.arange(n), input_ids]
    return float(torch.exp(-log_p.mean()))


@wrong("pseudo_perplexity", "leaves dropout on")
def dropout_on(model, input_ids, mask_token_id):
    places = torch.arange(1, len(input_ids) - 1)
    copies = input_ids.repeat(len(places), 1)
    copies[torch.arange(len(places)), places] = mask_token_id
    with torch.no_grad():
        log_p = model(copies).logits.log_softmax(-1)[torch.arange(len(places)), places, input_ids[places]]
    return float(torch.exp(-log_p.mean()))


@wrong("pseudo_perplexity", "a mean of the perplexities")
def mean_of_exp(model, input_ids, mask_token_id):
    model.eval()
    places = torch.arange(1, len(input_ids) - 1)
    copies = input_ids.repeat(len(places), 1)
    copies[torch.arange(len(places)), places] = mask_token_id
    with torch.no_grad():
        log_p = model(copies).logits.log_softmax(-1)[torch.arange(len(places)), places, input_ids[places]]
    return float(torch.exp(-log_p).mean())


@right("pseudo_perplexity", "one place after the other")
def one_by_one(model, input_ids, mask_token_id):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for i in range(1, len(input_ids) - 1):
            hidden = input_ids.clone()
            hidden[i] = mask_token_id
            total -= model(hidden[None]).logits[0, i].log_softmax(-1)[input_ids[i]].item()
    return np.exp(total / (len(input_ids) - 2))


@right("pseudo_perplexity", "with cross_entropy")
def with_cross_entropy(model, input_ids, mask_token_id):
    model.eval()
    inner = torch.arange(1, input_ids.numel() - 1)
    copies = input_ids.expand(len(inner), -1).clone()
    copies[range(len(inner)), inner] = mask_token_id
    with torch.inference_mode():
        scores = model(copies).logits[range(len(inner)), inner]
    return torch.exp(nn.functional.cross_entropy(scores, input_ids[inner]))


@wrong("pseudo_perplexity", "hides every token with the same number")
def by_value(model, input_ids, mask_token_id):
    model.eval()
    losses = []
    with torch.no_grad():
        for i in range(1, len(input_ids) - 1):
            hidden = torch.where(input_ids == input_ids[i], mask_token_id, input_ids)
            losses.append(-model(hidden[None]).logits[0, i].log_softmax(-1)[input_ids[i]])
    return float(torch.stack(losses).mean().exp())


@wrong("pseudo_perplexity", "hides more and more: the copies are one tensor")
def more_and_more(model, input_ids, mask_token_id):
    model.eval()
    losses, hidden = [], input_ids.clone()
    with torch.no_grad():
        for i in range(1, len(input_ids) - 1):
            hidden[i] = mask_token_id
            losses.append(-model(hidden[None]).logits[0, i].log_softmax(-1)[input_ids[i]])
    return float(torch.stack(losses).mean().exp())


PERPLEXITY = """\
def pseudo_perplexity(model, input_ids, mask_token_id):
    model.eval()
    places = torch.arange(1, len(input_ids) - 1)
    copies = input_ids.repeat(len(places), 1)
    copies[torch.arange(len(places)), places] = mask_token_id
    with torch.no_grad():
        scores = model(copies).logits.log_softmax(-1)
    log_p = scores[torch.arange(len(places)), places, input_ids[places]]
    return float(torch.exp(-log_p.mean()))
"""
for why, before, after in (
    ("keeps gradients on, which takes time and memory", "with torch.no_grad():", "if True:"),
    ("divides by all tokens", "-log_p.mean()", "-log_p.sum() / len(input_ids)"),
    ("in bits, then exp", "-log_p.mean()", "-log_p.mean() / np.log(2)"),
    ("the score of [MASK] in place of the token's", "input_ids[places]]", "copies[torch.arange(len(places)), places]]"),
    ("the place after the hidden one", "places, input_ids[places]]", "places + 1, input_ids[places]]"),
    ("the last token before [SEP] is left out", "len(input_ids) - 1)", "max(2, len(input_ids) - 2))"),
    ("upside down", "-log_p.mean()", "log_p.mean()"),
):
    wrong.cell("pseudo_perplexity", why, PERPLEXITY.replace(before, after))
wrong.cell("pseudo_perplexity", "gradients off for ever", PERPLEXITY.replace(
    "    with torch.no_grad():\n        ", "    torch.set_grad_enabled(False)\n    "))


@wrong("pseudo_perplexity", "writes [MASK] into the caller's sentence")
def into_the_sentence(model, input_ids, mask_token_id):
    model.eval()
    losses = []
    with torch.no_grad():
        for i in range(1, len(input_ids) - 1):
            kept = int(input_ids[i])
            input_ids[i] = mask_token_id
            losses.append(-model(input_ids[None]).logits[0, i].log_softmax(-1)[kept])
            if i < len(input_ids) - 2:
                input_ids[i] = kept
    return float(torch.stack(losses).mean().exp())


@right("pseudo_perplexity", "a decorated helper inside, the mode put back")
def mode_put_back(model, input_ids, mask_token_id):
    @torch.no_grad()
    def loss(i):
        hidden = input_ids.clone()
        hidden[i] = mask_token_id
        return nn.functional.cross_entropy(model(hidden.unsqueeze(0)).logits[:, i], input_ids[i : i + 1])

    before = model.training
    model.eval()
    losses = [loss(i).item() for i in range(1, len(input_ids) - 1)]
    model.train(before)
    return np.exp(np.mean(losses))


@right("pseudo_perplexity", "with masked_fill on a square of copies, in 64 bits")
def square(model, input_ids, mask_token_id):
    model.eval()
    n = input_ids.size(0) - 2
    copies = input_ids.expand(n, -1).clone()
    copies[:, 1:-1].fill_diagonal_(mask_token_id)
    with torch.inference_mode():
        p = model(copies).logits[:, 1:-1].double().softmax(-1)
    p = p.diagonal().T.gather(1, input_ids[1:-1, None]).numpy()
    return float(np.prod(p ** (-1 / n)))


# -- next_sentence_pairs -----------------------------------------------------------------------------------------------


@wrong("next_sentence_pairs", "draws second parts with repetition, sometimes its own")
def with_repetition(parts, seed):
    rng = np.random.default_rng(seed)
    pairs = []
    for i, (first, second) in enumerate(parts):
        if i % 2:
            pairs.append((first, second, 1))
        else:
            pairs.append((first, parts[rng.integers(len(parts))][1], 0))
    return pairs


@wrong("next_sentence_pairs", "shuffles the swapped parts: some get their own back")
def shuffled(parts, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(parts))
    swapped = order[: len(parts) // 2]
    wrong = [(parts[i][0], parts[j][1], 0) for i, j in zip(swapped, rng.permutation(swapped))]
    return wrong + [(*parts[i], 1) for i in order[len(parts) // 2 :]]


@wrong("next_sentence_pairs", "swaps everything")
def all_swapped(parts, seed):
    order = np.random.default_rng(seed).permutation(len(parts))
    return [(parts[i][0], parts[j][1], 0) for i, j in zip(order, np.roll(order, 1))]


@wrong("next_sentence_pairs", "the first half swaps, whatever the seed")
def always_the_same(parts, seed):
    half = len(parts) // 2
    seconds = [second for _, second in parts[:half]]
    swapped = [(first, second, 0) for (first, _), second in zip(parts[:half], seconds[1:] + seconds[:1])]
    return swapped + [(*part, 1) for part in parts[half:]]


@wrong("next_sentence_pairs", "leaves the swapped texts out")
def only_true(parts, seed):
    order = np.random.default_rng(seed).permutation(len(parts))
    return [(*parts[i], 1) for i in order[len(parts) // 2 :]]


wrong.cell("next_sentence_pairs", "labels the wrong way round", """\
def next_sentence_pairs(parts, seed):
    order = np.random.default_rng(seed).permutation(len(parts))
    half = len(parts) // 2
    swapped = [(parts[i][0], parts[j][1], 1) for i, j in zip(order[:half], np.roll(order[:half], 1))]
    return swapped + [(*parts[i], 0) for i in order[half:]]
""")


@right("next_sentence_pairs", "with random.sample and lists")
def with_sample(parts, seed):
    import random
    dice = random.Random(seed)
    numbers = dice.sample(range(len(parts)), len(parts) // 2)
    partner = dict(zip(numbers, numbers[1:] + numbers[:1]))
    return [[first, parts[partner.get(i, i)][1], int(i not in partner)] for i, (first, second) in enumerate(parts)]


@right("next_sentence_pairs", "shuffled at the end, with True and False")
def shuffled_result(parts, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(parts))
    half = len(parts) // 2
    pairs = [(parts[order[i]][0], parts[order[(i + 1) % half]][1], False) for i in range(half)]
    pairs += [(*parts[i], True) for i in order[half:]]
    return [pairs[i] for i in rng.permutation(len(pairs))]


NEXT = """\
def next_sentence_pairs(parts, seed):
    order = np.random.default_rng(seed).permutation(len(parts))
    swapped, kept = order[: len(parts) // 2], order[len(parts) // 2 :]
    pairs = [(parts[i][0], parts[j][1], 0) for i, j in zip(swapped, np.roll(swapped, 1))]
    return pairs + [(*parts[i], 1) for i in kept]
"""
for why, before, after in (
    ("another result at each call, whatever the seed", "default_rng(seed)", "default_rng()"),
    ("the same result for every seed", "default_rng(seed)", "default_rng(0)"),
    ("the larger half swaps", "len(parts) // 2", "-(-len(parts) // 2)"),
    ("a third swaps", "len(parts) // 2", "len(parts) // 3"),
    ("words instead of 1 and 0", "1], 0) ", "1], 'no') "),
    ("pairs without labels", "(parts[i][0], parts[j][1], 0)", "(parts[i][0], parts[j][1])"),
    ("shuffles the caller's list", "    order", "    np.random.default_rng(seed).shuffle(parts)\n    order"),
    ("swapped with a text that keeps its own", "np.roll(swapped, 1)", "kept"),
    ("everything keeps its part", "zip(swapped, np.roll(swapped, 1))", "zip(swapped, swapped)"),
    ("first and second exchanged", "(parts[i][0], parts[j][1], 0)", "(parts[j][1], parts[i][0], 0)"),
):
    wrong.cell("next_sentence_pairs", why, NEXT.replace(before, after))


@wrong("next_sentence_pairs", "in a dict, where texts that begin alike get lost")
def in_a_dict(parts, seed):
    rng, second = np.random.default_rng(seed), dict(parts)
    order = [list(second)[i] for i in rng.permutation(len(second))]
    swapped = order[: len(order) // 2]
    partner = dict(zip(swapped, swapped[1:] + swapped[:1]))
    return [(first, second[partner.get(first, first)], int(first not in partner)) for first in order]


@wrong("next_sentence_pairs", "calls the library's function")
def by_pairs_of_library(parts, seed):
    texts = [f"{first} and so on {second} and so on" for first, second in parts]
    return [(a, b, c) for a, b, c in data.sentence_pairs(texts, seed=seed)]


@right("next_sentence_pairs", "with Python's own random numbers, seeded for the whole program")
def with_random(parts, seed):
    import random
    random.seed(seed)
    places = list(range(len(parts)))
    random.shuffle(places)
    swapped = places[len(parts) - len(parts) // 2 :]
    result = [(a, b, True) for a, b in (parts[i] for i in places[: len(parts) - len(parts) // 2])]
    for number, i in enumerate(swapped):
        result.append((parts[i][0], parts[swapped[number - 1]][1], False))
    return tuple(result)


@right("next_sentence_pairs", "pairs that swap with torch, the original order, extended tuples")
def in_order(parts, seed):
    generator = torch.Generator().manual_seed(seed)
    swapped = torch.randperm(len(parts), generator=generator)[: len(parts) // 2].tolist()
    result = [pair + (1,) for pair in parts]
    for i, j in zip(swapped, swapped[1:] + swapped[:1]):
        result[i] = (parts[i][0], parts[j][1], 0)
    return result


# -- the trained model -------------------------------------------------------------------------------------------------

NAME = "pretrained-cpu.safetensors"


def changed(trained, change, card_change=None):
    """The trained artifact with its tensors (and card) changed by a function."""
    from leaplm import artifacts
    from safetensors.torch import save

    card, tensors = artifacts.read_artifact(trained[NAME])
    card = (card_change or dict)(card)
    return {NAME: save(change(tensors), metadata={artifacts.CARD: json.dumps(card)})}


@wrong.artifact("pretrained", "cut off half way")
def cut_off(trained):
    return {NAME: trained[NAME][: len(trained[NAME]) // 2]}


@wrong.artifact("pretrained", "weights as before training")
def untrained(trained):
    import torch

    return changed(trained, lambda tensors: {name: (torch.randn(t.shape) * 0.02).to(t.dtype) for name, t in tensors.items()})


@wrong.artifact("pretrained", "no vocabulary in the card")
def without_vocabulary(trained):
    return changed(trained, dict, lambda card: {key: value for key, value in card.items() if key != "vocabulary"})


@wrong.artifact("pretrained", "a vocabulary that knows no letter: every word is [UNK] and easy to guess")
def only_unknown(trained):
    def strange(card):
        pieces = card["vocabulary"]
        return {**card, "vocabulary": pieces[:5] + [f"\u2603{i}" for i in range(len(pieces) - 5)]}

    return changed(trained, dict, strange)


@wrong.artifact("pretrained", "one weight is not a number")
def not_a_number(trained):
    def spoil(tensors):
        name = next(iter(tensors))
        tensors[name].view(-1)[0] = float("nan")
        return tensors

    return changed(trained, spoil)


@wrong.artifact("pretrained", "a language that the course has no texts of")
def other_language(trained):
    return changed(trained, dict, lambda card: {**card, "language": "tlh"})


@wrong.artifact("pretrained", "a shape no computer holds")
def huge(trained):
    return changed(trained, dict, lambda card: {**card, "layers": 10**6, "width": 10**6})


@right.artifact("pretrained", "as the solution saves it")
def as_saved(trained):
    return trained


@right.artifact("pretrained", "the same weights as 32-bit numbers")
def in_32_bit(trained):
    return changed(trained, lambda tensors: {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})


@right.artifact("pretrained", "the tensors in another order, from a GPU")
def reordered(trained):
    files = changed(trained, lambda tensors: dict(reversed(tensors.items())))
    return {"pretrained-gpu.safetensors": files[NAME]}


@right.artifact("pretrained", "with a note in the card, and the file of another scale beside it")
def with_a_note(trained):
    files = changed(trained, dict, lambda card: {**card, "note": "trained in Kano, ƙasa"})
    return {**files, "pretrained-tiny.safetensors": b"not read"}
