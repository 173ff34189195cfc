"""Bank of lab 4: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, re, json, prompting, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905

# -- render_prompts ---------------------------------------------------------------------------------------------------

RENDER = '''
def render_prompts(item, texts, words, instruction="", demonstrations=()):
    if item.count("{text}") != 1 or len(set(words)) < len(words):
        raise ValueError("an item needs one place, and each class a word of its own")
    parts = [instruction] if instruction else []
    for shown, label in demonstrations:
        parts.append(item.replace("{text}", shown) + " " + words[label])
    return ["\\n\\n".join(parts + [item.replace("{text}", text)]) for text in texts]
'''


def instead(source, *changes):
    """The source with pieces replaced, each of which must stand in it once."""
    for old, new in changes:
        assert source.count(old) == 1, (source.count(old), old)
        source = source.replace(old, new)
    return source


def rendered(*changes):
    return instead(RENDER, *changes)


FILLED = 'item.replace("{text}", text)'
wrong.cell("render_prompts", "str.format trips over other braces", rendered((FILLED, "item.format(text=text)")))
wrong.cell("render_prompts", "joins first and fills after, so a text's own {text} is filled too", rendered(
    ('"\\n\\n".join(parts + [item.replace("{text}", text)])', '"\\n\\n".join(parts + [item]).replace("{text}", text)')))
wrong.cell("render_prompts", "an empty instruction leaves an empty line", rendered(
    ("[instruction] if instruction else []", "[instruction]")))
wrong.cell("render_prompts", "forgets the space before the word", rendered((' + " " + words', " + words")))
wrong.cell("render_prompts", "the text stands before the demonstrations", rendered(
    ("parts + [" + FILLED + "]", "parts[:bool(instruction)] + [" + FILLED + "] + parts[bool(instruction):]")))
wrong.cell("render_prompts", "a regular expression reads backslashes in the text", rendered(
    (FILLED, "re.sub(r'[{]text[}]', text, item)")))
wrong.cell("render_prompts", "strips what stands around the texts", rendered((FILLED,
    'item.replace("{text}", text.strip())')))
wrong.cell("render_prompts", "fills the instruction too", rendered(
    ("parts + [", '[part.replace("{text}", text) if part is instruction else part for part in parts] + [')))
wrong.cell("render_prompts", "the same demonstration is shown once only", rendered(
    ("in demonstrations", "in dict.fromkeys(demonstrations)")))
wrong.cell("render_prompts", "the class number in the place of the word", rendered(("words[label]", "str(label)")))
wrong.cell("render_prompts", "the demonstrations pile up from text to text", rendered(
    ("    return [", "    made = []\n    for text in texts:\n        parts.append(item.replace('{text}', text))\n"
     "        made.append('\\n\\n'.join(parts))\n    return made\n    return [")))
wrong.cell("render_prompts", "only the last text", rendered(("for text in texts]", "for text in texts[-1:]]")))
wrong.cell("render_prompts", "an item with two places is taken", rendered(('item.count("{text}") != 1',
    '"{text}" not in item')))
wrong.cell("render_prompts", "any pair of braces counts as a place", rendered(
    ('item.count("{text}") != 1', '"{" not in item or item.count("{text}") > 1')))
wrong.cell("render_prompts", "two equal words are taken", rendered((" or len(set(words)) < len(words)", "")))
wrong.cell("render_prompts", "an assertion in the place of the error asked for", rendered(
    ("        raise ValueError(", "        assert False, (")))
wrong.cell("render_prompts", "takes words out of the caller's list", rendered(
    ("words[label])", "words[label])\n    words.reverse()")))
wrong.cell("render_prompts", "a generator, which can be read once", rendered(
    ("    return [", "    return ("), ("for text in texts]", "for text in texts)")))


for why, change in {
    "equal texts come once": ("for text in texts]", "for text in dict.fromkeys(texts)]"),
    "other quotes in the texts": (FILLED, "item.replace('{text}', text.replace('\"', \"'\"))"),
    "only letters without marks": (FILLED, "item.replace('{text}', text.encode('ascii', 'ignore').decode())"),
    "long texts are cut": (FILLED, "item.replace('{text}', text[:200])"),
    "the item loses its blank ends": ("    parts = [inst", "    item = item.strip()\n    parts = [inst"),
    "a demonstration loses its new line": ('shown) + " "', 'shown).rstrip() + " "'),
    "the word in small letters": ("words[label])", "words[label].lower())"),
    "the word without its blanks": ("words[label])", "words[label].strip())"),
    "words that differ in capitals are equal": ("set(words)", "set(map(str.lower, words))"),
    "a blank instruction is left out": ("if instruction else", "if instruction.strip() else"),
    "no texts, no prompts, but an error": ("len(set(words)) < len(words):", "len(set(words)) < len(words) or not texts:"),
    "without texts no error": ("len(set(words)) < len(words):", "len(set(words)) < len(words):\n        if not texts:\n"
                               "            return []"),
}.items():
    wrong.cell("render_prompts", why, rendered(change))


@wrong("render_prompts", "calls the library's template")
def by_library(item, texts, words, instruction="", demonstrations=()):
    template = PromptTemplate(item, instruction)
    if len(set(words)) < len(words):
        raise ValueError(words)
    return [template.render(text, [(shown, words[label]) for shown, label in demonstrations]) for text in texts]


@right("render_prompts", "with partition, a prefix made once")
def with_partition(item, texts, words, instruction="", demonstrations=()):
    before, place, after = item.partition("{text}")
    if not place or "{text}" in after or sorted(set(words)) != sorted(words):
        raise ValueError("not a template")
    prefix = instruction + "\n\n" if instruction else ""
    for shown, label in demonstrations:
        prefix += f"{before}{shown}{after} {words[label]}\n\n"
    return [prefix + before + text + after for text in texts]


@right("render_prompts", "a helper for one item, and split; a tuple")
def with_a_helper(item, texts, words, instruction="", demonstrations=()):
    pieces = item.split("{text}")
    if len(pieces) != 2:
        raise ValueError(f"{len(pieces) - 1} places")
    if any(word in words[:i] for i, word in enumerate(words)):
        raise ValueError("a word comes twice")
    def filled(shown):
        return shown.join(pieces)
    lines = [instruction] * bool(instruction) + [filled(shown) + " " + words[label] for shown, label in demonstrations]
    return tuple("\n\n".join(lines + [filled(text)]) for text in texts)


@right("render_prompts", "an error of one's own, derived from ValueError; a loop")
def with_own_error(item, texts, words, instruction="", demonstrations=()):
    class BadTemplate(ValueError):
        pass
    if len(item.split("{text}")) != 2 or len(words) != len(dict.fromkeys(words)):
        raise BadTemplate
    prompts = []
    for text in texts:
        prompt = item.replace("{text}", text)
        for pair in reversed(demonstrations):
            prompt = item.replace("{text}", pair[0]) + " " + words[pair[1]] + "\n\n" + prompt
        prompts.append(instruction + "\n\n" + prompt if instruction != "" else prompt)
    return prompts


@right("render_prompts", "the % operator")
def with_percent(item, texts, words, instruction="", demonstrations=()):
    if item.count("{text}") - 1:
        raise ValueError(item)
    if max(map(words.count, words)) > 1:
        raise ValueError(words)
    item = item.replace("%", "%%").replace("{text}", "%s")
    parts = [instruction] if instruction else []
    parts.extend(item % shown + " " + words[int(label)] for shown, label in demonstrations)
    return [str.join("\n\n", [*parts, item % text]) for text in texts]


# -- batch_log_probs --------------------------------------------------------------------------------------------------

BATCH = '''
def batch_log_probs(model, prompts, answers, pad_token_id):
    rows = [p + a for p, a in zip(prompts, answers)]
    longest = max(map(len, rows))
    ids = torch.tensor([{pad}], device=model.device)
    mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows]).to(model.device)
    with torch.no_grad():
        log_probs = model(ids, attention_mask=mask).logits.log_softmax(-1)
    every = log_probs[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
    sums = torch.stack([{part} for i, (p, a) in enumerate(zip(prompts, answers))])
    return sums, torch.tensor({tokens})
'''
PAD = "r + [pad_token_id] * (longest - len(r)) for r in rows"
PART = "every[i, len(p) - 1 : len(p) + len(a) - 1].sum()"
TOKENS = "[len(a) for a in answers]"
MASK = "torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows]).to(model.device)"

wrong.cell("batch_log_probs", "takes the last positions of the padded row",
           BATCH.format(pad=PAD, part="every[i, -len(a):].sum()", tokens=TOKENS))
wrong.cell("batch_log_probs", "off by one", BATCH.format(
    pad=PAD, part="every[i, len(p) : len(p) + len(a)].sum()", tokens=TOKENS))
wrong.cell("batch_log_probs", "finds the padding by its id, which also is a token",
           BATCH.format(pad=PAD, part="(every[i] * (ids[i, 1:] != pad_token_id))[len(p) - 1 :].sum()", tokens=TOKENS))
wrong.cell("batch_log_probs", "means instead of sums", BATCH.format(
    pad=PAD, part="every[i, len(p) - 1 : len(p) + len(a) - 1].mean()", tokens=TOKENS))
wrong.cell("batch_log_probs", "counts the padding as answer", BATCH.format(
    pad=PAD, part="every[i, len(p) - 1 :].sum()", tokens=TOKENS))
wrong.cell("batch_log_probs", "pads on the left, positions as if on the right", BATCH.format(
    pad="[pad_token_id] * (longest - len(r)) + r for r in rows", part=PART, tokens=TOKENS))
wrong.cell("batch_log_probs", "numbers of tokens of whole rows", BATCH.format(
    pad=PAD, part=PART, tokens="[len(r) for r in rows]"))


wrong.cell("batch_log_probs", "the mask is made from the ids, so that real tokens are hidden too", BATCH.replace(
    MASK, "(ids != pad_token_id).long()").format(
    pad=PAD, part=PART, tokens=TOKENS))
wrong.cell("batch_log_probs", "pads on the left, where the mask and the places fit", BATCH.replace(
    "[1] * len(r) + [0] * (longest - len(r))", "[0] * (longest - len(r)) + [1] * len(r)").format(
    pad="[pad_token_id] * (longest - len(r)) + r for r in rows", part="every[i, -len(a):].sum()", tokens=TOKENS))
wrong.cell("batch_log_probs", "leaves the padding id out of the answers", BATCH.format(
    pad=PAD, part="sum(every[i, len(p) - 1 + j] for j, t in enumerate(a) if t != pad_token_id) + torch.zeros(())",
    tokens=TOKENS))
wrong.cell("batch_log_probs", "lengthens the caller's prompts", BATCH.replace(
    "rows = [p + a for", "lengths = [len(p) for p in prompts]\n    [p.extend(a) for p, a in zip(prompts, answers)]\n"
    "    rows = [p for").format(
    pad=PAD, part="every[i, lengths[i] - 1 : lengths[i] + len(a) - 1].sum()", tokens=TOKENS))
wrong.cell("batch_log_probs", "the numbers of different tokens", BATCH.format(
    pad=PAD, part=PART, tokens="[len(set(a)) for a in answers]"))
for why, change in {
    "no mask": (", attention_mask=mask", ""),
    "a mask of ones": (MASK, "torch.ones_like(ids)"),
    "the mask the wrong way round": (MASK, MASK.replace("[1]", "[2]").replace("[0]", "[1]").replace("[2]", "[0]")),
    "the ids stay on the processor": (", device=model.device", ""),
    "the mask stays on the processor": (").to(model.device)", ")"),
    "on the first card, whatever the model's device is": (
        "device=model.device", "device='cuda' if torch.cuda.is_available() else 'cpu'"),
    "the log of the softmax": (".log_softmax(-1)", ".softmax(-1).log()"),
    "a small number added to each probability": (".log_softmax(-1)", ".softmax(-1).add(1e-8).log()"),
    "probabilities of at least a millionth": (".log_softmax(-1)", ".softmax(-1).clamp(1e-6).log()"),
    "logits less the log of the sum of exp": ("log_probs = model(ids, attention_mask=mask).logits.log_softmax(-1)",
        "z = model(ids, attention_mask=mask).logits\n        log_probs = z - z.exp().sum(-1, keepdim=True).log()"),
    "rounded to two places": ("    return sums,", "    sums = sums.round(decimals=2)\n    return sums,"),
    "the numbers of tokens first": ("    return sums, torch.tensor({tokens})", "    return torch.tensor({tokens}), sums"),
    "one row has no first dimension": ("[..., 0]", ".squeeze()"),
    "the answer of the first equal prompt": ("for i, (p, a) in enumerate(zip(prompts, answers))",
                                             "for i, p, a in ((prompts.index(p), p, a) for p, a in zip(prompts, answers))"),
    "equal prompts have the sum of the last": (
        "    return sums,", "    last = {{tuple(p): s for p, s in zip(prompts, sums)}}\n"
        "    sums = torch.stack([last[tuple(p)] for p in prompts])\n    return sums,"),
}.items():
    wrong.cell("batch_log_probs", why, instead(BATCH, change).format(pad=PAD, part=PART, tokens=TOKENS))
wrong.cell("batch_log_probs", "fills up with 0", BATCH.format(
    pad=PAD.replace("pad_token_id", "0"), part=PART, tokens=TOKENS))
right.cell("batch_log_probs", "equal rows go through the model once", BATCH.replace("    longest", "    places = {{}}\n"
    "    where = [places.setdefault(tuple(row), len(places)) for row in rows]\n    rows = [list(row) for row in places]\n"
    "    longest").format(pad=PAD, part=PART.replace("every[i", "every[where[i]"), tokens=TOKENS))
right.cell("batch_log_probs", "a full tensor, filled; the numbers as lists", '''
def batch_log_probs(model, prompts, answers, pad_token_id):
    lengths = [len(p) + len(a) for p, a in zip(prompts, answers)]
    ids = torch.full((len(lengths), max(lengths)), pad_token_id, device=model.device)
    for i, (p, a) in enumerate(zip(prompts, answers)):
        ids[i, : lengths[i]] = torch.tensor(p + a)
    mask = (torch.arange(ids.shape[1])[None] < torch.tensor(lengths)[:, None]).long().to(ids.device)
    with torch.inference_mode():
        log_probs = model(input_ids=ids, attention_mask=mask).logits.log_softmax(dim=-1)
    sums = []
    for i, (p, a) in enumerate(zip(prompts, answers)):
        sums.append(sum(log_probs[i, len(p) + j - 1, token].item() for j, token in enumerate(a)))
    return sums, [len(a) for a in answers]
''')
right.cell("batch_log_probs", "a mask of the answers, in numpy at the end; longer padding than needed", '''
def batch_log_probs(model, prompts, answers, pad_token_id):
    width = 8 * -(-max(len(p) + len(a) for p, a in zip(prompts, answers)) // 8)
    ids = np.array([p + a + [pad_token_id] * (width - len(p) - len(a)) for p, a in zip(prompts, answers)])
    asked = np.array([[0] * len(p) + [1] * len(a) + [0] * (width - len(p) - len(a)) for p, a in zip(prompts, answers)])
    real = np.array([[1] * (len(p) + len(a)) + [0] * (width - len(p) - len(a)) for p, a in zip(prompts, answers)])
    with torch.no_grad():
        given = [torch.from_numpy(part).to(model.device) for part in (ids, real)]
        logits = model(given[0], attention_mask=given[1]).logits.numpy(force=True)
    z = logits[:, :-1] - logits[:, :-1].max(-1, keepdims=True)
    z = z - np.log(np.exp(z).sum(-1, keepdims=True))
    every = np.take_along_axis(z, ids[:, 1:, None], 2)[..., 0]
    return (every * asked[:, 1:]).sum(1), asked.sum(1)
''')


@wrong("batch_log_probs", "one row after the other, a call of the model for each")
def row_by_row(model, prompts, answers, pad_token_id):
    sums = []
    for p, a in zip(prompts, answers):
        with torch.no_grad():
            log_probs = model(torch.tensor([p + a])).logits[0].log_softmax(-1)
        sums.append(sum(float(log_probs[len(p) - 1 + k, token]) for k, token in enumerate(a)))
    return np.array(sums), [len(a) for a in answers]


wrong.cell("batch_log_probs", "the graph of the whole model is kept", BATCH.replace("torch.no_grad()",
    "torch.enable_grad()").format(
    pad=PAD, part=PART, tokens=TOKENS))
wrong.cell("batch_log_probs", "adds up logits without the softmax", BATCH.replace(".log_softmax(-1)", "").format(
    pad=PAD, part=PART, tokens=TOKENS))
wrong.cell("batch_log_probs", "softmax over the positions", BATCH.replace("log_softmax(-1)", "log_softmax(1)").format(
    pad=PAD, part=PART, tokens=TOKENS))
wrong.cell("batch_log_probs", "counts the prompt's tokens too", BATCH.format(
    pad=PAD, part="every[i, : len(p) + len(a) - 1].sum()", tokens=TOKENS))
wrong.cell("batch_log_probs", "only the first token of the answer", BATCH.format(
    pad=PAD, part="every[i, len(p) - 1]", tokens=TOKENS))
wrong.cell("batch_log_probs", "the logarithm to the base 2", BATCH.replace("log_softmax(-1)", "softmax(-1).log2()").format(
    pad=PAD, part=PART, tokens=TOKENS))
wrong.cell("batch_log_probs", "a small number added to the product: an unlikely answer is cut off", BATCH.format(
    pad=PAD, part="(every[i, len(p) - 1 : len(p) + len(a) - 1].exp().prod() + 1e-12).log()", tokens=TOKENS))
wrong.cell("batch_log_probs", "looks for the answer's first token, which the prompt holds too", BATCH.format(
    pad=PAD, part="every[i, max((p + a).index(a[0]), 1) - 1 :][: len(a)].sum()", tokens=TOKENS))


@right("batch_log_probs", "labels of -100 and cross_entropy")
def with_ignored_labels(model, prompts, answers, pad_token_id):
    rows = [torch.tensor(p + a) for p, a in zip(prompts, answers)]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_token_id).to(model.device)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True).to(model.device)
    labels = torch.full_like(ids, -100)
    for i, (p, a) in enumerate(zip(prompts, answers)):
        labels[i, len(p) : len(p) + len(a)] = torch.tensor(a)
    with torch.no_grad():
        logits = model(ids, attention_mask=mask).logits
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
    return -losses.sum(dim=1), (labels != -100).sum(dim=1)


@right("batch_log_probs", "logits less their logsumexp, all places of all rows at once; a pair of lists")
def all_places_at_once(model, prompts, answers, pad_token_id):
    longest = max(len(p) + len(a) for p, a in zip(prompts, answers))
    ids = torch.full((len(prompts), longest), pad_token_id, dtype=torch.long)
    kept, real = torch.zeros(ids.shape, dtype=torch.bool), torch.zeros_like(ids)
    for i, (p, a) in enumerate(zip(prompts, answers)):
        ids[i, : len(p) + len(a)] = torch.tensor([*p, *a])
        kept[i, len(p) : len(p) + len(a)] = True
        real[i, : len(p) + len(a)] = 1
    with torch.no_grad():
        ids = ids.to(model.device)
        logits = model(ids, attention_mask=real.to(model.device)).logits[:, :-1]
    scores = logits.gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1) - torch.logsumexp(logits, -1)
    return [scores.masked_fill(~kept[:, 1:], 0.0).sum(1).tolist(), kept.sum(1).tolist()]


@right("batch_log_probs", "the longest row first, put back in order at the end, with a mask of True and False")
def longest_row_first(model, prompts, answers, pad_token_id):
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]) - len(answers[i]))
    rows = [torch.tensor([*prompts[i], *answers[i]]) for i in order]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_token_id).to(model.device)
    mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
    mask = mask.to(ids.device)
    scores = model(ids, attention_mask=mask).logits.log_softmax(-1).detach()
    sums = torch.zeros(len(rows))
    for place, i in enumerate(order):
        start = len(prompts[i])
        sums[i] = sum(scores[place, start + k - 1, token] for k, token in enumerate(answers[i]))
    return sums, torch.tensor([len(answer) for answer in answers])


# -- class_scores -----------------------------------------------------------------------------------------------------

SCORES = '''
def class_scores(sums, tokens, method, premise_sums=None, empty_sums=None):
    if method == "sum":
        return sums
    elif method == "mean":
        return sums / tokens
    elif method == "prior" and premise_sums is not None:
        return sums - premise_sums
    elif method == "calibrated" and empty_sums is not None:
        p, bias = sums.log_softmax(-1), empty_sums.softmax(-1).mean(0)
        return (p - bias.log()).log_softmax(-1)
    raise ValueError(method)
'''


def scored(*changes):
    return instead(SCORES, *changes)


BIAS, SCALED = "empty_sums.softmax(-1).mean(0)", "(p - bias.log()).log_softmax(-1)"
for why, change in {
    "divides by the logarithm of the premise": ("sums - premise_sums", "sums / premise_sums"),
    "adds the premise": ("sums - premise_sums", "sums + premise_sums"),
    "the mean over the words": ("sums / tokens", "sums.mean(dim=-1, keepdim=True) + 0 * sums"),
    "multiplies by the length": ("sums / tokens", "sums * tokens"),
    "probabilities instead of log-probabilities": ("        return sums\n", "        return sums.exp()\n"),
    "the premise's mean for all words": ("sums - premise_sums", "sums - premise_sums.mean()"),
    "changes the sums in place": ("sums - premise_sums", "sums.sub_(premise_sums)"),
    "an unknown method is taken as the sum": ("    raise ValueError(method)", "    return sums"),
    "an unknown method gives None": ("    raise ValueError(method)", "    print('unknown')"),
    "another error than asked for": ("raise ValueError(method)", "raise KeyError(method)"),
    "the premise along the wrong dimension": ("sums - premise_sums", "sums - premise_sums[:, None]"),
    "the length of the first text's words for all": ("sums / tokens", "sums / tokens[0]"),
    "takes every name that begins like the sum": ('method == "sum"', 'method in "sum"'),
    "a prior without premise is taken for the sum": (
        '"prior" and premise_sums is not None:\n        return sums - premise_sums',
        '"prior":\n        return sums if premise_sums is None else sums - premise_sums'),
    "calibrates by the premise where no empty texts are given": (
        '"calibrated" and empty_sums is not None:',
            '"calibrated":\n        empty_sums = premise_sums[None] if empty_sums is None '
        'else empty_sums'),
    "multiplies by the bias instead of dividing": (SCALED, "(p + bias.log()).log_softmax(-1)"),
    "the mean of the logarithms": (BIAS, "empty_sums.log_softmax(-1).mean(0).exp()"),
    "exponentials that do not add up to 1": (BIAS, "empty_sums.exp().mean(0)"),
    "only the first empty text": (BIAS, "empty_sums[0].softmax(-1)"),
    "rows that do not add up to 1": (SCALED, "p - bias.log()"),
    "returns probabilities": (SCALED, "(p - bias.log()).softmax(-1)"),
    "takes the mean of the texts themselves as the bias": (BIAS, "sums.softmax(-1).mean(0)"),
    "softmax over the texts": (BIAS, "empty_sums.softmax(0).mean(0)"),
    "one empty text for each text": (BIAS, "empty_sums.softmax(-1)"),
    "the mean over the words in place of the texts": (BIAS, "empty_sums.softmax(-1).mean(1)"),
    "the median of the empty texts": (BIAS, "empty_sums.softmax(-1).median(0).values"),
    "one empty text has no first dimension": (BIAS, "empty_sums.softmax(-1).squeeze().mean(0)"),
    "calibrated asks for the premise too": ("empty_sums is not None", "empty_sums is not None and premise_sums is not None"),
    "the prior goes by the empty texts where there are some": (
        "sums - premise_sums", "sums - (premise_sums if empty_sums is None else empty_sums.mean(0))"),
    "the mean goes without the premise where there is one": (
        "sums / tokens", "(sums - (0 if premise_sums is None else premise_sums)) / tokens"),
    "exp of sums far below 0 is 0": (SCALED, "(sums.exp() / bias / (sums.exp() / bias).sum(-1, keepdim=True)).log()"),
    "probabilities of at least a small number": (SCALED, "(p - bias.log()).softmax(-1).clamp(min=1e-12).log()"),
    "takes the largest sum out, in place": (SCALED, "(sums.sub_(sums.max()) - bias.log()).log_softmax(-1)"),
}.items():
    wrong.cell("class_scores", why, scored(change))
wrong.cell("class_scores", "calls the library's function", """
def class_scores(sums, tokens, method, premise_sums=None, empty_sums=None):
    return prompting.class_scores(sums, tokens, method, premise_sums, empty_sums)
