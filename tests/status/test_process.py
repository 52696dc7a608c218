"""`kvsync run` as a process, over SQLite and an emulator, asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import aiohttp

from kvsync.emulators.model import Options
from kvsync.emulators.server import running
from tests.daemon.support import BOUND, until
from tests.status.support import BEARER, RUN, SECRET, TOKEN, DaemonProcess, process, repository, want

QUIET = RUN.replace("every: 1h", "every: 1h, watch: false")
HOOKS = 10_000


def held(folder: Path, key: str = "a") -> str | None:
    with closing(sqlite3.connect(folder / "store.db")) as database:
        row = database.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
    return row and bytes(row[0]).decode()


def port_of(daemon: DaemonProcess) -> int:
    return int(daemon.url.rpartition(":")[2])


async def flood(port: int, count: int) -> int:
    """Send so many hooks over one connection, one behind the other, and count the answers that say 202."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = (
        f"POST /hooks/reconcile HTTP/1.1\r\nHost: localhost\r\nX-Kvsync-Token: {SECRET}\r\nContent-Length: 0\r\n\r\n"
    )

    async def send() -> None:
        for _ in range(count):
            writer.write(request.encode())
            await writer.drain()

    sending, answers = asyncio.create_task(send()), 0
    while answers < count:
        line = await reader.readline()
        assert line, f"hung up after {answers}"
        answers += line.startswith(b"HTTP/1.1 202")
        assert not line.startswith(b"HTTP/") or b" 202 " in line, line
    await sending
    writer.close()
    return answers


