"""The course in other languages: catalogues out of the sources, and labs out of the catalogues.

    python course/tools/translate.py update fr    the sources of today -> course/<lab>/locale/fr.po; keeps what is translated
    python course/tools/translate.py build        catalogues -> labs/languages/<locale>/, all locales
    python course/tools/translate.py check        how much is translated, and every fault; fails where one is missing

The .po files are gettext's: open them in Poedit, Weblate or an editor. A catalogue whose head does not say
`X-Reviewed: yes` counts as made by a machine, and the pages say so. A changed text becomes fuzzy: it is shown in English,
with a mark, until somebody has looked at it. What code does is the same in all languages, and so are cell ids and marks.
"""

import argparse
import ast
import copy
import functools
import io
import json
import re
import sys
from collections import Counter
from pathlib import Path

import nbformat
from babel.messages import Catalog
from babel.messages.pofile import write_po
from leaplm import drawings
from leaplm.assets.manifest import load_manifest
from leaplm.cli import words as command_words
from leaplm.cli.app import app
from leaplm.grading.book import feedback
from leaplm.grading.course import LANGUAGES, lab_file, list_labs
from leaplm.grading.trained import module_file
from leaplm.translation import (
    COMMON,
    IN_CODE,
    IN_FORMULA,
    PLACEHOLDER,
    UNFINISHED,
    catalog_path,
    has_words,
    is_unfinished,
    list_locales,
    load_catalogs,
    look_up,
    read_catalog,
    split_markdown,
    translate_markdown,
    wrapped,
)
from nbgrader.utils import compute_checksum, is_solution

for folder in ("", "deck"):
    sys.path.insert(0, str(Path(__file__).resolve().parent / folder))
import drawn_words  # noqa: E402
import notebooks  # noqa: E402
import start  # noqa: E402
import words as slides  # noqa: E402  course/tools/deck/words.py
from prose_in_code import NAMES, code_units, is_text, translate_code, wording  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
HEADER = """\
# LeapLM: text of the course. CC BY 4.0.
# Made by a machine. When a person has read all of it, change the next line to yes.
# X-Reviewed: no"""
NOTICE = "This text was translated by a machine and not yet read by a person. If something is odd, see the English lab."
CAPTION = "Chapters and labs"  # of the book's contents
MESSAGE = re.compile(r"[a-z]{2,}[,;:.]? [a-z(]")
PHRASE = re.compile(r"(an?|numbers|`0`|0) [a-z`0].*[a-z`0]|numbers")
WORD = re.compile(r"(?<!\S)[a-z]{2,}[,;:.]?(?!\S)")
# Modules of leaplm that speak to students.
LIBRARY = ("grading.intake.clean_notebook", "grading.intake.ingest", "grading.intake.uploads", "grading.sandbox.student",
           "grading.sandbox.values", "grading.sandbox.remote", "grading.judge.checks", "grading.judge.contracts",
           "grading.judge.returns", "grading.judge.class_points", "grading.judge.watched", "grading.judge.examiner",
           "grading.judge.engine", "learner.words", "marking", "training")
# Modules whose errors they read, and what they `say`.
RAISING = ("artifacts", "data", "plain_json", "capstone.small_data", "compression.checkpoint", "prompting.templates",
           "small_machines.predictor", "tokens.costs", "transformer.language_model")
SAYING = re.compile(r"^\s*from leaplm\.locales import [^\n]*\bsay\b", re.M)
BANK = "bank.py"
IN_PARTS = ("grading.judge.returns", "grading.sandbox.student", "grading.sandbox.values")  # whose phrases stand in sentences
# What formulas call by the same name in every language: functions, measures, arguments of our code.
SYMBOLS = {"adam", "base", "bm25", "chrf", "eng", "feed-forward", "feedforward", "first", "gelu", "idf", "ids", "logits",
           "macro-f1", "mlm", "mrr", "pppl", "ref", "second", "silu", "softmax", "var"}  # fmt: skip
# What a translation must have as often as the original: code, formulas, addresses of links, tags, placeholders.
MARKUP = re.compile(r"`[^`]+`|\$[^$]+\$|\]\([^)]*\)|<code>.*?</code>|</?\w+[^>]*>|\{[^{}]*\}", re.DOTALL)


def template(root, lab):
    """The texts of a lab: notebook, chapter, messages of its checks; or of what all labs share."""
    catalog = Catalog(project="LeapLM", charset="utf-8", fuzzy=False)
    for words, place in common_texts(root) if lab == COMMON else lab_texts(root, lab):
        catalog.add(words, locations=[(place, None)])
    return catalog


