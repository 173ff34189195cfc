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
