"""Checks of lab 8, compress and serve. Inputs are fresh and random at each run; references are computed here."""

import json

import numpy as np
import torch
from leaplm import compression, data
from leaplm.compression import checkpoint as compressed
from leaplm.compression import latency
from leaplm.grading import (
    NOTHING_CALLED,
    Contract,
    Several,
    StudentError,
    Tensor,
    as_array,
    check,
    first_artifact,
)
from leaplm.grading.judge import simulations
from leaplm.grading.judge.class_points import judge_classes
from leaplm.grading.judge.remembered import class_scores
from leaplm.serve import batching, keys, requests

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


SIMULATIONS = "leaplm.grading.judge.simulations"


def part(arguments, name):
    """Contracts of a part of the service, and of what is played with it (`simulations`)."""
    return {name: Contract(arguments), f"{name}()": Contract("made plan")}


def play(student, name, what, plan):
    """What happens with the student's part, and with the library's in its place where there is one."""
    return student.call(student.build(f"{SIMULATIONS}:player", name, what), student.get(name), plan)


def own(made, what, plan):
    return simulations.player("ours", what)(made, plan)


LIMITS = (400, 4, 30)  # bytes, texts, characters
QUOTED = b"zqx"  # stands in texts, and in no message
BODIES = {  # what it is: (body, status)
    "one byte too many": (b'{"texts": ["' + QUOTED * 129 + b'"]}', 413), "too large, and not JSON": (b"[" * 401, 413),
    "not JSON, a bracket alone": (b"{", 400), "a body of no bytes": (b"", 400),
    "a body that is not JSON": (b'{"texts": ["zqx"]', 400), "not UTF-8, but another code": (b'{"texts": ["zqx\xff"]}', 400),
    "JSON written in UTF-16": ('{"texts": ["ab"]}'.encode("utf-16"), 400),
    "a list, no dict": (b'["zqx"]', 422), "the word null alone": (b"null", 422),
    "another key than texts": (b'{"text": ["zqx"]}', 422), "a key too many": (b'{"texts": ["zqx"], "key": 1}', 422),
    "a string, no list": (b'{"texts": "zqx"}', 422), "a dict, no list": (b'{"texts": {"a": "zqx"}}', 422),
    "texts is null": (b'{"texts": null}', 422), "a list without texts": (b'{"texts": []}', 422),
    "too many texts": (b'{"texts": ["zqx", "b", "c", "d", "e"]}', 422),
    "brackets inside of each other": (b"[" * 190 + b"]" * 190, 422),
}
HALVES = ("\\ud800", "\\ud83da", "\\udc00b", "\\udfff")
BAD_TEXTS = [("a number for a text", "7"), ("null for a text", "null"), ("a list for a text", '["zqx"]'),
             ("an empty text", '""'), ("a text of blanks", '" \\n\\t "'),
             ("a text that is too long", f'" {"zqx" * 9}zq "'),  # 31 characters, two of them blanks
             *(("half of a character", f'"zqx{half}"') for half in HALVES)]  # fmt: skip
GOOD_BODIES = {
    "exactly at all limits": (b'{"texts": ["' + b"bB" * 15 + b'", "' + b"a" * 30 + b'", " d ", " d "]}').ljust(400),
    "two bytes a character": f'{{"texts": ["{"é" * 30}"]}}'.encode(),
    "written in other ways": b' {"texts" :["\\u00e9\\ud83d\\ude00", "\xe1\xba\xb9k\xc3\xa1", "e\xcc\x81"]}\n',
}


