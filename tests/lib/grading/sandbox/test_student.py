"""The handle to a student's code, plain values, and what a check makes of them."""

import contextlib
import os
import signal
import socket
import threading
import time

import numpy as np
import pytest
import torch
from leaplm.grading import Student, StudentError, Verdict, as_array, as_number, check, grade, judge, load_checks
from leaplm.grading.course import find_course
from leaplm.grading.judge import probes, tiny_models
from leaplm.grading.judge.checks import random_inputs
from leaplm.grading.sandbox.remote import Line
from leaplm.grading.sandbox.student import TimeIsUp, time_limit, unbroken
from leaplm.grading.sandbox.values import MAX_DEPTH, NotPlain, Ref, TooLarge, plain
from leaplm.grading.sandbox.wire import Channel, Gone

PROBES = "leaplm.grading.judge.probes"
MODELS = "leaplm.grading.judge.tiny_models"


def student(folder=".", seconds=5, **names):
    return Student(names, folder, seconds)


def error_of(call, *args, **kwargs):
    with pytest.raises(StudentError) as caught:
        call(*args, **kwargs)
    return caught.value


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "copied"),
    [
        (None, None),
        (True, True),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (torch.tensor(3), np.array(3)),
        (torch.ones(2, dtype=torch.bfloat16), np.ones(2, dtype=np.float32)),
        (torch.ones(2, requires_grad=True), np.ones(2, dtype=np.float32)),
        ((1, [2.0, "a"]), [1, [2.0, "a"]]),
        ({"a": {0: torch.zeros(1)}}, {"a": {0: np.zeros(1, dtype=np.float32)}}),
    ],
)
def test_plain_copies_what_can_cross(value, copied):
    got = plain(value)
    np.testing.assert_equal(got, copied)
    assert type(got) is type(copied)


def test_mappings_of_transformers_are_dicts():
    assert type(plain(tiny_models.batch(input_ids=torch.ones(1, 2)))) is dict


@pytest.mark.parametrize("value", [object(), np.array([object()]), {1.5: 0}, {1, 2}, torch.ones(1).to_sparse(), 1j])
def test_plain_refuses_the_rest(value):
    with pytest.raises(NotPlain):
        plain(value)


def test_plain_has_limits():
    deep = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    for value in (deep, list(range(300_000)), torch.zeros(30_000_000)):
        with pytest.raises(TooLarge):
            plain(value)


def test_subclasses_lose_their_tricks():
    class Yes(float):
        def __eq__(self, other):
            return True

        __hash__ = float.__hash__

    assert plain(Yes(1.0)) != 2.0
    assert type(plain(Yes(1.0))) is float


# -- calls ------------------------------------------------------------------------------------------------------------


def test_arrays_go_out_as_tensors_and_come_back_as_arrays():
    def add(x, many):
        assert isinstance(x, torch.Tensor) and isinstance(many["b"][0], torch.Tensor)
        return x + many["b"][0]

    got = student(add=add).call("add", np.ones(3, dtype=np.float32), {"b": [np.arange(3.0, dtype=np.float32)]})
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, [1, 2, 3])


def test_a_students_code_cannot_change_the_checks_arrays():
    mine = np.ones(3)
    student(spoil=lambda x: x.zero_()).call("spoil", mine)
    assert mine.sum() == 3


def test_what_is_not_plain_stays_there_as_a_ref():
    handle = student(make=lambda: torch.nn.Linear(2, 2), use=lambda layer: layer.in_features)
    ref = handle.call("make")
    assert isinstance(ref, Ref) and ref.kind == "Linear"
    assert handle.call("use", ref) == 2
    assert handle.call(ref, np.zeros((5, 2), dtype=np.float32)).shape == (5, 2)
    assert set(handle.read(ref, f"{PROBES}:state_dict")) == {"weight", "bias"}


def test_build_and_read_reach_library_functions_only():
    handle = student()
    model = handle.build(f"{MODELS}:tiny_classifier", seed=3)
    weights = handle.read(model, f"{PROBES}:state_dict")
    for name, array in probes.state_dict(tiny_models.tiny_classifier(seed=3)).items():
        np.testing.assert_array_equal(weights[name], array)
    with pytest.raises(ValueError, match="leaplm.module:function"):
        handle.build("os:getcwd")


