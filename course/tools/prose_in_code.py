"""The words in code cells: comments, docstrings, and sentences that the code prints or raises. Names stay as they are.

What the code does is the same in every language: `translate_code` compares the trees of both, without their words.
"""

import ast
import functools
import io
import re
import tokenize
from collections.abc import Callable
from typing import NamedTuple

from leaplm.translation import PLACEHOLDER, has_words, look_up

WIDTH, EARLY = 116, 95  # columns of a translation; of a line of ours that ends before it is full
WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\uff00-\uff60]")  # letters of two columns, with no blanks between words
OPENING, CLOSING = "（「『《【“‘", "，。、；：！？）」』》】”’…"  # what stays with the letter behind it, or before it
WORD = re.compile(" +|[^ ]+")  # no line ends at a blank that is to stay, as French has it before a colon
WIDE_WORD = re.compile(rf" +|[{OPENING}]*(?:{WIDE.pattern}|[^ {OPENING}{WIDE.pattern[1:]}+)?[{CLOSING}]*")
# Literals, which no line end may cut: what stands in quotes or backticks, and lists, dicts and tuples of such.
QUOTED = r"""`[^`]+`|"(?:\\.|[^"\\])*"|(?<!\w)'(?:\\.|[^'\\])*'(?!\w)"""
INNER = rf"""(?:{QUOTED}|[^\]\[(){{}}`"])*"""
NESTED = rf"""(?:[\[({{]{INNER}(?:[\[({{]{INNER}[\])}}]{INNER})*[\])}}]{INNER})*"""
BRACKETS = rf"""(?:[\[{{]|\((?=["'`\[{{(])){INNER}{NESTED}[\])}}]"""
LITERAL = re.compile(f"{BRACKETS}|{QUOTED}")
HELD = "\0"  # a blank where no line may end
STRING = re.compile(r"""\s*([A-Za-z]*)(\"{3}|'{3}|"|')""")  # how a string begins
OURS = re.compile(r"### |# YOUR CODE|# noqa|# fmt:|# type:")  # for programs
# What names a thing of the code in words: with a digit, point or underscore inside, or with a bracket behind it.
NAMES = re.compile(r"\b[A-Za-z]\w*(?:[._]\w+)+\b|\b[A-Za-z]+\d\w*|\b\w+(?=\()")


class Piece(NamedTuple):
    """Words in a cell's code: their place (offsets of the source), (prefix, words) of each text, and how to write them."""

    start: int
    end: int
    texts: list
    write: Callable[[str], str]


class ProseError(Exception):
    """A translation that changes what the code does."""


def code_units(source):
    """The texts in a cell's code, in order.

    >>> code_units('x = 1  # texts of the class\\nprint(f"{x} texts")')
    ['texts of the class', '{x} texts']
    """
    return [words for piece in pieces(source) for _, words in piece.texts if has_words(words)]


def translate_code(source, catalogs):
    """A cell's code with its words in another language; what has no translation stays English. ProseError."""
    made = source
    for piece in reversed(pieces(source)):
        told = [prefix + (look_up(words, catalogs) or words) for prefix, words in piece.texts]
        if told != ["".join(text) for text in piece.texts]:
            made = made[: piece.start] + piece.write("".join(told)) + made[piece.end :]
    if made != source and not same_code(made, source):
        raise ProseError(f"a translation changes what the code does, in the cell that begins {source[:60]!r}")
    return made


@functools.cache
def pieces(source):
    """All `Piece`s of a cell in their order; none of a cell that is no Python."""
    try:
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, tokenize.TokenError):
        return []
    lines = source.splitlines(keepends=True)
    found = [*comments(tokens, lines), *docstrings(tree, lines), *sentences(tree, lines)]
    return sorted(found, key=lambda piece: piece.start)


def place(lines, row, column):
    """Where a line (from 1) and a column stand in the whole source."""
    return sum(map(len, lines[: row - 1])) + column


