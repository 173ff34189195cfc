"""Bank of lab 9: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, math, re, privacy, artifacts, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905


# -- deduplicate ------------------------------------------------------------------------------------------------------


@wrong("deduplicate", "exact copies only")
def exact_copies(texts, threshold):
    return [i for i, text in enumerate(texts) if text not in texts[:i]]


@wrong("deduplicate", "copies after normalizing case and punctuation only, no similarity")
def same_words(texts, threshold):
    keys = [tuple(re.findall(r"\w+", text.lower())) for text in texts]
    return [i for i, key in enumerate(keys) if key not in keys[:i]]


@wrong("deduplicate", "compares with all texts before it, not only with the kept ones")
def with_all_before(texts, threshold):
    sets = [set(re.findall(r"\w+", text.lower())) for text in texts]
    return [i for i, words in enumerate(sets)
            if all(len(words & other) / len(words | other) < threshold for other in sets[:i])]


@wrong("deduplicate", "compares with the text before it only")
def with_neighbour(texts, threshold):
    sets = [set(re.findall(r"\w+", text.lower())) for text in texts]
    return [i for i, words in enumerate(sets)
            if i == 0 or len(words & sets[i - 1]) / len(words | sets[i - 1]) < threshold]


@wrong("deduplicate", "divides by the words of the shorter text")
def by_the_shorter(texts, threshold):
    kept, sets = [], []
    for number, text in enumerate(texts):
        words = set(re.findall(r"\w+", text.lower()))
        if all(len(words & other) / min(len(words), len(other)) < threshold for other in sets):
            kept.append(number)
            sets.append(words)
    return kept


@wrong("deduplicate", "lists instead of sets: repeated words count again")
def lists_of_words(texts, threshold):
    kept, seen = [], []
    for number, text in enumerate(texts):
        words = re.findall(r"\w+", text.lower())
        if all(sum(w in other for w in words) / (len(words) + len(set(other) - set(words))) < threshold for other in seen):
            kept.append(number)
            seen.append(words)
    return kept


@wrong("deduplicate", "letter case and punctuation make words different")
def plain_split(texts, threshold):
    kept, sets = [], []
    for number, text in enumerate(texts):
        words = set(text.split())
        if all(len(words & other) / len(words | other) < threshold for other in sets):
            kept.append(number)
            sets.append(words)
    return kept


@wrong("deduplicate", "keeps texts that are exactly at the threshold")
def edge_kept(texts, threshold):
    return memorization.deduplicate(texts, threshold + 1e-9)


@wrong("deduplicate", "calls the library's function")
def by_library(texts, threshold):
    return memorization.deduplicate(texts, threshold)


@right("deduplicate", "with an inner loop and a flag, returns an array")
def with_flag(texts, threshold):
    sets, kept = [frozenset(re.findall(r"\w+", text.lower())) for text in texts], []
    for i in range(len(texts)):
        alike = False
        for j in kept:
            if len(sets[i] & sets[j]) >= threshold * len(sets[i] | sets[j]) - 1e-12:
                alike = True
        if not alike:
            kept.append(i)
    return np.array(kept)


@wrong("deduplicate", "knows English letters only")
def english_only(texts, threshold):
    kept, sets = [], []
    for number, text in enumerate(texts):
        words = set(re.findall(r"[a-z0-9_]+", text.lower()))
        if all(len(words & other) / max(1, len(words | other)) < threshold for other in sets):
            kept.append(number)
            sets.append(words)
    return kept


@wrong("deduplicate", "ASCII only, by a flag")
def ascii_flag(texts, threshold):
    kept, sets = [], []
    for number, text in enumerate(texts):
        words = set(re.findall(r"\w+", text.lower(), re.ASCII))
        if all(len(words & other) / max(1, len(words | other)) < threshold for other in sets):
            kept.append(number)
            sets.append(words)
    return kept


@wrong("deduplicate", "splits at spaces and strips punctuation at the ends")
def strips(texts, threshold):
    kept, sets = [], []
    for number, text in enumerate(texts):
        words = {word.strip(".,!?()-") for word in text.lower().split()} - {""}
        if all(len(words & other) / len(words | other) < threshold for other in sets):
            kept.append(number)
            sets.append(words)
    return kept


@wrong("deduplicate", "the texts, not their numbers")
def gives_texts(texts, threshold):
    kept, sets = [], []
    for text in texts:
        words = set(re.findall(r"\w+", text.lower()))
        if all(len(words & other) / len(words | other) < threshold for other in sets):
            kept.append(text)
            sets.append(words)
    return kept


@wrong("deduplicate", "takes the copies out of the caller's list")
def takes_copies_out(texts, threshold):
    kept, sets = [], []
    for number, text in enumerate(list(texts)):
        words = set(re.findall(r"\w+", text.lower()))
        if all(len(words & other) / len(words | other) < threshold for other in sets):
            kept.append(number)
            sets.append(words)
        else:
            texts.remove(text)
    return kept


@wrong("deduplicate", "the library's own parts, put together")
def librarys_parts(texts, threshold):
    kept, sets = [], []
    for number, text in enumerate(texts):
        words = memorization.words_of(text)
        if all(memorization.jaccard(words, other) < threshold for other in sets):
            kept.append(number)
            sets.append(words)
    return kept


@wrong("deduplicate", "keeps the last of the copies, not the first")
def keeps_last(texts, threshold):
    kept, sets = [], []
    for number in reversed(range(len(texts))):
        words = set(re.findall(r"\w+", texts[number].lower()))
        if all(len(words & other) / len(words | other) < threshold for other in sets):
            kept.append(number)
            sets.append(words)
    return kept[::-1]


@right("deduplicate", "a helper of one's own")
def own_helper(texts, threshold):
    def alike(a, b):
        common = sum(word in b for word in a)
        return common >= threshold * (len(a) + len(b) - common)
    sets = [set(re.findall(r"\w+", text.lower())) for text in texts]
    kept = []
    for i, words in enumerate(sets):
        if not any(alike(words, sets[j]) for j in kept):
            kept.append(i)
    return tuple(kept)


@right("deduplicate", "splits where no letter or number stands")
def by_split(texts, threshold):
    kept = {}
    for number, text in enumerate(texts):
        words = frozenset(piece for piece in re.split(r"\W+", text.lower()) if piece)
        best = max((len(words & o) / len(words | o) for o in kept.values()), default=-1.0)
        if best < threshold:
            kept[number] = words
    return list(kept)


@right("deduplicate", "in a comprehension with a table of similarities")
def by_table(texts, threshold):
    sets = [set(re.findall(r"\w+", text.lower())) for text in texts]
    table = np.array([[len(a & b) / len(a | b) for b in sets] for a in sets])
    kept = []
    for i in range(len(texts)):
        if not (table[i, kept] >= threshold).any():
            kept.append(i)
    return np.array(kept)


# -- membership_attack ------------------------------------------------------------------------------------------------


@wrong("membership_attack", "the other way round: members have the larger loss")
def other_way(member_losses, other_losses, most_false):
    return privacy.membership_attack(-np.asarray(member_losses), -np.asarray(other_losses), most_false)


@wrong("membership_attack", "pairs with equal losses count nothing")
def ties_lost(member_losses, other_losses, most_false):
    auc = (other_losses[None] > member_losses[:, None]).double().mean()
    return float(auc), privacy.membership_attack(member_losses, other_losses, most_false)[1]


@wrong("membership_attack", "the rate at the quantile of the members, not of the others")
def quantile_of_members(member_losses, other_losses, most_false):
    threshold = np.quantile(member_losses, most_false)
    rate = (np.asarray(other_losses) <= threshold).mean()
    return privacy.membership_attack(member_losses, other_losses, 0.5)[0], float(rate)


@wrong("membership_attack", "accuracy at the best threshold instead of the AUC")
def best_accuracy(member_losses, other_losses, most_false):
    scores = [((member_losses <= t).double().mean() + (other_losses > t).double().mean()) / 2 for t in member_losses]
    return float(max(scores)), privacy.membership_attack(member_losses, other_losses, most_false)[1]


@wrong("membership_attack", "the rate without a limit on false alarms")
def no_limit(member_losses, other_losses, most_false):
    return privacy.membership_attack(member_losses, other_losses, most_false)[0], 1.0


@wrong("membership_attack", "the limit counts false alarms as a share of all texts")
def share_of_all(member_losses, other_losses, most_false):
    auc, best, texts = privacy.membership_attack(member_losses, other_losses, most_false)[0], 0.0, 0
    texts = len(member_losses) + len(other_losses)
    for t in member_losses:
        if int((other_losses <= t).sum()) / texts <= most_false:
            best = max(best, float((member_losses <= t).double().mean()))
    return auc, best


@wrong("membership_attack", "takes the mean loss as the threshold")
def mean_threshold(member_losses, other_losses, most_false):
    rate = (member_losses <= member_losses.mean()).double().mean()
    return privacy.membership_attack(member_losses, other_losses, most_false)[0], float(rate)


@wrong("membership_attack", "calls the library's function")
def attack_by_library(member_losses, other_losses, most_false):
    return privacy.membership_attack(member_losses, other_losses, most_false)


@right("membership_attack", "AUC by ranks, thresholds of both kinds")
def by_ranks(member_losses, other_losses, most_false):
    from scipy.stats import rankdata

    m, n = len(member_losses), len(other_losses)
    ranks = rankdata(torch.cat([member_losses, other_losses]))
    auc = 1 - (ranks[:m].sum() - m * (m + 1) / 2) / (m * n)
    best = 0.0
    for t in torch.cat([member_losses, other_losses]):
        if float((other_losses <= t).double().mean()) <= most_false + 1e-9:
            best = max(best, float((member_losses <= t).double().mean()))
    return auc, best


@wrong("membership_attack", "finds nobody where no threshold is allowed: an error")
def max_of_nothing(member_losses, other_losses, most_false):
    pairs = other_losses[None] - member_losses[:, None]
    auc = (pairs > 0).double().mean() + (pairs == 0).double().mean() / 2
    rates = [float((member_losses <= t).double().mean()) for t in member_losses
             if (other_losses <= t).double().mean() <= most_false]
    return float(auc), max(rates)


@wrong("membership_attack", "fewer false alarms than the limit, never exactly so many")
def strictly_fewer(member_losses, other_losses, most_false):
    pairs = other_losses[None] - member_losses[:, None]
    auc = (pairs > 0).double().mean() + (pairs == 0).double().mean() / 2
    rates = [0.0] + [float((member_losses <= t).double().mean()) for t in member_losses
                     if (other_losses <= t).double().mean() < most_false]
    return float(auc), max(rates)


@wrong("membership_attack", "tries the others' losses as thresholds only")
def others_thresholds(member_losses, other_losses, most_false):
    pairs = other_losses[None] - member_losses[:, None]
    auc = (pairs > 0).double().mean() + (pairs == 0).double().mean() / 2
    rates = [0.0] + [float((member_losses <= t).double().mean()) for t in other_losses
                     if (other_losses <= t).double().mean() <= most_false]
    return float(auc), max(rates)


@wrong("membership_attack", "sorts the caller's losses")
def sorts_losses(member_losses, other_losses, most_false):
    member_losses[:] = member_losses.sort().values
    pairs = other_losses[None] - member_losses[:, None]
    auc = (pairs > 0).double().mean() + (pairs == 0).double().mean() / 2
    rates = [0.0] + [float((member_losses <= t).double().mean()) for t in member_losses
                     if (other_losses <= t).double().mean() <= most_false]
    return float(auc), max(rates)


@wrong("membership_attack", "equal losses are whole wins")
def ties_win(member_losses, other_losses, most_false):
    auc = (member_losses[:, None] <= other_losses[None]).double().mean()
    rates = [0.0] + [float((member_losses <= t).double().mean()) for t in member_losses
                     if (other_losses <= t).double().mean() <= most_false]
    return float(auc), max(rates)


@wrong("membership_attack", "a loss below the threshold, never at it")
def below_threshold(member_losses, other_losses, most_false):
    pairs = other_losses[None] - member_losses[:, None]
    auc = (pairs > 0).double().mean() + (pairs == 0).double().mean() / 2
    rates = [0.0] + [float((member_losses < t).double().mean()) for t in torch.cat([member_losses, other_losses])
                     if (other_losses < t).double().mean() <= most_false]
    return float(auc), max(rates)


@right("membership_attack", "with scikit-learn, every threshold kept")
def by_sklearn(member_losses, other_losses, most_false):
    from sklearn.metrics import roc_auc_score, roc_curve
    truth = [1] * len(member_losses) + [0] * len(other_losses)
    score = -torch.cat([member_losses, other_losses])
    false, true, _ = roc_curve(truth, score, drop_intermediate=False)
    return roc_auc_score(truth, score), true[false <= most_false].max()


@right("membership_attack", "in 32 bits, a loop, as an array")
def in_32_bits(member_losses, other_losses, most_false):
    wins = torch.tensor(0.0)
    for loss in member_losses:
        wins += (loss < other_losses).sum() + 0.5 * (loss == other_losses).sum()
    best = torch.tensor(0.0)
    for limit in torch.cat([member_losses, other_losses]):
        if (other_losses <= limit).float().mean() <= most_false:
            best = torch.maximum(best, (member_losses <= limit).float().mean())
    return torch.stack([wins / (len(member_losses) * len(other_losses)), best]).numpy()


@right("membership_attack", "counts the members below the first loss that is not allowed")
def below_first(member_losses, other_losses, most_false):
    ordered = np.sort(other_losses.numpy())
    allowed = int(np.floor(most_false * len(ordered) + 1e-9))
    auc = np.mean([np.mean(m < ordered) + np.mean(m == ordered) / 2 for m in member_losses.numpy()])
    if allowed >= len(ordered):
        return auc, 1.0
    return auc, np.mean(member_losses.numpy() < ordered[allowed])


# -- per_example_gradients ----------------------------------------------------------------------------------------------


@wrong("per_example_gradients", "the part of each row in the mean gradient")
def parts_of_a_mean(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return (p[:, :, None] * features[:, None]).reshape(len(labels), weight.size) / max(1, len(labels))


@wrong("per_example_gradients", "the mean gradient, once for every row")
def mean_for_all(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    mean = (p.T @ features / max(1, len(labels))).reshape(1, -1)
    return np.repeat(mean, len(labels), axis=0)


@wrong("per_example_gradients", "y - p: uphill")
def uphill(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p = -p / p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] += 1
    return (p[:, :, None] * features[:, None]).reshape(len(labels), weight.size)


@wrong("per_example_gradients", "feature after feature, not class after class")
def feature_by_feature(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return (features[:, :, None] * p[:, None]).reshape(len(labels), weight.size)


@wrong("per_example_gradients", "scores in place of probabilities")
def no_softmax(weight, features, labels):
    errors = features @ weight.T
    errors[np.arange(len(labels)), labels] -= 1
    return (errors[:, :, None] * features[:, None]).reshape(len(labels), weight.size)


@wrong("per_example_gradients", "the label is left out")
def no_label(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return (p[:, :, None] * features[:, None]).reshape(len(labels), weight.size)


@wrong("per_example_gradients", "softmax over the rows, not over the classes")
def softmax_over_rows(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(0, initial=-1e9))
    p /= p.sum(0)
    p[np.arange(len(labels)), labels] -= 1
    return (p[:, :, None] * features[:, None]).reshape(len(labels), weight.size)


@wrong("per_example_gradients", "large scores overflow")
def overflows(weight, features, labels):
    p = np.exp(features @ weight.T)
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return (p[:, :, None] * features[:, None]).reshape(len(labels), weight.size)


@wrong("per_example_gradients", "reshape with -1: fails where there are no rows")
def unknown_size(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return (p[:, :, None] * features[:, None]).reshape(len(labels), -1)


@wrong("per_example_gradients", "takes 1 off the labels' columns in every row")
def off_all_rows(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[:, labels] -= 1
    return (p[:, :, None] * features[:, None]).reshape(len(labels), weight.size)


@wrong("per_example_gradients", "a table for each row, not a line")
def tables(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return p[:, :, None] * features[:, None]


@wrong("per_example_gradients", "the length of each gradient makes it 1")
def unit_gradients(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    rows = (p[:, :, None] * features[:, None]).reshape(len(labels), weight.size)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@wrong("per_example_gradients", "moves the caller's weight by the way")
def moves_the_weight(weight, features, labels):
    gradients = []
    for x, y in zip(features, labels):
        scores = weight @ x
        p = np.exp(scores - scores.max())
        p /= p.sum()
        p[y] -= 1
        gradients.append(np.outer(p, x).ravel())
        weight -= 1e-3 * np.outer(p, x)
    return np.array(gradients).reshape(len(labels), weight.size)


# Gradients in few lines; the entries change how a large score is kept from overflowing.
GRADIENTS = """
def per_example_gradients(weight, features, labels):
    scores = features @ weight.T
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return (p[:, :, None] * features[:, None, :]).reshape(len(labels), weight.size)
"""
for why, before, after in (
    ("scores cut at 50", "scores - scores.max(axis=1, keepdims=True)", "np.clip(scores, -50, 50)"),
    ("scores cut at 700, where exp just fits", "scores - scores.max(axis=1, keepdims=True)", "np.clip(scores, -700, 700)"),
    ("takes the mean score off, not the largest", "scores.max(", "scores.mean("),
    ("takes off at least 0: scores that are all very low vanish", "keepdims=True))", "keepdims=True, initial=0))"),
    ("puts 1 where an overflow gave not-a-number", "scores - scores.max(axis=1, keepdims=True))\n    p = p / p.sum(axis=1, "
     "keepdims=True)", "scores)\n    p = np.nan_to_num(p / p.sum(axis=1, keepdims=True), nan=1.0)"),
):
    assert GRADIENTS.count(before) == 1, before
    wrong.cell("per_example_gradients", why, GRADIENTS.replace(before, after))


@wrong("per_example_gradients", "calls the library's function")
def gradients_by_library(weight, features, labels):
    return privacy.per_example_gradients(weight, features, labels)


@right("per_example_gradients", "a loop with outer products")
def outer_products(weight, features, labels):
    gradients = np.empty((len(labels), weight.size))
    for i, (x, y) in enumerate(zip(features, labels)):
        scores = weight @ x
        p = np.exp(scores - scores.max())
        p = p / p.sum()
        p[y] = p[y] - 1
        gradients[i] = np.outer(p, x).flatten()
    return gradients


@right("per_example_gradients", "with torch.func, vmap of grad")
def by_vmap(weight, features, labels):
    def loss(w, x, y):
        return nn.functional.cross_entropy((w @ x)[None], y[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    if not len(labels):
        return np.zeros((0, weight.size))
    w, x = torch.tensor(weight, dtype=torch.float64), torch.tensor(features, dtype=torch.float64)
    return each(w, x, torch.as_tensor(labels, dtype=torch.long)).flatten(1).numpy()


@right("per_example_gradients", "backward for each row, as a tensor")
def by_backward(weight, features, labels):
    rows = []
    for x, y in zip(features, labels):
        w = torch.tensor(weight, dtype=torch.float64, requires_grad=True)
        scores = w @ torch.tensor(x, dtype=torch.float64)
        (torch.logsumexp(scores, 0) - scores[int(y)]).backward()
        rows.append(w.grad.flatten())
    return torch.stack(rows) if rows else torch.zeros(0, weight.size)


@right("per_example_gradients", "with einsum, one-hot labels and scipy's softmax")
def by_einsum(weight, features, labels):
    from scipy.special import softmax

    errors = softmax(features @ weight.T, axis=1) - np.eye(len(weight))[labels]
    return np.einsum("nc,nw->ncw", errors, features).reshape(-1, weight.size)


@right("per_example_gradients", "1 over the sum of exp of the differences, where endless ones give 0")
def by_differences(weight, features, labels):
    scores = features @ weight.T
    with np.errstate(over="ignore"):
        p = 1 / np.exp(scores[:, None, :] - scores[:, :, None]).sum(axis=2)
    p[np.arange(len(labels)), labels] -= 1
    return np.array([np.kron(p[i], features[i]) for i in range(len(labels))]).reshape(len(labels), weight.size)


@right("per_example_gradients", "class after class, side by side")
def side_by_side(weight, features, labels):
    scores = features @ weight.T
    log_p = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    parts = [(np.exp(log_p[:, c]) - (labels == c))[:, None] * features for c in range(len(weight))]
    return np.concatenate(parts, axis=1)


# -- clip_and_noise ---------------------------------------------------------------------------------------------------


@wrong("clip_and_noise", "clips the mean gradient, as ordinary training does")
def clips_the_mean(gradients, max_norm, noise_multiplier, normal, expected_batch):
    mean = gradients.sum(axis=0) / expected_batch
    mean = mean * min(1, max_norm / max(np.linalg.norm(mean), 1e-12))
    return mean + noise_multiplier * max_norm * normal / expected_batch


@wrong("clip_and_noise", "makes every row max_norm long, short ones too")
def normalizes(gradients, max_norm, noise_multiplier, normal, expected_batch):
    rows = gradients / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12) * max_norm
    return (rows.sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "clips each number instead of each row's length")
def clips_numbers(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return (gradients.clip(-max_norm, max_norm).sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "no clipping")
def no_clipping(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return (gradients.sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "divides by the number of rows")
def by_rows(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factors = np.minimum(1, max_norm / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12))
    return ((gradients * factors).sum(axis=0) + noise_multiplier * max_norm * normal) / max(1, len(gradients))


@wrong("clip_and_noise", "noise does not grow with max_norm")
def small_noise(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factors = np.minimum(1, max_norm / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12))
    return ((gradients * factors).sum(axis=0) + noise_multiplier * normal) / expected_batch


@wrong("clip_and_noise", "adds the noise after dividing")
def noise_after(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factors = np.minimum(1, max_norm / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12))
    return (gradients * factors).sum(axis=0) / expected_batch + noise_multiplier * max_norm * normal


@wrong("clip_and_noise", "noise once for every row")
def noise_each_row(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factors = np.minimum(1, max_norm / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12))
    return (gradients * factors + noise_multiplier * max_norm * normal).sum(axis=0) / expected_batch


@wrong("clip_and_noise", "a row of zeros gives not-a-number")
def zero_by_zero(gradients, max_norm, noise_multiplier, normal, expected_batch):
    lengths = np.linalg.norm(gradients, axis=1, keepdims=True)
    clipped = gradients / lengths * lengths.clip(max=max_norm)
    return (clipped.sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "clips the caller's gradients in place")
def clips_in_place(gradients, max_norm, noise_multiplier, normal, expected_batch):
    gradients *= np.minimum(1, max_norm / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12))
    return (gradients.sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "draws noise of its own")
def own_noise(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factors = np.minimum(1, max_norm / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12))
    noise = noise_multiplier * max_norm * np.random.normal(size=len(normal))
    return ((gradients * factors).sum(axis=0) + noise) / expected_batch


@wrong("clip_and_noise", "the sum of the sizes in place of the length")
def l1_length(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factors = np.minimum(1, max_norm / np.maximum(np.abs(gradients).sum(axis=1, keepdims=True), 1e-12))
    return ((gradients * factors).sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "the largest number in place of the length")
def largest_length(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factors = np.minimum(1, max_norm / np.maximum(np.abs(gradients).max(axis=1, keepdims=True), 1e-12))
    return ((gradients * factors).sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "the length of the whole table in place of each row's")
def whole_length(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factor = min(1, max_norm / max(np.linalg.norm(gradients), 1e-12))
    return ((gradients * factor).sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "one number: the sum over the parameters, too")
def sums_all(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factors = np.minimum(1, max_norm / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12))
    return float(((gradients * factors).sum() + noise_multiplier * max_norm * normal.sum()) / expected_batch)


@wrong("clip_and_noise", "one row alone is squeezed away")
def squeezes(gradients, max_norm, noise_multiplier, normal, expected_batch):
    rows = gradients.squeeze()
    factors = np.minimum(1, max_norm / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12))
    return ((rows * factors).sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "fails where no row was drawn")
def needs_a_row(gradients, max_norm, noise_multiplier, normal, expected_batch):
    rows = [row * min(1, max_norm / max(np.linalg.norm(row), 1e-12)) for row in gradients]
    return (np.stack(rows).sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "no noise where no row was drawn")
def silent_when_empty(gradients, max_norm, noise_multiplier, normal, expected_batch):
    if len(gradients) == 0:
        return np.zeros(len(normal))
    factors = np.minimum(1, max_norm / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12))
    return ((gradients * factors).sum(axis=0) + noise_multiplier * max_norm * normal) / expected_batch


# In few lines; the entries change one place.
CLIPPED = """
def clip_and_noise(gradients, max_norm, noise_multiplier, normal, expected_batch):
    lengths = np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12)
    total = (gradients * np.minimum(1, max_norm / lengths)).sum(axis=0)
    return (total + noise_multiplier * max_norm * normal) / expected_batch
