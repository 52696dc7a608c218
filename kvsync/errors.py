"""Exception classes of kvsync. The base class says how to handle an error, the subclass what happened.

KvsyncError
├── UsageError            the command line makes no sense                     (exit 64)
├── InvalidInput          configuration or desired state is wrong: every      (exit 78)
│                         problem at once, each with its place
├── LockHeld              another writing process uses this state directory   (exit 5)
├── LeaseHeld             another replica leads                               (exit 5)
├── NotApproved           a guard, a window or a missing approval refuses     (exit 4)
├── StateDirError         the state directory cannot be read or written       (exit 1)
│   ├── StateDirLost      it was removed or replaced while it was in use      (exit 1)
│   └── StateDirUntrusted it could decide what nobody approved                (exit 78)
├── SourceError           the repository cannot be fetched, or its newest     (exit 1)
│                         commit may not be used: what was there before stays
└── StoreError            something about one store                           (exit 1)
    ├── TransientError    wait, then try the same again
    │   ├── LostAnswer    the write may have happened: read before repeating
    │   └── NotLeader     this replica does not lead: nothing was sent
    ├── BatchRefused      the call as a whole is refused: split it, and a batch of
    │                     one is refused for good
    ├── AuthError         wrong, expired or missing credential: stop this store
    └── PermanentError    trying again cannot help: give up on this target
        └── UnexpectedError   a mistake in kvsync: nothing is known of what was done
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Position in a configuration or state file. Lines and columns count from 1; `file` is relative to the configuration."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class ErrorCode(StrEnum):
    """Stable codes of all kinds of problems, by area. `kvsync.model.codes` describes each; a code is never reused."""

    # Files and configuration
    USAGE = "KV1001"
    INVALID = "KV1101"
    UNREADABLE = "KV1102"
    CONTRADICTION = "KV1103"
    UNKNOWN_FIELD = "KV1104"
    MISSING_FIELD = "KV1105"
    DUPLICATE_KEY = "KV1106"
    UNEXPECTED_VALUE = "KV1107"
    SOURCE_UNAVAILABLE = "KV1201"
    SOURCE_TOO_LARGE = "KV1202"
    COMMIT_REJECTED = "KV1203"
    STORE_LIMIT = "KV1301"
    LEFT_OUT = "KV1401"
    WEAK_VALUE = "KV1402"
    # What state files may do
    NOT_ALLOWED = "KV2101"
    CONFIGURATION_CHANGE = "KV2102"
    # Answers of a store
    STORE_ERROR = "KV3001"
    STORE_UNAVAILABLE = "KV3101"
    LOST_ANSWER = "KV3102"
    ANSWER_TOO_LONG = "KV3103"
    CREDENTIAL_REJECTED = "KV3201"
    REQUEST_REJECTED = "KV3301"
    BATCH_REJECTED = "KV3302"
    NAMESPACE_MISSING = "KV3303"
    ENTRY_UNREADABLE = "KV3401"
    ENTRY_DAMAGED = "KV3402"
    INCOMPLETE_LISTING = "KV3403"
    # Ownership and conflicts
    UNOWNED = "KV4101"
    OTHER_OWNER = "KV4102"
    PROTECTED = "KV4103"
    LOCKED = "KV4104"
    EXPIRES_TOO_SOON = "KV4105"
    MOVE_INCOMPLETE = "KV4106"
    DEFERRED = "KV4107"
    CONFLICT = "KV4201"
    STALE = "KV4202"
    CHANGE_REFUSED = "KV4203"
    CHANGE_FAILED = "KV4204"
    OUTCOME_UNKNOWN = "KV4205"
    PLACE_UNUSABLE = "KV4301"
    PLACE_CHANGED = "KV4302"
    LEDGER_FOREIGN = "KV4303"
    LEDGER_LOST = "KV4304"
    # What waits for a person or a moment
    PARKED = "KV5101"
    NOT_APPROVED = "KV5102"
    DELETES_WAITING = "KV5201"
    EARLIER_WAVE = "KV5202"
    OVERDUE = "KV5301"
    # State directory and machine
    STATE_UNUSABLE = "KV6101"
    STATE_IN_USE = "KV6102"
    STATE_LOST = "KV6103"
    STATE_ROLLED_BACK = "KV6104"
    STATE_NEWER = "KV6105"
    STATE_UNTRUSTED = "KV6106"
    SHORTAGE = "KV6201"
    # Several replicas
    OTHER_LEADER = "KV7101"
    STANDBY = "KV7102"
    LEASE_NOT_HELD = "KV7103"
    TARGET_CLAIMED = "KV7201"
    CLAIM_LOST = "KV7202"
    # Everything else
    COMMAND_FAILED = "KV8001"
    BUG = "KV9001"
    BUG_IN_TARGET = "KV9002"


def with_code(text: str, code: ErrorCode | None) -> str:
    """A message as people see it, with its code at the end."""
    return f"{text} [{code}]" if code is not None else text


class Kind(StrEnum):
    """The kinds of problems, by what is to be mended. Their names are seen by other programs, which keep them."""

    INVALID = "invalid"
    UNREADABLE = "unreadable"
    CONTRADICTION = "contradiction"
    STORE_LIMIT = "store-limit"
    NOT_ALLOWED = "not-allowed"
    CONFIGURATION_CHANGE = "configuration-change"
    LEFT_OUT = "left-out"
    WEAK_VALUE = "weak-value"

    @property
    def code(self) -> ErrorCode:
        """The code of a problem of this kind that has no code of its own."""
        return ErrorCode[self.name]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its place, what is wrong, what to do about it (if known), and its kind. `detail` is a more precise code than
    that of the kind."""

    message: str
    origin: Origin | None = None
    hint: str | None = None
    kind: Kind = Kind.INVALID
    detail: ErrorCode | None = None

    @property
    def code(self) -> ErrorCode:
        """`detail` if it is set, otherwise the code of the kind."""
        return self.detail or self.kind.code

    def __str__(self) -> str:
        place = f"{self.origin}: " if self.origin else ""
        return f"{place}{self.message}" + (f" ({self.hint})" if self.hint else "")


