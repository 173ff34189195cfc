"""Questions and answers: what the course holds, what a file of one's own may look like, and what an error says."""

import json

import pytest
from leaplm import instructions
from leaplm.grading.judge.tiny_models import chat_tokenizer
from repo import ROOT

HELDOUT = ROOT / "course" / "lab15_instructions" / "heldout"


@pytest.mark.parametrize(("language", "sizes"), [("eng", (227, 28, 58)), ("swa", (45, 16)), ("hau", (45, 16))])
def test_rows_of_the_course(language, sizes):
    parts = instructions.load_instructions(language)
    assert tuple(map(len, parts.values())) == sizes
    rows = [row for part in parts.values() for row in part]
    assert all(set(row) == {"system", "question", "answer"} and all(row.values()) for row in rows)
    assert all(instructions.begins_in_form(row["answer"]) for row in rows)
    assert all(instructions.in_form(row["answer"]) for row in parts["test"]), "the test has no courtesies"


@pytest.mark.parametrize("language", instructions.LANGUAGES)
def test_held_out_questions_are_new(language):
    parts = instructions.load_instructions(language)
    open_ones = {row["question"].lower() for part in parts.values() for row in part}
    open_ones |= {pair["question"].lower() for part in instructions.load_pairs().values() for pair in part}
    open_ones |= {row["question"].lower() for row in instructions.load_safety()}
    held_out = instructions.read_desks(HELDOUT / f"{language}.tsv", language)
    assert held_out and not open_ones & {row["question"].lower() for row in held_out}


def test_no_question_stands_in_two_parts():
    parts = instructions.load_instructions("eng")
    found = [row["question"] for part in parts.values() for row in part]
    found += [pair["question"] for part in instructions.load_pairs().values() for pair in part]
    found += [row["question"] for row in instructions.load_safety()]
    assert len(set(found)) == len(found)


def test_pairs_and_safety():
    pairs = instructions.load_pairs()
    assert (len(pairs["train"]), len(pairs["test"])) == (82, 22)
    assert all(len(pair["chosen"]) < len(pair["rejected"]) for pair in pairs["test"])
    refused = [pair["chosen"].startswith("Refused") for pair in pairs["train"]]
    turned = [pair["rejected"].startswith("Refused") for pair in pairs["train"]]
    assert sum(refused) == sum(turned) == 12 and not any(a and b for a, b in zip(refused, turned, strict=True))
    safety = instructions.load_safety()
    assert len(safety) == 40 and sum(row["refuse"] for row in safety) == 20


FORMS = {
    "a.csv": "question,answer\n{rows}",
    "a.tsv": "answer\tQuestion\tsystem\n{tabs}",
    "a.jsonl": "{lines}",
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_file_gives_the_same_rows(tmp_path, name):
    said = [(f'Is stall {i} open, "Mama"?', f"Row {i}: open.\nCome early.") for i in range(40)]
    quoted = [f'"{question.replace(chr(34), chr(34) * 2)}"' for question, _ in said]
    content = FORMS[name].format(
        rows="\n".join(f'{q},"{a}"' for q, (_, a) in zip(quoted, said, strict=True)),
        tabs="\n".join(f'"{a}"\t{q}\t' for q, (_, a) in zip(quoted, said, strict=True)),
        lines="\n\n".join(json.dumps({"question": q, "answer": a}) for q, a in said + said[:3]))
    (tmp_path / name).write_text(content, encoding="utf-8")
    rows = instructions.read_instructions(tmp_path / name)
    assert [(row["question"], row["answer"]) for row in rows] == said
    parts = instructions.load_instructions(str(tmp_path / name))
    assert len(parts["train"]) + len(parts["test"]) == 40 and len(parts["test"]) > 3
    assert {row["system"] for row in rows} == {"Answer the question."}


@pytest.mark.parametrize(("name", "content", "told"), [
    ("a.csv", "question,label\nx,y\n", "line 1: the columns are"),
    ("a.csv", "question,answer\nx,\n", "line 2: `answer` is empty"),
    ("a.csv", "question,answer\nx,open, from 6\n", "line 2: there are more fields than columns"),
    ("a.jsonl", '{"question": "x"}\n', "line 1: `answer` is empty"), ("a.jsonl", "\n[1, 2]\n", "line 2: an object with"),
    ("a.jsonl", "{question\n", "line 1: this is not JSON"),
    ("a.jsonl", '{"question": 3, "answer": "x"}\n', "`question` is 3, which is no text"),
    ("a.csv", "question,answer\nx," + "y" * 2001 + "\n", "`answer` has 2,001 characters"),
])  # fmt: skip
def test_what_a_file_lacks_is_said(tmp_path, name, content, told):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        instructions.read_instructions(tmp_path / name)


def test_what_cannot_be_loaded_is_said(tmp_path):
    with pytest.raises(ValueError, match="has no questions with answers here"):
        instructions.load_instructions("yor")
    with pytest.raises(FileNotFoundError, match="Put the file beside the notebook"):
        instructions.load_instructions(str(tmp_path / "none.csv"))
    (tmp_path / "few.csv").write_text("question,answer\n" + "\n".join(f"q{i},a" for i in range(9)), encoding="utf-8")
    with pytest.raises(ValueError, match="9 different questions; at least 30"):
        instructions.load_instructions(str(tmp_path / "few.csv"))


def test_a_row_that_fits_into_no_pack_is_named_when_the_file_is_read(tmp_path):
    path, tokenizer = tmp_path / "long.csv", chat_tokenizer(["a", "b"])
    path.write_text("question,answer\na?,b\n" + "a " * 300 + ",b\n", encoding="utf-8")
    assert len(instructions.read_instructions(path)) == 2
    with pytest.raises(ValueError, match=r"long.csv, line 3: .* at most 256 fit"):
        instructions.read_instructions(path, tokenizer)
