"""Tables in the learner's language, as figures are: names of columns and rows are said where a table is shown.

The table itself stays as it is, so that code finds its columns by the same names in every language. A name that can be one
of the code, such as `gain`, is shown as it is: code and text call it so.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from leaplm.locales import catalogs_of, say_drawn


def translated(table: pd.DataFrame) -> pd.DataFrame:
    """A copy of a table to be shown, with the names that figures have, too; the table itself where there is nothing to say.

    >>> list(translated(pd.DataFrame({"macro_f1": [0.5]})))
    ['macro_f1']
    """
    if not catalogs_of():
        return table
    return table.rename(columns=_told, index=_told).rename_axis(index=_told, columns=_told)


def _told(name: Any) -> Any:
    return name if not isinstance(name, str) or is_name(name) else say_drawn(name)


def is_name(words: str) -> bool:
    """Whether a label can be a name in code: "gain", "macro_f1"; languages and other names of things begin with a capital.

    >>> is_name("gain"), is_name("dollars a month"), is_name("Hausa")
    (True, False, False)
    """
    return words.isidentifier() and not words[0].isupper()


def begin(shell: Any) -> None:
    """From now on this shell shows tables in the learner's language."""
    formatters = shell.display_formatter.formatters
    formatters["text/html"].for_type(pd.DataFrame, lambda table: translated(table)._repr_html_())
    formatters["text/plain"].for_type(pd.DataFrame, lambda table, printer, cycle: printer.text(str(translated(table))))


def end(shell: Any) -> None:
    for kind in ("text/html", "text/plain"):
        shell.display_formatter.formatters[kind].pop(pd.DataFrame, None)
