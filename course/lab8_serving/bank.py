"""Bank of lab 8: answers that students really give. Wrong ones must lose marks, right ones must not.

The functions run inside the solution notebook, so they use its names (torch, np, compression, ...).
"""

from leaplm.grading.judge.banks import right, wrong

# ruff: noqa: F821, B905, B007, B035, E501

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


# -- the endpoint and its parts -------------------------------------------------------------------------------------------


def change(source, *pairs):
    """A source with some of its pieces replaced; each piece must be there."""
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source, old
        source = source.replace(old, new)
    return source


def wrong_ones(check, source, changes):
    """Wrong answers that differ from a right one in one place: {why: (piece, its place taken by, ...)}."""
    for why, pairs in changes.items():
        wrong.cell(check, why, change(source, *pairs))


# -- read_texts -----------------------------------------------------------------------------------------------------------

READ = '''
def read_texts(body, most_bytes, most_texts, most_characters):
    def bad(status, message, code="not_valid"):
        return requests.Problem(status, code, message)

    if len(body) > most_bytes:
        raise bad(413, f"at most {most_bytes} bytes")
    try:
        found = json.loads(body.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise bad(400, "not JSON in UTF-8")
    if not isinstance(found, dict) or list(found) != ["texts"]:
        raise bad(422, "send a dict with the key texts")
    texts = found["texts"]
    if not isinstance(texts, list):
        raise bad(422, "texts should be a list")
    if len(texts) < 1 or len(texts) > most_texts:
        raise bad(422, f"1 to {most_texts} texts, not {len(texts)}")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise bad(422, f"texts[{place}] is no string")
        if text.strip() == "":
            raise bad(422, f"texts[{place}] is empty")
        if len(text) > most_characters:
            raise bad(422, f"texts[{place}] is longer than {most_characters} characters")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise bad(422, f"texts[{place}] holds half of a character")
    return texts
'''
right.cell("read_texts", "with a small function for the problem", READ)
right.cell("read_texts", "half characters found by their numbers", change(READ, '''        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise bad(422, f"texts[{place}] holds half of a character")
''', '''        if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
            raise bad(422, f"texts[{place}] holds half of a character")
'''))
right.cell("read_texts", "str(body, 'utf-8'), and one loop with a list of rules", '''
def read_texts(body, most_bytes, most_texts, most_characters):
    if len(body) > most_bytes:
        raise requests.Problem(413, "large", "too large")
    try:
        found = json.loads(str(body, "utf-8"))
    except Exception as error:
        raise requests.Problem(400, "json", "no JSON") from error
    if type(found) is not dict or set(found) - {"texts"} or type(found.get("texts")) is not list:
        raise requests.Problem(422, "form", "a dict with a list of texts, please")
    if not 0 < len(found["texts"]) <= most_texts:
        raise requests.Problem(422, "number", "too few or too many texts")

    def whole(text):
        return not any(chr(0xD800) <= letter <= chr(0xDFFF) for letter in text)

    for i, text in enumerate(found["texts"]):
        rules = [lambda: type(text) is str, lambda: text.strip(), lambda: len(text) <= most_characters, lambda: whole(text)]
        if not all(rule() for rule in rules):
            raise requests.Problem(422, "text", f"look at texts[{i}]")
    return found["texts"]
''')
right.cell("read_texts", "messages with the keys, the place in the JSON and the kind of a text", change(
    READ, "(UnicodeDecodeError, json.JSONDecodeError, RecursionError):", "(ValueError, RecursionError) as error:",
    '"not JSON in UTF-8"', 'f"not JSON in UTF-8, at {getattr(error, \'pos\', 0)}"', "is no string", "is no string but {type(text).__name__}",
    '"send a dict with the key texts"', 'f"the keys are {list(found)}" if isinstance(found, dict) else "a dict"'))
right.cell("read_texts", "a copy of the texts, and the limits last but in order", change(
    READ, "    return texts\n", "    return list(texts)\n", "if len(texts) < 1 or len(texts) > most_texts:",
    "if len(texts) not in range(1, most_texts + 1):"))
