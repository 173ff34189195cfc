# %% [markdown]
# # Lab 3 · LoRA and its relatives
#
# | | |
# |---|---|
# | **You come from** | lab 2: a classifier on MiniLM, fine-tuned on 1,000 sentences |
# | **You will be able to** | adapt an encoder and a generative model by training a small part of the numbers, and choose a method for a given file size, memory and time |
# | **Time** | about 2.5 hours of work; the computer trains for about 3 minutes of it |
# | **Needs** | 2 cores, 1.6 GB of memory, 179 MB of downloads (once). No GPU |
# | **Points** | 30: six exercises and your adapter, checked by the computer (26), and one answer read by your teacher (4) |
#
# A health line in Mombasa gets messages in nine languages. With lab 2 it would train nine models, and each is a file
# of 45 MB. The clinics load new models over a mobile line, once a week, and pay by the megabyte. Does a new task
# really need 22 million new numbers?
#
# In this lab the pretrained model stays on every machine. We train and send only a small **adapter**. In English less than 1 %
# of the numbers learn, and nothing else changes. In a language that MiniLM has not read the word vectors learn too (half of
# all numbers), and the file holds about 2 MB.
#
# In five steps (exercises 1 to 5) you build a library for that: the layer, its places in a model, merging, the file, and one
# model that answers for many adapters. At the end your functions load a trained adapter and answer for two, and their numbers
# are those of `peft`, the library of Hugging Face that most projects use for LoRA.

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
from types import SimpleNamespace

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
from leaplm.drawings import show_drawing

show_drawing("lab3_lora")

# %%
B, A = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0, -1.0]])
print(B @ A, " rank:", int(torch.linalg.matrix_rank(B @ A)))

# %% [markdown]
# **Predict first.** $B$ is zero at the start. What does the new layer give before the first update: zeros, random
# numbers, or what the old layer gives?
#
# ### Exercise 1 · Step 1: a LoRA layer (15 minutes, 4 points)
#
# Write `LoRALinear`, a module that holds a frozen linear layer and adds the low-rank term to its output. In training,
# **dropout** sets a share of the input *of the low-rank term* to zero, so that small data is learned less by heart. The
# frozen path always gets the whole input.

# %% answer="lora_linear"
class LoRALinear(nn.Module):
    """y = base(x) + (alpha / rank) * B A dropout(x), for x (..., in_features) -> (..., out_features).

    Attributes, under exactly these names: base (the nn.Linear, frozen), lora_A (an nn.Parameter, rank x in_features,
    random), lora_B (an nn.Parameter, out_features x rank, zeros), scaling (alpha / rank, a number).
    dropout: the share of the numbers in x that are set to 0 before A, in training mode only (as nn.Dropout does it).
    Example: with base.weight [[1., 1.]], no bias, rank 1, alpha 2, A [[1., 0.]] and B [[3.]],
    the input [5., 7.] gives 12 + 2 * 3 * 5 = 42.
    """
    def __init__(self, base, rank, alpha, dropout=0.0):
        super().__init__()
        ### BEGIN SOLUTION
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)  # as nn.Linear starts its own weights
        self.scaling = alpha / rank
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        low = self.dropout(x) @ self.lora_A.T
        return self.base(x) + self.scaling * low @ self.lora_B.T
        ### END SOLUTION

# %%
# Try it. Compare the first two lines with your prediction. The last compares with peft: below 0.0001.
layer, x = LoRALinear(nn.Linear(6, 4), rank=2, alpha=4), torch.randn(1, 6)
print(layer(x), layer.base(x), sep="\n")
nn.init.normal_(layer.lora_B)
print("difference from peft:", (peft_methods.peft_twin(layer)(x) - layer(x)).abs().max().item())

# %% [markdown]
# <details><summary>What you should see</summary>The first two lines are equal: B is zero, so the low-rank term adds nothing, and
# the new layer gives what the old one gives.</details>

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
dropping = LoRALinear(nn.Linear(2, 1), rank=1, alpha=1, dropout=0.5)
nn.init.ones_(dropping.lora_B)
assert len({round(dropping(torch.ones(2)).item(), 4) for _ in range(50)}) > 1, "in training mode some numbers drop out"
assert len({dropping.eval()(torch.ones(2)).item() for _ in range(50)}) == 1, "in evaluation mode none"

# %% [markdown]
# <details><summary>Hint 1</summary><code>nn.Parameter(torch.zeros(m, r))</code> is a tensor that learns. If A were zero
# too, no gradient would ever reach it: B and A would both stay zero. <code>nn.Dropout(dropout)</code> is a module that
# knows the mode.</details>
# <details><summary>Hint 2</summary>Rows of <code>x</code> are vectors, so the product is
# <code>(self.dropout(x) @ self.lora_A.T) @ self.lora_B.T</code>: first down to r numbers, then up. Freeze with
# <code>base.requires_grad_(False)</code>.</details>