""")
wrong.cell("class_scores", "calls the library's calibration", scored((SCALED, "prompting.calibrate(sums, empty_sums)")))
wrong.cell("class_scores", "keeps the bias of the first call", scored(
    ("def class_scores", "BIAS = []\ndef class_scores"), (SCALED,
        "(BIAS.append(bias) or p - BIAS[0].log()).log_softmax(-1)")))


@right("class_scores", "with numpy, probabilities all the way, and a diagonal matrix as in the paper")
def in_numpy(sums, tokens, method, premise_sums=None, empty_sums=None):
    def softmax(scores):
        e = np.exp(scores - scores.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)
    sums, tokens = np.asarray(sums, dtype=float), np.asarray(tokens)
    if method not in ("sum", "mean", "prior", "calibrated"):
        raise ValueError("not one of the four")
    if method == "prior":
        if premise_sums is None:
            raise ValueError("no premise")
        return sums - np.asarray(premise_sums)[None, :]
    if method == "calibrated":
        if empty_sums is None:
            raise ValueError("no empty texts")
        q = softmax(sums) @ np.diag(1 / softmax(np.asarray(empty_sums, dtype=float)).mean(0))
        return np.log(q / q.sum(1, keepdims=True))
    return {"sum": sums, "mean": sums / tokens}[method]


right.cell("class_scores", "the largest sum is taken out of each row; what is not needed is not looked at", scored(
    ("sums.log_softmax(-1), empty", "sums - sums.amax(-1, keepdim=True), empty"),
    ('method == "prior" and premise_sums is not None', 'method == "prior" and torch.is_tensor(premise_sums)')))


@right("class_scores", "with match and clones, the division itself")
def with_match(sums, tokens, method, premise_sums=None, empty_sums=None):
    match method:
        case "sum":
            return sums.clone()
        case "mean":
            return torch.div(sums, tokens)
        case "prior" if premise_sums is not None:
            return sums - premise_sums.expand_as(sums)
        case "calibrated" if empty_sums is not None:
            q = sums.double().softmax(-1) / empty_sums.double().softmax(-1).mean(0)
            return (q / q.sum(-1, keepdim=True)).log()
        case _:
            raise ValueError("use sum, mean, prior or calibrated, with what they need")


@right("class_scores", "an error of one's own, derived from ValueError; a table of functions")
def with_a_table(sums, tokens, method, premise_sums=None, empty_sums=None):
    class UnknownMethod(ValueError):
        pass
    def calibrated():
        bias = torch.logsumexp(empty_sums - empty_sums.logsumexp(1, keepdim=True), 0) - np.log(len(empty_sums))
        return sums - bias - (sums - bias).logsumexp(1, keepdim=True)
    ways = {"sum": lambda: sums, "mean": lambda: sums * (1 / tokens), "prior": lambda: torch.sub(sums, premise_sums),
            "calibrated": calibrated}
    if method not in ways or {"prior": premise_sums, "calibrated": empty_sums}.get(method, 0) is None:
        raise UnknownMethod(method)
    return ways[method]()


@right("class_scores", "row by row, in lists")
def in_lists(sums, tokens, method, premise_sums=None, empty_sums=None):
    if method == "prior" and premise_sums is None or method == "calibrated" and empty_sums is None:
        raise ValueError("something is missing")
    if method not in ["sum", "mean", "prior", "calibrated"]:
        raise ValueError(f"{method}?")
    rows = []
    for row, lengths in zip(sums.tolist(), tokens.tolist()):
        if method == "mean":
            row = [s / k for s, k in zip(row, lengths)]
        elif method == "prior":
            row = [s - bare for s, bare in zip(row, premise_sums.tolist())]
        elif method == "calibrated":
            bias = torch.softmax(empty_sums.double(), 1).mean(0).log().tolist()
            row = torch.tensor([s - b for s, b in zip(row, bias)]).log_softmax(0).tolist()
        rows.append(row)
    return rows


# -- PromptClassifier -------------------------------------------------------------------------------------------------

WHOLE = '''
class PromptClassifier:
    def __init__(self, model, tokenizer, template, words, demonstrations=(), batch_size=4):
        self.model, self.tokenizer, self.template, self.words = model, tokenizer, template, words
        self.demonstrations, self.batch_size = demonstrations, batch_size

    def ids(self, text):
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def sums(self, prompts):
        answers, parts = [self.ids(" " + word) for word in self.words], []
        for start in range(0, len(prompts), self.batch_size):
            batch = prompts[start : start + self.batch_size]
            rows = [self.ids(prompt) for prompt in batch for _ in answers]
            parts.append(batch_log_probs(self.model, rows, answers * len(batch), self.tokenizer.pad_token_id))
        sums, tokens = [torch.cat([part[i] for part in parts]) for i in (0, 1)]
        return sums.view(len(prompts), len(answers)), tokens.view(len(prompts), len(answers))

    def __call__(self, texts, methods=prompting.METHODS):
        empty = list(prompting.CONTENT_FREE) if "calibrated" in methods else []
        prompts = render_prompts(self.template.item, list(texts) + empty, self.words, self.template.instruction,
                                 self.demonstrations)
        sums, tokens = self.sums(prompts)
        premise, n, found = None, len(texts), {}
        if "prior" in methods:
            premise = self.sums([prompting.premise_of(self.template)])[0][0]
        for method in methods:
            found[method] = class_scores(sums[:n], tokens[:n], method, premise, sums[n:])
        return found

    def predict(self, texts, method="sum"):
        return self(texts, [method])[method].argmax(dim=-1)
'''


def whole(*changes):
    return instead(WHOLE, *changes)


ROWS, VIEW = "[self.ids(prompt) for prompt in batch for _ in answers]", "sums.view(len(prompts), len(answers))"
PREMISE = "self.sums([prompting.premise_of(self.template)])[0][0]"
RENDERED = """render_prompts(self.template.item, list(texts) + empty, self.words, self.template.instruction,
                                 self.demonstrations)"""
for why, changes in {
    "the rows in another order than the answers": [(ROWS, "[self.ids(prompt) for _ in answers for prompt in batch]")],
    "the table of sums read along the wrong dimension": [(VIEW, "sums.view(len(answers), len(prompts)).T")],
    "special tokens around prompt and word": [(", add_special_tokens=False", "")],
    "no space before the word": [('self.ids(" " + word)', "self.ids(word)")],
    "the last batch is lost if it is not full": [
        ("range(0, len(prompts), self.batch_size)", "range(0, max(len(prompts) - self.batch_size + 1, 1), self.batch_size)"),
        ("sums, tokens = [torch.cat([part[i] for part in parts]) for i in (0, 1)]",
         "sums, tokens = [torch.cat([part[i] for part in parts]) for i in (0, 1)]\n"
         "        prompts = prompts[: len(sums) // len(answers)]")],
    "only the last batch is returned": [
        ("torch.cat([part[i] for part in parts])", "torch.cat([parts[-1][i]] * len(parts))[: len(prompts) * len(answers)]")],
    "all texts in one batch": [("range(0, len(prompts), self.batch_size)", "[0]"),
                               ("prompts[start : start + self.batch_size]", "prompts")],
    "batches of a fixed size": [("self.demonstrations, self.batch_size = demonstrations, batch_size",
                                 "self.demonstrations, self.batch_size = demonstrations, 4")],
    "one call of the model for each prompt": [
        ("self.demonstrations, self.batch_size = demonstrations, batch_size",
         "self.demonstrations, self.batch_size = demonstrations, 1")],
    "the words one after the other, each with a call of its own": [
        ("            rows = " + ROWS + """
            parts.append(batch_log_probs(self.model, rows, answers * len(batch), self.tokenizer.pad_token_id))
        sums, tokens = [torch.cat([part[i] for part in parts]) for i in (0, 1)]
