"""Run solved labs as on Binder: one core, and 2 GB of memory for JupyterLab's server and the kernel together.

    python course/tools/binder.py                 all labs that were not measured since their notebook changed
    python course/tools/binder.py lab3_lora       these labs, in any case

Each lab runs as a learner has it who has solved it, with a mark below each check. What it took goes into its card.json and
the table of TEACHING.md, lab by lab, so a run that was stopped goes on where it was.

The memory is a control group's where this user may make one (as root): a real limit, counted by the kernel over all
processes. Elsewhere it is the kernel process's own limit of private memory, less what the server takes. A lab that does
not end well, or has a mark without full points or over its time, makes the command fail after all were run.
"""

import argparse
import contextlib
import copy
import datetime
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from leaplm.grading.course import list_labs
from leaplm.grading.judge.checks import load_checks
from leaplm.grading.rebuild.exercises import role
from leaplm.learner.marks import SECONDS, reads_files_only

sys.path.insert(0, str(Path(__file__).resolve().parent))
import cards  # noqa: E402
import tables  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CGROUPS = Path("/sys/fs/cgroup")
MEMORY = 2 * 10**9                        # bytes, as mybinder.org gives
SERVER = 250 * 10**6                      # bytes: JupyterLab's server, where only the kernel can be limited
FILES = [("memory.limit_in_bytes", "memory.max_usage_in_bytes"), ("memory.max", "memory.peak")]  # of both versions


@contextlib.contextmanager
def memory_group(memory):
    """(folder, file of the peak) of a new control group with `memory` bytes; (None, None) where none can be made."""
    for parent, (limit, peak) in zip([CGROUPS / "memory", CGROUPS], FILES, strict=True):
        group = parent / f"leaplm-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(memory))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        yield group, group / peak
        with contextlib.suppress(OSError):  # a process may take its time to die
            group.rmdir()
        return
    yield None, None


def enter(group, memory):
    """A function that puts a new process, before it starts, onto one core and under the memory limit."""

    def inside():
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        if group:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        else:
            resource.setrlimit(resource.RLIMIT_DATA, (memory - SERVER, memory - SERVER))

    return inside


def solved_by_a_learner(lab):
    """The released notebook with the solution's answers: its check cells are those below which marks are shown."""
    release, solution = (nbformat.read(ROOT / kind / lab / f"{lab}.ipynb", as_version=4) for kind in ("labs", "solutions"))
    answers = {cell.id: cell.source for cell in solution.cells if role(cell) in ("answer", "manual")}
    notebook = copy.deepcopy(release)
    for cell in notebook.cells:
        cell.source = answers.get(cell.id, cell.source)
    return notebook


def run_lab(lab, memory=MEMORY):
    """Run a solved lab under the limits.

    {lab, ended: exit code, minutes, peak_memory_mb: None where not counted, marks: what each says of itself, said}.
    """
    one_core = os.environ | {"OMP_NUM_THREADS": "1", "LEAPLM_COURSE": str(ROOT), "LEAPLM_MARKS": "on"}
    with memory_group(memory) as (group, peak), tempfile.TemporaryDirectory() as folder:
        limited = {"cwd": folder, "env": one_core, "preexec_fn": enter(group, memory)}
        own = Path(folder) / lab / f"{lab}.ipynb"
        own.parent.mkdir()
        nbformat.write(solved_by_a_learner(lab), own)
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **limited)
        before = processor_seconds()
        try:
            done = subprocess.run([sys.executable, "-m", "jupyter", "execute", "--inplace", own],
                                  capture_output=True, text=True, **limited)
        finally:
            server.terminate()
            server.wait()
        minutes = (processor_seconds() - before) / 60
        used = peak and round(int(peak.read_text()) / 1e6)
        return {"lab": lab, "ended": done.returncode, "minutes": round(minutes, 1),
                "peak_memory_mb": used, "marks": shown_marks(nbformat.read(own, as_version=4)), "said": done.stderr[-2000:]}


def processor_seconds():
    """Of all processes that this one has started and that have ended: on one core nearly the time by the clock.

    The clock itself would count what else runs on the machine.
    """
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def shown_marks(notebook):
    """What the marks of a notebook say of themselves: a list of {check, points, most, message, seconds, ...}."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.metadata.leaplm for output in outputs if "leaplm" in output.get("metadata", {})]


def faults(result):
    """What is not as promised in a lab's result, in words (a list, empty where all is well)."""
    lab, of_files = result["lab"], files_only(result["lab"])
    found = [f"{lab}: {result['said']}"] if result["ended"] else []
    if missing := load_checks(lab, ROOT).keys() - {mark["check"] for mark in result["marks"]}:
        found.append(f"{lab}: no mark for {', '.join(sorted(missing))}")
    for mark in result["marks"]:
        if mark["points"] is None or mark["points"] < mark["most"]:
            said = mark["problem"] or mark["message"]
            found.append(f"{lab}, {mark['check']}: {mark['points']} of {mark['most']} points. {said}")
        elif mark["processor_seconds"] > SECONDS and mark["check"] not in of_files:
            found.append(f"{lab}, {mark['check']}: the mark took {mark['processor_seconds']} s, {SECONDS:g} s are promised")
    return found


def files_only(lab):
    """The checks of a lab that judge a saved file: the notebook says that their marks take longer."""
    return {name for name, check in load_checks(lab, ROOT).items() if reads_files_only(check)}


def summary(result):
    """What the card of a lab keeps of its result."""
    of_files = files_only(result["lab"])
    quick = [mark["processor_seconds"] for mark in result["marks"] if mark["check"] not in of_files]
    slow = [mark["processor_seconds"] for mark in result["marks"] if mark["check"] in of_files]
    return {"minutes": result["minutes"], "peak_memory_mb": result["peak_memory_mb"],
            "mark_seconds": {"median": round(statistics.median(quick), 1), "longest": round(max(quick), 1),
                             "of_a_file": round(max(slow), 1) if slow else None},
            "notebook": version(result["lab"]), "date": datetime.date.today().isoformat()}


def version(lab):
    """The hash of a solved notebook: with another one, a lab is to be measured again."""
    return hashlib.sha256((ROOT / "solutions" / lab / f"{lab}.ipynb").read_bytes()).hexdigest()[:16]


def is_measured(lab):
    return cards.read_card(ROOT, lab).get("on_binder", {}).get("notebook") == version(lab)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Run solved labs with one core and 2 GB of memory.")
    parser.add_argument("labs", nargs="*")
    failed = []
    for lab in parser.parse_args(argv).labs or [lab for lab in list_labs(ROOT) if not is_measured(lab)]:
        result = run_lab(lab)
        wrong = faults(result)
        print(f"{lab}: {'FAILED' if wrong else 'ran'}, {result['minutes']} min, "
              f"peak {result['peak_memory_mb'] or '?'} MB of {MEMORY // 10**6}", flush=True)
        for mark in result["marks"]:
            print(f"    {mark['processor_seconds']:5.2f} s  {mark['check']}: {mark['points']} of {mark['most']}", flush=True)
        if not wrong:
            cards.write_card(ROOT, lab, cards.read_card(ROOT, lab) | {"on_binder": summary(result)})
            tables.write_tables(ROOT)
        failed += wrong
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