# %% [markdown]
# The lab goes on with the library's `lora.LoRALinear`, which is the same. **What does it cost?** $A$ has $r \cdot n$ numbers
# and $B$ has $m \cdot r$, so a layer trains $r\,(m + n)$ instead of $m \cdot n$. In 16 bits each takes two bytes:

# %%
numbers = lora.lora_parameters([(384, 384)] * 12, rank=8)  # two matrices in each of MiniLM's six layers: section 2 names them
print(f"LoRA {numbers:,} numbers, {2e-6 * numbers:.2f} MB · MiniLM 22,565,376 numbers, 45 MB")

# %% [markdown]
# ## 2. Into the encoder
#
# A layer of MiniLM makes three vectors of each token's vector, with a matrix (384 × 384) each. The **query** says what the
# token looks for, the **key** by what it is found, the **value** what it gives. The products of a token's query with all
# keys become shares that sum to 1, and the token takes that mixture of the values: this is **attention**. For a text of 5
# tokens the shares are a table (5 × 5), with one row a token. The 384 numbers are cut into 12 **heads** of 32, and each head
# has shares of its own. (Lab 11 builds all of this.)
#
# So each layer has six linear layers: query, key and value, one behind the attention, and two that work on each token alone.
# Their names say where they are:

# %%
model = models.load_sequence_classifier(names)
for name, module in model.bert.encoder.layer[0].named_modules():
    if isinstance(module, nn.Linear):
        print(f"{name:>24}  {tuple(module.weight.shape)}")

# %% [markdown]
# The steps are first tried on a model that is small enough to look at:

# %% locked="toy"
class Toy(nn.Module):
    """Word vectors, three linear layers and a head: input_ids (batch, tokens) -> logits (batch, classes)."""
    def __init__(self, classes=2):
        super().__init__()
        self.words = nn.Embedding(9, 3)
        self.body = nn.ModuleDict({name: nn.Linear(3, 3) for name in ("query", "query_proj", "key")})
        self.classifier = nn.Linear(3, classes)

    def forward(self, input_ids, attention_mask=None):
        hidden = self.words(input_ids).mean(dim=1)
        for part in self.body.values():
            hidden = hidden + part(hidden)
        return SimpleNamespace(logits=self.classifier(hidden))

# %% locked="trained_toy"
def trained_toy(classes=2):
    """A Toy with LoRA on `query` whose A, B and head are random, as after training."""
    toy = lora.inject_lora(Toy(classes), ["query"], rank=2, alpha=4)
    for parameter in filter(lambda p: p.requires_grad, toy.parameters()):
        nn.init.normal_(parameter)
    return toy

# %% [markdown]
# ### Exercise 2 · Step 2: inject LoRA into a model (15 minutes, 4 points)
#
# Write `inject_lora`: freeze the whole model but its head (`classifier`), and put a `lora.LoRALinear` in the place of
# each linear layer whose name has one of `targets` as its last part. Two mistakes are easy to make, and nothing would show
# them: a wrong name, so that only the head learns, and a second injection, which freezes the first. Raise an error for both.

