"""One source of versions: what pyproject.toml asks for is what conda, Binder and the constraints give."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from leaplm import installing
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from repo import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch-cpu": "torch", "prometheus_client": "prometheus-client"}
NOT_REQUIREMENTS = {"python", "pip"}


def ranges(lines):
    requirements = [Requirement(line) for line in lines]
    left_out = NOT_REQUIREMENTS | {"leaplm"}    # an extra that takes in another one
    return {CONDA_NAMES.get(r.name, r.name): r.specifier for r in requirements if r.name not in left_out}


def pins():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in (line.split("==") for line in lines)}


def test_conda_asks_for_the_ranges_of_pyproject():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = [re.sub(r"^python=", "python==", line) for line in listed if isinstance(line, str)]
    (from_pip,) = [line["pip"] for line in listed if isinstance(line, dict)]
    extras = PROJECT["optional-dependencies"]
    assert ranges(conda + from_pip) == ranges(PROJECT["dependencies"] + extras["labs"] + extras["grade"] + extras["serve"])


def test_binder_has_the_same_environment_file():
    assert (ROOT / "binder/environment.yml").read_bytes() == (ROOT / "environment.yml").read_bytes()


def test_every_requirement_has_a_pin_within_its_range():
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [line for name in ("labs", "grade", "serve", "scale", "dev") for line in extras[name]
                                       if "leaplm" not in line]
    outside = {name: str(asked) for name, asked in ranges(lines).items() if pins().get(name, "0") not in asked}
    assert not outside


def test_what_is_pinned_runs_on_the_oldest_python():
    """Debian 12 has Python 3.11.2: pip searches for hours when one pinned package wants a later one."""
    [oldest] = SpecifierSet(PROJECT["requires-python"])
    asked = {d.name: d.metadata.get("Requires-Python") or "" for d in distributions() if d.name.lower() in pins()}
    assert {name: want for name, want in asked.items() if f"{oldest.version}.0" not in SpecifierSet(want)} == {}


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="not the environment that install.py makes")
def test_install_takes_the_pinned_versions():
    here = distributions(path=[sysconfig.get_path("purelib")])  # not the copies inside setuptools
    installed = {d.name.lower().replace("_", "-"): d.version.partition("+")[0] for d in here}
    assert {name: version for name, version in pins().items() if installed.get(name, version) != version} == {}


@pytest.mark.parametrize(("package", "versions"), {
    "torch": ["2.9.1", "2.11.0", "2.13.0"],
    "numpy": ["1.26.4", "2.0.2", "2.4.6"],
}.items())
def test_colab_keeps_its_own_torch_and_numpy(package, versions):
    asked: SpecifierSet = ranges(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["labs"])[package]
    assert all(version in asked for version in versions)


def test_a_course_of_statistics_takes_the_grader_without_the_labs_libraries():
    """`leaplm[grade]` asks for nothing that trains models, or draws: it would be hundreds of megabytes."""
    asked = ranges(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["grade"])
    assert not asked.keys() & ranges(PROJECT["optional-dependencies"]["labs"]).keys()
    assert "torch" in ranges(PROJECT["optional-dependencies"]["labs"])


def test_tested_versions_are_the_published_ones():
    assert pins()["torch"] == "2.13.0"
    assert pins()["nbgrader"] == "0.9.6"
    assert [pins()[name].split(".")[0] for name in ("transformers", "datasets")] == ["5", "5"]
    assert pins()["peft"].startswith("0.21")


def copy_of_the_course(folder):
    """What install.py reads, and nothing else: an environment made there is not the course's own."""
    extension = ("lib/leaplm/labextension/package.json", "lib/leaplm/labextension/static/pictures.js")
    for name in ("install.py", "pyproject.toml", "constraints.txt", "lib/leaplm/__init__.py", "lib/leaplm/installing.py",
                 *extension):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())


def install(folder, **settings):
    nowhere = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    nowhere |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull} | settings
    return subprocess.run([sys.executable, "install.py"], cwd=folder, env=nowhere, capture_output=True, text=True)


