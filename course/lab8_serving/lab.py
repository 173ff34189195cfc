# %% [markdown]
# # Lab 8 · Compress and serve
#
# | | |
# |---|---|
# | **You come from** | lab 2 or lab 3: you have trained a classifier, and know what an accuracy with an interval is |
# | **You will be able to** | make a model eight times smaller and know what it costs, build the service that answers with it from its parts, and say at which load it breaks |
# | **Time** | about 3 hours of work; the computer works for about 2 minutes of it |
# | **Needs** | 2 cores, 1.6 GB of memory, 86 MB of downloads (once). No GPU |
# | **Points** | 30: eight exercises and your model, checked by the computer (26), and one answer read by your teacher (4) |
#
# A clinic in Kisumu wants to sort the messages of its patients. The model of lab 2 can do it. But it has 91 MB of weights, the
# clinic's computer is ten years old, and on Monday morning 200 messages come in one minute.
#
# First part: make the model small and fast, and measure what is lost. Second part: make it a **service** that other
# programs can ask, and that stays up when too many ask.

# %%
# On Colab, or wherever the course is not installed yet. Safe to run again; leaves torch and numpy alone.
import importlib.util
import os
if any(importlib.util.find_spec(name) is None for name in ("leaplm", "fastapi", "onnxruntime")):
    source = os.environ.get("LEAPLM_SOURCE", "git+https://github.com/leaplm/leaplm")  # or a folder, a wheel, a mirror
    get_ipython().run_line_magic("pip", f'install -q "leaplm[serve] @ {source}"')
get_ipython().run_line_magic("load_ext", "leaplm.learner")  # marks and hints below each check, and your progress

# %% locked="setup"
import contextlib
import copy
from pathlib import Path

import httpx2
import numpy as np
import pandas as pd
import torch

from leaplm import assets, calibration, compression, data, evaluation, marking, models, plots
from leaplm import runtime, training
from leaplm.compression import checkpoint as compressed, comparison as versions, engine, latency
from leaplm.identity import student_seed
from leaplm.runtime import by_scale

assets.fetch(["minilm", "vader"])  # downloads only what is not here yet
runtime.set_seed(0)
SEED = student_seed()  # of your own training runs
runtime.describe_runtime()

# %% [markdown]
# The main setting of this lab, as in lab 2: `"eng"`, `"hau"`, `"swa"` or another language of the AfriSenti tweets, or
# your own file with the columns `text,label`. We have no messages of a clinic. In English we take sentences from film reviews
# (lab 2) in their place.

# %%
LANGUAGE = "eng"
marking.describe_language("lab8_serving", LANGUAGE)

# %% [markdown]
# And **your own model** of lab 2 or lab 3. If the file is not there, this lab trains one in a minute.

# %%
START = "../lab2_finetuning/artifacts/sentiment-cpu.safetensors"

# %% [markdown]
# # Part 1 · Compress
#
# ## 1. The model as it is

# %% locked="data"
sentences = data.load_sentiment(LANGUAGE)
names = sentences["train"].features["label"].names
train_set = data.subsample(sentences["train"], by_scale(tiny=48, cpu=1000, gpu=1000))
test_set = data.subsample(sentences["test"], by_scale(tiny=24, cpu=300, gpu=1000))
texts, labels = list(test_set["text"]), np.array(test_set["label"])
tokenizer = models.load_tokenizer()
collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
print(f"{len(texts)} test texts, classes {names}")

# %%
def train_teacher():
    """On 1,000 labels, with the settings of lab 2 but fewer epochs: English and Hausa need only two."""
    runtime.set_seed(0)
    model = models.load_sequence_classifier(names, freeze="embeddings" if LANGUAGE == "eng" else None)
    epochs = 2 if LANGUAGE in ("eng", "hau") else 4
    config = training.TrainingConfig(learning_rate=1e-4, epochs=by_scale(tiny=1, cpu=epochs, gpu=epochs),
                                     embedding_learning_rate=None if LANGUAGE == "eng" else 1e-3,
                                     output_dir=f"runs/teacher-{runtime.scale()}")
    model = compression.make_student(model, by_scale(tiny=(0,), cpu=range(6), gpu=range(6)))
    training.train(model, data.tokenize(train_set, tokenizer, 64), collate, config)
    return model

# %%
teacher, origin = None, f"trained here: {START} is not there, or has other classes"
if Path(START).is_file():
    card, found, _ = engine.load_classifier(START)
    if card["labels"] == names and card["language"] == LANGUAGE and card.get("format") != "compressed":
        teacher, origin = found, f"yours, from {START}"
teacher = (teacher or train_teacher()).eval()
runtime.free_memory()
print("the model:", origin)

# %% [markdown]
# Three numbers say what a model costs: **megabytes** (the download), **milliseconds** for one text (how long a person
# waits) and **texts per second** (how many computers you need). And one says what it gives: the accuracy, beside a simple
# program to beat.

# %%
majority = evaluation.accuracy(labels, evaluation.majority_baseline(train_set["label"], labels))
tfidf = evaluation.accuracy(labels, evaluation.tfidf_baseline(train_set, test_set))
engines = {"PyTorch, 32-bit": versions.version(teacher, tokenizer, names)}
sizes = {"PyTorch, 32-bit": versions.megabytes(teacher)}
scores = versions.score_versions(engines, texts, labels)
print(f"majority {majority:.2f} · TF-IDF {tfidf:.2f}")
scores.assign(MB=sizes).round(3)

# %% [markdown]
# The mean of waiting times hides the bad ones: if 1 request in 10 takes 300 ms and the others 10 ms, the mean says 39 ms,
# which nobody waited. So we report **percentiles**: p50 (half of the requests were at least this fast) and p95 (19 in 20 were),
# here by *nearest rank*: sort the $n$ latencies and take number $\lceil p\,n / 100 \rceil$. The **throughput** is $n$ over the
# time from the first start to the last end, since requests may overlap.

# %%
# 100 requests of 10 ms, one after the other, of which every tenth takes 300 ms.
took = np.where(np.arange(100) % 10 == 9, 0.3, 0.01)
ends = np.cumsum(took)
p50, p95, rate = latency.latency_summary(ends - took, ends)
print(f"p50 {1000 * p50:.0f} ms · p95 {1000 * p95:.0f} ms · mean {1000 * took.mean():.0f} ms · {rate:.0f} a second")

# %% [markdown]
# ## 2. Numbers with 8 bits
#
# A weight is a 32-bit number. It does not need that many. **Quantization** stores it as an integer from −127 to 127, and
# one **scale** for each row of the matrix:
#
# $$s_r = \frac{\max_c |W_{rc}|}{127} \qquad q_{rc} = \mathrm{round}\!\left(\frac{W_{rc}}{s_r}\right) \qquad
# \hat W_{rc} = s_r\,q_{rc} \qquad W\,(R \times C),\; s\,(R),\; q\,(R \times C)$$
#
# The largest number of a row is hit exactly, and no weight moves by more than half a scale. With one scale for the whole
# matrix, a single large weight makes all others coarse.

# %% [markdown]
# ### Exercise 1 · Quantize a matrix (15 minutes, 3 points)
#
# Write `quantize_int8`: 8-bit integers and one scale a row. A row of zeros has no largest number: give it the scale 1.

# %% answer="quantize_int8"
def quantize_int8(weight):
    """weight (rows, columns), float -> numbers (rows, columns) of dtype torch.int8, scales (rows,) float.

    Example: [[1.27, -0.5], [0, 0]] gives the numbers [[127, -50], [0, 0]] and the scales [0.01, 1].
    """
    ### BEGIN SOLUTION
    largest = weight.abs().amax(dim=1)
    scales = torch.where(largest == 0, torch.ones_like(largest), largest / 127)
    return (weight / scales[:, None]).round().to(torch.int8), scales
    ### END SOLUTION

