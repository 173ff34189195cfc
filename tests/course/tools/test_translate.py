"""The course in other languages: units of text, catalogues and their drift, labs, messages, and marks."""

import ast
import codecs
import copy
import functools
import io
import json
import os
import re
import tokenize

import nbformat
import pytest
from babel.messages import Catalog
from babel.messages.pofile import read_po
from leaplm import locales, translation
from leaplm.cli.app import app
from leaplm.grading.course import LANGUAGES, list_labs, load_module
from leaplm.grading.demo import Classroom
from leaplm.grading.intake.ingest import belonging
from leaplm.grading.judge.checks import as_number, load_checks
from leaplm.grading.judge.contracts import Contract
from leaplm.grading.judge.engine import Engine
from leaplm.grading.judge.returns import (
    Anything,
    Bool,
    Either,
    ListOf,
    MapOf,
    Nothing,
    Number,
    Object,
    Record,
    Several,
    Text,
)
from leaplm.grading.sandbox.student import StudentError
from leaplm.grading.submission import Submission
from leaplm.learner.handed import missing
from leaplm.translation import (
    COMMON,
    catalog_path,
    current_locale,
    english_left,
    list_locales,
    load_catalogs,
    split_markdown,
    translate_drawn,
    translate_markdown,
    translate_message,
    translate_metric,
    unwrapped,
    wrapped,
)
from mini import LAB, ROOT, make_course
from nbgrader.utils import compute_checksum, is_solution
from typer.testing import CliRunner
from walled import needs_sandbox

translate = load_module(ROOT / "course" / "tools" / "translate.py")
prose_in_code = load_module(ROOT / "course" / "tools" / "prose_in_code.py")
LOCALES = list_locales(ROOT)
KINDS = (MapOf(Anything()), MapOf(Number()), ListOf(Anything()), ListOf(Text()), Several(Text(), Bool()), Object("callable"),
         Either(Number(), Nothing()), Record({"ids": Anything()}))  # fmt: skip
GLOBAL_BREACHES = [breach.message for left in ("off", "on") for breach in Contract("x")._globals("f", ["random"], left)]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The mini course with a catalogue in which every text begins with FR."""
    root = make_course(tmp_path_factory.mktemp("translation") / "course")
    translate.update(root, "fr")
    for path in (catalog_path(root, name, "fr") for name in (LAB, COMMON)):
        catalog = read_po(path.open("rb"), locale="fr")
        for message in catalog:
            if message.id:
                message.string = f"FR {message.id}"
        catalog.header_comment = translate.HEADER
        translate.save(catalog, path)
    translate.build(root, "fr")
    return root


def release(course, locale="", lab=LAB):
    """A lab's notebook; everybody gets the same one, so whoever changes it takes a copy."""
    folder = course / "labs" / LANGUAGES / locale if locale else course / "labs"
    return translate.notebooks.read(folder / lab / f"{lab}.ipynb")


@functools.cache
def made(lab, locale):
    """A lab of the course in another language, as JSON, made of the catalogues of today."""
    return translate.translated(ROOT, lab, locale)


read_catalog = functools.cache(translate.read_catalog)  # of the course; nobody changes them


def test_a_text_is_its_units_whatever_its_line_breaks():
    text = "# Head\n\nOne\ntwo.\n\n1. first\n   goes on\n2. `code`\n\n| a | b |\n|---|---|\n| c d | e |\n\n```\nx = 1\n```\n"
    text += "End"
    units = split_markdown(text)
    assert [words for _, words in units] == ["Head", "One two.", "first goes on", "`code`", "a | b |", "c d | e |", "End"]
    assert "".join(prefix + words for prefix, words in units).split() == text.split()
    assert split_markdown("One two.") == split_markdown("One\ntwo.")


def test_formulas_and_code_are_nobodys_to_translate():
    assert [words for _, words in split_markdown("We say\n\n$$\na_i\n= b\n$$\n\n$$x$$\n\nwhere")] == ["We say", "where"]


def test_comments_of_code_and_lines_of_drawings_are_somebodys_to_translate():
    text = "One\n\n```text\n  two ──► x\n1 2\n```\n\n```python\nf(x)  # three\n```\n\n```\nleaplm finish\n```\nfour"
    units = split_markdown(text)
    assert [words for _, words in units] == ["One", "two ──► x", "three", "four"]
    assert "".join(prefix + words for prefix, words in units) == text
    catalog = Catalog(locale="fr")
    catalog.add("two ──► x", "deux ──► x")
    assert "```text\n  deux ──► x\n1 2\n```" in translate_markdown(text, [catalog])


