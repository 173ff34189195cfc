"""Which cells of a rebuilt notebook have to run for the marks.

A lab trains models in cells of ours that no check looks at: what was trained is handed in as a file. Running them again
for each student is most of the cost of grading. So these run: every cell that is the student's (answers, and free cells
that were changed or added), and of our own unchanged cells those that bind a name which a running cell reads. Names are
found in Python's symbol table, in functions too. What this cannot see (a name made by
`exec`, a file that another cell reads) shows as an error that names something missing; then the notebook is run again
in full, so no honest answer loses a mark by it (`examiner`).
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterator

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from leaplm.grading.rebuild.exercises import role
from leaplm.grading.submission import ARTIFACTS
from leaplm.grading.texts import plain


class Plan:
    """The cells of a notebook, made by `rebuild` on `release`, that run: `cells` are their ids.

    `asked` are the names that the lab's checks ask for (see `names_asked`).
    """

    def __init__(self, notebook: NotebookNode, release: NotebookNode, asked: set[str]) -> None:
        ours = {cell.id: plain(cell.source) for cell in release.cells}
        code = [cell for cell in notebook.cells if cell.cell_type == "code" and role(cell) != "check"]
        names = {cell.id: Names(cell.source) for cell in code}
        self.cells = {cell.id for cell in code if role(cell) == "answer" or ours.get(cell.id) != plain(cell.source)}
        while more := _needed(names, self.cells, asked):
            self.cells |= more
        self._left_out = set().union(*(names[cell_id].bound for cell_id in names if cell_id not in self.cells))

    def may_explain(self, error: str) -> bool:
        """Whether an error may come from a cell that was left out: a missing file, or a name that such a cell binds."""
        missing = re.search(r"name '(\w+)' is not defined", error)
        return "FileNotFoundError" in error or bool(missing and missing[1] in self._left_out)


def saving_cells(solution: NotebookNode) -> set[str]:
    """The code cells of a solved notebook that its artifacts need.

    From the locked cells that speak of the folder of artifacts backwards: every cell that binds a name which a later chosen
    cell reads, and every locked cell that does something to it (`train(model)`). What is left out are other models, sweeps
    and pictures.
    """
    code = [cell for cell in solution.cells if cell.cell_type == "code" and role(cell) != "check"]
    names = {cell.id: Names(cell.source) for cell in code}
    modules = set().union(*(cell.imported for cell in names.values()))
    chosen, wanted = set(), set()
    for cell in reversed(code):
        locked, own = role(cell) == "locked", names[cell.id]
        changed = own.bound | (own.acted_on - modules if locked else set())
        if changed & wanted or (locked and f"{ARTIFACTS}/" in cell.source):
            chosen.add(cell.id)
            wanted = wanted - own.assigned | own.needed
    return chosen


def _needed(names: dict[str, Names], chosen: set[str], asked: set[str]) -> set[str]:
    """The cells not chosen yet that bind a name which the chosen ones read."""
    wanted = asked.union(*(names[cell_id].read for cell_id in chosen))
    return {cell_id for cell_id in names if cell_id not in chosen and names[cell_id].bound & wanted}


def names_asked(checks: str) -> set[str]:
    """The names that checks, given as source, take from a notebook: `student.call("name", ...)`, `student.get("name")`."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(checks))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("student.call", "student.get")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


class Names:
    """The names that a cell's code reads anywhere in it, and those that it binds or changes at its top level.

    Of those read, `needed` must be there before. Of those bound, `assigned` have a new value whatever they were, and
    `imported` come from modules; `acted_on` are given to a call of which nothing is kept.
    """

    def __init__(self, source: str) -> None:
        self.read: set[str] = set()
        self.needed: set[str] = set()
        self.bound: set[str] = set()
        self.assigned: set[str] = set()
        self.imported: set[str] = set()
        self.acted_on: set[str] = set()
        try:
            python = TransformerManager().transform_cell(source)
            tree, table = ast.parse(python), symtable.symtable(python, "<cell>", "exec")
            self.read = set(_globals_read(table)) | set(_words_of_magics(tree))
            for node in _top_level(tree):
                self.bound |= set(_bound_by(node))
                self.imported |= set(_bound_by(node)) if isinstance(node, (ast.Import, ast.ImportFrom)) else set()
                self.acted_on |= set(_acted_on_by(node))
            for statement in tree.body:
                reads = _globals_read(symtable.symtable(ast.unparse(statement), "<cell>", "exec"))
                self.needed |= {*reads, *_words_of_magics(statement)} - self.assigned
                self.assigned |= set(_assigned_by(statement))
        except Exception:  # any, of parsers that were not made for such text: what is not known shows as a missing name
            return


def _globals_read(table: symtable.SymbolTable) -> Iterator[str]:
    """The notebook's names that a scope and those inside it read; a function's own variables are none of them."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _globals_read(inner)


def _words_of_magics(tree: ast.AST) -> Iterator[str]:
    """The words in what follows a magic: `%time fit(rows)` reads `fit` and `rows`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("get_ipython().run_"):
            for text in node.args:
                if isinstance(text, ast.Constant):
                    yield from re.findall(r"[^\W\d]\w*", str(text.value))


def _top_level(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a cell that are not inside a function or class."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _top_level(node)


def _bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield node.id
    elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        while isinstance(node, (ast.Attribute, ast.Subscript)):  # `config.seed = 3` changes `config`
            node = node.value
        if isinstance(node, ast.Name):
            yield node.id


def _assigned_by(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a cell gives a new value in any case."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    for part in (part for target in targets for part in getattr(target, "elts", [target])):
        if isinstance(part, ast.Name):
            yield part.id
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        yield from _bound_by(statement)


def _acted_on_by(node: ast.AST) -> Iterator[str]:
    """The names in a call whose result is thrown away: it is made for what it does to them."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) != "print":
        yield from (part.id for part in ast.walk(node) if isinstance(part, ast.Name))
