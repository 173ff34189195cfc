"""Rebuilds a submitted notebook from our own release, taking only sources from the student.

Editors strip metadata, students copy, delete and move cells, and a tag can make a check be skipped. So nothing of a
submission is used but the text of its cells:

* answer cells and free cells (those the student may change) get the student's text;
* check cells and locked cells are ours, whatever the submission has in their place;
* cells that the student added are kept where they stand, as plain cells;
* all metadata, tags, ids, types and the order of our cells are ours.

Each of our cells is looked for in the submission by its grade_id, then its cell id, its exact text, the function or
class it defines, the most similar text, and at last its position between neighbours already found. An answer may also
stand in a cell that was added, or in that of another answer. What was mended is said in words, as `Repair`s; wherever
there are two versions both are kept in the notebook, and the repair is doubtful: a person should look.
"""

from __future__ import annotations

import copy
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import nbformat
from nbformat import NotebookNode

from leaplm.grading.given import Given, editable, is_answer
from leaplm.grading.texts import one_line, plain, unix_lines

SIMILAR = 0.55  # of 1: below this, two texts are not taken for versions of the same cell (different cells: at most 0.5)
MOST_COMPARED = 300  # cells that belong nowhere; the time grows with their number
DEFINITION = re.compile(r"^(?:(?:async +)?(?:def|class) +(\w+)|(\w+) *(?::[^=\n]{1,80})?=(?!=))", re.MULTILINE)


@dataclass(frozen=True)
class Repair:
    """One thing that was mended, in words; `doubtful` when a person should look at it."""

    text: str
    doubtful: bool = False


@dataclass(eq=False)
class Found:
    """What is read of a submitted cell; everything else in it is ignored. Two cells are the same only as objects."""

    position: int
    cell_type: str
    source: str
    grade_id: str | None
    cell_id: str | None
    tags: tuple[str, ...]
    attachments: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def names(self) -> list[str]:
        return defined_names(self.source) if self.cell_type == "code" else []

    @cached_property
    def plain(self) -> str:
        return plain(self.source)

    @cached_property
    def profile(self) -> Counter:
        return word_profile(self.source)


def rebuild(
    release: NotebookNode, submitted: NotebookNode, others: Collection[NotebookNode] = ()
) -> tuple[NotebookNode, list[Repair]]:
    """The submission on our own notebook, and what had to be mended.

    others: the release in other languages. A cell of one of them is as it was given out, and no answer.
    """
    cells = read_cells(submitted)
    matching = Matching(release.cells, cells, Given([release, *others]))
    made = copy.deepcopy(release)
    for cell in made.cells:
        if (match := matching.match.get(cell.id)) and editable(cell):
            if match.plain not in matching.given.texts[cell.id]:  # what only an editor changed stays as we released it
                cell.source = match.source
            if cell.cell_type == "markdown" and match.attachments:
                cell.attachments = match.attachments
        if cell.id in matching.elsewhere:  # the stub would take the place of the answer
            cell.source = f"# The answer is in the cell `{matching.elsewhere[cell.id]}`."
    repairs = matching.repairs + report(release.cells, matching)
    made.cells = insert_extras(made.cells, matching)
    return made, repairs


def read_cells(notebook: NotebookNode) -> list[Found]:
    """The cells of a submission that have a text, however damaged the rest of them is."""
    cells = notebook.get("cells")
    found = []
    for position, cell in enumerate(cells if isinstance(cells, list) else []):
        if not isinstance(cell, dict) or not isinstance(cell.get("source"), str):
            continue
        metadata = _dict(cell.get("metadata"))
        tags = metadata.get("tags")
        found.append(
            Found(
                position,
                "code" if cell.get("cell_type") == "code" else "markdown",
                unix_lines(cell["source"]),
                _text(_dict(metadata.get("nbgrader")).get("grade_id")),
                _text(cell.get("id")) or _text(metadata.get("id")),  # Colab keeps it in the metadata
                tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
                _dict(cell.get("attachments")),
            )
        )
    return found


