"""Bank of lab 2: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, nn, np, data, artifacts, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: B006, F821, B905, B035

# -- collate ----------------------------------------------------------------------------------------------------------


@wrong("collate", "pads every batch to 128 tokens")
def padded_to_128(rows, pad_token_id):
    ids = [row["input_ids"] + [pad_token_id] * (128 - len(row["input_ids"])) for row in rows]
    mask = [[1] * len(row["input_ids"]) + [0] * (128 - len(row["input_ids"])) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask),
            "labels": torch.tensor([row["label"] for row in rows])}


@wrong("collate", "makes the mask by comparing with the padding id")
def mask_from_ids(rows, pad_token_id):
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [pad_token_id] * (longest - len(row["input_ids"])) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != pad_token_id).long(),
            "labels": torch.tensor([row["label"] for row in rows])}


@wrong("collate", "always pads with 0")
def pads_with_zero(rows, pad_token_id):
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row["input_ids"]) for row in rows], batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones(len(row["input_ids"])) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": torch.tensor([row["label"] for row in rows])}


@wrong("collate", "pads on the left")
def pads_left(rows, pad_token_id):
    longest = max(len(row["input_ids"]) for row in rows)
    ids = [[pad_token_id] * (longest - len(row["input_ids"])) + row["input_ids"] for row in rows]
    mask = [[0] * (longest - len(row["input_ids"])) + [1] * len(row["input_ids"]) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask),
            "labels": torch.tensor([row["label"] for row in rows])}


@wrong("collate", "cuts all texts to the shortest")
def cut_to_shortest(rows, pad_token_id):
    shortest = min(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"][:shortest] for row in rows])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids),
            "labels": torch.tensor([row["label"] for row in rows])}


@wrong("collate", "the mask is 1 everywhere")
def mask_of_ones(rows, pad_token_id):
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [pad_token_id] * (longest - len(row["input_ids"])) for row in rows])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids),
            "labels": torch.tensor([row["label"] for row in rows])}


@right("collate", "with pad_sequence")
def with_pad_sequence(rows, pad_token_id):
    pad = nn.utils.rnn.pad_sequence
    ids = pad([torch.tensor(row["input_ids"]) for row in rows], batch_first=True, padding_value=pad_token_id)
    mask = pad([torch.ones(len(row["input_ids"]), dtype=torch.long) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["label"] for row in rows])}


@right("collate", "fills a full tensor row by row, with a boolean mask")
def filled(rows, pad_token_id):
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), pad_token_id)
    for i, row in enumerate(rows):
        ids[i, : lengths[i]] = torch.tensor(row["input_ids"])
    mask = torch.arange(ids.shape[1])[None] < lengths[:, None]
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["label"] for row in rows])}


@right("collate", "with numpy, turned into tensors at the end")
def collated_in_numpy(rows, pad_token_id):
    longest = max(len(row["input_ids"]) for row in rows)
    ids, mask = np.full((len(rows), longest), pad_token_id), np.zeros((len(rows), longest), dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row["input_ids"])], mask[i, : len(row["input_ids"])] = row["input_ids"], 1
    labels = np.array([row["label"] for row in rows])
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "labels": torch.from_numpy(labels)}


@right("collate", "column by column, with zip_longest")
def collated_by_columns(rows, pad_token_id):
    from itertools import zip_longest
    ids = zip(*zip_longest(*[row["input_ids"] for row in rows], fillvalue=pad_token_id))
    mask = zip(*zip_longest(*[[1] * len(row["input_ids"]) for row in rows], fillvalue=0))
    return {"input_ids": torch.tensor(list(ids)), "attention_mask": torch.tensor(list(mask)),
            "labels": torch.tensor([row["label"] for row in rows])}


@wrong("collate", "returns Python lists, which the model refuses")
def collated_lists(rows, pad_token_id):
    longest = max(len(row["input_ids"]) for row in rows)
    return {"input_ids": [row["input_ids"] + [pad_token_id] * (longest - len(row["input_ids"])) for row in rows],
            "attention_mask": [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows],
            "labels": [row["label"] for row in rows]}


@wrong("collate", "the ids are numbers with a fraction")
def collated_floats(rows, pad_token_id):
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.full((len(rows), longest), float(pad_token_id))
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        mask[i, : len(row["input_ids"])] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["label"] for row in rows])}


@wrong("collate", "the labels are numbers with a fraction, which the loss refuses")
def float_labels(rows, pad_token_id):
    pad = nn.utils.rnn.pad_sequence
    ids = pad([torch.tensor(row["input_ids"]) for row in rows], batch_first=True, padding_value=pad_token_id)
    mask = pad([torch.ones(len(row["input_ids"]), dtype=torch.long) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([float(row["label"]) for row in rows])}


@wrong("collate", "lengthens the caller's rows")
def lengthens_rows(rows, pad_token_id):
    longest = max(len(row["input_ids"]) for row in rows)
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
    for row in rows:
        row["input_ids"] += [pad_token_id] * (longest - len(row["input_ids"]))
    return {"input_ids": torch.tensor([row["input_ids"] for row in rows]), "attention_mask": mask,
            "labels": torch.tensor([row["label"] for row in rows])}


@wrong("collate", "calls the library's collator")
def librarys_collator(rows, pad_token_id):
    return data.DynamicPaddingCollator(pad_token_id)(rows)


@wrong("collate", "puts the longest rows first")
def longest_first(rows, pad_token_id):
    rows = sorted(rows, key=lambda row: -len(row["input_ids"]))
    longest = len(rows[0]["input_ids"])
    return {"input_ids": torch.tensor([r["input_ids"] + [pad_token_id] * (longest - len(r["input_ids"])) for r in rows]),
            "attention_mask": torch.tensor([[i < len(r["input_ids"]) for i in range(longest)] for r in rows]).long(),
            "labels": torch.tensor([r["label"] for r in rows])}


# -- losses -----------------------------------------------------------------------------------------------------------


@wrong("binary_cross_entropy", "overflows: the logarithm of a sigmoid")
def log_of_sigmoid(logits, targets):
    p = torch.sigmoid(logits)
    return -(targets * torch.log(p) + (1 - targets) * torch.log(1 - p)).mean()


@wrong("binary_cross_entropy", "takes the sum over the batch")
def binary_sum(logits, targets):
    return nn.functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="sum")


@wrong("binary_cross_entropy", "forgets the sigmoid")
def no_sigmoid(logits, targets):
    p = logits.clamp(1e-6, 1 - 1e-6)
    return -(targets * torch.log(p) + (1 - targets) * torch.log(1 - p)).mean()


@wrong("binary_cross_entropy", "the two targets are swapped")
def swapped(logits, targets):
    return (targets * nn.functional.softplus(logits) + (1 - targets) * nn.functional.softplus(-logits)).mean()


@wrong("binary_cross_entropy", "only the positive texts count")
def positives_only(logits, targets):
    return (targets * nn.functional.softplus(-logits)).mean()


@wrong("binary_cross_entropy", "clips the probabilities, so that large losses are cut off")
def clipped_probabilities(logits, targets):
    p = torch.sigmoid(logits).clamp(1e-7, 1 - 1e-7)
    return -(targets * torch.log(p) + (1 - targets) * torch.log(1 - p)).mean()


@right("binary_cross_entropy", "with logsigmoid")
def with_logsigmoid(logits, targets):
    y = targets.float()
    return -(y * nn.functional.logsigmoid(logits) + (1 - y) * nn.functional.logsigmoid(-logits)).mean()


@right("binary_cross_entropy", "the stable form max(z, 0) - z y + log(1 + exp(-|z|))")
def stable_form(logits, targets):
    return (logits.clamp(min=0) - logits * targets + torch.log1p(torch.exp(-logits.abs()))).mean()


@wrong("binary_cross_entropy", "returns a Python number, from which nothing can learn")
def binary_as_float(logits, targets):
    return float(nn.functional.softplus(torch.where(targets == 1, -logits, logits)).mean())


@right("binary_cross_entropy", "with logaddexp")
def with_logaddexp(logits, targets):
    signed = torch.where(targets == 1, -logits, logits)
    return torch.logaddexp(torch.zeros_like(signed), signed).mean()


@right("binary_cross_entropy", "as two classes, whose first logit is 0")
def as_two_classes(logits, targets):
    both = torch.stack([torch.zeros_like(logits), logits], dim=1)
    return (torch.logsumexp(both, dim=1) - both[torch.arange(len(targets)), targets]).mean()


@wrong("binary_cross_entropy", "calls PyTorch's function")
def calls_pytorchs_binary(logits, targets):
    return nn.functional.binary_cross_entropy_with_logits(logits, targets.float())


@wrong("binary_cross_entropy", "calls PyTorch's module")
def calls_pytorchs_binary_module(logits, targets):
    return nn.BCEWithLogitsLoss()(logits, targets.float())


@wrong("binary_cross_entropy", "makes a new tensor, from which no gradient flows")
def new_tensor(logits, targets):
    losses = nn.functional.softplus(torch.where(targets == 1, -logits, logits))
    return torch.tensor(losses.tolist()).mean()


@wrong("binary_cross_entropy", "changes the logits of the caller")
def changes_logits(logits, targets):
    logits[targets == 1] *= -1
    return nn.functional.softplus(logits).mean()


@wrong("cross_entropy", "calls PyTorch's function")
def calls_pytorchs(logits, labels):
    return nn.functional.cross_entropy(logits, labels)


@wrong("cross_entropy", "calls PyTorch's function under another name")
def calls_pytorchs_by_name(logits, labels):
    return getattr(torch.nn.functional, "cross_" + "entropy")(logits, labels)


@wrong("cross_entropy", "calls PyTorch's module")
def calls_pytorchs_module(logits, labels):
    return nn.CrossEntropyLoss()(logits, labels)


@wrong("cross_entropy", "returns a Python number, from which nothing can learn")
def number_only(logits, labels):
    return (torch.logsumexp(logits, dim=-1) - logits[torch.arange(len(labels)), labels]).mean().item()


@right("cross_entropy", "text by text, in a loop")
def text_by_text(logits, labels):
    return sum(torch.logsumexp(row, dim=0) - row[label] for row, label in zip(logits, labels)) / len(labels)


@wrong("cross_entropy", "overflows: softmax, then the logarithm")
def softmax_then_log(logits, labels):
    e = torch.exp(logits)
    p = e / e.sum(dim=-1, keepdim=True)
    return -torch.log(p[torch.arange(len(labels)), labels]).mean()


@wrong("cross_entropy", "takes the sum over the batch")
def summed_losses(logits, labels):
    return (torch.logsumexp(logits, dim=-1) - logits[torch.arange(len(labels)), labels]).sum()


@wrong("cross_entropy", "averages over classes too")
def mean_over_classes(logits, labels):
    hot = nn.functional.one_hot(labels, logits.shape[-1])
    return -(hot * torch.log_softmax(logits, dim=-1)).mean()


@wrong("cross_entropy", "softmax over the batch instead of the classes")
def wrong_dimension(logits, labels):
    return -torch.log_softmax(logits, dim=0)[torch.arange(len(labels)), labels].mean()


@wrong("cross_entropy", "forgets the logsumexp")
def only_the_logit(logits, labels):
    return -logits[torch.arange(len(labels)), labels].mean()


@right("cross_entropy", "with gather and log_softmax")
def with_gather(logits, labels):
    return -torch.log_softmax(logits, dim=-1).gather(1, labels[:, None]).mean()


@right("cross_entropy", "subtracts the largest logit first")
def subtracts_largest(logits, labels):
    shifted = logits - logits.max(dim=-1, keepdim=True).values
    losses = torch.log(torch.exp(shifted).sum(dim=-1)) - shifted[torch.arange(len(labels)), labels]
    return losses.mean()


@right("cross_entropy", "with one-hot targets")
def with_one_hot(logits, labels):
    hot = nn.functional.one_hot(labels, logits.shape[-1])
    return -(hot * torch.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


@wrong("cross_entropy", "no gradient through the normalising sum")
def half_gradient(logits, labels):
    return (logits.detach().logsumexp(1) - logits[torch.arange(len(labels)), labels]).mean()


@wrong("binary_cross_entropy", "no gradient through the softplus")
def linear_gradient(logits, targets):
    return (nn.functional.softplus(logits.detach()) - targets * logits).mean()


# -- clip_gradients ---------------------------------------------------------------------------------------------------


@wrong("clip_gradients", "clips each parameter by its own norm")
def each_alone(model, max_norm):
    norms = []
    for p in model.parameters():
        if p.grad is not None:
            norms.append(p.grad.norm())
            p.grad *= min(1.0, max_norm / (norms[-1].item() + 1e-6))
    return torch.stack(norms).norm().item()


@wrong("clip_gradients", "clips each number to the limit")
def clips_each_number(model, max_norm):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = sum(g.pow(2).sum().item() for g in gradients) ** 0.5
    for g in gradients:
        g.clamp_(-max_norm, max_norm)
    return norm


@wrong("clip_gradients", "scales every gradient to the limit, small ones too")
def always_to_the_limit(model, max_norm):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = sum(g.pow(2).sum().item() for g in gradients) ** 0.5
    for g in gradients:
        g *= max_norm / (norm + 1e-6)
    return norm


@wrong("clip_gradients", "adds up the norms of the parameters")
def sum_of_norms(model, max_norm):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = sum(g.norm().item() for g in gradients)
    for g in gradients:
        g *= min(1.0, max_norm / (norm + 1e-6))
    return norm


@wrong("clip_gradients", "forgets the root")
def square_of_the_norm(model, max_norm):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = sum(g.pow(2).sum().item() for g in gradients)
    for g in gradients:
        g *= min(1.0, max_norm / (norm + 1e-6))
    return norm


@wrong("clip_gradients", "returns the norm after clipping")
def norm_after(model, max_norm):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = sum(g.pow(2).sum().item() for g in gradients) ** 0.5
    for g in gradients:
        g *= min(1.0, max_norm / (norm + 1e-6))
    return sum(g.pow(2).sum().item() for g in gradients) ** 0.5


@wrong("clip_gradients", "makes new tensors, so that the gradients stay as they are")
def not_in_place(model, max_norm):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = sum(g.pow(2).sum().item() for g in gradients) ** 0.5
    for g in gradients:
        g = g * min(1.0, max_norm / (norm + 1e-6))
    return norm


@wrong("clip_gradients", "clips the weights in place of the gradients")
def clips_weights(model, max_norm):
    with torch.no_grad():
        norm = sum(p.pow(2).sum().item() for p in model.parameters()) ** 0.5
        for p in model.parameters():
            p *= min(1.0, max_norm / (norm + 1e-6))
    return norm


@wrong("clip_gradients", "fails where a parameter has no gradient")
def needs_all_gradients(model, max_norm):
    norm = sum(p.grad.pow(2).sum().item() for p in model.parameters()) ** 0.5
    for p in model.parameters():
        p.grad *= min(1.0, max_norm / (norm + 1e-6))
    return norm


@wrong("clip_gradients", "not a number where all gradients are 0")
def nan_at_zero(model, max_norm):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.sqrt(sum(g.pow(2).sum() for g in gradients))
    for g in gradients:
        g.copy_(g / norm * torch.minimum(norm, torch.tensor(max_norm)))
    return norm.item()


@wrong("clip_gradients", "calls PyTorch's function")
def calls_pytorchs_clipping(model, max_norm):
    return nn.utils.clip_grad_norm_(model.parameters(), max_norm).item()


@wrong("clip_gradients", "the gradients of the model's own parameters alone, not of those in its layers")
def of_no_layers(model, max_norm):
    gradients = [p.grad for p in model.parameters(recurse=False) if p.grad is not None]
    norm = sum(g.pow(2).sum().item() for g in gradients) ** 0.5
    for g in gradients:
        g.mul_(min(1.0, max_norm / (norm + 1e-6)))
    return norm


@wrong("clip_gradients", "the last layer alone")
def of_the_last_layer(model, max_norm):
    gradients = [p.grad for p in model.parameters() if p.grad is not None][-2:]
    norm = sum(g.pow(2).sum().item() for g in gradients) ** 0.5
    for g in gradients:
        g.mul_(min(1.0, max_norm / (norm + 1e-6)))
    return norm


@wrong("clip_gradients", "ends at the first parameter without a gradient")
def ends_at_none(model, max_norm):
    gradients = []
    for p in model.parameters():
        if p.grad is None:
            break
        gradients.append(p.grad)
    norm = sum(g.pow(2).sum().item() for g in gradients) ** 0.5
    for g in gradients:
        g.mul_(min(1.0, max_norm / (norm + 1e-6)))
    return norm


@right("clip_gradients", "the norm of the norms, a clamped factor, a tensor with one number comes back")
def norm_of_norms(model, max_norm):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack([g.norm() for g in gradients]).norm()
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(factor)
    return norm


@right("clip_gradients", "all gradients in one long vector")
def one_long_vector(model, max_norm):
    with_gradient = [p for p in model.parameters() if p.grad is not None]
    norm = float(torch.cat([p.grad.flatten() for p in with_gradient]).norm())
    if norm > max_norm:
        for p in with_gradient:
            p.grad = p.grad * (max_norm / norm)
    return norm


@right("clip_gradients", "number by number, in numpy")
def squares_in_numpy(model, max_norm):
    squares = 0.0
    for p in model.parameters():
        if p.grad is not None:
            squares += float(np.square(p.grad.numpy(), dtype=np.float64).sum())
    norm = np.sqrt(squares)
    factor = 1.0 if norm <= max_norm else max_norm / norm
    for p in model.parameters():
        if p.grad is not None:
            p.grad *= factor
    return norm


@right("clip_gradients", "with torch.linalg and a division")
def divides(model, max_norm):
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p.grad) for p in model.parameters()
                                                 if p.grad is not None]))
    for p in model.parameters():
        if p.grad is not None:
            p.grad.div_(torch.clamp(norm / max_norm, min=1.0))
    return norm.item()


# -- training_step ----------------------------------------------------------------------------------------------------

STEP = """
def training_step(model, batches, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    texts = sum(len(batch["labels"]) for batch in batches)
    total = 0.0
    for batch in batches:
        loss = model(**batch).loss * len(batch["labels"]) / texts
        loss.backward()
        total += loss.item()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    return total
"""


def changed(source, *pairs):
    """A right source with something else at one place, or at some: (what stands there, what comes in its place)."""
    for old, new in pairs:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


wrong.cell("training_step", "never forgets the old gradients", changed(STEP, ("    optimizer.zero_grad()\n", "")))
wrong.cell("training_step", "forgets the gradients at the end only, so those that were there count once",
           changed(STEP, ("    optimizer.zero_grad()\n", ""), ("    return total",
               "    optimizer.zero_grad()\n    return total")))
wrong.cell("training_step", "forgets the gradients before each micro-batch, so only the last one counts",
           changed(STEP, ("        loss.backward()", "        optimizer.zero_grad()\n        loss.backward()")))
wrong.cell("training_step", "forgets the gradients after backward, so nothing moves",
           changed(STEP, ("    nn.utils.clip", "    optimizer.zero_grad()\n    nn.utils.clip")))
wrong.cell("training_step", "does not clip", changed(STEP, ("    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n", "")))
wrong.cell("training_step", "clips each value, not the norm",
           changed(STEP, ("clip_grad_norm_(model.parameters(), 1.0)", "clip_grad_value_(model.parameters(), 0.01)")))
wrong.cell("training_step", "clips the largest value (infinity norm), not the length",
           changed(STEP, ("parameters(), 1.0)", "parameters(), 1.0, norm_type=float('inf'))")))
wrong.cell("training_step", "clips behind each micro-batch",
           changed(STEP, ("    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n", ""),
                   ("        total += loss.item()\n",
                    "        total += loss.item()\n        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n")))
wrong.cell("training_step", "clips after the weights have moved",
           changed(STEP, ("    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n    optimizer.step()\n",
                          "    optimizer.step()\n    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n")))
wrong.cell("training_step", "scales every gradient to norm 1, small ones too",
           changed(STEP, ("    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n", """\
    norm = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters() if p.grad is not None))
    for p in model.parameters():
        if p.grad is not None:
            p.grad /= norm
