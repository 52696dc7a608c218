"""The store `cloudflare-kv` against the emulator: what each step costs, where the mark is, what never leaves the machine."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.config.model import StoreConfig
from kvsync.errors import AuthError, BatchRefused, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.model.canonical import canonical_json, fingerprint
from kvsync.model.entry import Content, Entry, Identity, Mark
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Precondition, Store, Write, WriteStatus
from kvsync.stores.cloudflare_kv.api import Targets
from kvsync.stores.cloudflare_kv.listing import Listing
from kvsync.stores.cloudflare_kv.metadata import metadata_for, parts_of
from kvsync.stores.extensions import locate
from kvsync.stores.partial import PartialRead
from kvsync.testing import FakeClock
from tests.http.script_server import Exchange, says, serving
from tests.stores.cloudflare_service import TOKEN, Bare, Service, cloudflare_store
from tests.stores.signing import OWNER, signed, signer

KEYS, GET, PUT = "GET /{namespace_id}/keys", "POST /{namespace_id}/bulk/get", "PUT /{namespace_id}/bulk"
Open = Callable[..., Store]
KEY = {"token": None, "api_key": TOKEN}


def creation(key: str, value: bytes | Content = b"v", expires_at: float | None = None, **mark: Any) -> Write:
    content = value if isinstance(value, Content) else Content(value)
    ours = Mark(mark.pop("owner", OWNER), fingerprint(content), **mark)
    return Write(Identity(key), Precondition.ABSENT, content, ours, expires_at)


def many(count: int) -> list[dict[str, Any]]:
    return [{"key": f"key-{number:05}", "value": str(number)} for number in range(count)]


def names(count: int, start: int = 0) -> list[Identity]:
    return [Identity(f"key-{number:05}") for number in range(start, start + count)]


# -- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "calls"), [(0, 1), (1000, 1), (1001, 2), (2500, 3)])
async def test_a_listing_costs_a_call_a_thousand(service: Service, connect: Open, count: int, calls: int) -> None:
    """Observing N entries takes ceil(N/1000) calls and reads no value."""
    service.put_all("web", many(count))
    store = connect()
    await store.namespaces()
    service.clear_requests()
    snapshot = await store.observe("web", signer(store))
    assert snapshot is not None
    assert len(snapshot.entries) == count
    assert snapshot.complete
    assert service.requests() == {KEYS: calls}


async def test_values_are_read_by_the_hundred(service: Service, connect: Open) -> None:
    """Reading N entries that are there takes ceil(N/100) calls; absent ones among them are left out."""
    service.put_all("web", many(250))
    store = connect()
    await store.namespaces()
    service.clear_requests()
    found = await store.read("web", names(301))
    assert {str(one.content.value, "ascii") for one in found.values() if one.content} == set(map(str, range(250)))
    assert service.requests() == {GET: 4}


async def test_a_thousand_that_are_absent_cost_two_calls(service: Service, connect: Open) -> None:
    """Before many entries are made, one listing shows that they are absent; of the few that are there, the values are read."""
    service.put_all("web", [*many(2000)[1500:1503], {"key": "zoo", "value": "far"}])
    store = connect()
    await store.namespaces()
    service.clear_requests()
    found = await store.read("web", names(1000, 1000))
    assert set(found) == set(names(3, 1500))
    assert service.requests() == {GET: 2, KEYS: 1}


async def test_a_crowd_of_others_hides_nothing(service: Service, connect: Open) -> None:
    """Where a listing would be longer than reading, it is given up, and all that was not decided is read."""
    service.put_all("web", [{"key": f"key-0{number:06}", "value": "x"} for number in range(6000)] + many(1000)[990:])
    found = await connect().read("web", [*names(990, 10_000), *names(10, 990)])
    assert set(found) == set(names(10, 990))


async def test_writing_costs_a_call_a_batch(service: Service, connect: Open) -> None:
    """A batch is one call, whatever its size is set to; a longer one is refused before it is sent."""
    store = connect(options={"batch_size": 300})
    assert store.capabilities.batch == 300
    await store.namespaces()
    service.clear_requests()
    results = await store.write("web", [creation(f"k{number}") for number in range(300)])
    assert {one.status for one in results} == {WriteStatus.DONE}
    assert service.requests() == {PUT: 1}
    with pytest.raises(BatchRefused):
        await store.write("web", [creation(f"k{number}") for number in range(301)])


async def test_stores_with_one_token_share_its_quota(service: Service, connect: Open) -> None:
    """Two stores with the same token wait for the same allowance; another token has its own."""
    clock = FakeClock(time.time())
    one, two = connect(clock=clock), connect(clock=clock)
    other = connect(clock=clock, token=service.env["CLOUDFLARE_READER_API_TOKEN"])
    for store in (one, two, other):
        await store.namespaces()
    quotas = [store._client().quota for store in (one, two, other)]  # type: ignore[attr-defined]
    assert quotas[0] is quotas[1]
    assert quotas[0].left == 1198
    assert quotas[2].left == 1199


# -- what never leaves the machine ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", ".", ".."])
async def test_no_request_leaves_for_a_key_that_is_a_path(service: Service, connect: Open, key: str) -> None:
    """A key that is empty, `.` or `..` is refused before any URL is built: no request leaves, for reading nor for writing."""
    store, identity = connect(), Identity(key)
    with pytest.raises(ValueError, match="stores cannot address"):
        store.remote_key("web", identity)
    writes = [Write(identity, Precondition.UNCHANGED), creation(key)]
    for write in writes:
        assert (await store.write("web", [write]))[0].status is WriteStatus.REJECTED
    assert await store.read("web", [identity]) == {}
    with pytest.raises(ValueError, match="cannot be part of a URL"):
        Targets("/client/v4", service.account).one(service.ids["web"], "values", key)
    assert service.total() == 0
    assert service.titles() == ["web"]


async def test_a_batch_goes_without_its_bad_keys(service: Service, connect: Open) -> None:
    """In one call, entries that the store cannot hold are rejected each with its reason, and the others written."""
    writes = [
        creation("good"),
        creation(".."),
        creation("é" * 257),
        creation("soon", expires_at=time.time() + 20),
        creation("large", Content(b"v", metadata=canonical_json({"x": "y" * 1024}))),
        creation("list", Content(b"v", metadata="[1]")),
    ]
    results = await connect().write("web", writes)
    assert [one.status for one in results] == [WriteStatus.DONE] + [WriteStatus.REJECTED] * 5
    assert all(one.error for one in results[1:])
    assert service.values("web") == {"good": b"v"}


@pytest.mark.parametrize("key", ["é" * 256, "%2F", "x/../y", "a?b#c", "\u001f", " ", "...", "kvsync"])
@pytest.mark.parametrize("value", [b"text", b"\xff\x00", b"", b"\r\n", b"\x00" * 9000])
async def test_awkward_keys_hold_awkward_values(service: Service, connect: Open, key: str, value: bytes) -> None:
    """Names and values come back byte for byte, also those that are read one by one because they are not text."""
    store = connect()
    assert (await store.write("web", [creation(key, value)]))[0].status is WriteStatus.DONE
    found = await store.read("web", [Identity(key)])
    assert found[Identity(key)].content == Content(value)
    assert service.values("web") == {key: value}


async def test_one_value_that_is_not_text_fails_no_other(service: Service, connect: Open) -> None:
    """Among a hundred texts, a value that is not text is found and read alone, with its metadata and its end."""
    service.put_all("web", many(99))
    ends = int(time.time()) + 5000
    service.put("web", "key-00042x", b"\xff\xfe", metadata={"a": 1}, expiration=ends)
    store = connect()
    found = await store.read("web", [*names(99), Identity("key-00042x")])
    assert len(found) == 100
    binary = found[Identity("key-00042x")]
    assert binary.content == Content(b"\xff\xfe", metadata='{"a":1}')
    assert binary.expires_at == ends
    service.clear_requests()
    await store.read("web", [*names(99), Identity("key-00042x")])
    assert service.requests()[GET] == 1  # it is known by now


@pytest.mark.parametrize(("every", "bulk"), [(1, 31), (10, 83)])
async def test_values_that_are_not_text_cost_few_calls(service: Service, connect: Open, every: int, bulk: int) -> None:
    """Where few values are text, all are read alone before each call is halved down to one name."""
    values = {f"key-{number:02}": b"\xff" if number % every == 0 else b"text" for number in range(100)}
    pairs = [{"key": key, "value": b64encode(value).decode(), "base64": True} for key, value in values.items()]
    service.put_all("web", pairs)
    store = connect()
    await store.namespaces()
    service.clear_requests()
    found = await store.read("web", [Identity(key) for key in values])
    assert {name.key: held.content.value for name, held in found.items() if held.content} == values
    assert service.requests()[GET] == bulk
    assert sum(service.requests().values()) == bulk + 2 * 100 / every


# -- the mark ---------------------------------------------------------------------------------------------------------


async def test_the_mark_is_one_member_next_to_the_users_own(service: Service, connect: Open) -> None:
    """What the user asked for stands in the metadata as requested; all that is kvsync's is in one member."""
    content = Content(b"v", "text/html", (("team", "web"),), '{"region":"eu","tier":1}')
    await connect().write("web", [creation("a", content, ttl=3600, protected=True), creation("b", seal=bytes(16))])
    listed = service.listed("web")
    ours = listed["a"]["metadata"].pop("kvsync")
    assert listed["a"]["metadata"] == {"region": "eu", "tier": 1}
    check = ours.pop("r")
    assert len(check) == 8
    assert ours == {
        "o": OWNER,
        "h": fingerprint(content).hex(),
        "t": 3600,
        "f": "p",
        "c": "text/html",
        "tags": {"team": "web"},
    }
    assert listed["b"]["metadata"] == {"kvsync": {"o": OWNER, "h": fingerprint(Content(b"v")).hex(), "s": "A" * 22}}


