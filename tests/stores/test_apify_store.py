"""The store `apify` against the emulator: what each step costs, what is taken for whole, what never leaves the machine."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsync.errors import AuthError, BatchRefused, LostAnswer, PermanentError, StoreError, TransientError
from kvsync.model.answer_limits import AnswerLimits
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Content, Entry, Identity, Mark, Target
from kvsync.model.snapshot import Snapshot
from kvsync.stores.apify.api import LEDGER_KEY, Targets
from kvsync.stores.apify.content import kept_type, sent_type
from kvsync.stores.base import Precondition, Store, Write, WriteStatus
from kvsync.stores.extensions import locate, observe_deep, version_hints
from kvsync.testing import FakeClock
from kvsync.testing.conformance.ledgers import lease_store_of
from tests.cli.runner import run_command
from tests.http.script_server import Act, says, serving
from tests.stores.apify_service import Bare, Service, apify_store
from tests.support.places import signer_of

OWNER = "conformance"
SIGNER = signer_of(Target("apify", "web"), OWNER)
FIND, KEYS, ZIP = "GET /{storeId}", "GET /{storeId}/keys", "GET /{storeId}/records"
GET, PUT, DELETE = (f"{method} /{{storeId}}/records/{{recordKey}}" for method in ("GET", "PUT", "DELETE"))
SECRET = "a-signing-secret"
Open = Callable[..., Store]


def creation(key: str, value: bytes | Content = b"v") -> Write:
    content = value if isinstance(value, Content) else Content(value)
    return Write(Identity(key), Precondition.ABSENT, content, Mark(OWNER, fingerprint(content)))


async def put_many(store: Store, count: int) -> None:
    """Write so many records, as fast as it goes."""
    gate = asyncio.Semaphore(32)

    async def put(number: int) -> None:
        async with gate:
            await store.write("web", [creation(f"key-{number:05}", b"value %d" % number)])

    await asyncio.gather(*map(put, range(count)))


async def see(store: Store, *, deep: bool = False) -> Snapshot:
    snapshot = await (observe_deep(store, "web", SIGNER) if deep else store.observe("web", SIGNER))
    assert snapshot is not None
    return snapshot


# -- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.system
async def test_five_thousand_records(service: Service, connect: Open) -> None:
    """5,000 records are observed in five pages, and each byte of them in one request more; both views agree with what was
    written, and neither takes a value that was changed for the one that was written."""
    store = connect()
    await asyncio.to_thread(service.fill, "web", 5000)
    known = {one.identity: one.etag for one in (await store.read("web", [Identity("filled-00007")])).values()}
    service.clear_requests()
    listed, deep = await see(store), await see(store, deep=True)
    assert service.requests() == {KEYS: 5, ZIP: 1}
    assert listed.complete
    assert len(listed.entries) == 5000
    assert listed.entries.keys() == deep.entries.keys()
    assert listed.token == deep.token
    identity, etag = known.popitem()
    assert etag is not None
    hints = version_hints(store)
    for snapshot in (listed, deep):
        listed_at = [
            one.identity for one in snapshot.entries.values() if one.etag and hints.may_be_version(one.etag, etag)
        ]
        assert listed_at.count(identity) == 1
    service.put("web", "filled-00007", b"eulav 7")
    assert version_hints(store).may_be_version(
        (await see(store)).entries[identity].etag or "", etag
    )  # its size is the same
    assert not version_hints(store).may_be_version((await see(store, deep=True)).entries[identity].etag or "", etag)


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1000, 1), (1001, 2)])
async def test_a_listing_costs_a_call_a_thousand(service: Service, connect: Open, count: int, pages: int) -> None:
    """Observing N records takes ceil(N/1000) calls, one more for a ledger that is kept in the store, and reads no value."""
    service.fill("web", count)
    for ledger, more in (("local", {}), ("store", {GET: 1})):
        store = connect(ledger=ledger)
        service.clear_requests()
        snapshot = await see(store)
        assert (len(snapshot.entries), snapshot.complete) == (count, True)
        assert service.requests() == {FIND: 1, KEYS: pages, **more}


async def test_a_write_is_one_call(service: Service, connect: Open) -> None:
    """A store is looked for once, and then every read, write and delete is one call; two writes in one are refused."""
    store = connect()
    await see(store)
    service.clear_requests()
    await store.write("web", [creation("a")])
    (entry,) = (await store.read("web", [Identity("a"), Identity("b")])).values()
    await store.write("web", [Write(Identity("a"), Precondition.UNCHANGED, etag=entry.etag)])
    assert service.requests() == {PUT: 1, GET: 2, DELETE: 1}
    with pytest.raises(BatchRefused):
        await store.write("web", [creation("a"), creation("b")])


async def test_the_rate_that_the_api_names_is_kept() -> None:
    """Whatever rate the answers name for records is kept from then on, and no call is turned away for being early."""
    with Service.serve(switches={"rate": "50/20"}) as service:
        service.reset("web")
        clock = _Measuring(service)
        store = apify_store(service, clock)
        for number in range(120):
            await store.write("web", [creation(f"k{number}")])
        await store.aclose()
        assert set(service.control("GET", "stats")["statuses"]) == {"200", "201"}
        assert 2 <= clock.waited <= 3


class _Measuring(FakeClock):
    """A clock that the service goes by as well."""

    def __init__(self, service: Service) -> None:
        super().__init__(1_800_000_000.0)
        self._kv, self._began = service, self.now()
        service.time(self.now())

    @property
    def waited(self) -> float:
        return self.now() - self._began

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self._kv.time(self.now())


# -- keys that are paths, and the key that is kvsync's own ---------------------------------------------------------------


@pytest.mark.parametrize("key", ["", ".", ".."])
async def test_no_request_leaves_for_a_key_that_is_a_path(service: Service, connect: Open, key: str) -> None:
    """A key that is empty, `.` or `..` is refused before any URL is built: no request leaves, for reading nor for writing."""
    store = connect()
    await see(store)
    service.clear_requests()
    assert await store.read("web", [Identity(key)]) == {}
    for write in (creation(key), Write(Identity(key), Precondition.UNCHANGED)):
        (result,) = await store.write("web", [write])
        assert result.status is WriteStatus.REJECTED
    with pytest.raises(ValueError, match="cannot be part of a URL"):
        Targets("").record("x", key)
    with pytest.raises(ValueError, match="cannot be part of a URL"):
        Targets("").store(key)
    assert service.total() == 0
    assert service.names() == ["web"]


@pytest.mark.parametrize("key", ["...", "..a", "!'()", "-_.", "A" * 256, "%2e".replace("%", "-")])
async def test_awkward_keys_name_records_of_their_own(service: Service, connect: Open, key: str) -> None:
    """Every key of the API's alphabet names one record, in paths, listings and archives alike."""
    store = connect()
    await store.write("web", [creation(key, b"\x00\xff\r\n")])
    assert service.value("web", key) == b"\x00\xff\r\n"
    for deep in (False, True):
        assert set((await see(store, deep=deep)).entries) == {Identity(key)}