""")))
wrong.cell("training_step", "adds up the mean losses of the micro-batches",
           changed(STEP, (' * len(batch["labels"]) / texts', "")))
wrong.cell("training_step", "every micro-batch weighs the same, whatever its size",
           changed(STEP, ('len(batch["labels"]) / texts', "1 / len(batches)")))
wrong.cell("training_step", "weighs the micro-batches by their tokens, not by their texts",
           changed(STEP, ('sum(len(batch["labels"]) for batch in batches)',
                          'sum(int(batch["attention_mask"].sum()) for batch in batches)'),
                   ('len(batch["labels"]) / texts', 'int(batch["attention_mask"].sum()) / texts')))
wrong.cell("training_step", "weighs the micro-batches by their tokens, padding too",
           changed(STEP, ('sum(len(batch["labels"]) for batch in batches)',
                          'sum(batch["input_ids"].numel() for batch in batches)'),
                   ('len(batch["labels"]) / texts', 'batch["input_ids"].numel() / texts')))
wrong.cell("training_step", "adds up the losses of the texts, without the division",
           changed(STEP, ('len(batch["labels"]) / texts', 'len(batch["labels"])')))
wrong.cell("training_step", "one update for each micro-batch",
           changed(STEP, ("        total += loss.item()\n",
                          "        total += loss.item()\n        optimizer.step()\n        optimizer.zero_grad()\n")))
wrong.cell("training_step", "the first micro-batch only", changed(STEP, ("for batch in batches:",
    "for batch in batches[:1]:")))
wrong.cell("training_step", "never moves the schedule", changed(STEP, ("    scheduler.step()\n", "")))
wrong.cell("training_step", "moves the schedule for each micro-batch",
           changed(STEP, ("    scheduler.step()\n", ""),
                   ("        total += loss.item()\n", "        total += loss.item()\n        scheduler.step()\n")))
wrong.cell("training_step", "moves the schedule before the weights",
           changed(STEP, ("    optimizer.step()\n    scheduler.step()\n", "    scheduler.step()\n    optimizer.step()\n")))
wrong.cell("training_step", "trains in evaluation mode", changed(STEP, ("    model.train()\n", "")))
wrong.cell("training_step", "turns to training mode after the forward pass",
           changed(STEP, ("    model.train()\n", ""), ("    return total", "    model.train()\n    return total")))
wrong.cell("training_step", "returns the loss after the update",
           changed(STEP, ("    return total", """\
    return sum(model(**b).loss.item() * len(b["labels"]) for b in batches) / texts""")))
wrong.cell("training_step", "returns the mean over micro-batches", changed(STEP, ("total += loss.item()",
           'total += loss.item() * texts / len(batch["labels"]) / len(batches)')))
wrong.cell("training_step", "returns the loss of the last micro-batch", changed(STEP, ("    return total",
    "    return loss.item()")))
wrong.cell("training_step", "returns a tensor that holds the whole graph",
           changed(STEP, ("total += loss.item()", "total = total + loss")))
wrong.cell("training_step", "takes the labels out of the caller's batches", changed(STEP, (
    'model(**batch).loss * len(batch["labels"]) / texts',
    'nn.functional.cross_entropy(model(**{k: v for k, v in batch.items() if k != "labels"}).logits, batch["labels"]) * '
    'len(batch.pop("labels")) / texts')))
wrong.cell("training_step", "calls the library's function", """
def training_step(model, batches, optimizer, scheduler):
    return training.training_step(model, batches, optimizer, scheduler)
