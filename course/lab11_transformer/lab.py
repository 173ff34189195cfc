# %% [markdown]
# # Lab 11 · Inside the transformer
#
# | | |
# |---|---|
# | **You come from** | Lab 1 (pretraining) or lab 4 (prompting), and a little PyTorch: tensors, shapes, `loss.backward()` |
# | **You will be able to** | write the whole forward pass of a language model, load real weights into it, train a small one from nothing, and compare models across languages and tokenizers |
# | **Time** | about 4 hours of work; the computer needs about 2 minutes of it |
# | **Needs** | 2 cores, 1.6 GB of memory, 96 MB of downloads (once). No GPU |
# | **Points** | 30: nine exercises and your model, checked by the computer (26), and one answer read by your teacher (4) |
#
# A school in Kisumu wants a program on an old PC that continues a sentence: in English, in Swahili, in Luo. Everybody says
# "use a transformer". What is in it? In this lab you build one, about 80 lines in nine steps. At the end your lines read
# the weights of a real model and give the same numbers as the library that millions of people use.

# %%
# On Colab, or wherever the course is not installed yet. Safe to run again; leaves torch and numpy alone.
import importlib.util
import os
if importlib.util.find_spec("leaplm") is None:
    source = os.environ.get("LEAPLM_SOURCE", "git+https://github.com/leaplm/leaplm")  # or a folder, a wheel, a mirror
    get_ipython().run_line_magic("pip", f'install -q "leaplm[labs] @ {source}"')
get_ipython().run_line_magic("load_ext", "leaplm.learner")  # marks and hints below each check, and your progress

# %% locked="setup"
import time
from collections import Counter

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import linear, silu

from leaplm import artifacts, assets, calibration, data, marking, models, plots, runtime, training
from leaplm.identity import student_seed
from leaplm.runtime import by_scale
from leaplm.tokens import tokenization
from leaplm.transformer import decoder as ours, generation, language_model

assets.fetch(["vader", "smollm2"])  # downloads only what is not here yet
runtime.set_seed(0)
SEED = student_seed()  # of your own training run
runtime.describe_runtime()

# %% [markdown]
# The next cell holds **the only setting of this lab**: `"eng"`, then `"hau"`, `"swa"` or another language of the
# AfriSenti tweets, or your own file with a first line `text,label`: `LANGUAGE = "my_sentences.csv"` (the labels are not
# used here).

# %%
LANGUAGE = "eng"
marking.describe_language("lab11_transformer", LANGUAGE)

# %% locked="load"
corpus = data.load_corpus(LANGUAGE).shuffle(seed=0)
texts = list(corpus["train"]["text"])[: by_scale(tiny=300, cpu=None, gpu=None)]
validation_texts = list(corpus["validation"]["text"])[: by_scale(tiny=20, cpu=300, gpu=300)]
print(f"{len(texts):,} texts, {sum(len(text.split()) for text in texts):,} words")
print(*texts[:3], sep="\n")

# %% [markdown]
# ## 1. Tokens: what stands together often
#
# A model reads **tokens**: numbers of pieces of text. Where do the pieces come from? **Byte-pair encoding** (BPE) begins
# with single letters. Again and again it joins the two neighbours that stand together most often. Each joining is called a
# **merge**. By hand, with the words *kano* (3 times), *kan* (2 times) and *no* (4 times):
#
# | round | pairs, with the number of times | merge |
# |---|---|---|
# | 1 | `k a` 3 + 2 = 5 · `a n` 5 · **`n o` 3 + 4 = 7** | `n o` → `no` |
# | 2 | **`k a` 5** · `a no` 3 · `a n` 2 | `k a` → `ka` |
#
# ### Exercise 1 · Learn merges (20 minutes, 2 points)
#
# Write `learn_merges`: the first `count` merges, in order, for words with their frequencies.

# %% answer="learn_merges"
def learn_merges(words, count):
    """The first `count` merges as a list of pairs (left piece, right piece); fewer if no pair is left.

    words: dict {word: how often it occurs}. A pair counts as often as its word occurs, at each place where it
    stands. Of equally frequent pairs take the one that Python's `<` puts first. A merge joins the pair at all its
    places, from the left: "aaa" with ("a", "a") becomes "aa", "a".
    Example: {"kano": 3, "kan": 2, "no": 4} and 2 give [("n", "o"), ("k", "a")].
    """
    ### BEGIN SOLUTION
    pieces, merges = {word: list(word) for word in words}, []
    while len(merges) < count:
        pairs = Counter()
        for word, parts in pieces.items():
            for pair in zip(parts, parts[1:], strict=False):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word, parts in pieces.items():
            joined, place = [], 0
            while place < len(parts):
                width = 2 if tuple(parts[place : place + 2]) == best else 1
                joined.append("".join(parts[place : place + width]))
                place += width
            pieces[word] = joined
    return merges
    ### END SOLUTION

# %%
# Try it on the words of our texts. You should see pairs that are frequent in the language.
counted = Counter(word for text in texts[:2000] for word in text.lower().split())
print(["".join(pair) for pair in learn_merges(dict(counted.most_common(300)), 12)])

# %% check="learn_merges" points=2
assert [tuple(pair) for pair in learn_merges({"kano": 3, "kan": 2, "no": 4}, 2)] == [("n", "o"), ("k", "a")]
assert [tuple(pair) for pair in learn_merges({"aaa": 1}, 5)] == [("a", "a"), ("aa", "a")]

# %% [markdown]
# <details><summary>Hint 1</summary>Keep for each word the list of its pieces. A <code>Counter</code> counts the pairs:
# <code>zip(parts, parts[1:])</code> gives the neighbours, and each counts <code>words[word]</code> times.</details>
# <details><summary>Hint 2</summary><code>min(pairs, key=lambda pair: (-pairs[pair], pair))</code> takes the most frequent
# pair, and of equals the first. To join, walk through the pieces with a <code>while</code> loop and step by 2 where the
# pair stands.</details>

# %% [markdown]
# The library does the same with bytes in place of letters, so that no letter of any language is unknown. Ours has 2,048
# pieces.

# %% locked="tokenizer"
tokenizer = tokenization.train_byte_bpe(texts, vocab_size=2048)
line = language_model.token_line(texts, tokenizer)  # all texts, one long line of tokens
validation_line = language_model.token_line(validation_texts, tokenizer)
print(f"{len(tokenizer):,} pieces; the training texts are {len(line):,} tokens")

