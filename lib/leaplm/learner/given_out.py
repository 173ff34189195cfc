"""A lab as it was given out, where a learner writes in the very file: in a clone the release is one's own notebook.

nbgrader's checksums tell which cells are as they were; the others come from the lab in another language, whose cells have
the same ids. Where there is none, an answer is made a stub again. What is asked is told in the learner's language or in
English: where the answer holds its docstring no more and only a third language has it, the first line stands alone.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterable, Iterator

from nbformat import NotebookNode

from leaplm.grading.given import editable, is_answer
from leaplm.grading.rebuild.exercises import is_changed

CODE_STUB, TEXT_STUB = "raise NotImplementedError", "*Write your answer here.*"
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# The first line of a function or class and the docstring below it, in what need be no Python.
HEAD_END = r":[ \t]*(?:#[^\n]*)?\n"
WITH_DOCSTRING = (r'^[ \t]*(?:async +def|def|class) +{name}\b(?:(?!' + HEAD_END + r')(?:[^"]|"[^"\n]*"))*' + HEAD_END
                  + r'(?P<docstring>[ \t]*r?"""(?:[^"]|"(?!""))*""")')


def as_given_out(
    own: NotebookNode, names: set[str], others: Iterable[tuple[str, NotebookNode]], text_stub: str = TEXT_STUB
) -> NotebookNode:  # fmt: skip
    """`own` itself if nobody wrote in it, else a notebook of its words with all that was changed put back.

    names: the grade_ids that the lab has in another language; others: (locale, the lab in it), "" for English, read only
    where they are needed; text_stub: what stands in place of a written answer, in the language of `own`.
    """
    if is_whole(own, names):
        return own
    found = next(((locale, other) for locale, other in others if is_whole(other, names)), None)
    return restored(own, found[1], text_stub, english=not found[0]) if found else with_stubs(own, text_stub)


def is_whole(notebook: NotebookNode, names: set[str]) -> bool:
    """Whether no cell that nbgrader marks was changed or is missing, and none was run."""
    marked = {cell.metadata.nbgrader.grade_id for cell in notebook.cells if cell.metadata.get("nbgrader")}
    return bool(marked) and names <= marked and not any(
        is_changed(cell) or cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)  # fmt: skip


def restored(own: NotebookNode, model: NotebookNode, text_stub: str, english: bool = True) -> NotebookNode:
    """The cells of the model, with the words of `own` where these are as they were given out.

    english: the language of the model, whose docstrings may stand where `own` has none any more.
    """
    made, theirs = copy.deepcopy(model), partners(own, model)
    for cell in made.cells:
        found = theirs.get(cell.id)
        if found is None or found.cell_type != cell.cell_type:
            continue
        if is_kept(cell, found):
            cell.source = found.source
        elif is_answer(cell):
            cell.source = with_docstrings(cell.source, found.source, english) if cell.cell_type == "code" else text_stub
    return made


def partners(own: NotebookNode, model: NotebookNode) -> dict[str, NotebookNode]:
    """{id of a cell of the model: that of `own`}: by grade_id or id; by place where Colab took the ids and no cell came."""
    by_name = {name: cell for cell in own.cells for name in names_of(cell)}
    found = {cell.id: by_name[name] for cell in model.cells for name in names_of(cell) if name in by_name}
    kinds = [[cell.cell_type for cell in notebook.cells] for notebook in (own, model)]
    by_place = zip(model.cells, own.cells, strict=True) if kinds[0] == kinds[1] else ()
    return {cell.id: mine for cell, mine in by_place} | found


def names_of(cell: NotebookNode) -> Iterator[str]:
    """By what one of our cells can be known; the surest last. Colab keeps an id in the metadata."""
    yield from filter(None, (cell.get("id"), cell.metadata.get("id"), cell.metadata.get("nbgrader", {}).get("grade_id")))


def is_kept(cell: NotebookNode, found: NotebookNode) -> bool:
    """Whether a cell of the learner's file is still ours, or one that anybody may change."""
    marked = found.metadata.get("nbgrader", {}).get("checksum")
    return not is_changed(found) if marked else editable(cell) and not is_answer(cell)


def with_docstrings(stub: str, own: str, others: bool = True) -> str:
    """A stub with the docstrings of an answer: they are in the learner's language. Without `others`, with these alone.

    >>> print(with_docstrings("def f(x):\\n    'Deux.'\\n    pass", "def f(x):\\n    'Two.'\\n    return 2"))
    def f(x):
        'Two.'
        pass
    """
    lines, theirs = stub.split("\n"), dict(docstrings(own))
    for name, place in sorted(docstrings(stub), key=lambda item: -item[1].lineno):
        written = lines_of(own, theirs[name]) if name in theirs else docstring_by_sight(own, name)
        if written or not others:
            lines[place.lineno - 1 : place.end_lineno] = written
    return "\n".join(lines)


def docstring_by_sight(source: str, name: str) -> list[str]:
    """The lines of a docstring in what may be no Python; none where there is no such docstring.

    >>> docstring_by_sight('def f(x):\\n    \"\"\"Two.\"\"\"\\n    return {', "f")
    ['    \"\"\"Two.\"\"\"']
    """
    found = re.search(WITH_DOCSTRING.replace("{name}", re.escape(name)), source, re.M)
    return found["docstring"].split("\n") if found else []


def docstrings(source: str) -> Iterator[tuple[str, ast.Expr]]:
    """(name, docstring) of each function and class that has one; none of what is no Python."""
    for node in (node for node in walked(source) if isinstance(node, DEFINITIONS) and ast.get_docstring(node)):
        if node.body[0].lineno > node.lineno:
            yield node.name, node.body[0]


def walked(source: str) -> Iterator[ast.AST]:
    try:
        yield from ast.walk(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


def lines_of(source: str, node: ast.AST) -> list[str]:
    return source.split("\n")[node.lineno - 1 : node.end_lineno]


def with_stubs(own: NotebookNode, text_stub: str) -> NotebookNode:
    """A notebook whose answers that were changed are none any more."""
    made = copy.deepcopy(own)
    for cell in made.cells:
        if is_answer(cell) and is_changed(cell):
            cell.source = stub_of(cell.source) if cell.cell_type == "code" else text_stub
    return made


def stub_of(source: str) -> str:
    """An answer without what was written: the first lines and docstrings of its functions.

    >>> print(stub_of("import os\\ndef f(x):\\n    y = 1\\n    return x"))
    def f(x):
        raise NotImplementedError
    """
    found = []
    for node in (node for node in walked(source) if isinstance(node, DEFINITIONS) and node.col_offset == 0):
        first = node.body[0]
        kept = first.end_lineno if ast.get_docstring(node) else first.lineno - 1
        if kept >= node.lineno:  # else all of it stands on one line
            found += [*source.split("\n")[node.lineno - 1 : kept], f"{' ' * (first.col_offset or 4)}{CODE_STUB}"]
    return "\n".join(found or [CODE_STUB])
