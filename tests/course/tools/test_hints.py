"""The hints that a learner can see: found by the marks themselves, in the catalogues by exercise, and never a must."""

import json

import pytest
from babel.messages.pofile import read_po
from leaplm.grading.course import lab_file, list_labs, load_module
from leaplm.grading.judge.banks import load_bank
from leaplm.learner import hints as shown
from leaplm.translation import catalog_path
from mini import LAB, ROOT, make_course

hints = load_module(ROOT / "course" / "tools" / "hints.py")
translate = load_module(ROOT / "course" / "tools" / "translate.py")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The mini course with its hints found, and a French catalogue."""
    root = make_course(tmp_path_factory.mktemp("hints") / "course")
    hints.write(root, LAB)
    translate.update(root, "fr")
    return root


def test_hints_are_what_a_mark_tells_apart_and_the_check_does_not_say_itself(course):
    found = hints.read(course, LAB)
    assert found["version"] == hints.version(course, LAB) and "slope" not in found["checks"]
    assert found["checks"]["mean_square"] == ["the square of the mean", "sums instead of averaging", "divides by n - 1"]
    assert "never steps" in found["checks"]["train_step"]


def test_a_hint_without_translation_is_counted_apart_and_one_with_it_is_shown(course, monkeypatch):
    hint, other = hints.read(course, LAB)["checks"]["mean_square"][:2]
    path = catalog_path(course, LAB, "fr")
    catalog = read_po(path.open("rb"), locale="fr")
    assert catalog[hint].locations == [(f"course/{LAB}/bank.py#mean_square", None)]
    catalog[hint].string = "le carré de la moyenne"
    catalog.header_comment = translate.HEADER  # as a translator leaves it who says it is finished
    translate.save(catalog, path)
    total, done, found = translate.faults(course, "fr")
    assert (done["hint"], total["hint"]) == (1, sum(map(len, hints.read(course, LAB)["checks"].values())))
    assert found and not any("bank.py" in line for line in found)
    monkeypatch.setattr(shown, "catalogs_of", lambda lab: (catalog,))
    assert shown.told(hint, LAB) == "le carré de la moyenne" and shown.told(other, LAB) == f"[EN] {other}"


@pytest.mark.parametrize("lab", list_labs(ROOT))
def test_each_labs_hints_stand_in_its_bank(lab):
    """Fast, and without the marks: `python course/tools/hints.py` finds them anew where bank or checks have changed."""
    bank = {(answer.check, answer.why) for answer in load_bank(lab, ROOT) if not answer.right}
    listed = json.loads(lab_file(ROOT, lab, hints.FILE).read_text(encoding="utf-8"))["checks"]
    gone = [(check, why) for check, every in listed.items() for why in every if (check, why) not in bank]
    assert listed and not gone, f"run: python course/tools/hints.py {lab}"
