"""What this machine is, and the one dial that scales the course to it."""

import contextlib
import ctypes
import gc
import logging
import os
import platform
import random
import sys
import warnings
from pathlib import Path

SCALES = ("tiny", "cpu", "gpu")


def print_every_letter():
    """Let no output fail for want of a letter: what a terminal's or file's code page has not is written as an escape.

    A command that has done its work must not end with an error because a name is Yoruba and the code page Western.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a notebook or a test took its place
            stream.reconfigure(errors="backslashreplace")


def has_gpu():
    """True if PyTorch can use a CUDA device here."""
    import torch

    return torch.cuda.is_available()


def scale():
    """The scale of this run: "tiny" (seconds), "cpu" (minutes) or "gpu".

    Read from the environment variable LEAPLM_SCALE; without it, "gpu" where CUDA is there, else "cpu".
    Raises ValueError for any other word.
    """
    word = os.environ.get("LEAPLM_SCALE", "").strip().lower()
    if not word:
        return "gpu" if has_gpu() else "cpu"
    if word not in SCALES:
        raise ValueError(f"LEAPLM_SCALE={word!r} is not a scale. Set it to one of: {', '.join(SCALES)}.")
    return word


def by_scale(*, tiny, cpu, gpu):
    """Pick one of three values by the scale of this run, e.g. `by_scale(tiny=64, cpu=1_000, gpu=6_000)`."""
    return {"tiny": tiny, "cpu": cpu, "gpu": gpu}[scale()]


def get_device():
    """The torch device that training uses: the first GPU at scale "gpu", otherwise the CPU."""
    import torch

    return torch.device("cuda" if scale() == "gpu" and has_gpu() else "cpu")


def mixed_precision():
    """The precision that is fast here: "bf16" where the GPU has it, "fp16" on an older GPU, "no" (fp32) on a CPU.

    A T4 has no bf16 units, so it gets fp16, which accelerate trains with loss scaling. On a CPU, bf16 matrix
    products can be a hundred times slower than fp32, so it is never the default there.
    """
    import torch

    if get_device().type == "cpu":
        return "no"
    # Compute capability 8.0 (Ampere) is the first with bf16; is_bf16_supported() also counts slow emulation.
    return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"


def set_seed(seed):
    """Seed Python, NumPy and PyTorch, so that a run can be repeated. Returns the seed."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return seed


def quiet():
    """Keep libraries silent and offline: warnings of no use to a student, and time-outs on a bad line."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if scale() != "gpu":
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("accelerate").setLevel(logging.ERROR)  # each checkpoint of a model with tied weights warns
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)  # of transformers, about peft


def peak_memory_mb():
    """Highest resident memory of this process so far, in MB (10^6 bytes)."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if platform.system() == "Darwin" else peak * 1024 / 1e6


def free_memory():
    """Give memory that Python no longer uses back to the system: after a training run, hundreds of MB on Linux."""
    gc.collect()
    trim_memory()


def trim_memory():
    """Give back what is free already, without looking for more: 20 ms, so it can stand in a loop.

    Tensors of ever new sizes leave gaps in the C library's memory, which grows by 2 MB an update of a small model.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def describe_runtime():
    """Print one short line about this machine and the scale; also makes libraries quiet and offline."""
    import psutil
    import torch

    quiet()
    device = get_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    memory = psutil.virtual_memory().total / 1e9
    precision = {"no": "fp32"}.get(mixed_precision(), mixed_precision())
    print(f"scale {scale()} · device {device.type} ({name}, {precision}) · memory {memory:.0f} GB · "
          f"Python {platform.python_version()} · torch {torch.__version__}")


def available_memory_mb(proc=Path("/proc/self/cgroup"), groups=Path("/sys/fs/cgroup")):
    """What may still be taken in MB: of the machine, or of this process's container where that has less.

    Source: Linux's manuals of control groups, versions 1 and 2.
    """
    import psutil

    free = psutil.virtual_memory().available
    lines = proc.read_text().splitlines() if proc.exists() else []
    for number, controllers, path in (line.split(":", 2) for line in lines):
        if number == "0":
            places, names = [groups / path.strip("/"), groups], ("memory.max", "memory.current", "inactive_file")
        elif controllers == "memory":
            base = groups / "memory"
            places = [base / path.strip("/"), base]
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        for place in places:
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
                free = min(free, group_room(place, *names))
    return free / 1e6


def group_room(place, limit, usage, cache):
    """Bytes left in a control group; files that the kernel keeps in memory count as free. ValueError without a limit."""
    kept = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
    return int((place / limit).read_text()) - int((place / usage).read_text()) + int(kept.get(cache, 0))
