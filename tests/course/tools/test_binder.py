"""Labs within Binder's limits; `python course/tools/binder.py` runs all of them, which takes 45 minutes."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest
from leaplm.grading.course import load_module
from mini import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")


@pytest.fixture
def binder():
    return load_module(ROOT / "course" / "tools" / "binder.py")


def test_a_lab_with_two_models_runs_on_one_core_with_two_gigabytes(binder, assets_ready, monkeypatch):
    """At scale tiny, which holds the same models; `course/tools/binder.py` runs all labs as they are."""
    monkeypatch.setenv("LEAPLM_SCALE", "tiny")
    result = binder.run_lab("lab5_fewshot")
    assert result["ended"] == 0, result["said"]
    assert result["minutes"] < 8 and (result["peak_memory_mb"] or 0) <= binder.MEMORY / 1e6


def test_with_a_quarter_of_the_memory_it_does_not(binder, assets_ready):
    assert binder.run_lab("lab5_fewshot", memory=5 * 10**8)["ended"] != 0


def test_binder_reads_our_environment_and_runs_our_script(monkeypatch):
    from repo2docker.buildpacks import CondaBuildPack  # what `jupyter-repo2docker` does before Docker

    monkeypatch.chdir(ROOT)
    pack = CondaBuildPack("docker.io/library/buildpack-deps:noble")
    pack.platform = "linux/amd64"
    recipe = pack.render({})
    assert pack.detect() and pack.python_version == "3.11"
    assert 'env update -p ${NB_PYTHON_PREFIX} --file "binder/environment.yml"' in recipe
    assert "RUN ./binder/postBuild" in recipe


def test_the_script_installs_the_course_and_fetches(assets_ready, tmp_path):
    """postBuild itself, in a copy and an environment of its own, with the packages that environment.yml lists."""
    copy = tmp_path / "course"
    for folder in ("lib", "binder"):
        shutil.copytree(ROOT / folder, copy / folder)
    for file in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(ROOT / file, copy)
    venv.create(tmp_path / "env")
    [packages] = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (packages / "listed.pth").write_text(sysconfig.get_path("purelib"))
    pip = tmp_path / "env" / "bin" / "pip"
    pip.write_text(f"#!/bin/sh\nexec {pip.parent / 'python'} -m pip \"$@\"\n")  # that of the list
    pip.chmod(0o755)
    path = f"{tmp_path / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["binder/postBuild"], cwd=copy, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "minilm" in done.stdout + done.stderr
    assert (tmp_path / "env/share/jupyter/labextensions/leaplm/static/pictures.js").is_file()