def test_code_of_a_language_from_the_right_stays_outside_of_its_wrapping():
    catalog, text = Catalog(locale="ar"), "One\n\n```text\ntwo  3\n```\n\nfour"
    for english, arabic in (("One", "واحد"), ("two  3", "اثنان  3"), ("four", "أربعة")):
        catalog.add(english, arabic)
    told = translate_markdown(text, [catalog])
    whole = wrapped(told, [catalog])
    assert "</div>\n\n```text\n\u2067اثنان\u2069  3\n```\n\n<div" in whole and unwrapped(whole) == told
    assert "<span" in whole and "<span" not in wrapped(told, [catalog], form=True)


def test_words_of_formulas_that_mathjax_would_tear_apart_are_explained_below():
    catalog, text = Catalog(locale="ar"), "One $\\text{right}$\n\n$$\\frac{\\text{right: }}{\\text{LoRA}} \\text{found}$$\n"
    for english, arabic in (("One $\\text{right}$", "واحد $\\text{right}$"), ("right", "صحيح"), ("right:", "صحيح:"),
                            ("found", "موجود"), ("LoRA", "LoRA")):  # fmt: skip
        catalog.add(english, arabic)
    formulas, meanings = translate_markdown(text, [catalog], joined=False).rsplit("\n\n", 1)
    assert formulas == text.replace("One", "واحد").rstrip()
    assert meanings == "\u2066right\u2069 = \u2067صحيح\u2069؛ \u2066found\u2069 = \u2067موجود\u2069"
    assert "\\text{صحيح: }" in translate_markdown(text, [catalog])  # of the book and the slides


@pytest.mark.parametrize("locale", LOCALES)
def test_formulas_of_notebooks_have_no_letters_from_the_right(locale):
    for lab in list_labs(ROOT):
        for ours, theirs in zip(release(ROOT, lab=lab).cells, release(ROOT, locale, lab).cells, strict=True):
            words = [words for _, words, _ in translation.IN_FORMULA.findall(theirs.source)]
            assert not any(map(translation.ARABIC.search, words)), (lab, theirs.id)
            if locales.direction(locale) == "rtl" and ours.cell_type == "markdown":
                assert words == [words for _, words, _ in translation.IN_FORMULA.findall(ours.source)]


def test_a_language_from_the_right_has_its_arithmetic_from_the_left():
    catalog, english = Catalog(locale="ar"), "2 · 10<sup>−8</sup> and\n\n```text\none 1 + 1\n```\n"
    catalog.add("2 · 10<sup>−8</sup> and", "2 · 10<sup>−8</sup> و")
    catalog.add("one 1 + 1", "واحد 1 + 1")
    told = translate_markdown(english, [catalog])
    assert told.startswith("\u20662 · 10<sup>−8</sup>\u2069 و") and "\u2067واحد\u2069 1 + 1" in told


def test_forms_are_written_from_the_right_too():
    for lab in list_labs(ROOT):
        cells = [cell for cell in release(ROOT, "ar", lab).cells if cell.cell_type == "markdown"]
        assert [cell.id for cell in cells if not cell.source.startswith('<div dir="rtl">')] == [], lab
        assert any(map(is_solution, cells))


def test_what_may_be_printed_is_translated_wherever_it_stands_in_the_call():
    source = 'print("a meter:", "none" if x else f"{x} watts", y or "not here")'
    assert prose_in_code.code_units(source) == ["a meter:", "none", "{x} watts", "not here"]


def test_a_word_of_a_formula_that_was_left_in_english_is_a_fault():
    assert translate.is_left_english(ROOT, "fr", "mean", "mean")
    assert not translate.is_left_english(ROOT, "fr", "mean", "moyenne")
    assert not translate.is_left_english(ROOT, "fr", "idf", "idf")  # a symbol
    assert not translate.is_left_english(ROOT, "fr", "attention", "attention")  # of the glossary
    assert not translate.is_left_english(ROOT, "fr", "Lab", "Lab")  # in no formula


def test_words_in_braces_are_translated_and_code_is_not():
    assert translate.differing_markup("{name: its shape}", "{nom: sa forme}", in_code=True) == ""
    assert "lacks {len(x)}" in translate.differing_markup("{len(x)} texts", "{long(x)} textes", in_code=True)


