"""Our grader's outcome and plain nbgrader's, row by row, as a Markdown table: `python -m attacks.table [OURS.json]`.

OURS.json is what the tests write where LEAPLM_ATTACK_RESULTS names a file; without it the column stays empty.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from attacks.outcome import CONTAINED
from attacks.rows import ABSENT, load

BASELINE = Path(__file__).with_name("baseline.json")
HEAD = "| row | what it does | honest | plain nbgrader | ours |\n|---|---|---|---|---|"


def markdown(plain: dict[str, dict], ours: dict[str, dict]) -> str:
    """`plain` and `ours` by row: {"mark": ..., "bad": [...]}."""
    lines = [HEAD]
    for row in load():
        honest = f"{row.most:g}" if row.least == row.most else f"{row.least:g} to {row.most:g}"
        without = "has no such part" if not row.plain else cell(plain.get(row.id))
        lines.append(f"| {row.id} | {escape(row.what)} | {honest} | {without} | {cell(ours.get(row.id))} |")
    lines += [f"| {absent.id} | not tried: {escape(absent.why)} | | | |" for absent in ABSENT]
    return "\n".join([*lines, "", count(plain, "plain nbgrader"), count(ours, "ours")])


def cell(found: dict | None) -> str:
    if found is None:
        return ""
    mark = "-" if found["mark"] is None else f"{found['mark']:g}"
    return f"{mark}, {found.get('state', '') or ''} ".replace(",  ", " ") + escape("; ".join(found["bad"]) or CONTAINED)


def count(found: dict[str, dict], who: str) -> str:
    good = sum(not row["bad"] for row in found.values())
    return f"{who}: {good} of {len(found)} rows contained\n"


def escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main(argv: list[str]) -> None:
    plain = json.loads(BASELINE.read_text())["rows"] if BASELINE.exists() else {}
    ours = json.loads(Path(argv[0]).read_text()) if argv else {}
    print(markdown(plain, ours))


if __name__ == "__main__":
    main(sys.argv[1:])
