"""Helpers for adapting language models where data, compute and bandwidth are scarce."""

import sys

__version__ = "0.1.0"

# jsonschema, by which nbformat checks notebooks, builds a grammar of addresses at its import: more than a second of every
# start of ours, for a kind of text that no notebook holds. It goes without what it cannot import.
sys.modules.setdefault("rfc3987_syntax", None)
