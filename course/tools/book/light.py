"""Takes out of the book's pages what nobody sees, so that they load on a bad line; and weighs them.

What is left looks and does the same. Out go spans of code without a colour of their own, wrappers that no style names,
rules of styles for what no page has, indents of scripts. Pictures become WebP, without a loss.
"""

import html
import re
import unicodedata
from pathlib import Path

from PIL import Image

HEAVIEST = 300_000  # bytes of a page with all that it loads
CODE = re.compile(r"<pre[ >].*?</pre>", re.S)
# Names, signs and spaces of code have no colour of their own; with the marks of f-strings they are a third of a page.
PLAIN = re.compile(r'<span class="(?:n|nn|nc|p|o|w|bp|nb|nf|sa|si|pre)">([^<]*)</span>')
SHORTER = (
    (PLAIN, r"\1"),
    (re.compile(r"(<pre>)<span></span>(?!\n)"), r"\1"),
    (re.compile(r'class="([^"]*?) docutils container"'), r'class="\1"'),
    (re.compile(r'class="docutils literal notranslate"'), 'class="literal notranslate"'),
    (re.compile(r' xmlns="http://www.w3.org/1998/Math/MathML"| display="inline"'), ""),  # HTML needs neither
    (re.compile(r"&#x[0-9A-F]{5};"), lambda found: html.escape(html.unescape(found[0]), quote=False)),  # of formulas
    (re.compile(r"<style scoped>.*?</style>\s*", re.S), ""),  # in each table of pandas; book.css has what is needed
)
PICTURE = re.compile(r'src="([^"]*_images/)([^"/]+)\.png"')
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
COMMENT = re.compile(r"/\*(?!!).*?\*/\s*", re.S)  # those of licences begin with /*!
NOTE = re.compile(r"^[ \t]*/\*(?!!).*?\*/[ \t]*\n", re.S | re.M)  # in a script, on lines of its own
ESCAPED = re.compile(r"(?<!\\)((?:\\\\)*)\\u([0-9a-fA-F]{4})")
NAMED = re.compile(r"[.#](-?[A-Za-z_][\w-]*)")
LOADED = re.compile(r'<(?:script|img)\b[^>]*? src="([^"]+)"|<link\b[^>]*? rel="stylesheet"[^>]*? href="([^"]+)"')


def lighten(target):
    """Make the pages of a web site light, with their pictures and styles."""
    for path in target.rglob("*.map"):
        path.unlink()
    sizes = {path.name: as_webp(path) for path in target.glob("_images/*.png")}
    for path in target.rglob("*.html"):
        page = shorter(path.read_text(encoding="utf-8"))
        path.write_text(PICTURE.sub(lambda found: later(found, sizes), page), encoding="utf-8")
    for path in target.rglob("*.js"):
        path.write_text(bare_script(path.read_text(encoding="utf-8")), encoding="utf-8")
    known = names_in_use(target)
    for path in target.rglob("*.css"):
        path.write_text(used_rules(path.read_text(encoding="utf-8"), known), encoding="utf-8")


def shorter(page):
    """A page with less around its words.

    >>> shorter('<table>\\n  <tr>\\n    <td><code class="docutils literal notranslate"><span class="pre">x</span></code>')
    '<table>\\n<tr>\\n<td><code class="literal notranslate">x</code>'
    """
    for pattern, instead in SHORTER:
        page = pattern.sub(instead, page)
    kept = CODE.findall(page)
    parts = [re.sub(r"\n\s+", "\n", part) for part in CODE.split(page)]
    return "".join(part for pair in zip(parts, [*kept, ""], strict=True) for part in pair)


def as_webp(path):
    """Turn a PNG into a WebP of the same points, a fifth smaller; returns its size in points."""
    image = Image.open(path).convert("RGB")
    image.save(path.with_suffix(".webp"), lossless=True, quality=50, method=3)  # the most of both takes 100 times as long
    path.unlink()
    return image.size


def later(found, sizes):
    """The source of a picture that is loaded when a reader comes near; its place is kept free for it."""
    width, height = sizes[f"{found[2]}.png"]
    return f'loading="lazy" width="{width}" height="{height}" src="{found[1]}{found[2]}.webp"'


def bare_script(script):
    """A script without indents and notes, its letters written as themselves: \\u4e2d has twice the bytes of its letter.

    >>> bare_script('/* A\\n note */\\nif (x) {\\n  y = "\\\\u4e2d\\\\u0022";\\n}')
    'if (x) {\\ny = "中\\\\u0022";\\n}'
    """
    script = ESCAPED.sub(lambda found: found[1] + letter(found[2]), script)
    if any(line.count("`") % 2 for line in script.split("\n")):  # text of several lines, whose blanks count
        return script
    return re.sub(r"(?m)^[ \t]+", "", NOTE.sub("", script))


def letter(code):
    """The letter or sign of a code of four digits; the code as scripts write it where that is none, or one of ASCII."""
    found = chr(int(code, 16))
    return found if found > "\x7f" and unicodedata.category(found)[0] in "LMNPS" else f"\\u{code}"


def names_in_use(target):
    """All names of classes and places in the pages, and every word of their scripts, which may set more."""
    pages = (re.findall(r'(?:class|id)="([^"]*)"', path.read_text(encoding="utf-8")) for path in target.rglob("*.html"))
    scripts = (re.findall(r"[\w-]+", path.read_text(encoding="utf-8")) for path in target.rglob("*.js"))
    return {name for words in (*pages, *scripts) for each in words for name in each.split()}


def used_rules(style, known):
    """A style sheet without the rules that fit nothing.

    >>> used_rules("a{x:1} .b,.c:not(.d){x:2} /* B */ .b em{x:3} @media print{.b{x:4}}", {"c"})
    'a{x:1} .c:not(.d){x:2}  @media print{}'
    """
    def kept(rule):
        start, selectors = re.fullmatch(r"(\s*(?:@[^;]*;\s*|/\*!.*?\*/\s*)*)(.*)", rule[1], re.S).groups()
        fitting = [each for each in re.split(r",(?![^(]*\))", selectors) if fits(each, known)]
        return start + (f"{','.join(fitting)}{{{rule[2]}}}" if fitting else "")

    return RULE.sub(kept, COMMENT.sub("", style))


def fits(selector, known):
    """Whether all names of a selector are known, those in brackets aside."""
    bare = re.sub(r"\[[^\]]*\]", "", selector)
    while bare != (bare := re.sub(r"\([^()]*\)", "", bare)):
        pass
    return set(NAMED.findall(bare)) <= known


def weights(target):
    """{page: bytes} of a web site, each page with its scripts, styles and pictures."""
    return {str(path.relative_to(target)): path.stat().st_size + loads(path) for path in target.rglob("*.html")}


def loads(path):
    """The bytes of what a page loads."""
    urls = {url for pair in LOADED.findall(path.read_text(encoding="utf-8")) for url in pair if url and ":" not in url}
    return sum(Path(path.parent, url.partition("?")[0]).stat().st_size for url in urls)


def too_heavy(target):
    """The pages above HEAVIEST, in words, the heaviest first."""
    heavy = sorted(((weight, page) for page, weight in weights(target).items() if weight > HEAVIEST), reverse=True)
    return [f"{page}: {weight / 1000:.0f} kB" for weight, page in heavy]
