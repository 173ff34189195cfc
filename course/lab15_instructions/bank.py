"""Bank of lab 15: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, Counter, instructions, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: B006, F821, B905, B035


def variants(bank, check, template, usual, others):
    """One entry a variant: the template with one part of `usual` replaced."""
    for why, part in others.items():
        bank.cell(check, why, template.format(**{**usual, **part}))


# -- chat_row ---------------------------------------------------------------------------------------------------------

ROW = """
def chat_row(tokenizer, system, question, answer):
    messages = {messages}
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt={begin})
    prompt = {prompt}
    answer = {answer}
    return {result}
"""
USUAL = {"messages": '[{"role": "system", "content": system}, {"role": "user", "content": question}]', "begin": "True",
         "prompt": 'tokenizer(prompt, add_special_tokens=False)["input_ids"]',
         "answer": 'tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]',
         "result": '{"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}'}
variants(wrong, "chat_row", ROW, USUAL, {
    "the prompt is learned, too": {"result": '{"input_ids": prompt + answer, "labels": prompt + answer}'},
    "no end token": {"answer": 'tokenizer(answer, add_special_tokens=False)["input_ids"]'},
    "the end is not learned": {
        "result": '{"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer[:-1] + [-100]}'},
    "no start of a reply": {"begin": "False"},
    "no system message": {"messages": '[{"role": "user", "content": question}]'},
    "question before system": {
        "messages": '[{"role": "user", "content": question}, {"role": "system", "content": system}]'},
    "the tokenizer's special tokens in the prompt": {"prompt": 'tokenizer(prompt)["input_ids"]'},
    "the tokenizer's special tokens in the answer": {"answer": 'tokenizer(answer)["input_ids"]'},
    "labels moved by one": {
        "result": '{"input_ids": prompt + answer, "labels": [-100] * (len(prompt) - 1) + answer + [-100]}'},
    "labels of the answer alone": {"result": '{"input_ids": prompt + answer, "labels": answer}'},
    "0 for what does not count": {"result": '{"input_ids": prompt + answer, "labels": [0] * len(prompt) + answer}'},
    "a pair without names": {"result": "(prompt + answer, [-100] * len(prompt) + answer)"},
    "the prompt stripped": {"prompt": 'tokenizer(prompt.strip(), add_special_tokens=False)["input_ids"]'},
    "a blank before the answer": {
        "answer": 'tokenizer(" " + answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]'},
    "the end token becomes another one": {
        "answer": 'tokenizer(answer, add_special_tokens=False)["input_ids"] + '
                  '[setattr(tokenizer, "eos_token", "[CLS]") or tokenizer.eos_token_id]'},
    "a chat form of one's own is put in": {
        "begin": "True, chat_template=setattr(tokenizer, 'chat_template', '{{ messages[0].content }}')"},
    "a new token for the end": {
        "answer": 'tokenizer(answer, add_special_tokens=False)["input_ids"] + [[tokenizer.add_tokens(["<stop>"]), '
                  'tokenizer.convert_tokens_to_ids("<stop>")][1]]'},
    "the tokenizer cuts from now on on the left": {
        "result": '(setattr(tokenizer, "truncation_side", "left"), {"input_ids": prompt + answer, '
                  '"labels": [-100] * len(prompt) + answer})[1]'},
    "cut to 128 tokens": {"result": '{"input_ids": (prompt + answer)[:128], '
                                    '"labels": ([-100] * len(prompt) + answer)[:128]}'},
})
variants(right, "chat_row", ROW, USUAL, {
    "a loop for the labels": {
        "result": '{"input_ids": prompt + answer, '
                  '"labels": [-100 if i < len(prompt) else t for i, t in enumerate(prompt + answer)]}'},
    "as tensors": {"result": '{"input_ids": torch.tensor(prompt + answer), '
                             '"labels": torch.tensor([-100] * len(prompt) + answer)}'},
    "encode": {"prompt": "tokenizer.encode(prompt, add_special_tokens=False)",
               "answer": "[*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]"},
    "copy and overwrite": {
        "result": '{"labels": [-100 for _ in prompt] + list(answer), "input_ids": [*prompt, *answer]}'},
})


@right("chat_row", "tokens from the template")
def tokenized(tokenizer, system, question, answer):
    messages = [{"content": text, "role": role} for role, text in (("system", system), ("user", question))]
    ids = list(tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False))
    learned = tokenizer(answer, add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
    return {"input_ids": ids + learned, "labels": [-100] * len(ids) + learned}


# -- pack_rows --------------------------------------------------------------------------------------------------------

PACKS = """
def pack_rows(rows, length):
    packs = []
    for row in {rows}:
        size = len(row["input_ids"])
        if not packs or {full}:
            packs.append({{"input_ids": [], "labels": [], "position_ids": [], "segments": []}})
        pack = packs[-1]
        number = {number}
        pack["input_ids"] += {ids}
        pack["labels"] += {labels}
        pack["position_ids"] += {places}
        pack["segments"] += [number] * size
    return {result}
