"""Bank of lab 5: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, stats, fewshot, copy, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: B006, F821, B905, B035

# -- sample_balanced --------------------------------------------------------------------------------------------------


@wrong("sample_balanced", "the first rows of each class, whatever the seed")
def first_rows(labels, num_shots, seed):
    labels = np.asarray(labels)
    chosen = [np.flatnonzero(labels == c)[:num_shots] for c in np.unique(labels)]
    return np.random.default_rng(seed).permutation(np.concatenate(chosen))


@wrong("sample_balanced", "draws with replacement")
def with_replacement(labels, num_shots, seed):
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    return rng.permutation(np.concatenate([rng.choice(np.flatnonzero(labels == c), num_shots) for c in np.unique(labels)]))


@wrong("sample_balanced", "class after class, not mixed")
def not_mixed(labels, num_shots, seed):
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    return np.concatenate([rng.choice(np.flatnonzero(labels == c), num_shots, replace=False) for c in np.unique(labels)])


@wrong("sample_balanced", "draws from all rows, not from each class")
def unbalanced(labels, num_shots, seed):
    rng = np.random.default_rng(seed)
    return rng.choice(len(labels), num_shots * len(set(labels)), replace=False)


@wrong("sample_balanced", "takes the classes to be 0, 1, 2, ...")
def classes_from_zero(labels, num_shots, seed):
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    found = []
    for c in range(len(set(labels.tolist()))):
        rows = np.flatnonzero(labels == c)
        found += rng.permutation(rows)[:num_shots].tolist()
    return found


@wrong("sample_balanced", "ignores the seed")
def no_seed(labels, num_shots, seed):
    rng, labels = np.random.default_rng(), np.asarray(labels)
    chosen = [rng.choice(np.flatnonzero(labels == c), num_shots, replace=False) for c in np.unique(labels)]
    return rng.permutation(np.concatenate(chosen))


@right("sample_balanced", "with Python's random")
def with_random(labels, num_shots, seed):
    import random

    dice = random.Random(seed)
    rows = []
    for c in set(labels):
        rows += dice.sample([i for i, label in enumerate(labels) if label == c], num_shots)
    dice.shuffle(rows)
    return rows


@right("sample_balanced", "shuffles all rows and takes each class until it is full")
def first_come(labels, num_shots, seed):
    taken, rows = {}, []
    for row in np.random.default_rng(seed).permutation(len(labels)):
        if taken.get(labels[row], 0) < num_shots:
            taken[labels[row]] = taken.get(labels[row], 0) + 1
            rows.append(int(row))
    return rows


@right("sample_balanced", "with pandas")
def with_pandas(labels, num_shots, seed):
    table = pd.DataFrame({"label": labels})
    return table.groupby("label").sample(num_shots, random_state=seed).sample(frac=1, random_state=seed).index.to_numpy()


@right("sample_balanced", "with torch's generator, as a list")
def with_torch(labels, num_shots, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(labels)
    rows = []
    for c in labels.unique():
        places = (labels == c).nonzero().flatten()
        rows += places[torch.randperm(len(places), generator=generator)[:num_shots]].tolist()
    return [rows[i] for i in torch.randperm(len(rows), generator=generator)]


@wrong("sample_balanced", "sorted by row number, so in order of the class where the data are")
def sorted_rows(labels, num_shots, seed):
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    chosen = [rng.choice(np.flatnonzero(labels == c), num_shots, replace=False) for c in np.unique(labels)]
    return sorted(np.concatenate(chosen))


@wrong("sample_balanced", "the first rows of each class, then mixed")
def first_rows_mixed(labels, num_shots, seed):
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    return rng.permutation(np.concatenate([np.flatnonzero(labels == c)[:num_shots] for c in np.unique(labels)]))


@wrong("sample_balanced", "never draws the last row of a class")
def never_the_last(labels, num_shots, seed):
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    chosen = []
    for c in np.unique(labels):
        rows = np.flatnonzero(labels == c)
        chosen.append(rng.choice(rows[: max(num_shots, len(rows) - 1)], num_shots, replace=False))
    return rng.permutation(np.concatenate(chosen))


@wrong("sample_balanced", "seed 0 counts as no seed")
def zero_is_no_seed(labels, num_shots, seed):
    rng, labels = np.random.default_rng(seed or None), np.asarray(labels)
    chosen = [rng.choice(np.flatnonzero(labels == c), num_shots, replace=False) for c in np.unique(labels)]
    return rng.permutation(np.concatenate(chosen))


@wrong("sample_balanced", "the row numbers are numbers with a fraction")
def float_rows(labels, num_shots, seed):
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    rows = np.zeros(0)
    for c in np.unique(labels):
        rows = np.append(rows, rng.choice(np.flatnonzero(labels == c), num_shots, replace=False))
    return rng.permutation(rows)


@wrong("sample_balanced", "marks the rows that are taken in the caller's list")
def marks_rows(labels, num_shots, seed):
    rng, rows = np.random.default_rng(seed), []
    for c in sorted(set(labels)):
        for _ in range(num_shots):
            row = rng.choice([i for i, label in enumerate(labels) if label == c])
            labels[row] = -1
            rows.append(int(row))
    return rng.permutation(rows)


@wrong("sample_balanced", "the labels instead of the rows")
def labels_not_rows(labels, num_shots, seed):
    return np.random.default_rng(seed).permutation(np.repeat(np.unique(labels), num_shots))


@wrong("sample_balanced", "mixes with another generator, without the seed")
def mixed_without_seed(labels, num_shots, seed):
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    chosen = [rng.choice(np.flatnonzero(labels == c), num_shots, replace=False) for c in np.unique(labels)]
    return np.random.default_rng().permutation(np.concatenate(chosen))


@wrong("sample_balanced", "calls the library's function")
def librarys_sample(labels, num_shots, seed):
    return fewshot.sample_balanced(labels, num_shots, seed)



@wrong("sample_balanced", "no row of class 0")
def without_class_zero(labels, num_shots, seed):
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    rows = [rng.choice(np.flatnonzero(labels == c), num_shots, replace=False) for c in np.unique(labels) if c > 0]
    return rng.permutation(np.concatenate(rows))


# -- nearest_label ----------------------------------------------------------------------------------------------------


@wrong("nearest_label", "dot products instead of cosines")
def dot_products(text_vectors, label_vectors):
    return torch.einsum("nw,cdw->nc", text_vectors, label_vectors).argmax(dim=1)


@wrong("nearest_label", "makes only the texts length 1")
def only_texts(text_vectors, label_vectors):
    texts = torch.nn.functional.normalize(text_vectors, dim=-1)
    return (texts @ label_vectors.mean(dim=1).T).argmax(dim=1)


@wrong("nearest_label", "the cosine with the mean of raw vectors")
def cosine_with_mean(text_vectors, label_vectors):
    texts = torch.nn.functional.normalize(text_vectors, dim=-1)
    return (texts @ torch.nn.functional.normalize(label_vectors.mean(dim=1), dim=-1).T).argmax(dim=1)


@wrong("nearest_label", "the first description only")
def first_description(text_vectors, label_vectors):
    normalize = torch.nn.functional.normalize
    return (normalize(text_vectors, dim=-1) @ normalize(label_vectors[:, 0], dim=-1).T).argmax(dim=1)


@wrong("nearest_label", "the best description instead of the mean")
def best_description(text_vectors, label_vectors):
    normalize = torch.nn.functional.normalize
    similar = torch.einsum("nw,cdw->ncd", normalize(text_vectors, dim=-1), normalize(label_vectors, dim=-1))
    return similar.amax(dim=2).argmax(dim=1)


@wrong("nearest_label", "the smallest cosine")
def farthest(text_vectors, label_vectors):
    normalize = torch.nn.functional.normalize
    return torch.einsum("nw,cdw->nc", normalize(text_vectors, dim=-1), normalize(label_vectors, dim=-1)).argmin(dim=1)


@right("nearest_label", "with cosine_similarity and broadcasting")
def broadcast(text_vectors, label_vectors):
    similar = torch.nn.functional.cosine_similarity(text_vectors[:, None, None], label_vectors[None], dim=-1)
    return similar.mean(dim=2).argmax(dim=1)


@right("nearest_label", "loops, plain numbers")
def looped_labels(text_vectors, label_vectors):
    found = []
    for text in np.asarray(text_vectors, dtype=float):
        scores = [np.mean([text @ np.asarray(d) / np.linalg.norm(d) for d in label]) for label in label_vectors]
        found.append(int(np.argmax(scores)))
    return found


@right("nearest_label", "the mean of unit vectors, a product of matrices")
def mean_of_units(text_vectors, label_vectors):
    centres = (label_vectors / label_vectors.norm(dim=-1, keepdim=True)).mean(dim=1)
    return torch.argmax((text_vectors / text_vectors.norm(dim=1, keepdim=True)) @ centres.T, dim=-1)


@right("nearest_label", "the length of the texts does not matter, so only the labels are scaled; in numpy")
def scaled_labels_only(text_vectors, label_vectors):
    labels = label_vectors.numpy() / np.linalg.norm(label_vectors.numpy(), axis=2, keepdims=True)
    return np.tensordot(text_vectors.numpy(), labels.sum(axis=1), axes=(1, 1)).argmax(axis=1)


@wrong("nearest_label", "the cosine with the mean of unit vectors, scaled to 1 again")
def scaled_again(text_vectors, label_vectors):
    normalize = torch.nn.functional.normalize
    return (text_vectors @ normalize(normalize(label_vectors, dim=-1).mean(dim=1), dim=-1).T).argmax(dim=1)


@wrong("nearest_label", "the nearest by distance")
def by_distance(text_vectors, label_vectors):
    return torch.cdist(text_vectors, label_vectors.mean(dim=1)).argmin(dim=1)


@wrong("nearest_label", "the largest absolute cosine")
def absolute_cosine(text_vectors, label_vectors):
    normalize = torch.nn.functional.normalize
    similar = torch.einsum("nw,cdw->ncd", normalize(text_vectors, dim=-1), normalize(label_vectors, dim=-1))
    return similar.abs().mean(2).argmax(1)


@wrong("nearest_label", "scales over the wrong dimension")
def scales_over_texts(text_vectors, label_vectors):
    normalize = torch.nn.functional.normalize
    return torch.einsum("nw,cdw->nc", normalize(text_vectors, dim=0), normalize(label_vectors, dim=1)).argmax(dim=1)


@wrong("nearest_label", "the median of the cosines")
def median_cosine(text_vectors, label_vectors):
    normalize = torch.nn.functional.normalize
    similar = torch.einsum("nw,cdw->ncd", normalize(text_vectors, dim=-1), normalize(label_vectors, dim=-1))
    return similar.median(dim=2).values.argmax(dim=1)


@wrong("nearest_label", "the similarities, not the class")
def similarities(text_vectors, label_vectors):
    normalize = torch.nn.functional.normalize
    return torch.einsum("nw,cdw->nc", normalize(text_vectors, dim=-1), normalize(label_vectors, dim=-1))


@wrong("nearest_label", "scales the caller's vectors in place")
def scales_in_place(text_vectors, label_vectors):
    text_vectors /= text_vectors.norm(dim=-1, keepdim=True)
    label_vectors /= label_vectors.norm(dim=-1, keepdim=True)
    return torch.einsum("nw,cdw->nc", text_vectors, label_vectors).argmax(dim=1)


@wrong("nearest_label", "one text gives a number alone")
def squeezes(text_vectors, label_vectors):
    normalize = torch.nn.functional.normalize
    similar = torch.einsum("nw,cdw->nc", normalize(text_vectors, dim=-1), normalize(label_vectors, dim=-1))
    return similar.squeeze(0).argmax(dim=-1)


@wrong("nearest_label", "calls the library's function")
def librarys_nearest(text_vectors, label_vectors):
    return fewshot.nearest_label(text_vectors, label_vectors)



# -- few_shot_prompt --------------------------------------------------------------------------------------------------


@wrong("few_shot_prompt", "no check for leaks")
def leaks(demonstrations, text, words, template):
    prefix = "".join(template.format(text=row["text"]) + words[row["label"]] + "\n\n" for row in demonstrations)
    return prefix, template.format(text=text)


@wrong("few_shot_prompt", "finds a leak only if it is letter for letter the same")
def exact_leaks(demonstrations, text, words, template):
    if text in [row["text"] for row in demonstrations]:
        raise ValueError("leak")
    prefix = "".join(template.format(text=row["text"]) + words[row["label"]] + "\n\n" for row in demonstrations)
    return prefix, template.format(text=text)


@wrong("few_shot_prompt", "no blank line after the last demonstration")
def joined(demonstrations, text, words, template):
    if " ".join(text.lower().split()) in [" ".join(row["text"].lower().split()) for row in demonstrations]:
        raise ValueError("leak")
    prefix = "\n\n".join(template.format(text=row["text"]) + words[row["label"]] for row in demonstrations)
    return prefix, template.format(text=text)


@wrong("few_shot_prompt", "demonstrations without their answers")
def no_answers(demonstrations, text, words, template):
    if " ".join(text.lower().split()) in [" ".join(row["text"].lower().split()) for row in demonstrations]:
        raise ValueError("leak")
    return "".join(template.format(text=row["text"]) + "\n\n" for row in demonstrations), template.format(text=text)


@wrong("few_shot_prompt", "calls the library's function")
def by_library(demonstrations, text, words, template):
    return fewshot.demonstration_prefix(demonstrations, words, template, [text]), template.format(text=text)


@right("few_shot_prompt", "with replace and a loop")
def by_replace(demonstrations, text, words, template):
    prefix = ""
    for row in demonstrations:
        if row["text"].casefold().split() == text.casefold().split():
            raise ValueError(f"{text!r} is a demonstration")
        prefix += template.replace("{text}", row["text"]) + words[row["label"]] + "\n\n"
    return prefix, template.replace("{text}", text)


PROMPT = """
def few_shot_prompt(demonstrations, text, words, template):
    def plain(string):
        return " ".join(string.lower().split())
    if {leak}:
        raise ValueError("a leak")
    prefix = "".join({shown} + "\\n\\n" for row in {rows})
    return prefix, {prompt}
