"""The leaflets are whole, and one's own folder is read, or what is wrong is said."""

import pytest
from leaplm import retrieval
from leaplm.retrieval import documents


@pytest.mark.parametrize("language", documents.LANGUAGES)
def test_each_question_has_its_leaflet_and_its_answer_stands_there(language):
    leaflets, questions = retrieval.load_collection(language)
    texts = {row["name"]: row["text"] for row in leaflets}
    assert len(texts) == len(leaflets) >= 20
    for rows in questions.values():
        assert {bool(row["document"]) for row in rows} == {True, False}
        assert all(row["answer"] in texts[row["document"]] for row in rows if row["document"])


def test_no_question_stands_in_two_parts():
    from leaplm.grading.course import load_module
    from repo import ROOT

    held = load_module(ROOT / "course/lab12_retrieval/checks.py").heldout_questions()
    given = {row["question"] for language in documents.LANGUAGES for row in documents.load_questions(language)}
    assert not given & {row["question"] for row in held} and len({row["question"] for row in held}) == len(held)
    for row in held:
        names = {leaflet["name"] for leaflet in retrieval.load_collection(row["language"])[0]}
        assert row["document"] in names | {""}


def test_a_folder_of_all_kinds_is_read(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_text("Ruwa mai tsabta.", encoding="utf-8")
    (tmp_path / "deep" / "b.md").write_text("# Maji\n\nSafi.", encoding="utf-8")
    (tmp_path / "c.html").write_text("<html><head><title>x</title></head><script>bad()</script><p>Agua<br>pura</p></html>")
    (tmp_path / "d.csv").write_text("id;Text\n1;first row\n2;second row\n")
    (tmp_path / "e.csv").write_text("crop,depth\nmaize,5 cm\n")
    (tmp_path / "f.xyz").write_text("?")
    said = []
    found = {row["name"]: row["text"] for row in retrieval.read_documents(tmp_path, tell=said.append)}
    assert found == {"a.txt": "Ruwa mai tsabta.", "deep/b.md": "# Maji Safi.", "c.html": "Agua pura",
                     "d.csv, row 1": "first row", "d.csv, row 2": "second row", "e.csv": "crop: maize. depth: 5 cm"}
    assert said == ["1 file(s) left out: f.xyz: the ending '.xyz' is not known"]


def test_word_and_pdf_files_are_read_or_named(tmp_path):
    docx = pytest.importorskip("docx")
    pytest.importorskip("pypdf")
    document = docx.Document()
    document.add_paragraph("Plant after the rain.")
    document.add_table(1, 1).cell(0, 0).text = "75 cm"
    document.save(str(tmp_path / "a.docx"))
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 broken")
    said = []
    [row] = retrieval.read_documents(tmp_path, tell=said.append)
    assert row["text"] == "Plant after the rain. 75 cm"
    assert "b.pdf: it cannot be read as PDF" in said[0]


def test_a_missing_reader_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    monkeypatch.setattr(documents.importlib.util, "find_spec", lambda name: None)
    said = []
    with pytest.raises(ValueError, match="no document could be read"):
        retrieval.read_documents(tmp_path, tell=said.append)
    assert "run `pip install pypdf`" in said[0]


def own_folder(path, questions=None):
    for i in range(12):
        (path / f"{i}.txt").write_text(f"Field number {i} grows crop {i}. Its owner is family {i}.", encoding="utf-8")
    if questions:
        (path / "questions.csv").write_text("question,document\n" + questions, encoding="utf-8")
    return str(path)


def test_questions_of_ones_own_are_taken_and_a_wrong_name_is_said(tmp_path):
    rows = "".join(f"Who owns field {i}?,{i}.txt\nWho flies to planet {i}?,\n" for i in range(12))
    leaflets, parts = retrieval.load_collection(own_folder(tmp_path, rows))
    assert len(leaflets) == 12 and sum(map(len, parts.values())) == 24
    with pytest.raises(ValueError, match="line 2: there is no document 'zero.txt'"):
        retrieval.load_collection(own_folder(tmp_path, "Who?,zero.txt\n"))
    with pytest.raises(ValueError, match="line 2: a question and a document are needed"):
        retrieval.load_collection(own_folder(tmp_path, ",1.txt\n"))


def test_without_questions_known_items_are_made(tmp_path):
    leaflets, parts = retrieval.load_collection(own_folder(tmp_path))
    names = {row["name"] for row in leaflets}
    assert len(names) == 10  # a fifth is taken out, so that some questions have no answer
    for rows in parts.values():
        assert {bool(row["document"]) for row in rows} == {True, False}
        assert all(row["document"] in names | {""} for row in rows)


def test_too_few_documents_and_an_unknown_language_are_said(tmp_path):
    (tmp_path / "a.txt").write_text("Alone.")
    with pytest.raises(ValueError, match="has 1 documents; at least 10"):
        retrieval.load_collection(str(tmp_path))
    with pytest.raises(ValueError, match="LANGUAGE='xyz'` is not known"):
        retrieval.load_collection("xyz")
