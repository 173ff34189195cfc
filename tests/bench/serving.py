"""`leaplm serve` under load, on this machine: capacity (closed loop), then 0.5, 0.9 and 3 times as much (open loop).

    python tests/bench/serving.py [--seconds 10] [--users 16] [--versions torch torch-int8 onnx-int8] [--no-ray]

The service is a process of its own, the client another, both on this machine, so they share its cores. MiniLM's size with an
untrained head: speed does not depend on the weights' values. One request is one text of a film review. Goals: no answer of
5xx but 503, no dropped connection, p95 of accepted requests at three times the capacity below 2 s (on two cores, one of
which is busy with sending), memory flat within 10 %. With ray installed, the same app with two replicas.
"""

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

import pandas as pd
from leaplm import artifacts, assets, compression, data, models, runtime
from leaplm.compression.checkpoint import save_compressed
from leaplm.serve import load, process

QUEUE, BATCH = 64, 16
LONGEST_MS = 2000  # p95 under three times the capacity
COLUMNS = ["offered_per_second", "accepted_per_second", "shed", "errors", "dropped", "p50_ms", "p95_ms", "memory_mb"]


def make_files(folder, texts):
    """{name: path}: a full model as lab 2 saves it, and a student of three layers as lab 8 does."""
    labels = ["negative", "positive"]
    card = {"lab": "bench", "language": "eng", "labels": labels}
    model = models.load_sequence_classifier(labels)
    artifacts.save_artifact(folder / "full.safetensors", model, models.load_sequence_classifier(labels), card)
    kept = compression.used_pieces(models.load_tokenizer(), texts)
    student = compression.make_student(compression.trim_embeddings(model, kept))
    save_compressed(folder / "student.safetensors", student, kept, card)
    return {"full": folder / "full.safetensors", "student": folder / "student.safetensors"}


def measure(address, memory, texts, arguments, factors=(0.5, 0.9, 3.0)):
    """Rows: the closed loop, then open loops at `factors` of its throughput. memory: a function that gives MB."""
    load.closed_loop(address, texts, arguments.users, 2)  # warm
    first = load.closed_loop(address, texts, arguments.users, arguments.seconds).summary()
    rows = [{"load": f"{arguments.users} users", **first, "memory_mb": memory()}]
    for factor in factors:
        result = load.open_loop(address, texts, factor * first["accepted_per_second"], arguments.seconds)
        rows.append({"load": f"{factor:g} x capacity", **result.summary(), "memory_mb": memory()})
    return rows


def bench(name, path, engine, texts, arguments):
    options = ("--engine", engine, "--queue", QUEUE, "--max-batch", BATCH)
    with process.running(path, *options) as service:
        rows = measure(service.address, service.memory_mb, texts, arguments)
    return [{"service": f"{name}, {engine}", **row} for row in rows]


def bench_ray(path, texts, arguments):
    from leaplm.serve import ray_app

    with ray_app.running(path, min_replicas=2, max_replicas=2, max_queue=QUEUE, max_batch=BATCH) as address:
        rows = measure(address, lambda: float("nan"), texts, arguments, factors=(3.0,))
        print("requests by replica:", ray_app.replicas_seen(address))
    return [{"service": "full, torch, Ray Serve with 2 replicas", **row} for row in rows]


def problems(table):
    """What is not as promised, in words."""
    found = []
    for name, rows in table.groupby("service", sort=False):
        if rows.errors.sum() or rows.dropped.sum():
            found.append(f"{name}: {rows.errors.sum()} errors, {rows.dropped.sum()} dropped connections")
        flood = rows.iloc[-1]
        if "Ray" not in name and flood.p95_ms > LONGEST_MS:
            found.append(f"{name}: p95 under overload is {flood.p95_ms:.0f} ms, above {LONGEST_MS} ms")
        if flood.memory_mb > 1.1 * rows.iloc[0].memory_mb:
            found.append(f"{name}: memory grew from {rows.iloc[0].memory_mb:.0f} to {flood.memory_mb:.0f} MB")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--versions", nargs="*", default=["torch", "torch-int8", "onnx-int8"])
    parser.add_argument("--no-ray", action="store_true")
    arguments = parser.parse_args()
    assets.fetch(["minilm", "vader"])
    runtime.describe_runtime()
    texts = list(data.load_sentiment("eng")["test"]["text"])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder), texts)
        plan = [("full", engine) for engine in arguments.versions] + [("student", "onnx-int8")]
        for name, engine in plan:
            rows += bench(name, files[name], engine, texts, arguments)
        if not arguments.no_ray and importlib.util.find_spec("ray"):
            rows += bench_ray(files["full"], texts, arguments)
    table = pd.DataFrame(rows)
    print(table.set_index(["service", "load"])[COLUMNS].round(0).to_string())
    if found := problems(table):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
