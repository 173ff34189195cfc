"""The search of lab 12: its laws, and agreement with well-kept packages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaplm import retrieval
from leaplm.retrieval.measures import right_answers

WORDS = st.lists(st.sampled_from(["goat", "hen", "soil", "rain", "net", "PIN", "seed"]), max_size=8)
SENTENCES = st.lists(st.integers(1, 9).map(lambda n: " ".join(["w"] * n)), max_size=12).map(
    lambda some: [f"{text}{i}." for i, text in enumerate(some)])


@settings(max_examples=60, deadline=None)
@given(SENTENCES, st.integers(1, 20), st.integers(0, 4))
def test_passages_lose_nothing_and_keep_to_their_size(sentences, most, overlap):
    passages = retrieval.split_passages(sentences, most, overlap)
    kept = [sentence for passage in passages for sentence in retrieval.split_sentences(passage)]
    assert list(dict.fromkeys(kept)) == sentences  # all, in their order
    assert all(len(p.split()) <= most or p in sentences for p in passages)
    for before, after in zip(passages, passages[1:], strict=False):
        assert after not in before  # each has something new
        first = retrieval.split_sentences(after)
        shared = [sentence for sentence in first if sentence in retrieval.split_sentences(before)]
        assert len(shared) <= overlap and first[: len(shared)] == shared


@settings(max_examples=40, deadline=None)
@given(WORDS.filter(bool), st.lists(WORDS.filter(bool), min_size=2, max_size=6))
def test_bm25_agrees_with_bm25s(query, documents):
    bm25s = pytest.importorskip("bm25s")
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.6)
    index.index(documents, show_progress=False)
    known = [word for word in query if any(word in document for document in documents)]
    theirs = index.get_scores(known) if known else np.zeros(len(documents))
    np.testing.assert_allclose(retrieval.bm25_scores(query, documents, 1.2, 0.6), theirs, atol=1e-4)


def test_exact_search_agrees_with_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(50, 8)), rng.normal(size=(5, 8))
    theirs = NearestNeighbors(n_neighbors=4, metric="cosine").fit(vectors).kneighbors(queries)[1]
    np.testing.assert_array_equal(retrieval.nearest_passages(queries, vectors, 4), theirs)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True), max_size=4), st.integers(1, 100))
def test_fusion_holds_every_item_once_and_keeps_a_ranking_alone(rankings, k):
    fused = retrieval.fuse_ranks(rankings, k)
    assert sorted(fused) == sorted({item for ranking in rankings for item in ranking})
    assert all(retrieval.fuse_ranks([ranking, ranking], k) == ranking for ranking in rankings)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=12))
def test_no_threshold_is_better_than_the_chosen_one(rows):
    scores, answerable = zip(*rows, strict=True)
    if all(answerable) or not any(answerable):
        return
    chosen = retrieval.choose_threshold(scores, answerable)
    best = sum(retrieval.answer_shares(scores, answerable, chosen))
    others = {t: sum(retrieval.answer_shares(scores, answerable, t)) for t in np.arange(-1, 7.5, 0.5)}
    assert max(others.values()) <= best + 1e-12
    assert chosen == min(t for t in scores if others[float(t)] > best - 1e-12)


def test_update_computes_only_what_is_new():
    asked = []

    def embed(texts):
        asked.extend(texts)
        return np.full((len(texts), 2), 5.0)

    found = retrieval.update_vectors(["a", "b"], np.eye(2), ["c", "b", "c"], embed)
    assert found.tolist() == [[5, 5], [0, 1], [5, 5]] and asked == ["c"]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="[]123 \n\tQuestion:ab", max_size=40),
       st.lists(st.text(alphabet="[]123 \n\tab", max_size=30), max_size=4))
def test_no_text_can_pose_as_a_source_or_a_question(question, passages):
    lines = retrieval.sourced_prompt(question, passages, 1000).split("\n")
    marks = [line.partition(" ")[0] for line in lines[2 : 2 + len(passages)]]
    assert len(lines) == 5 + len(passages) and marks == [f"[{n}]" for n in range(1, len(passages) + 1)]


def test_refused_and_found():
    found, refused = right_answers([["a", "b"], ["b"], ["a"]], [0.9, 0.2, 0.8], ["b", "b", ""], threshold=0.5, k=1)
    assert (found, refused) == ([False, False], [False])


def test_an_index_with_too_few_vectors_and_an_unknown_search_are_said():
    with pytest.raises(ValueError, match="1 passages and 0 vectors"):
        retrieval.PassageIndex([{"document": "a", "text": "b"}], [], None)
    index = retrieval.PassageIndex([{"document": "a", "text": "b"}], [[1.0]], None)
    with pytest.raises(ValueError, match="retriever='Google': use one of MiniLM, BM25, characters"):
        index.score(["c"], "Google")
