"""The course in other languages: gettext catalogues for the text of labs, chapters and the checks' messages.

One catalogue (.po) per lab and locale, `course/<lab>/locale/<locale>.po`, and one common to all labs; `LEAPLM_LOCALE=fr`
chooses the language. Of code only words for people are translated (comments, docstrings, what is printed), so that all
languages have the same cells, ids and marks. A text without a translation stays English, with a mark. In a language that is
written from the right, pieces of code, arithmetic and English are isolated, so that their signs stay where they are.
"""

import codecs
import functools
import io
import os
import re
import sys
from collections import Counter
from pathlib import Path

from babel import Locale
from babel.core import get_global
from babel.messages import Catalog
from babel.messages.pofile import PoFileError, read_po

from leaplm.directions import FROM_THE_RIGHT, ISOLATE_END, isolated, with_isolates, without_isolates
from leaplm.places import COMMON, LOCALE, find_root

UNTRANSLATED = "[EN] "
# Ends the header of a catalogue that a translator is still at work on: what it lacks is shown in English, with a mark.
UNFINISHED = "X-Unfinished: yes"
# As POSIX has it, with encoding and modifier, and as the web does: fr, fr_FR.UTF-8, zh-Hans-CN, sr_RS@latin, C.UTF-8.
NAME = re.compile(r"(C|POSIX|[A-Za-z]{2,3}(?:[_-][A-Za-z]{4})?(?:[_-](?:[A-Za-z]{2}|\d{3}))?)(?:\.[\w-]+)?(?:@\w+)?")

# What stands before the words of a line: heading, list item, quotation, definition, table row.
PREFIX = re.compile(r"\s*(?:#+ |[*-] |\d+\. |> |: |\| ?)?")
NEW_UNIT = re.compile(r"\s*(?:#+ |[*-] |\d+\. |> |: |\|)")
# Lines that stay as they are: empty ones, rules and empty heads of tables, directives, labels, lone tags.
VERBATIM = re.compile(r"\s*|\s*(?:\|[-:| ]+\||:{3,}.*|\([\w-]+\)=|</?\w+>)\s*")
BLOCK = re.compile(r"\s*(```|~~~|\$\$)")  # of code, or a formula on lines of its own
DRAWN = re.compile(r"\s*(```|~~~)text\s*")  # opens a drawing: its lines hold words, which are translated one by one
DRAWN_LINE, COMMENTED_LINE = re.compile(r"(\s*)(.*)"), re.compile(r"(.*?(?:^|\s)# )(.*)")  # of other blocks: the comments
FENCE = re.compile(r"^(```|~~~).*?^\1\s*?$", re.M | re.S)
CODE = re.compile(r"`[^`]*`")
IN_FORMULA = re.compile(r"(\\text\{\s*)([^{}\\]*?)(\s*\})")  # words; each is a text of its own
ARABIC = re.compile("[\u0590-\u08ff]+(?:[ .,;:!?]?[ ]?[\u0590-\u08ff]+)*")  # in a drawing, whose columns go from the left
# JupyterLab puts each paragraph at the left, whatever the direction around it; what stands inside of one may have a side.
AT_THE_RIGHT = '<span style="display:block;text-align:right">{}</span>'
RIGHT_TO_LEFT, WRAPPING_END = '<div dir="rtl">\n\n', "\n\n</div>"  # the empty lines: Markdown goes on inside
OUTSIDE = f"{WRAPPING_END}\n\n{{}}\n\n{RIGHT_TO_LEFT}"  # of the wrapping: blocks of code
IN_CODE = "/code"  # ends the place of words that stand in a code cell
PLACEHOLDER = re.compile(r"\{[^{}]*\}")
BRACE = re.compile(r"[{}]")
WORD, WHOLE_WORD = re.compile(r"\w+"), re.compile(r"(?<=\W)\w+(?=\W)")  # the second: not at an end of the text
SHORTEST = 8  # letters of a template such as `{first} or {second}` that fits much: it is taken where it fits all
JOINT = "; "  # between several messages in one
# The places whose texts can be a message or a part of one, and those of the words that figures show; of prose, code and
# hints neither. A word alone means one thing on an axis ("text", "labels") and another in a sentence about code.
PLACES = {"message": re.compile(r"leaplm\.(?!plots|captions).*|course/lab[^/]*/checks\.py"),
          "drawn": re.compile(r"leaplm\.(plots|captions|training)|leaplm/records/.*|labs/[^/]*#[\w-]+")}  # fmt: skip
