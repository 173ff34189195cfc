# %% [markdown]
# # Lab 16 · Small machines
#
# | | |
# |---|---|
# | **You come from** | Lab 8 (8-bit numbers, a service); lab 4 for what a language model does with a prompt |
# | **You will be able to** | store weights in 4 bits, read a GGUF file, write a classifier that needs no PyTorch, notice that the texts have changed, and make a language model write with fewer passes |
# | **Time** | about 4 hours of work; the computer needs about 1 minute of it |
# | **Needs** | 2 cores, 1.6 GB of memory, 106 MB of downloads (once). No GPU |
# | **Points** | 40: eleven exercises and your predictor, checked by the computer (36), and one answer read by your teacher (4) |
#
# A radio station in Kano and a clinic in Kisumu have one computer each, and it is a Raspberry Pi: four small cores, 2 GB of
# memory, a slow line. Lab 8 made an encoder eight times smaller. How far can one go?

# %%
# On Colab, or wherever the course is not installed yet. Safe to run again; leaves torch and numpy alone.
import importlib.util
import os
if importlib.util.find_spec("leaplm") is None:
    source = os.environ.get("LEAPLM_SOURCE", "git+https://github.com/leaplm/leaplm")  # or a folder, a wheel, a mirror
    get_ipython().run_line_magic("pip", f'install -q "leaplm[labs] @ {source}"')
get_ipython().run_line_magic("load_ext", "leaplm.learner")  # marks and hints below each check, and your progress

# %% locked="setup"
import math
import os
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from leaplm import assets, calibration, data, evaluation, marking, models, plots, runtime, small_machines
from leaplm.identity import student_seed
from leaplm.locales import say_drawn
from leaplm.runtime import by_scale
from leaplm.small_machines import rounded, sharding
from leaplm.text import normalize

assets.fetch(["smollm2", "vader", "afrisenti"])  # downloads only what is not here yet
runtime.set_seed(0)
SEED = student_seed()  # of your own run
runtime.describe_runtime()

# %% [markdown]
# The next cell holds **the only setting of this lab**: `"hau"` (tweets in Hausa), or `"eng"`, `"swa"` or another language of
# the AfriSenti tweets, or **your own file** with the columns `text,label`. We have no messages of a radio station or a clinic:
# tweets, and in English sentences from film reviews (lab 2), stand in their place. Parts 2 and 3 and your predictor are in this
# language. SmolLM2 reads English, so the texts of parts 1 and 4 and of section 11 stay English whatever you choose.

# %%
LANGUAGE = "hau"
marking.describe_language("lab16_small_machines", LANGUAGE)

