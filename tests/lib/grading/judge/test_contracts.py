"""Contracts: every breach is found and told, on both transports; what a Python user would call right is accepted."""

import functools
import importlib
import inspect
import random
import socket
import sys
import threading
import types
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from leaplm import models, training
from leaplm.grading import (
    FREE,
    GLOBAL,
    NOTHING_CALLED,
    Anything,
    Bool,
    Contract,
    FromGenerator,
    ListOf,
    MapOf,
    Number,
    Numbers,
    Object,
    Record,
    Seeded,
    Several,
    Student,
    StudentError,
    Tensor,
    Text,
    as_number,
    check,
    judge,
    load_checks,
)
from leaplm.grading.course import list_labs
from leaplm.grading.judge.contracts import library_functions
from leaplm.grading.judge.watched import WatchedStudent
from leaplm.grading.sandbox.event_loop import EventLoop
from leaplm.grading.sandbox.remote import Line, RemoteStudent
from leaplm.grading.sandbox.watch import resolve
from leaplm.grading.sandbox.wire import Channel, Gone
from leaplm.grading.sandbox.worker import Worker
from repo import ROOT
from torch import nn
from torch.nn import functional as F

PROBES = "leaplm.grading.judge.probes"
TINY = "leaplm.grading.judge.tiny_models"
NAMES = {"torch": torch, "nn": nn, "F": F, "np": np, "random": random, "functools": functools, "importlib": importlib,
         "inspect": inspect, "types": types, "threading": threading, "models": models, "training": training,
         "Counter": Counter, "__name__": "__main__"}  # fmt: skip


def notebook(source):
    """The names that a cell of a notebook defines."""
    names = dict(NAMES)
    exec(compile(source, "<cell answer>", "exec"), names)
    return names


@pytest.fixture(params=["in one process", "in another"])
def watched(request):
    """Makes a watched handle to a notebook, over each of the two transports."""
    ends = []

    def make(source, contracts):
        student = Student(notebook(source))
        if request.param == "in another":
            ours, theirs = socket.socketpair()
            ends.append(ours)
            threading.Thread(target=answer_requests, args=(theirs, student), daemon=True).start()
            student = RemoteStudent(Line(Channel(ours), 60), {})
        return WatchedStudent(student, contracts)

    yield make
    for end in ends:
        end.close()


def answer_requests(end, student):
    """What a worker does with the requests of a handle, in a thread."""
    worker, channel = Worker.__new__(Worker), Channel(end)
    worker.shell, worker.student, worker.loop = SimpleNamespace(user_ns=student._namespace), student, EventLoop()
    try:
        while True:
            request = channel.receive()
            channel.send({"nonce": request["nonce"], **worker.reply(request)})
    except Gone:
        end.close()


def told(handle):
    return " ".join(breach.message for breach in handle.breaches)


# -- kinds of results -------------------------------------------------------------------------------------------------

