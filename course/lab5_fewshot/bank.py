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


@wrong("score_labels", "takes what repeats the cache for a new cache, and asks without any")
def lost_cache(model, prefix_ids, prompt_ids, label_ids):
    with torch.no_grad():
        cache = model(prefix_ids[None], use_cache=True).past_key_values
        cache = cache.batch_repeat_interleave(len(prompt_ids))
        return model(prompt_ids, past_key_values=cache).logits[:, -1].log_softmax(-1)[:, label_ids]


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



# -- embed ------------------------------------------------------------------------------------------------------------

EMBED = """
def embed(encoder, tokenizer, texts, batch_size=64, max_length=128):
    texts, was_training = list(texts), encoder.training
    order = {order}
    encoder.{mode}()
    vectors = [None] * len(texts)
    with {context}:
        for start in range(0, {stop}, batch_size):
            rows = order[start : start + batch_size]
            batch = tokenizer([texts[row] for row in rows], padding=True, {cut}, return_tensors="pt")
            hidden = encoder({given}).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            pooled = {pooled}
            for row, vector in {pairs}:
                vectors[row] = vector
    {after}
    return {result}
"""
BY_LENGTH = "sorted(range(len(texts)), key=lambda row: len(tokenizer(texts[row], truncation=True, " \
            "max_length=max_length)['input_ids']))"
STEPS = {"order": BY_LENGTH, "mode": "eval", "context": "torch.no_grad()", "stop": "len(texts)",
         "cut": "truncation=True, max_length=max_length", "given": "**batch",
         "pooled": "(hidden * mask).sum(dim=1) / mask.sum(dim=1)", "pairs": "zip(rows, pooled)",
         "after": "encoder.train(was_training)", "result": "torch.stack(vectors)"}
for why, part in {
    "dropout stays on": {"mode": "train"},
    "the encoder stays in evaluation mode": {"after": "pass"},
    "the encoder ends in training mode, however it came": {"after": "encoder.train()"},
    "gradients stay on": {"context": "torch.enable_grad()"},
    "gradients on, the graph dropped at the end":
        {"context": "torch.enable_grad()", "result": "torch.stack(vectors).detach()"},
    "the mean over the padding too": {"pooled": "hidden.mean(dim=1)"},
    "no attention mask for the encoder": {"given": "input_ids=batch['input_ids']"},
    "the first token instead of the mean": {"pooled": "hidden[:, 0]"},
    "the largest instead of the mean": {"pooled": "hidden.masked_fill(mask == 0, -1e9).amax(dim=1)"},
    "the sum": {"pooled": "(hidden * mask).sum(dim=1)"},
    "one number of tokens for the whole batch": {"pooled": "(hidden * mask).sum(dim=1) / mask.sum(dim=1).max()"},
    "leaves out the first and the last token": {"pooled": "(hidden * mask)[:, 1:].sum(dim=1) / mask[:, 1:].sum(dim=1)"},
    "scaled to length 1": {"result": "torch.nn.functional.normalize(torch.stack(vectors), dim=-1)"},
    "in the order of the lengths": {"pairs": "zip(range(start, start + len(rows)), pooled)"},
    "the order undone the wrong way round": {"pairs": "zip(range(start, start + len(rows)), pooled)",
                                             "result": "torch.stack(vectors)[order]"},
    "batches in the order of the texts: much padding": {"order": "list(range(len(texts)))"},
    "sorted by the number of letters": {"order": "sorted(range(len(texts)), key=lambda row: -len(texts[row]) % 7)"},
    "sorted by letters": {"order": "sorted(range(len(texts)), key=lambda row: len(texts[row]))"},
    "sorted by letters, the longest first": {"order": "sorted(range(len(texts)), key=lambda row: -len(texts[row]))"},
    "sorted by words": {"order": "sorted(range(len(texts)), key=lambda row: len(texts[row].split()))"},
    "the texts in small letters": {"order": BY_LENGTH.replace("len(texts)", "len(texts := [t.lower() for t in texts])")},
    "one text a batch": {"order": "list(range(len(texts)))", "stop": "(batch_size := 1) and len(texts)"},
    "all texts in one batch": {"stop": "1", "order": "range(batch_size := len(texts))"},
    "the texts are not cut at max_length": {"cut": "truncation=False"},
    "cut at 128, whatever max_length says": {"cut": "truncation=True, max_length=128"},
    "a list of vectors": {"result": "vectors"},
    "a numpy array": {"result": "torch.stack(vectors).numpy()"},
    "rounds": {"result": "torch.stack(vectors).half().float().round(decimals=2)"},
    "freezes the encoder for ever": {"after": "encoder.train(was_training).requires_grad_(False)"},
    "turns gradients off for the whole notebook": {"after": "encoder.train(was_training); torch.set_grad_enabled(False)"},
}.items():
    wrong.cell("embed", why, EMBED.format(**{**STEPS, **part}))
wrong.cell("embed", "the last batch is left out where it is not full", EMBED.format(**{
    **STEPS, "stop": "len(texts) - batch_size + 1", "result": "torch.stack([v for v in vectors if v is not None])"}))
wrong.cell("embed", "calls the library's function", """
def embed(encoder, tokenizer, texts, batch_size=64, max_length=128):
    return torch.from_numpy(fewshot.embed(encoder, tokenizer, texts, batch_size, max_length))
""")