@pytest.mark.parametrize("locale", LOCALES)
def test_nothing_of_the_course_is_without_its_translation(locale):
    total, done, found = translate.faults(ROOT, locale)
    listed = "\n".join(found)
    assert not found, f"{done} of {total}; to mend: python course/tools/translate.py update {locale}, then edit\n{listed}"


@pytest.mark.parametrize("locale", LOCALES)
def test_the_committed_labs_are_those_of_the_catalogues(locale, tmp_path):
    for lab in list_labs(ROOT):
        committed = ROOT / "labs" / "languages" / locale / lab / f"{lab}.ipynb"
        assert committed.read_text(encoding="utf-8") == made(lab, locale), \
            f"{committed} is old: python course/tools/translate.py build"


@pytest.mark.parametrize("locale", LOCALES)
def test_all_languages_share_code_ids_and_marks(locale):
    for lab in list_labs(ROOT):
        english, other = release(ROOT, lab=lab), release(ROOT, locale, lab)
        assert [marks_of(cell) for cell in english.cells] == [marks_of(cell) for cell in other.cells]
        for ours, theirs in zip(english.cells, other.cells, strict=True):
            assert ours.cell_type == "markdown" or prose_in_code.same_code(ours.source, theirs.source)
            if "checksum" in theirs.metadata.get("nbgrader", {}):
                assert theirs.metadata.nbgrader.checksum == compute_checksum(theirs)


def code_cells(locale):
    """(English source, source) of all code cells."""
    for lab in list_labs(ROOT):
        for ours, theirs in zip(release(ROOT, lab=lab).cells, release(ROOT, locale, lab).cells, strict=True):
            if ours.cell_type == "code":
                yield ours.source, theirs.source


@pytest.mark.parametrize("locale", LOCALES)
def test_code_is_the_same_letter_by_letter_but_for_its_words(locale):
    for ours, theirs in code_cells(locale):
        assert bare_code(ours) == bare_code(theirs)


@functools.cache
def bare_code(source):
    """The tokens of some code without strings and comments, and, in any order, what stands in braces of its f-strings."""
    kinds = (tokenize.COMMENT, tokenize.NL, tokenize.STRING, getattr(tokenize, "FSTRING_START", -1))
    code, depth = [], 0
    for token in tokenize.generate_tokens(io.StringIO(re.sub("(?m)^[!%].*$", "", source)).readline):
        depth += tokenize.tok_name[token.type] == "FSTRING_START"
        code += [token.string] * (not depth and token.type not in kinds)
        depth -= tokenize.tok_name[token.type] == "FSTRING_END"
    holes = [hole for text in f_strings(ast.parse(source), source) for hole in prose_in_code.codes_of(text)]
    return code, sorted(holes)


def f_strings(node, source):
    """The code of each f-string, but of those that stand within another."""
    if isinstance(node, ast.JoinedStr):
        yield ast.get_source_segment(source, node)
    else:
        for part in ast.iter_child_nodes(node):
            yield from f_strings(part, source)


QUOTED = re.compile(r"""`[^`\n]+`|"(?:\\.|[^"\\\n])*"|\[[^][\n]*"[^][\n]*\]""")  # what stands whole on a line


@pytest.mark.parametrize("locale", LOCALES)
def test_no_line_of_a_docstring_ends_within_a_literal(locale):
    seen = 0
    for ours, theirs in code_cells(locale):
        for english, other in zip(docstrings_of(ours), docstrings_of(theirs), strict=True):
            for literal in QUOTED.findall(english):
                broken = re.compile(r"\s+".join(re.escape(part) for part in literal.split(" ")))
                assert {found[0] for found in broken.finditer(other)} <= {literal}
                seen += " " in literal
            assert '"' not in english or all(line.count('"') % 2 == line.count('\\"') % 2 for line in other.split("\n"))
    assert seen > 50


@functools.cache
def docstrings_of(source):
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]


def marks_of(cell):
    """What a cell must have in every language: its id and metadata, without the checksum of its text."""
    own = {name: value for name, value in cell.metadata.get("nbgrader", {}).items() if name != "checksum"}
    return cell.id, cell.cell_type, {**cell.metadata, "nbgrader": own}


