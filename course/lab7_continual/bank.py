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


# -- extend_head ------------------------------------------------------------------------------------------------------


@wrong("extend_head", "a new head that forgets the old rows")
def new_head(head, new_classes):
    bigger = nn.Linear(head.in_features, head.out_features + new_classes)
    nn.init.zeros_(bigger.weight)
    nn.init.zeros_(bigger.bias)
    return bigger


@wrong("extend_head", "the old bias is lost")
def without_bias(head, new_classes):
    bigger = nn.Linear(head.in_features, head.out_features + new_classes)
    with torch.no_grad():
        bigger.weight.zero_()
        bigger.bias.zero_()
        bigger.weight[: head.out_features] = head.weight
    return bigger


@wrong("extend_head", "the new classes come first")
def new_first(head, new_classes):
    bigger = nn.Linear(head.in_features, head.out_features + new_classes)
    with torch.no_grad():
        bigger.weight.zero_()
        bigger.bias.zero_()
        bigger.weight[new_classes:] = head.weight
        bigger.bias[new_classes:] = head.bias
    return bigger


@wrong("extend_head", "new rows are random")
def random_rows(head, new_classes):
    bigger = nn.Linear(head.in_features, head.out_features + new_classes)
    with torch.no_grad():
        bigger.weight[: head.out_features] = head.weight
        bigger.bias[: head.out_features] = head.bias
    return bigger


@wrong("extend_head", "only the new classes are there")
def only_new(head, new_classes):
    bigger = nn.Linear(head.in_features, new_classes)
    nn.init.zeros_(bigger.weight)
    nn.init.zeros_(bigger.bias)
    return bigger


@wrong("extend_head", "changes the head that was given")
def in_place(head, new_classes):
    zeros = torch.zeros(new_classes, head.in_features)
    head.weight = nn.Parameter(torch.cat([head.weight.data, zeros]))
    head.bias = nn.Parameter(torch.cat([head.bias.data, torch.zeros(new_classes)]))
    head.out_features += new_classes
    return head


@wrong("extend_head", "the new head does not learn")
def does_not_learn(head, new_classes):
    bigger = nn.Linear(head.in_features, head.out_features + new_classes)
    bigger.weight.data = torch.cat([head.weight.data, torch.zeros(new_classes, head.in_features)])
    bigger.bias.data = torch.cat([head.bias.data, torch.zeros(new_classes)])
    return bigger.requires_grad_(False)


@right("extend_head", "parameters made with torch.cat")
def by_cat(head, new_classes):
    bigger = nn.Linear(head.in_features, head.out_features + new_classes)
    zeros = torch.zeros(new_classes, head.in_features)
    bigger.weight = nn.Parameter(torch.cat([head.weight.detach(), zeros]))
    bigger.bias = nn.Parameter(torch.cat([head.bias.detach(), zeros[:, 0]]))
    return bigger


@right("extend_head", "with load_state_dict")
def by_state_dict(head, new_classes):
    bigger = nn.Linear(head.in_features, head.out_features + new_classes)
    bigger.load_state_dict({"weight": nn.functional.pad(head.weight.detach(), (0, 0, 0, new_classes)),
                            "bias": nn.functional.pad(head.bias.detach(), (0, new_classes))})
    return bigger


@wrong("extend_head", "a copy with longer weights that still says the old number of classes")
def says_old_number(head, new_classes):
    bigger = copy.deepcopy(head)
    bigger.weight = nn.Parameter(torch.cat([head.weight.data, torch.zeros(new_classes, head.in_features)]))
    bigger.bias = nn.Parameter(torch.cat([head.bias.data, torch.zeros(new_classes)]))
    return bigger


@wrong("extend_head", "new biases are random, new weights zero")
def random_bias(head, new_classes):
    bigger = nn.Linear(head.in_features, head.out_features + new_classes)
    with torch.no_grad():
        bigger.weight.zero_()
        bigger.weight[: head.out_features] = head.weight
        bigger.bias[: head.out_features] = head.bias
    return bigger


@wrong("extend_head", "freezes the old head")
def freezes_old(head, new_classes):
    head.requires_grad_(False)
    bigger = nn.Linear(head.in_features, head.out_features + new_classes)
    bigger.weight.data = torch.cat([head.weight, torch.zeros(new_classes, head.in_features)])
    bigger.bias.data = torch.cat([head.bias, torch.zeros(new_classes)])
    return bigger