# %%
# Try it on a matrix of the model. You should see an error below one half.
matrix = teacher.bert.encoder.layer[0].output.dense.weight.detach()
numbers, scales = quantize_int8(matrix)
error = (numbers.float() * scales[:, None] - matrix).abs() / scales[:, None]
print(f"{matrix.numel() * 4 / 1e6:.2f} MB -> {numbers.numel() / 1e6:.2f} MB, largest error {error.max():.2f} scales")

# %% check="quantize_int8" points=3
two_rows = torch.tensor([[1.27, -0.5], [0.0, 0.0]])
numbers, scales = quantize_int8(two_rows)
assert numbers.tolist() == [[127, -50], [0, 0]] and numbers.dtype == torch.int8
assert torch.allclose(scales, torch.tensor([0.01, 1.0])) and two_rows[0, 1] == -0.5

# %% [markdown]
# <details><summary>Hint 1</summary><code>weight.abs().amax(dim=1)</code> is the largest of each row.
# <code>scales[:, None]</code> has the shape (rows, 1) and divides row by row.</details>
# <details><summary>Hint 2</summary>Round before you convert: <code>.to(torch.int8)</code> alone cuts off.
# <code>torch.where(largest == 0, ...)</code> puts the 1 where it is needed.</details>

# %% [markdown]
# With 4 bits (numbers from −7 to 7) a scale a row is too coarse. Files of 4 bits, such as GGUF, keep one scale for each
# **group** of 32 numbers; that costs half a bit a number. **NF4** also puts the 16 possible values where numbers are most
# frequent.
#
# **Predict first.** The record rounds all matrices of the model, and nothing else. How much accuracy do 8 bits cost, how
# much 4 bits with a scale a row, how much in groups?

# %%
my_costs = {"8 bits": 0.0, "4 bits, a scale a row": 0.0, "4 bits in groups": 0.0}  # points of accuracy

# %%
rounding = calibration.load_record("lab8_serving", "rounding_paired")
right = {name: np.array([[int(digit) for digit in row] for row in rows.right])
         for name, rows in rounding.groupby("numbers", sort=False)}  # (models, texts)
exact = right.pop("32-bit")
changes = {name: [(some - exact).mean(), *evaluation.seeds_and_texts_interval(some - exact)] for name, some in right.items()}
changes = pd.DataFrame(changes, index=["mean", "low", "high"]).T
plots.plot_intervals(changes, f"Rounded against 32 bits: the same {exact.shape[1]} texts, {len(exact)} models",
                     "change of accuracy (95 % interval over texts and models)")
print("you predicted that it costs, in points:", my_costs)
changes.round(3)

# %% [markdown]
# Compared **text by text** (paired, lab 9), since all versions answer the same texts: what is hard for all of them drops
# out. Rounding the weights to 8 bits costs nothing that could be seen (0.0 points, −0.5 to +0.5). With the **activations**
# in 8 bits too, which is what makes it faster, it does cost: 1.4 points (0.3 to 2.5). But PyTorch then also takes one scale
# for a whole matrix, which may cost a point by itself (next figure); the two are not separated here. Four bits with a scale
# a row lose 6.0 points; in groups of 32 they lose 0.4 (−0.4 to +1.3), with NF4 0.2 (−0.7 to +1.1): not shown to be worse
# than 32 bits. The bad name of 4 bits comes from too coarse a scale.

# %%
rounding = calibration.load_record("lab8_serving", "rounding")
bars = calibration.summarize(rounding, "numbers", "accuracy", texts=300)
plots.plot_bars(bars, "English, one scale a matrix or a scale a row, 3 models");

# %% [markdown]
# This makes the file small. To be **faster** too, the computer must multiply 8-bit numbers. PyTorch's *dynamic
# quantization* does: weights are 8-bit, and each batch's activations are made 8-bit as they come.

# %%
engines["PyTorch, 8-bit"] = versions.version(teacher, tokenizer, names, "torch-int8")
sizes["PyTorch, 8-bit"] = versions.megabytes(compression.quantize_dynamic(teacher))
how_often = by_scale(tiny=(2, 2, 1), cpu=(30, 16, 5), gpu=(40, 16, 5))
versions.time_versions(engines, texts, *how_often).assign(MB=sizes).round(2)

# %% [markdown]
# The two versions take turns, so that a busy moment hits both; `times faster` is the median over pairs, and `from`, `to`
# its middle half. But why is the file not four times smaller?

# %%
parts = {"word vectors": teacher.bert.embeddings, "layers": teacher.bert.encoder}
{name: f"{sum(p.numel() for p in part.parameters()) / 1e6:.1f} million weights" for name, part in parts.items()}

# %% [markdown]
# Half of the model is a table of 30,522 word vectors, and PyTorch leaves it as it is. Sections 4 and 6 look after it.
#
# ## 3. Zeros
#
# **Magnitude pruning** sets the smallest weights to 0: they contribute least. Which share can go?

# %% [markdown]
# ### Exercise 2 · A mask (15 minutes, 3 points)
#
# Write `magnitude_mask`: `True` for each weight that stays when the smallest go. Exactly `round(share * n)` of the $n$
# weights go. Among equal ones, those go first that stand first, row by row.

# %% answer="magnitude_mask"
def magnitude_mask(weight, share):
    """weight: a float tensor of any shape; share in [0, 1] -> a bool tensor of the same shape.

    Example: [[0.5, -0.1], [0.2, -3.0]] with share 0.5 gives [[True, False], [False, True]];
    [1., -1., 1., 1.] with share 0.25 gives [False, True, True, True].
    """
    ### BEGIN SOLUTION
    order = weight.abs().flatten().argsort(stable=True)
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: round(share * weight.numel())]] = False
    return keep.reshape(weight.shape)
    ### END SOLUTION

# %%
print("share that stays of 30 and 90 %:", [round(float(magnitude_mask(matrix, s).float().mean()), 3) for s in (0.3, 0.9)])

# %% check="magnitude_mask" points=3
mask = magnitude_mask(torch.tensor([[0.5, -0.1], [0.2, -3.0]]), 0.5)
assert mask.tolist() == [[True, False], [False, True]] and mask.dtype == torch.bool
assert magnitude_mask(torch.tensor([1.0, -1.0, 1.0, 1.0]), 0.25).tolist() == [False, True, True, True]

# %% [markdown]
# <details><summary>Hint 1</summary>A threshold (<code>abs &gt; limit</code>) removes too many or too few when several
# weights are equal. Sort instead, and take the first ones of the order.</details>
# <details><summary>Hint 2</summary><code>weight.abs().flatten().argsort(stable=True)</code> keeps the order of equal
# values. Start with a mask of ones, set the first <code>round(share * n)</code> places to False, and reshape.</details>

# %% [markdown]
# **Predict first.** From which share on does the accuracy fall? And is a model with 70 % zeros faster?

# %%
my_share = 0.0  # of zeros, from 0 to 1

# %%
pruning = calibration.load_record("lab8_serving", "pruning")
layer, rand = (pruning[pruning.scope == scope] for scope in ("layer", "random"))
curves = {
    "smallest go": calibration.summarize(layer, "share", "accuracy"),
    "smallest go, 20 more updates": calibration.summarize(layer, "share", "recovered_accuracy"),
    "random ones go": calibration.summarize(rand, "share", "accuracy"),
}
plots.plot_lines(curves, "share", "English, each matrix pruned", "share of zeros", log=False)
print("you predicted that the accuracy falls from this share on:", my_share)

# %%
pruned = compression.finish_pruning(compression.prune_model(copy.deepcopy(teacher), 0.7))
both = {"no zeros": engines["PyTorch, 32-bit"], "70 % zeros": versions.version(pruned, tokenizer, names)}
print(f"zeros in the matrices: {compression.zero_share(pruned):.0%}, file {versions.megabytes(pruned):.0f} MB")
versions.time_versions(both, texts, *how_often).round(2)

