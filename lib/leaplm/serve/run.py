"""From the command line to a port: everything that can be wrong is said before the port opens."""

import ipaddress
import os
import socket

from leaplm.serve.app import Settings, create_app
from leaplm.serve.files import load_engine
from leaplm.serve.keys import read_keys
from leaplm.serve.logs import make_logger


def is_loopback(host):
    """Whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def prepare(path, host="127.0.0.1", port=8000, keys=None, engine="torch", threads=None, **limits):
    """(app, open socket) for a file and settings. Raises ValueError, FileNotFoundError or OSError in words."""
    if not is_loopback(host) and not keys:
        raise ValueError(f"{host} can be reached from other machines: give --keys FILE (make one with `leaplm add-key`), "
                         "or stay on 127.0.0.1")
    settings = Settings(**limits)
    known = read_keys(keys) if keys else []
    listen(host, port).close()  # a port that is taken is said before the seconds that loading takes
    made = load_engine(path, engine, threads)
    return create_app(made, settings, known, make_logger()), listen(host, port)


def listen(host, port):
    """An open socket; an OSError says what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}. Is another program there? "
                      "Choose another with --port, or 0 for any free one") from None


def server_settings():
    """Settings of uvicorn: no log of its own (addresses may hold anything), an end that waits for what was accepted, and
    503 for everybody above 900 connections, since systems often allow a process 1,024 open files."""
    return {"log_config": None, "access_log": False, "timeout_keep_alive": 20, "server_header": False,
            "timeout_graceful_shutdown": 30, "limit_concurrency": 900}


def serve(app, listening):
    """Serve until SIGINT or SIGTERM; then answer what was accepted, and end."""
    import uvicorn

    uvicorn.Server(uvicorn.Config(app, **server_settings())).run(sockets=[listening])


def run(path, say, **settings):
    """`leaplm serve`: the exit code. say: a function that prints a line."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app, listening = prepare(path, **settings)
    except (ValueError, OSError) as problem:
        say(f"leaplm serve: {problem}")
        return 1
    service = app.state.service
    host, port = listening.getsockname()[:2]
    say(f"{service.engine.card.get('lab', path)} ({', '.join(service.engine.labels)}) on http://{host}:{port}  ·  "
        f"POST /predict · /healthz /readyz /metrics /model · {len(service.gate.keys) or 'no'} keys · Ctrl-C ends")
    serve(app, listening)
    return 0
