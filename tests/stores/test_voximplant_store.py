"""The store alone: the key file and its tokens, what answers mean, pages and pieces, what `doctor` says."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from kvsync.config.credentials import resolve
from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.errors import AuthError, BatchRefused, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Content, Identity, Mark
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Precondition, Store, StoreContext, Write
from kvsync.stores.ledger_chunks import MissingChunks, cut, join
from kvsync.stores.ledger_place import LedgerPlace
from kvsync.stores.registry import open_store
from kvsync.stores.voximplant.api import MOST_VALUE
from kvsync.stores.voximplant.listing import Item, everything
from kvsync.testing import FakeClock
from kvsync.util.clock import Clock
from kvsync.util.redaction import Redactor
from tests.http.script_server import says, serving
from tests.stores.emulated import SharedClock
from tests.stores.voximplant_service import CREDENTIALS, GET, ITEMS, SET, Service

DAY = 86_400
SIGNER = MarkSigner("team-a", Place("voximplant", ()))
Open = Callable[..., Store]


def creation(key: str, value: str = "v", expires_at: float | None = None, ttl: int | None = None) -> Write:
    content = Content(value.encode())
    mark = Mark("team-a", fingerprint(content), ttl)
    return Write(Identity(key), Precondition.ABSENT, content, mark, expires_at or time.time() + 90 * DAY)


async def error_of(call: Awaitable[Any]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await call
    return caught.value


# -- the key file and its tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["file", "env with the path", "env with the key file", "credential"])
async def test_ways_to_the_key_file(service: Service, tmp_path: Path, reference: str) -> None:
    """The key file is found by its path relative to the configuration, through a variable that holds it or its path, and among
    systemd's credentials."""
    text = json.dumps(service.key_file())
    (tmp_path / "vox.json").write_text(text)
    environ = {"PLACE": "vox.json", "KEY": text, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    credential = {
        "file": Credential(CredentialKind.FILE, "vox.json"),
        "env with the path": Credential(CredentialKind.ENV, "PLACE"),
        "env with the key file": Credential(CredentialKind.ENV, "KEY"),
        "credential": Credential(CredentialKind.CREDENTIAL, "vox.json"),
    }[reference]
    redactor = Redactor()
    context = StoreContext(tmp_path, None, lambda one: resolve(one, tmp_path, environ, redactor), Clock())
    options = {"credentials": credential, "application_id": 1}
    store = open_store(StoreConfig("telephony", "voximplant", options, endpoint=service.url), context)
    try:
        assert await store.namespaces() == []
    finally:
        await store.aclose()


async def test_a_path_that_leads_nowhere(connect: Open, service: Service, tmp_path: Path) -> None:
    """A path is hidden like all that a variable holds; the variable is named, so that one knows where to look."""
    redactor = Redactor()
    context = StoreContext(
        tmp_path, None, lambda one: resolve(one, tmp_path, {"PLACE": "gone.json"}, redactor), Clock()
    )
    options = {"credentials": Credential(CredentialKind.ENV, "PLACE"), "application_id": 1}
    store = open_store(StoreConfig("telephony", "voximplant", options, endpoint=service.url), context)
    try:
        error = redactor.redact(str(await error_of(store.namespaces())))
    finally:
        await store.aclose()
    assert "gone.json" not in error
    assert "No such file" in error
    assert "the environment variable PLACE" in error


@cache
def _unknown_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _elliptic() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{nonsense", "not JSON"),
        ("{}", "account_id, key_id and private_key"),
        ('{"account_id": 1, "key_id": "k", "private_key": 5}', "account_id, key_id and private_key"),
        ('{"account_id": "x", "key_id": "k", "private_key": "hidden"}', "not JSON"),
        ('{"account_id": 1, "key_id": "k", "private_key": "hidden"}', "not an RSA key"),
        (json.dumps({"account_id": 1, "key_id": "k", "private_key": _elliptic()}), "not an RSA key"),
    ],
)
async def test_a_key_file_that_is_none(connect: Open, service: Service, text: str, said: str) -> None:
    """What is wrong with the key file is reported, and what to do, but nothing of what it holds; nothing is sent."""
    store = connect(credentials=text)
    error = await error_of(store.namespaces())
    assert isinstance(error, AuthError)
    assert said in str(error)
    assert "download" in str(error)
    assert "hidden" not in str(error)
    (finding,) = [one for one in await store.check() if not one.ok]
    assert said in finding.detail
    assert service.requests() == {}