@check(points=2, contract=part("body most_bytes most_texts most_characters", "read_texts"))
def read_texts(student, rng):
    """Each fault alone, and some together; each limit hit exactly; a bad text at each place among good ones."""
    places = rng.permutation([0, 1, 2, 3, 3, 0, 1, 2, 0, 1]).tolist()
    filled = [[text if i == place else '"zqx"' for i in range(4)]
              for place, (_, text) in zip(places, BAD_TEXTS, strict=True)]  # fmt: skip
    texts_told = [(what, f'{{"texts": [{", ".join(texts)}]}}'.encode(), 422)
                  for (what, _), texts in zip(BAD_TEXTS, filled, strict=True)]  # fmt: skip
    wide = ("one byte too many", '{"texts": ["é"]}'.encode().ljust(401), 413)  # 400 characters
    deep = ("brackets inside of each other", b"[" * 200_000, 400)
    plain = [*((what, *rest) for what, rest in BODIES.items()), wide]
    bad = [*plain, deep, *texts_told]

    def reading(*bodies, most_bytes=LIMITS[0]):
        plan = {"limits": (most_bytes, *LIMITS[1:]), "bodies": [body.decode("latin-1") for body in bodies]}
        return play(student, "read_texts", "reading", plan)

    good, named = reading(*GOOD_BODIES.values()), reading(*(body for _, body, _ in texts_told))
    told = [*reading(*(body for _, body, _ in plain)), *reading(deep[1], most_bytes=250_000), *named]
    for (what, body), got in zip(GOOD_BODIES.items(), good, strict=True):
        texts = [text.encode().decode("latin-1") for text in json.loads(body)["texts"]]
        if got != ["texts", texts]:
            return 0, f"a good body ({what}) should give the list of its texts, as they are"
    wrong = {}
    for (what, _, status), got in zip(bad, told, strict=True):
        if got[:2] != ["problem", status]:
            wrong.setdefault(what, (got, status))
    if wrong:
        what, (got, status) = next(iter(wrong.items()))
        came = {"texts": "it gives texts", "problem": f"it raises a `Problem` {got[1]}", "other": f"it raises `{got[1]}`",
                "kind": "it gives something that is no list of strings"}  # fmt: skip
        said = f"look at this body: {what}; {came[got[0]]}; a `Problem` with the status {status} is wanted"
        return (1 if len(wrong) <= 2 else 0), said
    if not all(isinstance(got[2], str) and got[3] for got in told):
        return 1, "the statuses are right; `code` and `message` of each `Problem` are strings"
    if any(f"texts[{place}]" not in got[2] for place, got in zip(places, named, strict=True)):
        return 1, "the statuses are right; the message names the place of the bad text, as `texts[3]`, counted from 0"
    if any(QUOTED.decode() in got[2] for got in told):
        return 1, "the statuses are right; but a message quotes the text, and would bring it into logs"
    return 2, "every good body gives its texts, every bad one the right status"


@check(points=1, contract=part("rate capacity clock", "TokenBucket"))
def token_bucket(student, rng):
    """Two buckets in turns on a grid of 1/8 s (exact sums), many refusals, a long pause, a clock that begins anywhere."""
    for _ in range(8):
        rates, made_at = rng.choice([0.5, 1, 2, 4], size=2), float(rng.integers(-9, 0))
        moments = made_at + np.sort(rng.integers(0, 80, size=50)) / 8 + 40 * (np.arange(50) >= 40)
        asks = [[float(moment), int(rng.integers(0, 2))] for moment in moments]
        plan = {"made_at": made_at, "settings": [[float(rate), int(rng.integers(1, 6))] for rate in rates], "asks": asks}
        got, want = play(student, "TokenBucket", "buckets", plan), own(keys.TokenBucket, "buckets", plan)
        if not all(isinstance(value, (int, float)) for value in got):
            return 0, "`take` should return a number: 0.0 if allowed, else the seconds until the next whole token"
        if not np.array_equal(np.array(got) > 0, np.array(want) > 0):
            return 0, "other requests are allowed: full at first, filled by time up to the capacity, refusals take nothing"
        if not close(got, want):
            return 0, "the right requests are allowed; a refused one gets the seconds until there is a whole token again"
    return 1, "full at first, filled by the clock up to the capacity, and a refusal says how long to wait"


def spread(rng, size, span):
    """Ascending times in s, each another: whole numbers of 1/64 s. Waits in the plans end between two of them."""
    return (np.sort(rng.choice(np.arange(1, span), size=size, replace=False)) / 64).tolist()


OFF = 1 / 4096  # s: puts the end of a wait, or of a batch, between two arrivals