@pytest.mark.parametrize("ledger", ["local", "store"])
async def test_the_ledgers_key_is_nobodys(service: Service, connect: Open, ledger: str) -> None:
    """The record that holds the ledger shows in no view, and cannot be asked for, wherever the ledger is kept."""
    store = connect(ledger=ledger)
    service.put("web", LEDGER_KEY, b"{}", "application/json")
    service.put("web", "a", b"1")
    for deep in (False, True):
        snapshot = await see(store, deep=deep)
        assert set(snapshot.entries) == {Identity("a")}
        assert snapshot.ledger == (b"{}" if ledger == "store" else None)
    content = Content(b"x")
    assert store.audit("web", Entry(Identity(LEDGER_KEY), content, fingerprint(content)))
    assert await store.read("web", [Identity(LEDGER_KEY)]) == {}
    for write in (creation(LEDGER_KEY), Write(Identity(LEDGER_KEY), Precondition.UNCHANGED)):
        assert (await store.write("web", [write]))[0].status is WriteStatus.REJECTED
    assert service.value("web", LEDGER_KEY) == b"{}"


async def test_the_ledger_comes_back_and_is_seen(service: Service, connect: Open) -> None:
    """What is left as the ledger is read again by another connection, and makes an earlier token void."""
    store, other = connect(ledger="store"), connect(ledger="store")
    assert await lease_store_of(store).read_ledger("web") is None
    token = (await see(store)).token
    await lease_store_of(store).write_ledger("web", b'{"a": 1}')
    assert await lease_store_of(other).read_ledger("web") == b'{"a": 1}'
    assert service.record("web", LEDGER_KEY) == (b'{"a": 1}', "application/json; charset=utf-8")
    assert (await see(other)).token != token
    again = (await see(store)).token
    assert again is not None
    assert await other.observe("web", SIGNER, again) is None
    assert (await see(other, deep=True)).ledger == b'{"a": 1}'


