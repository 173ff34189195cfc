"""Set up the course: python install.py [--dev] [--no-fetch]

Makes .venv beside this file, installs the tested versions and leaplm into it, and fetches the models and data.
Needs nothing but Python 3.11 to 3.14; works with whatever package index pip is configured for (its other settings do not
reach the installation). Running it again costs a second when nothing changed.
"""

import argparse
import concurrent.futures
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import urllib.request

ROOT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(ROOT, "lib"))
from leaplm import installing  # noqa: E402

VENV = os.path.join(ROOT, ".venv")
BIN = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(BIN, "python.exe" if os.name == "nt" else "python")
STAMP = os.path.join(VENV, "leaplm-stamp")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
EXTENSION = "lib/leaplm/labextension"       # of JupyterLab: pictures in notebooks with their alternative text
TEACHERS_PANELS = ("@jupyter/nbgrader:create-assignment", "@jupyter/nbgrader:formgrader", "@jupyter/nbgrader:course-list")
PIP_ENVIRONMENT = {}        # asked of pip once
CUDA_GIGABYTES = 2.8        # what torch and its CUDA libraries weigh on Linux; the CPU build is 0.2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dev", action="store_true", help="install what the tests need, too")
    parser.add_argument("--no-fetch", action="store_true", help="leave the models and data for later")
    options = parser.parse_args()
    extra = "dev" if options.dev else "grade,serve"
    with concurrent.futures.ThreadPoolExecutor() as beside:
        loading = None
        if read(STAMP) not in wanted_stamps(extra):
            install(extra)
            say("loading the packages once")
            loading = beside.submit(installing.load_once, PYTHON)
            if not has_room_for_two():
                loading.result()
        code = 0 if options.no_fetch else fetch()
        if loading and loading.result():
            say(loading.result())
    sys.exit(code)


def install(extra):
    make_venv()
    upgrade_pip()
    install_torch()
    install_course(extra)


def has_room_for_two():
    """Whether two programs with PyTorch fit beside all else into this machine and its container: 6 GB. Unknown is a no."""
    from leaplm import runtime  # not at the top: a Python that is too old for it is told so first

    return runtime.memory_mb() >= 6000


def fetch():
    """The models and data, mostly from the network: the packages are loaded meanwhile. How the command ended."""
    return subprocess.call([PYTHON, "-P", "-m", "leaplm", "fetch"], env=installing.own_environment(os.environ))


def wanted_stamps(extra):
    """What the stamp says after an installation that still holds; one with `dev` serves for the smaller one."""
    names = ("pyproject.toml", "constraints.txt", "install.py", f"{EXTENSION}/package.json",
             f"{EXTENSION}/static/pictures.js")
    sources = [read(os.path.join(ROOT, *name.split("/"))) for name in names]
    digest = hashlib.sha256("\n".join([ROOT, platform.python_version()] + sources).encode()).hexdigest()
    return [f"{digest} {name}" for name in ([extra] if extra == "dev" else [extra, "dev"])]


def read(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def make_venv():
    """A fresh or usable .venv; one of another Python, moved here, or left half made, is made anew."""
    made_here = VENV in read(os.path.join(VENV, "pyvenv.cfg"))      # its scripts hold its path
    if made_here and installed("pip") and run_python("platform.python_version()") == platform.python_version():
        return
    if importlib.util.find_spec("ensurepip") is None:
        stop("this Python cannot make environments (ensurepip is missing). On Debian or Ubuntu: "
             "sudo apt install python3-venv; otherwise use the Python of python.org or conda")
    say(f"making .venv with Python {platform.python_version()}")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True)
    if made.returncode:
        stop("could not make .venv:\n" + (made.stdout + made.stderr).decode(errors="replace"))


def upgrade_pip():
    """From 25.1 on, pip goes on with a download that broke off; older ones start it over."""
    if pip_version() < (25, 1) and pip("install", "--upgrade", "pip", explain=False):
        say(f"pip {pip_version()} stays: the package index has no newer one")


def pip_version():
    return tuple(int(part) for part in installed("pip").split(".")[:2])


def install_torch():
    """The CPU build where there is no NVIDIA GPU: on Linux the default build brings gigabytes of CUDA."""
    if platform.system() != "Linux" or has_nvidia_gpu() or installed("torch") == f"{pinned('torch')}+cpu":
        return
    build = f"torch=={pinned('torch')}+cpu"
    say(f"no NVIDIA GPU here: looking for {build}")
    if not pip("install", "--no-deps", build, explain=False):
        return
    if answers(CPU_INDEX + "/torch/") and not pip("install", "--no-deps", "--index-url", CPU_INDEX, build):
        return
    say("no CPU build of torch within reach: the default one comes, with CUDA libraries that are not needed here; "
        f"about {CUDA_GIGABYTES} GB to download")


def has_nvidia_gpu():
    tool = shutil.which("nvidia-smi")
    return bool(tool) and subprocess.run([tool], capture_output=True).returncode == 0


