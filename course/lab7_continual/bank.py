"""Bank of lab 7: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, nn, np, data, artifacts, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905, B035

# -- stream_scores ----------------------------------------------------------------------------------------------------


@wrong("stream_scores", "averages the whole matrix")
def whole_matrix(matrix):
    bwt = (matrix[-1] - matrix.diagonal())[:-1].mean()
    fall = (matrix[:-1].max(dim=0).values - matrix[-1])[:-1].mean()
    return float(matrix.mean()), float(bwt), float(fall)


@wrong("stream_scores", "averages the diagonal: each task right after its training")
def diagonal_average(matrix):
    bwt = (matrix[-1] - matrix.diagonal())[:-1].mean()
    fall = (matrix[:-1].max(dim=0).values - matrix[-1])[:-1].mean()
    return float(matrix.diagonal().mean()), float(bwt), float(fall)


@wrong("stream_scores", "takes columns for rows")
def transposed(matrix):
    matrix = matrix.T
    bwt = (matrix[-1] - matrix.diagonal())[:-1].mean()
    fall = (matrix[:-1].max(dim=0).values - matrix[-1])[:-1].mean()
    return float(matrix[-1].mean()), float(bwt), float(fall)


@wrong("stream_scores", "forgetting as minus the backward transfer")
def forgetting_from_diagonal(matrix):
    bwt = (matrix[-1] - matrix.diagonal())[:-1].mean()
    return float(matrix[-1].mean()), float(bwt), float(-bwt)


@wrong("stream_scores", "the best value may be the last row's, so forgetting is never below 0")
def best_of_all_rows(matrix):
    bwt = (matrix[-1] - matrix.diagonal())[:-1].mean()
    fall = (matrix.max(dim=0).values - matrix[-1])[:-1].mean()
    return float(matrix[-1].mean()), float(bwt), float(fall)


@wrong("stream_scores", "divides by all tasks, the last one too")
def divides_by_all(matrix):
    bwt = (matrix[-1] - matrix.diagonal()).mean()
    fall = (matrix[:-1].max(dim=0).values - matrix[-1])[:-1].sum() / len(matrix)
    return float(matrix[-1].mean()), float(bwt), float(fall)


@wrong("stream_scores", "the sign of the backward transfer is turned round")
def sign_turned(matrix):
    bwt = (matrix.diagonal() - matrix[-1])[:-1].mean()
    fall = (matrix[:-1].max(dim=0).values - matrix[-1])[:-1].mean()
    return float(matrix[-1].mean()), float(bwt), float(fall)


@right("stream_scores", "with loops")
def scores_by_loops(matrix):
    last = len(matrix) - 1
    average = sum(float(matrix[last][j]) for j in range(last + 1)) / (last + 1)
    bwt = sum(float(matrix[last][j] - matrix[j][j]) for j in range(last)) / last
    fall = sum(max(float(matrix[i][j]) for i in range(last)) - float(matrix[last][j]) for j in range(last)) / last
    return average, bwt, fall


@right("stream_scores", "with numpy, as a list")
def scores_by_numpy(matrix):
    r = np.asarray(matrix)
    return [r[-1].mean(), np.mean(r[-1, :-1] - np.diag(r)[:-1]), np.mean(r[:-1, :-1].max(0) - r[-1, :-1])]


@wrong("stream_scores", "forgetting is never below 0")
def never_negative(matrix):
    bwt = (matrix[-1] - matrix.diagonal())[:-1].mean()
    fall = (matrix[:-1].max(dim=0).values - matrix[-1])[:-1].mean().clamp(min=0)
    return float(matrix[-1].mean()), float(bwt), float(fall)


@wrong("stream_scores", "the best value counts only from the task's own training on")
def best_since_training(matrix):
    last = len(matrix) - 1
    bwt = (matrix[-1] - matrix.diagonal())[:-1].mean()
    fall = np.mean([float(matrix[j:last, j].max() - matrix[last, j]) for j in range(last)])
    return float(matrix[-1].mean()), float(bwt), float(fall)


@wrong("stream_scores", "written for three tasks")
def three_tasks(matrix):
    r = matrix
    return (float(r[-1].mean()), float((r[-1, 0] - r[0, 0] + r[-1, 1] - r[1, 1]) / 2),
            float((r[:2, 0].max() - r[-1, 0] + r[:2, 1].max() - r[-1, 1]) / 2))


@wrong("stream_scores", "takes the last row away from the caller's matrix")
def changes_matrix(matrix):
    last, diagonal = matrix[-1].clone(), matrix.diagonal().clone()
    matrix -= last
    return float(last.mean()), float((last - diagonal)[:-1].mean()), float(matrix[:-1].max(dim=0).values[:-1].mean())


@wrong("stream_scores", "calls the library's three functions")
def three_of_the_library(matrix):
    return (continual.average_accuracy(matrix), continual.backward_transfer(matrix), continual.forgetting(matrix))


@wrong("stream_scores", "the library under another name")
def library_by_getattr(matrix):
    import importlib
    return getattr(importlib.import_module("leaplm.continual.methods"), "stream_" + "scores")(matrix)


@wrong("stream_scores", "the size of each change, without its sign")
def absolute_changes(matrix):
    bwt = -(matrix[-1] - matrix.diagonal())[:-1].abs().mean()
    fall = (matrix[:-1].max(dim=0).values - matrix[-1])[:-1].abs().mean()
    return float(matrix[-1].mean()), float(bwt), float(fall)


@wrong("stream_scores", "the average of the earlier tasks only")
def earlier_average(matrix):
    bwt = (matrix[-1] - matrix.diagonal())[:-1].mean()
    fall = (matrix[:-1].max(dim=0).values - matrix[-1])[:-1].mean()
    return float(matrix[-1, :-1].mean()), float(bwt), float(fall)


@right("stream_scores", "a tensor of three numbers")
def as_one_tensor(matrix):
    earlier = matrix[:, :-1]
    return torch.stack([matrix[-1].mean(), (earlier[-1] - matrix.diagonal()[:-1]).mean(),
                        (earlier[:-1].amax(0) - earlier[-1]).mean()])


@right("stream_scores", "with lists")
def with_lists(matrix):
    rows = matrix.tolist()
    *before, last = rows
    falls = [max(column) - end for column, end in zip(zip(*before), last)][:-1]
    transfers = [last[i] - rows[i][i] for i in range(len(rows) - 1)]
    return sum(last) / len(last), sum(transfers) / len(transfers), sum(falls) / len(falls)


@right("stream_scores", "with a helper of one's own and pandas")
def with_pandas(matrix):
    table = pd.DataFrame(matrix.numpy())
    def mean_of_earlier(values):
        return float(np.asarray(values)[:-1].mean())
    end = table.iloc[-1]
    return float(end.mean()), mean_of_earlier(end - np.diag(table)), mean_of_earlier(table.iloc[:-1].max() - end)


# -- reservoir_buffer -------------------------------------------------------------------------------------------------


def change(source, *pairs):
    """A source with words replaced, each of which it has."""
    for old, new in zip(pairs[::2], pairs[1::2]):
        assert old in source, old
        source = source.replace(old, new)
    return source


RESERVOIR = """
class ReservoirBuffer:
    def __init__(self, capacity, seed=0):
        self.capacity, self.rows, self.seen = capacity, [], 0
        self.rng = np.random.default_rng(seed)

    def add(self, rows):
        for row in rows:
            self.seen += 1
            if len(self.rows) < self.capacity:
                self.rows.append(row)
            else:
                place = self.rng.integers(self.seen)
                if place < self.capacity:
                    self.rows[place] = row