async def test_a_token_serves_for_some_minutes(connect: Open, service: Service) -> None:
    """Hours of calls are made with tokens that never end under way, and no call is refused for them."""
    clock = FakeClock(float(int(time.time())))
    store = connect(service, clock)
    for _ in range(20):
        await store.observe("web", SIGNER)
        clock.advance(180)
        service.skew(clock.now() - time.time())
    assert service.control("GET", "stats")["statuses"] == {"200": 20}
    assert sum(service.requests().values()) == 20


@pytest.mark.parametrize("ahead", [-2 * DAY, -3000, 3000, 200 * DAY])
async def test_a_wrong_clock_costs_one_call(connect: Open, service: Service, ahead: float) -> None:
    """A clock that is wrong, however much, is found out by the first call, which is signed again by the server's; after that
    every call is taken. `doctor` tells."""
    store = connect(service, FakeClock(time.time() + ahead))
    for _ in range(3):
        await store.observe("web", SIGNER)
    assert service.requests() == {ITEMS: 4}
    (finding,) = [one for one in await store.check() if one.check == "clock"]
    assert not finding.ok
    assert ("ahead" in finding.detail) is (ahead > 0)


@pytest.mark.parametrize("refusal", ["401", "454", "455", "456"])
async def test_a_token_is_signed_again_once(connect: Open, service: Service, refusal: str) -> None:
    """A token that is not taken is signed again and the call sent once more, a write too; a second refusal is the end of it."""
    store = connect()
    service.faults(f"{refusal}:1", times=1)
    await store.write("web", [creation("a")])
    assert service.requests() == {SET: 2}
    service.faults(f"{refusal}:1", times=2)
    assert isinstance(await error_of(store.write("web", [creation("a")])), AuthError)
    assert service.requests() == {SET: 4}


async def test_a_rotated_key_is_used_at_once(connect: Open, service: Service) -> None:
    """A new key file is used for the next call; one that the service does not know is refused with what to do about it."""
    right, wrong = json.dumps(service.key_file()), json.dumps(service.key_file() | {"private_key": _unknown_key()})
    given = {"text": right}
    context = StoreContext(Path(), None, lambda _: given["text"], Clock())
    options = {"credentials": CREDENTIALS, "application_id": 1}
    store = open_store(StoreConfig("telephony", "voximplant", options, endpoint=service.url), context)
    try:
        await store.namespaces()
        given["text"] = wrong
        assert "not revoked" in str(await error_of(store.namespaces()))
        given["text"] = right
        await store.namespaces()
    finally:
        await store.aclose()


# -- what answers mean ------------------------------------------------------------------------------------------------


def body(code: int, msg: str = "said", **more: Any) -> bytes:
    return json.dumps({"error": {"code": code, "msg": msg}, **more}).encode()


async def answered(
    content: bytes, status: int, call: Callable[[Store], Awaitable[Any]], *, then: bytes | None = None
) -> Any:
    """What a call to a server that always answers the same, or after the first time `then`, comes to."""
    async with serving(says(status, content), says(200, content if then is None else then)) as server:
        text = json.dumps({"account_id": 1, "key_id": "k", "private_key": _unknown_key()})
        context = StoreContext(Path(), None, lambda _: text, FakeClock())
        options = {"credentials": CREDENTIALS, "application_id": 1}
        store = open_store(StoreConfig("telephony", "voximplant", options, endpoint=server.origin, timeout=60), context)
        try:
            return await call(store)
        except StoreError as error:
            return error
        finally:
            await store.aclose()


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("content", [b'{"result": null}', body(341), body(341, result={"key": "web:a", "value": "x"})])
async def test_all_ways_to_say_that_there_is_nothing(content: bytes, status: int) -> None:
    """An error and null mean that a key is absent; `error` counts whatever stands next to it."""
    if status == 404 and b"error" not in content:
        return
    assert await answered(content, status, lambda store: store.read("web", [Identity("a")])) == {}


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (b'{"result": []}', []),
        (b'{"result": [{"key": "web:b", "value": "y"}]}', []),
        (b'{"result": [{"key": "web:a", "value": "x"}]}', [b"x"]),
        (b"{}", TransientError),
    ],
)
@pytest.mark.parametrize("content", [b"{}", b'{"status": "ok"}'])
async def test_an_object_without_a_result_does_not_mean_that_a_key_is_absent(
    content: bytes, listed: bytes, expected: Any
) -> None:
    """A proxy may return such an object for anything: a listing decides."""
    found = await answered(content, 200, lambda store: store.read("web", [Identity("a")]), then=listed)
    if isinstance(expected, list):
        assert [one.content.value for one in found.values()] == expected
    else:
        assert type(found) is expected


