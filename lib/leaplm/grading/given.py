"""What was given out: the cells of a lab before anyone answered them, in all its languages. Common to all stages."""

from __future__ import annotations

from collections import defaultdict

from nbformat import NotebookNode

from leaplm.grading.texts import answer_prints, plain


def editable(cell: NotebookNode) -> bool:
    """Whether the student may change this cell of ours: answers, and cells nbgrader does not mark."""
    meta = cell.metadata.get("nbgrader")
    return not meta or bool(meta["solution"])


def is_answer(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def prints_of(cell_type: str, source: str) -> frozenset[str]:
    """As `answer_prints`; a written answer is its text only."""
    return answer_prints(source) if cell_type == "code" else frozenset({plain(source)})


class Given:
    """Our cells as they were given out, in all languages: the `texts` of each by its id."""

    def __init__(self, releases: list[NotebookNode]) -> None:
        self.releases = releases
        self.texts: dict[str, set[str]] = defaultdict(set)
        fixed: set[str] = set()  # texts of our checks and locked cells
        self._stubs: dict[str, set[str]] = defaultdict(set)
        for cell in (cell for release in releases for cell in release.cells):
            self.texts[cell.id].add(plain(cell.source))
            if is_answer(cell):
                self._stubs[cell.id] |= prints_of(cell.cell_type, cell.source)
            elif not editable(cell):
                fixed.add(plain(cell.source))
        self._stubs_and_fixed = fixed.union(*self._stubs.values())

    def is_untouched(self, cell: NotebookNode, source: str) -> bool:
        """Whether a text is our cell's as it was given out; of an answer, comments and docstrings do not count."""
        prints = prints_of(cell.cell_type, source)
        return not prints.isdisjoint(self.texts[cell.id] | self._stubs[cell.id])

    def is_copy(self, cell_type: str, source: str) -> bool:
        """Whether a text is that of a check, a locked cell or a stub of ours."""
        return not prints_of(cell_type, source).isdisjoint(self._stubs_and_fixed)