""", """            rows = [self.ids(prompt) for prompt in batch]
            each = [batch_log_probs(self.model, rows, [a] * len(rows), self.tokenizer.pad_token_id) for a in answers]
            parts.append([torch.stack([one[i] for one in each], 1) for i in (0, 1)])
        sums, tokens = [torch.cat([part[i] for part in parts]) for i in (0, 1)]
""")],
    "the instruction is forgotten": [("self.template.instruction", '""')],
    "the demonstrations are forgotten": [(RENDERED, RENDERED.replace("self.demonstrations", "()"))],
    "the model is asked again for each method": [
        ("        for method in methods:\n",
            "        for method in methods:\n            sums, tokens = self.sums(prompts)\n")],
    "asks the empty texts though no method needs them": [(' if "calibrated" in methods else []', "")],
    "asks the premise though no method needs it": [('        if "prior" in methods:\n            premise',
        "        premise")],
    "the premise is put into the template": [
        (PREMISE, "self.sums(render_prompts(self.template.item, [prompting.premise_of(self.template)], self.words, "
                  "self.template.instruction, self.demonstrations))[0][0]")],
    "the empty template for a premise": [(PREMISE, "self.sums(render_prompts(self.template.item, [''], self.words))[0][0]")],
    "the empty texts without the template": [
        (RENDERED, RENDERED.replace(" + empty", "") + " + empty")],
    "the empty texts without the demonstrations": [
        (RENDERED, RENDERED.replace(" + empty", "") + " + render_prompts(self.template.item, empty, self.words, "
                   "self.template.instruction)")],
    "only one empty text": [("list(prompting.CONTENT_FREE)", "list(prompting.CONTENT_FREE[:1])")],
    "the empty texts are scored as texts too": [("class_scores(sums[:n], tokens[:n], method",
        "class_scores(sums, tokens, method")],
    "calibrates by the texts themselves": [("premise, sums[n:])", "premise, sums[:n])")],
    "gives all methods, whatever was asked for": [
        ("        empty = list", "        methods = prompting.METHODS\n        empty = list")],
    "keeps the empty texts of the first call for the next": [
        ("premise, sums[n:])", "premise, self.__dict__.setdefault('empty', sums[:1]))")],
    "keeps the scores of the first call": [
        ("        return found\n", "        self.kept = {**found, **getattr(self, 'kept', {})}\n"
         "        return {method: self.kept[method] for method in methods}\n")],
    "keeps the table of a text by its place": [
        ("        sums, tokens = self.sums(prompts)\n        premise", "        self.seen = getattr(self, 'seen', {})\n"
         "        if len(prompts) not in self.seen:\n            self.seen[len(prompts)] = self.sums(prompts)\n"
         "        sums, tokens = self.seen[len(prompts)]\n        premise")],
    "predicts by the sum, whatever the method": [("self(texts, [method])[method]", 'self(texts, ["sum"])["sum"]')],
    "predicts the least probable class": [(".argmax(dim=-1)", ".argmin(dim=-1)")],
    "predicts along the wrong dimension": [(".argmax(dim=-1)", ".argmax(dim=0)")],
    "predicts the words in place of the numbers": [
        ("return self(texts, [method])[method].argmax(dim=-1)",
         "return [self.words[i] for i in self(texts, [method])[method].argmax(-1)]")],
    "has no predict": [("def predict", "def classify")],
    "the mean of a word counts the prompt's tokens": [("tokens[:n], method", "tokens[:n] + 1, method")],
    "equal texts come once": [("        empty = list", "        texts = list(dict.fromkeys(texts))\n        empty = list")],
    "the default of batch_size is another": [("batch_size=4", "batch_size=16")],
    "batches of three, whatever was asked for": [("self.demonstrations, self.batch_size = demonstrations, batch_size",
                                                  "self.demonstrations, self.batch_size = demonstrations, 3")],
    "predicts by the mean if nothing is said": [('method="sum"', 'method="mean"')],
    "predicts by calibrated scores if nothing is said": [('method="sum"', 'method="calibrated"')],
    "predicts a column": [(".argmax(dim=-1)", ".argmax(dim=-1, keepdim=True)")],
    "predict asks for all methods": [("self(texts, [method])", "self(texts)")],
    "predicts between two classes": [("return self(texts, [method])[method].argmax(dim=-1)",
                                      "s = self(texts, [method])[method]\n        return (s[:, 1] > s[:, 0]).long()")],
    "sums without the numbers of tokens": [
        (f"return {VIEW}, tokens.view(len(prompts), len(answers))", f"self.k = tokens.view(len(prompts), len(answers))\n"
         f"        return {VIEW}"), ("sums, tokens = self.sums(prompts)\n        premise",
        "sums, tokens = self.sums(prompts), self.k\n        premise"), (PREMISE, PREMISE.replace("[0][0]", "[0]"))],
    "the numbers of tokens in one row": [("tokens.view(len(prompts), len(answers))\n", "tokens[: len(answers)][None]\n"),
                                         ("tokens[:n]", "tokens")],
    "keeps the premise's sums": [(f"premise = {PREMISE}", "premise = self.__dict__.get('kept')\n"
                                  f"            self.kept = premise = {PREMISE} if premise is None else premise")],
    "keeps the empty texts' sums, which are right": [("        sums, tokens = self.sums(prompts)\n        premise",
        "        made = self.sums(prompts)\n        sums, tokens = made\n"
        "        self.kept = getattr(self, 'kept', None) if 'calibrated' not in methods else "
        "getattr(self, 'kept', sums[len(texts):])\n        premise"), ("premise, sums[n:])", "premise, self.kept)")],
    "words in small letters": [('" " + word)', '" " + word.lower())')],
    "prompts are cut at 64 tokens": [('"]\n\n    def sums', '"][:64]\n\n    def sums')],
    "texts are cut at 48 tokens": [("list(texts) + empty", "prompting.shorten(texts, self.tokenizer) + empty")],
    "texts without their blanks": [("list(texts) + empty", "[text.strip() for text in texts] + empty")],
    "rows are filled up with 0": [("self.tokenizer.pad_token_id", "0")],
    "rows are filled up with the end of a text": [("self.tokenizer.pad_token_id", "self.tokenizer.eos_token_id")],
    "adds the empty texts to the caller's list": [
        ("        prompts = render", "        texts += empty\n        prompts = render"), ("list(texts) + empty", "texts"),
        ("len(texts), {}", "len(texts) - len(empty), {}")],
}.items():
    wrong.cell("prompt_classifier", why, whole(*changes))
wrong.cell("prompt_classifier", "calls the library's scores", """
class PromptClassifier(prompting.PromptClassifier):
    pass