wrong_ones("read_texts", READ, {
    "json guesses the encoding of bytes": ('json.loads(body.decode("utf-8"))', "json.loads(body)"),
    "UTF-8 with errors ignored": ('body.decode("utf-8")', 'body.decode("utf-8", "ignore")'),
    "no limit on the bytes": ("if len(body) > most_bytes:", "if False:"),
    "the limit itself is too many bytes": ("if len(body) > most_bytes:", "if len(body) >= most_bytes:"),
    "one character too many": ("if len(text) > most_characters:", "if len(text) > most_characters + 1:"),
    "counts bytes, not characters": ("len(text) > most_characters", "len(text.encode('utf-8', 'replace')) > most_characters"),
    "an empty list passes": ("if len(texts) < 1 or len(texts) > most_texts:", "if len(texts) > most_texts:"),
    "one text too many passes": ("len(texts) > most_texts", "len(texts) > most_texts + 1"),
    "422 for what is not JSON": ("raise bad(400,", "raise bad(422,"),
    "400 for everything": ("raise bad(422,", "raise bad(400,"),
    "any other key may stand beside": ('list(found) != ["texts"]', '"texts" not in found'),
    "what is not a dict breaks it": ("not isinstance(found, dict) or ", ""),
    "a string counts as a list of letters": ("if not isinstance(texts, list):", "if not isinstance(texts, (list, str)):"),
    "numbers become strings": ("    texts = found", '''    found["texts"] = [str(text) for text in found["texts"]]
    texts = found'''),
    "blanks are a text": ('if text.strip() == "":', 'if text == "":'),
    "strips the texts": ("    return texts\n", "    return [text.strip() for text in texts]\n"),
    "half of a character passes": ('text.encode("utf-8")', 'text.encode("utf-8", "surrogatepass")'),
    "only the first text is looked at": ("in enumerate(texts):", "in enumerate(texts[:1]):"),
    "the last text is not looked at": ("in enumerate(texts):", "in enumerate(texts[:-1]):"),
    "places counted from 1": ("in enumerate(texts):", "in enumerate(texts, 1):"),
    "the message quotes the text": ("is longer than {most_characters} characters", "is too long: {text}"),
    "the message does not name the place": ("texts[{place}]", "a text"),
    "returns the dict": ("    return texts\n", "    return found\n"),
    "a tuple": ("    return texts\n", "    return tuple(texts)\n"),
    "returns the Problem instead of raising it": ("raise bad", "return bad"),
    "raises a ValueError": ("return requests.Problem(status, code, message)", "return ValueError(message)"),
    "status and code exchanged": ("requests.Problem(status, code, message)", "requests.Problem(code, status, message)"),
    "thousands of brackets break it": ("json.JSONDecodeError, RecursionError)", "json.JSONDecodeError)"),
    "the limit on the bytes counts characters": ("if len(body) > most_bytes:", 'if len(body.decode("utf-8", "ignore")) > most_bytes:'),
    "blanks around a text do not count": ("if len(text) > most_characters:", "if len(text.strip()) > most_characters:"),
    "only the half of the exercise is looked for": ('            text.encode("utf-8")', '            "\\ud800" in text and text.encode("utf-8")'),
    "only first halves are looked for": ('            text.encode("utf-8")', '            [half.encode("utf-8") for half in text if 0xD800 <= ord(half) < 0xDC00]'),
    "the message quotes the body": ('"not JSON in UTF-8"', 'f"not JSON in UTF-8: {body!r}"'),
    "the message quotes what is no list": ('"texts should be a list"', 'f"texts should be a list, not {texts!r}"'),
    "the message quotes the texts when there are too many": ("not {len(texts)}", "not {texts}"),
    "the message quotes what is no string": ("is no string", "is no string: {text!r}"),
    "the message quotes what is no dict": ('"send a dict with the key texts"', 'f"send a dict with the key texts, not {found}"'),
    "the error of the encoding is quoted with its text": (
        "except UnicodeEncodeError:", "except UnicodeEncodeError as error:", "holds half of a character", "holds half of a character: {error.object}"),
    "small letters only": ("    return texts\n", "    return [text.casefold() for text in texts]\n"),
    "each text once": ("    return texts\n", "    return list(dict.fromkeys(texts))\n"),
    "composes accents": ("    return texts\n", '    import unicodedata\n    return [unicodedata.normalize("NFC", text) for text in texts]\n'),
})
wrong.cell("read_texts", "calls the library", '''
def read_texts(body, most_bytes, most_texts, most_characters):
    return requests.read_texts(body, most_bytes, most_texts, most_characters)
''')

# -- token_bucket ---------------------------------------------------------------------------------------------------------

BUCKET = '''
class TokenBucket:
    def __init__(self, rate, capacity, clock):
        self.rate, self.capacity, self.clock = rate, capacity, clock
        self.tokens = float(capacity)
        self.last = clock()

    def take(self):
        now = self.clock()
        self.tokens = min(self.capacity, self.tokens + (now - self.last) * self.rate)
        self.last = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / self.rate
'''
right.cell("token_bucket", "with floats and an early return", BUCKET)
right.cell("token_bucket", "the clock is read at the first request only", change(
    BUCKET, "self.last = clock()", "self.last = None", "        self.tokens = min(", "        self.last = now if self.last is None else "
    "self.last\n        self.tokens = min("))
