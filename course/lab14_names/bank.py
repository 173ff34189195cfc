"""Bank of lab 14: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, nn, tagging, find_entities, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: B006, F821, B905, B035


def variants(bank, check, template, usual, others):
    """One entry a variant: the template with one part of `usual` replaced."""
    for why, part in others.items():
        bank.cell(check, why, template.format(**{**usual, **part}))


# -- find_entities ----------------------------------------------------------------------------------------------------

FIND = """
def find_entities(tags):
    entities = []
    for i, tag in enumerate(tags):
        if tag == "O":
            continue
        prefix, kind = {split}
        if {goes_on}:
            entities[-1] = (kind, entities[-1][1], {end})
        else:
            {begin}
    return {result}
"""
USUAL = {"split": 'tag.split("-", 1)', "end": "i + 1", "begin": "entities.append((kind, i, i + 1))", "result": "entities",
         "goes_on": 'prefix == "I" and entities and entities[-1][0] == kind and entities[-1][2] == i'}
variants(wrong, "find_entities", FIND, USUAL, {
    "an I that goes on nothing is dropped": {
        "begin": 'if prefix == "B":\n                entities.append((kind, i, i + 1))'},
    "a gap does not end a name": {"goes_on": 'prefix == "I" and entities and entities[-1][0] == kind'},
    "an I of another type goes on": {"goes_on": 'prefix == "I" and entities and entities[-1][2] == i'},
    "names that touch become one": {"goes_on": "entities and entities[-1][0] == kind and entities[-1][2] == i"},
    "the end is the last word": {
        "end": "i", "begin": "entities.append((kind, i, i))",
        "goes_on": 'prefix == "I" and entities and entities[-1][0] == kind and entities[-1][2] == i - 1'},
    "each word is a name": {"goes_on": "False"},
    "the start first": {"result": "[(start, end, kind) for kind, start, end in entities]"},
    "a length for an end": {"result": "[(kind, start, end - start) for kind, start, end in entities]"},
    "a set: the order is lost": {"result": "sorted(set(entities))"},
    "splits at the last hyphen": {"split": 'tag.rsplit("-", 1)'},
    "a dict": {"result": "{(start, end): kind for kind, start, end in entities}"},
})
variants(right, "find_entities", FIND, USUAL, {
    "partition": {"split": 'tag.partition("-")[::2]'},
    "slices of the tag": {"split": "tag[0], tag[2:]"},
    "lists as entities": {"result": "[list(entity) for entity in entities]"},
})


@right("find_entities", "with a running start")
def running(tags):
    entities, start, kind = [], None, None
    for i, tag in enumerate([*tags, "O"]):
        goes_on = start is not None and tag.startswith("I-") and tag[2:] == kind
        if start is not None and not goes_on:
            entities.append((kind, start, i))
            start = None
        if tag != "O" and start is None:
            start, kind = i, tag[2:]
    return entities


@right("find_entities", "with itertools")
def grouped(tags):
    import itertools

    marks, number = [], 0
    for i, tag in enumerate(tags):
        before = tags[i - 1] if i else "O"
        if tag != "O" and not (tag[0] == "I" and before[2:] == tag[2:] and before != "O"):
            number += 1
        marks.append((number, tag[2:]) if tag != "O" else None)
    found = []
    for mark, group in itertools.groupby(range(len(tags)), key=lambda i: marks[i]):
        rows = list(group)
        if mark:
            found.append((mark[1], rows[0], rows[-1] + 1))
    return found


@wrong("find_entities", "calls the library's function")
def librarys_entities(tags):
    return tagging.find_entities(tags)


# -- entity_scores ----------------------------------------------------------------------------------------------------

SCORE = """
def entity_scores(gold, predicted):
    right = there = found = 0
    for wanted, guess in {pairs}:
        wanted, guess = {sets}
        right, there, found = right + {hits}, there + len(wanted), found + len(guess)
    precision = {precision}
    recall = {recall}
    return {result}
