"""Checks of lab 13, transfer into a language. Inputs are fresh and random at each run; references are computed here."""

import functools

import numpy as np
import torch
from leaplm import artifacts, data, evaluation, marking, transfer
from leaplm.calibration import load_record, prediction_bound
from leaplm.grading import (
    FREE,
    NOTHING_CALLED,
    Contract,
    Either,
    ListOf,
    Number,
    Numbers,
    Object,
    Record,
    Several,
    Tensor,
    Text,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import probes, standing
from leaplm.grading.judge.remembered import scored_once

PROBES = "leaplm.grading.judge.probes:"
MOST_BYTES = 40 << 20


def close(got, want, tolerance=1e-4):
    return got.shape == np.shape(want) and bool(np.allclose(got, want, atol=tolerance, rtol=tolerance))


@check(points=3, contract=Contract("pairs tested", ListOf(Several(Text(), Text()))))
def safe_pairs(student, rng):
    """Tested sentences in another case and spacing, on either side; near ones that are no leak; one pair twice."""
    words = rng.permutation(["Ruwa", "Ọjà", "Soko", "ትምህርት", "Yachay", "Makaranta", "Mto", "Gida"]).tolist()
    pairs = [(f"{word} na {i}", f"Sentence {i} about a {word}") for i, word in enumerate(words)]
    pairs.append(pairs[5])
    tested = [f"  {pairs[1][1].upper()} ", pairs[3][0].replace(" ", "\t").swapcase(), f"{pairs[0][1]} today",
              pairs[2][1][:-2], words[7], "not one of them"]
    got = student.call("safe_pairs", pairs, tested)
    got = [tuple(pair) for pair in got]
    kept = [pair for i, pair in enumerate(pairs) if i not in (1, 3)]
    if got != kept:
        if sorted(set(got)) == sorted(set(kept)):
            return 1, "the right sentences; but each pair should stay as often as it was there, in the order given"
        if pairs[1] in got:
            return 0, "a pair whose English side is tested stayed (letter case and white space do not count)"
        if pairs[3] in got:
            return 1, "the English side is right; a pair stays whose text in the language is tested"
        return 1, "a pair went that only resembles a tested sentence: whole sentences count"
    if student.call("safe_pairs", pairs, []) != [list(pair) for pair in pairs] or student.call("safe_pairs", [], tested):
        return 2, "right; but with no tested sentence all pairs stay, and of no pairs none"
    return 3, "only pairs that no test has seen"


@check(points=3, contract=Contract("text smallest largest", ListOf(Text())))
def character_pieces(student, rng):
    """Short words, one letter, marks and other scripts, one size; several blanks; no text."""
    words = ["Sannu", "a", "ኢትዮጵያ", "ọjọ́", "na", "wanda,", "na", "tú"]
    for smallest, largest in ((2, 5), (3, 3), (int(rng.integers(1, 4)), int(rng.integers(4, 8))), (5, 6)):
        text = "  ".join(rng.permutation(words))
        got = student.call("character_pieces", text, smallest, largest)
        want = transfer.character_pieces(text, smallest, largest)
        if sorted(got) != sorted(want):
            return explain_pieces(got, want)
    if student.call("character_pieces", "", 2, 3) != []:
        return 2, "right for words; a text without any has no pieces"
    return 3, "all pieces inside the words"


def explain_pieces(got, want):
    if any(" " in piece.strip() for piece in got):
        return 0, "some pieces go over two words: cut each word for itself"
    if set(got) == set(want):
        return 1, "the right pieces, but not as often as they occur: a short word once, a repeated piece again"
    if {piece for piece in want if " " not in piece} <= set(got):
        return 1, "inside the words all is there; look at the blank before and after each word, and at short words"
    return 0, "pieces are missing: all sizes from smallest to largest, at all places?"


WEIGHED = Contract("counts rarity", Numbers("float", dims=2))


@check(points=3, contract=WEIGHED)
def weigh_counts(student, rng):
    """Rows of several lengths, an empty one, one row; and a count of 1."""
    for rows in (7, 1):
        counts = rng.poisson(0.9, size=(rows, 9)).astype(np.float32)
        counts[0, :3] = (1, 0, 4)
        if rows > 1:
            counts[3] = 0
        rarity = rng.uniform(1, 5, size=9).astype(np.float32)
        got = as_array(student.call("weigh_counts", counts, rarity), counts.shape, "weigh_counts")
        if not np.isfinite(got).all():
            return 0, "some numbers are not finite: no logarithm of 0, no division by 0 for a row without pieces"
        want = transfer.weigh_counts(counts, rarity)
        if not close(got, want):
            lengths = np.linalg.norm(got, axis=1)
            if np.allclose(lengths[counts.any(axis=1)], 1, atol=1e-3):
                return 1, "the rows have length 1; but it is (1 + ln count) times the rarity, and 0 where the count is 0"
            if close(got / np.maximum(lengths, 1e-9)[:, None], want, 1e-3):
                return 2, "right but for the length: divide each row by its length"
            return 0, "other numbers: (1 + ln count) times the rarity, then each row of length 1"
    return 3, "TF-IDF, row by row"


RIDGE = Contract("features vectors penalty", Several(Numbers("float", dims=2), Numbers("float", dims=1)), arrays="float64")


@check(points=4, contract=RIDGE)
def fit_map(student, rng):
    """More features than sentences and fewer; means far from 0; penalties small and large; one output."""
    for n, f, w in ((6, 11, 4), (12, 5, 3), (5, 5, 1)):
        x, y = rng.normal(2, 1, size=(n, f)), rng.normal(-3, 1, size=(n, w))
        for penalty in (0.05, float(rng.uniform(1, 20))):
            weights, bias = student.call("fit_map", x, y, penalty)
            weights, bias = as_array(weights, (f, w), "weights"), as_array(bias, (w,), "bias")
            want, want_bias = transfer.fit_map(x, y, penalty)
            if not close(weights, want, 1e-3):
                return explain_ridge(weights, x, y, penalty)
            if not close(bias, want_bias, 1e-3):
                return 2, "the weights are right; the bias is the vectors' mean minus (the features' mean @ weights)"
    return 4, "ridge regression with a free bias"


def explain_ridge(weights, x, y, penalty):
    raw = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), y)
    if close(weights, raw, 1e-3):
        return 1, "these are the weights without centring: take the means of features and vectors away first"
    for factor in (len(x), 1 / len(x), penalty, 1 / penalty):
        if close(weights, transfer.fit_map(x, y, penalty * factor)[0], 1e-3):
            return 1, "ridge weights, but of another penalty: it is added to the squares' sum as it is"
    return 0, "other weights: X'(XX' + penalty I)^-1 Y with centred X and Y"