class Matching:
    """Which submitted cell belongs to which of ours: `match` by our cell's id; `extras` belong to none.

    `elsewhere` holds answers without a cell of their own, by our cell's id: the name of the cell that they stand in.
    """

    def __init__(self, ours: list[NotebookNode], theirs: list[Found], given: Given) -> None:
        self.ours, self.given = ours, given
        self.match: dict[str, Found] = {}
        self.elsewhere: dict[str, str] = {}
        self.repairs: list[Repair] = []
        self._open = list(theirs)  # not yet matched
        self._by_key(_grade_id, lambda found: found.grade_id)
        self._by_key(lambda cell: cell.id, lambda found: found.cell_id)
        for release in given.releases:
            texts = {cell.id: plain(cell.source) for cell in release.cells}
            self._by_key(lambda cell, texts=texts: (cell.cell_type, texts.get(cell.id)), lambda f: (f.cell_type, f.plain))
        self._by_definition()
        self._by_similarity()
        self._by_position()
        self._from_added_cells()
        self._from_other_answers()
        self.extras = [found for found in self._open if not self._is_copy(found)]
        self._doubt_second_versions()

    def _by_key(self, ours: Callable[[NotebookNode], Hashable], theirs: Callable[[Found], Hashable]) -> None:
        """Matches cells whose keys are equal; of several with one key the last that was worked on counts."""
        candidates: dict[Hashable, list[Found]] = defaultdict(list)
        for found in self._open:
            if theirs(found):
                candidates[theirs(found)].append(found)
        for cell in self.ours:
            if cell.id not in self.match and (group := candidates.pop(ours(cell), None)):
                self._take(cell, self._choose(cell, group))

    def _choose(self, cell: NotebookNode, group: list[Found]) -> Found:
        if len(group) == 1:
            return group[0]
        if not editable(cell):
            self._say(f"{_name(cell)} was there {len(group)} times; ours was used once.")
            return group[0]
        changed = [found for found in group if not self.given.is_untouched(cell, found.source)] or group[-1:]
        several = len({found.plain for found in changed}) > 1
        if is_answer(cell):
            which = "several versions; the last was marked, the earlier are kept before it" if several else "a copy"
            self._say(f"{_name(cell)} was there {len(group)} times: {which}.", doubtful=several)
        chosen = changed[-1]
        copies = [f for f in group if f not in changed or (f is not chosen and f.plain == chosen.plain)]
        self._open = [found for found in self._open if found not in copies]
        return chosen

    def _by_definition(self) -> None:
        """Matches answers with the cells that define the same function or class."""
        for cell in self.ours:
            name = answer_name(cell)
            if name and cell.id not in self.match and (group := [found for found in self._open if name in found.names]):
                self._take(cell, self._choose(cell, group))

    def _by_similarity(self) -> None:
        """Matches what is left by text, the most similar pair first; a cell that names another of ours stays out."""
        names = {_grade_id(cell) for cell in self.ours}
        nameless = [found for found in self._open if found.grade_id is None or found.grade_id not in names]
        if len(nameless) > MOST_COMPARED:
            text = f"{len(nameless)} cells belong nowhere; only the first {MOST_COMPARED} were compared with ours."
            self._say(text, doubtful=True)
        pairs = []
        for order, cell in enumerate(self.ours):
            if cell.id in self.match:
                continue
            profile = word_profile(cell.source)
            for found in nameless[:MOST_COMPARED]:
                likeness = profile_likeness(profile, found.profile) if found.cell_type == cell.cell_type else 0
                if likeness >= SIMILAR:
                    pairs.append((-likeness, order, found.position, cell, found))
        for *_, cell, found in sorted(pairs, key=lambda pair: pair[:3]):
            if cell.id not in self.match and found in self._open:
                self._take(cell, found)

    def _by_position(self) -> None:
        """Matches a run of our answers, both neighbours of which were found, with as many cells between these."""
        for run, before, after in self._gaps():
            between = [found for found in self._open if before < found.position < after and found.source.strip()]
            if len(between) == len(run) and all(f.cell_type == c.cell_type for f, c in zip(between, run, strict=True)):
                for cell, found in zip(run, between, strict=True):
                    # a written answer is read by a person anyway
                    doubtful = cell.cell_type == "code"
                    self._say(f"{_name(cell)} was recognised only by its place in the notebook.", doubtful)
                    self._take(cell, found)

    def _gaps(self) -> list[tuple[list[NotebookNode], float, float]]:
        """Runs of our unmatched answers, each with the positions of the submitted cells around it."""
        gaps, run, before = [], [], -1.0
        for cell in [*self.ours, None]:
            match = self.match.get(cell.id) if cell is not None else None
            if cell is not None and match is None:
                run += [cell] if is_answer(cell) else []
                continue
            after = match.position if match else float("inf")
            if run:
                gaps.append((run, before, after))
            run, before = [], after
        return gaps

    def _from_added_cells(self) -> None:
        """An answer cell left as it was, and the function written in a cell that was added: that one is the answer."""
        for cell in self.ours:
            name, match = answer_name(cell), self.match.get(cell.id)
            if not name or match is None or not self.given.is_untouched(cell, match.source):
                continue
            again = [found for found in self._open if name in found.names]
            group = [found for found in again if not self.given.is_untouched(cell, found.source)]
            if group:
                self._say(f"{_name(cell)} was taken from a cell that was added.", doubtful=len(group) > 1)
                self._take(cell, group[-1])

    def _from_other_answers(self) -> None:
        """An answer cell that is gone, its function in the cell of another answer: two cells were merged."""
        for cell in self.ours:
            name = answer_name(cell)
            holders = [other for other in self.ours if other.id in self.match and name in self.match[other.id].names]
            if name and cell.id not in self.match and holders and editable(holders[-1]):
                self.elsewhere[cell.id] = _grade_id(holders[-1]) or holders[-1].id

    def _doubt_second_versions(self) -> None:
        """Says which answers an added cell defines once more: the one that runs last counts."""
        said = {repair.text for repair in self.repairs if "several versions" in repair.text}
        for cell in self.ours:
            name = answer_name(cell)
            again = [found for found in self.extras if name in found.names]
            if name and again and not any(_name(cell) in text for text in said):
                self._say(f"{_name(cell)} is defined again in {len(again)} added cells; all are kept.", doubtful=True)

    def _is_copy(self, found: Found) -> bool:
        """Whether an unmatched cell is a copy of a check, a locked cell or a stub: to run it again would only harm."""
        if not found.source.strip():
            return True
        names = {_grade_id(cell) for cell in self.ours if not editable(cell)}
        if found.grade_id in names:
            return True
        return self.given.is_copy(found.cell_type, found.source)

    def _take(self, cell: NotebookNode, found: Found) -> None:
        self.match[cell.id] = found
        self._open.remove(found)

    def _say(self, text: str, doubtful: bool = False) -> None:
        self.repairs.append(Repair(text, doubtful))


