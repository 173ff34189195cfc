# %% [markdown]
# # Lab 6 · Fighting overfitting and fitting the hardware
#
# | | |
# |---|---|
# | **You come from** | Lab 2 (fine-tuning). Lab 3 (LoRA) helps, but is not needed |
# | **You will be able to** | train on 100 examples and say with numbers which remedy against overfitting helps; make the memory of an update smaller without changing the result; write a training loop that a power cut does not harm |
# | **Time** | about 3 hours of work; the computer needs about 2 minutes of it |
# | **Needs** | 2 cores, 1.6 GB of memory, 86 MB of downloads (once). No GPU |
# | **Points** | 30: seven exercises and your classifier, checked by the computer (26), and one answer read by your teacher (4) |
#
# A clinic in Kisumu asks its patients for a short message after each visit. A nurse has read 100 messages in one evening
# and marked what is praise and what is a complaint. Nobody will pay for more. The computer of the clinic has two cores
# and 8 GB of memory, and other programs need most of that.
#
# Three questions, then. **Part 1:** a model with millions of weights learns 100 messages by heart. What helps against
# that, and what only seems to? **Part 2:** what fills the memory, and how do we train in less of it? **Part 3:** the power
# goes off. What is lost? In parts 2 and 3 you build, in five steps, a training loop for such a computer.

# %%
# On Colab, or wherever the course is not installed yet. Safe to run again; leaves torch and numpy alone.
import importlib.util
import os
if importlib.util.find_spec("leaplm") is None:
    source = os.environ.get("LEAPLM_SOURCE", "git+https://github.com/leaplm/leaplm")  # or a folder, a wheel, a mirror
    get_ipython().run_line_magic("pip", f'install -q "leaplm[labs] @ {source}"')
get_ipython().run_line_magic("load_ext", "leaplm.learner")  # marks and hints below each check, and your progress

# %% locked="setup"
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from scipy import stats

from leaplm import artifacts, assets, calibration, data, evaluation, fewshot, marking, models
from leaplm import plots, runtime, training
from leaplm.overfitting import data_parallel, memory, regularization, resumable
from leaplm.peft import lora
from leaplm.identity import student_seed
from leaplm.locales import say_drawn
from leaplm.runtime import by_scale

assets.fetch(["minilm", "vader"])  # downloads only what is not here yet
runtime.set_seed(0)
SEED = student_seed()  # of your own training runs
runtime.describe_runtime()

# %% [markdown]
# The next cell holds **the only setting of this lab**: `"eng"`, then `"hau"`, `"swa"` or another language of the
# AfriSenti tweets, or your own file with a first line `text,label`: `LANGUAGE = "my_sentences.csv"`.

# %%
LANGUAGE = "eng"
marking.describe_language("lab6_overfitting", LANGUAGE)

# %% [markdown]
# # Part 1 · 100 examples
#
# ## 1. See it happen
#
# 100 labelled texts to train on, and 100 more to take decisions on (validation). Test texts are for the end. We have no
# messages of a clinic. In English we take sentences from film reviews (lab 2) in their place.

# %% locked="load"
sentences = data.load_sentiment(LANGUAGE)
names = sentences["train"].features["label"].names
both_sets = data.subsample(sentences["train"], by_scale(tiny=24, cpu=200, gpu=200))
train_set, validation_set = data.halves(both_sets)
test_set = data.subsample(sentences["test"], by_scale(tiny=24, cpu=300, gpu=1000))
test_labels = np.array(test_set["label"])
english = LANGUAGE == "eng"
comparable = english and runtime.scale() != "tiny"  # can your run be put beside the record?
print(f"classes: {names} · {len(train_set)} training, {len(validation_set)} validation, {len(test_set)} test texts")

# %% locked="rows"
tokenizer = models.load_tokenizer("minilm")
collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
train_rows = regularization.with_texts(data.tokenize(train_set, tokenizer), train_set)
validation_rows = data.tokenize(validation_set, tokenizer)
test_rows = data.tokenize(test_set, tokenizer)

# %% [markdown]
# First the programs to beat: always the most frequent class; TF-IDF with logistic regression; and a logistic regression
# on the vectors of the frozen encoder (lab 5), which has only 385 numbers a class to learn.

# %% locked="baselines"
majority_predictions = evaluation.majority_baseline(train_set["label"], test_labels)
tfidf_predictions = evaluation.tfidf_baseline(train_set, test_set, "words" if english else "characters")
encoder = models.load_encoder("minilm")
vectors = fewshot.embed(encoder, tokenizer, train_set["text"])
weight, bias = fewshot.fit_head(vectors, train_set["label"])
frozen_predictions = (fewshot.embed(encoder, tokenizer, test_set["text"]) @ weight.T + bias).argmax(1)
encoder = None
baselines = {"majority class": majority_predictions, "TF-IDF": tfidf_predictions,
             "frozen encoder + head": frozen_predictions}
for name, predictions in baselines.items():
    low, high = evaluation.bootstrap_interval(test_labels, predictions)
    print(f"{name:>21}: accuracy {evaluation.accuracy(test_labels, predictions):.3f} "
          f"(95 % interval {low:.2f} to {high:.2f}), macro-F1 {evaluation.macro_f1(test_labels, predictions):.3f}")

# %% [markdown]
# Now the encoder is trained, with **no remedy at all**: no dropout, no weight decay, five times through the 100 texts in
# batches of 8. (Word embeddings are frozen in English, as in lab 2; in other languages they learn, ten times faster, and
# training takes eight epochs.)
#
# One function makes every run of this lab. A **recipe** says what is different from the run without remedy.

# %% locked="fine_tune"
def fine_tune(recipe, evaluate=None, seed=0, rows=None):
    """Train MiniLM on the training texts, or on other `rows`; returns the model and its History."""
    runtime.set_seed(seed)
    model = models.load_sequence_classifier(names, freeze="embeddings" if english else None)
    if recipe.get("lora"):
        lora.inject_lora(model)
        model.get_input_embeddings().requires_grad_(not english)
    model = regularization.set_dropout(model, recipe.get("dropout", 0.0)).to(runtime.get_device())
    config = training.TrainingConfig(
        learning_rate=(1e-3 if english else 3e-3) if recipe.get("lora") else 1e-4,
        embedding_learning_rate=None if english else 1e-3, seed=seed,
        batch_size=8, epochs=1 if runtime.scale() == "tiny" else 5 if english else 8,
        weight_decay=recipe.get("weight_decay", 0.0), patience=recipe.get("patience"))
    rate, epsilon = recipe.get("delete", 0.0), recipe.get("epsilon", 0.0)
    collator = regularization.AugmentingCollator(tokenizer, collate, rate) if rate else collate
    loss = regularization.adversarial_loss(epsilon) if epsilon else training.classification_loss
    return model, training.train(model, rows or train_rows, collator, config, evaluate, loss)

# %% [markdown]
# **Predict first.** After five epochs: the accuracy on the 100 training texts? On the test texts? And what does the loss
# on the validation texts do: does it fall, stay, or rise?

# %%
my_train_accuracy, my_test_accuracy = 0.0, 0.0

# %% locked="plain"
last = {}
def look(model):
    scores = evaluation.evaluate(model, validation_rows, collate)
    last.update(test=evaluation.predict_logits(model, test_rows, collate),  # of the last epoch, in the end
                validation=evaluation.predict_logits(model, validation_rows, collate),
                train=evaluation.evaluate(model, train_rows, collate))
    return scores

model, plain = fine_tune({}, look)
plots.plot_history(plain, title="No remedy: 100 texts learned by heart");

# %% locked="gap"
plain_predictions = last["test"].argmax(-1)
plain_accuracy = evaluation.accuracy(test_labels, plain_predictions)
print(f"after the last epoch: accuracy {last['train']['accuracy']:.3f} on the training texts, "
      f"{plain_accuracy:.3f} on the test texts (you predicted {my_train_accuracy} and {my_test_accuracy}): "
      f"a gap of {last['train']['accuracy'] - plain_accuracy:.3f}")
print(f"loss {last['train']['loss']:.3f} nats per text on the training texts, "
      f"{plain.validation[-1]['loss']:.3f} on validation")

# %% [markdown]
# The training loss goes to 0: every text is known by heart. The validation loss falls first and then rises: the model
# becomes more and more **sure**, also where it is wrong. The difference between the two curves is **overfitting**.
#
# Look closely: the loss on new texts gets worse, but the *accuracy* on them does not have to. A wrong answer with
# probability 0.99 costs more than one with 0.6, and both are one error. Which of the two matters to you?
#
# ### The cheapest remedy for being too sure
#
# If only the loss is wrong and not the answers, one number repairs it: divide all class scores by a **temperature** $T$
# before the softmax. The largest stays the largest, so no answer and no accuracy changes; with $T > 1$ the model is less
# sure. The validation texts choose $T$ (Guo et al., 2017):

