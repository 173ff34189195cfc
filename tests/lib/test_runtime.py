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
