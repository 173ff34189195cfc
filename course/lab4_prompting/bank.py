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


@right("render_prompt", "the library's template")
def by_library(item, text, instruction="", demonstrations=()):
    return PromptTemplate(item, instruction).render(text, [tuple(pair) for pair in demonstrations])


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


@right("batch_log_probs", "one row after the other")
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


@right("redact", "other placeholders, one rule per country")
def per_country(text):
    rules = [r"\b(?:https?://|www\.)[^\s;,]+", r"[\w.]+@[\w.]+\w", r"@\w+",
             r"\+(?:234|254|880|51)(?:[ -]?\d+)+", r"\b0[78]\d\d[ -]?\d{3}[ -]?\d{3,4}\b", r"\b01\d{3}-?\d{6}\b",
             r"\b9\d\d[ -]?\d{3}[ -]?\d{3}\b", r"\b[A-Z]?\d{8,17}\b"]
    for rule in rules:
        text = re.sub(rule, "[HIDDEN]", text)
    return text


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