@wrong("embed", "vectors pile up in a list that is a default")
def piles_up(encoder, tokenizer, texts, batch_size=64, max_length=128, found=[]):
    training = encoder.training
    encoder.eval()
    with torch.no_grad():
        for text in texts:
            batch = tokenizer([text], truncation=True, max_length=max_length, return_tensors="pt")
            found.append(encoder(**batch).last_hidden_state.mean(dim=1))
    encoder.train(training)
    return torch.cat(found)


for why, part in {
    "the longest texts first": {"order": BY_LENGTH[:-1] + ", reverse=True)"},
    "sorted by tokens that are not cut yet": {
        "order": "sorted(range(len(texts)), key=lambda row: len(tokenizer.tokenize(texts[row])))"},
    "with the library's pooling and inference_mode, cloned": {
        "context": "torch.inference_mode()", "pooled": "models.mean_pool(hidden, batch['attention_mask'])",
        "result": "torch.stack(vectors).clone()"},
    "the mask in an einsum": {
        "pooled": "torch.einsum('btw,bt->bw', hidden, batch['attention_mask'].float()) / mask.sum(dim=1)"},
}.items():
    right.cell("embed", why, EMBED.format(**{**STEPS, **part}))


@right("embed", "all ids first, padded by hand, the order undone by argsort")
def padded_by_hand(encoder, tokenizer, texts, batch_size=64, max_length=128):
    ids = [torch.tensor(row) for row in tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]]
    order = np.argsort([len(row) for row in ids], kind="stable")
    before, parts = encoder.training, []
    encoder.eval()
    for chosen in np.split(order, range(batch_size, len(order), batch_size)):
        padded = torch.nn.utils.rnn.pad_sequence([ids[i] for i in chosen], batch_first=True, padding_value=0)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(ids[i]) for i in chosen], batch_first=True)
        with torch.no_grad():
            hidden = encoder(padded, attention_mask=mask)[0].masked_fill(mask[:, :, None] == 0, 0.0)
        parts.append(hidden.sum(1) / mask.sum(1)[:, None])
    encoder.train(before)
    return torch.cat(parts)[torch.from_numpy(np.argsort(order))]


# -- train_head: head_loss --------------------------------------------------------------------------------------------

LOSS = """
def head_loss(weight, bias, vectors, labels, C):
    logits = vectors @ {weight}.T + {bias}
    losses = {losses}
    return {result}
"""
PARTS = {"weight": "weight", "bias": "bias", "losses": "logits.logsumexp(1) - logits[torch.arange(len(labels)), labels]",
         "result": "losses.mean() + (weight**2).sum() / (2 * C * len(labels))"}
for why, part in {
    "the loss: the sum over the rows": {"result": "losses.sum() + (weight**2).sum() / (2 * C)"},
    "the loss: the bias has a penalty too": {
        "result": "losses.mean() + ((weight**2).sum() + (bias**2).sum()) / (2 * C * len(labels))"},
    "the loss: the penalty is not divided by n": {"result": "losses.mean() + (weight**2).sum() / (2 * C)"},
    "the loss: the 2 is missing": {"result": "losses.mean() + (weight**2).sum() / (C * len(labels))"},
    "the loss: times C": {"result": "losses.mean() + C * (weight**2).sum() / (2 * len(labels))"},
    "the loss: the norm without its square": {"result": "losses.mean() + weight.norm() / (2 * C * len(labels))"},
    "the loss: the mean of the squares": {"result": "losses.mean() + (weight**2).mean() / (2 * C * len(labels))"},
    "the loss: absolute weights": {"result": "losses.mean() + weight.abs().sum() / (2 * C * len(labels))"},
    "the loss: no penalty": {"result": "losses.mean()"},
    "the loss: the penalty holds no gradient":
        {"result": "losses.mean() + (weight.detach()**2).sum() / (2 * C * len(labels))"},
    "the loss: the bias is forgotten": {"bias": "0 * bias"},
    "the loss: exp overflows":
        {"losses": "-torch.log(logits.exp()[torch.arange(len(labels)), labels] / logits.exp().sum(1))"},
    "the loss: the sign": {"losses": "logits[torch.arange(len(labels)), labels] - logits.logsumexp(1)"},
    "the loss: softmax over the rows": {"losses": "logits.logsumexp(0).sum() - logits[torch.arange(len(labels)), labels]"},
    "the loss: squared errors": {
        "losses": "(logits.softmax(1) - torch.eye(len(weight))[labels]).square().sum(1)"},
    "the loss: in bits": {"losses": "(logits.logsumexp(1) - logits[torch.arange(len(labels)), labels]) / np.log(2)"},
    "the loss: a Python number": {"result": "float(losses.mean() + (weight**2).sum() / (2 * C * len(labels)))"},
    "the loss: shrinks the caller's weights": {
        "result": "losses.mean() + (weight.data.mul_(0.99)**2).sum() / (2 * C * len(labels))"},
    "the loss: one number a row": {"result": "losses + (weight**2).sum() / (2 * C * len(labels))"},
}.items():
    wrong.cell("train_head", why, LOSS.format(**{**PARTS, **part}))
