"""The store `azure-appconfig`: what a listing costs, where the mark is, what is refused before it is sent."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.appconfiguration import ConfigurationSetting
from azure.core import MatchConditions
from hypothesis import given
from hypothesis import strategies as st

from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.errors import PermanentError, StoreError, TransientError
from kvsync.model.canonical import fingerprint
from kvsync.model.entry import Actual, Content, Entry, Identity, Mark
from kvsync.stores.azure_appconfig import AzureAppConfigStore
from kvsync.stores.azure_appconfig.items import row_of, tags_for, to_actual
from kvsync.stores.azure_appconfig.resources import ApiVersion, ListingFilter, key_values
from kvsync.stores.azure_appconfig.sync_tokens import SyncTokens
from kvsync.stores.base import Precondition, Store, StoreContext, Write, WriteStatus
from kvsync.util.clock import Clock
from tests.stores.azure_service import Service, azure_store
from tests.stores.signing import OWNER, signed, signer

Open = Callable[..., Store]


def creation(key: str, value: str = "v", label: str | None = None, **mark: Any) -> Write:
    content = Content(value.encode())
    owner, expires_at = mark.pop("owner", OWNER), mark.pop("expires_at", None)
    ours = Mark(owner, fingerprint(content), **mark)
    return Write(Identity(key, label), Precondition.ABSENT, content, ours, expires_at)


async def fill(store: Store, count: int, namespace: str = "web") -> None:
    """So many entries, under keys that sort in their order."""
    results = await asyncio.gather(
        *(
            store.write(namespace, [signed(store, creation(f"key-{number:05}", str(number)), namespace)])
            for number in range(count)
        )
    )
    assert {result[0].status for result in results} == {WriteStatus.DONE}


async def change(store: Store, key: str, value: str, namespace: str = "web") -> None:
    found = (await store.read(namespace, [Identity(key)]))[Identity(key)]
    content = Content(value.encode())
    write = Write(found.identity, Precondition.UNCHANGED, content, found.mark, etag=found.etag)
    assert (await store.write(namespace, [write]))[0].status is WriteStatus.DONE


async def look(service: Service, store: Store, token: str | None = None) -> tuple[list[tuple[str, int]], Any]:
    """Observe, and what it cost."""
    service.clear_requests()
    snapshot = await store.observe("web", signer(store), token)
    return service.requests(), snapshot


# What a listing costs


@pytest.mark.parametrize("again", ["the same process", "another process"])
async def test_an_unchanged_store_sends_nothing(service: Service, connect: Open, again: str) -> None:
    """Looking again at N unchanged entries takes ceil(N/100) requests, all answered 304, and the token says so."""
    store = connect()
    await fill(store, 250)
    first, snapshot = await look(service, store)
    assert first == [("GET", 200)] * 3
    if again == "another process":
        await store.aclose()
        store = connect()
    requests, nothing = await look(service, store, snapshot.token)
    assert (requests, nothing) == ([("GET", 304)] * 3, None)


async def test_an_unchanged_store_is_known_from_the_cache(service: Service, connect: Open) -> None:
    """Without a token, what did not change comes from the cache: every entry, with the content that is ours."""
    store = connect()
    await fill(store, 250)
    _, before = await look(service, store)
    requests, after = await look(service, connect())
    assert requests == [("GET", 304)] * 3
    assert dict(after.entries.items()) == dict(before.entries.items())
    assert (after.settled, after.token) == (before.settled, before.token)


async def test_a_changed_page_is_the_only_one_sent(service: Service, connect: Open) -> None:
    """When one entry changed, its page is sent and the others are not; the token falls."""
    store = connect()
    await fill(store, 450)
    _, before = await look(service, store)
    await change(connect(), "key-00210", "new")
    requests, after = await look(service, store, before.token)
    assert sorted(requests) == [("GET", 200)] + [("GET", 304)] * 4
    assert after.entries[Identity("key-00210")].content == Content(b"new")
    assert len(after.entries) == 450
    assert (await look(service, store, after.token))[1] is None


async def test_an_inserted_entry_moves_the_pages_behind_it(service: Service, connect: Open) -> None:
    """An entry that comes in between shifts what follows: each page is asked for at its new place, and none is missed."""
    store = connect()
    await fill(store, 350)
    _, before = await look(service, store)
    await store.write("web", [creation("key-00150-and-a-half")])
    requests, after = await look(service, store, before.token)
    assert [status for _, status in requests].count(200) == 3
    assert set(after.entries) == {*before.entries, Identity("key-00150-and-a-half")}


async def test_a_deleted_page_is_forgotten(service: Service, connect: Open, tmp_path: Path) -> None:
    """Pages that are no longer part of the listing leave the cache with what they held."""
    store = connect()
    await fill(store, 150)
    _, before = await look(service, store)
    for number in range(60):
        entry = before.entries[Identity(f"key-{number:05}")]
        await store.write("web", [Write(entry.identity, Precondition.UNCHANGED, etag=entry.etag)])
    _, after = await look(service, store)
    assert len(after.entries) == 90
    with sqlite3.connect(tmp_path / "cache" / "pages.db") as cache:
        assert cache.execute("SELECT count(*) FROM page").fetchone() == (1,)


@pytest.mark.parametrize("damage", [b"this is not a database", b"", None])
async def test_a_lost_cache_costs_requests_and_nothing_else(
    service: Service, connect: Open, tmp_path: Path, damage: bytes | None
) -> None:
    """A cache that is damaged, empty or gone is made again, and the listing is as it would have been."""
    store = connect()
    await fill(store, 120)
    _, before = await look(service, store)
    await store.aclose()
    file = tmp_path / "cache" / "pages.db"
    file.unlink() if damage is None else file.write_bytes(damage)
    _, after = await look(service, connect())
    assert after.settled == before.settled
    assert (await look(service, connect(), after.token))[0] == [("GET", 304)] * 2


async def test_without_a_place_the_cache_is_in_memory(service: Service, connect: Open) -> None:
    """Where nothing may be kept, one process still asks only for what changed."""
    store = connect(cache=None)
    await fill(store, 120)
    _, before = await look(service, store)
    assert (await look(service, store, before.token))[0] == [("GET", 304)] * 2


async def test_only_the_namespace_is_asked_for(service: Service, connect: Open) -> None:
    """A listing names its prefix, every reserved character of it escaped, and sees nothing of its neighbours."""
    store = connect()
    for namespace in ("a*b,c\\d", "a*b,c\\d2", "a", "axb,c"):
        await store.write(namespace, [creation("key", namespace)])
    snapshot = await store.observe("a*b,c\\d", signer(store, "a*b,c\\d"))
    assert snapshot is not None
    assert [entry.content for entry in snapshot.entries.values()] == [Content(b"a*b,c\\d")]
    assert set(await store.namespaces()) == {"a*b,c\\d", "a*b,c\\d2", "a", "axb,c"}


async def test_many_values_come_by_the_page(service: Service, connect: Open) -> None:
    """Reading more entries than there are pages asks for the pages; reading few asks for the entries."""
    store = connect()
    await fill(store, 150)
    await look(service, store)
    service.clear_requests()
    wanted = [Identity(f"key-{number:05}") for number in range(0, 150, 3)]
    assert set(await store.read("web", wanted)) == set(wanted)
    assert service.requests() == [("GET", 200)] * 2
    service.clear_requests()
    assert set(await store.read("web", [*wanted[:1], Identity("missing")])) == set(wanted[:1])
    assert sorted(service.requests()) == [("GET", 200), ("GET", 404)]


# Sync-Token


async def test_a_read_sees_the_writes_before_it(service: Service, connect: Open) -> None:
    """While replicas lag behind, our own writes are seen: in the same process, and in the next one."""
    store = connect()
    await store.write("web", [creation("old")])
    service.faults("stale-read:1h")
    await store.write("web", [creation("new")])
    for reader in (store, connect()):
        snapshot = await reader.observe("web", signer(reader))
        assert snapshot is not None
        assert set(snapshot.entries) == {Identity("old"), Identity("new")}
        await reader.aclose()


def test_the_newest_token_counts() -> None:
    """Of each replica set the token with the highest number is sent, without its number; noise is ignored."""
    tokens = SyncTokens()
    assert tokens.headers() == {}
    tokens.observe({"sync-token": "a=QQ==;sn=5, b=x=y;sn=1"})
    tokens.observe({"sync-token": "a=old;sn=4,nonsense,;sn=,c=;sn=x"})
    assert tokens.headers() == {"Sync-Token": "a=QQ==,b=x=y"}
    tokens.observe({})
    tokens.observe({"sync-token": "b=z;sn=2"})
    assert tokens.headers() == {"Sync-Token": "a=QQ==,b=z"}


# The mark


async def test_the_mark_is_in_tags_that_nobody_sees(service: Service, connect: Open) -> None:
    """Other programs find our mark in tags that begin with kvsync, next to the entry's own; kvsync shows only the latter."""
    store = connect()
    content = Content(b"{}", "application/json", (("team", "web"),))
    mark = Mark("me", fingerprint(content), 3600, sensitive=True, protected=True, seal=b"sixteen bytes...")
    await store.write("web", [Write(Identity("a"), Precondition.ABSENT, content, mark, 1798070400.0)])
    tags = service.must_get("web:a").tags
    assert set(tags) == {"team", "kvsync", "kvsync.fp", "kvsync.seal", "kvsync.ttl", "kvsync.until", "kvsync.flags"}
    assert (tags["kvsync"], tags["kvsync.ttl"], tags["kvsync.flags"]) == ("me", "3600", "sp")
    assert tags["kvsync.seal"] == "c2l4dGVlbiBieXRlcy4uLg"
    assert tags["kvsync.until"] == "2026-12-24T00:00:00Z"
    found = (await store.read("web", [Identity("a")]))[Identity("a")]
    assert (found.content, found.mark, found.expires_at) == (content, mark, 1798070400.0)


