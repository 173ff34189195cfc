# %% [markdown]
# # Lab 3 · LoRA and its relatives
#
# | | |
# |---|---|
# | **You come from** | lab 2: a classifier on MiniLM, fine-tuned on 1,000 sentences |
# | **You will be able to** | adapt an encoder and a generative model by training less than 1 % of the numbers, and choose a method for a given file size, memory and time |
# | **Time** | about 2 hours of work; the computer trains for less than 4 minutes of it |
# | **Needs** | 2 cores, 1.6 GB of memory, 179 MB of downloads (once). No GPU |
# | **Points** | 30: seven exercises and your adapter, checked by the computer (26), and one answer read by your teacher (4) |
#
# A health line in Mombasa gets messages in nine languages. With lab 2 it would train nine models, and each is a file
# of 45 MB. The clinics load new models over a mobile line, once a week, and pay by the megabyte. Does a new task
# really need 22 million new numbers?
#
# In this lab the pretrained model stays as it is, on every machine. We train and send only a small **adapter**.

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
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

from leaplm import artifacts, assets, calibration, data, evaluation, marking, models, plots
from leaplm import runtime, training
from leaplm.peft import instruction_tuning as answers, lora, methods as peft_methods
from leaplm.identity import student_seed
from leaplm.runtime import by_scale

assets.fetch(["minilm", "vader", "smollm2"])  # downloads only what is not here yet
runtime.set_seed(0)
SEED = student_seed()  # of your own training runs
runtime.describe_runtime()

# %% [markdown]
# The next cell holds **the only setting of this lab**. Start with `"eng"`. Later try `"hau"` (Hausa), `"swa"` (Swahili)
# or another language of the AfriSenti tweets, or your own file: `LANGUAGE = "my_sentences.csv"`, with a first line
# `text,label` and at least 20 rows of each label.

# %%
LANGUAGE = "eng"
marking.describe_language("lab3_lora", LANGUAGE)

# %% locked="load"
english = LANGUAGE == "eng"
sentences = data.load_sentiment(LANGUAGE)
names = sentences["train"].features["label"].names
train_set = data.subsample(sentences["train"], by_scale(tiny=48, cpu=1000, gpu=1000))
validation_set = data.subsample(sentences["validation"], by_scale(tiny=20, cpu=200, gpu=1000))
test_set = data.subsample(sentences["test"], by_scale(tiny=40, cpu=600, gpu=2000))
test_labels = np.array(test_set["label"])
print(f"classes {names}: {len(train_set)} texts to train on, {len(test_set)} to test on")

# %% locked="baselines"
majority = evaluation.majority_baseline(train_set["label"], test_labels)
tfidf = evaluation.tfidf_baseline(train_set, test_set)
baselines = {"majority class": evaluation.accuracy(test_labels, majority),
             "TF-IDF + logistic regression": evaluation.accuracy(test_labels, tfidf)}
print("accuracy to beat:", {name: round(score, 3) for name, score in baselines.items()})

# %% [markdown]
# ## 1. A change of low rank
#
# Fine-tuning moves each weight matrix $W$ by some $\Delta W$ of the same size. **LoRA** (*low-rank adaptation*) keeps
# $W$ frozen and writes the change as a product of two thin matrices:
#
# $$y = W x + b + \frac{\alpha}{r}\, B A x \qquad W\,(m \times n),\quad A\,(r \times n),\quad B\,(m \times r)$$
#
# The **rank** $r$ is small, such as 8. The matrix $BA$ has the full size, but its rows all lie in a space of $r$
# dimensions. $A$ starts with random numbers and $B$ with zeros. The factor $\alpha / r$ keeps the size of the update
# about the same when you change $r$.
#
# By hand, with $m = n = 2$ and $r = 1$:

# %%
B, A = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0, -1.0]])
print(B @ A, " rank:", int(torch.linalg.matrix_rank(B @ A)))

# %% [markdown]
# **Predict first.** $B$ is zero at the start. What does the new layer give before the first update: zeros, random
# numbers, or what the old layer gives?
#
# ### Exercise 1 · A LoRA layer (15 minutes, 4 points)
#
# Write `LoRALinear`, a module that holds a frozen linear layer and adds the low-rank term to its output.

# %% answer="lora_linear"
class LoRALinear(nn.Module):
    """y = base(x) + (alpha / rank) * B A x, for x (..., in_features) -> (..., out_features).

    Attributes, under exactly these names: base (the nn.Linear, frozen), lora_A (an nn.Parameter, rank x in_features,
    random), lora_B (an nn.Parameter, out_features x rank, zeros), scaling (alpha / rank, a number).
    Example: with base.weight [[1., 1.]], no bias, rank 1, alpha 2, A [[1., 0.]] and B [[3.]],
    the input [5., 7.] gives 12 + 2 * 3 * 5 = 42.
    """
    def __init__(self, base, rank, alpha):
        super().__init__()
        ### BEGIN SOLUTION
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)  # as nn.Linear starts its own weights
        self.scaling = alpha / rank
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        return self.base(x) + self.scaling * (x @ self.lora_A.T) @ self.lora_B.T
        ### END SOLUTION

