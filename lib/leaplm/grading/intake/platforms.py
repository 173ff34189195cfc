"""What learning platforms call the files of a download, and whom the names mean.

* **Moodle**, "Download all submissions" (mod/assign/classes/downloader.php, before 4.1 in locallib.php):
  `<who>_<number>_assignsubmission_<kind>/` with the files in it, or flat `<who>_<number>_assignsubmission_<kind>_<file>`;
  `kind` is `file`, or `onlinetext` for what was typed on the page. The number is that of the grading worksheet
  ("Participant <number>") and belongs to one assignment. `who` is the full name, with blanks for `_`; with blind marking
  the word for "participant" in the site's language; in a group assignment `<group>-<full name>` for each member, since
  4.1 the group alone (with the group's number), or "Default team" without a number. Where the teacher looks at one
  group, `<group>-` stands before all names too.
* **Canvas**, "Download submissions" (lib/content_zipper.rb): flat `<name>_[LATE_]<user id>_<file id>_<file name>`, the
  name in lower case and without spaces, last name first; anonymous: `[LATE_]anon_<id>_<file id>_<file name>`; in a group
  assignment the group's name, with the user id of one member. A file handed in again under its old name gets -1, -2.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from leaplm.grading.intake.people import Person, fold
from leaplm.grading.intake.roster import Roster

MOODLE = re.compile(r"(?P<name>.+?)(?:_(?P<number>\d+))?_assignsubmission_(?P<kind>[a-z]+)_?(?P<file>.*)", re.DOTALL)
ID = r"(?P<number>\d+|anon_[A-Za-z0-9]+)"
CANVAS = re.compile(rf"(?:(?P<name>.+?)_)??(?P<late>(?i:LATE)_)?{ID}_(?P<file_id>\d+)_(?P<file>.+)", re.DOTALL)
CANVAS_TEXT = re.compile(rf"(?:(?P<name>.+?)_)??(?P<late>(?i:LATE)_)?{ID}_(?:text|link)\.html", re.DOTALL)
BLIND = {"participant", "participante", "mshiriki", "参与者", "参加者", "مشارك", "teilnehmerin", "deelnemer", "partecipante"}
GROUP = re.compile(r".*[\d\s].*", re.DOTALL)  # "Group 1", "Default group"; a double first name has neither digit nor blank


def of_a_platform(name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in (MOODLE, CANVAS, CANVAS_TEXT))


def moodle_people(names: Iterable[str], roster: Roster) -> dict[str, Person]:
    """Whom Moodle's names mean, by the name of each file or folder.

    >>> moodle_people(["Group 1-Aisha Bello_7_assignsubmission_file", "Group 1-Musa Sani_8_assignsubmission_file"],
    ...               Roster())["Group 1-Aisha Bello_7_assignsubmission_file"]
    Person(name='Aisha Bello', platform='moodle', number='7')
    """
    matches = {name: match for name in names if (match := MOODLE.fullmatch(name))}
    people = {name: (match["name"].strip(), match["number"] or "") for name, match in matches.items()}
    numbers = defaultdict(set)
    for who, number in people.values():
        numbers[who].add(number)
    all_alike = len(numbers) == 1 and len(next(iter(numbers.values()))) > 1  # in a language that is not in BLIND
    grouped = group_names(numbers)
    return {name: Person(f"{who} {number}", "moodle", number) if all_alike or fold(who.rpartition("-")[2]) in BLIND
            else _moodle_person(who, number, roster, grouped) for name, (who, number) in people.items()}  # fmt: skip


def _moodle_person(who: str, number: str, roster: Roster, grouped: set[str]) -> Person:
    whole = Person(who, "moodle", number)
    if roster.group(who) or roster.find(whole):
        return whole
    rests = [who[place + 1 :].strip() for place, char in enumerate(who) if char == "-"]
    for rest in rests:  # the longest first: a name may have a hyphen itself
        if roster.find(Person(rest, "moodle", number)):
            return Person(rest, "moodle", number)
    return Person(rests[0], "moodle", number) if rests and who.partition("-")[0] in grouped else whole


def group_names(names: Iterable[str]) -> set[str]:
    """What stands before the first hyphen, if it does so in all names and looks like groups; else nothing."""
    heads = Counter(name.partition("-")[0] if "-" in name else "" for name in names)
    return set(heads) if heads.total() > 1 and all(head and GROUP.fullmatch(head) for head in heads) else set()


def canvas_person(match: re.Match) -> Person:
    return Person(match["name"] or match["number"], "canvas", match["number"])


def members(person: Person, roster: Roster) -> list[Person]:
    """Whoever hands in together as `person`: the members of a group of the list, else the person alone."""
    if person.platform == "canvas" and not fold(person.name):
        return [person]
    group = roster.group(person.name)
    return [Person(student.id) for student in group] or [person]
