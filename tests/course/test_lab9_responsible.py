"""Lab 9: what it teaches is what the library does, and the library's measures of risk keep their promises."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from leaplm import models
from leaplm.grading.course import load_module
from leaplm.grading.judge.tiny_models import tiny_causal_lm, tiny_tokenizer
from leaplm.responsible import explanations, fairness, memorization, privacy
from solved import ROOT, solved_lab

lab9 = solved_lab("lab9_responsible")


def test_lab9_functions_are_the_librarys(lab9):
    rng = np.random.default_rng(0)
    losses, others = torch.tensor(rng.gamma(1, size=30)), torch.tensor(rng.gamma(2, size=20))
    for limit in (0.0, 0.1):
        assert lab9["membership_attack"](losses, others, limit) == \
            pytest.approx(privacy.membership_attack(losses, others, limit))
    first, second, draws = torch.rand(9), torch.rand(9), torch.randint(9, (50, 9))
    assert lab9["paired_interval"](first, second, draws) == pytest.approx(fairness.paired_interval(first, second, draws))
    texts = ["Call Amina now", "call amina, NOW!", "Call Musa", "Musa: call!", "no"]
    assert lab9["deduplicate"](texts, 0.7) == memorization.deduplicate(texts, 0.7) == [0, 2, 4]


def test_lab9_private_training_is_the_librarys(lab9):
    rng = np.random.default_rng(0)
    gradients, normal = rng.normal(size=(6, 4)), rng.normal(size=4)
    np.testing.assert_allclose(lab9["clip_and_noise"](gradients, 0.7, 1.3, normal, 9),
                               privacy.clip_and_noise(gradients, 0.7, 1.3, normal, 9))
    x, y = small_task(40)
    weight = rng.normal(size=(3, 30))
    for rows in (40, 1, 0):
        np.testing.assert_allclose(lab9["per_example_gradients"](weight, x[:rows], y[:rows]),
                                   privacy.per_example_gradients(weight, x[:rows], y[:rows]), atol=1e-12)
    for case in ((1.1, 0.25, 100, 1e-5), (0.3, 1.0, 2, 1e-6), (40.0, 0.01, 3, 1e-5), (0.03, 0.5, 2, 1e-3)):
        assert lab9["rdp_epsilon"](*case) == pytest.approx(privacy.rdp_epsilon(*case), rel=1e-9)
    assert lab9["rdp_epsilon"](0, 0.5, 2, 1e-3) == privacy.rdp_epsilon(0, 0.5, 2, 1e-3) == math.inf
    for budget in (300.0, 6.0, 0.08):
        assert lab9["find_noise"](lambda noise: 6 / noise, budget) == privacy.find_noise(lambda noise: 6 / noise, budget)
    config = privacy.PrivateConfig(epsilon=2.0, steps=20)
    for people in (np.arange(40), rng.permutation(np.arange(40) % 11)):
        got, want = (loop(x, y, people, 3, config, 2.5, np.random.default_rng(5))
                     for loop in (lab9["dp_sgd"], privacy.dp_sgd))
        np.testing.assert_allclose(got[0], want[0])
        assert got[1] == pytest.approx(want[1]) and 0 < len(got[2]) == len(want[2]) < 20
        assert got[2][-1] == pytest.approx(want[2][-1])


def test_words_are_erased_by_their_place_and_rows_are_risky_in_small_groups():
    words, scores = ["a", "b", "a", "c", "d"], torch.tensor([0.3, -2.0, 0.1, 0.9, 0.2])
    assert explanations.erase(words, scores, 0.3) == ("b a d", "a c")
    rows = [{"town": t, "age": a} for t, a in (("Kano", 1), ("Kano", 1), ("Jos", 1))]
    assert privacy.risky_rows(rows, ["town", "age"], 2) == [2] and privacy.risky_rows(rows, ["age"], 3) == []


# -- memorisation -------------------------------------------------------------------------------------------------------


def test_a_secret_that_was_never_seen_has_the_exposure_of_chance():
    rng = np.random.default_rng(0)
    found = [memorization.exposure(rng.random(), rng.random(63)) for _ in range(4000)]
    assert np.mean(found) == pytest.approx(1.39, abs=0.08) and np.mean(np.array(found) > 3) == pytest.approx(1 / 8, abs=0.02)


def test_canaries_stand_as_often_as_they_say_and_differ_between_seeds():
    canaries = memorization.make_canaries(seed=3)
    texts = memorization.plant(["one", "two"], canaries, seed=3)
    for canary in canaries:
        assert sum(text.startswith(canary["prompt"] + canary["secret"]) for text in texts) == canary["repeats"]
    assert canaries != memorization.make_canaries(seed=4) and len({c["prompt"] for c in canaries}) == 8
    with pytest.raises(ValueError, match="names"):
        memorization.make_canaries(people=99)


def test_near_duplicates_of_a_canary_leave_one_copy():
    canaries = memorization.make_canaries(seed=0)
    texts = memorization.plant(["a film about a dog", "another text"], canaries)
    kept = [texts[i] for i in memorization.deduplicate(texts)]
    assert all(sum(c["prompt"] in text for text in kept) == min(1, c["repeats"]) for c in canaries) and len(kept) == 8


def test_the_measures_find_what_a_model_knows_by_heart():
    """A tiny model that is taught one number gives it away in full."""
    words = ["call", "on", *map(str, range(10))]
    tokenizer, model = tiny_tokenizer(words), tiny_causal_lm()
    tokenizer.eos_token = tokenizer.pad_token
    canary = {"prompt": "call on", "secret": " 4 1 2 7"}
    ids = torch.tensor([tokenizer(canary["prompt"] + canary["secret"], add_special_tokens=False)["input_ids"]])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model(ids, labels=ids).loss.backward()
        optimizer.step()
    from leaplm.prompting.scoring import continuation_log_probs

    others = [f" {a} {b} 2 7" for a in range(10) for b in range(10) if (a, b) != (4, 1)]
    losses = -continuation_log_probs(model, tokenizer, [canary["prompt"]], [[canary["secret"], *others]])[0][0]
    assert memorization.exposure(losses[0], losses[1:]) == math.log2(100)


# -- privacy ------------------------------------------------------------------------------------------------------------


def small_task(rows=300):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 30))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, (x @ rng.normal(size=(30, 3))).argmax(1)


def test_per_example_gradients_are_those_of_opacus():
    from opacus import GradSampleModule

    x, y = small_task(12)
    weight = np.random.default_rng(1).normal(size=(3, 30))
    module = GradSampleModule(torch.nn.Linear(30, 3, bias=False), loss_reduction="sum")
    module._module.weight.data = torch.tensor(weight, dtype=torch.float32)
    logits = module(torch.tensor(x, dtype=torch.float32))
    torch.nn.functional.cross_entropy(logits, torch.tensor(y), reduction="sum").backward()
    np.testing.assert_allclose(privacy.per_example_gradients(weight, x, y).reshape(12, 3, 30),
                               module._module.weight.grad_sample, atol=1e-5)


def test_private_training_learns_spends_its_budget_and_leaves_its_trace():
    (x, y), config = small_task(), privacy.PrivateConfig(steps=40, learning_rate=20.0)
    weight, noise = privacy.train_head_privately(x, y, 3, config)
    assert np.mean(privacy.head_logits(weight, x).argmax(1) == y) > np.bincount(y).max() / len(y) + 0.1
    spent = privacy.epsilon_spent(noise, config.sample_rate, config.steps, config.delta)
    assert 7.9 < spent <= 8
    expected = privacy.expected_trace(config, noise, len(x), 3)
    assert privacy.noise_trace(weight) == pytest.approx(expected, rel=0.4)  # 30 numbers: a spread of 13 %
    without, none = privacy.train_head_privately(x, y, 3, privacy.PrivateConfig(epsilon=math.inf, steps=40))
    assert none == 0 and privacy.noise_trace(without) < 1e-9


def test_a_row_for_each_person_is_the_training_that_is_handed_in():
    """The loop by person with one row each: the same weight, bit for bit, as the library's loop over rows."""
    (x, y), config = small_task(60), privacy.PrivateConfig(epsilon=50.0, steps=8)
    for noise, seed in ((2.0, 3), (1.0, 4)):
        weight, spent, history = privacy.dp_sgd(x, y, np.arange(60), 3, config, noise, np.random.default_rng([seed, 12]))
        np.testing.assert_array_equal(weight, privacy.train_head_with_noise(x, y, 3, config, noise, seed))
        assert len(history) == 8 and spent == history[-1]["epsilon"] == privacy.rdp_epsilon(noise, 0.25, 8, 1e-5)