""")
right.cell("training_step", "forgets the gradients at the end too, with the notebook's own clipping", changed(
    STEP, ("nn.utils.clip_grad_norm_(model.parameters(), 1.0)", "clip_gradients(model, 1.0)"),
    ("    return total", "    optimizer.zero_grad(set_to_none=True)\n    return float(total)")))


@right("training_step", "all losses first, one backward")
def one_backward(model, batches, optimizer, scheduler):
    model.train()
    model.zero_grad(set_to_none=True)
    losses = torch.stack([model(**batch).loss for batch in batches])
    sizes = torch.tensor([len(batch["labels"]) for batch in batches], dtype=torch.float32)
    loss = (losses * sizes).sum() / sizes.sum()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    scheduler.step()
    return loss.detach()


@right("training_step", "sums of the losses, and the gradients divided at the end")
def divides_at_the_end(model, batches, optimizer, scheduler):
    model.train()
    optimizer.zero_grad(set_to_none=False)
    total, texts = 0.0, 0
    for batch in batches:
        inputs = {name: part for name, part in batch.items() if name != "labels"}
        loss = nn.functional.cross_entropy(model(**inputs).logits, batch["labels"], reduction="sum")
        loss.backward()
        total, texts = total + loss.item(), texts + len(batch["labels"])
    for p in model.parameters():
        if p.grad is not None:
            p.grad /= texts
    nn.utils.clip_grad_norm_(list(model.parameters()), 1.0)
    optimizer.step()
    scheduler.step()
    return total / texts


@right("training_step", "clips each parameter by the norm of all, in a helper")
def with_helper(model, batches, optimizer, scheduler):
    def clip(parameters, most):
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        for p in parameters:
            p.grad.mul_((most / (norm + 1e-6)).clamp(max=1.0))

    model.train()
    for p in model.parameters():
        p.grad = None
    sizes = [batch["labels"].numel() for batch in batches]
    losses = []
    for batch, size in zip(batches, sizes):
        loss = model(**batch)["loss"]
        (loss * (size / sum(sizes))).backward()
        losses.append(loss.item())
    clip([p for p in model.parameters() if p.grad is not None], 1.0)
    optimizer.step()
    scheduler.step()
    return float(np.average(losses, weights=sizes))


# -- warmup_linear ----------------------------------------------------------------------------------------------------


@wrong("warmup_linear", "goes below 0 after the last step")
def goes_negative(step, total_steps, warmup_steps):
    if step < warmup_steps:
        return step / warmup_steps
    return (total_steps - step) / max(1, total_steps - warmup_steps)


@wrong("warmup_linear", "divides by zero without warm-up")
def divides_by_zero(step, total_steps, warmup_steps):
    return max(0.0, min(step / warmup_steps, (total_steps - step) / (total_steps - warmup_steps)))


@wrong("warmup_linear", "stays at 1 after the warm-up")
def constant_after(step, total_steps, warmup_steps):
    return min(1.0, step / max(1, warmup_steps))


@wrong("warmup_linear", "decays from step 0 on")
def decays_from_zero(step, total_steps, warmup_steps):
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (total_steps - step) / total_steps)


@wrong("warmup_linear", "counts the steps from 1")
def counts_from_one(step, total_steps, warmup_steps):
    step = step + 1
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))


@right("warmup_linear", "as the smaller of two lines")
def smaller_of_two(step, total_steps, warmup_steps):
    up = step / warmup_steps if warmup_steps > 0 else 1.0
    down = (total_steps - step) / (total_steps - warmup_steps)
    return max(0.0, min(1.0, up, down))


@right("warmup_linear", "with numpy's interpolation")
def interpolated(step, total_steps, warmup_steps):
    if warmup_steps == 0:
        return float(np.interp(step, [0, total_steps], [1.0, 0.0]))
    return float(np.interp(step, [0, warmup_steps, total_steps], [0.0, 1.0, 0.0]))


@right("warmup_linear", "with numpy's clip")
def clipped(step, total_steps, warmup_steps):
    down = np.clip((total_steps - step) / (total_steps - warmup_steps), 0, 1)
    return down if step >= warmup_steps else np.float64(step / warmup_steps)


@right("warmup_linear", "case by case, whole numbers where it can")
def case_by_case(step, total_steps, warmup_steps):
    if step >= total_steps:
        return 0
    if step < warmup_steps:
        return step / warmup_steps
    return 1 - (step - warmup_steps) / (total_steps - warmup_steps)


@wrong("warmup_linear", "calls the library's function")
def librarys_schedule(step, total_steps, warmup_steps):
    return training.warmup_linear(step, total_steps, warmup_steps)


@wrong("warmup_linear", "divides without a remainder")
def whole_division(step, total_steps, warmup_steps):
    if step < warmup_steps:
        return step // warmup_steps
    return max(0, (total_steps - step) // max(1, total_steps - warmup_steps))


@wrong("warmup_linear", "never reaches 0: divides by one step too many")
def one_too_many(step, total_steps, warmup_steps):
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (total_steps + 1 - step) / (total_steps + 1 - warmup_steps))


# -- scheduler --------------------------------------------------------------------------------------------------------

SCHEDULER = """
class Scheduler:
    def __init__(self, optimizer, total_steps, warmup_steps):
        self.optimizer, self.total_steps, self.warmup_steps = optimizer, total_steps, warmup_steps
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.update = 0
        self.step()

    def step(self):
        self.update += 1
        factor = warmup_linear(self.update, self.total_steps + 1, self.warmup_steps)
        for group, peak in zip(self.optimizer.param_groups, self.peaks):
            group["lr"] = peak * factor
