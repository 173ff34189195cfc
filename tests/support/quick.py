"""Solutions with smaller settings that still earn their marks: for the banks, which need a good model and not our best.

The solutions as they are train in `make run-labs`.
"""

import re

import nbformat
import pytest
from forked import run_notebook
from leaplm.grading import trained
from repo import ROOT
from solved import set_language

HIDDEN = re.compile("### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", re.DOTALL)
# What stands in a lab's solution, and what is taken instead. Figures beside the model need no 600 test texts.
INSTEAD = {
    "lab1_pretraining": {"cpu=800": "cpu=50",
                         "2e-3, batch_size=32, seed=SEED, max_steps=by": "3e-3, batch_size=32, seed=SEED, max_steps=by"},
    "lab2_finetuning": {"cpu=600": "cpu=60", "cpu=300, gpu=1000": "cpu=80, gpu=1000", "=64, cpu=1000": "=64, cpu=550",
                        "cpu=3 if english": "cpu=2 if english", "    learning_rate=1e-4,": "    learning_rate=4e-4,",
                        "batch_size=16": "batch_size=8", "tiny=2, cpu=10": "tiny=2, cpu=1", "tiny=2, cpu=5": "tiny=2, cpu=2",
                        'fewshot.embed(encoder, tokenizer, texts["text"][:])': "np.zeros((len(texts), 384))"},
    "lab3_lora": {"cpu=600": "cpu=60", "collate, config, validate)": "collate, config)",  # the last weights do
                  "cpu=1000, gpu=1000": "cpu=450, gpu=1000", "    learning_rate=1e-3,": "    learning_rate=2e-3,"},
    "lab4_prompting": {"tiny=3, cpu=10": "tiny=3, cpu=3", "cpu=50, gpu=200": "cpu=6, gpu=200",
                       "cpu=100, gpu=500": "cpu=8, gpu=500", "cpu=20, gpu=200": "cpu=1, gpu=200"},
    "lab5_fewshot": {"tiny=24, cpu=300": "tiny=24, cpu=24"},
    "lab6_overfitting": {"cpu=300, gpu=1000": "cpu=60, gpu=1000"},
    "lab7_continual": {"cpu=320, gpu=1000": "cpu=160, gpu=1000", "cpu=200, gpu=600": "cpu=30, gpu=600"},
    "lab8_serving": {"cpu=300, gpu=1000": "cpu=60, gpu=1000", "cpu=(30, 16, 5)": "cpu=(2, 2, 1)", "cpu=150": "cpu=40",
                     "learning_rate=3e-4, max": "learning_rate=6e-4, max",
                     "versions.onnx_versions(student, small_tokenizer, names)": "{}",
                     'sentences["train"].shuffle(': 'sentences["train"].filter(lambda row: len(row["text"]) < 80).shuffle('},
    "lab9_responsible": {"cpu=300, gpu=600": "cpu=60, gpu=600", "cpu=privacy.ROWS": "cpu=1200"},
    "lab11_transformer": {"else 400  # a small": "else 320  # a small"},
    "lab12_retrieval": {"cpu=6, gpu=30": "cpu=1, gpu=30"},
    "lab13_transfer": {"tiny=120, cpu=701": "tiny=120, cpu=250", "tiny=60, cpu=701": "tiny=60, cpu=300",
                       "tiny=20, cpu=204": "tiny=20, cpu=20", "tiny=2, cpu=8, gpu=20": "tiny=1, cpu=1, gpu=20"},
    "lab14_names": {"tiny=1, cpu=6": "tiny=1, cpu=1", "tiny=8, cpu=200": "tiny=8, cpu=8"},
    "lab15_instructions": {"tiny=6, cpu=400": "tiny=6, cpu=48", '["test"][: min(few, 40)]': '["test"][:2]',
                           "tiny=2, cpu=16, gpu=40)]": "tiny=2, cpu=1, gpu=40)]", "tiny=4, cpu=40": "tiny=4, cpu=1",
                           "instructions.write_answers(model, tokenizer, sample)": "wanted",
                           "instructions.write_answers(model, tokenizer, sample, shown=train[:3])": "wanted",
                           "load_general()[:few]": "load_general()[:2]", "for row in test[:2]": "for row in test[:0]",
                           "tiny=2, cpu=10": "tiny=2, cpu=1",
                           'pairs["train"][:few]': 'pairs["train"][:2]', 'pairs["test"][:few]': 'pairs["test"][:2]',
                           "tiny=2, cpu=16": "tiny=2, cpu=1", "gpu=2), 2e-3": "gpu=2), 5e-3"},
    "lab16_small_machines": {"cpu=10, gpu=99": "cpu=1, gpu=99", "cpu=26, gpu=60": "cpu=1, gpu=60",
                             "tiny=5, cpu=300": "tiny=5, cpu=5",
                             'runtime.scale() != "tiny" and': 'runtime.scale() == "gpu" and'},
    "lab10_capstone": {"tiny=24, cpu=150": "tiny=24, cpu=60",
                       'results = small_data.compare({"LoRA"': '# ({"LoRA"',
                       'results = small_data.compare({"full fine-tuning"': '# ({"full fine-tuning"',
                       'methods["prompt without examples"]}': 'methods["TF-IDF, words"]}'},
}  # fmt: skip
# Fewer texts than in the lab's own language.
IN_SWAHILI = ("lab1_pretraining", "lab11_transformer", "lab14_names", "lab16_small_machines")
# Short texts, and the lower half of the encoder as it is: a third of the computing, and as good.
LIGHT = ("lab2_finetuning", "lab3_lora", "lab6_overfitting", "lab7_continual", "lab10_capstone")
LIGHTER = """from leaplm import data, models
from leaplm.continual.streams import freeze_lower

all_texts, all_layers = data.load_sentiment, models.load_sequence_classifier

def short_texts(*args, **kwargs):
    parts = all_texts(*args, **kwargs)
    parts["train"] = parts["train"].filter(lambda row: len(row["text"]) < 80)
    return parts

def upper_layers(*args, **kwargs):
    return freeze_lower(all_layers(*args, **kwargs))

data.load_sentiment, models.load_sequence_classifier = short_texts, upper_layers
"""
# A lab that goes on from what another one saved, and the path in it: it need not train that model again.
GOES_ON = {"lab8_serving": ("lab2_finetuning", "../lab2_finetuning/artifacts")}