# %% locked="temperature"
def test_loss(temperature=1.0):
    return -evaluation.log_softmax(last["test"] / temperature)[np.arange(len(test_labels)), test_labels].mean()

temperature = regularization.fit_temperature(last["validation"], validation_set["label"])
print(f"temperature {temperature:.1f}: test loss {test_loss():.3f} before, {test_loss(temperature):.3f} after, same answers")

# %% [markdown]
# Keep this in mind: a remedy that is praised for a lower *loss* must beat this one, which costs no training at all.
#
# ## 2. More texts from the same texts
#
# If a text looks a little different each time, it cannot be learned by heart word for word. This is **augmentation**.
# The cheapest kind leaves out words at random, anew in each epoch.

# %% [markdown]
# ### Exercise 1 · Delete words (10 minutes, 3 points)
#
# Write `delete_words`, which leaves out each word with probability `rate`, and never gives back an empty text.

# %% answer="delete_words"
def delete_words(words, rate):
    """A copy of the list `words` in which each is left out with probability `rate`, in the old order.

    Every word has its own chance, drawn anew at each call. If all words would go, one of them, drawn
    at random, stays. Example: delete_words(["not", "a", "bad", "film"], 0.25) can give
    ["not", "bad", "film"]; with rate 0.0 it gives all four.
    """
    ### BEGIN SOLUTION
    keep = torch.rand(len(words)) >= rate
    if not keep.any():
        keep[torch.randint(len(words), ())] = True
    return [word for word, stays in zip(words, keep.tolist(), strict=True) if stays]
    ### END SOLUTION

# %%
# Try it. You should see mostly different texts, most of them with one to three words less.
message = "the nurse was not friendly but she helped me"
for _ in range(5):
    print(" ".join(delete_words(message.split(), 0.2)))

# %% check="delete_words" points=3
assert delete_words(["not", "a", "bad", "film"], 0.0) == ["not", "a", "bad", "film"]
assert all(len(delete_words(["good", "visit"], 0.99)) >= 1 for _ in range(50))
many = delete_words([str(i) for i in range(1000)], 0.3)
assert 600 < len(many) < 800 and [int(word) for word in many] == sorted(int(word) for word in many)

# %% [markdown]
# <details><summary>Hint 1</summary><code>torch.rand(n)</code> gives n numbers between 0 and 1, one for each word. How
# many of them are below <code>rate</code>?</details>
# <details><summary>Hint 2</summary><code>keep = torch.rand(len(words)) &gt;= rate</code>. If no element of
# <code>keep</code> is true, set one at <code>torch.randint(len(words), ())</code> to true.</details>

# %% [markdown]
# **Does the label survive?** "the nurse was friendly but she helped me" is no complaint any more: *not* is gone. Every
# augmentation makes some wrong labels. That is its price, and the reason to delete 20 % of the words and not 60 %.
#
# ## 3. Stop in time
#
# The validation loss tells when to stop: keep the weights of the best epoch, and end the training when `patience` epochs
# in a row were not better than the best one. Only a smaller loss is better. (You write this in exercise 5.)

# %%
from leaplm.drawings import show_drawing

show_drawing("lab6_overfitting")

# %%
losses = [row["loss"] for row in plain.validation]
keep, run = regularization.early_stopping(losses, patience=2)
print(f"validation losses: {np.round(losses, 3)} -> keep epoch {keep} of {run} that are run")

# %% [markdown]
# Our training function always keeps the weights of the best epoch when it gets a validation set. So the model in memory
# is the early-stopped one already, and the numbers above were those of the last epoch:

# %% locked="stopped"
stopped_predictions = evaluation.predict_logits(model, test_rows, collate).argmax(-1)
stopped_accuracy = evaluation.accuracy(test_labels, stopped_predictions)
print(f"test accuracy: last epoch {plain_accuracy:.3f}, epoch with the best validation loss {stopped_accuracy:.3f}")
model = None
runtime.free_memory()

# %% [markdown]
# One thing is often forgotten: **early stopping needs labels too.** With 200 labels, is it better to train on 100 and
# stop by the other 100, or to train on all 200 and stop nowhere? The record in section 7 has both rows.
#
# ## 4. Noise inside, and small weights
#
# **Dropout** sets a random part of the numbers between the layers to 0 in each step, so that no detail of a text can be
# relied on. MiniLM was trained with a rate of 0.1; we try 0.3.
#
# **Weight decay** makes all weights a little smaller in each step: $w \leftarrow w - \eta\,\lambda\,w$. How much is that
# in a short training? All steps together shrink the weights by the factor $1 - \lambda \sum_t \eta_t$:

# %%
total = sum(row["learning_rate"] for row in plain.train)
for decay in (0.01, 0.1, 10):
    print(f"weight decay {decay:>5}: after {len(plain.train)} steps the weights are {decay * total:.4%} smaller")

# %% [markdown]
# With the usual 0.01 nothing happens that anyone could measure. Weight decay is made for trainings of a million steps. To
# give it a chance, the record uses 10. (It also pulls towards 0, and not back to the pretrained weights.)
#
# ## 5. Train against an enemy
#
# Move each text's word vectors a little, in the direction that raises the loss most, and train on both: the text as it is
# and the moved one. This is **adversarial training**. The direction is that of the gradient
# $g_b = \partial\ell / \partial E_b$ by the word vectors $E_b$ ($T \times 384$) of text $b$ (*fast gradient method*):
#
# $$r_b = \varepsilon\,\frac{g_b}{\lVert g_b\rVert_2} \qquad \lVert g_b\rVert_2 = \sqrt{\textstyle\sum_{t,i} g_{b,t,i}^2}$$
#
# The norm is that of all numbers of one text: each text is moved by the length $\varepsilon$, whatever its gradient's size.
# The weights stay as they are; only what the encoder sees is moved. A word vector of MiniLM has a length of about 1.1, and
# we use $\varepsilon = 0.1$ for a whole text.

# %%
gradient = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])  # two texts of two tokens; no gradient, no step
print(regularization.fgm_perturbation(gradient, epsilon=1.0))

# %% [markdown]
# Is the direction of the gradient worse than any other? Move the vectors of 16 validation texts by the same length, once
# along the gradient and once at random, and look at the loss:

# %% locked="directions"
runtime.set_seed(0)
probe = models.load_sequence_classifier(names).eval()
fewshot.put_head(probe, weight, bias)  # the baseline's head: it has learned something
batch = collate(validation_rows[:16])
vectors = []
words = probe.get_input_embeddings()
with regularization.hooked(words, lambda v: vectors.append(v.detach().requires_grad_()) or vectors[-1]):
    clean = probe(**batch).loss
[gradient] = torch.autograd.grad(clean, vectors)
for epsilon in (0.1, 0.3, 1.0):
    print(f"epsilon {epsilon}: loss {clean.item():.3f} before", end="")
    for name, direction in (("along the gradient", gradient), ("at random", torch.randn_like(gradient))):
        step = regularization.fgm_perturbation(direction, epsilon)
        with torch.no_grad(), regularization.hooked(words, lambda v, step=step: v + step):
            print(f", {probe(**batch).loss.item():.3f} {name}", end="")
    print()
probe = None

# %% [markdown]
# ## 6. Fewer numbers, or more models
#
# **LoRA** (lab 3) trains 0.1 million numbers instead of 10.6 million; the frozen encoder with a head trains 770. A model
# that can change little can overfit less, and learn less. (LoRA needs a larger learning rate: here 0.001.)
#
# An **ensemble** trains several models on the same 100 texts, which differ in the random head and the order of the texts,
# and takes the mean of their probabilities. Their errors are partly different. Its price is plain: three models are three
# times the training, three times the time of each answer, and three times the disk.

# %%
three = [[[2.0, 0.0]], [[-0.5, 0.0]], [[-0.4, 0.0]]]  # (members, texts, classes): one is sure, two say the other class
print("mean of the probabilities:", regularization.ensemble_probabilities(three).round(2))

# %% [markdown]
# ## 7. An honest comparison
#
# **Predict first.** The rows: early stopping · weight decay · dropout · words deleted · adversarial (FGM) · LoRA · ensemble of
# 3 · 200 labels, none for validation · frozen encoder + head · TF-IDF words · TF-IDF characters. Which three are the best in
# English? Which is no better than no remedy?

# %%
my_best_three = ["", "", ""]  # names of three rows

# %% locked="record"
record = calibration.load_record("lab6_overfitting", "remedies", language="eng")
live = {"no remedy": plain_accuracy, "early stopping": stopped_accuracy} if comparable else None
bars = calibration.summarize(record, "remedy", "accuracy")
title = f"English, 100 labelled texts, one change a row ({bars.seeds.min()} seeds)"
plots.plot_bars(bars, title, live=live);

