"""Figures in the letters of every script: matplotlib's own font has Latin, Greek, Cyrillic and Arabic letters only.

Before its version 3.11 matplotlib drew each letter by itself, from left to right: there Arabic letters get the forms that
join, and a line that has words from the right its order, before it is drawn.
"""

import contextlib
import functools
import re
import unicodedata
import warnings
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.text import Text

from leaplm import captions
from leaplm.locales import learner_locale, say, say_drawn

SHAPES = tuple(map(int, matplotlib.__version__.split(".")[:2])) >= (3, 11)  # with libraqm
FROM_THE_RIGHT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
SCRIPT = re.compile(r"(.+?)(?: (?:CAPITAL |SMALL )?(?:LETTER|SYLLABLE|VOWEL|CONSONANT|SIGN|UNIFIED|DIGIT)\b|$)")
told = set()


class ScriptFigure(Figure):
    """A figure that, whenever it is drawn, finds a font of this computer for the letters that its font lacks.

    It says its words in the learner's language. As a PNG it holds what it shows in words, too (`captions`), and a notebook
    keeps them as the alternative text of the picture.
    """

    def set_canvas(self, canvas):
        super().set_canvas(canvas)
        plain = canvas.print_figure

        def print_figure(filename, *args, format=None, metadata=None, **settings):
            say_words(self)
            if format == "png" or (format is None and str(filename).endswith(".png")):
                metadata = {captions.KEY: self.in_words(), **(metadata or {})}
            return plain(filename, *args, format=format, metadata=metadata, **settings)

        canvas.print_figure = print_figure
        if type(canvas).draw_idle is FigureCanvasBase.draw_idle:  # no window: after each cell it would draw what nobody sees
            canvas.draw_idle = lambda *_, **__: None

    def in_words(self):
        """What the figure shows, in the learner's language."""
        say_words(self)
        return captions.describe(self)

    def _repr_mimebundle_(self, **_):
        """No picture of its own: Jupyter makes that as it is set to, and puts these words beside it."""
        return {}, {"image/png": {"alt": self.in_words()}}

    def draw(self, renderer):
        say_words(self)
        for axes in self.axes:  # fills the labels of the ticks in, which are found below
            axes.get_xticklabels(), axes.get_yticklabels()
        texts = self.findobj(Text)
        for text in texts:
            add_fonts(text)
        with warnings.catch_warnings(), in_order_of_sight(texts):
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # said once a script, below
            super().draw(renderer)


def name_rows_by_data(axis, names):
    """Names out of somebody's data on an axis, such as classes: they stay as they are in every language."""
    axis.set_ticks(range(len(names)), names)
    axis.of_data = True


def say_words(figure):
    """Titles, axes, legends and names of rows in the learner's language; what was said once stays."""
    if not learner_locale():
        return
    as_they_are = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if getattr(axis, "of_data", False):
            as_they_are.update(map(id, axis.get_ticklabels()))
            continue
        names = [label.get_text() for label in axis.get_ticklabels()]
        said = [say_drawn(name) if captions.LETTER.search(name) and "$" not in name else name for name in names]
        if said != names and getattr(axis, "said", None) != names:
            axis.set_ticks(axis.get_ticklocs(), said)
            axis.said = said
    for text in figure.findobj(Text):
        if id(text) not in as_they_are and text.get_text() != getattr(text, "said", ""):
            text.said = say_drawn(text.get_text())
            text.set_text(text.said)


@contextlib.contextmanager
def in_order_of_sight(texts):
    """While it draws, a matplotlib that knows no direction has each Text as `order_of_sight` gives it."""
    if SHAPES:
        yield
        return
    written = Text.draw

    def draw(text, renderer):
        before = text._text
        text._text = order_of_sight(before)
        try:
            return written(text, renderer)
        finally:
            text._text = before

    Text.draw = draw
    try:
        yield
    finally:
        Text.draw = written


def order_of_sight(text):
    """Each line as its letters stand from left to right, Arabic ones in the forms that join; others stay as they are.

    >>> [hex(ord(letter)) for letter in order_of_sight("من (5)")], order_of_sight("from left")
    (['0x28', '0x35', '0x29', '0x20', '0xfee6', '0xfee3'], 'from left')
    """
    if not FROM_THE_RIGHT.search(text):
        return text
    import arabic_reshaper
    from bidi.algorithm import get_display  # the package's own, in Rust, turns no brackets round

    return "\n".join(get_display(arabic_reshaper.reshape(line)) for line in text.split("\n"))


def add_fonts(text):
    """Give a matplotlib Text the fonts for its letters behind its own; says once a script where there is none."""
    lacking = lacking_letters(text.get_text(), font_manager.findfont(text.get_fontproperties()))
    if not lacking:
        return
    found = {letter: find_family(letter, len(font_files())) for letter in lacking}
    text.set_fontfamily(list(dict.fromkeys([*text.get_fontfamily(), *filter(None, found.values())])))
    for script, letter in {script_of(letter): letter for letter, family in found.items() if not family}.items():
        if script not in told:
            told.add(script)
            print(say("No font of this computer has {script} letters such as {letter}: they are drawn as boxes. Install one "
                      "(Debian, Ubuntu, Colab: apt-get install fonts-noto-core, for Chinese fonts-noto-cjk) or put its .ttf "
                      "file beside the notebook, and run the cell again.", script=script, letter=letter))  # fmt: skip


@functools.lru_cache(maxsize=1024)
def lacking_letters(text, path):
    """The visible letters of a text, each once, that a font file has no picture for."""
    visible = (letter for letter in text if unicodedata.category(letter)[0] not in "ZC")
    return tuple(letter for letter in dict.fromkeys(visible) if not has_letter(path, letter))


def has_letter(path, letter):
    return font_manager.get_font(path).get_char_index(ord(letter)) != 0


def script_of(letter):
    """A letter's script, from its name.

    >>> script_of("ሀ"), script_of("电")
    ('Ethiopic', 'CJK')
    """
    name = SCRIPT.match(unicodedata.name(letter, "UNKNOWN"))[1]
    return name if name == "CJK" else name.title()


def font_files():
    """All font files of the system, and those beside the notebook."""
    beside = [str(path.resolve()) for path in Path.cwd().glob("*.[to]tf")]
    return [*font_manager.findSystemFonts(), *beside]


@functools.lru_cache(maxsize=1024)
def find_family(letter, number):
    """The name of a font family that has a letter, or None; one for text before one for signs, Noto's before others.

    number: of font files on this computer; when it changes, the search is made again.
    """
    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    for path in font_files():  # matplotlib keeps a list of its own, and does not look for what was installed since
        if path not in known:
            add_file(manager, path)
    real = [entry for entry in manager.ttflist if "Last Resort" not in entry.name]  # whose letters are boxes
    order = sorted(real, key=lambda entry: ("Noto Sans" not in entry.name, "Sans" not in entry.name,
                                            entry.style != "normal", entry.name))
    return next((entry.name for entry in order if opens_with(entry.fname, letter)), None)


def add_file(manager, path):
    try:
        manager.addfont(path)
    except (OSError, RuntimeError, ValueError):  # not a font that matplotlib can use
        return


def opens_with(path, letter):
    try:
        return has_letter(path, letter)
    except (OSError, RuntimeError, ValueError):  # a font that was removed or is broken
        return False