# What is no English in a message: names with a digit, point or underscore in them, Python's types and errors.
TYPES = r"\b(list|tuple|dict|set|float|int|str|bool|numpy|None|nan|inf)\b"
NAMES = re.compile(rf"[A-Za-z]+Error( \(.*\))?|\b\w+(?:[\d_.]\w*)+|{TYPES}", re.S)


def current_locale(known=None):
    """The language of LEAPLM_LOCALE among those that are there ("" for English). ValueError if it is not the name of one.

    known: by default the languages of the course around us. One that is not among them is said once, and English taken.
    """
    named = os.environ.get(LOCALE, "").strip()
    found = NAME.fullmatch(named)
    if named and not found:
        raise ValueError(f"{LOCALE}={named!r} is not a locale; use for example fr or zh_CN")
    if not named or found[1] in ("C", "POSIX"):
        return ""
    wanted = found[1].replace("-", "_")
    if known is None:
        root = find_root()
        known = list_locales(root) if root else ()
    found = nearest(wanted, tuple(known))
    if found is None:
        tell_once(f"{LOCALE}={named}: the course is not translated into it, so this is English. "
                  f"There are: {', '.join(known) or 'none'}.")  # fmt: skip
    return found or ""


def usual_locale(known=None):
    """As `current_locale`; where it is no name, that is said once and English taken: no mark may be lost for it."""
    try:
        return current_locale(known)
    except ValueError as problem:
        tell_once(str(problem))
        return ""


@functools.cache
def nearest(wanted, known):
    """The language of `known` that is read by people who ask for `wanted`; "" for English, None if there is none.

    >>> nearest("pt_BR", ("pt", "zh_CN")), nearest("zh_SG", ("pt", "zh_CN")), nearest("zh_TW", ("pt", "zh_CN"))
    ('pt', 'zh_CN', None)
    """
    asked = written_as(wanted)
    if asked[0] == "en":
        return ""
    exact = [locale for locale in known if locale.lower() == wanted.lower()]
    return next(iter([*exact, *(locale for locale in known if written_as(locale) == asked)]), None)


def written_as(locale):
    """(language, script) of a locale, as Unicode's tables have them where it does not say so itself.

    >>> written_as("zh_tw"), written_as("swh")
    (('zh', 'Hant'), ('sw', 'Latn'))
    """
    language, *others = locale.split("_")
    language = get_global("language_aliases").get(language.lower(), language.lower())
    script = next((part.title() for part in others if len(part) == 4), "")
    territory = next((part.upper() for part in others if len(part) in (2, 3)), "")
    likely = get_global("likely_subtags")
    full = likely.get(f"{language}_{territory}") or likely.get(language) or language
    return language, script or next((part for part in full.split("_") if len(part) == 4), "")


@functools.cache
def tell_once(words):
    """A line about this machine or its catalogues, for whoever started the program."""
    print(f"leaplm: {words}", file=sys.stderr)


