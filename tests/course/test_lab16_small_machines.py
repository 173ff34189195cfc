"""Lab 16: what it teaches is what the library does."""

import struct

import numpy as np
import pytest
from leaplm import calibration, data, evaluation, marking, small_machines
from leaplm.grading.course import load_module
from leaplm.grading.judge import probes
from leaplm.grading.judge.banks import Workbench, load_bank
from solved import ROOT, solved_lab

lab16 = solved_lab("lab16_small_machines")
RNG = np.random.default_rng(0)


def test_lab16_packs_and_quantizes_as_the_library(lab16):
    for count in (0, 1, 8, 9):
        numbers = RNG.integers(0, 16, count)
        assert np.array_equal(lab16["pack_pairs"](numbers), small_machines.pack_pairs(numbers))
    for shape, size in (((3, 64), 32), ((2, 7), 3), ((1, 1), 4)):
        weight = RNG.normal(size=shape).astype(np.float32)
        found = lab16["quantize_groups"](weight, size, small_machines.NF4)
        for mine, theirs in zip(found, small_machines.quantize_groups(weight, size), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_lab16_reads_gguf_as_the_library(lab16):
    content = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ2B", 9, 0, 2, 5, 6)
    content += struct.pack("<Q", 2) + b"w1" + struct.pack("<I2QIQ", 2, 32, 4, 2, 64)
    assert lab16["read_header"](content) == small_machines.read_header(content)
    blocks = RNG.integers(0, 200, 36).astype(np.uint8).tobytes()
    np.testing.assert_allclose(lab16["decode_q4_0"](blocks), small_machines.decode_q4_0(blocks))


def test_lab16_classifies_as_the_library(lab16):
    for text in ("na gode sosai", "a", "", "ọjọ́  dára"):
        assert sorted(lab16["text_pieces"](text, 2, 5)) == sorted(small_machines.text_pieces(text, 2, 5))
    pieces, columns, idf = list("abcaabx"), {"c": 0, "a": 2, "b": 1}, np.array([1.0, 2.0, 3.0])
    for some in (pieces, ["x"], []):
        for mine, theirs in zip(lab16["weigh_pieces"](some, columns, idf),
                                small_machines.weigh_pieces(some, columns, idf), strict=True):
            np.testing.assert_allclose(mine, theirs)
    given = (np.array([0, 2]), np.array([0.6, 0.8]), RNG.normal(size=(3, 4)), RNG.normal(size=3))
    np.testing.assert_allclose(lab16["class_probabilities"](*given), small_machines.class_probabilities(*given))


def test_lab16_watches_as_the_library(lab16):
    first, second = RNG.integers(0, 9, 30), RNG.integers(0, 9, 12)
    assert lab16["ks_distance"](first, second) == pytest.approx(small_machines.ks_distance(first, second))
    given = (RNG.normal(size=40), 10, 0.1, 50, 3)
    assert lab16["alarm_level"](*given) == pytest.approx(small_machines.alarm_level(*given))


def test_lab16_guesses_and_decodes_as_the_library(lab16):
    for _ in range(20):
        given = (RNG.integers(0, 4, 10).tolist(), 3, 2)
        assert lab16["find_draft"](*given) == small_machines.find_draft(*given)
    for style in ("mixed", "gap"):
        given = (probes.counting_speller(5), [1, 2, 3], 9, probes.guesser(5, style, 4))
        assert lab16["speculative_decode"](*given) == small_machines.speculative_decode(*given)


# By check: words of a message that name a cause, and the wrong answers of the bank of which it is the cause.
CAUSES = {
    "ks_distance": {
        "the larger share may be on either side": {"one side only", "the other side only"},
        "right where all numbers differ": {"walks through the sorted numbers, ties one by one",
                                           "equal numbers of both samples are left out"}},
    "alarm_level": {
        "that most windows exceed": {"the rate itself", "sorted from large to small"},
        "half of the rate is gone": {"two tails"},
        "`ks_distance`, from which it comes": {"a distance that takes equal numbers one by one", "a distance of one side"},
        "each should be drawn as often": {"the first number is never drawn", "the last number is never drawn",
                                          "only numbers that differ"},
        "the same seed should give the same level": {"no seed", "one seed for all"}},
    "find_draft": {
        "of several earlier places the latest one counts": {"the earliest place"},
        "look for fewer of them": {"the longest tail only", "the longest tail that fits only"}},
    "speculative_decode": {
        "begins with the prompt": {"with the prompt", "the prompt, and so fewer tokens"},
        "right as far as they go": {"not cut off", "one token fewer", "nothing"},
        "even without guesses": set(),
        "where all guesses are right": {"the answers of one place later"},
        "a guess stays only if": {"all guesses are kept", "guesses after a wrong one count", "one more than agreed, guessed",
                                  "guesses that are equal in another place"},
        "are enough": {"the token for nothing is left out", "one guess at most", "checks the guesses one by one",
                       "plain greedy decoding", "a second pass after each guess", "the draft does not see the prompt"},
        "the second result": {"tokens instead of passes", "one pass too many is told"}},
}


@pytest.fixture(scope="module")
def bench(assets_ready):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAPLM_SCALE", "tiny")
        with Workbench("lab16_small_machines", ROOT) as opened:
            yield opened


@pytest.mark.parametrize("check", CAUSES)
def test_a_message_names_the_cause_of_a_mistake_or_none(bench, check):
    for answer in load_bank("lab16_small_machines", ROOT):
        if answer.check == check and not answer.right:
            message = bench.judge_answer(answer, seed=1).message
            named = {words for words in CAUSES[check] if words in message}
            assert named == {words for words, whys in CAUSES[check].items() if answer.why in whys}, (answer.why, message)


CHECKS = load_module(ROOT / "course" / "lab16_small_machines" / "checks.py")
RUNS = calibration.load_record("lab16_small_machines", "main")


@pytest.mark.parametrize("language", sorted(set(RUNS["language"])))
def test_guessing_earns_nothing_and_our_own_runs_all(language, needs_asset):
    """Where our runs are near guessing, a mark would tell nothing: such a language must not be marked."""
    needs_asset("vader" if language == "eng" else "afrisenti")
    runs, labels = RUNS[RUNS["language"] == language]["heldout_macro_f1"], np.array(data.heldout_rows(language)["label"])
    wanted = marking.threshold("lab16_small_machines", language, "heldout_macro_f1")
    rng = np.random.default_rng(1)
    guesses = [evaluation.macro_f1(labels, rng.permutation(labels)) for _ in range(100)]
    points = [CHECKS.judge_score(score, runs, wanted, labels, 0)[0] for score in guesses]
    assert np.mean(np.array(points) > 0) <= 0.05
    assert all(CHECKS.judge_score(score, runs, wanted, labels, 0)[0] == 5 for score in runs)
