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


# -- accumulate_gradients ---------------------------------------------------------------------------------------------


@wrong("accumulate_gradients", "the mean of the parts' means")
def mean_of_means(model, batches, scale=1.0):
    total = 0.0
    for batch in batches:
        loss = model(**batch).loss / len(batches)
        (loss * scale).backward()
        total += loss.item()
    return total


@wrong("accumulate_gradients", "the sum of the parts' means")
def sum_of_means(model, batches, scale=1.0):
    total = 0.0
    for batch in batches:
        loss = model(**batch).loss
        (loss * scale).backward()
        total += loss.item()
    return total


@wrong("accumulate_gradients", "weighted by rows instead of targets")
def by_rows(model, batches, scale=1.0):
    rows, total = sum(len(batch["labels"]) for batch in batches), 0.0
    for batch in batches:
        loss = model(**batch).loss * len(batch["labels"]) / rows
        (loss * scale).backward()
        total += loss.item()
    return total


@wrong("accumulate_gradients", "weighted by all tokens")
def by_tokens(model, batches, scale=1.0):
    tokens, total = sum(batch["labels"].numel() for batch in batches), 0.0
    for batch in batches:
        loss = model(**batch).loss * batch["labels"].numel() / tokens
        (loss * scale).backward()
        total += loss.item()
    return total


@wrong("accumulate_gradients", "one backward at the end: right, but no memory is saved")
def backward_at_the_end(model, batches, scale=1.0):
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    losses = [model(**batch).loss * n / sum(counts) for batch, n in zip(batches, counts) if n]
    loss = sum(losses)
    (loss * scale).backward()
    return loss.item()


@wrong("accumulate_gradients", "a part without targets makes everything NaN")
def nan_part(model, batches, scale=1.0):
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    total = 0.0
    for batch, n in zip(batches, counts):
        loss = model(**batch).loss * n / sum(counts)
        (loss * scale).backward()
        total += loss.item()
    return total


@wrong("accumulate_gradients", "forgets the gradient of the part before")
def forgets(model, batches, scale=1.0):
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    total = 0.0
    for batch, n in zip(batches, counts):
        if n:
            model.zero_grad()
            loss = model(**batch).loss * n / sum(counts)
            (loss * scale).backward()
            total += loss.item()
    return total


@wrong("accumulate_gradients", "returns the loss of the last part")
def last_loss(model, batches, scale=1.0):
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    for batch, n in zip(batches, counts):
        if n:
            loss = model(**batch).loss
            (loss * n / sum(counts) * scale).backward()
    return loss.item()


@right("accumulate_gradients", "sums first, then divides the gradients")
def divides_at_the_end(model, batches, scale=1.0):
    count, total = 0, 0.0
    for batch in batches:
        n = int((batch["labels"] >= 0).sum())
        if n > 0:
            loss = model(**batch).loss * n
            (loss * scale).backward()
            count, total = count + n, total + float(loss)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= count
    return total / count


