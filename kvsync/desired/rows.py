"""Columnar storage of entries: cheap for a hundred thousand of them, and cacheable as it is.

Entries that say the same besides their value share one `RowTemplate`; a row points at it by number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from itertools import repeat
from typing import NamedTuple

from kvsync.errors import Origin
from kvsync.model.entry import Content, Entry, Identity, Mode
from kvsync.util.values import dataclass
from kvsync.yaml.nodes import Node

_MODES = {mode.value: mode for mode in Mode}


class RowTemplate(NamedTuple):
    """Everything about an entry but its name, value and line. `implied_type` says that the content type follows from `json:`
    and is dropped where a store keeps none."""

    file: str
    content_type: str | None = None
    implied_type: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    metadata: str | None = None
    description: str | None = None
    ttl: int | None = None
    expires_at: int | None = None
    renew_before: int | None = None
    json: bool = False
    mode: str = Mode.ENFORCE.value
    protected: bool = False
    sensitive: bool = False
    after: tuple[str, ...] = ()
    after_all: bool = False
    feature: bool = False

    @property
    def parts(self) -> tuple[str | None, tuple[tuple[str, str], ...], str | None, str | None]:
        """The content but for the value, in the order of `Content`."""
        return self.content_type, self.tags, self.metadata, self.description

    def of(self, content: Content) -> RowTemplate:
        """The same for other content."""
        _, content_type, tags, metadata, description = content
        return self._replace(content_type=content_type, tags=tags, metadata=metadata, description=description)

    @property
    def is_settled(self) -> bool:
        """True when a fingerprint is all there is to compare."""
        return self.ttl is None and self.expires_at is None and self.mode == Mode.ENFORCE

    def entry(
        self, identity: Identity, content: Content, fingerprint: bytes = b"", origin: Origin | None = None
    ) -> Entry:
        """The entry of this shape that has this name and content."""
        return Entry(
            identity,
            content,
            fingerprint,
            self.ttl,
            self.expires_at,
            self.renew_before,
            self.json,
            _MODES[self.mode],
            self.protected,
            self.sensitive,
            origin,
            self.after,
            self.after_all,
        )


class RowBuilder:
    """Rows as they are written, for no store yet: (key, label, value, number of the shape, line, column). `nodes` are those of
    values that are written as data, by the index of the row."""

    __slots__ = ("_numbers", "nodes", "rows", "table")

    def __init__(self) -> None:
        self.rows: list[tuple[str, str | None, bytes, int, int, int]] = []
        self.table: list[RowTemplate] = []
        self.nodes: dict[int, Node] = {}
        self._numbers: dict[RowTemplate, int] = {}

    def number(self, shape: RowTemplate) -> int:
        """The number of a shape, a new one when it is not known yet."""
        known = self._numbers.setdefault(shape, len(self.table))
        if known == len(self.table):
            self.table.append(shape)
        return known

    def columns(self) -> Rows:
        """The same in columns."""
        if not self.rows:
            return Rows()
        keys, labels, values, shapes, lines, columns = (list(column) for column in zip(*self.rows, strict=True))
        return Rows(keys, labels, values, shapes, lines, columns, table=self.table)


@dataclass(slots=True)
class Rows:
    """Columns of equal length, and the shapes they share. Once the rows are made ready for a store, they have `prints`, and in
    `remote` what must differ from entry to entry there: None where that is the identity."""

    keys: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    shapes: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    prints: list[bytes] = field(default_factory=list)
    table: list[RowTemplate] = field(default_factory=list)
    remote: list[str] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def identities(self) -> Iterator[Identity]:
        """The identities, made without a call of Python code for each."""
        return map(tuple.__new__, repeat(Identity), zip(self.keys, self.labels, strict=True))

    def entry(self, index: int) -> Entry:
        """The entry in one row."""
        shape = self.table[self.shapes[index]]
        identity = Identity(self.keys[index], self.labels[index])
        content = Content(self.values[index], shape.content_type, shape.tags, shape.metadata, shape.description)
        origin = Origin(shape.file, self.lines[index], self.columns[index])
        return shape.entry(identity, content, self.prints[index], origin)

    def origin(self, index: int) -> Origin:
        """Where one row was written."""
        return Origin(self.table[self.shapes[index]].file, self.lines[index], self.columns[index])


def with_labels(names: Sequence[str], labels: Sequence[str | None]) -> list[str]:
    """What must differ from entry to entry where a store keeps labels next to its keys."""
    return [name if label is None else f"{name}\0{label}" for name, label in zip(names, labels, strict=True)]