@given(
    st.text(max_size=20),
    st.binary(max_size=16),
    st.none() | st.integers(0, 10**9),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 10**12),
    st.none() | st.binary(min_size=16, max_size=16),
)
def test_every_mark_survives_its_tags(
    owner: str,
    digest: bytes,
    ttl: int | None,
    sensitive: bool,
    protected: bool,
    until: int | None,
    seal: bytes | None,
) -> None:
    """Whatever the mark, it is read from the tags as it was put there, and the end as far as calendars go."""
    mark = Mark(owner, digest, ttl, sensitive, protected, seal=seal)
    tags = tags_for(Content(b"v"), mark, until, None)
    item = {"key": "k", "label": None, "etag": "e", "value": "v", "content_type": None, "tags": tags, "locked": False}
    actual = to_actual(Identity("k"), row_of(item), None)
    assert actual.mark == mark
    assert actual.expires_at == (None if until is None else min(until, 253402300799))


@given(
    st.dictionaries(
        st.sampled_from(["kvsync", *(f"kvsync.{name}" for name in ("fp", "seal", "ttl", "until", "flags"))]), st.text()
    )
)
def test_tags_that_someone_edited_do_no_harm(tags: dict[str, str]) -> None:
    """A mark that was edited into nonsense is read as a mark of nothing that we know."""
    item = {"key": "k", "etag": "e", "value": None, "content_type": "", "tags": tags}
    actual = to_actual(Identity("k"), row_of(item), None)
    assert isinstance(actual, Actual)
    assert (actual.mark is None) == ("kvsync" not in tags)
    assert actual.content == Content(b"")