@wrong("extend_head", "the library's function that grows a model's head")
def librarys_grow_head(head, new_classes):
    from types import SimpleNamespace
    return continual.grow_head(SimpleNamespace(classifier=head), head.out_features + new_classes).classifier


@wrong("extend_head", "the first row is repeated for the new classes")
def repeats_first(head, new_classes):
    bigger = nn.Linear(head.in_features, head.out_features + new_classes)
    with torch.no_grad():
        bigger.weight[:] = torch.cat([head.weight, head.weight[:1].repeat(new_classes, 1)])
        bigger.bias[:] = torch.cat([head.bias, head.bias[:1].repeat(new_classes)])
    return bigger


@wrong("extend_head", "two layers side by side")
def two_layers(head, new_classes):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.old, self.new = head, nn.Linear(head.in_features, new_classes)
        def forward(self, x):
            return torch.cat([self.old(x), self.new(x)], -1)
    return Both()


@right("extend_head", "a deep copy, its weights and its number of outputs changed")
def deep_copy(head, new_classes):
    bigger = copy.deepcopy(head)
    bigger.weight = nn.Parameter(torch.cat([head.weight.detach(), head.weight.new_zeros(new_classes, head.in_features)]))
    bigger.bias = nn.Parameter(torch.cat([head.bias.detach(), head.bias.new_zeros(new_classes)]))
    bigger.out_features += new_classes
    return bigger


@right("extend_head", "with skip_init, row by row")
def row_by_row(head, new_classes):
    bigger = nn.utils.skip_init(nn.Linear, head.in_features, head.out_features + new_classes)
    with torch.no_grad():
        for row in range(bigger.out_features):
            old = row < head.out_features
            bigger.weight[row] = head.weight[row] if old else 0
            bigger.bias[row] = head.bias[row] if old else 0
    return bigger


# -- reservoir_slot ---------------------------------------------------------------------------------------------------


@wrong("reservoir_slot", "the first rows stay for ever")
def first_rows(seen, capacity, rng):
    return seen if seen < capacity else None


@wrong("reservoir_slot", "a ring: the newest rows push out the oldest")
def ring(seen, capacity, rng):
    return seen % capacity


@wrong("reservoir_slot", "each new row takes a random place")
def always_in(seen, capacity, rng):
    return seen if seen < capacity else int(rng.integers(capacity))


@wrong("reservoir_slot", "draws among `seen`, one too few")
def one_too_few(seen, capacity, rng):
    if seen < capacity:
        return seen
    place = int(rng.integers(seen))
    return place if place < capacity else None


@wrong("reservoir_slot", "keeps half of the new rows, whatever came before")
def coin(seen, capacity, rng):
    if seen < capacity:
        return seen
    return int(rng.integers(capacity)) if rng.random() < 0.5 else None


@wrong("reservoir_slot", "gives the number that was drawn, also beyond the buffer")
def beyond(seen, capacity, rng):
    return seen if seen < capacity else int(rng.integers(seen + 1))


@wrong("reservoir_slot", "draws already while there is room")
def draws_early(seen, capacity, rng):
    place = int(rng.integers(seen + 1))
    return place if place < capacity else None


@right("reservoir_slot", "first whether, then where")
def whether_then_where(seen, capacity, rng):
    if seen < capacity:
        return seen
    if rng.random() < capacity / (seen + 1):
        return int(rng.integers(capacity))
    return None


@right("reservoir_slot", "with choice and a list")
def by_choice(seen, capacity, rng):
    if seen < capacity:
        return seen
    places = list(range(capacity)) + [None] * (seen + 1 - capacity)
    return places[rng.choice(len(places))]


@wrong("reservoir_slot", "draws from the program's random numbers, not from rng")
def global_draw(seen, capacity, rng):
    if seen < capacity:
        return seen
    place = int(np.random.randint(seen + 1))
    return place if place < capacity else None


@wrong("reservoir_slot", "a seed fixed inside")
def own_seed(seen, capacity, rng):
    if seen < capacity:
        return seen
    place = int(np.random.default_rng(0).integers(seen + 1))
    return place if place < capacity else None


@wrong("reservoir_slot", "a new unseeded source inside")
def own_source(seen, capacity, rng):
    if seen < capacity:
        return seen
    place = int(np.random.default_rng().integers(seen + 1))
    return place if place < capacity else None


