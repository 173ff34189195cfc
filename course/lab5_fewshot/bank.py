"""Bank of lab 5: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, stats, fewshot, copy, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905, B035

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


@wrong("few_shot_prompt", "a space at the end of the prompt")
def trailing_space(demonstrations, text, words, template):
    prefix, prompt = fewshot.demonstration_prefix(demonstrations, words, template, [text]), template.format(text=text)
    return prefix, prompt + " "


@wrong("few_shot_prompt", "sorts the demonstrations by class")
def sorted_by_class(demonstrations, text, words, template):
    rows = sorted(demonstrations, key=lambda row: (row["label"], row["text"]))
    return fewshot.demonstration_prefix(rows, words, template, [text]), template.format(text=text)


@wrong("few_shot_prompt", "leaves a leaking demonstration out in silence")
def dropped(demonstrations, text, words, template):
    rows = [row for row in demonstrations if row["text"].lower().split() != text.lower().split()]
    return fewshot.demonstration_prefix(rows, words, template), template.format(text=text)


@right("few_shot_prompt", "with the library")
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


# -- summarize_runs ---------------------------------------------------------------------------------------------------


@wrong("summarize_runs", "divides by n in both deviations")
def population(scores):
    scores = np.asarray(scores)
    means = scores.mean(axis=1)
    half = stats.t.ppf(0.975, len(means) - 1) * means.std() / np.sqrt(len(means))
    return {"mean": means.mean(), "low": means.mean() - half, "high": means.mean() + half,
            "choice_sd": means.std(), "order_sd": scores.std(axis=1).mean()}


@wrong("summarize_runs", "an interval over all runs, as if they were independent")
def all_runs(scores):
    found, values = fewshot.summarize_runs(scores), np.asarray(scores).ravel()
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return {**found, "low": found["mean"] - half, "high": found["mean"] + half}


@wrong("summarize_runs", "1.96 instead of t")
def normal_interval(scores):
    found = fewshot.summarize_runs(scores)
    half = 1.96 * found["choice_sd"] / np.sqrt(len(scores))
    return {**found, "low": found["mean"] - half, "high": found["mean"] + half}


@wrong("summarize_runs", "rows and columns mixed up")
def transposed(scores):
    return fewshot.summarize_runs(np.asarray(scores).T)


@wrong("summarize_runs", "the one-sided quantile")
def one_sided(scores):
    found = fewshot.summarize_runs(scores)
    half = stats.t.ppf(0.95, len(scores) - 1) * found["choice_sd"] / np.sqrt(len(scores))
    return {**found, "low": found["mean"] - half, "high": found["mean"] + half}


@wrong("summarize_runs", "forgets the square root of n")
def no_root(scores):
    found = fewshot.summarize_runs(scores)
    half = stats.t.ppf(0.975, len(scores) - 1) * found["choice_sd"]
    return {**found, "low": found["mean"] - half, "high": found["mean"] + half}


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


@right("embed", "text by text, without padding, as NumPy")
def text_by_text(encoder, batches):
    encoder.eval()
    vectors = []
    for b in batches:
        for ids, mask in zip(b["input_ids"], b["attention_mask"]):
            hidden = encoder(input_ids=ids[mask.bool()][None]).last_hidden_state
            vectors.append(hidden[0].mean(dim=0).detach().numpy())
    return np.stack(vectors)


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
    return w - w.mean(axis=0), b - b.mean()


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
