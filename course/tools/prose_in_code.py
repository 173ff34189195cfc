"""The words in code cells: comments, docstrings, and sentences that the code prints or raises. Names stay as they are.

What the code does is the same in every language: `translate_code` compares the trees of both, without their words.
"""

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Callable
from typing import NamedTuple

from leaplm.translation import PLACEHOLDER, has_words, look_up

WIDTH, EARLY = 116, 95  # columns of a translation; of a line of ours that ends before it is full
WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\uff00-\uff60]")  # letters of two columns, with no blanks between words
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
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and (text := ast.get_docstring(node)):
            start, end = span(lines, node.body[0].value)
            indent = " " * node.body[0].col_offset

            def write(text, indent=indent):
                written = folded(text.replace("\\", "\\\\"), WIDTH - len(indent))
                body = f"\n{indent}".join([*written, ""] if len(written) > 1 else written)
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
    """A text in lines of at most so many columns; None: as it is."""
    if not width:
        return text.splitlines()
    columns = width // 2 if WIDE.search(text) else width
    return [line for paragraph in text.split("\n")
            for line in textwrap.wrap(paragraph, columns, break_on_hyphens=False) or [""]]  # fmt: skip


def sentences(tree, lines):
    """The texts that code prints, says in an assert, or raises; of f-strings the template: "{n} texts"."""
    for node in spoken(tree):
        holes = {}
        texts = split_lines(wording(node, holes))

        def write(text, holes=holes):
            body = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return f'f"{PLACEHOLDER.sub(lambda hole: holes.get(hole[0], hole[0]), body)}"' if holes else f'"{body}"'

        yield Piece(*span(lines, node), texts, write)


def wording(node, holes=None):
    """The text of a string or f-string with {names} as placeholders; `holes`, a dict, gets the code of each."""
    if isinstance(node, ast.Constant):
        return node.value
    holes = {} if holes is None else holes
    return "".join(part.value if isinstance(part, ast.Constant) else hole(part, holes) for part in node.values)


def hole(part, holes):
    """A placeholder without its format, which is not the translator's concern."""
    name = "{" + re.sub(r"[{}]|\s{2,}", "", ast.unparse(part.value)) + "}"
    holes[name] = ast.unparse(ast.JoinedStr([part]))[2:-1]
    return name


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
            yield from filter(is_text, node.args)
        elif isinstance(node, ast.Assert) and is_text(node.msg):
            yield node.msg
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield from filter(is_text, node.exc.args)


def is_text(node):
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def same_code(one, other):
    """Whether two sources do the same but for the words of their docstrings and sentences."""
    return bare_tree(one) == bare_tree(other)


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
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            node.body[0].value.value = ""
    return ast.dump(tree)