def test_the_loop_stops_before_its_budget_and_bounds_a_person():
    x, y = small_task(60)
    people = np.arange(60) // 12
    tight = privacy.PrivateConfig(epsilon=1.0, steps=300)
    _, spent, history = privacy.dp_sgd(x, y, people, 3, tight, 4.0, np.random.default_rng(0))
    assert 0.9 < spent <= 1 < privacy.rdp_epsilon(4.0, 0.25, len(history) + 1, 1e-5)
    none = privacy.PrivateConfig(epsilon=0.01)
    weight, spent, history = privacy.dp_sgd(x, y, people, 3, none, 4.0, np.random.default_rng(0))
    assert not weight.any() and spent == 0.0 and history == []
    # Without noise: with one person's rows or without, a step differs by at most C / B.
    one = privacy.PrivateConfig(epsilon=math.inf, steps=1, sample_rate=1.0, max_norm=0.5, learning_rate=1.0)
    with_all = privacy.dp_sgd(x, y, people, 3, one, 0.0, np.random.default_rng(0))[0]
    without = privacy.dp_sgd(x[:48], y[:48], people[:48], 3, one, 0.0, np.random.default_rng(0))[0]
    assert np.linalg.norm(5 * with_all - 4 * without) <= 0.5 + 1e-9


