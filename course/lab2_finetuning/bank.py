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


# -- mean_pool --------------------------------------------------------------------------------------------------------


@wrong("mean_pool", "counts the padding")
def plain_mean(hidden, attention_mask):
    return hidden.mean(dim=1)


@wrong("mean_pool", "leaves padding out of the sum but divides by the length of the batch")
def divides_by_length(hidden, attention_mask):
    return (hidden * attention_mask.unsqueeze(-1)).mean(dim=1)


@wrong("mean_pool", "takes the first token ([CLS])")
def first_token(hidden, attention_mask):
    return hidden[:, 0]


@wrong("mean_pool", "takes the sum")
def summed(hidden, attention_mask):
    return (hidden * attention_mask.unsqueeze(-1)).sum(dim=1)


@wrong("mean_pool", "averages over texts and tokens")
def one_vector(hidden, attention_mask):
    return hidden[attention_mask.bool()].mean(dim=0)


@right("mean_pool", "a loop over the texts")
def pooled_by_loop(hidden, attention_mask):
    return torch.stack([h[m.bool()].mean(dim=0) for h, m in zip(hidden, attention_mask)])


@right("mean_pool", "an einsum")
def pooled_by_einsum(hidden, attention_mask):
    weights = attention_mask / attention_mask.sum(dim=1, keepdim=True)
    return torch.einsum("btw,bt->bw", hidden, weights)


@right("mean_pool", "as a product of matrices")
def pooled_by_bmm(hidden, attention_mask):
    mask = attention_mask.to(hidden.dtype)
    return torch.bmm(mask[:, None, :], hidden)[:, 0] / mask.sum(-1, keepdim=True)


@right("mean_pool", "padding as NaN, then nanmean")
def pooled_by_nanmean(hidden, attention_mask):
    return hidden.masked_fill(attention_mask[..., None] == 0, float("nan")).nanmean(dim=1)


@wrong("mean_pool", "sets the padding to 0 in the caller's tensor")
def pools_in_place(hidden, attention_mask):
    hidden[attention_mask == 0] = 0
    return hidden.sum(dim=1) / attention_mask.sum(dim=1, keepdim=True)


@wrong("mean_pool", "without gradients, so the encoder learns nothing")
def pools_without_gradients(hidden, attention_mask):
    with torch.no_grad():
        mask = attention_mask.unsqueeze(-1)
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1)


@wrong("mean_pool", "in numpy")
def pools_in_numpy(hidden, attention_mask):
    hidden, mask = hidden.detach().numpy(), attention_mask.numpy()[..., None]
    return (hidden * mask).sum(axis=1) / mask.sum(axis=1)


@wrong("mean_pool", "drops all dimensions of length 1")
def pools_and_squeezes(hidden, attention_mask):
    mask = attention_mask.unsqueeze(-1)
    return ((hidden * mask).sum(dim=1) / mask.sum(dim=1)).squeeze()


@wrong("mean_pool", "calls the library's function")
def librarys_pooling(hidden, attention_mask):
    return models.mean_pool(hidden, attention_mask)


@wrong("mean_pool", "counts the numbers that are not 0 in place of the tokens")
def not_zero(hidden, attention_mask):
    kept = hidden * attention_mask.unsqueeze(-1)
    return kept.sum(dim=1) / (kept != 0).sum(dim=1).clamp(min=1)


@wrong("mean_pool", "the gradient of the first token only")
def first_token_learns(hidden, attention_mask):
    mask = attention_mask.unsqueeze(-1)
    rest = (hidden[:, 1:] * mask[:, 1:]).sum(dim=1).detach()
    return (hidden[:, 0] * mask[:, 0] + rest) / mask.sum(dim=1)


@wrong("mean_pool", "numbers below 0 are lost")
def positive_only(hidden, attention_mask):
    mask = attention_mask.unsqueeze(-1)
    return (hidden * mask).clamp(min=0).sum(dim=1) / mask.sum(dim=1)


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


# -- training_step ----------------------------------------------------------------------------------------------------


@wrong("training_step", "never forgets the old gradients")
def keeps_gradients(model, batch, optimizer, scheduler):
    model.train()
    loss = model(**batch).loss
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    return loss.item()


