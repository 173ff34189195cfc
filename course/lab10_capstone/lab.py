# %% [markdown]
# # Lab 10 · Capstone: your language, your task
#
# | | |
# |---|---|
# | **You come from** | labs 2 to 5, and as many of the others as you have time for |
# | **You will be able to** | take 50 to 500 sentences of your own, choose a method by evidence, and defend the choice on one page |
# | **Time** | 4 to 8 hours of work, most of it with your data; the computer works for about 4 minutes of it |
# | **Needs** | 2 cores, 1.6 GB of memory, 179 MB of downloads (once). No GPU |
# | **Points** | 30: three exercises and your results, checked by the computer (12), and three texts read by your teacher (18) |
#
# Until now we gave you the question and the data. Now you bring both: a language that you read, and a task that helps
# somebody. Messages to a clinic in Kisumu that are urgent or not. Complaints about water in Cusco by district. Posts in
# Bangla that ask for help, offer help, or do neither.
#
# This notebook is a **template**. It runs from top to bottom as it is, with 150 film sentences in the place of your data.
# Run it once, then put in your own file and go through it again.

# %%
# On Colab, or wherever the course is not installed yet. Safe to run again; leaves torch and numpy alone.
import importlib.util
import os
if importlib.util.find_spec("leaplm") is None:
    source = os.environ.get("LEAPLM_SOURCE", "git+https://github.com/leaplm/leaplm")  # or a folder, a wheel, a mirror
    get_ipython().run_line_magic("pip", f'install -q "leaplm[labs] @ {source}"')
get_ipython().run_line_magic("load_ext", "leaplm.learner")  # marks and hints below each check, and your progress

# %% locked="setup"
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown

from leaplm import assets, data, marking, plots, runtime
from leaplm.capstone import evidence, methods as small_data_methods, small_data
from leaplm.data import normalize
from leaplm.prompting import redact
from leaplm.responsible.fairness import paired_interval
from leaplm.identity import student_seed
from leaplm.runtime import by_scale

assets.fetch(["minilm", "vader", "smollm2"])  # downloads only what is not here yet
runtime.set_seed(0)
SEED = student_seed()  # of your own training runs
runtime.describe_runtime()

# %% [markdown]
# **The main setting.** `LANGUAGE = "my_sentences.csv"` takes your own file: first line `text,label`, 50 to 500 rows, at
# least 20 of each label. At least 50 must be left when double rows are out, so bring a few more. `"eng"`, `"hau"`,
# `"swa"` and other languages of the course stand in until you have one.

# %%
LANGUAGE = "eng"
marking.describe_language("lab10_capstone", LANGUAGE)

# %% [markdown]
# MiniLM has read English. Is your file in English? Then set this to `True`. Otherwise its word vectors learn, too (lab 2,
# section 13).

# %%
READS_LANGUAGE = LANGUAGE == "eng"

# %% [markdown]
# ## 1. A question worth answering
#
# Before you collect anything, write down what the program is for. Most projects fail here, not in the training.
#
# ### Exercise 1 · The plan (40 minutes, 5 points, read by your teacher)
#
# Replace the lines in the cell below. Write at most 250 words in all.

# %% [markdown] manual="plan" points=5
# **Who has the problem, and what do they do today?** …
#
# **Input and labels.** One text is …; the labels are … because …
#
# **Where do the sentences come from, and who agreed to their use?** …
#
# **Who labels? How will you know that two people would give the same label?** …
#
# **What must the score be to be useful, and what does each kind of error cost whom?** …
#
# ### BEGIN SOLUTION
# **Marking guide.** 1 point: a person or group with a real problem, and what they do now (the true rival of the program).
# 1 point: labels that exclude each other, with a rule for doubtful cases. 1 point: source, consent or licence, and how personal
# data is kept out. 1 point: at least 30 rows labelled by two people, with the share on which they agree. 1 point: a score
# that would be useful, derived from the cost of the two kinds of error, written before any training.
#
# **A good answer, in short.** A clinic in Kisumu reads 150 messages a day in the order in which they come; an urgent one waits two
# hours. Labels: *urgent* (somebody should answer within the hour) and *not urgent*; in doubt, urgent. 300 messages of
# last month, used with the consent that patients give at registration; names and numbers are redacted before labelling.
# Two nurses label 60 of them twice: they agree on 88 % (kappa about 0.6), and we cannot ask more
# of a program. A missed urgent message costs
# more than ten false alarms, so we ask for a recall of 0.9 on *urgent*, at a precision of at least 0.4.
# ### END SOLUTION

