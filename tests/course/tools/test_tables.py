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


def test_a_page_without_the_place_for_its_table_is_named(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("no table here")
    with pytest.raises(ValueError, match="README.md has no <!-- budget:begin -->"):
        tables.filled(tmp_path, "README.md")