PAIR = Several(Number(), Number())
FITTING = [
    (PAIR, "(1, 2.5)"), (PAIR, "[1, 2.5]"), (PAIR, "np.array([1, 2.5])"), (PAIR, "torch.tensor([1, 2.5])"),
    (PAIR, "(np.float32(1), torch.tensor(2))"),
    (Number(), "np.float64(3)"), (Number(), "torch.tensor(3.0)"), (Number(), "np.ones(1)"),
    (Number(whole=True), "np.int64(3)"), (Numbers("int", dims=1), "[1, 2]"), (Numbers("int", dims=1), "np.arange(3)"),
    (Numbers("float", dims=2), "[[0.5], [1.5]]"),
    (Tensor("float", dims=0), "torch.ones(1)"), (Tensor("int|bool"), "torch.ones(2, dtype=torch.bool)"),
    (Bool(), "np.bool_(True)"), (Bool(), "torch.tensor(True)"), (Text(), "'Kano'"),
    (ListOf(Text(), exact=True), "['a']"),
    (ListOf(Text()), "('a', 'b')"), (ListOf(Number()), "np.arange(2)"), (ListOf(PAIR), "[(1, 2)] * 200"),
    (Record({"ids": Tensor("int")}), "{'ids': torch.arange(3), 'more': 1}"), (MapOf(Number()), "Counter('abba')"),
    (Object("Module"), "nn.Linear(2, 2)"), (Object("callable"), "lambda: 1"),
]  # fmt: skip
MISFITS = [
    (PAIR, "(1, 2, 3)", "2 things"), (PAIR, "(1, 'b')", "a number at place 2"), (PAIR, "3", "2 things"),
    (Number(), "'3'", "not a string"), (Number(), "None", "is a `return` missing?"),
    (Number(whole=True), "3.0", "a whole number, not a Python float"),
    (Number(whole=True), "np.float32(3)", "a whole number, not a number of float32"),
    (PAIR, "(1, 'b')", "at place 2, not a string"), (Several(PAIR, Text()), "((1, None), '')", "not None"),
    (Record({"low": Number()}), "{'more': 1, 'low': [2]}", "a number under the key `low`, not a list of 1"),
    (ListOf(Number()), "[1, (2, 3)]", "a number at each place, not a tuple of 2"),
    (Number(), "torch.ones(2)", "shape (2,)"), (Number(), "torch.ones(()).requires_grad_()", "holds the graph"),
    (Tensor("float", dims=0), "3.0", "a tensor with one number, not a Python float"),
    (Tensor("int"), "torch.ones(2)", "a tensor of whole numbers, not a tensor of float32"),
    (Tensor("int8"), "torch.arange(3)", "a tensor of int8, not a tensor of int64"),
    (Tensor(), "np.ones(2)", "a tensor, not a numpy array"), (Tensor(dims=2), "torch.ones(2)", "2 dimensions"),
    (Numbers("int", dims=1), "[1, 2.5]", "whole numbers"), (Numbers("int", dims=1), "[[1]]", "1 dimensions"),
    (Bool(), "1", "True or False"), (Text(), "3", "a string"),
    (ListOf(Text()), "['a'] * 500 + [None]", "a string at each place"),
    (ListOf(Number(), exact=True), "(1, 2)", "a list; in it, a number at each place, not a tuple of 2"),
    (ListOf(Number(), exact=True), "np.arange(2)", "not a numpy array of int64"),
    (Record({"ids": Tensor("int")}), "{}", "also has the key `ids`"), (ListOf(Number()), "{1, 2}", "a list"),
    (Record({"ids": Tensor("int")}), "{'ids': [1]}", "a tensor under the key `ids`, not a list of 1"),
    (MapOf(Text()), "{1: 2}", "a dict"),
    (Object("Linear"), "nn.ReLU()", "of type `Linear`, not an object of type `ReLU`"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "expression"), FITTING, ids=lambda part: part if isinstance(part, str) else "")
def test_every_form_that_is_right_fits(watched, kind, expression):
    handle = watched(f"def f(): return {expression}", {"f": Contract("", kind, random=FREE)})
    handle.call("f")
    assert not handle.breaches


@pytest.mark.parametrize(("kind", "expression", "words"), MISFITS, ids=lambda part: part if isinstance(part, str) else "")
def test_other_forms_are_told_in_words(watched, kind, expression, words):
    handle = watched(f"def f(): return {expression}", {"f": Contract("", kind)})
    handle.call("f")
    assert words in told(handle)


@pytest.mark.parametrize("form", ["np.array([1.0, 2.0])", "np.float32([1, 2])", "torch.tensor([1, 2])", "(1, 2)"])
@pytest.mark.parametrize("kind", [PAIR, ListOf(Number())])
def test_numbers_come_back_in_one_form(watched, kind, form):
    found = watched(f"def f(): return {form}", {"f": Contract("", kind)}).call("f")
    assert found == [1.0, 2.0] and all(type(number) in (int, float) for number in found)
    assert [as_number(number) for number in found] == found


