"""Tables are shown in the learner's language and stay as they are."""

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from leaplm.learner import tables
from leaplm.locales import speaking
from leaplm.translation import list_locales
from repo import ROOT


@pytest.fixture
def table():
    index = pd.MultiIndex.from_product([["English", "mine"], [0, 1]], names=["language", "seed"])
    return pd.DataFrame({"dollars a month": [1.0, 2, 3, 4], "macro_f1": 0.5, ("in", "two"): 1}, index=index)


@pytest.mark.parametrize("locale", list_locales(ROOT))
def test_names_are_said_and_the_table_stays(table, locale, monkeypatch):
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    before = table.copy()
    with speaking(locale):
        shown = tables.translated(table)
    assert shown.columns[0] != "dollars a month" and list(shown.columns[1:]) == ["macro_f1", ("in", "two")]
    assert (shown.to_numpy() == before.to_numpy()).all() and table.equals(before) and list(table) == list(before)


def test_in_english_it_is_the_same_object(table):
    with speaking(""):
        assert tables.translated(table) is table


def test_a_shell_shows_them_and_forgets_it(table, monkeypatch):
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    shell = InteractiveShell()
    with speaking("fr"):
        tables.begin(shell)
        data, _ = shell.display_formatter.format(table)
        assert "dollars a month" not in data["text/html"] + data["text/plain"] and "macro_f1" in data["text/html"]
        tables.end(shell)
        data, _ = shell.display_formatter.format(table)
        assert "dollars a month" in data["text/html"]