def queue_plans(rng):
    """[(what it is about, plan)], the plain cases first."""
    def plan(events, limits=(4, 0.25 + OFF, 50), busy=0.0):
        closes = [(events[-1][0] + 8 + OFF / 2, "close", -1)] if all(what != "close" for _, what, _ in events) else []
        return {"limits": list(limits), "busy": busy, "events": [*events, *closes]}

    def arrive(moments, sizes):
        return [(moment, str(size), number) for number, (moment, size) in enumerate(zip(moments, sizes, strict=True))]

    ones, small = np.ones(40, dtype=int), rng.integers(1, 4, size=30)
    leaving = arrive(spread(rng, 12, 24), ones[:12])
    gone = [(leaving[number][0] + OFF / 4, "leave" if number in (2, 7) else "answer", number) for number in (0, 2, 3, 7)]
    closing = plan([(0.25, "1", 0), (0.25 + 1 / 64, "1", 1), (0.3125, "close", -1), (0.375, "1", 2)])
    plans = {
        "requests of one text, now and then": plan(arrive(spread(rng, 40, 400), ones)),
        "many requests of one text": plan(arrive(spread(rng, 40, 60), ones)),
        "requests of several texts: none is cut": plan(arrive(spread(rng, 30, 90), small)),
        "a request of more than `max_batch` texts goes alone": plan(arrive([0.25, 0.5, 0.5625, 2.0], [1, 7, 2, 6])),
        "the model is busy while more requests come": plan(
            arrive(spread(rng, 40, 90), ones), (5, 0.125 + OFF, 60), 0.375 + OFF),
        "several texts each, and a busy model: none overtakes": plan(
            arrive(spread(rng, 40, 60), rng.permutation([1, 1, 2, 3] * 10)), (6, 0.125 + OFF, 90), 0.25 + OFF),
        "a queue that is full": plan(
            arrive(spread(rng, 40, 60), rng.integers(1, 4, size=40)), (3, 0.125 + OFF, 6), 0.5 + OFF),
        "exactly `max_queue` texts": plan(
            arrive([0.25, 0.265625, 0.28125, 0.296875, 0.3125], [2, 2, 2, 1, 1]), (9, 0.5 + OFF, 5)),
        "without any wait, and a busy model": plan(arrive(spread(rng, 20, 60), ones[:20]), (4, 0.0, 50), 0.0625 + OFF),
        "the first one leaves: the next one's own wait counts": plan(
            [*arrive([0.25, 0.375], [1, 1]), (0.4375, "leave", 0), (1.5, "1", 2)], (4, 0.25 + OFF, 50)),
        "who has left counts no more as waiting": plan(
            [*arrive([0.25, 0.265625], [2, 2]), (0.28125, "leave", 0), (0.296875, "2", 2), (0.3125, "2", 3)],
            (9, 1.0 + OFF, 4)),
        "several callers leave a busy queue": plan(sorted([*leaving, *gone]), (3, 0.125 + OFF, 50), 0.125 + OFF),
        "all who wait leave": plan(
            [*arrive([0.25, 0.265625], [1, 1]), (0.28125, "leave", 0), (0.296875, "leave", 1), (2.0, "1", 2)]),
        "it closes while requests wait": closing,
        "it closes while nothing waits": plan([(0.5, "close", -1), (1.0, "1", 0)]),
        "a request of more than `max_queue` texts": plan(arrive([0.25, 0.5, 1.0], [6, 5, 6]), (9, 0.25 + OFF, 5)),
    }
    return [
        *plans.items(),
        # What stays behind is older than the moment at which the others go.
        ("the model is busy while more requests come", plan(
            arrive([0.25, 0.265625, 0.28125], [4, 3, 2]), (4, 0.5 + OFF, 50), 0.125 + OFF)),
        ("who has left counts no more as waiting", plan(
            [*arrive([0.25], [2]), (0.28125, "leave", 0), (0.296875, "2", 1), (2.0, "1", 2)], (4, 0.25 + OFF, 50))),
        ("it closes while requests wait", plan(
            [*arrive([0.25, 0.625, 0.6875, 0.75, 0.8125], [1, 3, 2, 1, 2]), (0.875, "close", -1)],
            (4, 0.25 + OFF, 50), 1.0)),
    ]


class StrictQueue(batching.RequestQueue):
    """The library's, without its exception for a request larger than the whole queue."""

    def put(self, texts):
        if len(texts) > self.max_queue:
            raise batching.Overloaded("queue_full", 2)
        return super().put(texts)


