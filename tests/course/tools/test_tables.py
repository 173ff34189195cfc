"""The tables of labs in README, syllabus and teachers' page are those that the folders give now."""

import pytest
from leaplm.grading.course import list_labs, load_module
from repo import ROOT

tables = load_module(ROOT / "course" / "tools" / "tables.py")


@pytest.mark.parametrize("page", tables.TABLES)
def test_a_page_is_current(page):
    assert (ROOT / page).read_text(encoding="utf-8") == tables.filled(ROOT, page), "run: python course/tools/tables.py"


def test_every_lab_has_a_row_with_what_it_builds_and_costs():
    rows = tables.costs(ROOT).splitlines()[2:]
    assert len(rows) == len(list_labs(ROOT))
    assert all("?" not in row.replace("?urlpath", "") for row in rows)


def test_every_lab_has_questions_to_ask_aloud_with_what_a_good_answer_says():
    text = (ROOT / "course" / "TEACHING.md").read_text(encoding="utf-8")
    lines = text.partition("| lab | ask | a good answer says |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(row) == 3 and "?" in row[1] and all(row) for row in rows)
    counts = {number: sum(row[1].count("?") for row in rows if row[0] == number) for number, _, _ in rows}
    labs = sorted(lab.split("_")[0].removeprefix("lab") for lab in list_labs(ROOT))
    assert sorted(counts) == labs and min(counts.values()) >= 2


def test_a_page_without_the_place_for_its_table_is_named(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("no table here")
    with pytest.raises(ValueError, match="README.md has no <!-- budget:begin -->"):
        tables.filled(tmp_path, "README.md")
