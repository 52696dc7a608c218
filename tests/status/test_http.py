"""What the daemon answers, path by path, and to whom."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import resource
import socket
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kvsync.config.model import RunConfig
from kvsync.model.entry import Target
from kvsync.model.result import Trigger
from kvsync.status.http import connections, server
from kvsync.status.http.access import RefusalLimiter, _is_here
from kvsync.status.http.body import LARGEST_BODY
from kvsync.stores.base import WriteStatus
from kvsync.stores.memory.store import MemoryStore
from kvsync.util.waits import WAITS, waiting_place
from tests.daemon.support import BOUND, Log, ManualClock, until
from tests.status.support import BEARER, ENVIRON, RUN, SECRET, TOKEN, InProcessDaemon, live
from tests.support.memory_repository import MemoryRepository

HOOK = "/hooks/reconcile"
SHOWN = {"X_Kvsync_Token": SECRET}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRepository:
    repo = MemoryRepository(tmp_path, monkeypatch)
    repo.configure(more=RUN)
    repo.want({"a": 1, "b": "{value: x, ttl: 3h}"})
    return repo


@pytest.fixture
async def daemon(repo: MemoryRepository, log: Log) -> AsyncIterator[InProcessDaemon]:
    async with live(repo) as running:
        await running.becomes("in-sync")
        yield running


async def test_health_and_readiness(daemon: InProcessDaemon) -> None:
    """The process is alive, and ready once every target had its first pass; both in JSON, and without a body for HEAD."""
    assert (await daemon.get("/healthz")).json == {"ok": True}
    ready = await daemon.get("/readyz")
    assert (ready.status, ready.json["ready"]) == (200, True)
    head = await daemon.ask("HEAD", "/readyz")
    assert (head.status, head.body) == (200, b"")


async def test_not_ready_before_every_target_had_its_first_pass(
    repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a first pass hangs the daemon is alive and not ready; then it is."""
    go_on, observe = asyncio.Event(), MemoryStore.observe

    async def slow(*arguments: Any) -> Any:
        await go_on.wait()
        return await observe(*arguments)

    monkeypatch.setattr(MemoryStore, "observe", slow)
    async with live(repo) as daemon:
        await daemon.becomes("waiting", running=True)
        found = await daemon.get("/readyz")
        assert (found.status, found.json) == (503, {"ready": False, "waiting": 1, "leaving": False})
        assert (await daemon.get("/healthz")).status == 200
        go_on.set()
        await daemon.becomes("in-sync")
        assert (await daemon.get("/readyz")).status == 200


async def test_status_has_all_of_the_command_and_more(daemon: InProcessDaemon) -> None:
    """`/status` holds what `kvsync status -o json` holds, with the same words, and the snapshot next to it."""
    from kvsync.status.document import status_document

    document = await daemon.status()
    assert daemon.serving is not None
    command = status_document(daemon.serving._workspace.state, time.time())
    assert document.keys() >= command.keys()
    for ours, theirs in zip(command["targets"], document["targets"], strict=True):
        assert ours == {name: theirs[name] for name in ours}
    assert document["daemon"] == json.loads(json.dumps(command["daemon"]))
    [target] = document["targets"]
    assert (target["state"], target["unchanged"], target["type"]) == ("in-sync", 2, "memory")
    assert target["nearest_end"]["entry"] == "b"
    assert [run["outcomes"] for run in document["runs"]] == [{"applied": 2}]
    assert document["process"]["owner"] == "team-a"
    assert document["states"]["in-sync"] == 1


async def test_what_a_store_waits_for_is_shown(daemon: InProcessDaemon) -> None:
    """While the calls of a store wait, its row says for what and how long, and nothing once they go on."""
    clock = ManualClock()
    with waiting_place("store main"), WAITS.shown("the rate limit", clock.monotonic() + 214, clock):
        (store,) = (await daemon.status())["stores"]
        assert store["waiting"] == "store main: waiting 3 min 34 s for the rate limit"
        assert store["waiting"] in (await daemon.get("/", **BEARER)).text
    (store,) = (await daemon.status())["stores"]
    assert store["waiting"] is None