right.cell("token_bucket", "a dataclass", '''
from dataclasses import dataclass

@dataclass
class TokenBucket:
    rate: float
    capacity: float
    clock: object

    def __post_init__(self):
        self.full_at = self.clock()

    def take(self):
        """Keeps the time at which the bucket will be full in place of its tokens."""
        now = self.clock()
        full_at = max(self.full_at, now)
        missing = (full_at - now) * self.rate + 1 - self.capacity
        if missing > 1e-9:
            return missing / self.rate
        self.full_at = full_at + 1 / self.rate
        return 0
''')
right.cell("token_bucket", "refills in a method of its own, a number of NumPy", change(BUCKET, '''        now = self.clock()
        self.tokens = min(self.capacity, self.tokens + (now - self.last) * self.rate)
        self.last = now
''', '''        self.refill()
''', "return 0.0", "return np.float64(0)") + '''
    def refill(self):
        now = self.clock()
        gained = (now - self.last) * self.rate
        self.tokens, self.last = np.minimum(self.tokens + gained, self.capacity), now
''')
wrong_ones("token_bucket", BUCKET, {
    "starts empty": ("self.tokens = float(capacity)", "self.tokens = 0.0"),
    "no upper limit: saves up during a pause": ("min(self.capacity, self.tokens + (now - self.last) * self.rate)",
                                                "self.tokens + (now - self.last) * self.rate"),
    "may go up to capacity + 1": ("min(self.capacity,", "min(self.capacity + 1,"),
    "a refused request takes a token too": ("        return (1", "        self.tokens -= 1\n        return (2"),
    "the time of a refusal is counted twice": ('''        self.last = now
        if self.tokens >= 1:
''', '''        if self.tokens >= 1:
            self.last = now
'''),
    "never fills up again": ("self.tokens + (now - self.last) * self.rate", "self.tokens"),
    "whole tokens only: the rest of the time is lost": ("(now - self.last) * self.rate", "int((now - self.last) * self.rate)"),
    "allows while anything is left, not only a whole token": ("if self.tokens >= 1:", "if self.tokens > 0:"),
    "more than a whole token is needed": ("if self.tokens >= 1:", "if self.tokens > 1:"),
    "divides by the rate while filling": ("(now - self.last) * self.rate", "(now - self.last) / self.rate"),
    "says how many tokens are missing, not seconds": ("(1 - self.tokens) / self.rate", "1 - self.tokens"),
    "the wait until the bucket is full": ("(1 - self.tokens) / self.rate", "(self.capacity - self.tokens) / self.rate"),
    "the wait of a whole token, whatever is there": ("(1 - self.tokens) / self.rate", "1 / self.rate"),
    "True and False": ("return 0.0", "return True", "return (1 - self.tokens) / self.rate", "return False"),
    "None for allowed": ("return 0.0", "return None"),
    "the clock's first time is taken for 0": ("self.last = clock()", "self.last = 0.0"),
    "its own clock": ("now = self.clock()", "now = time.monotonic()", "self.last = clock()", "self.last = time.monotonic()"),
    "a rest of tokens is thrown away": ("self.tokens -= 1\n", "self.tokens = int(self.tokens) - 1\n"),
    "all buckets share one state": ("        self.tokens = float(capacity)\n        self.last = clock()\n",
                                    "        TokenBucket.tokens, TokenBucket.last = float(capacity), clock()\n",
                                    "        self.tokens = min(", "        TokenBucket.tokens = min(",
                                    "        self.last = now", "        TokenBucket.last = now",
                                    "            self.tokens -= 1", "            TokenBucket.tokens -= 1"),
})
wrong.cell("token_bucket", "a window of one second with capacity places", '''
class TokenBucket:
    def __init__(self, rate, capacity, clock):
        self.rate, self.capacity, self.clock, self.taken = rate, capacity, clock, []

    def take(self):
        now = self.clock()
        self.taken = [moment for moment in self.taken if moment > now - 1]
        if len(self.taken) < self.capacity:
            self.taken.append(now)
            return 0.0
        return self.taken[0] + 1 - now
''')
wrong.cell("token_bucket", "the library's bucket", "class TokenBucket(keys.TokenBucket):\n    pass\n")

# -- request_queue --------------------------------------------------------------------------------------------------------