@right("accumulate_gradients", "the loss as a tensor")
def as_tensor(model, batches, scale=1.0):
    some = [batch for batch in batches if (batch["labels"] != -100).any()]
    total = torch.cat([batch["labels"].flatten() for batch in some]).ne(-100).sum()
    whole = torch.zeros(())
    for batch in some:
        part = model(**batch).loss * batch["labels"].ne(-100).sum() / total
        (part * scale).backward()
        whole += part.detach()
    return whole


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
PARTS = """
def accumulate_gradients(model, batches, scale=1.0):
    counts = [int(({targets}).sum()) for batch in batches]
    total, loss_sum = sum(counts), 0.0
    for batch, count in zip(batches, counts):
        if count:
            loss = model(**batch).loss
            (loss * (count / total * scale)).backward()
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
    "(loss * (count / total * scale)).backward()", "loss.backward(gradient=torch.tensor(count / total * scale))"))


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


@right("accumulate_gradients", "with autograd.grad, added up by hand")
def accumulate_gradients_8(model, batches, scale=1.0):
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
                p.grad.add_(g, alpha=share * scale)
        total += share * float(loss.detach())
    return total


@right("accumulate_gradients", "the share as the gradient given to backward")
def accumulate_gradients_9(model, batches, scale=1.0):
    counts = [torch.sum(b["labels"] != -100) for b in batches]
    total = torch.stack(counts).sum()
    mean = 0.0
    for b, c in zip(batches, counts):
        if c == 0:
            continue
        loss = model(**b).loss
        loss.backward(gradient=(scale * c / total).to(loss.dtype))
        mean += loss.item() * c.item() / total.item()
    return mean


for why, old, new in (
    ("leaves the scale out of the gradient", "count / total * scale", "count / total"),
    ("divides by the scale", "count / total * scale", "count / total / scale"),
    ("the loss returned has the scale", "loss.item() * count", "loss.item() * count * scale"),
    ("the loss returned is the mean of the parts' means", "loss.item() * count", "loss.item() * total / len(batches)"),
    ("zeroes the gradients at the end", "    return loss_sum / total", "    model.zero_grad()\n    return loss_sum / total"),
):
    wrong.cell("accumulate_gradients", why, PARTS.format(**TARGETS).replace(old, new))
wrong.cell("accumulate_gradients", "calls the library's function",
           "def accumulate_gradients(model, batches, scale=1.0):\n"
           "    return memory.accumulate_gradients(model, batches, scale=scale)\n")


# -- scaled_step ------------------------------------------------------------------------------------------------------

SCALED = """
def scaled_step(model, batches, optimizer, scaler, grow_after=2000):
    scale, good = scaler["scale"], scaler["good"] + 1
    {start}
    loss = {loss}
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if {bad}:
        {skip}
    for gradient in gradients:
        {divide}
    optimizer.step()
    if {grown}:
        {grow}
    return {result}