"""
for why, before, after in (
    ("clips the result once more", "    return (total + noise_multiplier * max_norm * normal) / expected_batch",
     "    private = (total + noise_multiplier * max_norm * normal) / expected_batch\n"
     "    return private * min(1, max_norm / max(np.linalg.norm(private), 1e-12))"),
    ("clips the sum, too, to the expected size times max_norm", "    return (total",
     "    total = total * min(1, max_norm * expected_batch / max(np.linalg.norm(total), 1e-12))\n    return (total"),
    ("a whole expected size", "/ expected_batch", "/ int(expected_batch)"),
    ("an expected size of at least 1", "/ expected_batch", "/ max(1, expected_batch)"),
):
    assert CLIPPED.count(before) == 1, before
    wrong.cell("clip_and_noise", why, CLIPPED.replace(before, after))


@wrong("clip_and_noise", "calls the library's function")
def clip_by_library(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return privacy.clip_and_noise(gradients, max_norm, noise_multiplier, normal, expected_batch)


@right("clip_and_noise", "a loop over the rows")
def looped(gradients, max_norm, noise_multiplier, normal, expected_batch):
    total = noise_multiplier * max_norm * normal
    for row in gradients:
        length = np.linalg.norm(row)
        total = total + (row * (max_norm / length) if length > max_norm else row)
    return total / expected_batch


@right("clip_and_noise", "in torch with renorm, which clips rows")
def with_renorm(gradients, max_norm, noise_multiplier, normal, expected_batch):
    rows = torch.renorm(torch.tensor(gradients), 2, 0, max_norm)
    return (rows.sum(0) + noise_multiplier * max_norm * torch.tensor(normal)) / expected_batch


@right("clip_and_noise", "divides by the larger of 1 and length / max_norm")
def by_maximum(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factors = np.maximum(1, np.sqrt((gradients**2).sum(axis=1)) / max_norm)
    return (np.sum(gradients / factors[:, None], 0) + normal * noise_multiplier * max_norm) / expected_batch


@right("clip_and_noise", "with where, a mask of the long rows")
def with_where(gradients, max_norm, noise_multiplier, normal, expected_batch):
    length = np.linalg.norm(gradients, axis=1)
    factor = np.where(length > max_norm, max_norm / np.maximum(length, max_norm), 1.0)
    return (factor @ gradients + noise_multiplier * max_norm * normal) / expected_batch


@right("clip_and_noise", "a tiny number added to the length, as PyTorch does")
def tiny_added(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factor = np.clip(max_norm / (np.linalg.norm(gradients, axis=1) + 1e-6), None, 1.0)
    total = np.einsum("b,bp->p", factor, gradients)
    return total / expected_batch + noise_multiplier * max_norm * normal / expected_batch


# -- rdp_epsilon --------------------------------------------------------------------------------------------------------

# An accountant in few lines; the entries change one place of it.
ACCOUNTANT = """
def rdp_epsilon(noise_multiplier, sample_rate, steps, delta):
    if noise_multiplier == 0:
        return math.inf
    best = math.inf
    for order in range(2, 33):
        if sample_rate == 1:
            divergence = order / (2 * noise_multiplier**2)
        else:
            logs = [math.log(math.comb(order, k)) + k * math.log(sample_rate) + (order - k) * math.log(1 - sample_rate)
                    + k * (k - 1) / (2 * noise_multiplier**2) for k in range(order + 1)]
            largest = max(logs)
            divergence = (largest + math.log(sum(math.exp(x - largest) for x in logs))) / (order - 1)
        epsilon = steps * divergence + math.log((order - 1) / order) - math.log(delta * order) / (order - 1)
        best = min(best, epsilon)
    return max(0.0, best)
