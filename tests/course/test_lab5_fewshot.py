"""Lab 5: what it teaches is what the library does, and the library's few-shot functions keep their promises."""

import numpy as np
import pytest
import torch
from leaplm import fewshot, models
from leaplm.grading.judge.tiny_models import tiny_causal_lm, tiny_encoder, tiny_tokenizer
from leaplm.prompting import scoring
from solved import solved_lab

lab5 = solved_lab("lab5_fewshot")


def test_lab5_samples_as_the_library(lab5):
    labels = [0, 1, 1, 0, 2, 2, 1, 0, 2]
    np.testing.assert_array_equal(lab5["sample_balanced"](labels, 2, 5), fewshot.sample_balanced(labels, 2, 5))


def test_lab5_prompt_is_the_librarys(lab5):
    rows, words = [{"text": "Fine.", "label": 1}, {"text": "Dull.", "label": 0}], [" no", " yes"]
    prefix, prompt = lab5["few_shot_prompt"](rows, "New.", words, fewshot.TEMPLATE)
    assert prefix == fewshot.demonstration_prefix(rows, words) and prompt == fewshot.TEMPLATE.format(text="New.")


def test_lab5_nearest_label_is_the_librarys(lab5):
    texts, labels = torch.randn(9, 5), torch.randn(3, 2, 5)
    np.testing.assert_array_equal(lab5["nearest_label"](texts, labels), fewshot.nearest_label(texts, labels))


def test_lab5_scores_as_the_library(lab5):
    tokenizer, model = tiny_tokenizer([f"w{i}" for i in range(30)]), tiny_causal_lm()
    ours, _ = scoring.continuation_log_probs(model, tokenizer, ["w1 w2", "w3 w4"], ["w5", "w6"], "w7 w8 w9")
    texts = ("w7 w8 w9", "w1 w2", "w3 w4", "w5 w6")
    ids = [torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    theirs = lab5["score_labels"](model, ids[0], torch.stack(ids[1:3]), ids[3])
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_lab5_vectors_are_the_librarys(lab5):
    encoder, tokenizer, texts = tiny_encoder(dropout=0.5), tiny_tokenizer(["good", "bad"]), ["good", "bad bad good", "bad"]
    theirs = lab5["embed"](encoder, tokenizer, texts, 2)
    np.testing.assert_allclose(theirs, fewshot.embed(encoder, tokenizer, texts, batch_size=2), atol=1e-5)


def some_rows(classes, n=24, width=30):
    """Vectors and labels of a few texts, more numbers in a vector than texts."""
    rng = np.random.default_rng(classes)
    labels = rng.permutation(np.arange(n) % classes)
    return (rng.normal(size=(classes, width))[labels] + 2 * rng.normal(size=(n, width))).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3])