# %% [markdown]
# ## 2. Look at every row

# %% locked="load"
size, most = by_scale(tiny=24, cpu=150, gpu=500), by_scale(tiny=24, cpu=500, gpu=500)
rows = small_data.load_small(LANGUAGE, size, most)  # size: of a course language; most: of your file
names = rows.features["label"].names
print(f"{len(rows)} rows, classes {names}")
pd.Series(rows["label"]).map(dict(enumerate(names))).value_counts()

# %%
for row in rows.select(range(5)):
    print(f"{names[row['label']]:>12}: {row['text'][:110]}")

# %% [markdown]
# With a few hundred rows you can read them all, and you should. A program finds three things faster than you:
#
# * **duplicates**: the same text twice. If one copy is in training and one in the test, the test measures memory;
# * **contradictions**: the same text with two labels. One of them is wrong, or the labels are not clear;
# * **personal data**: phone numbers, addresses. They do not belong in a model that you share (lab 9).
#
# ### Exercise 2 · Audit the rows (20 minutes, 3 points)
#
# Write `audit`, which gives the numbers of the rows (from 0) that have one of these problems. Two texts are the same when
# `normalize` makes them equal. `redact` changes a text that holds personal data.

# %% answer="audit"
def audit(rows):
    """rows: list of {"text": str, "label": int}. Returns a dict of three lists of row numbers, in order:

    duplicates: the text stood in an earlier row, and the first row with it has the same label;
    contradictions: the text stood in an earlier row, and the first row with it has another label;
    personal: redact(text) is not the text.

    Example: rows ("Fine.", 1), ("fine. ", 1), ("Fine.", 0), ("Call +234 803 555 0144", 0) give
    {"duplicates": [1], "contradictions": [2], "personal": [3]}.
    """
    ### BEGIN SOLUTION
    first, found = {}, {"duplicates": [], "contradictions": [], "personal": []}
    for number, row in enumerate(rows):
        key = normalize(row["text"])
        if key in first:
            problem = "duplicates" if first[key] == row["label"] else "contradictions"
            found[problem].append(number)
        first.setdefault(key, row["label"])
        if redact(row["text"]) != row["text"]:
            found["personal"].append(number)
    return found
    ### END SOLUTION

# %%
# Try it on your rows. Read those that it names; in a new collection you should see a few of each.
problems = audit(list(rows))
for problem, numbers in problems.items():
    print(f"{problem}: {len(numbers)}", [rows[i]["text"][:60] for i in numbers[:3]])

# %% check="audit" points=3
example = [("Fine.", 1), ("fine. ", 1), ("Fine.", 0), ("Call +234 803 555 0144", 0)]
told = audit([{"text": text, "label": label} for text, label in example])
assert told == {"duplicates": [1], "contradictions": [2], "personal": [3]}

# %% [markdown]
# <details><summary>Hint 1</summary>Keep a dict from the normalized text to the label of the first row that had it.</details>
# <details><summary>Hint 2</summary>A row whose text is in the dict is a duplicate or a contradiction, by the label in the
# dict. Do not overwrite that label. The question about personal data is separate: ask it for every row.</details>

# %% [markdown]
# Correct your file by hand where you can. What is left, the library takes out: later copies go, personal data is
# replaced by marks such as `[PHONE]`.

# %% locked="clean"
rows = small_data.clean(rows)
print(f"{len(rows)} rows are left")

# %% [markdown]
# One more kind of copy is left: **near-duplicates**, which differ by a word or a number (lab 9). A form that hundreds of
# people send is such a text. Both copies are honest rows, but a model that has seen one has nearly seen the other.

# %%
groups = small_data.near_duplicates(rows["text"])
distinct = len(set(groups))
print(f"{distinct} of {len(rows)} rows are unlike all others")
if distinct < 0.9 * len(rows):
    print(f"Look at them: a score on {len(rows)} rows that are {distinct} different ones rests on {distinct} rows.")
for group in [g for g in set(groups) if np.sum(groups == g) > 1][:3]:
    print("alike:", [rows[int(i)]["text"][:60] for i in np.flatnonzero(groups == group)[:3]])