def split_markdown(text):
    """Cut Markdown into units: a list of (prefix, words), which join to the text again; some words are "".

    A unit is a paragraph, heading, list item or table row. Its words stand on one line: a new line break is no new text.
    Of a block of code the comments are units, and of a drawing (```text) all its lines.

    >>> split_markdown("## Memory\\n\\n* one,\\n  two\\n")
    [('## ', 'Memory'), ('\\n\\n* ', 'one, two'), ('\\n', '')]
    """
    units, kept, inside, opening = [], "", None, ""  # kept: lines that stay as they are; inside: the mark that ends a block
    for number, line in enumerate(text.split("\n")):
        end = "\n" if number else ""
        if inside or VERBATIM.fullmatch(line) or BLOCK.match(line):
            prefix, words = _words_in_block(line, opening) if inside else (line, "")
            kept += end + prefix
            if words:
                units.append((kept, words))
                kept = ""
            opening = opening if inside else line
            inside = _still_inside(line, inside)
        elif units and not kept and not NEW_UNIT.match(line) and units[-1][0].strip()[:1] not in ("#", "|"):
            units[-1] = (units[-1][0], f"{units[-1][1]} {line.strip()}")
        else:
            prefix = PREFIX.match(line)[0]
            units.append((kept + end + prefix, line[len(prefix):].rstrip()))
            kept = ""
    return [*units, (kept, "")] if kept else units


def _words_in_block(line, opening):
    """(what stays, words) of a line of the block of code that `opening` begins."""
    found = (DRAWN_LINE if DRAWN.fullmatch(opening) else COMMENTED_LINE).fullmatch(line)
    return found.groups() if found and has_words(found[2]) else (line, "")


def _still_inside(line, inside):
    """The mark that will end the block of code or the formula that `line` opens or continues, or None."""
    if inside:
        return None if inside in line else inside
    opened = BLOCK.match(line)
    return opened[1] if opened and line.count(opened[1]) == 1 else None


def translate_markdown(text, catalogs, joined=True):
    """Markdown in another language; a unit without a translation stays English behind "[EN] ".

    joined: whether what shows the text joins the letters of words in formulas. MathJax, in notebooks, puts each in a box of
    its own, from the left: words in letters from the right stay English in formulas, and a line below says what they mean.
    """
    told = "".join(prefix + (_translated_unit(words, catalogs) if has_words(words) else words)
                   for prefix, words in split_markdown(text))
    if is_right_to_left(catalogs):
        told = FENCE.sub(lambda block: ARABIC.sub(rf"{FROM_THE_RIGHT}\g<0>{ISOLATE_END}", without_isolates(block[0])), told)
    meant = {found[2]: look_up(found[2], catalogs) or found[2] for found in IN_FORMULA.finditer(told)}
    below = {} if joined else {words: other for words, other in meant.items() if ARABIC.search(other)}
    shown = meant | {words: words for words in below}
    made = IN_FORMULA.sub(lambda found: f"{found[1]}{shown[found[2]]}{found[3]}", told)
    return f"{made.rstrip()}\n\n{_meanings(below)}" if below else made


def _meanings(words):
    """A line that says what words mean; Arabic has a semicolon of its own, Hebrew has none."""
    joint = "؛ " if re.search("[\u0600-\u06ff]", "".join(words.values())) else JOINT
    bare = {word.strip(" :,"): other.strip(" :,،") for word, other in words.items()}
    return joint.join(f"{isolated(word)} = {FROM_THE_RIGHT}{other}{ISOLATE_END}" for word, other in bare.items())


def _translated_unit(words, catalogs):
    found = look_up(words, catalogs)
    if not is_right_to_left(catalogs):
        return found or UNTRANSLATED + words
    return with_isolates(found) if found else isolated(UNTRANSLATED + words)


def is_right_to_left(catalogs):
    """Whether the language of some catalogues is written from the right, as Arabic is."""
    return any(catalog.locale is not None and catalog.locale.text_direction == "rtl" for catalog in catalogs)


def wrapped(text, catalogs, form=False):
    """A text of Markdown as a program shows it that knows no directions; of a language from the left, the text itself.

    Blocks of code stay outside. `form`: a text that a learner fills in, without marks at each paragraph.
    """
    if not is_right_to_left(catalogs):
        return text
    text, made, at = text.strip(), RIGHT_TO_LEFT, 0
    for block in FENCE.finditer(text):
        made += _at_the_right(text[at : block.start()].strip(), form) + OUTSIDE.format(block[0])
        at = block.end()
    return made + _at_the_right(text[at:].strip(), form) + WRAPPING_END