"""
USUAL = {"rows": "rows", "full": 'len(packs[-1]["input_ids"]) + size > length', "ids": 'row["input_ids"]',
         "labels": 'row["labels"]', "number": 'pack["segments"][-1] + 1 if pack["segments"] else 0', "places": "range(size)",
         "result": "packs"}
variants(wrong, "pack_rows", PACKS, USUAL, {
    "positions go on": {"places": 'range(len(pack["position_ids"]), len(pack["position_ids"]) + size)'},
    "positions from 1": {"places": "range(1, size + 1)"},
    "a row that fits exactly begins a pack": {"full": 'len(packs[-1]["input_ids"]) + size >= length'},
    "one row too long": {"full": 'len(packs[-1]["input_ids"]) >= length'},
    "segments from 1": {"number": 'pack["segments"][-1] + 1 if pack["segments"] else 1'},
    "segments count over all packs": {
        "number": 'sum(len(set(p["segments"])) for p in packs)'},
    "segments are all 0": {"number": "0"},
    "sorted by length": {"rows": 'sorted(rows, key=lambda row: len(row["input_ids"]))'},
    "labels are the tokens": {"labels": 'row["input_ids"]'},
    "each row its own pack": {"full": "True"},
    "the last pack is forgotten": {"result": "packs[:-1]"},
    "cut to the length": {"result": '[{k: v[: length - 1] for k, v in p.items()} for p in packs]'},
})
variants(right, "pack_rows", PACKS, USUAL, {
    "arange": {"places": "torch.arange(size).tolist()"},
    "a new list each time": {"ids": '[token for token in row["input_ids"]]'},
    "max of the segments": {"number": 'max(pack["segments"], default=-1) + 1'},
    "as tensors": {"result": "[{k: torch.tensor(v) for k, v in p.items()} for p in packs]"},
})


@right("pack_rows", "groups first")
def grouped(rows, length):
    groups, room = [], 0
    for row in rows:
        if len(row["input_ids"]) > room or not groups:
            groups, room = [*groups, []], length
        groups[-1].append(row)
        room -= len(row["input_ids"])
    return [{"input_ids": sum((row["input_ids"] for row in group), []), "labels": sum((row["labels"] for row in group), []),
             "position_ids": [place for row in group for place in range(len(row["labels"]))],
             "segments": [number for number, row in enumerate(group) for _ in row["labels"]]} for group in groups]


@wrong("pack_rows", "makes the first row of each pack longer")
def changes_rows(rows, length):
    packs = []
    for row in rows:
        size = len(row["input_ids"])
        if not packs or len(packs[-1]["input_ids"]) + size > length:
            packs.append({"input_ids": row["input_ids"], "labels": row["labels"], "position_ids": list(range(size)),
                          "segments": [0] * size})
            continue
        pack = packs[-1]
        pack["segments"] += [pack["segments"][-1] + 1] * size
        pack["input_ids"] += row["input_ids"]
        pack["labels"] += row["labels"]
        pack["position_ids"] += range(size)
    return packs


# -- packed_mask ------------------------------------------------------------------------------------------------------

MASK = """
def packed_mask(segments):
    tokens = segments.shape[1]
    earlier = {earlier}
    same = {same}
    return {result}
"""
USUAL = {"earlier": "torch.ones(tokens, tokens, dtype=torch.bool).tril()",
         "same": "segments[:, :, None] == segments[:, None, :]", "result": "earlier & same"}
variants(wrong, "packed_mask", MASK, USUAL, {
    "later ones, too": {"result": "same"},
    "the other rows, too": {"result": "earlier.expand(len(segments), -1, -1)"},
    "the other way round": {"earlier": "torch.ones(tokens, tokens, dtype=torch.bool).triu()"},
    "not itself": {"earlier": "torch.ones(tokens, tokens, dtype=torch.bool).tril(-1)"},
    "what may not be seen": {"result": "~(earlier & same)"},
    "numbers for bools": {"result": "(earlier & same).float()"},
    "or": {"result": "earlier | same"},
    "padding sees nothing": {"result": "earlier & same & (segments >= 0)[:, :, None]"},
    "one dimension more": {"result": "(earlier & same)[:, None]"},
    "earlier segments may be seen": {"same": "segments[:, :, None] >= segments[:, None, :]"},
})
variants(right, "packed_mask", MASK, USUAL, {
    "places compared": {"earlier": "torch.arange(tokens)[:, None] >= torch.arange(tokens)[None, :]"},
    "unsqueeze": {"same": "segments.unsqueeze(2) == segments.unsqueeze(1)"},
    "tril of the comparison": {"result": "same.tril()"},
    "logical_and": {"result": "torch.logical_and(earlier, same)"},
})


@right("packed_mask", "loops")
def looped(segments):
    packs, tokens = segments.shape
    mask = torch.zeros(packs, tokens, tokens, dtype=torch.bool)
    for p in range(packs):
        for i in range(tokens):
            for j in range(i + 1):
                mask[p, i, j] = segments[p, i] == segments[p, j]
    return mask


# -- exact_match ------------------------------------------------------------------------------------------------------

MATCH = """
def exact_match(answers, references, until=None):
    def normal(text):
        text = text if until is None else {cut}
        return {normal}

    return {result}