def lab_texts(root, lab):
    shared = {words for words, _ in shared_texts(root)}
    for cell_id, words, in_code in cell_texts(root, lab):
        if words not in shared:
            yield words, f"labs/{lab}#{cell_id}{IN_CODE * in_code}"
    chapter = lab_file(root, lab, "chapter.md")
    if chapter.is_file():
        yield from ((words, f"course/{lab}/chapter.md") for words in units(chapter.read_text(encoding="utf-8")))
    yield from ((words, f"course/{lab}/figure.svg") for words in drawings.labels(lab_file(root, lab, "figure.svg")))
    checks = lab_file(root, lab, "checks.py")
    if checks.is_file():
        yield from messages(checks, f"course/{lab}/checks.py", is_message)
    yield from hints(root, lab)


def cell_texts(root, lab):
    """(cell id, words, whether they stand in code) of a lab's notebook."""
    return [(cell.id, words, in_code) for cell in notebooks.release(root, lab).cells
            for in_code in [cell.cell_type == "code"] for words in texts_of_cell(cell.source, in_code)]  # fmt: skip


@functools.cache
def texts_of_cell(source, in_code):
    return code_units(source) if in_code else units(source)


def shared_texts(root):
    """The words of code that stand in several labs, with one place each; (words, place)."""
    labs = tuple(list_labs(root))
    return _shared_texts(root, labs, notebooks.states(root, labs))


@functools.lru_cache(maxsize=4)
def _shared_texts(root, labs, states):
    found = {}
    for lab in labs:
        for cell_id, words, in_code in cell_texts(root, lab):
            if in_code:
                found.setdefault(words, {})[lab] = f"labs/{lab}#{cell_id}{IN_CODE}"
    return [(words, next(iter(places.values()))) for words, places in found.items() if len(places) > 1]


def hints(root, lab):
    """The likely causes that learners can be shown (`hints.py`), by exercise: the only texts that need no translation.

    One without it is shown in English, with a mark; the first of each exercise are the most frequent.
    """
    path = lab_file(root, lab, "hints.json")
    if path.is_file():
        for check, words in json.loads(path.read_text(encoding="utf-8"))["checks"].items():
            yield from ((each, f"course/{lab}/{BANK}#{check}") for each in words if has_words(each))


def is_hint(message):
    """Whether a text of a catalogue stands nowhere else."""
    return all(f"/{BANK}#" in place for place, _ in message.locations)


def common_texts(root):
    yield from shared_texts(root)
    drawn = dict(drawn_words.texts(root))
    yield from drawn.items()
    yield from ((words, "course/tools/translate.py") for words in (NOTICE, CAPTION))
    for page in ("course/tools/book/index.md", str(start.SOURCE)):
        if (root / page).is_file():
            yield from ((words, page) for words in units((root / page).read_text(encoding="utf-8")))
    yield from ((words, "course/tools/start.py") for words in start.texts(root))
    yield from ((words, "course/tools/slides.py") for words in slides.texts(root, drawn) if has_words(words))
    yield from ((words, "nbgrader/feedback") for words in (*feedback.FRAME, feedback.LEFT_OUT))
    yield from ((words, "leaplm --help") for words in command_words.texts(app))
    yield from ((asset.title, "leaplm.cli.check") for asset in load_manifest().values())
    for name in LIBRARY:
        chosen = is_phrase if name in IN_PARTS else is_message
        yield from messages(module_file(f"leaplm.{name}"), f"leaplm.{name}", chosen)
    for name in saying_modules():
        yield from messages(module_file(f"leaplm.{name}"), f"leaplm.{name}", nothing)
    for name in RAISING:
        yield from messages(module_file(f"leaplm.{name}"), f"leaplm.{name}", is_message, within=ast.Raise)
        yield from messages(module_file(f"leaplm.{name}"), f"leaplm.{name}", nothing)


@functools.cache
def saying_modules():
    """The modules of leaplm that `say` something in the learner's language, and `say` itself."""
    package = module_file("leaplm.locales").parent
    names = {path: ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
             for path in package.rglob("*.py")}  # fmt: skip
    return sorted(name for path, name in names.items()
                  if name == "locales" or SAYING.search(path.read_text(encoding="utf-8")))  # fmt: skip


def units(text):
    found = [*(words for _, words in split_markdown(text)), *(found[2] for found in IN_FORMULA.finditer(text))]
    return [words for words in found if has_words(words)]


