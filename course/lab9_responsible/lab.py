# %% [markdown]
# # Lab 9 · Responsible use: privacy, gaps, explanations, documents
#
# | | |
# |---|---|
# | **You come from** | Lab 2 (fine-tuning); labs 3 (LoRA) and 5 (a head on a frozen encoder) help, but are not needed |
# | **You will be able to** | measure what a model gives away, write training with a privacy budget yourself, put intervals on gaps between groups, test explanations, and write the documents that belong to a model |
# | **Time** | about 3 hours of work; the computer needs about 2 minutes of it |
# | **Needs** | 2 cores, 1.6 GB of memory, 179 MB of downloads (once). No GPU |
# | **Points** | 30: eight exercises and your private model, checked by the computer (26), and the documents, read by your teacher (4) |
#
# A health line in Kisumu keeps what callers write. It wants to train a model on these messages, and to give the model to
# a partner in Dhaka. The messages hold names and telephone numbers. Nobody has asked the callers. Before a model leaves
# the house, somebody must be able to answer five questions:
#
# 1. What does it **remember** of single people?
# 2. What does it cost to **promise** that it gives nothing away?
# 3. For whom does it work **worse**?
# 4. Do we know **why** it answers as it does?
# 5. What must be **written down**, and whom must we ask?
#
# All people, numbers and messages with numbers in this lab are invented.

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
import re

import numpy as np
import pandas as pd
import torch
from torch import nn

from leaplm import artifacts, assets, calibration, data, evaluation, fewshot, marking, models
from leaplm import plots, prompting, runtime
from leaplm.responsible import explanations, fairness, memorization, privacy
from leaplm.identity import student_seed
from leaplm.runtime import by_scale

assets.fetch(["minilm", "vader", "smollm2"])  # downloads only what is not here yet
runtime.set_seed(0)
SEED = student_seed()  # of your own training runs
runtime.describe_runtime()

# %% [markdown]
# The next cell holds **the only setting of this lab**: `"eng"`, then `"hau"`, `"swa"` or another language of the
# AfriSenti tweets, or your own file with a first line `text,label`: `LANGUAGE = "my_sentences.csv"`. We have no messages of
# callers. In English we take sentences from film reviews (lab 2) in their place.

# %%
LANGUAGE = "eng"
marking.describe_language("lab9_responsible", LANGUAGE)

# %% locked="load"
sentences = data.load_sentiment(LANGUAGE)
names = sentences["train"].features["label"].names
test_set = data.subsample(sentences["test"], by_scale(tiny=20, cpu=300, gpu=600))
test_labels = np.array(test_set["label"])
comparable = LANGUAGE == "eng" and runtime.scale() != "tiny"  # can your run be put beside the record?
recorded = LANGUAGE if LANGUAGE in ("eng", "hau", "swa") else "eng"  # private training is on record in three languages
print(f"classes: {names} · {len(sentences['train'])} training texts · {len(test_set)} test texts")

# %% [markdown]
# ## 1. What a model remembers
#
# We cannot measure with real secrets. So we invent some, and put them among the training texts on purpose. Such a secret
# is called a **canary**: miners took the bird into the mine, because it shows bad air first. Ours are telephone numbers.
# Two people's numbers stand in the texts once, two people's 4 times, two people's 16 times (a message that is forwarded
# is stored again and again), and two people's not at all.

# %% locked="canaries"
canaries = memorization.make_canaries(seed=0)
ordinary = data.subsample(sentences["train"], by_scale(tiny=10, cpu=memorization.ORDINARY, gpu=memorization.ORDINARY))
planted = memorization.plant(ordinary["text"], canaries, seed=0)
pd.DataFrame(canaries)

# %%
print(len(planted), "texts; some of them:")
for text in planted[:6]:
    print("  ", text[:90])

# %% [markdown]
# Now SmolLM2 learns to write such texts, with LoRA in its upper third (lab 3), three times through all of them.
#
# **Predict first.** How often must a number stand in the texts until the model writes it by itself: 1, 4 or 16 times?

# %%
my_repeats = 0  # 1, 4 or 16

# %%
writer, reader, history = memorization.fine_tune(
    planted, max_steps=by_scale(tiny=1, cpu=None, gpu=None), output_dir=f"runs/canaries-{runtime.scale()}")
plots.plot_history(history, unit="token");

# %% [markdown]
# Did it learn the numbers? Asking is not enough: a model can know much and not say it. Carlini et al. compare. Take the
# secret $s$ and many other numbers of the same form, and sort them by the model's loss. The **exposure** of the secret is
#
# $$\text{exposure}(s) = \log_2 |R| - \log_2 \text{rank}(s) \quad \text{bits}$$
#
# ($R$: the secret and all the others; rank 1 is the smallest loss.) For a secret that the model never saw, every rank is
# equally likely, and the exposure is 1.4 bits on average. Every bit more halves the numbers an attacker has to try.
#
# By hand: losses 2.0 of the secret and 1.0, 3.0 and 4.0 of three others. The secret has rank 2 of 4, so 2 - 1 = 1 bit. The
# library's `exposure` counts the same way.

# %%
print(memorization.exposure(2.0, [1.0, 3.0, 4.0]), "bit; the best of eight:", memorization.exposure(0.5, range(1, 8)), "bits")

# %% [markdown]
# Each secret is compared with 63 others, so at most 6 bits can be seen. **Extracted** means more: the model, given the
# beginning, writes the secret by itself.

# %%
asked = by_scale(tiny=canaries[-1:], cpu=canaries, gpu=canaries)
told = pd.DataFrame(asked)
tried = by_scale(tiny=7, cpu=memorization.CANDIDATES, gpu=memorization.CANDIDATES)
told["exposure"] = memorization.measure_exposures(writer, reader, asked, tried)
told["extracted"] = memorization.extract(writer, reader, asked)
live_exposures = told.groupby("repeats")["exposure"].mean()
told.round(2)

# %%
writer = reader = None  # 600 MB that are not needed any more
runtime.free_memory()
record = calibration.load_record("lab9_responsible", "canaries", treatment="as they are")
bars = calibration.bars(record, {f"{n} times in the texts": f"exposure_{n}" for n in memorization.REPEATS})
live = {f"{n} times in the texts": value for n, value in live_exposures.items()} if comparable else None
plots.plot_bars(bars, "What the model gives away of a number", "exposure (bits, at most 6)", live=live);

# %%
print(f"you predicted {my_repeats} times · share of numbers that the model writes by itself:")
record[[f"extracted_{n}" for n in memorization.REPEATS]].mean().round(2)

# %% [markdown]
# Two lessons. First, **repetition** is what makes a model remember. Second, exposure warns earlier than extraction: a
# number that stands there 4 times is not always written out, but the model already prefers it to almost all others.
#
# ## 2. Two remedies before training
#
# What stands there once is hard to remember, so take out copies. Exact copies are easy to find. Forwarded messages differ
# a little: an exclamation mark, a *please*. We call two texts **near-duplicates** when they share most of their words:
#
# $$J(A, B) = \frac{|A \cap B|}{|A \cup B|} \quad \text{(Jaccard similarity of two sets of words)}$$
#
# ### Exercise 1 · Near-duplicates (10 minutes, 3 points)
#
# Write `deduplicate`: go through the texts in order and keep each that is unlike all texts **kept** so far. The
# words of a text are the set of `re.findall(r"\w+", text.lower())`.

# %% answer="deduplicate"
def deduplicate(texts, threshold):
    """Numbers of the texts to keep, in order (a list of ints).

    A text goes if the Jaccard similarity of its set of words with that of a text that was kept before it is at least
    threshold. Every text has at least one word.
    Example: ["Call Amina now", "call amina, NOW!", "Call Musa"] with threshold 0.7 gives [0, 2].
    """
    ### BEGIN SOLUTION
    kept, sets = [], []
    for number, text in enumerate(texts):
        words = set(re.findall(r"\w+", text.lower()))
        if all(len(words & other) / len(words | other) < threshold for other in sets):
            kept.append(number)
            sets.append(words)
    return kept
    ### END SOLUTION

# %%
# Try it. Of the copies of one message, one should stay.
copies = [text for text in planted if text.startswith(canaries[-1]["prompt"])]
print(len(copies), "copies, kept:", [copies[i] for i in deduplicate(copies, 0.7)])

# %% check="deduplicate" points=3
assert list(deduplicate(["Call Amina now", "call amina, NOW!", "Call Musa"], 0.7)) == [0, 2]
assert list(deduplicate(["a b c d", "a b c e", "x"], 0.6)) == [0, 2]
assert list(deduplicate(["Ƙasa, ɗaya", "ƙasa ɗaya!", "ƙasa"], 0.9)) == [0, 2], "letters that are not English are letters too"

