"""A web server on this machine that serves bytes with ranges, counts requests, and misbehaves when told to."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Loopback:
    """Serves `files` (path -> bytes). `fault` names how: see Handler.send. `asked` holds (path, Range) pairs, `keys` the
    Authorization headers. To a client whose proxy it is, paths are whole addresses."""

    def __init__(self):
        self.files, self.asked, self.keys = {}, [], []
        self.fault, self.ranges, self.on_request = None, True, None
        handler = type("Bound", (Handler,), {"loopback": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def ranges_asked(self, end):
        """The Range headers (or None) of the requests for paths with this end."""
        return [asked for path, asked in self.asked if path.endswith(end)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    loopback: Loopback

    def do_GET(self):
        asked = self.headers.get("Range")
        self.loopback.asked.append((self.path, asked))
        self.loopback.keys.append(self.headers.get("Authorization"))
        if self.loopback.on_request:
            self.loopback.on_request(self.path)
        body = self.loopback.files.get(self.path)
        if body is None:
            return self.send_error(404)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.loopback.ranges else 0
        self.send(body, start)

    def send(self, body, start):
        fault = None if self.path.endswith("/") else self.loopback.fault
        if fault == "truncated":        # claims that half the file is all of it
            body = body[: len(body) // 2]
        if fault == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        if fault == "error":
            return self.send_error(503)
        if start and start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        rest = body[start:]
        if fault == "drop":             # promises all, hangs up half way; every second time less is left
            self.wfile.write(rest[: len(rest) // 2])
            self.close_connection = True
            return
        for at in range(0, len(rest), 1 << 16):
            self.wfile.write(rest[at : at + (1 << 16)])
            time.sleep(0.05 if fault == "slow" else 0)

    def log_message(self, *_):
        pass