def test_words_of_code_are_found_and_put_back():
    source = ('def f(x):\n    """x (n,) -> one number.\n\n    Example: [1] gives 1.\n    """\n'
              '    # add them\n    # all\n    return sum(x)  # of all\nprint(f"{f([1]):.2f} in all", "\\nend: ")\n# f(x)\n')
    units = ["x (n,) -> one number.", "Example: [1] gives 1.", "add them all", "of all", "{f([1])} in all", "end:"]
    assert prose_in_code.code_units(source) == units
    catalog = Catalog(locale="fr")
    for words in units:
        catalog.add(words, f"« {words} »")
    told = prose_in_code.translate_code(source, [catalog])
    assert all(f"« {words} »" in told for words in units[:4]) and 'print(f"« {f([1]):.2f} in all »", "\\n« end: » ")' in told
    assert prose_in_code.same_code(source, told) and told.endswith("# f(x)\n")


def test_labels_of_a_chapters_figure_are_translated_and_fit():
    catalog = Catalog(locale="fr")
    catalog.add("after task 1", "après la toute première tâche")
    figure = '<svg font-size="26"><title>after task 1</title><text x="1">after task 1</text><text x="2">R</text></svg>'
    assert translate.drawings.translate(figure, [catalog]) == (
        '<svg font-size="26"><title>après la toute première tâche</title><text x="1" font-size="0.60em">'
        'après la toute première tâche</text><text x="2">R</text></svg>')  # fmt: skip


def test_tools_read_a_notebook_once_until_it_changes_and_leave_it_as_it_is(course, monkeypatch):
    path, readings, read = course / "labs" / LAB / f"{LAB}.ipynb", [], nbformat.read
    monkeypatch.setattr(nbformat, "read", lambda path, **settings: readings.append(path) or read(path, **settings))
    translate.notebooks._read.cache_clear()
    for often in (1, 2):
        english = nbformat.writes(translate.notebooks.release(course, LAB))
        french = {translate.translated(course, LAB, "fr") for _ in range(2)}
        for name in (LAB, COMMON):
            translate.template(course, name)
        assert readings == [path] * often and len(french) == 1
        assert nbformat.writes(translate.notebooks.release(course, LAB)) == english
        os.utime(path, (often, often))


def test_words_of_a_formula_are_translated_and_the_formula_is_not():
    catalog = Catalog(locale="fr")
    catalog.add("loss", "perte")
    assert translate.units("$$\\text{loss} = R_{ij}$$") == ["loss"]
    assert translate_markdown("$$\\text{loss } = \\text{R}$$", [catalog]) == "$$\\text{perte } = \\text{R}$$"


def test_what_figures_say_is_found_in_labs_library_and_records():
    found = dict(translate.drawn_words.texts(ROOT))
    wanted = {"Loss during training", "your run", "accuracy", "early stopping", "Naive fine-tuning, shared classes"}
    assert wanted <= set(found) and not {"lower left", "white", "lab7_continual"} & set(found)


@pytest.mark.parametrize("translation", ["{g([1])} en tout", "en tout", '{f([1])} "en" tout \\'])
def test_a_translation_cannot_change_what_code_does(translation):
    catalog = Catalog(locale="fr")
    catalog.add("{f([1])} in all", translation)
    source = 'print(f"{f([1])} in all")'
    try:
        assert prose_in_code.same_code(prose_in_code.translate_code(source, [catalog]), source)
    except prose_in_code.ProseError:
        assert "tout" in translation


@pytest.mark.parametrize("locale", LOCALES)
def test_a_notebook_that_nobody_worked_on_counts_as_such_in_every_language(locale):
    for lab in list_labs(ROOT)[:4]:
        untouched = release(ROOT, locale, lab)
        english = release(ROOT, lab=lab)
        assert belonging(json.dumps(untouched).encode(), english, [untouched])[1] == 0, lab
        assert len(missing(untouched, untouched)) == sum(map(is_solution, untouched.cells))


def test_a_changed_text_is_shown_in_english_with_a_mark_and_listed(course, tmp_path):
    path = course / "labs" / LAB / f"{LAB}.ipynb"
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace("The smallest lab that has one of everything.", "A small lab with one of everything."))
    try:
        total, done, found = translate.faults(course, "fr")
        assert done["text"] == total["text"] - 1 and "A small lab with one of everything." in found[0]
        assert "[EN] A small lab with one of everything." in translate.translated(course, LAB, "fr")
        translate.update(course, "fr")
        [fuzzy] = [message for message in read_po(catalog_path(course, LAB, "fr").open("rb")) if message.fuzzy]
        assert fuzzy.string.startswith("FR The smallest lab") and translate.faults(course, "fr")[1] == done
    finally:
        path.write_text(before)
        translate.update(course, "fr")