"""


def accountant(*changes):
    source = ACCOUNTANT
    for before, after in changes:
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    return source


for why, *changes in (
    ("forgets the steps", ("steps * divergence", "divergence")),
    ("the part with delta once a step, too", ("steps * divergence + math.log((order - 1) / order) - math",
                                              "steps * (divergence + math.log((order - 1) / order)) - steps * math")),
    ("without the sample rate", ("sample_rate == 1:", "True:")),
    ("the largest of all orders", ("best = math.inf", "best = 0.0"), ("best = min(best", "best = max(best")),
    ("only log(1 / delta) / (order - 1) is added", (" + math.log((order - 1) / order) - math.log(delta * order) ",
                                                     " - math.log(delta) ")),
    ("sigma squared without the 2", ("+ k * (k - 1) / (2 * noise_multiplier**2)", "+ k * (k - 1) / noise_multiplier**2")),
    ("sigma without the square", ("+ k * (k - 1) / (2 * noise_multiplier**2)", "+ k * (k - 1) / (2 * noise_multiplier)")),
    ("k squared in the exponent", ("+ k * (k - 1) /", "+ k * k /")),
    ("no binomial coefficients", ("math.log(math.comb(order, k)) + k *", "k *")),
    ("the sum begins at 1", ("for k in range(order + 1)", "for k in range(1, order + 1)")),
    ("the sum ends before the order", ("for k in range(order + 1)", "for k in range(order)")),
    ("the last order is left out", ("range(2, 33)", "range(2, 32)")),
    ("the first order is left out", ("range(2, 33)", "range(3, 33)")),
    ("one order only, 8", ("range(2, 33)", "[8]")),
    ("divides by the order, not by the order minus 1", ("for x in logs))) / (order - 1)", "for x in logs))) / order")),
    ("logarithms of base 2", ("math.log(sum(", "math.log2(sum(")),
    ("without a division by order - 1", ("for x in logs))) / (order - 1)", "for x in logs)))")),
    ("q and 1 - q exchanged", ("k * math.log(sample_rate) + (order - k) * math.log(1 - sample_rate)",
                               "(order - k) * math.log(sample_rate) + k * math.log(1 - sample_rate)")),
    ("fails with sample rate 1", ("sample_rate == 1:", "sample_rate > 1:")),
    ("fails without noise", ("if noise_multiplier == 0:", "if noise_multiplier < 0:")),
    ("no noise gives 0", ("        return math.inf", "        return 0.0")),
    ("the sum itself: overflows with little noise",
     ("            largest = max(logs)\n", "            largest = 0\n")),
    ("below 0 for hardly anything", ("return max(0.0, best)", "return best")),
    ("rounded to two digits", ("return max(0.0, best)", "return round(max(0.0, best), 2)")),
    ("keeps the best of all calls",
     ("    best = math.inf\n", "    global best\n    best = globals().get('best', math.inf)\n")),
):
    wrong.cell("rdp_epsilon", why, accountant(*changes))


@wrong("rdp_epsilon", "calls the library's accountant")
def epsilon_by_library(noise_multiplier, sample_rate, steps, delta):
    return privacy.rdp_epsilon(noise_multiplier, sample_rate, steps, delta)


@wrong("rdp_epsilon", "Opacus's parts, put together")
def epsilon_by_opacus(noise_multiplier, sample_rate, steps, delta):
    from opacus.accountants.analysis import rdp

    if noise_multiplier == 0:
        return math.inf
    orders = list(range(2, 33))
    found = rdp.compute_rdp(q=sample_rate, noise_multiplier=noise_multiplier, steps=steps, orders=orders)
    return max(0.0, float(rdp.get_privacy_spent(orders=orders, rdp=found, delta=delta)[0]))


@right("rdp_epsilon", "NumPy's logaddexp, orders in an array")
def epsilon_logaddexp(noise_multiplier, sample_rate, steps, delta):
    if noise_multiplier == 0:
        return np.inf
    orders = np.arange(2, 33)
    divergences = []
    for order in orders:
        k = np.arange(order + 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            missing = np.where(k == order, 0.0, (order - k) * np.log1p(-sample_rate))
        logs = np.log([float(math.comb(int(order), int(i))) for i in k]) + k * np.log(sample_rate) + missing
        divergences.append(np.logaddexp.reduce(logs + k * (k - 1) / (2 * noise_multiplier**2)) / (order - 1))
    found = steps * np.array(divergences) + np.log1p(-1 / orders) - np.log(delta * orders) / (orders - 1)
    return max(found.min(), 0)


@right("rdp_epsilon", "scipy's logsumexp and gammaln")
def epsilon_scipy(noise_multiplier, sample_rate, steps, delta):
    from scipy.special import gammaln, logsumexp, xlog1py, xlogy

    if noise_multiplier <= 0:
        return float("inf")
    found = []
    for a in range(2, 33):
        k = np.arange(a + 1)
        log_comb = gammaln(a + 1) - gammaln(k + 1) - gammaln(a - k + 1)
        terms = log_comb + xlogy(k, sample_rate) + xlog1py(a - k, -sample_rate) + (k * k - k) / (2 * noise_multiplier**2)
        r = logsumexp(terms) / (a - 1)
        found.append(steps * r + np.log((a - 1) / a) - (np.log(delta) + np.log(a)) / (a - 1))
    return np.maximum(0, np.min(found))


@right("rdp_epsilon", "in torch, as a tensor with one number")
def epsilon_torch(noise_multiplier, sample_rate, steps, delta):
    if noise_multiplier == 0:
        return torch.tensor(math.inf)
    best = torch.tensor(math.inf, dtype=torch.float64)
    for a in range(2, 33):
        k = torch.arange(a + 1, dtype=torch.float64)
        comb = torch.tensor([float(math.comb(a, i)) for i in range(a + 1)], dtype=torch.float64).log()
        rest = torch.tensor([0.0 if i == a else (a - i) * (math.log1p(-sample_rate) if sample_rate < 1 else -math.inf)
                             for i in range(a + 1)], dtype=torch.float64)
        r = torch.logsumexp(comb + k * math.log(sample_rate) + rest + k * (k - 1) / (2 * noise_multiplier**2), 0) / (a - 1)
        best = torch.minimum(best, steps * r + math.log(1 - 1 / a) - math.log(a * delta) / (a - 1))
    return best.clamp(min=0)


@right("rdp_epsilon", "a helper of one's own for the moment")
def epsilon_helper(noise_multiplier, sample_rate, steps, delta):
    def add(a, b):
        return max(a, b) + math.log1p(math.exp(-abs(a - b)))

    def moment(order):
        if sample_rate == 1:
            return order * (order - 1) / 2 / noise_multiplier**2
        total = order * math.log1p(-sample_rate)
        for k in range(1, order + 1):
            term = math.log(math.comb(order, k)) + (order - k) * math.log1p(-sample_rate) + k * math.log(sample_rate)
            total = add(total, term + (k**2 - k) / (2 * noise_multiplier**2))
        return total

    if not noise_multiplier:
        return math.inf
    every = {a: steps * moment(a) / (a - 1) + math.log(a - 1) - math.log(a) - math.log(a * delta) / (a - 1)
             for a in range(2, 33)}
    return max(0, min(every.values()))


right.cell("rdp_epsilon", "the accountant in few lines", accountant())


# -- find_noise ---------------------------------------------------------------------------------------------------------


@wrong("find_noise", "the end that does not keep the budget")
def lower_end(spent, epsilon):
    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return low


@wrong("find_noise", "the halves exchanged")
def other_half(spent, epsilon):
    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) <= epsilon else (low, middle)
    return high


@wrong("find_noise", "no doubling: never above 1")
def never_above_one(spent, epsilon):
    low, high = 0.0, 1.0
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return high


@wrong("find_noise", "only doubling: up to twice too much")
def only_doubling(spent, epsilon):
    noise = 0.01
    while spent(noise) > epsilon:
        noise *= 2
    return noise


@wrong("find_noise", "never below 1")
def never_below_one(spent, epsilon):
    low, high = 1.0, 2.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return high


@wrong("find_noise", "step by step in place of halving")
def step_by_step(spent, epsilon):
    noise = 0.001
    while spent(noise) > epsilon:
        noise += 0.001
    return noise


@wrong("find_noise", "a hundredth near, not a thousandth")
def a_hundredth(spent, epsilon):
    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return high


@wrong("find_noise", "the middle at the end, which may not keep the budget")
def middle_at_the_end(spent, epsilon):
    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return (low + high) / 2


@wrong("find_noise", "rounded to three digits")
def three_digits(spent, epsilon):
    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return round(high - 5e-4, 3)


@wrong("find_noise", "rounded to three digits, up or down")
def next_three_digits(spent, epsilon):
    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return round(high, 3)


@wrong("find_noise", "asks for the budget without noise")
def asks_at_zero(spent, epsilon):
    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    if spent(0) <= epsilon:
        return 0.0
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return high


@wrong("find_noise", "ten halvings, however wide the interval")
def ten_halvings(spent, epsilon):
    low, high = 0.0, 1024.0
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return high


@wrong("find_noise", "gives the pair")
def gives_the_pair(spent, epsilon):
    low, high = 0.0, 1.0
    while spent(high) > epsilon:
        low, high = high, 2 * high
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return low, high


@wrong("find_noise", "calls the library's function")
def noise_by_library(spent, epsilon):
    return privacy.find_noise(spent, epsilon)


@right("find_noise", "fifty halvings of 0 to 1000")
def fifty_halvings(spent, epsilon):
    low, high = 0.0, 1000.0
    for _ in range(50):
        middle = (low + high) / 2
        if spent(middle) > epsilon:
            low = middle
        else:
            high = middle
    return high


@right("find_noise", "halves from above first, then the golden section")
def from_above(spent, epsilon):
    high = 2000.0
    while spent(high / 2) <= epsilon:
        high /= 2
    low = high / 2
    while high - low > 0.0009:
        between = low + 0.618 * (high - low)
        if spent(between) > epsilon:
            low = between
        else:
            high = between
    return high


@right("find_noise", "by recursion, with NumPy's numbers")
def by_recursion(spent, epsilon):
    def search(low, high):
        if high - low <= 0.0005:
            return high
        middle = np.float64(low + high) / 2
        return search(low, middle) if spent(middle) <= epsilon else search(middle, high)

    top = 2.0
    while spent(top) > epsilon:
        top *= 2
    return search(0.0, top)


@right("find_noise", "from a small guess up, by whole digits")
def digit_by_digit(spent, epsilon):
    noise = 0.0
    for digit in (512, 256, 128, 64, 32, 16, 8, 4, 2, 1, *(2.0**-i for i in range(1, 12))):
        if spent(noise + digit) > epsilon:
            noise += digit
    return noise + 2.0**-11


@right("find_noise", "scipy's root finder, then a little more")
def by_brentq(spent, epsilon):
    from scipy.optimize import brentq

    return brentq(lambda noise: spent(noise) - epsilon, 1e-3, 2000, xtol=1e-5) + 1e-4


# -- dp_sgd -------------------------------------------------------------------------------------------------------------

# The loop in the form that many write; the entries change one place of it.
LOOP = """
def dp_sgd(features, labels, people, classes, config, noise_multiplier, generator):
    weight = np.zeros((classes, features.shape[1]))
    number, spent, history = len(np.unique(people)), 0.0, []
    for step in range(config.steps):
        after = rdp_epsilon(noise_multiplier, config.sample_rate, step + 1, config.delta)
        if after > config.epsilon:
            break
        drawn = generator.random(number) < config.sample_rate
        rows = np.flatnonzero(drawn[people])
        each = per_example_gradients(weight, features[rows], labels[rows])
        sums = np.zeros((number, weight.size))
        np.add.at(sums, people[rows], each)
        normal = generator.normal(size=weight.size)
        private = clip_and_noise(sums, config.max_norm, noise_multiplier, normal, config.sample_rate * number)
        weight = weight - config.rate(step) * private.reshape(weight.shape)
        spent = after
        history.append({"epsilon": spent, "length": np.linalg.norm(private)})
    return weight, spent, history