# %%
# Try it. Both lines should be equal, because B is zero.
layer, x = LoRALinear(nn.Linear(6, 4), rank=2, alpha=4), torch.randn(1, 6)
print(layer(x), layer.base(x), sep="\n")

# %% check="lora_linear" points=4
one_row = LoRALinear(nn.Linear(2, 1, bias=False), rank=1, alpha=2)
assert not one_row.base.weight.requires_grad and one_row.lora_A.requires_grad
with torch.no_grad():
    one_row.base.weight.fill_(1.0)
    assert one_row(torch.tensor([5.0, 7.0])).item() == 12
    one_row.lora_A.copy_(torch.tensor([[1.0, 0.0]]))
    one_row.lora_B.fill_(3.0)
    assert one_row(torch.tensor([5.0, 7.0])).item() == 42
assert one_row.scaling == 2 and one_row(torch.ones(2, 3, 2)).shape == (2, 3, 1)

# %% [markdown]
# <details><summary>Hint 1</summary><code>nn.Parameter(torch.zeros(m, r))</code> is a tensor that learns. If A were zero
# too, no gradient would ever reach it: B and A would both stay zero.</details>
# <details><summary>Hint 2</summary>Rows of <code>x</code> are vectors, so the product is
# <code>(x @ self.lora_A.T) @ self.lora_B.T</code>: first down to r numbers, then up. Freeze with
# <code>base.requires_grad_(False)</code>.</details>

# %% [markdown]
# The lab goes on with the library's `lora.LoRALinear`, which is the same. Is it also what everybody else calls LoRA?
# Compare it with the package `peft` on the same weights:

# %%
layer = lora.LoRALinear(nn.Linear(384, 384), rank=8, alpha=16)
nn.init.normal_(layer.lora_B)
x = torch.randn(5, 384)
difference = (peft_methods.peft_twin(layer)(x) - layer(x)).abs().max()
print(f"largest difference from peft: {difference.item():.1e}")

# %% [markdown]
# ### Exercise 2 · Merge (10 minutes, 3 points)
#
# After training, the two paths can become one matrix again: $W' = W + \frac{\alpha}{r} B A$. Then the model is as fast as
# before. Write `merge`, which returns a new `nn.Linear` that computes what the LoRA layer does.

# %% answer="merge"
def merge(layer):
    """A new nn.Linear with the weights base.weight + scaling * B A; `layer` itself stays as it is.

    layer: a LoRALinear (base, lora_A, lora_B, scaling). The base may have no bias.
    Example: base.weight [[1., 1.]], A [[1., 0.]], B [[3.]], scaling 2 give the weight [[7., 1.]].
    """
    ### BEGIN SOLUTION
    base = layer.base
    merged = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None)
    with torch.no_grad():
        merged.weight.copy_(base.weight + layer.scaling * layer.lora_B @ layer.lora_A)
        if base.bias is not None:
            merged.bias.copy_(base.bias)
    return merged
    ### END SOLUTION

# %%
# Try it. The difference should be rounding, below 0.0001.
print((merge(layer)(x) - layer(x)).abs().max().item())

# %% check="merge" points=3
small = lora.LoRALinear(nn.Linear(2, 1, bias=False), rank=1, alpha=2)
with torch.no_grad():
    small.base.weight.fill_(1.0)
    small.lora_A.copy_(torch.tensor([[1.0, 0.0]]))
    small.lora_B.fill_(3.0)
assert merge(small).weight.tolist() == [[7.0, 1.0]] and small.base.weight.tolist() == [[1.0, 1.0]]

# %% [markdown]
# <details><summary>Hint 1</summary>B (m × r) times A (r × n) has the shape of W. Which attribute holds the factor?</details>
# <details><summary>Hint 2</summary>Make a new <code>nn.Linear(in, out, bias=...)</code> and fill it inside
# <code>with torch.no_grad():</code> with <code>.copy_()</code>. Do not add to <code>layer.base.weight</code>: a second
# call would add the update twice.</details>

# %% [markdown]
# ### Exercise 3 · What does it cost? (10 minutes, 2 points)
#
# Write `adapter_cost`: how many numbers LoRA trains, and the size of the file in MB (10⁶ bytes) with 16-bit numbers.

# %% answer="adapter_cost"
def adapter_cost(shapes, rank):
    """shapes: a list of (out, in), one for each layer that gets LoRA. Returns (numbers, megabytes).

    Example: shapes [(384, 384), (1536, 384)] with rank 8 give 6,144 + 15,360 = 21504 numbers and 0.043008 MB.
    """
    ### BEGIN SOLUTION
    numbers = sum(rank * (outputs + inputs) for outputs, inputs in shapes)
    return numbers, 2 * numbers / 1e6
    ### END SOLUTION

