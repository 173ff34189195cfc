"""Wrong and right answers of the mini lab."""
# ruff: noqa: F821 (the names are the notebook's)

from leaplm.grading.judge.banks import right, wrong


@wrong("mean_square", "the square of the mean")
def square_of_mean(x):
    return x.mean() ** 2


@wrong("mean_square", "sums instead of averaging")
def summed(x):
    return (x * x).sum()


@wrong("mean_square", "divides by n - 1")
def unbiased(x):
    return (x * x).sum() / (len(x) - 1)


@wrong("mean_square", "returns one number per element")
def elementwise(x):
    return x * x


@wrong("mean_square", "never ends")
def endless(x):
    while True:
        try:
            while True:
                x.mean()
        except Exception:
            pass


@right("mean_square", "through the norm")
def through_norm(x):
    return torch.linalg.vector_norm(x) ** 2 / x.numel()


@right("mean_square", "with a loop")
def looped(x):
    return sum(float(number) ** 2 for number in x) / len(x)


@wrong("train_step", "keeps the gradients of the step before")
def no_zero_grad(model, batch, optimizer):
    loss = torch.nn.functional.mse_loss(model(batch["x"]), batch["y"])
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("train_step", "never steps")
def no_step(model, batch, optimizer):
    loss = torch.nn.functional.mse_loss(model(batch["x"]), batch["y"])
    loss.backward()
    return loss.item()


@wrong("train_step", "clears the gradients between backward and step")
def zero_after_backward(model, batch, optimizer):
    loss = torch.nn.functional.mse_loss(model(batch["x"]), batch["y"])
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


@wrong("train_step", "returns the loss of the next batch")
def late_loss(model, batch, optimizer):
    loss = torch.nn.functional.mse_loss(model(batch["x"]), batch["y"])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return torch.nn.functional.mse_loss(model(batch["x"]), batch["y"]).item()


@right("train_step", "clears the gradients at the end")
def zero_at_end(model, batch, optimizer):
    loss = torch.nn.functional.mse_loss(model(batch["x"]), batch["y"])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss)


@right("train_step", "returns a tensor")
def tensor_loss(model, batch, optimizer):
    model.zero_grad()
    loss = ((model(batch["x"]) - batch["y"]) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss


@wrong.artifact("slope", "nothing saved")
def nothing():
    return {}


@wrong.artifact("slope", "of other data")
def other_slope():
    return {"slope-cpu.json": b'{"slope": -2.0}'}


@wrong.artifact("slope", "not a number")
def not_a_number():
    return {"slope-cpu.json": b'{"slope": NaN}'}


@wrong.artifact("slope", "cut off")
def cut_off(trained):
    return {name: data[:5] for name, data in trained.items()}


@right.artifact("slope", "with a note beside it")
def with_note(trained):
    return {**trained, "note.txt": b"fitted by hand"}


@right.artifact("slope", "rounded")
def rounded():
    return {"slope-cpu.json": b'{"slope": 2}'}
