"""The classroom kit: whole or known to be broken, renewed by differences, and enough to install without any network."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import uvicorn
from leaplm import installing
from leaplm.bundle import BundleError, make_bundle, serve, verify, wheels
from leaplm.bundle import installer as installer_module
from leaplm.bundle.contents import write_contents
from leaplm.bundle.make import copy_course, write_start
from leaplm.grading.sandbox.bubblewrap import find_bwrap
from repo import ROOT
from walled import needs_sandbox


@pytest.fixture
def bundle(tmp_path):
    """A bundle with the real course and installer, and small files in the place of wheels and models."""
    folder = tmp_path / "bundle"
    for name, content in (("wheels/a-1-py3-none-any.whl", b"a" * 5000), ("assets/pypi/model.bin", b"m" * 70_000)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
    copy_course(ROOT, folder)
    wheels.write_links(folder / "wheels")
    write_start(folder, write_contents(folder))
    write_contents(folder, platforms=["here"])
    return folder


def installer(bundle, *words, **settings):
    return subprocess.run([sys.executable, bundle / "install.py", *words], capture_output=True, text=True, **settings)


def test_a_bundle_has_labs_without_solutions_and_its_licences(bundle):
    names = set(json.loads((bundle / "manifest.json").read_text())["files"])
    assert {"START.html", "install.py", "course/LICENSE", "course/labs/lab2_finetuning/lab2_finetuning.ipynb"} <= names
    assert not any("solution" in name or "check" in name for name in names)
    assert "BEGIN SOLUTION" not in (bundle / "course/labs/lab2_finetuning/lab2_finetuning.ipynb").read_text()
    page = (bundle / "START.html").read_text()
    assert "lab2_finetuning" in page and "MB</td>" in page and "{rows}" not in page


def test_damage_is_found_and_named(bundle):
    assert verify(bundle) == [] and "are whole" in installer(bundle, "--check").stdout
    (bundle / "assets/pypi/model.bin").write_bytes(b"x" * 70_000)
    (bundle / "wheels/a-1-py3-none-any.whl").unlink()
    assert verify(bundle) == ["assets/pypi/model.bin", "wheels/a-1-py3-none-any.whl"]
    told = installer(bundle, "--check")
    assert told.returncode and "2 files" in told.stderr and "assets/pypi/model.bin" in told.stderr


def test_a_copy_brings_only_differences_and_goes_on_after_a_break(bundle, tmp_path):
    target = tmp_path / "stick"
    assert installer(bundle, "--copy", target).returncode == 0 and verify(target) == []
    untouched = target / "assets/pypi/model.bin"
    before = untouched.stat().st_ino
    (target / "wheels/a-1-py3-none-any.whl").write_bytes(b"broken")
    (target / "wheels/old-0-py3-none-any.whl").write_bytes(b"from last year")
    (target / "course/NOTICE").unlink()
    (target / "course/NOTICE.part").write_bytes((bundle / "course/NOTICE").read_bytes()[:100])
    assert installer(bundle, "--copy", target).returncode == 0
    assert verify(target) == [] and untouched.stat().st_ino == before
    assert not (target / "wheels/old-0-py3-none-any.whl").exists() and not (target / "course/NOTICE.part").exists()


def test_a_manifest_that_leads_out_of_the_folder_is_refused(bundle, tmp_path):
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["../evil"] = {"bytes": 1, "sha256": "0"}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    told = installer(bundle, "--copy", tmp_path / "stick")
    assert told.returncode and "do not trust" in told.stderr and not (tmp_path / "evil").exists()


def test_what_is_no_bundle_is_told(tmp_path):
    with pytest.raises(BundleError, match="leaplm bundle"):
        verify(tmp_path)
    with pytest.raises(BundleError, match="folder labs"):
        copy_course(tmp_path, tmp_path / "out")


def test_the_installer_is_one_file_that_knows_its_machines(bundle, tmp_path):
    """A student downloads it alone, and has no leaplm: -I keeps this machine's out."""
    (tmp_path / "install.py").write_bytes((bundle / "install.py").read_bytes())
    alone = [sys.executable, "-I", "-S", tmp_path / "install.py", "--from", bundle, "--check"]
    done = subprocess.run(alone, capture_output=True, text=True)
    assert done.returncode == 0 and "are whole" in done.stdout, done.stderr
    names = [{name for name in vars(module) if not name.startswith("__")} for module in (installing, installer_module)]
    shared = names[0] & names[1]
    assert all(isinstance(vars(installing)[name], type(sys)) for name in shared), "a name of one would hide the other's"


