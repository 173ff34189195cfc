"""GGUF, the file that llama.cpp reads: its header, its blocks of 4 and 8 bits, and SmolLM2 written as one.

The header: b"GGUF", version (uint32), number of tensors (uint64), number of fields (uint64); then the fields, each a name,
a kind (uint32) and a value; then of each tensor a name, the number of its dimensions (uint32), its dimensions (uint64 each,
the length of a row first), a kind (uint32) and the place of its data (uint64). A string is its length (uint64) and its
bytes. All numbers are little-endian. Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import os
import struct
from pathlib import Path

import numpy as np

from leaplm.locales import say

# kind: the letter of `struct`
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
KINDS = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 8: "Q8_0"}  # of tensors, those that stand here
BLOCK = 32  # numbers in a block


class Reader:
    """Takes one thing after the other from the bytes of a file; `place` is where it stands."""

    def __init__(self, content, place=0):
        self.content, self.place = content, place

    def number(self, letter):
        """The next number; letter: its kind, as in `struct`."""
        (value,) = struct.unpack_from("<" + letter, self.content, self.place)
        self.place += struct.calcsize("<" + letter)
        return value

    def string(self):
        length = self.number("Q")
        self.place += length
        if self.place > len(self.content):
            raise ValueError(say("the header ends in the middle of a string"))
        return self.content[self.place - length : self.place].decode("utf-8")

    def value(self, kind):
        """The next value of a field."""
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner, count = self.number("I"), self.number("Q")
            return [self.value(inner) for _ in range(count)]
        if kind not in SCALARS:
            raise ValueError(say("fields of kind {kind} are not known", kind=kind))
        return self.number(SCALARS[kind])


def read_header(content):
    """(fields, tensors) of a GGUF file, given as bytes; ValueError if it is none.

    fields: {name: value}, arrays as lists. tensors: {name: (dimensions as a list, kind, place)}, as they stand in the file.

    >>> read_header(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<II", 4, 7))
    ({'a': 7}, {})
    """
    if content[:4] != b"GGUF":
        raise ValueError(say("a GGUF file begins with GGUF"))
    reader = Reader(content, 4)
    reader.number("I")
    tensors, fields = reader.number("Q"), reader.number("Q")
    found = {}
    for _ in range(fields):
        name = reader.string()
        found[name] = reader.value(reader.number("I"))
    return found, dict(read_tensor(reader) for _ in range(tensors))


def read_tensor(reader):
    """(name, (dimensions, kind, place)) of the next tensor."""
    name = reader.string()
    dimensions = [reader.number("Q") for _ in range(reader.number("I"))]
    return name, (dimensions, reader.number("I"), reader.number("Q"))


def decode_q4_0(content):
    """The numbers (32 n,), float32, of n blocks of kind Q4_0 (bytes, 18 n).

    A block: its scale (float16), then 16 bytes. The lower halves of the bytes are the first 16 numbers, the upper halves the
    other 16; a number q from 0 to 15 stands for (q - 8) * scale.

    >>> decode_q4_0(np.float16(0.5).tobytes() + bytes([0x9A] * 16))[[0, 16]].tolist()
    [1.0, 0.5]
    """
    blocks = np.frombuffer(content, dtype=np.uint8).reshape(-1, 18)
    scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    numbers = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
    return ((numbers - 8) * scales).flatten()


# -- SmolLM2 as a GGUF file -----------------------------------------------------------------------------------------------

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}  # fmt: skip


def write_gguf(model, tokenizer, path, kind="Q4_0"):
    """Write a `LlamaForCausalLM` with SmolLM2's tokenizer (SmolLM2, also tuned) for llama.cpp, and return the size in MB.

    kind: of the matrices, a value of KINDS. Where it has 4 bits the word vectors are Q8_0; vectors of norms are F32. Needs
    the package gguf. The file is whole or not there at all.
    """
    import gguf

    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    writer = gguf.GGUFWriter(part, "llama")
    add_shape(writer, model.config)
    add_tokenizer(writer, tokenizer)
    for name, table in tensors_of(model):
        own = "F32" if table.ndim == 1 else "Q8_0" if name == "token_embd.weight" and kind.startswith("Q4") else kind
        stored = gguf.GGMLQuantizationType[own]
        writer.add_tensor(name, gguf.quants.quantize(table, stored), raw_dtype=stored)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path.stat().st_size / 1e6


def add_shape(writer, config):
    """The fields that say how the model is built."""
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def add_tokenizer(writer, tokenizer):
    """The fields of a byte-level BPE tokenizer whose digits stand alone, as SmolLM2's."""
    import json

    import gguf

    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {token["id"] for token in parts["added_tokens"]}
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([piece for piece, _ in pieces])
    writer.add_token_types([gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL for _, number in pieces])
    merges = parts["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def tensors_of(model):
    """(name, table) of each tensor under the names of llama.cpp, in 32 bits."""
    config, inner = model.config, model.model
    yield "token_embd.weight", inner.embed_tokens.weight.detach().float().numpy()
    for number, layer in enumerate(inner.layers):
        for ours, theirs in NAMES.items():
            table = layer.get_parameter(f"{ours}.weight").detach().float().numpy()
            if theirs in ("attn_q", "attn_k"):
                heads = config.num_attention_heads if theirs == "attn_q" else config.num_key_value_heads
                table = pair_up(table, heads)
            yield f"blk.{number}.{theirs}.weight", table
    yield "output_norm.weight", inner.norm.weight.detach().float().numpy()


def pair_up(table, heads):
    """The rows of a query or key matrix in llama.cpp's order: what rotary positions turn together stands side by side.

    transformers has, in each head, the first half of all pairs, then the second.
    """
    rows, columns = table.shape
    return np.ascontiguousarray(table.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns))
