"""Labelled text from the course's assets or from a student's own CSV, as `datasets.DatasetDict`s.

Splits are a function of the text itself (a hash), so they are the same on every machine, a sentence that occurs twice
never lies on both sides, and adding rows to a CSV does not move the others.
"""

import csv
import functools
import hashlib
import os

import numpy as np
import pandas as pd
import pyarrow as pa

from leaplm import added
from leaplm.assets import asset_path
from leaplm.labelled_file import read_labelled_csv
from leaplm.locales import say
from leaplm.runtime import COURSE_SECRET
from leaplm.text import ends_sentence, normalize, split_words, word_starts

DOMAINS = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
}
AFRISENTI = ("hau", "ibo", "yor", "amh", "swa", "pcm", "kin", "por")
MARKED = ("eng", *AFRISENTI)  # the languages of `load_sentiment` for which the grader has rows of its own
HELDOUT_SENTENCES = 108  # of SIB-200, the same ones in every language
FEW_HELDOUT = {"swa": 385, "kin": 517}  # such rows where there are fewer than 600
SIB200 = {
    "eng": "eng_Latn", "hau": "hau_Latn", "swa": "swh_Latn", "ibo": "ibo_Latn", "yor": "yor_Latn", "amh": "amh_Ethi",
    "arb": "arb_Arab", "ben": "ben_Beng", "fra": "fra_Latn", "hin": "hin_Deva", "ind": "ind_Latn", "khm": "khm_Khmr",
    "mya": "mya_Mymr", "por": "por_Latn", "quy": "quy_Latn", "spa": "spa_Latn", "tgl": "tgl_Latn", "urd": "urd_Arab",
    "vie": "vie_Latn", "zho": "zho_Hans",
}
NAMES = {
    "eng": "English", "hau": "Hausa", "swa": "Swahili", "ibo": "Igbo", "yor": "Yoruba", "amh": "Amharic", "arb": "Arabic",
    "ben": "Bengali", "fra": "French", "hin": "Hindi", "ind": "Indonesian", "khm": "Khmer", "mya": "Burmese",
    "por": "Portuguese", "quy": "Quechua", "spa": "Spanish", "tgl": "Tagalog", "urd": "Urdu", "vie": "Vietnamese",
    "zho": "Chinese", "pcm": "Nigerian Pidgin", "kin": "Kinyarwanda",
}
NEUTRAL_BAND = 0.5  # mean ratings in (-0.5, 0.5) on the scale [-4, 4]: raters disagree on the sign
MOST_UNKNOWN = 0.2  # of the tokens of some texts, before we say so
SHARES = {"train": 0.65, "validation": 0.1, "test": 0.125, "heldout": 0.125}


def load_sentiment(language="eng", domain="movies"):
    """Sentiment sentences in `language`, split into train, validation and test.

    language: "eng" (two classes from mean human ratings; Hutto & Gilbert, ICWSM 2014), one of AFRISENTI (tweets, three
    classes; Muhammad et al., SemEval 2023), or the path of a CSV file with the columns `text` and `label`.
    domain: "movies", "tweets" or "products" for "eng"; other languages have one kind of text, and it is ignored.
    Returns a DatasetDict; each row has `text` (str) and `label` (int); `features["label"].names` are the classes.

    >>> data = load_sentiment("eng")            # doctest: +SKIP
    >>> data["train"].features["label"].names   # doctest: +SKIP
    ['negative', 'positive']
    """
    splits = sentiment_frames(language, domain)
    splits.pop("heldout")
    return to_dataset_dict(splits)


def load_topics(language="eng"):
    """Sentences with one of seven topics, the same ones in every language (SIB-200; Adelani et al., EACL 2024).

    language: a key of SIB200 ("swa" is its Swahili). 701 train, 99 validation, 204 test rows with `text` and `label`;
    row i of a split is the same sentence in all languages. Raises ValueError for another language.

    >>> load_topics("swa")["test"].features["label"].names      # doctest: +SKIP
    ['entertainment', 'geography', 'health', 'politics', 'science/technology', 'sports', 'travel']
    """
    parts = read_topics(language)
    return to_dataset_dict({part: rows.rename(columns={"category": "label"})[["text", "label"]]
                            for part, rows in parts.items()})