async def test_a_namespace_inside_another_keeps_its_entries(connect: Open) -> None:
    """Where one namespace begins like another, each sees the other's entries as another owner's: neither deletes them."""
    store = connect()
    await store.write("web", [signed(store, creation("x:from-web"))])
    await store.write("web:x", [signed(store, creation("from-x"), "web:x")])
    for namespace, mine, theirs in (("web", "x:from-web", "x:from-x"), ("web:x", "from-x", "from-web")):
        snapshot = await store.observe(namespace, signer(store, namespace))
        assert snapshot is not None
        owners = {identity.key: entry.mark and entry.mark.owner for identity, entry in snapshot.entries.items()}
        assert set(snapshot.settled) == {Identity(mine)}
        assert owners[mine] == OWNER
        assert owners[theirs] not in (OWNER, None)


async def test_namespaces_that_are_not_in_the_key_are_apart(connect: Open) -> None:
    """With a key format that leaves the namespace out, the mark tells whose entry it is."""
    store = connect(key_format="{key}")
    await store.write("one", [signed(store, creation("a"), "one")])
    await store.write("two", [signed(store, creation("b"), "two")])
    for namespace, key in (("one", "a"), ("two", "b")):
        snapshot = await store.observe(namespace, signer(store, namespace))
        assert snapshot is not None
        assert set(snapshot.settled) == {Identity(key)}