@wrong("reservoir_slot", "-1 in place of None")
def minus_one(seen, capacity, rng):
    if seen < capacity:
        return seen
    place = int(rng.integers(seen + 1))
    return place if place < capacity else -1


@wrong("reservoir_slot", "place 0 is never given")
def never_first(seen, capacity, rng):
    if seen < capacity:
        return seen
    place = int(rng.integers(1, seen + 1))
    return place if place < capacity else None


@wrong("reservoir_slot", "draws among one too many")
def one_too_many(seen, capacity, rng):
    if seen < capacity:
        return seen
    place = int(rng.integers(seen + 2))
    return place if place < capacity else None


@wrong("reservoir_slot", "the buffer's size may be given as a place")
def may_be_capacity(seen, capacity, rng):
    if seen < capacity:
        return seen
    place = int(rng.integers(seen + 1))
    return place if place <= capacity else None


@wrong("reservoir_slot", "returns the place as a number with a fraction")
def fraction(seen, capacity, rng):
    if seen < capacity:
        return float(seen)
    place = np.floor(rng.random() * (seen + 1))
    return place if place < capacity else None


@wrong("reservoir_slot", "the chance to be kept is 1 in seen + 1, whatever the capacity")
def one_in_all(seen, capacity, rng):
    if seen < capacity:
        return seen
    return int(rng.integers(capacity)) if rng.random() < 1 / (seen + 1) else None


@right("reservoir_slot", "an endpoint that counts, numpy's whole number")
def endpoint(seen, capacity, rng):
    if seen < capacity:
        return seen
    place = rng.integers(0, seen, endpoint=True)
    if place < capacity:
        return place


@right("reservoir_slot", "a fraction of the stream")
def by_fraction(seen, capacity, rng):
    place = seen if seen < capacity else int(rng.random() * (seen + 1))
    return place if place < capacity else None


# -- mixed_batch ------------------------------------------------------------------------------------------------------


@wrong("mixed_batch", "always the first rows of the buffer")
def first_of_buffer(new_rows, buffer, num_replay):
    return new_rows + buffer[:num_replay]


@wrong("mixed_batch", "draws with replacement")
def with_replacement(new_rows, buffer, num_replay):
    if not buffer:
        return new_rows
    return new_rows + [buffer[i] for i in torch.randint(len(buffer), (min(num_replay, len(buffer)),))]


@wrong("mixed_batch", "old rows take the place of new ones")
def in_place_of_new(new_rows, buffer, num_replay):
    drawn = [buffer[i] for i in torch.randperm(len(buffer))[:num_replay]]
    return new_rows[: len(new_rows) - len(drawn)] + drawn


@wrong("mixed_batch", "gives the old rows alone")
def old_alone(new_rows, buffer, num_replay):
    return [buffer[i] for i in torch.randperm(len(buffer))[:num_replay]]


@wrong("mixed_batch", "the whole buffer each time")
def whole_buffer(new_rows, buffer, num_replay):
    return new_rows + buffer


@wrong("mixed_batch", "fails when the buffer is empty")
def fails_when_empty(new_rows, buffer, num_replay):
    return new_rows + [buffer[i] for i in np.random.choice(len(buffer), num_replay, replace=False)]


@wrong("mixed_batch", "draws from both together")
def draws_from_both(new_rows, buffer, num_replay):
    both = new_rows + buffer
    return [both[i] for i in torch.randperm(len(both))[: len(new_rows) + num_replay]]


@right("mixed_batch", "with random.sample")
def by_sample(new_rows, buffer, num_replay):
    import random
    return list(new_rows) + random.sample(buffer, min(num_replay, len(buffer)))


@right("mixed_batch", "shuffles a copy")
def by_shuffle(new_rows, buffer, num_replay):
    numbers = np.random.permutation(len(buffer))
    batch = list(new_rows)
    for i in numbers[:num_replay]:
        batch.append(buffer[i])
    return batch


@wrong("mixed_batch", "lengthens the caller's batch")
def lengthens(new_rows, buffer, num_replay):
    new_rows += [buffer[i] for i in torch.randperm(len(buffer))[:num_replay]]
    return new_rows


@wrong("mixed_batch", "takes the rows out of the buffer for ever")
def takes_out(new_rows, buffer, num_replay):
    batch = list(new_rows)
    for _ in range(min(num_replay, len(buffer))):
        batch.append(buffer.pop(np.random.randint(len(buffer))))
    return batch


