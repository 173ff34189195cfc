"""Bank of lab 6: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, stats, memory, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905, B007, B035

# -- delete_words -----------------------------------------------------------------------------------------------------


@wrong("delete_words", "a text can become empty")
def may_be_empty(words, rate):
    return [word for word in words if torch.rand(()) >= rate]


@wrong("delete_words", "keeps with probability rate")
def keeps_rate(words, rate):
    kept = [word for word in words if torch.rand(()) < rate]
    return kept or [words[int(torch.randint(len(words), ()))]]


@wrong("delete_words", "always the same number of words goes")
def fixed_number(words, rate):
    keep = max(1, round(len(words) * (1 - rate)))
    places = sorted(torch.randperm(len(words))[:keep].tolist())
    return [words[i] for i in places]


@wrong("delete_words", "the words come back in another order")
def shuffled_words(words, rate):
    keep = max(1, round(len(words) * (1 - rate)))
    return [words[i] for i in torch.randperm(len(words))[:keep].tolist()]


@wrong("delete_words", "the same seed at each call")
def seeded(words, rate):
    dice = torch.rand(len(words), generator=torch.Generator().manual_seed(0))
    return [word for word, d in zip(words, dice.tolist()) if d >= rate] or words[:1]


@wrong("delete_words", "an empty text gets its first word back, always")
def first_word_back(words, rate):
    kept = [word for word in words if torch.rand(()) >= rate]
    return kept or [words[0]]


@wrong("delete_words", "one word is deleted with probability rate")
def one_word(words, rate):
    words = list(words)
    if len(words) > 1 and torch.rand(()) < rate:
        words.pop(int(torch.randint(len(words), ())))
    return words


@wrong("delete_words", "puts [MASK] in the place of the word")
def masks(words, rate):
    return [word if torch.rand(()) >= rate else "[MASK]" for word in words]


@right("delete_words", "with numpy")
def with_numpy(words, rate):
    keep = np.random.random(len(words)) >= rate
    if not keep.any():
        keep[np.random.randint(len(words))] = True
    return [words[i] for i in np.flatnonzero(keep)]


@right("delete_words", "with the module random, as a tuple")
def with_random(words, rate):
    import random

    return tuple(word for word in words if random.random() >= rate) or (random.choice(words),)


# -- early_stopping ---------------------------------------------------------------------------------------------------


@wrong("early_stopping", "looks at the epochs after the stop too")
def best_of_all(losses, patience):
    bad, best = 0, float("inf")
    for epoch, loss in enumerate(losses, 1):
        best, bad = (loss, 0) if loss < best else (best, bad + 1)
        if bad == patience:
            break
    return losses.index(min(losses)) + 1, epoch


@wrong("early_stopping", "keeps the last epoch")
def keeps_last(losses, patience):
    bad, best = 0, float("inf")
    for epoch, loss in enumerate(losses, 1):
        best, bad = (loss, 0) if loss < best else (best, bad + 1)
        if bad == patience:
            break
    return epoch, epoch


@wrong("early_stopping", "counts from 0")
def from_zero(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best, epoch


@wrong("early_stopping", "compares with the epoch before instead of the best")
def compares_with_previous(losses, patience):
    bad, best = 0, 0
    for epoch in range(1, len(losses)):
        bad = 0 if losses[epoch] < losses[epoch - 1] else bad + 1
        best = epoch if losses[epoch] < losses[best] else best
        if bad == patience:
            break
    return best + 1, epoch + 1


@wrong("early_stopping", "an equal loss counts as better")
def equal_is_better(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss <= losses[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best + 1, epoch + 1


@wrong("early_stopping", "stops one epoch too late")
def too_late(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best > patience:
            break
    return best + 1, epoch + 1


@wrong("early_stopping", "bad epochs are counted in all, not in a row")
def bad_in_all(losses, patience):
    best, bad = 0, 0
    for epoch, loss in enumerate(losses):
        if epoch and loss >= losses[best]:
            bad += 1
        elif loss < losses[best]:
            best = epoch
        if bad >= patience:
            break
    return best + 1, epoch + 1


@right("early_stopping", "counts the bad epochs in a row")
def counted(losses, patience):
    best_loss, best, bad = float("inf"), 0, 0
    for epoch, loss in enumerate(losses, 1):
        if loss < best_loss:
            best_loss, best, bad = loss, epoch, 0
        else:
            bad += 1
            if bad == patience:
                return best, epoch
    return best, len(losses)


@right("early_stopping", "with numpy's argmin on ever longer beginnings")
def with_argmin(losses, patience):
    losses = np.array(losses)
    for run in range(1, len(losses) + 1):
        best = losses[:run].argmin() + 1
        if run - best >= patience:
            break
    return best, run


# -- fgm_perturbation -------------------------------------------------------------------------------------------------


@wrong("fgm_perturbation", "the sign of the gradient (FGSM)")
def sign_step(gradient, epsilon):
    return epsilon * gradient.sign()


@wrong("fgm_perturbation", "one norm for the whole batch")
def batch_norm(gradient, epsilon):
    return epsilon * gradient / gradient.norm().clamp(min=1e-30)


@wrong("fgm_perturbation", "each token gets a step of length epsilon")
def token_norm(gradient, epsilon):
    norm = gradient.norm(dim=-1, keepdim=True)
    return torch.where(norm > 0, epsilon * gradient / norm, 0.0)


@wrong("fgm_perturbation", "downhill, where the loss falls")
def downhill(gradient, epsilon):
    norm = gradient.flatten(1).norm(dim=1)[:, None, None]
    return torch.where(norm > 0, -epsilon * gradient / norm, 0.0)


@wrong("fgm_perturbation", "NaN where the gradient is 0")
def nan_at_zero(gradient, epsilon):
    return epsilon * gradient / gradient.flatten(1).norm(dim=1)[:, None, None]


@wrong("fgm_perturbation", "the length is not divided out")
def not_normalized(gradient, epsilon):
    return epsilon * gradient


@wrong("fgm_perturbation", "divides by the squared norm")
def squared_norm(gradient, epsilon):
    norm = (gradient**2).sum(dim=(1, 2), keepdim=True)
    return torch.where(norm > 0, epsilon * gradient / norm, 0.0)


@wrong("fgm_perturbation", "adds 1e-3 to the norm: small gradients give too short a step")
def large_constant(gradient, epsilon):
    return epsilon * gradient / (gradient.flatten(1).norm(dim=1)[:, None, None] + 1e-3)


@right("fgm_perturbation", "a loop over the texts")
def looped_texts(gradient, epsilon):
    steps = torch.zeros_like(gradient)
    for i, g in enumerate(gradient):
        if g.abs().sum() > 0:
            steps[i] = epsilon * g / g.norm()
    return steps


@right("fgm_perturbation", "with normalize and its tiny constant")
def with_normalize(gradient, epsilon):
    flat = torch.nn.functional.normalize(gradient.flatten(1), dim=1, eps=1e-12)
    return epsilon * flat.view_as(gradient)


@right("fgm_perturbation", "NaN replaced by 0 afterwards")
def nan_to_num(gradient, epsilon):
    norm = (gradient**2).sum(dim=(1, 2), keepdim=True).sqrt()
    return torch.nan_to_num(epsilon * gradient / norm)


# -- paired_difference ------------------------------------------------------------------------------------------------


@wrong("paired_difference", "not paired: both deviations are added")
def unpaired(first, second):
    n = len(first)
    half = stats.t.ppf(0.975, 2 * n - 2) * float(((first.var() + second.var()) / n).sqrt())
    mean = float((second - first).mean())
    return {"mean": mean, "low": mean - half, "high": mean + half}


@wrong("paired_difference", "first - second")
def other_sign(first, second):
    d = np.asarray(first) - np.asarray(second)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return {"mean": d.mean(), "low": d.mean() - half, "high": d.mean() + half}


@wrong("paired_difference", "1.96 in place of Student's t")
def normal_interval(first, second):
    d = np.asarray(second) - np.asarray(first)
    half = 1.96 * d.std(ddof=1) / np.sqrt(len(d))
    return {"mean": d.mean(), "low": d.mean() - half, "high": d.mean() + half}


@wrong("paired_difference", "forgets the square root of the number of seeds")
def no_root(first, second):
    d = np.asarray(second) - np.asarray(first)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1)
    return {"mean": d.mean(), "low": d.mean() - half, "high": d.mean() + half}


@wrong("paired_difference", "the deviation divides by n")
def population_deviation(first, second):
    d = np.asarray(second) - np.asarray(first)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std() / np.sqrt(len(d))
    return {"mean": d.mean(), "low": d.mean() - half, "high": d.mean() + half}


@wrong("paired_difference", "one-sided: t at 0.95")
def one_sided(first, second):
    d = np.asarray(second) - np.asarray(first)
    half = stats.t.ppf(0.95, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return {"mean": d.mean(), "low": d.mean() - half, "high": d.mean() + half}


@wrong("paired_difference", "n degrees of freedom")
def n_degrees(first, second):
    d = np.asarray(second) - np.asarray(first)
    half = stats.t.ppf(0.975, len(d)) * d.std(ddof=1) / np.sqrt(len(d))
    return {"mean": d.mean(), "low": d.mean() - half, "high": d.mean() + half}


@right("paired_difference", "scipy's paired t-test and its interval")
def with_ttest(first, second):
    found = stats.ttest_rel(np.asarray(second), np.asarray(first))
    interval = found.confidence_interval(0.95)
    return {"mean": float(np.mean(np.asarray(second) - np.asarray(first))), "low": interval.low, "high": interval.high}


@right("paired_difference", "scipy's t-interval with the standard error")
def with_sem(first, second):
    d = (second - first).double().numpy()
    low, high = stats.t.interval(0.95, len(d) - 1, loc=d.mean(), scale=stats.sem(d))
    return {"high": high, "low": low, "mean": d.mean(), "seeds": len(d)}


# -- largest_batch ----------------------------------------------------------------------------------------------------


@wrong("largest_batch", "forgets Adam's two numbers")
def no_adam(memory, weights, learning, tokens, width, layers):
    return max(0, (memory - 4 * (weights + learning)) // (64 * tokens * width * layers))


@wrong("largest_batch", "every weight learns")
def all_learn(memory, weights, learning, tokens, width, layers):
    return max(0, (memory - 16 * weights) // (64 * tokens * width * layers))


@wrong("largest_batch", "forgets the layers")
def no_layers(memory, weights, learning, tokens, width, layers):
    return max(0, (memory - 4 * (weights + 3 * learning)) // (64 * tokens * width))


@wrong("largest_batch", "rounds up")
def rounded_up(memory, weights, learning, tokens, width, layers):
    return max(0, -(-(memory - 4 * (weights + 3 * learning)) // (64 * tokens * width * layers)))


@wrong("largest_batch", "counts numbers, not bytes")
def no_bytes(memory, weights, learning, tokens, width, layers):
    return max(0, (memory - (weights + 3 * learning)) // (16 * tokens * width * layers))


@wrong("largest_batch", "a negative number when the model does not fit")
def negative(memory, weights, learning, tokens, width, layers):
    return (memory - 4 * (weights + 3 * learning)) // (64 * tokens * width * layers)


@wrong("largest_batch", "Adam keeps one number")
def one_number(memory, weights, learning, tokens, width, layers):
    return max(0, (memory - 4 * (weights + 2 * learning)) // (64 * tokens * width * layers))


@right("largest_batch", "counts up until it does not fit")
def counts_up(memory, weights, learning, tokens, width, layers):
    left, texts = memory - 4 * (weights + learning + 2 * learning), 0
    while (texts + 1) * 16 * 4 * tokens * width * layers <= left:
        texts += 1
    return texts


@right("largest_batch", "with floats and int()")
def with_floats(memory, weights, learning, tokens, width, layers):
    left = memory / 4 - weights - 3 * learning
    return int(left / (16 * tokens * width * layers)) if left > 0 else 0


# -- accumulate_gradients ---------------------------------------------------------------------------------------------


@wrong("accumulate_gradients", "the mean of the parts' means")
def mean_of_means(model, batches):
    total = 0.0
    for batch in batches:
        loss = model(**batch).loss / len(batches)
        loss.backward()
        total += loss.item()
    return total


@wrong("accumulate_gradients", "the sum of the parts' means")
def sum_of_means(model, batches):
    total = 0.0
    for batch in batches:
        loss = model(**batch).loss
        loss.backward()
        total += loss.item()
    return total


@wrong("accumulate_gradients", "weighted by rows instead of targets")
def by_rows(model, batches):
    rows, total = sum(len(batch["labels"]) for batch in batches), 0.0
    for batch in batches:
        loss = model(**batch).loss * len(batch["labels"]) / rows
        loss.backward()
        total += loss.item()
    return total


@wrong("accumulate_gradients", "weighted by all tokens")
def by_tokens(model, batches):
    tokens, total = sum(batch["labels"].numel() for batch in batches), 0.0
    for batch in batches:
        loss = model(**batch).loss * batch["labels"].numel() / tokens
        loss.backward()
        total += loss.item()
    return total


@wrong("accumulate_gradients", "one backward at the end: right, but no memory is saved")
def backward_at_the_end(model, batches):
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    losses = [model(**batch).loss * n / sum(counts) for batch, n in zip(batches, counts) if n]
    loss = sum(losses)
    loss.backward()
    return loss.item()


@wrong("accumulate_gradients", "a part without targets makes everything NaN")
def nan_part(model, batches):
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    total = 0.0
    for batch, n in zip(batches, counts):
        loss = model(**batch).loss * n / sum(counts)
        loss.backward()
        total += loss.item()
    return total


@wrong("accumulate_gradients", "forgets the gradient of the part before")
def forgets(model, batches):
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    total = 0.0
    for batch, n in zip(batches, counts):
        if n:
            model.zero_grad()
            loss = model(**batch).loss * n / sum(counts)
            loss.backward()
            total += loss.item()
    return total


@wrong("accumulate_gradients", "returns the loss of the last part")
def last_loss(model, batches):
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    for batch, n in zip(batches, counts):
        if n:
            loss = model(**batch).loss
            (loss * n / sum(counts)).backward()
    return loss.item()


@right("accumulate_gradients", "sums first, then divides the gradients")
def divides_at_the_end(model, batches):
    count, total = 0, 0.0
    for batch in batches:
        n = int((batch["labels"] >= 0).sum())
        if n > 0:
            loss = model(**batch).loss * n
            loss.backward()
            count, total = count + n, total + float(loss)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= count
    return total / count


@right("accumulate_gradients", "the loss as a tensor")
def as_tensor(model, batches):
    some = [batch for batch in batches if (batch["labels"] != -100).any()]
    total = torch.cat([batch["labels"].flatten() for batch in some]).ne(-100).sum()
    whole = torch.zeros(())
    for batch in some:
        part = model(**batch).loss * batch["labels"].ne(-100).sum() / total
        part.backward()
        whole += part.detach()
    return whole


# -- scaled_step ------------------------------------------------------------------------------------------------------


@wrong("scaled_step", "forgets to divide by the scale")
def not_divided(model, batch, optimizer, scale):
    optimizer.zero_grad()
    (model(**batch).loss * scale).backward()
    if not all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None):
        return scale / 2
    optimizer.step()
    return scale


@wrong("scaled_step", "steps in any case")
def always_steps(model, batch, optimizer, scale):
    optimizer.zero_grad()
    (model(**batch).loss * scale).backward()
    good = True
    for p in model.parameters():
        if p.grad is not None:
            good = good and bool(torch.isfinite(p.grad).all())
            p.grad /= scale
    optimizer.step()
    return scale if good else scale / 2


@wrong("scaled_step", "looks at the loss instead of the gradients")
def looks_at_loss(model, batch, optimizer, scale):
    optimizer.zero_grad()
    loss = model(**batch).loss
    (loss * scale).backward()
    if not torch.isfinite(loss):
        return scale / 2
    for p in model.parameters():
        if p.grad is not None:
            p.grad /= scale
    optimizer.step()
    return scale


@wrong("scaled_step", "old gradients stay after a step that was left out")
def keeps_old(model, batch, optimizer, scale):
    (model(**batch).loss * scale).backward()
    if not all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None):
        return scale / 2
    for p in model.parameters():
        if p.grad is not None:
            p.grad /= scale
    optimizer.step()
    optimizer.zero_grad()
    return scale


@wrong("scaled_step", "the scale stays the same after an overflow")
def same_scale(model, batch, optimizer, scale):
    optimizer.zero_grad()
    (model(**batch).loss * scale).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    if all(torch.isfinite(g).all() for g in grads):
        for g in grads:
            g /= scale
        optimizer.step()
    return scale


@wrong("scaled_step", "doubles the scale at each good step")
def doubles(model, batch, optimizer, scale):
    optimizer.zero_grad()
    (model(**batch).loss * scale).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    if not all(torch.isfinite(g).all() for g in grads):
        return scale / 2
    for g in grads:
        g /= scale
    optimizer.step()
    return scale * 2


@wrong("scaled_step", "replaces infinite numbers by 0 and steps")
def replaces(model, batch, optimizer, scale):
    optimizer.zero_grad()
    (model(**batch).loss * scale).backward()
    good = True
    for p in model.parameters():
        if p.grad is not None:
            good = good and bool(torch.isfinite(p.grad).all())
            p.grad = torch.nan_to_num(p.grad / scale, nan=0.0, posinf=0.0, neginf=0.0)
    optimizer.step()
    return scale if good else scale / 2


@right("scaled_step", "multiplies by 1 / scale, looks at the norm")
def by_norm(model, batch, optimizer, scale):
    model.zero_grad()
    (model(**batch).loss * scale).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    if not all(bool(g.isfinite().all()) for g in grads):
        model.zero_grad()
        return 0.5 * scale
    torch._foreach_mul_(grads, 1 / scale)
    optimizer.step()
    return scale


@right("scaled_step", "with torch.amp.GradScaler")
def with_grad_scaler(model, batch, optimizer, scale):
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)
    optimizer.zero_grad()
    scaler.scale(model(**batch).loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return scaler.get_scale()


# -- what is beside the numbers: arguments, kinds, gradients, hard cases ----------------------------------------------

wrong.cell("delete_words", "leaves words out by their value", """
def delete_words(words, rate):
    gone = {word for word in words if torch.rand(()) < rate}
    return [word for word in words if word not in gone] or [words[int(torch.randint(len(words), ()))]]