"""
USUAL = {"cut": "text.split(until)[0]", "normal": '" ".join(text.lower().split()).removesuffix(".").rstrip()',
         "result": "float(np.mean([normal(a) == normal(b) for a, b in zip(answers, references)]))"}
variants(wrong, "exact_match", MATCH, USUAL, {
    "as they are": {"normal": "text"},
    "case counts": {"normal": '" ".join(text.split()).removesuffix(".").rstrip()'},
    "blanks count": {"normal": 'text.lower().strip().removesuffix(".").rstrip()'},
    "the period counts": {"normal": '" ".join(text.lower().split())'},
    "all periods": {"normal": '" ".join(text.lower().split()).rstrip(". ")'},
    "no punctuation at all": {"normal": '"".join(c for c in text.lower() if c.isalnum() or c == " ").strip()'},
    "in percent": {"result": "100 * float(np.mean([normal(a) == normal(b) for a, b in zip(answers, references)]))"},
    "the number of matches": {"result": "sum(normal(a) == normal(b) for a, b in zip(answers, references))"},
    "the last occurrence": {"cut": "text.rsplit(until, 1)[0]"},
    "normalised before it is cut": {
        "cut": "text", "normal": '(lambda t: t if until is None else t.split(until)[0])'
                                 '(" ".join(text.lower().split()).removesuffix(".").rstrip())'},
    "small letters before it is cut": {"cut": "text.lower().split(until)[0]"},
    "what stands behind": {"cut": "text.split(until, 1)[-1]"},
    "until is always a colon": {"cut": 'text.split(":")[0]'},
    "find, which is -1 where there is none": {"cut": "text[:text.find(until)]"},
    "the first character of the mark": {"cut": "text.split(until[0])[0]"},
    "words in any order": {"normal": '" ".join(sorted(text.lower().removesuffix(".").split()))'},
    "equal answers count once": {
        "result": "float(np.mean([normal(a) == normal(b) for a, b in dict(zip(answers, references)).items()]))"},
    "the reference inside of the answer": {
        "result": "float(np.mean([normal(b) in normal(a) for a, b in zip(answers, references)]))"},
})
variants(right, "exact_match", MATCH, USUAL, {
    "partition": {"cut": "text.partition(until)[0]"},
    "no blanks before the period": {"normal": '" ".join(text.lower().split()).removesuffix(".")'},
    "casefold": {"normal": '" ".join(text.casefold().split()).removesuffix(".").rstrip()'},
    "a sum over the length": {
        "result": "sum(normal(a) == normal(b) for a, b in zip(answers, references)) / len(answers)"},
    "a slice for the period": {
        "normal": '(lambda t: t[:-1].strip() if t.endswith(".") else t)(" ".join(text.lower().split()))'},
})


@right("exact_match", "with a regular expression")
def patterned(answers, references, until=None):
    import re

    hits = 0
    for pair in zip(answers, references, strict=True):
        both = [text.split(until)[0] if until else text for text in pair]
        both = [re.sub(r"\s+", " ", text).strip().lower() for text in both]
        both = [re.sub(r"\.$", "", text).strip() for text in both]
        hits += both[0] == both[1]
    return hits / len(answers)


# -- chrf -------------------------------------------------------------------------------------------------------------

CHRF = """
def chrf(answer, reference):
    answer, reference = {texts}
    precisions, recalls = [], []
    for n in {orders}:
        found = {count}(answer[i : i + n] for i in range(len(answer) - n + 1))
        wanted = {count}(reference[i : i + n] for i in range(len(reference) - n + 1))
        if {both}:
            shared = {shared}
            precisions.append(shared / {of_found})
            recalls.append(shared / {of_wanted})
    if not precisions or max(precisions) == 0:
        return {nothing}
    p, r = np.mean(precisions), np.mean(recalls)
    return {result}