# %% [markdown]
# <details><summary>Hint 1</summary>Two lists grow together: the numbers that are kept, and their sets of words. Compare a
# new set with the kept ones only.</details>
# <details><summary>Hint 2</summary><code>len(a &amp; b) / len(a | b)</code> is the similarity of two sets. Keep the text if
# <code>all(similarity &lt; threshold ...)</code>.</details>

# %% [markdown]
# The second remedy is **redaction**: put `[PHONE]` in the place of every number (lab 4). It also helps against what
# stands there once. But it finds only what it has a pattern for; names, for example, stay.

# %%
kept = [planted[i] for i in memorization.deduplicate(planted)]
redacted = [prompting.redact(text) for text in planted]
for way, texts in (("as they are", planted), ("near-duplicates out", kept), ("numbers redacted", redacted)):
    numbers = sum(canary["prompt"][-8:] in text for canary in canaries for text in texts)
    print(f"{way:>19}: {len(texts):3d} texts, {numbers} with a planted number")

# %%
record = calibration.load_record("lab9_responsible", "canaries")
summaries = {way: calibration.bars(rows, {f"{n} times": f"exposure_{n}" for n in memorization.REPEATS})
             for way, rows in record.groupby("treatment", sort=False)}
plots.plot_dots(summaries, "The same canaries after each remedy", "exposure (bits)", guide=("never seen", 1.38));

# %% [markdown]
# With the near-duplicates out, 16 copies are worth no more than one. (Each row of the plot is ten people, two in each of
# five runs: differences of one or two bits between people who are in the texts once are chance.) With redaction the
# numbers are gone, and what is left
# scatters about chance. Both cost a minute. They come before every other technique.
#
# ## 3. Was this text in the training data?
#
# A classifier writes nothing. Can it still tell on people? If a model for *patients* was trained on your message, it is
# a secret that your message was there. **Membership inference** asks this of one text. The simplest attack (Yeom et al.):
# a model has a smaller loss on texts that it was trained on. Call a text a member if its loss is below a threshold.
#
# Two numbers tell how good an attack is. The **AUC** is the probability that a member has a smaller loss than another
# text (0.5 is chance). But an average hides much: an attacker who is *sure about a few people* does the harm. So look
# also at the **true-positive rate at a low false-positive rate**: how many members are found if at most 5 % of the others
# may be accused.
#
# ### Exercise 2 · The attack (15 minutes, 3 points)
#
# Write `membership_attack`: the AUC, and the share of members found at a limited share of false alarms.

# %% answer="membership_attack"
def membership_attack(member_losses, other_losses, most_false):
    """(AUC, true-positive rate) of the rule "a member if the loss is at most a threshold", two Python floats.

    member_losses (m,), other_losses (n,): tensors. AUC: the share of all m * n pairs in which the member has the smaller
    loss; a pair with equal losses counts half. Rate: the largest share of members found by any threshold that calls at
    most the share most_false of the others members. Compare shares in float64.
    Example: members [0.1, 0.2, 0.9], others [0.3, 0.8], most_false 0.0 -> (0.667, 0.667): 4 of 6 pairs, and a threshold
    of 0.2 finds two members of three and no other.
    """
    ### BEGIN SOLUTION
    pairs = other_losses[None] - member_losses[:, None]
    auc = (pairs > 0).double().mean() + (pairs == 0).double().mean() / 2
    rates = [0.0]
    for threshold in member_losses:
        if (other_losses <= threshold).double().mean() <= most_false:
            rates.append(float((member_losses <= threshold).double().mean()))
    return float(auc), max(rates)
    ### END SOLUTION

# %%
# Try it on random losses. You should see about 0.5 and about 0.05.
print(membership_attack(torch.rand(1000), torch.rand(1000), 0.05))

# %% check="membership_attack" points=3
auc, rate = membership_attack(torch.tensor([0.1, 0.2, 0.9]), torch.tensor([0.3, 0.8]), 0.0)
assert np.isclose(auc, 2 / 3) and np.isclose(rate, 2 / 3)

# %% [markdown]
# <details><summary>Hint 1</summary><code>other_losses[None] - member_losses[:, None]</code> is a table of all pairs. For
# the rate, only the members' own losses need to be tried as thresholds.</details>
# <details><summary>Hint 2</summary>For each threshold: if <code>(other_losses &lt;= t).double().mean() &lt;= most_false</code>, it
# counts, and <code>(member_losses &lt;= t).double().mean()</code> is its rate. Take the largest; 0 if none counts.</details>

# %% [markdown]
# We fine-tune MiniLM on 100 texts for 10 epochs, far too long, and attack it after each epoch. The other 100 texts have
# the same source, and the model has not seen them.
#
# **Predict first.** After 10 epochs, what AUC does the attack reach?

# %%
my_auc = 0.5

# %%
few = by_scale(tiny=12, cpu=100, gpu=100)
members, others = data.subsample(sentences["train"], few, seed=0), data.subsample(sentences["test"], few, seed=0)
attacks = pd.DataFrame(privacy.train_and_attack(
    members, others, epochs=by_scale(tiny=1, cpu=10, gpu=10), output_dir=f"runs/attacked-{runtime.scale()}"))
print(f"you predicted an AUC of {my_auc}")
attacks[["epoch", "member_loss", "loss", "accuracy", "auc", "tpr"]].round(3)

# %%
record = calibration.load_record("lab9_responsible", "membership")
columns = {"attack: AUC": "auc", "attack: members found at 5 % false alarms": "tpr", "accuracy on the others": "accuracy"}
flat = record[["epoch", *columns.values(), "seed"]].explode(["epoch", *columns.values()]).astype(float)
axes = plots.plot_lines(calibration.curves(flat, "epoch", columns), "epoch", "100 texts, 10 epochs (English)", "epoch",
                        ylabel="share", log=False, live=(len(attacks), attacks["auc"].iloc[-1]) if comparable else None)
axes.axhline(0.5, color=plots.GREY, linestyle="--", linewidth=1);

# %% [markdown]
# The loss on the others is smallest after two epochs; from then on the model learns its 100 texts by heart, and the attack
# gets better. **Overfitting is a privacy risk**. Stopping early is a first defence, and it has its price: after two epochs
# 0.66 of the others are right, after seven 0.72, and the attack's AUC is 0.76 and 0.88. Look again at the second epoch:
# the attack is well above chance there, too. And stopping early promises nothing: the attack of tomorrow may be better
# than ours. (In section 4 it is.)

# %% [markdown]
# ## 4. A promise with a number
#
# **Differential privacy** is such a promise. Train twice: once with your message among the data and once without it. If
# everything that can be seen of the model is almost equally probable both times, nobody can tell whether it was there:
#
# $$P(\text{model} \in S \mid \text{with it}) \le e^{\varepsilon} \, P(\text{model} \in S \mid \text{without it}) + \delta$$
#
# and the same with the two sides exchanged. The **budget** $\varepsilon$ says how much the two may differ, $\delta$ is a
# tiny probability that this fails; it must be far below one in the number of rows. $\varepsilon = 1$ is strong, 8 is weak
# but common, infinity is no promise.
#
# What can we train? Noise has as many dimensions as the model has weights, so **few weights** help: a head on frozen
# features. In English these are MiniLM's vectors (384 numbers a text). In another language, pieces of 2 to 4 characters,
# put by a hash function into 512 places: a vocabulary *counted* from the messages would itself give something away.
#
# $$\text{text} \;\to\; v\,(385 \text{ or } 513, \text{ the last is } 0.3\text{, for the bias}) \;\to\; W v \qquad
# W\,(\text{classes} \times 385 \text{ or } 513)$$

# %% locked="features"
kind = privacy.feature_kind(LANGUAGE)
private_set = data.subsample(sentences["train"], by_scale(tiny=60, cpu=privacy.ROWS, gpu=privacy.ROWS))
private_labels = np.array(private_set["label"])
features = privacy.text_features(private_set["text"], kind)
test_features = privacy.text_features(test_set["text"], kind)
print(f"{features.shape[0]} texts, {features.shape[1]} numbers each ({kind})")

# %% [markdown]
# ### DP-SGD, in five steps
#
# **DP-SGD** (differentially private stochastic gradient descent) gets there with two changes to the training step. The
# gradient $g_i$ of each row is cut to length $C$, so that no single row can pull far; and noise of the size of one row's
# largest pull is added:
#
# $$\bar g = \frac{1}{B} \Big( \sum_i g_i \cdot \min\big(1, \tfrac{C}{\lVert g_i \rVert}\big) + \sigma C z \Big) \qquad z \sim N(0, I)$$
#
# $B$ is the *expected* size of a batch: each row is drawn with probability $q$, so sizes differ, and the real size would
# give something away. $\sigma$ is the **noise multiplier**.
#
# In exercises 3 to 7 you write all of it, about 60 lines: the gradients, the noisy step, the accountant, the search for
# $\sigma$, and the loop that stops in time. All arrays are NumPy's.

