"""Bank of lab 4: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, re, json, prompting, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905

# -- render_prompt ----------------------------------------------------------------------------------------------------


@wrong("render_prompt", "str.format trips over other braces")
def with_format(item, text, instruction="", demonstrations=()):
    parts = [instruction] if instruction else []
    parts += [item.format(text=shown) + " " + word for shown, word in demonstrations]
    return "\n\n".join([*parts, item.format(text=text)])


@wrong("render_prompt", "joins first and fills after, so a text's own {text} is filled too")
def fills_at_the_end(item, text, instruction="", demonstrations=()):
    parts = [instruction] if instruction else []
    parts += [item.replace("{text}", shown) + " " + word for shown, word in demonstrations]
    return "\n\n".join([*parts, item]).replace("{text}", text)


@wrong("render_prompt", "an empty instruction leaves an empty line")
def empty_line(item, text, instruction="", demonstrations=()):
    parts = [instruction] + [item.replace("{text}", shown) + " " + word for shown, word in demonstrations]
    return "\n\n".join([*parts, item.replace("{text}", text)])


@wrong("render_prompt", "forgets the space before the word")
def no_space(item, text, instruction="", demonstrations=()):
    parts = [instruction] if instruction else []
    parts += [item.replace("{text}", shown) + word for shown, word in demonstrations]
    return "\n\n".join([*parts, item.replace("{text}", text)])


@wrong("render_prompt", "the text stands before the demonstrations")
def wrong_order(item, text, instruction="", demonstrations=()):
    parts = [instruction] if instruction else []
    parts += [item.replace("{text}", text)]
    return "\n\n".join(parts + [item.replace("{text}", shown) + " " + word for shown, word in demonstrations])


@wrong("render_prompt", "a regular expression reads backslashes in the text")
def with_regex(item, text, instruction="", demonstrations=()):
    parts = [instruction] if instruction else []
    parts += [re.sub(r"\{text\}", shown, item) + " " + word for shown, word in demonstrations]
    return "\n\n".join([*parts, re.sub(r"\{text\}", text, item)])


@right("render_prompt", "with partition")
def with_partition(item, text, instruction="", demonstrations=()):
    before, _, after = item.partition("{text}")
    prompt = instruction + "\n\n" if instruction else ""
    for shown, word in demonstrations:
        prompt += f"{before}{shown}{after} {word}\n\n"
    return prompt + before + text + after


@wrong("render_prompt", "calls the library's template")
def by_library(item, text, instruction="", demonstrations=()):
    return PromptTemplate(item, instruction).render(text, [tuple(pair) for pair in demonstrations])


@right("render_prompt", "a helper for one item, and split")
def with_a_helper(item, text, instruction="", demonstrations=()):
    def filled(shown):
        return shown.join(item.split("{text}"))
    lines = [filled(shown) + " " + word for shown, word in demonstrations] + [filled(text)]
    return "\n\n".join([instruction] * bool(instruction) + lines)


@right("render_prompt", "pairs as pairs: the % operator, the text as one more pair")
def with_percent(item, text, instruction="", demonstrations=()):
    item = item.replace("%", "%%").replace("{text}", "%s")
    parts = [instruction] if instruction != "" else []
    parts.extend((item + " %s") % pair for pair in demonstrations)
    parts.append(item % text)
    return str.join("\n\n", parts)


@right("render_prompt", "from the end to the beginning")
def from_the_end(item, text, instruction="", demonstrations=()):
    prompt = item.replace("{text}", text)
    for pair in reversed(demonstrations):
        prompt = item.replace("{text}", pair[0]) + " " + pair[1] + "\n\n" + prompt
    return instruction + "\n\n" + prompt if instruction else prompt


@wrong("render_prompt", "strips what stands around the texts")
def strips(item, text, instruction="", demonstrations=()):
    parts = [instruction] if instruction else []
    parts += [item.replace("{text}", shown.strip()) + " " + word for shown, word in demonstrations]
    return "\n\n".join([*parts, item.replace("{text}", text.strip())])


@wrong("render_prompt", "fills the instruction too")
def fills_the_instruction(item, text, instruction="", demonstrations=()):
    parts = [instruction.replace("{text}", text)] if instruction else []
    parts += [item.replace("{text}", shown) + " " + word for shown, word in demonstrations]
    return "\n\n".join([*parts, item.replace("{text}", text)])


@wrong("render_prompt", "the same demonstration is shown once only")
def each_once(item, text, instruction="", demonstrations=()):
    parts = [instruction] if instruction else []
    parts += [item.replace("{text}", shown) + " " + word for shown, word in dict(demonstrations).items()]
    return "\n\n".join([*parts, item.replace("{text}", text)])


@wrong("render_prompt", "the demonstrations only with an instruction")
def only_with_an_instruction(item, text, instruction="", demonstrations=()):
    parts = []
    if instruction:
        parts = [instruction, *(item.replace("{text}", shown) + " " + word for shown, word in demonstrations)]
    return "\n\n".join([*parts, item.replace("{text}", text)])


# -- answer_log_prob --------------------------------------------------------------------------------------------------


@wrong("answer_log_prob", "off by one: each token is looked up at its own position")
def not_shifted(model, prompt, answer):
    ids = torch.cat([prompt, answer])
    with torch.no_grad():
        log_probs = model(ids[None]).logits[0].log_softmax(-1)
    places = torch.arange(len(prompt), len(ids))
    return float(log_probs[places, ids[places]].sum())


@wrong("answer_log_prob", "counts the prompt's tokens too")
def with_the_prompt(model, prompt, answer):
    ids = torch.cat([prompt, answer])
    with torch.no_grad():
        log_probs = model(ids[None]).logits[0].log_softmax(-1)
    places = torch.arange(len(ids) - 1)
    return float(log_probs[places, ids[places + 1]].sum())


@wrong("answer_log_prob", "adds up logits without the softmax")
def raw_logits(model, prompt, answer):
    ids = torch.cat([prompt, answer])
    with torch.no_grad():
        logits = model(ids[None]).logits[0]
    places = torch.arange(len(prompt) - 1, len(ids) - 1)
    return float(logits[places, ids[places + 1]].sum())


@wrong("answer_log_prob", "the mean instead of the sum")
def mean_of_tokens(model, prompt, answer):
    ids = torch.cat([prompt, answer])
    with torch.no_grad():
        log_probs = model(ids[None]).logits[0].log_softmax(-1)
    places = torch.arange(len(prompt) - 1, len(ids) - 1)
    return float(log_probs[places, ids[places + 1]].mean())


@wrong("answer_log_prob", "only the first token of the answer")
def first_token_only(model, prompt, answer):
    with torch.no_grad():
        return float(model(prompt[None]).logits[0, -1].log_softmax(-1)[answer[0]])


@wrong("answer_log_prob", "every token after the prompt alone")
def all_after_prompt(model, prompt, answer):
    with torch.no_grad():
        return float(model(prompt[None]).logits[0, -1].log_softmax(-1)[answer].sum())


@right("answer_log_prob", "a loop that makes the text longer token by token")
def token_by_token(model, prompt, answer):
    total, ids = 0.0, prompt
    for token in answer:
        with torch.no_grad():
            total += float(model(ids[None]).logits[0, -1].log_softmax(-1)[token])
        ids = torch.cat([ids, token[None]])
    return total


@right("answer_log_prob", "with cross_entropy")
def by_cross_entropy(model, prompt, answer):
    with torch.no_grad():
        logits = model(torch.cat([prompt, answer])[None]).logits[0, len(prompt) - 1 : -1]
    return -torch.nn.functional.cross_entropy(logits, answer, reduction="sum").item()


@wrong("answer_log_prob", "a tensor that holds the graph of the whole model")
def holds_the_graph(model, prompt, answer):
    ids = torch.cat([prompt, answer])
    log_probs = model(ids[None]).logits[0].log_softmax(-1)
    places = torch.arange(len(prompt) - 1, len(ids) - 1)
    return log_probs[places, ids[places + 1]].sum()


@wrong("answer_log_prob", "each token of the answer counts once, however often it stands there")
def different_tokens(model, prompt, answer):
    ids = torch.cat([prompt, answer])
    with torch.no_grad():
        log_probs = model(ids[None]).logits[0].log_softmax(-1)
    found = {int(token): float(log_probs[len(prompt) - 1 + i, token]) for i, token in enumerate(answer)}
    return sum(found.values())


@wrong("answer_log_prob", "leaves token 0 out, as if it were padding")
def without_token_0(model, prompt, answer):
    ids = torch.cat([prompt, answer])
    with torch.no_grad():
        log_probs = model(ids[None]).logits[0].log_softmax(-1)
    return sum(float(log_probs[len(prompt) - 1 + i, token]) for i, token in enumerate(answer) if token)


@wrong("answer_log_prob", "the logarithm to the base 2")
def in_bits(model, prompt, answer):
    ids = torch.cat([prompt, answer])
    with torch.no_grad():
        log_probs = model(ids[None]).logits[0].softmax(-1).log2()
    places = torch.arange(len(prompt) - 1, len(ids) - 1)
    return float(log_probs[places, ids[places + 1]].sum())


@right("answer_log_prob", "with gather and .item()")
def with_gather(model, prompt, answer):
    ids = torch.cat((prompt, answer)).unsqueeze(0)
    with torch.inference_mode():
        log_probs = torch.log_softmax(model(input_ids=ids).logits, dim=-1)
    found = log_probs[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)
    return found[0, -len(answer):].sum().item()


@right("answer_log_prob", "with logsumexp, as a numpy number, gradients on")
def with_logsumexp(model, prompt, answer):
    logits = model(torch.cat([prompt, answer])[None]).logits[0].detach()
    rows = logits[len(prompt) - 1 : len(prompt) - 1 + len(answer)]
    return np.float32((rows[range(len(answer)), answer] - rows.logsumexp(-1)).sum())


@wrong("answer_log_prob", "a small number added to the product: an unlikely answer is cut off")
def product_with_epsilon(model, prompt, answer):
    ids = torch.cat([prompt, answer])
    probabilities = model(ids[None]).logits[0].softmax(-1)
    places = torch.arange(len(prompt), len(ids))
    return float((probabilities[places - 1, ids[places]].prod() + 1e-20).log())


@wrong("answer_log_prob", "looks for the answer's first token, which the prompt holds too")
def found_by_token(model, prompt, answer):
    ids = torch.cat([prompt, answer])
    log_probs = model(ids[None]).logits[0].log_softmax(-1)
    start = ids.tolist().index(int(answer[0]))
    places = torch.arange(start, start + len(answer))
    return float(log_probs[places - 1, ids[places]].sum())


# -- batch_log_probs --------------------------------------------------------------------------------------------------

BATCH = '''
def batch_log_probs(model, prompts, answers, pad_token_id):
    rows = [p + a for p, a in zip(prompts, answers)]
    longest = max(map(len, rows))
    ids = torch.tensor([{pad}])
    mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])
    with torch.no_grad():
        log_probs = model(ids, attention_mask=mask).logits.log_softmax(-1)
    every = log_probs[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
    sums = torch.stack([{part} for i, (p, a) in enumerate(zip(prompts, answers))])
    return sums, torch.tensor({tokens})
'''
PAD = "r + [pad_token_id] * (longest - len(r)) for r in rows"
PART = "every[i, len(p) - 1 : len(p) + len(a) - 1].sum()"
TOKENS = "[len(a) for a in answers]"

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
    "torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in rows])", "(ids != pad_token_id).long()").format(
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
right.cell("batch_log_probs", "a full tensor, filled; the numbers as lists", '''
def batch_log_probs(model, prompts, answers, pad_token_id):
    lengths = [len(p) + len(a) for p, a in zip(prompts, answers)]
    ids = torch.full((len(lengths), max(lengths)), pad_token_id)
    for i, (p, a) in enumerate(zip(prompts, answers)):
        ids[i, : lengths[i]] = torch.tensor(p + a)
    mask = (torch.arange(ids.shape[1])[None] < torch.tensor(lengths)[:, None]).long()
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
        logits = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(real)).logits.numpy()
    z = logits[:, :-1] - logits[:, :-1].max(-1, keepdims=True)
    z = z - np.log(np.exp(z).sum(-1, keepdims=True))
    every = np.take_along_axis(z, ids[:, 1:, None], 2)[..., 0]
    return (every * asked[:, 1:]).sum(1), asked.sum(1)
''')


@wrong("batch_log_probs", "one row after the other, a call of the model for each")
def row_by_row(model, prompts, answers, pad_token_id):
    sums = [answer_log_prob(model, torch.tensor(p), torch.tensor(a)) for p, a in zip(prompts, answers)]
    return np.array(sums), [len(a) for a in answers]


@right("batch_log_probs", "labels of -100 and cross_entropy; no attention mask, since padding comes last")
def with_ignored_labels(model, prompts, answers, pad_token_id):
    rows = [torch.tensor(p + a) for p, a in zip(prompts, answers)]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_token_id)
    labels = torch.full_like(ids, -100)
    for i, (p, a) in enumerate(zip(prompts, answers)):
        labels[i, len(p) : len(p) + len(a)] = torch.tensor(a)
    with torch.no_grad():
        logits = model(ids).logits
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
        logits = model(ids, attention_mask=real).logits[:, :-1]
    scores = logits.gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1) - torch.logsumexp(logits, -1)
    return [scores.masked_fill(~kept[:, 1:], 0.0).sum(1).tolist(), kept.sum(1).tolist()]


@right("batch_log_probs", "the longest row first, put back in order at the end, with a mask of True and False")
def longest_row_first(model, prompts, answers, pad_token_id):
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]) - len(answers[i]))
    rows = [torch.tensor([*prompts[i], *answers[i]]) for i in order]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_token_id)
    mask = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
    scores = model(ids, attention_mask=mask).logits.log_softmax(-1)
    sums = torch.zeros(len(rows))
    for place, i in enumerate(order):
        start = len(prompts[i])
        sums[i] = sum(scores[place, start + k - 1, token] for k, token in enumerate(answers[i]))
    return sums, torch.tensor([len(answer) for answer in answers])


# -- normalize_scores -------------------------------------------------------------------------------------------------

NORMALIZE = '''
def normalize_scores(sums, tokens, method, premise_sums=None):
    if method == "sum":
        return {sum}
    if method == "mean":
        return {mean}
    if method == "prior":
        return {prior}
    raise ValueError(method)
'''
wrong.cell("normalize_scores", "divides by the logarithm of the premise",
           NORMALIZE.format(sum="sums", mean="sums / tokens", prior="sums / premise_sums"))
wrong.cell("normalize_scores", "adds the premise",
           NORMALIZE.format(sum="sums", mean="sums / tokens", prior="sums + premise_sums"))
wrong.cell("normalize_scores", "the mean over the labels",
           NORMALIZE.format(sum="sums", mean="sums.mean(dim=-1, keepdim=True) + 0 * sums", prior="sums - premise_sums"))
wrong.cell("normalize_scores", "multiplies by the length",
           NORMALIZE.format(sum="sums", mean="sums * tokens", prior="sums - premise_sums"))
wrong.cell("normalize_scores", "probabilities instead of log-probabilities",
           NORMALIZE.format(sum="sums.exp()", mean="sums.exp() / tokens", prior="sums.exp() - premise_sums.exp()"))
wrong.cell("normalize_scores", "the premise's mean for all labels",
           NORMALIZE.format(sum="sums", mean="sums / tokens", prior="sums - premise_sums.mean()"))


@right("normalize_scores", "with numpy")
def in_numpy(sums, tokens, method, premise_sums=None):
    sums, tokens = np.asarray(sums), np.asarray(tokens)
    if method == "prior":
        return sums - np.asarray(premise_sums)[None, :]
    if method not in ("sum", "mean"):
        raise ValueError("not one of the three")
    return {"sum": sums, "mean": sums / tokens}[method]


@right("normalize_scores", "with match and clones")
def with_match(sums, tokens, method, premise_sums=None):
    match method:
        case "sum":
            return sums.clone()
        case "mean":
            return torch.div(sums, tokens)
        case "prior":
            return sums - premise_sums.expand_as(sums)
        case _:
            raise ValueError("use sum, mean or prior")


@right("normalize_scores", "an error of one's own, derived from ValueError; a table of functions")
def with_a_table(sums, tokens, method, premise_sums=None):
    class UnknownMethod(ValueError):
        pass
    ways = {"sum": lambda: sums, "mean": lambda: sums * (1 / tokens), "prior": lambda: torch.sub(sums, premise_sums)}
    if method not in ways:
        raise UnknownMethod(method)
    return ways[method]()


@right("normalize_scores", "row by row, in lists")
def in_lists(sums, tokens, method, premise_sums=None):
    if method not in ["sum", "mean", "prior"]:
        raise ValueError(f"{method}?")
    rows = []
    for row, lengths in zip(sums.tolist(), tokens.tolist()):
        if method == "mean":
            row = [s / k for s, k in zip(row, lengths)]
        elif method == "prior":
            row = [s - bare for s, bare in zip(row, premise_sums.tolist())]
        rows.append(row)
    return rows


wrong.cell("normalize_scores", "changes the sums in place", NORMALIZE.format(
    sum="sums", mean="sums.div_(tokens)", prior="sums.sub_(premise_sums)"))
wrong.cell("normalize_scores", "an unknown method is taken as the sum", NORMALIZE.replace(
    "raise ValueError(method)", "return sums").format(sum="sums", mean="sums / tokens", prior="sums - premise_sums"))
wrong.cell("normalize_scores", "an unknown method gives None", NORMALIZE.replace(
    "raise ValueError(method)", "print('unknown')").format(sum="sums", mean="sums / tokens", prior="sums - premise_sums"))
wrong.cell("normalize_scores", "another error than asked for", NORMALIZE.replace(
    "raise ValueError(method)", "raise KeyError(method)").format(
    sum="sums", mean="sums / tokens", prior="sums - premise_sums"))
wrong.cell("normalize_scores", "the premise along the wrong dimension", NORMALIZE.format(
    sum="sums", mean="sums / tokens", prior="sums - premise_sums[:, None]"))
wrong.cell("normalize_scores", "takes every name that begins like one of the three", NORMALIZE.replace(
    "method ==", "method in").format(sum="sums", mean="sums / tokens", prior="sums - premise_sums"))
wrong.cell("normalize_scores", "the length of the first text's labels for all", NORMALIZE.format(
    sum="sums", mean="sums / tokens[0]", prior="sums - premise_sums"))
wrong.cell("normalize_scores", "calls the library's function", """
def normalize_scores(sums, tokens, method, premise_sums=None):
    return prompting.normalize_scores(sums, tokens, method, premise_sums)
