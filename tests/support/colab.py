"""Colab without Colab: an environment with its versions, and a notebook as its editor leaves it."""

import copy
import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import forked
import nbformat
from filelock import FileLock
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpecManager
from leaplm import installing
from leaplm.bundle.wheels import build_course
from leaplm.grading.book.verdicts import grader_digest
from nbclient import NotebookClient
from repo import ROOT

VERSIONS = Path(__file__).with_name("colab.txt")
NO_TORCH = "torch; sys_platform == 'never'"  # it is there as a link, which uv would not see
# Python compiles what is imported; pip would compile all of pandas and transformers.
QUICKER = {"PIP_NO_COMPILE": "no", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
TORCH = ("torch", "torchgen", "functorch", "torch-*.dist-info")


class Colab:
    """A Python environment in `folder` with Colab's versions; made once, and again when the course changed.

    Raises subprocess.CalledProcessError where no package index is within reach.
    """

    def __init__(self, folder):
        self.folder, self.python = folder, folder / "bin" / "python"
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = folder / "made"
        files = [ROOT / "pyproject.toml", VERSIONS]
        course = "\n".join([grader_digest(ROOT, "lab8_serving"), *(path.read_text() for path in files)])
        with FileLock(f"{folder}.lock"):
            if not made.exists() or made.read_text() != course:
                shutil.rmtree(folder, ignore_errors=True)
                self.make()
                made.write_text(course)

    def make(self):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.folder], check=True)   # pip comes by VERSIONS
        theirs = Path(self.pythonic("import sysconfig; print(sysconfig.get_path('purelib'))"))
        for pattern in TORCH:
            for path in Path(sysconfig.get_path("purelib")).glob(pattern):
                (theirs / path.name).symlink_to(path)
        self.install(VERSIONS)
        (self.folder / "before.json").write_text(json.dumps(self.versions()))
        kernel = self.folder / "kernels" / "colab"
        kernel.mkdir(parents=True)
        (kernel / "kernel.json").write_text(json.dumps({
            "argv": [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Colab", "language": "python"}))
        build_course(ROOT, self.folder)
        for lab in ("lab0_start", "lab8_serving", "lab0_start"):  # lab 8 needs more, and twice does no harm
            self.run(first_cell(lab), self.folder)

    def install(self, versions):
        """By uv, in seconds; students' first cells use pip."""
        overrides = self.folder / "overrides.txt"
        overrides.write_text(NO_TORCH)
        words = [sys.executable, "-m", "uv", "pip", "install", "--python", self.python, "--overrides", overrides,
                 "--index-strategy", "unsafe-best-match", "-r", versions, "setuptools", "--upgrade-package", "setuptools"]
        indexes = installing.uv_environment(installing.pip_environment(installing.pip_settings(sys.executable)))
        environment = {**installing.own_environment(os.environ), **indexes}
        subprocess.run(words, check=True, capture_output=True, text=True, env=environment)

    def pythonic(self, code):
        return subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()

    def versions(self):
        """{package: version} of what is installed."""
        listed = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
        return json.loads(self.pythonic(listed))

    def environment(self):
        """Of a notebook at scale tiny; `leaplm` comes from a wheel beside the environment."""
        [wheel] = self.folder.glob("leaplm-*.whl")
        return {**os.environ, **QUICKER, "LEAPLM_SOURCE": wheel.as_uri(), "LEAPLM_SCALE": "tiny"}

    def run(self, notebook, folder, environment=None):
        """Run a notebook in place, in a kernel of its own; environment: what of it is to be different."""
        kernels = KernelSpecManager(kernel_dirs=[str(self.folder / "kernels")])
        manager = KernelManager(kernel_name="colab", kernel_spec_manager=kernels)
        client = NotebookClient(notebook, manager, timeout=900, resources={"metadata": {"path": str(folder)}})
        try:
            client.execute(env={**self.environment(), **(environment or {})})
        finally:
            manager.shutdown_kernel(now=True)

    def run_forked(self, notebook, folder, environment):
        """The same in a fork of one process that has imported the libraries; AssertionError where a cell fails."""
        path = folder / "to_run.ipynb"
        nbformat.write(notebook, path)
        asked = [str(path), str(folder), {**self.environment(), **environment}]
        print(json.dumps(asked), file=self.server.stdin, flush=True)
        fault = json.loads(self.server.stdout.readline())
        path.unlink()
        assert fault is None, fault

    @functools.cached_property
    def server(self):
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        environment = {**self.environment(), "PATH": path}
        words = [self.python, Path(forked.__file__)]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def close(self):
        if "server" in vars(self):
            self.server.stdin.close()
            self.server.wait()


def first_cell(lab):
    """A lab with its first code cell alone, the one that installs."""
    notebook = nbformat.read(ROOT / "labs" / lab / f"{lab}.ipynb", as_version=4)
    notebook.cells = [next(cell for cell in notebook.cells if cell.cell_type == "code")]
    return notebook


def as_colab_saves(notebook, keeps_ours=True):
    """The notebook's JSON after Colab's editor: nbformat 4.0, ids in the metadata, a badge, and the state of widgets."""
    notebook = copy.deepcopy(notebook)
    for number, cell in enumerate(notebook.cells):
        own = {"id": f"xY{number:02}mPq_aZ", "colab": {"base_uri": "https://localhost:8080/"}, "outputId": f"a{number}-b",
               "executionInfo": {"status": "ok", "user": {"displayName": "A"}}, "cellView": "form"}
        cell.metadata = nbformat.from_dict({**(cell.metadata if keeps_ours else {}), **own})
        cell.pop("id", None)
    badge = '<a href="https://colab.research.google.com/x"><img src="y"></a>'
    notebook.cells.insert(0, nbformat.from_dict(
        {"cell_type": "markdown", "metadata": {"id": "view-in-github"}, "source": badge}))
    state = {"8f3a": {"model_module": "@jupyter-widgets/controls", "model_name": "HBoxModel", "state": {}}}
    notebook.metadata = nbformat.from_dict(
        {"colab": {"provenance": [], "gpuType": "T4"}, "accelerator": "GPU", "kernelspec": {"name": "python3"},
         "widgets": {"application/vnd.jupyter.widget-state+json": state}})
    notebook.nbformat_minor = 0
    return json.dumps(notebook)
