"""The measuring of labs: the table always, failure where a lab is over its budget."""

import pytest
from leaplm.grading.course import lab_file, load_module
from mini import ROOT

WITHIN = {"minutes": 8, "longest_cell_seconds": 120, "peak_memory_mb": 1600}


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """course/tools/measure.py with a course of two labs, of which no notebook is run."""
    module = load_module(ROOT / "course" / "tools" / "measure.py")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    for lab in ("lab1_a", "lab2_b"):
        (tmp_path / "course" / lab).mkdir(parents=True)
        lab_file(tmp_path, lab, "lab.py").write_text(f"# %% [markdown]\n# # Lab {lab[3]} · A lab\n")
        module.cards.write_card(tmp_path, lab, {"build": "a model", "megabytes": 86, "measured": WITHIN})
    monkeypatch.setattr(module.tables, "TABLES", {"README.md": {"budget": module.tables.costs}})
    (tmp_path / "README.md").write_text("<!-- budget:begin -->\nold\n<!-- budget:end -->\n")
    return module


def set_results(module, monkeypatch, **results):
    monkeypatch.setattr(module, "measure", lambda lab: WITHIN | results.get(lab, {}))


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
    assert measure.cards.read_card(measure.ROOT, "lab1_a")["measured"][name] == value


def test_only_the_labs_that_were_asked_for_can_fail(measure, monkeypatch):
    set_results(measure, monkeypatch, lab1_a={"minutes": 9})
    measure.main(["lab2_b"])
