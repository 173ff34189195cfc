"""A machine that cannot keep student code apart says who forbids it, the safe remedy first; other systems say so at once."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from leaplm.cli import check
from leaplm.grading.judge.engine import try_sandbox
from leaplm.grading.sandbox import bubblewrap, refusals
from leaplm.grading.sandbox.bubblewrap import NoSandbox
from repo import ROOT

UID_MAP = "bwrap: setting up uid map: Permission denied"
LOOPBACK = "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted"
NO_NAMESPACE = ("bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged "
                "user namespaces. On e.g. debian this can be enabled with 'sysctl kernel.unprivileged_userns_clone=1'.")
PROC = "bwrap: Can't mount proc on /newroot/proc: Operation not permitted"
TOO_MANY = "bwrap: Creating new namespace failed: No space left on device"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """machine(said, settings..., container=, release=): a bubblewrap that says this and fails, on such a machine."""

    def make(said, container=False, release="6.8.0-31-generic", **settings):
        bwrap = tmp_path / "bin" / "bwrap"
        bwrap.parent.mkdir()
        bwrap.write_text(f"#!/bin/sh\necho \"{said}\" >&2\nexit 1\n")
        bwrap.chmod(0o755)
        monkeypatch.setenv("PATH", f"{bwrap.parent}:{os.environ['PATH']}")
        monkeypatch.setattr(refusals, "setting", lambda name: settings.get(name.rpartition(".")[2], ""))
        monkeypatch.setattr(refusals, "in_container", lambda: container)
        monkeypatch.setattr(refusals.platform, "release", lambda: release)

    return make


UBUNTU = {"apparmor_restrict_unprivileged_userns": "1", "unprivileged_userns_clone": "1"}


@pytest.mark.parametrize(("said", "facts", "cause", "remedy"), [
    (UID_MAP, UBUNTU, "AppArmor forbids user namespaces", "sudo tee /etc/apparmor.d/leaplm-bwrap"),
    (LOOPBACK, UBUNTU, "AppArmor forbids user namespaces", "sudo apt-get install bubblewrap"),
    (NO_NAMESPACE, {"unprivileged_userns_clone": "0"}, "kernel.unprivileged_userns_clone is 0", "sudo sysctl -w"),
    (TOO_MANY, {"max_user_namespaces": "0"}, "user.max_user_namespaces is 0", "-w user.max_user_namespaces=15000"),
    (NO_NAMESPACE, {"container": True}, "This machine is a container", "on the machine around it"),
    (PROC, UBUNTU | {"container": True}, "This machine is a container", "systempaths=unconfined"),
    (NO_NAMESPACE, {"release": "4.4.0-19041-Microsoft"}, "This is WSL 1", "wsl --set-version"),
])
def test_what_forbids_the_sandbox_is_named_with_the_safe_remedy_first(machine, said, facts, cause, remedy):
    machine(said, **facts)
    with pytest.raises(NoSandbox) as caught:
        try_sandbox()
    told = str(caught.value)
    assert said in told and cause in told and remedy in told
    assert told.index(said) < told.index(cause) <= told.index(remedy) < told.index("--unsafe")


@pytest.mark.parametrize("facts", [{}, {"release": "5.15.153.1-microsoft-standard-WSL2"}])
def test_what_is_not_known_is_not_guessed(machine, facts):
    machine(UID_MAP, **facts)
    with pytest.raises(NoSandbox) as caught:
        try_sandbox()
    assert str(caught.value) == f"The sandbox did not start: {UID_MAP}\n{bubblewrap.UNSAFE}"


def test_a_fault_that_no_setting_explains_is_not_blamed_on_one(machine):
    machine("ModuleNotFoundError: No module named 'leaplm'", **UBUNTU)
    with pytest.raises(NoSandbox) as caught:
        try_sandbox()
    assert "AppArmor" not in str(caught.value)


def test_check_tries_the_sandbox_and_does_not_only_look_for_the_program(machine):
    machine(UID_MAP, **UBUNTU)
    line, [gap] = check.describe_sandbox()
    assert line == "none that works" and not gap.needed and "AppArmor forbids" in gap.mend


@pytest.mark.parametrize("own", [True, False])
def test_the_profile_is_for_the_systems_bubblewrap_and_puts_a_narrower_one_aside(tmp_path, own):
    (tmp_path / refusals.OTHER_PROFILE).touch()
    told = refusals.apparmor(refusals.SYSTEM_BWRAP if own else "/home/amina/.venv/bwrap", tmp_path)
    assert "profile leaplm-bwrap /usr/bin/bwrap flags=(unconfined) {\n  userns,\n}\n" in told
    assert ("apt-get install bubblewrap" in told) != own and "/home/amina" not in told
    assert f"apparmor_parser -R {tmp_path / refusals.OTHER_PROFILE}" in told
    (tmp_path / refusals.OTHER_PROFILE).unlink()
    assert "-R" not in refusals.apparmor(refusals.SYSTEM_BWRAP, tmp_path)


def test_settings_are_read_from_the_kernel(tmp_path):
    assert refusals.setting("kernel.ostype") == "Linux" and refusals.setting("kernel.no_such_thing") == ""


ELSEWHERE = """
    import ctypes, os, runpy, signal, socket, sys
    sys.platform = platform
    for module in ("resource", "fcntl", "pwd", "grp"):
        sys.modules[module] = None
    gone = {os: "fork memfd_create pipe2 sched_getaffinity getuid getgid uname statvfs waitid setsid",
            signal: "SIGKILL SIGCHLD SIGALRM SIGPROF SIGXCPU setitimer", socket: "SOCK_SEQPACKET recv_fds send_fds"}
    for module, names in gone.items():
        for name in names.split():
            vars(module).pop(name, None)
    class CDLL(ctypes.CDLL):
        def __init__(self, name, *more, **options):
            if name is None:
                raise TypeError("bad argument type for built-in operation")
            super().__init__(name, *more, **options)
    ctypes.CDLL = CDLL