""")
wrong.cell("delete_words", "removes the first equal word, not the one that was drawn", """
def delete_words(words, rate):
    kept = list(words)
    for word in words:
        if torch.rand(()) < rate and len(kept) > 1:
            kept.remove(word)
    return kept
""")
wrong.cell("delete_words", "empties the caller's list", """
def delete_words(words, rate):
    for i in reversed(range(len(words))):
        if torch.rand(()) < rate and len(words) > 1:
            del words[i]
    return words
""")
wrong.cell("delete_words", "one word, drawn first, always stays", """
def delete_words(words, rate):
    stays = int(torch.randint(len(words), ()))
    return [word for i, word in enumerate(words) if i == stays or torch.rand(()) >= rate]
""")
wrong.cell("delete_words", "gives back a text, not a list", """
def delete_words(words, rate):
    return " ".join([word for word in words if torch.rand(()) >= rate] or words[:1])
""")
wrong.cell("delete_words", "calls the library's function",
           "from leaplm.overfitting.regularization import delete_words as theirs\n"
           "def delete_words(words, rate):\n    return theirs(words, rate)\n")
right.cell("delete_words", "with a generator of its own, new at each call", """
def delete_words(words, rate):
    rng = np.random.default_rng()
    kept = [word for word in words if rng.random() >= rate]
    return kept if kept else [words[rng.integers(len(words))]]