"""
LEAK, SHOWN = "plain(text) in [plain(row['text']) for row in demonstrations]", "template.replace('{text}', row['text'])"
GOOD = {"leak": LEAK, "shown": SHOWN + " + words[row['label']]", "rows": "demonstrations",
        "prompt": "template.replace('{text}', text)"}
for why, part in {
    "a space at the end of the prompt": {"prompt": GOOD["prompt"] + " + ' '"},
    "sorts the demonstrations by class": {"rows": "sorted(demonstrations, key=lambda row: row['label'])"},
    "each demonstration once": {"rows": "{row['text']: row for row in demonstrations}.values()"},
    "the last demonstration first": {"rows": "demonstrations[::-1]"},
    "only the first demonstration is looked at for leaks": {"leak": "plain(text) == plain(demonstrations[0]['text'])"},
    "refuses a part of a demonstration, too": {"leak": "any(plain(text) in plain(row['text']) for row in demonstrations)"},
    "refuses a text that holds a demonstration":
        {"leak": "any(plain(row['text']) in plain(text) for row in demonstrations)"},
    "spaces at the ends count": {"leak": "text.lower() in [row['text'].lower() for row in demonstrations]"},
    "letter case counts": {"leak": "text.split() in [row['text'].split() for row in demonstrations]"},
    "signs do not count": {"leak": "re.sub(r'\\W', '', plain(text)) in "
                                   "[re.sub(r'\\W', '', plain(row['text'])) for row in demonstrations]"},
    "the words in the order of the demonstrations": {"shown": SHOWN + " + words[demonstrations.index(row) % len(words)]"},
    "the texts in small letters": {"shown": SHOWN + ".lower() + words[row['label']]"},
    "the words without their space": {"shown": SHOWN + " + words[row['label']].strip()"},
    "leaks are found among the rows changed in place":
        {"leak": "[row.update(text=plain(row['text'])) for row in demonstrations] and "
                 "plain(text) in [row['text'] for row in demonstrations]"},
}.items():
    wrong.cell("few_shot_prompt", why, "import re\n" + PROMPT.format(**{**GOOD, **part}))
wrong.cell("few_shot_prompt", "another error than asked for", PROMPT.format(**GOOD).replace("ValueError", "AssertionError"))
wrong.cell("few_shot_prompt", "leaves a leaking demonstration out in silence", PROMPT.format(**{
    **GOOD, "leak": "False", "rows": "demonstrations if plain(row['text']) != plain(text)"}))
right.cell("few_shot_prompt", "an error of one's own, derived from ValueError", "class Leak(ValueError):\n    pass\n"
           + PROMPT.format(**GOOD).replace("raise ValueError", "raise Leak"))
right.cell("few_shot_prompt", "with split and join, and without any spaces in the comparison", PROMPT.format(**{
    **GOOD, "leak": "any(''.join(text.casefold().split()) == ''.join(row['text'].casefold().split()) "
                    "for row in demonstrations)",
    "shown": "row['text'].join(template.split('{text}')) + words[row['label']]"}))


@right("few_shot_prompt", "a list of two strings, a regular expression for spaces")
def in_a_list(demonstrations, text, words, template):
    import re
    squeeze = lambda string: re.sub(r"\s+", " ", string).strip().lower()  # noqa: E731
    prefix = ""
    for row in demonstrations:
        if squeeze(row["text"]) == squeeze(text):
            raise ValueError
        prefix = f"{prefix}{template.format(text=row['text'])}{words[row['label']]}\n\n"
    return [prefix, template.format(text=text)]


@wrong("few_shot_prompt", "an empty line also where there is no demonstration")
def ends_joined(demonstrations, text, words, template):
    def plain(some):
        return " ".join(some.lower().split())
    if plain(text) in [plain(row["text"]) for row in demonstrations]:
        raise ValueError("leak")
    shown = [template.format(text=row["text"]) + words[row["label"]] for row in demonstrations]
    return "\n\n".join(shown) + "\n\n", template.format(text=text)


@wrong("few_shot_prompt", "the same demonstration once only")
def each_once(demonstrations, text, words, template):
    def plain(some):
        return " ".join(some.lower().split())
    if plain(text) in [plain(row["text"]) for row in demonstrations]:
        raise ValueError("leak")
    rows = [row for place, row in enumerate(demonstrations) if row not in demonstrations[:place]]
    shown = [template.format(text=row["text"]) + words[row["label"]] + "\n\n" for row in rows]
    return "".join(shown), template.format(text=text)


@wrong("few_shot_prompt", "fills the finished prompt: also the placeholder that a demonstration holds")
def filled_at_the_end(demonstrations, text, words, template):
    def plain(some):
        return " ".join(some.lower().split())
    if plain(text) in [plain(row["text"]) for row in demonstrations]:
        raise ValueError("leak")
    shown = [template.replace("{text}", row["text"]) + words[row["label"]] + "\n\n" for row in demonstrations]
    return "".join(shown).replace("{text}", text), template.replace("{text}", text)


# -- score_labels -----------------------------------------------------------------------------------------------------


@wrong("score_labels", "the whole text again for every prompt and label")
def plain_loop(model, prefix_ids, prompt_ids, label_ids):
    rows = []
    with torch.no_grad():
        for prompt in prompt_ids:
            rows.append([model(torch.cat([prefix_ids, prompt])[None]).logits[0, -1].log_softmax(-1)[label].item()
                         for label in label_ids])
    return torch.tensor(rows)


@wrong("score_labels", "the prefix again for every prompt")
def repeated_prefix(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        ids = torch.cat([prefix_ids.expand(len(prompt_ids), -1), prompt_ids], dim=1)
        return model(ids).logits[:, -1].log_softmax(-1)[:, label_ids]


@wrong("score_labels", "uses one cache in a loop, which grows")
def growing_cache(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        cache, rows = model(prefix_ids[None], use_cache=True).past_key_values, []
        for prompt in prompt_ids:
            rows.append(model(prompt[None], past_key_values=cache).logits[0, -1].log_softmax(-1)[label_ids])
    return torch.stack(rows)


@wrong("score_labels", "forgets the prefix")
def no_prefix(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        return model(prompt_ids).logits[:, -1].log_softmax(-1)[:, label_ids]


@wrong("score_labels", "softmax over the labels only")
def over_labels(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        cache = model(prefix_ids[None], use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(prompt_ids))
        return model(prompt_ids, past_key_values=cache).logits[:, -1][:, label_ids].log_softmax(-1)


@wrong("score_labels", "gives logits")
def raw_logits(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        cache = model(prefix_ids[None], use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(prompt_ids))
        return model(prompt_ids, past_key_values=cache).logits[:, -1][:, label_ids]


@wrong("score_labels", "reads the first position of the prompt")
def first_position(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        cache = model(prefix_ids[None], use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(prompt_ids))
        return model(prompt_ids, past_key_values=cache).logits[:, 0].log_softmax(-1)[:, label_ids]


@right("score_labels", "a loop with a copy of the cache for each prompt")
def copied_cache(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        cache, rows = model(prefix_ids[None], use_cache=True).past_key_values, []
        for prompt in prompt_ids:
            logits = model(prompt[None], past_key_values=copy.deepcopy(cache)).logits[0, -1]
            rows.append(logits.log_softmax(-1)[label_ids])
    return torch.stack(rows)


@right("score_labels", "a loop that crops the cache back after each prompt")
def cropped_cache(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        cache, rows = model(prefix_ids[None], use_cache=True).past_key_values, []
        for prompt in prompt_ids:
            rows.append(model(prompt[None], past_key_values=cache).logits[0, -1].log_softmax(-1)[label_ids])
            cache.crop(-len(prompt))
    return torch.stack(rows)


@right("score_labels", "repeats the cache with batch_select_indices, all logits kept, log of softmax")
def selected(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        cache = model(prefix_ids[None]).past_key_values
        for layer in cache.layers:
            layer.batch_select_indices(torch.zeros(len(prompt_ids), dtype=torch.long))
        logits = model(prompt_ids, past_key_values=cache).logits
    return torch.log(torch.softmax(logits[:, -1, :].double(), dim=-1)).index_select(1, label_ids)


@right("score_labels", "one pass of the prefix, the keys and values expanded by hand")
def with_repeat(model, prefix_ids, prompt_ids, label_ids):
    with torch.inference_mode():
        cache = model(prefix_ids.unsqueeze(0), use_cache=True).past_key_values
        cache.batch_repeat_interleave(prompt_ids.shape[0])
        last = model(input_ids=prompt_ids, past_key_values=cache, use_cache=True).logits[:, -1, :]
        return last[:, label_ids] - last.logsumexp(dim=-1, keepdim=True)


CACHED = """
def score_labels(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        cache = model({prefix}, use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(prompt_ids))
        logits = model({prompts}, past_key_values=cache).logits
    return {result}
"""
CALLS = {"prefix": "prefix_ids[None]", "prompts": "prompt_ids", "result": "logits[:, -1].log_softmax(-1)[:, label_ids]"}
for why, part in {
    "probabilities": {"result": "logits[:, -1].softmax(-1)[:, label_ids]"},
    "the logarithm to the base 2": {"result": "logits[:, -1].softmax(-1).log2()[:, label_ids]"},
    "one position too early": {"result": "logits[:, -2].log_softmax(-1)[:, label_ids]"},
    "softmax over the prompts": {"result": "logits[:, -1].log_softmax(0)[:, label_ids]"},
    "the mean over the positions": {"result": "logits.log_softmax(-1).mean(1)[:, label_ids]"},
    "labels and prompts exchanged": {"result": "logits[:, -1].log_softmax(-1)[:, label_ids].T"},
    "the whole vocabulary": {"result": "logits[:, -1].log_softmax(-1)"},
    "drops all dimensions of length 1": {"result": "logits[:, -1].log_softmax(-1)[:, label_ids].squeeze()"},
    "the last token of the prefix goes through the model twice":
        {"prompts": "torch.cat([prefix_ids[-1:].expand(len(prompt_ids), 1), prompt_ids], 1)"},
    "the last token of the prefix is left out": {"prefix": "prefix_ids[None, :-1]"},
    "the labels sorted": {"result": "logits[:, -1].log_softmax(-1)[:, label_ids.sort().values]"},
    "the prefix once for each prompt": {"prefix": "prefix_ids.expand(len(prompt_ids), -1)"},
    "the ids of the prompts set to 0 afterwards":
        {"result": "logits[:, -1].log_softmax(-1)[:, label_ids + prompt_ids.zero_()[0, 0]]"},
}.items():
    source = CACHED.format(**{**CALLS, **part})
    wrong.cell("score_labels", why, source if why != "the prefix once for each prompt" else
               source.replace("        cache.batch_repeat_interleave(len(prompt_ids))\n", ""))



# -- summarize_runs ---------------------------------------------------------------------------------------------------


RUNS = """
def summarize_runs(scores):
    scores = np.asarray({scores})
    means = scores.mean(axis=1)
    s, n = means.std(ddof=1), len(means)
    half = {half}
    return {{"mean": {mean}, "low": {mean} - half, "high": {mean} + half,
            "choice_sd": {choice_sd}, "order_sd": {order_sd}}}
"""
SUMMARY = {"scores": "scores", "half": "stats.t.ppf(0.975, n - 1) * s / np.sqrt(n)", "mean": "means.mean()",
           "choice_sd": "s", "order_sd": "scores.std(axis=1, ddof=1).mean()"}
for why, part in {
    "divides by n in both deviations": {"choice_sd": "means.std()", "order_sd": "scores.std(axis=1).mean()"},
    "an interval over all runs, as if they were independent":
        {"half": "stats.t.ppf(0.975, scores.size - 1) * scores.std(ddof=1) / np.sqrt(scores.size)"},
    "1.96 instead of t": {"half": "1.96 * s / np.sqrt(n)"},
    "rows and columns mixed up": {"scores": "scores.T"},
    "the one-sided quantile": {"half": "stats.t.ppf(0.95, n - 1) * s / np.sqrt(n)"},
    "forgets the square root of n": {"half": "stats.t.ppf(0.975, n - 1) * s"},
    "n degrees of freedom": {"half": "stats.t.ppf(0.975, n) * s / np.sqrt(n)"},
    "divides by n in the interval only": {"half": "stats.t.ppf(0.975, n - 1) * means.std() / np.sqrt(n)"},
    "the root of n - 1": {"half": "stats.t.ppf(0.975, n - 1) * s / np.sqrt(n - 1)"},
    "the deviation of the means over orders": {"order_sd": "scores.mean(axis=0).std(ddof=1)"},
    "the root of the mean variance": {"order_sd": "np.sqrt(scores.var(axis=1, ddof=1).mean())"},
    "the median of the means": {"mean": "np.median(means)"},
    "text in place of numbers": {"choice_sd": "f'{s:.3f}'"},
    "rounds": {"choice_sd": "round(float(s), 2)"},
    "lists of one number": {"order_sd": "[scores.std(axis=1, ddof=1).mean()]"},
    "subtracts the mean from the caller's table": {"scores": "scores.sub_(0)", "order_sd":
        "np.subtract(scores, means[:, None], out=scores).std(axis=1, ddof=1).mean()"},
}.items():
    wrong.cell("summarize_runs", why, RUNS.format(**{**SUMMARY, **part}))
wrong.cell("summarize_runs", "calls the library's function",
           "summarize_runs = lambda scores: fewshot.summarize_runs(scores)")
right.cell("summarize_runs", "numbers of numpy, and a key more", RUNS.format(**SUMMARY).replace(
    '"order_sd"', '"choices": n, "order_sd"'))


@right("summarize_runs", "with lists and the statistics module")
def with_statistics(scores):
    import statistics as st
    rows = [[float(x) for x in row] for row in scores]
    means = [st.fmean(row) for row in rows]
    mean, sd, n = st.fmean(means), st.stdev(means), len(means)
    half = stats.t.ppf(0.975, df=n - 1) * sd / n**0.5
    return {"mean": mean, "low": mean - half, "high": mean + half, "choice_sd": sd,
            "order_sd": st.fmean(st.stdev(row) for row in rows)}


@right("summarize_runs", "with scipy's interval and sem")
def by_scipy(scores):
    scores = np.asarray(scores)
    means = scores.mean(axis=1)
    low, high = stats.t.interval(0.95, len(means) - 1, loc=means.mean(), scale=stats.sem(means))
    return {"mean": means.mean(), "low": low, "high": high, "choice_sd": means.std(ddof=1),
            "order_sd": np.mean([np.std(row, ddof=1) for row in scores])}


@right("summarize_runs", "in PyTorch")
def in_torch(scores):
    means = scores.mean(dim=1)
    sd = means.std(correction=1)
    half = float(stats.t.ppf(0.975, len(means) - 1)) * sd / len(means) ** 0.5
    return {"mean": scores.mean(), "low": means.mean() - half, "high": means.mean() + half,
            "choice_sd": sd, "order_sd": scores.std(dim=1).mean()}


@wrong("summarize_runs", "an interval that is cut at 0 and 1")
def cut_interval(scores):
    means = scores.mean(dim=1)
    mean, s = float(means.mean()), float(means.std())
    half = stats.t.ppf(0.975, len(means) - 1) * s / len(means) ** 0.5
    return {"mean": mean, "low": max(0.0, mean - half), "high": min(1.0, mean + half), "choice_sd": s,
            "order_sd": float(scores.std(dim=1).mean())}


# -- embed ------------------------------------------------------------------------------------------------------------


@wrong("embed", "dropout stays on")
def with_dropout(encoder, batches):
    with torch.no_grad():
        return torch.cat([models.mean_pool(encoder(**b).last_hidden_state, b["attention_mask"]) for b in batches])


@wrong("embed", "the mean over the padding too")
def padding_too(encoder, batches):
    encoder.eval()
    with torch.no_grad():
        return torch.cat([encoder(**b).last_hidden_state.mean(dim=1) for b in batches])


@wrong("embed", "no attention mask for the encoder")
def no_mask(encoder, batches):
    encoder.eval()
    with torch.no_grad():
        return torch.cat([models.mean_pool(encoder(input_ids=b["input_ids"]).last_hidden_state, b["attention_mask"])
                          for b in batches])


@wrong("embed", "the first token instead of the mean")
def first_token(encoder, batches):
    encoder.eval()
    with torch.no_grad():
        return torch.cat([encoder(**b).last_hidden_state[:, 0] for b in batches])


@wrong("embed", "only the last batch")
def last_batch(encoder, batches):
    encoder.eval()
    with torch.no_grad():
        for b in batches:
            vectors = models.mean_pool(encoder(**b).last_hidden_state, b["attention_mask"])
    return vectors


@right("embed", "with inference_mode and the library's pooling")
def pooled(encoder, batches):
    encoder.eval()
    with torch.inference_mode():
        return torch.cat([models.mean_pool(encoder(**b).last_hidden_state, b["attention_mask"]) for b in batches])


@right("embed", "text by text, without padding, in NumPy, a tensor at the end")
def text_by_text(encoder, batches):
    encoder.eval()
    vectors = []
    for b in batches:
        for ids, mask in zip(b["input_ids"], b["attention_mask"]):
            with torch.no_grad():
                hidden = encoder(input_ids=ids[mask.bool()][None]).last_hidden_state
            vectors.append(hidden[0].mean(dim=0).numpy())
    return torch.from_numpy(np.stack(vectors))


@right("embed", "with masked fill, into a tensor that is ready")
def into_a_tensor(encoder, batches):
    was = encoder.training
    encoder.eval()
    vectors, start = torch.zeros(sum(len(b["input_ids"]) for b in batches), encoder.config.hidden_size), 0
    with torch.no_grad():
        for b in batches:
            mask, n = b["attention_mask"].bool(), len(b["input_ids"])
            hidden = encoder(b["input_ids"], attention_mask=mask.long())[0].masked_fill(~mask[:, :, None], 0.0)
            vectors[start : start + n] = hidden.sum(1) / mask.sum(1)[:, None]
            start += n
    encoder.train(was)
    return vectors


right.cell("embed", "as a function without gradients, with an einsum", """
@torch.no_grad()
def embed(encoder, batches):
    vectors = []
    for batch in batches:
        weights = batch["attention_mask"] / batch["attention_mask"].sum(dim=1, keepdim=True)
        vectors.extend(torch.einsum("btw,bt->bw", encoder.eval()(**batch).last_hidden_state, weights))
    return torch.stack(vectors)
""")


EMBED = """
def embed(encoder, batches):
    encoder.{mode}()
    vectors = []
    with {context}:
        for batch in batches:
            hidden = encoder(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).float()
            vectors.append({pooled})
    return {result}
"""
STEPS = {"mode": "eval", "context": "torch.no_grad()", "pooled": "(hidden * mask).sum(dim=1) / mask.sum(dim=1)",
         "result": "torch.cat(vectors)"}
for why, part in {
    "gradients stay on": {"context": "torch.enable_grad()"},
    "gradients on, the graph dropped at the end":
        {"context": "torch.enable_grad()", "result": "torch.cat(vectors).detach()"},
    "a list of batches": {"result": "vectors"},
    "a list of vectors": {"result": "list(torch.cat(vectors))"},
    "a numpy array": {"result": "torch.cat(vectors).numpy()"},
    "the largest instead of the mean": {"pooled": "hidden.masked_fill(mask == 0, -1e9).amax(dim=1)"},
    "the sum": {"pooled": "(hidden * mask).sum(dim=1)"},
    "scaled to length 1": {"result": "torch.nn.functional.normalize(torch.cat(vectors), dim=-1)"},
    "the batches from the end": {"result": "torch.cat(vectors[::-1])"},
    "one number of tokens for the whole batch": {"pooled": "(hidden * mask).sum(dim=1) / mask.sum(dim=1).mean()"},
    "changes the masks": {"pooled": "(hidden * batch['attention_mask'].div_(1).float()[..., None]).sum(1) / "
                                    "mask.sum(1) + 0 * batch['attention_mask'].zero_()[:, :1]"},
    "rounds": {"result": "torch.cat(vectors).half().float().round(decimals=2)"},
}.items():
    wrong.cell("embed", why, EMBED.format(**{**STEPS, **part}))
wrong.cell("embed", "switches gradients off for the whole notebook", EMBED.format(
    **STEPS).replace("    encoder.eval()", "    torch.set_grad_enabled(False)\n    encoder.eval()"))
wrong.cell("embed", "freezes the encoder for ever", EMBED.format(**STEPS).replace(
    "    vectors = []", "    encoder.requires_grad_(False)\n    vectors = []"))


@wrong("embed", "vectors pile up in a list that is a default")
def piles_up(encoder, batches, found=[]):
    encoder.eval()
    with torch.no_grad():
        for batch in batches:
            mask = batch["attention_mask"].unsqueeze(-1)
            found.append((encoder(**batch).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1))
    return torch.cat(found)


# -- head_weights -----------------------------------------------------------------------------------------------------


@wrong("head_weights", "the two rows swapped")
def swapped_rows(coefficients, intercepts):
    if len(coefficients) == 1:
        return torch.cat([coefficients, 0 * coefficients]), torch.cat([intercepts, 0 * intercepts])
    return coefficients, intercepts


@wrong("head_weights", "w and minus w: twice the difference")
def twice(coefficients, intercepts):
    if len(coefficients) == 1:
        return torch.cat([-coefficients, coefficients]), torch.cat([-intercepts, intercepts])
    return coefficients, intercepts


@wrong("head_weights", "no case for two classes")
def as_they_are(coefficients, intercepts):
    return coefficients, intercepts


@wrong("head_weights", "a row of zeros also with more than two classes")
def always_zeros(coefficients, intercepts):
    weight, bias = torch.cat([0 * coefficients[:1], coefficients]), torch.cat([0 * intercepts[:1], intercepts])
    return weight, bias


@wrong("head_weights", "the intercept in both rows")
def both_intercepts(coefficients, intercepts):
    if len(coefficients) == 1:
        return torch.cat([0 * coefficients, coefficients]), torch.cat([intercepts, intercepts])
    return coefficients, intercepts


@right("head_weights", "half of the difference to each side")
def halves(coefficients, intercepts):
    if len(coefficients) == 1:
        return torch.cat([-coefficients, coefficients]) / 2, torch.cat([-intercepts, intercepts]) / 2
    return coefficients, intercepts


@right("head_weights", "in NumPy, for more classes shifted by a constant")
def shifted(coefficients, intercepts):
    w, b = np.asarray(coefficients), np.asarray(intercepts)
    if len(w) == 1:
        w, b = np.vstack([np.zeros_like(w), w]), np.append(0, b)
    return torch.from_numpy(w - w.mean(axis=0)), torch.from_numpy(b - b.mean())


@right("head_weights", "as a list, with padding of zeros")
def padded_with_zeros(coefficients, intercepts):
    if coefficients.shape[0] > 1:
        return [coefficients.clone(), intercepts.clone()]
    return [torch.nn.functional.pad(coefficients, (0, 0, 1, 0)), torch.nn.functional.pad(intercepts, (1, 0))]


@right("head_weights", "the first row takes it all, with a minus")
def minus_first(coefficients, intercepts):
    if intercepts.numel() == 1:
        return torch.vstack((-coefficients, torch.zeros_like(coefficients))), torch.hstack((-intercepts, torch.zeros(1)))
    return coefficients, intercepts


HEAD = """
def head_weights(coefficients, intercepts):
    if len(coefficients) {test}:
        weight = torch.cat([torch.zeros_like(coefficients), coefficients])
        bias = torch.cat([torch.zeros_like(intercepts), intercepts])
        return {two}
    return {more}
"""
PARTS = {"test": "== 1", "two": "weight, bias", "more": "coefficients, intercepts"}
for why, part in {
    "lists of numbers": {"two": "weight.tolist(), bias.tolist()"},
    "numpy arrays": {"two": "weight.numpy(), bias.numpy()", "more": "coefficients.numpy(), intercepts.numpy()"},
    "the bias as a column": {"two": "weight, bias[:, None]"},
    "weight and bias exchanged": {"two": "bias, weight"},
    "one more row when there are few classes": {"test": "< 10"},
    "the weights one row a dimension": {"two": "weight.T, bias"},
    "the bias of two classes left out": {"two": "weight, 0 * bias"},
    "changes the caller's numbers": {"more": "coefficients.sub_(coefficients.mean(0)), intercepts.sub_(intercepts.mean())"},
    "whole numbers": {"two": "weight.round().long(), bias.round().long()"},
}.items():
    wrong.cell("head_weights", why, HEAD.format(**{**PARTS, **part}))
wrong.cell("head_weights", "calls the library's function", """
def head_weights(coefficients, intercepts):
    return tuple(map(torch.as_tensor, fewshot.head_weights(coefficients, intercepts)))
""")


@wrong("head_weights", "loses a row of three")
def two_of_three(coefficients, intercepts):
    if len(coefficients) == 3:
        return coefficients[1:], intercepts[1:]
    if len(coefficients) > 1:
        return coefficients, intercepts
    return torch.cat([torch.zeros_like(coefficients), coefficients]), torch.cat([torch.zeros(1), intercepts])


# -- few_shot_classifier (the artifact) -------------------------------------------------------------------------------


@wrong.artifact("few_shot_classifier", "the file is cut off")
def cut_off(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("few_shot_classifier", "the classes are swapped")
def swapped_head(trained):
    return {name: changed(content, lambda t: t.flip(0)) for name, content in trained.items()}


@wrong.artifact("few_shot_classifier", "a head that was never trained: zeros")
def untrained(trained):
    return {name: changed(content, lambda t: t * 0) for name, content in trained.items()}


@wrong.artifact("few_shot_classifier", "no head in the file")
def headless():
    import torch
    from safetensors.torch import save

    card = {"language": "eng", "labels": ["negative", "positive"], "shots": 16}
    return {"fewshot-cpu.safetensors": save({"x": torch.zeros(1)}, metadata=meta(card))}


@wrong.artifact("few_shot_classifier", "trained on 1,000 examples, and the card says so")
def too_many(trained):
    return {name: changed(content, lambda t: t, shots=500) for name, content in trained.items()}


@wrong.artifact("few_shot_classifier", "a file of one's own, for which there are no held-out rows")
def own_language(trained):
    return {name: changed(content, lambda t: t, language="my.csv") for name, content in trained.items()}


@wrong.artifact("few_shot_classifier", "trained at scale tiny only")
def tiny_only(trained):
    return {"fewshot-tiny.safetensors": content for content in trained.values()}


@right.artifact("few_shot_classifier", "saved again in 32 bits, from a GPU")
def from_gpu(trained):
    return {"fewshot-gpu.safetensors": changed(content, lambda t: t.float()) for content in trained.values()}


@right.artifact("few_shot_classifier", "fewer examples said, logits shifted and scaled: the same decisions")
def scaled(trained):
    return {name: changed(content, lambda t: 3 * (t.float() - t.float().mean(dim=0)), shots=8)
            for name, content in trained.items()}


def changed(content, change, **card_changes):
    """An artifact's bytes again, its head changed, and its card too."""
    from leaplm.artifacts import read_artifact
    from safetensors.torch import save

    card, tensors = read_artifact(content)
    tensors = {name: change(tensor).contiguous() for name, tensor in tensors.items()}
    return save(tensors, metadata=meta({**card, **card_changes}))


def meta(card):
    import json

    from leaplm.artifacts import CARD

    return {CARD: json.dumps(card)}
