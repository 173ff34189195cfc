"""The service: answers, refusals, limits, keys, batches, overload, metrics, log, and an end that loses nothing."""

import asyncio
import io
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

for needed in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(needed, reason='the service needs pip install "leaplm[serve]"')

import httpx2  # noqa: E402
import yaml  # noqa: E402
from leaplm import artifacts, compression, evaluation, models, small_machines  # noqa: E402
from leaplm.compression import engine  # noqa: E402
from leaplm.compression.checkpoint import save_compressed  # noqa: E402
from leaplm.peft import lora  # noqa: E402
from leaplm.serve import keys, load, process, run  # noqa: E402
from leaplm.serve.app import Settings, create_app  # noqa: E402
from leaplm.serve.batching import Batcher, Overloaded  # noqa: E402
from leaplm.serve.logs import make_logger  # noqa: E402

LABELS = ["no", "yes"]


class Counting:
    """An engine whose answer is the length of a text, and that takes `seconds` a batch."""

    labels, card, name = LABELS, {"lab": "test"}, "counting"

    def __init__(self, seconds=0.0):
        self.seconds, self.batches = seconds, []

    def predict(self, texts):
        self.batches.append(len(texts))
        time.sleep(self.seconds)
        if "fail" in texts:
            raise RuntimeError("0803 123 4567 must not be told")
        yes = np.array([min(len(text), 100) / 100 for text in texts])
        return np.stack([1 - yes, yes], axis=1)


@pytest.fixture
def serving():
    """serving(engine, keys=..., settings...) -> httpx2.Client of the app, with .engine, .stream (the log) and .address."""
    import contextlib

    stack = contextlib.ExitStack()

    def start(counting=None, known=(), **settings):
        app = create_app(made := counting or Counting(), Settings(**settings), known, make_logger(stream := io.StringIO()))
        address = stack.enter_context(process.in_thread(app))
        client = stack.enter_context(httpx2.Client(base_url=address, trust_env=False, timeout=30))
        client.engine, client.stream, client.address, client.service = made, stream, address, app.state.service
        return client

    with stack:
        yield start


def ask(client, *texts, **headers):
    return client.post("/predict", json={"texts": list(texts)}, headers=headers)


def test_each_text_gets_its_own_answer(serving):
    answers = ask(serving(), "a" * 10, "b" * 90).json()["predictions"]
    assert [(a["label"], a["confidence"]) for a in answers] == [("no", 0.9), ("yes", 0.9)]
    assert answers[0]["probabilities"] == {"no": 0.9, "yes": 0.1}


@pytest.mark.parametrize(("body", "status", "told"), [
    (b'{"texts": "hello"}', 422, "list of strings"), (b'{"texts": [1]}', 422, r"texts\[0\]"), (b"{", 400, "not valid JSON"),
    (b'{"text": ["a"]}', 422, "missing"), (b'{"texts": []}', 422, "1 to 3"),
    (b'{"texts": ["a", "a", "a", "a"]}', 422, "not 4"),
    (b'{"texts": [" "]}', 422, "empty"), (b'{"texts": ["' + b"x" * 60 + b'"]}', 422, "60 characters"), (b"", 400, "JSON"),
    (b'{"texts": ["\\ud800"]}', 422, "character"), (b'{"texts": ["\xff"]}', 400, "JSON"), (b"[" * 900, 400, "JSON"),
    (b'{"texts": ["' + b"x" * 2000 + b'"]}', 413, "1000 bytes"), (b'{"texts": [NaN]}', 422, "string"),
])  # fmt: skip
def test_bad_requests_get_one_clear_error_and_break_nothing(serving, body, status, told):
    client = serving(max_texts=3, max_characters=50, max_body_bytes=1000)
    answer = client.post("/predict", content=body)
    assert answer.status_code == status and re.search(told, answer.json()["error"]["message"])
    assert b"xxxx" not in answer.content, "an error does not repeat the text"
    assert ask(client, "still here").status_code == 200


def test_a_body_without_a_length_is_cut_off_too(serving):
    client = serving(max_body_bytes=1000)
    answer = client.post("/predict", content=(b"x" * 100 for _ in range(100)))
    assert answer.status_code == 413 and 'status="413"' in client.get("/metrics").text