def pinned(package):
    lines = read(os.path.join(ROOT, "constraints.txt")).splitlines()
    return next(line.partition("==")[2].strip() for line in lines if line.startswith(package + "=="))


def installed(package):
    """The version of `package` in .venv, or nothing."""
    return run_python(f"importlib.metadata.version({package!r})")


def run_python(expression):
    """What an expression is in .venv's Python, or nothing if that fails."""
    code = f"import importlib.metadata, platform; print({expression})"
    try:
        return subprocess.run([PYTHON, "-I", "-c", code], capture_output=True).stdout.decode(errors="replace").strip()
    except OSError:
        return ""


def answers(url):
    """Whether an address answers soon; a line that is down must not cost minutes."""
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def install_course(extra):
    say(f"installing leaplm[{extra}]")
    if extra == "dev" and by_uv(extra):
        settle_jupyter()
        write_stamp(extra)
        return
    failure = pip("install", "-c", os.path.join(ROOT, "constraints.txt"), "-e", f"{ROOT}[{extra}]")
    if failure:
        meaning = installing.explain_pip(failure, PYTHON, pip_environment())
        stop(f"pip could not install the packages; its words are above. {meaning or 'Its last lines say why'}")
    settle_jupyter()
    write_stamp(extra)


def write_stamp(extra):
    with open(STAMP, "w", encoding="utf-8") as file:
        file.write(wanted_stamps(extra)[0])


def by_uv(extra):
    """Install by uv, for the tests' many packages: a quarter of a minute in place of two. False where it cannot.

    Not for students: a download that broke off is started over, while pip goes on with it.
    """
    if pip("install", f"uv=={pinned('uv')}", explain=False):
        return False
    command = [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, "--index-strategy", "unsafe-best-match",
               "-c", os.path.join(ROOT, "constraints.txt"), "-e", f"{ROOT}[{extra}]"]
    settings = {**installing.own_environment(os.environ), **installing.uv_environment(pip_environment())}
    return subprocess.run(command, capture_output=True, env=settings).returncode == 0


def settle_jupyter():
    """JupyterLab for students: it asks for no news, shows START.md as a page, and hides what only teachers use.

    Nor does it ask Node, where that is, whether to build itself anew: that takes time, and nothing here needs it.
    Our extension is copied: what setup.py puts beside the packages does not come with an editable installation.
    """
    shutil.copytree(os.path.join(ROOT, *EXTENSION.split("/")),
                    os.path.join(VENV, "share", "jupyter", "labextensions", "leaplm"), dirs_exist_ok=True)
    hidden = dict.fromkeys(("@jupyterlab/apputils-extension:announcements", *TEACHERS_PANELS), True)
    pages = {"@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}}}
    for path, content in (("etc/jupyter/labconfig/page_config.json", {"disabledExtensions": hidden, "buildCheck": False}),
                          ("share/jupyter/lab/settings/overrides.json", pages)):
        path = os.path.join(VENV, *path.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)


def pip(*arguments, explain=True):
    """Run the environment's pip; show the downloads of a megabyte and more. Returns what it said if it failed, else ""."""
    command = [PYTHON, "-I", "-u", "-m", "pip", *arguments]
    if sys.stdout.isatty() and pip_version() >= (24, 1):
        command += ["--progress-bar", "raw"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=pip_environment())
    said = []
    for line in process.stdout:
        text = line.decode(errors="replace").strip()
        if text.startswith("Progress "):
            show_progress(text)
            continue
        said.append(text)
        if text.startswith("Downloading ") and " MB)" in text:
            print("  " + text, flush=True)
    if not process.wait():
        return ""
    if explain:
        print("\n".join(said[-25:]), flush=True)
    return "\n".join(said) or f"pip ended with {process.returncode}"


def pip_environment():
    """Where this machine's settings say that packages come from, and nothing else that they say."""
    if not PIP_ENVIRONMENT:
        try:
            settings = installing.pip_settings(PYTHON)
        except installing.PipError as problem:
            stop(str(problem))
        # A line that breaks is normal where this is used. A pip before 25.1 ignores the setting.
        PIP_ENVIRONMENT.update({"PIP_RESUME_RETRIES": "20", **installing.pip_environment(settings)})
    return PIP_ENVIRONMENT


def show_progress(text):
    """pip's "Progress 1048576 of 191794682", rewritten in place in MB."""
    _, done, _, total = text.split()
    if int(total) > 1e6:
        print(f"  {int(done) / 1e6:6.1f} of {int(total) / 1e6:.1f} MB", end="\r", flush=True)


def say(text):
    print(f"install: {text}", flush=True)


def stop(text):
    sys.exit(f"install: {text}")


if __name__ == "__main__":
    if installing.unsupported():
        stop(installing.unsupported())
    sys.stdout.reconfigure(errors="replace")    # a folder's name may hold what this console cannot show
    main()
