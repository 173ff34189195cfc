"""Answers from documents: cut them, search them, answer with sources, and say when they do not tell (lab 12).

documents: the course's leaflets, or a folder of one's own. searching: passages and their ranking. measures: recall and
reciprocal rank, the threshold for refusing. answering: prompts with numbered sources, whether an
answer stands in its source.
"""

from leaplm.retrieval.answering import (
    INSTRUCTION,
    ORDER,
    answer_f1,
    bare_prompt,
    sourced_prompt,
    support,
    write_answers,
)
from leaplm.retrieval.documents import load_collection, load_words, read_documents
from leaplm.retrieval.measures import (
    answer_shares,
    choose_threshold,
    right_answers,
    right_shares,
    search_scores,
)
from leaplm.retrieval.searching import (
    RETRIEVERS,
    PassageIndex,
    bm25_scores,
    character_scores,
    cosines,
    fuse_ranks,
    make_passages,
    nearest_passages,
    split_passages,
    split_sentences,
    translate_words,
    update_vectors,
    words_of,
)

__all__ = [
    "INSTRUCTION",
    "ORDER",
    "PassageIndex",
    "RETRIEVERS",
    "answer_f1",
    "answer_shares",
    "bare_prompt",
    "bm25_scores",
    "character_scores",
    "choose_threshold",
    "cosines",
    "fuse_ranks",
    "load_collection",
    "load_words",
    "make_passages",
    "nearest_passages",
    "read_documents",
    "right_answers",
    "right_shares",
    "search_scores",
    "sourced_prompt",
    "split_passages",
    "split_sentences",
    "support",
    "translate_words",
    "update_vectors",
    "words_of",
    "write_answers",
]