# %% [markdown]
# ## 2. Attention: three tokens on paper
#
# How does a model use the words before? Each token asks a question: its **query** $q$. Each token also has a label, its
# **key** $k$, and a content, its **value** $v$. All three are vectors. A token compares its query with the keys, turns the
# scores into shares that sum to 1 (**softmax**), and takes that mixture of the values. This is **attention**:
#
# $$\text{score}_{ij} = \frac{q_i \cdot k_j}{\sqrt d} \qquad a_{ij} = \frac{e^{\text{score}_{ij}}}{\sum_{j' \le i} e^{\text{score}_{ij'}}}
# \qquad y_i = \sum_{j \le i} a_{ij}\, v_j$$
#
# ($d$: the width of $q$ and $k$. Without $\sqrt d$ the scores of wide vectors are so large that one share is almost 1.) The
# sums go to $j \le i$ only: a token must not see what comes after it, or the model could copy the answer. This is called
# **causal**. By hand, the third token of *Ina son gida* (Hausa: I want a house), $d = 2$, $q_3 = (1, 1)$:
#
# | token | $k$ | $q_3 \cdot k$ | $/\sqrt 2$ | $e^{\cdot}$ | share | $v$ |
# |---|---|---|---|---|---|---|
# | Ina | (1, 0) | 1 | 0.71 | 2.03 | 0.25 | (4, 0) |
# | son | (0, 1) | 1 | 0.71 | 2.03 | 0.25 | (0, 8) |
# | gida | (1, 1) | 2 | 1.41 | 4.11 | 0.50 | (0, 0) |
#
# $y_3 = 0.25 \cdot (4, 0) + 0.25 \cdot (0, 8) + 0.50 \cdot (0, 0) = (1, 2)$.
#
# ### Exercise 2 · Causal attention (25 minutes, 3 points)
#
# Write `attention`. Later the keys may be more than the queries: then the queries are those of the **last** tokens, and
# the first keys are of tokens that were read before.

# %% answer="attention"
def attention(queries, keys, values):
    """Tensors: queries (batch, heads, t, d), keys and values (batch, heads, s, d), s >= t -> (batch, heads, t, d).

    Query number i of t belongs to token s - t + i of s. It sees this token and all before, none after.
    Example: t = 1, s = 3: the only query is that of the last token, and sees all three keys.
    Write it with products and softmax, without torch's own attention.
    """
    ### BEGIN SOLUTION
    t, s = queries.shape[-2], keys.shape[-2]
    scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
    hidden = torch.ones(t, s, dtype=torch.bool).triu(1 + s - t)  # above the diagonal: what comes after
    return scores.masked_fill(hidden, float("-inf")).softmax(dim=-1) @ values
    ### END SOLUTION

# %%
# Try it on the paper's numbers. The last row should be about (1, 2).
paper_keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[None, None]
paper_values = torch.tensor([[4.0, 0.0], [0.0, 8.0], [0.0, 0.0]])[None, None]
attention(torch.ones(1, 1, 3, 2), paper_keys, paper_values)

# %% check="attention" points=3
mixed = attention(torch.ones(1, 1, 3, 2), paper_keys, paper_values)[0, 0]
assert torch.allclose(mixed[0], torch.tensor([4.0, 0.0])), "the first token sees itself only"
assert torch.allclose(mixed[2], torch.tensor([0.9930, 1.9860]), atol=1e-3)
alone = attention(torch.ones(1, 1, 1, 2), paper_keys, paper_values)[0, 0]
assert torch.allclose(alone[0], mixed[2]), "one query and three keys: it is the last token's"

# %% [markdown]
# <details><summary>Hint 1</summary>All scores at once: <code>queries @ keys.transpose(-1, -2)</code> has the shape (batch,
# heads, t, s). Where a key comes after the query, put minus infinity before the softmax: its share becomes 0.</details>
# <details><summary>Hint 2</summary><code>torch.ones(t, s, dtype=torch.bool).triu(1 + s - t)</code> is True above the
# diagonal that begins at column s - t. Then <code>scores.masked_fill(hidden, float("-inf")).softmax(dim=-1) @ values</code>.
# </details>

# %% [markdown]
# ## 3. Positions: turn the vectors
#
# Attention looks at all earlier tokens alike: it does not know which came first. **Rotary positions** tell it. Take the
# numbers of a query in pairs and look at each pair as an arrow on a sheet of paper. Turn the arrow by an angle that grows
# with the position $p$. Keys are turned the same way. The product of two arrows depends on the angle *between* them, so on
# the distance of two tokens only, wherever they stand.
#
# $$\begin{pmatrix} x_i' \\ x_{i + d/2}' \end{pmatrix} = \begin{pmatrix} \cos\alpha & -\sin\alpha \\ \sin\alpha & \cos\alpha
# \end{pmatrix} \begin{pmatrix} x_i \\ x_{i + d/2} \end{pmatrix} \qquad \alpha = p\,\theta^{-2i/d} \qquad 0 \le i < d/2$$
#
# The first pair turns fast, the last one slowly; $\theta$ (theta) says how slowly. By hand: $d = 2$, position 1, so
# $\alpha = 1$ radian, and the arrow (1, 0) becomes $(\cos 1, \sin 1) = (0.54, 0.84)$.
#
# ### Exercise 3 · Rotary positions (20 minutes, 2 points)
#
# Write `rotate`. Number $i$ is the partner of number $i + d/2$, not of its neighbour.

# %% answer="rotate"
def rotate(x, positions, theta):
    """Tensors: x (batch, heads, tokens, d), d even; positions (tokens,), whole numbers -> the turned x, of the same shape.

    Example: x = [1, 0] at position 1 gives [0.540, 0.841], whatever theta is: the first pair turns by the position.
    """
    ### BEGIN SOLUTION
    half = x.shape[-1] // 2
    angles = positions[:, None] * theta ** (-torch.arange(half) / half)  # (tokens, d / 2)
    first, second = x[..., :half], x[..., half:]
    turned = [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()]
    return torch.cat(turned, dim=-1)
    ### END SOLUTION

# %%
# Try it. The score should be the same in both lines: the distance is 3 in both.
arrow = torch.randn(1, 1, 1, 8)
for place in (0, 50):
    query, key = rotate(arrow, torch.tensor([place + 3]), 10_000.0), rotate(arrow, torch.tensor([place]), 10_000.0)
    print(f"positions {place + 3} and {place}: score {float((query * key).sum()):.4f}")

# %% check="rotate" points=2
turned = rotate(torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]]), torch.tensor([0, 1]), 10_000.0)
assert torch.allclose(turned, torch.tensor([[[[1.0, 0.0], [0.5403, 0.8415]]]]), atol=1e-3)
slow = rotate(torch.tensor([[[[0.0, 1.0, 0.0, 0.0]]]]), torch.tensor([100]), 10_000.0)
assert torch.allclose(slow, torch.tensor([[[[0.0, 0.5403, 0.0, 0.8415]]]]), atol=1e-3), "pair 1 turns by 100 / 100"