# %%
from leaplm.drawings import show_drawing

show_drawing("lab9_responsible")

# %% [markdown]
# ### Exercise 3 · Per-example gradients (10 minutes, 2 points)
#
# An ordinary training step needs the *mean* gradient only. We must cut each one, so we need each one. For a head it is
# short: the probabilities $p$ minus 1 at the label, times the features. With $y$ the label as a vector of 0 and one 1:
#
# $$g = \frac{\partial}{\partial W}\big(-\log p_y\big) = (p - y)\, v^\top \qquad p = \text{softmax}(W v) \qquad
# g\,(\text{classes} \times \text{width})$$
#
# Write `per_example_gradients`: the gradient of the cross-entropy of each row, not their mean.

# %% answer="per_example_gradients"
def per_example_gradients(weight, features, labels):
    """An array (n, classes * width): for each row the gradient of its cross-entropy (nats) by the weight.

    weight (classes, width), features (n, width), labels (n,) whole numbers. Row i of the result is the table (p - y) v of
    text i, laid out as one line, class after class. n may be 0: then the result is (0, classes * width). Scores W v may
    lie anywhere from -1000 to 1000.
    Example: weight of zeros (2, 2), features [[1., 4.]], labels [0]: p - y is [-0.5, 0.5], so [[-0.5, -2., 0.5, 2.]].
    """
    ### BEGIN SOLUTION
    scores = features @ weight.T
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    errors = chances / chances.sum(axis=1, keepdims=True)
    errors[np.arange(len(labels)), labels] -= 1
    gradients = errors[:, :, None] * features[:, None, :]
    return gradients.reshape(len(labels), weight.size)
    ### END SOLUTION

# %%
# Try it on five texts. You should see (5, 770) in English, and lengths of about 0.74.
some = per_example_gradients(np.zeros((len(names), features.shape[1])), features[:5], private_labels[:5])
print(some.shape, np.linalg.norm(some, axis=1).round(2))

# %% check="per_example_gradients" points=2
flat, lone = np.zeros((2, 2)), np.array([[1.0, 4.0]])
assert np.allclose(per_example_gradients(flat, lone, np.array([0])), [[-0.5, -2.0, 0.5, 2.0]])
assert np.shape(per_example_gradients(flat, lone[:0], np.array([], dtype=int))) == (0, 4), "no rows, no gradients"
assert np.isfinite(per_example_gradients(flat + [[0], [200]], lone, np.array([0]))).all(), "scores of 0 and 1000"

# %% [markdown]
# <details><summary>Hint 1</summary>Softmax of each row of <code>features @ weight.T</code> (take the row's largest score off
# first), then subtract 1 at <code>[np.arange(n), labels]</code>. No mean anywhere.</details>
# <details><summary>Hint 2</summary><code>errors[:, :, None] * features[:, None, :]</code> has the shape (n, classes, width);
# <code>.reshape(len(labels), weight.size)</code> lays each table out as one line.</details>

# %% [markdown]
# For any other PyTorch model, `torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))` gives the same: one gradient a
# row. It needs as many numbers as rows times weights; this is why private training of large models is dear.
#
# ### Exercise 4 · Clip and add noise (10 minutes, 2 points)
#
# Write `clip_and_noise`: one private gradient from the gradients of single rows.

# %% answer="clip_and_noise"
def clip_and_noise(gradients, max_norm, noise_multiplier, normal, expected_batch):
    """The private gradient, an array (parameters,).

    gradients (batch, parameters): one row per text; there may be none. max_norm: C. noise_multiplier: sigma.
    normal (parameters,): standard normal numbers z. expected_batch: B, which is not always the number of rows.
    Example: gradients [[3., 4.], [0., 0.5]], C 1, sigma 2, z [1., 0.], B 2: the first row has length 5 and becomes
    [0.6, 0.8], the second stays; their sum [0.6, 1.3] plus [2., 0.], divided by 2, gives [1.3, 0.65].
    """
    ### BEGIN SOLUTION
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
    factors = np.minimum(1, max_norm / np.maximum(lengths, 1e-12))
    noise = noise_multiplier * max_norm * normal
    return ((gradients * factors).sum(axis=0) + noise) / expected_batch
    ### END SOLUTION

# %%
# Try it. Without noise and with long gradients, the result is at most C long however large they are.
print(np.linalg.norm(clip_and_noise(1000 * np.random.randn(8, 5), 1.0, 0.0, np.zeros(5), 8)))

# %% check="clip_and_noise" points=2
gradients = np.array([[3.0, 4.0], [0.0, 0.5]])
private = clip_and_noise(gradients, 1.0, 2.0, np.array([1.0, 0.0]), 2)
assert np.allclose(private, [1.3, 0.65])
assert gradients[0, 0] == 3, "`gradients` should stay as they are"

# %% [markdown]
# <details><summary>Hint 1</summary>Four steps: length of each row, scale the long ones down to C, add up over the rows,
# add the noise once. Short rows stay as they are.</details>
# <details><summary>Hint 2</summary>The factor of a row is <code>np.minimum(1, max_norm / length)</code>, with a length that is
# at least a tiny number, so that a row of zeros is no problem. Divide sum and noise by <code>expected_batch</code>.</details>

# %% [markdown]
# ### The accountant
#
# How large must $\sigma$ be for $\varepsilon = 8$? That is an **accountant's** work: it adds up what each step gives away.
# $\varepsilon$ cannot be added up well, but the **Rényi divergence** of an order $\alpha$ can: it measures how much more probable
# results are with a row than without it, and large $\alpha$ looks at the rarest ones. A step with the sample rate $q$ has at most
#
# $$r_\alpha = \frac{1}{\alpha - 1} \log \sum_{k=0}^{\alpha} \binom{\alpha}{k} (1 - q)^{\alpha - k} q^k \, e^{k (k - 1) / (2 \sigma^2)}$$
#
# ($k$ of $\alpha$ copies of the batch hold the row.) $T$ steps have $T r_\alpha$. Each order then gives an $\varepsilon$ at our
# $\delta$, all of them are true, and we take the smallest:
#
# $$\varepsilon = \min_\alpha \Big( T r_\alpha + \log \frac{\alpha - 1}{\alpha} - \frac{\log (\delta \alpha)}{\alpha - 1} \Big)$$
#
# It asks for $\sigma$, $q$, the number of steps and $\delta$. It does not ask for the data, the model, $C$ or the learning
# rate: the promise does not depend on them.
#
# ### Exercise 5 · Epsilon spent (20 minutes, 3 points)
#
# Write `rdp_epsilon`, without Opacus: the $\varepsilon$ that so many steps have spent, by the whole orders 2 to 32.

# %% answer="rdp_epsilon"
def rdp_epsilon(noise_multiplier, sample_rate, steps, delta):
    """The epsilon spent (one number, at least 0): the smallest over the orders 2, 3, ..., 32, natural logarithms.

    noise_multiplier: sigma; 0 gives math.inf. sample_rate: q, above 0 and at most 1. steps: T, at least 1.
    * With q = 1 only k = alpha is left in the sum, so r is alpha / (2 sigma^2).
    * e^(k (k - 1) / (2 sigma^2)) can be too large for a number (sigma 0.5, k 32: e^1984). So add up logarithms: the log of
      the sum of e^a, e^b, ... is m + log(e^(a - m) + e^(b - m) + ...), where m is the largest of a, b, ...
    Example: sigma 1, q 1, 1 step, delta 1e-5: order 5 gives 2.5 - 0.223 + 2.476 = 4.753, and all others give more.
    """
    ### BEGIN SOLUTION
    if noise_multiplier == 0:
        return math.inf
    found = []
    for order in range(2, 33):
        if sample_rate == 1:
            divergence = order / (2 * noise_multiplier**2)
        else:
            logs = []
            for k in range(order + 1):
                chance = math.log(math.comb(order, k)) + k * math.log(sample_rate)
                chance += (order - k) * math.log(1 - sample_rate)
                logs.append(chance + k * (k - 1) / (2 * noise_multiplier**2))
            largest = max(logs)
            total = sum(math.exp(value - largest) for value in logs)
            divergence = (largest + math.log(total)) / (order - 1)
        to_delta = math.log((order - 1) / order) - math.log(delta * order) / (order - 1)
        found.append(steps * divergence + to_delta)
    return max(0.0, min(found))
    ### END SOLUTION

