"""Checks of lab 1, pretraining. Inputs are fresh and random at each run; references are computed here."""

import functools

import numpy as np
import torch
from leaplm import artifacts, data, evaluation, marking, models
from leaplm.grading import (
    NOTHING_CALLED,
    RESTORED,
    Contract,
    FromGenerator,
    ListOf,
    Number,
    Record,
    Ref,
    Several,
    StudentError,
    Tensor,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, standing, tiny_models
from leaplm.pretraining import masking
from leaplm.pretraining.run import blocks as packed
from leaplm.tokens import tokenization

CLOSE = 1e-4
PROBES, MODELS = "leaplm.grading.judge.probes:", "leaplm.grading.judge.tiny_models:"


def close(got, want):
    return bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


MASK = Contract("input_ids special_tokens_mask mask_token_id vocab_size mask_rate generator",
                Several(Tensor("int", dims=2), Tensor("int64", dims=2)), random=FromGenerator(5),
                own="leaplm.pretraining.masking.MaskingCollator leaplm.pretraining.loop.masked_batch")


@check(points=4, contract=MASK)
def mask_tokens(student, rng):
    """Statistics over 60,000 tokens, each tolerance over five standard deviations wide; masks of numbers and of truths."""
    ids = rng.integers(400, size=(300, 200))  # the other ids of the vocabulary are in no text
    special = (rng.random(ids.shape) < 0.1).astype(np.int64)
    rate = float(rng.uniform(0.25, 0.35))
    generator = student.build(f"{PROBES}torch_generator", int(rng.integers(10**6)))
    inputs, labels = call_mask_tokens(student, ids, special, 900, rate, generator)
    again = call_mask_tokens(student, ids, special == 1, 900, rate, generator)
    chosen, share = labels != -100, (labels != -100).sum() / (special == 0).sum()
    if problem := misplaced(inputs, labels, ids, special):
        return 0, problem
    if problem := misplaced(*again, ids, special):
        return 1, f"{problem} (a mask of False and True is a mask, too: `special_tokens_mask.bool()` takes both)"
    if abs(share - rate) > 0.015:
        return 1, f"{share:.1%} of the tokens are chosen, {rate:.1%} were asked for"
    points, told = judge_shares(inputs[chosen], ids[chosen])
    if points < 4:
        return points, told
    if not independent(inputs, ids, chosen, rate):
        return 1, "each token should have throws of its own, whatever its place and its neighbours"
    if repeated(ids, (inputs, labels), again):
        return 1, "a second call with the same generator gives some random numbers again: all should come from it itself"
    return judge_edges(student, rng, rate, told)


def call_mask_tokens(student, ids, special, vocabulary, rate, generator):
    if not isinstance(generator, Ref):
        generator = student.build(f"{PROBES}torch_generator", generator)
    result = student.call("mask_tokens", ids, special, 4, vocabulary, rate, generator)
    return [as_array(part, ids.shape, name) for part, name in zip(result, ("inputs", "labels"), strict=True)]


def misplaced(inputs, labels, ids, special):
    """What is wrong with the places that are chosen or changed, in words, or None."""
    chosen = labels != -100
    if chosen.all() or not np.array_equal(labels[chosen], ids[chosen]):
        return "labels should hold the original token where it is chosen and -100 elsewhere"
    if (chosen & (special == 1)).any():
        return "special tokens are chosen: they must stay as they are"
    if not np.array_equal(inputs[~chosen], ids[~chosen]):
        return "tokens whose label is -100 were changed"
    return None


def repeated(ids, first, second):
    """Whether two calls agree in what they choose, in what becomes of it or in the random ids: a seed is fixed."""
    both = (first[1] != -100) & (second[1] != -100)
    kinds = [np.where(inputs == 4, 1, np.where(inputs == ids, 2, 3))[both] for inputs, _ in (first, second)]
    random = both & (first[0] != 4) & (second[0] != 4) & (first[0] != ids) & (second[0] != ids)
    return (np.array_equal(first[1], second[1]) or (kinds[0] == kinds[1]).mean() > 0.8
            or bool(random.any()) and (first[0] == second[0])[random].mean() > 0.5)


def judge_shares(inputs, original):
    masked, same = inputs == 4, inputs == original
    random = inputs[~masked & ~same]
    told = f"of the chosen {masked.mean():.0%} [MASK], {same.mean():.0%} unchanged, {len(random) / len(inputs):.0%} random"
    if abs(masked.mean() - 0.8) > 0.02 or abs(same.mean() - 0.1) > 0.016 or abs(len(random) / len(inputs) - 0.1) > 0.016:
        return 1, f"{told}; it should be 80 %, 10 % and 10 %"
    if len(np.unique(random)) < 600 or random.max() < 800:
        return 2, "the random tokens should come from the whole vocabulary, a new one for each place"
    return 4, told


def independent(inputs, ids, chosen, rate):
    """Whether halves of the batch have the same shares, and neighbours agree as often as chance lets them."""
    kinds = np.where(inputs == 4, 1, np.where(inputs == ids, 2, 3))
    halves = [(slice(150), slice(None)), (slice(150, None), slice(None)), (slice(None), slice(100)),
              (slice(None), slice(100, None))]  # fmt: skip
    even = all(abs(chosen[half].mean() - 0.9 * rate) < 0.02 and abs((kinds[half][chosen[half]] == 1).mean() - 0.8) < 0.03
               for half in halves)
    pairs = [(c[:-1] & c[1:], k[:-1] == k[1:]) for c, k in ((chosen, kinds), (chosen.T, kinds.T))]
    return even and all(abs(both.mean() - (0.9 * rate) ** 2) < 0.025 and abs(same[both].mean() - 0.66) < 0.06
                        for both, same in pairs)


def judge_edges(student, rng, rate, told):
    """A small vocabulary, whose ends must occur, at a small rate; then the rates 0 and 1."""
    ids, none = rng.integers(5, 8, size=(300, 200)), np.zeros((300, 200), dtype=np.int64)
    inputs, labels = call_mask_tokens(student, ids, none, 12, 0.15, int(rng.integers(10**6)))
    if problem := misplaced(inputs, labels, ids, none):
        return 1, problem
    chosen = labels != -100
    if abs(chosen.mean() - 0.15) > 0.01:
        return 2, "with the mask_rate 0.15, 15 % of the tokens should be chosen"
    random = np.bincount(inputs[chosen & (inputs != 4) & (inputs != ids)], minlength=12)
    expected, seen = 0.1 * chosen.sum() / 12, random[[0, 1, 2, 3, 8, 9, 10, 11]]
    if len(random) > 12 or np.abs(seen - expected).max() > 6 * expected**0.5:
        return 2, "the random ids should go from 0 to vocab_size - 1, each as likely as the others"
    small, special = rng.integers(5, 900, size=(1, 7)), np.array([[1, 0, 0, 0, 0, 0, 1]])
    nothing, everything = (call_mask_tokens(student, small, special, 900, rate, 5)[1] != -100 for rate in (0.0, 1.0))
    if nothing.any() or not np.array_equal(everything, special == 0):
        return 3, "with mask_rate 0 no token should be chosen, with 1 every one that is not special"
    return 4, told


@check(points=3, contract=Contract("hidden labels head", Tensor("int|float", dims=0)))
def masked_lm_loss(student, rng):
    """Tokens 0 and the last one are tokens like any other; one place alone, and none; unlikely tokens; the gradients."""
    width, vocabulary, seed = 6, 30, int(rng.integers(10**6))
    hidden = rng.normal(size=(4, 9, width)).astype(np.float32)
    labels = np.where(rng.random((4, 9)) < 0.3, rng.integers(vocabulary, size=(4, 9)), -100)
    labels[0, :3], labels[3] = [3, 0, vocabulary - 1], -100
    one = np.where(np.arange(36).reshape(4, 9) == rng.integers(36), 7, -100)
    head = student.build(f"{PROBES}counting_decoder", width, vocabulary, seed)
    ours = probes.counting_decoder(width, vocabulary, seed)
    got = [as_number(student.call("masked_lm_loss", hidden, some, head), "masked_lm_loss") for some in (labels, one)]
    rows = student.read(head, f"{PROBES}rows_scored")
    far = 15 * hidden  # losses of 20 nats and more, which a small number added to a probability would hide
    got.append(as_number(student.call("masked_lm_loss", far, labels, head), "masked_lm_loss"))
    if not close(got, [reference_loss(torch.from_numpy(vectors), some, ours).item()
                       for vectors, some in ((hidden, labels), (hidden, one), (far, labels))]):
        return 0, "the loss differs: the mean over the hidden places, nothing else"
    if not flows_back(student, hidden, labels, head, ours):
        return 1, "the right number; but nothing can learn from it: no gradient, or a wrong one, reaches `hidden` and `head`"
    if rows > (labels != -100).sum() + 1:
        return 1, "the right number; but the head scored places that are not hidden, and that is most of the work"
    nothing = student.call("masked_lm_loss", hidden, np.full((4, 9), -100), head)
    if not close(as_array(nothing, (), "masked_lm_loss"), 0):
        return 2, "right; but when nothing is hidden the loss should be 0, not 'not a number'"
    return 3, "the hidden places alone are scored, and their mean is right"


def reference_loss(hidden, labels, head):
    labels = torch.from_numpy(labels)
    return torch.nn.functional.cross_entropy(head(hidden[labels != -100]), labels[labels != -100])


def flows_back(student, hidden, labels, head, ours):
    function = student.get("masked_lm_loss")
    got = student.read(function, f"{PROBES}gradients_of_call", hidden, labels, head)
    want = probes.gradients_of_call(lambda hidden, _, head: reference_loss(hidden, labels, head),
                                    torch.from_numpy(hidden), None, ours)
    return all(name in got and close(got[name], value) for name, value in want.items())


BLOCKS = Contract("rows block_size cls_id pad_id", Record({"input_ids": Tensor("int64", dims=2),
                                                           "attention_mask": Tensor("int64", dims=2)}),
                  own="leaplm.pretraining.run.blocks leaplm.data.group_texts leaplm.data.DynamicPaddingCollator")


@check(points=2, contract=BLOCKS)
def pack_blocks(student, rng):
    """Blocks of several lengths, one that fills the last block exactly, one that is longer than all texts; [CLS] and the
    padding have any number, inside of a text too."""
    cls, pad = (int(number) for number in rng.choice(np.arange(5, 50), size=2, replace=False))
    rows = [{"input_ids": [cls, *rng.integers(5, 50, size=n).tolist(), 2]} for n in rng.integers(1, 15, size=6)]
    rows += [{"input_ids": [cls, cls, pad, 2]}, rows[0], {"input_ids": [cls, 2]}, {"input_ids": [cls, pad, pad, pad]}]
    line = [token for row in rows for token in row["input_ids"][1:]]
    for block in (next(n for n in (7, 8, 12, 14) if len(line) % (n - 1)), 2, len(line) + 1, len(line) + 4):
        want = [[cls, *line[i : i + block - 1]] for i in range(0, len(line), block - 1)]
        got = student.call("pack_blocks", rows, block, cls, pad)
        ids, mask = (as_array(got[name], None, name) for name in ("input_ids", "attention_mask"))
        if problem := blame_blocks(ids.tolist(), mask.tolist(), want, block, pad):
            return problem
    return 2, "no token is lost, and only the end of the last block is padding"


def blame_blocks(ids, mask, want, block, pad):
    """(points, what is wrong) with packed blocks, or None."""
    padded = [[*part, *[pad] * (block - len(part))] for part in want]
    lengths = [[1] * len(part) + [0] * (block - len(part)) for part in want]
    if ids != padded:
        if len(padded) > 1 and ids == padded[: len(ids)] and len(ids) == len(padded) - 1:
            return 0, "right but for the last block: when it is shorter it should be kept, and filled up with pad_id"
        if {len(row) for row in ids} != {block}:
            return 0, f"each block should have {block} tokens here ([CLS] takes one place, padding fills the last)"
        if ids[: len(padded)] == padded and all(set(row[1:]) == {pad} for row in ids[len(padded) :]):
            return 1, "the tokens are right; but there is a block without tokens at the end"
        if len(ids) == len(want) and [row[: len(part)] for row, part in zip(ids, want, strict=True)] == want:
            return 1, "the tokens are right; the end of the last block should be filled up with pad_id"
        return 0, "the blocks differ: drop each text's first token, keep its [SEP], begin each block with [CLS]"
    if mask != lengths:
        return 1, "right tokens; but attention_mask should be 1 at each token, whatever its number, and 0 at padding only"
    return None


EVALUATE = Contract("model masked log_p batch_size", Record({"loss": Number(), "unigram": Number()}),
                    forward="eval, no_grad", gradient="none",
                    own="leaplm.evaluation.masked_lm_loss leaplm.evaluation.unigram_entropy")
WORDS, WIDTH = 30, 5


@check(points=3, contract=EVALUATE)
def evaluate_masked(student, rng):
    """Batches with many, few and no hidden tokens, a last one that is smaller, padding; a model that shows its mode. Other
    blocks and frequencies at each call."""
    seed, blocks = int(rng.integers(10**6)), 11
    got = []
    for size, mode in ((3, True), (3, False), (4, True), (1, True), (blocks + 5, True)):
        masked, log_p = random_masked(rng, blocks), np.log(rng.dirichlet(np.ones(WORDS))).astype(np.float32)
        model = student.build(f"{PROBES}modal_masked_lm", WORDS, WIDTH, seed)
        student.read(model, f"{PROBES}set_training", mode)
        found = student.call("evaluate_masked", model, masked, log_p, size)
        got.append([as_number(found[name], name) for name in ("loss", "unigram")])
        passes = student.read(model, f"{PROBES}passes_of")
        wanted = [min(size, blocks - start) for start in range(0, blocks, size)]
        if problem := blame_passes(passes, wanted, got[-1], seed, masked, log_p, size):
            return problem
    model, many = student.build(f"{PROBES}modal_masked_lm", WORDS, WIDTH, seed), random_masked(rng, 35)
    found = student.call("evaluate_masked", model, many, log_p)
    if not close(as_number(found["loss"], "loss"), losses_of(seed, many)[0].mean()):
        return 2, "right with the batch sizes that are given; without one the loss differs"
    if [rows for _, _, rows in student.read(model, f"{PROBES}passes_of")] != [32, 3]:
        return 2, "right with the batch sizes that are given; without one it should be 32"
    return 3, "the mean over hidden tokens, beside the frequencies at the same tokens"


def random_masked(rng, blocks):
    """Masked blocks of 8 tokens: the first all hidden, a whole batch without; token 0 and the last one are there."""
    ids = rng.integers(WORDS, size=(blocks, 8))
    labels = np.where(rng.random(ids.shape) < 0.25, ids, -100)
    labels[0], labels[3:6], labels[-1, :2] = ids[0], -100, ids[-1, :2]
    labels[0, :3] = [0, WORDS - 1, 0]
    mask = (np.arange(8) < rng.integers(5, 9, size=(blocks, 1))).astype(np.int64)
    mask[0], mask[-1], mask[-2] = 1, np.arange(8) < 4, np.arange(8) < 6
    ids, labels = np.where(mask == 1, ids, WORDS - 1), np.where(mask == 1, labels, -100)
    return {"input_ids": np.where(labels == -100, ids, 4), "attention_mask": mask, "labels": labels}


def losses_of(seed, masked, training=False, attend=True):
    """The losses (hidden tokens,) of the check's model, and the number of the block that each is of."""
    model = probes.modal_masked_lm(WORDS, WIDTH, seed).train(training)
    ids, mask, labels = (torch.from_numpy(masked[name]) for name in ("input_ids", "attention_mask", "labels"))
    with torch.no_grad():
        scores = model(ids, mask if attend else None).logits
    where = labels != -100
    losses = torch.nn.functional.cross_entropy(scores[where], labels[where], reduction="none")
    return losses.numpy(), where.nonzero()[:, 0].numpy()


def blame_passes(passes, wanted, got, seed, masked, log_p, size):
    """(points, what is wrong) with an evaluation, or None."""
    losses, of_block = losses_of(seed, masked)
    guess = -log_p[masked["labels"][masked["labels"] != -100]].mean()
    if not close(got[0], losses.mean()):
        return 0, blame_loss(got[0], losses, of_block, seed, masked, size)
    if not close(got[1], guess):
        return 1, "the loss is right; \"unigram\" should be the mean of -log_p[token] over the hidden tokens, and no others"
    if any(grad for _, grad, _ in passes):
        return 2, "the right numbers; but the model runs with gradients on: `torch.no_grad()` saves time and memory"
    if [rows for _, _, rows in passes] != wanted:
        return 2, "the right numbers; but the model should get batch_size blocks at a time, each block once"
    return None


def blame_loss(got, losses, of_block, seed, masked, size):
    means = [losses[of_block // size == number].mean() for number in range(max(of_block) // size + 1)
             if (of_block // size == number).any()]
    if close(got, np.mean(means)) or close(got, sum(means) / -(-len(masked["labels"]) // size)):
        return "this is a mean of the batches' means: a batch with few hidden tokens must not weigh as much as a full one"
    if close(got, losses[of_block < len(masked["labels"]) // size * size].mean()):
        return "the last batch is missing: it may be smaller than batch_size"
    if close(got, losses_of(seed, masked, training=True)[0].mean()):
        return "the model ran in training mode: `model.eval()` before"
    if close(got, losses_of(seed, masked, attend=False)[0].mean()):
        return "the encoder should get the attention_mask, so that padding does not count"
    return "the loss differs: the mean over all hidden tokens, of the model in evaluation mode, with its attention_mask"


ROWS = ListOf(Record({"step": Number(whole=True), "train_loss": Number(), "loss": Number(), "unigram": Number()}))
PRETRAIN = Contract("model batch_of evaluate settings checkpoint", ROWS, changes="model", mode="eval", leaves="gradients",
                    gradient="none", random=RESTORED, own="leaplm.training.train")
SETTINGS = {"blocks": 7, "updates": 10, "batch_size": 2, "rate": 0.03, "warmup": 3, "every": 3}


@check(points=5, contract=PRETRAIN)
def pretrain(student, rng):
    """Three epochs with a smaller last batch and one with a single hidden token; a last update with a row of its own, and
    one that `every` gives a row; a power cut; checkpoints of other settings."""
    seed, first = int(rng.integers(10**6)), {**SETTINGS, "seed": int(rng.integers(10**6))}
    other = {**first, "blocks": 6, "updates": 8, "warmup": 0, "every": 2}
    paths = [student.build(f"{PROBES}scratch_file") for _ in range(2)]
    try:
        for settings, path in ((first, paths[0]), (other, paths[1])):
            run = trained(student, seed, settings, path)
            if problem := blame_run(seed, settings, run):
                return problem
            if student.read(path, f"{PROBES}is_there"):
                return 4, "the checkpoint should be removed at the end: else the next training would begin at its end"
        if len({file for file in run["files"] if file}) == 1:
            return 4, "a checkpoint should be written beside the old one and then put in its place, by `fresh.replace`: " \
                      "a power cut while writing would spoil the only copy"
        return after_power_cuts(student, seed, first, paths[0]) or judge_settings(student, seed, first, paths[0])
    finally:
        for path in paths:
            student.read(path, f"{PROBES}remove_folder")


def trained(student, seed, settings, path, cut=-1, stop=False):
    """One call: what it gave, what it asked for, and the weights afterwards. Where the power was cut: whether it left a
    checkpoint that was there, and the batches, which put it back."""
    model = student.build(f"{PROBES}modal_masked_lm", WORDS, WIDTH, seed)
    student.read(model, f"{PROBES}leave_gradients")
    student.read(model, f"{PROBES}set_training", False)
    batches = student.build(f"{PROBES}masked_batches", settings["blocks"], WORDS, seed, cut=cut, checkpoint=path,
                            stop=stop)
    meter = student.build(f"{PROBES}weight_meter")
    try:
        rows = student.call("pretrain", model, batches, meter, settings, path)
    except StudentError:
        left = student.read(path, f"{PROBES}is_there") or student.read(batches, f"{PROBES}attribute", "files")[-1:] == [None]
        if not student.read(batches, f"{PROBES}power_returns"):
            raise
        return {"left": left, "batches": batches}
    asked, files = (student.read(batches, f"{PROBES}attribute", name) for name in ("asked", "files"))
    names = ("step", "train_loss", "loss", "unigram")
    return {"rows": [{name: as_number(row[name], name) for name in names} for row in rows], "asked": asked, "files": files,
            "weights": student.read(model, f"{PROBES}state_dict"),
            "evaluated": student.read(meter, f"{PROBES}attribute", "calls")}


def asked_for(settings):
    """[update, places ...] of each update."""
    blocks, size = settings["blocks"], settings["batch_size"]
    batches, asked = -(-blocks // size), []
    for update in range(1, settings["updates"] + 1):
        epoch, number = divmod(update - 1, batches)
        order = torch.randperm(blocks, generator=torch.Generator().manual_seed(settings["seed"] + epoch))
        asked.append([update, *order[number * size : (number + 1) * size].tolist()])
    return asked


def factor_of(update, updates, warmup):
    return update / warmup if update < warmup else (updates + 1 - update) / (updates + 1 - warmup)


def usual_rate(update, settings):
    return factor_of(update, settings["updates"], settings["warmup"])


RATES = [(lambda update, settings: 1.0, "the rate stays the same: it grows to its peak, then falls"),
         (lambda update, settings: min(1.0, update / max(1, settings["warmup"])),
          "the rate should fall after the warm-up, in a straight line"),
         (lambda update, settings: usual_rate(update, {**settings, "warmup": 0}),
          "the warm-up is missing: while k < warmup the rate of update k is rate * k / warmup"),
         (lambda update, settings: factor_of(update - 1, settings["updates"], settings["warmup"]),
          "the rate comes one update late: update 1 has rate * 1 / warmup already")]
CLEARED = [("behind", "the first update counts gradients that were there before: clear them first"),
           ("never", "the gradients of earlier updates are still there: `zero_grad` before `backward`"),
           ("between", "the weights stay as they were: is `optimizer.step()` there, and `zero_grad` before `backward`?")]
CLIPPED = [("not", "the gradients are not clipped: `clip_grad_norm_` with norm 1.0 between `backward` and `step`"),
           ("values", "each number of the gradient is clipped; scale all of them down together, so that their norm is 1"),
           ("early", "clipping comes too early: the gradient is there after `backward`")]
MODES = [("eval", "the model learns in evaluation mode: `model.train()` before each update, as `evaluate` changes the mode"),
         ("once", "after the first evaluation the model learns in evaluation mode: `model.train()` before each update")]
UNMASKED = [(False, "the encoder should get the attention_mask, so that padding does not count")]


def reference_run(seed, settings, **miss):
    """(rows, weights) of the training that the lab asks for, or of a near miss."""
    return computed_run(seed, tuple(settings.items()), **miss)


@functools.lru_cache(maxsize=64)  # the same for all answers that are judged with one seed
def computed_run(seed, settings, rate=usual_rate, clear="before", clip="norm", mode="train", attend=True):
    settings = dict(settings)
    model, meter = probes.modal_masked_lm(WORDS, WIDTH, seed), probes.WeightMeter()
    batch_of, rows, losses = probes.masked_batches(settings["blocks"], WORDS, seed), [], []
    probes.leave_gradients(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["rate"])
    model.train(mode != "eval")
    for update, *places in asked_for(settings):
        optimizer.param_groups[0]["lr"] = settings["rate"] * rate(update, settings)
        if mode == "train":
            model.train()
        batch = batch_of(places, update)
        if clear == "before":
            optimizer.zero_grad()
        if clip == "early":
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        loss = model(**(batch if attend else {**batch, "attention_mask": None})).loss
        loss.backward()
        if clear == "between":
            optimizer.zero_grad()
        if clip == "norm":
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        elif clip == "values":
            torch.nn.utils.clip_grad_value_(model.parameters(), 1.0)
        optimizer.step()
        if clear == "behind":
            optimizer.zero_grad()
        losses.append(loss.item())
        if update % settings["every"] == 0 or update == settings["updates"]:
            rows.append({"step": update, "train_loss": sum(losses) / len(losses), **meter(model)})
            losses = []
    return rows, probes.state_dict(model)


def same_weights(got, want):
    return all(np.allclose(got[name], want[name], rtol=1e-3, atol=1e-4) for name in want)


def same_rows(got, want):
    return len(got) == len(want) and all(close(list(a.values()), list(b.values())) for a, b in zip(got, want, strict=True))


def blame_run(seed, settings, run):
    """(points, what is wrong) with a run that was not cut off, or None."""
    if problem := blame_asked(run["asked"], asked_for(settings), settings):
        return problem
    rows, weights = reference_run(seed, settings)
    if not same_weights(run["weights"], weights):
        misses = {"rate": RATES, "clear": CLEARED, "clip": CLIPPED, "mode": MODES, "attend": UNMASKED}
        near = [({name: value}, words) for name, some in misses.items() for value, words in some]
        said = [words for change, words in near if same_weights(run["weights"], reference_run(seed, settings, **change)[1])]
        return 1, said[0] if said else ("the right batches, but other weights: the loss at the hidden places, AdamW with "
                                        "its defaults on all weights, the rate of each update, gradients that are cleared, "
                                        "clipped to norm 1, in training mode")
    steps, wanted = [[row["step"] for row in some] for some in (run["rows"], rows)]
    if len(steps) > len(wanted) and steps[-len(wanted) :] == wanted:
        return 3, "trained right; but the history holds rows of an earlier training: is there a list that stays?"
    if steps != wanted:
        return 3, "trained right; but there should be a row after every `every` updates, and one after the last"
    if not same_rows([{**row, "train_loss": 0} for row in run["rows"]], [{**row, "train_loss": 0} for row in rows]):
        return 3, "trained right; but a row should hold what `evaluate(model)` gives at that moment"
    if not same_rows(run["rows"], rows):
        return 3, "trained right; but \"train_loss\" should be the mean loss of the updates since the row before"
    if run["evaluated"] > len(rows):
        return 4, "right; but `evaluate` is called more often than there are rows, and that takes time"
    return None


def blame_asked(asked, want, settings):
    """(points, what is wrong) with the batches that a run asked for, or None."""
    if asked == want:
        return None
    places, wanted = [row[1:] for row in asked], [row[1:] for row in want]
    if places == wanted:
        return 1, "the right blocks; but batch_of should get the number of the update, from 1: each has masks of its own"
    if len(asked) != len(want):
        return 0, f"{settings['updates']} updates were asked for, with one batch each; there were {len(asked)}"
    an_epoch = -(-settings["blocks"] // settings["batch_size"])
    if places[:an_epoch] == wanted[:an_epoch]:
        return 1, "the first epoch is right; each epoch e has an order of its own, by the seed plus e"
    if any(len(row) < len(other) for row, other in zip(places, wanted, strict=True)):
        return 0, "a batch has too few blocks: each epoch takes every block once"
    if any(len(row) > len(other) for row, other in zip(places, wanted, strict=True)):
        return 0, "a batch has too many blocks: the last batch of an epoch may be smaller"
    return 0, "other blocks: torch.randperm with a generator of seed + epoch gives the order, batch_size at a time"


BROKEN_OFF = "a run that should break off came to an end: errors are not to be caught"


def after_power_cuts(student, seed, settings, path):
    """(points, what is wrong) with a run that is cut off, by an error or by the stop button, and goes on; or None."""
    whole, weights = reference_run(seed, settings)
    for cut in (2, 5, 8):  # before the first checkpoint, behind it, and behind the second
        broken = trained(student, seed, settings, path, cut, stop=cut == 5)
        if "rows" in broken:
            return 2, BROKEN_OFF
        if not broken["left"]:
            return 3, "a run that breaks off should leave its checkpoint: remove the file at the end alone"
        run = trained(student, seed, settings, path)
        if problem := blame_return(run, (cut - 1) // settings["every"] * settings["every"], whole, weights, settings):
            return problem
    return None


def judge_settings(student, seed, settings, path):
    """Checkpoints of a short run whose settings differ from those of the next in one number."""
    short = {**settings, "blocks": 3, "updates": 3, "warmup": 1, "every": 1}
    broken = trained(student, seed, short, path, 3)
    if "rows" in broken:
        return 2, BROKEN_OFF
    others = {"blocks": 4, "updates": 4, "batch_size": 1, "rate": 0.02, "warmup": 2, "every": 2, "seed": short["seed"] + 1}
    for name, value in others.items():
        student.read(broken["batches"], f"{PROBES}power_returns")
        other = {**short, name: value}
        run, (rows, weights) = trained(student, seed, other, path), reference_run(seed, other)
        if run["asked"] != asked_for(other) or len(run["rows"]) != len(rows) or not same_weights(run["weights"], weights):
            return 4, "a checkpoint of other settings should not be used: keep the settings in it, and compare all of them"
    return 5, "a loop that learns, and that a power cut does not harm"


def blame_return(run, done, whole, weights, settings):
    """(points, what is wrong) with a run that goes on behind its update `done`, or None."""
    wanted = asked_for(settings)[done:]
    if run["asked"] != wanted:
        if run["asked"] == asked_for(settings):
            return 3, "right without a break; after a power cut it should go on from its checkpoint, not begin anew"
        return 3, "right without a break; after a power cut it should go on behind the last update of the checkpoint, " \
                  "with the batches that are still to come"
    if not same_weights(run["weights"], weights):
        return 3, "right without a break; after one the weights differ: the checkpoint needs the state of the model and " \
                  "of the optimizer, and the rate goes by the update's number"
    if not same_rows(run["rows"], whole):
        return 4, "right weights after a break; but the history should have all rows, those before the break too"
    return None


PERPLEXITY = Contract("model input_ids mask_token_id", Number(), mode="any", forward="eval, no_grad",
                      own="leaplm.evaluation.token_log_probs")


@check(points=3, contract=PERPLEXITY)
def pseudo_perplexity(student, rng):
    """A tiny BERT with dropout, in training mode at first; a sentence that repeats tokens, and one of a single token."""
    settings = {"seed": int(rng.integers(10**6)), "dropout": 0.5}
    word = int(rng.integers(5, 40))
    ids = np.array([2, *rng.permutation([0, word, word, word, *rng.integers(5, 40, size=6)]), 3])
    want = [reference_perplexity(settings, some) for some in (ids, ids[[0, 1, -1]])]
    got = []
    for some in (ids, ids[[0, 1, -1]]):
        model = student.build(f"{MODELS}tiny_masked_lm", **settings)
        got.append(as_number(student.call("pseudo_perplexity", model, some, 4), "pseudo_perplexity"))
    if np.allclose(got, want, rtol=1e-3):
        return 3, "each token hidden in turn, exp of the mean"
    if np.allclose(got, np.log(want), rtol=1e-3):
        return 1, "this is the mean loss in nats; the perplexity is its exp"
    return 0, "the perplexity differs: one hidden place a copy, [CLS] and [SEP] left out, no dropout, the mean before exp"


def reference_perplexity(settings, ids):
    model = FullLogits(tiny_models.tiny_masked_lm(**settings).eval())
    return float(np.exp(-evaluation.token_log_probs(model, ids.tolist(), [[i] for i in range(1, len(ids) - 1)], 4).mean()))


class FullLogits:
    """A transformers masked LM with the interface of ours: logits at the hidden places only."""

    device, training = torch.device("cpu"), False

    def __init__(self, model):
        self.model = model

    def eval(self):
        return self

    def train(self, mode):
        return self

    def __call__(self, input_ids, labels):
        return type("Output", (), {"logits": self.model(input_ids).logits[labels != -100]})


@check(points=6, seconds=120, contract=NOTHING_CALLED)
def pretrained(student, rng):
    """The small model on held-out texts: full points from the calibrated gain over the frequencies."""
    content = first_artifact(student, ("pretrained-gpu.safetensors", "pretrained-cpu.safetensors"))
    try:
        card, tensors = artifacts.read_artifact(content)
        language = card.get("language")
        texts = list(data.heldout_rows(language)["text"])
        corpus = list(data.load_corpus(data.marked_language(language))["train"]["text"])
        tokenizer = read_tokenizer(card.get("vocabulary"), corpus)
        model = artifacts.apply_artifact(models.new_bert(tokenizer, *shape_of(card)), tensors)
    except (ValueError, KeyError, TypeError) as error:
        return 0, f"the artifact cannot be used: {error}"
    return judge_gain(heldout_gain(model, tokenizer, corpus, texts), language)


def read_tokenizer(vocabulary, corpus):
    """The tokenizer in the card. It must be the course's but for a few pieces: other pieces would make the task easier."""
    if not isinstance(vocabulary, list) or not all(isinstance(piece, str) for piece in vocabulary):
        raise ValueError("its card has no vocabulary")
    ours = set(tokenization.train_wordpiece(corpus, 2048).get_vocab())
    if len(ours & set(vocabulary)) < 0.95 * max(len(ours), len(vocabulary)):
        raise ValueError("its vocabulary is not the one of section 2")
    return tokenization.wordpiece_from(vocabulary)


def shape_of(card):
    layers, width = int(card.get("layers", 0)), int(card.get("width", 0))
    if not (1 <= layers <= 12 and 64 <= width <= 768 and width % 64 == 0):
        raise ValueError(f"{layers} layers of width {width}: 1 to 12 layers, width 64 to 768 in steps of 64, are possible")
    return layers, width


def heldout_gain(model, tokenizer, corpus, texts):
    """Nats per hidden token below the unigram entropy."""
    collate = masking.MaskingCollator(tokenizer, data.DynamicPaddingCollator(tokenizer.pad_token_id))
    blocks = [packed(part, tokenizer, 64) for part in (corpus, texts)]
    unigram = evaluation.unigram_entropy(*blocks, len(tokenizer), tokenizer.all_special_ids)
    return unigram - evaluation.masked_lm_loss(model, blocks[1], collate)


def judge_gain(gain, language):
    record = marking.runs("lab1_pretraining", language)
    if not len(record):
        return 0, f"there is no record for language {language!r} yet: `leaplm add-language` makes one"
    # Another processor moves a run no further than another seed does (two seeds with SSE alone: by 0.002 and 0.004 nats).
    wanted = marking.threshold("lab1_pretraining", language, "heldout_gain")
    standing.note("gain in nats", gain, wanted, record.heldout_gain)
    told = f"{gain:.3f} nats per hidden token below the unigram entropy, on held-out texts"
    if gain >= wanted:
        return 6, f"{told}; at least {wanted:.3f} were wanted"
    if gain >= wanted / 2:
        return 3, f"{told}: more than half of the {wanted:.3f} that were wanted"
    return 0, f"{told}: less than half of the {wanted:.3f} that were wanted"