def test_reading_nonsense_is_the_students_error():
    handle = student(model=object())
    error = error_of(handle.read, handle.get("model"), f"{PROBES}:state_dict")
    assert "`state_dict` of an object of type `object`" in str(error)


def test_get_reads_variables():
    assert student(best_lr=np.float64(3e-5)).get("best_lr") == 3e-5
    assert error_of(student().get, "best_lr").kind == "missing"


def test_failures_are_told_in_words_without_the_inputs():
    secret = np.array([0.123456, 7.0])

    def unanswered(x):
        raise NotImplementedError

    def leaks(x):
        raise RuntimeError(f"got {x}")

    def looks_up(x):
        return {}[float(x[0])]

    def wrong_shape(x):
        return x @ torch.ones(3, dtype=x.dtype)

    def leaves(x):
        raise SystemExit

    names = {f.__name__: f for f in (unanswered, leaks, looks_up, wrong_shape, leaves)}
    errors = {name: error_of(student(**names).call, name, secret) for name in (*names, "absent")}
    kinds = {name: error.kind for name, error in errors.items()}
    assert kinds == {"unanswered": "unanswered", "leaks": "raised", "looks_up": "raised", "wrong_shape": "raised",
                     "leaves": "exited", "absent": "missing"}  # fmt: skip
    assert not any("0.123" in str(error) for error in errors.values())
    assert "size" in str(errors["wrong_shape"]) and "x @ torch.ones" in str(errors["wrong_shape"])
    assert "KeyError at the line `return {}[float(x[0])]`" in str(errors["looks_up"])


def test_prints_of_students_do_not_show_the_inputs(capfd):
    student(show=lambda x: print("seen", x)).call("show", np.ones(1))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wait", [0, 0.01])
def test_a_hanging_function_is_stopped_even_if_it_catches_everything(wait):
    def stubborn():
        while True:
            with contextlib.suppress(Exception):
                time.sleep(wait)

    assert error_of(student(stubborn=stubborn, seconds=0.1).call, "stubborn").kind == "timeout"
    assert signal.getitimer(signal.ITIMER_REAL) == signal.getitimer(signal.ITIMER_PROF) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


# -- artifacts --------------------------------------------------------------------------------------------------------


def test_artifacts_are_read_as_bytes(tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "a.safetensors").write_bytes(b"\0\1")
    assert student(tmp_path).artifact("a.safetensors") == b"\0\1"
    assert error_of(student(tmp_path).artifact, "b.safetensors").kind == "artifact"


def test_links_folders_and_paths_are_no_artifacts(tmp_path):
    (tmp_path / "artifacts" / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"gradebook")
    (tmp_path / "artifacts" / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "artifacts" / "pipe")
    for name in ("link", "folder", "pipe"):
        assert error_of(student(tmp_path).artifact, name).kind == "artifact"
    with pytest.raises(ValueError, match="plain file name"):
        student(tmp_path).artifact("../secret")


# -- judging ----------------------------------------------------------------------------------------------------------


def judged(outcome, **names):
    @check(points=2)
    def one(student, rng):
        return outcome(student, rng) if callable(outcome) else outcome

    return judge(one, student(**names), seed=0)


def test_a_verdict_is_points_and_message():
    assert judged((1.5, "half way")) == Verdict(1.5, "half way")
    assert judged(Verdict(2, "all")) == Verdict(2, "all")


def test_a_students_failure_is_0_points_and_no_fault():
    assert judged(lambda s, rng: s.call("f"), f=lambda: 1 / 0).points == 0
    assert judged(lambda s, rng: s.call("f"), f=lambda: 1 / 0).fault is None


@pytest.mark.parametrize("outcome", [None, 3, (3, "above"), (-1, "below"), (float("nan"), "nan"), (1, None)])
def test_a_broken_check_gives_0_and_says_so(outcome):
    verdict = judged(outcome)
    assert verdict.points == 0 and verdict.fault


