"""Marks in the notebook's own process: as the grader's, in time, and nothing of the notebook changes."""

import random
import time

import numpy as np
import pytest
import torch
from leaplm import fonts
from leaplm.grading.judge.banks import Workbench, load_bank
from leaplm.grading.judge.checks import judge, load_checks
from leaplm.grading.judge.standing import Standing
from leaplm.grading.sandbox.student import Student
from leaplm.learner import listener, marks, panel, releases
from leaplm.learner.listener import MOST_WAITING
from mini import LAB, MINI
from mini_learner import solutions

HALF = "def mean_square(x):\n    return (x * x).sum() / max(len(x) - 1, 1)"
WRONG = "def mean_square(x):\n    return x.mean()"
ENOUGH = 1.0  # s, to wait for what never ends


def names(course, **answers):
    """The names of the solved mini lab, with other answers in place."""
    found = {"__name__": "__main__", "torch": torch}
    for source in {**solutions(course), **answers}.values():
        if source.startswith("def"):
            exec(source, found)
    return found


def patience(answer):
    return ENOUGH if answer.why == "never ends" else marks.SECONDS


def marked(course, check, seconds=marks.SECONDS, **answers):
    namespace = names(course, **answers)
    return marks.mark(releases.named_task(check), namespace, seconds=seconds)


@pytest.mark.parametrize(("answer", "points"), [(None, 3), (HALF, 1), (WRONG, 0)], ids=["right", "half", "wrong"])
def test_a_mark_says_points_and_what_is_wrong(labs, course, answer, points):
    mark = marked(course, "mean_square", **({"mean_square": answer} if answer else {}))
    assert (mark.points, mark.right) == (points, points == 3)
    assert mark.message == ("right" if points == 3 else "the mean of the squares is another number")
    assert mark.busy < marks.SECONDS


def test_an_unanswered_exercise_says_so(labs, course):
    mark = marked(course, "mean_square", mean_square="def mean_square(x):\n    raise NotImplementedError")
    assert (mark.points, mark.message, mark.mistake) == (0, "`mean_square` is not answered yet.", "")


CATCHES_ALL = "\n    while True:\n        try:\n            while True: pass\n        except Exception: pass"


@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(60)", CATCHES_ALL])
def test_what_never_ends_is_stopped_and_not_judged(labs, course, body):
    started = time.monotonic()
    mark = marked(course, "mean_square", ENOUGH, mean_square=f"def mean_square(x):\n    {body}")
    assert mark.points is None and mark.problem == "time"
    assert time.monotonic() - started < 2 * marks.SECONDS + MOST_WAITING * ENOUGH  # the second on a busy machine


def test_what_others_have_of_the_processor_does_not_count(monkeypatch):
    """A thread that waited for 0.3 s has 0.3 s more; one that sleeps has not."""
    times = iter([0.0, *[0.3] * 99])
    monkeypatch.setattr(listener, "waited", lambda: next(times))
    started = time.monotonic()
    with pytest.raises(listener.TimeIsUp), listener.until(started + 0.2):
        time.sleep(30)
    assert 0.5 <= time.monotonic() - started < 20


@pytest.mark.parametrize("answer", load_bank(LAB, MINI),
                         ids=lambda answer: f"{answer.check}: {answer.why}")
def test_the_mark_is_the_graders(labs, course, answer):
    """The same check on the same answer gives the same points, inside the notebook and for the grader."""
    if not answer.source:
        pytest.skip("a file, not a function")
    namespace, check = names(course, **{answer.check: answer.source}), load_checks(LAB, course)[answer.check]
    mark = marks.mark(releases.named_task(answer.check), namespace, seconds=patience(answer))
    verdict = judge(check, Student(namespace, ".", check.seconds), 1)
    assert (mark.points or 0) == verdict.points and (mark.points is None) == ("never ends" in verdict.message)
    assert mark.right == answer.right or not answer.right


def test_a_mistake_of_the_bank_is_recognised(labs, course):
    """Typed by hand, under other names: what counts is what it does. One from no bank is taken for none."""
    bank = [answer for answer in load_bank(LAB, course) if not answer.right and answer.check == "mean_square"]
    for answer in bank:
        namespace = names(course)
        exec(answer.source, namespace)
        mark = marks.mark(releases.named_task("mean_square"), namespace, seconds=patience(answer))
        said_already = answer.why in ("never ends", "returns one number per element")
        assert mark.mistake == ("" if said_already else answer.why)
    assert marked(course, "mean_square", mean_square="def mean_square(x):\n    return x.sum() * 0 + 77.5").mistake == ""


def test_where_the_check_names_the_fault_itself_no_cause_is_shown(labs, course):
    changing = "def mean_square(x):\n    value = (x * x).sum()\n    x.zero_()\n    return value"
    mark = marked(course, "mean_square", mean_square=changing)
    assert mark.points < 3 and "x" in mark.message and mark.mistake == ""