def test_install_without_any_index_says_so_and_can_be_run_again(tmp_path):
    """The real thing on a copy: an environment is made, the packages are nowhere, nothing claims to be done."""
    copy_of_the_course(tmp_path)
    for first in (True, False):
        done = install(tmp_path)
        assert done.returncode == 1
        assert ("making .venv" in done.stdout) == first
        assert "Is a package index within reach?" in done.stderr
    assert not (tmp_path / ".venv" / "leaplm-stamp").exists()


TINY = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "leaplm"
version = "0"
optional-dependencies = {grade = [], serve = []}
"""
# A build of nothing, from the standard library alone: what pip does with it is real.
BACKEND = """
import zipfile
def build_editable(folder, settings=None, metadata=None):
    name = "leaplm-0-py3-none-any.whl"
    meta = {"METADATA": "Metadata-Version: 2.1\\nName: leaplm\\nVersion: 0\\n", "WHEEL": "Wheel-Version: 1.0\\n"
            "Root-Is-Purelib: true\\nTag: py3-none-any\\n", "RECORD": ""}
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for file, text in meta.items():
            wheel.writestr(f"leaplm-0.dist-info/{file}", text)
        wheel.writestr("came_here.py", "")
    return name
"""


def test_settings_that_were_made_for_other_installations_do_not_reach_this_one(tmp_path):
    """user, target, require-hashes and their kind in pip's file and in variables; and a PYTHONHOME of another Python."""
    copy_of_the_course(tmp_path)
    (tmp_path / "pyproject.toml").write_text(TINY)
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n")
    (tmp_path / "pip.conf").write_text(f"[global]\nrequire-hashes = true\nindex-url = http://127.0.0.1:9/simple\n"
                                       f"[install]\nuser = true\ntarget = {tmp_path / 'elsewhere'}\n")
    (tmp_path / "pip").mkdir()      # not pip: a folder of that name where the terminal stands
    (tmp_path / "pip/__init__.py").write_text("raise SystemExit('the wrong pip')")
    elsewhere = dict.fromkeys(("PIP_PREFIX", "PIP_ROOT", "PYTHONUSERBASE"), str(tmp_path / "elsewhere"))
    done = install(tmp_path, PIP_CONFIG_FILE=str(tmp_path / "pip.conf"), PIP_USER="1", PIP_REQUIRE_VIRTUALENV="1",
                   PIP_DRY_RUN="1", PIP_PYTHON_VERSION="3.9", PYTHONPATH=str(tmp_path), PYTHONWARNINGS="error", **elsewhere)
    assert "pip could not" not in done.stderr, done.stdout + done.stderr
    assert list((tmp_path / ".venv").rglob("came_here.py")) and not (tmp_path / "elsewhere").exists()
    assert (tmp_path / ".venv" / "leaplm-stamp").exists()
    installed = tmp_path / ".venv" / "share" / "jupyter" / "labextensions" / "leaplm"
    package = json.loads((installed / "package.json").read_text())
    assert (installed / package["jupyterlab"]["_build"]["load"]).is_file()


@pytest.mark.parametrize(("megabytes", "roomy"), [(2000, False), (0, False), (8000, True)])
def test_two_programs_run_at_once_only_where_there_is_room_for_both(megabytes, roomy):
    """Asked before there is any package; `memory_mb` gives the container's memory, or 0 where no one tells."""
    code = (f"import install; from leaplm import runtime; assert runtime.memory_mb() >= 0; "
            f"runtime.memory_mb = lambda: {megabytes}; print(install.has_room_for_two())")
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == [str(roomy)], done.stderr


def test_what_is_promised_is_what_install_checks():
    """README, the table of systems and a bundle's page name the limits that the installers refuse by."""
    (oldest, newest) = (f"{major}.{minor}" for major, minor in installing.PYTHONS)
    assert PROJECT["requires-python"] == f">={oldest}"
    readme, teaching = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "course/TEACHING.md"))
    for page in (readme, teaching, (ROOT / "lib/leaplm/bundle/start.html").read_text(encoding="utf-8")):
        assert f"Python {oldest} to {newest}" in page
    for page in (readme, teaching):
        assert f"macOS {installing.MACOS} or newer" in page and f"glibc {'.'.join(map(str, installing.GLIBC))}" in page


def test_nbgrader_finds_what_it_needs_of_setuptools():
    __import__("setuptools.archive_util")
