"""The one dial."""

import gc
import multiprocessing
import os
import random
import re

import numpy as np
import psutil
import pytest
import torch
from leaplm import runtime
from repo import ROOT


@pytest.mark.parametrize("word, want", [("tiny", "tiny"), (" CPU ", "cpu"), ("gpu", "gpu")])
def test_scale_is_read_from_the_environment(monkeypatch, word, want):
    monkeypatch.setenv("LEAPLM_SCALE", word)
    assert runtime.scale() == want
    assert runtime.by_scale(tiny="tiny", cpu="cpu", gpu="gpu") == want


def test_scale_without_the_variable_follows_the_machine(monkeypatch):
    monkeypatch.delenv("LEAPLM_SCALE", raising=False)
    assert runtime.scale() == ("gpu" if torch.cuda.is_available() else "cpu")


def test_unknown_scale_is_a_clear_error(monkeypatch):
    monkeypatch.setenv("LEAPLM_SCALE", "huge")
    with pytest.raises(ValueError, match="tiny, cpu, gpu"):
        runtime.scale()


def test_precision_is_fp32_on_a_cpu_and_fp16_where_the_gpu_has_no_bf16(monkeypatch):
    monkeypatch.setenv("LEAPLM_SCALE", "cpu")
    assert runtime.mixed_precision() == "no"
    monkeypatch.setattr(runtime, "get_device", lambda: torch.device("cuda"))
    for capability, want in (((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda value=capability: value)
        assert runtime.mixed_precision() == want


def test_set_seed_repeats_all_three_generators():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    runtime.set_seed(7)
    first = draw()
    runtime.set_seed(7)
    assert draw() == first


def test_describe_runtime_prints_one_line(capsys):
    runtime.describe_runtime()
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and torch.__version__.partition("+")[0] in out
    assert len(out) <= 104  # what a notebook shows in one line; a GPU's name may take more


def test_peak_memory_counts_what_is_allocated():
    fork = multiprocessing.get_context("fork").Process(target=hold_more_than_ever)  # whose peak is what is held now
    fork.start()
    fork.join()
    assert fork.exitcode == 0


def hold_more_than_ever():
    before, now = runtime.peak_memory_mb(), psutil.Process().memory_info().rss / 1e6
    block = np.ones(int(max(before - now, 0) * 1e6 / 8) + 25_000_000)
    assert runtime.peak_memory_mb() > before and block.sum() > 0


def test_available_memory_is_that_of_the_container(tmp_path):
    def group(place, **files):
        place.mkdir(parents=True)
        for name, text in files.items():
            (place / name.replace("__", ".")).write_text(text)

    group(tmp_path / "two", memory__max="2000000000\n", memory__current="900000000\n",
          memory__stat="inactive_file 100000000\n")
    group(tmp_path / "one" / "memory" / "box", memory__limit_in_bytes="1000000000", memory__usage_in_bytes="600000000",
          memory__stat="total_inactive_file 0\n")
    (tmp_path / "v2").write_text("0::/\n")
    (tmp_path / "v1").write_text("3:cpu:/\n2:memory:/box\n")
    assert runtime.available_memory_mb(tmp_path / "v2", tmp_path / "two") == 1200
    assert runtime.available_memory_mb(tmp_path / "v1", tmp_path / "one") == 400
    (tmp_path / "two" / "memory.max").write_text("max\n")
    assert runtime.available_memory_mb(tmp_path / "v2", tmp_path / "two") > 1200
    assert runtime.available_memory_mb(tmp_path / "nowhere", tmp_path) > 100


def container(folder, groups, lines):
    """A /proc/self/cgroup with these lines, and the files of control groups {path: {name: text}}."""
    for path, files in groups.items():
        (folder / "cgroup" / path).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / "cgroup" / path / name).write_text(text)
    (folder / "lines").write_text("".join(f"{line}\n" for line in lines))
    return folder / "lines", folder / "cgroup"


MEMORY_2 = {"memory.max": "3000000000\n", "memory.current": "500000000\n", "memory.stat": "inactive_file 0\n"}
MEMORY_1 = {"memory.limit_in_bytes": "3000000000", "memory.usage_in_bytes": "500000000",
            "memory.stat": "total_inactive_file 0\n"}


@pytest.mark.parametrize(("groups", "lines"), [
    ({"": MEMORY_2}, ["0::/"]),                                                     # a container's own view
    ({"": MEMORY_2}, ["0::/system.slice/docker-0123.scope"]),                       # its own files, the host's path
    ({"": MEMORY_2}, ["0::/../../kubepods/pod1"]),
    ({"user.slice/box": MEMORY_2, "user.slice/box/inner": {"memory.max": "max\n"}}, ["0::/user.slice/box/inner/leaf"]),
    ({"memory": MEMORY_1}, ["5:cpu,cpuacct:/", "4:memory:/"]),
    ({"memory/docker/0123": MEMORY_1}, ["4:memory:/docker/0123/leaf"]),
    ({"memory": {"memory.limit_in_bytes": "9223372036854771712"}, "memory/a": MEMORY_1}, ["2:memory:/a", "0::/"]),
])
def test_memory_is_that_of_the_container_wherever_the_limit_stands(tmp_path, groups, lines):
    proc, root = container(tmp_path, groups, lines)
    assert runtime.memory_mb(proc, root) == 3000
    assert runtime.available_memory_mb(proc, root) == 2500


def test_a_container_that_is_over_its_limit_has_nothing_left(tmp_path):
    proc, root = container(tmp_path, {"": MEMORY_2 | {"memory.current": "3100000000"}}, ["0::/"])
    assert runtime.available_memory_mb(proc, root) == 0


@pytest.mark.parametrize(("groups", "lines", "cores"), [
    ({"": {"cpu.max": "200000 100000\n"}}, ["0::/"], 2),
    ({"": {"cpu.max": "max 100000\n"}}, ["0::/"], 8),
    ({"": {"cpu.max": "50000 100000\n"}}, ["0::/pod/box"], 1),
    ({"a": {"cpu.max": "250000 100000\n"}, "a/b": {"cpu.max": "max 100000\n"}}, ["0::/a/b"], 3),
    ({"cpu,cpuacct/box": {"cpu.cfs_quota_us": "400000", "cpu.cfs_period_us": "100000"}}, ["3:cpu,cpuacct:/box"], 4),
    ({"cpu": {"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "100000"}}, ["3:cpu,cpuacct:/host/path"], 1),
    ({"cpu": {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}}, ["3:cpu:/"], 8),
    ({"": {"cpu.max": "9900000 100000\n"}}, ["0::/"], 8),
    ({}, [], 8),
])
def test_processors_are_the_share_of_the_container(tmp_path, monkeypatch, groups, lines, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    proc, root = container(tmp_path, groups, lines)
    assert runtime.processors(proc, root) == cores


def test_nobody_else_counts_memory_or_processors():
    """One place knows what is ours: whoever asks psutil or os instead plans for the whole host."""
    counts = re.compile(r"virtual_memory\(|cpu_count\(|sched_getaffinity\(|SC_PHYS_PAGES")
    sources = [path for folder in ("lib", "course") for path in (ROOT / folder).rglob("*.py")]
    asking = {path.relative_to(ROOT).as_posix() for path in sources if counts.search(path.read_text(encoding="utf-8"))}
    assert asking == {"lib/leaplm/runtime.py", "course/tools/binder.py"}     # binder.py gives one processor away


def test_the_collector_rests_until_modules_are_kept_and_then_is_as_it_was():
    before = gc.get_threshold()
    try:
        runtime.keep_modules.cache_clear()
        runtime.expect_modules()
        assert gc.get_threshold() == runtime.RARELY
        runtime.keep_modules()
        assert gc.get_threshold() == runtime.USUALLY
        runtime.expect_modules()  # too late: nothing would end it
        assert gc.get_threshold() == runtime.USUALLY
    finally:
        gc.set_threshold(*before)