# %% [markdown]
# ### Would a second person say the same?
#
# Give 30 to 60 of your texts to a second person, without your labels. No program can be measured more exactly than people
# agree. The share on which two people agree is not enough: where nine of ten messages are not urgent, two people who never
# read them agree on 82 % ($0.9^2 + 0.1^2$). **Cohen's kappa** takes this out (0: as by chance, 1: always).

# %%
SECOND = ""  # a CSV with `text,label` from your second person, such as "second.csv"

# %%
example = ["urgent"] * 4 + ["not"] * 16, ["urgent"] * 3 + ["not"] * 16 + ["urgent"]  # 20 messages, two nurses (invented)
first, second = small_data.second_labels(SECOND, rows) if SECOND else example
agreed = small_data.agreement(first, second)
print(f"agreement {agreed['share']:.2f}, kappa {agreed['kappa']:.2f} "
      f"(95 % interval {agreed['low']:.2f} to {agreed['high']:.2f})")
print("talk about rows", agreed["differ"])

# %% [markdown]
# ## 3. Test on every row: cross-validation
#
# Lab 2 had 600 test sentences. You have perhaps 150 in all. If you keep 30 for the test, one sentence more or less moves
# the accuracy by 3 points. Better: cut the rows into $K$ **folds**. Train $K$ times, each time without one fold, and test on
# that fold. In the end every row was tested once, by a model that had not seen it:
#
# $$\text{accuracy} = \frac{1}{n} \sum_{i=1}^{n} \big[\, y_i = f_{-k(i)}(x_i) \,\big] \qquad k(i) = \text{the fold of row } i$$
#
# ($f_{-k}$ was trained on all folds but $k$.) The price is $K$ trainings.

# %%
from leaplm.drawings import show_drawing

show_drawing("lab10_capstone")

# %% [markdown]
# ### Exercise 3 · Stratified folds (15 minutes, 3 points)
#
# Write `stratified_folds`: a fold for each row, at random, so that the number of rows of each class differs by at most 1
# between folds. The same seed gives the same folds.

# %% answer="stratified_folds"
def stratified_folds(labels, folds, seed=0):
    """labels (n,) of int -> the fold of each row (n,), an array of int from 0 to folds - 1.

    Example: labels [0, 0, 0, 0, 1, 1] and 2 folds: each fold has two rows of class 0 and one of class 1.
    Another seed gives other folds.
    """
    ### BEGIN SOLUTION
    labels, rng = np.asarray(labels), np.random.default_rng(seed)
    where = np.empty(len(labels), dtype=int)
    for c in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == c))
        where[members] = np.arange(len(members)) % folds
    return where
    ### END SOLUTION

# %%
# Try it. Each column (a fold) should have nearly the same numbers.
pd.crosstab(np.array(rows["label"]), stratified_folds(rows["label"], folds=3))

# %% check="stratified_folds" points=3
where = np.asarray(stratified_folds([0, 0, 0, 0, 1, 1], folds=2, seed=0))
assert sorted(where[:4]) == [0, 0, 1, 1] and sorted(where[4:]) == [0, 1]

# %% [markdown]
# <details><summary>Hint 1</summary>Treat each class by itself: mix the numbers of its rows, then deal them out like
# cards.</details>
# <details><summary>Hint 2</summary><code>np.arange(len(members)) % folds</code> is 0, 1, 2, 0, 1, 2, ... Give it to the
# mixed members of the class. <code>np.random.default_rng(seed).permutation(...)</code> mixes.</details>

# %% [markdown]
# ### Exercise 4 · Cross-validation (15 minutes, 3 points)
#
# Write `cross_validate`: for each fold call `fit_predict` with the rows of the *other* folds and the rows of this one,
# and put its predictions in the places of this fold's rows.

# %% answer="cross_validate"
def cross_validate(fit_predict, rows, where):
    """rows: a list; where (n,): an array, the fold of each row. Returns predictions (n,), in the order of the rows.

    fit_predict: a function (training rows, test rows) -> one prediction for each test row, in order.

    Example: rows [5, 6, 7, 8], where [0, 1, 0, 1] and a fit_predict that gives min(training rows) for every test row
    give [6, 5, 6, 5].
    """
    ### BEGIN SOLUTION
    where = np.asarray(where)
    predictions = np.empty(len(rows), dtype=int)
    for fold in np.unique(where):
        tested = np.flatnonzero(where == fold)
        training = [rows[i] for i in np.flatnonzero(where != fold)]
        predictions[tested] = fit_predict(training, [rows[i] for i in tested])
    return predictions
    ### END SOLUTION

