"""Mutants: small changes to the reference solutions that a check must notice.

    python course/tools/mutants.py [LAB ...]        # or make mutants LAB=lab2_finetuning

Each answer cell of a solution is changed at one place at a time (a constant, an axis, a sign, a comparison, a call left
out ...) and judged by the exercise's own checks on several seeds. A mutant that loses no points has survived: either a
better check is needed, or it is equivalent to the answer. Then say why in course/<lab>/mutants.json, where the scores
are kept. A survivor without a reason fails the command, and a test.
"""

import argparse
import ast
import contextlib
import copy
import dataclasses
import functools
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from leaplm.grading import NOTHING_CALLED
from leaplm.grading.course import lab_file, list_labs
from leaplm.grading.judge.banks import Answer, Workbench
from leaplm.grading.rebuild.exercises import exercises

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (0, 1, 2, 3)
SECONDS, MEMORY = 5, 16 << 30  # for a call of a mutant; of address space for a lab
LAB_SECONDS = 1800

SWAPPED = {  # names that take each other's place
    "min": "max", "argmin": "argmax", "sum": "mean", "any": "all", "zeros": "ones", "floor": "ceil", "eval": "train",
    "zeros_like": "ones_like", "no_grad": "enable_grad", "append": "extend", "exp": "expm1", "log": "log2", "keys": "values",
    "amin": "amax", "float32": "float64", "int64": "int32", "abs": "neg", "upper": "lower", "sorted": "list", "set": "list",
}  # fmt: skip
SWAPPED |= {second: first for first, second in SWAPPED.items() if second != "list"} | {"mean": "sum"}
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Pow: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.And: ast.Or, ast.Or: ast.And, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
OPPOSITE = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change of an answer cell: what it was and became, and the cell's source with it."""

    change: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """All mutants of a cell, each once. Docstrings, signatures and imports stay.

    >>> [mutant.change for mutant in mutants("def f(x):\\n    return x + 2")]
    ['x + 2 -> x - 2', 'x + 2 -> x', 'x + 2 -> 2', '2 -> 3', '2 -> 1']
    """
    tree = ast.parse(source)
    found, seen, nodes = [], {ast.unparse(tree)}, list(ast.walk(tree))
    parents = [(child, parent) for parent in nodes for child in ast.iter_child_nodes(parent)]
    for node in nodes:
        above = [parent for child, parent in parents if child is node]
        for new in changes(node):
            words = f"{shown(node)} -> {shown(new and ast.fix_missing_locations(new))}"
            with replaced(above, node, new):
                text = ast.unparse(tree)
            if text not in seen:
                seen.add(text)
                found.append(Mutant(words, text))
    return numbered(found)


def numbered(found: list[Mutant]) -> list[Mutant]:
    """The same change at several places gets numbers, so that each has a name."""
    count, named = {}, []
    for mutant in found:
        count[mutant.change] = number = count.get(mutant.change, 0) + 1
        named.append(dataclasses.replace(mutant, change=mutant.change + (f" ({number})" if number > 1 else "")))
    return named


def shown(node: ast.AST | None) -> str:
    if node is None:
        return "nothing"
    text = " ".join(ast.unparse(node).split()) if not isinstance(node, ast.arguments) else "arguments"
    return text if len(text) < 90 else text[:60] + " ... " + text[-25:]


@contextlib.contextmanager
def replaced(parents: list[ast.AST], old: ast.AST, new: ast.AST | None) -> Iterator[None]:
    """Within the block another node, or none, stands in the place of a node below its parents."""
    kept = [dict(vars(parent)) for parent in parents]
    for parent in parents:
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is old for item in value):
                items = [new if item is old else item for item in value]
                setattr(parent, name, [item for item in items if item is not None] or [ast.Pass()])
    yield
    for parent, fields in zip(parents, kept, strict=True):
        vars(parent).update(fields)