@pytest.mark.parametrize(
    ("status", "content", "reading", "writing"),
    [
        (200, body(1), TransientError, LostAnswer),
        (500, body(2), TransientError, LostAnswer),
        (200, body(5), PermanentError, PermanentError),
        (200, body(127), PermanentError, PermanentError),
        (200, body(104), AuthError, AuthError),
        (403, body(104), AuthError, AuthError),
        (200, body(131), AuthError, AuthError),
        (200, body(116), PermanentError, PermanentError),
        (200, body(340), TransientError, TransientError),
        (429, body(340), TransientError, TransientError),
        (200, body(162), TransientError, TransientError),
        (200, body(484), TransientError, LostAnswer),
        (200, body(515), TransientError, LostAnswer),
        (200, body(497), PermanentError, BatchRefused),
        (200, body(999), PermanentError, PermanentError),
        (200, b'{"error": "strange"}', PermanentError, PermanentError),
        (200, b"<html>", TransientError, LostAnswer),
        (502, b"<html>", TransientError, LostAnswer),
        (503, b"<html>", TransientError, TransientError),
        (403, b"<html>", TransientError, LostAnswer),
        (404, b"<html>", PermanentError, PermanentError),
        (301, b"", PermanentError, PermanentError),
        (200, b"[1]", TransientError, LostAnswer),
    ],
)
async def test_what_answers_mean(status: int, content: bytes, reading: type, writing: type) -> None:
    """Each answer is the one error that tells what to do next, and never says more than what the call was for."""
    for call, wanted in (
        (lambda store: store.observe("web", SIGNER), reading),
        (lambda store: store.read("web", [Identity("a")]), reading),
        (lambda store: store.write("web", [creation("a", "hidden")]), writing),
    ):
        error = await answered(content, status, call)
        assert type(error) is wanted or (wanted is AuthError and isinstance(error, AuthError)), error
        assert "hidden" not in str(error)


@pytest.mark.parametrize(
    ("content", "seconds"), [(body(416, "Repeat after 7 seconds"), 7), (body(340), 1), (body(484), 10)]
)
async def test_how_long_to_wait(content: bytes, seconds: float) -> None:
    """What the service says, or a pause that suits the refusal."""
    error = await answered(content, 200, lambda store: store.write("web", [creation("a")]))
    assert isinstance(error, TransientError)
    assert error.retry_after == seconds


@pytest.mark.parametrize("result", ['{"key": "web:a"}', "7", '[{"value": "x"}]', '"text"'])
async def test_a_listing_that_is_none(result: str) -> None:
    """Whatever is not a list of items ends the pass; it is never an empty store."""
    error = await answered(f'{{"result": {result}}}'.encode(), 200, lambda store: store.observe("web", SIGNER))
    assert isinstance(error, TransientError)


async def test_the_application_by_its_name(connect: Open) -> None:
    """An application is found by its short or full name, also where methods take no names; one that does not exist is
    reported."""
    with Service.serve(switches={"application-name": "ignored"}) as service:
        service.put("web:a", "1")
        full = service.api("GetApplications")[0]["application_name"]
        assert full.startswith("first.")
        for name in ("first", full):
            snapshot = await connect(service, options={"application": name}).observe("web", SIGNER)
            assert snapshot is not None
            assert set(snapshot.entries) == {Identity("a")}
        error = await error_of(connect(service, options={"application": "third"}).observe("web", SIGNER))
        assert 'no application "third"' in str(error)