# %% [markdown]
# As large and as slow as before. The zeros are stored as 32-bit numbers, and the processor multiplies them like any other
# number. **Unstructured** zeros help only with special software, or in a compressed archive. To be faster, whole
# rows, heads or layers must go. That is section 5.

# %%
pruned = both = None
runtime.free_memory()

# %% [markdown]
# ## 4. Only the words of your language
#
# The table of word vectors has a row for each of 30,522 pieces. Which of them does your text use? The others can go. A
# word whose piece is gone is cut into smaller ones, so single letters stay.

# %%
counted = list(sentences["train"]["text"])[: by_scale(tiny=300, cpu=None, gpu=None)]
kept = compression.used_pieces(tokenizer, counted)
small_tokenizer = compression.trim_tokenizer(tokenizer, kept)
trimmed = compression.trim_embeddings(teacher, kept)
cut = sum(len(a) != len(b) for a, b in zip(tokenizer(texts)["input_ids"], small_tokenizer(texts)["input_ids"], strict=True))
print(f"{len(tokenizer):,} pieces -> {len(kept):,}; {cut} of {len(texts)} test texts are cut into other pieces")

# %%
engines["fewer pieces"] = versions.version(trimmed, small_tokenizer, names)
sizes["fewer pieces"] = versions.megabytes(trimmed)
scores = versions.score_versions(engines, texts, labels, scores)
scores.assign(MB=sizes).round(3)

# %% [markdown]
# The pieces were counted on all training texts, without their labels. What is the price? In a text of another kind (other
# names, other slang) more words fall into letters. Keep the full tokenizer when you do not know who will write.
#
# ## 5. A student that learns from a teacher
#
# Take a model with 3 of the 6 layers (every second one), so it starts from what the teacher knows. Then train it to answer
# **as the teacher does**. The teacher's probabilities say more than a label: *0.7 positive* is not *0.99 positive*. And a
# teacher answers as many unlabelled texts as you like. This is **distillation**:
#
# $$\ell = w\,T^2\,\mathrm{KL}\big(p_T \,\|\, q_T\big) + (1 - w)\,\mathrm{CE}(y, q_1) \qquad
# p_T = \mathrm{softmax}(z^{\text{teacher}} / T), \quad q_T = \mathrm{softmax}(z^{\text{student}} / T)$$
#
# $\mathrm{KL}(p \| q) = \sum_c p_c (\log p_c - \log q_c)$, a mean over the batch. The **temperature** $T > 1$ makes both
# flatter, so that the small probabilities count too. Its gradients are $T^2$ times smaller; the factor makes up for it.

# %% [markdown]
# ### Exercise 3 · The distillation loss (15 minutes, 3 points)
#
# Write `distillation_loss` in nats, a mean over the texts. It must survive logits like 1,000.

