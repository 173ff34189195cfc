"""Plans for one day and for five: they fit into the day, name labs that are there, and their page says what is counted."""

import re

import pytest
from leaplm.grading.course import list_labs, load_module
from repo import ROOT

plans = load_module(ROOT / "course" / "tools" / "tables.py").plans
LABS = list_labs(ROOT)


def test_the_day_is_a_day_and_leaves_time_for_the_computer():
    assert sum(length for length, _, _ in plans.DAY) == 8 * 60
    for length, _, labs in plans.DAY:
        assert sum(plans.minutes(ROOT, lab)["computer"] for lab in labs) < length
    assert {lab for _, _, labs in plans.DAY for lab in labs} <= set(LABS)


def test_each_of_five_days_leaves_two_hours_for_slides_and_talk():
    for what, labs, _ in plans.WEEK:
        assert sum(share * sum(plans.minutes(ROOT, lab).values()) for lab, share in labs) <= 4 * 60 + 15, what


@pytest.mark.parametrize("lab", LABS)
def test_no_sitting_takes_more_than_two_hours(lab):
    """A class has two; what stands at a place to stop is the same everywhere, and hides no heading."""
    assert max(plans.sittings(ROOT, lab)) <= 120
    stops = [cell.source for cell in plans.notebooks.release(ROOT, lab).cells if plans.STOP in cell.source]
    assert all(stop == stops[0] and stop.startswith(plans.STOP) and "#" not in stop for stop in stops)


@pytest.mark.parametrize("place", range(len(plans.DAY)))
def test_sections_and_exercises_that_a_plan_names_are_in_the_lab(place):
    what = plans.DAY[place][1]
    for lab, text in re.findall(r"[Ll]ab (\d+) ([^;:.]*)", what):
        folder = next(name for name in LABS if name.startswith(f"lab{lab}_"))
        source = (ROOT / "course" / folder / "lab.py").read_text(encoding="utf-8")
        sections = {int(n) for n in re.findall(r"^# ## (\d+)\.", source, re.M)}
        exercises = {int(n) for n in re.findall(r"^# ### Exercise (\d+)", source, re.M)}
        for kind, there in (("section", sections), ("exercise", exercises)):
            named = re.search(kind + r"s? ([\d–, and]+)", text)
            assert not named or {int(n) for n in re.findall(r"\d+", named[1])} <= there, (lab, text)


@pytest.mark.parametrize("lab", LABS)
def test_two_minutes_a_line_come_near_the_minutes_of_the_headings(lab):
    """What the page says of its own estimate."""
    source = (ROOT / "course" / lab / "lab.py").read_text(encoding="utf-8")
    written = sum(map(int, re.findall(r"^# ### Exercise .*?\((\d+) minutes.*read by", source, re.M)))
    assert 2 * plans.lines_to_write(ROOT, lab) + written >= 0.75 * plans.minutes(ROOT, lab)["exercises"]