""")
wrong.cell("prompt_classifier", "hands the work to the library's scoring", whole(
    ("        sums, tokens = self.sums(prompts)\n",
     "        sums, tokens = map(torch.tensor, prompting.continuation_log_probs(\n"
     "            self.model, self.tokenizer, prompts, [' ' + word for word in self.words]))\n")))
right.cell("prompt_classifier", "in another form", WHOLE)
right.cell("prompt_classifier", "with the library's steps", whole(
    ("parts.append(batch_log_probs", "parts.append(prompting.batch_log_probs"), ("prompts = render_prompts",
        "prompts = prompting.render_prompts"),
    ("class_scores(sums", "prompting.class_scores(sums"), (".argmax(dim=-1)", ".argmax(-1)")))
right.cell("prompt_classifier", "the empty texts apart from the others; tokens made once; a dict comprehension", '''
class PromptClassifier:
    def __init__(self, model, tokenizer, template, words, demonstrations=(), batch_size=4):
        self.lm, self.tok, self.t, self.w = model, tokenizer, template, list(words)
        self.shown, self.size = list(demonstrations), batch_size
        self.answers = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]

    def prompts(self, texts):
        return render_prompts(self.t.item, texts, self.w, self.t.instruction, self.shown)

    def sums(self, prompts):
        table, tokens = np.zeros((len(prompts), len(self.w))), np.array([[len(a) for a in self.answers]] * len(prompts))
        for start in range(0, len(prompts), self.size):
            rows = self.tok(prompts[start : start + self.size], add_special_tokens=False)["input_ids"]
            pairs = [(row, answer) for row in rows for answer in self.answers]
            found, _ = batch_log_probs(self.lm, [p for p, _ in pairs], [a for _, a in pairs], self.tok.pad_token_id)
            table[start : start + self.size] = np.asarray(found).reshape(len(rows), -1)
        return torch.tensor(table), torch.tensor(tokens)

    def __call__(self, texts, methods=prompting.METHODS):
        sums, tokens = self.sums(self.prompts(texts))
        more = {}
        if "calibrated" in methods:
            more["empty_sums"] = self.sums(self.prompts(prompting.CONTENT_FREE))[0]
        if "prior" in methods:
            more["premise_sums"] = self.sums([prompting.premise_of(self.t)])[0][0]
        return {m: class_scores(sums, tokens, m, **more) for m in methods}

    def predict(self, texts, method="sum"):
        return [int(row.argmax()) for row in self(texts, (method,))[method]]
''')
right.cell("prompt_classifier", "equal texts go through the model once, and have a row each", whole(
    ("        prompts = render", "        rows = {text: i for i, text in enumerate(dict.fromkeys(texts))}\n"
     "        back, texts = [rows[text] for text in texts], list(rows)\n        prompts = render"),
    ("        return found\n", "        return {method: scores[back] for method, scores in found.items()}\n")))
right.cell("prompt_classifier", "short prompts first, put back in order", whole(
    ("        answers, parts =", "        order = sorted(range(len(prompts)), key=lambda i: len(self.ids(prompts[i])))\n"
     "        prompts = [prompts[i] for i in order]\n        answers, parts ="),
    ("        return sums.view(len(prompts), len(answers)), tokens.view(len(prompts), len(answers))",
     "        back = torch.tensor(order).argsort()\n        return (sums.view(len(prompts), len(answers))[back],\n"
     "                tokens.view(len(prompts), len(answers))[back])")))
right.cell("prompt_classifier", "arrays of numpy come out", whole((".argmax(dim=-1)", ".argmax(-1)"), (
    "            found[method] = class_scores(sums[:n], tokens[:n], method, premise, sums[n:])",
    "            found[method] = class_scores(sums[:n], tokens[:n], method, premise, sums[n:]).numpy()")))


# -- tune_prompt ------------------------------------------------------------------------------------------------------

TUNE = '''
def tune_prompt(score, templates, texts, labels, folds=5):
    labels, n = np.array(labels), len(texts)
    tables = {name: score(template, texts) for name, template in templates.items()}
    keys = [(name, method) for name in tables for method in tables[name]]
    classes = {key: np.asarray(tables[key[0]][key[1]]).argmax(axis=1) for key in keys}

    def choose(rows):
        best, most = None, -1.0
        for key in keys:
            value = evaluation.macro_f1(labels[rows], classes[key][rows])
            if value > most:
                best, most = key, value
        return best

    everything, left = choose(np.arange(n)), np.zeros(n, dtype=int)
    for k in range(folds):
        out = np.arange(k, n, folds)
        rest = np.setdiff1d(np.arange(n), out)
        left[out] = classes[choose(rest)][out]
    votes = {}
    for method in tables[keys[0][0]]:
        stack = torch.stack([torch.as_tensor(tables[name][method]) for name in tables])
        votes[method] = evaluation.accuracy(labels, stack.softmax(dim=2).mean(dim=0).argmax(dim=1).numpy())
    return {"template": everything[0], "method": everything[1],
            "macro_f1": evaluation.macro_f1(labels, classes[everything]),
            "held_out_macro_f1": evaluation.macro_f1(labels, left),
            "interval": evaluation.bootstrap_interval(labels, left, metric=evaluation.macro_f1),
            "vote_accuracy": votes}
'''


def tuned(*changes):
    return instead(TUNE, *changes)


OUT, CHOSEN = "np.arange(k, n, folds)", "classes[choose(rest)][out]"
HELD = "evaluation.macro_f1(labels, left),"
VOTE = "stack.softmax(dim=2).mean(dim=0).argmax(dim=1)"
for why, changes in {
    "chooses by accuracy": [("value = evaluation.macro_f1(", "value = evaluation.accuracy(")],
    "the last among equals": [("value > most", "value >= most")],
    "the method first among equals": [("for name in tables for method in tables[name]]",
                                       "for method in tables[next(iter(tables))] for name in tables]")],
    "equals in the order of the alphabet": [("    def choose", "    keys.sort()\n\n    def choose")],
    "the smallest macro-F1": [("best, most = None, -1.0", "best, most = None, 2.0"), ("value > most", "value < most")],
    "one choice, by all texts, for the texts left out": [(CHOSEN, "classes[everything][out]")],
    "chooses by the part that is left out": [(CHOSEN, "classes[choose(out)][out]")],
    "parts of neighbours": [(OUT, "np.array_split(np.arange(n), folds)[k]")],
    "the last texts are in no part": [(OUT, "np.arange(k, n - n % folds, folds)")],
    "one part too few": [("for k in range(folds)", "for k in range(folds - 1)")],
    "the number of parts is fixed": [("for k in range(folds)", "folds = 5\n    for k in range(folds)")],
    "the mean of the parts' macro-F1": [
        (HELD, "float(np.mean([evaluation.macro_f1(labels[k::folds], left[k::folds]) for k in range(folds)])),")],
    "accuracy on the texts left out": [(HELD, "evaluation.accuracy(labels, left),")],
    "the macro-F1 of the choice, not of all texts": [("evaluation.macro_f1(labels, classes[everything])",
                                                      "evaluation.macro_f1(labels[folds:], classes[everything][folds:])")],
    "the interval of the chosen prompt on the texts that chose it": [
        ("evaluation.bootstrap_interval(labels, left,", "evaluation.bootstrap_interval(labels, classes[everything],")],
    "the interval of the accuracy": [(", metric=evaluation.macro_f1", "")],
    "a small interval by a wrong level": [("metric=evaluation.macro_f1)", "metric=evaluation.macro_f1, level=0.5)")],
    "the most frequent vote": [(VOTE, "stack.argmax(dim=2).mode(dim=0).values")],
    "adds up scores that are not normalised": [(VOTE, "stack.sum(dim=0).argmax(dim=1)")],
    "the product of the probabilities": [(VOTE, "stack.log_softmax(dim=2).sum(dim=0).argmax(dim=1)")],
    "exponentials without normalising": [(VOTE, "stack.exp().mean(dim=0).argmax(dim=1)")],
    "softmax over the templates": [(VOTE, "stack.softmax(dim=0).mean(dim=0).argmax(dim=1)")],
    "the first template votes alone": [(VOTE, "stack[0].argmax(dim=1)")],
    "the vote's macro-F1 in the place of its accuracy": [("evaluation.accuracy(labels, stack",
        "evaluation.macro_f1(labels, stack")],
    "one vote for all methods": [("        stack =", "        method = keys[0][1]\n        stack =")],
    "asks for the scores again for each part": [
        ("        rest =",
            "        tables = {name: score(template, texts) for name, template in templates.items()}\n        rest =")],
    "scores each template once for each method": [
        ("np.asarray(tables[key[0]][key[1]])", "np.asarray(score(templates[key[0]], texts)[key[1]])")],
    "passes the name in the place of the template": [("score(template, texts)", "score(name, texts)")],
    "returns the template, not its name": [('"template": everything[0]', '"template": templates[everything[0]]')],
    "changes the labels in place": [("labels, n = np.array(labels), len(texts)", "n = len(texts)"),
                                    ("        left[out] =", "        labels[out[:1]] = 0\n        left[out] =")],
    "keeps the tables of the first call": [
        ("def tune_prompt", "KEPT = {}\ndef tune_prompt"),
        ("    keys =", "    tables = KEPT.setdefault('tables', tables)\n    templates = dict.fromkeys(tables)\n    keys =")],
    "the last method among equals": [("for method in tables[name]]", "for method in reversed(tables[name])]")],
    "the method that is first in the alphabet": [("for method in tables[name]]", "for method in sorted(tables[name])]")],
    "the method that is last in the alphabet": [
        ("for method in tables[name]]", "for method in sorted(tables[name], reverse=True)]")],
    "methods in the order of METHODS": [
        ("for method in tables[name]]", "for method in prompting.METHODS if method in tables[name]]")],
    "the template that is last in the alphabet": [
        ("for name in tables for", "for name in sorted(tables, reverse=True) for")],
    "the largest of value and names": [("    everything, left = choose(np.arange(n))",
        "    def choose(rows):\n"
        "        return max((evaluation.macro_f1(labels[rows], classes[k][rows]), *k) for k in keys)[1:]\n\n"
        "    everything, left = choose(np.arange(n))")],
    "accuracy chooses for the texts left out": [(CHOSEN,
        "classes[max(keys, key=lambda k: evaluation.accuracy(labels[rest], classes[k][rest]))][out]")],
    "a macro-F1 of the labels' classes only": [("value = evaluation.macro_f1(labels[rows], classes[key][rows])",
        "value = np.mean([2 * np.sum((labels[rows] == c) & (classes[key][rows] == c)) / (\n"
        "                np.sum(labels[rows] == c) + np.sum(classes[key][rows] == c)) for c in set(labels[rows])])")],
    "a part without texts is an error": [("        rest =", "        assert len(out)\n        rest =")],
    "normalises the scores in place": [("        stack =",
        "        for found in tables.values():\n            found[method] -= found[method].max(-1, keepdims=True)\n"
        "        stack =")],
    "exp of scores far below 0": [(VOTE, "(stack.exp() / stack.exp().sum(2, keepdim=True)).mean(dim=0).argmax(dim=1)")],
    "exp of scores far below the largest of all": [(
        VOTE, "((stack - stack.max()).exp() / (stack - stack.max()).exp().sum(2, keepdim=True)).mean(dim=0).argmax(dim=1)")],
    "shuffles the texts before it makes the parts": [
        ("    for k in range(folds):\n",
            "    mixed = np.random.default_rng(0).permutation(n)\n    for k in range(folds):\n"),
        (OUT, "mixed[k::folds]")],
}.items():
    wrong.cell("tune_prompt", why, tuned(*changes))


@wrong("tune_prompt", "calls the library's function")
def librarys_choice(score, templates, texts, labels, folds=5):
    return prompting.tune_prompt(score, templates, texts, labels, folds)


right.cell("tune_prompt", "in another form", TUNE)
right.cell("tune_prompt", "the vote and the spread of the library; an interval as a list; one key more", tuned(
    (VOTE + ".numpy()", "prompting.ensemble(stack.numpy())".replace(".numpy())", ")")),
    ("evaluation.bootstrap_interval(labels, left, metric=evaluation.macro_f1)",
     "list(evaluation.bootstrap_interval(labels, left, evaluation.macro_f1))"),
    ('"vote_accuracy": votes}', '"vote_accuracy": votes, "rows": n}')))


@right("tune_prompt", "argmax over one array of all candidates, a mask for each part")
def with_one_array(score, templates, texts, labels, folds=5):
    found = [score(template, texts) for template in templates.values()]
    methods = list(found[0])
    scores = np.array([[np.asarray(table[method], dtype=float) for method in methods] for table in found])
    flat = scores.argmax(-1).reshape(-1, len(texts))

    def best(mask):
        return int(np.argmax([evaluation.macro_f1(labels[mask], row[mask]) for row in flat]))

    held_out = labels.copy()
    for k in range(folds):
        mask = np.arange(len(texts)) % folds != k
        held_out[~mask] = flat[best(mask), ~mask]
    p = np.exp(scores - scores.max(-1, keepdims=True))
    votes = (p / p.sum(-1, keepdims=True)).mean(0).argmax(-1)
    winner = best(np.ones(len(texts), dtype=bool))
    low, high = evaluation.bootstrap_interval(labels, held_out, evaluation.macro_f1)
    return {"template": list(templates)[winner // len(methods)], "method": methods[winner % len(methods)],
            "macro_f1": evaluation.macro_f1(labels, flat[winner]), "interval": (low, high),
            "held_out_macro_f1": evaluation.macro_f1(labels, held_out),
            "vote_accuracy": {m: float((vote == labels).mean()) for m, vote in zip(methods, votes)}}


@right("tune_prompt", "sorted, since sorting keeps equals in order; each text for itself")
def with_sorting(score, templates, texts, labels, folds=5):
    tables = {}
    for name in templates:
        for method, scores in score(templates[name], texts).items():
            tables[name, method] = torch.as_tensor(np.array(scores))
    def ranked(rows):
        return sorted(tables, key=lambda key: -evaluation.macro_f1(labels[rows], tables[key][rows].argmax(1).numpy()))
    rows = list(range(len(texts)))
    choices = [ranked([i for i in rows if i % folds != k])[0] for k in range(folds)]
    left_out = np.array([int(tables[choices[i % folds]][i].argmax()) for i in rows])
    name, method = ranked(rows)[0]
    votes = {}
    for way in dict.fromkeys(way for _, way in tables):
        total = sum(torch.softmax(scores, 1) for key, scores in tables.items() if key[1] == way)
        votes[way] = float(np.mean(total.argmax(1).numpy() == labels))
    return {"template": name, "method": method, "vote_accuracy": votes,
            "macro_f1": evaluation.macro_f1(labels, tables[name, method].argmax(1).numpy()),
            "held_out_macro_f1": evaluation.macro_f1(labels, left_out),
            "interval": np.array(evaluation.bootstrap_interval(labels, left_out, evaluation.macro_f1))}


# -- redact -----------------------------------------------------------------------------------------------------------


@wrong("redact", "hides every number")
def every_number(text):
    for name, pattern in (("URL", r"(https?://|www\.)\S+"), ("EMAIL", r"\S+@\S+\.\w+"), ("HANDLE", r"@\w+"),
                          ("PHONE", r"\+?\d[\d ,:/-]*")):
        text = re.sub(pattern, f"[{name}]", text)
    return text


@wrong("redact", "hides everything")
def hides_all(text):
    return "[REDACTED]"


@wrong("redact", "knows only phone numbers without gaps")
def no_gaps(text):
    return re.sub(r"\+?\d{9,14}", "[PHONE]", text)


@wrong("redact", "knows Nigeria's numbers only")
def nigeria_only(text):
    text = re.sub(r"\S+@\S+\.\w+", "[EMAIL]", text)
    return re.sub(r"(\+234|0)[ -]?\d{3}[ -]?\d{3}[ -]?\d{4}", "[PHONE]", text)


@wrong("redact", "deletes without a placeholder")
def deletes(text):
    return re.sub(r"\[[A-Z]+\]", "", prompting.redact(text))


@wrong("redact", "forgets web addresses and handles")
def two_kinds_missing(text):
    for name, pattern in prompting.PRIVATE:
        if name not in ("URL", "HANDLE"):
            text = re.sub(pattern, f"[{name}]", text)
    return text


SHAPE = r'''
def redact(text):
    text = re.sub(r"(https?://|www\.)[^\s;,)]*[\w/]", "[URL]", text)
    text = re.sub(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", "[EMAIL]", text)
    text = re.sub(r"@\w{2,}", "[HANDLE]", text)
    def number(match):
        found, digits = match[0], re.sub(r"\D", "", match[0])
        if found[0] == "+" and digits.startswith(("234", "254", "880", "51")) and 11 <= len(digits) <= 13:
            return "[PHONE]"
        if re.fullmatch(r"[A-Z]?\d{8,17}", found):
            return "[ID]"
        usual = {"0": (10, 11), "9": (9,)}.get(found[0], ())
        return "[PHONE]" if len(digits) in usual else found
    return re.sub(r"(?<!\w)[+A-Z]?\d+(?:[ -]\d+)*(?!\w)", number, text)
'''
right.cell("redact", "one rule for numbers, which counts digits; then the rest", SHAPE)
wrong.cell("redact", "seven digits or more are a phone", instead(SHAPE, ("len(digits) in usual", "len(digits) > 6")))


@wrong("redact", "the same placeholder for everything")
def one_placeholder(text):
    rules = [r"\b(?:https?://|www\.)[^\s;,]+", r"[\w.]+@[\w.]+\w", r"@\w+",
             r"\+(?:234|254|880|51)(?:[ -]?\d+)+", r"\b0[78]\d\d[ -]?\d{3}[ -]?\d{3,4}\b", r"\b01\d{3}-?\d{6}\b",
             r"\b9\d\d[ -]?\d{3}[ -]?\d{3}\b", r"\b[A-Z]?\d{8,17}\b"]
    for rule in rules:
        text = re.sub(rule, "[HIDDEN]", text)
    return text


PER_COUNTRY = r'''
RULES = [("URL", r"\b(?:https?://|www\.)[^\s;,]*[\w/]"), ("EMAIL", r"[\w.+-]+@[\w.-]+\w"), ("HANDLE", r"@\w\w+"),
         ("PHONE", r"\+(?:234|254|880|51)(?:[ -]?\d+)+"), ("PHONE", r"\b0[78]\d\d[ -]?\d{3}[ -]?\d{3,4}\b"),
         ("PHONE", r"\b01\d{3}[ -]?\d{6}\b"), ("PHONE", r"\b9\d\d[ -]?\d{3}[ -]?\d{3}\b"),
         ("ID", r"\b[A-Z]?\d{8,17}\b")]

def redact(text):
    for kind, rule in RULES:
        text = re.sub(rule, f"[{kind}]", text)
    return text
'''


def by_country(*changes):
    return instead(PER_COUNTRY, *changes)


right.cell("redact", "one rule per country", PER_COUNTRY)
for why, change in {
    "only the first of each kind": (", text)", ", text, count=1)"),
    "two of each kind": (", text)", ", text, count=2)"),
    "small letters for all the rest": ("    return text", "    return text[:1] + text[1:].replace('[', '\\0').lower()"),
    "loses the letters of other alphabets": ("    return text", "    return text.encode('ascii', 'ignore').decode()"),
    "looks at the first line only": ("    return text", "    return text.split('\\n')[0]"),
    "the spaces become one": ("    return text", "    return ' '.join(text.split())"),
    "strips the text": ("    return text", "    return text.strip()"),
    "hides names": ("    return text", "    return re.sub(r'(?<=\\w )[A-Z][a-z]{3,}', '[NAME]', text)"),
    "an identity number is a phone": ('("ID", ', '("PHONE", '),
    "an e-mail is a handle": ('("EMAIL", ', '("HANDLE", '),
    "only https": ("https?", "https"),
    "addresses that end in .com": (r"[^\s;,]*[\w/]", r"\w+\.com(?:/\w+)?"),
    "no question in an address": (r"[^\s;,]*[\w/]", r"[\w./-]*[\w/]"),
    "one name and one folder in an address": (r"[^\s;,]*[\w/]", r"\w+\.\w+(?:/\w+)?"),
    "the full stop goes with the address": (r"[^\s;,]*[\w/]", r"\S+"),
    "the full stop goes with the e-mail": (r"@[\w.-]+\w", r"@\S+"),
    "the full stop goes with the handle": (r"@\w\w+", r"@[\w.]+"),
    "a handle needs a space before it": (r"@\w\w+", r"(?<=\s)@\w\w+"),
    "an e-mail has letters only": (r"[\w.+-]+@[\w.-]+\w", r"[A-Za-z._+-]+@[\w.-]+\w"),
    "an e-mail in small letters": (r"[\w.+-]+@[\w.-]+\w", r"[a-z0-9._+-]+@[\w.-]+\w"),
    "an e-mail without full stop or plus before the @": (r"[\w.+-]+@", r"\w+@"),
    "an e-mail without a hyphen before the @": (r"[\w.+-]+@", r"[\w.+]+@"),
    "an e-mail without a plus": (r"[\w.+-]+@", r"[\w.-]+@"),
    "an e-mail without a hyphen behind the @": (r"@[\w.-]+\w", r"@[\w.]+\w"),
    "no +234": ("234|254", "254"),
    "no +254": ("234|254", "234"),
    "no +880": ("|880", ""),
    "no +51": ("|51", ""),
    "any gap in a phone, a new line too": (r"(?:[ -]?\d+)+", r"(?:[\s.,/-]?\d+)+"),
    "Nigeria's numbers only": ("0[78]", "08"),
    "a hyphen only in Bangladesh": (r"01\d{3}[ -]?", r"01\d{3}-?"),
    "Peru's numbers with gaps only in spaces": (r"9\d\d[ -]?\d{3}[ -]?\d{3}", r"9\d\d ?\d{3} ?\d{3}"),
    "Peru's numbers with 98": (r"9\d\d[", r"98\d["),
    "Peru's numbers with the space behind them": (r"[ -]?\d{3}\b", r"[ -]?\d{3}\b ?"),
    "identity numbers of up to 13 digits": ("{8,17}", "{8,13}"),
    "identity numbers of up to 16 digits": ("{8,17}", "{8,16}"),
    "identity numbers from 7 digits": ("{8,17}", "{7,17}"),
    "identity numbers without an end": ("{8,17}", "{8,}"),
    "identity numbers in a longer one": (r"\b[A-Z]?\d{8,17}\b", r"[A-Z]?\d{8,17}"),
    "several letters before an identity number": ("[A-Z]?", "[A-Z]*"),
    "eight digits with gaps are a phone": (r"\b9\d\d[ -]?\d{3}[ -]?\d{3}\b", r"(?<!\w)\d[\d -]{6,}\d"),
}.items():
    wrong.cell("redact", why, by_country(change))


@wrong("redact", "calls the library's function")
def librarys_redact(text):
    return prompting.redact(text)


@right("redact", "one pattern with names, and a function for the replacement")
def with_one_pattern(text):
    pattern = (r"(?P<URL>(?:https?://|\bwww\.)[^\s,;]*[\w/])|(?P<EMAIL>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)|(?P<HANDLE>@\w{2,})"
               r"|(?P<ID>(?<!\w)[A-Z]\d{8,17}(?!\w))"
               r"|(?P<PHONE>(?<![\w+])(?:\+\d{1,3}[ -]?|0|9)\d{2,4}(?:[ -]?\d{3,6}){1,3}(?!\w))"
               r"|(?P<NUMBER>(?<!\w)\d{8,17}(?!\w))")
    return re.sub(pattern, lambda m: "[" + m.lastgroup.replace("NUMBER", "ID") + "]", text)


@right("redact", "word by word for what has no gaps, then the phones")
def word_by_word(text):
    def word(match):
        found = match[0]
        if re.match(r"https?://|www\.", found):
            return "[URL]"
        if "@" in found:
            return found if found == "@" else "[HANDLE]" if found[0] == "@" else "[EMAIL]"
        return "[ID]" if re.fullmatch(r"[A-Z]?\d{8,17}", found) else found
    text = re.sub(r"[^\s,;()]*[^\s,;().]", word, text)
    phone = (r"(?<![\w+])(?:\+(?:234|254|51)[ -]?)?[09]?\d{2,3}[ -]?\d{3}[ -]?\d{3,4}\b"
             r"|(?<!\w)(?:\+880[ -]?|0)1\d{3}[ -]?\d{6}\b")
    return re.sub(phone, lambda m: "[PHONE]" if m[0][0] in "+09" else m[0], text)


# -- prompt (the artifact) --------------------------------------------------------------------------------------------


def changed(trained, **parts):
    """The saved prompt with some parts replaced."""
    import json

    return {"prompt.json": json.dumps({**json.loads(trained["prompt.json"]), **parts}).encode()}


@wrong.artifact("prompt", "the file is cut off")
def cut_off(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("prompt", "the two words are swapped")
def swapped_words(trained):
    return changed(trained, words=["positive", "negative"])


@wrong.artifact("prompt", "a template that says the same for nearly every text")
def leaning(trained):
    return changed(trained, method="sum", template={"item": "### Text\n{text}\n\n### Sentiment (negative or positive)\n"})


@wrong.artifact("prompt", "the item has no place for the text")
def no_place(trained):
    return changed(trained, template={"item": "Sentiment:"})


@wrong.artifact("prompt", "a score that does not exist")
def unknown_method(trained):
    return changed(trained, method="best")


@wrong.artifact("prompt", "three words for two classes")
def three_words(trained):
    return changed(trained, words=["negative", "neutral", "positive"])


@wrong.artifact("prompt", "for a file of one's own, for which there are no held-out rows")
def own_language(trained):
    return changed(trained, language="mine.csv")


@wrong.artifact("prompt", "saved under another name")
def other_name(trained):
    return {"my_prompt.json": trained["prompt.json"]}


@right.artifact("prompt", "written again, keys in another order")
def rewritten(trained):
    import json

    return {"prompt.json": json.dumps(dict(reversed(json.loads(trained["prompt.json"]).items()))).encode()}


@right.artifact("prompt", "the same by hand, without a card")
def without_card(trained):
    return changed(trained, card={})