# -- reading and writing ----------------------------------------------------------------------------------------------


async def test_nothing_of_a_call_is_in_its_url(connect: Open, service: Service) -> None:
    """Keys, values and parameters go in the body: access logs see neither."""
    store = connect()
    await store.write("web", [creation("a", "value")])
    await store.read("web", [Identity("a")])
    await store.observe("web", SIGNER)
    for entry in service.control("GET", "log"):
        assert entry.get("query") in (None, "", {}, [])
        assert str(entry.get("path", entry.get("target", ""))).rstrip("/").endswith("platform_api")


async def test_many_reads_are_one_listing(connect: Open, service: Service) -> None:
    """Reading more entries than there are pages takes the pages; reading few takes one call each."""
    store = connect()
    for number in range(120):
        service.put(f"web:key-{number}", str(number))
    await store.observe("web", SIGNER)
    service.clear_requests()
    wanted = [Identity(f"key-{number}") for number in range(130)]
    found = await store.read("web", wanted)
    assert len(found) == 120
    assert service.requests() == {ITEMS: 3}
    service.clear_requests()
    assert len(await store.read("web", wanted[:2])) == 2
    assert service.requests() == {GET: 2}


async def test_exactly_one_end_is_sent(connect: Open) -> None:
    """A counted lifetime is sent as `ttl`, a moment as `expires_at`, and never both, which the service refuses."""
    with Service.serve(switches={"ttl-limit": "error", "both-ends": "error", "ttl-zero": "error"}) as service:
        clock = SharedClock(service)
        store, now = connect(service, clock), clock.now()
        writes = {
            "ttl": creation("ttl", expires_at=now + 60, ttl=60),
            "moment": creation("moment", expires_at=now + 5000),
            "always": creation("always", expires_at=now + 90 * DAY, ttl=90 * DAY),
            "far": creation("far", expires_at=now + 90 * DAY + 0.5),
        }
        for write in writes.values():
            await store.write("web", [write])
        ends = {key.removeprefix("web:"): item["expires_at"] - now for key, item in service.items().items()}
        assert ends == {"ttl": 60, "moment": 5000, "always": 90 * DAY, "far": 90 * DAY}
        (result,) = await store.write("web", [creation("late", expires_at=now - 1)])
        assert "expires before" in (result.error or "")


@pytest.mark.parametrize("answer", ["old", "new"])
@pytest.mark.parametrize("renews", ["on", "off"])
async def test_a_renewal_renews(connect: Open, answer: str, renews: str) -> None:
    """Whether the service lets a value live on that is written again as it is, and whatever it answers, the entry does; where
    it does, no more is asked than once in the life of a connection."""
    with Service.serve(switches={"renew-equal": renews, "set-answer": answer, "resend": "30s"}) as service:
        clock = SharedClock(service)
        store = connect(service, clock)
        for turn in range(4):
            await store.write("web", [creation("a", expires_at=clock.now() + 90 * DAY, ttl=90 * DAY)])
            assert abs(service.items()["web:a"]["expires_at"] - clock.now() - 90 * DAY) <= 1, turn
            clock.advance(60 * DAY)
        counts = service.requests()
        assert counts[SET] == (4 if renews == "on" else 7)
        if renews == "on":
            assert counts.get(GET, 0) == (1 if answer == "old" else 0)


async def test_a_read_only_store_asks_and_does_not_write(connect: Open, service: Service) -> None:
    """What is opened for reading refuses to write before anything is sent."""
    store = connect(read_only=True)
    await store.observe("web", SIGNER)
    service.clear_requests()
    assert isinstance(await error_of(store.write("web", [creation("a")])), PermanentError)
    assert service.requests() == {}


async def test_namespaces_are_what_stands_before_the_colon(connect: Open, service: Service) -> None:
    """As far as keys tell, without what is kvsync's own."""
    for key in ("web:a", "web:de:b", "shop:a", "plain", "other:#kvsync.ledger"):
        service.put(key, "1")
    assert await connect().namespaces() == ["shop", "web"]


