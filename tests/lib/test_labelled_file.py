"""A student's CSV: what spreadsheet programs write is read, rows in are rows out, and the rest is a clear error."""

import csv
import io
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaplm import data
from leaplm.labelled_file import DELIMITERS, label_key, read_labelled_csv, read_with

LABELS = ("positive", "negative", "rere", "खराब")
LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Cf"])
TEXTS = st.text(LETTERS | st.sampled_from(list(",;\t|\"'\n ẹɗ")), min_size=1, max_size=30).filter(
    lambda text: text.strip() and not re.search(r"(?:^|\n)[^\n]*[,;\t|]\s*(?:positive|negative)", text))
HEADERS = [("text", "label"), ("Text", " LABEL "), ("\ufeffTEXT", "Label")]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(LABELS)), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("own") / "mine.csv"


def read(place, content):
    """(rows as pairs, what was said) of a file with this content."""
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = []
    found = read_labelled_csv(place, said.append)
    return list(found.itertuples(index=False, name=None)), " ".join(said)


def written(rows, delimiter=",", header=("text", "label"), quoting=csv.QUOTE_MINIMAL, end="\r\n", tail=""):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=tail + end)
    writer.writerows([header, *rows])
    return file.getvalue()


def expected(rows):
    return [(unicodedata.normalize("NFC", text).strip(), label) for text, label in rows]


@settings(max_examples=100, deadline=None)
@given(ROWS, st.sampled_from(DELIMITERS), st.sampled_from(HEADERS),
       st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]), st.integers(0, 2),
       st.sampled_from(ENCODINGS), st.sampled_from(["", "\r\n\r\n", ",;\n"]))
def test_rows_in_are_rows_out(place, rows, delimiter, header, quoting, end, tails, encoding, last):
    """Whatever the delimiter, the encoding, the header's letters, delimiters at the ends of lines and empty last rows."""
    content = written(rows, delimiter, header, quoting, end, tails * delimiter)
    content += last.replace(",;", 2 * delimiter)
    if encoding in ("utf-16-le", "utf-16-be") and not content.isascii():
        encoding = "utf-16"  # a guess without a mark is for texts with many Latin letters
    found, said = read(place, content.encode(encoding))
    assert found == expected(rows)
    assert ("between the columns" in said) == (delimiter != ",") and (delimiter == "," or read_with(delimiter) in said)
    assert encoding.startswith("utf-8") == ("UTF-16" not in said)


LINES = st.lists(st.text(st.sampled_from(list('ab ,"\n')), max_size=12), min_size=4, max_size=12)


@settings(max_examples=200, deadline=None)
@given(LINES, st.lists(st.sampled_from(("yes", "no")), min_size=12, max_size=12))
def test_without_quoting_nothing_is_lost_without_a_word(place, texts, labels):
    """Rows as careless hands write them: every letter of the file is in the result, or there is an error with a line."""
    body = "".join(f"{text},{label}\n" for text, label in zip(texts, labels, strict=False))
    try:
        found, said = read(place, f"text,label\nfine,yes\ngood,no\nwell,yes\nso,no\n{body}")
    except ValueError as error:
        assert re.search(r"line \d+", str(error))
        return
    letters = re.sub(r'[\s",]', "", body)
    assert re.sub(r'[\s",]', "", "".join(text + label for text, label in found[4:])) == letters
    if len(found) - 4 < len(texts):  # only a text in quotes may go over several lines
        assert body.count('"') >= 2


@pytest.mark.parametrize(("body", "rows", "told"), [
    ("I came, I saw,good\nfine,good\nbad,poor\nno,poor\n", [("I came, I saw", "good")], r"commas read as .* \(line 2\)"),
    ('"alone it stands,good\nfine,good\n"again,poor\nno,poor\n', [('"alone it stands', "good")],
     r"quotes .* \(2 lines: 2, 4\)"),
    ('"Good" he said,good\nfine,good\nbad,poor\nno,poor\n', [('"Good" he said', "good")],
     r"double quotes read .* \(line 2\)"),
    ("fine,good,\nwell,good,\nbad,poor,\nno,poor,\n", [("fine", "good")], "^$"),
    ("fine, good\nwell, good\nbad, poor\nno, poor\n", [("fine", "good")], "^$"),
    ("fine,Good\nwell,good\nbad,poor \nno,poor\nso,good\n", [("fine", "good")], "'good', 'Good'"),
    ('"two\nlines",good\nfine,good\nbad,poor\nno,poor\n', [("two\nlines", "good")], "^$"),
])
def test_what_people_write_is_read_and_told(place, body, rows, told):
    found, said = read(place, f"text,label\n{body}last,good\nat last,poor\n")
    assert found[: len(rows)] == rows and re.search(told, said)
    assert {label for _, label in found} == {"good", "poor"}