@pytest.mark.parametrize("change", [{"region": "us"}, {"more": 1}, {"region": None}])
async def test_metadata_that_someone_changed_is_seen_in_a_listing(
    service: Service, connect: Open, change: dict[str, Any]
) -> None:
    """Who changes the metadata and leaves the mark in place is found out without any value being read."""
    store = connect()
    writes = [creation("a", Content(b"v", metadata='{"region":"eu"}')), creation("b")]
    await store.write("web", [signed(store, write) for write in writes])
    before = await store.observe("web", signer(store))
    assert before is not None
    assert set(before.settled) == {Identity("a"), Identity("b")}
    for key in ("a", "b"):
        service.put("web", key, b"v", metadata=service.listed("web")[key]["metadata"] | change)
    after = await store.observe("web", signer(store))
    assert after is not None
    assert not after.settled
    assert {one.fingerprint for one in after.entries.values()} == {None}


@given(
    st.one_of(
        st.none(),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_metadata_of_others_is_never_too_strange(data: Any) -> None:
    """Whatever stands in metadata, or in our member of it, is taken apart without an error."""
    member = dict.fromkeys("ohstf", data) | {"tags": data}
    for strange in (data, {"kvsync": data}, {"kvsync": member}):
        parts = parts_of(strange)
        assert parts.mark is None or isinstance(parts.mark.owner, str)


@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans()), max_size=4),
    st.dictionaries(st.text(), st.text(), max_size=3),
    st.none() | st.text(min_size=1),
    st.none() | st.integers(60, 10**9),
    st.booleans(),
    st.booleans(),
    st.none() | st.binary(min_size=16, max_size=16),
)
def test_metadata_comes_back(
    data: dict[str, Any],
    tags: dict[str, str],
    type_: str | None,
    ttl: int | None,
    sensitive: bool,
    protected: bool,
    seal: bytes | None,
) -> None:
    """What is put into metadata is what is taken out of it, mark and content, in whatever order a server gives it back."""
    metadata = canonical_json(data) if data and "kvsync" not in data else None
    content = Content(b"v", type_, tuple(sorted(tags.items())), metadata)
    mark = Mark("me", fingerprint(content), ttl, sensitive, protected, seal=seal)
    written = json.loads(json.dumps(metadata_for(content, mark)))
    parts = parts_of(dict(reversed(written.items())))
    assert (parts.mark, parts.content_type, parts.tags, parts.metadata) == (mark, type_, content.tags, metadata)
    assert parts.listed == mark.fingerprint


