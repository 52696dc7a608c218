"""Reads in which some entries cannot be read while the others can, and listings that end early."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final, TypeVar

from kvsync.errors import ErrorCode, PermanentError, TransientError
from kvsync.model.entry import Actual, Identity

MOST_UNREAD: Final = 16
"""Entries of one read that may fail; if more fail, the whole read does."""

_Result = TypeVar("_Result")


def ended_early(entries: int, error: TransientError) -> str:
    """The problem of a listing that an error ended after so many entries."""
    return f"it ended early, after {entries:,} entries ({error})"


class EntryUnreadable(TransientError):
    """A read of this one entry was refused; others may succeed."""

    code = ErrorCode.ENTRY_UNREADABLE


class EntryDamaged(PermanentError):
    """The value of this one entry cannot be decoded."""

    code = ErrorCode.ENTRY_DAMAGED


class PartialRead(TransientError):
    """Some entries could not be read: `failed` says why. `found` are the others, with their content."""

    code = ErrorCode.ENTRY_UNREADABLE

    def __init__(self, found: Mapping[Identity, Actual], failed: Mapping[Identity, str]) -> None:
        super().__init__(next(iter(failed.values())))
        self.found, self.failed = found, failed


class ReadFailures:
    """Collects the errors of entries that cannot be read while others can."""

    def __init__(self) -> None:
        self._failed: dict[Identity, str] = {}

    async def note(self, identity: Identity, read: Awaitable[_Result]) -> _Result | None:
        """Read one entry; None if that failed for a reason of this entry. Raises every other StoreError, and this one if too
        many fail."""
        try:
            return await read
        except (EntryDamaged, EntryUnreadable) as error:
            self._failed[identity] = str(error)
            if len(self._failed) > MOST_UNREAD:
                raise
        return None

    def check(self, found: Mapping[Identity, Actual]) -> Mapping[Identity, Actual]:
        """Return what was found. Raises PartialRead if some entries failed."""
        if self._failed:
            raise PartialRead(found, self._failed)
        return found
