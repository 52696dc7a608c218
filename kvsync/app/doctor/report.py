"""Findings of `kvsync doctor`."""

from __future__ import annotations

from kvsync.errors import ErrorCode, KvsyncError, Problem
from kvsync.util.values import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, and what was found."""

    subject: str
    check: str
    ok: bool
    detail: str
    hint: str | None = None
    code: ErrorCode | None = None

    @classmethod
    def of_error(cls, subject: str, check: str, error: KvsyncError) -> Finding:
        """The finding that a check failed with an error."""
        return cls(subject, check, False, str(error), code=error.code)


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What was found, in the order in which it is shown. `problems` are those of the state files; `is_absent` says that there
    are none yet, because no commit has been fetched."""

    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...] = ()
    is_absent: bool = False