def test_whole_orders_are_a_bound_near_that_of_opacus():
    for noise in (1.0, 2.0, 4.0, 10.0):
        ours, theirs = privacy.rdp_epsilon(noise, 0.25, 100, 1e-5), privacy.epsilon_spent(noise, 0.25, 100, 1e-5)
        assert theirs - 1e-9 <= ours <= 1.02 * theirs + 0.01


def test_opacus_spends_the_same_and_learns():
    (x, y), config = small_task(), privacy.PrivateConfig(steps=40, learning_rate=20.0)
    weight, spent = privacy.train_head_with_opacus(x, y, 3, config)
    noise = privacy.noise_for(config.epsilon, config.delta, config.sample_rate, config.steps)
    assert spent == pytest.approx(privacy.epsilon_spent(noise, config.sample_rate, config.steps, config.delta), abs=1e-6)
    assert privacy.noise_trace(weight) == pytest.approx(privacy.expected_trace(config, noise, len(x), 3), rel=0.4)


@pytest.mark.parametrize(("epsilon", "sample_rate", "steps"),
                         [(0.25, 0.01, 100), (1, 0.25, 100), (3, 0.25, 100), (300, 0.5, 3)])
def test_few_orders_find_the_noise_of_all(epsilon, sample_rate, steps):
    settings = epsilon, 1e-5, sample_rate, steps
    assert privacy.noise_for(*settings) == privacy.search_noise(*settings, privacy.opacus_orders())