# %%
best_three = bars.set_index("remedy")["mean"].nlargest(3).index
print("best in the record:", ", ".join(map(say_drawn, best_three)), "· you predicted:", my_best_three)

# %% [markdown]
# The deviations are as large as the differences. But most of the deviation has one cause: a seed draws *which* 100 texts
# we have, and that moves all rows of the seed together. So compare **within** a seed: the difference of two rows that
# saw the same texts.

# %% [markdown]
# ### Exercise 2 · The paired difference (10 minutes, 3 points)
#
# Write `paired_difference`: the mean over seeds of (second − first), and the 95 % t-interval of that mean.
#
# $$\bar d \pm t_{0.975,\,n-1}\,\frac{s_d}{\sqrt{n}} \qquad d_i = \text{second}_i - \text{first}_i,\quad s_d \text{ divides by } n-1$$

# %% answer="paired_difference"
def paired_difference(first, second):
    """first, second (n,): scores of two methods; entry i of both comes from the same texts.

    They are lists, arrays or tensors; `np.asarray` makes them equal.

    Returns a dict with mean, low and high as Python floats. `stats.t.ppf(0.975, n - 1)` is t.
    Example: first [0.70, 0.80, 0.75], second [0.72, 0.83, 0.76] give mean 0.02, low -0.005, high 0.045.
    """
    ### BEGIN SOLUTION
    differences = np.asarray(second) - np.asarray(first)
    n, mean = len(differences), differences.mean()
    half = stats.t.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    return {"mean": float(mean), "low": float(mean - half), "high": float(mean + half)}
    ### END SOLUTION

# %%
# Try it: the spread of each row is large, that of the difference is small.
print(paired_difference(np.array([0.60, 0.70, 0.80]), np.array([0.63, 0.72, 0.83])))

# %% check="paired_difference" points=3
found = paired_difference(torch.tensor([0.70, 0.80, 0.75]), torch.tensor([0.72, 0.83, 0.76]))
assert np.allclose([found["mean"], found["low"], found["high"]], [0.02, -0.0048, 0.0448], atol=1e-3)

# %% [markdown]
# <details><summary>Hint 1</summary>First make the differences, one a seed. Everything else works on them.</details>
# <details><summary>Hint 2</summary><code>differences.std(ddof=1)</code> in NumPy divides by n − 1. Half the interval is
# <code>stats.t.ppf(0.975, n - 1) * s / np.sqrt(n)</code>.</details>

# %% locked="differences"
by_remedy = record.pivot(index="seed", columns="remedy", values=["accuracy", "loss"])
rows = []
for remedy in record.remedy.unique():
    if remedy not in ("no remedy", "majority class"):
        pairs = by_remedy["accuracy"][["no remedy", remedy]].dropna().to_numpy()
        rows.append({"remedy": remedy, **evaluation.paired_difference(*pairs.T), "loss": by_remedy["loss"][remedy].mean(),
                     "seconds": record[record.remedy == remedy].seconds.mean()})
differences = pd.DataFrame(rows).set_index("remedy")
title = f"Against no remedy, seed by seed (95 % interval, {len(by_remedy.dropna())} seeds)"
plots.plot_intervals(differences, title, "gain in accuracy");

# %% [markdown]
# An interval that contains 0 does not decide: with five seeds we cannot say that the remedy helps, nor that it does not. Two
# more cautions.
#
# * **How small a gain could five seeds show?** Half the interval is $t\,s_d/\sqrt{n}$, with $t = 2.8$ for five seeds and
#   2.1 for twenty. Whoever looks for a gain of 2 points needs an interval of less than 2 points on each side.
# * **Eleven intervals are eleven chances to be wrong.** If no remedy did anything, one of eleven 95 % intervals would miss 0
#   in up to 43 % of such studies ($1 - 0.95^{11}$). Intervals of level $1 - 0.05 / 11$ (Bonferroni) keep this below 5 %
#   for all together.

# %% locked="power"
scores = by_remedy["accuracy"].dropna()
several = {name: evaluation.paired_difference(scores["no remedy"], scores[name], level=1 - 0.05 / len(differences))
           for name in differences.index}
differences["sure of all"] = [one["low"] > 0 or one["high"] < 0 for one in several.values()]
spread = scores.sub(scores["no remedy"], axis=0)[differences.index].std()
for seeds in (5, 20):
    halves = stats.t.ppf(0.975, seeds - 1) * spread / np.sqrt(seeds)
    print(f"{seeds} seeds: half an interval is {halves.median():.3f} for the middle remedy "
          f"({halves.min():.3f} to {halves.max():.3f})")

# %% [markdown]
# The test loss (nats per text) and the processor seconds of one training belong to the answer too:

# %%
differences.round(3)

# %% locked="verdict"
def listed(chosen):
    return ", ".join(map(say_drawn, differences.index[chosen])) or "–"
print("more accurate:", listed(differences.low > 0))
print("less accurate:", listed(differences.high < 0))
print("not decided by these seeds:", listed((differences.low <= 0) & (differences.high >= 0)))

# %% [markdown]
# Read it in three steps.
#
# * **Accuracy.** For most remedies the interval holds 0: a gain of two or three points, if there is one, cannot be shown
#   with five draws of 100 texts; twenty draws would make the intervals 2.6 times narrower. Papers that report one seed of such a comparison
#   report mostly luck. What is sure, also of all eleven together, is that the words alone (TF-IDF) are worse than no remedy.
#   Dropout (−3.9 points) is below no remedy by its own interval, but not when all eleven are judged together. And each remedy had one setting, which nobody tuned: another one may do better.
# * **Loss.** Without a remedy the test loss is 0.87; early stopping and LoRA have 0.57 and 0.58, dropout 0.63. But the
#   temperature of section 1 takes the *same model without any remedy* from 0.87 to 0.55 (five seeds, next cell), as
#   low as the best remedies, and no answer changes. So a lower loss is no reason for a remedy: if somebody acts on the
#   probabilities (*send to the nurse what is below 0.8*), fit a temperature. It needs validation texts, as early stopping
#   does.
# * **Price.** The frozen encoder with a head trains in 1 second, LoRA in 11, no remedy in 16; that one of them is more
#   accurate than another is not shown (LoRA against the frozen head: +0.7 points, interval −3.8 to +5.1). Early stopping
#   costs the labels of the validation texts. An ensemble of three costs three trainings and three times each answer;
#   adversarial training more than two trainings and nothing afterwards. Weight decay costs nothing, and what it brings, if
#   anything, is less than two points.

# %% locked="temperature_record"
record = calibration.load_record("lab6_overfitting", "temperature", language="eng")
record[["temperature", "before_loss", "loss", "before_accuracy", "accuracy"]].agg(["mean", "std"]).round(3)

# %% [markdown]
# ## 8. Your recipe
#
# Choose what goes into your own model. Possible entries: `"delete"`: share of words deleted · `"epsilon"`: length of the
# adversarial step · `"dropout"` · `"weight_decay"` · `"patience"` (epochs) · `"lora"`: True. You hand in this model.

# %%
RECIPE = {"delete": 0.2}

# %% locked="recipe"
def validate(model):
    return evaluation.evaluate(model, validation_rows, collate)

model, history = fine_tune(RECIPE, validate if RECIPE.get("patience") else None, SEED)
test_logits = evaluation.predict_logits(model, test_rows, collate)
predictions = test_logits.argmax(-1)
own_accuracy, own_f1 = evaluation.accuracy(test_labels, predictions), evaluation.macro_f1(test_labels, predictions)
low, high = evaluation.bootstrap_interval(test_labels, predictions)

# %%
print(f"{RECIPE}: test accuracy {own_accuracy:.3f} (95 % interval {low:.2f} to {high:.2f}), macro-F1 {own_f1:.3f}; "
      f"no remedy {plain_accuracy:.3f}")

# %% [markdown]
# The file that you hand in holds what training changed, and a card. It is tested on 600 texts that you never saw; the
# measure is macro-F1. Full points at the level of our own five runs (mean minus 3 to 5 standard deviations), half if it is
# clearly better than guessing. The rule is **at most 100 labelled texts for training**.

# %% locked="save"
reference = models.load_sequence_classifier(names)
card = {"lab": "lab6_overfitting", "language": LANGUAGE, "labels": names, "scale": runtime.scale(), "seed": SEED,
        "examples": len(train_rows), "recipe": RECIPE, "test_accuracy": own_accuracy}
path = f"artifacts/few-labels-{runtime.scale()}.safetensors"
size = artifacts.save_artifact(path, lora.merge_model(model), reference, card)
model = reference = None
runtime.free_memory()
print(f"saved {path}: {size:.1f} MB")
marking.describe_aim("lab6_overfitting", LANGUAGE)

# %% check="few_label_classifier" points=6
card, tensors = artifacts.read_artifact(path)
assert card["language"] == LANGUAGE and card["examples"] <= 100
assert "classifier.weight" in tensors
print("Saved. Hand in this notebook together with its folder `artifacts`.")

