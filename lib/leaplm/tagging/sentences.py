"""Sentences with marked names: the course's own in three languages, or a file of one's own in CoNLL, CSV or plain text.

A sentence is a pair (words, tags) of lists of the same length, tags in BIO. CoNLL: a word and its tag on a line, an empty
line behind each sentence. Source of the format: Tjong Kim Sang & De Meulder, 2003, the CoNLL-2003 shared task.
"""

import csv
import io
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from leaplm.data import position
from leaplm.labelled_file import decode, guess_delimiter
from leaplm.locales import say
from leaplm.tagging.entities import find_entities
from leaplm.whole_file import write_whole

FOLDER = Path(__file__).with_name("marked")
LANGUAGES = ("eng", "swa", "hau")
TYPES = ("PER", "LOC", "ORG", "DATE")
PARTS = ("train", "dev", "test")
SHARES = {"train": (0.0, 0.6), "dev": (0.6, 0.75), "test": (0.75, 1.0)}
ENDINGS = (".conll", ".tsv", ".csv", ".txt")
FEWEST = 40  # sentences of an own file
MOST_WORDS = 150  # of a sentence: an encoder reads 512 sub-words, and languages it does not know have three a word
TAG = re.compile(r"O|[BI]-\S+")
MARK = re.compile(r"\[([^\[\]|]+)\|([^\[\]|\s]+)\]")
WORD = re.compile(r"['’](?:[Yy]an\b|s\b)|\w+(?:['’\-]\w+)*|[^\w\s]")


def load_tagged(language):
    """{"train", "dev", "test"} of sentences (words, tags) in a language of the course, or from a file of one's own.

    language: "eng" (250, 50 and 94 sentences), "swa" (110, 30, 66) or "hau" (100, 28, 60), with the types PER, LOC, ORG and
    DATE; or a path that ends in .conll, .tsv, .csv or .txt (see `read_tagged`), which is split 60, 15 and 25 % by a
    hash of each sentence. Raises ValueError for anything else, FileNotFoundError for a file that is not there.

    >>> len(load_tagged("hau")["train"])
    100
    """
    if str(language).lower().endswith(ENDINGS):
        return split_tagged(read_tagged(language), language)
    if language not in LANGUAGES:
        raise ValueError(say("`LANGUAGE={language}` has no sentences with marked names here. Use one of {languages}, or the "
                             "path of your own file ({endings}).", language=repr(language), languages=", ".join(LANGUAGES),
                             endings=", ".join(ENDINGS)))  # fmt: skip
    return {part: read_tagged(FOLDER / f"{language}-{part}.conll") for part in PARTS}


def split_tagged(sentences, path):
    parts = {part: [] for part in PARTS}
    for words, tags in sentences:
        place = position(" ".join(words))
        parts[next(part for part, (low, high) in SHARES.items() if low <= place < high)].append((words, tags))
    if len(sentences) < FEWEST:
        raise ValueError(say("{path} has {sentences} different sentences; at least {fewest} are needed, so that some can be "
                             "kept for a test.", path=path, sentences=len(sentences), fewest=FEWEST))  # fmt: skip
    for part, rows in parts.items():
        if not any(find_entities(tags) for _, tags in rows):
            raise ValueError(say("{path}: the part {part} ({sentences} sentences) holds no name. Mark more sentences.",
                                 path=path, part=repr(part), sentences=len(rows)))  # fmt: skip
    return parts


