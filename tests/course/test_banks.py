"""Tests of the tests: every graded check of every lab, against its bank of wrong and right answers.

LEAPLM_SEEDS is the number of seeds that each answer is judged with; `make banks` takes many, after a check was changed.
"""

import functools
import os
import re
import zlib
from pathlib import Path

import pytest
from leaplm.grading import FREE
from leaplm.grading.course import lab_file, list_labs
from leaplm.grading.judge.banks import FEWEST_RIGHT, FEWEST_WRONG, Answer, Workbench, load_bank
from leaplm.translation import catalog_path, english_left, is_unfinished, list_locales, load_catalogs
from mini import MINI, ROOT, make_course
from quick import kept_quickly, trained_quickly
from solved import NEEDS
from wrong_kinds import sources

SEEDS = range(int(os.environ.get("LEAPLM_SEEDS", "1")))
SHARE = 4  # with one seed each function meets a quarter of the wrong kinds, another quarter than the next; `make banks` all
CHECK = r'^# %%.*\bcheck="([^"]+)"'
CHECKS = [
    (course, lab, check)
    for course in (MINI, ROOT)
    for lab in list_labs(course)
    for check in re.findall(CHECK, lab_file(course, lab, "lab.py").read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.fixture(scope="module")
def benches(tmp_path_factory, assets_ready):
    """A workbench per lab, made when first asked for; one is open at a time, since it works in its own folder."""
    patch = pytest.MonkeyPatch()
    patch.setenv("LEAPLM_SCALE", "tiny")
    opened: dict[str, Workbench] = {}

    def bench(course: Path, lab: str) -> Workbench:
        if lab not in opened:
            while opened:
                opened.popitem()[1].__exit__(None, None, None)
            opened[lab] = Workbench(lab, *_built(course, lab, tmp_path_factory)).__enter__()
        return opened[lab]

    yield bench
    while opened:
        opened.popitem()[1].__exit__(None, None, None)
    patch.undo()


def _built(course: Path, lab: str, tmp_path_factory) -> tuple[Path, Path]:
    """A course folder with notebooks, and the folder of its trained artifacts (see `trained_quickly`)."""
    if course == ROOT:
        return ROOT, kept_quickly(lab, tmp_path_factory.mktemp("quick"))
    copy = make_course(tmp_path_factory.mktemp("mini") / "course")
    kept = copy / "trained"
    kept.mkdir()
    (kept / "slope-cpu.json").write_text('{"slope": 2.0}')
    return copy, kept


@pytest.mark.parametrize(("course", "lab", "check"), CHECKS, ids=lambda part: part if isinstance(part, str) else "")
def test_the_check_tells_right_from_wrong(benches, needs_asset, tmp_path_factory, course, lab, check):
    for name in (NEEDS | dict.fromkeys(("lab1_pretraining", "lab11_transformer"), ["afrisenti"])).get(lab, []):
        needs_asset(name)
    bench = benches(course, lab)
    entries = [answer for answer in load_bank(lab, course) if answer.check == check]
    under_contract = course == ROOT and bool(bench.checks[check].contracts)
    assert sum(not answer.right for answer in entries) >= (6 if under_contract else FEWEST_WRONG), "too few wrong answers"
    assert sum(answer.right for answer in entries) >= (4 if under_contract else FEWEST_RIGHT), "too few right answers"
    _judge_second_calls(bench, check)
    _judge_wrong_kinds(bench, check)
    if course == ROOT and any(answer.files for answer in entries):
        trained_quickly(lab, tmp_path_factory.mktemp("quick"))
    for seed in SEEDS:
        _judge_all(bench, check, entries, seed)
        entries = [answer for answer in entries if not answer.files]  # a file is judged without any chance: once
        if not entries:
            break


# Takes the place of an answer, and works once only: whatever an answer keeps between two calls, some check calls it twice.
ONCE = """
def only_once(function, calls=[]):
    def call(*args, **kwargs):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("called again")
        return function(*args, **kwargs)
    return call

{name} = only_once({name})
"""


def _judge_second_calls(bench: Workbench, check: str) -> None:
    """Each function of a check is called twice, by the check itself or under its contract."""
    for name, contract in (bench.checks[check].contracts or {}).items():
        if name.isidentifier() and contract.random != FREE and callable(bench.solved(name)):
            verdict = bench.judge_answer(Answer(check, "works once", False, ONCE.format(name=name)), seed=0)
            assert verdict.points < bench.checks[check].points, f"{check}: {name} is called once"


def _judge_wrong_kinds(bench: Workbench, check: str) -> None:
    """Whatever an answer returns, the check says what is wrong with it: it never breaks off."""
    for name in bench.checks[check].contracts or {}:
        if not name.isidentifier() or bench.solved(name) is None:
            continue
        kinds = sources(name, callable(bench.solved(name)))
        for why, source in kinds if len(SEEDS) > 1 else kinds[zlib.crc32(name.encode()) % SHARE :: SHARE]:
            verdict = bench.judge_answer(Answer(check, why, False, source), seed=0)
            assert verdict.message and verdict.fault is None, f"{name} gives {why}: {verdict}"
            assert untranslated(bench.lab, verdict.message) == [], f"{name} gives {why}: see course/tools/translate.py"


def _judge_all(bench: Workbench, check: str, entries: list[Answer], seed: int) -> None:
    full = bench.checks[check].points
    reference = bench.judge_reference(check, seed)
    assert (reference.points, reference.fault) == (full, None), f"reference: {reference}; left out: {bench.skipped}"
    stub = bench.judge_stub(check, seed)
    assert (stub.points, stub.fault) == (0, None), f"the stub: {stub}"
    for answer in entries:
        verdict = bench.judge_answer(answer, seed)
        assert verdict.message, answer.why
        assert untranslated(bench.lab, verdict.message) == [], f"{answer.why}: see course/tools/translate.py"
        assert verdict.fault is None, f"{answer.why}: {verdict}"
        if answer.right:
            assert verdict.points == full, f"right, {answer.why}: {verdict}"
        else:
            assert verdict.points < full, f"wrong, {answer.why}: {verdict}"


@functools.cache  # many answers get the same message
def untranslated(lab: str, message: str) -> list[tuple[str, str]]:
    """(language, words) that a message of a lab would leave in English; a single word is a name in the code."""
    left = ((locale, part) for locale in finished(lab) for parts in english_left(message, load_catalogs(ROOT, lab, locale))
            for part in parts.split(", "))  # fmt: skip
    return [(locale, part) for locale, part in left if " " in part.strip()]


@functools.cache
def finished(lab: str) -> list[str]:
    """The languages whose catalogue of a lab no translator is still at work on."""
    return [locale for locale in list_locales(ROOT)
            if catalog_path(ROOT, lab, locale).is_file() and not is_unfinished(ROOT, lab, locale)]


def test_every_bank_entry_names_a_check():
    for course, lab in {(course, lab) for course, lab, _ in CHECKS}:
        known = {check for _, other, check in CHECKS if other == lab}
        strays = {answer.check for answer in load_bank(lab, course)} - known
        assert not strays, f"{lab}: the bank has entries for checks that no cell runs: {strays}"
