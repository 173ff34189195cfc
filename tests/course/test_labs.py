"""The labs: they run (in Hausa: test_colab), they keep to the style, and what they teach is what the library does."""

import ast
import os
import re
import statistics

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from forked import run_notebook
from leaplm import data, evaluation, plots, tagging, training
from leaplm.grading.course import list_labs
from leaplm.grading.judge.probes import learning_rates_by_update, sgd_of_groups
from leaplm.grading.judge.tiny_models import tiny_classifier, vector_classifier
from quick import HIDDEN
from repo import ROOT
from solved import NEEDS, assert_handed_in, set_language, solved_lab

LABS = list_labs(ROOT)
LANGUAGES = os.environ.get("LEAPLM_LANGUAGES", "").split()  # `make languages` takes all of them
OWN = "mine.csv"
CODE = rf"(?<![\w.\"-])({'|'.join(data.NAMES)})(?![\w.\"-])"  # in quotes it is what one types


@pytest.fixture(autouse=True)
def needs_the_sentences(request, needs_asset):
    """Labs whose own language is not English need sentences that a machine without GitHub does not have."""
    lab = request.node.callspec.params.get("lab") if hasattr(request.node, "callspec") else None
    for asset in NEEDS.get(lab, []) if "shallow" in request.fixturenames else []:
        needs_asset(asset)


def read(kind, lab):
    return nbformat.read(ROOT / kind / lab / f"{lab}.ipynb", as_version=4)


def run_solution(lab, folder, language, environment):
    """Run a solution at scale tiny with another LANGUAGE."""
    notebook = read("solutions", lab)
    for cell in notebook.cells:
        cell.source = HIDDEN.sub("", cell.source)  # they judge what no model of this scale can reach
    set_language(notebook, language)
    run_notebook(notebook, folder, {"LEAPLM_SCALE": "tiny", "LEAPLM_COURSE": str(ROOT), **environment},
                 look=codes_shown if language == OWN else None)


def codes_shown(outputs):
    """The languages that a cell's tables, figures and printed lines call by their codes, for a learner to guess at."""
    figures = [plt.figure(number).in_words() for number in plt.get_fignums()]  # here nothing shows and closes them
    plt.close("all")
    seen = re.findall(CODE, "\n".join(figures))
    for output in outputs:
        shown = output.get("data", {})
        words = [output.get("text", ""), "" if "text/html" in shown else shown.get("text/plain", "")]
        seen += re.findall(rf"<t[hd][^>]*>\s*{CODE}\s*</t[hd]>", shown.get("text/html", ""))
        seen += re.findall(CODE, "\n".join(words))
    return f"{sorted(set(seen))}: say data.NAMES" if seen else None


@pytest.mark.parametrize(("output", "found"), [
    ({"text": "learned from hau:"}, True),
    ({"text": "Hausa: runs/minilm-hau"}, False),
    ({"data": {"text/plain": "", "text/html": "<tr><th>swa</th><td>0.5</td></tr>"}}, True),
    ({"data": {"text/plain": "swa", "text/html": "<tr><th>Swahili</th></tr>"}}, False),
])  # fmt: skip
def test_a_language_shown_by_its_code_is_found(output, found):
    assert bool(codes_shown([output])) == found


@pytest.mark.parametrize("names", [["Hausa", "Swahili"], ["hau", "swa"]])
def test_a_figure_that_shows_codes_of_languages_is_found(names):
    plots.plot_bars(pd.DataFrame({"language": names, "mean": [0.5, 0.6], "sd": 0.1}), "Accuracy")
    assert bool(codes_shown([])) == (names[0] == "hau")


def own_rows(lab):
    """A student's own CSV for a lab: texts with classes, with translations, or words with tags."""
    if lab == "lab14_names":
        words = [f"{i},{word},{tag}" for i in range(60)
                 for word, tag in (("Stall", "O"), (f"Kasuwa{i}", "B-STALL"), (f"Row{i % 7}", "I-STALL"), ("opened", "O"))]
        return "sentence,word,tag\n" + "\n".join(words)
    if lab == "lab15_instructions":
        return "question,answer\n" + "\n".join(f"Where is stall {i}?,Row {i % 7}: stall {i}." for i in range(150))
    second = "english" if lab == "lab13_transfer" else "label"
    lines = [f'"{word} service at stall {i} of the market",{label if second == "label" else f"{label} {i}"}'
             for i in range(150) for word, label in (("quick", "praise"), ("slow", "complaint"))]
    return f"text,{second}\n" + "\n".join(lines)


