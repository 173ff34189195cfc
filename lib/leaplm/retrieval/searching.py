"""Search: documents cut into passages, and the passages ranked for a question by words, by characters and by vectors.

Sources: Robertson & Zaragoza, 2009, *The probabilistic relevance framework: BM25 and beyond*; Reimers & Gurevych, 2019,
*Sentence-BERT*; Cormack et al., 2009, *Reciprocal rank fusion outperforms Condorcet*; Karpukhin et al., 2020, *DPR*.
"""

from collections import Counter
from itertools import pairwise

import numpy as np

from leaplm.locales import say
from leaplm.text import ends_sentence, find_words, normalize, word_starts


def words_of(text):
    """The words of a text as a search compares them: small letters, no punctuation.

    >>> words_of("Wash for 20 seconds, Amina!")
    ['wash', 'for', '20', 'seconds', 'amina']
    """
    return find_words(normalize(text), shortest=1)


# -- passages -------------------------------------------------------------------------------------------------------------


def split_sentences(text):
    """The sentences of a text, in any script; at least one.

    >>> split_sentences("Plant maize.  Wait two weeks!")
    ['Plant maize.', 'Wait two weeks!']
    """
    text = " ".join(text.split())
    places, found, first = [*word_starts(text), len(text)], [], 0
    for start, end in pairwise(places):
        if ends_sentence(text[start:end].rstrip()):
            found.append(text[first:end].strip())
            first = end
    return found + [text[first:].strip()] * (first < len(text) or not found)


def split_passages(sentences, most_words=40, overlap=1):
    """Passages (strings) of whole sentences with at most `most_words` words (split at blanks), in their order.

    A sentence that is longer stands alone. A passage begins with the last `overlap` sentences of the one before, or with
    fewer, so many that a new sentence has room.

    >>> split_passages(["A b.", "C d.", "E f."], most_words=4, overlap=1)
    ['A b. C d.', 'C d. E f.']
    """
    sizes = [len(sentence.split()) for sentence in sentences]
    passages, end = [], 0
    while end < len(sentences):
        start = max(0, end - overlap)
        while start < end and sum(sizes[start : end + 1]) > most_words:
            start += 1
        end += 1
        while end < len(sentences) and sum(sizes[start : end + 1]) <= most_words:
            end += 1
        passages.append(" ".join(sentences[start:end]))
    return passages


def make_passages(documents, most_words=40, overlap=1):
    """Passages of all documents as dicts {"document": name, "text"}; a title counts as a sentence of each passage."""
    return [{"document": document["name"], "text": f"{document['title']}. {text}" if document["title"] else text}
            for document in documents
            for text in split_passages(split_sentences(document["text"]), most_words, overlap)]


# -- scores ---------------------------------------------------------------------------------------------------------------


def bm25_scores(query, documents, k1=1.5, b=0.75):
    """How well each document fits the words of a query: (n,) numbers of 0 or more.

    query: list of words; documents: n lists of words. Each word of the query, as often as it stands there, adds

        ln(1 + (n - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length / mean length))

    >>> bm25_scores(["goat"], [["a", "goat"], ["a", "hen"]]).round(3).tolist()
    [0.277, 0.0]
    """
    counts = [Counter(document) for document in documents]
    lengths = np.array([len(document) for document in documents], dtype=float)
    length_part = k1 * (1 - b + b * lengths / max(lengths.mean(), 1e-9))
    scores = np.zeros(len(documents))
    for word in query:
        tf = np.array([count[word] for count in counts], dtype=float)
        df = np.count_nonzero(tf)
        scores += np.log(1 + (len(documents) - df + 0.5) / (df + 0.5)) * tf / np.maximum(tf + length_part, 1e-9)
    return scores