def report(ours: list[NotebookNode], matching: Matching) -> list[Repair]:
    """What the rebuild changed or missed, in words."""
    match = matching.match
    marked = [cell for cell in ours if "nbgrader" in cell.metadata]
    stripped = [cell for cell in marked if cell.id in match and match[cell.id].grade_id != _grade_id(cell)]
    repairs = []
    if stripped:
        repairs.append(Repair(f"The marks nbgrader needs were gone from {len(stripped)} cells and were put back."))
    for cell in marked:
        found = match.get(cell.id)
        if cell.id in matching.elsewhere:
            text = f"{_name(cell)} had no cell of its own; it stands in the cell `{matching.elsewhere[cell.id]}`."
            repairs.append(Repair(text))
            continue
        if found is None:
            said = "was missing: it counts as not answered." if is_answer(cell) else "was missing and was put back."
            repairs.append(Repair(f"{_name(cell)} {said}", doubtful=is_answer(cell)))
            continue
        if not editable(cell) and found.plain != plain(cell.source):
            repairs.append(Repair(f"{_name(cell)} was changed; ours was used."))
        if found.cell_type != cell.cell_type:
            repairs.append(Repair(f"{_name(cell)} had become {found.cell_type}; it is {cell.cell_type} again."))
    return repairs + report_tags(ours, match)


def report_tags(ours: list[NotebookNode], match: dict[str, Found]) -> list[Repair]:
    """The tags taken off; 'skip-execution' would have kept a check from running."""
    count = Counter(
        tag for cell in ours if cell.id in match for tag in set(match[cell.id].tags) - set(cell.metadata.get("tags", []))
    )
    return [Repair(f"The tag {one_line(tag[:40])} was taken off {count[tag]} cells.") for tag in sorted(count)]


def insert_extras(made: list[NotebookNode], matching: Matching) -> list[NotebookNode]:
    """Our cells, each followed by the cells the student added after it."""
    place = {found.position: cell_id for cell_id, found in matching.match.items()}
    added: dict[str | None, list[NotebookNode]] = defaultdict(list)
    for number, found in enumerate(matching.extras, 1):
        before = [position for position in place if position < found.position]
        new = nbformat.v4.new_code_cell if found.cell_type == "code" else nbformat.v4.new_markdown_cell
        added[place[max(before)] if before else None].append(new(found.source, id=f"added-{number}"))
    cells = added[None]
    for cell in made:
        cells += [cell, *added[cell.id]]
    return cells


def answer_name(cell: NotebookNode) -> str | None:
    """The function or class that one of our answer cells is about: the first that its stub defines."""
    names = defined_names(cell.source) if is_answer(cell) and cell.cell_type == "code" else []
    return names[0] if names else None


def defined_names(source: str) -> list[str]:
    """The functions, classes and variables that a cell defines at its left edge.

    >>> defined_names("import os\\ndef f(x):\\n    y = 1\\ng = lambda: 2")
    ['f', 'g']
    """
    return [first or second for first, second in DEFINITION.findall(source)]


def word_profile(source: str) -> Counter:
    """How often each word, sign and pair of neighbours stands in a text."""
    words = re.findall(r"\w+|[^\w\s]", source)
    return Counter(words) + Counter(zip(words, words[1:], strict=False))


def profile_likeness(ours: Counter, theirs: Counter) -> float:
    """How alike two texts are, 0 to 1: the share that their profiles have in common."""
    small, large = sorted((ours.total(), theirs.total()))
    if not small or 2 * small < SIMILAR * (small + large):  # so unlike in length that the rest need not be compared
        return 0.0
    return 2 * (ours & theirs).total() / (small + large)


def _grade_id(cell: NotebookNode) -> str | None:
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def _name(cell: NotebookNode) -> str:
    kind = "The answer" if is_answer(cell) else "The check" if cell.metadata["nbgrader"]["grade"] else "The cell"
    return f"{kind} `{_grade_id(cell).removeprefix('check_')}`"


def _dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