"""

wrong.cell("scheduler", "multiplies the rate of the update before, not the peak", changed(SCHEDULER, ("peak * factor",
    'group["lr"] * factor')))
wrong.cell("scheduler", "one peak for all groups", changed(SCHEDULER, (", peak in zip", ", _ in zip"),
    ("peak * factor", "self.peaks[0] * factor")))
wrong.cell("scheduler", "sets the first group only", changed(SCHEDULER, ("zip(self.optimizer.param_groups",
    "zip(self.optimizer.param_groups[:1]")))
wrong.cell("scheduler", "the first update has the whole rate", changed(SCHEDULER, ("        self.step()\n", "")))
wrong.cell("scheduler", "the first update has the rate 0, counted from 0", changed(
    SCHEDULER, ("        self.update += 1\n", ""), ("* factor", "* factor\n        self.update += 1"),
        ("total_steps + 1,", "total_steps,")))
wrong.cell("scheduler", "the last update has the rate 0", changed(SCHEDULER, ("total_steps + 1,", "total_steps,")))
wrong.cell("scheduler", "one update late", changed(SCHEDULER, ("        self.update += 1\n", ""), ("* factor",
    "* factor\n        self.update += 1")))
wrong.cell("scheduler", "no warm-up", changed(SCHEDULER, (", self.warmup_steps)", ", 0)")))
wrong.cell("scheduler", "sets the factor as the rate", changed(SCHEDULER, ("peak * factor", "factor")))
wrong.cell("scheduler", "counts the updates of all schedulers together", changed(
    SCHEDULER, ("        self.update = 0\n", ""), ("class Scheduler:\n", "class Scheduler:\n    update = 0\n"),
    ("self.update += 1", "Scheduler.update += 1"), ("warmup_linear(self.update", "warmup_linear(Scheduler.update")))
wrong.cell("scheduler", "calls PyTorch's scheduler", """
def Scheduler(optimizer, total_steps, warmup_steps):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warmup_linear(s + 1, total_steps + 1, warmup_steps))
""")
wrong.cell("scheduler", "calls the library's function", """
def Scheduler(optimizer, total_steps, warmup_steps):
    config = training.TrainingConfig(warmup_ratio=warmup_steps / total_steps)
    return training.make_scheduler(optimizer, config, total_steps)
""")


@right("scheduler", "keeps the peak in each group", name="Scheduler")
class PeakInGroup:
    def __init__(self, optimizer, total_steps, warmup_steps):
        self.optimizer, self.factors = optimizer, [warmup_linear(k, total_steps + 1, warmup_steps)
                                                   for k in range(1, total_steps + 1)]
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
        self.k = -1
        self.step()

    def step(self):
        self.k += 1
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * (self.factors[self.k] if self.k < len(self.factors) else 0.0)


@right("scheduler", "with two straight lines of its own", name="Scheduler")
class OwnLines:
    def __init__(self, optimizer, total_steps, warmup_steps):
        self.groups = [(group, group["lr"]) for group in optimizer.param_groups]
        self.total, self.warmup, self.left = total_steps + 1, warmup_steps, total_steps + 1
        self.step()

    def step(self):
        self.left -= 1
        down = max(0, self.left) / (self.total - self.warmup)
        up = (self.total - self.left) / self.warmup if self.warmup else 1
        for group, peak in self.groups:
            group.update(lr=peak * min(up, down))


@right("scheduler", "with a generator", name="Scheduler")
class FromGenerator:
    def __init__(self, optimizer, total_steps, warmup_steps):
        def rates():
            peaks, k = [group["lr"] for group in optimizer.param_groups], 0
            while True:
                k += 1
                for group, peak in zip(optimizer.param_groups, peaks):
                    group["lr"] = peak * warmup_linear(k, total_steps + 1, warmup_steps)
                yield

        self.rates = rates()
        self.step()

    def step(self):
        next(self.rates)


right.cell("scheduler", "derived from PyTorch's base class", """
class Scheduler(torch.optim.lr_scheduler.LRScheduler):
    def __init__(self, optimizer, total_steps, warmup_steps):
        self.total_steps, self.warmup_steps = total_steps, warmup_steps
        super().__init__(optimizer)

    def get_lr(self):
        factor = warmup_linear(self.last_epoch + 1, self.total_steps + 1, self.warmup_steps)
        return [peak * factor for peak in self.base_lrs]