# Secrets


async def test_no_secret_is_kept_in_a_file(service: Service, connect: Open, tmp_path: Path) -> None:
    """Values that are sensitive, or not ours to know, are in no file of kvsync's; they are read again when needed."""
    store = connect()
    await store.write("web", [creation("token", "sensitive-value", sensitive=True)])
    await store.write("web", [creation("plain", "ordinary-value")])
    service.set("web:theirs", "foreign-value")
    _, before = await look(service, store)
    assert before.entries[Identity("token")].content == Content(b"sensitive-value")
    await store.aclose()
    kept = b"".join(file.read_bytes() for file in (tmp_path / "cache").iterdir())
    assert b"ordinary-value" in kept
    assert b"sensitive-value" not in kept
    assert b"foreign-value" not in kept
    assert b"emulator-secret" not in kept
    other = connect()
    _, after = await look(service, other)
    for key, value in (("token", b"sensitive-value"), ("theirs", b"foreign-value")):
        entry = after.entries[Identity(key)]
        assert entry.content is None
        assert entry.fingerprint == before.entries[Identity(key)].fingerprint
        assert (await other.read("web", [Identity(key)]))[Identity(key)].content == Content(value)


async def test_the_cache_is_for_its_owner_alone(connect: Open, tmp_path: Path) -> None:
    """Nobody else on the machine may read what is kept."""
    store = connect()
    await store.observe("web", signer(store))
    assert (tmp_path / "cache").stat().st_mode & 0o77 == 0
    assert (tmp_path / "cache" / "pages.db").stat().st_mode & 0o77 == 0


# Writing


async def test_a_locked_entry_is_left_locked(service: Service, connect: Open) -> None:
    """An entry that someone made read-only is listed as locked, and neither changed, deleted nor unlocked."""
    service.set("web:a", "theirs")
    service.sdk.set_read_only(service.must_get("web:a"))
    store = connect()
    entry = (await store.read("web", [Identity("a")]))[Identity("a")]
    assert entry.locked
    mark = Mark(OWNER, b"")
    for content in (Content(b"ours"), None):
        write = Write(entry.identity, Precondition.UNCHANGED, content, mark if content else None, etag=entry.etag)
        assert (await store.write("web", [write]))[0].status is WriteStatus.LOCKED
    found = service.must_get("web:a")
    assert (found.value, found.read_only) == ("theirs", True)


async def test_every_write_has_a_condition(service: Service, connect: Open) -> None:
    """Without a version that was seen, nothing is changed or deleted."""
    service.set("web:a", "theirs")
    store = connect()
    for content in (Content(b"ours"), None):
        write = Write(Identity("a"), Precondition.UNCHANGED, content, Mark(OWNER, b"") if content else None)
        assert (await store.write("web", [write]))[0].status is WriteStatus.CONFLICT
    assert service.values() == {("web:a", None): "theirs"}


async def test_a_full_store_refuses_the_entry(connect: Open, service: Service) -> None:
    """A throttled write can be tried again; what the service refuses for what it is cannot."""
    store = connect()
    service.faults("429:1", methods=["PUT"], times=1)
    with pytest.raises(TransientError) as caught:
        await store.write("web", [creation("a")])
    assert caught.value.retry_after == 0.01
    service.faults("422:1", methods=["PUT"], times=1)
    assert (await store.write("web", [creation("a")]))[0].status is WriteStatus.REJECTED


async def test_read_only_sends_no_write(service: Service, connect: Open) -> None:
    """A store that was opened for reading refuses to write before anything is sent, at the very transport too."""
    store = AzureAppConfigStore(*_parts(service, read_only=True))
    service.clear_requests()
    with pytest.raises(PermanentError, match="reading only"):
        await store.write("web", [creation("a")])
    assert service.requests() == []
    await store.aclose()


