"""Helpers for adapting language models where data, compute and bandwidth are scarce."""

__version__ = "0.1.0"