def messages(path, place, chosen, within=ast.Module):
    """The sentences in a module's code, f-strings as templates: "{n} texts"; `chosen` says which strings are such.

    `within`: only those in statements of this kind.
    """
    return ((text, place) for text in sentences(path.read_text(encoding="utf-8"), chosen, within))


@functools.cache
def sentences(source, chosen, within):
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    inner = {id(part) for node in joined for part in ast.walk(node)} - {id(node) for node in joined}
    documented = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    inner |= {id(node.body[0].value) for node in nodes
              if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)}
    inner |= {id(part) for node in nodes if is_contract(node) for part in ast.walk(node)}
    said = {id(node.args[0]) for node in nodes if is_said(node)}
    places = [nodes] if within is ast.Module else map(ast.walk, (node for node in nodes if isinstance(node, within)))
    texts = [(wording(node), id(node)) for nodes in places for node in nodes if is_text(node) and id(node) not in inner]
    return [text for text, node in texts if text and (chosen(text) or node in said)]


def nothing(text):
    """Chooses no string: what is left is said, by `say`."""
    return False


def is_said(node):
    """Whether a node says its first argument in the learner's language (`leaplm.locales.say`)."""
    name = getattr(node, "func", None)
    return isinstance(node, ast.Call) and "say" in (getattr(name, "id", ""), getattr(name, "attr", "")) and bool(node.args)


def is_contract(node):
    """Whether a node declares a contract: names of arguments and functions, nothing for students."""
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Contract"


def is_message(text):
    """Whether a string of the code, without its placeholders, is a sentence for a student and no name or test input."""
    text = PLACEHOLDER.sub("", text)
    return "\n" not in text and bool(MESSAGE.search(text) or len(re.findall(WORD, text)) > 2)


def is_phrase(text):
    """As `is_message`, of a module that holds no test inputs: parts of sentences too, "a list of {n}"."""
    return is_message(text) or bool(PHRASE.fullmatch(PLACEHOLDER.sub("0", text)))


def update(root, locale):
    """Bring a locale's catalogues up to the sources; what changed becomes fuzzy, what is gone is dropped."""
    for lab in (*list_labs(root), COMMON):
        path = catalog_path(root, lab, locale)
        path.parent.mkdir(parents=True, exist_ok=True)
        catalog = read_catalog(path, locale) if path.is_file() else Catalog(
            locale=locale, project="LeapLM", version="1", header_comment=f"{HEADER}\n# {UNFINISHED}", fuzzy=False,
            last_translator="The LeapLM developers", language_team=locale, msgid_bugs_address="the issues of the project")
        catalog.update(template(root, lab))
        catalog.obsolete.clear()
        save(catalog, path)


def save(catalog, path):
    for message in catalog:
        message.flags.discard("python-format")  # "95 % interval" is none
        message.user_comments = []  # former texts, which Babel would wrap and heap up
    content = io.BytesIO()
    write_po(content, catalog, width=0, omit_header=False)
    kept = [line for line in content.getvalue().splitlines(keepends=True) if b"-Date:" not in line]
    path.write_bytes(b"".join(kept))


def build(root, locale):
    """Write the labs of a locale; returns the paths."""
    paths = {lab: root / "labs" / LANGUAGES / locale / lab / f"{lab}.ipynb" for lab in list_labs(root)}
    for lab, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(translated(root, lab, locale), encoding="utf-8", newline="\n")
    return list(paths.values())


def translated(root, lab, locale):
    """A lab's release notebook with its text in another language, as JSON."""
    catalogs = load_catalogs(root, lab, locale)
    notebook = copy.deepcopy(notebooks.release(root, lab))
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.source = translate_code(cell.source, catalogs)
        else:
            text = translate_markdown(cell.source, catalogs, joined=False) + (notice(catalogs) if number == 0 else "")
            cell.source = wrapped(text, catalogs, form=is_solution(cell))
        if "checksum" in cell.metadata.get("nbgrader", {}):  # by it nbgrader knows an answer that is as it was given out
            cell.metadata.nbgrader.checksum = compute_checksum(cell)
    return nbformat.writes(notebook) + "\n"


def notice(catalogs):
    """What stands under the first cell of a text that no person has read, or nothing."""
    if reviewed(catalogs[0]):
        return ""
    return f"\n\n> *{look_up(NOTICE, catalogs) or NOTICE}*"


def reviewed(catalog):
    return "X-Reviewed: yes" in catalog.header_comment