# %%
# Query and value in each of MiniLM's six layers. Compare with all of MiniLM.
numbers, megabytes = adapter_cost([(384, 384)] * 12, rank=8)
print(f"LoRA {numbers:,} numbers, {megabytes:.2f} MB · MiniLM 22,565,376 numbers, 45 MB")

# %% check="adapter_cost" points=2
numbers, megabytes = adapter_cost([(384, 384), (1536, 384)], rank=8)
assert numbers == 21504 and np.isclose(megabytes, 0.043008)
assert adapter_cost([(384, 384)] * 3, rank=8)[0] == 18432

# %% [markdown]
# <details><summary>Hint 1</summary>A has rank × in numbers. How many has B?</details>
# <details><summary>Hint 2</summary>Add up <code>rank * (out + in)</code> over the layers. A 16-bit number is 2
# bytes.</details>

# %% [markdown]
# ## 2. Into the encoder
#
# Each layer of MiniLM has six linear layers. Their names say where they are:

# %%
model = models.load_sequence_classifier(names)
for name, module in model.bert.encoder.layer[0].named_modules():
    if isinstance(module, nn.Linear):
        print(f"{name:>24}  {tuple(module.weight.shape)}")

# %% [markdown]
# ### Exercise 4 · Inject LoRA into a model (20 minutes, 4 points)
#
# Write `inject_lora`: freeze the whole model but its head (`classifier`), and put a `lora.LoRALinear` in the place of
# each linear layer whose name has one of `targets` as its last part.

# %% answer="inject_lora"
def inject_lora(model, targets, rank, alpha):
    """Change `model` in place; return the names of the layers that were replaced (a list of str).

    targets: the last part of their names. Example: with targets ["query"], the layer
    "bert.encoder.layer.0.attention.self.query" is replaced. Afterwards exactly these learn:
    lora_A and lora_B of each new layer, and the parameters whose name begins with "classifier".
    """
    ### BEGIN SOLUTION
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    found = [name for name, module in model.named_modules()
             if isinstance(module, nn.Linear) and name.split(".")[-1] in targets]
    for name in found:
        parent, _, child = name.rpartition(".")
        parent = model.get_submodule(parent)
        setattr(parent, child, lora.LoRALinear(getattr(parent, child), rank, alpha))
    return found
    ### END SOLUTION

# %%
# Try it. You should see 12 layers, and 74,498 numbers that learn when there are two classes.
replaced = inject_lora(model, ["query", "value"], rank=8, alpha=16)
print(len(replaced), "layers, such as", replaced[0])
print(f"{models.count_parameters(model):,} of {models.count_parameters(model, trainable=False):,} numbers learn")

# %% check="inject_lora" points=4
class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.ModuleDict({name: nn.Linear(3, 3) for name in ("query", "query_proj", "key")})
        self.classifier = nn.Linear(3, 2)

toy = Toy()
assert inject_lora(toy, ["query"], rank=2, alpha=2) == ["body.query"]
learning = {name for name, p in toy.named_parameters() if p.requires_grad}
assert learning == {"body.query.lora_A", "body.query.lora_B", "classifier.weight", "classifier.bias"}

# %% [markdown]
# <details><summary>Hint 1</summary>Freeze first, then replace: new layers come with parameters that learn. Collect the
# names in a list before you change anything, because a loop over a model that changes meets the new layers too.</details>
# <details><summary>Hint 2</summary>For the name "a.b.query": <code>parent = model.get_submodule("a.b")</code>, then
# <code>setattr(parent, "query", ...)</code>. <code>name.rpartition(".")</code> cuts at the last dot.</details>

# %% [markdown]
# ## 3. Train it
#
# The training loop is that of lab 2; it moves what learns and leaves the rest. Two things change. The learning rate is
# ten times larger (0.001): new small matrices have to grow from zero. (The encoder's own weights stay in the file as they
# are, but the *model* can still be ruined: at 0.03 an adapter of this kind ends at chance.) And in a
# language that MiniLM has not read, the word embeddings learn too; section 7 shows what happens without.
#
# **Predict first.** Full fine-tuning reached about 0.83 in English. What does LoRA reach with 0.3 % of the numbers?

# %%
my_prediction = 0.0  # an accuracy between 0 and 1

# %% locked="rows"
tokenizer = models.load_tokenizer("minilm")
train_rows = data.tokenize(train_set, tokenizer, max_length=64)
validation_rows = data.tokenize(validation_set, tokenizer, max_length=64)
test_rows = data.tokenize(test_set, tokenizer, max_length=64)
collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
def validate(model):
    return evaluation.evaluate(model, validation_rows, collate)

# %% locked="make"
def make_model():
    """MiniLM with a fresh head and fresh adapters; the same at each call."""
    runtime.set_seed(SEED)
    model = models.load_sequence_classifier(names)
    lora.inject_lora(model, ("query", "value"), rank=8, alpha=16)
    return model if english else lora.train_word_embeddings(model)