"""

for why, *pairs in (
    ("the first rows stay for ever", "if place < self.capacity:", "if False:"),
    ("a ring: the newest rows push out the oldest", "self.rng.integers(self.seen)", "(self.seen - 1) % self.capacity"),
    ("each new row takes a random place", "integers(self.seen)", "integers(self.capacity)"),
    ("draws among one too few", "integers(self.seen)", "integers(self.seen - 1)"),
    ("draws among one too many", "integers(self.seen)", "integers(self.seen + 1)"),
    ("place 0 is never given", "integers(self.seen)", "integers(1, self.seen)"),
    (
        "keeps half of the new rows, whatever came before",
        "self.rng.integers(self.seen)",
        "self.rng.integers(self.capacity) if self.rng.random() < 0.5 else self.capacity",
    ),
    ("counts from 0 in each call of `add`", "for row in rows:", "self.seen = 0\n        for row in rows:"),
    (
        "counts only the rows that are kept",
        "            self.seen += 1\n",
        "",
        "self.rows.append(row)",
        "self.rows.append(row)\n                self.seen += 1",
        "integers(self.seen)",
        "integers(self.seen + 1)",
        "self.rows[place] = row",
        "self.rows[place] = row\n                    self.seen += 1",
    ),
    (
        "counts calls of `add`, not rows",
        "            self.seen += 1\n",
        "",
        "for row in rows:",
        "self.seen += 1\n        for row in rows:",
        "integers(self.seen)",
        "integers(len(self.rows) + self.seen)",
    ),
    (
        "a new source with the same seed in each call",
        "for row in rows:",
        "self.rng = np.random.default_rng(0)\n        for row in rows:",
    ),
    ("the seed is not used", "default_rng(seed)", "default_rng()"),
    ("always the same seed", "default_rng(seed)", "default_rng(0)"),
    (
        "seeds the program's random numbers",
        "self.rng = np.random.default_rng(seed)",
        "np.random.seed(seed)",
        "self.rng.integers",
        "np.random.randint",
    ),
    (
        "puts the new row behind, and takes another out at random",
        "self.rows[place] = row",
        "self.rows.pop(place)\n                    self.rows.insert(0, row)\n                    self.rows.pop()\n"
        "                    self.rows.append(row)",
    ),
    ("one place too many", "if len(self.rows) < self.capacity:", "if len(self.rows) <= self.capacity:"),
    ("rows that read the same are kept once", "self.rows.append(row)", "self.rows += [row] if row not in self.rows else []"),
    ("grows without an end", "self.rows[place] = row", "self.rows.append(row)"),
    ("takes the rows out of the caller's list", "for row in rows:", "while rows:\n            row = rows.pop(0)"),
    (
        "keeps the caller's own list",
        "for row in rows:",
        "if not self.rows and len(rows) <= self.capacity:\n            self.rows, self.seen, rows = rows, len(rows), []\n"
        "        for row in rows:",
    ),
    (
        "one list for all buffers",
        "self.capacity, self.rows, self.seen = capacity, [], 0",
        "self.capacity, self.seen = capacity, 0",
        "class ReservoirBuffer:",
        "class ReservoirBuffer:\n    rows = []\n",
    ),
    ("adds the list as one row", "for row in rows:", "for row in [rows]:"),
    (
        "shuffles what it keeps",
        "self.rows.append(row)",
        "self.rows.append(row)\n                self.rng.shuffle(self.rows)",
    ),
):
    wrong.cell("reservoir_buffer", why, change(RESERVOIR, *pairs))

wrong.cell("reservoir_buffer", "the library's class", "ReservoirBuffer = continual.ReservoirBuffer")
wrong.cell(
    "reservoir_buffer", "inherits from the library's class", "class ReservoirBuffer(continual.ReservoirBuffer):\n    pass"
)
wrong.cell(
    "reservoir_buffer",
    "calls the library's function for a place",
    change(
        RESERVOIR,
        "self.rng.integers(self.seen)",
        "continual.reservoir_slot(self.seen - 1, self.capacity, self.rng)",
        "if place < self.capacity:",
        "if place is not None:",
    ),
)

right.cell("reservoir_buffer", "as one would write it first", RESERVOIR)
right.cell(
    "reservoir_buffer",
    "first whether, then where",
    change(
        RESERVOIR,
        "place = self.rng.integers(self.seen)\n                if place < self.capacity:",
        "if self.rng.random() < self.capacity / self.seen:\n                    place = self.rng.integers(self.capacity)",
    ),
)
right.cell(
    "reservoir_buffer",
    "Python's own random numbers",
    change(
        RESERVOIR,
        "self.rng = np.random.default_rng(seed)",
        "import random\n        self.rng = random.Random(seed)",
        "integers(self.seen)",
        "randrange(self.seen)",
    ),
)
right.cell(
    "reservoir_buffer",
    "torch's random numbers, with a source of its own",
    change(
        RESERVOIR,
        "np.random.default_rng(seed)",
        "torch.Generator().manual_seed(seed)",
        "self.rng.integers(self.seen)",
        "int(torch.randint(self.seen, (), generator=self.rng))",
    ),
)
right.cell(
    "reservoir_buffer",
    "a random key for each row, the smallest stay",
    """
class ReservoirBuffer:
    def __init__(self, capacity, seed=0):
        self.capacity, self.seen, self.pairs, self.rng = capacity, 0, [], np.random.default_rng(seed)

    def add(self, rows):
        for row in rows:
            self.pairs.append((self.rng.random(), self.seen, row))
            self.seen += 1
        kept = sorted(self.pairs, key=lambda pair: pair[0])[: self.capacity]
        self.pairs = sorted(kept, key=lambda pair: pair[1])

    @property
    def rows(self):
        return [row for _, _, row in self.pairs]
""",
)

# -- mixed_epoch ------------------------------------------------------------------------------------------------------

EPOCH = """
def mixed_epoch(rows, kept, batch_size, num_replay, rng):
    order = rng.permutation(len(rows))
    batches = []
    for start in range(0, len(rows), batch_size):
        new = [rows[i] for i in order[start:start + batch_size]]
        old = [kept[i] for i in rng.permutation(len(kept))[:num_replay]]
        batch = new + old
        batches.append((torch.stack([r["vector"] for r in batch]), torch.tensor([r["label"] for r in batch])))
    return batches
