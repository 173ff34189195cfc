"""The parts of the service by themselves: simulated time, the queue, a small app around an endpoint of one's own."""

import asyncio

import numpy as np
import pytest
from leaplm.serve import batching, requests, simulated


async def nap(seconds):
    await asyncio.sleep(seconds)
    return asyncio.get_running_loop().time()


def test_simulated_time_takes_none_also_where_a_loop_runs():
    async def outer():
        before = asyncio.current_task()
        inside = simulated.run(nap(3600))
        await asyncio.sleep(0)
        return inside, asyncio.current_task() is before

    assert simulated.run(nap(86_000)) == 86_000
    assert asyncio.run(outer()) == (3600, True)


def test_what_never_ends_is_told():
    async def forever():
        while True:
            await asyncio.sleep(0)

    async def nothing():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(simulated.Stuck, match="never comes"):
        simulated.run(nothing())
    with pytest.raises(simulated.Stuck, match="without end"):
        simulated.run(forever(), most_steps=1000)


def test_what_is_left_in_a_loop_ends_with_it():
    ended = []

    async def left():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)

    async def main():
        task = asyncio.create_task(left())
        await asyncio.sleep(1)
        return task

    assert simulated.run(main()).cancelled() and ended == [True]


def test_a_request_larger_than_the_queue_may_wait_alone():
    async def main():
        queue = batching.RequestQueue(max_batch=2, max_wait=1, max_queue=3)
        queue.put(["a"] * 5)
        with pytest.raises(batching.Overloaded, match="try again in 1 s"):
            queue.put(["b"])
        return len((await queue.next_batch())[0].texts), asyncio.get_running_loop().time()

    assert simulated.run(main()) == (5, 0)


def test_more_load_waits_longer_and_then_is_turned_away():
    def loaded(rate):
        return simulated.open_loop(lambda: batching.RequestQueue(8, 0.01, 32), batching.answer_batches, rate, 5).summary()

    found = {rate: loaded(rate) for rate in (30, 400)}
    assert found[30]["shed"] == 0 and found[400]["shed"] > 100 and found[400]["p95_ms"] > 3 * found[30]["p95_ms"]
    assert found[400]["accepted_per_second"] == pytest.approx(133, rel=0.05)  # batches of 8 in 0.06 s


def test_a_body_of_many_brackets_is_no_crash():
    with pytest.raises(requests.Problem) as caught:
        requests.read_texts(b"[" * 200_000, 262_144, 8, 100)
    assert caught.value.status == 400


def test_a_small_app_answers_for_an_endpoint():
    testclient = pytest.importorskip("starlette.testclient")
    from leaplm.serve.small_app import small_app

    queue = batching.RequestQueue(max_batch=4, max_wait=0, max_queue=9)

    async def predict(texts):
        return np.zeros((len(texts), 2))

    class Endpoint:
        async def answer(self, body):
            if body == b"busy":
                return 503, {"error": {"code": "busy", "message": "later"}}, 2
            return 200, {"predictions": (await queue.put([body.decode()])).tolist()}, None

        def metrics(self):
            return {"ok": 1}

    app = small_app(Endpoint(), lambda: batching.answer_batches(queue, predict), queue.close)
    with testclient.TestClient(app) as client:
        assert client.post("/predict", content=b"a").json() == {"predictions": [[0.0, 0.0]]}
        busy = client.post("/predict", content=b"busy")
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "2")
        assert client.get("/metrics").json() == {"ok": 1}
    assert queue.closed
