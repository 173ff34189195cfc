"""`leaplm check`: what this machine has, what is missing for the labs, and how to mend it.

Nothing heavy is imported at the top: the check must start on a machine where the installation broke off half way.
"""

import importlib.metadata
import platform
import shutil
import sys
from dataclasses import dataclass

from leaplm.assets.manifest import load_manifest
from leaplm.assets.places import is_here, store
from leaplm.installing import PYTHONS, unsupported
from leaplm.runtime import memory_mb, processors

GIGABYTE = 1e9
INSTALL = "python install.py, or: pip install -c constraints.txt -e .[grade,labs]"


@dataclass(frozen=True)
class Missing:
    """One thing that is not there, and what to type; `needed` if the labs cannot run without it."""

    what: str
    mend: str
    needed: bool = True


def main() -> int:
    """Print the report. Returns the exit code: 0 if the labs can run here, 1 if not."""
    missing: list[Missing] = []
    for title, describe in SECTIONS.items():
        line, gaps = describe()
        print(f"{title:10}{line}")
        missing += gaps
    for gap in missing:
        print(f"{'MISSING' if gap.needed else 'optional':10}{gap.what}. To mend it: {gap.mend}")
    blocked = any(gap.needed for gap in missing)
    print("This machine is not ready: see the lines above." if blocked else "This machine is ready for the labs.")
    return int(blocked)


def describe_python() -> tuple[str, list[Missing]]:
    line = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] >= PYTHONS[0]:
        return line, []
    oldest = ".".join(map(str, PYTHONS[0]))
    return line, [Missing(f"Python {oldest} or newer", f"install it, then: python{oldest} install.py")]


def describe_machine() -> tuple[str, list[Missing]]:
    memory = memory_mb() / 1000
    line = f"{platform.system()} {platform.machine()}, {processors()} core(s), {memory:.1f} GB of memory"
    if memory >= 1.9:
        return line, []
    return line, [Missing(f"memory: labs take up to 1.6 GB, {memory:.1f} GB are here",
                          "close other programs, or export LEAPLM_SCALE=tiny", needed=False)]


def describe_disk() -> tuple[str, list[Missing]]:
    folder = next(place for place in (store(), *store().parents) if place.exists())
    free = shutil.disk_usage(folder).free
    line = f"{free / GIGABYTE:.0f} GB free for {store()}"
    need = sum(asset.disk_bytes() for asset in load_manifest().values() if asset.core and not is_here(asset))
    if free >= need:
        return line, []
    return line, [Missing(f"disk: {need / GIGABYTE:.1f} GB are needed for the assets",
                          "free some, or set LEAPLM_HOME to a folder on a bigger disk")]


def describe_gpu() -> tuple[str, list[Missing]]:
    try:
        import torch
    except (ImportError, OSError) as problem:       # OSError: a shared library of it does not load
        return "unknown", [Missing(f"torch ({problem})", unsupported() or INSTALL)]
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}", []
    if shutil.which("nvidia-smi"):
        gap = Missing("a torch that uses the NVIDIA GPU", "see https://pytorch.org/get-started/locally", needed=False)
        return "NVIDIA, but this torch does not use it", [gap]
    return "none with CUDA; the labs are made for that", []


def describe_packages() -> tuple[str, list[Missing]]:
    """Installed versions of what pyproject.toml asks for; the extra `labs` is needed for labs, `grade` to grade them."""
    try:
        from packaging.requirements import Requirement

        requirements = [Requirement(line) for line in importlib.metadata.requires("leaplm") or []]
    except (ImportError, importlib.metadata.PackageNotFoundError) as problem:
        return "unknown", [Missing(f"the installation of leaplm ({problem})", INSTALL)]
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
            problem = f"{requirement} ({version} is here)" if version else f"{requirement}"
            missing.append(Missing(f"package {problem.partition(';')[0].strip()}", INSTALL, needed=extra != "grade"))
    return " · ".join(versions), missing


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
        Missing(f"asset {asset.name}: {asset.title}", f"leaplm fetch {asset.name}", needed=asset.required)
        for asset in assets
        if asset.core and asset.name not in here
    ]
    more = f" (on request: {', '.join(on_request)})" if on_request else ""
    return f"{' · '.join(here) or 'none'} in {store()}{more}", missing


def describe_sandbox() -> tuple[str, list[Missing]]:
    """Whether students' code can be kept apart while it is graded; for teachers, so nothing that a student misses."""
    try:
        from leaplm.grading.judge.engine import try_sandbox
        from leaplm.grading.sandbox.bubblewrap import NoSandbox, find_bwrap
    except ImportError as problem:
        return "unknown", [Missing(f"the sandbox for grading ({problem})", INSTALL, needed=False)]
    try:
        bwrap = find_bwrap()
        try_sandbox()
    except (NoSandbox, OSError) as problem:
        return "none that works", [Missing("for teachers: a sandbox to grade students' code in", str(problem), needed=False)]
    return f"bubblewrap at {bwrap}, tried, for grading", []


SECTIONS = {
    "Python": describe_python,
    "Machine": describe_machine,
    "Disk": describe_disk,
    "GPU": describe_gpu,
    "Packages": describe_packages,
    "Assets": describe_assets,
    "Sandbox": describe_sandbox,
}