wrong.cell("train_head", "the loss calls the library's function",
           "head_loss = lambda weight, bias, vectors, labels, C: fewshot.head_loss(weight, bias, vectors, labels, C)")
for why, part in {
    "the loss with torch's cross_entropy": {"losses": "torch.nn.functional.cross_entropy(logits, labels)"},
    "the loss with log_softmax and gather, the norm squared": {
        "losses": "-logits.log_softmax(-1).gather(1, labels[:, None])",
        "result": "losses.mean() + weight.norm()**2 / (2 * C * len(vectors))"},
    "the loss as a sum, divided at the end": {"result": "(losses.sum() + weight.pow(2).sum() / C / 2) / len(losses)"},
}.items():
    right.cell("train_head", why, LOSS.format(**{**PARTS, **part}))

# -- train_head -------------------------------------------------------------------------------------------------------

TRAIN = """
def train_head(vectors, labels, C, tolerance=1e-4, max_steps=500):
    classes, width = int(labels.max()) + 1, vectors.shape[1]
    {bits}
    weight = torch.{start}(classes, width{grad}
    bias = torch.zeros(classes, dtype=vectors.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS({learned}, max_iter=1, max_eval=50, tolerance_grad=0, tolerance_change=0,
                                  line_search_fn="strong_wolfe")
    def closure():
        {clear}
        loss = head_loss(weight, bias, vectors, labels, {strength})
        loss.backward()
        return loss
    norms = {norms}
    while True:
        closure()
        norms.append({norm})
        if norms[-1] {stop} or len(norms) > {most}:
            return {result}
        {step}
"""
LOOP = {"bits": "vectors = vectors.double()", "start": "zeros", "grad": ", dtype=vectors.dtype, requires_grad=True)",
        "learned": "[weight, bias]", "clear": "optimizer.zero_grad()", "strength": "C", "norms": "[]",
        "norm": "max(part.grad.abs().max().item() for part in (weight, bias))",
        "stop": "<= tolerance", "most": "max_steps", "result": "weight.detach().float(), bias.detach().float(), norms",
        "step": "optimizer.step(closure)"}
for why, part in {
    "gradients add up: zero_grad is forgotten":
        {"clear": "pass", "step": "weight.data.sub_(0.1 * weight.grad); bias.data.sub_(0.1 * bias.grad)"},
    "the bias does not learn": {"step": "weight.data.sub_(0.1 * weight.grad)"},
    "the norm of the weights alone": {"norm": "weight.grad.abs().max().item()"},
    "the norm of the bias alone": {"norm": "bias.grad.abs().max().item()"},
    "the smaller of both norms": {"norm": "min(part.grad.abs().max().item() for part in (weight, bias))"},
    "the largest number in the gradient, without the absolute value":
        {"norm": "max(part.grad.max().item() for part in (weight, bias))"},
    "the length of the gradient": {"norm": "torch.cat([weight.grad.flatten(), bias.grad]).norm().item()"},
    "the mean of the gradient": {"norm": "max(part.grad.abs().mean().item() for part in (weight, bias))"},
    "the size of the weights, not of the gradient": {"norm": "weight.abs().max().item()"},
    "starts at random numbers": {"start": "randn"},
    "starts at ones": {"start": "ones"},
    "stops as soon as the norm is above the tolerance": {"stop": ">= tolerance"},
    "never stops before the last step": {"stop": "< 0", "most": "min(max_steps, 60)"},
    "a step more than allowed": {"most": "max_steps + 1"},
    "a step less than allowed": {"most": "max_steps - 1"},
    "a fixed number of steps, whatever max_steps says": {"most": "60"},
    "a tolerance of its own": {"stop": "<= 0.05"},
    "only the first step": {"most": "1"},
    "C upside down": {"strength": "1 / C"},
    "what comes back still learns": {"result": "weight, bias, norms"},
    "without norms": {"result": "weight.detach().float(), bias.detach().float()"},
    "the last norm alone": {"result": "weight.detach().float(), bias.detach().float(), norms[-1]"},
    "the first norm is left out": {"result": "weight.detach().float(), bias.detach().float(), norms[1:]"},
    "the last norm is left out": {"result": "weight.detach().float(), bias.detach().float(), norms[:-1]"},
    "bias and weight exchanged": {"result": "bias.detach().float(), weight.detach().float(), norms"},
    "numpy arrays": {"result": "weight.detach().float().numpy(), bias.detach().float().numpy(), norms"},
    "the weights one column a class": {"result": "weight.detach().float().T, bias.detach().float(), norms"},
    "a head of the step before": {
        "step": "kept = weight.detach().float().clone(); optimizer.step(closure)",
        "result": "(kept if norms[1:] else weight.detach().float()), bias.detach().float(), norms"},
    "one more step behind the last norm": {
        "result": "optimizer.step(closure) and weight.detach().float(), bias.detach().float(), norms"},
    "a rate that is far too small": {"step": "weight.data.sub_(1e-6 * weight.grad); bias.data.sub_(1e-6 * bias.grad)"},
    "goes up": {"step": "weight.data.add_(weight.grad); bias.data.add_(bias.grad)"},
    "minibatches: each step sees one row": {
        "step": "one = torch.autograd.grad(head_loss(weight, bias, vectors[:1], labels[:1], C), [weight, bias]); "
                "weight.data.sub_(one[0]); bias.data.sub_(one[1])"},
    "shuffles with the program's random numbers": {"step": "torch.randperm(3); optimizer.step(closure)"},
    "calls the library's loss": {"clear": "optimizer.zero_grad(); fewshot.head_loss(weight, bias, vectors, labels, C)"},
    "standardizes the caller's vectors in place": {
        "bits": "pass", "step": "vectors.sub_(vectors.mean(0)); optimizer.step(closure)"},
    "64 bits come back": {"result": "weight.detach(), bias.detach(), norms"},
    "in 32 bits": {"bits": "pass"},
    "no steps allowed are one step": {"most": "max(1, max_steps)"},
    "one class is lost": {"result": "weight.detach().float()[1:], bias.detach().float()[1:], norms"},
}.items():
    wrong.cell("train_head", why, TRAIN.format(**{**LOOP, **part}))