@wrong("training_step", "does not clip")
def no_clipping(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    scheduler.step()
    return loss.item()


@wrong("training_step", "clips each value, not the norm")
def clips_values(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    nn.utils.clip_grad_value_(model.parameters(), 0.01)
    optimizer.step()
    scheduler.step()
    return loss.item()


@wrong("training_step", "forgets the gradients after backward, so nothing moves")
def zero_grad_too_late(model, batch, optimizer, scheduler):
    model.train()
    loss = model(**batch).loss
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    scheduler.step()
    return loss.item()


@wrong("training_step", "never moves the schedule")
def no_schedule(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


@wrong("training_step", "trains in evaluation mode")
def evaluation_mode(model, batch, optimizer, scheduler):
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    return loss.item()


@wrong("training_step", "returns the loss after the update")
def loss_after(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    model(**batch).loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    return model(**batch).loss.item()


@right("training_step", "forgets the gradients at the end, and before the first step")
def zero_grad_around(model, batch, optimizer, scheduler):
    model.train()
    model.zero_grad(set_to_none=True)
    loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()
    return float(loss)


@right("training_step", "clips by hand")
def clips_by_hand(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.sqrt(sum((g**2).sum() for g in gradients))
    for g in gradients:
        g *= min(1.0, 1.0 / (norm.item() + 1e-6))
    optimizer.step()
    scheduler.step()
    return loss.detach().item()


@wrong("training_step", "returns a tensor that holds the whole graph")
def keeps_the_graph(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    return loss


@wrong("training_step", "scales every gradient to norm 1, small ones too")
def always_norm_one(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    norm = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters() if p.grad is not None))
    for p in model.parameters():
        if p.grad is not None:
            p.grad /= norm
    optimizer.step()
    scheduler.step()
    return loss.item()


@wrong("training_step", "clips the largest value (infinity norm), not the length")
def infinity_norm(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0, norm_type=float("inf"))
    optimizer.step()
    scheduler.step()
    return loss.item()


@wrong("training_step", "turns to training mode after the forward pass")
def trains_too_late(model, batch, optimizer, scheduler):
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    model.train()
    return loss.item()


@wrong("training_step", "takes the labels out of the caller's batch")
def takes_labels_out(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad()
    labels = batch.pop("labels")
    loss = nn.functional.cross_entropy(model(**batch).logits, labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    return loss.item()


@right("training_step", "the loss from the logits, returned as a tensor with one number and no graph")
def loss_of_logits(model, batch, optimizer, scheduler):
    model.train()
    optimizer.zero_grad(set_to_none=False)
    inputs = {name: part for name, part in batch.items() if name != "labels"}
    loss = nn.functional.cross_entropy(model(**inputs).logits, batch["labels"])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(list(model.parameters()), 1.0)
    optimizer.step()
    scheduler.step()
    return loss.detach()


@right("training_step", "clips each parameter by the norm of all, in a helper")
def with_helper(model, batch, optimizer, scheduler):
    def clip(parameters, most):
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        for p in parameters:
            p.grad.mul_((most / (norm + 1e-6)).clamp(max=1.0))

    model.train()
    for p in model.parameters():
        p.grad = None
    loss = model(**batch)["loss"]
    loss.backward()
    clip([p for p in model.parameters() if p.grad is not None], 1.0)
    optimizer.step()
    scheduler.step()
    return loss.item()


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


# -- evaluation_loop --------------------------------------------------------------------------------------------------


@wrong("evaluation_loop", "dropout stays on")
def dropout_on(model, batches):
    total, predictions = 0.0, []
    with torch.no_grad():
        for batch in batches:
            output = model(**batch)
            total += output.loss.item() * len(batch["labels"])
            predictions.append(output.logits.argmax(dim=-1))
    predictions = torch.cat(predictions)
    return total / len(predictions), predictions


@wrong("evaluation_loop", "the mean of the batch means")
def mean_of_means(model, batches):
    model.eval()
    with torch.no_grad():
        outputs = [model(**batch) for batch in batches]
    return sum(o.loss.item() for o in outputs) / len(outputs), torch.cat([o.logits.argmax(-1) for o in outputs])


@wrong("evaluation_loop", "keeps only the last batch")
def last_batch(model, batches):
    model.eval()
    with torch.no_grad():
        for batch in batches:
            output = model(**batch)
    return output.loss.item(), output.logits.argmax(dim=-1)


@wrong("evaluation_loop", "the class with the smallest logit")
def smallest_logit(model, batches):
    model.eval()
    with torch.no_grad():
        outputs = [model(**batch) for batch in batches]
    count = sum(len(b["labels"]) for b in batches)
    loss = sum(o.loss.item() * len(b["labels"]) for o, b in zip(outputs, batches)) / count
    return loss, torch.cat([o.logits.argmin(-1) for o in outputs])


@wrong("evaluation_loop", "returns the sum of the losses")
def sum_of_losses(model, batches):
    model.eval()
    with torch.no_grad():
        outputs = [model(**batch) for batch in batches]
    return sum(o.loss.item() * len(b["labels"]) for o, b in zip(outputs, batches)), \
        torch.cat([o.logits.argmax(-1) for o in outputs])


@wrong("evaluation_loop", "trains on the batches")
def trains(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.eval()
    total, predictions = 0.0, []
    for batch in batches:
        output = model(**batch)
        output.loss.backward()
        optimizer.step()
        total += output.loss.item() * len(batch["labels"])
        predictions.append(output.logits.argmax(dim=-1))
    predictions = torch.cat(predictions)
    return total / len(predictions), predictions


@right("evaluation_loop", "computes the loss once, from all logits")
def loss_from_logits(model, batches):
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(**{k: v for k, v in b.items() if k != "labels"}).logits for b in batches])
    labels = torch.cat([b["labels"] for b in batches])
    return nn.functional.cross_entropy(logits, labels).item(), logits.argmax(dim=-1)


@right("evaluation_loop", "text by text, predictions as a list")
def one_by_one(model, batches):
    model.eval()
    losses, predictions = [], []
    with torch.no_grad():
        for batch in batches:
            for i in range(len(batch["labels"])):
                output = model(**{k: v[i : i + 1] for k, v in batch.items()})
                losses.append(output.loss.item())
                predictions.append(int(output.logits.argmax()))
    model.train()
    return float(np.mean(losses)), predictions


@right("evaluation_loop", "with gradients switched off by a decorator, labels as the batches name them")
def decorated(model, batches):
    @torch.no_grad()
    def run(batch):
        output = model(**batch)
        return output.loss * len(batch["labels"]), output.logits.argmax(-1)

    model.eval()
    losses, predictions = zip(*map(run, batches))
    predictions = torch.cat(predictions)
    return torch.stack(losses).sum() / len(predictions), predictions


@right("evaluation_loop", "predictions as a numpy array, the two in a list")
def in_numpy_arrays(model, batches):
    model.eval()
    total, found = 0.0, []
    with torch.inference_mode():
        for batch in batches:
            output = model(**batch)
            total += float(output.loss) * len(batch["labels"])
            found.append(output.logits.numpy().argmax(axis=-1))
    found = np.concatenate(found)
    return [np.float64(total / len(found)), found]


@wrong("evaluation_loop", "keeps gradients on, which takes time and memory")
def gradients_on(model, batches):
    model.eval()
    outputs = [model(**batch) for batch in batches]
    count = sum(len(b["labels"]) for b in batches)
    loss = sum(o.loss.item() * len(b["labels"]) for o, b in zip(outputs, batches)) / count
    return loss, torch.cat([o.logits.argmax(-1) for o in outputs])


@wrong("evaluation_loop", "takes the labels out of the caller's batches")
def pops_labels(model, batches):
    model.eval()
    labels = torch.cat([batch.pop("labels") for batch in batches])
    with torch.no_grad():
        logits = torch.cat([model(**batch).logits for batch in batches])
    return nn.functional.cross_entropy(logits, labels).item(), logits.argmax(-1)


@wrong("evaluation_loop", "switches gradients off for the whole program")
def off_for_ever(model, batches):
    model.eval()
    torch.set_grad_enabled(False)
    logits = torch.cat([model(**batch).logits for batch in batches])
    labels = torch.cat([batch["labels"] for batch in batches])
    return nn.functional.cross_entropy(logits, labels).item(), logits.argmax(-1)


@wrong("evaluation_loop", "weights the losses by tokens in place of texts")
def weighted_by_tokens(model, batches):
    model.eval()
    total, weight, found = 0.0, 0, []
    with torch.no_grad():
        for batch in batches:
            output, size = model(**batch), int(batch["attention_mask"].sum())
            total, weight = total + output.loss.item() * size, weight + size
            found.append(output.logits.argmax(-1))
    return total / weight, torch.cat(found)


@wrong("evaluation_loop", "predictions pile up in a list that is a default")
def piles_up(model, batches, found=[]):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for batch in batches:
            output = model(**batch)
            total += output.loss.item() * len(batch["labels"])
            found.append(output.logits.argmax(-1))
    return total / sum(len(batch["labels"]) for batch in batches), torch.cat(found)


# -- choose_learning_rate ---------------------------------------------------------------------------------------------


@wrong("choose_learning_rate", "the rate with the best mean")
def best_mean(rates, accuracies):
    return float(rates[accuracies.mean(dim=1).argmax()])


@wrong("choose_learning_rate", "the rate of the best single run")
def best_run(rates, accuracies):
    return float(rates[accuracies.max(dim=1).values.argmax()])


@wrong("choose_learning_rate", "the largest rate within one deviation")
def largest(rates, accuracies):
    means = accuracies.mean(dim=1)
    best = means.argmax()
    return float(rates[means >= means[best] - accuracies[best].std(correction=1)].max())


@wrong("choose_learning_rate", "divides by the number of seeds")
def population_deviation(rates, accuracies):
    means = accuracies.mean(dim=1)
    best = means.argmax()
    return float(rates[means >= means[best] - accuracies[best].std(correction=0)].min())


@wrong("choose_learning_rate", "each rate's own deviation")
def own_deviation(rates, accuracies):
    means = accuracies.mean(dim=1)
    return float(rates[means + accuracies.std(dim=1) >= means.max()].min())


@wrong("choose_learning_rate", "takes the rates to be sorted")
def first_good(rates, accuracies):
    means = accuracies.mean(dim=1)
    best = means.argmax()
    good = means >= means[best] - accuracies[best].std(correction=1)
    return float(rates[torch.nonzero(good)[0, 0]])


@right("choose_learning_rate", "with numpy")
def in_numpy(rates, accuracies):
    rates, table = np.asarray(rates), np.asarray(accuracies)
    means = table.mean(axis=1)
    limit = means.max() - table[means.argmax()].std(ddof=1)
    return rates[means >= limit].min()


@right("choose_learning_rate", "with pandas and a loop")
def in_pandas(rates, accuracies):
    table = pd.DataFrame(np.asarray(accuracies), index=np.asarray(rates)).sort_index()
    best = table.mean(axis=1).idxmax()
    for rate, row in table.iterrows():
        if row.mean() >= table.loc[best].mean() - table.loc[best].std():
            return float(rate)


@right("choose_learning_rate", "rate by rate, from the smallest")
def rate_by_rate(rates, accuracies):
    best = max(accuracies, key=lambda row: row.mean())
    for i in torch.argsort(rates):
        if accuracies[i].mean() >= best.mean() - best.std():
            return rates[i]


@right("choose_learning_rate", "with the module statistics")
def with_statistics(rates, accuracies):
    import statistics
    table = dict(zip(rates.tolist(), accuracies.tolist()))
    best = max(table.values(), key=statistics.mean)
    limit = statistics.mean(best) - statistics.stdev(best)
    return min(rate for rate, row in table.items() if statistics.mean(row) >= limit)


@wrong("choose_learning_rate", "leaves out a rate that lies exactly at the limit")
def above_the_limit(rates, accuracies):
    means = accuracies.mean(dim=1)
    best = means.argmax()
    good = means > means[best] - accuracies[best].std(correction=1)
    good[best] = True
    return float(rates[good].min())


@wrong("choose_learning_rate", "sorts the caller's rates")
def sorts_rates(rates, accuracies):
    order = torch.argsort(rates)
    rates[:], table = rates[order].clone(), accuracies[order]
    means = table.mean(dim=1)
    best = means.argmax()
    return float(rates[means >= means[best] - table[best].std()][0])


@wrong("choose_learning_rate", "as good as the worst seed of the best rate")
def above_worst_seed(rates, accuracies):
    means = accuracies.mean(dim=1)
    return float(rates[means >= accuracies[means.argmax()].min()].min())


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