# %% [markdown]
# <details><summary>Hint 1</summary>Pair i turns by <code>positions * theta ** (-2 * i / d)</code>, and with half = d / 2
# this is <code>theta ** (-i / half)</code>. All angles at once: <code>positions[:, None] * speeds</code>, (tokens, half).
# </details>
# <details><summary>Hint 2</summary><code>first, second = x[..., :half], x[..., half:]</code>. The new first half is
# <code>first * cos - second * sin</code>, the new second half <code>second * cos + first * sin</code>; join them with
# <code>torch.cat(..., dim=-1)</code>.</details>

# %% [markdown]
# **A place to stop.** Your answers stay in the notebook. To go on another day: open it, click on this cell, choose
# *Run › Run All Above Selected Cell* (on Colab *Runtime › Run before*), wait a few minutes, and go on below. An exercise that
# is still open stops this run: then run the cells behind it by hand.

# %% [markdown]
# ## 4. A block
#
# A token travels through the model as one vector, and each part **adds** something to it. This sum is called the **residual
# stream**. A **block** adds twice:
#
# $$x \leftarrow x + \text{attention}(\text{norm}(x)) \qquad\qquad x \leftarrow x + \text{feed-forward}(\text{norm}(x))$$
#
# * **Norm.** The vectors grow with each addition. Before each part they are brought to one size. *RMS norm* divides by the
#   root of the mean square: $\text{norm}(x) = w \cdot x \,/ \sqrt{\text{mean}(x^2) + \epsilon}$. (The older *layer norm* takes
#   the mean off first and adds a bias. Both work; this one is cheaper.) $\epsilon$ is a small number against division by 0.
# * **Heads.** Attention is done several times side by side, in **heads** with a part of the width each: one head may look
#   at the word before, another at the subject. In **grouped-query attention** several heads share one key and value: with 9
#   heads and 3 of keys and values, query heads 0, 1, 2 use the first, 3, 4, 5 the second, and so on.
# * **Feed-forward.** Attention moves information *between* tokens; this part works on each token *alone*, and holds most of
#   the weights: $W_{down}\,(\text{silu}(W_{gate}\,x) \cdot W_{up}\,x)$, with $\text{silu}(z) = z / (1 + e^{-z})$.
#
# The **cache** comes here too. Keys and values of tokens that were read before never change, since no token sees a later
# one. So we keep them, and new tokens only add theirs.

# %%
from leaplm.drawings import show_drawing

show_drawing("lab11_transformer")

# %% [markdown]
# ### Exercise 4 · Norm, heads, feed-forward, block (50 minutes, 3 points)
#
# Write the four functions of a block. Use your `attention` and `rotate`; where one of them does not work yet,
# `ours.attention` and `ours.rotate` of the library may stand in **here**.

# %% answer="parts"
def rms_norm(x, weight, eps):
    """Tensors x (..., width), weight (width,) -> (..., width): x over the root of its mean square plus eps, times weight.

    Example: [3., 4.] with weights [1., 1.] and eps 0 gives [0.849, 1.131]: the root is 3.536.
    Write it with mean and root, without torch's own norm.
    """
    ### BEGIN SOLUTION
    return weight * x / (x.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt()
    ### END SOLUTION


def feed_forward(x, weights):
    """Tensor x (..., width) -> (..., width), by the matrices weights["gate"], ["up"] (both wider than x) and ["down"].

    Example: with gate, up and down all [[1.]], x = [2.] gives silu(2) * 2 = 3.523.
    """
    ### BEGIN SOLUTION
    return linear(silu(linear(x, weights["gate"])) * linear(x, weights["up"]), weights["down"])
    ### END SOLUTION

# %% [markdown]
# <details><summary>Hint 1</summary>The mean goes over the last dimension and keeps it: <code>.mean(dim=-1,
# keepdim=True)</code>. Add eps before the root is taken.</details>
# <details><summary>Hint 2</summary><code>linear(x, weights["gate"])</code> goes through <code>silu</code> and is multiplied,
# number by number, with <code>linear(x, weights["up"])</code>; "down" brings the product back to the width.</details>

# %% answer="block"
def self_attention(x, weights, shape, cache=None):
    """Tensor x (batch, t, width) -> (output (batch, t, width), cache): attention of new tokens over all tokens so far.

    weights: dict of matrices (out, in), to be used as linear(x, matrix): "query", "key", "value", "output".
    shape: dict with "heads", "kv_heads" (heads is a multiple of it) and "theta".
    cache: None at the beginning of a text, else the pair (keys, values) of all tokens before, each (batch, kv_heads,
    tokens, d), the keys already turned. The cache returned also holds the t new tokens. d = rows of "query" / heads.
    Positions count from the beginning of the text: with a cache of 5 tokens the new ones are 5, 6, ...
    """
    ### BEGIN SOLUTION
    before = 0 if cache is None else cache[0].shape[2]
    positions = torch.arange(before, before + x.shape[1])

    def heads(name, count):  # (batch, t, count * d) -> (batch, count, t, d)
        return linear(x, weights[name]).unflatten(2, (count, -1)).transpose(1, 2)

    queries = rotate(heads("query", shape["heads"]), positions, shape["theta"])
    keys = rotate(heads("key", shape["kv_heads"]), positions, shape["theta"])
    values = heads("value", shape["kv_heads"])
    if cache is not None:
        keys, values = torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], values], dim=2)
    each = shape["heads"] // shape["kv_heads"]
    mixed = attention(queries, keys.repeat_interleave(each, dim=1), values.repeat_interleave(each, dim=1))
    return linear(mixed.transpose(1, 2).flatten(2), weights["output"]), (keys, values)
    ### END SOLUTION


def block(x, weights, shape, cache=None):
    """Tensor x (batch, t, width) -> (x (batch, t, width), cache): both additions, each of a normed x.

    weights also has the norms' vectors "attention_norm" and "feed_norm"; shape also has "eps".
    """
    ### BEGIN SOLUTION
    normed = rms_norm(x, weights["attention_norm"], shape["eps"])
    added, cache = self_attention(normed, weights, shape, cache)
    x = x + added
    return x + feed_forward(rms_norm(x, weights["feed_norm"], shape["eps"]), weights), cache
    ### END SOLUTION

# %% locked="tiny_weights"
from leaplm.grading.judge.tiny_models import llama_weights  # a very small model with random weights

tiny_weights, tiny_shape = llama_weights(seed=0)
print("shape:", tiny_shape)
for name, matrix in tiny_weights["blocks"][0].items():
    print(f"{name:>15}: {tuple(matrix.shape)}")

