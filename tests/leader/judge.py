"""Who wrote when: a proxy between each replica and the service, which sees the writes arrive whole, and can be slow."""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from tests.faults.proxy import Call

_PIECE: Final = 2048


@dataclass(frozen=True)
class Landing:
    """A write that arrived whole at this moment, the first of it at that one."""

    moment: float
    first: float
    replica: str
    what: str


@dataclass
class Judge:
    """What all proxies saw, in order."""

    url: str
    """Of the service."""
    is_write: Callable[[Call], bool]
    landings: list[Landing] = field(default_factory=list)
    pace: dict[str, float] = field(default_factory=dict)
    """Seconds that each piece of a body takes, by replica; what is missing is as fast as it goes."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def arrived(self, replica: str, call: Call, first: float) -> None:
        """Note it, if it writes."""
        if self.is_write(call):
            with self.lock:
                self.landings.append(Landing(time.time(), first, replica, f"{call.method} {call.target}"))

    @contextmanager
    def proxy(self, replica: str) -> Iterator[str]:
        """A proxy of HTTP, which one replica goes through; gives its URL."""
        judge, upstream = self, urlsplit(self.url)
        there = upstream.hostname or "", upstream.port or 80

        class Handler(socketserver.StreamRequestHandler):
            rbufsize = 0  # what was not taken from the kernel yet is lost when the other side gives up

            def handle(self) -> None:
                with suppress(OSError, http.client.HTTPException):
                    found = _read(self.request, lambda: judge.pace.get(replica, 0.0), there)
                    if found is not None:
                        call, first = found
                        judge.arrived(replica, call, first)
                        self.request.sendall(call.forward().encoded())

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        with Listener(("127.0.0.1", 0), Handler, bind_and_activate=False) as listener:
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            listener.server_bind()
            listener.server_activate()
            thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{listener.server_address[1]}"
            finally:
                listener.shutdown()
                thread.join()


def _read(connection: socket.socket, pace: Callable[[], float], upstream: tuple[str, int]) -> tuple[Call, float] | None:
    """A request, taken in as slowly as the link is, and when it began; None for half of one."""
    data, began = bytearray(), 0.0
    while b"\r\n\r\n" not in data:
        if not (news := connection.recv(_PIECE)):
            return None
        data, began = data + news, began or time.time()
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((name, text.strip()) for name, _, text in (line.partition(":") for line in lines))
    length = next((int(text) for name, text in headers if name.lower() == "content-length"), 0)
    while len(body) < length:
        time.sleep(pace())
        if not (news := connection.recv(_PIECE)):
            return None
        body += news
    method, url, *_ = first.split()
    target = url[url.index("/", len("http://")) :]
    time.sleep(pace())
    return Call(method, target, headers, body, upstream), began


class Link:
    """TCP connections through this process, which can be cut so that nobody notices: nothing comes through any more."""

    def __init__(self, host: str, port: int) -> None:
        self._there = host, port
        self._open = threading.Event()
        self._open.set()
        self.port = 0

    def cut(self) -> None:
        """Let nothing through."""
        self._open.clear()

    def mend(self) -> None:
        """Let everything through, also what waits."""
        self._open.set()

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Carry connections until the end of the block."""
        link = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError), socket.create_connection(link._there, timeout=5) as there:
                    there.settimeout(None)
                    back = threading.Thread(target=link._carry, args=(there, self.request), daemon=True)
                    back.start()
                    link._carry(self.request, there)
                    back.join()

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        with Listener(("127.0.0.1", 0), Handler) as listener:
            self.port = listener.server_address[1]
            thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield
            finally:
                self.mend()
                listener.shutdown()
                thread.join()

    def _carry(self, source: Any, sink: Any) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                sink.sendall(data)
        for one, how in ((source, socket.SHUT_RD), (sink, socket.SHUT_WR)):
            with suppress(OSError):
                one.shutdown(how)