# %%
# Try it beside Opacus's accountant, which asks more orders. You should see nearly the same, but not at 0.5.
for noise in (0.5, 1, 2, 4, 8):
    theirs = privacy.epsilon_spent(noise, sample_rate=0.25, steps=100, delta=1e-5)
    print(f"noise multiplier {noise:3}: epsilon {rdp_epsilon(noise, 0.25, 100, 1e-5):7.3f}, by Opacus {theirs:7.3f}")

# %% check="rdp_epsilon" points=3
assert np.isclose(rdp_epsilon(1.0, 1.0, 1, 1e-5), 4.7527, atol=1e-3)
assert rdp_epsilon(2.0, 0.5, 10, 1e-5) < rdp_epsilon(2.0, 1.0, 10, 1e-5), "whoever is not always drawn is hidden better"
assert np.isfinite(rdp_epsilon(0.2, 0.25, 10, 1e-5)), "add up logarithms, or the numbers become too large"
assert rdp_epsilon(0, 0.25, 10, 1e-5) == math.inf

# %% [markdown]
# <details><summary>Hint 1</summary>Two loops: over the orders, and over k from 0 to the order (included). In the inner one the
# logarithm of a term is <code>log(comb(order, k)) + k log(q) + (order - k) log(1 - q) + k (k - 1) / (2 sigma**2)</code>.
# </details>
# <details><summary>Hint 2</summary>With the terms' logarithms in a list <code>logs</code> and <code>m = max(logs)</code>, r is
# <code>(m + math.log(sum(math.exp(x - m) for x in logs))) / (order - 1)</code>. Then <code>steps * r + math.log((order - 1) /
# order) - math.log(delta * order) / (order - 1)</code>, and the smallest of all.</details>

# %% [markdown]
# Your accountant is right and a little careful: orders between the whole ones give a slightly smaller number. (With much too
# little noise, 0.5, the best order is below 2, and your $\varepsilon$ is far too large; nobody wants that budget.) With every order
# a larger $\sigma$ means a smaller $\varepsilon$, so the $\sigma$ for a budget can be found by halving an interval.
#
# ### Exercise 6 · The noise for a budget (5 minutes, 1 point)
#
# Write `find_noise`: the smallest noise multiplier that keeps a budget, by **bisection**.

# %% answer="find_noise"
def find_noise(spent, epsilon):
    """The smallest noise multiplier with spent(noise) <= epsilon (one number): at most 0.001 too large, never too small.

    spent: a function of the noise multiplier, for numbers above 0; it falls as the noise grows. It may be slow: a hundred
    calls are more than enough. The answer can lie anywhere between 0.01 and 1000.
    * For example, double a first guess until its budget is kept. Now the answer lies below it, and above the last that was
      too small.
    * Look at the middle of the two, again and again, and keep the half that holds the answer.
    Example: spent = lambda noise: 6 / noise with epsilon 2.0 gives a number from 3.0 to 3.001.
    """
    ### BEGIN SOLUTION
    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    while high - low > 0.001:
        middle = (low + high) / 2
        if spent(middle) <= epsilon:
            high = middle
        else:
            low = middle
    return high
    ### END SOLUTION

# %%
# Try it: how much noise does epsilon 8 need? About 1.8 for our 100 steps; and for epsilon 1 more than five times as much.
for epsilon in (8, 1):
    print(f"epsilon {epsilon}: noise {find_noise(lambda noise: rdp_epsilon(noise, 0.25, 100, 1e-5), epsilon):.3f}")

# %% check="find_noise" points=1
for wanted in (3.0, 0.2, 40.0):
    found_noise = find_noise(lambda noise, wanted=wanted: 2 * wanted / noise, 2.0)
    assert wanted <= found_noise <= wanted + 0.001

# %% [markdown]
# <details><summary>Hint 1</summary>Two numbers: <code>low</code>, which is too small, and <code>high</code>, which is large
# enough. Start with 0 and 1.</details>
# <details><summary>Hint 2</summary>First <code>while spent(high) &gt; epsilon: low, high = high, 2 * high</code>. Then, while
# they are more than 0.001 apart, <code>high = middle</code> if the budget is kept there, else <code>low = middle</code>. Return
# <code>high</code>.</details>

# %% [markdown]
# **A row is not a person.** So far the promise holds for one message. Somebody who wrote ten of the 2,000 is protected
# as a group of ten only, and then $\varepsilon$ counts about ten times: 80, which is nothing. The remedy is to do everything by
# *person*: draw people, and add up all gradients of a person before they are cut. Then no *person* can pull further than $C$.
#
# ### Exercise 7 · The loop (25 minutes, 3 points)
#
# Write `dp_sgd`: the whole training, for people with one row or with many. Use your functions; where one of them does not
# work yet, `privacy.per_example_gradients`, `privacy.clip_and_noise` and `privacy.rdp_epsilon` may stand in **here**.

# %% answer="dp_sgd"
def dp_sgd(features, labels, people, classes, config, noise_multiplier, generator):
    """(weight (classes, width), epsilon spent, history). features (n, width), labels (n,): arrays. generator: of NumPy.

    people (n,): an array, who wrote each row, 0 to m - 1; each number occurs. config: .epsilon, .delta, .sample_rate, .steps,
    .max_norm, .rate(step).
    From zeros, for step 0, 1, ... up to config.steps:
    * Stop before a step after which `rdp_epsilon` would be above config.epsilon.
    * Draw people: generator.random(m) < config.sample_rate, and take all rows of those drawn; it may be nobody. Add up
      the gradients of each person. Then draw the noise: generator.normal(size=classes * width).
    * clip_and_noise, one row a person; B is sample_rate * m. Then weight - config.rate(step) * private gradient.
    history: a list with {"epsilon": spent so far, "length": of the private gradient} for each step, and nothing else:
    a loss, or how many were drawn, has no noise and breaks the promise. With no step at all epsilon spent is 0.0.
    Example: epsilon 8.0 with 100 steps of which 60 keep the budget: 60 entries, and the last epsilon is just below 8.
    """
    ### BEGIN SOLUTION
    weight, spent, history = np.zeros((classes, features.shape[1])), 0.0, []
    count = people.max() + 1
    for step in range(config.steps):
        after = rdp_epsilon(noise_multiplier, config.sample_rate, step + 1, config.delta)
        if after > config.epsilon:
            break
        drawn = np.flatnonzero(generator.random(count) < config.sample_rate)
        gradients = np.zeros((len(drawn), weight.size))
        for place, person in enumerate(drawn):
            rows = people == person
            gradients[place] = per_example_gradients(weight, features[rows], labels[rows]).sum(axis=0)
        normal = generator.normal(size=weight.size)
        gradient = clip_and_noise(gradients, config.max_norm, noise_multiplier, normal, config.sample_rate * count)
        weight = weight - config.rate(step) * gradient.reshape(weight.shape)
        spent = after
        history.append({"epsilon": spent, "length": float(np.linalg.norm(gradient))})
    return weight, spent, history
    ### END SOLUTION

# %% check="dp_sgd" points=3
rows_of_two = np.eye(3), np.array([0, 1, 0]), np.array([0, 1, 0])  # features, labels, and who wrote them
few_steps = privacy.PrivateConfig(epsilon=3.0, steps=60)
found_head, found_epsilon, found_steps = dp_sgd(*rows_of_two, 2, few_steps, 3.0, np.random.default_rng(0))
assert np.shape(found_head) == (2, 3) and len(found_steps) == 53 and 2.9 < found_epsilon <= 3
again, _, _ = dp_sgd(*rows_of_two, 2, few_steps, 3.0, np.random.default_rng(0))
assert np.allclose(found_head, again), "equal seeds, equal heads"

# %% [markdown]
# <details><summary>Hint 1</summary>The order in a step: account, draw people, gradients, draw noise, clip and add, move. Ask the
# accountant for <code>step + 1</code> steps, and <code>break</code> where the answer is above the budget.</details>
# <details><summary>Hint 2</summary><code>drawn = np.flatnonzero(generator.random(m) &lt; config.sample_rate)</code>, then
# <code>gradients = np.zeros((len(drawn), weight.size))</code>, and for each person drawn <code>rows = people == person</code> and
# <code>per_example_gradients(weight, features[rows], labels[rows]).sum(axis=0)</code>.</details>

# %% [markdown]
# **A place to stop.** Your answers stay in the notebook. To go on another day: open it, click on this cell, choose
# *Run › Run All Above Selected Cell* (on Colab *Runtime › Run before*), wait a few minutes, and go on below. An exercise that
# is still open stops this run: then run the cells behind it by hand.

