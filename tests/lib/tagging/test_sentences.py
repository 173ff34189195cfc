"""Files with marked names: what is read, what comes back, and what an error says."""

import pytest
from leaplm import tagging

MARKED = "[Amina Bello|PER] sells rice in [Kano|LOC].\n\nNo name here.\n"
FORMS = {
    "a.txt": MARKED,
    "a.conll": "Amina B-PER\nBello I-PER\nsells O\nrice O\nin O\nKano B-LOC\n. O\n\n\nNo O\nname O\nhere O\n. O",
    "b.conll": "-DOCSTART- -X- O\n\n# id = 1\nAmina\tNNP\tI-PER\nBello\tNNP\tI-PER\nsells\tV\tO\nrice N O\nin P O\n"
               "Kano N I-LOC\n. . O\n\nNo D O\nname N O\nhere R O\n. . O\n",
    "a.csv": "sentence;word;tag\n" + "".join(f"1;{w};{t}\n" for w, t in (
        ("Amina", "B-PER"), ("Bello", "I-PER"), ("sells", "O"), ("rice", "O"), ("in", "O"), ("Kano", "B-LOC"), (".", "O")))
             + "".join(f"2;{w};O\n" for w in ("No", "name", "here", ".")),
    "first.csv": "sentence,word,tag\n1,Amina,B-PER\n,Bello,I-PER\n,sells,O\n,rice,O\n,in,O\n,Kano,B-LOC\n,.,O\n"
                 "2,No,O\n,name,O\n,here,O\n,.,O\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_file_gives_the_same_sentences(tmp_path, name):
    (tmp_path / name).write_text(FORMS[name], encoding="utf-8")
    assert tagging.read_tagged(tmp_path / name) == [
        (["Amina", "Bello", "sells", "rice", "in", "Kano", "."], ["B-PER", "I-PER", "O", "O", "O", "B-LOC", "O"]),
        (["No", "name", "here", "."], ["O"] * 4)]


def test_what_is_written_is_read_again(tmp_path):
    rows = tagging.load_tagged("hau")["test"]
    tagging.write_conll(tmp_path / "copy.conll", rows)
    assert tagging.read_tagged(tmp_path / "copy.conll") == rows


@pytest.mark.parametrize(("name", "content", "told"), [
    ("a.conll", "Kano B-LOC\nalone\n", "line 2: 'alone' stands alone"),
    ("a.conll", "Kano LOC\n", "line 1: 'LOC' is not a tag"),
    ("a.txt", "In [Kano|LOC\n", r"line 1: a single '\['"), ("a.csv", "word,tag\nKano,B-LOC\n", "line 1: the columns are"),
    ("a.csv", "sentence,word,tag\n1,,O\n", "line 2: the word is empty"), ("a.txt", "\n\n", "holds no sentence"),
    ("a.csv", "sentence,word,tag\n1,Dar es Salaam,B-LOC\n", "line 2: 'Dar es Salaam' is more than one word"),
    ("a.conll", "Dar es Salaam\tB-LOC\n", "line 1: 'Dar es Salaam' is more than one word"),
    ("a.conll", "Kano\tB-MY TYPE\n", "line 1: 'B-MY TYPE' is not a tag"), ("a.conll", "Kano U-LOC\n", "'U-LOC' is not a"),
    ("a.txt", "In [Kano|MY TYPE].\n", "the type is one word"), ("a.txt", "In [ |LOC].\n", "line 1: .* marks no word"),
    ("a.conll", "Kano O\n" * 2000, "has 2000 words; at most 150"),
    ("a.txt", MARKED, "has 2 different sentences; at least 40"),
    ("a.txt", "".join(f"Line {i} has no name.\n" for i in range(60)), "holds no name"),
])  # fmt: skip
def test_a_file_that_cannot_be_used_says_why(tmp_path, name, content, told):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        tagging.load_tagged(str(tmp_path / name))


def test_other_languages_and_missing_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no sentences with marked names here"):
        tagging.load_tagged("yor")
    with pytest.raises(FileNotFoundError, match="Put the file beside the notebook"):
        tagging.load_tagged(str(tmp_path / "none.conll"))


def test_an_own_file_is_split_without_overlap(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("".join(f"[Farmer {i}|PER] grows [Crop{i}|CROP].\n" for i in range(60)), encoding="utf-8")
    parts = tagging.load_tagged(str(path))
    assert sum(map(len, parts.values())) == 60
    assert tagging.tag_names(parts["train"]) == ["O", "B-PER", "I-PER", "B-CROP", "I-CROP"]


@pytest.mark.parametrize("language", tagging.LANGUAGES)
def test_the_courses_sentences_keep_the_rule_of_bio(language):
    for rows in tagging.load_tagged(language).values():
        for words, tags in rows:
            assert len(words) == len(tags)
            moves = tagging.allowed_moves(sorted(set(tags) | {"O"}, key=lambda tag: (tag != "O", tag)))
            names = sorted(set(tags) | {"O"}, key=lambda tag: (tag != "O", tag))
            assert all(moves[names.index(a), names.index(b)] for a, b in zip(["O", *tags[:-1]], tags, strict=True)), words