# %% answer="distillation_loss"
def distillation_loss(student_logits, teacher_logits, labels, temperature, weight):
    """student_logits, teacher_logits (batch, classes), labels (batch,) -> a tensor with one number.

    Example: equal logits and weight=1 give 0. With weight=0 it is the cross-entropy with the labels.
    """
    ### BEGIN SOLUTION
    ours = (student_logits / temperature).log_softmax(dim=-1)
    theirs = (teacher_logits / temperature).log_softmax(dim=-1)
    soft = (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()
    hard = torch.nn.functional.cross_entropy(student_logits, labels)
    return weight * temperature**2 * soft + (1 - weight) * hard
    ### END SOLUTION

# %%
# You should see a loss that falls to 0 as the student comes nearer to the teacher.
z, y = torch.tensor([[2.0, -1.0]]), torch.tensor([0])
[round(float(distillation_loss(z + torch.tensor([d, 0.0]), z, y, 2.0, 1.0)), 3) for d in (4.0, 2.0, 1.0, 0.0)]

# %% check="distillation_loss" points=3
z = torch.tensor([[1.0, 3.0], [0.0, 2.0]])
assert abs(float(distillation_loss(z, z, torch.tensor([0, 1]), 2.0, 1.0))) < 1e-6
want = torch.nn.functional.cross_entropy(z, torch.tensor([0, 1]))
assert torch.isclose(distillation_loss(z, z + 5, torch.tensor([0, 1]), 3.0, 0.0), want)
distillation_loss(z.clone().requires_grad_(), z, torch.tensor([0, 1]), 2.0, 0.5).backward()  # the student must learn from it

# %% [markdown]
# <details><summary>Hint 1</summary>Work with <code>log_softmax</code>, never with the logarithm of a softmax. The teacher's
# distribution stands first in KL: its probabilities are the weights of the sum.</details>
# <details><summary>Hint 2</summary><code>(p.exp() * (p - q)).sum(dim=-1).mean()</code> with both log-probabilities at
# temperature T; times T squared and the weight; plus (1 − weight) times the cross-entropy at temperature 1.</details>

# %% [markdown]
# Now let the teacher answer texts that nobody labelled, and train the student on its answers.

# %%
steps = by_scale(tiny=2, cpu=150, gpu=300)
unlabelled = sentences["train"].shuffle(seed=0)
unlabelled = unlabelled.select(range(min(len(unlabelled), 16 * steps)))
rows = [{"input_ids": row["input_ids"]} for row in data.tokenize(unlabelled, small_tokenizer, 64)]
rows = compression.with_teacher(rows, trimmed, collate)  # its probabilities, no labels
student = compression.make_student(trimmed, by_scale(tiny=(0,), cpu=(0, 2, 4), gpu=(0, 2, 4)))
student.bert.embeddings.requires_grad_(False)
config = training.TrainingConfig(learning_rate=3e-4, max_steps=steps, seed=SEED, output_dir=f"runs/student-{runtime.scale()}")
history = training.train(student, rows, compression.TeacherCollator(collate), config,
                         loss_fn=compression.distillation_objective(temperature=2.0, weight=0.9))

# %%
engines["student"] = versions.version(student, small_tokenizer, names)
sizes["student"] = versions.megabytes(student)
scores = versions.score_versions(engines, texts, labels, scores)
scores.assign(MB=sizes).round(3)

# %% [markdown]
# Did the teacher do it, or would any three layers with 1,000 labels be as good? The record has the same student three
# times, with the same number of updates:

# %%
students = calibration.load_record("lab8_serving", "students")
bars = calibration.summarize(students, "student", "accuracy", texts=300)
plots.plot_bars(bars, "English, three layers, 150 updates, 3 seeds")
calibration.summarize(students, "student", "loss").round(2)

# %% [markdown]
# Read both. In accuracy, the teacher's answers and 1,000 labels differ by less than their spread: half of the fine-tuned
# layers already know the task, and either keeps them on the way. With a random start the same teacher gets 3 points less out
# of its student. What the teacher brings is seen in the loss (nats, lower is better): a student that was told *0.7* does not
# say *0.99*. (Two cautions: it read 2,400 texts, the other 1,000; and a temperature, lab 6, lowers a loss without a
# teacher.) And the teacher needs no labels, so this way is open to you when you have somebody's model but not the data that
# it learned from.
#
# ## 6. Leave PyTorch
#
# PyTorch is made for training. To predict, a small program is enough. **ONNX** is a file format for the computing itself:
# which operation on which numbers. **ONNX Runtime** reads it and runs it, on a server, a phone or in a browser. It also
# has 8-bit arithmetic, and this one makes the word vectors 8-bit too.

# %%
for kind, (made, megabytes) in versions.onnx_versions(student, small_tokenizer, names).items():
    engines[f"student, {kind}"], sizes[f"student, {kind}"] = made, megabytes
made = None
runtime.free_memory()

# %% [markdown]
# Is it the same model? The first line should be almost 0. The second is not: weights and activations were rounded.

# %%
want = engines["student"].predict(texts[:20])
for kind in ("ONNX", "ONNX 8-bit"):
    difference = np.abs(engines[f"student, {kind}"].predict(texts[:20]) - want).max()
    print(f"largest difference in probability, student, {kind}: {difference:.1e}")

# %% [markdown]
# All versions together. **Predict first:** which one would you choose for the clinic's old computer?

# %%
scores = versions.score_versions(engines, texts, labels, scores)
table = versions.time_versions(engines, texts, *how_often).join(scores)
table.insert(0, "MB", pd.Series(sizes))
table.round({"MB": 1, "ms, p50": 1, "ms, p95": 1, "texts/s": 0}).round(3)

# %%
points = table.assign(mean=table.accuracy, sd=(table.high - table.low) / 4)
plots.plot_tradeoff(points, "ms, p50", "Speed against accuracy", "milliseconds for one text (p50)");

# %% [markdown]
# The bars at the points show one standard error over test texts (a quarter of the 95 % interval). They are too wide for a
# comparison, since all versions answered the same texts. The columns `change`, `change low` and `change high` compare each
# version with the first one text by text: if 0 lies between the last two, these texts show no difference. Memory is the
# fourth cost: the record has the highest memory of a fresh program that loads a version and answers 20 texts.

# %%
memory = calibration.load_record("lab8_serving", "memory")
bars = calibration.summarize(memory.assign(peak_gb=memory.peak_mb / 1000), "version", "peak_gb")
plots.plot_bars(bars, "A fresh program with one version", xlabel="peak memory (GB)");

# %% [markdown]
# Most of the memory is PyTorch itself. Without it, the student needs a fraction. (`leaplm serve` in part 2 reads your file with
# PyTorch, so it needs as much as the upper bars.)
#
# ## 7. Hand in your model
#
# The file holds your small model whole: 8-bit matrices with a scale a row, and the numbers of the pieces you kept. Your
# teacher's computer rebuilds it, without running anything of yours, and tests it on texts that you never saw. It may have
# **at most 12 MB**. Full points at the level of our own runs (mean minus 3 to 5 standard deviations of macro-F1), half of them if
# it is clearly better than guessing.

# %% locked="save"
card = {"lab": "lab8_serving", "language": LANGUAGE, "labels": names, "scale": runtime.scale(), "teacher": origin,
        "test_accuracy": float(table.accuracy["student"]), "updates": len(history.train), "seed": config.seed}
path = f"artifacts/compressed-{runtime.scale()}.safetensors"
size = compressed.save_compressed(path, student, kept, card)
print(f"saved {path}: {size:.1f} MB, {sizes['PyTorch, 32-bit'] / size:.0f} times smaller than at the start")
marking.describe_aim("lab8_serving", LANGUAGE)

# %%
engines = {}  # their copies of the model are not needed any more
runtime.free_memory()

# %% check="compressed_model" points=6
assert Path(path).stat().st_size <= 12e6, "at most 12 MB"
card, model, small = compressed.load_compressed(path)
assert card["language"] == LANGUAGE and small(texts[0])["input_ids"]
print("Saved. Hand in this notebook together with its folder `artifacts`.")

# %%
model = teacher = trimmed = student = rows = history = None
runtime.free_memory()

# %% [markdown]
# **A place to stop.** Your answers stay in the notebook. To go on another day: open it, click on this cell, choose
# *Run › Run All Above Selected Cell* (on Colab *Runtime › Run before*), wait a few minutes, and go on below. An exercise that
# is still open stops this run: then run the cells behind it by hand.

# %% [markdown]
# # Part 2 · Serve

# %% locked="service"
import asyncio
import functools
import json
import math
import time
from collections import Counter

from leaplm.serve import batching, files, keys, load, metrics, process, requests, simulated, small_app

# %% [markdown]
# ## 8. A service
#
# The clinic's program is not written in Python. It needs an **address** to send texts to. One word makes a service of
# your file. In a terminal:
#
# ```
# leaplm add-key clinic --keys keys.json
# leaplm serve artifacts/compressed-cpu.safetensors --keys keys.json
# ```
#
# The next cell does the same from here. The **key** is like a password for a program. It is shown once; the file keeps
# only its hash. `leaplm serve` listens on this machine only (127.0.0.1), and refuses to listen elsewhere without keys.

# %%
Path("keys.json").unlink(missing_ok=True)
key = keys.add_key("keys.json", "clinic")
start = process.threaded if runtime.scale() == "tiny" else process.running
options = ("--keys", "keys.json", "--queue", 32, "--max-batch", 8)
stack = contextlib.ExitStack()
service = stack.enter_context(start(path, *options))
print("your key:", key[:12] + "...", "\nin the file:", Path("keys.json").read_text()[:90], "...\n", service.address)

# %%
client = httpx2.Client(base_url=service.address, headers={"X-API-Key": key}, trust_env=False)
answer = client.post("/predict", json={"texts": texts[:2]})
print(answer.status_code, answer.json()["predictions"][0])

# %% [markdown]
# Now **break it**. A service is judged by what it does with bad requests: no crash, no silence, a clear error with the
# right number. 4xx means *you* should change something, 5xx means *the service* has a problem.

# %%
bad = {"no key": ({"X-API-Key": ""}, {"texts": ["hello"]}), "not a list": ({}, {"texts": "hello"}),
       "empty": ({}, {"texts": [" "]}), "too long": ({}, {"texts": ["a" * 3000]}),
       "too many": ({}, {"texts": ["a"] * 99}), "too large": ({}, {"texts": ["a" * 300_000]})}
for what, (headers, body) in bad.items():
    answer = client.post("/predict", json=body, headers=headers)
    print(f"{what:>10}: {answer.status_code}", answer.json()["error"]["message"])

# %% [markdown]
# What does the service write down? Who asked, how much, how long it took: not the texts. (With `--log-texts` it logs them
# with phone numbers, addresses and links replaced, by the rules of lab 4. Names stay: so use it for tests only.)

# %%
print("\n".join(service.log()[-3:]))

# %% [markdown]
# ## 9. What is inside? Your own endpoint
#
# Now build such a service yourself, in five parts that fit together: *read a request* → *not too often* → *a queue that makes
# batches* → *answers* → *the endpoint that joins them*. At the end it answers real requests with your small model.
#
# A request that is refused should learn why. `requests.Problem` is an exception that carries an HTTP status, a short code for
# programs, a message for people, and the seconds after which to try again (or nothing):
#
# ```
# raise requests.Problem(422, "too_long", "texts[2] has 3000 characters, the limit is 2000")
# raise requests.Problem(503, "busy", "too many texts are waiting", retry_after=2)
# ```

# %%
from leaplm.drawings import show_drawing

show_drawing("lab8_serving")

# %% [markdown]
# ### Exercise 4 · Read a request (10 minutes, 2 points)
#
# Write `read_texts`: from the body of a request (bytes) its list of texts, or a `Problem`. Of these rules, the first one that
# is broken gives the status:
#
# | | |
# |---|---|
# | 413 | the body has more than `most_bytes` bytes |
# | 400 | it is not UTF-8, or not JSON: also 100,000 times `[`, at which Python raises a `RecursionError` |
# | 422 | it is not a dict with the key `texts` and no other; `texts` is not a list of 1 to `most_texts` |
# | 422 | a text is not a string, is empty (or only blanks), has more than `most_characters` characters, or holds half of a character: JSON can write `"\ud800"`, UTF-8 cannot, and the tokenizer breaks at it |
#
# For a bad text the message names its place, as `texts[2]`. No message quotes a text: messages stand in logs.

# %% answer="read_texts"
def read_texts(body, most_bytes, most_texts, most_characters):
    """body: bytes -> a list of strings, as they are; or requests.Problem with status, code (a word), message.

    Example: b'{"texts": ["Good."]}' gives ["Good."]; b'{"texts": ["Good.", " "]}' raises a Problem
    with status 422 and a message as "texts[1] is empty".
    """
    ### BEGIN SOLUTION
    if len(body) > most_bytes:
        raise requests.Problem(413, "body_too_large", f"the body may have at most {most_bytes} bytes")
    try:
        found = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise requests.Problem(400, "not_json", "the body is not JSON in UTF-8") from None
    if not isinstance(found, dict) or set(found) != {"texts"} or not isinstance(found["texts"], list):
        raise requests.Problem(422, "not_valid", 'send {"texts": ["...", "..."]}')
    if not 1 <= len(found["texts"]) <= most_texts:
        raise requests.Problem(422, "number_of_texts", f"send 1 to {most_texts} texts")
    for i, text in enumerate(found["texts"]):
        if not isinstance(text, str) or not text.strip():
            raise requests.Problem(422, "empty_text", f"texts[{i}] should be a string that is not empty")
        if len(text) > most_characters:
            raise requests.Problem(422, "too_long", f"texts[{i}] has more than {most_characters} characters")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise requests.Problem(422, "not_text", f"texts[{i}] holds half of a character") from None
    return found["texts"]
    ### END SOLUTION

# %%
for body in (b'{"texts": ["Good soap."]}', b"{", b'["Good soap."]', b'{"texts": ["Good soap.", 7]}', b"x" * 500):
    try:
        print(read_texts(body, most_bytes=400, most_texts=8, most_characters=200))
    except requests.Problem as problem:
        print(problem.status, problem.message)

# %% check="read_texts" points=2
def read_status(body):
    try:
        return len(read_texts(body, 100, 3, 10))
    except requests.Problem as problem:
        return problem.status

assert read_texts(b'{"texts": [" a", "b"]}', 100, 3, 10) == [" a", "b"]
assert [read_status(b) for b in (b"x" * 101, b"{", b'{"texts": ["\xff"]}', b"[]", b'{"texts": []}')] == [413, 400, 400, 422, 422]

# %% [markdown]
# <details><summary>Hint 1</summary><code>json.loads</code> also takes bytes, but then guesses the encoding: call
# <code>body.decode("utf-8")</code> first. Both raise a <code>ValueError</code> (or a kind of it); thousands of brackets inside each
# other raise a <code>RecursionError</code>.</details>
# <details><summary>Hint 2</summary>Check the dict before you look for its key: <code>isinstance(found, dict)</code>,
# <code>set(found) == {"texts"}</code>, <code>isinstance(found["texts"], list)</code>, its length. Then each text with
# <code>enumerate</code>: <code>str</code>, <code>.strip()</code>, <code>len</code>, <code>.encode()</code> in a <code>try</code>.</details>

# %% [markdown]
# One program with an error in a loop can use up the whole service. A **token bucket** limits each key: the bucket holds
# `capacity` tokens and is full at first; `rate` tokens flow in each second; each request takes one, and is refused (status
# 429) when there is less than one.
#
# The bucket has to know the time. It gets its **clock** from outside, as a function: a real service gives it
# `time.monotonic`, a test gives it a clock that it sets itself, and no test has to wait.

# %% [markdown]
# ### Exercise 5 · A token bucket (10 minutes, 1 point)
#
# Write the class `TokenBucket`: `take()` says whether a request is allowed now, or how long to wait. A refused request takes
# nothing.

# %% answer="token_bucket"
class TokenBucket:
    """rate: tokens a second; capacity: tokens at most; clock: a function () -> the time now, in s.

    Example: rate=1, capacity=2, made at 0 s; `take` at 0, 0, 0, 0.5, 1.0 s gives 0.0, 0.0, 1.0, 0.5, 0.0.
    """
    def __init__(self, rate, capacity, clock):
        ### BEGIN SOLUTION
        self.rate, self.capacity, self.clock = rate, capacity, clock
        self.tokens, self.before = capacity, clock()
        ### END SOLUTION

    def take(self):
        """0.0 if a request is allowed (it takes a token), else the seconds until there is a whole token."""
        ### BEGIN SOLUTION
        now = self.clock()
        self.tokens = min(self.capacity, self.tokens + (now - self.before) * self.rate)
        self.before = now
        if self.tokens < 1:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return 0.0
        ### END SOLUTION

# %% locked="waits_at"
def waits_at(moments, rate, capacity):
    """What `take` says at these moments, by a clock that is set to each."""
    now, found = [moments[0]], []
    bucket = TokenBucket(rate, capacity, clock=lambda: now[-1])
    for moment in moments:
        now.append(moment)
        found.append(bucket.take())
    return found

# %%
# 30 requests in 3 seconds, at most 2 a second: you should see 10 allowed, the 5 at first and 5 that flow in.
sum(wait == 0 for wait in waits_at((np.arange(30) / 10).tolist(), rate=2, capacity=5))

# %% check="token_bucket" points=1
assert np.allclose(waits_at([0, 0, 0, 0.5, 1.0], rate=1, capacity=2), [0, 0, 1.0, 0.5, 0])
assert waits_at([7.0, 7.0], rate=2, capacity=1) == [0.0, 0.5]

# %% [markdown]
# <details><summary>Hint 1</summary>Keep two numbers in <code>self</code>: the tokens, and the time of the last request, also of a
# refused one. Read the clock once at each request.</details>
# <details><summary>Hint 2</summary>At each request first add <code>(now - before) * rate</code>, but never above the
# capacity. If less than one token is there, <code>(1 - tokens) / rate</code> seconds are missing; else subtract 1.</details>

# %% [markdown]
# ### One thread, many requests
#
# Eight texts at once take less time than eight texts one by one, but requests come one by one. So the service lets the
# first one wait a few milliseconds for others: **micro-batching**. For this it must wait for many things at once.
#
# Python's **asyncio** does this in one thread. An `async def` function lets others go on at each `await`, until what it waits
# for is there. A **future** is a place for a result: `await future` waits until somebody calls `future.set_result(...)` or
# `future.set_exception(...)`. An **event** is a flag: `await event.wait()` waits until somebody calls `event.set()`.
# `asyncio.wait_for(..., seconds)` waits so long at most, then raises `TimeoutError`.
#
# `simulated.run` runs all this with a clock that jumps: an hour takes no time, and the result is always the same.

# %%
async def cook(dish, seconds):
    await asyncio.sleep(seconds)  # the others go on
    return dish

async def kitchen():
    dishes = await asyncio.gather(cook("rice", 1200), cook("beans", 3600))
    return dishes, asyncio.get_running_loop().time()  # the clock that jumps

simulated.run(kitchen())

# %% [markdown]
# ### Exercise 6 · A queue that makes batches (25 minutes, 3 points)
#
# Write the class `RequestQueue`. A request is `batching.Waiting(texts)`: it has `texts`, a new `future`, and `since`, the time
# at which it came (by `asyncio.get_running_loop().time()`).
#
# * `put(texts)` adds a request and returns its future, at once. If the queue is closed, or more than `max_queue` texts would
#   wait, it raises a `Problem` with status 503 and whole seconds, at least 1, after which to try again (`retry_after`), say 2.
# * `next_batch()` waits until a batch is **due**: `max_batch` texts wait, or the first request has waited `max_wait` seconds, or
#   the queue is closed. Then it takes requests from the front and stops at the first that does not fit into `max_batch` texts. None is cut, and the first
#   one always goes, however large. When the queue is closed and empty, it returns `None`.
# * `close()`: nothing new is taken, and what waits is due.
# * Who has gone (`future.done()`) goes into no batch and counts no more: not in `put`, not for `max_batch`, not as the first one.
# * The queue is made before its loop runs: ask for the running loop in `put` and `next_batch` only.

# %% answer="request_queue"
class RequestQueue:
    """max_batch: texts in a batch; max_wait: s that a first request waits for others; max_queue: texts that may wait.

    Example: max_batch=2, max_wait=0.1; requests of one text come at 0.00, 0.01 and 0.02 s. The first two go
    at 0.01, the third one at 0.12.
    """
    def __init__(self, max_batch, max_wait, max_queue):
        ### BEGIN SOLUTION
        self.max_batch, self.max_wait, self.max_queue = max_batch, max_wait, max_queue
        self.waiting, self.closed, self.changed = [], False, asyncio.Event()
        ### END SOLUTION

    def put(self, texts):
        """texts: a list -> the future of this request; or requests.Problem."""
        ### BEGIN SOLUTION
        if self.closed or self.count() + len(texts) > self.max_queue:
            raise requests.Problem(503, "busy", "too many texts are waiting", 2)
        self.waiting.append(batching.Waiting(texts))
        self.changed.set()
        return self.waiting[-1].future

    def count(self):
        return sum(len(request.texts) for request in self.waiting if not request.future.done())

    def seconds_left(self):
        if not self.waiting:
            return None
        if self.closed or self.count() >= self.max_batch:
            return 0
        return self.waiting[0].since + self.max_wait - asyncio.get_running_loop().time()
        ### END SOLUTION

    async def next_batch(self):
        """-> a list of Waiting, the oldest first, once it is due; None when closed and empty."""
        ### BEGIN SOLUTION
        while True:
            self.waiting = [request for request in self.waiting if not request.future.done()]
            left = self.seconds_left()
            if left is not None and left <= 0:
                break
            if self.closed:
                return None
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), left)
        batch = [self.waiting.pop(0)]
        size = len(batch[0].texts)
        while self.waiting and size + len(self.waiting[0].texts) <= self.max_batch:
            batch.append(self.waiting.pop(0))
            size += len(batch[-1].texts)
        return batch
        ### END SOLUTION

    def close(self):
        ### BEGIN SOLUTION
        self.closed = True
        self.changed.set()
        ### END SOLUTION

