"""`leaplm check`: what this machine has, what is missing for the labs, and how to mend it.

Nothing heavy is imported at the top: the check must start on a machine where the installation broke off half way.
"""

import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from leaplm.assets.manifest import load_manifest
from leaplm.assets.places import is_here, store
from leaplm.installing import PYTHONS, unsupported
from leaplm.locales import learner_locale, say, speak
from leaplm.runtime import columns, memory_mb, processors

GIGABYTE = 1e9
INSTALL = ("python install.py", "pip install -c constraints.txt -e .[grade,labs]")


@dataclass(frozen=True)
class Missing:
    """One thing that is not there, and what to type; `needed` if the labs cannot run without it."""

    what: str
    mend: str
    needed: bool = True


def main() -> int:
    """Print the report. Returns the exit code: 0 if the labs can run here, 1 if not."""
    _speak_what_is_there()
    missing: list[Missing] = []
    looked_at, heads = sections(), {True: say("MISSING"), False: say("optional")}
    width = max(9, *map(columns, (*looked_at, *heads.values())))

    def padded(head: str) -> str:
        return head + " " * (width - columns(head))

    for title, describe in looked_at.items():
        line, gaps = describe()
        print(f"{padded(title)} {line}")
        missing += gaps
    for gap in missing:
        print(f"{padded(heads[gap.needed])} " + say("{what}. To mend it: {cure}", what=gap.what, cure=gap.mend))
    blocked = any(gap.needed for gap in missing)
    print(say("This machine is not ready: see the lines above.") if blocked else say("This machine is ready for the labs."))
    return int(blocked)


def _speak_what_is_there() -> None:
    """English where an installation that broke off lacks the package that reads catalogues."""
    try:
        learner_locale()
    except ImportError:
        speak("")


def describe_python() -> tuple[str, list[Missing]]:
    line = say("{version} at {place}", version=platform.python_version(), place=sys.executable)
    if sys.version_info[:2] >= PYTHONS[0]:
        return line, []
    oldest = ".".join(map(str, PYTHONS[0]))
    return line, [Missing(say("Python {oldest} or newer", oldest=oldest),
                          say("install it, then: {command}", command=f"python{oldest} install.py"))]


def describe_machine() -> tuple[str, list[Missing]]:
    memory = memory_mb() / 1000
    line = say("{system}, {cores} core(s), {memory:.1f} GB of memory", system=f"{platform.system()} {platform.machine()}",
               cores=processors(), memory=memory)
    if memory >= 1.9:
        return line, []
    return line, [Missing(say("memory: labs take up to 1.6 GB, {memory:.1f} GB are here", memory=memory),
                          say("close other programs, or `export LEAPLM_SCALE=tiny`"), needed=False)]


def describe_disk() -> tuple[str, list[Missing]]:
    folder = next(place for place in (store(), *store().parents) if place.exists())
    free = shutil.disk_usage(folder).free
    line = say("{free:.0f} GB free for {folder}", free=free / GIGABYTE, folder=store())
    need = sum(asset.disk_bytes() for asset in load_manifest().values() if asset.core and not is_here(asset))
    if free >= need:
        return line, []
    return line, [Missing(say("disk: {need:.1f} GB are needed for the assets", need=need / GIGABYTE),
                          say("free some, or set `LEAPLM_HOME` to a folder on a bigger disk"))]


def describe_gpu() -> tuple[str, list[Missing]]:
    try:
        import torch
    except (ImportError, OSError) as problem:       # OSError: a shared library of it does not load
        return say("unknown"), [Missing(f"torch ({problem})", unsupported() or _install())]
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}", []
    if shutil.which("nvidia-smi"):
        gap = Missing(say("a torch that uses the NVIDIA GPU"),
                      say("see {page}", page="https://pytorch.org/get-started/locally"), needed=False)
        return say("NVIDIA, but this torch does not use it"), [gap]
    return say("none with CUDA; the labs do not need one"), []


def describe_packages() -> tuple[str, list[Missing]]:
    """Installed versions of what pyproject.toml asks for; the extra `labs` is needed for labs, `grade` to grade them."""
    try:
        from packaging.requirements import Requirement

        requirements = [Requirement(line) for line in importlib.metadata.requires("leaplm") or []]
    except (ImportError, importlib.metadata.PackageNotFoundError) as problem:
        return say("unknown"), [Missing(say("the installation of leaplm ({problem})", problem=problem), _install())]
    versions, missing = [], []
    for requirement in requirements:
        marker = requirement.marker
        extra = next((name for name in ("", "labs", "grade") if marker is None or marker.evaluate({"extra": name})), None)
        if extra is None:
            continue        # of another extra, or not for this platform
        version = _version(requirement.name)
        if version and requirement.specifier.contains(version, prereleases=True):
            versions.append(f"{requirement.name} {version}")
        else:
            missing.append(Missing(_other_version(requirement, version), _install(), needed=extra != "grade"))
    return " · ".join(versions), missing


def _other_version(requirement: object, version: str | None) -> str:
    wanted = str(requirement).partition(";")[0].strip()
    return say("package {name} ({version} is here)", name=wanted, version=version) if version else say(
        "package {name}", name=wanted)


def _install() -> str:
    return say("{first}, or: {second}", first=INSTALL[0], second=INSTALL[1])


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe_assets() -> tuple[str, list[Missing]]:
    assets = list(load_manifest().values())
    here = [asset.name for asset in assets if is_here(asset)]
    on_request = [asset.name for asset in assets if not asset.core and asset.name not in here]
    missing = [
        Missing(say("asset {name}: {title}", name=asset.name, title=say(asset.title)), f"leaplm fetch {asset.name}",
                needed=asset.required)
        for asset in assets
        if asset.core and asset.name not in here
    ]
    line = say("{names} in {folder}", names=" · ".join(here) or say("none"), folder=store())
    more = " (" + say("on request: {names}", names=", ".join(on_request)) + ")" if on_request else ""
    return line + more, missing


def describe_sandbox() -> tuple[str, list[Missing]]:
    """Whether students' code can be kept apart while it is graded; for teachers, so nothing that a student misses."""
    try:
        from leaplm.grading.judge.engine import try_sandbox
        from leaplm.grading.sandbox.bubblewrap import NoSandbox, find_bwrap
    except ImportError as problem:
        gap = Missing(say("the sandbox for grading ({problem})", problem=problem), _install(), needed=False)
        return say("unknown"), [gap]
    try:
        bwrap = find_bwrap()
        try_sandbox()
    except (NoSandbox, OSError) as problem:
        gap = Missing(say("for teachers: a sandbox to grade students' code in"), str(problem), needed=False)
        return say("none that works"), [gap]
    return say("bubblewrap at {place}, tried, for grading", place=bwrap), []


def sections() -> dict[str, Callable[[], tuple[str, list[Missing]]]]:
    """What is looked at, by its title."""
    return {"Python": describe_python, say("Machine"): describe_machine, say("Disk"): describe_disk, "GPU": describe_gpu,
            say("Packages"): describe_packages, say("Assets"): describe_assets, say("Sandbox"): describe_sandbox}