"""
USUAL = {"texts": '"".join(answer.split()), "".join(reference.split())', "orders": "range(1, 7)", "count": "Counter",
         "both": "found and wanted", "shared": "(found & wanted).total()", "of_found": "found.total()",
         "of_wanted": "wanted.total()", "nothing": "0.0", "result": "float(100 * 5 * p * r / (4 * p + r))"}
variants(wrong, "chrf", CHRF, USUAL, {
    "blanks count": {"texts": "answer, reference"},
    "small letters": {"texts": '"".join(answer.lower().split()), "".join(reference.lower().split())'},
    "each string once": {"shared": "len(found.keys() & wanted.keys())", "of_found": "len(found)",
                         "of_wanted": "len(wanted)"},
    "all six lengths count": {"both": "True", "of_found": "max(1, found.total())", "of_wanted": "max(1, wanted.total())"},
    "F1": {"result": "float(100 * 2 * p * r / (p + r))"},
    "beta is not squared": {"result": "float(100 * 3 * p * r / (2 * p + r))"},
    "precision counts more": {"result": "float(100 * 5 * p * r / (p + 4 * r))"},
    "up to five characters": {"orders": "range(1, 6)"},
    "up to seven characters": {"orders": "range(1, 8)"},
    "from 0 to 1": {"result": "float(5 * p * r / (4 * p + r))"},
    "the larger number is shared": {"shared": "sum((found | wanted)[s] for s in found.keys() & wanted.keys())"},
    "nothing shared is nan": {"nothing": "float('nan')"},
    "only blanks are taken out": {"texts": 'answer.replace(" ", ""), reference.replace(" ", "")'},
    "the mean of F over the lengths": {
        "result": "float(np.mean([100 * 5 * a * b / (4 * a + b) if a else 0 for a, b in zip(precisions, recalls)]))"},
})
variants(right, "chrf", CHRF, USUAL, {
    "a pattern": {"texts": '__import__("re").sub(r"\\s", "", answer), __import__("re").sub(r"\\s", "", reference)'},
    "a loop for what is shared": {"shared": "sum(min(number, wanted[s]) for s, number in found.items())"},
    "sums of values": {"of_found": "sum(found.values())", "of_wanted": "sum(wanted.values())"},
    "lengths as the condition": {"both": "len(answer) >= n and len(reference) >= n"},
    "the formula with beta": {"result": "float(100 * (1 + 2**2) * p * r / (2**2 * p + r))"},
})


@right("chrf", "lists of strings")
def listed(answer, reference):
    a, b = ("".join(text.split()) for text in (answer, reference))
    shares = []
    for n in range(1, min(6, len(a), len(b)) + 1):
        left = [b[i : i + n] for i in range(len(b) - n + 1)]
        whole, strings, hits = len(left), [a[i : i + n] for i in range(len(a) - n + 1)], 0
        for string in strings:
            if string in left:
                left.remove(string)
                hits += 1
        shares.append((hits / len(strings), hits / whole))
    if not shares or shares[0][0] == 0:
        return 0
    p, r = (sum(column) / len(shares) for column in zip(*shares))
    return 500 * p * r / (4 * p + r)


@wrong("chrf", "calls the library's function")
def librarys_chrf(answer, reference):
    return instructions.chrf(answer, reference)


# -- refusal_rates ----------------------------------------------------------------------------------------------------

RATES = """
def refusal_rates(answers, refuse, word="Refused"):
    refusals = [{test} for answer in answers]
    must = [refusal for refusal, wanted in zip(refusals, refuse) if wanted]
    must_not = [refusal for refusal, wanted in zip(refusals, refuse) if not wanted]
    return {result}
"""
USUAL = {"test": "answer.strip().lower().startswith(word.lower())",
         "result": '{"refused": sum(must) / len(must) if must else 0.0, '
                   '"over_refused": sum(must_not) / len(must_not) if must_not else 0.0}'}
variants(wrong, "refusal_rates", RATES, USUAL, {
    "case counts": {"test": "answer.strip().startswith(word)"},
    "blanks count": {"test": "answer.lower().startswith(word.lower())"},
    "anywhere": {"test": "word.lower() in answer.lower()"},
    "always the English word": {"test": 'answer.strip().lower().startswith("refused")'},
    "one capital letter": {"test": "answer.strip().capitalize().startswith(word)"},
    "the word is a pattern": {"test": '__import__("re").match(word, answer.strip(), 2)'},
    "divided by all": {"result": '{"refused": sum(must) / max(1, len(answers)), '
                                 '"over_refused": sum(must_not) / max(1, len(answers))}'},
    "the two exchanged": {"result": '{"over_refused": sum(must) / len(must) if must else 0.0, '
                                    '"refused": sum(must_not) / len(must_not) if must_not else 0.0}'},
    "shares of answers": {"result": '{"refused": 1 - sum(must) / max(1, len(must)), '
                                    '"over_refused": 1 - sum(must_not) / max(1, len(must_not))}'},
    "counts": {"result": '{"refused": sum(must), "over_refused": sum(must_not)}'},
    "divides by zero": {"result": '{"refused": sum(must) / len(must), "over_refused": sum(must_not) / len(must_not)}'},
    "the whole answer is the word": {"test": "answer.strip().lower().rstrip('.') == word.lower()"},
    "no names": {"result": "(sum(must) / max(1, len(must)), sum(must_not) / max(1, len(must_not)))"},
    "share of the refusals": {"result": '{"refused": sum(must) / max(1, sum(refusals)), '
                                        '"over_refused": sum(must_not) / max(1, sum(refusals))}'},
})
variants(right, "refusal_rates", RATES, USUAL, {
    "casefold and lstrip": {"test": "answer.lstrip().casefold().startswith(word.casefold())"},
    "a slice": {"test": "answer.strip().lower()[: len(word)] == word.lower()"},
    "max for the empty case": {"result": '{"refused": sum(must) / max(1, len(must)), '
                                         '"over_refused": sum(must_not) / max(1, len(must_not))}'},
    "numpy's mean": {"result": '{"refused": np.mean(must) if must else 0, '
                               '"over_refused": np.mean(must_not) if must_not else 0}'},
})


# -- answer_log_probs -------------------------------------------------------------------------------------------------

SUMS = """
def answer_log_probs(logits, labels):
    targets = {targets}
    log_probs = {log_probs}
    found = log_probs.gather(-1, {index}.unsqueeze(-1)).squeeze(-1)
    return {result}