QUEUE = '''
class RequestQueue:
    def __init__(self, max_batch, max_wait, max_queue):
        self.max_batch, self.max_wait, self.max_queue = max_batch, max_wait, max_queue
        self.requests = []
        self.event = asyncio.Event()
        self.closed = False

    def drop(self):
        self.requests = [r for r in self.requests if not r.future.done()]

    def texts(self):
        return sum(len(r.texts) for r in self.requests)

    def put(self, texts):
        self.drop()
        if self.closed:
            raise requests.Problem(503, "closing", "the service closes", 2)
        if self.texts() + len(texts) > self.max_queue:
            raise requests.Problem(503, "full", "too many texts wait", 2)
        request = batching.Waiting(texts)
        self.requests.append(request)
        self.event.set()
        return request.future

    async def next_batch(self):
        loop = asyncio.get_running_loop()
        while True:
            self.drop()
            timeout = None
            if self.requests:
                timeout = self.requests[0].since + self.max_wait - loop.time()
                if self.closed or self.texts() >= self.max_batch or timeout <= 0:
                    return self.take()
            elif self.closed:
                return None
            self.event.clear()
            try:
                await asyncio.wait_for(self.event.wait(), timeout)
            except asyncio.TimeoutError:
                pass

    def take(self):
        batch, size = [], 0
        while self.requests and (not batch or size + len(self.requests[0].texts) <= self.max_batch):
            request = self.requests.pop(0)
            batch.append(request)
            size += len(request.texts)
        return batch

    def close(self):
        self.closed = True
        self.event.set()
'''
right.cell("request_queue", "with small methods", QUEUE)
right.cell("request_queue", "with asyncio.timeout_at", change(QUEUE, '''            try:
                await asyncio.wait_for(self.event.wait(), timeout)
            except asyncio.TimeoutError:
                pass
''', '''            try:
                async with asyncio.timeout_at(None if timeout is None else loop.time() + timeout):
                    await self.event.wait()
            except TimeoutError:
                continue
'''))
right.cell("request_queue", "a new future for each change, and call_later", change(
    QUEUE, "self.event = asyncio.Event()", "self.sleeper = None", "        self.event.set()\n", "        self.wake()\n", '''            self.event.clear()
            try:
                await asyncio.wait_for(self.event.wait(), timeout)
            except asyncio.TimeoutError:
                pass
''', '''            self.sleeper = loop.create_future()
            timer = loop.call_later(timeout, self.wake) if timeout is not None else None
            await self.sleeper
            if timer:
                timer.cancel()
''') + '''
    def wake(self):
        if self.sleeper is not None and not self.sleeper.done():
            self.sleeper.set_result(None)
''')
right.cell("request_queue", "with asyncio.wait, and a tuple for a batch", change(QUEUE, '''            try:
                await asyncio.wait_for(self.event.wait(), timeout)
            except asyncio.TimeoutError:
                pass
''', '''            waiter = asyncio.create_task(self.event.wait())
            await asyncio.wait([waiter], timeout=timeout)
            waiter.cancel()
''', "        return batch\n", "        return tuple(batch)\n"))
wrong_ones("request_queue", QUEUE, {
    "the wait counts from when it looks, not from when the first one came":
        ("self.requests[0].since + self.max_wait - loop.time()", "self.max_wait"),
    "the wait counts from the last request": ("self.requests[0].since", "self.requests[-1].since"),
    "a full batch waits to the end too": ("self.closed or self.texts() >= self.max_batch or timeout <= 0",
                                          "self.closed or timeout <= 0"),
    "one text more than a batch is needed": ("self.texts() >= self.max_batch", "self.texts() > self.max_batch"),
    "nobody waits for company": ("if self.closed or self.texts() >= self.max_batch or timeout <= 0:", "if True:"),
    "takes all that waits, however many": ("(not batch or size + len(self.requests[0].texts) <= self.max_batch)", "True"),
    "counts requests, not texts, in a batch": ("size += len(request.texts)", "size += 1"),
    "counts requests, not texts, in the queue": ("sum(len(r.texts) for r in self.requests)", "len(self.requests)"),
    "one text too many in a batch": ("<= self.max_batch)", "<= self.max_batch + 1)"),
    "a large request never goes": ("(not batch or size", "(size", "return self.take()", '''
                    batch = self.take()
                    if batch:
                        return batch'''),
    "the newest first": ("self.requests.pop(0)", "self.requests.pop()"),
    "the requests of a batch the other way round": ("        return batch\n", "        return batch[::-1]\n"),
    "looks past one that does not fit": ('''        batch, size = [], 0
        while self.requests and (not batch or size + len(self.requests[0].texts) <= self.max_batch):
            request = self.requests.pop(0)
            batch.append(request)
            size += len(request.texts)
''', '''        batch, size = [], 0
        for request in list(self.requests):
            if not batch or size + len(request.texts) <= self.max_batch:
                self.requests.remove(request)
                batch.append(request)
                size += len(request.texts)
'''),
    "no limit on the queue": ("if self.texts() + len(texts) > self.max_queue:", "if False:"),
    "the last place of the queue stays empty": ("len(texts) > self.max_queue", "len(texts) >= self.max_queue"),
    "full only when nothing more fits at all": ("self.texts() + len(texts) > self.max_queue", "self.texts() >= self.max_queue"),
    "status 429 for a full queue": ('(503, "full"', '(429, "full"'),
    "no seconds to wait": ('"too many texts wait", 2)', '"too many texts wait")'),
    "a refused request stands in the queue all the same": ('''        if self.texts() + len(texts) > self.max_queue:
            raise requests.Problem(503, "full", "too many texts wait", 2)
        request = batching.Waiting(texts)
        self.requests.append(request)
''', '''        request = batching.Waiting(texts)
        self.requests.append(request)
        if self.texts() > self.max_queue:
            raise requests.Problem(503, "full", "too many texts wait", 2)
'''),
    "who has left is computed all the same": ("            self.drop()\n", ""),
    "who has left still counts in put": ("        self.drop()\n        if self.closed:", "        if self.closed:"),
    "only the first one is looked at for having left": (
        "self.requests = [r for r in self.requests if not r.future.done()]",
        "self.requests = self.requests[1:] if self.requests and self.requests[0].future.done() else self.requests"),
    "takes requests when it is closed": ('''        if self.closed:
            raise requests.Problem(503, "closing", "the service closes", 2)
''', ""),
    "closing forgets who waits": ("        self.closed = True\n", "        self.closed = True\n        self.requests = []\n"),
    "closing wakes nobody": ("        self.closed = True\n        self.event.set()\n", "        self.closed = True\n"),
    "closing lets them wait to the end": ("if self.closed or self.texts()", "if self.texts()"),
    "never says that it has ended": ('''            elif self.closed:
                return None
''', ""),
    "an empty list at every look": ('''            self.event.clear()
''', '''            if not self.requests:
                return []
            self.event.clear()
'''),
    "the wait without a time": ("self.event.wait(), timeout)", "self.event.wait(), None)"),
    "the clock of the computer, not of the loop": ("- loop.time()", "- time.monotonic()"),
    "looks again every 50 ms": ("self.event.wait(), timeout)", "asyncio.sleep(1), 0.05)"),
    "put is a coroutine that waits for the rows": (
        "    def put(self, texts):", "    async def put(self, texts):", "return request.future", "return await request.future"),
    "put returns the request": ("return request.future", "return request"),
    "the batch is a list of texts": ("        return batch\n", "        return [text for r in batch for text in r.texts]\n"),
    "an empty list at the end": ("                return None\n", "                return []\n"),
    "a request larger than the queue is taken while nothing waits": (
        "if self.texts() + len(texts) > self.max_queue:", "if self.requests and self.texts() + len(texts) > self.max_queue:"),
    "closing makes one batch of all": ("(not batch or size", "(self.closed or not batch or size"),
    "what stays behind waits anew": ("        return batch\n", "        for request in self.requests:\n"
                                     "            request.since = asyncio.get_running_loop().time()\n        return batch\n"),
    "who has got an answer otherwise is computed all the same": ("if not r.future.done()]", "if not r.future.cancelled()]"),
    "who has left still makes a batch full": (
        "        self.drop()\n        if self.closed:", "        if self.closed:",
        "if self.texts() + len(texts)", "if sum(len(r.texts) for r in self.requests if not r.future.done()) + len(texts)",
        "            self.drop()\n            timeout", "            full = self.texts() >= self.max_batch\n            self.drop()\n            timeout",
        "self.texts() >= self.max_batch or timeout", "full or timeout"),
    "0 seconds to wait": ('"too many texts wait", 2)', '"too many texts wait", 0)'),
    "one list for all queues": ("        self.requests = []\n", "", "class RequestQueue:\n", "class RequestQueue:\n    requests = []\n",
                                "        self.requests = [r for", "        self.requests[:] = [r for"),
})
right.cell("request_queue", "a float of whole seconds", change(QUEUE, '"too many texts wait", 2)', '"too many texts wait", 2.0)'))
right.cell("request_queue", "counts at each look, and throws out only what is taken", change(
    QUEUE, "return sum(len(r.texts) for r in self.requests)", "return sum(0 if r.future.done() else len(r.texts) for r in self.requests)",
    "        self.drop()\n        if self.closed:", "        if self.closed:"))