""")


# -- macro_f1 ---------------------------------------------------------------------------------------------------------


@wrong("macro_f1", "the accuracy (micro-F1)")
def micro_f1(labels, predictions):
    return (labels == predictions).float().mean().item()


@wrong("macro_f1", "leaves out classes that are only predicted")
def classes_of_labels(labels, predictions):
    scores = [2 * ((labels == c) & (predictions == c)).sum() / ((labels == c).sum() + (predictions == c).sum())
              for c in labels.unique()]
    return torch.stack(scores).mean().item()


@wrong("macro_f1", "leaves out classes that are never predicted")
def classes_of_predictions(labels, predictions):
    scores = [2 * ((labels == c) & (predictions == c)).sum() / ((labels == c).sum() + (predictions == c).sum())
              for c in predictions.unique()]
    return torch.stack(scores).mean().item()


@wrong("macro_f1", "counts all classes from 0 to the largest, also those that never occur")
def all_numbers(labels, predictions):
    scores = []
    for c in range(int(max(labels.max(), predictions.max())) + 1):
        seen = ((labels == c).sum() + (predictions == c).sum()).item()
        scores.append(2 * ((labels == c) & (predictions == c)).sum().item() / max(1, seen))
    return sum(scores) / len(scores)


@wrong("macro_f1", "two classes, 0 and 1, whatever occurs")
def two_classes(labels, predictions):
    scores = []
    for c in (0, 1):
        seen = ((labels == c).sum() + (predictions == c).sum()).item()
        scores.append(2 * ((labels == c) & (predictions == c)).sum().item() / max(1, seen))
    return sum(scores) / 2


@wrong("macro_f1", "forgets the factor 2")
def without_the_two(labels, predictions):
    scores = [((labels == c) & (predictions == c)).sum() / ((labels == c).sum() + (predictions == c).sum())
              for c in torch.cat([labels, predictions]).unique()]
    return torch.stack(scores).mean().item()


@wrong("macro_f1", "the recall of each class")
def mean_recall(labels, predictions):
    scores = [((labels == c) & (predictions == c)).sum().item() / max(1, (labels == c).sum().item())
              for c in torch.cat([labels, predictions]).unique()]
    return sum(scores) / len(scores)


@wrong("macro_f1", "the precision of each class")
def mean_precision(labels, predictions):
    scores = [((labels == c) & (predictions == c)).sum().item() / max(1, (predictions == c).sum().item())
              for c in torch.cat([labels, predictions]).unique()]
    return sum(scores) / len(scores)


@wrong("macro_f1", "F1 of the mean precision and the mean recall")
def f1_of_means(labels, predictions):
    classes = torch.cat([labels, predictions]).unique()
    hits = [((labels == c) & (predictions == c)).sum().item() for c in classes]
    p = sum(h / max(1, (predictions == c).sum().item()) for h, c in zip(hits, classes)) / len(classes)
    r = sum(h / max(1, (labels == c).sum().item()) for h, c in zip(hits, classes)) / len(classes)
    return 2 * p * r / (p + r) if p + r else 0.0


@wrong("macro_f1", "weights the classes by how many texts they have")
def weighted_f1(labels, predictions):
    total = 0.0
    for c in labels.unique():
        seen = ((labels == c).sum() + (predictions == c).sum()).item()
        total += (labels == c).sum().item() * 2 * ((labels == c) & (predictions == c)).sum().item() / seen
    return total / len(labels)


@wrong("macro_f1", "fails where a class has no hit")
def divides_by_no_hits(labels, predictions):
    scores = []
    for c in torch.cat([labels, predictions]).unique():
        hits = ((labels == c) & (predictions == c)).sum().item()
        p, r = hits / (predictions == c).sum().item(), hits / (labels == c).sum().item()
        scores.append(2 * p * r / (p + r))
    return sum(scores) / len(scores)


@wrong("macro_f1", "calls the library's function")
def librarys_macro_f1(labels, predictions):
    return evaluation.macro_f1(labels, predictions)


@right("macro_f1", "by precision and recall")
def by_precision_and_recall(labels, predictions):
    scores = []
    for c in set(labels.tolist()) | set(predictions.tolist()):
        hits = int(((labels == c) & (predictions == c)).sum())
        p, r = hits / max(1, int((predictions == c).sum())), hits / max(1, int((labels == c).sum()))
        scores.append(0.0 if hits == 0 else 2 * p * r / (p + r))
    return float(np.mean(scores))


@right("macro_f1", "from the table of confusion, in numpy")
def from_the_table(labels, predictions):
    classes, places = np.unique(np.concatenate([labels.numpy(), predictions.numpy()]), return_inverse=True)
    table = np.zeros((len(classes), len(classes)))
    np.add.at(table, (places[: len(labels)], places[len(labels) :]), 1)
    return (2 * table.diagonal() / (table.sum(axis=0) + table.sum(axis=1))).mean()


@right("macro_f1", "with counters")
def with_counters(labels, predictions):
    from collections import Counter
    labels, predictions = labels.tolist(), predictions.tolist()
    hits = Counter(a for a, b in zip(labels, predictions) if a == b)
    seen = Counter(labels) + Counter(predictions)
    return sum(2 * hits[c] / seen[c] for c in seen) / len(seen)


@right("macro_f1", "with one-hot tensors, a tensor with one number comes back")
def with_hot_tensors(labels, predictions):
    classes = torch.cat([labels, predictions]).unique()
    true, found = (labels[:, None] == classes).float(), (predictions[:, None] == classes).float()
    return (2 * (true * found).sum(0) / (true.sum(0) + found.sum(0))).mean()


# -- evaluation_loop --------------------------------------------------------------------------------------------------

EVALUATION = """
def evaluation_loop(model, batches):
    model.eval()
    total, labels, predictions = 0.0, [], []
    with torch.no_grad():
        for batch in batches:
            output = model(**batch)
            total += output.loss.item() * len(batch["labels"])
            labels.append(batch["labels"])
            predictions.append(output.logits.argmax(dim=-1))
    labels, predictions = torch.cat(labels), torch.cat(predictions)
    accuracy = (labels == predictions).float().mean().item()
    return {"loss": total / len(labels), "accuracy": accuracy, "macro_f1": evaluation.macro_f1(labels, predictions)}
"""

wrong.cell("evaluation_loop", "dropout stays on", changed(EVALUATION, ("    model.eval()\n", "")))
wrong.cell("evaluation_loop", "the mean of the batch means", changed(
    EVALUATION, (' * len(batch["labels"])', ""), ("total / len(labels)", "total / len(batches)")))
wrong.cell("evaluation_loop", "macro-F1 averaged over batches", changed(
    EVALUATION, ("evaluation.macro_f1(labels, predictions)", "float(np.mean(scores))"),
    ("total, labels, predictions = 0.0, [], []", "total, labels, predictions, scores = 0.0, [], [], []"),
    ("    labels, predictions = torch.cat", "            scores.append(evaluation.macro_f1(labels[-1], predictions[-1]))\n"
     "    labels, predictions = torch.cat")))
wrong.cell("evaluation_loop", "macro-F1 is the accuracy again", changed(EVALUATION, (
    "evaluation.macro_f1(labels, predictions)", "accuracy")))
wrong.cell("evaluation_loop", "keeps only the last batch", changed(
    EVALUATION, ("labels.append(batch[\"labels\"])", 'labels = [batch["labels"]]'),
    ("predictions.append(output.logits.argmax(dim=-1))", "predictions = [output.logits.argmax(dim=-1)]")))
wrong.cell("evaluation_loop", "the class with the smallest logit", changed(EVALUATION, ("argmax", "argmin")))
wrong.cell("evaluation_loop", "the largest logit of each batch's columns", changed(
    EVALUATION, ("output.logits.argmax(dim=-1)", "output.logits.argmax(dim=0)[output.logits.argmax(dim=-1)]")))
wrong.cell("evaluation_loop", "returns the sum of the losses", changed(EVALUATION, ("total / len(labels)", "total")))
wrong.cell("evaluation_loop", "weights the losses by tokens in place of texts", changed(
    EVALUATION, ('output.loss.item() * len(batch["labels"])', 'output.loss.item() * int(batch["attention_mask"].sum())'),
    ("total / len(labels)", 'total / sum(int(batch["attention_mask"].sum()) for batch in batches)')))
wrong.cell("evaluation_loop", "accuracy in percent", changed(EVALUATION, (".float().mean().item()",
    ".float().mean().item() * 100")))
wrong.cell("evaluation_loop", "keeps gradients on, which takes time and memory",
           changed(EVALUATION, ("with torch.no_grad():", "if True:")))
wrong.cell("evaluation_loop", "switches gradients off for the whole program",
           changed(EVALUATION, ("with torch.no_grad():", "torch.set_grad_enabled(False)\n    if True:")))
wrong.cell("evaluation_loop", "takes the labels out of the caller's batches", changed(
    EVALUATION, ('labels.append(batch["labels"])', 'labels.append(batch.pop("labels"))')))
wrong.cell("evaluation_loop", "texts pile up in lists that are defaults", changed(
    EVALUATION, ("(model, batches)", "(model, batches, labels=[], predictions=[])"),
    ("total, labels, predictions = 0.0, [], []", "total = 0.0"),
    ("labels, predictions = torch.cat(labels), torch.cat(predictions)",
        "all_labels, found = torch.cat(labels), torch.cat(predictions)"),
    ("(labels == predictions)", "(all_labels == found)"), ("len(labels)", "len(all_labels)"),
    ("macro_f1(labels, predictions)", "macro_f1(all_labels, found)")))
wrong.cell("evaluation_loop", "keeps the texts of earlier calls in lists outside of the function", changed(
    EVALUATION, ("def evaluation_loop", "labels_seen, predictions_seen = [], []\n\n\ndef evaluation_loop"),
    ("total, labels, predictions = 0.0, [], []", "total, n, labels, predictions = 0.0, 0, labels_seen, predictions_seen"),
    ('            labels.append(batch["labels"])\n', '            labels.append(batch["labels"])\n'
     '            n += len(batch["labels"])\n'), ("total / len(labels)", "total / n")))
wrong.cell("evaluation_loop", "the sums of earlier calls stay in a default", changed(
    EVALUATION, ("(model, batches)", "(model, batches, sums=[0.0, 0])"), ("total, labels, predictions = 0.0, [], []",
        "labels, predictions = [], []"), ("            total += output.loss.item() * len(batch[\"labels\"])\n",
        "            sums[0] += output.loss.item() * len(batch[\"labels\"])\n"
        "            sums[1] += len(batch[\"labels\"])\n"),
    ("total / len(labels)", "sums[0] / sums[1]")))
wrong.cell("evaluation_loop", "chooses between the first two classes alone", changed(EVALUATION, (
    "output.logits.argmax(dim=-1)", "(output.logits[:, 1] > output.logits[:, 0]).long()")))
wrong.cell("evaluation_loop", "returns three numbers without names", changed(EVALUATION, (
    '{"loss": total / len(labels), "accuracy": accuracy, "macro_f1": evaluation.macro_f1(labels, predictions)}',
    "total / len(labels), accuracy, evaluation.macro_f1(labels, predictions)")))


@wrong("evaluation_loop", "trains on the batches")
def trains(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.eval()
    total, labels, predictions = 0.0, [], []
    for batch in batches:
        output = model(**batch)
        output.loss.backward()
        optimizer.step()
        total += output.loss.item() * len(batch["labels"])
        labels.append(batch["labels"])
        predictions.append(output.logits.argmax(dim=-1))
    labels, predictions = torch.cat(labels), torch.cat(predictions)
    return {"loss": total / len(labels), "accuracy": (labels == predictions).float().mean().item(),
            "macro_f1": macro_f1(labels, predictions)}


@right("evaluation_loop", "computes the loss once, from all logits")
def loss_from_logits(model, batches):
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(**{k: v for k, v in b.items() if k != "labels"}).logits for b in batches])
    labels = torch.cat([b["labels"] for b in batches])
    found = logits.argmax(dim=-1)
    return {"loss": nn.functional.cross_entropy(logits, labels).item(),
        "accuracy": (labels == found).sum().item() / len(labels),
            "macro_f1": macro_f1(labels, found)}


@right("evaluation_loop", "text by text, in lists, the mode put back")
def one_by_one(model, batches):
    before = model.training
    model.eval()
    losses, labels, found = [], [], []
    with torch.no_grad():
        for batch in batches:
            for i in range(len(batch["labels"])):
                output = model(**{k: v[i : i + 1] for k, v in batch.items()})
                losses.append(output.loss.item())
                labels.append(int(batch["labels"][i]))
                found.append(int(output.logits.argmax()))
    model.train(before)
    return {"loss": float(np.mean(losses)), "accuracy": np.mean(np.equal(labels, found)),
            "macro_f1": macro_f1(torch.tensor(labels), torch.tensor(found))}


@right("evaluation_loop", "with gradients switched off by a decorator, and the texts beside")
def decorated(model, batches):
    @torch.no_grad()
    def run(batch):
        output = model(**batch)
        return output.loss * len(batch["labels"]), batch["labels"], output.logits.argmax(-1)

    model.eval()
    losses, labels, found = zip(*map(run, batches))
    labels, found = torch.cat(labels), torch.cat(found)
    return {"loss": torch.stack(losses).sum() / len(found), "accuracy": (labels == found).double().mean(),
            "macro_f1": evaluation.macro_f1(labels, found), "texts": len(found)}


@right("evaluation_loop", "predictions as numpy arrays")
def in_numpy_arrays(model, batches):
    model.eval()
    total, found = 0.0, []
    with torch.inference_mode():
        for batch in batches:
            output = model(**batch)
            total += float(output.loss) * len(batch["labels"])
            found.append(output.logits.numpy().argmax(axis=-1))
    labels, found = np.concatenate([batch["labels"].numpy() for batch in batches]), np.concatenate(found)
    return {"loss": np.float64(total / len(found)), "accuracy": evaluation.accuracy(labels, found),
            "macro_f1": evaluation.macro_f1(labels, found)}


# -- epoch_batches ----------------------------------------------------------------------------------------------------

BATCHES = """
def epoch_batches(rows, collate, config, epoch):
    order = data.shuffled_rows(len(rows), config.seed, epoch)
    updates = []
    for start in range(0, len(rows), config.batch_size):
        chosen = [rows[i] for i in order[start : start + config.batch_size]]
        parts = min(config.gradient_accumulation_steps, len(chosen))
        updates.append([collate(chosen[part::parts]) for part in range(parts)])
    return updates