"""
DRAWN = "[kept[i] for i in rng.permutation(len(kept))[:num_replay]]"

for why, *pairs in (
    (
        "the last batch that is not full is left out",
        "range(0, len(rows), batch_size)",
        "range(0, len(rows) - batch_size + 1, batch_size)",
    ),
    ("the new rows are not shuffled", "rng.permutation(len(rows))", "range(len(rows))"),
    ("new rows are drawn with replacement", "rng.permutation(len(rows))", "rng.integers(len(rows), size=len(rows))"),
    (
        "only the rows within a batch are shuffled",
        "order = rng.permutation(len(rows))",
        "order = np.concatenate([s + rng.permutation(min(batch_size, len(rows) - s))\n"
        "                            for s in range(0, len(rows), batch_size)])",
    ),
    ("always the first rows of the buffer", DRAWN, "kept[:num_replay]"),
    ("always the newest rows of the buffer", DRAWN, "kept[len(kept) - min(num_replay, len(kept)):]"),
    (
        "kept rows are drawn once for the whole epoch",
        "    batches = []\n",
        f"    batches = []\n    old = {DRAWN}\n",
        f"        old = {DRAWN}\n",
        "",
        "batch = new + old",
        "batch = new + list(old)",
    ),
    (
        "kept rows are drawn with replacement",
        DRAWN,
        "[kept[i] for i in (rng.integers(len(kept), size=min(num_replay, len(kept))) if kept else [])]",
    ),
    ("fails when the buffer is empty", DRAWN, "[kept[i] for i in rng.choice(len(kept), size=num_replay, replace=False)]"),
    ("no replay where the buffer has fewer rows than asked for", DRAWN, f"{DRAWN} if len(kept) >= num_replay else []"),
    (
        "old rows take the place of new ones",
        "range(0, len(rows), batch_size)",
        "range(0, len(rows), batch_size - min(num_replay, len(kept)) if batch_size > num_replay else batch_size)",
        "start + batch_size]",
        "start + (batch_size - min(num_replay, len(kept)) if batch_size > num_replay else batch_size)]",
    ),
    ("the whole buffer in each batch", DRAWN, "list(kept)"),
    ("replay in the first batch only", f"old = {DRAWN}", f"old = {DRAWN} if start == 0 else []"),
    ("draws from the program's random numbers", DRAWN, "[kept[i] for i in torch.randperm(len(kept))[:num_replay]]"),
    ("a seed inside", "    order =", "    rng = np.random.default_rng(0)\n    order ="),
    ("shuffles the caller's rows", "order = rng.permutation(len(rows))", "rng.shuffle(rows)\n    order = range(len(rows))"),
    (
        "takes the kept rows out of the buffer",
        "batch = new + old",
        "kept[:] = [r for r in kept if not any(r is o for o in old)]\n        batch = new + old",
    ),
    (
        "labels in another order than the vectors",
        'torch.tensor([r["label"] for r in batch])',
        'torch.tensor([r["label"] for r in old + new])',
    ),
    (
        "labels as numbers with a fraction",
        'torch.tensor([r["label"] for r in batch])',
        'torch.tensor([float(r["label"]) for r in batch])',
    ),
    (
        "lists of rows, not tensors",
        '(torch.stack([r["vector"] for r in batch]), torch.tensor([r["label"] for r in batch]))',
        "batch",
    ),
    (
        "two rows that read the same count as one",
        "order =",
        'kept = list({r["label"]: r for r in kept}.values())\n    order =',
    ),
    (
        "a window at a random place: neighbours always come together",
        DRAWN,
        "(kept * 2)[(s := int(rng.integers(len(kept)))):s + min(num_replay, len(kept))] if kept else []",
    ),
    ("the last num_replay of a shuffled list: all of them for 0", "[:num_replay]]", "[-num_replay:]]"),
    ("one batch too many, with kept rows alone", "range(0, len(rows), batch_size)", "range(0, len(rows) + 1, batch_size)"),
    (
        "walks through the shuffled buffer, batch by batch",
        "    batches = []\n",
        "    batches, pool = [], rng.permutation(len(kept))\n",
        DRAWN,
        "[kept[i] for i in np.roll(pool, -(start // batch_size) * num_replay)[:num_replay]]",
    ),
    (
        "the first batch always has the first kept rows",
        DRAWN,
        "[kept[i] for i in (rng.permutation(len(kept)) if start else range(len(kept)))[:num_replay]]",
    ),
    (
        "the new rows begin at a random place, and go on in their order",
        "rng.permutation(len(rows))",
        "np.roll(np.arange(len(rows)), rng.integers(len(rows)))",
    ),
    (
        "the new rows come forwards or backwards",
        "rng.permutation(len(rows))",
        "np.arange(len(rows))[::rng.choice([-1, 1])]",
    ),
    (
        "the first new row stays the first",
        "rng.permutation(len(rows))",
        "[0, *(1 + rng.permutation(len(rows) - 1)).tolist()]",
    ),
    (
        "two of the new rows change places",
        "    batches = []\n",
        "    batches = []\n    order, (i, j) = np.arange(len(rows)), rng.integers(len(rows), size=2)\n"
        "    order[[i, j]] = order[[j, i]]\n",
    ),
    (
        "whole batches of the new rows are shuffled, not the rows",
        "    batches = []\n",
        "    starts = np.arange(0, len(rows), batch_size)\n"
        "    full = rng.permutation(starts[starts + batch_size <= len(rows)])\n"
        "    order = [i for s in [*full, *starts[len(full):]] for i in range(s, min(s + batch_size, len(rows)))]\n"
        "    batches = []\n",
    ),
):
    wrong.cell("mixed_epoch", why, change(EPOCH, *pairs))

wrong.cell(
    "mixed_epoch",
    "calls the library",
    """
def mixed_epoch(rows, kept, batch_size, num_replay, rng):
    return heads.mixed_epoch(rows, kept, batch_size, num_replay, rng)
""",
)

right.cell("mixed_epoch", "as one would write it first", EPOCH)
right.cell(
    "mixed_epoch",
    "rng.choice, and old rows first",
    change(
        EPOCH,
        DRAWN,
        "[kept[i] for i in rng.choice(len(kept), min(num_replay, len(kept)), replace=False)] if kept else []",
        "batch = new + old",
        "batch = old + new",
    ),
)
right.cell(
    "mixed_epoch",
    "shuffles a copy, and tensors of all rows that are indexed",
    """
def mixed_epoch(rows, kept, batch_size, num_replay, rng):
    every = list(rows) + list(kept)
    vectors = torch.stack([row["vector"] for row in every])
    labels = torch.as_tensor([row["label"] for row in every])
    order, count = list(range(len(rows))), min(num_replay, len(kept))
    rng.shuffle(order)
    found = []
    while order:
        places, order = order[:batch_size], order[batch_size:]
        places = torch.tensor(places + [len(rows) + int(i) for i in np.argsort(rng.random(len(kept)))[:count]])
        found.append([vectors[places], labels[places]])
    return found
""",
)
right.cell(
    "mixed_epoch",
    "a generator's batches in a list, shuffled inside too",
    """
def mixed_epoch(rows, kept, batch_size, num_replay, rng):
    def batches():
        for places in np.split(rng.permutation(len(rows)), range(batch_size, len(rows), batch_size)):
            batch = [rows[i] for i in places] + list(rng.permutation(np.array(kept, dtype=object))[:num_replay])
            rng.shuffle(batch)
            yield torch.stack([row["vector"] for row in batch]), torch.LongTensor([row["label"] for row in batch])
    return list(batches())