async def test_labels_and_prefixes_by_format(service: Service, connect: Open) -> None:
    """With a key format only keys of that format are seen, in listings and archives, and the ledger next to them."""
    store = connect(key_format="conf-{label}.{key}", ledger="store")
    await lease_store_of(store).write_ledger("web", b"{}")
    service.put("web", "other", b"1")
    service.put("web", "conf-odd", b"1")
    write = creation("a")
    for label in (None, "de"):
        await store.write("web", [Write(Identity("a", label), write.precondition, write.content, write.mark)])
    for deep in (False, True):
        snapshot = await see(store, deep=deep)
        assert set(snapshot.entries) == {Identity("a"), Identity("a", "de")}
        assert snapshot.ledger == b"{}"
    assert {"conf-.a", "conf-de.a"} <= set(service.keys("web"))


# -- contents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (Content(b"text"), "text/plain; charset=utf-8"),
        (Content(b"\xff"), "application/octet-stream"),
        (Content(b"{}", "application/json"), "application/json; charset=utf-8"),
        (Content(b"<p>", "text/html"), "text/html"),
        (Content(b"<p>", "Text/HTML;Charset=UTF8"), "text/html; charset=utf-8"),
        (Content(b"x", "text/plain"), "text/plain"),
        (Content(b"x", 'multipart/x; boundary="a;b"'), 'multipart/x; boundary="a;b"'),
        (Content(b"x", "application/octet-stream"), "application/octet-stream"),
        (Content(b"", None), "text/plain; charset=utf-8"),
    ],
)
async def test_content_types_go_there_and_back(service: Service, connect: Open, content: Content, sent: str) -> None:
    """A record is stored with the content type that the API's own clients would give it, and read back as kvsync has it."""
    store = connect()
    wanted = store.normalise(content)
    (result,) = await store.write("web", [creation("a", wanted)])
    assert service.record("web", "a") == (content.value, sent)
    (found,) = (await store.read("web", [Identity("a")])).values()
    assert (found.content, found.etag) == (wanted, result.etag)


@given(st.binary(max_size=4), st.text("aZ/; =-\"'.+cháset8", max_size=20))
def test_a_content_type_has_one_spelling(value: bytes, written: str) -> None:
    """Whatever content type is written, the one that is kept is sent and kept the same from then on."""
    kept = kept_type(value, written)
    assert kept_type(value, sent_type(Content(value, kept))) == kept


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json;charset=UTF-8", "Application/JSON; charset=utf8"]
)
async def test_json_of_other_clients_is_the_same_json(service: Service, connect: Open, kind: str) -> None:
    """JSON that another client wrote again, with its own spaces, order and spelling of the type, has the same fingerprint."""
    store = connect()
    wanted = Content(b'{"a":1,"b":2}', "application/json")
    service.put("web", "a", b'{ "b": 2,\n "a": 1 }', kind)
    (found,) = (await store.read("web", [Identity("a")])).values()
    assert found.fingerprint == fingerprint(wanted)


async def test_compressed_records_of_others_are_read(service: Service, connect: Open) -> None:
    """Records that other programs sent compressed are read as what they mean, and known again by their stored size."""
    store = connect()
    text = b"some text " * 200
    bare = zlib.compressobj(wbits=-15)
    service.put("web", "gzip", gzip.compress(text), Content_Encoding="gzip")
    service.put("web", "zlib", zlib.compress(text), Content_Encoding="deflate")
    service.put("web", "bare", bare.compress(text) + bare.flush(), Content_Encoding="deflate")
    listed = (await see(store)).entries
    for key in ("gzip", "zlib", "bare"):
        (found,) = (await store.read("web", [Identity(key)])).values()
        assert found.content == Content(text)
        assert found.size == len(text)
        assert found.etag is not None
        assert version_hints(store).may_be_version(listed[Identity(key)].etag or "", found.etag)