# %% [markdown]
# ### Your loop at work
#
# Each of our texts counts as one person's. The measure is macro-F1, the mean over the classes (lab 2): who always says the
# most frequent class gets 0.33 of two classes. **Predict first.** What does the head reach without a promise, with
# $\varepsilon = 8$, and with $\varepsilon = 1$?

# %%
my_price = {"none": 0.0, 8: 0.0, 1: 0.0}  # macro-F1

# %% locked="private"
heads, rows = {}, []
for epsilon in by_scale(tiny=(math.inf, 8), cpu=(math.inf, 8, 3, 1), gpu=(math.inf, 8, 3, 1)):
    config = privacy.private_config(LANGUAGE, epsilon)
    weight, noise = privacy.train_head_privately(features, private_labels, len(names), config, SEED)
    predictions = privacy.head_logits(weight, test_features).argmax(1)
    low, high = evaluation.bootstrap_interval(test_labels, predictions, evaluation.macro_f1, rounds=300)
    rows.append({"epsilon": epsilon, "noise multiplier": noise, "low": low, "high": high,
                 "macro-F1": evaluation.macro_f1(test_labels, predictions)})
    heads[epsilon] = weight, noise, config

# %%
one_class = evaluation.majority_baseline(private_labels, test_labels)
majority, majority_f1 = evaluation.accuracy(test_labels, one_class), evaluation.macro_f1(test_labels, one_class)
budgets = {row["epsilon"]: row["macro-F1"] for row in rows}
print(f"macro-F1 of the majority class {majority_f1:.2f} · you predicted {my_price}")
pd.DataFrame(rows).round(3)

# %% [markdown]
# That was the library's loop. And yours, with the noise that your accountant finds, and the same random numbers?

# %%
config = privacy.private_config(LANGUAGE, 8)
noise = find_noise(lambda noise: rdp_epsilon(noise, config.sample_rate, config.steps, config.delta), config.epsilon)
each = np.arange(len(private_labels))  # every text is another person's
my_head, spent, history = dp_sgd(features, private_labels, each, len(names), config, noise, np.random.default_rng([SEED, 12]))
score = evaluation.macro_f1(test_labels, privacy.head_logits(my_head, test_features).argmax(1))
print(f"your loop: noise {noise:.3f}, {len(history)} steps, epsilon {spent:.2f}, macro-F1 {score:.3f}; "
      f"without a promise {budgets[math.inf]:.3f}, majority class {majority_f1:.3f}")

# %% [markdown]
# In the record five draws of 2,000 English texts give 0.788 ± 0.006 at $\varepsilon = 8$; one run on 300 test texts can be two
# or three points off. Now with **people**: five texts each, invented here by taking five neighbours. The same budget then
# hides a person among 400, not a text among 2,000. **Predict first:** what macro-F1 is left?

# %%
my_by_person = 0.0

# %%
people = np.arange(len(private_labels)) // 5
noise = privacy.find_noise(lambda noise: privacy.rdp_epsilon(noise, config.sample_rate, config.steps, config.delta), 8)
by_person, spent, _ = privacy.dp_sgd(features, private_labels, people, len(names), config, noise, np.random.default_rng(SEED))
score = evaluation.macro_f1(test_labels, privacy.head_logits(by_person, test_features).argmax(1))
print(f"{people.max() + 1} people: epsilon {spent:.2f} for a person, macro-F1 {score:.3f} (you predicted {my_by_person}); "
      f"for a text {budgets[8]:.3f}")

# %% [markdown]
# It mostly costs some points: five texts together pull no further than one text did before, and the noise is the same. The
# other way round: if you had counted rows where people wrote five each, your $\varepsilon$ of 8 would have been about 40 for them.
#
# Opacus has most of this ready for any PyTorch model (`PrivacyEngine.make_private`). The same head, the same settings, other
# random numbers:

# %%
theirs, spent = privacy.train_head_with_opacus(features, private_labels, len(names), heads[8][2])
score = evaluation.macro_f1(test_labels, privacy.head_logits(theirs, test_features).argmax(1))
print(f"Opacus: macro-F1 {score:.3f}, epsilon spent {spent:.2f}")

# %% [markdown]
# What is the price? With few rows, each of them has to be hidden among few others:

# %%
record = calibration.load_matching("lab9_responsible", "price", language=recorded)
record["epsilon"] = record["epsilon"].astype(str).replace("none", "infinite")
curves = {f"epsilon {epsilon}": calibration.summarize(part, "rows", "macro_f1")
          for epsilon, part in record.groupby("epsilon", sort=False)}
live = (len(private_set), budgets[8]) if recorded == LANGUAGE and runtime.scale() != "tiny" else None
plots.plot_lines(curves, "rows", f"The price of privacy ({data.NAMES[recorded]})", "labelled texts", "macro-F1", live,
                 flat={"majority class": record["majority_macro_f1"]});

# %% [markdown]
# In English, 2,000 texts give 0.79 without a promise, 0.79 with $\varepsilon = 8$ and 0.73 with $\varepsilon = 1$. 250 texts
# give 0.74, 0.68 and 0.57; the majority class has 0.33. In Hausa 2,000 tweets in three classes give 0.59, 0.57 and 0.48
# (majority class 0.17), and 250 give 0.54, 0.46 and 0.36. This is hard news for small languages: **the fewer people, the
# dearer their privacy.**
#
# ### Open task · More accuracy for the same budget
#
# No points; 20 minutes or a weekend. **The number to beat:** at $\varepsilon = 1$, 2,000 English texts give a macro-F1 of
# 0.73 ± 0.02 in the record (five draws). The next cell gives your own baseline: the same 2,000 texts, five seeds of the noise.
# Change the loop, keep $\varepsilon$ and $\delta$, and take the same five seeds. It can be done: we know of settings that gain
# three points. What to try:
#
# * **the batch**: a larger sample rate needs more noise a step, and each step has more rows to hide it;
# * **the clipping norm** $C$: rows are 0.74 long at first. What does a $C$ of 1 leave unused, and what does one of 0.5 cut?
# * **fewer steps**, or more, each with the noise that `find_noise` gives for it, and another learning rate;
# * **averaging**: the mean of the weights of the last half of the steps. It costs nothing, since all of them are private;
# * **a public start**: train a head on texts that are nobody's secret (another kind of text, such as
#   `data.load_sentiment("eng", "tweets")`), and begin there instead of at zero.
#
# Report mean and standard deviation of both, and the difference seed by seed. **A warning:** every setting that you try on
# the private texts costs privacy, too, and your $\varepsilon$ does not count it. Choose on texts that play public ones: those of
# `sentences["train"]` that are not among the 2,000. Then train once on the private ones.

# %% locked="baseline"
strict, strict_scores = privacy.private_config(LANGUAGE, 1), []
strict_noise = privacy.noise_for(1, strict.delta, strict.sample_rate, strict.steps)
for seed in range(by_scale(tiny=1, cpu=5, gpu=5)):
    weight = privacy.train_head_with_noise(features, private_labels, len(names), strict, strict_noise, seed)
    strict_scores.append(evaluation.macro_f1(test_labels, privacy.head_logits(weight, test_features).argmax(1)))
print(f"epsilon 1, baseline: macro-F1 {np.mean(strict_scores):.3f} ± {np.std(strict_scores):.3f}", np.round(strict_scores, 3))

# %%
# Your own loop here. Begin with a copy of your `dp_sgd` under another name.

# %% [markdown]
# ### A weak attack proves nothing
#
# What does an attacker find? First our threshold on the loss, then a better attack. An easy text has a small loss whether it
# was trained on or not. So compare each text **with itself**: train 128 other heads, the *shadows*, each on a random half
# of the texts. For each text there are then losses of heads that saw it and of heads that did not; to which does the loss
# of the attacked head belong (Carlini et al., 2022)? The attacker needs texts of the same kind and some seconds of a CPU.
#
# **Predict first.** A head trained as usual on 250 texts: at 5 % false alarms, how many members does each attack find?

# %%
my_found = {"threshold": 0.0, "shadows": 0.0}

# %%
record = calibration.load_matching("lab9_responsible", "shadows", language=recorded)
record["training"] = record["epsilon"].map({"none": "as usual", 8: "epsilon 8", 1: "epsilon 1"})
found = {attack: calibration.summarize(record, "training", column) for attack, column in
         (("threshold on the loss", "loss_tpr"), ("128 shadow heads", "shadow_tpr"))}
plots.plot_dots(found, f"Members found at 5 % false alarms, 250 of 500 texts ({data.NAMES[recorded]})",
                "share of the members", guide=("chance", 0.05))
print(f"you predicted {my_found}")
record.groupby("training", sort=False)[["loss_auc", "loss_tpr", "shadow_auc", "shadow_tpr"]].mean().round(3)