class KvsyncError(Exception):
    """Base class of the errors that kvsync raises intentionally. A class without its own `code` has that of its base class."""

    code: ClassVar[ErrorCode] = ErrorCode.COMMAND_FAILED
    """The code that `kvsync explain` describes."""


class UsageError(KvsyncError):
    """Invalid command line."""

    code = ErrorCode.USAGE


class InvalidInput(KvsyncError):
    """The configuration or the desired state is invalid. Contains every problem that was found, not only the first one."""

    code = ErrorCode.INVALID

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class LockHeld(KvsyncError):
    """Another kvsync process that writes holds the lock of this state directory."""

    code = ErrorCode.STATE_IN_USE

    def __init__(self, state_dir: str, pid: int | None) -> None:
        self.state_dir, self.pid = state_dir, pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{state_dir}: {holder} holds the lock of this state directory; wait until it ends, or stop it"
        )


class LeaseHeld(KvsyncError):
    """Another replica holds the lease, so that this one may write nothing."""

    code = ErrorCode.OTHER_LEADER

    def __init__(self, lease: str, leader: str | None) -> None:
        self.lease, self.leader = lease, leader
        holder = f"{leader} leads" if leader else "another replica leads"
        super().__init__(f"lease {lease}: {holder}; nothing was written")


class StandbyError(KvsyncError):
    """Operator action on a replica that does not lead: the leader would not see it."""

    code = ErrorCode.STANDBY

    def __init__(self, lease: str, leader: str | None) -> None:
        self.lease, self.leader = lease, leader
        where = (
            f"run this command on the leader, {leader}"
            if leader
            else "run this command on the leader (currently unknown)"
        )
        super().__init__(f"lease {lease}: this replica is a standby, and does not share the leader's state; {where}")


class NotApproved(KvsyncError):
    """Something a person must release first: a guard, a deny window, a confirmation. `details` are further lines, one fact
    each."""

    code = ErrorCode.NOT_APPROVED

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        self.details = tuple(details)
        super().__init__(message)


class StateDirError(KvsyncError):
    """The state cannot be used: its directory is not writable, full or damaged, or its database cannot be reached."""

    code = ErrorCode.STATE_UNUSABLE

    def __init__(self, state_dir: str, reason: str) -> None:
        self.state_dir, self.reason = state_dir, reason
        kind = "state in" if "://" in state_dir else "state directory"
        super().__init__(f"{kind} {state_dir}: {reason}")


