"""Another language's kernel (or another Python's), inside the sandbox: nbclient runs the cells that the worker is asked for.

The kernel is a process of its own beside the worker, and talks to it through sockets that are files. What it says is
only as true as any kernel's messages are.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from traitlets.config import Config

from leaplm.grading.sandbox.outputs import Outputs
from leaplm.grading.sandbox.walls import EXIT_DEAD, Limits

FOLDER = ".jupyter"  # beside the notebook: the kernel's description, and its sockets


class RealKernel:
    """A kernel, started from its kernelspec: {"name": "bash", "argv": [...], "env": {...}, "display_name": ..., ...}."""

    def __init__(self, spec: dict[str, Any], limits: Limits) -> None:
        self._limits = limits
        here = Path(FOLDER).resolve()
        folder = here / "kernels" / spec["name"]
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec))
        os.environ |= {"JUPYTER_PATH": str(here), "JUPYTER_RUNTIME_DIR": str(here / "run"), "IPYTHONDIR": str(here / "ip")}
        os.environ["PYTHONSAFEPATH"] = "1"  # a file of the student's does not become a module of the kernel's own
        config = Config({"KernelManager": {"transport": "ipc"}})
        self._client = NotebookClient(nbformat.v4.new_notebook(), kernel_name=spec["name"], config=config,
                                      timeout=max(1, round(limits.cell_clock)), interrupt_on_timeout=True, allow_errors=True,
                                      error_on_timeout={"ename": "Timeout", "evalue": self._stopped, "traceback": []},
                                      resources={"metadata": {"path": "."}}, on_cell_executed=self._note)  # fmt: skip
        self._client.create_kernel_manager()
        self._client.start_new_kernel()
        self._client.start_new_kernel_client()

    @property
    def _stopped(self) -> str:
        return f"stopped after {self._limits.cell_clock:g} s"

    def run(self, source: str) -> dict[str, Any]:
        """One cell: its outputs, how it ended, and `text`, the first result that it shows. Ends the process if it cannot."""
        cell, self._reply = nbformat.v4.new_code_cell(source), {}
        self._client.nb.cells = [cell]
        try:
            self._client.execute_cell(cell, 0)
        except DeadKernelError:
            os._exit(EXIT_DEAD)
        outputs = Outputs(self._limits.output_bytes)
        results = [_keep(output, outputs) for output in cell.outputs]
        failed = self._reply.get("status") == "error"
        if failed and not outputs.error():  # bash tells of a failure in its reply alone
            outputs.add_error(self._reply.get("ename") or "Error", str(self._reply.get("evalue", "")),
                              self._reply.get("traceback"))  # fmt: skip
        stopped = failed and self._reply.get("evalue") == self._stopped
        ended = "stopped" if stopped else "error" if outputs.error() else "ok"
        return {"ended": ended, "outputs": outputs.items, "error": outputs.error(),
                "text": next((text for text in results if text is not None), None)}  # fmt: skip

    def _note(self, execute_reply: dict, **more: Any) -> None:
        self._reply = execute_reply["content"]


def _keep(output: Any, outputs: Outputs) -> str | None:
    """Puts one output among those that are kept; the text of a result."""
    if output.output_type == "stream":
        outputs.add_stream(output.name, output.text)
    elif output.output_type == "error":
        outputs.add_error(output.ename, output.evalue, list(output.traceback))
    else:
        outputs.add_data(output.output_type, output.data)
        if output.output_type == "execute_result":
            return str(output.data.get("text/plain", ""))
    return None
