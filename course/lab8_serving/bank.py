"""Bank of lab 8: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, compression, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905, B007, B035

# -- latency_summary ------------------------------------------------------------------------------------------------------


@wrong("latency_summary", "numpy's percentile, which draws lines between values")
def interpolated(starts, ends):
    took = np.asarray(ends) - np.asarray(starts)
    return (float(np.percentile(took, 50)), float(np.percentile(took, 95)),
            len(took) / (max(ends) - min(starts)))


@wrong("latency_summary", "throughput from the sum of the latencies, as if requests never overlapped")
def one_by_one(starts, ends):
    took = np.sort(np.asarray(ends) - np.asarray(starts))
    return took[int(np.ceil(.5 * len(took))) - 1], took[int(np.ceil(.95 * len(took))) - 1], len(took) / took.sum()


@wrong("latency_summary", "forgets to sort")
def unsorted(starts, ends):
    took = np.asarray(ends) - np.asarray(starts)
    n = len(took)
    return took[int(np.ceil(.5 * n)) - 1], took[int(np.ceil(.95 * n)) - 1], n / (max(ends) - min(starts))


@wrong("latency_summary", "counts places from 0")
def place_too_high(starts, ends):
    took = np.sort(np.asarray(ends) - np.asarray(starts))
    n = len(took)
    return took[min(n - 1, int(.5 * n))], took[min(n - 1, int(.95 * n))], n / (max(ends) - min(starts))


@wrong("latency_summary", "the mean instead of p50")
def mean_for_median(starts, ends):
    took = np.sort(np.asarray(ends) - np.asarray(starts))
    return took.mean(), took[int(np.ceil(.95 * len(took))) - 1], len(took) / (max(ends) - min(starts))


@wrong("latency_summary", "in milliseconds")
def milliseconds(starts, ends):
    took = 1000 * np.sort(np.asarray(ends) - np.asarray(starts))
    n = len(took)
    return took[int(np.ceil(.5 * n)) - 1], took[int(np.ceil(.95 * n)) - 1], n / (max(ends) - min(starts))


@right("latency_summary", "numpy's percentile with the method of inverted distribution")
def inverted(starts, ends):
    starts, ends = np.asarray(starts), np.asarray(ends)
    p50, p95 = np.percentile(ends - starts, [50, 95], method="inverted_cdf")
    return p50, p95, len(starts) / (ends.max() - starts.min())


@right("latency_summary", "plain Python, returned as a list")
def plain_lists(starts, ends):
    import math
    took = sorted(float(b) - float(a) for a, b in zip(starts, ends))
    n = len(took)
    return [took[math.ceil(50 * n / 100) - 1], took[math.ceil(95 * n / 100) - 1], n / float(max(ends) - min(starts))]


@wrong("latency_summary", "calls the library")
def latency_by_library(starts, ends):
    from leaplm.compression import latency
    return latency.latency_summary(starts, ends)


@wrong("latency_summary", "sorts the caller's times")
def sorts_times(starts, ends):
    order = sorted(e - s for s, e in zip(starts, ends))
    starts.sort()
    ends.sort()
    n = len(order)
    return order[-(-50 * n // 100) - 1], order[-(-95 * n // 100) - 1], n / (ends[-1] - starts[0])


@wrong("latency_summary", "takes the first request to be the first in the list")
def first_in_list(starts, ends):
    ordered = np.sort(np.asarray(ends) - np.asarray(starts))
    n = len(ordered)
    p50, p95 = (ordered[int(np.ceil(p * n / 100)) - 1] for p in (50, 95))
    return p50, p95, n / (ends[-1] - starts[0])


@wrong("latency_summary", "rounds the place")
def rounds_place(starts, ends):
    starts, ends = np.asarray(starts), np.asarray(ends)
    ordered, n = np.sort(ends - starts), len(starts)
    return ordered[round(0.5 * n) - 1], ordered[round(0.95 * n) - 1], n / (ends.max() - starts.min())


@right("latency_summary", "whole numbers for the place, all in an array")
def whole_places(starts, ends):
    starts, ends = np.asarray(starts), np.asarray(ends)
    ordered, n = np.sort(ends - starts), len(starts)
    return np.array([ordered[(50 * n + 99) // 100 - 1], ordered[(95 * n + 99) // 100 - 1], n / (ends.max() - starts.min())])


@right("latency_summary", "with torch")
def with_torch(starts, ends):
    starts, ends = torch.as_tensor(np.array(starts)), torch.as_tensor(np.array(ends))
    took, n = (ends - starts).sort().values, len(starts)
    p50, p95 = (took[int(torch.ceil(torch.tensor(p * n / 100))) - 1] for p in (50, 95))
    return p50, p95, n / (ends.max() - starts.min())


# -- quantize_int8 --------------------------------------------------------------------------------------------------------


@wrong("quantize_int8", "one scale for the whole matrix")
def per_matrix(weight):
    scale = weight.abs().max() / 127
    return (weight / scale).round().to(torch.int8), scale.repeat(len(weight))


@wrong("quantize_int8", "a scale for each column")
def per_column(weight):
    scale = weight.abs().amax(dim=0) / 127
    return (weight / scale).round().to(torch.int8), scale


@wrong("quantize_int8", "cuts off instead of rounding")
def truncated(weight):
    largest = weight.abs().amax(dim=1)
    scale = torch.where(largest == 0, 1.0, largest / 127)
    return (weight / scale[:, None]).to(torch.int8), scale


@wrong("quantize_int8", "divides a row of zeros by zero")
def zero_row(weight):
    scale = weight.abs().amax(dim=1) / 127
    return (weight / scale[:, None]).nan_to_num().round().to(torch.int8), scale


@wrong("quantize_int8", "the largest number instead of the largest absolute value")
def without_abs(weight):
    largest = weight.amax(dim=1)
    scale = torch.where(largest == 0, 1.0, largest / 127)
    return (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8), scale


@wrong("quantize_int8", "128 levels, which overflow")
def overflows(weight):
    largest = weight.abs().amax(dim=1)
    scale = torch.where(largest == 0, 1.0, largest / 128)
    return (weight / scale[:, None]).round().to(torch.int8), scale


@wrong("quantize_int8", "keeps the rounded numbers as floats")
def still_floats(weight):
    largest = weight.abs().amax(dim=1)
    scale = torch.where(largest == 0, 1.0, largest / 127)
    return (weight / scale[:, None]).round(), scale


@right("quantize_int8", "row by row")
def row_by_row(weight):
    numbers, scales = torch.zeros(weight.shape, dtype=torch.int8), torch.ones(len(weight))
    for i, row in enumerate(weight):
        if row.abs().max() > 0:
            scales[i] = row.abs().max() / 127
            numbers[i] = torch.round(row / scales[i]).to(torch.int8)
    return numbers, scales


@right("quantize_int8", "in NumPy, multiplied by 127 first")
def in_numpy(weight):
    array = weight.double().numpy()
    largest = np.abs(array).max(axis=1)
    largest[largest == 0] = 127
    numbers = np.rint(array * 127 / largest[:, None]).astype(np.int8)
    return torch.from_numpy(numbers), torch.from_numpy((largest / 127).astype(np.float32))


@wrong("quantize_int8", "64-bit whole numbers: larger than before")
def long_numbers(weight):
    largest = weight.abs().amax(dim=1)
    scales = torch.where(largest == 0, torch.ones_like(largest), largest / 127)
    return (weight / scales[:, None]).round().long(), scales


@wrong("quantize_int8", "calls the library")
def quantize_by_library(weight):
    return compression.quantize_int8(weight)


@wrong("quantize_int8", "divides the caller's weights")
def divides_weights(weight):
    largest = weight.abs().amax(dim=1)
    scales = torch.where(largest == 0, torch.ones_like(largest), largest / 127)
    weight /= scales[:, None]
    return weight.round().to(torch.int8), scales


@wrong("quantize_int8", "one row alone is squeezed away")
def squeezes_row(weight):
    rows = weight.squeeze()
    largest = rows.abs().amax(dim=-1)
    scales = torch.where(largest == 0, torch.ones_like(largest), largest / 127)
    return (rows / scales[..., None]).round().to(torch.int8), scales


@wrong("quantize_int8", "rounds towards plus infinity")
def rounds_up(weight):
    largest = weight.abs().amax(dim=1)
    scales = torch.where(largest == 0, torch.ones_like(largest), largest / 127)
    return (weight / scales[:, None]).ceil().to(torch.int8), scales


@wrong("quantize_int8", "scales and numbers exchanged")
def exchanged(weight):
    largest = weight.abs().amax(dim=1)
    scales = torch.where(largest == 0, torch.ones_like(largest), largest / 127)
    return scales, (weight / scales[:, None]).round().to(torch.int8)


@right("quantize_int8", "clamped, a list of two")
def clamped(weight):
    scales = weight.abs().max(dim=1).values / 127
    scales[scales == 0] = 1.0
    return [torch.clamp(torch.round(weight / scales.unsqueeze(1)), -127, 127).char(), scales]


@right("quantize_int8", "in 64 bits, with masked_fill")
def in_64_bits(weight):
    scales = (weight.double().abs().amax(1) / 127)
    scales = scales.masked_fill(scales == 0, 1)
    return (weight.double() / scales[:, None]).round().type(torch.int8), scales.float()


# -- magnitude_mask -------------------------------------------------------------------------------------------------------


@wrong("magnitude_mask", "sorts by value, so that large negative weights go")
def by_value(weight, share):
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[weight.flatten().argsort(stable=True)[: round(share * weight.numel())]] = False
    return keep.reshape(weight.shape)


@wrong("magnitude_mask", "True for what goes")
def inverted_mask(weight, share):
    return ~compression.magnitude_mask(weight, share)


@wrong("magnitude_mask", "a threshold: of equal weights all go")
def threshold(weight, share):
    n = round(share * weight.numel())
    if n == 0:
        return torch.ones(weight.shape, dtype=torch.bool)
    return weight.abs() > weight.abs().flatten().sort().values[n - 1]


@wrong("magnitude_mask", "a threshold: of equal weights all stay")
def kind_threshold(weight, share):
    n = round(share * weight.numel())
    if n == weight.numel():
        return torch.zeros(weight.shape, dtype=torch.bool)
    return weight.abs() >= weight.abs().flatten().sort().values[n]


@wrong("magnitude_mask", "keeps the share instead of removing it")
def keeps_share(weight, share):
    return compression.magnitude_mask(weight, 1 - share)


@wrong("magnitude_mask", "the share of the largest value as the threshold")
def share_of_largest(weight, share):
    return weight.abs() > share * weight.abs().max()


@wrong("magnitude_mask", "returns the pruned weights, not a mask")
def weights_not_mask(weight, share):
    return weight[compression.magnitude_mask(weight, share)]


@right("magnitude_mask", "NumPy's stable sort")
def numpy_sort(weight, share):
    order = np.argsort(np.abs(weight.numpy()).ravel(), kind="stable")
    keep = np.ones(weight.numel(), dtype=bool)
    keep[order[: int(round(share * weight.numel()))]] = False
    return torch.from_numpy(keep.reshape(tuple(weight.shape)))


@right("magnitude_mask", "plain Python, sorting pairs of size and place")
def sorted_pairs(weight, share):
    flat = weight.flatten().tolist()
    gone = sorted(range(len(flat)), key=lambda i: (abs(flat[i]), i))[: round(share * len(flat))]
    return torch.tensor([i not in set(gone) for i in range(len(flat))]).reshape(weight.shape)


@wrong("magnitude_mask", "numbers 0.0 and 1.0")
def float_mask(weight, share):
    order = weight.abs().flatten().argsort(stable=True)
    keep = torch.ones(weight.numel())
    keep[order[: round(share * weight.numel())]] = 0
    return keep.reshape(weight.shape)


@wrong("magnitude_mask", "rounds down")
def rounds_down(weight, share):
    order = weight.abs().flatten().argsort(stable=True)
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: int(share * weight.numel())]] = False
    return keep.reshape(weight.shape)


@wrong("magnitude_mask", "sets the caller's weights to zero")
def zeroes_weights(weight, share):
    order = weight.abs().flatten().argsort(stable=True)
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: round(share * weight.numel())]] = False
    keep = keep.reshape(weight.shape)
    weight *= keep
    return keep


@wrong("magnitude_mask", "row by row")
def row_wise(weight, share):
    rows = weight.reshape(len(weight), -1)
    order = rows.abs().argsort(dim=1, stable=True)
    keep = torch.ones_like(rows, dtype=torch.bool)
    keep.scatter_(1, order[:, : round(share * rows.shape[1])], False)
    return keep.reshape(weight.shape)


@wrong("magnitude_mask", "calls the library")
def mask_by_library(weight, share):
    return compression.magnitude_mask(weight, share)


@wrong("magnitude_mask", "a flat mask")
def flat_mask(weight, share):
    order = weight.abs().flatten().argsort(stable=True)
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[order[: round(share * weight.numel())]] = False
    return keep


@wrong("magnitude_mask", "of equal weights those go that stand last")
def last_go(weight, share):
    flat = weight.abs().flatten()
    order = flat.flip(0).argsort(stable=True)
    keep = torch.ones(weight.numel(), dtype=torch.bool)
    keep[weight.numel() - 1 - order[: round(share * weight.numel())]] = False
    return keep.reshape(weight.shape)


@right("magnitude_mask", "by rank")
def by_rank(weight, share):
    ranks = weight.abs().flatten().argsort(stable=True).argsort()
    return (ranks >= round(share * weight.numel())).view_as(weight)


@right("magnitude_mask", "with scatter, on a copy of the sizes")
def with_scatter(weight, share):
    sizes = weight.detach().abs().reshape(-1)
    gone = torch.sort(sizes, stable=True).indices[: round(share * sizes.numel())]
    return ~torch.zeros_like(sizes, dtype=torch.bool).scatter(0, gone, True).reshape(weight.shape)


# -- distillation_loss ----------------------------------------------------------------------------------------------------


def _parts(s, t, temperature):
    return (s / temperature).log_softmax(-1), (t / temperature).log_softmax(-1)


@wrong("distillation_loss", "KL the wrong way round")
def reversed_kl(student_logits, teacher_logits, labels, temperature, weight):
    q, p = (student_logits / temperature).log_softmax(-1), (teacher_logits / temperature).log_softmax(-1)
    soft = (q.exp() * (q - p)).sum(-1).mean()
    return weight * temperature**2 * soft + (1 - weight) * torch.nn.functional.cross_entropy(student_logits, labels)


@wrong("distillation_loss", "without T squared")
def no_square(student_logits, teacher_logits, labels, temperature, weight):
    q, p = (student_logits / temperature).log_softmax(-1), (teacher_logits / temperature).log_softmax(-1)
    soft = (p.exp() * (p - q)).sum(-1).mean()
    return weight * soft + (1 - weight) * torch.nn.functional.cross_entropy(student_logits, labels)


@wrong("distillation_loss", "the temperature also in the part with the labels")
def warm_labels(student_logits, teacher_logits, labels, temperature, weight):
    q, p = (student_logits / temperature).log_softmax(-1), (teacher_logits / temperature).log_softmax(-1)
    soft = (p.exp() * (p - q)).sum(-1).mean()
    hard = torch.nn.functional.cross_entropy(student_logits / temperature, labels)
    return weight * temperature**2 * soft + (1 - weight) * hard


@wrong("distillation_loss", "PyTorch's default: a mean over classes too")
def mean_over_classes(student_logits, teacher_logits, labels, temperature, weight):
    q, p = (student_logits / temperature).log_softmax(-1), (teacher_logits / temperature).softmax(-1)
    soft = torch.nn.functional.kl_div(q, p, reduction="mean")
    return weight * temperature**2 * soft + (1 - weight) * torch.nn.functional.cross_entropy(student_logits, labels)


@wrong("distillation_loss", "the two weights swapped")
def swapped_weights(student_logits, teacher_logits, labels, temperature, weight):
    return compression.distillation_loss(student_logits, teacher_logits, labels, temperature, 1 - weight)


@wrong("distillation_loss", "cross-entropy with the teacher: without the teacher's own entropy")
def soft_cross_entropy(student_logits, teacher_logits, labels, temperature, weight):
    q, p = (student_logits / temperature).log_softmax(-1), (teacher_logits / temperature).softmax(-1)
    hard = torch.nn.functional.cross_entropy(student_logits, labels)
    return weight * temperature**2 * -(p * q).sum(-1).mean() + (1 - weight) * hard


@wrong("distillation_loss", "the logarithm of a softmax, which overflows")
def log_of_softmax(student_logits, teacher_logits, labels, temperature, weight):
    q, p = (student_logits / temperature).softmax(-1), (teacher_logits / temperature).softmax(-1)
    soft = (p * (p.log() - q.log())).sum(-1).mean()
    return weight * temperature**2 * soft + (1 - weight) * torch.nn.functional.cross_entropy(student_logits, labels)


@wrong("distillation_loss", "the temperature only for the teacher")
def cold_student(student_logits, teacher_logits, labels, temperature, weight):
    q, p = student_logits.log_softmax(-1), (teacher_logits / temperature).log_softmax(-1)
    soft = (p.exp() * (p - q)).sum(-1).mean()
    return weight * temperature**2 * soft + (1 - weight) * torch.nn.functional.cross_entropy(student_logits, labels)


@right("distillation_loss", "PyTorch's kl_div with batchmean")
def with_kl_div(student_logits, teacher_logits, labels, temperature, weight):
    F = torch.nn.functional
    soft = F.kl_div(F.log_softmax(student_logits / temperature, -1), F.log_softmax(teacher_logits / temperature, -1),
                    reduction="batchmean", log_target=True)
    return weight * temperature**2 * soft + (1 - weight) * F.cross_entropy(student_logits, labels)


@wrong("distillation_loss", "text by text in a loop, as a Python float, from which nothing can learn")
def looped_distillation(student_logits, teacher_logits, labels, temperature, weight):
    total = 0.0
    for z, t, y in zip(student_logits, teacher_logits, labels):
        q, p = (z / temperature).log_softmax(-1), (t / temperature).log_softmax(-1)
        total += float(weight * temperature**2 * (p.exp() * (p - q)).sum() - (1 - weight) * z.log_softmax(-1)[y])
    return total / len(labels)


@wrong("distillation_loss", "no gradient: computed under no_grad")
def under_no_grad(student_logits, teacher_logits, labels, temperature, weight):
    with torch.no_grad():
        s, t = (student_logits / temperature).log_softmax(-1), (teacher_logits / temperature).log_softmax(-1)
        soft = (t.exp() * (t - s)).sum(-1).mean()
        return weight * temperature**2 * soft + (1 - weight) * torch.nn.functional.cross_entropy(student_logits, labels)


@wrong("distillation_loss", "calls the library")
def distil_by_library(student_logits, teacher_logits, labels, temperature, weight):
    return compression.distillation_loss(student_logits, teacher_logits, labels, temperature, weight)


@wrong("distillation_loss", "divides the caller's logits by the temperature")
def logits_in_place(student_logits, teacher_logits, labels, temperature, weight):
    hard = torch.nn.functional.cross_entropy(student_logits, labels)
    teacher_logits /= temperature
    s, t = (student_logits / temperature).log_softmax(-1), teacher_logits.log_softmax(-1)
    return weight * temperature**2 * (t.exp() * (t - s)).sum(-1).mean() + (1 - weight) * hard


@wrong("distillation_loss", "times T in place of T squared")
def times_t(student_logits, teacher_logits, labels, temperature, weight):
    s, t = (student_logits / temperature).log_softmax(-1), (teacher_logits / temperature).log_softmax(-1)
    hard = torch.nn.functional.cross_entropy(student_logits, labels)
    return weight * temperature * (t.exp() * (t - s)).sum(-1).mean() + (1 - weight) * hard


@wrong("distillation_loss", "a sum over the texts")
def sum_over_texts(student_logits, teacher_logits, labels, temperature, weight):
    s, t = (student_logits / temperature).log_softmax(-1), (teacher_logits / temperature).log_softmax(-1)
    hard = torch.nn.functional.cross_entropy(student_logits, labels, reduction="sum")
    return weight * temperature**2 * (t.exp() * (t - s)).sum() + (1 - weight) * hard


@right("distillation_loss", "kl_div with a target in logarithms, the teacher without gradient")
def log_target(student_logits, teacher_logits, labels, temperature, weight):
    F = torch.nn.functional
    ours, theirs = (F.log_softmax(z / temperature, -1) for z in (student_logits, teacher_logits.detach()))
    soft = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return torch.lerp(F.cross_entropy(student_logits, labels), temperature**2 * soft, weight)


@right("distillation_loss", "cross-entropy with the teacher minus the teacher's own entropy")
def minus_entropy(student_logits, teacher_logits, labels, temperature, weight):
    p = (teacher_logits / temperature).softmax(-1)
    cross = -(p * (student_logits / temperature).log_softmax(-1)).sum(-1)
    own = -(p * (teacher_logits / temperature).log_softmax(-1)).sum(-1)
    hard = -student_logits.log_softmax(-1)[torch.arange(len(labels)), labels]
    return (weight * temperature**2 * (cross - own) + (1 - weight) * hard).mean()


@right("distillation_loss", "text by text in a loop")
def loop_of_texts(student_logits, teacher_logits, labels, temperature, weight):
    total = 0
    for s, t, y in zip(student_logits, teacher_logits, labels):
        q, p = torch.log_softmax(s / temperature, 0), torch.log_softmax(t / temperature, 0)
        soft, hard = torch.sum(p.exp() * (p - q)), -torch.log_softmax(s, 0)[y]
        total = total + weight * temperature**2 * soft + (1 - weight) * hard
    return total / len(labels)


# -- collect_batches ------------------------------------------------------------------------------------------------------


@wrong("collect_batches", "the wait counts from the last text")
def sliding_wait(arrivals, max_size, max_wait):
    sizes, sent, batch = [], [], []
    for now in arrivals:
        if batch and (len(batch) == max_size or now > batch[-1] + max_wait):
            sizes, sent = sizes + [len(batch)], sent + [batch[-1] if len(batch) == max_size else batch[-1] + max_wait]
            batch = []
        batch.append(now)
    if batch:
        sizes, sent = sizes + [len(batch)], sent + [batch[-1] if len(batch) == max_size else batch[-1] + max_wait]
    return sizes, sent


@wrong("collect_batches", "a full batch also waits to the end")
def full_waits(arrivals, max_size, max_wait):
    sizes, sent, i = [], [], 0
    while i < len(arrivals):
        n = sum(a <= arrivals[i] + max_wait for a in arrivals[i : i + max_size])
        sizes, sent, i = sizes + [n], sent + [arrivals[i] + max_wait], i + n
    return sizes, sent


@wrong("collect_batches", "each batch goes with its last text, full or not")
def clairvoyant(arrivals, max_size, max_wait):
    sizes, sent, i = [], [], 0
    while i < len(arrivals):
        n = sum(a <= arrivals[i] + max_wait for a in arrivals[i : i + max_size])
        sizes, sent, i = sizes + [n], sent + [arrivals[i + n - 1]], i + n
    return sizes, sent


@wrong("collect_batches", "no limit on the size")
def no_limit(arrivals, max_size, max_wait):
    sizes, sent, i = [], [], 0
    while i < len(arrivals):
        n = sum(a <= arrivals[i] + max_wait for a in arrivals[i:])
        sizes, sent, i = sizes + [n], sent + [arrivals[i] + max_wait], i + n
    return sizes, sent


@wrong("collect_batches", "a text at the moment of closing comes too late")
def strict_end(arrivals, max_size, max_wait):
    sizes, sent, i = [], [], 0
    while i < len(arrivals):
        n = max(1, sum(a < arrivals[i] + max_wait for a in arrivals[i : i + max_size]))
        sizes.append(n)
        sent.append(arrivals[i + n - 1] if n == max_size else arrivals[i] + max_wait)
        i += n
    return sizes, sent


@wrong("collect_batches", "forgets the last batch")
def loses_the_last(arrivals, max_size, max_wait):
    from leaplm.serve.batching import collect_batches as whole
    sizes, sent = whole(arrivals, max_size, max_wait)
    return sizes[:-1], sent[:-1]


@wrong("collect_batches", "fixed windows from time 0")
def fixed_windows(arrivals, max_size, max_wait):
    wait = max_wait or 1e-3
    windows = {}
    for a in arrivals:
        windows.setdefault(int(a // wait), []).append(a)
    return [len(v) for v in windows.values()], [(k + 1) * wait for k in windows]


@right("collect_batches", "text by text, with an open batch")
def open_batch(arrivals, max_size, max_wait):
    sizes, sent, count, opened = [], [], 0, None
    for now in arrivals:
        if count and now > opened + max_wait:
            sizes.append(count)
            sent.append(opened + max_wait)
            count = 0
        if not count:
            opened = now
        count += 1
        if count == max_size:
            sizes.append(count)
            sent.append(now)
            count = 0
    if count:
        sizes.append(count)
        sent.append(opened + max_wait)
    return sizes, sent


@right("collect_batches", "with NumPy's searchsorted, as arrays")
def searched(arrivals, max_size, max_wait):
    times, sizes, sent, i = np.asarray(arrivals, dtype=float), [], [], 0
    while i < len(times):
        end = min(i + max_size, int(np.searchsorted(times, times[i] + max_wait, side="right")))
        sizes.append(end - i)
        sent.append(times[end - 1] if end - i == max_size else times[i] + max_wait)
        i = end
    return np.array(sizes, dtype=int), np.array(sent)


@wrong("collect_batches", "takes the arrivals out of the caller's list")
def takes_arrivals(arrivals, max_size, max_wait):
    sizes, sent = [], []
    while arrivals:
        batch = [arrivals.pop(0)]
        closes = batch[0] + max_wait
        while arrivals and len(batch) < max_size and arrivals[0] <= closes:
            batch.append(arrivals.pop(0))
        sizes.append(len(batch))
        sent.append(batch[-1] if len(batch) == max_size else closes)
    return sizes, sent


@wrong("collect_batches", "calls the library")
def collect_by_library(arrivals, max_size, max_wait):
    from leaplm.serve import batching
    return batching.collect_batches(arrivals, max_size, max_wait)


@wrong("collect_batches", "the texts in place of their number")
def batches_themselves(arrivals, max_size, max_wait):
    batches, sent, first = [], [], 0
    while first < len(arrivals):
        closes, last = arrivals[first] + max_wait, first + 1
        while last < len(arrivals) and last - first < max_size and arrivals[last] <= closes:
            last += 1
        batches.append(list(arrivals[first:last]))
        sent.append(arrivals[last - 1] if last - first == max_size else closes)
        first = last
    return batches, sent


@wrong("collect_batches", "the last batch goes with its last text")
def last_goes_early(arrivals, max_size, max_wait):
    sizes, sent, first = [], [], 0
    while first < len(arrivals):
        closes, last = arrivals[first] + max_wait, first + 1
        while last < len(arrivals) and last - first < max_size and arrivals[last] <= closes:
            last += 1
        sizes.append(last - first)
        sent.append(arrivals[last - 1] if last - first == max_size or last == len(arrivals) else closes)
        first = last
    return sizes, sent


@wrong("collect_batches", "one text too many in a batch")
def one_more_in(arrivals, max_size, max_wait):
    sizes, sent, first = [], [], 0
    while first < len(arrivals):
        closes, last = arrivals[first] + max_wait, first + 1
        while last < len(arrivals) and last - first <= max_size and arrivals[last] <= closes:
            last += 1
        sizes.append(last - first)
        sent.append(arrivals[last - 1] if last - first >= max_size else closes)
        first = last
    return sizes, sent


@right("collect_batches", "a generator of pairs, unzipped")
def of_pairs(arrivals, max_size, max_wait):
    def batches():
        left = list(arrivals)
        while left:
            closes = left[0] + max_wait
            size = sum(time <= closes for time in left[:max_size])
            yield size, (left[size - 1] if size == max_size else closes)
            left = left[size:]
    found = list(batches())
    return [size for size, _ in found], [time for _, time in found]


@right("collect_batches", "by recursion over a queue")
def with_queue(arrivals, max_size, max_wait):
    from collections import deque
    queue, sizes, sent = deque(arrivals), [], []
    while queue:
        start = queue.popleft()
        size, last = 1, start
        while queue and size < max_size and queue[0] - start <= max_wait:
            last, size = queue.popleft(), size + 1
        sizes.append(size)
        sent.append(last if size >= max_size else start + max_wait)
    return tuple(sizes), tuple(sent)


# -- token_bucket ---------------------------------------------------------------------------------------------------------


@wrong("token_bucket", "starts empty")
def starts_empty(times, rate, capacity):
    out, tokens, before = [], 0.0, times[0]
    for now in times:
        tokens, before = min(capacity, tokens + (now - before) * rate), now
        out.append(tokens >= 1)
        tokens -= out[-1]
    return out


@wrong("token_bucket", "no upper limit: saves up during a pause")
def saves_up(times, rate, capacity):
    out, tokens, before = [], float(capacity), times[0]
    for now in times:
        tokens, before = tokens + (now - before) * rate, now
        out.append(tokens >= 1)
        tokens -= out[-1]
    return out


@wrong("token_bucket", "a refused request takes a token too")
def refusal_costs(times, rate, capacity):
    out, tokens, before = [], float(capacity), times[0]
    for now in times:
        tokens, before = min(capacity, tokens + (now - before) * rate), now
        out.append(tokens >= 1)
        tokens -= 1
    return out


@wrong("token_bucket", "the clock stands still at refusals, and time is counted twice")
def double_time(times, rate, capacity):
    out, tokens, before = [], float(capacity), times[0]
    for now in times:
        tokens = min(capacity, tokens + (now - before) * rate)
        out.append(tokens >= 1)
        if out[-1]:
            tokens, before = tokens - 1, now
    return out


@wrong("token_bucket", "never fills up again")
def never_fills(times, rate, capacity):
    return [i < capacity for i in range(len(times))]


@wrong("token_bucket", "whole tokens only: the rest of the time is lost")
def whole_tokens(times, rate, capacity):
    out, tokens, before = [], int(capacity), times[0]
    for now in times:
        tokens, before = min(capacity, tokens + int((now - before) * rate)), now
        out.append(tokens >= 1)
        tokens -= out[-1]
    return out


@wrong("token_bucket", "allows while anything is left, not only a whole token")
def any_rest(times, rate, capacity):
    out, tokens, before = [], float(capacity), times[0]
    for now in times:
        tokens, before = min(capacity, tokens + (now - before) * rate), now
        out.append(tokens > 0)
        tokens = max(0.0, tokens - out[-1])
    return out


@right("token_bucket", "by the time at which the bucket would be full (virtual scheduling)")
def virtual(times, rate, capacity):
    out, full_at = [], times[0]
    for now in times:
        full_at = max(full_at, now)
        out.append(bool((full_at - now) * rate + 1 <= capacity))
        full_at += 1 / rate if out[-1] else 0
    return out


@wrong("token_bucket", "the library's bucket")
def with_class(times, rate, capacity):
    bucket = keys.TokenBucket(rate, capacity, times[0])
    return np.array([bucket.take(now) == 0 for now in times])


@wrong("token_bucket", "more than a whole token is needed")
def more_than_one(times, rate, capacity):
    allowed, tokens, before = [], float(capacity), times[0]
    for now in times:
        tokens = min(capacity, tokens + (now - before) * rate)
        before = now
        allowed.append(tokens > 1)
        tokens -= allowed[-1]
    return allowed


@wrong("token_bucket", "a window of one second with capacity places")
def window_of_a_second(times, rate, capacity):
    allowed, passed = [], []
    for now in times:
        passed = [t for t in passed if now - t < 1]
        allowed.append(len(passed) < capacity)
        if allowed[-1]:
            passed.append(now)
    return allowed


@wrong("token_bucket", "how many are allowed, not which")
def how_many(times, rate, capacity):
    tokens, before, count = float(capacity), times[0], 0
    for now in times:
        tokens = min(capacity, tokens + (now - before) * rate)
        before = now
        if tokens >= 1:
            tokens, count = tokens - 1, count + 1
    return count


@wrong("token_bucket", "empties the caller's list")
def empties_times(times, rate, capacity):
    allowed, tokens, before = [], float(capacity), times[0]
    while times:
        now = times.pop(0)
        tokens = min(capacity, tokens + (now - before) * rate)
        before = now
        allowed.append(tokens >= 1)
        tokens -= allowed[-1]
    return allowed


@wrong("token_bucket", "may go up to capacity + 1")
def one_above(times, rate, capacity):
    allowed, tokens, before = [], float(capacity), times[0]
    for now in times:
        tokens = min(capacity + 1, tokens + (now - before) * rate)
        before = now
        allowed.append(tokens >= 1)
        tokens -= allowed[-1]
    return allowed


@right("token_bucket", "with a class of one's own")
def own_class(times, rate, capacity):
    class Bucket:
        def __init__(self):
            self.level, self.last = capacity, None
        def ask(self, now):
            if self.last is not None:
                self.level = min(capacity, self.level + rate * (now - self.last))
            self.last = now
            if self.level < 1:
                return False
            self.level -= 1
            return True
    bucket = Bucket()
    return [bucket.ask(now) for now in times]


@right("token_bucket", "counts what is missing, as an array")
def what_is_missing(times, rate, capacity):
    missing, last, out = 0.0, times[0] if len(times) else 0.0, np.zeros(len(times), dtype=bool)
    for i, now in enumerate(times):
        missing = max(0.0, missing - rate * (now - last))
        last = now
        if missing + 1 <= capacity:
            missing += 1
            out[i] = True
    return out


@right("token_bucket", "the time moves on at allowed requests only, and is worked out from there")
def from_the_last_allowed(times, rate, capacity):
    tokens, last, out = capacity, None, []
    for now in times:
        here = tokens if last is None else min(capacity, tokens + rate * (now - last))
        out.append(bool(here >= 1))
        if out[-1]:
            tokens, last = here - 1, now
    return out


# -- alert_fires ----------------------------------------------------------------------------------------------------------


@wrong("alert_fires", "fires at once, without hold")
def without_hold(times, requests, failures, window, share, hold):
    from leaplm.serve.metrics import alert_fires as library_alert
    return library_alert(times, requests, failures, window, share, 0)


@wrong("alert_fires", "totals since the start instead of a window")
def since_start(times, requests, failures, window, share, hold):
    from leaplm.serve.metrics import alert_fires as library_alert
    return library_alert(times, requests, failures, 1e9, share, hold)


@wrong("alert_fires", "the counters themselves, not what they grew by")
def counters_themselves(times, requests, failures, window, share, hold):
    above, out, since = [r > 0 and f / r > share for r, f in zip(requests, failures)], [], None
    for t, a in zip(times, above):
        since = None if not a else t if since is None else since
        out.append(bool(a and t - since >= hold))
    return out


@wrong("alert_fires", "a restart makes the growth negative")
def negative_growth(times, requests, failures, window, share, hold):
    r, f, out, since = np.diff(requests), np.diff(failures), [False], None
    for i in range(1, len(times)):
        steps = [j for j in range(i) if times[j + 1] > times[i] - window]
        above = r[steps].sum() > 0 and f[steps].sum() / r[steps].sum() > share
        since = None if not above else times[i] if since is None else since
        out.append(bool(above and times[i] - since >= hold))
    return out


@wrong("alert_fires", "failures for each sample, not for each request")
def per_sample(times, requests, failures, window, share, hold):
    from leaplm.serve.metrics import alert_fires as library_alert
    return library_alert(times, list(range(len(times))), failures, window, share, hold)


@wrong("alert_fires", "never forgets that it was above")
def latched(times, requests, failures, window, share, hold):
    from leaplm.serve.metrics import alert_fires as library_alert
    fired, out = False, []
    for now in library_alert(times, requests, failures, window, share, hold):
        fired = fired or now
        out.append(fired)
    return out


@wrong("alert_fires", "a list without the first sample")
def one_short(times, requests, failures, window, share, hold):
    from leaplm.serve.metrics import alert_fires as library_alert
    return library_alert(times, requests, failures, window, share, hold)[1:]


@right("alert_fires", "with cumulative sums of the growth")
def cumulative(times, requests, failures, window, share, hold):
    def grown(values):
        values = np.asarray(values, dtype=float)
        steps = np.diff(values, prepend=values[0])
        return np.cumsum(np.where(steps < 0, values, steps))
    t, r, f = np.asarray(times), grown(requests), grown(failures)
    out, since = [], None
    for i in range(len(t)):
        j = int(np.searchsorted(t, t[i] - window, side="right")) - 1  # the last sample outside the window
        total, failed = (r[i] - r[max(j, 0)], f[i] - f[max(j, 0)])
        above = i > 0 and total > 0 and failed > share * total
        since = None if not above else t[i] if since is None else since
        out.append(bool(above and t[i] - since >= hold))
    return out


@wrong("alert_fires", "the library's, as an array of 0 and 1")
def from_library(times, requests, failures, window, share, hold):
    from leaplm.serve.metrics import alert_fires as library_alert
    return np.array(library_alert(times, requests, failures, window, share, hold), dtype=int)


@wrong("alert_fires", "a restart counts as no growth")
def restart_is_nothing(times, requests, failures, window, share, hold):
    grown, failed = np.maximum(np.diff(requests), 0), np.maximum(np.diff(failures), 0)
    fires, since = [False], None
    for i in range(1, len(times)):
        steps = [j for j in range(i) if times[j + 1] > times[i] - window]
        total = sum(grown[j] for j in steps)
        above = total > 0 and sum(failed[j] for j in steps) / total > share
        since = None if not above else times[i] if since is None else since
        fires.append(bool(above and times[i] - since >= hold))
    return fires


@wrong("alert_fires", "the first sample counts as growth")
def first_counts(times, requests, failures, window, share, hold):
    def growth(values):
        return [values[0]] + [b - a if b >= a else b for a, b in zip(values, values[1:])]
    grown, failed = growth(list(requests)), growth(list(failures))
    fires, since = [], None
    for i in range(len(times)):
        steps = [j for j in range(i + 1) if times[j] > times[i] - window]
        total = sum(grown[j] for j in steps)
        above = total > 0 and sum(failed[j] for j in steps) / total > share
        since = None if not above else times[i] if since is None else since
        fires.append(bool(above and times[i] - since >= hold))
    return fires


@wrong("alert_fires", "fires at exactly the share too")
def at_the_share(times, requests, failures, window, share, hold):
    def growth(values):
        return [b - a if b >= a else b for a, b in zip(values, values[1:])]
    grown, failed = growth(list(requests)), growth(list(failures))
    fires, since = [False], None
    for i in range(1, len(times)):
        steps = [j for j in range(i) if times[j + 1] > times[i] - window]
        total = sum(grown[j] for j in steps)
        above = total > 0 and sum(failed[j] for j in steps) / total >= share
        since = None if not above else times[i] if since is None else since
        fires.append(bool(above and times[i] - since >= hold))
    return fires


@wrong("alert_fires", "a step that ends at the edge of the window counts")
def edge_counts(times, requests, failures, window, share, hold):
    def growth(values):
        return [b - a if b >= a else b for a, b in zip(values, values[1:])]
    grown, failed = growth(list(requests)), growth(list(failures))
    fires, since = [False], None
    for i in range(1, len(times)):
        steps = [j for j in range(i) if times[j + 1] >= times[i] - window]
        total = sum(grown[j] for j in steps)
        above = total > 0 and sum(failed[j] for j in steps) / total > share
        since = None if not above else times[i] if since is None else since
        fires.append(bool(above and times[i] - since >= hold))
    return fires


@wrong("alert_fires", "longer than hold, not exactly as long")
def longer_than_hold(times, requests, failures, window, share, hold):
    def growth(values):
        return [b - a if b >= a else b for a, b in zip(values, values[1:])]
    grown, failed = growth(list(requests)), growth(list(failures))
    fires, since = [False], None
    for i in range(1, len(times)):
        steps = [j for j in range(i) if times[j + 1] > times[i] - window]
        total = sum(grown[j] for j in steps)
        above = total > 0 and sum(failed[j] for j in steps) / total > share
        since = None if not above else times[i] if since is None else since
        fires.append(bool(above and times[i] - since > hold))
    return fires


@wrong("alert_fires", "a restart of the requests is taken for one of the failures too")
def both_restart(times, requests, failures, window, share, hold):
    grown, failed = [], []
    for a, b, c, d in zip(requests, requests[1:], failures, failures[1:]):
        grown.append(b - a if b >= a else b)
        failed.append(d - c if b >= a else d)
    fires, since = [False], None
    for i in range(1, len(times)):
        steps = [j for j in range(i) if times[j + 1] > times[i] - window]
        total = sum(grown[j] for j in steps)
        above = total > 0 and sum(failed[j] for j in steps) / total > share
        since = None if not above else times[i] if since is None else since
        fires.append(bool(above and times[i] - since >= hold))
    return fires


@wrong("alert_fires", "forgets at a restart since when it was above")
def forgets_at_restart(times, requests, failures, window, share, hold):
    fires, since = [False], None
    grown = [b - a if b >= a else b for a, b in zip(requests, requests[1:])]
    failed = [b - a if b >= a else b for a, b in zip(failures, failures[1:])]
    for i in range(1, len(times)):
        if requests[i] < requests[i - 1]:
            since = None
        steps = [j for j in range(i) if times[j + 1] > times[i] - window]
        total = sum(grown[j] for j in steps)
        above = total > 0 and sum(failed[j] for j in steps) / total > share
        since = None if not above else times[i] if since is None else since
        fires.append(bool(above and times[i] - since >= hold))
    return fires


@right("alert_fires", "with numpy, as an array of True and False")
def alert_numpy(times, requests, failures, window, share, hold):
    times = np.asarray(times, dtype=float)
    def growth(values):
        values = np.asarray(values, dtype=float)
        return np.where(np.diff(values) < 0, values[1:], np.diff(values))
    asked, failed = growth(requests), growth(failures)
    above = np.zeros(len(times), dtype=bool)
    for i in range(1, len(times)):
        inside = (times[1:] > times[i] - window) & (times[1:] <= times[i])
        above[i] = asked[inside].sum() > 0 and failed[inside].sum() > share * asked[inside].sum()
    fires = np.zeros(len(times), dtype=bool)
    for i in np.flatnonzero(above):
        below = np.flatnonzero(~above[:i])
        first = below[-1] + 1 if len(below) else 0
        fires[i] = times[i] - times[first] >= hold
    return fires


@right("alert_fires", "counters made whole first, then their differences over the window")
def made_whole(times, requests, failures, window, share, hold):
    def whole(values):
        out, total = [0], 0
        for a, b in zip(values, values[1:]):
            total += b if b < a else b - a
            out.append(total)
        return out
    asked, failed = whole(requests), whole(failures)
    fires, since = [], None
    for i, now in enumerate(times):
        start = i
        while start > 0 and times[start] > now - window:
            start -= 1
        total = asked[i] - asked[start]
        above = total > 0 and (failed[i] - failed[start]) / total > share
        since = None if not above else now if since is None else since
        fires.append(since is not None and now - since >= hold)
    return fires


@right("alert_fires", "a queue of steps")
def queue_of_steps(times, requests, failures, window, share, hold):
    from collections import deque
    steps, fires, since = deque(), [False], None
    for i in range(1, len(times)):
        asked, failed = requests[i] - requests[i - 1], failures[i] - failures[i - 1]
        steps.append((times[i], requests[i] if asked < 0 else asked, failures[i] if failed < 0 else failed))
        while steps and steps[0][0] <= times[i] - window:
            steps.popleft()
        total = sum(step[1] for step in steps)
        share_now = sum(step[2] for step in steps) / total if total else 0
        if share_now <= share:
            since = None
        elif since is None:
            since = times[i]
        fires.append(since is not None and times[i] - since >= hold)
    return fires


# -- small numbers, equal things, what is kept from call to call ----------------------------------------------------------


@wrong("quantize_int8", "no scale below 1e-8")
def quantize_int8_0(weight):
    m = weight.abs().amax(1)
    s = (m / 127).clamp(min=1e-8)
    s = torch.where(m == 0, 1.0, s)
    return (weight / s[:, None]).round().to(torch.int8), s


@wrong("quantize_int8", "the scale 1 for each row in which a 0 stands")
def quantize_int8_1(weight):
    m = weight.abs().amax(1)
    s = torch.where((weight == 0).any(1), 1.0, m / 127)
    return (weight / s[:, None]).round().to(torch.int8), s


@wrong("distillation_loss", "the soft part gives no gradient")
def distillation_loss_2(student_logits, teacher_logits, labels, temperature, weight):
    q = torch.log_softmax(student_logits.detach() / temperature, -1)
    p = torch.log_softmax(teacher_logits / temperature, -1)
    return weight * temperature**2 * (p.exp() * (p - q)).sum(-1).mean() + (1 - weight) * torch.nn.functional.cross_entropy(
        student_logits, labels
    )


@right("distillation_loss", "soft cross-entropy minus the teacher's entropy, mixed by lerp")
def distillation_loss_3(student_logits, teacher_logits, labels, temperature, weight):
    F = torch.nn.functional
    target = F.softmax(teacher_logits.detach() / temperature, dim=-1)
    entropy = torch.special.entr(target).sum(-1).mean()
    soft = F.cross_entropy(student_logits / temperature, target) - entropy
    return torch.lerp(F.cross_entropy(student_logits, labels), soft * temperature**2, weight)


@wrong("collect_batches", "takes a text along that comes a moment too late")
def collect_batches_4(arrivals, max_size, max_wait):
    sizes, sent, i = [], [], 0
    while i < len(arrivals):
        j = i + 1
        while j < len(arrivals) and j - i < max_size and arrivals[j] - arrivals[i] < max_wait + 1e-3:
            j += 1
        sizes.append(j - i)
        sent.append(arrivals[j - 1] if j - i == max_size else arrivals[i] + max_wait)
        i = j
    return sizes, sent


@wrong("token_bucket", "1 and 0 where True and False are asked")
def token_bucket_5(times, rate, capacity):
    t, b, out = capacity, (times[0] if len(times) else 0), []
    for x in times:
        t = min(capacity, t + (x - b) * rate)
        b = x
        ok = t >= 1
        out.append(int(ok))
        t -= ok
    return out


@wrong("token_bucket", "asks for more than one token")
def token_bucket_6(times, rate, capacity):
    t, b, out = capacity, (times[0] if len(times) else 0), []
    for x in times:
        t = min(capacity, t + (x - b) * rate)
        b = x
        ok = t > 1 if capacity > 2 else t >= 1
        out.append(bool(ok))
        t -= ok
    return out


@wrong("alert_fires", "failures without requests count as a share")
def alert_fires_7(times, requests, failures, window, share, hold):
    def steps(c):
        return [0] + [b - a if b >= a else b for a, b in zip(c, c[1:])]

    r, f, since, out = steps(list(requests)), steps(list(failures)), None, []
    for i, t in enumerate(times):
        ix = [j for j in range(i + 1) if t - window < times[j] <= t]
        R, F = sum(r[j] for j in ix), sum(f[j] for j in ix)
        above = F / max(R, 1) > share
        since = (t if since is None else since) if above else None
        out.append(bool(above and t - since >= hold))
    return out


# -- compressed_model -----------------------------------------------------------------------------------------------------


def changed(content, edit_card=None, edit=None):
    """A file's bytes again, with its card or tensors changed."""
    import json

    from leaplm.artifacts import CARD, read_artifact
    from safetensors.torch import save

    card, tensors = read_artifact(content)
    card = edit_card(dict(card)) if edit_card else card
    tensors = edit(dict(tensors)) if edit else tensors
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata={CARD: json.dumps(card)})