# %%
# Try it with a "model" that answers with the most frequent label of its training rows.
def most_frequent(training, tested):
    return [int(np.bincount([row["label"] for row in training]).argmax())] * len(tested)

guesses = cross_validate(most_frequent, list(rows), stratified_folds(rows["label"], folds=3))
print(f"accuracy {np.mean(guesses == np.array(rows['label'])):.3f}")

# %% check="cross_validate" points=3
def smallest(training, tested):
    return [min(training)] * len(tested)

assert list(cross_validate(smallest, [5, 6, 7, 8], np.array([0, 1, 0, 1]))) == [6, 5, 6, 5]

# %% [markdown]
# <details><summary>Hint 1</summary>For one fold, <code>np.flatnonzero(where == fold)</code> are the row numbers of the test
# part, and <code>where != fold</code> those of the training part.</details>
# <details><summary>Hint 2</summary><code>predictions[tested] = fit_predict(training, test)</code> puts the answers in the right
# places, because <code>tested</code> holds row numbers.</details>

# %% [markdown]
# ## 4. What the labs found
#
# You cannot try everything. Here is what our own runs found, with at most twice as many labels as you have. (Records of
# labs 2 to 6; mean and standard deviation over seeds.) Compare within one language and one metric only: accuracy and
# macro-F1 are different numbers, and each lab has its own test texts.

# %%
evidence.table(len(rows)).set_index("language").rename(index=data.NAMES)

# %% [markdown]
# **Predict first.** Which method will be best on your rows, and what accuracy will it reach?

# %%
my_method, my_accuracy = "", 0.0

# %% [markdown]
# ## 5. Compare
#
# Two baselines and at least two other methods, three seeds each. Every seed cuts other folds, so the spread holds both the luck of
# training and the luck of the split. The library's folds are yours, with one thing more: near-duplicates stay together in a
# fold. Results are saved after each run: after a power cut, run the cell again.
#
# In the table, `sd` is the deviation over seeds; `low` and `high` are a 95 % interval over seeds **and** rows, the
# one to quote. `megabytes` is **all that must be there to answer**, with weights in 16 bits: what was learned and the
# pretrained model below it. A prompt learns nothing and weighs most: it needs the whole language model.

# %% locked="settings"
path = Path(f"artifacts/results-{runtime.scale()}.json")
methods = small_data_methods.make_methods(names, READS_LANGUAGE)
settings = {"path": path, "language": LANGUAGE, "seeds": range(SEED, SEED + by_scale(tiny=1, cpu=3, gpu=5)),
            "folds": by_scale(tiny=2, cpu=3, gpu=5)}
print("methods:", ", ".join(methods))

# %% [markdown]
# Start with what trains in seconds. Often it is enough.

# %%
quick = [*small_data.BASELINES, "frozen MiniLM + logistic regression"]
results = small_data.compare({name: methods[name] for name in quick}, rows, **settings)
small_data.results_table(results)

# %% [markdown]
# Now what trains in minutes. Leave out what your evidence speaks against, and add a method of your own if you like: a
# function `(train, test, seed)` that returns predictions, megabytes and, if it has them, probabilities (rows, classes).

# %%
results = small_data.compare({"LoRA": methods["LoRA"]}, rows, **settings)

# %%
results = small_data.compare({"full fine-tuning": methods["full fine-tuning"]}, rows, **settings)

# %% [markdown]
# And a language model that sees no label at all. Each seed takes another template, so its spread is that over templates
# (lab 4).

# %%
prompts = {"prompt without examples": methods["prompt without examples"]}
results = small_data.compare(prompts, rows, **settings)
small_data_methods.forget_models()

# %%
table = small_data.results_table(results)
chance = "majority class", table.loc["majority class", "accuracy"]
plots.plot_intervals(table.rename(columns={"accuracy": "mean"}), f"{len(rows)} rows, {len(settings['seeds'])} seeds: "
                     "95 % intervals over rows and seeds", "accuracy", guide=chance)
display(table)

# %% [markdown]
# A model does not run alone. The Python packages below it have a size too, here on this computer's disk:

