"""Key-values and their revisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

Slot = tuple[str, str]
"""Key and label; the empty text represents the null label, so slots sort as the service lists: null label first."""

FIELDS: Final = ("etag", "key", "label", "content_type", "value", "tags", "locked", "last_modified")
DESCRIBED_FIELDS: Final = (*FIELDS, "description")


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key-value as it is at some moment. `modified` is in seconds since the Unix epoch."""

    key: str
    label: str | None
    value: str | None
    content_type: str | None
    tags: Mapping[str, str | None]
    locked: bool
    etag: str
    modified: float
    description: str | None = None

    @property
    def slot(self) -> Slot:
        """Where it is kept."""
        return slot(self.key, self.label)

    @property
    def size(self) -> int:
        """Bytes of all attributes together, as the limit counts them."""
        tags = (text for pair in self.tags.items() for text in pair)
        texts = (self.key, self.label, self.value, self.content_type, self.description, *tags)
        return sum(len(text.encode()) for text in texts if text)

    def same_content(self, other: KeyValue | None) -> bool:
        """Whether a write of this one over the other would change nothing."""
        mine = (self.value, self.content_type, self.tags, self.description)
        return other is not None and mine == (other.value, other.content_type, other.tags, other.description)


@dataclass(frozen=True, slots=True)
class Revision:
    """What a slot held from one write to the next; `state` is None from a delete on. Numbers rise by one a write."""

    number: int
    at: float
    slot: Slot
    state: KeyValue | None

    def document(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {"at": self.at, "slot": list(self.slot), "state": self.state and asdict(self.state)}

    @classmethod
    def read(cls, number: int, document: dict[str, Any]) -> Revision:
        """The reverse of `document`."""
        key, label = document["slot"]
        state = document["state"]
        return cls(number, document["at"], (key, label), KeyValue(**state) if state else None)


@dataclass(frozen=True, slots=True)
class View:
    """Which revisions a reader sees: those before a moment, and those up to a number. None: all."""

    before: float | None = None
    through: int | None = None

    def shows(self, revision: Revision) -> bool:
        """Whether a revision is within sight."""
        early = self.before is None or revision.at < self.before
        return early and (self.through is None or revision.number <= self.through)


NOW: Final = View()


def slot(key: str, label: str | None) -> Slot:
    """The place of a key and label."""
    return (key, label or "")