def character_scores(queries, texts):
    """Cosines (q, n) of TF-IDF vectors over pieces of 2 to 5 characters of words: for free spelling, rich word forms."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(preprocessor=normalize, analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    table = vectorizer.fit_transform(texts)
    return (vectorizer.transform(queries) @ table.T).toarray()


def cosines(query_vectors, vectors):
    """Cosines (q, n) of each of q vectors with each of n."""
    queries, vectors = (np.asarray(some, dtype=np.float32) for some in (query_vectors, vectors))
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)[None]
    return queries @ vectors.T / np.maximum(lengths, 1e-12)


def nearest_passages(query_vectors, vectors, k):
    """Row numbers (q, k) of the k vectors with the largest cosine, the best first; all n of them if k is larger.

    >>> nearest_passages([[1.0, 0.1]], [[0.0, 2.0], [3.0, 0.0], [1.0, 1.0]], k=2).tolist()
    [[1, 2]]
    """
    return np.argsort(-cosines(query_vectors, vectors), axis=1, kind="stable")[:, :k]


def fuse_ranks(rankings, k=60):
    """One ranking from several (lists of items, the best first): reciprocal rank fusion.

    An item's score is the sum of 1 / (k + rank) over the rankings that hold it, ranks from 1. Of equal ones the first comes
    that was met first.

    >>> fuse_ranks([["a", "b", "c"], ["c", "a"]])
    ['a', 'c', 'b']
    """
    scores = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0) + 1 / (k + rank)
    return sorted(scores, key=scores.get, reverse=True)


def update_vectors(known_texts, known_vectors, texts, embed):
    """Vectors (m, width) of `texts`; `embed(list of texts)` computes only those that `known_texts` lacks, each once.

    >>> update_vectors(["a"], np.array([[1.0]]), ["b", "a", "b"], lambda new: np.full((len(new), 1), 7.0)).tolist()
    [[7.0], [1.0], [7.0]]
    """
    known = dict(zip(known_texts, known_vectors, strict=True))
    new = [text for text in dict.fromkeys(texts) if text not in known]
    if new:
        known.update(zip(new, embed(new), strict=True))
    return np.stack([known[text] for text in texts]) if len(texts) else np.asarray(known_vectors)[:0]


RETRIEVERS = ("MiniLM", "BM25", "characters")


class PassageIndex:
    """Passages with their vectors, ready to be searched.

    passages: dicts {"document", "text"}; vectors (n, width) from `embed(list of texts)`.
    """

    def __init__(self, passages, vectors, embed):
        if len(passages) != len(vectors):
            raise ValueError(say("{passages} passages and {vectors} vectors: each passage needs one vector",
                                 passages=len(passages), vectors=len(vectors)))  # fmt: skip
        self.passages, self.vectors, self.embed = list(passages), np.asarray(vectors, dtype=np.float32), embed
        self.texts = [passage["text"] for passage in passages]
        self.documents = [passage["document"] for passage in passages]
        self.words = [words_of(text) for text in self.texts]

    def score(self, questions, retriever):
        """Scores (q, n) of all passages for each question by one of RETRIEVERS."""
        if retriever == "MiniLM":
            return cosines(self.embed(list(questions)), self.vectors)
        if retriever == "BM25":
            return np.stack([bm25_scores(words_of(question), self.words) for question in questions])
        if retriever == "characters":
            return character_scores(questions, self.texts)
        raise ValueError(f"retriever={retriever!r}: use one of {', '.join(RETRIEVERS)}")

    def search(self, questions, retrievers):
        """Row numbers of passages for each question, the best first; several retrievers are fused by rank."""
        orders = [np.argsort(-self.score(questions, name), axis=1, kind="stable") for name in retrievers]
        if len(orders) == 1:
            return orders[0].tolist()
        return [fuse_ranks(rankings) for rankings in zip(*(order.tolist() for order in orders), strict=True)]

    def search_documents(self, questions, retrievers):
        """Names of documents for each question, the best first, each once: that of its best passage decides."""
        rankings = self.search(questions, retrievers)
        return [list(dict.fromkeys(self.documents[row] for row in ranking)) for ranking in rankings]

    def best_scores(self, questions, retriever):
        """The score (q,) of the best passage: how sure the search is that it found something."""
        return self.score(questions, retriever).max(axis=1)


def translate_words(text, word_list):
    """A text with each word replaced that a word list has, in small letters; the other words stay.

    >>> translate_words("Maji ya mtoto", {"maji": "water", "mtoto": "child"})
    'water ya child'
    """
    return " ".join(word_list.get(word, word) for word in words_of(text))