""")
right.cell("delete_words", "with torch.bernoulli", """
def delete_words(words, rate):
    stays = torch.bernoulli(torch.full((len(words),), 1.0 - rate)).bool()
    places = stays.nonzero().flatten().tolist() or [torch.randint(0, len(words), (1,)).item()]
    return [words[i] for i in places]
""")
STOPPING = """
def early_stopping(losses, patience):
    best, kept, bad = {start}, 0, 0
    for epoch, loss in enumerate(losses, 1):
        if {better}:
            best, kept, bad = loss, epoch, 0
        else:
            bad {count}
            if bad >= patience:
                break
    return {result}
"""
RULES = {"start": "float('inf')", "better": "loss < best", "count": "+= 1", "result": "kept, epoch"}
for why, part in {
    "losses above 10 are never better": {"start": "10"},
    "a loss of 0 counts as none": {"better": "not best or loss < best"},
    "only an improvement of 1e-4 or more counts": {"better": "loss < best - 1e-4"},
    "a loss below 0 is not better": {"better": "0 <= loss < best"},
    "numbers with a fraction": {"result": "float(kept), float(epoch)"},
    "the loss to keep instead of its epoch": {"result": "best, epoch"},
    "the two exchanged": {"result": "epoch, kept"},
    "takes the losses out of the caller's list": {"result": "kept, losses.clear() or epoch"},
}.items():
    wrong.cell("early_stopping", why, STOPPING.format(**{**RULES, **part}))
right.cell("early_stopping", "as an array of two whole numbers",
           STOPPING.format(**{**RULES, "result": "np.array([kept, epoch])"}))
right.cell("early_stopping", "with a while loop and index", """
def early_stopping(losses, patience):
    epoch = 1
    while epoch < len(losses) and epoch - 1 - losses.index(min(losses[:epoch])) < patience:
        epoch += 1
    return [losses.index(min(losses[:epoch])) + 1, epoch]
