"""Models for machines without much of anything: 4 bits, a program without PyTorch, drift, fewer passes (lab 16).

groups: numbers of 4 bits. gguf_file: the file that llama.cpp reads. predictor: a TF-IDF classifier in NumPy, as one small
file. drift: has what comes in changed? energy: watt-hours and money. These need no PyTorch, and importing this package does
not load it. rounded: a language model in 4 bits. drafting: speculative decoding. sharding: one model in two processes.
llama_cpp: another program for the same file.
"""

from leaplm.small_machines import llama_cpp
from leaplm.small_machines.drafting import CachedModel, find_draft, no_draft, speculative_decode
from leaplm.small_machines.drift import alarm_level, ks_distance, load_new_kind, mixed_stream, population_stability
from leaplm.small_machines.energy import WATTS, cost_per_thousand, joules_of, read_meter
from leaplm.small_machines.gguf_file import KINDS, decode_q4_0, read_header, write_gguf
from leaplm.small_machines.groups import (
    EVEN,
    GROUP,
    NF4,
    bits_each,
    dequantize_groups,
    pack_pairs,
    quantize_groups,
    unpack_pairs,
)
from leaplm.small_machines.predictor import (
    Predictor,
    class_probabilities,
    fit_predictor,
    from_pipeline,
    keep_pieces,
    load_predictor,
    read_card,
    save_predictor,
    text_pieces,
    text_terms,
    weigh_pieces,
)

__all__ = [
    "CachedModel",
    "EVEN",
    "GROUP",
    "KINDS",
    "NF4",
    "Predictor",
    "WATTS",
    "alarm_level",
    "bits_each",
    "class_probabilities",
    "cost_per_thousand",
    "decode_q4_0",
    "dequantize_groups",
    "find_draft",
    "fit_predictor",
    "from_pipeline",
    "joules_of",
    "keep_pieces",
    "ks_distance",
    "llama_cpp",
    "load_new_kind",
    "load_predictor",
    "mixed_stream",
    "no_draft",
    "pack_pairs",
    "population_stability",
    "quantize_groups",
    "read_card",
    "read_header",
    "read_meter",
    "rounded",
    "save_predictor",
    "sharding",
    "speculative_decode",
    "text_pieces",
    "text_terms",
    "unpack_pairs",
    "weigh_pieces",
    "write_gguf",
]