def load_sentences(language="eng"):
    """Sentences without labels as a dict of lists: train, validation and test.

    language: a key of SIB200 (row i of a part is then the same sentence in all of them; 701, 99 and 96 sentences), another
    language of AFRISENTI, or the path of a CSV file (columns text,label). The grader's sentences are not among them.
    """
    if language not in SIB200:
        return {part: rows["text"][:] for part, rows in load_corpus(language).items()}
    parts = read_topics(language)
    parts["test"] = parts["test"][~parts["test"].index_id.map(is_heldout_sentence)]
    return {part: rows.text.tolist() for part, rows in parts.items()}


def heldout_sentences(language):
    """The sentences that `load_sentences` does not give, the same ones in every language; a saved tokenizer is marked on
    them. Raises ValueError for a language that has none (such as a student's own CSV)."""
    if language not in SIB200:
        raise ValueError(f"language {language!r} cannot be marked; use one of: {', '.join(SIB200)}")
    rows = read_topics(language)["test"]
    return rows[rows.index_id.map(is_heldout_sentence)].text.tolist()


def is_heldout_sentence(index_id, secret=None):
    """Whether the grader keeps this sentence of SIB-200's test part for itself; by its number, so in every language."""
    return is_heldout(index_id, 0, 0.5, secret)


def read_topics(language):
    """SIB-200 of one language as DataFrames (index_id, category, text): train, validation and test."""
    if language not in SIB200:
        raise ValueError(say("language {language} has no topics here. Use one of: {languages}.", language=repr(language),
                             languages=", ".join(SIB200)))  # fmt: skip
    folder = asset_path("sib200") / SIB200[language]
    files = {"train": "train", "validation": "dev", "test": "test"}
    frames = {part: pd.read_csv(folder / f"{file}.tsv", sep="\t", quoting=csv.QUOTE_NONE, keep_default_na=False)
              for part, file in files.items()}
    # The files of some languages are in another order; index_id is the sentence's number in all of them.
    return {part: rows.sort_values("index_id") for part, rows in frames.items()}


def load_corpus(language="eng"):
    """Texts without labels for pretraining, split into train, validation and test.

    language: as in `load_sentiment`. "eng" takes all three domains and the sentences without a clear sentiment too. No
    text that a lab tests on is in the training part: the splits are those of `load_sentiment`.
    Returns a DatasetDict; each row has `text`.

    >>> len(load_corpus("eng")["train"])        # doctest: +SKIP
    12028
    """
    import datasets

    if language == "eng":
        frames = split(pd.concat([read_all_ratings(domain) for domain in DOMAINS])[["text"]])
    else:
        frames = sentiment_frames(language)
    return datasets.DatasetDict({part: datasets.Dataset.from_dict({"text": frames[part].text.tolist()})
                                 for part in ("train", "validation", "test")})


def domains(language):
    """The kinds of text there are for a language: three for "eng", one (called "all") otherwise."""
    return tuple(DOMAINS) if language == "eng" else ("all",)


def sentiment_frames(language="eng", domain="movies"):
    """Four DataFrames (text, label as a word): train, validation, test, and heldout, which only the grader reads."""
    if is_own_file(language):
        return with_every_class(split(drop_copies(read_own(language))))
    if language in MARKED:
        asset = asset_path("vader" if language == "eng" else "afrisenti")
        return dict(_frames_of_course(language, domain if language == "eng" else None, asset, os.environ.get(COURSE_SECRET)))
    raise ValueError(say("`LANGUAGE={language}` is not known. Use `'eng'`, one of {languages}, or the path of your own CSV "
                         "file (columns `text,label`), such as `'my_sentences.csv'`.", language=repr(language),
                         languages=", ".join(AFRISENTI)))  # fmt: skip


@functools.lru_cache(maxsize=4)
def _frames_of_course(language, domain, asset, secret):
    """Kept, since a lab and its marks ask for the same rows again and again; asset and secret decide them, too."""
    return split(read_ratings(domain)) if language == "eng" else read_afrisenti(language)


def heldout_rows(language, size=600, domain="movies"):
    """The rows on which a saved classifier is marked: `size` of the part that `load_sentiment` does not give.

    domain: as in `load_sentiment`. Raises ValueError for a language that the grader has no rows for (such as a
    student's own CSV that no teacher has added, see `added`).
    """
    language = marked_language(language)
    parts = sentiment_frames(language, domain)
    if is_own_file(language):
        parts["heldout"] = read_added(added.find(language).heldout)
    return subsample(to_dataset_dict(parts, ["heldout"])["heldout"], size, seed=0)


