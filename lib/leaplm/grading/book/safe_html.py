"""HTML cut down to harmless tags, in time proportional to its length.

The text is read tag by tag and written anew: tags and attributes of a short list, quoted and escaped, all else as text
or not at all. Whatever a browser makes of the result, it can only be made of these tags. Every tag written is closed,
and none that was not opened, so a page around it keeps its shape. No parser of the whole of HTML is used: those at hand
take minutes for tags nested deeply or with very many attributes.
"""

from __future__ import annotations

import html
import re

TAGS = {"a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "del", "details", "div", "dl", "dt", "em", "h1", "h2",
        "h3", "h4", "h5", "h6", "hr", "i", "img", "kbd", "li", "ol", "p", "pre", "s", "small", "span", "strong", "sub",
        "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"}  # fmt: skip
VOID = {"br", "hr", "img"}
MAX_DEPTH = 60
MAX_ATTRIBUTES = 2_000  # characters of a tag, unless it is a picture

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
UNSEEN = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)  # their content is no text to read
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,15})(?![a-zA-Z0-9])([^<>]*)>|<[!?/][^<>]*>")
ATTRIBUTE = re.compile(r"""\b([a-zA-Z]{1,10})\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>`]+))""")

PLAIN_ATTRIBUTES = {"alt", "title", "colspan", "rowspan", "align", "border", "start", "dir", "lang"}
CLASS = re.compile(r"highlight|dataframe|[a-z]{1,2}[a-z0-9]?")  # the last are Pygments' colours
LINK = re.compile(r"(?:https?://|mailto:|#)\S*", re.IGNORECASE)
PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+")


def clean_html(text: str) -> str:
    """The text with harmless tags only.

    >>> clean_html('<p onclick="x()">1 < 2 <b>yes<script>x()</script></p>')
    '<p>1 &lt; 2 <b>yes</b></p>'
    """
    text = UNSEEN.sub("", COMMENT.sub("", text))
    written: list[str] = []
    open_tags: list[str] = []
    place = 0
    for match in TAG.finditer(text):
        written.append(_as_text(text[place : match.start()]))
        place = match.end()
        closes, tag, attributes = match[1], (match[2] or "").lower(), match[3]
        if tag not in TAGS:
            continue
        if closes:
            written += _close(tag, open_tags)
        elif tag in VOID or len(open_tags) < MAX_DEPTH:
            written.append(f"<{tag}{_attributes(tag, attributes)}>")
            open_tags += [] if tag in VOID else [tag]
    written.append(_as_text(text[place:]))
    return "".join(written + [f"</{tag}>" for tag in reversed(open_tags)])


def _close(tag: str, open_tags: list[str]) -> list[str]:
    """The end tags up to and with `tag`; none if it is not open."""
    if tag not in open_tags:
        return []
    closed = []
    while not closed or closed[-1] != f"</{tag}>":
        closed.append(f"</{open_tags.pop()}>")
    return closed


def _as_text(text: str) -> str:
    return html.escape(html.unescape(text), quote=False)


def _attributes(tag: str, text: str) -> str:
    if len(text) > MAX_ATTRIBUTES and tag != "img":
        return ""
    kept = {}
    for match in ATTRIBUTE.finditer(text):
        name, value = match[1].lower(), html.unescape(match[2] or match[3] or match[4] or "")
        if _is_allowed(tag, name, value):
            kept.setdefault(name, value)
    if "href" in kept:
        kept["rel"] = "noopener noreferrer nofollow"
    return "".join(f' {name}="{html.escape(value)}"' for name, value in kept.items())


def _is_allowed(tag: str, name: str, value: str) -> bool:
    """Whether an attribute stays. Links lead outside or within the page; pictures are in the page itself."""
    if name == "href":
        return tag == "a" and bool(LINK.fullmatch(value))
    if name == "src":
        return tag == "img" and bool(PICTURE.fullmatch(value))
    if name == "class":
        return all(CLASS.fullmatch(word) for word in value.split())
    return name in PLAIN_ATTRIBUTES and len(value) < 500