@wrong.artifact("compressed_model", "no file")
def nothing():
    return {}


@wrong.artifact("compressed_model", "cut off by a bad line")
def half(trained):
    return {name: content[: len(content) // 2] for name, content in trained.items()}


@wrong.artifact("compressed_model", "32-bit numbers: above 12 MB")
def too_large(trained):
    def edit(tensors):
        from leaplm.compression.checkpoint import SCALE
        return {n: t.float() * tensors[n + SCALE][:, None] if n + SCALE in tensors else t
                for n, t in tensors.items() if not n.endswith(SCALE)}
    return {name: changed(content, edit=edit) for name, content in trained.items()}


@wrong.artifact("compressed_model", "the classes in another order")
def classes_swapped(trained):
    def edit(tensors):
        for name in ("classifier.weight", "classifier.weight::scale", "classifier.bias"):
            tensors[name] = tensors[name].flip(0)
        return tensors
    return {name: changed(content, edit=edit) for name, content in trained.items()}


@wrong.artifact("compressed_model", "scales left out")
def no_scales(trained):
    return {name: changed(content, edit=lambda tensors: {n: t for n, t in tensors.items() if not n.endswith("::scale")})
            for name, content in trained.items()}


@wrong.artifact("compressed_model", "the word vectors stand beside the wrong pieces")
def shifted_words(trained):
    def edit(tensors):
        for name in ("bert.embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight::scale"):
            tensors[name] = tensors[name].roll(7, 0)
        return tensors
    return {name: changed(content, edit=edit) for name, content in trained.items()}


@wrong.artifact("compressed_model", "trained at scale tiny only")
def tiny_only(trained):
    return {"compressed-tiny.safetensors": content for content in trained.values()}


@wrong.artifact("compressed_model", "pickled instead of safetensors")
def pickled():
    import pickle
    return {"compressed-cpu.safetensors": pickle.dumps({"classifier.weight": [[0.0]]})}


@right.artifact("compressed_model", "the same again, from a GPU")
def from_gpu(trained):
    return {"compressed-gpu.safetensors": changed(content) for content in trained.values()}


@right.artifact("compressed_model", "some matrices as 16-bit numbers instead of 8-bit")
def some_half(trained):
    def edit(tensors):
        name = "classifier.weight"
        value = tensors[name].float() * tensors.pop(name + "::scale")[:, None]
        return {**tensors, name: value.half()}
    return {name: changed(content, edit=edit) for name, content in trained.items()}


@right.artifact("compressed_model", "as the lab saved it")
def as_saved(trained):
    return dict(trained)


@right.artifact("compressed_model", "the tensors in another order")
def other_order(trained):
    def edit(tensors):
        return dict(reversed(tensors.items()))

    return {name: changed(content, edit=edit) for name, content in trained.items()}
