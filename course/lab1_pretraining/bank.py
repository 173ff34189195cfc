"""Bank of lab 1: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, nn, np, ...).
"""

import json

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905, B006


def variants(bank, check, template, usual, others):
    """One entry a variant: the template with some parts of `usual` replaced."""
    for why, part in others.items():
        bank.cell(check, why, template.format(**{**usual, **part}))


# -- mask_tokens -------------------------------------------------------------------------------------------------------


@wrong("mask_tokens", "72/10/18: a second throw among the rest, with 0.1 of all")
def second_throw_010(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    chosen = (torch.rand(input_ids.shape, generator=generator) < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(chosen, input_ids, -100)
    masked = chosen & (torch.rand(input_ids.shape, generator=generator) < 0.8)
    inputs = torch.where(masked, mask_token_id, input_ids)
    random = chosen & (torch.rand(input_ids.shape, generator=generator) < 0.1)
    return torch.where(random, torch.randint(vocab_size, input_ids.shape, generator=generator), inputs), labels


@wrong("mask_tokens", "80/2/18: a tenth of the remaining fifth")
def tenth_of_the_rest(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    chosen = (torch.rand(input_ids.shape, generator=generator) < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(chosen, input_ids, -100)
    masked = chosen & (torch.rand(input_ids.shape, generator=generator) < 0.8)
    random = chosen & ~masked & (torch.rand(input_ids.shape, generator=generator) < 0.1)
    inputs = torch.where(masked, mask_token_id, input_ids)
    return torch.where(random, torch.randint(vocab_size, input_ids.shape, generator=generator), inputs), labels


@wrong("mask_tokens", "puts random tokens at places that are not chosen")
def corrupts_the_rest(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    chosen = (torch.rand(input_ids.shape, generator=generator) < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(chosen, input_ids, -100)
    dice = torch.rand(input_ids.shape, generator=generator)
    inputs = torch.where(chosen & (dice < 0.8), mask_token_id, input_ids)
    random = (dice >= 0.8) & (dice < 0.9) & ~special_tokens_mask.bool()
    return torch.where(random, torch.randint(vocab_size, input_ids.shape, generator=generator), inputs), labels


wrong.cell("mask_tokens", "chooses special tokens too", """\
solved = mask_tokens

def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    return solved(input_ids, torch.zeros_like(special_tokens_mask), mask_token_id, vocab_size, mask_rate, generator)
""")


@wrong("mask_tokens", "always [MASK]")
def always_mask(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    chosen = (torch.rand(input_ids.shape, generator=generator) < mask_rate) & ~special_tokens_mask.bool()
    return torch.where(chosen, mask_token_id, input_ids), torch.where(chosen, input_ids, -100)


wrong.cell("mask_tokens", "labels every token", """\
solved = mask_tokens

def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    return solved(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator)[0], input_ids.clone()
""")


wrong.cell("mask_tokens", "labels from the ids after masking", """\
solved = mask_tokens

def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    inputs, labels = solved(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator)
    return inputs, torch.where(labels != -100, inputs, -100)
""")


wrong.cell("mask_tokens", "the rate is always 15 %", """\
solved = mask_tokens

def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    return solved(input_ids, special_tokens_mask, mask_token_id, vocab_size, 0.15, generator)
""")


@wrong("mask_tokens", "one random token for the whole batch")
def one_random_token(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    chosen = (torch.rand(input_ids.shape, generator=generator) < mask_rate) & ~special_tokens_mask.bool()
    dice = torch.rand(input_ids.shape, generator=generator)
    inputs = torch.where(chosen & (dice < 0.8), mask_token_id, input_ids)
    inputs = torch.where(chosen & (dice >= 0.9), int(torch.randint(vocab_size, (), generator=generator)), inputs)
    return inputs, torch.where(chosen, input_ids, -100)


@right("mask_tokens", "half of the remaining fifth")
def half_of_the_rest(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    chosen = (torch.rand(input_ids.shape, generator=generator) < mask_rate) & (special_tokens_mask == 0)
    inputs, labels = input_ids.clone(), input_ids.clone()
    labels[~chosen] = -100
    masked = chosen & (torch.rand(input_ids.shape, generator=generator) < 0.8)
    inputs[masked] = mask_token_id
    random = chosen & ~masked & (torch.rand(input_ids.shape, generator=generator) < 0.5)
    inputs[random] = torch.randint(vocab_size, (int(random.sum()),), generator=generator)
    return inputs, labels


@right("mask_tokens", "with torch.bernoulli, as transformers does")
def with_bernoulli(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    rates = torch.full(input_ids.shape, mask_rate).masked_fill(special_tokens_mask.bool(), 0.0)
    chosen = torch.bernoulli(rates, generator=generator).bool()
    labels = input_ids.masked_fill(~chosen, -100)
    replaced = torch.bernoulli(torch.full(input_ids.shape, 0.8), generator=generator).bool() & chosen
    inputs = input_ids.masked_fill(replaced, mask_token_id)
    random = torch.bernoulli(torch.full(input_ids.shape, 0.5), generator=generator).bool() & chosen & ~replaced
    words = torch.randint(vocab_size, input_ids.shape, generator=generator)
    inputs[random] = words[random]
    return inputs, labels


@wrong("mask_tokens", "overwrites the caller's ids")
def overwrites(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    chosen = (torch.rand(input_ids.shape, generator=generator) < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(chosen, input_ids, -100)
    dice = torch.rand(input_ids.shape, generator=generator)
    input_ids[chosen & (dice < 0.8)] = mask_token_id
    random = chosen & (dice >= 0.9)
    input_ids[random] = torch.randint(vocab_size, input_ids.shape, generator=generator)[random]
    return input_ids, labels


wrong.cell("mask_tokens", "the same mask at every call: a seed inside", """\
solved = mask_tokens

def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    generator = torch.Generator().manual_seed(42)
    return solved(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator)
""")

MASKING = """\
def mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    throw = torch.rand(input_ids.shape, generator=generator)
    chosen = (throw < mask_rate) & ~special_tokens_mask.bool()
    labels = torch.where(chosen, input_ids, -100)
    dice = torch.rand(input_ids.shape, generator=generator)
    inputs = torch.where(chosen & (dice < 0.8), mask_token_id, input_ids)
    words = torch.randint(vocab_size, input_ids.shape, generator=generator)
    inputs = torch.where(chosen & (dice >= 0.8) & (dice < 0.9), words, inputs)
    return inputs, labels
"""
for why, before, after in (
    ("the random ids from the program's own random numbers",
     "torch.randint(vocab_size, input_ids.shape, generator=generator)",
     "torch.randint(vocab_size, input_ids.shape)"),
    ("the generator is not used at all", ", generator=generator", ""),
    ("the program is seeded inside", "    throw", "    torch.manual_seed(generator.initial_seed())\n    throw"),
    ("all generators are one: its seed is taken again", "    throw",
     "    generator = torch.Generator().manual_seed(0)\n    throw"),
    ("ids up to vocab_size itself", "randint(vocab_size,", "randint(vocab_size + 1,"),
    ("the last id never comes", "randint(vocab_size,", "randint(vocab_size - 1,"),
    ("id 0 never comes", "randint(vocab_size,", "randint(1, vocab_size,"),
    ("random ids out of the batch", "torch.randint(vocab_size, input_ids.shape, generator=generator)",
     "input_ids.flatten()[torch.randperm(input_ids.numel(), generator=generator)].view(input_ids.shape)"),
    ("labels as 32-bit numbers with a fraction", "-100)", "-100).float()"),
    ("labels that the loss refuses: 32-bit whole numbers", "-100)", "-100).int()"),
    ("lists instead of tensors", "return inputs, labels", "return inputs.tolist(), labels.tolist()"),
    ("the same places in every text of the batch", "throw = torch.rand(input_ids.shape, generator=generator)",
     "throw = torch.rand(input_ids.shape[1], generator=generator)"),
    ("the second throw is one for a whole text", "dice = torch.rand(input_ids.shape, generator=generator)",
     "dice = torch.rand(len(input_ids), 1, generator=generator)"),
    ("token 0 is lost from the labels", "labels = torch.where(chosen, input_ids, -100)",
     "labels = input_ids * chosen\n    labels[labels == 0] = -100"),
    ("labels first, then inputs", "return inputs, labels", "return labels, inputs"),
    ("10 % random ids are [MASK] too", "words, inputs)", "mask_token_id, inputs)"),
    ("the rate is a little too large", "< mask_rate)", "< 1.1 * mask_rate)"),
    ("a generator of its own, with the seed of the one that is given", "    throw",
     "    generator = torch.Generator().manual_seed(generator.initial_seed())\n    throw"),
    ("a seed fixed inside for the choice", "throw = torch.rand(input_ids.shape, generator=generator)",
     "throw = torch.rand(input_ids.shape, generator=torch.Generator().manual_seed(42))"),
    ("a seed fixed inside for the second throw", "dice = torch.rand(input_ids.shape, generator=generator)",
     "dice = torch.rand(input_ids.shape, generator=torch.Generator().manual_seed(42))"),
    ("a seed fixed inside for the random ids", "torch.randint(vocab_size, input_ids.shape, generator=generator)",
     "torch.randint(vocab_size, input_ids.shape, generator=torch.Generator().manual_seed(42))"),
    ("labels where [MASK] stands alone", "return inputs, labels",
     "return inputs, torch.where(inputs == mask_token_id, labels, -100)"),
):
    wrong.cell("mask_tokens", why, MASKING.replace(before, after))


@wrong("mask_tokens", "exactly the first 80 % of the chosen places")
def first_eighty(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    chosen = (torch.rand(input_ids.shape, generator=generator) < mask_rate) & (special_tokens_mask == 0)
    labels, inputs = input_ids.masked_fill(~chosen, -100), input_ids.clone()
    rows, columns = chosen.nonzero(as_tuple=True)
    most, more = int(0.8 * len(rows)), int(0.9 * len(rows))
    inputs[rows[:most], columns[:most]] = mask_token_id
    inputs[rows[most:more], columns[most:more]] = torch.randint(vocab_size, (more - most,), generator=generator)
    return inputs, labels


@wrong("mask_tokens", "calls the library's function by another name")
def librarys(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    import importlib
    hide = vars(importlib.import_module("leaplm.pretraining.masking"))["mask" + "_tokens"]
    return hide(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator)


@right("mask_tokens", "with NumPy's random numbers, seeded by the generator")
def numpys_dice(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    ids, special = input_ids.numpy(), special_tokens_mask.numpy().astype(bool)
    dice = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
    chosen = (dice.random(ids.shape) < mask_rate) & ~special
    kind = dice.choice(3, p=[0.8, 0.1, 0.1], size=ids.shape)
    inputs = np.where(chosen & (kind == 0), mask_token_id, ids)
    inputs = np.where(chosen & (kind == 1), dice.integers(0, vocab_size, size=ids.shape), inputs)
    return torch.from_numpy(inputs), torch.from_numpy(np.where(chosen, ids, -100))


@right("mask_tokens", "one throw that decides all, and a list of the two")
def one_throw(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    inputs, labels = input_ids.clone(), torch.full_like(input_ids, -100)
    dice = torch.rand(input_ids.shape, generator=generator) / max(mask_rate, 1e-9)
    dice = dice.masked_fill(special_tokens_mask.bool(), 2.0)
    labels[dice < 1] = input_ids[dice < 1]
    inputs[dice < 0.8] = mask_token_id
    random = (dice >= 0.8) & (dice < 0.9)
    inputs[random] = torch.randint(0, vocab_size, inputs.shape, generator=generator)[random]
    return [inputs, labels]


@right("mask_tokens", "token by token")
def token_by_token(input_ids, special_tokens_mask, mask_token_id, vocab_size, mask_rate, generator):
    inputs, labels = input_ids.tolist(), [[-100] * input_ids.shape[1] for _ in input_ids]
    throws, dice = torch.rand(2, *input_ids.shape, generator=generator).tolist()
    for i, row in enumerate(special_tokens_mask.tolist()):
        for j, special in enumerate(row):
            if special or throws[i][j] >= mask_rate:
                continue
            labels[i][j] = inputs[i][j]
            if dice[i][j] < 0.8:
                inputs[i][j] = mask_token_id
            elif dice[i][j] < 0.9:
                inputs[i][j] = int(torch.randint(vocab_size, (1,), generator=generator))
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


@right("masked_lm_loss", "a whole 0 when nothing is hidden")
def whole_zero(hidden, labels, head):
    hole = labels != -100
    return nn.functional.cross_entropy(head(hidden[hole]), labels[hole]) if hole.any() else torch.tensor(0)


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


# -- pack_blocks -------------------------------------------------------------------------------------------------------

PACK = """
def pack_blocks(rows, block_size, cls_id, pad_id):
    {line}
    width = {width}
    parts = [{part} for i in range(0, {end}, width)]
    {kept}
    input_ids = torch.full((len(parts), {size}), {fill})
    attention_mask = torch.zeros_like(input_ids)
    for number, part in enumerate(parts):
        input_ids[number, : len(part)] = torch.tensor(part)
        attention_mask[number, : len(part)] = 1
    {last}
    return {result}
"""
USUAL = {"line": 'line = [token for row in rows for token in row["input_ids"][1:]]', "width": "block_size - 1",
         "part": "[cls_id, *line[i : i + width]]", "end": "len(line)", "kept": "pass", "size": "block_size",
         "fill": "pad_id", "last": "pass", "result": '{"input_ids": input_ids, "attention_mask": attention_mask}'}
variants(wrong, "pack_blocks", PACK, USUAL, {
    "drops the last block": {"kept": "parts = [part for part in parts if len(part) == block_size]"},
    "blocks one token too long": {"width": "block_size", "size": "block_size + 1"},
    "keeps each text's [CLS]": {"line": 'line = [token for row in rows for token in row["input_ids"]]'},
    "drops [SEP] too": {"line": 'line = [token for row in rows for token in row["input_ids"][1:-1]]'},
    "no [CLS] at all": {"width": "block_size", "part": "line[i : i + width]"},
    "drops every token with the number of [CLS]": {
        "line": 'line = [token for row in rows for token in row["input_ids"] if token != cls_id]'},
    "takes the number of [CLS] to be 1": {"part": "[1, *line[i : i + width]]"},
    "takes the number of the padding to be 0": {"fill": "0"},
    "an empty block at the end, when the line fits exactly": {"end": "len(line) + 1"},
    "the mask is 0 at every token with the number of the padding": {"last": "attention_mask = (input_ids != pad_id).long()"},
    "the mask is 1 everywhere": {"last": "attention_mask = torch.ones_like(input_ids)"},
    "the mask the wrong way round": {"last": "attention_mask = 1 - attention_mask"},
    "the last block at the right edge": {
        "last": "input_ids[-1], attention_mask[-1] = input_ids[-1].flip(0), attention_mask[-1].flip(0)"},
    "takes the first token out of the caller's rows": {
        "line": 'line = [token for row in rows if row["input_ids"].pop(0) is not None for token in row["input_ids"]]'},
    "a pair instead of a dict": {"result": "(input_ids, attention_mask)"},
    "lists instead of tensors": {
        "result": '{"input_ids": input_ids.tolist(), "attention_mask": attention_mask.tolist()}'},
    "ids with a fraction, which no embedding takes": {
        "result": '{"input_ids": input_ids.float(), "attention_mask": attention_mask}'},
    "without a mask": {"result": '{"input_ids": input_ids}'},
    "the mask of True and False": {"last": "attention_mask = attention_mask.bool()"},
    "the mask in bytes": {"last": "attention_mask = attention_mask.to(torch.uint8)"},
    "both in int32": {"last": "input_ids, attention_mask = input_ids.int(), attention_mask.int()"},
    "calls the library's function": {
        "last": "from leaplm import data", "result": 'data.DynamicPaddingCollator(pad_id)(data.group_texts('
        'rows, block_size, (cls_id, 2)))'},
})


@wrong("pack_blocks", "cuts each text by itself")
def text_by_text(rows, block_size, cls_id, pad_id):
    width = block_size - 1
    parts = [[cls_id, *row["input_ids"][1:][i : i + width]]
             for row in rows for i in range(0, len(row["input_ids"]) - 1, width)]
    ids = torch.tensor([part + [pad_id] * (block_size - len(part)) for part in parts])
    mask = torch.tensor([[1] * len(part) + [0] * (block_size - len(part)) for part in parts])
    return {"input_ids": ids, "attention_mask": mask}


@wrong("pack_blocks", "keeps the line between two calls")
def keeps_line(rows, block_size, cls_id, pad_id, line=[]):
    line += [token for row in rows for token in row["input_ids"][1:]]
    blocks = [[cls_id, *line[i : i + block_size - 1]] for i in range(0, len(line), block_size - 1)]
    ids = torch.tensor([block + [pad_id] * (block_size - len(block)) for block in blocks])
    mask = torch.tensor([[1] * len(block) + [0] * (block_size - len(block)) for block in blocks])
    return {"input_ids": ids, "attention_mask": mask}


variants(right, "pack_blocks", PACK, USUAL, {
    "the mask from the lengths": {
        "last": "attention_mask = (torch.arange(block_size) < torch.tensor([[len(part)] for part in parts])).long()"},
    "more in the dict": {
        "result": '{"attention_mask": attention_mask, "input_ids": input_ids, "blocks": len(parts)}'},
})


@right("pack_blocks", "a loop that fills blocks")
def filling(rows, block_size, cls_id, pad_id):
    blocks = [[cls_id]]
    for row in rows:
        for token in row["input_ids"][1:]:
            if len(blocks[-1]) == block_size:
                blocks.append([cls_id])
            blocks[-1].append(token)
    masks = [[1] * len(block) for block in blocks]
    missing = block_size - len(blocks[-1])
    blocks[-1] += [pad_id] * missing
    masks[-1] += [0] * missing
    return {"input_ids": torch.tensor(blocks), "attention_mask": torch.tensor(masks)}


@right("pack_blocks", "the line filled up, then a table")
def as_table(rows, block_size, cls_id, pad_id):
    line = torch.cat([torch.tensor(row["input_ids"][1:]) for row in rows])
    there = torch.ones_like(line)
    short = -len(line) % (block_size - 1)
    ids, mask = (nn.functional.pad(part, (0, short), value=value).view(-1, block_size - 1)
                 for part, value in ((line, pad_id), (there, 0)))
    first = torch.full((len(ids), 1), cls_id)
    return {"input_ids": torch.cat([first, ids], dim=1), "attention_mask": torch.cat([torch.ones_like(first), mask], dim=1)}


@right("pack_blocks", "with pad_sequence and NumPy")
def by_pad_sequence(rows, block_size, cls_id, pad_id):
    line = np.concatenate([row["input_ids"][1:] for row in rows]).astype(np.int64)
    cuts = np.split(line, range(block_size - 1, len(line), block_size - 1))
    parts = [torch.from_numpy(np.insert(cut, 0, cls_id)) for cut in cuts]
    longest = torch.zeros(block_size, dtype=torch.int64)
    ids = nn.utils.rnn.pad_sequence([*parts, longest], batch_first=True, padding_value=pad_id)[:-1]
    mask = torch.arange(block_size) < torch.tensor([len(part) for part in parts]).unsqueeze(1)
    return {"input_ids": ids, "attention_mask": mask.to(torch.int64)}


# -- evaluate_masked ---------------------------------------------------------------------------------------------------

EVALUATE = """
def evaluate_masked(model, masked, log_p, batch_size=32):
    labels, was_training = masked["labels"], model.training
    total, count = 0.0, 0
    {mode}
    with {grad}:
        for start in range({first}, {end}, batch_size):
            batch = {{name: tensor[start : start + batch_size] for name, tensor in masked.items()}}
            vectors = model.bert(batch["input_ids"], {attend}).last_hidden_state
            {inside}
            hidden = {hidden}
            total += {loss}
            count += {counted}
    {after}
    {guess}
    return {result}
"""
USUAL = {"mode": "model.eval()", "grad": "torch.no_grad()", "first": "0", "end": "len(labels)",
         "attend": 'attention_mask=batch["attention_mask"]', "inside": "pass",
         "hidden": 'int((batch["labels"] != -100).sum())', "counted": "hidden", "after": "model.train(was_training)",
         "loss": 'masked_lm_loss(vectors, batch["labels"], model.cls).item() * hidden',
         "guess": "guess = log_p[labels[labels != -100]]",
         "result": '{"loss": total / count, "unigram": float(-guess.mean())}'}
variants(wrong, "evaluate_masked", EVALUATE, USUAL, {
    "a mean of the batches' means": {
        "loss": 'masked_lm_loss(vectors, batch["labels"], model.cls).item()', "counted": "1"},
    "a mean of the batches' means, those with hidden tokens": {
        "loss": 'masked_lm_loss(vectors, batch["labels"], model.cls).item()', "counted": "(hidden > 0)"},
    "weighs a batch by its blocks": {"hidden": 'len(batch["labels"])'},
    "weighs a batch by all its tokens": {"hidden": 'batch["labels"].numel()'},
    "weighs a batch by what is no padding": {"hidden": 'int(batch["attention_mask"].sum())'},
    "leaves out the last batch": {"end": "len(labels) // batch_size * batch_size"},
    "leaves out the first batch": {"first": "batch_size"},
    "the first batch alone": {"end": "min(batch_size, len(labels))"},
    "training mode": {"mode": "pass"},
    "evaluation mode for ever": {"after": "pass"},
    "training mode afterwards, whatever it was": {"after": "model.train()"},
    "gradients on": {"grad": "torch.enable_grad()"},
    "without the attention mask": {"attend": "attention_mask=None"},
    "all blocks at once": {"first": "0", "end": "1", "inside": "batch = masked; vectors = model.bert("
                           'batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state'},
    "masks the tokens again": {"inside": 'batch["labels"] = batch["labels"].roll(1, 1)'},
    "overwrites the labels": {"guess": "labels[labels == -100] = 0; guess = log_p[labels]"},
    "the frequencies at all tokens": {"guess": 'guess = log_p[masked["input_ids"]]'},
    "the frequencies at what stands there after masking": {"guess": 'guess = log_p[masked["input_ids"][labels != -100]]'},
    "the frequencies of each kind of token once": {"guess": "guess = log_p[labels[labels != -100].unique()]"},
    "the frequencies at -100, which is a place from the end": {"guess": "guess = log_p[labels.clamp(min=-1)]"},
    "takes token 0 for 'not hidden'": {"guess": "guess = log_p[labels[labels > 0]]"},
    "the entropy of the frequencies themselves": {"guess": "guess = (log_p.exp() * log_p).sum()"},
    "the logarithm of the mean": {"guess": "guess = log_p[labels[labels != -100]].exp().mean().log()"},
    "the sign of the frequencies": {"result": '{"loss": total / count, "unigram": float(guess.mean())}'},
    "another batch size where none is given": {"mode": "model.eval(); batch_size = 8 if batch_size == 32 else batch_size"},
    "in bits": {"result": '{"loss": total / count / np.log(2), "unigram": float(-guess.mean()) / np.log(2)}'},
    "perplexities": {"result": '{"loss": np.exp(total / count), "unigram": float((-guess.mean()).exp())}'},
    "the sum": {"result": '{"loss": total, "unigram": float(-guess.sum())}'},
    "the first loss of each shape for ever": {
        "result": '{"loss": evaluate_masked.__dict__.setdefault("kept", {}).setdefault(labels.shape, total / count), '
                  '"unigram": float(-guess.mean())}'},
    "the first unigram for ever": {
        "guess": "guess = evaluate_masked.__dict__.setdefault('kept', log_p[labels[labels != -100]])"},
    "the loss alone": {"result": "total / count"},
    "a pair": {"result": "(total / count, float(-guess.mean()))"},
    "a loss that holds the graph": {
        "grad": "torch.enable_grad()", "loss": 'masked_lm_loss(vectors, batch["labels"], model.cls) * hidden'},
    "calls the library's function": {
        "result": 'vars(__import__("leaplm.pretraining.loop").pretraining.loop)["evaluate" + "_masked"]('
                  "model, masked, log_p, batch_size)"},
})
variants(right, "evaluate_masked", EVALUATE, USUAL, {
    "a decorated block": {"grad": "torch.inference_mode()"},
    "a copy of the model": {"mode": "import copy; model = copy.deepcopy(model).eval()", "after": "pass"},
    "the sum of the batch's losses": {
        "loss": 'nn.functional.cross_entropy(model.cls(vectors).flatten(0, 1), batch["labels"].flatten(), reduction="sum")',
        "result": '{"loss": float(total) / count, "unigram": -guess.double().mean()}'},
    "by gather": {"guess": 'guess = log_p.gather(0, labels[labels.ne(-100)])', "result":
                  '{"unigram": -guess.sum().item() / len(guess), "loss": total / max(1, count)}'},
    "frequencies in the loop": {
        "inside": 'guesses = [] if start == 0 else guesses; guesses.append(log_p[batch["labels"][batch["labels"] >= 0]])',
        "guess": "guess = torch.cat(guesses)"},
})


@right("evaluate_masked", "split in parts, the model's own loss")
def split_in_parts(model, masked, log_p, batch_size=32):
    before = model.training
    model.train(False)
    sums = torch.zeros(2, dtype=torch.float64)
    parts = zip(*(masked[name].split(batch_size) for name in ("input_ids", "attention_mask", "labels")))
    with torch.no_grad():
        for ids, mask, labels in parts:
            hidden = (labels != -100).sum()
            sums += torch.stack([model(input_ids=ids, attention_mask=mask, labels=labels).loss * hidden, hidden])
    model.train(before)
    every = masked["labels"].flatten()
    return {"loss": sums[0] / sums[1], "unigram": nn.functional.nll_loss(log_p.expand(len(every), -1), every)}


# -- pretrain ----------------------------------------------------------------------------------------------------------

LOOP = """
def pretrain(model, batch_of, evaluate, settings, checkpoint):
    blocks, updates, size, warmup = (settings[name] for name in ("blocks", "updates", "batch_size", "warmup"))
    optimizer = {optimizer}
    history, losses = [], []
    state = {found}
    if {usable}:
        {restored}
        history = {kept_rows}
    done = {done}
    batches = {batches}
    {begin}
    for update in range(done + {first}, {end}):
        epoch, number = divmod(update - 1, batches)
        order = torch.randperm(blocks, generator=torch.Generator().manual_seed({seed}))
        batch = batch_of({places}, {number})
        factor = {factor}
        {rate}
        {mode}
        vectors = model.bert(batch["input_ids"], {attend}).last_hidden_state
        loss = {loss}
        {clear}
        loss.backward()
        {clip}
        {step}
        {after}
        losses.append({kept})
        if {now}:
            {row}
            {forget}
            {save}
    {remove}
    {last}
    return {result}
"""
USUAL = {
    "optimizer": 'torch.optim.AdamW(model.parameters(), lr=settings["rate"])',
    "found": "torch.load(checkpoint) if checkpoint.exists() else {}", "usable": 'state.get("settings") == settings',
    "restored": 'model.load_state_dict(state["model"]); optimizer.load_state_dict(state["optimizer"])',
    "kept_rows": 'state["history"]', "done": 'history[-1]["step"] if history else 0', "batches": "-(-blocks // size)",
    "begin": "pass", "first": "1", "end": "updates + 1", "seed": 'settings["seed"] + epoch',
    "places": "order[number * size : (number + 1) * size]", "number": "update",
    "factor": "update / warmup if update < warmup else (updates + 1 - update) / (updates + 1 - warmup)",
    "rate": 'optimizer.param_groups[0]["lr"] = settings["rate"] * factor', "mode": "model.train()",
    "attend": 'attention_mask=batch["attention_mask"]',
    "loss": 'masked_lm_loss(vectors, batch["labels"], model.cls)', "clear": "optimizer.zero_grad()",
    "clip": "nn.utils.clip_grad_norm_(model.parameters(), 1.0)", "step": "optimizer.step()", "after": "pass",
    "kept": "loss.item()", "now": 'update % settings["every"] == 0 or update == updates',
    "row": 'history.append({"step": update, "train_loss": sum(losses) / len(losses), **evaluate(model)})',
    "forget": "losses = []",
    "save": 'torch.save({"settings": settings, "model": model.state_dict(), "optimizer": optimizer.state_dict(), '
            '"history": history}, checkpoint.with_suffix(".new")); checkpoint.with_suffix(".new").replace(checkpoint)',
    "remove": "checkpoint.unlink(missing_ok=True)", "last": "model.eval()", "result": "history",
}
SAVED = 'torch.save({{"settings": settings, {what}"history": history}}, checkpoint.with_suffix(".new")); ' \
        'checkpoint.with_suffix(".new").replace(checkpoint)'
variants(wrong, "pretrain", LOOP, USUAL, {
    "forgets zero_grad": {"clear": "pass"},
    "zero_grad behind the update: an earlier training's gradients count": {
        "clear": "pass", "after": "optimizer.zero_grad()"},
    "zero_grad between backward and step": {"clear": "pass", "clip": "optimizer.zero_grad()"},
    "no clipping": {"clip": "pass"},
    "clips each number": {"clip": "nn.utils.clip_grad_value_(model.parameters(), 1.0)"},
    "clips before backward": {
        "clear": "optimizer.zero_grad(); nn.utils.clip_grad_norm_(model.parameters(), 1.0)", "clip": "pass"},
    "clips the head alone": {"clip": "nn.utils.clip_grad_norm_(model.cls.parameters(), 1.0)"},
    "scales every gradient to norm 1, small ones too": {
        "clip": "norm = nn.utils.clip_grad_norm_(model.parameters(), float('inf'));\n"
                "        [weight.grad.div_(norm + 1e-9) for weight in model.parameters()]"},
    "clips behind the update": {"clip": "pass", "after": "nn.utils.clip_grad_norm_(model.parameters(), 1.0)"},
    "the rate stays": {"rate": "pass"},
    "no warm-up": {"factor": "(updates + 1 - update) / (updates + 1)"},
    "warm-up, then the whole rate": {"factor": "min(1.0, update / max(1, warmup))"},
    "the rate one update late: the first trains nothing": {
        "factor": "(update - 1) / warmup if update - 1 < warmup else (updates + 2 - update) / (updates + 1 - warmup)"},
    "the last update has the rate 0": {
        "factor": "update / warmup if update < warmup else (updates - update) / (updates - warmup)"},
    "the factors multiply from update to update": {"rate": 'optimizer.param_groups[0]["lr"] *= factor'},
    "SGD": {"optimizer": 'torch.optim.SGD(model.parameters(), lr=settings["rate"])'},
    "Adam, without weight decay": {"optimizer": 'torch.optim.Adam(model.parameters(), lr=settings["rate"])'},
    "the head alone learns": {"optimizer": 'torch.optim.AdamW(model.cls.parameters(), lr=settings["rate"])'},
    "evaluation mode": {"mode": "model.eval()"},
    "training mode once: evaluate switches it off": {"begin": "model.train()", "mode": "pass"},
    "training mode at the end": {"last": "model.train()"},
    "the last small batch is left out": {"batches": "blocks // size"},
    "the same order in each epoch": {"seed": 'settings["seed"]'},
    "an order for each update": {"seed": 'settings["seed"] + update'},
    "the blocks in their own order": {"places": "torch.arange(blocks)[number * size : (number + 1) * size]"},
    "the same masks in each epoch": {"number": "number + 1"},
    "the same masks always": {"number": "1"},
    "updates counted from 0": {"number": "update - 1"},
    "one update too few": {"end": "updates"},
    "one update too many": {"end": "updates + 2", "now": 'update % settings["every"] == 0 or update == updates + 1'},
    "a sum over the hidden tokens": {
        "loss": 'masked_lm_loss(vectors, batch["labels"], model.cls) * (batch["labels"] != -100).sum()'},
    "without the attention mask": {"attend": "attention_mask=None"},
    "scores all tokens": {
        "loss": 'nn.functional.cross_entropy(model.cls(vectors).flatten(0, 1), batch["input_ids"].flatten())'},
    "no row at the end": {"now": 'update % settings["every"] == 0'},
    "a row at the end alone": {"now": "update == updates"},
    "a row for each update": {"now": "True"},
    "the last loss instead of the mean": {
        "row": 'history.append({"step": update, "train_loss": losses[-1], **evaluate(model)})'},
    "the mean since the beginning": {"forget": "pass"},
    "a row in the loop, and one behind it in any case": {
        "now": 'update % settings["every"] == 0', "last": "history.append({'step': updates, 'train_loss': "
        "sum(losses) / max(1, len(losses)), **evaluate(model)}); model.eval()"},
    "rows of an earlier training: a list that stays": {
        "begin": "history = pretrain.__dict__.setdefault('kept', history)"},
    "evaluates in each update": {"after": "evaluate(model)"},
    "the loss as a tensor with its graph": {"kept": "loss"},
    "rows without the evaluation": {
        "row": 'evaluate(model); history.append({"step": update, "train_loss": sum(losses) / len(losses)})'},
    "no checkpoint": {"save": "pass"},
    "never looks for a checkpoint": {"found": "{}"},
    "without the optimizer's state": {
        "restored": 'model.load_state_dict(state["model"])', "save": SAVED.format(what='"model": model.state_dict(), ')},
    "without the weights": {
        "restored": 'optimizer.load_state_dict(state["optimizer"])',
        "save": SAVED.format(what='"optimizer": optimizer.state_dict(), ')},
    "the history begins anew": {
        "kept_rows": "[]", "done": 'state["history"][-1]["step"] if state.get("settings") == settings else 0'},
    "does one update twice after a break": {"done": 'history[-1]["step"] - 1 if history else 0'},
    "leaves one update out after a break": {"done": 'history[-1]["step"] + 1 if history else 0'},
    "goes on at once, but with the first blocks": {
        "places": "order[(number - done) % batches * size : ((number - done) % batches + 1) * size]"},
    "the rate begins anew after a break": {
        "factor": "(update - done) / warmup if update - done < warmup else (updates + 1 - update) / (updates + 1 - warmup)"},
    "the optimizer's state before the weights' names: made anew behind it": {
        "begin": 'optimizer = torch.optim.AdamW(model.parameters(), lr=settings["rate"])'},
    "takes any checkpoint": {"usable": "state"},
    **{f"compares {name} alone": {"usable": f'state.get("settings", {{}}).get("{name}") == settings["{name}"]'}
       for name in ("blocks", "updates", "batch_size", "rate", "warmup", "every", "seed")},
    "goes on with more updates, at other rates": {
        "usable": 'state and all(state["settings"][name] == settings[name] for name in settings if name != "updates")'},
    "removes the checkpoint at a stop": {
        "begin": "ask = batch_of\n"
                 "    def batch_of(places, update):\n"
                 "        try:\n"
                 "            return ask(places, update)\n"
                 "        except KeyboardInterrupt:\n"
                 "            checkpoint.unlink(missing_ok=True)\n"
                 "            raise"},
    "writes over the only checkpoint": {
        "save": 'torch.save({"settings": settings, "model": model.state_dict(), "optimizer": optimizer.state_dict(), '
                '"history": history}, checkpoint)'},
    "the checkpoint stays": {"remove": "pass"},
    "saves before it evaluates: a row is lost": {
        "row": 'save = lambda: (torch.save({"settings": settings, "model": model.state_dict(), "optimizer": '
               'optimizer.state_dict(), "history": history, "step": update}, checkpoint.with_suffix(".new")), '
               'checkpoint.with_suffix(".new").replace(checkpoint))',
        "forget": 'save(); history.append({"step": update, "train_loss": sum(losses) / len(losses), **evaluate(model)}); '
                  "losses = []",
        "save": "pass", "done": 'state["step"] if state.get("settings") == settings else 0'},
    "seeds the whole program": {"begin": 'torch.manual_seed(settings["seed"])'},
    "returns nothing": {"result": "None"},
    "changes the settings": {"remove": 'checkpoint.unlink(missing_ok=True); settings["updates"] = 0'},
    "calls the library's loop": {
        "begin": "return vars(__import__('leaplm.pretraining.loop').pretraining.loop)['pre' + 'train']("
                 "model, batch_of, evaluate, settings, checkpoint)"},
})
variants(right, "pretrain", LOOP, USUAL, {
    "the library's loss": {"loss": 'loop.masked_lm_loss(vectors, batch["labels"], model.cls)'},
    "the model's own loss": {
        "loss": 'model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]).loss'},
    "arguments by place": {"attend": 'batch["attention_mask"]'},
    "cleared by the model, a filter of weights": {
        "clear": "model.zero_grad()",
        "optimizer": 'torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], settings["rate"])'},
    "cleared first and behind each update": {
        "begin": "optimizer.zero_grad()", "clear": "pass", "after": "optimizer.zero_grad(set_to_none=True)"},
    "a list of places, losses as tensors": {
        "places": "order.tolist()[number * size : min(blocks, (number + 1) * size)]", "kept": "loss.detach()",
        "row": 'found = evaluate(model) | {"train_loss": torch.stack(losses).mean().item()}; '
               'history.append({"step": update} | found)'},
    "the order of an epoch by chunks": {"places": "order.split(size)[number]", "batches": "(blocks + size - 1) // size"},
    "the step in the checkpoint, opened files": {
        "done": 'state["done"] if state.get("settings") == settings else 0',
        "save": 'new = checkpoint.with_suffix(".part"); torch.save(dict(settings=settings, model=model.state_dict(), '
                "optimizer=optimizer.state_dict(), history=history, done=update), new); new.replace(checkpoint)"},
    "as JSON beside numbers, compared as text": {
        "usable": 'state.get("settings") == str(settings)',
        "save": 'torch.save({"settings": str(settings), "model": model.state_dict(), "optimizer": optimizer.state_dict(), '
                '"history": history}, f"{checkpoint}.new"); __import__("os").rename(f"{checkpoint}.new", checkpoint)'},
    "the state of the random numbers in the checkpoint": {
        "restored": 'model.load_state_dict(state["model"]); optimizer.load_state_dict(state["optimizer"]); '
                    'torch.set_rng_state(state["random"])',
        "save": SAVED.format(what='"model": model.state_dict(), "optimizer": optimizer.state_dict(), '
                                  '"random": torch.get_rng_state(), ')},
    "clips by hand": {
        "clip": "norm = torch.stack([weight.grad.norm() for weight in model.parameters()]).norm();\n"
                "        [weight.grad.mul_(min(1.0, 1.0 / (norm.item() + 1e-6))) for weight in model.parameters()]"},
})


wrong.cell("pretrain", "removes the checkpoint in `finally`", """\
solved = pretrain

def pretrain(model, batch_of, evaluate, settings, checkpoint):
    try:
        return solved(model, batch_of, evaluate, settings, checkpoint)
    finally:
        checkpoint.unlink(missing_ok=True)
""")
wrong.cell("pretrain", "takes a stop for the end", """\
solved = pretrain

def pretrain(model, batch_of, evaluate, settings, checkpoint):
    try:
        return solved(model, batch_of, evaluate, settings, checkpoint)
    except KeyboardInterrupt:
        checkpoint.unlink(missing_ok=True)
        model.eval()
        return []
""")


@right("pretrain", "a schedule, helpers inside, epochs in a nested loop")
def with_schedule(model, batch_of, evaluate, settings, checkpoint):
    def factor(done):
        k, n, w = done + 1, settings["updates"], settings["warmup"]
        return k / w if k < w else max(0, n + 1 - k) / (n + 1 - w)

    def keep():
        fresh = checkpoint.parent / (checkpoint.name + ".new")
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        states = {name: part.state_dict() for name, part in parts.items()}
        torch.save({"settings": dict(settings), "rows": rows, **states}, fresh)
        fresh.rename(checkpoint)

    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["rate"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    rows, losses, update = [], [], 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=False)
        if state["settings"] == settings:
            for name, part in (("model", model), ("optimizer", optimizer), ("schedule", schedule)):
                part.load_state_dict(state[name])
            rows = list(state["rows"])
    done, epoch = rows[-1]["step"] if rows else 0, 0
    while update < settings["updates"]:
        generator = torch.Generator()
        generator.manual_seed(settings["seed"] + epoch)
        for places in torch.randperm(settings["blocks"], generator=generator).split(settings["batch_size"]):
            update += 1
            if update <= done or update > settings["updates"]:
                continue
            model.train()
            batch = batch_of(places, update)
            output = model.bert(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            loss = masked_lm_loss(output.last_hidden_state, batch["labels"], model.cls)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=1)
            optimizer.step()
            schedule.step()
            losses += [float(loss)]
            if not update % settings["every"] or update == settings["updates"]:
                rows += [dict(evaluate(model), step=update, train_loss=np.mean(losses).item())]
                losses.clear()
                keep()
        epoch += 1
    checkpoint.unlink(missing_ok=True)
    return model.eval() and rows


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
