"""People and their names, as platforms, lists and folders write them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass

from leaplm.grading.intake.ingest import safe_id

# Letters that Unicode does not take apart, as they are typed where a keyboard has them not: Hausa, Danish, Polish, ...
TYPED_AS = str.maketrans({"ɓ": "b", "ɗ": "d", "ƙ": "k", "ƴ": "y", "ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "ŋ": "n",
                          "æ": "ae", "œ": "oe", "ʼ": None, "ʻ": None, "ʹ": None})  # fmt: skip
ACCENTED = ("LATIN", "GREEK", "CYRILLIC")  # scripts of which a name is often written without the marks on its letters
NUMBERS = re.compile(r"\d+")
IN_WORDS = "@.'-_"  # stay inside the words of an id


@dataclass(frozen=True)
class Person:
    """Whoever handed something in, as the platform names them. `number` is the platform's, "" without one."""

    name: str
    platform: str = ""  # moodle, canvas, or "" for files named by the instructor
    number: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """The same for the same person: the platform's number, else the name."""
        return (self.platform, self.number) if self.number else ("", unicodedata.normalize("NFC", self.name))

    def may_be(self, other: Person, same_lab: bool) -> bool:
        """Whether two runs name the same person, as far as names and numbers say.

        A number of Moodle's is of one assignment, not of a student: mod_assign's get_uniqueid_for_user.
        """
        comparable = self.platform == other.platform and (same_lab or self.platform != "moodle")
        if comparable and self.number and other.number:
            return self.number == other.number
        return unicodedata.normalize("NFC", self.name) == unicodedata.normalize("NFC", other.name)

    def as_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Student:
    """A row of the students' list. `written` is the id as it stands there, where a folder cannot be called so."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""
    lms_name: str = ""
    group: str = ""
    written: str = ""

    def names(self) -> set[str]:
        """All the ways the student may be named in an export, folded."""
        return {fold(way) for way in self._ways()} - {""}

    def spellings(self) -> set[str]:
        """The same ways, with the words apart."""
        return {words(way) for way in self._ways()} - {""}

    def can_have(self, name: str) -> bool:
        """Whether a name that folds alike is not another id: `CSC/191/1` is not `CSC/19/11`, but `CSC1911` may be."""
        numbers = NUMBERS.findall(name)
        ways = [NUMBERS.findall(way) for way in self._ways() if as_typed(fold(way)) == as_typed(fold(name))]
        return any(len(numbers) < 2 or len(theirs) < 2 or numbers == theirs for theirs in ways)

    def _ways(self) -> set[str]:
        first, last = self.first_name, self.last_name
        return {self.id, self.written, self.lms_name, self.email, self.email.partition("@")[0],
                f"{first} {last}", f"{last} {first}"}  # fmt: skip


def make_id(name: str) -> str:
    """An id from a person's name; one that could be an id already stays as it is.

    >>> make_id("Aïsha Bello"), make_id("s1234567"), make_id("Ƙaddara Sani"), make_id("रमा कुमारी")
    ('aisha_bello', 's1234567', 'ƙaddara_sani', 'रमा_कुमारी')
    """
    if name[:1].isalnum() and all(char.isascii() and (char.isalnum() or char in "._@-") for char in name):
        return safe_id(name)
    text = unicodedata.normalize("NFC", name).casefold()
    plain = strip_accents(text)
    text = unicodedata.normalize("NFC", plain if plain.isascii() else text)
    words = "".join(char if _in_name(char) or char in IN_WORDS else " " for char in text).split()
    words = [word.strip(IN_WORDS) for word in words]
    return safe_id("_".join(filter(None, words)).replace("'", ""))


def fold(name: str) -> str:
    """A name for comparing: without case, spaces, punctuation, and the different codes of one letter.

    >>> fold("Bello, Aisha") == fold("belloaisha"), fold("रमा") == fold("रमी")
    (True, False)
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return unicodedata.normalize("NFC", "".join(char for char in text if _in_name(char)))


def words(name: str) -> str:
    """The folded words of a name, one blank between them.

    >>> words("O'Neill-Bello, Aisha")
    'oneill bello aisha'
    """
    folded = unicodedata.normalize("NFKC", name).casefold().translate(dict.fromkeys(map(ord, "'’ʼ`")))
    return " ".join("".join(char if _in_name(char) else " " for char in folded).split())


def as_typed(name: str) -> str:
    """A folded name as it is typed on a plain keyboard: no marks on Latin, Greek and Cyrillic letters.

    >>> as_typed("ọlá"), as_typed("ƙaddara"), as_typed("jǿrn"), as_typed("रमा")
    ('ola', 'kaddara', 'jorn', 'रमा')
    """
    # Once more: a letter may stand bare only without its marks (ǿ), a mark behind a letter only without what is left out.
    return unicodedata.normalize("NFC", strip_accents(strip_accents(name).translate(TYPED_AS)))


def strip_accents(text: str) -> str:
    """A text without the marks on letters of scripts in which they are no letters; other scripts keep theirs."""
    kept, bare = [], False
    for char in unicodedata.normalize("NFD", text):
        if unicodedata.combining(char) and bare:
            continue
        bare = unicodedata.name(char, "").startswith(ACCENTED)
        kept.append(char)
    return "".join(kept)


def _in_name(char: str) -> bool:
    """Letters, the marks that are part of them, and digits."""
    return unicodedata.category(char)[0] in "LMN"