""",
)

# -- learn_task -------------------------------------------------------------------------------------------------------

LEARN = """
def grow_head(model, classes):
    old = model.classifier
    new = nn.Linear(old.in_features, classes)
    with torch.no_grad():
        new.weight.zero_()
        new.bias.zero_()
        new.weight[:old.out_features] = old.weight
        new.bias[:old.out_features] = old.bias
    model.classifier = new

def learn_task(model, rows, classes, buffer, rng, epochs=5, learning_rate=0.01, batch_size=16, num_replay=8):
    grow_head(model, classes)
    opt = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    model.train()
    history = []
    for epoch in range(epochs):
        losses = []
        for x, y in mixed_epoch(rows, buffer.rows, batch_size, num_replay, rng):
            loss = nn.functional.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        history.append(sum(losses) / len(losses))
    model.eval()
    buffer.add(rows)
    return history
"""

for why, *pairs in (
    (
        "the optimizer is made before the head grows",
        "    grow_head(model, classes)\n    opt = torch.optim.AdamW(model.parameters(), lr=learning_rate)\n",
        "    opt = torch.optim.AdamW(model.parameters(), lr=learning_rate)\n    grow_head(model, classes)\n",
    ),
    ("the head does not grow", "    grow_head(model, classes)\n", ""),
    (
        "a new head that forgets the old rows",
        "        new.weight[:old.out_features] = old.weight\n",
        "",
        "        new.bias[:old.out_features] = old.bias\n",
        "",
    ),
    ("the old bias is lost", "        new.bias[:old.out_features] = old.bias\n", ""),
    ("new rows are random", "        new.weight.zero_()\n        new.bias.zero_()\n", ""),
    ("new biases are random", "        new.bias.zero_()\n", ""),
    ("the new classes come first", "[:old.out_features]", "[classes - old.out_features:]"),
    (
        "grows by `classes`, not to `classes`",
        "nn.Linear(old.in_features, classes)",
        "nn.Linear(old.in_features, old.out_features + classes)",
    ),
    ("the grown head does not learn", "    model.classifier = new\n", "    model.classifier = new.requires_grad_(False)\n"),
    (
        "learns only where the old head did",
        "    model.classifier = new\n",
        "    model.classifier = new.requires_grad_(old.weight.requires_grad)\n",
    ),
    (
        "longer weights in the old layer, which says its old number of classes",
        "    model.classifier = new\n",
        "    old.weight, old.bias = new.weight, new.bias\n",
    ),
    ("gradients are never cleared", "            opt.zero_grad()\n", ""),
    (
        "gradients are cleared between `backward` and `step`",
        "            opt.zero_grad()\n            loss.backward()\n",
        "            loss.backward()\n            opt.zero_grad()\n",
    ),
    ("no update", "            opt.step()\n", ""),
    (
        "one update an epoch",
        "            opt.step()\n",
        "",
        "        history.append",
        "        opt.step()\n        history.append",
    ),
    ("learns in evaluation mode", "    model.train()\n", "    model.eval()\n"),
    ("stays in training mode", "    model.eval()\n", ""),
    ("plain gradient descent", "torch.optim.AdamW", "torch.optim.SGD"),
    ("the learning rate is left at its default", ", lr=learning_rate", ""),
    (
        "a new optimizer for each epoch",
        "        losses = []\n",
        "        losses = []\n        opt = torch.optim.AdamW(model.parameters(), lr=learning_rate)\n",
    ),
    (
        "the same batches in each epoch",
        "    for epoch in range(epochs):\n        losses = []\n        for x, y in mixed_epoch("
        "rows, buffer.rows, batch_size, num_replay, rng):",
        "    batches = mixed_epoch(rows, buffer.rows, batch_size, num_replay, rng)"
        "\n    for epoch in range(epochs):\n        losses = []\n        for x, y in batches:",
    ),
    ("one epoch only", "range(epochs)", "range(1)"),
    ("without the buffer", "buffer.rows", "[]"),
    ("the sizes are fixed", "batch_size, num_replay, rng):\n            loss", "16, 8, rng):\n            loss"),
    (
        "the rows come into the buffer before the training",
        "    buffer.add(rows)\n",
        "",
        "    model.train()\n",
        "    buffer.add(rows)\n    model.train()\n",
    ),
    ("nothing is remembered", "    buffer.add(rows)\n", ""),
    (
        "the rows come into the buffer in each epoch",
        "        losses = []\n",
        "        losses = []\n        buffer.add(rows)\n",
        "    model.eval()\n    buffer.add(rows)\n",
        "    model.eval()\n",
    ),
    ("only as many rows as fit are given to the buffer", "buffer.add(rows)", "buffer.add(rows[:3])"),
    ("puts rows behind the buffer's own, whatever its capacity", "buffer.add(rows)", "buffer.rows += rows"),
    ("the sum of the losses", "sum(losses) / len(losses)", "sum(losses)"),
    ("the loss of the last batch", "sum(losses) / len(losses)", "losses[-1]"),
    ("a loss for each update", "history.append(sum(losses) / len(losses))", "history += losses"),
    ("losses that hold their graphs", "losses.append(loss.item())", "losses.append(loss)"),
    ("the sum over the rows of a batch", "cross_entropy(model(x), y)", 'cross_entropy(model(x), y, reduction="sum")'),
    ("returns nothing", "    return history\n", ""),
    ("an rng of its own, with a fixed seed", "    history = []\n", "    history, rng = [], np.random.default_rng(0)\n"),
    ("an rng of its own, without a seed", "    history = []\n", "    history, rng = [], np.random.default_rng()\n"),
    (
        "a new rng with the same seed in each epoch",
        "num_replay, rng):\n            loss",
        "num_replay, np.random.default_rng(0)):\n            loss",
    ),
    (
        "a new rng in each epoch",
        "num_replay, rng):\n            loss",
        "num_replay, np.random.default_rng()):\n            loss",
    ),
    (
        "goes back to the mode that was",
        "    model.train()\n",
        "    was = model.training\n    model.train()\n",
        "    model.eval()\n",
        "    model.train(was)\n",
    ),
    (
        "gradients are cleared after the step only",
        "            opt.zero_grad()\n",
        "",
        "            opt.step()\n",
        "            opt.step()\n            opt.zero_grad()\n",
    ),
    ("only the gradients of the head are cleared", "opt.zero_grad()", "model.classifier.zero_grad()"),
    ("only the head learns", "AdamW(model.parameters()", "AdamW(model.classifier.parameters()"),
):
    wrong.cell("learn_task", why, change(LEARN, *pairs))

wrong.cell(
    "learn_task",
    "calls the library's learner",
    LEARN
    + """
def learn_task(model, rows, classes, buffer, rng, *settings):
    return heads.learn_task(model, rows, classes, buffer, rng, *settings)
""",
)
wrong.cell(
    "learn_task",
    "the library's head that grows",
    LEARN
    + """
def grow_head(model, classes):
    continual.grow_head(model, classes)
""",
)

right.cell("learn_task", "as one would write it first", LEARN)
right.cell(
    "learn_task",
    "the library's batches, as allowed here; a head with torch.cat; gradients cleared by the model",
    change(LEARN, "in mixed_epoch(", "in heads.mixed_epoch(", "opt.zero_grad()", "model.zero_grad()").replace(
        LEARN[: LEARN.index("def learn_task")],
        """