@wrong("train_head", "scikit-learn does it")
def by_scikit_learn(vectors, labels, C, tolerance=1e-4, max_steps=500):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, tol=tolerance, max_iter=max_steps).fit(vectors.numpy(), labels.numpy())
    weight, bias = fewshot.head_weights(model.coef_, model.intercept_)
    weight, bias = torch.from_numpy(weight).requires_grad_(), torch.from_numpy(bias).requires_grad_()
    found = torch.autograd.grad(head_loss(weight, bias, vectors, labels, C), [weight, bias])
    return weight.detach(), bias.detach(), [max(float(part.abs().max()) for part in found)]


@wrong("train_head", "keeps the head of the call before as the start")
def keeps_the_head(vectors, labels, C, tolerance=1e-4, max_steps=500, kept={}):
    key = (int(labels.max()) + 1, vectors.shape[1])
    weight, bias = kept.setdefault(key, (torch.zeros(key), torch.zeros(key[0])))
    norms = []
    while True:
        weight, bias = weight.detach().requires_grad_(), bias.detach().requires_grad_()
        found = torch.autograd.grad(head_loss(weight, bias, vectors, labels, C), [weight, bias])
        norms.append(max(float(part.abs().max()) for part in found))
        if norms[-1] <= tolerance or len(norms) > max_steps:
            kept[key] = weight.detach(), bias.detach()
            return (*kept[key], norms)
        weight, bias = weight - 0.2 * found[0], bias - 0.2 * found[1]


@right("train_head", "gradient descent with a rate from the lengths of the vectors")
def by_descent(vectors, labels, C, tolerance=1e-4, max_steps=500):
    (n, width), vectors = vectors.shape, vectors.double()
    weight, bias, norms = torch.zeros(int(labels.max()) + 1, width).double(), torch.zeros(int(labels.max()) + 1).double(), []
    ones = torch.cat([vectors, torch.ones(n, 1)], dim=1)
    rate = 1 / (0.5 * torch.linalg.eigvalsh(ones.T @ ones / n)[-1] + 1 / (C * n))
    while True:
        weight.requires_grad_(), bias.requires_grad_()
        of_weight, of_bias = torch.autograd.grad(head_loss(weight, bias, vectors, labels, C), [weight, bias])
        weight, bias = weight.detach(), bias.detach()
        norms.append(torch.cat([of_weight.flatten(), of_bias]).abs().max().item())
        if norms[-1] <= tolerance or len(norms) == max_steps + 1:
            return weight.float(), bias.float(), norms
        weight, bias = weight - rate * of_weight, bias - rate * of_bias


@right("train_head", "one flat vector, halving the step until the loss falls; the gradient by hand, in 64 bits")
def by_backtracking(vectors, labels, C, tolerance=1e-4, max_steps=500):
    x, n, classes = vectors.double(), len(labels), int(labels.max()) + 1
    wanted = torch.nn.functional.one_hot(labels, classes).double()
    weight, bias, rate, norms = torch.zeros(classes, x.shape[1]).double(), torch.zeros(classes).double(), 1.0, []
    for step in range(max_steps + 1):
        error = ((x @ weight.T + bias).softmax(1) - wanted) / n
        of_weight, of_bias = error.T @ x + weight / (C * n), error.sum(0)
        norms.append(float(max(of_weight.abs().max(), of_bias.abs().max())))
        if norms[-1] <= tolerance or step == max_steps:
            break
        now, slope = head_loss(weight, bias, x, labels, C), (of_weight**2).sum() + (of_bias**2).sum()
        rate *= 2
        while head_loss(weight - rate * of_weight, bias - rate * of_bias, x, labels, C) > now - rate * slope / 4:
            rate /= 2
        weight, bias = weight - rate * of_weight, bias - rate * of_bias
    return weight.float(), bias.float(), norms


@right("train_head", "Newton's method, damped; parameters of a linear layer; norms as a tensor")
def by_newton(vectors, labels, C, tolerance=1e-4, max_steps=500):
    classes, width = int(labels.max()) + 1, vectors.shape[1]
    size = classes * width

    def loss(flat):
        return head_loss(flat[:size].view(classes, width), flat[size:], vectors.double(), labels, C)

    flat, norms = torch.zeros(size + classes, dtype=torch.double), []
    while True:
        gradient = torch.func.grad(loss)(flat)
        norms.append(gradient.abs().max())
        if norms[-1] <= tolerance or len(norms) > max_steps:
            return flat[:size].view(classes, width).float(), flat[size:].float(), torch.stack(norms).float()
        step = torch.linalg.solve(torch.func.hessian(loss)(flat) + 1e-6 * torch.eye(len(flat)), gradient)
        flat = flat - step / max(1.0, float(step.norm()) / 2)


