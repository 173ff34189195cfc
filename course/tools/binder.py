"""Run solved labs as on Binder: one core, and 2 GB of memory for JupyterLab's server and the kernel together.

    python course/tools/binder.py                 all labs
    python course/tools/binder.py lab3_lora       these labs

The memory is a control group's where this user may make one (as root): a real limit, counted by the kernel over all
processes. Elsewhere it is the kernel process's own limit of private memory, less what the server takes. A lab that does
not end well makes the command fail after all were run.
"""

import argparse
import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from leaplm.grading.course import list_labs

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


def run_lab(lab, memory=MEMORY):
    """Run a solution under the limits; {lab, ended: exit code, minutes, peak_memory_mb: None where not counted, said}."""
    path = ROOT / "solutions" / lab / f"{lab}.ipynb"
    one_core = os.environ | {"OMP_NUM_THREADS": "1", "LEAPLM_COURSE": str(ROOT)}
    with memory_group(memory) as (group, peak), tempfile.TemporaryDirectory() as folder:
        limited = {"cwd": folder, "env": one_core, "preexec_fn": enter(group, memory)}
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **limited)
        started = time.monotonic()
        try:
            own = shutil.copy(path, folder)  # what a lab saves goes beside it
            done = subprocess.run([sys.executable, "-m", "jupyter", "execute", own],
                                  capture_output=True, text=True, **limited)
        finally:
            server.terminate()
            server.wait()
        used = peak and round(int(peak.read_text()) / 1e6)
    return {"lab": lab, "ended": done.returncode, "minutes": round((time.monotonic() - started) / 60, 1),
            "peak_memory_mb": used, "said": done.stderr[-2000:]}


def main(argv=None):
    parser = argparse.ArgumentParser(description="Run solved labs with one core and 2 GB of memory.")
    parser.add_argument("labs", nargs="*", default=list_labs(ROOT))
    failed = []
    for lab in parser.parse_args(argv).labs:
        result = run_lab(lab)
        print(f"{lab}: {'ran' if result['ended'] == 0 else 'FAILED'}, {result['minutes']} min, "
              f"peak {result['peak_memory_mb'] or '?'} MB of {MEMORY // 10**6}", flush=True)
        if result["ended"]:
            failed.append(f"{lab}: {result['said']}")
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