def test_a_body_that_does_not_come_is_not_waited_for(serving):
    client = serving(body_seconds=0.3)
    with socket.create_connection(("127.0.0.1", int(client.address.rsplit(":", 1)[1])), timeout=20) as line:
        line.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        assert b" 408 " in line.recv(1000)


def test_other_paths_and_methods_answer_in_json(serving):
    client = serving()
    found = {path: client.get(path).status_code for path in ("/healthz", "/readyz", "/nothing", "/predict", "/docs")}
    assert found == {"/healthz": 200, "/readyz": 200, "/nothing": 404, "/predict": 405, "/docs": 404}
    assert client.get("/nothing").json()["error"]["code"] == "http"


def test_a_fault_of_the_model_is_500_without_details_and_the_next_request_works(serving):
    client = serving()
    answer = ask(client, "fail")
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal"
    assert "RuntimeError" in client.stream.getvalue() and "0803" not in answer.text + client.stream.getvalue()
    assert ask(client, "fine").status_code == 200


# -- keys and rates ------------------------------------------------------------------------------------------------------


def test_keys_are_asked_for_and_never_stored(serving, tmp_path):
    key = keys.add_key(tmp_path / "keys.json", "clinic")
    text = (tmp_path / "keys.json").read_text()
    assert key not in text and (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    client = serving(known=keys.read_keys(tmp_path / "keys.json"))
    tried = [{}, {"X-API-Key": key[:-1]}, {"X-API-Key": json.loads(text)["keys"][0]["hash"]},
             {"Authorization": f"Basic {key}"}]
    assert [ask(client, "a", **headers).status_code for headers in tried] == [401] * 4
    assert [client.get(path).status_code for path in ("/metrics", "/model", "/healthz", "/readyz")] == [401, 401, 200, 200]
    for header in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
        assert ask(client, "a", **header).status_code == 200
    assert '"key": "clinic"' in client.stream.getvalue() and key not in client.stream.getvalue()


def test_a_key_that_asks_too_often_waits_and_others_do_not(serving, tmp_path):
    greedy, calm = (keys.add_key(tmp_path / "k.json", name, limit) for name, limit in (("greedy", 12), ("calm", 0)))
    client = serving(known=keys.read_keys(tmp_path / "k.json"))
    answers = [ask(client, "a", **{"X-API-Key": greedy}) for _ in range(6)]
    assert [a.status_code for a in answers] == [200, 200, 429, 429, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 5
    assert ask(client, "a", **{"X-API-Key": calm}).status_code == 200


@pytest.mark.parametrize("content", ["", "[]", '{"keys": []}', '{"keys": [{"name": "a", "salt": "zz", "hash": "00"}]}'])
def test_a_damaged_key_file_is_refused(tmp_path, content):
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(ValueError, match="key file"):
        keys.read_keys(tmp_path / "keys.json")


def test_a_name_is_given_once(tmp_path):
    keys.add_key(tmp_path / "k.json", "clinic")
    with pytest.raises(ValueError, match="already"):
        keys.add_key(tmp_path / "k.json", "clinic")


# -- batches and overload ------------------------------------------------------------------------------------------------


def batch_sizes(arrivals, **settings):
    """Sizes of the batches that the Batcher makes of single texts at these times."""
    counting = Counting()

    async def run():
        batcher = Batcher(counting.predict, **settings)
        await batcher.start()
        began, asked = time.monotonic(), []
        for moment in arrivals:
            await asyncio.sleep(max(0, began + moment - time.monotonic()))
            asked.append(asyncio.create_task(batcher.submit(["a"])))
        await asyncio.gather(*asked)
        await batcher.stop()

    asyncio.run(run())
    return counting.batches


def test_a_batch_goes_when_it_is_full_or_its_first_text_has_waited():
    assert batch_sizes([0, 0, 0, 0, 0, 0.6, 0.6, 1.5], max_batch=3, max_wait=0.3) == [3, 2, 2, 1]


def test_what_the_queue_does_not_hold_is_turned_away_at_once_and_the_rest_is_answered():
    counting = Counting(seconds=0.2)

    async def run():
        batcher = Batcher(counting.predict, max_batch=2, max_wait=0, max_queue=4)
        await batcher.start()
        started = time.monotonic()
        found = await asyncio.gather(*(batcher.submit([str(i)]) for i in range(20)), return_exceptions=True)
        await batcher.stop()
        return found, time.monotonic() - started

    found, seconds = asyncio.run(run())
    shed = [error for error in found if isinstance(error, Overloaded)]
    assert len(shed) == 16 and all(error.reason == "queue_full" and error.retry_after >= 1 for error in shed)
    assert sum(isinstance(rows, np.ndarray) for rows in found) == 4 and seconds < 3


def test_requests_that_waited_too_long_or_were_left_are_not_computed():
    counting = Counting(seconds=0.4)

    async def run():
        batcher = Batcher(counting.predict, max_batch=1, max_wait=0, max_queue=9, patience=0.2)
        await batcher.start()
        first = asyncio.create_task(batcher.submit(["a"]))
        await asyncio.sleep(0.05)
        late, left = asyncio.create_task(batcher.submit(["b"])), asyncio.create_task(batcher.submit(["c"]))
        await asyncio.sleep(0)
        left.cancel()
        found = await asyncio.gather(first, late, left, return_exceptions=True)
        await batcher.stop()
        return found, batcher.queue.texts_waiting

    (first, late, left), waiting = asyncio.run(run())
    assert first.shape == (1, 2) and late.reason == "waited_too_long" and isinstance(left, asyncio.CancelledError)
    assert counting.batches == [1] and waiting == 0


def test_a_flood_gets_only_answers_and_clear_refusals(serving):
    client = serving(Counting(seconds=0.05), max_batch=2, max_queue=6)
    result = load.open_loop(client.address, ["a"], rate=150, seconds=2)
    found = result.summary()
    assert found["requests"] == 300 and found["errors"] == found["dropped"] == 0
    assert found["accepted"] + found["shed"] == 300 and found["accepted"] > 20 and found["shed"] > 20
    text = client.get("/metrics").text
    assert f'leaplm_requests_total{{status="200"}} {found["accepted"]:.1f}' in text
    assert f'leaplm_shed_total{{reason="queue_full"}} {found["shed"]:.1f}' in text and "leaplm_queue_texts 0.0" in text


def test_busy_answers_say_when_to_come_back(serving):
    client = serving(Counting(seconds=0.5), max_batch=1, max_queue=1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: ask(client, "a"), range(8)))
    busy = [a for a in answers if a.status_code == 503]
    assert busy and all(1 <= int(a.headers["retry-after"]) <= 30 and a.json()["error"]["code"] == "queue_full" for a in busy)


def test_the_end_answers_what_was_accepted(serving):
    app = create_app(Counting(seconds=0.7), Settings(max_batch=1), (), logging.getLogger("quiet"))
    found, queue = [], app.state.service.batcher.queue
    with process.in_thread(app) as address:
        def one():
            body = {"texts": ["a"]}
            found.append(httpx2.post(f"{address}/predict", json=body, trust_env=False, timeout=30).status_code)

        threads = [threading.Thread(target=one) for _ in range(3)]
        for thread in threads:
            thread.start()
        while queue.texts_waiting + queue.texts_running < 3:
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert found == [200, 200, 200]


# -- metrics, alerts, log ------------------------------------------------------------------------------------------------


def test_alert_rules_parse_and_name_metrics_that_exist(serving):
    client = serving(Counting(seconds=0.2), max_queue=1, max_batch=1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: ask(client, "a"), range(4)))
    there = set(re.findall(r"^(leaplm_\w+)", client.get("/metrics").text, re.M))
    rules = yaml.safe_load((Path(run.__file__).parent / "alerts.yml").read_text())["groups"][0]["rules"]
    assert len(rules) >= 5
    for rule in rules:
        assert {"alert", "expr", "for", "labels", "annotations"} <= set(rule) and rule["annotations"]["todo"]
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert set(re.findall(r"leaplm_\w+", rule["expr"])) <= there, rule["alert"]