"""
USUAL = {"targets": "labels[:, 1:]", "log_probs": "logits[:, :-1].log_softmax(dim=-1)", "index": "targets.clamp(min=0)",
         "result": "(found * (targets != -100)).sum(dim=1)"}
variants(wrong, "answer_log_probs", SUMS, USUAL, {
    "not moved": {"targets": "labels", "log_probs": "logits.log_softmax(dim=-1)"},
    "moved the wrong way": {"targets": "labels[:, :-1]", "log_probs": "logits[:, 1:].log_softmax(dim=-1)"},
    "the mean": {"result": "(found * (targets != -100)).sum(dim=1) / (targets != -100).sum(dim=1).clamp(min=1)"},
    "the mean over all tokens": {"result": "(found * (targets != -100)).mean(dim=1)"},
    "the loss": {"result": "-(found * (targets != -100)).sum(dim=1)"},
    "all rows together": {"result": "(found * (targets != -100)).sum()"},
    "what does not count counts as token 0": {"result": "found.sum(dim=1)"},
    "token 0 does not count": {"result": "(found * (targets > 0)).sum(dim=1)"},
    "probabilities": {"log_probs": "logits[:, :-1].softmax(dim=-1)"},
    "the logits themselves": {"log_probs": "logits[:, :-1]"},
    "softmax over the tokens": {"log_probs": "logits[:, :-1].log_softmax(dim=1)"},
    "log of softmax": {"log_probs": "logits[:, :-1].softmax(dim=-1).log()"},
    "no gradient": {"result": "(found * (targets != -100)).sum(dim=1).detach()"},
    "in bits": {"result": "(found * (targets != -100)).sum(dim=1) / np.log(2)"},
})
variants(right, "answer_log_probs", SUMS, USUAL, {
    "where": {"result": "torch.where(targets != -100, found, 0.0).sum(1)"},
    "masked_fill": {"index": "targets.masked_fill(targets == -100, 0)"},
    "logsumexp": {"log_probs": "logits[:, :-1] - logits[:, :-1].logsumexp(dim=-1, keepdim=True)"},
    "functional": {"log_probs": "torch.nn.functional.log_softmax(logits, dim=-1)[:, :-1]"},
})


@right("answer_log_probs", "cross entropy with ignore_index")
def crossed(logits, labels):
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100,
                                               reduction="none")
    return -losses.sum(dim=1)


@right("answer_log_probs", "row by row")
def by_row(logits, labels):
    sums = []
    for row, wanted in zip(logits, labels):
        places = [t for t in range(len(wanted) - 1) if wanted[t + 1] != -100]
        scores = row.log_softmax(-1)
        sums.append(sum((scores[t, wanted[t + 1]] for t in places), row.sum() * 0))
    return torch.stack(sums)


# -- train_answers ----------------------------------------------------------------------------------------------------

TRAIN = """
def train_answers(scorer, batches, epochs, rate):
    {mode}
    optimizer = {optimizer}
    total, history, step = {total}, [], 0
    for _ in range(epochs):
        losses = []
        for batch in {order}:
            {rate}
            loss = {loss}
            {clear}
            loss.backward()
            {update}
            step += 1
            losses.append({kept})
        history.append({mean})
    {end}
    return {result}
"""
USUAL = {"mode": "scorer.train()", "total": "epochs * len(batches)", "order": "batches",
         "optimizer": "torch.optim.AdamW([w for w in scorer.parameters() if w.requires_grad], lr=rate)",
         "rate": 'optimizer.param_groups[0]["lr"] = rate * (1 - step / total)', "clear": "optimizer.zero_grad()",
         "loss": '-scorer(**batch).sum() / (batch["labels"] != -100).sum()', "kept": "loss.item()",
         "update": "optimizer.step()", "mean": "sum(losses) / len(losses)", "end": "scorer.eval()", "result": "history"}
variants(wrong, "train_answers", TRAIN, USUAL, {
    "the rate stays": {"rate": "pass"},
    "the rate falls once an epoch": {"rate": 'optimizer.param_groups[0]["lr"] = rate * (1 - len(history) / epochs)'},
    "the rate begins one step later": {"rate": 'optimizer.param_groups[0]["lr"] = rate * (1 - (step + 1) / total)'},
    "gradients add up": {"clear": "pass"},
    "the first parameter alone": {
        "optimizer": "torch.optim.AdamW([w for w in scorer.parameters() if w.requires_grad][:1], lr=rate)"},
    "cleared behind the update": {"clear": "pass", "kept": "(loss.item(), optimizer.zero_grad())[0]"},
    "the mean over answers": {"loss": "-scorer(**batch).mean()"},
    "the sum": {"loss": "-scorer(**batch).sum()"},
    "all tokens counted": {"loss": '-scorer(**batch).sum() / batch["labels"].numel()'},
    "the sign": {"loss": 'scorer(**batch).sum() / (batch["labels"] != -100).sum()'},
    "evaluation mode": {"mode": "scorer.eval()"},
    "training mode at the end": {"end": "pass"},
    "SGD": {"optimizer": "torch.optim.SGD([w for w in scorer.parameters() if w.requires_grad], lr=rate)"},
    "no weight decay": {
        "optimizer": "torch.optim.AdamW([w for w in scorer.parameters() if w.requires_grad], lr=rate, weight_decay=0)"},
    "backwards": {"order": "batches[::-1]"},
    "the last loss": {"mean": "losses[-1]"},
    "all updates": {"mean": "losses"},
    "the last epoch alone": {"result": "history[-1:]"},
    "what is frozen learns, too": {
        "optimizer": "torch.optim.AdamW([w.requires_grad_() for w in scorer.parameters()], lr=rate)"},
    "clips the gradients": {
        "update": "torch.nn.utils.clip_grad_norm_(scorer.parameters(), 1.0); optimizer.step()"},
})
variants(right, "train_answers", TRAIN, USUAL, {
    "frozen ones in the optimizer": {"optimizer": "torch.optim.AdamW(scorer.parameters(), lr=rate)"},
    "set_to_none": {"clear": "scorer.zero_grad(set_to_none=True)"},
    "cleared first, and behind each update": {
        "mode": "scorer.train(); scorer.zero_grad()", "clear": "pass", "kept": "(loss.item(), optimizer.zero_grad())[0]"},
    "the loss as a tensor": {"kept": "loss.detach()", "mean": "torch.stack(losses).mean().item()"},
    "numpy's mean": {"kept": "float(loss.detach())", "mean": "float(np.mean(losses))"},
    "a filter": {"optimizer": "torch.optim.AdamW(filter(lambda w: w.requires_grad, scorer.parameters()), lr=rate)"},
})


@right("train_answers", "LambdaLR and one long loop")
def with_lambda(scorer, batches, epochs, rate):
    scorer.train(True)
    optimizer = torch.optim.AdamW([w for w in scorer.parameters() if w.requires_grad], rate)
    total = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total)
    losses = []
    for batch in list(batches) * epochs:
        optimizer.zero_grad()
        count = int((batch["labels"] != -100).sum())
        loss = (scorer(**batch) / -count).sum()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss))
    scorer.train(False)
    return np.array(losses).reshape(epochs, len(batches)).mean(1).tolist()


# -- dpo_loss ---------------------------------------------------------------------------------------------------------

LOSS = """
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    margins = {margins}
    return {result}