# %% [markdown]
# ## 9. When the encoder does not know your language
#
# **Predict first:** 100 Hausa tweets, three classes. Is a fine-tuned English encoder better than TF-IDF?

# %% locked="other_languages"
record = calibration.load_record("lab6_overfitting", "other_languages")
for language, title in (("hau", "Hausa"), ("swa", "Swahili")):
    recipe = calibration.load_matching("lab6_overfitting", "main", language=language, recipe="words deleted")
    rows = pd.concat([record[record.language == language], recipe.assign(remedy="words deleted")])
    bars = calibration.summarize(rows, "remedy", "macro_f1")
    seeds = f"({bars.seeds.min()} to {bars.seeds.max()} seeds)"
    plots.plot_bars(bars, f"{title} tweets, 3 classes, 100 labels {seeds}", xlabel="macro-F1")

# %% [markdown]
# Compare the rows with the first one and with TF-IDF on characters before you believe in any of them. 100 tweets are few for
# an encoder that has never read the language: its vectors carry little of the meaning, so it takes more epochs (eight, with
# word vectors that learn) before anything is learned at all, and stopping early can then mean stopping at the most
# frequent class. That is what happens in two of three runs in Swahili, where six in ten tweets are neutral.
#
# # Part 2 · The memory of one update
#
# ## 10. Count it
#
# A process that has loaded Python, PyTorch and the other packages fills some hundred MB before there is any model:

# %%
print(f"this notebook: {memory.process_mb():.0f} MB, with the data and what part 1 has left in it")

# %% [markdown]
# What follows comes **on top of this**. One update keeps four things in memory, all in numbers of 4 bytes:
#
# | what | how many numbers | MiniLM, word embeddings frozen |
# |---|---|---|
# | weights | $N$ | 22.6 million |
# | gradients | $L$ (the weights that learn) | 10.6 million |
# | Adam | $2L$ (a mean of the gradient and one of its square) | 21.3 million |
# | **activations** | $16 \cdot B \cdot T \cdot h \cdot n$ | $B$ texts × $T$ tokens × width 384 × 6 layers × 16 |
#
# Activations are what the forward pass keeps for the backward pass. Why 16? In each layer ($n$ is their number) a token leaves
# 16 vectors of width $h$: four in the attention (how tokens look at each other), eight in the inner network (four times as
# wide, before and behind its bend), four in the sums and normalizations between. Lab 11 builds these parts. Only activations
# grow with the batch.

# %% [markdown]
# So the largest batch can be counted before anything runs: take what does not depend on the batch away from the memory, and
# divide the rest by the bytes of one text, rounded down. With 1 GB, and half of the weights frozen or not:

# %%
for learning in (10_600_000, 22_600_000):
    print(learning, memory.largest_batch(1_000_000_000, 22_600_000, learning, tokens=128, width=384, layers=6))

# %%
bars = pd.DataFrame({"weights": 4 * 22.6, "gradients": 4 * 10.6, "Adam": 8 * 10.6, "activations": [
    memory.activation_bytes(texts, 128, width=384, layers=6) / 1e6 for texts in (1, 8, 16, 32)]},
    index=["1 text", "8 texts", "16 texts", "32 texts"])
plots.plot_stacks(bars, "One update of MiniLM, texts of 128 tokens", "MB");

# %% [markdown]
# Is the formula right? PyTorch can tell us each tensor that it saves for the backward pass. Count them, and compare:

# %% locked="counted"
runtime.set_seed(0)
runtime.free_memory()
model = models.load_sequence_classifier(names, freeze="embeddings").to(runtime.get_device())
regularization.set_dropout(model, 0.0)
texts, tokens = by_scale(tiny=4, cpu=32, gpu=32), by_scale(tiny=8, cpu=64, gpu=64)
batch = {"input_ids": torch.randint(1000, 20000, (texts, tokens)), "labels": torch.arange(texts) % len(names),
         "attention_mask": torch.ones(texts, tokens, dtype=torch.long)}
batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
counted = lora.training_memory(model, batch)
formula = memory.activation_bytes(texts, tokens, width=384, layers=6)
print({name: f"{size / 1e6:.1f} MB" for name, size in counted.items()})
print(f"activations by the formula {formula / 1e6:.1f} MB, counted {counted['activations'] / 1e6:.1f} MB")
regularization.set_dropout(model, 0.1)
dropped = lora.training_memory(model, batch)["activations"]
print(f"with dropout 0.1: {dropped / 1e6:.1f} MB")
regularization.set_dropout(model, 0.0);

# %% [markdown]
# Dropout is not free: its masks are kept too, and on a CPU PyTorch then leaves its fused attention, which never keeps the
# (tokens × tokens) weights, for the plain one, which keeps them three times.
#
# ## 11. Gradient accumulation
#
# If 32 texts do not fit, take 4 times 8: forward and backward for each part, *adding* the gradients, and then one step of
# the optimizer. Only one part's activations are in memory at a time. The result is the same, **if** each part weighs as
# much as it should. The mean over all $n$ targets is not the mean of the parts' means:
#
# $$\frac{1}{n}\sum_p \sum_{i \in p} \ell_i = \sum_p \frac{n_p}{n}\,\bar\ell_p \;\neq\; \frac{1}{P}\sum_p \bar\ell_p
# \qquad n_p = \text{targets in part } p$$
#
# In classification a target is a text; in language modelling it is a token with a label, and parts differ a lot.
# A widely used training library had exactly this error until 2024.

# %% [markdown]
# ### Exercise 3 · Step 1: accumulate gradients (10 minutes, 3 points)
#
# Write `accumulate_gradients`: the gradient of the mean loss over all targets, one part in memory at a time. (What `scale` is
# good for comes in section 13.)

# %% answer="accumulate_gradients"
def accumulate_gradients(model, batches, scale=1.0):
    """Leave in each parameter's .grad `scale` times the gradient of the mean loss over all targets; return that loss.

    batches: a list of dicts; `model(**batch).loss` is the mean over the targets of one of them. Targets
    are the labels that are not -100. A part without any target has the loss NaN: leave it out. There
    are no old gradients when this is called. The loss comes back as a Python float, without `scale`.
    Example: parts with 1 and 3 targets and losses 4.0 and 2.0 give (1 * 4.0 + 3 * 2.0) / 4 = 2.5.
    """
    ### BEGIN SOLUTION
    counts = [int((batch["labels"] != -100).sum()) for batch in batches]
    total, loss_sum = sum(counts), 0.0
    for batch, count in zip(batches, counts, strict=True):
        if count:
            loss = model(**batch).loss
            (loss * (count / total * scale)).backward()
            loss_sum += loss.item() * count
    return loss_sum / total
    ### END SOLUTION

# %% locked="slope"
class Slope(torch.nn.Module):
    """A model to try steps on: the loss of a batch is w times the mean of its labels; the gradient is that mean."""
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(2.0))
    def forward(self, labels):
        return SimpleNamespace(loss=self.w * labels[labels != -100].float().mean())

# %%
# Try it on MiniLM: 10 texts at once, and in parts of 4, 3 and 3. The two gradients should agree to about 1e-6.
ten = {name: tensor[:10] for name, tensor in batch.items()}
found = []
for parts in (1, 3):
    model.zero_grad()
    accumulate_gradients(model, memory.cut_batch(ten, parts))
    found.append(memory.flat_gradient(model))
print(f"largest number {found[0].abs().max():.4f}, largest difference {(found[0] - found[1]).abs().max():.1e}")
found = None

# %% check="accumulate_gradients" points=3
slope = Slope()
parts = [{"labels": torch.tensor([8])}, {"labels": torch.tensor([1, 2, 3, -100])}]
assert np.isclose(accumulate_gradients(slope, parts), 7.0) and np.isclose(slope.w.grad, 3.5)
slope.zero_grad()
assert np.isclose(accumulate_gradients(slope, parts, scale=4.0), 7.0) and np.isclose(slope.w.grad, 14.0)

# %% [markdown]
# <details><summary>Hint 1</summary>First count the targets of all parts. A part's loss is multiplied by its share of
# them, before <code>.backward()</code>; PyTorch adds the gradients up.</details>
# <details><summary>Hint 2</summary><code>(loss * (count / total * scale)).backward()</code> inside the loop, so that the part's
# graph is freed before the next one is made. Skip parts with count 0.</details>

# %% [markdown]
# ## 12. Compute it twice
#
# **Activation checkpointing** saves only what enters each layer, and computes the rest again when the backward pass comes
# by: per token $n + 1$ times $h$ instead of $16\,n$ (here $7$ instead of $96$). While a layer goes backward, its own $16$
# come on top. The price is one more forward pass. The result is the same number for number.
#
# **Predict first.** Of the 302 MB of activations, how many are left with 4 parts? With checkpointing? With both?