@check(points=3, seconds=4, contract=part("max_batch max_wait max_queue", "RequestQueue"))
def request_queue(student, rng):
    """Sparse and dense arrivals, several texts a request, a busy model, a full queue, callers that leave, closing."""
    wrong, plans, empty = {}, queue_plans(rng), False
    for what, plan in plans:
        got, want = play(student, "RequestQueue", "queue", plan), own(StrictQueue, "queue", plan)
        if not got["future"]:
            return 0, "`put` should return the future of the request, at once: no `await` in it"
        if got["kind"]:
            return 0, "`next_batch` should return a list of `Waiting`, or None"
        empty = empty or got["empty"]
        if fault := fault_of_log(got, want):
            wrong.setdefault(what, fault)
    if empty:
        return (0 if wrong else 2), "`next_batch` should return a list of `Waiting`, or None; never an empty list"
    if not wrong:
        return 3, "batches, times, refusals, callers that leave and the end are right"
    what, fault = next(iter(wrong.items()))
    plain = [about for about, _ in plans[:3]]
    points = 0 if any(what in wrong for what in plain) else 1 if len(wrong) > 2 else 2
    return points, f"look at this case: {what}; {fault}"


def fault_of_log(got, want):
    """What is wrong with a log of batches in words, None if nothing is."""
    if [number for number, *_ in got["refused"]] != [number for number, *_ in want["refused"]]:
        return "other requests are refused than should"
    if [texts for _, texts in got["batches"]] != [texts for _, texts in want["batches"]]:
        return "other requests go together than should"
    ours, theirs = ([moment for moment, _ in log["batches"]] for log in (got, want))
    if not np.allclose(ours, theirs, rtol=0, atol=1e-6):
        return "the right batches go, but not at the right moments"
    if got["refused"] != want["refused"]:
        return "a refusal is a `Problem` with the status 503 and whole seconds to wait"
    if got["stuck"]:
        return "after `close` it waits for ever: `next_batch` should give None once nothing is left"
    in_time = got["ended"] is not None and close(got["ended"], want["ended"])
    return None if in_time else "it should end at once when it closes"


def worker_plans(rng):
    """{what it is about: plan}, the plain case first."""
    def batch(*sizes):
        return [["".join(rng.choice(list("abc"), size=int(rng.integers(2, 9)))) for _ in range(size)] for size in sizes]

    failing = [batch(2, 1), [["good"], ["good", "fail"], ["good"]], batch(1, 3)]
    plans = {"rows for each caller": ([batch(1, 3, 2), batch(2, 2), batch(4)], [], False),
             "rows that come in lists": ([batch(2, 1), batch(1, 1)], [], True),
             "a batch that fails": (failing, [], False),
             "a caller leaves while the model computes": ([batch(2, 1, 3), batch(1, 2)], [(0.5, 1)], False),
             "a caller leaves a batch that fails": (failing, [(1.75, 3)], False),
             "the worker itself is cancelled": ([batch(1, 2), batch(1), batch(2)], [(0.5, -1)], False)}
    return {what: {"batches": batches, "leave": leave, "lists": lists} for what, (batches, leave, lists) in plans.items()}


@check(points=2, seconds=4, contract=part("queue predict", "answer_batches"))
def answer_batches(student, rng):
    """Several callers a batch with several texts, a batch that fails between good ones, callers that leave, and the end."""
    wrong = {}
    for what, plan in worker_plans(rng).items():
        got, want = play(student, "answer_batches", "worker", plan), own(batching.answer_batches, "worker", plan)
        if got["asked"][:1] != want["asked"][:1]:
            return 0, "the model should get all texts of a batch at once, in one list, in their order"
        if got["most"] > 1:
            return 0, "one batch at a time: wait for `predict` before the next batch is taken"
        if not got["texts"]:
            return 0, "it changes the requests' own lists of texts"
        if fault := fault_of_answers(got, want):
            wrong[what] = fault
    if not wrong:
        return 2, "every caller gets the rows of its own texts, or the error of its own batch"
    what, fault = next(iter(wrong.items()))
    return (0 if what.startswith("rows") else 1), f"look at this case: {what}; {fault}"


