"""A student's own CSV of texts and labels, as Excel, LibreOffice, Google Sheets and editors write it.

What can be read in one sensible way is read, and one line says what was assumed. Anything else is a ValueError that names
the file, the line and the remedy. No row goes missing: rows in are rows out, but for lines without any letter.
"""

import codecs
import csv
import io
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from leaplm.locales import say

COLUMNS = ("text", "label")
DELIMITERS = (",", ";", "\t", "|")
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
         codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # UTF-32 first: its mark begins like UTF-16's
OLD = {"cp1252": "Windows-1252", "cp1256": "Windows-1256", "gb18030": "GB 18030"}  # of Excel, by the language of Windows
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods; .xls
FORMATS = re.compile(r"[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")  # nobody sees them
LETTERS = {"gb18030": r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]", "cp1256": r"[\u0600-\u06ff]"}
# First bytes of Chinese punctuation and of the 3,755 letters that texts are made of; those of Arabic ones go further.
FIRST_LEVEL = {*range(0xA1, 0xA4), *range(0xB0, 0xD8)}
OTHER_COMMAS = "，،"  # of Chinese and of Arabic
SHOWN = 3  # lines that a message names


class Table(NamedTuple):
    """A file as lines with their ends, the delimiter, the names of its columns, and the number of its header's line."""

    path: Path
    lines: list
    delimiter: str
    names: list
    header: int

    @property
    def places(self):
        return [self.names.index(name) for name in COLUMNS]


def read_labelled_csv(path, tell=print):
    """The rows of a CSV file as a DataFrame (text, label): labels and texts in normal form C, without blanks around them.

    tell: is given one line about what was assumed, if anything was: another delimiter than the comma, another encoding than
    UTF-8, commas or quotes of the text itself, several spellings of a label, other columns.
    Raises FileNotFoundError, and ValueError for what cannot be read in one sensible way.

    >>> len(read_labelled_csv("clinic.csv"))     # doctest: +SKIP
    clinic.csv, 120 rows: read with semicolons between the columns.
    120
    """
    path, notes = Path(path), defaultdict(list)
    if not path.is_file():
        raise FileNotFoundError(say("{path} does not exist (looked in {folder}). Put the file beside the notebook.",
                                    path=path, folder=Path.cwd()))  # fmt: skip
    table = find_columns(path, decode(path, notes), notes)
    rows = pd.DataFrame(read_rows(table, notes), columns=["line", *COLUMNS])
    if rows.empty:
        raise ValueError(say("{path} has no rows below its first line.", path=path))
    rows["label"] = unify_labels(rows.label, notes)
    if notes:
        told = "; ".join(with_lines(note, lines) for note, lines in notes.items())
        tell(say("{file}, {rows} rows: {notes}.", file=path.name, rows=len(rows), notes=told))
    return rows[list(COLUMNS)]


def with_lines(note, lines):
    """A note, and the numbers of the first lines that it is about.

    >>> with_lines("cut", [3]), with_lines("cut", [3, 4, 8, 9, 11]), with_lines("cut", [])
    ('cut (line 3)', 'cut (5 lines: 3, 4, 8, ...)', 'cut')
    """
    if not lines:
        return note
    if len(lines) == 1:
        return say("{note} (line {line})", note=note, line=lines[0])
    some = ", ".join([*map(str, lines[:SHOWN]), *["..."] * (len(lines) > SHOWN)])
    return say("{note} ({count} lines: {lines})", note=note, count=len(lines), lines=some)


# -- letters ------------------------------------------------------------------------------------------------------------


