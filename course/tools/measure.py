"""Measure what a lab costs: run its solution as a student would, and put the numbers into the README's table.

    python course/tools/measure.py                     all labs
    python course/tools/measure.py lab2_finetuning     these labs

Minutes: the whole notebook, a fresh kernel, assets already there. Peak memory: the kernel process. Nothing else should
run on the machine meanwhile. The numbers are kept in the lab's card.json with machine and date. A lab over its budget makes
the command fail, after all labs were run and the table is written.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from leaplm.grading import trained
from leaplm.grading.course import list_labs
from leaplm.grading.submission import ARTIFACTS
from leaplm.runtime import processors
from nbclient import NotebookClient

sys.path.insert(0, str(Path(__file__).resolve().parent))
import cards  # noqa: E402
import tables  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LAST_CELL = "from leaplm.runtime import peak_memory_mb\nprint(peak_memory_mb())"
LIMITS = {"minutes": 8, "longest_cell_seconds": 120, "peak_memory_mb": 1600}


def measure(lab):
    """Run a solution in a temporary folder; minutes in all, longest cell (s), peak memory (MB)."""
    notebook = nbformat.read(ROOT / "solutions" / lab / f"{lab}.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(LAST_CELL))
    seconds = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": folder}})
        client.on_cell_execute = lambda cell, cell_index: seconds.__setitem__(cell_index, time.monotonic())
        client.on_cell_executed = lambda cell, cell_index, execute_reply: \
            seconds.__setitem__(cell_index, time.monotonic() - seconds[cell_index])
        os.environ["LEAPLM_COURSE"] = str(ROOT)
        client.execute()
        # Kept for the tests and for `make grade-demo`, which would train them again.
        trained.keep(Path(folder) / ARTIFACTS, lab, ROOT)
    longest = max(seconds, key=seconds.get)
    peak = float(notebook.cells[-1].outputs[0].text)
    return {"minutes": round((time.monotonic() - started) / 60, 1),
            "longest_cell_seconds": round(seconds[longest]),
            "peak_memory_mb": round(peak), "date": datetime.date.today().isoformat(),
            "machine": f"{platform.system()} {platform.machine()}, {processors()} cores, no GPU"}


def excesses(lab, row):
    """What a measured lab takes more of than its budget allows, in words (a list, empty within the budget)."""
    return [f"{lab} is over its budget: {name} is {row[name]}, the limit {limit}"
            for name, limit in LIMITS.items() if row[name] > limit]


def main(argv=None):
    parser = argparse.ArgumentParser(description="Measure labs and write the README's table; fail over the budget.")
    parser.add_argument("labs", nargs="*")
    chosen = {}
    for lab in parser.parse_args(argv).labs or list_labs(ROOT):
        print(f"running {lab} ...", flush=True)
        chosen[lab] = measure(lab)
        print(json.dumps(chosen[lab], indent=1))
        cards.write_card(ROOT, lab, cards.read_card(ROOT, lab) | {"measured": chosen[lab]})
    tables.write_tables(ROOT)
    if over := [line for lab, row in chosen.items() for line in excesses(lab, row)]:
        raise SystemExit("\n".join(over))  # only now: the table shows what was measured, also over the budget


if __name__ == "__main__":
    main()
