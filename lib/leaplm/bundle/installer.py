"""Install the course from this folder, or from a computer in the room that serves it. No internet is used.

    python3 install.py                                  into the folder leaplm-course in your home folder
    python3 install.py --into FOLDER
    python3 install.py --from http://192.168.0.10:8000  from `leaplm serve-mirror` on another computer
    python3 install.py --copy FOLDER                    copy the bundle, only what is missing or different
    python3 install.py --check                          is every file of the bundle whole?

Needs Python 3.11 to 3.14 and nothing else. Run it again after an interruption: it goes on.
"""

import argparse
import hashlib
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.parse
import urllib.request
import venv

from leaplm import installing

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    parser = argparse.ArgumentParser(description="Install the course without internet.")
    home = os.path.join(os.path.expanduser("~"), "leaplm-course")
    parser.add_argument("--into", default=home, help="folder to install into")
    parser.add_argument("--from", dest="source", default=HERE, help="folder or http address of the bundle")
    parser.add_argument("--copy", metavar="FOLDER", help="copy the bundle there instead of installing")
    parser.add_argument("--check", action="store_true", help="only check that the bundle is whole")
    options = parser.parse_args()
    bundle = Served(options.source) if "://" in options.source else Folder(options.source)
    if options.copy:
        copy(bundle, os.path.abspath(options.copy))
    elif options.check:
        bundle.check()
    else:
        install(bundle, os.path.abspath(options.into))


class Folder:
    """A bundle on a stick or a disk."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.files = read_manifest(lambda: self.open("manifest.json")[0], self.folder)

    def place(self, name):
        return os.path.join(self.folder, *name.split("/"))

    def open(self, name, start=0):
        stream = open(self.place(name), "rb")  # noqa: SIM115
        stream.seek(start)
        return stream, start

    def check(self):
        bad = [name for number, (name, facts) in enumerate(self.files.items(), 1)
               if show(f"checking {number} of {len(self.files)} files") or not is_whole(self.place(name), facts)]
        print()
        if bad:
            stop(f"{len(bad)} files of the bundle are missing or damaged, the first is {bad[0]}. Copy the bundle again "
                 "from where you have it: python3 install.py --copy FOLDER brings only what is missing")
        say(f"all {len(self.files)} files are whole")

    def pip_words(self):
        return ["--find-links", self.place("wheels")]

    def mirror(self):
        return self.place("assets")


class Served:
    """A bundle that `leaplm serve-mirror` gives over the network."""

    def __init__(self, url):
        self.url = url.rstrip("/")
        if is_near(self.host()):    # a proxy for the internet does not know the computers in this room
            os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join([self.host(), os.environ.get("NO_PROXY", "")])
        self.files = read_manifest(lambda: self.open("manifest.json")[0], self.url)

    def host(self):
        return urllib.parse.urlsplit(self.url).hostname or stop(f"--from {self.url}: no address. Write http://HOST:8000")

    def place(self, name):
        return f"{self.url}/{urllib.parse.quote(name)}"

    def open(self, name, start=0):
        headers = {"Range": f"bytes={start}-"} if start else {}
        answer = urllib.request.urlopen(urllib.request.Request(self.place(name), headers=headers), timeout=30)
        return answer, start if answer.status == 206 else 0

    def check(self):
        say(f"{len(self.files)} files on {self.url}; each is checked when it comes")

    def pip_words(self):
        return ["--find-links", f"{self.url}/wheels/index.html", "--trusted-host", self.host()]

    def mirror(self):
        return f"{self.url}/assets"


def is_near(host):
    """Whether a host is in the local network: by its address, or by a name without a domain.

    >>> is_near("192.168.0.10"), is_near("teacher"), is_near("teacher.local"), is_near("courses.example.org")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".lan"))


def read_manifest(opened, where):
    try:
        with opened() as stream:
            files = json.load(stream)["files"]
    except (OSError, ValueError, KeyError) as problem:
        stop(f"{where} is not a whole bundle: manifest.json cannot be read ({problem})")
    for name in files:      # names become paths here: none may lead out of the folder
        if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            stop(f"the bundle's manifest names {name!r}, which is no plain file name: do not trust this bundle")
    return files


def install(bundle, into):
    bundle.check()
    os.makedirs(into, exist_ok=True)
    python = make_venv(os.path.join(into, ".venv"))
    say("installing the packages (a few minutes) ...")
    renew_pip(python, bundle)
    run_pip(python, ["install", "--quiet", "--no-warn-conflicts", "--no-index", *bundle.pip_words(), "leaplm[grade,serve]"])
    ask_for_no_news(os.path.join(into, ".venv"))
    say("loading them once ...")
    failure = installing.load_once(python)
    if failure:
        say(failure)
    say("copying the labs; notebooks that you have changed are left alone")
    copy_labs(bundle, into)
    run([python, "-P", "-m", "leaplm", "fetch"], "the models and data could not be brought", LEAPLM_MIRROR=bundle.mirror(),
        PIP_NO_INDEX="1")
    script = write_start_script(into)
    say(f"done. To start: {script}")


