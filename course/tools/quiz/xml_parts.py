"""XML in few words, and the text of a question as HTML."""

import html
import re
import xml.etree.ElementTree as ET


def tag(name, *inside, **attributes):
    """An element with elements and texts inside.

    >>> to_text(tag("a", tag("b", "1 < 2"), c="x"))
    '<a c="x"><b>1 &lt; 2</b></a>'
    """
    element = ET.Element(name, attributes)
    for part in inside:
        if isinstance(part, str):
            element.text = (element.text or "") + part
        else:
            element.append(part)
    return element


def to_text(element):
    return ET.tostring(element, encoding="unicode")


def to_file(element):
    """The bytes of an XML file, indented."""
    ET.indent(element)
    return ET.tostring(element, encoding="utf-8", xml_declaration=True) + b"\n"


def to_html(text):
    """A question's text as HTML: `code`, and a line break as one.

    >>> to_html("Is `a < b`?")
    '<p>Is <code>a &lt; b</code>?</p>'
    """
    return "<p>" + re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False)).replace("\n", "<br>") + "</p>"