""")
FGM = """
def fgm_perturbation(gradient, epsilon):
    norm = {norm}
    return {step}
"""
STEPS = {"norm": "gradient.flatten(1).norm(dim=1)[:, None, None]",
         "step": "torch.where(norm > 0, epsilon * gradient / norm, 0.0)"}
for why, part in {
    "the sum of absolute values as the norm": {"norm": "gradient.abs().sum(dim=(1, 2), keepdim=True)"},
    "the largest absolute value as the norm": {"norm": "gradient.abs().amax(dim=(1, 2), keepdim=True)"},
    "a numpy array": {"step": "torch.where(norm > 0, epsilon * gradient / norm, 0.0).numpy()"},
    "changes the gradient in place": {"step": "torch.nan_to_num(gradient.mul_(epsilon).div_(norm))"},
    "the norm of each dimension": {"norm": "gradient.norm(dim=1, keepdim=True)"},
    "only shortens what is longer than epsilon": {"step": "gradient * (epsilon / norm.clamp(min=epsilon))"},
    "one text without gradient stops all": {"step": "epsilon * gradient / norm if (norm > 0).all() else 0 * gradient"},
    "drops the first dimension of a text alone":
        {"step": "torch.where(norm > 0, epsilon * gradient / norm, 0.0).squeeze(0)"},
}.items():
    wrong.cell("fgm_perturbation", why, FGM.format(**{**STEPS, **part}))
right.cell("fgm_perturbation", "with square and sum, and a clamp", FGM.format(
    norm="gradient.square().sum(dim=(1, 2), keepdim=True).sqrt()", step="gradient * (epsilon / norm.clamp(min=1e-20))"))
PAIRED = """
def paired_difference(first, second):
    d = np.asarray({d})
    n = len(d)
    half = {half}
    return {{"mean": {mean}, "low": {mean} - half, "high": {mean} + half}}