class StateDirLost(StateDirError):
    """The state directory is not the one that was opened: what is written to it would be lost, and nothing keeps others out."""

    code = ErrorCode.STATE_LOST


class ClaimLost(StateDirError):
    """Another replica has taken the target of this pass, or may take it: nothing was recorded, and nothing may be written."""

    code = ErrorCode.CLAIM_LOST

    def __init__(self, target: str) -> None:
        super().__init__("", f"{target}: this replica no longer holds the claim on the target; nothing was written")

    def __str__(self) -> str:
        return self.reason


class StateRolledBack(StateDirError):
    """The database may have lost transactions that were committed, as in a failover: every claim is dropped."""

    code = ErrorCode.STATE_ROLLED_BACK

    def __init__(self, name: str) -> None:
        lost = "the database failed over, or lost committed transactions"
        super().__init__(name, f"{lost}; this replica stops writing until every earlier lease has ended")


class StateNewer(StateDirError):
    """A later version of kvsync has changed the schema of the state."""

    code = ErrorCode.STATE_NEWER

    def __init__(self, name: str, found: int, known: int) -> None:
        newer = f"a newer kvsync wrote the state (schema {found}, this one has {known})"
        super().__init__(name, f"{newer}; upgrade kvsync")


class ClaimHeld(KvsyncError):
    """Another replica, or another command, holds a target that is to be written to."""

    code = ErrorCode.TARGET_CLAIMED

    def __init__(self, target: str, replica: str) -> None:
        self.target, self.replica = target, replica
        super().__init__(f"{target}: {replica} holds this target; stop it, or let it do the work")


class StateDirUntrusted(StateDirError):
    """The state directory may have been written by others, so nothing in it is believed."""

    code = ErrorCode.STATE_UNTRUSTED


class SourceError(KvsyncError):
    """The repository that the files come from cannot be fetched, or contains nothing that may be used. `hint` says what to
    do."""

    code = ErrorCode.SOURCE_UNAVAILABLE

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message, self.hint = message, hint
        super().__init__(message + (f" ({hint})" if hint else ""))


class StoreError(KvsyncError):
    """Error of one store. The message is for users, and never contains a secret."""

    code = ErrorCode.STORE_ERROR


LONGEST_REST = 86_400.0
"""Seconds that a store may ask kvsync to wait. A longer wait, or a value that is not a number, is a mistake, and is ignored."""


class TransientError(StoreError):
    """An error that a later retry may fix. `retry_after` is in seconds, from 0 to `LONGEST_REST`; None if the store requested
    no wait, or a longer one."""

    code = ErrorCode.STORE_UNAVAILABLE

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        is_plausible = retry_after is not None and retry_after <= LONGEST_REST  # False for NaN
        self.retry_after = max(0.0, retry_after) if is_plausible and retry_after is not None else None
        super().__init__(message)


class LostAnswer(TransientError):
    """The request was sent, but no response arrived, so the write may have taken effect or not."""

    code = ErrorCode.LOST_ANSWER


class NotLeader(TransientError):
    """Replicas share a lease, and this one does not hold it, or not for long enough. Nothing was sent."""

    code = ErrorCode.LEASE_NOT_HELD


class PlaceChanged(TransientError):
    """A target cannot be written to at the place that was planned; says nothing of the store as a whole."""

    code = ErrorCode.PLACE_UNUSABLE


class IncompleteListing(TransientError):
    """A store did not list all of its entries, and the caller needs them all."""

    code = ErrorCode.INCOMPLETE_LISTING


class PassOverdue(TransientError):
    """A pass took longer than it may. What it had not done waits for the next pass; says nothing of the store as a whole."""

    code = ErrorCode.OVERDUE


class BatchRefused(StoreError):
    """The store refused a call as a whole, and wrote nothing."""

    code = ErrorCode.BATCH_REJECTED


class AuthError(StoreError):
    """The store rejected the credential."""

    code = ErrorCode.CREDENTIAL_REJECTED


class PermanentError(StoreError):
    """An error that a retry cannot fix."""

    code = ErrorCode.REQUEST_REJECTED


class UnexpectedError(PermanentError):
    """A mistake in kvsync, or in the package of a store type, while one target was worked on. A write may have happened."""

    code = ErrorCode.BUG_IN_TARGET