# %% locked="batches_of"
async def batches_of(queue, moments):
    """When each batch goes, and how many requests are in it; the model is always free."""
    async def arrive():
        for moment in moments:
            await asyncio.sleep(moment - asyncio.get_running_loop().time())
            queue.put(["text"])
        queue.close()

    arriving, found = asyncio.create_task(arrive()), []
    while batch := await queue.next_batch():
        found.append((round(asyncio.get_running_loop().time(), 3), len(batch)))
    await arriving
    return found

# %%
# 200 texts in one second. The longer the first may wait, the larger the batches. What does it cost?
moments = np.sort(np.random.default_rng(0).uniform(0, 1, 200)).tolist()
for wait in (0, 0.01, 0.05):
    sizes_of = [size for _, size in simulated.run(batches_of(RequestQueue(16, wait, 200), moments))]
    print(f"max wait {1000 * wait:.0f} ms: mean batch {np.mean(sizes_of):.1f} texts")

# %% check="request_queue" points=3
example = simulated.run(batches_of(RequestQueue(max_batch=2, max_wait=0.1, max_queue=9), [0.0, 0.01, 0.02, 0.5]))
assert example == [(0.01, 2), (0.12, 1), (0.5, 1)]  # the last one goes when the queue closes
assert simulated.run(batches_of(RequestQueue(2, 0.1, 9), [])) == []