"""
ORDER = {"start": "optimizer.zero_grad()", "loss": "memory.accumulate_gradients(model, batches, scale=scale)",
         "bad": "not all(torch.isfinite(g).all() for g in gradients)",
         "skip": "return loss, False, {'scale': scale / 2, 'good': 0}", "divide": "gradient.div_(scale)",
         "grown": "good >= grow_after", "grow": "return loss, True, {'scale': 2 * scale, 'good': 0}",
         "result": "loss, True, {'scale': scale, 'good': good}"}
for why, part in {
    "forgets to divide by the scale": {"divide": "pass"},
    "divides copies, which the optimizer never sees": {"divide": "gradient = gradient / scale"},
    "steps in any case": {"skip": "scale, good = scale / 2, 0"},
    "looks at the loss instead of the gradients": {"bad": "not np.isfinite(loss)"},
    "old gradients are never forgotten": {"start": "pass"},
    "old gradients are forgotten only after a step": {"start": "pass", "skip": "optimizer.zero_grad(); return loss, False, "
                                                                                "{'scale': scale / 2, 'good': 0}"},
    "the scale stays the same after an overflow": {"skip": "return loss, False, {'scale': scale, 'good': 0}"},
    "twice the scale after an overflow": {"skip": "return loss, False, {'scale': scale * 2, 'good': 0}"},
    "the scale never falls below 1": {"skip": "return loss, False, {'scale': max(1.0, scale / 2), 'good': 0}"},
    "the scale never grows above 2 to the 24": {"grown": "good >= grow_after and scale < 2.0**24"},
    "halves with //, which cuts off": {"skip": "return loss, False, {'scale': scale // 2, 'good': 0}"},
    "replaces infinite numbers by 0 and steps": {
        "skip": "[g.nan_to_num_(0.0, 0.0, 0.0) for g in gradients]; scale, good = scale / 2, 0"},
    "zeroes bad gradients and steps: momentum moves the weights": {"skip": "[g.zero_() for g in gradients]"},
    "finds infinite gradients only": {"bad": "any(torch.isinf(g).any() for g in gradients)"},
    "finds NaN only": {"bad": "any(torch.isnan(g).any() for g in gradients)"},
    "looks at the first weight only": {"bad": "not torch.isfinite(gradients[0]).all()"},
    "looks at the last weight only": {"bad": "not torch.isfinite(gradients[-1]).all()"},
    "minus infinity is found finite": {"bad": "not all((g < float('inf')).all() for g in gradients)"},
    "looks at the sum of all gradients, which overflows before they do": {
        "bad": "not torch.isfinite(sum(g.sum() for g in gradients))"},
    "looks at the norm of all gradients, which overflows before they do": {
        "bad": "not torch.isfinite(torch.stack([(g * g).sum() for g in gradients]).sum())"},
    "returns nothing after a step left out": {"skip": "return None"},
    "says that a step left out was made": {"skip": "return loss, True, {'scale': scale / 2, 'good': 0}"},
    "good steps go on after one left out": {"skip": "return loss, False, {'scale': scale / 2, 'good': good - 1}"},
    "doubles the scale at each good step": {"grown": "True"},
    "never doubles the scale": {"grown": "False"},
    "doubles one good step too late": {"grown": "good > grow_after"},
    "always 2,000 steps": {"grown": "good >= 2000"},
    "the good steps are not counted from 0 after the scale has grown": {
        "grow": "return loss, True, {'scale': 2 * scale, 'good': good}"},
    "adds to the scale instead of doubling it": {"grow": "return loss, True, {'scale': scale + 2, 'good': 0}"},
    "changes the caller's scaler": {"grow": "pass", "result": "loss, True, scaler.update(good=good) or scaler"},
    "says that the step was left out when the scale grows": {"grow": "return loss, False, {'scale': 2 * scale, 'good': 0}"},
    "the loss returned has the scale": {"result": "loss * scale, True, {'scale': scale, 'good': good}"},
    "the mean of the parts' means": {
        "loss": "sum(((loss := model(**b).loss) * scale / len(batches)).backward() or loss.item() for b in batches)"},
    "only the first part": {"loss": "memory.accumulate_gradients(model, batches[:1], scale=scale)"},
    "the scale alone comes back": {"result": "scale"},
}.items():
    wrong.cell("scaled_step", why, SCALED.format(**{**ORDER, **part}))
for why, part in {
    "the sum of all absolute values, in 64 bits": {
        "bad": "not np.isfinite(sum(float(g.double().abs().sum()) for g in gradients))"},
    "the model's own zero_grad, one long vector": {
        "start": "model.zero_grad()", "bad": "not bool(torch.cat([g.flatten() for g in gradients]).isfinite().all())"},
    "multiplies by 1 / scale; numbers of torch and numpy": {
        "divide": "gradient.mul_(1 / scale)",
        "result": "torch.tensor(loss), np.True_, {'scale': np.float64(scale), 'good': good}"},
    "its own accumulate_gradients": {"loss": "accumulate_gradients(model, batches, scale)"},
    "the scale by its place": {"loss": "memory.accumulate_gradients(model, batches, scale)"},
    "a list, the scaler with one entry more": {
        "result": "[loss, True, dict(scaler, scale=scale, good=good, all=1)]"},
}.items():
    right.cell("scaled_step", why, SCALED.format(**{**ORDER, **part}))


@right("scaled_step", "through the optimizer's groups, the result at the end")
def through_groups(model, batches, optimizer, scaler, grow_after=2000):
    optimizer.zero_grad()
    loss = memory.accumulate_gradients(model, batches, scale=scaler["scale"])
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    made = bool(torch.stack([torch.isfinite(g).all() for g in grads]).all())
    new = {"scale": scaler["scale"] * 0.5, "good": 0}
    if made:
        torch._foreach_div_(grads, scaler["scale"])
        optimizer.step()
        new = {"scale": scaler["scale"], "good": scaler["good"] + 1}
        if new["good"] == grow_after:
            new = {"scale": scaler["scale"] * 2, "good": 0}
    return loss, made, new


# -- keep_best --------------------------------------------------------------------------------------------------------

KEEP = """
def keep_best(model, loss, best, patience):
    if {better}:
        weights = {weights}
        best = {new}
    else:
        {worse}
    return {result}
