"""The language that a learner reads: which one it is, how it is written, and our sentences in it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from leaplm.directions import with_isolates
from leaplm.places import COMMON, LANGUAGES, LOCALE, find_root

# Babel and the catalogues are imported where another language than English is asked for: every module of the base says
# something, and `leaplm check` has to start where no package is installed.
_spoken: str | None = None  # by the notebook at work; None where that does not tell


def learner_locale() -> str:
    """That of the notebook at work, else of LEAPLM_LOCALE, else of the folder labs/languages/<locale>; "" is English."""
    if _spoken is not None:
        return _spoken
    if os.environ.get(LOCALE):
        from leaplm.translation import usual_locale

        return usual_locale()
    parts = Path.cwd().parts
    named = [below for above, below in itertools.pairwise(parts) if above == LANGUAGES]
    root = find_root() if named else None
    if root is None:
        return ""
    from leaplm.translation import list_locales

    known = list_locales(root)
    return next((locale for locale in reversed(named) if locale in known), "")


def speak(locale: str | None) -> None:
    """From now on this language is the learner's, as a notebook's own words tell it; None leaves it to the environment."""
    global _spoken
    _spoken = locale


@contextlib.contextmanager
def speaking(locale: str | None) -> Iterator[None]:
    """Within the block this language is the learner's; None leaves it to the environment."""
    before = _spoken
    speak(locale)
    try:
        yield
    finally:
        speak(before)


def shown_locale() -> str:
    """The language that our sentences are in: English where the learner's has no translation of them."""
    return learner_locale() if catalogs_of() else ""


def catalogs_of(lab: str = COMMON) -> tuple:
    """The catalogues of a lab in the learner's language; none for English, or where there is no such language."""
    locale = learner_locale()
    root = find_root() if locale else None
    if root is None:
        return ()
    from leaplm.translation import find_catalogs

    return find_catalogs(root, lab, locale)


def say(words: str, /, **values: object) -> str:
    """A sentence of ours in the learner's language, with its values.

    >>> say("{points} of {most} points for this exercise", points=2, most=3)
    '2 of 3 points for this exercise'
    """
    try:
        return (_translation_of(words) or words).format(**values)
    except (ValueError, KeyError, IndexError, AttributeError):  # a translator's slip: the sentence is still to be said
        return words.format(**values)


def _translation_of(words: str) -> str | None:
    catalogs = catalogs_of()
    if not catalogs:
        return None
    from leaplm.translation import look_up

    return look_up(words, catalogs)


def say_problem(problem: Exception) -> str:
    """An error as a sentence: what the system refused in the learner's language, all else in its own words.

    >>> say_problem(FileNotFoundError(2, "No such file or directory", "work.zip"))
    'there is no file work.zip'
    """
    if not isinstance(problem, OSError):
        return str(problem)
    file = problem.filename or ""
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return say("{file} cannot be read or written: this user may not, or the folder is read-only", file=file)
    if problem.errno == errno.ENOENT:
        return say("there is no file {file}", file=file)
    if problem.errno == errno.ENOSPC:
        return say("the disk is full: {file} could not be written", file=file)
    return str(problem)


def say_drawn(text: str) -> str:
    """What a figure shows, in the learner's language: names of methods and languages, titles with their numbers.

    >>> say_drawn("LoRA (5 seeds)")
    'LoRA (5 seeds)'
    """
    catalogs = catalogs_of()
    if not catalogs:
        return text
    from leaplm.translation import translate_drawn

    return translate_drawn(text, catalogs)


def language_tag(locale: str) -> str:
    """A locale as HTML names it.

    >>> language_tag("zh_CN"), language_tag("")
    ('zh-CN', 'en')
    """
    return locale.replace("_", "-") or "en"


def direction(locale: str) -> str:
    """Whether a language is written from the right: "rtl" or "ltr", as HTML's dir has it; "ltr" where it is not known.

    >>> direction("ar"), direction("sw"), direction("")
    ('rtl', 'ltr', 'ltr')
    """
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(locale or "en").text_direction
    except (UnknownLocaleError, ValueError):
        return "ltr"


def in_order(line: str, locale: str) -> str:
    """A line whose code and arithmetic keep their order, also in a language that is written from the right.

    >>> in_order("(4, 128)", "sw"), in_order("(4, 128)", "ar")
    ('(4, 128)', '\\u2066(4, 128)\\u2069')
    """
    return with_isolates(line) if direction(locale) == "rtl" else line


def language_name(code: str, locale: str, otherwise: str) -> str:
    """What a language is called in another one; `otherwise` where that is not known.

    >>> language_name("hau", "fr", "Hausa"), language_name("hau", "", "Hausa"), language_name("pcm", "ar", "?") != "?"
    ('haoussa', 'Hausa', True)
    """
    from babel import Locale, UnknownLocaleError
    from babel.core import get_global

    try:
        names = Locale.parse(locale or "en").languages
    except (UnknownLocaleError, ValueError):
        return otherwise
    return names.get(get_global("language_aliases").get(code, code), otherwise)
