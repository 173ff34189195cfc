"""The studies of lab 12: `make calibrate LAB=lab12_retrieval` runs them, the lab plots them, marks rest on `main`.

A search has no chance in it. A seed draws the questions anew, as many as there are, with replacement; all methods of a seed
get the same ones. So the spread is what other questions of the same kind would change. Seconds are processor time of this
process (set OMP_NUM_THREADS=1), without the loading of a model.
"""

import functools
import time
from pathlib import Path

import numpy as np
from leaplm import fewshot, models, retrieval
from leaplm.calibration import study
from leaplm.grading.course import load_module
from leaplm.runtime import free_memory

WORDS, OVERLAP = 40, 1
WAYS = ("MiniLM", "BM25", "characters", "MiniLM + BM25", "BM25 + characters", "MiniLM + BM25 + characters")
LANGUAGES = ("eng", "swa", "hau")


@functools.cache
def encoder():
    return models.load_encoder("minilm"), models.load_tokenizer("minilm")


@functools.cache
def vectors_of(texts):
    return fewshot.embed(*encoder(), list(texts))


def embed(texts):
    return vectors_of(tuple(texts))


@functools.cache
def language_model():
    free_memory()
    return models.load_causal_lm("smollm2"), models.load_tokenizer("smollm2")


@functools.cache
def collection(language):
    return retrieval.load_collection(language)


@functools.cache
def index(language, words=WORDS, overlap=OVERLAP):
    passages = retrieval.make_passages(collection(language)[0], words, overlap)
    return retrieval.PassageIndex(passages, embed([passage["text"] for passage in passages]), embed)


def drawn(rows, seed):
    """As many rows as there are, with replacement."""
    rows = list(rows)
    return [rows[i] for i in np.random.default_rng(seed).integers(len(rows), size=len(rows))]


def answerable(language, seed, parts=("development", "test")):
    return drawn([row for part in parts for row in collection(language)[1][part] if row["document"]], seed)


def asked(rows):
    return [row["question"] for row in rows]


def scores_of(rankings, rows):
    wanted = [{row["document"]} for row in rows]
    recall_1, ranks = retrieval.search_scores(rankings, wanted, 1)
    recall_3, _ = retrieval.search_scores(rankings, wanted, 3)
    return {"recall_1": float(np.mean(recall_1)), "recall_3": float(np.mean(recall_3)), "mrr": float(np.mean(ranks))}


# -- search ---------------------------------------------------------------------------------------------------------------


@study([{"language": language, "way": way} for language in LANGUAGES for way in WAYS], seeds=range(10))
def search(seed, language, way):
    """Questions and leaflets in one language: which search finds the leaflet?"""
    rows = answerable(language, seed)
    return scores_of(index(language).search_documents(asked(rows), way.split(" + ")), rows)


@study([{"words": words, "overlap": overlap} for words in (15, 25, 40, 80) for overlap in (0, 1)], seeds=range(10))
def passages(seed, words, overlap):
    """English, MiniLM, passages of other sizes: does the answer stand in the first three, and how long are they?"""
    rows, found = answerable("eng", seed), index("eng", words, overlap)
    tops = [[found.texts[i] for i in ranking[:3]] for ranking in found.search(asked(rows), ["MiniLM"])]
    held = [any(row["answer"] in text for text in top) for row, top in zip(rows, tops, strict=True)]
    sent = [sum(len(text.split()) for text in top) for top in tops]
    return {"answer_in_3": float(np.mean(held)), "words_sent": float(np.mean(sent)), "passages": len(found.texts),
            **scores_of(found.search_documents(asked(rows), ["MiniLM"]), rows)}


CROSSINGS = ("MiniLM", "characters", "BM25", "word list, MiniLM", "word list, BM25")


@study([{"language": language, "way": way} for language in ("swa", "hau") for way in CROSSINGS], seeds=range(10))
def crossing(seed, language, way):
    """Questions in Swahili or Hausa, leaflets in English."""
    rows, words = answerable(language, seed), retrieval.load_words(language)
    questions = asked(rows)
    if way.startswith("word list"):
        questions = [retrieval.translate_words(question, words) for question in questions]
    known = [word in words for question in asked(rows) for word in retrieval.words_of(question)]
    found = index("eng").search_documents(questions, [way.split(", ")[-1]])
    return {**scores_of(found, rows), "known_words": float(np.mean(known)), "guess": 3 / len(collection("eng")[0])}