# %%
my_megabytes = {"4 parts": 0, "checkpointing": 0, "both": 0}

# %% locked="ways"
rows, first = [], None
memory.measure_gradient(model, ten)  # once before: the first run also sets things up
on_gpu = by_scale(tiny={}, cpu={}, gpu={"16 bits (section 13)": {"precision": runtime.mixed_precision()}})
for way, settings in {**memory.WAYS, **on_gpu}.items():
    row = memory.measure_gradient(model, batch, **settings)
    gradient = memory.flat_gradient(model)
    first = gradient if first is None else first
    rows.append({"way": way, **row, "gradient differs by": (gradient - first).abs().max().item()})
    gradient = None
ways = pd.DataFrame(rows).set_index("way")
model.zero_grad()
first = None
print("you predicted (MB):", my_megabytes)
ways[["saved_mb", "peak_mb", "seconds", "loss", "gradient differs by"]].round({"saved_mb": 1, "peak_mb": 0, "seconds": 2})

# %% [markdown]
# `saved_mb` is counted (what one forward pass keeps), `peak_mb` is measured (how much the process grew, or on a GPU how
# much was allocated, with the gradients and what is needed for a moment). The gradients agree to the rounding of 32-bit numbers: none of these ways
# is an approximation. Only time is paid.
#
# ## 13. Half the bytes: mixed precision
#
# A number of 16 bits takes half the memory, and a GPU multiplies it several times faster. There are two kinds:
#
# | | bits: sign, exponent, fraction | smallest > 0 | largest | digits |
# |---|---|---|---|---|
# | fp32 | 1, 8, 23 | 1e−45 | 3e38 | 7 |
# | fp16 | 1, 5, 10 | 6e−8 | 65,504 | 3 |
# | bf16 | 1, 8, 7 | 9e−41 | 3e38 | 2 |
#
# **Mixed** precision: the matrix products in 16 bits, the weights and sums in 32. fp16 has a short range, and small
# gradients become 0: they **underflow**. The remedy is to multiply the loss by a large **scale** (so all gradients
# are larger), and to divide the gradients by it before the step.
#
# Look at real gradients of MiniLM, before training and after it has learned 16 texts by heart. **Predict first:** when do
# more numbers underflow?

# %% locked="underflow"
sixteen = [{name: tensor.to(model.device) for name, tensor in collate(train_rows[:16]).items()}]
by_heart = training.TrainingConfig(learning_rate=3e-4, batch_size=16, max_steps=by_scale(tiny=1, cpu=20, gpu=20))
for moment in ("before training", "by heart"):
    if moment == "by heart":
        training.train(model, train_rows[:16], collate, by_heart)
        model.train()
    model.zero_grad()
    loss = memory.accumulate_gradients(model, sixteen)
    shares = {scale: f"{memory.underflow_share(model, scale):.2%}" for scale in (1, 2**8, 2**16)}
    print("before training" if moment == "before training" else "by heart",
          f"(loss {loss:.3f}): become 0 in fp16, by scale: {shares}; "
          f"in bf16: {memory.underflow_share(model, 1, torch.bfloat16):.2%}")
model.zero_grad()

# %% [markdown]
# The better the model, the smaller its gradients, and the more of them are lost.
#
# If the scale is too large, numbers become infinite instead. So each step looks first: if any gradient is infinite or NaN,
# the step is left out and the scale is halved. After 2,000 good steps in a row it is doubled again. So the scale finds the
# largest value that works, and follows the gradients as they become smaller.

# %% [markdown]
# ### Exercise 4 · Step 2: a step with loss scaling (15 minutes, 3 points)
#
# Write `scaled_step`: one update from the parts of a batch with a scaled loss, left out if a gradient overflows. Take your
# `accumulate_gradients`, or `memory.accumulate_gradients`, which does the same.

# %% answer="scaled_step"
def scaled_step(model, batches, optimizer, scaler, grow_after=2000):
    """One update; returns (loss, made, the scaler for the next step): the mean loss without the scale, True or False, a dict.

    batches: the parts of one batch. scaler: {"scale": a float, "good": steps made in a row since the scale
    changed}; make a new one. Old gradients never count.
    * If all gradients are finite, they are divided by the scale, and the optimizer steps. "good" is one
      more; when it reaches `grow_after`, the scale is doubled, and "good" is 0.
    * If any is infinite or NaN, the weights stay as they are, the scale is halved, and "good" is 0.
    Example: a gradient of 3 overflows at scale 1e38 * 2 (fp32 ends at 3.4e38): no step, and
    (loss, False, {"scale": 1e38, "good": 0}) comes back.
    """
    ### BEGIN SOLUTION
    scale, good = scaler["scale"], scaler["good"] + 1
    optimizer.zero_grad()
    loss = memory.accumulate_gradients(model, batches, scale=scale)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not all(torch.isfinite(gradient).all() for gradient in gradients):
        return loss, False, {"scale": scale / 2, "good": 0}
    for gradient in gradients:
        gradient /= scale
    optimizer.step()
    if good >= grow_after:
        return loss, True, {"scale": 2 * scale, "good": 0}
    return loss, True, {"scale": scale, "good": good}
    ### END SOLUTION

# %%
# Try it: the gradient of w is 3.5, so w falls by 0.35 a step. The first scale is too large; later it grows, and is too large again.
slope, scaler = Slope(), {"scale": 2.0**127, "good": 0}
sgd = torch.optim.SGD(slope.parameters(), lr=0.1)
for _ in range(7):
    loss, made, scaler = scaled_step(slope, [{"labels": torch.tensor([3, 4])}], sgd, scaler, grow_after=3)
    print(f"made: {made!s:>5} · w {slope.w.item():.2f} · scale 2^{np.log2(scaler['scale']):.0f} · good {scaler['good']}")

# %% check="scaled_step" points=3
slope = Slope()
sgd = torch.optim.SGD(slope.parameters(), lr=0.1)
step = scaled_step(slope, [{"labels": torch.tensor([3, 4])}], sgd, {"scale": 1024.0, "good": 0})
assert tuple(step) == (7.0, True, {"scale": 1024.0, "good": 1}) and np.isclose(slope.w.item(), 2.0 - 0.35)
step = scaled_step(slope, [{"labels": torch.tensor([30, 40])}], sgd, {"scale": 2.0**125, "good": 1})
assert tuple(step)[1:] == (False, {"scale": 2.0**124, "good": 0})
assert np.isclose(slope.w.item(), 2.0 - 0.35), "a step with an infinite gradient is left out"

# %% [markdown]
# <details><summary>Hint 1</summary>In order: forget old gradients, accumulate with the scale, look at all gradients, divide,
# step, count. Leave the function early when the step is left out.</details>
# <details><summary>Hint 2</summary><code>torch.isfinite(gradient).all()</code> is false for infinite numbers and for NaN.
# Look at <b>every</b> parameter that has a gradient, not at the loss: the loss can be finite while a gradient is
# not. <code>gradient /= scale</code> divides in place.</details>

# %% [markdown]
# PyTorch's `GradScaler` does the same, and our training function uses it on a GPU: `TrainingConfig(mixed_precision="fp16")`,
# or `"auto"`, which takes bf16 where the GPU has it, fp16 on an older one such as the T4, and 32 bits on a CPU. Why not
# on a CPU? Measure:

# %% locked="slow"
a = torch.randn(by_scale(tiny=16, cpu=256, gpu=256), 384)
b, seconds = torch.randn(384, 1536), {}
for kind in (torch.float32, torch.bfloat16, torch.float16):
    x, y = a.to(kind), b.to(kind)
    x @ y
    _, found = memory.measure(lambda x=x, y=y: [x @ y for _ in range(3)])
    seconds[str(kind)] = found["seconds"] / 3
print({kind: f"{1000 * some:.1f} ms" for kind, some in seconds.items()}, "for one product on this CPU")

# %% [markdown]
# It depends on the processor. That of our record has instructions for bf16 (AVX512-BF16): with a large batch bf16
# is faster there than 32 bits, with a small one it is not; and fp16, without such instructions, is six to ten times slower.
# On the older processors of most laptops and labs bf16 is slow too. So: 16 bits on a GPU, 32 on a CPU, unless you measured.
#
# ## 14. Several processes
#
# With two machines, or two cores, each process holds a **copy** of the model and takes every second text of each batch.
# After the backward pass they exchange their gradients and take the mean. The same rule as in section 11 holds: DDP
# (PyTorch's *distributed data parallel*) takes the plain mean over processes, so each multiplies its loss by $n_p \cdot P / n$.
#
# This command runs the training in two real processes on this computer:
#
# `python -m torch.distributed.run --nproc_per_node 2 -m leaplm.overfitting.data_parallel runs/two`
#
# With less than 2 GB of free memory, as on Binder, only one process runs here. The record below has both.
#
# **Predict first.** Does each of the two processes need half the memory?

