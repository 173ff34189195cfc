"""Checks of lab 8, compress and serve. Inputs are fresh and random at each run; references are computed here."""

import numpy as np
import torch
from leaplm import compression, data, evaluation, marking
from leaplm.calibration import prediction_bound
from leaplm.compression import checkpoint as compressed
from leaplm.compression import latency
from leaplm.grading import (
    NOTHING_CALLED,
    Bool,
    Contract,
    ListOf,
    Number,
    Several,
    StudentError,
    Tensor,
    as_array,
    as_number,
    check,
    first_artifact,
)
from leaplm.grading.judge import standing
from leaplm.grading.judge.remembered import class_scores
from leaplm.serve import batching, keys, metrics

CLOSE = 1e-4
LIMIT_MB = 12


def close(got, want):
    return np.shape(got) == np.shape(want) and bool(np.allclose(got, want, atol=CLOSE, rtol=CLOSE))


def parts_of(result, name, size=2):
    """The parts of a list that a function should return; StudentError in words when it is something else."""
    if not isinstance(result, list) or len(result) != size:
        raise StudentError("unexpected", f"{name} should return {size} things")
    return result


PROBES = "leaplm.grading.judge.probes"
YES_OR_NO = ListOf(Bool())
LATENCY = Contract("starts ends", Several(Number(), Number(), Number()), arrays="numpy",
                   own="leaplm.compression.latency.percentile")


@check(points=2, contract=LATENCY)
def latency_summary(student, rng):
    """Overlapping requests whose starts are not in order; sizes at which nearest rank is neither rounding nor cutting."""
    right = np.zeros(3, dtype=bool)
    for case, size in enumerate((1, 7, 19, 20, 100)):
        starts = rng.uniform(3, 9, size=size)
        ends = starts + rng.exponential(0.5, size=size) + 0.01
        given = (starts, ends) if case % 2 else (starts.tolist(), ends.tolist())
        got = parts_of(student.call("latency_summary", *given), "latency_summary", 3)
        values = [as_number(value, "latency_summary") for value in got]
        same = np.isclose(values, latency.latency_summary(starts, ends), rtol=1e-6)
        right = same if case == 0 else right & same
    if right.all():
        return 2, "percentiles by nearest rank, throughput over the whole time"
    if right[:2].all():
        return 1, "the percentiles are right; throughput is n over the time from the first start to the last end"
    if right[2]:
        return 1, "the throughput is right; p50 and p95 are number ceil(p n / 100) of the sorted latencies, counted from 1"
    return 0, "sort the latencies, take number ceil(p n / 100); n over the time from the first start to the last end"


INT8 = Contract("weight", Several(Tensor("int8", dims=2), Tensor("float", dims=1)),
                own="leaplm.compression.quantization.fake_quantize")


@check(points=3, contract=INT8)
def quantize_int8(student, rng):
    """A row of zeros, one with a zero, rows of very different sizes, the largest number negative, numbers near a half."""
    weight = (rng.normal(size=(9, 40)) * rng.choice([1e-3, 0.1, 20], size=(9, 1))).astype(np.float32)
    weight[4], weight[6, 3], weight[7] = 0, 0, 1e-7 * rng.normal(size=40)
    weight[5, 7] = -2 * np.abs(weight[5]).max()
    got = parts_of(student.call("quantize_int8", weight), "quantize_int8")
    numbers, scales = as_array(got[0], (9, 40), "numbers"), as_array(got[1], (9,), "scales")
    if not np.isfinite(scales).all():
        return 0, "a scale is not a finite number: look at the row of zeros"
    want, want_scales = (part.numpy() for part in compression.quantize_int8(torch.from_numpy(weight)))
    rows = np.arange(9) != 4
    if not np.allclose(scales[rows], want_scales[rows], rtol=1e-5, atol=0):
        return 0, "the scales differ: each row's largest absolute value, divided by 127, also of very small numbers"
    if got[0].dtype.kind != "i" or np.abs(numbers - want).max() > 1:
        return 0, "the numbers should be integers: weight / scale, rounded, as torch.int8"
    # A number exactly between two integers may go either way.
    exact = weight[rows] / want_scales[rows][:, None]
    unclear = np.abs(np.abs(exact - np.floor(exact)) - 0.5) < 1e-3
    if (numbers[rows] != want[rows])[~unclear].any():
        return 1, "the scales are right; the numbers are cut off instead of rounded"
    if not close(scales[4], 1.0) or numbers[4].any():
        return 2, "right but for the row of zeros: numbers 0 and the scale 1"
    for single in (weight[:1], weight[:, :1]):  # one row, one column
        got = parts_of(student.call("quantize_int8", single), "quantize_int8")
        if as_array(got[0], single.shape, "numbers").shape != single.shape or np.shape(got[1]) != single.shape[:1]:
            return 2, "right, but not for a matrix of one row or one column"
    return 3, "numbers and scales are right, also of a row of zeros"