wrong.cell("request_queue", "the library's queue", "class RequestQueue(batching.RequestQueue):\n    pass\n")
wrong.cell("request_queue", "an asyncio.Queue: after a busy time each request goes alone", '''
class RequestQueue:
    def __init__(self, max_batch, max_wait, max_queue):
        self.max_batch, self.max_wait, self.max_queue = max_batch, max_wait, max_queue
        self.queue, self.closed, self.size = asyncio.Queue(), False, 0

    def put(self, texts):
        if self.closed or self.size + len(texts) > self.max_queue:
            raise requests.Problem(503, "full", "too many texts wait", 2)
        request = batching.Waiting(texts)
        self.size += len(texts)
        self.queue.put_nowait(request)
        return request.future

    async def next_batch(self):
        first = await self.queue.get()
        if first is None:
            return None
        batch, size = [first], len(first.texts)
        while size < self.max_batch:
            left = first.since + self.max_wait - asyncio.get_running_loop().time()
            try:
                request = await asyncio.wait_for(self.queue.get(), left)
            except TimeoutError:
                break
            if request is None:
                self.queue.put_nowait(None)
                break
            batch.append(request)
            size += len(request.texts)
        self.size -= size
        return batch

    def close(self):
        self.closed = True
        self.queue.put_nowait(None)
''')

# -- answer_batches -------------------------------------------------------------------------------------------------------