# What is refused before it is sent


LONG = "x" * 257


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (("k", "", Content(b"v")), "the label is empty"),
        (("k", LONG, Content(b"v")), "the label has 257 characters"),
        (("k", "a\nb", Content(b"v")), "control character"),
        (("k", None, Content(b"v", "text/\x07plain")), "content_type contains a control character"),
        (("k", None, Content(b"v", None, ((LONG, "v"),))), "has 257 characters"),
        (("k", None, Content(b"v", None, (("t", LONG),))), "has 257 characters"),
        (("k", None, Content(b"v", None, (("t", "a\x00b"),))), "control character"),
        (("k", None, Content(b"v", None, (("kvsync", "me"),))), "reserved for kvsync"),
        (("k", None, Content(b"v", None, (("kvsync.fp", "x"),))), "reserved for kvsync"),
        (("k", None, Content(b"x" * 10_200)), "with kvsync's mark, the whole entry has"),
    ],
)
async def test_what_the_service_refuses_is_known_offline(
    service: Service, connect: Open, entry: tuple[str, str | None, Content], complaint: str
) -> None:
    """`validate` and `write` both know, without asking the service, and `write` sends nothing."""
    key, label, content = entry
    store = connect()
    digest = fingerprint(content)
    told = store.audit("web", Entry(Identity(key, label), content, digest))
    assert any(complaint in line for line in told), told
    service.clear_requests()
    write = Write(Identity(key, label), Precondition.ABSENT, content, Mark(OWNER, digest))
    result = (await store.write("web", [write]))[0]
    assert result.status is WriteStatus.REJECTED
    assert complaint in (result.error or "")
    assert service.requests() == []


async def test_offline_and_service_agree_on_the_size(connect: Open) -> None:
    """What `audit` lets pass, the service takes, to the byte; the limit counts everything, our mark and its seal too."""
    store = connect()
    fits = next(size for size in range(10_150, 0, -1) if not store.audit("web", _entry_of(size)))
    for size, status in ((fits, WriteStatus.DONE), (fits + 1, WriteStatus.REJECTED)):
        entry = _entry_of(size)
        mark = Mark(OWNER, entry.fingerprint)
        write = Write(Identity("k", f"prod-{size}"), Precondition.ABSENT, entry.content, mark)
        assert (await store.write("web", [signed(store, write)]))[0].status is status


def test_the_mark_counts_before_the_fingerprint_is_known(connect: Open) -> None:
    """Files are audited before fingerprints are taken, and come to the same size."""
    store = connect()
    for size in range(10_000, 10_200):
        entry = _entry_of(size)
        assert store.audit("web", replace(entry, fingerprint=b"")) == store.audit("web", entry)


def _entry_of(size: int) -> Entry:
    content = Content(b"x" * size, "text/plain", (("team", "wéb"),))
    return Entry(Identity("k", f"prod-{size}"), content, fingerprint(content))


@pytest.mark.parametrize("key", ["100%", "%2F", "a\nb", "a\x7fb", "\x00"])
async def test_keys_that_the_service_refuses(connect: Open, key: str) -> None:
    """A key with a per cent sign or a control character is rejected before a URL is built."""
    assert (await connect().write("web", [creation(key)]))[0].status is WriteStatus.REJECTED


@pytest.mark.parametrize("key", ["", ".", ".."])
def test_dot_segments_never_become_a_path(key: str, service: Service) -> None:
    """Where the key alone is the remote key, nothing that a path could swallow is addressed."""
    with pytest.raises(ValueError, match="stores cannot address"):
        azure_store(service.env, key_format="{key}").remote_key("web", Identity(key))


AWKWARD = ["a/b", "..:x", "/", "a b", "q?x=1&y", "#", "pl+us", "ключ/é🎉", "*,\\", "a*", '"q"', "x" * 252]


