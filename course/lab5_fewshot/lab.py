# %% [markdown]
# # Lab 5 · Few-shot and zero-shot
#
# | | |
# |---|---|
# | **You come from** | Lab 2 (fine-tuning); labs 3 (LoRA) and 4 (prompting) help, but are not needed |
# | **You will be able to** | classify texts with no labels, with a few in the prompt, and with a few for training, and say which way pays for a given budget |
# | **Time** | about 3 hours of work; the computer needs about 1 minute of it |
# | **Needs** | 2 cores, 1.6 GB of memory, 179 MB of downloads (once). No GPU |
# | **Points** | 30: eight exercises and your classifier, checked by the computer (26), and one answer read by your teacher (4) |
#
# A radio station in Mombasa wants to sort what listeners write. On Monday nobody has labelled anything. On Tuesday a
# volunteer labels 16 messages of each kind. On Friday there are 64. What can we do on each of these days?
#
# * **Zero-shot:** no labelled example; only the names of the classes, or labels in another language.
# * **Few-shot:** 1 to 64 examples of each class, which a model reads in its prompt, or from which weights learn.

# %%
# On Colab, or wherever the course is not installed yet. Safe to run again; leaves torch and numpy alone.
import importlib.util
import os
if importlib.util.find_spec("leaplm") is None:
    source = os.environ.get("LEAPLM_SOURCE", "git+https://github.com/leaplm/leaplm")  # or a folder, a wheel, a mirror
    get_ipython().run_line_magic("pip", f'install -q "leaplm[labs] @ {source}"')
get_ipython().run_line_magic("load_ext", "leaplm.learner")  # marks and hints below each check, and your progress

# %% locked="setup"
import copy

import numpy as np
import pandas as pd
import torch
from scipy import stats

from leaplm import artifacts, assets, calibration, data, evaluation, fewshot, marking, models
from leaplm import plots, runtime, training
from leaplm.peft import lora
from leaplm.prompting import scoring
from leaplm.identity import student_seed
from leaplm.locales import say_drawn
from leaplm.runtime import by_scale

assets.fetch(["minilm", "vader", "smollm2"])  # downloads only what is not here yet
runtime.set_seed(0)
SEED = student_seed()  # of your own training runs
runtime.describe_runtime()

# %% [markdown]
# The next cell holds **the only setting of this lab**: `"eng"`, then `"hau"`, `"swa"` or another language of the
# AfriSenti tweets, or your own file with a first line `text,label`: `LANGUAGE = "my_sentences.csv"`.

# %%
LANGUAGE = "eng"
marking.describe_language("lab5_fewshot", LANGUAGE)

# %% locked="load"
sentences = data.load_sentiment(LANGUAGE)
names = sentences["train"].features["label"].names
test_set = data.subsample(sentences["test"], by_scale(tiny=24, cpu=300, gpu=600))
test_labels = np.array(test_set["label"])
fewest = min(np.bincount(sentences["train"]["label"]))
SHOTS = min(by_scale(tiny=4, cpu=16, gpu=16), int(fewest))
english = LANGUAGE == "eng"
comparable = english and runtime.scale() != "tiny"  # can your run be put beside the record?
print(f"classes: {names} · {SHOTS} examples of each · {len(test_set)} test texts")

# %% [markdown]
# ## 1. Which examples?
#
# With 16 examples, *which* 16 matters. Two rules: the same number of each class (**balanced**), or the model learns how
# often a class was drawn; and several draws (**seeds**), or the result is luck.
#
# ### Exercise 1 · Balanced examples (5 minutes, 2 points)
#
# Write `sample_balanced`: the numbers of `num_shots` rows of each class, in random order.

# %% answer="sample_balanced"
def sample_balanced(labels, num_shots, seed):
    """Row numbers, num_shots of each class, no row twice, in an order that mixes the classes.

    labels: list of n ints, one class number a row (not always 0, 1, 2, ...). The same seed gives the same rows.
    Returns a list or array of (classes * num_shots) ints.
    Example: labels [0, 1, 1, 0, 1], num_shots 2 may give [4, 0, 3, 1].
    """
    ### BEGIN SOLUTION
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    chosen = [rng.choice(np.flatnonzero(labels == c), num_shots, replace=False) for c in np.unique(labels)]
    return rng.permutation(np.concatenate(chosen))
    ### END SOLUTION

# %%
# Try it. You should see two texts of each class, mixed.
for row in sample_balanced(sentences["train"]["label"], 2, seed=1):
    example = sentences["train"][int(row)]
    print(f"{names[example['label']]:>9}: {example['text'][:90]}")

# %% check="sample_balanced" points=2
some = [int(row) for row in sample_balanced([7, 3, 3, 7, 3, 7, 7], 2, seed=0)]
assert len(set(some)) == 4
assert sorted([7, 3, 3, 7, 3, 7, 7][row] for row in some) == [3, 3, 7, 7]

# %% [markdown]
# <details><summary>Hint 1</summary><code>np.flatnonzero(labels == c)</code> gives the rows of one class;
# <code>rng.choice(rows, num_shots, replace=False)</code> draws without drawing a row twice.</details>
# <details><summary>Hint 2</summary>Loop over <code>np.unique(labels)</code>, put the parts together with
# <code>np.concatenate</code>, and shuffle them with <code>rng.permutation</code>.</details>

# %% [markdown]
# ## 2. No labels: compare with the name of the class
#
# An encoder puts texts that mean the same close together. A class has a name, and a name is a text. So: embed the text,
# embed a **description** of each class, and take the nearest.
#
# $$\hat y = \arg\max_c \; \frac{1}{D} \sum_{d=1}^{D} \cos(v, u_{cd}) \qquad v\,(384),\; u\,(C \times D \times 384)$$
#
# ($C$ classes, $D$ descriptions of each. The cosine looks at the direction of a vector, not at its length.)
#
# ### Exercise 2 · The nearest label (10 minutes, 2 points)
#
# Write `nearest_label`: for each text the class with the largest mean cosine over its descriptions.

# %% answer="nearest_label"
def nearest_label(text_vectors, label_vectors):
    """text_vectors (n, width), label_vectors (classes, descriptions, width), torch tensors -> class numbers (n,).

    Example: the text [1., 0.1] and the labels [[[0., 2.]], [[3., 0.]]] (two classes with one description each)
    give [1]: the cosines are 0.10 and 1.00.
    """
    ### BEGIN SOLUTION
    texts = torch.nn.functional.normalize(text_vectors, dim=-1)
    labels = torch.nn.functional.normalize(label_vectors, dim=-1)
    return torch.einsum("nw,cdw->nc", texts, labels).argmax(dim=1)
    ### END SOLUTION

# %% check="nearest_label" points=2
text = torch.tensor([[1.0, 0.1], [0.1, 1.0]])
two_labels = torch.tensor([[[0.0, 2.0]], [[3.0, 0.0]]])
assert [int(c) for c in nearest_label(text, two_labels)] == [1, 0]

# %% [markdown]
# <details><summary>Hint 1</summary>The cosine of two vectors is the dot product of the two vectors of length 1:
# <code>torch.nn.functional.normalize(x, dim=-1)</code>.</details>
# <details><summary>Hint 2</summary><code>texts @ labels.mean(dim=1).T</code> after making all of them length 1: the mean
# of the dot products is the dot product with the mean. Then <code>argmax(dim=1)</code>.</details>

# %% [markdown]
# **Predict first.** Two classes, no labelled example, and a computer that has never heard of film reviews: what
# accuracy? Always saying the more frequent class gives the number that the next cell prints first.

# %%
my_zero_shot = 0.0  # an accuracy between 0 and 1