right.cell("train_head", "LBFGS with a first-order look at autograd.grad, a for loop", TRAIN.format(**LOOP).replace(
    "while True:", "for step in range(max_steps + 1):").replace("len(norms) > max_steps", "step == max_steps"))

# -- choose_strength: stratified_folds --------------------------------------------------------------------------------

FOLDS = """
def stratified_folds(labels, folds, seed):
    rng, labels = np.random.default_rng({seed}), {labels}
    classes, counts = np.unique(labels, return_counts=True)
    if {alone}:
        raise {error}("a class has a single row")
    folds = {folds}
    dealt = {dealt}
    return {parts}
"""
DEAL = {"seed": "seed", "labels": "np.asarray(labels)", "alone": "counts.min() < 2", "error": "ValueError",
        "folds": "min(folds, counts.min())",
        "dealt": "np.concatenate([rng.permutation(np.flatnonzero(labels == c)) for c in classes])",
        "parts": "[dealt[fold::folds] for fold in range(folds)]"}
for why, part in {
    "the folds do not look at the classes": {"dealt": "rng.permutation(len(labels))"},
    "the folds are not mixed": {"dealt": "np.concatenate([np.flatnonzero(labels == c) for c in classes])"},
    "the folds ignore the seed": {"seed": ""},
    "only the order of the folds is random": {
        "dealt": "np.concatenate([np.flatnonzero(labels == c) for c in classes])",
        "parts": "[dealt[fold::folds] for fold in rng.permutation(folds)]"},
    "only the order of the classes is random": {
        "dealt": "np.concatenate([np.flatnonzero(labels == c) for c in rng.permutation(classes)])"},
    "seed 0 of the folds counts as no seed": {"seed": "seed or None"},
    "the folds are pieces of rows in the order of the class": {"parts": "np.array_split(dealt, folds)"},
    "as many folds as asked for, also with a class too small": {"folds": "folds"},
    "folds from the largest class": {"folds": "min(folds, counts.max())"},
    "a class of two rows is refused": {"alone": "counts.min() < 3"},
    "a single row is not refused": {"alone": "False"},
    "a single row of the first class only is refused": {"alone": "counts[-1] < 2 and counts[0] > 3"},
    "another error for a single row": {"error": "RuntimeError"},
    "classes are taken to be 0, 1, 2, ...": {
        "dealt": "np.concatenate([rng.permutation(np.flatnonzero(labels == c)) for c in range(len(classes))])"},
    "the rest is left out: folds of equal size":
        {"parts": "[dealt[fold::folds][:len(labels) // folds] for fold in range(folds)]"},
    "rows drawn with replacement": {"dealt": "rng.choice(np.arange(len(labels)), len(labels))"},
    "the labels instead of the rows": {
        "dealt": "np.concatenate([rng.permutation(labels[labels == c]) for c in classes])"},
    "the rows to learn from, not the rows to test": {
        "parts": "[np.setdiff1d(dealt, dealt[fold::folds]) for fold in range(folds)]"},
    "sets the caller's labels to 0":
        {"parts": "[dealt[fold::folds] for fold in range(folds)] if labels.fill(0) is None else 0"},
    "masks instead of row numbers": {
        "parts": "[np.isin(np.arange(len(labels)), dealt[fold::folds]) for fold in range(folds)]"},
    "each class is dealt from the first fold on": {
        "dealt": "[rng.permutation(np.flatnonzero(labels == c)) for c in classes]",
        "parts": "[np.concatenate([rows[fold::folds] for rows in dealt]) for fold in range(folds)]"},
    "the folds of the program's random numbers": {"dealt":
        "np.concatenate([np.random.permutation(np.flatnonzero(labels == c)) for c in classes])"},
}.items():
    wrong.cell("choose_strength", why, FOLDS.format(**{**DEAL, **part}))


wrong.cell("choose_strength", "the folds come from scikit-learn", """
def stratified_folds(labels, folds, seed):
    from sklearn.model_selection import StratifiedKFold
    labels = np.asarray(labels)
    folds = min(folds, int(np.unique(labels, return_counts=True)[1].min()))
    return [part for _, part in StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)]
""")
wrong.cell("choose_strength", "the folds are the library's", "stratified_folds = lambda labels, folds, seed: "
           "fewshot.stratified_folds(labels, folds, seed)")
