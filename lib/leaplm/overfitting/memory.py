"""The memory of one training update: counted by a formula, measured, and four ways to need less of it.

What an update keeps, in 32-bit numbers of 4 bytes: every weight once; for each weight that learns a gradient and the two
numbers of Adam; and what the forward pass saves for the backward pass (the activations).
"""

import contextlib
import ctypes
import platform
import threading
import time

import torch

from leaplm.peft.lora import training_memory
from leaplm.runtime import free_memory, get_device
from leaplm.training import classification_loss, take_rows

BYTES = 4  # of a 32-bit number


def state_bytes(weights, learning):
    """Bytes that do not depend on the batch: 4 (weights + 3 learning).

    weights: numbers in the model; learning: how many of them are trained, with a gradient and Adam's two numbers each.

    >>> state_bytes(weights=100, learning=10)
    520
    """
    return BYTES * (weights + 3 * learning)


def activation_bytes(texts, tokens, width, layers):
    """Bytes that a BERT encoder without dropout saves for the backward pass: 4 * 16 * texts * tokens * width * layers.

    In each layer and for each token 16 times `width` numbers: query, key, value and the output of the attention (4); the
    inner layer, 4 times as wide, before and behind its GELU (8); both residual sums (2) and both outputs of LayerNorm (2).
    Fused attention saves no (tokens x tokens) weights. With dropout, PyTorch on a CPU saves them three times, and three
    masks (18 * width + 3 * heads * tokens in all). Korthikanti et al., 2022, section 4, count the same for 16 bits.

    >>> activation_bytes(texts=1, tokens=10, width=384, layers=6)
    1474560
    """
    return BYTES * 16 * texts * tokens * width * layers


def largest_batch(memory, weights, learning, tokens, width, layers):
    """How many texts of `tokens` tokens one update can hold in `memory` bytes; 0 if the model alone does not fit.

    >>> largest_batch(500_000_000, 22_600_000, 10_600_000, tokens=128, width=384, layers=6)
    14
    """
    left = memory - state_bytes(weights, learning)
    return max(0, int(left // activation_bytes(1, tokens, width, layers)))


# -- the same update with less memory -----------------------------------------------------------------------------------

WAYS = {"one batch": {}, "4 parts": {"parts": 4}, "checkpointing": {"checkpointing": True},
        "4 parts and checkpointing": {"parts": 4, "checkpointing": True}}  # settings of `measure_gradient`


def cut_batch(batch, parts):
    """A batch as a list of at most `parts` smaller ones, each without padding that it does not need."""
    rows = list(range(len(batch["labels"])))
    return [take_rows(batch, rows[i::parts]) for i in range(min(parts, len(rows)))]


def accumulate_gradients(model, batches, scale=1.0, loss_fn=classification_loss):
    """Leave in `.grad` `scale` times the gradient of the mean loss over all targets of `batches`, one graph at a time.

    Returns the mean loss, without the scale. Each part weighs as much as it has targets (labels other than -100); a part
    without any is left out. Gradients that are there already are added to. `training.train` does the same for
    `gradient_accumulation_steps`.
    """
    total, loss_sum = sum(int((batch["labels"] != -100).sum()) for batch in batches), 0.0
    for batch in batches:
        if not (batch["labels"] != -100).any():
            continue
        loss, count = loss_fn(model, batch)
        (loss * (count / total * scale)).backward()
        loss_sum += loss.item() * count
    return loss_sum / total


def checkpoint_activations(model, on=True):
    """Let each layer save only its input and compute the rest again in the backward pass (or not); returns the model.

    Source: Chen et al., 2016, *Training deep nets with sublinear memory cost*.
    """
    name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"  # older transformers
    if on:
        getattr(model, f"{name}_checkpointing_enable")({"use_reentrant": False})
    elif getattr(model, f"is_{name}_checkpointing"):
        getattr(model, f"{name}_checkpointing_disable")()
    return model


def autocast(precision, device=None):
    """A context in which matrix products run in "bf16" or "fp16" (with "no": in 32 bits)."""
    if precision == "no":
        return contextlib.nullcontext()
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in kinds:
        raise ValueError(f"precision={precision!r}: use 'no', 'bf16' or 'fp16'")
    return torch.autocast((device or get_device()).type, dtype=kinds[precision])


def underflow_share(model, scale=1.0, kind=torch.float16):
    """The share of the gradient's numbers, other than 0, that become 0 in 16 bits when they are multiplied by `scale`."""
    zeros = count = 0
    for parameter in model.parameters():
        if parameter.grad is not None:
            kept = parameter.grad[parameter.grad != 0]
            zeros, count = zeros + int(((kept * scale).to(kind) == 0).sum()), count + kept.numel()
    return zeros / count


# -- measuring ------------------------------------------------------------------------------------------------------------


def measure_gradient(model, batch, parts=1, checkpointing=False, precision="no"):
    """What the gradient of one batch costs in memory and time, got in one of these ways; it stays in `.grad`.

    parts: the batch is cut into so many, one after the other. Returns saved_mb (what the forward pass of one part keeps
    for the backward pass, counted), peak_mb and seconds (see `measure`), and the loss. The model is put in training mode.
    """
    checkpoint_activations(model, checkpointing)
    batches = cut_batch(batch, parts)

    def gradient():
        with autocast(precision):
            return accumulate_gradients(model, batches)

    with autocast(precision):
        saved = training_memory(model, batches[0])["activations"]
    model.zero_grad()
    loss, found = measure(gradient)
    checkpoint_activations(model, False)
    return {"saved_mb": saved / 1e6, **found, "loss": loss}


def flat_gradient(model):
    """A copy of all gradients of `model` as one vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def process_mb():
    """What this process holds in memory now, in MB: Python, PyTorch and all that was loaded before any model counts too."""
    import psutil

    return psutil.Process().memory_info().rss / 1e6


def measure(function):
    """Run `function` once; (what it returns, {"peak_mb": highest memory above that at the start, "seconds": time}).

    On a GPU the allocator is asked; on a CPU the process is watched a thousand times a second, so that short peaks
    may be missed.
    """
    free_memory()
    watch = watch_gpu if get_device().type == "cuda" else watch_process
    with watch() as found, memory_given_back():
        started = time.perf_counter()
        result = function()
        found["seconds"] = time.perf_counter() - started
    return result, found


@contextlib.contextmanager
def watch_gpu():
    found, before = {}, torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    yield found
    torch.cuda.synchronize()
    found["peak_mb"] = (torch.cuda.max_memory_allocated() - before) / 1e6


@contextlib.contextmanager
def memory_given_back():
    """While the block runs, freed tensors go back to the system at once; else the C library keeps gaps that look used."""
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    threshold, usual = -3, 32 * 2**20  # M_MMAP_THRESHOLD, and what glibc comes to by itself in a long training
    ctypes.CDLL(None).mallopt(threshold, 2**16)
    try:
        yield
    finally:
        ctypes.CDLL(None).mallopt(threshold, usual)


@contextlib.contextmanager
def watch_process(every=0.001):
    import psutil

    process, done, found = psutil.Process(), threading.Event(), {}
    before = highest = process.memory_info().rss

    def look():
        nonlocal highest
        while not done.wait(every):
            highest = max(highest, process.memory_info().rss)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        highest = max(highest, process.memory_info().rss)
        done.set()
        thread.join()
        found["peak_mb"] = (highest - before) / 1e6