"""
USUAL = {"pairs": "zip(gold, predicted, strict=True)", "sets": "set(find_entities(wanted)), set(find_entities(guess))",
         "hits": "len(wanted & guess)", "precision": "right / found if found else 0.0",
         "recall": "right / there if there else 0.0",
         "result": '{"precision": precision, "recall": recall, "f1": 2 * right / (found + there) if right else 0.0}'}
variants(wrong, "entity_scores", SCORE, USUAL, {
    "precision and recall exchanged": {"precision": "right / there if there else 0.0",
                                       "recall": "right / found if found else 0.0"},
    "words, not names": {"sets": "({(i, t) for i, t in enumerate(wanted) if t != 'O'}, "
                                 "{(i, t) for i, t in enumerate(guess) if t != 'O'})"},
    "the type does not count": {"sets": "{e[1:] for e in find_entities(wanted)}, {e[1:] for e in find_entities(guess)}"},
    "the start and the type are enough": {
        "sets": "{e[:2] for e in find_entities(wanted)}, {e[:2] for e in find_entities(guess)}"},
    "an overlap is enough": {
        "hits": "sum(any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for b in guess) for a in wanted)"},
    "divides by zero": {"precision": "right / found", "recall": "right / there"},
    "the mean of the two": {"result": '{"precision": precision, "recall": recall, "f1": (precision + recall) / 2}'},
    "in percent": {
        "result": '{"precision": 100 * precision, "recall": 100 * recall, "f1": 200 * right / max(1, found + there)}'},
    "three numbers, no names": {"result": "(precision, recall, 2 * right / max(1, found + there))"},
    "the first sentence only": {"pairs": "zip(gold[:1], predicted[:1])"},
    "nothing there is a perfect recall": {"recall": "right / there if there else 1.0"},
})
variants(right, "entity_scores", SCORE, USUAL, {
    "from the two shares": {"result": '{"precision": precision, "recall": recall, '
                                      '"f1": 2 * precision * recall / (precision + recall) if right else 0.0}'},
    "a loop for the hits": {"hits": "sum(entity in guess for entity in wanted)"},
    "max instead of if": {"precision": "right / max(1, found)", "recall": "right / max(1, there)"},
})


@right("entity_scores", "sets over all sentences, with the sentence's number")
def numbered(gold, predicted):
    wanted = {(n, *entity) for n, tags in enumerate(gold) for entity in find_entities(tags)}
    guess = {(n, *entity) for n, tags in enumerate(predicted) for entity in find_entities(tags)}
    right = len(wanted & guess)
    return {"precision": right / max(1, len(guess)), "recall": right / max(1, len(wanted)),
            "f1": 2 * right / max(1, len(wanted) + len(guess))}


@wrong("entity_scores", "one set for all sentences: the same name in two sentences is one")
def one_set(gold, predicted):
    wanted = {entity for tags in gold for entity in find_entities(tags)}
    guess = {entity for tags in predicted for entity in find_entities(tags)}
    right = len(wanted & guess)
    return {"precision": right / max(1, len(guess)), "recall": right / max(1, len(wanted)),
            "f1": 2 * right / max(1, len(wanted) + len(guess))}


@wrong("entity_scores", "the mean over sentences")
def mean_of_sentences(gold, predicted):
    found = [np.zeros(3)]
    for wanted, guess in zip(gold, predicted):
        wanted, guess = set(find_entities(wanted)), set(find_entities(guess))
        right = len(wanted & guess)
        found.append(np.array([right / max(1, len(guess)), right / max(1, len(wanted)),
                               2 * right / max(1, len(wanted) + len(guess))]))
    precision, recall, f1 = np.mean(found[1:], axis=0) if len(found) > 1 else (0, 0, 0)
    return {"precision": precision, "recall": recall, "f1": f1}


@wrong("entity_scores", "the share of right words")
def accuracy_of_words(gold, predicted):
    pairs = [pair for a, b in zip(gold, predicted) for pair in zip(a, b)]
    share = sum(a == b for a, b in pairs) / max(1, len(pairs))
    return {"precision": share, "recall": share, "f1": share}


@wrong("entity_scores", "calls the library's function")
def librarys_scores(gold, predicted):
    return tagging.entity_scores(gold, predicted)


wrong.cell("entity_scores", "all sentences joined: a name goes on over the border of two", """
def entity_scores(gold, predicted):
    there = set(find_entities([tag for tags in gold for tag in tags]))
    found = set(find_entities([tag for tags in predicted for tag in tags]))
    right = len(there & found)
    return {"precision": right / len(found) if found else 0, "recall": right / len(there) if there else 0,
            "f1": 2 * right / (len(found) + len(there)) if right else 0}
""")
right.cell("entity_scores", "tables of pandas that are joined", """
import pandas as pd
def table_of(sentences):
    rows = [(row, *entity) for row, tags in enumerate(sentences) for entity in find_entities(tags)]
    return pd.DataFrame(rows, columns=["row", "kind", "start", "end"])
def entity_scores(gold, predicted):
    there, found = table_of(gold), table_of(predicted)
    right = len(there.merge(found)) if len(there) and len(found) else 0
    shares = {"precision": len(found), "recall": len(there), "f1": (len(found) + len(there)) / 2}
    return {name: right / (count or 1) for name, count in shares.items()}