"""
KEPT = {"better": "best is None or loss < best['loss']",
        "weights": "{name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}",
        "new": "{'loss': loss, 'bad': 0, 'weights': weights}", "worse": "best = {**best, 'bad': best['bad'] + 1}",
        "result": "best, best['bad'] >= patience"}
for why, part in {
    "the weights are no copies: they change with the model": {
        "weights": "{name: p.detach() for name, p in model.named_parameters() if p.requires_grad}"},
    "state_dict without a copy": {"weights": "model.state_dict()"},
    "a copy of the dict, not of the weights": {"weights": "dict(model.state_dict())"},
    "the copies still ask for a gradient": {
        "weights": "{name: p.clone() for name, p in model.named_parameters() if p.requires_grad}"},
    "only the frozen weights": {
        "weights": "{name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}"},
    "only the last of the weights": {
        "weights": "{name: p.detach().clone() for name, p in [*model.named_parameters()][-1:]}"},
    "the names have lost their beginning": {
        "weights": "{name.split('.')[-1]: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}"},
    "copies of all weights, frozen ones too": {"weights": "{n: t.clone() for n, t in model.state_dict().items()}"},
    "copies in 16 bits": {
        "weights": "{name: p.detach().half() for name, p in model.named_parameters() if p.requires_grad}"},
    "writes over the weights of the old dict": {
        "new": "{'loss': loss, 'bad': 0, 'weights': {n: best['weights'][n].copy_(w) if best else w for n, w in "
               "weights.items()}}"},
    "an equal loss counts as better": {"better": "best is None or loss <= best['loss']"},
    "a larger loss is better": {"better": "best is None or loss > best['loss']"},
    "a loss of 0 counts as none": {"better": "best is None or not best['loss'] or loss < best['loss']"},
    "only an improvement of 1e-4 or more counts": {"better": "best is None or loss < best['loss'] - 1e-4"},
    "keeps the last weights": {"worse": "best = {**best, 'bad': best['bad'] + 1, 'weights': {name: p.detach().clone() "
                                        "for name, p in model.named_parameters() if p.requires_grad}}"},
    "compares with the evaluation before, not with the best": {
        "worse": "best = {**best, 'loss': loss, 'bad': best['bad'] + 1}"},
    "bad evaluations are counted in all, not in a row": {
        "new": "{'loss': loss, 'bad': best['bad'] if best else 0, 'weights': weights}"},
    "bad evaluations are never counted": {"worse": "pass"},
    "stops one evaluation too late": {"result": "best, best['bad'] > patience"},
    "stops at the first bad one": {"result": "best, best['bad'] > 0"},
    "changes the old dict": {"worse": "best['bad'] += 1"},
    "whether to go on, not whether to stop": {"result": "best, best['bad'] < patience"},
    "the two exchanged": {"result": "best['bad'] >= patience, best"},
    "leaves the model in evaluation mode": {"result": "model.eval() and best, best['bad'] >= patience"},
}.items():
    wrong.cell("keep_best", why, KEEP.format(**{**KEPT, **part}))
wrong.cell("keep_best", "calls the library's function",
           "def keep_best(model, loss, best, patience):\n    return resumable.keep_best(model, loss, best, patience)\n")
wrong.cell("keep_best", "the best loss is kept beside the function", """
lowest = []
def keep_best(model, loss, best, patience):
    weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    if not lowest or loss < min(lowest):
        best = {"loss": loss, "bad": 0, "weights": weights}
    else:
        best = best or {"bad": 0, "weights": weights}
        best = {"loss": min(lowest), "bad": best["bad"] + 1, "weights": best["weights"]}
    lowest.append(loss)
    return best, best["bad"] >= patience
""")
for why, part in {
    "with copy.deepcopy": {"weights": "__import__('copy').deepcopy(resumable.learning_weights(model))"},
    "from the state_dict": {"weights": "{n: t.clone() for n, t in model.state_dict().items() if "
                                       "model.get_parameter(n).requires_grad}"},
    "on the CPU, from the data": {
        "weights": "{n: p.data.cpu().clone() for n, p in model.named_parameters() if p.requires_grad}"},
    "starts from infinity, a list in the end": {"better": "loss < (best or {'loss': float('inf')})['loss']",
                                                "result": "[best, not best['bad'] < patience]"},
    "dict(best, bad=...)": {"worse": "best = dict(best, bad=1 + best['bad'])"},
}.items():
    right.cell("keep_best", why, KEEP.format(**{**KEPT, **part}))


# -- checkpoint -------------------------------------------------------------------------------------------------------

FILES = """
import os
def save_checkpoint(path, model, optimizer, scheduler, progress):
    state = {{"model": {weights}, "optimizer": {optimizer}, "scheduler": {scheduler}, "random": {random},
             "progress": progress}}
    {write}
    {last}