def test_the_log_is_json_without_texts_and_with_them_redacted(serving):
    secret = 'Amina, 0803 123 4567\n{"level": "error"} amina@shop.ng'
    quiet, telling = serving(), None
    ask(quiet, secret)
    assert "Amina" not in quiet.stream.getvalue()
    telling = serving(log_texts=True)
    ask(telling, secret)
    lines = [json.loads(line) for line in telling.stream.getvalue().splitlines()]
    assert len(lines) == 1 and "[PHONE]" in lines[0]["said"][0] and "[EMAIL]" in lines[0]["said"][0]
    assert "0803" not in telling.stream.getvalue()


# -- files ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(assets_ready, tmp_path_factory):
    """{kind: path} of untrained models in the forms in which the labs save them."""
    folder, reference = tmp_path_factory.mktemp("files"), models.load_sequence_classifier(LABELS)
    card = {"labels": LABELS, "language": "eng", "lab": "lab2_finetuning"}
    artifacts.save_artifact(folder / "full", models.load_sequence_classifier(LABELS), reference, card)
    adapted = lora.inject_lora(models.load_sequence_classifier(LABELS), rank=2, alpha=4)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    places = lora.inject_lora(models.load_sequence_classifier(LABELS), rank=2, alpha=4)
    settings = {"targets": ["query", "value"], "rank": 2, "alpha": 4}
    artifacts.save_artifact(folder / "lora", adapted, places, {**card, "lora": settings})
    kept = compression.used_pieces(models.load_tokenizer(), ["a good film"])
    small = compression.make_student(compression.trim_embeddings(reference, kept), (0,))
    save_compressed(folder / "compressed", small, kept, card)
    return {"folder": folder, "adapted": adapted, **{name: folder / name for name in ("full", "lora", "compressed")}}


