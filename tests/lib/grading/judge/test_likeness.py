"""Answers that are alike are told, those that are alike by chance are not."""

import re

import nbformat
import pytest
from leaplm.grading.judge.likeness import Likeness, alike
from leaplm.grading.texts import fingerprint, parsed
from nbformat.v4 import new_code_cell, new_notebook

NAMES = ("first", "second", "third", "fourth")
STUB = 'def {name}(rows, k=2):\n    """What it does."""\n    raise NotImplementedError'
SOLVED = '''
def {name}(rows, k=2):
    """What it does."""
    total, kept = 0, []
    for number, row in enumerate(rows):
        if row > k * {number}:
            kept.append(row ** 2 + number)
            total += row
    return total / max(len(kept), 1), kept[:k]
'''
OTHER = '''
def {name}(rows, k=2):
    large = [row for row in rows if row > {number} * k]
    squares = [row * row + i for i, row in enumerate(rows) if row in large]
    mean = sum(large) / (len(squares) or 1)
    return mean, squares[:k]
'''
COMMENTED = SOLVED.replace('"""What it does."""', "# mine\n").replace("    return", "\n    # the end\n    return")
RENAMED = SOLVED.replace("total", "summe").replace("kept", "good").replace("row", "x").replace("for number", "for i")
RENAMED = RENAMED.replace("+ number", "+ i")
SHORT = "def {name}(rows):\n    return sorted(rows)"
REORDERED = SOLVED.replace("total, kept = 0, []", "kept = []\n    total = 0")


def notebook(*forms):
    cells = []
    for number, (name, form) in enumerate(zip(NAMES, forms, strict=False)):
        cell = new_code_cell(form.format(name=name, number=number + 1), id=name)
        cell.metadata["nbgrader"] = {"grade": False, "solution": True, "locked": False, "task": False, "grade_id": name,
                                     "schema_version": 3}  # fmt: skip
        cells.append(cell)
    return new_notebook(cells=cells)


def lines(solution=None, **students):
    likeness = Likeness(notebook(*[STUB] * 4), solution)
    for student, forms in students.items():
        likeness.add(student, nbformat.writes(notebook(*forms)))
    return likeness.lines()


@pytest.mark.parametrize("form", [SOLVED, COMMENTED], ids=["as it is", "with comments"])
def test_answers_that_are_the_published_ones_are_told(form):
    [line] = lines(notebook(*[SOLVED] * 4), amina=[form] * 3 + [OTHER], zola=[OTHER] * 4)
    assert line.startswith("amina: 3 of 4") and "first, second, third" in line


@pytest.mark.parametrize("form", [SOLVED, COMMENTED, RENAMED], ids=["as it is", "with comments", "renamed"])
def test_answers_of_two_students_that_are_the_same_but_for_names_are_told(form):
    [line] = lines(amina=[OTHER] + [SOLVED] * 3, bello=[form] * 4, zola=[OTHER] * 4)
    assert line.startswith("amina and bello: 3 of 4") and "second, third, fourth" in line


@pytest.mark.parametrize("students", [
    {"amina": [SOLVED] * 4, "bello": [OTHER] * 4},
    {"amina": [SOLVED] * 4, "bello": [REORDERED] * 4},
    {"amina": [SOLVED] * 2 + [OTHER] * 2, "bello": [SOLVED] * 4},
    {"amina": [STUB] * 4, "bello": [STUB] * 4},
    {"amina": [SHORT] * 4, "bello": [SHORT] * 4},
    {"amina": ["def {name}(:"] * 4, "bello": ["def {name}(:"] * 4},
], ids=["other code", "another order", "two answers", "nothing done", "short answers", "no Python"])  # fmt: skip
def test_what_is_alike_by_chance_is_not_told(students):
    assert lines(**students) == []


def test_the_usual_answer_of_a_large_class_is_not_told():
    usual = {f"s{number}": [SOLVED] * 4 for number in range(12)}
    assert lines(**usual) == []
    others = {f"t{number}": [OTHER] * 4 for number in range(2)}
    assert [line.partition(":")[0] for line in lines(**usual, **others)] == ["t0 and t1"]


def test_names_count_for_the_same_and_not_for_alike():
    one, other = (form.format(name="f", number=1) for form in (SOLVED, RENAMED))
    assert fingerprint(parsed(one)) != fingerprint(parsed(other)) and alike(parsed(one)) == alike(parsed(other))
    swapped = one.replace("total / max(len(kept), 1), kept", "kept / max(len(total), 1), total")
    assert alike(parsed(one)) != alike(parsed(swapped))


HELPED = '''
def {name}(model, rows, rate):
    total = {number}
    def scaled(x, by=2):
        return x * by
    for row in rows:
        try:
            total += scaled(model(inputs=row, rate=rate), by=rate)
        except ValueError as error:
            print(error, total)
    import math as m
    return m.sqrt(total)
'''


@pytest.mark.parametrize(("old", "new"), [
    ("scaled", "helper"), ("by", "factor"), ("error", "problem"), (" m|m(?=[.])", " mm"), ("rate(?!=)", "lr")])  # fmt: skip
def test_every_name_inside_may_be_another(old, new):
    renamed = re.sub(rf"({old})(?![a-z])", new, HELPED)
    assert renamed != HELPED
    assert len(lines(amina=[HELPED] * 3, bello=[renamed] * 3)) == 1
    other_keyword = HELPED.replace("inputs=row", "labels=row")
    assert not lines(amina=[HELPED] * 3, bello=[other_keyword] * 3), "the names of others' keywords count"


@pytest.mark.parametrize("odd", [
    "x = y" + ".a" * 2000, "x = 0x" + "f" * 6000, "if a: pass\n" + "elif a: pass\n" * 2000, "x = '\\ud800'", "x = '\\d'",
    "x = -0.0, 1j, b'', ...", "(" * 500], ids=range(7))  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_odd_code_stops_nothing(odd):
    deep = SOLVED + odd.replace("{", "{{")
    likeness = lines(amina=[deep] + [SOLVED] * 3, bello=[deep] + [SOLVED] * 3)
    assert len(likeness) == 1


def test_it_does_not_matter_whose_name_comes_first():
    for one, other in (("amina", "bello"), ("bello", "amina")):
        assert len(lines(**dict(sorted({one: [SOLVED] * 2, other: [SOLVED] * 2 + [OTHER] * 2}.items())))) == 1