@check(points=2, contract=Contract("features vectors dev_features dev_vectors penalties", Number(), arrays="float64"))
def choose_penalty(student, rng):
    """Data where training sentences, the squared error and the cosine ask for different penalties; penalties unsorted."""
    seen = set()
    for _ in range(40):
        case = penalty_case(rng)
        if case is None or (case[1] in seen and len(seen) < 2):
            continue
        arguments, want, scores = case
        got = as_number(student.call("choose_penalty", *arguments), "choose_penalty")
        if got not in arguments[-1]:
            return 0, "the answer should be one of the penalties, not its place or its score"
        if not np.isclose(got, want):
            return 0, "another penalty has a larger mean cosine on the development sentences, fitted on the others"
        seen.add(want)
        if len(seen) == 3:
            break
    return 2, "chosen on sentences that the map has not seen"


def penalty_case(rng):
    """(arguments, the best penalty, scores) with a clear best that the rivals do not have; None if luck gave none."""
    true = rng.normal(size=(20, 4))
    x, dev = rng.normal(size=(12, 20)), rng.normal(size=(9, 20))
    y, dev_y = (rows @ true + rng.normal(0, rng.uniform(0.5, 6), size=(len(rows), 4)) for rows in (x, dev))
    dev_y = dev_y * np.exp(rng.normal(0, 1.2, size=(9, 1)))  # lengths that a squared error sees, and a cosine does not
    penalties = rng.permutation([0.01, 1.0, 8.0, 60.0, 500.0]).tolist()
    maps = [transfer.fit_map(x, y, penalty) for penalty in penalties]
    scores = [transfer.mean_cosine(dev @ w + b, dev_y) for w, b in maps]
    errors = [np.square(dev @ w + b - dev_y).mean() for w, b in maps]
    fit = [transfer.mean_cosine(x @ w + b, y) for w, b in maps]
    best, second = np.argsort(scores)[::-1][:2]
    if scores[best] - scores[second] < 1e-3 or best in (np.argmin(errors), np.argmax(fit), np.argmin(scores)):
        return None
    return (x, y, dev, dev_y, penalties), penalties[best], scores