@pytest.mark.parametrize("kind", ["full", "lora", "compressed"])
def test_files_of_the_labs_are_served(files, kind):
    made = engine.load_engine(files[kind])
    probabilities = made.predict(["A good film.", "Dull, dull, dull", "no"])
    assert made.labels == LABELS and probabilities.shape == (3, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(made.predict(["no"])[0], probabilities[2], atol=1e-5)


def test_the_onnx_engine_gives_the_same_scores_and_a_file_for_other_programs(files, tmp_path):
    import onnxruntime
    import tokenizers
    from leaplm.compression.engine import load_exported
    from leaplm.compression.export import main

    main([str(files["compressed"]), str(tmp_path / "out")])
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    ids = np.array([tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).encode("A good film.").ids])
    [logits] = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    want = engine.load_engine(files["compressed"]).predict(["A good film."])
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), want, atol=1e-5)
    np.testing.assert_allclose(load_exported(files["compressed"], int8=True)(ids, np.ones_like(ids)), logits, atol=0.05)


def test_an_adapter_is_served_merged_with_its_own_scores(files):
    import torch

    made = engine.load_engine(files["lora"])
    batch = models.load_tokenizer()(["A good film."], return_tensors="pt")
    with torch.no_grad():
        logits = files["adapted"].eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    np.testing.assert_allclose(made.predict(["A good film."]), logits.softmax(-1).numpy(), atol=2e-3)  # 16-bit in the file


@pytest.fixture(scope="module")
def tfidf(tmp_path_factory):
    """(path of a saved TF-IDF classifier, the scikit-learn pipeline that it was made of)."""
    texts = ["good soap", "very good", "bad soap", "very bad", "dull", "fine"]
    pipeline = evaluation.tfidf_classifier("characters").fit(texts, [1, 1, 0, 0, 0, 1])
    path = tmp_path_factory.mktemp("tfidf") / "small.safetensors"
    small_machines.save_predictor(path, small_machines.from_pipeline(pipeline, LABELS, "eng", lab="test"), bits=32)
    return path, pipeline


def test_a_tfidf_file_is_served_with_scikit_learns_probabilities_and_without_pytorch(tfidf):
    path, pipeline = tfidf
    texts = ["Good SOAP!", "bad  day", "???"]
    with process.running(path) as service, httpx2.Client(base_url=service.address, trust_env=False, timeout=30) as client:
        answers = ask(client, *texts).json()["predictions"]
        found = [[answer["probabilities"][name] for name in LABELS] for answer in answers]
        np.testing.assert_allclose(found, pipeline.predict_proba(texts), atol=1e-5)
        assert client.get("/model").json()["engine"] == "numpy"
        loaded = Path(f"/proc/{service.pid}/maps")
        assert not loaded.is_file() or "torch" not in loaded.read_text()