# -- what an answer does beside its result ----------------------------------------------------------------------------

LOSS = Contract("logits", Tensor("float", dims=0), gradient="logits")
CASES = [
    ("in place", Contract("rows"), "def f(rows): rows[0]['ids'].append(0)", [[{"ids": [1]}]], "its argument `rows`"),
    ("a renamed argument", Contract("rows"), "def f(r): r.pop()", [[1]], "its argument `rows`"),
    ("an array", Contract("x"), "def f(x): x += 1", [np.ones(3)], "its argument `x`"),
    ("allowed to change", Contract("x", changes="x"), "def f(x): x += 1", [np.ones(3)], None),
    ("NaN stays NaN", Contract("x"), "def f(x): return 1", [np.array([np.nan])], None),
    ("a gradient", LOSS, "def f(z): return z.mean()", [np.ones(3)], None),
    ("no gradient", LOSS, "def f(z):\n    with torch.no_grad():\n        return z.mean()", [np.ones(3)],
     "no gradient flows"),
    ("a copy", LOSS, "def f(z): return torch.tensor(z.tolist()).mean()", [np.ones(3)], "back to `logits`"),
    ("changed on its way", LOSS, "def f(z):\n    z += 1\n    return z.mean()", [np.ones(3)], "its argument `logits`"),
    ("a graph", Contract("x", Tensor(), gradient="none"), "def f(x): return x.requires_grad_()", [np.ones(3)], "the graph"),
    ("global seed", Contract("x"), "def f(x): torch.manual_seed(0)", [1], "the whole program (`torch`)"),
    ("global numpy", Contract("x"), "def f(x): return np.random.rand()", [1], "the whole program (`numpy`)"),
    ("free", Contract("x", random=FREE), "def f(x): return np.random.rand()", [1], None),
    ("own generator", Contract("x"), "def f(x): return np.random.default_rng(0).random()", [1], None),
    ("grad switched off", Contract("x"), "def f(x): torch.set_grad_enabled(False)", [1], "gradients switched off"),
    ("32 bits", Contract("x"), "def f(x): assert x.dtype == torch.float32", [np.ones(3)], None),
    ("64 bits", Contract("x", arrays="float64"), "def f(x): assert x.dtype == torch.float64", [np.ones(3)], None),
    ("numpy", Contract("x", arrays="numpy"), "def f(x): assert isinstance(x, np.ndarray)", [np.ones(3)], None),
    ("mixed", Contract("x y", arrays="numpy"), "def f(x, y): assert isinstance(y, torch.Tensor)",
     [np.ones(3), torch.ones(1)], None),
    ("an argument itself", Contract("rows", fresh=True), "def f(rows): return rows", [[1]], "its argument `rows` itself"),
    ("the same tensor", Contract("x", fresh=True), "def f(x): return x", [np.ones(3)], "its argument `x` itself"),
    ("an equal one", Contract("rows", fresh=True), "def f(rows): return rows[:]", [[1]], None),
    ("a small number is no object", Contract("n", fresh=True), "def f(n): return n", [1], None),
    ("kept in a default", Contract("x"), "def f(x, kept=[]):\n    kept.append(x)\n    return kept[:]", [1], "called again"),
    ("kept in a global", Contract("x"), "total = {}\ndef f(x):\n    total[x] = 1 + total.get(x, 0)\n    return total[x]",
     [1], "called again with the same inputs"),
    ("one that remembers results", Contract("x"), "@functools.cache\ndef f(x): return [x]", [1], None),
    ("last digits", Contract("x"), "seen = []\ndef f(x):\n    seen.append(x)\n    return 1 + 1e-9 * len(seen)", [1], None),
    ("NaN again", Contract("x"), "def f(x): return {'mean': [np.nan]}", [1], None),
    ("its own random numbers", Contract("x"), "def f(x): return np.random.default_rng().random()", [1], "called again"),
    ("counting is allowed where it changes", Contract("x", changes="x"), "def f(x):\n    x[0] += 1\n    return x[0]",
     [np.ones(1)], None),
    ("pairs", Contract("p"), "def f(p): return len({p[0]}) + len('%s-%s' % p[0]) + len(Counter(p))", [[("a", 1)]], None),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_what_a_call_does_is_seen(watched, case):
    contract, source, given, words = case[1:]
    handle = watched(source, {"f": contract})
    handle.call("f", *given)
    assert (words in told(handle)) if words else not handle.breaches


RANDOM = [
    (GLOBAL, "def f(seed): return torch.rand(4)", None),
    (GLOBAL, "def f(seed):\n    torch.manual_seed(7)\n    return torch.rand(4)", "the same random numbers every time"),
    (Seeded(0), "def f(seed): return np.random.default_rng(seed).random(4)", None),
    (Seeded(0), "def f(seed): return np.random.default_rng(7).random(4)", "the same random numbers every time"),
    (Seeded(0), "def f(seed): return np.random.default_rng().random(4)", "another result for the same seed"),
    (Seeded(0), "def f(seed): return torch.rand(4)", "another result for the same seed"),
]


@pytest.mark.parametrize(("kind", "source", "words"), RANDOM)
def test_equal_seeds_give_equal_and_other_seeds_other_results(watched, kind, source, words):
    handle = watched(source, {"f": Contract("seed", random=kind)})
    handle.call("f", 3)
    assert (words in told(handle)) if words else not handle.breaches


@pytest.mark.parametrize(("body", "words"), [
    ("rng.random(3)", None), ("np.random.default_rng(1).random(3)", "same random numbers"),
    ("np.random.rand(3)", "whole program"),
])  # fmt: skip
def test_a_given_generator_makes_it_random(watched, body, words):
    handle = watched(f"def f(rng): return {body}", {"f": Contract("rng", random=FromGenerator(0))})
    handle.call("f", handle.build(f"{PROBES}:generator", seed=4))
    assert (words in told(handle)) if words else not handle.breaches


def test_what_a_library_draws_while_it_loads_is_not_the_answers(watched, tmp_path, monkeypatch):
    (tmp_path / "draws_when_loaded.py").write_text("import random\nrandom.random()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "draws_when_loaded", raising=False)
    source = "def f():\n    import draws_when_loaded\ndef g(): random.random()"
    handle = watched(source, {"f": Contract(""), "g": Contract("")})
    handle.call("f")
    assert not handle.breaches
    handle.call("g")
    assert "the whole program (`random`)" in told(handle)


MODELS = [
    (Contract("model", mode="train", leaves="gradients"), "model.train()\n    model(**b).loss.backward()", None),
    (Contract("model"), "model.eval()", "should be in mode `train()`, not `eval()`"),
    (Contract("model", mode="any"), "model.eval()", None),
    (Contract("model"), "model(**b).loss.backward()", "leaves gradients on `model`"),
    (Contract("model"), "model.requires_grad_(False)", "which weights of `model` may learn"),
    (Contract("model"), "next(model.parameters()).data += 1", "the weights of `model`"),
    (Contract("model", forward="no_grad"), "model(**b)", "with gradients on"),
    (Contract("model", forward="no_grad"), "with torch.inference_mode(): model(**b)", None),
    (Contract("model", forward="eval"), "model(**b)", "call `.eval()` before"),
    (Contract("model", Tensor(), gradient="model"), "return model(**b).loss", None),
    (Contract("model", Tensor(), gradient="model"), "return model(**b).loss.detach()", "back to `model`"),
]


@pytest.mark.parametrize(("contract", "body", "words"), MODELS, ids=lambda part: part if isinstance(part, str) else "")
def test_what_is_done_to_a_model_is_seen(watched, contract, body, words):
    source = f"b = dict(input_ids=torch.ones(1, 2).long(), labels=torch.zeros(1).long())\ndef f(model):\n    {body}"
    handle = watched(source, {"f": contract})
    handle.call("f", handle.build(f"{TINY}:tiny_classifier"))
    assert (words in told(handle)) if words else not handle.breaches


# -- own work ---------------------------------------------------------------------------------------------------------

NOT_OWN = {
    "plainly": "def f(x, y): return F.cross_entropy(x, y)",
    "under another name": "other = F.cross_entropy\ndef f(x, y): return other(x, y)",
    "as the answer itself": "f = F.cross_entropy",
    "by getattr": "def f(x, y): return getattr(F, 'cross_' + 'entropy')(x, y)",
    "by importlib": "def f(x, y): return vars(importlib.import_module('torch.nn.functional'))['cross_entropy'](x, y)",
    "by partial": "def f(x, y): return functools.partial(F.cross_entropy, target=y)(x)",
    "by map": "def f(x, y): return next(map(F.cross_entropy, [x], [y]))",
    "as a module": "def f(x, y): return nn.CrossEntropyLoss()(x, y)",
    "as a built-in": "def f(x, y): return torch._C._nn.cross_entropy_loss(x, y, None, 1, -100, 0.0)",
    "as an operator": "def f(x, y): return torch.ops.aten.cross_entropy_loss(x, y)",
    "from its source": "names = dict(vars(F))\nexec(inspect.getsource(F.cross_entropy), names)\nf = names['cross_entropy']",
    "rebuilt from its code": "f = types.FunctionType(F.cross_entropy.__code__, vars(F), 'f', F.cross_entropy.__defaults__)",
    "in a helper": "def helper(*xs): return F.cross_entropy(*xs)\ndef f(x, y): return helper(x, y)",
    "in a thread": "def f(x, y):\n    out = []\n    t = threading.Thread(target=lambda: out.append(F.cross_entropy(x, y)))\n"
                   "    t.start()\n    t.join()\n    return out[0]",
    "past torch's own watching": "def f(x, y):\n    with torch._C.DisableTorchFunction():\n        "
                                 "return F.cross_entropy(x, y)",
    "by vmap": "def f(x, y): return torch.func.vmap(F.cross_entropy)(x, y).mean()",
}  # fmt: skip
BY_HAND = Contract("logits labels", Tensor("float"), forbids="torch.nn.functional.*cross_entropy*")


@pytest.mark.parametrize("source", NOT_OWN.values(), ids=NOT_OWN)
def test_what_the_exercise_forbids_is_found(watched, source):
    handle = watched(source, {"f": BY_HAND})
    handle.call("f", np.ones((3, 3)), np.arange(3))
    assert "this exercise asks you to do without" in told(handle) and handle.breaches[0].fatal


def test_removing_the_watch_is_found(watched):
    handle = watched("import sys\ndef f(x, y):\n    sys.setprofile(None)\n    return x.sum()", {"f": BY_HAND})
    handle.call("f", np.ones((3, 3)), np.arange(3))
    assert "switched off" in told(handle) and handle.breaches[0].fatal


def test_what_a_library_does_inside_itself_is_allowed(watched):
    source = "def f(model, y): return model(input_ids=torch.ones(1, 2).long(), labels=torch.zeros(1).long()).loss"
    handle = watched(source, {"f": Contract("model y", forbids="torch.nn.functional.*cross_entropy*")})
    handle.call("f", handle.build(f"{TINY}:tiny_classifier"), 1)
    assert not handle.breaches


TYPED = inspect.getsource(training.warmup_linear)


@pytest.mark.parametrize(("source", "own"), [
    ("warmup_linear = training.warmup_linear", False),
    ("from leaplm.training import warmup_linear as w\ndef warmup_linear(*a): return w(*a)", False),
    ("exec(inspect.getsource(training.warmup_linear))", False),
    (TYPED, True),  # who types the same lines has done the work
], ids=["itself", "under another name", "from its source", "typed"])  # fmt: skip
def test_the_librarys_own_function_is_found_by_the_answers_name(watched, source, own):
    handle = watched(source, {"warmup_linear": Contract("step total_steps warmup_steps", Number())})
    assert handle.call("warmup_linear", 1, 10, 4) == 0.25
    assert own or ("library's own `leaplm.training.warmup_linear`" in told(handle) and handle.breaches[0].fatal)
    assert not (own and handle.breaches)


LIES = [{}, {"kind": 3}, {"kind": {"is": "tensor"}}, {"kind": {"is": "list", "items": 5}}, [], None,
        {"kind": {"is": "float"}, "reached": [], "changed": 1, "models": [], "forward": [], "random": [],
         "grad_left": "same", "forbidden": []}]  # fmt: skip


@pytest.mark.parametrize("lie", LIES, ids=repr)
def test_a_program_that_tells_nonsense_of_a_call_gets_no_points(lie):
    class Liar(Student):
        def seen(self):
            return lie

    @check(points=2, contract=Contract("x", Number()))
    def f(student, rng):
        return student.call("f", 1), "right"

    got = judge(f, Liar({"f": lambda x: 2}), seed=0)
    assert got.points == 0 and got.fault


# -- between two calls ------------------------------------------------------------------------------------------------

PURE = Contract("rows", Numbers(dims=1))
KEEPS = {"a list as default": "def f(rows, found=[]):\n    found += rows\n    return found",
         "a global variable": "total = 0\ndef f(rows):\n    global total\n    total += sum(rows)\n    return [total]",
         "random numbers of its own": "def f(rows): return np.random.default_rng().random(2)",
         "an error at the second call": "seen = set()\ndef f(rows):\n    assert not seen\n    seen.add(1)\n    return rows"}
SAME = {"nothing": "def f(rows): return [row + 1 for row in rows]",
        "a memory of results": "@functools.cache\ndef g(rows): return sum(rows)\ndef f(rows): return [g(tuple(rows))]",
        "not a number": "def f(rows): return [float('nan'), *rows]"}


@pytest.mark.parametrize("kept", KEEPS)
def test_an_answer_that_keeps_something_between_two_calls_is_told(watched, kept):
    handle = watched(KEEPS[kept], {"f": PURE})
    handle.call("f", [1, 2])
    assert [breach.message[:52] for breach in handle.breaches] == ["`f` gives another result when it is called again wit"]


@pytest.mark.parametrize("kept", SAME)
def test_an_answer_with_the_same_result_each_time_breaks_nothing(watched, kept):
    handle = watched(SAME[kept], {"f": PURE})
    handle.call("f", [1, 2])
    assert not handle.breaches


def test_the_second_call_gets_objects_of_its_own_as_the_check_left_them(watched):
    """A model that counts its calls, and whose weights a probe has changed, is the same to both calls."""
    source = "def f(head, x):\n    head(x)\n    return head(x).sum().item() + head.rows"
    handle = watched(source, {"f": Contract("head x", Number())})
    head = handle.build(f"{PROBES}:counting_decoder", 3, 4, seed=1)
    handle.read(head, f"{PROBES}:randomize", "weight", 5)
    handle.call("f", head, np.ones((2, 3)))
    assert not handle.breaches and handle.read(head, f"{PROBES}:rows_scored") == 4


def test_what_it_may_change_or_draw_at_random_is_called_once():
    calls = "calls = []\ndef f(rows):\n    calls.append(1)\n    return [len(calls)]"
    for contract in (Contract("rows", changes="rows"), Contract("rows", random=FREE)):
        assert verdict(contract, calls).points == 2


# -- verdicts ---------------------------------------------------------------------------------------------------------


def verdict(contract, source, points=2, message="right"):
    @check(points=2, contract=contract)
    def f(student, rng):
        student.call("f", [1])
        return points, message

    return judge(f, Student(notebook(source)), seed=0)


def test_a_breach_costs_half_and_says_why():
    got = verdict(Contract("rows"), "def f(rows): rows.clear()")
    assert got.points == 1 and "its argument `rows`" in got.message
    got = verdict(Contract("rows"), "def f(rows): rows.clear()", points=1, message="half right")
    assert got.points == 0.5 and got.message.startswith("half right; `f` changes")
    got = verdict(Contract("rows", Number()), "def f(rows): return 'no'", points=0, message="not the mean")
    assert (got.points, got.message) == (0, "`f` should return a number, not a string.")


@pytest.mark.parametrize(("source", "message"), [
    ("def f(rows): return None", "`f` should return a number, not None (is a `return` missing?)."),
    ("def f(rows):\n    rows.clear()\n    return 'no'", "`f` should return a number, not a string."),
], ids=["nothing", "and an argument is changed"])
def test_a_check_that_breaks_off_at_another_kind_of_result_has_no_fault(source, message):
    @check(points=2, contract=Contract("rows", Number()))
    def f(student, rng):
        return 2 * round(student.call("f", [1])), "right"

    got = judge(f, Student(notebook(source)), seed=0)
    assert (got.points, got.message, got.fault) == (0, message, None)


@pytest.mark.parametrize("source", ["def f(rows): return {'a': [b'x']}", "def f(rows): return {1: {2: 3}, 2: b'x'}"])
def test_what_cannot_cross_inside_of_a_result_is_named(source):
    @check(points=2, contract=Contract("rows", MapOf(Anything())))
    def f(student, rng):
        return len(student.call("f", [1])), "right"

    got = judge(f, Student(notebook(source)), seed=0)
    assert (got.points, got.fault) == (0, None) and "`f` returns holds an object of type `bytes`" in got.message


def test_a_check_that_breaks_off_without_a_breach_of_kind_keeps_its_fault():
    @check(points=2, contract=Contract("rows", Number()))
    def f(student, rng):
        return 2 / student.call("f", [1]), "right"

    got = judge(f, Student(notebook("def f(rows):\n    rows.clear()\n    return 0")), seed=0)
    assert "ZeroDivisionError" in got.fault and "its argument `rows`" in got.message


def test_what_is_not_ones_own_work_costs_all():
    contract = Contract("rows", forbids="torch.nn.functional.relu")
    assert verdict(contract, "def f(rows): return F.relu(torch.tensor(rows))").points == 0


def test_a_call_without_a_contract_is_the_checks_fault():
    got = verdict(NOTHING_CALLED, "def f(rows): return 1")
    assert got.points == 0 and "no contract" in got.fault


def test_a_variable_has_a_kind_too(watched):
    number = Contract("", Number())
    handle = watched("best = 'three'\nrate = np.float32(0.5)", {"best": number, "rate": number})
    assert handle.get("rate") == 0.5
    with pytest.raises(StudentError, match="`best` should be a number, not a string"):
        handle.get("best")


def test_a_contract_speaks_of_its_arguments_only():
    with pytest.raises(ValueError, match="the contract speaks of batch"):
        Contract("model", changes="batch")


@pytest.mark.parametrize("lab", list_labs(ROOT))
def test_every_check_of_every_lab_has_a_contract(lab):
    missing = [name for name, one in load_checks(lab, ROOT).items() if one.contracts is None]
    assert not missing, f"{lab}: no contract: {missing}"


@pytest.mark.parametrize("lab", list_labs(ROOT))
def test_the_functions_that_contracts_name_are_there(lab):
    for one in load_checks(lab, ROOT).values():
        for name, contract in one.contracts.items():
            for function in (*contract.forbids.split(), *contract.own.split(), *library_functions(name)):
                assert resolve(function), function


def test_what_is_no_library_forbids_no_name():
    """A lab's template, and the checks and banks inside an installed package, define functions of the same names."""
    from leaplm.grading.judge.contracts import library_functions

    assert library_functions("majority_share") == [] and library_functions("load_checks") == []
