"""Documents and questions: the course's leaflets, or a folder of one's own.

A document is a dict with `name`, `title` and `text`. A question is a dict with `question`, `document` (the name of the
document that answers it; "" if none does) and `answer` (words that stand in it; "" if they are not known).
"""

import csv
import importlib.util
import io
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from leaplm import data
from leaplm.labelled_file import decode, guess_delimiter
from leaplm.locales import say
from leaplm.retrieval.searching import split_sentences, words_of

FOLDER = Path(__file__).with_name("leaflets")
LANGUAGES = ("eng", "swa", "hau")
PARTS = ("development", "test")  # the grader has questions of its own
FEWEST = 10  # documents: with fewer, nothing has to be searched
MOST = 400  # documents of sentences that are no leaflets: enough to search in


def load_collection(language="eng"):
    """(documents, {part: questions}) with the parts "development" and "test".

    language: "eng", "swa" or "hau" for the course's leaflets; another language of the course, whose sentences are then the
    documents; or the path of a folder or file of one's own. Where nobody wrote questions, `known_items` makes some.
    Raises ValueError for anything else.

    >>> documents, questions = load_collection("swa")
    >>> len(documents), questions["development"][0]["document"]
    (20, 'ors')
    """
    if language in LANGUAGES:
        return read_rows(FOLDER / f"{language}.csv"), split_parts(load_questions(language))
    if Path(language).exists() or Path(language).suffix:
        return own_collection(Path(language))
    if language not in (*data.SIB200, *data.AFRISENTI):
        raise ValueError(say("`LANGUAGE={language}` is not known. Use {languages}, another language of the course, or the "
                             "path of your own folder or file.", language=repr(language),
                             languages=", ".join(map(repr, LANGUAGES))))  # fmt: skip
    sentences = data.load_sentences(language)["train"][:MOST]
    return known_items([{"name": f"sentence {i}", "title": "", "text": text} for i, text in enumerate(sentences, 1)])


def read_rows(path):
    """The rows of a CSV file as dicts."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def load_questions(language):
    """The course's questions in a language: dicts with part, question, document and answer."""
    return [row for row in read_rows(FOLDER / "questions.csv") if row.pop("language") == language]


def load_words(language):
    """A small word list {word: English word} for "swa" or "hau"."""
    return {row["word"]: row["english"] for row in read_rows(FOLDER / "words.csv") if row["language"] == language}


def split_parts(questions):
    return {part: [row for row in questions if row["part"] == part] for part in PARTS}


# -- one's own documents --------------------------------------------------------------------------------------------------


def own_collection(path):
    """Documents of a folder or file; questions from questions.csv (question,document) beside them, or known items."""
    documents = read_documents(path)
    if len(documents) < FEWEST:
        raise ValueError(say("{path} has {documents} documents; at least {fewest} are needed for a search to be tested.",
                             path=path, documents=len(documents), fewest=FEWEST))  # fmt: skip
    asked = path / "questions.csv"
    if not asked.is_file():
        return known_items(documents)
    questions, names = read_rows(asked), {row["name"] for row in documents}
    for number, row in enumerate(questions, 2):
        if not (row.get("question") or "").strip() or row.get("document") is None:
            raise ValueError(say("{path}, line {line}: a question and a document are needed (columns `question,document`).",
                                 path=asked, line=number))  # fmt: skip
        if row["document"] and row["document"] not in names:
            raise ValueError(say("{path}, line {line}: there is no document {name}; leave the column empty if no document "
                                 "answers the question.", path=asked, line=number, name=repr(row["document"])))  # fmt: skip
        row.update(answer=row.get("answer") or "", part=PARTS[data.position(row["question"]) < 0.5])
    return documents, checked(split_parts(questions), asked)


def checked(parts, path):
    for part, rows in parts.items():
        if not any(row["document"] for row in rows) or all(row["document"] for row in rows):
            raise ValueError(say("{path}: the part {part} ({questions} questions) needs questions with and without a "
                                 "document; 20 of each kind are a good start.", path=path, part=repr(part),
                                 questions=len(rows)))  # fmt: skip
    return parts


