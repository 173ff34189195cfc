"""Question banks: every lab has one, both formats hold what the source says, and numbers are those of the records."""

import io
import re
import xml.etree.ElementTree as ET
import zipfile

import pytest
from leaplm.grading.course import list_labs, load_module
from repo import ROOT

questions = load_module(ROOT / "course" / "tools" / "questions.py")
source, moodle, canvas = (questions.sys.modules[name] for name in ("source", "moodle", "canvas"))
LABS = [lab for lab in list_labs(ROOT) if questions.lab_file(ROOT, lab, source.FILE).is_file()]
to_html = questions.sys.modules["xml_parts"].to_html
FEWEST = 8
QTI = {"q": canvas.ASSESSMENT, "m": canvas.MANIFEST}
BANKS = {lab: questions.read_questions(ROOT, lab) for lab in LABS}
ONE = pytest.mark.parametrize("lab", LABS)


def plain(text):
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_every_lab_has_questions():
    assert list_labs(ROOT) == LABS, f"write {source.FILE} for the others"


@ONE
def test_a_lab_has_questions_of_each_kind_with_reasons(lab):
    bank = BANKS[lab]
    assert len(bank) >= FEWEST and {one.kind for one in bank} == set(source.KEYS)
    assert len({one.name for one in bank}) == len(bank)
    for one in bank:
        assert re.fullmatch(r"[a-z0-9-]+", one.name) and one.ask.strip() and one.because.strip(), one.name
        assert not re.search(r"\{\w*[:}]", one.ask + one.because), f"{one.name}: a name that `given` lacks"
        if one.kind == "choice":
            answers = [one.right, *(answer for answer, _ in one.wrong)]
            assert len(one.wrong) >= 3 and len(set(answers)) == len(answers), one.name
            assert all(why.strip() for _, why in one.wrong), one.name
        elif one.kind == "number":
            assert one.number == one.number and one.within >= 0, one.name
        else:
            assert one.accept and len({text.casefold() for text in one.accept}) == len(one.accept), one.name


@ONE
def test_a_question_with_a_record_reads_it(lab, monkeypatch):
    """Each lab with a record asks for a number of it, and another record gives another question."""
    text = (ROOT / "course" / lab / source.FILE).read_text(encoding="utf-8")
    names = {entry["name"] for entry in source.tomllib.loads(text)["number"] if "given" in entry}
    if lab == "lab10_capstone":
        assert not names  # it has no record
        return
    assert names
    real = source.studies.calibration.load_record
    monkeypatch.setattr(source.studies.calibration, "load_record", lambda *where, **more: another(real(*where, **more)))
    changed = {one.name: one for one in questions.read_questions(ROOT, lab)}
    assert any(changed[one.name].ask != one.ask for one in BANKS[lab] if one.name in names)


def another(record):
    """The record with all that was measured a little larger."""
    settings = ("alpha", "learning_rate")
    return record.apply(lambda column: column * 1.07 if column.name not in settings
                        and (column.dtype == float or column.name == "trainable") else column)


@ONE
def test_moodle_reads_what_the_source_says(lab):
    quiz = ET.fromstring(moodle.bank("Lab", BANKS[lab]))
    category, *asked = quiz.findall("question")
    assert quiz.tag == "quiz" and category.get("type") == "category"
    kinds = {"multichoice": "choice", "numerical": "number", "shortanswer": "short"}
    assert len(asked) == len(BANKS[lab])
    for xml, one in zip(asked, BANKS[lab], strict=True):
        assert kinds[xml.get("type")] == one.kind and xml.findtext("name/text") == one.name
        assert xml.findtext("questiontext/text") == to_html(one.ask)
        answers = xml.findall("answer")
        full = [answer for answer in answers if answer.get("fraction") == "100"]
        if one.kind == "choice":
            assert len(full) == 1 and len(answers) == 1 + len(one.wrong) and xml.findtext("single") == "true"
            assert all(answer.findtext("feedback/text") for answer in answers if answer.get("fraction") == "0")
        elif one.kind == "number":
            number, within = float(full[0].findtext("text")), float(full[0].findtext("tolerance"))
            assert number == pytest.approx(one.number) and within == one.within
        else:
            assert [answer.findtext("text") for answer in full] == one.accept and xml.findtext("usecase") == "0"


@ONE
def test_canvas_reads_what_the_source_says(lab):
    with zipfile.ZipFile(io.BytesIO(canvas.package(lab, "Lab", BANKS[lab]))) as archive:
        manifest = ET.fromstring(archive.read("imsmanifest.xml"))
        resource = manifest.find(".//m:resource", QTI)
        assert resource.get("type") == "imsqti_xmlv1p2"
        quiz = ET.fromstring(archive.read(resource.find("m:file", QTI).get("href")))
    items = quiz.findall(".//q:item", QTI)
    assert len(items) == len(BANKS[lab]) == len({item.get("ident") for item in items})
    for item, one in zip(items, BANKS[lab], strict=True):
        fields = {f.findtext("q:fieldlabel", namespaces=QTI): f.findtext("q:fieldentry", namespaces=QTI)
                  for f in item.findall(".//q:qtimetadatafield", QTI)}
        assert fields["question_type"] == canvas.KINDS[one.kind]
        shown = {feedback.get("ident") for feedback in item.findall("q:itemfeedback", QTI)}
        assert {link.get("linkrefid") for link in item.findall(".//q:displayfeedback", QTI)} == shown
        assert marked(item, one) == (True, False)


def marked(item, one):
    """(whether the right answer gets the points, whether a wrong one does), by the item's own conditions."""
    right = next(c for c in item.findall(".//q:respcondition", QTI) if c.find("q:setvar", QTI) is not None)
    equal = [value.text for value in right.findall(".//q:varequal", QTI)]
    if one.kind == "number":
        low, high = (float(right.find(f".//q:{name}", QTI).text) for name in ("vargte", "varlte"))
        return tuple(float(equal[0]) == value or low <= value <= high
                     for value in (float(f"{one.number:.10g}"), one.number + 2 * one.within + 1))
    if one.kind == "short":
        return set(one.accept) == set(equal), "another word" in equal
    labels = {label.get("ident"): plain(label.findtext(".//q:mattext", namespaces=QTI))
              for label in item.findall(".//q:response_label", QTI)}
    told_right = plain(to_html(one.right))
    return [labels[name] for name in equal] == [told_right], any(labels[name] != told_right for name in equal)


@pytest.mark.parametrize(("entry", "words"), [({"name": "a", "ask": "?"}, "a choice has"),
                                              ({"ask": "?", "because": "!"}, "a question without a name")])
def test_a_question_that_is_not_as_the_format_says_is_named(entry, words):
    with pytest.raises(ValueError, match=words):
        source.made("lab2_finetuning", "choice", entry)
    with pytest.raises(ValueError, match="is no kind of question"):
        source.made("lab2_finetuning", "essay", entry)


def test_files_are_the_same_when_written_again(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        questions.main(["lab3_lora", "--out", str(folder)])
    assert [path.name for path in sorted(first.iterdir())] == ["lab3_lora.qti.zip", "lab3_lora.xml"]
    assert all(path.read_bytes() == (second / path.name).read_bytes() for path in first.iterdir())