def marked_language(language):
    """A language for which the grader has rows, as the loaders take it: a code, or the path of the file that was added.

    For what a submission says: a file that it names is never read, only the one of the same name that a teacher has added.
    Raises ValueError where there are no such rows.
    """
    if language in MARKED:
        return language
    own = added.find(language) if is_own_file(language) else None
    if own is None or not own.heldout.is_file():
        raise ValueError(f"language {language!r} cannot be marked; train on 'eng' or one of {', '.join(AFRISENTI)}")
    return str(own.texts)


def read_added(path):
    """The rows of a file that `leaplm add-language` wrote, as a DataFrame (text, label)."""
    return read_labelled_csv(path, tell=lambda line: None)


def read_ratings(domain):
    """One English domain as a DataFrame (text, label): the sign of the mean rating, unclear ones left out."""
    if domain not in DOMAINS:
        raise ValueError(f"domain={domain!r} is not known. Use one of: {', '.join(DOMAINS)}.")
    rows = read_all_ratings(domain)
    rows = rows[rows.rating.abs() >= NEUTRAL_BAND]
    rows["label"] = np.where(rows.rating > 0, "positive", "negative")
    return rows[["text", "label"]]


def read_all_ratings(domain):
    """One English domain as a DataFrame (id, rating, text)."""
    path = asset_path("vader") / DOMAINS[domain]
    return pd.read_csv(path, sep="\t", names=["id", "rating", "text"], quoting=csv.QUOTE_NONE, dtype={"text": str})


def read_afrisenti(language):
    """The official splits of one AfriSenti language; the official test half by hash into test and heldout.

    Sentences that occur in an earlier split are left out of the later ones.
    """
    folder = asset_path("afrisenti") / language
    parts = {name: read_tweets(folder / f"{file}.tsv") for name, file in
             (("train", "train"), ("validation", "dev"), ("official", "test"))}
    first = drop_seen(parts)
    official = first.pop("official")
    heldout = official.text.map(lambda text: is_heldout(text, 0, 0.5))
    return {**first, "test": official[~heldout], "heldout": official[heldout]}


def read_tweets(path):
    rows = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, dtype=str, keep_default_na=False)
    return rows.rename(columns={"tweet": "text"})[["text", "label"]]


def drop_seen(parts):
    """Leave out of each part, in order, the sentences that it or an earlier part already has."""
    seen, kept = set(), {}
    for name, rows in parts.items():
        keys = rows.text.map(normalize)
        kept[name] = rows[~keys.isin(seen) & ~keys.duplicated()]
        seen.update(keys)
    return kept


def read_own(path):
    """A student's own CSV as a DataFrame (text, label), with enough rows of each class (see `labelled_file`)."""
    rows = read_labelled_csv(path)
    check_classes(rows[~rows.text.map(normalize).duplicated()], path)  # copies are in no split, and not to be counted
    return rows


def check_classes(rows, path, minimum=20):
    """At least two classes, and enough rows of each that every split has some."""
    counts = rows.label.value_counts()
    if len(counts) < 2:
        raise ValueError(say("{path} has only the label {label}; at least two are needed.", path=path,
                             label=repr(counts.index[0])))  # fmt: skip
    if counts.min() < minimum:
        raise ValueError(say("{path}: label {label} has {rows} different rows; at least {minimum} are needed.", path=path,
                             label=repr(counts.idxmin()), rows=counts.min(), minimum=minimum))  # fmt: skip
    return rows


def position(text):
    """A number in [0, 1) that depends on the text alone (its normal form)."""
    return int.from_bytes(hashlib.sha256(normalize(text).encode()).digest()[:8], "big") / 2**64


def is_own_file(language):
    """Whether LANGUAGE names a student's own CSV file."""
    return str(language).lower().endswith(".csv")


def drop_copies(rows):
    """The rows without those whose text an earlier row has; says how many they are."""
    keys = rows.text.map(normalize)
    if copies := int(keys.duplicated().sum()):
        doubtful = int((rows.groupby(keys).label.nunique() > 1).sum())
        print(say("{copies} rows have the same text as an earlier row and are left out.", copies=copies))
        if doubtful:
            print(say("{doubtful} of these texts have two labels, and the first one counts.", doubtful=doubtful))
    return rows[~keys.duplicated()]


def is_heldout(key, low=1 - SHARES["heldout"], high=1.0, secret=None):
    """Whether the grader keeps a row for itself: the position of its text (or number) lies in [low, high).

    Where COURSE_SECRET is set, as for an exam, the secret takes part in the draw, so that nobody else knows the rows.
    secret: another one than COURSE_SECRET; "" draws as if there were none.
    """
    secret = os.environ.get(COURSE_SECRET) if secret is None else secret
    return low <= position(f"{secret} {key}" if secret else key) < high


