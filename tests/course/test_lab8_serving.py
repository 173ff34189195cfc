"""Lab 8: what it teaches is what the library does."""

import numpy as np
import pytest
import torch
from leaplm import compression
from leaplm.compression import latency
from leaplm.serve import batching, keys, metrics
from solved import solved_lab

lab8 = solved_lab("lab8_serving")
rng = np.random.default_rng(0)


def test_lab8_latency_is_the_librarys(lab8):
    starts = rng.uniform(0, 5, size=37)
    ends = starts + rng.exponential(size=37)
    assert lab8["latency_summary"](starts, ends) == pytest.approx(latency.latency_summary(starts, ends))


def test_lab8_numbers_and_masks_are_the_librarys(lab8):
    weight = torch.randn(6, 9)
    weight[2] = 0
    for ours, theirs in zip(lab8["quantize_int8"](weight), compression.quantize_int8(weight), strict=True):
        assert torch.equal(ours, theirs)
    for share in (0.0, 0.35, 1.0):
        assert torch.equal(lab8["magnitude_mask"](weight, share), compression.magnitude_mask(weight, share))


def test_lab8_distillation_loss_is_the_librarys(lab8):
    z, t, y = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    for temperature, weight in ((1.0, 0.0), (2.0, 0.9), (4.0, 1.0)):
        torch.testing.assert_close(lab8["distillation_loss"](z, t, y, temperature, weight),
                                   compression.distillation_loss(z, t, y, temperature, weight))


def test_lab8_batches_are_the_librarys(lab8):
    arrivals = np.sort(rng.uniform(0, 1, size=60)).tolist()
    for size, wait in ((1, 0.1), (5, 0.05), (60, 0.3), (4, 0.0)):
        assert lab8["collect_batches"](arrivals, size, wait) == batching.collect_batches(arrivals, size, wait)


def test_lab8_bucket_is_the_librarys(lab8):
    times = np.sort(rng.integers(0, 80, size=50) / 8).tolist()
    bucket = keys.TokenBucket(2, 5, times[0])
    assert lab8["token_bucket"](times, 2, 5) == [bucket.take(now) == 0 for now in times]


def test_lab8_alert_is_the_librarys(lab8):
    times, asked = np.cumsum(rng.choice([10, 15], size=50)), np.cumsum(rng.integers(0, 9, size=50))
    failed = np.cumsum(rng.integers(0, 3, size=50))
    asked[30:], failed[30:] = asked[30:] - asked[30], failed[30:] - failed[30]  # a restart
    arguments = (times.tolist(), asked.tolist(), failed.tolist(), 45, 0.25, 30)
    assert lab8["alert_fires"](*arguments) == metrics.alert_fires(*arguments)