# %%
# Try it. The same 4 tokens in one piece, and in two with a cache, should give the same numbers.
stream = torch.randn(1, 4, tiny_weights["embedding"].shape[1])
whole, _ = block(stream, tiny_weights["blocks"][0], tiny_shape)
_, kept = block(stream[:, :3], tiny_weights["blocks"][0], tiny_shape)
last, _ = block(stream[:, 3:], tiny_weights["blocks"][0], tiny_shape, kept)
print(f"largest difference {float((whole[:, 3:] - last).abs().max()):.1e}")

# %% check="block" points=3
assert torch.allclose(rms_norm(torch.tensor([3.0, 4.0]), torch.ones(2), 0.0), torch.tensor([0.8485, 1.1314]), atol=1e-3)
ones = {name: torch.ones(1, 1) for name in ("gate", "up", "down")}
assert torch.allclose(feed_forward(torch.tensor([2.0]), ones), torch.tensor([3.5232]), atol=1e-3)
stream = torch.randn(1, 4, tiny_weights["embedding"].shape[1])
before = stream.clone()
whole, kept = block(stream, tiny_weights["blocks"][0], tiny_shape)
assert torch.equal(stream, before), "x itself should stay as it was: x = x + ..., not x += ..."
assert whole.shape == stream.shape and kept[0].shape[1:3] == (tiny_shape["kv_heads"], 4)
_, kept = block(stream[:, :3], tiny_weights["blocks"][0], tiny_shape)
last, _ = block(stream[:, 3:], tiny_weights["blocks"][0], tiny_shape, kept)
assert torch.allclose(last, whole[:, 3:], atol=1e-4), "with a cache the numbers should be those of the whole text"

# %% [markdown]
# <details><summary>Hint 1</summary><code>linear(x, weights["query"]).unflatten(2, (heads, -1)).transpose(1, 2)</code> gives
# (batch, heads, t, d). Turn queries and keys, not values. Then put the cache <i>before</i> the new keys and values:
# <code>torch.cat([cache[0], keys], dim=2)</code>.</details>
# <details><summary>Hint 2</summary><code>keys.repeat_interleave(heads // kv_heads, dim=1)</code> gives each query head its
# key: 0 0 0 1 1 1 (a plain <code>repeat</code> gives 0 1 0 1). The cache keeps them <i>not</i> repeated. At the end
# <code>mixed.transpose(1, 2).flatten(2)</code> puts the heads side by side again, and "output" mixes them. In
# <code>block</code>, the second norm reads the x that the attention was added to.</details>

# %% [markdown]
# ## 5. The whole model, with real weights
#
# What is left? At the entrance each token number becomes a vector: a row of the **embedding** matrix. At the exit comes one
# more norm, and the **head** compares the vector with each piece of the vocabulary: these scores are called **logits**.
#
# $$\text{ids}\;(B \times T) \to \text{embedding} \to x\;(B \times T \times \text{width}) \to \text{blocks} \to \text{norm} \to
# \text{head} \to \text{logits}\;(B \times T \times V)$$
#
# ### Exercise 5 · The decoder (15 minutes, 3 points)
#
# Write `decoder`: from token numbers to logits, through all blocks, each with its own cache. Use your `block` and
# `rms_norm` (or, where they do not work yet, `ours.block` and `ours.rms_norm`).

# %% answer="decoder"
def decoder(ids, weights, shape, caches=None):
    """ids (batch, t), integers -> (logits (batch, t, vocabulary), caches, a list with one cache a block).

    weights: "embedding" (vocabulary, width), "blocks" (a list of dicts), "norm" (width,), "head" (vocabulary, width).
    caches: None at the beginning of a text, else the list that the call before returned.
    Example: for a model of 30 blocks the list of caches has 30 pairs.
    """
    ### BEGIN SOLUTION
    x = weights["embedding"][ids]
    longer = []
    for number, part in enumerate(weights["blocks"]):
        x, cache = block(x, part, shape, None if caches is None else caches[number])
        longer.append(cache)
    return linear(rms_norm(x, weights["norm"], shape["eps"]), weights["head"]), longer
    ### END SOLUTION

# %%
# Try it. You should see one score a piece (40) for each of the 3 tokens, and a pair for each block.
logits, caches = decoder(torch.tensor([[5, 6, 7]]), tiny_weights, tiny_shape)
print(tuple(logits.shape), len(caches), "caches")

# %% check="decoder" points=3
logits, caches = decoder(torch.tensor([[5, 6, 7]]), tiny_weights, tiny_shape)
assert logits.shape == (1, 3, 40) and len(caches) == len(tiny_weights["blocks"])
first, caches = decoder(torch.tensor([[5, 6]]), tiny_weights, tiny_shape)
rest, caches = decoder(torch.tensor([[7]]), tiny_weights, tiny_shape, caches)
assert torch.allclose(torch.cat([first, rest], dim=1), logits, atol=1e-4)

# %% [markdown]
# <details><summary>Hint 1</summary><code>weights["embedding"][ids]</code> looks up the rows of all tokens at once: (batch, t,
# width).</details>
# <details><summary>Hint 2</summary>Go through the blocks with <code>enumerate</code>; block number n gets <code>None</code>
# or <code>caches[n]</code>. Collect what each returns in a <b>new</b> list. At the end
# <code>linear(rms_norm(x, weights["norm"], shape["eps"]), weights["head"])</code>.</details>

# %% [markdown]
# Now the test that counts. **SmolLM2** has 30 blocks of width 576, 9 heads, 3 heads of keys and values, 134.5 million
# weights. `transformers` runs it with thousands of lines. **Predict first:** how far are the logits of your lines from
# its logits?

# %%
my_difference = 0.0  # the largest difference of two logits

# %%
smollm2, known_tokenizer = models.load_causal_lm("smollm2"), models.load_tokenizer("smollm2")
weights, shape = ours.weights_of(smollm2), ours.shape_of(smollm2.config)  # the model's own weights, no copies
prompt = known_tokenizer("Kano is a city in the north of", return_tensors="pt")["input_ids"].cpu()
with torch.no_grad():
    if smollm2.device.type != "cpu":
        smollm2 = smollm2.float().cpu()
        weights = ours.weights_of(smollm2)
    theirs = smollm2(prompt).logits


def most_likely(p, count=4):
    """The most probable pieces with their probabilities, as a text."""
    return " · ".join(f"{known_tokenizer.decode([i])!r} {float(p[i]):.2f}" for i in p.topk(count).indices.tolist())

# %%
with torch.no_grad():
    mine, _ = decoder(prompt, weights, shape)