def load_checkpoint(path, model, optimizer, scheduler):
    {missing}
    state = torch.load(path)
    {model_back}
    {optimizer_back}
    {scheduler_back}
    {random_back}
    return {returned}
"""
ALL = {"weights": "{name: p.detach() for name, p in model.named_parameters() if p.requires_grad}",
       "optimizer": "optimizer.state_dict()", "scheduler": "scheduler.state_dict()", "random": "resumable.random_states()",
       "write": "with open(f'{path}.new', 'wb') as file:\n        torch.save(state, file)\n        file.flush()\n"
                "        os.fsync(file.fileno())",
       "last": "os.replace(f'{path}.new', path)", "missing": "if not os.path.exists(path):\n        return None",
       "model_back": "model.load_state_dict(state['model'], strict=False)",
       "optimizer_back": "optimizer.load_state_dict(state['optimizer'])",
       "scheduler_back": "scheduler.load_state_dict(state['scheduler'])",
       "random_back": "resumable.set_random_states(state['random'])", "returned": "state['progress']"}
DIRECT = {"write": "torch.save(state, path)", "last": "pass"}
for why, part in {
    "writes over the old file": DIRECT,
    "writes over the old file in one go": {
        "write": "import io\n    memory_file = io.BytesIO()\n    torch.save(state, memory_file)\n"
                 "    with open(path, 'wb') as file:\n        file.write(memory_file.getvalue())\n        file.flush()\n"
                 "        os.fsync(file.fileno())",
        "last": "pass"},
    "removes the old file before the new one has its name": {
        "last": "os.path.exists(path) and os.remove(path)\n    os.rename(f'{path}.new', path)"},
    "copies the new file over the old one": {"last": "__import__('shutil').copyfile(f'{path}.new', path)"},
    "does not wait until the file is on the disk": {"write": "torch.save(state, f'{path}.new')"},
    "waits for the disk after the file has its name": {
        "write": "torch.save(state, f'{path}.new')",
        "last": "os.replace(f'{path}.new', path)\n    with open(path, 'rb') as file:\n        os.fsync(file.fileno())"},
    "waits for the disk while the file has its name already": {
        "last": "pass",
        "write": "with open(f'{path}.new', 'wb') as file:\n        torch.save(state, file)\n        file.flush()\n"
                 "        os.replace(f'{path}.new', path)\n        os.fsync(file.fileno())"},
    "waits for the disk before anything is written": {
        "write":
            "with open(f'{path}.new', 'wb') as file:\n        os.fsync(file.fileno())\n        torch.save(state, file)"},
    "writes into another folder, which may be on another disk": {
        "write": ALL["write"].replace("f'{path}.new'", "fresh", 1).replace("with", "fresh = os.path.join("
                 "tempfile.mkdtemp(), 'run.new')\n    with", 1), "last": "os.replace(fresh, path)"},
    "gives the old file another name first": {
        "last": "os.path.exists(path) and os.replace(path, f'{path}.old')\n    os.replace(f'{path}.new', path)\n"
                "    os.path.exists(f'{path}.old') and os.remove(f'{path}.old')"},
    "leaves a copy beside the file": {
        "last": "__import__('shutil').copyfile(f'{path}.new', f'{path}.copy')\n    os.replace(f'{path}.new', path)"},
    "forgets the gradients while it saves": {
        "last": "os.replace(f'{path}.new', path)\n    optimizer.zero_grad()"},
    "all weights, frozen ones too": {
        "weights": "model.state_dict()", "model_back": "model.load_state_dict(state['model'])"},
    "sets a seed where there is no file": {
        "missing": "if not os.path.exists(path):\n        torch.manual_seed(0)\n        return None"},
    "the new file never takes the old one's place": {"last": "pass"},
    "forgets the optimizer": {"optimizer_back": "pass"},
    "only the settings of the optimizer, not its numbers": {
        "optimizer_back": "optimizer.load_state_dict({**state['optimizer'], 'state': {}})"},
    "forgets the scheduler": {"scheduler_back": "pass"},
    "forgets the random states": {"random_back": "pass"},
    "only the random numbers of torch": {
        "random": "torch.get_rng_state()", "random_back": "torch.set_rng_state(state['random'])"},
    "sets a seed in place of the random states": {"random_back": "torch.manual_seed(0)"},
    "forgets the weights": {"model_back": "pass"},
    "only the weights of the last layer's matrix": {
        "weights": "{name: p.detach() for name, p in model.named_parameters() if p.requires_grad and p.ndim > 1}"},
    "the names in the file are not those of the model": {
        "weights": "{'model.' + name: p.detach() for name, p in model.named_parameters() if p.requires_grad}"},
    "fails where there is no file": {"missing": "pass"},
    "an empty dict where there is no file": {"missing": "if not os.path.exists(path):\n        return {}"},
    "returns all of the state": {"returned": "state"},
    "returns nothing": {"returned": "None"},
    "what is frozen learns after loading": {
        "model_back": "model.load_state_dict(state['model'], strict=False)\n    model.requires_grad_(True)"},
    "gives the path back after saving": {"last": "os.replace(f'{path}.new', path)\n    return path"},
    "draws random numbers while it saves": {"last": "torch.rand(1)\n    os.replace(f'{path}.new', path)"},
    "takes the step out of the caller's progress": {
        "last": "os.replace(f'{path}.new', path)\n    progress.clear()"},
    "puts the model into evaluation mode": {"last": "os.replace(f'{path}.new', path)\n    model.eval()"},
}.items():
    wrong.cell("checkpoint", why, FILES.format(**{**ALL, **part}))
wrong.cell("checkpoint", "calls the library's functions", """
def save_checkpoint(path, model, optimizer, scheduler, progress):
    resumable.save_checkpoint(path, model, optimizer, scheduler, progress)