def decode(path, notes):
    """The text of a file in UTF-8, in what its byte order mark says, in UTF-16, or as Excel's plain CSV has it: in
    Windows-1252, Windows-1256 (Arabic) or GB 18030 (Chinese). ValueError where it can be none of them for sure.
    """
    content = path.read_bytes()
    if content.startswith(WORKBOOKS):
        raise ValueError(say("{path} is a workbook, not a CSV. Save it as 'CSV UTF-8' in the program that wrote it.",
                             path=path))  # fmt: skip
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), None) or guess_encoding(content)
    if encoding is None:
        raise ValueError(say("{path} is not in UTF-8, and its letters can be read in several ways. Save it as 'CSV UTF-8' "
                             "in the program that wrote it.", path=path))  # fmt: skip
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(say("{path} is not UTF-8, and line {line} (byte {byte}) not {encoding}. Save it as 'CSV UTF-8' in "
                             "the program that wrote it.", path=path, line=line, byte=error.start,
                             encoding=encoding.upper())) from None  # fmt: skip
    if encoding in OLD:
        strange = next(word for word in re.split(r"[\s,;|\"]+", text) if not word.isascii())
        notes[say("read as {encoding}, since it is not UTF-8 (if {word} looks wrong, save it as 'CSV UTF-8')",
                  encoding=OLD[encoding], word=repr(strange))] = []  # fmt: skip
    elif not encoding.startswith("utf-8"):
        notes[say("read as {encoding}", encoding=encoding.upper())] = []
    if "\ufffd" in text:
        notes[say("letters were lost before the file was saved ({sign})", sign="\ufffd")] = [
            number for number, line in enumerate(io.StringIO(text, newline=""), 1) if "\ufffd" in line]
    return unicodedata.normalize("NFC", text)


def guess_delimiter(text):
    """What stands most often in the first line of a table: comma, semicolon or tab; the comma where none does.

    >>> guess_delimiter("text;english"), guess_delimiter("text")
    (';', ',')
    """
    return max(",;\t", key=text.partition("\n")[0].count)


def guess_encoding(content):
    """UTF-16 where every second byte is often zero (as in blanks, commas and line ends), UTF-8 where it fits, else an old
    encoding, or None where several could be meant.
    """
    for encoding, zeros in (("utf-16-le", content[1::2]), ("utf-16-be", content[::2])):
        if zeros.count(0) * 20 > len(zeros) and content.count(0) == zeros.count(0):
            return encoding
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return guess_old_encoding(content)
    return "utf-8"


def guess_old_encoding(content):
    """The one of OLD that fits, by the runs of bytes above 127: in Western words letters with accents stand alone; a Chinese
    letter is two such bytes; an Arabic word is of Arabic letters only, where Cyrillic or Greek would be a mixture. Of two
    that fit, GB 18030 is taken where nearly all letters are of its first level, as in any Chinese text.

    >>> guess_old_encoding("niño, ação".encode("cp1252")), guess_old_encoding("Очень хорошо".encode("cp1251"))
    ('cp1252', None)
    >>> guess_old_encoding("فيلم جميل".encode("cp1256")), guess_old_encoding("推荐".encode("gb18030"))
    ('cp1256', 'gb18030')
    """
    runs = re.findall(rb"[\x80-\xff]+", content)
    if sum(map(len, runs)) < 2.5 * len(runs):
        return "cp1252"
    fitting = [encoding for encoding, letters in LETTERS.items() if fits(content, encoding, letters)]
    if "gb18030" in fitting and any(len(run) % 2 for run in runs):
        fitting.remove("gb18030")
    if len(fitting) == 2:
        first = [run[place] for run in runs for place in range(0, len(run), 2)]
        return "gb18030" if sum(byte in FIRST_LEVEL for byte in first) > 0.9 * len(first) else "cp1256"
    return fitting[0] if fitting else None


def fits(content, encoding, letters):
    """Whether nearly all that is not ASCII is of some letters (a regular expression) in an encoding."""
    try:
        others = re.findall(r"[^\x00-\x7f]", content.decode(encoding))
    except UnicodeDecodeError:
        return False
    return len(re.findall(letters, "".join(others))) >= 0.9 * len(others)