# %% [markdown]
# The threshold finds 6 % of the members in English, at 5 % false alarms: chance. The same heads, attacked with shadows,
# give away
# **37 %** of their members, and in Hausa, where the head reads pieces of words, **72 %**. "The attack finds little" was a
# fact about the attack, not about the model. Of heads with $\varepsilon = 8$ the shadows find 12 % in English and 10 % in
# Hausa, with
# $\varepsilon = 1$ 6 %: about chance. From 8 to 1 you see what noise buys. From the usual head to 8 not all is noise:
# the usual head is trained to the end, the heads with a budget in 100 steps with clipped gradients.
#
# ### What the promise says
#
# At a share $f$ of false alarms **no** attack, also none of tomorrow, finds more than
#
# $$\min\big(e^{\varepsilon} f + \delta, \;\; 1 - e^{-\varepsilon}(1 - \delta - f)\big)$$
#
# of the members: the definition, and the definition with its sides exchanged. With 5 % false alarms this is 14 % at
# $\varepsilon = 1$ and 95 % at $\varepsilon = 3$. But one training keeps a promise for **every** $\delta$ at once, each
# with its own
# $\varepsilon$, and the best of these pairs counts. So the whole promise is a curve:

# %%
shares, limits = np.linspace(0, 1, 201), {}
for epsilon in (1, 3, 8):
    noise = privacy.noise_for(epsilon, delta=1e-5, sample_rate=0.25, steps=100)
    profile = privacy.privacy_profile(noise, sample_rate=0.25, steps=100)
    limits[f"epsilon {epsilon}"] = [min(privacy.most_found(share, *pair) for pair in profile) for share in shares]
    alone, together = privacy.most_found(0.05, epsilon, 1e-5), min(privacy.most_found(0.05, *pair) for pair in profile)
    print(f"epsilon {epsilon}: at 5 % false alarms at most {alone:.0%} by the pair alone, {together:.0%} by all pairs")
plots.plot_promises(shares, limits);

# %% [markdown]
# At 5 % false alarms our training promises at most 9 % of the members at $\varepsilon = 1$, 20 % at 3 and 61 % at 8. These
# are limits and not forecasts: the shadows stay below them. A budget of 8 promises little.
#
# What the number does not count: we found the learning rate by trying several on the same data, and every try gives
# something away. And a seed that is known, as ours, makes the noise repeatable: a real release takes its noise from a source
# that nobody can repeat.

# %% [markdown]
# ## 5. For whom does it work worse?
#
# "It works worse in Yoruba" is a claim, and a claim needs an interval. Two scores on 195 texts each have wide intervals.
# But if the *same sentences* are translated, we can compare sentence by sentence. What makes a sentence hard in both
# languages cancels out. This is a **paired** comparison.
#
# The **bootstrap** draws the sentences again and again with replacement, each time with *both* scores of a sentence, and
# takes the middle 95 % of the differences. If 0 is inside, these texts do not show a difference.
#
# ### Exercise 8 · An interval for a difference (10 minutes, 3 points)
#
# Write `paired_interval`: the mean difference of two scores of the same texts, with its 95 % bootstrap interval.

# %% answer="paired_interval"
def paired_interval(first, second, resamples):
    """(difference, low, high), three Python floats: mean of first - second, its 2.5 % and 97.5 % quantiles.

    first, second (n,): float tensors, a score of each text under two conditions. resamples (rounds, n): a tensor of row
    numbers; each row is one draw of n texts with replacement.
    Example: first [1., 1., 0., 1.], second [0., 1., 0., 1.]: the difference is 0.25. The draws [[0, 0, 1, 1], [2, 3, 3, 2]]
    have the mean differences 0.5 and 0, so low = 0.0125 and high = 0.4875 (np.quantile goes between them).
    """
    ### BEGIN SOLUTION
    differences = first - second
    means = differences[resamples].mean(dim=1)
    low, high = np.quantile(means.numpy(), [0.025, 0.975])
    return float(differences.mean()), float(low), float(high)
    ### END SOLUTION

# %%
# Try it. The two methods differ on 10 of 100 texts, always in the same direction: 0.1, and 0 is outside.
draws = torch.randint(100, (2000, 100))
print(paired_interval(torch.ones(100), (torch.arange(100) >= 10).float(), draws))

# %% check="paired_interval" points=3
ones, draws = torch.tensor([1.0, 1.0, 0.0, 1.0]), torch.tensor([[0, 0, 1, 1], [2, 3, 3, 2]])
assert np.allclose(paired_interval(ones, torch.tensor([0.0, 1.0, 0.0, 1.0]), draws), [0.25, 0.0125, 0.4875])

# %% [markdown]
# <details><summary>Hint 1</summary>Take the difference first, once. Then every draw needs one mean.</details>
# <details><summary>Hint 2</summary><code>differences[resamples]</code> has the shape (rounds, n);
# <code>.mean(dim=1)</code> is one number a draw; <code>np.quantile(means.numpy(), [0.025, 0.975])</code>.</details>

# %% [markdown]
# ### Languages
#
# SIB-200 has the same sentences in many languages, with seven topics. We trained in each language on the same 560
# translated sentences. So everybody has **the same number of labels**. The record holds for each test sentence whether it
# was right.
#
# **Predict first.** Which gap is larger, with a frozen English encoder or with TF-IDF on characters?

# %%
record = calibration.load_record("lab9_responsible", "languages")

def gap_to_english(method, language):
    """Mean over seeds of each sentence's score, in the language against English; paired interval over sentences."""
    ours, theirs = (np.mean([[int(digit) for digit in row] for row in
                    record[(record.method == method) & (record.language == some)].right], axis=0)
                    for some in (language, "eng"))
    difference, low, high = fairness.paired_interval(ours, theirs)
    return {"mean": difference, "sd": (high - low) / 2, "seeds": len(record.seed.unique())}

# %%
others_than_english = [language for language in record.language.unique() if language != "eng"]
gaps = {method: pd.DataFrame([{"language": data.NAMES[language], **gap_to_english(method, language)}
                              for language in others_than_english]) for method in record.method.unique()}
axes = plots.plot_dots(gaps, "Accuracy, language minus English (bars: 95 % interval over sentences)", "difference",
                       guide=("no gap", 0.0))

# %%
by_language = record.groupby(["method", "language"], sort=False)["accuracy"].agg(["mean", "std", "count"]).round(3)
by_language.rename(index=data.NAMES).unstack(0)

# %% [markdown]
# Same sentences, same labels, same method: and yet a frozen English encoder gets 86 % right in English and about half in
# Swahili, Hausa, Yoruba and Vietnamese. With TF-IDF on characters the gap is small or not to be seen. So it is **made by the
# pretrained model**, and not by the language. Where an interval holds 0 (TF-IDF: all but French), say *we found
# no difference*, and not *there is none*: these intervals still allow gaps of 5 points and more (in Yoruba of 11).

# %% [markdown]
# ### Spelling
#
# Yoruba has dots and tone marks, Hausa has ɓ, ɗ and ƙ. Many keyboards do not, so people leave them out. What does a model
# that was trained on full spelling do with plain letters? (Vietnamese has the most marks of all.)

# %%
rows = []
for (method, language), part in record[record.language.isin(["yor", "hau", "vie"])].groupby(["method", "language"], sort=False):
    full, plain = (np.mean([[int(digit) for digit in row] for row in part[column]], axis=0)
                   for column in ("right", "right_without_marks"))
    difference, low, high = fairness.paired_interval(plain, full)
    rows.append({"method": method, "language": data.NAMES[language], "change": difference, "low": low, "high": high})
pd.DataFrame(rows).set_index(["method", "language"]).round(3)

# %% [markdown]
# TF-IDF on characters reads the marks and misses them: 15 points in Yoruba, 32 in Vietnamese. Training texts of both
# spellings would help; a test with one spelling hides it. For MiniLM in Yoruba nothing changes at all, and that is no good
# news: its tokenizer throws all marks away **always**, so it cannot tell words apart that differ in tone. (What it loses in
# Vietnamese is the letter đ.) In Hausa three letters are too few to show a difference in 195 sentences.
#
# ### English is not one language
#
# Nigerian Pidgin is spoken by some hundred million people, and much of its vocabulary is English. A model trained on 1,000
# English tweets should do well on it. **Predict first:** how well? These are different tweets, labelled by different
# people, so the intervals are not paired and the comparison is weaker: part of a gap may lie in the labels.

# %%
my_pidgin = 0.0  # a macro-F1 between 0 and 1

# %%
record = calibration.load_record("lab9_responsible", "dialect")
summaries = {method: calibration.summarize(rows.assign(language=rows.language.map(data.NAMES)), "language", "macro_f1")
             for method, rows in record.groupby("method", sort=False)}