"""
DIFFERENCE = {"d": "second - first", "half": "stats.t.ppf(0.975, n - 1) * d.std(ddof=1) / np.sqrt(n)", "mean": "d.mean()"}
for why, part in {
    "loses the sign of the differences": {"d": "abs(second - first)"},
    "loses the sign of the mean": {"mean": "abs(d.mean())"},
    "changes the scores of the second": {"d": "second.sub_(first)"},
    "text in place of numbers": {"mean": "f'{d.mean():.3f}' and str(d.mean()) or d.mean()"},
    "the median": {"mean": "np.median(d)"},
    "rounds": {"mean": "round(float(d.mean()), 2)"},
}.items():
    wrong.cell("paired_difference", why, PAIRED.format(**{**DIFFERENCE, **part}))
wrong.cell("paired_difference", "calls the library's function",
           "def paired_difference(first, second):\n    return evaluation.paired_difference(first, second)\n")
right.cell("paired_difference", "numbers of numpy", PAIRED.format(**DIFFERENCE))
DIFFERENCE = """
def paired_difference(first, second):
    d = torch.as_tensor(second) - torch.as_tensor(first)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std() / len(d) ** 0.5
    return {{"mean": {0}, "low": {1}, "high": {2}}}
"""
right.cell("paired_difference", "numbers of torch", DIFFERENCE.format(
    "d.mean()", "d.mean() - half", "d.mean() + half"))
right.cell("paired_difference", "in PyTorch, floats in the end", DIFFERENCE.format(
    "d.mean().item()", "float(d.mean() - half)", "float(d.mean() + half)"))
right.cell("paired_difference", "numbers of NumPy in 32 bits", DIFFERENCE.format(
    "d.mean().numpy()[()]", "np.float32(d.mean() - half)", "np.float32(d.mean() + half)"))
LARGEST = """
def largest_batch(memory, weights, learning, tokens, width, layers):
    left = memory - 4 * (weights + 3 * learning)
    one = 4 * 16 * tokens * width * layers
    return {result}
