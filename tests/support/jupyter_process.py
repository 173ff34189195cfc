"""JupyterLab as a process, for the tests in a browser."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

STILL = "lab/user-settings/@jupyterlab/codemirror-extension/plugin.jupyterlab-settings"


def keep_cursors_still(config):
    """A setting: each cell of a notebook has a cursor of its own, and a browser looks at all that blink again and again."""
    (config / STILL).parent.mkdir(parents=True)
    (config / STILL).write_text('{"defaultConfig": {"cursorBlinkRate": 0}}')


@contextlib.contextmanager
def jupyter(folder, config, **environment):
    """JupyterLab's address, serving `folder` with the configuration of `config`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    keep_cursors_still(config)
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(config), "JUPYTER_DATA_DIR": str(config),
                   "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **environment}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
               "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    with open(config / "jupyter.log", "w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"{address}/api", server, config / "jupyter.log")
        yield address
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # it waits for a kernel that has just begun to start
            server.kill()
            server.wait()


def wait_for(url, server, log, seconds=300):  # long: a machine may be busy
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(url, timeout=2)
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
