"""What a lab's solution defines, as a fixture, and what it hands in."""

import re

import pytest
from leaplm import artifacts, prompting
from leaplm.capstone import small_data
from leaplm.grading.judge.banks import Workbench, load_bank
from leaplm.tokens import costs as token_costs
from repo import ROOT

WITHOUT_CLASSES = {"lab0_start", "lab1_pretraining", "lab11_transformer", "lab12_retrieval", "lab13_transfer",
                   "lab14_names", "lab15_instructions"}  # or others
# What a lab needs to run in its own language, beside what every machine has; some machines do not reach GitHub.
NEEDS = {"lab0_start": ["sib200"], "lab13_transfer": ["sib200"], "lab16_small_machines": ["afrisenti"]}
LANGUAGE = re.compile(r'^LANGUAGE = "[^"]*"', re.MULTILINE)


def set_language(notebook, language):
    """Set the one LANGUAGE of a lab's notebook, whatever stands there."""
    [cell] = [cell for cell in notebook.cells if cell.cell_type == "code" and LANGUAGE.search(cell.source)]
    cell.source = LANGUAGE.sub(lambda found: f'LANGUAGE = "{language}"', cell.source)


def solved_lab(name):
    """A fixture: {name: value} of the solution's functions and variables, run once a test module at scale tiny."""

    @pytest.fixture(scope="module")
    def lab(assets_ready):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LEAPLM_SCALE", "tiny")
            with Workbench(name, ROOT) as bench:
                yield bench._solved

    return lab


def handed_in(lab, folder):
    """What the one artifact of a lab says of itself: the card beside the weights, a tokenizer's card, a prompt, results.

    None for a lab that hands in none.
    """
    if not any(answer.files for answer in load_bank(lab, ROOT)):
        return None
    [path] = (folder / "artifacts").iterdir()
    if path.name.startswith("results"):
        return small_data.read_results(path.read_bytes())
    if path.name == "tokenizer.json":
        return token_costs.read_tokenizer(path.read_bytes())[0]
    return prompting.read_prompt_file(path.read_bytes()) if path.suffix == ".json" else artifacts.read_artifact(path)[0]


def assert_handed_in(lab, folder, language, label):
    """The artifact of a lab done in a language says so, and knows the label, if it is one that has labels."""
    card = handed_in(lab, folder)
    assert card is None or card["language"] == language
    assert card is None or lab in WITHOUT_CLASSES or label in card["labels"]