def known_items(documents, most=80, seed=0):
    """(documents, {part: questions}) for documents without questions, as a test of the search alone.

    A question is half of the words of a sentence, in their order, and its document is the one with the sentence. Every
    fifth document is taken out of the collection: no document answers a question about it. Such questions share words with
    their document, which is easier than what people ask. Source: Azzopardi et al., 2007, *Building simulated queries for
    known-item topics*.
    """
    rng, parts, kept = np.random.default_rng(seed), {part: [] for part in PARTS}, []
    left_out = set(rng.permutation(len(documents))[: len(documents) // 5].tolist())
    asked = set(rng.permutation(len(documents))[:most].tolist()) | set(sorted(left_out)[: most // 4])
    for i, document in enumerate(documents):
        if i not in left_out:
            kept.append(document)
        words = words_of(str(rng.choice(split_sentences(document["text"]))))
        if i in asked and len(words) > 1:
            some = sorted(rng.choice(len(words), (len(words) + 1) // 2, replace=False).tolist())
            row = {"question": " ".join(words[j] for j in some), "answer": "",
                   "document": "" if i in left_out else document["name"]}
            alike = sum(bool(other["document"]) == bool(row["document"]) for rows in parts.values() for other in rows)
            parts[PARTS[alike % 2]].append(row)
    return kept, checked(parts, say("your documents"))


def read_documents(path, tell=print):
    """The documents of a folder (with its folders inside) or of one file: .txt .md .html .csv .pdf .docx.

    A file is one document; a CSV has one a row: its column `text`, or all its columns. `tell` is given a line on the files
    that were left out, and why. Raises FileNotFoundError, and ValueError if nothing can be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(say("{path} does not exist (looked in {folder}). Put it beside the notebook.", path=path,
                                    folder=Path.cwd()))  # fmt: skip
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    documents, left_out = [], []
    for file in files:
        if file.name == "questions.csv" or file.name.startswith("."):
            continue
        try:
            texts = READERS[file.suffix.lower()](file)
        except KeyError:
            left_out.append(say("{file}: the ending {ending} is not known", file=file.name, ending=repr(file.suffix)))
            continue
        except (ValueError, ImportError) as problem:
            left_out.append(f"{file.name}: {problem}")
            continue
        name = file.name if file == path else str(file.relative_to(path))
        found = [(f"{name}, row {n}" if len(texts) > 1 else name, text) for n, text in texts.items()]
        documents += [{"name": name, "title": "", "text": " ".join(text.split())} for name, text in found if text.strip()]
        if not any(text.strip() for _, text in found):
            left_out.append(say("{file}: it holds no text (pictures of pages must be read by a program for that)",
                                file=file.name))  # fmt: skip
    if left_out:
        some = "; ".join([*left_out[:5], *["..."] * (len(left_out) > 5)])
        tell(say("{count} file(s) left out: {files}", count=len(left_out), files=some))
    if not documents:
        raise ValueError(say("no document could be read from {path}. Known endings: {endings}", path=path,
                             endings=", ".join(READERS)))  # fmt: skip
    return documents


def read_plain(path):
    return {1: decode(path, defaultdict(list))}


def read_table(path):
    """{row: text} of a CSV: the column `text`, or each column with its name."""
    text = decode(path, defaultdict(list))
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=guess_delimiter(text), restkey="more"))
    column = next((name for name in (rows[0] if rows else ()) if name.strip().lower() == "text"), None)
    return {n: row[column] or "" if column else ". ".join(f"{name}: {cell}" for name, cell in row.items() if cell)
            for n, row in enumerate(rows, 1)}


def read_html(path):
    reader = TextOfPage()
    reader.feed(decode(path, defaultdict(list)))
    return {1: "".join(reader.parts)}


class TextOfPage(HTMLParser):
    """Collects what a reader of a page sees: no scripts, no styles, each block on a line of its own."""

    UNSEEN = {"script", "style", "template", "head"}
    INLINE = {"a", "b", "i", "em", "strong", "span", "code", "small", "sub", "sup", "u"}

    def __init__(self):
        super().__init__()
        self.parts, self.inside = [], []

    def handle_starttag(self, tag, attributes):
        if tag in self.UNSEEN:
            self.inside.append(tag)
        elif tag not in self.INLINE:
            self.parts.append("\n")

    def handle_endtag(self, tag):
        if self.inside and tag == self.inside[-1]:
            self.inside.pop()
        elif tag not in self.INLINE:
            self.parts.append("\n")

    def handle_data(self, text):
        if not self.inside:
            self.parts.append(text)


def read_pdf(path):
    need("pypdf", "pypdf")
    import pypdf

    try:
        return {1: "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)}
    except pypdf.errors.PyPdfError as problem:
        raise ValueError(say("it cannot be read as PDF ({problem})", problem=problem)) from None


def read_docx(path):
    need("docx", "python-docx")
    import zipfile

    import docx

    try:
        document = docx.Document(str(path))
    except (KeyError, ValueError, zipfile.BadZipFile, docx.opc.exceptions.PackageNotFoundError):
        raise ValueError(say("it cannot be read as a Word document")) from None
    cells = (cell.text for table in document.tables for row in table.rows for cell in row.cells)
    return {1: "\n".join([*(paragraph.text for paragraph in document.paragraphs), *cells])}


def need(module, package):
    if importlib.util.find_spec(module) is None:
        raise ImportError(say("it needs the package {package}: run `pip install {package}`, or save the file as text",
                              package=package))  # fmt: skip


READERS = {".txt": read_plain, ".md": read_plain, ".html": read_html, ".htm": read_html, ".csv": read_table,
           ".pdf": read_pdf, ".docx": read_docx}