def test_an_installer_with_other_settings_of_pip_and_python_uses_only_the_bundle(bundle, tmp_path):
    """Only wheels/a-1 is there: pip's own word is that leaplm is not in the bundle, whatever this computer asks of pip."""
    (tmp_path / "pip.conf").write_text("[global]\nuser = true\nrequire-hashes = true\nindex-url = https://a.example/simple\n")
    settings = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_TARGET": str(tmp_path / "else"), "PIP_USER": "1",
                "PYTHONWARNINGS": "error", "PIP_PROXY": "http://127.0.0.1:9"}
    told = installer(bundle, "--into", tmp_path / "José 王芳", env=os.environ | settings, cwd=tmp_path)
    assert told.returncode == 1 and "The bundle has no packages for this computer (linux-" in told.stderr, told.stderr
    assert "user" not in told.stdout and "hashes" not in told.stdout and not (tmp_path / "else").exists()


@pytest.mark.parametrize("name", ["José", "王芳", "Ngọc's & (lab) $HOME %TEMP%"])
def test_the_start_script_goes_by_its_own_place(name, tmp_path):
    """It names no folder, so neither a code page nor a moved folder can make it wrong."""
    folder, elsewhere = tmp_path / name, tmp_path / "elsewhere"
    for part in (folder / ".venv/bin", folder / "labs", elsewhere):
        part.mkdir(parents=True)
    (folder / ".venv/bin/python").write_text('#!/bin/sh\npwd\necho "$@"\n')
    (folder / ".venv/bin/python").chmod(0o755)
    script = installer_module.write_start_script(str(folder), windows=False)
    folder.rename(tmp_path / "moved")
    script = script.replace(name, "moved") if name == "José" else (tmp_path / "moved").rename(folder) / "start.sh"
    said = subprocess.run([script, "--no-browser"], cwd=elsewhere, env={"LC_ALL": "C", "CDPATH": str(tmp_path)},
                          capture_output=True).stdout.decode().splitlines()
    assert said == [os.path.dirname(script), "-m jupyterlab --ServerApp.root_dir=labs --no-browser"]
    batch = Path(installer_module.write_start_script(os.path.dirname(script), windows=True)).read_bytes()
    assert batch.isascii() and b"%~dp0" in batch and b":" not in batch and batch.count(b"\r\n") == batch.count(b"\n") == 4


@pytest.mark.parametrize("host, near", [("127.0.0.1", True), ("10.1.2.3", True), ("teacher", True), ("teacher.local", True),
                                        ("fd00::1", True), ("8.8.8.8", False), ("courses.example.org", False)])
def test_a_computer_in_the_room_is_asked_without_a_proxy(host, near):
    assert installer_module.is_near(host) == near