right.cell("choose_strength", "the folds dealt one by one, as lists, with Python's random", """
def stratified_folds(labels, folds, seed):
    import random
    dice, labels = random.Random(seed), [int(label) for label in labels]
    classes = sorted(set(labels))
    fewest = min(labels.count(c) for c in classes)
    if fewest == 1:
        raise ValueError("too few")
    parts, turn = [[] for _ in range(min(folds, fewest))], 0
    for c in classes:
        rows = [row for row, label in enumerate(labels) if label == c]
        dice.shuffle(rows)
        for row in rows:
            parts[turn % len(parts)].append(row)
            turn += 1
    return parts
""")
right.cell("choose_strength", "the folds in torch: a mixed order, then stably sorted by class", """
def stratified_folds(labels, folds, seed):
    labels = torch.as_tensor(labels)
    folds = min(folds, int(labels.unique(return_counts=True)[1].min()))
    if folds < 2:
        raise ValueError(labels)
    mixed = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    dealt = mixed[labels[mixed].argsort(stable=True)]
    return [dealt[torch.arange(len(labels)) % folds == fold] for fold in range(folds)]
""")

# -- choose_strength --------------------------------------------------------------------------------------------------

CHOOSE = """
def choose_strength(fit, vectors, labels, strengths, folds=4, seed=0):
    parts, scores = stratified_folds(labels, {folds}, {seed}), []
    for C in strengths:
        right = 0
        for part in {parts}:
            rest = {rest}
            weight, bias = fit(vectors[{learned}], labels[{learned}], C)
            predictions = (vectors[{tested}] @ weight.T + bias).{best}(dim=1)
            right += {hits}
        scores.append({score})
    return {result}
"""
CHOICE = {"seed": "seed", "folds": "folds", "parts": "parts", "rest": "np.setdiff1d(np.arange(len(labels)), part)",
          "learned": "rest", "tested": "part", "best": "argmax", "hits": "int((predictions == labels[part]).sum())",
          "score": "right / len(labels)",
          "result": "min(C for C, score in zip(strengths, scores) if score == max(scores)), scores"}
for why, part in {
    "learns from all rows, also those that are tested": {"learned": ":"},
    "tests on the rows it has learned from":
        {"tested": "rest", "hits": "int((predictions == labels[rest]).sum())", "score": "right / len(labels) / 3"},
    "learns from one fold and tests on the others": {"rest": "part", "tested": "part"},
    "only the first fold is tested": {"parts": "parts[:1]"},
    "the last fold is never tested": {"parts": "parts[:-1]"},
    "other folds for each C": {"parts": "stratified_folds(labels, folds, seed + len(scores))"},
    "the largest of equally good ones": {"result": "max(C for C, s in zip(strengths, scores) if s == max(scores)), scores"},
    "the first of equally good ones": {"result": "strengths[scores.index(max(scores))], scores"},
    "the last of equally good ones":
        {"result": "strengths[len(scores) - 1 - scores[::-1].index(max(scores))], scores"},
    "the worst": {"result": "min(C for C, s in zip(strengths, scores) if s == min(scores)), scores"},
    "the place of the best, not its C": {"result": "scores.index(max(scores)), scores"},
    "always the smallest": {"result": "min(strengths), scores"},
    "without the scores": {"result": "strengths[scores.index(max(scores))]"},
    "the scores sorted": {"result": "min(C for C, s in zip(strengths, scores) if s == max(scores)), sorted(scores)"},
    "sorts the caller's strengths": {"result": "strengths.sort() or 1.0, scores"},
    "counts instead of shares": {"score": "right"},
    "the share of errors": {"score": "1 - right / len(labels)"},
    "divides by the number of folds": {"score": "right / len(parts)"},
    "only the last fold counts": {"hits": "(predictions == labels[part]).float().mean().item() - right",
                                  "score": "right"},
    "the smallest score of a class is predicted": {"best": "argmin"},
    "one C for all": {"rest": "np.setdiff1d(np.arange(len(labels)), part); C = strengths[0]"},
    "four folds, whatever folds says": {"folds": "4"},
    "seed 0, whatever seed says": {"seed": "0"},
    "a little worse counts as equally good": {
        "result": "min(C for C, s in zip(strengths, scores) if s >= max(scores) - 0.05), scores"},
    "scores that are rounded count as equally good": {
        "result": "min(C for C, s in zip(strengths, scores) if round(s, 1) == round(max(scores), 1)), scores"},
    "the mean of the folds' shares": {"hits": "(predictions == labels[part]).float().mean().item() / len(parts)",
                                      "score": "right"},
    "the own trainer instead of fit": {"rest": "np.setdiff1d(np.arange(len(labels)), part); "
                                       "fit = lambda v, y, C: fewshot.train_head(v, y, C)[:2]"},
    "scores are percent": {"score": "100 * right / len(labels)"},
    "scores are rounded": {"score": "round(right / len(labels), 1)"},
    "labels of other rows": {"learned": "rest", "hits": "int((predictions == labels[: len(part)]).sum())"},
    "the bias is forgotten": {"rest": "np.setdiff1d(np.arange(len(labels)), part)",
                              "hits": "int(((vectors[part] @ weight.T).argmax(1) == labels[part]).sum())"},
    "calls the library's folds": {"parts": "fewshot.stratified_folds(labels, folds, seed)"},
}.items():
    wrong.cell("choose_strength", why, CHOOSE.format(**{**CHOICE, **part}))
wrong.cell("choose_strength", "the vectors turned round, but not their labels", CHOOSE.format(**CHOICE).replace(
    "fit(vectors[rest], labels[rest], C)", "fit(vectors[rest[::-1].copy()], labels[rest], C)"))