print(f"largest difference {float((mine - theirs).abs().max()):.1e} (the logits go from {float(theirs.min()):.0f} to "
      f"{float(theirs.max()):.0f}); you predicted {my_difference}")

# %% [markdown]
# A difference of about 0.0001 is rounding: the same sums in another order. **You have written a language model.** Now look
# inside. After each block, what would the model say if it stopped there? We send the residual stream of the last token
# through the last norm and the head:

# %%
with torch.no_grad():
    x, caches = weights["embedding"][prompt], []
    for number, part in enumerate(weights["blocks"], 1):
        x, _ = ours.block(x, part, shape)
        if number % 5 == 0:
            scores = torch.nn.functional.linear(ours.rms_norm(x[0, -1], weights["norm"], shape["eps"]), weights["head"])
            print(f"after block {number:>2}: {most_likely(scores.softmax(-1), 3)}")

# %% [markdown]
# The early blocks say nothing sensible; the answer forms late. Each block only *adds* to the stream, so one can read it at
# any place. And the answer is wrong: the model says *Japan*. Kano is in Nigeria. It writes fluent English, and has read
# little about our places.
#
# ## 6. From scores to a word
#
# The softmax of the logits of the last token gives a probability for each piece. Which one do we write? Always the most
# probable one (**greedy**) soon repeats itself. **Sampling** draws by chance. Three settings make it less wild:
#
# * **temperature** $\tau$: divide the logits by it. Below 1 the likely becomes more likely; above 1 all become more equal.
# * **top-k**: only the $k$ most probable pieces may be drawn.
# * **top-p**: only the most probable ones that *together* have at least the probability $p$. Where the model is sure these
#   are few, where it is not they are many.
#
# By hand, probabilities 0.5, 0.3, 0.15, 0.05 and top-p 0.7: the first alone has 0.5, the first two 0.8, which is enough. They
# become 0.5 / 0.8 = 0.625 and 0.3 / 0.8 = 0.375; the others 0.
#
# ### Exercise 6 · Temperature, top-k, top-p (20 minutes, 2 points)
#
# Write `next_token_probabilities`: temperature first, then top-k, then top-p on what is left (made to sum to 1).

# %% answer="next_token_probabilities"
def next_token_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """Tensor logits (vocabulary,) -> probabilities (vocabulary,) in the same order; they sum to 1, what is cut has 0.

    top_k: how many of the largest may stay. top_p: of what is left, the fewest of the most probable stay that have
    together at least top_p; one always stays. None: do not cut.
    Example: the logarithms of 0.5, 0.3, 0.15, 0.05 with top_p=0.7 give 0.625, 0.375, 0, 0.
    """
    ### BEGIN SOLUTION
    p = (logits / temperature).softmax(dim=-1)
    ranked, order = p.sort(descending=True)
    if top_k is not None:
        ranked = torch.where(torch.arange(len(p)) < top_k, ranked, 0)
        ranked = ranked / ranked.sum()
    if top_p is not None:
        before = ranked.cumsum(dim=-1) - ranked  # what the more probable ones have together
        ranked = torch.where(before < top_p, ranked, 0)
    return torch.zeros_like(p).scatter(-1, order, ranked / ranked.sum())
    ### END SOLUTION

# %%
# Try it on SmolLM2. You should see a few towns or countries, and fewer of them at a low temperature.
for temperature in (0.5, 1.0, 1.5):
    p = next_token_probabilities(theirs[0, -1], temperature, top_k=4)
    print(f"temperature {temperature}: {most_likely(p)}")

# %% check="next_token_probabilities" points=2
four = torch.tensor([0.05, 0.5, 0.15, 0.3]).log()
assert torch.allclose(torch.as_tensor(next_token_probabilities(four, top_p=0.7)), torch.tensor([0, 0.625, 0, 0.375]), atol=1e-4)
assert torch.allclose(torch.as_tensor(next_token_probabilities(four, top_k=1)), torch.tensor([0, 1.0, 0, 0]))
assert torch.allclose(torch.as_tensor(next_token_probabilities(four, 2.0)), (four / 2).softmax(-1), atol=1e-5)

# %% [markdown]
# <details><summary>Hint 1</summary><code>ranked, order = p.sort(descending=True)</code>. Cut in the sorted list, then put the
# numbers back to their places: <code>torch.zeros_like(p).scatter(-1, order, ranked)</code>.</details>
# <details><summary>Hint 2</summary>A piece stays if the more probable ones <i>before</i> it do not yet have top_p:
# <code>ranked.cumsum(-1) - ranked &lt; top_p</code>. So the first one always stays. Divide by the sum after each cut.</details>

# %% [markdown]
# ## 7. Write, with a cache
#
# To write a text: read the prompt, choose a token, read it too, choose the next, and so on. A simple program sends the
# whole text through the model for each new token. With the cache, each token goes through **once**. A prompt of $P$ tokens
# and $n$ new ones:
#
# $$\underbrace{P + (P + 1) + \dots + (P + n - 1)}_{\text{without}} \;\longrightarrow\; \underbrace{P + n - 1}_{\text{with the cache}}$$
#
# (The last new token need not be read.) For $P = 8$ and $n = 20$ this is 350 and 27.
#
# ### Exercise 7 · Write with a cache (15 minutes, 2 points)
#
# Write `generate`. One point is for the right tokens, one for sending each token through the model only once.

# %% answer="generate"
def generate(step, prompt_ids, count, pick):
    """A list of `count` new tokens (int).

    step(ids, caches) -> (logits, caches): the decoder; ids (1, t) and caches as there, caches is None at first.
    prompt_ids: list of int, at least one. pick(scores) -> the number of the token chosen by scores (vocabulary,).
    Example: with pick=lambda scores: scores.argmax() this is greedy writing.
    """
    ### BEGIN SOLUTION
    ids, caches, written = list(prompt_ids), None, []
    with torch.no_grad():
        while len(written) < count:
            logits, caches = step(torch.tensor([ids]), caches)
            ids = [int(pick(logits[0, -1]))]  # next time only the new token
            written.append(ids[0])
    return written
    ### END SOLUTION

# %% locked="steps"
def without_cache(step, prompt_ids, count, pick):
    """The same, the whole text anew for each token."""
    ids = list(prompt_ids)
    with torch.no_grad():
        for _ in range(count):
            logits, _ = step(torch.tensor([ids]), None)
            ids.append(int(pick(logits[0, -1])))
    return ids[len(prompt_ids):]


def draw(scores, temperature=0.8, top_k=50, top_p=0.9):
    """A token drawn by chance."""
    return torch.multinomial(generation.next_token_probabilities(scores, temperature, top_k, top_p), 1)