axes = plots.plot_dots(summaries, "Trained on English tweets, tested on ...", "macro-F1, negative against positive",
                       guide=("coin", 0.5))
print("you predicted for Nigerian Pidgin:", my_pidgin)

# %% [markdown]
# MiniLM falls from 0.86 on English tweets to 0.59 on Pidgin, nearer to unrelated languages than to English. "It is nearly
# English" is not a test result.
#
# ### Your own classifier: haste, marks, names
#
# Now a model of your own: a head on frozen MiniLM, from 500 texts in your language. First: the same test texts with
# letters swapped in one word of five (typed in haste), and without marks.

# %% locked="classifier"
runtime.set_seed(0)
tokenizer = models.load_tokenizer("minilm")
classifier = models.load_sequence_classifier(names)
some = data.subsample(sentences["train"], by_scale(tiny=40, cpu=500, gpu=500))
vectors = fewshot.embed(classifier.bert, tokenizer, some["text"])
fewshot.put_head(classifier, *fewshot.fit_head(vectors, some["label"]))
texts = list(test_set["text"])
clean = explanations.probabilities(classifier, tokenizer, texts)
head_accuracy = evaluation.accuracy(test_labels, clean.argmax(1))

# %%
right = (clean.argmax(1) == test_labels).astype(float)
print(f"accuracy {head_accuracy:.3f} on {len(texts)} texts (majority {majority:.2f}); change of accuracy when ...")
for name, change in (("typed in haste", fairness.typed_in_haste), ("without marks", fairness.without_marks)):
    changed = explanations.probabilities(classifier, tokenizer, [change(text) for text in texts])
    difference, low, high = fairness.paired_interval((changed.argmax(1) == test_labels).astype(float), right)
    print(f"{name:>15}: {difference:+.3f} (95 % interval {low:+.3f} to {high:+.3f})")

# %% [markdown]
# And does it matter *who* writes? We sign the same texts with different names and towns and compare the probability of the
# last class (*positive*). The text is the same, so every difference is the model's. This is a **counterfactual** test.
#
# **Predict first.** Whose signature makes a text look more positive than Emily's from London, and by how much?

# %%
my_town, my_change = "", 0.0  # a town, a change of the probability

# %%
signed_texts = texts[: by_scale(tiny=5, cpu=120, gpu=300)]
chances = {place: explanations.probabilities(
    classifier, tokenizer, [fairness.signed(text, place) for text in signed_texts])[:, -1] for place in fairness.SIGNATURES}
rows = []
for place, chance in chances.items():
    difference, low, high = fairness.paired_interval(chance, chances["London"])
    flips = np.mean((chance > 0.5) != (chances["London"] > 0.5))
    rows.append({"signed": fairness.SIGNATURES[place], "change": difference, "low": low, "high": high, "flips": flips})
print("you predicted:", my_town, my_change)
pd.DataFrame(rows).round(3)

# %%
record = calibration.load_record("lab9_responsible", "signatures")
bars = calibration.bars(record, {fairness.SIGNATURES[place]: f"{place}_change" for place in fairness.SIGNATURES})
plots.plot_dots({"change": bars}, "120 English film reviews, signed by ...", "change of the probability of positive",
                guide=("as for Emily", 0.0))
bars.assign(flips=[record[f"{place}_flips"].mean() for place in fairness.SIGNATURES]).round(3)

# %% [markdown]
# Read it with care. Your own table has narrow intervals, and many of them leave 0 out: real differences **of this model on
# these texts**. In the record the same test is done with five classifiers, each trained on other 500 texts. For Kano, Lagos,
# Kisumu and Dhaka the change has now one sign and now the other. For Quispe from Cusco all five models fall, and one
# answer of six turns round.
#
# Is it the name, or is it the town? In this test both change together, so it cannot tell. **One change at a time**, then:
# another name and always London; another town and always Emily. **Predict first.**

# %%
record = calibration.load_record("lab9_responsible", "signature_parts")
places = [place for place in fairness.SIGNATURES if place != "London"]
parts = {f"{part} alone": calibration.bars(record, {fairness.SIGNATURES[place]: f"{place}_{part}" for place in places})
         for part in ("name", "town")}
plots.plot_dots(parts, "The same reviews, only the name or only the town changed", "change of the probability of positive",
                guide=("as for Emily, London", 0.0))
gains = {place: evaluation.paired_difference(np.zeros(len(record)), record[f"{place}_name"], level=1 - 0.05 / 10)
         for place in places}
pd.DataFrame(gains).T.round(3)  # names alone; intervals over the five models, wide enough for ten comparisons

# %% [markdown]
# It is the **name**: with Quispe in the place of Emily the probability falls by 11 points, in all five models, and the
# interval leaves 0 out, also one that allows for ten comparisons. With Cusco in the place of London it falls in two models
# and rises in three. So the sentence "this model is unfair to Cusco" would have been wrong, and the one about one name is
# what these five models show; one name is still not a group.
#
# So there are two kinds of spread, over texts and over trainings, and a claim about a **method** needs both.

# %% [markdown]
# ## 6. Why this answer?
#
# A gradient says how the score of a class changes when a word vector changes a little. Times the vector itself, this gives
# a score per word (**gradient × input**). **Integrated gradients** takes the mean gradient on the way from an empty text
# (all `[MASK]`) to the real one, times the difference of the two vectors; the scores of the words then add up to the
# whole change. Captum computes both.

# %%
words, scores = explanations.word_scores(classifier, tokenizer, texts[0], int(clean[0].argmax()))
print(f"predicted {names[int(clean[0].argmax())]} ({clean[0].max():.2f})")
pd.DataFrame({"word": words, "score": scores}).sort_values("score", ascending=False).head(6).round(3)

# %% [markdown]
# It looks convincing. Coloured words always do. Is it **true**? If these words decide, the answer must change when they
# are gone. Two tests (DeYoung et al.), both on the probability of the predicted class:
#
# * **Comprehensiveness:** how far it falls when the most important words go. Large is good.
# * **Sufficiency:** how far it falls when *only* they stay. Small is good.
#
# The library's `erase` makes both texts: the one without its most important words, and the one of nothing else. A large negative
# score speaks against the class, and such a word is not important for it.

# %%
rest, chosen = explanations.erase(words, scores, 0.2)
print("without the most important fifth:", rest, "\nnothing but it:", chosen)

# %% [markdown]
# The test needs baselines: random words, and the words that the method calls *least* important. **Predict first:** which
# of the two gradient methods passes?

# %%
explained = texts[: by_scale(tiny=2, cpu=24, gpu=100)]
tests = {method: explanations.deletion_test(classifier, tokenizer, explained, method)[0] for method in explanations.METHODS}
for method, fall in tests.items():
    difference, low, high = fairness.paired_interval(fall, tests["random"])
    print(f"{method:>20}: fall {fall.mean():+.3f}, more than random words by {difference:+.3f} ({low:+.3f} to {high:+.3f})")

# %%
record = calibration.load_record("lab9_responsible", "deletion")
record["way"] = record["method"] + np.where(record["words"] == "least", ", least important", "")
parts = {measure: calibration.summarize(record, "way", measure) for measure in ("comprehensiveness", "sufficiency")}
plots.plot_dots(parts, "One word of five goes (comprehensiveness), or nothing else stays (sufficiency)",
                "fall of the predicted class's probability", guide=("no change", 0.0));

# %% [markdown]
# Integrated gradients finds words that the model really uses: taking them out hurts far more than random words, and they
# alone keep the answer. Gradient × input does not pass: on this model its words are no better than random ones, and its
# pictures look as convincing. So **never show an explanation that you have not tested**. And a true explanation says what
# the *model* uses, not what is right.

# %% [markdown]
# ## 7. Who can be found in a table?
#
# The documents of a data set should say whose language it is: age, place, gender of the speakers. In a small place this
# gives people away: there may be one woman of 71 in that village. A table is **k-anonymous** if each combination of such
# values belongs to at least $k$ people.
#
# The library's `risky_rows` counts: a row is risky if fewer than $k$ rows, itself included, have the same values in all the
# columns that somebody may know. Who is risky needs a coarser value, or leaves the table.

# %%
# Invented speakers of a small data set. Coarser values help: compare ages in years with groups of twenty years.
rng = np.random.default_rng(0)
speakers = [{"town": str(rng.choice(["Cusco", "Cusco", "Cusco", "Puno"])), "gender": str(rng.choice(["woman", "man"])),
             "age": int(rng.integers(18, 78))} for _ in range(60)]
