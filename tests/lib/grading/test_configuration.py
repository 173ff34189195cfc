"""`configure` in the configuration of a course that has steps and hooks of its own."""

import contextlib

import pytest
from leaplm.grading import configure
from nbconvert.preprocessors import ExecutePreprocessor, Preprocessor
from nbgrader.preprocessors import Execute, LimitOutput, SaveAutoGrades
from traitlets.config import Config

LISTS = [("Autograde", "sanitize_preprocessors"), ("Autograde", "autograde_preprocessors"),
         ("HTMLExporter", "preprocessors"), ("GenerateFeedback", "preprocessors")]  # fmt: skip


class Own(Preprocessor):
    """A step of the course's own."""


class Runs(ExecutePreprocessor):
    """One that runs the cells."""


@pytest.mark.parametrize(("section", "name"), LISTS)
@pytest.mark.parametrize("whole", [True, False])
def test_a_courses_own_steps_stay(section, name, whole):
    usual, config = Config(), Config()
    configure(usual)
    steps = [Execute, "own.Other", Own, LimitOutput, SaveAutoGrades] if whole else ["own.Other", Own]
    if whole:
        config[section][name] = steps
    else:
        getattr(config[section], name).extend(steps)
    configure(config)
    left = config[section][name]
    assert [step for step in left if step in ("own.Other", Own)] == ["own.Other", Own]
    assert [step for step in left if step not in ("own.Other", Own)] == usual[section][name]
    configure(config)  # once more changes nothing
    assert [step for step in config[section][name] if step not in ("own.Other", Own)] == usual[section][name]


@pytest.mark.parametrize("step", [Runs, Runs(), f"{__name__}.Runs"])
def test_a_step_that_would_run_cells_outside_the_sandbox_is_refused(step):
    config = Config({"Autograde": {"autograde_preprocessors": [step]}})
    with pytest.raises(ValueError, match=r"autograde_preprocessors has .*Runs, which runs"):
        configure(config)


@pytest.mark.parametrize("fails", [True, False])
def test_a_courses_own_hook_comes_before_ours(monkeypatch, fails):
    came = []

    def own(**given):
        came.append(("own", given["student"]))
        if fails:
            raise RuntimeError

    monkeypatch.setattr("leaplm.grading.steps.prepare", lambda **given: came.append(("ours", given["student"])))
    config = Config({"Autograde": {"pre_convert_hook": own}})
    configure(config)
    configure(config)
    with pytest.raises(RuntimeError) if fails else contextlib.nullcontext():
        config.Autograde.pre_convert_hook(assignment="week1", student="amina", notebooks=[])
    assert came == [("own", "amina"), ("ours", "amina")]


def test_a_courses_own_filters_stay():
    config = Config({"HTMLExporter": {"filters": {"shout": "own.shout"}}})
    configure(config)
    assert set(config.HTMLExporter.filters) == {"shout", "markdown2html"}
