"""Conversion of entries to and from columns of the SQLite store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, KeysView, Sequence
from functools import lru_cache, partial
from itertools import compress
from operator import not_
from typing import Any, NamedTuple

from kvsync.model.canonical import FINGERPRINT_SIZE, canonical_json, canonical_json_text, fingerprint
from kvsync.model.entry import Actual, Content, Identity, Mark
from kvsync.model.snapshot import Version, VersionedEntries
from kvsync.planning.marks import MarkSigner
from kvsync.util.lazy import lazy

Row = tuple[Any, ...]
"""Columns as SQLite returns them. People may have written anything into them."""

BY_CELL = "namespace = ? AND key = ? AND ifnull(label, x'') = ?"
"""Condition with the parameters of `Cell.lookup_parameters`."""

SENSITIVE, PROTECTED = 1, 2
"""Bits of the column `flags`."""

ENTRY_COLUMNS = """key, label, fingerprint, version, expires_at, owner, mark_fingerprint, mark_ttl, flags,
content_type, tags, metadata, CAST(value AS BLOB)"""
"""The columns for `to_entry`: an entry with its content."""

_IS_SETTLED = """owner = :owner AND substr(mark_fingerprint, 1, 16) = fingerprint AND length(mark_fingerprint) = 32
    AND typeof(mark_fingerprint) = 'blob' AND flags = 0 AND mark_ttl IS NULL AND expires_at IS NULL"""
_SIZE = "CASE typeof(value) WHEN 'blob' THEN length(value) END"  # of a text this would read the value

LIST_SETTLED = f"""
SELECT key, label, fingerprint, version, {_SIZE}, flags, mark_fingerprint FROM entries
WHERE namespace = :namespace AND {_IS_SETTLED}
"""
"""The entries that are as kvsync left them: nearly all."""

LIST_OTHERS = f"""
SELECT key, label, fingerprint, version, expires_at, owner, mark_fingerprint, mark_ttl, flags,
    iif(typeof(fingerprint) = 'blob', NULL, content_type), iif(typeof(fingerprint) = 'blob', NULL, tags),
    iif(typeof(fingerprint) = 'blob', NULL, metadata), iif(typeof(fingerprint) = 'blob', NULL, CAST(value AS BLOB)), {_SIZE}