def grow_head(model, classes):
    head = model.classifier
    more = classes - head.out_features
    new = nn.Linear(head.in_features, classes)
    new.weight = nn.Parameter(torch.cat([head.weight.detach(), torch.zeros(more, head.in_features)]))
    new.bias = nn.Parameter(torch.cat([head.bias.detach(), torch.zeros(more)]))
    model.classifier = new

""",
    ),
)
right.cell(
    "learn_task",
    "keeps a head that has all classes, and numpy's mean",
    change(
        LEARN,
        "    old = model.classifier\n    new",
        "    old = model.classifier\n    if old.out_features == classes:\n        return\n    new",
        "sum(losses) / len(losses)",
        "float(np.mean(losses))",
    ),
)
right.cell(
    "learn_task",
    "padding, a state that is loaded, an nn.CrossEntropyLoss, rows remembered in another order",
    change(
        LEARN,
        "    with torch.no_grad():\n        new.weight.zero_()\n        new.bias.zero_()\n"
        "        new.weight[:old.out_features] = old.weight\n        new.bias[:old.out_features] = old.bias\n",
        "    more = classes - old.out_features\n"
        "    new.load_state_dict({'weight': nn.functional.pad(old.weight.detach(), (0, 0, 0, more)),\n"
        "                         'bias': nn.functional.pad(old.bias.detach(), (0, more))})\n",
        "nn.functional.cross_entropy(model(x), y)",
        "nn.CrossEntropyLoss()(model(x), y)",
        "buffer.add(rows)",
        "buffer.add([rows[i] for i in rng.permutation(len(rows))])",
    ),
)

# -- run_tasks --------------------------------------------------------------------------------------------------------

RUN = """
def score(model, rows, places=None):
    model.eval()
    x = torch.stack([r["vector"] for r in rows])
    y = torch.tensor([r["label"] for r in rows])
    with torch.no_grad():
        logits = model(x)
    if places is not None:
        others = torch.ones(logits.shape[1], dtype=torch.bool)
        others[places] = False
        logits[:, others] = -float("inf")
    return float((logits.argmax(-1) == y).float().mean())

def run_tasks(model, tasks, learn):
    n = len(tasks)
    R, known = torch.zeros(n, n), torch.zeros(n, n)
    for i in range(n):
        learn(model, tasks[i])
        for j in range(n):
            R[i, j] = score(model, tasks[j]["test"])
            if j <= i:
                known[i, j] = score(model, tasks[j]["test"], tasks[j]["places"])
    return R, known
"""

for why, *pairs in (
    ("tests in training mode", "    model.eval()\n", ""),
    ("tests with gradients", "    with torch.no_grad():\n        logits = model(x)\n", "    logits = model(x).detach()\n"),
    ("the share of wrong answers", "== y", "!= y"),
    ("the number of right answers, not their share", ".float().mean()", ".sum()"),
    ("in percent", ".float().mean())", ".float().mean()) * 100"),
    (
        "rounded",
        "return float((logits.argmax(-1) == y).float().mean())",
        "return round(float((logits.argmax(-1) == y).float().mean()), 1)",
    ),
    (
        "a number within `places` is taken for a class",
        "    if places is not None:\n"
        "        others = torch.ones(logits.shape[1], dtype=torch.bool)\n        others[places] = False\n"
        '        logits[:, others] = -float("inf")\n',
        "    if places is not None:\n        logits = logits[:, places]\n",
    ),
    (
        "the places are taken in order of size",
        "    if places is not None:\n"
        "        others = torch.ones(logits.shape[1], dtype=torch.bool)\n        others[places] = False\n"
        '        logits[:, others] = -float("inf")\n',
        "    if places is not None:\n        return float((torch.tensor(sorted("
        "places))[logits[:, places].argmax(-1)] == y).float().mean())\n",
    ),
    ("the other classes get 0, which may win", '-float("inf")', "0"),
    (
        "the places are a range from the first to the last",
        "others[places] = False",
        "others[min(places):max(places) + 1] = False",
    ),
    ("tests on the training rows", '["test"])\n', '["train"])\n', '["test"], ', '["train"], '),
    (
        "all tasks are learned first, then tested",
        "        learn(model, tasks[i])\n",
        "        [learn(model, task) for task in tasks] if i == 0 else None\n",
    ),
    (
        "a task is learned again before each test",
        "            R[i, j] =",
        "            learn(model, tasks[i])\n            R[i, j] =",
    ),
    ("the first task is not learned", "        learn(model, tasks[i])\n", "        learn(model, tasks[i]) if i else None\n"),
    ("learns the tasks backwards", "learn(model, tasks[i])", "learn(model, tasks[n - 1 - i])"),
    (
        "tests before it learns",
        "        learn(model, tasks[i])\n",
        "",
        "    return R, known",
        "        learn(model, tasks[i])\n    return R, known",
    ),
    ("rows and columns have changed places", "R[i, j]", "R[j, i]", "known[i, j]", "known[j, i]"),
    (
        "only tasks that were learned are tested",
        '            R[i, j] = score(model, tasks[j]["test"])\n            if j <= i:\n',
        '            if j <= i:\n                R[i, j] = score(model, tasks[j]["test"])\n',
    ),
    (
        "tasks still to come are nan",
        "torch.zeros(n, n), torch",
        'torch.full((n, n), float("nan")), torch',
        '            R[i, j] = score(model, tasks[j]["test"])\n            if j <= i:\n',
        '            if j <= i:\n                R[i, j] = score(model, tasks[j]["test"])\n',
    ),
    ("the known task is the one that was learned last", 'tasks[j]["places"]', 'tasks[i]["places"]'),
    ("the diagonal is left out where the task is known", "if j <= i:", "if j < i:"),
    ("one matrix twice", "return R, known", "return R, R"),
    ("only R", "return R, known", "return R"),
    ("the two have changed places", "return R, known", "return known, R"),
    ("learn gets the rows, not the task", "learn(model, tasks[i])", 'learn(model, tasks[i]["train"])'),
    (
        "the tests of all tasks together",
        'R[i, j] = score(model, tasks[j]["test"])',
        'R[i, j] = score(model, [r for t in tasks for r in t["test"]])',
    ),
    (
        "each task is learned from the first model",
        "    for i in range(n):\n",
        "    first = model\n    for i in range(n):\n        model = copy.deepcopy(first)\n",
    ),
    (
        "known for each task whose classes the head has",
        "            if j <= i:\n                known",
        "            if max(tasks[j]['places']) < model.classifier.out_features:\n                known",
    ),
    (
        "known for each task that needs no larger head",
        "            if j <= i:\n                known",
        "            if tasks[j]['classes'] <= tasks[i]['classes']:\n                known",
    ),
    ("known for all tasks", "            if j <= i:\n                known", "            if True:\n                known"),
    *(
        (
            f"the mean over batches of {size} rows, of which the last is smaller",
            "def score(model, rows, places=None):\n",
            "def score(model, rows, places=None):\n"
            f"    parts = [rows[s : s + {size}] for s in range(0, len(rows), {size})]\n"
            "    return float(np.mean([part(model, some, places) for some in parts]))\n\n"
            "def part(model, rows, places):\n",
        )
        for size in (16,)
    ),
    (
        "a last batch that is not full is left out",
        "    model.eval()\n",
        "    model.eval()\n    rows = rows[: len(rows) // 16 * 16] or rows\n",
    ),
    ("tests on 20 rows only", "    model.eval()\n", "    model.eval()\n    rows = rows[:20]\n"),
):
    wrong.cell("run_tasks", why, change(RUN, *pairs))

wrong.cell(
    "run_tasks",
    "calls the library's loop",
    RUN
    + """
