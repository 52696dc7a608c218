"""Server responses crafted to stall kvsync, exhaust its memory, feed it wrong data, or inject text into its output.

Each is served to every request by a server in a thread, whatever the request is. What it costs to be asked is bounded: after
`MOST_REQUESTS` the server only hangs up, so that a command which never stops asking fails its test and still ends.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import socketserver
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final
from urllib.parse import quote

from tests.support.hostile_text import HOSTILE

CANARY: Final = 'Canary-0f "9317" the value! 5d2e'
"""A sensitive value of the state files."""

TOKEN: Final = "tok-canary-4c1d7b90aa35"
"""A credential of the store."""

FORMS: Final = (CANARY, b64encode(CANARY.encode()).decode(), quote(CANARY), TOKEN, b64encode(TOKEN.encode()).decode())
"""What must be nowhere."""

MOST_REQUESTS: Final = 400
"""Far more than a command may need for the few entries of these tests."""

MOST_BYTES: Final = 256 * 2**20
"""What a command may take of an answer without end, over all repetitions."""

_DRIP_SECONDS: Final = 0.02
_STATUSES: Final = (400, 401, 403, 404, 409, 412, 429, 500, 503)


@dataclass(frozen=True)
class Request:
    """What was asked: the `number`th request since the server began."""

    number: int
    method: str
    target: str
    body: bytes
    gone: threading.Event
    """Set when the test is over."""


Answering = Callable[[Request], Iterator[bytes]]


@dataclass(frozen=True)
class Hostile:
    """An answer. `is_plausible` says that a service may answer so, and that there may be nothing wrong with reading it."""

    answer: Answering
    is_plausible: bool = False
    finds_namespace: bool = False
    """True when the lookup of the namespace is answered well, which is all that `doctor` may ask for."""


class Server:
    """Serves one hostile answer, and counts."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests = 0
        self.sent = 0


@contextmanager
def serving(answer: Answering) -> Iterator[Server]:
    """Serve on this machine until the end of the block."""
    gone, lock = threading.Event(), threading.Lock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                request = self.read()
                if request is not None and request.number <= MOST_REQUESTS:
                    for piece in answer(request):
                        self.request.sendall(piece)
                        with lock:
                            server.sent += len(piece)

        def read(self) -> Request | None:
            words = self.rfile.readline(65537).split()
            length = 0
            while (line := self.rfile.readline(65537)) not in (b"\r\n", b""):
                name, _, text = line.partition(b":")
                length = int(text) if name.lower() == b"content-length" else length
            body = self.rfile.read(length)
            if len(words) < 2:
                return None
            with lock:
                server.requests += 1
                return Request(server.requests, words[0].decode(), words[1].decode(), body, gone)

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

        def shutdown_request(self, request: Any) -> None:
            with suppress(OSError):
                request.shutdown(socket.SHUT_WR)
            self.close_request(request)

    with Listener(("127.0.0.1", 0), Handler) as listener:
        server = Server(f"http://127.0.0.1:{listener.server_address[1]}")
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            gone.set()
            listener.shutdown()
            thread.join()


# -- how an answer is put together ------------------------------------------------------------------------------------


def head(status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """A status line and headers, up to the blank line."""
    named = {"Content-Type": "application/json", "Connection": "close", **(headers or {})}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {text}" for name, text in named.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass")