def test_what_a_translator_has_not_reached_is_no_fault_and_a_new_catalogue_says_so(course):
    path = catalog_path(course, LAB, "fr")
    before = path.read_text(encoding="utf-8")
    try:
        path.unlink()
        translate.update(course, "fr")
        assert translate.UNFINISHED in path.read_text(encoding="utf-8") and translate.faults(course, "fr")[2] == []
        path.write_text(path.read_text(encoding="utf-8").replace(f"# {translate.UNFINISHED}\n", ""), encoding="utf-8")
        assert "no translation" in translate.faults(course, "fr")[2][0]
    finally:
        path.write_text(before, encoding="utf-8")


def test_a_translation_that_loses_code_is_a_fault():
    assert translate.differing_markup("write `f` as $x$ [here](a.md)", "écrivez `f` comme $x$ [ici](a.md)") == ""
    assert "lacks `f`" in translate.differing_markup("write `f`", "écrivez f")
    assert "lacks <code>a\\n</code>" in translate.differing_markup("ends in <code>a\\n</code>", "finit par <code>a\n</code>")
    assert "has {n}" in translate.differing_markup("{m} texts", "{n} textes")


def test_a_machines_translation_says_so(course):
    assert f"FR {translate.NOTICE}" in release(course, "fr").cells[0].source
    path = catalog_path(course, LAB, "fr")
    catalog = read_po(path.open("rb"), locale="fr")
    catalog.header_comment = catalog.header_comment.replace("X-Reviewed: no", "X-Reviewed: yes")
    assert translate.notice((catalog,)) == ""


