"""`leaplm finish`: all labs marked again in the grader's sandbox, on one page that anyone with the notebooks can verify.

    leaplm finish "Amina Bello"                              certificate.html beside the notebooks
    leaplm finish --verify certificate.html                  marks the notebooks once more and compares

The page carries its own data. To verify it: its text must be what the data give, the notebooks and artifacts must have the
hashes it names, and the grader, with other random inputs, must come to the same points. A page is no signature: it proves
nothing without the notebooks beside it, and never whose work they are.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from pathlib import Path
from typing import Any

from leaplm.grading.course import LANGUAGES, lab_file, translated_releases
from leaplm.grading.intake.ingest import read_submission
from leaplm.grading.sandbox.bubblewrap import NoSandbox
from leaplm.grading.submission import Submission
from leaplm.learner import handed, progress
from leaplm.learner.panel import written
from leaplm.learner.releases import course_as_given_out, read_release, tasks
from leaplm.learner.words import CERTIFICATE, CERTIFIED, HEADS, MADE_WITH, MARKED, NOT_MARKED_AGAIN, VERIFY
from leaplm.locales import say, say_problem, shown_locale, speaking
from leaplm.places import find_root, known_labs
from leaplm.translation import list_locales
from leaplm.whole_file import write_whole

FORMAT = 1
PAGE = "certificate.html"
WITH_A_NAME = '`leaplm finish "Amina Bello"`'
DATA = re.compile(r'<script type="application/json" id="certificate">(.*?)</script>', re.S)
NOT_AGAIN = "not marked again"  # the state of a lab where there is no sandbox
PACKAGES = ("leaplm", "torch", "transformers", "numpy")
STYLE = """body{font:16px/1.5 serif;max-width:50em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #bbb;padding:.3em .5em;text-align:start;vertical-align:top}
code{font-size:70%;word-break:break-all}
@media print{body{margin:0}}"""


class CertificateError(ValueError):
    """A page or a folder that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Work:
    """A lab's notebook with its files, as a teacher's computer would read it."""

    lab: str
    submission: Submission


def find_works(root: Path, folder: Path) -> list[Work]:
    """The labs of which there is a notebook at a place where `leaplm hand-in` looks too."""
    found = []
    for lab in known_labs(root):
        try:
            notebook = handed.find_notebook(lab, folder)
        except handed.HandInError:
            continue
        files = {notebook.name: notebook, **{name: notebook.parent / name for name in handed.beside(notebook.parent, lab)}}
        found.append(Work(lab, read_submission(files, lab, "learner", release=read_release(root, lab),
                                               others=translated_releases(root, lab))))  # fmt: skip
    return found


def make(name: str, folder: Path, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """The data of a certificate: every lab that is there, marked in the sandbox, or said not to be.

    CertificateError if there is no notebook, or no course to mark by.
    """
    root, works = found_in(folder)
    sandboxed, reason = True, ""
    try:
        records = grade(root, works, tell)
    except NoSandbox as problem:
        sandboxed, reason, records = False, str(problem), {}
    told = progress.read(progress.progress_file(folder))
    locale = shown_locale()
    return {"format": FORMAT, "name": name, "date": date.today().isoformat(), "sandboxed": sandboxed, "reason": reason,
            "locale": locale, "sentences": sentences_digest(locale), "versions": versions(),
            "labs": [entry(root, work, records.get(work.lab), told) for work in works]}  # fmt: skip


def found_in(folder: Path) -> tuple[Path, list[Work]]:
    root = find_root()
    if root is None:
        raise CertificateError(say("there are no checks on this machine: the course was given out without marks"))
    works = find_works(root, folder)
    if not works:
        raise CertificateError(say("there is no notebook of a lab in {folder}: name the folder that holds the labs",
                                   folder=folder.resolve()))  # fmt: skip
    return root, works


def grade(root: Path, works: list[Work], tell: Callable[[str], None]) -> dict[str, dict]:
    """The grader's record of each lab. One that did not come to its end is told with the reason."""
    from leaplm.grading.judge.engine import Engine

    records = {}
    with course_as_given_out(root, [work.lab for work in works]) as course:
        for work in works:
            with Engine(course, work.lab, jobs=1) as engine:
                record = records[work.lab] = engine.grade(work.submission).record
            tell(how_it_ended(record))
    return records


def how_it_ended(record: dict) -> str:
    said = {"lab": record["lab"], "points": record["points"], "most": record["max"]}
    if record["state"] == "graded":
        return say("{lab}: {points:g} of {most:g} points", **said)
    return say("{lab}: {points:g} of {most:g} points ({state}: {reason})", state=record["state"], reason=record["reason"],
               **said)  # fmt: skip


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def entry(root: Path, work: Work, record: dict | None, told: dict) -> dict[str, Any]:
    """What the certificate says of one lab; without the grader's record, what the notebook's own marks were."""
    own = told.get(work.lab, {"checks": {}})["checks"]
    checks = record["checks"] if record else [
        {"name": task.check, "points": own.get(task.check, {}).get("points", 0), "max": task.points}
        for task in tasks(root, work.lab)]  # fmt: skip
    files = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(work.submission.files.items())}
    return {"lab": work.lab, "title": progress.title_of(root, work.lab), "course": course_digest(root, work.lab),
            "points": sum(check["points"] for check in checks), "max": sum(check["max"] for check in checks),
            "checks": [{key: check[key] for key in ("name", "points", "max")} for check in checks],
            "state": record["state"] if record else NOT_AGAIN, "seed": str(record["seed"]) if record else "",
            "submission": work.submission.digest, "files": files}  # fmt: skip


def course_digest(root: Path, lab: str) -> str:
    """SHA-256 of a lab's checks and their points: other ones may give other points.

    Not of the release's file, in which a learner may write.
    """
    checks = lab_file(root, lab, "checks.py").read_bytes().replace(b"\r\n", b"\n").decode()
    points = [[task.check, float(task.points)] for task in tasks(root, lab)]
    return hashlib.sha256(json.dumps([checks, points]).encode()).hexdigest()


def sentences_digest(locale: str) -> str:
    """SHA-256 of a page's own words and form in a language: a translation that was corrected writes another page."""
    blank = {"lab": "", "title": "", "points": 0, "max": 0, "checks": [], "state": NOT_AGAIN, "seed": "1", "submission": "",
             "files": {}}  # fmt: skip
    pages = [render({"name": "", "date": "", "sandboxed": sandboxed, "reason": "", "locale": locale, "versions": {},
                     "labs": [blank]}) for sandboxed in (True, False)]  # fmt: skip
    return hashlib.sha256("".join(pages).encode()).hexdigest()


def render(data: dict[str, Any]) -> str:
    """The page: to be read, printed, and verified; in the language of whoever made it, where it is read too."""
    with speaking(data["locale"] if data.get("locale") in list_locales(find_root() or Path()) else ""):
        return _rendered(data)


def _rendered(data: dict[str, Any]) -> str:
    rows = "".join(row(lab) for lab in data["labs"])
    points, most = (sum(lab[key] for lab in data["labs"]) for key in ("points", "max"))
    how = say(MARKED) if data["sandboxed"] else say(NOT_MARKED_AGAIN, reason=data["reason"])
    total = say(CERTIFIED, points=f"{points:g}", most=f"{most:g}", count=len(data["labs"]))
    title, exercises, hashes = map(say, CERTIFICATE)
    heads = "".join(f"<th>{escape(head)}</th>" for head in (*map(say, (HEADS[0], HEADS[2])), exercises, hashes))
    command = f"<code dir='ltr'>leaplm finish --verify {PAGE}</code>"
    made_with = ", ".join(f"{name} {version}" for name, version in sorted(data["versions"].items()))
    kept = json.dumps(data, ensure_ascii=False, sort_keys=True, indent=1).replace("<", "\\u003c")
    return f"""<!doctype html>
<html {written(shown_locale())}><head><meta charset="utf-8"><title>LeapLM: {escape(data["name"])}</title>
<style>{STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p><b>{escape(data["name"])}</b>, {escape(data["date"])}: <b>{escape(total)}</b>. {escape(how)}</p>
<table><tr>{heads}</tr>{rows}</table>
<p>{say(VERIFY, command=command)}</p>
<p>{escape(say(MADE_WITH, versions=made_with))}</p>
<script type="application/json" id="certificate">{kept}</script>
</body></html>
"""


def row(lab: dict[str, Any]) -> str:
    checks = "<br>".join(f"{escape(check['name'])} {check['points']:g}/{check['max']:g}" for check in lab["checks"])
    hashes = [(say("notebook and files"), lab["submission"]), *lab["files"].items()]
    shown = "<br>".join(f"{escape(name)} <code>{escape(value)}</code>" for name, value in hashes)
    seed = escape(say("seed {seed}", seed=lab["seed"])) + "<br>" if lab["seed"] else ""
    told = say("not marked again") if lab["state"] == NOT_AGAIN else lab["state"]
    state = "" if lab["state"] == "graded" else f"<br>{escape(told)}"
    return f"<tr><td>{escape(lab['title'])}{state}</td><td>{lab['points']:g}/{lab['max']:g}</td><td>{checks}</td>" \
           f"<td>{seed}{shown}</td></tr>"  # fmt: skip


def read(page: Path) -> dict[str, Any]:
    """The data of a page. CertificateError if it is none, or says something else than its data; OSError if it is missing."""
    try:
        text = page.read_text(encoding="utf-8")
        data = json.loads(DATA.search(text)[1])
        again = render(data)
        date.fromisoformat(data["date"])
        "".join(lab[key] for lab in data["labs"] for key in ("lab", "course", "state"))  # texts, all of them
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise CertificateError(say("{page} is no certificate ({problem})", page=page,
                                   problem=f"{type(problem).__name__}: {problem}")) from None  # fmt: skip
    if data["format"] != FORMAT:
        raise CertificateError(say("{page} is of format {format}: verify it with the version of leaplm that it names",
                                   page=page, format=data["format"]))  # fmt: skip
    if again.split() != text.split():  # line ends may have changed on the way
        raise CertificateError(was_changed(page, data.get("sentences") == sentences_digest(data.get("locale"))))
    return data


def was_changed(page: Path, known: bool) -> str:
    """That a page says something else than its data; known: whether it was made with the sentences of this course."""
    if known:
        return say("{page} was changed: what one reads in it is not what its data say", page=page)
    return say("{page} was made with other sentences than those of this course, so nobody can say whether it was changed: "
               "verify it with the course that made it", page=page)  # fmt: skip


def differences(page: Path, folder: Path, tell: Callable[[str], None] = print) -> list[str]:
    """What of a certificate does not hold for the notebooks in `folder`; nothing if all does.

    The labs are marked again, with other random inputs. NoSandbox where there is no sandbox to do it in.
    """
    data = read(page)
    root, works = found_in(folder)
    there = {work.lab: work for work in works}
    wrong = claims_that_cannot_be(data)
    listed = [there[lab["lab"]] for lab in data["labs"] if lab["lab"] in there]
    records = grade(root, listed, tell) if listed else {}
    for lab in data["labs"]:
        work = there.get(lab["lab"])
        if work is None:
            wrong.append(say("{lab}: its notebook is not in {folder}", lab=lab["lab"], folder=folder))
        else:
            wrong += compared(lab, entry(root, work, records[work.lab], {}), titles(root, work.lab))
            tell_other_versions(data, lab, root, tell)
    return wrong


def claims_that_cannot_be(data: dict[str, Any]) -> list[str]:
    """What no page of ours says, whatever notebooks lie beside it."""
    names = [lab["lab"] for lab in data["labs"]]
    wrong = [] if data["sandboxed"] else [say("it says itself that it was not marked by the grader")]
    wrong += [] if names else [say("it names no lab")]
    wrong += [say("{lab}: it stands there {count} times", lab=name, count=names.count(name))
              for name in sorted(set(names)) if names.count(name) > 1]  # fmt: skip
    if date.fromisoformat(data["date"]) > date.today() + timedelta(days=1):  # a day: elsewhere it is tomorrow
        wrong.append(say("its date, {date}, has not come yet", date=data["date"]))
    return wrong


def tell_other_versions(data: dict[str, Any], lab: dict[str, Any], root: Path, tell: Callable[[str], None]) -> None:
    """Says where other checks were at work than here: the same work may then have other points without any lie."""
    if course_digest(root, lab["lab"]) != lab["course"]:
        tell(say("{lab}: the page was made with another version of this lab's checks (leaplm {theirs}; here {ours})",
                 lab=lab["lab"], theirs=data["versions"].get("leaplm", "?"), ours=versions()["leaplm"]))  # fmt: skip


def titles(root: Path, lab: str) -> set[str]:
    """A lab's title in each language in which the lab is there."""
    locales = ["", *(path.name for path in (root / "labs" / LANGUAGES).glob("*"))]
    return {progress.title_of(root, lab, locale) for locale in locales}


def compared(lab: dict[str, Any], ours: dict[str, Any], known_as: set[str]) -> list[str]:
    """What a page says of a lab, and this machine does not find so.

    lab: of the page; ours: what `entry` makes of the notebook; known_as: the lab's titles.
    """
    name, lines = lab["lab"], []
    if lab["title"] not in known_as:
        lines.append(say("{lab}: it is not called {title}", lab=name, title=repr(lab["title"])))
    if (lab["submission"], lab["files"]) != (ours["submission"], ours["files"]):
        lines.append(say("{lab}: the notebook or its artifacts are not those of the page", lab=name))
    if lab["state"] != ours["state"]:
        lines.append(say("{lab}: the page says {theirs}, the grader {ours}", lab=name, theirs=repr(lab["state"]),
                         ours=repr(ours["state"])))  # fmt: skip
    marked, said = ({check["name"]: (check["points"], check["max"]) for check in each["checks"]} for each in (ours, lab))
    lines += [other_points(name, check, said.get(check), marked.get(check))
              for check in sorted(marked.keys() | said.keys()) if said.get(check) != marked.get(check)]  # fmt: skip
    sums = tuple(sum(values) for values in zip(*said.values(), strict=True)) if said else (0, 0)
    if len(said) != len(lab["checks"]) or sums != (lab["points"], lab["max"]):
        lines.append(say("{lab}: {points:g} of {most:g} is not the sum of its exercises", lab=name, points=lab["points"],
                         most=lab["max"]))  # fmt: skip
    return lines


def other_points(lab: str, check: str, said: tuple[float, float] | None, found: tuple[float, float] | None) -> str:
    """That a page and the grader give a check other (points, points that can be had); None: it is not there."""
    if found is None:
        return say("{lab}, {check}: the page says {points:g} of {most:g}, the grader nothing", lab=lab, check=check,
                   points=said[0], most=said[1])  # fmt: skip
    if said is None:
        return say("{lab}, {check}: the page says nothing, the grader {points:g} of {most:g}", lab=lab, check=check,
                   points=found[0], most=found[1])  # fmt: skip
    return say("{lab}, {check}: the page says {said:g} of {of:g}, the grader {points:g} of {most:g}", lab=lab, check=check,
               said=said[0], of=said[1], points=found[0], most=found[1])  # fmt: skip


def run(name: str, folder: Path, verify: Path | None, tell: Callable[[str], None] = print) -> int:
    """The command `leaplm finish`. Returns 0, or 1 if a page does not hold or cannot be made."""
    try:
        if verify:
            wrong = differences(verify, folder, tell)
            tell("\n".join([say("The page does not hold:"), *wrong]) if wrong else it_holds())
            return int(bool(wrong))
        if not name.strip():
            raise CertificateError(say("give your name, as it shall stand on the page: {command}", command=WITH_A_NAME))
        data = make(name, folder, tell)
        write_whole(folder / PAGE, render(data))
    except (ValueError, OSError, NoSandbox) as problem:
        tell(f"leaplm finish: {say_problem(problem)}")
        return 1
    tell(say("{page}: open it in a browser, print it from there", page=folder / PAGE) if data["sandboxed"] else
         say("{page}: open it in a browser, print it from there. It says that it was NOT marked by the grader: {reason}",
             page=folder / PAGE, reason=data["reason"]))  # fmt: skip
    return 0


def it_holds() -> str:
    return say("The page holds: the grader gives the same points. Whose work it is, and when it was done, no page can "
               "prove.")  # fmt: skip