def changes(node: ast.AST) -> Iterator[ast.AST | None]:
    """What may stand in place of a node; None for nothing."""
    if isinstance(node, ast.Constant):
        yield from changed_constants(node)
    elif isinstance(node, (ast.BinOp, ast.AugAssign)):
        yield from with_operator(node)
        if isinstance(node, ast.BinOp):
            yield from (node.left, node.right)
        else:
            yield ast.Assign([node.target], node.value)
            yield None
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(OPERATORS[type(node.op)](), node.values)
        yield from node.values
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for table in (OPERATORS, OPPOSITE):
            if type(node.ops[0]) in table:
                yield ast.Compare(node.left, [table[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield from changed_conditions(node)
    else:
        yield from changed_others(node)


def changed_constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield from (ast.Constant(value + 1), ast.Constant(value - 1))
    elif isinstance(value, float):
        yield from (ast.Constant(2 * value + 1), ast.Constant(value / 2))
    elif isinstance(value, str) and value and "\n" not in value and len(value) < 60:
        yield ast.Constant(value + "_")


def with_operator(node: ast.BinOp | ast.AugAssign) -> Iterator[ast.AST]:
    if type(node.op) in OPERATORS:
        changed = copy.copy(node)
        changed.op = OPERATORS[type(node.op)]()
        yield changed


def changed_conditions(node: ast.If | ast.IfExp | ast.While) -> Iterator[ast.AST]:
    for test in (ast.UnaryOp(ast.Not(), node.test), ast.Constant(True), ast.Constant(False)):
        if not isinstance(node, ast.While) or not isinstance(test, ast.Constant):
            changed = copy.copy(node)
            changed.test = test
            yield changed


def changed_others(node: ast.AST) -> Iterator[ast.AST | None]:
    if isinstance(node, ast.Call):
        yield from changed_calls(node)
    elif isinstance(node, ast.Attribute) and node.attr in SWAPPED:
        yield ast.Attribute(node.value, SWAPPED[node.attr], node.ctx)
    elif isinstance(node, ast.Name) and node.id in SWAPPED:
        yield ast.Name(SWAPPED[node.id], node.ctx)
    elif isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
        yield None
    elif isinstance(node, ast.With):
        yield ast.If(ast.Constant(True), node.body, [])
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield ast.comprehension(node.target, node.iter, [], node.is_async)
    elif isinstance(node, ast.Slice):
        yield from (ast.Slice(lower, upper, node.step) for lower, upper in ((None, node.upper), (node.lower, None))
                    if (lower, upper) != (node.lower, node.upper))  # fmt: skip
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
        yield ast.Return(ast.Tuple(node.value.elts[::-1], ast.Load()))


def changed_calls(node: ast.Call) -> Iterator[ast.AST]:
    """The call left out, its first two arguments exchanged, each keyword left out."""
    if isinstance(node.func, ast.Attribute):
        yield node.func.value
    if len(node.args) == 1 and not isinstance(node.args[0], ast.Starred):
        yield node.args[0]
    if len(node.args) > 1:
        yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
    for left_out in node.keywords:
        yield ast.Call(node.func, node.args, [keyword for keyword in node.keywords if keyword is not left_out])


# -- judging ----------------------------------------------------------------------------------------------------------


def answer_cells(bench: Workbench) -> dict[str, tuple[str, list[str]]]:
    """{answer cell: its source in the solution, the checks of its exercise}; without checks of handed-in files."""
    sources = {cell.id: cell.source for cell in bench.solution.cells}
    found = {cell: (sources[cell], [name for name in exercise.checks if bench.checks[name].contracts != NOTHING_CALLED])
             for exercise in exercises(bench.release) for cell in exercise.answers}  # fmt: skip
    return {cell: (source, checks) for cell, (source, checks) in found.items() if checks}


def survives(bench: Workbench, checks: list[str], mutant: Mutant) -> bool:
    """Whether every check of the exercise gives the mutant full points on every seed."""
    return all(earns_all(bench, name, mutant, seed) for seed in SEEDS for name in checks)


def earns_all(bench: Workbench, name: str, mutant: Mutant, seed: int) -> bool:
    try:
        verdict = bench.judge_answer(Answer(name, mutant.change, False, mutant.source), seed)
    except Exception:  # the cell itself fails
        return False
    return verdict.points == bench.checks[name].points


parsed = functools.cache(ast.parse)  # the checks of a lab, for each of its cells


def fingerprint(source: str, checks: Path, names: list[str]) -> str:
    """Of all that decides the mutants of a cell and their marks, without comments: the cell, and the checks `names`."""
    tree = parsed(checks.read_text(encoding="utf-8"))
    code = [ast.dump(ast.parse(source)), *(ast.dump(statement) for statement in used_by(names, tree))]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:16]


def used_by(names: list[str], tree: ast.Module) -> list[ast.stmt]:
    """The statements at the top of a module that bind some names, and those that bind what these read.

    >>> [ast.unparse(one) for one in used_by(["f"], ast.parse("from m import a, z\\nb = a\\nf = lambda: b\\nc = 2"))]
    ['from m import a', 'b = a', 'f = lambda: b']
    """
    bound = [(statement, set(bound_by(statement))) for whole in tree.body for statement in one_import_each(whole)]
    wanted, used = set(names), set()
    while more := {place for place, (_, here) in enumerate(bound) if here & wanted} - used:
        used |= more
        wanted |= {node.id for place in more for node in ast.walk(bound[place][0]) if isinstance(node, ast.Name)}
    return [bound[place][0] for place in sorted(used)]


def one_import_each(statement: ast.stmt) -> list[ast.stmt]:
    """`from a import b, c` as two statements: who reads `b` does not depend on `c`."""
    if isinstance(statement, ast.ImportFrom):
        return [ast.ImportFrom(statement.module, [alias], statement.level) for alias in statement.names]
    return [ast.Import([alias]) for alias in statement.names] if isinstance(statement, ast.Import) else [statement]


def bound_by(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top of a module gives a value or changes."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    else:  # `TABLE["a"] = 1` and `TABLE |= more` change TABLE
        yield from (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))


def open_bench(lab: str) -> Workbench:
    """The lab's workbench, where a call of a mutant may take a few seconds only."""
    os.environ.setdefault("LEAPLM_SCALE", "tiny")
    bench = Workbench(lab, ROOT)
    bench.checks = {name: dataclasses.replace(one, seconds=min(one.seconds, SECONDS)) for name, one in bench.checks.items()}
    return bench


def record_path(lab: str) -> Path:
    return lab_file(ROOT, lab, "mutants.json")


def load_scores(lab: str) -> dict:
    """The record of a lab by answer cell; empty if there is none."""
    path = record_path(lab)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def measure(lab: str) -> dict:
    """Judges all mutants of a lab; what was said of equivalent ones before stays."""
    before, scores = load_scores(lab), {}
    with open_bench(lab) as bench:
        for cell, (source, checks) in answer_cells(bench).items():
            require(survives(bench, checks, Mutant("the solution", source)), f"{cell}: the solution itself loses points")
            made = mutants(source)
            left = [mutant.change for mutant in made if survives(bench, checks, mutant)]
            known = before.get(cell, {}).get("equivalent", {})
            scores[cell] = {"checks": checks, "fingerprint": fingerprint(source, lab_file(ROOT, lab, "checks.py"), checks),
                            "made": len(made), "killed": len(made) - len(left),
                            "equivalent": {change: known.get(change, "") for change in left}}  # fmt: skip
    return scores


def require(holds: bool, said: str) -> None:
    if not holds:
        raise SystemExit(said)


def unjudged(scores: dict) -> list[str]:
    """The survivors of which nobody has said why, in words."""
    return [f"{cell}: {change}" for cell, score in scores.items() for change, why in score["equivalent"].items() if not why]


def report(lab: str, scores: dict) -> None:
    for cell, score in scores.items():
        equivalent = sum(bool(why) for why in score["equivalent"].values())
        print(f"{lab} {cell:<24} made {score['made']:3d}  killed {score['killed']:3d}  equivalent {equivalent:3d}")
    for line in unjudged(scores):
        print(f"  survived, and nobody said why: {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labs", nargs="*", help="default: all")
    parser.add_argument("--here", action="store_true", help="judge in this process, the first lab only")
    options = parser.parse_args()
    if options.here:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        lab = options.labs[0]
        scores = measure(lab)
        record_path(lab).write_text(json.dumps(scores, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        report(lab, scores)
        sys.exit(bool(unjudged(scores)))
    failed = [lab for lab in options.labs or list_labs(ROOT)
              if subprocess.run([sys.executable, __file__, "--here", lab], timeout=LAB_SECONDS).returncode]  # fmt: skip
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