for speaker in speakers:
    speaker["age group"] = f"{speaker['age'] // 20 * 20} to {speaker['age'] // 20 * 20 + 19}"
for columns in (["town", "gender", "age"], ["town", "gender", "age group"], ["age group"]):
    print(f"{', '.join(columns):>25}: {len(privacy.risky_rows(speakers, columns, k=5))} of {len(speakers)} people at risk (k = 5)")

# %% [markdown]
# ## 8. Hand in your private model
#
# The file holds the head that you trained with $\varepsilon = 8$, and its card the settings. Your teacher's computer
#
# * works out $\varepsilon$ again from your noise multiplier, sample rate and steps, and refuses a claim that does not follow;
# * looks for the **trace of the noise**. Over the classes, the gradients of a softmax add up to zero. So in a head that
#   began at zero, the sum of the classes' weights is noise and nothing else, and its size follows from the card. A head
#   without noise has a sum of zero;
# * trains again from your card (rows, seed, steps, noise), and refuses a head that comes out otherwise: hand in the head of
#   section 4, not one of the open task or of Opacus;
# * tests the head on texts that you never saw. Full points at the level of our own runs (mean minus 3 to 5 standard
#   deviations), half of them if it is clearly better than guessing.
#
# What no card alone can prove: that each row was clipped, that the noise was really random, that the steps were really so
# many. Here the grader has the texts and the seed and can train again. Elsewhere somebody who wants to cheat can. For this
# reason real releases come with code that others can run.

# %% locked="save"
weight, noise, config = heads[8]
spent = privacy.epsilon_spent(noise, config.sample_rate, config.steps, config.delta)
trace, expected = privacy.noise_trace(weight), privacy.expected_trace(config, noise, len(private_set), len(names))
print(f"epsilon {spent:.3f} · trace of the noise {trace:.4f}, expected {expected:.4f}")
head = nn.Linear(weight.shape[1], len(names), bias=False)
head.weight.data = torch.tensor(weight, dtype=torch.float32)
card = privacy.private_card(config, noise, rows=len(private_set), lab="lab9_responsible", language=LANGUAGE, labels=names,
                            features=kind, scale=runtime.scale(), seed=SEED)
path = f"artifacts/private-head-{runtime.scale()}.safetensors"
size = artifacts.save_artifact(path, head, None, card)
marking.describe_aim("lab9_responsible", LANGUAGE)

# %% check="private_head" points=6
card, tensors = artifacts.read_artifact(path)
assert card["language"] == LANGUAGE and set(tensors) == {"weight"} and card["epsilon"] <= 8
print("Saved. Hand in this notebook together with its folder `artifacts`.")

# %% [markdown]
# ## 9. What must be written down
#
# A model without documents cannot be used with a good conscience. Two forms are customary: a **model card** (what is this
# model for, how good is it for whom?) and a **data statement** (whose language is it?). Before both stands the question
# whether you may have the text at all.
#
# **Before you collect text in your own language**, a checklist:
#
# | | ask | if not |
# |---|---|---|
# | consent | Do the writers know what the text is for, in a language they read, and have they said yes? | ask, or leave it out |
# | going back | Can somebody take a text back later? How, and until when? Say also what a trained model cannot forget | offer a date and an address |
# | licence | Does the source allow copying, changing, sharing, and commercial use? "On the internet" is no licence | ask the owner in writing |
# | the platform | Do the terms of the platform allow collecting? Do they allow passing texts on? | share identifiers or nothing |
# | people named | Are people named who did not write, and who were not asked? | pseudonyms, redaction |
# | children, health, faith, politics | Could a text harm somebody if it were known? | leave it out, or a stricter law applies |
# | community | Does the text belong to a group (songs, rituals, names of the dead)? Whom does it ask first? | their decision, not yours |
# | return | What do the people get: pay, the data, a tool in their language? | agree before you begin |
# | law | Which data-protection law holds (in Nigeria the NDPA, in Kenya the DPA, in Peru Law 29733, ...)? | ask your institution |
# | keeping | Where is the raw text kept, who may read it, when is it deleted? | a date and a name |

# %% [markdown]
# ### Exercise 9 · A model card and a data statement (30 minutes, 4 points, read by your teacher)
#
# Fill in the form below for the model that you hand in. Use numbers of this lab, with intervals. Then take a text source
# in **your own language** that you would like to use (a radio programme, a church bulletin, a forum, your class) and go
# through the checklist for it.

# %% [markdown] manual="documents" points=4
# **Model card.** Model and version · what it is for · what it must not be used for · training data and size · privacy
# (budget for a row or a person, what it covers and what not) · results, for whom (numbers with intervals and baselines) ·
# known gaps · contact.
#
# **Data statement.** Why this data · language and variety (a code such as *swa-KE*) · speakers (as far as it does not give
# them away) · annotators · situation (when, where, written or spoken, for whom) · kind of text · quality and limits.
#
# **Checklist** for a source in your own language: each line with *yes*, *no* or *not known*, and what you will do.
#
# ### BEGIN SOLUTION
# **Marking guide.** 1 point: the card names a use and a misuse, and gives at least two results of this lab with interval
# and baseline, one of them a gap. 1 point: it states epsilon and delta correctly and says what they do not cover (the
# frozen encoder's own training texts, people with several rows, settings tried, a known seed). 1 point: the data statement
# says whose language and variety it is, who labelled it, and in which situation, and weighs detail about speakers against
# the risk that they are found. 1 point: the checklist is filled in for a real source, with at least one *no* or *not
# known* and a concrete step (whom to ask, by when).
#
# **A good answer, in short.** *Card.* Private sentiment head, version 1; sorts film reviews in English into negative and
# positive, to count opinions; not for decisions about a person. 2,000 reviews; epsilon 8 and delta 1e-5 for each labelled
# review; MiniLM's own texts are not covered, nor the settings we tried. Macro-F1 0.75 (0.70 to 0.79) on 300 reviews,
# majority 0.32. Nobody wrote more than one of them, as far as we know; else the promise is per text only. Typed in haste,
# a head like it loses 5 points (1 to 10). Not tested on other varieties; on Pidgin tweets a similar model falls from 0.86
# to 0.59 macro-F1. *Data statement.* English film reviews from the web (en-US mostly), critics, ratings by 20 paid raters;
# written, edited, public. Speakers are not known. *Checklist.* Letters to our church bulletin (Dholuo, luo-KE): consent:
# no, the writers wrote for print only; I will ask the editor and each writer by letter before May; names of the dead:
# leave out; licence: none stated, the parish owns it, ask in writing; return: the parish gets the tool first.
# ### END SOLUTION

# %% [markdown]
# ## What to take away

# %%
results = pd.DataFrame([
    ("a number 16 times in the texts", "exposure, bits", live_exposures.iloc[-1], 1.38),
    ("in the training data?", "AUC, last epoch", attacks["auc"].iloc[-1], 0.5),
    ("private head, epsilon 8", "macro-F1", budgets[8], majority_f1),
    ("integrated gradients", "comprehensiveness", tests["integrated gradients"].mean(), tests["random"].mean()),
], columns=["question", "measure", "your run", "baseline"])
results.round(3)

# %% [markdown]
# 1. Models remember what is repeated. Take out near-duplicates and redact: cheap, and first. That an attack finds nothing is
#    a fact about the attack. A promise needs noise, an accountant and many rows; and a row is not a person, unless the loop
#    draws and clips by person.
# 2. A gap needs an interval, and pairs make it narrow. The gap between languages here is made by the pretrained model.
# 3. An explanation is a claim about the model; test it by deletion. A model without a card and without consent is not
#    finished.
#
# **Sources.** Carlini et al., 2019, *The Secret Sharer* · Carlini et al., 2021, *Extracting training data from large
# language models* · Lee et al., 2022, *Deduplicating training data makes language models better* · Kandpal et al., 2022 ·
# Yeom et al., 2018 · Carlini et al., 2022, *Membership inference attacks from first principles* · Abadi et al., 2016, *Deep
# learning with differential privacy* · Mironov et al., 2019, *Rényi differential privacy of the sampled Gaussian mechanism* ·
# McMahan et al., 2018 (privacy by person) · Yousefpour et al., 2021, *Opacus* · Adelani et al., 2024, *SIB-200* · Muhammad et
# al., 2023, *AfriSenti* · Kiritchenko & Mohammad, 2018 · Sundararajan et al., 2017, *Integrated gradients* · Kokhlikyan et
# al., 2020, *Captum* · DeYoung et al., 2020, *ERASER* · Sweeney, 2002, *k-anonymity* · Mitchell et al., 2019, *Model cards*
# · Bender & Friedman, 2018, *Data statements* · Hutto & Gilbert, 2014 (the English ratings).