def test_lab5_head_and_its_trainer_are_the_librarys(lab5, classes):
    vectors, labels = map(torch.from_numpy, some_rows(classes))
    weight, bias = torch.randn(classes, 30), torch.randn(classes)
    ours, theirs = (loss(weight, bias, vectors, labels, 0.3) for loss in (fewshot.head_loss, lab5["head_loss"]))
    assert torch.allclose(ours, theirs, atol=1e-5)
    for our, their in zip(fewshot.train_head(vectors, labels, 0.3), lab5["train_head"](vectors, labels, 0.3), strict=True):
        np.testing.assert_allclose(our, their, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("strength", [0.05, 1.0])
def test_the_trainer_gives_scikit_learns_head(classes, strength):
    """The probabilities are the same to 0.005, as the lab says; with two classes scikit-learn's C is twice ours."""
    vectors, labels = some_rows(classes)
    weight, bias, norms = fewshot.train_head(vectors, labels, strength)
    known = fewshot.fit_head(vectors, labels, C=2 * strength if classes == 2 else strength)
    ours, theirs = (torch.softmax(torch.from_numpy(vectors) @ torch.as_tensor(w).T + torch.as_tensor(b), dim=-1)
                    for w, b in ((weight, bias), known))
    assert torch.allclose(ours, theirs, atol=5e-3) and norms[-1] <= 1e-4 < norms[-2]


def test_lab5_folds_and_choice_are_the_librarys(lab5):
    vectors, labels = some_rows(3)
    for ours, theirs in zip(fewshot.stratified_folds(labels, 4, 1), lab5["stratified_folds"](labels, 4, 1), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    fit = lambda *given: fewshot.train_head(*given, tolerance=1e-2)[:2]  # noqa: E731
    given = fit, torch.from_numpy(vectors), torch.from_numpy(labels), [1.0, 0.01, 0.1]
    assert fewshot.choose_strength(*given, seed=2) == lab5["choose_strength"](*given, seed=2)
    with pytest.raises(ValueError, match="one row"):
        fewshot.stratified_folds([0, 0, 1])


def test_lab5_learning_curve_is_the_librarys(lab5):
    methods = {"even": lambda rows: rows[:4] % 2, "three": lambda rows: rows[:4] % 3}
    given = methods, [0, 1, 2] * 6, [0, 1, 1, 0], [2, 4], [3, 0, 5]
    ours, theirs = fewshot.learning_curve(*given), lab5["learning_curve"](*given)
    assert [our == pytest.approx(their) for our, their in zip(ours, theirs, strict=True)] == [True] * 4


def test_fit_head_gives_scikit_learns_probabilities():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    for classes in (2, 3):
        x, y = rng.normal(size=(60, 5)), rng.integers(classes, size=60)
        weight, bias = fewshot.fit_head(x, y)
        found = torch.softmax(torch.tensor(x @ weight.T + bias), dim=-1)
        np.testing.assert_allclose(found, LogisticRegression(C=1.0, max_iter=2000).fit(x, y).predict_proba(x), atol=1e-3)


def test_put_head_changes_what_the_model_says(assets_ready):
    model = models.load_sequence_classifier(["no", "yes"])
    fewshot.put_head(model, np.zeros((2, 384)), np.array([0.0, 1.0]))
    logits = model(input_ids=torch.tensor([[101, 2204, 102]])).logits
    assert logits.tolist() == [[0.0, 1.0]]


def test_a_leak_is_refused_whatever_its_letter_case():
    with pytest.raises(ValueError, match="also test texts"):
        fewshot.demonstration_prefix([{"text": "Fine  day", "label": 0}], [" a"], test_texts=["fine day"])


def test_too_few_rows_and_runs_are_said():
    with pytest.raises(ValueError, match="fewer than `num_shots"):
        fewshot.sample_balanced([0, 0, 1], 2)
    with pytest.raises(ValueError, match="at least 2"):
        fewshot.summarize_runs([[0.5, 0.6]])


# -- contrastive pairs ------------------------------------------------------------------------------------------------------


def test_pairs_are_half_of_one_class_and_never_a_text_with_itself():
    labels = np.array([0, 0, 2, 2, 2, 5, 5, 5])
    first, second, same = fewshot.contrastive_pairs(labels, 200, seed=1)
    assert (first != second).all() and same.mean() == 0.5
    np.testing.assert_array_equal(labels[first] == labels[second], same == 1)
    assert set(labels[first]) == {0, 2, 5}
    again = fewshot.contrastive_pairs(labels, 200, seed=1)
    np.testing.assert_array_equal(np.array([first, second]), np.array(again[:2]))
    for few in ([0, 0, 0], [0, 0, 1]):
        with pytest.raises(ValueError, match="at least two rows"):
            fewshot.contrastive_pairs(few, 4)


def test_tuning_on_pairs_moves_classes_apart_and_leaves_the_word_vectors():
    words = [f"w{i}" for i in range(8)]
    encoder, tokenizer = tiny_encoder(), tiny_tokenizer(words)
    texts, labels = words, [0] * 4 + [1] * 4
    kept = encoder.get_input_embeddings().weight.clone()
    def margin():
        vectors = fewshot.unit(fewshot.embed(encoder, tokenizer, texts))
        cosines, same = vectors @ vectors.T, np.equal.outer(labels, labels)
        return cosines[same].mean() - cosines[~same].mean()

    before = margin()
    losses = fewshot.tune_contrastive(encoder, tokenizer, texts, labels, updates=30, learning_rate=1e-2)
    assert len(losses) == 30 and np.mean(losses[-5:]) < np.mean(losses[:5]) and margin() > before + 0.3
    assert torch.equal(encoder.get_input_embeddings().weight, kept) and not encoder.training
