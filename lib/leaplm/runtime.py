"""What this machine is, and the one dial that scales the course to it."""

import contextlib
import ctypes
import functools
import gc
import logging
import math
import os
import platform
import random
import sys
import unicodedata
import warnings
from pathlib import Path, PurePosixPath

from leaplm.identity import student_seed
from leaplm.locales import say

SCALES = ("tiny", "cpu", "gpu")
USUALLY = gc.get_threshold()  # how many new objects let the collector look for garbage
RARELY = (100_000, *USUALLY[1:])
COURSE_SECRET = "LEAPLM_COURSE_SECRET"  # environment of the teacher: see data.is_heldout


def print_every_letter():
    """Let no output fail for want of a letter: what a terminal's or file's code page has not is written as an escape.

    A command that has done its work must not end with an error because a name is Yoruba and the code page Western.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a notebook or a test took its place
            stream.reconfigure(errors="backslashreplace")


def columns(text):
    """How many columns of a terminal a text takes: two for a wide letter, none for what stands on the one before it.

    >>> columns("实验"), columns("e\\u0301")
    (4, 1)
    """
    drawn = [letter for letter in text if not unicodedata.combining(letter) and unicodedata.category(letter) != "Cf"]
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in drawn)


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
        raise ValueError(say("`LEAPLM_SCALE={word}` is not a scale. Set it to one of: {scales}.", word=repr(word),
                             scales=", ".join(SCALES)))  # fmt: skip
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

    random.seed(seed)
    np.random.seed(seed % 2**32)
    seed_torch(seed)
    return seed


def seed_torch(seed):
    """As torch.manual_seed, which without an accelerator puts the seed by for one to come, with the text of a traceback."""
    import torch

    torch.manual_seed(seed) if has_accelerator() else torch.default_generator.manual_seed(int(seed))


@functools.cache
def has_accelerator():
    """True if PyTorch can use a device of any kind here (CUDA, Apple's, ...) beside the processor."""
    import torch

    return torch.accelerator.is_available()


@contextlib.contextmanager
def seeded(seed):
    """PyTorch's random numbers in the block are those of a seed; after it they go on as before."""
    import torch

    with torch.random.fork_rng(devices=[]):
        seed_torch(seed)
        yield


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
    keep_modules()


def expect_modules():
    """Look for garbage rarely until `keep_modules`: imports leave next to none, and looking is a fifth of their time."""
    if not keep_modules.cache_info().currsize:
        gc.set_threshold(*RARELY)


@functools.cache
def keep_modules():
    """Take what is imported out of the collector's sight, once: it stays for ever, and a look at it takes half a second."""
    gc.freeze()  # without a look for garbage first: there is none, and looking takes the same time
    if gc.get_threshold() == RARELY:
        gc.set_threshold(*USUALLY)


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
    import torch

    quiet()
    if processors() < torch.get_num_threads():     # torch counts the machine's; more than ours wait for each other
        torch.set_num_threads(processors())
    device = get_device()
    threads = torch.get_num_threads()
    counted = say("1 thread") if threads == 1 else say("{threads} threads", threads=threads)
    print(say("scale {scale} · device {device} ({name}, {precision}) · memory {memory} GB · Python {python} · "
              "torch {torch} · your seed {seed}", scale=scale(), device=device.type,
              name=torch.cuda.get_device_name() if device.type == "cuda" else counted,
              precision={"no": "fp32"}.get(mixed_precision(), mixed_precision()), memory=f"{memory_mb() / 1000:.0f}",
              python=platform.python_version(), torch=torch.__version__.partition("+")[0],
              seed=student_seed()))  # fmt: skip


PROC, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def available_memory_mb(proc=PROC, groups=GROUPS):
    """What may still be taken in MB: of the machine, or of this process's container where that has less.

    Source: Linux's manuals of control groups, versions 1 and 2.
    """
    import psutil

    names = {2: ("memory.max", "memory.current", "inactive_file"),
             1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")}
    rooms = [psutil.virtual_memory().available]
    for version, place in control_groups("memory", proc, groups):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
            rooms.append(group_room(place, *names[version]))
    return max(min(rooms), 0) / 1e6


def memory_mb(proc=PROC, groups=GROUPS):
    """All memory that is ours in MB: the machine's, or what its container may use. 0 where no one tells."""
    sizes = [machine_memory()]
    for version, place in control_groups("memory", proc, groups):
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int((place / {2: "memory.max", 1: "memory.limit_in_bytes"}[version]).read_text()))
    return min(sizes) / 1e6


def machine_memory():
    """Bytes of memory in this machine; also where psutil is not installed yet."""
    try:
        import psutil

        return psutil.virtual_memory().total
    except ImportError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def processors(proc=PROC, groups=GROUPS):
    """Cores that are ours: those this process may run on, or the share of them that its container gets, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [cores]
    for version, place in control_groups("cpu", proc, groups):
        with contextlib.suppress(OSError, ValueError):      # no such file, or "max": no limit; -1 in version 1
            quota, period = ((place / "cpu.max").read_text().split() if version == 2 else
                             [(place / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")])
            if int(quota) > 0:
                shares.append(math.ceil(int(quota) / int(period)))
    return max(min(shares), 1)


def control_groups(controller, proc, groups):
    """(version, folder) of the control groups that hold this process, for "memory" or "cpu": its own, and all above.

    A container sees its own group as the root, whatever path the process has; that one is tried last.
    """
    lines = proc.read_text().splitlines() if proc.exists() else []
    for number, controllers, path in (line.split(":", 2) for line in lines):
        if number == "0":
            yield from ((2, place) for place in upwards(groups, path))
        elif controller in controllers.split(","):
            for base in dict.fromkeys((groups / controllers, groups / controller)):
                yield from ((1, place) for place in upwards(base, path))


def upwards(base, path):
    """base/a/b, base/a, base for the path /a/b; a path that leads out of a container's view is the base alone."""
    inner = PurePosixPath(path.strip("/"))
    inside = [] if ".." in inner.parts else [base / part for part in (inner, *inner.parents) if part.parts]
    return [*inside, base]


def group_room(place, limit, usage, cache):
    """Bytes left in a control group; files that the kernel keeps in memory count as free. ValueError without a limit."""
    kept = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
    return int((place / limit).read_text()) - int((place / usage).read_text()) + int(kept.get(cache, 0))
