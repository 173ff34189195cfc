"""Lab 13: what it teaches is what the library does, and the library agrees with scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from leaplm import fewshot, transfer
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import Ridge
from solved import solved_lab

lab13 = solved_lab("lab13_transfer")
RNG = np.random.default_rng(0)


def test_lab13_pairs_and_pieces_are_the_librarys(lab13):
    pairs = [("Ina kwana", "Good morning"), ("Na gode", "Thank you"), ("Sannu", "Hello")]
    tested = ["thank  YOU", "sannu"]
    assert lab13["safe_pairs"](pairs, tested) == transfer.safe_pairs(pairs, tested) == pairs[:1]
    text = "Ọjọ́ dára a በጣም"
    assert lab13["character_pieces"](text, 2, 5) == transfer.character_pieces(text, 2, 5)


def test_lab13_features_and_map_are_the_librarys(lab13):
    counts, rarity = torch.tensor([[2.0, 0, 1], [0, 0, 0]]), torch.tensor([1.0, 2, 3])
    np.testing.assert_allclose(lab13["weigh_counts"](counts, rarity), transfer.weigh_counts(counts, rarity), atol=1e-6)
    x, y, dev, dev_y = (torch.from_numpy(RNG.normal(size=size)) for size in ((6, 9), (6, 3), (4, 9), (4, 3)))
    for ours, theirs in zip(transfer.fit_map(x, y, 0.5), lab13["fit_map"](x, y, 0.5), strict=True):
        np.testing.assert_allclose(theirs, ours)
    penalties = (0.01, 1.0, 30.0)
    assert lab13["choose_penalty"](x, y, dev, dev_y, penalties) == transfer.choose_penalty(x, y, dev, dev_y, penalties)


def test_lab13_gain_is_the_librarys(lab13):
    labels, first, second = (RNG.integers(0, 3, 30) for _ in range(3))
    assert lab13["paired_gain"](labels, first, second, 20, 3) == pytest.approx(
        transfer.paired_gain(labels, first, second, 20, 3))


def test_lab13_student_learns_as_the_librarys(lab13):
    ids, wanted, found = torch.tensor([[3, 4, 0], [5, 0, 0], [6, 7, 8]]), torch.randn(3, 4), []
    for part in (lab13, vars(transfer)):
        torch.manual_seed(0)
        model = part["SentenceStudent"](10, 6, 4)
        cosines = part["distil"](model, [(ids, wanted)], (ids, wanted.flip(0)), 3, 0.1)
        found.append((cosines, model(ids).detach()))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-5) and torch.allclose(found[0][1], found[1][1], atol=1e-5)


@given(st.text(alphabet="abọ́ጣ ,", max_size=20), st.integers(1, 3), st.integers(0, 3))
def test_pieces_are_scikit_learns(text, smallest, more):
    analyzer = CountVectorizer(analyzer="char_wb", ngram_range=(smallest, smallest + more), lowercase=False)
    assert sorted(transfer.character_pieces(text, smallest, smallest + more)) == sorted(analyzer.build_analyzer()(text))


def test_features_and_ridge_are_scikit_learns():
    counts = RNG.poisson(1.0, size=(6, 8)).astype(float)
    ours = transfer.weigh_counts(counts, transfer.inverse_frequencies(counts))
    np.testing.assert_allclose(ours, TfidfTransformer(sublinear_tf=True).fit_transform(counts).toarray(), atol=1e-9)
    y = RNG.normal(size=(6, 3))
    weights, bias = transfer.fit_map(counts, y, 2.0)
    theirs = Ridge(alpha=2.0).fit(counts, y)
    np.testing.assert_allclose(weights.T, theirs.coef_, atol=1e-8)
    np.testing.assert_allclose(bias, theirs.intercept_, atol=1e-8)


def test_the_handed_in_model_says_what_map_and_head_say():
    texts = ["Likita ya duba yaron.", "Kasuwa ta buɗe", "ruwa"]
    counts = transfer.count_pieces(texts)
    rarity, weights, bias = transfer.inverse_frequencies(counts), RNG.normal(size=(8192, 4)), RNG.normal(size=4)
    head, intercept = RNG.normal(size=(3, 4)), RNG.normal(size=3)
    vectors = fewshot.unit(transfer.weigh_counts(counts, rarity) @ weights + bias)
    model = transfer.make_classifier(rarity, weights, bias, head, intercept)
    np.testing.assert_array_equal(model.predict(texts), (vectors @ head.T + intercept).argmax(axis=1))


@pytest.mark.parametrize(("content", "told"), [
    ("text,label\na,b\n", "line 1: the columns are"),
    ("text,english\nSannu,\n", "line 2: `text` or `english` is empty"),
    ("text,english\nSannu,Hello,there\n", "line 2: more columns"),
    ("text,english\nSannu,Hello\n", "has 1 different pairs; at least"),
])  # fmt: skip
def test_a_file_of_translations_that_cannot_be_read_says_why(tmp_path, content, told):
    path = tmp_path / "mine.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        transfer.load_pairs(str(path))


def test_no_english_sentence_of_an_own_file_stands_in_two_parts(tmp_path):
    path = tmp_path / "mine.csv"
    lines = [f"Stall {i} is open;Rumfa {i} ta buɗe" for i in range(120)]
    path.write_text("english;text\n" + "\n".join(lines), encoding="utf-8")
    parts = transfer.load_pairs(str(path))
    assert sum(map(len, parts.values())) == 120 and len(set().union(*(rows.english for rows in parts.values()))) == 120


def test_another_language_is_refused():
    with pytest.raises(ValueError, match="has no parallel sentences here"):
        transfer.load_pairs("pcm")