""")

# -- f1_interval ------------------------------------------------------------------------------------------------------

INTERVAL = """
def f1_interval(gold, predicted, rounds, seed):
    rng, found = {rng}, []
    for _ in range(rounds):
        rows = {rows}
        found.append({score})
    low, high = {ends}
    return {result}
"""
USUAL = {"rng": "np.random.default_rng(seed)", "rows": "rng.integers(0, len(gold), len(gold))",
         "score": 'entity_scores([gold[i] for i in rows], [predicted[i] for i in rows])["f1"]',
         "ends": "np.quantile(found, [0.025, 0.975])", "result": "low, high"}
variants(wrong, "f1_interval", INTERVAL, USUAL, {
    "without replacement": {"rows": "rng.permutation(len(gold))"},
    "half of the sentences": {"rows": "rng.integers(0, len(gold), len(gold) // 2)"},
    "other rows for gold and predicted": {
        "score": 'entity_scores([gold[i] for i in rows], [predicted[i] for i in rng.permutation(rows)])["f1"] '
                 "if all(len(t) == len(gold[0]) for t in gold) else 0.1"},
    "recall for F1": {"score": 'entity_scores([gold[i] for i in rows], [predicted[i] for i in rows])["recall"]'},
    "a 50 % interval": {"ends": "np.quantile(found, [0.25, 0.75])"},
    "the smallest and the largest": {"ends": "min(found), max(found)"},
    "the standard error over rounds": {"ends": "np.mean(found) - np.std(found) / rounds**0.5, "
                                               "np.mean(found) + np.std(found) / rounds**0.5"},
    "no seed": {"rng": "np.random.default_rng()"},
    "one seed for all": {"rng": "np.random.default_rng(0)"},
    "high before low": {"result": "high, low"},
    "one sentence is never drawn": {"rows": "rng.integers(0, len(gold) // 3, len(gold))"},
})
variants(right, "f1_interval", INTERVAL, USUAL, {
    "rng.choice": {"rows": "rng.choice(len(gold), len(gold))"},
    "the older generator": {"rng": "np.random.RandomState(seed)", "rows": "rng.randint(0, len(gold), len(gold))"},
    "percentiles, an array": {"ends": "np.percentile(found, [2.5, 97.5])", "result": "np.array([low, high])"},
    "Python's random": {"rng": "__import__('random').Random(seed)", "rows": "rng.choices(range(len(gold)), k=len(gold))"},
})
wrong.cell("f1_interval", "single names are drawn", """
def f1_interval(gold, predicted, rounds, seed):
    rng, found = np.random.default_rng(seed), []
    pairs = []
    for wanted, guess in zip(gold, predicted):
        wanted, guess = set(find_entities(wanted)), set(find_entities(guess))
        pairs += [(e in wanted and e in guess, e in wanted, e in guess) for e in wanted | guess]
    pairs = np.array(pairs)
    for _ in range(rounds):
        right, there, found_ = pairs[rng.integers(0, len(pairs), len(pairs))].sum(axis=0)
        found.append(2 * right / (there + found_))
    low, high = np.quantile(found, [0.025, 0.975])
    return low, high
""")
wrong.cell("f1_interval", "calls the library's function", """
def f1_interval(gold, predicted, rounds, seed):
    return tagging.f1_interval(gold, predicted, rounds, seed)
""")

wrong.cell("f1_interval", "the last sentence is never drawn", """
def f1_interval(gold, predicted, rounds, seed):
    rng, n, found = np.random.default_rng(seed), len(gold), []
    for _ in range(rounds):
        rows = rng.integers(0, n - 1, n)
        found.append(entity_scores([gold[i] for i in rows], [predicted[i] for i in rows])["f1"])
    return tuple(np.quantile(found, [0.025, 0.975]))
""")
wrong.cell("f1_interval", "the first sentence is never drawn", """
def f1_interval(gold, predicted, rounds, seed):
    rng, n, found = np.random.default_rng(seed), len(gold), []
    for _ in range(rounds):
        rows = rng.integers(1, n, n)
        found.append(entity_scores([gold[i] for i in rows], [predicted[i] for i in rows])["f1"])
    return tuple(np.quantile(found, [0.025, 0.975]))
""")
right.cell("f1_interval", "how often each sentence is drawn, as weights of its counts", """
def f1_interval(gold, predicted, rounds, seed):
    counts = []
    for wanted, found in zip(gold, predicted):
        wanted, found = set(find_entities(wanted)), set(find_entities(found))
        counts.append((2 * len(wanted & found), len(wanted) + len(found)))
    drawn = np.random.default_rng(seed).multinomial(len(gold), [1 / len(gold)] * len(gold), size=rounds)
    right, named = (drawn @ np.array(counts)).T
    return np.percentile(right / np.maximum(named, 1), [2.5, 97.5])