def test_bad_settings_and_empty_lists_are_said():
    with pytest.raises(ValueError, match="epsilon"):
        privacy.PrivateConfig(epsilon=0)
    with pytest.raises(ValueError, match="sample_rate"):
        privacy.PrivateConfig(sample_rate=1.5)
    with pytest.raises(ValueError, match="empty"):
        privacy.membership_attack([], [1.0])
    with pytest.raises(ValueError, match="kind"):
        privacy.text_features(["a"], "words")
    assert privacy.epsilon_spent(0, 0.1, 10, 1e-5) == math.inf


def test_the_judge_names_what_is_wrong_with_a_promise(assets_ready):
    checks = load_module(ROOT / "course" / "lab9_responsible" / "checks.py")
    x, y = privacy.text_features([f"text number {i}" for i in range(400)], "characters"), np.arange(400) % 2
    config = privacy.private_config("eng")
    weight, noise = privacy.train_head_privately(x, y, 2, config)
    card = privacy.private_card(config, noise, 400, language="eng")
    assert checks.promise_problem(card, weight) is None
    assert "claims epsilon" in checks.promise_problem({**card, "epsilon": 2.0}, weight)
    assert "trace" in checks.promise_problem({**card, "noise_multiplier": 2 * noise}, weight)
    assert "trace" in checks.promise_problem(card, weight - weight.mean(axis=0))
    assert "at most 8" in checks.promise_problem({**card, "steps": 200, "epsilon": 99}, weight)
    assert "delta" in checks.promise_problem({**card, "delta": 0.01}, weight)


# -- gaps and explanations ----------------------------------------------------------------------------------------------


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(0)
    hard = rng.random(200)
    first, second = hard + rng.normal(scale=0.05, size=200) + 0.03, hard + rng.normal(scale=0.05, size=200)
    _, low, high = fairness.paired_interval(first, second)
    _, wide_low, wide_high = fairness.paired_interval(first, rng.permutation(second))
    assert 0 < low < high < 0.06 and wide_high - wide_low > 3 * (high - low)
    with pytest.raises(ValueError, match="one pair a text"):
        fairness.paired_interval([1, 2], [1])


def test_spellings_change_what_they_say_and_nothing_else():
    assert fairness.without_marks("Ọjọ́ ń lọ; ƙasa, ɗaya. Đà Nẵng") == "Ojo n lo; kasa, daya. Da Nang"
    text = "a message that is written in some haste by people everywhere"
    changed = fairness.typed_in_haste(text, share=1.0)
    assert changed != text and sorted(changed) == sorted(text) and changed.split()[0] == "a"
    assert fairness.typed_in_haste(text) == fairness.typed_in_haste(text)


def test_integrated_gradients_add_up_to_the_change_of_the_score(assets_ready):
    """The words' scores and those of nothing else (special tokens are in both texts) make the whole change."""
    torch.manual_seed(0)
    model, tokenizer = models.load_sequence_classifier(["no", "yes"]).eval(), models.load_tokenizer()
    text = "A warm and funny film from Dhaka"
    words, scores = explanations.word_scores(model, tokenizer, text, 1, steps=64)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    empty = torch.full_like(ids, tokenizer.mask_token_id)
    empty[0, [0, -1]] = ids[0, [0, -1]]
    with torch.no_grad():
        change = float(model(ids).logits[0, 1] - model(empty).logits[0, 1])
    assert len(words) == 7 and scores.sum() == pytest.approx(change, abs=0.05 * max(0.1, abs(change)))


def test_deletion_test_finds_the_word_that_decides(assets_ready):
    """With a head that points at 'superb', taking this word out hurts more than taking out the least important ones."""
    model, tokenizer = models.load_sequence_classifier(["no", "yes"]).eval(), models.load_tokenizer()
    from leaplm import fewshot

    vectors = fewshot.embed(model.bert, tokenizer, ["superb superb", "terrible terrible"])
    difference = vectors[0] - vectors[1]
    fewshot.put_head(model, np.stack([-difference, difference]), np.zeros(2))
    texts = ["the people in the hall said it was superb", "the terrible film was shown in the hall"]
    most, _ = explanations.deletion_test(model, tokenizer, texts, "integrated gradients")
    least, _ = explanations.deletion_test(model, tokenizer, texts, "integrated gradients", least=True)
    assert most.mean() > least.mean() + 0.1
    with pytest.raises(ValueError, match="method"):
        explanations.word_scores(model, tokenizer, "a text", 0, "magic")