"""


def loop(*changes):
    source = LOOP
    for before, after in changes:
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    return source


for why, *changes in (
    ("stops one step too late: looks at what was spent so far", ("if after >", "if spent >")),
    ("stops one step too late: asks for `step` steps", ("_rate, step + 1,", "_rate, max(1, step),")),
    ("stops one step too early", ("_rate, step + 1,", "_rate, step + 2,")),
    ("never stops early", ("            break", "            pass")),
    ("tells the budget that was asked for, not what was spent", ("return weight, spent,", "return weight, config.epsilon,")),
    ("tells what the step that was not made would have spent", ("return weight, spent,", "return weight, after,")),
    ("stops at the budget, not above it", ("if after >", "if after >=")),
    ("delta of 1e-5, whatever is asked for", ("step + 1, config.delta", "step + 1, 1e-5")),
    ("the smaller of delta and 1 / rows squared",
     ("step + 1, config.delta", "step + 1, min(config.delta, len(labels) ** -2)")),
    ("asks for `step` steps, of which 0 spend nothing",
     ("        after = rdp", "        after = 0.0 if step == 0 else rdp"), ("_rate, step + 1,", "_rate, step,")),
    ("Opacus's accountant", ("after = rdp_epsilon(", "after = privacy.epsilon_spent(")),
    ("as many people as rows", ("len(np.unique(people))", "len(people)")),
    ("no noise in a step that draws nobody",
     ("        private =", "        normal = normal * drawn.any()\n        private =")),
    ("draws rows, not people", ("drawn = generator.random(number)", "drawn = generator.random(len(labels))"),
     ("np.flatnonzero(drawn[people])", "np.flatnonzero(drawn)")),
    ("clips each row by itself",
     ("sums = np.zeros((number, weight.size))\n        np.add.at(sums, people[rows], each)\n", "sums = each\n")),
    ("the mean of a person's gradients",
     ("        normal = gen", "        counts = np.bincount(people[rows], minlength=number)\n"
                              "        sums /= np.maximum(1, counts)[:, None]\n        normal = gen")),
    ("only the last row of a person counts", ("np.add.at(sums, people[rows], each)", "sums[people[rows]] = each")),
    ("adds up with += at many places, which counts a person once",
     ("np.add.at(sums, people[rows], each)", "sums[people[rows]] += each")),
    ("divides by how many were drawn", ("normal, config.sample_rate * number)", "normal, max(1, drawn.sum()))")),
    ("divides by the expected number of rows", ("config.sample_rate * number)", "config.sample_rate * len(labels))")),
    ("the noise is drawn before the people", ("        normal = generator.normal(size=weight.size)\n", ""),
     ("        drawn =", "        normal = generator.normal(size=weight.size)\n        drawn =")),
    ("one noise for all steps", ("        normal = generator.normal(size=weight.size)\n", ""),
     ("    for step in", "    normal = generator.normal(size=weight.size)\n    for step in")),
    ("a generator of its own", ("    for step in", "    generator = np.random.default_rng(0)\n    for step in")),
    ("noise of the whole program", ("generator.normal(", "np.random.normal(")),
    ("a batch of fixed size, without chance in it",
     ("generator.random(number) < config.sample_rate", "np.arange(number) < round(config.sample_rate * number)"),
     ("drawn[people]", "generator.permutation(drawn)[people]")),
    ("a step that draws nobody is left out",
     ("        each = per", "        if len(rows) == 0:\n            continue\n        each = per")),
    ("the learning rate stays", ("config.rate(step)", "config.learning_rate")),
    ("the learning rate of the next step", ("config.rate(step)", "config.rate(step + 1)")),
    ("uphill", ("weight = weight - config", "weight = weight + config")),
    ("no clipping", ("config.max_norm,", "1e9,"), ("normal, config.s", "normal * config.max_norm / 1e9, config.s")),
    ("gradients of the first weight in every step", ("per_example_gradients(weight,", "per_example_gradients(0 * weight,")),
    ("weights of 0.1 at first", ("np.zeros((classes, features.shape[1]))", "np.ones((classes, features.shape[1])) * 0.1")),
    ("the noise is left out", ("noise_multiplier, normal,", "0.0, normal,")),
    ("the history also holds how many were drawn", ('"length": np', '"batch": int(drawn.sum()), "length": np')),
    ("the history holds the budget before the step",
     ("        spent = after\n        history.append(", "        history.append("),
     ('np.linalg.norm(private)})', 'np.linalg.norm(private)})\n        spent = after')),
    ("the length of the gradient without noise",
     ("np.linalg.norm(private)", "np.linalg.norm(sums.sum(0)) / (config.sample_rate * number)")),
    ("the weight's length in the history", ("np.linalg.norm(private)", "np.linalg.norm(weight)")),
    ("an entry only for every second step", ("        history.append(", "        step % 2 or history.append(")),
    ("the mean of all weights", ("    for step in", "    total = 0\n    for step in"),
     ("        spent = after", "        spent = after\n        total = total + weight"),
     ("return weight, spent", "return (total / max(1, len(history)) if history else weight), spent")),
    ("the weight of the step before", ("        weight = weight -", "        before = weight\n        weight = weight -"),
     ("return weight, spent", "return (before if history else weight), spent")),
    ("goes on from the weight of the last call", ("    weight = np.zeros((classes, features.shape[1]))",
     "    global kept\n    weight = globals().get('kept', np.zeros((classes, features.shape[1])))\n    weight = weight if "
     "weight.shape == (classes, features.shape[1]) else np.zeros((classes, features.shape[1]))"),
     ("        spent = after", "        spent = after\n        kept = weight")),
    ("sorts the caller's people", ("    for step in", "    people.sort()\n    for step in")),
    ("changes the caller's features to length 1",
     ("    for step in", "    features /= np.linalg.norm(features, axis=1, keepdims=True)\n    for step in")),
    ("the weight alone", ("return weight, spent, history", "return weight")),
):
    wrong.cell("dp_sgd", why, loop(*changes))


@wrong("dp_sgd", "calls the library's loop")
def loop_by_library(features, labels, people, classes, config, noise_multiplier, generator):
    return privacy.dp_sgd(features, labels, people, classes, config, noise_multiplier, generator)


right.cell("dp_sgd", "all people in a table, those who were not drawn with zeros", loop())
right.cell("dp_sgd", "with the library's parts", loop(
    ("rdp_epsilon(", "privacy.rdp_epsilon("), ("per_example_gradients(", "privacy.per_example_gradients("),
    ("clip_and_noise(", "privacy.clip_and_noise(")))


@right("dp_sgd", "counts the steps that keep the budget first")
def counts_first(features, labels, people, classes, config, noise_multiplier, generator):
    budgets = []
    while len(budgets) < config.steps:
        budget = rdp_epsilon(noise_multiplier, config.sample_rate, len(budgets) + 1, config.delta)
        if not budget <= config.epsilon:
            break
        budgets.append(budget)
    m, w, history = max(people) + 1, np.zeros((classes, features.shape[1])), []
    members = [np.where(people == person)[0] for person in range(m)]
    for t, budget in enumerate(budgets):
        chosen = np.nonzero(generator.random(m) < config.sample_rate)[0]
        table = [sum(per_example_gradients(w, features[members[p]], labels[members[p]])) for p in chosen]
        table = np.array(table).reshape(len(chosen), w.size)
        g = clip_and_noise(table, config.max_norm, noise_multiplier, generator.normal(size=w.size), m * config.sample_rate)
        w = w - config.rate(t) * g.reshape(classes, -1)
        history.append({"length": float(np.sqrt(g @ g)), "epsilon": float(budget)})
    return w, budgets[-1] if budgets else 0.0, history


@right("dp_sgd", "a matrix of who wrote what, weight changed in place, a tuple of dicts")
def by_matrix(features, labels, people, classes, config, noise_multiplier, generator):
    weight, history, spent, step = np.zeros((classes, features.shape[1])), (), 0, 0
    wrote = (np.arange(people.max() + 1)[:, None] == people[None]).astype(float)
    while step < config.steps:
        step += 1
        budget = rdp_epsilon(noise_multiplier, config.sample_rate, step, config.delta)
        if budget > config.epsilon:
            return weight, spent, history
        drawn = generator.random(len(wrote)) < config.sample_rate
        sums = wrote[drawn] @ per_example_gradients(weight, features, labels)
        noise = generator.normal(size=weight.size)
        private = clip_and_noise(sums, config.max_norm, noise_multiplier, noise, config.sample_rate * len(wrote))
        weight -= config.rate(step - 1) * private.reshape(weight.shape)
        spent = budget
        history += ({"epsilon": spent, "length": np.linalg.norm(private)},)
    return weight, spent, history


# -- paired_interval --------------------------------------------------------------------------------------------------


@wrong("paired_interval", "draws the two lists apart")
def unpaired(first, second, resamples):
    means = first[resamples].mean(dim=1) - second[resamples.flip(0)].mean(dim=1)
    low, high = np.quantile(means.numpy(), [0.025, 0.975])
    return float((first - second).mean()), float(low), float(high)


@wrong("paired_interval", "second minus first")
def turned_round(first, second, resamples):
    return fairness.paired_interval(second, first, resamples)


@wrong("paired_interval", "a 90 % interval")
def ninety(first, second, resamples):
    return fairness.paired_interval(first, second, resamples, level=0.90)


@wrong("paired_interval", "quantiles of the texts' differences, no resampling")
def of_differences(first, second, resamples):
    low, high = np.quantile((first - second).numpy(), [0.025, 0.975])
    return float((first - second).mean()), float(low), float(high)


@wrong("paired_interval", "the smallest and the largest mean")
def extremes(first, second, resamples):
    means = (first - second)[resamples].mean(dim=1)
    return float((first - second).mean()), float(means.min()), float(means.max())


@wrong("paired_interval", "low and high exchanged")
def exchanged(first, second, resamples):
    difference, low, high = fairness.paired_interval(first, second, resamples)
    return difference, high, low


@wrong("paired_interval", "two standard deviations of the texts, not of the mean")
def wide(first, second, resamples):
    differences = first - second
    mean, sd = differences.mean(), differences.std()
    return float(mean), float(mean - 2 * sd), float(mean + 2 * sd)


@wrong("paired_interval", "calls the library's function")
def paired_by_library(first, second, resamples):
    return fairness.paired_interval(first, second, resamples)


@right("paired_interval", "a loop, with torch.quantile")
def paired_by_loop(first, second, resamples):
    means = torch.stack([first[rows].mean() - second[rows].mean() for rows in resamples])
    return (first.mean() - second.mean()).item(), torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()


@wrong("paired_interval", "the size of each difference, without its sign")
def without_sign(first, second, resamples):
    differences = (first - second).abs()
    means = differences[resamples].mean(dim=1)
    low, high = np.quantile(means.numpy(), [0.025, 0.975])
    return float(differences.mean()), float(low), float(high)


@wrong("paired_interval", "the mean of the draws in place of the difference")
def mean_of_draws(first, second, resamples):
    means = (first - second)[resamples].mean(dim=1)
    low, high = np.quantile(means.numpy(), [0.025, 0.975])
    return float(means.mean()), float(low), float(high)


@wrong("paired_interval", "draws again by itself")
def draws_again(first, second, resamples):
    differences = first - second
    draws = torch.randint(len(first), resamples.shape)
    low, high = np.quantile(differences[draws].mean(dim=1).numpy(), [0.025, 0.975])
    return float(differences.mean()), float(low), float(high)


@wrong("paired_interval", "subtracts in the caller's scores")
def subtracts_in_place(first, second, resamples):
    first -= second
    low, high = np.quantile(first[resamples].mean(dim=1).numpy(), [0.025, 0.975])
    return float(first.mean()), float(low), float(high)


@wrong("paired_interval", "the value next to the quantile, none between")
def nearest_value(first, second, resamples):
    differences = first - second
    means = np.sort(differences[resamples].mean(dim=1).numpy())
    n = len(means)
    return float(differences.mean()), float(means[int(0.025 * n)]), float(means[int(0.975 * n)])


@wrong("paired_interval", "the mean over the draws in place of the texts")
def mean_of_columns(first, second, resamples):
    differences = first - second
    means = differences[resamples].mean(dim=0)
    low, high = np.quantile(means.numpy(), [0.025, 0.975])
    return float(differences.mean()), float(low), float(high)


@right("paired_interval", "a numpy array of three numbers, with percentile")
def with_percentile(first, second, resamples):
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    means = [difference[draw].mean() for draw in np.asarray(resamples)]
    return np.array([difference.mean(), *np.percentile(means, [2.5, 97.5])])


@right("paired_interval", "a list of tensors")
def with_gather(first, second, resamples):
    d = (first - second).expand(len(resamples), -1).gather(1, resamples)
    low, high = torch.quantile(d.mean(1), torch.tensor([0.025, 0.975]))
    return [first.mean() - second.mean(), low, high]


@right("paired_interval", "with pandas")
def paired_pandas(first, second, resamples):
    frame = pd.DataFrame({"first": first.numpy(), "second": second.numpy()})
    difference = frame["first"] - frame["second"]
    means = pd.Series([difference.iloc[draw].mean() for draw in resamples.numpy()])
    return difference.mean(), means.quantile(0.025), means.quantile(0.975)


# -- small numbers, equal things, what is kept from call to call ----------------------------------------------------------


wrong.cell(
    "deduplicate",
    "counts repeated words in both",
    r"""