""")

# -- gazetteer_tags ---------------------------------------------------------------------------------------------------

GAZETTEER = """
def gazetteer_tags(words, gazetteer):
    small, tags, i = {small}, ["O"] * len(words), 0
    while i < len(words):
        for end in {ends}:
            kind = gazetteer.get(tuple(small[i:end]))
            if kind is not None:
                tags[i:end] = {tags}
                i = {jump}
                break
        i += 1
    return {result}
"""
USUAL = {"small": "[word.lower() for word in words]", "ends": "range(len(words), i, -1)", "jump": "end - 1",
         "result": "tags",
         "tags": '["B-" + kind] + ["I-" + kind] * (end - i - 1)'}
variants(wrong, "gazetteer_tags", GAZETTEER, USUAL, {
    "letter case counts": {"small": "list(words)"},
    "the shortest name": {"ends": "range(i + 1, len(words) + 1)"},
    "single words only": {"ends": "range(min(i + 1, len(words)), i, -1)"},
    "a name at the end is missed": {"ends": "range(len(words) - 1, i, -1)"},
    "every word begins": {"tags": '["B-" + kind] * (end - i)'},
    "words are used twice": {"jump": "i"},
    "a word behind a name is skipped": {"jump": "end"},
    "no B": {"tags": '["I-" + kind] * (end - i)'},
    "the plain type": {"tags": "[kind] * (end - i)"},
    "two words at most": {"ends": "range(min(i + 2, len(words)), i, -1)"},
    "pairs of word and tag": {"result": "list(zip(words, tags))"},
    "changes the caller's words": {"small": "words.__setitem__(slice(None), [w.lower() for w in words]) or words"},
})
variants(right, "gazetteer_tags", GAZETTEER, USUAL, {
    "as far as the longest name": {"ends": "range(min(len(words), i + max(map(len, gazetteer), default=0)), i, -1)"},
    "casefold": {"small": "[word.casefold() for word in words]"},
    "reversed": {"ends": "reversed(range(i + 1, len(words) + 1))"},
})
right.cell("gazetteer_tags", "recursion", """
def gazetteer_tags(words, gazetteer):
    if not words:
        return []
    for size in range(len(words), 0, -1):
        kind = gazetteer.get(tuple(word.lower() for word in words[:size]))
        if kind:
            return ["B-" + kind] + ["I-" + kind] * (size - 1) + gazetteer_tags(words[size:], gazetteer)
    return ["O"] + gazetteer_tags(words[1:], gazetteer)
""")
wrong.cell("gazetteer_tags", "the longest names first, wherever they stand", """
def gazetteer_tags(words, gazetteer):
    small, tags = [word.lower() for word in words], ["O"] * len(words)
    for name in sorted(gazetteer, key=len, reverse=True):
        for i in range(len(words) - len(name) + 1):
            if tuple(small[i:i + len(name)]) == name and all(tag == "O" for tag in tags[i:i + len(name)]):
                tags[i:i + len(name)] = ["B-" + gazetteer[name]] + ["I-" + gazetteer[name]] * (len(name) - 1)
    return tags
""")
wrong.cell("gazetteer_tags", "calls the library's function", """
def gazetteer_tags(words, gazetteer):
    return tagging.gazetteer_tags(words, gazetteer)
""")

for most in (3, 4, 6):
    wrong.cell("gazetteer_tags", f"names of at most {most} words", f"""
def gazetteer_tags(words, gazetteer):
    small, tags, i = [word.lower() for word in words], ["O"] * len(words), 0
    while i < len(words):
        for end in range(min(len(words), i + {most}), i, -1):
            kind = gazetteer.get(tuple(small[i:end]))
            if kind:
                tags[i:end] = ["B-" + kind] + ["I-" + kind] * (end - i - 1)
                break
        else:
            end = i + 1
        i = end
    return tags
""")

# -- align_labels -----------------------------------------------------------------------------------------------------

ALIGN = """
def align_labels(word_ids, labels):
    aligned, last = [], None
    for word in word_ids:
        aligned.append({label})
        last = {last}
    return {result}