# %% answer="inject_lora"
def inject_lora(model, targets, rank, alpha, dropout=0.0):
    """Change `model` in place; return the names of the layers that were replaced (a list of str).

    targets: the last part of their names. Example: with targets ["query"], the layer
    "bert.encoder.layer.0.attention.self.query" is replaced. Afterwards exactly these learn:
    lora_A and lora_B of each new layer, and the parameters whose name begins with "classifier".
    Raises ValueError, and changes nothing, if the model has LoRA layers already (of whatever name), or no linear layer
    whose name has a target as its last part; the message then names the targets.
    """
    ### BEGIN SOLUTION
    if any(isinstance(module, lora.LoRALinear) for module in model.modules()):
        raise ValueError("this model has LoRA layers already: load it again first")
    found = [name for name, module in model.named_modules()
             if isinstance(module, nn.Linear) and name.split(".")[-1] in targets]
    if not found:
        raise ValueError(f"this model has no linear layer called {targets}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("classifier"))
    for name in found:
        model.set_submodule(name, lora.LoRALinear(model.get_submodule(name), rank, alpha, dropout))
    return found
    ### END SOLUTION

# %%
# Try it. You should see 12 layers, and 74,498 numbers that learn when there are two classes.
replaced = inject_lora(model, ["query", "value"], rank=8, alpha=16)
print(len(replaced), "layers, such as", replaced[0])
print(f"{models.count_parameters(model):,} of {models.count_parameters(model, trainable=False):,} numbers learn")

# %% check="inject_lora" points=4
toy = Toy()
assert inject_lora(toy, ["query"], rank=2, alpha=2) == ["body.query"]
learning = {name for name, p in toy.named_parameters() if p.requires_grad}
assert learning == {"body.query.lora_A", "body.query.lora_B", "classifier.weight", "classifier.bias"}
for wrong_model, wrong_targets in ((Toy(), ["wq"]), (toy, ["key"])):
    try:
        inject_lora(wrong_model, wrong_targets, rank=2, alpha=2)
        raise AssertionError("no layer of that name, or LoRA layers already: raise a ValueError")
    except ValueError as error:
        print("told:", error)

# %% [markdown]
# <details><summary>Hint 1</summary>Look for mistakes first, then freeze, then replace: new layers come with parameters that
# learn. Collect the names in a list before you change anything, because a loop over a model that changes meets the new
# layers too.</details>
# <details><summary>Hint 2</summary><code>model.get_submodule("a.b.query")</code> gives a layer,
# <code>model.set_submodule("a.b.query", new)</code> puts another in its place. A second injection shows by
# <code>any(isinstance(module, lora.LoRALinear) for module in model.modules())</code>.</details>

# %% [markdown]
# ## 3. Train it
#
# The training loop is that of lab 2; it moves what learns and leaves the rest. Two things change. The learning rate is
# ten times larger (0.001): new small matrices have to grow from zero. (The encoder's own weights stay in the file as they
# are, but the *model* can still be ruined: at 0.03 an adapter of this kind ends at chance.) And in a
# language that MiniLM has not read, the word embeddings learn too; section 9 shows, in Hausa, what happens without.
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
# ## 4. One matrix again
#
# After training, the two paths can become one matrix: $W' = W + \frac{\alpha}{r} B A$. Then the model is as fast as before.
# To train on, or to take another adapter, it has to come apart again. Adding $BA$ and subtracting it later does not give
# back $W$: each of the two sums is rounded. So keep what was there.
#
# ### Exercise 3 · Step 3: merge and unmerge (15 minutes, 3 points)
#
# Write `merge` for one layer, `merge_adapter` for all LoRA layers of a model, and `unmerge_adapter`, after which the model is
# exactly as before (one point each).

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

# %% answer="merge_adapter"
def merge_adapter(model):
    """Put a merged nn.Linear in the place of each lora.LoRALinear of `model`, in place.

    Returns what `unmerge_adapter` needs, in a form of your choice, such as {name: the LoRALinear that was there}.
    Example: trained_toy() has one LoRALinear, "body.query"; afterwards model.body.query is an nn.Linear.
    """
    ### BEGIN SOLUTION
    layers = {name: module for name, module in model.named_modules() if isinstance(module, lora.LoRALinear)}
    for name, layer in layers.items():
        model.set_submodule(name, merge(layer))
    return layers
    ### END SOLUTION

def unmerge_adapter(model, layers):
    """Undo `merge_adapter(model)`, which returned `layers`, in place; returns nothing.

    The same LoRALinear objects are back, so an optimizer that holds their parameters can go on.
    """
    ### BEGIN SOLUTION
    for name, layer in layers.items():
        model.set_submodule(name, layer)
    ### END SOLUTION

# %%
# Try it on your trained model: rounding, below 0.001, then exactly 0.
some = collate(test_rows[:8])
model.to("cpu").eval()
with torch.no_grad():
    two_paths = model(**some).logits
    layers = merge_adapter(model)
    one_path = model(**some).logits
    unmerge_adapter(model, layers)
    print((two_paths - one_path).abs().max().item(), (two_paths - model(**some).logits).abs().max().item())

# %% check="merge" points=3
small = lora.LoRALinear(nn.Linear(2, 1, bias=False), rank=1, alpha=2)
with torch.no_grad():
    small.base.weight.fill_(1.0)
    small.lora_A.copy_(torch.tensor([[1.0, 0.0]]))
    small.lora_B.fill_(3.0)
assert merge(small).weight.tolist() == [[7.0, 1.0]] and small.base.weight.tolist() == [[1.0, 1.0]]
toy, ids = trained_toy(), torch.tensor([[1, 2, 3]])
query, before = toy.body.query, toy(ids).logits
taken = merge_adapter(toy)
assert type(toy.body.query) is nn.Linear and torch.allclose(toy(ids).logits, before, atol=1e-4)
unmerge_adapter(toy, taken)
assert toy.body.query is query and torch.equal(toy(ids).logits, before)

# %% [markdown]
# <details><summary>Hint 1</summary>B (m × r) times A (r × n) has the shape of W. Which attribute holds the factor?</details>
# <details><summary>Hint 2</summary>For <code>merge</code>, make a new <code>nn.Linear(in, out, bias=...)</code> and fill it
# inside <code>with torch.no_grad():</code> with <code>.copy_()</code>. Do not add to <code>layer.base.weight</code>.</details>
# <details><summary>Hint 3</summary>For a model, collect <code>{name: module}</code> of all LoRA layers first. The loop that
# replaces them comes after, because the model changes under it.</details>
# <details><summary>Hint 4</summary><code>model.set_submodule(name, merge(layer))</code> puts the merged layer in, and
# <code>model.set_submodule(name, layer)</code> the old one back. Nothing has to be subtracted.</details>

# %% [markdown]
# ## 5. The adapter's file
#
# What has to travel is only what learned. But an adapter alone is numbers without a place: on another base model, on other
# layers, or with another $\alpha$, it gives nonsense *without any error*. So the file also says where it belongs, and
# whoever loads it compares. For the base, `lora.base_fingerprint(model)` gives eight characters that are made of
# the frozen weights below the LoRA layers. `artifacts.pack(tensors, card)` makes bytes of a dict of tensors and a dict, and
# `artifacts.read_artifact(content)` gives `(card, tensors)` back.
#
# ### Exercise 4 · Step 4: save and load (20 minutes, 3 points)
#
# Write `adapter_config`, `save_adapter` and `load_adapter` (one point each).

# %% answer="adapter_config"
def adapter_config(model):
    """{"targets": sorted last parts of the LoRA layers' names, each once, "rank", "alpha", "base": the fingerprint}.

    All lora.LoRALinear of `model` have one rank and one alpha. Example for trained_toy():
    {"targets": ["query"], "rank": 2, "alpha": 4.0, "base": "5f0c23e1" (or others)}.
    """
    ### BEGIN SOLUTION
    layers = {name: module for name, module in model.named_modules() if isinstance(module, lora.LoRALinear)}
    first = next(iter(layers.values()))
    rank = len(first.lora_A)
    return {"targets": sorted({name.split(".")[-1] for name in layers}), "rank": rank, "alpha": first.scaling * rank,
            "base": lora.base_fingerprint(model)}
    ### END SOLUTION

def save_adapter(model):
    """The file as bytes: all parameters that learn in `model` by name, in 16 bits, and `adapter_config(model)` as card.

    Example: of trained_toy() it holds body.query.lora_A, body.query.lora_B, classifier.weight and classifier.bias.
    """
    ### BEGIN SOLUTION
    tensors = {name: p.detach().half() for name, p in model.named_parameters() if p.requires_grad}
    return artifacts.pack(tensors, adapter_config(model))
    ### END SOLUTION

# %% answer="load_adapter"
def load_adapter(model, content):
    """Put the adapter of a file (bytes) into a model that has LoRA layers already, in place; return the model.

    Raises ValueError, and changes nothing, if an entry of the file's config is not that of `adapter_config(model)`
    (the message names the entry, such as "rank"), or if the names of its tensors are not those of what learns.
    The parameters keep their type (32 bits). The head may have another number of classes: then it takes that shape.
    Example: the file of trained_toy(3) in trained_toy(2) gives a model with 3 classes, if both have the same base.
    """
    ### BEGIN SOLUTION
    config, tensors = artifacts.read_artifact(content)
    for key, own in adapter_config(model).items():
        if config.get(key) != own:
            raise ValueError(f"the {key} of this adapter is {config.get(key)}, that of the model is {own}")
    slots = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if set(slots) != set(tensors):
        raise ValueError("the file has other tensors than learn in this model")
    for name, parameter in slots.items():
        parameter.data = tensors[name].to(parameter)
    return model
    ### END SOLUTION

# %%
# Try it with your trained model. You should see the file's size, and a difference below 0.05 (16 bits).
content = save_adapter(model)
fresh = load_adapter(make_model(), content).eval()
with torch.no_grad():
    difference = (fresh(**some).logits - two_paths).abs().max().item()
print(f"{len(content) / 1e6:.2f} MB, largest difference {difference:.4f}")

# %%
# A model of another rank: you should see the error that says so.
try:
    load_adapter(lora.inject_lora(models.load_sequence_classifier(names), rank=4), content)
except ValueError as error:
    print("told:", error)

# %% check="adapter_file" points=3
first, second = trained_toy(), trained_toy(classes=3)
second.load_state_dict({n: t for n, t in first.state_dict().items() if "classifier" not in n}, strict=False)
described = adapter_config(first)
assert described == {"targets": ["query"], "rank": 2, "alpha": 4, "base": lora.base_fingerprint(first)}
card, tensors = artifacts.read_artifact(save_adapter(first))
assert card == described and set(tensors) == set(lora.get_adapter(first))
assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
loaded = load_adapter(second, save_adapter(first))
assert loaded is second and second.classifier.weight.shape == (2, 3) and second.classifier.weight.dtype == torch.float32
try:
    load_adapter(trained_toy(), save_adapter(first))
    raise AssertionError("another base: raise a ValueError")
except ValueError as error:
    assert "base" in str(error), "the message names what does not fit"

# %% [markdown]
# <details><summary>Hint 1</summary>The rank is <code>len(layer.lora_A)</code>, and alpha is scaling times rank. What learns
# has <code>requires_grad</code>.</details>
# <details><summary>Hint 2</summary>For the file, make a dict of <code>name: p.detach().half()</code> of
# <code>model.named_parameters()</code>, and give it to <code>artifacts.pack</code> with the config.</details>
# <details><summary>Hint 3</summary>In <code>load_adapter</code>, make all comparisons before the first number is changed:
# first the entries of the config, then the names of the tensors.</details>
# <details><summary>Hint 4</summary>Go through <code>adapter_config(model).items()</code> and compare with
# <code>config.get(key)</code>. At last <code>parameter.data = tensors[name].to(parameter)</code>, which takes type and device
# from the parameter and the shape from the file.</details>

# %% [markdown]
# The lab goes on with the library's `lora.save_adapter` and `lora.load_adapter`, which are the same.
#
# ### Hand in your adapter
#
# The file to hand in is of this kind, with a card for your teacher's computer; of word embeddings that learned it holds only the rows that
# changed. **It may have at most 3 MB.** That computer puts it
# on its own copy of MiniLM and measures macro-F1 on texts that you never saw: full points at the level of our own runs
# (mean minus 3 to 5 standard deviations), half if it is clearly better than guessing.

# %% locked="save"
card = {"lab": "lab3_lora", "language": LANGUAGE, "labels": names, "scale": runtime.scale(), "seed": config.seed,
        "lora": {"targets": ["query", "value"], "rank": 8, "alpha": 16},
        "test_accuracy": adapted, "updates": len(history.train), "validation": history.validation}
path = f"artifacts/adapter-{runtime.scale()}.safetensors"
size = artifacts.save_artifact(path, model, make_model(), card)
print(f"saved {path}: {size:.2f} MB")
marking.describe_aim("lab3_lora", LANGUAGE)

# %% check="adapter" points=6
card, tensors = artifacts.read_artifact(path)
assert card["language"] == LANGUAGE and any("lora_A" in name for name in tensors)
print("Saved. Hand in this notebook together with its folder `artifacts`.")

# %% [markdown]
# **A place to stop.** Your answers stay in the notebook. To go on another day: open it, click on this cell, choose
# *Run › Run All Above Selected Cell* (on Colab *Runtime › Run before*), wait a few minutes, and go on below. An exercise that
# is still open stops this run: then run the cells behind it by hand.

# %% [markdown]
# ## 6. One base, many adapters
#
# The base model stays in memory, and a request says which adapter it needs. Train a second adapter on the same base for
# another task (is an English text a film review, a tweet or a product review?), and keep both files.

# %%
kinds = list(data.DOMAINS)
def kind_rows(part, size):
    sets = [data.subsample(data.load_sentiment("eng", kind)[part], size) for kind in kinds]
    return [{**row, "label": i} for i, one in enumerate(sets) for row in data.tokenize(one, tokenizer, 64)]

kind_train, kind_test = (kind_rows("train", by_scale(tiny=8, cpu=120, gpu=300)),
                         kind_rows("test", by_scale(tiny=8, cpu=60, gpu=300)))

# %%
files = {"sentiment": lora.save_adapter(model)}
model = lora.inject_lora(models.load_sequence_classifier(kinds))
if not english:
    lora.train_word_embeddings(model)

# %%
short = training.TrainingConfig(learning_rate=2e-3, epochs=by_scale(tiny=1, cpu=2, gpu=3))
training.train(model, kind_train, collate, short)
files["kind of text"] = lora.save_adapter(model)
print({name: f"{len(content) / 1e6:.2f} MB" for name, content in files.items()})

# %% [markdown]
# Now one fresh model takes both from their files, one after the other:

# %%
model = make_model()
adapters = {}
for name, content in files.items():
    started = time.perf_counter()
    lora.load_adapter(model, content)
    print(f"{name:>12}: loaded and put in within {1000 * (time.perf_counter() - started):.1f} ms")
    adapters[name] = lora.get_adapter(model)

# %% [markdown]
# Requests for the two come in any order. To put in another adapter for each of them wastes time, and a model reads a batch
# faster than single texts. So collect what asks for the same adapter, and give the answers back in the order of the
# requests.
#
# ### Exercise 5 · Step 5: serve many adapters (15 minutes, 3 points)
#
# Write `serve_requests` with a loop over batches of your own. Of the library you may use `lora.get_adapter(model)`, a copy of
# what learns, and `lora.set_adapter(model, tensors)`, which puts such a copy in.

# %% answer="serve_requests"
def serve_requests(model, adapters, requests, collate, batch_size=16):
    """The class numbers (a list of int), in the order of `requests`, each from the adapter that its request names.

    adapters: {name: tensors}, each a result of lora.get_adapter. requests: a list of (name, row).
    collate: list of rows -> batch (dict of tensors, no labels); model(**batch).logits has (rows, classes).
    Each adapter that is asked for is put in once, and its rows go through the model in batches of batch_size (the
    last may be smaller), in evaluation mode and without gradients. Afterwards the model has the adapter and the mode
    that it had before. Raises ValueError for a name that is not in `adapters`, before anything is computed.
    Example: requests for "a", "b", "a", "a" with batch_size 2 make three batches: two rows and one for "a", one for "b".
    """
    ### BEGIN SOLUTION
    unknown = {name for name, _ in requests} - set(adapters)
    if unknown:
        raise ValueError(f"there is no adapter called {unknown}")
    before, was_training = lora.get_adapter(model), model.training
    answers = [None] * len(requests)
    model.eval()
    for name in dict.fromkeys(name for name, _ in requests):
        lora.set_adapter(model, adapters[name])
        places = [place for place, request in enumerate(requests) if request[0] == name]
        for start in range(0, len(places), batch_size):
            some = places[start : start + batch_size]
            with torch.no_grad():
                logits = model(**collate([requests[place][1] for place in some])).logits
            for place, label in zip(some, logits.argmax(-1).tolist(), strict=True):
                answers[place] = label
    lora.set_adapter(model, before)
    model.train(was_training)
    return answers
    ### END SOLUTION

# %%
# Try it on test texts of both tasks, mixed. Your accuracy for "sentiment" should be near the one you know.
tests = {"sentiment": test_rows[: by_scale(tiny=20, cpu=180, gpu=900)], "kind of text": kind_test}
labelled = [(name, row) for name, rows in tests.items() for row in rows]
labelled = [labelled[i] for i in np.random.default_rng(0).permutation(len(labelled))]
requests = [(name, {"input_ids": row["input_ids"]}) for name, row in labelled]
answered = serve_requests(model, adapters, requests, collate)

# %%
for name in adapters:
    hits = [answer == row["label"] for (wanted, row), answer in zip(labelled, answered, strict=True)
            if wanted == name]
    print(f"{name:>12}: {len(hits)} texts, accuracy {np.mean(hits):.3f}")

# %% check="serve_requests" points=3
toy = trained_toy()
toy_adapters = {"a": lora.get_adapter(toy), "b": {n: -t for n, t in lora.get_adapter(toy).items()}}
rows = [{"input_ids": [i, i + 1]} for i in range(5)]
def toy_collate(some):
    return {"input_ids": torch.tensor([row["input_ids"] for row in some])}

kept = lora.get_adapter(toy)
found = serve_requests(toy, toy_adapters, [("a", rows[0]), ("b", rows[1]), ("a", rows[2]), ("a", rows[3])], toy_collate, 2)
assert len(found) == 4 and found[0] == toy(**toy_collate(rows[:1])).logits.argmax(-1).item()
assert all(torch.equal(kept[name], tensor) for name, tensor in lora.get_adapter(toy).items()) and toy.training
try:
    serve_requests(toy, toy_adapters, [("c", rows[0])], toy_collate)
    raise AssertionError("a name without adapter: raise a ValueError")
except ValueError:
    pass

# %% [markdown]
# <details><summary>Hint 1</summary>Remember the <i>places</i> of the requests of one adapter:
# <code>[i for i, (other, _) in enumerate(requests) if other == name]</code>. An answer goes to
# <code>answers[place]</code>.</details>
# <details><summary>Hint 2</summary>Outer loop: the names, each once (<code>dict.fromkeys</code>); <code>lora.set_adapter</code>
# there. Inner loop: <code>range(0, len(places), batch_size)</code>. Before both, keep <code>lora.get_adapter(model)</code> and
# <code>model.training</code>; after both, put them back.</details>

# %% [markdown]
# **The whole.** A fresh MiniLM and your functions of steps 2 to 4: inject, load, merge. They work on the library's layer and file,
# which are equal to yours. And is this what everybody else calls LoRA? The package `peft` gets the same file:

# %%
# Your functions of steps 2 to 4.
place, stored = artifacts.read_artifact(files["sentiment"])
mine = models.load_sequence_classifier(names)
inject_lora(mine, place["targets"], place["rank"], place["alpha"])
mine = load_adapter(mine if english else lora.train_word_embeddings(mine), files["sentiment"]).eval()
layers = merge_adapter(mine)

# %%
# peft's own LoRA with the same file. You should see a difference below 0.001.
theirs = peft_methods.peft_adapter(models.load_sequence_classifier(names), place, stored).eval()
with torch.no_grad():
    print("largest difference from peft:", (mine(**some).logits - theirs(**some).logits).abs().max().item())

# %% [markdown]
# Nothing of the base was touched. The languages that we measured, on one base of 45 MB (in 16 bits):

# %%
main = calibration.load_record("lab3_lora", "main")
sizes = main.groupby("language").agg(macro_f1=("macro_f1", "mean"), sd=("macro_f1", "std"), seeds=("seed", "count"))
sizes["learn in training"] = main.groupby("language").trainable.first()
display(sizes.rename(index=data.NAMES).round(3))
print(f"nine would need: nine full models {9 * 45.1:.0f} MB; one model and nine adapters about {45.1 + 0.15 + 8 * 2:.0f} MB")

# %% [markdown]
# The English adapter has 0.15 MB. Elsewhere the word embeddings learn too, and the file stores the rows of the tokens that
# occurred: about 2 MB a language (1.7 for Hausa, 2.2 for Swahili), not 23 MB.

# %% [markdown]
# ## 7. Which rank, and where?
#
# **Predict first.** The record has 256 English sentences, three epochs (48 updates) and ranks 1, 8 and 32. By how many
# points of accuracy is rank 32 better than rank 1, and than rank 8?

# %%
my_gains = {"than rank 1": 0.0, "than rank 8": 0.0}  # points of accuracy

# %%
record = calibration.load_record("lab3_lora", "ranks")
where = record.targets.replace("query key value dense", "all linear layers")
record["place"] = record.method + " on " + where + ", rank " + record["rank"].astype(str)
bars = calibration.summarize(record, "place", "accuracy", texts=1056)
plots.plot_bars(bars, "256 English sentences: accuracy, validation texts")
print("you predicted that rank 32 is better by, in points:", my_gains)

# %% [markdown]
# In so few updates, more numbers learn faster: rank 1 is behind, and rank 8 on all linear layers is ahead of rank 8 on two
# of them. The bars also show how much one seed differs from another. With 1,000 sentences and 126 updates the same
# rank 8 on query and value reaches 0.82 (section 8).
#
# **DoRA** (Liu et al., 2024) also learns the length of each row of the weights, apart from its direction: `lora.inject_dora`.
# It is usual today to adapt all linear layers. There DoRA has 0.744 ± 0.023 and LoRA 0.745 ± 0.022 (three seeds): no difference
# that these runs could show.
#
# **Which rank would you take?** All ranks share their seeds: the same sentences, the same random head. So compare *in
# pairs*, seed by seed. A rule: take the smallest rank whose differences to the best one are on average at most their
# **standard error** (sample standard deviation divided by the root of the number of seeds). The validation texts choose
# the rank, so the best of three ranks is partly the luckiest on them. How good the chosen rank is must be measured on
# test texts.

# %%
same_place = record[record.targets == "query value"]
table = same_place.pivot(index="rank", columns="seed", values="accuracy").dropna(axis="columns")
display(table.round(3))
print("chosen by the rule:", lora.choose_rank(table.index, table))

# %% [markdown]
# ### Open task · Another low-rank method in your library
#
# It has no points of its own. Add one method to *your* library:
#
# * **rsLoRA**: the factor $\alpha / \sqrt{r}$ (Kalajdzievski, 2023).
# * **LoRA+**: a larger learning rate for B than for A (Hayou et al., 2024). With Adam, a fixed factor in front of B does the
#   same.
# * **VeRA**: A and B random, frozen and shared by all layers; two vectors a layer learn (Kopiczko et al., 2024).
#   **DoRA**: as above.
# * **All linear layers** with a smaller rank: rank 2 on `query`, `key`, `value` and `dense` has 83,714 numbers that learn
#   (with the head), rank 8 on two of them 74,498.
#
# Measure it fairly: 256 training sentences, 3 epochs (48 updates), at most 85,000 numbers that learn, the seeds 0, 1 and
# 2, and the validation texts of the record. **The number to beat** is an accuracy of 0.683 ± 0.045 (LoRA with rank 8 on query and
# value, three seeds). Compare in pairs with `evaluation.paired_difference`. A run takes about a minute. An interval that
# holds 0 is a result, too: write it down. What is LoRA with other targets, rank and $\alpha$ in the end (not VeRA, not
# DoRA) you may also train on all sentences and hand in: then the keys `targets`, `rank`
# and `alpha` under `lora` in the card must be those of your adapter.

# %%
def open_run(inject, seed):
    """Accuracy on validation texts after inject(model) and 48 updates on 256 sentences; the record's are of LANGUAGE = "eng".

    Example: open_run(lambda model: inject_lora(model, ["query", "value"], 8, 16), seed=0)
    """
    runtime.set_seed(seed)
    model = models.load_sequence_classifier(names)
    inject(model)
    rows = data.tokenize(data.subsample(sentences["train"], 256, seed), tokenizer, max_length=64)
    training.train(model, rows, collate, training.TrainingConfig(learning_rate=1e-3, epochs=3, seed=seed))
    return evaluation.evaluate(model, data.tokenize(sentences["validation"], tokenizer, max_length=64), collate)["accuracy"]

to_beat = same_place[same_place["rank"] == 8].set_index("seed").accuracy.round(3).to_dict()
print("to beat, by seed:", to_beat)

# %%
# Your method: write my_inject(model), then
# mine = [open_run(my_inject, seed) for seed in to_beat]
# evaluation.paired_difference(list(to_beat.values()), mine)


# %% [markdown]
# ## 8. The relatives
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
# ### Exercise 6 · A bottleneck adapter (10 minutes, 3 points)
#
# Write `BottleneckAdapter`: behind a frozen layer it computes $h = \text{base}(x)$ and gives $h + U\,\text{gelu}(D h)$.
# $D$ (down) goes to a few numbers, $U$ (up) back; gelu is a smooth bend, near 0 below zero and near $x$ above. At the start the
# adapter must give exactly $h$.

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
# Now all of them on the same task: 1,000 English sentences, 126 updates, three to five seeds, 600 test texts. Full fine-tuning
# and the frozen encoder are lab 2's runs (189 updates, 1,000 test texts): compare with these two no finer than two points. Seconds are processor time of an update relative to full fine-tuning,
# measured in turns in one process (1.01 for full fine-tuning itself: the noise of measuring). Memory is counted, not measured: weights, gradients, the two numbers that Adam keeps
# for each weight that learns, and what a forward pass on 16 texts stores.
#
# **Predict first.** Which method will need the least time for an update, and what share of full fine-tuning?

# %%
my_method, my_time = "", 1.0  # a method, its time as a share

# %%
def two_bytes(rows):
    return rows.assign(megabytes=2e-6 * rows.trainable)

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
print("you predicted the least time for an update:", my_method, my_time)
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
# * **Size.** About 150 times smaller (bottleneck adapter) to about 5,000 times (prompt tuning). This is the gain that
#   nobody disputes.
# * **Time.** A smaller number of trained weights does not make an update as much faster: the forward pass and the way
#   back through the layers are still there. Only the products that give the gradients of frozen weights fall away.
# * **Memory.** Gradients and Adam's numbers vanish almost completely. Activations stay, because the gradient has to
#   travel through all layers to reach the lowest adapter. Only the frozen encoder needs none.

# %% [markdown]
# ## 9. A language that the encoder has not read
#
# LoRA cannot change the word embeddings: they stay frozen. In English they are good. In Hausa and Swahili, MiniLM's
# tokenizer cuts words into pieces that it knows from English words only. LoRA alone was measured in Hausa only.

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
# ## 10. A model that writes
#
# The same two matrices work in a generative model. **SmolLM2** has 135 million parameters and was trained to chat. We
# ask for one lower-case word, so that a program can read the answer. First the old models make room:

# %%
model = fresh = mine = theirs = adapters = files = layers = None
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
# The model was asked for one word and does not give it. A program that sorts messages cannot use such answers. So the score is
# strict: an answer is **well-formed** if it is exactly one of the class names, nothing else; "Positive." is not. Nothing is
# repaired, and both shares are of *all* answers.

# %%
before = answers.score_answers(first_answers, asked["label"], names)
print(f"before training: well-formed {before[0]:.2f}, right {before[1]:.2f}")

# %% [markdown]
# Now 60 updates with 4 texts each. The loss counts at the answer's tokens only. To save memory, the texts of a batch go
# through the model one by one before one update (*gradient accumulation*); the update is the same.
#
# **Predict first.** What will the two shares be after 240 examples?

# %%
my_shares = {"well-formed": 0.0, "right": 0.0}  # from 0 to 1

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
after = answers.score_answers(new_answers, asked["label"], names)
print(f"after training: well-formed {after[0]:.2f}, right {after[1]:.2f}; you predicted {my_shares}\n")
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
# ### Exercise 7 · Which method would you send? (20 minutes, 4 points, read by your teacher)
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
# for parameter-efficient prompt tuning* · Liu et al., 2024, *DoRA* · Kalajdzievski, 2023, *A rank stabilization scaling
# factor for fine-tuning with LoRA* (rsLoRA) · Hayou et al., 2024, *LoRA+* · Kopiczko et al., 2024, *VeRA* · Allal et al.,
# 2025, *SmolLM2* · Hutto & Gilbert, 2014 (the English ratings) · Muhammad et al., 2023, *AfriSenti* (the tweets).