@pytest.mark.parametrize("lab", LABS)
def test_headings_go_down_one_level_at_a_time(lab):
    """Sphinx stops at a step from # to ###, and a screen reader loses its place."""
    lines = "\n".join(cell.source for cell in read("labs", lab).cells if cell.cell_type == "markdown").splitlines()
    levels = [len(line) - len(line.lstrip("#")) for line in lines if re.match("#+ ", line)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


@pytest.mark.parametrize("lab", LABS)
@pytest.mark.parametrize("language", [*LANGUAGES, OWN])
def test_solution_runs_in_other_languages(lab, language, tmp_path, shallow, needs_asset):
    if language == OWN:
        (tmp_path / OWN).write_text(own_rows(lab), encoding="utf-8")
    else:
        needs_asset("afrisenti")
        if lab == "lab14_names" and language not in tagging.LANGUAGES:
            pytest.skip("no sentences with marked names in this language")
    run_solution(lab, tmp_path, language, shallow)
    assert_handed_in(lab, tmp_path, language, "complaint" if language == OWN else "neutral")


@pytest.mark.parametrize("lab", LABS)
def test_cells_are_short(lab):
    """STYLE.md: median at most 6 lines, at most 20 outside solutions."""
    sizes = {cell.id: len(cell.source.splitlines()) for cell in read("labs", lab).cells if cell.cell_type == "code"}
    assert statistics.median(sizes.values()) <= 6
    assert {name: size for name, size in sizes.items() if size > 20} == {}


@pytest.mark.parametrize("lab", LABS)
def test_every_exercise_has_minutes_points_and_two_hints(lab):
    text = [cell.source for cell in read("labs", lab).cells if cell.cell_type == "markdown"]
    headings = [line for source in text for line in source.splitlines() if line.startswith("### Exercise")]
    assert headings and all("minutes" in line and "point" in line for line in headings)
    checked = [cell for cell in read("labs", lab).cells if cell.metadata.get("nbgrader", {}).get("solution")
               and cell.cell_type == "code"]
    assert sum(source.count("<details>") for source in text) >= 2 * len(checked)


@pytest.mark.parametrize("lab", LABS)
def test_stubs_have_a_docstring_with_an_example(lab):
    for cell in read("labs", lab).cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution"):
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
            functions = [n for n in ast.parse(cell.source).body if isinstance(n, kinds)]
            assert functions and all(ast.get_docstring(f) for f in functions), cell.id
            assert "NotImplementedError" in cell.source


@pytest.mark.parametrize("lab", LABS)
def test_no_check_puts_back_what_it_changed_behind_an_assert(lab):
    """Where the assert fails nothing is put back, and the next right answer fails: a `with` block puts it back always."""
    for cell in read("labs", lab).cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade"):
            body = ast.parse(cell.source.replace("\n%", "\n#%")).body
            asserts = [place for place, node in enumerate(body) if isinstance(node, ast.Assert)]
            behind = body[asserts[0] + 1 :] if asserts else []
            text = "\n".join(ast.unparse(node) for node in behind if isinstance(node, (ast.Assign, ast.Expr)))
            assert not re.search(r"load_state_dict|\.copy_\(|\.update\(|\.train\(", text), cell.id


@pytest.mark.parametrize("lab", LABS)
def test_no_notebook_is_large(lab):
    assert os.path.getsize(ROOT / "labs" / lab / f"{lab}.ipynb") < 120_000


lab2 = solved_lab("lab2_finetuning")


def test_lab2_collate_is_the_librarys(lab2):
    rows = [{"input_ids": list(range(3, 3 + n)), "label": n % 2} for n in (4, 1, 7)]
    theirs = data.DynamicPaddingCollator(9)(rows)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in lab2["collate"](rows, 9).items())


def test_lab2_schedule_is_the_librarys(lab2):
    for step in range(30):
        assert lab2["warmup_linear"](step, 25, 5) == training.warmup_linear(step, 25, 5)
    found = {}
    for who in ("ours", "theirs"):
        optimizer = sgd_of_groups([1.0, 0.1])
        config = training.TrainingConfig(warmup_ratio=5 / 25)
        scheduler = (lab2["Scheduler"](optimizer, 25, 5) if who == "ours" else training.make_scheduler(optimizer,
            config, 25))
        found[who] = learning_rates_by_update(scheduler, optimizer, 28)
    assert np.allclose(found["ours"], found["theirs"])