def span(lines, node):
    """The offsets of a node; Python counts its columns in bytes."""
    ends = ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))
    return [place(lines, row, len(lines[row - 1].encode()[:column].decode())) for row, column in ends]


def comments(tokens, lines):
    """Each comment beside code; lines of comments below each other are one text."""
    block = []
    for token in (token for token in tokens if token.type == tokenize.COMMENT and not OURS.match(token.string)):
        below = block and (block[-1].start[0] + 1, block[-1].start[1]) == token.start
        if block and not (below and stands_alone(block[-1]) and stands_alone(token)):
            yield from comment(block, lines)
            block = []
        block.append(token)
    yield from comment(block, lines)


def stands_alone(token):
    return not token.line[: token.start[1]].strip()


def comment(block, lines):
    """The `Piece` of lines of comments, unless they are code that is not to run."""
    text = "\n".join(re.sub("^# ?", "", token.string) for token in block)
    if not block or is_code(text):
        return
    column = block[0].start[1]
    width = WIDTH - column - 2 if stands_alone(block[0]) else None

    def write(text):
        return f"\n{' ' * column}".join(f"# {line}".rstrip() for line in folded(text, width))

    yield Piece(place(lines, *block[0].start), place(lines, *block[-1].end), paragraphs(text), write)


def is_code(text):
    try:
        return bool(re.search(r"[=(\[.]", text) and ast.parse(text))
    except SyntaxError:
        return False


def docstrings(tree, lines):
    """The docstrings of functions and classes, by paragraphs."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and (text := ast.get_docstring(node)):
            start, end = span(lines, node.body[0].value)
            indent = " " * node.body[0].col_offset

            def write(text, indent=indent):
                written = folded(text, WIDTH - len(indent))
                body = f"\n{indent}".join([*written, ""] if len(written) > 1 else written).replace("\\", "\\\\")
                return '"""' + re.sub(r"[ ]+\n", "\n", body) + '"""'

            yield Piece(start, end, paragraphs(text.strip()), write)


def paragraphs(text):
    """(what stands before, words) of each paragraph; a line that ends early, with its sentence, ends one too.

    >>> paragraphs("One\\ntext.\\nExample: 3\\n\\nThe end")
    [('', 'One text.'), ('\\n', 'Example: 3'), ('\\n\\n', 'The end')]
    """
    made, gap, last = [], "", ""  # gap: empty lines since the last words
    for line in text.split("\n"):
        if not line.strip():
            gap += "\n"
        elif made and not gap and not ends_early(last, line):
            made[-1] = (made[-1][0], f"{made[-1][1]} {line.strip()}")
        else:
            made.append(("\n" * bool(made) + gap, line.strip()))
            gap = ""
        last = line
    return made


def ends_early(line, following):
    """Whether a line ends with its sentence though the next word would have had room in it."""
    return line.endswith((".", ":", ";")) and len(f"{line} {following.split()[0]}") < EARLY


def folded(text, width):
    """A text in lines of at most so many columns, unless one literal is longer; None: as it is."""
    if not width:
        return text.splitlines()
    return [line for paragraph in text.split("\n") for line in filled(paragraph, width)]


def filled(paragraph, width):
    """A paragraph's lines.

    >>> filled('one two -> [" a", "b "] more', 17)
    ['one two ->', '[" a", "b "] more']
    """
    lines = [""]
    for part in (WIDE_WORD if WIDE.search(paragraph) else WORD).findall(held(paragraph, width)):
        if lines[-1].strip() and columns(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part if lines[-1] else part.lstrip()
    return [line.rstrip().replace(HELD, " ") for line in lines]


def columns(text):
    return len(text) + len(WIDE.findall(text))


def held(text, width):
    """A text with its literals held together; of one that no line has room for, its parts."""

    def hold(found):
        whole = found[0]
        too_long = whole[0] in "[({" and columns(whole) > width
        return whole[0] + held(whole[1:], width) if too_long else whole.replace(" ", HELD)

    return LITERAL.sub(hold, text)


def sentences(tree, lines):
    """The texts that code prints, says in an assert, or raises; of f-strings the template: "{n} texts"."""
    for node in spoken(tree):
        start, end = span(lines, node)
        yield Piece(start, end, split_lines(wording(node)), functools.partial(written, node, "".join(lines)[start:end]))


def written(node, source, text):
    """The code of a string with another text; what stands in the braces of an f-string is copied letter by letter."""
    holes = {}
    if isinstance(node, ast.JoinedStr):
        values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
        for part, code in zip(values, codes_of(source), strict=True):
            holes.setdefault(hole(part), []).append(code)
    body = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    body = PLACEHOLDER.sub(lambda found: holes[found[0]].pop(0) if holes.get(found[0]) else found[0], body)
    return f"{'f' * isinstance(node, ast.JoinedStr)}\"{body}\""


def codes_of(source):
    """The code in braces of an f-string, or of several that stand behind each other.

    >>> codes_of("f'{{ {x:1.0e} ' '{no}' f'{y:>{width}}'")
    ['{x:1.0e}', '{y:>{width}}']
    """
    found, at = [], 0
    while begins := STRING.match(source, at):
        formatted, quote, at = "f" in begins[1].lower(), begins[2], begins.end()
        while not source.startswith(quote, at):
            start = at
            if source[at] == "\\" or (formatted and source[at : at + 2] in ("{{", "}}")):
                at += 2
            elif formatted and source[at] == "{":
                at = end_of_braces(source, at)
                found.append(source[start:at])
            else:
                at += 1
        at += len(quote)
    return found


def end_of_braces(source, at):
    """Where the braces end that open at a place; those in strings do not count."""
    depth = 0
    while True:
        if source[at] in "\"'":
            at = source.index(source[at], at + 1)
        depth += (source[at] == "{") - (source[at] == "}")
        at += 1
        if not depth:
            return at


def wording(node):
    """The text of a string or f-string with {names} as placeholders."""
    if isinstance(node, ast.Constant):
        return node.value
    return "".join(part.value if isinstance(part, ast.Constant) else hole(part) for part in node.values)


def hole(part):
    """A placeholder without its format, which is not the translator's concern."""
    return "{" + re.sub(r"[{}]|\s{2,}", "", ast.unparse(part.value)) + "}"