# -- what a promise says, and what a better attack finds ------------------------------------------------------------------


@given(st.floats(0, 1), st.floats(0, 10), st.floats(0, 0.5))
def test_no_attack_beats_the_trade_off(false_alarms, epsilon, delta):
    """The curve lies above blind guessing, below 1, and keeps both sides of the definition."""
    found = privacy.most_found(false_alarms, epsilon, delta)
    assert false_alarms - 1e-12 <= found <= 1
    assert found <= np.exp(epsilon) * false_alarms + delta + 1e-12
    assert 1 - false_alarms <= np.exp(epsilon) * (1 - found) + delta + 1e-9


@pytest.mark.parametrize(("epsilon", "alone", "together"), [(1, 0.136, 0.088), (3, 0.953, 0.200), (8, 1.0, 0.614)])
def test_the_promises_of_the_lab(epsilon, alone, together):
    """The numbers of section 4: one pair of (epsilon, delta), and all pairs that the same training keeps."""
    profile = privacy.privacy_profile(privacy.noise_for(epsilon, 1e-5, 0.25, 100), 0.25, 100)
    assert privacy.most_found(0.05, epsilon, 1e-5) == pytest.approx(alone, abs=0.001)
    assert min(privacy.most_found(0.05, *pair) for pair in profile) == pytest.approx(together, abs=0.001)
    assert all(more >= less for (more, _), (less, _) in zip(profile, profile[1:], strict=False)), "a larger delta costs less"


def test_shadows_find_members_that_a_threshold_on_the_loss_does_not():
    """Texts of very different difficulty, each with a loss 1 nat smaller in models that saw it."""
    rng = np.random.default_rng(0)
    hard, inside = rng.uniform(0.5, 8, 400), rng.random((65, 400)) < 0.5
    losses = np.maximum(hard - 0.4 * inside + rng.normal(0, 0.05, inside.shape), 0.01)
    member = inside[0]
    scores = privacy.calibrated_scores(losses[0], losses[1:], inside[1:])
    _, naive = privacy.membership_attack(losses[0][member], losses[0][~member])
    _, found = privacy.membership_attack(-scores[member], -scores[~member])
    assert naive < 0.15 and found > 0.9
    with pytest.raises(ValueError, match="shadows that were"):
        privacy.calibrated_scores(losses[0], losses[1:], np.ones((64, 400)))


def test_a_private_head_withstands_the_shadows():
    """The same heads on the same random vectors: with noise the calibrated attack is near chance."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 60)).astype(np.float32)
    x, y = x / np.linalg.norm(x, axis=1, keepdims=True), rng.integers(2, size=120)

    def train(config, noise):
        return lambda rows, seed: privacy.train_head_with_noise(x[rows], y[rows], 2, config, noise, seed)

    plain = privacy.shadow_attack(train(privacy.PrivateConfig(epsilon=np.inf, learning_rate=30.0), 0.0), x, y, shadows=32)
    private = privacy.shadow_attack(train(privacy.PrivateConfig(epsilon=1.0), 10.3), x, y, shadows=32)
    assert plain["shadow_auc"] > 0.75 and private["shadow_auc"] < 0.65


def test_a_signature_changes_one_thing_at_a_time():
    assert fairness.signed("Good. ", "Cusco") == "Good. - Quispe, Cusco"
    assert fairness.signed("Good.", "Cusco", town="London") == "Good. - Quispe, London"
    assert fairness.signed("Good.", "London", town="Cusco") == "Good. - Emily, Cusco"