async def test_what_is_not_there_is_said_in_json(daemon: InProcessDaemon) -> None:
    """An unknown path is 404, a wrong method 405 with what is allowed, both as the document of errors."""
    missing, wrong = await daemon.get("/nope"), await daemon.post("/status", **BEARER)
    assert (missing.status, missing.json["schema"], missing.json["error"]["kind"]) == (
        404,
        "kvsync.error/1",
        "not-found",
    )
    assert (wrong.status, wrong.json["error"]["kind"]) == (405, "method-not-allowed")
    assert set(wrong.headers["Allow"].split(",")) == {"GET", "HEAD"}
    options = await daemon.ask("OPTIONS", "/status", **BEARER)
    assert options.status == 405
    assert not [name for name in options.headers if name.lower().startswith("access-control")]


async def test_every_answer_is_safe_in_a_browser(daemon: InProcessDaemon) -> None:
    """Nothing may be framed, sniffed, cached or read by another origin, and no library tells its version."""
    for reply in (await daemon.get("/status"), await daemon.get("/nope"), await daemon.get("/metrics")):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Server"] == "kvsync"


HERE = [
    "localhost",
    "localhost:9464",
    "LOCALHOST.",
    "a.localhost:1",
    "127.0.0.1",
    "127.9.9.9:80",
    "[::1]",
    "[::1]:9464",
]
ELSEWHERE = [
    "",
    "example.com",
    "example.com:9464",
    "127.0.0.1.example.com",
    "localhost.example.com",
    "10.0.0.1",
    "[::2]:1",
    "::",
]


@pytest.mark.parametrize("host", [*HERE, *ELSEWHERE])
def test_which_hosts_are_this_machine(host: str) -> None:
    """Only names of this very machine pass as `Host` on loopback."""
    assert _is_here(host) is (host in HERE)


async def test_a_rebound_name_gets_nothing(daemon: InProcessDaemon) -> None:
    """A page whose own name was pointed at loopback is refused on every path, with whatever it shows."""
    for path in ("/healthz", "/status", "/metrics", "/nope"):
        assert (await daemon.get(path, Host="evil.example", **BEARER)).status == 421
    assert (await daemon.post(HOOK, Host="evil.example", **SHOWN)).status == 421


async def test_a_probe_without_a_host_is_answered(daemon: InProcessDaemon) -> None:
    """A load balancer's probe in HTTP/1.0, which names no host, is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
    writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(BOUND):
        assert b" 200 " in await reader.readline()
    writer.close()


async def test_a_mistake_in_kvsync_is_an_answer_and_a_line_in_the_log(
    daemon: InProcessDaemon, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong inside is 500 in JSON without a traceback, is logged with one, and the next request is served."""

    async def broken() -> None:
        raise ZeroDivisionError("inside")

    with monkeypatch.context() as patch:
        patch.setattr(daemon.collector, "snapshot", broken)
        failed = await daemon.get("/status")
    assert (failed.status, failed.json["error"]["kind"]) == (500, "failed")
    assert "inside" not in failed.text
    assert [event["path"] for event in log.events("http.failed")] == ["/status"]
    assert (await daemon.get("/status")).status == 200