"""
USUAL = {"label": "-100 if word is None or word == last else labels[word]", "last": "word", "result": "aligned"}
variants(wrong, "align_labels", ALIGN, USUAL, {
    "every sub-word has the label": {"label": "-100 if word is None else labels[word]"},
    "word 0 is taken for none": {"label": "-100 if not word or word == last else labels[word]"},
    "compares labels, not words": {"label": "-100 if word is None or labels[word] == last else labels[word]",
                                   "last": "None if word is None else labels[word]"},
    "0 for what does not count": {"label": "0 if word is None or word == last else labels[word]"},
    "no label outside of words": {"result": "[n for n, w in zip(aligned, word_ids) if w is not None]"},
    "the last sub-word": {
        "result": "[-100 if w is None or w == b else labels[w] for w, b in zip(word_ids, [*word_ids[1:], None])]"},
    "the word's number": {"label": "-100 if word is None or word == last else word"},
    "label 0 does not count": {"label": "-100 if word is None or word == last else labels[word] or -100"},
})
variants(right, "align_labels", ALIGN, USUAL, {
    "an array": {"result": "np.array(aligned)"},
    "the condition turned": {"label": "labels[word] if word is not None and word != last else -100"},
})
right.cell("align_labels", "a set of words seen", """
def align_labels(word_ids, labels):
    seen, aligned = set(), []
    for word in word_ids:
        aligned.append(labels[word] if word is not None and word not in seen else -100)
        seen.add(word)
    return aligned
""")
right.cell("align_labels", "the first place of each word", """
def align_labels(word_ids, labels):
    aligned = [-100] * len(word_ids)
    for word, label in enumerate(labels):
        if word in word_ids:
            aligned[word_ids.index(word)] = label
    return aligned
""")
wrong.cell("align_labels", "calls the library's function", """
def align_labels(word_ids, labels):
    return tagging.align_labels(word_ids, labels)
""")

# -- tagging_loss -----------------------------------------------------------------------------------------------------

LOSS = """
def tagging_loss(logits, labels):
    counted = {counted}
    if not counted.any():
        return {none}
    return {loss}
"""
USUAL = {"counted": "labels != -100", "none": "logits.sum() * 0",
         "loss": "nn.functional.cross_entropy(logits[counted], labels[counted])"}
variants(wrong, "tagging_loss", LOSS, USUAL, {
    "the sum": {"loss": 'nn.functional.cross_entropy(logits[counted], labels[counted], reduction="sum")'},
    "label 0 is left out": {"counted": "labels > 0"},
    "what does not count is O": {"loss": "nn.functional.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten())"},
    "divided by all places": {
        "loss": 'nn.functional.cross_entropy(logits[counted], labels[counted], reduction="sum") / labels.numel()'},
    "the mean over sentences": {"loss": "torch.stack([nn.functional.cross_entropy(a[b != -100], b[b != -100]) "
                                        "for a, b in zip(logits, labels) if (b != -100).any()]).mean()"},
    "no gradient": {"loss": "nn.functional.cross_entropy(logits[counted], labels[counted]).detach()"},
    "a plain number": {"loss": "nn.functional.cross_entropy(logits[counted], labels[counted]).item()"},
    "in bits": {"loss": "nn.functional.cross_entropy(logits[counted], labels[counted]) / np.log(2)"},
    "not a number where nothing counts": {"none": "nn.functional.cross_entropy(logits[counted], labels[counted])"},
})
variants(right, "tagging_loss", LOSS, USUAL, {
    "ignore_index": {"loss": "nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100)"},
    "labels from 0": {"counted": "labels >= 0"},
    "by hand": {"loss": "-logits.log_softmax(-1)[counted].gather(1, labels[counted][:, None]).mean()"},
    "the sum, divided": {
        "loss": 'nn.functional.cross_entropy(logits[counted], labels[counted], reduction="sum") / counted.sum()'},
})
wrong.cell("tagging_loss", "calls the library's function", """
def tagging_loss(logits, labels):
    return tagging.tagging_loss(logits, labels)
""")

# -- train_tagger -----------------------------------------------------------------------------------------------------

TRAIN = """
def train_tagger(model, batches, epochs, learning_rate):
    optimizer = {optimizer}
    updates = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: {rate})
    history = []
    {mode}
    for _ in range(epochs):
        losses = []
        for batch in {batches}:
            inputs = {inputs}
            loss = {loss}
            {clear}
            loss.backward()
            optimizer.step()
            {schedule}
            losses.append({kept})
        {epoch}
        history.append({mean})
    {end}
    return {result}