def test_lab2_losses_are_torchs(lab2):
    logits, labels = torch.randn(6, 3), torch.randint(3, (6,))
    functional = torch.nn.functional
    assert torch.allclose(lab2["cross_entropy"](logits, labels), functional.cross_entropy(logits, labels))
    targets = (labels > 0).long()
    assert torch.allclose(lab2["binary_cross_entropy"](logits[:, 0], targets),
                          functional.binary_cross_entropy_with_logits(logits[:, 0], targets.float()))


def test_lab2_evaluation_is_the_librarys(lab2):
    model, rng = tiny_classifier(initializer_range=0.5, dropout=0.3), np.random.default_rng(0)
    rows = [{"input_ids": rng.integers(5, 60, size=n).tolist(), "label": int(n % 2)} for n in range(2, 13)]
    collate = data.DynamicPaddingCollator(0)
    scores = lab2["evaluation_loop"](model, [collate(rows[:8]), collate(rows[8:])])
    theirs = evaluation.evaluate(model, rows, collate)
    assert scores == pytest.approx(theirs, abs=1e-5)
    labels, predictions = torch.tensor([0, 0, 1, 3]), torch.tensor([0, 2, 1, 1])
    assert lab2["macro_f1"](labels, predictions) == pytest.approx(evaluation.macro_f1(labels, predictions))


def test_lab2_clipping_is_torchs(lab2):
    ours, theirs = (torch.nn.Linear(3, 2) for _ in range(2))
    for model in (ours, theirs):
        for parameter in model.parameters():
            parameter.grad = torch.arange(1.0, parameter.numel() + 1).view_as(parameter)
    assert lab2["clip_gradients"](ours, 2.0) == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs.parameters(
        ), 2.0)))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-5)


def test_lab2_training_step_is_the_librarys_update(lab2):
    """Of `train`, whose batch of 8 rows is cut into 3 parts, and of `training.training_step`."""
    rows = [{"input_ids": [5 + i, 7, 9 + i], "label": i % 2} for i in range(8)]
    collate = data.DynamicPaddingCollator(0)
    config = training.TrainingConfig(learning_rate=1e-2, batch_size=8, max_steps=3, warmup_ratio=0, progress=False,
                                     gradient_accumulation_steps=3)
    ours = tiny_classifier()
    history = training.train(ours, rows, collate, config)
    for step in (lab2["training_step"], training.training_step):
        theirs = tiny_classifier()
        optimizer = training.make_optimizer(theirs, config)
        scheduler = training.make_scheduler(optimizer, config, 3)
        losses = [step(theirs, [collate(rows[:5]), collate(rows[5:])], optimizer, scheduler) for _ in range(3)]
        assert losses == pytest.approx([row["loss"] for row in history.train], abs=1e-5)
        for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"eval_steps": 2, "patience": 1}])
def test_lab2_fit_is_the_librarys_train(lab2, changes):
    rng = np.random.default_rng(1)
    rows = [{"input_ids": [5], "vector": rng.normal(size=4), "label": int(rng.integers(3))} for _ in range(29)]
    settings = {"eval_steps": 3, "patience": None, **changes}
    config = training.TrainingConfig(learning_rate=0.1, batch_size=8, epochs=4, gradient_accumulation_steps=3,
                                     group_by_length=False, metric="macro_f1", progress=False, **settings)

    def validate(model):
        return evaluation.evaluate(model, rows[:11], data.collate_vectors)

    ours, theirs = (vector_classifier(4, 3) for _ in range(2))
    mine = lab2["fit"](ours, rows, data.collate_vectors, config, validate)
    librarys = training.train(theirs, rows, data.collate_vectors, config, validate)
    assert [row["step"] for row in mine["validation"]] == [row["step"] for row in librarys.validation]
    assert mine["stopped_early"] == librarys.stopped_early == bool(changes)
    for part in ("train", "validation"):
        for one, other in zip(mine[part], getattr(librarys, part), strict=True):
            assert one == pytest.approx({name: other[name] for name in one}, abs=1e-4)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_lab2_batches_of_an_epoch_are_the_librarys(lab2):
    rows = [{"input_ids": [5], "vector": [float(i)], "label": 0} for i in range(11)]
    config = training.TrainingConfig(batch_size=4, gradient_accumulation_steps=3, seed=2)
    sampler = data.ShuffledSampler([1] * 11, 4, seed=2)
    sampler.set_epoch(3)
    found = [[int(v) for part in parts for v in part["vectors"]]
             for parts in lab2["epoch_batches"](rows, data.collate_vectors, config, 3)]
    assert list(map(sorted, found)) == list(map(sorted, sampler))