def test_messages_are_filled_in_and_their_parts_translated(tmp_path):
    path = catalog_path(tmp_path, "lab9_x", "fr")
    path.parent.mkdir(parents=True)
    texts = {"{told}; at least {wanted} was wanted": "{told} ; il fallait au moins {wanted}",
             "accuracy {score} on {n} texts": "exactitude {score} sur {n} textes"}
    lines = [f"msgid {json.dumps(english)}\nmsgstr {json.dumps(french)}\n" for english, french in texts.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    catalogs = load_catalogs(tmp_path, "lab9_x", "fr")
    message = translate_message("accuracy 0.71 on 600 texts; at least 0.565 was wanted", catalogs)
    assert message == "exactitude 0.71 sur 600 textes ; il fallait au moins 0.565"
    assert translate_message("nothing like it", catalogs) == "nothing like it"


@needs_sandbox
@pytest.mark.usefixtures("shared_servers")
def test_work_in_french_gets_the_same_marks_and_messages_in_french(course, monkeypatch, tmp_path):
    (tmp_path / "slope-cpu.json").write_bytes(b'{"slope": 2.0}')
    solved = Classroom(LAB, course, tmp_path).perfect().notebook
    french = copy.deepcopy(solved)
    texts = {cell.id: cell.source for cell in release(course, "fr").cells if cell.cell_type == "markdown"}
    for cell in french.cells:
        cell.source = texts.get(cell.id, cell.source)
        cell.metadata = {"id": "x"} if cell.cell_type == "markdown" else cell.metadata  # as Colab leaves it
    monkeypatch.setenv("LEAPLM_LOCALE", "zh_CN")  # of the teacher's machine; the work has a language of its own
    records = []
    with Engine(course, LAB, jobs=1) as engine:
        for notebook in (solved, french):
            files = {"artifacts/slope-cpu.json": b'{"slope": 2.0}'}
            submission = Submission(LAB, "amina", nbformat.writes(notebook).encode(), files, None, (), None)
            graded = engine.grade(submission, seed=1)
            records.append(graded.record)
    assert "FR " in graded.notebook  # what the student reads is in French
    assert [record["locale"] for record in records] == ["", "fr"] and records[0]["points"] == records[1]["points"]
    messages = [[check["message"] for check in record["checks"]] for record in records]
    assert messages[0] == ["right", "two steps give the right weights", "the slope fits"]
    assert messages[1] == ["right", "FR two steps give the right weights", "FR the slope fits"]  # one word is no sentence


@needs_sandbox
@pytest.mark.usefixtures("shared_servers")
def test_how_a_run_ended_is_said_in_the_language_of_the_notebook(course, monkeypatch):
    monkeypatch.setenv("LEAPLM_LOCALE", "fr")
    ending = copy.deepcopy(release(course, "fr"))
    next(cell for cell in ending.cells if cell.id == "mean_square").source = "import os\nos._exit(3)"
    why = "The notebook file is empty. Open the notebook, save it, download it and hand it in again."
    refused = Submission(LAB, "bello", None, {}, None, (), why)
    with Engine(course, LAB, jobs=1) as engine:
        ended = engine.grade(Submission(LAB, "amina", nbformat.writes(ending).encode(), {}, None, (), None), seed=1).record
        nothing = engine.grade(refused, seed=1).record
    said = [text for record in (ended, nothing) for text in (record["reason"], *(c["message"] for c in record["checks"]))]
    assert {ended["state"], nothing["state"]} == {"killed", "ungradable"} and ended["locale"] == nothing["locale"] == "fr"
    assert [text for text in said if not text.startswith("FR ")] == []


def test_parts_of_a_message_are_translated_one_by_one():
    catalog = Catalog(locale="fr")
    for english, french in (("the sums are {sums}", "les sommes sont {sums}"), ("wrong, by a lot", "faux de beaucoup"),
                            ("right sums; {problems}", "sommes justes ; {problems}"), ("too long", "trop long"),
                            ("the loss of the batch (best before; last after)", "la perte du lot"),
                            ("these are missing: {parts}", "il manque : {parts}"), ("list of `{name}`", "liste : `{name}`")):
        catalog.add(english, french)
    for english, french, left in (
        ("the sums are 3; too long", "les sommes sont 3; trop long", []),
        ("right sums; wrong, by a lot; too long", "sommes justes ; faux de beaucoup; trop long", []),
        ("these are missing: the loss of the batch (best before; last after)", "il manque : la perte du lot", []),
        ("the loss of the batch (best before; last after); too long", "la perte du lot; trop long", []),
        ("list of `a name`; the sums are of float32", "liste : `a name`; les sommes sont of float32", ["of float32"]),
        ("nobody said this; too long", "nobody said this; trop long", ["nobody said this"]),
    ):
        assert (translate_message(english, (catalog,)), english_left(english, (catalog,))) == (french, left)


@pytest.mark.parametrize("locale", LOCALES)
def test_names_of_the_code_are_nobodys_to_translate(locale):
    """Each word of a figure and of the contracts, where a message has it for a name."""
    for lab in list_labs(ROOT):
        contracts = [item for check in load_checks(lab, ROOT).values() for item in (check.contracts or {}).items()]
        names = {word for name, contract in contracts for word in (name, *contract.arguments.split())}
        catalogs = load_catalogs(ROOT, lab, locale)
        for name in {*names, "text", "labels", "mean", "accuracy", "loss", "random", "words"}:
            with pytest.raises(StudentError) as error:
                as_number(float("nan"), name)
            told, left = (say(str(error.value), catalogs) for say in (translate_message, english_left))
            assert f"`{name}`" in told and left == []
            assert translate_message(f"`f` raised ValueError ({name})", catalogs).endswith(f"({name})")


@pytest.mark.parametrize("locale", LOCALES)
def test_what_a_contract_asks_for_is_said_in_every_language(locale):
    for lab in list_labs(ROOT):
        catalogs = load_catalogs(ROOT, lab, locale)
        contracts = [contract for check in load_checks(lab, ROOT).values() for contract in (check.contracts or {}).values()]
        kinds = [kind for kind in (*KINDS, *(contract.returns for contract in contracts)) if kind != Anything()]
        for wanted in {kind.wanted() for kind in kinds}:  # with anything nothing is wrong
            message = f"`f` should return {wanted}, not None (is a `return` missing?)."
            assert english_left(message, catalogs) == [], (lab, wanted)
        for message in GLOBAL_BREACHES:
            assert english_left(message, catalogs) == [], lab


def test_words_of_figures_and_of_hints_are_none_of_messages():
    catalog = Catalog(locale="fr")
    for english, french, place in (("labels", "étiquettes", "labs/lab1_x#c1"), ("{n} seeds", "{n} graines", "leaplm.plots"),
                                   ("accuracy", "exactitude", "course/lab1_x/bank.py#f"),
                                   ("{first} or {second}", "{first} ou {second}", "leaplm.grading.judge.returns"),
                                   ("too long", "trop long", "course/lab1_x/checks.py")):
        catalog.add(english, french, locations=[(place, None)])
    same = "labels", "accuracy", "3 seeds"
    assert tuple(translate_message(words, (catalog,)) for words in same) == same
    drawn = {"labels": "étiquettes", "3 seeds": "3 graines", "spam or ham": "spam or ham", "too long": "too long",
             "Hausa": "haoussa"}  # fmt: skip
    assert {words: translate_drawn(words, (catalog,)) for words in drawn} == drawn
    assert translate_message("spam or ham", (catalog,)) == "spam or ham"
    assert translate_metric("too long", (catalog,)) == "trop long"


def test_a_name_in_code_is_not_the_end_of_one_message_and_the_start_of_another():
    catalog = Catalog(locale="fr")
    catalog.add("`{name}` ended the program.", "`{name}` a arrêté le programme.")
    catalog.add("at the line `{line}`", "à la ligne `{line}`")
    both = "`rms_norm` ended the program.; `block` ended the program."
    assert translate_message(both, (catalog,)) == "`rms_norm` a arrêté le programme.; `block` a arrêté le programme."
    assert translate_message("at the line `a = 1; b = 2`", (catalog,)) == "à la ligne `a = 1; b = 2`"


@pytest.mark.parametrize("locale", list_locales(ROOT))
def test_no_template_cuts_the_words_of_an_error(locale):
    """Python's and PyTorch's own words stay whole: a short template (`{low} to {high}`) would match within them."""
    joints = ["to", "of", "and", "in", "on", "for", "is", "are", "from", "with", ":", ",", "at", "not", "has", "seeds"]
    error = f"RuntimeError (one thing {' another thing '.join(joints)} a third)"
    for lab in list_labs(ROOT):
        catalogs = load_catalogs(ROOT, lab, locale)
        assert (translate_message(error, catalogs), english_left(error, catalogs)) == (error, []), lab


HERE = ("ar", "es", "fr", "ha", "pt", "sw", "zh_CN")
READ_AS = {"": " en en_GB EN C C.UTF-8 POSIX en_US.UTF-8", "fr": "fr fr_FR.UTF-8 fr-FR fr_CA fr_FR@euro FR fra",
           "pt": "pt_BR pt_PT", "zh_CN": "zh zh-CN zh_cn zh_Hans_CN zh-Hans zh_SG", "es": "es_ES es_419 ES es-MX",
           "ar": "ar_EG", "sw": "sw_KE swh", "ha": "hau ha_NG"}  # fmt: skip
NAMES = [(name, locale) for locale, names in READ_AS.items() for name in names.split(" ")]


@pytest.mark.parametrize(("name", "locale"), NAMES)
def test_a_language_is_found_by_all_usual_names(monkeypatch, capsys, name, locale):
    monkeypatch.setenv("LEAPLM_LOCALE", name)
    assert current_locale(HERE) == locale and capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["zh_TW", "zh_Hant", "zh_HK.UTF-8", "xx", "ca@valencia", "sr_RS@latin"])