# %% locked="processes"
model = batch = None
runtime.free_memory()
config = training.TrainingConfig(learning_rate=1e-4, batch_size=16, max_steps=by_scale(tiny=1, cpu=4, gpu=4),
                                 progress=False, mixed_precision="no")
short = [{"input_ids": row["input_ids"], "label": row["label"]} for row in train_rows]
runs = {n: data_parallel.train_in_processes(short, names, config, f"runs/processes-{n}", n)
        for n in by_scale(tiny=(), cpu=(1, 2), gpu=(1, 2)) if n == 1 or runtime.available_memory_mb() > 1000 * n}
processes = pd.DataFrame([
    {"processes": n, "process": i, "last loss": row["losses"][-1], "sum of all weights": row["checksum"],
     "peak MB": row["peak_mb"], "seconds": row["seconds"]} for n, run in runs.items() for i, row in enumerate(run)])
processes.round({"last loss": 6, "sum of all weights": 4, "peak MB": 0, "seconds": 1})

# %% [markdown]
# The losses and the weights agree to the rounding of 32 bits: two processes compute **the same training**. Each holds all
# weights, gradients and Adam's numbers; only the activations are divided. So several processes buy time, not memory (there
# are ways to divide the rest too: ZeRO, FSDP). On two cores of one computer they buy little, since one process already
# uses both.
#
# ## 15. The table
#
# All ways together, from the record: a batch of 32 texts of 64 tokens, one core, means over the runs. (fp16: only 2 texts
# of 32 tokens, because the CPU is so slow at it.)

# %% locked="table"
record = calibration.load_record("lab6_overfitting", "hardware")
columns = ["saved_mb", "peak_mb", "seconds", "difference"]
table = record.groupby(["batch", "way"], sort=False)[columns].mean()
table["difference"] = table.difference.map("{:.0e}".format)
table.round({"saved_mb": 1, "peak_mb": 0, "seconds": 2})

# %% [markdown]
# `difference`: the largest difference of a gradient from that of the first row of its batch, as a share of its largest
# number. Four parts need a quarter of the activations and 7 % more time. Checkpointing needs a fourteenth, for half as much
# time again or more. With 32 texts bf16 saves 29 %; with 2 short texts it keeps nearly three times as much, since the 16-bit
# copies of the weights are larger than what it saves. Its gradient is off by about one percent.
#
# And several processes (three updates of the same batch of 32, one core each):

# %% locked="processes_table"
record = calibration.load_record("lab6_overfitting", "processes")
record.groupby("processes")[["peak_mb", "seconds_an_update"]].mean().round(1)

# %% [markdown]
# **A place to stop.** Your answers stay in the notebook. To go on another day: open it, click on this cell, choose
# *Run › Run All Above Selected Cell* (on Colab *Runtime › Run before*), wait a few minutes, and go on below. An exercise that
# is still open stops this run: then run the cells behind it by hand.

# %% [markdown]
# # Part 3 · A run that survives
#
# In the clinic the power goes off for an hour, most days. A training of 16 seconds begins again; one of 16 hours must not.
# You have two steps of a loop that does with little memory. Three more make it a loop that goes on after a power cut as if
# nothing had happened: not nearly, but with **the same weights, bit by bit**.
#
# For this, ask of each thing: does the next update depend on it, and can it be made again from a seed? What cannot must go
# into a file, the **checkpoint**.

# %% locked="more"
import contextlib
import itertools
import math
import os
import tempfile
from pathlib import Path

# %% [markdown]
# | | made again from a seed | in the file |
# |---|---|---|
# | frozen weights, texts | yes, from their own files | no |
# | order of the texts in epoch $e$ | yes, from seed $+\ e$ | no |
# | weights that learn; Adam's two numbers for each | no | yes |
# | step of the schedule, the loss scale, the place in the epoch | no | yes |
# | random numbers (dropout, deleted words) | the first ones only | yes, their state now |
# | best weights so far, epochs without a better loss, history | no | yes |
#
# ## 16. Keep the best
#
# Early stopping (section 3) needs a memory: the best loss, the weights that had it, and how many evaluations in a row were
# not better. To let it survive, it must not hide inside the loop: the function gets it and gives it back.

# %% [markdown]
# ### Exercise 5 · Step 3: keep the best weights (10 minutes, 2 points)
#
# Write `keep_best`, which is called after each evaluation.

# %% answer="keep_best"
def keep_best(model, loss, best, patience):
    """Returns (what is known of the best weights after this evaluation, whether to stop).

    loss: the validation loss now. best: None before the first evaluation, then what the last call gave:
    {"loss": the smallest so far, "bad": evaluations in a row since then that were not better,
    "weights": {name: a copy of each parameter that learns (requires_grad), as it was then}}.
    Only a smaller loss is better; an equal one is not. Stop when "bad" has reached `patience`. Give a
    new dict back; the old one stays. Training goes on in place: the copies must not change with it.
    Example: losses 0.7, 0.5, 0.6, 0.55 with patience 2: loss 0.5, bad 2, and True after the fourth.
    """
    ### BEGIN SOLUTION
    if best is None or loss < best["loss"]:
        weights = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        best = {"loss": loss, "bad": 0, "weights": weights}
    else:
        best = {**best, "bad": best["bad"] + 1}
    return best, best["bad"] >= patience
    ### END SOLUTION

# %%
# Try it: w is the number of the evaluation. The second has the smallest loss; after two more it should say True.
slope, best = Slope(), None
for number, loss in enumerate([0.7, 0.5, 0.6, 0.55], 1):
    slope.w.data.fill_(number)
    best, stop = keep_best(slope, loss, best, patience=2)
    print(f"w {slope.w.item():.0f}, loss {loss}: best {best['loss']} with w {best['weights']['w']:.0f}, "
          f"bad {best['bad']}, stop {stop}")

# %% check="keep_best" points=2
slope = Slope()
first, stop = keep_best(slope, 0.5, None, patience=1)
assert (first["loss"], first["bad"], stop) == (0.5, 0, False)
with torch.no_grad():
    slope.w += 1
second, stop = keep_best(slope, 0.5, first, patience=1)
assert (second["loss"], second["bad"], stop) == (0.5, 1, True), "an equal loss is not better"
assert second["weights"]["w"] == 2.0, "the copy does not change with the model"

# %% [markdown]
# <details><summary>Hint 1</summary>Two cases: there is no best yet, or this loss is smaller; then all three entries are new.
# Otherwise only <code>bad</code> is.</details>
# <details><summary>Hint 2</summary><code>p.detach().clone()</code> copies a weight; without <code>clone</code> it is the same
# memory as the model's. <code>{**best, "bad": best["bad"] + 1}</code> is a new dict with one entry changed.</details>

# %% [markdown]
# ## 17. One file, whole at any moment
#
# The power can go off *while the checkpoint is written*, too. Then half of the new file is there, and the old one is gone. So
# write the new one **beside** the old one, wait until it is on the disk (`os.fsync`: before, it may be in the memory
# only), and give it the old one's name in one step (`os.replace`). At any moment one of the two is there, whole.

# %% [markdown]
# ### Exercise 6 · Step 4: save and load (20 minutes, 2 points)
#
# Write `save_checkpoint` and `load_checkpoint`. For the random states take `resumable.random_states()` and
# `resumable.set_random_states(states)`, which know those of Python, NumPy, PyTorch and a GPU.