""")


@wrong("normalize_scores", "any other method is taken for the prior, where there are premise sums")
def otherwise_prior(sums, tokens, method, premise_sums=None):
    if method == "sum":
        return sums
    if method == "mean":
        return sums / tokens
    if premise_sums is None:
        raise ValueError(method)
    return sums - premise_sums


# -- template_spread, ensemble ----------------------------------------------------------------------------------------


@wrong("template_spread", "divides by the number of templates")
def population(log_probs, labels):
    accuracies = (log_probs.argmax(-1) == labels).double().mean(1)
    return float(accuracies.mean()), float(accuracies.std(correction=0))


@wrong("template_spread", "the deviation over all single answers")
def over_answers(log_probs, labels):
    hits = (log_probs.argmax(-1) == labels).double()
    return float(hits.mean()), float(hits.std())


@wrong("template_spread", "the deviation over texts")
def over_texts(log_probs, labels):
    hits = (log_probs.argmax(-1) == labels).double()
    return float(hits.mean()), float(hits.mean(0).std())


@wrong("template_spread", "the best template and the range")
def best_and_range(log_probs, labels):
    accuracies = (log_probs.argmax(-1) == labels).double().mean(1)
    return float(accuracies.max()), float(accuracies.max() - accuracies.min())


@wrong("template_spread", "the variance")
def variance(log_probs, labels):
    accuracies = (log_probs.argmax(-1) == labels).double().mean(1)
    return float(accuracies.mean()), float(accuracies.var())


@right("template_spread", "with a loop and numpy")
def looped_spread(log_probs, labels):
    found = [float(np.mean(np.asarray(table).argmax(1) == np.asarray(labels))) for table in log_probs]
    return np.mean(found), np.std(found, ddof=1)


@right("template_spread", "with pandas")
def pandas_spread(log_probs, labels):
    hits = pd.DataFrame((log_probs.argmax(-1) == labels).numpy().T).mean()
    return [float(hits.mean()), float(hits.std())]


@right("template_spread", "with the statistics module; numbers of numpy")
def with_statistics(log_probs, labels):
    import statistics
    found = [np.mean([int(row.argmax() == label) for row, label in zip(table, labels)]) for table in log_probs]
    return np.float64(statistics.mean(found)), statistics.stdev(found)


@right("template_spread", "one array of two numbers")
def spread_as_array(log_probs, labels):
    found = (log_probs.numpy().argmax(-1) == labels.numpy()[None]).mean(axis=1)
    return np.array([found.mean(), found.std(ddof=1)])


@wrong("template_spread", "the labels stand along the templates")
def labels_along_templates(log_probs, labels):
    accuracies = (log_probs.argmax(-1) == labels[:, None]).double().mean(1)
    return float(accuracies.mean()), float(accuracies.std())


@wrong("template_spread", "the standard error")
def standard_error(log_probs, labels):
    accuracies = (log_probs.argmax(-1) == labels).double().mean(1)
    return float(accuracies.mean()), float(accuracies.std() / len(accuracies) ** 0.5)


@wrong("template_spread", "the two exchanged")
def exchanged(log_probs, labels):
    accuracies = (log_probs.argmax(-1) == labels).double().mean(1)
    return float(accuracies.std()), float(accuracies.mean())


@wrong("template_spread", "in percent")
def in_percent(log_probs, labels):
    accuracies = (log_probs.argmax(-1) == labels).double().mean(1) * 100
    return float(accuracies.mean()), float(accuracies.std())


@wrong("template_spread", "calls the library's function")
def librarys_spread(log_probs, labels):
    return prompting.template_spread(log_probs, labels)


@wrong("ensemble", "the most frequent vote")
def majority_vote(log_probs):
    return log_probs.argmax(-1).mode(0).values


@wrong("ensemble", "the product of the probabilities")
def product(log_probs):
    return log_probs.log_softmax(-1).sum(0).argmax(-1)


@wrong("ensemble", "the median of the probabilities")
def median_probability(log_probs):
    return log_probs.softmax(-1).median(0).values.argmax(-1)


@wrong("ensemble", "the classes as numbers with a fraction")
def float_classes(log_probs):
    return log_probs.softmax(-1).mean(0).argmax(-1).float()


@wrong("ensemble", "the probabilities, not the class")
def no_argmax(log_probs):
    return log_probs.softmax(-1).mean(0)


@wrong("ensemble", "drops all dimensions of length 1")
def squeezed(log_probs):
    return log_probs.softmax(-1).squeeze().mean(0).argmax(-1)


@wrong("ensemble", "calls the library's function")
def librarys_ensemble(log_probs):
    return prompting.ensemble(log_probs)


@right("ensemble", "text by text, a list of whole numbers")
def text_by_text(log_probs):
    found = []
    for i in range(log_probs.shape[1]):
        p = sum(torch.softmax(table[i], dim=0) for table in log_probs)
        found.append(int(p.argmax()))
    return found


@right("ensemble", "sorted, with an einsum")
def by_sorting(log_probs):
    p = torch.nn.functional.softmax(log_probs.double(), dim=2)
    return torch.einsum("tnc->nc", p).sort(dim=1, descending=True).indices[:, 0]


@wrong("ensemble", "adds up scores that are not normalised")
def raw_sum(log_probs):
    return log_probs.sum(0).argmax(-1)


@wrong("ensemble", "exponentials without normalising")
def raw_exp(log_probs):
    return log_probs.exp().mean(0).argmax(-1)


@wrong("ensemble", "softmax over the templates")
def softmax_over_templates(log_probs):
    return log_probs.softmax(0).mean(0).argmax(-1)


@wrong("ensemble", "the first template decides")
def first_decides(log_probs):
    return log_probs[0].argmax(-1)


@wrong("ensemble", "the surest template decides")
def surest(log_probs):
    return log_probs.softmax(-1).max(0).values.argmax(-1)


@right("ensemble", "the sum of probabilities, with log_softmax")
def sum_of_exp(log_probs):
    return torch.logsumexp(log_probs.log_softmax(-1), dim=0).argmax(-1)


@right("ensemble", "a loop, with numpy")
def looped_ensemble(log_probs):
    total = 0
    for table in np.asarray(log_probs):
        p = np.exp(table - table.max(1, keepdims=True))
        total = total + p / p.sum(1, keepdims=True)
    return total.argmax(1)


# -- calibrate --------------------------------------------------------------------------------------------------------


@wrong("calibrate", "multiplies by the bias instead of dividing")
def multiplies(log_probs, content_free):
    return (log_probs.log_softmax(-1) + content_free.softmax(-1).mean(0).log()).log_softmax(-1)


@wrong("calibrate", "the mean of the logarithms")
def mean_of_logs(log_probs, content_free):
    return (log_probs - content_free.log_softmax(-1).mean(0)).log_softmax(-1)


@wrong("calibrate", "exponentials that do not add up to 1")
def not_probabilities(log_probs, content_free):
    return (log_probs - content_free.exp().mean(0).log()).log_softmax(-1)


@wrong("calibrate", "only the first content-free text")
def first_only(log_probs, content_free):
    return (log_probs - content_free[0]).log_softmax(-1)


@wrong("calibrate", "rows that do not add up to 1")
def not_scaled(log_probs, content_free):
    return log_probs.log_softmax(-1) - content_free.softmax(-1).mean(0).log()


@wrong("calibrate", "returns probabilities")
def probabilities(log_probs, content_free):
    return (log_probs - content_free.softmax(-1).mean(0).log()).softmax(-1)


@wrong("calibrate", "takes the mean score of the texts themselves as the bias")
def batch_bias(log_probs, content_free):
    return (log_probs - log_probs.softmax(-1).mean(0).log()).log_softmax(-1)


@right("calibrate", "with probabilities all the way")
def in_probabilities(log_probs, content_free):
    q = log_probs.softmax(-1) / content_free.softmax(-1).mean(0)
    return (q / q.sum(-1, keepdim=True)).log()


@right("calibrate", "a diagonal matrix, as in the paper, with numpy")
def as_in_the_paper(log_probs, content_free):
    def softmax(scores):
        e = np.exp(scores - scores.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)
    weights = np.diag(1 / softmax(np.asarray(content_free)).mean(0))
    q = softmax(np.asarray(log_probs)) @ weights
    return np.log(q / q.sum(1, keepdims=True))


@right("calibrate", "a product with the inverse of the bias, in double numbers")
def with_inverse(log_probs, content_free):
    bias = torch.softmax(content_free.double(), 1).mean(0, keepdim=True)
    weighted = torch.softmax(log_probs.double(), 1) * bias.reciprocal()
    return torch.log(weighted / weighted.sum(1)[:, None])


@right("calibrate", "with logsumexp; the softmax of the texts is not needed")
def with_logsumexp_only(log_probs, content_free):
    bias = torch.logsumexp(content_free - content_free.logsumexp(1, keepdim=True), 0) - np.log(len(content_free))
    shifted = log_probs - bias
    return shifted - shifted.logsumexp(1, keepdim=True)


@wrong("calibrate", "softmax over the texts")
def softmax_over_texts(log_probs, content_free):
    return (log_probs.log_softmax(0) - content_free.softmax(0).mean(0).log()).log_softmax(-1)


@wrong("calibrate", "one empty text for each text")
def one_for_each(log_probs, content_free):
    return (log_probs - content_free.log_softmax(-1)).log_softmax(-1)


@wrong("calibrate", "the mean over the labels in place of the texts")
def mean_over_labels(log_probs, content_free):
    return (log_probs - content_free.softmax(-1).mean(1).log()).log_softmax(-1)


@wrong("calibrate", "changes the scores in place")
def calibrates_in_place(log_probs, content_free):
    log_probs -= content_free.softmax(-1).mean(0).log()
    return log_probs.log_softmax(-1)


@wrong("calibrate", "calls the library's function")
def librarys_calibrate(log_probs, content_free):
    return prompting.calibrate(log_probs, content_free)


@wrong("calibrate", "the median of the empty texts")
def median_bias(log_probs, content_free):
    return (log_probs - content_free.softmax(-1).median(0).values.log()).log_softmax(-1)


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


@right("redact", "two rules for numbers: seven digits or more, with gaps; then the rest")
def by_counting_digits(text):
    text = re.sub(r"(https?://|www\.)[^\s;,]+", "[URL]", text)
    text = re.sub(r"[\w.+-]+@\w+(\.\w+)+", "[EMAIL]", text)
    text = re.sub(r"@\w+", "[HANDLE]", text)
    def number(match):
        return "[PHONE]" if sum(c.isdigit() for c in match[0]) >= 8 else match[0]
    return re.sub(r"(?<!\w)[+A-Z]?\d+(?:[ -]\d+)*(?!\w)", number, text)


@wrong("redact", "the same placeholder for everything")
def one_placeholder(text):
    rules = [r"\b(?:https?://|www\.)[^\s;,]+", r"[\w.]+@[\w.]+\w", r"@\w+",
             r"\+(?:234|254|880|51)(?:[ -]?\d+)+", r"\b0[78]\d\d[ -]?\d{3}[ -]?\d{3,4}\b", r"\b01\d{3}-?\d{6}\b",
             r"\b9\d\d[ -]?\d{3}[ -]?\d{3}\b", r"\b[A-Z]?\d{8,17}\b"]
    for rule in rules:
        text = re.sub(rule, "[HIDDEN]", text)
    return text


PER_COUNTRY = '''
RULES = [("URL", r"\\b(?:https?://|www\\.)[^\\s;,]+"), ("EMAIL", r"[\\w.]+@[\\w.]+\\w"), ("HANDLE", r"@\\w+"),
         ("PHONE", r"\\+(?:234|254|880|51)(?:[ -]?\\d+)+"), ("PHONE", r"\\b0[78]\\d\\d[ -]?\\d{3}[ -]?\\d{3,4}\\b"),
         ("PHONE", r"\\b01\\d{3}-?\\d{6}\\b"), ("PHONE", r"\\b9\\d\\d[ -]?\\d{3}[ -]?\\d{3}\\b"),
         ("ID", r"\\b[A-Z]?\\d{8,17}\\b")]

def redact(text):
    for kind, rule in RULES:
        text = re.sub(rule, f"[{kind}]", text%s)
    return text%s
'''
right.cell("redact", "one rule per country", PER_COUNTRY % ("", ""))
wrong.cell("redact", "only the first of each kind", PER_COUNTRY % (", count=1", ""))
wrong.cell("redact", "small letters for all the rest", PER_COUNTRY % ("", "[:1] + text[1:].replace('[', '\\0').lower()"))
wrong.cell("redact", "loses the letters of other alphabets", PER_COUNTRY % ("", ".encode('ascii', 'ignore').decode()"))
wrong.cell("redact", "looks at the first line only", PER_COUNTRY % ("", ".split('\\n')[0]"))
wrong.cell("redact", "the spaces become one", PER_COUNTRY % ("", " and ' '.join(text.split())"))
wrong.cell("redact", "every number is a phone, every at-sign a handle", PER_COUNTRY.replace(
    '"EMAIL"', '"HANDLE"').replace('"ID"', '"PHONE"').replace('"URL"', '"HANDLE"') % ("", ""))


@wrong("redact", "calls the library's function")
def librarys_redact(text):
    return prompting.redact(text)


@right("redact", "one pattern with names, and a function for the replacement")
def with_one_pattern(text):
    pattern = (r"(?P<URL>(?:https?://|\bwww\.)[^\s,;]+)|(?P<EMAIL>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)|(?P<HANDLE>@\w+)"
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
            return "[HANDLE]" if found[0] == "@" else "[EMAIL]"
        return "[ID]" if re.fullmatch(r"[A-Z]?\d{8,17}", found) else found
    text = re.sub(r"[^\s,;]+", word, text)
    phone = r"(?<![\w+])(?:\+\d{2,3}[ -])?[09]?\d{2,4}[ -]\d{3}[ -]\d{3,4}\b|(?:\+880 )?\b0?1\d{3}-\d{6}"
    return re.sub(phone, "[PHONE]", text)


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