def load_checkpoint(path, model, optimizer, scheduler):
    return resumable.load_checkpoint(path, model, optimizer, scheduler)
""")
wrong.cell("checkpoint", "the library writes the file", FILES.format(**{
    **ALL, "write": "from leaplm.whole_file import replacing",
    "last": "with replacing(path) as file:\n        torch.save(state, file)"}))
for why, part in {
    "the folder on the disk, too": {
        "last": "os.replace(f'{path}.new', path)\n    folder = os.open(os.path.dirname(path) or '.', os.O_RDONLY)\n"
                "    os.fsync(folder)\n    os.close(folder)"},
    "all of the disk": {"write": "torch.save(state, f'{path}.new')\n    os.sync()"},
    "with pathlib": {
        "write": "fresh = Path(path).with_suffix('.new')\n    torch.save(state, fresh)\n"
                 "    with open(fresh, 'rb+') as file:\n        os.fsync(file.fileno())",
        "last": "fresh.replace(path)", "missing": "if not Path(path).is_file():\n        return None"},
    "a temporary file in the same folder, then os.rename": {
        "write": "with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), delete=False) as file:\n"
                 "        torch.save(state, file)\n        file.flush()\n        os.fsync(file.fileno())",
        "last": "os.rename(file.name, path)"},
    "random states by hand": {
        "random": "[torch.get_rng_state(), [*np.random.get_state()[:1], np.random.get_state()[1].tolist(), "
                  "*np.random.get_state()[2:]], __import__('random').getstate()]",
        "random_back": "torch.set_rng_state(state['random'][0]); np.random.set_state(tuple(state['random'][1])); "
                       "__import__('random').setstate(state['random'][2])"},
    "the weights as copies, put back one by one": {
        "weights": "{n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}",
        "model_back": "[model.get_parameter(n).data.copy_(w) for n, w in state['model'].items()]"},
}.items():
    right.cell("checkpoint", why, FILES.format(**{**ALL, **part}))


# -- train_resumable --------------------------------------------------------------------------------------------------

LOOP = """
import math
def train_resumable(model, optimizer, scheduler, rows, collate, evaluate, path, epochs=5, batch_size=8, part_size=4,
                    patience=2, save_every=5, seed=0):
    {seed}
    steps = {steps}
    run = {load} or {{
        "step": 0, "stop": False, "best": None, "scaler": {{"scale": 2.0**16, "good": 0}},
        "history": {{"loss": [], "scale": [], "validation": []}}}}
    {begun}
    while {going}:
        epoch, place = divmod(run["step"], steps)
        order = {order}
        batch = {batch}
        parts = {parts}
        {mode}
        loss, made, run["scaler"] = {step}
        {schedule}
        run["history"]["loss"].append({loss})
        run["history"]["scale"].append(run["scaler"]["scale"])
        run["step"] += 1
        {before}
        if run["step"] % steps == 0:
            run["history"]["validation"].append(evaluate(model))
            run["best"], run["stop"] = resumable.keep_best(model, run["history"]["validation"][-1], run["best"], {patience})
        {save}
    {end}
    return run["history"]