# %% locked="train"
model = make_model().to(runtime.get_device())
config = training.TrainingConfig(
    seed=SEED,
    learning_rate=1e-3,
    embedding_learning_rate=None if english else 1e-3,
    epochs=by_scale(tiny=1, cpu=2 if english else 3, gpu=2 if english else 3),
    metric="macro_f1",
    output_dir=f"runs/adapter-{runtime.scale()}",
)
history = training.train(model, train_rows, collate, config, validate)
plots.plot_history(history);

# %%
predictions = evaluation.predict_logits(model, test_rows, collate).argmax(-1)
adapted = evaluation.accuracy(test_labels, predictions)
low, high = evaluation.bootstrap_interval(test_labels, predictions)
print(f"test accuracy {adapted:.3f} (95 % interval {low:.2f} to {high:.2f}), "
      f"macro-F1 {evaluation.macro_f1(test_labels, predictions):.3f}")
print({name: round(score, 3) for name, score in baselines.items()}, "you predicted", my_prediction)

# %% [markdown]
# Merging does not change what the model says. Check it on your trained model:

# %%
some = collate(test_rows[:8])
model.to("cpu").eval()
with torch.no_grad():
    two_paths = model(**some).logits
    one_path = lora.merge_model(copy.deepcopy(model))(**some).logits
print(f"largest difference in the logits: {(two_paths - one_path).abs().max().item():.1e}")

# %% [markdown]
# ## 4. Hand in your adapter
#
# The file holds what learned, in 16 bits, and a card. **It may have at most 3 MB.** Your teacher's computer puts it
# on its own copy of MiniLM and measures macro-F1 on texts that you never saw: full points at the level of our own runs
# (mean minus 3 to 5 standard deviations), half if it is clearly better than guessing.

# %% locked="save"
card = {"lab": "lab3_lora", "language": LANGUAGE, "labels": names, "scale": runtime.scale(), "seed": config.seed,
        "lora": {"targets": ["query", "value"], "rank": 8, "alpha": 16},
        "test_accuracy": adapted, "updates": len(history.train), "validation": history.validation}
path = f"artifacts/adapter-{runtime.scale()}.safetensors"
size = artifacts.save_artifact(path, model, make_model(), card)
print(f"saved {path}: {size:.2f} MB")

# %% check="adapter" points=6
card, tensors = artifacts.read_artifact(path)
assert card["language"] == LANGUAGE and any("lora_A" in name for name in tensors)
print("Saved. Hand in this notebook together with its folder `artifacts`.")

# %% [markdown]
# ## 5. Which rank, and where?
#
# **Predict first.** The record has 256 English sentences, three epochs (48 updates) and ranks 1, 8 and 32. By how many
# points of accuracy is rank 32 better than rank 1, and than rank 8?

# %%
record = calibration.load_record("lab3_lora", "ranks")
where = record.targets.replace("query key value dense", "all linear layers")
record["place"] = record.method + " on " + where + ", rank " + record["rank"].astype(str)
bars = calibration.summarize(record, "place", "accuracy")
plots.plot_bars(bars, "256 English sentences, scored on the 600 texts that choose");

# %% [markdown]
# In so few updates, more numbers learn faster: rank 1 is behind, and rank 8 on all linear layers is ahead of rank 8 on two
# of them. The bars also show how much one seed differs from another. With 1,000 sentences and 126 updates the same
# rank 8 on query and value reaches 0.82 (section 6).
#
# **DoRA** (Liu et al., 2024) also learns the length of each row of the weights, apart from its direction: `lora.inject_dora`. On
# all linear layers, the usual choice today, it has 0.780 ± 0.032 and LoRA 0.774 ± 0.032 (three seeds): no difference that
# these runs could show.
#
# Each rank was trained with the same seeds: the same sentences, the same random head. So compare **in pairs**: the
# difference of two ranks *at the same seed* is free of the luck that both share.
#
# ### Exercise 5 · Choose a rank (15 minutes, 2 points)
#
# Write `choose_rank`: the smallest rank that is not clearly worse than the one with the best mean. *Not clearly worse*
# means: the mean of the paired differences is at most their **standard error** (sample standard deviation divided by
# the root of the number of seeds).
#
# The 600 texts that choose a rank are **validation** texts from then on: the best of three ranks is partly the luckiest on
# them. How good the chosen rank is must be measured on other texts, such as those of your teacher's computer.

# %% answer="choose_rank"
def choose_rank(ranks, accuracies):
    """ranks (r,) in any order; accuracies (r, seeds). Returns a Python int.

    Example: ranks [8, 1], accuracies [[0.80, 0.90, 0.82], [0.79, 0.90, 0.80]]: the best mean is that of rank 8.
    The differences to rank 1 are 0.01, 0, 0.02: mean 0.010, standard error 0.0058. So rank 1 is clearly worse: 8.
    """
    ### BEGIN SOLUTION
    best = accuracies.mean(dim=1).argmax()
    differences = accuracies[best] - accuracies
    error = differences.std(dim=1, correction=1) / accuracies.shape[1] ** 0.5
    return int(ranks[differences.mean(dim=1) <= error].min())
    ### END SOLUTION