# %% answer="checkpoint"
def save_checkpoint(path, model, optimizer, scheduler, progress):
    """Write one file with: the weights that learn, the state_dict of optimizer and scheduler, the random states, and
    `progress`, a dict of numbers, lists, dicts and tensors. Nothing else changes, and nothing is returned.

    At any moment the file `path` is the old one or the new one, never half of one (see above).
    Example: save_checkpoint("runs/clinic.pt", model, optimizer, scheduler, {"step": 7})
    """
    ### BEGIN SOLUTION
    state = {"model": {name: p.detach() for name, p in model.named_parameters() if p.requires_grad},
             "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
             "random": resumable.random_states(), "progress": progress}
    fresh = f"{path}.new"
    with open(fresh, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    ### END SOLUTION

def load_checkpoint(path, model, optimizer, scheduler):
    """Put all of it back, and return `progress`; None, and nothing is changed, where there is no file.

    model, optimizer and scheduler are made anew: the weights that learn are other ones, frozen ones are
    the same. Example: load_checkpoint("runs/clinic.pt", model, optimizer, scheduler) gives {"step": 7}.
    """
    ### BEGIN SOLUTION
    if not os.path.exists(path):
        return None
    state = torch.load(path)
    model.load_state_dict(state["model"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    resumable.set_random_states(state["random"])
    return state["progress"]
    ### END SOLUTION

# %% locked="new_slope"
def new_slope():
    """A slope, its optimizer and its schedule, as a new process makes them."""
    slope = Slope()
    sgd = torch.optim.SGD(slope.parameters(), lr=0.01, momentum=0.9)
    return slope, sgd, torch.optim.lr_scheduler.StepLR(sgd, step_size=1, gamma=0.9)

# %%
# Try it: w is changed after it was saved; loading should bring 5.0 back, and the same random number twice.
Path("runs").mkdir(exist_ok=True)
slope, sgd, schedule = new_slope()
slope.w.data.fill_(5.0)
save_checkpoint("runs/try.pt", slope, sgd, schedule, {"step": 7})
number = torch.rand(())
slope.w.data.fill_(0.0)
print(load_checkpoint("runs/try.pt", slope, sgd, schedule), slope.w.item(), number.item() == torch.rand(()).item())

# %% check="checkpoint" points=2
with tempfile.TemporaryDirectory() as folder:
    run = new_slope()
    assert load_checkpoint(f"{folder}/run.pt", *run) is None, "no file, no progress"
    run[0].w.data.fill_(3.0)
    save_checkpoint(f"{folder}/run.pt", *run, {"step": 7, "best": None})
    other = new_slope()
    assert load_checkpoint(f"{folder}/run.pt", *other) == {"step": 7, "best": None}
    assert other[0].w.item() == 3.0 and os.listdir(folder) == ["run.pt"]

# %% [markdown]
# <details><summary>Hint 1</summary>One dict with five entries, <code>torch.save(state, file)</code>. When loading, each thing has
# its counterpart: <code>load_state_dict</code>; for the model with <code>strict=False</code>, since the frozen weights are
# not in the file.</details>
# <details><summary>Hint 2</summary><code>with open(f"{path}.new", "wb") as file:</code>, in it <code>torch.save</code>,
# <code>file.flush()</code> and <code>os.fsync(file.fileno())</code>; behind it <code>os.replace(f"{path}.new", path)</code>.</details>

# %% [markdown]
# ## 18. The loop
#
# Now all steps come together. The loop must be able to begin at any update, so it counts updates and not epochs: update $k$
# (from 0) with $s$ updates an epoch is in epoch $k \div s$, at place $k \bmod s$. **When** it saves matters, too. If
# it saves after the last update of an epoch and *before* the evaluation, and the power goes off between the two, this epoch
# is never evaluated.

# %% [markdown]
# ### Exercise 7 · Step 5: the loop that survives (30 minutes, 4 points)
#
# Write `train_resumable`. Take your own steps 2, 3 and 4, or `resumable.scaled_step`, `resumable.keep_best`,
# `resumable.save_checkpoint` and `resumable.load_checkpoint`, which do the same. In order:
#
# 1. `runtime.set_seed(seed)`; then go on from the file `path`, if it is there.
# 2. The order of epoch $e$ (from 0) is `torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + e))`. It is cut
#    into batches of `batch_size` rows, each batch into parts of `part_size`; the last of both may be smaller.
# 3. An update: `collate` the parts, `model.train()`, `scaled_step` (the first scale is `2.0**16`), and `scheduler.step()` if
#    the step was made. A step that is left out counts as an update, too; only the schedule does not move.
# 4. After the last update of an epoch: `evaluate`, then `keep_best`, and the end when it says so.
# 5. After every `save_every` updates: save; if an evaluation comes then, save after it.
# 6. In the end the best weights are in the model. Called once more, it goes on from the last checkpoint, and ends in the same.

# %% answer="train_resumable"
def train_resumable(model, optimizer, scheduler, rows, collate, evaluate, path, epochs=5, batch_size=8, part_size=4,
                    patience=2, save_every=5, seed=0):
    """Train; cut off at any moment and called again with all made anew, it ends in the same weights.

    rows: a list. collate(list of rows) gives a batch, evaluate(model) the validation loss; it may leave the
    model in evaluation mode. Returns {"loss": [of each update], "scale": [after each update],
    "validation": [of each epoch]}.
    Example: 11 rows in batches of 4 are 3 updates an epoch; with parts of 3, of 3 + 1, 3 + 1 and 3 rows.
    """
    ### BEGIN SOLUTION
    runtime.set_seed(seed)
    steps = math.ceil(len(rows) / batch_size)
    run = resumable.load_checkpoint(path, model, optimizer, scheduler) or {
        "step": 0, "stop": False, "best": None, "scaler": {"scale": 2.0**16, "good": 0},
        "history": {"loss": [], "scale": [], "validation": []}}
    history = run["history"]
    while run["step"] < epochs * steps and not run["stop"]:
        epoch, place = divmod(run["step"], steps)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + epoch)).tolist()
        batch = [rows[i] for i in order[place * batch_size : (place + 1) * batch_size]]
        parts = [collate(batch[i : i + part_size]) for i in range(0, len(batch), part_size)]
        model.train()
        loss, made, run["scaler"] = resumable.scaled_step(model, parts, optimizer, run["scaler"])
        if made:
            scheduler.step()
        history["loss"].append(loss)
        history["scale"].append(run["scaler"]["scale"])
        run["step"] += 1
        if run["step"] % steps == 0:
            history["validation"].append(evaluate(model))
            run["best"], run["stop"] = resumable.keep_best(model, history["validation"][-1], run["best"], patience)
        if run["step"] % save_every == 0:
            resumable.save_checkpoint(path, model, optimizer, scheduler, run)
    model.load_state_dict(run["best"]["weights"], strict=False)
    return history
    ### END SOLUTION

# %% [markdown]
# To try it on our 100 training texts: MiniLM with LoRA (0.1 million numbers learn, so the file is small) and with dropout,
# which draws random numbers in each update. The power goes off where `PowerCut` is raised: before a batch.

# %% locked="new_run"
def new_run():
    """MiniLM with LoRA, its optimizer and its schedule, as a new process makes them."""
    runtime.set_seed(SEED)
    model = models.load_sequence_classifier(names)
    lora.inject_lora(model)
    regularization.set_dropout(model, 0.1).to(runtime.get_device())
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.95)

def validation_loss(model):
    return evaluation.evaluate(model, validation_rows[:20], collate)["loss"]

# %% locked="cuts"
class PowerCut(Exception):
    """Ends a run."""

def until(cut, device):
    """A collate that lets the power go off before its batch number `cut`."""
    numbers = itertools.count(1)
    def batch_of(rows):
        if next(numbers) == cut:
            raise PowerCut
        return {name: tensor.to(device) for name, tensor in collate(rows).items()}
    return batch_of

# %% locked="live"
few_rows, few_epochs = train_rows[: by_scale(tiny=9, cpu=36, gpu=100)], by_scale(tiny=1, cpu=2, gpu=3)

def live(loop, path, cuts):
    """(history, weights) of a run that is begun anew after each of the cuts."""
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).unlink(missing_ok=True)
    for cut in [*cuts, None]:
        model, *others = new_run()
        with contextlib.suppress(PowerCut):
            history = loop(model, *others, few_rows, until(cut, model.device), validation_loss, path, epochs=few_epochs,
                           save_every=2, seed=SEED)
    return history, resumable.learning_weights(model)

# %%
# Try it: one run is never stopped, the other one is cut off twice. The weights should differ by exactly 0.
whole, cut = live(train_resumable, "runs/whole.pt", []), live(train_resumable, "runs/cut.pt", [7, 5])
print("loss of each update:", np.round(cut[0]["loss"], 3), "· same history:", whole[0] == cut[0])
print("largest difference of a weight:", max((whole[1][name] - cut[1][name]).abs().max().item() for name in whole[1]))
print(f"the checkpoint has {Path('runs/cut.pt').stat().st_size / 1e6:.1f} MB")

# %% check="train_resumable" points=4
def slope_run(path, cut=None):
    """(history, w) after two epochs on six numbers."""
    slope, *others = new_slope()
    rows, batch_of = [{"input_ids": [1], "label": i} for i in range(1, 7)], until(cut, "cpu")
    history = train_resumable(slope, *others, rows, lambda part: {"labels": batch_of(part)["labels"]},
                              lambda model: model.w.item() ** 2, path, epochs=2, batch_size=4, part_size=3, save_every=1)
    return history, slope.w.item()

with tempfile.TemporaryDirectory() as folder:
    uncut = slope_run(f"{folder}/uncut.pt")
    assert len(uncut[0]["loss"]) == 4 and len(uncut[0]["validation"]) == 2
    with contextlib.suppress(PowerCut):
        slope_run(f"{folder}/cut.pt", cut=5)
    assert slope_run(f"{folder}/cut.pt") == uncut == slope_run(f"{folder}/uncut.pt")

