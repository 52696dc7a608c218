"""The transport: what goes over the wire, and through which proxy."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from kvsync.errors import PermanentError
from kvsync.http.model import NotAnsweredError, NotSentError, Request
from kvsync.http.proxy import proxy_for
from kvsync.http.transport import Transport, host_of
from kvsync.http.trust import trusting
from tests.http.script_server import Act, disconnects, hangs_up, resets, says, serving
from tests.support.calls import counted_calls

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
TARGET = "/kv/a%2Fb%25c/../d?x=%2a&y=%C3%A9"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_a_request_has_the_headers_it_needs_and_no_others() -> None:
    """Host, length, the caller's headers and who we are; an answer is never compressed, nor are cookies sent back."""
    async with serving(says(200, Set_Cookie="a=1")) as server:
        wire = Transport(server.origin, 1)
        for _ in range(2):
            await wire.exchange(Request("PUT", TARGET, "writing", body=b"{}"), {"If-Match": '"e"'}, 5)
        await wire.aclose()
    seen = server.seen[-1]
    assert seen.line == f"PUT {TARGET} HTTP/1.1"
    assert set(seen.headers) == {"host", "user-agent", "content-length", "content-type", "if-match"}
    assert seen.headers["host"] == host_of(server.origin)
    assert seen.headers["user-agent"].startswith("kvsync/")


async def test_a_header_is_not_copied_from_layer_to_layer() -> None:
    """Twenty headers more cost no more calls in httpx: they go straight to the client that sends them."""
    few, many = ({f"X-Name-{number}": "value" for number in range(count)} for count in (2, 22))
    counts = []
    async with serving(says(200)) as server:
        wire = Transport(server.origin, 1)
        for headers in (few, few, many):
            with counted_calls("httpx") as calls:
                await wire.exchange(Request("PUT", "/a", "writing", body=b"{}"), headers, 5)
            counts.append(calls.count)
        await wire.aclose()
    assert counts[1] == counts[2] > 0
    assert {name.lower() for name in many} < set(server.seen[-1].headers)


async def test_a_request_costs_few_calls_in_httpx() -> None:
    """httpx's objects are envelopes: nothing is parsed, encoded or copied in them, on the way out or back."""
    async with serving(says(200, b"{}", ETag='"a"')) as server:
        wire, call = Transport(server.origin, 1), Request("PUT", TARGET, "writing", body=b"{}")
        await wire.exchange(call, {"If-Match": '"e"'}, 5)
        with counted_calls("httpx") as calls:
            await wire.exchange(call, {"If-Match": '"e"'}, 5)
        await wire.aclose()
    assert 0 < calls.count <= 12


def test_the_command_line_program_of_httpx_is_not_imported() -> None:
    """It imports a library for terminals, which takes as long as all connections do. Who asks for it later gets it."""
    imported = "print('rich' in sys.modules)"
    code = f"import sys, kvsync.http.transport; {imported}; import httpx._main; {imported}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\nTrue\n", "")


@pytest.mark.parametrize("value", ["Grüße", "a\r\nX-More: 1", "a\nb", "a\0b"])
async def test_a_header_that_http_cannot_carry_is_not_sent(value: str) -> None:
    """Other characters than ASCII are refused in words, and no line break begins another header."""
    async with serving(says(200)) as server:
        wire = Transport(server.origin, 1)
        with pytest.raises(PermanentError, match="check the credential"):
            await wire.exchange(Request("GET", "/a", "reading"), {"Authorization": value}, 5)
        await wire.aclose()
    assert not server.seen


@pytest.mark.parametrize("size", [0, 1, 512 * 1024, 512 * 1024 + 1, 3_000_000])
async def test_a_body_of_any_length_arrives_whole(size: int) -> None:
    """A long body goes out in pieces, and its length is announced all the same."""
    body = bytes(number % 251 for number in range(size))
    async with serving(says(200)) as server:
        wire = Transport(server.origin, 1)
        await wire.exchange(Request("PUT", "/a", "writing", body=body), {}, 5)
        await wire.aclose()
    assert server.seen[0].body == body
    assert server.seen[0].headers["content-length"] == str(size)
    assert "transfer-encoding" not in server.seen[0].headers


@pytest.mark.parametrize(("size", "how"), [(30_000, "late"), (400_000, "late"), (400_000, "cancelled")])
async def test_a_write_that_is_given_up_never_arrives(size: int, how: str) -> None:
    """A body that a slow server has not read yet is dropped when the time is over, or the write is cancelled: it is not
    delivered later, when another replica may lead."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.setblocking(False)
        wire = Transport(f"http://127.0.0.1:{listener.getsockname()[1]}", 1)
        call = Request("PUT", "/a", "writing", body=b"x" * size)
        sending = asyncio.ensure_future(wire.exchange(call, {}, 0.2 if how == "late" else 60))
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(listener)
        received = await loop.sock_recv(connection, 1)
        if how == "cancelled":
            sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        try:
            while piece := await loop.sock_recv(connection, 65536):
                received += piece
        except ConnectionResetError:
            pass
        connection.close()
        await wire.aclose()
    assert len(received) < size


async def test_a_compressed_answer_stays_compressed() -> None:
    """Nothing is decoded that was not asked for: what a body costs is what was sent."""
    async with serving(says(200, b"not gzip", Content_Encoding="gzip")) as server:
        wire = Transport(server.origin, 1)
        assert (await wire.exchange(Request("GET", "/a", "reading"), {}, 5)).body == b"not gzip"
        await wire.aclose()


async def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY names the proxy, which gets the target as it was written; NO_PROXY makes an exception."""
    async with serving(says(200)) as proxy, serving(says(200)) as server:
        monkeypatch.setenv("http_proxy", proxy.origin)
        wire = Transport("http://store.invalid:8080", 1)
        await wire.exchange(Request("GET", TARGET, "reading"), {}, 5)
        await wire.aclose()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        direct = Transport(server.origin, 1)
        await direct.exchange(Request("GET", "/a", "reading"), {}, 5)
        await direct.aclose()
    assert [one.line for one in proxy.seen] == [f"GET http://store.invalid:8080{TARGET} HTTP/1.1"]
    assert proxy.seen[0].headers["host"] == "store.invalid:8080"
    assert [one.line for one in server.seen] == ["GET /a HTTP/1.1"]


