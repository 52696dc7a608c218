"""What all emulators share: faults on command, statistics, and how tests talk to an emulator."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.emulators.faults import Faults, parse
from kvsync.emulators.quantities import seconds
from tests.emulators.conftest import Http, azure_emulator


def faults(http: Http, spec: str, **settings: Any) -> None:
    """Put faults in force."""
    http.control("PUT", "faults", {"spec": spec} | settings)


def test_throttling_looks_like_the_services(http: Http) -> None:
    """An injected 429 has the service's headers and body, and nothing is done; a 503 says when to come back, too."""
    faults(http, "429:1", methods=["PUT"])
    answer = http.put("/kv/k", json={"value": "v"})
    assert (answer.status_code, answer.headers["retry-after-ms"]) == (429, "10")
    assert answer.json() == {
        "type": "https://azconfig.io/errors/too-many-requests",
        "title": "Resource utilization has surpassed the assigned quota",
        "policy": "Total Requests",
        "status": 429,
    }
    faults(http, "503:1")
    assert http.get("/kv/k").headers["retry-after-ms"] == "10"
    faults(http, "500:1")
    broken = http.get("/kv/k")
    assert (broken.status_code, broken.json()["type"]) == (500, "https://azconfig.io/errors/server-error")
    assert "Sync-Token" not in broken.headers
    faults(http, "")
    assert http.get("/kv/k").status_code == 404


def test_a_refusal_under_200_is_for_stores_that_have_it(http: Http) -> None:
    """A store that shows every refusal in its status answers as ever."""
    faults(http, "200:1,200-after-write:1")
    assert http.set("k")["value"] == "v"


@pytest.mark.parametrize(
    ("spec", "error"), [("drop-after-write:1", httpx.ReadError), ("cut:1", httpx.RemoteProtocolError)]
)
def test_answers_that_never_come_whole(http: Http, spec: str, error: type[Exception]) -> None:
    """A dropped and a cut answer end the connection; the write they answer was done."""
    faults(http, spec)
    with pytest.raises(error):
        http.put("/kv/k", json={"value": "v"})
    faults(http, "")
    assert http.get("/kv/k").json()["value"] == "v"


def test_a_drop_does_nothing(http: Http) -> None:
    """`drop` ends the connection before anything is done."""
    faults(http, "drop:1")
    with pytest.raises(httpx.ReadError):
        http.put("/kv/k", json={"value": "v"})
    faults(http, "")
    assert http.get("/kv/k").status_code == 404


def test_failing_after_the_write(http: Http) -> None:
    """`500-after-write` does the write and then says that it could not; reads are left alone."""
    faults(http, "500-after-write:1")
    assert http.put("/kv/k", json={"value": "v"}).status_code == 500
    assert http.get("/kv/k").json()["value"] == "v"


def test_truncated_json(http: Http) -> None:
    """`truncate` gives half a body under 200, with a length that fits it."""
    http.set("k")
    faults(http, "truncate:1")
    answer = http.get("/kv/k")
    assert (answer.status_code, int(answer.headers["Content-Length"])) == (200, len(answer.content))
    with pytest.raises(ValueError, match=r"JSON|delimiter|Unterminated|Expecting"):
        answer.json()


def test_stale_reads_need_the_sync_token(http: Http) -> None:
    """With `stale-read` a read shows the state of then, unless it carries the token of the write; writes see what is."""
    http.control("PUT", "clock", {"now": "2026-01-01T00:00:00Z", "frozen": True})
    http.set("k", "old")
    http.control("PUT", "clock", {"advance": "10s"})
    faults(http, "stale-read:5s")
    written = http.put("/kv/k", json={"value": "new"})
    token = written.headers["Sync-Token"].partition(";")[0]
    assert http.get("/kv/k").json()["value"] == "old"
    assert http.get("/kv").json()["items"][0]["value"] == "old"
    assert http.get("/kv/k", headers={"Sync-Token": f"other=MQ==,{token}"}).json()["value"] == "new"
    assert http.put("/kv/k", json={}, headers={"If-Match": written.headers["ETag"]}).status_code == 200
    http.control("PUT", "clock", {"advance": "5s"})
    assert http.get("/kv/k").json()["value"] is None


def test_foreign_writes_come_before_ours(http: Http) -> None:
    """`foreign-write` changes the key just before a write, so that a write on the condition of what was seen fails."""
    etag = http.set("k", "mine")["etag"]
    faults(http, "foreign-write:1", times=2)
    assert http.put("/kv/k", json={"value": "again"}, headers={"If-Match": f'"{etag}"'}).status_code == 412
    assert http.put("/kv/new", json={"value": "x"}, headers={"If-None-Match": "*"}).status_code == 412
    assert http.put("/kv/other", json={"value": "x"}, headers={"If-None-Match": "*"}).status_code == 200
    assert "another program" in http.get("/kv/k").json()["value"]


def test_faults_wear_off_and_choose_methods(http: Http) -> None:
    """With `times` so many requests are hit, with `methods` only those."""
    faults(http, "503:1", times=2, methods=["get"])
    http.set("k")
    assert [http.get("/kv/k").status_code for _ in range(3)] == [503, 503, 200]
    assert http.control("GET", "faults")["times"] == 0


def test_the_same_seed_gives_the_same_faults() -> None:
    """Two emulators with one seed treat the same requests alike; another seed treats them otherwise."""

    def statuses(seed: int) -> list[int]:
        with azure_emulator(anonymous=True, fault="503:0.3,500:0.2", seed=seed) as server, Http(server) as http:
            return [http.get("/kv").status_code for _ in range(40)]

    first = statuses(7)
    assert first == statuses(7) != statuses(8)
    assert {200, 500, 503} == set(first)


