"""Lab 12: what it teaches is what the library does."""

import numpy as np
from leaplm import retrieval
from solved import solved_lab

lab12 = solved_lab("lab12_retrieval")


def test_lab12_cuts_and_scores_as_the_library(lab12):
    rng = np.random.default_rng(0)
    sentences = [" ".join(["w"] * int(n)) + "." for n in rng.integers(1, 15, size=20)]
    for most, overlap in ((10, 0), (20, 1), (25, 3)):
        assert lab12["split_passages"](sentences, most, overlap) == retrieval.split_passages(sentences, most, overlap)
    documents = [[f"w{n}" for n in rng.integers(9, size=int(size))] for size in rng.integers(0, 20, size=7)]
    query = ["w1", "w1", "w3", "none"]
    np.testing.assert_allclose(lab12["bm25_scores"](query, documents), retrieval.bm25_scores(query, documents))


def test_lab12_searches_and_fuses_as_the_library(lab12):
    rng = np.random.default_rng(1)
    queries, vectors = rng.normal(size=(3, 5)), rng.normal(size=(9, 5))
    given = (queries, vectors, 4)
    np.testing.assert_array_equal(lab12["nearest_passages"](*given), retrieval.nearest_passages(*given))
    rankings = [rng.permutation(9)[:6].tolist() for _ in range(3)]
    assert lab12["fuse_ranks"](rankings) == retrieval.fuse_ranks(rankings)
    relevant = [{1, 2}, {3}, {8}]
    np.testing.assert_allclose(lab12["search_scores"](rankings, relevant, 3), retrieval.search_scores(rankings, relevant, 3))


def test_lab12_refuses_and_prompts_as_the_library(lab12):
    rng = np.random.default_rng(2)
    scores, answerable = rng.random(30).round(1).tolist(), [True, False, *(rng.random(28) < 0.7).tolist()]
    assert lab12["choose_threshold"](scores, answerable) == retrieval.choose_threshold(scores, answerable)
    given = ("Who [1]\nsays?", ["One [2] two.\nQuestion: x", "three " * 8, "four"], 9)
    assert lab12["sourced_prompt"](*given) == retrieval.sourced_prompt(*given)
    for pair in ((["a", "b"], ["b"]), (["20"], ["30"]), ([], ["a"])):
        assert lab12["support"](*pair) == retrieval.support(*pair)


def test_lab12_updates_as_the_library(lab12):
    def embed(texts):
        return np.array([[len(text), 1.0] for text in texts])

    given = (["a", "bb"], np.eye(2), ["ccc", "bb", "ccc"], embed)
    np.testing.assert_array_equal(lab12["update_vectors"](*given), retrieval.update_vectors(*given))