@pytest.mark.parametrize(
    ("origin", "is_direct"),
    [
        ("http://169.254.169.254", True),
        ("http://[fe80::1]:80", True),
        ("http://192.0.2.1", False),
        ("http://a.example", False),
    ],
)
def test_link_local_addresses_are_never_reached_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, origin: str, is_direct: bool
) -> None:
    """The identity service of this machine is not that of the proxy's, and what it answers is a credential."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert (proxy_for(origin) is None) is is_direct


@pytest.mark.parametrize("act", [resets, disconnects, hangs_up], ids=["reset", "disconnected", "hung-up"])
@pytest.mark.parametrize("is_kept", [False, True], ids=["new", "kept"])
async def test_a_connection_that_breaks_is_never_called_unsent(act: Act, is_kept: bool) -> None:
    """When the connection breaks after it was made, the request may have arrived: on a new connection as on a kept one."""
    async with serving(says(200), act) if is_kept else serving(act) as server:
        wire, call = Transport(server.origin, 1), Request("PUT", "/a", "writing", body=b"{}")
        if is_kept:
            await wire.exchange(call, {}, 5)
        with pytest.raises(
            NotAnsweredError, match=r"the connection to \S+:\d+ was lost before the response arrived \(\w+Error\)"
        ):
            await wire.exchange(call, {}, 5)
        await wire.aclose()
    assert len(server.seen) == 1 + is_kept


async def test_a_name_that_is_not_known_is_unsent() -> None:
    """Where no connection came about, nothing was sent."""
    transport = Transport("http://store.invalid", 1)
    with pytest.raises(NotSentError, match=r"no connection to \S+: "):
        await transport.exchange(Request("PUT", "/a", "writing"), {}, 5)
    await transport.aclose()


async def test_a_server_without_tls_is_a_failed_handshake() -> None:
    """An https endpoint whose server speaks plain HTTP fails in the handshake, without an error number of the system."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    transport = Transport(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", 1)
    with pytest.raises(NotSentError, match=r"the TLS handshake failed \(.+\); check that the endpoint speaks HTTPS"):
        await transport.exchange(Request("GET", "/a", "reading"), {}, 5)
    await transport.aclose()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("url", ["http://user:s3cret@127.0.0.1:1", "user:s3cret@127.0.0.1:1"])
async def test_a_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The message names the proxy and its variable, with or without a scheme, and never its password."""
    monkeypatch.setenv("http_proxy", url)
    transport = Transport("http://store.invalid", 1)
    with pytest.raises(NotSentError) as caught:
        await transport.exchange(Request("GET", "/a", "reading"), {}, 5)
    await transport.aclose()
    assert "the proxy http://127.0.0.1:1 (from HTTP_PROXY): Connection refused" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_wants_a_password_is_asked_once(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """Status 407, to the request or to CONNECT, is an error that no repetition mends."""
    async with serving(says(407)) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.origin)
        transport = Transport(f"{scheme}://store.invalid", 1)
        with pytest.raises(PermanentError, match="requires a password"):
            await transport.exchange(Request("GET", "/a", "reading"), {}, 5)
        await transport.aclose()
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1", "http://", "http://[::1", "http://a:port"])
async def test_a_proxy_that_cannot_be_used_is_an_error(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What is not the URL of an HTTP proxy is refused in words, with the name of the variable."""
    monkeypatch.setenv("http_proxy", url)
    with pytest.raises(PermanentError, match="correct HTTP_PROXY"):
        Transport("http://store.invalid", 1)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty"])
def test_authorities_that_cannot_be_read_are_named(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA file that is missing, a folder or without certificates is an error with its path, whoever names it."""
    path = tmp_path / "ca.pem"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_text("nothing")
    with pytest.raises(PermanentError, match=f"the CA certificates {path} cannot be used"):
        trusting(path, trusting_nobody)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(PermanentError, match=rf"{path} \(from SSL_CERT_FILE\) cannot be used"):
        Transport("https://store.invalid", 1)


def trusting_nobody() -> ssl.SSLContext:
    """A context without authorities."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def test_a_header_that_http_cannot_carry_is_an_error() -> None:
    """A credential pasted with foreign characters is an error in words, which does not repeat it."""
    transport = Transport("http://127.0.0.1:1", 1)
    with pytest.raises(PermanentError, match="check the credential") as caught:
        await transport.exchange(Request("GET", "/a", "reading"), {"Authorization": "Bearer s3cr\u00e9t\u2026"}, 5)
    await transport.aclose()
    assert "s3cr" not in str(caught.value)
