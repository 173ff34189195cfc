"""The fork server: a sandboxed process that has imported the heavy libraries and forks one child per submission.

    python -m leaplm.grading.sandbox.fork_server CONTROL_FD SETTINGS_JSON

It imports what our own release imports, runs no tensor operation and starts no thread before it forks, and holds no
secret: no checks, no answers, no keys. Messages on the control socket (one JSON object each):

    in   {"spawn": id} with file descriptors: the child's end of a socket, and the doors of its control group if it has one
         {"end": id}
    out  {"ready": true}     {"ended": id, "why": "exit 0" | "signal 9" | "memory" | "processes"}

It watches the memory and the number of processes of each child and kills one that goes over its limits. Where a control
group holds a child (see `control_groups`) it watches what some kernels do not count there: page tables and sockets.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass

from leaplm.grading.course import import_all
from leaplm.grading.sandbox import keyring, syscalls, walls
from leaplm.grading.sandbox.memory import is_above
from leaplm.grading.sandbox.walls import Limits

# What libraries import at their first use only, so in every child again: a second for torch's first optimizer.
LATER = {"torch": ("torch._dynamo",), "numpy": ("numpy.random",), "leaplm.data": ("datasets",),
         "IPython": ("IPython.core.application", "IPython.core.completer", "IPython.core.completerlib",
                     "IPython.core.logger", "IPython.core.oinspect", "IPython.extensions.storemagic",
                     "bdb", "pygments.formatters.terminal256", "stack_data")}  # fmt: skip
WORKER = "leaplm.grading.sandbox.worker"  # what each child runs; named among the modules, it may come before others
MOST_DOORS = 4
TICK = 0.1  # s between two looks at the children
END_SECONDS = 1.0  # for a child to end by itself, so that we learn how it ended


@dataclass
class Child:
    """A submission's outer process (pid), which waits for the first process inside its namespaces."""

    id: int
    pid: int
    grouped: bool = False  # the kernel holds its pages
    why: str = ""
    end_by: float = math.inf  # on the monotonic clock


class Zygote:
    def __init__(self, control: socket.socket, limits: Limits, walled: bool) -> None:
        self.control, self.limits, self.walled = control, limits, walled
        self.children: dict[int, Child] = {}  # by pid
        self.alarm, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)  # a child that ends makes `alarm` readable
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def serve(self) -> None:
        self.tell({"ready": True})
        while True:
            readable, _, _ = select.select([self.control, self.alarm], [], [], TICK if self.children else None)
            if self.alarm in readable:
                os.read(self.alarm, 4096)
            if self.control in readable and not self.obey():
                break
            self.reap()
            self.watch()
        for child in self.children.values():
            self.kill(child, "closed")

    def obey(self) -> bool:
        """Does what one message asks; False when there is nobody any more who could ask."""
        message, fds, _, _ = socket.recv_fds(self.control, 65536, 1 + MOST_DOORS)
        if not message:
            return False
        wanted = json.loads(message)
        if "spawn" in wanted:
            self.spawn(wanted["spawn"], *fds)
            for fd in fds:
                os.close(fd)
        for child in list(self.children.values()):
            if child.id == wanted.get("end"):
                child.end_by = time.monotonic() + END_SECONDS
        return True

    def spawn(self, number: int, fd: int, *doors: int) -> None:
        pid = os.fork()
        if pid == 0:
            stand_apart(doors)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.control.close()
            run_child(fd, self.limits, self.walled)
        self.children[pid] = Child(number, pid, bool(doors))

    def kill(self, child: Child, why: str) -> None:
        child.why = child.why or why
        for pid in [*(descendants(child.pid) if not self.walled else []), child.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # the rest goes with the first process of the namespace

    def reap(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if child := self.children.pop(pid, None):
                code = os.waitstatus_to_exitcode(status)
                why = f"exit {code}" if code >= 0 else f"signal {-code}"
                self.tell({"ended": child.id, "why": child.why or why})

    def watch(self) -> None:
        for child in self.children.values():
            pids = descendants(child.pid)
            if time.monotonic() > child.end_by:
                self.kill(child, "killed")
            elif len(pids) > self.limits.processes:
                self.kill(child, "processes")
            elif is_above(self.limits.memory_mb, pids, mapped=not child.grouped):
                self.kill(child, "memory")

    def tell(self, message: dict) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.control.send(json.dumps(message).encode())


def stand_apart(doors: tuple[int, ...]) -> None:
    """In a new child: into its control group, and its own share of the processors also where there are no groups.

    A kernel with sched_autogroup gives each session one share, however many processes run in it (sched(7)). So a bomb
    takes none from its neighbours, nor from the watch that is to end it.
    """
    for door in doors:
        os.write(door, b"0")
        os.close(door)
    os.setsid()


def descendants(pid: int) -> list[int]:
    """All processes below `pid`."""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    except OSError:  # it has ended meanwhile
        return []
    return found + [below for child in found for below in descendants(child)]


def run_child(fd: int, limits: Limits, walled: bool) -> None:
    """In the forked process: goes behind its walls, runs the worker on `fd`, never returns."""
    status = 70
    try:
        if walled:
            walls.enter_namespaces()
            inner = os.fork()  # the first process of the new namespaces; this one only waits for it
            if inner:
                os.close(fd)
                code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
                if code < 0:
                    os.kill(os.getpid(), -code if -code != signal.SIGCHLD else signal.SIGKILL)
                os._exit(code)
            walls.furnish(limits)
        walls.set_limits(limits)
        if walled:
            keyring.leave_session()
            walls.drop_capabilities()
            syscalls.install(syscalls.program())
        from leaplm.grading.sandbox.worker import serve

        serve(fd, limits)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def preload(modules: list[str]) -> None:
    """Imports the heavy modules, and what these would import later."""
    import_all(modules)
    import_all([later for name in LATER.keys() & sys.modules.keys() for later in LATER[name]])


def count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(sys.argv[2])
    if settings["walled"]:
        # A /proc without bubblewrap's covers: the kernel refuses a new one to the children below covered ones.
        walls.mount_proc()
    preload([*settings["preload"], WORKER])
    if count_threads() > 1 or threading.active_count() > 1:
        raise RuntimeError(f"{count_threads()} threads are running; a process with threads cannot be forked safely")
    Zygote(control, Limits(**settings["limits"]), settings["walled"]).serve()


if __name__ == "__main__":
    main()