async def test_a_first_pass_may_end_while_the_status_is_made(
    daemon: InProcessDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state directory is read in several steps, and the daemon writes to it meanwhile."""
    state, new = daemon.collector._settings.state, Target("main", "late")

    def waves() -> Mapping[Target, object]:
        state.passes.record(new, 1.0)
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(state.waves, "all", waves)
        assert (await daemon.get("/status")).status == 200
    assert [record.target.namespace for record in state.passes.all()] == ["late", "web"]


async def test_on_loopback_only_changing_takes_the_token(daemon: InProcessDaemon) -> None:
    """On loopback everybody may look; approve, pause and resume want the token as a bearer's, and not as a password."""
    assert (await daemon.get("/status")).status == 200
    password = {"Authorization": "Basic " + b64encode(f"x:{TOKEN}".encode()).decode()}
    for wrong in ({}, {"Authorization": "Bearer nope"}, {"Authorization": TOKEN}, password):
        refused = await daemon.post("/pause/main/web", **wrong)
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="kvsync"'
    assert (await daemon.target())["paused"] is None


async def test_where_others_can_reach_it_everything_takes_the_token(repo: MemoryRepository) -> None:
    """At an address that is not loopback only health is open; a browser may show the token as a password, to look."""
    repo.configure(more=RUN.replace("127.0.0.1:0", "0.0.0.0:0"))
    async with live(repo) as daemon:
        daemon.url = daemon.url.replace("0.0.0.0", "127.0.0.1")
        for path in ("/healthz", "/readyz"):
            assert (await daemon.get(path, Host="anything.example")).status in (200, 503)
        for path in ("/status", "/metrics", "/", "/nope"):
            refused = await daemon.get(path)
            assert refused.status == 401
            assert "Basic" in refused.headers["WWW-Authenticate"]
        password = "Basic " + b64encode(f"me:{TOKEN}".encode()).decode()
        for good in (BEARER["Authorization"], BEARER["Authorization"].replace("Bearer", "bearer"), password):
            assert (await daemon.get("/metrics", Authorization=good)).status == 200
        for bad in ("Basic !", "Basic " + b64encode(b"\xff:").decode(), "Bearer", "Bearer é" + TOKEN):
            assert (await daemon.get("/metrics", Authorization=bad)).status == 401


async def test_without_a_token_nothing_is_changed_over_http(repo: MemoryRepository) -> None:
    """Where no token is configured, approve, pause and resume are refused, and the answer says what to do."""
    repo.configure(more="run: {listen: '127.0.0.1:0'}\n")
    async with live(repo, {}) as daemon:
        for path in ("/pause/main/web", "/resume/main", "/approve/12345678"):
            refused = await daemon.post(path, **BEARER)
            assert refused.status == 403
            assert "run.token" in refused.json["error"]["message"]
        refused = await daemon.post(HOOK, **BEARER)
        assert refused.status == 403
        assert "run.hook" in refused.json["error"]["message"]


async def test_pause_and_resume(daemon: InProcessDaemon, repo: MemoryRepository) -> None:
    """A pause over HTTP holds at once, with its reason, and a resume lets what is pending through at once."""
    paused = await daemon.post("/pause/main/web", json.dumps({"reason": "moving house"}), **BEARER)
    assert (paused.status, paused.json) == (200, {"target": "main/web", "new": True})
    repo.want({"a": 2, "b": "{value: x, ttl: 3h}"})
    await daemon.post(HOOK, **SHOWN)
    found = await daemon.becomes("paused", pending=1)
    assert found["paused"]["reason"] == "moving house"
    assert repo.held("a") == "1"
    resumed = await daemon.post("/resume/main/web", **BEARER)
    assert resumed.json == {"target": "main/web", "ended": True, "still_paused_by": None}
    await until(lambda: repo.held("a") == "2")


async def test_resume_with_keys_retries_entries(repo: MemoryRepository) -> None:
    """Deferred entries are tried at once when they are named over HTTP, and `/status` counts them until then."""
    repo.want({"a": 1, "bad": 1})
    repo.server.fail_entry("bad", WriteStatus.REJECTED)
    async with live(repo) as daemon:
        await daemon.becomes("pending", quarantined=1)
        [deferred] = (await daemon.status())["deferred"]
        assert deferred["command"] == "kvsync resume main/web --key '*'"
        repo.server.heal()
        retried = await daemon.post("/resume/main/web", json.dumps({"keys": ["b*"]}), **BEARER)
        assert retried.json["retried"] == [{"target": "main/web", "key": "bad", "label": None}]
        await until(lambda: repo.held("bad") == "1")
        assert (await daemon.becomes("in-sync", quarantined=0))["pending"] == 0


@pytest.mark.parametrize("body", ["[]", "{", '{"keys": "a"}', '{"keys": [1]}'])
async def test_keys_are_a_list_of_texts(daemon: InProcessDaemon, body: str) -> None:
    """Anything else in the body of a resume is refused, and no pause is ended."""
    await daemon.post("/pause/main/web", **BEARER)
    assert (await daemon.post("/resume/main/web", body, **BEARER)).status == 400
    await daemon.becomes("paused")


async def test_pause_of_a_store(daemon: InProcessDaemon) -> None:
    """A pause of a store holds its targets; to resume one of them says what still does."""
    assert (await daemon.post("/pause/main", **BEARER)).status == 200
    await daemon.becomes("paused")
    assert (await daemon.post("/resume/main/web", **BEARER)).json["still_paused_by"] == "main"


@pytest.mark.parametrize("body", ["[]", "{", '{"reason": 1}', '{"reason": ""}', json.dumps({"reason": "x" * 501})])
async def test_a_reason_is_text(daemon: InProcessDaemon, body: str) -> None:
    """Anything else in the body of a pause is refused, and nothing is paused."""
    assert (await daemon.post("/pause/main/web", body, **BEARER)).status == 400
    assert (await daemon.target())["paused"] is None


async def test_unknown_targets_and_hashes(daemon: InProcessDaemon) -> None:
    """What does not exist is refused with the words of the command."""
    wrong = await daemon.post("/pause/other/web", **BEARER)
    assert (wrong.status, "with one of the stores main" in wrong.json["error"]["message"]) == (400, True)
    assert (await daemon.post("/approve/nohash", **BEARER)).status == 400
    assert (await daemon.post("/approve/0123456789ab", **BEARER)).status == 404


async def test_approving_releases_the_plan(repo: MemoryRepository) -> None:
    """A parked plan is on the snapshot with its reasons, digest and command; approved over HTTP it is applied at once."""
    await repo.settle({f"k{number}": 1 for number in range(12)})
    repo.want({"k0": 1})
    async with live(repo) as daemon:
        found = await daemon.becomes("parked")
        assert found["plan"]["counts"] == {"delete": 11}
        [parked] = (await daemon.status())["parked"]
        assert "delete" in " ".join(parked["reasons"])
        snapshot = await daemon.collector.snapshot()
        [view] = snapshot.targets
        assert view.parked.command == f"kvsync approve {parked['digest'][7:19]}"
        assert [row.sign for row in view.plan.rows] == ["-"] * 11
        released = await daemon.post(f"/approve/{parked['digest'][7:19]}", **BEARER)
        assert released.json["released"] == [{"target": "main/web", "digest": parked["digest"]}]
        await daemon.becomes("in-sync")
    assert repo.values() == {"k0": "1"}


async def test_a_hook_starts_a_pass(daemon: InProcessDaemon, repo: MemoryRepository) -> None:
    """A hook is answered with 202 and followed by a pass that reads the files again; the metrics count it."""
    repo.want({"a": 3})
    reply = await daemon.post(HOOK, **SHOWN)
    assert (reply.status, reply.json) == (202, {"result": "accepted"})
    await until(lambda: repo.held("a") == "3")
    found = await daemon.becomes("in-sync")
    assert "hook" in found["triggers"] or found["passes"] > 2
    metrics = await daemon.metrics()
    assert metrics['kvsync_hook_requests_total{result="accepted"}'] == 1
    assert metrics['kvsync_triggers_total{trigger="hook"}'] == 1


async def test_githubs_deliveries(daemon: InProcessDaemon) -> None:
    """A signed push counts once under its delivery id; a ping and a wrong signature do not count."""
    body = b'{"ref": "refs/heads/main"}'
    signed = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    github = {"X_Hub_Signature_256": signed, "X_GitHub_Event": "push", "X_GitHub_Delivery": "d1"}
    results = [(await daemon.post(HOOK, body, **github)).json for _ in range(2)]
    assert results == [{"result": "accepted"}, {"result": "duplicate"}]
    assert (await daemon.post(HOOK, body, **github | {"X_GitHub_Event": "ping"})).json == {"result": "ignored"}
    wrong = await daemon.post(HOOK, body + b" ", **github | {"X_GitHub_Delivery": "d2"})
    assert (wrong.status, wrong.json["error"]["kind"]) == (401, "unauthorized")
    assert (await daemon.post(HOOK, body)).status == 401


async def test_a_filter_of_branches(repo: MemoryRepository) -> None:
    """With `branches`, pushes to others are answered and ignored, and a push that cannot be read is the sender's mistake."""
    repo.configure(more=RUN.replace("{secret: {env: SECRET}}", "{secret: {env: SECRET}, branches: [main]}"))
    async with live(repo) as daemon:
        gitlab = {"X_Gitlab_Token": SECRET, "X_Gitlab_Event": "Push Hook"}
        for branch, result in (("main", "accepted"), ("other", "ignored")):
            body = json.dumps({"ref": f"refs/heads/{branch}"})
            assert (await daemon.post(HOOK, body, **gitlab)).json == {"result": result}
        unreadable = await daemon.post(HOOK, "{", **gitlab)
        assert (unreadable.status, "Content-Type" in unreadable.json["error"]["message"]) == (400, True)


async def test_a_large_body_is_refused_unread(daemon: InProcessDaemon) -> None:
    """A body that says it is too large is refused before it is sent; one that does not say so, once it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
    head = f"POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nX-Kvsync-Token: {SECRET}\r\nContent-Length: {10**12}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(BOUND):
        assert b" 413 " in await reader.readline()
    writer.close()

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(LARGEST_BODY // 10)

    refused = await daemon.post(HOOK, chunks(), **SHOWN)
    assert (refused.status, refused.json["error"]["kind"]) == (413, "too-large")
    unsigned = await daemon.post(HOOK, bytes(10), X_Other="x")
    assert unsigned.status == 401


async def test_a_slow_body_is_not_waited_for(daemon: InProcessDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not send the body he announced gets 408."""
    monkeypatch.setattr("kvsync.status.http.body.BODY_WITHIN", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
    head = f"POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nX-Kvsync-Token: {SECRET}\r\nContent-Length: 10\r\n\r\nabc"
    writer.write(head.encode())
    async with asyncio.timeout(BOUND):
        assert b" 408 " in await reader.readline()
    writer.close()


async def test_a_body_that_breaks_off_is_not_a_mistake_in_kvsync(daemon: InProcessDaemon, log: Log) -> None:
    """Nobody waits for an answer any more, and nothing is logged."""
    head = f"POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nX-Kvsync-Token: {SECRET}\r\nContent-Length: 10\r\n\r\nabc"
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
        writer.write(head.encode())
        await writer.drain()
        assert (await daemon.get("/healthz")).status == 200
        writer.transport.abort()
        assert (await daemon.get("/healthz")).status == 200
    assert [event for event in log.events() if event["level"] == "error"] == []


async def test_nobody_keeps_others_out_by_holding_on(daemon: InProcessDaemon) -> None:
    """With as many idle connections as `run.connections` allows, one more is served, and those that hold on are ended."""
    port = int(daemon.url.rpartition(":")[2])
    await daemon.limit_connections(4)
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(9)]
    assert (await daemon.get("/healthz")).status == 200
    async with asyncio.timeout(BOUND):
        with suppress(ConnectionError):
            assert await held[0][0].read() == b""
    for _, writer in held:
        writer.transport.abort()


async def test_a_flood_of_connections_takes_no_descriptors(daemon: InProcessDaemon) -> None:
    """However many connections are opened at once, no more than allowed are accepted at any moment; the others wait outside
    this process, and a request is answered all the same."""
    port, before = int(daemon.url.rpartition(":")[2]), _descriptors()
    flood = [socket.socket() for _ in range(3 * RunConfig().connections)]
    for one in flood:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
    most = 0
    asked = asyncio.create_task(daemon.get("/healthz"))
    async with asyncio.timeout(BOUND):
        while not asked.done():
            most = max(most, _descriptors() - len(flood) - before)
            await asyncio.sleep(0.01)
    for one in flood:
        one.close()
    assert (await asked).status == 200
    assert most <= RunConfig().connections + 2  # and the one that asks, with its answer


async def test_slow_requests_make_room_for_others(daemon: InProcessDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that drip in, head or body, hold every connection only until someone else waits."""
    monkeypatch.setattr(connections, "_LONG", 0.1)
    port = int(daemon.url.rpartition(":")[2])
    head = f"POST {HOOK} HTTP/1.1\r\nHost: localhost\r\nX-Kvsync-Token: x\r\nContent-Length: 10\r\n"
    slow = []
    for number in range(RunConfig().connections):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((head + ("\r\na" if number % 2 else "X-Never: end")).encode())
        slow.append(writer)
    assert (await daemon.get("/healthz")).status == 200
    for writer in slow:
        writer.transport.abort()


async def test_few_descriptors_mean_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a process may open few files, its passes keep most of them."""
    for soft, most in ((64, 8), (16, 4), (1024, 128), (resource.RLIM_INFINITY, 128)):
        monkeypatch.setattr(resource, "getrlimit", lambda _which, soft=soft: (soft, soft))
        assert connections.most_connections(128) == most
        assert connections.most_connections(3) == 3


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_an_idle_connection_ends(repo: MemoryRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which no request comes, or half of one, is closed after a while."""
    monkeypatch.setattr(server, "IDLE", 0.1)
    async with live(repo) as daemon:
        for sent in (b"", b"GET /healthz HTTP/1.1\r\nHost: loc"):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
            writer.write(sent)
            async with asyncio.timeout(BOUND):
                await reader.read()
            writer.close()


async def test_garbage_is_answered_and_survived(daemon: InProcessDaemon, log: Log) -> None:
    """What is not HTTP ends its own connection and nothing else, and leaves nothing in the log."""
    for sent in (b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
        writer.write(sent)
        async with asyncio.timeout(BOUND):
            assert b"Traceback" not in await reader.read()
        writer.close()
    assert [event for event in log.events() if event["level"] == "error"] == []
    assert (await daemon.get("/healthz")).status == 200


def test_patience_ends_and_comes_back() -> None:
    """An address gets ten refusals at once and then one in six seconds; others are not held to account for it, and what is
    remembered is bounded."""
    clock = ManualClock()
    patience = RefusalLimiter(clock)
    assert [patience.spend("a") for _ in range(12)] == [True] * 10 + [False] * 2
    assert patience.spend("b")
    clock._now += 6
    assert [patience.spend("a") for _ in range(2)] == [True, False]
    for number in range(5000):
        patience.spend(str(number))
    assert len(patience._spent) <= RefusalLimiter.ADDRESSES


async def test_guessing_is_slowed_down_and_the_right_token_still_works(daemon: InProcessDaemon) -> None:
    """After ten refused requests an address is told to wait; who knows the token is let in all the same."""
    statuses = [(await daemon.post("/pause/main", Authorization=f"Bearer {n}")).status for n in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert (await daemon.post("/pause/main", **BEARER)).status == 200


async def test_a_token_that_cannot_be_read_lets_nobody_in(repo: MemoryRepository, tmp_path: Path) -> None:
    """While the file of the token is missing, or too short a token stands in it, nobody is let in; then the new one counts."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    repo.configure(more=RUN.replace("{env: TOKEN}", "{file: token}"))
    async with live(repo, ENVIRON) as daemon:
        assert (await daemon.post("/pause/main", **BEARER)).status == 200
        file.write_text("another-long-token\n")
        assert (await daemon.post("/pause/main", **BEARER)).status == 401
        assert (await daemon.post("/pause/main", Authorization="Bearer another-long-token")).status == 200
        for broken in (None, "", "short"):
            file.unlink() if broken is None else file.write_text(broken)
            refused = await daemon.post("/pause/main", Authorization=f"Bearer {broken or TOKEN}")
            assert (refused.status, "run.token" in refused.text) == (503, True)


async def test_a_removed_target_leaves_the_snapshot(daemon: InProcessDaemon, repo: MemoryRepository) -> None:
    """A target that no file names any more is gone from status and metrics, while others stay; its entries are orphans."""
    repo.state("store: main\nnamespace: other\nkeys: {x: 1}\n", "other.yaml")
    assert daemon.daemon is not None
    daemon.daemon.trigger(Trigger.SIGNAL)
    await until(lambda: "other" in repo.server.held)
    assert any('namespace="other"' in name for name in await daemon.metrics())
    (repo.root / "state/other.yaml").unlink()
    daemon.daemon.trigger(Trigger.SIGNAL)
    await until(lambda: len(daemon.collector._records) == 1)
    assert not any('namespace="other"' in name for name in await daemon.metrics())
    status = await daemon.status()
    assert [one["namespace"] for one in status["targets"]] == ["web"]
    assert [(one["namespace"], one["managed"], one["orphans"]) for one in status["orphans"]] == [("other", False, 1)]
    assert "1 orphan in main/other: no file names the target" in (await daemon.get("/", **BEARER)).text
    assert any('namespace="web"' in name for name in await daemon.metrics())