"""

wrong.cell("epoch_batches", "the texts are not shuffled", changed(BATCHES, (
    "data.shuffled_rows(len(rows), config.seed, epoch)", "range(len(rows))")))
wrong.cell("epoch_batches", "the same order in each epoch", changed(BATCHES, ("config.seed, epoch)", "config.seed, 0)")))
wrong.cell("epoch_batches", "another order in each run: the seed is left out", changed(BATCHES,
    ("config.seed, epoch)", "0, epoch)")))
wrong.cell("epoch_batches", "counts the epochs from 1", changed(BATCHES, ("config.seed, epoch)", "config.seed, epoch + 1)")))
wrong.cell("epoch_batches", "drops the last batch, which is smaller", changed(
    BATCHES, ("range(0, len(rows), config.batch_size)", "range(0, len(rows) - config.batch_size + 1, config.batch_size)")))
wrong.cell("epoch_batches", "each micro-batch has batch_size texts", changed(
    BATCHES, ("range(0, len(rows), config.batch_size)",
              "range(0, len(rows), config.batch_size * config.gradient_accumulation_steps)"),
    ("start + config.batch_size]", "start + config.batch_size * config.gradient_accumulation_steps]")))
wrong.cell("epoch_batches", "does not cut the batches into parts", changed(
    BATCHES, ("parts = min(config.gradient_accumulation_steps, len(chosen))", "parts = 1")))
wrong.cell("epoch_batches", "fails where a batch has fewer texts than parts: an empty part", changed(
    BATCHES, ("min(config.gradient_accumulation_steps, len(chosen))", "config.gradient_accumulation_steps")))
wrong.cell("epoch_batches", "parts of the size that is rounded up, so that there are too few", changed(
    BATCHES, ("chosen[part::parts]) for part in range(parts)",
              "chosen[i : i - -len(chosen) // parts]) for i in range(0, len(chosen), -(-len(chosen) // parts))")))
wrong.cell("epoch_batches", "loses the rest where the parts are not equal", changed(
    BATCHES, ("chosen[part::parts]", "chosen[part * (len(chosen) // parts) : (part + 1) * (len(chosen) // parts)]")))
wrong.cell("epoch_batches", "the rest in the last part where the parts are not equal", changed(
    BATCHES, ("chosen[part::parts]",
              "chosen[part * (len(chosen) // parts) : (part + 1) * (len(chosen) // parts) if part + 1 < parts else None]")))
wrong.cell("epoch_batches", "the rest in the first part where the parts are not equal", changed(
    BATCHES, ("chosen[part::parts]", "chosen[(len(chosen) % parts if part else 0) + part * (len(chosen) // parts) :"
              " len(chosen) % parts + (part + 1) * (len(chosen) // parts)]")))
wrong.cell("epoch_batches", "keeps the batches of an epoch for other rows", changed(
    BATCHES, ("config, epoch):", "config, epoch, made={}):"), ("    updates = []\n",
        "    if epoch in made:\n        return made[epoch]\n    updates = made[epoch] = []\n")))
wrong.cell("epoch_batches", "the updates in reverse order", changed(BATCHES, ("return updates", "return updates[::-1]")))
wrong.cell("epoch_batches", "the updates behind each other, in one list of batches", changed(BATCHES, ("append(",
    "extend(")))
wrong.cell("epoch_batches", "draws with replacement", changed(BATCHES, (
    "data.shuffled_rows(len(rows), config.seed, epoch)",
    "np.random.default_rng([config.seed, epoch]).integers(len(rows), size=len(rows))")))
wrong.cell("epoch_batches", "shuffles the caller's rows", changed(BATCHES, (
    "    order = data.shuffled_rows(len(rows), config.seed, epoch)\n",
    "    rows[:] = [rows[i] for i in data.shuffled_rows(len(rows), config.seed, epoch)]\n    order = range(len(rows))\n")))
wrong.cell("epoch_batches", "calls the library's sampler", changed(BATCHES, (
    "    order = data.shuffled_rows(len(rows), config.seed, epoch)\n",
    "    sampler = data.ShuffledSampler([1] * len(rows), config.batch_size, config.seed)\n    sampler.set_epoch(epoch)\n"
    "    order = [i for batch in sampler for i in batch]\n")))
right.cell("epoch_batches", "neighbours in a part, with array_split", changed(
    BATCHES, ("        chosen = [rows[i] for i in order[start : start + config.batch_size]]\n",
              "        chosen = order[start : start + config.batch_size]\n"),
    ("collate(chosen[part::parts]) for part in range(parts)",
     "collate([rows[i] for i in part]) for part in np.array_split(chosen, parts)")))


@right("epoch_batches", "with PyTorch's loader, which draws from the global random numbers")
def with_a_loader(rows, collate, config, epoch):
    order = data.shuffled_rows(len(rows), config.seed, epoch)
    loader = torch.utils.data.DataLoader([rows[i] for i in order], batch_size=config.batch_size, collate_fn=list)
    parts = config.gradient_accumulation_steps
    return [[collate(chosen[part::parts]) for part in range(min(parts, len(chosen)))] for chosen in loader]


@right("epoch_batches", "in one comprehension, empty parts left out")
def in_one_comprehension(rows, collate, config, epoch):
    shuffled = [rows[i] for i in data.shuffled_rows(len(rows), config.seed, epoch)]
    size, parts = config.batch_size, config.gradient_accumulation_steps
    return [[collate(shuffled[s : s + size][p::parts]) for p in range(parts) if shuffled[s : s + size][p::parts]]
            for s in range(0, len(rows), size)]


@right("epoch_batches", "takes rows from a list until it is empty, dealt out like cards")
def dealt_out(rows, collate, config, epoch):
    left = data.shuffled_rows(len(rows), config.seed, epoch).tolist()
    updates = []
    while left:
        now, left = left[: config.batch_size], left[config.batch_size :]
        hands = [[] for _ in range(config.gradient_accumulation_steps)]
        for place, row in enumerate(now):
            hands[place % len(hands)].append(rows[row])
        updates.append(tuple(collate(hand) for hand in hands if hand))
    return updates


@right("epoch_batches", "with a generator in a helper, as a tuple")
def helped(rows, collate, config, epoch):
    def split(order):
        for update in torch.split(torch.from_numpy(order), config.batch_size):
            yield [collate([rows[i] for i in part.tolist()])
                   for part in torch.tensor_split(update, min(len(update), config.gradient_accumulation_steps))]

    return tuple(split(data.shuffled_rows(len(rows), config.seed, epoch)))


# -- fit --------------------------------------------------------------------------------------------------------------

FIT = """
def fit(model, rows, collate, config, validate):
    total = config.epochs * math.ceil(len(rows) / config.batch_size)
    optimizer = training.make_optimizer(model, config)
    scheduler = Scheduler(optimizer, total, round(config.warmup_ratio * total))
    history = {"train": [], "validation": [], "stopped_early": False}
    best, best_weights, not_better, step = -1.0, None, 0, 0
    for epoch in range(config.epochs):
        for batches in epoch_batches(rows, collate, config, epoch):
            rate = optimizer.param_groups[0]["lr"]
            loss = training_step(model, batches, optimizer, scheduler)
            step += 1
            history["train"].append({"step": step, "loss": loss, "learning_rate": rate})
            if step % config.eval_steps != 0 and step < total:
                continue
            scores = validate(model)
            history["validation"].append({"step": step, **scores})
            if scores["macro_f1"] > best:
                best, not_better = scores["macro_f1"], 0
                best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            else:
                not_better += 1
            if not_better == config.patience:
                history["stopped_early"] = step < total
                break
        if history["stopped_early"]:
            break
    model.load_state_dict(best_weights)
    model.eval()
    return history