@wrong("mixed_batch", "shuffles the buffer itself")
def shuffles_buffer(new_rows, buffer, num_replay):
    np.random.shuffle(buffer)
    return new_rows + buffer[:num_replay]


@wrong("mixed_batch", "the same rows each time: a seed inside")
def seed_inside(new_rows, buffer, num_replay):
    torch.manual_seed(0)
    return new_rows + [buffer[i] for i in torch.randperm(len(buffer))[:num_replay]]


@wrong("mixed_batch", "a window at a random place: neighbours always come together")
def window(new_rows, buffer, num_replay):
    if not buffer:
        return list(new_rows)
    start = np.random.randint(len(buffer))
    return new_rows + (buffer[start:] + buffer[:start])[:num_replay]


@wrong("mixed_batch", "the last num_replay of a shuffled list: all of them for 0")
def last_of_shuffled(new_rows, buffer, num_replay):
    shuffled = [buffer[i] for i in torch.randperm(len(buffer))]
    return new_rows + shuffled[-num_replay:]


@wrong("mixed_batch", "shuffles the whole batch")
def shuffles_all(new_rows, buffer, num_replay):
    batch = new_rows + [buffer[i] for i in torch.randperm(len(buffer))[:num_replay]]
    return [batch[i] for i in torch.randperm(len(batch))]


@wrong("mixed_batch", "the old rows come first")
def old_first(new_rows, buffer, num_replay):
    return [buffer[i] for i in torch.randperm(len(buffer))[:num_replay]] + new_rows


@right("mixed_batch", "with a source of its own")
def own_generator(new_rows, buffer, num_replay):
    count = min(num_replay, len(buffer))
    return [*new_rows, *(buffer[i] for i in np.random.default_rng().choice(len(buffer), count, replace=False))] \
        if count else list(new_rows)


@right("mixed_batch", "sorts by random keys")
def random_keys(new_rows, buffer, num_replay):
    import random
    return new_rows + sorted(buffer, key=lambda row: random.random())[:num_replay]


@right("mixed_batch", "draws places until there are enough")
def until_enough(new_rows, buffer, num_replay):
    chosen = set()
    while len(chosen) < min(num_replay, len(buffer)):
        chosen.add(int(torch.randint(len(buffer), ())))
    return new_rows + [buffer[i] for i in chosen]


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


# -- route ------------------------------------------------------------------------------------------------------------


@wrong("route", "the plain product: long centroids win")
def plain_product(vectors, centroids):
    return (vectors @ centroids.T).argmax(dim=-1)


@wrong("route", "the nearest by distance")
def by_distance(vectors, centroids):
    return torch.cdist(vectors, centroids).argmin(dim=-1)


@wrong("route", "the smallest cosine")
def smallest(vectors, centroids):
    return nn.functional.cosine_similarity(vectors[:, None], centroids[None], dim=-1).argmin(dim=-1)


@wrong("route", "divides the texts by their lengths, the centroids not")
def half_normalized(vectors, centroids):
    return (nn.functional.normalize(vectors, dim=-1) @ centroids.T).argmax(dim=-1)


@wrong("route", "a text for each task, not a task for each text")
def wrong_axis(vectors, centroids):
    return nn.functional.cosine_similarity(vectors[:, None], centroids[None], dim=-1).argmax(dim=0)


@wrong("route", "gives the cosine, not the task")
def gives_cosine(vectors, centroids):
    return nn.functional.cosine_similarity(vectors[:, None], centroids[None], dim=-1).max(dim=-1).values


@right("route", "with cosine_similarity")
def by_cosine_similarity(vectors, centroids):
    return nn.functional.cosine_similarity(vectors[:, None], centroids[None], dim=-1).argmax(dim=-1)


@right("route", "distance between vectors of length 1")
def by_unit_distance(vectors, centroids):
    a, b = nn.functional.normalize(vectors, dim=-1), nn.functional.normalize(centroids, dim=-1)
    return torch.cdist(a, b).argmin(dim=-1).tolist()


@wrong("route", "divides by the sum of the sizes in place of the length")
def l1(vectors, centroids):
    return (nn.functional.normalize(vectors, p=1, dim=-1) @ nn.functional.normalize(centroids, p=1, dim=-1).T).argmax(-1)


