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


@right("exposure", "as a tensor")
def as_a_share(secret_loss, candidate_losses):
    better = (candidate_losses < secret_loss).double().sum()
    return -torch.log2((better + 1) / (len(candidate_losses) + 1))


@wrong("exposure", "calls the library's function by another name")
def exposure_by_vars(secret_loss, candidate_losses):
    return vars(memorization)["exposure"](secret_loss, candidate_losses)


@wrong("exposure", "the mean rank of equal losses")
def mean_rank(secret_loss, candidate_losses):
    rank = 1 + float((candidate_losses < secret_loss).sum()) + float((candidate_losses == secret_loss).sum()) / 2
    return math.log2(len(candidate_losses) + 1) - math.log2(rank)


@wrong("exposure", "writes the secret into the caller's losses")
def writes_secret(secret_loss, candidate_losses):
    rank = 1 + int((candidate_losses < secret_loss).sum())
    candidate_losses[0] = secret_loss
    return math.log2(len(candidate_losses) + 1) - math.log2(rank)


@wrong("exposure", "rounded to whole bits")
def whole_bits(secret_loss, candidate_losses):
    rank = 1 + int((candidate_losses < secret_loss).sum())
    return round(math.log2((len(candidate_losses) + 1) / rank))


@right("exposure", "in numpy, all losses together")
def all_together(secret_loss, candidate_losses):
    everyone = np.append(candidate_losses.numpy(), np.float32(secret_loss))
    return np.log2(len(everyone)) - np.log2(sum(everyone < np.float32(secret_loss)) + 1)


@right("exposure", "a loop that counts")
def counting(secret_loss, candidate_losses):
    rank = 1
    for loss in candidate_losses:
        if loss.item() < secret_loss:
            rank += 1
    return math.log2(1 + candidate_losses.numel()) - math.log(rank, 2)


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


