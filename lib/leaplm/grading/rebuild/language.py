"""In which language somebody works in a notebook: told by the words of our own that are still in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nbformat import NotebookNode

from leaplm.grading.texts import plain


def language_of(notebook: NotebookNode, releases: Mapping[str, NotebookNode]) -> str | None:
    """The language ("" is English) whose release has most of a notebook's texts, else most of the lines of its code.

    Code that has no words is the same in all languages. None where nothing tells one.
    """
    for kind, pieces in (("markdown", texts_of), ("code", lines_of)):
        theirs = set(pieces(notebook, kind))
        ours = {locale: set(pieces(release, kind)) for locale, release in releases.items()}
        shared = set.intersection(*ours.values()) if len(ours) > 1 else set()
        found = {locale: len((words - shared) & theirs) for locale, words in ours.items()}
        if any(found.values()):
            return max(found, key=found.get)
    return None


def texts_of(notebook: NotebookNode, kind: str) -> Iterable[str]:
    """The texts of the cells of a kind."""
    return (plain(cell.source) for cell in notebook.cells if cell.cell_type == kind and cell.source.strip())


def lines_of(notebook: NotebookNode, kind: str) -> Iterable[str]:
    """The lines of the cells of a kind, without the blanks before them."""
    return (line.strip() for text in texts_of(notebook, kind) for line in text.split("\n"))