def split(rows, shares=SHARES):
    """Split a DataFrame by the hash of its texts into the named shares (default 65/10/12.5/12.5 %)."""
    rows = rows[~rows.text.map(normalize).duplicated()]
    where, heldout = rows.text.map(position), rows.text.map(is_heldout)
    edges = np.cumsum([0, *shares.values()])
    parts = {name: rows[~heldout & (where >= low) & (where < high)]
             for name, low, high in zip(shares, edges[:-1], edges[1:], strict=True)}
    return {**parts, "heldout": rows[heldout]}


def with_every_class(parts, wanted=("validation", "test")):
    """The parts of a small file, where each of `wanted` has a row of every class.

    Chance gives a part of 20 rows of a class none in one draw of ten, and nothing can be chosen or measured without it.
    The row comes from the training part: the one of this class that the draw put last.
    """
    parts = dict(parts)
    for name in wanted:
        for label in sorted(set(parts["train"].label) - set(parts[name].label)):
            own = parts["train"][parts["train"].label == label]
            if len(own) > 1:
                last = own.text.map(position).idxmax()
                parts[name] = pd.concat([parts[name], own.loc[[last]]])
                parts["train"] = parts["train"].drop(last)
    return parts


def to_dataset_dict(frames, wanted=None):
    """DataFrames with words as labels -> DatasetDict with a ClassLabel feature (classes in alphabetical order).

    wanted: names of the frames to convert (default: all); the classes are those of all.
    """
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    names = sorted(set().union(*(rows.label for rows in frames.values())))
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})

    def convert(rows):
        columns = {"text": rows.text.tolist(), "label": rows.label.map(names.index).tolist()}
        return Dataset(pa.table(columns, schema=features.arrow_schema))  # `from_dict` looks at each value

    return DatasetDict({name: convert(frames[name]) for name in wanted or frames})


def subsample(dataset, size, seed=0):
    """`size` rows at random with the classes in their original proportions; all rows if there are fewer.

    Each class is there at least once, so the fewest rows are one of each class.
    """
    from sklearn.model_selection import train_test_split

    labels = np.array(dataset["label"][:])  # [:]: at once; datasets decodes what is read item by item
    counts = np.unique(labels, return_counts=True)[1]
    size = max(size, len(counts))
    if size >= len(dataset):
        return dataset.shuffle(seed=seed)
    rare = counts.min() < 2 or counts.min() * size < len(labels)
    if rare or len(labels) - size < len(counts):  # scikit-learn stops, or leaves a class out
        return dataset.select(_evenly(labels, size, seed))
    chosen, _ = train_test_split(np.arange(len(dataset)), train_size=size, stratify=labels, random_state=seed)
    return dataset.select(chosen)


