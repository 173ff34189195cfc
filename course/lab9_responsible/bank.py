"""Bank of lab 9: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, math, re, privacy, artifacts, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905

# -- exposure ---------------------------------------------------------------------------------------------------------


@wrong("exposure", "|R| without the secret itself")
def without_itself(secret_loss, candidate_losses):
    rank = 1 + int((candidate_losses < secret_loss).sum())
    return math.log2(len(candidate_losses)) - math.log2(rank)


@wrong("exposure", "the rank from the wrong end: a large loss is best")
def from_the_end(secret_loss, candidate_losses):
    rank = 1 + int((candidate_losses > secret_loss).sum())
    return math.log2(len(candidate_losses) + 1) - math.log2(rank)


@wrong("exposure", "natural logarithm: nats, not bits")
def in_nats(secret_loss, candidate_losses):
    rank = 1 + int((candidate_losses < secret_loss).sum())
    return math.log(len(candidate_losses) + 1) - math.log(rank)


@wrong("exposure", "only the rank, the number of secrets is forgotten")
def only_rank(secret_loss, candidate_losses):
    return -math.log2(1 + int((candidate_losses < secret_loss).sum()))


@wrong("exposure", "the difference of the mean loss and the secret's")
def difference_of_losses(secret_loss, candidate_losses):
    return float(candidate_losses.mean() - secret_loss)


@wrong("exposure", "equal losses stand before the secret")
def ties_before(secret_loss, candidate_losses):
    rank = 1 + int((candidate_losses <= secret_loss).sum())
    return math.log2(len(candidate_losses) + 1) - math.log2(rank)


@wrong("exposure", "the rank begins at 0")
def rank_from_zero(secret_loss, candidate_losses):
    rank = max(int((candidate_losses < secret_loss).sum()), 1)
    return math.log2(len(candidate_losses) + 1) - math.log2(rank)


@right("exposure", "by sorting")
def by_sorting(secret_loss, candidate_losses):
    rank = int(np.searchsorted(np.sort(np.asarray(candidate_losses)), secret_loss, side="left")) + 1
    return float(np.log2((len(candidate_losses) + 1) / rank))


@right("exposure", "minus the logarithm of a share, as a tensor")
def as_a_share(secret_loss, candidate_losses):
    better = (candidate_losses < secret_loss).double().sum()
    return -torch.log2((better + 1) / (len(candidate_losses) + 1))


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


@right("deduplicate", "with the library")
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


@right("membership_attack", "with the library")
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


# -- clip_and_noise ---------------------------------------------------------------------------------------------------


@wrong("clip_and_noise", "clips the mean gradient, as ordinary training does")
def clips_the_mean(gradients, max_norm, noise_multiplier, normal, expected_batch):
    mean = gradients.sum(dim=0) / expected_batch
    mean = mean * (max_norm / mean.norm().clamp(min=1e-12)).clamp(max=1)
    return mean + noise_multiplier * max_norm * normal / expected_batch


@wrong("clip_and_noise", "makes every row max_norm long, short ones too")
def normalizes(gradients, max_norm, noise_multiplier, normal, expected_batch):
    rows = nn.functional.normalize(gradients, dim=1) * max_norm
    return (rows.sum(dim=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "clips each number instead of each row's length")
def clips_numbers(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return (gradients.clamp(-max_norm, max_norm).sum(dim=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "no clipping")
def no_clipping(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return (gradients.sum(dim=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "divides by the number of rows")
def by_rows(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return privacy.clip_and_noise(gradients, max_norm, noise_multiplier, normal, len(gradients))


@wrong("clip_and_noise", "noise does not grow with max_norm")
def small_noise(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return privacy.clip_and_noise(gradients, max_norm, noise_multiplier / max_norm, normal, expected_batch)


@wrong("clip_and_noise", "adds the noise after dividing")
def noise_after(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return privacy.clip_and_noise(gradients, max_norm, noise_multiplier * expected_batch, normal, expected_batch)


@wrong("clip_and_noise", "noise once for every row")
def noise_each_row(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return privacy.clip_and_noise(gradients, max_norm, noise_multiplier * len(gradients), normal, expected_batch)


@wrong("clip_and_noise", "a row of zeros gives not-a-number")
def zero_by_zero(gradients, max_norm, noise_multiplier, normal, expected_batch):
    lengths = gradients.norm(dim=1, keepdim=True)
    clipped = gradients / lengths * lengths.clamp(max=max_norm)
    return (clipped.sum(dim=0) + noise_multiplier * max_norm * normal) / expected_batch


@right("clip_and_noise", "a loop over the rows")
def looped(gradients, max_norm, noise_multiplier, normal, expected_batch):
    total = noise_multiplier * max_norm * normal
    for row in gradients:
        total = total + (row * (max_norm / row.norm()) if row.norm() > max_norm else row)
    return total / expected_batch


@right("clip_and_noise", "with renorm, which clips rows")
def with_renorm(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return (torch.renorm(gradients, 2, 0, max_norm).sum(0) + noise_multiplier * max_norm * normal) / expected_batch


@right("clip_and_noise", "divides by the larger of 1 and length / max_norm")
def by_maximum(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factors = torch.maximum(torch.ones(len(gradients)), gradients.norm(dim=1) / max_norm)
    return ((gradients / factors[:, None]).sum(0) + normal * noise_multiplier * max_norm) / expected_batch


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


@right("paired_interval", "with the library")
def paired_by_library(first, second, resamples):
    return fairness.paired_interval(first, second, resamples)


@right("paired_interval", "a loop, with torch.quantile")
def paired_by_loop(first, second, resamples):
    means = torch.stack([first[rows].mean() - second[rows].mean() for rows in resamples])
    return (first.mean() - second.mean()).item(), torch.quantile(means, 0.025).item(), torch.quantile(means, 0.975).item()


# -- erase ------------------------------------------------------------------------------------------------------------


@wrong("erase", "rounds the number of words down")
def rounded_down(words, scores, share):
    return explanations.erase(words, scores, int(share * len(words)) / len(words))


@wrong("erase", "the largest sizes, signs left out")
def by_size(words, scores, share):
    return explanations.erase(words, scores.abs(), share)


@wrong("erase", "the two texts exchanged")
def texts_exchanged(words, scores, share):
    rest, chosen = explanations.erase(words, scores, share)
    return chosen, rest


@wrong("erase", "important words in the order of their scores")
def in_score_order(words, scores, share):
    order = scores.argsort(descending=True)[: math.ceil(share * len(words))].tolist()
    return explanations.erase(words, scores, share)[0], " ".join(words[i] for i in order)


@wrong("erase", "takes every place of an important word out")
def by_word(words, scores, share):
    order = scores.argsort(descending=True)[: math.ceil(share * len(words))].tolist()
    chosen = {words[i] for i in order}
    return (" ".join(word for word in words if word not in chosen), " ".join(word for word in words if word in chosen))


@wrong("erase", "the least important words")
def least_important(words, scores, share):
    return explanations.erase(words, -scores, share)


@wrong("erase", "the first words, whatever their scores")
def first_words(words, scores, share):
    number = math.ceil(share * len(words))
    return " ".join(words[number:]), " ".join(words[:number])


@right("erase", "with the library")
def erase_by_library(words, scores, share):
    return explanations.erase(words, scores, share)


@right("erase", "with topk and a mask")
def with_topk(words, scores, share):
    mask = torch.zeros(len(words), dtype=torch.bool)
    mask[scores.topk(math.ceil(share * len(words))).indices] = True
    return (" ".join(w for w, m in zip(words, mask) if not m), " ".join(w for w, m in zip(words, mask) if m))


# -- risky_rows -------------------------------------------------------------------------------------------------------


@wrong("risky_rows", "k or fewer instead of fewer than k")
def k_or_fewer(rows, columns, k):
    return privacy.risky_rows(rows, columns, k + 1)


@wrong("risky_rows", "each column by itself")
def each_column(rows, columns, k):
    return sorted({number for column in columns for number in privacy.risky_rows(rows, [column], k)})


@wrong("risky_rows", "all columns of the table")
def all_columns(rows, columns, k):
    return privacy.risky_rows(rows, list(rows[0]), k)


@wrong("risky_rows", "only rows that are alone")
def only_alone(rows, columns, k):
    return privacy.risky_rows(rows, columns, 2)


@wrong("risky_rows", "the rows that are safe")
def safe_rows(rows, columns, k):
    risky = privacy.risky_rows(rows, columns, k)
    return [number for number in range(len(rows)) if number not in risky]


@wrong("risky_rows", "does not count the row itself")
def not_itself(rows, columns, k):
    return privacy.risky_rows(rows, columns, k + 1) if k > 1 else []


@wrong("risky_rows", "one row of each small group")
def one_of_each(rows, columns, k):
    seen, found = set(), []
    for number in privacy.risky_rows(rows, columns, k):
        key = tuple(rows[number][column] for column in columns)
        if key not in seen:
            found.append(number)
        seen.add(key)
    return found


@right("risky_rows", "with pandas")
def with_pandas(rows, columns, k):
    table = pd.DataFrame(rows)
    sizes = table.groupby(list(columns))[columns[0]].transform("size")
    return [int(number) for number in table.index[sizes < k]]


@right("risky_rows", "two loops")
def two_loops(rows, columns, k):
    found = []
    for number, row in enumerate(rows):
        if sum(all(row[c] == other[c] for c in columns) for other in rows) < k:
            found.append(number)
    return found


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
    return again(trained, epsilon=8.5)