def find_columns(path, text, notes):
    """The Table of a text. The header is its first line with letters; it names both columns, in any case and order."""
    lines = list(io.StringIO(text, newline=""))
    skipped = (not line.strip() or line.lower().startswith("sep=") for line in lines)  # Excel names the delimiter with sep=
    header = next((number for number, skip in enumerate(skipped) if not skip), None)
    if header is None:
        raise ValueError(say("{path} is empty; its first line must be: {names}", path=path, names=",".join(COLUMNS)))
    found = {delimiter: read_names(lines[header], delimiter) for delimiter in DELIMITERS}
    delimiter = max(found, key=lambda delimiter: len({*found[delimiter]} & {*COLUMNS}))  # of equals the first, the comma
    names = found[delimiter]
    if missing := [name for name in sorted(COLUMNS) if name not in names]:
        raise ValueError(lacking_columns(path, missing, lines[header].strip()))
    if twice := [name for name in COLUMNS if names.count(name) > 1]:
        raise ValueError(say("{path}, line {line}: two columns are called `{name}`. Delete one.", path=path, line=header + 1,
                             name=twice[0]))  # fmt: skip
    if delimiter != ",":
        notes[read_with(delimiter)] = []
    if others := [name for name in names if name not in COLUMNS]:
        told = ", ".join(name or say("(no name)") for name in others)
        notes[say("columns left aside: {columns}", columns=told)] = []
    return Table(path, lines, delimiter, names, header)


def read_with(delimiter):
    """A sentence of its own for each delimiter, as below: in other languages their names are not all of one kind."""
    return {";": say("read with semicolons between the columns"), "\t": say("read with tabs between the columns"),
            "|": say("read with vertical bars between the columns")}[delimiter]  # fmt: skip


def read_as_text(sign):
    return {",": say("commas read as part of the text"), ";": say("semicolons read as part of the text"),
            "\t": say("tabs read as part of the text"), "|": say("vertical bars read as part of the text"),
            '"': say("double quotes read as part of the text")}[sign]  # fmt: skip


def quote_what_holds(delimiter):
    return {",": say("Put a text that holds commas in double quotes."),
            ";": say("Put a text that holds semicolons in double quotes."),
            "\t": say("Put a text that holds tabs in double quotes."),
            "|": say("Put a text that holds vertical bars in double quotes.")}[delimiter]  # fmt: skip


def lacking_columns(path, missing, line):
    """What to do about a header that does not name both columns."""
    other = next((comma for comma in OTHER_COMMAS if comma in line), None)
    if other and {*read_names(line, other)} >= {*COLUMNS}:
        return say("{path}: its columns stand apart by {other}, another comma than the , of CSV. Write , between the "
                   "columns.", path=path, other=other)  # fmt: skip
    return say("{path} has no column {missing}; its first line must be: {names} (it is: {line})", path=path,
               missing=", ".join(missing), names=",".join(COLUMNS), line=line[:60])  # fmt: skip


def read_names(line, delimiter):
    """The names of a header in lower case, without blanks around them and without empty ones at its end."""
    [names] = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    names = [FORMATS.sub("", name).strip().casefold() for name in names]
    while names and not names[-1]:
        names.pop()
    return names


# -- rows ---------------------------------------------------------------------------------------------------------------


def read_rows(table, notes):
    """Yields (line, text, label) of each row; a line that breaks the rules of CSV is read as it stands, if it can be."""
    known, line = known_labels(table), table.header + 1
    while line < len(table.lines):
        fields, used = parse(table, line)
        if fields is not None and not any(field.strip() for field in fields):
            line += used
            continue
        good = fields is not None and len(fields) <= len(table.names)
        plain = [] if good and used == 1 else [as_it_stands(table, number, known) for number in range(line, line + used)]
        if plain and all(plain):
            sign = '"' if fields is None or used > 1 else table.delimiter
            notes[read_as_text(sign)] += [number for number, *_ in plain]
            yield from plain
        elif good and not any(plain[:1]):
            yield pick(table, line, fields)
        else:
            raise ValueError(explain(table, line, fields, used))
        line += used


def parse(table, line):
    """(fields, lines used) of the row that begins at a line, by the rules of CSV; (None, 1) if it breaks them."""
    lines = (table.lines[number] for number in range(line, len(table.lines)))
    reader = csv.reader(lines, delimiter=table.delimiter, strict=True, skipinitialspace=True)
    try:
        fields = next(reader)
    except csv.Error:
        return None, 1
    while len(fields) > len(table.names) and not fields[-1].strip():
        fields.pop()
    return fields, reader.line_num


