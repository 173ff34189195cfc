# %% [markdown]
# # Lab @NUMBER@ · @TITLE@
#
# | | |
# |---|---|
# | **You come from** | Python: functions and lists |
# | **You will be able to** | say how good a classifier is beside the answer that needs no model |
# | **Time** | about 20 minutes of work; the computer needs seconds |
# | **Needs** | 1 core, 0.5 GB of memory, 3 MB of downloads (once). No GPU |
# | **Points** | 4: one exercise checked by the computer (2), and one answer read by your teacher (2) |
#
# Say in two sentences which question of a real place this lab answers, and for whom. This page is a worked example: change
# everything in it, and keep the order.

# %%
# On Colab, or wherever the course is not installed yet. Safe to run again; leaves torch and numpy alone.
import importlib.util
import os
if importlib.util.find_spec("leaplm") is None:
    source = os.environ.get("LEAPLM_SOURCE", "git+https://github.com/leaplm/leaplm")  # or a folder, a wheel, a mirror
    get_ipython().run_line_magic("pip", f'install -q "leaplm[labs] @ {source}"')
get_ipython().run_line_magic("load_ext", "leaplm.learner")  # marks and hints below each check, and your progress

# %% locked="setup"
import numpy as np

from leaplm import assets, data, evaluation, runtime

assets.fetch(["vader"])  # downloads only what is not here yet
runtime.set_seed(0)
runtime.describe_runtime()

# %% [markdown]
# The next cell holds **the only setting of this lab**: `"eng"`, then `"hau"`, `"swa"` or another language of the
# AfriSenti tweets, or your own file with a first line `text,label`: `LANGUAGE = "my_sentences.csv"`.

# %%
LANGUAGE = "eng"

# %% locked="load"
sentences = data.load_sentiment(LANGUAGE)
names = sentences["train"].features["label"].names
print(f"classes: {names} · {len(sentences['test'])} test texts")

# %% [markdown]
# ## 1. The answer that needs no model
#
# If two of three texts are complaints, then "it is a complaint" is right two times out of three. This share is the
# **majority baseline**. A model that does not beat it has learned nothing.
#
# $$\text{baseline} = \max_c \; \frac{n_c}{n}$$
#
# ### Exercise 1 · The majority baseline (10 minutes, 2 points)
#
# Write `majority_share`: the share of texts, from 0 to 1, that belong to the most frequent class.

# %% answer="majority_share"
def majority_share(labels):
    """Share of the most frequent class, in [0, 1].

    labels: list of n ints, one class number a text; n is at least 1.
    Example: [2, 0, 2, 2] gives 0.75.
    """
    ### BEGIN SOLUTION
    return labels.count(max(labels, key=labels.count)) / len(labels)
    ### END SOLUTION

# %%
# Try it. You should see a number between 0.3 and 0.7.
majority_share(sentences["test"]["label"][:])

# %% check="majority_share" points=2
assert majority_share([2, 0, 2, 2]) == 0.75
assert majority_share([5]) == 1

# %% [markdown]
# <details><summary>Hint 1</summary><code>labels.count(c)</code> says how often class <code>c</code> occurs.</details>
# <details><summary>Hint 2</summary>The largest of these counts, divided by <code>len(labels)</code>.</details>

# %% [markdown]
# ## 2. In words
#
# ### Exercise 2 · What is a good score? (5 minutes, 2 points, read by your teacher)
#
# A colleague reports an accuracy of 0.70 on texts of which 68 % are complaints. Write two sentences: is the model good,
# and what else do you ask for?

# %% [markdown] manual="good_score" points=2
# *For the teacher.* Full points: 0.70 is 0.02 above the baseline (1), and the answer asks for the number of texts or an
# interval, or for scores of each class (1).

# %% [markdown]
# ## Results
#
# | classifier | accuracy on the test texts |
# |---|---|
# | most frequent class | the number that you saw above |
#
# ## To take with you
#
# * A score means nothing without the score of the answer that needs no model.
# * With few texts, a small distance between two scores is chance.
# * Say which class was counted.
#
# ## Sources
#
# Write down where the facts of the lab come from.
