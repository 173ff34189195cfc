"""The drawing of a lab's chapter (course/<lab>/figure.svg), shown in its notebook too, in the learner's language.

Its words (titles, descriptions, labels) are taken out for translators and put back so that they fit.
"""

import re
import unicodedata

from leaplm.locales import catalogs_of, say
from leaplm.places import INSTALLED, find_root
from leaplm.translation import has_words, look_up

WORDS = re.compile(r"<((?:text|tspan|title|desc)\b[^>]*)>([^<]+)<")
LEAST = 0.6  # of a label's size; smaller ones cannot be read
ON_WHITE = '<svg style="max-width: 720px; background: white" '  # its lines are black, and a notebook may be dark


def show_drawing(lab):
    """Show the drawing of a lab's chapter. Its title and description stand in it, for those who do not see it.

    >>> show_drawing("lab2_finetuning")     # doctest: +SKIP
    """
    from IPython.display import SVG, display

    places = (root / "course" / lab / "figure.svg" for root in (find_root(), INSTALLED) if root)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        print(say("The drawing of {lab} is not here; it is in the chapter.", lab=lab))
        return
    drawing = translate(path.read_text(encoding="utf-8"), catalogs_of(lab))
    display(SVG(drawing.replace("<svg ", ON_WHITE, 1)))


def described(drawing):
    """What a drawing says of itself to those who do not see it; "" if nothing.

    >>> described('<svg><desc id="d">Two arrows.</desc></svg>')
    'Two arrows.'
    """
    found = re.search(r"<desc\b[^>]*>([^<]*)<", drawing)
    return found[1].strip() if found else ""


def labels(path):
    """The words of a drawing, with its title and description; none where there is no such file."""
    drawing = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [words for _, words in WORDS.findall(drawing) if has_words(words)]


def translate(drawing, catalogs):
    """A drawing with its words in another language; a label that gets longer is written smaller."""
    def told(found):
        tag, words = found[1], found[2]
        new = look_up(words, catalogs) or words
        ratio = columns(words) / columns(new)
        return f"<{smaller(tag, ratio) if ratio < 1 and tag.startswith('text') else tag}>{new}<"

    return WORDS.sub(told, drawing)


def columns(text):
    """How wide a text is, in letters of Latin.

    >>> columns("loss"), columns("损失")
    (4, 3.6)
    """
    return sum(1.8 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def smaller(tag, ratio):
    """The start of a text element with its size times `ratio`, at least LEAST.

    >>> smaller('text x="1" font-size="20"', 0.7), smaller("text", 0.1)
    ('text x="1" font-size="14.0"', 'text font-size="0.60em"')
    """
    ratio = max(ratio, LEAST)
    if size := re.search(r'font-size="([\d.]+)"', tag):
        return tag.replace(size[0], f'font-size="{float(size[1]) * ratio:.1f}"')
    return f'{tag} font-size="{ratio:.2f}em"'