GAIN = Record(dict.fromkeys(("gain", "low", "high"), Number()))


@check(points=4, contract=Contract("labels first second rounds seed", GAIN, random=FREE))
def paired_gain(student, rng):
    """The gain exactly; the interval near that of ten thousand rounds, where unpaired draws give a wider one."""
    n = 120
    labels = rng.permutation(np.repeat([0, 1, 2], [60, 40, 20]))
    first = np.where(rng.random(n) < 0.55, labels, rng.integers(0, 3, n))
    second = np.where((first != labels) & (rng.random(n) < 0.3), labels, first)
    want = wanted_gain(labels, first, second)
    answers = labels.tolist(), first.tolist(), second.tolist()
    found = student.call("paired_gain", *answers, 400, 3)
    again, once_more, other = (student.call("paired_gain", *answers, 20, seed) for seed in (3, 3, 4))
    numbers = {name: as_number(found[name], name) for name in want}
    if not np.isclose(numbers["gain"], want["gain"], atol=1e-6):
        if np.isclose(numbers["gain"], -want["gain"]):
            return 0, "the gain has the wrong sign: it is macro-F1 of second minus that of first"
        return 0, "the gain is macro-F1 of second minus that of first, on all texts"
    width = want["high"] - want["low"]
    if abs(numbers["low"] - want["low"]) > 0.15 * width or abs(numbers["high"] - want["high"]) > 0.15 * width:
        wide = numbers["high"] - numbers["low"] > 1.15 * width
        told = "too wide: draw the same texts for both" if wide else \
            "another one: n texts with replacement, then the 2.5 and 97.5 % points of the differences"
        return 1, f"the gain is right; the interval is {told}"
    if again != once_more or again == other:
        return 3, "right numbers; but the same seed should give the same interval, another seed another one"
    swapped = student.call("paired_gain", labels.tolist(), second.tolist(), first.tolist(), 20, 3)
    if not np.isclose(as_number(swapped["gain"], "gain"), -want["gain"], atol=1e-6):
        return 2, "right when second is better; when first is better the gain and its interval are below 0"
    return 4, "the gain, with an interval over the same texts"


def wanted_gain(labels, first, second, rounds=2000):
    """`transfer.paired_gain` for all rounds at once: every class occurs in each of them."""
    rows = np.random.default_rng(7).integers(0, len(labels), (rounds, len(labels)))

    def scores(answers):
        drawn, said = labels[rows], answers[rows]
        hits = [(((drawn == c) & (said == c)).sum(1) * 2) / ((drawn == c).sum(1) + (said == c).sum(1)) for c in range(3)]
        return np.mean(hits, axis=0)

    low, high = np.quantile(scores(second) - scores(first), [0.025, 0.975])
    gain = evaluation.macro_f1(labels, second) - evaluation.macro_f1(labels, first)
    return {"gain": gain, "low": low, "high": high}


MADE = Contract("vocabulary width outputs", Object("Module"), random=FREE, mode="any")
RUN = Contract("ids", Tensor("float", dims=2), gradient=None)