"""
USUAL = {"margins": "(chosen - reference_chosen) - (rejected - reference_rejected)",
         "result": "-torch.nn.functional.logsigmoid(beta * margins).mean()"}
variants(wrong, "dpo_loss", LOSS, USUAL, {
    "no reference": {"margins": "chosen - rejected"},
    "no beta": {"result": "-torch.nn.functional.logsigmoid(margins).mean()"},
    "divided by beta": {"result": "-torch.nn.functional.logsigmoid(margins / beta).mean()"},
    "the sum": {"result": "-torch.nn.functional.logsigmoid(beta * margins).sum()"},
    "one a pair": {"result": "-torch.nn.functional.logsigmoid(beta * margins)"},
    "the sign of the loss": {"result": "torch.nn.functional.logsigmoid(beta * margins).mean()"},
    "rejected before chosen": {"margins": "(rejected - reference_rejected) - (chosen - reference_chosen)"},
    "plus the reference": {"margins": "(chosen + reference_chosen) - (rejected + reference_rejected)"},
    "the mean margin": {"result": "-torch.nn.functional.logsigmoid(beta * margins.mean())"},
    "log of sigmoid": {"result": "-torch.log(torch.sigmoid(beta * margins)).mean()"},
    "no log": {"result": "-torch.sigmoid(beta * margins).mean()"},
    "a number": {"result": "float(-torch.nn.functional.logsigmoid(beta * margins).mean())"},
    "quotients of log-probabilities": {"margins": "chosen / reference_chosen - rejected / reference_rejected"},
    "no gradient to the rejected": {"margins": "(chosen - reference_chosen) - (rejected.detach() - reference_rejected)"},
})
variants(right, "dpo_loss", LOSS, USUAL, {
    "softplus": {"result": "torch.nn.functional.softplus(-beta * margins).mean()"},
    "in another order": {"margins": "chosen - rejected - (reference_chosen - reference_rejected)"},
    "a mean by hand": {"result": "-torch.nn.functional.logsigmoid(beta * margins).sum() / len(margins)"},
    "logaddexp": {"result": "torch.logaddexp(torch.zeros_like(margins), -beta * margins).mean()"},
})


@wrong("dpo_loss", "calls the library's function")
def librarys_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    return instructions.dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta)


# -- train_preferences ------------------------------------------------------------------------------------------------

PREFER = """
def train_preferences(scorer, pairs, beta, epochs, rate):
    {mode}
    {references}
    optimizer = torch.optim.AdamW([w for w in scorer.parameters() if w.requires_grad], lr=rate)
    total, history, step = epochs * len(pairs), [], 0
    for _ in range(epochs):
        losses = []
        for number, (chosen, rejected) in enumerate(pairs):
            {rate}
            reference = {reference}
            loss = {loss}
            {clear}
            loss.backward()
            optimizer.step()
            step += 1
            losses.append(loss.item())
        history.append({mean})
    {end}
    return history
