"""Which program serves a file: NumPy alone for a TF-IDF classifier, PyTorch or ONNX Runtime for an encoder."""

from pathlib import Path

from leaplm.runtime import expect_modules
from leaplm.small_machines.predictor import FORMAT, load_predictor, read_card


def load_engine(path, engine="torch", threads=None):
    """Something with `predict`, `labels`, `card` and `name` from a file that lab 2, 3, 5, 8 or 16 saved.

    A TF-IDF file (`small_machines.save_predictor`) is served by NumPy, and PyTorch is not loaded at all. engine, threads: of
    encoders, see `compression.engine.load_engine`. Raises FileNotFoundError, or a ValueError that says what is wrong.
    """
    if is_tfidf(path):
        if engine != "torch":
            raise ValueError(f"engine={engine!r}: {path} is a TF-IDF classifier, which NumPy serves; leave --engine out")
        try:
            return load_predictor(path)
        except ValueError as error:
            raise ValueError(f"{path} cannot be served: {error}") from None
    expect_modules()
    from leaplm.compression.engine import load_engine as load_encoder  # and PyTorch with it

    return load_encoder(path, engine, threads)


def is_tfidf(path):
    """Whether a file says of itself that it is a TF-IDF classifier."""
    try:
        return Path(path).is_file() and read_card(path).get("format") == FORMAT
    except ValueError:
        return False