def whole(body: bytes | str, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer."""
    content = body.encode() if isinstance(body, str) else body
    return head(status, {"Content-Length": str(len(content)), **(headers or {})}) + content


def always(body: bytes | str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answering:
    """The same answer to every request."""
    made = whole(body, status, headers)
    return lambda _request: iter([made])


def in_namespace(body: bytes | str) -> Answering:
    """The same answer to every request but those that look for the namespace, which is found."""

    def answer(request: Request) -> Iterator[bytes]:
        path = request.target.partition("?")[0]
        if re.search("/key-value-stores/[^/]+$", path):
            yield whole(json.dumps({"data": {"id": "i0", "name": "web", "userId": "u"}}))
        elif re.search("/namespaces/[^/]+$", path):
            yield whole(json.dumps({"success": True, "result": {"id": "0" * 32, "title": "web"}}))
        elif path.endswith("/namespaces"):
            found = [{"id": "0" * 32, "title": "web"}]
            yield whole(json.dumps({"success": True, "result": found, "result_info": {"total_count": 1}}))
        else:
            yield whole(body)

    return answer


def sending(*pieces: bytes) -> Answering:
    """These bytes, after which the connection is closed."""
    return lambda _request: iter(pieces)


def page(request: Request, rows: int, link: str | None = None) -> bytes:
    """A page, in the form of whatever service is asked, that is not the last one."""
    number, path = request.number, request.target.partition("?")[0]
    names = [f"web:{number}-{row}" for row in range(rows)]
    if "/v2/" in path:
        return whole(json.dumps(_apify(path, number, names)))
    if "/accounts/" in path:
        return whole(json.dumps(_cloudflare(path, number, names)))
    if "/platform_api" in path:
        items = [{"key": name, "value": "x", "expires_at": 2e9} for name in names]
        applications = [{"application_id": number, "application_name": f"a{number}"}]
        result = applications if b"GetApplications" in request.body else items
        return whole(json.dumps({"result": result, "count": len(items), "total_count": 10**12}))
    following = link if link is not None else f"{path}?after={number}"
    rows_of = [{"name": name, "key": name, "value": "x", "etag": name, "tags": {}} for name in names]
    headers = {"Link": f'<{following}>; rel="next"', "ETag": f'"{number}"'}
    return whole(json.dumps({"items": rows_of, "etag": str(number), "@nextLink": following}), 200, headers)


def _apify(path: str, number: int, names: list[str]) -> Any:
    if path.endswith("/keys"):
        items = [{"key": name, "size": 1} for name in names]
        return {"data": {"items": items, "isTruncated": True, "nextExclusiveStartKey": f"z{number:012}"}}
    if path.endswith("/key-value-stores"):
        items = [{"id": f"i{number}", "name": f"n{number}"}]
        return {"data": {"items": items, "total": 10**12, "id": "i", "name": "web"}}
    return {"data": {"id": "i0", "name": "web", "userId": "u", "username": "u"}}


def _cloudflare(path: str, number: int, names: list[str]) -> Any:
    good = {"success": True, "errors": [], "messages": []}
    if path.endswith("/keys"):
        items: Any = [{"name": name} for name in names]
        return {**good, "result": items, "result_info": {"count": len(items), "cursor": f"c{number}"}}
    if path.endswith("/namespaces"):
        items = [{"id": f"i{number}", "title": "web" if number == 1 else f"t{number}"}]
        return {**good, "result": items, "result_info": {"total_count": 10**12}}
    return {**good, "result": {"id": "0" * 32, "title": "web"}}


def envelope(status: int, text: str) -> str:
    """An error in all the forms that these services have for it at once."""
    error = {"type": text, "code": 497, "msg": text, "message": text}
    fields = {"title": text, "detail": text, "name": text, "message": text, "status": status, "success": False}
    return json.dumps({**fields, "errors": [error, error], "error": error})


def refusing(status: int) -> Answering:
    """An error that says something else at each request: all hostile texts, then the canary in its forms."""
    texts = [*(f"refused {form} again" for form in FORMS), *HOSTILE]
    bodies = [envelope(status, " ".join(texts))] + [envelope(status, text) for text in texts]

    def answer(request: Request) -> Iterator[bytes]:
        named = {"WWW-Authenticate": f'HMAC error_description="{FORMS[request.number % len(FORMS)]}"'}
        named |= dict.fromkeys(("x-ms-request-id", "x-request-id", "cf-ray"), FORMS[1 + request.number % 3])
        yield whole(bodies[request.number % len(bodies)], status, named)

    return answer


def dripping(request: Request) -> Iterator[bytes]:
    """A body that comes byte by byte, and never ends."""
    yield head() + b'{"result":"'
    while not request.gone.wait(_DRIP_SECONDS):
        yield b"x"


def flooding(status: int) -> Answering:
    """A body that comes as fast as it is taken, and never ends."""

    def answer(_request: Request) -> Iterator[bytes]:
        yield head(status) + b'{"result":"'
        yield from repeat(b"x" * 2**18)

    return answer


def dripping_headers(request: Request) -> Iterator[bytes]:
    """Headers that never end, slowly."""
    yield b"HTTP/1.1 200 OK\r\n"
    while not request.gone.wait(_DRIP_SECONDS):
        yield b"X-A: b\r\n"


def silent(request: Request) -> Iterator[bytes]:
    """Nothing at all."""
    request.gone.wait()
    yield b""


def redirecting(location: Callable[[Request], str], status: int = 302) -> Answering:
    """A redirect."""
    return lambda request: iter([whole("", status, {"Location": location(request)})])


def hostile() -> dict[str, Hostile]:
    """All of them, by name."""
    deep, huge = 100_000, 10**400
    portal = f"<html><body><h1>Log in</h1>{TOKEN}\n::error::x\x1b[31m</body></html>"
    bomb = gzip.compress(b'{"result":"' + b"x" * 2**26 + b'"}')
    json_bodies: dict[str, bytes | str] = {
        "empty object": "{}",
        "array": "[]",
        "number": "1",
        "null": "null",
        "string": '"text"',
        "true": "true",
        "empty body": "",
        "no JSON": "\x00\x01\x02",
        "not UTF-8": b'{"result": "\xff\xfe"}',
        "nested arrays": "[" * deep + "]" * deep,
        "nested objects": '{"result":' * deep + "1" + "}" * deep,
        "lone surrogates": '{"result": "\\ud800", "data": {"id": "\\udfff"}, "items": "\\ud800", "error": {"msg": "\\ud800"}}',
        "duplicate names": '{"result": 1, "result": [], "data": 1, "data": [], "items": 1, "items": {}}',
        "NaN": '{"result": NaN, "data": {"items": NaN, "total": Infinity}, "items": NaN, "error": {"code": NaN}}',
        "long number": '{"result": ' + "9" * 10_000 + "}",
        "members of other types": '{"result": {"a": 1}, "data": "x", "items": {"a": 1}, "errors": "x", "success": "yes"}',
        "members in lists of other types": json.dumps(
            {
                "success": True,
                "result": [1, None, "x", []],
                "data": {"items": [1, None], "total": "x"},
                "items": [None, 1],
            }
        ),
        "entries with fields of other types": json.dumps(
            {
                "success": True,
                "result": [{"key": "web:a", "name": ["x"], "title": {}, "id": 1, "value": {}, "expires_at": "x"}] * 2
                + [
                    {"name": "a", "expiration": ["x"], "metadata": [1]},
                    {"name": "web:b", "expiration": "soon", "metadata": 7},
                ],
                "data": {"items": [{"key": {}, "size": "x", "name": 1}], "id": ["x"], "name": {}, "total": -1},
                "items": [{"key": 1, "etag": None, "value": [], "tags": [], "name": {}}],
            }
        ),
        "numbers without measure": json.dumps(
            {
                "success": True,
                "result": [{"key": "web:a", "name": "a", "value": "x", "expires_at": huge, "expiration": huge}],
                "result_info": {"count": huge, "total_count": huge},
                "data": {
                    "id": "i",
                    "name": "web",
                    "items": [{"key": "a", "size": huge}],
                    "total": huge,
                    "isTruncated": False,
                },
                "items": [{"key": "web:a", "etag": "e", "value": "x", "last_modified": huge}],
            }
        ),
    }
    believed = {"numbers without measure"}
    found = {name: Hostile(always(body), is_plausible=name in believed) for name, body in json_bodies.items()}
    found |= {
        "captive portal": Hostile(always(portal, headers={"Content-Type": "text/html"})),
        "drip": Hostile(dripping),
        "drip of headers": Hostile(dripping_headers),
        "silence": Hostile(silent),
        "flood": Hostile(flooding(200)),
        "flood of an error": Hostile(flooding(500)),
        "flood of a refusal": Hostile(flooding(403)),
        "gzip bomb": Hostile(always(bomb, headers={"Content-Encoding": "gzip"})),
        "deflate of nonsense": Hostile(always("nonsense", headers={"Content-Encoding": "deflate, gzip, br"})),
        "length too long": Hostile(sending(head(200, {"Content-Length": "1000000"}) + b'{"result": []}')),
        "length too short": Hostile(sending(head(200, {"Content-Length": "3"}) + b'{"result": []}')),
        "length without measure": Hostile(sending(head(200, {"Content-Length": "9" * 40}) + b"{}")),
        "negative length": Hostile(sending(head(200, {"Content-Length": "-1"}) + b"{}")),
        "two lengths": Hostile(sending(head(200, {"Content-Length": "2\r\nContent-Length: 3"}) + b"{}")),
        "broken chunks": Hostile(sending(head(200, {"Transfer-Encoding": "chunked"}) + b"zz\r\n{}\r\n")),
        "many headers": Hostile(always("{}", headers={f"X-{n}": "y" for n in range(5000)})),
        "long header": Hostile(always("{}", headers={"X-Long": "y" * 2**20})),
        "long status line": Hostile(sending(b"HTTP/1.1 200 " + b"y" * 2**20 + b"\r\n\r\n{}")),
        "control characters in headers": Hostile(
            always("{}", headers={"X-A": "b\x00\x1b[31m", "Date": "\x01", "ETag": "\x02"})
        ),
        "no HTTP": Hostile(sending(b"SSH-2.0-OpenSSH_9.9\r\n" + TOKEN.encode() + b"\n::error::x\r\n\r\n")),
        "status without measure": Hostile(sending(b"HTTP/1.1 99999 X\r\n\r\n")),
        "status 999": Hostile(always(envelope(999, CANARY), 999)),
        "only informational": Hostile(sending(b"HTTP/1.1 100 Continue\r\n\r\n" * 50)),
        "no content": Hostile(sending(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n")),
        "not modified": Hostile(sending(b"HTTP/1.1 304 X\r\nConnection: close\r\n\r\n")),
        "closed before the answer": Hostile(sending()),
        "closed within the head": Hostile(sending(b"HTTP/1.1 200 OK\r\nContent-Le")),
        "closed within the body": Hostile(sending(head(200, {"Content-Length": "100"}) + b'{"resu')),
        "closed after the head": Hostile(sending(head())),
        "redirect to itself": Hostile(redirecting(lambda request: request.target)),
        "redirect to another host": Hostile(redirecting(lambda _: f"http://127.0.0.2:9/{TOKEN}", 307)),
        "redirect to a file": Hostile(redirecting(lambda _: "file:///etc/passwd", 301)),
        "redirect to nonsense": Hostile(redirecting(lambda _: "http://[::1/\x1b", 308)),
        "retry after ten years": Hostile(always(envelope(503, "x"), 503, {"Retry-After": "315360000"})),
        "retry after a far date": Hostile(
            always(envelope(429, "x"), 429, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"})
        ),
        "retry after garbage": Hostile(
            always(envelope(429, "x"), 429, {"Retry-After": "\x1b-1e999 NaN", "retry-after-ms": "1e400"})
        ),
        "ratelimit without measure": Hostile(
            always(envelope(429, "x"), 429, {"Ratelimit": '"a";r=0;t=999999999999', "Retry-After": "-5"})
        ),
        "empty pages without end": Hostile(lambda request: iter([page(request, 0)]), is_plausible=True),
        "pages without end": Hostile(lambda request: iter([page(request, 1)]), is_plausible=True),
        "pages that lead to another host": Hostile(
            lambda request: iter([page(request, 1, "@127.0.0.2:9/kv" if request.number == 1 else ".evil.example/kv")]),
        ),
        "pages that lead to no path": Hostile(lambda request: iter([page(request, 1, "javascript:x y\x7f")])),
    }
    found |= {
        f"{name}, in a namespace": Hostile(in_namespace(body), is_plausible=name in believed, finds_namespace=True)
        for name, body in json_bodies.items()
    }
    moments = {"moment far away": 10**18, "moment long ago": -(10**18), "moment that is not a number": float("nan")}
    for name, number in moments.items():
        entry = {"key": "web:plain", "name": "plain", "value": "x", "expires_at": number, "expiration": number}
        items = [{"key": "web:plain", "etag": "e", "value": "x", "tags": {"kvsync.until": "99999-01-01"}}]
        body = {"success": True, "result": [entry], "result_info": {"count": 1}, "items": items}
        found[name] = Hostile(in_namespace(json.dumps(body)), is_plausible=True)
    found |= {
        f"hostile text with status {status}": Hostile(refusing(status), is_plausible=status == 404)
        for status in _STATUSES
    }
    found["hostile text with status 200"] = Hostile(refusing(200))
    return found