@wrong("route", "divides by the largest size in place of the length")
def linf(vectors, centroids):
    return (vectors @ (centroids / centroids.abs().amax(-1, keepdim=True)).T).argmax(-1)


@wrong("route", "the size of the cosine, without its sign")
def no_sign(vectors, centroids):
    return nn.functional.cosine_similarity(vectors[:, None], centroids[None], dim=-1).abs().argmax(-1)


@wrong("route", "the correlation in place of the cosine")
def correlation(vectors, centroids):
    a, b = vectors - vectors.mean(-1, keepdim=True), centroids - centroids.mean(-1, keepdim=True)
    return nn.functional.cosine_similarity(a[:, None], b[None], dim=-1).argmax(-1)


@wrong("route", "normalizes over the texts")
def over_texts(vectors, centroids):
    return (nn.functional.normalize(vectors, dim=0) @ nn.functional.normalize(centroids, dim=0).T).argmax(-1)


@wrong("route", "normalizes the caller's vectors in place")
def route_in_place(vectors, centroids):
    vectors /= vectors.norm(dim=-1, keepdim=True)
    return (vectors @ nn.functional.normalize(centroids, dim=-1).T).argmax(-1)


@wrong("route", "a single text gives a number, not a list of one")
def squeezed(vectors, centroids):
    return nn.functional.cosine_similarity(vectors[:, None], centroids[None], dim=-1).squeeze().argmax(-1)


@wrong("route", "calls the library")
def library_route(vectors, centroids):
    return continual.route(vectors, centroids)


@wrong("route", "square root left out of the length")
def no_root(vectors, centroids):
    return (vectors @ centroids.T / (centroids**2).sum(-1)).argmax(-1)


@right("route", "only the centroids are divided: the text's length does not change which is largest")
def centroids_only(vectors, centroids):
    return (vectors @ (centroids / centroids.norm(dim=1, keepdim=True)).T).argmax(dim=1)


@right("route", "with numpy, text by text")
def route_numpy(vectors, centroids):
    v, c = np.asarray(vectors), np.asarray(centroids)
    return np.array([np.argmax([x @ y / (np.linalg.norm(x) * np.linalg.norm(y)) for y in c]) for x in v])


@right("route", "with scikit-learn's cosine_similarity")
def route_sklearn(vectors, centroids):
    from sklearn.metrics.pairwise import cosine_similarity
    return cosine_similarity(vectors, centroids).argmax(axis=1)


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


@wrong("extend_head", "learns only where the old head did")
def extend_head_4(head, new_classes):
    n = nn.Linear(head.in_features, head.out_features + new_classes)
    n.weight = nn.Parameter(
        torch.cat([head.weight.data, torch.zeros(new_classes, head.in_features)]), requires_grad=head.weight.requires_grad
    )
    n.bias = nn.Parameter(torch.cat([head.bias.data, torch.zeros(new_classes)]), requires_grad=head.bias.requires_grad)
    return n


@right("extend_head", "padded with zeros, loaded as a state")
def extend_head_5(head, new_classes):
    state = {
        "weight": nn.functional.pad(head.weight.detach(), (0, 0, 0, new_classes)),
        "bias": nn.functional.pad(head.bias.detach(), (0, new_classes)),
    }
    new = nn.Linear(head.in_features, head.out_features + new_classes, device=head.weight.device, dtype=head.weight.dtype)
    new.load_state_dict(state)
    return new


@wrong("mixed_batch", "leaves out rows that read as a new one does")
def mixed_batch_6(new_rows, buffer, num_replay):
    old = [r for r in buffer if r not in new_rows]
    return new_rows + [old[i] for i in torch.randperm(len(old))[:num_replay]]


@wrong("mixed_batch", "rows that read the same count as one")
def mixed_batch_7(new_rows, buffer, num_replay):
    old = []
    for r in buffer:
        if r not in old:
            old.append(r)
    return new_rows + [old[i] for i in torch.randperm(len(old))[:num_replay]]


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


@wrong("extend_head", "zeros in the first of the new rows only")
def one_row_of_zeros(head, new_classes):
    grown, old = nn.Linear(head.in_features, head.out_features + new_classes), head.out_features
    with torch.no_grad():
        grown.weight[:old], grown.bias[:old] = head.weight, head.bias
        grown.weight[old].zero_()
        grown.bias[old].zero_()
    return grown


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
