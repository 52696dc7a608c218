"""One snapshot and the document that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from kvsync.emulators.azure.model import KeyValue
from kvsync.emulators.quantities import iso, precise_iso

FIELDS: Final = (
    *("etag", "name", "description", "status", "filters", "composition_type", "created"),
    *("expires", "size", "items_count", "tags", "retention_period"),
)
_SMALLEST: Final = 500
"""Bytes that a key-value counts at least: a recording of the service shows a size of 1,000 for two small ones."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot. Moments are in seconds since the Unix epoch; it is provisioning until `ready_at`."""

    name: str
    etag: str
    filters: Sequence[dict[str, Any]]
    composition_type: str
    retention_period: int
    tags: dict[str, str | None]
    description: str | None
    created: float
    ready_at: float
    archived_at: float | None
    content: tuple[KeyValue, ...]
    failed: bool = False

    @property
    def size(self) -> int:
        """Bytes that it counts."""
        return sum(max(_SMALLEST, item.size) for item in self.content)

    def status(self, now: float) -> str:
        """What it is in by then."""
        if now < self.ready_at:
            return "provisioning"
        if self.failed:
            return "failed"
        return "ready" if self.archived_at is None else "archived"

    @property
    def expires(self) -> float | None:
        """When an archived snapshot goes."""
        return None if self.archived_at is None else self.archived_at + self.retention_period

    @classmethod
    def read(cls, document: dict[str, Any]) -> Snapshot:
        """The reverse of `asdict`. Members that this version does not know are ignored, later ones have their defaults."""
        known = {field.name: document[field.name] for field in fields(cls) if field.name in document}
        return cls(**known | {"content": tuple(KeyValue(**item) for item in document["content"])})

    def document(self, status: str, selected: Sequence[str] = FIELDS) -> dict[str, Any]:
        """As the service shows it, with the selected fields; without a description and an end that it does not have."""
        done = status in ("ready", "archived")
        document = {
            "etag": self.etag,
            "name": self.name,
            "description": self.description,
            "status": status,
            "filters": list(self.filters),
            "composition_type": self.composition_type,
            "created": iso(self.created),
            "expires": self.expires and precise_iso(self.expires),
            "size": self.size if done else 0,
            "items_count": len(self.content) if done else 0,
            "tags": self.tags,
            "retention_period": self.retention_period,
        }
        absent = {name for name in ("description", "expires") if document[name] is None}
        return {name: document[name] for name in selected if name not in absent}