@pytest.mark.parametrize(("content", "rows", "told"), [
    ("text,label\ncafé,été\n".encode("cp1252"), [("café", "été")], "Windows-1252.*'café'"),
    (b"sep=;\r\nText;Label\r\nIna kwana;a\r\n", [("Ina kwana", "a")], "semicolons"),
    (b"id,label,text\n1,a,one, two\n2,a,three\n3,a,x\n", [("one, two", "a")], "left aside: id.*commas"),
    (b"text,label\rone,a\rtwo,b\r", [("one", "a"), ("two", "b")], "^$"),
    ("text\tlabel\nስላም\tጥሩ\n".encode("utf-16"), [("ስላም", "ጥሩ")], "UTF-16.*tabs"),
    ("text,label\na\ufffde,b\nc,b\n".encode(), [("a\ufffde", "b")], r"letters were lost .*\(line 2\)"),
    (b"text,label,note\na,b\n", [("a", "b")], "left aside: note"),
])
def test_what_programs_write_is_read_and_told(place, content, rows, told):
    found, said = read(place, content)
    assert found[: len(rows)] == rows and re.search(told, said)


@pytest.mark.parametrize(("content", "message"), [
    (b"text:label\na:b\n", "no column label, text; .*it is: text:label"),
    (b"text,label\n\"a\",b\n,c\n", "line 3: text or label is empty"),
    (b"text,label\na,b\nonly a text\n", "line 3: 1 columns, but the first line has 2: only a text"),
    (b"text,label\na,b\nc,d,e,f\n", "line 3: 4 columns, but the first line has 2: c,d,e,f"),
    (b"text,label\nx,b\ny,b\n\"He said \\\"go\\\"\",b\n", "line 4: a double quote opens a text"),
    (b"text,label\nx,b\ny,b\n\"one,b\ntwo\nthree \",b\n", "line 4: its double quote closes in line 6 only"),
    (b"text,label\n\x81\x8d,b\n", r"not UTF-8, and line 2 \(byte 11\) not CP1252"),
    (b"text,text,label\na,b,c\n", "two columns are called `text`"),
    (b"PK\x03\x04whatever", "is a workbook"),
    (b"text,label\n", "no rows below"),
    (b"", "is empty"),
])
def test_what_is_wrong_is_said_with_its_line(place, content, message):
    place.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_labelled_csv(place)


@pytest.mark.parametrize(("content", "message"), [
    (b"text,label\na,b\nc,b\n", "only the label 'b'"), (b"text,label\na,b\nc,d\n", "has 1 different rows; at least 20")])
def test_classes_need_rows(place, content, message):
    place.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        data.load_sentiment(str(place))


@given(st.text(LETTERS, min_size=1, max_size=20))
def test_a_label_is_itself_in_any_form(label):
    assert label_key(unicodedata.normalize("NFD", f" {label} ")) == label_key(unicodedata.normalize("NFC", label))


@pytest.mark.parametrize(("text", "encoding", "told"), [
    ("这部电影很好看，我喜欢", "gb18030", "GB 18030"), ("فيلم جميل جدا وأنصح به", "cp1256", "Windows-1256"),
    ("فيلم جميل", "cp1256", "Windows-1256"),
    ("uma ação, duas ações, São João", "cp1252", "Windows-1252"), ("niño, años, é, è", "cp1252", "Windows-1252"),
    ("ção ções", "cp1252", "Windows-1252")])  # fmt: skip
def test_what_excel_writes_in_other_languages_is_read_with_its_letters(place, text, encoding, told):
    place.write_bytes(f'text,label\n"{text}",a\n"{text}!",b\n'.encode(encoding))
    said = []
    assert read_labelled_csv(place, said.append).text.tolist() == [text, f"{text}!"] and told in said[0]


def test_letters_that_nobody_can_tell_are_refused(place):
    place.write_bytes("text,label\nОчень хорошо,a\nПлохо,b\n".encode("cp1251"))
    with pytest.raises(ValueError, match="not in UTF-8.*Save it as 'CSV UTF-8'"):
        read_labelled_csv(place)


@pytest.mark.parametrize("comma", "，،")
def test_another_comma_is_named(place, comma):
    place.write_text(f"text{comma}label\na{comma}b\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"stand apart by {comma}, another comma"):
        read_labelled_csv(place)


def test_copies_of_one_text_are_counted_once(place):
    place.write_text("text,label\n" + "same,a\n" * 60 + "".join(f"text {n},b\n" for n in range(60)), encoding="utf-8")
    with pytest.raises(ValueError, match="label 'a' has 1 different rows"):
        data.read_own(place)


def test_a_file_s_faults_are_said_in_the_learners_language(place, monkeypatch):
    place.write_text("a,b\n1,2\n", encoding="utf-8")
    monkeypatch.setenv("LEAPLM_LOCALE", "es")
    with pytest.raises(ValueError, match="no tiene la columna"):
        read_labelled_csv(place)