"""

wrong.cell("fit", "keeps the last weights: no copy, the best ones go on changing", changed(
    FIT, ("{name: tensor.clone() for name, tensor in model.state_dict().items()}", "model.state_dict()")))
wrong.cell("fit", "keeps the last weights: a copy of the dict, not of the tensors", changed(
    FIT, ("{name: tensor.clone() for name, tensor in model.state_dict().items()}", "dict(model.state_dict())")))
wrong.cell("fit", "never loads the best weights", changed(FIT, ("    model.load_state_dict(best_weights)\n", "")))
wrong.cell("fit", "of equal scores the last one is kept", changed(FIT, ('scores["macro_f1"] > best',
    'scores["macro_f1"] >= best')))
wrong.cell("fit", "keeps the weights with the lowest loss", changed(
    FIT, ('scores["macro_f1"] > best', 'scores["loss"] < best'), ('best, not_better = scores["macro_f1"]',
        'best, not_better = scores["loss"]'),
    ("best, best_weights, not_better, step = -1.0", "best, best_weights, not_better, step = float('inf')")))
wrong.cell("fit", "a score of 0 is never kept: the best score begins at 0", changed(FIT, ("= -1.0, None, 0, 0",
    "= 0.0, model.state_dict(), 0, 0")))
wrong.cell("fit", "each better score than the one before is the best", changed(
    FIT, ("                not_better += 1\n", '                not_better, best = not_better + 1, scores["macro_f1"]\n')))
wrong.cell("fit", "validates at the end of each epoch, whatever eval_steps says", changed(
    FIT, ("if step % config.eval_steps != 0 and step < total:", "if step % math.ceil(len(rows) / config.batch_size) != 0:")))
wrong.cell("fit", "counts eval_steps anew in each epoch", changed(
    FIT, ("for batches in epoch_batches(rows, collate, config, epoch):",
        "for number, batches in enumerate(epoch_batches(rows, collate, config, epoch), 1):"),
    ("if step % config.eval_steps", "if number % config.eval_steps")))
wrong.cell("fit", "no validation after the last update", changed(FIT, (" and step < total:", ":")))
wrong.cell("fit", "validates one update early: counts from 0", changed(FIT, ("if step % config", "if (step - 1) % config")))
wrong.cell("fit", "never stops early", changed(FIT, ("if not_better == config.patience:", "if False:")))
wrong.cell("fit", "stops one validation too late", changed(
    FIT, ("if not_better == config.patience:", "if config.patience is not None and not_better > config.patience:")))
wrong.cell("fit", "never sets the count of bad validations back", changed(
    FIT, ('best, not_better = scores["macro_f1"], 0', 'best = scores["macro_f1"]')))
wrong.cell("fit", "sets the count of bad validations back where one is better than that before it", changed(
    FIT, ("            else:\n", '            elif scores["macro_f1"] > history["validation"][-2]["macro_f1"]:\n'
          "                not_better = 0\n            else:\n")))
wrong.cell("fit", "sets the count of bad validations back where one equals the best", changed(
    FIT, ("            else:\n", '            elif scores["macro_f1"] == best:\n                not_better = 0\n'
          "            else:\n")))
wrong.cell("fit", "without a patience it stops after three", changed(
    FIT, ("not_better == config.patience", "not_better == (3 if config.patience is None else config.patience)")))
wrong.cell("fit", "the best is what is better than the validation before", changed(
    FIT, ('            if scores["macro_f1"] > best:\n', '            found = [row["macro_f1"] for row in '
          'history["validation"]]\n            if len(found) == 1 or found[-1] > found[-2]:\n')))
wrong.cell("fit", "notes macro-F1 alone of what validate gave", changed(
    FIT, ('{"step": step, **scores}', '{"step": step, "macro_f1": scores["macro_f1"]}')))
wrong.cell("fit", "notes the training loss where validate gave its own", changed(
    FIT, ('{"step": step, **scores}', '{"step": step, **scores, "loss": loss}')))
wrong.cell("fit", "notes the learning rate of the last group", changed(
    FIT, ('optimizer.param_groups[0]["lr"]', 'optimizer.param_groups[-1]["lr"]')))
wrong.cell("fit", "counts the updates from 0", changed(FIT, ('history["train"].append({"step": step,',
    'history["train"].append({"step": step - 1,')))
wrong.cell("fit", "early stopping leaves the epoch only", changed(FIT,
    ('        if history["stopped_early"]:\n            break\n', "")))
wrong.cell("fit", "fails without a patience: None is compared with a number", changed(
    FIT, ("not_better == config.patience", "not_better >= config.patience")))
wrong.cell("fit", "says that it stopped early when patience ends with the last update", changed(FIT,
    ("= step < total", "= True")))
wrong.cell("fit", "the schedule forgets the small last batches", changed(FIT, (
    "    scheduler = Scheduler(optimizer, total,",
        "    scheduler = Scheduler(optimizer, config.epochs * (len(rows) // config.batch_size),")))
wrong.cell("fit", "plans too few updates: the small last batches are left out of the count", changed(
    FIT, ("math.ceil(len(rows) / config.batch_size)", "(len(rows) // config.batch_size)")))
wrong.cell("fit", "no warm-up", changed(FIT, ("round(config.warmup_ratio * total)", "0")))
wrong.cell("fit", "warm-up in the first epoch, whatever its share", changed(FIT,
    ("round(config.warmup_ratio * total)", "total // config.epochs")))
wrong.cell("fit", "a new optimizer in each epoch", changed(
    FIT, ("    for epoch in range(config.epochs):\n", "    for epoch in range(config.epochs):\n"
          "        old, optimizer = optimizer, training.make_optimizer(model, config)\n"
          "        scheduler.optimizer = optimizer\n"
          "        for new, group in zip(optimizer.param_groups, old.param_groups):\n"
          "            new['lr'] = group['lr']\n")))
wrong.cell("fit", "the same order in each epoch", changed(FIT, ("collate, config, epoch)", "collate, config, 0)")))
wrong.cell("fit", "one epoch only", changed(FIT, ("for epoch in range(config.epochs):", "for epoch in range(1):")))
wrong.cell("fit", "notes the learning rate of the next update", changed(
    FIT, ('            rate = optimizer.param_groups[0]["lr"]\n', ""), ('"learning_rate": rate',
        '"learning_rate": optimizer.param_groups[0]["lr"]')))
wrong.cell("fit", "notes the mean loss so far in place of each update's", changed(
    FIT, ('"loss": loss,', '"loss": (loss + sum(r["loss"] for r in history["train"])) / step,')))
wrong.cell("fit", "stays in training mode", changed(FIT, ("    model.eval()\n", "    model.train()\n")))
wrong.cell("fit", "notes losses that hold the graph", changed(FIT, (
    '"loss": loss,', '"loss": loss + 0 * sum(p.sum() for p in model.parameters()),')))
wrong.cell("fit", "shuffles the caller's rows", changed(FIT, ("    best, best_weights",
    "    rows.reverse()\n    rows[0], rows[1] = rows[1], rows[0]\n    best, best_weights")))
wrong.cell("fit", "goes on counting from the last call", changed(
    FIT, ("def fit(", "seen = {'step': 0}\n\n\ndef fit("), ("not_better, step = -1.0, None, 0, 0",
        "not_better, step = -1.0, None, 0, seen['step']"),
    ("            step += 1\n", "            step += 1\n            seen['step'] = step\n")))
wrong.cell("fit", "calls the library's loop", """
def fit(model, rows, collate, config, validate):
    plain = dataclasses.replace(config, group_by_length=False, metric="macro_f1", progress=False)
    found = training.train(model, rows, collate, plain, validate)
    return {"train": found.train, "validation": found.validation, "stopped_early": found.stopped_early}