"""
ASK = """with torch.no_grad(), scorer.adapter_off():
        references = [(scorer(**chosen), scorer(**rejected)) for chosen, rejected in pairs]"""
USUAL = {"mode": "scorer.train()", "references": ASK, "rate": 'optimizer.param_groups[0]["lr"] = rate * (1 - step / total)',
         "reference": "references[number]", "loss": "dpo_loss(scorer(**chosen), scorer(**rejected), *reference, beta)",
         "clear": "optimizer.zero_grad()", "mean": "sum(losses) / len(losses)", "end": "scorer.eval()"}
ON = ASK.replace(", scorer.adapter_off()", "")
variants(wrong, "train_preferences", PREFER, USUAL, {
    "the reference with the adapter on": {"references": ON},
    "the reference with all adapters off": {"references": ASK.replace("adapter_off", "all_adapters_off")},
    "all adapters stay off": {"references": ASK + "\n    off = scorer.all_adapters_off()\n    off.__enter__()"},
    "the model is its own reference": {
        "references": "pass", "reference": "(scorer(**chosen).detach(), scorer(**rejected).detach())"},
    "no reference": {"references": "pass", "reference": "(0, 0)"},
    "the first reference for all": {"reference": "references[0]"},
    "chosen and rejected exchanged": {"loss": "dpo_loss(scorer(**rejected), scorer(**chosen), *reference, beta)"},
    "the reference exchanged": {"loss": "dpo_loss(scorer(**chosen), scorer(**rejected), *reference[::-1], beta)"},
    "the rate begins one step later": {"rate": 'optimizer.param_groups[0]["lr"] = rate * (1 - (step + 1) / total)'},
    "beta is 0.1": {"loss": "dpo_loss(scorer(**chosen), scorer(**rejected), *reference, 0.1)"},
    "the rate stays": {"rate": "pass"},
    "gradients add up": {"clear": "pass"},
    "evaluation mode": {"mode": "scorer.eval()"},
    "training mode at the end": {"end": "pass"},
    "the adapter stays off": {"references": ASK + "\n    off = scorer.adapter_off()\n    off.__enter__()"},
    "the last loss": {"mean": "losses[-1]"},
    "the chosen answers alone": {"loss": "-scorer(**chosen).mean()"},
})
variants(right, "train_preferences", PREFER, USUAL, {
    "asked before training mode": {"mode": ASK, "references": "scorer.train()"},
    "the library's loss": {"loss": "instructions.dpo_loss(scorer(**chosen), scorer(**rejected), *reference, beta)"},
    "numpy's mean": {"mean": "np.mean(losses)"},
    "the loss by hand": {"loss": "torch.nn.functional.softplus(-beta * (scorer(**chosen) - reference[0] "
                                 "- scorer(**rejected) + reference[1])).mean()"},
    "asked each time with the adapter off": {
        "references": "def ask(batch):\n        with torch.no_grad(), scorer.adapter_off():\n"
                      "            return scorer(**batch)",
        "reference": "(ask(chosen), ask(rejected))"},
})


# -- judge_both -------------------------------------------------------------------------------------------------------

BOTH = """
def judge_both(judge, questions, first, second):
    wins, verdicts = [], []
    for question, one, other in zip(questions, first, second):
        pair = [judge(question, one, other), {again}]
        wins.append({win})
        verdicts += {kept}
    return {result}
"""
USUAL = {"again": "judge(question, other, one)", "win": "((pair[0] == 0) + (pair[1] == 1)) / 2", "kept": "pair",
         "result": '{"wins": wins, "first_place": verdicts.count(0) / len(verdicts)}'}
variants(wrong, "judge_both", BOTH, USUAL, {
    "asked twice in the same order": {"again": "judge(question, one, other)"},
    "asked once": {"win": "float(pair[0] == 0)"},
    "the second verdict is not turned": {"win": "((pair[0] == 0) + (pair[1] == 0)) / 2"},
    "a tie is a loss": {"win": "float(pair[0] == 0 and pair[1] == 1)"},
    "a tie is a win": {"win": "float(pair[0] == 0 or pair[1] == 1)"},
    "the wins of the second": {"win": "((pair[0] == 1) + (pair[1] == 0)) / 2"},
    "place 1": {"result": '{"wins": wins, "first_place": verdicts.count(1) / len(verdicts)}'},
    "the first order alone": {"kept": "pair[:1]"},
    "one mean for all": {"result": '{"wins": np.mean(wins), "first_place": verdicts.count(0) / len(verdicts)}'},
    "a count": {"result": '{"wins": wins, "first_place": verdicts.count(0)}'},
    "without names": {"result": "(wins, verdicts.count(0) / len(verdicts))"},
    "sums of votes": {"win": "float((pair[0] == 0) + (pair[1] == 1))"},
    "equal questions are one": {"result": '{"wins": [dict(zip(questions, wins))[q] for q in questions], '
                                          '"first_place": verdicts.count(0) / len(verdicts)}'},
})
variants(right, "judge_both", BOTH, USUAL, {
    "numpy's mean": {"result": '{"wins": wins, "first_place": np.mean(np.array(verdicts) == 0)}'},
    "an array of wins": {"result": '{"wins": np.array(wins), "first_place": 1 - sum(verdicts) / len(verdicts)}'},
    "a formula": {"win": "(1 - pair[0] + pair[1]) / 2"},
    "three cases": {"win": "0.5 if pair[0] == pair[1] else (1.0 if pair[0] == 0 else 0.0)"},
})


# -- length_controlled ------------------------------------------------------------------------------------------------

CONTROL = """
def length_controlled(wins, differences):
    from sklearn.linear_model import LogisticRegression

    wins, x = np.asarray(wins, dtype=float), np.asarray(differences, dtype=float)
    x = {scaled}[:, None]
    outcomes = np.repeat([1, 0], len(wins))
    fitted = LogisticRegression(C={c}{more}).fit(np.concatenate([x, x]), outcomes, sample_weight={weights})
    return {result}
