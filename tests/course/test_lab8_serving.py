"""Lab 8: what it teaches is what the library does."""

import json

import numpy as np
import pytest
import torch
from leaplm import compression
from leaplm.grading.course import lab_file
from leaplm.grading.judge import simulations
from leaplm.serve import batching, keys, requests, simulated
from repo import ROOT
from solved import solved_lab

lab8 = solved_lab("lab8_serving")
rng = np.random.default_rng(0)


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


BODIES = [b'{"texts": ["a", " b"]}', b"{", b"", b"\xff", b"[]", b"7", b'{"texts": "a"}', b'{"texts": []}',
          b'{"texts": ["a", 7]}', b'{"texts": ["\\n"]}', b'{"texts": ["a", "\\ud800"]}', b'{"texts": ["12345678901"]}',
          b'{"texts": ["a", "a", "a", "a"]}', b'{"texts": ["a"], "more": 1}', b"x" * 101]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:30].decode("latin-1"))
def test_lab8_reads_requests_as_the_library(lab8, body):
    plan = {"bodies": [body.decode("latin-1")], "limits": (100, 3, 10)}
    ours, theirs = (simulations.play_reading(read, plan)[0][:2] for read in (lab8["read_texts"], requests.read_texts))
    assert ours == theirs


def test_lab8_bucket_is_the_librarys(lab8):
    asks = [[float(moment), 0] for moment in np.sort(rng.integers(0, 80, size=50)) / 8]
    plan = {"made_at": 0.0, "settings": [[2.0, 5]], "asks": asks}
    ours, theirs = (simulations.play_buckets(made, plan) for made in (lab8["TokenBucket"], keys.TokenBucket))
    assert ours == theirs and 0 < sum(wait > 0 for wait in ours) < 50


def test_lab8_queue_and_worker_are_the_librarys(lab8):
    moments = np.sort(rng.uniform(0, 1, size=40)).tolist()
    events = [(moment, str(1 + number % 3), number) for number, moment in enumerate(moments)]
    plan = {"limits": [4, 0.05, 9], "busy": 0.1, "events": sorted([*events, (0.5, "leave", 8), (2.0, "close", -1)])}
    ours, theirs = (simulations.PLAYED["queue"](made, plan) for made in (lab8["RequestQueue"], batching.RequestQueue))
    assert ours == theirs and len(ours["refused"]) > 5 and len(ours["batches"]) > 5
    plan = {"batches": [[["a", "b"], ["cc"]], [["fail"], ["d"]], [["e"]]], "leave": [(0.5, 1)], "lists": False}
    ours, theirs = (simulations.PLAYED["worker"](made, plan) for made in (lab8["answer_batches"], batching.answer_batches))
    assert ours == theirs and [answer[0] for answer in ours["answers"]] == ["rows", "left", "error", "error", "rows"]


def test_lab8_endpoint_gives_the_statuses_of_the_librarys_app(lab8):
    testclient = pytest.importorskip("starlette.testclient")
    from leaplm.serve.app import Settings, create_app

    class Lengths:
        labels, card, name = ["no", "yes"], {}, "lengths"

        def predict(self, texts):
            if "fail" in texts:
                raise RuntimeError("0803 123 4567 must not be told")
            return np.array([[len(text) / 100, 1 - len(text) / 100] for text in texts])

    bodies = [*BODIES, b'{"texts": ["fail"]}']
    app = create_app(Lengths(), Settings(max_texts=3, max_characters=10, max_body_bytes=100))
    with testclient.TestClient(app) as client:
        theirs = [client.post("/predict", content=body).status_code for body in bodies]
    events = [(float(i), body.decode("latin-1"), i) for i, body in enumerate(bodies)]
    plan = {"queue": [1, 0.0, 64], "bucket": [1.0, 99], "limits": (100, 3, 10), "busy": 0.0,
            "events": [*events, (99.0, "close", -1)]}  # fmt: skip
    log = simulations.PLAYED["endpoint"](lab8["Endpoint"], plan)
    assert [log["answers"][i][0] for i in range(len(bodies))] == theirs and {200, 400, 413, 422, 500} == set(theirs)
    assert "0803" not in json.dumps(log)


def test_lab8_names_the_numbers_to_beat():
    """Of the open task: simulated time gives the same ones everywhere."""
    said = " ".join(lab_file(ROOT, "lab8_serving", "lab.py").read_text(encoding="utf-8").replace("\n#", "").split())
    found = {rate: simulated.open_loop(lambda: batching.RequestQueue(max_batch=8, max_wait=0.01, max_queue=32),
                                       batching.answer_batches, rate).summary() for rate in (30, 100, 300)}  # fmt: skip
    p95 = {rate: round(summary["p95_ms"]) for rate, summary in found.items()}
    assert f"a `p95_ms` of {p95[30]} at 30 requests a second and of {p95[300]} at 300" in said
    assert f"{found[300]['accepted_per_second']:.0f} a second are still answered" in said
    assert found[100]["shed"] == 0 and f"stays at {p95[100]} or less" in said
