"""The page of common mistakes is the one that the banks make now, and names every check."""


from leaplm.grading.course import lab_file, list_labs, load_module
from leaplm.grading.judge.checks import load_checks
from repo import ROOT

mistakes = load_module(ROOT / "course" / "tools" / "mistakes.py")


def test_the_page_is_current():
    assert mistakes.TARGET.read_text(encoding="utf-8") == mistakes.page(), "run: python course/tools/mistakes.py"


def test_every_exercise_of_every_lab_is_there():
    page = mistakes.page()
    for lab in list_labs(ROOT):
        source = lab_file(ROOT, lab, "lab.py").read_text(encoding="utf-8")
        named = {check for checks in mistakes.exercises(source).values() for check in checks}
        assert named == set(load_checks(lab, ROOT))
        assert all(f"(`{check}`)" in page for check in named)
