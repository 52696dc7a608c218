"""MessagePack form of rows of compiled files, and of what only few files have.

A plan of files that have neither changed nor anything special does not import this module: importing msgspec takes 15 ms.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import msgspec

from kvsync.desired.model import CompiledFile, DocumentRows, Reference
from kvsync.desired.rows import Rows
from kvsync.errors import Origin, Problem
from kvsync.model.desired import Move
from kvsync.model.policy import Policy


class _ChunkExtras(NamedTuple):
    """What a document has besides rows."""

    policy: Policy | None
    policy_origin: Origin | None
    absent: dict[str, Origin]
    moved: tuple[Move, ...]


class _Extras(NamedTuple):
    """What a compiled file has besides the rows of its chunks."""

    chunks: tuple[_ChunkExtras, ...]
    references: tuple[Reference, ...]
    warnings: tuple[Problem, ...]


packed_rows: Final = msgspec.msgpack.Encoder().encode
unpacked_rows: Final = msgspec.msgpack.Decoder(Rows).decode
_unpacked_extras: Final = msgspec.msgpack.Decoder(_Extras).decode


def packed_extras(unit: CompiledFile) -> bytes:
    """What a unit has besides rows; empty if there is nothing."""
    chunks = [_ChunkExtras(one.policy, one.policy_origin, dict(one.absent), one.moved) for one in unit.chunks]
    if not (unit.references or unit.warnings or any(any(one) for one in chunks)):
        return b""
    return msgspec.msgpack.encode(_Extras(tuple(chunks), unit.references, unit.warnings))


def with_extras(unit: CompiledFile, packed: bytes) -> CompiledFile:
    """A unit with what it has besides rows. Raises ValueError for what is malformed."""
    extras = _unpacked_extras(packed)
    chunks = tuple(_with(*both) for both in zip(unit.chunks, extras.chunks, strict=True))
    return replace(unit, chunks=chunks, references=extras.references, warnings=extras.warnings)


def _with(chunk: DocumentRows, extras: _ChunkExtras) -> DocumentRows:
    return replace(chunk, **extras._asdict())