def trained_quickly(lab, folder):
    """The artifacts of a lab's quick solution, trained at scale cpu where they are not kept; `folder` is for its course."""
    if lab in GOES_ON:
        trained_quickly(GOES_ON[lab][0], folder / "before")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAPLM_SCALE", "cpu")
        patch.setattr(trained, "execute", execute_forked)
        return trained.trained_artifacts(lab, quick_course(lab, folder))


def execute_forked(notebook, folder, course):
    """In the place of `trained.execute`, which starts a kernel and imports all anew."""
    run_notebook(notebook, folder, {"LEAPLM_COURSE": str(course), "LEAPLM_STUDENT": trained.SEED}, seconds=3600)


def kept_quickly(lab, folder):
    """Where these artifacts are, or will be."""
    return trained.kept_artifacts(lab, quick_course(lab, folder), at="cpu")


def quick_course(lab, folder):
    """A course folder in `folder` that holds the lab's solution with these settings, and nothing else."""
    instead = dict(INSTEAD.get(lab, {}))
    if lab in GOES_ON:
        before, place = GOES_ON[lab]
        instead[place] = str(kept_quickly(before, folder / "before"))
    notebook = nbformat.read(ROOT / "solutions" / lab / f"{lab}.ipynb", as_version=4)
    for usual, quick in instead.items():
        found = [cell for cell in notebook.cells if usual in cell.source]
        assert found, f"{lab} has {usual!r} no more: change tests/support/quick.py"
        for cell in found:
            cell.source = cell.source.replace(usual, quick)
    if lab in IN_SWAHILI:
        set_language(notebook, "swa")
    for cell in notebook.cells:
        cell.source = HIDDEN.sub("", cell.source)  # they need the whole course
    if lab in LIGHT:
        setup = next(cell for cell in notebook.cells if "from leaplm import" in cell.source)
        setup.source = LIGHTER + setup.source
    path = folder / "solutions" / lab / f"{lab}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return folder
