"""The IPython shell of a notebook's kernel, without its messages: the outputs of a cell are kept as nbformat has them.

Only what a teacher looks at is kept: text, errors, pictures, tables, Markdown; each cell up to a number of bytes.
"""

from __future__ import annotations

import base64
import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from ipykernel import zmqshell
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.text import LSString, SList
from traitlets import Type
from traitlets.config import Config

from leaplm.grading.texts import picture_words

KEPT_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/jpeg")
CUT = "\n… more output is left out …\n"


class Outputs:
    """The outputs of one cell; `items` are nbformat outputs of at most `most` bytes in all."""

    def __init__(self, most: int) -> None:
        self.items: list[dict] = []
        self._left = most

    def add_stream(self, name: str, text: str) -> None:
        if not text or self._left <= 0:
            return
        text = self._fit(text)
        if self.items and self.items[-1].get("name") == name:
            self.items[-1]["text"] += text
        else:
            self.items.append({"output_type": "stream", "name": name, "text": text})

    def add_data(self, kind: str, data: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        """A display_data or execute_result; a type that does not fit any more is left out."""
        kept = {}
        for mime in KEPT_TYPES:
            value = data.get(mime)
            if isinstance(value, bytes):  # a picture
                value = base64.b64encode(value).decode()
            if isinstance(value, str) and len(value) <= self._left:
                kept[mime] = value
                self._left -= len(value)
        if kept:
            count = {"execution_count": None} if kind == "execute_result" else {}
            self.items.append({"output_type": kind, "data": kept, "metadata": picture_words(kept, metadata), **count})

    def add_error(self, name: str, message: str, lines: list[str] | None = None) -> None:
        lines = [self._fit(line) for line in (lines or [f"{name}: {message}"])]
        self.items.append({"output_type": "error", "ename": name, "evalue": message[:2000], "traceback": lines})

    def error(self) -> str:
        """The first error in one line: "NameError: name 'x' is not defined"."""
        return next((f"{item['ename']}: {item['evalue']}" for item in self.items if item["output_type"] == "error"), "")

    def _fit(self, text: str) -> str:
        if len(text) > self._left:
            text = text[: max(self._left, 0)] + CUT
        self._left -= len(text)
        return text

    @contextlib.contextmanager
    def captured(self, shell: InteractiveShell) -> Iterator[None]:
        """All that the shell shows, in here, goes into this object."""
        shell.outputs = self
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Stream(self, "stdout"), _Stream(self, "stderr")
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


class _Stream(io.TextIOBase):
    encoding = "utf-8"

    def __init__(self, outputs: Outputs, name: str) -> None:
        self._outputs, self._name = outputs, name

    def write(self, text: str) -> int:
        self._outputs.add_stream(self._name, text)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """For programs that a cell starts; what is written there is not kept."""
        return {"stdout": 1, "stderr": 2}[self._name]


class _Publisher(DisplayPublisher):
    def publish(self, data: dict, metadata: dict | None = None, **more: Any) -> None:
        self.shell.outputs.add_data("display_data", data, metadata)


class _Hook(DisplayHook):
    """Shows the value of a cell's last line, and nothing on a terminal."""

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict, md_dict: dict | None = None) -> None:
        self.shell.outputs.add_data("execute_result", format_dict, md_dict)

    def finish_displayhook(self) -> None:
        pass


class ZMQInteractiveShell(zmqshell.ZMQInteractiveShell):  # by this name libraries know that they are in a notebook
    outputs = Outputs(0)
    displayhook_class = Type(_Hook)
    display_pub_class = Type(_Publisher)

    def init_environment(self) -> None:  # no variables for colours: outputs are read as text
        pass

    def system(self, cmd: str) -> None:
        """`!cmd`, without the terminal that IPython would open for it."""
        done = self._command(self.var_expand(cmd, depth=1))
        print(done.stdout, end="")
        self.user_ns["_exit_code"] = done.returncode

    def getoutput(self, cmd: str, split: bool = True, depth: int = 0) -> SList | LSString:
        """`lines = !cmd`."""
        text = self._command(self.var_expand(cmd, depth=depth + 1)).stdout
        return SList(text.splitlines()) if split else LSString(text)

    def _command(self, words: str) -> subprocess.CompletedProcess:
        return subprocess.run(words, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")  # fmt: skip

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        self.outputs.add_error(etype.__name__, str(evalue), stb)

    def enable_gui(self, gui: str | None = None) -> None:  # `%matplotlib inline` asks for none
        pass

    def payloadpage_page(self, strg: str | dict, *place: Any, **more: Any) -> None:  # `print?` opens a pane
        pass

    def ask_exit(self) -> None:  # `exit()` asks a notebook's page to close; the cell goes on
        pass


def make_shell() -> InteractiveShell:
    """A shell whose outputs go into the `Outputs` that captures them; its history stays in memory."""
    config = Config()
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.xmode = "Context"
    config.HistoryManager.enabled = False
    shell = ZMQInteractiveShell.instance(config=config)
    shell.extension_manager.load_extension("storemagic")  # every notebook has it
    return shell
