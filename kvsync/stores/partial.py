"""Reads in which some entries cannot be read: the others are read all the same."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final, TypeVar

from kvsync.errors import PermanentError, TransientError
from kvsync.model.entry import Actual, Identity

MOST_UNREAD: Final = 16
"""Entries of one read that may fail; with more of them, the read as a whole fails."""

_Result = TypeVar("_Result")


class EntryUnreadable(TransientError):
    """Something refuses that this one entry is read, and may let others pass."""


class EntryDamaged(PermanentError):
    """The value of this one entry cannot be decoded."""


class PartialRead(TransientError):
    """Some entries could not be read: `failed` says why. `found` are the others, with their content."""

    def __init__(self, found: Mapping[Identity, Actual], failed: Mapping[Identity, str]) -> None:
        super().__init__(next(iter(failed.values())))
        self.found, self.failed = found, failed


class ReadFailures:
    """Collects the errors of entries that cannot be read while others are."""

    def __init__(self) -> None:
        self._failed: dict[Identity, str] = {}

    async def note(self, identity: Identity, read: Awaitable[_Result]) -> _Result | None:
        """Read one entry; None where that failed for a reason of its own. Raises every other StoreError, and this one after too
        many."""
        try:
            return await read
        except (EntryDamaged, EntryUnreadable) as error:
            self._failed[identity] = str(error)
            if len(self._failed) > MOST_UNREAD:
                raise
        return None

    def check(self, found: Mapping[Identity, Actual]) -> Mapping[Identity, Actual]:
        """What was found. Raises PartialRead where that is not all."""
        if self._failed:
            raise PartialRead(found, self._failed)
        return found
