"""Measure what a lab costs: run its solution as a student would, and put the numbers into the README's table.

    python course/measure.py                     all labs
    python course/measure.py lab2_finetuning     these labs

Minutes: the whole notebook, a fresh kernel, assets already there. Peak memory: the kernel process. Nothing else should
run on the machine meanwhile. The numbers are kept in course/calibration/budget.json with machine and date. A lab over
its budget makes the command fail, after all labs were run and the table is written.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import tempfile
import time
from pathlib import Path

import nbformat
from leaplm.grading.demo import kept_artifacts
from leaplm.grading.student import ARTIFACTS
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
BUDGET = ROOT / "course" / "calibration" / "budget.json"
TABLE = re.compile(r"(<!-- budget:begin -->\n).*?(<!-- budget:end -->)", re.S)
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
        shutil.copytree(Path(folder) / ARTIFACTS, kept_artifacts(lab, ROOT), dirs_exist_ok=True)
    longest = max(seconds, key=seconds.get)
    peak = float(notebook.cells[-1].outputs[0].text)
    return {"lab": lab, "minutes": round((time.monotonic() - started) / 60, 1),
            "longest_cell_seconds": round(seconds[longest]),
            "peak_memory_mb": round(peak), "date": datetime.date.today().isoformat(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, no GPU"}


def write_table(budget):
    """The README's table, from the measured numbers and each lab's `downloads` and `build` lines in budget.json."""
    lines = ["| lab | you build | minutes of computing | longest cell | peak memory | megabytes |",
             "|---|---|---|---|---|---|"]
    for row in budget["labs"]:
        link = f"[{row['title']}](labs/{row['lab']}/{row['lab']}.ipynb)"
        lines.append(f"| {link} | {row['build']} | {row['minutes']} | {row['longest_cell_seconds']} s | "
                     f"{row['peak_memory_mb'] / 1000:.2f} GB | {row['megabytes']} |")
    readme = ROOT / "README.md"
    text, found = TABLE.subn(lambda match: match[1] + "\n".join(lines) + "\n" + match[2], readme.read_text())
    if not found:
        raise SystemExit("README.md has no <!-- budget:begin --> ... <!-- budget:end -->")
    readme.write_text(text)


def excesses(row):
    """What a measured lab takes more of than its budget allows, in words (a list, empty within the budget)."""
    return [f"{row['lab']} is over its budget: {name} is {row[name]}, the limit {limit}"
            for name, limit in LIMITS.items() if row[name] > limit]


def main(argv=None):
    parser = argparse.ArgumentParser(description="Measure labs and write the README's table; fail over the budget.")
    parser.add_argument("labs", nargs="*")
    names = parser.parse_args(argv).labs
    budget = json.loads(BUDGET.read_text())
    chosen = [row for row in budget["labs"] if not names or row["lab"] in names]
    for row in chosen:
        print(f"running {row['lab']} ...", flush=True)
        row.update(measure(row["lab"]))
        print(json.dumps(row, indent=1))
        BUDGET.write_text(json.dumps(budget, indent=1) + "\n")
    write_table(budget)
    if over := [line for row in chosen for line in excesses(row)]:
        raise SystemExit("\n".join(over))  # only now: the table shows what was measured, also over the budget


if __name__ == "__main__":
    main()