# %%
same_place = record[record.targets == "query value"]
table = same_place.pivot(index="rank", columns="seed", values="accuracy").dropna(axis="columns")
display(table.round(3))
print("chosen:", choose_rank(torch.tensor(table.index.to_numpy()), torch.tensor(table.to_numpy())))

# %% check="choose_rank" points=2
example = torch.tensor([[0.80, 0.90, 0.82], [0.79, 0.90, 0.80]])
kept = example.clone()
assert choose_rank(torch.tensor([8, 1]), example) == 8 and torch.equal(example, kept)
assert choose_rank(torch.tensor([8, 1]), torch.tensor([[0.80, 0.90, 0.82], [0.79, 0.91, 0.80]])) == 1

# %% [markdown]
# <details><summary>Hint 1</summary><code>accuracies[best] - accuracies</code> subtracts seed by seed, for all ranks at
# once. For the best rank itself all differences are 0, so it always qualifies.</details>
# <details><summary>Hint 2</summary><code>differences.std(dim=1, correction=1) / seeds ** 0.5</code> is the standard
# error. A condition can index <code>ranks</code>; take the smallest of what is left.</details>

# %% [markdown]
# ## 6. The relatives
#
# Other methods also freeze the model and train a small addition. They differ in where it stands:
#
# | method | what learns | merges into the model? |
# |---|---|---|
# | **LoRA** | $BA$ beside a matrix | yes |
# | **AdaLoRA** | LoRA with a singular value for each direction; weak ones are cut during training | yes |
# | **IA3** | one factor for each key, value and inner unit | yes |
# | **Bottleneck adapter** | a small network behind each half of a layer | no: it has a nonlinearity |
# | **Prefix tuning** | extra keys and values in each layer (10 here) | no: they lengthen the attention |
# | **Prompt tuning** | extra token vectors before the text (10 here) | no: they lengthen the text |

# %% [markdown]
# ### Exercise 6 · A bottleneck adapter (15 minutes, 3 points)
#
# Write `BottleneckAdapter`: behind a frozen layer it computes $h = \text{base}(x)$ and gives $h + U\,\text{gelu}(D h)$.
# At the start it must give exactly $h$.