# -- pages that move, pieces of a ledger ------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(0, 60))
async def test_pages_that_move_hide_nothing(seed: int, count: int) -> None:
    """Whatever ends, comes or is moved to the end while it is listed: a listing that is called whole has every entry that was
    there all the time."""
    random, size = Random(seed), 5
    held = [f"key-{number:03}" for number in range(count)]

    async def ask(offset: int) -> list[Item]:
        if held and random.random() < 0.4:
            key = held.pop(random.randrange(len(held)))
            if random.random() < 0.3:
                held.append(key)
        if random.random() < 0.2:
            held.insert(random.choice((0, len(held))), f"new-{seed}-{random.random()}")
        return [{"key": key} for key in held[offset : offset + size]]

    before = set(held)
    listed = await everything(ask, size)
    assert listed.problem is not None or (before & set(held)) <= set(listed.items)


@given(st.integers(0, 300))
async def test_pages_that_rest_cost_no_more_than_they_must(count: int) -> None:
    """Undisturbed, a listing takes a call for every 49 entries, and never more than two in a hundred above the least."""
    calls = 0

    async def ask(offset: int) -> list[Item]:
        nonlocal calls
        calls += 1
        return [{"key": str(number)} for number in range(count)][offset : offset + 50]

    listed = await everything(ask, 50)
    assert (len(listed.items), listed.problem) == (count, None)
    assert calls == max(0, count - 1) // 49 + 1


@given(st.binary(max_size=9000) | st.text(max_size=9000).map(lambda text: text.encode("utf-8", "replace")))
def test_what_is_cut_can_be_joined(document: bytes) -> None:
    """Any document is cut into values that fit, and comes back whole; without one of its pieces it does not."""
    found = cut(document, MOST_VALUE)
    assert all(len(text) <= MOST_VALUE for text in (found.root, *found.chunks.values()))
    assert join(found.root, found.chunks).document == document
    for name in found.chunks:
        with pytest.raises(MissingChunks):
            join(found.root, {other: text for other, text in found.chunks.items() if other != name})


def test_a_large_ledger_changes_little_by_little() -> None:
    """Of the ledger of 5,000 entries, one that is changed, added or removed makes no more than a few pieces new."""
    rows = [f'["key-{number:05}",null,"{number * 7919:022}",7776000]' for number in range(5000)]
    before = cut(_document(rows), MOST_VALUE)
    for changed in (rows[:2500] + rows[2501:], [*rows[:900], '["key-x"]', *rows[900:]], [*rows, '["last"]']):
        after = cut(_document(changed), MOST_VALUE)
        assert len(after.chunks.keys() - before.chunks.keys()) <= 6
        assert join(after.root, {**before.chunks, **after.chunks}).document == _document(changed)


def _document(rows: list[str]) -> bytes:
    return f'{{"digest":"{hash(tuple(rows))}","entries":[{",".join(rows)}]}}'.encode()


# -- doctor -----------------------------------------------------------------------------------------------------------


async def findings(store: Store) -> Mapping[str, bool]:
    return {one.check: one.ok for one in await store.check()}


async def test_doctor_finds_nothing(connect: Open, service: Service) -> None:
    """With everything right it says so, and writes nothing."""
    assert await findings(connect()) == {"key file": True, "reading": True, "writing": True, "clock": True}
    assert service.items() == {}
    assert SET not in service.requests()


async def test_doctor_tells_the_application_from_the_role(connect: Open, service: Service) -> None:
    """An application that does not exist, a role that may not, and an endpoint where nobody is are distinguished."""
    assert await findings(connect(options={"application_id": 3})) == {"key file": True, "application": False}
    with Service.serve(switches={"role": "supervisor"}) as forbidden:
        (finding,) = [one for one in await connect(forbidden).check() if not one.ok]
        assert finding.check == "credential"
        assert "Owner, Admin or Developer" in finding.detail
    store = connect(service)
    await store.aclose()
    context = store.context
    options = {"credentials": CREDENTIALS, "application_id": 1, "ledger": LedgerPlace.STORE}
    nowhere = open_store(
        StoreConfig("telephony", "voximplant", options, endpoint="http://127.0.0.1:9", timeout=1), context
    )
    assert (await findings(nowhere))["endpoint"] is False
    await nowhere.aclose()