def fault_of_answers(got, want):
    if got["stuck"]:
        return "it does not end: it should when `next_batch` gives None"
    if want["ended"] == "cancelled":
        return None if got["asked"] == want["asked"] else "it should end, not go on with the next batch"
    if got["answers"] != want["answers"]:
        if any(answer == ["waits"] for answer in got["answers"]):
            return "a caller never gets an answer"
        return "a caller gets something else than its own rows, or its own batch's error"
    return None if got["ended"] == want["ended"] else "the worker should outlive it, and end without an error"


def endpoint_plan(rng):
    """Requests of which each has a status that follows: good, bad, at the end of the bucket, too many, failing."""
    good = [json.dumps({"texts": ["x" * int(size) for size in rng.integers(1, 20, size=3)]}) for _ in range(9)]
    return {"queue": [3, 0.125, 6], "bucket": [2.0, 6], "limits": list(LIMITS), "busy": 0.5, "events": [
        (0.0, "metrics", -1),
        (1.0, good[0], 0), (1.02, '{"texts": ["a", ""]}', 1), (1.03, "{", 2), (1.04, '{"texts": ["fail"]}', 3),
        (1.06, good[1], 4), (1.08, good[2], 5),  # 1 + 3 texts wait while the model computes: no room for 3 more
        (1.1, good[3], 6), (1.12, "{", 7),  # both refused by the bucket, before anything is read
        (4.5, "metrics", -1), (6.0, good[4], 8), (6.25, "leave", 8), (6.4, good[5], 9), (9.0, "metrics", -1),
        (9.5, "close", -1), (10.0, good[6], 10), (10.5, "metrics", -1)]}


@check(points=3, seconds=4, contract=part("read bucket queue clock", "Endpoint"))
def endpoint(student, rng):
    """Every status in one play: good, not JSON, bad, too often, full, failed, gone; counters and percentiles in between."""
    plans = endpoint_plan(rng), endpoint_plan(rng), long_plan(rng), slow_plan(rng)
    return min((judged_endpoint(student, plan) for plan in plans), key=lambda outcome: outcome[0])


def long_plan(rng):
    """A hundred good requests, so many that each percentile is another request."""
    moments = (np.cumsum(rng.uniform(0.01, 0.2, size=100)) + 1).tolist()
    asked = [(moment, json.dumps({"texts": ["x" * (1 + number % 9)]}), 20 + number) for number, moment in enumerate(moments)]
    return {"queue": [8, 0.125, 200], "bucket": [1000.0, 1000], "limits": list(LIMITS), "busy": 0.5,
            "events": [*asked, (moments[-1] + 9, "metrics", -1), (moments[-1] + 10, "close", -1)]}  # fmt: skip


def slow_plan(rng):
    """A bucket that fills slowly (waits of exactly 4 s, of 2.3 s), a request that the queue gives up, a failing `read`."""
    good = json.dumps({"texts": ["x" * int(size) for size in rng.integers(1, 20, size=3)]})
    return {"queue": [3, 0.125, 6, 0.25], "bucket": [0.25, 1], "limits": list(LIMITS), "busy": 8.0, "events": [
        (5.0, good, 0), (5.0, good, 6), (6.7, "{", 7), (9.5, good, 11), (14.0, "break", 12),
        (19.0, "metrics", -1), (19.5, "close", -1)]}