from collections import Counter
def deduplicate(texts, threshold):
    k, ks = [], []
    for i, t in enumerate(texts):
        a = Counter(re.findall(r"\w+", t.lower()))
        if all(sum((a & b).values()) / sum((a | b).values()) < threshold for b in ks):
            k.append(i)
            ks.append(a)
    return k
""",
)


wrong.cell(
    "deduplicate",
    "takes the marks off the letters",
    r"""
import unicodedata
def deduplicate(texts, threshold):
    k, ks = [], []
    for i, t in enumerate(texts):
        t = "".join(c for c in unicodedata.normalize("NFKD", t.lower()) if not unicodedata.combining(c))
        a = set(re.findall(r"\w+", t))
        if all(len(a & b) / len(a | b) < threshold for b in ks):
            k.append(i)
            ks.append(a)
    return k
""",
)


@right("paired_interval", "numbers of torch")
def paired_interval_5(first, second, resamples):
    d = first - second
    m = d[resamples].mean(1)
    q = torch.quantile(m, torch.tensor([0.025, 0.975], dtype=m.dtype))
    return d.mean(), q[0], q[1]


@right("paired_interval", "how often each text was drawn, as weights")
def paired_interval_6(first, second, resamples):
    d = (first - second).numpy().astype(np.float64)
    n = len(d)
    weights = np.stack([np.bincount(row, minlength=n) for row in resamples.numpy()]) / n
    low, high = np.percentile(weights @ d, (2.5, 97.5))
    return np.mean(d), low, high


@right("paired_interval", "with loops, as a list")
def paired_interval_7(first, second, resamples):
    gaps = [float(a) - float(b) for a, b in zip(first, second)]
    means = [sum(gaps[i] for i in row) / len(row) for row in resamples.tolist()]
    return [sum(gaps) / len(gaps), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))]


@wrong("membership_attack", "rounds the number of false alarms that are allowed")
def membership_attack_rounded(member_losses, other_losses, most_false):
    d = other_losses[None] - member_losses[:, None]
    auc = float((d > 0).double().mean() + (d == 0).double().mean() / 2)
    allowed, ranked = round(most_false * len(other_losses)), other_losses.sort().values
    limit = ranked[allowed] if allowed < len(ranked) else float("inf")
    return auc, float((member_losses < limit).double().mean())


# -- private_head -----------------------------------------------------------------------------------------------------


def again(trained, change_weight=None, **card_changes):
    """The trained artifact with another weight or other claims on its card."""
    from leaplm import artifacts
    from torch import nn

    [content] = trained.values()
    card, tensors = artifacts.read_artifact(content)
    weight = tensors["weight"].float()
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    head.weight.data = weight if change_weight is None else change_weight(weight)
    artifacts.save_artifact("changed.safetensors", head, None, {**card, **card_changes})
    with open("changed.safetensors", "rb") as file:
        return {"private-head-cpu.safetensors": file.read()}


@wrong.artifact("private_head", "claims a smaller budget than its noise allows")
def claims_less(trained):
    return again(trained, epsilon=1.0)


@wrong.artifact("private_head", "claims more noise than was added: no such trace")
def claims_noise(trained):
    return again(trained, noise_multiplier=20.0, epsilon=1.0)


@wrong.artifact("private_head", "trained without noise, the card says otherwise")
def no_noise(trained):
    return again(trained, lambda weight: weight - weight.mean(dim=0))


@wrong.artifact("private_head", "too little noise, honestly said")
def large_budget(trained):
    return again(trained, noise_multiplier=0.9, epsilon=40.0)


@wrong.artifact("private_head", "delta of one half")
def large_delta(trained):
    return again(trained, delta=0.5, epsilon=1.0)


@wrong.artifact("private_head", "weights of noise alone")
def only_noise(trained):
    def noise(weight):
        common = weight.mean(dim=0)
        return common.expand_as(weight).clone()

    return again(trained, noise)


@wrong.artifact("private_head", "trained without privacy, and one random vector of the right size added to all its rows")
def noise_afterwards(trained):
    """The sum over the classes is as large as honest noise makes it; the differences, which decide, have none."""
    import torch

    def faked(weight):
        vector = torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(1))
        common = weight.mean(dim=0)
        return weight - common + vector * common.norm() / vector.norm()

    return again(trained, faked)


@wrong.artifact("private_head", "another seed on the card")
def another_seed(trained):
    return again(trained, seed=7)


@wrong.artifact("private_head", "claims a budget that is far too large")
def claims_much(trained):
    return again(trained, epsilon=99.0)


@wrong.artifact("private_head", "a seed that is no whole number")
def half_a_seed(trained):
    return again(trained, seed=0.5)


@wrong.artifact("private_head", "a learning rate beyond all numbers")
def endless_rate(trained):
    return again(trained, learning_rate=1e308)


@wrong.artifact("private_head", "a million million steps")
def endless_steps(trained):
    return again(trained, steps=10**12)


@wrong.artifact("private_head", "the classes exchanged")
def classes_exchanged(trained):
    return again(trained, lambda weight: weight.flip(0))


@wrong.artifact("private_head", "cut off half way")
def cut_off(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("private_head", "empty folder")
def nothing():
    return {}


@wrong.artifact("private_head", "a card without its numbers")
def no_numbers(trained):
    return again(trained, steps=None, sample_rate=None)


@right.artifact("private_head", "saved under the name of a run on a GPU")
def from_gpu(trained):
    [content] = trained.values()
    return {"private-head-gpu.safetensors": content}


@right.artifact("private_head", "claims a little more than was spent")
def cautious(trained):
    return again(trained, epsilon=8.0)


@right.artifact("private_head", "as the lab saved it")
def as_saved(trained):
    return dict(trained)


@right.artifact("private_head", "saved again, with a note on the card")
def with_a_note(trained):
    return again(trained, note="trained at night")