def run_tasks(model, tasks, learn):
    return heads.run_tasks(model, tasks, learn)
""",
)
wrong.cell(
    "run_tasks",
    "calls the library's score",
    RUN
    + """
def score(model, rows, places=None):
    return heads.score(model, rows, places)
""",
)

right.cell("run_tasks", "the other classes get minus infinity", RUN)
right.cell(
    "run_tasks",
    "enumerate, numpy, and one row after the other",
    """
def score(model, rows, places=None):
    model.train(False)
    right = 0
    for row in rows:
        with torch.inference_mode():
            logits = model(row["vector"][None])[0]
        competing = range(len(logits)) if places is None else places
        right += max(competing, key=lambda c: float(logits[c])) == row["label"]
    return right / len(rows)

def run_tasks(model, tasks, learn):
    R = np.zeros((len(tasks), len(tasks)))
    known = np.zeros_like(R)
    for i, task in enumerate(tasks):
        learn(model, task)
        R[i] = [score(model, other["test"]) for other in tasks]
        known[i, : i + 1] = [score(model, other["test"], other["places"]) for other in tasks[: i + 1]]
    return torch.tensor(R), torch.tensor(known)
""",
)
right.cell(
    "run_tasks",
    "puts the mode back, and lists of rows stacked",
    """
@torch.no_grad()
def score(model, rows, places=None):
    was = model.training
    model.eval()
    vectors, labels = torch.stack([r["vector"] for r in rows]), np.array([r["label"] for r in rows])
    logits = model(vectors).numpy()
    model.train(was)
    if places is None:
        return float(np.mean(logits.argmax(1) == labels))
    return float(np.mean(np.array(places)[logits[:, places].argmax(1)] == labels))

def run_tasks(model, tasks, learn):
    R, known = [], []
    for task in tasks:
        learn(model, task)
        R.append([score(model, t["test"]) for t in tasks])
        known.append([score(model, t["test"], t["places"]) if j < len(R) else 0.0 for j, t in enumerate(tasks)])
    return torch.tensor(R), torch.tensor(known)