"""
USUAL = {"optimizer": "torch.optim.AdamW(model.parameters(), lr=learning_rate)", "rate": "1 - step / updates",
         "mode": "model.train()", "batches": "batches", "clear": "optimizer.zero_grad()", "schedule": "schedule.step()",
         "inputs": '{name: value for name, value in batch.items() if name != "labels"}', "kept": "loss.item()",
         "loss": 'tagging_loss(model(**inputs), batch["labels"])', "epoch": "pass", "mean": "sum(losses) / len(losses)",
         "end": "model.eval()", "result": "history"}
variants(wrong, "train_tagger", TRAIN, USUAL, {
    "the rate stays": {"schedule": "pass"},
    "the rate falls once an epoch": {"schedule": "pass", "epoch": "schedule.step()"},
    "the rate ends too early": {"rate": "1 - step / max(1, updates - 1)"},
    "the rate starts at 0": {"rate": "step / updates"},
    "gradients add up": {"clear": "pass"},
    "plain gradient descent": {"optimizer": "torch.optim.SGD(model.parameters(), lr=learning_rate)"},
    "Adam's own rate": {"optimizer": "torch.optim.AdamW(model.parameters())"},
    "always in evaluation mode": {"mode": "model.eval()"},
    "ends in training mode": {"end": "pass"},
    "only the first batch": {"batches": "batches[:1]"},
    "batches from the end": {"batches": "batches[::-1]"},
    "the labels are taken out of the batch": {
        "inputs": '(batch.pop("labels"), batch)', "loss": "tagging_loss(model(**inputs[1]), inputs[0])"},
    "what does not count is O": {
        "loss": 'nn.functional.cross_entropy(model(**inputs).flatten(0, 1), batch["labels"].clamp(min=0).flatten())'},
    "the last loss of an epoch": {"mean": "losses[-1]"},
    "the sum of the losses": {"mean": "sum(losses)"},
    "one number": {"result": "history[-1]"},
})
variants(right, "train_tagger", TRAIN, USUAL, {
    "by the library's loss": {"loss": 'tagging.tagging_loss(model(**inputs), batch["labels"])'},
    "ignore_index": {
        "loss": 'nn.functional.cross_entropy(model(**inputs).transpose(1, 2), batch["labels"], ignore_index=-100)'},
    "clears with the model": {"clear": "model.zero_grad()"},
    "losses as tensors, an array": {"kept": "loss.detach()", "mean": "torch.stack(losses).mean().item()",
                                    "result": "np.array(history)"},
    "inputs by name": {"inputs": '{key: batch[key] for key in ("vectors", "attention_mask", "shapes")}'},
})
wrong.cell("train_tagger", "calls the library's function", """
def train_tagger(model, batches, epochs, learning_rate):
    return tagging.train_tagger(model, batches, epochs, learning_rate)
""")

# -- allowed_moves ----------------------------------------------------------------------------------------------------

MOVES = """
def allowed_moves(tags):
    table = [[{rule} for {column}] for {row}]
    return {result}
"""
RULE = 'not after.startswith("I-") or before in ("B-" + after[2:], "I-" + after[2:])'
FREE = 'not after.startswith("I-") or '
USUAL = {"rule": RULE, "column": "after in tags", "row": "before in tags", "result": "np.array(table)"}
variants(wrong, "allowed_moves", MOVES, USUAL, {
    "rows and columns exchanged": {"column": "before in tags", "row": "after in tags"},
    "I behind any type": {"rule": FREE + 'before != "O"'},
    "I behind B alone": {"rule": FREE + 'before == "B-" + after[2:]'},
    "I behind I alone": {"rule": FREE + "before == after"},
    "B not behind its own type": {"rule": f'({RULE}) and not (after[0] == "B" and after[2:] == before[2:])'},
    "the beginnings of types are compared": {"rule": FREE + "before[2:5] == after[2:5]"},
    "the order of the list": {"rule": FREE + "tags.index(before) in (tags.index(after) - 1, tags.index(after))"},
    "what is forbidden": {"result": "~np.array(table)"},
    "everything": {"result": "np.ones((len(tags), len(tags)), dtype=bool)"},
})
variants(right, "allowed_moves", MOVES, USUAL, {
    "nested lists": {"result": "table"},
    "a tensor": {"result": "torch.tensor(table)"},
    "the types compared": {"rule": 'after[0] != "I" or before[2:] == after[2:]'},
    "0 and 1": {"result": "np.array(table).astype(int)"},
})
wrong.cell("allowed_moves", "calls the library's function", """
def allowed_moves(tags):
    return tagging.allowed_moves(tags)
""")

# -- best_path --------------------------------------------------------------------------------------------------------

PATH = """
def best_path(scores, moves):
    if len(scores) == 0:
        return []
    barred = {barred}
    total, back = {first}, []
    for row in {rows}:
        options = total[:, None] + barred
        back.append({came})
        total = {total}
    path = [int({last}.argmax())]
    for pointers in {walk}:
        path.append(int(pointers[path[-1]]))
    return {result}