# %% locked="zero_shot"
encoder, tokenizer = models.load_encoder("minilm"), models.load_tokenizer("minilm")
test_vectors = fewshot.embed(encoder, tokenizer, test_set["text"])
majority = evaluation.accuracy(test_labels, evaluation.majority_baseline(sentences["train"]["label"], test_labels))
forms = ["This film review is {}.", "A {} opinion."] if english else ["{}", "A {} opinion."]
descriptions = np.stack([fewshot.embed(encoder, tokenizer, [form.format(name) for form in forms]) for name in names])
zero_shot = evaluation.accuracy(test_labels, fewshot.nearest_label(test_vectors, descriptions))

# %%
print(f"accuracy: majority {majority:.2f} · nearest label {zero_shot:.2f} · you predicted {my_zero_shot}")

# %% [markdown]
# How much depends on the words? Four ways to describe *negative* and *positive*, each on 5 × 200 test texts:
#
# | description | the texts of *negative* | the texts of *positive* |
# |---|---|---|
# | the word | negative | positive |
# | a sentence | This film review is negative. | This film review is positive. |
# | three sentences | the same; The critic's opinion of the film is negative.; A negative opinion. | the same with *positive* |
# | in other words | A bad, boring film. The critic did not like it. | A good, moving film. The critic liked it. |

# %%
record = calibration.load_record("lab5_fewshot", "label_embeddings")
bars = calibration.summarize(record, "description", "accuracy")
plots.plot_bars(bars, "Nearest label, no labelled example (English film reviews)");

# %% [markdown]
# Two thirds right with nothing but words. The description is a choice, and without labels you cannot tell which choice
# is best. That is the honest difficulty of zero-shot: **you cannot tune what you cannot measure.**

# %% [markdown]
# ## 3. Examples in the prompt
#
# A generative model continues a text. **In-context learning** shows it $k$ solved examples (**demonstrations**) of each
# class and one more without its answer:
#
# ```text
# Review: A warm and funny film.       ┐
# Sentiment: positive                  │ the prefix: the same
#                                      │ for every text
# Review: Two hours too long.          │
# Sentiment: negative                  ┘
#
# Review: I liked the music.           ┐ the prompt of one text
# Sentiment:                           ┘ → which continuation is more probable?
# ```
#
# No weight changes. The answer is the class whose word (`" negative"`, `" positive"`) has the highest log-probability.
#
# ### Exercise 3 · Build the prompt (10 minutes, 3 points)
#
# Write `few_shot_prompt`, and refuse demonstrations that give the answer away (**leakage**): if the text to classify is
# among them, the score measures copying.

# %% answer="few_shot_prompt"
def few_shot_prompt(demonstrations, text, words, template):
    """(prefix, prompt): each demonstration with its answer and a blank line; and the text without an answer.

    demonstrations: list of {"text": str, "label": int}, kept in this order. words: the answer of each class, with a
    space in front. template: holds {text}, for example "Review: {text}\\nSentiment:".
    Raises ValueError if `text` is one of the demonstrations; letter case and white space do not count.
    Example: ([{"text": "Good", "label": 1}], "Bad", [" no", " yes"], "{text}?") -> ("Good? yes\\n\\n", "Bad?").
    """
    ### BEGIN SOLUTION
    def plain(string):
        return " ".join(string.lower().split())

    if plain(text) in [plain(row["text"]) for row in demonstrations]:
        raise ValueError("the text is one of the demonstrations")
    shown = [template.format(text=row["text"]) + words[row["label"]] + "\n\n" for row in demonstrations]
    return "".join(shown), template.format(text=text)
    ### END SOLUTION

# %% check="few_shot_prompt" points=3
prefix, prompt = few_shot_prompt([{"text": "Good", "label": 1}], "Bad", [" no", " yes"], "{text}?")
assert prefix == "Good? yes\n\n" and prompt == "Bad?"
try:
    few_shot_prompt([{"text": "Bad", "label": 0}], "bad ", [" no", " yes"], "{text}?")
    raise AssertionError("this one leaks: a ValueError is wanted")
except ValueError:
    pass

# %% [markdown]
# <details><summary>Hint 1</summary>For each row: <code>template.format(text=...)</code>, then the word of its label,
# then two line ends. Join the parts with nothing between them.</details>
# <details><summary>Hint 2</summary><code>" ".join(s.lower().split())</code> makes texts equal that differ only in case
# and white space. The prompt ends with the colon: no space, since the space belongs to the answer's token.</details>

# %% [markdown]
# ### What it costs, and what it need not cost
#
# The simple program sends *prefix + prompt + word* through the model for every text and every word. But the prefix
# never changes, and in a causal model a token sees only what stands **before** it.
#
# In each layer every token leaves two vectors for the tokens behind it: a **key**, by which they find it, and a **value**,
# which they take from it (lab 3). A prefix of 320 tokens leaves two tensors of shape (320 × 192) in each of SmolLM2's 30
# layers. What comes later does not change them, so they are computed once and used for all texts: this store is the
# **KV cache** (lab 11 builds one). And one pass over a prompt gives the probabilities of *all* next tokens, so of all labels
# at once.
#
# $$\text{tokens: } n \cdot c \cdot (P + T + 1) \;\longrightarrow\; P + n \cdot T$$
#
# ($n$ texts of $T$ tokens, $c$ classes, $P$ tokens of prefix.)

# %%
from leaplm.drawings import show_drawing

show_drawing("lab5_fewshot")

# %%
n, c, P, T = 300, len(names), 8 * 40, 40
print(f"tokens through the model: {n * c * (P + T + 1):,} or {P + n * T:,}: "
      f"{n * c * (P + T + 1) / (P + n * T):.0f} times fewer")

# %% [markdown]
# ### Exercise 4 · Score labels with a cached prefix (25 minutes, 4 points)
#
# Write `score_labels`: log-probabilities (nats) of one-token labels. Half of the points are for the numbers, half for
# sending no more than $P + n T$ tokens through the model.

