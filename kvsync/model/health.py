"""Usage counters of a store, and the findings of its health check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from kvsync.errors import ErrorCode, KvsyncError
from kvsync.util.values import dataclass


@dataclass(slots=True)
class Traffic:
    """Requests that a store has made in this process so far, and the bytes that they took."""

    requests: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    last_failure: str = ""
    """Why the last request failed, for those who stop waiting while it is repeated; empty after a success."""


def total(all_traffic: Iterable[Traffic | None]) -> Traffic:
    """All of it together."""
    whole = Traffic()
    for one in filter(None, all_traffic):
        whole.requests += one.requests
        whole.bytes_received += one.bytes_received
        whole.bytes_sent += one.bytes_sent
        for status, count in one.by_status.items():
            whole.by_status[status] = whole.by_status.get(status, 0) + count
    return whole


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One line of `kvsync doctor`: the name of a check, whether it passed, and what to do if it did not. `code` is the code of
    the error that it failed with."""

    check: str
    ok: bool
    detail: str
    hint: str | None = None
    code: ErrorCode | None = None

    @classmethod
    def of_error(cls, check: str, error: KvsyncError, hint: str | None = None) -> DoctorCheck:
        """Return the check that failed with this error."""
        return cls(check, False, str(error), hint, error.code)
