"""Parallel sentences: the same sentence in a language and in English, and no sentence of the test among them.

Source: Reimers & Gurevych, 2020, *Making monolingual sentence embeddings multilingual using knowledge distillation*
(https://arxiv.org/abs/2004.09813): the translation of a sentence should get the vector that the sentence has.
"""

import csv
import io
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from leaplm.data import SIB200, is_heldout_sentence, is_own_file, position, read_topics
from leaplm.labelled_file import decode, guess_delimiter
from leaplm.locales import say
from leaplm.text import normalize

COLUMNS = ["text", "english"]
FEWEST = 100  # rows of an own file
SHARES = {"train": (0.0, 0.7), "validation": (0.7, 0.85), "test": (0.85, 1.0)}


def load_pairs(language, heldout=False):
    """Parallel sentences as {"train", "validation", "test"} of DataFrames (text, english, topic).

    language: a key of SIB200 (701, 99 and 96 rows; `topic` is one of seven words), or the path of an own CSV file with the
    columns `text` and `english` (topic is None then). heldout: the test rows are those that the grader keeps, instead.
    No English sentence stands in two parts. Raises ValueError for another language.

    >>> len(load_pairs("hau")["train"])      # doctest: +SKIP
    701
    """
    if is_own_file(language):
        return split_pairs(read_pairs(language))
    if language not in SIB200:
        raise ValueError(say("`LANGUAGE={language}` has no parallel sentences here. Use one of {languages}, or the path of "
                             "your own CSV file (columns `text,english`), such as `'my_pairs.csv'`.",
                             language=repr(language), languages=", ".join(SIB200)))  # fmt: skip
    parts = {}
    for name, rows in read_topics("eng").items():
        both = rows.merge(read_topics(language)[name][["index_id", "text"]], on="index_id", suffixes=("_english", ""))
        if name == "test":
            both = both[both.index_id.map(is_heldout_sentence) == heldout]
        renamed = both.rename(columns={"text_english": "english", "category": "topic"})
        parts[name] = renamed[[*COLUMNS, "topic"]].reset_index(drop=True)
    return parts


def read_pairs(path):
    """An own CSV file as a DataFrame (text, english). ValueError that names file, line and remedy."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(say("{path} does not exist (looked in {folder}). Put the file beside the notebook.",
                                    path=path, folder=Path.cwd()))  # fmt: skip
    content = decode(path, defaultdict(list))
    try:
        reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=guess_delimiter(content), strict=True)
        names = [str(name).strip().lower() for name in reader.fieldnames or []]
        if not set(COLUMNS) <= set(names):
            raise ValueError(say("{path}, line 1: the columns are {columns}; `text` (your language) and `english` are "
                                 "needed.", path=path, columns=names))  # fmt: skip
        reader.fieldnames = names
        rows = [take_pair(path, reader.line_num, row) for row in reader if any(row.values())]
    except csv.Error as error:
        raise ValueError(say("{path}, near line {line}: {problem}. Put texts in double quotes.", path=path,
                             line=reader.line_num, problem=error)) from None  # fmt: skip
    pairs = pd.DataFrame(rows, columns=COLUMNS)
    kept = pairs[~pairs.english.map(normalize).duplicated()]
    if len(kept) < len(pairs):
        print(say("{file}: {rows} rows have the English sentence of an earlier row and are left out.", file=path.name,
                  rows=len(pairs) - len(kept)))  # fmt: skip
    if len(kept) < FEWEST:
        raise ValueError(say("{path} has {pairs} different pairs; at least {fewest} are needed.", path=path, pairs=len(kept),
                             fewest=FEWEST))  # fmt: skip
    return kept


def take_pair(path, line, row):
    if None in row:
        raise ValueError(say("{path}, line {line}: more columns than the first line has. Put the text in double quotes.",
                             path=path, line=line))  # fmt: skip
    pair = [(row[name] or "").strip() for name in COLUMNS]
    if not all(pair):
        raise ValueError(say("{path}, line {line}: `text` or `english` is empty. Fill it or delete the line.", path=path,
                             line=line))  # fmt: skip
    return pair


def split_pairs(pairs):
    """70, 15 and 15 % by the hash of the English sentence, so adding rows does not move the others."""
    where = pairs.english.map(position)
    return {name: pairs[(where >= low) & (where < high)].assign(topic=None).reset_index(drop=True)
            for name, (low, high) in SHARES.items()}


def safe_pairs(pairs, tested):
    """The pairs (text, english), in their order, of which neither side is one of the sentences `tested`.

    Letter case and white space do not count. A translation of a test sentence in training is the test's answer.

    >>> safe_pairs([("Ina kwana", "Good morning"), ("Na gode", "Thank you")], ["thank  you"])
    [('Ina kwana', 'Good morning')]
    """
    known = {normalize(text) for text in tested}
    return [tuple(pair) for pair in pairs if not known & {normalize(side) for side in pair}]


def draw_pairs(pairs, size, seed):
    """`size` rows of a DataFrame in random order; all of them where it has fewer."""
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:size]
    return pairs.iloc[chosen].reset_index(drop=True)
