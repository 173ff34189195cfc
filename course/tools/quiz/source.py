"""Reads the questions of a lab, course/<lab>/questions.toml, and works out what they take from the lab's record.

    [[choice]]                       # one right answer
    name = "padding"                 # short, once in a lab
    ask = "What goes wrong if ...?"
    right = "The score of a text depends on its neighbours."
    because = "The mean counts positions that are no text."        # shown after an answer
    wrong = [["Nothing.", "It does: ..."], ...]                    # each with the reason why not

    [[number]]
    name = "lora-size"
    ask = "... How many numbers learn?"
    answer = "12 * 8 * (384 + 384)"  # Python; the names of the record's studies are its tables
    within = 0                       # how far off an answer may be
    because = "{answer}: rank times ..."

    [[short]]
    name = "forgetting"
    ask = "What is it called when ...? (one or two words)"
    accept = ["catastrophic forgetting", "forgetting"]             # capitals do not count
    because = "..."

`given = { best = "round(main.accuracy.mean(), 2)" }` names numbers of the record: the texts show them as {best} or
{best:.2f}, and `answer` may use them. Code stands between ` marks.
"""

import tomllib
from dataclasses import dataclass, field

import studies
from leaplm.grading.course import lab_file

FILE = "questions.toml"
KEYS = {"choice": {"right", "wrong"}, "number": {"answer", "within"}, "short": {"accept"}}
SHARED, OPTIONAL = {"name", "ask", "because"}, {"given"}


@dataclass
class Question:
    """kind: choice, number or short. wrong: [(answer, why it is wrong)]; number and within: of a number."""

    kind: str
    name: str
    ask: str
    because: str
    right: str = ""
    wrong: list[tuple[str, str]] = field(default_factory=list)
    number: float = 0.0
    within: float = 0.0
    accept: list[str] = field(default_factory=list)


def read_questions(root, lab):
    """The questions of a lab, in order of kind. ValueError names a question that is not as the format says."""
    text = lab_file(root, lab, FILE).read_text(encoding="utf-8")
    return [made(lab, kind, entry) for kind, entries in tomllib.loads(text).items() for entry in entries]


def made(lab, kind, entry):
    name = entry.get("name", "a question without a name")
    if kind not in KEYS:
        raise ValueError(f"{lab}, {FILE}: [[{kind}]] is no kind of question; use one of {', '.join(KEYS)}")
    wanted = KEYS[kind] | SHARED
    if wanted - set(entry) or set(entry) - wanted - OPTIONAL:
        raise ValueError(f"{lab}, {FILE}, {name}: a {kind} has {sorted(wanted)}, and perhaps `given`; not {sorted(entry)}")
    names = studies.Studies(lab)
    given = {key: studies.evaluate(expression, names) for key, expression in entry.get("given", {}).items()}
    if kind == "number":
        given["answer"] = studies.evaluate(entry["answer"], studies.Studies(lab, **given))

    def filled(text):
        return text.format(**given) if given else text

    return Question(kind, name, filled(entry["ask"]), filled(entry["because"]), filled(entry.get("right", "")),
                    [(filled(answer), filled(why)) for answer, why in entry.get("wrong", [])],
                    float(given.get("answer", 0)), float(entry.get("within", 0)), entry.get("accept", []))
