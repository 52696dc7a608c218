"""Data model of the emulator: users, stores and records."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

LARGEST_RECORD: Final = 9_437_184  # bytes
UNNAMED_LIFE: Final = 7 * 86_400.0  # seconds
FOLLOW: Final = "FOLLOW_USER_SETTING"
WITH_ID, WITH_NAME, RESTRICTED = "ANYONE_WITH_ID_CAN_READ", "ANYONE_WITH_NAME_CAN_READ", "RESTRICTED"


@dataclass(frozen=True, slots=True)
class User:
    """Someone who owns stores."""

    id: str
    username: str


@dataclass(frozen=True, slots=True)
class Record:
    """What one key holds: the body as it was uploaded. `encoding` "" is none; `modified` is in seconds since the Unix epoch."""

    body: bytes
    content_type: str
    encoding: str = ""
    modified: float = 0.0

    def document(self) -> str:
        """As it is kept on the disk."""
        return json.dumps([base64.b64encode(self.body).decode(), self.content_type, self.encoding, self.modified])

    @classmethod
    def read(cls, document: str) -> Record:
        """The reverse of `document`."""
        body, content_type, encoding, modified = json.loads(document)
        return cls(base64.b64decode(body), content_type, encoding, modified)


@dataclass(frozen=True, slots=True)
class Store:
    """A store without its records. Moments are in seconds since the Unix epoch; the counts are those of requests."""

    id: str
    owner: str
    secret: str
    created: float
    modified: float
    accessed: float
    name: str | None = None
    title: str | None = None
    general_access: str = FOLLOW
    schema: dict[str, Any] | None = None
    reads: int = 0
    writes: int = 0
    deletes: int = 0
    lists: int = 0

    def expired(self, now: float) -> bool:
        """Whether it has no name and was not written for too long."""
        return self.name is None and now >= self.modified + UNNAMED_LIFE

    def document(self) -> str:
        """As it is kept on the disk."""
        return json.dumps(asdict(self))

    def times(self) -> dict[str, str]:
        """The moments as the API shows them."""
        return {"createdAt": iso(self.created), "modifiedAt": iso(self.modified), "accessedAt": iso(self.accessed)}

    def stats(self, size: int) -> dict[str, int]:
        """The counts as the API shows them; `size` is that of all records, in bytes."""
        counts = {
            "readCount": self.reads,
            "writeCount": self.writes,
            "deleteCount": self.deletes,
            "listCount": self.lists,
        }
        return counts | {"s3StorageBytes": size, "storageBytes": size}


def iso(at: float) -> str:
    """A moment as the API writes it: `2026-12-24T00:00:00.000Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