async def test_a_compressed_record_that_is_too_large_is_not_unpacked(service: Service) -> None:
    """A small response must not fill the memory; the error names the limit."""
    service.put("web", "bomb", gzip.compress(b"x" * 1_001), Content_Encoding="gzip")
    store = apify_store(service, limits=AnswerLimits(unpacked=1_000))
    with pytest.raises(StoreError, match=r"more than 1,000 bytes after decompression; raise limits\.unpacked"):
        await store.read("web", [Identity("bomb")])
    await store.aclose()


async def test_html_is_read_as_it_is() -> None:
    """HTML, which the API rewrites for browsers, is read byte for byte."""
    with Service.serve(switches={"html": "guarded"}) as service:
        service.reset("web")
        store = apify_store(service)
        page = Content(b"<script>alert(1)</script>", "text/html")
        await store.write("web", [creation("a", page)])
        (found,) = (await store.read("web", [Identity("a")])).values()
        await store.aclose()
        assert found.content == page


def test_a_content_type_that_is_not_a_header_is_found_offline() -> None:
    """A content type with characters that no HTTP header takes is reported before anything is sent."""
    store = apify_store(Bare("http://127.0.0.1:9"))
    for kind in ("text/plain\r\nX-Evil: 1", "text/é"):
        content = Content(b"x", kind)
        assert store.audit("web", Entry(Identity("a"), content, fingerprint(content)))


async def test_a_record_may_come_from_another_host(connect: Open) -> None:
    """A record that another host gives out is fetched there, and the token does not go with the question."""
    with Service.serve(switches={"redirects": "strict"}) as service:
        service.reset("web")
        store = apify_store(service)
        await store.write("web", [creation("a", b"from afar")])
        found = await store.read("web", [Identity("a"), Identity("b")])
        await store.aclose()
        assert [one.content for one in found.values()] == [Content(b"from afar")]
    async with serving(says(200, b"elsewhere", Content_Type="text/plain; charset=utf-8")) as other:
        location = f"{other.origin}/place?signature={SECRET}"
        async with serving(says(200, _found()), says(302, Location=location)) as api:
            store = connect(Bare(api.origin))
            (entry,) = (await store.read("web", [Identity("a")])).values()
            assert entry.content == Content(b"elsewhere")
        assert api.seen[1].headers["authorization"] == "Bearer a-token-of-nobody"
        assert "authorization" not in other.seen[0].headers


@pytest.mark.parametrize("location", ["http://203.0.113.1/x?signature=a-signing-secret", "ftp://x/", "//user@x/", ""])
async def test_not_every_address_is_followed(connect: Open, location: str) -> None:
    """The way to another host ends where it would be unsafe, or leads in circles, and what it holds is not told."""
    async with serving(says(200, _found()), says(302, Location=location)) as api:
        store = connect(Bare(api.origin))
        with pytest.raises(PermanentError) as error:
            await store.read("web", [Identity("a")])
    assert SECRET not in str(error.value)
    assert "203.0.113.1" not in str(error.value)


# -- namespaces -------------------------------------------------------------------------------------------------------


async def test_a_wrong_namespace_is_not_an_empty_store(service: Service, connect: Open) -> None:
    """A store that does not exist is an error that suggests the nearest name, never an empty listing."""
    store = connect()
    with pytest.raises(PermanentError, match=r'no key-value store "wbe".*did you mean "web".*create_namespaces'):
        await store.observe("wbe", SIGNER)
    for name in ("..", "a/b", "a b", "", "é", "a~b~c"):
        service.clear_requests()
        with pytest.raises(PermanentError, match="is not a valid name"):
            await store.read(name, [Identity("a")])
        assert service.total() == 0


def test_a_name_that_no_store_can_have_is_found_offline(tmp_path: Path) -> None:
    """`validate` reports a namespace that Apify cannot have, at its line, and takes names, ids and owners."""
    config = "stores: {scraper: {type: apify, token: {env: NOT_SET}}}\npolicy: {prune: owned}\n"
    (tmp_path / "kvsync.yaml").write_text(f"version: 1\nowner: us\n{config}")
    (tmp_path / "state").mkdir()
    names = ["web", "WTnCkEV9dmcLY5TBh", "jane~web", "a_b", "a/b", "é", "a" * 64, "-a"]
    for number, name in enumerate(names):
        text = f"store: scraper\nnamespace: {json.dumps(name)}\nkeys: {{a: 1}}\n"
        (tmp_path / f"state/{number}.yaml").write_text(text)
    stderr = run_command(["validate"], tmp_path, code=78).stderr
    refused = re.findall(r"state/(\d)\.yaml:2:12: namespace .* is not valid in apify \(it must match", stderr)
    assert refused == ["4", "5", "6", "7"]