# %% answer="bottleneck_adapter"
class BottleneckAdapter(nn.Module):
    """h = base(x), then h + up(gelu(down(h))), for x (..., in_features) -> (..., out_features).

    Attributes, under exactly these names: base (the nn.Linear, frozen), down (nn.Linear, out_features -> width),
    up (nn.Linear, width -> out_features). The weights and the bias of `up` start at zero.
    Example: a base from 6 to 4 with width 2 has 2 * 4 + 2 + 4 * 2 + 4 = 22 numbers that learn.
    """
    def __init__(self, base, width):
        super().__init__()
        ### BEGIN SOLUTION
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.out_features, width)
        self.up = nn.Linear(width, base.out_features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        hidden = self.base(x)
        return hidden + self.up(nn.functional.gelu(self.down(hidden)))
        ### END SOLUTION

# %%
# Try it. Two equal lines, and 22 numbers that learn.
adapter, x = BottleneckAdapter(nn.Linear(6, 4), width=2), torch.randn(1, 6)
print(adapter(x), adapter.base(x), models.count_parameters(adapter), sep="\n")

# %% check="bottleneck_adapter" points=3
adapter = BottleneckAdapter(nn.Linear(6, 4), width=2)
assert torch.equal(adapter(x), adapter.base(x)) and models.count_parameters(adapter) == 22
assert adapter.down.weight.std() > 0 and not adapter.base.weight.requires_grad
nn.init.ones_(adapter.up.bias)
assert torch.allclose(adapter(x), adapter.base(x) + 1)

# %% [markdown]
# <details><summary>Hint 1</summary>Call <code>self.base(x)</code> once and keep the result: it is needed twice.</details>
# <details><summary>Hint 2</summary><code>hidden + self.up(nn.functional.gelu(self.down(hidden)))</code>. The path around
# the adapter (the <i>residual</i>) is what makes it harmless at the start.</details>

# %% [markdown]
# Now all of them on the same task: 1,000 English sentences, 126 updates, three to five seeds. Full fine-tuning and the
# frozen encoder are lab 2's runs (189 updates). Seconds are processor time of an update relative to full fine-tuning,
# measured in turns in one process. Memory is counted, not measured: weights, gradients, the two numbers that Adam keeps
# for each weight that learns, and what a forward pass on 16 texts stores.
#
# **Predict first.** Which method will need the least time for an update, and what share of full fine-tuning?

# %%
def two_bytes(rows):
    return rows.assign(megabytes=2e-6 * rows.trainable)

main = calibration.load_record("lab3_lora", "main")
starts = calibration.load_record("lab2_finetuning", "start", language="eng").rename(columns={"start": "method"})
starts["method"] = starts.method.replace({"fine-tuned": "full fine-tuning", "encoder frozen": "frozen encoder"})
starts["trainable"] = starts.method.map({"full fine-tuning": 22_566_146, "frozen encoder": 770})
record = pd.concat([two_bytes(starts.dropna(subset=["trainable"])),
                    two_bytes(main[main.language == "eng"].assign(method="LoRA")),
                    calibration.load_record("lab3_lora", "methods")])
cost = calibration.load_record("lab3_lora", "cost").groupby("method").mean(numeric_only=True)
memory = cost[["weights_mb", "gradients_mb", "optimizer_mb", "activations_mb"]]

# %%
grouped = record.groupby("method")
table = pd.DataFrame({
    "numbers that learn": grouped.trainable.first().astype(int), "file MB": grouped.megabytes.first().round(3),
    "seconds, relative": cost.relative_seconds.round(2), "memory MB": memory.sum(axis=1).round().astype(int),
    "accuracy": grouped.accuracy.mean().round(3), "sd": grouped.accuracy.std().round(3),
    "seeds": grouped.accuracy.count()}).loc[list(peft_methods.METHODS)]
display(table)

# %%
points = calibration.summarize(record, "method", "accuracy").set_index("method").loc[table.index]
points["trainable"] = table["numbers that learn"]
comparable = english and runtime.scale() != "tiny"  # is your run one of these?
live = (table.loc["LoRA", "numbers that learn"], adapted) if comparable else None
plots.plot_tradeoff(points, "trainable", "1,000 English sentences", "numbers that learn", live=live);

# %%
plots.plot_stacks(memory.loc[table.index].rename(columns=lambda name: name.removesuffix("_mb")),
                  "Memory of one update with 16 texts, counted", "MB");

# %% [markdown]
# Read the table with the number of seeds in its last column in mind.
#
# * **Accuracy.** LoRA, AdaLoRA, IA3 and the bottleneck adapter reach the level of full fine-tuning here; differences of
#   one or two points are within the spread. Prefix and prompt tuning stay below: at this size of model and data, they
#   are the hard ones to train. The frozen encoder with a new head is the baseline to beat.
# * **Settings.** Each method has its own learning rate, and the record holds no search for it. A better one may be worth a point
#   or two, so this is no last word on which method is best.
# * **Size.** A hundred to a thousand times smaller files. This is the gain that nobody disputes.
# * **Time.** A smaller number of trained weights does not make an update as much faster: the forward pass and the way
#   back through the layers are still there. Only the products that give the gradients of frozen weights fall away.
# * **Memory.** Gradients and Adam's numbers vanish almost completely. Activations stay, because the gradient has to
#   travel through all layers to reach the lowest adapter. Only the frozen encoder needs none.

# %% [markdown]
# ## 7. A language that the encoder has not read
#
# LoRA cannot change the word embeddings: they stay frozen. In English they are good. In Hausa and Swahili, MiniLM's
# tokenizer cuts words into pieces that it knows from English words only.

# %%
alone = calibration.load_record("lab3_lora", "frozen_words")
full = calibration.load_record("lab2_finetuning", "main")
for language, title in (("hau", "Hausa"), ("swa", "Swahili")):
    rows = [calibration.bars(frame[frame.language == language], columns) for frame, columns in (
        (full, {"majority class": "all_majority_macro_f1"}),
        (alone, {"LoRA alone": "macro_f1"}),
        (main, {"LoRA and word embeddings": "macro_f1"}),
        (full, {"full fine-tuning (lab 2)": "all_macro_f1",
                "TF-IDF, characters": "all_tfidf_characters_macro_f1"})) if language in set(frame.language)]
    plots.plot_bars(pd.concat(rows), f"{title} tweets, 3 classes, 1,000 labels", xlabel="macro-F1")

# %% [markdown]
# In **Hausa**, LoRA alone (0.57 ± 0.04, 3 seeds) is clearly worse than TF-IDF on characters (0.65 ± 0.01): two small
# matrices cannot repair word vectors that mean nothing. With the word embeddings LoRA reaches about what full fine-tuning
# reaches (0.63 ± 0.03 over five seeds, against 0.62 ± 0.03), and still not more than TF-IDF, which trains in a second.
# In **Swahili** full fine-tuning (0.40 ± 0.02) does not pass TF-IDF (0.41 ± 0.02) either, and LoRA stays behind both
# (0.37 ± 0.03; it had three epochs, not five). LoRA makes an adaptation small. It does not give the model a language that
# it has not read.

# %% [markdown]
# ## 8. One base, many adapters
#
# The base model stays in memory, and a request says which adapter it needs. Take out your adapter, train a second one
# on the same base for another task (is an English text a film review, a tweet or a product review?), and swap.

# %%
kinds = list(data.DOMAINS)
def kind_rows(part, size):
    sets = [data.subsample(data.load_sentiment("eng", kind)[part], size) for kind in kinds]
    return [{**row, "label": i} for i, one in enumerate(sets) for row in data.tokenize(one, tokenizer, 64)]

kind_train, kind_test = (kind_rows("train", by_scale(tiny=8, cpu=120, gpu=300)),
                         kind_rows("test", by_scale(tiny=8, cpu=60, gpu=300)))

# %%
adapters = {"sentiment": lora.get_adapter(model)}
model = lora.inject_lora(models.load_sequence_classifier(kinds))
if not english:
    lora.train_word_embeddings(model)
short = training.TrainingConfig(learning_rate=2e-3, epochs=by_scale(tiny=1, cpu=2, gpu=3))
training.train(model, kind_train, collate, short)
adapters["kind of text"] = lora.get_adapter(model)

# %%
for name, tensors in adapters.items():
    started = time.perf_counter()
    lora.set_adapter(model, tensors)
    ms = 1000 * (time.perf_counter() - started)
    rows = test_rows if name == "sentiment" else kind_test
    scores = evaluation.evaluate(model, rows, collate)
    print(f"{name:>12}: swapped in {ms:.1f} ms, accuracy {scores['accuracy']:.3f} on its own test texts")

# %% [markdown]
# Nothing was loaded from disk and no weight of the base was touched. Nine languages on one base of 45 MB (in 16 bits):

# %%
sizes = main.groupby("language").agg(macro_f1=("macro_f1", "mean"), sd=("macro_f1", "std"), seeds=("seed", "count"))
sizes["learn in training"] = main.groupby("language").trainable.first()
display(sizes.round(3))
print(f"nine full models {9 * 45.1:.0f} MB; one model and nine LoRA adapters {45.1 + 9 * 0.15:.0f} MB")

# %% [markdown]
# With word embeddings the adapter is larger, but the file stores only the rows of tokens that occurred: 1.7 MB for
# Hausa and 2.2 MB for Swahili, not 23 MB.
#
# ## 9. A model that writes
#
# The same two matrices work in a generative model. **SmolLM2** has 135 million parameters and was trained to chat. We
# ask for one lower-case word, so that a program can read the answer. First the old models make room:

# %%
model = adapters = tensors = None
runtime.free_memory()
writer, reader = models.load_causal_lm("smollm2"), models.load_tokenizer("smollm2")
runtime.free_memory()
asked = data.subsample(sentences["test"], by_scale(tiny=6, cpu=60, gpu=300))
prompts = answers.make_prompts(asked, reader, names)
print(prompts[0])

# %%
first_answers = answers.generate_answers(writer, reader, prompts, max_new_tokens=8)
for answer in first_answers[:6]:
    print(repr(answer))

# %% [markdown]
# The model was asked for one word and does not give it. A program that sorts messages cannot use such answers. We need a
# strict score.
#
# ### Exercise 7 · A strict score (10 minutes, 2 points)
#
# Write `score_answers`: the share of answers that are **well-formed** (exactly one of the class names, nothing else),
# and the share that are well-formed and right. Do not repair answers: "Positive." is neither.

# %% answer="score_answers"
def score_answers(answers, labels, names):
    """answers: list of str; labels: list of int; names: list of str. Returns (well-formed, right), floats in [0, 1].

    Example: answers ["positive", "Positive.", "negative"], labels [1, 1, 1], names ["negative", "positive"]
    give (0.667, 0.333): two are well-formed, one of them is right.
    """
    ### BEGIN SOLUTION
    formed = [answer in names for answer in answers]
    right = [answer == names[label] for answer, label in zip(answers, labels, strict=True)]
    return sum(formed) / len(answers), sum(right) / len(answers)
    ### END SOLUTION

# %%
before = score_answers(first_answers, asked["label"], names)
print(f"before training: well-formed {before[0]:.2f}, right {before[1]:.2f}")

# %% check="score_answers" points=2
formed, right = score_answers(["positive", "Positive.", "negative"], [1, 1, 1], ["negative", "positive"])
assert np.isclose(formed, 2 / 3) and np.isclose(right, 1 / 3)

# %% [markdown]
# <details><summary>Hint 1</summary><code>answer in names</code> is True only for an exact match when
# <code>names</code> is a list. For a string, <code>in</code> looks for a part.</details>
# <details><summary>Hint 2</summary>Right means <code>answer == names[label]</code>. Divide both counts by the number of
# <i>all</i> answers.</details>

# %% [markdown]
# Now 60 updates with 4 texts each. The loss counts at the answer's tokens only. To save memory, the texts of a batch go
# through the model one by one before one update (*gradient accumulation*); the update is the same.
#
# **Predict first.** What will the two shares be after 240 examples?

# %%
runtime.set_seed(0)
lora.inject_lora(writer, ("q_proj", "v_proj"), rank=8, alpha=16)
print(f"{models.count_parameters(writer):,} of {models.count_parameters(writer, trainable=False):,} numbers learn")
lessons = answers.make_answer_rows(data.subsample(train_set, by_scale(tiny=8, cpu=240, gpu=1000)), reader, names)
writing = training.TrainingConfig(
    learning_rate=1e-3, batch_size=4, gradient_accumulation_steps=by_scale(tiny=1, cpu=4, gpu=4), epochs=1,
    max_steps=by_scale(tiny=2, cpu=60, gpu=250), output_dir=f"runs/writer-{runtime.scale()}",
)

# %%
answer_collate = answers.AnswerCollator(reader.pad_token_id)
history = training.train(writer, lessons, answer_collate, writing, loss_fn=answers.answer_loss)
plots.plot_history(history).set_ylabel("loss (nats per answer token)");

# %%
new_answers = answers.generate_answers(writer, reader, prompts, max_new_tokens=8)
after = score_answers(new_answers, asked["label"], names)
print(f"after training: well-formed {after[0]:.2f}, right {after[1]:.2f}\n")
for old, new, label in zip(first_answers[:5], new_answers[:5], asked["label"][:5], strict=True):
    print(f"true {names[label]}: {old!r} -> {new!r}")

# %%
record = calibration.load_record("lab3_lora", "generation")
bars = calibration.bars(record, {
    "well-formed, before": "formed_before", "right, before": "right_before",
    "right, before, if we choose for it": "choice_before",
    "well-formed, after 60 updates": "formed_after", "right, after 60 updates": "right_after"})
live = {"well-formed, after 60 updates": after[0], "right, after 60 updates": after[1]} if comparable else None
plots.plot_bars(bars, "SmolLM2, one lower-case word, 60 English test texts a seed", "share of answers", live=live);

# %% [markdown]
# Before training, the model never keeps to the form, so its strict score is 0 for both shares. Does it know the answer
# and only not say it? The bar *if we choose for it* compares the probabilities of the two words as the next word: with
# this prompt that is hardly better than a coin (lab 4 looks for better prompts). After 240 examples the form is kept and
# most answers are right, with 460,800 trained numbers of 135 million.
#
# Compare fairly: MiniLM with LoRA needed 1,000 labels, has a sixth of the weights, and reads a text many times faster.
# A model that writes is worth its price where answers are more than a class.

# %% [markdown]
# ### Exercise 8 · Which method would you send? (20 minutes, 4 points, read by your teacher)
#
# A health office in Cusco sorts the text messages of 30 villages, in five tasks. Its server has 2 GB of memory and
# no GPU, runs one base model, and must answer each message fast. New adapters travel over a line of 64 kbit/s and must
# arrive within one minute. One of the five tasks is in Quechua, which MiniLM has not read. For each task there are
# 1,000 labelled messages. Choose a method (it may differ from task to task), a rank or width where there is one, and
# say what you would measure before you trust it. Use at least three numbers of this lab, with their spread.

# %% [markdown] manual="choice" points=4
# ### BEGIN SOLUTION
# **Marking guide.** 1 point: works out the limit (64 kbit/s for 60 s is 0.48 MB) and compares file sizes with it.
# 1 point: chooses by the table with numbers *and spread*, and does not call differences below one standard deviation
# real. 1 point: sees that answering fast speaks for a method that merges or costs nothing at run time (LoRA, IA3), or
# that swapping five tasks speaks against merging, and weighs the two. 1 point: treats Quechua apart: LoRA alone leaves the
# word embeddings frozen; with embedding rows the file is over the limit; so TF-IDF on characters as the baseline to beat,
# fewer rows, or a slower delivery; and tests on held-out messages of that language with several seeds.
#
# **A good answer, in short.** 0.48 MB rules out full fine-tuning (45 MB) and leaves LoRA with rank 8 (0.15 MB), which
# in our table is level with full fine-tuning within one standard deviation. I would keep the adapters unmerged, because
# five merged models do not fit in memory beside each other and swapping takes a few milliseconds. For Quechua I would send
# a TF-IDF model on characters first, and an adapter only if it beats that on held-out messages with five seeds.
# ### END SOLUTION

# %% [markdown]
# ## What to take away

# %%
results = pd.DataFrame([
    *({"method": name, "accuracy": score} for name, score in baselines.items()),
    {"method": "MiniLM with LoRA, rank 8", "accuracy": adapted},
    {"method": "SmolLM2 with LoRA, 240 examples", "accuracy": after[1]},
])
results.round(3)

# %% [markdown]
# 1. A change of low rank beside frozen weights reaches the level of full fine-tuning here, with 0.3 % of the numbers and a
#    file of 0.15 MB. It starts as nothing (B = 0) and can end as nothing extra (merged).
# 2. Small adapters save disk, bandwidth and the optimizer's memory. They save less time, and the activations remain.
# 3. What an adapter can reach is bounded by what the frozen model knows: in Hausa the word embeddings had to learn, too.
#
# **Sources.** Hu et al., 2022, *LoRA* · Zhang et al., 2023, *AdaLoRA* · Liu et al., 2022, *Few-shot parameter-efficient
# fine-tuning is better and cheaper than in-context learning* (IA3) · Houlsby et al., 2019, *Parameter-efficient transfer
# learning for NLP* (bottleneck adapters) · Li & Liang, 2021, *Prefix-tuning* · Lester et al., 2021, *The power of scale
# for parameter-efficient prompt tuning* · Allal et al., 2025, *SmolLM2* · Hutto & Gilbert, 2014 (the English ratings) ·
# Muhammad et al., 2023, *AfriSenti* (the tweets).