"""
SAVE = "resumable.save_checkpoint(path, model, optimizer, scheduler, {})"
EACH = "if run['step'] % save_every == 0:\n            " + SAVE
RIGHT = {"seed": "runtime.set_seed(seed)", "steps": "math.ceil(len(rows) / batch_size)",
         "load": "resumable.load_checkpoint(path, model, optimizer, scheduler)", "begun": "",
         "going": "run['step'] < epochs * steps and not run['stop']",
         "order": "torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + epoch)).tolist()",
         "batch": "[rows[i] for i in order[place * batch_size : (place + 1) * batch_size]]",
         "parts": "[collate(batch[i : i + part_size]) for i in range(0, len(batch), part_size)]", "mode": "model.train()",
         "step": "resumable.scaled_step(model, parts, optimizer, run['scaler'])", "patience": "patience",
         "schedule": "scheduler.step() if made else None", "loss": "loss", "before": "",
         "save": EACH.format("run"), "end": "model.load_state_dict(run['best']['weights'], strict=False)"}
for why, part in {
    "never loads the file": {"load": "None"},
    "never saves": {"save": ""},
    "saves only at the end of an epoch": {"save": "if run['step'] % steps == 0:\n            " + SAVE.format("run")},
    "saves after each update, whatever `save_every` says": {"save": SAVE.format("run")},
    "saves before it evaluates": {"before": EACH.format("run"), "save": ""},
    "sets the seed after loading": {"seed": "", "begun": "runtime.set_seed(seed)"},
    "sets no seed": {"seed": ""},
    "seeds in each update": {"mode": "model.train(); runtime.set_seed(seed)"},
    "the scaler begins anew": {"begun": "run['scaler'] = {'scale': 2.0**16, 'good': 0}"},
    "the best weights begin anew": {"begun": "run['best'] = None"},
    "the history begins anew": {"begun": "run['history'] = {'loss': [], 'scale': [], 'validation': []}"},
    "begins the epoch anew": {"begun": "run['step'] -= run['step'] % steps"},
    "goes on with the update that it has made already": {"begun": "run['step'] = max(0, run['step'] - 1)"},
    "that it has stopped is not in the file": {"begun": "run['stop'] = False"},
    "evaluation mode after the first epoch": {"mode": ""},
    "one order for all epochs": {
        "order": "torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()"},
    "the order from the random numbers of the program": {"order": "torch.randperm(len(rows)).tolist()"},
    "never shuffles": {"order": "list(range(len(rows)))"},
    "drops the last batch": {"steps": "len(rows) // batch_size"},
    "batches overlap": {"batch": "[rows[i] for i in order[place : place + batch_size]]"},
    "no parts": {"parts": "[collate(batch)]"},
    "so many parts, not of such a size": {
        "parts": "[collate(batch[i::part_size]) for i in range(part_size) if batch[i::part_size]]"},
    "the schedule goes on after a step left out": {"schedule": "scheduler.step()"},
    "the schedule goes on once an epoch": {"schedule": "scheduler.step() if made and place == steps - 1 else None"},
    "no schedule": {"schedule": ""},
    "the last weights, not the best": {"end": ""},
    "the patience is always 2": {"patience": "2"},
    "the seed is always 0": {"seed": "runtime.set_seed(0)"},
    "training mode only once": {"begun": "model.train()", "mode": ""},
    "steps without a scale": {
        "mode": "model.train(); optimizer.zero_grad(); kept = run['scaler']",
        "schedule": "scheduler.step()", "step": "(memory.accumulate_gradients(model, parts), True, kept); optimizer.step()"},
    "never stops early": {"going": "run['step'] < epochs * steps"},
    "one epoch too few": {"going": "run['step'] < max(1, (epochs - 1) * steps) and not run['stop']"},
    "the sum of the losses so far": {"loss": "loss + sum(run['history']['loss'])"},
    "removes the file at the end": {
        "end": "model.load_state_dict(run['best']['weights'], strict=False)\n    Path(path).unlink(missing_ok=True)"},
}.items():
    wrong.cell("train_resumable", why, LOOP.format(**{**RIGHT, **part}))
AT_THE_END = LOOP.format(**{**RIGHT, "save": ""}).replace("    while", "    try:\n     while").replace(
    "    model.load", f"    finally:\n        {SAVE.format('run')}\n    model.load")
wrong.cell("train_resumable", "saves as it ends, which a power cut does not wait for", AT_THE_END)
wrong.cell("train_resumable", "calls the library's function", """
def train_resumable(*args, **kwargs):
    return resumable.train_resumable(*args, **kwargs)