async def test_a_namespace_is_found_by_name_by_id_and_by_owner(service: Service, connect: Open) -> None:
    """Name, id, and name with the user all lead to the same store."""
    service.put("web", "a", b"1")
    me = service.api("GET", f"/{service.ids['web']}")["data"]["username"]
    for name in ("web", "WEB", service.ids["web"], f"{me}~web"):
        snapshot = await connect().observe(name, SIGNER)
        assert snapshot is not None
        assert set(snapshot.entries) == {Identity("a")}
    snapshot = await connect(options={"username": me}).observe("web", SIGNER)
    assert snapshot is not None


async def test_an_unnamed_store_is_refused(service: Service, connect: Open) -> None:
    """A store without a name is not managed, for it would be deleted by Apify after a while; the reason is reported."""
    with pytest.raises(PermanentError, match=r"has no name.*deletes unnamed stores"):
        await connect().observe(service.make(None), SIGNER)


async def test_a_missing_namespace_is_made_when_it_is_written_to(service: Service, connect: Open) -> None:
    """With create_namespaces looking and deleting make nothing, the first write makes the store, and two at once make one."""
    store = connect(options={"create_namespaces": True})
    snapshot = await store.observe("mail", SIGNER)
    assert snapshot is not None
    assert not snapshot.entries
    assert await observe_deep(store, "mail", SIGNER) is None
    assert await store.read("mail", [Identity("a")]) == {}
    await store.write("mail", [Write(Identity("a"), Precondition.UNCHANGED)])
    assert service.names() == ["web"]
    await asyncio.gather(*(store.write("mail", [creation(key)]) for key in "abc"))
    assert service.names() == ["web", "mail"]
    assert await store.namespaces() == ["mail", "web"]


async def test_a_store_of_another_user_is_not_made(service: Service, connect: Open) -> None:
    """Where username names someone else, a missing store is an error of the plan too, and nothing is made under the token's
    own name."""
    store = connect(options={"create_namespaces": True, "username": "somebody-else"})
    for call in (store.observe("mail", SIGNER), store.write("mail", [creation("a")])):
        with pytest.raises(
            PermanentError, match="the token cannot create one of user somebody-else, because it belongs"
        ):
            await call
    with pytest.raises(PermanentError, match="there is no key-value store"):
        await store.write("somebody~mail", [creation("a")])
    assert service.names() == ["web"]


async def test_a_namespace_that_is_deleted_under_us_is_not_an_empty_store(service: Service, connect: Open) -> None:
    """Once its store is gone, each kind of call says so instead of finding nothing, and a new one of that name is only used
    once it was located: what was planned for the old one must not be written there."""
    reading: dict[str, Callable[[Store], Any]] = {
        "observe": lambda store: store.observe("web", SIGNER),
        "read": lambda store: store.read("web", [Identity("a")]),
        "write": lambda store: store.write("web", [creation("a")]),
        "delete": lambda store: store.write("web", [Write(Identity("a"), Precondition.UNCHANGED)]),
        "ledger": lambda store: lease_store_of(store).read_ledger("web"),
    }
    stores = {name: connect(ledger="store") for name in reading}
    for store in stores.values():
        await store.write("web", [creation("a")])
    service.remove("web")
    for name, store in stores.items():
        with pytest.raises(PermanentError, match="deleted in the meantime"):
            await reading[name](store)
    service.ids["web"] = service.make("web")
    with pytest.raises(PermanentError, match="deleted in the meantime"):
        await see(stores["observe"])
    await locate(stores["observe"], "web")
    assert not (await see(stores["observe"])).entries


async def test_the_names_of_all_pages_are_reported(service: Service, connect: Open) -> None:
    """Named stores are listed to the last, and unnamed ones are not."""
    page = {"total": 3, "offset": 0, "limit": 2, "count": 2, "items": [{"name": "b"}, {"name": None}]}
    last = page | {"offset": 2, "count": 1, "items": [{"name": "a"}]}
    async with serving(*(says(200, json.dumps({"data": one}).encode()) for one in (page, last))) as server:
        assert await connect(Bare(server.origin)).namespaces() == ["a", "b"]
    assert [one.line.split()[1] for one in server.seen] == [
        f"/v2/key-value-stores?offset={offset}&limit=1000" for offset in (0, 2)
    ]