@check(points=3, contract=Contract("weight share", Tensor("bool"), own="leaplm.compression.pruning.prune_model"))
def magnitude_mask(student, rng):
    """Vectors and matrices, with ties, with negative numbers, and with shares 0 and 1."""
    plain = ties = True
    for size, share in (((7, 5), 0.31), ((40,), 0.54), ((6, 2, 3), 0.9), ((5, 4), 0.0), ((3, 3), 1.0)):
        weight = rng.normal(size=size).astype(np.float32)
        got = as_array(student.call("magnitude_mask", weight, share), size, "the mask")
        plain = plain and np.array_equal(got != 0, reference_mask(weight, share))
    for _ in range(8):
        weight = rng.choice([-2.0, -1.0, 1.0, 2.0], size=(6, 7)).astype(np.float32)
        share = float(rng.choice([0.2, 0.5, 0.8]))
        got = as_array(student.call("magnitude_mask", weight, share), (6, 7), "the mask")
        ties = ties and np.array_equal(got != 0, reference_mask(weight, share))
    if plain and ties:
        return 3, "exactly the share goes, the smallest first"
    if plain:
        return 2, "right without equal weights; of equal ones those that stand first should go, and no more than the share"
    return 0, "True stands for a weight that stays; round(share * n) weights with the smallest absolute values go"


def reference_mask(weight, share):
    return compression.magnitude_mask(torch.from_numpy(weight), share).numpy()


DISTILLATION = Contract("student_logits teacher_logits labels temperature weight", Tensor("float", dims=0),
                        gradient="student_logits", own="leaplm.compression.distillation.distillation_objective")


@check(points=3, contract=DISTILLATION)
def distillation_loss(student, rng):
    """The two parts one by one, their mix, large logits, one text alone, and the gradient, which both parts give."""
    logits, teacher = (rng.normal(scale=3, size=(6, 4)).astype(np.float32) for _ in range(2))
    labels, temperature = rng.permutation([0, 0, 1, 2, 3, 3]), float(rng.uniform(1.5, 5))

    def same(weight, factor=1.0, texts=6):
        given = (logits[:texts] * np.float32(factor), teacher[:texts] * np.float32(factor), labels[:texts])
        got = as_array(student.call("distillation_loss", *given, temperature, weight), (), "distillation_loss")
        want = compression.distillation_loss(*map(torch.from_numpy, given), temperature, weight)
        return bool(np.isclose(float(got), float(want), rtol=1e-3, atol=1e-4))

    if not same(0.0):
        return 0, "with weight 0 it should be the cross-entropy of the student's own logits with the labels (temperature 1)"
    if not same(1.0):
        return 0, "with weight 1 it should be T^2 KL(teacher || student) at temperature T, a mean over texts"
    if not same(0.25) or not same(0.8, texts=1):
        return 1, "both parts are right; their mix is weight * soft + (1 - weight) * hard"
    if not same(0.5, factor=300.0):
        return 2, "right for small logits; for logits like 1,000 it overflows: work with log_softmax"
    given, mix = (logits, teacher, labels), (temperature, 0.7)
    gradients = student.read(student.get("distillation_loss"), f"{PROBES}:gradients_of_call", *given, *mix)
    z = torch.from_numpy(logits).requires_grad_()
    compression.distillation_loss(z, *map(torch.from_numpy, given[1:]), *mix).backward()
    if not close(gradients.get("0", 0 * logits), z.grad):
        return 2, "the numbers are right, but not the gradient: both parts should reach the student's logits"
    return 3, "both parts and their mix are right"


BATCHES = Contract("arrivals max_size max_wait", Several(ListOf(Number(whole=True)), ListOf(Number())))


