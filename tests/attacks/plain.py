"""One row on plain nbgrader: a class of three, the attacker in the middle. Run by baseline.py inside a sandbox.

    python -m attacks.plain FOLDER ROW

FOLDER holds course/ (with the lab released), sheet.json, home/ and outside/; report.json is left there.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from mini import LAB

from attacks.rows import Row, load
from attacks.traps import MARK, Listeners, Traps
from attacks.work import Sheet, Work

NEIGHBOURS = ("a-neighbour", "z-neighbour")
SECONDS = 240  # for a class of three, of which the neighbours take about 30
MEMORY = 3 << 30  # bytes that one process gets here; plain nbgrader itself sets no limit


def main(folder: Path, row: Row) -> None:
    listeners = Listeners(folder / "listener")
    traps = Traps(str(folder / "course"), str(folder / "outside"), str(folder / "home"), listeners.port, listeners.path,
                  listeners.free_port, NEIGHBOURS[0])  # fmt: skip
    sheet = read_sheet(folder)
    attacker = row.student or f"m-{row.id}"
    submitted = folder / "course" / ".nbgrader-work" / "submitted"
    for name in NEIGHBOURS:
        neighbour = Work(sheet, name, True, traps)
        neighbour.sign()
        neighbour.write(submitted / name / LAB)
    before = footprint(folder)
    report = {"attacker": attacker, "log": "", "hung": False}
    if row.earlier:
        work = Work(sheet, row.id, row.right, traps)
        row.earlier(work)
        work.write(submitted / attacker / LAB)
        nbgrader(folder, report, "autograde", LAB)
        shutil.rmtree(submitted / attacker)
    hand_in(row.submission(Work(sheet, row.id, row.right, traps)), folder, attacker, report)
    start = time.monotonic()
    nbgrader(folder, report, "autograde", LAB, *(["--force"] if row.earlier else []))
    report["seconds"] = round(time.monotonic() - start)
    if row.shows == "feedback":
        nbgrader(folder, report, "generate_feedback", LAB)
    if row.shows == "export":
        nbgrader(folder, report, "export", "--to", "grades.csv")
    report |= {"heard": listeners.heard, "left": sorted(footprint(folder) - before)}
    (folder / "report.json").write_text(json.dumps(report))


def read_sheet(folder: Path) -> Sheet:
    """As baseline.py left it, before secrets were planted in the solution."""
    kept = json.loads((folder / "sheet.json").read_text())
    return Sheet(nbformat.from_dict(kept["release"]), kept["right"])


def hand_in(work: Work, folder: Path, attacker: str, report: dict) -> None:
    """Into the folder of submissions, or for a zip through nbgrader's own collection."""
    course = folder / "course"
    if work.archive is None:
        work.write(course / ".nbgrader-work" / "submitted" / attacker / LAB)
        return
    archives = course / ".nbgrader-work" / "downloaded" / LAB / "archive"
    archives.mkdir(parents=True)
    (archives / f"{attacker}.zip").write_bytes(work.archive)
    nbgrader(folder, report, "zip_collect", LAB)


def nbgrader(folder: Path, report: dict, *command: str) -> None:
    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))

    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "nbgrader", *command], cwd=folder / "course", preexec_fn=limits,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # fmt: skip
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            report["hung"] = True
    with open(folder / "log", errors="replace") as log:
        report["log"] += log.read(200_000)


def footprint(folder: Path) -> set[str]:
    """What an attack could leave: processes, listening sockets, and files by the mark in their names."""
    processes = {f"process {_command(pid)}" for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid()}
    with open("/proc/net/unix") as table:
        sockets = {"listening socket" for line in table if MARK in line}
    with open("/proc/net/tcp") as table:
        sockets |= {"listening port" for line in list(table)[1:] if line.split()[3] == "0A"} if processes else set()
    places = {"/tmp": Path("/tmp"), "/dev/shm": Path("/dev/shm"), "/var/tmp": Path("/var/tmp"), "home": folder / "home"}
    files = {f"file in {name}" for name, place in places.items() for path in place.rglob(f"{MARK}*")}
    files |= {"start-up file at home" for _ in (folder / "home").rglob("startup/*.py")}
    tables = {"shared memory segment": "shm", "semaphore": "sem", "message queue": "msg"}
    with_entries = {
        name for name, table in tables.items() if len(Path(f"/proc/sysvipc/{table}").read_text().splitlines()) > 1
    }
    return {found for found in processes if found != "process "} | sockets | files | with_entries


def _command(pid: str) -> str:
    """A process's program; nothing for those of the sandbox itself."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return ""
    return "" if "bwrap" in words[0] or pid == "1" else MARK if MARK in words[0] else Path(words[0]).name


if __name__ == "__main__":
    main(Path(sys.argv[1]), next(row for row in load() if row.id == sys.argv[2]))
