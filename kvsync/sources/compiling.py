"""A document made ready for each of its stores: normalised, fingerprinted, and checked against what the store can hold."""

from __future__ import annotations

import marshal
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from os import urandom
from typing import Final

from kvsync.config.model import StoreConfig
from kvsync.core.audit import UNUSABLE_KEYS, audit
from kvsync.core.canonical import fingerprint
from kvsync.core.capabilities import Capabilities, SizeUnit
from kvsync.core.model import Content, Entry, Identity, Mode, Target
from kvsync.errors import Origin, Problem
from kvsync.sources.documents import Document
from kvsync.sources.model import Chunk, StoreFacts
from kvsync.sources.rows import Rows, Shape, with_labels

_PRIVATE_KEY: Final = urandom(32)
"""Keys the digests of secrets, so that a digest tells nothing about them; they hold for this process only."""


def compile_document(
    document: Document, stores: Mapping[str, StoreFacts], configs: Mapping[str, StoreConfig], problems: list[Problem]
) -> Iterator[Chunk]:
    """One chunk for each store that the document names; what a store cannot hold goes to `problems`."""
    for name in document.stores:
        assert document.namespace is not None
        config = configs[name]
        target = Target(name, document.namespace)
        compiler = _Compiler(target, stores[name], "{label}" in (config.key_format or ""), problems)
        rows = compiler.compile(document.rows)
        policy = document.policy(config.policy)
        yield Chunk(
            target,
            partial(_same, rows),
            len(rows),
            _digest(rows, repr((policy, document.absent, document.moved)), private=bool(document.secrets)),
            policy,
            document.policy_origin,
            document.absent,
            tuple(document.moved),
        )


class _Compiler:
    """Makes rows ready for one target."""

    def __init__(self, target: Target, store: StoreFacts, label_in_key: bool, problems: list[Problem]) -> None:
        self._target, self._store, self._label_in_key, self._problems = target, store, label_in_key, problems
        self._limits = store.capabilities
        self._most_key, self._most_value = _easy_sizes(store.capabilities, alone=not store.audits_entries)

    def compile(self, source: Rows) -> Rows:
        """The rows as the store holds them."""
        rows = Rows(source.keys, source.labels, [], [], source.lines, source.columns)
        shapes = [self._for_store(shape) for shape in source.table]
        remote = self._remote_keys(source)
        self._audit_all(source, shapes, remote)
        normalise, values, kept, prints = self._store.normalise, rows.values, rows.shapes, rows.prints
        places: dict[tuple[int, Content | None], int] = {}
        for value, place in zip(source.values, source.shapes, strict=True):
            shape = shapes[place]
            written = Content(value, shape.content_type, shape.tags, shape.metadata)
            content = normalise(written)
            prints.append(fingerprint(content, canonical=shape.json and content.value is value))
            values.append(content.value)
            spot = (place, None if content is written else content._replace(value=b""))
            known = places.get(spot)
            if known is None:
                known = places[spot] = rows.number(_as_held(shape, content))
            kept.append(known)
        if remote != source.keys or not self._limits.labels:
            rows.remote = with_labels(remote, source.labels) if self._limits.labels else remote
        return rows

    def _audit_all(self, source: Rows, shapes: Sequence[Shape], remote: Sequence[str]) -> None:
        """Look at every entry that may be refused; the sizes of key and value clear nearly all at once."""
        hard = frozenset(place for place, shape in enumerate(shapes) if not self._is_easy(shape))
        most_key, most_value, text_only = self._most_key, self._most_value, not self._limits.binary
        for index, (value, place, key) in enumerate(zip(source.values, source.shapes, remote, strict=True)):
            if (
                len(value) > most_value
                or len(key) > most_key
                or place in hard
                or key in UNUSABLE_KEYS
                or (text_only and not value.isascii())
            ):
                shape = shapes[place]
                self._audit(source, index, Content(value, shape.content_type, shape.tags, shape.metadata), shape, key)
        if not all(source.keys):
            for index in (index for index, key in enumerate(source.keys) if not key):
                self._add(source, index, "a key must not be empty")

    def _for_store(self, shape: Shape) -> Shape:
        if shape.implied_type and not self._limits.content_type:
            return shape._replace(content_type=None)
        return shape

    def _is_easy(self, shape: Shape) -> bool:
        """True when no entry of this shape can be refused for anything but the size of its key and value."""
        probe = _entry(Identity("k"), Content(b"", shape.content_type, shape.tags, shape.metadata), shape)
        return not audit(probe, self._limits, "k")

    def _remote_keys(self, source: Rows) -> list[str]:
        remote_key, namespace = self._store.remote_key, self._target.namespace
        keys = []
        for index, identity in enumerate(source.identities()):
            try:
                keys.append(remote_key(namespace, identity))
            except ValueError as error:
                self._add(source, index, str(error))
                keys.append(f"{identity.key}\0{identity.label}")  # meets no other
        return keys

    def _audit(self, source: Rows, index: int, content: Content, shape: Shape, remote_key: str) -> None:
        if "\0" in remote_key and source.keys[index] != remote_key:
            return  # it has no remote key, which was said already
        identity = Identity(source.keys[index], source.labels[index])
        entry = _entry(identity, content, shape, source.origin(index))
        for reason in (
            *audit(entry, self._limits, remote_key, label_in_key=self._label_in_key),
            *self._store.audit(self._target.namespace, entry),
        ):
            self._add(source, index, reason)

    def _add(self, source: Rows, index: int, reason: str) -> None:
        identity = Identity(source.keys[index], source.labels[index])
        self._problems.append(Problem(f"{self._target}: {identity}: {reason}", source.origin(index)))


def _easy_sizes(limits: Capabilities, *, alone: bool) -> tuple[int, int]:
    """Sizes of key (in characters) and value (in bytes) up to which nothing else can be wrong with an entry; -1 where each has
    to be looked at. `alone` says that nothing but the capabilities counts."""
    if not alone or limits.key_pattern is not None or limits.max_entry is not None or not limits.labels:
        return -1, -1
    width = 1 if limits.key_unit is SizeUnit.CHARACTERS else 4
    return _or_endless(limits.max_key) // width, _or_endless(limits.max_value)


def _or_endless(limit: int | None) -> int:
    return sys.maxsize if limit is None else limit


def _as_held(shape: Shape, content: Content) -> Shape:
    _, content_type, tags, metadata = content
    return shape._replace(content_type=content_type, implied_type=False, tags=tags, metadata=metadata)


def _entry(identity: Identity, content: Content, shape: Shape, origin: Origin | None = None) -> Entry:
    return Entry(
        identity,
        content,
        b"",
        shape.ttl,
        shape.expires_at,
        shape.renew_before,
        shape.json,
        Mode(shape.mode),
        shape.protected,
        shape.sensitive,
        origin,
    )


def _same(rows: Rows) -> Rows:
    return rows


def _digest(rows: Rows, rest: str, *, private: bool) -> bytes:
    columns = (
        rows.keys,
        rows.labels,
        rows.prints,
        rows.shapes,
        rows.lines,
        rows.columns,
        [tuple(s) for s in rows.table],
    )
    key = _PRIVATE_KEY if private else b""
    return blake2b(
        marshal.dumps((columns, rest), 2), digest_size=16, key=key
    ).digest()  # version 2 depends on values alone