"""
OURS = """
import gc, importlib, json, os, pkgutil, sys, tempfile
import leaplm
gc.disable()      # nothing of it is garbage
found = [module.name for module in pkgutil.walk_packages(leaplm.__path__, "leaplm.")]
ours = [name for name in found if not name.endswith(("__main__", "ray_app"))]      # one runs, one needs another extra
for name in ours:
    importlib.import_module(name)
for name in [name for name in sys.modules if name.startswith("leaplm")]:
    del sys.modules[name]
gc.freeze()
def tell(program, **given):
    with tempfile.TemporaryFile("w+") as said:
        if (child := os.fork()) == 0:
            os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
            exec(program, {"ours": ours, **given})
            sys.stdout.flush()
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        return ended, said.read()
"""
GRADE = """
    sys.argv = ["leaplm", "grade", "lab2_finetuning", *unsafe]
    runpy.run_module("leaplm", run_name="__main__")
"""
AGAIN = """
    import importlib
    for name in ours:
        importlib.import_module(name)
    print("all are here")
"""


NAMES = {"darwin": "macOS", "win32": "Windows: use WSL 2"}


@pytest.fixture(scope="module")
def elsewhere():
    """What is said where all is gone that such a system lacks, and how it ended: of each platform's grading, and imports.

    Each in a fork of a process that has imported what ours needs.
    """
    grade, again = (textwrap.dedent(ELSEWHERE + program) for program in (GRADE, AGAIN))
    cases = [(grade, {"platform": platform, "unsafe": unsafe}) for platform in NAMES for unsafe in ([], ["--unsafe"])]
    cases.append((again, {"platform": "win32"}))
    program = f"{OURS}print(json.dumps([tell(program, **given) for program, given in {cases!r}]))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [(given["platform"], *told) for (_, given), told in zip(cases, json.loads(done.stdout), strict=True)]


def test_grading_elsewhere_than_on_linux_is_one_sentence(elsewhere):
    for platform, ended, said in elsewhere[:-1]:
        [line] = said.splitlines()
        assert ended == 1 and line.startswith("leaplm grade: Grading runs on Linux only, with --unsafe too. This is "
                                              f"{NAMES[platform]}")  # fmt: skip


def test_every_module_can_be_imported_elsewhere(elsewhere):
    """So no command and no lab dies of what only grading needs."""
    _, ended, said = elsewhere[-1]
    assert ended == 0 and said == "all are here\n", said[-3000:]


def test_check_elsewhere_than_on_linux_is_a_note_for_teachers(monkeypatch):
    monkeypatch.setattr(bubblewrap.sys, "platform", "darwin")
    line, [gap] = check.describe_sandbox()
    assert not gap.needed and "macOS" in gap.mend and "Or grade with --unsafe" not in gap.mend
