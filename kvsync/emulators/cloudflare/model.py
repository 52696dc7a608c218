"""Data model of the emulator: namespaces and entries, with their size limits."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Final

LARGEST_KEY: Final = 512  # bytes
LARGEST_VALUE: Final = 25 * 1024**2  # bytes
LARGEST_METADATA: Final = 1024  # bytes of compact JSON
LARGEST_BULK: Final = 10_000  # pairs or keys
LARGEST_BULK_BODY: Final = 100_000_000  # bytes
LARGEST_BULK_GET: Final = 100  # keys
LARGEST_TITLE: Final = 512  # bytes
MOST_NAMESPACES: Final = 1_000
SHORTEST_TTL: Final = 60  # seconds


@dataclass(frozen=True, slots=True)
class Pair:
    """What one key holds. `expiration` is in whole seconds since the Unix epoch; metadata None is none."""

    value: bytes
    metadata: Any = None
    expiration: int | None = None

    def alive(self, now: float) -> bool:
        """Whether it has not expired yet."""
        return self.expiration is None or now < self.expiration

    def document(self) -> str:
        """As it is kept on the disk."""
        return json.dumps([base64.b64encode(self.value).decode(), self.metadata, self.expiration])

    @classmethod
    def read(cls, document: str) -> Pair:
        """The reverse of `document`."""
        value, metadata, expiration = json.loads(document)
        return cls(base64.b64decode(value), metadata, expiration)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace without its content."""

    id: str
    title: str
    jurisdiction: str | None = None
    supports_url_encoding: bool = True

    def document(self) -> dict[str, Any]:
        """As the API shows it."""
        shown = {"id": self.id, "title": self.title, "supports_url_encoding": self.supports_url_encoding}
        return shown | ({"jurisdiction": self.jurisdiction} if self.jurisdiction else {})
