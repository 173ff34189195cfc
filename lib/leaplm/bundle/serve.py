"""Give a bundle to a class on the local network: a static, read-only server with ranges (starlette on uvicorn)."""

import socket

from leaplm.bundle.contents import read_contents


def make_app(folder):
    """The web application: the bundle's files, and START.html at the root. Raises BundleError if there is no bundle."""
    from starlette.applications import Starlette
    from starlette.responses import RedirectResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    read_contents(folder)
    start = Route("/", lambda request: RedirectResponse("/START.html"))
    return Starlette(routes=[start, Mount("/", StaticFiles(directory=folder, html=True))])


def serve(folder, host, port, say):
    """Serve until Ctrl-C; says first what students have to type."""
    import uvicorn

    app = make_app(folder)
    address = f"http://{own_address() if host == '0.0.0.0' else host}:{port}"
    say(f"students open {address} or type: python3 install.py --from {address}")
    uvicorn.run(app, host=host, port=port, log_level="warning")


def own_address():
    """This machine's address on the local network (no packet is sent); loopback when there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]
