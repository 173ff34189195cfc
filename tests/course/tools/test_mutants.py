"""Mutants: the operators make what they say; the records are of today's sources; a sample of the killed ones is killed."""

import functools
import random

import pytest
from leaplm.grading import load_checks
from leaplm.grading.course import lab_file, list_labs, load_module
from repo import ROOT

tool = load_module(ROOT / "course" / "tools" / "mutants.py")
UNDER_CONTRACT = [lab for lab in list_labs(ROOT)
                  if all(one.contracts is not None for one in load_checks(lab, ROOT).values())]  # fmt: skip
mutants = functools.cache(tool.mutants)
SAMPLE = 6  # mutants a lab that are judged again, on one seed after another

OPERATORS = {
    "x + 1": {"x - 1", "x", "1", "x + 2", "x + 0"},
    "x.sum(dim=-1)": {"x", "x.sum()", "x.mean(dim=-1)", "x.sum(dim=1)", "x.sum(dim=-2)", "x.sum(dim=-0)"},
    "a < b": {"a <= b", "a > b"},
    "a and not b": {"a or not b", "a", "not b", "a and b"},
    "max(a, b)": {"max(b, a)", "min(a, b)"},
    "y if a else z": {"y if not a else z", "y if True else z", "y if False else z"},
    "[i for i in x if i]": {"[i for i in x]"},
    "x[1:n]": {"x[:n]", "x[1:]", "x[2:n]", "x[0:n]"},
    "torch.no_grad()": {"torch", "torch.enable_grad()"},
}


@pytest.mark.parametrize("source", OPERATORS)
def test_each_operator_changes_one_place(source):
    assert {mutant.source for mutant in tool.mutants(source)} >= OPERATORS[source]


def test_statements_are_left_out_and_texts_of_functions_stay():
    body = 'def f(model, n=3):\n    """Docs\n    of f."""\n'
    source = f"{body}    model.eval()\n    n += 1\n    with grad():\n        return n"
    made = {mutant.source for mutant in tool.mutants(source)}
    assert f"{body}    n += 1\n    with grad():\n        return n" in made
    assert f"{body}    model.eval()\n    with grad():\n        return n" in made
    assert f"{body}    model.eval()\n    n += 1\n    if True:\n        return n" in made
    assert all("of f." in text for text in made)


def test_every_mutant_has_a_name_of_its_own():
    names = [mutant.change for mutant in tool.mutants("x = [1, 1, 1 + 1]")]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("lab", UNDER_CONTRACT)
def test_the_record_is_of_todays_sources_and_every_survivor_is_judged(lab):
    scores = tool.load_scores(lab)
    cells = tool.answer_cells(tool.open_bench(lab))
    assert list(scores) == list(cells), f"run: make mutants LAB={lab}"
    for cell, (source, checks) in cells.items():
        now = (tool.fingerprint(source, lab_file(ROOT, lab, "checks.py"), checks), checks)
        recorded = (scores[cell]["fingerprint"], scores[cell]["checks"])
        assert recorded == now, f"{cell} or checks.py changed; run: make mutants LAB={lab}"
        assert scores[cell]["made"] == len(mutants(source))
        assert scores[cell]["made"] == scores[cell]["killed"] + len(scores[cell]["equivalent"])
    assert not tool.unjudged(scores)


@pytest.mark.parametrize("lab", UNDER_CONTRACT)
def test_a_sample_of_mutants_is_killed_as_recorded(lab):
    scores, rng = tool.load_scores(lab), random.Random(lab)
    with tool.open_bench(lab) as bench:
        cells = tool.answer_cells(bench)
        made = [(cell, checks, mutant) for cell, (source, checks) in cells.items() for mutant in mutants(source)]
        for cell, checks, mutant in rng.sample(made, SAMPLE):
            recorded = mutant.change in scores[cell]["equivalent"]
            assert tool.survives(bench, checks, mutant) == recorded, f"{cell}: {mutant.change}"