def known_labels(table):
    """The labels of the lines that are rows by themselves: what occurs once only may be the end of a text."""
    alone = (parse(table._replace(lines=[line]), 0)[0] for line in table.lines[table.header + 1 :])
    counts = Counter(label_key(fields[table.places[1]]) for fields in alone if fields and len(fields) == len(table.names))
    del counts[""]
    return {label for label, count in counts.items() if count > 1} or set(counts)


def as_it_stands(table, line, known):
    """(line number, text, label) of a line when quotes are letters and spare delimiters belong to the text, or None.

    It must end up with a label that other rows have, and a text that is not in quotes as a whole.
    """
    fields = table.lines[line].strip("\r\n").split(table.delimiter)
    while len(fields) > len(table.names) and not fields[-1].strip():
        fields.pop()
    spare, (text_place, label_place) = len(fields) - len(table.names), table.places
    if spare < 0:
        return None
    text = table.delimiter.join(fields[text_place : text_place + spare + 1]).strip()
    label = fields[label_place + spare * (label_place > text_place)].strip().strip('"')
    quoted = len(text) > 1 and text.startswith('"') and text.endswith('"')
    return None if quoted or not text or label_key(label) not in known else (line + 1, text, label)


def pick(table, line, fields):
    """(line number, text, label) of a row's fields. ValueError where one of them is missing or empty."""
    if len(fields) <= max(table.places):
        raise ValueError(explain(table, line, fields, 1))
    text, label = (FORMATS.sub("", fields[place]) and fields[place].strip() for place in table.places)
    if not text or not label:
        raise ValueError(say("{path}, line {line}: text or label is empty. Fill it or delete the line.", path=table.path,
                             line=line + 1))  # fmt: skip
    return line + 1, text, label


def explain(table, line, fields, used):
    """What is wrong with a row that can be read in no way, or in two."""
    place, start = {"path": table.path, "line": line + 1}, table.lines[line].strip()[:60]
    quotes = say("Put the text in double quotes, and write each double quote inside it twice ({twice}).", twice='""')
    if fields is None:
        return say("{path}, line {line}: a double quote opens a text and does not close it where the text ends: {start}",
                   start=start, **place) + f"  {quotes}"  # fmt: skip
    if used > 1:
        return say("{path}, line {line}: its double quote closes in line {end} only, and the lines between look like rows.",
                   end=line + used, **place) + f" {quotes}"  # fmt: skip
    fault = say("{path}, line {line}: {columns} columns, but the first line has {expected}: {start}", columns=len(fields),
                expected=len(table.names), start=start, **place)  # fmt: skip
    needed = say("Each row needs a text and a label.")
    return f"{fault}  {needed} {quote_what_holds(table.delimiter)}"


# -- labels -------------------------------------------------------------------------------------------------------------


def label_key(label):
    """What makes two labels one: letter case, blanks, invisible characters and the coding of letters aside."""
    return " ".join(FORMATS.sub("", unicodedata.normalize("NFC", label)).casefold().split())


def unify_labels(labels, notes):
    """Each label in the most frequent of its spellings, which are told.

    >>> notes = defaultdict(list)
    >>> unify_labels(["Good", "good", "bad", "good"], notes)
    ['good', 'good', 'bad', 'good']
    >>> list(notes)
    ["one label in several spellings: 'good', 'Good'"]
    """
    spellings = defaultdict(Counter)
    for label in labels:
        spellings[label_key(label)][" ".join(FORMATS.sub("", label).split())] += 1
    for counts in spellings.values():
        if len(counts) > 1:
            spelt = ", ".join(repr(word) for word, _ in counts.most_common())
            notes[say("one label in several spellings: {spellings}", spellings=spelt)] = []
    return [spellings[label_key(label)].most_common(1)[0][0] for label in labels]