WORK = '''
async def answer_batches(queue, predict):
    while True:
        batch = await queue.next_batch()
        if batch is None:
            return
        texts = []
        for request in batch:
            texts.extend(request.texts)
        try:
            rows = await predict(texts)
        except Exception as error:
            for request in batch:
                if not request.future.done():
                    request.future.set_exception(error)
            continue
        place = 0
        for request in batch:
            count = len(request.texts)
            if not request.future.done():
                request.future.set_result(rows[place:place + count])
            place += count
'''
right.cell("answer_batches", "one step after another", WORK)
right.cell("answer_batches", "an iterator over the rows", change(WORK, '''        place = 0
        for request in batch:
            count = len(request.texts)
            if not request.future.done():
                request.future.set_result(rows[place:place + count])
            place += count
''', '''        left = iter(rows)
        for request in batch:
            own = [next(left) for _ in request.texts]
            if not request.future.cancelled():
                request.future.set_result(np.stack(own) if isinstance(rows, np.ndarray) else own)
'''))
right.cell("answer_batches", "places by a running sum", change(WORK, '''        place = 0
        for request in batch:
            count = len(request.texts)
            if not request.future.done():
                request.future.set_result(rows[place:place + count])
            place += count
''', '''        ends = np.cumsum([len(request.texts) for request in batch])
        for request, end in zip(batch, ends):
            request.future.done() or request.future.set_result(rows[end - len(request.texts):end])
'''))
right.cell("answer_batches", "with suppress for those who have gone", change(
    WORK, '''                if not request.future.done():
                    request.future.set_exception(error)
''', '''                with contextlib.suppress(asyncio.InvalidStateError):
                    request.future.set_exception(error)
''', "    while True:\n        batch = await queue.next_batch()\n        if batch is None:\n            return\n",
    "    while batch := await queue.next_batch():\n"))
wrong_ones("answer_batches", WORK, {
    "every caller gets the rows of all": ("rows[place:place + count]", "rows"),
    "every caller gets the first rows": ("            place += count\n", ""),
    "one row for each caller": ("rows[place:place + count]", "rows[place:place + 1]", "place += count", "place += 1"),
    "one row too many": ("rows[place:place + count]", "rows[place:place + count + 1]"),
    "one row too few": ("rows[place:place + count]", "rows[place:place + count - 1]"),
    "the callers in the wrong order": ("        place = 0\n        for request in batch:", "        place = 0\n        for request in batch[::-1]:"),
    "who has gone is not counted: the others get their rows": ('''            if not request.future.done():
                request.future.set_result(rows[place:place + count])
            place += count
''', '''            if request.future.done():
                continue
            request.future.set_result(rows[place:place + count])
            place += count
'''),
    "a result for somebody who has gone breaks it": ('''            if not request.future.done():
                request.future.set_result(rows[place:place + count])
''', '''            request.future.set_result(rows[place:place + count])
'''),
    "an error for somebody who has gone breaks it": ('''                if not request.future.done():
                    request.future.set_exception(error)
''', '''                request.future.set_exception(error)
'''),
    "an error ends the worker": ("            continue\n", "            raise\n"),
    "an error is swallowed, and nobody hears of it": ('''            for request in batch:
                if not request.future.done():
                    request.future.set_exception(error)
            continue
''', "            continue\n"),
    "only the first caller hears of the error": ("            for request in batch:\n                if not",
                                                 "            for request in batch[:1]:\n                if not"),
    "the error is given as a result": ("request.future.set_exception(error)", "request.future.set_result(error)"),
    "no try: an error ends everything": ('''        try:
            rows = await predict(texts)
        except Exception as error:
            for request in batch:
                if not request.future.done():
                    request.future.set_exception(error)
            continue
''', "        rows = await predict(texts)\n"),
    "catches its own cancellation and goes on": ("except Exception as error:", "except BaseException as error:"),
    "only errors of the kinds it knows": ("except Exception as error:", "except (ValueError, RuntimeError, ArithmeticError, LookupError) as error:"),
    "a new error in place of the model's": ("set_exception(error)", "set_exception(RuntimeError(str(error)))"),
    "a new error of the same kind": ("set_exception(error)", 'set_exception(type(error)("failed"))'),
    "one batch and no more": ("            place += count\n", "            place += count\n        return\n"),
    "does not see the end": ("        if batch is None:\n            return\n", "        if batch is None:\n            continue\n"),
    "each request alone through the model": ('''            rows = await predict(texts)
''', '''            rows = [row for request in batch for row in await predict(request.texts)]
'''),
    "each text once only": ("texts.extend(request.texts)", "texts.extend(text for text in request.texts[:1])"),
    "the texts in alphabetical order": ("            rows = await", "            texts.sort()\n            rows = await"),
    "empties the requests' lists": ("texts.extend(request.texts)", "texts.extend(request.texts)\n            request.texts = []"),
    "texts of earlier batches go along": ("    while True:\n", "    texts = []\n    while True:\n", "        texts = []\n        for", "        for"),
    "all batches at once": ('''            rows = await predict(texts)
        except Exception as error:
            for request in batch:
                if not request.future.done():
                    request.future.set_exception(error)
            continue
''', '''            pass
        except Exception as error:
            continue
''', "        place = 0\n        for request in batch:\n            count = len(request.texts)\n            if not request.future.done():\n"
     "                request.future.set_result(rows[place:place + count])\n            place += count\n", '''        asyncio.create_task(one(batch, texts, predict))

async def one(batch, texts, predict):
    rows, place = await predict(texts), 0
    for request in batch:
        if not request.future.done():
            request.future.set_result(rows[place:place + len(request.texts)])
        place += len(request.texts)
'''),
    "forgets await: the rows are a coroutine": ("rows = await predict(texts)", "rows = predict(texts)"),
})
wrong.cell("answer_batches", "calls the library", '''
async def answer_batches(queue, predict):
    await batching.answer_batches(queue, predict)
''')