@check(points=4, contract=BATCHES)
def collect_batches(student, rng):
    """Sparse and dense arrivals, on a grid of 1/64 s so that sums are exact and some arrive at the moment of closing."""
    cases = {"nothing arrives": ([], 3, 0.25), "one text alone": ([2.5], 3, 0.25),
             "each alone (max_size 1)": (grid(rng, 6, 20), 1, 0.25),
             "no wait": (sorted(grid(rng, 5, 30) * 2), 4, 0.0), "at the moment of closing": ([0.0, 0.25, 0.5], 5, 0.25),
             "just after the moment of closing": ([0.0, 0.25 + 2**-14, 0.5], 5, 0.25)}
    cases |= {f"random {i}": (grid(rng, 30, int(rng.choice([40, 100, 300]))), int(rng.integers(2, 7)),
                              float(rng.choice([8, 16, 32])) / 64) for i in range(12)}
    bad_sizes, bad_times = [], []
    for name, case in cases.items():
        got = parts_of(student.call("collect_batches", *case), "collect_batches")
        sizes, sent = (as_array(part, (None,), "collect_batches") for part in got)
        want_sizes, want_sent = batching.collect_batches(*case)
        bad_sizes += [name] * (not np.array_equal(sizes, want_sizes))
        bad_times += [name] * (not close(sent, want_sent))
    edges = [name for name in bad_sizes + bad_times if not name.startswith("random")]
    if not bad_sizes and not bad_times:
        return 4, "sizes and times are right, also at the edges"
    if not bad_sizes:
        return 2, "the sizes are right; a full batch goes when its last text arrives, another max_wait after its first"
    if len(edges) == len(bad_sizes + bad_times):
        return 2, f"right for random arrivals; look at: {edges[0]}"
    return 0, "sizes differ: a batch opens with its first text, and closes when full or max_wait after that text"


def grid(rng, size, span):
    """Ascending times in s: whole numbers of 1/64 s below `span` / 64."""
    return np.sort(rng.integers(0, span, size=size) / 64).tolist()


@check(points=3, contract=Contract("times rate capacity", YES_OR_NO, own="leaplm.serve.keys.TokenBucket"))
def token_bucket(student, rng):
    """Random requests on a grid of 1/8 s (exact sums), of which many are refused; a long pause; a start that is not at 0."""
    cases = [([5.0, 5.0, 5.0, 50.0, 50.0, 50.0, 50.0], 1.0, 2), ([0.0, 0.5, 1.0, 1.5, 2.0, 2.5], 0.5, 1)]
    for _ in range(12):
        times = np.sort(rng.integers(0, 120, size=40) / 8 + float(rng.integers(0, 9))).tolist()
        cases.append((times, float(rng.choice([0.5, 1, 2])), int(rng.integers(1, 6))))
    wrong = 0
    for case in cases:
        got = as_array(student.call("token_bucket", *case), (len(case[0]),), "token_bucket")
        wrong += not np.array_equal(got, reference_bucket(*case))
    if not wrong:
        return 3, "full at first, filled with time up to the capacity, and refused requests take nothing"
    return 0, f"{wrong} of {len(cases)} cases differ: start full, refill by time up to the capacity, a refusal takes nothing"


def reference_bucket(times, rate, capacity):
    bucket = keys.TokenBucket(rate, capacity, times[0])
    return [bucket.take(now) == 0 for now in times]


ALERT = Contract("times requests failures window share hold", YES_OR_NO, own="leaplm.serve.metrics.increases")


@check(points=2, contract=ALERT)
def alert_fires(student, rng):
    """Random counters with bursts of failures, gaps between samples, moments without requests, edges, and restarts."""
    plain = [*ALERT_EDGES, *(random_counters(rng) for _ in range(8))]
    with_restart = [*ALERT_RESTARTS, *(random_counters(rng, int(rng.integers(20, 25))) for _ in range(8))]
    plain, restarts = (sum(alert_is_right(student, *case) for case in cases) == len(cases)
                       for cases in (plain, with_restart))
    if plain and restarts:
        return 2, "window, share, hold and restarts are right"
    if plain:
        return 1, "right while counters only grow; after a restart a counter grew by its new value, not by less than 0"
    return 0, "growth in the steps that end in (t - window, t], its share (0 without requests), and since when it is above"