def _at_the_right(text, form):
    return "".join(prefix + (AT_THE_RIGHT.format(words) if not form and is_paragraph(prefix, words) else words)
                   for prefix, words in split_markdown(text))  # fmt: skip


def is_paragraph(prefix, words):
    """Whether a unit is one, or a quotation; not a heading, a list item, a table's row, HTML or a picture.

    >>> is_paragraph("\\n\\n", "One."), is_paragraph("# ", "Head"), is_paragraph("", "<details>")
    (True, False, False)
    """
    return bool(words) and prefix.rpartition("\n")[2].strip() in ("", ">") and words[0] not in "<!|"


def unwrapped(text):
    """A text of Markdown without what `wrapped` puts around it.

    >>> unwrapped(RIGHT_TO_LEFT + "# x\\n\\n" + AT_THE_RIGHT.format("One.") + WRAPPING_END)
    '# x\\n\\nOne.'
    """
    before, _, after = map(re.escape, AT_THE_RIGHT.partition("{}"))
    text = text.removeprefix(RIGHT_TO_LEFT).removesuffix(WRAPPING_END)
    for end in OUTSIDE.split("{}"):
        text = text.replace(end, "\n\n")
    return re.sub(f"(?m){before}(.*){after}$", r"\1", text)


def has_words(words):
    """Whether there is something to translate: a word outside of code, formulas, links, tags and placeholders."""
    bare = re.sub(CODE.pattern + r"|\$[^$]*\$|<[^>]*>|\]\([^)]*\)|" + PLACEHOLDER.pattern, " ", words)
    return bool(re.search(r"[^\W\d_]{2}", bare))


def look_up(words, catalogs):
    """The translation in the first catalogue that has one and is sure of it (not fuzzy), or None."""
    for catalog in catalogs:
        message = catalog.get(words)
        if message and message.string and not message.fuzzy:
            return message.string
    return None


def catalog_path(root, lab, locale):
    """The catalogue of a lab, or of what is COMMON to all labs, in a language."""
    folder = Path(root) / "course"
    return folder / "locale" / locale / f"{COMMON}.po" if lab == COMMON else folder / lab / "locale" / f"{locale}.po"


def is_unfinished(root, lab, locale):
    """Whether a translator is still at work on a catalogue, as its header says."""
    path = catalog_path(root, lab, locale)
    return path.is_file() and UNFINISHED in path.read_text(encoding="utf-8", errors="replace").partition("msgid")[0]


def list_locales(root):
    """The languages into which a course is translated, or begun to be."""
    folder = Path(root) / "course"
    return sorted({path.stem for path in folder.glob("lab*_*/locale/*.po")}
                  | {path.parent.name for path in folder.glob(f"locale/*/{COMMON}.po")})


def is_begun(root, locale):
    """Whether `list_locales` names a language, without a look at the others."""
    folder = Path(root) / "course"
    return catalog_path(root, COMMON, locale).is_file() or any(folder.glob(f"lab*_*/locale/{locale}.po"))


@functools.cache
def load_catalogs(root, lab, locale):
    """The catalogues of a lab: its own and the common one. FileNotFoundError if the course has no such locale."""
    paths = [path for name in (lab, COMMON) if (path := catalog_path(root, name, locale)).is_file()]
    if not paths:
        known = ", ".join(list_locales(root)) or "none"
        raise FileNotFoundError(f"{root}: the course is not translated into {locale!r}; there are: {known}")
    return tuple(_read(path, locale) for path in paths)


@functools.cache
def _read(path, locale):
    """A catalogue; an empty one, and a line about it, where the file cannot be read: its texts are in English then."""
    try:
        catalog = read_catalog(path, locale)
    except ValueError as problem:
        tell_once(f"{problem}. What it should say is in English.")
        return Catalog(locale=locale)
    for message in [message for message in catalog if message.id and not is_whole(message)]:
        catalog.delete(message.id)  # to be filled in, it would break off, or say less than the sentence does
    return catalog