def test_a_tfidf_file_needs_no_other_engine_and_a_damaged_one_is_refused_before_a_port_opens(tfidf, tmp_path):
    path, _ = tfidf
    with pytest.raises(ValueError, match="leave --engine out"):
        run.prepare(path, engine="onnx")
    (tmp_path / "half").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="cannot be served: the file is damaged"):
        run.prepare(tmp_path / "half")


@pytest.mark.parametrize(("content", "told"), [
    (b"", "not an artifact"), (b"\x80\x04K\x01.", "not an artifact"), (None, "labels"), ("no head", "no trained head"),
    ("half", "not an artifact")])
def test_foreign_files_are_refused_before_a_port_opens(files, content, told, tmp_path):
    import torch
    from safetensors.torch import save

    if content is None or content == "no head":
        card = {"labels": LABELS} if content else {}
        content = save({"bert.x": torch.zeros(1)}, metadata={artifacts.CARD: json.dumps(card)})
    elif content == "half":
        content = files["full"].read_bytes()[:300]
    (tmp_path / "odd.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=f"cannot be served.*{told}"):
        engine.load_classifier(tmp_path / "odd.safetensors")


def test_other_addresses_need_keys():
    with pytest.raises(ValueError, match="other machines"):
        run.prepare("nothing", host="0.0.0.0")
    assert run.is_loopback("127.0.0.1") and run.is_loopback("::1") and not run.is_loopback("example.org")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        run.prepare("nothing.safetensors")


# -- the real thing ------------------------------------------------------------------------------------------------------


def test_leaplm_serve_from_the_command_line(files):
    with process.running(files["compressed"], "--max-batch", 4) as service:
        client = httpx2.Client(base_url=service.address, trust_env=False, timeout=30)
        assert ask(client, "a good film").json()["predictions"][0]["label"] in LABELS
        assert load.closed_loop(service.address, ["a good film"], users=4, seconds=1).summary()["accepted"] >= 4
        with socket.create_server(("127.0.0.1", 0)) as busy:
            command = [sys.executable, "-m", "leaplm", "serve", files["compressed"], "--port", str(busy.getsockname()[1])]
            second = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert second.returncode == 1 and "cannot listen" in second.stderr
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) in (0, -signal.SIGTERM)


def test_ray_serve_shares_requests_between_two_replicas(files):
    pytest.importorskip("ray", reason='several replicas need pip install "leaplm[scale]"')
    from leaplm.serve import ray_app

    with ray_app.running(files["compressed"], min_replicas=2, max_replicas=2) as address:
        result = load.closed_loop(address, ["a good film"], users=4, seconds=2).summary()
        for _ in range(20):  # on a busy machine one of them may be starting still
            seen = ray_app.replicas_seen(address)
            if len(seen) == 2 and min(seen.values()) >= 5:
                break
    assert result["accepted"] == result["requests"] >= 4
    assert len(seen) == 2 and min(seen.values()) >= 5


def test_the_command_line_says_what_is_wrong(tmp_path):
    from leaplm.cli.app import app
    from typer.testing import CliRunner

    call, file = CliRunner().invoke, str(tmp_path / "keys.json")
    made = call(app, ["add-key", "clinic", "--keys", file, "--per-minute", "60"])
    assert made.exit_code == 0 and keys.find_key(made.output.strip(), keys.read_keys(file)).per_minute == 60
    for arguments, told in ((["add-key", "clinic", "--keys", file], "already"), (["serve", "nothing"], "does not exist"),
                            (["serve", "nothing", "--host", "0.0.0.0"], "--keys"),
                            (["serve", "nothing", "--max-batch", "0"], "greater than 0"),
                            (["serve", "nothing", "--keys", str(tmp_path / "none.json")], "does not exist"),
                            (["serve", file, "--engine", "fast"], "onnx-int8")):
        answer = call(app, arguments)
        assert answer.exit_code == 1 and told in answer.output, (arguments, answer.output)
