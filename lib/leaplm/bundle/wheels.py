"""The wheels of a bundle: what pip would install, for this machine and for others, into one folder."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from urllib.parse import quote

from leaplm.assets.download import sha256_of
from leaplm.bundle.contents import BundleError
from leaplm.installing import PipError, explain_pip, pip_environment, pip_settings

EXTRAS = "grade,serve"
# What a platform is called by uv, which works out the packages, and by pip, which downloads their wheels.
def manylinux(machine):
    """The tags of wheels that run where glibc is 2.28 (Debian 10, RHEL 8) or newer."""
    return (*(f"manylinux_2_{minor}_{machine}" for minor in range(28, 4, -1)), f"manylinux2014_{machine}")


PLATFORMS = {
    "linux-x86_64": ("x86_64-manylinux_2_28", (*manylinux("x86_64"), "manylinux1_x86_64")),
    "linux-aarch64": ("aarch64-manylinux_2_28", manylinux("aarch64")),
    "windows-x86_64": ("x86_64-pc-windows-msvc", ("win_amd64",)),
    "macos-arm64": ("aarch64-apple-darwin", ("macosx_14_0_arm64", "macosx_13_0_arm64", "macosx_12_0_arm64",
                                             "macosx_11_0_arm64", "macosx_11_0_universal2")),
}
SAVED = re.compile(r"(?:Saved|File was already downloaded) (.+)")
HERE = "here"


def get_wheels(root, folder, platforms, say, marks=True):
    """Put the course's wheel and those of all its packages into `folder`; delete what an earlier version left there.

    root: the course, with pyproject.toml and constraints.txt. platforms: HERE or names of PLATFORMS. What is in the
    folder already is not downloaded again. Raises BundleError with pip's words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {build_course(root, folder, marks)}
    for name in platforms:
        say(f"wheels for {name} …")
        wanted |= for_this_machine(root, folder) if name == HERE else for_platform(root, folder, name)
    for old in set(folder.iterdir()) - wanted:
        old.unlink()
    write_links(folder)


def build_course(root, folder, marks=True):
    """The wheel of leaplm itself; without `marks` it holds no checks (see setup.py)."""
    with tempfile.TemporaryDirectory() as fresh:
        pip("wheel", "--no-deps", "--wheel-dir", fresh, str(root), more={} if marks else {"LEAPLM_NO_MARKS": "1"})
        [wheel] = Path(fresh).glob("leaplm-*.whl")
        target = folder / wheel.name
        target.write_bytes(wheel.read_bytes())
    return target


def for_this_machine(root, folder):
    """What pip would install here. On Linux without a GPU that is a CPU build of torch, where the index has one."""
    constraints = root / "constraints.txt"
    build = re.search(r"^torch==\S+", constraints.read_text(encoding="utf-8"), re.M)[0] + "+cpu"
    if platform.system() == "Linux" and not shutil.which("nvidia-smi"):
        pip("download", "--no-deps", "--dest", str(folder), build, check=False)
    said = pip("download", "--dest", str(folder), "--find-links", str(folder), "--constraint", str(constraints),
               f"leaplm[{EXTRAS}]", "pip")
    return {folder / Path(line).name for line in SAVED.findall(said)}


def for_platform(root, folder, name):
    """What pip would install on another kind of machine: uv works out the versions, pip downloads them."""
    if name not in PLATFORMS:
        raise BundleError(f"platform {name!r} is not known. Use one of: {HERE}, {', '.join(PLATFORMS)}")
    target, tags = PLATFORMS[name]
    with tempfile.TemporaryDirectory() as fresh:
        pins = Path(fresh, "pins.txt")
        uv_compile(root, target, pins)
        chosen = [f"--platform={tag}" for tag in tags]
        said = pip("download", "--no-deps", "--only-binary=:all:", "--implementation=cp", "--python-version",
                   platform.python_version(), *chosen, "--dest", str(folder), "--requirement", str(pins), "pip")
    return {folder / Path(line).name for line in SAVED.findall(said)}


def uv_compile(root, target, pins):
    """The exact packages for a platform, from pyproject.toml within constraints.txt, with pip's own indexes.

    On Linux with PyTorch's build for CPUs, where an index has it: the other one brings gigabytes for GPUs.
    """
    tested = (root / "constraints.txt").read_text(encoding="utf-8")
    within = pins.with_name("constraints.txt")
    for build in ("+cpu", "") if "linux" in target else ("",):
        within.write_text(re.sub(r"^torch==.*", rf"\g<0>{build}", tested, flags=re.M), encoding="utf-8")
        done = run_uv(root, target, within, pins)
        if not done.returncode:
            return
    raise BundleError(f"the packages for {target} could not be worked out:\n{done.stderr.strip()[-2000:]}\n"
                      'Is uv here? pip install "leaplm[bundle]"')


def run_uv(root, target, constraints, pins):
    settings = pip_settings()
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--native-tls",
               "--python-platform", target, "--python-version", ".".join(platform.python_version_tuple()[:2]),
               "--constraint", str(constraints), "--output-file", str(pins), str(root / "pyproject.toml")]
    command += [f"--extra={extra}" for extra in EXTRAS.split(",")]
    command += ["--index-strategy", "unsafe-best-match"]  # as pip: the best of all indexes, not only of the first
    for option in ("index-url", "extra-index-url", "find-links"):
        command += [word for place in settings.get(option, "").split() for word in (f"--{option}", place)]
    oldest_macos = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}  # PyTorch has no wheels for older ones
    return subprocess.run(command, capture_output=True, text=True, env=oldest_macos)


def pip(*words, check=True, more=None):
    """Run this environment's pip and return what it said. Raises BundleError if it failed. `more`: of environment."""
    try:
        environment = pip_environment(pip_settings()) | (more or {})
    except PipError as problem:
        raise BundleError(str(problem)) from problem
    command = [sys.executable, "-I", "-m", "pip", *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", env=environment)
    if check and done.returncode:
        said = (done.stdout + done.stderr).strip()
        raise BundleError(f"pip {words[0]} failed:\n{said[-2000:]}\n{explain_pip(said, sys.executable, environment)}")
    return done.stdout


def write_links(folder):
    """A page with all wheels and their hashes, in the form of a package index, for `pip --find-links` over http."""
    wheels = sorted(path for path in folder.iterdir() if path.suffix == ".whl")
    links = "\n".join(f'<a href="{quote(path.name)}#sha256={sha256_of(path)}">{escape(path.name)}</a><br>'
                      for path in wheels)
    (folder / "index.html").write_text(f"<!doctype html>\n<title>Wheels</title>\n{links}\n", encoding="utf-8")