def read_catalog(path, locale):
    """The catalogue in a file. ValueError, with the file's name, if it is damaged or says nothing at all."""
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)  # as some editors begin a file
        cut = [number for number, line in enumerate(content.decode().split("\n"), 1) if is_cut(line)]
        if cut:
            raise ValueError(f"no closing quote in line {cut[0]}")
        catalog = read_po(io.BytesIO(content), locale=locale, abort_invalid=True)
    except (ValueError, PoFileError, LookupError, AttributeError, IndexError) as problem:
        raise ValueError(f"{path} is no catalogue in UTF-8, or is damaged ({problem})") from None
    if not len(catalog):
        raise ValueError(f"{path} is empty")
    return catalog


def is_cut(line):
    """Whether a line of a catalogue's file ends inside its text, which Babel would take as it is.

    >>> is_cut('msgstr "all of i'), is_cut('msgstr "all of it"'), is_cut("# a comment")
    (True, False, False)
    """
    return line.lstrip().startswith(("msg", '"')) and not line.rstrip().endswith('"')


def is_whole(message):
    """Whether a translation has the placeholders and braces of its sentence, or is not there yet.

    In code cells the braces of a docstring hold words: "{word: its number}".
    """
    if not message.string or ("{" not in message.id and "{" not in message.string):
        return True
    if message.locations and all(place.endswith(IN_CODE) for place, _ in message.locations):
        return True
    ours, theirs = (Counter([*PLACEHOLDER.findall(text), *BRACE.findall(text)]) for text in (message.id, message.string))
    return ours == theirs


def find_catalogs(root, lab, locale):
    """The catalogues of a lab that have something to say; none for English, or without a translation."""
    if not locale or not any(catalog_path(root, name, locale).is_file() for name in (lab, COMMON)):
        return ()
    return tuple(catalog for catalog in load_catalogs(root, lab, locale) if says_something(catalog))


def says_something(catalog):
    return any(message.id and message.string for message in catalog)


def translate_message(message, catalogs):
    """A check's message in another language; English where no template of the catalogues fits.

    The catalogues hold templates, `macro-F1 {score} on {n} texts`; what stands in a placeholder is translated too. A message
    may be several, joined with semicolons.
    """
    return _translate(message, catalogs)[0]


def translate_drawn(words, catalogs):
    """What a figure shows in another language; the words of messages are none of its own."""
    return _translate(words, catalogs, "drawn")[0]


def translate_metric(name, catalogs):
    """The name of a metric: one of those that figures show or, "tokens per sentence, Hausa", that a check makes."""
    drawn, left = _translate(name, catalogs, "drawn")
    return translate_message(name, catalogs) if left else drawn


def english_left(message, catalogs):
    """The parts of a message that its translation leaves in English; names, numbers and Python's own words are none."""
    return _translate(message, catalogs)[1]


def _translate(message, catalogs, kind="message"):
    """(translation, parts left in English): of the message as several or as one, what leaves least in English."""
    whole = _by_template(message, catalogs, kind, across=True) if JOINT in message else None
    options = [*([whole] if whole else []), _several(message, catalogs, kind)]
    return min(options, key=_length_left)


def _several(message, catalogs, kind):
    """Part by part: a template is taken for as many parts as it fits whole, with none of them inside a placeholder."""
    parts, told, left = message.split(JOINT), [], []
    while parts:
        options = ((count, _by_template(JOINT.join(parts[:count]), catalogs, kind)) for count in range(len(parts), 0, -1))
        count, found = next(((count, found) for count, found in options if found), (1, None))
        as_it_is = _without_template(JOINT.join(parts[:count]), parts[:count], catalogs)
        words, missing = min(found or as_it_is, as_it_is, key=_length_left)  # a short template may cut an error's own words
        told, left, parts = [*told, words], [*left, *missing], parts[count:]
    return JOINT.join(told), left