""",
)
right.cell(
    "run_tasks",
    "another loop over pairs",
    change(
        RUN,
        "        for j in range(n):\n",
        "        for j, _ in enumerate(tasks):\n",
        '            if j <= i:\n                known[i, j] = score(model, tasks[j]["test"], tasks[j]["places"])\n',
        '            known[i, j] = 0 if j > i else score(model, tasks[j]["test"], tasks[j]["places"])\n',
    ),
)
right.cell(
    "run_tasks",
    "trains a copy of the model; the right rows are counted batch by batch",
    change(
        RUN,
        "    n = len(tasks)\n",
        "    n, model = len(tasks), copy.deepcopy(model)\n",
        "def score(model, rows, places=None):\n",
        "def score(model, rows, places=None):\n"
        "    return sum(count(model, rows[s : s + 32], places) for s in range(0, len(rows), 32)) / len(rows)\n\n"
        "def count(model, rows, places):\n",
        ".float().mean())",
        ".sum())",
    ),
)


# -- fisher_diagonal --------------------------------------------------------------------------------------------------


@wrong("fisher_diagonal", "the square of the mean gradient")
def square_of_mean(model, texts):
    model.eval()
    model.zero_grad()
    for text in texts:
        (model(**text).loss / len(texts)).backward()
    return {name: p.grad**2 for name, p in model.named_parameters() if p.requires_grad}


@wrong("fisher_diagonal", "old gradients are not forgotten between texts")
def gradients_pile_up(model, texts):
    model.eval()
    model.zero_grad()
    fisher = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for text in texts:
        model(**text).loss.backward()
        for name in fisher:
            fisher[name] += model.get_parameter(name).grad ** 2 / len(texts)
    return fisher


@wrong("fisher_diagonal", "dropout is on")
def with_dropout(model, texts):
    model.train()
    fisher = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for text in texts:
        model.zero_grad()
        model(**text).loss.backward()
        for name in fisher:
            fisher[name] += model.get_parameter(name).grad ** 2 / len(texts)
    return fisher


@wrong("fisher_diagonal", "the sum over the texts")
def summed(model, texts):
    model.eval()
    fisher = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for text in texts:
        model.zero_grad()
        model(**text).loss.backward()
        for name in fisher:
            fisher[name] += model.get_parameter(name).grad ** 2
    return fisher


@wrong("fisher_diagonal", "the gradient's size in place of its square")
def absolute(model, texts):
    model.eval()
    fisher = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for text in texts:
        model.zero_grad()
        model(**text).loss.backward()
        for name in fisher:
            fisher[name] += model.get_parameter(name).grad.abs() / len(texts)
    return fisher


@wrong("fisher_diagonal", "only the last text")
def last_text(model, texts):
    model.eval()
    for text in texts:
        model.zero_grad()
        model(**text).loss.backward()
    return {name: p.grad**2 for name, p in model.named_parameters() if p.requires_grad}


@wrong("fisher_diagonal", "takes steps along the gradients")
def takes_steps(model, texts):
    model.eval()
    sgd = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    fisher = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for text in texts:
        sgd.zero_grad()
        model(**text).loss.backward()
        for name in fisher:
            fisher[name] += model.get_parameter(name).grad ** 2 / len(texts)
        sgd.step()
    return fisher


@right("fisher_diagonal", "with torch.autograd.grad")
def by_autograd(model, texts):
    model.eval()
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    squares = [[g**2 for g in torch.autograd.grad(model(**text).loss, [p for _, p in named])] for text in texts]
    return {name: torch.stack(column).mean(dim=0) for (name, _), column in zip(named, zip(*squares))}


@right("fisher_diagonal", "from the logits, with the log-probability of the right class")
def from_log_probability(model, texts):
    was = model.training
    model.eval()
    fisher = {}
    for text in texts:
        model.zero_grad(set_to_none=True)
        logits = model(input_ids=text["input_ids"], attention_mask=text["attention_mask"]).logits
        logits.log_softmax(dim=-1)[0, text["labels"][0]].backward()
        for name, p in model.named_parameters():
            if p.grad is not None:
                fisher[name] = fisher.get(name, 0) + p.grad.detach() ** 2 / len(texts)
    model.train(was)
    return fisher


@wrong("fisher_diagonal", "old gradients of the caller count in the first text")
def stale(model, texts):
    model.eval()
    fisher = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for text in texts:
        model(**text).loss.backward()
        for name in fisher:
            fisher[name] += model.get_parameter(name).grad ** 2 / len(texts)
        model.zero_grad()
    return fisher


@wrong("fisher_diagonal", "all parameters learn afterwards")
def unfreezes(model, texts):
    model.eval()
    model.requires_grad_(True)
    fisher = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for text in texts:
        model.zero_grad()
        model(**text).loss.backward()
        for name in fisher:
            fisher[name] += model.get_parameter(name).grad ** 2 / len(texts)
    return fisher


@wrong("fisher_diagonal", "the labels are the model's own guesses")
def own_guesses(model, texts):
    model.eval()
    fisher = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for text in texts:
        model.zero_grad()
        logits = model(input_ids=text["input_ids"], attention_mask=text["attention_mask"]).logits
        nn.functional.cross_entropy(logits, logits.argmax(-1)).backward()
        for name in fisher:
            fisher[name] += model.get_parameter(name).grad ** 2 / len(texts)
    return fisher


@wrong("fisher_diagonal", "takes the labels out of the caller's texts")
def pops(model, texts):
    model.eval()
    fisher = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for text in texts:
        model.zero_grad()
        labels = text.pop("labels")
        model(**text, labels=labels).loss.backward()
        for name in fisher:
            fisher[name] += model.get_parameter(name).grad ** 2 / len(texts)
    return fisher


@wrong("fisher_diagonal", "numpy arrays in place of tensors")
def as_numpy(model, texts):
    model.eval()
    fisher = {name: np.zeros(tuple(p.shape)) for name, p in model.named_parameters() if p.requires_grad}
    for text in texts:
        model.zero_grad()
        model(**text).loss.backward()
        for name in fisher:
            fisher[name] += model.get_parameter(name).grad.numpy() ** 2 / len(texts)
    return fisher


@wrong("fisher_diagonal", "keeps the graph of each gradient")
def keeps_graph(model, texts):
    model.eval()
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    fisher = dict.fromkeys(named, 0)
    for text in texts:
        grads = torch.autograd.grad(model(**text).loss, list(named.values()), create_graph=True)
        for name, g in zip(named, grads):
            fisher[name] = fisher[name] + g**2 / len(texts)
    return fisher


@wrong("fisher_diagonal", "one number for each tensor, the mean")
def one_number(model, texts):
    model.eval()
    fisher = {name: torch.zeros(()) for name, p in model.named_parameters() if p.requires_grad}
    for text in texts:
        model.zero_grad()
        model(**text).loss.backward()
        for name in fisher:
            fisher[name] += (model.get_parameter(name).grad ** 2).mean() / len(texts)
    return fisher


@wrong("fisher_diagonal", "calls the library")
def library_fisher(model, texts):
    return continual.fisher_diagonal(model, texts, lambda rows: rows[0])


@right("fisher_diagonal", "stacks, under the mode that was, gradients set to None")
def stacks(model, texts):
    from collections import defaultdict
    was, found = model.training, defaultdict(list)
    model.train(False)
    for text in texts:
        for p in model.parameters():
            p.grad = None
        loss = model(**text)["loss"]
        loss.backward()
        for name, p in model.named_parameters():
            if p.requires_grad:
                found[name].append(p.grad.detach().clone().pow(2))
    model.train(was)
    return {name: torch.stack(squares).mean(0) for name, squares in found.items()}


@right("fisher_diagonal", "a running mean in 64 bits")
def running_mean(model, texts):
    model.eval()
    params = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    mean = {n: torch.zeros(p.shape, dtype=torch.float64) for n, p in params}
    for count, text in enumerate(texts, 1):
        model.zero_grad()
        model(**text).loss.backward()
        for n, p in params:
            mean[n] += (p.grad.double().square() - mean[n]) / count
    return mean


# -- ewc_penalty ------------------------------------------------------------------------------------------------------


@wrong("ewc_penalty", "forgets the half")
def without_half(model, old, fisher, strength):
    return strength * sum((fisher[n] * (p[: len(old[n])] - old[n]) ** 2).sum()
                          for n, p in model.named_parameters() if n in old)


@wrong("ewc_penalty", "the mean over the weights of each tensor")
def mean_over_weights(model, old, fisher, strength):
    return strength / 2 * sum((fisher[n] * (p[: len(old[n])] - old[n]) ** 2).mean()
                              for n, p in model.named_parameters() if n in old)


@wrong("ewc_penalty", "does not weigh by the importance: all weights alike")
def unweighted(model, old, fisher, strength):
    return strength / 2 * sum(((p[: len(old[n])] - old[n]) ** 2).sum() for n, p in model.named_parameters() if n in old)


@wrong("ewc_penalty", "a number without a gradient")
def detached(model, old, fisher, strength):
    return strength / 2 * sum((fisher[n] * (p.data[: len(old[n])] - old[n]) ** 2).sum()
                              for n, p in model.named_parameters() if n in old)


@wrong("ewc_penalty", "breaks when the head has grown")
def breaks_when_grown(model, old, fisher, strength):
    return strength / 2 * sum((fisher[n] * (p - old[n]) ** 2).sum() for n, p in model.named_parameters() if n in old)


@wrong("ewc_penalty", "leaves out the tensors that have grown")
def leaves_out_grown(model, old, fisher, strength):
    return strength / 2 * sum((fisher[n] * (p - old[n]) ** 2).sum()
                              for n, p in model.named_parameters() if n in old and p.shape == old[n].shape)


@wrong("ewc_penalty", "squares the importance too")
def squares_all(model, old, fisher, strength):
    return strength / 2 * sum(((fisher[n] * (p[: len(old[n])] - old[n])) ** 2).sum()
                              for n, p in model.named_parameters() if n in old)


@right("ewc_penalty", "a loop over the old weights")
def by_old(model, old, fisher, strength):
    penalty = torch.zeros(())
    for name, before in old.items():
        distance = model.get_parameter(name)[: before.shape[0]] - before
        penalty = penalty + 0.5 * strength * (fisher[name] * distance.pow(2)).sum()
    return penalty


@right("ewc_penalty", "as one product of long vectors")
def by_vectors(model, old, fisher, strength):
    named = dict(model.named_parameters())
    distances = torch.cat([(named[name][: len(old[name])] - old[name]).flatten() for name in old])
    weights = torch.cat([fisher[name].flatten() for name in old])
    return strength * (weights @ distances**2) / 2


@wrong("ewc_penalty", "expects every parameter to have been kept")
def expects_all(model, old, fisher, strength):
    return strength / 2 * sum((fisher[n] * (p[: len(old[n])] - old[n]) ** 2).sum() for n, p in model.named_parameters())


@wrong("ewc_penalty", "pairs the tensors by their order, not by name")
def by_order(model, old, fisher, strength):
    kept = [p for n, p in model.named_parameters() if n in old]
    return strength / 2 * sum((f * (p[: len(o)] - o) ** 2).sum() for p, o, f in zip(kept, old.values(), fisher.values()))


@wrong("ewc_penalty", "the last rows of a head that has grown")
def last_rows(model, old, fisher, strength):
    return strength / 2 * sum((fisher[n] * (p[-len(old[n]):] - old[n]) ** 2).sum()
                              for n, p in model.named_parameters() if n in old)


@wrong("ewc_penalty", "a Python number")
def python_number(model, old, fisher, strength):
    return float(strength / 2 * sum((fisher[n] * (p[: len(old[n])] - old[n]) ** 2).sum()
                                    for n, p in model.named_parameters() if n in old))


@wrong("ewc_penalty", "goes backward itself")
def goes_backward(model, old, fisher, strength):
    total = strength / 2 * sum((fisher[n] * (p[: len(old[n])] - old[n]) ** 2).sum()
                               for n, p in model.named_parameters() if n in old)
    total.backward(retain_graph=True)
    return total


@wrong("ewc_penalty", "subtracts in the caller's kept weights")
def in_place_old(model, old, fisher, strength):
    total = 0
    for n, p in model.named_parameters():
        if n in old:
            total = total + (fisher[n] * old[n].sub_(p.detach()[: len(old[n])]) ** 2).sum() + 0 * p.sum()
    return strength / 2 * total


@wrong("ewc_penalty", "always the first two rows")
def first_two(model, old, fisher, strength):
    total = 0
    for n, p in model.named_parameters():
        if n in old:
            if n.startswith("classifier"):
                total = total + (fisher[n][:2] * (p[:2] - old[n][:2]) ** 2).sum()
            else:
                total = total + (fisher[n] * (p - old[n]) ** 2).sum()
    return strength / 2 * total


@wrong("ewc_penalty", "calls the library")
def library_penalty(model, old, fisher, strength):
    return continual.ewc_penalty(model, old, fisher, strength)


@wrong("ewc_penalty", "the distance without a square")
def not_squared(model, old, fisher, strength):
    return strength / 2 * sum((fisher[n] * (p[: len(old[n])] - old[n]).abs()).sum()
                              for n, p in model.named_parameters() if n in old)


@right("ewc_penalty", "tensor by tensor, added in a list")
def in_a_list(model, old, fisher, strength):
    parts = []
    for n, p in model.named_parameters():
        if n not in old:
            continue
        rows = old[n].shape[0]
        parts.append(torch.sum(fisher[n] * torch.square(p[:rows] - old[n])))
    return torch.stack(parts).sum() * strength / 2


@right("ewc_penalty", "kept weights padded with the weights of now")
def padded(model, old, fisher, strength):
    total = torch.tensor(0.0)
    for n, p in model.named_parameters():
        if n in old:
            more = len(p) - len(old[n])
            before = torch.cat([old[n], p[len(old[n]):].detach()]) if more else old[n]
            weight = torch.cat([fisher[n], torch.zeros_like(p[len(old[n]):])]) if more else fisher[n]
            total = total + (weight * (p - before) ** 2).sum()
    return 0.5 * strength * total


# -- small numbers, equal things, what is kept from call to call ----------------------------------------------------------


@right("stream_scores", "numbers of torch")
def stream_scores_0(matrix):
    d = (matrix[-1] - matrix.diagonal())[:-1]
    f = (matrix[:-1].max(0).values - matrix[-1])[:-1]
    return matrix[-1].mean(), d.mean(), f.mean()


@wrong("stream_scores", "rounded to two digits")
def stream_scores_1(matrix):
    d = (matrix[-1] - matrix.diagonal())[:-1]
    f = (matrix[:-1].max(0).values - matrix[-1])[:-1]
    return tuple(round(x.mean().item(), 2) for x in (matrix[-1], d, f))


@wrong("stream_scores", "the best value only from when the task was learned")
def stream_scores_2(matrix):
    T = len(matrix)
    d = (matrix[-1] - matrix.diagonal())[:-1].mean().item()
    f = sum(float(matrix[j:-1, j].max() - matrix[-1, j]) for j in range(T - 1)) / (T - 1)
    return matrix[-1].mean().item(), d, f


@right("stream_scores", "a list of NumPy's numbers")
def stream_scores_3(matrix):
    R = np.array(matrix.tolist())
    return [np.mean(R[-1]), np.mean((R[-1] - R.diagonal())[:-1]), np.mean((R[:-1].max(0) - R[-1])[:-1])]


@wrong("ewc_penalty", "the new rows of the head are pulled towards 0")
def ewc_penalty_8(model, old, fisher, strength):
    t = 0
    for n, p in model.named_parameters():
        if n in old:
            o = torch.zeros_like(p)
            f = torch.ones_like(p) * 1e-2
            o[: len(old[n])] = old[n]
            f[: len(old[n])] = fisher[n]
            t = t + (f * (p - o) ** 2).sum()
    return strength / 2 * t


# -- stream_model (the artifact) --------------------------------------------------------------------------------------


def retold(content, change):
    """An artifact's bytes after change(card, tensors)."""
    import json

    from leaplm.artifacts import CARD, read_artifact
    from safetensors.torch import save

    card, tensors = read_artifact(content)
    change(card, tensors)
    return save(tensors, metadata={CARD: json.dumps(card)})