wrong.cell("choose_strength", "calls the library's function", """
def choose_strength(fit, vectors, labels, strengths, folds=4, seed=0):
    return fewshot.choose_strength(fit, vectors, labels, strengths, folds, seed)
""")
wrong.cell("choose_strength", "keeps the scores of an earlier call", CHOOSE.format(**CHOICE).replace(
    "folds=4, seed=0)", "folds=4, seed=0, scores=[])").replace(
    "parts, scores = stratified_folds(labels, folds, seed), []", "parts = stratified_folds(labels, folds, seed)"))

for why, part in {
    "a mask, and shares that are weighted by the folds' sizes": {
        "rest": "np.isin(np.arange(len(labels)), part, invert=True)", "hits":
        "(predictions == labels[part]).float().mean().item() * len(part) / len(labels)", "score": "right"},
    "the best with a sort, scores as an array": {
        "result": "sorted(zip([-s for s in scores], strengths))[0][1], np.array(scores)"},
    "max with a key of two": {"result": "max(zip(strengths, scores), key=lambda pair: (pair[1], -pair[0]))[0], scores"},
}.items():
    right.cell("choose_strength", why, CHOOSE.format(**{**CHOICE, **part}))


@right("choose_strength", "folds outside, strengths inside, a tensor of hits")
def folds_outside(fit, vectors, labels, strengths, folds=4, seed=0):
    hits = torch.zeros(len(strengths), len(labels))
    for part in stratified_folds(labels, folds, seed):
        part = torch.as_tensor(part)
        rest = torch.ones(len(labels), dtype=torch.bool).index_fill(0, part, False)
        for place, C in enumerate(strengths):
            weight, bias = fit(vectors[rest], labels[rest], C)
            hits[place, part] = (torch.addmm(bias, vectors[part], weight.T).argmax(1) == labels[part]).float()
    scores = hits.mean(dim=1)
    return min(C for C, s in zip(strengths, scores) if s == scores.max()), scores


# -- learning_curve ---------------------------------------------------------------------------------------------------

CURVE = """
def learning_curve(methods, labels, test_labels, shots, seeds):
    test_labels, curve = np.asarray(test_labels), []
    for num_shots in {shots}:
        draws = [{draw} for {seed} in {seeds}]
        accuracies = {{name: np.array([{share} for rows in {draws}]) for name, method in methods.items()}}
        first = {first}
        for name, found in {order}:
            gains = {gains}
            half = {half}
            curve.append({{"method": name, "shots": {number}, "mean": {mean}, "sd": {sd},
                          "gain": {gain}, "low": {low}, "high": gains.mean() + half}})
    return curve
"""
DRAW = {"shots": "shots", "draw": "fewshot.sample_balanced(labels, num_shots, seed)", "seed": "seed", "seeds": "seeds",
        "share": "np.mean(np.asarray(method(rows)) == test_labels)", "draws": "draws", "order": "accuracies.items()",
        "first": "next(iter(accuracies.values()))", "gains": "found - first",
        "half": "stats.t.ppf(0.975, len(seeds) - 1) * gains.std(ddof=1) / np.sqrt(len(seeds))",
        "number": "num_shots", "mean": "found.mean()", "sd": "found.std(ddof=1)", "gain": "gains.mean()",
        "low": "gains.mean() - half"}