@functools.cache
def formula_words(root):
    """The words that stand in formulas of labs and chapters."""
    chapters = [path for lab in list_labs(root) if (path := lab_file(root, lab, "chapter.md")).is_file()]
    cells = [cell for lab in list_labs(root) for cell in notebooks.release(root, lab).cells]
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    return {found[2] for text in (*texts, *(path.read_text(encoding="utf-8") for path in chapters))
            for found in IN_FORMULA.finditer(text)}  # fmt: skip


@functools.cache
def loanwords(root, locale):
    """The words for which a language's glossary has the English one: `| token | token |`."""
    path = root / "course" / "locale" / locale / "glossary.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    rows = re.findall(r"^\| (.*?) \| (.*?) \|$", text, re.M)
    return {english for english, own in rows if own.partition(" (")[0] == english}


def is_left_english(root, locale, words, translation):
    """Whether a word of a formula is as in English though neither a symbol nor a loanword."""
    if translation != words or words not in formula_words(root):
        return False
    word = words.strip(": ").lower()
    return not {word, word.removesuffix("s")} & (SYMBOLS | loanwords(root, locale))


def faults(root, locale):
    """(texts, translated ones, faults in words) of a locale against the sources of today: the counts by "text" and "hint".

    What is not translated is no fault of a hint, nor of a catalogue that says it is unfinished.
    """
    total, done, found = Counter(), Counter(), []
    for lab in (*list_labs(root), COMMON):
        path = catalog_path(root, lab, locale)
        try:
            catalog = read_catalog(path, locale) if path.is_file() else Catalog(locale=locale)
        except ValueError as problem:
            found.append(f"{lab}, {locale}: {problem}")
            continue
        unfinished = is_unfinished(root, lab, locale)
        for message in template(root, lab):
            if not message.id:
                continue
            kind = "hint" if is_hint(message) else "text"
            total[kind] += 1
            translation = look_up(message.id, [catalog])
            in_code = all(place.endswith(IN_CODE) for place, _ in message.locations)
            problem = "no translation" if translation is None else differing_markup(message.id, translation, in_code)
            if not problem and is_left_english(root, locale, message.id, translation):
                problem = "as in English; if that is right, write it into the glossary"
            done[kind] += translation is not None
            if problem and (translation or (kind == "text" and not unfinished)):
                found.append(f"{lab}, {locale}: {problem}: {message.id[:70]!r} ({message.locations[0][0]})")
    return total, done, found


def differing_markup(words, translation, in_code=False):
    """What of code, formulas, links, tags and placeholders is not the same on both sides, in words.

    in_code: words of a docstring or comment, where names of the code have no mark of their own.
    """
    pattern = re.compile(f"{MARKUP.pattern}|{NAMES.pattern}" if in_code else MARKUP.pattern, re.DOTALL)
    ours, theirs = (Counter(found[0] for found in pattern.finditer(text)) for text in (words, translation))
    missing, added = list((ours - theirs).elements()), list((theirs - ours).elements())
    for part in filter(is_description, missing[:] if in_code else []):
        if told := next((other for other in added if other[0] == "{"), None):
            missing.remove(part)
            added.remove(told)
    return "; ".join([f"lacks {part}" for part in missing] + [f"has {part} of its own" for part in added])


def is_description(part):
    """Whether braces in a docstring hold words, which are translated, and no code.

    >>> is_description("{name: tensor of its shape}"), is_description("{name: value}"), is_description("`f`")
    (True, False, False)
    """
    try:
        return part.startswith("{") and not ast.parse(part, mode="eval")
    except SyntaxError:
        return True


def check(root, chosen):
    """Print the coverage of each locale and its faults; True if there are none."""
    clean = True
    for locale in chosen:
        total, done, found = faults(root, locale)
        of_all = f"{done['text']} of {total['text']} texts translated ({100 * done['text'] / total['text']:.1f} %)"
        print(f"{locale}: {of_all}, {done['hint']} of {total['hint']} hints", *found, sep="\n  ")
        clean &= not found
    return clean


def main():
    parser = argparse.ArgumentParser(description="The course in other languages.")
    parser.add_argument("task", choices=("update", "build", "check"))
    parser.add_argument("locales", nargs="*", help="fr, zh_CN, ...; default: all that are there")
    options = parser.parse_args()
    chosen = options.locales or list_locales(ROOT)
    if options.task == "check":
        sys.exit(not check(ROOT, chosen))
    try:
        for locale in chosen:
            for path in build(ROOT, locale) if options.task == "build" else [update(ROOT, locale)]:
                print(path.relative_to(ROOT) if path else f"course/*/locale/{locale}.po")
    except ValueError as problem:  # nothing is written over a catalogue that cannot be read
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