@check(points=4, contract={"SentenceStudent": MADE, "SentenceStudent()": RUN})
def sentence_student(student, rng):
    """Random weights, the padding's row too; padding behind and none; a text of padding only; gradients."""
    vocabulary, width, outputs = (int(n) for n in rng.permutation([17, 6, 9]))
    model = student.call("SentenceStudent", vocabulary, width, outputs)
    shapes = {"embeddings.weight": (vocabulary, width), "projection.weight": (outputs, width), "projection.bias": (outputs,)}
    state = student.read(model, f"{PROBES}state_dict")
    if {name: array.shape for name, array in state.items()} != shapes:
        return 0, "the weights should be `embeddings` (vocabulary, width) and `projection`, linear to outputs, with bias"
    student.read(model, f"{PROBES}randomize", "", 5)
    ours = transfer.SentenceStudent(vocabulary, width, outputs)
    probes.randomize(ours, "", 5)
    ids = rng.integers(1, vocabulary, size=(5, 6)) * (np.arange(6) < np.array([6, 1, 3, 4, 0])[:, None])
    ids[0, 0] = 1
    wanted = ours(torch.from_numpy(ids)).detach().numpy()
    got = as_array(student.call(model, ids), (5, outputs), "the output")
    if not close(got[:4], wanted[:4]):
        whole = ours.projection(ours.embeddings(torch.from_numpy(ids)).mean(dim=1)).detach().numpy()
        return (1, "padding is in the mean: only pieces that are not 0 count") if close(got, whole) else (
            0, "other vectors: the mean of the embeddings of the real pieces, then the projection")
    if not close(got, wanted):
        return 3, "right; but a text of padding only should have the mean 0, so that the projection gives its bias"
    return learns(student, model, ours, ids)


def learns(student, model, ours, ids):
    """Whether gradients reach both parts."""
    flow = student.read(model, f"{PROBES}gradients_of_output", ids)
    want = probes.gradients_of_output(ours, torch.from_numpy(ids))
    if any(name not in flow or not close(flow[name], want[name], 1e-3) for name in want):
        return 2, "the vectors are right; but training does not reach all weights: no detach, no no_grad, no fixed weights"
    return 4, "the mean of the real pieces, projected; and it learns"


LOSS_FREE = Contract("student batches dev_batch epochs learning_rate", Either(ListOf(Number()), Numbers("float", dims=1)),
                     changes="student", mode="eval", leaves="gradients", own="leaplm.transfer.student.*")


@check(points=4, contract=LOSS_FREE)
def distil(student, rng):
    """A student that shows its mode, and a best epoch that is neither the first nor the last; then one epoch."""
    settings = middle_case(int(rng.integers(2**31)))
    got = run_distil(student, settings)
    want = reference_distil(settings)
    if len(got[0]) != settings["epochs"]:
        return 0, "one mean cosine an epoch should come back"
    if not close(got[0], want[0], 1e-3):
        return 0, "other cosines: AdamW with this rate, 1 - cosine as the loss, one update a batch in training mode, and " \
                  "measured in evaluation mode on dev_batch after each epoch"
    last = all(close(got[1][name], want[2][name], 1e-3) for name in want[2])
    if any(not close(got[1][name], want[1][name], 1e-3) for name in want[1]):
        kept = "those of the last epoch" if last else "not those of the best epoch"
        return 2, f"trained right; but the weights are {kept}: keep a copy of the best, and load it at the end"
    one = {**settings, "epochs": 1}
    got, want = run_distil(student, one), reference_distil(one)
    if any(not close(got[1][name], want[1][name], 1e-3) for name in want[1]):
        return 3, "right with many epochs; with one epoch, that one is the best"
    return 4, "trained, measured, and the best epoch kept"


@functools.lru_cache(maxsize=4)
def middle_case(seed):
    """Settings whose best epoch lies inside: the rate is high, the development batch of another kind."""
    rng = np.random.default_rng(seed)
    for _ in range(200):
        settings = {"seed": int(rng.integers(10**6)), "epochs": 4, "rate": float(rng.uniform(0.05, 0.4)),
                    "batches": [random_pair(rng, 4, 3) for _ in range(2)], "dev": random_pair(rng, 6, 2)}
        cosines = reference_distil(settings)[0]
        order = np.sort(cosines)
        if 0 < np.argmax(cosines) < 3 and order[-1] - order[-2] > 0.01 and np.argmax(cosines) != np.argmin(cosines):
            return settings
    raise RuntimeError("no random data have their best epoch in the middle")