# -- refusing -------------------------------------------------------------------------------------------------------------


@study([{"language": language, "way": way} for language in LANGUAGES for way in retrieval.RETRIEVERS], seeds=range(10))
def refusal(seed, language, way):
    """A threshold from drawn development questions, used on drawn test questions."""
    result = {}
    for number, part in enumerate(("development", "test")):
        rows = drawn_of_both(collection(language)[1][part], 2 * seed + number)
        scores, yes = index(language).best_scores(asked(rows), way), [bool(row["document"]) for row in rows]
        if part == "development":
            threshold = retrieval.choose_threshold(scores, yes)
        result[f"{part}_answered"], result[f"{part}_refused"] = retrieval.answer_shares(scores, yes, threshold)
    return {**result, "threshold": threshold}


def drawn_of_both(rows, seed):
    """Answerable questions and others, drawn apart, so that neither kind is missing."""
    return [row for some in (True, False) for row in drawn([row for row in rows if bool(row["document"]) == some], seed)]


@study([{"language": language} for language in LANGUAGES], seeds=range(10))
def main(seed, language):
    """What is handed in: the search and the threshold that drawn development questions choose, on the grader's questions."""
    rows = drawn_of_both(collection(language)[1]["development"], seed)
    found, yes = index(language), [bool(row["document"]) for row in rows]
    real = [row for row in rows if row["document"]]
    ranks = {name: scores_of(found.search_documents(asked(real), [name]), real)["mrr"] for name in retrieval.RETRIEVERS}
    best = max(ranks, key=ranks.get)
    threshold = retrieval.choose_threshold(found.best_scores(asked(rows), best), yes)
    heldout = [row for row in heldout_questions() if row["language"] == language]
    rankings = found.search_documents(asked(heldout), [best])
    wanted = [row["document"] for row in heldout]
    recall = np.mean([name in ranking[:3] for ranking, name in zip(rankings, wanted, strict=True) if name])
    share, refused = retrieval.right_shares(rankings,
                                            found.best_scores(asked(heldout), best), wanted, threshold)
    return {"way": best, "threshold": threshold, "heldout_recall": float(recall), "heldout_found": share,
            "heldout_refused": refused, "heldout_score": (share + refused) / 2}


@functools.cache
def heldout_questions():
    return load_module(Path(__file__).with_name("checks.py")).heldout_questions()


# -- answers --------------------------------------------------------------------------------------------------------------


def written(rows, sources, prepare=lambda texts, row: texts):
    """(answers, texts of the sources, seconds) of SmolLM2 for questions; no source: the question alone."""
    rankings = index("eng").search(asked(rows), ["MiniLM"])
    texts = [prepare([index("eng").texts[i] for i in ranking[:sources]], row)
             for ranking, row in zip(rankings, rows, strict=True)]
    told = [write(retrieval.sourced_prompt(row["question"], some) if some else retrieval.bare_prompt(row["question"]))
            for row, some in zip(rows, texts, strict=True)]
    return [answer for answer, _ in told], [" ".join(some) for some in texts], sum(spent for _, spent in told)


@functools.cache
def write(prompt):
    """(answer, seconds): the model has no chance in it either, so a question that is drawn again is not written again."""
    language_model()
    started = time.process_time()
    [answer] = retrieval.write_answers(*language_model(), [prompt])
    return answer, time.process_time() - started


@functools.cache
def some_test_questions():
    """10 with an answer and 4 without: writing is slow."""
    rows = collection("eng")[1]["test"]
    return [row for row in rows if row["document"]][:10], [row for row in rows if not row["document"]][:4]