# %% [markdown]
# <details><summary>Hint 1</summary>Put all that changes into one dict: step, stop, best, scaler, history. It is either what
# <code>load_checkpoint</code> gives, or new: <code>run = load_checkpoint(...) or {...}</code>. It is also what you save. The loop is
# <code>while run["step"] &lt; epochs * steps and not run["stop"]:</code></details>
# <details><summary>Hint 2</summary><code>epoch, place = divmod(run["step"], steps)</code>; the batch is
# <code>order[place * batch_size : (place + 1) * batch_size]</code>. Then, in this order: update, count the step, evaluate
# if <code>run["step"] % steps == 0</code>, save if <code>run["step"] % save_every == 0</code>.</details>

# %% [markdown]
# A checkpoint that does not bring everything back can cost you a night of training. So test it as here: cut off anywhere, and compare
# **exactly**. "About the same loss" hides a lost state of Adam or of the random numbers. (On a GPU some sums depend on the
# order in which its parts are ready, so the last digit may differ there.) `training.train`, with which you trained all
# models of this course, has the same inside: `TrainingConfig(output_dir=...)`.
#
# ## 19. Open task: design an experiment
#
# You have a loop of your own, and a recipe. **Change one thing, and find out whether it helps.** For example: clip the gradients
# to norm 1, warm the rate up, average the weights of the last updates, freeze the lower layers, take half of the dropout,
# or join two remedies of section 8. Write the plan down *before* the first run; a plan that is made afterwards always fits.
#
# 1. **Question and hypothesis**, in one sentence each, with metric, direction and size: "Averaged weights raise the accuracy
#    by at least two points against no remedy."
# 2. **Seeds.** The next cell says how many the record's spread asks for, to see an effect of your size in four of five
#    experiments (a **power** of 0.8).
# 3. **Equal compute.** Same labels, same updates. If your change costs more, the baseline gets the same seconds: longer training,
#    or an ensemble.
# 4. **Comparisons.** With $m$ of them each interval has the level $1 - 0.05/m$ (section 7). Settings that you tried count, too.
# 5. **Result.** The paired interval, the loss *after a temperature*, the seconds. "Not decided" is a result.
#
# **The number to beat:** of all remedies with 100 labels in the record the ensemble of three has the best mean, +2.7 points over no
# remedy (95 % interval −1.5 to +7.0), for three trainings. None of the intervals lies above 0: a gain that is sure would be
# news. The task has no points of its own: put what wins into `RECIPE`, and hand in that model. In exercise 8 you may argue
# with your result.

# %%
PLAN = {"effect": 0.02, "comparisons": 1}  # in accuracy: 0.02 are two points

# %% locked="seeds"
level = 1 - 0.05 / PLAN["comparisons"]
needed = pd.DataFrame({
    "spread of the differences": spread, "mean gain in the record": differences["mean"],
    "seeds for your effect": [evaluation.seeds_needed(PLAN["effect"], some, level=level) for some in spread],
    "you could see with 5 seeds": [stats.t.ppf((1 + level) / 2, 4) * some / np.sqrt(5) for some in spread]})
needed.round(3)

# %% [markdown]
# The next cells carry a plan out: each seed draws other 100 texts, both trainings see the same ones, and each pair of scores
# is written down at once, so a power cut costs one pair. A pair takes about a minute on two cores. With 0 seeds nothing is
# trained. A change of the recipe goes into `changed`. A change of the loop goes into a copy of your `train_resumable`, which
# `score_of` then calls in the place of `fine_tune`. Another experiment needs another file.

# %%
EXPERIMENT = {"seeds": 0, "path": "runs/experiment.json", "baseline": {}, "changed": RECIPE}

# %%
known = set(validation_set["text"])  # they may choose the epoch, so nobody trains on them
others = sentences["train"].select([i for i, text in enumerate(sentences["train"]["text"]) if text not in known])

# %%
def score_of(recipe, seed):
    """Test accuracy of a training on the seed's texts."""
    texts = data.subsample(others, len(train_set), seed)
    rows = regularization.with_texts(data.tokenize(texts, tokenizer), texts)
    trained, _ = fine_tune(recipe, validate if recipe.get("patience") else None, seed=seed, rows=rows)
    return evaluation.accuracy(test_labels, evaluation.predict_logits(trained, test_rows, collate).argmax(-1))

# %% locked="experiment"
first, second = (lambda seed, arm=arm: score_of(EXPERIMENT[arm], seed) for arm in ("baseline", "changed"))
pairs = resumable.paired_runs(first, second, range(EXPERIMENT["seeds"]), EXPERIMENT["path"])
if len(pairs) > 1:
    print({name: round(value, 3) for name, value in evaluation.paired_difference(*np.array(pairs).T, level=level).items()})

# %% [markdown]
# ## What to take away

# %%
results = pd.DataFrame([
    *({"method": name, "accuracy": evaluation.accuracy(test_labels, p), "macro-F1": evaluation.macro_f1(test_labels, p)}
      for name, p in {**baselines, "no remedy": plain_predictions, "early stopping": stopped_predictions,
                      "your recipe": predictions}.items())])
results.round(3)

# %% [markdown]
# ### Exercise 8 · Advice for the clinic (20 minutes, 4 points, read by your teacher)
#
# Write about 150 words. (a) Which remedies should the clinic use for its 100 messages, and which not? Give the gain with
# its interval and the price in seconds, and say for which remedies five seeds are not enough to decide. (b) The nurse can
# label 100 more messages. Should they be used to stop in time or to train? (c) With Python and PyTorch loaded, 600 MB are
# left. Which way of part 2 makes a batch of 32 texts of 128 tokens possible, and what does it cost?

# %% [markdown] manual="advice" points=4
# ### BEGIN SOLUTION
# **Marking guide.** 1 point: at least two remedies judged with the gain *and* its interval, and a statement about those
# whose interval contains 0 (not decided by five seeds, which is not the same as useless). 1 point: the price (seconds, or
# models to keep) stands beside the gain. 1 point: (b) compares the two rows of the record that use the other 100 labels,
# one to stop and one to train, with numbers. 1 point: (c) counts: 32 texts of 128 tokens need 217 MB for weights, gradients
# and Adam and 604 MB of activations, 821 MB in all; names accumulation (4 parts: 151 MB of activations, 7 % more time)
# or checkpointing (7/96 of them and one layer at a time, half as much time again) with its cost.
#
# **A good answer, in short.** (a) I take the frozen encoder with a head: it trains in 1 second, LoRA in 11, no remedy in
# 16, and no interval shows a difference in accuracy between them (head against no remedy: −2.9 points, −8.9 to +3.0). The
# nurse acts on probabilities; a temperature brings the loss of no remedy down as far as the best remedy, so the lower loss
# of LoRA or of early stopping is no argument. Five seeds do not decide about most remedies: a gain of 2 points could not
# be seen. I do not take weight decay (at most two points) or an ensemble (three times the price of each answer). (b)
# The record compares early stopping (100 to train, 100 to stop) with training on all 200: I quote both rows and their
# interval, and use the labels for training if the rows do not differ, since a fixed small number of epochs needs no
# validation. (c) 821 MB are needed and 600 are there. Four parts of 8 texts need 217 + 151 = 368 MB, in about the same time, and
# give the same gradient; so I take these. They come on top of what Python and PyTorch take themselves.
# ### END SOLUTION

# %% [markdown]
# 1. With 100 labels a model learns its texts by heart, and which 100 texts you have matters more than the remedy. Compare
#    within the same texts, with several seeds, and say what is not decided.
# 2. What most remedies do to the loss, a temperature does with one number and no training. Ask of a remedy what it adds to
#    that, and to a frozen encoder with a head; an ensemble is paid for with every answer.
# 3. Memory can be counted before it runs out. Accumulation and checkpointing give the same gradient with less of it, if
#    each part is weighted by its targets; 16 bits need a scale; more processes buy time, not memory.
# 4. A run survives if all that the next update depends on is in one file, and this file is whole at any moment. The test is
#    exact: cut off anywhere, it ends in the same weights.
#
# **Sources.** Wei & Zou, 2019, *EDA* (deleting words) · Prechelt, 1998, *Early stopping, but when?* · Srivastava et al.,
# 2014, *Dropout* · Guo et al., 2017, *On calibration of modern neural networks* · Loshchilov & Hutter, 2019, *Decoupled
# weight decay regularization* · Miyato et al., 2017, *Adversarial training methods for semi-supervised text
# classification* · Hu et al., 2022, *LoRA* · Lakshminarayanan et al., 2017, *Deep ensembles* · Cohen, 1988, *Statistical
# power analysis* · Dror et al., 2018, *The hitchhiker's guide to testing statistical significance in NLP* · Chen et al., 2016,
# *Training deep nets with sublinear memory cost* · Micikevicius et al., 2018, *Mixed precision training* · Korthikanti et
# al., 2022, *Reducing activation recomputation* (counting activations) · Hutto & Gilbert, 2014 (the English ratings) ·
# Muhammad et al., 2023, *AfriSenti* (the tweets).
