"""The page of common mistakes is the one that the banks make now, names every check, and has each under its exercise."""

import re

import pytest
from leaplm.grading.course import lab_file, list_labs, load_module
from leaplm.grading.judge.checks import load_checks
from leaplm.learner.marks import reads_files_only
from repo import ROOT

mistakes = load_module(ROOT / "course" / "tools" / "mistakes.py")


@pytest.fixture(scope="module")
def page():
    return mistakes.page()


def test_the_page_is_current(page):
    assert mistakes.TARGET.read_text(encoding="utf-8") == page, "run: python course/tools/mistakes.py"


def test_every_exercise_of_every_lab_is_there(page):
    for lab in list_labs(ROOT):
        source = lab_file(ROOT, lab, "lab.py").read_text(encoding="utf-8")
        named = {check for checks in mistakes.exercises(source).values() for check in checks}
        assert named == set(load_checks(lab, ROOT))
        assert all(f"(`{check}`)" in page for check in named)


@pytest.mark.parametrize("lab", list_labs(ROOT))
def test_mistakes_stand_under_the_exercise_whose_answer_they_are_about(lab):
    """A check of a function stands under the heading with its answer cell; one of a file under no exercise."""
    source = lab_file(ROOT, lab, "lab.py").read_text(encoding="utf-8")
    parts, checks = mistakes.HEADING.split(source), load_checks(lab, ROOT)
    written = [heading for heading, text in zip(parts[1::2], parts[2::2], strict=True) if '# %% answer="' in text]
    for heading, names in mistakes.exercises(source).items():
        for name in names:
            under = heading.startswith("Exercise") and any(each.startswith(heading) for each in written)
            assert under != reads_files_only(checks[name]), f"{name} stands under {heading}"


@pytest.mark.parametrize("lab", list_labs(ROOT))
def test_what_a_mark_tells_apart_has_something_to_ask(lab, page):
    number = mistakes.TITLE.search(lab_file(ROOT, lab, "lab.py").read_text(encoding="utf-8"))[1]
    text = page.partition(f"## {number}\n")[2].partition("\n## ")[0]
    for check, known in mistakes.told_apart(ROOT, lab).items():
        part = text.partition(f"(`{check}`)")[2].partition("\n**")[0].partition("* Other mistakes:")[0]
        asked = re.split(r"^\* \*.+\*$", part, flags=re.M)[1:]
        assert sorted(re.findall(r"^  \* (.+)$", "\n".join(asked), re.M)) == sorted(set(known)), check


def test_every_kind_of_response_is_used():
    """None is shadowed by one before it."""
    used = {mistakes.response(why) for lab in list_labs(ROOT) for known in mistakes.told_apart(ROOT, lab).values()
            for why in known}
    assert used == {ask for _, ask in mistakes.RESPONSES}
