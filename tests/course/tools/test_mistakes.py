"""The page of common mistakes is the one that the banks make now, and names every check."""

from pathlib import Path

from leaplm.grading.course import load_module
from leaplm.grading.judge.checks import load_checks

ROOT = Path(__file__).resolve().parents[1]
mistakes = load_module(ROOT / "course" / "mistakes.py")


def test_the_page_is_current():
    assert mistakes.TARGET.read_text(encoding="utf-8") == mistakes.page(), "run: python course/mistakes.py"


def test_every_exercise_of_every_lab_is_there():
    page = mistakes.page()
    for path in mistakes.labs():
        named = {check for checks in mistakes.exercises(path.read_text(encoding="utf-8")).values() for check in checks}
        assert named == set(load_checks(path.stem, ROOT))
        assert all(f"(`{check}`)" in page for check in named)