# %%
packages = {"TF-IDF": ("scikit-learn", "scipy", "numpy"),
            "MiniLM, SmolLM2": ("torch", "transformers", "tokenizers", "numpy")}
for method, needed in packages.items():
    print(f"{method:>16}: {small_data_methods.packages_megabytes(*needed):5.0f} MB for {', '.join(needed)}")

# %% [markdown]
# Is the first one better than the second, or only luckier? Compare them **row by row** (lab 9): of the rows that one gets
# right and the other wrong, how many are on each side?

# %%
best, second = table.index[:2]
def hits(name):
    runs = [run["predictions"] for run in results["runs"] if run["method"] == name]
    return (np.array(runs) == np.array(results["true"])).mean(axis=0)  # share of seeds that get a row right

difference, low, high = paired_interval(hits(best), hits(second))
print(f"{best} minus {second}: {difference:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}")
print("you predicted:", my_method or "nothing", my_accuracy)

# %% [markdown]
# An interval that holds 0 says: with these rows you cannot tell the two apart. It does not say that they are equal:
# these rows still allow every difference between `low` and `high`. Then take the one that is smaller, faster, or
# easier to explain; count for it all that must be shipped.
#
# ### Which errors, and what do they cost?
#
# Accuracy counts all errors alike. Your plan does not. **Recall** of a class: of the texts that belong to it, the share
# that is found. **Precision**: of the texts that are put into it, the share that belongs there.

# %%
first_run = next(run for run in results["runs"] if run["method"] == best)
predicted = np.array(first_run["predictions"])
plots.plot_confusion(results["true"], predicted, names);

# %%
small_data.errors_by_class(results["true"], predicted, names).round(2)

# %% [markdown]
# (First seed; 95 % intervals over rows.) With few rows of a class these intervals are wide: 18 found of 20 is a recall of
# 0.70 to 0.97.
#
# Now use the costs of your plan. A model gives probabilities, and 0.5 is nobody's decision. If a miss costs
# $c_\text{miss}$ and a false alarm $c_\text{false}$, say *yes* from
#
# $$p \;\ge\; \frac{c_\text{false}}{c_\text{false} + c_\text{miss}}$$
#
# on: there the expected costs of both answers are equal.

# %%
ALARM, MISS, FALSE_ALARM = names[-1], 10, 1  # the class that must not be missed, and the costs in your plan

# %%
threshold = small_data.cost_threshold(MISS, FALSE_ALARM)
with_chances = [run["method"] for run in results["runs"] if "probabilities" in run]
shown = best if best in with_chances else with_chances[0]
print(f"{shown}: what happens if {ALARM!r} is said from a probability of ... on (by cost: {threshold:.2f})")
small_data.alarms(results, shown, ALARM, sorted({0.1, 0.3, 0.5, 0.7, round(threshold, 3)})).round(2)

# %% [markdown]
# The formula holds for probabilities that are **right** (of 100 texts with 0.3, thirty are of the class). Those of a model
# that was trained on few rows are often too sure (lab 6): so read the table and check the threshold on your rows. And a
# threshold chosen on these rows looks a little better here than it will be on new ones.
#
# ### Read the errors

# %%
for i in np.flatnonzero(predicted != np.array(results["true"]))[:10]:
    true, said = names[rows[int(i)]["label"]], names[predicted[i]]
    print(f"true {true}, predicted {said}: {rows[int(i)]['text'][:110]}")

# %% [markdown]
# **A place to stop.** Your answers stay in the notebook. To go on another day: open it, click on this cell, choose
# *Run › Run All Above Selected Cell* (on Colab *Runtime › Run before*), wait a few minutes, and go on below. An exercise that
# is still open stops this run: then run the cells behind it by hand.

# %% [markdown]
# ## 6. Hand in
#
# The results stand in one file: for every method and seed the prediction for each row, but not your sentences. The
# computer works all numbers out again from the predictions: two baselines and at least two other methods, three seeds
# each, and a summary that follows from them. It does not ask for a high score. An honest "no method beats the baseline" is a
# result.

# %% check="results" points=3
told = small_data.read_results(path.read_bytes())
assert len(told["summary"]) >= 4 and told["rows"] == small_data.digest(rows["text"])
print("Saved. Hand in this notebook together with its folder `artifacts`.")