@pytest.mark.parametrize("path", ["", "/v2", "/proxy", "/proxy/v2"])
def test_the_root_of_the_api_may_have_its_version(path: str) -> None:
    """Whether the endpoint ends with the API's version makes no difference."""
    assert Targets(path).me == f"{path.removesuffix('/v2')}/v2/users/me"


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["seed", "docs"])
@pytest.mark.parametrize(
    ("fault", "reading", "writing"),
    [
        ("429:1", TransientError, TransientError),
        ("500:1", TransientError, LostAnswer),
        ("503:1", TransientError, TransientError),
        ("drop-after-write:1", TransientError, LostAnswer),
        ("500-after-write:1", TransientError, LostAnswer),
        ("401:1", AuthError, AuthError),
        ("402:1", PermanentError, PermanentError),
        ("403:1", AuthError, AuthError),
        ("405:1", PermanentError, PermanentError),
    ],
)
async def test_what_an_answer_means(
    both: dict[str, Service], fault: str, reading: type[StoreError], writing: type[StoreError], names: str
) -> None:
    """Each failure becomes the error that says what to do: wait, look first, pay, stop; whatever its name was or is."""
    service = both[names]
    service.faults("")
    service.reset("web")
    store = apify_store(service, FakeClock())
    await see(store)
    service.faults(fault)
    if "after-write" not in fault:
        with pytest.raises(reading) as caught:
            await store.observe("web", SIGNER)
        assert not isinstance(caught.value, LostAnswer)
        assert service.token not in str(caught.value)
    with pytest.raises(writing) as error:
        await store.write("web", [creation("a", b"secret-value")])
    assert type(error.value) is writing
    assert "secret-value" not in str(error.value)
    await store.aclose()


@pytest.fixture(scope="module")
def both() -> Iterator[dict[str, Service]]:
    """Services that speak in either generation of error names."""
    with Service.serve() as seed, Service.serve(switches={"error-names": "docs"}) as docs:
        yield {"seed": seed, "docs": docs}


async def test_what_the_api_does_not_take_is_refused_for_good() -> None:
    """A record that is too large, or is not what a schema of the store asks, is rejected on its own, with the API's reason."""
    schema = {
        "actorKeyValueStoreSchemaVersion": 1,
        "title": "x",
        "collections": {"pages": {"title": "x", "keyPrefix": "page-", "contentTypes": ["text/html"]}},
    }
    with Service.serve(switches={"largest-record": "100"}) as service:
        service.reset()
        service.ids["web"] = service.make("web", schema)
        store = apify_store(service, ledger="store")
        for write in (creation("a", b"x" * 101), creation("page-1", b"text")):
            (result,) = await store.write("web", [write])
            assert result.status is WriteStatus.REJECTED
            assert "the API rejected it" in (result.error or "")
        with pytest.raises(PermanentError, match="set ledger: local"):
            await lease_store_of(store).write_ledger("web", b"x" * 101)
        await store.aclose()
        assert service.keys("web") == {}


def _found(**fields: Any) -> bytes:
    """The answer that leads to a store."""
    data = {"id": "x" * 17, "name": "web", "urlSigningSecretKey": SECRET}
    return json.dumps({"data": data | fields}).encode()


def _page(*keys: str, **fields: Any) -> Act:
    """A page of keys; a field of None is `null`, one of `...` is left out."""
    items = [{"key": key, "size": 1} for key in keys]
    data = {"items": items, "count": len(keys), "isTruncated": False, "nextExclusiveStartKey": None} | fields
    body = {"data": {name: value for name, value in data.items() if value is not ...}}
    return says(200, json.dumps(body).encode())


MORE = {"isTruncated": True, "nextExclusiveStartKey": "b"}


