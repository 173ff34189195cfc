"""The rubric of the capstone: four levels each, and the points of each part are those of the notebook."""

import re

import nbformat
from leaplm.grading.course import lab_file
from repo import ROOT

LAB = "lab10_capstone"
TITLES = {"plan": "The plan", "report": "The report", "decision": "The decision"}


def parts():
    """{title: (points in the heading, rows of its table)}."""
    text = lab_file(ROOT, LAB, "rubric.md").read_text(encoding="utf-8")
    found = re.split(r"^## (.+) \((\d+) points\)$", text, flags=re.M)[1:]
    return {title: (int(points), [[cell.strip() for cell in row.strip("|").split("|")] for row in
                                  re.findall(r"^\|.+\|$", body, re.M)][2:])
            for title, points, body in zip(found[::3], found[1::3], found[2::3], strict=True)}


def test_points_are_those_of_the_notebook():
    cells = nbformat.read(ROOT / "solutions" / LAB / f"{LAB}.ipynb", as_version=4).cells
    manual = {meta.grade_id: meta.points for meta in (cell.metadata.get("nbgrader", {}) for cell in cells)
              if meta.get("grade") and meta.get("solution")}
    rubric = parts()
    told = {title: points for title, (points, _) in rubric.items()}
    assert {TITLES[name]: points for name, points in manual.items()} == told
    assert all(sum(int(row[1]) for row in rows) == points for points, rows in rubric.values())


def test_each_criterion_has_four_levels_that_differ():
    for _, rows in parts().values():
        for name, _, *levels in rows:
            assert len(levels) == 4 == len(set(levels)) and all(levels), name


def test_criteria_are_those_of_the_marking_guide():
    """As many criteria as the guide in the solution has points or rows."""
    assert [len(rows) for _, rows in parts().values()] == [5, 6, 5]