# %% [markdown]
# ### Exercise 5 · The report (90 minutes, 8 points, read by your teacher)
#
# One page, at most 450 words, for a person who will use the program and is no programmer. This prints the
# table for it:

# %%
columns = ["accuracy", "low", "high", "sd", "macro_f1", "seconds", "megabytes"]
print(table[columns].to_string())

# %% [markdown] manual="report" points=8
# **Title and question.** …
#
# **Data.** Source, number, classes, who labelled, agreement, what was cleaned, what is missing in it …
#
# **Methods compared, and why these.** …
#
# **Results.** (the table, with intervals) …
#
# **Errors.** Three kinds, one example each; which group of people do they meet? …
#
# **Cost.** Minutes, megabytes, what it runs on …
#
# **Limits and risks.** Where it must not be used; privacy, consent, licence …
#
# ### BEGIN SOLUTION
# **Marking guide (rubric).**
#
# | points | 0 | a quarter | full |
# |---|---|---|---|
# | data (2) | not described | number and source | also labelling, agreement, cleaning, gaps |
# | evidence for the methods (1) | none | named | chosen by the table of section 4 and the limits of the place |
# | results (2) | one number | table with baselines | intervals and spread read correctly; no difference claimed that the paired interval does not show |
# | errors (1) | none | examples | kinds, with who is harmed |
# | cost (1) | none | minutes or megabytes | both, compared with what the user has |
# | limits and risks (1) | general words | one real limit | limits that follow from the data and the errors, and a rule for use |
#
# **A good answer, in short.** It begins with the nurse who reads the messages, gives 284 rows after cleaning with an
# agreement of 88 %, shows TF-IDF on characters at .79 [.74, .84] and LoRA at .80 [.75, .84], says that the two cannot be told
# apart, and takes TF-IDF because it trains in a second, weighs 1 MB where LoRA weighs 46 with the MiniLM below it, and runs
# on the clinic's PC without PyTorch. Most missed urgent messages
# are in Dholuo, of which there are 21 rows: so the program must not sort those.
# ### END SOLUTION

# %% [markdown]
# ### Exercise 6 · The decision (20 minutes, 5 points, read by your teacher)
#
# Would you give the program to the people of your plan? Answer *yes*, *not yet* or *no*, in at most 200 words, with at least three
# numbers of yours, and say what you would measure in its first month of use.

# %% [markdown] manual="decision" points=5
# ### BEGIN SOLUTION
# **Marking guide.** 1 point: compares the result with the score asked for in the plan (not with another one found later).
# 1 point: uses the interval's lower end, not the mean. 1 point: weighs the two kinds of error with numbers of the confusion matrix.
# 1 point: compares with what people do today. 1 point: names what to watch in use (share of each class, confidence, corrections by
# people) and at which value to stop.
#
# **A good answer, in short.** Not yet. The plan asked for a recall of 0.9 on *urgent*; the best method has 0.81
# [0.72, 0.88], so even the upper end is below it. If *urgent* is said from a probability of 0.3 on, the recall becomes
# 0.91 [0.84, 0.95]: its lower end is still below the plan, and one in three alarms is false, which costs the nurses less
# than one missed message. Today an urgent message waits two hours. So: a trial beside the old way, with Dholuo messages
# always sent to a person. In the first month we count the corrections each day and stop if more than one in ten urgent
# messages was missed.
# ### END SOLUTION

# %% [markdown]
# ## What to take away
#
# 1. The plan comes first: labels that two people agree on, and a score that would be useful.
# 2. With few rows, test on all of them by cross-validation, with several seeds, and compare methods row by row.
# 3. Among methods that cannot be told apart, take the one that costs least, and count all that it needs: the model below,
#    the packages, the time.
# 4. A score is an average over errors of different price. Choose the threshold by the price.
#
# **Sources.** Kohavi, 1995, *A study of cross-validation and bootstrap* · Bouthillier et al., 2021, *Accounting for
# variance in machine learning benchmarks* · Dodge et al., 2019, *Show your work* · Bender & Friedman, 2018, *Data
# statements* · Mitchell et al., 2019, *Model cards* · Cohen, 1960 (kappa) · Elkan, 2001, *The foundations of cost-sensitive
# learning* · Nekoto et al., 2020, *Participatory research for
# low-resourced machine translation* (Masakhane).