def test_nonsense_that_a_check_did_not_foresee_gives_0_and_keeps_the_traceback():
    verdict = judged(lambda s, rng: (float(s.call("f")[0]), "x"), f=lambda: "abc")
    assert verdict.points == 0 and "ValueError" in verdict.fault


def test_inputs_are_fresh_unless_seeded(monkeypatch):
    monkeypatch.delenv("LEAPLM_CHECK_SEED", raising=False)
    assert random_inputs("a").random() != random_inputs("a").random()
    assert random_inputs("a", 1).random() == random_inputs("a", 1).random()
    assert random_inputs("a", 1).random() != random_inputs("b", 1).random()
    monkeypatch.setenv("LEAPLM_CHECK_SEED", "5")
    assert random_inputs("a").random() == random_inputs("a", 5).random()


def test_as_array_and_as_number_say_what_came():
    np.testing.assert_array_equal(as_array([[1, 2]], (1, None)), [[1, 2]])
    assert as_number(np.array(2.0, dtype=np.float32)) == 2.0
    for value, words in (
        (np.ones((2, 3)), "not an array of shape (2, 3)"),
        ("5", "not a string"),
        (None, "not None"),
        ([[1], [1, 2]], "not a list of 2"),
        ({"a": 1}, "not a dict of 1"),
    ):
        assert words in str(error_of(as_array, value, (2,), "f"))
    assert "finite" in str(error_of(as_number, float("nan")))


# -- courses ----------------------------------------------------------------------------------------------------------


def test_the_course_is_found_from_below_or_by_name(tmp_path, monkeypatch):
    monkeypatch.delenv("LEAPLM_COURSE", raising=False)
    (tmp_path / "course" / "lab1_x").mkdir(parents=True)
    (tmp_path / "course" / "lab1_x" / "lab.py").touch()
    below = tmp_path / "labs" / "lab1_x"
    below.mkdir(parents=True)
    assert find_course(below) == tmp_path
    monkeypatch.setenv("LEAPLM_COURSE", str(tmp_path))
    assert find_course("/") == tmp_path
    monkeypatch.setenv("LEAPLM_COURSE", str(below))
    with pytest.raises(FileNotFoundError, match="holds no lab"):
        find_course()


def test_checks_of_a_lab_are_loaded_and_graded(tmp_path, monkeypatch):
    folder = tmp_path / "course" / "lab7_x"
    folder.mkdir(parents=True)
    (folder / "lab.py").touch()
    monkeypatch.setenv("LEAPLM_COURSE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="checks of lab7_x"):
        load_checks("lab7_x")
    (folder / "checks.py").write_text(
        "from leaplm.grading import check\n@check(points=1)\ndef two(student, rng):\n"
        "    return (1, 'yes') if student.call('two') == 2 else (0, 'no')\n"
    )
    assert list(load_checks("lab7_x")) == ["two"]
    assert grade("lab7_x", "two", {"two": lambda: 2}) == Verdict(1, "yes")
    with pytest.raises(KeyError, match="no check 'three'"):
        grade("lab7_x", "three", {})


def test_a_time_limit_breaks_off_no_message_and_rings_at_its_end():
    done = []
    with pytest.raises(TimeIsUp), time_limit(0.05):
        with unbroken():
            end = time.process_time() + 0.3
            while time.process_time() < end:
                pass
            done.append("read")
        done.append("went on")
    assert done == ["read"]


def test_an_answer_that_came_after_its_check_was_broken_off_is_nobody_elses():
    """The next check's question has its own answer, however often a limit rings between question and answer."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=answer_late, args=[Channel(theirs)], daemon=True).start()
    line, broken = Line(Channel(ours), 60), 0
    for number in range(6):
        try:
            with time_limit(0.02):
                while time.process_time():
                    assert line.ask("double", number, seconds=30) == 2 * number
        except TimeIsUp:
            broken += 1
    assert broken == 6 and line.over is None


def answer_late(channel):
    with contextlib.suppress(Gone):
        while asked := channel.receive():
            time.sleep(0.001)
            channel.send({"nonce": asked["nonce"], "value": 2 * asked["args"][0]})