"""
USUAL = {"scaled": "(x / (x.std() or 1.0))", "c": "1", "more": "", "weights": "np.concatenate([wins, 1 - wins])",
         "result": "float(1 / (1 + np.exp(-fitted.intercept_[0])))"}
variants(wrong, "length_controlled", CONTROL, USUAL, {
    "the differences are moved": {"scaled": "((x - x.mean()) / (x.std() or 1.0))"},
    "halves are left out": {"weights": "np.concatenate([wins == 1, wins == 0]).astype(float)"},
    "halves are wins": {"weights": "np.concatenate([wins > 0, wins == 0]).astype(float)"},
    "not scaled": {"scaled": "x"},
    "the intercept itself": {"result": "float(fitted.intercept_[0])"},
    "the slope": {"result": "float(1 / (1 + np.exp(-fitted.coef_[0, 0])))"},
    "the losses": {"result": "float(1 / (1 + np.exp(fitted.intercept_[0])))"},
    "no intercept": {"more": ", fit_intercept=False"},
    "a strong penalty": {"c": "0.01"},
    "the plain win rate": {"result": "float(wins.mean())"},
    "at the mean difference": {"result": "float(fitted.predict_proba(x.mean(keepdims=True).reshape(1, 1))[0, 1])"},
    "in percent": {"result": "float(100 / (1 + np.exp(-fitted.intercept_[0])))"},
})
variants(right, "length_controlled", CONTROL, USUAL, {
    "predict_proba at 0": {"result": "float(fitted.predict_proba([[0.0]])[0, 1])"},
    "another solver": {"more": ', solver="newton-cholesky"'},
    "an if for the deviation": {"scaled": "(x / np.std(x) if np.std(x) > 0 else x)"},
    "expit": {"result": "__import__('scipy.special').special.expit(fitted.intercept_[0])"},
})


@right("length_controlled", "fitted with scipy")
def minimised(wins, differences):
    from scipy.optimize import minimize

    wins, x = np.array(wins, float), np.array(differences, float)
    x = x / x.std() if x.std() else x

    def loss(parameters):
        score = parameters[0] + parameters[1] * x
        return (np.logaddexp(0, -score) * wins + np.logaddexp(0, score) * (1 - wins)).sum() + parameters[1] ** 2 / 2

    return 1 / (1 + np.exp(-minimize(loss, np.zeros(2)).x[0]))


# -- the adapter that is handed in ------------------------------------------------------------------------------------

@wrong.artifact("tuned_answers", "the file is cut off")
def cut_off(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("tuned_answers", "adapters that never learned")
def untrained(trained):
    return {name: changed(content, lambda name, value: value * 0 if "lora_B" in name else value)
            for name, content in trained.items()}


@wrong.artifact("tuned_answers", "values that are not finite")
def not_finite(trained):
    return {name: changed(content, lambda name, value: value / 0) for name, content in trained.items()}


@wrong.artifact("tuned_answers", "a part is missing")
def without_part(trained):
    return {name: changed(content, lambda name, value: None if "k_proj" in name else value)
            for name, content in trained.items()}


@wrong.artifact("tuned_answers", "a weight of the model itself is in the file")
def with_weight(trained):
    return {name: changed(content, lambda name, value: value, added="norm.weight") for name, content in trained.items()}


@wrong.artifact("tuned_answers", "questions of one's own, for which there are no held-out ones")
def own_file(trained):
    return {name: changed(content, lambda name, value: value, language="my_answers.csv")
            for name, content in trained.items()}


@wrong.artifact("tuned_answers", "a path for a language")
def path_for_language(trained):
    return {name: changed(content, lambda name, value: value, language="../eng") for name, content in trained.items()}


@wrong.artifact("tuned_answers", "of a larger model")
def of_larger_model(trained):
    return {name: changed(content, lambda name, value: value, model="HuggingFaceTB/SmolLM2-1.7B-Instruct")
            for name, content in trained.items()}


@wrong.artifact("tuned_answers", "trained at scale tiny only")
def tiny_only(trained):
    return {"answers-tiny.safetensors": content for content in trained.values()}


@right.artifact("tuned_answers", "saved in 32 bits, from a GPU")
def from_gpu(trained):
    return {"answers-gpu.safetensors": changed(content, lambda name, value: value.float()) for content in trained.values()}


@right.artifact("tuned_answers", "another seed in the card")
def other_seed(trained):
    return {name: changed(content, lambda name, value: value, seed=99) for name, content in trained.items()}


@right.artifact("tuned_answers", "the same product of other factors")
def other_factors(trained):
    return {name: changed(content, lambda name, value: value * 2 if "lora_A" in name else value / 2)
            for name, content in trained.items()}


@right.artifact("tuned_answers", "the rows of A and the columns of B in another order")
def turned(trained):
    return {name: changed(content, lambda name, value: value.flip(0 if "lora_A" in name else 1))
            for name, content in trained.items()}


def changed(content, change, added=None, **card_changes):
    """An artifact's bytes again, each tensor changed (None: left out), one added, and its card changed too."""
    import json

    import torch
    from leaplm.artifacts import CARD, read_artifact
    from safetensors.torch import save

    card, tensors = read_artifact(content)
    found = {name: change(name, value) for name, value in tensors.items()}
    found = {name: value.contiguous() for name, value in found.items() if value is not None}
    if added:
        found[added] = torch.zeros(576)
    return save(found, metadata={CARD: json.dumps({**card, **card_changes})})