# %% [markdown]
# <details><summary>Hint 1</summary>Keep a list of <code>Waiting</code>, a flag <code>closed</code>, and one
# <code>asyncio.Event</code> that <code>put</code> and <code>close</code> set. <code>next_batch</code> is a loop: throw out who has
# gone; compute how many seconds are left until a batch is due; if none, take it; else wait for the event, at most so long.</details>
# <details><summary>Hint 2</summary>Closed and empty: return <code>None</code>. Seconds left: <code>None</code> if nothing waits, 0 if closed or full, else
# <code>waiting[0].since + max_wait - now</code>. Then <code>event.clear()</code> and
# <code>await asyncio.wait_for(event.wait(), left)</code> in a <code>try</code>; after a <code>TimeoutError</code> the loop looks
# again. Take with <code>pop(0)</code> while the next one fits.</details>

# %% [markdown]
# ### Exercise 7 · Answers to the right callers (10 minutes, 2 points)
#
# Write `answer_batches`, the loop that works through the queue. `predict` is an async function: a list of n texts → n rows. Put
# the texts of a batch into one list, `await predict(...)`, and set each future to the rows of its own texts. If `predict` raises an
# `Exception`, the futures of **this batch** get it, and the next batch goes on. A caller may have gone in the meantime: a future
# that is done takes no result.

# %% answer="answer_batches"
async def answer_batches(queue, predict):
    """Works through `queue.next_batch()`, one batch at a time, until it gives None. Returns nothing.

    Example: a batch of two requests, ["a", "b"] and ["c"], and predict(["a", "b", "c"]) gives rows r0, r1, r2:
    the first future is set to [r0, r1] (rows[0:2]), the second one to [r2].
    """
    ### BEGIN SOLUTION
    while batch := await queue.next_batch():
        texts = [text for request in batch for text in request.texts]
        try:
            rows, start = await predict(texts), 0
            for request in batch:
                end = start + len(request.texts)
                if not request.future.done():
                    request.future.set_result(rows[start:end])
                start = end
        except Exception as error:
            for request in batch:
                if not request.future.done():
                    request.future.set_exception(error)
    ### END SOLUTION

# %% locked="ask_all"
async def lengths(batch_of_texts):
    """A model for a test: it takes a second, and fails at an empty text."""
    await asyncio.sleep(1)
    return np.array([1 / len(text) for text in batch_of_texts])

async def ask_all(work, *asked):
    queue = batching.RequestQueue(max_batch=2, max_wait=0.1, max_queue=9)
    worker = asyncio.create_task(work(queue, lengths))
    futures = [queue.put(texts_asked) for texts_asked in asked]
    queue.close()
    await worker
    return await asyncio.gather(*futures, return_exceptions=True)

# %%
simulated.run(ask_all(answer_batches, ["a", "bb"], ["ccc"], [""], ["dddd"]))

# %% check="answer_batches" points=2
rows_found = simulated.run(ask_all(answer_batches, ["a", "bb"], ["cccc"], ["dd"], [""]))
assert [list(rows) for rows in rows_found[:3]] == [[1, 0.5], [0.25], [0.5]]
assert isinstance(rows_found[3], ZeroDivisionError)

# %% [markdown]
# <details><summary>Hint 1</summary><code>while batch := await queue.next_batch():</code> ends at <code>None</code>. Count through
# the rows: each request takes as many as it has texts. The <code>try</code> stands inside of the loop.</details>
# <details><summary>Hint 2</summary><code>rows[start:end]</code> with <code>end = start + len(request.texts)</code>; before
# <code>set_result</code> and <code>set_exception</code> ask <code>if not request.future.done()</code>, and count on either way.
# Catch <code>Exception</code>, not everything: a cancelled worker has to end.</details>

# %% [markdown]
# You saw it above: `["ccc"]` got the error of `[""]`, since they were in one batch. A text that breaks the model fails callers who did
# nothing wrong. That is why `read_texts` is strict.

# %% [markdown]
# ### Exercise 8 · The endpoint (15 minutes, 3 points)
#
# Write the class `Endpoint` that joins the parts. `answer(body)` returns three things: status, content (a dict that JSON can
# write), and the seconds to wait or `None`.
#
# * First the bucket, before anything is read: if `bucket.take()` is above 0, status 429 and that time, rounded up to whole seconds.
# * Then `read(body)`, then `await queue.put(texts)`: rows. Status 200: `{"predictions": rows as lists of numbers}`, no time.
# * A `Problem` gives its own status and `retry_after`; the content of each error is `{"error": {"code": ..., "message": ...}}`.
# * Any other `Exception`: status 500, and a message that does not quote the error. A cancelled caller is no error, and not counted.
#
# `metrics()` is what a monitor reads: counts `ok` (200), `failed` (500) and `refused` (all others), and `p50`, `p95` of the seconds
# that answers with 200 took, by `latency.percentile(seconds, 50)` and 95 (`None` while there are none).

