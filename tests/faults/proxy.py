"""A proxy in front of a service that breaks single calls, and keeps what was written through it."""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
_MOST_CALLS = 1_000


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whole."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def encoded(self, length: int | None = None) -> bytes:
        """As bytes; `length` is what the header says instead of the truth."""
        kept = [f"{name}: {text}" for name, text in self.headers if name.lower() not in _HOP]
        sized = [] if self.status in (204, 304) else [f"Content-Length: {len(self.body) if length is None else length}"]
        lines = [f"HTTP/1.1 {self.status} X", *kept, *sized, "Connection: close", "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


@dataclass(frozen=True)
class Call:
    """A request that a client made, and the way to the real service."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    upstream: tuple[str, int]
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the proxy ends."""
    stale: Answer | None = None
    """What the same request was answered before, if it was made before."""

    def forward(self) -> Answer:
        """What the service answers."""
        connection = http.client.HTTPConnection(*self.upstream, timeout=60)
        try:
            self._begin(connection)
            connection.endheaders(self.body)
            answer = connection.getresponse()
            return Answer(answer.status, tuple(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def forward_half(self) -> None:
        """Send half of the body to the service, with the length of all of it, and hang up."""
        connection = http.client.HTTPConnection(*self.upstream, timeout=60)
        try:
            self._begin(connection)
            connection.endheaders(self.body[: len(self.body) // 2])
        finally:
            connection.close()

    def _begin(self, connection: http.client.HTTPConnection) -> None:
        """Send the head of the call, without the end of the head."""
        connection.putrequest(self.method, self.target, skip_host=True, skip_accept_encoding=True)
        for name, text in self.headers:
            if name.lower() not in _HOP:
                connection.putheader(name, text)
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(self.body)))


Fault = Callable[[Call], Iterator[bytes]]
"""Gives the bytes to send instead of the answer; the connection is closed after them."""


@dataclass
class _Armed:
    kind: str
    fault: Fault
    left: int


class Proxy:
    """Passes calls on, but for those of the armed kind. `kind_of` names the kind of a call: list, page2, read, write, ..."""

    def __init__(self, url: str, kind_of: Callable[[Call], str]) -> None:
        parts = urlsplit(url)
        self.upstream = parts.hostname or "", parts.port or 80
        self.url, self._path, self._kind_of = "", parts.path, kind_of
        self.calls: list[Call] = []
        self.fired = 0
        self._armed: _Armed | None = None
        self._answered: dict[tuple[str, str, bytes], Answer] = {}
        self._lock = threading.Lock()
        self.gone = threading.Event()

    def arm(self, kind: str, fault: Fault, times: int) -> None:
        """Break the next calls of a kind."""
        self.calls, self.fired, self._armed = [], 0, _Armed(kind, fault, times)

    def heal(self) -> None:
        """Pass everything on again."""
        self._armed = None

    def serve(self, call: Call) -> Iterator[bytes]:
        """What the client gets."""
        key = call.method, call.target, call.body
        with self._lock:
            self.calls.append(call)
            armed = self._armed
            is_broken = armed is not None and armed.left > 0 and self._kind_of(call) == armed.kind
            if armed is not None and is_broken:
                armed.left -= 1
                self.fired += 1
            stale = self._answered.get(key)
        if len(self.calls) > _MOST_CALLS:
            return
        if armed is not None and is_broken:
            yield from armed.fault(Call(*key[:2], call.headers, call.body, self.upstream, self.gone, stale))
            return
        answer = call.forward()
        with self._lock:
            self._answered[key] = answer
        yield answer.encoded()

    def moved_to(self, host: str, port: int) -> None:
        """Say where it listens."""
        self.url = f"http://{host}:{port}{self._path}"


@contextmanager
def proxied(url: str, kind_of: Callable[[Call], str]) -> Iterator[Proxy]:
    """A proxy on this machine until the end of the block."""
    proxy = Proxy(url, kind_of)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError, http.client.HTTPException):
                call = _read(self.rfile, proxy)
                if call is not None:
                    for piece in proxy.serve(call):
                        self.request.sendall(piece)

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

        def shutdown_request(self, request: Any) -> None:
            with suppress(OSError):
                request.shutdown(socket.SHUT_WR)
            self.close_request(request)

    with Listener(("127.0.0.1", 0), Handler) as listener:
        proxy.moved_to("127.0.0.1", listener.server_address[1])
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.gone.set()
            listener.shutdown()
            thread.join()


def _read(stream: Any, proxy: Proxy) -> Call | None:
    words = stream.readline(65537).decode("latin-1").split()
    headers: list[tuple[str, str]] = []
    while (line := stream.readline(65537).decode("latin-1")) not in ("\r\n", ""):
        name, _, text = line.partition(":")
        headers.append((name, text.strip()))
    if len(words) < 2:
        return None
    named: Mapping[str, str] = {name.lower(): text for name, text in headers}
    body = stream.read(int(named.get("content-length", 0)))
    return Call(words[0], words[1], tuple(headers), body, proxy.upstream, proxy.gone)