def random_pair(rng, size, tokens):
    return rng.integers(1, 12, size=(size, tokens)), rng.normal(size=(size, 5)).astype(np.float32)


def run_distil(student, settings):
    """(cosines, weights afterwards) of the answer."""
    model = student.build(f"{PROBES}modal_linear", 12, 5, settings["seed"])
    student.read(model, f"{PROBES}leave_gradients")
    student.read(model, f"{PROBES}set_training", False)
    cosines = student.call("distil", model, [list(pair) for pair in settings["batches"]], list(settings["dev"]),
                           settings["epochs"], settings["rate"])
    return np.array([float(c) for c in cosines]), student.read(model, f"{PROBES}state_dict")


def reference_distil(settings):
    """(cosines, weights of the best epoch, of the last) of the library's training, written out."""
    def tensors(pair):
        return torch.from_numpy(pair[0]), torch.from_numpy(pair[1])

    model = probes.modal_linear(12, 5, settings["seed"])
    optimizer, cosines, kept = torch.optim.AdamW(model.parameters(), lr=settings["rate"]), [], []
    for _ in range(settings["epochs"]):
        model.train()
        for ids, vectors in map(tensors, settings["batches"]):
            optimizer.zero_grad()
            transfer.distillation_loss(model(ids), vectors).backward()
            optimizer.step()
        model.eval()
        ids, vectors = tensors(settings["dev"])
        with torch.no_grad():
            cosines.append(1 - float(transfer.distillation_loss(model(ids), vectors)))
        kept.append(probes.state_dict(model))
    return np.array(cosines), kept[int(np.argmax(cosines))], kept[-1]


@check(points=4, seconds=60, contract=NOTHING_CALLED)
def transferred_classifier(student, rng):
    """The saved map and head on held-out sentences: full points from the calibrated mean minus three deviations."""
    content = first_artifact(student, ("transfer-gpu.safetensors", "transfer-cpu.safetensors"))
    if len(content) > MOST_BYTES:
        return 0, f"the artifact has {len(content) / 1e6:.0f} MB; at most {MOST_BYTES / 1e6:.0f} are allowed"
    try:
        card, tensors = artifacts.read_artifact(content)
        language = card.get("language")
        if language not in tuple(data.SIB200):  # never a file that a card names
            return 0, f"language {language!r} cannot be marked: hand in hau, swa, yor, amh or another one of the list"
        heldout = transfer.load_pairs(language, heldout=True)["test"]
        names = sorted(heldout.topic.unique())
        if card.get("labels") != names:
            return 0, f"the classes of the artifact are not the topics: {', '.join(names)}"
        model = transfer.MappedClassifier(len(names))
        if missing := set(model.state_dict()) - set(tensors):
            return 0, f"the artifact lacks `{', '.join(sorted(missing))}`"
        model = artifacts.apply_artifact(model, tensors)
    except (ValueError, KeyError, OSError) as error:
        return 0, f"the artifact cannot be used: {error}"
    return judge_classifier(model, heldout, names, language)


def judge_classifier(model, heldout, names, language):
    labels = heldout.topic.map(names.index).to_numpy()
    predictions = scored_once(model, f"topics {language}", lambda: model.predict(list(heldout.text)))
    score = evaluation.macro_f1(labels, predictions)
    guessing = marking.most_by_guessing(labels)
    record = load_record("lab13_transfer", "main", language=language)["heldout_macro_f1"]
    if record.empty:
        return 0, f"there is no record for language {language!r}: hand in hau, swa, yor, amh or another one of the list"
    wanted = max(prediction_bound(record), guessing)
    told = f"macro-F1 {score:.3f} on {len(labels)} held-out sentences"
    standing.note("macro-F1", score, wanted, record)
    if score >= wanted:
        return 4, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1, rounds=300)
    if low > guessing:
        return 2, f"{told}: clearly above what guessing gives ({guessing:.3f}), below the {wanted:.3f} that was wanted"
    return 0, f"{told}: not clearly above what guessing gives ({guessing:.3f}); {wanted:.3f} was wanted"
