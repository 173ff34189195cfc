"""Tests the walls before the first submission: tries from the inside what must not work, and looks from the outside.

A sandbox that is quietly weaker than it looks (inside another container, on a hardened kernel) is worse than none, so
grading does not begin unless every one of these attempts fails.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from leaplm.grading.sandbox import syscalls
from leaplm.grading.sandbox.keyring import planted
from leaplm.grading.sandbox.remote import Ended, Line
from leaplm.grading.sandbox.student import StudentError
from leaplm.grading.sandbox.wire import Channel

SECONDS = 60
# Runs in the sandbox as a notebook's cell; `found` tells what it could do that it should not.
ATTEMPTS = """
import ctypes, errno, os, signal, socket
found = []

def possible(what, attempt, *args):
    try:
        attempt(*args)
    except OSError:
        return
    found.append(what)

def connect(kind, address):
    with socket.socket(kind, socket.SOCK_STREAM) as tried:
        tried.settimeout(2)
        tried.connect(address)

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def call(number, *args):  # with arguments that no call takes: a forbidden one says EPERM, any other finds another fault
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, args or [-1] * 6))
    if number == CLONE and result == 0:
        os._exit(0)
    if result < 0 and ctypes.get_errno() == errno.EPERM:
        raise OSError

status = dict(line.split(":", 1) for line in open("/proc/self/status"))
possible("reach the network", connect, socket.AF_INET, ("127.0.0.1", PORT))
possible("reach a socket of this machine", connect, socket.AF_UNIX, ABSTRACT)
possible("read the course", os.listdir, COURSE)
possible("read a file of this machine", open, SECRET)
possible("write to the system", open, "/usr/leaplm-probe", "w")
possible("write beside Python", open, PYTHON + "/leaplm-probe", "w")
possible("change a setting of the kernel", open, "/proc/sys/kernel/core_pattern", "w")
if any(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh")) or int(status["NoNewPrivs"]) != 1:
    found.append("keep capabilities")
if len([name for name in os.listdir("/proc") if name.isdigit()]) > 2:
    found.append("see other processes")
for name, number in CALLS.items():
    number is None or possible("make the system call " + name, call, number)
possible("make namespaces with clone", call, CLONE, 0x10000000 | 17)
for family in (socket.AF_ALG, socket.AF_VSOCK):
    possible("make a socket of the " + family.name, socket.socket, family)
if os.path.exists("/proc/keys") and KEY in open("/proc/keys").read():
    found.append("see the keys of your session")
if seen := set(os.environ) & set(VARIABLES):
    found.append("see variables of your environment: " + ", ".join(sorted(seen)))
for folder in ("/student", "/dev/shm"):
    if os.path.exists(folder + "/leaplm-probe"):
        found.append("see what another submission wrote to " + folder)
    open(folder + "/leaplm-probe", "w").close()
"""
# Set by Python, by libraries or by a shell, inside as outside.
EVERYWHERE = {"LC_CTYPE", "PWD", "SHLVL", "_", "OLDPWD", "COLUMNS", "LINES", "TORCHINDUCTOR_CACHE_DIR", "KMP_INIT_AT_FORK",
              "KMP_DUPLICATE_LIB_OK", "CUDA_MODULE_LOADING"}  # fmt: skip


def breaches(spawn: Callable[[], tuple[int, socket.socket]], end: Callable[[int], str], course: Path,
             given: dict[str, str]) -> list[str]:  # fmt: skip
    """What student code could do here that it must not: empty if the walls stand. `given` is its environment."""
    name = f"leaplm-probe-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as abstract, \
            tempfile.NamedTemporaryFile(mode="w") as secret, planted(name, b"a key of this session"):  # fmt: skip
        abstract.bind(f"\0{name}")
        abstract.listen()
        secret.write("a file of this machine")
        secret.flush()
        facts = {"PORT": port.getsockname()[1], "ABSTRACT": f"\0{name}", "COURSE": str(course / "course"), "KEY": name,
                 "SECRET": secret.name, "PYTHON": os.path.dirname(os.__file__), "CLONE": syscalls.here(syscalls.CLONE),
                 "CALLS": {name: syscalls.here(numbers) for name, numbers in syscalls.FORBIDDEN.items()},
                 "VARIABLES": sorted(set(os.environ) - set(given) - EVERYWHERE)}  # fmt: skip
        setting = "".join(f"{key} = {value!r}\n" for key, value in facts.items())
        running = [spawn(), spawn()]  # side by side, as two submissions are
        try:
            return sorted({line for _, student in running for line in attempt(student, setting + ATTEMPTS)})
        finally:
            for number, student in running:
                student.close()
                end(number)


def attempt(student: socket.socket, source: str) -> list[str]:
    """Runs the attempts in one process; one that does not answer as it should counts as a breach."""
    try:
        line = Line(Channel(student), SECONDS)
        told = line.ask("run", source, seconds=SECONDS)
        return list(line.ask("get", "found", seconds=SECONDS)) if told["ended"] == "ok" else [f"fail oddly: {told['error']}"]
    except (Ended, StudentError) as problem:
        return [f"fail oddly: {problem}"]