def test_a_language_that_is_not_there_is_english_and_that_is_said_once(monkeypatch, capsys, name):
    translation.tell_once.cache_clear()
    monkeypatch.setenv("LEAPLM_LOCALE", name)
    assert [current_locale(HERE), current_locale(HERE)] == ["", ""]
    assert capsys.readouterr().err.count(f"{name}: the course is not translated into it") == 1


def test_a_locale_is_a_language_that_the_course_has(monkeypatch):
    monkeypatch.setenv("LEAPLM_LOCALE", "fr")
    assert current_locale(["en_XA"]) == "" and current_locale() == "fr" and current_locale(["fr_CA"]) == "fr_CA"


@pytest.mark.parametrize("name", ["../fr", "fr/..", "f", "french", "fr_FR_x", "."])
def test_a_locale_that_is_none_is_refused_once_by_a_command_and_costs_no_mark(monkeypatch, capsys, name):
    translation.tell_once.cache_clear()
    monkeypatch.setenv("LEAPLM_LOCALE", name)
    with pytest.raises(ValueError, match="use for example fr"):
        current_locale()
    assert [translation.usual_locale(HERE), translation.usual_locale(HERE)] == ["", ""]
    assert capsys.readouterr().err.count("is not a locale") == 1
    done = CliRunner().invoke(app, ["progress"])
    assert done.exit_code == 1 and f"LEAPLM_LOCALE={name!r} is not a locale" in done.output
    assert isinstance(done.exception, SystemExit)