for why, part in {
    "rows drawn from all, not balanced":
        {"draw": "np.random.default_rng(seed).choice(len(labels), 3 * num_shots, replace=False)"},
    "the same draw for every seed": {"draw": "fewshot.sample_balanced(labels, num_shots, 0)"},
    "another seed for each number of shots": {"draw": "fewshot.sample_balanced(labels, num_shots, seed + num_shots)"},
    "numbers 0, 1, 2, ... instead of the seeds": {"seed": "seed, _", "seeds": "enumerate(seeds)"},
    "the last seed is left out": {"seeds": "seeds[:-1]"},
    "other draws for each method":
        {"draws": "[fewshot.sample_balanced(labels, num_shots, seed + len(name)) for seed in seeds]"},
    "the deviation divides by the number of seeds": {"sd": "found.std()"},
    "the variance instead of the deviation": {"sd": "found.var(ddof=1)"},
    "the standard error instead of the deviation": {"sd": "found.std(ddof=1) / np.sqrt(len(seeds))"},
    "1.96 instead of t": {"half": "1.96 * gains.std(ddof=1) / np.sqrt(len(seeds))"},
    "forgets the square root of the seeds": {"half": "stats.t.ppf(0.975, len(seeds) - 1) * gains.std(ddof=1)"},
    "the one-sided quantile": {"half": "stats.t.ppf(0.95, len(seeds) - 1) * gains.std(ddof=1) / np.sqrt(len(seeds))"},
    "as many degrees of freedom as seeds":
        {"half": "stats.t.ppf(0.975, len(seeds)) * gains.std(ddof=1) / np.sqrt(len(seeds))"},
    "the interval of the method, not of the differences":
        {"half": "stats.t.ppf(0.975, len(seeds) - 1) * found.std(ddof=1) / np.sqrt(len(seeds))"},
    "both deviations added, as if the draws were not shared":
        {"half": "stats.t.ppf(0.975, len(seeds) - 1) * np.sqrt((found.var(ddof=1) + first.var(ddof=1)) / len(seeds))"},
    "the gain with the sign turned": {"gains": "first - found"},
    "the gain over the mean of all methods": {"gains": "found - np.mean(list(accuracies.values()), axis=0)"},
    "the gain over the last method": {"first": "list(accuracies.values())[-1]"},
    "the gain over the first name of the alphabet": {"first": "accuracies[min(accuracies)]"},
    "the gain as a share of the first": {"gain": "gains.mean() / first.mean()"},
    "an interval that is cut at 0": {"low": "max(0.0, gains.mean() - half)"},
    "low and high without the gain": {"low": "-half"},
    "methods in the order of the alphabet": {"order": "sorted(accuracies.items())"},
    "shots in rising order": {"shots": "sorted(shots)"},
    "errors instead of accuracies": {"share": "np.mean(np.asarray(method(rows)) != test_labels)"},
    "the number of right ones": {"share": "np.sum(np.asarray(method(rows)) == test_labels)"},
    "the median over the seeds": {"mean": "np.median(found)"},
    "the best of the seeds": {"mean": "found.max()"},
    "percent": {"mean": "100 * found.mean()"},
    "rounds": {"mean": "round(found.mean(), 1)"},
    "all examples counted as shots": {"number": "3 * num_shots"},
    "text in place of numbers": {"sd": "f'{found.std(ddof=1):.3f}'"},
    "arrays of all draws": {"mean": "found"},
    "each method is asked twice":
        {"share": "np.mean(np.asarray(method(rows)) == (method(rows) is not None and test_labels))"},
    "one row of a draw comes twice":
        {"draw": "(lambda rows: np.append(rows[:-1], rows[0]))(fewshot.sample_balanced(labels, num_shots, seed))"},
    "takes the first method out of the caller's dict": {"order": "[(n, f) for n, f in accuracies.items() "
                                                        "if f is not first or methods.pop(n, None)]"},
}.items():
    wrong.cell("learning_curve", why, CURVE.format(**{**DRAW, **part}))
wrong.cell("learning_curve", "a table of pandas", CURVE.format(**DRAW).replace("return curve", "return pd.DataFrame(curve)"))
wrong.cell("learning_curve", "calls the library's function", """
def learning_curve(methods, labels, test_labels, shots, seeds):
    return fewshot.learning_curve(methods, labels, test_labels, shots, seeds)
""")
wrong.cell("learning_curve", "only the largest number of shots", CURVE.format(**{**DRAW, "shots": "[max(shots)]"}))
wrong.cell("learning_curve", "draws that come from no seed", CURVE.format(**{
    **DRAW, "draw": "fewshot.sample_balanced(labels, num_shots, np.random.default_rng().integers(10**6))"}))
wrong.cell("learning_curve", "keeps the rows of an earlier call", CURVE.format(**DRAW).replace(
    "shots, seeds):", "shots, seeds, curve=[]):").replace("test_labels, curve = np.asarray(test_labels), []",
                                                         "test_labels = np.asarray(test_labels)"))

for why, part in {
    "a sampler of its own": {"draw": "np.concatenate([np.random.default_rng([seed, int(c)]).choice(np.flatnonzero("
                             "np.asarray(labels) == c), num_shots, replace=False) for c in np.unique(labels)])"},
    "with the sampler of exercise 1": {"draw": "sample_balanced(labels, num_shots, seed)"},
    "with scipy's standard error": {"half": "stats.t.ppf(0.975, df=len(gains) - 1) * stats.sem(gains)"},
    "the share by the library's accuracy": {"share": "evaluation.accuracy(test_labels, method(rows))"},
    "a tuple of dicts, numbers of Python, one key more": {"mean": "float(found.mean())", "sd": "float(found.std(ddof=1))",
                                                          "number": "int(num_shots), 'seeds': len(seeds)"},
}.items():
    right.cell("learning_curve", why, CURVE.format(**{**DRAW, **part}))


@right("learning_curve", "a table of all runs first, lists and the statistics module")
def with_runs(methods, labels, test_labels, shots, seeds):
    import statistics as st

    test_labels, names = [int(label) for label in test_labels], list(methods)
    runs = {}
    for seed in seeds:
        for k in shots:
            rows = list(fewshot.sample_balanced(labels, k, seed))
            for name in names:
                guesses = [int(guess) for guess in methods[name](rows)]
                runs.setdefault((k, name), []).append(sum(map(int.__eq__, guesses, test_labels)) / len(guesses))
    found = []
    for k in shots:
        for name in names:
            own = runs[k, name]
            gains = [b - a for a, b in zip(runs[k, names[0]], own)]
            half = float(stats.t.ppf(0.975, len(gains) - 1)) * st.stdev(gains) / len(gains) ** 0.5
            found.append({"method": name, "shots": k, "mean": st.fmean(own), "sd": st.stdev(own), "gain": st.fmean(gains),
                          "low": st.fmean(gains) - half, "high": st.fmean(gains) + half})
    return found


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


@wrong.artifact("few_shot_classifier", "a head that was never trained: random numbers")
def random_head(trained):
    import torch

    return {name: changed(content, lambda t: torch.randn(t.shape, generator=torch.Generator().manual_seed(1)))
            for name, content in trained.items()}


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