def split_lines(text):
    """(white space, words) of each line.

    >>> split_lines("\\nclasses: ")
    [('', ''), ('\\n', 'classes:'), (' ', '')]
    """
    cut = re.split(r"(^\s+|\s*\n\s*|\s+$)", text)
    return list(zip(["", *cut[1::2]], cut[::2], strict=True))


def spoken(tree):
    """The strings and f-strings of a cell that are for a person."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            yield from (text for value in node.args for text in texts_in(value))
        elif isinstance(node, ast.Assert) and is_text(node.msg):
            yield node.msg
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from filter(is_text, node.exc.args)


def texts_in(value):
    """The string that a value is, or those that it may be: `"yes" if right else "no"`, `found or "none"`."""
    if isinstance(value, ast.IfExp):
        yield from (*texts_in(value.body), *texts_in(value.orelse))
    elif isinstance(value, ast.BoolOp):
        yield from (text for part in value.values for text in texts_in(part))
    elif is_text(value):
        yield value


def is_text(node):
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def same_code(one, other):
    """Whether two sources do the same but for the words of their docstrings and sentences."""
    return bare_tree(one) == bare_tree(other)


@functools.cache
def bare_tree(source):
    """A source's tree as text, in which what `spoken` and `docstrings` find has no words, only its placeholders."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in spoken(tree):
        if isinstance(node, ast.Constant):
            node.value = ""
        else:
            node.values = sorted((part for part in node.values if isinstance(part, ast.FormattedValue)), key=ast.dump)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            node.body[0].value.value = ""
    return ast.dump(tree)