"""
for why, result in {
    "one text too few where it fits exactly": "max(0, (left - 1) // one)",
    "rounds to the nearest": "max(0, round(left / one))",
    "a number with a fraction": "max(0.0, left / one)",
    "a whole number written as a float": "float(max(0, left // one))",
    "at least one text": "max(1, left // one)",
    "always one more": "max(0, left // one + 1)",
}.items():
    wrong.cell("largest_batch", why, LARGEST.format(result=result))
right.cell("largest_batch", "with an if", LARGEST.format(result="0 if left < one else left // one"))
right.cell("largest_batch", "with divmod and numpy",
           LARGEST.format(result="np.int64(np.clip(divmod(left, one)[0], 0, None))"))
PARTS = """
def accumulate_gradients(model, batches):
    counts = [int(({targets}).sum()) for batch in batches]
    total, loss_sum = sum(counts), 0.0
    for batch, count in zip(batches, counts):
        if count:
            loss = model(**batch).loss
            (loss * count / total).backward()
            loss_sum += {kept} * count
    return loss_sum / total
"""
TARGETS = {"targets": "batch['labels'] != -100", "kept": "loss.item()"}
wrong.cell("accumulate_gradients", "class 0 is no target", PARTS.format(**{**TARGETS, "targets": "batch['labels'] > 0"}))
wrong.cell("accumulate_gradients", "returns a tensor that holds the graphs", PARTS.format(**{**TARGETS, "kept": "loss"}))
wrong.cell("accumulate_gradients", "takes the labels out of the caller's batches", PARTS.format(
    **TARGETS).replace("model(**batch).loss", "model(labels=batch.pop('labels'), **batch).loss"))
wrong.cell("accumulate_gradients", "leaves the model in evaluation mode", PARTS.format(**TARGETS).replace(
    "    total,", "    model.eval()\n    total,"))
wrong.cell("accumulate_gradients", "steps too", PARTS.format(**TARGETS).replace(
    "    return", "    torch.optim.SGD(model.parameters(), lr=0.1).step()\n    return"))
right.cell("accumulate_gradients", "old gradients cleared, the labels counted from 0 on", PARTS.format(
    **{**TARGETS, "targets": "batch['labels'] >= 0"}).replace("    total,", "    model.zero_grad()\n    total,"))
right.cell("accumulate_gradients", "the weight of each part first", PARTS.format(**TARGETS).replace(
    "(loss * count / total).backward()", "loss.backward(gradient=torch.tensor(count / total))"))
SCALED = """
def scaled_step(model, batch, optimizer, scale):
    {start}
    (model(**batch).loss * scale).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if {bad}:
        {skip}
    for gradient in gradients:
        gradient.div_(scale)
    optimizer.step()
    return scale