# -- endpoint -------------------------------------------------------------------------------------------------------------

ENDPOINT = '''
class Endpoint:
    def __init__(self, read, bucket, queue, clock):
        self.read, self.bucket, self.queue, self.clock = read, bucket, queue, clock
        self.ok = self.refused = self.failed = 0
        self.times = []

    def error(self, code, message):
        return {"error": {"code": code, "message": message}}

    async def answer(self, body):
        began = self.clock()
        wait = self.bucket.take()
        if wait > 0:
            self.refused += 1
            return 429, self.error("too_often", "you ask too often"), math.ceil(wait)
        try:
            texts = self.read(body)
            rows = await self.queue.put(texts)
        except requests.Problem as problem:
            self.refused += 1
            return problem.status, self.error(problem.code, problem.message), problem.retry_after
        except Exception:
            self.failed += 1
            return 500, self.error("internal", "the model failed"), None
        self.ok += 1
        self.times.append(self.clock() - began)
        return 200, {"predictions": [[float(number) for number in row] for row in rows]}, None

    def metrics(self):
        p50 = latency.percentile(self.times, 50) if self.times else None
        p95 = latency.percentile(self.times, 95) if self.times else None
        return {"ok": self.ok, "refused": self.refused, "failed": self.failed, "p50": p50, "p95": p95}
'''
right.cell("endpoint", "with three counters and early returns", ENDPOINT)
right.cell("endpoint", "a list of (status, seconds)", '''
class Endpoint:
    def __init__(self, read, bucket, queue, clock):
        self.parts, self.clock, self.log = (read, bucket, queue), clock, []

    async def answer(self, body):
        start = self.clock()
        status, content, wait = await self.work(body)
        self.log.append((status, self.clock() - start))
        return status, content, wait

    async def work(self, body):
        read, bucket, queue = self.parts
        try:
            if (seconds := bucket.take()) > 0:
                raise requests.Problem(429, "rate", "slower, please", -int(-seconds // 1))
            rows = await queue.put(read(body))
            return 200, {"predictions": rows.tolist()}, None
        except Exception as error:
            if isinstance(error, requests.Problem):
                return error.status, {"error": {"code": error.code, "message": str(error)}}, error.retry_after
            return 500, {"error": {"code": "model", "message": type(error).__name__}}, None

    def metrics(self):
        took = sorted(seconds for status, seconds in self.log if status == 200)
        def place(p):
            return took[math.ceil(p * len(took) / 100) - 1] if took else None
        counts = Counter({200: "ok", 500: "failed"}.get(status, "refused") for status, _ in self.log)
        return {**{name: counts[name] for name in ("ok", "refused", "failed")}, "p50": place(50), "p95": place(95)}
''')
right.cell("endpoint", "a list for the answer, an array of times", change(
    ENDPOINT, "        return 200, {", "        return [200, {", "for row in rows]}, None", "for row in rows]}, None]",
    "latency.percentile(self.times, 50)", 'np.percentile(np.array(self.times), 50, method="inverted_cdf")'))
right.cell("endpoint", "the future in a line of its own, a count more", change(
    ENDPOINT, "            rows = await self.queue.put(texts)\n", "            future = self.queue.put(texts)\n            rows = await future\n",
    'return {"ok"', 'return {"seen": self.ok + self.refused + self.failed, "ok"'))
right.cell("endpoint", "the time counts from the answer of the bucket", change(
    ENDPOINT, "        began = self.clock()\n        wait = self.bucket.take()\n", "        wait = self.bucket.take()\n        began = self.clock()\n"))
