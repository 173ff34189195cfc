"""What a learner has done, in one file beside the notebooks; it never leaves this machine.

    labs/leaplm-progress.json     {"format": 1, "labs": {"lab2_finetuning": {"checks": {"collate": {"points": 3, ...}}}}}

The file is written whole or not at all, under a lock, so it is readable after a power cut and with two notebooks open. A
file that cannot be read is set aside, not lost. Beside it stands PROGRESS.md, the same as a page.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from leaplm.grading.course import LAB_NAME, LANGUAGES
from leaplm.learner.marks import Mark
from leaplm.learner.releases import raw_cells, read_release, release_files, tasks
from leaplm.learner.words import DAMAGED, HEADS, NEVER_LEAVES, NOTHING_YET, SO_FAR, TITLE
from leaplm.locales import catalogs_of, learner_locale, say
from leaplm.places import find_root, known_labs
from leaplm.runtime import columns
from leaplm.translation import find_catalogs, translate_markdown, unwrapped, wrapped
from leaplm.whole_file import write_whole

FILE, PAGE = "leaplm-progress.json", "PROGRESS.md"
FOLDER = "LEAPLM_PROGRESS"  # environment: another folder for the file, for example on a mounted Drive
FORMAT = 1
IDLE = 300  # s without running a cell that still count as work


@dataclass(frozen=True)
class Row:
    """One lab of the table."""

    lab: str
    title: str
    right: int
    checks: int
    points: float
    most: float  # by the computer
    model: str  # measure and score of the saved model
    minutes: float


def progress_file(start: str | os.PathLike = ".") -> Path:
    """The file for notebooks in `start`: in the folder above the labs, the same for all languages; on Colab beside them.

    >>> progress_file("/home/amina/labs/lab2_finetuning").name
    'leaplm-progress.json'
    """
    if named := os.environ.get(FOLDER):
        return Path(named).expanduser() / FILE
    here = Path(start).resolve()
    here = here.parent if LAB_NAME.fullmatch(here.name) else here
    return (here.parents[1] if here.parent.name == LANGUAGES else here) / FILE


def read(path: Path, say_so: Callable[[str], None] = print) -> dict[str, Any]:
    """The labs' records by name. A file that is damaged, or of another kind, is set aside under another name, and told."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {lab: checked(record) for lab, record in found["labs"].items()} if found["format"] == FORMAT else set_aside(
            path, say_so)  # fmt: skip
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return set_aside(path, say_so)


def checked(record: dict) -> dict:
    """A lab's record, if each part is of its kind; TypeError or KeyError if not."""
    for mark in record["checks"].values():
        mark["points"] + 0.0, mark["tries"] + 0  # numbers
    for model in record["models"]:
        f"{model['metric']} {model['score']:.3f}"
    return {"checks": record["checks"], "models": list(record["models"]), "seconds": float(record["seconds"]),
            "last_run": str(record["last_run"])}  # fmt: skip


def set_aside(path: Path, say_so: Callable[[str], None]) -> dict:
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.stem}-damaged-{now}.json")
    os.replace(path, aside)
    say_so(say(DAMAGED, file=path.name, aside=aside.name))
    return {}


@contextlib.contextmanager
def changing(path: Path, lab: str, say_so: Callable[[str], None] = print) -> Iterator[dict[str, Any]]:
    """A lab's record, to be changed in the block; then it is written, with the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), timeout=5):
        labs = read(path, say_so)
        yield labs.setdefault(lab, {"checks": {}, "models": [], "seconds": 0.0, "last_run": ""})
        write_whole(path, json.dumps({"format": FORMAT, "labs": labs}, indent=1, ensure_ascii=False))
    write_whole(path.with_name(PAGE), page(labs))


def note_mark(record: dict[str, Any], mark: Mark) -> None:
    """A mark in a lab's record. The last one counts, as the notebook is now; one that was not judged changes nothing."""
    if mark.points is None:
        return
    before = record["checks"].get(mark.task.check, {})
    first = before.get("right_since") or (now() if mark.right else None)
    record["checks"][mark.task.check] = {"points": mark.points, "tries": before.get("tries", 0) + 1, "right_since": first}
    if mark.standings:
        record["models"] = [{"metric": each.metric, "score": each.score, "wanted": each.wanted} for each in mark.standings]