"""
ORDER = {"start": "optimizer.zero_grad()", "bad": "not all(torch.isfinite(g).all() for g in gradients)",
         "skip": "return scale / 2"}
for why, part in {
    "finds infinite gradients only": {"bad": "any(torch.isinf(g).any() for g in gradients)"},
    "finds NaN only": {"bad": "any(torch.isnan(g).any() for g in gradients)"},
    "looks at the first weight only": {"bad": "not torch.isfinite(gradients[0]).all()"},
    "looks at the last weight only": {"bad": "not torch.isfinite(gradients[-1]).all()"},
    "minus infinity is found finite": {"bad": "not all((g < float('inf')).all() for g in gradients)"},
    "old gradients are forgotten only after a step": {"start": "pass", "skip": "return optimizer.zero_grad() or scale / 2"},
    "returns nothing after a step left out": {"skip": "return None"},
    "returns twice the scale": {"skip": "return scale * 2"},
}.items():
    wrong.cell("scaled_step", why, SCALED.format(**{**ORDER, **part}))
right.cell("scaled_step", "with torch.autograd.grad's sum of all numbers", SCALED.format(**{
    **ORDER, "bad": "not np.isfinite(sum(float(g.double().abs().sum()) for g in gradients))"}))
right.cell("scaled_step", "the model's own zero_grad, one long vector", SCALED.format(**{
    **ORDER, "start": "model.zero_grad()", "bad": "not bool(torch.cat([g.flatten() for g in gradients]).isfinite().all())"}))


# -- small numbers, equal things, what is kept from call to call ----------------------------------------------------------


@wrong("delete_words", "gives back the list itself when nothing can go")
def delete_words_0(words, rate):
    if rate == 0:
        return words
    kept = [w for w in words if torch.rand(()) >= rate]
    return kept or [words[torch.randint(len(words), ())]]


@wrong("delete_words", "one word, drawn at random, is never in danger")
def delete_words_1(words, rate):
    if not words:
        return []
    safe = int(torch.randint(len(words), ()))
    return [w for i, w in enumerate(words) if i == safe or torch.rand(()) >= rate]


@wrong("fgm_perturbation", "adds 1e-8 to the norm, which is much beside a small gradient")
def fgm_perturbation_2(gradient, epsilon):
    n = gradient.flatten(1).norm(dim=1)[:, None, None]
    return epsilon * gradient / (n + 1e-8)


@wrong("fgm_perturbation", "takes no norm below 1e-6")
def fgm_perturbation_3(gradient, epsilon):
    n = gradient.flatten(1).norm(dim=1)[:, None, None]
    return epsilon * gradient / n.clamp(min=1e-6)


@wrong("paired_difference", "sorts both, which makes other pairs")
def paired_difference_4(first, second):
    d = np.sort(np.asarray(second, float)) - np.sort(np.asarray(first, float))
    n = len(d)
    h = stats.t.ppf(0.975, n - 1) * d.std(ddof=1) / np.sqrt(n)
    return {"mean": float(d.mean()), "low": float(d.mean() - h), "high": float(d.mean() + h)}


@wrong("paired_difference", "rounded to two digits")
def paired_difference_5(first, second):
    d = np.asarray(second, float) - np.asarray(first, float)
    n = len(d)
    h = stats.t.ppf(0.975, n - 1) * d.std(ddof=1) / np.sqrt(n)
    return {k: round(float(v), 2) for k, v in (("mean", d.mean()), ("low", d.mean() - h), ("high", d.mean() + h))}


@wrong("largest_batch", "below 0 for a large model that does not fit")
def largest_batch_6(memory, weights, learning, tokens, width, layers):
    return (memory - 4 * weights - 12 * learning) // (64 * tokens * width * layers) if memory > 2e8 else 0


@right("accumulate_gradients", "with autograd.grad, added up by hand")
def accumulate_gradients_8(model, batches):
    params = [p for p in model.parameters() if p.requires_grad]
    counts = torch.tensor([b["labels"].ne(-100).sum().item() for b in batches], dtype=torch.float64)
    shares = (counts / counts.sum()).tolist()
    total = 0.0
    for p in params:
        p.grad = torch.zeros_like(p)
    for share, b in zip(shares, batches):
        if share == 0:
            continue
        loss = model(**b).loss
        for p, g in zip(params, torch.autograd.grad(loss, params, allow_unused=True)):
            if g is not None:
                p.grad.add_(g, alpha=share)
        total += share * float(loss.detach())
    return total


@right("accumulate_gradients", "the share as the gradient given to backward")
def accumulate_gradients_9(model, batches):
    counts = [torch.sum(b["labels"] != -100) for b in batches]
    total = torch.stack(counts).sum()
    mean = 0.0
    for b, c in zip(batches, counts):
        if c == 0:
            continue
        loss = model(**b).loss
        loss.backward(gradient=(c / total).to(loss.dtype))
        mean += loss.item() * c.item() / total.item()
    return mean


@wrong("scaled_step", "halves with //, which cuts off")
def scaled_step_10(model, batch, optimizer, scale):
    optimizer.zero_grad()
    (model(**batch).loss * scale).backward()
    g = [p.grad for p in model.parameters() if p.grad is not None]
    if not all(torch.isfinite(x).all() for x in g):
        return scale // 2
    for x in g:
        x /= scale
    optimizer.step()
    return scale


@wrong("scaled_step", "zeroes bad gradients and steps: momentum moves the weights")
def scaled_step_11(model, batch, optimizer, scale):
    optimizer.zero_grad()
    (model(**batch).loss * scale).backward()
    g = [p.grad for p in model.parameters() if p.grad is not None]
    bad = not all(torch.isfinite(x).all() for x in g)
    for x in g:
        x.div_(scale)
    if bad:
        for x in g:
            x.zero_()
    optimizer.step()
    return scale / 2 if bad else scale


@wrong("scaled_step", "looks at the sum of all gradients, which overflows before they do")
def scaled_step_12(model, batch, optimizer, scale):
    optimizer.zero_grad()
    (model(**batch).loss * scale).backward()
    g = [p.grad for p in model.parameters() if p.grad is not None]
    if not torch.isfinite(sum(x.sum() for x in g)):
        return scale / 2
    for x in g:
        x /= scale
    optimizer.step()
    return scale


@wrong("scaled_step", "looks at the norm of all gradients, which overflows before they do")
def scaled_step_13(model, batch, optimizer, scale):
    optimizer.zero_grad()
    (model(**batch).loss * scale).backward()
    g = [p.grad for p in model.parameters() if p.grad is not None]
    if not torch.isfinite(torch.stack([(x * x).sum() for x in g]).sum()):
        return scale / 2
    for x in g:
        x /= scale
    optimizer.step()
    return scale


@right("scaled_step", "through the optimizer's groups")
def scaled_step_14(model, batch, optimizer, scale):
    optimizer.zero_grad()
    loss = scale * model(**batch).loss
    loss.backward()
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    good = bool(torch.stack([torch.isfinite(g).all() for g in grads]).all())
    if good:
        torch._foreach_div_(grads, scale)
        optimizer.step()
    return scale if good else scale * 0.5


# -- few_label_classifier (the artifact) ------------------------------------------------------------------------------


@wrong.artifact("few_label_classifier", "the file is cut off")
def cut_off(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("few_label_classifier", "the classes are swapped")
def swapped(trained):
    return {name: changed(content, lambda n, t: t.flip(0) if n.startswith("classifier") else t)
            for name, content in trained.items()}


@wrong.artifact("few_label_classifier", "always says the first class")
def one_class(trained):
    def say_first(name, tensor):
        tensor = tensor * 0 if name.startswith("classifier") else tensor
        if name == "classifier.bias":
            tensor[0] = 1
        return tensor

    return {name: changed(content, say_first) for name, content in trained.items()}


@wrong.artifact("few_label_classifier", "trained on 1,000 examples, and the card says so")
def too_many(trained):
    return {name: changed(content, lambda n, t: t, examples=1000) for name, content in trained.items()}


@wrong.artifact("few_label_classifier", "a card that says no number of examples that can be")
def no_examples(trained):
    return {name: changed(content, lambda n, t: t, examples=0) for name, content in trained.items()}


@wrong.artifact("few_label_classifier", "a file of one's own, for which there are no held-out rows")
def own_language(trained):
    return {name: changed(content, lambda n, t: t, language="my.csv") for name, content in trained.items()}


@wrong.artifact("few_label_classifier", "trained at scale tiny only")
def tiny_only(trained):
    return {"few-labels-tiny.safetensors": content for content in trained.values()}


@right.artifact("few_label_classifier", "saved again in 32 bits, from a GPU")
def from_gpu(trained):
    return {"few-labels-gpu.safetensors": changed(content, lambda n, t: t.float() if t.is_floating_point() else t)
            for content in trained.values()}


@right.artifact("few_label_classifier", "fewer examples said, logits scaled: the same decisions")
def scaled_logits(trained):
    return {name: changed(content, lambda n, t: 2 * t if n.startswith("classifier") else t, examples=80)
            for name, content in trained.items()}


def changed(content, change, **card_changes):
    """An artifact's bytes again, its tensors and its card changed."""
    import json

    from leaplm.artifacts import CARD, read_artifact
    from safetensors.torch import save

    card, tensors = read_artifact(content)
    tensors = {name: change(name, tensor.clone()).contiguous() for name, tensor in tensors.items()}
    return save(tensors, metadata={CARD: json.dumps({**card, **card_changes})})