def tag_names(sentences):
    """The tag names of sentences, "O" first, then B- and I- of each type: the course's types first, others sorted.

    >>> tag_names([(["In", "Kano"], ["O", "B-LOC"])])
    ['O', 'B-LOC', 'I-LOC']
    """
    found = {kind for _, tags in sentences for kind, _, _ in find_entities(tags)}
    kinds = [kind for kind in TYPES if kind in found] + sorted(found - set(TYPES))
    return ["O", *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI")]


def draw_tagged(sentences, size, seed):
    """`size` of the sentences in random order; all of them where there are fewer."""
    return [sentences[i] for i in np.random.default_rng(seed).permutation(len(sentences))[:size]]


# -- files ----------------------------------------------------------------------------------------------------------------


def read_tagged(path):
    """The sentences of a file, each once: a list of (words, tags). ValueError names file, line and remedy.

    .conll or .tsv: a word and, last on its line, its tag, parted by blanks or tabs; empty lines part sentences; lines that
    start with "# " or -DOCSTART- are left out. .csv: columns sentence,word,tag; where "sentence" is empty, the one above
    goes on. .txt: a sentence a line with names marked as [Amina Bello|PER]. An "I-" that continues nothing becomes "B-".
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(say("{path} does not exist (looked in {folder}). Put the file beside the notebook.",
                                    path=path, folder=Path.cwd()))  # fmt: skip
    text = decode(path, defaultdict(list))
    reader = {".csv": rows_of_csv, ".txt": rows_of_marks}.get(path.suffix.lower(), rows_of_conll)
    sentences, seen = [], set()
    for rows in gather(reader(text, path)):
        words = [word for word, _ in rows]
        if len(words) > MOST_WORDS:
            raise ValueError(say("{path}: the sentence that starts with {start} has {words} words; at most {most} are read. "
                                 "Part it, in `.conll` and `.tsv` by an empty line.", path=path,
                                 start=repr(" ".join(words[:5])), words=len(words), most=MOST_WORDS))  # fmt: skip
        if (key := " ".join(words).lower()) not in seen:
            seen.add(key)
            sentences.append((words, begin_with_b([tag for _, tag in rows])))
    if not sentences:
        raise ValueError(say("{path} holds no sentence.", path=path))
    return sentences


def gather(rows):
    """Lists of (word, tag), parted where a row is None."""
    sentence = []
    for row in [*rows, None]:
        if row is not None:
            sentence.append(row)
        elif sentence:
            yield sentence
            sentence = []


def begin_with_b(tags):
    """The same entities with a B- at each start.

    >>> begin_with_b(["I-PER", "I-PER", "O"])
    ['B-PER', 'I-PER', 'O']
    """
    fixed = ["O"] * len(tags)
    for kind, start, end in find_entities(tags):
        fixed[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return fixed


def rows_of_conll(text, path):
    for number, line in enumerate(text.splitlines(), 1):
        columns = [column.strip() for column in line.strip().split("\t" if "\t" in line.strip() else None)]
        if not any(columns):
            yield None
        elif columns[0] != "-DOCSTART-" and not (line.startswith("# ") and not TAG.fullmatch(columns[-1])):
            if len(columns) < 2:
                raise ValueError(say("{path}, line {line}: {words} stands alone; a word and its tag are needed.", path=path,
                                     line=number, words=repr(line.strip())))  # fmt: skip
            yield checked_word(columns[0], path, number), checked_tag(columns[-1], path, number)


def rows_of_csv(text, path):
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=guess_delimiter(text))
    reader.fieldnames = [str(name).strip().lower() for name in reader.fieldnames or []]
    if not {"sentence", "word", "tag"} <= set(reader.fieldnames):
        raise ValueError(say("{path}, line 1: the columns are {columns}; `sentence`, `word` and `tag` are needed.",
                             path=path, columns=reader.fieldnames))  # fmt: skip
    before = None
    for row in reader:
        name = (row["sentence"] or "").strip()
        if name and name != before:  # some tools name a sentence in its first row only
            yield None
            before = name
        word = checked_word((row["word"] or "").strip(), path, reader.line_num)
        yield word, checked_tag((row["tag"] or "").strip(), path, reader.line_num)


def checked_word(word, path, number):
    if not word:
        raise ValueError(say("{path}, line {line}: the word is empty. Fill it or delete the line.", path=path,
                             line=number))  # fmt: skip
    if len(word.split()) > 1:
        raise ValueError(say("{path}, line {line}: {word} is more than one word. Give each its own line: `B-` and a type "
                             "for the first word of a name, `I-` for the others.", path=path, line=number,
                             word=repr(word)))  # fmt: skip
    return word


def checked_tag(tag, path, number):
    if not TAG.fullmatch(tag):
        raise ValueError(say("{path}, line {line}: {tag} is not a tag. Use `O`, or `B-` or `I-` and a type, such as "
                             "`B-PER`.", path=path, line=number, tag=repr(tag)))  # fmt: skip
    return tag


def rows_of_marks(text, path):
    for number, line in enumerate(text.splitlines(), 1):
        yield None
        try:
            yield from zip(*parse_marks(line), strict=True)
        except ValueError as error:
            raise ValueError(say("{path}, line {line}: {problem}", path=path, line=number, problem=error)) from None


def parse_marks(line):
    """(words, tags) of a sentence in which names are marked with brackets. ValueError for a bracket that has no partner or
    no word.

    >>> parse_marks("[Amina Bello|PER] sells rice in [Kano|LOC].")[1]
    ['B-PER', 'I-PER', 'O', 'O', 'O', 'B-LOC', 'O']
    """
    words, tags, end = [], [], 0
    for mark in [*MARK.finditer(line), None]:
        between = line[end : mark.start() if mark else len(line)]
        if strange := re.search(r"[\[\]|]", between):
            raise ValueError(say("a single {sign}. A name is marked as in `[Amina Bello|PER]`; the type is one word.",
                                 sign=repr(strange[0])))  # fmt: skip
        plain = WORD.findall(between)
        words, tags = words + plain, tags + ["O"] * len(plain)
        if mark:
            name, kind = WORD.findall(mark[1]), mark[2]
            if not name:
                raise ValueError(say("{mark} marks no word. A name is marked as in `[Amina Bello|PER]`.",
                                     mark=repr(mark[0])))  # fmt: skip
            words, tags = words + name, [*tags, f"B-{kind}", *[f"I-{kind}"] * (len(name) - 1)]
            end = mark.end()
    return words, tags


def split_words(text):
    """The words and signs of a sentence, as the course's sentences are cut.

    >>> split_words("Saint-Louis, on Monday.")
    ['Saint-Louis', ',', 'on', 'Monday', '.']
    """
    return WORD.findall(text)


def write_conll(path, sentences):
    """Write sentences (words, tags) to a file that `read_tagged` and other tools read; whole or not at all."""
    blocks = ("".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True)) for words, tags in sentences)
    write_whole(path, "\n".join(blocks))
