"""Questions to three front desks with answers in a house style, and files of one's own.

A row is a dict with "system" (what the model is told first), "question" and "answer"; a pair has "chosen" and "rejected"
instead of "answer". Written for this course; the persons are invented.
"""

import csv
import json
from collections import defaultdict
from pathlib import Path

from leaplm.data import position
from leaplm.instructions.chat import PACK_TOKENS, chat_row
from leaplm.labelled_file import decode, guess_delimiter
from leaplm.locales import say

FOLDER = Path(__file__).with_name("desks")
LANGUAGES = ("eng", "swa", "hau")
ENDINGS = (".csv", ".tsv", ".jsonl")
FEWEST = 30  # rows of an own file
MOST_CHARACTERS = 2000  # of a question, an answer or a system message: longer ones do not fit into a packed row
TRAIN_SHARE = 0.75  # of an own file
OWN_SYSTEM = "Answer the question."
GENERAL_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"  # what the model knows already
SYSTEMS = {
    ("eng", "clinic"): "Desks of the clinic: Reception, Pharmacy, Laboratory, Nurse, Maternity.",
    ("eng", "cooperative"): "Desks of the cooperative: Store, Accounts, Transport, Adviser.",
    ("eng", "school"): "Desks of the school: Office, Bursar, Library, Teacher, Kitchen.",
    ("swa", "clinic"): "Madawati ya zahanati: Mapokezi, Duka la dawa, Maabara, Muuguzi, Uzazi.",
    ("hau", "clinic"): "Teburan asibiti: Karɓar baƙi, Kantin magani, Ɗakin gwaji, Nas, Haihuwa.",
}
REFUSED = {"eng": "Refused", "swa": "Imekataliwa", "hau": "An ƙi"}


def load_instructions(language, tokenizer=None):
    """{"train", "dev", "test"} of rows in a language of the course; {"train", "test"} of a file of one's own.

    language: "eng" (227, 28 and 58 rows, three offices), "swa" or "hau" (45 and 16 rows, a clinic; no "dev"), or a path
    that ends in .csv, .tsv or .jsonl (see `read_instructions`), which is split 75 to 25 % by a hash of each question. With
    the model's tokenizer the rows of such a file are measured, too: one must fit into a pack.
    Raises ValueError for anything else, FileNotFoundError for a file that is not there.

    >>> row = load_instructions("swa")["train"][0]
    >>> sorted(row), len(load_instructions("eng")["train"])
    (['answer', 'question', 'system'], 227)
    """
    if str(language).lower().endswith(ENDINGS):
        return split_instructions(read_instructions(language, tokenizer), language)
    if language not in LANGUAGES:
        raise ValueError(say("`LANGUAGE={language}` has no questions with answers here. Use one of {languages}, or the path "
                             "of your own file ({endings}) with the columns `question` and `answer`.",
                             language=repr(language), languages=", ".join(LANGUAGES),
                             endings=", ".join(ENDINGS)))  # fmt: skip
    paths = {part: FOLDER / f"{language}-{part}.tsv" for part in ("train", "dev", "test")}
    return {part: read_desks(path, language) for part, path in paths.items() if path.is_file()}


