"""Writes course/MISTAKES.md: for each exercise the mistakes that its check is tested against, and what to say about them.

    python course/tools/mistakes.py

Mistakes come from the labs' banks. What to say when somebody is stuck is the notebook's first hint. What to ask about a
mistake goes by its kind (RESPONSES), for those that a mark tells apart (hints.json); the others give the same results as one
of these, or are of files, and are listed behind them.
"""

import json
import re
from pathlib import Path

from leaplm.grading.course import lab_file, list_labs
from leaplm.grading.judge.banks import load_bank

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "course" / "MISTAKES.md"
HEADING = re.compile(r"^# ##+ (.+)$", re.M)
CHECK = re.compile(r'^# %% check="([^"]+)"', re.M)
TITLE = re.compile(r"^# # (Lab \d+ · .+)$", re.M)
HINT = re.compile(r"<summary>Hint 1</summary>(.*?)</details>", re.S)
HEAD = """# Common mistakes

For teachers. Each line is a plausible wrong answer that loses marks: our own tests judge it with the real check. Use them to
prepare a lesson, or to read a submission. In italics stands what to say when somebody is stuck, and what to ask about the
mistakes below it. Ask before you explain: most people find the place themselves. *Other mistakes* get the same mark as one
above, or are in a saved file. This page is made by `python course/tools/mistakes.py` from the labs' banks and hints.
"""
# (what the words of a mistake hold, what to ask), the first that fits.
RESPONSES = [(re.compile(words), ask) for words, ask in (
    (r"caller|changed in place|the batches are changed",
     "Print the input before and after the call: is it still the same?"),
    (r"overflow|NaN|not.a.number|by zero|by 0|logarithm of 0|zeros|infinit|finite",
     "Try it with very large numbers, and with zeros: what comes out?"),
    (r"\bround|whole numbers|without a remainder|two digits|cuts off",
     "Compare all digits with the example: where do they get lost?"),
    (r"seed|at random|random|replacement|\bmix",
     "Run it twice with one seed, and once with another: what changes, and what should?"),
    (r"dropout|evaluation mode|training mode|gradient|backward|learns?\b|no_grad|trains on|optimizer|freez|frozen",
     "Which numbers should change in training, and which do? Print one of each before and after."),
    (r"empty|fails|nothing|there is (no|none)|no limit|exactly|once$|at least|never (below|above)|when (all|the)|below 0",
     "What should come out in the smallest case, and exactly at the limit? Try both."),
    (r"square|norm\b|length|cosine|distance|dot product|deviation|1\.96|interval|quantile|Student",
     "Write the formula with its numbers for two items, by hand: which factor differs?"),
    (r"forgets|without|^no |leaves out|left out|lost|loses|is left|out$|skips|drops",
     "Point at the place in the code for each part of the task's sentence: which part has no place?"),
    (r"order|sort|first|last|smallest|largest|swap|exchanged|upside|wrong way|other way|early|late\b|position|shuffle",
     "Take three items and write down by hand what comes where."),
    (r"\bsum|mean|median|average|batch|dimension|rows|columns|each (text|row|tensor|class)|classes",
     "Over what do you add up, and by how many do you divide? Say it with the unit."),
    (r"\bcounts?\b|number|share|percent|per cent|\bbits|nats|\bunit|MB",
     "What does one unit of your result count? Say it on the example."),
    (r"", "Do the docstring's example by hand, step by step: at which step does the code do something else?"),
)]


def exercises(source):
    """{heading above: names of its checks}, in order: an exercise, or the part in which a file is handed in."""
    found, parts = {}, HEADING.split(source)
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        if checks := CHECK.findall(text):
            found.setdefault(re.sub(r" \(\d+ minutes.*\)$", "", heading), []).extend(checks)
    return found


def first_hints(source):
    """{check: the notebook's first hint for it}, on one line, with the marks of Markdown."""
    parts = CHECK.split(source)
    found = {check: HINT.search(HEADING.split(text)[0]) for check, text in zip(parts[1::2], parts[2::2], strict=True)}
    return {check: as_markdown(hint[1]) for check, hint in found.items() if hint}


def as_markdown(text):
    plain = " ".join(re.sub(r"^# ?", "", text, flags=re.M).split())
    return re.sub(r"</?code>", "`", plain).replace("&lt;", "<").replace("&gt;", ">")


def response(why):
    """What to ask somebody who made this mistake.

    >>> response("takes the sum over the batch")
    'Over what do you add up, and by how many do you divide? Say it with the unit.'
    """
    return next(ask for words, ask in RESPONSES if words.search(why))


def told_apart(root, lab):
    """{check: the mistakes that a mark tells apart}, from hints.json."""
    path = lab_file(root, lab, "hints.json")
    return json.loads(path.read_text(encoding="utf-8"))["checks"] if path.is_file() else {}


def listed(wrong, known):
    """The lines of an exercise: mistakes by what to ask about them, then the others."""
    groups, others = {}, [why for why in wrong if why not in known]
    for why in (why for why in wrong if why in known):
        groups.setdefault(response(why), []).append(why)
    lines = [f"* *{ask}*\n" + "\n".join(f"  * {why}" for why in group) for ask, group in groups.items()]
    head = ["* Other mistakes:"] if groups and others else []
    return "\n".join([*lines, *head, *(f"  * {why}" if groups else f"* {why}" for why in others)])


def section(lab):
    source = lab_file(ROOT, lab, "lab.py").read_text(encoding="utf-8")
    lines, bank = [f"## {TITLE.search(source)[1]}"], load_bank(lab, ROOT)
    known, hints = told_apart(ROOT, lab), first_hints(source)
    for title, checks in exercises(source).items():
        for check in checks:
            wrong = list(dict.fromkeys(answer.why for answer in bank if answer.check == check and not answer.right))
            say = f"\n\n*Stuck? Say:* {hints[check]}" if check in hints else ""
            lines.append(f"**{title}** (`{check}`){say}\n\n{listed(wrong, known.get(check, []))}")
    return "\n\n".join(lines)


def page():
    """The whole page as text."""
    return "\n\n".join([HEAD.strip(), *map(section, list_labs(ROOT))]) + "\n"


if __name__ == "__main__":
    text = page()
    TARGET.write_text(text, encoding="utf-8")
    print(f"{TARGET}: {len(re.findall(r'^ *[*] (?![*]|Other)', text, re.M))} mistakes")
