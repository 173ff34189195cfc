"""A classifier out of a prompt, and the choice of a prompt: each text is predicted by a choice that did not see it."""

import numpy as np
from leaplm import evaluation, prompting
from leaplm.grading.judge.tiny_models import tiny_causal_lm, tiny_tokenizer

TEXTS = [f"text {i}" for i in range(11)]


def tables(rng, templates="zab"):
    return {name: {method: rng.normal(size=(len(TEXTS), 3)) for method in ("sum", "mean")} for name in templates}


def test_the_classifier_says_what_its_scores_say():
    model, tokenizer = tiny_causal_lm(), tiny_tokenizer(["Text:", "Label:", "good", "bad", "film", "N/A", "..."])
    template = prompting.PromptTemplate("Text: {text}\nLabel:")
    classifier = prompting.PromptClassifier(model, tokenizer, template, ["good", "bad"], [("film", 1)], batch_size=2)
    texts = ["film", "good film", "bad"]
    want = prompting.score_methods(model, tokenizer, texts, template, prompting.Verbalizer(("good", "bad")),
                                   demonstrations=[("film", "bad")])
    for method, scores in classifier(texts).items():
        np.testing.assert_allclose(scores, want[method], atol=1e-4)
        assert classifier.predict(texts, method).tolist() == want[method].argmax(-1).tolist()


def test_the_first_among_equals_is_chosen():
    found, labels = tables(np.random.default_rng(0)), np.arange(len(TEXTS)) % 3
    found["a"]["mean"] = found["b"]["sum"] = np.eye(3)[labels]
    tuned = prompting.tune_prompt(lambda template, _: found[template], {name: name for name in found}, TEXTS, labels)
    assert (tuned["template"], tuned["method"], tuned["macro_f1"]) == ("a", "mean", 1.0)
    assert tuned["held_out_macro_f1"] == 1.0 and tuned["interval"] == (1.0, 1.0)


def test_a_choice_among_chance_is_worth_no_more_than_chance():
    own, held_out = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found, labels = tables(rng, "abcdefgh"), rng.integers(3, size=len(TEXTS))
        tuned = prompting.tune_prompt(lambda template, _, known=found: known[template], {n: n for n in found}, TEXTS, labels)
        own.append(tuned["macro_f1"])
        held_out.append(tuned["held_out_macro_f1"])
    assert np.mean(own) > 0.5 and np.mean(held_out) < 0.4


def test_the_vote_is_the_ensembles():
    rng = np.random.default_rng(1)
    found, labels = tables(rng), rng.integers(3, size=len(TEXTS))
    tuned = prompting.tune_prompt(lambda template, _: found[template], {n: n for n in found}, TEXTS, labels, folds=20)
    for method, value in tuned["vote_accuracy"].items():
        stack = np.stack([methods[method] for methods in found.values()])
        assert value == evaluation.accuracy(labels, prompting.ensemble(stack))