def catalogue(tmp_path, monkeypatch, content, name=COMMON):
    """A course with one catalogue of Spanish, in which a learner reads Spanish."""
    path = catalog_path(tmp_path, name, "es")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setattr(locales, "find_root", lambda: tmp_path)
    monkeypatch.setattr(translation, "find_root", lambda: tmp_path)
    monkeypatch.setattr(locales, "_spoken", None)
    monkeypatch.setenv("LEAPLM_LOCALE", "es")
    translation.tell_once.cache_clear()
    return path


WORDS = "{points} of {most} points for this exercise"
WHOLE = f'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\nmsgid "{WORDS}"\nmsgstr "{{}}"\n'


@pytest.mark.parametrize(("told", "said"), [
    ("{points} puntos de {most}", "1 puntos de 2"),
    *((slip, "1 of 2 points for this exercise") for slip in (
        "{puntos} de {most}", "puntos de {most}", "{points de {most}", "{} de {}", "{points.__class__} de {most}",
        "{points} de {most} {", "{points!r:>{most}} {most} {points}"))])  # fmt: skip
def test_a_slip_of_a_translator_costs_the_translation_and_no_sentence(tmp_path, monkeypatch, told, said):
    catalogue(tmp_path, monkeypatch, WHOLE.replace("{}", told).encode())
    assert locales.say(WORDS, points=1, most=2) == said
    assert translate_message("1 of 2 points for this exercise", locales.catalogs_of()) == said


def test_a_catalogue_may_begin_with_a_mark_and_have_the_line_ends_of_windows(tmp_path, monkeypatch):
    content = codecs.BOM_UTF8 + WHOLE.replace("{}", "{points} de {most}").replace("\n", "\r\n").encode()
    catalogue(tmp_path, monkeypatch, content)
    assert locales.say(WORDS, points=1, most=2) == "1 de 2"


TRUNCATED = WHOLE.replace("{}", "{points} puntos").encode()[:-12]


@pytest.mark.parametrize("content", [
    b"", WHOLE.replace("{}", "ma\u00f1ana").encode("latin-1"), bytes(range(256)) * 9, b"hello\nworld\nmsgid nothing\n",
    TRUNCATED, WHOLE.encode("utf-16")], ids=["empty", "latin-1", "binary", "other text", "truncated", "utf-16"])  # fmt: skip
def test_a_damaged_catalogue_is_english_once_said_and_a_fault_and_never_written_over(tmp_path, monkeypatch, capsys, content):
    path = catalogue(tmp_path, monkeypatch, content)
    for _ in range(2):
        assert locales.say(WORDS, points=1, most=2) == "1 of 2 points for this exercise"
    assert capsys.readouterr().err.count(str(path)) == 1
    assert locales.shown_locale() == "" and locales.direction(locales.shown_locale()) == "ltr"
    monkeypatch.setattr(translate, "list_labs", lambda root: [])
    monkeypatch.setattr(translate, "template", lambda root, lab: Catalog())
    [fault] = translate.faults(tmp_path, "es")[2]
    assert str(path) in fault
    with pytest.raises(ValueError, match=path.name):
        translate.update(tmp_path, "es")
    assert path.read_bytes() == content


def test_a_lab_without_the_common_catalogue_is_said_in_english(tmp_path, monkeypatch):
    catalogue(tmp_path, monkeypatch, WHOLE.replace("{}", "{points} puntos de {most}").encode(), "lab9_x")
    assert locales.say(WORDS, points=1, most=2) == "1 of 2 points for this exercise" and locales.shown_locale() == ""
    assert translate_message("1 of 2 points for this exercise", locales.catalogs_of("lab9_x")) == "1 puntos de 2"


def test_a_course_without_a_language_says_which_it_has():
    with pytest.raises(FileNotFoundError, match="not translated into 'xx'"):
        load_catalogs(ROOT, "lab0_start", "xx")


@pytest.mark.parametrize("locale", LOCALES)
def test_what_has_a_translation_is_translated_in_the_lab(locale):
    """Whatever the texts hold: braces in a docstring were once taken for places to fill in, and stayed English."""
    left = []
    for lab in list_labs(ROOT):
        paths = [translate.catalog_path(ROOT, name, locale) for name in (lab, translate.COMMON)]
        whole = [read_catalog(path, locale) for path in paths]
        sources = {cell["id"]: "".join(cell["source"]) for cell in json.loads(made(lab, locale))["cells"]}
        for cell_id, words, in_code in translate.cell_texts(ROOT, lab):
            found = translate.look_up(words, whole)
            if in_code and found and found != words and words in translate.texts_of_cell(sources[cell_id], True):
                left.append((lab, cell_id, words))
    assert left == []
