"""Install the course from this folder, or from a computer in the room that serves it. No internet is used.

    python3 install.py                                  into the folder leaplm-course in your home folder
    python3 install.py --into FOLDER
    python3 install.py --from http://192.168.0.10:8000  from `leaplm serve-mirror` on another computer
    python3 install.py --copy FOLDER                    copy the bundle, only what is missing or different
    python3 install.py --check                          is every file of the bundle whole?

Needs Python 3.11 or newer and nothing else. Run it again after an interruption: it goes on.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import venv

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
        self.files = read_manifest(lambda: self.open("manifest.json")[0], self.url)

    def place(self, name):
        return f"{self.url}/{urllib.parse.quote(name)}"

    def open(self, name, start=0):
        headers = {"Range": f"bytes={start}-"} if start else {}
        answer = urllib.request.urlopen(urllib.request.Request(self.place(name), headers=headers), timeout=30)
        return answer, start if answer.status == 206 else 0

    def check(self):
        say(f"{len(self.files)} files on {self.url}; each is checked when it comes")

    def pip_words(self):
        return ["--find-links", f"{self.url}/wheels/index.html", "--trusted-host", urllib.parse.urlsplit(self.url).hostname]

    def mirror(self):
        return f"{self.url}/assets"


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
    run([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", *bundle.pip_words(),
         "leaplm[grade,serve]"], "pip could not install the packages (its words are above)")
    # It would ask about news and look for updates, which both want the internet.
    run([python, "-m", "jupyter", "labextension", "disable", "--level=sys_prefix",
         "@jupyterlab/apputils-extension:announcements"], "JupyterLab could not be set up")
    say("copying the labs; notebooks that you have changed are left alone")
    copy_labs(bundle, into)
    environment = {**os.environ, "LEAPLM_MIRROR": bundle.mirror(), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    run([python, "-m", "leaplm", "fetch"], "the models and data could not be brought", environment)
    script = write_start_script(into, python)
    say(f"done. To start: {script}")


def make_venv(folder):
    python = os.path.join(folder, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
    if not os.path.exists(python) or subprocess.call([python, "-m", "pip", "--version"], stdout=subprocess.DEVNULL,
                                                     stderr=subprocess.DEVNULL):
        say(f"making {folder}")
        venv.create(folder, with_pip=True, clear=True)
    return python


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


def write_start_script(into, python):
    """A file to click or type that opens JupyterLab on the labs."""
    jupyter = os.path.join(os.path.dirname(python), "jupyter")
    windows = os.name == "nt"
    path = os.path.join(into, "start.bat" if windows else "start.sh")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'"{jupyter}" lab --ServerApp.root_dir="{os.path.join(into, "labs")}"\n' if windows else
                   f'#!/bin/sh\nexec "{jupyter}" lab --ServerApp.root_dir="{os.path.join(into, "labs")}" "$@"\n')
    os.chmod(path, 0o755)
    return path


def run(command, complaint, environment=None):
    if subprocess.call(command, env=environment):
        stop(f"{complaint}. Run this again; what came so far is kept")


def show(text):
    print(f"\r{text:<60}", end="", flush=True)


def say(text):
    print(text, flush=True)


def stop(text):
    sys.exit(f"install: {text}")


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036
        stop(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    main()