ALERT_EDGES = [  # times, requests, failures, window, share, hold
    ([5], [3], [3], 10, 0.1, 0),  # one sample: no step yet
    ([0, 10, 20, 30], [90, 100, 110, 120], [80, 80, 80, 80], 60, 0.1, 0),  # counters that began before the first sample
    ([0, 10, 20, 30], [0, 8, 16, 24], [0, 2, 4, 7], 10, 0.25, 0),  # exactly the share is not above it
    ([0, 10, 20, 30, 40], [0, 10, 20, 30, 40], [0, 9, 9, 9, 9], 20, 0.4, 0),  # a step that ends at t - window is out
    ([0, 10, 20, 30, 40], [0, 10, 20, 30, 40], [0, 9, 18, 27, 36], 10, 0.4, 20),  # held for exactly `hold`
    ([0, 10, 20, 30], [0, 0, 0, 0], [0, 0, 0, 0], 20, 0.0, 0),  # no requests
    ([0, 10, 20, 30], [5, 5, 5, 5], [1, 2, 3, 4], 20, 0.1, 0),  # no requests, but failures
]
ALERT_RESTARTS = [
    ([0, 10, 20, 30, 40], [50, 60, 70, 10, 20], [9, 9, 9, 5, 5], 10, 0.25, 0),  # fails in the step of the restart only
    ([0, 10, 20, 30, 40], [50, 60, 70, 20, 21], [5, 5, 5, 5, 6], 20, 0.25, 0),  # one counter falls, the other does not
    ([0, 10, 20, 30], [100, 110, 5, 10], [0, 0, 5, 10], 10, 0.5, 10),  # above before and after
]


def random_counters(rng, restart=None):
    """40 samples of two counters that begin again before sample `restart`, with a window, a share and a hold."""
    times = np.cumsum(rng.choice([10, 15, 30], size=40)).tolist()
    asked = rng.integers(0, 12, size=40) * (rng.random(40) < 0.9)
    rate = np.repeat(rng.choice([0.0, 0.1, 0.6], size=8), 5)
    rate[12:28] = 0.7  # long enough to fire, also around a restart
    counters = [np.cumsum(asked), np.cumsum(rng.binomial(asked, rate))]
    if restart:
        counters = [restarted(values, restart) for values in counters]
    requests, failures = (values.tolist() for values in counters)
    return times, requests, failures, float(rng.choice([30, 60, 90])), 0.25, float(rng.choice([0, 30, 60]))


def alert_is_right(student, *case):
    got = as_array(student.call("alert_fires", *case), (len(case[0]),), "alert_fires")
    return np.array_equal(got, metrics.alert_fires(*case))


def restarted(values, place):
    """A counter that begins again at 0 before sample `place`."""
    values = values.copy()
    values[place:] -= values[place - 1]
    return values


@check(points=6, seconds=120, contract=NOTHING_CALLED)
def compressed_model(student, rng):
    """The saved model on held-out texts: full points from the calibrated mean minus three deviations of macro-F1."""
    content = first_artifact(student, ("compressed-gpu.safetensors", "compressed-cpu.safetensors"))
    if len(content) > LIMIT_MB * 1e6:
        return 0, f"the file has {len(content) / 1e6:.1f} MB; at most {LIMIT_MB} MB are allowed"
    try:
        card, model, tokenizer = compressed.load_compressed(content)
        language = card.get("language")
        heldout = data.heldout_rows(language)
        if card["labels"] != heldout.features["label"].names:
            return 0, f"the classes of the artifact are not those of language {language!r}"
    except (ValueError, KeyError, TypeError) as error:
        return 0, f"the artifact cannot be used: {error}"
    return judge_classifier(model, tokenizer, heldout, language)


def judge_classifier(model, tokenizer, heldout, language):
    """Macro-F1, so that 'always neutral', right for six in ten Swahili tweets, earns nothing."""
    rows, labels = data.tokenize(heldout, tokenizer, max_length=64), np.array(heldout["label"])
    collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
    texts = str([row["input_ids"] for row in rows])  # as this tokenizer cuts them, which came with the model
    predictions = class_scores(model, texts, rows, collate).argmax(-1)
    score = evaluation.macro_f1(labels, predictions)
    majority = evaluation.macro_f1(labels, evaluation.majority_baseline(labels, labels))
    ignorant = max(majority, 1 / len(heldout.features["label"].names))
    record = marking.runs("lab8_serving", language)["heldout_macro_f1"]
    if not len(record):
        return 0, f"there is no record for language {language!r} yet: `leaplm add-language` makes one"
    # In Swahili our own runs are not far above guessing: less than that is never enough.
    wanted, told = max(ignorant, prediction_bound(record)), f"macro-F1 {score:.3f} on {len(labels)} held-out texts"
    standing.note("macro-F1", score, wanted, record)
    if score >= wanted:
        return 6, f"{told}; at least {wanted:.3f} was wanted"
    low, _ = evaluation.bootstrap_interval(labels, predictions, evaluation.macro_f1)
    if low > ignorant:
        return 3, f"{told}: clearly above what guessing gives ({ignorant:.3f}), below the {wanted:.3f} that was wanted"
    return 0, f"{told}: not clearly above what guessing gives ({ignorant:.3f})"
