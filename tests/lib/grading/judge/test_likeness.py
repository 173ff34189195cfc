"""Answers that are alike are told, those that are alike by chance are not."""

import nbformat
import pytest
from leaplm.grading.judge.likeness import Likeness, alike, parsed, same
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
    assert same(parsed(one)) != same(parsed(other)) and alike(parsed(one)) == alike(parsed(other))
    swapped = one.replace("total / max(len(kept), 1), kept", "kept / max(len(total), 1), total")
    assert alike(parsed(one)) != alike(parsed(swapped))
