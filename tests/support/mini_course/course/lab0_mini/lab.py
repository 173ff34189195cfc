# %% [markdown]
# # A mini lab
# The smallest lab that has one of everything. It tests the build and the grading.

# %% locked="setup"
import json
import os
from pathlib import Path

import torch

SCALE = os.environ.get("LEAPLM_SCALE", "cpu")

# %% [markdown]
# ## 1. Mean square
# Write `mean_square`: the mean of the squared numbers, a number.

# %% answer="mean_square"
def mean_square(x):
    """Mean of the squares of a tensor: mean_square([1, 3]) = 5."""
    ### BEGIN SOLUTION
    squares = x * x
    return squares.mean()
    ### END SOLUTION

# %% check="mean_square" points=3
assert torch.isclose(mean_square(torch.tensor([1.0, 3.0])), torch.tensor(5.0))
print("mean_square agrees with the example")

# %% [markdown]
# ## 2. One step of gradient descent

# %% answer="train_step"
def train_step(model, batch, optimizer):
    """One step on a batch; returns the loss as a number."""
    ### BEGIN SOLUTION
    loss = torch.nn.functional.mse_loss(model(batch["x"]), batch["y"])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION

# %% check="train_step" points=4
assert callable(train_step)

# %% [markdown]
# ## 3. Save a slope
# Fit `y = slope * x` and save the slope.

# %%
x = torch.linspace(-1, 1, 50)
y = 2 * x

# %% answer="fit_slope"
def fit_slope(x, y):
    """Least squares slope of y = slope * x, a number."""
    ### BEGIN SOLUTION
    return float((x * y).sum() / mean_square(x) / len(x))
    ### END SOLUTION

# %% locked="save_slope"
ARTIFACT = Path("artifacts", f"slope-{SCALE}.json")
ARTIFACT.parent.mkdir(exist_ok=True)
ARTIFACT.write_text(json.dumps({"slope": fit_slope(x, y)}))

# %% check="slope" points=2
assert ARTIFACT.exists()

# %% [markdown]
# ## 4. In words

# %% [markdown] manual="why" points=2
# Why does the square come before the mean?
#
# ### BEGIN SOLUTION
# Otherwise positive and negative numbers would cancel.
# ### END SOLUTION