wrong_ones("endpoint", ENDPOINT, {
    "reads before it asks the bucket": ('''        wait = self.bucket.take()
        if wait > 0:
''', '''        try:
            self.read(body)
        except requests.Problem as problem:
            self.refused += 1
            return problem.status, self.error(problem.code, problem.message), problem.retry_after
        wait = self.bucket.take()
        if wait > 0:
'''),
    "no bucket": ("if wait > 0:", "if False:"),
    "takes two tokens": ("wait = self.bucket.take()", "wait = max(self.bucket.take(), self.bucket.take())"),
    "the bucket's answer the wrong way round": ("if wait > 0:", "if wait == 0:"),
    "503 for who asks too often": ("return 429,", "return 503,"),
    "seconds with a fraction": ("math.ceil(wait)", "wait"),
    "seconds rounded down": ("math.ceil(wait)", "int(wait)"),
    "always one second": ("math.ceil(wait)", "1"),
    "a second too many where the wait is whole": ("math.ceil(wait)", "int(wait) + 1"),
    "seconds rounded to the nearest": ("math.ceil(wait)", "max(1, round(wait))"),
    "a Problem that comes by the future is a failure": ('''            texts = self.read(body)
            rows = await self.queue.put(texts)
        except requests.Problem as problem:
''', '''            texts = self.read(body)
            future = self.queue.put(texts)
        except requests.Problem as problem:
''', '''        self.ok += 1
        self.times''', '''        try:
            rows = await future
        except Exception:
            self.failed += 1
            return 500, self.error("internal", "the model failed"), None
        self.ok += 1
        self.times'''),
    "read stands outside of the try for all but a Problem": ('''        try:
            texts = self.read(body)
            rows = await self.queue.put(texts)
''', '''        try:
            texts = self.read(body)
        except requests.Problem as problem:
            self.refused += 1
            return problem.status, self.error(problem.code, problem.message), problem.retry_after
        try:
            rows = await self.queue.put(texts)
'''),
    "the time without the reading": ("            texts = self.read(body)\n", "            texts = self.read(body)\n            began = self.clock()\n"),
    "no seconds to wait with a full queue": ("self.error(problem.code, problem.message), problem.retry_after",
                                             "self.error(problem.code, problem.message), None"),
    "400 for every Problem": ("return problem.status,", "return 400,"),
    "a Problem of the queue is a failure": ('''            texts = self.read(body)
            rows = await self.queue.put(texts)
        except requests.Problem as problem:
''', '''            texts = self.read(body)
        except requests.Problem as problem:
''', '''        self.ok += 1
        self.times''', '''        try:
            rows = await self.queue.put(texts)
        except Exception:
            self.failed += 1
            return 500, self.error("internal", "the model failed"), None
        self.ok += 1
        self.times'''),
    "a failure of the model goes up": ('''        except Exception:
            self.failed += 1
            return 500, self.error("internal", "the model failed"), None
''', ""),
    "the message of 500 quotes the error": ('''        except Exception:
            self.failed += 1
            return 500, self.error("internal", "the model failed"), None
''', '''        except Exception as error:
            self.failed += 1
            return 500, self.error("internal", str(error)), None
'''),
    "swallows the cancellation of its caller": ("except Exception:", "except BaseException:"),
    "counts who has left as failed": ('''        except Exception:
            self.failed += 1
            return''', '''        except asyncio.CancelledError:
            self.failed += 1
            raise
        except Exception:
            self.failed += 1
            return'''),
    "forgets await": ("rows = await self.queue.put(texts)", "rows = self.queue.put(texts)"),
    "the rows as an array, which JSON cannot write": ("[[float(number) for number in row] for row in rows]", "rows"),
    "the best class in place of the rows": ("[[float(number) for number in row] for row in rows]", "[int(row.argmax()) for row in rows]"),
    "the rows without a name": ('{"predictions": [[float(number) for number in row] for row in rows]}',
                                "[[float(number) for number in row] for row in rows]"),
    "the error as a string": ('return {"error": {"code": code, "message": message}}', 'return {"error": message}'),
    "two things, without the seconds": ("for row in rows]}, None", "for row in rows]}"),
    "refusals count as ok": ("self.refused += 1", "self.ok += 1"),
    "429 is not counted": ('''            self.refused += 1
            return 429''', "            return 429"),
    "failures count as refusals": ("self.failed += 1", "self.refused += 1"),
    "the times of refused requests go into the percentiles": ('''            self.refused += 1
            return problem''', '''            self.refused += 1
            self.times.append(self.clock() - began)
            return problem'''),
    "the mean for p50": ("latency.percentile(self.times, 50)", "float(np.mean(self.times))"),
    "numpy's percentile, which draws lines between values": ("latency.percentile(self.times, 95)", "float(np.percentile(self.times, 95))"),
    "in milliseconds": ("self.clock() - began)", "1000 * (self.clock() - began))"),
    "the moment of the answer, not the time that it took": ("self.times.append(self.clock() - began)", "self.times.append(self.clock())"),
    "0 where there is no time yet": ("if self.times else None", "if self.times else 0.0"),
    "breaks while there is no time": ("latency.percentile(self.times, 50) if self.times else None", "latency.percentile(self.times, 50)"),
    "metrics begin anew at each look": ('''        return {"ok": self.ok''', '''        self.times = []
        return {"ok": self.ok'''),
    "counters of the class, not of the endpoint": (
        "        self.ok = self.refused = self.failed = 0\n        self.times = []\n", "",
        "class Endpoint:\n", "class Endpoint:\n    ok = refused = failed = 0\n    times = []\n"),
    "its own clock": ("began = self.clock()", "began = time.monotonic()", "self.clock() - began", "time.monotonic() - began"),
})


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
