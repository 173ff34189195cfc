"""`leaplm serve` as a process beside this one, for labs, tests and measurements."""

import contextlib
import io
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ADDRESS = re.compile(r"on (http://\S+)")


class Service:
    """A running service: `address`, `pid`, and what it logged."""

    def __init__(self, process, address, log):
        self.process, self.address, self.pid, self.log_file = process, address, process.pid, log

    def log(self):
        """The lines of the service's log so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()

    def memory_mb(self):
        """Resident memory of the service now, in MB."""
        import psutil

        return psutil.Process(self.pid).memory_info().rss / 1e6


@contextlib.contextmanager
def running(path, *options, patience=180):
    """A Service of `leaplm serve PATH OPTIONS` on a free port; it ends with the block.

    Raises RuntimeError with the service's own words if it does not start.

    >>> with running("artifacts/sentiment-cpu.safetensors", "--max-batch", "8") as service:    # doctest: +SKIP
    ...     print(service.address)
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "leaplm", "serve", str(path), "--port", "0", *map(str, options)]
        with open(log, "w", encoding="utf-8") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            yield Service(process, wait_for_address(process, log, patience), log)
        finally:
            stop(process)


def wait_for_address(process, log, patience):
    """The address that the service prints once its port is open and its model is loaded."""
    ends = time.monotonic() + patience
    while time.monotonic() < ends:
        if found := ADDRESS.search(log.read_text(encoding="utf-8", errors="replace")):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    said = log.read_text(encoding="utf-8", errors="replace")
    raise RuntimeError(f"the service did not start: {said[-500:]}")


def stop(process, patience=40):
    """Ask the process to end, as a system would; insist if it does not."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Threaded:
    """A service in a thread of this process: starts in no time, but shares its memory and processor time."""

    def __init__(self, address, stream):
        self.address, self.pid, self.stream = address, os.getpid(), stream

    def log(self):
        return self.stream.getvalue().splitlines()

    memory_mb = Service.memory_mb


@contextlib.contextmanager
def threaded(path, *options):
    """As `running`, in a thread of this process; options as on the command line, "--name", value, ..."""
    from leaplm.serve.logs import make_logger
    from leaplm.serve.run import prepare

    settings = {name.lstrip("-").replace("-", "_"): value for name, value in zip(options[::2], options[1::2], strict=True)}
    if "queue" in settings:
        settings["max_queue"] = settings.pop("queue")
    app, listening = prepare(path, port=0, **settings)
    make_logger(stream := io.StringIO())
    with in_thread(app, listening) as address:
        yield Threaded(address, stream)


@contextlib.contextmanager
def in_thread(app, listening=None):
    """The address of an ASGI app that is served by a thread of this process."""
    import uvicorn

    from leaplm.serve.run import server_settings

    listening = listening or socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(uvicorn.Config(app, **server_settings()))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(40)