async def test_awkward_keys_and_labels_are_themselves(service: Service, connect: Open) -> None:
    """Keys and labels with every special character are read by us, and by the vendor's SDK, under their own names."""
    store = connect()
    for key in AWKWARD:
        for label in (None, key):
            assert (await store.write("web", [creation(key, key, label)]))[0].status is WriteStatus.DONE
    wanted = {Identity(key, label) for key in AWKWARD for label in (None, key)}
    snapshot = await store.observe("web", signer(store))
    assert snapshot is not None
    assert set(snapshot.entries) == wanted
    assert service.values() == {(f"web:{one.key}", one.label): one.key for one in wanted}
    for one in wanted:
        assert (await store.read("web", [one]))[one].content == Content(one.key.encode())


def test_targets_are_encoded_once() -> None:
    """A key is one segment of the path, and a filter escapes what the filter language reserves."""
    assert key_values(ApiVersion.EARLIER).target("a/b%?#", None) == "/kv/a%2Fb%25%3F%23?api-version=2024-09-01"
    assert key_values(ApiVersion.EARLIER).target("k", "a&b") == "/kv/k?api-version=2024-09-01&label=a%26b"
    assert (
        key_values(ApiVersion.EARLIER).listing(ListingFilter("a*,\\"))
        == "/kv?api-version=2024-09-01&key=a%5C%2A%5C%2C%5C%5C%2A"
    )


# Content


async def test_json_is_compared_by_meaning(service: Service, connect: Open) -> None:
    """Feature flags and Key Vault references are JSON by their content type: layout makes no difference."""
    flag = "application/vnd.microsoft.appconfig.ff+json;charset=utf-8"
    service.set("web:f", '{"id": "f",   "enabled": true}', content_type=flag)
    store = connect()
    snapshot = await store.observe("web", signer(store))
    assert snapshot is not None
    found = snapshot.entries[Identity("f")]
    assert found.fingerprint == fingerprint(Content(b'{"enabled":true,"id":"f"}', flag))


async def test_null_and_empty_are_one(service: Service, connect: Open) -> None:
    """A value, a content type or tags that another program left null read as empty."""
    service.sdk.set_configuration_setting(ConfigurationSetting(key="web:a", value=None, content_type=None, tags=None))
    found = (await connect().read("web", [Identity("a")]))[Identity("a")]
    assert found.content == Content(b"")


async def test_another_writer_is_noticed(service: Service, connect: Open) -> None:
    """An entry that the vendor's SDK changed since it was seen is in conflict, and keeps what it was given."""
    store = connect()
    await store.write("web", [creation("a")])
    seen = (await store.read("web", [Identity("a")]))[Identity("a")]
    theirs = service.must_get("web:a")
    theirs.value = "theirs"
    service.sdk.set_configuration_setting(theirs, match_condition=MatchConditions.IfNotModified, etag=seen.etag)
    write = Write(seen.identity, Precondition.UNCHANGED, Content(b"ours"), seen.mark, etag=seen.etag)
    assert (await store.write("web", [write]))[0].status is WriteStatus.CONFLICT
    assert service.values() == {("web:a", None): "theirs"}


# Broken answers


@pytest.mark.parametrize("fault", ["429", "500", "503", "drop", "truncate", "cut"])
async def test_a_listing_is_whole_or_fails(service: Service, connect: Open, fault: str) -> None:
    """Under a storm of one kind of fault a listing is either complete or an error, and never a part."""
    store = connect()
    await fill(store, 320)
    service.faults(f"{fault}:0.35", seed=3)
    try:
        snapshot = await store.observe("web", signer(store))
    except TransientError:
        return
    assert snapshot is not None
    assert len(snapshot.entries) == 320


async def test_what_is_not_a_listing_is_an_error(service: Service, connect: Open) -> None:
    """Nothing that is not a listing of this API is taken for an empty one."""
    service.faults("404:1")
    store = connect()
    with pytest.raises(StoreError):
        await store.observe("web", signer(store))


def _parts(service: Service, *, read_only: bool) -> tuple[StoreConfig, StoreContext]:
    secret = Credential(CredentialKind.ENV, "AZURE_APPCONFIG_CONNECTION_STRING")
    config = StoreConfig("settings", "azure-appconfig", {"connection_string": secret})
    return config, StoreContext(Path(), None, lambda one: service.env[one.name], Clock(), read_only, OWNER)
