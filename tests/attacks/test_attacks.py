"""Every attack and fault of the table (tests/attacks) through the real grader, all in one class with honest neighbours.

Of each row: no mark above that of honest work, no right answer's points lost, the verdicts of its neighbours byte for
byte as without it, one verdict, and nothing left behind, stolen or shown. What plain nbgrader makes of the same
submissions is in tests/attacks/baseline.json. LEAPLM_ATTACK_RESULTS names a file to write the outcomes into.
"""

import importlib
import json
import os
import re
from pathlib import Path

import pytest
from leaplm.grading.intake.collect import collect
from leaplm.grading.sandbox.control_groups import SWITCH, find_groups
from mini import LAB, make_course
from walled import needs_sandbox

from attacks.classroom import KINDS, LIMITS, SANDBOX_MB, add_earlier, add_neighbours, add_rows, make_class, publish, run
from attacks.ours import look, same_verdict
from attacks.rows import ABSENT, load
from attacks.table import BASELINE
from attacks.traps import Listeners

ROWS = load()
# Without bombs of processes: as root, whom the kernel allows any number of them, these slow all where no group holds them.
HEAVY = [row for row in ROWS if row.id in ("D4", "D9", "F33", "F33b", "F33c")]
CATALOGUE = {"A": 18, "B": 12, "C": 10, "D": 13, "E": 26}
GRADER_MB = 1500  # of one of the grader's own processes


pytestmark = needs_sandbox


@pytest.fixture(scope="module")
def listeners(tmp_path_factory):
    opened = Listeners(tmp_path_factory.mktemp("listener") / "socket")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory, listeners):
    """The neighbours, graded without any attack."""
    group, sheet = make_class(tmp_path_factory.mktemp("alone"), listeners)
    add_neighbours(group, sheet, len(ROWS))
    run(group)
    assert group.ended == 0, group.log
    return group


@pytest.fixture(scope="module")
def group(tmp_path_factory, listeners, alone):
    """The neighbours among all the attacks."""
    group, sheet = make_class(tmp_path_factory.mktemp("class"), listeners)
    add_earlier(group, sheet, ROWS)
    add_neighbours(group, sheet, len(ROWS))
    add_rows(group, sheet, ROWS)
    run(group)
    if group.ended == 0:
        publish(group)
    write_results(group, alone, listeners)
    return group


@pytest.fixture(scope="module")
def watched(tmp_path_factory, listeners):
    """The attacks on memory where no control group holds them."""
    group, sheet = make_class(tmp_path_factory.mktemp("watched"), listeners)
    add_neighbours(group, sheet, len(HEAVY))
    add_rows(group, sheet, HEAVY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "0")
        run(group)
    return group


