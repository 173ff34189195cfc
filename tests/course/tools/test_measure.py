"""The measuring of labs: the table always, failure where a lab is over its budget."""

import json

import pytest
from leaplm.grading.course import load_module
from mini import ROOT

WITHIN = {"minutes": 8, "longest_cell_seconds": 120, "peak_memory_mb": 1600}


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """course/measure.py with a course of two labs, of which no notebook is run."""
    module = load_module(ROOT / "course" / "measure.py")
    rows = [{"lab": lab, "title": lab, "build": "a model", "megabytes": 86, **WITHIN} for lab in ("lab1_a", "lab2_b")]
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "BUDGET", tmp_path / "budget.json")
    module.BUDGET.write_text(json.dumps({"labs": rows}))
    (tmp_path / "README.md").write_text("<!-- budget:begin -->\nold\n<!-- budget:end -->\n")
    return module


def set_results(module, monkeypatch, **results):
    monkeypatch.setattr(module, "measure", lambda lab: {"lab": lab, **WITHIN, **results.get(lab, {})})


def test_labs_at_their_limits_are_within_the_budget(measure, monkeypatch):
    set_results(measure, monkeypatch)
    measure.main([])
    assert (measure.ROOT / "README.md").read_text().count("| 8 | 120 s | 1.60 GB |") == 2


@pytest.mark.parametrize("name, value", [("minutes", 8.1), ("longest_cell_seconds", 121), ("peak_memory_mb", 1601)])
def test_a_lab_over_its_budget_fails_once_all_are_in_the_table(measure, monkeypatch, name, value):
    set_results(measure, monkeypatch, lab1_a={name: value}, lab2_b={"minutes": 0.5})
    with pytest.raises(SystemExit) as failure:
        measure.main([])
    assert "lab1_a" in failure.value.code and name in failure.value.code and "lab2_b" not in failure.value.code
    table = (measure.ROOT / "README.md").read_text()
    assert "old" not in table and "| 0.5 | 120 s |" in table
    assert json.loads(measure.BUDGET.read_text())["labs"][0][name] == value


def test_only_the_labs_that_were_asked_for_can_fail(measure, monkeypatch):
    set_results(measure, monkeypatch, lab1_a={"minutes": 9})
    measure.main(["lab2_b"])