async def test_a_flood_of_hooks_is_few_passes_and_none_is_lost(tmp_path: Path) -> None:
    """Ten thousand hooks are answered, cause a pass every two seconds at most, and the last is followed by a pass that began
    after it."""
    repository(tmp_path, QUIET)
    async with process(tmp_path) as daemon:
        await daemon.listens()
        await daemon.logged("daemon.ready")
        began = time.monotonic()
        async with asyncio.timeout(240):
            answers = await asyncio.gather(*(flood(port_of(daemon), HOOKS // 4) for _ in range(4)))
        want(tmp_path, a="2")
        assert (await daemon.post("/hooks/reconcile", X_Kvsync_Token=SECRET)).status == 202
        seconds = time.monotonic() - began
        await until(lambda: held(tmp_path) == "2")
        metrics = await daemon.metrics()
    assert sum(answers) == HOOKS
    assert metrics['kvsync_hook_requests_total{result="accepted"}'] == HOOKS + 1
    assert len(daemon.events("pass.finished", trigger="hook")) <= 2 + seconds / 2


async def test_sigterm_with_open_connections(tmp_path: Path) -> None:
    """Idle connections, half requests and answers that nobody reads keep the daemon no longer than it needs: it leaves
    with 0, and listens no more."""
    repository(tmp_path)
    async with process(tmp_path) as daemon:
        await daemon.listens()
        await daemon.logged("daemon.ready")
        port, writers = port_of(daemon), []
        for sent in (
            b"",
            b"GET /metr",
            b"POST /hooks/reconcile HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            writers.append(writer)
        deaf = socket.create_connection(("127.0.0.1", port))
        deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
        await daemon.get("/healthz")
        daemon.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(BOUND):
            assert await daemon.over() == 0
        deaf.close()
        for writer in writers:
            writer.transport.abort()
    assert "Traceback" not in daemon.raw
    assert daemon.events("daemon.stopped")


async def test_a_port_in_use_is_said_in_words(tmp_path: Path) -> None:
    """Where another program listens the daemon does not start: exit code 1, and the address and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        repository(tmp_path, f"run: {{listen: '127.0.0.1:{port}'}}\n")
        async with process(tmp_path) as daemon:
            assert await daemon.over() == 1
    assert f"cannot listen on 127.0.0.1:{port}: another program is using that port" in daemon.raw
    assert "Traceback" not in daemon.raw


async def test_a_token_that_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    """A token that is not there ends the start with its place in the file, and nothing ever listens."""
    repository(tmp_path, RUN.replace("{env: TOKEN}", "{file: nowhere}"))
    async with process(tmp_path) as daemon:
        assert await daemon.over() == 1
    assert "run.token: kvsync.yaml:6:" in daemon.raw
    assert "http.listening" not in daemon.raw


async def test_sighup_moves_the_server(tmp_path: Path) -> None:
    """A changed address is taken over by SIGHUP; one that cannot be keeps the old one and says so, as a broken file does; no
    address any more ends it."""
    repository(tmp_path)
    async with process(tmp_path) as daemon:
        await daemon.listens()
        first = daemon.url
        with socket.create_server(("127.0.0.1", 0)) as taken:
            repository(tmp_path, RUN.replace("127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"))
            daemon.process.send_signal(signal.SIGHUP)
            failed = await daemon.logged("http.unavailable")
            assert "another program is using that port" in failed["error"]
            assert (await daemon.get("/healthz")).status == 200
        repository(tmp_path, RUN.replace("127.0.0.1:0", "0.0.0.0:0").replace("token: {env: TOKEN},", ""))
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logged("config.invalid")
        assert (await daemon.get("/status")).status == 200
        repository(tmp_path, RUN.replace("127.0.0.1:0", "localhost:0"))
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.listens(2)
        assert daemon.url != first
        assert (await daemon.get("/status")).status == 200
        assert (await daemon.post("/pause/main", **BEARER)).status == 200
        repository(tmp_path, "run: {every: 1h}\n")
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logged("config.reloaded", 3)
        await until(lambda: not _answers(port_of(daemon)))
        daemon.process.send_signal(signal.SIGTERM)
        assert await daemon.over() == 0


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


async def test_metrics_over_a_real_api(tmp_path: Path) -> None:
    """Requests by status, what is left of the quota, and a store that is down are seen while the other store goes on."""
    async with running(Options("cloudflare-kv")) as api, aiohttp.ClientSession() as session:
        account = api.env["CLOUDFLARE_ACCOUNT_ID"]
        edge = f"edge: {{type: cloudflare-kv, endpoint: '{api.url}', account_id: '{account}', token: {{env: CF}}, timeout: 10s"
        stores = f"main: {{type: sqlite, path: store.db}}, {edge}, create_namespaces: true}}"
        repository(tmp_path, QUIET, stores)
        want(tmp_path, "edge", "web", a="1")
        async with process(tmp_path, CF=api.env["CLOUDFLARE_API_TOKEN"]) as daemon:
            await daemon.listens()
            await daemon.becomes("in-sync", "edge/web")
            before = await daemon.metrics()
            control = f"http://{api.url.split('/')[2]}/_emulator/faults"
            await session.put(control, data=json.dumps({"spec": "500:1"}))
            await daemon.post("/hooks/reconcile", X_Kvsync_Token=SECRET)
            failing = await daemon.becomes("failing", "edge/web")
            after, other = await daemon.metrics(), await daemon.target("main/web")
    assert before['kvsync_store_requests_total{status="200",store="edge"}'] >= 3
    assert 1100 < before['kvsync_store_quota_remaining_requests{store="edge"}'] < 1200
    assert before['kvsync_store_available{store="edge"}'] == 1
    assert before['kvsync_changes_total{action="create",namespace="web",outcome="applied",store="edge"}'] == 1
    assert after['kvsync_store_available{store="edge"}'] == 0
    assert after['kvsync_store_requests_total{status="500",store="edge"}'] >= 1
    assert failing["nearest_end"] is None
    assert other["state"] == "in-sync"
    assert 'kvsync_store_quota_remaining_requests{store="main"}' not in after


async def test_nothing_listens_and_nothing_is_loaded_without_an_address(tmp_path: Path) -> None:
    """Without `run.listen` the daemon neither listens nor loads the library that would."""
    repository(tmp_path, "run: {every: 1h}\n")
    async with process(tmp_path, PYTHONVERBOSE="1") as daemon:
        await daemon.logged("daemon.ready")
        daemon.process.send_signal(signal.SIGTERM)
        assert await daemon.over() == 0
    assert not daemon.events("http.listening")
    assert "import 'kvsync.status.collector'" in daemon.raw
    assert not [name for name in ("aiohttp", "prometheus_client") if f"import '{name}'" in daemon.raw]


async def test_the_log_holds_no_token(tmp_path: Path) -> None:
    """Whoever asks wrongly or rightly: neither token nor secret is in the log, but who was refused is."""
    repository(tmp_path)
    async with process(tmp_path) as daemon:
        await daemon.listens()
        await daemon.post("/pause/main", Authorization="Bearer wrong-token-1234")
        await daemon.post(f"/pause/main?token={TOKEN}", **BEARER)
        await daemon.get("/" + TOKEN)
        await daemon.post("/hooks/reconcile", X_Kvsync_Token=SECRET + "x")
        denied = await daemon.logged("http.denied", 2)
        begun = await daemon.logged("pause.begun")
    assert (denied["reason"], denied["remote"]) == ("signature is wrong", "127.0.0.1")
    assert (begun["store"], begun["by"]) == ("main", "http")
    assert not [secret for secret in (TOKEN, SECRET, "wrong-token-1234") if secret in daemon.raw]


async def test_health_is_answered_while_much_is_logged(tmp_path: Path) -> None:
    """Between the first event of a large pass and its last, other requests get their answers."""
    repository(tmp_path)
    want(tmp_path, **{f"key{number}": "x" for number in range(5_000)})
    async with process(tmp_path) as daemon:
        await daemon.listens()
        await daemon.logged("change.applied")
        answers = 0
        while not daemon.events("pass.finished"):
            assert (await daemon.get("/healthz")).status == 200
            answers += 1
    assert answers >= 5