# %% check="generate" points=2
tokens_sent = []
def counting_step(ids, caches):
    tokens_sent.append(ids.numel())
    return ours.decoder(ids, tiny_weights, tiny_shape, caches)
greedy = generate(counting_step, [5, 6, 7], 4, torch.argmax)
sent = sum(tokens_sent)
assert list(greedy) == without_cache(counting_step, [5, 6, 7], 4, torch.argmax)
assert sent <= 3 + 4 - 1, f"{sent} tokens went through the model, 6 are enough"

# %% [markdown]
# <details><summary>Hint 1</summary>The first call of <code>step</code> gets the whole prompt and <code>None</code>; each
# later one gets one token, <code>torch.tensor([[token]])</code>, and the caches of the call before.</details>
# <details><summary>Hint 2</summary><code>logits[0, -1]</code> are the scores after the last token. Choose first, then read:
# if you read the last chosen token too, one call is too many.</details>

# %% [markdown]
# Measured on SmolLM2. **Predict first:** how many times faster is it with the cache, for 8 tokens of prompt and 20 new ones?

# %%
my_speedup = 0.0  # times faster

# %%
def real_step(ids, caches):
    return ours.decoder(ids, weights, shape, caches)


new_tokens, seconds = by_scale(tiny=2, cpu=20, gpu=20), {}
for way, write in (("whole text each time", without_cache), ("with a cache", generation.generate)):
    started = time.perf_counter()
    written = write(real_step, prompt[0].tolist(), new_tokens, torch.argmax)
    seconds[way] = time.perf_counter() - started
    print(f"{way:>20}: {seconds[way]:.1f} s  {known_tokenizer.decode(written)!r}")

# %%
speedup = seconds["whole text each time"] / seconds["with a cache"]
P = prompt.shape[1]
print(f"tokens: {sum(range(P, P + new_tokens))} and {P + new_tokens - 1}; {speedup:.1f} times faster; you predicted {my_speedup}")
print(known_tokenizer.decode(generation.generate(real_step, prompt[0].tolist(), new_tokens, draw)))

# %% [markdown]
# Far fewer tokens, and yet not so much faster: for a single token the computer must read all weights from memory, and that
# takes as long as a few tokens together. The longer the text, the more the cache saves. It costs memory: 30 blocks · 2 · 3
# heads · 64 numbers · 4 bytes = 46 kB for each token. With 9 heads of keys and values it would be three times that.

# %%
smollm2 = weights = theirs = caches = kept = None
runtime.free_memory()

# %% [markdown]
# **A place to stop.** Your answers stay in the notebook. To go on another day: open it, click on this cell, choose
# *Run › Run All Above Selected Cell* (on Colab *Runtime › Run before*), wait a few minutes, and go on below. An exercise that
# is still open stops this run: then run the cells behind it by hand.

# %% [markdown]
# ## 8. A model from nothing
#
# SmolLM2 has read two trillion tokens, nearly all English. What if nobody has trained a model for your language? Train one:
# a small one of the same kind, 2 blocks of width 128, 0.6 million weights.
#
# The text is its own answer key: after each token the model should give the next one a high probability. So the scores
# after token $i$ are compared with token $i + 1$. This **shift** is where most mistakes happen: without it the model only
# learns to repeat the token that it has just read, and the loss falls beautifully to 0.
#
# $$L = -\frac{1}{T - 1} \sum_{i = 1}^{T - 1} \log p(x_{i + 1} \mid x_1 \dots x_i) \quad\text{(nats per token)}$$
#
# ### Exercise 8 · The loss, and one step (25 minutes, 3 points)
#
# Write `next_token_loss`, the mean over all tokens that have a next one, and `training_step`, one update with the norm of
# the gradient cut to 1.

# %% answer="next_token_loss"
def next_token_loss(logits, ids):
    """logits (batch, t, vocabulary), ids (batch, t), t >= 2 -> a tensor with one number, nats per token.

    Example: equal scores for 8 pieces give log 8 = 2.079 for any ids.
    """
    ### BEGIN SOLUTION
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    ### END SOLUTION


def training_step(model, ids, optimizer):
    """Change the weights once, and return the loss before the change as a float.

    model(ids).logits are the scores (batch, t, vocabulary). The model should be in training mode. Gradients of an
    earlier step must not count. The norm of all gradients together is cut to at most 1.0.
    Example: 30 steps on the same batch bring the loss close to 0: the model learns it by heart.
    """
    ### BEGIN SOLUTION
    model.train()
    optimizer.zero_grad()
    loss = next_token_loss(model(ids).logits, ids)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()
    ### END SOLUTION

# %% check="next_token_loss" points=3
even, some = torch.zeros(2, 5, 8), torch.randint(8, (2, 5))
assert np.isclose(float(next_token_loss(even, some)), np.log(8))
ahead = torch.nn.functional.one_hot(torch.roll(some, -1, dims=1), 8) * 50.0
assert float(next_token_loss(ahead, some)) < 1e-3, "scores that name the NEXT token are right"
toy = language_model.new_causal_lm(8, layers=1, width=64)
toy_optimizer = torch.optim.AdamW(toy.parameters(), lr=1e-2)
losses = [training_step(toy, some, toy_optimizer) for _ in range(5)]
assert isinstance(losses[0], float) and losses[-1] < losses[0]

# %% [markdown]
# <details><summary>Hint 1</summary>The last scores have no partner, and the first token has none either:
# <code>logits[:, :-1]</code> belongs to <code>ids[:, 1:]</code>.</details>
# <details><summary>Hint 2</summary><code>torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())</code>. The
# step: <code>model.train()</code>, <code>zero_grad()</code>, loss, <code>backward()</code>,
# <code>torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)</code>, <code>step()</code>, <code>loss.item()</code>.</details>

# %% [markdown]
# A good first test of any training program: can the model learn **one** batch by heart? If not, something is wrong.

# %%
runtime.set_seed(0)
small = language_model.new_causal_lm(len(tokenizer))
batch = language_model.causal_collate(language_model.training_rows(line)[:4])["input_ids"]  # 4 times 64 tokens
optimizer = torch.optim.AdamW(small.parameters(), lr=4e-3)
by_heart = [training_step(small, batch, optimizer) for _ in range(by_scale(tiny=3, cpu=60, gpu=60))]
print("loss:", [round(loss, 2) for loss in by_heart[::10]], f"(log {len(tokenizer)} = {np.log(len(tokenizer)):.2f})")