# %% answer="endpoint"
class Endpoint:
    """read: bytes -> texts; bucket: has take(); queue: has put(texts) -> future; clock: () -> s.

    Example: a body that read refuses with Problem(400, "not_json", "no") gives
    (400, {"error": {"code": "not_json", "message": "no"}}, None); then metrics() is
    {"ok": 0, "refused": 1, "failed": 0, "p50": None, "p95": None}.
    """
    def __init__(self, read, bucket, queue, clock):
        ### BEGIN SOLUTION
        self.read, self.bucket, self.queue, self.clock = read, bucket, queue, clock
        self.statuses, self.seconds = Counter(), []
        ### END SOLUTION

    async def answer(self, body):
        ### BEGIN SOLUTION
        started, wait = self.clock(), self.bucket.take()
        try:
            if wait > 0:
                raise requests.Problem(429, "too_many_requests", "you ask too often", math.ceil(wait))
            rows = await self.queue.put(self.read(body))
            response = 200, {"predictions": np.asarray(rows).tolist()}, None
            self.seconds.append(self.clock() - started)
        except requests.Problem as problem:
            error = {"code": problem.code, "message": problem.message}
            response = problem.status, {"error": error}, problem.retry_after
        except Exception:
            response = 500, {"error": {"code": "internal", "message": "the model failed on these texts"}}, None
        self.statuses[response[0]] += 1
        return response
        ### END SOLUTION

    def metrics(self):
        ### BEGIN SOLUTION
        ok, failed = self.statuses[200], self.statuses[500]
        p50, p95 = (latency.percentile(self.seconds, p) if self.seconds else None for p in (50, 95))
        return {"ok": ok, "refused": self.statuses.total() - ok - failed, "failed": failed, "p50": p50, "p95": p95}
        ### END SOLUTION

# %% locked="try_endpoint"
limits = {"most_bytes": 262_144, "most_texts": 8, "most_characters": 2000}

async def try_endpoint(*bodies):  # all other parts are the library's
    clock, read = asyncio.get_running_loop().time, functools.partial(requests.read_texts, **limits)
    queue = batching.RequestQueue(max_batch=2, max_wait=0.1, max_queue=4)
    tried = Endpoint(read, keys.TokenBucket(rate=1, capacity=4, clock=clock), queue, clock)
    worker = asyncio.create_task(batching.answer_batches(queue, lengths))
    answers = await asyncio.gather(*map(tried.answer, bodies))
    queue.close()
    await worker
    return answers, tried.metrics()

# %%
simulated.run(try_endpoint(b'{"texts": ["a", "bb"]}', b"{", b'{"texts": ["ccc"]}', b'{"texts": []}', b"{"))

# %% check="endpoint" points=3
answers, told = simulated.run(try_endpoint(b'{"texts": ["a", "bb"]}', b"{", b'{"texts": ["dddd"]}', b"{", b"{"))
assert answers[0] == (200, {"predictions": [1.0, 0.5]}, None)
assert [status for status, _, _ in answers] == [200, 400, 200, 400, 429] and answers[4][2] == 1
assert told["ok"] == 2 and told["refused"] == 3 and told["failed"] == 0 and 1 <= told["p50"] <= told["p95"]

# %% [markdown]
# <details><summary>Hint 1</summary>One <code>try</code> with two <code>except</code> branches gives all statuses: raise a
# <code>Problem</code> yourself for 429. <code>except Exception</code> does not catch a cancellation, and it should not.</details>
# <details><summary>Hint 2</summary><code>rows = await self.queue.put(self.read(body))</code>, then
# <code>np.asarray(rows).tolist()</code> and <code>self.clock() - started</code>. Count the status at the end, for all branches:
# <code>self.statuses[status] += 1</code> with a <code>Counter</code>.</details>

# %% [markdown]
# **Your endpoint with your model.** `small_app` puts it behind HTTP. The model computes in a thread beside, so that the loop stays
# free for new requests. If a part of yours does not work yet, put the library's in its place: `requests.read_texts`,
# `keys.TokenBucket`, `batching.RequestQueue`, `batching.answer_batches`.

# %%
small_engine = files.load_engine(path)

async def predict(batch_of_texts):
    return await asyncio.to_thread(small_engine.predict, batch_of_texts)

own_queue = RequestQueue(max_batch=8, max_wait=0.01, max_queue=32)
own_read, own_bucket = functools.partial(read_texts, **limits), TokenBucket(500, 500, time.monotonic)
own_endpoint = Endpoint(own_read, own_bucket, own_queue, time.monotonic)
app = small_app.small_app(own_endpoint, lambda: answer_batches(own_queue, predict), own_queue.close)

# %%
seconds = by_scale(tiny=0.5, cpu=3.0, gpu=3.0)
with process.in_thread(app) as address:
    for body in ({"texts": texts[:2]}, {"texts": "no list"}, {"texts": ["x" * 3000]}):
        answer = httpx2.post(f"{address}/predict", json=body, trust_env=False)
        print(answer.status_code, answer.text[:90])
    own = load.closed_loop(address, texts, users=8, seconds=seconds).summary()
    print(httpx2.get(f"{address}/metrics", trust_env=False).json())
print(f"your endpoint: {own['accepted_per_second']:.0f} requests a second, p95 {own['p95_ms']:.0f} ms")

# %% [markdown]
# From here on the lab uses the library's service, which is built of the same parts (`leaplm.serve`: `requests`, `keys`, `batching`,
# `app`), with keys, a log, and a limit on time.

# %% [markdown]
# ### Open task · A better policy (no points)
#
# Which request goes next, and how long does the first one wait? This is a **policy**, and yours is one of many. Change
# `RequestQueue` (or `answer_batches`) in a way of your own choice: no wait while the model is idle and little comes; a wait that
# adapts to the rate at which requests come; short texts or important callers first; under overload the newest first, or a `Problem`
# for those who have waited too long (*shedding by age*).
#
# Measure it in simulated time, at three loads, with the same random arrivals. The model of this simulation takes 20 ms a batch and 5 ms
# a text, so it can answer at most 133 a second in batches of 8. Keep `max_batch=8` and `max_queue=32`: change the
# rule, not these numbers. **To beat:** a `p95_ms` of 54 at 30 requests a second and of 299 at
# 300, while 133 a second are still answered at 300, and at 100 nobody is refused and `p95_ms` stays at 110 or less. Say also who pays
# for it: the worst case, or who is refused.

# %%
def under_load(make_queue, work=batching.answer_batches):
    results = {rate: simulated.open_loop(make_queue, work, rate).summary() for rate in (30, 100, 300)}
    return pd.DataFrame(results).T[["requests", "accepted", "shed", "p50_ms", "p95_ms", "accepted_per_second"]]

under_load(lambda: batching.RequestQueue(max_batch=8, max_wait=0.01, max_queue=32)).round(1)  # yours in its place

# %% [markdown]
# ## 10. Too many at once
#
# How many requests a second can the service answer? Let 8 users ask, each as soon as the last answer is there
# (**closed loop**). This is its **capacity**.

# %%
seconds = by_scale(tiny=0.5, cpu=6.0, gpu=6.0)
small_engine = None  # the other service has a process of its own
full = load.closed_loop(service.address, texts, users=8, seconds=seconds, key=key).summary()
capacity = full["accepted_per_second"]
print(f"capacity about {capacity:.0f} requests a second; p50 {full['p50_ms']:.0f} ms, p95 {full['p95_ms']:.0f} ms")

# %% [markdown]
# On Monday morning people do not wait for each other: they send, whatever the service does (**open loop**).
# **Predict first:** three times as many requests come as it can answer. What happens to the waiting time after one
# minute, if the service takes them all?
#
# Yours does not take them all. Its queue holds 32 texts. When it is full, a request is turned away at once with *503, try
# again in 2 seconds*. This is **load shedding**: a clear no now is better than an answer after the person has left.

# %%
rows, before = [], service.memory_mb()
for times in by_scale(tiny=(3,), cpu=(0.3, 0.6, 0.9, 1.5, 3), gpu=(0.3, 0.6, 0.9, 1.5, 3)):
    result = load.open_loop(service.address, texts, times * capacity, seconds, key)
    rows.append({"times capacity": times, **result.summary()})