def note_work(record: dict[str, Any], seconds: float) -> None:
    record["seconds"] = round(record["seconds"] + seconds, 1)
    record["last_run"] = now()


def saved_too_early(lab: str, notebooks: list[Path]) -> str:
    """When a lab's notebook was saved last ("14:05"), if cells were run after that, as far as is known; else "".

    notebooks: those of the lab that are there, in all languages; at least one.
    """
    record = read(progress_file(notebooks[0].parent)).get(lab, {})
    saved = max(notebook.stat().st_mtime for notebook in notebooks)
    if not record.get("last_run") or datetime.fromisoformat(record["last_run"]).timestamp() <= saved + 1:
        return ""
    return datetime.fromtimestamp(saved).strftime("%H:%M")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def rows(labs: dict[str, Any]) -> list[Row]:
    """The table: a row for each lab of the course, also for one not begun."""
    root = find_root()
    if root is None:
        return []
    return [row_of(root, lab, labs.get(lab, {"checks": {}, "models": [], "seconds": 0})) for lab in known_labs(root)]


def row_of(root: Path, lab: str, record: dict[str, Any]) -> Row:
    every, marks = tasks(root, lab), record["checks"]
    points = [min(marks[task.check]["points"], task.points) for task in every if task.check in marks]
    right = sum(task.check in marks and marks[task.check]["points"] >= task.points for task in every)
    model = ", ".join(f"{each['metric']} {each['score']:.3f}" for each in record["models"][:1])
    return Row(lab, title_of(root, lab), right, len(every), sum(points), sum(task.points for task in every), model,
               record["seconds"] / 60)  # fmt: skip


def title_of(root: Path, lab: str, locale: str | None = None) -> str:
    """The heading of a lab without its number's word: "2 · Full fine-tuning". locale: by default the learner's."""
    locale = learner_locale() if locale is None else locale
    cells, files = read_release(root, lab, locale).cells, release_files(root, lab)
    locale = locale if locale in files else ""
    first = cells[0].source if cells else ""
    if first not in ("".join(cell["source"]) for cell in raw_cells(files[locale])):  # it stands there in another language
        first = given_title(root, lab, locale) or first
    first = unwrapped(first).partition("\n")[0]
    return first.lstrip("# ").partition(" ")[2] or lab


def given_title(root: Path, lab: str, locale: str) -> str:
    """The heading of a lab from its source, in a language; "" where the source is not there."""
    source, catalogs = root / "course" / lab / "lab.py", find_catalogs(root, lab, locale) if locale else ()
    lines = source.read_text(encoding="utf-8").splitlines() if source.is_file() else []
    title = next((line.removeprefix("# ") for line in lines if line.startswith("# # ")), "")
    return translate_markdown(title, catalogs) if title and catalogs else title


def cells(row: Row) -> tuple[str, ...]:
    return (row.title, f"{row.right}/{row.checks}", f"{row.points:g}/{row.most:g}", row.model or "–", f"{row.minutes:.0f}")


def heads() -> tuple[str, ...]:
    return tuple(map(say, HEADS))


def page(labs: dict[str, Any]) -> str:
    """PROGRESS.md: the table for the start page of JupyterLab."""
    lines = [f"# {say(TITLE)}", "", " | ".join(["", *heads(), ""]).strip(), "|---" * len(HEADS) + "|"]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows(labs)]
    return wrapped("\n".join([*lines, "", say(NEVER_LEAVES, file=f"`{FILE}`"), ""]), catalogs_of())


def table(labs: dict[str, Any]) -> str:
    """The table for a terminal."""
    lines = [heads(), *map(cells, rows(labs))]
    widths = [max(map(columns, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines]  # fmt: skip
    return "\n".join(text if labs else [*text, say(NOTHING_YET)])


def so_far(lab: str, record: dict[str, Any]) -> str:
    """One line on one lab."""
    row = row_of(find_root(), lab, record)
    return say(SO_FAR, lab=row.title, points=f"{row.points:g}", most=f"{row.most:g}", right=row.right, all=row.checks)