@wrong("clip_and_noise", "clips the caller's gradients in place")
def clips_in_place(gradients, max_norm, noise_multiplier, normal, expected_batch):
    gradients *= (max_norm / gradients.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    return (gradients.sum(dim=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "draws noise of its own")
def own_noise(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factor = (max_norm / gradients.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    return ((gradients * factor).sum(0) + noise_multiplier * max_norm * torch.randn_like(normal)) / expected_batch


@wrong("clip_and_noise", "the sum of the sizes in place of the length")
def l1_length(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factor = (max_norm / gradients.abs().sum(1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    return ((gradients * factor).sum(dim=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "the largest number in place of the length")
def largest_length(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factor = (max_norm / gradients.abs().amax(1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    return ((gradients * factor).sum(dim=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "a list, with which nothing can be computed")
def as_list(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factor = (max_norm / gradients.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    return (((gradients * factor).sum(dim=0) + noise_multiplier * max_norm * normal) / expected_batch).tolist()


@wrong("clip_and_noise", "one row alone is squeezed away")
def squeezes(gradients, max_norm, noise_multiplier, normal, expected_batch):
    rows = gradients.squeeze()
    factor = (max_norm / rows.norm(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    return ((rows * factor).sum(dim=0) + noise_multiplier * max_norm * normal) / expected_batch


@wrong("clip_and_noise", "calls the library's function")
def clip_by_library(gradients, max_norm, noise_multiplier, normal, expected_batch):
    return privacy.clip_and_noise(gradients, max_norm, noise_multiplier, normal, expected_batch)


@right("clip_and_noise", "with where, a mask of the long rows")
def with_where(gradients, max_norm, noise_multiplier, normal, expected_batch):
    length = torch.linalg.vector_norm(gradients, dim=1)
    factor = torch.where(length > max_norm, max_norm / length, torch.ones_like(length))
    return (factor @ gradients + noise_multiplier * max_norm * normal) / expected_batch


@right("clip_and_noise", "a tiny number added to the length, as PyTorch does")
def tiny_added(gradients, max_norm, noise_multiplier, normal, expected_batch):
    factor = torch.clamp(max_norm / (gradients.pow(2).sum(1).sqrt() + 1e-6), max=1.0)
    total = torch.einsum("b,bp->p", factor, gradients)
    return total / expected_batch + noise_multiplier * max_norm * normal / expected_batch


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


@wrong("erase", "calls the library's function")
def erase_by_library(words, scores, share):
    return explanations.erase(words, scores, share)


@right("erase", "with topk and a mask")
def with_topk(words, scores, share):
    mask = torch.zeros(len(words), dtype=torch.bool)
    mask[scores.topk(math.ceil(share * len(words))).indices] = True
    return (" ".join(w for w, m in zip(words, mask) if not m), " ".join(w for w, m in zip(words, mask) if m))


@wrong("erase", "the last ones of an ascending order: all of them for none")
def last_of_ascending(words, scores, share):
    number = math.ceil(share * len(words))
    important = set(scores.argsort()[-number:].tolist())
    return (" ".join(w for i, w in enumerate(words) if i not in important),
            " ".join(w for i, w in enumerate(words) if i in important))


@wrong("erase", "one more than asked for where the share is a whole number")
def one_more(words, scores, share):
    important = set(scores.argsort(descending=True)[: int(share * len(words)) + 1].tolist())
    return (" ".join(w for i, w in enumerate(words) if i not in important),
            " ".join(w for i, w in enumerate(words) if i in important))


@wrong("erase", "takes the words out of the caller's list")
def takes_words(words, scores, share):
    important = sorted(scores.argsort(descending=True)[: math.ceil(share * len(words))].tolist())
    chosen = [words[i] for i in important]
    for i in reversed(important):
        words.pop(i)
    return " ".join(words), " ".join(chosen)


@wrong("erase", "lists of words in place of strings")
def as_lists(words, scores, share):
    important = set(scores.argsort(descending=True)[: math.ceil(share * len(words))].tolist())
    return [w for i, w in enumerate(words) if i not in important], [w for i, w in enumerate(words) if i in important]


@wrong("erase", "two spaces where a word was")
def leaves_gaps(words, scores, share):
    important = set(scores.argsort(descending=True)[: math.ceil(share * len(words))].tolist())
    return (" ".join("" if i in important else w for i, w in enumerate(words)),
            " ".join(w for i, w in enumerate(words) if i in important))


@right("erase", "pairs sorted by score, then by place")
def by_pairs(words, scores, share):
    order = sorted(range(len(words)), key=lambda i: -float(scores[i]))
    chosen = sorted(order[: math.ceil(share * len(words))])
    return [" ".join(w for i, w in enumerate(words) if i not in chosen), " ".join(words[i] for i in chosen)]


@right("erase", "with numpy's argsort and delete")
def with_delete(words, scores, share):
    places = np.argsort(-scores.numpy(), kind="stable")[: math.ceil(share * len(words))]
    array = np.array(words, dtype=object)
    return " ".join(np.delete(array, places)), " ".join(array[np.sort(places)])


@right("erase", "a loop that takes the best that is left")
def best_left(words, scores, share):
    left, values = dict(enumerate(words)), scores.tolist()
    chosen = {}
    for _ in range(math.ceil(share * len(words))):
        best = max(left, key=values.__getitem__)
        chosen[best] = left.pop(best)
    return " ".join(left.values()), " ".join(chosen[i] for i in sorted(chosen))


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


@wrong("risky_rows", "glues the values together")
def glues(rows, columns, k):
    keys = ["".join(str(row[column]) for column in columns) for row in rows]
    return [number for number, key in enumerate(keys) if keys.count(key) < k]


@wrong("risky_rows", "glues the values together with a blank")
def glues_with_blank(rows, columns, k):
    keys = [" ".join(str(row[column]) for column in columns) for row in rows]
    return [number for number, key in enumerate(keys) if keys.count(key) < k]


@wrong("risky_rows", "only the first column")
def as_sets(rows, columns, k):
    keys = [frozenset(str(row[column]) for column in columns[:1]) for row in rows]
    return [number for number, key in enumerate(keys) if keys.count(key) < k]


@wrong("risky_rows", "leaves a key in the caller's rows")
def leaves_key(rows, columns, k):
    for row in rows:
        row["key"] = str([row[column] for column in columns])
    keys = [row["key"] for row in rows]
    return [number for number, key in enumerate(keys) if keys.count(key) < k]


@wrong("risky_rows", "the rows themselves, not their numbers")
def rows_themselves(rows, columns, k):
    keys = [tuple(row[column] for column in columns) for row in rows]
    return [row for row, key in zip(rows, keys) if keys.count(key) < k]


@wrong("risky_rows", "calls the library's function")
def risky_by_library(rows, columns, k):
    return privacy.risky_rows(rows, columns, k)


@right("risky_rows", "with Counter")
def with_counter(rows, columns, k):
    from collections import Counter
    count = Counter(tuple(row[c] for c in columns) for row in rows)
    return tuple(i for i, row in enumerate(rows) if count[tuple(row[c] for c in columns)] < k)


@right("risky_rows", "groups of numbers, sorted at the end")
def by_groups(rows, columns, k):
    from collections import defaultdict
    groups = defaultdict(list)
    for i, row in enumerate(rows):
        groups[tuple(map(row.get, columns))].append(i)
    return np.array(sorted(i for group in groups.values() if len(group) < k for i in group), dtype=int)


# -- small numbers, equal things, what is kept from call to call ----------------------------------------------------------


@wrong("exposure", "a loss a little below the secret's does not count")
def exposure_0(secret_loss, candidate_losses):
    return math.log2(len(candidate_losses) + 1) - math.log2(1 + int((candidate_losses < secret_loss - 1e-3).sum()))


@right("exposure", "the rank by a search in the sorted losses")
def exposure_1(secret_loss, candidate_losses):
    ordered = np.sort(candidate_losses.numpy())
    rank = np.searchsorted(ordered, np.float32(secret_loss) if ordered.dtype == np.float32 else secret_loss, side="left") + 1
    return float(np.log2((ordered.size + 1) / rank))


@right("exposure", "with NumPy's logarithms")
def exposure_2(secret_loss, candidate_losses):
    better = np.count_nonzero(np.asarray(candidate_losses) < float(secret_loss))
    return np.log2(len(candidate_losses) + 1) - np.log2(better + 1)


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


@wrong("erase", "all words with at least the last score: too many where some are equal")
def erase_8(words, scores, share):
    k = math.ceil(share * len(words))
    t = scores.sort(descending=True).values[k - 1] if k else float("inf")
    return " ".join(w for i, w in enumerate(words) if scores[i] < t), " ".join(
        w for i, w in enumerate(words) if scores[i] >= t
    )


@wrong("risky_rows", "the values as a set: Kano, Jos is Jos, Kano")
def risky_rows_9(rows, columns, k):
    keys = [frozenset(r[c] for c in columns) for r in rows]
    return [i for i, x in enumerate(keys) if keys.count(x) < k]


@wrong("risky_rows", "capital letters do not count")
def risky_rows_10(rows, columns, k):
    keys = [tuple(r[c].lower() if isinstance(r[c], str) else r[c] for c in columns) for r in rows]
    return [i for i, x in enumerate(keys) if keys.count(x) < k]


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