def test_a_served_bundle_is_copied_past_a_proxy_for_the_internet(served, tmp_path):
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run([sys.executable, ROOT / "lib/leaplm/bundle/installer.py", "--from", served, "--copy", tmp_path],
                          env={**os.environ, **proxies, "NO_PROXY": "", "no_proxy": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_platform_is_told(tmp_path):
    with pytest.raises(BundleError, match="windows-x86_64"):
        wheels.for_platform(ROOT, tmp_path, "amiga")


@pytest.mark.parametrize("name, own, not_own", [
    ("windows-x86_64", "pywinpty", "uvloop"),
    ("macos-arm64", "appnope", "pywinpty"),
    ("linux-x86_64", "uvloop", "appnope"),
])
def test_the_packages_of_another_platform_are_worked_out(name, own, not_own, tmp_path):
    try:
        wheels.uv_compile(ROOT, wheels.PLATFORMS[name][0], tmp_path / "pins.txt")
    except BundleError as problem:
        if "Failed to fetch" in str(problem) or "client error" in str(problem):
            pytest.skip(f"no package index within reach: {problem}")
        raise
    pins = (tmp_path / "pins.txt").read_text()
    assert "torch==2.13.0" in pins and own in pins and not_own not in pins
    assert not ("+cpu" in pins and "nvidia" in pins)


@pytest.fixture
def served(bundle):
    """The address of a bundle that a thread serves."""
    server = uvicorn.Server(uvicorn.Config(serve.make_app(bundle), log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_the_server_gives_ranges_and_the_start_page_and_takes_nothing(served):
    rest = urllib.request.Request(f"{served}/assets/pypi/model.bin", headers={"Range": "bytes=69990-"})
    part = urllib.request.urlopen(rest)
    assert part.status == 206 and part.read() == b"m" * 10
    assert b"LeapLM" in urllib.request.urlopen(served).read()
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(urllib.request.Request(f"{served}/wheels/new.whl", data=b"x", method="PUT"))
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{served}/..%2f..%2fetc/passwd")


def test_a_served_bundle_can_be_copied(bundle, served, tmp_path):
    target = tmp_path / "stick"
    (target / "assets/pypi").mkdir(parents=True)
    (target / "assets/pypi/model.bin.part").write_bytes(b"m" * 30_000)
    done = installer(bundle, "--from", served, "--copy", target)
    assert done.returncode == 0, done.stderr
    assert verify(target) == []


IN_THE_ROOM = """
set -e
{python} -m leaplm serve-mirror {here}/bundle --host 127.0.0.1 --port 8000 &
until (echo > /dev/tcp/127.0.0.1/8000) 2>&-; do sleep 0.2; done
{python} {here}/bundle/install.py --from http://127.0.0.1:8000 --into {here}/course
cd {here}/course/labs/lab2_finetuning
{here}/course/.venv/bin/python {here}/run.py
"""
RUN = """
import os, pathlib, sys
import nbclient, nbformat
sys.path.append({support!r})
from shallow import make_shallow_store
pathlib.Path("shallow").mkdir()
os.environ["LEAPLM_HOME"] = str(make_shallow_store(pathlib.Path("shallow").absolute()))
notebook = nbformat.read({solution!r}, 4)
nbclient.NotebookClient(notebook, timeout=300).execute()
print("the lab ran", len(list(pathlib.Path("artifacts").iterdir())))
"""


@needs_sandbox
def test_installs_and_runs_a_lab_where_only_that_server_is_within_reach(tmp_path, assets_ready):
    """The whole kit, from a computer in the room: in a network namespace whose only address is the server's own."""
    make_bundle(ROOT, tmp_path / "bundle", say=lambda line: None)
    solution = str(ROOT / "solutions/lab2_finetuning/lab2_finetuning.ipynb")
    (tmp_path / "run.py").write_text(RUN.format(solution=solution, support=str(ROOT / "tests" / "support")))
    script = IN_THE_ROOM.format(python=sys.executable, here=tmp_path)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LEAPLM_HOME": str(tmp_path / "store"),
                   "LANG": "C.UTF-8", "LEAPLM_SCALE": "tiny", "LEAPLM_COURSE": str(ROOT),
                   "OMP_NUM_THREADS": "1"}  # as for all tests that run beside others: waiting threads take a core
    walls = [find_bwrap(), "--dev-bind", "/", "/", "--unshare-net", "--unshare-pid", "--proc", "/proc", "--die-with-parent"]
    done = subprocess.run([*walls, "bash", "-c", script], env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0 and "the lab ran 1" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "course" / "start.sh").is_file() and (tmp_path / "course/.venv/bin/pip").is_file()
    set_up = json.loads((tmp_path / "course/.venv/etc/jupyter/labconfig/page_config.json").read_text())
    assert set_up["disabledExtensions"] == {"@jupyterlab/apputils-extension:announcements": True}