def write_results(group, alone, listeners):
    """The outcomes, for attacks.table."""
    if path := os.environ.get("LEAPLM_ATTACK_RESULTS"):
        found = {row.id: look(group, alone, row, listeners.heard) for row in ROWS}
        states = {row.id: group.records.get(group.students[row.id], {}).get("state", "") for row in ROWS}
        rows = {row.id: {"mark": found[row.id].mark, "state": states[row.id], "bad": found[row.id].bad(row)} for row in ROWS}
        Path(path).write_text(json.dumps(rows, indent=1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(row, group, alone, listeners):
    found = look(group, alone, row, listeners.heard)
    record = group.records.get(group.students[row.id])
    assert found.bad(row) == [], f"{row.id}, {row.what}\n{json.dumps(record, indent=1)}"
    assert record["state"] in row.states, f"{row.id}, {row.what}\n{json.dumps(record, indent=1)}"


@pytest.mark.skipif(find_groups() is None, reason="the watch alone holds all rows here")
def test_the_watch_alone_holds_what_takes_memory(watched, alone, listeners):
    assert watched.ended == 0 and "watched, ten times a second" in watched.log, watched.log[-3000:]
    assert {row.id: look(watched, alone, row, listeners.heard).bad(row) for row in HEAVY} == {row.id: [] for row in HEAVY}
    assert {student: watched.records[student]["points"] for student in watched.neighbours} == {
        student: KINDS[kind] for student, kind in watched.neighbours.items()
    }
    assert watched.watch.sandbox_mb < SANDBOX_MB


def test_the_grader_came_to_its_end(group):
    assert group.ended == 0, group.log[-3000:]


def test_there_is_one_verdict_for_each_submission(group):
    students = [*group.neighbours, *group.students.values()]
    assert len(group.records) == len(list((group.work / "submitted").iterdir()))
    assert sorted(group.records) == sorted(students)
    again = {group.students[row.id] for row in ROWS if row.earlier}
    for student in students:
        files = [name for name in group.verdicts(student) if name.endswith(".json")]
        assert len(files) == 1 + (student in again), student


def test_the_gradebook_has_the_verdicts(group):
    """Nothing but the verdicts' points; written answers wait for a person."""
    assert group.marks == {student: record["points"] for student, record in group.records.items()}


def test_neighbours_have_their_marks_and_the_same_verdicts_as_alone(group, alone):
    assert {student: group.records[student]["points"] for student in group.neighbours} == {
        student: KINDS[kind] for student, kind in group.neighbours.items()
    }
    assert [student for student in group.neighbours if not same_verdict(group, alone, student)] == []


def test_nothing_is_left_behind_or_changed(group, alone, listeners):
    assert group.left == set()
    assert group.orphans == []
    assert listeners.heard == []
    assert list(Path(group.traps.outside).iterdir()) == []
    changed = {path for path in group.before if group.after.get(path) != group.before[path]}
    assert changed == set()
    new, usual = ({path for path in one.after if path not in one.before} for one in (group, alone))
    assert new - usual == set(), "files that an honest class does not leave"


def test_memory_of_the_grader_is_bounded(group):
    assert group.watch.grader_mb < GRADER_MB
    assert group.watch.sandbox_mb < SANDBOX_MB
    assert group.watch.shared_mb < 2 * LIMITS["memory_mb"] + 2000


def test_ids_that_are_nearly_the_same_stay_two_students(tmp_path):
    course = make_course(tmp_path / "course")
    for student in ("ann+lee", "ann_lee"):
        (tmp_path / "class" / student).mkdir(parents=True)
        (tmp_path / "class" / student / f"{LAB}.ipynb").write_bytes((course / "labs" / LAB / f"{LAB}.ipynb").read_bytes())
    collect(course, LAB, tmp_path / "class")
    assert len(list((course / ".nbgrader-work" / "submitted").iterdir())) == 2


def test_the_catalogue_is_complete():
    """Each of its rows is tried, or said why not; and of ours enough are tried."""
    known = {row.id for row in ROWS} | {row.id for row in ABSENT}
    catalogue = [f"{letter}{number}" for letter, last in CATALOGUE.items() for number in range(1, last + 1)]
    assert [row for row in catalogue if row not in known] == []
    assert len({row.id for row in ROWS}) == len(ROWS) >= 60


def test_plain_nbgrader_was_tried_with_these_rows():
    """On half of them at least: it takes hours, and its table is made by hand (attacks.baseline)."""
    kept = json.loads(BASELINE.read_text())["rows"]
    tried = [row.id for row in ROWS if row.plain and row.id in kept]
    assert sorted(tried) == sorted(kept) and len(tried) >= 50


def test_what_attacks_import_is_there():
    """An attack whose import fails attacks nothing, and would pass for ever."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for module, names in re.findall(r"from (leaplm\.[\w.]+) import ([\w, ]+)", path.read_text(encoding="utf-8")):
            found = importlib.import_module(module)
            for name in re.split(r",\s*", names.strip()):
                there = hasattr(found, name.split(" as ")[0]) or importlib.util.find_spec(f"{module}.{name}")
                assert there, f"{path.name}: {module} has no {name}"
