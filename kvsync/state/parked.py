"""Parked plans that wait for approval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kvsync.errors import NotApproved, UsageError
from kvsync.model.canonical import sorted_json
from kvsync.model.digest import SHORTEST_HASH
from kvsync.model.entry import Target
from kvsync.state.context import Context
from kvsync.state.database import Query
from kvsync.state.rows import target_row
from kvsync.state.tables import PARKED
from kvsync.util.patterns import lazy_pattern
from kvsync.util.values import dataclass

SHORTEST_PREFIX = SHORTEST_HASH
"""Hex digits of a hash that must be given at least."""

_HASH = lazy_pattern(rf"(?:sha256:)?([0-9a-f]{{{SHORTEST_PREFIX},64}})")
_OF_TARGET = "store = ? AND namespace = ?"
_FIND = f"SELECT * FROM parked WHERE {_OF_TARGET}"  # noqa: S608 - constants
_PARK = PARKED.upsert()
_APPROVE = PARKED.update_rows(("approved_at",), ("store", "namespace", "digest"))


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """One parked target: the digest of its plan, of the whole plan it was part of, why, and since when (epoch seconds)."""

    target: Target
    digest: str
    plan_digest: str
    reasons: tuple[str, ...]
    since: float
    approved_at: float | None = None


class Parked:
    """Parked targets, one plan each. A target that is parked with another plan loses the approval of the one before."""

    def __init__(self, context: Context) -> None:
        self._database = context.database

    def park(self, target: Target, digest: str, plan_digest: str, reasons: Sequence[str], now: float) -> bool:
        """Park a target; True when it was not parked with this very plan before. Raises StateDirError."""
        with self._database.transaction() as connection:
            sql = f"SELECT since, approved_at FROM parked WHERE {_OF_TARGET} AND digest = ?"  # noqa: S608 - constants
            known = connection.execute(sql, (*target_row(target), digest)).fetchone()
            since, approved_at = known or (now, None)
            text = sorted_json(list(reasons))
            connection.execute(_PARK, (*target_row(target), digest, plan_digest, text, since, approved_at))
        return known is None

    def park_approved(self, target: Target, digest: str, reasons: Sequence[str], now: float) -> None:
        """Park a target with a plan that is part of one that was approved, and so is approved itself. Raises StateDirError."""
        with self._database.transaction() as connection:
            text = sorted_json(list(reasons))
            connection.execute(_PARK, (*target_row(target), digest, digest, text, now, now))

    def unpark(self, target: Target) -> bool:
        """Forget what is parked of a target, approved or not; True when there was something. Raises StateDirError."""
        with self._database.transaction() as connection:
            sql = f"DELETE FROM parked WHERE {_OF_TARGET}"  # noqa: S608 - constants
            return connection.execute(sql, target_row(target)).rowcount > 0

    def all(self) -> list[ParkedRecord]:
        """Everything that is parked, by target. Raises StateDirError."""
        return [_parked(row) for row in self._database.query("SELECT * FROM parked ORDER BY store, namespace")]

    def find(self, target: Target) -> ParkedRecord | None:
        """What is parked of one target. Raises StateDirError."""
        row = self._database.one(*self.query_of(target))
        return None if row is None else _parked(row)

    def query_of(self, target: Target) -> Query:
        """The query for what is parked of a target."""
        return _FIND, target_row(target)

    def approve(self, hash_prefix: str, now: float) -> list[ParkedRecord]:
        """Release what is parked under a hash: one target by its digest, or all targets of a plan by the plan's.

        The hash may carry `sha256:` and be cut to twelve digits. Raises UsageError when it is not a hash, or represents several
        plans; NotApproved when nothing is parked under it, both naming what is; StateDirError.
        """
        match = _HASH.fullmatch(hash_prefix.strip().lower())
        parked = self.all()
        if match is None:
            wanted = f"{hash_prefix!r} is not the hash of a plan; give at least {SHORTEST_PREFIX} hex digits"
            raise UsageError(f"{wanted}; {_listing(parked)}")
        chosen = _choose(f"sha256:{match[1]}", parked)
        with self._database.transaction() as connection:
            rows = [(now, *target_row(record.target), record.digest) for record in chosen]
            self._database.write_rows(connection, _APPROVE, rows)
        return chosen

    def approved(self, target: Target, digest: str) -> bool:
        """True when exactly this plan of the target was approved. Raises StateDirError."""
        sql = f"SELECT approved_at FROM parked WHERE {_OF_TARGET} AND digest = ?"  # noqa: S608 - constants
        row = self._database.one(sql, (*target_row(target), digest))
        return row is not None and row[0] is not None

    def consume(self, target: Target, digest: str) -> None:
        """Use an approval up: the plan has been applied, and the next one needs its own. Raises StateDirError."""
        with self._database.transaction() as connection:
            sql = f"DELETE FROM parked WHERE {_OF_TARGET} AND digest = ?"  # noqa: S608 - constants
            connection.execute(sql, (*target_row(target), digest))


def _choose(prefix: str, parked: Sequence[ParkedRecord]) -> list[ParkedRecord]:
    digests = {
        digest for record in parked for digest in (record.digest, record.plan_digest) if digest.startswith(prefix)
    }
    if not digests:
        raise NotApproved(f"no plan {prefix} is parked; {_listing(parked)}")
    if len(digests) > 1:
        raise UsageError(f"{prefix} is ambiguous; {_listing(parked)}")
    return [record for record in parked if digests & {record.digest, record.plan_digest}]


def _listing(parked: Sequence[ParkedRecord]) -> str:
    if not parked:
        return "nothing is parked now"
    return "parked now: " + ", ".join(f"{record.target} {record.digest}" for record in parked)


def _parked(row: Sequence[Any]) -> ParkedRecord:
    store, namespace, digest, plan_digest, reasons, since, approved_at = row
    return ParkedRecord(Target(store, namespace), digest, plan_digest, tuple(json.loads(reasons)), since, approved_at)