def halves(dataset, seed=0):
    """Two equal parts of a dataset at random, the classes in their proportions; a class of one row is in the first."""
    labels = np.array(dataset["label"][:])
    counts = np.unique(labels, return_counts=True)[1]
    if counts.min() > 1 and len(labels) >= 2 * len(counts):
        return tuple(dataset.train_test_split(0.5, stratify_by_column="label", seed=seed).values())
    chosen = _evenly(labels, max(-(-len(labels) // 2), len(counts)), seed)
    return dataset.select(chosen), dataset.select(np.setdiff1d(np.arange(len(labels)), chosen))


def _evenly(labels, size, seed):
    """Places of `size` labels, of each class in its proportion and at least one, in random order."""
    order = np.random.default_rng(seed).permutation(len(labels))
    share = np.empty(len(labels))
    for one in np.unique(labels):
        own = labels[order] == one
        share[own] = np.arange(own.sum()) / own.sum()  # of the class, that comes before a row
    return np.random.default_rng(seed).permutation(order[np.argsort(share, kind="stable")[:size]])


def sample_few_shot(dataset, num_shots, seed=0):
    """`num_shots` rows of each class at random, shuffled. Raises ValueError if a class has fewer."""
    rng = np.random.default_rng(seed)
    labels = np.array(dataset["label"][:])
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < num_shots:
        name = dataset.features["label"].int2str(int(classes[counts.argmin()]))
        raise ValueError(say("class {label} has {rows} rows, fewer than `num_shots={num_shots}`", label=repr(name),
                             rows=counts.min(), num_shots=num_shots))  # fmt: skip
    chosen = np.concatenate([rng.choice(np.flatnonzero(labels == c), num_shots, replace=False) for c in classes])
    return dataset.select(rng.permutation(chosen))


def tokenize(dataset, tokenizer, max_length=128):
    """Add `input_ids` to each row, cut at `max_length` tokens and not padded (the collator pads each batch).

    Says so where the tokenizer does not know the letters: a model learns little from a text of [UNK].
    """
    if len(dataset) == 0:
        raise ValueError(say("the dataset is empty: nothing to tokenize"))
    ids = tokenizer(dataset["text"][:], truncation=True, max_length=max_length)["input_ids"]
    warn_of_unknown(ids, tokenizer)
    return [{"input_ids": row, "label": label} for row, label in zip(ids, dataset["label"][:], strict=True)]


def warn_of_unknown(ids, tokenizer):
    """Say what share of the tokens (lists of numbers) a tokenizer does not know, if it is much."""
    unknown = sum(row.count(tokenizer.unk_token_id) for row in ids) / max(1, sum(map(len, ids)))
    if tokenizer.unk_token_id is not None and unknown > MOST_UNKNOWN:
        print(say("Careful: {share} of the tokens are {token}. This tokenizer does not know the letters of these texts, so "
                  "a model can learn little from them (lab 0 shows why).", share=f"{unknown:.0%}",
                  token=tokenizer.unk_token))  # fmt: skip


def group_texts(rows, block_size, special_ids):
    """Pack texts one after the other into blocks of `block_size` tokens, so that no token is padding.

    rows: list of {"input_ids"} that begin with [CLS] and end with [SEP]. special_ids: the pair ([CLS], [SEP]). Each block
    begins with [CLS]; texts inside it are separated by [SEP]. Attention sees across that border: a price worth paying
    (Liu et al., 2019, section 4.2, FULL-SENTENCES). The last, shorter block is kept.

    >>> group_texts([{"input_ids": [1, 7, 8, 2]}, {"input_ids": [1, 9, 2]}], 4, (1, 2))
    [{'input_ids': [1, 7, 8, 2]}, {'input_ids': [1, 9, 2]}]
    """
    if block_size < 2:
        raise ValueError(f"block_size={block_size} must be at least 2: [CLS] takes one place")
    first, _ = special_ids
    stream = [token for row in rows for token in row["input_ids"] if token != first]
    width = block_size - 1
    return [{"input_ids": [first, *stream[i : i + width]]} for i in range(0, len(stream), width)]


def sentence_pairs(texts, seed=0, least_words=6):
    """Pairs (first, second, is_next) for next-sentence prediction: half follow each other, half do not.

    Each text of at least `least_words` words is cut at the end of a sentence near its middle, or else in the middle.
    Half of the texts keep their second part (is_next = 1); the others swap theirs round, so that each part occurs once
    and the parts alone say nothing about the answer. Source: Devlin et al., 2019, section 3.1, Task #2.

    >>> sentence_pairs(["one two three four", "five six seven eight"], least_words=4)   # doctest: +SKIP
    [('one two', 'three four', 1), ('five six', 'seven eight', 1)]
    """
    halves = [cut_in_two(text) for text in texts if len(split_words(text)) >= least_words]
    if len(halves) < 4:
        raise ValueError(say("only {count} texts have {words} words or more; at least 4 are needed for pairs",
                             count=len(halves), words=least_words))  # fmt: skip
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(halves))
    swapped = order[: len(order) // 2]
    second = {int(i): int(j) for i, j in zip(swapped, np.roll(swapped, 1), strict=True)}
    return [(first, halves[second.get(i, i)][1], int(i not in second)) for i, (first, _) in enumerate(halves)]


def cut_in_two(text):
    """(first, second) part of a text: at the sentence end nearest to the middle, if one lies in the middle half.

    >>> cut_in_two("আমি এসেছি। তুমি কোথায় আছ"), cut_in_two("早上好。你好吗")
    (('আমি এসেছি।', 'তুমি কোথায় আছ'), ('早上好。', '你好吗'))
    """
    text = " ".join(text.split())
    starts = word_starts(text)
    middle, reach = len(starts) // 2, len(starts) // 4
    near = range(max(1, middle - reach), min(len(starts), middle + reach + 1))
    ends = [i for i in near if ends_sentence(text[: starts[i]].rstrip())]
    place = min(ends, key=lambda i: abs(i - middle)) if ends else middle
    cut = starts[place] if starts else 0
    return text[:cut].rstrip(), text[cut:]


def tokenize_texts(texts, tokenizer, max_length=512):
    """Rows {"input_ids"} of texts without labels, each cut at `max_length` tokens."""
    ids = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    warn_of_unknown(ids, tokenizer)
    return [{"input_ids": row} for row in ids]


class DynamicPaddingCollator:
    """Pad a list of rows to the longest one *of this batch*.

    Returns input_ids (batch, longest), attention_mask (batch, longest; 1 = a token, 0 = padding), labels (batch,) if the
    rows have a `label`, and token_type_ids (batch, longest) if they have those.

    >>> collate = DynamicPaddingCollator(pad_token_id=0)
    >>> batch = collate([{"input_ids": [5, 6, 7], "label": 1}, {"input_ids": [8], "label": 0}])
    >>> batch["input_ids"].tolist(), batch["attention_mask"].tolist()
    ([[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    """

    def __init__(self, pad_token_id):
        self.pad_token_id = pad_token_id

    def __call__(self, rows):
        import torch

        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        input_ids = torch.full((len(rows), int(lengths.max())), self.pad_token_id)
        for i, row in enumerate(rows):
            input_ids[i, : lengths[i]] = torch.as_tensor(row["input_ids"])
        batch = {"input_ids": input_ids, "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()}
        if "token_type_ids" in rows[0]:
            kinds = batch["token_type_ids"] = torch.zeros_like(input_ids)
            for i, row in enumerate(rows):
                kinds[i, : lengths[i]] = torch.as_tensor(row["token_type_ids"])
        if "label" in rows[0]:
            batch["labels"] = torch.tensor([row["label"] for row in rows])
        return batch


def collate_vectors(rows):
    """A batch for `models.VectorClassifier` of rows that have a `vector`: vectors (batch, width), labels (batch,).

    >>> batch = collate_vectors([{"vector": [0.5, 1.0], "label": 1}, {"vector": [0.0, 2.0], "label": 0}])
    >>> batch["vectors"].tolist(), batch["labels"].tolist()
    ([[0.5, 1.0], [0.0, 2.0]], [1, 0])
    """
    import torch

    vectors = torch.stack([torch.as_tensor(row["vector"], dtype=torch.float32) for row in rows])
    return {"vectors": vectors, "labels": torch.tensor([int(row["label"]) for row in rows])}


class LengthBucketSampler:
    """Batches of row numbers of similar length, in an order that is random but repeatable.

    Each epoch: shuffle, cut into pools of `pool` batches, sort each pool by length, cut into batches, shuffle these.
    Rows stay random from batch to batch, yet a batch has little padding. The order depends only on seed and epoch, so
    an interrupted run finds the same batches again.
    """

    def __init__(self, lengths, batch_size, seed=0, pool=50):
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} must be at least 1")
        self.lengths, self.batch_size, self.seed, self.pool = np.asarray(lengths), batch_size, seed, pool
        self.drop_last, self.epoch = False, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self):
        # The third number keeps this order apart from others that are drawn with the same seed: default_rng([0, 0]) is
        # default_rng(0), and a permutation that also chose the labels would fill whole batches with one class.
        rng = np.random.default_rng([self.seed, self.epoch, 2026])
        order, span = rng.permutation(len(self.lengths)), self.pool * self.batch_size
        pools = [order[i : i + span] for i in range(0, len(order), span)]
        rows = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        batches = [rows[i : i + self.batch_size].tolist() for i in range(0, len(rows), self.batch_size)]
        yield from (batches[i] for i in rng.permutation(len(batches)))


def shuffled_rows(count, seed, epoch):
    """The row numbers 0 to count - 1 in the order of an epoch (count,): random, but it depends on seed and epoch alone.

    >>> shuffled_rows(5, seed=0, epoch=0).tolist() == shuffled_rows(5, seed=0, epoch=0).tolist()
    True
    >>> sorted(shuffled_rows(5, seed=0, epoch=1).tolist())
    [0, 1, 2, 3, 4]
    """
    return np.random.default_rng([seed, epoch, 2026]).permutation(count)


class ShuffledSampler(LengthBucketSampler):
    """Batches of row numbers in the order of `shuffled_rows`, whatever the lengths; the last batch holds what is left.

    >>> [len(batch) for batch in ShuffledSampler([10] * 5, batch_size=2)]
    [2, 2, 1]
    """

    def __iter__(self):
        order = shuffled_rows(len(self.lengths), self.seed, self.epoch).tolist()
        yield from (order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size))