flood = pd.DataFrame(rows).set_index("times capacity")
print(f"memory of the service: {before:.0f} MB before, {service.memory_mb():.0f} MB after")
flood.round(1)

# %%
plots.plot_load(flood);

# %% [markdown]
# Read it from the left. Up to the capacity nearly nobody is turned away. Beyond it, the share of refused requests grows, but
# who is accepted waits no longer than a full queue takes, and nothing breaks: no error, no dropped connection. The
# client and the service share this machine's cores, so the numbers are lower than on a server of their own.
#
# ## 11. Who wakes you up?
#
# The service counts what it does, and **Prometheus**, a program that collects such numbers, reads them from `/metrics`.
# Counters only grow; after a restart they begin at 0 again.

# %%
lines = client.get("/metrics").text.splitlines()
print("\n".join(line for line in lines if line.startswith(("leaplm_requests_total", "leaplm_shed", "leaplm_predictions"))))

# %% [markdown]
# An **alert** is a rule on these numbers. This one is in `alerts.yml`, beside the service:
#
# ```
# expr: sum(rate(leaplm_shed_total{reason!="rate_limit"}[5m])) / sum(rate(leaplm_requests_total[5m])) > 0.05
# for: 2m
# ```
#
# *More than 5 % of the requests of the last 5 minutes were turned away, and this for 2 minutes.* One bad moment wakes
# nobody. (Who is turned away by the limit of their own key does not count: the service is not full then.)

# %% [markdown]
# The **window** (5 minutes there, one minute below) says over which time a counter's growth is taken, `for` how long the share must stay above. A counter
# below its last value has restarted: it grew by the new value. `metrics.alert_fires` does this on two lists of samples.

# %%
# Ten minutes, one sample every 15 s, 10 requests a second; from minute 3 to 6 a third of them is turned away.
t = np.arange(0, 600, 15)
asked, refused = 10 * t, np.clip(t - 180, 0, 180) * 10 // 3
fires = metrics.alert_fires(t, asked, refused, window=60, share=0.05, hold=120)
print("fires from", t[np.flatnonzero(fires)[0]] / 60, "to", t[np.flatnonzero(fires)[-1]] / 60, "minutes")

# %% [markdown]
# It is late at both ends: two minutes until it fires, and as long as the window until it is silent. That is the price for not being
# woken by one bad moment.

# %% [markdown]
# ## 12. Two copies
#
# When one process is not enough, run two, and share the requests between them. **Ray Serve** does this on one machine or on
# fifty, and starts and stops copies as the load changes (*autoscaling*). It runs the same app as `leaplm serve`. It is a
# large package, so it is not part of the course's set-up: `pip install "leaplm[scale]"`, then set `WITH_RAY = True`.

# %%
WITH_RAY = False
if WITH_RAY and importlib.util.find_spec("ray"):
    from leaplm.serve import ray_app
    with ray_app.running(path, min_replicas=2, max_replicas=2) as address:
        result = load.closed_loop(address, texts, users=8, seconds=5)
        print(result.summary(), "replicas:", ray_app.replicas_seen(address))

# %% [markdown]
# What to expect: on a machine with two cores, two copies with one core each are about as fast as one copy with both. The
# gain comes with more cores or more machines; and when one copy crashes, the other still answers.

# %%
stack.close()  # ends the service: it answers what it has accepted, then stops
if LANGUAGE == "eng":
    print("the service has ended:", service.address)

# %% [markdown]
# ### Exercise 9 · A decision and a runbook (20 minutes, 4 points, read by your teacher)
#
# The clinic in Kisumu has a computer with 2 cores and 4 GB of memory, pays for each megabyte of download, and expects 200
# messages in the busiest minute. Choose one version from your table and say why, with its four costs. Say at which load your
# service would turn people away, and how you know. Then write the five lines that the person on duty reads when the alert
# of section 11 fires: what it means, what to look at first, what to do.

# %% [markdown] manual="decision" points=4
# ### BEGIN SOLUTION
# **Marking guide.** 1 point: a version with its numbers for size, time, memory and accuracy, and the interval when it claims
# that one version is as good as another. 1 point: compares the load (200 a minute is 3.3 a second) with the measured
# capacity, and says that the measurement was on another machine. 1 point: says what happens above it (refused with 503
# and Retry-After, waiting time bounded by the queue), not "it crashes". 1 point: a runbook that begins with what the alert
# means, names a metric or log field to look at, and gives an action that fits (find the key that floods and limit it, serve
# a smaller version, start a second copy).
#
# **A good answer, in short.** I take the student in ONNX with 8 bits: 11 MB, a few milliseconds, 89 MB of memory in a
# program of its own without PyTorch (behind `leaplm serve`, which loads PyTorch, over 600), and its accuracy against the
# full model, text by text, has an interval that holds 0. The capacity here was over 50 requests a second; 3.3 a second are
# far below it, so even a machine five times slower is enough. *Runbook:* 1. More than 5 % of requests were refused for 2
# minutes because the queue was full. 2. Look at `leaplm_requests_total`: did the requests grow, or did the answers get slower?
# 3. The log names keys: if one key sends most, give it a limit per minute. 4. If all grew, start a second copy.
# 5. Tell the clinic: refused messages must be sent again; none was lost silently.
# ### END SOLUTION

# %% [markdown]
# ## What to take away

# %%
table[["MB", "ms, p50", "texts/s", "accuracy", "low", "high"]].round(3)

# %%
main = calibration.load_record("lab8_serving", "main")
shown = {"majority_macro_f1": "majority", "tfidf_macro_f1": "TF-IDF", "teacher_macro_f1": "teacher (91 MB)",
         "student_macro_f1": "student", "heldout_macro_f1": "student, 8-bit file", "megabytes": "MB of the file"}
summary = main.rename(columns=shown).groupby("language", sort=False)[list(shown.values())].agg(["mean", "std"])
summary.rename(index=data.NAMES).round(3)

# %% [markdown]
# (Macro-F1 on held-out texts, 5 students of 3 teachers a language.) In English the student costs 1.6 points of accuracy
# against its teacher, which five seeds do not decide (interval −4.2 to +1.0); the 8-bit file costs nothing more (−0.6 to
# +0.6). Look at Hausa and Swahili: there TF-IDF, which needs no network at all, is as good. Then it is the smallest model of all.
# `leaplm serve` serves it too, without PyTorch, from a file that `small_machines.save_predictor` writes (lab 16).
#
# 1. Fewer layers make a model small *and* fast, fewer words make it small. Weights of 8 bits, and of 4 bits in groups, cost
#    less than can be seen here; PyTorch's arithmetic of 8 bits (activations too, one scale a matrix) costs about a point.
#    Zeros alone bring nothing, until software or hardware uses them.
# 2. Compare versions in turns, with percentiles, and with the interval of the accuracy: many differences are noise.
# 3. A service is good when it is good at saying no: keys, limits, a bounded queue, clear errors, and an alert for a person. Its
#    parts are small, and each can be tested without waiting when its clock comes from outside.
#
# **Sources.** Han et al., 2015, *Learning both weights and connections* (pruning) · Jacob et al., 2018, *Quantization and
# training of neural networks for efficient integer-arithmetic-only inference* · Hinton et al., 2015, *Distilling the knowledge in a
# neural network* · Sanh et al., 2019, *DistilBERT* · Abdaoui et al., 2020, *Load what you need* (smaller vocabularies) ·
# Dean & Barroso, 2013, *The tail at scale* (percentiles) · Beyer et al., 2016, *Site Reliability Engineering*, chapters 6
# and 21 (alerts, load shedding) · the manuals of ONNX Runtime, FastAPI, Prometheus and Ray Serve ·
# Hutto & Gilbert, 2014 (the English ratings) · Muhammad et al., 2023, *AfriSenti* (the tweets).