FROM entries
WHERE namespace = :namespace AND ifnull({_IS_SETTLED}, 0) = 0 AND (expires_at IS NULL OR expires_at > :now)
"""
"""All other entries; with content only if another program wrote them, because then there is no fingerprint."""

COUNT = "SELECT count(*) FROM entries WHERE namespace = :namespace"
"""All entries, counted in the index."""

READ = f"SELECT {ENTRY_COLUMNS} FROM entries WHERE {BY_CELL} AND (expires_at IS NULL OR expires_at > ?)"
"""One entry with its content, for the parameters of a cell and the time."""


class Cell(NamedTuple):
    """Where an entry is in the table."""

    namespace: str
    key: str
    label: str | None

    def lookup_parameters(self) -> Row:
        """The parameters of BY_CELL. An empty blob, which no label is, represents a missing label."""
        return self.namespace, self.key, b"" if self.label is None else self.label


_make_identity = partial(tuple.__new__, Identity)  # half the time of Identity(…), which shows in a long listing


def to_identity(row: Row) -> Identity:
    """The identity in the row: with the remote key."""
    identity: Identity = _make_identity(row[:2])
    return identity


def to_entry(row: Row) -> Actual:
    """An entry with its content, from ENTRY_COLUMNS."""
    content = _to_content(row)
    return Actual(
        to_identity(row),
        etag=str(row[3]),
        fingerprint=row[2] if isinstance(row[2], bytes) else fingerprint(content),
        content=content,
        size=len(content.value),
        expires_at=row[4],
        mark=_to_mark(row[5:9]),
    )


def to_listed(row: Row) -> Actual:
    """An entry without its content, from LIST_OTHERS."""
    identity, mark = to_identity(row), _to_mark(row[5:9])
    if isinstance(row[2], bytes):
        return Actual(identity, str(row[3]), row[2], size=row[13], expires_at=row[4], mark=mark)
    content = _to_content(row)
    return Actual(identity, str(row[3]), fingerprint(content), size=len(content.value), expires_at=row[4], mark=mark)


def from_content(content: Content) -> Row:
    """The columns content_type, tags, metadata, value."""
    return content.content_type, _tags_text(content.tags), content.metadata, content.value


@lru_cache(maxsize=512)
def _tags_text(tags: tuple[tuple[str, str], ...]) -> str | None:
    """The column `tags`. Thousands of entries have the same."""
    return canonical_json(dict(tags)) if tags else None


def from_mark(mark: Mark | None) -> Row:
    """The columns owner, mark_fingerprint (fingerprint followed by the seal), mark_ttl, flags."""
    if mark is None:
        return None, None, None, 0
    flags = SENSITIVE * mark.sensitive + PROTECTED * mark.protected
    return mark.owner, mark.fingerprint + (mark.seal or b""), mark.ttl, flags


class Listing(VersionedEntries):
    """The entries of a namespace. Settled ones stay rows until they are asked for."""

    def __init__(self, rows: Sequence[Row], others: Iterable[Actual], signer: MarkSigner) -> None:
        self._owner = signer.owner
        self._others = {entry.identity: entry for entry in others}
        identities, prints = list(map(to_identity, rows)), [row[2] for row in rows]
        sealed = signer.sealed(identities, prints, [row[6][FINGERPRINT_SIZE:] for row in rows])
        self._settled_rows: list[Row] = list(compress(rows, sealed))
        self.settled: dict[Identity, bytes] = dict(compress(zip(identities, prints, strict=True), sealed))
        for unsealed in () if all(sealed) else map(self._to_settled, compress(rows, map(not_, sealed))):
            self._others[unsealed.identity] = unsealed

    @lazy
    def _rows(self) -> dict[Identity, Row]:
        return dict(zip(self.settled, self._settled_rows, strict=True))

    def __len__(self) -> int:
        return len(self.settled) + len(self._others)

    def __iter__(self) -> Iterator[Identity]:
        yield from self.settled
        yield from self._others

    def __contains__(self, identity: object) -> bool:
        return identity in self.settled or identity in self._others

    def versions(self) -> Iterable[Version]:
        """The settled entries."""
        etags, make = (str(row[3]) for row in self._settled_rows), partial(tuple.__new__, Version)
        return map(make, zip(self.settled, etags, self.settled.values(), strict=True))

    def next_expiry(self) -> str:
        """When the first entry expires, as text; empty if none does."""
        moments = [entry.expires_at for entry in self._others.values() if entry.expires_at is not None]
        return repr(min(moments)) if moments else ""

    def keys(self) -> KeysView[Identity]:
        """All identities, as a view with the set operations of a dict, which are faster."""
        return dict.fromkeys(self).keys() if self._others else self.settled.keys()

    def __getitem__(self, identity: Identity) -> Actual:
        entry = self._others.get(identity)
        if entry is not None:
            return entry
        return self._to_settled(self._rows[identity])

    def _to_settled(self, row: Row) -> Actual:
        mark = _to_mark((self._owner, row[6], None, row[5]))
        return Actual(to_identity(row), etag=str(row[3]), fingerprint=row[2], size=row[4], mark=mark)


def _to_content(row: Row) -> Content:
    content_type = row[9].decode(errors="replace") if isinstance(row[9], bytes) else row[9]
    return Content(row[12], content_type, _to_tags(row[10]), _to_metadata(row[11]))


def _to_mark(row: Row) -> Mark | None:
    owner, applied, ttl, flags = row
    if owner is None:
        return None
    bits = flags if isinstance(flags, int) else 0
    applied = applied if isinstance(applied, bytes) else b""
    seal = applied[FINGERPRINT_SIZE:] or None
    return Mark(str(owner), applied[:FINGERPRINT_SIZE], ttl, bool(bits & SENSITIVE), bool(bits & PROTECTED), seal=seal)


def _to_tags(text: str | bytes | None) -> tuple[tuple[str, str], ...]:
    """Tags as a person may have written them; none if they are not a JSON object."""
    canonical = canonical_json_text(_raw(text)) if text else None
    data = json.loads(canonical) if canonical is not None else None
    if not isinstance(data, dict):
        return ()
    return tuple(
        sorted((name, value if isinstance(value, str) else canonical_json(value)) for name, value in data.items())
    )


def _to_metadata(text: str | bytes | None) -> str | None:
    """Metadata in canonical text; text that is not JSON becomes a JSON string."""
    if text is None:
        return None
    raw = _raw(text)
    canonical = canonical_json_text(raw)
    return canonical.decode() if canonical is not None else canonical_json(raw.decode(errors="replace"))


def _raw(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