""")


@right("fit", "one loop over all updates, which a generator gives; the library's step and schedule")
def one_loop(model, rows, collate, config, validate):
    def updates():
        for epoch in range(config.epochs):
            yield from epoch_batches(rows, collate, config, epoch)

    import copy
    total = config.epochs * -(-len(rows) // config.batch_size)
    optimizer = training.make_optimizer(model, config)
    scheduler = training.make_scheduler(optimizer, config, total)
    train, validation, best, bad = [], [], None, 0
    for step, batches in enumerate(updates(), start=1):
        rate = scheduler.get_last_lr()[0]
        loss = training.training_step(model, batches, optimizer, scheduler)
        train.append({"learning_rate": rate, "loss": loss, "step": step})
        if step % config.eval_steps == 0 or step == total:
            scores = validate(model)
            validation.append(scores | {"step": step})
            bad += 1
            if best is None or scores["macro_f1"] > best[0]:
                best, bad = (scores["macro_f1"], copy.deepcopy(model.state_dict())), 0
            if config.patience is not None and bad >= config.patience:
                break
    model.load_state_dict(best[1])
    model.eval()
    return {"train": train, "validation": validation, "stopped_early": len(train) < total}


@right("fit", "with the library's sampler, and a while loop")
def while_there_is_patience(model, rows, collate, config, validate):
    sampler = data.ShuffledSampler([1] * len(rows), config.batch_size, config.seed)
    total = config.epochs * len(sampler)
    optimizer = training.make_optimizer(model, config)
    scheduler = training.make_scheduler(optimizer, config, total)
    history = {"train": [], "validation": [], "stopped_early": False}
    best, weights, bad, step, waiting = float("-inf"), None, 0, 0, []
    patience = float("inf") if config.patience is None else config.patience
    while step < total and bad < patience:
        if not waiting:
            sampler.set_epoch(step // len(sampler))
            waiting = list(sampler)
        chosen = waiting.pop(0)
        parts = [chosen[i :: config.gradient_accumulation_steps] for i in range(config.gradient_accumulation_steps)]
        row = {"step": step + 1, "learning_rate": float(optimizer.param_groups[0]["lr"])}
        row["loss"] = training_step(model, [collate([rows[i] for i in part]) for part in parts if part], optimizer,
            scheduler)
        step += 1
        history["train"].append(row)
        if step % config.eval_steps and step != total:
            continue
        scores = validate(model)
        history["validation"].append({**scores, "step": step})
        if scores["macro_f1"] > best:
            best, bad = scores["macro_f1"], 0
            weights = [parameter.detach().clone() for parameter in model.parameters()]
        else:
            bad += 1
    with torch.no_grad():
        for parameter, kept in zip(model.parameters(), weights):
            parameter.copy_(kept)
    history["stopped_early"] = step < total
    model.eval()
    return history


@right("fit", "the loop in a function of its own, which returns when patience is used up")
def returns_when_done(model, rows, collate, config, validate):
    runtime.set_seed(config.seed)
    total = config.epochs * math.ceil(len(rows) / config.batch_size)
    optimizer = training.make_optimizer(model, config)
    scheduler = Scheduler(optimizer, total, round(config.warmup_ratio * total))
    train, validation, kept = [], [], {}

    def run():
        for epoch in range(config.epochs):
            for batches in epoch_batches(rows, collate, config, epoch):
                train.append({"step": len(train) + 1, "learning_rate": optimizer.param_groups[0]["lr"]})
                train[-1]["loss"] = training_step(model, batches, optimizer, scheduler)
                if len(train) % config.eval_steps == 0 or len(train) == total:
                    validation.append({"step": len(train)} | validate(model))
                    found = [row["macro_f1"] for row in validation]
                    if found.index(max(found)) == len(found) - 1:
                        kept.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
                    elif config.patience and len(found) - 1 - found.index(max(found)) >= config.patience:
                        return

    run()
    model.load_state_dict(kept)
    return {"train": train, "validation": validation, "stopped_early": len(train) != total, "model": str(model.eval())}


right.cell("fit", "a class that keeps the best weights", """
class Best:
    def __init__(self, patience):
        self.score, self.weights, self.bad, self.patience = None, None, 0, patience

    def is_over(self, score, model):
        if self.score is None or score > self.score:
            self.score, self.bad = score, 0
            self.weights = {name: np.array(tensor) for name, tensor in model.state_dict().items()}
        else:
            self.bad += 1
        return self.patience is not None and self.bad >= self.patience


""" + changed(FIT, ("best, best_weights, not_better, step = -1.0, None, 0, 0",
    "best, step = Best(config.patience), 0"), ('''\
            if scores["macro_f1"] > best:
                best, not_better = scores["macro_f1"], 0
                best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            else:
                not_better += 1
            if not_better == config.patience:
''', '''\
            if best.is_over(scores["macro_f1"], model):
'''), ("load_state_dict(best_weights)", "load_state_dict({n: torch.from_numpy(w) for n, w in best.weights.items()})")))


# -- sentiment (the artifact) -----------------------------------------------------------------------------------------


@wrong.artifact("sentiment", "the file is cut off")
def cut_off(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("sentiment", "the classes are swapped")
def swapped_head(trained):
    from leaplm.artifacts import read_artifact
    return {name: resaved(*read_artifact(content), flip=True) for name, content in trained.items()}


@wrong.artifact("sentiment", "a model that was never trained")
def untrained():
    return {"sentiment-cpu.safetensors": resaved({"language": "eng", "labels": ["negative", "positive"]}, {})}


@wrong.artifact("sentiment", "trained at scale tiny only")
def tiny_only(trained):
    return {"sentiment-tiny.safetensors": content for content in trained.values()}


@wrong.artifact("sentiment", "trained on a file of one's own, for which there are no held-out rows")
def own_language(trained):
    from leaplm.artifacts import read_artifact
    return {name: resaved({**card, "language": "my.csv"}, tensors)
            for name, (card, tensors) in ((n, read_artifact(c)) for n, c in trained.items())}


@wrong.artifact("sentiment", "a weight is not a number")
def not_a_number(trained):
    from leaplm.artifacts import read_artifact
    return {name: resaved(*read_artifact(content), poison=True) for name, content in trained.items()}


@wrong.artifact("sentiment", "pickled instead of safetensors")
def pickled():
    import pickle
    return {"sentiment-cpu.safetensors": pickle.dumps({"classifier.weight": [[0.0]]})}


@right.artifact("sentiment", "saved again by the library: the same tensors in another order")
def saved_again(trained):
    from leaplm.artifacts import read_artifact
    return {name: resaved(*read_artifact(content)) for name, content in trained.items()}


@right.artifact("sentiment", "run on a GPU, with 32-bit numbers")
def from_gpu(trained):
    from leaplm.artifacts import read_artifact
    return {"sentiment-gpu.safetensors": resaved(*read_artifact(content), full=True) for content in trained.values()}


def resaved(card, tensors, flip=False, poison=False, full=False):
    """An artifact's bytes again, with its last layer reversed, with one weight NaN, or in 32 bits."""
    import json

    from leaplm.artifacts import CARD, ROWS
    from safetensors.torch import save

    tensors = {name: value.float() if full and not name.endswith(ROWS) else value.clone() for name, value in tensors.items()}
    if flip:
        tensors = {n: t.flip(0).contiguous() if n.startswith("classifier") else t for n, t in tensors.items()}
    if poison:
        next(iter(tensors.values())).view(-1)[0] = float("nan")
    return save(dict(reversed(tensors.items())), metadata={CARD: json.dumps(card)})