def _without_template(words, parts, catalogs):
    """The name of a language as the other language has it; anything else as it stands."""
    if code := codes_of_languages().get(words):
        names = (catalog.locale.languages.get(code) for catalog in catalogs if catalog.locale is not None)
        return next((name for name in names if name), words), []
    return words, [part for part in parts if has_words(NAMES.sub(" ", part))]


@functools.cache
def codes_of_languages():
    """The codes of languages by their English names."""
    aliases = get_global("language_aliases")
    return {name: aliases.get(code, code) for code, name in Locale("en").languages.items()}


@functools.lru_cache(maxsize=10_000)
def _by_template(words, catalogs, kind, across=False):
    """By the first template that leaves nothing in English, else the one that leaves least; None where none fits."""
    best = None
    for template, fixed, string in _near(words, catalogs, kind):
        if fixed[0] not in words or not all(part in words for part in fixed):
            continue  # no pattern needs to be made
        pattern, names = _pattern(template, across)
        if found := pattern.fullmatch(words):
            parts = {name: (part, []) if quoted else _translate(part, catalogs, kind)
                     for (name, quoted), part in zip(names.items(), found.groups(), strict=True)}  # fmt: skip
            filled = _fill(string, {name: part for name, (part, _) in parts.items()})
            option = filled, [left for _, missing in parts.values() for left in missing]
            if option[1] and len("".join(fixed)) < SHORTEST:
                continue
            best = min(best or option, option, key=_length_left)
            if not best[1]:
                break
    return best


def _near(words, catalogs, kind):
    """The templates whose longest whole word stands in `words`: of thousands, a few."""
    templates, numbers = _templates(catalogs, kind), _numbers(catalogs, kind)
    return [templates[number] for number in sorted(n for word in {"", *WORD.findall(words)} for n in numbers.get(word, ()))]


@functools.cache
def _numbers(catalogs, kind):
    """{word: numbers of templates}: the longest word that no placeholder touches; "" for templates without one."""
    found = {}
    for number, (_, fixed, _) in enumerate(_templates(catalogs, kind)):
        whole = [word for part in fixed for word in WHOLE_WORD.findall(part)]
        found.setdefault(max(whole, key=len, default=""), []).append(number)
    return found


def _length_left(option):
    return sum(map(len, option[1]))


def _fill(template, parts):
    return PLACEHOLDER.sub(lambda hole: parts[hole[0]], template)


@functools.cache
def _templates(catalogs, kind):
    """(template, the fixed words between its placeholders, longest first, translation); those with most such text first."""
    templates = []
    for message in (message for catalog in catalogs for message in catalog if message.id and message.string):
        fixed = sorted(PLACEHOLDER.split(message.id), key=len, reverse=True)
        if not message.fuzzy and is_of(message, kind) and any(re.search(r"\w{2}", part) for part in fixed):
            templates.append((message.id, fixed, message.string))
    return sorted(templates, key=lambda template: -sum(map(len, template[1])))


def is_of(message, kind):
    """Whether an entry of a catalogue has a place of this kind, a key of PLACES; one without any place has all."""
    return not message.locations or any(PLACES[kind].fullmatch(place) for place, _ in message.locations)


@functools.cache
def _pattern(template, across):
    """(pattern of the messages that a template makes, {placeholder: stands in code}).

    `across`: what stands in a placeholder may be several parts; in code it is not the end of one and the start of another.
    """
    alone = rf"(?:(?!{JOINT}).)+?"
    holes = {hole: hole not in CODE.sub("", template) for hole in PLACEHOLDER.findall(template)}
    fixed = [re.escape(part) for part in PLACEHOLDER.split(template)]
    pattern, seen = fixed[0], []
    for hole, part in zip(PLACEHOLDER.findall(template), fixed[1:], strict=True):
        some = alone if not across else rf"{alone}|[^`]+?" if holes[hole] else ".+?"
        pattern += (f"(?P=h{seen.index(hole)})" if hole in seen else f"(?P<h{len(seen)}>{some})") + part
        seen += [] if hole in seen else [hole]
    return re.compile(pattern, re.S), holes