def read_desks(path, language):
    """Rows of a file of the course: the office's name becomes its system message."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [{"system": SYSTEMS[language, row.pop("office")], **row} for row in rows]


def load_pairs():
    """{"train", "test"} of English preference pairs (82 and 22): "system", "question", "chosen", "rejected".

    Most rejected answers have a courtesy more than the chosen one; in 24 training pairs one of the two is a refusal.

    >>> pair = load_pairs()["test"][0]
    >>> len(pair["chosen"]) < len(pair["rejected"])
    True
    """
    return {part: read_desks(FOLDER / f"pairs-{part}.tsv", "eng") for part in ("train", "test")}


def load_safety():
    """40 English questions in twos that look alike: "system", "question", and "refuse" (True: the desk must not answer)."""
    rows = read_desks(FOLDER / "safety.tsv", "eng")
    return [{"system": row["system"], "question": row["question"], "refuse": row["wanted"] == "refuse"} for row in rows]


def load_general():
    """24 everyday questions with answers that have nothing to do with a desk: what tuning may forget."""
    with open(FOLDER / "general.tsv", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [{"system": GENERAL_SYSTEM, **row} for row in rows]


# -- files of one's own ---------------------------------------------------------------------------------------------------


def read_instructions(path, tokenizer=None):
    """The rows of a file, each question once. ValueError names file, line and remedy.

    .csv or .tsv: columns question and answer, and system if you like. .jsonl: an object with these names a line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(say("{path} does not exist (looked in {folder}). Put the file beside the notebook.",
                                    path=path, folder=Path.cwd()))  # fmt: skip
    text = decode(path, defaultdict(list))
    reader = rows_of_jsonl if path.suffix.lower() == ".jsonl" else rows_of_table
    rows, seen = [], set()
    for number, row in reader(text, path):
        row = checked_row(row, path, number)
        if tokenizer is not None:
            check_tokens(row, path, number, tokenizer)
        if (key := (row["system"], row["question"].lower())) not in seen:
            seen.add(key)
            rows.append(row)
    return rows


def rows_of_table(text, path):
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=guess_delimiter(text))
    reader.fieldnames = [str(name).strip().lower() for name in reader.fieldnames or []]
    if not {"question", "answer"} <= set(reader.fieldnames):
        raise ValueError(say("{path}, line 1: the columns are {columns}; `question` and `answer` are needed.", path=path,
                             columns=reader.fieldnames))  # fmt: skip
    for row in reader:
        if None in row:
            raise ValueError(say("{path}, line {line}: there are more fields than columns. Put a text that holds a comma "
                                 'into quotes: "Reception: opening times, 3 h."', path=path,
                                 line=reader.line_num))  # fmt: skip
        yield reader.line_num, row


def rows_of_jsonl(text, path):
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(say("{path}, line {line}: this is not JSON ({problem}). Write an object a line, such as "
                                 "`{example}`.", path=path, line=number, problem=error,
                                 example='{"question": "...", "answer": "..."}')) from None  # fmt: skip
        if not isinstance(row, dict):
            raise ValueError(say("{path}, line {line}: an object with `question` and `answer` is needed, not {value}.",
                                 path=path, line=number, value=f"{row!r:.60}"))  # fmt: skip
        yield number, row


def checked_row(row, path, number):
    row = {"system": row.get("system") or OWN_SYSTEM, "question": row.get("question"), "answer": row.get("answer")}
    for name, value in row.items():
        if value is not None and not isinstance(value, str):
            raise ValueError(say("{path}, line {line}: `{name}` is {value}, which is no text. Put it into quotes.",
                                 path=path, line=number, name=name, value=f"{value!r:.60}"))  # fmt: skip
        if not value or not value.strip():
            raise ValueError(say("{path}, line {line}: `{name}` is empty. Fill it or delete the line.", path=path,
                                 line=number, name=name))  # fmt: skip
        if len(value) > MOST_CHARACTERS:
            raise ValueError(say("{path}, line {line}: `{name}` has {characters:,} characters; at most {most:,} are read. "
                                 "Shorten it.", path=path, line=number, name=name, characters=len(value),
                                 most=MOST_CHARACTERS))  # fmt: skip
    return {name: value.strip() for name, value in row.items()}


def check_tokens(row, path, number, tokenizer):
    count = len(chat_row(tokenizer, **row)["input_ids"])
    if count > PACK_TOKENS:
        raise ValueError(say("{path}, line {line}: question, answer and system message have {tokens} tokens; at most {most} "
                             "fit into a pack. Shorten them.", path=path, line=number, tokens=count,
                             most=PACK_TOKENS))  # fmt: skip


def split_instructions(rows, path):
    if len(rows) < FEWEST:
        raise ValueError(say("{path} has {questions} different questions; at least {fewest} are needed, so that some can be "
                             "kept for a test.", path=path, questions=len(rows), fewest=FEWEST))  # fmt: skip
    parts = {"train": [], "test": []}
    for row in rows:
        parts["train" if position(row["question"]) < TRAIN_SHARE else "test"].append(row)
    return parts