# %% [markdown]
# What is the number to beat? A model that only counts. A **unigram** model gives each piece its frequency. A **bigram** model
# looks at one token before: how often did this piece follow that one? A **trigram** model looks at two. Such pairs may be
# new, so the counts are mixed with those of the shorter context:
#
# $$p_n(w \mid c) = \frac{\text{count}(c\,w) + \lambda\, p_{n-1}(w \mid c')}{\text{count}(c) + \lambda} \qquad
# c' = c \text{ without its first token}$$
#
# ($\lambda$ is chosen on validation texts.) They learn in a second.
#
# **Predict first:** our model trains for less than a minute. In nats per token, will it be below the unigram, the bigram, the
# trigram?

# %%
my_loss = 0.0  # nats per token

# %% locked="ngrams"
counting = {}
for order, name in enumerate(("unigram", "bigram", "trigram"), 1):
    counting[name] = language_model.ngram_baseline(line, validation_line, validation_line, len(tokenizer), order)
    print(f"{name:>8}: {counting[name].mean():.2f} nats per token")

# %% locked="train"
runtime.set_seed(SEED)
small = language_model.new_causal_lm(len(tokenizer))
updates = 800 if len(line) > 300_000 else 400  # a small corpus is sooner known by heart
config = training.TrainingConfig(
    learning_rate=3e-3, batch_size=8, max_steps=by_scale(tiny=10, cpu=updates, gpu=4 * updates), seed=SEED,
    eval_steps=by_scale(tiny=10, cpu=100, gpu=400), output_dir=f"runs/causal-{runtime.scale()}")
history = language_model.train_causal_lm(small, line, config, validation_line)  # decoder and next_token_loss, as you wrote
small = small.cpu()

# %%
plots.plot_history(history, unit="token", baseline=("unigram", counting["unigram"].mean()), title="A language model from nothing")
print(f"validation loss {history.best()['loss']:.2f} nats per token; you predicted {my_loss}")

# %% [markdown]
# What does it write? Your `decoder` and `generate` run it, since it is a model of the same kind:

# %%
small_weights, small_shape = ours.weights_of(small), ours.shape_of(small.config)
runtime.set_seed(1)
for _ in range(3):
    written = generate(lambda ids, caches: decoder(ids, small_weights, small_shape, caches), [int(line[0])], 30, draw)
    print("·", tokenizer.decode(written).strip().replace("\n", " / "))

# %% [markdown]
# ## 9. Bits per byte
#
# The loss in nats *per token* depends on what a token is. With larger pieces there is more to guess at each, so the loss is
# higher, though the model is not worse. The same holds for **perplexity**, $e^L$: the number of pieces among which the model
# hesitates. Divide by what does not depend on the tokenizer: the **bytes** of the text.
#
# $$\text{bits per byte} = \frac{\text{nats of all tokens}}{\log 2 \cdot \text{bytes of all texts}}$$
#
# (1 bit = $\log 2 = 0.69$ nats. In UTF-8 the letters of English have one byte, *ƙ* and *ọ* two or more.) A text of random
# bytes needs 8 bits for each; a zip program needs 2 to 3 for English.
#
# ### Exercise 9 · Bits per byte (10 minutes, 2 points)
#
# Write `bits_per_byte` over all texts together.

# %% answer="bits_per_byte"
def bits_per_byte(losses, texts):
    """A float. losses: for each text a list or array with the nats of its tokens; texts: the same texts (str).

    Example: losses [[log 2, log 4]] are 3 bits; the text "ab c" has 4 bytes: 0.75 bits per byte. "ƙ" alone has 2.
    """
    ### BEGIN SOLUTION
    nats = sum(float(np.sum(some)) for some in losses)
    return nats / np.log(2) / sum(len(text.encode()) for text in texts)
    ### END SOLUTION

# %%
# Try it. The same text costs fewer tokens with larger pieces; bits per byte compare fairly.
bits_per_byte([[np.log(2), np.log(4)], [np.log(16)]], ["ab c", "ƙasa"])

# %% check="bits_per_byte" points=2
assert np.isclose(bits_per_byte([[np.log(2), np.log(4)]], ["ab c"]), 0.75)
assert np.isclose(bits_per_byte([[np.log(4)]], ["ƙ"]), 1.0), "ƙ has two bytes"

# %% [markdown]
# <details><summary>Hint 1</summary>Two sums over all texts and one division: a mean of the texts' own ratios is another
# number.</details>
# <details><summary>Hint 2</summary><code>len(text.encode())</code> counts bytes, <code>len(text)</code> counts letters. Nats
# divided by <code>np.log(2)</code> are bits.</details>

# %% [markdown]
# How wrong perplexity can be: the same bigram rule on the same texts of a language, with four
# tokenizers.

# %%
record = calibration.load_record("lab11_transformer", "vocabularies").set_index(["language", "vocabulary"])
record[["nats", "perplexity", "bpb"]].rename(index=data.NAMES).round(2)

# %% locked="bits"
live = {name: language_model.line_bits_per_byte(losses, validation_texts) for name, losses in counting.items()}
live["from nothing"] = language_model.text_bits_per_byte(small, tokenizer, validation_texts)
for name, bits in live.items():
    print(f"{name:>12}: {bits:.2f} bits per byte")

# %% [markdown]
# Read the columns of English from the top to the bottom: the perplexity rises from 24 to 257, as if the model became ten times worse.
# Bits per byte fall from 3.22 to 2.17: it becomes better, since a longer token holds more of the text before. In Swahili the
# perplexity rises from 24 to 1,124, and the bits fall from 3.15 to 2.50. **Perplexities of
# different tokenizers must not be compared.**
#
# ### Three languages
#
# Bits per byte on validation texts, 5 seeds of the model from nothing (± one standard deviation). *SmolLM2* is 220 times
# larger and has read English for weeks of many GPUs; its numbers are for the first 60 texts.

# %%
record, large = calibration.load_record("lab11_transformer", "main"), calibration.load_record("lab11_transformer", "smollm2")
ways = {"unigram": "unigram_bpb", "bigram": "bigram_bpb", "trigram": "trigram_bpb", "from nothing": "validation_bpb"}
bars = {data.NAMES[code]: calibration.bars(record[record.language == code].merge(large[["language", "bpb"]]),
                                            {**ways, "SmolLM2": "bpb"}) for code in ("eng", "hau", "swa")}
plots.plot_dots(bars, "Three languages", "bits per byte (less is better)");

