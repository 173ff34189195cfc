"""The one dial."""

import random

import numpy as np
import pytest
import torch
from leaplm import runtime


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
    assert out.count("\n") == 1 and torch.__version__ in out


def test_peak_memory_counts_what_is_allocated():
    before = runtime.peak_memory_mb()
    block = np.ones(int(before * 1e6 / 8) + 25_000_000)  # more than the peak so far
    assert runtime.peak_memory_mb() > before and block.sum() > 0