def test_latency(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is waited for with the clock, in seconds, for every request."""
    waited: list[float] = []

    async def sleep(_clock: object, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("kvsync.util.clock.Clock.sleep", sleep)
    http.control("PUT", "faults", "latency:50ms")
    http.get("/kv")
    http.set("k")
    assert waited == [0.05, 0.05]


def test_statistics(http: Http) -> None:
    """Requests are counted by method, route and status, with their faults, and the last ones are reported one by one."""
    http.set("a%2Fb")
    http.get("/kv/a%2Fb")
    http.get("/kv?key=x")
    faults(http, "drop:1", times=1)
    with pytest.raises(httpx.ReadError):
        http.get("/kv")
    stats = http.control("GET", "stats")
    assert stats["requests"] == 4
    assert stats["methods"] == {"GET": 3, "PUT": 1}
    assert stats["statuses"] == {"200": 3, "dropped": 1}
    assert stats["routes"] == {"GET /kv": 2, "GET /kv/{key}": 1, "PUT /kv/{key}": 1}
    assert stats["answers"]["GET /kv"] == {"200": 1, "dropped": 1}
    assert stats["faults"] == {"drop": 1}
    assert stats["bytes_sent"] > stats["bytes_received"] > 0
    log = http.control("GET", "log")
    assert [entry["n"] for entry in log] == [1, 2, 3, 4]
    assert log[2] | {"target": ""} == {"n": 3, "method": "GET", "target": "", "status": 200}
    assert log[3]["faults"] == ["drop"]


def test_reset(http: Http) -> None:
    """Reset forgets everything, or what it is told to."""
    http.set("k")
    http.control("POST", "reset", {"only": ["stats"]})
    assert http.get("/kv/k").status_code == 200
    assert http.control("GET", "stats")["requests"] == 1
    http.control("PUT", "clock", {"now": "2030-01-01T00:00:00Z"})
    faults(http, "500:1")
    http.control("POST", "reset")
    assert http.get("/kv/k").status_code == 404
    assert not http.control("GET", "clock")["now"].startswith("2030")


def test_the_clock(http: Http) -> None:
    """Virtual time is set, moved, stopped and started; what is written carries it."""
    http.control("PUT", "clock", {"now": "2030-01-01T00:00:00Z", "frozen": True})
    assert http.control("PUT", "clock", {"advance": "1h30m"})["now"] == "2030-01-01T01:30:00+00:00"
    assert http.set("k")["last_modified"] == "2030-01-01T01:30:00+00:00"
    http.control("PUT", "clock", {"frozen": False, "advance": -3600})
    assert http.control("GET", "clock")["now"].startswith("2030-01-01T00:30:")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "clock", {"then": 1}, 400),
        ("PUT", "clock", None, 400),
        ("PUT", "clock", {"advance": "soon"}, 400),
        ("PUT", "faults", "429:2", 400),
        ("PUT", "faults", 5, 400),
        ("PUT", "faults", {"spec": "429:1", "methods": "PUT"}, 400),
        ("PUT", "faults", {"spec": "429:1", "times": "often"}, 400),
        ("POST", "reset", {}, 400),
        ("PUT", "faults", {"explode": 1}, 400),
        ("POST", "reset", {"only": ["all"]}, 400),
        ("GET", "nothing", None, 404),
    ],
)
def test_wrong_commands_are_explained(http: Http, method: str, path: str, body: Any, status: int) -> None:
    """A command that makes no sense is refused with what is wrong, and changes nothing."""
    answer = http.request(method, f"/_emulator/{path}", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_all_wrong_faults_are_reported_at_once() -> None:
    """A specification with several mistakes names them all."""
    with pytest.raises(ValueError, match=r"explode.*429 needs a share.*'x' is not a duration"):
        parse("explode:1,429:7,latency:x")


@given(st.dictionaries(st.sampled_from(["429", "500-after-write", "drop", "truncate"]), st.floats(0, 1)), st.integers())
def test_specifications_round_trip(wanted: dict[str, float], seed: int) -> None:
    """What is written as text is what is in force, and shares of zero and one are never and always."""
    faults = Faults(",".join(f"{name}:{share!r}" for name, share in wanted.items()), seed)
    assert faults.in_force == wanted
    fate = faults.next_faults("PUT", writes=True)
    assert {name for name, share in wanted.items() if share == 1} <= fate.names
    assert not {name for name, share in wanted.items() if share == 0} & fate.names


@pytest.mark.parametrize(
    ("text", "wanted"), [("50ms", 0.05), ("1h30m", 5400.0), ("-2s", -2.0), (3, 3.0), ("1.5s", 1.5)]
)
def test_durations(text: object, wanted: float) -> None:
    """Durations are numbers of seconds, or numbers with their units."""
    assert seconds(text) == pytest.approx(wanted)


@pytest.mark.parametrize("read", [lambda http: http.get("/kv"), lambda http: http.get("/kv/k")])
def test_headers_and_body_travel_together(http: Http, read: Callable[[Http], httpx.Response]) -> None:
    """An answer arrives in one piece: the first bytes from the socket are all of it."""
    http.set("k")
    target = read(http).request.url.raw_path.decode()
    with socket.create_connection((http.base_url.host, http.base_url.port or 80)) as connection:
        for _ in range(5):
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            assert len(body) == int(length.partition(b":")[2]) > 0