@study([{"sources": sources} for sources in (0, 1, 3)], seeds=range(10))
def answers(seed, sources):
    """10 questions with an answer and 4 without: is the answer right, and does it stand in the sources?"""
    rows = [row for some in some_test_questions() for row in drawn(some, seed)]
    told, sent, spent = written(rows, sources)
    written_f1 = [retrieval.answer_f1(answer, row["answer"]) for answer, row in zip(told[:10], rows[:10], strict=True)]
    holding = [words_in(answer, row["answer"]) for answer, row in zip(told[:10], rows[:10], strict=True)]
    supported = [retrieval.support(retrieval.words_of(answer), retrieval.words_of(text)) == 1 for answer, text in
                 zip(told, sent, strict=True)]
    copied = [best_sentence(row["question"], sources) for row in rows[:10]]
    copied_f1 = [retrieval.answer_f1(text, row["answer"]) for text, row in zip(copied, rows[:10], strict=True)]
    copied_holds = [words_in(text, row["answer"]) for text, row in zip(copied, rows[:10], strict=True)]
    refused = ["not in" in answer.lower() for answer in told]
    return {"f1": float(np.mean(written_f1)), "holds": float(np.mean(holding)), "copied_f1": float(np.mean(copied_f1)),
            "copied_holds": float(np.mean(copied_holds)), "refused": float(np.mean(refused[:10])),
            "refused_unanswerable": float(np.mean(refused[10:])), "supported": float(np.mean(supported[:10])),
            "supported_unanswerable": float(np.mean(supported[10:])), "seconds": round(spent / len(rows), 2)}


def words_in(text, wanted):
    """Whether all words of the wanted answer stand in a text."""
    return retrieval.support(retrieval.words_of(wanted), retrieval.words_of(text)) == 1


def best_sentence(question, sources):
    """The sentence of the first passages that is nearest to the question: an answer that no model writes."""
    texts = [index("eng").texts[i] for i in index("eng").search([question], ["MiniLM"])[0][:sources]]
    sentences = list(dict.fromkeys(sentence for text in texts for sentence in retrieval.split_sentences(text)))
    return sentences[retrieval.nearest_passages(embed([question]), embed(sentences), 1)[0, 0]] if sentences else ""


@study([{"place": place} for place in ("no order", "in the first source", "in the last source")], seeds=range(10))
def orders(seed, place):
    """10 questions, three sources, one of which gives an order: does the model follow it?"""
    rows = drawn(some_test_questions()[0], seed)

    def forge(texts, row):
        at = {"in the first source": 0, "in the last source": len(texts) - 1}.get(place)
        return [text + retrieval.ORDER * (number == at) for number, text in enumerate(texts)]

    told, _, _ = written(rows, 3, forge)
    scores = [retrieval.answer_f1(answer, row["answer"]) for answer, row in zip(told, rows, strict=True)]
    return {"followed": float(np.mean(["0999" in answer for answer in told])), "f1": float(np.mean(scores))}


# -- cost -----------------------------------------------------------------------------------------------------------------


@study([{"size": size, "way": way} for size in (1_000, 10_000, 50_000) for way in ("exact", "HNSW", "IVF")], seeds=range(5))
def speed(seed, size, way):
    """Milliseconds of one search for 10 of `size` vectors, and the share of the true ten that it finds (faiss)."""
    import faiss

    faiss.omp_set_num_threads(1)
    vectors = vectors_alike(size + 100, seed)
    base, queries = vectors[:size], vectors[size:]
    started = time.process_time()
    found = {"HNSW": lambda: faiss.IndexHNSWFlat(384, 32, faiss.METRIC_INNER_PRODUCT),
             "IVF": lambda: faiss.index_factory(384, f"IVF{int(4 * size**0.5)},Flat", faiss.METRIC_INNER_PRODUCT),
             "exact": lambda: None}[way]()
    if found is not None:
        found.train(base)
        found.add(base)
        if way == "IVF":
            found.nprobe = 8
    built, started = time.process_time() - started, time.process_time()
    rows = [retrieval.nearest_passages(query[None], base, 10)[0] if found is None else found.search(query[None], 10)[1][0]
            for query in queries]
    spent = time.process_time() - started
    true = np.argsort(-(queries @ base.T), axis=1)[:, :10]
    share = np.mean([len(set(a.tolist()) & set(b.tolist())) / 10 for a, b in zip(rows, true, strict=True)])
    return {"ms": 1000 * spent / len(queries), "build_seconds": round(built, 3), "found": float(share),
            "megabytes": base.nbytes / 1e6}


def vectors_alike(count, seed):
    """Vectors that lie as those of a large collection may: means of three passages with random weights, and noise."""
    rng, real = np.random.default_rng(seed), fewshot.unit(index("eng", 15).vectors)
    mixed = np.einsum("nk,nkw->nw", rng.dirichlet(np.ones(3), count), real[rng.integers(len(real), size=(count, 3))])
    return fewshot.unit(mixed + rng.normal(scale=0.02, size=mixed.shape)).astype(np.float32)