@pytest.mark.parametrize(
    ("pages", "brought"),
    [
        ([_page("a", "b", **MORE), says(500)], 2),
        ([_page("a", isTruncated=True)], 1),
        ([_page("a", nextExclusiveStartKey=...)], 1),
        ([_page("a", isTruncated=...)], 1),
        ([_page("a", nextExclusiveStartKey="a")], 1),
        ([_page("a", "b", **MORE), _page("a", "b", **MORE)], 2),
        ([_page("a", "b", **MORE), _page("b", "c")], 3),
        ([_page("a", "b", **MORE), _page("c", isTruncated=True, nextExclusiveStartKey="b")], 3),
        ([_page("a", "b", **MORE), _page("c", isTruncated=True, nextExclusiveStartKey="a")], 3),
        ([_page("a", "b", **MORE), _page(isTruncated=True, nextExclusiveStartKey="b")], 2),
        ([_page("a", "a")], 1),
    ],
)
async def test_a_listing_that_leads_astray_is_incomplete(connect: Open, pages: list[Act], brought: int) -> None:
    """A listing that breaks off, repeats itself, leads back or does not say how it goes on ends, and is incomplete."""
    async with serving(says(200, _found()), *pages) as server:
        snapshot = await see(connect(Bare(server.origin), clock=FakeClock()))
    assert not snapshot.complete
    assert snapshot.problems
    assert snapshot.token is None
    assert len(snapshot.entries) == brought


async def test_a_listing_goes_on_where_it_ended(connect: Open) -> None:
    """The next page begins after the key that the last one names, and all of them together are the whole."""
    async with serving(says(200, _found()), _page("a", "b", **MORE), _page("c", "d")) as server:
        snapshot = await see(connect(Bare(server.origin), key_format="{key}"))
    assert [str(one) for one in snapshot.entries] == ["a", "b", "c", "d"]
    assert snapshot.complete
    assert server.seen[2].line.split()[1].endswith("/keys?limit=1000&exclusiveStartKey=b")


@pytest.mark.parametrize("page", [{}, {"data": []}, {"data": {"items": {}}}, {"data": {"items": [{"key": "a"}]}}, []])
async def test_what_is_not_a_list_of_keys_is_not_an_empty_store(connect: Open, page: Any) -> None:
    """An answer of another shape is an error, never a listing."""
    async with serving(says(200, _found()), says(200, json.dumps(page).encode())) as server:
        with pytest.raises(PermanentError, match="not a list of keys"):
            await connect(Bare(server.origin)).observe("web", SIGNER)


@pytest.mark.parametrize("body", [b"{}", b'{"data": {"name": "web"}}', b'{"data": [1]}'])
async def test_what_is_not_a_store_is_none(connect: Open, body: bytes) -> None:
    """An answer that names no store is an error, and nothing is asked of it."""
    async with serving(says(200, body)) as server:
        with pytest.raises(TransientError, match="not from this API"):
            await connect(Bare(server.origin), clock=FakeClock()).observe("web", SIGNER)


# -- the archive that cannot be believed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["truncate:1", "cut:1", "500:1", "404:1", "501:1"])
async def test_without_an_archive_there_is_no_deep_view(service: Service, connect: Open, spec: str) -> None:
    """An archive that cannot be had, is cut off or damaged is not a view of the store: then records are to be read one by
    one."""
    store = connect(clock=FakeClock())
    await put_many(store, 50)
    await see(store)
    service.faults(spec)
    assert await observe_deep(store, "web", SIGNER) is None
    service.faults("")
    assert len((await see(store, deep=True)).entries) == 50


@pytest.mark.parametrize("switch", [{"zip": "stored"}, {"zip": "deflated"}, {"zip-encoded": "kept"}, {"zip": "off"}])
async def test_archives_of_any_kind(switch: dict[str, str]) -> None:
    """Whether members are compressed or not, the view is the same; where there is no archive, there is none."""
    with Service.serve(switches=switch) as service:
        service.reset("web")
        store = apify_store(service, FakeClock())
        (result,) = await store.write("web", [creation("a", b"x" * 1000)])
        snapshot = await observe_deep(store, "web", SIGNER)
        await store.aclose()
        assert (snapshot is None) is (switch == {"zip": "off"})
        if snapshot is not None:
            assert result.etag is not None
            assert version_hints(store).may_be_version(snapshot.entries[Identity("a")].etag or "", result.etag)


# -- versions ---------------------------------------------------------------------------------------------------------


