"""A Git server over smart HTTP (`git http-backend`) with basic authentication."""

from __future__ import annotations

import os
import subprocess
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class GitServer(ThreadingHTTPServer):
    """Serves the repositories under a folder to whom `password` is known (None: to everybody). `held` stops answers until it is
    set; `seen` are the authorisations that were shown, `location` sends everybody elsewhere."""

    daemon_threads = True

    def __init__(self, folder: Path, password: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.password = folder, password
        self.location: str | None = None
        self.seen: list[str] = []
        self.asked, self.held = threading.Event(), threading.Event()
        self.held.set()

    def handle_error(self, *_: object) -> None:
        """Clients that were killed are not news."""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: GitServer

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            self._answer(self._chunks())
        else:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: bytes) -> None:
        self.server.asked.set()
        self.server.held.wait(60)
        if self.server.location is not None:
            self._head(301, [("Location", self.server.location + self.path), ("Content-Length", "0")])
        elif not self._is_let_in():
            self._head(401, [("WWW-Authenticate", 'Basic realm="git"'), ("Content-Length", "0")])
        else:
            self._run(body)

    def _is_let_in(self) -> bool:
        kind, _, pair = self.headers.get("Authorization", "").partition(" ")
        shown = b64decode(pair).decode() if kind == "Basic" else ""
        self.server.seen.append(shown)
        return self.server.password is None or shown.partition(":")[2] == self.server.password

    def _run(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environ = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        done = subprocess.run(["git", "http-backend"], env=environ, input=body, capture_output=True, timeout=60)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in head.decode().split("\r\n"))]
        status = int(dict(headers).get("Status", "200").split()[0])
        self._head(status, [*((n, v) for n, v in headers if n != "Status"), ("Content-Length", str(len(content)))])
        self.wfile.write(content)

    def _head(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)


@contextmanager
def serving(folder: Path, password: str | None = None) -> Iterator[GitServer]:
    server = GitServer(folder, password)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.held.set()
        server.shutdown()
        thread.join()
        server.server_close()