def judged_endpoint(student, plan):
    got, want = play(student, "Endpoint", "endpoint", plan), own(Reference, "endpoint", plan)
    if got["stuck"]:
        return 0, "a request never gets an answer"
    if kind := next((answer for answer in got["answers"].values() if answer[0] == "kind"), None):
        return 0, f"`answer` should return three things: status, content, and seconds to wait or None, not a `{kind[1]}`"
    if any(answer == ["content"] for answer in got["answers"].values()):
        return 0, "the content that `answer` returns should be what JSON can write: lists and numbers of Python, no arrays"
    points, said = 0, []
    statuses, wanted = ({number: answer[0] for number, answer in log["answers"].items()} for log in (got, want))
    first = next((number for number in wanted if statuses[number] != wanted[number]), None)
    if first is not None:
        said += [f"look at this request: {story(first)}", came(statuses[first]), f"the status {wanted[first]} is wanted"
                 if wanted[first] != "left" else "the cancellation should go on to whoever cancelled"]  # fmt: skip
    elif got["read"] != want["read"]:
        said.append("who asks too often is refused first: nothing is read for them")
    else:
        points += 1
    bad = next((number for number in wanted if not same_response(got["answers"][number], want["answers"][number])), None)
    if bad is None:
        points += 1
    elif first is None:
        said += [f"look at this request: {story(bad)}", "the status is right, not the content, or the seconds to wait"]
    if all(same_metrics(*pair) for pair in zip(got["metrics"], want["metrics"], strict=True)):
        points += 1
    else:
        said.append("`metrics`: ok, refused, failed count 200, 4xx and 503, 500, and p50, p95 in s are of those with 200 "
                    "(nearest rank), None while there is none")  # fmt: skip
    return points, "; ".join(said) or "every request gets its answer, and the counters tell it"


STORY = ["a good request", "a body with an empty text", "a body that is not JSON", "a text at which the model fails",
         "a second good request", "a request that finds the queue full", "a request above the rate",
         "a body that is not JSON, above the rate", "a caller that leaves", "a request after one that left",
         "a request after the queue has closed", "a request that the queue gives up later", "a body at which `read` fails"]


def story(number):
    return STORY[number] if number < len(STORY) else "one of many good requests"


def came(status):
    return {"left": "it ends as if cancelled", "raised": "it raises an error"}.get(status, f"it gives the status {status}")


def same_response(got, want):
    if len(got) != 3 or len(want) != 3:
        return got == want
    content, wanted = json.loads(got[1]), json.loads(want[1])
    if not isinstance(content, dict) or got[2] != want[2]:
        return False
    if want[0] == 200:
        rows = content.get("predictions")
        return isinstance(rows, list) and close(np.array(wanted["predictions"]), rectangle(rows))
    error = content.get("error")
    if not isinstance(error, dict) or not all(isinstance(error.get(name), str) for name in ("code", "message")):
        return False
    own_words = want[0] in (429, 500)
    return "0803" not in got[1] if own_words else error == wanted["error"]


def rectangle(rows):
    """A list of rows as an array; None where it is no table of numbers."""
    try:
        return np.array(rows, dtype=float)
    except (TypeError, ValueError):
        return None


def same_metrics(got, want):
    def same(name):
        if want[name] is None or not isinstance(got.get(name), float):
            return name in got and got[name] is None and want[name] is None
        return bool(np.isclose(got[name], want[name]))

    return all(map(same, want))


class Reference:
    """An endpoint to compare with."""

    def __init__(self, read, bucket, queue, clock):
        self.read, self.bucket, self.queue, self.clock = read, bucket, queue, clock
        self.statuses, self.seconds = [], []

    async def answer(self, body):
        started = self.clock()
        try:
            if wait := self.bucket.take():
                raise requests.Problem(429, "too_many_requests", "too often", int(np.ceil(wait)))
            rows = await self.queue.put(self.read(body))
            self.seconds.append(self.clock() - started)
            response = 200, {"predictions": rows.tolist()}, None
        except requests.Problem as problem:
            error = {"code": problem.code, "message": problem.message}
            response = problem.status, {"error": error}, problem.retry_after
        except Exception:
            response = 500, {"error": {"code": "internal", "message": "the model failed"}}, None
        self.statuses.append(response[0])
        return response

    def metrics(self):
        ok, failed = self.statuses.count(200), self.statuses.count(500)
        p50, p95 = (latency.percentile(self.seconds, share) if self.seconds else None for share in (50, 95))
        return {"ok": ok, "refused": len(self.statuses) - ok - failed, "failed": failed, "p50": p50, "p95": p95}


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
    rows, labels = data.tokenize(heldout, tokenizer, max_length=64), np.array(heldout["label"])
    collate = data.DynamicPaddingCollator(tokenizer.pad_token_id)
    texts = str([row["input_ids"] for row in rows])  # as this tokenizer cuts them, which came with the model
    return judge_classes("lab8_serving", language, labels, class_scores(model, texts, rows, collate).argmax(-1))