async def test_all_connections_come_to_the_same_version(service: Service, connect: Open) -> None:
    """Whoever reads a record, also with a token that may do nothing else, comes to the etag that was written."""
    (result,) = await connect().write("web", [creation("pin", b"1234")])
    for token in ("APIFY_TOKEN", "APIFY_READER_TOKEN"):
        store = connect(token=service.env[token])
        (found,) = (await store.read("web", [Identity("pin")])).values()
        assert found.etag == result.etag
        for deep in (False, True):
            listed = (await see(store, deep=deep)).entries[Identity("pin")].etag
            assert version_hints(store).may_be_version(listed or "", result.etag or "")


@pytest.mark.parametrize(
    ("seen", "known", "answer"),
    [
        ("aa--", "aa-bb-cc", True),
        ("-bb-", "aa-bb-cc", True),
        ("aa-bb-cc", "aa-bb-cc", True),
        ("ab--", "aa-bb-cc", False),
        ("-bc-", "aa-bb-cc", False),
        ("aa-bb-cd", "aa-bb-cc", False),
        ("aa--", "-bb-", False),
        ("aa--", "\0ended", False),
    ],
)
def test_versions_agree_in_what_both_tell(connect: Open, seen: str, known: str, answer: bool) -> None:
    """A view that tells less than a read may be of a version when all that both tell is the same."""
    assert version_hints(apify_store(Bare("http://127.0.0.1:9"))).may_be_version(seen, known) is answer


# -- doctor -----------------------------------------------------------------------------------------------------------


async def findings(store: Store) -> dict[str, tuple[bool, str]]:
    return {one.check: (one.ok, f"{one.detail} {one.hint or ''}") for one in await store.check()}


async def test_doctor_finds_nothing_wrong(service: Service, connect: Open) -> None:
    """A healthy connection passes every check, and everything stays as it was."""
    service.put("web", "a", b"1")
    service.clear_requests()
    found = await findings(connect())
    assert {name: ok for name, (ok, _) in found.items()} == dict.fromkeys(
        ("credential", "reading", "writing", "usage", "clock"), True
    )
    assert re.fullmatch(r"\$0\.00 of \$100\.00 used; the month ends on \d{4}-\d\d-01 ", found["usage"][1])
    assert not set(service.requests()) & {PUT, DELETE, "POST /"}
    service.reset()
    assert {ok for ok, _ in (await findings(connect())).values()} == {True}


@pytest.mark.parametrize(
    ("options", "wrong", "words"),
    [
        ({"token": "nobody"}, {"credential"}, "not valid"),
        ({"token": "zwei Wörter"}, {"credential"}, "copy it again"),
        ({"endpoint": "http://127.0.0.1:9"}, {"endpoint"}, "no connection"),
        ({"options": {"username": "nobody"}}, {"username"}, "correct username"),
    ],
)
async def test_doctor_tells_faults_apart(connect: Open, options: dict[str, Any], wrong: set[str], words: str) -> None:
    """A wrong token, endpoint and user are distinguished, each with what to do."""
    found = await findings(connect(clock=FakeClock(), **options))
    assert {name for name, (ok, _) in found.items() if not ok and name != "clock"} == wrong
    assert words in found[wrong.pop()][1]


async def test_doctor_finds_a_token_that_may_only_read(service: Service, connect: Open) -> None:
    """A token that may read and not write fails the one check that is about writing."""
    found = await findings(connect(token=service.env["APIFY_READER_TOKEN"]))
    assert {name for name, (ok, _) in found.items() if not ok} == {"writing"}


async def test_doctor_finds_a_clock_that_is_wrong(service: Service, connect: Open) -> None:
    """A clock that is minutes off is found before lifetimes go wrong by it."""
    found = await findings(connect(clock=FakeClock(0.0)))
    assert {name for name, (ok, _) in found.items() if not ok} == {"clock"}


def test_nothing_of_a_call_is_in_a_path_unquoted() -> None:
    """What goes into a path is quoted as one segment of it."""
    targets = Targets("")
    assert targets.record("x", "a/../b") == f"/v2/key-value-stores/x/records/{quote('a/../b', safe='')}"
    assert targets.store("me~a/b") == "/v2/key-value-stores/me~a%2Fb"


async def test_a_reader_writes_nothing(service: Service, connect: Open) -> None:
    """A connection that was opened for reading refuses to write before anything is sent."""
    store = connect(read_only=True)
    with pytest.raises(PermanentError):
        await store.write("web", [creation("a")])
    assert service.total() == 0
