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


@wrong("mask_tokens", "chooses special tokens too")
def special_too(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    return mask_tokens(input_ids, torch.zeros_like(special_tokens_mask), mask_token_id, vocab_size, mask_rate)


@wrong("mask_tokens", "always [MASK]")
def always_mask(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    chosen = (torch.rand(input_ids.shape) < mask_rate) & ~special_tokens_mask.bool()
    return torch.where(chosen, mask_token_id, input_ids), torch.where(chosen, input_ids, -100)


@wrong("mask_tokens", "labels every token")
def labels_everywhere(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    inputs, _ = masking.mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate)
    return inputs, input_ids.clone()


@wrong("mask_tokens", "labels from the ids after masking")
def labels_after_masking(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    inputs, labels = masking.mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate)
    return inputs, torch.where(labels != -100, inputs, -100)


@wrong("mask_tokens", "the rate is always 15 %")
def fixed_rate(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate=0.15):
    return masking.mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, 0.15)


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


@right("masked_lm_loss", "flattened first, returns a float when nothing is hidden")
def flattened(hidden, labels, head):
    flat = labels.reshape(-1)
    index = (flat != -100).nonzero().squeeze(1)
    if index.numel() == 0:
        return 0.0
    return nn.functional.cross_entropy(head(hidden.reshape(-1, hidden.shape[-1])[index]), flat[index])


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


# -- group_texts -------------------------------------------------------------------------------------------------------


@wrong("group_texts", "drops the last block")
def drops_the_rest(rows, block_size, cls_id):
    blocks = pretrain.group_texts(rows, block_size, (cls_id, 2))
    return [block for block in blocks if len(block["input_ids"]) == block_size]


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


@wrong("pseudo_perplexity", "the loss, without exp")
def without_exp(model, input_ids, mask_token_id):
    return float(np.log(pseudo_perplexity(model, input_ids, mask_token_id)))


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