# %% locked="load"
sentences = data.load_sentiment(LANGUAGE)
names = sentences["train"].features["label"].names
train = data.subsample(sentences["train"], by_scale(tiny=60, cpu=len(sentences["train"]) * 4 // 5, gpu=10**6), SEED)
test = sentences["test"]
print(f"classes {names}; {len(train)} texts to learn from, {len(test)} to test")

# %% [markdown]
# # Part 1 · Four bits
#
# ## 1. Two numbers in a byte
#
# Lab 8 stored a weight in 8 bits, and measured that 4 bits cost little if every 32 numbers have a scale of their own. Now
# you write it. A number of 4 bits goes from 0 to 15, and a byte holds two of them:
#
# ```text
# numbers    5         12
# bits       0101      1100
# byte       1100 0101  =  12 * 16 + 5  =  197
# ```
#
# ### Exercise 1 · Pack pairs (10 minutes, 2 points)
#
# Write `pack_pairs`: numbers from 0 to 15, two in a byte. The **first** of a pair is the lower half. If one number is left
# over, its upper half is 0.

# %% answer="pack_pairs"
def pack_pairs(numbers):
    """numbers: array (n,), 0 to 15, of any whole-number dtype -> array (ceil(n / 2),) of dtype uint8.

    Example: [1, 2, 15] -> [1 + 2 * 16, 15] = [33, 15].
    """
    ### BEGIN SOLUTION
    numbers = np.append(numbers, np.zeros(len(numbers) % 2)).astype(np.uint8)
    return numbers[::2] | numbers[1::2] << 4
    ### END SOLUTION

# %% check="pack_pairs" points=2
three = np.array([1, 2, 15])
assert pack_pairs(three).tolist() == [33, 15] and pack_pairs(three).dtype == np.uint8
assert small_machines.unpack_pairs(pack_pairs(three), 3).tolist() == [1, 2, 15]
assert pack_pairs(np.array([], dtype=np.uint8)).tolist() == []

# %% [markdown]
# <details><summary>Hint 1</summary><code>numbers[0::2]</code> are the first of each pair, <code>numbers[1::2]</code> the
# second. If the count is odd, first append a 0 at the end.</details>
# <details><summary>Hint 2</summary><code>first + 16 * second</code>, or <code>first | second &lt;&lt; 4</code>, in dtype
# <code>np.uint8</code>.</details>

# %% [markdown]
# ## 2. Groups with a scale
#
# A row of a matrix is cut into **groups** of 32 numbers. The scale $s$ of a group is its largest absolute number. Divided by
# it, all numbers lie between −1 and 1. Which sixteen values do we allow there? Even steps are simple. **NF4** (*normal float* in 4 bits)
# puts them where weights are frequent, near 0:

# %%
from leaplm.drawings import show_drawing

show_drawing("lab16_small_machines")

# %%
print("even steps:", small_machines.EVEN.round(2))  # 15 of them: as many above 0 as below
print("NF4:       ", small_machines.NF4.round(2))

# %% [markdown]
# We store the *place* $q$ of the nearest value $v_q$, 4 bits, and the scale in 16 bits:
#
# $$s_g = \max_{i \in g} |w_i| \qquad q_i = \arg\min_k \left|\frac{w_i}{s_g} - v_k\right| \qquad \hat w_i = s_g \, v_{q_i}
# \qquad \text{bits a number} = 4 + \frac{16}{32} = 4.5$$
#
# ### Exercise 2 · Quantize in groups (20 minutes, 3 points)
#
# Write `quantize_groups`. Divide by the scale **as it is stored**, in 16 bits: the reader has no other one.

# %% answer="quantize_groups"
def quantize_groups(weight, size, values):
    """numbers (rows, columns), whole ones, and scales (rows, groups) of dtype float16.

    weight: array (rows, columns), float32. Each row is cut into groups of `size` numbers; the last group may be shorter.
    values: array (at most 16,), ascending. The scale of a group is its largest absolute number; where that is 0 in
    16 bits (zeros, or 1e-9), it is 1.
    Example: [[2.0, -1.0, 0.5, 0.0]] with size 2 and values [-1, -0.5, 0, 0.5, 1] -> [[4, 1, 4, 2]] and [[2.0, 0.5]].
    """
    ### BEGIN SOLUTION
    numbers, scales = [], []
    for start in range(0, weight.shape[1], size):
        group = weight[:, start : start + size]
        scale = np.abs(group).max(axis=1, keepdims=True).astype(np.float16)
        scale[scale == 0] = 1
        shares = group / scale.astype(np.float32)
        numbers.append(np.abs(shares[:, :, None] - values).argmin(axis=2))
        scales.append(scale)
    return np.concatenate(numbers, axis=1), np.concatenate(scales, axis=1)
    ### END SOLUTION

# %%
# Try it. You should see that NF4 has the smaller error, about 0.09 of the weights' standard deviation (their usual distance from the mean).
matrix = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
for steps, values in (("even", small_machines.EVEN), ("NF4", small_machines.NF4)):
    back = small_machines.dequantize_groups(*quantize_groups(matrix, 32, values), 32, values)
    print(f"{steps}: error {np.sqrt(((matrix - back) ** 2).mean()):.3f}")

# %% check="quantize_groups" points=3
grouped = quantize_groups(np.array([[2.0, -1.0, 0.5, 0.0]], dtype=np.float32), 2, np.array([-1, -0.5, 0, 0.5, 1]))
assert grouped[0].tolist() == [[4, 1, 4, 2]] and grouped[1].tolist() == [[2.0, 0.5]]
assert grouped[1].dtype == np.float16
assert quantize_groups(np.zeros((1, 3), dtype=np.float32), 2, small_machines.NF4)[1].tolist() == [[1, 1]]

# %% [markdown]
# <details><summary>Hint 1</summary>A loop over <code>range(0, columns, size)</code> gives the groups, also a shorter last one.
# <code>np.abs(group).max(axis=1, keepdims=True)</code> has the shape (rows, 1).</details>
# <details><summary>Hint 2</summary><code>np.abs(shares[:, :, None] - values).argmin(axis=2)</code> is the nearest value of
# each number. Make the scale float16 first, and divide by that one.</details>

# %% [markdown]
# ## 3. A language model in 4 bits
#
# Now SmolLM2. Quality is measured in **bits per byte** of English reviews and tweets (lab 11; the model reads English): how many
# bits does the model need to guess the next byte? Lower is better. (The course's SmolLM2 was unpacked from a 4-bit file. It counts
# as the original here: you measure what a second rounding costs, not what the first one did.)
#
# **Predict first.** By how many bits per byte does it get worse in NF4 with groups of 32?

# %%
my_change = 0.0
texts = data.load_corpus("eng")["validation"].shuffle(seed=0)["text"][: by_scale(tiny=1, cpu=10, gpu=99)]

# %%
language_model, tokenizer = models.load_causal_lm(), models.load_tokenizer("smollm2")
before, lengths = rounded.sentence_bits(language_model, tokenizer, texts)
megabytes = small_machines.write_gguf(language_model, tokenizer, Path("smollm2-q4_0.gguf"), "Q4_0")  # for section 4

# %%
rounded.round_layers(language_model, size=32, values=small_machines.NF4)
after, _ = rounded.sentence_bits(language_model, tokenizer, texts)
change = rounded.bits_change(before, after, lengths)
print(f"{before.sum() / lengths.sum():.3f} bits per byte before; you predicted {my_change:+.3f}, it is {change['change']:+.3f}")
if len(texts) > 1:
    print(f"from {change['low']:+.3f} to {change['high']:+.3f} (95 %, {len(texts)} texts)")

# %% locked="rounding"
record = calibration.load_record("lab16_small_machines", "rounding").set_index("numbers")
plots.plot_intervals(record.rename(columns={"change": "mean"})[["mean", "low", "high"]],
                     f"SmolLM2, layers in 4 bits: the same {record.texts.iloc[0]} English texts",
                     "more bits per byte (95 % interval over texts)")
record[["megabytes", "bits_per_byte", "change", "low", "high"]].round(3)

# %% [markdown]
# The record: NF4 in groups of 32 costs 0.071 bits per byte (0.045 to 0.100) over the 1.73 of the original; even steps
# in the same groups cost 0.123, NF4 with one scale a row 0.177. So both the groups and the place of the values count.
# The numbers take about 90 MB, where 32 bits take 538; in a file the tokenizer makes them 92. A third of it is the table of the tokens, in 8 bits.
#
# PyTorch computes with 32-bit numbers here: these 4 bits save megabytes, and no time. **llama.cpp** computes with 4-bit
# numbers themselves.
#
# ## 4. GGUF
#
# llama.cpp reads **GGUF** files. All numbers in it are little-endian, a string is its length (uint64) and its bytes in
# UTF-8:
#
# ```text
# GGUF | version uint32 | number of tensors uint64 | number of fields uint64
# each field:   name string | kind uint32 | value
# each tensor:  name string | number of dimensions uint32 | dimensions uint64 ... | type uint32 | place uint64
# ```
#
# The kind of a field says what its value is: a number (the table below says which letter `struct` has for it), 8 a string,
# 9 an **array**: the kind of its items (uint32), their number (uint64), then the items.
#
# The **type** of a tensor is another list: 0 is numbers of 32 bits, 2 **Q4_0** (4 bits, and a scale for 32 numbers), 8 **Q8_0** (the
# same with 8 bits). The dimensions stand in reverse order, the length of a row first. The **place** is the byte where the tensor
# begins, counted from the end of the header (up to the next multiple of 32).

# %% locked="kinds"
LETTERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}  # kind: letter
struct.unpack_from("<I", b"..\x07\x00\x00\x00", 2)  # "<" little-endian, "I" uint32, from byte 2 on

# %% [markdown]
# ### Exercise 3 · Read a header (30 minutes, 4 points)
#
# Write `read_header`: the fields and the tensors of a GGUF file.

# %% answer="read_header"
def read_header(content):
    """(fields, tensors) of a GGUF file; content: bytes. ValueError if it does not begin with b"GGUF".

    fields: {name: value}; an array is a list (its items may be strings, or arrays themselves).
    tensors: {name: (dimensions as a list, type, place)}, the numbers as they stand in the file.
    Example: b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<II", 4, 7)
    -> ({"a": 7}, {}).
    """
    ### BEGIN SOLUTION
    if content[:4] != b"GGUF":
        raise ValueError("a GGUF file begins with GGUF")
    place = 4

    def number(letter):
        nonlocal place
        (found,) = struct.unpack_from("<" + letter, content, place)
        place += struct.calcsize("<" + letter)
        return found

    def string():
        nonlocal place
        length = number("Q")
        place += length
        return content[place - length : place].decode()

    def value(kind):
        if kind == 8:
            return string()
        if kind == 9:
            inner, count = number("I"), number("Q")
            return [value(inner) for _ in range(count)]
        return number(LETTERS[kind])

    number("I")
    tensor_count, field_count = number("Q"), number("Q")
    fields, tensors = {}, {}
    for _ in range(field_count):
        name, kind = string(), number("I")
        fields[name] = value(kind)
    for _ in range(tensor_count):
        name, dimensions = string(), number("I")
        tensors[name] = [number("Q") for _ in range(dimensions)], number("I"), number("Q")
    return fields, tensors
    ### END SOLUTION

# %%
# Try it on the file that section 3 wrote. You should see 30 blocks, a context of 8,192 tokens and 272 tensors.
fields, tensors = read_header(Path("smollm2-q4_0.gguf").read_bytes())
print(f"{megabytes:.0f} MB, {len(tensors)} tensors,", {n: v for n, v in fields.items() if n.startswith("llama.")})
print(Counter(small_machines.KINDS[stored] for _, stored, _ in tensors.values()))

# %% check="read_header" points=4
header = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ2B", 9, 0, 2, 5, 6)
header += struct.pack("<Q", 2) + b"w1" + struct.pack("<I2QIQ", 2, 32, 4, 2, 64)
found = read_header(header)
assert found[0] == {"a": [5, 6]} and found[1] == {"w1": ([32, 4], 2, 64)}
try:
    read_header(b"GGML" + header[4:])
    raise AssertionError("a file that begins otherwise is none: raise a ValueError")
except ValueError:
    pass

# %% [markdown]
# <details><summary>Hint 1</summary>Keep a variable with the place where you are. Three small functions inside help:
# <code>number(letter)</code>, <code>string()</code> and <code>value(kind)</code>; each moves the place on
# (<code>nonlocal place</code>).</details>
# <details><summary>Hint 2</summary><code>value(kind)</code>: 8 is <code>string()</code>; 9 reads the inner kind and the count,
# then calls <code>value(inner)</code> that often; all else is <code>number(LETTERS[kind])</code>.</details>

# %% [markdown]
# Most of these matrices are of type 2, Q4_0. A block of 32 numbers has 18 bytes: the scale (float16), then 16 bytes. Here
# the lower halves of the 16 bytes are the *first 16* numbers, and the upper halves are the other 16 (not neighbours, as in
# exercise 1). A number $q$ from 0 to 15 stands for $(q - 8) \cdot s$.
#
# ### Exercise 4 · Unpack blocks (15 minutes, 2 points)
#
# Write `decode_q4_0`: the numbers of some blocks.

# %% answer="decode_q4_0"
def decode_q4_0(content):
    """content: bytes, 18 a block -> array (32 * blocks,) of dtype float32.

    Example: np.float16(0.5).tobytes() + bytes([0x9A] * 16) -> 16 times 1.0 (10 - 8 = 2), then 16 times 0.5 (9 - 8 = 1).
    """
    ### BEGIN SOLUTION
    blocks = np.frombuffer(content, dtype=np.uint8).reshape(-1, 18)
    scales = blocks[:, :2].view(np.float16).astype(np.float32)
    numbers = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
    return ((numbers - 8) * scales).reshape(-1)
    ### END SOLUTION

# %% check="decode_q4_0" points=2
block = np.float16(0.5).tobytes() + bytes([0x9A] * 16)
assert decode_q4_0(block).tolist() == [1.0] * 16 + [0.5] * 16 and decode_q4_0(block).dtype == np.float32
assert decode_q4_0(block * 3).shape == (96,)

# %% [markdown]
# <details><summary>Hint 1</summary><code>np.frombuffer(content, dtype=np.uint8).reshape(-1, 18)</code> has a block a row. Whole
# numbers without a sign cannot go below 0: make them float32 before you subtract 8.</details>
# <details><summary>Hint 2</summary>The scales: <code>blocks[:, :2].view(np.float16)</code>, shape
# (blocks, 1). The numbers: <code>np.concatenate([low, high], axis=1)</code>.</details>

# %% [markdown]
# Now a real matrix: its place from exercise 3, its numbers from exercise 4. The package gguf is a reader that others wrote.

# %%
import gguf
reader = gguf.GGUFReader("smollm2-q4_0.gguf")
(columns, rows), _, place = tensors["blk.0.attn_q.weight"]
with open("smollm2-q4_0.gguf", "rb") as file:
    file.seek(reader.data_offset + place)
    mine = decode_q4_0(file.read(rows * columns // 32 * 18)).reshape(rows, columns)
theirs = next(gguf.quants.dequantize(t.data, t.tensor_type) for t in reader.tensors if t.name == "blk.0.attn_q.weight")
print(f"{rows} x {columns} numbers; largest difference to gguf: {np.abs(mine - theirs).max():.9f}")
del reader  # the file leaves memory

# %% [markdown]
# **llama.cpp** is not part of the set-up: `pip install "leaplm[llama]"` brings the package xllamacpp, which has
# wheels for CPUs (llama-cpp-python has to be compiled). On one core it wrote 98 tokens a second from the Q4_0 file
# of 92 MB, and 59 from Q8_0 (145 MB); PyTorch wrote 9.4 ± 1.8, from 538 MB (three runs each, in turns, on a machine
# that others used, too). The quality of Q4_0 stands in the table of section 3: the numbers are the same, whoever
# computes with them.

# %%
WITH_LLAMA = False
if WITH_LLAMA and importlib.util.find_spec("xllamacpp"):
    with small_machines.llama_cpp.running("smollm2-q4_0.gguf") as write:
        print(write("The rain in Nairobi", 20))

# %% [markdown]
# **A place to stop.** Your answers stay in the notebook. To go on another day: open it, click on this cell, choose
# *Run › Run All Above Selected Cell* (on Colab *Runtime › Run before*), wait a few minutes, and go on below. An exercise that
# is still open stops this run: then run the cells behind it by hand.

# %% [markdown]
# # Part 2 · A classifier without PyTorch
#
# ## 5. What a small program can do
#
# Lab 8 ended with a surprise: TF-IDF was as good as an encoder in Hausa and Swahili. Now you write it as a **program that
# needs NumPy alone**, and a file that a phone can load. scikit-learn finds the weights once, on a larger computer:

# %% locked="fit"
language_model = None  # makes room; section 9 loads it again
runtime.free_memory()
pipeline = evaluation.tfidf_classifier("characters").fit(list(train["text"]), list(train["label"]))
whole = small_machines.from_pipeline(pipeline, names, LANGUAGE)
print(f"{len(whole.pieces):,} pieces; as 32-bit numbers {whole.weight.size * 4 / 1e6:.1f} MB of weights")

# %% [markdown]
# The features are **pieces of words**: each word gets a blank on both sides, and all its runs of 2 to 5 characters count.
# `" ina "` has the pieces of 2 `" i"`, `"in"`, `"na"`, `"a "`, those of 3 `" in"`, `"ina"`, `"na "`, and so on.
#
# ### Exercise 5 · Pieces of words (15 minutes, 3 points)
#
# Write `text_pieces`, with the numbers as scikit-learn counts them (`char_wb`).

# %% answer="text_pieces"
def text_pieces(text, shortest, longest):
    """All pieces of `shortest` to `longest` characters of each word with a blank on both sides: a list of str.

    Words are parted by white space (blanks, tabs, line ends); capitals and signs stay. A word (with its blanks) that is
    shorter than `shortest` is one piece, once; lengths above that of the word give nothing more. A piece that stands twice is listed twice; any order.
    Example: "na go", 3, 4 -> [" na", "na ", " na ", " go", "go ", " go "]; "a", 5, 6 -> [" a "].
    """
    ### BEGIN SOLUTION
    found = []
    for word in text.split():
        word = f" {word} "
        for size in range(shortest, longest + 1):
            if size >= len(word):
                found.append(word)
                break
            found += [word[i : i + size] for i in range(len(word) - size + 1)]
    return found
    ### END SOLUTION

# %% check="text_pieces" points=3
assert sorted(text_pieces("na go", 3, 4)) == [" go", " go ", " na", " na ", "go ", "na "]
assert text_pieces("a", 5, 6) == [" a "] and text_pieces("", 2, 5) == []

# %% [markdown]
# <details><summary>Hint 1</summary>Three loops: over the words, over the lengths, over the places. A word of length n has
# n - size + 1 pieces of one size.</details>
# <details><summary>Hint 2</summary>When <code>size &gt;= len(word)</code>, add the word once and <code>break</code>: longer sizes
# would add it again.</details>

# %% [markdown]
# ### Exercise 6 · TF-IDF numbers (20 minutes, 3 points)
#
# Only pieces that training knows count. One that occurs $n$ times in the text has $(1 + \ln n) \cdot \text{idf}$; its **idf**
# (*inverse document frequency*) is larger, the fewer texts have it. Then the numbers are divided by the root of the sum of their
# squares. At full size most of the 142,000 (in English 70,000) are 0, so we keep **places and values**.
# Write `weigh_pieces`.

# %% answer="weigh_pieces"
def weigh_pieces(pieces, columns, idf):
    """(places, values): the columns of the known pieces, ascending and each once, and their numbers, of length 1.

    pieces: a list of str. columns: {piece: its column}. idf: array (all columns,). No known piece: two empty arrays, the
    places of a whole-number dtype, so that `weight[:, places]` works.
    Example: ["a", "b", "a", "x"], {"b": 0, "a": 2}, [1, 9, 1] -> [0, 2] and [1, 1 + ln 2] / 1.967 = [0.509, 0.861].
    """
    ### BEGIN SOLUTION
    counts = Counter(columns[piece] for piece in pieces if piece in columns)
    places = np.array(sorted(counts), dtype=int)
    values = np.array([(1 + math.log(counts[place])) * idf[place] for place in places])
    length = math.sqrt((values ** 2).sum())
    return places, values / length if length else values
    ### END SOLUTION

# %% check="weigh_pieces" points=3
weighed = weigh_pieces(["a", "b", "a", "x"], {"b": 0, "a": 2}, np.array([1.0, 9.0, 1.0]))
assert list(weighed[0]) == [0, 2] and np.allclose(weighed[1], [0.5086, 0.8610], atol=1e-3)
unknown = weigh_pieces(["x"], {"b": 0}, np.array([1.0]))[0]
assert len(unknown) == 0 and np.zeros((2, 1))[:, unknown].shape == (2, 0)

# %% [markdown]
# <details><summary>Hint 1</summary><code>Counter(columns[piece] for piece in pieces if piece in columns)</code> counts columns
# in one line. <code>math.log</code> is the natural logarithm.</details>
# <details><summary>Hint 2</summary>Sort the columns, take <code>(1 + log(count)) * idf</code> of each, and divide by
# the root of the sum of their squares, unless there is nothing.</details>

# %% [markdown]
# ### Exercise 7 · Probabilities (15 minutes, 3 points)
#
# Write `class_probabilities`: the linear layer on the few places that are not 0, then the softmax. Scores may be large: the
# softmax must not overflow.

# %% answer="class_probabilities"
def class_probabilities(places, values, weight, bias):
    """Probabilities (classes,) of one text.

    places, values: as `weigh_pieces` gives them. weight: array (classes, all columns); bias: array (classes,).
    Example: places [1], values [1.0], weight [[5, 0], [5, 1]], bias [0, 0] -> scores [0, 1] -> [0.269, 0.731].
    """
    ### BEGIN SOLUTION
    scores = weight[:, places] @ values + bias
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()
    ### END SOLUTION

# %% check="class_probabilities" points=3
one = np.array([1]), np.array([1.0])
assert np.allclose(class_probabilities(*one, np.array([[5.0, 0.0], [5.0, 1.0]]), np.zeros(2)), [0.269, 0.731], atol=1e-3)
assert np.allclose(class_probabilities(*one, np.array([[0.0, 900.0], [0.0, 900.0]]), np.zeros(2)), [0.5, 0.5])

# %% [markdown]
# <details><summary>Hint 1</summary><code>weight[:, places]</code> picks the columns, shape (classes, known pieces).</details>
# <details><summary>Hint 2</summary>Subtract <code>scores.max()</code> before <code>np.exp</code>: the shares stay the
# same.</details>

# %% [markdown]
# That is the whole program. Does it agree with scikit-learn?

# %% locked="agree"
def my_probabilities(text, tables):
    """Your program on one text: a piece list, TF-IDF numbers, probabilities."""
    pieces = text_pieces(normalize(text), 2, 5)
    return class_probabilities(*weigh_pieces(pieces, tables.columns, tables.idf), tables.weight, tables.bias)

# %%
# You should see a difference below 0.000001.
few_texts = list(test["text"])[: by_scale(tiny=5, cpu=300, gpu=300)]
my_shares = np.array([my_probabilities(text, whole) for text in few_texts])
print(f"largest difference to scikit-learn: {np.abs(my_shares - pipeline.predict_proba(few_texts)).max():.9f}")

# %% [markdown]
# ## 6. A small file
#
# Few of the pieces decide anything. We keep the 20,000 whose weights differ most between the classes (times their idf),
# and store the weights in 4 bits, with what you wrote in exercises 1 and 2. The file is *safetensors*: to read it runs
# nothing of its maker's, as a pickle would.
#
# **Predict first.** How many MB has the file, and how much of the accuracy (from 0 to 1) is lost?

# %%
my_megabytes, my_loss = 0.0, 0.0

# %% locked="small"
small = small_machines.keep_pieces(whole, 20_000)
numbers, scales = quantize_groups(small.weight.astype(np.float32), 32, small_machines.NF4)
small.weight = small_machines.dequantize_groups(numbers, scales)
packed = pack_pairs(numbers.flatten())

# %%
right = np.array(test["label"])
def hits(tables):
    return np.array([my_probabilities(text, tables).argmax() for text in test["text"]]) == right
kept, all_pieces = hits(small).astype(float), hits(whole).astype(float)
low, high = evaluation.seeds_and_texts_interval([kept - all_pieces])
parts = {"pieces": len("\n".join(small.pieces).encode()), "idf": 2 * len(small.idf), "weights": packed.nbytes + scales.nbytes}
print(f"{sum(parts.values()) / 1e6:.3f} MB, you predicted {my_megabytes}; bytes: {parts}")
print(f"accuracy {kept.mean():.3f} against {all_pieces.mean():.3f}: {(kept - all_pieces).mean():+.3f}, "
      f"from {low:+.3f} to {high:+.3f} (95 %, the same texts); you predicted {-my_loss:+.3f}")

# %% locked="sizes"
recorded = LANGUAGE if LANGUAGE in ("eng", "hau", "swa") else "eng"
record = calibration.load_matching("lab16_small_machines", "sizes", language=recorded)
print(f"the course's runs in {say_drawn(data.NAMES.get(recorded, recorded))}")
shown = record.groupby(["pieces", "bits"], sort=False)
shown[["megabytes", "accuracy", "change", "change_low", "change_high"]].mean().round(3)

# %% [markdown]
# In Hausa all pieces have an accuracy of 0.742 ± 0.002 on test texts, and 20,000 in 4 bits 0.733, in 0.21 MB: −0.9 points,
# from −2.1 to +0.2 (means of five runs). The mean does not show a loss. Taken alone, two of the five runs do: their intervals
# lie below 0. The 4 bits cost nothing that could be seen: in 32 bits the same pieces have 0.732, in 0.45 MB. With 5,000
# pieces 5.5 points are lost (4.0 to 7.0). In English 20,000 pieces in 4 bits lose 0.9 points, in Swahili 2.3; both intervals
# hold 0. With 5,000 English loses 3.3: its runs find 70,000 pieces in all, those of Hausa 142,000, so that 5,000 are a
# smaller part of them.
#
# On held-out texts (the table is on test texts) what is handed in has a macro-F1 of 0.702 ± 0.015 in Hausa and 0.768 ±
# 0.012 in English. To say the most frequent class always would be right in 0.34 of the Hausa texts; the predictor is in 0.71.
# Beware of accuracy in Swahili: there the predictor has 0.54, and the most frequent class 0.59. So the marks rest on macro-F1.
#
# Why does the file become only about half as large? In Hausa there are three classes, and the weights shrink from 0.24 MB to
# 0.03. The rest is the text of the pieces, 0.13 MB, and their idf, 0.04.
#
# Memory was measured with the English file of 0.17 MB. A program that loads it and answers once has 40 MB; with
# scikit-learn and a pickle of 1.9 MB it has 210, with PyTorch and MiniLM 619. `leaplm serve` takes the file, too: 75 MB,
# with keys, limits and metrics.
#
# # Part 3 · Other weeks
#
# ## 7. Has anything changed?
#
# The station's program runs for a year. One day other people write, or the same people write in another way. Nobody labels
# these texts, so nobody sees the accuracy fall. What can be watched without labels: the **confidence** of the answers, and the
# share of **known pieces**.
#
# The **new kind** of texts here: tweets in Nigerian Pidgin after those in Hausa or another language, and tweets after English
# film reviews.

# %% locked="watch"
new = small_machines.load_new_kind(LANGUAGE)
at_most = by_scale(tiny=30, cpu=None, gpu=None)
kinds = {"usual, not trained on": sentences["validation"], "usual, later": test, "new": new["test"]}
known = {kind: np.array([small.known_share(text) for text in rows["text"][:at_most]]) for kind, rows in kinds.items()}
print("mean share of known pieces:", {kind: round(float(values.mean()), 3) for kind, values in known.items()})

# %% [markdown]
# The **Kolmogorov-Smirnov distance** compares two samples: the largest difference between their shares of numbers up to
# $x$, over all $x$:
#
# $$D = \max_x \left| \frac{\#\{a_i \le x\}}{n} - \frac{\#\{b_j \le x\}}{m} \right|$$
#
# ### Exercise 8 · A distance (15 minutes, 2 points)
#
# Write `ks_distance`. Equal numbers count together: compare after all numbers $\le x$.

# %% answer="ks_distance"
def ks_distance(first, second):
    """first: array (n,), second: array (m,) -> a float from 0 to 1.

    Example: [1, 2, 3, 4] and [3, 4, 5, 6] -> 0.5: up to 2 stand 2 of 4 against 0 of 4.
    """
    ### BEGIN SOLUTION
    places = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(some), places, side="right") / len(some) for some in (first, second)]
    return np.abs(shares[0] - shares[1]).max()
    ### END SOLUTION

# %% check="ks_distance" points=2
assert np.isclose(ks_distance(np.array([1, 2, 3, 4]), np.array([3, 4, 5, 6])), 0.5)
assert np.isclose(ks_distance(np.array([5, 5, 5]), np.array([5, 5])), 0)

# %% [markdown]
# <details><summary>Hint 1</summary>The largest difference is at one of the numbers themselves, so try only those as
# x.</details>
# <details><summary>Hint 2</summary><code>np.searchsorted(np.sort(some), x, side="right") / len(some)</code> is the share of
# numbers up to x.</details>

# %% [markdown]
# From which distance on do we ring? With few texts a week even usual weeks differ. So we choose the **rate of false alarms**
# first, here 1 in 100 windows, and draw windows from usual texts to see which distance that is. The usual texts must be ones that
# the model was *not* trained on: of its training texts it knows every piece.
#
# ### Exercise 9 · A level (15 minutes, 3 points)
#
# Write `alarm_level`: the distance that a usual window exceeds with probability `rate`.

# %% answer="alarm_level"
def alarm_level(reference, size, rate, rounds, seed):
    """The (1 - rate) quantile of `ks_distance` between all of `reference` and a window drawn from it; a float.

    reference: array (n,). Each of `rounds` rounds draws `size` of its numbers with replacement. The same seed gives the same
    level, another seed another one (numpy.random.default_rng(seed)).
    Example: reference [1.0, 1.0, 1.0] -> 0.0, whatever is drawn.
    """
    ### BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    windows = (reference[rng.integers(0, len(reference), size)] for _ in range(rounds))
    return np.quantile([ks_distance(reference, window) for window in windows], 1 - rate)
    ### END SOLUTION

# %% check="alarm_level" points=3
assert alarm_level(np.ones(3), 2, 0.05, 10, 0) == 0
usual = np.arange(500.0)
assert alarm_level(usual, 50, 0.01, 300, 0) > alarm_level(usual, 50, 0.2, 300, 0) > alarm_level(usual, 400, 0.2, 300, 0)

# %% [markdown]
# <details><summary>Hint 1</summary><code>rng.integers(0, n, size)</code> gives the rows of a window. Keep one distance a
# round.</details>
# <details><summary>Hint 2</summary><code>np.quantile(distances, 1 - rate)</code>.</details>

# %% [markdown]
# Twelve weeks with 100 texts each; from week 7 on, texts of the new kind are mixed in.
#
# **Predict first.** In which week does the alarm ring first? (0: never. A ring before week 7 is a false alarm.)

# %%
my_week = 0
shares = [0] * 6 + [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]

# %% locked="weeks"
each_week = by_scale(tiny=10, cpu=100, gpu=100)
level = alarm_level(known["usual, not trained on"], each_week, 0.01, by_scale(tiny=20, cpu=1000, gpu=1000), SEED)
weeks = small_machines.mixed_stream(len(known["usual, later"]), len(known["new"]), shares, each_week, SEED)
seen = [np.array([known["usual, later" if kind == "usual" else "new"][row] for kind, row in week]) for week in weeks]
distances = [ks_distance(known["usual, not trained on"], window) for window in seen]
table = pd.DataFrame({"share of new texts": shares, "distance": distances}, index=pd.RangeIndex(1, 13, name="week"))
table["alarm"] = table.distance > level
rings = table.alarm.idxmax() if table.alarm.any() else 0
print(f"level {level:.3f}; first alarm in week {rings}, you predicted {my_week}")
table.round(3)

# %% locked="drift"
record = calibration.load_matching("lab16_small_machines", "drift", language=recorded)
print(f"the course's runs in {say_drawn(data.NAMES.get(recorded, recorded))}")
record.groupby(["watched", "share"], sort=False)[["alarms", "psi_above_0.1", "psi_above_0.25"]].mean().round(2)

# %% [markdown]
# One alarm in 100 usual windows was asked for. In Hausa the share of known pieces rings in *every* usual window (100
# in 100): in week 1, before anything new has come in. The reason is in the data: the record's model knows 0.32 of the
# pieces of a validation tweet and 0.37 of a test tweet. (Yours, from other training texts, knows the shares that are
# printed above.) The two parts are not of one kind, and an alarm that was set on the first rings on the second. The
# rate of false alarms is only as good as the texts it was set on.
#
# So in the record it is also set on one half of the test tweets, and watches the other half. Now 1 usual window in 100
# rings, as was asked for. But when four texts of ten are in Nigerian Pidgin, only 3 windows in 100 ring: of such a text the
# record's model knows 0.36 of the pieces, nearly as many as of a test tweet. The alarm on the confidence, set anew in
# the same way, rings in 2 usual windows, and in 25 when four of ten are in Pidgin (10, 32 and 33 in three draws of
# windows). Here it is the better one, and it still misses most weeks.
#
# In Swahili the two parts are alike. There the share of known pieces rings in 3 usual windows of 100; when four texts
# of ten are in Nigerian Pidgin in 94, two of ten in 30, one of ten in 4. In English it gives 2 in 100 (0, 1 and 5 in
# three draws); when four texts of ten are tweets, 4 (confidence: 9): the alarm hardly sees them.
#
# Banks often use the population stability index with fixed limits. With windows of 100 texts its limit of 0.1 is
# passed in 42 of 100 usual windows of Hausa where the confidence is watched (in English in 45), 0.25 in 1 (in English
# in 2): a limit that does not look at the size of the window promises nothing.
#
# ## 8. Learn again
#
# Whether it rang or not: someone labels 200 of the new texts, and the model is fitted again on old and new ones together. What
# does it gain on new texts, and what does it lose on usual ones? (With your own file the new texts have other classes, and
# there is nothing to learn from them.)

# %%
def accuracy_of(tables, rows):
    found = tables.predict(rows["text"]).argmax(axis=1)
    return (found == np.array(rows["label"])).astype(float)
if new["train"].features["label"].names == names:
    more = data.subsample(new["train"], by_scale(tiny=20, cpu=200, gpu=200), SEED)
    again = small_machines.fit_predictor([*train["text"], *more["text"]], [*train["label"], *more["label"]], names, LANGUAGE)
    for kind, rows in (("new", new["test"]), ("usual", test)):
        first, second = accuracy_of(whole, rows), accuracy_of(again, rows)
        low, high = evaluation.seeds_and_texts_interval([second - first])
        print("new texts:" if kind == "new" else "usual texts:",
              f"{first.mean():.3f} before, {second.mean():.3f} after: from {low:+.3f} to {high:+.3f} (95 %)")

# %% [markdown]
# Read both intervals. If 0 lies in the first one, 200 labels were too few to show a gain; if the second one lies below 0, the new
# texts cost something on the old ones (lab 7).

# %% [markdown]
# **A place to stop.** Your answers stay in the notebook. To go on another day: open it, click on this cell, choose
# *Run › Run All Above Selected Cell* (on Colab *Runtime › Run before*), wait a few minutes, and go on below. An exercise that
# is still open stops this run: then run the cells behind it by hand.

# %% [markdown]
# # Part 4 · Fewer passes
#
# ## 9. Guess and check
#
# A language model writes one token a pass, and each pass reads all weights. But it can *check* several guessed tokens in one
# pass: it gives the best next token behind **each** of them. Guesses that agree stay, and the model's own token behind the
# last right one comes for nothing. This is **speculative decoding**. What comes out is exactly what greedy decoding writes.
#
# ```text
# so far     the clinic in | guessed:  Kano  opens  today
# model says               |   Kano  opens  at           <- the best token behind "in", "Kano", "opens"
# kept                     |   Kano  opens  at           <- two guesses were right, "at" comes for nothing
# ```
#
# Who guesses? A smaller model, or, without any model, the text itself: if the last tokens stood there before, what followed
# them may follow again (**prompt lookup**).
#
# ### Exercise 10 · A draft from the text (15 minutes, 2 points)
#
# Write `find_draft`.

# %% answer="find_draft"
def find_draft(tokens, most, longest):
    """Up to `most` tokens that followed when the last tokens stood together before: a list of int, [] where they never did.

    tokens: a list of int. First the last `longest` tokens are looked for, then one fewer, and so on down to the last one
    alone; the first length that is found counts, and of several places the latest before the end.
    Example: [5, 6, 7, 8, 1, 5, 6] with most=2, longest=3 -> [7, 8], since 5, 6 stood there before.
    """
    ### BEGIN SOLUTION
    for size in range(min(longest, len(tokens) - 1), 0, -1):
        for start in range(len(tokens) - size - 1, -1, -1):
            if tokens[start : start + size] == tokens[-size:]:
                return tokens[start + size : start + size + most]
    return []
    ### END SOLUTION

# %% check="find_draft" points=2
assert find_draft([5, 6, 7, 8, 1, 5, 6], 2, 3) == [7, 8]
assert find_draft([1, 2, 3], 4, 3) == [] and find_draft([], 4, 3) == []

# %% [markdown]
# <details><summary>Hint 1</summary>Two loops: sizes from large to small, starts from late to early. The tokens at the very end
# must not be found as their own earlier place.</details>
# <details><summary>Hint 2</summary><code>range(len(tokens) - size - 1, -1, -1)</code> are the starts; compare
# <code>tokens[start : start + size]</code> with <code>tokens[-size:]</code>.</details>

# %% [markdown]
# ### Exercise 11 · Speculative decoding (30 minutes, 4 points)
#
# Write `speculative_decode`. One pass for each round of guesses, and nothing that greedy decoding would not write.

# %% answer="speculative_decode"
def speculative_decode(best_next, prompt, count, draft):
    """(tokens, passes): the `count` tokens that greedy decoding writes behind the prompt, a list; and the calls of best_next.

    best_next: takes a list of tokens and gives a list of the same length: the best next token behind each of them.
    draft: takes the tokens so far, prompt and written ones (a list), and gives the guessed next ones, a list that may be empty.
    Example: best_next gives token + 1 behind each token, draft always guesses [last + 1, 9], prompt [1], count 5
    -> [2, 3, 4, 5, 6] in 3 passes: each keeps one guess and one token of its own.
    """
    ### BEGIN SOLUTION
    tokens, passes = list(prompt), 0
    while len(tokens) < len(prompt) + count:
        guessed = draft(tokens)
        answers = best_next(tokens + guessed)[len(tokens) - 1 :]
        passes += 1
        right = 0
        while right < len(guessed) and guessed[right] == answers[right]:
            right += 1
        tokens += answers[: right + 1]
    return tokens[len(prompt) : len(prompt) + count], passes
    ### END SOLUTION

# %% check="speculative_decode" points=4
def plus_one(tokens):
    return [token + 1 for token in tokens]
assert speculative_decode(plus_one, [1], 5, lambda tokens: [tokens[-1] + 1, 9]) == ([2, 3, 4, 5, 6], 3)
assert speculative_decode(plus_one, [1], 3, lambda tokens: []) == ([2, 3, 4], 3)

# %% [markdown]
# <details><summary>Hint 1</summary>In each round call <code>best_next(tokens + guessed)</code> once. The answer behind the last
# token so far is at place <code>len(tokens) - 1</code>; from there on the answers belong to the guesses.</details>
# <details><summary>Hint 2</summary>Count how many guesses equal the answers from the first on. Keep that many answers and one
# more. Cut off what is beyond <code>count</code> at the end.</details>

# %% [markdown]
# Now with SmolLM2, loaded again: that of section 3 is rounded. `CachedModel` is the model as `best_next`; it keeps keys and values of what it has read, and drops those of
# wrong guesses.

# %%
message = "Dear clinic, my appointmnt is on Monday at nine in Kisumu. Please tell docter Achieng that I come with my son."
question = [{"role": "user", "content": f"Correct the spelling of this message and write it again: {message}"}]
prompt = list(tokenizer.apply_chat_template(question, add_generation_prompt=True)["input_ids"])
length = by_scale(tiny=3, cpu=26, gpu=60)
language_model = None  # makes room
runtime.free_memory()
language_model = models.load_causal_lm()
greedy, plain = speculative_decode(small_machines.CachedModel(language_model), prompt, length, lambda tokens: [])
drafted, fewer = speculative_decode(small_machines.CachedModel(language_model), prompt, length,
                                    lambda tokens: find_draft(tokens, 4, 3))
print(f"the same text: {greedy == drafted}; {fewer} passes in place of {plain}\n{tokenizer.decode(drafted)}")

# %% locked="drafting"
record = calibration.load_record("lab16_small_machines", "drafting")
record.groupby(["task", "most"], sort=False)[["tokens", "passes", "tokens_a_pass", "same"]].mean().round(2)

# %% [markdown]
# When a message is written again, a pass gives 2.1 tokens; when the model writes freely, 1.07 (two messages each,
# four tokens a draft). The text was that of greedy decoding in every run. Fewer passes are not the same factor in
# time: a pass that checks four guesses takes longer than one that writes a token, most of all where the processor is
# slow and the memory is fast. Measure it on the machine that will do the work.
#
# # Part 5 · Power, money, and two machines
#
# ## 10. What 1,000 answers cost
#
# Energy is power times time: $\text{watt-hours} = \text{seconds} \cdot \text{watts} / 3600$. The seconds are measured, on one core of
# the course's own machine. The watts are **assumed**: what a whole machine draws while it computes, low and high. Put what
# your own meter shows into `watts`. The last rows are answers of 100 written tokens (section 4). (`read_meter` reads the processor's own meter, RAPL, where the system allows it.)

# %%
watts, price = small_machines.WATTS["Raspberry Pi 5"], 0.20
answering = calibration.load_record("lab16_small_machines", "answering").groupby("way", sort=False)
engines = calibration.load_record("lab16_small_machines", "engines").groupby("way", sort=False)
seconds = {way: found.seconds for way, found in answering}
seconds |= {f"100 tokens: {way}": 100 / found.tokens_a_second for way, found in engines}
costs = {way: small_machines.cost_per_thousand(found, watts, price) for way, found in seconds.items()}
print("the processor's meter here:", "not readable" if small_machines.read_meter() is None else "readable")
pd.DataFrame({way: [*cost["watt-hours"], *cost["money"]] for way, cost in costs.items()},
             index=["watt-hours, low", "watt-hours, high", "money, low", "money, high"]).T.round(5)

# %% [markdown]
# One answer (to an English review) takes 0.7 ms with the small predictor (0.4 to 0.9 in three runs), 34 ms with MiniLM and 305 ms with SmolLM2,
# which reads a prompt and writes one token: hundreds of times as much time (350 to 749), and so as much energy. To write
# 100 tokens takes 1.0 s with llama.cpp from Q4_0 and 11 s with PyTorch. The times are not those of a Raspberry Pi, whose cores are slower; the ratio is
# what carries over best. The price of 0.20 for a kilowatt-hour is an example.
#
# A board that is on all day draws power while it waits, too. With 3 W (assumed) that is 72 watt-hours a day.
#
# ## 11. One model in two processes
#
# If a model does not fit into one machine, two can share it: the first holds the lower layers, the second the upper ones, and
# the numbers between them go over the line (**pipeline parallelism**). Here the line is a pipe between two processes.

# %%
import torch
ids = torch.tensor([prompt[:12]])
language_model = None  # makes room
runtime.free_memory()
folder = models.model_folder("smollm2")
# It takes seconds to start, and 1.2 GB: on a machine with less, read on.
if runtime.scale() != "tiny" and runtime.available_memory_mb() > 1500:
    first = sharding.Part(folder, 0, 15)
    with sharding.Distant(folder, 15, 30) as second:
        logits = second.forward(first.forward(ids))
    print(f"{first.megabytes():.0f} MB of weights here, as many there; scores {tuple(logits.shape)}; the best next token: "
          f"{tokenizer.decode(logits[0, -1].argmax())!r}")

# %% [markdown]
# In the record the largest difference of any score is 0.00006, and every best token is the same. Each process holds
# 326 MB of weights in place of 538 (both need the table of the tokens). The second one has 795 MB of memory in all,
# most of it PyTorch itself: two processes on *one* machine save nothing. The gain is that each machine needs less.
# Nothing gets faster for one text, since the halves wait for each other.
#
# ## 12. Hand in your predictor
#
# A file of at most 0.3 MB: pieces, idf, weights in 4 bits. The grader reads it with NumPy and measures macro-F1 on texts
# that you never saw. Five points at the level of our own five runs (what one more run of the same kind stays above, 199
# times in 200); two for nine tenths of it. You may choose other pieces and another way to find the weights.

# %% locked="save"
path = f"artifacts/predictor-{runtime.scale()}.safetensors"
small.card |= {"lab": "lab16_small_machines", "scale": runtime.scale(), "seed": SEED}
file_mb = small_machines.save_predictor(path, small, bits=4)
print(f"saved {path}: {file_mb:.3f} MB; try it: leaplm serve {path}")
score = evaluation.macro_f1(sentences["validation"]["label"], small.predict(sentences["validation"]["text"]).argmax(axis=1))
print(f"macro-F1 {score:.3f} on validation texts")
marking.describe_aim("lab16_small_machines", LANGUAGE)

# %% check="small_predictor" points=5
predictor = small_machines.load_predictor(path)
assert predictor.card["language"] == LANGUAGE and predictor.labels == names
assert os.path.getsize(path) <= 300_000
print("Saved. Hand in this notebook together with its folder `artifacts`.")

# %% [markdown]
# ## 13. Which machine?

# %% locked="results"
memory = calibration.load_record("lab16_small_machines", "memory").groupby("way")[["file_mb", "memory_mb"]].mean()
times = calibration.load_record("lab16_small_machines", "answering").groupby("way")["seconds"].agg(["mean", "std"])
memory.join(times, how="outer").round(4)

# %% [markdown]
# NaN: not measured. SmolLM2 has a file of 92 MB in Q4_0 (section 4); its seconds here are those of one token.
#
# ### Exercise 12 · Advice for the radio station (20 minutes, 4 points, read by your teacher)
#
# The radio station in Kano gets 300 messages in Hausa a day by text message and wants to sort them into praise, complaints
# and questions; later it wants a short answer written to each. It has one Raspberry Pi. Write about 150 words: what runs on
# it, how large is it, what does a day cost in energy, how will the station notice that the messages have changed, and what
# would you measure before you promise anything? Use numbers of this lab with their spread.

# %% [markdown] manual="advice" points=4
# ### BEGIN SOLUTION
# **Marking guide.** 1 point: the classifier with NumPy for sorting, with its size and memory, and what is lost (with an
# interval). 1 point: the energy of a day from the table times 0.3, with the assumption about watts said. 1 point: an alarm
# with a rate of false alarms chosen beforehand, set on usual texts that were not trained on and are of the kind that will
# come in, and checked: in this lab's Hausa tweets one that was set on other texts rang in every usual window. 1 point: what is
# not known: the station's messages are no tweets, and have other classes; the times are of another machine; answers by
# SmolLM2 are slow and in English.
#
# **A good answer, in short.** Sorting runs on the Raspberry Pi: the TF-IDF predictor with NumPy, 0.21 MB in Hausa, about 40 MB
# of memory (measured with the English file), 0.9 points less than all pieces (from −2.1 to +0.2). On held-out Hausa tweets
# its macro-F1 is 0.702 ± 0.015; on the station's own messages nothing is measured yet. A day has 300 messages: 0.3 times the
# watt-hours of the table, far below one, if the machine draws 6 to 10 W while it computes (assumed; waiting costs more). An
# alarm on the confidence, at one false alarm in 100 weeks, set on the station's own messages of some usual weeks that were not
# trained on; then I count its rings in other usual weeks. It will miss much: with four texts of ten in Pidgin it rang in 25
# windows of 100. Answers: SmolLM2 in Q4_0 would run, but it reads English, and nobody has measured its answers. First I would
# label 300 own messages, compare with the most frequent class, and take the times on the Pi itself.
# ### END SOLUTION

# %% [markdown]
# ## What to take away
#
# 1. Four bits need a scale for every few numbers. Where the sixteen values stand matters, too.
# 2. A classifier that needs no framework is a file of a few hundred kilobytes and a page of code. Measure what it loses, on
#    the same texts.
# 3. Choose the rate of false alarms before you watch, on texts of the kind that will come in, and not those of the training.
#    Check the rate on other usual texts, and how many new texts the alarm needs.
#
# **Sources.** Dettmers et al., 2023, *QLoRA* (NF4) · the description of GGUF (https://github.com/ggml-org/ggml) · Gerganov et al.,
# *llama.cpp* · Rabanser et al., 2019, *Failing loudly: an empirical study of methods for detecting dataset shift* · Leviathan et
# al., 2023, *Fast inference from transformers via speculative decoding* · Saxena, 2023, *Prompt lookup decoding* · Huang et al.,
# 2019, *GPipe* · Strubell et al., 2019, *Energy and policy considerations for deep learning in NLP* · Hutto & Gilbert, 2014 (the English ratings) · Muhammad et al.,
# 2023, *AfriSenti* (the tweets).