# %% [markdown]
# * **Swahili, 60,000 tokens:** the transformer from nothing needs 2.72 ± 0.02 bits per byte. That is better than the unigram
#   (2.99) and worse than the bigram (2.54) and the trigram (2.48).
# * **English, 400,000 tokens:** it comes near to the bigram, and not as far (2.31 ± 0.01 and 2.29; unigram 3.12), and the
#   trigram is better (2.16). **Hausa** is in between: 2.36 ± 0.01; bigram 2.23, trigram 2.17.
# * So with little text, and less than a minute, **the simple method wins**: a model that counts knows after one look that
#   *Dar es* is followed by *Salaam*; ours needs many updates for it. The trigram learns in a second.
# * **SmolLM2 is far ahead in English (1.57), and behind all in Hausa (3.27) and Swahili (3.64):** even the unigram model, which
#   only knows how often pieces of *that* language occur, guesses better. Two trillion tokens of another language do not help.
#
# ## 10. Larger, or more text?
#
# Each point is a model trained for the same 200 updates (2 seeds), English. Your own run had more.

# %%
scaling = calibration.load_record("lab11_transformer", "scaling")
curves = {f"width {width}: {rows.weights.iloc[0] / 1000:,.0f} thousand weights": calibration.summarize(rows, "texts", "bpb")
          for width, rows in scaling.groupby("width")}
plots.plot_lines(curves, "texts", "The same 200 updates", "training texts", ylabel="bits per byte");

# %% [markdown]
# The width decides here: with all texts the mean falls from 2.98 (width 32) to 2.71 (width 128), which also takes about twice the
# time. The amount of text hardly matters: from 750 to 12,000 texts width 128 gains 0.06, the others less than 0.03. Why so
# little? In 200 updates a model reads 100,000 tokens, so most of 12,000 texts are never reached. More text helps those who
# have the time to read it. What differs is learning by heart: with 750 texts width 128 is 0.41 nats per token better on the
# texts that it has read than on new ones; with 12,000 the difference is 0.03.
#
# Such curves, drawn over many powers of ten, are called **scaling laws**: with ten times the computing, a model about three
# times larger that reads about three times more text is best. Ours is the left end: little text, little time.
#
# ## 11. Hand in your model
#
# The model that you trained in section 8, with its tokenizer in the card: about 2 MB. Your teacher's computer measures its
# bits per byte on texts that you never saw. Full points at the level of our own five runs (mean plus 3 to 5 standard
# deviations); half if it has come half of the way from the unigram model to them. You may train it longer or choose another
# shape: up to 12 blocks, width 512, a vocabulary of at most 2,048 pieces.
#
# The number there may differ from yours. On those texts our five runs need 2.28 bits per byte in English (2.31 on the
# validation texts), 2.89 in Hausa (2.36) and 2.85 in Swahili (2.72). The held-out tweets are harder for models that count,
# too: in Hausa the trigram needs 2.53 bits per byte there (2.17).

# %% locked="save"
card = {"lab": "lab11_transformer", "language": LANGUAGE, "scale": runtime.scale(), "seed": SEED,
        "validation": history.validation, "bits_per_byte": live["from nothing"],
        **language_model.describe(small, tokenizer)}
path = f"artifacts/causal-{runtime.scale()}.safetensors"
size = artifacts.save_artifact(path, small, None, card)
print(f"saved {path}: {size:.1f} MB")

# %% check="causal_model" points=4
card, tensors = artifacts.read_artifact(path)
assert card["language"] == LANGUAGE and len(card["pieces"]) <= 2048
assert "model.embed_tokens.weight" in tensors
print("Saved. Hand in this notebook together with its folder `artifacts`.")

# %% [markdown]
# ## 12. Results

# %%
results = pd.DataFrame([{"model": name, "bits per byte, your run": bits} for name, bits in live.items()])
if LANGUAGE in set(record.language):
    rows = record[record.language == LANGUAGE]
    results["our 5 seeds"] = [rows[ways[name]].mean() for name in live]
    results["± sd"] = [rows[ways[name]].std() for name in live]
results.round(3)

# %% [markdown]
# ### Exercise 10 · Which model for the school? (20 minutes, 4 points, read by your teacher)
#
# The school in Kisumu has 2,000 sentences in Luo, 12,000 in English, and one PC without a GPU. It wants a program that suggests
# the next word while a pupil types. Write about 150 words: a model that counts, a transformer from nothing, or SmolLM2? For
# each language use numbers of this lab with their unit, baseline and spread, say why perplexity would not do here, and name
# one measurement that you would make before you decide.

# %% [markdown] manual="advice" points=4
# ### BEGIN SOLUTION
# **Marking guide.** 1 point: a choice for each language that follows from numbers of the lab. 1 point: numbers in bits per
# byte with a baseline (bigram or trigram) and, for the trained model, the spread over seeds. 1 point: why nats per token or
# perplexity cannot be compared between tokenizers or languages. 1 point: a measurement that could change the choice (bits
# per byte on held-out Luo sentences, seconds for each token on that PC, with and without the cache), with its baseline.
#
# **A good answer, in short.** For Luo I would take the trigram. Our Swahili is nearest to it in the amount of text (the
# two languages are not related): there the trigram needs 2.48 bits per byte, the transformer from nothing 2.72 ± 0.02 (5
# seeds), the unigram 2.99; and SmolLM2, which
# has not read the language, 3.64. It learns in a second and runs on any PC. For English SmolLM2 needs 1.57 against 2.16 for the
# trigram and 2.31 ± 0.01 for the model from nothing; with the cache each token goes through once. Perplexity would not do: it
# counts per token, and in section 9 the bigram's rises from 24 to 257 with larger pieces while its bits per byte fall. Before I
# decide I would measure bits per byte on 200 held-out Luo sentences against the trigram, and the seconds for one token there.
# ### END SOLUTION

# %% [markdown]
# ## What to take away
#
# 1. A transformer is a residual stream: attention moves information between tokens, the feed-forward part works on each
#    alone, and both only add. 80 lines give the numbers of the real library.
# 2. Since no token sees a later one, keys and values can be kept: each token is read once. The same rule makes the loss:
#    the scores after a token belong to the next one.
# 3. Compare in bits per byte, and with models that count. On little text a trigram, trained in a second, is hard to beat.
#
# **Sources.** Sennrich et al., 2016 (BPE) · Vaswani et al., 2017, *Attention is all you need* · Su et al., 2021, *RoFormer*
# (rotary positions) · Zhang & Sennrich, 2019 (RMS norm) · Shazeer, 2020, *GLU variants* and 2019, *Fast transformer decoding* ·
# Ainslie et al., 2023, *GQA* · Holtzman et al., 2020, *The curious case of neural text degeneration* (top-p) · MacKay & Peto,
# 1995 (n-grams) · Kaplan et al., 2020, and Hoffmann et al., 2022 (scaling laws) · Allal et al., 2025, *SmolLM2* · nostalgebraist, 2020, *The logit lens* ·
# Hutto & Gilbert, 2014 (the English texts) · Muhammad et al., 2023, *AfriSenti* (the tweets).