def changed(trained, change):
    return {name: retold(content, change) for name, content in trained.items()}


@wrong.artifact("stream_model", "knows the newest task only, as after plain fine-tuning")
def newest_only(trained):
    def change(card, tensors):
        tensors["classifier.bias"][:-2] -= 100

    return changed(trained, change)


@wrong.artifact("stream_model", "cut off half way")
def cut_off(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("stream_model", "an untrained head")
def untrained_head(trained):
    def change(card, tensors):
        tensors["classifier.weight"].zero_()
        tensors["classifier.bias"].zero_()

    return changed(trained, change)


@wrong.artifact("stream_model", "the classes in another order")
def other_order(trained):
    def change(card, tensors):
        card["classes"] = card["classes"][::-1]
        for name in ("classifier.weight", "classifier.bias"):
            tensors[name] = tensors[name].flip(0).contiguous()

    return changed(trained, change)


@wrong.artifact("stream_model", "the head after the first task, not grown")
def not_grown(trained):
    def change(card, tensors):
        for name in ("classifier.weight", "classifier.bias"):
            tensors[name] = tensors[name][:2].contiguous()

    return changed(trained, change)


@wrong.artifact("stream_model", "values that are not numbers")
def not_finite(trained):
    def change(card, tensors):
        tensors["classifier.bias"][0] = float("nan")

    return changed(trained, change)


@wrong.artifact("stream_model", "says positive and negative the wrong way round in the first task")
def first_task_swapped(trained):
    def change(card, tensors):
        for name in ("classifier.weight", "classifier.bias"):
            tensors[name][:2] = tensors[name][:2].flip(0)

    return changed(trained, change)


@right.artifact("stream_model", "as the lab saved it")
def as_saved(trained):
    return dict(trained)


@right.artifact("stream_model", "another note on the card, and all logits shifted by the same number")
def shifted(trained):
    def change(card, tensors):
        card["note"] = "trained at night"
        tensors["classifier.bias"] += 0.5

    return changed(trained, change)


@right.artifact("stream_model", "run on a GPU, with 32-bit numbers")
def from_gpu(trained):
    def change(card, tensors):
        tensors.update({name: value.float() if value.is_floating_point() else value for name, value in tensors.items()})

    return {"stream-gpu.safetensors": retold(content, change) for content in trained.values()}


@right.artifact("stream_model", "the tensors in another order")
def other_tensor_order(trained):
    def change(card, tensors):
        tensors.update([tensors.popitem() for _ in range(len(tensors))])

    return changed(trained, change)