def audit(store: Store, content: Content) -> str:
    return "; ".join(store.audit("web", Entry(Identity("a"), store.normalise(content), fingerprint(content))))


async def test_metadata_is_measured_offline(service: Service, connect: Open) -> None:
    """Metadata that only kvsync's mark makes too long, takes the mark's name or has no room for it is found offline; what is
    let pass is taken by the store."""
    store = connect()
    fits = next(size for size in range(1000, 800, -1) if not audit(store, _with_metadata(size)))
    assert "1,024" in audit(store, _with_metadata(fits + 1))
    assert "kvsync" in audit(store, Content(b"", metadata='{"kvsync":{}}'))
    assert "must be a JSON object" in audit(store, Content(b"", metadata='["a"]'))
    assert service.total() == 0
    write = signed(store, creation("a", _with_metadata(fits)))
    assert (await store.write("web", [write]))[0].status is WriteStatus.DONE


def _with_metadata(size: int) -> Content:
    return Content(b"", metadata=canonical_json({"x": "é" * (size // 2) + "y" * (size % 2)}))


async def test_whole_numbers_and_empty_metadata_have_one_spelling(connect: Open) -> None:
    """`{}` is not metadata, and `1.0` is `1`: a store that keeps JSON makes no difference, and nor does the plan."""
    store = connect()
    assert store.normalise(Content(b"", metadata="{}")) == Content(b"")
    assert store.normalise(Content(b"", metadata='{"a":1.0,"b":[2.5]}')).metadata == '{"a":1,"b":[2.5]}'


# -- lifetimes --------------------------------------------------------------------------------------------------------


async def test_the_least_lifetime_is_counted_by_the_server(service: Service, connect: Open) -> None:
    """A TTL of 60 seconds is taken although time passes on the way, and whatever this machine's clock says."""
    clock = FakeClock(time.time() - 30)
    write = creation("a", expires_at=clock.now() + 60, ttl=60)
    clock.advance(0.5)
    assert (await connect(clock=clock).write("web", [write]))[0].status is WriteStatus.DONE
    assert 0 <= service.listed("web")["a"]["expiration"] - time.time() <= 61


# -- namespaces -------------------------------------------------------------------------------------------------------


async def test_a_wrong_namespace_is_not_an_empty_store(service: Service, connect: Open) -> None:
    """A namespace that does not exist is an error that suggests the nearest name, never an empty listing."""
    store = connect()
    with pytest.raises(PermanentError, match='did you mean "web"'):
        await store.observe("wep", signer(store, "wep"))
    with pytest.raises(PermanentError, match="create_namespaces"):
        await store.write("wep", [creation("a")])
    with pytest.raises(PermanentError):
        await store.read("wep", [Identity("a")])
    assert service.titles() == ["web"]


async def test_a_namespace_is_found_by_title_by_id_and_by_its_configured_id(service: Service, connect: Open) -> None:
    """Title, id, and a name that the configuration gives to an id all lead to the same namespace."""
    service.put("web", "a", b"1")
    store = connect(options={"namespace_ids": {"prod": service.ids["web"]}})
    for name in ("web", service.ids["web"], "prod"):
        assert set(await store.read(name, [Identity("a")])) == {Identity("a")}
    assert await store.namespaces() == ["prod"]


async def test_a_wrong_configured_id_is_reported(connect: Open) -> None:
    """A configured id that leads nowhere is an error that says which line to correct."""
    store = connect(options={"namespace_ids": {"prod": "f" * 32, "odd": "xyz"}})
    for name in ("prod", "odd"):
        with pytest.raises(PermanentError, match=f"namespace_ids.{name}"):
            await store.observe(name, signer(store, name))


async def test_all_pages_of_namespaces_are_looked_through(service: Service, connect: Open) -> None:
    """The hundred and first namespace is found as well as the first."""
    for number in range(100):
        service.make(f"ns-{number:03}")
    assert len(await connect().namespaces()) == 101
    store = connect()
    snapshot = await store.observe("web", signer(store))
    assert snapshot is not None


async def test_a_namespace_is_made_in_its_jurisdiction(service: Service, connect: Open) -> None:
    """A namespace that kvsync creates keeps its data in the configured jurisdiction."""
    store = connect(options={"create_namespaces": True, "jurisdiction": "eu"})
    await store.write("new", [creation("a")])
    found = {one["title"]: one.get("jurisdiction") for one in service.api("GET", "")["result"]}
    assert found == {"web": None, "new": "eu"}


async def test_a_missing_namespace_is_made_when_it_is_written_to(service: Service, connect: Open) -> None:
    """With create_namespaces looking makes nothing, the first write makes the namespace, and two at once make one."""
    one, two = (connect(options={"create_namespaces": True}) for _ in range(2))
    snapshot = await one.observe("new", signer(one, "new"))
    assert snapshot is not None
    assert not snapshot.entries
    assert await one.read("new", [Identity("a")]) == {}
    await two.observe("new", signer(two, "new"))
    assert service.titles() == ["web"]
    for store, key in ((one, "a"), (two, "b")):
        assert (await store.write("new", [creation(key)]))[0].status is WriteStatus.DONE
    assert sorted(service.titles()) == ["new", "web"]
    assert len(await one.read("new", [Identity("a"), Identity("b")])) == 2


async def test_a_namespace_that_is_deleted_under_us_is_not_an_empty_store(service: Service, connect: Open) -> None:
    """Once its namespace is gone a store says so for every kind of call, whatever has the title by now; located again it finds
    the new one."""
    store = connect()
    await store.write("web", [creation("a")])
    service.remove("web")
    with pytest.raises(PermanentError, match="deleted in the meantime"):
        await store.observe("web", signer(store))
    service.ids["web"] = service.make("web")
    with pytest.raises(PermanentError, match="deleted in the meantime"):
        await store.read("web", [Identity("a")])
    with pytest.raises(PermanentError, match="deleted in the meantime"):
        await store.write("web", [creation("a")])
    assert service.values("web") == {}
    await locate(store, "web")
    snapshot = await store.observe("web", signer(store))
    assert snapshot is not None
    assert not snapshot.entries


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reading", "writing"),
    [
        ("429:1", TransientError, TransientError),
        ("200:1", TransientError, TransientError),
        ("403:1", TransientError, TransientError),
        ("502:1", TransientError, LostAnswer),
        ("524:1", TransientError, LostAnswer),
        ("524-after-write:1", TransientError, LostAnswer),
        ("drop-after-write:1", TransientError, LostAnswer),
        ("401:1", AuthError, AuthError),
        ("400:1", PermanentError, BatchRefused),
        ("413:1", PermanentError, BatchRefused),
        ("truncate:1", TransientError, LostAnswer),
    ],
)
async def test_what_an_answer_means(
    service: Service, connect: Open, fault: str, reading: type[StoreError], writing: type[StoreError]
) -> None:
    """Each failure becomes the error that says what to do: wait, look first, split, stop."""
    store = connect(clock=FakeClock(time.time()))
    await store.observe("web", signer(store))
    service.faults(fault)
    if "after-write" not in fault:
        with pytest.raises(reading) as caught:
            await store.observe("web", signer(store))
        assert not isinstance(caught.value, LostAnswer)
        assert service.token not in str(caught.value)
    with pytest.raises(writing) as error:
        await store.write("web", [creation("a", b"secret-value")])
    assert type(error.value) is writing
    assert "secret-value" not in str(error.value)


async def test_the_wait_that_the_service_names_is_kept(service: Service, connect: Open) -> None:
    """A throttled write tells how long to wait."""
    store = connect()
    await store.observe("web", signer(store))
    service.faults("429:1")
    with pytest.raises(TransientError) as error:
        await store.write("web", [creation("a")])
    assert error.value.retry_after == 1


async def test_keys_that_were_not_fully_written_are_unknown(service: Service, connect: Open) -> None:
    """Of a bulk call, each key that the answer calls unsuccessful is unknown, and the others are done."""
    store = connect()
    service.faults("partial-bulk:0.5")
    results = await store.write("web", [creation(f"k{number}") for number in range(40)])
    assert {one.status for one in results} == {WriteStatus.DONE, WriteStatus.UNKNOWN}
    service.faults("")
    done = {f"k{number}" for number, one in enumerate(results) if one.status is WriteStatus.DONE}
    assert done <= set(service.listed("web"))


async def test_a_listing_that_breaks_off_is_incomplete() -> None:
    """A listing whose later page cannot be had is told to be incomplete, with what it brought; the first page is an error."""
    page = {"success": True, "errors": [], "messages": [], "result": [{"name": "a"}]}
    first = says(200, json.dumps(page | {"result_info": {"count": 1, "cursor": "next"}}).encode())
    refused = {"success": False, "errors": [{"code": 10001, "message": "internal"}], "result": None}
    broken = says(500, json.dumps(refused).encode())
    for acts, brought in (([first, broken], 1), ([broken], None)):
        async with serving(*acts) as server:
            snapshot = await _observed(server.origin)
            assert snapshot == brought


async def test_pages_that_go_in_circles_are_not_a_listing() -> None:
    """A cursor that comes back does not make an endless listing, and what it brought is incomplete."""
    page = {"success": True, "errors": [], "result": [], "result_info": {"count": 0, "cursor": "same"}}
    async with serving(says(200, json.dumps(page).encode())) as server:
        assert await _observed(server.origin) == 0


@pytest.mark.parametrize("page", [{}, {"success": True, "result": {}}, {"success": True, "result": [{"nam": "a"}]}, []])
async def test_what_is_not_a_list_of_keys_is_not_an_empty_store(page: Any) -> None:
    """An answer of another shape is an error, never a listing."""
    async with serving(says(200, json.dumps(page).encode())) as server:
        assert await _observed(server.origin) is None


async def _observed(origin: str) -> int | None:
    """How many entries an incomplete listing brought; None when it was an error."""
    config = StoreConfig("edge", "cloudflare-kv", {}, endpoint=f"{origin}/client/v4", timeout=60)
    found = Bare(origin)
    options = {"namespace_ids": {"web": "0" * 32}}
    store = cloudflare_store(found, FakeClock(), options=options, timeout=config.timeout)
    try:
        snapshot = await store.observe("web", signer(store))
    except TransientError:
        return None
    finally:
        await store.aclose()
    assert snapshot is not None
    assert not snapshot.complete
    assert snapshot.problems
    return len(snapshot.entries)


# -- the edge in front of the API ---------------------------------------------------------------------------------------


async def test_a_key_that_the_edge_blocks_stops_no_other() -> None:
    """Where the edge refuses the requests about one key, the other entries are read, and the refusal is about that key."""

    async def act(exchange: Exchange) -> None:
        if "/bulk/get " not in exchange.line:
            await says(403, b"<!DOCTYPE html><title>Attention Required!</title>", Content_Type="text/html")(exchange)
            return
        wanted = json.loads(exchange.body)["keys"]
        if any("duck" in name for name in wanted):
            error = {
                "code": 10029,
                "message": "bulk get keys: 'At least one of the keys corresponds to a non-text value'",
            }
            await says(400, json.dumps({"success": False, "errors": [error], "result": None}).encode())(exchange)
            return
        values = {name: {"value": "v", "metadata": None} for name in wanted}
        await says(200, json.dumps({"success": True, "errors": [], "result": {"values": values}}).encode())(exchange)

    async with serving(act) as server:
        options = {"namespace_ids": {"web": "1" * 32}}
        store = cloudflare_store(Bare(server.origin), FakeClock(), options=options, timeout=60)
        blocked, others = Identity("blog/duck..."), [Identity("a"), Identity("b")]
        with pytest.raises(PartialRead, match="something in front of the API refused it") as caught:
            await store.read("web", [blocked, *others])
        assert set(caught.value.found) == set(others)
        assert set(caught.value.failed) == {blocked}
        await store.aclose()


# -- doctor -----------------------------------------------------------------------------------------------------------


async def findings(store: Store) -> dict[str, tuple[bool, str]]:
    return {one.check: (one.ok, f"{one.detail} {one.hint or ''}") for one in await store.check()}


async def test_doctor_finds_nothing_wrong(service: Service, connect: Open) -> None:
    """A healthy connection passes every check, says what is left of the quota, and leaves everything as it was."""
    service.put("web", "a", b"1")
    found = await findings(connect(read_only=True))
    assert all(ok for ok, _ in found.values())
    assert set(found) == {"credential", "reading", "writing", "clock", "quota"}
    assert "calls left" in found["quota"][1]
    assert service.values("web") == {"a": b"1"}
    assert service.titles() == ["web"]


@pytest.mark.parametrize(
    ("options", "wrong", "words"),
    [
        ({"token": "wrong-token-altogether"}, {"credential"}, "token"),
        ({"token": "two words"}, {"credential"}, "copy it again"),
        ({"options": {"account_id": "f" * 32}}, {"permission"}, "permission"),
        ({"options": {"account_id": "nonsense"}}, {"account"}, "account_id"),
        ({"options": {"account_id": None, "account": "Nobody"}}, {"account"}, '"kvsync-emulator"'),
        ({"options": KEY | {"email": "a@b.example"}, "token": "f" * 37}, {"credential"}, "api_key"),
        ({"options": {"namespace_ids": {"prod": "f" * 32}}}, {"namespace"}, "namespace_ids.prod"),
    ],
)
async def test_doctor_tells_faults_apart(connect: Open, options: dict[str, Any], wrong: set[str], words: str) -> None:
    """A wrong token, one without permission, a wrong account and a wrong id are distinguished, each with what to do."""
    found = await findings(connect(**options))
    assert {check for check, (ok, _) in found.items() if not ok} == wrong
    assert all(words in found[check][1] for check in wrong)


async def test_doctor_finds_a_token_that_may_only_read(service: Service, connect: Open) -> None:
    """A token that may read and not write fails the one check that is about writing."""
    found = await findings(connect(token=service.env["CLOUDFLARE_READER_API_TOKEN"]))
    assert {check for check, (ok, _) in found.items() if not ok} == {"writing"}
    assert "Edit" in found["writing"][1]


async def test_doctor_finds_a_clock_that_is_wrong(service: Service, connect: Open) -> None:
    """A clock that is minutes off is found before ends of lifetimes go wrong by it."""
    found = await findings(connect(clock=FakeClock(time.time() + 600)))
    assert found["clock"][0] is False
    assert "10 minutes ahead" in found["clock"][1]


@given(st.lists(st.text("0123456789abcdef \u0663", min_size=30, max_size=33), max_size=4))
def test_fingerprints_that_someone_made_up_cause_no_trouble(prints: list[str]) -> None:
    """Whatever stands where a fingerprint should, alone or next to others, the listing is taken in."""
    seals = MarkSigner(OWNER, Place("cloudflare-kv", ()))
    (seal,) = seals.plain_seal_texts([Identity("good")], [bytes(16)])
    listing = Listing(seals)
    good = {"name": "good", "metadata": {"kvsync": {"o": OWNER, "h": "0" * 32, "s": seal}}}
    made_up = [
        {"name": f"k{n}", "metadata": {"kvsync": {"o": OWNER, "h": text, "s": seal}}} for n, text in enumerate(prints)
    ]
    listing.add([good, *made_up])
    entries = listing.entries(None)
    assert len(entries) == 1 + len(prints)
    assert entries.settled[Identity("good")] == bytes(16)