def make_venv(folder):
    python = os.path.join(folder, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    if not os.path.exists(python) or subprocess.call([python, "-I", "-m", "pip", "--version"], stdout=subprocess.DEVNULL,
                                                     stderr=subprocess.DEVNULL):
        say(f"making {folder}")
        try:
            venv.create(folder, with_pip=True, clear=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as problem:
            stop(f"could not make {folder}: {problem}. On Debian or Ubuntu: sudo apt install python3-venv. Otherwise use "
                 "the Python of python.org")
    return python


def renew_pip(python, bundle):
    """The pip that comes with Python can be years old, and takes half as long again. If it cannot be renewed, it does."""
    command = [python, "-I", "-m", "pip", "install", "--quiet", "--no-index", *bundle.pip_words(), "--upgrade", "pip"]
    subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=installing.pip_environment({}))


def run_pip(python, words):
    """The new environment's pip, without any setting of this computer: all that it needs is in the bundle."""
    command = [python, "-I", "-m", "pip", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=installing.pip_environment({}))
    said = process.communicate()[0].decode(errors="replace")
    if process.returncode:
        print("\n".join(said.splitlines()[-25:]), flush=True)
        stop(f"pip could not install the packages; its words are above. {pip_trouble(said)}")


def pip_trouble(said):
    """What pip's failure means here, where it asks no index."""
    if "No matching distribution" in said or "not a supported wheel" in said:
        return (f"The bundle has no packages for this computer ({sysconfig.get_platform()}, Python "
                f"{sys.version_info[0]}.{sys.version_info[1]}). Use another version of Python, or ask for a bundle that was "
                "made with that version and `leaplm bundle --platform`")
    return installing.explain(said) or "Its last lines say why"


def ask_for_no_news(environment):
    """JupyterLab would ask about news and look for updates, which both want the internet.

    The file is the one that `jupyter labextension disable` writes, which loads all of JupyterLab for it.
    """
    folder = os.path.join(environment, "etc", "jupyter", "labconfig")
    os.makedirs(folder, exist_ok=True)
    news = {"@jupyterlab/apputils-extension:announcements": True}
    with open(os.path.join(folder, "page_config.json"), "w", encoding="utf-8") as file:
        json.dump({"disabledExtensions": news, "lockedExtensions": news}, file, indent=2)


def copy_labs(bundle, into):
    for name, facts in bundle.files.items():
        if name.startswith("course/"):
            target = os.path.join(into, *name.split("/")[1:])
            if not os.path.exists(target):
                bring(bundle, name, facts, target)


def copy(bundle, target):
    """Bring what is missing or different, then the manifest; delete what the bundle no longer has."""
    total = sum(facts["bytes"] for facts in bundle.files.values())
    done = 0
    for name, facts in bundle.files.items():
        place = os.path.join(target, *name.split("/"))
        if not is_whole(place, facts):
            bring(bundle, name, facts, place)
        done += facts["bytes"]
        show(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB")
    print()
    remove_old(bundle, target)
    stream, _ = bundle.open("manifest.json")
    with stream, open(os.path.join(target, "manifest.json"), "wb") as out:
        shutil.copyfileobj(stream, out)
    say(f"{target} is a whole copy: {len(bundle.files)} files, {total / 1e6:.0f} MB")


def remove_old(bundle, target):
    for part in ("wheels", "assets", "course", "book"):
        for folder, _, names in os.walk(os.path.join(target, part)):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.relpath(path, target).replace(os.sep, "/") not in bundle.files:
                    os.remove(path)


def bring(bundle, name, facts, target, tries=5):
    """One file, gone on with after a break, in place only when it is whole."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    part = target + ".part"
    for _ in range(tries):
        have = os.path.getsize(part) if os.path.exists(part) else 0
        try:
            append(bundle, name, part, have if have < facts["bytes"] else 0)
        except (OSError, urllib.error.URLError) as problem:
            if getattr(problem, "errno", None) == 28:
                stop(f"no room for {name} in {os.path.dirname(target)}. Free some and run this again: what came is kept")
            show(f"{name}: {problem}; trying again")
            continue
        if is_whole(part, facts):
            os.replace(part, target)
            return
        if os.path.getsize(part) >= facts["bytes"]:
            os.remove(part)
    stop(f"{name} did not come whole, tried {tries} times. Run this again; if it stays so, the bundle is damaged")


def append(bundle, name, part, start):
    stream, start = bundle.open(name, start)
    with stream, open(part, "ab" if start else "wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)


def is_whole(path, facts):
    if not os.path.isfile(path) or os.path.getsize(path) != facts["bytes"]:
        return False
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == facts["sha256"]


WINDOWS = r"""@echo off
pushd "%~dp0"
".venv\Scripts\python.exe" -m jupyterlab --ServerApp.root_dir=labs %*
popd
"""
UNIX = """#!/bin/sh
CDPATH= cd -- "$(dirname -- "$0")" && exec .venv/bin/python -m jupyterlab --ServerApp.root_dir=labs "$@"
"""


def write_start_script(into, windows=os.name == "nt"):
    """A file to click or type that opens JupyterLab on the labs.

    It names no folder, it goes by its own place: a command prompt reads its files in a code page in which the name of
    José's or 王芳's home is another one. `pushd` also enters a folder of the network.
    """
    path = os.path.join(into, "start.bat" if windows else "start.sh")
    with open(path, "w", encoding="ascii", newline="\r\n" if windows else "\n") as file:
        file.write(WINDOWS if windows else UNIX)
    os.chmod(path, 0o755)
    return path


def run(command, complaint, **settings):
    if subprocess.call(command, env=installing.pip_environment({}, **settings)):
        stop(f"{complaint}. Run this again; what came so far is kept")


def show(text):
    print(f"\r{text:<60}", end="", flush=True)


def say(text):
    print(text, flush=True)


def stop(text):
    sys.exit(f"install: {text}")


if __name__ == "__main__":
    if installing.unsupported():
        stop(installing.unsupported())
    sys.stdout.reconfigure(errors="replace")    # a folder's name may hold what this console cannot show
    main()