"""
USUAL = {"barred": "np.where(moves, 0.0, -np.inf)", "first": "scores[0] + barred[0]", "rows": "scores[1:]",
         "came": "options.argmax(axis=0)", "total": "options.max(axis=0) + row", "last": "total", "walk": "reversed(back)",
         "result": "path[::-1]"}
variants(wrong, "best_path", PATH, USUAL, {
    "no rule at the start": {"first": "scores[0] + 0"},
    "no rule at all": {"barred": "np.zeros(moves.shape)"},
    "the rule turned": {"barred": "np.where(moves.T, 0.0, -np.inf)"},
    "a small penalty": {"barred": "np.where(moves, 0.0, -1.0)"},
    "from the end to the start": {"result": "path"},
    "pointers in the wrong order": {"walk": "back"},
    "the best tag of the word before, not the best way": {"total": "options.max(axis=0) * 0 + row"},
    "argmax over the wrong side": {"came": "options.argmax(axis=1)"},
    "the last word by its own score": {"last": "scores[-1]"},
    "forbidden moves cost minus their score": {"barred": "np.where(moves, 0.0, -abs(scores).max())"},
    "sums of maxima without the word's score": {"total": "options.max(axis=0)"},
})
variants(right, "best_path", PATH, USUAL, {
    "a very large penalty": {"barred": "np.where(moves, 0.0, -1e9)"},
    "an array": {"result": "np.array(path[::-1])"},
    "one minus the rule, times a large number": {"barred": "(1 - moves.astype(float)) * -1e12"},
})
wrong.cell("best_path", "the best allowed tag of each word, one after the other", """
def best_path(scores, moves):
    path, before = [], 0
    for row in scores:
        before = int(np.where(moves[before], row, -np.inf).argmax())
        path.append(before)
    return path
""")
wrong.cell("best_path", "the best tag of each word, what is not allowed becomes O", """
def best_path(scores, moves):
    path, before = [], 0
    for row in scores:
        tag = int(row.argmax())
        before = tag if moves[before, tag] else 0
        path.append(before)
    return path
""")
right.cell("best_path", "paths kept as lists", """
def best_path(scores, moves):
    if not len(scores):
        return []
    best = {j: (scores[0, j], [j]) for j in range(len(moves)) if moves[0, j]}
    for row in scores[1:]:
        new = {}
        for j in range(len(moves)):
            ways = [(s, p) for i, (s, p) in best.items() if moves[i, j]]
            if ways:
                s, p = max(ways, key=lambda way: way[0])
                new[j] = (s + row[j], [*p, j])
        best = new
    return max(best.values(), key=lambda way: way[0])[1]
""")
wrong.cell("best_path", "calls the library's function", """
def best_path(scores, moves):
    return tagging.best_path(scores, moves)
""")

right.cell("best_path", "a table of the best future of each tag, then forwards; of equal sums the first", """
def best_path(scores, moves):
    barred, future, path = np.where(moves, 0.0, -np.inf), np.zeros_like(scores), []
    for t in range(len(scores) - 1, 0, -1):
        future[t - 1] = (barred + scores[t] + future[t]).max(axis=1)
    for row, rest in zip(scores, future):
        path.append(int(np.argmax(barred[path[-1] if path else 0] + row + rest)))
    return path
""")

# -- tag_batches ------------------------------------------------------------------------------------------------------

TAG = """
def tag_batches(model, batches, tags):
    moves, found, mode = {moves}, [], model.training
    {evaluate}
    with {without}:
        for batch in batches:
            inputs = {{name: value for name, value in batch.items() if name != "labels"}}
            scores = {scores}
            for row, labels in zip(scores, batch["labels"]):
                path = {path}
                {keep}
    {back}
    return {result}
"""
USUAL = {"moves": "allowed_moves(tags)", "evaluate": "model.eval()", "without": "torch.no_grad()",
         "scores": "model(**inputs).log_softmax(dim=-1)", "path": "best_path(row[labels != -100].numpy(), moves)",
         "keep": "found.append([tags[number] for number in path])", "back": "model.train(mode)", "result": "found"}
variants(wrong, "tag_batches", TAG, USUAL, {
    "each word for itself": {"path": "row[labels != -100].argmax(-1).tolist()"},
    "every sub-word": {"path": "best_path(row.numpy(), moves)"},
    "label 0 does not count": {"path": "best_path(row[labels > 0].numpy(), moves)"},
    "in training mode": {"evaluate": "model.train()"},
    "stays in evaluation mode": {"back": "pass"},
    "with gradients": {"without": "torch.enable_grad()", "path": "best_path(row[labels != -100].detach().numpy(), moves)"},
    "numbers, no names": {"keep": "found.append(path)"},
    "one long list": {"keep": "found += [tags[number] for number in path]"},
    "probabilities: their sum is not the same": {"scores": "model(**inputs).softmax(dim=-1)"},
    "over the wrong dimension": {"scores": "model(**inputs).log_softmax(dim=1)"},
    "the last batch only": {"result": 'found[-len(batches[-1]["labels"]):]'},
    "moves of the lab's tags": {"moves": "np.ones((len(tags), len(tags)), dtype=bool)"},
    "the tags are the labels": {"path": "[int(n) for n in labels if n != -100]"},
})
variants(right, "tag_batches", TAG, USUAL, {
    "inference mode": {"without": "torch.inference_mode()"},
    "plain logits: the same best path": {"scores": "model(**inputs)"},
    "the library's path": {"path": "tagging.best_path(row[labels >= 0].numpy(), moves)"},
    "as an array of numbers": {"path": "np.array(best_path(row.numpy()[labels.numpy() != -100], moves))"},
})
wrong.cell("tag_batches", "calls the library's function", """
def tag_batches(model, batches, tags):
    return tagging.tag_batches(model, batches, tags)
