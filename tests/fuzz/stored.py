"""What stores hold, as anyone with access to a store may have written it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any

from kvsync.config.model import StoreConfig
from kvsync.errors import StoreError
from kvsync.ledger import document as ledger
from kvsync.model.canonical import canonical_json, fingerprint
from kvsync.model.entry import Actual, Content, Entry, Identity
from kvsync.model.place import Place
from kvsync.model.snapshot import Snapshot
from kvsync.planning.marks import MarkSigner
from kvsync.rendering import json as json_
from kvsync.rendering import markdown, text
from kvsync.rendering import saved_plan as saved
from kvsync.stores.apify.content import kept_type
from kvsync.stores.apify.listing import page_of
from kvsync.stores.azure_appconfig import items
from kvsync.stores.base import StoreContext
from kvsync.stores.cloudflare_kv.metadata import parts_of
from kvsync.stores.ledger_chunks import MissingChunks, join
from kvsync.stores.sqlite.store import SqliteStore
from kvsync.util.clock import Clock
from tests.fuzz.model import JSON, folder, parsed, target
from tests.planning.plans import change, plan_of, report, seal, target_plan

_SIGNER = MarkSigner("us", Place("test", (("id", "one"),)))
_LEDGER = {
    "schema": "kvsync.ledger/2",
    "owner": "us",
    "place": _SIGNER.place.key,
    "revision": 7,
    "seals": ["s"],
    "entries": [["a", "l", "AAAAAAAAAAAAAAAAAAAAAA", 60, 1, "etag", 1.5, 0, 2.5], ["b", None, "AA"]],
}


@target(
    _LEDGER,
    _LEDGER | {"schema": "kvsync.ledger/1"},
    b"{}",
    b"[]",
    words=JSON + '"digest" "entries" "seals" "place" kvsync.ledger/3',
)
def ledger_document(data: bytes) -> None:
    """A ledger from a store, as it is, and with the digest that belongs to it: whoever can write there can compute that."""
    for whole in (data, _with_digest(data)):
        with suppress(ledger.LedgerDamaged, ledger.LedgerRefused):
            document = ledger.decode(whole, _SIGNER)
            assert ledger.decode(ledger.encode(document, _SIGNER), _SIGNER) == document


def _with_digest(data: bytes) -> bytes:
    try:
        body = json.loads(data)
        rest = canonical_json({name: value for name, value in body.items() if name != "digest"})
        return json.dumps({**body, "digest": sha256(rest.encode("utf-8", "surrogatepass")).hexdigest()}).encode()
    except (ValueError, AttributeError, RecursionError):
        return data


_ROOT = "kvsync.pieces/1 t0 AAAAAAAAAAAAAAAAAAAAAA AAAAAAAA"


@target([_ROOT, {"AAAAAAAA": "{}"}], words="kvsync.pieces/1 t0 b0 t9 t99999999999 AAAAAAAA")
def ledger_pieces(data: bytes) -> None:
    """The pieces that a ledger is kept in."""
    root, pieces = parsed(data, list, 2) or ("", {})
    if isinstance(root, str) and isinstance(pieces, dict):
        with suppress(MissingChunks, ValueError):
            join(root, {str(name): str(text) for name, text in pieces.items()})


_MARK = "kvsync .ttl .until .flags .ns .fp .seal \\u0662 9999-12-31T23:59:59Z o h s t f c r tags AAAAAAAAAAAAAAAAAAAAAA"
_TAGS = {
    "kvsync": "us",
    "kvsync.fp": "AAAAAAAAAAAAAAAAAAAAAA",
    "kvsync.ttl": "60",
    "kvsync.flags": "sp",
    "kvsync.ns": "web",
}
_UNTIL = {"kvsync.until": "2026-12-24T00:00:00Z"}


@target(
    {
        "key": "a",
        "label": None,
        "etag": "e",
        "value": "v",
        "content_type": "x",
        "locked": False,
        "tags": _TAGS | _UNTIL,
    },
    words=JSON + _MARK,
)
def azure_item(data: bytes) -> None:
    """An entry of Azure App Configuration with its mark: read, or refused by the errors that a listing expects."""
    item = parsed(data, dict)
    if item is not None:
        with suppress(KeyError, TypeError, AttributeError):
            row = items.row_of(item)
            items.is_plain(row, "us", None)
            _shown(items.to_actual(Identity("a"), row, "web"))


@target(
    {"region": "eu", "kvsync": {"o": "us", "h": "00", "s": "A", "t": 60, "f": "spb", "c": "x", "tags": {}, "r": "00"}},
    [[[[]]]],
    b"[" * 600 + b"]" * 600,
    words=JSON + _MARK,
)
def cloudflare_metadata(data: bytes) -> None:
    """The metadata of an entry of Cloudflare KV, with its mark."""
    parts = parts_of(parsed(data, object))
    content = Content(b"v", parts.content_type, parts.tags, parts.metadata)
    _shown(Actual(Identity("a"), "e", fingerprint(content), content, 1, mark=parts.mark))


_COLUMNS = ("key", "label", "content_type", "tags", "metadata", "expires_at", "owner", "mark_fingerprint", "mark_ttl")
_MORE_COLUMNS = ("flags", "fingerprint", "version", "modified_at", "value")


@target(
    ["a", None, "x", '{"a": "b"}', '{"a": [1]}', 1.9e9, "us", {"hex": "00" * 32}, 60, 1, None, 7, 1.5, "v"],
    ["a", "l", None, None, None, None, "us", {"hex": "00" * 32}, None, 0, {"hex": "00" * 16}, 7, 1.5, {"hex": "ff"}],
    words=JSON + _MARK,
)
def sqlite_row(data: bytes) -> None:
    """A row of the SQLite store as any program may have written it; what the tables refuse is not tried."""
    columns = parsed(data, list, len(_COLUMNS) + len(_MORE_COLUMNS))
    if columns is None:
        return
    store, connection = _sqlite()
    try:
        connection.execute("DELETE FROM entries")
        connection.execute("UPDATE entries_state SET writing = 1")  # or the fingerprint would be taken away
        connection.execute(
            f"INSERT INTO entries (namespace, {', '.join(_COLUMNS + _MORE_COLUMNS)}) "
            f"VALUES ('web'{', ?' * len(columns)})",
            [_column(value) for value in columns],
        )
        connection.execute("UPDATE entries_state SET writing = 0")
    except (sqlite3.Error, ValueError, OverflowError):
        return
    with suppress(StoreError):
        asyncio.run(_observed(store))


@cache
def _sqlite() -> tuple[SqliteStore, sqlite3.Connection]:
    """A store of one file, and another connection to it."""
    context = StoreContext(folder(), None, lambda _: "", Clock(), owner="us")
    store = SqliteStore(StoreConfig("core", "sqlite", {"path": "fuzz.db"}), context)
    asyncio.run(store.locate("web", writing=True))
    connection = sqlite3.connect(folder() / "fuzz.db", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    return store, connection


async def _observed(store: SqliteStore) -> Snapshot:
    snapshot = await store.observe("web", _SIGNER)
    assert snapshot is not None
    for entry in snapshot.entries.values():
        _shown(entry)
    for entry in (await store.read("web", list(snapshot.entries))).values():
        _shown(entry)
    return snapshot


def _column(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("hex"), str):
        return bytes.fromhex(value["hex"])
    return json.dumps(value) if isinstance(value, dict | list) else value


def _shown(entry: Actual) -> None:
    """An entry in a plan, in every form that plans have."""
    new = Entry(entry.identity, Content(b"new", "application/json", (), "{}"), b"f" * 16)
    old = replace(entry, content=entry.content or Content(b"old"))
    changes = [change(old, None), change(old, new, ("value", "metadata", "tags"))]
    plan = plan_of(*changes)
    for shown in (text.render_plan(plan), markdown.render_plan(plan), json_.render_plan(plan, seal)):
        shown.encode()
    text.render_report([report(target_plan(*changes))])
    saved.load(saved.save(plan_of(changes[1]), seal, None))


@target({"data": {"items": [{"key": "a", "size": 1}], "nextExclusiveStartKey": "a", "isTruncated": True}}, words=JSON)
def apify_page(data: bytes) -> None:
    """A page of keys of Apify, and a content type."""
    with suppress(ValueError):
        page_of(parsed(data, object))
    kept_type(data, data.decode("latin-1"))