# %% answer="score_labels"
def score_labels(model, prefix_ids, prompt_ids, label_ids):
    """prefix_ids (p,), prompt_ids (n, t), label_ids (c,), integer tensors -> log-probabilities (n, c) in nats.

    Entry [i, j] is log p(label j | prefix, prompt i) under the causal `model`, over the whole vocabulary.
    `model(ids, use_cache=True)` gives `.logits` (rows, tokens, vocabulary) and a cache, `.past_key_values`;
    `model(ids, past_key_values=cache)` goes on after it, and the cache GROWS by these tokens.
    `cache.batch_repeat_interleave(n)` changes the cache itself from one row to n rows, and returns nothing.
    Example: p = 50, n = 4, t = 10 sends 50 + 40 = 90 tokens through the model; the simple program sends
    4 * 2 * 61 = 488 with two labels.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        cache = model(prefix_ids[None], use_cache=True, logits_to_keep=1).past_key_values
        cache.batch_repeat_interleave(len(prompt_ids))
        logits = model(prompt_ids, past_key_values=cache, logits_to_keep=1).logits[:, -1]
    return logits.log_softmax(dim=-1)[:, label_ids]
    ### END SOLUTION

# %% locked="tiny_lm"
from leaplm.grading.judge.tiny_models import counting_causal_lm  # a very small model with random weights

# %%
# Try it. You should see a table of 2 x 3 negative numbers.
tiny_lm = counting_causal_lm()
score_labels(tiny_lm, torch.arange(5, 12), torch.tensor([[20, 21], [22, 23]]), torch.tensor([7, 8, 9]))

# %% check="score_labels" points=4
tiny_lm = counting_causal_lm(seed=1)
prefix_ids, prompt_ids = torch.arange(5, 12), torch.tensor([[20, 21], [22, 23]])
found = score_labels(tiny_lm, prefix_ids, prompt_ids, torch.tensor([7, 8, 9]))
sent = tiny_lm.tokens_seen
whole = torch.cat([prefix_ids.expand(2, -1), prompt_ids], dim=1)
want = tiny_lm(whole).logits[:, -1].log_softmax(dim=-1)[:, 7:10]
assert torch.allclose(found, want, atol=1e-4)
assert sent <= 7 + 2 * 2, f"{sent} tokens went through the model"

# %% [markdown]
# <details><summary>Hint 1</summary>Three steps: the prefix alone (one row) gives a cache; repeat the cache; send all
# prompts after it. The last position of each row predicts the label.</details>
# <details><summary>Hint 2</summary><code>cache = model(prefix_ids[None], use_cache=True).past_key_values</code>, then
# <code>model(prompt_ids, past_key_values=cache).logits[:, -1].log_softmax(-1)[:, label_ids]</code>. If you loop over
# prompts instead, give each a <code>copy.deepcopy(cache)</code>, since a cache remembers what was sent after it; and do all
# of it inside <code>with torch.no_grad():</code>, since what has a gradient cannot be copied.</details>

# %% [markdown]
# The library's `scoring.continuation_log_probs` does this for labels of any length and prompts of different lengths.
# Measured in one run with 8 demonstrations and 5 labels on SmolLM2: more than ten times as fast as the plain loop, and
# the same numbers to 0.0001.
#
# **Predict first.** SmolLM2 has 135 million weights and has read 2,000 billion tokens of mostly English text. Does it get
# better with 4 demonstrations of each class?

# %%
my_gain = 0.0  # accuracy with 4 demonstrations of each class minus accuracy with none

# %% locked="language_model"
encoder = None
runtime.free_memory()  # one large model at a time
language_model, lm_tokenizer = models.load_causal_lm("smollm2"), models.load_tokenizer("smollm2")
TEMPLATE, words = fewshot.TEMPLATE, [f" {name}" for name in names]
prompt_set = data.subsample(sentences["test"], by_scale(tiny=6, cpu=100 if english else 60, gpu=600))
print("prompt:", repr(TEMPLATE), "· answers:", words)

# %% locked="in_context"
def in_context(num_shots, seed=0):
    """Predictions of the language model for `prompt_set` after num_shots demonstrations of each class."""
    rows = sentences["train"].select(fewshot.sample_balanced(sentences["train"]["label"], num_shots, seed)) \
        if num_shots else []
    prefix = fewshot.demonstration_prefix(rows, words, TEMPLATE, prompt_set["text"])
    prompts = [TEMPLATE.format(text=text[:300]) for text in prompt_set["text"]]
    sums, _ = scoring.continuation_log_probs(language_model, lm_tokenizer, prompts, words, prefix)
    return sums.argmax(axis=1)

# %%
live_shots = min(by_scale(tiny=1, cpu=4 if english else 2, gpu=8), int(fewest))
in_context_accuracy = {}
for shots in (0, live_shots):
    predictions = in_context(shots)
    in_context_accuracy[shots] = evaluation.accuracy(prompt_set["label"], predictions)
    low, high = evaluation.bootstrap_interval(prompt_set["label"], predictions)
    said = pd.Series(predictions).map(dict(enumerate(names))).value_counts().to_dict()
    print(f"{shots} demonstrations of each class: accuracy {in_context_accuracy[shots]:.2f} "
          f"(95 % interval {low:.2f} to {high:.2f}), it said {said}")
gain = in_context_accuracy[live_shots] - in_context_accuracy[0]
print(f"gain of the demonstrations {gain:+.2f}; you predicted {my_gain:+.2f}")

# %% [markdown]
# The prompt itself leans to one word (**label bias**). Ask also with an empty text, and subtract that answer: this takes the
# lean out (lab 4). The record has both, as it is and with the bias taken out:

# %%
language_model = None
runtime.free_memory()
record = calibration.load_record("lab5_fewshot", "in_context")
lines = {"as it is": "accuracy", "label bias taken out": "calibrated_accuracy", "share of the word said most": "most_said"}
live = (live_shots, in_context_accuracy[live_shots]) if comparable else None
title = "SmolLM2 on English film reviews"
plots.plot_lines(calibration.curves(record, "shots", lines), "shots", title, "demonstrations of each class",
                 "accuracy, or share", live=live, log=False);

# %% [markdown]
# Read it from left to right (3 draws, 100 texts). With no demonstration: 0.76. With 1, 2 and 4 of each class the mean is
# lower (0.67, 0.64, 0.58), at 1 and 4 in all three draws; the third line shows how: one word is said in eight or nine of ten
# cases. With 8 of each it is back at 0.77. Does it help to take the label bias out? At 0 it
# loses in all three draws (0.67); at 1, 2, 4 and 8 it gains in some draws and loses in others: three draws do not decide
# it. Larger models often gain from demonstrations; in our runs this one, of 135 million weights, does not.
#
# ## 4. Choice and order
#
# A point in that figure hides two kinds of luck: **which** demonstrations, and in **which order**. Here five choices of
# two demonstrations of each class, each written in four orders, on the same 60 texts:

# %%
record = calibration.load_record("lab5_fewshot", "order_and_choice")
table = record.pivot(index="seed", columns="order", values="accuracy")
axes = plots.new_axes("The same task, 20 prompts", "choice of demonstrations", "accuracy (each dot: one order)")
for order in table.columns:
    axes.plot(range(1, len(table) + 1), table[order], "o", color=plots.BLUE, alpha=0.6)
axes.set_xticks(range(1, len(table) + 1))
axes.axhline(0.5, color=plots.GREY, linestyle="--", label="guessing")
axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1));

# %% [markdown]
# What do we report? First one mean for each **choice**, over its orders. The runs of one choice are not independent of each
# other, so the interval counts choices, not runs; and since five are few, it takes Student's $t$ (2.78) in place of 1.96. `choice_sd` is
# the deviation of the choices' means, `order_sd` that of the orders within a choice, averaged.

# %%
{name: round(value, 3) for name, value in fewshot.summarize_runs(table.to_numpy()).items()}

# %% [markdown]
# Same task, same model, same number of demonstrations, and the dots lie between 0.45 and 0.78. The mean is 0.59 with an
# interval from 0.50 to 0.67. **One prompt is not a result.** Report several choices and orders, with an interval over
# choices.
#
# Careful with the two deviations: a mean over four orders still holds a quarter of the order's variance. What the choice
# adds of its own is
#
# $$s_\text{choice}^2 - \tfrac{1}{4}\, s_\text{order}^2$$

# %%
order_variance, means_variance = table.var(axis=1).mean(), table.mean(axis=1).var()
own = max(0, means_variance - order_variance / table.shape[1])
print(f"order: {order_variance ** 0.5:.3f}, choice by itself: {own ** 0.5:.3f} (five choices: a rough number)")

# %% [markdown]
# The order alone moves the score by 0.10, the choice by about 0.05. (Here the variances are averaged, above the deviations: so
# the order has 0.098 here and 0.092 above.)

# %% [markdown]
# **A place to stop.** Your answers stay in the notebook. To go on another day: open it, click on this cell, choose
# *Run › Run All Above Selected Cell* (on Colab *Runtime › Run before*), wait a few minutes, and go on below. An exercise that
# is still open stops this run: then run the cells behind it by hand.

# %% [markdown]
# ## 5. Examples for training: build a head and its trainer
#
# The cheapest training there is. The encoder stays as it is (**frozen**); each text becomes one vector, once; and a
# **logistic regression** learns a row of 384 weights and a bias for each class. scikit-learn does it in one line. Here you
# build it yourself, without scikit-learn, in four exercises that make one program, of about 70 lines:
#
# ```text
# texts ── embed ──> vectors ── train_head ──> W, b ──> class = argmax(W v + b)
#                       │            ↑ C
#                       └── stratified_folds, choose_strength
#
# learning_curve: all of it for 2, 4, 8, 16 examples of each class and several draws, beside other methods
# ```

# %% locked="few"
encoder = models.load_encoder("minilm")
few = sentences["train"].select(fewshot.sample_balanced(sentences["train"]["label"], SHOTS, SEED))
few_vectors = torch.tensor(fewshot.embed(encoder, tokenizer, few["text"]))
few_labels = torch.tensor(few["label"])
print(f"{len(few)} texts, their vectors {tuple(few_vectors.shape)}")

# %% [markdown]
# ### Exercise 5 · Vectors in batches (10 minutes, 2 points)
#
# Write `embed`: mean-pooled vectors of all texts, in batches of similar length, with dropout off and without gradients.

# %% answer="embed"
def embed(encoder, tokenizer, texts, batch_size=64, max_length=128):
    """One vector a text: the mean of its token vectors, padding left out, as a tensor (n, width) in the order of the texts.

    `tokenizer(some, padding=True, truncation=True, max_length=max_length, return_tensors="pt")` gives a batch with
    input_ids and attention_mask (texts, tokens), `encoder(**batch).last_hidden_state` is (texts, tokens, width).
    * Put texts of similar length (in tokens) into one batch of batch_size texts, so that little is computed on padding. The last
      batch holds the rest.
    * The encoder must not change; it runs in evaluation mode, and afterwards it is in the mode in which it came.
    Example: texts of 9, 3, 8 and 4 tokens, batch_size 2: batches of (2, 4) and (2, 9) tokens, and a tensor (4, width).
    """
    ### BEGIN SOLUTION
    texts, was_training = list(texts), encoder.training
    cut = {"truncation": True, "max_length": max_length}
    order = sorted(range(len(texts)), key=lambda row: len(tokenizer(texts[row], **cut)["input_ids"]))
    encoder.eval()
    vectors = [None] * len(texts)
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = tokenizer([texts[row] for row in rows], padding=True, return_tensors="pt", **cut)
            hidden = encoder(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
            for row, vector in zip(rows, pooled, strict=True):
                vectors[row] = vector
    encoder.train(was_training)
    return torch.stack(vectors)
    ### END SOLUTION

# %%
# Try it. You should see the shape of few_vectors, and a difference below 0.0001.
tried = embed(encoder, tokenizer, few["text"], batch_size=8)
print(tuple(tried.shape), f"difference from the library: {float((tried - few_vectors).abs().max()):.6f}")

# %% check="embed" points=2
found = embed(encoder, tokenizer, ["One text.", "Another, much longer text.", "Three"], batch_size=2)
assert found.shape == (3, 384)
alone = fewshot.embed(encoder, tokenizer, ["Three"])  # without padding
assert np.allclose(found[2], alone[0], atol=1e-4), "is row 2 the vector of text 2?"

# %% [markdown]
# <details><summary>Hint 1</summary>Sort the row numbers by the number of tokens, and go through them in steps of
# <code>batch_size</code>. <code>encoder.eval()</code> turns dropout off; <code>with torch.no_grad():</code> keeps no gradients. Pooling is
# that of lab 2.</details>
# <details><summary>Hint 2</summary>For each batch: hidden times <code>mask.unsqueeze(-1)</code>, summed over dimension 1, divided by the number
# of real tokens. Begin with <code>vectors = [None] * len(texts)</code>, and put each vector to its row:
# <code>vectors[row] = vector</code>. Remember <code>encoder.training</code> at the start.</details>

# %% [markdown]
# ### What the head learns
#
# Each text has a vector $v_i$ and a label $y_i$. With 384 weights a class and 32 texts there are far more weights than texts: many heads
# get all of them right. So large weights get a **penalty**; $C$ says how much they may cost (small $C$: a strong penalty).
#
# $$L(W, b) = \frac{1}{n} \sum_{i=1}^{n} -\log \text{softmax}(W v_i + b)_{y_i} \;+\; \frac{\lVert W \rVert^2}{2 C n}
# \qquad W\,(\text{classes} \times 384)$$
#
# $\lVert W \rVert^2$ is the sum of all squared weights. The bias has no penalty: how frequent a class is should cost nothing.
#
# The loss has one smallest value, where the gradient is 0. A trainer therefore needs no fixed number of epochs. It stops when the largest
# absolute number in the gradient is at most a **tolerance**.
#
# ### Exercise 6 · A loss, and a trainer that knows when to stop (20 minutes, 3 points)
#
# Write `head_loss` (in nats), then `train_head` without scikit-learn.

# %% answer="head_loss"
def head_loss(weight, bias, vectors, labels, C):
    """The loss L of the formula, a tensor without dimension. A gradient must reach weight and bias.

    weight (classes, width), bias (classes,), vectors (n, width): tensors of floats. labels (n,): class numbers 0, 1, ...
    Logits may be large (1,000): the loss stays finite.
    Example: weight [[1., 0.], [0., 1.]], bias [0., 0.], vectors [[1., 0.], [0., 1.]], labels [0, 1], C 0.5: 0.313 + 1 = 1.313.
    """
    ### BEGIN SOLUTION
    logits = vectors @ weight.T + bias
    log_probs = logits - logits.logsumexp(dim=1, keepdim=True)
    losses = -log_probs[torch.arange(len(labels)), labels]
    return losses.mean() + (weight**2).sum() / (2 * C * len(labels))
    ### END SOLUTION

# %%
# Try it. You should see 1.313, and for zeros log 2 = 0.693 with two classes.
print(float(head_loss(torch.eye(2), torch.zeros(2), torch.eye(2), torch.tensor([0, 1]), 0.5)))
print(float(head_loss(torch.zeros(len(names), 384), torch.zeros(len(names)), few_vectors, few_labels, 1.0)))

# %% [markdown]
# <details><summary>Hint 1</summary>Logits (n, classes): <code>vectors @ weight.T + bias</code>. The log-probabilities are logits minus
# <code>logits.logsumexp(dim=1, keepdim=True)</code>.</details>
# <details><summary>Hint 2</summary>Take the entry of the label in each row: <code>log_probs[torch.arange(len(labels)), labels]</code>; its mean
# with a minus, plus <code>(weight**2).sum() / (2 * C * len(labels))</code>.</details>

# %% answer="train_head"
def train_head(vectors, labels, C, tolerance=1e-4, max_steps=500):
    """Minimize `head_loss`; return (weight, bias, norms), tensors (classes, width) and (classes,) without gradients (`.detach()`), and a list.

    vectors (n, width), labels (n,): class numbers, each of 0, 1, ..., classes - 1 occurs.
    * Start with zeros. Take steps until the largest absolute number in the gradient, of weight and bias together, is at most
      `tolerance`, or until `max_steps` steps are done.
    * norms: this largest number at the start and after each step. So the last one belongs to the head that comes back.
    * What a step is, is yours. `torch.optim.LBFGS(parameters, max_iter=1, max_eval=50, tolerance_grad=0, tolerance_change=0,
      line_search_fn="strong_wolfe")` takes one good step a call; plain gradient descent needs hundreds.
    * Compute in 64 bits (`vectors.double()`) and return 32: near the end the loss falls by less than 32 bits can show.
    Example: vectors [[-1.], [1.]], labels [0, 1], C 0.5 -> weight [[-0.34], [0.34]], bias [0., 0.]; norms begins with 0.5.
    """
    ### BEGIN SOLUTION
    classes, vectors = int(labels.max()) + 1, vectors.double()
    weight = torch.zeros(classes, vectors.shape[1], dtype=torch.double, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=1, max_eval=50, tolerance_grad=0, tolerance_change=0,
                                  line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = head_loss(weight, bias, vectors, labels, C)
        loss.backward()
        return loss

    norms = []
    while True:
        closure()
        norms.append(max(part.grad.abs().max().item() for part in (weight, bias)))
        if norms[-1] <= tolerance or len(norms) > max_steps:
            return weight.detach().float(), bias.detach().float(), norms
        optimizer.step(closure)
    ### END SOLUTION

# %% [markdown]
# **The same as scikit-learn's?** Its `LogisticRegression(C=C)` minimizes $n$ times our loss, and stops by the same rule. With *two* classes it keeps
# a single row $w$, where $p(\text{second class}) = \sigma(w \cdot v + b)$. That is the difference of our two rows, which are $\pm w / 2$: they
# cost half as much, so its $C$ is twice ours. `fewshot.fit_head` calls scikit-learn and gives one row for each class.

# %%
# Try it. You should see some ten steps, and a difference of probabilities below 0.005.
ours_C, sklearn_C = (0.5, 1.0) if len(names) == 2 else (1.0, 1.0)
tried_weight, tried_bias, norms = train_head(few_vectors, few_labels, ours_C)
sklearn_weight, sklearn_bias = map(torch.tensor, fewshot.fit_head(few_vectors.numpy(), few["label"], C=sklearn_C))
apart = torch.softmax(few_vectors @ tried_weight.T + tried_bias, 1) - \
    torch.softmax(few_vectors @ sklearn_weight.T + sklearn_bias, 1)
print(f"{len(norms) - 1} steps, norm {norms[0]:.2g} to {norms[-1]:.2g}, difference {float(apart.abs().max()):.5f}")

# %% check="train_head" points=3
small_weight, small_bias, small_norms = train_head(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), 0.5)
assert small_weight.shape == (2, 1) and abs(float(small_weight[1, 0]) - 0.337) < 0.002
assert abs(small_norms[0] - 0.5) < 1e-4 and small_norms[-1] <= 1e-4 and not small_weight.requires_grad
assert len(train_head(few_vectors, few_labels, 1.0, max_steps=2)[2]) <= 3, "at most max_steps steps"

# %% [markdown]
# <details><summary>Hint 1</summary>A loop that never ends by itself: gradient, norm, <code>return</code> if it is small or the steps are used up, step.
# LBFGS asks for the loss several times in a step, so it wants a function: <code>optimizer.step(closure)</code>, where
# <code>closure</code> does <code>zero_grad</code>, the loss, <code>backward</code>, and returns the loss.</details>
# <details><summary>Hint 2</summary>Call <code>closure()</code> at the top of the loop, then
# <code>norms.append(max(part.grad.abs().max().item() for part in (weight, bias)))</code>. Return when
# <code>norms[-1] &lt;= tolerance or len(norms) &gt; max_steps</code>, with <code>weight.detach()</code>.</details>

# %% [markdown]
# ### Which C? Ask the few labels themselves
#
# The test texts may not choose $C$: then the accuracy on them would be too good. And 32 labels are too few to lay half of them aside.
# **Cross-validation** uses each label for both. Cut the rows into $k$ parts (**folds**). Learn from all parts but one, test on that one, and
# take turns. **Stratified** folds hold each class in equal shares; at random, a fold of 8 texts may have one class only.
#
# ### Exercise 7 · Folds, and the choice of C (20 minutes, 2 points)
#
# Write `stratified_folds` and `choose_strength`, without scikit-learn. The measure is accuracy, a share from 0 to 1.

# %% answer="stratified_folds"
def stratified_folds(labels, folds, seed):
    """A list of `folds` lists or arrays of row numbers; each row is in one of them. The same seed gives the same folds.

    labels (n,): class numbers, not always 0, 1, 2, ... Which rows of a class come together is random.
    * The sizes of two folds differ by at most one row; so do their numbers of rows of each class.
    * There are no more folds than the smallest class has rows, so that each class is in each fold.
    * ValueError if a class has a single row: it cannot be learned and tested.
    Example: labels [3, 5, 3, 5, 3], folds 4: two folds, such as [0, 2, 3] and [4, 1].
    """
    ### BEGIN SOLUTION
    rng, labels = np.random.default_rng(seed), np.asarray(labels)
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise ValueError("a class has a single row")
    folds = min(folds, counts.min())
    dealt = np.concatenate([rng.permutation(np.flatnonzero(labels == c)) for c in classes])
    return [dealt[fold::folds] for fold in range(folds)]
    ### END SOLUTION

# %%
# Try it. You should see four folds with equally many of each class.
for part in stratified_folds(few_labels, 4, seed=0):
    print(len(part), np.bincount(few_labels[part]))

# %% [markdown]
# <details><summary>Hint 1</summary>Mix the rows of each class, and lay the classes one behind the other. Then deal them like cards, to one fold
# after the other, and do not begin anew with the next class.</details>
# <details><summary>Hint 2</summary><code>np.unique(labels, return_counts=True)</code> gives classes and their sizes;
# <code>rng.permutation(np.flatnonzero(labels == c))</code> the mixed rows of one; <code>dealt[fold::folds]</code> deals.</details>

# %% answer="choose_strength"
def choose_strength(fit, vectors, labels, strengths, folds=4, seed=0):
    """(C, scores): the best of `strengths` on these rows, and a list with the score of each, in the order of `strengths`.

    fit(vectors, labels, C) learns from some rows and gives weight (classes, width), bias (classes,). vectors (n, width) and labels (n,)
    are tensors, labels 0, 1, 2, ...
    * For each C: learn from all `stratified_folds` but one, predict that one, in turn. Use the same folds for each C.
    * A score is the share of the n rows that are predicted right when they are tested.
    * Of equally good ones, the smallest C (the strongest penalty) is taken.
    Example: strengths [10, 0.1, 1] with the scores [0.75, 0.5, 0.75] give (1, [0.75, 0.5, 0.75]).
    """
    ### BEGIN SOLUTION
    parts, scores = stratified_folds(labels, folds, seed), []
    for C in strengths:
        right = 0
        for part in parts:
            rest = np.setdiff1d(np.arange(len(labels)), part)
            weight, bias = fit(vectors[rest], labels[rest], C)
            predictions = (vectors[part] @ weight.T + bias).argmax(dim=1)
            right += int((predictions == labels[part]).sum())
        scores.append(right / len(labels))
    best = max(scores)
    return min(C for C, score in zip(strengths, scores, strict=True) if score == best), scores
    ### END SOLUTION

# %%
# Try it on your own trainer. Is one C clearly the best, with so few rows to test on?
STRENGTHS = [0.01, 0.1, 1.0, 10.0]
def my_fit(vectors, labels, C):
    """Your head as `choose_strength` wants it."""
    return train_head(vectors, labels, C, tolerance=1e-3)[:2]
print(choose_strength(my_fit, few_vectors, few_labels, STRENGTHS))

# %% check="choose_strength" points=2
cards = [[int(row) for row in part] for part in stratified_folds([3, 5, 3, 5, 3], 4, seed=1)]
assert sorted(sum(cards, [])) == [0, 1, 2, 3, 4] and sorted(map(len, cards)) == [2, 3]
line, sides = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
def same_head(vectors, labels, C):
    """A head that is right on all rows, whatever C is."""
    return torch.tensor([[-C], [C]]), torch.zeros(2)
assert choose_strength(same_head, line, sides, [10.0, 1.0], 2, 0)[0] == 1.0, "of equally good ones the smallest"

# %% [markdown]
# <details><summary>Hint 1</summary>Two loops: over the strengths, and in it over the folds. Make the folds once, before both. The rows to learn from are
# <code>np.setdiff1d(np.arange(len(labels)), part)</code>.</details>
# <details><summary>Hint 2</summary><code>(vectors[part] @ weight.T + bias).argmax(dim=1) == labels[part]</code>: sum it up over the folds, divide by
# <code>len(labels)</code>. At the end the smallest of the strengths whose score is <code>max(scores)</code>.</details>

# %% [markdown]
# **Predict first.** The nearest label had no examples. What accuracy does a head trained on 16 examples of each class
# reach?

# %%
my_head = 0.0  # an accuracy between 0 and 1

# %% [markdown]
# ### Many draws: the learning curve
#
# One draw of examples is luck (section 1). So we draw several times, and for several numbers of examples. All methods learn from the
# **same** draws: what is easy or hard in a draw then drops out of their difference. In the next cell a method is a function. It gets row
# numbers of `pool`, and gives the classes of the test texts.

# %% locked="pool"
in_pool = min(by_scale(tiny=8, cpu=60, gpu=100), int(fewest))
pool = sentences["train"].select(fewshot.sample_balanced(sentences["train"]["label"], in_pool, SEED))
pool_vectors, pool_labels = fewshot.embed(encoder, tokenizer, pool["text"]), np.array(pool["label"])

def by_nearest_label(rows):
    """Needs no example, so it does not look at the rows."""
    return fewshot.nearest_label(test_vectors, descriptions)

def by_tfidf(rows):
    """The baseline that reads words only."""
    return evaluation.tfidf_baseline(pool.select(rows), test_set)

# %% [markdown]
# ### Exercise 8 · The learning curve (15 minutes, 2 points)
#
# Write `learning_curve`: mean accuracy, its spread over the draws, and the gain over the first method with its 95 % interval.

# %% answer="learning_curve"
def learning_curve(methods, labels, test_labels, shots, seeds):
    """A list of dicts: for each number of `shots`, and in it for each method, in their orders, one dict.

    methods: {name: function}; function(rows) learns from the rows with these numbers and gives predictions (m,) for the test
    texts. labels (n,): of all rows that can be drawn. test_labels (m,): a tensor or array. shots, seeds: whole numbers.
    * `fewshot.sample_balanced(labels, num_shots, seed)` draws rows. Each number of shots is drawn once with each seed, and all methods
      get the same draws, each draw once.
    * method, shots: of this dict. mean, sd: the accuracy over the seeds (sd divides by seeds - 1).
    * gain: the mean of the differences from the first method, draw by draw. low, high: gain ± t * s / sqrt(seeds), where
      s is the deviation of these differences and t is stats.t.ppf(0.975, seeds - 1).
    Example: accuracies [0.5, 0.7] of the first method and [0.6, 0.9] of the second: mean 0.75, sd 0.212, gain 0.15,
    low -0.49, high 0.79.
    """
    ### BEGIN SOLUTION
    test_labels, curve = np.asarray(test_labels), []
    t = stats.t.ppf(0.975, len(seeds) - 1)
    for num_shots in shots:
        draws = [fewshot.sample_balanced(labels, num_shots, seed) for seed in seeds]
        accuracies = {name: np.array([np.mean(np.asarray(method(rows)) == test_labels) for rows in draws])
                      for name, method in methods.items()}
        first = next(iter(accuracies.values()))
        for name, found in accuracies.items():
            gains = found - first
            half = t * gains.std(ddof=1) / np.sqrt(len(seeds))
            curve.append({"method": name, "shots": num_shots, "mean": found.mean(), "sd": found.std(ddof=1),
                          "gain": gains.mean(), "low": gains.mean() - half, "high": gains.mean() + half})
    return curve
    ### END SOLUTION

# %%
# Try it: your whole build, from vectors to a curve. A second or two; for each draw your head is trained nine times (2 of each class)
# or seventeen times (4 or more).
def by_my_head(rows):
    """Choose C on the drawn rows alone, train on all of them, predict the test texts."""
    vectors, labels = torch.tensor(pool_vectors[rows]), torch.tensor(pool_labels[rows])
    C, _ = choose_strength(my_fit, vectors, labels, STRENGTHS)
    weight, bias = my_fit(vectors, labels, C)
    return (torch.tensor(test_vectors) @ weight.T + bias).argmax(dim=1)
mine = {"nearest label": by_nearest_label, "my head": by_my_head}
pd.DataFrame(learning_curve(mine, pool["label"], test_labels, [2, SHOTS], range(3))).round(2)

# %% check="learning_curve" points=2
flip = {"first": lambda rows: [0, 0, 1, 1], "second": lambda rows: [0, 0, 1, sum(rows) % 2]}
lines = learning_curve(flip, [0, 1] * 10, torch.tensor([0, 0, 1, 0]), [1, 2], range(4))
assert [(line["method"], line["shots"]) for line in lines] == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]
assert lines[0]["mean"] == 0.75 and lines[0]["sd"] == 0 and lines[0]["gain"] == 0
assert abs((lines[1]["low"] + lines[1]["high"]) / 2 - lines[1]["gain"]) < 1e-9

# %% [markdown]
# <details><summary>Hint 1</summary>For each number of shots make the list of all draws first. Then one array of accuracies for each method, one
# number a draw; the first of these arrays is what the others are compared with.</details>
# <details><summary>Hint 2</summary><code>gains = found - first</code>, then <code>gains.mean()</code>,
# <code>gains.std(ddof=1)</code> and <code>half = t * gains.std(ddof=1) / np.sqrt(len(seeds))</code>. The accuracy of a draw is
# <code>np.mean(np.asarray(method(rows)) == test_labels)</code>.</details>

# %% [markdown]
# The library has all of it: `fewshot.train_head`, `choose_strength`, `learning_curve`. Here it runs with `fit_head` as the trainer, which is
# faster. Is it worth choosing $C$, or would $C = 1$ have done?

# %% locked="curve"
def by_head(rows, strengths=(1.0,)):
    """A head on the drawn rows; C by cross-validation where there is a choice."""
    vectors, labels = pool_vectors[rows], pool_labels[rows]
    C = strengths[0] if len(strengths) == 1 else fewshot.choose_strength(fewshot.fit_head, vectors, labels, strengths)[0]
    weight, bias = fewshot.fit_head(vectors, labels, C)
    return (test_vectors @ weight.T + bias).argmax(axis=1)

methods = {"nearest label": by_nearest_label, "TF-IDF": by_tfidf, "head, C = 1": by_head,
           "head, C chosen": lambda rows: by_head(rows, (0.01, 0.1, 1.0, 10.0))}
some_shots = [number for number in (2, 4, 8, 16) if number <= SHOTS]
curve = pd.DataFrame(fewshot.learning_curve(methods, pool_labels, test_labels, some_shots, range(5))).assign(seeds=5)
plots.plot_lines(dict(list(curve.groupby("method", sort=False))), "shots", "Your learning curve", "labelled examples of each class");

# %%
curve[curve["shots"] == max(some_shots)].set_index("method")[["mean", "sd", "gain", "low", "high"]].round(2)

# %% [markdown]
# Read the gain with its interval. Where it holds 0, five draws do not show that these labels have paid. In two runs of ours on film
# reviews the head with 2 of each class was below the nearest label, which needs none; with 16 it was clearly above it in one run only.
# Choosing $C$ gained nothing in either: 32 rows can hardly tell one $C$ from the next, and a value that is known from other tasks does as well.
#
# For the rest of the lab, and for the record, the head has $C = 1$ and the examples of your own seed:

# %% locked="head"
weight, bias = fewshot.fit_head(few_vectors.numpy(), few["label"])
head_predictions = (test_vectors @ weight.T + bias).argmax(axis=1)
head = evaluation.accuracy(test_labels, head_predictions)
low, high = evaluation.bootstrap_interval(test_labels, head_predictions)
tfidf = evaluation.accuracy(test_labels, evaluation.tfidf_baseline(few, test_set))

# %%
print(f"{SHOTS} examples of each class: head {head:.2f} (95 % interval {low:.2f} to {high:.2f}) · TF-IDF {tfidf:.2f} · "
      f"nearest label {zero_shot:.2f} · majority {majority:.2f} · you predicted {my_head}")

# %% [markdown]
# ### Open task · A better head from the same labels (no points)
#
# Your loop takes any method: a function of row numbers. Write one, `my_method`, that learns from the same vectors in another way. Run
# `learning_curve({"head, C = 1": by_head, "mine": my_method}, pool["label"], test_labels, [16], range(5))`. You have beaten the head if
# `low` of your gain is above 0. **The number to beat** in our record: with 16 examples of each class the head has 0.642 ± 0.045 on English
# film reviews (five draws). Try *one* of these:
#
# * **Prototypes:** the mean of the vectors of length 1 of a class is its row of $W$ (`fewshot.unit`).
# * **A head of cosines:** all vectors of length 1, or standardized with mean and deviation *of the drawn rows alone*.
# * **Start from the names:** let the penalty pull $W$ to the mean vector of each class's `descriptions` instead of to 0.
# * **Pseudo-labels:** predict the rest of `pool`, keep what the head is most sure of, and train again with these rows too.
#
# Say before the run what you expect. What you have tried and what did not help belongs to the result. The better head may be what you
# hand in (section 9).

# %% [markdown]
# ## 6. Train more of it: fine-tuning and LoRA
#
# The same examples can move the encoder's own weights: all of them (lab 2), or small matrices beside them (**LoRA**,
# lab 3: rank 8, 0.3 % of the weights). Few examples make short epochs, so we count updates: 40, of up to 8 texts each.

# %% locked="fine_tune"
encoder = None
runtime.free_memory()
collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
few_rows, test_rows = data.tokenize(few, tokenizer), data.tokenize(test_set, tokenizer)
def fine_tune(use_lora):
    """Accuracy on the test texts after training on the same few examples."""
    runtime.set_seed(0)
    model = models.load_sequence_classifier(names, freeze="embeddings")
    model = lora.inject_lora(model, rank=8, alpha=16) if use_lora else model
    steps = by_scale(tiny=2, cpu=40, gpu=40)
    config = training.TrainingConfig(learning_rate=3e-3 if use_lora else 1e-4, batch_size=8, max_steps=steps)
    training.train(model, few_rows, collate, config)
    return evaluation.evaluate(model, test_rows, collate)["accuracy"]

# %%
tuned = {}
for name, use_lora in (("fine-tuned", False), ("LoRA", True)):
    tuned[name] = fine_tune(use_lora)
    runtime.free_memory()
    print(f"{name}: accuracy {tuned[name]:.2f}")

# %% [markdown]
# ### Pairs instead of texts
#
# 16 texts of each of two classes are 32 labels, but 496 *pairs*. **SetFit** (Tunstall et al., 2022) tunes the encoder on pairs:
# the cosine of two texts shall be 1 if they are of one class, and 0 if not. Then a head is trained as in section 5. In the
# library: `fewshot.tune_contrastive`, here with 40 updates of 8 pairs, at the rate of the fine-tuning above.

# %% locked="pairs"
record = calibration.load_record("lab5_fewshot", "contrastive")
bars = calibration.bars(record, {"head on frozen MiniLM": "head_accuracy", "head on MiniLM tuned on pairs": "accuracy"})
plots.plot_bars(bars, "English film reviews, 16 examples of each class");

# %% [markdown]
# On the encoder tuned on pairs the head has 0.655 ± 0.061, on the frozen one 0.642 ± 0.045 (five draws, the same for both). The
# gain is 0.013, with an interval over the draws from −0.039 to 0.065: these runs do not show one. The tuning takes 28 seconds of
# one core, the head alone half a second. Neither its rate nor the number of pairs was searched for. Who wants to use it should do
# that first, on validation texts.
#
# ## 7. All ways in one figure
#
# English film reviews, 3 draws of examples for each point; the bars are one standard deviation. Your own head is the star.
# All training methods of one draw see the same examples and the same 200 test texts; the prompts were tested on 100 of
# them. The two level grey lines use **no examples**.

# %% locked="all_curves"
record = calibration.load_record("lab5_fewshot", "learning_curves")
curves = {method: calibration.summarize(rows, "shots", "accuracy") for method, rows in record.groupby("method", sort=False)}
prompted = calibration.load_record("lab5_fewshot", "in_context")
curves["in the prompt"] = calibration.summarize(prompted[prompted.shots > 0], "shots", "accuracy")
none = prompted[prompted.shots == 0]
named = calibration.load_record("lab5_fewshot", "label_embeddings", description="three sentences")
live = (SHOTS, head) if comparable else None
plots.plot_lines(curves, "shots", "English film reviews: which way, for how many labels?", "labelled examples of each class",
                 live=live, flat={"prompt (no examples)": none.accuracy, "nearest label (no examples)": named.accuracy});

# %% [markdown]
# * **No examples:** the prompt has 0.76, and no training method reaches it with up to 32 examples of each class (0.69).
#   But this template is the best of lab 4's ten, as we know from labelled texts; the mean of the ten is 0.61. The nearest
#   label has 0.62 to 0.69, by description.
# * **2 to 8 examples of each class:** no training method is clearly ahead of the nearest label. The bars are wide: which
#   examples were drawn decides.
# * **16 and 32:** LoRA, fine-tuning and the head lie within one deviation of each other (0.63 to 0.69).
# * **64:** LoRA and fine-tuning (0.77) are where the prompt was without examples; the head has 0.71. TF-IDF (0.60) has met
#   too few words.
# * **Examples in the prompt:** between 0.58 and 0.77, with the largest spread of all; not better than no examples.
#
# ### A second task: seven topics
#
# SIB-200 in English (science, travel, politics, ...): 3 draws, 150 test texts each. The two cheap methods at every size,
# the other two at 8 of each class.

# %% locked="topic_curves"
record = calibration.load_record("lab5_fewshot", "learning_curves_topics")
curves = {method: calibration.summarize(rows, "shots", "accuracy") for method, rows in record.groupby("method", sort=False)}
named = calibration.load_record("lab5_fewshot", "transfer", language="eng")
plots.plot_lines(curves, "shots", "Seven topics, English", "labelled examples of each class",
                 flat={"nearest label (no examples)": named.labels_accuracy});

# %% [markdown]
# Another task, another picture. The encoder was trained to tell what a sentence is *about*, so topics lie apart from the
# start: the nearest label alone has 0.68, the head passes it with 8 of each class (0.75) and reaches 0.84 with 32. LoRA
# (0.79) and fine-tuning (0.72) at 8 are not clearly better than the head. Sentiment is harder for it: a good and a bad
# review of one film are about the same thing.
#
# ### What does it cost?
#
# Seconds of one processor core on the machine that made the record: training once, and classifying 100 texts. (Loading
# a model is not counted.)

# %% locked="cost"
trained = calibration.load_record("lab5_fewshot", "learning_curves", shots=16)
prompted = calibration.load_record("lab5_fewshot", "in_context")
prompted["method"] = prompted["shots"].map({0: "prompt (none)", 8: "in the prompt (8 of each)"})
named = calibration.load_record("lab5_fewshot", "label_embeddings", description="three sentences")
cost = pd.concat([named.assign(method="nearest label (none)"), prompted.dropna(subset="method"), trained])
columns = ["accuracy", "train_seconds", "seconds_per_100"]
cost.groupby("method", sort=False)[columns].mean().round(2)

# %% [markdown]
# ## 8. Transfer: labels in another language
#
# Zero-shot has a third meaning: there are labels, but in another language. SIB-200 has the same sentences in many
# languages. We train a head on 560 **English** sentences with topics, and test it on Swahili, Hausa, Bengali, ...
#
# **Predict first.** MiniLM has read English only. On English the head is right in nearly nine of ten. On French? On
# Hausa? On Bengali, in another script?

# %%
my_transfer = {"French": 0.0, "Hausa": 0.0, "Bengali": 0.0}  # accuracies from 0 to 1

# %% locked="transfer_figure"
record = calibration.load_record("lab5_fewshot", "transfer")
ways = {"trained on English": "transfer", "trained on the language, same encoder": "native",
        "trained on the language, TF-IDF (characters)": "tfidf", "most frequent topic": "majority"}
axes = plots.new_axes("Seven topics, 5 seeds (lines: ± one standard deviation)", "language of the test sentences",
                      "accuracy", width=8.5)
for (label, column), color, marker in zip(ways.items(), (plots.BLUE, plots.ORANGE, plots.GREEN, plots.GREY), "os^_", strict=True):
    some = calibration.summarize(record, "language", f"{column}_accuracy")
    languages = some["language"].map(data.NAMES)
    axes.errorbar(languages, some["mean"], some["sd"], fmt=marker, color=color, label=label, capsize=3)
axes.set_ylim(0, 1)
axes.tick_params(axis="x", rotation=35)
axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1));

# %%
reached = record.groupby(record["language"].map(data.NAMES))["transfer_accuracy"].mean()
for name, guess in my_transfer.items():
    print(f"trained on English, tested on {say_drawn(name)}: accuracy {reached[name]:.2f} · you predicted {guess}")

# %% [markdown]
# English 0.87, French 0.63, Spanish 0.57, Indonesian 0.47, Quechua 0.39: words that look like English ones carry the
# topic over. Hausa, Swahili and Yoruba stay near the most frequent topic (0.26 to 0.27 against 0.25), and Amharic and
# Bengali are below it: of the Amharic tokens, 86 % are unknown to this tokenizer. **No transfer happens there.** With
# labels in the language, the same encoder comes to 0.46 (Hausa) and 0.50 (Swahili), and TF-IDF on characters, which
# knows no language at all, to 0.65 and 0.68. A multilingual encoder would be the right start; this one has read English.
#
# If the topics are on this machine (`leaplm fetch sib200`), see it happen:

# %% locked="transfer_live"
other = LANGUAGE if LANGUAGE in data.SIB200 and not english else "swa"
try:
    english_topics = data.subsample(data.load_topics("eng")["train"], by_scale(tiny=30, cpu=400, gpu=700))
    others = data.subsample(data.load_topics(other)["test"], by_scale(tiny=20, cpu=204, gpu=204))
    encoder = models.load_encoder("minilm")
    vectors = fewshot.embed(encoder, tokenizer, english_topics["text"])
    topic_weight, topic_bias = fewshot.fit_head(vectors, english_topics["label"])
    scores = fewshot.embed(encoder, tokenizer, others["text"]) @ topic_weight.T + topic_bias
    right = evaluation.accuracy(others["label"], scores.argmax(axis=1))
    print(f"trained on English, tested on {say_drawn(data.NAMES[other])}: accuracy {right:.2f}; "
          f"most frequent topic {np.bincount(others['label']).max() / len(others):.2f}")
except assets.AssetMissing:
    print("The topics are not on this machine; the figure above is the record.")
encoder = None

# %% [markdown]
# ## 9. Hand in your classifier
#
# The head that you trained on 16 examples of each class, as a file of a few kilobytes. It is tested on 600 sentences that
# you never saw, and the measure is macro-F1 (the mean over the classes). Full points at the level of our own ten draws (mean
# minus 3 to 5 standard deviations, and in any case above guessing); half if it is clearly better than guessing. You may
# train it in another way (your own trainer, the open task's head, fine-tuning, LoRA merged into the weights, a better choice
# of examples): the rule is **at most 16 labelled examples of each class**.

# %% locked="save"
reference = models.load_sequence_classifier(names)
model = fewshot.put_head(models.load_sequence_classifier(names), weight, bias)
card = {"lab": "lab5_fewshot", "language": LANGUAGE, "labels": names, "scale": runtime.scale(), "shots": SHOTS,
        "seed": SEED, "test_accuracy": head}
path = f"artifacts/fewshot-{runtime.scale()}.safetensors"
size = artifacts.save_artifact(path, model, reference, card)
model = reference = None
runtime.free_memory()
print(f"saved {path}: {size * 1000:.0f} kB")
marking.describe_aim("lab5_fewshot", LANGUAGE)

# %% check="few_shot_classifier" points=6
card, tensors = artifacts.read_artifact(path)
assert card["language"] == LANGUAGE and card["shots"] <= 16
assert "classifier.weight" in tensors and "classifier.bias" in tensors
print("Saved. Hand in this notebook together with its folder `artifacts`.")

# %% [markdown]
# ## 10. Which way, for which budget?

# %%
results = pd.DataFrame([
    {"method": "majority class", "examples of each class": 0, "accuracy": majority},
    {"method": "nearest label", "examples of each class": 0, "accuracy": zero_shot},
    *({"method": "in the prompt", "examples of each class": k, "accuracy": a} for k, a in in_context_accuracy.items()),
    {"method": "TF-IDF", "examples of each class": SHOTS, "accuracy": tfidf},
    {"method": "frozen encoder + head", "examples of each class": SHOTS, "accuracy": head},
    *({"method": name, "examples of each class": SHOTS, "accuracy": a} for name, a in tuned.items()),
])
results.round(3)

# %% [markdown]
# ### Exercise 9 · Advice for the radio station (20 minutes, 4 points, read by your teacher)
#
# The station gets 2,000 messages a day, has one laptop without a GPU, and a volunteer who labels 60 messages an hour.
# The messages are of four kinds, so an hour gives about 15 labels of each. Write about 150 words: what should it do (a) today, with no labels; (b) after one hour of labelling; (c) after ten
# hours? Use numbers from this lab, with their spread, and the cost of classifying 2,000 messages a day. Say what you
# would do differently if the messages are in Swahili.

# %% [markdown] manual="advice" points=4
# ### BEGIN SOLUTION
# **Marking guide.** 1 point: a method for each of (a), (b), (c), each with an accuracy from the figures. 1 point: the
# spread is used (a difference smaller than the bands is not called a difference; one prompt is not a result). 1 point:
# cost: seconds for 2,000 messages for at least two methods, and hours of labelling. 1 point: Swahili: this encoder
# does not carry over (transfer is at the level of the most frequent topic); labels in the language and TF-IDF on characters,
# or a model that has read the language.
#
# **A good answer, in short.** (a) The prompt without examples: 0.76 ± 0.04 in English with the best of ten templates; 100
# texts cost 10 s of one core, so 2,000 cost under 4 minutes a day. The nearest label costs 20 s for 2,000 and has 0.62 to
# 0.69. (b) One hour gives 15 labels of each of four kinds. With 16 of each of two, a head on the frozen encoder (0.63 ± 0.04)
# and LoRA (0.67 ± 0.04) are below the prompt: keep it, and use the 60 labels to choose the template and to say how good it is.
# (c) Ten hours give 600 labels, 150 of each kind: fine-tuning or LoRA (0.77 at 64 of each, and rising), and then prompt and LoRA are compared on the
# same texts. In Swahili this encoder transfers nothing (0.27 against 0.25 for the most frequent topic): label in Swahili
# and begin with TF-IDF on characters (0.68).
# ### END SOLUTION

# %% [markdown]
# ## What to take away
#
# 1. Without labels, a prompt or a class name is already a classifier; here no training beats the best prompt with up to 32
#    labels a class. With 64, LoRA and fine-tuning reach it. Always compare with what needs no labels.
# 2. Demonstrations in the prompt need no training and depend on luck: choice, order and label bias. With a small
#    model they did not help. Report several choices, and compute the prefix once.
# 3. Transfer needs an encoder that has read the language. Where it has not, TF-IDF on characters with labels in the
#    language wins by far. Lab 13 goes on from here: a map from a few hundred translations.
#
# **Sources.** Brown et al., 2020, *Language models are few-shot learners* · Zhao et al., 2021, *Calibrate before use* ·
# Lu et al., 2022, *Fantastically ordered prompts* · Yin et al., 2019, *Benchmarking zero-shot text classification* ·
# Reimers & Gurevych, 2019, *Sentence-BERT* · Hu et al., 2022, *LoRA* · Adelani et al., 2024, *SIB-200* ·
# Hutto & Gilbert, 2014 (the English ratings) · Muhammad et al., 2023, *AfriSenti* (the tweets).
