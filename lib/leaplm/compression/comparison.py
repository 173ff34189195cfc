"""Versions of one classifier side by side: size, speed, score. A version is a `serve.engine.Engine`."""

import io
import itertools

import numpy as np
import pandas as pd
import torch

from leaplm.compression.engine import Engine, make_forward
from leaplm.compression.latency import percentile, time_in_turns
from leaplm.evaluation import seeds_and_texts_interval


def megabytes(model):
    """Size in MB of a file with all of a PyTorch model's weights as they are."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return len(buffer.getbuffer()) / 1e6


def version(model, tokenizer, labels, engine="torch"):
    """A model as an Engine; engine: "torch" or "torch-int8"."""
    return Engine(make_forward(model, engine), tokenizer, labels, {"labels": labels}, engine)


def predict_all(engine, texts, batch_size=32):
    """Class numbers (n,) of many texts, in batches of similar length."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    parts = [engine.predict([texts[i] for i in order[start : start + batch_size]]).argmax(axis=1)
             for start in range(0, len(order), batch_size)]
    return np.concatenate(parts)[np.argsort(order, kind="stable")]


def score_versions(engines, texts, labels, known=None):
    """A DataFrame by name: accuracy with its 95 % interval over test texts, and its change against the first version.

    All versions answer the same texts, so the change is judged text by text (paired): `change low` to `change high` is its
    interval, and 0 inside means that these texts do not show a difference. Rows of `known`, an earlier one, are kept.
    """
    hits = {} if known is None else dict(known.attrs["hits"])
    for name, engine in engines.items():
        if name not in hits:
            hits[name] = np.asarray(predict_all(engine, texts) == np.asarray(labels), dtype=float)
    first, rows = next(iter(hits.values())), {}
    for name, right in hits.items():
        (low, high), (below, above) = (seeds_and_texts_interval([scores]) for scores in (right, right - first))
        rows[name] = {"accuracy": right.mean(), "low": low, "high": high,
                      "change": (right - first).mean(), "change low": below, "change high": above}
    table = pd.DataFrame(rows).T
    table.attrs["hits"] = hits
    return table


def time_versions(engines, texts, rounds=40, batch_size=16, batch_rounds=5):
    """A DataFrame by name: ms for one text (p50, p95) and texts per second in batches, all versions in turns.

    `times faster` is the median, over rounds, of the first version's time for one text over this one's: pairs, so that a
    busy moment of the machine counts for both; `from` and `to` hold the middle half of these ratios.
    """
    def ask(engine):
        turn = itertools.cycle(texts)
        return lambda: engine.predict([next(turn)])  # every version gets the same texts in the same order

    single = time_in_turns({name: ask(engine) for name, engine in engines.items()}, rounds)
    batch = list(texts[:batch_size])
    many = time_in_turns({name: lambda e=engine: e.predict(batch) for name, engine in engines.items()}, batch_rounds, 1)
    first, rows = single[next(iter(engines))], {}
    for name, seconds in single.items():
        low, middle, high = np.quantile(first / seconds, [0.25, 0.5, 0.75])
        rows[name] = {"ms, p50": 1000 * percentile(seconds, 50), "ms, p95": 1000 * percentile(seconds, 95),
                      "texts/s": len(batch) / np.median(many[name]), "times faster": middle, "from": low, "to": high}
    return pd.DataFrame(rows).T


def onnx_versions(model, tokenizer, labels):
    """{"ONNX": (Engine, MB), "ONNX 8-bit": (Engine, MB)} of a PyTorch classifier, by way of temporary files."""
    import tempfile
    from pathlib import Path

    from leaplm.compression.onnx import OnnxClassifier, export_onnx, quantize_onnx

    with tempfile.TemporaryDirectory() as folder:
        full, small = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        sizes = {"ONNX": export_onnx(model, full), "ONNX 8-bit": quantize_onnx(full, small)}
        return {name: (Engine(OnnxClassifier(path), tokenizer, labels, {}, name), sizes[name])
                for name, path in (("ONNX", full), ("ONNX 8-bit", small))}