""")
for why, part in {
    "its own steps": {"load": "load_checkpoint(path, model, optimizer, scheduler)",
                      "save": EACH.format("run").replace("resumable.", "")},
    "torch.manual_seed, and math without ceil": {"seed": "torch.manual_seed(seed)", "steps": "-(-len(rows) // batch_size)"},
    "torch.split for the parts": {
        "parts": "[collate([rows[i] for i in part]) for part in torch.tensor(order[place * batch_size : (place + 1) * "
                 "batch_size]).split(part_size)]"},
    "saves after each evaluation, too": {
        "save": "if run['step'] % save_every == 0 or run['step'] % steps == 0:\n            " + SAVE.format("run")},
    "copies of the dict in the file": {"save": EACH.format("dict(run)")},
    "the weights put back by hand": {
        "end": "for name, weight in run['best']['weights'].items():\n        model.get_parameter(name).data.copy_(weight)"},
}.items():
    right.cell("train_resumable", why, LOOP.format(**{**RIGHT, **part}))


@right("train_resumable", "two loops, the first batches left out; a function for saving")
def in_two_loops(model, optimizer, scheduler, rows, collate, evaluate, path, epochs=5, batch_size=8, part_size=4, patience=2,
                 save_every=5, seed=0):
    runtime.set_seed(seed)
    state = resumable.load_checkpoint(path, model, optimizer, scheduler)
    if state is None:
        state = {"done": 0, "best": None, "stop": False, "scaler": {"scale": 65536.0, "good": 0},
                 "loss": [], "scale": [], "validation": []}
    count = 0
    for epoch in range(epochs):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + epoch))
        chunks = order.split(batch_size)
        for number, chunk in enumerate(chunks, 1):
            count += 1
            if state["stop"] or count <= state["done"]:
                continue
            model.train()
            parts = [collate([rows[i] for i in some.tolist()]) for some in chunk.split(part_size)]
            loss, made, state["scaler"] = resumable.scaled_step(model, parts, optimizer, state["scaler"])
            if made:
                scheduler.step()
            state["done"] = count
            state["loss"].append(loss)
            state["scale"].append(state["scaler"]["scale"])
            if number == len(chunks):
                value = evaluate(model)
                state["validation"].append(value)
                state["best"], state["stop"] = resumable.keep_best(model, value, state["best"], patience)
            if count % save_every == 0:
                resumable.save_checkpoint(path, model, optimizer, scheduler, state)
    model.load_state_dict(state["best"]["weights"], strict=False)
    return {name: state[name] for name in ("loss", "scale", "validation")}


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


@wrong.artifact("few_label_classifier", "a model that was never trained: its head has random numbers")
def random_head(trained):
    import torch

    def draw(tensor):
        return torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1))

    return {name: changed(content, lambda n, t: draw(t) if n.startswith("classifier") else None)
            for name, content in trained.items()}


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
    """An artifact's bytes again, its tensors changed, or left out, and its card."""
    import json

    from leaplm.artifacts import CARD, read_artifact
    from safetensors.torch import save

    card, tensors = read_artifact(content)
    tensors = {name: change(name, tensor.clone()) for name, tensor in tensors.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}
    return save(tensors, metadata={CARD: json.dumps({**card, **card_changes})})