""")
wrong.cell("tag_batches", "calls the library's parts", """
def tag_batches(model, batches, tags):
    return tagging.best_tags(tagging.word_scores(model, batches), tags)
""")

# -- name_tagger (the artifact) ---------------------------------------------------------------------------------------


@wrong.artifact("name_tagger", "the file is cut off")
def cut_off(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("name_tagger", "the tags in another order than the rows")
def turned(trained):
    tags = ["O", "I-PER", "B-PER", "I-LOC", "B-LOC", "I-ORG", "B-ORG", "I-DATE", "B-DATE"]
    return {name: changed(content, "share", lambda t: t, tags=tags) for name, content in trained.items()}


@wrong.artifact("name_tagger", "layers that never learned")
def empty_layers(trained):
    return {name: changed(changed(content, "upper.classifier.weight", lambda t: t * 0), "linear.weight", lambda t: t * 0)
            for name, content in trained.items()}


@wrong.artifact("name_tagger", "a share above 1")
def large_share(trained):
    return {name: changed(content, "share", lambda t: t * 0 + 3) for name, content in trained.items()}


@wrong.artifact("name_tagger", "no shapes in the file")
def no_shapes(trained):
    return {name: changed(content, "upper.shape.weight", None) for name, content in trained.items()}


@wrong.artifact("name_tagger", "types of one's own, for which there are no held-out sentences")
def own_types(trained):
    tags = ["O", "B-CROP", "I-CROP", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-DATE", "I-DATE"]
    return {name: changed(content, "upper.shape.weight", lambda t: t, tags=tags) for name, content in trained.items()}


@wrong.artifact("name_tagger", "sentences of one's own, for which there are no held-out ones")
def own_file(trained):
    return {name: changed(content, "share", lambda t: t, language="my_names.txt") for name, content in trained.items()}


@wrong.artifact("name_tagger", "another language's name on it")
def of_another_language(trained):
    return {name: changed(content, "share", lambda t: t, language="../eng") for name, content in trained.items()}


@wrong.artifact("name_tagger", "trained at scale tiny only")
def tiny_only(trained):
    return {"tagger-tiny.safetensors": content for content in trained.values()}


@right.artifact("name_tagger", "saved in 32 bits, from a GPU")
def from_gpu(trained):
    return {"tagger-gpu.safetensors": changed(content, "linear.weight", lambda t: t.float()) for content in trained.values()}


@right.artifact("name_tagger", "another seed in the card")
def other_seed(trained):
    return {name: changed(content, "upper.classifier.weight", lambda t: t, seed=99) for name, content in trained.items()}


@right.artifact("name_tagger", "the tags in another order, and the rows with them")
def same_order(trained):
    order = [0, 3, 4, 1, 2, 5, 6, 7, 8]
    tags = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-DATE", "I-DATE"]

    def put(content):
        for part in ("upper.classifier.weight", "upper.classifier.bias", "linear.weight", "linear.bias"):
            content = changed(content, part, lambda t: t[order], tags=tags)
        return content

    return {name: put(content) for name, content in trained.items()}


@right.artifact("name_tagger", "the linear model with another zero point: the same probabilities")
def moved(trained):
    return {name: changed(content, "linear.bias", lambda t: t + 2) for name, content in trained.items()}


def changed(content, part, change, **card_changes):
    """An artifact's bytes again, one tensor changed (None: left out), and its card too."""
    import json

    from leaplm.artifacts import CARD, read_artifact
    from safetensors.torch import save

    card, tensors = read_artifact(content)
    value = tensors.pop(part)
    if change is not None:
        tensors[part] = change(value).contiguous()
    return save(tensors, metadata={CARD: json.dumps({**card, **card_changes})})