def test_the_notebook_is_as_it_was(labs, course):
    """An answer that disturbs all it can reach: the numbers, names, models and settings of the notebook stay."""
    nasty = """def mean_square(x):
    import os, random
    import matplotlib.pyplot as plt
    import numpy as np
    global counter, fresh
    counter, fresh = 99, 1
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    history.append(1), settings.update(rate=2), seen.add(3)
    table[:] = 0
    weights.mul_(2)
    model.eval()
    model.weight.requires_grad_(False)
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    os.environ["LEAPLM_SCALE"] = "gpu"
    os.chdir("/")
    plt.figure()
    print("hidden", x)
    return x.mean()"""
    import os

    import matplotlib.pyplot as plt

    model = torch.nn.Linear(2, 2)
    namespace = names(course, mean_square=nasty) | {
        "counter": 0, "history": [], "settings": {"rate": 1}, "seen": {1}, "table": np.ones(3), "weights": torch.ones(2),
        "model": model}
    namespace["mean_square"].__globals__.update(namespace)
    namespace = namespace["mean_square"].__globals__
    kept = {name: namespace[name] for name in ("history", "settings", "seen", "table", "weights")}
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), os.getcwd(),
              dict(os.environ), plt.get_fignums())
    marks.mark(releases.named_task("mean_square"), namespace)
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), os.getcwd(),
             dict(os.environ), plt.get_fignums())
    assert after == before and torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    assert namespace["counter"] == 0 and "fresh" not in namespace
    assert all(namespace[name] is value for name, value in kept.items())
    assert (kept["history"], kept["settings"], kept["seen"]) == ([], {"rate": 1}, {1})
    assert kept["table"].tolist() == [1, 1, 1] and kept["weights"].tolist() == [1, 1]
    assert model.training and model.weight.requires_grad


def test_a_saved_file_is_judged_where_it_lies(labs, course):
    folder = labs / LAB / "artifacts"
    assert "There is no artifacts/slope-cpu.json" in marked(course, "slope").message
    folder.mkdir()
    (folder / "slope-cpu.json").write_text('{"slope": 2.0}')
    assert marked(course, "slope").right


@pytest.mark.parametrize("lab", ["lab2_finetuning"])
def test_a_real_labs_solution_has_all_points_within_two_seconds(lab, assets_ready, monkeypatch):
    from repo import ROOT

    monkeypatch.setenv("LEAPLM_SCALE", "tiny")
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    with Workbench(lab, ROOT) as bench:
        for task in releases.tasks(ROOT, lab):
            if not marks.reads_files_only(bench.checks[task.check]):
                mark = marks.mark(task, bench._namespace, bench.folder)
                assert mark.right, mark


def test_the_picture_of_a_mark_says_which_font_its_letters_need(capsys, recwarn, monkeypatch):
    monkeypatch.setattr(fonts, "told", set())
    panel.drawn(Standing("𐰀𐰁", 0.7, 0.6, (0.65, 0.72)))
    assert capsys.readouterr().out.count("No font of this computer has Old Turkic letters") == 1
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_each_line_of_what_was_asked_for_is_written_from_its_own_side(monkeypatch):
    monkeypatch.setattr(panel, "in_their_language", lambda task: task)
    task = releases.Task("lab0_none", "f", 1, "f", "f", "def f(x)\n\nأعد عددًا.", (), "")
    assert "<pre dir='auto'" in panel.as_html(marks.Mark(task, 0, "wrong"))


def in_cells(*sources):
    """The names of a notebook of such cells, each with a file name of its own as IPython has it."""
    found = {"__name__": "__main__", "np": np}
    for number, source in enumerate(sources):
        exec(compile(source, f"<cell {number}>", "exec"), found)
    return found


F1_INTERVAL = """
def f1_interval(gold, predicted, rounds, seed):
    rng, found = np.random.default_rng(seed), []
    for _ in range(rounds):
        rows = rng.{draw}
        found.append(entity_scores([gold[i] for i in rows], [predicted[i] for i in rows])["f1"])
    low, high = np.quantile(found, [0.025, 0.975])
    return low, high
"""
RIGHT_DRAW, WRONG_DRAW = "integers(0, len(gold), len(gold))", "permutation(len(gold))"
SCORES = "from leaplm import tagging\ndef entity_scores(gold, predicted):\n    "


@pytest.mark.parametrize(("scores", "draw", "cause"), [
    ("return {'precision': 1.0, 'recall': 1.0}", RIGHT_DRAW, ""),  # an error in this function, for want of the key
    ("return {}[gold[0][0]]", RIGHT_DRAW, ""),  # an error in that one
    ("return {'precision': 1.0, 'recall': 1.0, 'f1': 0.0}", RIGHT_DRAW, ""),  # no error at all
    ("return tagging.entity_scores(gold, predicted)", WRONG_DRAW, "without replacement"),
])  # fmt: skip
def test_no_cause_is_named_for_the_fault_of_another_exercise(scores, draw, cause, monkeypatch):
    from repo import ROOT

    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    namespace = in_cells(SCORES + scores, F1_INTERVAL.format(draw=draw))
    mark = marks.mark(releases.named_task("f1_interval", "lab14_names"), namespace, seconds=20)
    assert mark.points == 0 and mark.mistake == cause


def test_it_is_the_exercise_without_an_answer_that_is_named(monkeypatch):
    from repo import ROOT

    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    namespace = in_cells(SCORES + "raise NotImplementedError", F1_INTERVAL.format(draw=RIGHT_DRAW))
    mark = marks.mark(releases.named_task("f1_interval", "lab14_names"), namespace)
    assert (mark.points, mark.message, mark.mistake) == (0, "`entity_scores` is not answered yet.", "")
