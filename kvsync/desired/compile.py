"""Compiles a document for each of its stores: normalizes, fingerprints, and checks that the store can hold the entries."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from os import urandom
from typing import Final

import msgspec

from kvsync.desired.document import Document, IncomingMove
from kvsync.desired.model import DocumentRows, StoreFacts, Stores
from kvsync.desired.rows import RowBuilder, Rows, RowTemplate, with_labels
from kvsync.errors import Kind, Problem
from kvsync.model.canonical import fingerprint, fingerprinter
from kvsync.model.capabilities import Capabilities, SizeUnit
from kvsync.model.entry import Content, Identity, Target, brief
from kvsync.planning.audit import UNUSABLE_KEYS, audit

_encode: Final = msgspec.msgpack.Encoder().encode

_PRIVATE_KEY: Final = urandom(32)
"""Keys the digests of secrets, so that a digest reveals nothing about them; they hold for this process only."""


def compile_document(document: Document, stores: Stores, problems: list[Problem], most: int) -> Iterator[DocumentRows]:
    """One chunk for each store that the document names; what a store cannot hold goes to `problems`, up to `most` of them."""
    source = document.draft.columns()
    yield from map(_source_rows, document.incoming_moves)
    for name in document.stores:
        assert document.namespace is not None
        config = stores.configs[name]
        target = Target(name, document.namespace)
        compiler = _Compiler(target, stores.facts[name], "{label}" in (config.key_format or ""), problems, most)
        rows, moved = compiler.compile(source), (*document.moved.values(), *document.moves_into(target))
        policy = document.policy(config.policy, stores.authority)
        yield DocumentRows(
            target,
            partial(_same, rows),
            len(rows),
            _digest(rows, repr((policy, document.absent, moved)), private=bool(document.secrets)),
            policy,
            document.policy_origin,
            document.absent,
            moved,
        )


def _source_rows(incoming: IncomingMove) -> DocumentRows:
    """Rows of the target that a key is moved out of, by the document of another target."""
    rows = RowBuilder().columns()
    digest = _digest(rows, repr(incoming), private=False)
    return DocumentRows(incoming.target, partial(_same, rows), 0, digest, moved=(incoming.move,), is_source_only=True)


class _Compiler:
    """Makes rows ready for one target."""

    def __init__(
        self, target: Target, store: StoreFacts, label_in_key: bool, problems: list[Problem], most: int
    ) -> None:
        self._target, self._store, self._label_in_key = target, store, label_in_key
        self._problems, self._most = problems, most
        self._nameless: set[int] = set()
        self._limits = store.capabilities
        self._is_written_well = re.compile(store.capabilities.key_pattern or "(?s:.*)").fullmatch
        self._most_key, self._most_value = _easy_sizes(store.capabilities, alone="audit" not in store.overridden)

    def compile(self, source: Rows) -> Rows:
        """The rows as the store holds them."""
        shapes = [self._for_store(shape) for shape in source.table]
        self._nameless.clear()
        remote = self._remote_keys(source)
        if not self._is_all_easy(source, shapes, remote):
            self._audit_all(source, shapes, remote)
        rows = self._held(source, shapes)
        if remote != source.keys or not self._limits.labels:
            rows.remote = with_labels(remote, source.labels) if self._limits.labels else remote
        return rows

    def _held(self, source: Rows, shapes: Sequence[RowTemplate]) -> Rows:
        if "normalise" in self._store.overridden:
            return self._normalised(source, shapes)
        printers = [fingerprinter(*one.parts, canonical=one.json) for one in shapes]
        prints = [printers[place](value) for place, value in zip(source.shapes, source.values, strict=True)]
        return replace(source, prints=prints, table=list(shapes))

    def _normalised(self, source: Rows, shapes: Sequence[RowTemplate]) -> Rows:
        draft, values, kept, prints = RowBuilder(), [], [], []
        for value, place in zip(source.values, source.shapes, strict=True):
            shape = shapes[place]
            content = self._store.normalise(Content(value, *shape.parts))
            prints.append(fingerprint(content))
            values.append(content.value)
            kept.append(draft.number(shape.of(content)))
        return replace(source, values=values, shapes=kept, prints=prints, table=draft.table)

    def _is_all_easy(self, source: Rows, shapes: Sequence[RowTemplate], remote: Sequence[str]) -> bool:
        """True when a look at the largest shows that nothing can be wrong with any."""
        return (
            max(map(len, source.values), default=0) <= self._most_value
            and max(map(len, remote), default=0) <= self._most_key
            and UNUSABLE_KEYS.isdisjoint(remote)
            and all(map(self._is_written_well, remote))
            and all(source.keys)
            and all(map(self._is_easy, shapes))
            and (self._limits.binary or all(map(bytes.isascii, source.values)))
        )

    def _audit_all(self, source: Rows, shapes: Sequence[RowTemplate], remote: Sequence[str]) -> None:
        for index, (value, place, remote_key) in enumerate(zip(source.values, source.shapes, remote, strict=True)):
            shape = shapes[place]
            content = Content(value, *shape.parts)
            self._audit(source, index, content, shape, remote_key)
            if not source.keys[index] and remote_key:
                self._add(source, index, "a key must not be empty")

    def _for_store(self, shape: RowTemplate) -> RowTemplate:
        if self._limits.always_expires and shape.ttl is None and shape.expires_at is None:
            shape = shape._replace(ttl=self._limits.max_ttl)  # where everything ends, no TTL means: renewed forever
        is_dropped = shape.implied_type and not (self._limits.content_type and self._limits.implied_types)
        content_type = None if is_dropped else shape.content_type
        sensitive = shape.sensitive or self._limits.sensitive
        return shape._replace(content_type=content_type, implied_type=False, sensitive=sensitive)

    def _is_easy(self, shape: RowTemplate) -> bool:
        """True when no entry of this shape can be refused for anything but the size of its key and value."""
        probe = shape.entry(Identity("k"), Content(b"", *shape.parts))
        return not (shape.feature or audit(probe, self._limits, "k"))

    def _remote_keys(self, source: Rows) -> list[str]:
        if "remote_key" not in self._store.overridden:
            return source.keys
        remote_key, namespace = self._store.remote_key, self._target.namespace
        keys = []
        for index, identity in enumerate(source.identities()):
            try:
                keys.append(remote_key(namespace, identity))
            except ValueError as error:
                self._add(source, index, str(error))
                self._nameless.add(index)
                keys.append(f"{identity.key}\0{identity.label}")  # meets no other
        return keys

    def _audit(self, source: Rows, index: int, content: Content, shape: RowTemplate, remote_key: str) -> None:
        if index in self._nameless:
            return  # it has no remote key, which was said already
        identity = Identity(source.keys[index], source.labels[index])
        entry = shape.entry(identity, content, origin=source.origin(index))
        for reason in (
            *(self._flag_problems(remote_key) if shape.feature else ()),
            *audit(entry, self._limits, remote_key, label_in_key=self._label_in_key),
            *self._store.audit(self._target.namespace, entry),
        ):
            self._add(source, index, reason)

    def _flag_problems(self, remote_key: str) -> Iterator[str]:
        prefix = self._limits.flag_prefix
        if prefix is None:
            yield f"{self._limits.type} has no feature flags"
        elif not remote_key.startswith(prefix):
            yield f'the keys of feature flags begin with {prefix}; set key_format: "{prefix}{{key}}" for the store'

    def _add(self, source: Rows, index: int, reason: str) -> None:
        if len(self._problems) >= self._most:
            return
        identity = Identity(source.keys[index], source.labels[index])
        message = f"{self._target}: {brief(identity)}: {reason}"
        self._problems.append(Problem(message, source.origin(index), kind=Kind.STORE_LIMIT))


def _easy_sizes(limits: Capabilities, *, alone: bool) -> tuple[int, int]:
    """Sizes of key (in characters) and value (in bytes) up to which nothing else can be wrong with an entry; -1 where each has
    to be looked at. `alone` says that nothing but the capabilities counts."""
    if not alone or limits.max_entry is not None or not limits.labels:
        return -1, -1
    width = 1 if limits.key_unit is SizeUnit.CHARACTERS else 4
    return _or_endless(limits.max_key) // width, _or_endless(limits.max_value)


def _or_endless(limit: int | None) -> int:
    return sys.maxsize if limit is None else limit


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
    return blake2b(_encode((columns, rest)), digest_size=16, key=key).digest()
